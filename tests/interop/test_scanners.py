"""`persist.scan` against what the scanners picklescan, modelscan and fickling know and test.

Their source distributions are brought from the package index (nothing of them is committed or imported here): each name that
their tables or picklescan's tests call dangerous is pickled in several spellings, and scanned; picklescan itself looks at the
same files. Their binary test files are in no source distribution. ``python tests/interop/test_scanners.py`` prints the table
of docs/security.md.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.slow]

PROJECTS = {"picklescan": "1.0.5", "modelscan": "0.8.8", "fickling": "0.1.12"}
# What the table of a project calls dangerous, and a reason why it is not that here.
NOT_DANGEROUS = {
    "builtins.abs": "computes a number; fickling refuses the module as a whole",
    "difflib.IS_CHARACTER_JUNK": "compares a character; fickling refuses the module as a whole",
    "collections.Counter": "named in a test of picklescan's sums only; it does not find it itself",
    "functools.partial": "calls what it is given, and that has a verdict of its own",
    "operator.itemgetter": "takes items of what it is given",
    "_operator.itemgetter": "takes items of what it is given",
}
ASKED = 12 * 60  # seconds for a download, with what builds its metadata


@functools.cache
def source(project: str) -> Path | None:
    """The unpacked source distribution of a project; None if the package index does not give it."""
    folder = Path(tempfile.mkdtemp(prefix="scanners-"))
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    try:
        subprocess.run(
            [*command, "-d", str(folder), f"{project}=={PROJECTS[project]}"],
            check=True, capture_output=True, timeout=ASKED,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):
        return None
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def sources(project: str) -> Path:
    found = source(project)
    if found is None:
        pytest.skip(f"the package index does not give the source of {project} {PROJECTS[project]}")
    return found


def tables(folder: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each table of dangerous names in a source; name "*" for a whole module."""
    for path in sorted(folder.rglob("*.py")):
        if "/tests/" in path.as_posix():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for called, value in _assigned(node):
                if re.search(r"unsafe_(globals|imports|modules)$", called, re.IGNORECASE):
                    yield from _names(value)


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield getattr(target, "id", getattr(target, "attr", "")), node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value


def _names(value: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(value, ast.Call) and value.args:  # frozenset({...})
        value = value.args[0]
    if isinstance(value, ast.Set | ast.List | ast.Tuple):
        yield from ((text, "*") for text in _texts(value))
    elif isinstance(value, ast.Dict):
        for key, inner in zip(value.keys, value.values, strict=True):
            module = key.value if isinstance(key, ast.Constant) else None
            if module in ("CRITICAL", "HIGH", "MEDIUM", "LOW"):
                yield from _names(inner)
            elif isinstance(module, str):
                names = _texts(inner) if not isinstance(inner, ast.Dict) else [
                    name.value for name in inner.keys if isinstance(name, ast.Constant)
                ]  # fmt: skip
                is_reason = isinstance(inner, ast.Constant) and inner.value != "*"
                yield from ((module, "*" if is_reason else str(name)) for name in names or ["*"])


def _texts(value: ast.expr) -> list[str]:
    parts = value.elts if isinstance(value, ast.Set | ast.List | ast.Tuple) else [value]
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]  # fmt: skip


def in_tests(folder: Path) -> set[tuple[str, str]]:
    """What picklescan's own tests expect it to call dangerous."""
    text = (folder / "tests" / "test_scanner.py").read_text(encoding="utf-8")
    found = re.findall(
        r'Global\(\s*"([^"]+)",\s*"([^"]+)",\s*SafetyLevel\.Dangerous\s*,?\s*\)', text
    )
    return {(module, name) for module, name in found if "unknown" not in module + name}


def concrete(module: str, name: str) -> str | None:
    """A name of a module that is dangerous as a whole: that of a function in it; None if it has none."""
    if name != "*":
        return name
    script = (
        "import importlib, sys; m = importlib.import_module(sys.argv[1]);"
        "own = [n for n, v in sorted(vars(m).items()) if n[0] != '_' and getattr(v, '__module__', '') == m.__name__];"
        "print(next((n for n in own if not isinstance(getattr(m, n), type)), own[0]))"
    )
    done = subprocess.run([sys.executable, "-c", script, module], capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout.strip() or None


def spellings(module: str, name: str) -> dict[str, bytes]:
    """A call of a function, as pickles spell it, and in archives."""
    m, n = module.encode(), name.encode()
    text = b"X" + len(m).to_bytes(4, "little") + m + b"X" + len(n).to_bytes(4, "little") + n
    return {
        "reduce.pkl": b"\x80\x02c" + m + b"\n" + n + b"\nX\x01\x00\x00\x00x\x85R.",
        "stack.pkl": b"\x80\x04" + text + b"\x93)R.",
        "inst.pkl": b"(i" + m + b"\n" + n + b"\n.",
    }


def scan_all(names: set[tuple[str, str]]) -> dict[str, list[bool]]:
    """By dotted name, whether each of its spellings is called dangerous or suspicious."""
    result = {}
    for module, name in sorted(names):
        found = [
            persist.scan(data).verdict in ("dangerous", "suspicious")
            for data in spellings(module, name).values()
        ]
        result[f"{module}.{name}"] = found
    return result


def dangerous(project: str) -> set[tuple[str, str]]:
    """All that a project calls dangerous, each with the name of a function."""
    folder = sources(project)
    listed = {*tables(folder), *(in_tests(folder) if project == "picklescan" else ())}
    made = {(module, concrete(module, name)) for module, name in listed}
    return {(module, name) for module, name in made if name is not None}


@pytest.mark.parametrize("project", PROJECTS)
def test_nothing_that_a_scanner_calls_dangerous_is_missed(project: str) -> None:
    names = dangerous(project)
    assert len(names) > 15
    missed = [name for name, found in scan_all(names).items() if not all(found)]
    assert set(missed) <= set(NOT_DANGEROUS)


def by_picklescan(files: Path) -> dict[str, int]:
    """The number of issues that picklescan itself finds in each file of a folder."""
    script = (
        "import json, os, sys; from picklescan.scanner import scan_file_path;"
        "print(json.dumps({f: scan_file_path(os.path.join(sys.argv[1], f)).issues_count for f in sorted(os.listdir(sys.argv[1]))}))"
    )
    path = os.pathsep.join((str(sources("picklescan") / "src"), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run([sys.executable, "-c", script, str(files)], capture_output=True, text=True,
                          check=False, env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    if done.returncode:
        pytest.skip(f"picklescan does not run here: {done.stderr.splitlines()[-1]}")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def side_by_side(folder: Path) -> tuple[int, int, int, list[str]]:
    """Files written; found by picklescan; found by us; found by picklescan and not by us."""
    count = 0
    for module, name in sorted(set().union(*map(dangerous, PROJECTS))):
        for kind, data in spellings(module, name).items():
            (folder / f"{count:04} {module}.{name} {kind}").write_bytes(data)
            count += 1
        with zipfile.ZipFile(folder / f"{count:04} {module}.{name}.zip", "w") as out:
            out.writestr("archive/data.pkl", data)
        count += 1
    theirs = by_picklescan(folder)
    ours = {path.name: persist.scan(path).verdict in ("dangerous", "suspicious") for path in folder.iterdir()}  # fmt: skip
    missed = [name for name, issues in theirs.items() if issues and not ours[name]]
    return count, sum(map(bool, theirs.values())), sum(ours.values()), missed


def test_what_picklescan_finds_in_the_same_files_is_found(tmp_path: Path) -> None:
    count, theirs, ours, missed = side_by_side(tmp_path)
    assert count > 400
    assert not [
        name for name in missed if name.split()[1].removesuffix(".zip") not in NOT_DANGEROUS
    ]
    assert ours >= theirs - len(missed)


if __name__ == "__main__":
    for _project in PROJECTS:
        _found = scan_all(dangerous(_project))
        _missed = [name for name, each in _found.items() if not all(each)]
        print(
            f"| {_project} {PROJECTS[_project]} | {len(_found)} | {len(_found) - len(_missed)} | {', '.join(_missed)} |"
        )
    with tempfile.TemporaryDirectory() as _name:
        print(side_by_side(Path(_name)))

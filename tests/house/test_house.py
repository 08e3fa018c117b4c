"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
SOURCES = sorted([*TOP.glob("persist/**/*.py"), *TOP.glob("migrations/**/*.py")])

pytestmark = pytest.mark.checkout

MOST_LINES = 900  # of a file; aim at 400
MOST_ANY = 3  # times `Any`, per 100 lines of the package
MOST_IN_FUNCTION = 60  # of a function without its docstring; aim at 40
# A step that is fused for speed: one loop on local names, for a call per opcode costs more than the
# opcode does. `tests/wire/pickle/test_fast_loop.py` shows that it does what the short methods do.
FUSED = {("persist._wire.pickle.fast_loop", "_run"), ("persist.security._opcodes", "_run")}


def name_of(path: Path) -> str:
    parts = list(path.relative_to(TOP).with_suffix("").parts)
    parts = ["persist", *parts] if parts[0] == "migrations" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    for function in functions(ast.parse(text)):
        doc = ast.get_docstring(function, clean=False)
        lines = (function.end_lineno or 0) - function.lineno + 1
        lines -= doc.count("\n") + 1 if doc else 0
        if (name_of(path), function.name) in FUSED:
            continue
        assert lines <= MOST_IN_FUNCTION, f"{function.name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_says_what_it_is_for_and_what_it_gives(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path.name == "__init__.py" and not tree.body:
        return
    doc = ast.get_docstring(tree)
    assert doc, "no docstring"
    assert doc.splitlines()[0].strip(), "its first line is empty"
    names = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    has_all = any(
        (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        or (isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "__all__")
        for node in tree.body
    )
    if names and path.parent.name != "migrations":
        assert has_all, f"no __all__, but {names}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_functions_have_docstrings_that_are_sentences(path: Path) -> None:
    def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from public(node.body)

    module = name_of(path).split(".")
    if any(part.startswith("_") for part in module) or "migrations" in module:
        return
    tree = ast.parse(path.read_text())
    reported = {node.name for node in functions(tree) if ast.get_docstring(node)}
    for node in public(tree.body):
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if any(name.endswith((".setter", "overload")) for name in decorators):
            continue
        doc = ast.get_docstring(node)
        inherits = module[:2] == ["persist", "readers"] and node.name in ("claims", "read", "write")
        if not doc and (inherits or module[-1] == "errors" or node.name in reported):
            continue  # what it overrides says it
        assert doc, f"{node.name} has no docstring"
        first = re.split(r"\n\s*\n", doc)[0].strip()
        assert first.endswith((".", ":", "?")), f"{node.name}: {first!r}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_what_all_names_is_there(path: Path) -> None:
    module = importlib.import_module(name_of(path))
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name), name
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if inspect.isfunction(value):
            assert value.__doc__, name


# What makes dtypes of text in a file, and the two that name one of ml_dtypes' own.
MAKES_DTYPES = {
    ("persist._wire.base.ml_dtypes", "find_extended"),
    ("persist._wire.base.ml_dtypes", "_opaque"),
    ("persist._container.dtypes", "_named"),
}
READERS = [
    path
    for path in SOURCES
    if re.match(r"persist\.(_wire|readers|_container|migrations)\b", name_of(path))
    and name_of(path) != "persist._wire.base.dtype_text"
]


def is_ours(argument: ast.expr) -> bool:
    """Whether what is given to ``np.dtype`` stands in the code: a constant, a type, a table's entry."""
    if isinstance(argument, ast.Tuple):  # (np.void, size), (np.record, dtype)
        return is_ours(argument.elts[0])
    if isinstance(argument, ast.Constant):
        return True
    if isinstance(argument, ast.Name):
        return argument.id in ("object", "complex") or argument.id.lstrip("_").isupper()
    if isinstance(argument, ast.Attribute):
        return isinstance(argument.value, ast.Name) and argument.value.id in ("np", "ml_dtypes")
    return isinstance(argument, ast.Subscript) and is_ours(argument.value)


@pytest.mark.parametrize("path", READERS, ids=name_of)
def test_dtypes_of_text_in_a_file_are_made_in_one_place(path: Path) -> None:
    """NumPy's parser of dtypes can end the interpreter: `persist._wire.base.dtype_text` checks first."""
    for function in functions(ast.parse(path.read_text())):
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in DTYPE_PARSERS:
                continue
            known = (name_of(path), function.name) in MAKES_DTYPES
            assert known or (node.args and is_ours(node.args[0])), (
                f"{path.name}:{node.lineno}: make it with persist._wire.base.dtype_text"
            )


DTYPE_PARSERS = ("np.dtype", "numpy.dtype", "np.lib.format.descr_to_dtype", "np.rec.format_parser")


def tracked() -> list[Path]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=False)
    if run.returncode:
        pytest.skip("this is no git repository")
    paths = [TOP / os.fsdecode(name) for name in run.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = re.compile(
    "|".join(
        [
            "/" + "work/", r"\.\./" + "shared", "/" + "root/", "/" + "tmp/exam",
            "pypi" + r"\.org", "files." + "pythonhosted", r"registry\." + "npmjs",
            "artif" + "actory", "local" + "host:",
        ]
    )
)  # fmt: skip


def test_nothing_names_the_machine_on_which_it_was_written() -> None:
    corpus = TOP / "tests" / "corpus"
    for path in tracked():
        if corpus in path.parents and path.name != "expected.json":
            continue  # genuine files of others
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = FORBIDDEN.search(text)
        assert found is None, f"{path.relative_to(TOP)} names {found and found[0]!r}"


def test_nothing_is_tracked_that_is_made() -> None:
    made = {".venv", "__pycache__", "build", "dist", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    for path in tracked():
        assert not made & set(path.relative_to(TOP).parts), path


def test_every_case_of_the_corpus_states_where_it_comes_from() -> None:
    import json

    for spec in (TOP / "tests" / "corpus").glob("*/*/expected.json"):
        reported = json.loads(spec.read_text())
        assert reported["file"], spec
        assert reported.get("what") or reported.get("format"), spec


def test_signatures_say_what_they_take() -> None:
    words = [len(re.findall(r"\bAny\b", path.read_text())) for path in SOURCES]
    lines = sum(path.read_text().count("\n") for path in SOURCES)
    share = 100 * sum(words) / lines
    assert share <= MOST_ANY, f"Any {share:.2f} times per 100 lines: name a type, or object"

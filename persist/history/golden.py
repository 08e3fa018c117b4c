"""Golden files: old files, kept with what they hold, that must load to it for ever.

Next to each file ``NAME`` is ``NAME.golden.json``: the schemas and versions in the file, the steps
that a load takes, and the value under each natural path of what a load gave, numbers and text as
they are and arrays as a digest. Where a class's version is counted up the content changes: it is
recorded anew for that version (`persist golden update`), and the old one stays.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from persist._api.explain import explain_file
from persist._api.load import load
from persist._api.open import open as open_file
from persist._envelope import unwrap
from persist._objects.flatten import flatten
from persist._trees.pack_view import PackView, is_array
from persist._trees.paths import PathMapping
from persist._upgrade.plan import Plan
from persist._wire.base.source import Limits
from persist.errors import PersistError
from persist.history.project import Project
from persist.registry import Registry
from persist.tree import Record

if TYPE_CHECKING:
    from persist.history.checking import Finding

__all__ = [
    "ENDING",
    "Golden",
    "Verified",
    "add",
    "content_of",
    "golden_files",
    "update",
    "verify",
    "verify_all",
]

ENDING = ".golden.json"
FORM = 1
MADE = "made from the lock file"  # a note


@attrs.define
class Golden:
    """What is recorded of one golden file.

    Attributes:
        path: the file itself.
        sha256: of its bytes; "" for a folder.
        schemas: name -> version, of every schema in it.
        steps: (schema, from, to) of each step that a load takes.
        contents: versions of today ("lab.Layer 3, lab.Net 1") -> natural path -> value.
        note: where it comes from.
    """

    path: Path
    sha256: str = ""
    schemas: dict[str, int] = attrs.field(factory=dict)
    steps: list[tuple[str, int, int]] = attrs.field(factory=list)
    contents: dict[str, dict[str, object]] = attrs.field(factory=dict)
    note: str = ""

    @property
    def record(self) -> Path:
        """The file that holds what is recorded."""
        return self.path.with_name(self.path.name + ENDING)

    def write(self) -> None:
        """Write what is recorded."""
        said = {
            "format": FORM,
            "file": self.path.name,
            "sha256": self.sha256,
            "note": self.note,
            "schemas": dict(sorted(self.schemas.items())),
            "steps": [list(step) for step in sorted(self.steps)],
            "contents": dict(sorted(self.contents.items())),
        }
        text = json.dumps(said, indent=1, ensure_ascii=False) + "\n"
        self.record.write_text(text, encoding="utf-8", newline="\n")


@attrs.define
class Verified:
    """What came of loading golden files.

    Attributes:
        count: how many there are.
        schemas: of which there are files that somebody wrote.
        is_configured: whether the project's settings name their folder.
        coverage: (schema, from, to) -> the files that go through that step.
        findings: what fell short.
    """

    count: int = 0
    is_configured: bool = False
    schemas: set[str] = attrs.field(factory=set)
    coverage: dict[tuple[str, int, int], list[str]] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=list)


def golden_files(project: Project) -> list[Golden]:
    """Return the golden files of a project, by name.

    Raises:
        PersistError: what is recorded of one cannot be read.
    """
    return [read(path) for path in sorted(project.golden_path.rglob(f"*{ENDING}"))]


def read(record: Path) -> Golden:
    """Return what a record says.

    Raises:
        PersistError: it cannot be read.
    """
    try:
        said = json.loads(record.read_text(encoding="utf-8"))
        if said["format"] != FORM:
            raise ValueError(f"form {said['format']!r}")
        return Golden(
            record.with_name(said["file"]), said["sha256"], said["schemas"],
            [(str(a), int(b), int(c)) for a, b, c in said["steps"]], said["contents"], said["note"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PersistError(
            f"what is recorded of a golden file cannot be read ({type(error).__name__}: {error}).",
            file=str(record),
            remedy="Take it from version control, or remove it and run `persist golden add` again.",
        ) from error


# Recording.


def add(
    project: Project, source: Path, *, name: str = "", note: str = "", force: bool = False
) -> Golden:
    """Copy a file into the folder of golden files, and record what it loads to.

    Args:
        project: whose.
        source: the file; one that lies in the folder already stays where it is.
        name: in the folder; the file's own by default.
        note: where it comes from.
        force: replace one of that name.

    Raises:
        PersistError: it does not load, or another file has its name.
    """
    registry = project.load()
    target = project.golden_path / (name or source.name)
    golden = Golden(target, note=note)
    if golden.record.exists() and not force:
        raise PersistError(
            f"there is a golden file {target.name!r} already.",
            file=str(source),
            remedy="Choose another name with --name, or replace it with --force.",
        )
    loaded, plan, golden.schemas = _loaded(source, registry)
    golden.sha256 = digest_of_file(source)
    golden.steps = _steps_of(plan)
    golden.contents = {_today(golden, registry): content_of(loaded, registry)}
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.absolute() != target.absolute():
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
    golden.write()
    return golden


def update(project: Project, golden: Golden) -> list[str]:
    """Record what a golden file loads to today; return how that differs from what was recorded.

    Raises:
        PersistError: it does not load.
    """
    registry = project.load()
    loaded, plan, golden.schemas = _loaded(golden.path, registry)
    key, content = _today(golden, registry), content_of(loaded, registry)
    before = golden.contents.get(key) or next(reversed(golden.contents.values()), {})
    golden.steps = sorted({*golden.steps, *_steps_of(plan)})
    golden.contents[key] = content
    golden.sha256 = digest_of_file(golden.path)
    golden.write()
    return _difference(before, content)


def _loaded(path: Path, registry: Registry) -> tuple[object, Plan, dict[str, int]]:
    """Load a file; what it gave, the steps that were taken, and the schemas in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a part that stays a record is content like any other
        with open_file(path, registry=registry) as file:
            plan = explain_file(file)
            schemas = {
                entry.schema: route.found
                for entry in plan
                for route in entry.version_paths[-1:]
                if entry.schema is not None
            }
            for entry in plan:
                for route in entry.version_paths:
                    schemas.setdefault(route.schema, route.found)
        return load(path, registry=registry), plan, schemas


def _steps_of(plan: Plan) -> list[tuple[str, int, int]]:
    return sorted(
        {
            (step.schema, step.start, step.to)
            for entry in plan
            for route in entry.version_paths
            for step in route.steps
        }
    )


def _today(golden: Golden, registry: Registry) -> str:
    """The versions that a content is of."""
    found = (registry.schema_for(name) for name in sorted(golden.schemas))
    said = ", ".join(f"{schema.name} {schema.version}" for schema in found if schema is not None)
    return said or "plain"


def content_of(value: object, registry: Registry) -> dict[str, Any]:
    """Return the value under each natural path of an object: a text for each.

    Arrays are given by dtype, shape and a digest of their bytes; everything else as ``repr`` has it.
    """
    tree = flatten(value, registry)
    names = PathMapping(lambda: tree, PackView(), lambda leaf: True, Limits().paths, "golden file")
    found = {path: _text_of(leaf) for path, leaf in names.walk()}
    if isinstance(tree, Record):  # which no leaf says
        return {"class": tree.qualname, **found}
    return found


def _text_of(leaf: object) -> str:
    if is_array(leaf):
        array = np.asarray(leaf)
        if array.dtype.hasobject:
            data = repr(array.tolist()).encode("utf-8", "surrogatepass")
        else:
            data = np.ascontiguousarray(array).tobytes()
        return f"{array.dtype.str} {array.shape} {hashlib.sha256(data).hexdigest()[:16]}"
    if isinstance(leaf, Record):
        state = leaf.state if unwrap(leaf.state) is None else leaf.fields()
        return f"{leaf.qualname} {state!r}" if isinstance(state, dict | tuple) else leaf.qualname
    text = repr(leaf)
    if len(text) > 200:
        return f"{type(leaf).__name__} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return text


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; "" for a folder."""
    return "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


# Checking.


def verify_all(
    project: Project, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> Verified:
    """Load every golden file of a project, and compare what it gives with what is recorded."""
    from persist.history.checking import ERROR, Finding

    result = Verified(is_configured=project.has_golden)
    for record in progress(sorted(project.golden_path.rglob(f"*{ENDING}"))):
        result.count += 1
        try:
            golden = read(record)
        except PersistError as error:
            result.findings.append(
                Finding("golden", ERROR, str(error.what), error.remedy, where=project.shown(record))
            )
            continue
        name = project.shown(golden.path)
        if golden.note != MADE:
            result.schemas |= golden.schemas.keys()
        findings, steps = verify(project, golden)
        result.findings += findings
        for step in steps:
            result.coverage.setdefault(step, []).append(name)
    return result


def verify(project: Project, golden: Golden) -> tuple[list[Finding], list[tuple[str, int, int]]]:
    """Load one golden file; return what falls short, and the steps that the load took."""
    from persist.history.checking import ERROR, WARNING, Finding

    registry, name = project.load(), project.shown(golden.path)
    again = f"If that is right, run `persist golden update {name}`."

    def finding(severity: str, text: str, remedy: str, lines: Iterable[str] = ()) -> Finding:
        return Finding("golden", severity, text, remedy, differences=tuple(lines), where=name)

    if not golden.path.exists():
        gone = f"the golden file {name} is gone."
        return [
            finding(ERROR, gone, f"Take it from version control, or remove {golden.record.name}.")
        ], []
    if golden.sha256 and digest_of_file(golden.path) != golden.sha256:
        changed = f"the golden file {name} is not the one that was recorded: its bytes changed."
        return [finding(ERROR, changed, "Take it from version control again.")], []
    oldest = _unsupported(golden, registry)
    if oldest:
        text = f"the golden file {name} is of {oldest}, which is no longer supported."
        return [finding(WARNING, text, f"Remove it and {golden.record.name}.")], []
    try:
        loaded, plan, _ = _loaded(golden.path, registry)
        content = content_of(loaded, registry)
    except Exception as error:  # whatever a user's class raises while it is loaded
        said = str(error) if isinstance(error, PersistError) else f"{type(error).__name__}: {error}"
        said = said.replace(f"{golden.path}", golden.path.name)
        return [finding(ERROR, f"the golden file {name} no longer loads: {said}", "")], golden.steps
    recorded = golden.contents.get(_today(golden, registry))
    if recorded is None:
        before = next(reversed(golden.contents.values()), {})
        text = (
            f"the golden file {name} loads, and nothing is recorded for {_today(golden, registry)}."
        )
        lines = _difference(before, content)
        return [finding(WARNING, text, f"Look at the difference. {again}", lines)], _steps_of(plan)
    lines = _difference(recorded, content)
    if lines:
        text = f"the golden file {name} loads to other values than it did:"
        return [finding(ERROR, text, again, lines)], _steps_of(plan)
    return [], _steps_of(plan)


def _unsupported(golden: Golden, registry: Registry) -> str:
    for name, version in golden.schemas.items():
        oldest = registry.oldest_supported(name)
        if oldest is not None and version < oldest.since:
            return f"version {version} of {name!r}"
    return ""


def _difference(before: dict[str, object], now: dict[str, object]) -> list[str]:
    lines = []
    for path in [*before, *(path for path in now if path not in before)]:
        place = path or "the root"
        if path not in now:
            lines.append(f"- {place}: {before[path]}")
        elif path not in before:
            lines.append(f"+ {place}: {now[path]}")
        elif before[path] != now[path]:
            lines.append(f"~ {place}: was {before[path]}, and is {now[path]}")
    return lines


def free_name(project: Project, stem: str, ending: str) -> str:
    """Return a name that no golden file has."""
    taken = (
        {path.name for path in project.golden_path.glob("*")}
        if project.golden_path.is_dir()
        else set()
    )
    number, name = 1, f"{stem}{ending}"
    while name in taken:
        number, name = number + 1, f"{stem}-{number + 1}{ending}"
    return name

"""What the page shows, as JSON: of one file, of a folder of files, of the difference of two."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from persist._api.explain import explain
from persist._api.history_text import entry_lines
from persist._trees.differ import differences
from persist._trees.leaves import escaped, leaf_text, made_class, shape_text, size_text
from persist._trees.pack_view import is_array, is_series
from persist._trees.totals import memory_of, nbytes_of, totals_of, totals_text
from persist._view._graphs import graph_of
from persist._view._previews import Budget, curve, preview
from persist.errors import PersistError
from persist.security import scan
from persist.tree import ABSENT, Record, View

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["diff_data", "file_data", "folder_data"]

_ROWS = 50_000  # lines of a tree
_DEPTH = 40
_CURVES = 60
_FINDINGS = 200
_TEXT = 200  # characters of one line
_DIFFERENCES = 20_000
_ENTRIES = 200  # of a history, and lines of each
_FILES = 400  # of a folder that are shown with their trees


def file_data(
    file: File,
    *,
    rows: int = _ROWS,
    budget: Budget | None = None,
    options: dict[str, object] | None = None,
) -> dict[str, object]:
    """Return what the page shows of one file.

    Args:
        file: the open file.
        rows: the largest number of lines of its tree.
        budget: what the previews of arrays may cost.
        options: with which the file was opened, to make the plan of a load with.
    """
    budget = budget or Budget()
    total = totals_of(file.arrays)
    source = file.path if file.path is not None and os.path.exists(file.path) else None
    facts = [["format", f"{file.format} ({file.claim})"]]
    facts += [["writer", f"{key} {value}"] for key, value in file.writer.items()]
    facts += [["written by", text] for text in file.evidence]
    facts += [["holds", totals_text(total) if total.names else "no arrays"]]
    if source is not None and os.path.isfile(source):
        facts.append(["size", f"{os.path.getsize(source):,} bytes"])
    walker = _Walker(file, rows, budget)
    return {
        "kind": "file",
        "name": escaped(file.name),
        "facts": [[key, _short(text)] for key, text in facts],
        "damage": [_short(note) for note in file.damage],
        "notes": [_short(note) for note in file.notes],
        **walker.walk(),
        "curves": _curves(file),
        "graph": _guarded(lambda: graph_of(file.format, file.structure, file.tree)),
        "plan": _plan(source, options or {}),
        "scan": _scan(source),
        "history": _history(file),
        "structure": _structure(file),
    }


def _guarded(make: Callable[[], object]) -> object:
    """Return what is made; None if the file is too damaged for it, which its damage says."""
    try:
        return make()
    except PersistError:
        return None


def _short(text: object) -> str:
    line = escaped(str(text))
    return line if len(line) <= 4 * _TEXT else f"{line[: 4 * _TEXT]}..."


_KINDS = {"declared": "d", "known to a pack": "k", "opaque": "r"}  # of records, as in page.js


class _Walker:
    """Walks through a tree, and makes its lines and the previews of its arrays."""

    def __init__(self, file: File, most: int, budget: Budget) -> None:
        self._file = file
        self._most = most
        self._budget = budget
        self.rows: list[list[object]] = []
        self.arrays: list[dict[str, object]] = []
        self.classes: dict[str, int] = {}
        self.trust: dict[str, str] = {}

    def walk(self) -> dict[str, object]:
        """Return the lines ``[depth, label, text, kind, array]`` and the arrays."""
        looker = self._file.looker
        seen: dict[object, str] = {}
        kept: list[object] = []
        todo: list[tuple[int, str, str, object]] = [(0, "", "", self._file.tree)]
        cut = 0
        while todo:
            depth, label, path, value = todo.pop()
            if len(self.rows) >= self._most or depth > _DEPTH:
                cut += 1
                continue
            through = looker.through(value)
            leaf, steps = looker.look(through)
            key: object = memory_of(leaf) if is_array(leaf) and not steps else id(through)
            if (steps or is_array(leaf)) and key in seen:
                self.rows.append([depth, label, f"the same as {seen[key] or 'the root'}", "s", -1])
                continue
            if steps or is_array(leaf):
                seen[key] = path
                kept.append((through, leaf))
            text, kind = self._line(value, through, leaf, steps)
            at = -1
            if is_array(leaf):
                at = len(self.arrays)
                self.arrays.append(_packed(preview(leaf, self._budget)))
            self.rows.append([depth, label, text[: 2 * _TEXT], kind, at])
            below = [
                (depth + 1, escaped(step)[:1_000], f"{path}/{step}" if path else step, item)
                for step, item in steps
            ]
            todo += reversed(below)
        return {
            "rows": self.rows,
            "arrays": self.arrays,
            "classes": self.classes,
            "trust": self.trust,
            "cut": cut,
        }

    def _line(
        self, value: object, through: object, leaf: object, steps: list[Any]
    ) -> tuple[str, str]:
        """The text of a value, and its kind: a(rray), r(ecord), k(nown to a pack), d(eclared), c(ontainer), v(alue)."""
        kind = "c" if steps else "v"
        name = ""
        if isinstance(value, Record):
            version = "" if value.version is None else f", version {value.version}"
            name = f"{escaped(made_class(value))}{version}"
            self.classes[name] = self.classes.get(name, 0) + 1
            if name not in self.trust:
                self.trust[name] = self._file._trust_of(value)
            kind = _KINDS[self.trust[name]]
        if is_array(leaf):
            text = f"{shape_text(leaf)}  {size_text(nbytes_of(leaf))}"
            return (f"{text}  ({name})" if name else text), "a"
        if leaf is not ABSENT:
            text = leaf_text(leaf)
            return (f"{text}  ({name})" if name else text), kind
        if name:
            return name, kind
        what = "parts" if isinstance(through, View) else type(through).__name__
        return f"{what} ({len(steps):,})", kind


_STATS = ("min", "max", "mean", "std", "norm", "zeros", "nan", "inf", "flags")  # as in page.js


def _packed(found: dict[str, object]) -> dict[str, object]:
    """A preview with its statistics as a list: the names would be a fifth of a page of many arrays."""
    stats = found.get("stats")
    if isinstance(stats, dict):
        values = [stats.get(name, 0) for name in _STATS]
        while values and values[-1] == 0:
            values.pop()
        found["stats"] = values
    return found


def _curves(file: File) -> list[dict[str, object]]:
    """The training logs: arrays of one axis and sequences of numbers whose names say so."""
    found: list[dict[str, object]] = []
    is_log = file.format == "tensorboard"
    for names in (file.arrays, file.scalars):
        for path in names:
            if len(found) >= _CURVES:
                return found
            value = names[path]
            if names is file.arrays:
                if len(getattr(value, "shape", (0,))) != 1 or nbytes_of(value) > 1 << 23:
                    continue
            elif not is_series(value):
                continue
            if is_log and not path.endswith("/value"):
                continue
            points = curve(path, value, is_log=is_log)
            if points is not None:
                found.append({"name": escaped(path or "(root)"), "points": points})
    return found


def _history(file: File) -> list[dict[str, object]]:
    """How the file came about, the latest first: a title and its details for each entry."""
    found: list[dict[str, object]] = []
    for entry in reversed(file.history[-_ENTRIES:]):
        title, *inside = entry_lines(entry)
        found.append(
            {"title": _short(title), "lines": [_short(line) for line in inside[:_ENTRIES]]}
        )
    return found


def _plan(source: str | None, options: dict[str, Any]) -> dict[str, object] | None:
    """What a load would do to each record; None for what is no file of its own."""
    if source is None:
        return None
    try:
        plan = explain(source, **options)
    except PersistError as error:
        return {"lines": [], "problems": [_short(error)]}
    lines = str(plan).splitlines()
    return {"lines": [_short(line) for line in lines[:500]], "problems": []}


def _scan(source: str | None) -> dict[str, object] | None:
    """What loading by the framework that wrote it would run."""
    if source is None:
        return None
    report = scan(source)
    found = [[one.verdict, _short(one)] for one in report.findings[:_FINDINGS]]
    return {"verdict": report.verdict, "findings": found, "more": len(report.findings) - len(found)}


def _structure(file: File) -> list[list[str]]:
    """What the file says in addition to its values, a line each."""
    try:
        items = file.structure.items()
    except PersistError as error:
        return [["cannot be read", _short(error)]]
    return [
        [escaped(str(key)), _short(leaf_text(value) if not isinstance(value, str) else value)]
        for key, value in items
    ]


def folder_data(
    name: str, files: Iterable[tuple[str, str]], open_one: Callable[[str], File]
) -> dict[str, object]:
    """Return what the page shows of a folder: a line for each file, and the first ones in short.

    Args:
        name: the folder.
        files: (path, path relative to the folder) of each experiment file.
        open_one: opens a file.
    """
    found: list[dict[str, object]] = []
    pages: list[dict[str, object] | None] = []
    budget = Budget(1 << 27, 900_000)
    for path, relative in files:
        try:
            with open_one(path) as file:
                total = totals_of(file.arrays)
                is_shown = len(pages) < _FILES
                pages.append(file_data(file, rows=400, budget=budget) if is_shown else None)
                classes = pages[-1]["classes"] if is_shown and pages[-1] is not None else {}
                report = pages[-1]["scan"] if is_shown and pages[-1] is not None else None
                found.append({
                    "name": escaped(relative), "format": file.format,
                    "writer": _short(", ".join(f"{key} {value}" for key, value in file.writer.items())),
                    "arrays": total.arrays, "bytes": total.nbytes,
                    "classes": list(classes)[:4] if isinstance(classes, dict) else [],
                    "damage": len(file.damage),
                    "verdict": report["verdict"] if isinstance(report, dict) else "",
                })  # fmt: skip
        except (PersistError, OSError) as error:
            pages.append(None)
            found.append({"name": escaped(relative), "error": _short(error)})
    return {"kind": "folder", "name": escaped(name), "files": found, "pages": pages}


def diff_data(one: File, two: File) -> dict[str, object]:
    """Return what the page shows of the difference of two files."""
    items: list[list[str]] = []
    more = 0
    for found in differences(one, two):
        if len(items) >= _DIFFERENCES:
            more += 1
            continue
        facts = [] if found.unequal is None else [f"{found.unequal:,} differ"]
        facts += [] if found.largest is None else [f"by at most {found.largest:.4g}"]
        items.append(
            [
                found.kind,
                escaped(found.path or "(root)"),
                _short(found.before),
                _short(found.after),
                ", ".join(facts),
            ]
        )
    return {
        "kind": "diff",
        "name": escaped(one.name),
        "other": escaped(two.name),
        "items": items,
        "more": more,
    }

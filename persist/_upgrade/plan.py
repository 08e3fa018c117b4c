"""The report of an upgrade: what is done to each record of a file, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from persist._trees.paths import unknown_path
from persist._upgrade.target import VersionPath
from persist.errors import PersistError
from persist.registry._declarations import of_releases
from persist.tree import Record, at_path

__all__ = ["Entry", "Plan", "Rehearsal", "located"]


_SHOWN = 200  # entries that a notebook shows


def located(qualname: str, path: str) -> str:
    """Return the place of a record for messages: its class and its path."""
    return f"record {qualname!r} {at_path(path)}"


@attrs.define(eq=False)
class Entry:
    """What a load does to one record, and why.

    Attributes:
        path: its path in the tree; "" is the root.
        qualname: its class, as the file names it.
        today: the current dotted name of its class, whether the file names the class or its
            schema; for a schema without a class, the name of the schema.
        schema: the name of its schema; None if the class is not known.
        version_paths: the version path of each of its classes, base first, its own last.
        aliases: the aliases that led to the current name, in order.
        problem: why it cannot be upgraded, or None.
        note: a remark for the report.
        is_seen: True if it becomes a plain value, or a random state of NumPy, without a schema.
        unrehearsed: what a load does after the record is built, and a plan does not try:
            resources that are opened, and ``__loaded__``.
    """

    path: str
    qualname: str
    today: str
    schema: str | None = None
    version_paths: tuple[VersionPath, ...] = ()
    aliases: tuple[str, ...] = ()
    problem: PersistError | None = None
    note: str = ""
    is_seen: bool = False
    unrehearsed: tuple[str, ...] = ()
    _is_listed: bool = attrs.field(default=False, init=False, repr=False)

    @property
    def is_opaque(self) -> bool:
        """True if its class is not known, so that it stays a record."""
        return self.schema is None and not self.is_seen

    @property
    def found(self) -> int | None:
        """The version of its own class in the file."""
        return self.version_paths[-1].found if self.version_paths else None

    @property
    def how(self) -> str:
        """How that version is known."""
        return self.version_paths[-1].how if self.version_paths else ""

    @property
    def to(self) -> int | None:
        """The current version of its own class."""
        return self.version_paths[-1].to if self.version_paths else None

    @property
    def steps(self) -> list[str]:
        """The steps, base classes first, each a function with file and line or the ready-made steps."""
        return [str(step) for path in self.version_paths for step in path.steps]

    def __str__(self) -> str:
        return "\n".join(_lines(self, 1))


def _lines(entry: Entry, count: int) -> Iterator[str]:
    place = entry.path or "the root"
    more = f" (and {count - 1} like it)" if count > 1 else ""
    yield f"{place}: {entry.qualname}{more}"
    if entry.aliases:
        yield f"    is {entry.today} today ({'; '.join(entry.aliases)})"
    if entry.is_opaque:
        yield f"    opaque: {entry.note or 'the class is not known; it stays a record'}"
    for path in entry.version_paths:
        known = f"version {path.found} ({path.how}){of_releases(path.found, path.releases)}"
        if not path.steps:
            yield f"    {path.schema}: {known}, as today{_noted(path.note)}"
            continue
        yield f"    {path.schema}: {known} to {path.to}{of_releases(path.to, path.releases)}{_noted(path.note)}"
        for step in path.steps:
            yield f"        {step.start} → {step.to}  {step.text}"
    if entry.note and not entry.is_opaque:
        yield f"    {entry.note}"
    for text in entry.unrehearsed:
        yield f"    not rehearsed: a load {text}"
    if entry.problem is not None:
        yield f"    cannot: {_reason(entry.problem)}"


def _reason(error: PersistError) -> str:
    return f"{error.what} {error.remedy}".rstrip()


def _noted(note: str) -> str:
    return f"; {note}" if note else ""


@attrs.define(eq=False)
class Plan:
    """What a load does to each record of a file, and why; computed without effect.

    Attributes:
        entries: one for each record, in the order of the file.
        file: the file, if one is meant.
    """

    entries: list[Entry] = attrs.field(factory=list)
    file: str | None = None
    _migrated: dict[int, Record] = attrs.field(factory=dict, repr=False)
    _classes: set[str] = attrs.field(factory=set, init=False, repr=False)  # migrated; and schemas
    _general: list[PersistError] = attrs.field(factory=list, init=False, repr=False)

    def is_migrated(self, record: Record) -> bool:
        """True if any step was applied to a record of the upgraded tree."""
        return id(record) in self._migrated

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, path: str | int) -> Entry:
        if isinstance(path, int):
            return self.entries[path]
        for entry in self.entries:
            if entry.path == path:
                return entry
        raise unknown_path(path, [entry.path for entry in self.entries], self.file)

    @property
    def problems(self) -> list[PersistError]:
        """The errors of the records that cannot be upgraded."""
        found = [entry.problem for entry in self.entries if entry.problem is not None]
        return [*found, *self._general]

    @property
    def opaque(self) -> list[str]:
        """The classes of which nothing is known, by their dotted names."""
        return sorted({entry.qualname for entry in self.entries if entry.is_opaque})

    @property
    def unrehearsed(self) -> list[Entry]:
        """The records for which a load opens a resource or calls ``__loaded__``; a plan does neither."""
        return [entry for entry in self.entries if entry.unrehearsed]

    def _repr_html_(self) -> str:
        from persist._trees.html import folded, listed, page

        groups = _groups(self.entries)
        shown = []
        for entry, alike in groups[:_SHOWN]:
            title, *rest = _lines(entry, alike)
            inner = listed((line.strip() for line in rest), len(rest))
            shown.append(folded(title, inner, is_open=entry.problem is not None))
        more = [f"... and {len(groups) - _SHOWN:,} more"] if len(groups) > _SHOWN else []
        problems = (f"cannot: {_reason(error)}" for error in self._general)
        return page(
            self._headline(), *shown, listed(more, len(more)), listed(problems, len(self._general))
        )

    def _headline(self) -> str:
        head = self.file or "plan"
        moved = sum(any(path.steps for path in entry.version_paths) for entry in self.entries)
        count = len(self.entries)
        return (
            f"{head}: {count} record{'s' * (count != 1)}, {moved} to be upgraded, "
            f"{sum(entry.is_opaque for entry in self.entries)} opaque, "
            f"{len(self.problems)} that cannot be"
        )

    def __str__(self) -> str:
        lines = [self._headline()]
        for entry, alike in _groups(self.entries):
            lines += [f"  {line}" for line in _lines(entry, alike)]
        lines += [f"  cannot: {_reason(error)}" for error in self._general]
        return "\n".join(lines)


class Rehearsal:
    """A load that continues after a record that cannot be loaded, and reports the error in a plan.

    Attributes:
        plan: the report.
        failures: the records of the upgraded tree that cannot be loaded, and why.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._entries: dict[int, tuple[Record, Entry]] = {}
        self._failed: set[int] = set()
        self.failures: list[tuple[Record | None, PersistError]] = []

    def expect(self, record: Record, entry: Entry) -> None:
        """Note the entry of a record of the upgraded tree."""
        self._entries[id(record)] = (record, entry)

    def fail(self, record: Record | None, error: PersistError) -> None:
        """Note why a record cannot be loaded; ``record`` is None if no single one is the cause."""
        known = None if record is None else self._entries.get(id(record))
        self.failures.append((record, error))
        if record is not None:
            self._failed.add(id(record))
        if known is None:
            self.plan._general.append(error)
        elif known[1].problem is None:
            known[1].problem = error

    def path_of(self, record: Record) -> str:
        """Return the natural path of a record of the upgraded tree."""
        known = self._entries.get(id(record))
        return "" if known is None else known[1].path

    def has_failed(self, record: Record) -> bool:
        """True if a record of the upgraded tree cannot be loaded."""
        return id(record) in self._failed

    def leave_out(self, record: Record, steps: tuple[str, ...]) -> None:
        """Note what is not done for a record of the upgraded tree, and what a load does."""
        known = self._entries.get(id(record))
        if known is not None:
            known[1].unrehearsed = steps

    def remark(self, record: Record, text: str, is_made: bool) -> None:
        """Note for a record without a schema what is built of it, or why nothing is."""
        known = self._entries.get(id(record))
        if known is not None:
            known[1].note, known[1].is_seen = text, is_made


def _groups(entries: Iterable[Entry]) -> list[tuple[Entry, int]]:
    """Group entries with equal steps and notes: the first of each group and their number."""
    groups: dict[Any, list[Any]] = {}
    for entry in entries:
        problem = None if entry.problem is None else str(entry.problem.what)
        taken = tuple((c.schema, c.found, c.how, c.steps) for c in entry.version_paths)
        key = (entry.qualname, entry.aliases, taken, problem, entry.note, entry.unrehearsed)
        groups.setdefault(key, [entry, 0])[1] += 1
    return [(entry, count) for entry, count in groups.values()]

"""Rename tables: what a library called its classes, and since which release it calls them otherwise.

A pack keeps this knowledge as one table beside it, ``migrations/<library>.tsv``:
tab-separated, UTF-8, ``#`` begins a comment line, the first other line names
the columns.

``old``       the dotted name in old files; ``numpy.core.*`` for all that begin so.
``new``       what stood for it afterwards; empty if nothing did.
``kind``      ``move``: the same thing under another name, an alias. ``semantic``: a successor
              whose state is another; it needs a migration, so this is no alias.
              ``removed``: nothing stands for it.
``since``     the first release that writes ``new`` in place of ``old`` (``removed``: that lacks
              ``old``); empty if nobody looked, or if it proves nothing.
``evidence``  how that is known: the writer's source, a changelog, an issue, wheels compared.
``note``      anything that a person should know; empty as a rule.

Rows are data, so that a table can be made by a script, merged, and proved
against an installed library. Each row is one move: of a class that moved twice
the first row leads to the middle name, and the second on from there.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from persist.errors import SchemaError

__all__ = ["KINDS", "Rename", "find", "load", "parse", "teach", "written_by"]

COLUMNS = ("old", "new", "kind", "since", "evidence", "note")
KINDS = ("move", "semantic", "removed")


@attrs.frozen
class Rename:
    """One row of a rename table; see the module.

    Attributes:
        old: the dotted name in old files, or a prefix with ``.*``.
        new: the one after it, empty where ``kind`` is "removed".
        kind: "move", "semantic" or "removed".
        since: the release that changed it, or empty.
        evidence: how that is known.
        note: what a person should know.
    """

    old: str
    new: str
    kind: str
    since: str = ""
    evidence: str = ""
    note: str = ""

    @property
    def is_prefix(self) -> bool:
        """Whether it is about all names that begin so."""
        return self.old.endswith(".*")

    def fits(self, qualname: str) -> bool:
        """Whether a dotted name is an old one of this row."""
        return qualname.startswith(self.old[:-1]) if self.is_prefix else qualname == self.old


def teach(pack: Any, module: str) -> tuple[Rename, ...]:
    """Give a pack the aliases of the table beside it, and return all its rows.

    Args:
        pack: the pack's `Registry`.
        module: the pack's ``__name__``; of ``persist.migrations.numpy`` the
            table is ``numpy.tsv`` in ``persist.migrations``.
    """
    rows = load(module)
    for row in rows:
        if row.kind == "move":
            pack.alias(row.old, row.new, since=row.since, evidence=row.evidence)
    return rows


def load(module: str) -> tuple[Rename, ...]:
    """Return the rows of the table beside a pack.

    Raises:
        SchemaError: the table is not written as it should be, with file and line.
    """
    package, _, name = module.rpartition(".")
    data = pkgutil.get_data(package, f"{name}.tsv")
    if data is None:
        raise SchemaError(f"{package} cannot give what lies beside it.", file=f"{name}.tsv")
    return parse(data.decode("utf-8"), f"{name}.tsv")


def parse(text: str, name: str) -> tuple[Rename, ...]:
    """Return the rows of a table's text.

    Args:
        text: the whole table.
        name: the file, for errors.

    Raises:
        SchemaError: a line has not the columns, a kind is unknown, a name occurs twice.
    """
    rows: dict[str, Rename] = {}
    head: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if head is None:
            head = cells
            if tuple(head) != COLUMNS:
                _refuse(name, number, f"the columns are {head}", f"They are {list(COLUMNS)}.")
            continue
        cells += [""] * (len(COLUMNS) - len(cells))
        row = _row(cells, name, number)
        if row.old in rows:
            _refuse(name, number, f"{row.old!r} has a row already", "One row a name.")
        rows[row.old] = row
    return tuple(rows.values())


def _row(cells: list[str], name: str, number: int) -> Rename:
    if len(cells) != len(COLUMNS):
        _refuse(name, number, f"it has {len(cells)} cells", f"Expected are {len(COLUMNS)}.")
    row = Rename(*cells)
    if row.kind not in KINDS:
        _refuse(name, number, f"its kind is {row.kind!r}", f"The kinds are {', '.join(KINDS)}.")
    if not row.old or (row.kind == "removed") == bool(row.new):
        _refuse(name, number, f"it leads from {row.old!r} to {row.new!r} ({row.kind})", "")
    if row.new and row.is_prefix != row.new.endswith(".*"):
        _refuse(
            name, number, f"it leads from {row.old!r} to {row.new!r}", "Both end in .* or none."
        )
    if row.since and not _is_release(row.since):
        _refuse(name, number, f"its release is {row.since!r}", "Expected is one like 1.25.")
    return row


def _is_release(text: str) -> bool:
    """Whether a text is a version (PEP 440); numbers and dots are, and there packaging is not asked."""
    if text.isascii() and all(part.isdigit() for part in text.split(".")):
        return True
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _refuse(name: str, number: int, what: str, remedy: str) -> None:
    raise SchemaError(f"{what}.", file=name, where=f"line {number}", remedy=remedy)


def find(rows: Iterable[Rename], qualname: str) -> Rename | None:
    """Return the row about an old dotted name: the exact one, or of prefixes the longest."""
    best = None
    for row in rows:
        if row.fits(qualname):
            if not row.is_prefix:
                return row
            if best is None or len(row.old) > len(best.old):
                best = row
    return best


def written_by(
    rows: Sequence[Rename], names: Iterable[str]
) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    """Deduce from the names in a file which releases can have written it.

    Only what moved on a known release counts: a name that a release gave up
    was written before it, one that it introduced not before it.

    Args:
        rows: of one library.
        names: dotted names that the file mentions.

    Returns:
        ((release, name) that it is not older than, or None;
        (release, name) that it is older than, or None).
    """
    from packaging.version import Version

    at_least: tuple[Version, str] | None = None
    before: tuple[Version, str] | None = None
    # A class that took in another one may be older than that: only a name that went on is new.
    introduced = {
        row.new: row
        for row in rows
        if row.kind == "move" and row.since and _last(row.old) == _last(row.new)
    }
    for name in names:
        row = find(rows, name)
        if row is not None and row.since and (before is None or Version(row.since) < before[0]):
            before = (Version(row.since), name)
        new = introduced.get(name) or _by_prefix(introduced, name)
        if new is not None and (at_least is None or Version(new.since) > at_least[0]):
            at_least = (Version(new.since), name)
    return (
        None if at_least is None else (str(at_least[0]), at_least[1]),
        None if before is None else (str(before[0]), before[1]),
    )


def _last(qualname: str) -> str:
    return qualname.rpartition(".")[2]


def _by_prefix(introduced: dict[str, Rename], name: str) -> Rename | None:
    while "." in name:
        name = name.rpartition(".")[0]
        found = introduced.get(f"{name}.*")
        if found is not None:
            return found
    return None

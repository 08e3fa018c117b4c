"""Rename tables: the old names of a library's classes, their new names, and the release that changed them.

A pack keeps its table in a file next to it, ``migrations/<library>.tsv``:
tab-separated, UTF-8, ``#`` begins a comment line, the first other line names
the columns.

``old``       the dotted name in old files; ``numpy.core.*`` for all names with that prefix.
``new``       the name that replaced it; empty if there is none.
``kind``      ``move``: the same class under another name, an alias. ``semantic``: a successor
              with a different state; it needs a migration, so this is not an alias.
              ``removed``: there is no successor.
``since``     the first release that writes ``new`` instead of ``old`` (``removed``: that lacks
              ``old``); empty if it was not determined, or if it proves nothing.
``evidence``  the source of this knowledge: the writer's code, a changelog, an issue, a
              comparison of wheels.
``note``      a remark for human readers; usually empty.

Rows are data, so that a table can be made by a script, merged, and checked
against an installed library. Each row is one rename: if a class was renamed
twice, the first row leads to the intermediate name, and the second from there
to the final one.
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
        new: the name that replaced it, empty if ``kind`` is "removed".
        kind: "move", "semantic" or "removed".
        since: the first release with the new name, or empty.
        evidence: the source of this knowledge.
        note: a remark for human readers.
    """

    old: str
    new: str
    kind: str
    since: str = ""
    evidence: str = ""
    note: str = ""

    @property
    def is_prefix(self) -> bool:
        """Whether the row applies to all names with a prefix."""
        return self.old.endswith(".*")

    def fits(self, qualname: str) -> bool:
        """Return whether the row applies to a dotted name in an old file."""
        return qualname.startswith(self.old[:-1]) if self.is_prefix else qualname == self.old


def teach(pack: Any, module: str) -> tuple[Rename, ...]:
    """Add the aliases of the table next to a pack to the pack, and return all rows of the table.

    Args:
        pack: the pack's `Registry`.
        module: the pack's ``__name__``; the table of ``persist.migrations.numpy`` is
            ``numpy.tsv`` in the package ``persist.migrations``.
    """
    rows = load(module)
    for row in rows:
        if row.kind == "move":
            pack.alias(row.old, row.new, since=row.since, evidence=row.evidence)
    return rows


def load(module: str) -> tuple[Rename, ...]:
    """Return the rows of the table next to a pack.

    Raises:
        SchemaError: the table is invalid; the error names file and line.
    """
    package, _, name = module.rpartition(".")
    data = pkgutil.get_data(package, f"{name}.tsv")
    if data is None:
        raise SchemaError(f"the loader of {package} cannot read data files.", file=f"{name}.tsv")
    return parse(data.decode("utf-8"), f"{name}.tsv")


def parse(text: str, name: str) -> tuple[Rename, ...]:
    """Return the rows of a table's text.

    Args:
        text: the whole table.
        name: the file name, for errors.

    Raises:
        SchemaError: a line does not have the columns, a kind is unknown, or a name occurs twice.
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
            _refuse(name, number, f"{row.old!r} has a row already", "Keep one row for each name.")
        rows[row.old] = row
    return tuple(rows.values())


def _row(cells: list[str], name: str, number: int) -> Rename:
    if len(cells) != len(COLUMNS):
        _refuse(name, number, f"it has {len(cells)} cells", f"Expected were {len(COLUMNS)}.")
    row = Rename(*cells)
    if row.kind not in KINDS:
        _refuse(name, number, f"its kind is {row.kind!r}", f"The kinds are {', '.join(KINDS)}.")
    if not row.old or (row.kind == "removed") == bool(row.new):
        _refuse(name, number, f"it leads from {row.old!r} to {row.new!r} ({row.kind})", "")
    if row.new and row.is_prefix != row.new.endswith(".*"):
        _refuse(
            name,
            number,
            f"it leads from {row.old!r} to {row.new!r}",
            "Both must end in .*, or neither.",
        )
    if row.since and not _is_release(row.since):
        _refuse(
            name, number, f"its release is {row.since!r}", "Expected was a version such as 1.25."
        )
    return row


def _is_release(text: str) -> bool:
    """Return whether a text is a version (PEP 440). Digits and dots are, without importing packaging."""
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
    """Return the row for an old dotted name: the exact match, or else the longest prefix."""
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

    Only renames with a known release count: a file with the old name was written
    before that release, and a file with the new name not before it.

    Args:
        rows: the rows of one library.
        names: dotted names that the file mentions.

    Returns:
        A pair: the earliest possible release, with the name that shows it, or None; and the
        first release that is too new, with the name that shows it, or None.
    """
    from packaging.version import Version

    at_least: tuple[Version, str] | None = None
    before: tuple[Version, str] | None = None
    # A class that absorbed another one may be older than that rename. Only if the class kept its
    # own name and changed modules is the dotted name new.
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

"""Print a file for a person: its format and its tree, in a bounded number of lines.

Every walk here is limited in lines and depth. A value that occurs a second time is
shown as a reference to its first path; long text and numbers are shortened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from persist._trees.leaves import (
    counted,
    escaped,
    leaf_text,
    made_class,
    printable,
    size_text,
)
from persist._trees.outline import Row, Shape, tree_lines, tree_rows
from persist._trees.pack_view import PackView
from persist._trees.totals import totals_of, totals_text
from persist.errors import PersistError
from persist.tree import Record

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = [
    "Row",
    "Shape",
    "counted",
    "escaped",
    "leaf_text",
    "line",
    "made_class",
    "page",
    "printable",
    "size_text",
    "tree_lines",
    "tree_rows",
]

_LINES = 60


def page(file: File, lines: int = _LINES, shape: Shape | None = None) -> str:
    """Return what ``print(file)`` shows.

    Args:
        file: the file.
        lines: the largest number of lines of the tree.
        shape: the depth and the order of the tree; None is the usual ones.
    """
    out = [f"{file.name}", f"  format   {file.format} ({file.claim})"]
    if file.writer:
        out.append(f"  writer   {_writers(file)}")
    out += [f"  written  by {ascii(text)[1:-1]}" for text in file.evidence]
    out += [f"  damage   {note}" for note in file.damage]
    out += [f"  note     {note}" for note in file.notes]
    out += _holds(file)
    others = file.structure.get("others") if file.format == "archive" else None
    if others:
        more = f" and {len(others) - 8:,} more" if len(others) > 8 else ""
        out.append(f"  not read {', '.join(map(escaped, others[:8]))}{more}")
    out.append("  tree")
    shown = tree_lines(file.tree, file.looker, lines, shape)
    held = file.held.partition(",")[0]
    if held and shown:  # the file contains several values; the list around them is added by us
        shown[0] = f"{held}: {shown[0]}" if shown[0].startswith("[") else held
    out += [f"    {line}" for line in shown]
    return "\n".join(out)


def _holds(file: File) -> list[str]:
    """Return the line of totals, if there are several arrays; of one, the tree says as much."""
    try:
        total = totals_of(file.arrays)
    except PersistError as error:  # too many paths, or damage: the tree shows what there is
        return [f"  holds    cannot be counted: {error.what}"]
    return [f"  holds    {totals_text(total)}"] if total.names > 1 else []


def line(file: File, name: str | None = None) -> str:
    """Return a one-line summary of a file, under its own name or another one."""
    total = totals_of(file.arrays)
    held = (
        f"{counted(total.arrays, 'array')}, {size_text(total.nbytes)}"
        if total.arrays
        else "no arrays"
    )
    parts = [f"{file.format}, {_writers(file)}" if file.writer else file.format, held]
    names = list(classes_of(file.tree, file.looker))
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        parts.append(f"{printable(names[0])}{more}")
    parts += [f"damage: {note}" for note in file.damage]
    parts += file.notes
    return f"{printable(file.name if name is None else name)}  {'; '.join(parts)}"


def _writers(file: File) -> str:
    return ", ".join(printable(f"{key} {value}") for key, value in file.writer.items())


def classes_of(tree: object, looker: PackView, most: int = 100_000) -> Mapping[str, int]:
    """Count the records of each class that no pack presents, among at most ``most`` values."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    todo = [tree]
    while todo and len(seen) < most:
        value = looker.through(todo.pop())
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Record):
            counts[made_class(value)] += 1
        todo += [item for _, item in looker.look(value)[1]]
    return counts

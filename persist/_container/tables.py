"""Many records of one shape as a table: which become one, and what each column is.

Specified in ``docs/container.md``, section 11. Instances that were taken apart as `Columns` are
tables from the beginning; records that were met one by one become tables when all are met and
there are many of one shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from persist._columns import Columns
from persist._container.members import Members
from persist.tree import Global

__all__ = [
    "Later", "Table", "own_path", "plain_column", "renumber", "settled", "shortened", "split_tuples",
]  # fmt: skip

_WIDE = 64  # bytes of text beyond four times the longest, on the average, that a column may waste

Column = list[Any]


class Later:
    """An array of a column that becomes a member when the others have their numbers.

    Attributes:
        column: ``[kind, None]``, to be given the number.
        path: of the member.
        array: what it holds.
    """

    __slots__ = ("array", "column", "path")

    def __init__(self, column: Column, path: str, array: np.ndarray[Any, Any]) -> None:
        self.column = column
        self.path = path
        self.array = array


class Table:
    """Instances that were taken apart as columns, while they are encoded.

    Attributes:
        columns: what they hold.
        base: the number of its first row.
        shape: its number among the shapes.
        home: the frame in which a row was met first.
        together: how many were met in that frame.
        path: under which NumPy alone sees its columns, when that is known.
    """

    def __init__(self, columns: Columns, base: int, shape: int, home: Any) -> None:
        self.columns = columns
        self.base = base
        self.shape = shape
        self.home = home
        self.together = 0
        self.path = ""
        self._seen = bytearray(columns.count)
        self._single: dict[int, tuple[Any, int]] = {}
        self._many: list[tuple[int, int, Any]] = []

    def met(self, index: int, frame: Any, place: int) -> None:
        """Note where a row stands first, by which it has its natural path."""
        if not self._seen[index]:
            self._seen[index] = 1
            self._single[index] = (frame, place)
            self.together += frame is self.home

    def met_many(self, first: int, count: int, frame: Any) -> None:
        """Note that a container has nothing but these rows."""
        self.together += count if frame is self.home else 0
        self._many.append((first, count, frame))
        self._seen[first : first + count] = b"\1" * count

    def place_of(self, index: int) -> tuple[Any, int]:
        """The frame in which a row was met, and its place there."""
        known = self._single.get(index)
        if known is not None:
            return known
        for first, count, frame in self._many:
            if first <= index < first + count:
                return frame, index - first
        raise LookupError(f"row {index} was not met")


def own_path(container: str, is_alone: bool, cls: Global) -> str:
    """The path under which NumPy alone sees the columns of a table.

    Args:
        container: the path of the list or dict in which its first row stands.
        is_alone: whether all its rows stand there.
        cls: their class.
    """
    if is_alone:
        return container
    name = f"*{cls.name.rpartition('.')[2]}"
    return f"{container}/{name}" if container else name


def plain_column(values: Sequence[Any], kinds: Iterable[type], path: str) -> Column | Later | None:
    """Return a column of numbers or text, or of one value again and again; None of any other.

    Args:
        values: of all rows; not empty.
        kinds: their exact types.
        path: of the member, if there is one.
    """
    kinds = set(kinds)
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    if kind is type(None):
        return ["same", None]
    dtype = _DTYPES.get(kind)
    if dtype is not None:
        try:
            array = np.array(values, dtype)
        except OverflowError:
            return None
        if kind is not float and bool((array == array[0]).all()):
            return ["same", values[0]]
        return Later(["numbers", None], path, array)
    if kind is not str:
        return None
    if values[0] == values[-1] and values.count(values[0]) == len(values):
        return ["same", values[0]]
    longest = max(map(len, values))
    whole = "".join(values)
    if "\0" in whole or 4 * longest * len(values) > 4 * len(whole) * 4 + _WIDE * len(values):
        return None
    return Later(["text", None], path, np.array(values, f"<U{max(longest, 1)}"))


_DTYPES: dict[type, Any] = {float: "<f8", int: "<i8", bool: "|b1"}


def split_tuples(values: Sequence[Any], atoms: frozenset[type]) -> list[Sequence[Any]] | None:
    """Part tuples of plain values, all of one length, into columns; None of any other."""
    lengths = set(map(len, values))
    if len(lengths) != 1 or 0 in lengths:
        return None
    if not atoms.issuperset(map(type, chain.from_iterable(values))):
        return None
    (length,) = lengths
    return [[value[at] for value in values] for at in range(length)]


def settled(
    columns: list[Any], path: str, fields: Sequence[str], members: Members, below: int
) -> list[Column]:
    """Give columns of cells that are nothing but references their short forms.

    Args:
        columns: of a table, as they were made.
        path: under which NumPy alone sees them.
        fields: their names.
        members: where arrays are stored.
        below: the number below which are rows and the arrays of blocks.
    """
    result = []
    for field, column in zip(fields, columns, strict=True):
        if column[0] == "cells":
            column = _references(column, f"{path}/{field}" if path else field, members, below)
        result.append(column)
    return result


def _references(column: Column, path: str, members: Members, below: int) -> Column:
    cells = column[1:]
    kinds = set(map(type, cells))
    if list not in kinds or not kinds <= {list, type(None)}:
        return column
    numbers = [-1 if cell is None else cell[0] for cell in cells]
    first, count = numbers[0], len(numbers)
    if first >= 0 and numbers == list(range(first, first + count)):
        return ["run", first, count]
    if max(numbers) >= below:  # a node's number may still move
        return column
    return ["refs", members.add_apart(path, np.array(numbers, "<i8"))]


def renumber(
    nodes: list[Any], refs: Iterable[list[int]], first: int, moved: list[list[int]]
) -> list[Any]:
    """Take nodes out of the table of nodes and give all their new numbers.

    Args:
        nodes: in order.
        refs: every cell that refers to a node, once.
        first: the number that the first of those that moved gets.
        moved: runs of nodes, which follow each other from there.

    Returns:
        The nodes that stay; the first has the number behind all that moved.
    """
    numbers = [-1] * len(nodes)
    at = first
    for run in moved:
        for node in run:
            numbers[node] = at
            at += 1
    stay = []
    for node, number in enumerate(numbers):
        if number < 0:
            numbers[node] = at
            at += 1
            stay.append(nodes[node])
    for ref in refs:
        ref[0] = numbers[ref[0]]
    return stay


def shortened(node: Any) -> Any:
    """A list or dict whose parts are numbered one behind the other, as its first and their count."""
    if type(node) is not list or node[0] not in _RUNS or len(node) < _LONG:
        return node
    kind, skip = _RUNS[node[0]]
    cells = node[skip:]
    if set(map(type, cells)) != {list}:
        return node
    numbers = [cell[0] for cell in cells]
    first, count = numbers[0], len(numbers)
    if numbers != list(range(first, first + count)):
        return node
    return [kind, *node[1:skip], first, count]


_RUNS = {"list": ("listrun", 1), "dict": ("dictrun", 2)}
_LONG = 100

"""Records with the same fields as a table: which records are grouped, and how a column is stored.

Specified in ``docs/container.md``, section 11. `Columns` are
tables from the beginning; records that were encoded one by one become a table at the end, if there
are many with the same fields.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from persist._container.writing.members import Members
from persist._trees.columns import Columns, RowList
from persist.tree import Global
from persist.typing import Array

__all__ = [
    "Later", "Table", "own_path", "plain_column", "renumber", "settled", "shortened", "split_tuples",
]  # fmt: skip

_WIDE = 64  # bytes of text beyond four times the longest, on the average, that a column may waste

Column = list[Any]
Part = tuple[list[Any], set[type]]  # values, and their exact types


class Later:
    """An array of a column that becomes a member after the other arrays are numbered.

    Attributes:
        column: ``[kind, None]``, to be given the number.
        path: of the member.
        array: what it holds.
    """

    __slots__ = ("array", "column", "path")

    def __init__(self, column: Column, path: str, array: Array) -> None:
        self.column = column
        self.path = path
        self.array = array


class Table:
    """The columns of many instances, while they are encoded.

    Attributes:
        columns: what they hold.
        base: the number of its first row.
        shape: its number among the shapes.
        home: the frame in which a row was met first.
        together: how many were met in that frame.
        path: under which NumPy alone sees its columns, when that is known.
        seen: for each row, 1 if the place of its first occurrence is known.
    """

    def __init__(self, columns: Columns, base: int, shape: int, home: Any) -> None:
        self.columns = columns
        self.base = base
        self.shape = shape
        self.home = home
        self.together = 0
        self.path = ""
        self.seen = bytearray(columns.count)
        self._single: dict[int, tuple[object, int]] = {}
        self._many: list[tuple[int, int, object, int | None, int]] = []
        self._sorted = True
        self._lists: list[tuple[Sequence[Any], Any]] = []

    def met(self, index: int, frame: object, place: int) -> None:
        """Record where a row occurs first, which determines its natural path."""
        if not self.seen[index]:
            self.seen[index] = 1
            self._single[index] = (frame, place)
            self.together += frame is self.home

    def met_many(
        self, first: int, count: int, frame: object, at: int | None = None, start: int = 0
    ) -> None:
        """Record that rows follow each other in a container.

        Args:
            first: of the rows.
            count: of them.
            frame: frame of the container; or of the parent of a list, if ``at`` is given.
            at: the list's place there.
            start: the first one's place in the container or list.
        """
        self.together += count if frame is self.home and at is None else 0
        self._many.append((first, count, frame, at, start))
        self.seen[first : first + count] = b"\1" * count
        self._sorted = False

    def met_lists(
        self, values: Sequence[object], frame: object, firsts: list[int], counts: list[int]
    ) -> Array:
        """Record lists of rows in one frame, one list at each index.

        Args:
            values: the lists.
            frame: the frame that contains them.
            firsts: the first row of each run of rows in them, in order.
            counts: how many follow each other from there.

        Returns:
            The rows, one behind the other.
        """
        lengths = np.array(counts, "<i8")
        ends = np.cumsum(lengths)
        rows = np.repeat(np.array(firsts, "<i8") - (ends - lengths), lengths) + np.arange(ends[-1])
        np.frombuffer(self.seen, np.uint8)[rows] = 1
        self._lists.append((values, frame))
        return rows

    def place_of(self, index: int) -> tuple[Any, int, int | None] | None:
        """Return where a row first occurred, as a frame and an index; None if it was recorded among many.

        If the third is not None, the frame is that of the list's parent, and the list is at that place.
        """
        known = self._single.get(index)
        if known is not None:
            return (*known, None)
        for values, frame in self._lists:
            for place, value in enumerate(values):
                if type(value) is RowList:
                    if value.count:
                        self.met_many(value.first, value.count, frame, place)
                    continue
                for start, row in enumerate(value):
                    self.met_many(row.number, 1, frame, place, start)
        self._lists.clear()
        if not self._sorted:
            self._many.sort(key=lambda run: run[0])
            self._sorted = True
        near = bisect.bisect_right(self._many, index, key=lambda run: run[0]) - 1
        if near < 0:
            return None
        first, count, frame, at, start = self._many[near]
        if index >= first + count:
            return None
        return frame, start + index - first, at


def own_path(container: str, is_alone: bool, cls: Global) -> str:
    """Return the path under which the columns of a table are visible to NumPy alone.

    Args:
        container: the path of the list or dict that contains its first row.
        is_alone: whether that container contains all its rows.
        cls: their class.
    """
    if is_alone:
        return container
    name = f"*{cls.name.rpartition('.')[2]}"
    return f"{container}/{name}" if container else name


def plain_column(values: Sequence[Any], kinds: Iterable[type], path: str) -> Column | Later | None:
    """Return a column of numbers, text, or one repeated value; None for any other column.

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
            array = np.fromiter(values, dtype, len(values))
        except OverflowError:
            return None
        if kind is not float and bool((array == array[0]).all()):
            return ["same", values[0]]
        return Later(["numbers", None], path, array)
    if kind is not str:
        return None
    if values[0] == values[-1] and values.count(values[0]) == len(values):
        return ["same", values[0]]
    longest = int(np.fromiter(map(len, values), np.int64, len(values)).max())
    whole = "".join(values)
    if "\0" in whole or 4 * longest * len(values) > 4 * len(whole) * 4 + _WIDE * len(values):
        return None
    return Later(["text", None], path, np.array(values, f"<U{max(longest, 1)}"))


_DTYPES: dict[type, Any] = {float: "<f8", int: "<i8", bool: "|b1"}


def split_tuples(values: Sequence[Any], atoms: frozenset[type]) -> list[Part] | None:
    """Split tuples of plain values, all of one length, into columns; None for any other values."""
    lengths = set(map(len, values))
    if len(lengths) != 1 or 0 in lengths:
        return None
    (length,) = lengths
    parts: list[list[Any]] = [[value[at] for value in values] for at in range(length)]
    kinds = [set(map(type, part)) for part in parts]
    if not all(own <= atoms for own in kinds):
        return None
    return list(zip(parts, kinds, strict=True))


def settled(column: Column, path: str, members: Members, below: int) -> Column:
    """Return the short form of a column whose cells are all references.

    Args:
        column: as it was made.
        path: under which NumPy alone sees it.
        members: where arrays are stored.
        below: the number of the first node.
    """
    return _references(column, path, members, below) if column[0] == "cells" else column


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
    nodes: list[object], refs: Iterable[list[int]], first: int, moved: list[list[int]]
) -> list[object]:
    """Remove nodes from the table of nodes and renumber the rest.

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


def shortened(node: object) -> object:
    """Return a list or dict whose parts have consecutive numbers as the first number and their count."""
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

"""Tables of rows, as they are read: what each column holds, and rows as records.

Specified in ``docs/container.md``, section 11. Rows are made first, empty, so that whatever
refers to them can be made; they are filled when all else is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from persist.tree import LazyArray, Record
from persist.typing import Array

if TYPE_CHECKING:
    from persist._container.reading.decode import Decoder
    from persist._container.reading.decode_nodes import Node

__all__ = ["BACKED", "Table", "as_records", "columns_of", "fill_lists", "row_of", "run_of"]

_DEEP = 8  # tuples in tuples
_NUMBERS = frozenset(map(np.dtype, ("<f8", "<i8", "|b1")))
BACKED = frozenset(("numbers", "text", "refs", "cells"))
_slots: Any = vars(Record)
_set_cls, _set_kind, _set_state, _set_version = (
    _slots[name].__set__ for name in ("cls", "kind", "state", "version")
)


class Table:
    """Rows of one shape.

    Attributes:
        shape: what they have in common.
        count: of rows.
        columns: one for each field, as ``graph.json`` has them.
    """

    __slots__ = ("columns", "count", "shape")

    def __init__(self, said: Any, shapes: Sequence[Any]) -> None:
        number, self.count, self.columns = said["shape"], said["count"], said["columns"]
        if type(number) is not int or not 0 <= number < len(shapes):
            raise ValueError(f"there is no shape {number!r}")
        self.shape = shapes[number]
        if type(self.count) is not int or self.count < 0:
            raise ValueError(f"a table of {self.count!r} rows")
        if len(self.columns) != len(self.shape.fields) or not self.columns:
            raise ValueError(
                f"{len(self.columns)} columns are given for {len(self.shape.fields)} fields"
            )

    @property
    def is_backed(self) -> bool:
        """Whether there is a column that takes room in the file for every row."""
        return any(column[0] in BACKED for column in self.columns)

    def records(self) -> list[Record]:
        """Return its rows as records, their states empty."""
        new, shape = Record.__new__, self.shape
        made = [new(Record) for _ in range(self.count)]
        _run(map(_set_cls, made, repeat(shape.cls)))
        _run(map(_set_kind, made, repeat(shape.kind)))
        _run(map(_set_state, made, [{} for _ in range(self.count)]))
        if shape.is_rare:
            _run(map(_set_version, made, repeat(shape.version)))
        if shape.maker is not None:
            for record in made:
                record.maker = shape.maker
        return made


def as_records(shape: Any, rows: list[Record], columns: list[Any]) -> None:
    """Fill the states of records."""
    states = [record.state for record in rows]
    pairs = map(zip, repeat(shape.fields), zip(*columns, strict=True))
    _run(map(dict.update, states, pairs))


def _run(calls: Any) -> None:
    deque(calls, maxlen=0)


def columns_of(decoder: Decoder, table: Table) -> list[list[object]]:
    """Return the values in each column."""
    return [_values(decoder, column, table.count) for column in table.columns]


def _values(decoder: Decoder, column: Any, count: int, depth: int = 0) -> list[Any]:
    if depth > _DEEP:
        raise ValueError(f"tuples of tuples, more than {_DEEP} deep")
    kind, *rest = column
    if kind == "tuples":
        if not rest:
            raise ValueError("tuples of nothing")
        parts = [_values(decoder, part, count, depth + 1) for part in rest]
        if count and all(part[0] == "same" for part in rest):
            return [tuple(part[0] for part in parts)] * count  # one tuple, as it may have been
        return list(zip(*parts, strict=True))
    values = _KINDS[kind](decoder, rest, count)
    if len(values) != count:
        raise ValueError(f"{len(values)} values are given for {count} rows")
    return values


def fill_lists(decoder: Decoder, said: Any, lists: list[list[object]]) -> None:
    """Give lists that are stored together what is in them."""
    lengths = _values(decoder, said["lengths"], len(lists))
    if set(map(type, lengths)) - {int} or min(lengths, default=0) < 0:
        raise ValueError("the lengths of lists are not whole numbers")
    items = _values(decoder, said["items"], sum(lengths))
    start = 0
    for one, length in zip(lists, lengths, strict=True):
        one += items[start : start + length]
        start += length


def _member(decoder: Decoder, rest: Node) -> Array:
    (number,) = rest
    array: Array = decoder.raw([number])
    if array.ndim != 1:
        raise TypeError(f"a column is an array of {array.ndim} axes")
    return array


def _numbers(decoder: Decoder, rest: Node, count: int) -> list[Any]:
    array = _member(decoder, rest)
    if array.dtype not in _NUMBERS:
        raise TypeError(f"numbers are an array of {array.dtype}")
    values: list[Any] = array.tolist()
    return values


def _text(decoder: Decoder, rest: Node, count: int) -> list[Any]:
    array = _member(decoder, rest)
    if array.dtype.kind != "U":
        raise TypeError(f"text is an array of {array.dtype}")
    values: list[Any] = array.tolist()
    return values


def _refs(decoder: Decoder, rest: Node, count: int) -> list[object]:
    array, built = _member(decoder, rest), decoder.built
    if array.dtype != np.dtype("<i8"):
        raise TypeError(f"references are an array of {array.dtype}")
    if len(array) and not -1 <= int(array.min()) <= int(array.max()) < len(built):
        raise ValueError(f"a reference is not from -1 to {len(built) - 1}")
    return [None if number < 0 else built[number] for number in array.tolist()]


def _run_column(decoder: Decoder, rest: Node, count: int) -> list[object]:
    first, many = rest
    return run_of(decoder, first, many)


def _same(decoder: Decoder, rest: Node, count: int) -> list[Any]:
    (cell,) = rest
    decoder.copies(8 * count)
    return [decoder.cell(cell)] * count


def _cells(decoder: Decoder, rest: Node, count: int) -> list[object]:
    built = decoder.built
    return [built[cell[0]] if cell.__class__ is list else cell for cell in rest]


_KINDS: dict[str, Callable[[Decoder, Node, int], list[Any]]] = {
    "numbers": _numbers,
    "text": _text,
    "refs": _refs,
    "run": _run_column,
    "same": _same,
    "cells": _cells,
}


def run_of(decoder: Decoder, first: object, count: object) -> list[object]:
    """Return values that are numbered one behind the other."""
    built = decoder.built
    if type(first) is not int or type(count) is not int or not 0 <= first <= len(built) - count:
        raise ValueError(f"there are no values {first!r} and {count!r} from there")
    if count < 0:
        raise ValueError(f"{count} values")
    decoder.copies(8 * count)
    return built[first : first + count]


def row_of(block: Array | LazyArray, at: int) -> Array | LazyArray:
    """Return one array of a block, lazy where the block is."""
    if type(block) is not LazyArray:
        return block[at, ...]

    def fetch() -> Array:
        if block._whole is None and block._rows is not None:
            return block._rows(at, at + 1)[0, ...]
        return block.read()[at, ...]

    return LazyArray(block.dtype, block.shape[1:], fetch)

"""JSON that names tensors one after the other, as writers spell it: read with NumPy, all at once.

A file of 20,000 tensors has a header of two megabytes, every tensor of which is spelled alike:
``"name":{"dtype":"F32","shape":[16,16],"data_offsets":[0,1024]}``. Parsing it as any JSON makes five
objects a tensor, and checking each by itself as much again. Here the positions of quotes and commas
are found at once, the text between them is compared with the expected text, the numbers are
read eight digits at a time, and only the names become objects.

It is a shortcut and no second grammar: what is spelled otherwise (blanks, escapes, names beyond
ASCII, keys in another order, numbers beyond 16 digits) or breaks any rule gives None, and is read,
or refused with its place, as the JSON that it is. A test compares both ways.

Source of the eight digits: D. Lemire, "Quickly parsing eight digits" (2018).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from persist.typing import Array

__all__ = ["Rows", "Tensor", "rows_of"]

Tensor = tuple[str, tuple[int, ...], int, int]
"""The dtype's name, the shape, and where in the data it begins and ends."""

_Whole = np.ndarray[Any, np.dtype[np.int64]]
_Words = np.ndarray[Any, np.dtype[np.uint64]]

_KIND, _SHAPE, _PLACE = b'":{"dtype":"', b'","shape":[', b'],"data_offsets":['
_LONGEST = 11  # characters of a dtype's name: with the quote before them they fit 12 bytes
_MOST = 1 << 62  # elements, and bits of them


class Rows(Mapping[str, Tensor]):
    """The tensors of a header by name, in its order; each is spelled out when it is asked for."""

    def __init__(
        self,
        names: dict[str, int],
        kinds: list[str],
        codes: Array,
        shapes: tuple[_Whole, _Whole],
        places: tuple[_Whole, _Whole],
    ) -> None:
        self._names = names
        self._kinds = kinds
        self._codes = codes
        self._extents, self._firsts = shapes  # of all tensors; where those of each begin
        self._begins, self._ends = places

    def __getitem__(self, name: str) -> Tensor:
        row = self._names[name]
        first, last = self._firsts[row : row + 2]
        return (
            self._kinds[self._codes[row]],
            tuple(self._extents[first:last].tolist()),
            int(self._begins[row]),
            int(self._ends[row]),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def all(self) -> Iterator[tuple[str, str, tuple[int, ...], int, int]]:
        """Yield the name and the four facts of every tensor."""
        kinds, extents = self._kinds, self._extents.tolist()
        firsts = self._firsts.tolist()
        return zip(
            self._names,
            [kinds[code] for code in self._codes.tolist()],
            [tuple(extents[at:to]) for at, to in itertools.pairwise(firsts)],
            self._begins.tolist(),
            self._ends.tolist(),
            strict=True,
        )


def rows_of(text: bytes, size: int, bits: Mapping[str, int]) -> Rows | None:
    """Return the tensors that a header names, or None where it is not spelled as writers spell it.

    Args:
        text: the header from the quote before the name of the first tensor on.
        size: bytes of the data, which the tensors fill without hole or overlap.
        bits: dtype's name -> bits of an element.
    """
    text = text.rstrip(b" ")
    if not text.isascii() or b"\\" in text or text[:1] != b'"' or text[-3:] != b"]}}":
        return None
    stop = len(text) - 3
    text += b" " * 8  # padding, so that eight bytes can be read at any place
    data = np.frombuffer(text, np.uint8)
    quotes: Any = np.flatnonzero(data == 0x22)
    if len(quotes) % 10 or int(data.min()) < 0x20:
        return None
    quotes = quotes.reshape(-1, 10)
    # Of each: where the name, the dtype, the shape and the offsets begin and end.
    name, name_end, kind, kind_end = quotes[:, 0] + 1, quotes[:, 1], quotes[:, 4] + 1, quotes[:, 5]
    shape, shape_end, place = kind_end + len(_SHAPE), quotes[:, 8] - 2, quotes[:, 9] + 3
    place_end = np.append(quotes[1:, 0] - 3, stop)
    windows: _Words = np.ndarray((len(text) - 7,), "<u8", text, 0, (1,))  # eight bytes at any place
    if not (
        _stands(windows, name_end, _KIND)
        and _stands(windows, kind_end, _SHAPE)
        and _stands(windows, shape_end, _PLACE)
        and bool((kind - name_end == len(_KIND)).all())
        and bool((windows[place_end[:-1] - 5] >> np.uint64(40) == 0x2C7D5D).all())  # ]},
    ):
        return None
    commas = np.flatnonzero(data == 0x2C)
    first = np.searchsorted(commas, shape)  # in each shape, and behind it one, and two more
    last = np.append(first[1:] - 4, len(commas) - 2)
    if bool((last < first).any()) or bool((commas[last] != shape_end + 1).any()):
        return None
    found = _codes(windows, text, kind, kind_end, bits)
    between = commas[last + 1]
    ranks = np.where(shape == shape_end, 0, last - first + 1)
    extents = _extents(windows, commas, first, ranks, shape, ranks > 0, shape_end)
    begins = _numbers(windows, place, between)
    ends = _numbers(windows, between + 1, place_end)
    if found is None or extents is None or begins is None or ends is None:
        return None
    kinds, codes, widths = found
    firsts = np.append(0, np.cumsum(ranks))
    if not _fit(extents, firsts, ranks, widths, ends - begins) or not _fill(begins, ends, size):
        return None
    line = text.decode("ascii")
    spans = zip(name.tolist(), name_end.tolist(), range(len(quotes)), strict=True)
    names = {line[begin:end]: row for begin, end, row in spans}
    if len(names) != len(quotes):  # some name is there twice
        return None
    return Rows(names, kinds, codes, (extents, firsts), (begins, ends))


def _stands(windows: _Words, at: _Whole, text: bytes) -> bool:
    """Whether this text is found at each place."""
    if int(at[-1]) + len(text) > len(windows) + 7:
        return False
    for index in {*range(0, len(text) - 8, 8), len(text) - 8}:
        if bool((windows[at + index] != int.from_bytes(text[index : index + 8], "little")).any()):
            return False
    return True


def _codes(
    windows: _Words, text: bytes, begin: _Whole, end: _Whole, bits: Mapping[str, int]
) -> tuple[list[str], Array, _Whole] | None:
    """The dtypes that occur, of each tensor which of them, and the bits of its elements.

    The 12 bytes before the end of a name hold all of it, and the quote before it.
    """
    lengths = end - begin
    if not len(lengths) or int(lengths.max()) > _LONGEST:
        return None
    low, high = windows[end - 12], windows[end - 8]
    codes = np.zeros(len(begin), np.intp)
    widths = np.zeros(len(begin), np.int64)
    kinds: list[str] = []
    left = np.arange(len(begin))
    while len(left):
        one = left[0]
        kind = text[begin[one] : end[one]].decode("ascii")
        if kind not in bits:
            return None
        same = (low[left] == low[one]) & (high[left] == high[one])
        codes[left[same]], widths[left[same]] = len(kinds), bits[kind]
        kinds.append(kind)
        left = left[~same]
    return kinds, codes, widths


def _extents(
    windows: _Words,
    commas: _Whole,
    first: _Whole,
    ranks: _Whole,
    shape: _Whole,
    is_there: Array,
    shape_end: _Whole,
) -> _Whole | None:
    """The extents of all shapes, one after the other."""
    total = int(ranks.sum())
    behind = np.cumsum(ranks)
    index = np.arange(total) + np.repeat(first - (behind - ranks), ranks)
    begin, end = commas[index - 1] + 1, commas[index]
    begin[(behind - ranks)[is_there]] = shape[is_there]
    end[behind[is_there] - 1] = shape_end[is_there]
    return _numbers(windows, begin, end)


def _numbers(windows: _Words, begin: _Whole, end: _Whole) -> _Whole | None:
    """The numbers between these places, of 1 to 16 digits each."""
    lengths = end - begin
    if not len(lengths):
        return np.zeros(0, np.int64)
    if int(lengths.min()) < 1 or int(lengths.max()) > 16:
        return None
    if bool(((lengths > 1) & (windows[begin] & np.uint64(0xFF) == 0x30)).any()):
        return None  # JSON knows no zero in front
    values = _eight(windows, begin, np.minimum(lengths, 8))
    if values is None or not bool((lengths > 8).any()):
        return values
    more = np.flatnonzero(lengths > 8)
    rest = _eight(windows, begin[more] + 8, lengths[more] - 8)
    if rest is None:
        return None
    values[more] = values[more] * 10 ** (lengths[more] - 8) + rest
    return values


def _eight(windows: _Words, begin: _Whole, lengths: _Whole) -> _Whole | None:
    """The numbers of 1 to 8 digits at these places: digits, pairs, fours and eights are joined."""
    shift = (8 * (8 - lengths)).astype(np.uint64)
    zeros = np.array([0x3030303030303030 & ((1 << 8 * (8 - n)) - 1) for n in range(9)], np.uint64)
    word = windows[begin] << shift | zeros[lengths]
    past = word + np.uint64(0x4646464646464646) | word - np.uint64(0x3030303030303030)
    if bool((past & np.uint64(0x8080808080808080)).any()):
        return None
    word = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561) >> np.uint64(8)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    word = (word & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
    return word.astype(np.int64)


def _fit(extents: _Whole, firsts: _Whole, ranks: _Whole, widths: _Whole, lengths: _Whole) -> bool:
    """Whether shape times dtype are the bytes between the offsets, and no extent is out of reach."""
    if int(ranks.max()) > 32:
        return False
    counts, rough = np.ones(len(ranks), np.int64), np.ones(len(ranks))
    for axis in range(int(ranks.max())):
        rows = np.flatnonzero(ranks > axis)
        sizes = extents[firsts[rows] + axis]
        counts[rows] *= sizes
        rough[rows] *= np.maximum(sizes, 1)  # also of an empty array: NumPy counts so
    if float(rough.max()) * 64 >= _MOST:
        return False
    return bool((counts * widths == 8 * lengths).all())


def _fill(begins: _Whole, ends: _Whole, size: int) -> bool:
    """Whether the tensors follow each other, and take all of the data."""
    if not bool((begins[1:] == ends[:-1]).all()):
        order = np.lexsort((ends, begins))
        begins, ends = begins[order], ends[order]
    return bool(begins[0] == 0 and ends[-1] == size and (begins[1:] == ends[:-1]).all())

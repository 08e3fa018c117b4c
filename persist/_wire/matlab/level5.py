"""MAT-files of level 5, as MATLAB 5 to 7.2 and ``-v6`` and ``-v7`` of later releases write them.

Evidence: "MAT-File Format" (The MathWorks), chapter "Level 5 MAT-File Format"; ``scipy/io/matlab`` for
what the document leaves out: objects of MATLAB's classes (class 17), function handles (class 16), and
the subsystem data. Files of MATLAB 5.3 to 8 and Octave.

- The header has 128 bytes: 116 of text, the offset of the subsystem data (8), the version (0x0100) and
  ``MI`` as a number of 16 bits, which shows the byte order.
- A variable is one element of type 14 (matrix), or a compressed one.
- A matrix holds: flags and class (2 uint32), the lengths of the axes (int32), its name (int8), and
  by its class numbers, indices, matrices. Arrays are in column-major order.
- Numbers may be stored in a narrower type than that of their class.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.source import Source
from persist._wire.matlab.characters import text_of_bytes, text_of_codes
from persist._wire.matlab.elements import (
    COMPRESSED,
    MATRIX,
    TEXTS,
    Element,
    broken,
    element,
    inflated,
    numbers,
)
from persist.errors import DamagedFileError, LimitError
from persist.tree import LazyArray, Record
from persist.typing import Array, DType

__all__ = ["CLASSES", "SPARSE_CLASS", "Reading", "Variable", "complex_of", "order_of", "sparse"]

HEADER = 128
CELL, STRUCT, OBJECT, CHAR, SPARSE = range(1, 6)
FUNCTION, OPAQUE = 16, 17
SPARSE_CLASS = "matlab.sparse"
CLASSES = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8",
    9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64",
    16: "function_handle", 17: "opaque",
}  # fmt: skip
_DTYPES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
_LOGICAL, _GLOBAL, _COMPLEX = 0x200, 0x400, 0x800
_COST = 128  # bytes that a value takes in memory, at least
_SMALL = 1 << 16  # bytes of a variable that is inflated at once
_READY = 4096  # bytes of numbers that are converted at once
_MOST_AXES = 64
_MOST_NOTES = 1000


class Head(NamedTuple):
    """The first parts of a matrix."""

    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str
    next: int  # offset of the following part


class Variable(NamedTuple):
    """A variable of the file.

    Attributes:
        name: as in the file, "" if it has none.
        value: what it holds.
        described: class, shape and flags, as JSON.
    """

    name: str
    value: Any
    described: dict[str, Any]


_Step = Generator[tuple[int, int], Any, Any]


def order_of(source: Source) -> str | None:
    """Return the byte order, "<" or ">", if the file begins as one of level 5."""
    head = source.head(HEADER)
    if len(head) < HEADER or not all(31 < byte < 127 for byte in head[:4]):
        return None
    return {b"\0\1IM": "<", b"\1\0MI": ">"}.get(head[124:128])


class Reading:
    """Reads the variables of one file.

    Args:
        source: the file.
        order: its byte order.
        salvage: report damaged variables instead of raising.
        eager: inflate large compressed variables now, so that their checksums are verified; always
            so with ``salvage``.

    Attributes:
        damage: messages about damage.
        notes: messages about what was left out.
        noted: the notes, of which each is made once.
        classes: names of the classes of objects.
    """

    def __init__(
        self, source: Source, order: str, *, salvage: bool = False, eager: bool = False
    ) -> None:
        self.source = source
        self.order = order
        self.salvage = salvage
        self.eager = eager or salvage
        self.damage: list[str] = []
        self.notes: list[str] = []
        self.noted: set[str] = set()
        self.classes: set[str] = set()

    def subsystem(self) -> int:
        """Return the offset of the subsystem data, 0 if there is none."""
        raw = self.source.read(116, 8)
        if not raw.strip(b" \0"):
            return 0
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def variables(self) -> list[Variable]:
        """Return all variables, in the order of the file.

        Raises:
            DamagedFileError: one is damaged, unless damage is only reported.
        """
        found: list[Variable] = []
        at, private = HEADER, self.subsystem()
        while at < self.source.size:
            try:
                one = element(self.source, self.order, at)
            except DamagedFileError as error:
                if not self.salvage:
                    raise
                self.damage.append(f"the file ends within variable {len(found) + 1}: {error.what}")
                break
            if at == private:
                self.notes.append(
                    f"{one.length:,} bytes of subsystem data, MATLAB's private form of objects and of "
                    "the workspaces of functions, were left out"
                )
            else:
                self._take(one, len(found) + 1, found)
            at = one.end
        return found

    def _take(self, one: Element, number: int, found: list[Variable]) -> None:
        try:
            found.append(self._variable(one, number))
        except DamagedFileError as error:
            if not self.salvage:
                raise
            self.damage.append(
                f"variable {number}, at offset {one.start:,}, was left out: {error.what}"
            )

    def _variable(self, one: Element, number: int) -> Variable:
        self.source.spend(_COST)
        if one.kind == MATRIX:
            return _Matrices(self, self.source).variable(one)
        if one.kind != COMPRESSED:
            raise broken(self.source, one.start, f"a variable has the type {one.kind}.")
        name = f"variable {number}"
        if not self.eager:
            part, whole = inflated(self.source, self.order, one, name, _SMALL)
            lazy = self._late(one, name, part, whole) if whole > _SMALL else None
            if lazy is not None:
                return lazy
        part, _ = inflated(self.source, self.order, one, name)
        matrices = _Matrices(self, part)
        return matrices.variable(element(part, self.order, 0))

    def _late(self, one: Element, name: str, part: Source, whole: int) -> Variable | None:
        """A large variable of numbers, of which only the beginning is inflated; None for others."""
        matrices = _Matrices(self, part)
        head = matrices.head(8, part.size)
        plain = _DTYPES.get(head.kind)
        count = math.prod(head.shape)
        if (
            plain is None
            or not count
            or (head.flags & _COMPLEX and plain[1] == "8" and plain[0] != "f")
        ):
            return None
        if count > whole or len(head.shape) > _MOST_AXES:
            raise broken(
                self.source, one.start, f"{count:,} numbers are claimed in {whole:,} bytes."
            )

        def fetch() -> Array:
            inner, _ = inflated(self.source, self.order, one, name)
            value = _Matrices(self, inner).variable(element(inner, self.order, 0)).value
            return np.asarray(value).astype(dtype, copy=False)

        dtype = _dtype_of(head, plain)
        return Variable(head.name, LazyArray(dtype, head.shape, fetch), _described(head))


def _dtype_of(head: Head, plain: str) -> DType:
    """The dtype of the values of a class of numbers, in the machine's byte order."""
    if head.flags & _COMPLEX:
        return from_text("c8" if plain == "f4" else "c16")
    return from_text("?" if head.flags & _LOGICAL and plain == "u1" else plain)


def _described(head: Head) -> dict[str, object]:
    described: dict[str, object] = {
        "class": CLASSES.get(head.kind, str(head.kind)),
        "shape": list(head.shape),
    }
    for name, flag in (("logical", _LOGICAL), ("global", _GLOBAL), ("complex", _COMPLEX)):
        if head.flags & flag:
            described[name] = True
    return described


class _Matrices:
    """Reads matrices, with those inside, from one source: the file, or an inflated variable."""

    def __init__(self, reading: Reading, source: Source) -> None:
        self.reading = reading
        self.source = source
        self.order = reading.order
        self.top: Head | None = None

    def variable(self, one: Element) -> Variable:
        if one.kind != MATRIX:
            raise broken(self.source, one.start, f"a variable has the type {one.kind}.")
        if not one.length:
            raise broken(self.source, one.start, "a variable is empty: it has no name.")
        # A loop over generators: cells can be nested deeper than Python's stack.
        stack: list[_Step] = [self._matrix(one.start, one.start + one.length)]
        value: Any = None
        while stack:
            try:
                child = stack[-1].send(value)
            except StopIteration as done:
                stack.pop()
                value = done.value
                continue
            if len(stack) >= self.source.limits.depth:
                raise LimitError(
                    f"cells are nested more than {self.source.limits.depth:,} deep.",
                    file=self.source.name,
                    remedy='If the file is honest, raise limits={"depth": ...}.',
                )
            stack.append(self._matrix(*child))
            value = None
        assert self.top is not None
        return Variable(self.top.name, value, _described(self.top))

    # The parts of a matrix.

    def head(self, start: int, end: int) -> Head:
        """Return the flags, axes and name that a matrix begins with."""
        one = element(self.source, self.order, start)
        flags = numbers(self.source, self.order, one, "u4 i4", "the flags")
        if len(flags) != 2:
            raise broken(self.source, start, f"the flags are {len(flags)} numbers, not 2.")
        kind, bits = int(flags[0]) & 0xFF, int(flags[0]) & 0xFF00
        shape: tuple[int, ...] = ()
        at = one.end
        if kind != OPAQUE:
            one = element(self.source, self.order, at)
            if one.length > 4 * _MOST_AXES:
                raise broken(self.source, at, f"a matrix has {one.length // 4:,} axes.")
            shape = tuple(map(int, numbers(self.source, self.order, one, "i4 u4", "the axes")))
            if len(shape) < 2 or min(shape) < 0:
                raise broken(self.source, at, f"the axes of a matrix are {shape}.")
            at = one.end
        name, at = self.text(at, "the name")
        if at > end + 7:
            raise broken(self.source, start, "a matrix ends before its name.")
        return Head(kind, bits, shape, name, at)

    def text(self, at: int, what: str) -> tuple[str, int]:
        """Return a short text, and the offset behind it."""
        one = element(self.source, self.order, at)
        if one.kind not in (1, 2, 16) or one.length > 1 << 16:
            raise broken(
                self.source, at, f"{what} is {one.length:,} bytes of type {one.kind}, not a text."
            )
        raw = self.source.read(one.start, one.length).rstrip(b"\0")
        try:
            return raw.decode("utf-8"), one.end
        except UnicodeDecodeError:
            return raw.decode("latin-1"), one.end

    def _matrix(self, start: int, end: int) -> _Step:
        """One matrix; yields the place of each matrix inside, and is sent its value."""
        self.source.spend(_COST)
        if start == end:  # MATLAB's way to write [] inside of a cell or struct
            return np.zeros((0, 0))
        head = self.head(start, end)
        if self.top is None:
            self.top = head
        if head.kind in _DTYPES:
            return self._numbers(head, end)
        if head.kind == CHAR:
            return self._characters(head)
        if head.kind == SPARSE:
            return self._sparse(head)
        if head.kind == CELL:
            items, _ = yield from self._items(head.next, end, math.prod(head.shape))
            return _arranged(items, head.shape)
        if head.kind == STRUCT:
            return (yield from self._structs(head, head.next, end, None))
        if head.kind == OBJECT:
            name, at = self.text(head.next, "the name of a class")
            return (yield from self._structs(head, at, end, name))
        if head.kind == FUNCTION:
            items, _ = yield from self._items(head.next, end, 1)
            return self._record("function_handle", {"definition": items[0]})
        if head.kind == OPAQUE:
            return (yield from self._opaque(head, end))
        raise broken(self.source, start, f"a matrix has the class {head.kind}, which MATLAB lacks.")

    def _items(
        self, at: int, end: int, count: int
    ) -> Generator[tuple[int, int], Any, tuple[list[Any], int]]:
        """So many matrices, one after another, and the offset behind them."""
        if count * 8 > end - at + 7:
            raise broken(
                self.source, at, f"{count:,} matrices are claimed in {max(0, end - at):,} bytes."
            )
        items = []
        for _ in range(count):
            one = element(self.source, self.order, at)
            if one.kind != MATRIX:
                raise broken(self.source, at, f"a cell or field has the type {one.kind}.")
            items.append((yield one.start, one.start + one.length))
            at = one.end
        return items, at

    def _structs(self, head: Head, at: int, end: int, cls: str | None) -> _Step:
        one = element(self.source, self.order, at)
        widths = numbers(self.source, self.order, one, "i4 u4", "the length of the names of fields")
        width = int(widths[0]) if len(widths) == 1 else 0
        one = element(self.source, self.order, one.end)
        if one.kind not in (1, 2) or (one.length and (width < 1 or one.length % width)):
            raise broken(
                self.source, at, f"{one.length:,} bytes are no names of {width:,} bytes each."
            )
        raw = self.source.read(one.start, one.length)
        self.source.spend(_COST * (len(raw) // max(width, 1)))
        names = _unique([_name(raw[i : i + width]) for i in range(0, len(raw), width or 1)])
        count = math.prod(head.shape)
        self.source.spend(_COST * count)
        values, _ = yield from self._items(one.end, end, count * len(names))
        each = len(names)
        items: list[Any] = [
            dict(zip(names, values[i * each : (i + 1) * each], strict=True)) for i in range(count)
        ]
        if cls is not None:
            items = [self._record(cls, fields) for fields in items]
        return items[0] if math.prod(head.shape) == 1 else _arranged(items, head.shape)

    def _opaque(self, head: Head, end: int) -> _Step:
        system, at = self.text(head.next, "the system of types")
        cls, at = self.text(at, "the name of a class")
        items, _ = yield from self._items(at, end, 1)
        self._note(
            f"an object of the class {cls!r} ({system}) is only named: its properties are in the subsystem "
            "data, in MATLAB's private form"
        )
        return self._record(cls, {"type_system": system, "reference": items[0]})

    def _record(self, cls: str, fields: dict[str, object]) -> Record:
        name = f"matlab.{cls}"
        self.reading.classes.add(name)
        return Record(name, fields)

    def _note(self, what: str) -> None:
        """Report something about a value of the current variable, once each."""
        note = f"in {self.top.name!r}, {what}" if self.top is not None else what
        if note not in self.reading.noted and len(self.reading.noted) < _MOST_NOTES:
            self.reading.noted.add(note)
            self.reading.notes.append(note)

    # Numbers.

    def _numbers(self, head: Head, end: int) -> Any:
        plain = _DTYPES[head.kind]
        real, at = self._part(head.next, head.shape)
        if not head.flags & _COMPLEX:
            is_logical = head.flags & _LOGICAL and plain == "u1"
            return _as_logical(real, self.source) if is_logical else self._as_class(real, plain)
        imaginary, _ = self._part(at, head.shape)
        real, imaginary = self._as_class(real, plain), self._as_class(imaginary, plain)
        if plain in ("i8", "u8"):  # no complex dtype of NumPy holds them
            return self._record("complex", {"real": real, "imag": imaginary})
        return complex_of(real, imaginary, _dtype_of(head, plain), self.source)

    def _part(
        self, at: int, shape: tuple[int, ...] | None, count: int | None = None
    ) -> tuple[Any, int]:
        """An array as it is stored, with one axis if ``shape`` is None, and the offset behind it.

        The entries of a logical sparse matrix are bytes, although their tag says float64: there are
        ``count`` of them.
        """
        one = element(self.source, self.order, at)
        dtype = one.dtype(self.order)
        if count is not None and one.length == count:
            dtype = from_text("u1")
        if dtype is None:
            raise broken(self.source, at, f"numbers have the type {one.kind}.")
        if shape is None:
            shape = (one.length // dtype.itemsize,)
        if math.prod(shape) * dtype.itemsize != one.length:
            raise broken(
                self.source, at, f"{one.length:,} bytes do not hold an array of {dtype} {shape}."
            )
        return self.source.array(one.start, dtype, shape, "F"), one.end

    def _as_class(self, stored: Any, plain: str) -> Any:
        """Numbers that are stored in a narrower type, in the type of their class."""
        dtype = from_text(plain)
        if stored.dtype.newbyteorder("=") == dtype:
            return stored
        return _ready(
            dtype, stored.shape, functools.partial(_converted, stored, dtype, self.source)
        )

    def _characters(self, head: Head) -> object:
        if not math.prod(head.shape):
            codes = np.zeros(0, np.uint16)
            return text_of_codes(codes, head.shape, self.source)
        one = element(self.source, self.order, head.next)
        if not one.length:  # SciPy and files in the wild: MATLAB takes them for blanks
            self.source.spend(2 * math.prod(head.shape))
            self._note(
                f"a text of {math.prod(head.shape):,} characters has no data, and is given as blanks"
            )
            return text_of_codes(
                np.full(math.prod(head.shape), 32, np.uint16), head.shape, self.source
            )
        if one.kind in TEXTS:
            data = self.source.view(one.start, one.length)
            text = text_of_bytes(data, TEXTS[one.kind], self.order, head.shape, self.source)
            if isinstance(text, bytes):
                self._note(f"a text is not {TEXTS[one.kind].upper()}, and is given as bytes")
            return text
        codes, _ = self._part(head.next, None)
        codes = np.asarray(codes)
        if codes.dtype.kind == "i":
            codes = codes.view(codes.dtype.str.replace("i", "u"))
        if codes.dtype.kind != "u":
            raise broken(
                self.source, head.next, f"characters are numbers of the type {codes.dtype}."
            )
        return text_of_codes(codes, head.shape, self.source)

    def _sparse(self, head: Head) -> Record:
        if len(head.shape) != 2:
            raise broken(self.source, head.next, f"a sparse matrix has the axes {head.shape}.")
        rows, at = self._part(head.next, None)
        columns, at = self._part(at, None)
        is_logical = head.flags & _LOGICAL
        data, at = self._part(at, None, len(rows) if is_logical else None)
        is_complex = head.flags & _COMPLEX
        imaginary = self._part(at, None)[0] if is_complex else None
        indices, indptr = np.asarray(rows), np.asarray(columns)
        parts = [indices, data] if imaginary is None else [indices, data, imaginary]
        count = _checked(indices, indptr, parts, head.shape, self.source, at)
        indices = indices[:count]
        data = data[:count]
        if imaginary is not None:
            data = complex_of(data, imaginary[:count], from_text("c16"), self.source)
        elif is_logical:
            data = _as_logical(data, self.source)
        elif data.dtype.kind in "iu":  # sparse matrices are logical or double
            data = self._as_class(data, "f8")
        self.reading.classes.add(SPARSE_CLASS)
        return sparse(data, indices, indptr, head.shape)


def sparse(data: object, indices: object, indptr: object, shape: tuple[int, ...]) -> Record:
    """Return a sparse matrix, in compressed columns as in ``scipy.sparse.csc_matrix``."""
    fields = {"data": data, "indices": indices, "indptr": indptr, "shape": tuple(shape)}
    return Record(SPARSE_CLASS, fields)


def _checked(
    indices: Array, indptr: Array, parts: list[Any], shape: tuple[int, ...], source: Source, at: int
) -> int:
    """Return the number of entries of a sparse matrix whose indices fit its axes and its data."""
    is_whole = indices.dtype.kind in "iu" and indptr.dtype.kind in "iu"
    if not is_whole or len(indptr) != shape[1] + 1:
        raise broken(
            source, at, f"a sparse matrix of shape {shape} has {len(indptr):,} offsets of columns."
        )
    count = int(indptr[-1])
    is_rising = indptr[0] == 0 and bool((indptr[:-1] <= indptr[1:]).all())
    if not is_rising or count > min(map(len, parts)):
        raise broken(source, at, "the offsets of the columns of a sparse matrix are wrong.")
    used = indices[:count]
    if count and not (int(used.min()) >= 0 and int(used.max()) < shape[0]):
        raise broken(source, at, "a row of a sparse matrix is beyond its shape.")
    return count


def _ready(dtype: DType, shape: tuple[int, ...], make: Any) -> object:
    """A lazy array, or the array itself if it is small."""
    if math.prod(shape) * dtype.itemsize <= _READY:
        return make()
    return LazyArray(dtype, shape, make)


def _converted(stored: Any, dtype: DType, source: Source) -> Array:
    source.spend(math.prod(stored.shape) * dtype.itemsize)
    raw = np.asarray(stored)
    with np.errstate(all="ignore"):
        made = raw.astype(dtype)
        is_same = np.can_cast(raw.dtype, dtype, "safe") or bool((made == raw).all())
    if not is_same:
        raise DamagedFileError(
            f"numbers of the type {raw.dtype} are beyond their class, {dtype}.",
            file=source.name,
            remedy="The file is damaged.",
        )
    return made


def _as_logical(stored: Any, source: Source) -> Any:
    def make() -> Array:
        source.spend(math.prod(stored.shape))
        logical: Array = np.asarray(stored) != 0
        return logical

    return _ready(from_text("?"), stored.shape, make)


def complex_of(real: Any, imaginary: object, dtype: DType, source: Source) -> Any:
    """Return the complex array of two arrays of one shape; a lazy one if it is large."""

    def make() -> Array:
        source.spend(math.prod(real.shape) * dtype.itemsize)
        made = np.empty(real.shape, dtype, order="F")
        made.real, made.imag = np.asarray(real), np.asarray(imaginary)
        return made

    return _ready(dtype, real.shape, make)


def _arranged(items: list[Any], shape: tuple[int, ...]) -> object:
    """Items in column-major order: a list if at most one axis is longer than 1, else an object array."""
    if sum(extent != 1 for extent in shape) < 2 or not items:
        return items
    grid = np.empty(len(items), object)
    for number, item in enumerate(items):
        grid[number] = item
    return grid.reshape(shape, order="F")


def _name(raw: bytes) -> str:
    raw = raw.partition(b"\0")[0]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _unique(names: list[str]) -> list[str]:
    """Names, of which later ones that occur again are ``name~2``."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        free = name
        while free in seen:
            seen[name] += 1
            free = f"{name}~{seen[name]}"
        seen[free] = 1
        names[number] = free
    return names

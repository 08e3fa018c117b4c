"""One line of text for one value: an array's dtype, shape and size; a scalar, shortened.

Nothing here walks a tree. `persist._trees.show` builds pages of these lines.
"""

from __future__ import annotations

import array as array_module
from collections import deque
from typing import Any

import numpy as np

from persist._runtime.printing import repr_of
from persist._trees.pack_view import is_array, is_series
from persist._trees.wkb import wkt
from persist._wire.base.ml_dtypes import dtype_name, stored_dtype
from persist.errors import PersistError
from persist.tree import Global, LazyArray, Record
from persist.typing import Array, DType

__all__ = [
    "compact",
    "counted",
    "escaped",
    "leaf_text",
    "made_class",
    "printable",
    "shape_text",
    "size_text",
]

_ELEMENTS = 4  # an array of at most this many elements is shown by its values
_TINY = 64  # a lazy array of at most this many bytes is read to be shown
_WIDTH = 72
_LONG = 240  # characters of a name in a message; paths are not cut, since users type them again


def compact(value: object) -> str | None:
    """One line for a list of plain values or of lists of them of one length; else None."""
    if isinstance(value, list | tuple):
        if value and all(_is_scalar(item) or isinstance(item, str | bytes) for item in value):
            return _short_items(value)
        return _rows_text(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.ndim == 1 and value.size:
        items = value.tolist()
        if all(item is None or isinstance(item, str) for item in items):
            return f"text ({len(items)},)  {_first(items)}"
    return None


def _rows_text(value: Any) -> str | None:
    """``list of 64 lists of 64 ints  [[0, 0, ...], ...]``"""
    if len(value) < 2 or {*map(type, value)} - {list, tuple}:
        return None
    rows = {id(row): row for row in value}.values()  # a row that is shared is looked at once
    lengths = {*map(len, rows)}
    kinds = {type(item) for row in rows for item in row} if len(lengths) == 1 else set()
    if len(kinds) != 1 or not kinds <= {int, float, bool}:
        return None
    first = ", ".join(map(_brief, value[0][:3]))
    more = ", ..." if len(value[0]) > 3 else ""
    kind, row = type(value).__name__, type(value[0]).__name__
    return (
        f"{kind} of {len(value):,} {row}s of {lengths.pop():,} {kinds.pop().__name__}s  "
        f"[[{first}{more}], ...]"
    )


def _first(items: list[object]) -> str:
    """The first values, as many as fit into a line."""
    shown: list[str] = []
    for item in items:
        text = leaf_text(item)
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(text) > _WIDTH:
            return f"{', '.join(shown)}, ..."
        shown.append(text)
    return ", ".join(shown)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | np.number)


def _short_items(value: Any) -> str:
    shown = ", ".join(_brief(item) for item in list(value)[:8])
    more = f", ... {len(value) - 8:,} more" if len(value) > 8 else ""
    left, right = "()" if isinstance(value, tuple) else "[]"
    return f"{left}{shown}{more}{right}"


def _brief(item: object) -> str:
    """The text of a value in a list; floats have at most six digits."""
    if isinstance(item, float | np.floating) and len(repr(float(item))) > 8:
        return f"{float(item):.6g}"
    return leaf_text(item)


def leaf_text(leaf: Any) -> str:
    """Return one line for a leaf: an array's dtype, shape and size; a scalar, shortened."""
    if is_array(leaf):
        return _array_text(leaf)
    if isinstance(leaf, Global):
        return f"<{printable(leaf.qualname)}>"
    if isinstance(leaf, int) and not isinstance(leaf, bool) and leaf.bit_length() > 256:
        return f"an int of {leaf.bit_length():,} bits"
    geometry = wkt(leaf) if isinstance(leaf, bytes | bytearray) else None
    if geometry is not None:
        shown = geometry if len(geometry) <= _WIDTH else f"{geometry[:_WIDTH]}..."
        return f"{type(leaf).__name__} of {len(leaf):,}: {shown} (a geometry as WKB)"
    if isinstance(leaf, bytes | bytearray) and len(leaf) > 24:
        kind = "a pickle" if leaf[0] == 0x80 and 2 <= leaf[1] <= 5 and leaf.endswith(b".") else ""
        inner = f" ({kind}; its parts are below its path)" if kind else ""
        return f"{type(leaf).__name__} of {len(leaf):,}: {bytes(leaf[:16])!r}...{inner}"
    if isinstance(leaf, str) and len(leaf) > _WIDTH:
        return f"{leaf[:_WIDTH]!r}... ({len(leaf):,} characters)"
    if isinstance(leaf, list | tuple | deque | dict | set | frozenset):
        return _container_text(leaf)
    if isinstance(leaf, slice):  # its parts can be any value, also a very long one
        return f"slice({', '.join(map(leaf_text, (leaf.start, leaf.stop, leaf.step)))})"
    if isinstance(leaf, np.floating):  # str() uses the precision of the type, float() would not
        return str(leaf)
    text = repr_of(leaf.item() if isinstance(leaf, np.number | np.bool_) else leaf)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


_RANDOM = {  # NumPy's functions that rebuild generators -> the class they build
    "__randomstate_ctor": "RandomState",
    "__RandomState_ctor": "RandomState",
    "__generator_ctor": "Generator",
    "__bit_generator_ctor": "BitGenerator",
}


def made_class(record: Record) -> str:
    """Return the qualified name of a record's class, also if a factory function built it.

    Factories such as pandas' ``_new_Index(PeriodIndex, {...})``, Cython's
    ``__pyx_unpickle_Tree(Tree, ...)`` and ``newObj(KDTree)`` get the class as first argument.
    """
    made = _RANDOM.get(record.cls.name) if record.cls.module.startswith("numpy.random") else None
    if made is not None:
        kind = record.args[0] if record.args else None
        return f"numpy.random.{made}{f' ({kind})' if isinstance(kind, str) else ''}"
    if record.maker is None or not record.args or not isinstance(record.args[0], Global):
        return record.qualname
    name = record.cls.name
    is_factory = name.startswith(("_new_", "__pyx_unpickle_", "_unpickle", "newObj", "_make"))
    return record.args[0].qualname if is_factory else record.qualname


def escaped(text: str) -> str:
    """Return a name from a file as one line without control characters; it is not shortened."""
    return text if text.isprintable() else repr(text)[1:-1]


def printable(text: str) -> str:
    """Return a name from a file as one line without control characters, the middle cut if long."""
    text = escaped(text)
    return text if len(text) <= _LONG else f"{text[: _LONG // 2]}...{text[-_LONG // 2 :]}"


def _container_text(leaf: Any) -> str:
    """The text of a set or an empty container; items that are not scalars are only counted."""
    if not leaf:
        return repr(leaf)
    if is_series(leaf):
        return _short_items(leaf)
    kind = type(leaf).__name__
    shown = [
        leaf_text(item) for item in list(leaf)[:6] if isinstance(item, str | int | float | bytes)
    ]
    return f"{kind} of {len(leaf):,}" + (f": {', '.join(shown)}" if shown else "")


def shape_text(array: Any) -> str:
    """Return the dtype and shape of an array: ``float32 (64, 64)``."""
    if isinstance(array, array_module.array):
        return f"array {array.typecode!r} ({len(array)},)"
    shape = f"({', '.join(map(str, array.shape))}{',' if len(array.shape) == 1 else ''})"
    return f"{_element_text(array)} {shape}"


def _array_text(array: Any) -> str:
    text = shape_text(array)
    if isinstance(array, array_module.array):
        return text
    lazy = ", lazy" if isinstance(array, LazyArray) else ""
    size = f"{size_text(array.nbytes)}{lazy}"
    if array.dtype.kind == "O":
        size = f"{array.size:,} objects{lazy}"  # nbytes would be the size of the pointers
    values = _values(array)
    if values is None:
        return f"{text}  {size}"
    if not array.shape:
        return f"{text}  {_number_text(values.reshape(-1)[0])}"
    shown: list[str] = []
    for item in values.reshape(-1)[:_ELEMENTS]:
        shown.append(_number_text(item))
        if len(", ".join(shown)) > _WIDTH:
            return f"{text}  [{', '.join(shown[:-1])}, ...]  {size}"
    return f"{text}  [{', '.join(shown)}]"


def _values(array: Any) -> Array | None:
    """The values of a small array; None if they are not shown or cannot be read."""
    if array.dtype.names is not None or array.dtype.kind == "O":
        return None
    if not 0 < array.size <= _ELEMENTS:
        return None
    if isinstance(array, LazyArray):
        if array.nbytes > _TINY:
            return None
        try:
            return np.asarray(array)
        except PersistError:  # damage is reported when the user reads the array
            return None
    return np.asarray(array)


def _number_text(item: object) -> str:
    """The text of an element: float16 and float32 by their own digits, longer floats by at most six."""
    if isinstance(item, np.float16 | np.float32):
        return str(item)
    if isinstance(item, np.floating):
        return (
            f"{float(item):.6g}" if float(item) % 1 or abs(float(item)) > 1e6 else str(float(item))
        )
    if isinstance(item, np.complexfloating | np.bool_ | np.number):
        return str(item.item())
    if isinstance(item, np.bytes_ | np.str_):
        return leaf_text(item.item())
    return leaf_text(item)


def _element_text(array: Any) -> str:
    """The name of the dtype; both names if the stored dtype is not a NumPy dtype."""
    stored = dtype_name(stored_dtype(array))
    if array.dtype.kind == "V" and array.dtype.names is None:
        return stored
    text = _dtype_text(array.dtype)
    is_decoded = stored != array.dtype.name and array.dtype.names is None
    return f"{stored}, read as {text}," if is_decoded else text


def _dtype_text(dtype: DType) -> str:
    if dtype.names is not None:
        names = ", ".join(map(printable, dtype.names[:6])) + (
            ", ..." if len(dtype.names) > 6 else ""
        )
        return f"fields {{{names}}}"
    if dtype.kind in "SU":
        return f"{dtype.kind}{dtype.itemsize // (4 if dtype.kind == 'U' else 1)}"
    order = " big-endian" if dtype.byteorder == ">" and dtype.itemsize > 1 else ""
    return f"{dtype.name}{order}"


def counted(count: int, what: str) -> str:
    """Return a count with its noun, in the plural if needed: ``1 array``, ``2,000 arrays``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size_text(count: int) -> str:
    """Return a number of bytes with a unit: ``512 B``, ``1.5 KiB``, ``2.0 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")

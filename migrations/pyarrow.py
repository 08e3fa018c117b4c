"""pyarrow: arrays that were pickled as their buffers become plain arrays.

Evidence: ``pyarrow/array.pxi`` (``_restore_array`` and ``_array_like_to_pandas``), ``types.pxi``
(``type_for_alias``), the Arrow columnar format (validity bitmaps, offsets, booleans as bits);
pickles written with pyarrow 12 and 22 by pandas 1.5 and 3.0.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from persist._trees.pack_view import spending
from persist.registry import Registry
from persist.tree import Global, Record, View
from persist.typing import Array

__all__ = ["pack"]

pack = Registry("pyarrow")

_NUMBERS = {
    **{
        f"{kind}{bits}": f"<{kind[0]}{bits // 8}"
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
    "halffloat": "<f2",
    "float": "<f4",
    "double": "<f8",
    "date64": "<M8[ms]",
    "date64[ms]": "<M8[ms]",
    **{f"timestamp[{unit}]": f"<M8[{unit}]" for unit in ("s", "ms", "us", "ns")},
    **{f"duration[{unit}]": f"<m8[{unit}]" for unit in ("s", "ms", "us", "ns")},
}
_TEXTS = {
    "string": ("<i4", True),
    "utf8": ("<i4", True),
    "large_string": ("<i8", True),
    "large_utf8": ("<i8", True),
    "binary": ("<i4", False),
    "large_binary": ("<i8", False),
}


@pack.plain("pyarrow.lib._restore_array")
def array(record: Record, looker: object) -> Any:
    """One array: its values, missing ones masked (or None where they are text)."""
    values = _array(record)
    return None if values is None else _seen(values)


@pack.plain("pyarrow.lib.chunked_array")
def chunked(record: Record, looker: object) -> object:
    """Chunks one after the other."""
    values = values_of(record)
    return None if values is None else _seen(values)


def _seen(values: object) -> object:
    if not isinstance(values, np.ma.MaskedArray):
        return values
    missing = np.ma.getmaskarray(values)
    return View(
        parts={
            "mask": missing,
            "list": View(
                [
                    None if gone else item
                    for item, gone in zip(values.data.tolist(), missing, strict=True)
                ],
                whole=True,
            ),
        }
    )


def values_of(value: Any) -> object:
    """Return an arrow array as NumPy's, masked where values are missing; None if it cannot be said.

    Numbers, booleans and times: an array, or a masked array. Text and bytes: an object array with
    None where a value is missing.
    """
    if not isinstance(value, Record):
        return None
    if value.cls.name == "_restore_array":
        return _array(value)
    if value.cls.name != "chunked_array" or not value.args or not isinstance(value.args[0], list):
        return None
    chunks: list[Any] = [values_of(chunk) for chunk in value.args[0]]
    if not chunks or any(chunk is None for chunk in chunks):
        return None
    spending()(sum(chunk.nbytes for chunk in chunks))
    return chunks[0] if len(chunks) == 1 else np.ma.concatenate(chunks)  # type: ignore[no-untyped-call]


_DEEP = 16  # lists in lists
_TEXT = 64  # bytes of a text, at least


def _array(record: Record) -> Any:
    """Decode ``_restore_array((type, length, nulls, offset, buffers, children, ...))``."""
    try:
        return _restored(record.args[0])
    except (IndexError, KeyError, TypeError, ValueError, UnicodeDecodeError):
        return None  # of a kind that is not known here: it stays the record that it is


def _restored(parts: Any, depth: int = 0) -> object:
    """(type, length, missing, offset, buffers, children, the dictionary's array)."""
    kind, length, _, offset, buffers = parts[:5]
    if depth > _DEEP or length < 0 or offset < 0:
        raise ValueError("lists in lists in lists, or a negative length")
    # A file can state the same buffers again and again, so each use of them is charged.
    spending()(sum(map(_size, buffers)))
    known = [_bytes(buffer) for buffer in buffers]
    name = kind.cls.name if isinstance(kind, Record) else ""
    if name == "dictionary":  # codes, whose missing ones are those of the values
        codes, values = (
            _decoded(_type(kind.args[0]), length, offset, known),
            _restored(parts[6], depth + 1),
        )
        return _listed(values, np.ma.getdata(codes), ~np.ma.getmaskarray(codes))
    if name in ("list_", "large_list"):
        width = np.dtype("<i8") if name == "large_list" else np.dtype("<i4")
        ends = np.frombuffer(known[1] or bytes(8), width, length + 1, offset * width.itemsize)
        _ascending(ends)
        spending()(_TEXT * length)
        valid = np.ones(length, bool) if known[0] is None else _bits(known[0], length, offset)
        items = _plain(_restored(parts[5][0], depth + 1))
        slices = [items[start:stop] for start, stop in itertools.pairwise(ends)]
        return _listed(slices, np.arange(length), valid)
    return _decoded(_type(kind), length, offset, known)


def _plain(values: Any) -> list[Any]:
    """Values as Python's, None where one is missing."""
    listed: list[object] = values.tolist()
    return listed


def _listed(values: Any, places: Any, valid: Array) -> Array:
    """The values at some places as objects, None where one is missing."""
    values = values if isinstance(values, list) else _plain(values)
    spending()(8 * len(places))
    result = np.empty(len(places), dtype=object)
    for index, (place, is_there) in enumerate(zip(places, valid, strict=True)):
        result[index] = values[place] if is_there else None
    return result


def _type(kind: object) -> str:
    if isinstance(kind, Record) and kind.cls.name in ("type_for_alias", "timestamp", "duration"):
        text = str(kind.args[0])
        return text if kind.cls.name == "type_for_alias" else f"{kind.cls.name}[{text}]"
    if isinstance(kind, Global):
        return kind.name
    raise ValueError("a nested type")


def _ascending(ends: Array) -> None:
    """Refuse ends of items that overlap: together they would be longer than the buffer."""
    if (ends[:1] < 0).any() or (ends[1:] < ends[:-1]).any():
        raise ValueError("items overlap")


def _size(buffer: object) -> int:
    if isinstance(buffer, Record) and buffer.args:
        buffer = buffer.args[0]
    return len(buffer) if isinstance(buffer, bytes | bytearray) else 0


def _bytes(buffer: Any) -> bytes | None:
    if isinstance(buffer, Record) and buffer.cls.name == "py_buffer":
        buffer = buffer.args[0]
    return None if buffer is None else bytes(buffer)


def _decoded(kind: str, length: int, offset: int, buffers: list[bytes | None]) -> Any:
    valid = _bits(buffers[0], length, offset) if buffers[0] is not None else None
    if kind == "bool":
        return _masked(_bits(buffers[1] or b"", length, offset), valid)
    if kind in ("date32", "date32[day]"):  # days, in half of what NumPy takes for one
        days = np.frombuffer(buffers[1] or b"", "<i4", length, 4 * offset)
        return _masked(days.astype("<M8[D]"), valid)
    if kind in _NUMBERS:
        dtype = np.dtype(_NUMBERS[kind])
        values = np.frombuffer(buffers[1] or b"", dtype, length, offset * dtype.itemsize)
        return _masked(values, valid)
    _, is_text = _TEXTS[kind]
    dtype = np.dtype(_TEXTS[kind][0])
    ends = np.frombuffer(
        buffers[1] or bytes(dtype.itemsize), dtype, length + 1, offset * dtype.itemsize
    )
    _ascending(ends)
    spending()(_TEXT * length)
    data = buffers[2] or b""
    result = np.empty(length, dtype=object)
    for index in range(length):
        if valid is None or valid[index]:
            item = data[ends[index] : ends[index + 1]]
            result[index] = item.decode("utf-8") if is_text else item
    return result


def _bits(data: bytes, length: int, offset: int) -> Array:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if len(bits) < offset + length:
        raise ValueError("fewer bits than values")
    return bits[offset : offset + length].astype(bool)


def _masked(values: Array, valid: Array | None) -> object:
    return values if valid is None or valid.all() else np.ma.masked_array(values, mask=~valid)

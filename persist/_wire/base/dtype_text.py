"""The only place where text of a file becomes a NumPy dtype.

NumPy's own parser takes more than any file needs, and trusts it: a divisor of zero
(``<M8[s/0]``) ends the interpreter by a signal, a multiple of zero does so later, and commas and
parentheses spell structures of any size. So the text is held against a grammar first, and what is
put together of several dtypes has limits of its fields and its nesting, which NumPy walks by
recursion.

Every reader makes its dtypes here, unless it takes them from a table of its own;
``tests/test_house.py`` looks for other calls of ``np.dtype``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from persist._runtime.lazy_regex import regex
from persist.typing import DType

__all__ = ["MOST_FIELDS", "checked", "from_text", "structured", "subarray"]

MOST_FIELDS = 65_535  # in all; HDF5 counts the members of a compound in 16 bits
_DEPTH = 32
_LARGEST = (1 << 31) - 1  # bytes of an element, and the multiple of a unit: NumPy's C ints

_PLAIN = regex(r"[<>|=]?([A-Za-z?])(\d{0,10})")
_NAME = regex(r"[<>|=]?[a-z]{2,12}\d{0,3}_?")
_MOMENT = regex(
    r"[<>|=]?(?:[mM]8?|datetime64|timedelta64)"
    r"(?:\[(\d{0,10})(?:Y|M|W|D|h|m|s|ms|us|μs|ns|ps|fs|as)\]|\[generic\])?"
)


@functools.lru_cache(256)
def from_text(text: str) -> DType:
    """Return the dtype that a text means: ``<f8``, ``|S12``, ``float32``, ``<M8[25ns]``.

    Python 2 gave objects the size of a pointer (``O4``, ``O8``) and bytes the letter ``a``.

    Raises:
        ValueError: it means none; divisors of units (``[s/2]``), which NumPy never writes, and
            lists of fields (``f8,i4``) are refused.
    """
    if len(text) > 40:
        raise ValueError(f"dtype {text[:80]!r}")
    moment = _MOMENT.fullmatch(text)
    plain = None if moment else _PLAIN.fullmatch(text)
    if moment is not None:
        if moment[1] and not 0 < int(moment[1]) <= _LARGEST:
            raise ValueError(f"dtype {text!r}, a multiple of {moment[1]}")
    elif plain is not None:
        kind, size = plain.groups()
        if kind == "O":
            return np.dtype(object)
        if kind == "a":
            text = text.replace("a", "S")
        if size and int(size) * (4 if kind == "U" else 1) > _LARGEST:
            raise ValueError(f"dtype {text!r}, more than {_LARGEST:,} bytes")
    elif not _NAME.fullmatch(text):
        raise ValueError(f"dtype {text!r}")
    try:
        return np.dtype(text)
    except TypeError as error:
        raise ValueError(f"dtype {text!r}") from error


def subarray(base: DType, shape: tuple[int, ...]) -> DType:
    """Return the dtype whose elements are arrays of a shape.

    Raises:
        ValueError: NumPy has no such dtype, or it is nested too deep.
    """
    if len(shape) > _DEPTH or any(type(extent) is not int or extent < 0 for extent in shape):
        raise ValueError(f"a dtype of the shape {str(shape)[:80]}")
    return checked(np.dtype((base, shape)))


def structured(
    names: Sequence[str],
    formats: Sequence[DType],
    offsets: Sequence[int],
    itemsize: int,
    titles: Sequence[object] | None = None,
    *,
    align: bool = False,
    record: bool = False,
) -> DType:
    """Return the dtype of a structure.

    Args:
        names: of its fields.
        formats: their dtypes.
        offsets: where each begins, in bytes.
        itemsize: bytes of the whole.
        titles: a second name for each, or None.
        align: mark it as aligned, as a C compiler does.
        record: its scalars are ``numpy.record``.

    Raises:
        ValueError, TypeError: NumPy has no such dtype; it has more than `MOST_FIELDS` fields in
            all, or is nested too deep.
    """
    if len(names) > MOST_FIELDS:
        raise ValueError(f"a dtype of {len(names):,} fields; {MOST_FIELDS:,} are the most")
    if not 0 <= itemsize <= _LARGEST:
        raise ValueError(f"a dtype of {itemsize:,} bytes")
    spec: dict[str, object] = {
        "names": list(names),
        "formats": list(formats),
        "offsets": list(offsets),
        "itemsize": itemsize,
    }
    if titles is not None and any(title is not None for title in titles):
        spec["titles"] = list(titles)
    make: Any = np.dtype
    dtype = checked(make(spec, align=align) if names else np.dtype((np.void, itemsize)))
    return np.dtype((np.record, dtype)) if record else dtype


def checked(dtype: DType) -> DType:
    """Return a dtype whose fields and nesting are within the limits, counting shared parts anew.

    Raises:
        ValueError: they are not.
    """
    count_parts(dtype)
    return dtype


def count_parts(dtype: DType) -> int:
    """Return how many dtypes one is made of, itself included; as `checked` otherwise."""
    if dtype.names is None and dtype.subdtype is None:
        return 1
    todo = [(dtype, 0)]
    count = 0
    while todo:
        part, depth = todo.pop()
        count += 1
        if depth > _DEPTH or count > 2 * MOST_FIELDS:
            raise ValueError(
                f"a dtype of more than {MOST_FIELDS:,} fields, or nested deeper than {_DEPTH}"
            )
        if part.subdtype is not None:
            todo.append((part.subdtype[0], depth + 1))
        elif part.names is not None and part.fields is not None:
            todo += [(part.fields[name][0], depth + 1) for name in part.names]
    return count

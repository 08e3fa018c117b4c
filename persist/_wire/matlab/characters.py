"""Character arrays of MATLAB as text.

Evidence: "MAT-File Format" (The MathWorks), the sections on character data and on data types; files of
MATLAB 4 to 7.4, whose strings are codes of 16 bits, UTF-8 or numbers.

An array of one row is a ``str``. One of more rows has the same number of characters in each, padded
with blanks; it is an array of dtype ``U``, one axis shorter. The lengths of the axes count UTF-16 code
units in files of MATLAB, but code points in those of SciPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from persist._wire.base.source import Source
from persist.errors import DamagedFileError

__all__ = ["text_of_bytes", "text_of_codes"]

_CODECS = {"utf8": "utf-8", "utf16": "utf-16", "utf32": "utf-32"}
_COST = 12  # bytes that are made for a character


def text_of_codes(codes: Any, shape: tuple[int, ...], source: Source) -> object:
    """Return the text of numeric codes in column-major order.

    Args:
        codes: one axis of unsigned integers: UTF-16 code units, or code points.
        shape: axes of the character array.
        source: counts what is made, and is named in errors.

    Returns:
        A ``str``, an array of dtype ``U``, or the codes as an array of ``shape``, if they are no text.
    """
    source.spend(_COST * (len(codes) + math.prod(shape[:-1])))
    if len(shape) > 64:
        raise _unfit(len(codes), shape, source)
    if len(codes) != math.prod(shape):
        raise _unfit(len(codes), shape, source)
    try:
        grid = np.reshape(codes, shape, order="F")
    except ValueError:
        raise _unfit(len(codes), shape, source) from None
    if len(shape) == 2 and (shape[0] == 1 or not math.prod(shape[:-1])):
        text = _decoded(np.ascontiguousarray(grid).reshape(-1))
        return grid if text is None else text
    width = shape[-1]
    rows = [_decoded(row) for row in np.ascontiguousarray(grid).reshape(-1, width)] if width else []
    if any(row is None for row in rows):
        return grid
    found = np.zeros(math.prod(shape[:-1]), f"U{max(width, 1)}")
    found[: len(rows)] = rows
    return found.reshape(shape[:-1])


def text_of_bytes(
    data: memoryview, form: str, order: str, shape: tuple[int, ...], source: Source
) -> object:
    """Return the text of encoded bytes (``form``: utf8, utf16 or utf32), as `text_of_codes`.

    Bytes that are not in the encoding are returned as they are, as ``bytes``.
    """
    source.spend(_COST * len(data))
    suffix = "" if form == "utf8" else {"<": "-le", ">": "-be"}[order]
    try:
        text = bytes(data).decode(_CODECS[form] + suffix)
    except UnicodeDecodeError:
        return bytes(data)
    if len(shape) == 2 and shape[0] == 1:
        if math.prod(shape) not in (len(text), len(text.encode("utf-16-le")) // 2):
            raise _unfit(len(text), shape, source)
        return text
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    if len(points) != math.prod(shape):
        points = np.frombuffer(text.encode("utf-16-le"), "<u2")
    return text_of_codes(points, shape, source)


def _decoded(codes: Any) -> str | None:
    """Text of code units (16 bits) or code points (32 bits); None if they are no text."""
    wide = codes.dtype.itemsize == 4
    if codes.dtype.itemsize == 1:
        return bytes(codes).decode("latin-1")
    try:
        return bytes(codes.astype("<u4" if wide else "<u2")).decode(
            "utf-32-le" if wide else "utf-16-le"
        )
    except UnicodeDecodeError:
        return None


def _unfit(count: int, shape: tuple[int, ...], source: Source) -> DamagedFileError:
    return DamagedFileError(
        f"{count:,} characters do not fill a character array of shape {shape}.",
        file=source.name,
        remedy="The file is damaged; salvage=True reads the other variables.",
    )

"""IDX files: one array of any number of axes, as in the MNIST database of handwritten digits.

Written by  the tools of MNIST (1998) and of data sets in its format, such as Fashion-MNIST.
Evidence    "The IDX file format" on the page of MNIST, by Y. LeCun, C. Cortes and C. Burges.
Traps       all numbers are big-endian; the header names no length, only the axes.
Gives       the array, under the path ``data``, with its dtype and shape; read on first use.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader, Source
from persist.typing import DType

# The third byte of the file: the type of the items.
DTYPES: dict[int, DType] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


class IdxReader(Reader):
    """IDX: two zero bytes, the type, the number of axes, their lengths, and the items."""

    name = "idx"
    suffixes = (".idx",)

    def claims(self, source: Source) -> str | None:
        """Return a reason if the header is one of IDX and the axes account for the whole file."""
        if source.kind != "file" or source.size < 8:
            return None
        *zeros, kind, axes = source.head(4)
        if any(zeros) or kind not in DTYPES or not axes or source.size < 4 + 4 * axes:
            return None
        length = math.prod(shape_of(source)) * DTYPES[kind].itemsize
        # A shorter file was cut off, which `read` reports; a longer one is something else.
        if source.size > 4 + 4 * axes + length:
            return None
        return f"it begins with the header of an IDX file of {axes} axes"

    def read(self, source: Source, options: Options) -> Content:
        """Read the array; of a damaged file, with ``salvage=True``, the complete first items."""
        dtype, shape = DTYPES[source.head(4)[2]], shape_of(source)
        start = 4 + 4 * len(shape)
        damage: list[str] = []
        row = math.prod(shape[1:]) * dtype.itemsize
        complete = (source.size - start) // row if row else shape[0]
        if complete < shape[0]:
            what = f"{shape[0]:,} items were written, but only {complete:,} are complete."
            if not options.salvage:
                raise DamagedFileError(
                    what,
                    file=source.name,
                    remedy="Get the file again, or read the complete items with salvage=True.",
                )
            damage.append(what)
            shape = (complete, *shape[1:])
        return Content({"data": source.array(start, dtype, shape)}, damage=damage)


def shape_of(source: Source) -> tuple[int, ...]:
    """Return the lengths of the axes, which follow the first four bytes."""
    axes = source.head(4)[3]
    return struct.unpack(f">{axes}I", source.read(4, 4 * axes))

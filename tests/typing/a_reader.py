"""The author of a reader needs nothing private."""

import struct

import numpy as np

from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader, Source
from persist.tree import LazyArray
from persist.typing import Array


class FloatsReader(Reader):
    """A count and as many 64 bit floats."""

    name = "floats"
    suffixes = (".floats",)

    def claims(self, source: Source) -> str | None:
        return "it begins with FLTS" if source.read(0, 4) == b"FLTS" else None

    def read(self, source: Source, options: Options) -> Content:
        if source.size < 8:
            raise DamagedFileError("the count is cut off.", file=source.name)
        (count,) = struct.unpack("<I", source.read(4, 4))

        def values() -> Array:
            return np.frombuffer(source.read(8, 8 * count), "<f8")

        array = LazyArray(np.dtype("<f8"), (count,), values)
        return Content({"values": array}, writer={"program": "floats"})

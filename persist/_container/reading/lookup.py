"""Which member holds the array of a path: by the sorted checksums of the names.

Specified in ``docs/container.md``, section 3. Names that are not simply the path are in the
manifest, both ways: what was renamed in place is found under its new path, and no more under the
old one.
"""

from __future__ import annotations

import bisect
import functools
import sys
from collections.abc import Callable, Mapping

import numpy as np

from persist._container.checksums import crc32
from persist._container.layout import FULL
from persist._container.names import member_name
from persist.typing import Array

__all__ = ["Lookup"]


class Lookup:
    """The names of a container's array members.

    Args:
        index: of the container, shape (2, members).
        name_of: number -> name of the member, UTF-8.
        paths: of the manifest: name -> true path, where they differ.
    """

    def __init__(
        self, index: Array, name_of: Callable[[int], bytes], paths: Mapping[str, str]
    ) -> None:
        self._count = index.shape[1]
        self._row = index[1]
        flat = memoryview(index).cast("B") if self._count else memoryview(b"")  # type: ignore[arg-type,unused-ignore]
        self._rows = flat.cast("Q") if sys.byteorder == "little" else None
        self._name_of = name_of
        self._paths = paths

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        return {str(path): name for name, path in self._paths.items()}

    def find(self, path: str) -> int | None:
        """Return the number of the member whose true path it is, or None."""
        if self._paths:
            known = self._names.get(path)
            if known is not None:
                return self._named(known.encode())
        name = member_name(path)
        if len(path) > 1024 or name in self._paths:  # cut, or of another path by now
            return None
        return self._named(name.encode())

    def path(self, name: str) -> str:
        """Return the true path of a member of a name."""
        return str(self._paths.get(name, name.removesuffix(".npy")))

    def _named(self, name: bytes) -> int | None:
        low = crc32(name) << 32
        if self._rows is not None:
            at = bisect.bisect_left(self._rows, low, self._count, 2 * self._count) - self._count
        else:
            at = int(np.searchsorted(self._row, np.uint64(low)))
        while at < self._count and int(self._row[at]) >> 32 == low >> 32:
            number = int(self._row[at]) & FULL
            if number < self._count and self._name_of(number) == name:
                return number
            at += 1
        return None

"""Local files: mapped or read, with the other files of their folder, and open binary files."""

from __future__ import annotations

import io
import mmap
import os
import stat
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

from persist._wire.base.limits import Budget, Limits
from persist._wire.base.ranges import Fetch, Ranges, fetching
from persist._wire.base.source import Source
from persist.errors import DamagedFileError

__all__ = ["open_local", "open_stream"]

# mmap holds a file descriptor, and a process may open about 1,000. Old joblib dumps consist of
# thousands of files, so small neighbours are read, and at most `limits.MAPS` large ones are mapped.
# Since Python 3.13 a map need not hold a descriptor.
_SMALL = 64 << 10
_UNTRACKED: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class Home:
    """The folder of a local source, through which its neighbours are opened."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path = path
        self.shown = shown

    @property
    def basename(self) -> str:
        return self.path.name

    def _folder(self, inside: bool) -> Path:
        return self.path if inside else self.path.parent

    def children(self, inside: bool) -> list[str]:
        try:
            return sorted(os.listdir(self._folder(inside)))
        except OSError:
            return []

    def open(self, name: str, inside: bool, near: Source) -> Source | None:
        path = self._folder(inside) / name
        if not path.is_file() and not path.is_dir():  # pipes and devices have no end
            return None
        shown = os.path.join(self.shown if inside else os.path.dirname(self.shown), name)
        return open_local(path, shown, near.limits, near.writable, near._budget, True, near._level)


def open_local(
    path: Path,
    shown: str,
    limits: Limits,
    writable: bool,
    budget: Budget | None,
    map: bool,
    level: int = 0,
) -> Source:
    """Return the source of a path: a file, mapped or read, a folder, or a checkpoint prefix.

    Args:
        path: where it is.
        shown: the path as the user named it.
        limits: see `Limits`.
        writable: arrays handed out may be written to, privately.
        budget: of the file whose neighbour it is; None is a new one.
        map: map the file; without it, it is read into memory.
        level: files it is nested in.
    """
    home = Home(path, shown)
    common: dict[str, Any] = {
        "limits": limits,
        "home": home,
        "path": shown,
        "writable": writable,
        "level": level,
    }
    mode = _mode_of(path)
    if mode is not None and stat.S_ISDIR(mode):
        return Source(shown, kind="folder", budget=budget, **common)
    if mode is None and _is_prefix(path):
        return Source(shown, kind="prefix", budget=budget, **common)
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise DamagedFileError(
                "it is a device, of which no end is known.",
                file=shown,
                remedy="Name a file, or open the device yourself and give what you read of it.",
            )
        size = found.st_size
        if budget is not None:
            budget.admit(str(path), size, limits)
        is_small = not map or not size or (budget is not None and size <= _SMALL)
        if not is_small and budget is not None and not _UNTRACKED and not budget.may_map():
            ranged = Ranges(_reopening(path), size)
            return Source(shown, ranged=ranged, size=size, budget=budget, **common)
        data: Any
        if is_small:
            data = _whole(file, size, writable)
        else:
            access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
            try:
                data = mmap.mmap(file.fileno(), size, access=access, **_UNTRACKED)
            except (OSError, ValueError):  # a pipe, or a file system that cannot map
                data = _whole(file, size, writable)
    source = Source(shown, buffer=memoryview(data), budget=budget, **common)
    source.is_copy = not map
    return source


def _mode_of(path: Path) -> int | None:
    """Return the mode bits of a path as from `stat`; None if it does not exist."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None


def _whole(file: IO[bytes], size: int, writable: bool) -> object:
    """Read all bytes of a file directly into their final buffer."""
    if not size:  # such as a pipe, whose size is unknown
        data: Any = file.read()
        return bytearray(data) if writable else data
    memory = np.empty(size, np.uint8)
    view, at = memory.data, 0
    while at < size and (count := file.readinto(view[at:])):  # type: ignore[attr-defined]
        at += count
    return view[:at] if writable else view[:at].toreadonly()


def _reopening(path: Path) -> Fetch:
    """Return reads that open the file each time, so that it holds no descriptor in between."""

    def fetch(start: int, length: int) -> bytes:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    return fetch


def _is_prefix(path: Path) -> bool:
    try:
        with os.scandir(path.parent) as entries:
            return any(entry.name.startswith(path.name) for entry in entries)
    except OSError:
        return False


def open_stream(file: Any, limits: Limits, writable: bool) -> Source:
    """Return the source of an open binary file from its position; ranged reads if it can seek."""
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open in text mode; open it with 'rb'")
    name = getattr(file, "name", None)
    shown = name if isinstance(name, str) else f"<open {type(file).__name__}>"
    try:
        start = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(start)
    except (OSError, AttributeError):
        return _bytes_of(file, shown, limits, writable)
    if not isinstance(end, int):
        end = file.tell()
    home = Home(Path(name), name) if isinstance(name, str) and os.path.exists(name) else None
    if isinstance(file, io.BytesIO):
        file.seek(start)
        return _bytes_of(file, shown, limits, writable)
    mapped = _map_of(file, start, end, writable)
    if mapped is not None:
        return Source(shown, buffer=mapped, base=start, limits=limits, home=home, writable=writable)
    return Source(
        shown,
        ranged=Ranges(fetching(file), end),
        base=start,
        size=max(0, end - start),
        limits=limits,
        home=home,
        writable=writable,
    )


def _map_of(file: object, start: int, end: int, writable: bool) -> memoryview | None:
    """A map of an open file that is one on disk (its bytes are the file's own), else None.

    A decompressing wrapper (`gzip.GzipFile`) has a file number too, of other bytes: only the
    types of `io` are taken at their word.
    """
    if not isinstance(file, io.FileIO | io.BufferedReader | io.BufferedRandom) or end <= start:
        return None
    if isinstance(file, io.BufferedReader | io.BufferedRandom) and not isinstance(
        file.raw, io.FileIO
    ):
        return None
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(file.fileno(), end, access=access))
    except (OSError, ValueError):
        return None


def _bytes_of(file: Any, shown: str, limits: Limits, writable: bool) -> Source:
    data = file.read()
    if writable:
        data = bytearray(data)
    return Source(shown, buffer=memoryview(data), limits=limits, writable=writable)

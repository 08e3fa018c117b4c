"""Share unchanged blocks between a new file and an older one, if the file system supports it.

The new file begins as a clone of the older one: both use the same disk blocks, which the file system
copies when one of the files is changed. Then the file is written as usual, but bytes that are equal
already are skipped. The resulting bytes are the same as without sharing: the older file is only
compared with, never trusted.

Linux (Btrfs, XFS, bcachefs, OCFS2, and file systems that forward ``FICLONE``); elsewhere nothing is shared.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from typing import IO, Any

__all__ = ["clone", "sharing"]

_PIECE = 1 << 16  # bytes that are compared at once; file systems share blocks of 4 KiB to 64 KiB
_LOOK = 1 << 12  # bytes by which most pieces are seen to differ
# include/uapi/linux/fs.h: _IOW(0x94, 9, int); fcntl.FICLONE since Python 3.14
_FICLONE = 0x40049409


def clone(old: int, new: int) -> bool:
    """Make an empty file a clone of another one; return False and leave it empty if that is impossible.

    Args:
        old: descriptor of the file to share with.
        new: descriptor of an empty file, open for writing.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(new, getattr(fcntl, "FICLONE", _FICLONE), old)
    except OSError:  # whatever the reason, all is written then, and what is wrong shows there
        os.ftruncate(new, 0)
        return False
    return True


@contextlib.contextmanager
def sharing(file: Any, like: str | os.PathLike[str] | None) -> Iterator[Any]:
    """Return a file for writing that shares with an older one the blocks that turn out equal.

    Args:
        file: new, empty and unbuffered; given back as it is where nothing can be shared.
        like: the older file, which need not be there.
    """
    old = None if like is None else _older(file, like)
    if old is None:
        yield file
        return
    with old:
        if not clone(old.fileno(), file.fileno()):
            yield file
            return
        shared = _Sharing(file, old)
        yield shared
        file.truncate(shared.end)


def _older(file: Any, like: str | os.PathLike[str]) -> IO[bytes] | None:
    """Return the older file, open; None if it or the new one is not a regular file."""
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size or not file.seekable():
            return None
        return open(like, "rb", buffering=0)
    except (OSError, AttributeError):  # it is gone; a file that is none of the system's
        return None


class _Sharing:
    """A file for writing that begins with the bytes of an older one.

    Args:
        file: a clone of the older file.
        old: the older file. It is compared with instead of the clone since the system may still
            have it in memory.

    Attributes:
        end: where the bytes that were written or passed over end.
        kept: how many were passed over.
    """

    def __init__(self, file: Any, old: IO[bytes]) -> None:
        self._file = file
        self._old = old
        self._at = 0
        self._place = 0  # position of the underlying file
        self._room = bytearray(_PIECE)
        self.end = 0
        self.kept = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, at: int) -> int:
        self._at = at
        return at

    def write(self, data: Any) -> int:
        """Write bytes, except those that the older file has at the same offset."""
        view = memoryview(data)
        first, begin = 0, self._at
        low = min(max(self.end - begin, 0), len(view))  # what was written before is written again
        while low < len(view):
            high = min(low + _PIECE - (begin + low) % _PIECE, len(view))
            if self._is_there(view[low:high], begin + low):
                self._put(view[first:low], begin + first)
                self.kept += high - low
                first = high
            low = high
        self._put(view[first:], begin + first)
        self._at = begin + len(view)
        self.end = max(self.end, self._at)
        return len(view)

    def _is_there(self, data: memoryview, at: int) -> bool:
        try:
            return self._is_read(data[:_LOOK], at) and self._is_read(data[_LOOK:], at + _LOOK)
        except OSError:  # the disk cannot read it: it is written anew
            return False

    def _is_read(self, data: memoryview, at: int) -> bool:
        room = memoryview(self._room)[: len(data)]
        done = 0
        self._old.seek(at)
        while done < len(room):
            count = self._old.readinto(room[done:])  # type: ignore[attr-defined]
            if not count:
                return False
            done += count
        # Of two memoryviews each byte would be compared by itself; a bytearray does it at once.
        return bytearray(room) == data

    def _put(self, data: memoryview, at: int) -> None:
        if not len(data):
            return
        if self._place != at:
            self._file.seek(at)
        done = 0
        while done < len(data):
            done += self._file.write(data[done:])
        self._place = at + len(data)

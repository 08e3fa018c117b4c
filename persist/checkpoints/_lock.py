"""One writer of a folder: a lock that the operating system lets go of when its process ends, however it ends."""

from __future__ import annotations

import os
import platform
import weakref
from pathlib import Path
from typing import Any

from persist.errors import PersistError

__all__ = ["Lock"]

_FAR = 1 << 30  # Windows locks bytes, and what is locked cannot be read: one that is not there
_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """A lock of a file, held until it is let go of.

    Args:
        path: the file; who holds the lock writes into it who he is.

    Raises:
        PersistError: somebody else holds it.
    """

    def __init__(self, path: Path) -> None:
        file = path.open("a+")
        if not _locked(file):
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise PersistError(
                f"another writer has this folder{f' ({holder})' if holder else ''}. "
                "One writer at a time was expected.",
                file=str(path.parent),
                remedy="Stop the other one, or give this run a folder of its own.",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        self._file = file
        _held.add(self)

    @property
    def is_held(self) -> bool:
        """Whether it is this process that holds it."""
        return not self._file.closed

    def release(self) -> None:
        """Let go of it."""
        self._file.close()


def _let_go() -> None:
    """A forked child (a worker that loads data, say) must not hold what its parent held."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _locked(file: Any) -> bool:
    """Take the operating system's lock of a file; False where somebody else has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

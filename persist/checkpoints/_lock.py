"""The writer's lock of a folder, which the operating system releases however the process ends."""

from __future__ import annotations

import contextlib
import os
import platform
import weakref
from pathlib import Path
from typing import Any

from persist.errors import PersistError

__all__ = ["Lock"]

_FAR = (
    1 << 30
)  # Windows locks bytes and makes them unreadable, so a byte far beyond the end is locked
_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """A lock of a file, held until it is released.

    Args:
        path: the lock file; its holder writes its process and host into it.

    Raises:
        PersistError: another process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        file = path.open("a+")
        if not _locked(file):
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise PersistError(
                f"another writer has locked this folder{f' ({holder})' if holder else ''}. "
                "One writer at a time was expected.",
                file=str(path.parent),
                remedy="Stop the other writer, or give this run a folder of its own.",
            )
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        except OSError:  # of a full disk; what cannot be written must not keep the lock
            with contextlib.suppress(OSError):  # the same text again
                file.close()
            raise
        self._file = file
        _held.add(self)

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock."""
        return not self._file.closed

    def release(self) -> None:
        """Release the lock."""
        self._file.close()


def _release_in_child() -> None:
    """Release the parent's locks in a forked child (a worker that loads data, say)."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def _locked(file: Any) -> bool:
    """Acquire the operating system's lock of a file; False if another process holds it."""
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

"""Atomic files: a reader sees either the complete file or none.

A file is written under a temporary name next to its target and renamed over it; with ``durable`` the
data and the folder reach the disk before the call returns. A process that
has the old file open or mapped keeps the old bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import IO, Any

from persist.errors import PersistError

_fcntl: Any = None
with contextlib.suppress(ImportError):  # Windows
    import fcntl

    _fcntl = fcntl

__all__ = ["is_unfinished", "replacing"]

_MANY = 5_000  # names in a folder that are not looked through at each save
_crowded: dict[str, int] = {}  # folder -> names in it at the last look


@contextlib.contextmanager
def replacing(target: Any, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file whose bytes replace the target when the block ends without an error.

    A symbolic link stays, and what it points to is replaced; mode and owner of
    a file that exists are kept, a new one gets what the umask leaves. A device
    or a pipe is written to as it is.

    Args:
        target: the path; an open binary file is given back as it is.
        durable: wait for the disk.

    Raises:
        OSError: as `open` for writing would.
        PersistError: the target is held open by a process (on Windows only).
    """
    if hasattr(target, "write"):
        yield target
        return
    path = os.path.realpath(os.fspath(target))
    known = _status(path)
    if known is not None and not stat.S_ISREG(known.st_mode):
        with open(path, "wb", buffering=0) as file:
            yield file
        return
    if known is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(target))
    folder, name = os.path.split(path)
    _remove_leftovers(folder or ".", name)
    try:
        temporary, number, lock = _begin(folder, name)
    except OSError as error:  # the folder, and the target's name is what the user knows
        raise type(error)(error.errno, error.strerror, os.fspath(target)) from None
    try:
        with open(number, "w+b", buffering=0) as file:
            if known is not None:
                _like(file.fileno(), known)
            yield file
            if durable:
                os.fsync(file.fileno())
        _rename(temporary, path, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        if lock is not None:
            os.close(lock)
    if durable:
        _sync_folder(folder)


def _begin(folder: str, name: str) -> tuple[str, int, int | None]:
    """Create the temporary file; return its path, its descriptor, and the descriptor that holds its lock.

    The lock shows other processes that the writer is alive. It is kept until the file has its name; Windows
    needs no lock, since an open file cannot be removed there.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        temporary = os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}.tmp")
        number = os.open(temporary, flags | getattr(os, "O_CLOEXEC", 0), 0o666)
        if _fcntl is None or not _locked(number):
            return temporary, number, None
        if _status(temporary) is not None:
            return temporary, number, os.dup(number)
        os.close(number)  # somebody took it for a leftover before it was locked


def _locked(number: int) -> bool:
    """Lock a file; return False if another process holds the lock, or if the file system has no locks."""
    try:
        _fcntl.flock(number, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove the temporary files of this name whose writers were killed."""
    if _crowded.get(folder, 0) > _MANY:
        return
    start = f".{name[:100]}."
    with contextlib.suppress(OSError):  # no such folder, or one that cannot be listed
        names = os.listdir(folder)
        _crowded[folder] = len(names)
        for found in names:
            if found.startswith(start) and is_unfinished(found) and len(found) == len(start) + 16:
                _remove_if_left(os.path.join(folder, found))


def _remove_if_left(path: str) -> None:
    with contextlib.suppress(OSError):  # somebody else has removed it, or writes it (on Windows)
        if _fcntl is None:
            os.unlink(path)
            return
        number = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            if _locked(number):
                os.unlink(path)
        finally:
            os.close(number)


def is_unfinished(name: str) -> bool:
    """Return whether a file of this name is a temporary file that a killed writer left behind."""
    return re.fullmatch(r"\..{0,100}\.[0-9a-f]{12}\.tmp", name, re.DOTALL) is not None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _like(number: int, known: os.stat_result) -> None:
    """Give the new file the owner and the mode of the old one, as far as permitted."""
    if hasattr(os, "fchown"):
        mine = os.fstat(number)
        if (mine.st_uid, mine.st_gid) != (known.st_uid, known.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(number, known.st_uid, known.st_gid)
    if hasattr(os, "fchmod"):
        os.fchmod(number, stat.S_IMODE(known.st_mode))


def _rename(temporary: str, path: str, target: str | os.PathLike[str]) -> None:
    try:
        os.replace(temporary, path)
    except PermissionError as error:
        if os.name != "nt":
            raise
        raise PersistError(
            "it cannot be replaced, since a process has it open or mapped.",
            file=os.fspath(target),
            remedy="Close it there (arrays of it, too), or save under another name.",
        ) from error


def _sync_folder(folder: str) -> None:
    if os.name == "nt":  # a folder cannot be opened there; NTFS journals the rename
        return
    number = os.open(folder or ".", os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(number)
    except OSError as error:  # some file systems know no such thing
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)

"""Files that are there whole or not at all.

A file is written beside its target and renamed over it; with ``durable`` the
data and the folder reach the disk before the call returns. Whoever has the old
file open or mapped keeps the old bytes.
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

__all__ = ["is_unfinished", "replacing"]


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
    beside = os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(beside, flags | getattr(os, "O_CLOEXEC", 0), 0o666)
    except FileNotFoundError as error:  # the folder, and that is the name the user knows
        raise FileNotFoundError(error.errno, error.strerror, os.fspath(target)) from None
    try:
        with open(number, "w+b", buffering=0) as file:
            if known is not None:
                _like(file.fileno(), known)
            yield file
            if durable:
                os.fsync(file.fileno())
        _rename(beside, path, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    if durable:
        _sync_folder(folder)


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is one that a killed writer of ours left behind."""
    return re.fullmatch(r"\..{0,100}\.[0-9a-f]{12}\.tmp", name, re.DOTALL) is not None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _like(number: int, known: os.stat_result) -> None:
    """Give the new file the owner and the mode of the old one, as far as we may."""
    if hasattr(os, "fchown"):
        mine = os.fstat(number)
        if (mine.st_uid, mine.st_gid) != (known.st_uid, known.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(number, known.st_uid, known.st_gid)
    if hasattr(os, "fchmod"):
        os.fchmod(number, stat.S_IMODE(known.st_mode))


def _rename(beside: str, path: str, target: str | os.PathLike[str]) -> None:
    try:
        os.replace(beside, path)
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

"""The folder of a run's checkpoints: local, or remote behind an fsspec URL.

Both classes have the same methods. A local folder relies on the operating system: locks end with
their process, and files are renamed atomically. A remote folder is only as safe as its storage.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from persist._container.writing.atomic import is_unfinished
from persist._wire.base import urls
from persist._wire.base.uploads import uploading
from persist.checkpoints._lock import Lock
from persist.errors import PersistError

__all__ = ["LocalFolder", "RemoteFolder"]

_LOCK = ".writer.lock"
_held: set[str] = set()  # tokens of the remote locks that this process holds


class LocalFolder:
    """A folder of the local file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of the files; empty if the folder does not exist."""
        if not self.path.is_dir():
            return []
        return [entry.name for entry in os.scandir(self.path)]

    def place(self, name: str) -> Path:
        """Return what `persist.open` takes to open a file of the folder."""
        return self.path / name

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return (self.path / name).exists()

    def identity(self, name: str) -> tuple[Any, ...]:
        """Return a value that changes when the file is replaced.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        status = (self.path / name).stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def remove(self, name: str) -> None:
        """Remove a file if it exists. On Windows a file that is open stays, until a later call."""
        try:
            (self.path / name).unlink()
        except FileNotFoundError:
            pass
        except PermissionError:
            if os.name != "nt":
                raise

    def acquire(self, lock: str = _LOCK, owns: Callable[[str], bool] = is_unfinished) -> Lock:
        """Acquire a writer's lock, and remove unfinished files of killed writers.

        Args:
            lock: the name of the lock file; the processes of one run have one each.
            owns: whether an unfinished file is to be removed.

        Raises:
            PersistError: another process holds the lock.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        held = Lock(self.path / lock)
        for name in self.names():
            if is_unfinished(name) and owns(name):
                self.remove(name)
        return held

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield the target of a save, which replaces the file atomically."""
        yield self.path / name


class RemoteLock:
    """A lock file that names the writer of a remote folder.

    Object storage cannot tell whether the writer is still alive, so the file stays until the lock
    is released or the program ends. The lock of a writer of this machine that has been killed is taken over.
    Of two writers that begin at the same moment one is refused where the storage creates a file only if there is
    none (S3, Google Cloud Storage, SFTP); elsewhere the one whose text is there afterwards has the lock.
    """

    def __init__(self, folder: RemoteFolder, name: str = _LOCK) -> None:
        self._folder = folder
        self._token = uuid.uuid4().hex
        owner = f"process {os.getpid()} on {platform.node()} {self._token}"
        holder = folder.text(name)
        if holder and _is_abandoned(holder):
            folder.remove(name)
            holder = ""
        if not holder:
            folder.create_text(name, owner)
            holder = folder.text(name)
        if self._token not in holder:
            shown = urls.shown(folder.place(name))
            raise PersistError(
                f"another writer has locked this folder ({holder.rpartition(' ')[0]}). "
                "One writer at a time was expected.",
                file=urls.shown(folder.url),
                remedy="Stop the other writer, or give this run a folder of its own. If that writer was "
                f"killed, remove {shown}.",
            )
        _held.add(self._token)
        self._end = weakref.finalize(self, _unlock, folder, name, os.getpid(), self._token)

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock."""
        return self._end.alive

    def release(self) -> None:
        """Release the lock."""
        self._end()


def _unlock(folder: RemoteFolder, name: str, process: int, token: str) -> None:
    """Remove the lock file, unless this process is a forked child of the one that holds the lock."""
    if os.getpid() == process:
        _held.discard(token)
        if token in folder.text(name):  # somebody may have removed it, and another one taken it
            folder.remove(name)


def _is_abandoned(holder: str) -> bool:
    """Return whether the holder of a lock was a process of this machine that has ended."""
    match = re.fullmatch(r"process (\d+) on (.*) ([0-9a-f]{32})", holder)
    if match is None or match[2] != platform.node() or not match[2] or os.name == "nt":
        return False  # os.kill(pid, 0) would end the process on Windows
    if int(match[1]) == os.getpid():
        return match[3] not in _held
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # a process of another user
        return False
    return False


class RemoteFolder:
    """A folder behind an fsspec URL."""

    def __init__(self, url: str, storage_options: Any = None) -> None:
        self.url = url.rstrip("/")
        self._options = storage_options
        self._files, self._path = urls.filesystem(self.url, storage_options)

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return urls.explained(self.url, self._options)

    def names(self) -> list[str]:
        """Return the names of the files; empty if the folder does not exist."""
        self._files.invalidate_cache()
        try:
            with self._explained():
                found = self._files.ls(self._path, detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def place(self, name: str) -> str:
        """Return what `persist.open` takes to open a file of the folder."""
        return f"{self.url}/{name}"

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        self._files.invalidate_cache()
        with self._explained():
            return bool(self._files.exists(self._at(name)))

    def identity(self, name: str) -> tuple[object, ...]:
        """Return a value that changes when the file is replaced.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        with self._explained():
            info = self._files.info(self._at(name))
        keys = ("size", "mtime", "created", "LastModified", "ETag", "etag", "updated", "generation")
        return tuple(str(info.get(key)) for key in keys)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        with contextlib.suppress(FileNotFoundError), self._explained():
            self._files.rm_file(self._at(name))

    def acquire(self, lock: str = _LOCK, owns: Callable[[str], bool] = is_unfinished) -> RemoteLock:
        """Acquire a writer's lock, and remove unfinished files of killed writers.

        Args:
            lock: the name of the lock file; the processes of one run have one each.
            owns: whether an unfinished file is to be removed.

        Raises:
            PersistError: another process holds the lock.
        """
        with self._explained():
            self._files.makedirs(self._path, exist_ok=True)
        held = RemoteLock(self, lock)
        for name in self.names():
            if is_unfinished(name) and owns(name):
                self.remove(name)
        return held

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Yield the target of a save; the file appears when it is complete."""
        with uploading(self.place(name), self._options) as file:
            yield file

    def text(self, name: str) -> str:
        """Return the text of a small file; empty if it does not exist."""
        self._files.invalidate_cache()
        try:
            with self._explained():
                return str(self._files.cat_file(self._at(name)).decode())
        except FileNotFoundError:
            return ""

    def create_text(self, name: str, text: str) -> None:
        """Write a small file; if there is one already, it stays where the storage can tell."""
        try:
            self._files.pipe_file(self._at(name), text.encode(), mode="create")
            return
        except FileExistsError:
            return
        except Exception:  # each storage has an error of its own for one that exists
            if self.text(name):
                return
        with self._explained():
            self._files.pipe_file(self._at(name), text.encode())

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

"""The folder of a run's checkpoints: a local one, or one that fsspec knows by its URL.

Both have the same methods; what a local folder does by the system (a lock that goes with its
process, a file that appears at once) a remote one does as well as its storage lets it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persist._container.writing.atomic import is_unfinished
from persist._wire.base.source import filesystem
from persist.checkpoints._lock import Lock
from persist.errors import PersistError

__all__ = ["LocalFolder", "RemoteFolder"]

_LOCK = ".writer.lock"


class LocalFolder:
    """A folder of this machine's file systems."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """The names of its files; none where there is no folder."""
        if not self.path.is_dir():
            return []
        return [entry.name for entry in os.scandir(self.path)]

    def place(self, name: str) -> Path:
        """What `persist.open` takes for a file."""
        return self.path / name

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.path / name).exists()

    def identity(self, name: str) -> tuple[Any, ...]:
        """What changes when a file is replaced by another.

        Raises:
            FileNotFoundError: it is not there.
        """
        status = (self.path / name).stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def remove(self, name: str) -> None:
        """Remove a file that may be gone; one that Windows has open somewhere goes another time."""
        try:
            (self.path / name).unlink()
        except FileNotFoundError:
            pass
        except PermissionError:
            if os.name != "nt":
                raise

    def own(self) -> Lock:
        """Become its one writer, and clean up what a killed one left unfinished.

        Raises:
            PersistError: another process is.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.path / _LOCK)
        for name in self.names():
            if is_unfinished(name):
                self.remove(name)
        return lock

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give the target of a save, which is written whole or not at all."""
        yield self.path / name


class RemoteLock:
    """A file that says who writes into a remote folder.

    No storage tells whether its owner is still there, so it stays until it is released, or the
    program ends.
    """

    def __init__(self, folder: RemoteFolder) -> None:
        self._folder = folder
        self._token = uuid.uuid4().hex
        said = f"process {os.getpid()} on {platform.node()} {self._token}"
        holder = folder.text(_LOCK)
        if not holder:
            folder.put_text(_LOCK, said)
            holder = folder.text(_LOCK)
        if self._token not in holder:
            raise PersistError(
                f"another writer has this folder ({holder.rpartition(' ')[0]}). "
                "One writer at a time was expected.",
                file=folder.url,
                remedy="Stop the other one, or give this run a folder of its own. If that writer was "
                f"killed, remove {folder.place(_LOCK)}.",
            )
        self._end = weakref.finalize(self, _unlock, folder, os.getpid())

    @property
    def is_held(self) -> bool:
        """Whether it is this process that holds it."""
        return self._end.alive

    def release(self) -> None:
        """Let go of it."""
        self._end()


def _unlock(folder: RemoteFolder, process: int) -> None:
    """Remove the file; a forked child must not do so for its parent."""
    if os.getpid() == process:
        folder.remove(_LOCK)


class RemoteFolder:
    """A folder behind an fsspec URL."""

    def __init__(self, url: str, storage_options: Any = None) -> None:
        self.url = url.rstrip("/")
        self._files, self._path = filesystem(self.url, storage_options)

    def names(self) -> list[str]:
        """The names of its files; none where there is no folder."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._path, detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def place(self, name: str) -> str:
        """What `persist.open` takes for a file."""
        return f"{self.url}/{name}"

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        return bool(self._files.exists(self._at(name)))

    def identity(self, name: str) -> tuple[Any, ...]:
        """What changes when a file is replaced by another.

        Raises:
            FileNotFoundError: it is not there.
        """
        said = self._files.info(self._at(name))
        told = ("size", "mtime", "created", "LastModified", "ETag", "etag", "updated", "generation")
        return tuple(str(said.get(key)) for key in told)

    def remove(self, name: str) -> None:
        """Remove a file that may be gone."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    def own(self) -> RemoteLock:
        """Become its one writer, and clean up what a killed one left unfinished.

        Raises:
            PersistError: another process is.
        """
        self._files.makedirs(self._path, exist_ok=True)
        lock = RemoteLock(self)
        for name in self.names():
            if is_unfinished(name):
                self.remove(name)
        return lock

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Give the target of a save, which gets its name when all of it is there."""
        beside = self._at(f".{name}.{os.urandom(6).hex()}.tmp")
        try:
            with self._files.open(beside, "wb") as file:
                yield file
            self._files.mv(beside, self._at(name))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(beside)
            raise

    def text(self, name: str) -> str:
        """What a small file says; nothing where it is not there."""
        try:
            return str(self._files.cat_file(self._at(name)).decode())
        except FileNotFoundError:
            return ""

    def put_text(self, name: str, text: str) -> None:
        """Write a small file."""
        self._files.pipe_file(self._at(name), text.encode())

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

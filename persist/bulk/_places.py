"""Where the files of a run are and go: paths, and URLs of any storage that fsspec knows."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from persist._wire.base import urls
from persist._wire.base.urls import is_url

__all__ = [
    "absolute",
    "exists",
    "is_file",
    "modified",
    "names_in",
    "new_file",
    "nowhere",
    "opened",
    "own_name",
    "remove",
    "size_and_time",
    "size_of",
]

_CHUNK = 1 << 20
_Options = Mapping[str, Any] | None


def own_name(place: str) -> str:
    """Return the last part of a path or URL."""
    return place.rstrip("/").rpartition("/")[2] if is_url(place) else os.path.basename(place)


def absolute(place: str) -> str:
    """Return the absolute path; a URL is returned as it is."""
    return place if is_url(place) else os.path.abspath(place)


def exists(place: str, options: _Options = None) -> bool:
    """Whether something is at a path or URL.

    Raises:
        StorageError: the storage refused or failed.
    """
    return urls.exists(place, options) if is_url(place) else os.path.exists(place)


def is_file(place: str, options: _Options = None) -> bool:
    """Whether a file is at a path or URL."""
    return urls.exists(place, options) if is_url(place) else os.path.isfile(place)


def size_of(place: str, options: _Options = None) -> int:
    """Return the size of a file in bytes.

    Raises:
        FileNotFoundError: there is none.
    """
    if not is_url(place):
        return os.stat(place).st_size
    files, path = urls.filesystem(place, options)
    with urls.explained(place, options):
        files.invalidate_cache(files._parent(path))
        return int(files.info(path)["size"])


def modified(place: str, options: _Options = None) -> int:
    """Return the time of modification in nanoseconds since 1970; -1 if it is not known."""
    if not is_url(place):
        try:
            return os.stat(place).st_mtime_ns
        except FileNotFoundError:  # a checkpoint prefix is not a file itself
            return -1
    files, path = urls.filesystem(place, options)
    with urls.explained(place, options):
        return size_and_time(files.info(path))[1]


def size_and_time(said: dict[str, object]) -> tuple[int, int]:
    """Return size and time, in nanoseconds since 1970, of what a file system of fsspec says of a file.

    What is not stated, or not as a number or date, is -1.
    """
    size = said.get("size")
    moment = next(
        (said[key] for key in ("mtime", "LastModified", "last_modified", "updated", "created")
         if said.get(key) is not None), None,
    )  # fmt: skip
    if isinstance(moment, datetime.datetime):
        moment = moment.timestamp()
    mtime = int(moment * 1e9) if isinstance(moment, int | float) else -1
    return size if isinstance(size, int) else -1, mtime


def names_in(folder: str, options: _Options = None) -> list[str]:
    """Return the names in a folder; none if there is no such folder."""
    if not is_url(folder):
        try:
            return os.listdir(folder)
        except OSError:
            return []
    files, path = urls.filesystem(folder, options)
    with urls.explained(folder, options):
        files.invalidate_cache(path)
        try:
            return [own_name(f"x://{name}") for name in files.ls(path, detail=False)]
        except FileNotFoundError:
            return []


@contextlib.contextmanager
def opened(place: str, options: _Options = None) -> Iterator[IO[bytes]]:
    """Open the bytes of a file for reading."""
    if not is_url(place):
        with open(place, "rb") as file:
            yield file
        return
    files, path = urls.filesystem(place, options)
    with urls.explained(place, options), files.open(path, "rb") as file:
        yield file


@contextlib.contextmanager
def new_file(place: str, options: _Options = None) -> Iterator[IO[bytes]]:
    """Open an unbuffered file that can be read again; it appears at the place when the block ends well.

    For a URL it is a temporary file of this machine, which is uploaded as a whole.
    """
    if is_url(place):
        from persist._wire.base.uploads import uploading

        with tempfile.TemporaryFile(buffering=0) as made:
            yield made
            made.seek(0)
            with uploading(place, options) as far:
                shutil.copyfileobj(made, far, _CHUNK)
        return
    from persist._container.writing.atomic import replacing

    target = Path(place)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():  # it may lead out of the folder
        target.unlink()
    with replacing(target, durable=True) as new:
        yield new


@contextlib.contextmanager
def nowhere(place: str) -> Iterator[IO[bytes]]:
    """Open a file that is like `new_file`, and never appears.

    Raises:
        PermissionError: nothing could be written at the place, a path.
    """
    if not is_url(place):
        parent = Path(place).parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13), place)
    with tempfile.TemporaryFile(buffering=0) as made:
        yield made


def remove(place: str, options: _Options = None) -> None:
    """Remove a file."""
    if not is_url(place):
        os.unlink(place)
        return
    files, path = urls.filesystem(place, options)
    with urls.explained(place, options):
        files.rm_file(path)
        files.invalidate_cache(files._parent(path))

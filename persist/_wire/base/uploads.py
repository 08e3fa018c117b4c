"""Writing behind a URL: a file appears whole, or what was there stays.

How that is done depends on the storage:

- S3 and Google Cloud Storage show an object when its upload is completed. Large ones go up in parts
  while they are written; a failure aborts the upload.
- Where files are renamed (SFTP, FTP, SMB, HDFS, this machine), a temporary file of the same folder gets
  the name when it is complete.
- Anything else (Azure, HTTP by PUT, kinds that others add to fsspec) gets the complete file in one
  upload, from a temporary file of this machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from persist._wire.base import urls
from persist.errors import StorageError

__all__ = ["uploading"]

_COMPLETED = frozenset({"s3", "s3a", "gs", "gcs"})
_RENAMED = frozenset({"sftp", "ssh", "ftp", "smb", "hdfs", "arrow_hdfs", "file", "local"})
_PIECE = 16 << 20


@contextlib.contextmanager
def uploading(url: str, storage_options: Mapping[str, object] | None = None) -> Iterator[IO[bytes]]:
    """Open a URL for writing; what is written appears there when the block ends without an error.

    Args:
        url: for fsspec.
        storage_options: for fsspec.

    Raises:
        MissingExtraError: fsspec or the library for this kind of URL is not installed.
        StorageError: the storage refused or failed; what was there before is unchanged.
    """
    files, path = urls.filesystem(url, storage_options)
    kinds = {*urls.protocols_of(files)}
    with urls.explained(url, storage_options):
        files.invalidate_cache(files._parent(path))
    if "memory" in kinds:
        how = _in_memory(files, path)
    elif kinds & _COMPLETED:
        how = _completed(files, path, url, storage_options)
    elif kinds & _RENAMED:
        how = _renamed(files, path, url, storage_options)
    else:
        how = _at_once(files, path, url, storage_options)
    with how as file:
        yield file
    with urls.explained(url, storage_options):
        files.invalidate_cache(files._parent(path))


@contextlib.contextmanager
def _in_memory(files: Any, path: str) -> Iterator[IO[bytes]]:
    file = io.BytesIO()
    yield file
    files.pipe_file(path, file.getvalue())


@contextlib.contextmanager
def _completed(
    files: Any, path: str, url: str, options: Mapping[str, object] | None
) -> Iterator[IO[bytes]]:
    with urls.explained(url, options):
        file = files.open(path, "wb")
    try:
        yield cast("IO[bytes]", _Pieces(file, url, options))
        with urls.explained(url, options):
            file.close()
    except BaseException:
        # Closing would complete the upload: fsspec does so even when an exception is on its way.
        with contextlib.suppress(Exception):
            file.discard()
        file.closed = True
        raise


@contextlib.contextmanager
def _renamed(
    files: Any, path: str, url: str, options: Mapping[str, object] | None
) -> Iterator[IO[bytes]]:
    folder, slash, name = path.rpartition("/")
    temporary = f"{folder}{slash}.{name[:100]}.{os.urandom(6).hex()}.tmp"
    with urls.explained(url, options):
        file = files.open(temporary, "wb")
        if hasattr(file, "set_pipelined"):  # SFTP files, which else wait for an answer each 32 KiB
            file.set_pipelined(True)
    try:
        yield cast("IO[bytes]", _Pieces(file, url, options))
        with urls.explained(url, options):
            file.close()
            files.mv(temporary, path)
    except BaseException:
        with contextlib.suppress(Exception):
            file.close()
        with contextlib.suppress(Exception):
            files.rm_file(temporary)
        raise


@contextlib.contextmanager
def _at_once(
    files: Any, path: str, url: str, options: Mapping[str, object] | None
) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryDirectory(prefix="persist-") as folder:
        source = Path(folder, "file")
        with source.open("wb") as file:
            yield file
        if urls.is_http(url):
            from persist._wire.base.http import put

            put(files, url, source, options)
            return
        with urls.explained(url, options):
            try:
                files.put_file(str(source), path)
            except NotImplementedError:
                raise StorageError(
                    f"storage of kind {urls.protocols_of(files)[0]!r} cannot be written to.",
                    file=urls.shown(url),
                    remedy="Save to a path, or to storage that can be.",
                ) from None


class _Pieces(io.RawIOBase):
    """A stream of fsspec that is written to in pieces, so that it need not copy a large array at once."""

    def __init__(self, file: Any, url: str, options: Mapping[str, object] | None) -> None:
        self._file = file
        self._url = url
        self._options = options
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        with urls.explained(self._url, self._options):
            for start in range(0, len(view), _PIECE):
                self._file.write(view[start : start + _PIECE])
        self._at += len(view)
        return len(view)

    def flush(self) -> None:
        """Do nothing: a part goes up when it is complete."""

"""Originals: files that a run replaces, kept once each under their digest.

objects/ab/ab12...   the bytes of an original; a hard link to it where the file system can
runs/ID/....json     a file that was replaced in a run: its path and the digest of its original
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from persist._wire.base.urls import is_url
from persist.bulk._origin import digest_of
from persist.bulk._places import absolute, new_file, opened
from persist.errors import DamagedFileError

__all__ = ["Originals"]

_CHUNK = 1 << 20


class Originals:
    """A folder of originals.

    Args:
        folder: where it is, or will be.
        run: the id of the run that replaces files.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str) -> None:
        self.folder = Path(folder)
        self.run = run

    def keep(
        self, path: str, digest: str, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        """Keep a file that is about to be replaced; what is kept already is not kept twice.

        Args:
            path: of the file, or its URL: then its bytes are fetched.
            digest: of the file.
            storage_options: for fsspec.
        """
        kept = self._object(digest)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            made = kept.with_name(f".{digest}.{os.getpid()}")
            made.unlink(missing_ok=True)
            if is_url(path):
                with opened(path, storage_options) as far, made.open("wb") as near:
                    shutil.copyfileobj(far, near, _CHUNK)
            else:
                _linked(path, made)
            os.replace(made, kept)
        note = self._note(path)
        if not note.exists():  # the first original of a run is what an undo brings back
            note.parent.mkdir(parents=True, exist_ok=True)
            said = json.dumps({"path": absolute(path), "sha256": digest})
            made = note.with_name(f".{note.name}.{os.getpid()}")
            made.write_text(said, encoding="utf-8", errors="surrogateescape")
            os.replace(made, note)

    def replaced(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the digest of each file that the run replaced."""
        folder = self.folder / "runs" / self.run
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            if not name.startswith("."):
                text = (folder / name).read_text(encoding="utf-8", errors="surrogateescape")
                said = json.loads(text)
                yield str(said["path"]), str(said["sha256"])

    def restore(
        self, path: str, digest: str, storage_options: Mapping[str, object] | None = None
    ) -> None:
        """Bring an original back; it stays kept.

        Args:
            path: of the file, or its URL.
            digest: of the original.
            storage_options: for fsspec.

        Raises:
            DamagedFileError: the kept bytes are not those of the original any more.
            OSError: they are missing, or cannot be written.
        """
        kept = self._object(digest)
        if digest_of(kept)[1] != digest:
            raise DamagedFileError(
                f"what is kept of it ({kept}) has been changed since.",
                file=path,
                remedy="Restore it from a backup.",
            )
        with kept.open("rb") as old, new_file(path, storage_options) as new:
            shutil.copyfileobj(old, new, _CHUNK)
        if is_url(path):
            return
        found = kept.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        with contextlib.suppress(OSError):
            os.chmod(path, found.st_mode & 0o7777)

    def forget(self, path: str) -> None:
        """Forget that the run replaced a file, after it was restored."""
        self._note(path).unlink(missing_ok=True)

    def _object(self, digest: str) -> Path:
        return self.folder / "objects" / digest[:2] / digest

    def _note(self, path: str) -> Path:
        key = absolute(path).encode("utf-8", "surrogateescape")
        return self.folder / "runs" / self.run / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


def _linked(path: str, made: Path) -> None:
    try:
        os.link(os.path.realpath(path), made)
    except OSError:  # another file system, or one without links
        shutil.copy2(path, made)

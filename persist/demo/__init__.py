"""Genuine old files to try things on: those that README and docs use.

``persist demo DIR``, or ``python -m persist.demo DIR``, writes them: ``DIR/runs`` holds four
generations of one class, ``DIR/corpus`` what frameworks of many years wrote.
"""

from __future__ import annotations

import io
import os
import pkgutil
import zipfile
from pathlib import Path

from persist.errors import PersistError

__all__ = ["write"]


def write(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the files under a folder, which is created if it does not exist.

    Returns:
        The files, in order.

    Raises:
        PersistError: a different file with one of these names exists; then nothing
            is written.
    """
    data = pkgutil.get_data(__name__, "files.zip")
    if data is None:
        raise PersistError(
            "this installation lacks the files of the demo.", file="persist/demo/files.zip"
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {Path(folder, *name.split("/")): archive.read(name) for name in archive.namelist()}
    for path, content in found.items():
        if path.exists() and (not path.is_file() or path.read_bytes() != content):
            raise PersistError(
                "it exists already, and is not a file of the demo.",
                file=str(path),
                remedy="Name another folder.",
            )
    for path, content in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(found)

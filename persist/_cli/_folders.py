"""Folders that are named on the command line: one thing, or many files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["found"]


def found(source: Path) -> Iterator[tuple[Path, Path]]:
    """Yield what is to be looked at, and its place below what was named.

    Args:
        source: a file, or a folder that is one thing, which is all there is; any other folder is
            walked through: its files, and the folders in it that are one thing.
    """
    if not source.is_dir() or _is_one(source):
        yield source, Path(source.name)
        return
    for folder, folders, files in os.walk(source):
        here = Path(folder)
        whole = [name for name in folders if _is_one(here / name)]
        folders[:] = sorted(name for name in folders if name not in whole and name[0] != ".")
        for name in sorted([*whole, *files]):
            is_one = name in whole or (here / name).is_file()  # a pipe or a device has no end
            if is_one and not name.startswith("."):
                yield here / name, (here / name).relative_to(source)


def _is_one(folder: Path) -> bool:
    """Whether a folder is one thing, as a saved model is; a series of checkpoints is many."""
    from persist._api.files import choose
    from persist._wire.base.source import open_source
    from persist.errors import FormatError

    try:
        return not choose(open_source(folder))[0].is_many
    except (FormatError, OSError):
        return False

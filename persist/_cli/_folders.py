"""Folders on the command line: one experiment file (a saved model), or a folder of many."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

__all__ = ["containers", "files_in", "local"]


def local(name: str) -> str:
    """Return the path of a file:// URL; any other text unchanged."""
    if not name.startswith("file://"):
        return name
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(name).path)


def files_in(source: Path, but: tuple[Path, ...] = ()) -> Iterator[tuple[Path, Path]]:
    """Yield each experiment file, and its path relative to the folder that was named.

    Args:
        source: a file, or a folder that is one experiment file, which is yielded alone; any other
            folder is walked through.
        but: folders that are skipped.
    """
    if not source.is_dir() or _is_one(source):
        yield source, Path(source.name)
        return
    left_out = [os.path.realpath(folder) for folder in but]
    for folder, folders, files in os.walk(source):
        here = Path(folder)
        folders[:] = [name for name in folders if os.path.realpath(here / name) not in left_out]
        whole = [name for name in folders if _is_one(here / name)]
        folders[:] = sorted(name for name in folders if name not in whole and name[0] != ".")
        for name in sorted([*whole, *files]):
            is_one = (
                name in whole or (here / name).is_file()
            )  # reading a pipe or a device might never end
            if is_one and not name.startswith("."):
                yield here / name, (here / name).relative_to(source)


def containers(
    named: Iterable[str], what: str, wanted: Callable[[str], bool]
) -> tuple[list[str], int]:
    """Return the files that were named, and in place of a folder those in it that persist wrote.

    Args:
        named: files and folders.
        what: a description of the wanted files, for the error of a folder without one.
        wanted: whether a file is wanted; damaged files always are, so that they are reported.

    Returns:
        The files, and an exit status: 1 if a folder has none of them.
    """
    from persist import _container
    from persist._cli._out import plain
    from persist._wire.base.source import open_source
    from persist.errors import FormatError

    files: list[str] = []
    status = 0
    for name in named:
        if not os.path.isdir(name):
            files.append(name)
            continue
        inside = []
        for path, _ in files_in(Path(name)):
            if not path.is_file():
                continue
            try:
                with contextlib.closing(open_source(path)) as source:
                    is_wanted = _container.claim(source) is not None and wanted(str(path))
            except FormatError:
                is_wanted = True
            inside += [str(path)] * is_wanted
        if not inside:
            print(plain(f"persist: {name}: it contains no file {what}."), file=sys.stderr)
            status = 1
        files += inside
    return files, status


def _is_one(folder: Path) -> bool:
    """Whether a folder is one experiment file, as a saved model is; a series of checkpoints is many."""
    from persist._api.detect import choose
    from persist._wire.base.source import open_source
    from persist.errors import FormatError

    try:
        return not choose(open_source(folder))[0].is_many
    except (FormatError, OSError):
        return False

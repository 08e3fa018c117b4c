"""Folders on the command line, for verbs that want files that persist wrote."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["containers"]


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
    from persist.bulk._folders import files_in
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

"""What is found instead of listed: modules of a package by walking it, and entry points of others.

A folder is listed by its own hand here: `pkgutil` imports `inspect`, and with it what parses Python.
`importlib.metadata` answers that, and takes longer to import than all that opens a small file. So
the folders on `sys.path` are looked through first, for a distribution that names the group: almost
always there is none. Where modules come from elsewhere (an archive, an importer that finds
distributions its own way), `importlib.metadata` is asked at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder, all_suffixes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["entry_points", "modules_in"]

# "Entry points specification" of the PyPA: a file of sections beside a distribution's metadata.
_FILE = "entry_points.txt"
_KINDS = (".dist-info", ".egg-info")


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, of all that is installed."""
    if not _may_be_there(group.encode()):
        return []
    import importlib.metadata

    return list(importlib.metadata.entry_points(group=group))


def modules_in(folders: Iterable[str]) -> list[str]:
    """Return the names of the modules in the folders of a package (its ``__path__``), sorted."""
    found: set[str] = set()
    suffixes = sorted(all_suffixes(), key=len, reverse=True)
    for folder in folders:
        try:
            entries = os.listdir(folder)
        except NotADirectoryError:  # an archive
            import pkgutil

            found.update(info.name for info in pkgutil.iter_modules([folder]))
            continue
        except OSError:  # what is not there holds nothing
            continue
        for entry in entries:
            suffix = next((suffix for suffix in suffixes if entry.endswith(suffix)), "")
            if suffix and entry.removesuffix(suffix).isidentifier():
                found.add(entry.removesuffix(suffix))
    return sorted(found - {"__init__"})


def _may_be_there(group: bytes) -> bool:
    for finder in sys.meta_path:
        if hasattr(finder, "find_distributions") and finder is not PathFinder:
            return True
    return any(_may_hold(folder or os.curdir, group) for folder in dict.fromkeys(sys.path))


def _may_hold(folder: str, group: bytes) -> bool:
    """Whether a distribution in a folder of `sys.path` may name the group."""
    try:
        names = os.listdir(folder)
    except NotADirectoryError:
        return True  # an archive
    except OSError:  # it holds nothing, as for `importlib.metadata`
        return False
    beside = [name for name in names if name.lower().endswith(_KINDS)]
    if folder.lower().endswith(".egg"):
        beside += [name for name in names if name.lower() == "egg-info"]
    return any(_is_named(os.path.join(folder, name, _FILE), group) for name in beside)


def _is_named(path: str, group: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return group in file.read()
    except OSError:  # most have no such file
        return False

"""Plug-in discovery: the modules of a package, and the entry points of other distributions.

Package folders are listed here directly, because importing `pkgutil` drags in `inspect` and `ast`.
Importing `importlib.metadata`, which reads entry points, takes longer than opening a small file. So
the folders on `sys.path` are searched first for a distribution that names the group, and almost
always there is none. If modules come from elsewhere (an archive, or an importer that finds
distributions itself), `importlib.metadata` is used without that search.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder, all_suffixes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["entry_points", "modules_in"]

# PyPA's "Entry points specification": a file of sections next to a distribution's metadata.
_FILE = "entry_points.txt"
_KINDS = (".dist-info", ".egg-info")


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group from all installed distributions."""
    if not _may_have_group(group.encode()):
        return []
    import importlib.metadata

    return list(importlib.metadata.entry_points(group=group))


def modules_in(folders: Iterable[str]) -> list[str]:
    """Return the names of the modules of a package, sorted.

    Modules of sub-packages are included under their dotted name (``"torch.zip"``), so that a
    family of readers may have a package of its own; the sub-packages themselves are not.

    Args:
        folders: the package's ``__path__``.
    """
    found: set[str] = set()
    for folder in folders:
        found.update(_modules_below(folder))
    return sorted(found)


def _modules_below(folder: str) -> Iterator[str]:
    try:
        entries = os.listdir(folder)
    except NotADirectoryError:  # an archive
        import pkgutil

        for info in pkgutil.walk_packages([folder]):
            if not info.ispkg:
                yield info.name
        return
    except OSError:  # a folder that does not exist holds no modules
        return
    suffixes = sorted(all_suffixes(), key=len, reverse=True)
    for entry in entries:
        suffix = next((suffix for suffix in suffixes if entry.endswith(suffix)), "")
        name = entry.removesuffix(suffix)
        if suffix and name.isidentifier() and name != "__init__":
            yield name
        elif not suffix and os.path.isfile(os.path.join(folder, entry, "__init__.py")):
            below = _modules_below(os.path.join(folder, entry))
            yield from (f"{entry}.{name}" for name in below)


def _may_have_group(group: bytes) -> bool:
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
    except OSError:  # unreadable: `importlib.metadata` finds nothing in it either
        return False
    metadata = [name for name in names if name.lower().endswith(_KINDS)]
    if folder.lower().endswith(".egg"):
        metadata += [name for name in names if name.lower() == "egg-info"]
    return any(_mentions(os.path.join(folder, name, _FILE), group) for name in metadata)


def _mentions(path: str, group: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return group in file.read()
    except OSError:  # most distributions have no such file
        return False

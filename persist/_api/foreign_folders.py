"""Folders of other libraries that no reader takes, known by the names in them.

Sources: ``orbax/checkpoint`` of 0.1 to 0.11 (``PyTreeCheckpointHandler``, ``CheckpointManager``:
a folder a step, in it one of each item), ``tensorstore/kvstore/ocdbt`` (``manifest.ocdbt``), the
specifications of Zarr 2 and 3.
"""

from __future__ import annotations

import os
import re

__all__ = ["foreign_folder", "part_of_folder"]

_MANAGED = "Read it with orbax.checkpoint: CheckpointManager(folder).restore(step)."
_ONE = "Read it with orbax.checkpoint: PyTreeCheckpointer().restore(folder)."
_WHAT = "Orbax, the checkpoints of JAX and Flax (OCDBT or Zarr)"
_ORBAX = frozenset(
    ("_CHECKPOINT_METADATA", "_METADATA", "_sharding", "array_metadatas", "manifest.ocdbt")
)
_ZARR = frozenset((".zgroup", ".zarray", ".zmetadata", "zarr.json"))
_PROCESS = re.compile(r"ocdbt\.process_\d+(?:_\d+)?")
_STEP = re.compile(r"(?:[A-Za-z_]+_)?\d+")  # what a CheckpointManager calls the folder of a step
_MOST = 50  # folders in a folder that are looked into


def foreign_folder(path: str, names: list[str]) -> tuple[str, str] | None:
    """Return what a folder is and what reads it, or None if nothing says so.

    Args:
        path: the folder; if it is one of this machine, folders in it are looked into.
        names: what is in it.
    """
    if _is_orbax(names):
        return f"this is a folder of {_WHAT}.", _ONE
    if _ZARR & {*names}:
        return "this is a folder of Zarr.", "Read it with the library zarr."
    if not os.path.isdir(path):
        return None
    inner = {name: _names(os.path.join(path, name)) for name in names[:_MOST]}
    steps = [
        name
        for name, found in inner.items()
        if _STEP.fullmatch(name) and _is_step(os.path.join(path, name), found)
    ]
    if steps:
        return f"this is a folder of {_WHAT}, with the steps {', '.join(steps[:6])}.", _MANAGED
    items = [name for name, found in inner.items() if _is_orbax(found)]
    if items:
        return f"this is a folder of {_WHAT}, with the items {', '.join(items[:6])}.", _ONE
    arrays = [name for name, found in inner.items() if _ZARR & {*found}]
    if not arrays:
        return None
    if "checkpoint" in names:  # a folder a parameter, and the rest in msgpack: before OCDBT
        return f"this is a folder of {_WHAT}.", _ONE
    return (
        f"this folder holds arrays of Zarr: {', '.join(arrays[:6])}.",
        "Read each with the library zarr.",
    )


def part_of_folder(path: str) -> tuple[str, str] | None:
    """Return what a file is that only has a meaning with its folder, or None."""
    folder, name = os.path.split(path)
    if name in _ORBAX or _PROCESS.fullmatch(os.path.basename(folder)):
        return f"this is a part of a folder of {_WHAT}.", _ONE
    if name in _ZARR:
        return "this is a part of a folder of Zarr.", "Read the folder with the library zarr."
    return None


def _is_orbax(names: list[str]) -> bool:
    return bool(_ORBAX & {*names}) or any(map(_PROCESS.fullmatch, names))


def _is_step(path: str, names: list[str]) -> bool:
    return _is_orbax(names) or any(
        _is_orbax(_names(os.path.join(path, name))) for name in names[:_MOST]
    )


def _names(folder: str) -> list[str]:
    """The names in a folder of this machine; none of a file, or of what cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []

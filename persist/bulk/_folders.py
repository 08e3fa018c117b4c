"""Which files of a folder are work for a verb: the one meaning that a folder has everywhere.

A folder is walked through. What a reader recognises as one thing in several files (a saved model,
a sharded state dict) is one unit, but only if each file of the unit is known by its name: every
other file in the same folder is work of its own, so that a walk never leaves a file out. A series
of checkpoints is never one unit, and neither are the ranks of a distributed run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from persist._wire.base.source import Source

__all__ = ["Found", "files_in", "walk"]


class Found(NamedTuple):
    """One file, or one unit of several files.

    Attributes:
        path: the file, the folder of the unit, or the prefix that its files share.
        inside: its path relative to the folder that was named.
        note: for a unit, what was recognised; else "".
    """

    path: str
    inside: str
    note: str = ""


def files_in(source: Path, but: tuple[Path, ...] = ()) -> Iterator[tuple[Path, Path]]:
    """Yield each experiment file, and its path relative to the folder that was named.

    Args:
        source: a file, or a folder that is one experiment file, which is yielded alone; any other
            folder is walked through.
        but: folders that are skipped.
    """
    if not source.is_dir():
        yield source, Path(source.name)
        return
    for found in walk(os.fspath(source), [os.fspath(folder) for folder in but]):
        yield Path(found.path), Path(found.inside)


def walk(
    top: str, but: list[str] | tuple[str, ...] = (), *, every: bool = False
) -> Iterator[Found]:
    """Yield the files and units of a folder, in order of their names.

    Hidden files, pipes and devices are left out; links to folders are not followed.

    Args:
        top: the folder; if all of it is one unit, it is yielded alone, and its path inside is its
            own name.
        but: folders that are skipped.
        every: yield each regular file by itself, hidden ones too, and no units.
    """
    left_out = {os.path.realpath(folder) for folder in but}
    todo = [(top, "")]
    while todo:
        folder, inside = todo.pop()
        unit = None if every else _unit(folder)
        if unit is not None and unit.is_whole:
            yield Found(folder, inside or os.path.basename(os.path.abspath(folder)), unit.note)
            continue
        names, folders = _names(folder, every, left_out)
        taken: set[str] = set()
        units: dict[str, str] = {}
        if unit is not None:
            taken, units = unit.taken, dict(unit.units)
            if units.pop(_ITSELF, None) is not None:
                yield Found(folder, inside or os.path.basename(os.path.abspath(folder)), unit.note)
        below = []
        for name in sorted([*(name for name in names if name not in taken), *units]):
            yield Found(os.path.join(folder, name), _joined(inside, name), units.get(name, ""))
        for name in sorted(folders, reverse=True):
            if name not in taken:
                below.append((os.path.join(folder, name), _joined(inside, name)))
        todo += below


def _joined(inside: str, name: str) -> str:
    return os.path.join(inside, name) if inside else name


def _names(folder: str, every: bool, left_out: set[str]) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders in a folder; nothing of one that cannot be listed."""
    files: list[str] = []
    folders: list[str] = []
    try:
        entries = os.scandir(folder)
    except OSError:
        return files, folders
    with entries:
        for entry in entries:
            if entry.name.startswith(".") and not every:
                continue
            if entry.is_dir(follow_symlinks=False):
                if not left_out or os.path.realpath(entry.path) not in left_out:
                    folders.append(entry.name)
            elif entry.is_file() and not entry.is_dir():
                files.append(entry.name)
    return files, folders


class _Unit(NamedTuple):
    """What a reader recognised in a folder.

    Attributes:
        note: what it is.
        is_whole: whether every file in the folder belongs to it.
        taken: names in the folder that belong to it.
        units: name under which each unit is opened -> what it is; the folder's own files apart.
    """

    note: str
    is_whole: bool
    taken: set[str]
    units: dict[str, str]


def _unit(folder: str) -> _Unit | None:
    """Return the unit, or the units, in a folder; None if each file is work of its own."""
    from persist._api.detect import choose
    from persist._wire.base.source import open_source
    from persist.errors import FormatError

    try:
        source = open_source(folder)
        reader, _, reason = choose(source)
        if reader.is_many:
            return None
        names = source.children()
    except (FormatError, OSError):
        return None
    split = _SPLITS.get(reader.name)
    if split is None:  # of a reader that is installed by someone else: it knows its folders
        return _Unit(reason, True, set(), {})
    units, taken = split(source, names)
    if not taken:
        return None
    seen = [name for name in names if not name.startswith(".")]
    is_whole = len(units) <= 1 and taken.issuperset(seen)
    return _Unit(reason, is_whole, taken, dict.fromkeys(units, reason))


# What belongs to a unit, by the reader that recognised it: the names under which units are opened,
# and the names that they take up.
_Split = tuple[list[str], set[str]]
_ITSELF = "."  # a unit that is opened by its folder

_MODEL_FILES = {"saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "keras_metadata.pb"}
_MODEL_FILES |= {"fingerprint.pb", "variables", "assets", "assets.extra", "debug"}
_NOTES = {"config.json", "generation_config.json"}


def _saved_model(source: Source, names: list[str]) -> _Split:
    taken = _MODEL_FILES.intersection(names)
    return [_ITSELF], taken


def _bundles(source: Source, names: list[str]) -> _Split:
    """Each checkpoint of TensorFlow is a unit: a folder of several is a series."""
    from persist._wire.tensorflow.checkpoint_files import STATE, bundles, split_shard, tables

    units = bundles(names)
    prefixes = set(units)
    taken = {f"{prefix}.index" for prefix in units} | {STATE}
    for name in names:
        shard = split_shard(name)
        if shard is not None and shard[1] == "data" and shard[0] in prefixes:
            taken.add(name)
    if not units:
        for prefix, files in tables(names).items():
            units.append(prefix)
            taken.update(files)
    if not units:  # a state file alone: what it names is elsewhere, or in a form of its own
        return [_ITSELF], taken.intersection(names)
    return units, taken.intersection(names)


def _shards(source: Source, names: list[str]) -> _Split:
    """Each map of names to files is a unit, with the files that it names."""
    from persist.readers.sharded import _map

    units, taken = [], set()
    for name in names:
        child = source.child(name) if name.endswith(".json") else None
        parsed = None if child is None else _map(child)
        if parsed is not None:
            units.append(name)
            taken.update([name, *parsed["weight_map"].values()])
    if len(units) == 1:
        taken |= _NOTES  # read along with the folder by those who use such models
    return units, taken.intersection(names)


def _distributed(source: Source, names: list[str]) -> _Split:
    return [_ITSELF], {name for name in names if name.endswith(".distcp") or name == ".metadata"}


def _traces(source: Source, names: list[str]) -> _Split:
    from persist.readers.pymc import _CHAIN, _OLD_CHAIN, _SAMPLES, _TEXT

    taken = set()
    for name in names:
        if _TEXT.match(name) or _OLD_CHAIN.match(name):
            taken.add(name)
        elif _CHAIN.match(name):
            child = source.child(name)
            if child is not None and child.kind == "folder" and _SAMPLES in child.children():
                taken.add(name)
    return [_ITSELF], taken


def _memory(source: Source, names: list[str]) -> _Split:
    """A cache of joblib's Memory is a unit if there is nothing else in it, however deep."""
    known = {"output.pkl", "metadata.json", "input_args.json", "func_code.py", ".gitignore"}
    top = source.path or source.name
    for _, _, files in os.walk(top):
        if any(name not in known and not name.endswith((".npy", ".npy.z")) for name in files):
            return [_ITSELF], set()
    return [_ITSELF], set(names)


_SPLITS: dict[str, Callable[[Source, list[str]], _Split]] = {
    "tensorflow-saved-model": _saved_model,
    "tensorflow-checkpoint": _bundles,
    "shards": _shards,
    "torch-distributed": _distributed,
    "pymc3-trace": _traces,
    "joblib": _memory,
}

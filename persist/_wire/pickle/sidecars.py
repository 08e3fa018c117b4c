"""Attributes of an instance that were saved into files next to its pickle.

After ``gensim/utils.py`` (``SaveLoad._save_specials``, ``_load_specials``, ``_adapt_by_suffix``) of 0.8
to 4.3: large arrays go to ``<file>.<attribute>.npy``, those of an instance in it to
``<file>.<attribute>.<its attribute>.npy``; for a sparse matrix, the pickle of its remaining state to
``<file>.<attribute>.npy`` and its three arrays to ``<file>.<attribute>.data.npy`` and so on. The
state lists the names: ``__numpys``, ``__scipys``, ``__recursive_saveloads``, and ``__ignoreds`` for
omitted attributes. If the name of the pickle ends in ``.gz`` or ``.bz2``, the files are ``.npz``
instead, with the array under ``val``, and the three of a sparse matrix in one file ``<file>.<attribute>.sparse.npz``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persist._wire.base.source import Source
from persist.tree import Record

__all__ = ["LISTS", "attach"]

LISTS = ("__numpys", "__scipys", "__recursive_saveloads")
_PARTS = ("data", "indptr", "indices")
_MOST = 10_000  # files that one pickle may name


def attach(
    tree: object, source: Source, read: Callable[[Source], object], damage: list[str]
) -> list[str]:
    """Restore attributes from files next to a pickle into its instances.

    Args:
        tree: the content of the pickle; its instances are changed in place.
        source: the pickle, through which its neighbours are found.
        read: returns the content of a neighbour.
        damage: receives a message for each missing file.

    Returns:
        The names of the files that were read.
    """
    files: list[str] = []
    todo: list[tuple[object, str]] = [(tree, source.basename)]
    seen: set[int] = set()
    is_packed = source.basename.endswith((".gz", ".bz2"))

    def found(name: str) -> Any:
        """Return the content of a neighbour; report it and return None if it is missing."""
        suffixed = f"{name}.npz" if is_packed else f"{name}.npy"
        neighbour = source.sibling(suffixed) if len(files) < _MOST else None
        if neighbour is None or neighbour.kind != "file":
            damage.append(
                f"{suffixed} is missing, which holds {name[len(source.basename) + 1 :]!r}"
            )
            return None
        files.append(suffixed)
        value = read(neighbour)
        if is_packed and isinstance(value, dict) and value.keys() == {"val"}:
            return value["val"]
        return value

    while todo:
        record, name = todo.pop()
        if not isinstance(record, Record) or id(record) in seen:
            continue
        seen.add(id(record))
        state = record.state
        if not isinstance(state, dict):
            continue
        for attribute in _names(state, "__recursive_saveloads"):
            todo.append((state.get(attribute), f"{name}.{attribute}"))
        for attribute in _names(state, "__numpys"):
            if (value := found(f"{name}.{attribute}")) is not None:
                state.setdefault(attribute, value)
        for attribute in _names(state, "__scipys"):
            matrix = found(f"{name}.{attribute}")
            if matrix is None:
                continue
            if isinstance(matrix, Record) and isinstance(matrix.state, dict):
                _fill(matrix.state, f"{name}.{attribute}", found, is_packed)
            state.setdefault(attribute, matrix)
    return files


def _fill(
    state: dict[Any, object], name: str, found: Callable[[str], Any], is_packed: bool
) -> None:
    """Give a sparse matrix its arrays back."""
    packed = found(f"{name}.sparse") if is_packed else None
    for part in _PARTS:
        value = packed.get(part) if isinstance(packed, dict) else None
        value = found(f"{name}.{part}") if not is_packed else value
        if value is not None:
            state[part] = value


def _names(state: dict[Any, object], key: str) -> list[str]:
    """Return the attributes in one of the state's lists; each is a part of a file's name."""
    names = state.get(key)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

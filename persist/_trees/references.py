"""What a file's structure says beyond its paths: described views, and further references to containers."""

from __future__ import annotations

from typing import Any

from persist._trees.pack_view import SCALARS, PackView, ends, holds_none
from persist._trees.paths import as_root
from persist.tree import (
    ABSENT,
    PRIMITIVES,
    Record,
    View,
)

__all__ = ["described", "shared_references"]

_REFERENCES = 1000  # further paths that are returned


def described(
    tree: object, looker: PackView, most: int, keys: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the structure that each view describes, under the first path that leads to it.

    Args:
        tree: the tree.
        looker: returns the leaf and the children of a value.
        most: the largest number of values that are visited.
        keys: is filled with the classes of keys that are instances, by the path of their dict.
    """
    structures: dict[str, object] = {}
    if not looker.has_views:
        return structures
    seen: set[int] = set()
    known: dict[int, bool] = {}
    # A value with its parents as a linked list: (the parents above, step).
    todo: list[tuple[tuple[object, str] | None, object]] = [(None, tree)]
    while todo and len(seen) < most:
        parents, value = todo.pop()
        if id(value) in seen:
            continue
        if holds_none(value, known):
            seen.add(id(value))  # wide and shared: looked through once
            continue
        value = looker.through(value)
        if isinstance(value, SCALARS) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, View) and value.structure is not None:
            structures[_path_of(parents)] = (
                value.structure() if callable(value.structure) else value.structure
            )
        steps = looker.look(value)[1]
        if keys is not None and isinstance(value, dict):
            records = [key.qualname for key in value if isinstance(key, Record)]
            for name in sorted(set(records)):
                path = _path_of(parents)
                keys[path] = f"{keys[path]}, {name}" if path in keys else name
        todo += [((parents, step), item) for step, item in reversed(steps)]
    return structures


def shared_references(tree: object, looker: PackView, most: int) -> dict[str, str]:
    """Return further paths to containers that are listed at their shortest path only.

    Args:
        tree: the tree.
        looker: returns the leaf and the children of a value.
        most: the largest number of references that are followed.

    Returns:
        Path of a reference -> the shortest path of what it refers to; of at most 1,000.
    """
    found: dict[str, str] = {}
    top = as_root(tree, looker)
    level = [looker.through(top)]
    above: dict[int, tuple[int, str]] = {}
    entered, edges = {id(level[0])}, 0
    empty: set[int] = set()  # sequences of plain values and the like, which are leaves
    while level and edges < most and len(found) < _REFERENCES:
        following = []
        for holder in level:
            for step, value in looker.look(holder)[1]:
                edges += 1
                if type(value) in PRIMITIVES or id(value) in empty or ends(value):
                    continue
                value = looker.through(value)
                if isinstance(value, SCALARS) or id(value) in empty:
                    continue
                if id(value) not in entered:
                    if looker.look(value)[0] is not ABSENT:  # listed at every reference
                        empty.add(id(value))
                    entered.add(id(value))
                    above[id(value)] = (id(holder), step)
                    following.append(value)
                elif len(found) < _REFERENCES:
                    base = _spelled(above, id(holder))
                    found[f"{base}/{step}" if base else step] = _spelled(above, id(value))
        level = following
    return found


def _spelled(above: dict[int, tuple[int, str]], key: int) -> str:
    """The path of a container by the last steps to it and to those above it."""
    steps: list[str] = []
    while key in above:
        key, step = above[key]
        steps.append(step)
    return "/".join(reversed(steps))


def _path_of(parents: tuple[Any, str] | None) -> str:
    """The path of a linked list of parents; built on demand only, since paths may be long."""
    path: str | None = None
    steps: list[str] = []
    while parents is not None:
        parents, step = parents
        steps.append(step)
    for step in reversed(steps):
        path = f"{path}/{step}" if path else step
    return path or ""

"""What a downgraded tree no longer holds: what upgrading it again does not restore."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from persist._upgrade.records import rehearse
from persist.errors import MissingExtraError
from persist.ops._address import is_equal, short
from persist.registry import Registry
from persist.tree import ABSENT, Record, step_of

__all__ = ["lost_by"]

Live = Callable[[Any, Callable[[Any], bool]], Any]
_PARTS = ("args", "kwargs", "listitems", "dictitems")


def lost_by(
    tree: object,
    older: Any,
    registry: Registry,
    *,
    live: Live | None = None,
    read: bool = True,
    known: Iterable[str] = (),
) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of each value that a downgrade lost, by the shortest path to it.

    The work grows with the number of values, however deep they are and however many are lost: paths are
    put together for what is yielded.

    Args:
        tree: in the current layout; it is not changed.
        older: the same, downgraded; it is not changed.
        registry: the registry to use.
        live: replaces instances that steps made by records.
        read: read every `LazyArray`, so that steps see arrays.
        known: paths of losses that are reported already: what is at them and below is left out.
    """
    options: dict[str, Any] = {"unknown": "keep", "live": live, "read": read, "listed": False}
    before, _ = rehearse(tree, registry, **options)
    again, rehearsal = rehearse(older, registry, **options)
    places = _tree_of(known)
    todo: deque[tuple[_Place, _Tree | None, object, object]] = deque()
    todo.append((None, places, before, again))
    done, kept = set(), []
    while todo:
        place, reported, one, two = todo.popleft()
        if one is two or (id(one), id(two)) in done or (reported is not None and _END in reported):
            continue
        done.add((id(one), id(two)))
        kept.append((one, two))  # so that no id is reused
        if isinstance(two, Record) and rehearsal.has_failed(two):
            yield _path(place), "what it holds beyond the older state, which no upgrade can show"
            continue
        below = _below(one, two)
        if below is None:
            if not _is_same(one, two):
                name = "the root" if place is None else place[1]
                yield _path(place), f"{name} = {short(one)}"
            continue
        for step, left, right in below:
            if step is None:
                todo.append((place, reported, left, right))
            else:
                todo.append(((place, step), _inside(reported, step), left, right))


_Place = tuple[Any, str] | None  # of the holder, and the step from there
_Tree = dict[
    Any, Any
]  # step -> what follows it; a key may hold slashes, so a step is split at them
_END = object()  # marks in a tree the end of a path


def _path(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(step)
    return "/".join(reversed(steps))


def _tree_of(paths: Iterable[str]) -> _Tree:
    """Paths as one tree of their steps."""
    tree: _Tree = {}
    for path in paths:
        node = tree
        for step in path.split("/") if path else ():
            node = node.setdefault(step, {})
        node[_END] = {}
    return tree


def _inside(tree: _Tree | None, step: str) -> _Tree | None:
    """What follows a step in a tree of paths; the end of a path, where one ends on the way."""
    for one in step.split("/"):
        if tree is None or _END in tree:
            return tree
        tree = tree.get(one)
    return tree


def _below(one: Any, two: Any) -> list[tuple[str | None, Any, Any]] | None:
    """The values inside two values of one kind, with their steps; None if they are to be compared."""
    if type(one) is not type(two):
        return None
    if isinstance(one, Record):
        if (one.cls, one.version) != (two.cls, two.version):
            return None
        pairs: list[tuple[str | None, object, object]] = [
            (None, getattr(one, name), getattr(two, name)) for name in _PARTS
        ]
        left, right = one.fields(), two.fields()
        if not left and not right:
            return [*pairs, (None, one.state, two.state)]
        return [*pairs, *((step_of(name), left[name], right.get(name, ABSENT)) for name in left)]
    if isinstance(one, dict):
        if not one.keys() <= two.keys():
            return None
        return [(step_of(key), item, two[key]) for key, item in one.items()]
    if isinstance(one, list | tuple) and len(one) == len(two):
        return [(str(n), *pair) for n, pair in enumerate(zip(one, two, strict=True))]
    return None


def _is_same(one: object, two: object) -> bool:
    try:
        return is_equal(one, two)
    except MissingExtraError:
        raise
    except Exception:  # an == that raises says nothing
        return False

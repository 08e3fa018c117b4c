"""What a downgraded tree no longer holds: what upgrading it again does not restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    tree: Any, older: Any, registry: Registry, *, live: Live | None = None, read: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of each value that a downgrade lost.

    Args:
        tree: in the current layout; it is not changed.
        older: the same, downgraded; it is not changed.
        registry: the registry to use.
        live: replaces instances that steps made by records.
        read: read every `LazyArray`, so that steps see arrays.
    """
    options: dict[str, Any] = {"unknown": "keep", "live": live, "read": read}
    before, _ = rehearse(tree, registry, **options)
    again, rehearsal = rehearse(older, registry, **options)
    todo, done, kept = [("", before, again)], set(), []
    while todo:
        path, one, two = todo.pop()
        if one is two or (id(one), id(two)) in done:
            continue
        done.add((id(one), id(two)))
        kept.append((one, two))  # so that no id is reused
        if isinstance(two, Record) and rehearsal.has_failed(two):
            yield path, "what it holds beyond the older state, which no upgrade can show"
            continue
        below = _below(path, one, two)
        if below is None:
            if not _is_same(one, two):
                yield path, f"{path.rpartition('/')[2] or 'the root'} = {short(one)}"
            continue
        todo += reversed(below)


def _below(path: str, one: Any, two: Any) -> list[tuple[str, Any, Any]] | None:
    """The values inside two values of one kind, with their paths; None if they are to be compared."""
    if type(one) is not type(two):
        return None
    prefix = f"{path}/" if path else ""
    if isinstance(one, Record):
        if (one.cls, one.version) != (two.cls, two.version):
            return None
        pairs = [(path, getattr(one, name), getattr(two, name)) for name in _PARTS]
        left, right = one.fields(), two.fields()
        if not left and not right:
            return [*pairs, (path, one.state, two.state)]
        return [
            *pairs,
            *((f"{prefix}{name}", left[name], right.get(name, ABSENT)) for name in left),
        ]
    if isinstance(one, dict):
        if not one.keys() <= two.keys():
            return None
        return [(f"{prefix}{step_of(key)}", item, two[key]) for key, item in one.items()]
    if isinstance(one, list | tuple) and len(one) == len(two):
        return [(f"{prefix}{n}", *pair) for n, pair in enumerate(zip(one, two, strict=True))]
    return None


def _is_same(one: Any, two: Any) -> bool:
    try:
        return is_equal(one, two)
    except MissingExtraError:
        raise
    except Exception:  # an == that raises says nothing
        return False

"""Resolve the names of ready-made steps in a state, and describe the values there.

``layers/*/W`` is the ``W`` of each of the ``layers``, through dicts, lists, tuples'
items, and records' fields; ``*`` is every item, ``*.weight`` at the end every key that ends so, and ``**`` the state itself and everything in it, at
any depth. A slash that belongs to a key is written ``\\/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from persist.errors import UnfitStateError
from persist.tree import LazyArray, Record

__all__ = [
    "cut", "distinct", "extra", "get", "has", "holders_at", "is_alike", "is_equal", "is_new", "key_of", "keys_of", "listing",
    "name_of", "places", "put", "quoted", "refuse_stars", "short", "split_last", "star_of", "starred", "steps_of", "unreachable", "whole",
]  # fmt: skip


def steps_of(name: str) -> list[str]:
    """Return the steps of a name; a slash after a backslash is part of a key."""
    if "\\/" not in name:
        return name.split("/")
    return [step.replace("\0", "/") for step in name.replace("\\/", "\0").split("/")]


def split_last(name: str) -> tuple[str, str]:
    """Return the path of the parent as it is written, or "", and the last step."""
    way, _, last = name.replace("\\/", "\0").rpartition("/")
    return way.replace("\0", "\\/"), last.replace("\0", "/")


def places(state: object, name: str) -> Iterator[tuple[Any, Any]]:
    """Yield every (holder, key) that a name leads to; the last key need not be there.

    Raises:
        LookupError: an earlier step leads nowhere.
    """
    if "/" in name and isinstance(state, dict) and name in state:
        yield state, name  # a key that itself holds slashes, as Keras and Flax have them
        return
    *way, last = steps_of(name)
    deep = "**" in way
    holders = holders_at(state, way)
    for holder in holders:
        if "*" in last and not (isinstance(holder, Mapping) and last in holder):
            for key in keys_of(holder):
                if star_of(key, last) is not None:
                    yield holder, key
        elif not deep or _has_step(holder, last):
            if not isinstance(holder, list | tuple | Mapping | Record):
                raise unreachable(holder, name)
            yield holder, key_of(holder, last)


def star_of(key: object, pattern: str) -> str | None:
    """Return the text that the ``*`` of a pattern matches in a key, else None."""
    text = str(key)
    before, _, after = pattern.partition("*")
    if len(text) < len(before) + len(after):
        return None
    if not text.startswith(before) or not text.endswith(after):
        return None
    return text[len(before) : len(text) - len(after)]


def starred(pattern: str, key: object, name: str) -> str:
    """Return a name with its ``*`` replaced by what that of a pattern matches in a key."""
    if "*" not in pattern or "*" not in name:
        return name
    return name.replace("*", star_of(key, pattern) or "")


def unreachable(holder: object, name: str) -> UnfitStateError:
    """Return the error for a name that leads into what has no fields."""
    if isinstance(holder, np.ndarray | LazyArray) and holder.dtype.names:
        return UnfitStateError(
            f"{name!r} leads into a structured array, whose fields no name reaches.",
            remedy="Its columns have steps of their own: persist.ops.rename_column(field, {old: new}), "
            "add_column, drop_column; or convert the whole array: persist.ops.convert(field, function).",
        )
    return UnfitStateError(
        f"the state is a {type(holder).__name__} without fields; {name!r} is wanted.",
        remedy="Name its parts first: persist.ops.unpack(...).",
    )


def holders_at(state: object, way: list[str]) -> list[object]:
    """Return everything that steps lead to.

    Raises:
        LookupError: one leads nowhere; behind ``**`` that is no error.
    """
    holders = [state]
    deep = False
    for position, step in enumerate(way):
        inside = "/".join(way[: position + 1])
        if step == "**":
            holders, deep = _all_below(holders), True
            continue
        if deep:  # not everything at every depth has it
            holders = [holder for holder in holders if step == "*" or _has_step(holder, step)]
            holders = [item for holder in holders for item in _items_below(holder, step)]
        else:
            holders = [item for holder in holders for item in _items(holder, step, inside)]
    return holders


def _items_below(holder: Any, step: str) -> list[object]:
    keys = keys_of(holder) if step == "*" else [key_of(holder, step)]
    items = [holder[key] for key in keys]
    return [item for item in items if isinstance(item, list | dict | Record | tuple)]


def _has_step(holder: object, step: str) -> bool:
    if isinstance(_fields(holder), list | tuple):
        return step.lstrip("-").isdigit() and has(holder, int(step))
    return step in _fields(holder)


def _all_below(holders: list[object]) -> list[object]:
    """These and everything in them that holds something, each once."""
    found: dict[int, Any] = {}
    stack = list(reversed(holders))
    while stack:
        holder = stack.pop()
        if id(holder) in found or not isinstance(holder, list | dict | Record | tuple):
            continue
        found[id(holder)] = holder
        stack += [holder[key] for key in reversed(keys_of(holder))]
    return list(found.values())


def _fields(holder: object) -> Any:
    return holder.fields() if isinstance(holder, Record) else holder


def keys_of(holder: object) -> list[Any]:
    """Return the keys of everything that a holder holds."""
    fields = _fields(holder)
    if isinstance(fields, Mapping):
        return list(fields)
    return list(range(len(fields))) if isinstance(fields, list | tuple) else []


def key_of(holder: object, step: str) -> Any:
    """Return the key that a step of a name means: an index in a list."""
    if isinstance(_fields(holder), list | tuple):
        if not step.lstrip("-").isdigit():
            raise UnfitStateError(f"{step!r} is no index of a {type(holder).__name__}")
        return int(step)
    return step


def _items(holder: object, step: str, inside: str) -> Iterator[object]:
    keys = keys_of(holder) if step == "*" else [key_of(holder, step)]
    for key in keys:
        item = get(holder, key, inside)
        if isinstance(item, list | dict | Record | tuple):
            yield item
        elif isinstance(item, np.ndarray | LazyArray) and item.dtype.names:
            raise unreachable(item, inside)
        elif step != "*":
            raise UnfitStateError(f"{inside!r} is a {type(item).__name__}; no name leads into it")


def has(holder: Any, key: Any) -> bool:
    """Whether a holder has something under a key."""
    if isinstance(holder, list | tuple):
        if not isinstance(key, int):
            raise UnfitStateError(
                f"a {type(holder).__name__} has no names ({key!r} is wanted).",
                remedy="Name its parts first: persist.ops.unpack(...).",
            )
        return bool(-len(holder) <= key < len(holder))
    return key in holder


def get(holder: Any, key: Any, name: str) -> Any:
    """Return what a holder has under a key, or say by its whole name that it is missing."""
    if not isinstance(holder, list | tuple | Mapping | Record):
        raise unreachable(holder, name)
    if not has(holder, key):
        raise UnfitStateError(f"there is no {name!r} (there are: {listing(holder)})")
    return holder[key]


def listing(holder: object) -> str:
    """Return the keys of a holder, for a message."""
    keys = [str(key) for key in keys_of(holder)]
    return ", ".join(keys[:20]) + (" ..." if len(keys) > 20 else "") if keys else "none"


def put(holder: object, key: Any, value: Any, name: str) -> None:
    """Set what a holder has under a key."""
    if isinstance(holder, tuple):
        raise UnfitStateError(
            f"{name!r} lies in a tuple, whose items cannot be set; unpack it first"
        )
    if not isinstance(holder, list | dict | Record):
        raise UnfitStateError(
            f"the state is a {type(holder).__name__} without fields; unpack it first"
        )
    holder[key] = value


def whole(value: object) -> Any:
    """Return a value, read if it is a promise of an array."""
    return value.read() if isinstance(value, LazyArray) else value


def is_new(op: object, holder: object, name: object, memo: dict[object, object]) -> bool:
    """Whether a step has not been at a place yet, in this run; it is noted."""
    key = (id(op), name, id(holder))
    if key in memo:
        return False
    memo[key] = (op, holder)
    return True


def cut(array: Any, axis: int, count: int, sizes: tuple[int, ...] | None, name: str) -> list[Any]:
    """Return an array cut along an axis: into equal parts, or into parts of these sizes."""
    if not -array.ndim <= axis < array.ndim:
        raise UnfitStateError(f"{name!r} has {array.ndim} axes, and no axis {axis}.")
    extent = array.shape[axis]
    if sizes is None:
        if extent % count:
            raise UnfitStateError(
                f"{name!r} has {extent} along axis {axis}, which {count} equal parts do not fill"
            )
        return list(np.split(array, count, axis=axis))
    if sum(sizes) != extent:
        raise UnfitStateError(
            f"{name!r} has {extent} along axis {axis}, but the sizes {sizes} make {sum(sizes)}"
        )
    return list(np.split(array, np.cumsum(sizes)[:-1], axis=axis))


def refuse_stars(one: str, several: tuple[str, ...]) -> None:
    """Refuse a pattern whose counterparts are none: ``*`` matches the same text in all of them.

    Raises:
        ValueError: some of the names have one ``*``, and others have none or several.
    """
    counts = {name.count("*") for name in (one, *several)}
    if one != "*" and (len(counts) > 1 or max(counts) > 1):
        raise ValueError(
            f"{one!r} and {quoted(several)}: all of them need one '*', or none has any."
        )


# Words.


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as a tuple; a text, or a name that occurs twice, is refused."""
    listed = tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in listed):
        raise TypeError(f"{names!r} is no list of names.")
    if len(set(listed)) != len(listed):
        raise ValueError(f"a name occurs twice in {listed!r}.")
    return listed


def extra(state: object, names: Iterable[str]) -> list[str]:
    """Return what a state has in addition to these fields."""
    if not isinstance(state, Mapping):
        return []
    return [str(key) for key in state if key not in set(names)]


def quoted(names: Iterable[str]) -> str:
    """Return names as a call has them."""
    return ", ".join(repr(name) for name in names)


def name_of(function: object) -> str:
    """Return a function's name, for a plan."""
    return str(getattr(function, "__qualname__", repr(function)))


def short(value: object) -> str:
    """Return a value in a few words."""
    if isinstance(value, np.ndarray | LazyArray) and value.size > 4:
        return f"{value.dtype} array {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_alike(one: Any, other: Any) -> bool:
    """Whether two trees are equal as far as they can be compared: records by their states, in cycles too.

    Without recursion. What has no sensible ``==`` counts as different.
    """
    todo, done, kept = [(one, other)], set(), []
    while todo:
        left, right = todo.pop()
        if left is right or (id(left), id(right)) in done:
            continue
        if isinstance(left, Record) and isinstance(right, Record):
            if (left.cls, left.version) != (right.cls, right.version):
                return False
            pairs: Any = [
                (getattr(left, name), getattr(right, name))
                for name in ("args", "kwargs", "state", "listitems", "dictitems")
            ]
        elif type(left) is not type(right) or not isinstance(left, list | tuple | dict):
            try:
                if not is_equal(left, right):
                    return False
            except Exception:  # an == that raises says nothing
                return False
            continue
        elif len(left) != len(right):
            return False
        elif isinstance(left, dict):
            if left.keys() != right.keys():
                return False
            pairs = [(value, right[key]) for key, value in left.items()]
        else:
            pairs = list(zip(left, right, strict=True))
        done.add((id(left), id(right)))
        kept.append((left, right))
        todo += pairs
    return True


def is_equal(one: Any, other: Any) -> bool:
    """Whether two values are equal as far as they can be compared, arrays inside containers too."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_equal(one[key], other[key]) for key in one)
    return bool(one == other or (one != one and other != other))

"""Steps on whole fields: their names, which there are, and a plain tuple as fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np

from persist.errors import UnfitStateError
from persist.ops._address import (
    distinct,
    extra,
    get,
    has,
    holders_at,
    is_equal,
    is_new,
    keys_of,
    listing,
    name_of,
    places,
    put,
    quoted,
    short,
    split_last,
    star_of,
    steps_of,
    unreachable,
)
from persist.ops._base import Columns, Memo, Op, column_of, each
from persist.tree import ABSENT, LazyArray

__all__ = ["add", "drop", "pack", "rename", "unpack"]


class unpack(Op):  # noqa: N801 - a verb, as it is used
    """A plain tuple (or list) becomes fields, in this order; another length is an error."""

    def __init__(self, *names: str) -> None:
        self.names = distinct(names)

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        if not isinstance(state, tuple | list):
            raise UnfitStateError(f"the state is a {type(state).__name__}, not a plain tuple")
        if len(state) != len(self.names):
            raise UnfitStateError(
                f"the state is a tuple of {len(state)}, but {len(self.names)} names are given "
                f"({', '.join(self.names)})"
            )
        return dict(zip(self.names, state, strict=True))

    def inverse(self) -> Op:
        return pack(*self.names)

    def losses(self, state: object) -> list[str]:
        return extra(state, self.names)

    def columns(self, columns: Columns, count: int) -> Columns:
        wanted = {str(index) for index in range(len(self.names))}
        if columns.keys() != wanted:
            raise UnfitStateError(f"the columns are {sorted(columns)}, not {sorted(wanted)}")
        return {name: columns[str(index)] for index, name in enumerate(self.names)}

    def __str__(self) -> str:
        return f"unpack({quoted(self.names)})"


class pack(Op):  # noqa: N801
    """Fields become a plain tuple, in this order."""

    def __init__(self, *names: str) -> None:
        self.names = distinct(names)

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        return tuple(get(state, name, name) for name in self.names)

    def inverse(self) -> Op:
        return unpack(*self.names)

    def columns(self, columns: Columns, count: int) -> Columns:
        return {str(index): get(columns, name, name) for index, name in enumerate(self.names)}

    def __str__(self) -> str:
        return f"pack({quoted(self.names)})"


class rename(Op):  # noqa: N801
    """A field gets another name: ``rename("W", "weights")``, ``rename({"W": "weights", ...})``.

    ``rename("hidden_*", "h*")`` renames all that fit, ``*`` standing for the same text on
    both sides (so ``rename("old_*", "*")`` takes off a prefix). Inside: ``rename("layers/*/W",
    "layers/*/weights")`` or, shorter, ``rename("layers/*/W", "weights")``.

    Args:
        old: the name, or old and new names.
        new: the new name.
        optional: a state without the field is left as it is.
    """

    def __init__(
        self, old: str | Mapping[str, str], new: str | None = None, *, optional: bool = False
    ) -> None:
        if isinstance(old, str):
            if new is None:
                raise TypeError("rename() takes an old name and a new one, or a dict of them.")
            old = {old: new}
        self.given = dict(old)
        self.names = {one: _sibling_name(one, other) for one, other in old.items()}
        self.optional = optional
        for one, other in self.names.items():
            if split_last(one)[1].count("*") != split_last(other)[1].count("*"):
                raise ValueError(f"rename({one!r}, {other!r}): both sides need as many '*'.")

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        moves: list[tuple[Any, Any, Any]] = []
        for old, new in self.names.items():
            moves += self._moves(state, old, new, memo)
        taken = [(holder, new, holder[key]) for holder, key, new in moves]
        for holder, key, _ in moves:
            del holder[key]
        for holder, new, value in taken:
            if new in holder:
                raise UnfitStateError(f"there is a {new!r} already (there are: {listing(holder)})")
            holder[new] = value
        return state

    def _moves(
        self, state: Any, old: str, new: str, memo: Memo | None
    ) -> Iterator[tuple[object, object, object]]:
        (way, last), target = split_last(old), split_last(new)[1]
        pattern = "*" in last
        if "/" in old and isinstance(state, dict) and old in state:
            yield state, old, self.given[old]  # a key that itself holds slashes
            return
        steps = steps_of(way) if way else []
        if "**" in steps:
            yield from self._deep_moves(holders_at(state, steps), old, new, memo)
            return
        holders = (
            [state] if not way else [get(holder, key, way) for holder, key in places(state, way)]
        )
        for holder in holders:
            if isinstance(holder, np.ndarray | LazyArray):
                raise unreachable(holder, old)
            if isinstance(holder, list | tuple) or not hasattr(holder, "__delitem__"):
                raise UnfitStateError(f"a {type(holder).__name__} has no names ({old!r} is wanted)")
            if way and memo is not None and not is_new(self, holder, old, memo):
                continue
            if pattern:
                for key in keys_of(holder):
                    star = star_of(key, last)
                    if star is not None:
                        yield holder, key, target.replace("*", star)
            elif last in holder:
                yield holder, last, target
            elif not self.optional:
                get(holder, last, old)

    def _deep_moves(
        self, holders: list[object], old: str, new: str, memo: Memo | None
    ) -> Iterator[tuple[object, object, object]]:
        """The same at every depth, where most of what there is has no such field."""
        last, target = split_last(old)[1], split_last(new)[1]
        count = 0
        for holder in holders:
            if isinstance(holder, list | tuple):
                continue
            for key in keys_of(holder):
                star = star_of(key, last) if "*" in last else "" if key == last else None
                if star is None:
                    continue
                count += 1
                if memo is None or is_new(self, holder, f"{old} {key}", memo):
                    yield holder, key, target.replace("*", star)
        if not count and not self.optional:
            raise LookupError(f"there is no {last!r} at any depth")

    def inverse(self) -> Op:
        if any(split_last(new)[1] == "*" for new in self.names.values()):
            return super().inverse()  # which names had what was taken off, nobody knows
        return rename({new: old for old, new in self.names.items()}, optional=self.optional)

    def _cure(self) -> str:
        return "Name the fields one by one: rename({old: new, ...})."

    def columns(self, columns: Columns, count: int) -> Columns:
        if any("/" in name for name in self.names):
            return super().columns(columns, count)
        result: Columns = self.apply(columns)
        return result

    def __str__(self) -> str:
        pairs = ", ".join(f"{old!r} → {new!r}" for old, new in self.names.items())
        return f"rename({pairs}{', optional' if self.optional else ''})"


def _sibling_name(old: str, new: str) -> str:
    """A new name that is one step lies where the old one does."""
    way = split_last(old)[0]
    there = split_last(new)[0]
    if there and there != way:
        raise ValueError(f"rename({old!r}, {new!r}): it stays in its place; move moves.")
    return f"{way}/{new[len(there) + 1 :] if there else new}" if way else new


class add(Op):  # noqa: N801
    """A field comes in: ``add("activation", "tanh")``.

    Args:
        name: of the field.
        value: the same for all; a list, dict, set or array is copied for each.
        factory: makes it, without arguments.
        computed: makes it from the state.
    """

    def __init__(
        self,
        name: str,
        value: object = ABSENT,
        *,
        factory: Callable[[], Any] | None = None,
        computed: Callable[[Any], Any] | None = None,
    ) -> None:
        if (value is not ABSENT) + (factory is not None) + (computed is not None) != 1:
            raise TypeError(f"add({name!r}, ...) takes one of a value, factory= and computed=.")
        self.name = name
        self.value = value
        self.factory = factory
        self.computed = computed

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        for holder, key in list(places(state, self.name)):
            if memo is not None and "/" in self.name and not is_new(self, holder, key, memo):
                continue
            if has(holder, key):
                raise UnfitStateError(f"there is a {self.name!r} already")
            put(holder, key, self._make(state), self.name)
        return state

    def _make(self, state: object) -> object:
        if self.computed is not None:
            if isinstance(state, dict):
                for name, value in list(state.items()):
                    if isinstance(value, LazyArray):
                        state[name] = value.read()
            return self.computed(state)
        if self.factory is not None:
            return self.factory()
        if isinstance(self.value, list | dict | set | np.ndarray):
            return self.value.copy()
        return self.value

    def inverse(self) -> Op:
        return drop(self.name, default=self.value, factory=self.factory, computed=self.computed)

    def losses(self, state: object) -> list[str]:
        lost = []
        for holder, key in places(state, self.name):
            if has(holder, key):
                value = holder[key]
                if not self._is_made(value, state):
                    lost.append(f"{self.name} = {short(value)}")
        return lost

    def _is_made(self, value: object, state: Any) -> bool:
        """Whether an upgrade would give the field the same value again."""
        try:
            if self.computed is not None:
                rest = {name: item for name, item in state.items() if name != self.name}
                return is_equal(value, self.computed(rest))
            return is_equal(value, self._make(state))
        except Exception:  # whatever a stranger's function raises: then it is not the same
            return False

    def columns(self, columns: Columns, count: int) -> Columns:
        if "/" in self.name or self.computed is not None:
            return super().columns(columns, count)
        if self.name in columns:
            raise UnfitStateError(f"there is a {self.name!r} already")
        columns[self.name] = column_of(each(self._make, repeat(None, count))) if count else []
        return columns

    def __str__(self) -> str:
        if self.computed is not None:
            how = f"computed by {name_of(self.computed)}"
        elif self.factory is not None:
            how = f"made by {name_of(self.factory)}"
        else:
            how = short(self.value)
        return f"add({self.name!r}, {how})"


class drop(Op):  # noqa: N801
    """Fields go: ``drop("cache")``; what a downgrade puts in their place may be said.

    Args:
        names: of the fields; ``"*.num_batches_tracked"`` is each that ends so, however many there are.
        default: what a downgrade gives them.
        factory: makes that, without arguments.
        computed: makes that from the newer state.
        optional: a state without a field is left as it is.
    """

    def __init__(
        self,
        *names: str,
        default: object = ABSENT,
        factory: Callable[[], object] | None = None,
        computed: Callable[[Any], object] | None = None,
        optional: bool = False,
    ) -> None:
        self.names = distinct(names)
        self.default = default
        self.factory = factory
        self.computed = computed
        self.optional = optional

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        for name in self.names:
            for holder, key in list(places(state, name)):
                if has(holder, key):
                    if isinstance(holder, list | tuple):
                        raise UnfitStateError(
                            f"{name!r} is an item of a {type(holder).__name__}, no field"
                        )
                    if memo is not None and "/" in name:
                        is_new(self, holder, name, memo)
                    del holder[key]
                elif not self.optional and not self._done(holder, name, memo):
                    get(holder, key, name)
        return state

    def _done(self, holder: object, name: str, memo: Memo | None) -> bool:
        return memo is not None and (id(self), name, id(holder)) in memo

    def inverse(self) -> Op:
        given = (
            (self.default is not ABSENT) + (self.factory is not None) + (self.computed is not None)
        )
        if not given or len(self.names) != 1 or "*" in split_last(self.names[0])[1]:
            return super().inverse()
        return add(self.names[0], self.default, factory=self.factory, computed=self.computed)

    def _cure(self) -> str:
        return "Say what a downgrade puts in its place: drop(name, default=...)."

    def columns(self, columns: Columns, count: int) -> Columns:
        if any("/" in name for name in self.names):
            return super().columns(columns, count)
        result: Columns = self.apply(columns)
        return result

    def __str__(self) -> str:
        return f"drop({quoted(self.names)})"

"""Steps between one field and several: parts of arrays, nested fields, other places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from persist.errors import UnfitStateError
from persist.ops._address import (
    cut,
    distinct,
    extra,
    get,
    has,
    is_new,
    key_of,
    keys_of,
    places,
    put,
    quoted,
    refuse_stars,
    short,
    split_last,
    star_of,
    starred,
    steps_of,
    whole,
)
from persist.ops._base import Columns, Instead, Memo, Op
from persist.tree import Record

__all__ = ["delete", "flatten", "merge", "move", "nest", "split", "stack", "unstack"]


class split(Op):  # noqa: N801
    """One array becomes several, along an axis: ``split("gates", ("i", "f", "o"), axis=1)``.

    ``split("*.qkv.weight", ("*.q.weight", "*.k.weight", "*.v.weight"))`` does so for each field that fits.

    Args:
        name: of the field.
        into: the new fields, in the same mapping.
        axis: along which it is cut.
        sizes: of the parts along the axis; None: equal ones.
    """

    def __init__(
        self, name: str, into: Iterable[str], *, axis: int = 0, sizes: Sequence[int] | None = None
    ) -> None:
        self.name = name
        self.into = distinct(into)
        self.axis = axis
        self.sizes = None if sizes is None else tuple(sizes)
        if self.sizes is not None and len(self.sizes) != len(self.into):
            raise ValueError(f"{len(self.into)} parts, but {len(self.sizes)} sizes.")
        refuse_stars(split_last(name)[1], self.into)

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        for holder, key in list(places(state, self.name)):
            if memo is not None and "/" in self.name and not is_new(self, holder, key, memo):
                continue
            value = get(holder, key, self.name)
            parts = self._parts(np.asarray(whole(value)), value, memo)
            del holder[key]
            names = [starred(split_last(self.name)[1], key, name) for name in self.into]
            for name, part in zip(names, parts, strict=True):
                if name in holder:
                    raise UnfitStateError(f"there is a {name!r} already")
                holder[name] = part
        return state

    def _parts(self, array: object, value: object, memo: Memo | None) -> list[object]:
        key = (id(self), "value", id(value))
        if memo is not None and key in memo:
            parts: list[Any] = memo[key][1]
            return parts
        parts = cut(array, self.axis, len(self.into), self.sizes, self.name)
        if memo is not None:
            memo[key] = (value, parts, self)
        return parts

    def inverse(self) -> Op:
        way = self.name.rpartition("/")[0]
        names = [f"{way}/{name}" if way else name for name in self.into]
        return merge(names, self.name, axis=self.axis, sizes=self.sizes)

    def columns(self, columns: Columns, count: int) -> Columns:
        column = columns.get(self.name)
        if not isinstance(column, np.ndarray):
            return super().columns(columns, count)
        axis = self.axis % (column.ndim - 1) + 1
        parts = cut(column, axis, len(self.into), self.sizes, self.name)
        del columns[self.name]
        return {**columns, **dict(zip(self.into, parts, strict=True))}

    def __str__(self) -> str:
        return f"split({self.name!r}, ({quoted(self.into)}), axis={self.axis})"


class merge(Op):  # noqa: N801
    """Several arrays become one, along an axis: ``merge(("i", "f", "o"), "gates", axis=1)``.

    With a ``*`` in all names, as for `split`, each set of fields that fits is put together.

    Args:
        names: of the fields, all in one place.
        into: the new field.
        axis: along which they are put together.
        sizes: of the parts along the axis, for a downgrade; None: equal ones.
    """

    def __init__(
        self, names: Iterable[str], into: str, *, axis: int = 0, sizes: Sequence[int] | None = None
    ) -> None:
        listed = distinct(names)
        ways = {name.rpartition("/")[0] for name in listed}
        if len(ways) != 1:
            raise ValueError("the fields that are merged lie in one place.")
        self.way = ways.pop()
        self.names = tuple(name.rpartition("/")[2] for name in listed)
        self.into = into.rpartition("/")[2]
        self.axis = axis
        self.sizes = None if sizes is None else tuple(sizes)
        refuse_stars(self.into, self.names)

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        found = places(state, self.way) if self.way else iter(())
        holders = [get(holder, key, self.way) for holder, key in found] if self.way else [state]
        for holder in holders:
            if self.way and memo is not None and not is_new(self, holder, self.into, memo):
                continue
            for names, into in self._sets(holder):
                parts = [get(holder, name, name) for name in names]
                joined = self._whole_of(parts, memo)
                for name in names:
                    del holder[name]
                if into in holder:
                    raise UnfitStateError(f"there is a {into!r} already")
                holder[into] = joined
        return state

    def _sets(self, holder: object) -> list[tuple[list[str], str]]:
        """The names of the fields that become one, and its name; several sets with a ``*``."""
        first = self.names[0]
        if "*" not in first:
            return [([*self.names], self.into)]
        return [
            ([starred(first, key, name) for name in self.names], starred(first, key, self.into))
            for key in keys_of(holder)
            if star_of(key, first) is not None
        ]

    def _whole_of(self, parts: list[object], memo: Memo | None) -> object:
        key = (id(self), "value", *map(id, parts))
        if memo is not None and key in memo:
            return memo[key][1]
        arrays = [np.asarray(whole(part)) for part in parts]
        try:
            joined = np.concatenate(arrays, axis=self.axis)
        except (TypeError, ValueError) as error:
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise UnfitStateError(f"{self} cannot join arrays of {shapes}: {error}.") from error
        if memo is not None:
            memo[key] = (parts, joined, self)
        return joined

    def inverse(self) -> Op:
        name = f"{self.way}/{self.into}" if self.way else self.into
        return split(name, self.names, axis=self.axis, sizes=self.sizes)

    def columns(self, columns: Columns, count: int) -> Columns:
        parts = [columns.get(name) for name in self.names]
        if self.way or not all(isinstance(part, np.ndarray) for part in parts):
            return super().columns(columns, count)
        first: Any = parts[0]
        axis = self.axis % (first.ndim - 1) + 1
        rest = {name: column for name, column in columns.items() if name not in self.names}
        return {**rest, self.into: np.concatenate(parts, axis=axis)}  # type: ignore[arg-type]

    def __str__(self) -> str:
        way = f"{self.way}/" if self.way else ""
        names = quoted(way + name for name in self.names)
        return f"merge(({names}), {way + self.into!r}, axis={self.axis})"


class nest(Op):  # noqa: N801
    """Fields move into a dict of their own: ``nest("optimizer", "rate", "momentum")``.

    Args:
        into: the new field.
        names: of the fields that move.
        renamed: new name inside -> old name.
    """

    def __init__(self, into: str, /, *names: str, **renamed: str) -> None:
        self.into = into
        self.names = {**{name: name for name in distinct(names)}, **renamed}

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        inner = {}
        for new, old in self.names.items():
            inner[new] = get(state, old, old)
        for old in self.names.values():
            del state[old]
        if self.into in state:
            raise UnfitStateError(f"there is a {self.into!r} already")
        state[self.into] = inner
        return state

    def inverse(self) -> Op:
        return flatten(self.into, names=self.names)

    def losses(self, state: Any) -> list[str]:
        return [f"{self.into}/{name}" for name in extra(state.get(self.into), self.names)]

    def __str__(self) -> str:
        return f"nest({self.into!r}: {', '.join(self.names.values())})"


class flatten(Op):  # noqa: N801
    """The items of a dict become fields: ``flatten("optimizer")``.

    Args:
        name: of the field that holds the dict.
        prefix: of the new fields' names.
        names: which items, or item -> new field; None: all. Only with them is
            there a way back.
    """

    def __init__(
        self, name: str, *, prefix: str = "", names: Iterable[str] | Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.prefix = prefix
        if names is None or isinstance(names, Mapping):
            self.names = names
        else:
            self.names = {one: f"{prefix}{one}" for one in distinct(names)}

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        inner = get(state, self.name, self.name)
        inner = inner.fields() if isinstance(inner, Record) else inner
        if not isinstance(inner, Mapping):
            raise UnfitStateError(f"{self.name!r} is a {type(inner).__name__}, not a dict")
        names = self.names
        if names is None:
            names = {key: f"{self.prefix}{key}" for key in inner}
        taken = {new: get(inner, old, f"{self.name}/{old}") for old, new in names.items()}
        del state[self.name]
        for new, value in taken.items():
            if new in state:
                raise UnfitStateError(f"there is a {new!r} already")
            state[new] = value
        return state

    def inverse(self) -> Op:
        if self.names is None:
            return super().inverse()
        return nest(self.name, **self.names)

    def _cure(self) -> str:
        return "Say which fields come out of it: flatten(name, names=(...))."

    def __str__(self) -> str:
        return f"flatten({self.name!r})"


class delete(Op):  # noqa: N801
    """The class is gone for good: every reference to an instance of it becomes ``value``."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        return Instead(self.value)

    def __str__(self) -> str:
        return f"delete({'' if self.value is None else short(self.value)})"


class stack(Op):  # noqa: N801
    """Several arrays become one, along a new axis: ``stack(("x", "y"), "points", axis=1)``.

    Args:
        names: of the fields.
        into: the new field.
        axis: the new one in the result.
    """

    def __init__(self, names: Iterable[str], into: str, *, axis: int = 0) -> None:
        self.names = distinct(names)
        self.into = into
        self.axis = axis

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        parts = [np.asarray(whole(get(state, name, name))) for name in self.names]
        if len({part.shape for part in parts}) > 1:
            shapes = ", ".join(str(part.shape) for part in parts)
            raise LookupError(f"the shapes of {quoted(self.names)} differ ({shapes})")
        for name in self.names:
            del state[name]
        if self.into in state:
            raise LookupError(f"there is a {self.into!r} already")
        state[self.into] = np.stack(parts, axis=self.axis)
        return state

    def inverse(self) -> Op:
        return unstack(self.into, self.names, axis=self.axis)

    def __str__(self) -> str:
        return f"stack(({quoted(self.names)}), {self.into!r}, axis={self.axis})"


class unstack(Op):  # noqa: N801
    """One array becomes several, one for each index of an axis, which goes.

    Args:
        name: of the field.
        into: the new fields.
        axis: the one that goes.
    """

    def __init__(self, name: str, into: Iterable[str], *, axis: int = 0) -> None:
        self.name = name
        self.into = distinct(into)
        self.axis = axis

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        array = np.asarray(whole(get(state, self.name, self.name)))
        if array.ndim == 0 or array.shape[self.axis] != len(self.into):
            raise LookupError(
                f"{self.name!r} has the shape {array.shape}; along axis {self.axis} "
                f"{len(self.into)} are wanted"
            )
        del state[self.name]
        for index, name in enumerate(self.into):
            if name in state:
                raise LookupError(f"there is a {name!r} already")
            state[name] = np.take(array, index, axis=self.axis)
        return state

    def inverse(self) -> Op:
        return stack(self.into, self.name, axis=self.axis)

    def __str__(self) -> str:
        return f"unstack({self.name!r}, ({quoted(self.into)}), axis={self.axis})"


class move(Op):  # noqa: N801
    """A value moves to another place, also into or out of a record: ``move("net/rate", "trainer/rate")``.

    Missing parents of the new place are created as dicts; ``*`` and ``**`` are not meant here.

    Args:
        old: its place.
        new: the new one.
        optional: a state without the value is left as it is.
    """

    def __init__(self, old: str, new: str, *, optional: bool = False) -> None:
        self.old = old
        self.new = new
        self.optional = optional
        for name in (old, new):
            if any(step in ("*", "**") for step in steps_of(name)):
                raise ValueError(f"move({old!r}, {new!r}): one place is meant, not many.")

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        try:
            ((holder, key),) = places(state, self.old)
        except LookupError:
            if self.optional:
                return state
            raise
        if self.optional and not has(holder, key):
            return state
        value = get(holder, key, self.old)
        if isinstance(holder, list | tuple):
            raise LookupError(f"{self.old!r} is an item of a {type(holder).__name__}, no field")
        del holder[key]
        target, last = self._made_place(state)
        if has(target, last):
            raise LookupError(f"there is a {self.new!r} already")
        put(target, last, value, self.new)
        return state

    def _made_place(self, state: object) -> tuple[object, object]:
        *way, _ = steps_of(self.new)
        holder = state
        for step in way:
            key = key_of(holder, step)
            if isinstance(holder, dict | Record) and not has(holder, key):
                holder[key] = {}
            holder = get(holder, key, self.new)
        ((target, last),) = places(state, self.new)
        return target, last

    def inverse(self) -> Op:
        return move(self.new, self.old, optional=self.optional)

    def __str__(self) -> str:
        return f"move({self.old!r} → {self.new!r}{', optional' if self.optional else ''})"

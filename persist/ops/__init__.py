"""Ready-made steps of a migration: rename, add, drop, convert, split, merge, nest ...

    persist.migration(Layer, 2, ops.rename("W", "weights"), ops.add("activation", "tanh"))

A step takes the state of one instance, a dict of fields (or a bare tuple, for
`unpack`), and gives the newer one. It says what it does (``str(step)``), knows
its inverse where one exists, reports what a downgrade loses, and can run on whole
columns: a dict from field to the values of many instances, an array with the
instances along its first axis or a list.

Names may lead inside: ``layers/*/W`` is the ``W`` of each of the ``layers``, through
dicts, lists, tuples' items, and records' fields; ``*`` is every item, ``**`` everything at any
depth (``**/W``), and a slash that belongs to a key is written ``\\/``. What two instances share is
changed once, and an array that they share stays shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from persist.errors import IrreversibleError, PersistError, UnfitStateError
from persist.ops._address import (
    cut,
    distinct,
    extra,
    get,
    has,
    holders_at,
    is_alike,
    is_equal,
    is_new,
    key_of,
    keys_of,
    listing,
    name_of,
    places,
    put,
    quoted,
    refuse_stars,
    short,
    split_last,
    star_of,
    starred,
    steps_of,
    unreachable,
    whole,
)
from persist.tree import ABSENT, LazyArray, Record

__all__ = [
    "Instead",
    "Op",
    "add",
    "add_column",
    "astype",
    "convert",
    "delete",
    "drop",
    "drop_column",
    "flatten",
    "from_json",
    "merge",
    "move",
    "nest",
    "pack",
    "rename",
    "rename_column",
    "replace",
    "reshape",
    "scale",
    "split",
    "stack",
    "to_json",
    "transpose",
    "unpack",
    "unstack",
]

Memo = dict[Any, Any]
Columns = dict[str, Any]


class Instead:
    """What a migration returns to put another value in the place of the whole instance.

    Every reference to the instance then leads to the value; a `Record` may also
    be returned as it is.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Instead({self.value!r})"


class Op:
    """One ready-made step."""

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        """Return the newer state; the older one may be changed in doing so.

        Args:
            state: the fields by name, or a bare tuple.
            memo: what earlier applications in the same run did, so that what is
                shared is changed once.

        Raises:
            LookupError: a field is not there.
        """
        raise NotImplementedError

    def inverse(self) -> Op:
        """Return the step that goes back.

        Raises:
            IrreversibleError: there is none, with what would make one.
        """
        raise IrreversibleError(f"the step {self} goes one way only.", remedy=self._cure())

    def _cure(self) -> str:
        return "Write the migration as a function and its way back with .downgrade."

    @property
    def is_reversible(self) -> bool:
        """Whether it has an inverse."""
        try:
            self.inverse()
        except IrreversibleError:
            return False
        return True

    def losses(self, state: Any) -> list[str]:
        """Say what of a newer state the older one cannot hold."""
        return []

    def columns(self, columns: Columns, count: int) -> Columns:
        """Return the newer state of ``count`` instances at once.

        Args:
            columns: field -> the values of all instances: an array with them
                along the first axis, or a list; it may be changed.
            count: how many instances.
        """
        rows = [_row(columns, index) for index in range(count)]
        memo: Memo = {}
        return _gather([self.apply(row, memo) for row in rows])

    def __str__(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"ops.{self}"

    def __eq__(self, other: object) -> bool:
        """Whether another step does the same, with the same downgrade."""
        if type(other) is not type(self):
            return NotImplemented
        own, others = vars(self), vars(other)
        return own.keys() == others.keys() and all(
            own[name] is others[name] or is_equal(own[name], others[name]) for name in own
        )

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


def _row(columns: Columns, index: int) -> dict[str, Any]:
    return {name: column[index] for name, column in columns.items()}


def _gather(rows: list[Any]) -> Columns:
    """Rows as columns: arrays where the values stack, lists elsewhere."""
    names = rows[0].keys() if rows else ()
    return {name: _column([row[name] for row in rows]) for name in names}


def _column(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, np.ndarray | np.generic) and not first.dtype.hasobject:
        alike = all(
            isinstance(value, np.ndarray | np.generic)
            and value.dtype == first.dtype
            and value.shape == first.shape
            for value in values
        )
        if alike:
            return np.stack(values)
    return values


# Names.


class unpack(Op):  # noqa: N801 - a verb, as it is used
    """A bare tuple (or list) becomes fields, in this order; another length is an error."""

    def __init__(self, *names: str) -> None:
        self.names = distinct(names)

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        if not isinstance(state, tuple | list):
            raise UnfitStateError(f"the state is a {type(state).__name__}, not a bare tuple")
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
    """Fields become a bare tuple, in this order."""

    def __init__(self, *names: str) -> None:
        self.names = distinct(names)

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
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

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
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
    ) -> Iterator[tuple[Any, Any, Any]]:
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
    ) -> Iterator[tuple[Any, Any, Any]]:
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

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        for holder, key in list(places(state, self.name)):
            if memo is not None and "/" in self.name and not is_new(self, holder, key, memo):
                continue
            if has(holder, key):
                raise UnfitStateError(f"there is a {self.name!r} already")
            put(holder, key, self._make(state), self.name)
        return state

    def _make(self, state: Any) -> Any:
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

    def losses(self, state: Any) -> list[str]:
        lost = []
        for holder, key in places(state, self.name):
            if has(holder, key):
                value = holder[key]
                if not self._is_made(value, state):
                    lost.append(f"{self.name} = {short(value)}")
        return lost

    def _is_made(self, value: Any, state: Any) -> bool:
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
        columns[self.name] = _column([self._make(None) for _ in range(count)]) if count else []
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
        factory: Callable[[], Any] | None = None,
        computed: Callable[[Any], Any] | None = None,
        optional: bool = False,
    ) -> None:
        self.names = distinct(names)
        self.default = default
        self.factory = factory
        self.computed = computed
        self.optional = optional

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
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


# Values.


class _Value(Op):
    """A step that turns the value of one field into another."""

    def __init__(self, name: str, *, optional: bool = False) -> None:
        self.name = name
        self.optional = optional

    def turn(self, value: Any) -> Any:
        """Return the new value."""
        raise NotImplementedError

    def turn_column(self, column: Any) -> Any:
        """Return the new column; value by value unless the step knows better."""
        return _column([self.turn(whole(value)) for value in column]) if len(column) else column

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        for holder, key in list(places(state, self.name)):
            if self.optional and not has(holder, key):
                continue
            if memo is not None and "/" in self.name and not is_new(self, holder, key, memo):
                continue
            value = get(holder, key, self.name)
            put(holder, key, self._turned(value, memo), self.name)
        return state

    def _turned(self, value: Any, memo: Memo | None) -> Any:
        """The new value; the same object for the same object, so that what is shared stays so."""
        if memo is None or not isinstance(value, np.ndarray | LazyArray | list | dict | set):
            return self._tried(whole(value))
        key = (id(self), "value", id(value))
        if key not in memo:
            memo[key] = (value, self._tried(whole(value)), self)
        return memo[key][1]

    def _tried(self, value: Any) -> Any:
        """The new value; a conversion that NumPy cannot do is reported with the field and a remedy."""
        try:
            return self.turn(value)
        except (TypeError, ValueError) as error:
            if isinstance(self, convert) or isinstance(error, PersistError):
                raise  # of the user's own function
            what = f"array {value.dtype} {value.shape}" if hasattr(value, "dtype") else repr(value)
            raise UnfitStateError(
                f"{self} cannot turn {self.name!r}, {what[:100]}: {error}.",
                remedy=f"Say how: persist.ops.convert({self.name!r}, function).",
            ) from error

    def columns(self, columns: Columns, count: int) -> Columns:
        if "/" in self.name or "*" in self.name:
            return super().columns(columns, count)
        if self.name not in columns and self.optional:
            return columns
        columns[self.name] = self.turn_column(get(columns, self.name, self.name))
        return columns


class convert(_Value):  # noqa: N801
    """A field's value goes through a function: ``convert("rate", float, inverse=str)``.

    Args:
        name: of the field.
        function: value -> value.
        inverse: the function that goes back.
        column: column -> column, where it is faster on all values at once.
        optional: a state without the field is left as it is.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Any], Any],
        *,
        inverse: Callable[[Any], Any] | None = None,
        column: Callable[[Any], Any] | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__(name, optional=optional)
        self.function = function
        self.back = inverse
        self.column = column

    def turn(self, value: object) -> Any:
        return self.function(value)

    def turn_column(self, column: object) -> Any:
        return self.column(column) if self.column is not None else super().turn_column(column)

    def inverse(self) -> Op:
        if self.back is None:
            return super().inverse()
        return convert(self.name, self.back, inverse=self.function, optional=self.optional)

    def losses(self, state: Any) -> list[str]:
        if self.back is None:
            return []
        return [
            f"{self.name} = {short(holder[key])}"
            for holder, key in places(state, self.name)
            if has(holder, key) and not self._comes_back(whole(holder[key]))
        ]

    def _comes_back(self, value: Any) -> bool:
        """Whether an upgrade would give the field the same value again."""
        assert self.back is not None
        try:
            return is_alike(self.function(self.back(_own(value))), value)
        except Exception:  # whatever a stranger's function raises: then it is not the same
            return False

    def _cure(self) -> str:
        return "Say how to go back: convert(name, function, inverse=...)."

    def __str__(self) -> str:
        return f"convert({self.name!r}, {name_of(self.function)})"


def _own(value: Any) -> Any:
    """A value that a function may change."""
    return value.copy() if isinstance(value, list | dict | set | np.ndarray) else value


class astype(_Value):  # noqa: N801
    """An array gets another dtype.

    Args:
        name: of the field.
        dtype: the new one.
        was: the one before, for a downgrade.
        optional: a state without the field is left as it is.
    """

    def __init__(self, name: str, dtype: Any, *, was: Any = None, optional: bool = False) -> None:
        super().__init__(name, optional=optional)
        self.dtype = np.dtype(dtype)
        self.was = None if was is None else np.dtype(was)

    def turn(self, value: Any) -> Any:
        return np.asarray(value).astype(self.dtype, copy=False)

    def turn_column(self, column: Any) -> Any:
        return self.turn(column) if isinstance(column, np.ndarray) else super().turn_column(column)

    def inverse(self) -> Op:
        if self.was is None:
            return super().inverse()
        return astype(self.name, self.was, was=self.dtype, optional=self.optional)

    def losses(self, state: Any) -> list[str]:
        if self.was is None:
            return []
        lost = []
        for holder, key in places(state, self.name):
            value = np.asarray(whole(holder[key])) if has(holder, key) else np.zeros(0)
            back = value.astype(self.was)
            if not is_equal(back.astype(value.dtype), value):
                lost.append(f"{self.name}: precision of {value.dtype} beyond {self.was}")
        return lost

    def _cure(self) -> str:
        return "Say what it was: astype(name, dtype, was=...)."

    def __str__(self) -> str:
        return f"astype({self.name!r}, {self.dtype})"


class transpose(_Value):  # noqa: N801
    """An array's axes change places.

    Args:
        name: of the field.
        axes: the old axes in their new order; None turns the order around.
        optional: a state without the field is left as it is.
    """

    def __init__(
        self, name: str, axes: Sequence[int] | None = None, *, optional: bool = False
    ) -> None:
        super().__init__(name, optional=optional)
        self.axes = None if axes is None else tuple(axes)

    def turn(self, value: Any) -> Any:
        return np.transpose(np.asarray(value), self.axes)

    def turn_column(self, column: Any) -> Any:
        if not isinstance(column, np.ndarray):
            return super().turn_column(column)
        axes = self.axes if self.axes is not None else tuple(range(column.ndim - 1))[::-1]
        return np.transpose(column, (0, *(axis % (column.ndim - 1) + 1 for axis in axes)))

    def inverse(self) -> Op:
        back = None
        if self.axes is not None:
            count = len(self.axes)
            back = tuple(int(axis) for axis in np.argsort([axis % count for axis in self.axes]))
        return transpose(self.name, back, optional=self.optional)

    def __str__(self) -> str:
        return f"transpose({self.name!r}{'' if self.axes is None else f', {self.axes}'})"


class reshape(_Value):  # noqa: N801
    """An array gets another shape, its items in C order.

    Args:
        name: of the field.
        shape: the new one; -1 in it is worked out.
        was: the one before, for a downgrade.
        optional: a state without the field is left as it is.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        *,
        was: Sequence[int] | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__(name, optional=optional)
        self.shape = tuple(shape)
        self.was = None if was is None else tuple(was)

    def turn(self, value: Any) -> Any:
        return np.reshape(np.asarray(value), self.shape)

    def turn_column(self, column: Any) -> Any:
        if not isinstance(column, np.ndarray) or not len(column):
            return super().turn_column(column)
        return np.reshape(column, (len(column), *self.shape))

    def inverse(self) -> Op:
        if self.was is None:
            return super().inverse()
        return reshape(self.name, self.was, was=self.shape, optional=self.optional)

    def _cure(self) -> str:
        return "Say what it was: reshape(name, shape, was=...)."

    def __str__(self) -> str:
        return f"reshape({self.name!r}, {self.shape})"


# One into several, several into one.


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

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
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

    def _parts(self, array: Any, value: object, memo: Memo | None) -> list[Any]:
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

    def _sets(self, holder: Any) -> list[tuple[list[str], str]]:
        """The names of the fields that become one, and its name; several sets with a ``*``."""
        first = self.names[0]
        if "*" not in first:
            return [([*self.names], self.into)]
        return [
            ([starred(first, key, name) for name in self.names], starred(first, key, self.into))
            for key in keys_of(holder)
            if star_of(key, first) is not None
        ]

    def _whole_of(self, parts: list[Any], memo: Memo | None) -> Any:
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

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
        return Instead(self.value)

    def __str__(self) -> str:
        return f"delete({'' if self.value is None else short(self.value)})"


# Units and tables of values.


class scale(_Value):  # noqa: N801
    """A number, or an array of them, gets another unit: ``scale("length", 0.001)`` for mm to m.

    The new value is ``value * factor + offset``; integers become floats where the result is no
    whole number.

    Args:
        name: of the field.
        factor: by which it is multiplied; not 0.
        offset: what is added afterwards.
        optional: a state without the field is left as it is.
    """

    def __init__(
        self, name: str, factor: float, *, offset: float = 0, optional: bool = False
    ) -> None:
        super().__init__(name, optional=optional)
        if not factor:
            raise ValueError(f"scale({name!r}, {factor!r}): nothing leads back from 0.")
        self.factor = factor
        self.offset = offset

    def turn(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.turn(one) for one in value]
        if isinstance(value, np.ndarray | np.generic):
            result = np.multiply(value, self.factor) + self.offset
            is_float = value.dtype.kind in "fc"  # a float32 stays one
            return result.astype(value.dtype) if is_float else result
        return value * self.factor + self.offset

    def turn_column(self, column: Any) -> Any:
        return self.turn(column) if isinstance(column, np.ndarray) else super().turn_column(column)

    def inverse(self) -> Op:
        back = 1 / self.factor
        return scale(self.name, back, offset=-self.offset * back, optional=self.optional)

    def __str__(self) -> str:
        offset = f", offset={self.offset!r}" if self.offset else ""
        return f"scale({self.name!r}, {self.factor!r}{offset})"


class replace(_Value):  # noqa: N801
    """Values get others by a table: ``replace("mode", {"sgd": "SGD", 0: None})``.

    Args:
        name: of the field.
        pairs: old value -> new value; a dict, or pairs of them.
        otherwise: what every other value becomes; left out, it stays as it is.
        optional: a state without the field is left as it is.
    """

    def __init__(
        self,
        name: str,
        pairs: Mapping[Any, Any] | Iterable[tuple[object, object]],
        *,
        otherwise: object = ABSENT,
        optional: bool = False,
    ) -> None:
        super().__init__(name, optional=optional)
        self.pairs = tuple(pairs.items() if isinstance(pairs, Mapping) else map(tuple, pairs))
        self.otherwise = otherwise

    def turn(self, value: Any) -> Any:
        for old, new in self.pairs:
            if is_equal(value, old):
                return new
        return value if self.otherwise is ABSENT else self.otherwise

    def inverse(self) -> Op:
        new = [pair[1] for pair in self.pairs]
        twice = any(is_equal(a, b) for at, a in enumerate(new) for b in new[:at])
        if twice or self.otherwise is not ABSENT:
            return super().inverse()
        return replace(self.name, [(b, a) for a, b in self.pairs], optional=self.optional)

    def _cure(self) -> str:
        return "Two old values have one new value: write the way back with .downgrade."

    def losses(self, state: Any) -> list[str]:
        lost = []
        for holder, key in places(state, self.name):
            value = holder[key] if has(holder, key) else ABSENT
            taken = any(is_equal(value, old) for old, _ in self.pairs)
            if taken and not any(is_equal(value, new) for _, new in self.pairs):
                lost.append(f"{self.name} = {short(value)}, which an upgrade would replace")
        return lost

    def __str__(self) -> str:
        pairs = ", ".join(f"{old!r} → {new!r}" for old, new in self.pairs)
        more = "" if self.otherwise is ABSENT else f", otherwise {short(self.otherwise)}"
        return f"replace({self.name!r}: {pairs}{more})"


# Along a new axis.


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


# From one place to another.


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

    def apply(self, state: Any, memo: Memo | None = None) -> Any:
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

    def _made_place(self, state: Any) -> tuple[Any, Any]:
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


# Structured arrays.


class rename_column(_Value):  # noqa: N801
    """Fields of a structured array get other names: ``rename_column("table", {"t": "time"})``.

    Args:
        name: of the field of the state that holds the array.
        names: old name -> new name.
    """

    def __init__(self, name: str, names: Mapping[str, str]) -> None:
        super().__init__(name)
        self.names = dict(names)

    def turn(self, value: Any) -> Any:
        array = np.asarray(value)
        columns = _columns_of(array, self.name)
        for old, new in self.names.items():
            if old not in columns:
                raise LookupError(
                    f"{self.name!r} has no column {old!r} (there are: {', '.join(columns)})"
                )
            if new in columns and new not in self.names:
                raise LookupError(f"{self.name!r} has a column {new!r} already")
        renamed = [self.names.get(column, column) for column in columns]
        fields: Any = array.dtype.fields
        spec: Any = {
            "names": renamed,
            "formats": [fields[column][0] for column in columns],
            "offsets": [fields[column][1] for column in columns],
            "itemsize": array.dtype.itemsize,
        }
        return array.view(np.dtype(spec, align=array.dtype.isalignedstruct))

    def inverse(self) -> Op:
        return rename_column(self.name, {new: old for old, new in self.names.items()})

    def __str__(self) -> str:
        pairs = ", ".join(f"{old!r} → {new!r}" for old, new in self.names.items())
        return f"rename_column({self.name!r}: {pairs})"


class add_column(_Value):  # noqa: N801
    """A structured array gets one field more, behind the others.

    Args:
        name: of the field of the state that holds the array.
        column: the new one.
        dtype: of it.
        value: in every row.
    """

    def __init__(self, name: str, column: str, dtype: Any, value: Any = 0) -> None:
        super().__init__(name)
        self.column = column
        self.dtype = np.dtype(dtype)
        self.value = value

    def turn(self, value: Any) -> Any:
        array = np.asarray(value)
        columns = _columns_of(array, self.name)
        if self.column in columns:
            raise LookupError(f"{self.name!r} has a column {self.column!r} already")
        rows: list[Any] = [(column, array.dtype[column]) for column in columns]
        result = np.empty(array.shape, np.dtype([*rows, (self.column, self.dtype)]))
        for column in columns:
            result[column] = array[column]
        result[self.column] = self.value
        return result

    def inverse(self) -> Op:
        return drop_column(self.name, self.column, dtype=self.dtype, value=self.value)

    def __str__(self) -> str:
        return f"add_column({self.name!r}, {self.column!r}, {self.dtype}, {short(self.value)})"


class drop_column(_Value):  # noqa: N801
    """A structured array loses a field.

    Args:
        name: of the field of the state that holds the array.
        column: the one that goes.
        dtype: of it, for a downgrade.
        value: that a downgrade puts into every row.
    """

    def __init__(self, name: str, column: str, *, dtype: Any = None, value: Any = 0) -> None:
        super().__init__(name)
        self.column = column
        self.dtype = None if dtype is None else np.dtype(dtype)
        self.value = value

    def turn(self, value: Any) -> Any:
        array = np.asarray(value)
        columns = _columns_of(array, self.name)
        if self.column not in columns:
            raise LookupError(
                f"{self.name!r} has no column {self.column!r} (there are: {', '.join(columns)})"
            )
        kept = [column for column in columns if column != self.column]
        result = np.empty(array.shape, np.dtype([(one, array.dtype[one]) for one in kept]))
        for column in kept:
            result[column] = array[column]
        return result

    def inverse(self) -> Op:
        if self.dtype is None:
            return super().inverse()
        return add_column(self.name, self.column, self.dtype, self.value)

    def _cure(self) -> str:
        return "Say what it was: drop_column(name, column, dtype=...)."

    def losses(self, state: Any) -> list[str]:
        return []

    def __str__(self) -> str:
        return f"drop_column({self.name!r}, {self.column!r})"


def _columns_of(array: Any, name: str) -> list[str]:
    if array.dtype.names is None:
        raise LookupError(f"{name!r} is an array of {array.dtype}, which has no columns")
    return list(array.dtype.names)


# As data.


def to_json(step: Op | Iterable[Op]) -> str:
    """Return a step, or several, as JSON text (`docs/ops.md` is the specification).

    Raises:
        TypeError: there is a function in it, or a value that is no data.
    """
    from persist.ops._data import to_text

    steps = step if isinstance(step, Op) else tuple(step)
    return to_text(steps, globals())


def from_json(text: str) -> Any:
    """Return the step that a JSON text holds; a tuple of them for a list.

    Raises:
        ValueError: it holds none.
    """
    from persist.ops._data import from_text

    return from_text(text, globals())

"""Steps that turn the value of one field into another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from persist.errors import PersistError, UnfitStateError
from persist.ops._address import (
    get,
    has,
    is_alike,
    is_equal,
    is_new,
    name_of,
    places,
    put,
    short,
    whole,
)
from persist.ops._base import Columns, Memo, Op, column_of, each
from persist.tree import ABSENT, LazyArray

__all__ = ["ValueOp", "astype", "convert", "replace", "reshape", "scale", "transpose"]


class ValueOp(Op):
    """A step that turns the value of one field into another."""

    def __init__(self, name: str, *, optional: bool = False) -> None:
        self.name = name
        self.optional = optional

    def turn(self, value: Any) -> Any:
        """Return the new value."""
        raise NotImplementedError

    def turn_column(self, column: Any) -> Any:
        """Return the new column; value by value unless the step knows better."""
        return column_of(each(self.turn, map(whole, column))) if len(column) else column

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        for holder, key in list(places(state, self.name)):
            if self.optional and not has(holder, key):
                continue
            if memo is not None and "/" in self.name and not is_new(self, holder, key, memo):
                continue
            value = get(holder, key, self.name)
            put(holder, key, self._turned(value, memo), self.name)
        return state

    def _turned(self, value: object, memo: Memo | None) -> object:
        """The new value; the same object for the same object, so that what is shared stays so."""
        if memo is None or not isinstance(value, np.ndarray | LazyArray | list | dict | set):
            return self._tried(whole(value))
        key = (id(self), "value", id(value))
        if key not in memo:
            memo[key] = (value, self._tried(whole(value)), self)
        return memo[key][1]

    def _tried(self, value: Any) -> object:
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


class convert(ValueOp):  # noqa: N801
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

    def losses(self, state: object) -> list[str]:
        if self.back is None:
            return []
        return [
            f"{self.name} = {short(holder[key])}"
            for holder, key in places(state, self.name)
            if has(holder, key) and not self._comes_back(whole(holder[key]))
        ]

    def _comes_back(self, value: object) -> bool:
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


def _own(value: object) -> object:
    """A value that a function may change."""
    return value.copy() if isinstance(value, list | dict | set | np.ndarray) else value


class astype(ValueOp):  # noqa: N801
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

    def losses(self, state: object) -> list[str]:
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


class transpose(ValueOp):  # noqa: N801
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

    def turn(self, value: object) -> Any:
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


class reshape(ValueOp):  # noqa: N801
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


class scale(ValueOp):  # noqa: N801
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


class replace(ValueOp):  # noqa: N801
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
        pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
        *,
        otherwise: object = ABSENT,
        optional: bool = False,
    ) -> None:
        super().__init__(name, optional=optional)
        self.pairs = tuple(pairs.items() if isinstance(pairs, Mapping) else map(tuple, pairs))
        self.otherwise = otherwise

    def turn(self, value: object) -> Any:
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

    def losses(self, state: object) -> list[str]:
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

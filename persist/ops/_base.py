"""The base of all ready-made steps, and helpers for columns of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist.errors import IrreversibleError
from persist.ops._address import (
    is_equal,
)

__all__ = ["Columns", "Instead", "Memo", "Op", "RowError", "column_of", "each"]


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


class RowError(Exception):
    """A step fails on one row of columns; its cause is what was raised.

    Attributes:
        row: the number of the row. The step was done to all rows before it, and to none after it.
    """

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class Op:
    """One ready-made step."""

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        """Return the newer state; the older one may be changed in doing so.

        Args:
            state: the fields by name, or a plain tuple.
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

    def losses(self, state: object) -> list[str]:
        """Say what of a newer state the older one cannot hold."""
        return []

    def columns(self, columns: Columns, count: int) -> Columns:
        """Return the newer state of ``count`` instances at once.

        Args:
            columns: field -> the values of all instances: an array with them
                along the first axis, or a list; it may be changed.
            count: how many instances.

        Raises:
            RowError: the step fails on one row, and was not tried on those after it.
        """
        rows = [_row(columns, index) for index in range(count)]
        memo: Memo = {}
        return _gather(each(lambda row: self.apply(row, memo), rows))

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


def _row(columns: Columns, index: int) -> dict[str, object]:
    return {name: column[index] for name, column in columns.items()}


def each(function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    """Call a function with each value.

    Raises:
        RowError: it raised.
    """
    found: list[Any] = []
    try:
        for value in values:
            found.append(function(value))
    except Exception as error:
        raise RowError(len(found)) from error
    return found


def _gather(rows: list[Any]) -> Columns:
    """Rows as columns: arrays where the values stack, lists elsewhere."""
    names = rows[0].keys() if rows else ()
    return {name: column_of([row[name] for row in rows]) for name in names}


def column_of(values: list[Any]) -> Any:
    """Return values as a column: an array if they are arrays or numbers of NumPy alike, else the list."""
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

"""Steps on the columns of structured arrays and of dicts of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from persist.ops._address import (
    short,
)
from persist.ops._base import Op
from persist.ops._values import ValueOp

__all__ = ["add_column", "drop_column", "rename_column"]


class rename_column(ValueOp):  # noqa: N801
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


class add_column(ValueOp):  # noqa: N801
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


class drop_column(ValueOp):  # noqa: N801
    """A structured array loses a field.

    Args:
        name: of the field of the state that holds the array.
        column: the one that goes.
        dtype: of it, for a downgrade.
        value: that a downgrade puts into every row.
    """

    def __init__(self, name: str, column: str, *, dtype: Any = None, value: object = 0) -> None:
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

    def losses(self, state: object) -> list[str]:
        return []

    def __str__(self) -> str:
        return f"drop_column({self.name!r}, {self.column!r})"


def _columns_of(array: Any, name: str) -> list[str]:
    if array.dtype.names is None:
        raise LookupError(f"{name!r} is an array of {array.dtype}, which has no columns")
    return list(array.dtype.names)

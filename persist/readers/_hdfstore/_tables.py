"""The table format: one table of PyTables, whose fields are columns or blocks of columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist.readers._hdfstore._group import Group, UnknownLayoutError
from persist.readers._hdfstore._indexes import index_of, plain_values
from persist.readers._hdfstore._records import (
    Column,
    categorical,
    changed,
    frame,
    labels_of,
    made_index,
    moments,
    multi_index,
    series,
    strings,
)
from persist.tree import LazyArray, Record

__all__ = ["table_frame", "table_series"]

Array = np.ndarray[Any, Any]


def _table(group: Group) -> tuple[Record, Record, list[Column]]:
    """The columns, the index and the values of a table, in the order of the columns."""
    fields = _Fields(group)
    index = fields.index()
    ((_, labels),) = group.own["non_index_axes"]
    held: dict[Any, list[Column]] = {}
    for name in group.own["values_cols"]:
        for label, column in fields.columns(name):
            held.setdefault(_key(label), []).append(column)
    levels = group.own.get("levels")
    if isinstance(levels, list | tuple):  # what is of the index is kept as columns
        index = _of_levels(list(levels), [held.pop(_key(level))[0] for level in levels])
        labels = [label for label in labels if label not in levels]
    count = sum(map(len, held.values()))
    if count != len(labels):
        raise UnknownLayoutError(f"it names {len(labels)} columns, and has {count}")
    facts = dict(group.own.get("info") or {}).get(1) or {}
    columns = _column_labels(labels, list(facts.get("names") or [None]), str(facts.get("type")))
    return columns, index, [held[_key(label)].pop(0) for label in labels]


def _key(label: object) -> Any:
    """A label as a key; one that is pickled more than once has equal records."""
    return (label.qualname, repr(label.args)) if isinstance(label, Record) else label


def _column_labels(labels: list[object], names: list[object], kind: str) -> Record:
    if kind == "MultiIndex" and all(isinstance(label, tuple) for label in labels):
        columns = list(zip(*labels, strict=True))
        if len(columns) == len(names):
            return _of_levels(names, [_objects(column) for column in columns])
    if labels and all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        return made_index("Index", np.array(labels), names[0])
    if kind == "DatetimeIndex" and labels:
        return _moments_index(labels, names[0])
    return made_index("Index", _objects(labels), names[0])


_UNITS = {7: "s", 8: "ms", 9: "us", 10: "ns"}  # of ``_unpickle_timestamp``, as NumPy numbers them


def _moments_index(labels: list[object], name: object) -> Record:
    """An index of pickled Timestamps: ``(number, freq, zone)``, from 2.0 on with the unit."""
    numbers, settings = [], []
    for label in labels:
        args: Any = label.args if isinstance(label, Record) else ()
        if len(args) not in (3, 4) or not isinstance(args[0], int):
            raise UnknownLayoutError("its columns are moments of an unknown kind")
        numbers.append(args[0])
        settings.append((_UNITS.get(args[3]) if len(args) == 4 else "ns", args[2]))
    unit, zone = settings[0]
    if unit is None or any(one != (unit, zone) for one in settings):
        raise UnknownLayoutError("its columns are moments of several units or zones")
    data = np.array(numbers, dtype="i8").view(from_text(f"M8[{unit}]"))
    return made_index("DatetimeIndex", data, name, tz=zone, freq=None)


def _objects(items: Iterable[Any]) -> Array:
    items = list(items)
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made


def _of_levels(names: list[object], columns: list[Column]) -> Record:
    """A MultiIndex of the values of its levels. Names that pandas gave to levels without are left out."""
    levels: list[object] = []
    codes: list[object] = []
    for column in columns:
        held: Any = column.fields().get("_ndarray") if isinstance(column, Record) else column
        if held is None:
            raise UnknownLayoutError("a level of its index is no plain column")
        values = np.asarray(held)
        if values.dtype == object:
            first = dict.fromkeys(
                item for item in values.tolist() if item == item and item is not None
            )
            places = {item: place for place, item in enumerate(first)}
            levels.append(made_index("Index", _objects(first), None))
            codes.append(np.array([places.get(item, -1) for item in values.tolist()], dtype="i8"))
            continue
        found, code = np.unique(values, return_inverse=True)
        cls = {"M": "DatetimeIndex", "m": "TimedeltaIndex"}.get(values.dtype.kind, "Index")
        levels.append(
            made_index(cls, found, None, **({"tz": None} if cls == "DatetimeIndex" else {}))
        )
        codes.append(code.reshape(-1))
    plain = [None if re.fullmatch(r"level_\d+", str(name)) else name for name in names]
    return multi_index(levels, codes, plain)


class _Fields:
    """The fields of a table, as columns that are read when they are used."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.table = group.value("table")
        self.facts = group.of("table")
        self.info = dict(group.own.get("info") or {})
        if not isinstance(self.table, np.ndarray | LazyArray) or self.table.dtype.names is None:
            raise UnknownLayoutError("its table has no fields")

    def field(self, name: str) -> LazyArray:
        """A field of all rows."""
        found = self.table.dtype.fields.get(name)
        if found is None:
            raise UnknownLayoutError(f"its table has no field {name!r}")
        dtype, table = found[0], self.table
        return LazyArray(
            dtype.base,
            (*table.shape, *dtype.shape),
            lambda: np.ascontiguousarray(np.asarray(table)[name]),
        )

    def index(self) -> Record:
        ((_, name),) = self.group.own["index_cols"]
        facts = dict(self.info.get(name) or {})
        kind = str(self.facts.get(f"{name}_kind") or "")
        label = facts.get("index_name")
        if self.facts.get(f"{name}_meta") == "category":
            held = self._categories(name, self.field(name), bool(facts.get("ordered")))
            return made_index("CategoricalIndex", held, label)
        facts["nan_rep"] = self.facts.get(f"{name}_nan_rep", "nan")
        return index_of(self.group, self.field(name), kind, label, facts)

    def columns(self, name: str) -> list[tuple[Any, Column]]:
        """The label and the values of each column that a field holds."""
        values = self.field(name)
        labels = self.facts.get(f"{name}_kind")
        labels = list(labels) if isinstance(labels, list | tuple) else [name]
        if values.ndim == 1:
            return [(labels[0], self._meant(name, values))]
        if values.ndim != 2 or values.shape[1] != len(labels):
            raise UnknownLayoutError(f"{name!r} has shape {values.shape}, and {len(labels)} labels")
        return [
            (
                label,
                self._meant(
                    name, LazyArray(values.dtype, values.shape[:1], _picked(values, place))
                ),
            )
            for place, label in enumerate(labels)
        ]

    def _meant(self, name: str, values: LazyArray) -> Column:
        kind = str(self.facts.get(f"{name}_dtype") or "")
        facts = dict(self.info.get(name) or {})
        if self.facts.get(f"{name}_meta") == "category":
            return self._categories(name, values, bool(facts.get("ordered")))
        if kind.startswith(("datetime64", "timedelta64")):
            return moments(values, kind, facts.get("tz"))
        if kind.startswith("period["):
            return made_index("PeriodIndex", np.asarray(values), None, freq=kind[7:-1])
        if kind == "bool":
            return changed(values, np.dtype(np.bool_), lambda array: array.astype(bool))
        if kind == "date":
            return plain_values(self.group, values, kind)
        if kind == "datetime":
            raise UnknownLayoutError(
                f"{name!r} holds times of the zone of the machine that wrote it"
            )
        if values.dtype.kind == "S":
            missing = self._missing(name)
            texts = changed(values, np.dtype(object), lambda array: self.group.text(array, missing))
            return strings(texts) if self.facts.get(f"{name}_meta") == "str" else texts
        return values

    def _missing(self, name: str) -> str | None:
        """The text that means a missing value: of the column since 3.1, else of the table."""
        own, levels = self.group.own, self.group.own.get("levels")
        is_level = isinstance(levels, list | tuple) and name in levels
        if own.get("data_col_nan_rep") or (is_level and own.get("mi_level_nan_rep")):
            found = self.facts.get(f"{name}_nan_rep")
        else:
            found = own.get("nan_rep") or "nan"
        return found if isinstance(found, str) else None

    def _categories(self, name: str, values: LazyArray, ordered: bool) -> Record:
        """Codes, and the categories that a table of their own holds; missing ones take no code."""
        path = f"{self.group.path}/meta/{name}/meta"
        codes = np.asarray(values)
        if path not in self.group.attributes:
            return categorical(codes, made_index("Index", np.empty(0), None), ordered)
        _, _, (held,) = _table(Group(self.group.walk, path, self.group.attributes))
        items = np.asarray(held)
        missing = np.array([item != item for item in items.tolist()], dtype=bool)
        if missing.any():
            codes = np.where(codes == -1, codes, codes - np.cumsum(missing)[codes])
            items = items[~missing]
        return categorical(codes, made_index("Index", items, None), ordered)


def _picked(values: LazyArray, place: int) -> Callable[[], Array]:
    return lambda: np.ascontiguousarray(values.read()[:, place])


def table_frame(group: Group) -> Record:
    """Return the frame that a table holds."""
    columns, index, held = _table(group)
    return frame(columns, index, held)


def table_series(group: Group) -> Record:
    """Return the series that a table holds."""
    columns, index, held = _table(group)
    if len(held) != 1:
        raise UnknownLayoutError(f"a series has {len(held)} columns")
    (name,) = labels_of(columns)
    return series(index, held[0], None if name == "values" else name)

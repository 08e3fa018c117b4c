"""Frames and series in pandas' ``HDFStore``, as the records that a pickle of them holds.

The pack of pandas then shows them by columns and makes objects of them, as it does for pickles.

- "fixed": ``axis0`` (columns), ``axis1`` (index), ``blockN_items`` and ``blockN_values``; of a
  series ``index`` and ``values``. Values are stored transposed, moments as nanoseconds, objects as
  one pickled row of a VLArray.
- "table": one PyTables table with ``index``, ``values_block_N`` and a field for each data column.
  The attributes of the group name the columns, those of the table the kind of each field.

Source: ``pandas/io/pytables.py`` of 0.10 to 3.0 (``BlockManagerFixed``, ``SeriesFixed``, ``Table``
and its subclasses, ``_unconvert_index``, ``_unconvert_string_array``); stores written by 0.24 to 3.1.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.hdf5.file import Walk
from persist.errors import FormatError, LimitError, MissingExtraError
from persist.readers.base import Content
from persist.tree import Global, LazyArray, Record

__all__ = ["framed"]

Array = np.ndarray[Any, Any]
Column = Any  # an array, lazy or not, or the record of an extension array

_INDEXES = "pandas.core.indexes"
_MISSING = float("nan")
_GLOBALS = ("pandas.core.frame.DataFrame", "pandas.core.series.Series")


class _Unknown(Exception):
    """A group is not as the known releases write it."""


# Attributes of a damaged or hostile file can be of any type, and arrays of any shape.
_FAULTS = (
    _Unknown,
    FormatError,
    MissingExtraError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


def framed(
    walk: Walk, values: list[tuple[str, str, Any]], content: Content
) -> list[tuple[str, str, Any]]:
    """Replace the groups of an HDFStore that hold frames and series by records of pandas.

    Args:
        walk: the groups and datasets of the file; groups are replaced in it.
        values: path, name and value of each attribute.
        content: receives the classes, and as damage a report of each group whose layout is unknown;
            such a group stays as it is.

    Returns:
        The attributes of the objects that are still there.
    """
    attributes: dict[str, dict[str, Any]] = {}
    for path, name, value in values:
        attributes.setdefault(path, {})[name] = value
    known = [path for path in attributes if attributes[path].get("pandas_type") in _READ]
    gone: list[str] = []
    for path in sorted(known, key=len):
        if not path or any(path.startswith(f"{above}/") for above in gone):
            continue
        group = _Group(walk, path, attributes)
        try:
            record = _READ[attributes[path]["pandas_type"]](group)
        except LimitError:
            raise
        except _FAULTS as error:
            content.damage.append(
                f"group {path!r} is shown as it is stored, not as the {attributes[path]['pandas_type']} "
                f"that pandas kept: {error}"
            )
            continue
        holder, own = walk.holder(path)
        holder[own] = record
        content.globals = {*content.globals, *_GLOBALS}
        gone.append(path)
    return [
        one for one in values if not any(one[0] == at or one[0].startswith(f"{at}/") for at in gone)
    ]


@attrs.frozen
class _Group:
    """A group of a store, with the attributes of all objects of the file by their path."""

    walk: Walk
    path: str
    attributes: dict[str, dict[str, Any]]

    @property
    def own(self) -> dict[str, Any]:
        """The group's attributes."""
        return self.attributes.get(self.path, {})

    def of(self, name: str) -> dict[str, Any]:
        """The attributes of an object in the group."""
        return self.attributes.get(f"{self.path}/{name}", {})

    def value(self, name: str) -> Any:
        """What an object in the group is."""
        group = self.walk.value_at(self.path)
        if name not in group:
            raise _Unknown(f"it has no {name!r}")
        return group[name]

    def is_bits(self, name: str) -> bool:
        """Whether a dataset holds truth values, which PyTables stores as bit fields."""
        dataset = self.walk.datasets.get(f"{self.path}/{name}")
        return dataset is not None and dataset.type.kind == "bitfield"

    def text(self, stored: Array, missing: str | None) -> Array:
        """Texts of fixed-length bytes; the text that means a missing value, if any, becomes NaN."""
        encoding = self.own.get("encoding")
        names = (encoding,) if isinstance(encoding, str) else ("utf-8", "latin-1")
        return _texts(stored, names, str(self.own.get("errors") or "strict"), missing)


def _texts(stored: Array, encodings: Iterable[str], errors: str, missing: str | None) -> Array:
    made = np.empty(stored.shape, dtype=object)
    *first, last = encodings
    for place, item in enumerate(stored.flat):
        value: Any = item
        if isinstance(item, bytes):
            for encoding in first:
                try:
                    value = item.decode(encoding, errors)
                    break
                except UnicodeDecodeError:
                    continue
            else:
                value = item.decode(last, errors)
        made.flat[place] = value if missing is None or value != missing else _MISSING
    return made


# Records as a pickle spells them.


def _made_index(cls: str, data: Any, name: Any, **more: Any) -> Record:
    special = cls in ("DatetimeIndex", "PeriodIndex", "TimedeltaIndex")
    module = f"{_INDEXES}.{cls.removesuffix('Index').lower() + 's' if special else 'base'}"
    maker = Global(
        module, f"_new_{cls}" if cls in ("DatetimeIndex", "PeriodIndex") else "_new_Index"
    )
    home = f"{_INDEXES}.multi" if cls == "MultiIndex" else module
    given = {**more, "name": name} if data is None else {"data": data, **more, "name": name}
    if cls == "MultiIndex":
        del given["name"]
    return Record(maker, kind="reduce", maker=maker, args=(Global(home, cls), given))


def _multi(levels: list[Any], codes: list[Any], names: list[Any]) -> Record:
    return _made_index(
        "MultiIndex", None, None, levels=levels, codes=codes, sortorder=None, names=names
    )


def _categorical(codes: Array, categories: Record, ordered: bool) -> Record:
    state = {"_codes": codes, "_categories": categories, "_ordered": ordered}
    return Record(Global("pandas.core.categorical", "Categorical"), state)


def _strings(items: Any) -> Record:
    """The column of texts of pandas 3, which was of objects before."""
    cls = Global("pandas.core.arrays.string_", "StringArrayNumpySemantics")
    return Record(cls, {"_ndarray": items})


def _manager(cls: str, axes: list[Record], columns: list[Column], ndim: int) -> Record:
    blocks = [
        {
            "values": _as_block(column) if ndim == 2 else column,
            "mgr_locs": slice(place, place + 1, 1),
        }
        for place, column in enumerate(columns)
    ]
    state: tuple[Any, ...] = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    return Record(Global("pandas.core.internals.managers", cls), state)


def _as_block(column: Column) -> Column:
    """A column as a block of one row."""
    if isinstance(column, LazyArray):
        shape = (1, *column.shape)
        return LazyArray(column.dtype, shape, lambda: column.read().reshape(shape))
    return column.reshape(1, -1) if isinstance(column, np.ndarray) else column


def _frame(columns: Record, index: Record, held: list[Column]) -> Record:
    manager = _manager("BlockManager", [columns, index], held, 2)
    return Record(Global("pandas.core.frame", "DataFrame"), {"_mgr": manager, "_typ": "dataframe"})


def _series(index: Record, values: Column, name: Any) -> Record:
    manager = _manager("SingleBlockManager", [index], [values], 1)
    state = {"_mgr": manager, "_typ": "series", "_name": name}
    return Record(Global("pandas.core.series", "Series"), state)


def _moments(values: Any, kind: str, zone: Any = None) -> Column:
    """Integers as moments or spans of the unit that the kind names, nanoseconds if none."""
    unit = kind.partition("[")[2].rstrip("]").partition(",")[0] or "ns"
    dtype = from_text(f"{'M8' if kind.startswith('datetime64') else 'm8'}[{unit}]")
    seen = _changed(values, dtype, lambda array: array.astype("i8", copy=False).view(dtype))
    if zone is None:
        return seen
    return _made_index("DatetimeIndex", seen, None, tz=zone, freq=None)


def _changed(values: Any, dtype: np.dtype[Any], change: Callable[[Array], Array]) -> Any:
    """Values of another dtype, changed when they are read."""
    if isinstance(values, LazyArray):
        return LazyArray(dtype, values.shape, lambda: change(values.read()))
    return change(np.asarray(values))


# The fixed format.


def _fixed_frame(group: _Group) -> Record:
    columns, index = _fixed_index(group, "axis0"), _fixed_index(group, "axis1")
    labels = _labels(columns)
    waiting: dict[Any, list[int]] = {}
    for place, label in enumerate(labels):
        waiting.setdefault(label, []).append(place)
    held: dict[int, Column] = {}
    for number in range(int(group.own.get("nblocks", 0))):
        items = _labels(_fixed_index(group, f"block{number}_items"))
        values = _fixed_values(group, f"block{number}_values")
        rows = 1 if isinstance(values, Record) or values.ndim == 1 else values.shape[0]
        if rows != len(items):
            raise _Unknown(f"block {number} has {rows} columns and {len(items)} labels")
        for row, label in enumerate(items):
            if not waiting.get(label):
                raise _Unknown(f"block {number} has a column {label!r} that no axis names")
            held[waiting[label].pop(0)] = _row(values, row)
    if len(held) != len(labels):
        raise _Unknown(f"it has {len(labels)} columns, and values for {len(held)}")
    return _frame(columns, index, [held[place] for place in range(len(labels))])


def _fixed_series(group: _Group) -> Record:
    values = _fixed_values(group, "values")
    return _series(_fixed_index(group, "index"), values, group.own.get("name"))


def _row(values: Any, row: int) -> Column:
    """A column of a block."""
    if isinstance(values, LazyArray):
        return LazyArray(values.dtype, values.shape[1:], lambda: values.read()[row])
    return values[row] if isinstance(values, np.ndarray) else values


def _fixed_values(group: _Group, name: str) -> Column:
    """The values of a block, of shape (columns, rows), or of a series, of shape (rows,)."""
    stored, facts = group.value(name), group.of(name)
    kind = str(facts.get("value_type") or "")
    values: Any = stored
    if isinstance(stored, list):  # the one row of a VLArray of objects
        if len(stored) != 1:
            raise _Unknown(f"{name!r} has {len(stored)} rows of objects, not one")
        values = np.asarray(stored[0])
        if values.dtype != object:
            raise _Unknown(f"the objects of {name!r} are no array")
        if kind.startswith("str") and values.ndim == 1:
            return _strings(values)
    elif facts.get("shape") is not None:  # what is empty is stored as a single zero
        values = _empty(facts)
    elif group.is_bits(name):
        values = _changed(values, np.dtype(np.bool_), lambda array: array.astype(bool))
    if kind.startswith("period["):
        return _made_index("PeriodIndex", np.asarray(values).reshape(-1), None, freq=kind[7:-1])
    if kind.startswith(("datetime64", "timedelta64")) and values.dtype.kind in "iu":
        values = _moments(_turned(values, facts), kind)
        zone = facts.get("tz")  # their dtype does not name it
        return values if zone is None else _zoned(values, zone)
    return _turned(values, facts)


def _zoned(values: Any, zone: Any) -> Record:
    """Moments with a zone, which are a block of their own."""
    flat = LazyArray(values.dtype, (values.size,), lambda: np.asarray(values).reshape(-1))
    return _made_index("DatetimeIndex", flat, None, tz=zone, freq=None)


def _turned(values: Any, facts: Mapping[str, Any]) -> Any:
    if not facts.get("transposed") or values.ndim < 2:
        return values
    if isinstance(values, LazyArray):
        return LazyArray(values.dtype, values.shape[::-1], lambda: values.read().T)
    return values.T


def _empty(facts: Mapping[str, Any]) -> Array:
    """What has no items, whose shape and type are attributes."""
    shape = tuple(facts["shape"])
    if 0 not in shape or any(type(extent) is not int or extent < 0 for extent in shape):
        raise _Unknown(f"what is empty has shape {shape}")
    kind = str(facts.get("value_type"))
    dtype = from_text({"datetime64": "M8[ns]", "timedelta64": "m8[ns]"}.get(kind, kind))
    return np.empty(shape, dtype)


def _fixed_index(group: _Group, key: str) -> Record:
    variety = group.own.get(f"{key}_variety", "regular")
    if variety == "multi":
        levels, codes, names = [], [], []
        for level in range(int(group.own[f"{key}_nlevels"])):
            facts = group.of(f"{key}_level{level}")
            levels.append(_fixed_level(group, f"{key}_level{level}", facts.get("name")))
            codes.append(np.asarray(group.value(f"{key}_label{level}")))
            names.append(facts.get("name"))
        return _multi(levels, codes, names)
    if variety != "regular":
        raise _Unknown(f"{key!r} is of variety {variety!r}")
    return _fixed_level(group, key, group.of(key).get("name"))


def _fixed_level(group: _Group, key: str, name: Any) -> Record:
    facts, stored = group.of(key), group.value(key)
    if facts.get("shape") is not None:
        stored = _empty(facts)
    elif isinstance(stored, list):
        stored = np.asarray(stored[0]) if len(stored) == 1 else stored
    kind = str(facts.get("kind") or "")
    if group.is_bits(key):
        stored = np.asarray(stored).astype(bool)
    return _index(group, stored, kind, name, facts)


# Indexes of both formats.


def _index(group: _Group, stored: Any, kind: str, name: Any, facts: Mapping[str, Any]) -> Record:
    """An index, by the kind that pandas noted for it."""
    freq, zone = facts.get("freq"), facts.get("tz")
    is_period = facts.get("index_class") == "period" or (freq is not None and kind == "integer")
    if is_period:
        return _made_index("PeriodIndex", np.asarray(stored), name, freq=freq)
    if kind.startswith("datetime64"):
        data = _moments(stored, kind)
        return _made_index("DatetimeIndex", data, name, tz=zone, freq=freq)
    if kind.startswith("timedelta64"):
        return _made_index("TimedeltaIndex", _moments(stored, kind), name, freq=freq)
    missing = facts.get("nan_rep", "nan") or None  # 3.1 chooses a text that is no value
    return _made_index("Index", _plain(group, stored, kind, missing), name)


def _plain(group: _Group, stored: Any, kind: str, missing: str | None = "nan") -> Any:
    if kind == "date":
        days = [datetime.date.fromordinal(int(day)) for day in np.asarray(stored)]
        return np.array(days, dtype=object)
    if kind == "datetime":
        raise _Unknown("its index holds times of the zone of the machine that wrote it")
    if kind == "string" or (
        isinstance(stored, np.ndarray | LazyArray) and stored.dtype.kind == "S"
    ):
        return group.text(np.asarray(stored), missing)
    if kind in ("bool", "boolean"):
        return np.asarray(stored).astype(bool)
    return stored


def _labels(index: Record) -> list[Any]:
    """The labels of an index, comparable."""
    known = index.args[1]
    if "levels" in known:
        texts = [_labels(level) for level in known["levels"]]
        rows = zip(*(np.asarray(code).tolist() for code in known["codes"]), strict=True)
        return [
            tuple(None if code < 0 else text[code] for text, code in zip(texts, row, strict=True))
            for row in rows
        ]
    data = np.asarray(known["data"])
    items = data.view("i8").tolist() if data.dtype.kind in "Mm" else data.tolist()
    return ["nan" if item != item else item for item in items]


# The table format.


def _table(group: _Group) -> tuple[Record, Record, list[Column]]:
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
        raise _Unknown(f"it names {len(labels)} columns, and has {count}")
    facts = dict(group.own.get("info") or {}).get(1) or {}
    columns = _column_labels(labels, list(facts.get("names") or [None]), str(facts.get("type")))
    return columns, index, [held[_key(label)].pop(0) for label in labels]


def _key(label: Any) -> Any:
    """A label as a key; one that is pickled more than once has equal records."""
    return (label.qualname, repr(label.args)) if isinstance(label, Record) else label


def _column_labels(labels: list[Any], names: list[Any], kind: str) -> Record:
    if kind == "MultiIndex" and all(isinstance(label, tuple) for label in labels):
        columns = list(zip(*labels, strict=True))
        if len(columns) == len(names):
            return _of_levels(names, [_objects(column) for column in columns])
    if labels and all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        return _made_index("Index", np.array(labels), names[0])
    if kind == "DatetimeIndex" and labels:
        return _moments_index(labels, names[0])
    return _made_index("Index", _objects(labels), names[0])


_UNITS = {7: "s", 8: "ms", 9: "us", 10: "ns"}  # of ``_unpickle_timestamp``, as NumPy numbers them


def _moments_index(labels: list[Any], name: Any) -> Record:
    """An index of pickled Timestamps: ``(number, freq, zone)``, from 2.0 on with the unit."""
    numbers, settings = [], []
    for label in labels:
        args: Any = label.args if isinstance(label, Record) else ()
        if len(args) not in (3, 4) or not isinstance(args[0], int):
            raise _Unknown("its columns are moments of an unknown kind")
        numbers.append(args[0])
        settings.append((_UNITS.get(args[3]) if len(args) == 4 else "ns", args[2]))
    unit, zone = settings[0]
    if unit is None or any(one != (unit, zone) for one in settings):
        raise _Unknown("its columns are moments of several units or zones")
    data = np.array(numbers, dtype="i8").view(from_text(f"M8[{unit}]"))
    return _made_index("DatetimeIndex", data, name, tz=zone, freq=None)


def _objects(items: Iterable[Any]) -> Array:
    items = list(items)
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made


def _of_levels(names: list[Any], columns: list[Column]) -> Record:
    """A MultiIndex of the values of its levels. Names that pandas gave to levels without are left out."""
    levels: list[Any] = []
    codes: list[Any] = []
    for column in columns:
        held: Any = column.fields().get("_ndarray") if isinstance(column, Record) else column
        if held is None:
            raise _Unknown("a level of its index is no plain column")
        values = np.asarray(held)
        if values.dtype == object:
            first = dict.fromkeys(
                item for item in values.tolist() if item == item and item is not None
            )
            places = {item: place for place, item in enumerate(first)}
            levels.append(_made_index("Index", _objects(first), None))
            codes.append(np.array([places.get(item, -1) for item in values.tolist()], dtype="i8"))
            continue
        found, code = np.unique(values, return_inverse=True)
        cls = {"M": "DatetimeIndex", "m": "TimedeltaIndex"}.get(values.dtype.kind, "Index")
        levels.append(
            _made_index(cls, found, None, **({"tz": None} if cls == "DatetimeIndex" else {}))
        )
        codes.append(code.reshape(-1))
    plain = [None if re.fullmatch(r"level_\d+", str(name)) else name for name in names]
    return _multi(levels, codes, plain)


class _Fields:
    """The fields of a table, as columns that are read when they are used."""

    def __init__(self, group: _Group) -> None:
        self.group = group
        self.table = group.value("table")
        self.facts = group.of("table")
        self.info = dict(group.own.get("info") or {})
        if not isinstance(self.table, np.ndarray | LazyArray) or self.table.dtype.names is None:
            raise _Unknown("its table has no fields")

    def field(self, name: str) -> LazyArray:
        """A field of all rows."""
        found = self.table.dtype.fields.get(name)
        if found is None:
            raise _Unknown(f"its table has no field {name!r}")
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
            return _made_index("CategoricalIndex", held, label)
        facts["nan_rep"] = self.facts.get(f"{name}_nan_rep", "nan")
        return _index(self.group, self.field(name), kind, label, facts)

    def columns(self, name: str) -> list[tuple[Any, Column]]:
        """The label and the values of each column that a field holds."""
        values = self.field(name)
        labels = self.facts.get(f"{name}_kind")
        labels = list(labels) if isinstance(labels, list | tuple) else [name]
        if values.ndim == 1:
            return [(labels[0], self._meant(name, values))]
        if values.ndim != 2 or values.shape[1] != len(labels):
            raise _Unknown(f"{name!r} has shape {values.shape}, and {len(labels)} labels")
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
            return _moments(values, kind, facts.get("tz"))
        if kind.startswith("period["):
            return _made_index("PeriodIndex", np.asarray(values), None, freq=kind[7:-1])
        if kind == "bool":
            return _changed(values, np.dtype(np.bool_), lambda array: array.astype(bool))
        if kind == "date":
            return _plain(self.group, values, kind)
        if kind == "datetime":
            raise _Unknown(f"{name!r} holds times of the zone of the machine that wrote it")
        if values.dtype.kind == "S":
            missing = self._missing(name)
            texts = _changed(
                values, np.dtype(object), lambda array: self.group.text(array, missing)
            )
            return _strings(texts) if self.facts.get(f"{name}_meta") == "str" else texts
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
            return _categorical(codes, _made_index("Index", np.empty(0), None), ordered)
        _, _, (held,) = _table(_Group(self.group.walk, path, self.group.attributes))
        items = np.asarray(held)
        missing = np.array([item != item for item in items.tolist()], dtype=bool)
        if missing.any():
            codes = np.where(codes == -1, codes, codes - np.cumsum(missing)[codes])
            items = items[~missing]
        return _categorical(codes, _made_index("Index", items, None), ordered)


def _picked(values: LazyArray, place: int) -> Callable[[], Array]:
    return lambda: np.ascontiguousarray(values.read()[:, place])


def _table_frame(group: _Group) -> Record:
    columns, index, held = _table(group)
    return _frame(columns, index, held)


def _table_series(group: _Group) -> Record:
    columns, index, held = _table(group)
    if len(held) != 1:
        raise _Unknown(f"a series has {len(held)} columns")
    (name,) = _labels(columns)
    return _series(index, held[0], None if name == "values" else name)


_READ: dict[Any, Callable[[_Group], Record]] = {
    "frame": _fixed_frame,
    "series": _fixed_series,
    "frame_table": _table_frame,
    "series_table": _table_series,
}

"""Graph -> tree: the table of nodes, read from the first to the last.

Parts stand before wholes, so that one pass makes nearly everything. What is
marked ``late`` waits: containers are made empty and filled at the end, tuples
and the like are made as soon as their parts are there. Nothing recurses.
"""

from __future__ import annotations

import array as array_module
import datetime
import fractions
import math
import re
import struct
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Protocol

import numpy as np

from persist._container import dtypes
from persist._container.encode import FACTORIES
from persist._container.records import (
    BACKED,
    Table,
    as_records,
    columns_of,
    fill_lists,
    run_of,
)
from persist._wire.nesting import BARE, MOST, holds_bare, is_too_deep
from persist._wire.source import MIB, Limits
from persist.errors import DamagedFileError, LimitError, PersistError
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record, typed_array

__all__ = ["Arrays", "Rows", "Shape", "decode"]

_FAULTS = (
    TypeError, ValueError, LookupError, OverflowError, RecursionError, AttributeError, ArithmeticError,
    MemoryError, OSError,
)  # fmt: skip
_CHEAP = frozenset({str, int, float, bool, bytes, type(None), complex, Global})
_COLLIDING = 4096  # items from which on equal hashes are counted
_COLLISIONS = 1000  # so many keys of one hash are no accident
_LONG = 1 << 14  # bits of an integer that takes time to hash
_HASHED = 1 << 33  # bits of all such that are hashed
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_NAMED = {name: kind for kind, name in FACTORIES.items()}
_ROW = 64  # bytes that a row is counted for


class Arrays(Protocol):
    """Where the stored arrays come from."""

    def __len__(self) -> int: ...

    def wholes(self) -> list[Any] | None:
        """Return the arrays of all members, or None where they are better made one by one."""

    def whole(self, number: int) -> Any:
        """Return the array of a member."""

    def rows(self, number: int, count: int) -> list[Any]:
        """Return the arrays along the first axis of a member.

        Raises:
            ValueError: they are not so many.
        """

    def view(
        self,
        number: int,
        dtype: np.dtype[Any] | None,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> Any:
        """Return an array upon the data of a member."""


class Rows(Protocol):
    """What makes instances of records, where they are not to be records."""

    def begin(self, shapes: Sequence[Shape]) -> bool:
        """Look at what the graph has; False: all of it is to be records."""

    def shells(self, shape: Shape, count: int) -> list[Any]:
        """Return instances, to be filled when all that they refer to is there."""

    def fill(self, shape: Shape, rows: list[Any], columns: list[list[Any]]) -> None:
        """Give instances what is in their fields: the values of one field in all of them, each."""

    def refuse(self) -> None:
        """Raise what lets the caller do with records: something is asked that only they have."""

    def end(self, values: Sequence[Any]) -> None:
        """Look at all values of the tree, when it is whole."""


def decode(
    graph: Any,
    arrays: Arrays,
    limits: Limits | None = None,
    file: str | None = None,
    rows: Rows | None = None,
) -> Any:
    """Return the tree that a graph means.

    Args:
        graph: ``graph.json``, parsed.
        arrays: the stored arrays.
        limits: what hashing may cost.
        file: for errors.
        rows: makes instances of what would be records; None, or where it will not: records.

    Raises:
        DamagedFileError: it is no graph.
        LimitError: a key is nested too deep.
    """
    return _Decoder(arrays, limits or Limits(), file).decode(graph, rows)


class _Shell:
    """In the place of a record's node: the instance that it is to be."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Decoder:
    def __init__(self, arrays: Arrays, limits: Limits, file: str | None) -> None:
        self.arrays = arrays
        self.limits = limits
        self.file = file
        self.built: list[Any] = []
        self.layouts: list[list[str]] = []
        self.shapes: list[Shape] = []
        self.dtypes: dict[int, np.dtype[Any]] = {}
        self.slices: dict[int, int] = {}  # id -> how deep they hold each other
        self.bits = 0  # of long integers that were hashed
        self.copied: set[int] = set()  # members of which the bytes were copied
        self.again = 0  # bytes that were copied more than once
        self.rows: Rows | None = None
        self.singly: dict[int, tuple[list[_Shell], list[Any]]] = {}  # shape -> instances, cells

    def decode(self, graph: Any, rows: Rows | None) -> Any:
        try:
            self.layouts = [_layout(layout) for layout in graph["layouts"]]
            self.shapes = [Shape(shape, self.layouts) for shape in graph["shapes"]]
            tables = [Table(one, self.shapes) for one in graph.get("tables", ())]
            if rows is not None and not rows.begin(self.shapes):
                rows = None
            self.rows = rows
            made = [self.shells(table, rows) for table in tables]
            for number, count in graph.get("blocks", ()):
                self.block(number, count)
            lists = [self.lists(said) for said in graph.get("lists", ())]
            self.table(graph["nodes"])
            for said, empty in zip(graph.get("lists", ()), lists, strict=True):
                fill_lists(self, said, empty)
            for table, own in zip(tables, made, strict=True):
                columns = columns_of(self, table)
                (as_records if rows is None else rows.fill)(table.shape, own, columns)
            if rows is not None:
                rows.end(self.built)
            return self.cell(graph["root"])
        except PersistError:
            raise
        except _FAULTS as error:
            where = f"node {len(self.built)} of graph.json"
            raise self.damaged(
                f"the graph cannot be understood ({_brief(error)}).", where
            ) from error
        finally:
            bare = [value for value in self.built if type(value) in BARE and holds_bare(value)]
            if is_too_deep(bare):
                raise self.damaged(
                    f"arrays of objects, deques or defaultdicts hold each other more than {MOST} deep."
                )

    def damaged(self, what: str, where: str = "graph.json") -> DamagedFileError:
        remedy = "Copy the file again from where it came from."
        return DamagedFileError(what, file=self.file, where=where, remedy=remedy)

    def shells(self, table: Table, rows: Rows | None) -> list[Any]:
        """The rows of a table, still without what is in them."""
        if not table.is_backed:  # rows that cost the file nothing
            self.copies(_ROW * table.count)
        made = table.records() if rows is None else rows.shells(table.shape, table.count)
        self.built += made
        return made

    def block(self, number: Any, count: Any) -> None:
        """The arrays along the first axis of a member."""
        self.built += self.arrays.rows(_number(number, len(self.arrays)), count)

    def lists(self, said: Any) -> list[list[Any]]:
        """Lists that are stored together, still empty."""
        count = said["count"]
        if type(count) is not int or count < 0:
            raise ValueError(f"{count!r} lists")
        if said["lengths"][0] not in BACKED:
            self.copies(_ROW * count)
        made: list[list[Any]] = [[] for _ in range(count)]
        self.built += made
        return made

    def table(self, nodes: list[Any]) -> None:
        built, makers, shapes, new = self.built, _MAKERS, self.shapes, Record.__new__
        slots: Any = vars(Record)
        set_cls, set_kind, set_state = (slots[name].__set__ for name in ("cls", "kind", "state"))
        count = len(self.arrays)
        wholes = self.arrays.wholes() if len(nodes) > count // 2 else None
        whole = self.arrays.whole if wholes is None else wholes.__getitem__
        late: list[tuple[int, Any, Any]] = []
        waiting: dict[int, list[Any]] = {}
        if self.rows is not None:
            nodes = self.instances(nodes, self.rows)
        for node in nodes:
            if type(node) is int:
                if not 0 <= node < count:
                    raise ValueError(f"there is no member {node}")
                built.append(whole(node))
                continue
            if node.__class__ is not list:  # an instance, to be filled later
                built.append(node.value)
                continue
            kind = node[0]
            if kind == "record":  # as below, without the calls
                shape = shapes[node[1]]
                cells = [built[c[0]] if c.__class__ is list else c for c in node[2:]]
                record = new(Record)
                set_cls(record, shape.cls)
                set_kind(record, shape.kind)
                set_state(record, dict(zip(shape.fields, cells, strict=True)))
                if shape.is_rare:
                    record.maker, record.version = shape.maker, shape.version
                built.append(record)
                continue
            if kind == "tuple":
                built.append(tuple([built[c[0]] if c.__class__ is list else c for c in node[1:]]))
                continue
            if kind == "list":
                built.append([built[c[0]] if c.__class__ is list else c for c in node[1:]])
                continue
            if kind != "late":
                built.append(makers[kind](self, node))
                continue
            node = node[1:]
            shell = _SHELLS.get(node[0])
            if shell is None:
                waiting[len(built)] = node
                built.append(None)
            else:
                value = shell(self, node)
                late.append((len(built), value, node))
                built.append(value)
        self.settle(waiting)
        for _, value, node in late:
            _FILLERS[node[0]](self, value, node)
        for number, (shells, found) in self.singly.items():
            columns = [list(column) for column in zip(*map(self.values_of, found), strict=True)]
            assert self.rows is not None
            self.rows.fill(shapes[number], [shell.value for shell in shells], columns)

    def instances(self, nodes: list[Any], rows: Rows) -> list[Any]:
        """The nodes, those of records as instances that are yet to be filled."""
        groups: dict[int, list[int]] = {}
        for number, node in enumerate(nodes):
            if type(node) is list:
                at = 1 if node[0] == "late" else 0
                if node[at] == "record":
                    groups.setdefault(node[at + 1], []).append(number)
                elif node[at] == "stateof":
                    rows.refuse()
        nodes = nodes.copy()
        for shape, numbers in groups.items():
            known = self.shapes[_number(shape, len(self.shapes))]
            shells = [_Shell(value) for value in rows.shells(known, len(numbers))]
            cells = []
            for number, shell in zip(numbers, shells, strict=True):
                node = nodes[number]
                cells.append(node[3 if node[0] == "late" else 2 :])
                if len(cells[-1]) != len(known.fields):
                    raise ValueError(
                        f"{len(cells[-1])} values stand for {len(known.fields)} fields"
                    )
                nodes[number] = shell
            self.singly[shape] = (shells, cells)
        return nodes

    def values_of(self, cells: list[Any]) -> list[Any]:
        built = self.built
        return [built[cell[0]] if cell.__class__ is list else cell for cell in cells]

    def settle(self, waiting: dict[int, list[Any]]) -> None:
        """Make tuples and the like that waited, each when its parts are there."""
        above: dict[int, list[int]] = {}
        missing: dict[int, int] = {}
        for number, node in waiting.items():
            parts = {cell[0] for cell in node if type(cell) is list and cell and cell[0] in waiting}
            missing[number] = len(parts)
            for part in parts:
                above.setdefault(part, []).append(number)
        ready = [number for number, count in missing.items() if not count]
        done = 0
        while ready:
            number = ready.pop()
            node = waiting[number]
            self.built[number] = _MAKERS[node[0]](self, node)
            done += 1
            for whole in above.get(number, ()):
                missing[whole] -= 1
                if not missing[whole]:
                    ready.append(whole)
        if done < len(waiting):
            raise self.damaged("values that cannot change are parts of themselves.")

    def cell(self, cell: Any) -> Any:
        return self.built[cell[0]] if type(cell) is list else cell

    def cells(self, node: list[Any], start: int) -> list[Any]:
        built = self.built
        return [built[cell[0]] if type(cell) is list else cell for cell in node[start:]]

    def dtype(self, what: Any) -> np.dtype[Any]:
        if type(what) is list:
            dtype = self.built[what[0]]
            if not isinstance(dtype, np.dtype):
                raise TypeError(f"node {what[0]} is no dtype")
            return dtype
        return dtypes.from_description(what)

    def raw(self, node: list[Any]) -> Any:
        """The bytes of the member at the end of a node."""
        number = _number(node[-1], len(self.arrays))
        array = np.asarray(self.arrays.whole(number))
        if number in self.copied:
            self.copies(array.nbytes)
        self.copied.add(number)
        return array

    def copies(self, count: int) -> None:
        """Count bytes that are made of what is in memory already."""
        self.again += count
        if self.again > max(256 * MIB, self.limits.total):
            raise self.too_much(f"copies take more than {256 * MIB:,} bytes.", "total")

    # What is hashed.

    def check_key(self, key: Any) -> None:
        """Bound what hashing visits, before CPython hashes on the C stack."""
        level, visited, depth = [key], 0, 0
        while level:
            visited, depth = visited + len(level), depth + 1
            if visited > self.limits.hashed:
                raise self.too_much(
                    f"a key holds more than {self.limits.hashed:,} values.", "hashed"
                )
            if depth > self.limits.depth:
                raise self.too_much(
                    f"a key is nested more than {self.limits.depth:,} deep.", "depth"
                )
            below: list[Any] = []
            for item in level:
                if isinstance(item, tuple):
                    if len(item) + len(below) + visited > self.limits.hashed:
                        below = [None] * (self.limits.hashed + 1)
                        break
                    below.extend(item)
                elif type(item) is int and item.bit_length() > _LONG:
                    self.hash_long(item)
            level = below

    def hash_long(self, number: int) -> None:
        """Count what hashing a long integer takes; unlike text, it does not keep its hash."""
        self.bits += number.bit_length()
        if self.bits > _HASHED:
            raise self.damaged("long integers are keys again and again.")

    def too_much(self, what: str, limit: str) -> LimitError:
        remedy = f'If the file is honest, raise limits={{"{limit}": ...}}.'
        return LimitError(what, file=self.file, where="graph.json", remedy=remedy)

    def hashable(self, items: Sequence[Any]) -> Sequence[Any]:
        if any(
            type(item) is np.ndarray for item in items
        ):  # tensors were keys; no array has a hash
            items = [_keyed(item) for item in items]
        for item in items:
            if type(item) not in _CHEAP:
                self.check_key(item)
            elif type(item) is int and item.bit_length() > _LONG:
                self.hash_long(item)
        if len(items) >= _COLLIDING:
            ((_, most),) = Counter(map(hash, items)).most_common(1)
            if most > _COLLISIONS:
                raise self.damaged(f"{most:,} keys of one container have the same hash.")
        return items


def _keyed(item: Any) -> Any:
    return LazyArray(item.dtype, item.shape, lambda: item) if type(item) is np.ndarray else item


def _brief(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) < 200 else f"{text[:200]}..."


def _number(value: Any, count: int) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"there is no member {value!r}")
    return value


def _layout(layout: Any) -> list[str]:
    if not all(type(key) is str for key in layout) or len(set(layout)) != len(layout):
        raise ValueError("a layout's keys are not distinct text")
    return list(layout)


class Shape:
    """What like records have in common.

    Attributes:
        cls, kind, maker, version: as `Record` has them.
        fields: of the state.
        has_fields: whether the state is a dict of them, and there is nothing else.
    """

    __slots__ = ("cls", "fields", "has_fields", "is_rare", "kind", "maker", "version")

    def __init__(self, shape: Any, layouts: list[list[str]]) -> None:
        self.cls = _global(shape["class"])
        self.kind = str(shape["kind"])
        maker = shape.get("maker")
        self.maker = None if maker is None else _global(maker)
        self.version = shape["version"]
        if not (self.version is None or type(self.version) is int):
            raise TypeError(f"a version is {self.version!r}")
        self.is_rare = self.maker is not None or self.version is not None
        fields = shape.get("fields")
        self.has_fields = fields is not None
        self.fields: Sequence[str] = (
            () if fields is None else layouts[_number(fields, len(layouts))]
        )

    def record(self, state: Any) -> Record:
        return Record(self.cls, state, maker=self.maker, kind=self.kind, version=self.version)


def _global(pair: Any) -> Global:
    module, name = pair
    if not (isinstance(module, str) and isinstance(name, str)):
        raise TypeError("the name of a class is no text")
    return Global(module, name)


Maker = Callable[[_Decoder, list[Any]], Any]
_MAKERS: dict[str, Maker] = {}
_SHELLS: dict[str, Maker] = {}
_FILLERS: dict[str, Callable[[_Decoder, Any, list[Any]], None]] = {}


def _makes(*kinds: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        _MAKERS.update(dict.fromkeys(kinds, maker))
        return maker

    return register


def _fills(shell: Maker, *kinds: str) -> Callable[[Any], Any]:
    """Register a container: how it is made empty, and how it is filled."""

    def register(filler: Callable[[_Decoder, Any, list[Any]], None]) -> Any:
        def make(decoder: _Decoder, node: list[Any]) -> Any:
            value = shell(decoder, node)
            filler(decoder, value, node)
            return value

        for kind in kinds:
            _MAKERS[kind] = make
            _SHELLS[kind] = shell
            _FILLERS[kind] = filler
        return filler

    return register


# Containers.


@_fills(lambda decoder, node: [], "list")
def _fill_list(decoder: _Decoder, value: list[Any], node: list[Any]) -> None:
    value.extend(decoder.cells(node, 1))


@_makes("listrun")
def _list_run(decoder: _Decoder, node: list[Any]) -> Any:
    _, first, count = node
    return run_of(decoder, first, count)


@_makes("dictrun")
def _dict_run(decoder: _Decoder, node: list[Any]) -> Any:
    _, layout, first, count = node
    return dict(zip(decoder.layouts[layout], run_of(decoder, first, count), strict=True))


@_makes("tuple")
def _tuple(decoder: _Decoder, node: list[Any]) -> Any:
    return tuple(decoder.cells(node, 1))


@_fills(lambda decoder, node: {}, "dict")
def _fill_dict(decoder: _Decoder, value: dict[Any, Any], node: list[Any]) -> None:
    value.update(zip(decoder.layouts[node[1]], decoder.cells(node, 2), strict=True))


@_fills(lambda decoder, node: {}, "map")
def _fill_map(decoder: _Decoder, value: dict[Any, Any], node: list[Any]) -> None:
    _set_pairs(decoder, value, decoder.cells(node, 1))


def _set_pairs(decoder: _Decoder, value: dict[Any, Any], cells: list[Any]) -> None:
    keys = decoder.hashable(cells[::2])
    dict.update(value, zip(keys, cells[1::2], strict=True))
    if len(value) != len(keys):
        raise ValueError("a dict has a key twice")


@_fills(lambda decoder, node: OrderedDict(), "OrderedDict")
def _fill_ordered(decoder: _Decoder, value: Any, node: list[Any]) -> None:
    cells = decoder.cells(node, 1)
    for key, item in zip(decoder.hashable(cells[1::2]), cells[2::2], strict=True):
        value[key] = item
    if cells[0] is not None:
        vars(value).update(cells[0])


@_fills(lambda decoder, node: Counter(), "Counter")
def _fill_counter(decoder: _Decoder, value: Any, node: list[Any]) -> None:
    _set_pairs(decoder, value, decoder.cells(node, 1))


@_fills(lambda decoder, node: defaultdict(node[1] and _NAMED[node[1]]), "defaultdict")
def _fill_default(decoder: _Decoder, value: Any, node: list[Any]) -> None:
    _set_pairs(decoder, value, decoder.cells(node, 2))


@_fills(lambda decoder, node: set(), "set")
def _fill_set(decoder: _Decoder, value: set[Any], node: list[Any]) -> None:
    value.update(decoder.hashable(decoder.cells(node, 1)))


@_makes("frozenset")
def _frozenset(decoder: _Decoder, node: list[Any]) -> Any:
    return frozenset(decoder.hashable(decoder.cells(node, 1)))


@_fills(lambda decoder, node: deque(maxlen=node[1]), "deque")
def _fill_deque(decoder: _Decoder, value: Any, node: list[Any]) -> None:
    value.extend(decoder.cells(node, 2))


# Records and names.


@_fills(lambda decoder, node: decoder.shapes[node[1]].record({}), "record")
def _fill_record(decoder: _Decoder, value: Record, node: list[Any]) -> None:
    fields = decoder.shapes[node[1]].fields
    value.state.update(zip(fields, decoder.cells(node, 2), strict=True))


@_fills(lambda decoder, node: decoder.shapes[node[1]].record(ABSENT), "object")
def _fill_object(decoder: _Decoder, value: Record, node: list[Any]) -> None:
    args, kwargs, listitems, pairs, *state = decoder.cells(node, 2)
    value.args = _of(tuple, args, ())
    value.kwargs = _of(dict, kwargs, {})
    value.listitems = _of(list, listitems, [])
    items = _of(list, pairs, [])
    value.dictitems = list(zip(items[::2], items[1::2], strict=True))
    if state:
        (value.state,) = state


def _of(kind: type, value: Any, empty: Any) -> Any:
    if value is None:
        return empty
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} stands for a {kind.__name__}")
    return value


@_makes("stateof")
def _state_of(decoder: _Decoder, node: list[Any]) -> Any:
    record = decoder.cell(node[1])
    if type(record) is not Record:
        raise TypeError("the state of what is no record")
    return record.state


@_makes("global")
def _named(decoder: _Decoder, node: list[Any]) -> Any:
    return _global(decoder.cells(node, 1))


@_fills(lambda decoder, node: PersistentRef(None), "persistent")
def _fill_persistent(decoder: _Decoder, value: PersistentRef, node: list[Any]) -> None:
    value.pid = decoder.cell(node[1])


# Numbers, text and bytes.


@_makes("int")
def _int(decoder: _Decoder, node: list[Any]) -> Any:
    return int(node[1], 16)


@_makes("float")
def _float(decoder: _Decoder, node: list[Any]) -> Any:
    return _from_bits(node[1])


def _from_bits(text: str) -> float:
    return float(struct.unpack(">d", bytes.fromhex(text))[0])


@_makes("complex")
def _complex(decoder: _Decoder, node: list[Any]) -> Any:
    return complex(_from_bits(node[1]), _from_bits(node[2]))


@_makes("str")
def _str(decoder: _Decoder, node: list[Any]) -> Any:
    return bytes.fromhex(node[1]).decode("utf-8", "surrogatepass")


@_makes("bytes", "bytearray")
def _bytes(decoder: _Decoder, node: list[Any]) -> Any:
    kind = bytes if node[0] == "bytes" else bytearray
    if type(node[1]) is str:
        return kind.fromhex(node[1])
    array = decoder.raw(node)
    if array.dtype != np.uint8 or array.ndim != 1:
        raise TypeError(f"bytes are an array of {array.dtype}")
    return kind(array.data)


@_makes("array.array")
def _array_array(decoder: _Decoder, node: list[Any]) -> Any:
    code = node[1]
    if type(node[2]) is not int:
        return typed_array(code, decoder.cell(node[2]))
    values = decoder.raw(node)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise TypeError(f"an array.array is an array of {values.dtype}")
    result = typed_array(code)
    if np.dtype(code) == values.dtype:
        result.frombytes(values.tobytes())
        return result
    try:
        return array_module.array(code, values.tolist())
    except OverflowError:  # a type code that is wider where the file was written
        return array_module.array("q" if values.dtype.kind == "i" else "Q", values.tolist())


@_makes("range")
def _range(decoder: _Decoder, node: list[Any]) -> Any:
    return range(*decoder.cells(node, 1))


@_makes("slice")
def _slice(decoder: _Decoder, node: list[Any]) -> Any:
    start, stop, step = decoder.cells(node, 1)
    depth = 1 + max(decoder.slices.get(id(part), 0) for part in (start, stop, step))
    if depth > MOST:  # which CPython frees by recursion
        raise ValueError(f"slices of slices, more than {MOST} deep")
    made = slice(start, stop, step)
    decoder.slices[id(made)] = depth
    return made


# The standard library's values.


@_makes("date")
def _date(decoder: _Decoder, node: list[Any]) -> Any:
    return datetime.date(*node[1:])


@_makes("time", "datetime")
def _time(decoder: _Decoder, node: list[Any]) -> Any:
    kind: Any = datetime.time if node[0] == "time" else datetime.datetime
    parts: list[Any]
    *parts, fold, zone = decoder.cells(node, 1)
    if type(zone) is Record:  # a zone that this machine does not know
        return Record(f"datetime.{node[0]}", kind="reduce", args=(*parts, zone))
    return kind(*parts, zone, fold=fold)


@_makes("timedelta")
def _timedelta(decoder: _Decoder, node: list[Any]) -> Any:
    return datetime.timedelta(*node[1:])


@_makes("timezone")
def _timezone(decoder: _Decoder, node: list[Any]) -> Any:
    days, seconds, micros, name = decoder.cells(node, 1)
    delta = datetime.timedelta(days, seconds, micros)
    if name is None:
        return datetime.timezone(delta) if delta else datetime.UTC
    return datetime.timezone(delta, name)


@_makes("ZoneInfo")
def _zone_info(decoder: _Decoder, node: list[Any]) -> Any:
    if not isinstance(node[1], str) or not _ZONE.fullmatch(node[1]):
        raise ValueError(f"a zone named {node[1]!r}")
    try:
        return zoneinfo.ZoneInfo(node[1])
    except (zoneinfo.ZoneInfoNotFoundError, OSError):  # a folder of zones is an OSError
        return Record("zoneinfo.ZoneInfo", kind="reduce", args=(node[1],))


@_makes("Decimal")
def _decimal(decoder: _Decoder, node: list[Any]) -> Any:
    return Decimal(node[1])


@_makes("Fraction")
def _fraction(decoder: _Decoder, node: list[Any]) -> Any:
    return fractions.Fraction(*decoder.cells(node, 1))


@_makes("UUID")
def _uuid(decoder: _Decoder, node: list[Any]) -> Any:
    return uuid.UUID(node[1])


_PATHS: dict[str, type[PurePath]] = {
    kind.__name__: kind for kind in (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
}


@_makes(*_PATHS)
def _path(decoder: _Decoder, node: list[Any]) -> Any:
    """A path of another kind of machine is a pure path here."""
    text = decoder.cell(node[1])
    try:
        return _PATHS[node[0]](text)
    except NotImplementedError:
        return _PATHS[f"Pure{node[0]}"](text)


_CONSTANTS = {
    "Ellipsis": ...,
    "NotImplemented": NotImplemented,
    "numpy.ma.masked": np.ma.masked,
}


@_makes("constant")
def _constant(decoder: _Decoder, node: list[Any]) -> Any:
    return _CONSTANTS[node[1]]


# NumPy's scalars and dtypes.


@_makes("scalar")
def _scalar(decoder: _Decoder, node: list[Any]) -> Any:
    dtype, data = decoder.dtype(node[1]), bytes.fromhex(node[2])
    if dtype.hasobject or len(data) != dtype.itemsize:
        raise ValueError(f"{len(data)} bytes stand for a scalar of {dtype}")
    return np.frombuffer(bytearray(data), dtype)[0] if data else np.zeros((), dtype)[()]


@_makes("str_")
def _str_(decoder: _Decoder, node: list[Any]) -> Any:
    text = decoder.cell(node[1])
    if not isinstance(text, str):
        raise TypeError(f"a {type(text).__name__} stands for text")
    return np.str_(text)


@_makes("bytes_")
def _bytes_(decoder: _Decoder, node: list[Any]) -> Any:
    return np.bytes_(bytes.fromhex(node[1]))


@_makes("void")
def _void(decoder: _Decoder, node: list[Any]) -> Any:
    array = decoder.cell(node[1])
    if not isinstance(array, np.ndarray) or array.ndim:
        raise TypeError("a scalar is no array of no axes")
    return array[()]


@_makes("dtype")
def _dtype(decoder: _Decoder, node: list[Any]) -> Any:
    return dtypes.from_description(node[1])


# Arrays.


def _shape_of(shape: Any) -> tuple[int, ...]:
    if len(shape) > 64 or not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError(f"a shape is {shape!r}")
    return tuple(shape)


@_makes("view")
def _view(decoder: _Decoder, node: list[Any]) -> Any:
    _, number, dtype, shape, strides, offset = node
    if type(offset) is not int or not all(type(stride) is int for stride in strides or ()):
        raise TypeError("an offset or a stride is no number")
    return decoder.arrays.view(
        _number(number, len(decoder.arrays)),
        None if dtype is None else decoder.dtype(dtype),
        None if shape is None else _shape_of(shape),
        None if strides is None else tuple(strides),
        offset,
    )


def _empty_objects(decoder: _Decoder, node: list[Any]) -> Any:
    shape = _shape_of(node[1])
    if math.prod(shape) != len(node) - 3:
        raise ValueError(f"{len(node) - 3} cells stand for an array of shape {shape}")
    return np.empty(shape, object, order="F" if node[2] == "F" else "C")


@_fills(_empty_objects, "objects")
def _fill_objects(decoder: _Decoder, value: Any, node: list[Any]) -> None:
    flat = np.empty(value.size, object)
    for index, item in enumerate(decoder.cells(node, 3)):
        flat[index] = item
    value[...] = flat.reshape(value.shape)


@_makes("strings")
def _strings(decoder: _Decoder, node: list[Any]) -> Any:
    dtype, shape, cells = decoder.dtype(node[1]), _shape_of(node[2]), decoder.cells(node, 3)
    if not dtypes.is_strings(dtype) or math.prod(shape) != len(cells):
        raise ValueError(f"{len(cells)} cells stand for an array of {dtype} and shape {shape}")
    if any(isinstance(cell, list | tuple | np.ndarray | Record) for cell in cells):
        raise TypeError("what is no text stands in an array of text")
    return np.array(cells, dtype).reshape(shape)


def _empty_fields(decoder: _Decoder, node: list[Any]) -> Any:
    dtype, shape, columns = decoder.dtype(node[1]), _shape_of(node[2]), decoder.cells(node, 3)
    if not all(column.shape[: len(shape)] == shape for column in columns) or not columns:
        raise ValueError(f"the fields of an array are not of its shape {shape}")
    is_wide = dtype.itemsize > 1 << 16  # more than the columns are, perhaps
    if is_wide or any(0 in getattr(column, "strides", (0,)) for column in columns):
        decoder.copies(math.prod(shape) * dtype.itemsize)
    return np.empty(shape, dtype)


@_fills(_empty_fields, "fields")
def _fill_fields(decoder: _Decoder, value: Any, node: list[Any]) -> None:
    plain = value.view(np.ndarray)
    for name, column in zip(value.dtype.names, decoder.cells(node, 3), strict=True):
        plain[name] = np.asarray(column)


@_makes("masked")
def _masked(decoder: _Decoder, node: list[Any]) -> Any:
    data, mask, fill, hard = decoder.cells(node, 1)
    data = data.read() if isinstance(data, LazyArray) else data
    mask = np.ma.nomask if mask is None else np.asarray(mask)
    array = np.ma.MaskedArray(data, mask=mask, hard_mask=bool(hard))
    if mask is not np.ma.nomask:
        if mask.shape != data.shape:
            raise ValueError("a mask is of another shape than its data")
        array._mask = mask  # type: ignore[attr-defined]  # itself, where the constructor may copy
    if isinstance(fill, list | tuple):
        raise TypeError("a fill value of many items")
    if fill is not None:
        array._fill_value = np.asarray(fill)  # type: ignore[attr-defined]
    return array


_CLASSES: dict[str, Any] = {
    "matrix": np.matrix,
    "recarray": np.recarray,
}


@_makes(*_CLASSES)
def _seen_as(decoder: _Decoder, node: list[Any]) -> Any:
    return np.asarray(decoder.cell(node[1])).view(_CLASSES[node[0]])

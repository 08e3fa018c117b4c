"""Build the tree from the graph's table of nodes, in one pass from first to last.

Parts precede the values that contain them, so one pass builds nearly everything.
Nodes marked ``late`` (in cycles) are deferred: containers are created empty and
filled at the end, tuples are built as soon as their parts exist. No recursion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from persist._container import dtypes
from persist._container.reading.decode_nodes import FILLERS, MAKERS, SHELLS, global_of, number_of
from persist._container.reading.tables import (
    BACKED,
    Table,
    as_records,
    columns_of,
    fill_lists,
)
from persist._wire.base.c_recursion import MOST, RECURSIVE, holds_recursive, is_too_deep
from persist._wire.base.hashing import COLLISION_CHECK, KeyCosts, colliding
from persist._wire.base.source import MIB, Limits
from persist.errors import DamagedFileError, LimitError, PersistError
from persist.tree import Global, LazyArray, Record
from persist.typing import DType, StoredArray

__all__ = ["Arrays", "Rows", "Shape", "decode"]

_FAULTS = (
    TypeError, ValueError, LookupError, OverflowError, RecursionError, AttributeError, ArithmeticError,
    MemoryError, OSError,
)  # fmt: skip
_CHEAP = frozenset({str, int, float, bool, bytes, type(None), complex, Global})
_LONG = 1 << 11  # bits of an integer that takes time to hash
_WIDE = 1000  # values in a key that take time to hash
_HASHED = 1 << 23  # such values, and KiBit of long numbers, that are hashed in all
_ROW = 64  # bytes that a row is counted for


class Arrays(Protocol):
    """Source of the stored arrays."""

    def __len__(self) -> int: ...

    @property
    def foreign(self) -> object:
        """What states the format of ``long double``, where it is not this machine's; else None."""

    def double(self, raw: Any, dtype: DType) -> Any:
        """Return ``long double`` of another machine as float64 or complex128."""

    def wholes(self) -> Sequence[StoredArray] | None:
        """Return the arrays of all members, or None where they are better made one by one."""

    def whole(self, number: int) -> StoredArray:
        """Return the array of a member."""

    def rows(self, number: int, count: int) -> list[StoredArray]:
        """Return the arrays along the first axis of a member.

        Raises:
            ValueError: they are not so many.
        """

    def view(
        self,
        number: int,
        dtype: DType | None,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> Any:
        """Return an array upon the data of a member."""


class Rows(Protocol):
    """What makes instances of records, where they are not to be records."""

    def begin(self, shapes: Sequence[Shape]) -> bool:
        """Look at what the graph has; False: all of it is to be records."""

    def shells(self, shape: Shape, count: int) -> list[object]:
        """Return instances, to be filled when all that they refer to is there."""

    def fill(self, shape: Shape, rows: list[object], columns: list[list[object]]) -> None:
        """Give instances what is in their fields: the values of one field in all of them, each."""

    def refuse(self) -> None:
        """Raise what lets the caller do with records: something is asked that only they have."""

    def end(self, values: Sequence[object]) -> None:
        """Look at all values of the tree, when it is whole."""


def decode(
    graph: object,
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
    return Decoder(arrays, limits or Limits(), file).decode(graph, rows)


class _Shell:
    """In the place of a record's node: the instance that it is to be."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Decoder:
    """Makes the values of a graph, node by node; each is kept under its number."""

    def __init__(self, arrays: Arrays, limits: Limits, file: str | None) -> None:
        self.arrays = arrays
        self.limits = limits
        self.file = file
        self.built: list[Any] = []
        self.layouts: list[list[str]] = []
        self.shapes: list[Shape] = []
        self.dtypes: dict[int, DType] = {}
        self.slices: dict[int, int] = {}  # id -> how deep they hold each other
        self.keys = KeyCosts()
        self.hashing = 0  # the cost of long keys so far
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
            bare = [
                value for value in self.built if type(value) in RECURSIVE and holds_recursive(value)
            ]
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

    def block(self, number: object, count: Any) -> None:
        """The arrays along the first axis of a member."""
        self.built += self.arrays.rows(number_of(number, len(self.arrays)), count)

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
        built, makers, shapes, new = self.built, MAKERS, self.shapes, Record.__new__
        slots: Any = vars(Record)
        set_cls, set_kind, set_state = (slots[name].__set__ for name in ("cls", "kind", "state"))
        count = len(self.arrays)
        wholes = self.arrays.wholes() if len(nodes) > count // 2 else None
        whole = self.arrays.whole if wholes is None else wholes.__getitem__
        late: list[tuple[int, Any, Any]] = []
        waiting: dict[int, list[object]] = {}
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
            shell = SHELLS.get(node[0])
            if shell is None:
                waiting[len(built)] = node
                built.append(None)
            else:
                value = shell(self, node)
                late.append((len(built), value, node))
                built.append(value)
        self.settle(waiting)
        for _, value, node in late:
            FILLERS[node[0]](self, value, node)
        for number, (shells, found) in self.singly.items():
            columns = [list(column) for column in zip(*map(self.values_of, found), strict=True)]
            assert self.rows is not None
            self.rows.fill(shapes[number], [shell.value for shell in shells], columns)

    def instances(self, nodes: list[Any], rows: Rows) -> list[object]:
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
            known = self.shapes[number_of(shape, len(self.shapes))]
            shells = [_Shell(value) for value in rows.shells(known, len(numbers))]
            cells = []
            for number, shell in zip(numbers, shells, strict=True):
                node = nodes[number]
                cells.append(node[3 if node[0] == "late" else 2 :])
                if len(cells[-1]) != len(known.fields):
                    raise ValueError(
                        f"{len(cells[-1])} values are given for {len(known.fields)} fields"
                    )
                nodes[number] = shell
            self.singly[shape] = (shells, cells)
        return nodes

    def values_of(self, cells: list[object]) -> list[object]:
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
            self.built[number] = MAKERS[node[0]](self, node)
            done += 1
            for whole in above.get(number, ()):
                missing[whole] -= 1
                if not missing[whole]:
                    ready.append(whole)
        if done < len(waiting):
            raise self.damaged("values that cannot change are parts of themselves.")

    def cell(self, cell: object) -> Any:
        return self.built[cell[0]] if type(cell) is list else cell

    def cells(self, node: list[Any], start: int) -> list[Any]:
        built = self.built
        return [built[cell[0]] if type(cell) is list else cell for cell in node[start:]]

    def dtype(self, what: object) -> DType:
        if type(what) is list:
            dtype = self.built[what[0]]
            if not isinstance(dtype, np.dtype):
                raise TypeError(f"node {what[0]} is no dtype")
            return dtype
        return dtypes.from_description(what)

    def raw(self, node: list[Any]) -> Any:
        """The bytes of the member at the end of a node."""
        number = number_of(node[-1], len(self.arrays))
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

    def check_key(self, key: object) -> None:
        """Bound what hashing and comparing visits, before CPython does both on the C stack."""
        limits = self.limits
        cost = self.keys.of(key, limits.hashed, limits.depth)
        if cost.visited > limits.hashed:
            raise self.too_much(f"a key holds more than {limits.hashed:,} values.", "hashed")
        if cost.depth > limits.depth:
            raise self.too_much(f"a key is nested more than {limits.depth:,} deep.", "depth")
        if cost.is_slow:
            raise self.damaged("decimals and long integers are keys of one file.")
        self.hashing += cost.steps + (cost.visited if cost.visited > _WIDE else 0)
        if self.hashing > _HASHED:
            raise self.damaged("long keys are hashed again and again.")

    def too_much(self, what: str, limit: str) -> LimitError:
        remedy = f'If the file is honest, raise limits={{"{limit}": ...}}.'
        return LimitError(what, file=self.file, where="graph.json", remedy=remedy)

    def hashable(self, items: Sequence[Any]) -> Sequence[object]:
        if any(
            type(item) is np.ndarray for item in items
        ):  # tensors were keys; no array has a hash
            items = [_keyed(item) for item in items]
        for item in items:
            if type(item) not in _CHEAP or (type(item) is int and item.bit_length() > _LONG):
                self.check_key(item)
        if len(items) >= COLLISION_CHECK:
            most = colliding(items)
            if most:
                raise self.damaged(f"{most:,} keys of one container have the same hash.")
        return items


def _keyed(item: object) -> object:
    return LazyArray(item.dtype, item.shape, lambda: item) if type(item) is np.ndarray else item


def _brief(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) < 200 else f"{text[:200]}..."


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
        self.cls = global_of(shape["class"])
        self.kind = str(shape["kind"])
        maker = shape.get("maker")
        self.maker = None if maker is None else global_of(maker)
        self.version = shape["version"]
        if not (self.version is None or type(self.version) is int):
            raise TypeError(f"a version is {self.version!r}")
        self.is_rare = self.maker is not None or self.version is not None
        fields = shape.get("fields")
        self.has_fields = fields is not None
        self.fields: Sequence[str] = (
            () if fields is None else layouts[number_of(fields, len(layouts))]
        )

    def record(self, state: object) -> Record:
        return Record(self.cls, state, maker=self.maker, kind=self.kind, version=self.version)

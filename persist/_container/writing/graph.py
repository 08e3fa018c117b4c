"""Encode a tree as the contents of a container: the graph as text, and the members.

Rows of tables of columns are numbered first, then records that occur many times, then the arrays of
blocks, then nodes. ``docs/container.md``, sections 11 and 12, specifies how they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import attrs
import numpy as np

from persist._container import dtypes
from persist._container.writing import encode_values as encode_values  # registers what it encodes
from persist._container.writing.blocks import LEAST, Band
from persist._container.writing.encode import (
    ATOMS,
    Encoder,
    Frame,
    by_index,
    by_key,
    opens,
    plain_list,
)
from persist._container.writing.json_text import graph_text
from persist._container.writing.members import Item, Members, place
from persist._container.writing.tables import (
    Later,
    Table,
    own_path,
    plain_column,
    renumber,
    settled,
    shortened,
    split_tuples,
)
from persist._trees.columns import MANY, Columns, Row, RowDict, RowList
from persist.tree import Global
from persist.typing import Array

__all__ = ["Graph", "encode"]


@attrs.define
class Graph:
    """A tree as it is written.

    Attributes:
        version: the least container version that can say it.
        text: of ``graph.json``.
        members: the arrays that are stored.
        kept: what must live until all is written.
        globals: dotted names that the tree mentions.
        blocks: number and count of the blocks whose arrays' natural paths are listed.
        paths: those paths, in their order.
        has_long_double: whether an array or scalar is bound to a machine.
    """

    version: int
    text: bytes
    members: Members
    kept: list[Any]
    globals: set[str]
    blocks: list[list[int]]
    paths: list[str]
    has_long_double: bool


def encode(
    tree: Any, name: str = "", *, columns: bool = True, pack: bool = True, members: object = None
) -> Graph:
    """Return a tree as the graph and the members that a container holds.

    Args:
        tree: see `persist.tree`, and `persist._trees.columns`, which are empty afterwards.
        name: of the target, for errors.
        columns: store many records of one schema and version as columns.
        pack: store many small arrays of one kind as blocks.
        members: those that are there already (`persist._container.in_place.kept`); None for a new file.

    Raises:
        FormatError: something in it is no value of a tree, with its path.
    """
    return _Grapher(name, columns, pack).graph(tree, members)


class _Made(NamedTuple):
    """A table as it is written, the path of its columns, and the nodes that it replaces."""

    table: dict[str, Any]
    path: str
    nodes: list[int]


class Lists(NamedTuple):
    """Lists of one field that are stored as one column, the path of the field, and their nodes."""

    said: dict[str, Any]
    path: str
    nodes: list[int]


class _Grapher(Encoder):
    """The walk over the tree, and the tables that it fills."""

    def __init__(self, name: str, columns: bool, pack: bool) -> None:
        super().__init__(name)
        self.columns = columns
        self.pack = pack
        self.columns_met: list[Columns] = []
        self.tables: dict[int, Table | None] = {}  # id of the columns
        self.single: dict[int, int] = {}  # id of columns that are no table -> their shape
        self.expanded: dict[
            tuple[int, int], list[object]
        ] = {}  # rows that are records -> their cells
        self.rows = 0  # of tables that were taken apart as columns
        self.later: list[Later] = []
        self.lists: list[Lists] = []
        self.met: list[tuple[Frame, Sequence[Any]]] = []  # frames of rows, and the rows
        self.found: dict[tuple[int, int], tuple[Frame, int]] = {}  # where a row is in the first
        self.unplaced: list[tuple[Table, int]] = []  # rows whose place is met after their arrays

    def graph(self, tree: Any, old: Any) -> Graph:
        root = self.walk(tree)
        made = self.own_tables()
        self.complete_paths()
        members, packs = place(self.items, self.nodes, self.dtype_text, self.bands, self.pack, old)
        made += self.met_tables()
        known = (*self.memo.values(), *self.dtypes.values(), *self.expanded.values())
        refs = list({id(ref): ref for ref in known if type(ref) is list}.values())
        counted = [
            *(one.nodes for one in made),
            *(one.nodes for one in packs),
            *(one.nodes for one in self.lists),
        ]
        below = self.rows + sum(map(len, counted))
        nodes, extra = self.nodes, {}
        if below:
            nodes = [shortened(node) for node in renumber(nodes, refs, self.rows, counted)]
            for later in self.later:
                later.column[1] = members.add_apart(later.path, later.array)
            for table, path, _ in made:
                names = self.layout_list[self.shape_list[table["shape"]]["fields"]]
                paths = [f"{path}/{name}" if path else name for name in names]
                table["columns"] = [
                    settled(column, path, members, below)
                    for column, path in zip(table["columns"], paths, strict=True)
                ]
            for lists in self.lists:
                path = f"{lists.path}/*"
                lists.said["items"] = settled(lists.said["items"], path, members, below)
            blocks = [[one.number, len(one.nodes)] for one in packs]
            extra = {"tables": [one.table for one in made], "blocks": blocks}
            if self.lists:
                extra["lists"] = [lists.said for lists in self.lists]
        text = graph_text(self.layout_list, self.shape_list, nodes, root, refs, extra, below)
        listed = [[one.number, len(one.nodes)] for one in packs if one.paths is not None]
        paths = [path for one in packs for path in one.paths or ()]
        kept = [self.items, self.kept]
        version = 2 if below or old is not None else 1
        self.let_go()
        return Graph(
            version, text, members, kept, self.globals, listed, paths, self.has_long_double
        )

    def let_go(self) -> None:
        """Break the reference cycles of encoded rows, their columns, and the functions that know their paths,
        so that all of it goes at once and not when the collector comes by.
        """
        for columns in self.columns_met:
            columns.clear()
        self.bands.clear()

    # Rows of columns.

    def table_of(self, frame: Frame, columns: Columns) -> Table | None:
        """Return the table of columns, or None if the instances are stored as records."""
        key = id(columns)
        if key not in self.tables:
            self.columns_met.append(columns)
            layout = self.layout(columns.fields)
            if not self.columns or columns.count < MANY or layout is None:
                self.tables[key] = None
            else:
                shape = self.shape(frame, columns.like(), layout)
                self.tables[key] = Table(columns, self.rows, shape, frame)
                self.rows += columns.count
        return self.tables[key]

    def expand(self, frame: Frame, row: Row) -> Frame | None:
        """Encode a row as a record."""
        columns, at = row
        key = (id(columns), at)
        ref = self.expanded.get(key)
        if ref is None:
            shape = self.single.get(id(columns))
            if shape is None:
                layout = self.layout(columns.fields)
                if layout is not None:
                    shape = self.single[id(columns)] = self.shape(frame, columns.like(), layout)
            if shape is None:  # names that JSON cannot say
                record = columns.record(at)
                begun = self.open(frame, record)
                self.expanded[key] = self.memo[id(record)]
                return begun
            values = [column[at] for column in columns.values]
            cells: list[Any] = ["record", shape]
            if self.is_quick(values, cells):
                ref = self.expanded[key] = self.memo[id(row)] = [len(self.nodes)]
                self.nodes.append(cells)
                frame.cells.append(ref)
                return None
            inner = Frame(frame, cells[:2], iter(values), by_key, columns.fields)
            self.expanded[key] = inner.ref
            return inner
        if ref[0] is None or ref[0] in self.pending:
            frame.is_late = True
        frame.cells.append(ref)
        return None

    def own_tables(self) -> list[_Made]:
        """Encode the tables of columns; their values may add further tables."""
        made: list[_Made] = []
        done = 0
        while done < len(self.tables):
            table = list(self.tables.values())[done]
            done += 1
            if table is None:
                continue
            is_alone = table.together == table.columns.count
            path = own_path(self.container(table.home), is_alone, table.columns.cls)
            table.path = path
            columns = [self.column(table, at, path) for at in range(len(table.columns.fields))]
            said = {"shape": table.shape, "count": table.columns.count, "columns": columns}
            made.append(_Made(said, path, []))
        return made

    def column(self, table: Table, at: int, path: str) -> Any:
        values: Sequence[Any] = table.columns.values[at]
        field = table.columns.fields[at]
        path = f"{path}/{field}" if path else field
        kinds = table.columns.kinds[at]
        plain = plain_column(values, kinds, path)
        if plain is not None:
            return self.stored(plain)
        if kinds == {tuple}:
            parts = split_tuples(values, ATOMS)
            if parts is not None:
                return [
                    "tuples",
                    *(self.part(part, f"{path}/{i}", own) for i, (part, own) in enumerate(parts)),
                ]
        if kinds <= {Row, type(None)}:
            refs = self.references(values, Frame(None, [], iter(()), _by_row, (table, field)), path)
            if refs is not None:
                return refs
        if kinds <= {list, RowList} and len(values) >= MANY:
            refs = self.lists_of(table, at, values, path)
            if refs is not None:
                return ["cells", *refs]
        if kinds == {np.ndarray} and self.pack and len(values) >= LEAST:
            refs = self.band(table, field, values, path)
            if refs is not None:
                return ["cells", *refs]
        frame = Frame(None, [], iter(values), _by_row, (table, field))
        return ["cells", *self.cells_of(frame)]

    def stored(self, column: Any) -> object:
        if type(column) is Later:
            self.later.append(column)
            return column.column
        return column

    def references(self, values: Sequence[Any], frame: Frame, path: str) -> object:
        """Return the column of references to rows (or None values); None if some of them are not rows of tables."""
        numbers = self.row_numbers(frame, values)
        if numbers is None:
            return None
        return self.refs(np.array(numbers, "<i8"), path)

    def refs(self, numbers: Array, path: str) -> Any:
        """The column of references to rows, by their numbers, -1 for None; not empty."""
        first, count = int(numbers[0]), len(numbers)
        if first >= 0 and bool((numbers == np.arange(first, first + count)).all()):
            return ["run", first, count]
        return self.stored(Later(["refs", None], path, numbers))

    def row_numbers(self, frame: Frame, values: Sequence[Any]) -> list[int] | None:
        """Return the numbers of rows, -1 for None; None if some of them are not rows of tables."""
        rows = values if None not in values else [row for row in values if row is not None]
        found = {id(columns): columns for columns in map(itemgetter(0), rows)}
        tables = [self.table_of(frame, columns) for columns in found.values()]
        bases = {}
        for columns, table in zip(found.values(), tables, strict=True):
            if table is None:
                return None
            bases[id(columns)] = table.base
        if len(tables) == 1 and tables[0] is not None and tables[0].home is frame:
            tables[0].together = len(set(map(itemgetter(1), rows)))
        self.met.append((frame, values))
        return [-1 if value is None else bases[id(value[0])] + value[1] for value in values]

    def lists_of(self, table: Table, at: int, values: Sequence[Any], path: str) -> Any:
        """Return the cells of lists of plain values or rows, none of which was encoded before; otherwise None."""
        ids = set(map(id, values))
        if len(ids) < len(values) or not _apart(self.memo, ids):
            return None
        lengths = [value.count if type(value) is RowList else len(value) for value in values]
        frame = Frame(None, [], iter(()), _by_row)
        frame.keys = (table, table.columns.fields[at])
        items = self.items_of(values, frame, f"{path}/*")
        if items is None:
            return None
        first = len(self.nodes)
        refs: list[Any] = [[number] for number in range(first, first + len(values))]
        self.memo.update(zip(map(id, values), refs, strict=True))
        self.nodes += [None] * len(values)
        said = {"count": len(values), "lengths": self.part(lengths, f"{path}/*lengths")}
        self.lists.append(Lists({**said, "items": items}, path, [ref[0] for ref in refs]))
        return refs

    def items_of(self, values: Sequence[Any], frame: Frame, path: str) -> object:
        """Return the column of the items of many lists; None if they are neither plain nor rows of one table."""
        if not any(type(value) is RowList for value in values):
            items = list(chain.from_iterable(values))
            if not items:
                return None
            if ATOMS.issuperset(map(type, items)):
                return self.part(items, path)
        numbers = self.rows_in(values, frame)
        return None if numbers is None else self.refs(numbers, path)

    def rows_in(self, values: Sequence[Any], frame: Frame) -> Array | None:
        """Return the numbers of the rows in lists, or None if the lists hold anything else."""
        whole = next(value for value in values if value)
        columns = whole.columns if type(whole) is RowList else getattr(whole[0], "columns", None)
        table = self.table_of(frame, columns) if type(columns) is Columns else None
        if table is None:
            return None
        firsts, counts = [], []
        for value in values:
            if type(value) is RowList:
                if value.columns is not columns and value.count:
                    return None
                firsts.append(value.first)
                counts.append(value.count)
                continue
            for row in value:
                if type(row) is not Row or row.columns is not columns:
                    return None
                firsts.append(row.number)
                counts.append(1)
        return table.base + table.met_lists(values, frame, firsts, counts)

    def part(self, values: Sequence[Any], path: str, kinds: set[type] | None = None) -> Any:
        plain = plain_column(values, set(map(type, values)) if kinds is None else kinds, path)
        return ["cells", *values] if plain is None else self.stored(plain)

    def band(self, table: Table, field: str, arrays: Sequence[Any], path: str) -> Any:
        """Return the cells of arrays that may become a block; None if they are to be encoded one by one."""
        ids = list(map(id, arrays))
        if len(set(ids)) < len(ids) or not self.memo.keys().isdisjoint(ids):
            return None
        if not dtypes.SAID_BY_NPY.issuperset([array.dtype.char for array in arrays]):
            return None

        def path_of(index: int) -> str:
            before = self.row_path(table, index)
            if before is None:
                before = _row_name(table, index)
            return f"{before}/{field}" if before else field

        first, count = len(self.nodes), len(arrays)
        refs: list[object] = [[number] for number in range(first, first + count)]
        self.memo.update(zip(ids, refs, strict=True))
        self.bands.append(Band(len(self.items), count, path, path_of))
        numbers = range(first, first + count)
        rows = zip(numbers, repeat(None), arrays, repeat(None), strict=False)
        self.items += map(tuple.__new__, repeat(Item), rows)  # as Item(...) does, in C
        self.nodes += [None] * count
        return refs

    # Records that were met one by one.

    def met_tables(self) -> list[_Made]:
        """Make tables of the records that occur many times with the same fields."""
        if not self.columns or len(self.nodes) < MANY:
            return []
        groups: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            if type(node) is list and node:  # what is empty is an array in a block
                at = 1 if node[0] == "late" else 0
                if node[at] == "record":
                    groups.setdefault(node[at + 1], []).append(number)
        return [
            self.met_table(shape, numbers)
            for shape, numbers in groups.items()
            if len(numbers) >= MANY and self.layout_list[self.shape_list[shape]["fields"]]
        ]

    def met_table(self, shape: int, numbers: list[int]) -> _Made:
        frame, _ = self.places[shape]
        own = set(numbers)
        together = sum(type(cell) is list and cell[0] in own for cell in frame.cells)
        said = self.shape_list[shape]
        cls = Global(*said["class"])
        path = own_path(self.container(frame), together == len(numbers), cls)
        rows = [
            node[3 if node[0] == "late" else 2 :] for node in map(self.nodes.__getitem__, numbers)
        ]
        columns = []
        for field, cells in zip(
            self.layout_list[said["fields"]], zip(*rows, strict=True), strict=True
        ):
            columns.append(self.part(cells, f"{path}/{field}" if path else field))
        return _Made({"shape": shape, "count": len(numbers), "columns": columns}, path, numbers)

    # Paths.

    def path(self, frame: Frame, place: int) -> str:
        """Return the path of a part; inside a column, the path from its row on."""
        local = super().path(frame, place)
        top, at = _top(frame, place)
        if top.stepper is not _by_row:
            return local
        table = top.keys[0]
        before = self.row_path(table, at)
        if before is None:
            before = _row_name(table, at)
        return f"{before}/{local}" if before else local

    def array_path(self, frame: Frame, place: int) -> str:
        """The path of an array; it begins with a placeholder where its row's is not known yet.

        The columns are encoded one after the other, so an array may be met before the
        column that contains its row.
        """
        top, at = _top(frame, place)
        if top.stepper is not _by_row or self.row_path(top.keys[0], at) is not None:
            return self.path(frame, place)
        self.unplaced.append((top.keys[0], at))
        return f"\0{len(self.unplaced) - 1}/{super().path(frame, place)}"

    def complete_paths(self) -> None:
        """Replace the placeholders in the paths of arrays: every row has been met by now."""
        if not self.unplaced:
            return
        for index, item in enumerate(self.items):
            if item.path is not None and item.path[:1] == "\0":
                number, _, local = item.path[1:].partition("/")
                table, at = self.unplaced[int(number)]
                before = self.row_path(table, at)
                if before is None:
                    before = _row_name(table, at)
                path = f"{before}/{local}" if before else local
                self.items[index] = item._replace(path=path)

    def row_path(self, table: Table, index: int) -> str | None:
        """The natural path of a row; without recursion, since rows may be nested deeply.

        None where it is not known: the row was not met yet, or each of several rows was
        met first inside another of them.
        """
        parts: list[str] = []
        passed: set[tuple[int, int]] = set()
        while True:
            place_of = table.place_of(index) or self.place_of(table, index)
            if place_of is None or (id(table), index) in passed:
                return None
            passed.add((id(table), index))
            frame, place, at = place_of
            if at is not None:  # a list that had no frame
                parts.append(str(place))
                place = at
            parts.append(super().path(frame, place))
            top, index = _top(frame, place)
            if top.stepper is not _by_row:
                return "/".join(part for part in reversed(parts) if part)
            table = top.keys[0]

    def place_of(self, table: Table, index: int) -> tuple[Frame, int, None] | None:
        """The place of a row that was noted as one of many; they are searched on first request.

        None where the row was not met yet.
        """
        while self.met:
            frame, values = self.met.pop(0)
            for place_in, value in enumerate(values):
                if value is not None:
                    self.found.setdefault((id(value[0]), value[1]), (frame, place_in))
        found = self.found.get((id(table.columns), index))
        return None if found is None else (*found, None)

    def container(self, frame: Frame) -> str:
        """Return the path of the container that a frame encodes; inside a column, that of the column."""
        top, _ = _top(frame, 0)
        if top.stepper is not _by_row:
            return self.prefix(frame)
        table, field = top.keys
        return f"{table.path}/{field}" if table.path else str(field)


def _row_name(table: Table, index: int) -> str:
    """The path of a row by its table and number, where no natural one is known."""
    return f"{own_path('', False, table.columns.cls)}/{index}"


def _apart(memo: dict[int, object], ids: set[int]) -> bool:
    """Return whether none of the ids is known; iterates over the smaller collection."""
    return ids.isdisjoint(memo) if len(memo) < len(ids) else memo.keys().isdisjoint(ids)


def _top(frame: Frame, place: int) -> tuple[Frame, int]:
    """Return the outermost frame that leads to a part, and the index of the part's ancestor in it."""
    while frame.parent is not None:
        frame, place = frame.parent, frame.at
    return frame, place


def _by_row(frame: Frame, place: int) -> str | None:
    """The step from a row to the value of one of its fields."""
    return str(frame.keys[1])


@opens(Row)
def _row(encoder: Any, frame: Frame, value: Row) -> Frame | None:
    table = encoder.table_of(frame, value.columns)
    if table is None:
        return encoder.expand(frame, value)  # type: ignore[no-any-return]
    table.met(value.number, frame, len(frame.cells) - frame.skip)
    frame.cells.append([table.base + value.number])
    return None


@opens(list)
def _list(encoder: Any, frame: Frame, value: list[object]) -> Frame | None:
    """Begin a list as the walk does; a list of nothing but rows is encoded at once."""
    if value and type(value[0]) is Row and set(map(type, value)) == {Row}:
        inner = Frame(frame, ["list"], iter(()), by_index)
        numbers = encoder.row_numbers(inner, value)
        if numbers is not None:
            encoder.add(frame, value, ["list", *([number] for number in numbers)])
            return None
    return plain_list(encoder, frame, value)


@opens(RowList)
def _row_list(encoder: Any, frame: Frame, value: RowList) -> Frame | None:
    inner = Frame(frame, ["list"], iter(()), by_index)
    table = encoder.table_of(inner, value.columns)
    if table is None:
        inner.parts = iter(encoder.fresh(value.rows()))
        return inner
    table.met_many(value.first, value.count, inner)
    encoder.add(frame, value, ["listrun", table.base + value.first, value.count])
    return None


@opens(RowDict)
def _row_dict(encoder: Any, frame: Frame, value: RowDict) -> Frame | None:
    layout = encoder.layout(value.keys)
    inner = Frame(frame, ["dict", layout], iter(()), by_key, value.keys)
    table = None if layout is None else encoder.table_of(inner, value.columns)
    if table is None:
        made = encoder.fresh(dict(zip(value.keys, value.rows(), strict=True)))
        return encoder.open(frame, made)  # type: ignore[no-any-return]
    table.met_many(value.first, value.count, inner)
    first = table.base + value.first
    encoder.add(frame, value, ["dictrun", layout, first, value.count])
    return None

"""Read and write many instances of one class as columns.

If the state of a class is its declared fields and nothing else (`field_access` decides), its
instances are read and written field by field, in loops that CPython runs in C. Anything unexpected is
left to `persist._objects.flatten` and `persist._objects.build`, which handle one instance at a time.
"""

from __future__ import annotations

import keyword
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

from persist import ops
from persist._instances.adapter import ClassAdapter, adapter_of
from persist._instances.compiled_fields import assignments
from persist._instances.undeclared import Undeclared
from persist._runtime.progress import Count
from persist._trees.columns import MANY, Columns, Row
from persist._trees.driver import ATOMS
from persist._upgrade.compiled import SWITCH, compiled
from persist.errors import PersistError
from persist.ops._base import RowError
from persist.registry import Registry
from persist.registry._declarations import Migration
from persist.schema import dotted
from persist.tree import ABSENT, Global, LazyArray, Record

if TYPE_CHECKING:
    from persist._container.reading.decode import Shape

__all__ = [
    "ColumnExtractor",
    "ColumnLoader",
    "NotColumnar",
    "PendingColumn",
    "RecordRows",
    "SeenRows",
    "Short",
    "StepFailure",
    "field_access",
]

PendingColumn = tuple[
    list[Any], str, list[Any]
]  # instances, an attribute, and for each instance its value, which is still to be built


class Short(NamedTuple):
    """Direct access to the fields of a class whose state is its declared fields and nothing else.

    Attributes:
        names: the names of the fields.
        attributes: the attributes that hold them.
        fetch: instance -> the values (the value itself if there is one field).
        sets: True if setting the attributes is all that loading a current state takes.
        undeclared: finds the instances that have attributes to report; None if none ever has.
    """

    names: tuple[str, ...]
    attributes: tuple[str, ...]
    fetch: Callable[[Any], Any]
    sets: bool
    undeclared: Undeclared | None = None


def field_access(adapter: ClassAdapter) -> Short | None:
    """Return the direct access to the fields of a class; None if loading or saving takes more."""
    if not SWITCH.is_on:
        return None
    fields = adapter.layout.leaf.fields
    if not fields or not adapter.profile.is_record_like:
        return None
    undeclared = adapter.undeclared
    if undeclared is not None and undeclared.has_kept:
        return None
    attributes = tuple(field.attribute for field in fields)
    return Short(
        tuple(field.name for field in fields),
        attributes,
        operator.attrgetter(*attributes),
        adapter.profile.is_bare,
        undeclared if undeclared is not None and undeclared.reports else None,
    )


# Objects to rows.


class SeenRows:
    """The rows of the instances seen so far, of all classes.

    Instances that occur in one list only are never looked up. Those added together are therefore
    entered in the dict only at the first lookup.
    """

    __slots__ = ("_known", "_waiting")

    def __init__(self) -> None:
        self._known: dict[int, Row] = {}
        self._waiting: list[tuple[list[object], Columns, int]] = []

    def known(self) -> dict[int, Row]:
        """Return id of an instance -> its row; instances added later are in it after the next call."""
        for objects, columns, first in self._waiting:
            numbers = range(first, first + len(objects))
            parts = zip(repeat(columns), numbers, strict=False)
            rows = map(tuple.__new__, repeat(Row), parts)  # as Row(...) does, in C
            self._known.update(zip(map(id, objects), rows, strict=True))
        self._waiting.clear()
        return self._known

    def note(self, obj: object, row: Row) -> None:
        """Add the row of one instance; the caller keeps it alive, so that its id is not reused."""
        self._known[id(obj)] = row

    def note_all(self, objects: list[object], columns: Columns, first: int) -> None:
        """Add the rows of many instances, which are consecutive."""
        self._waiting.append((objects, columns, first))


class ColumnExtractor:
    """Reads the fields of the instances of one class into columns.

    Args:
        cls: the class, as a tree names it.
        version: the version of its schema.
        short: the access to its fields.
        met: the table to which the row of every instance is added.
    """

    def __init__(self, cls: Global, version: int, short: Short, met: SeenRows) -> None:
        self.columns = Columns(cls, version, short.names)
        self._short = short
        self._met = met
        self._kept: list[object] = []  # keeps them alive, so that ids are not reused
        self._waiting: list[tuple[object, ...]] = []  # values of instances that came one by one
        self._kinds: list[set[type]] = [set() for _ in short.names]  # of the values since then
        self._done = 0

    def take(self, obj: object) -> Row | None:
        """Return the row of an instance that has none yet; None if it is odd or lacks a field."""
        columns = self.columns
        if self._short.undeclared is not None and self._short.undeclared.is_odd(obj):
            return None
        try:
            values = self._short.fetch(obj)
        except AttributeError:
            return None
        self._waiting.append(values if len(self._short.names) > 1 else (values,))
        row = Row(columns, columns.count)
        self._met.note(obj, row)
        columns.count += 1
        self._kept.append(obj)
        return row

    def take_all(self, objects: list[object]) -> int | None:
        """Return the first of their consecutive rows; None if an instance has one, is odd or lacks a field."""
        columns, first, own = self.columns, self.columns.count, list(objects)
        if not _distinct(own):
            return None
        if self._short.undeclared is not None and self._short.undeclared.any_odd(own):
            return None
        if first and not self._met.known().keys().isdisjoint(map(id, own)):
            return None
        try:
            values = _fetched(own, self._short.attributes)
        except AttributeError:
            return None
        self._flush()
        self._add(values)
        columns.count += len(own)
        self._met.note_all(own, columns, first)
        self._kept.append(own)
        return first

    def _flush(self) -> None:
        if self._waiting:
            self._add([list(values) for values in zip(*self._waiting, strict=True)])
            self._waiting.clear()

    def _add(self, values: list[list[object]]) -> None:
        """Add values to the columns; their types are collected now, while they are in the CPU cache."""
        columns = self.columns
        for kinds, own in zip(self._kinds, values, strict=True):
            kinds.update(map(type, own))
        if columns.values[0]:
            for column, own in zip(columns.values, values, strict=True):
                column += own
        else:
            columns.values = values

    def undone(self) -> Iterator[tuple[int, list[object], set[type], int]]:
        """Yield the new values of each field, with its number, their types and their first row."""
        self._flush()
        start, self._done = self._done, self.columns.count
        if start < self._done:
            # Rows added while the caller iterates are for the next call.
            new, self._kinds = self._kinds, [set() for _ in self._kinds]
            for at, values in enumerate(self.columns.values):
                part = values[start : self._done] if start else values[: self._done]
                yield at, part, new[at], start


def _distinct(objects: list[object]) -> bool:
    """True if no object occurs in a list twice."""
    if len(objects) < MANY:
        return len(set(map(id, objects))) == len(objects)
    ids = np.fromiter(map(id, objects), np.uintp, len(objects))
    ids.sort()
    return not bool((ids[1:] == ids[:-1]).any())


def _fetched(objects: list[object], attributes: tuple[str, ...]) -> list[list[object]]:
    """The values of each attribute.

    Raises:
        AttributeError: an instance lacks an attribute.
    """
    if len(objects) < MANY or not all(map(_can_be_written, attributes)):
        return [list(map(operator.attrgetter(name), objects)) for name in attributes]
    # One attribute access in the source for each attribute: CPython's inline caches then hold
    # where this class stores it.
    lists = "".join(f"        [obj.{name} for obj in objects],\n" for name in attributes)
    space: dict[str, Any] = {}
    title = f"attributes of {dotted(type(objects[0]))}"
    compiled(f"def fetch(objects):\n    return [\n{lists}    ]\n", title, space)
    return space["fetch"](objects)  # type: ignore[no-any-return]


def _can_be_written(name: str) -> bool:
    """True if an attribute can be written after a dot in source."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")


# Rows to objects.


class NotColumnar(Exception):
    """The rows cannot be handled as columns: handle them one by one, which reports errors."""


class StepFailure(Exception):
    """A step of a user failed on one row; no row is handled again. Its cause is what was raised.

    Attributes:
        step: the migration.
        names: of the fields of the row, when the step failed.
        row: the number of the row in its table.
        table: the number of the table.
    """

    def __init__(self, step: Migration, names: list[str], row: int) -> None:
        super().__init__(step, names, row)
        self.step, self.names, self.row, self.table = step, names, row, -1


class _Progress:
    """How far the steps of one table are.

    Attributes:
        steps: all of them.
        done: the number of those that are done to all rows.
        results: the columns that functions of users gave, in order, of the steps that are done.
    """

    __slots__ = ("done", "results", "steps")

    def __init__(self, steps: tuple[Migration, ...]) -> None:
        self.steps, self.done = steps, 0
        self.results: list[object] = []


class _Route(NamedTuple):
    """The steps from the rows of a table to instances: class, access to fields, migrations."""

    cls: Any
    short: Short
    steps: tuple[Migration, ...]


class ColumnLoader:
    """Builds instances from the rows of tables.

    It does so only if every record of a file is of a declared class whose state is its fields, and
    is current or can be upgraded by ready-made steps alone.

    Args:
        registry: the registry to use.

    Attributes:
        loose: the values that are still to be built, because they are not plain.
        has_made: True if any instance was made.
        is_whole: True if no value is left to be built.
        progress: number of a table -> the steps that are done to its rows.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tables: dict[int, int] = {}  # id of the first row of a table -> its number
        self.progress: dict[int, _Progress] = {}
        self._routes: dict[int, _Route] = {}
        self.loose: list[PendingColumn] = []
        self.has_made = False
        self.is_whole = False

    def count(self, count: Count) -> None:
        """Count the instances that are filled; only called where anybody listens."""
        fill = self.fill

        def filled(shape: Shape, rows: list[Any], columns: list[Any]) -> None:
            fill(shape, rows, columns)
            count.add(len(rows))

        self.fill = filled  # type: ignore[method-assign]

    def begin(self, shapes: Sequence[Shape]) -> bool:
        """Return whether it builds the instances of these tables."""
        try:
            return bool(shapes) and all(map(self._is_easy, shapes))
        except PersistError:  # no path to the current version: reported for the single record
            return False

    def _is_easy(self, shape: Shape) -> bool:
        cls = self._registry.class_for(shape.cls.qualname)
        if cls is None or not shape.has_fields or shape.maker is not None or shape.version is None:
            return False
        if shape.kind not in ("newobj", "record"):
            return False
        if self._registry.resolve(shape.cls.qualname) != shape.cls.qualname:
            return False
        adapter = adapter_of(cls, self._registry)
        short = field_access(adapter)
        if short is None or not short.sets or adapter.profile.hashes_fields:
            return False  # no instance may be a key before it has its fields
        steps: tuple[Migration, ...] = ()
        if shape.version != adapter.schema.version:
            path = self._registry.path(adapter.schema.name, shape.version, adapter.schema.version)
            steps = tuple(path)
            if shape.version > adapter.schema.version or adapter.profile.converters:
                return False
            if adapter.is_ordered:
                return False
            if not all(step.ops and not step.transfers for step in steps):
                return False
            if not all(_fits_columns(op) for step in steps for op in step.ops):
                return False
        elif set(shape.fields) != set(short.names):
            return False
        self._routes[id(shape)] = _Route(cls, short, steps)
        return True

    def shells(self, shape: Shape, count: int) -> list[object]:
        """Return instances without their attributes."""
        self.has_made = True
        new, cls = object.__new__, self._routes[id(shape)].cls
        made = [new(cls) for _ in range(count)]
        self._tables[id(made[0]) if made else -1] = len(self._tables)
        return made

    def refuse(self) -> None:
        """Raise `NotColumnar`."""
        raise NotColumnar

    def end(self, values: Sequence[Any]) -> None:
        """Set `is_whole` from all the values of a tree."""
        kinds = set(map(type, values))
        arrays = {kind for kind in kinds if issubclass(kind, np.ndarray)}
        self.is_whole = (
            not self.loose
            and kinds.isdisjoint((Record, Global, LazyArray))
            and all(value.flags.writeable for value in values if type(value) in arrays)
        )

    def fill(self, shape: Shape, rows: list[Any], columns: list[Any]) -> None:
        """Set the attributes of instances.

        Raises:
            NotColumnar: they are not the fields that the class declares.
            StepFailure: a step of a user failed.
        """
        route = self._routes[id(shape)]
        found = dict(zip(shape.fields, columns, strict=True))
        if route.steps:
            table = self._tables[id(rows[0]) if rows else -1]
            progress = self.progress[table] = _Progress(route.steps)
            try:
                found = _migrated(found, len(rows), progress)
            except StepFailure as failure:
                failure.table = table
                raise
        if found.keys() != set(route.short.names):
            raise NotColumnar
        values = [_listed(found[name]) for name in route.short.names]
        try:
            _setter(route)(rows, *values)
        except (AttributeError, TypeError) as error:  # a property shadows a field
            raise NotColumnar from error
        for attribute, column in zip(route.short.attributes, values, strict=True):
            if not self._is_made(column):
                self.loose.append((rows, attribute, column))

    @property
    def done(self) -> frozenset[type]:
        """The types of values that are final: nothing is built from them."""
        return ATOMS.union(route.cls for route in self._routes.values())

    def _is_made(self, column: list[Any]) -> bool:
        """True if all values are final, so that none need be visited again."""
        done = self.done
        kinds = set(map(type, column))
        if done.issuperset(kinds):
            return True
        if kinds <= {list, tuple}:  # lists are used as they are
            return done.issuperset(map(type, chain.from_iterable(column)))
        if kinds == {np.ndarray}:
            return all(array.flags.writeable and not array.dtype.hasobject for array in column)
        return False


def _migrated(columns: dict[str, object], count: int, progress: _Progress) -> dict[str, object]:
    """Run ready-made steps on whole columns.

    Raises:
        NotColumnar: a step does not fit columns; those before it are done.
        StepFailure: a function of a user raised, or a step in which one was called cannot go on.
    """
    own = [op for step in progress.steps for op in step.ops if _is_own(op)]
    if len(own) > 1 and not all(map(_has_no_instances, columns.values())):
        raise NotColumnar  # found out before any function is called
    for step in progress.steps:
        results: list[object] = []
        for op in step.ops:
            _refuse_instances(op, columns)
            try:
                columns = op.columns(columns, count)
            except Exception as error:  # user code may raise anything
                is_row = isinstance(error, RowError)
                if not results and not (is_row and _is_own(op)):
                    raise NotColumnar from error
                row = error.row if isinstance(error, RowError) else 0
                raise StepFailure(step, list(columns), row) from (
                    error.__cause__ if is_row else error
                )
            if _is_own(op):
                results.append(columns.get(op.name, ABSENT))  # optional, and not there
        progress.results += results
        progress.done += 1
    return columns


def _is_own(op: object) -> TypeGuard[ops.convert | ops.add]:
    """Whether a step calls a function of a user for each row."""
    if isinstance(op, ops.convert):
        return op.column is None
    return isinstance(op, ops.add) and (op.computed is not None or op.factory is not None)


def _fits_columns(op: ops.Op) -> bool:
    """Whether the result of a step is known by the name of one field, or calls no function of a user."""
    if type(op).columns is ops.Op.columns and not type(op).__module__.startswith("persist.ops"):
        return False
    return not _is_own(op) or not any(sign in op.name for sign in "/*")


class RecordRows:
    """Builds records from the rows of tables, with the steps that `ColumnLoader` has done to them.

    No function of a user is called again: its results are taken from ``progress``. The version of a
    record says how far it is, so that the general path continues there.

    Args:
        progress: of the loader that could not go on.

    Attributes:
        tables: the records of each table.
    """

    def __init__(self, progress: dict[int, _Progress]) -> None:
        self._progress = progress
        self._tables: dict[int, int] = {}  # id of the first record of a table -> its number
        self.tables: list[list[Record]] = []

    def begin(self, shapes: Sequence[Shape]) -> bool:
        """Return True: it builds all records."""
        return True

    def shells(self, shape: Shape, count: int) -> list[Any]:
        """Return records without their states."""
        made = [
            Record(shape.cls, {}, kind=shape.kind, maker=shape.maker, version=shape.version)
            for _ in range(count)
        ]
        self._tables[id(made[0]) if made else -1] = len(self.tables)
        self.tables.append(made)
        return made

    def refuse(self) -> None:
        """Raise `NotColumnar`."""
        raise NotColumnar

    def end(self, values: Sequence[Any]) -> None:
        """Do nothing."""

    def fill(self, shape: Shape, rows: list[Any], columns: list[Any]) -> None:
        """Set the states of records, and their versions."""
        found: dict[str, Any] = dict(zip(shape.fields, columns, strict=True))
        progress = self._progress.get(self._tables[id(rows[0]) if rows else -1])
        if progress is not None and progress.done:
            steps, results = progress.steps[: progress.done], iter(progress.results)
            for op in chain.from_iterable(step.ops for step in steps):
                if _is_own(op):
                    result = next(results)
                    if result is not ABSENT:
                        found[op.name] = result
                else:
                    found = op.columns(found, len(rows))
            for record in rows:
                record.version = steps[-1].to
        values = zip(*map(_listed, found.values()), strict=True) if found else repeat(())
        for record, row in zip(rows, values, strict=False):
            record.state = dict(zip(found, row, strict=True))


def _refuse_instances(op: ops.Op, columns: dict[str, object]) -> None:
    """Refuse steps whose function would get instances, which have no fields yet, instead of records.

    Raises:
        NotColumnar: a function would.
    """
    if isinstance(op, ops.add) and op.computed is not None:
        seen = list(columns.values())
    elif isinstance(op, ops.convert):
        seen = [columns.get(op.name, [])]
    else:
        return
    if not all(map(_has_no_instances, seen)):
        raise NotColumnar


def _has_no_instances(column: Any) -> bool:
    kinds = set() if isinstance(column, np.ndarray) else set(map(type, column))
    if kinds and kinds <= {list, tuple}:
        kinds = set(map(type, chain.from_iterable(column)))
    return kinds <= _SEEN


_SEEN = ATOMS | {np.ndarray, LazyArray}


def _listed(column: Any) -> list[Any]:
    """The values of a column; arrays along its first axis as views."""
    return column if type(column) is list else list(column)


def _setter(route: _Route) -> Callable[..., None]:
    """Compile a loop over instances that sets their attributes."""
    names = route.short.attributes
    values = [f"v{at}" for at in range(len(names))]
    sets = assignments(route.cls, names, values)
    columns = ", ".join(f"c{at}" for at in range(len(names)))
    lines = [
        f"def fill(objects, {columns}):",
        f"    for self, {', '.join(values)} in zip(objects, {columns}):",
        *(f"        {line}" for line in sets),
    ]
    space: dict[str, Any] = {"PUT": object.__setattr__}
    compiled("\n".join(lines), f"rows of {dotted(route.cls)}", space)
    return space["fill"]  # type: ignore[no-any-return]

"""Many instances of one class at once: taken apart into columns, and made of them.

Where the state of a class is its declared fields and nothing else, an instance is nothing but a few
attributes: `field_access` says so. Then the instances of a class are read and written field by
field, at the speed of loops that CPython runs in C; whatever is not as expected is done one by one,
by `persist._objects.flatten` and `persist._objects.build`.
"""

from __future__ import annotations

import keyword
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from persist import ops
from persist._instances.adapter import ClassAdapter, adapter_of
from persist._trees.columns import MANY, Columns, Row
from persist._trees.driver import ATOMS
from persist._upgrade.compiled import compiled
from persist.errors import PersistError
from persist.registry import Registry
from persist.registry._declarations import Migration
from persist.schema import dotted
from persist.tree import Global, LazyArray, Record

if TYPE_CHECKING:
    from persist._container.reading.decode import Shape

__all__ = [
    "ColumnExtractor",
    "ColumnLoader",
    "NotColumnar",
    "PendingColumn",
    "SeenRows",
    "Short",
    "field_access",
]

PendingColumn = tuple[
    list[Any], str, list[Any]
]  # instances, an attribute, the value of each that is yet to be made


class Short(NamedTuple):
    """The short way of a class whose state is its declared fields and nothing else.

    Attributes:
        names: of the fields.
        attributes: where they are on an instance.
        fetch: instance -> their values (the value itself where there is one field).
        sets: whether a state of today is loaded by setting them, and nothing else is to be done.
    """

    names: tuple[str, ...]
    attributes: tuple[str, ...]
    fetch: Callable[[Any], Any]
    sets: bool


def field_access(road: ClassAdapter) -> Short | None:
    """How a state is taken and set at one go, where nothing else is to be minded."""
    layout = road.layout
    odd = layout.codec or layout.leaf.open or layout.doubtful is not None
    if len(layout.parts) != 1 or odd or not road.plain or road.checked:
        return None
    fields = layout.leaf.fields
    if not fields or road.own_reduce is not None or hasattr(road.cls, "__getattr__"):
        return None
    attributes = tuple(field.attribute for field in fields)
    return Short(
        tuple(field.name for field in fields),
        attributes,
        operator.attrgetter(*attributes),
        not road.completes and not layout.resources and road.loaded is None,
    )


# Taking apart.


class SeenRows:
    """The rows of instances that were met, of all classes.

    Where instances stand in nothing but one list, nobody asks for the row of one; so what came
    together is noted one by one only when the first is asked for.
    """

    __slots__ = ("_known", "_waiting")

    def __init__(self) -> None:
        self._known: dict[int, Row] = {}
        self._waiting: list[tuple[list[Any], Columns, int]] = []

    def known(self) -> dict[int, Row]:
        """Return id of an instance -> its row; what is met later is in it after the next call."""
        for objects, columns, first in self._waiting:
            numbers = range(first, first + len(objects))
            parts = zip(repeat(columns), numbers, strict=False)
            rows = map(tuple.__new__, repeat(Row), parts)  # as Row(...) does, in C
            self._known.update(zip(map(id, objects), rows, strict=True))
        self._waiting.clear()
        return self._known

    def note(self, obj: Any, row: Row) -> None:
        """Note the row of one; it stays alive elsewhere, so that its id stays its own."""
        self._known[id(obj)] = row

    def note_all(self, objects: list[Any], columns: Columns, first: int) -> None:
        """Note the rows of many, which follow each other."""
        self._waiting.append((objects, columns, first))


class ColumnExtractor:
    """Takes the instances of one class apart.

    Args:
        cls: as a tree names it.
        version: of its schema.
        short: its short way.
        met: every instance that is taken is noted there.
    """

    def __init__(self, cls: Global, version: int, short: Short, met: SeenRows) -> None:
        self.columns = Columns(cls, version, short.names)
        self._short = short
        self._met = met
        self._kept: list[Any] = []  # so that ids stay theirs
        self._waiting: list[tuple[Any, ...]] = []  # values of instances that were met one by one
        self._kinds: list[set[type]] = [set() for _ in short.names]  # of the values since then
        self._done = 0

    def take(self, obj: Any) -> Row | None:
        """Return the row of an instance that was not met before; None where it lacks a field."""
        columns = self.columns
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

    def take_all(self, objects: list[Any]) -> int | None:
        """Return the first of their rows, which follow each other; None where they cannot."""
        columns, first, own = self.columns, self.columns.count, list(objects)
        if not _distinct(own):
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

    def _add(self, values: list[list[Any]]) -> None:
        """Add to the columns; their types are best looked at while they are in the cache."""
        columns = self.columns
        for kinds, own in zip(self._kinds, values, strict=True):
            kinds.update(map(type, own))
        if columns.values[0]:
            for column, own in zip(columns.values, values, strict=True):
                column += own
        else:
            columns.values = values

    def undone(self) -> Iterator[tuple[int, list[Any], set[type], int]]:
        """Yield the new values of each field, with its number, their types and their first row."""
        self._flush()
        start, self._done = self._done, self.columns.count
        if start < self._done:
            # What comes in while this runs is for the next time.
            new, self._kinds = self._kinds, [set() for _ in self._kinds]
            for at, values in enumerate(self.columns.values):
                part = values[start : self._done] if start else values[: self._done]
                yield at, part, new[at], start


def _distinct(objects: list[Any]) -> bool:
    """Whether no object stands in a list twice."""
    if len(objects) < MANY:
        return len(set(map(id, objects))) == len(objects)
    ids = np.fromiter(map(id, objects), np.uintp, len(objects))
    ids.sort()
    return not bool((ids[1:] == ids[:-1]).any())


def _fetched(objects: list[Any], attributes: tuple[str, ...]) -> list[list[Any]]:
    """The values of each attribute.

    Raises:
        AttributeError: one lacks one.
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
    """Whether an attribute can be said in a line of Python."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")


# Putting together.


class NotColumnar(Exception):
    """Something is not as it should be: all is to be done one by one, where it is told."""


class _Way(NamedTuple):
    """How the rows of a table become instances."""

    cls: Any
    short: Short
    steps: tuple[Migration, ...]


class ColumnLoader:
    """Makes instances of today of the rows of tables.

    It does so only where every record of a file is of a declared class whose state is its fields,
    and of today or brought there by ready-made steps.

    Args:
        registry: what is known.

    Attributes:
        loose: what is still to be made of the values that are no plain ones.
        has_made: whether it has made any instances.
        is_whole: whether nothing more need be made of any value.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._ways: dict[int, _Way] = {}
        self.loose: list[PendingColumn] = []
        self.has_made = False
        self.is_whole = False

    def begin(self, shapes: Sequence[Shape]) -> bool:
        """Whether it makes the instances."""
        try:
            return bool(shapes) and all(map(self._is_easy, shapes))
        except PersistError:  # no way leads to today: told one by one
            return False

    def _is_easy(self, shape: Shape) -> bool:
        cls = self._registry.class_for(shape.cls.qualname)
        if cls is None or not shape.has_fields or shape.maker is not None or shape.version is None:
            return False
        if shape.kind not in ("newobj", "record") or _hashes_fields(cls):
            return False
        if self._registry.resolve(shape.cls.qualname) != shape.cls.qualname:
            return False
        road = adapter_of(cls, self._registry)
        short = field_access(road)
        if short is None or not short.sets:
            return False
        steps: tuple[Migration, ...] = ()
        if shape.version != road.schema.version:
            path = self._registry.path(road.schema.name, shape.version, road.schema.version)
            steps = tuple(path)
            if shape.version > road.schema.version or road.converters:
                return False
            if not all(step.ops for step in steps):
                return False
        elif set(shape.fields) != set(short.names):
            return False
        self._ways[id(shape)] = _Way(cls, short, steps)
        return True

    def shells(self, shape: Shape, count: int) -> list[Any]:
        """Return instances without their attributes."""
        self.has_made = True
        new, cls = object.__new__, self._ways[id(shape)].cls
        return [new(cls) for _ in range(count)]

    def refuse(self) -> None:
        """Raise `NotColumnar`."""
        raise NotColumnar

    def end(self, values: Sequence[Any]) -> None:
        """Note whether anything is still to be made of the values of a tree."""
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
            NotByColumns: they are not what the class declares.
        """
        way = self._ways[id(shape)]
        found = dict(zip(shape.fields, columns, strict=True))
        if way.steps:
            found = _migrated(found, way.steps, len(rows))
        if found.keys() != set(way.short.names):
            raise NotColumnar
        values = [_listed(found[name]) for name in way.short.names]
        try:
            _setter(way)(rows, *values)
        except (AttributeError, TypeError) as error:  # a property in the place of a field
            raise NotColumnar from error
        for attribute, column in zip(way.short.attributes, values, strict=True):
            if not self._is_made(column):
                self.loose.append((rows, attribute, column))

    @property
    def done(self) -> frozenset[type]:
        """The types of values that are what they are to be: nothing need be made of them."""
        return ATOMS.union(way.cls for way in self._ways.values())

    def _is_made(self, column: list[Any]) -> bool:
        """Whether all values are what they are to be, so that none need be looked at again."""
        done = self.done
        kinds = set(map(type, column))
        if done.issuperset(kinds):
            return True
        if kinds <= {list, tuple}:  # lists stay the lists that they are
            return done.issuperset(map(type, chain.from_iterable(column)))
        if kinds == {np.ndarray}:
            return all(array.flags.writeable and not array.dtype.hasobject for array in column)
        return False


def _hashes_fields(cls: type) -> bool:
    """Whether a hash of the user's may look at fields, so that a row must not be a key too early."""
    own: Any = cls.__hash__
    return own is not None and own is not object.__hash__


def _migrated(columns: dict[str, Any], steps: Sequence[Migration], count: int) -> dict[str, Any]:
    """Run ready-made steps on whole columns.

    Raises:
        NotByColumns: a step fails; one by one, it is told where.
    """
    for step in steps:
        for op in step.ops:
            _refuse_instances(op, columns)
            try:
                columns = op.columns(columns, count)
            except Exception as error:  # whatever a stranger's function raises
                raise NotColumnar from error
    return columns


def _refuse_instances(op: ops.Op, columns: dict[str, Any]) -> None:
    """Let no function of a step see instances, which are not filled yet: it is to see records.

    Raises:
        NotByColumns: one would.
    """
    if isinstance(op, ops.add) and op.computed is not None:
        seen = list(columns.values())
    elif isinstance(op, ops.convert):
        seen = [columns.get(op.name, [])]
    else:
        return
    for column in seen:
        kinds = set() if isinstance(column, np.ndarray) else set(map(type, column))
        if kinds and kinds <= {list, tuple}:
            kinds = set(map(type, chain.from_iterable(column)))
        if not kinds <= _SEEN:
            raise NotColumnar


_SEEN = ATOMS | {np.ndarray, LazyArray}


def _listed(column: Any) -> list[Any]:
    """The values of a column; arrays along its first axis as views."""
    return column if type(column) is list else list(column)


def _setter(way: _Way) -> Callable[..., None]:
    """A loop over instances that sets their attributes, written out and compiled.

    Where a class has no ``__setattr__`` of its own, an assignment is the quickest; elsewhere (a
    frozen class) what `object` does.
    """
    names = way.short.attributes
    values = [f"v{at}" for at in range(len(names))]
    is_plain = way.cls.__setattr__ is object.__setattr__ and all(
        _can_be_written(name) for name in names
    )
    sets = [
        f"obj.{name} = {value}" if is_plain else f"put(obj, {name!r}, {value})"
        for name, value in zip(names, values, strict=True)
    ]
    columns = ", ".join(f"c{at}" for at in range(len(names)))
    lines = [
        f"def fill(objects, {columns}):",
        f"    for obj, {', '.join(values)} in zip(objects, {columns}):",
        *(f"        {line}" for line in sets),
    ]
    space: dict[str, Any] = {"put": object.__setattr__}
    compiled("\n".join(lines), f"rows of {dotted(way.cls)}", space)
    return space["fill"]  # type: ignore[no-any-return]

"""The time capsule of a file: its classes' layouts and declarative steps as data, and what they lift.

A program may know less of a class than the file: no class at all, an older version of it, or the
current version and not all of the steps. Then the records are brought by the file's own steps to
a version that the program knows, or to the newest that the file knows. The steps are data
(`persist.ops.to_json`), of a fixed list of kinds; nothing of a file is run. A capsule helps where it
can: whatever is wrong with it is reported, and the records stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import attrs
import numpy as np

from persist import ops
from persist._envelope import CODEC, FIELDS, ITEMS, LARGEST, Layer, seal, unwrap, wrap
from persist._trees.copier import Copier
from persist.errors import PersistError, SchemaError
from persist.ops import Op
from persist.registry import Registry
from persist.registry._declarations import Migration
from persist.tree import LazyArray, Record, at_path

__all__ = ["KINDS", "Capsule", "Lifted", "is_lifting", "lift", "read_capsule"]

# Kinds of steps that a file may bring. `delete` puts something else in the place of an object.
KINDS = frozenset(
    (
        "unpack", "pack", "rename", "add", "drop", "convert", "astype", "transpose", "reshape", "split", "merge",
        "nest", "flatten", "scale", "replace", "stack", "unstack", "move", "rename_column", "add_column", "drop_column",
    )
)  # fmt: skip
_CONVERTERS = frozenset(
    ("bool", "int", "float", "complex", "str", "list", "tuple", "dict", "set", "numpy.asarray")
)
_MOST_SCHEMAS, _MOST_STEPS, _MOST_OPS, _MOST_FIELDS = 1_000, 10_000, 1_000, 100_000
_MOST_OF_ONE = 500  # steps of one schema
_MOST_VALUES = 100_000  # of a state, that are looked at to know its size
_MOST_FAILURES = 8
_MOST_BYTES = 4096  # of one element of an array
_GROWS = {
    "convert": 16,
    "astype": 1,
    "add": 1,
    "add_column": 1,
}  # how many times its size a step may make


class LeftOut(NamedTuple):
    """A step that a file names and cannot bring.

    Attributes:
        why: in words.
        is_transfer: whether it hands fields from one class to another, which concerns both.
    """

    why: str
    is_transfer: bool


@attrs.define
class Capsule:
    """What a file says of its classes.

    Attributes:
        registry: the steps.
        newest: schema -> the newest version.
        fields: schema -> version -> the names of its fields, where they are declared.
        names: dotted name of a class, or name of a schema -> the schema.
        left_out: schema -> (from, to) of a step that the file cannot bring -> why, in words.
        faults: what of the capsule cannot be used, in words.
    """

    registry: Registry
    newest: dict[str, int] = attrs.field(factory=dict)
    left_out: dict[str, dict[tuple[int, int], LeftOut]] = attrs.field(factory=dict)
    fields: dict[str, dict[int, frozenset[str]]] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)
    faults: list[str] = attrs.field(factory=list)


@attrs.define
class Lifted:
    """What was done by the steps of a capsule.

    Attributes:
        done: class -> what was done to its records, in words.
        failed: what could not be done, in words, once each.
        lost: what an older version cannot hold, in words.
    """

    done: dict[str, str] = attrs.field(factory=dict)
    failed: dict[str, None] = attrs.field(factory=dict)
    lost: list[str] = attrs.field(factory=list)


def read_capsule(said: object) -> Capsule | None:
    """Return the capsule that a manifest holds; None if it holds none.

    It comes from the file: what is wrong with it is listed, and left out.
    """
    if not isinstance(said, dict):
        return None
    found = Capsule(Registry("capsule"))
    schemas = said.get("schemas")
    if not isinstance(schemas, list) or len(schemas) > _MOST_SCHEMAS:
        found.faults.append("its list of schemas is none, or too long")
        return found
    budget = [_MOST_STEPS]
    for one in schemas:
        name = one.get("name") if isinstance(one, dict) else None
        if type(name) is not str or not name or name in found.newest:
            found.faults.append(f"a schema has the name {str(name)[:100]!r}")
            continue
        try:
            _read_schema(name, one, found, budget)
        except _Unfit as error:
            found.faults.append(f"schema {name[:100]!r}: {error}")
            found.registry._migrations.pop(name, None)
            found.newest.pop(name, None)
            found.left_out.pop(name, None)
    return found


class _Unfit(Exception):
    """A part of a capsule is not what it must be."""


def _read_schema(name: str, said: dict[str, object], found: Capsule, budget: list[int]) -> None:
    newest = _version(said.get("version"))
    layouts = said.get("layouts", {})
    if not isinstance(layouts, dict) or len(layouts) > _MOST_STEPS:
        raise _Unfit("its layouts are no table")
    fields: dict[int, frozenset[str]] = {}
    for number, layout in layouts.items():
        names = layout.get("fields") if isinstance(layout, dict) else None
        if type(names) is not list or len(names) > _MOST_FIELDS or not number.isdecimal():
            raise _Unfit(f"its layout of version {number[:20]!r} lists no fields")
        if layout.get("kind") == "fields":
            fields[_version(int(number[:12]))] = frozenset(map(_field_name, names))
    steps = said.get("steps", [])
    if type(steps) is not list or len(steps) > _MOST_OF_ONE:
        raise _Unfit(f"its steps are no list, or more than {_MOST_OF_ONE}")
    budget[0] -= len(steps)
    if budget[0] < 0:
        raise _Unfit(f"there are more than {_MOST_STEPS:,} steps")
    for step in steps:
        _read_step(name, step, newest, found)
    found.newest[name], found.fields[name] = newest, fields
    aliases = said.get("aliases", [])
    for alias in [name, said.get("class"), *(aliases if type(aliases) is list else ())]:
        if type(alias) is str:
            found.names.setdefault(alias, name)


def _field_name(row: object) -> str:
    name = row[0] if isinstance(row, list) and row else row
    if type(name) is not str:
        raise _Unfit("a field has no name")
    return name


def _version(number: object) -> int:
    if type(number) is not int or not 1 <= number <= LARGEST:
        raise _Unfit(f"{str(number)[:40]} is no version")
    return number


def _read_step(name: str, said: object, newest: int, found: Capsule) -> None:
    if not isinstance(said, dict):
        raise _Unfit("a step is no object")
    start, to = _version(said.get("from")), _version(said.get("to"))
    if not start < to <= newest:
        raise _Unfit(f"a step leads from version {start} to {to}, and the newest is {newest}")
    listed = said.get("ops")
    left_out = found.left_out.setdefault(name, {})
    if listed is None:
        left_out[start, to] = LeftOut("is a function, and a file holds no code", False)
        return
    if type(listed) is list and any(_is_transfer(one) for one in listed):
        why = "hands fields from one class to another, and a file lifts the state of one"
        left_out[start, to] = LeftOut(why, True)
        return
    if type(listed) is not list or not 0 < len(listed) <= _MOST_OPS:
        raise _Unfit(f"the step {start} to {to} is no list of ready-made steps")
    made = tuple(_op(one, f"the step {start} to {to}") for one in listed)
    if (start, to) in found.registry._migrations.get(name, {}):
        raise _Unfit(f"there are two steps from version {start} to {to}")
    found.registry.migration(name, start, *made, to=to)


def _is_transfer(said: object) -> bool:
    return isinstance(said, dict) and said.get("op") in ("to_base", "from_base")


def _op(said: Any, where: str) -> Op:
    kind = said.get("op") if isinstance(said, dict) else None
    if type(kind) is not str or kind not in KINDS:
        raise _Unfit(f"{where} is of a kind that a file must not bring: {str(kind)[:40]!r}")
    try:
        op: Op = ops.from_json(json.dumps(said))
    except Exception as error:  # data of a stranger may be wrong in any way
        raise _Unfit(
            f"{where} cannot be made ({type(error).__name__}: {str(error)[:200]})"
        ) from None
    for value in said.values():
        if (
            isinstance(value, dict)
            and "$function" in value
            and value["$function"] not in _CONVERTERS
        ):
            raise _Unfit(f"{where} names the function {str(value['$function'])[:40]!r}")
    for dtype in (getattr(op, "dtype", None), getattr(op, "was", None)):
        if isinstance(dtype, np.dtype) and (dtype.hasobject or dtype.itemsize > _MOST_BYTES):
            raise _Unfit(f"{where} makes elements of {dtype.itemsize:,} bytes, or objects")
    return op


# Lifting.


def is_lifting(capsule: Capsule, registry: Registry) -> bool:
    """Whether a program knows less of any class than a file: a version or a step."""
    for name, newest in capsule.newest.items():
        try:
            schema = registry.schema_for(registry.resolve(name))
        except SchemaError:  # reported for the first record of the class
            continue
        if schema is None or schema.version != newest:
            return True
        starts = {start for start, _ in capsule.registry.migrations(name)}
        starts |= {start for start, _ in capsule.left_out.get(name, ())}
        if any(not _has_path(registry, schema.name, start, newest) for start in starts):
            return True
    return False


def _has_path(registry: Registry, name: str, start: int, to: int) -> bool:
    try:
        registry.path(name, start, to)
    except SchemaError:
        return False
    return True


def lift(tree: object, capsule: Capsule, registry: Registry, budget: int) -> tuple[object, Lifted]:
    """Return a copy of a tree whose records are of versions that a program knows, and what was done.

    Args:
        tree: as it is in the file; it is not changed.
        capsule: of the file.
        registry: what the program knows.
        budget: bytes that the steps may make.
    """
    lifted, excluded = Lifted(), set[str]()
    left = [budget]
    while (
        True
    ):  # a step that fails may have changed what it was given: begin anew without its schema
        lifted.done, lifted.lost = {}, []
        run = _Lift(capsule, registry, left, lifted, excluded)
        try:
            return Copier(run.record).copy(tree), lifted
        except _Failure as failure:
            lifted.failed[f"schema {failure.schema!r}: {failure}"] = None
            excluded.add(failure.schema)
        if len(excluded) > _MOST_FAILURES:
            lifted.done, lifted.lost = {}, []
            return tree, lifted


class _Failure(Exception):
    """The steps of a schema cannot be done."""

    def __init__(self, schema: str, text: str) -> None:
        super().__init__(text)
        self.schema = schema


class _Lift:
    """One run over a tree."""

    def __init__(
        self,
        capsule: Capsule,
        registry: Registry,
        left: list[int],
        lifted: Lifted,
        excluded: set[str],
    ) -> None:
        self._capsule, self._registry, self._lifted = capsule, registry, lifted
        self._left, self._excluded = left, excluded
        self._goals: dict[tuple[str, int], tuple[int, list[Migration]]] = {}
        self._memos: dict[bool, dict[object, object]] = {True: {}, False: {}}

    def record(self, record: Record, path: object) -> Record:
        """Lift one record in place.

        Raises:
            _Failure: it cannot be done.
        """
        envelope = unwrap(record.state)
        if envelope is None:
            self._alone(record, record.cls.qualname, path)
        else:
            self._layers(record, envelope, path)
        return record

    def _schema(self, name: str) -> str | None:
        found = self._capsule.names.get(name)
        return None if found in self._excluded else found

    def _alone(self, record: Record, name: str, path: object) -> None:
        schema = self._schema(name)
        if schema is None or record.version is None:
            return
        goal, steps = self._goal(schema, record.version)
        if goal != record.version:
            state = self._moved(schema, record.version, goal, steps, record.state, path)
            self._note(name, schema, record.version, goal)
            record.state, record.version = state, goal
        self._report_left_out(schema, goal)

    def _layers(self, record: Record, envelope: Any, path: Any) -> None:
        layers, values = [], []
        is_changed = False
        if self._waits_for_transfer(envelope.layers):
            return
        for layer, value in zip(envelope.layers, envelope.values, strict=True):
            schema = self._schema(layer.schema)
            goal = layer.version
            steps: list[Any] = []
            if schema is not None and layer.kind != ITEMS:
                goal, steps = self._goal(schema, layer.version)
                self._report_left_out(schema, goal)
            if schema is None or goal == layer.version:
                layers.append(layer)
                values.append(value)
                continue
            if layer.kind not in (FIELDS, CODEC):
                raise _Failure(schema, "its state is inside that of a subclass")
            if layer.kind == FIELDS:
                value = dict(zip(layer.names, value, strict=True))
            value = self._moved(schema, layer.version, goal, steps, value, path)
            self._note(record.cls.qualname, schema, layer.version, goal)
            is_changed = True
            if isinstance(value, dict) and layer.kind == FIELDS:
                layers.append(Layer(layer.schema, goal, "", FIELDS, tuple(value)))
                values.append(tuple(value.values()))
            else:
                names = len(value) if type(value) is tuple else None
                layers.append(Layer(layer.schema, goal, "", CODEC, names))
                values.append(value)
        if is_changed:
            record.state = wrap(seal(layers), values)

    def _waits_for_transfer(self, layers: Iterable[Layer]) -> bool:
        """Whether classes of a record exchange fields in a step that the file cannot bring.

        The order of the steps of all of them depends on it: lifted without it, the record would be
        a mixture of versions that no program ever wrote.
        """
        versions = {self._schema(one.schema): one.version for one in layers if one.kind != ITEMS}
        known = {name: version for name, version in versions.items() if name is not None}
        if all(self._goal(name, version)[0] == version for name, version in known.items()):
            for name, version in known.items():
                self._report_left_out(name, version)
            return True  # there is nothing to lift
        waits = False
        for name, version in known.items():
            for (start, to), left in self._left_out(name, version):
                if left.is_transfer:
                    self._say_left_out(name, start, to, left)
                    waits = True
        return waits

    def _left_out(self, name: str, version: int) -> list[tuple[tuple[int, int], LeftOut]]:
        """The steps left out between a version and that of the program, or the newest of the file."""
        schema = self._registry.schema_for(self._registry.resolve(name))
        wanted = self._capsule.newest[name] if schema is None else schema.version
        low, high = sorted((version, wanted))
        listed = sorted(self._capsule.left_out.get(name, {}).items())
        return [(step, left) for step, left in listed if low <= step[0] and step[1] <= high]

    def _report_left_out(self, name: str, version: int) -> None:
        """Say which steps are missing from a version on; where the program has the class, the load fails."""
        if self._registry.schema_for(self._registry.resolve(name)) is not None:
            return
        for (start, to), left in self._left_out(name, version):
            self._say_left_out(name, start, to, left)

    def _say_left_out(self, name: str, start: int, to: int, left: LeftOut) -> None:
        self._lifted.failed[f"schema {name!r}: its step {start} → {to} {left.why}"] = None

    def _note(self, name: str, schema: str, start: int, goal: int) -> None:
        self._lifted.done.setdefault(
            name, f"{schema} {start} → {goal} by the steps that the file itself holds"
        )

    def _goal(self, name: str, version: int) -> tuple[int, list[Migration]]:
        """The version to which a state is brought, and the steps of the file that lead there."""
        key = (name, version)
        if key not in self._goals:
            self._goals[key] = self._found_goal(name, version)
        return self._goals[key]

    def _found_goal(self, name: str, version: int) -> tuple[int, list[Migration]]:
        steps = self._capsule.registry
        schema = self._registry.schema_for(self._registry.resolve(name))
        if schema is None:  # to the newest that can be reached
            ends = {to for _, to in steps.migrations(name) if to > version}
            goals: Iterable[int] = sorted(ends, reverse=True)
        elif version <= schema.version:
            if _has_path(self._registry, schema.name, version, schema.version):
                return version, []
            ends = {to for _, to in steps.migrations(name) if version < to <= schema.version}
            goals = [
                to
                for to in sorted(ends)
                if _has_path(self._registry, schema.name, to, schema.version)
            ]
        else:
            starts = sorted({start for start, _ in steps.migrations(name)}, reverse=True)
            goals = [
                start
                for start in starts
                if start <= schema.version
                and _has_path(self._registry, schema.name, start, schema.version)
            ]
        for goal in goals:
            if _has_path(steps, name, version, goal):
                return goal, steps.path(name, version, goal)
        return version, []

    def _moved(
        self, name: str, version: int, goal: int, steps: list[Migration], state: object, path: Any
    ) -> Any:
        """A state after the steps of the file, in either direction."""
        before = set(state) if isinstance(state, dict) else set()
        is_up = goal > version
        memo = self._memos[is_up]
        for step in steps if is_up else reversed(steps):
            try:
                if is_up:
                    for op in step.ops:
                        self._spend(op, state)
                        state = op.apply(state, memo)
                else:
                    for op in reversed(step.ops):
                        back = op.inverse()
                        self._lifted.lost += [
                            f"{at_path(path())}: {one}" for one in op.losses(state)
                        ]
                        self._spend(back, state)
                        state = back.apply(state, memo)
            except Exception as error:  # steps of a stranger, on a state of a stranger
                said = (
                    error.what
                    if isinstance(error, PersistError)
                    else f"{type(error).__name__}: {error}"
                )
                raise _Failure(
                    name, f"its step {step.start} → {step.to} fails: {said[:300]}"
                ) from None
        known = self._capsule.fields[name].get(goal)
        if known is not None and isinstance(state, dict):
            new = [key for key in state if key not in before and key not in known]
            if new:
                raise _Failure(
                    name, f"its steps give {str(new[0])[:40]!r}, which version {goal} does not have"
                )
        return state

    def _spend(self, op: Op, state: object) -> None:
        """Count what a step may make against the budget, before it is done."""
        kind = type(op).__name__
        cost = 64
        if kind in ("rename", "drop", "unpack", "pack", "move", "nest", "flatten"):
            cost += len(state) if isinstance(state, dict | tuple | list) else 0
        else:
            items, size = _size_of(state)
            size += _size_of(getattr(op, "value", None))[1]
            dtype = getattr(op, "dtype", None)
            if isinstance(dtype, np.dtype):
                size = max(size, items * dtype.itemsize)
            cost += size * _GROWS.get(kind, 1)
        self._left[0] -= cost
        if self._left[0] < 0:
            raise _Unfit("its steps make more than a file of this size may (limits={'total': ...})")


def _size_of(state: object) -> tuple[int, int]:
    """The elements of the arrays in a state, and the bytes of all values, as far as they are looked at."""
    items = size = 0
    todo, seen = [state], 0
    while todo and seen < _MOST_VALUES:
        value = todo.pop()
        seen += 1
        if isinstance(value, np.ndarray | LazyArray):
            items, size = items + int(value.size), size + int(value.nbytes)
        elif isinstance(value, str | bytes | bytearray):
            size += len(value)
        elif isinstance(value, dict):
            todo += [*value.values()]
            size += 64 * len(value)
        elif isinstance(value, list | tuple | set | frozenset):
            todo += [*value]
            size += 16 * len(value)
    return items, size

"""Downgrade records to an older version, and report what that version cannot hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import attrs

from persist import ops
from persist._envelope import CODEC, FIELDS, INSIDE, Layer, seal, wrap
from persist._trees.copier import Copier
from persist._upgrade.losses import lost_by
from persist._upgrade.running import run_steps
from persist._upgrade.state import freeze, state_of
from persist._upgrade.target import InstanceUpgrade, TargetLayout, TargetPart, target_layout
from persist._upgrade.transfers import ordered
from persist._upgrade.versions import plan_instance
from persist.errors import MigrationFailedError, PersistError, SchemaError, UnknownSchemaError
from persist.ops import Instead
from persist.ops._address import is_alike, short
from persist.registry import Registry, default_registry
from persist.schema import Schema
from persist.tree import ABSENT, Global, Record, at_path

__all__ = ["Downgraded", "downgrade_record", "downgrade_tree"]


class Downgraded(NamedTuple):
    """A downgraded record and its losses.

    Attributes:
        value: a `Record` of the older version.
        losses: one text for each value that is lost.
    """

    value: Record
    losses: list[str]


def downgrade_record(
    record: Record, to: int | Mapping[str, int], registry: Registry | None = None
) -> Downgraded:
    """Return a record of the current version as an older version wrote it, and what is lost.

    Args:
        record: of a known schema, at its current version; it is not changed.
        to: the version of its own schema, or schema name -> version, which may name the schemas
            of its bases too.
        registry: the registry to use; None is the default one.

    Raises:
        UnknownSchemaError: its class is not registered.
        IrreversibleError: a step on the path has no inverse.
        MissingMigrationError: there is no path to that version.
    """
    registry = default_registry if registry is None else registry
    schema = registry.schema_for(registry.resolve(record.cls.qualname))
    if schema is None:
        raise UnknownSchemaError(
            f"the class {record.qualname!r} is not known.",
            remedy="Register it with persist.register, or inherit persist.Versioned.",
            schema=record.qualname,
        )
    wanted = {schema.name: to} if isinstance(to, int) else dict(to)
    _refuse_wanted(wanted, schema, registry)
    copier = Copier(lambda made, path: made)
    older: Record = copier.copy(record)
    losses: list[str] = []
    made = _Downgrade(registry, losses).back(older, schema, wanted)
    return Downgraded(made, losses)


def downgrade_tree(
    tree: object,
    versions: Mapping[str, int],
    registry: Registry,
    *,
    is_unversioned: bool = False,
    live: Callable[[Any, Callable[[Any], bool]], object] | None = None,
    losses: list[str] | None = None,
    class_paths: Mapping[str, str] | None = None,
) -> object:
    """Return a copy of a tree with the records of these schemas as an older version wrote them.

    Each record is downgraded once, and shared objects stay shared: records, lists, dicts and arrays.
    A record is downgraded before the records inside it, the reverse of the order of an upgrade, so
    that each step gets what its upgrade returned.

    Args:
        tree: in the current layout; it is not changed.
        versions: schema name -> version; applies to subclasses too.
        registry: the registry to use.
        is_unversioned: write no versions, and name classes by their import path, for a pickle that older
            code without persist reads.
        class_paths: with ``is_unversioned``, schema name -> dotted name of the class in that code, where
            it is not that of today.
        live: replaces instances that steps made by records (`persist._objects.inert.Inert`).
        losses: the list to which what is lost is added, with the paths; None to leave that out.

    Raises:
        SchemaError: as `downgrade_record`, with the path.
    """
    if losses is not None:
        reported: list[tuple[str, str]] = []
        older = _downgraded(tree, versions, registry, False, live, reported, {})
        losses += [f"{path or 'the root'}: {text}" for path, text in reported]
        known = {_place(path, text.partition(": ")[2]) for path, text in reported}
        losses += [
            f"{path or 'the root'}: {text}"
            for path, text in lost_by(tree, older, registry, live=live, known=known)
        ]
    return _downgraded(tree, versions, registry, is_unversioned, live, None, class_paths or {})


def _place(path: str, text: str) -> str:
    """The path of the field that the loss of a record names."""
    name = _name_in(text)
    return f"{path}/{name}" if path else name


def _downgraded(
    tree: object,
    versions: Mapping[str, int],
    registry: Registry,
    is_unversioned: bool,
    live: Callable[[Any, Callable[[Any], bool]], object] | None,
    reported: list[tuple[str, str]] | None,
    class_paths: Mapping[str, str],
) -> object:
    """A downgraded copy; the losses that its steps report themselves are added with their paths."""
    noted: list[tuple[Record, Callable[[], str]]] = []

    def note(made: Record, path: Callable[[], str]) -> Record:
        noted.append((made, path))
        return made

    def moved(value: Global) -> Global:
        schema = registry.schema_for(registry.resolve(value.qualname))
        is_moved = schema is not None and schema.name in class_paths
        return (_named_then(schema, class_paths) or value) if is_moved else value

    copier = Copier(note, moved if class_paths else None)
    result = copier.copy(tree)
    losses: list[str] = []
    downgrade = _Downgrade(registry, None if reported is None else losses, is_alone=False)
    todo = noted  # the last is the outermost
    known: dict[str, tuple[Schema | None, dict[str, int]]] = {}
    while todo:
        record, path = todo.pop()
        name = record.qualname
        if name not in known:
            known[name] = _wanted_of(name, versions, registry)
        schema, wanted = known[name]
        if schema is not None and wanted and record.version is not None:
            downgrade.path = path
            try:
                made = downgrade.back(record, schema, wanted)
                if live is not None:
                    made.state = live(made.state, copier.is_own)
            except PersistError as error:
                where = f"record {record.qualname!r} {at_path(path())}"
                raise error.at(where=where) from error.__cause__
            if reported is not None:
                reported += [(path(), text) for text in losses]
                losses.clear()
            if made is not record:
                copier.replace(record, made)
                copier.adopt(made)
            if is_unversioned:
                made.version = None
            for fresh in copier.fresh(made.state):
                copier.adopt(fresh)
                todo.append((fresh, path))
        if is_unversioned:
            record.cls = _named_then(schema, class_paths) or record.cls
    return copier.mended(result)


def _named_then(schema: Schema | None, class_paths: Mapping[str, str]) -> Global | None:
    """What the code of that version calls a class."""
    if schema is None or schema.cls is None:
        return None
    module, _, name = class_paths.get(schema.name, "").rpartition(".")
    return Global(module, name) if name else Global(schema.cls.__module__, schema.cls.__qualname__)


def _wanted_of(
    name: str, versions: Mapping[str, int], registry: Registry
) -> tuple[Schema | None, dict[str, int]]:
    """The schema of a class, and the wanted versions of it and its bases."""
    schema = registry.schema_for(registry.resolve(name))
    if schema is None:
        return None, {}
    lines = {part.schema.name for part in target_layout(schema, registry).parts}
    wanted = {name: version for name, version in versions.items() if name in lines}
    _refuse_wanted(wanted, schema, registry)
    return schema, wanted


@attrs.define(eq=False)
class _State:
    """The state of one class while it is downgraded: ``part`` is None for one that is no base today."""

    part: TargetPart | None
    name: str
    today: int
    to: int
    state: Any


class _Downgrade:
    """Downgrades records; a value that several share is downgraded once.

    Args:
        registry: the registry to use.
        losses: the list to which losses are added; None to leave them out.
        is_alone: each step is done and undone, to find what its downgrade does not report itself.
    """

    def __init__(
        self, registry: Registry, losses: list[str] | None, *, is_alone: bool = True
    ) -> None:
        self._registry = registry
        self._is_alone = is_alone
        self._losses = losses
        self._memo: dict[object, object] = {}
        self.path: Callable[[], str] | None = None  # of the record that is downgraded

    def back(self, record: Record, schema: Schema, wanted: Mapping[str, int]) -> Record:
        """Downgrade a record in place; or return the one by which a step replaced it."""
        target = target_layout(schema, self._registry)
        version = record.version or schema.version
        case = run_steps(
            plan_instance(target, state_of(record, schema), self._registry, version=version),
            unknown="keep",
        )
        wanted = _with_owners(wanted, case.target, self._registry)
        states: dict[str, _State] = {}
        for name, version in wanted.items():  # the bases of that time, which are none today
            if all(part.schema.name != name for part in target.parts):
                known = self._registry.schema_for(name)
                newest = version if known is None else max(version, known.version)
                states[name] = _State(None, name, newest, version, {})
        for part, state in case.states:
            name, today = part.schema.name, part.schema.version
            states[name] = _State(part, name, today, wanted.get(name, today), state)
        steps = {
            one.name: self._registry.path(one.name, one.to, one.today) for one in states.values()
        }
        for step in reversed(ordered(steps)):
            one = states[step.schema]
            for op in step.transfers:
                if isinstance(op, ops.to_base):
                    _take_back(states.get(op.base), one, op.names)
            state, lost = self._step(step, one.state, record)
            if self._losses is not None:
                self._losses += [f"{one.name} {step.to}→{step.start}: {text}" for text in lost]
            if isinstance(state, Instead):
                state = state.value
            if isinstance(state, Record) and state is not record:
                return state
            one.state = state
            for op in step.transfers:
                if isinstance(op, ops.from_base):
                    _take_back(one, states.get(op.base), op.names)
        leaf = states.get(target.leaf.schema.name)
        if leaf is not None and case.extra and isinstance(leaf.state, dict):
            leaf.state = self._with_extra(leaf.state, case.extra, leaf.name)
        record.version = wanted.get(schema.name, schema.version)
        record.state = _older_state(states, case)
        return record

    def _with_extra(
        self, state: dict[object, object], extra: dict[object, object], name: str
    ) -> object:
        """Add the fields that no class declares to an older state that has none of these names."""
        if self._losses is not None:
            self._losses += [
                f"{name}: {one} = {short(value)}" for one, value in extra.items() if one in state
            ]
        return {**extra, **state}

    def _where(self, record: Record) -> str:
        place = "" if self.path is None else f" {at_path(self.path())}"
        return f"record {record.qualname!r}{place}"

    def _step(self, step: Any, state: object, record: Record) -> tuple[object, list[str]]:
        """Apply the inverse of a step; return the older state and its losses."""
        is_compared = self._losses is not None and self._is_alone
        newer = _copied(state) if is_compared else ABSENT
        shown = state.copy() if isinstance(state, dict) else state
        try:
            record.state = state
            result, lost = step.down(state, record, self._memo)
            if result is record:
                result = record.state
            if result is None:
                raise MigrationFailedError(
                    f"the downgrade of {step} returns None.",
                    remedy="It must return the older state.",
                    schema=step.schema,
                    step=(step.to, step.start),
                )
            if newer is not ABSENT:
                lost = [*lost, *_lost_by(step, newer, shown, result, record, lost)]
        except PersistError as error:
            raise error.at(where=self._where(record)) from None
        except Exception as error:  # user code may raise anything
            raise MigrationFailedError(
                f"the downgrade of {step} failed: {type(error).__name__}: {error}.",
                where=self._where(record),
                remedy="Nothing was changed.",
                schema=step.schema,
                step=(step.to, step.start),
            ) from error
        return result, lost


def _refuse_wanted(wanted: dict[str, int], schema: Schema, registry: Registry) -> None:
    """Refuse versions that do not exist, and schemas that are not the record's or its bases'."""
    known = {
        part.schema.name: part.schema.version for part in target_layout(schema, registry).parts
    }
    for name, version in wanted.items():
        if name not in known:
            raise UnknownSchemaError(
                f"{name!r} is not the schema of {schema.name!r} or of one of its bases.",
                remedy=f"These are {', '.join(map(repr, known))}.",
                schema=name,
            )
        if type(version) is not int or not 1 <= version <= known[name]:
            raise SchemaError(
                f"a state of {name!r} cannot be downgraded to version {version!r}.",
                remedy=f"Versions go from 1 to {known[name]}, the current one.",
                schema=name,
                wanted=version,
            )


def _copied(state: object) -> object:
    return Copier(lambda made, path: made).copy(state)


def _lost_by(
    step: Any, newer: object, shown: object, older: object, record: Record, known: list[str]
) -> list[str]:
    """The losses of a downgrade: the values that upgrading its result does not restore.

    Args:
        step: the step that was inverted.
        newer: a copy of the newer state.
        shown: the same values, as losses show them.
        older: the older state.
        record: the record of that state.
        known: the losses that the step itself reports.
    """
    frozen: dict[int, Any] = {}
    again = _copied(older)
    freeze([again], frozen)
    try:
        again = step.up(again, record)
    except Exception:  # user code may raise anything: nothing to compare with then
        return [] if known else ["what it holds beyond the older state, which no upgrade can show"]
    finally:
        for array in frozen.values():
            array.flags.writeable = True
    if isinstance(again, Instead):
        again = again.value
    if not isinstance(newer, dict) or not isinstance(again, dict):
        is_reported = bool(known) or is_alike(newer, again)
        return [] if is_reported else ["what it is beyond the older state"]
    names = {*map(_name_in, known)}
    return [
        f"{name} = {short(shown[name] if isinstance(shown, dict) else value)}"
        for name, value in newer.items()
        if str(name) not in names and (name not in again or not is_alike(value, again[name]))
    ]


def _name_in(text: str) -> str:
    """The name of the field with which the text of a loss begins."""
    return re.split(r"/| = |: ", text)[0]


def _take_back(giver: _State | None, taker: _State | None, names: Iterable[str]) -> None:
    """Move fields from the state of one class to that of another."""
    if giver is None or taker is None:  # the state of one is inside that of the other
        return
    if isinstance(giver.state, dict) and isinstance(taker.state, dict):
        for name in names:
            if name in giver.state:
                taker.state[name] = giver.state.pop(name)


def _with_owners(
    wanted: Mapping[str, int], target: TargetLayout, registry: Registry
) -> dict[str, int]:
    """Return the wanted versions, and those of the classes that had fields of theirs then.

    Raises:
        SchemaError: the wanted versions of two classes were not of one time.
    """
    found = dict(wanted)
    today = {part.schema.name: part.schema.version for part in target.parts}
    todo = list(found)
    while todo:
        name = todo.pop()
        known = registry.schema_for(name)
        newest = today.get(name, found[name] if known is None else known.version)
        for step in registry.path(name, found[name], newest) if newest > found[name] else ():
            for op in step.transfers:
                version = found.get(op.base)
                if version is not None and version > op.version and op.base in wanted:
                    raise SchemaError(
                        f"version {wanted.get(name, found[name])} of {name!r} is older than {step}, and version "
                        f"{version} of {op.base!r} is later.",
                        remedy=f"Give {op.base!r} version {op.version} or an older one, or leave it out.",
                        schema=name,
                    )
                if (version is None and today.get(op.base) != op.version) or (
                    version is not None and version > op.version
                ):
                    found[op.base] = op.version
                    todo.append(op.base)
    return found


def _older_state(states: Mapping[str, _State], case: InstanceUpgrade) -> object:
    """The state of one class as it is; those of several as an envelope, since each has its version."""
    parts = case.target.parts
    if len(states) == 1 and len(parts) == 1:
        return states[parts[0].schema.name].state
    layers, values = [], []
    for one in states.values():
        if one.part is None and one.state:
            layers.append(Layer(one.name, one.to, "", FIELDS, tuple(one.state)))
            values.append(tuple(one.state.values()))
    for part in parts:
        found = states.get(part.schema.name)
        state: Any = None if found is None else found.state
        if found is None:
            names = tuple(field.name for field in part.fields)
            layers.append(Layer(part.schema.name, part.schema.version, "", INSIDE, names))
        elif part.kind in (FIELDS, INSIDE) and isinstance(state, dict):
            layers.append(Layer(part.schema.name, found.to, "", FIELDS, tuple(state)))
            state = tuple(state.values())
        else:
            layers.append(Layer(part.schema.name, found.to, "", CODEC, None))
        values.append(state)
    return wrap(seal(layers), values)

"""Go back: a record as an older version had it, and what that cannot hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persist._envelope import CODEC, FIELDS, INSIDE, Layer, seal, wrap
from persist._trees.copier import Copier
from persist._upgrade.state import freeze, state_of
from persist._upgrade.versions import InstanceUpgrade, plan_instance, run_steps, target_layout
from persist.errors import MigrationFailedError, PersistError, SchemaError, UnknownSchemaError
from persist.ops import Instead
from persist.ops._address import is_alike, short
from persist.registry import Registry, default_registry
from persist.schema import Schema
from persist.tree import ABSENT, Global, Record, at_path

__all__ = ["Downgraded", "downgrade_record", "downgrade_tree"]


class Downgraded(NamedTuple):
    """An older state, and what it cannot hold.

    Attributes:
        value: a `Record` of the older version.
        losses: what is lost, one text for each thing.
    """

    value: Record
    losses: list[str]


def downgrade_record(
    record: Record, to: int | Mapping[str, int], registry: Registry | None = None
) -> Downgraded:
    """Return a record of today as an older version had it, and what is lost.

    Args:
        record: of a known schema, at today's version; it is not changed.
        to: the version of its own schema, or schema name -> version for those
            of its bases too.
        registry: what is known; None is the default one.

    Raises:
        UnknownSchemaError: nothing is known of its class.
        IrreversibleError: a step on the way has no inverse.
        MissingMigrationError: no path leads there.
    """
    registry = default_registry if registry is None else registry
    schema = registry.schema_for(registry.resolve(record.cls.qualname))
    if schema is None:
        raise UnknownSchemaError(
            f"nothing is known of the class {record.qualname!r}.",
            remedy="Register it with persist.register, or inherit persist.Versioned.",
            schema=record.qualname,
        )
    wanted = {schema.name: to} if isinstance(to, int) else dict(to)
    _refuse_wanted(wanted, schema, registry)
    copier = Copier(lambda made, path: made)
    older: Record = copier.copy(record)
    losses: list[str] = []
    made = _Way(registry, losses).back(older, schema, wanted)
    return Downgraded(made, losses)


def downgrade_tree(
    tree: Any,
    versions: Mapping[str, int],
    registry: Registry,
    *,
    is_bare: bool = False,
    live: Callable[[Any, Callable[[Any], bool]], Any] | None = None,
) -> Any:
    """Return a copy of a tree with the records of these schemas as an older version had them.

    Each record goes down once, and what was one object stays one: records, lists, dicts and
    arrays. A record goes down before what is inside it, the other way round than it came up: its
    steps see what they saw then.

    Args:
        tree: of today; it is not changed.
        versions: schema name -> version; a schema's heirs go down with it.
        registry: what is known.
        is_bare: records get no version, and the names by which their classes are imported, for
            a pickle that yesterday's code reads.
        live: puts records in the place of instances that steps made (`persist._objects.inert.Inert`).

    Raises:
        SchemaError: as `downgrade_record`, with the path.
    """
    met: list[tuple[Record, Callable[[], str]]] = []

    def note(made: Record, path: Callable[[], str]) -> Record:
        met.append((made, path))
        return made

    copier = Copier(note)
    result = copier.copy(tree)
    way = _Way(registry, None)
    todo = met  # the last is the outermost
    known: dict[str, tuple[Schema | None, dict[str, int]]] = {}
    while todo:
        record, path = todo.pop()
        name = record.qualname
        if name not in known:
            known[name] = _wanted_of(name, versions, registry)
        schema, wanted = known[name]
        if schema is not None and wanted and record.version is not None:
            way.path = path
            try:
                made = way.back(record, schema, wanted)
                if live is not None:
                    made.state = live(made.state, copier.is_own)
            except PersistError as error:
                where = f"record {record.qualname!r} {at_path(path())}"
                raise error.at(where=where) from error.__cause__
            if made is not record:
                copier.replace(record, made)
                copier.adopt(made)
            if is_bare:
                made.version = None
            for fresh in copier.fresh(made.state):
                copier.adopt(fresh)
                todo.append((fresh, path))
        if is_bare and schema is not None and schema.cls is not None:
            record.cls = Global(schema.cls.__module__, schema.cls.__qualname__)
    return copier.mended(result)


def _wanted_of(
    name: str, versions: Mapping[str, int], registry: Registry
) -> tuple[Schema | None, dict[str, int]]:
    """The schema of a class, and the versions that are wanted of it and its bases."""
    schema = registry.schema_for(registry.resolve(name))
    if schema is None:
        return None, {}
    lines = {part.schema.name for part in target_layout(schema, registry).parts}
    wanted = {name: version for name, version in versions.items() if name in lines}
    _refuse_wanted(wanted, schema, registry)
    return schema, wanted


class _Way:
    """Takes records back; what several share is taken back once.

    Args:
        registry: what is known.
        losses: where what is lost is told; None: nobody asks.
    """

    def __init__(self, registry: Registry, losses: list[str] | None) -> None:
        self._registry = registry
        self._losses = losses
        self._memo: dict[Any, Any] = {}
        self.path: Callable[[], str] | None = None  # of the record that is taken back

    def back(self, record: Record, schema: Schema, wanted: Mapping[str, int]) -> Record:
        """Take a record back, in place; or return the one that a step put in its place."""
        target = target_layout(schema, self._registry)
        version = record.version or schema.version
        case = run_steps(
            plan_instance(target, state_of(record, schema), self._registry, version=version)
        )
        states: list[tuple[Any, int, Any]] = []
        for part, state in case.states:
            name, today = part.schema.name, part.schema.version
            to = wanted.get(name, today)
            for step in reversed(self._registry.path(name, to, today)):
                state, lost = self._step(step, state, record)
                if self._losses is not None:
                    self._losses += [f"{name} {step.to}→{step.start}: {one}" for one in lost]
                if isinstance(state, Instead):
                    state = state.value
                if isinstance(state, Record) and state is not record:
                    return state
            states.append((part, to, state))
        record.version = wanted.get(schema.name, schema.version)
        record.state = _older_state(states, case)
        return record

    def _where(self, record: Record) -> str:
        place = "" if self.path is None else f" {at_path(self.path())}"
        return f"record {record.qualname!r}{place}"

    def _step(self, step: Any, state: Any, record: Record) -> tuple[Any, list[str]]:
        """What a step gives on the way back, and what that cannot hold."""
        newer = ABSENT if self._losses is None else _copied(state)
        told = state.copy() if isinstance(state, dict) else state
        try:
            record.state = state
            result, lost = step.down(state, record, self._memo)
            if result is record:
                result = record.state
            if result is None:
                raise MigrationFailedError(
                    f"the way back of {step} returns None.",
                    remedy="It has to return the older state.",
                    schema=step.schema,
                    step=(step.to, step.start),
                )
            if newer is not ABSENT:
                lost = [*lost, *_lost_by(step, newer, told, result, record, lost)]
        except PersistError as error:
            raise error.at(where=self._where(record)) from None
        except Exception as error:  # whatever a stranger's function raises
            raise MigrationFailedError(
                f"the way back of {step} fails: {type(error).__name__}: {error}.",
                where=self._where(record),
                remedy="Nothing was changed.",
                schema=step.schema,
                step=(step.to, step.start),
            ) from error
        return result, lost


def _refuse_wanted(wanted: dict[str, int], schema: Schema, registry: Registry) -> None:
    """Refuse versions that there never were, and schemas that are none of the record's."""
    known = {
        part.schema.name: part.schema.version for part in target_layout(schema, registry).parts
    }
    for name, version in wanted.items():
        if name not in known:
            raise UnknownSchemaError(
                f"{name!r} is no schema of {schema.name!r} or its bases.",
                remedy=f"Those are {', '.join(map(repr, known))}.",
                schema=name,
            )
        if type(version) is not int or not 1 <= version <= known[name]:
            raise SchemaError(
                f"a state of {name!r} cannot become one of version {version!r}.",
                remedy=f"Versions go from 1 to {known[name]}, which is today's.",
                schema=name,
                wanted=version,
            )


def _copied(state: Any) -> Any:
    return Copier(lambda made, path: made).copy(state)


def _lost_by(
    step: Any, newer: Any, told: Any, older: Any, record: Record, known: list[str]
) -> list[str]:
    """What the way back lost: what the step would not make again of what it gave.

    Args:
        step: that was gone back.
        newer: a copy of what it was given.
        told: the same values as they are told.
        older: what it gave.
        record: whose state that is.
        known: what the step itself says is lost.
    """
    frozen: dict[int, Any] = {}
    again = _copied(older)
    freeze([again], frozen)
    try:
        again = step.up(again, record)
    except Exception:  # whatever a stranger's function raises: then nothing can be told
        return (
            [] if known else ["what it holds beyond the older state, which no upgrade could tell"]
        )
    finally:
        for array in frozen.values():
            array.flags.writeable = True
    if isinstance(again, Instead):
        again = again.value
    if not isinstance(newer, dict) or not isinstance(again, dict):
        is_told = bool(known) or is_alike(newer, again)
        return [] if is_told else ["what it is beyond the older state"]
    names = {re.split(r"/| = |: ", text)[0] for text in known}
    return [
        f"{name} = {short(told[name] if isinstance(told, dict) else value)}"
        for name, value in newer.items()
        if str(name) not in names and (name not in again or not is_alike(value, again[name]))
    ]


def _older_state(states: list[tuple[Any, int, Any]], case: InstanceUpgrade) -> Any:
    """One class's state as it is; that of several as an envelope, since each has its version."""
    if len(states) == 1 and len(case.target.parts) == 1:
        return states[0][2]
    layers, values = [], []
    versions = {id(part): (version, state) for part, version, state in states}
    for part in case.target.parts:
        version, state = versions.get(id(part), (part.schema.version, None))
        if id(part) not in versions:
            names = tuple(field.name for field in part.fields)
            layers.append(Layer(part.schema.name, version, "", INSIDE, names))
        elif part.kind == FIELDS and isinstance(state, dict):
            layers.append(Layer(part.schema.name, version, "", FIELDS, tuple(state)))
            state = tuple(state.values())
        else:
            layers.append(Layer(part.schema.name, version, "", CODEC, None))
        values.append(state)
    return wrap(seal(layers), values)

"""Go back: a record as an older version had it, and what that cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from persist._envelope import CODEC, FIELDS, INSIDE, Layer, seal, wrap
from persist._trees.copier import Copier
from persist._upgrade.state import freeze, state_of
from persist._upgrade.versions import Case, bring_up, survey, target_of
from persist.errors import MigrationFailedError, PersistError, SchemaError, UnknownSchemaError
from persist.ops._address import is_equal, short
from persist.registry import Registry, default_registry
from persist.schema import Schema
from persist.tree import ABSENT, Record

__all__ = ["Downgraded", "downgrade_record"]


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
    target = target_of(schema, registry)
    case = bring_up(
        survey(target, state_of(older, schema), registry, version=older.version or schema.version)
    )
    losses: list[str] = []
    states: list[tuple[Any, int, Any]] = []
    for part, state in case.states:
        version = wanted.get(part.schema.name, part.schema.version)
        for step in reversed(registry.path(part.schema.name, version, part.schema.version)):
            state, lost = _back(step, state, older)
            losses += [f"{part.schema.name} {step.to}→{step.start}: {one}" for one in lost]
        states.append((part, version, state))
    older.version = wanted.get(schema.name, schema.version)
    older.state = _older_state(states, case)
    return Downgraded(older, losses)


def _refuse_wanted(wanted: dict[str, int], schema: Schema, registry: Registry) -> None:
    """Refuse versions that there never were, and schemas that are none of the record's."""
    known = {part.schema.name: part.schema.version for part in target_of(schema, registry).parts}
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


def _back(step: Any, state: Any, record: Record) -> tuple[Any, list[str]]:
    newer = Copier(lambda made, path: made).copy(state) if step.backward is not None else ABSENT
    try:
        result, lost = step.down(state, record)
        if newer is not ABSENT:
            lost = [*lost, *_lost_by(step, newer, result, record)]
    except PersistError as error:
        raise error.at(where=f"record {record.qualname!r}") from None
    except Exception as error:  # whatever a stranger's function raises
        raise MigrationFailedError(
            f"the way back of {step} fails: {type(error).__name__}: {error}.",
            where=f"record {record.qualname!r}",
            remedy="Nothing was changed.",
            schema=step.schema,
            step=(step.to, step.start),
        ) from error
    return result, lost


def _lost_by(step: Any, newer: Any, older: Any, record: Record) -> list[str]:
    """What the function that goes back lost: what the step would not make again of what it gave."""
    frozen: dict[int, Any] = {}
    again = Copier(lambda made, path: made).copy(older)
    freeze([again], frozen)
    try:
        again = step.up(again, record)
    except Exception:  # whatever a stranger's function raises: then nothing can be told
        return ["what it holds beyond the older state, which no upgrade could tell"]
    finally:
        for array in frozen.values():
            array.flags.writeable = True
    if not isinstance(newer, dict) or not isinstance(again, dict):
        return [] if is_equal(newer, again) else ["what it is beyond the older state"]
    return [
        f"{name} = {short(value)}"
        for name, value in newer.items()
        if name not in again or not is_equal(value, again[name])
    ]


def _older_state(states: list[tuple[Any, int, Any]], case: Case) -> Any:
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

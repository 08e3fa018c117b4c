"""Whether records are of the current layout, so that there is nothing to upgrade."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from persist._envelope import FIELDS, unwrap
from persist._upgrade.compiled import SWITCH
from persist._upgrade.compiled_records import is_final
from persist._upgrade.target import target_layout
from persist.registry import Registry
from persist.tree import LEAVES, Global, Record

__all__ = ["is_current", "is_today"]


def is_today(tree: Any, registry: Registry) -> bool:
    """True if `upgrade` has nothing to do: every record is of a declared class, at the current
    version, with exactly the current fields.

    A quick check without effect that gives up at the first doubt: False may also mean "not decided".
    """
    if not SWITCH.is_on:
        return False
    verdicts: dict[object, bool] = {}
    kept: dict[int, object] = {}  # what the keys of verdicts name by id
    stack, seen = [tree], set()
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind in LEAVES:
            continue
        below: Iterable[object]
        if kind is Global:
            below = ()
            key: Any = value
            verdict = verdicts.get(key)
            if verdict is None:
                verdict = verdicts[key] = registry.resolve(value.qualname) == value.qualname
        elif id(value) in seen:
            continue
        elif kind is Record:
            state, named = value.state, value.cls
            if type(state) is dict:
                key, below = (id(named), value.version, *state), state.values()
            elif type(state) is tuple and len(state) == 2 and type(state[1]) is tuple:
                key, below = (id(named), id(state[0]), len(state[1]), _ENVELOPE), state[1]
            else:
                return False
            verdict = verdicts.get(key)
            if verdict is None:
                verdict = verdicts[key] = is_current(value, registry)
                kept[id(named)], kept[id(state)] = named, state
            if not value.is_bare:
                return False
            if verdict and is_final(below):
                seen.add(id(value))
                continue
        else:
            verdict = True
            below = _below(value)
        if not verdict:
            return False
        seen.add(id(value))
        if not LEAVES.issuperset(map(type, below)):
            stack.extend(below)
    return True


_ENVELOPE = object()  # in a key of verdicts


def _below(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return value.reshape(-1).tolist() if value.dtype == object else [Global("", "odd")]
    return ()


def is_current(record: Record, registry: Registry) -> bool:
    """Whether the state of a record is the current fields of its class, or an envelope of them."""
    schema = registry.schema_for(record.qualname)
    if schema is None or schema.cls is None or schema.codec or schema.fields is None:
        return False
    if registry.resolve(record.qualname) != record.qualname:
        return False
    if len(target_layout(schema, registry).parts) != 1:
        return False
    names: Iterable[Any] = record.state
    version = record.version
    envelope = unwrap(record.state)
    if envelope is not None:
        (layer,) = envelope.layers
        if layer.kind != FIELDS or layer.schema != schema.name or version is not None:
            return False
        if not layer.fingerprint or layer.fingerprint != schema.fingerprint:
            return False
        names, version = layer.names or (), layer.version
        if len(set(names)) != len(schema.names):
            return False
    elif type(record.state) is not dict:
        return False
    return version == schema.version and set(names) == set(schema.names)

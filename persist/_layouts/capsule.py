"""The time capsule that a file carries: the layouts of its classes, old and new, and the steps between them, as data."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from persist import ops
from persist._layouts import description
from persist._layouts.lockfile import LockedSchema, find_lock
from persist.errors import LayoutWarning, SchemaError
from persist.registry._declarations import user_stacklevel

if TYPE_CHECKING:
    from persist._layouts.description import ClassLayout
    from persist.registry import Migration, Registry
    from persist.schema import Schema

__all__ = ["CapsuleMaker", "capsule_of"]

CapsuleMaker = Callable[[dict[str, Any]], dict[str, Any]]


def capsule_of(registry: Registry, older: object = None) -> CapsuleMaker:
    """Return a function from a manifest to the capsule of its file.

    Args:
        registry: the classes and steps.
        older: the capsule of the file from which the new one is made; what it says of classes that
            are not declared here is kept.
    """

    def made(manifest: dict[str, Any]) -> dict[str, Any]:
        names = [str(one["name"]) for one in manifest["schemas"] if isinstance(one, dict)]
        found = [
            _entry(one, registry) for one in map(registry.schema_for, names) if one is not None
        ]
        _warn_of_transfers(found)
        known = {one["name"] for one in found}
        listed = older.get("schemas") if isinstance(older, dict) else None
        for one in listed if isinstance(listed, list) else ():
            name = one.get("name") if isinstance(one, dict) else None
            is_here = name in names or name in manifest["globals"]
            if isinstance(name, str) and name not in known and is_here:
                found.append(one)
        return {"schemas": found}

    return made


def _warn_of_transfers(schemas: list[dict[str, Any]]) -> None:
    """Warn about steps that a file names and that no program can do by the file alone."""
    listed = [
        f"{schema['name']} {step['from']} → {step['to']}"
        for schema in schemas
        for step in schema["steps"]
        if any(one["op"] in ("to_base", "from_base") for one in step.get("ops", ()))
    ]
    if listed:
        warnings.warn(
            f"the capsule cannot bring records over the steps {', '.join(listed)}, which hand fields from one "
            "class to another: a program without these classes loads older records of them as they are.",
            LayoutWarning,
            stacklevel=user_stacklevel(),
        )


def _entry(schema: Schema, registry: Registry) -> dict[str, object]:
    module = None if schema.cls is None else sys.modules.get(schema.cls.__module__)
    locked = find_lock(getattr(module, "__file__", None)).schemas.get(schema.name)
    said: dict[str, Any] = {
        "name": schema.name,
        "class": schema.qualname,
        "version": schema.version,
    }
    old = sorted(registry.old_names(schema.qualname) - {schema.name})
    if old:
        said["aliases"] = old
    said["layouts"] = _layouts(schema, registry, locked or LockedSchema(schema.name))
    said["steps"] = [_step(one) for _, one in sorted(registry.migrations(schema.name).items())]
    return said


def _layouts(schema: Schema, registry: Registry, locked: LockedSchema) -> dict[str, object]:
    found: dict[str, Any] = {}
    for number, version in sorted(locked.versions.items()):
        if number < schema.version:
            found[str(number)] = _layout(version.layout, version.release, version.date)
    try:
        layout = None if schema.cls is None else registry.layout(schema.cls)
        today = description.layout_of(schema, layout)
    except SchemaError:  # a fault of the declaration, which is reported where an instance is saved
        return found
    here = locked.versions.get(schema.version)
    release, date = ("", "") if here is None else (here.release, here.date)
    found[str(schema.version)] = _layout(today, release, date)
    return found


def _layout(layout: ClassLayout, release: str, date: str) -> dict[str, object]:
    rows: list[object] = []
    for field in layout.fields:
        row: dict[str, object] = {"type": field.type, "dtype": field.dtype, "shape": field.shape}
        said = {key: value for key, value in row.items() if value not in ("", None)}
        rows.append([field.name, said] if said else [field.name])
    more = {"arity": list(layout.arities), "release": release, "date": date}
    found: dict[str, Any] = {"kind": layout.kind, "fields": rows, "fingerprint": layout.fingerprint}
    return {**found, **{key: value for key, value in more.items() if value}}


def _step(step: Migration) -> dict[str, object]:
    """A step as data; of one that is a function, only that it is there."""
    said: dict[str, Any] = {"from": step.start, "to": step.to}
    if not step.ops:
        return {**said, "function": step.origin.qualname}
    try:
        return {**said, "ops": json.loads(ops.to_json(step.ops))}
    except TypeError:  # there is a function in it
        return {**said, "function": step.text[:200]}

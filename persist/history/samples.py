"""Values of declared types: for golden files that are made, and for the laws.

`sample` gives one plain value of a type; `make_released` a file of a released version, worked out
from the lock file; `make_current` one of an instance of today.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from persist._api.save import save
from persist._layouts.description import CODEC, ClassLayout, FieldLayout
from persist.errors import PersistError
from persist.history import golden
from persist.history.project import Project
from persist.schema import Schema
from persist.tree import Global, Record
from persist.typing import State

__all__ = ["is_known", "make_current", "make_released", "sample", "state_of_layout"]

_PLAIN: dict[str, object] = {
    "int": 3, "float": 0.5, "str": "text", "bool": True, "bytes": b"bytes", "complex": 1 + 2j,
    "None": None, "list": [], "dict": {}, "set": set(), "tuple": (), "frozenset": frozenset(),
    "object": None, "Any": None, "Sequence": [], "Mapping": {}, "Path": Path("a/file"),
}  # fmt: skip
_ARRAYS = ("ndarray", "NDArray", "ArrayLike", "Array")


def sample(field: FieldLayout) -> object:
    """Return a value of a field's declared type.

    Raises:
        LookupError: the type is none that values can be made of.
    """
    first = field.type.split(" | ")[0].partition("[")[0].strip()
    if field.dtype or field.shape is not None or first in _ARRAYS:
        dtype = np.dtype(field.dtype or "<f8")
        shape = tuple(3 if extent is None else extent for extent in field.shape or (None,))
        return np.arange(int(np.prod(shape)), dtype="<i8").reshape(shape).astype(dtype)
    if first in _PLAIN:
        return _PLAIN[first]
    raise LookupError(f"{field.name!r} is of the type {field.type or 'any'}")


def is_known(field: FieldLayout) -> bool:
    """Whether values of a field's type can be made."""
    try:
        sample(field)
    except LookupError:
        return False
    return True


def state_of_layout(layout: ClassLayout) -> object:
    """Return a state of a layout: a dict of fields, or a codec's tuple.

    Raises:
        LookupError: a type is none that values can be made of.
    """
    if layout.kind == CODEC and layout.arities:
        return tuple(sample(field) for field in layout.fields[: layout.arities[0]])
    return {field.name: sample(field) for field in layout.fields}


def make_released(project: Project, draft: Any) -> Path:
    """Write a golden file of a released version, worked out from the lock file.

    Its content is recorded when the step is there: `persist golden update`.

    Raises:
        PersistError: the lock file does not say enough of the types.
    """
    schema: Schema = draft.schema
    try:
        state = state_of_layout(draft.old)
    except LookupError as error:
        raise PersistError(
            f"there is no golden file of version {draft.start} of {schema.name!r}, and none can be made: {error}.",
            remedy="Add a file that the released version wrote: `persist golden add FILE`.",
        ) from error
    module, _, name = schema.qualname.rpartition(".")
    record = Record(Global(module, name), state, version=draft.start)
    stem = re.sub(r"\W+", "-", schema.name).strip("-")
    folder = project.golden_path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / golden.free_name(project, f"{stem}-{draft.start}", ".persist")
    save(record, path)
    made = golden.Golden(path, golden.digest_of_file(path), {schema.name: draft.start},
                         [(schema.name, draft.start, draft.to)], {}, golden.MADE)  # fmt: skip
    made.write()
    return path


def make_current(project: Project, schema: Schema, name: str = "") -> golden.Golden:
    """Write a golden file of today's version, from the fields' declared types and defaults.

    Raises:
        PersistError: a type is none that values can be made of.
    """
    from persist.history.locking import layout_of_schema

    registry = project.load()
    layout = layout_of_schema(schema, registry)
    if schema.cls is None:
        raise PersistError(
            f"{schema.name!r} has no class here.", remedy="Add a file of it instead."
        )
    try:
        state = _state_of_all(schema, layout, registry)
    except LookupError as error:
        raise PersistError(
            f"no instance of {schema.qualname} can be made: {error}.",
            remedy="Save one yourself, and add the file: `persist golden add FILE`.",
            schema=schema.name,
        ) from error
    module, _, last = schema.qualname.rpartition(".")
    record = Record(Global(module, last), state, version=schema.version)
    project.golden_path.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"\W+", "-", schema.name).strip("-")
    path = project.golden_path / (
        name or golden.free_name(project, f"{stem}-{schema.version}", ".persist")
    )
    save(record, path, registry=registry)
    try:
        return golden.add(project, path, note="made from the declared fields", force=True)
    except PersistError:
        path.unlink(missing_ok=True)
        raise


def _state_of_all(schema: Schema, layout: ClassLayout, registry: Any) -> object:
    if layout.kind == CODEC:
        return state_of_layout(layout)
    from persist._layouts.description import layout_of

    fields: State = {}
    parts = registry.layout(schema.cls).parts
    for part in parts:
        own = layout_of(part.schema, registry.layout(part.cls))
        defaults = {field.name: field for field in part.fields}
        for field in own.fields:
            declared = defaults.get(field.name)
            if is_known(field):
                fields[field.name] = sample(field)
            elif declared is not None and declared.has_default:
                fields[field.name] = declared.fresh(fields)
            else:
                fields[field.name] = sample(field)
    return fields

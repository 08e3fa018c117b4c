"""The layouts that a container's manifest lists: of the classes in the file, and of no other.

A program may have declared any number of classes, some of them faulty; a file is concerned with
those that its records name, and with their bases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from persist._layouts.releases import reader_entry, release_entry
from persist.errors import SchemaError
from persist.registry._shapes import parts_of_tuple

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.schema import Field, Schema

__all__ = ["schemas_in_file"]


def schemas_in_file(
    registry: Registry, versions: Mapping[str, int] | None = None
) -> Callable[[Iterable[str]], list[dict[str, Any]]]:
    """Return a function from the names in a file to the entries of the manifest.

    Args:
        registry: what is declared.
        versions: schema -> version, of those whose records are written as an older version had them.

    A class whose declaration is faulty has no layout that could be listed. Its instances cannot be
    saved, and that error states why; but its records, of a file that was only read, can.
    """

    asked = versions or {}

    def listed(names: Iterable[str]) -> list[dict[str, Any]]:
        found: dict[str, Schema] = {}
        for name in names:
            try:
                schema = registry.schema_for(registry.resolve(name))
                if schema is None:
                    continue
                for one in (schema, *_bases(schema, registry)):
                    found.setdefault(one.name, one)
            except SchemaError:
                continue
        return [
            _entry(found[name], registry)
            if asked.get(name, found[name].version) == found[name].version
            else _older_entry(found[name], asked[name], registry)
            for name in sorted(found)
        ]

    return listed


def _bases(schema: Schema, registry: Registry) -> list[Schema]:
    """The schemas of the declared bases, whose states are part of each record."""
    if schema.cls is None:
        return []
    return [part.schema for part in registry.layout(schema.cls).parts]


def _entry(schema: Schema, registry: Registry) -> dict[str, Any]:
    entry = {
        "name": schema.name,
        "version": schema.version,
        "class": schema.qualname,
        "fields": list(schema.names),
        "fingerprint": schema.fingerprint,
    }
    types = _types(schema)
    units = {field.name: field.unit for field in _own(schema) if field.unit}
    parts = []
    if schema.codec and schema.cls is not None:
        from persist._layouts.description import tuple_names

        known = tuple_names(registry.layout(schema.cls).leaf)
        parts = [list(known[arity]) for arity in sorted(known)]
    elif parts_of_tuple(schema.cls):
        parts = [list(parts_of_tuple(schema.cls))]
    said = (("types", types), ("units", units), ("parts", parts))
    more = {name: value for name, value in said if value}
    reader = {"reader": reader_entry(schema, schema.version, registry)}
    return {**entry, **release_entry(schema), **reader, **more}


def _older_entry(schema: Schema, version: int, registry: Registry) -> dict[str, object]:
    """The entry of a version whose class is gone: its fields only where a layout of it is declared."""
    shapes = [shape for shape in registry._older_shapes(schema.name) if shape.version == version]
    names = shapes[0].names if len(shapes) == 1 and shapes[0].kind == "fields" else ()
    return {
        "name": schema.name,
        "version": version,
        "class": schema.qualname,
        "fields": sorted(names),
        "fingerprint": "",
        **release_entry(schema),
        "reader": reader_entry(schema, version, registry),
    }


def _types(schema: Schema) -> dict[str, str]:
    """Field -> its declared type, dtype and shape as text; those without a declaration are left out."""
    annotated = {} if schema.cls is None else _annotations(schema.cls)
    said = {field.name: field.kind or annotated.get(field.attribute, "") for field in _own(schema)}
    return {name: text for name, text in said.items() if text}


def _own(schema: Schema) -> tuple[Field, ...]:
    return schema.fields or ()


def _annotations(cls: type) -> dict[str, str]:
    """Attribute -> its annotation, of a class of attrs or a dataclass."""
    said: Iterable[Any] = getattr(cls, "__attrs_attrs__", ())
    if dataclasses.is_dataclass(cls):
        said = dataclasses.fields(cls)
    found = {}
    for one in said:
        text = _text(one.type)
        if text:
            found[one.name] = text
    return found


def _text(annotation: object) -> str:
    if annotation is None:
        return ""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        module = "" if annotation.__module__ == "builtins" else f"{annotation.__module__}."
        return f"{module}{annotation.__qualname__}"
    return str(annotation)

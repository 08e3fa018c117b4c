"""Which class of the MRO owns which fields, and by what its part of the state is taken."""

from __future__ import annotations

import types
from collections.abc import Callable

import attrs

from persist.errors import SchemaError
from persist.schema._codecs import codec_of
from persist.schema._declared import Declared, Field, Layout, Part, Schema, dotted
from persist.schema._fields import infers_fields, refuse_reused, said_fields

__all__ = ["read_layout"]


def read_layout(
    cls: type, declared_of: Callable[[type], Declared | None], schema_of: Callable[[type], Schema]
) -> Layout:
    """Read how a class's state is put together.

    Args:
        cls: the class, finished by all its decorators.
        declared_of: what a class's head says, None for one that is not declared.
        schema_of: the schema of a declared class.

    Raises:
        SchemaError: two classes claim a field, or a declaration cannot be understood.
    """
    classes = [base for base in reversed(cls.__mro__) if declared_of(base) is not None]
    said = {base: said_fields(base, declared_of(base)) for base in classes}
    owners = _owners(cls, classes, said)
    parts = _parts(cls, classes, said, owners, schema_of, declared_of)
    _let_codecs_cover(parts)
    for part in parts:
        part.open = part.open and part.kind != "codec"
    doubtful = None
    if not parts[-1].open:
        silent = [
            part
            for part in parts[:-1]
            if part.open and part.kind == "fields" and _has_code(part.cls)
        ]
        doubtful = silent[-1].cls if silent and parts[-1].kind == "fields" else None
    for part in parts[:-1]:
        if part.open and parts[-1].open and part.kind == "fields" and not part.fields:
            part.kind = "inside"  # neither states which attributes are its own
        part.open = False
    resources = {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if getattr(value, "_persist_resource", False)
    }
    known = {
        field.attribute for part in parts for field in (*part.fields, *part.transients)
    } | resources.keys()
    return Layout(
        cls, tuple(parts), resources, frozenset(known), doubtful,
        codec=any(part.kind == "codec" for part in parts),
        reserved=frozenset(
            field.attribute for fields, _ in said.values() for field in fields.values() if field.reserved
        ),
    )  # fmt: skip


def _owners(
    cls: type, classes: list[type], said: dict[type, tuple[dict[str, Field], bool]]
) -> dict[str, type]:
    """Attribute -> the class that owns it: the most basic one that declares it."""
    owners: dict[str, type] = {}
    for base in classes:
        for field in said[base][0].values():
            owner = owners.setdefault(field.attribute, base)
            if owner is not base and said[owner][0][field.attribute].reserved != field.reserved:
                raise refuse_reused(field.name, owner if not field.reserved else base, cls)
            if owner is not base and not issubclass(base, owner):
                raise SchemaError(
                    f"the classes {dotted(owner)} and {dotted(base)} both declare the field "
                    f"{field.name!r}.",
                    where=f"class {dotted(cls)}",
                    remedy="A field belongs to one class: rename one of them, or move it to a "
                    "base that both share.",
                    schema=dotted(cls),
                    field=field.name,
                )
    return owners


def _parts(
    cls: type,
    classes: list[type],
    said: dict[type, tuple[dict[str, Field], bool]],
    owners: dict[str, type],
    schema_of: Callable[[type], Schema],
    declared_of: Callable[[type], Declared | None],
) -> list[Part]:
    latest: dict[str, Field] = {}  # a subclass that declares a field again may change its default
    for base in classes:
        for field in said[base][0].values():
            known = latest.get(field.attribute)
            if known is not None and field._origin == "inherited":
                continue  # attrs and dataclasses repeat the fields of a base; the base's declaration wins
            if known is not None and known.transient and field._origin:
                field = attrs.evolve(field, transient=True)  # until `persistent` lists it
            latest[field.attribute] = field
    parts = []
    for base in classes:
        own = [
            attrs.evolve(latest[field.attribute], name=field.name)
            for field in said[base][0].values()
            if owners[field.attribute] is base and not field.reserved
        ]
        declared = declared_of(base)
        given = None if declared is None else declared.codec
        getstate, setstate = codec_of(base, set(classes)) if given is None else given[:2]
        parts.append(
            Part(
                base,
                schema_of(base),
                "codec" if getstate is not None or setstate is not None else "fields",
                tuple(field for field in own if not field.transient),
                tuple(field for field in own if field.transient),
                said[base][1],
                infers_fields(base, declared_of(base)),
                getstate,
                setstate,
            )
        )
    return parts


def _let_codecs_cover(parts: list[Part]) -> None:
    """A codec covers the whole state of its class, including that of its bases."""
    for position in range(len(parts) - 1, -1, -1):
        part = parts[position]
        if part.kind != "codec":
            continue
        for other in parts[:position]:
            if issubclass(part.cls, other.cls):
                other.kind = "inside"


def _has_code(cls: type) -> bool:
    """True if a class body has functions that could set attributes."""
    return any(
        isinstance(value, types.FunctionType) and name != "__setstate__"
        for name, value in vars(cls).items()
    )

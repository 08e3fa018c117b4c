"""What Python 2's ``str`` becomes in the declared fields of a class: text or bytes, as each declares.

A pickle of Python 2 does not tell its text from its bytes. The machine decides value by value (text
where it is UTF-8); the fields of declared classes decide better, once their records are of today.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from persist._envelope import unwrap
from persist._trees.copier import records_in
from persist.errors import PersistError, SchemaError
from persist.registry import Registry
from persist.schema import Field
from persist.tree import Record, at_path

__all__ = ["settle_text"]

Origin = Callable[[Any], "bytes | None"]


def settle_text(
    tree: object,
    registry: Registry,
    origin: Origin | None,
    file: str | None = None,
    fail: Callable[[Record, PersistError], None] | None = None,
) -> None:
    """Give the fields of records of today the text or bytes that their declarations ask for.

    Args:
        tree: of a file that Python 2 wrote, upgraded; its records are changed.
        registry: the classes that are declared.
        origin: the bytes that Python 2 wrote for a value, or None for what was no ``str``; None
            where the reader does not know.
        file: for messages.
        fail: is given each record with a value that is not in the declared encoding, and the error.

    Raises:
        SchemaError: there is such a value, and ``fail`` is None.
    """
    known: dict[str, dict[str, Field]] = {}
    for record in records_in(tree, set()):
        fields = known.get(record.qualname)
        if fields is None:
            fields = known[record.qualname] = _fields(record.qualname, registry)
        if not fields:
            continue
        try:
            _settle(record, fields, origin or _probable, file)
        except SchemaError as error:
            if fail is None:
                raise
            fail(record, error)


def _fields(qualname: str, registry: Registry) -> dict[str, Field]:
    """The fields of a declared class that say what Python 2's ``str`` is in them."""
    schema = registry.schema_for(registry.resolve(qualname))
    if schema is None:
        return {}
    own = schema.fields or ()
    if schema.cls is not None:
        own = tuple(registry.layout(schema.cls).saved())
    return {field.name: field for field in own if field.py2 is not None}


def _settle(record: Record, fields: dict[str, Field], origin: Origin, file: str | None) -> None:
    envelope = unwrap(record.state)
    holder = record.state if envelope is None else envelope.attributes()
    if not isinstance(holder, dict):
        return
    for name, value in list(holder.items()):
        field = fields.get(name)
        if field is None or field.py2 is None:
            continue
        try:
            made = _as_declared(value, field.py2, origin, set())
        except (UnicodeError, LookupError) as error:
            raise SchemaError(
                f"the field {name!r} is not what its py2={field.py2!r} states: {error}.",
                file=file,
                where=f"record {record.qualname!r}, {at_path(name)}",
                remedy='Declare another encoding, or py2="bytes".',
                field=name,
            ) from error
        if made is value:
            continue
        if envelope is None:
            holder[name] = made
        else:
            record.state = envelope.with_field(name, made)
            envelope = unwrap(record.state) or envelope


def _probable(value: object) -> bytes | None:
    """The bytes of a value of which the reader kept none: those of UTF-8."""
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None


def _as_declared(
    value: Any, policy: str | Callable[[bytes], object], origin: Origin, seen: set[int]
) -> object:
    """A value, or the texts in its containers, by the policy of its field; itself if nothing changes."""
    if isinstance(value, str | bytes):
        data = origin(value)
        return value if data is None else _decoded(data, value, policy)
    if type(value) not in (list, tuple, dict, set, frozenset) or id(value) in seen:
        return value
    seen.add(id(value))
    if type(value) is list:
        value[:] = [_as_declared(item, policy, origin, seen) for item in value]
        return value
    if type(value) is dict:
        pairs = [
            (_as_declared(key, policy, origin, seen), _as_declared(item, policy, origin, seen))
            for key, item in value.items()
        ]
        value.clear()
        value.update(pairs)
        return value
    made = [_as_declared(item, policy, origin, seen) for item in value]
    if type(value) is set:
        value.clear()
        value.update(made)
        return value
    same = all(new is old for new, old in zip(made, value, strict=True))
    return value if same else type(value)(made)


def _decoded(data: bytes, value: object, policy: str | Callable[[bytes], Any]) -> Any:
    if callable(policy):
        return policy(data)
    if policy == "bytes":
        return data
    if policy == "text":
        if isinstance(value, str):
            return value
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")
    return data.decode(codecs.lookup(policy).name)

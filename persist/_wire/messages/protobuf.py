"""Protocol buffers: messages of known schemas, read field by field on demand.

A `Message` is one level of a message; what lies below is parsed when it is
asked for, so that nothing recurses and a tensor's bytes stay where they are in
the file. The text format (`textproto`) gives the same `Message`.

After ``encoding.md`` of the protocol buffers' documentation: a field is a varint
(number << 3 | wire type) and a payload; unknown fields are passed over; repeated
numbers may be packed or not, whatever the schema says; the last of several
values of a singular field counts, and several of a message are merged, which is
what parsing them one after the other gives.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.source import Source
from persist.errors import DamagedFileError, PersistError
from persist.typing import Array

__all__ = ["Message", "Schema", "Schemas", "varints"]

_VARINT, _FIXED64, _BYTES, _START, _END, _FIXED32 = range(6)
_COST = 48  # bytes of memory that one field takes, at least
_BATCH = 4096

_FORMS = {"float": "<f4", "double": "<f8", "fixed32": "<u4", "fixed64": "<u8"}
_UNSIGNED = frozenset(("uint32", "uint64", "fixed32", "fixed64"))


class Schema:
    """One type of message: what its fields are called, their numbers and kinds.

    Args:
        name: of the type.
        fields: name -> (number, kind); a kind is a scalar's of the protobuf
            language, the name of an enum or of a message, or ``map:`` and the
            kind of its values.
        home: the `Schemas` in which other types are found.
    """

    __slots__ = ("fields", "home", "name")

    def __init__(self, name: str, fields: Mapping[str, tuple[int, str]], home: Schemas) -> None:
        self.name = name
        self.fields = fields
        self.home = home

    def message(self, field: str) -> Schema | None:
        """Return the schema of a field that holds messages, else None."""
        kind = self.fields[field][1]
        return self.home.messages.get(kind)


class Schemas:
    """All message types and enums of one family.

    Args:
        messages: type -> its fields, as `Schema` takes them.
        enums: type -> number -> name.
    """

    def __init__(
        self,
        messages: Mapping[str, Mapping[str, tuple[int, str]]],
        enums: Mapping[str, Mapping[int, str]] | None = None,
    ) -> None:
        self.enums = dict(enums or {})
        self.messages: dict[str, Schema] = {}
        for name, fields in messages.items():
            self.messages[name] = Schema(name, fields, self)
            for _, kind in fields.values():
                if kind.startswith("map:"):
                    entry = {"key": (1, "string"), "value": (2, kind[4:])}
                    self.messages[kind] = Schema(kind, entry, self)

    def read(self, name: str, data: memoryview, source: Source) -> Message:
        """Return the message of type ``name`` that ``data``, a part of ``source``, holds."""
        return Message(self.messages[name], source, data)


class Message:
    """One message; its fields are asked for by name and kind.

    A number, text or message that is absent is what protobuf says: 0, empty,
    and of a message None.

    Args:
        schema: its type.
        source: names the file in errors, and counts what is made.
        data: its bytes; None builds it from ``values``.
        values: field's number -> payloads in order; an int of a varint, the
            bytes of everything else, or messages.
    """

    __slots__ = ("_data", "_parsed", "_values", "schema", "source")

    def __init__(
        self,
        schema: Schema,
        source: Source,
        data: memoryview | None = None,
        values: dict[int, list[Any]] | None = None,
    ) -> None:
        self.schema = schema
        self.source = source
        self._data = data
        self._parsed: dict[int, list[Message]] = {}
        if data is not None:
            values = _walk(data, self)
        self._values = {} if values is None else values

    def has(self, field: str) -> bool:
        """Whether the field is in it."""
        return self.schema.fields[field][0] in self._values

    def count(self, field: str) -> int:
        """Return how often the field is in it; a packed one counts once."""
        return len(self._raw(field))

    def numbers(self) -> set[int]:
        """Return the numbers of all fields that stand in it, unknown ones too."""
        return set(self._values)

    def _raw(self, field: str) -> list[Any]:
        return self._values.get(self.schema.fields[field][0], _NOTHING)

    def integer(self, field: str) -> int:
        """Return a number: signed, but for fields of an unsigned kind; a bool is 0 or 1."""
        raw = self._raw(field)
        if not raw:
            return 0
        last = raw[-1]
        if isinstance(last, int):
            kind = self.schema.fields[field][1]
            return last if kind in _UNSIGNED or last < 1 << 63 else last - (1 << 64)
        values = self.integers(field)
        return int(values[-1]) if len(values) else 0

    def integers(self, field: str) -> Array:
        """Return all numbers of a repeated field, as int64 or uint64."""
        kind = self.schema.fields[field][1]
        wanted = np.dtype(np.uint64) if kind in _UNSIGNED else np.dtype(np.int64)
        parts, singles = [], []
        for raw in self._raw(field):
            if isinstance(raw, int):
                singles.append(raw)
                continue
            if singles:
                parts.append(np.array(singles, np.uint64))
                singles = []
            parts.append(self._packed(field, raw))
        if singles or not parts:
            parts.append(np.array(singles, np.uint64))
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return whole.view(wanted)

    def _packed(self, field: str, raw: memoryview) -> Array:
        kind = self.schema.fields[field][1]
        if kind in _FORMS:
            return self._fixed(field, [raw], _FORMS[kind]).astype(np.uint64)
        try:
            return varints(raw, self.source)
        except PersistError:
            raise
        except ValueError as error:
            raise self.damaged(f"its packed {field} are broken: {error}.", raw) from error

    def floats(self, field: str) -> Array:
        """Return all numbers of a repeated float or double field; a view where they are packed."""
        return self._fixed(field, self._raw(field), _FORMS[self.schema.fields[field][1]])

    def number(self, field: str) -> float:
        """Return a float or double."""
        values = self.floats(field)
        return float(values[-1]) if len(values) else 0.0

    def _fixed(self, field: str, raw: list[Any], form: str) -> Array:
        dtype = from_text(form)
        for part in raw:
            if isinstance(part, int) or len(part) % dtype.itemsize:
                what = "a varint" if isinstance(part, int) else f"{len(part):,} bytes"
                raise self.damaged(
                    f"its {field} hold {what}, not numbers of {dtype.itemsize} bytes."
                )
        if len(raw) == 1:
            return np.frombuffer(raw[0], dtype)
        self.source.spend(sum(len(part) for part in raw))
        return np.frombuffer(b"".join(raw), dtype)

    def data(self, field: str) -> memoryview:
        """Return the bytes of a field."""
        raw = self._raw(field)
        return self._bytes(field, raw[-1]) if raw else memoryview(b"")

    def blobs(self, field: str) -> list[memoryview]:
        """Return the bytes of each value of a repeated field."""
        return [self._bytes(field, raw) for raw in self._raw(field)]

    def _bytes(self, field: str, raw: object) -> memoryview:
        if isinstance(raw, memoryview):
            return raw
        raise self.damaged(f"its {field} is {raw!r}, where bytes are wanted.")

    def text(self, field: str) -> str:
        """Return text; bytes that are no UTF-8 are shown escaped."""
        return bytes(self.data(field)).decode("utf-8", "backslashreplace")

    def texts(self, field: str) -> list[str]:
        """Return every text of a repeated field."""
        return [bytes(raw).decode("utf-8", "backslashreplace") for raw in self.blobs(field)]

    def name(self, field: str) -> str:
        """Return the name of an enum's value; of an unknown one, its number."""
        value = self.integer(field)
        return self.schema.home.enums[self.schema.fields[field][1]].get(value, str(value))

    def messages(self, field: str) -> list[Message]:
        """Return the messages of a repeated field; the same objects at every call."""
        number = self.schema.fields[field][0]
        known = self._parsed.get(number)
        if known is None:
            known = self._parsed[number] = [
                self._message(field, raw) for raw in self._values.get(number, _NOTHING)
            ]
        return known

    def message(self, field: str) -> Message | None:
        """Return the message of a singular field, several merged, or None."""
        raw = self._raw(field)
        if len(raw) < 2:
            return self.messages(field)[0] if raw else None
        if all(isinstance(part, memoryview) for part in raw):
            self.source.spend(sum(len(part) for part in raw))
            merged = self._message(field, memoryview(b"".join(raw)))
        else:
            values: dict[int, list[Any]] = {}
            for part in self.messages(field):
                for number, items in part._values.items():
                    values[number] = values.get(number, []) + items
            schema = self.schema.message(field)
            assert schema is not None
            merged = Message(schema, self.source, values=values)
        number = self.schema.fields[field][0]
        self._values[number] = [merged]
        self._parsed[number] = [merged]
        return merged

    def _message(self, field: str, raw: object) -> Message:
        if isinstance(raw, Message):
            return raw
        schema = self.schema.message(field)
        if schema is None:
            kind = f"map:{self.schema.fields[field][1][4:]}"
            schema = self.schema.home.messages[kind]
        return Message(schema, self.source, self._bytes(field, raw))

    def map(self, field: str) -> dict[str, Message | None]:
        """Return a map of messages: the last of several entries of one key counts."""
        return {entry.text("key"): entry.message("value") for entry in self.messages(field)}

    def damaged(self, what: str, place: memoryview | None = None) -> DamagedFileError:
        """Return the error that says what is wrong in it, and where."""
        return DamagedFileError(
            f"a {self.schema.name} message is broken: {what}",
            file=self.source.name,
            where=_where(self.source, self._data if place is None else place),
            remedy="The file is truncated or damaged.",
        )

    def __repr__(self) -> str:
        return f"<{self.schema.name} message of fields {sorted(self._values)}>"


_NOTHING: list[object] = []


def _where(source: Source, data: memoryview | None) -> str | None:
    """The offset of a view in its source, where the one is a view of the other."""
    if data is None or not len(data) or not source.is_mapped or not source.size:
        return None
    whole = _address(source.view(0, source.size))
    inside = _address(data) - whole
    return f"offset {inside}" if 0 <= inside < source.size else None


def _address(data: memoryview) -> int:
    return int(np.frombuffer(data, np.uint8).__array_interface__["data"][0])


def _walk(data: memoryview, owner: Message) -> dict[int, list[Any]]:
    """One level of a message: field's number -> payloads."""
    found: dict[int, list[Any]] = {}
    position, end, count = 0, len(data), 0
    groups: list[int] = []  # those that are open: they are passed over
    try:
        while position < end:
            count += 1
            if not count % _BATCH:
                owner.source.spend(_BATCH * _COST)
            key = data[position]
            position += 1
            if key >= 0x80:
                key, position = _varint(data, position - 1)
            number, wire = key >> 3, key & 7
            payload: object
            if wire == _BYTES:
                length = data[position]
                position += 1
                if length >= 0x80:
                    length, position = _varint(data, position - 1)
                if length > end - position:
                    raise ValueError(
                        f"field {number} claims {length:,} bytes, {end - position:,} are left"
                    )
                payload = data[position : position + length]
                position += length
            elif wire == _VARINT:
                payload = data[position]
                position += 1
                if payload >= 0x80:
                    payload, position = _varint(data, position - 1)
            elif wire in (_FIXED32, _FIXED64):
                length = 4 if wire == _FIXED32 else 8
                if length > end - position:
                    raise ValueError(f"field {number} breaks off")
                payload = data[position : position + length]
                position += length
            else:
                _group(groups, number, wire)
                continue
            if number == 0:
                raise ValueError("a field has the number 0")
            if not groups:
                found.setdefault(number, []).append(payload)
        if groups:
            raise ValueError(f"group {groups[-1]} has no end")
    except IndexError:
        raise owner.damaged(f"it breaks off after {end:,} bytes.", data) from None
    except PersistError:  # a limit; some are ValueErrors, too
        raise
    except ValueError as error:
        raise owner.damaged(f"{error}.", data[min(position, end - 1) :]) from None
    return found


def _group(groups: list[int], number: int, wire: int) -> None:
    if wire == _START and len(groups) < 100:
        groups.append(number)
    elif wire != _END or not groups or groups.pop() != number:
        raise ValueError(f"field {number} has wire type {wire}")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint has more than 10 bytes")


def varints(data: memoryview, source: Source) -> Array:
    """Return packed varints as uint64.

    Raises:
        ValueError: the last has no end, or one has more than 10 bytes.
    """
    raw = np.frombuffer(data, np.uint8)
    if not len(raw):
        return np.zeros(0, np.uint64)
    source.spend(16 * len(raw))
    ends = np.flatnonzero(raw < 0x80)
    if not len(ends) or ends[-1] != len(raw) - 1:
        raise ValueError("the last varint has no end")
    if len(ends) == len(raw):
        return raw.astype(np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise ValueError("a varint has more than 10 bytes")
    values = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        has = lengths > place
        part = (raw[starts[has] + place] & 0x7F).astype(np.uint64)
        values[has] |= part << np.uint64(7 * place)
    return values


def fixed(kind: str, value: float) -> memoryview:
    """Return a float or double as the bytes of its field (for the text format)."""
    form = "<f" if kind == "float" else "<d"
    try:
        return memoryview(struct.pack(form, value))
    except OverflowError:
        return memoryview(struct.pack(form, float("inf") if value > 0 else float("-inf")))

"""The text format of protocol buffers, read into the same messages as the binary one.

After the "Text Format Language Specification" of the protocol buffers'
documentation: ``name: value``, ``name { ... }`` or ``< ... >``, lists in
brackets, comments after ``#``, strings in either quote, one after the other
joined, with C's escapes; enums by name or number. Fields that the schema does
not know are passed over.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message, Schema, Schemas, fixed
from persist.errors import DamagedFileError

__all__ = ["parse"]

_TOKEN = regex(
    rb"(?:[ \t\r\n\f\v]++|#[^\n]*+)*+"
    rb"(?:(?P<word>[A-Za-z_][A-Za-z0-9_.\-]*)"
    rb"|(?P<number>[-+]?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fFuUlL]?))"
    rb"|(?P<minus>-\s*[A-Za-z]+)"
    rb"|(?P<string>\"(?:[^\"\\\n]++|\\.)*+\"|'(?:[^'\\\n]++|\\.)*+')"
    rb"|(?P<mark>[{}<>\[\]:,;/])"
    rb"|(?P<end>\Z))",
    re.DOTALL,
)
_SPACE = regex(rb"(?:\s++|#[^\n]*+)*+")
_ESCAPE = regex(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
# Escapes that mean the same in Python's byte strings.
_LIKE_PYTHON = regex(
    rb"(?:[^\\]++|\\(?:(?![4-7][0-7][0-7])[0-7]|[nrtabfv\\'\"]|x[0-9a-fA-F]{2}))*+", re.DOTALL
)
_PLAIN = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v",
    b"\\": b"\\", b"'": b"'", b'"': b'"', b"?": b"?",
}  # fmt: skip
_CLOSING = {b"{": b"}", b"<": b">"}
_COST = 96  # bytes of memory that one value takes, at least
_BATCH = 1024
_FLOATS = frozenset(("float", "double"))
_INTEGERS = frozenset(
    ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "bool")
)


def parse(schemas: Schemas, name: str, data: memoryview, source: Source) -> Message:
    """Return the message of type ``name`` that is as text.

    Raises:
        DamagedFileError: the text breaks the grammar, or a value does not fit its field.
    """
    return _Parser(schemas.messages[name], data, source).run()


class _Level:
    """A message that is open: its schema (None: unknown, passed over) and what closes it."""

    __slots__ = ("closing", "schema", "values")

    def __init__(self, schema: Schema | None, closing: bytes) -> None:
        self.schema = schema
        self.closing = closing
        self.values: dict[int, list[Any]] = {}


class _Parser:
    def __init__(self, schema: Schema, data: memoryview, source: Source) -> None:
        self.data = data
        self.source = source
        self.position = 0
        self.made = 0
        self.levels = [_Level(schema, b"")]
        self.kind = self.token = b""
        self.next()

    def next(self) -> None:
        """Go on to the next token."""
        match = _TOKEN.match(self.data, self.position)
        if match is None:
            raise self.wrong("no token of the text format is here")
        self.kind = (match.lastgroup or "").encode()
        self.token = match[match.lastgroup or 0]
        self.position = match.end()
        self.made += 1
        if not self.made % _BATCH:
            self.source.spend(_BATCH * _COST)

    def run(self) -> Message:
        while True:
            level = self.levels[-1]
            if self.kind == b"end":
                if len(self.levels) > 1:
                    raise self.wrong(f"{len(self.levels) - 1} messages are not closed")
                schema = level.schema
                assert schema is not None
                return Message(schema, self.source, values=level.values)
            if self.kind == b"mark" and self.token in b",;":
                self.next()
            elif self.kind == b"mark" and self.token == level.closing:
                self.close()
            else:
                self.field(level)

    def field(self, level: _Level) -> None:
        """A name, and its value or the opening of its message."""
        name = self.name()
        known = None if level.schema is None else level.schema.fields.get(name)
        if self.kind == b"mark" and self.token == b":":
            self.next()
        if self.kind == b"mark" and self.token == b"[":
            self.list(level, name, known)
        elif self.kind == b"mark" and self.token in _CLOSING:
            self.open(level, name, known)
        else:
            self.value(level, name, known)

    def name(self) -> str:
        if self.kind == b"word":
            name = self.token.decode("ascii")
            self.next()
            return name
        if self.kind == b"mark" and self.token == b"[":  # an extension, or the type of an Any
            while not (self.kind == b"mark" and self.token == b"]"):
                if self.kind == b"end":
                    raise self.wrong("a name in brackets has no end")
                self.next()
            self.next()
            return "[]"
        raise self.wrong(f"a field's name is wanted, not {self.token[:40]!r}")

    def list(self, level: _Level, name: str, known: tuple[int, str] | None) -> None:
        """Values, or messages, in brackets: the same as one after the other."""
        self.next()
        while not (self.kind == b"mark" and self.token == b"]"):
            if self.kind == b"mark" and self.token == b",":
                self.next()
            elif self.kind == b"mark" and self.token in _CLOSING:
                depth = len(self.levels)
                self.open(level, name, known)
                while len(self.levels) > depth:
                    inner = self.levels[-1]
                    if self.kind == b"mark" and self.token in b",;":
                        self.next()
                    elif self.kind == b"mark" and self.token == inner.closing:
                        self.close()
                    else:
                        if self.kind == b"end":
                            raise self.wrong("a list is not closed")
                        self.flat(inner)
            else:
                self.value(level, name, known)
        self.next()

    def flat(self, level: _Level) -> None:
        """A field of a message that is in a list; lists of messages do not nest further."""
        if self.depth_of_lists() > 100:
            raise self.wrong("lists are nested more than 100 deep")
        self.lists += 1
        try:
            self.field(level)
        finally:
            self.lists -= 1

    lists = 0

    def depth_of_lists(self) -> int:
        return self.lists

    def open(self, level: _Level, name: str, known: tuple[int, str] | None) -> None:
        schema = None
        if known is not None and level.schema is not None:
            schema = level.schema.home.messages.get(known[1])
            if schema is None:
                raise self.wrong(f"field {name} is a {known[1]}, no message")
        inner = _Level(schema, _CLOSING[self.token])
        if schema is not None:
            assert known is not None
            # Its place among its neighbours is where it opens.
            message = Message(schema, self.source, values=inner.values)
            level.values.setdefault(known[0], []).append(message)
        self.levels.append(inner)
        self.next()

    def close(self) -> None:
        self.levels.pop()
        self.next()

    def value(self, level: _Level, name: str, known: tuple[int, str] | None) -> None:
        kind, token = self.kind, self.token
        if kind == b"string":
            value: Any = memoryview(self.string())
        elif kind in (b"word", b"number", b"minus"):
            value = token
            self.next()
        else:
            raise self.wrong(f"field {name} wants a value, not {token[:40]!r}")
        if known is None or level.schema is None:
            return
        number, wanted = known
        level.values.setdefault(number, []).append(self.fit(level.schema, name, wanted, value))

    def fit(self, schema: Schema, name: str, wanted: str, value: Any) -> object:
        """A value as the binary format would give it."""
        is_string = isinstance(value, memoryview)
        try:
            if wanted in ("string", "bytes"):
                if is_string:
                    return value
            elif not is_string:
                token = b"".join(value.split())
                if wanted in _FLOATS:
                    return fixed(wanted, _float(token))
                if wanted in _INTEGERS:
                    return _integer(token) & 0xFFFF_FFFF_FFFF_FFFF
                if wanted in schema.home.enums:
                    return _enum(schema.home.enums[wanted], token) & 0xFFFF_FFFF_FFFF_FFFF
        except ValueError:
            pass
        shown = bytes(value[:40])
        raise self.wrong(f"field {name} of a {schema.name} is a {wanted}, and {shown!r} is none")

    def string(self) -> bytes:
        """Strings one after the other, joined."""
        parts = []
        while self.kind == b"string":
            parts.append(_unescape(self.token[1:-1]))
            self.next()
        return b"".join(parts)

    def wrong(self, what: str) -> DamagedFileError:
        start = _SPACE.match(self.data, self.position)
        line = bytes(self.data[: start.end() if start else 0]).count(b"\n") + 1
        return DamagedFileError(
            f"{what}.",
            file=self.source.name,
            where=f"line {line}",
            remedy="The text of a protocol buffer is wanted; it is truncated or damaged.",
        )


def _unescape(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    if _LIKE_PYTHON.fullmatch(text):  # much faster for a tensor's bytes
        return codecs.escape_decode(text)[0]
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, short, long, plain = match.groups()
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))
    if hexadecimal is not None:
        return bytes((int(hexadecimal, 16),))
    if plain is not None:
        return _PLAIN.get(plain, plain)
    code = int(short or long, 16)
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else b"?"


def _float(token: bytes) -> float:
    text = token.decode("ascii").lower()
    if text.lstrip("+-").startswith("0x"):
        return float(int(text, 16))
    return float(text[:-1] if text.endswith("f") and not text.endswith("inf") else text)


def _integer(token: bytes) -> int:
    text = token.decode("ascii").lower()
    if text in ("true", "t"):
        return 1
    if text in ("false", "f"):
        return 0
    text = text.rstrip("ul")
    digits = text.lstrip("+-")
    if digits.startswith("0x"):
        value = int(digits[2:], 16)
    else:
        if len(digits) > 24:
            raise ValueError("too many digits")
        value = int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)
    value = -value if text.startswith("-") else value
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("beyond 64 bits")
    return value


def _enum(names: dict[int, str] | Any, token: bytes) -> int:
    text = token.decode("ascii")
    for number, name in names.items():
        if name == text:
            return int(number)
    return _integer(token)

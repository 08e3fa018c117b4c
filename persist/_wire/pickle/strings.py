"""What Python 2's ``str`` becomes, and how protocol 0 spells it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any

from persist._runtime.lazy_regex import regex
from persist.errors import PersistError

__all__ = ["string_policy", "unescape"]

_ESCAPE = regex(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
# Text with nothing but escapes that the codec of Python 3 decodes alike: it knows more (``\\u``, ``\\N``),
# and it warns of what Python 2 left as it was.
_ALIKE = regex(
    rb"(?:[^\\]++|\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{0,2}|[4-7][0-7]?+(?![0-7])|[nrtabfv\\'\"\n]))*+",
    re.DOTALL,
)
_ESCAPED = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v",
    b"\\": b"\\", b"'": b"'", b'"': b'"', b"\n": b"",
}  # fmt: skip


def unescape(text: bytes) -> bytes:
    """The bytes that Python 2's ``repr`` of a ``str`` means (protocol 0's STRING)."""

    def one(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes((int(code[1:], 16),))
        if code[:1].isdigit() and code[:1] < b"8":
            return bytes((int(code, 8) & 255,))
        return _ESCAPED.get(code, match[0])

    if b"\\" not in text:
        return text
    # The pickled buffer of an array is escapes from end to end: the codec is compiled, `one` is not.
    if _ALIKE.fullmatch(text):
        return codecs.decode(text, "unicode_escape").encode("latin-1")
    return _ESCAPE.sub(one, text)


def string_policy(
    policy: str | Callable[[bytes], object] | None,
) -> Callable[[bytes], object] | None:
    """Return what makes a value of the bytes of a ``str``; None for text if it is UTF-8.

    Raises:
        PersistError: no such encoding is known.
    """
    if policy is None or callable(policy):
        return policy
    if policy == "bytes":
        return lambda data: data
    if policy == "text":
        return _as_text
    try:
        codecs.lookup(policy)
    except LookupError as error:
        raise PersistError(
            f"py2_str={policy!r} is not a valid option for Python 2's str.",
            remedy='Give "text", "bytes", the name of an encoding, or a callable from bytes.',
        ) from error

    def decode(data: bytes) -> Any:
        try:
            return data.decode(policy)
        except UnicodeDecodeError:
            return data

    return decode


def _as_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")

"""Finds texts in a pickle that a program for text files has replaced by longer or shorter ones.

A rename over a whole repository also changes binary pickles: the text is another, but the length
before it is that of the old one, and all that follows is read at the wrong offset. A writer puts
each text into the memo, so the opcode behind a text is known; where it is not there, but a few bytes
before or behind, the length is wrong.

Source: ``save_str`` and ``memoize`` in CPython's ``Lib/pickle.py``; Python 2's ``cPickle.c``.
"""

from __future__ import annotations

import io
import pickletools
import struct

import attrs

__all__ = ["ReplacedText", "repaired", "replaced_texts"]

_MOST_OPCODES = 300_000  # so that a damaged file does not take long to diagnose
_MOST_BYTES = 1 << 26
_FARTHEST = 64  # bytes by which a text is longer or shorter
_NEXT = 4  # opcodes that must be readable after a text of another length

# Opcode -> bytes of the length that follows it.
_TEXTS = {
    "SHORT_BINUNICODE": 1,
    "BINUNICODE": 4,
    "BINUNICODE8": 8,
    "SHORT_BINSTRING": 1,
    "BINSTRING": 4,
}
_OPCODES = {known.code: known for known in pickletools.opcodes}
_PUTS = {b"q": 1, b"r": 4}
_MEMOIZE = b"\x94"


@attrs.frozen
class ReplacedText:
    """A text whose length is not the one that is written before it.

    Attributes:
        offset: where its opcode is.
        begin: where the text begins.
        declared: the length that is written, in bytes.
        length: the length that it has, in bytes.
        text: the text as it is now.
    """

    offset: int
    begin: int
    declared: int
    length: int
    text: str


def replaced_texts(data: bytes) -> list[ReplacedText]:
    """Return the replaced texts of the first pickle in ``data``, in their order.

    The list is empty if there are none, if texts are not put into the memo, or if the opcodes
    cannot be followed to STOP even so.
    """
    return _Walk(data).replaced if len(data) <= _MOST_BYTES else []


def repaired(data: bytes, replaced: list[ReplacedText]) -> bytes:
    """Return the pickle with the lengths that its texts have. Frames, which it outgrew, are left out."""
    parts, end = [], 0
    frames = _Walk(data).frames
    changes = [(one.offset, one) for one in replaced] + [(at, None) for at in frames]
    for at, one in sorted(changes, key=lambda change: change[0]):
        parts.append(data[end:at])
        if one is None:
            end = at + 9
            continue
        parts.append(_opcode(data[at : at + 1], one.length))
        end = one.begin
    return b"".join((*parts, data[end:]))


def _opcode(code: bytes, length: int) -> bytes:
    """The opcode of a text with its length; the next longer opcode where the length needs one."""
    short = {b"\x8c": b"X", b"U": b"T"}
    if code in short and length < 256:
        return code + bytes((length,))
    if code == b"\x8d":
        return code + struct.pack("<Q", length)
    return short.get(code, code) + struct.pack("<I", length)


class _Walk:
    """Follows the opcodes of a pickle, and notes each text of another length on the way."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.stream = io.BytesIO(data)
        self.replaced: list[ReplacedText] = []
        self.frames: list[int] = []
        self.is_memoized = False  # whether anything was put into the memo
        self.slot = -1  # the last index of the memo that a PUT named
        if not self._follow():
            self.replaced = []

    def _follow(self) -> bool:
        """Follow the opcodes. True if STOP was reached."""
        for _ in range(_MOST_OPCODES):
            at = self.stream.tell()
            name = self._opcode(self.stream)
            if name is None:
                return False
            if name == "STOP":
                return True
            if name == "FRAME":
                self.frames.append(at)
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.slot = int.from_bytes(self.data[at + 1 : self.stream.tell()], "little")
                self.is_memoized = True
            elif name == "MEMOIZE":
                self.is_memoized = True
            elif name in _TEXTS:
                self._text(at, at + 1 + _TEXTS[name])
        return False

    @staticmethod
    def _opcode(stream: io.BytesIO) -> str | None:
        """Read one opcode and what follows it. None for what is no opcode, or is incomplete."""
        known = _OPCODES.get(stream.read(1).decode("latin-1"))
        if known is None:
            return None
        width = _TEXTS.get(known.name)
        try:
            if width is not None:  # its bytes may be no text if the length is wrong
                length = int.from_bytes(stream.read(width), "little")
                stream.seek(min(stream.tell() + length, _MOST_BYTES))
            elif known.arg is not None:
                known.arg.reader(stream)
        except (ValueError, UnicodeError):
            return None
        return known.name

    def _text(self, at: int, begin: int) -> None:
        end = self.stream.tell()
        if not self.is_memoized or (self._is_put(end) and self._is_possible(at, begin, end)):
            return
        last = min(end + _FARTHEST, len(self.data))
        near = sorted(range(max(begin, end - _FARTHEST), last), key=lambda to: abs(to - end))
        for other in near:
            if other != end and self._is_put(other) and self._goes_on(other):
                text = self._decoded(begin, other)
                if text is not None:
                    self.replaced.append(ReplacedText(at, begin, end - begin, other - begin, text))
                    self.stream.seek(other)
                    return

    def _is_possible(self, at: int, begin: int, end: int) -> bool:
        """Whether bytes can be what their opcode says: Python 2's ``str`` holds any."""
        if self.data[at : at + 1] in b"UT":
            return True
        try:
            self.data[begin:end].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return False
        return True

    def _decoded(self, begin: int, end: int) -> str | None:
        try:
            text = self.data[begin:end].decode("utf-8")
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() else None

    def _is_put(self, at: int) -> bool:
        """Whether the opcode at an offset puts a value where the memo goes on."""
        code = self.data[at : at + 1]
        if code == _MEMOIZE:
            return True
        width = _PUTS.get(code)
        if width is None:
            return False
        slot = int.from_bytes(self.data[at + 1 : at + 1 + width], "little")
        return slot == self.slot + 1

    def _goes_on(self, at: int) -> bool:
        stream = io.BytesIO(self.data)
        stream.seek(at)
        for _ in range(_NEXT):
            name = self._opcode(stream)
            if name in (None, "STOP"):
                return name == "STOP"
        return True

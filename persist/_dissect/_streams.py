"""Ranges of streams: pickles opcode by opcode, protobuf field by field, TFRecord, text."""

from __future__ import annotations

import pickletools
from collections.abc import Generator, Iterator
from typing import Any, cast

from persist._trees.leaves import escaped

__all__ = [
    "is_pickle", "is_protobuf", "is_text", "is_tfrecord", "pickles", "protobuf", "text", "tfrecord",
]  # fmt: skip

Parts = Iterator[tuple[int, int, str]]

_SHOWN = 60  # characters of an argument
_TRIED = 4_096  # bytes of a pickle without a PROTO opcode that must parse
_WIRES = {0: "varint", 1: "64 bits", 2: "length-delimited", 5: "32 bits"}


class _Stream:
    """A file over bytes that are not copied, for `pickletools`."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self.at = at

    def read(self, count: int = -1) -> bytes:
        found = bytes(self._data[self.at : self.at + count])
        self.at += len(found)
        return found

    def readline(self) -> bytes:
        size = 256
        while True:
            piece = bytes(self._data[self.at : self.at + size])
            end = piece.find(b"\n")
            if end >= 0 or self.at + size >= len(self._data):
                found = piece[: end + 1] if end >= 0 else piece
                self.at += len(found)
                return found
            size *= 8

    def tell(self) -> int:
        return self.at


def _opcodes(stream: _Stream) -> Iterator[tuple[str, object, int]]:
    """The name, argument and offset of each opcode up to STOP; text of Python 2 may be of any encoding.

    As `pickletools.genops`, which takes arguments that end with a line for ASCII.

    Raises:
        ValueError: a byte is no opcode, or an argument is cut.
    """
    while True:
        at = stream.at
        code = stream.read(1)
        opcode = _CODES.get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError(f"no opcode at {at}")
        argument: object = None
        if opcode.arg is not None:
            lines = _LINES.get(opcode.arg.name)
            if lines is None:
                argument = opcode.arg.reader(cast(Any, stream))
            else:
                read = [stream.readline() for _ in range(lines)]
                if not all(line.endswith(b"\n") for line in read):
                    raise ValueError("a line is cut")
                argument = " ".join(line[:-1].decode("utf-8", "backslashreplace") for line in read)
        yield opcode.name, argument, at
        if opcode.name == "STOP":
            return


_CODES: dict[str, Any] = vars(pickletools)["code2op"]  # the stubs of type checkers lack it
# Arguments that are lines -> how many.
_LINES = {"stringnl": 1, "stringnl_noescape": 1, "stringnl_noescape_pair": 2}


def is_pickle(data: memoryview) -> bool:
    """Whether it begins with PROTO; or its first bytes are opcodes and arguments to the end or for long."""
    if len(data) > 2 and data[0] == 0x80:
        return 2 <= data[1] <= 5
    if not len(data) or data[0] not in b"(]}cNIFSVUX)":
        return False
    try:
        for name, _, at in _opcodes(_Stream(data, 0)):
            if name == "STOP" or at > _TRIED:
                return at > 0
    except (ValueError, UnicodeError, OverflowError):
        return False
    return False


def pickles(data: memoryview) -> Parts:
    """Every opcode of every pickle, one after the other, with its argument."""
    at, number = 0, 0
    while at < len(data):
        stop = yield from _one_pickle(data, at, number)
        if stop == at:
            return
        at, number = stop, number + 1


def _one_pickle(
    data: memoryview, start: int, number: int
) -> Generator[tuple[int, int, str], None, int]:
    stream = _Stream(data, start)
    which = f"pickle {number + 1}: " if number else ""
    try:
        for name, argument, at in _opcodes(stream):
            yield at, stream.at, f"{which}{name}{_argument(argument)}"
    except (ValueError, UnicodeError, OverflowError, AttributeError):
        return start  # from here on it is no pickle: the rest is unknown
    return stream.at


def _argument(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and value.bit_length() > 256:
        return f" an int of {value.bit_length():,} bits"
    if isinstance(value, bytes | bytearray | str) and len(value) > _SHOWN:
        return f" {escaped(repr(value[:_SHOWN]))}... ({len(value):,})"
    return f" {escaped(repr(value))}"


def _varint(data: memoryview, at: int) -> tuple[int, int] | None:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
        shift += 7
    return None


def _fields(data: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, content, stop, number * 8 + wire) of each field; ends where it is no message."""
    at = start
    while at < stop:
        key = _varint(data, at)
        if key is None or not 0 < key[0] >> 3 < 1 << 29:
            return
        number, content = key
        wire = number & 7
        if wire == 0:
            value = _varint(data, content)
            last = value[1] if value else stop + 1
        elif wire in (1, 5):
            last = content + (8 if wire == 1 else 4)
        elif wire == 2:
            size = _varint(data, content)
            if size is None:
                return
            content, last = size[1], size[1] + size[0]
        else:
            return
        if last > stop:
            return
        yield at, content, last, number
        at = last


def is_protobuf(data: memoryview) -> bool:
    """Whether all bytes are fields of a message, with at least one that holds something."""
    last, count = 0, 0
    for _, content, stop, number in _fields(data, 0, len(data)):
        last = stop
        count += number & 7 == 2 and stop - content > 1
    return count > 0 and last == len(data)


def protobuf(data: memoryview) -> Parts:
    """Each field, messages inside messages too: keys and lengths apart from contents."""
    todo = [(0, len(data), "")]
    while todo:
        start, stop, path = todo.pop()
        inner = []
        is_split = False
        for at, content, last, number in _fields(data, start, stop):
            name = f"{path}.{number >> 3}" if path else f"{number >> 3}"
            wire = number & 7
            if wire != 2:
                yield at, last, f"field {name}, {_WIRES[wire]}"
                continue
            yield at, content, f"field {name}: key and length {last - content:,}"
            if path.count(".") < 6 and _is_message(data, content, last):
                inner = [(last, stop, path), (content, last, name)]
                is_split = True
                break
            yield content, last, f"field {name}: {_bytes(data[content:last])}"
        if is_split:
            todo += inner


def _is_message(data: memoryview, start: int, stop: int) -> bool:
    if stop - start < 4 or _is_printable(data[start:stop]):
        return False
    ends = [last for _, _, last, _ in _fields(data, start, stop)]
    return bool(ends) and ends[-1] == stop


def _is_printable(data: memoryview) -> bool:
    try:
        return bytes(data[:200]).decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _bytes(data: memoryview) -> str:
    if len(data) and _is_printable(data):
        shown = bytes(data[:_SHOWN]).decode("utf-8", "replace")
        return f"text {escaped(repr(shown))}{'...' if len(data) > _SHOWN else ''}"
    return f"{len(data):,} bytes"


def is_tfrecord(data: memoryview) -> bool:
    """Whether the first length has the checksum that belongs to it (masked CRC-32C)."""
    from persist._wire.compression.crc32c import crc32c

    if len(data) < 16:
        return False
    found = crc32c(bytes(data[:8]))
    masked = ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(data[8:12], "little")


def tfrecord(data: memoryview) -> Parts:
    """Records: length, checksum, content, checksum."""
    at, number = 0, 0
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        if at + 16 + size > len(data):
            return
        yield at, at + 8, f"record {number:,}: length {size:,}"
        yield at + 8, at + 12, "CRC-32C of the length"
        yield at + 12, at + 12 + size, f"content of record {number:,}"
        yield at + 12 + size, at + 16 + size, "CRC-32C of the content"
        at += 16 + size
        number += 1


def is_text(data: memoryview) -> bool:
    """Whether the beginning and the end are text."""
    for piece in (bytes(data[:4096]), bytes(data[-4096:])):
        if not piece or b"\0" in piece:
            return False
        try:
            piece[3:-3].decode("utf-8")
        except UnicodeDecodeError:
            return False
        if sum(byte < 9 or 13 < byte < 32 for byte in piece) > 0:
            return False
    return True


def text(data: memoryview) -> Parts:
    """One range: text has lines, which an editor shows."""
    lines = bytes(data).count(b"\n")
    yield 0, len(data), f"text, {lines:,} lines"

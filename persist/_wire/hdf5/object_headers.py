"""HDF5's object headers: the messages that say what an object is.

After the format specification, sections IV.A.1 (versions 1 and 2 of the header),
IV.A.2.q (continuation) and IV.A.2 (shared messages); ``H5Oshared.c`` for the
three versions of a shared message, ``H5SMcache.c`` for the table of those that
stand in a heap.
"""

from __future__ import annotations

import attrs

from persist._wire.hdf5.cursor import Fields, Frame
from persist._wire.hdf5.heaps import FractalHeap

__all__ = ["Message", "messages_of"]

DATASPACE, LINK_INFO, DATATYPE, FILL_OLD, FILL, LINK, EXTERNAL, LAYOUT = range(1, 9)
GROUP_INFO, FILTERS, ATTRIBUTE, COMMENT = 0x0A, 0x0B, 0x0C, 0x0D
SHARED_TABLE, CONTINUATION, SYMBOLS, ATTRIBUTE_INFO = 0x0F, 0x10, 0x11, 0x15

_SHARED = 0x02
_BLOCKS = 4096  # pieces of one header


@attrs.define(slots=True)
class Message:
    """One message of an object header.

    Attributes:
        kind: its type's number.
        flags: its flags; bit 1 is set if its data is stored elsewhere.
        data: its bytes.
        address: their address.
        frame: the file.
    """

    kind: int
    flags: int
    data: memoryview
    address: int
    frame: Frame

    def fields(self) -> Fields:
        """Return a cursor over its data, also if the message is shared."""
        what = f"message {self.kind:#04x}"
        fields = Fields(self.frame, self.data, self.address, what)
        return shared(fields, self.kind) if self.flags & _SHARED else fields


def messages_of(frame: Frame, address: int) -> list[Message]:
    """Return the messages of the object at ``address``.

    Raises:
        FormatError: there is no object header, or a broken one.
    """
    known = frame.known.get(("header", address))
    if known is None:
        head = bytes(frame.fields(address, 12, "an object header").data)
        if head[:4] == b"OHDR":
            known = _second(frame, address)
        elif head[0] == 1:
            known = _first(frame, address)
        else:
            frame.damaged(f"expected an object header, found {head[:4]!r}", f"offset {address}")
        frame.known["header", address] = known
    return known


def _first(frame: Frame, address: int) -> list[Message]:
    head = frame.fields(address, 12, "an object header")
    head.skip(2)
    count = head.number(2)
    head.skip(4)
    size = head.number(4)
    messages: list[Message] = []
    blocks = [(address + 16, size)]
    for number, (start, length) in enumerate(blocks):  # the loop appends continuation blocks
        fields = frame.fields(start, length, "an object header")
        while fields.left >= 8 and len(messages) < count:
            kind, size, flags = fields.number(2), fields.number(2), fields.byte()
            fields.skip(3)
            at = fields.at
            _add(messages, blocks, Message(kind, flags, fields.view(size), start + at, frame))
        _bound(fields, number)
    return messages


def _second(frame: Frame, address: int) -> list[Message]:
    head = frame.fields(address, min(64, frame.source.size - address), "an object header")
    head.skip(4)
    head.version(2)
    flags = head.byte()
    head.skip((16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0))
    size = head.number(1 << (flags & 3))
    messages: list[Message] = []
    blocks = [(address, head.at + size + 4)]
    for number, (start, length) in enumerate(blocks):
        magic = b"OCHK" if number else b"OHDR"
        fields = frame.checked(start, length, magic, "an object header")
        if not number:
            fields.at = head.at
        while fields.left >= 4 + (2 if flags & 0x04 else 0):
            kind, size, own = fields.byte(), fields.number(2), fields.byte()
            fields.skip(2 if flags & 0x04 else 0)
            at = fields.at
            _add(messages, blocks, Message(kind, own, fields.view(size), start + at, frame))
        _bound(fields, number)
    return messages


def _add(messages: list[Message], blocks: list[tuple[int, int]], message: Message) -> None:
    message.frame.work()
    if message.kind == CONTINUATION:
        fields = message.fields()
        block = fields.there(), fields.length()
        if block in blocks:
            fields.damaged("the header goes on where it has been")
        blocks.append(block)
    messages.append(message)


def _bound(fields: Fields, number: int) -> None:
    if number >= _BLOCKS:
        fields.damaged(f"the header has more than {_BLOCKS:,} pieces")


def shared(fields: Fields, kind: int) -> Fields:
    """Follow a shared message (or type, or space) to the place of its data.

    Args:
        fields: at the shared message's own data.
        kind: type of message that is shared.
    """
    frame = fields.frame
    version = fields.version(1, 2, 3)
    form = fields.byte()
    if version == 1:
        fields.skip(6 + frame.long)
    elif version == 3 and form == 1:
        return heaped(frame, fields.take(8), kind, fields)
    address = fields.there()
    for message in messages_of(frame, address):
        if message.kind == kind and not message.flags & _SHARED:
            return message.fields()
    return fields.damaged(f"the object at offset {address} has no message {kind:#04x} to share")


def heaped(frame: Frame, key: bytes, kind: int, fields: Fields) -> Fields:
    """Return a message from the heap for shared messages of its type."""
    table = frame.known.get("shared messages")
    heap = next((heap for mask, heap in table or () if mask >> kind & 1), None)
    if heap is None:
        fields.damaged(f"the file has no heap for shared messages {kind:#04x}")
    return Fields(frame, heap.get(key), 0, f"shared message {kind:#04x}")


def read_shared_table(frame: Frame, message: Message) -> None:
    """Read the places of shared messages from the superblock's extension."""
    fields = message.fields()
    fields.version(0)
    address = fields.there()
    count = fields.byte()
    length = 4 + count * (2 + 2 + 4 + 3 * 2 + 2 * frame.wide) + 4
    table = frame.checked(address, length, b"SMTB", "the table of shared messages")
    found = []
    for _ in range(count):
        table.skip(2)
        mask = table.number(2)
        table.skip(4 + 6)
        table.address()
        heap = table.address()
        if heap is not None:
            found.append((mask, FractalHeap(frame, heap)))
    frame.known["shared messages"] = found

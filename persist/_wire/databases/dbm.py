"""Files of keys and values, as Python's ``dbm`` knows them: gdbm, Berkeley DB, dumbdbm.

Each function yields the pairs of a file in the order in which they stand there. Nothing is looked
up by hash: every page that belongs to the file is read once, so that a wrong hash loses nothing
and no library is needed.

gdbm after ``gdbmdefs.h``, ``bucket.c`` and ``gdbmopen.c`` of GNU dbm 1.8 to 1.23. Berkeley DB after
``dbinc/db_page.h``, ``dbinc/hash.h`` and ``dbinc/btree.h`` of 3.2 to 5.3 (versions 5 to 10 of both
kinds of file); that of 4.4BSD, which macOS's ndbm is, after ``hash.h``, ``hash_page.c`` and
``hash_bigkey.c`` of DB 1.85. dumbdbm after CPython's ``Lib/dbm/dumb.py``.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from persist._wire.base.source import Source
from persist._wire.databases.signatures import BERKELEY, BTREE, GDBM, HASH
from persist.errors import DamagedFileError, FormatError

__all__ = ["GRAMMARS", "berkeley", "berkeley_185", "dumb", "entry_of", "gdbm"]

Pairs = Iterator[tuple[bytes, bytes]]
Grammar = Callable[[Source], Pairs]

_REMEDY = "The file is damaged; copy it again from where it came from."


def _damaged(source: Source, what: str, where: str | None = None) -> FormatError:
    return DamagedFileError(f"{what}.", file=source.name, where=where, remedy=_REMEDY)


# GNU dbm.

_EMPTY = 0xFFFFFFFF  # the hash of an element that is free


@attrs.frozen
class _Layout:
    """How a compiler laid out gdbm's structures."""

    width: int  # of an offset
    bits: int  # where a bucket's bits and count stand
    table: int  # where its elements begin

    @property
    def element(self) -> int:
        return 16 + self.width

    def elements(self, size: int) -> int:
        """As many elements as gdbm has put into a bucket of this size."""
        return (size - self.table - self.element) // self.element + 1


# 4-byte offsets; 8-byte ones aligned to 8 bytes, and to 4 as on 32-bit x86.
_LAYOUTS = (_Layout(4, 52, 60), _Layout(8, 104, 112), _Layout(8, 76, 84))


def gdbm(source: Source) -> Pairs:
    """Yield the pairs of a file of GNU dbm, of either byte order and any width of offsets."""
    little = struct.unpack("<I", source.head(4))[0] in GDBM
    order = "<" if little else ">"
    directory, layout, size = _gdbm_header(source, order)
    letter = "q" if layout.width == 8 else "i"
    count = directory[1] // layout.width
    places = struct.unpack(f"{order}{count}{letter}", source.view(*directory))
    for place in dict.fromkeys(places):
        bucket = source.view(place, size)
        for start in range(layout.table, len(bucket) - layout.element + 1, layout.element):
            found, _, at, key, value = struct.unpack_from(f"{order}I4s{letter}ii", bucket, start)
            if found == _EMPTY:
                continue
            if key < 0 or value < 0:
                raise _damaged(source, f"{key} and {value} bytes are claimed", f"offset {place}")
            source.spend(key + value)
            yield source.read(at, key), source.read(at + key, value)


def _gdbm_header(source: Source, order: str) -> tuple[tuple[int, int], _Layout, int]:
    """Where the directory is, the layout and the size of a bucket: what fits itself."""
    magic = struct.unpack(f"{order}I", source.head(4))[0]
    for layout in _LAYOUTS:
        if GDBM[magic] not in (None, layout.width):
            continue
        letter = "q" if layout.width == 8 else "i"
        form = f"{order}{letter}4i"
        at, size, bits, bucket, elements = struct.unpack_from(form, source.head(64), 8)
        fits = 0 <= bits < 31 and size >= layout.width << bits and not size % layout.width
        if fits and bucket > layout.table and elements == layout.elements(bucket):
            return (at, size), layout, bucket
    raise _damaged(source, "no layout of GNU dbm fits its header")


# Berkeley DB since 2.

_OVERFLOW, _LEAF, _BRANCH, _HASHED = 7, 5, 3, (2, 13)  # types of pages
_DELETED = 0x80


class _Pages:
    """The pages of a file of Berkeley DB."""

    def __init__(self, source: Source) -> None:
        self.source = source
        head = source.head(512)
        self.order = "<" if struct.unpack_from("<I", head, 12)[0] in BERKELEY else ">"
        self.magic, self.version, self.size = self.numbers(head, 12, 3)
        if self.size < 512 or self.size > 65536 or self.size & (self.size - 1):
            raise _damaged(source, f"its pages have {self.size:,} bytes")
        if head[24]:
            raise FormatError(
                "it is encrypted.",
                file=source.name,
                remedy="Dump it with db_dump -P and load that with db_load.",
            )
        self.header = 32 if head[26] & 1 else 26  # with checksums
        self.head = head
        self.seen: set[int] = set()

    def numbers(self, data: Any, at: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"{self.order}{count}I", data, at)

    def page(self, number: int, kinds: tuple[int, ...]) -> memoryview:
        if number in self.seen:
            raise _damaged(self.source, f"page {number:,} is met twice")
        self.seen.add(number)
        page = self.source.view(number * self.size, self.size)
        if page[25] not in kinds:
            raise _damaged(self.source, f"page {number:,} is of type {page[25]}, not {kinds[0]}")
        return page

    def following(self, page: memoryview) -> int:
        return self.numbers(page, 16, 1)[0]

    def items(self, page: memoryview) -> list[int]:
        """Where the items of a page begin."""
        count = struct.unpack_from(f"{self.order}H", page, 20)[0]
        if self.header + 2 * count > len(page):
            raise _damaged(self.source, f"{count:,} items are claimed on a page")
        places = struct.unpack_from(f"{self.order}{count}H", page, self.header)
        if any(not self.header <= place < len(page) for place in places):
            raise _damaged(self.source, "an item is said to stand outside its page")
        return list(places)

    def far(self, item: memoryview) -> bytes:
        """What is on pages of its own: number of the first page and length at byte 4."""
        if len(item) < 12:
            raise _damaged(self.source, "an item is cut short")
        number, size = self.numbers(item, 4, 2)
        self.source.spend(min(size, self.source.size))
        parts, left = [], size
        while left > 0:
            page = self.page(number, (_OVERFLOW,))
            length = struct.unpack_from(f"{self.order}H", page, 22)[0]
            part = bytes(page[self.header : self.header + length])
            if not 0 < len(part) <= left:
                raise _damaged(self.source, f"page {number:,} holds {length:,} of {left:,} bytes")
            parts.append(part)
            left -= len(part)
            number = self.following(page)
        return b"".join(parts)

    def refuse(self, what: str) -> FormatError:
        return FormatError(
            f"{what}.",
            file=self.source.name,
            remedy="Python's shelves have none. Dump it with db_dump -p, which is text.",
        )


def berkeley(source: Source) -> Pairs:
    """Yield the pairs of a hash or a B-tree of Berkeley DB 2 and later.

    Raises:
        FormatError: it is a queue or a heap, encrypted, or holds several values of one key.
    """
    pages = _Pages(source)
    if pages.magic == HASH:
        items = _hashed(pages)
    elif pages.magic == BTREE:
        items = _in_leaves(pages)
    else:
        raise pages.refuse(f"it is a {BERKELEY[pages.magic][0]}, which has no keys")
    for key in items:
        value = next(items, None)
        if value is None:
            raise _damaged(source, "a key has no value")
        if key is not _GONE and value is not _GONE:
            yield key, value


_GONE: Any = type("Gone", (), {})()  # an item that was deleted in its place


def _hashed(pages: _Pages) -> Iterator[bytes]:
    """Keys and values of a hash in turn: each bucket, and the pages that follow its first."""
    most = pages.numbers(pages.head, 72, 1)[0]
    spares = pages.numbers(pages.head, 96, 32)
    if most >= 1 << 31 or most * pages.size > pages.source.size:
        raise _damaged(pages.source, f"{most + 1:,} buckets are claimed")
    for bucket in range(most + 1):
        number = bucket + spares[bucket.bit_length()]
        while number:
            page = pages.page(number, _HASHED)
            end = pages.size
            for place in pages.items(page):
                item = page[place:end]
                end = place
                yield _hash_item(pages, item)
            number = pages.following(page)


def _hash_item(pages: _Pages, item: memoryview) -> bytes:
    kind = item[0] if len(item) else 0
    if kind == 1:
        pages.source.spend(len(item))
        return bytes(item[1:])
    if kind == 3:
        return pages.far(item)
    if kind in (2, 4):
        raise pages.refuse("a key has several values")
    raise _damaged(pages.source, f"an item is of type {kind}")


def _in_leaves(pages: _Pages) -> Iterator[bytes]:
    """Keys and values of a B-tree in turn, by their order."""
    if pages.numbers(pages.head, 48, 1)[0] & 0x20:
        raise pages.refuse("it holds several databases")
    if pages.numbers(pages.head, 48, 1)[0] & 0x02:
        raise pages.refuse("it holds numbered records")
    number = pages.numbers(pages.head, 88, 1)[0]
    page = pages.page(number, (_LEAF, _BRANCH))
    while page[25] == _BRANCH:
        places = pages.items(page)
        if not places:
            raise _damaged(pages.source, "a branch leads nowhere")
        (number,) = pages.numbers(page[places[0] :], 4, 1)
        page = pages.page(number, (_LEAF, _BRANCH))
    while True:
        for place in pages.items(page):
            yield _leaf_item(pages, page[place:])
        number = pages.following(page)
        if not number:
            return
        page = pages.page(number, (_LEAF,))


def _leaf_item(pages: _Pages, item: memoryview) -> bytes:
    length, kind = struct.unpack_from(f"{pages.order}HB", item, 0) if len(item) > 2 else (0, 0)
    if kind & _DELETED:
        return _GONE  # type: ignore[no-any-return]
    if kind == 1:
        if 3 + length > len(item):
            raise _damaged(pages.source, f"{length:,} bytes are claimed in an item")
        pages.source.spend(length)
        return bytes(item[3 : 3 + length])
    if kind == 3:
        return pages.far(item)
    if kind == 2:
        raise pages.refuse("a key has several values")
    raise _damaged(pages.source, f"an item is of type {kind}")


# Berkeley DB 1.85, which is ndbm where no other is.

_OVERFLOWS, _PARTIAL, _FULL, _FULL_DATA, _REAL = 0, 1, 2, 3, 4  # in place of an offset


class _Old:
    """The pages of a hash of 4.4BSD: its header is big-endian, its pages as the header states."""

    def __init__(self, source: Source) -> None:
        self.source = source
        head = source.head(260)
        if len(head) < 260:
            raise _damaged(source, "its header is cut short")
        order, self.size = struct.unpack_from(">2i", head, 8)
        self.most = struct.unpack_from(">i", head, 40)[0]
        self.header = struct.unpack_from(">i", head, 60)[0]
        self.spares: tuple[int, ...] = struct.unpack_from(">32i", head, 68)
        if order not in (1234, 4321) or not 64 <= self.size <= 65536 or self.header < 1:
            raise _damaged(source, f"order {order}, pages of {self.size:,} bytes cannot be")
        if self.most < 0 or self.most * self.size > source.size:
            raise _damaged(source, f"{self.most + 1:,} buckets are claimed")
        self.letters = "<" if order == 1234 else ">"
        self.seen: set[int] = set()

    def bucket(self, bucket: int) -> int:
        """The page where a bucket begins."""
        spare = self.spares[bucket.bit_length() - 1] if bucket else 0
        return int(bucket + self.header + spare)

    def page(self, number: int) -> tuple[memoryview, tuple[int, ...]]:
        """A page, and the numbers at its head; of one beyond the end, no bytes and no numbers."""
        if number in self.seen or number < self.header:
            raise _damaged(self.source, f"page {number:,} is met twice")
        self.seen.add(number)
        start = number * self.size
        if start >= self.source.size:  # a bucket that was never written to
            return memoryview(b""), ()
        page = self.source.view(start, min(self.size, self.source.size - start))
        count = struct.unpack_from(f"{self.letters}H", page, 0)[0] if len(page) > 1 else 0
        if not count:
            return page, ()
        if count % 2 or 2 * (count + 3) > len(page) or len(page) < self.size:
            raise _damaged(self.source, f"{count:,} items are claimed on page {number:,}")
        return page, struct.unpack_from(f"{self.letters}{count + 2}H", page, 2)

    def linked(self, address: int) -> tuple[memoryview, tuple[int, ...]]:
        """The page that an address of an overflow page means; it must hold something."""
        split, place = address >> 11, address & 0x7FF
        page, numbers = self.page(self.bucket((1 << split) - 1) + place)
        return page, numbers

    def part(self, page: memoryview, start: int, end: int) -> bytes:
        if not start <= end <= len(page):
            raise _damaged(self.source, "an item is said to stand outside its page")
        self.source.spend(end - start)
        return bytes(page[start:end])


def berkeley_185(source: Source) -> Pairs:
    """Yield the pairs of a hash of Berkeley DB 1.85, of either byte order."""
    pages = _Old(source)
    for bucket in range(pages.most + 1):
        page, numbers = pages.page(pages.bucket(bucket))
        at, end = 0, pages.size
        while at + 3 < len(numbers):  # two more follow the items: free space, where it ends
            first, second = numbers[at : at + 2]
            if second == _OVERFLOWS:
                (page, numbers), at, end = pages.linked(first), 0, pages.size
            elif second >= _REAL:
                yield pages.part(page, first, end), pages.part(page, second, first)
                at, end = at + 2, second
            else:
                key, value, page, numbers = _big(pages, page, numbers)
                yield key, value
                at, end = 0, pages.size


def _big(
    pages: _Old, page: memoryview, numbers: tuple[int, ...]
) -> tuple[bytes, bytes, memoryview, tuple[int, ...]]:
    """A pair that takes pages of its own, and the page that follows them (``hash_bigkey.c``)."""

    def onward() -> tuple[memoryview, tuple[int, ...]]:
        found = pages.linked(numbers[len(numbers) - 4])
        if len(found[1]) < 4:
            raise _damaged(pages.source, "a large item breaks off")
        return found

    key = [pages.part(page, numbers[0], pages.size)]
    while numbers[1] == _PARTIAL:
        page, numbers = onward()
        key.append(pages.part(page, numbers[0], pages.size))
    value = []
    is_done = False
    if numbers[1] == _FULL:
        page, numbers = onward()
    elif numbers[1] == _FULL_DATA:  # the value begins on the page where the key ends
        last = len(numbers) - 2
        value.append(pages.part(page, numbers[last - 1], numbers[0]))
        is_done = numbers[last] > 0  # free space is left, so that it ends there, too
        if not is_done:
            page, numbers = onward()
    while not is_done:
        value.append(pages.part(page, numbers[0], pages.size))
        is_done = numbers[1] == _FULL_DATA
        if not is_done:
            page, numbers = onward()
    if len(numbers) > 4:
        page, numbers = pages.linked(numbers[len(numbers) - 4])
    else:
        page, numbers = memoryview(b""), ()
    return b"".join(key), b"".join(value), page, numbers


# dumbdbm.

_LINE = re.compile(
    r"""(u?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))\s*,\s*\(\s*(\d{1,15})L?,\s*(\d{1,15})L?\s*\)\s*\Z"""
)
_LONGEST = 1 << 20  # characters of a line


def dumb(directory: Source, data: Source) -> Pairs:
    """Yield the pairs of a ``.dir``, a line of text for each, and of the ``.dat`` next to it."""
    directory.spend(4 * directory.size)
    entries: dict[bytes, tuple[int, int]] = {}
    text = directory.read(0, directory.size).decode("latin-1")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        entry = entry_of(line)
        if entry is None:
            raise _damaged(directory, f"line {number:,} is no key with its place: {line[:60]!r}")
        entries[entry[0]] = entry[1:]
    for key, (at, size) in entries.items():
        if at + size > data.size:
            raise _damaged(data, f"{size:,} bytes of {key[:60]!r} are claimed at {at:,}")
        data.spend(size)
        yield key, data.read(at, size)


def entry_of(line: str) -> tuple[bytes, int, int] | None:
    """A line of a ``.dir``: the key, where its value begins, and its bytes; or None."""
    match = _LINE.match(line.strip()) if len(line) <= _LONGEST else None
    if match is None:
        return None
    try:
        key = ast.literal_eval(match[1])
        return key.encode("latin-1"), int(match[2]), int(match[3])
    except (ValueError, SyntaxError):
        return None


# As `persist._wire.databases.signatures.keyed_kind` names them.
GRAMMARS: dict[str, Grammar] = {
    "gdbm": gdbm,
    "berkeley": berkeley,
    "berkeley-185": berkeley_185,
}

"""Ranges of files of Lua Torch, binary and text (grammar: `persist.readers.torch7`)."""

from __future__ import annotations

from collections.abc import Iterator

from persist._trees.leaves import printable
from persist._wire.base.source import open_source
from persist.errors import PersistError
from persist.readers.torch7 import (
    BOOLEAN,
    FUNCTION,
    LEGACY,
    NIL,
    NUMBER,
    OBJECT,
    RECURSIVE,
    STRING,
    TABLE,
    BinaryTokens,
    TextTokens,
    Torch7Reader,
    held_by,
    is_text,
)

__all__ = ["is_torch7", "torch7"]

Part = tuple[int, int, str]
_SHOWN = 60  # bytes of a text
_AXES = 64


def is_torch7(data: memoryview) -> bool:
    """Whether the reader of Lua Torch's files takes it for one."""
    return Torch7Reader().claims(open_source(data)) is not None


def torch7(data: memoryview) -> Iterator[Part]:
    """Values in the order of the file, those inside a table or object behind its header."""
    source = open_source(data)
    if is_text(source):
        return iter(_Walk(TextTokens(source)).parts())
    found = _Walk(BinaryTokens(source, 8)).parts()
    if _end(found) < len(data):  # perhaps written by a machine of 32 bits
        found = max(found, _Walk(BinaryTokens(open_source(data), 4)).parts(), key=_end)
    return iter(found)


def _end(found: list[Part]) -> int:
    return found[-1][1] if found else 0


class _Walk:
    """One pass over a file. Every value says how many values follow that are its own, so a count suffices."""

    def __init__(self, tokens: BinaryTokens | TextTokens) -> None:
        self.tokens = tokens
        self.known: set[int] = set()
        self.found: list[Part] = []
        self._start = 0

    def parts(self) -> list[Part]:
        """The ranges, up to where it is not understood."""
        left = 1
        try:
            while left:
                left += self._value() - 1
        except PersistError:  # cut or damaged; what follows is unknown
            pass
        return self.found

    def _note(self, what: str) -> None:
        """What the bytes since the last note are."""
        self.found.append((self._start, self.tokens.offset, printable(what)))
        self._start = self.tokens.offset

    def _value(self) -> int:
        """Read one value; the number of values that follow and belong to it."""
        kind = self.tokens.whole()
        if kind == NIL:
            self._note("nil")
        elif kind == NUMBER:
            self._note(f"number {self.tokens.double()!r}")
        elif kind == BOOLEAN:
            self._note("true" if self.tokens.whole() else "false")
        elif kind == STRING:
            self._note(f"string {self._text()}")
        elif kind == FUNCTION:
            return self._function("function")
        elif kind in (TABLE, OBJECT, LEGACY, RECURSIVE):
            return self._numbered(kind)
        else:
            raise PersistError(f"there is no type {kind}.")
        return 0

    def _text(self) -> str:
        held = self.tokens.chars(self._count())
        shown = held[:_SHOWN].decode("utf-8", "replace")
        return shown if len(held) <= _SHOWN else f"{shown}... ({len(held):,} bytes)"

    def _count(self, is_long: bool = False) -> int:
        count = self.tokens.long() if is_long else self.tokens.whole()
        if not 0 <= count <= self.tokens.left:
            raise PersistError(f"{count} items are claimed.")
        return count

    def _function(self, title: str) -> int:
        self.tokens.chars(self._count())
        self._note(f"{title}: its code, dumped; what it refers to follows")
        return 1

    def _numbered(self, kind: int) -> int:
        index = self.tokens.whole()
        if index in self.known:
            self._note(f"object {index} again")
            return 0
        self.known.add(index)
        if kind == TABLE:
            count = self._count()
            self._note(f"object {index}: table of {count:,}")
            return 2 * count
        return (
            self._object(index) if kind == OBJECT else self._function(f"object {index}: function")
        )

    def _object(self, index: int) -> int:
        title = self._text()
        if title.startswith("V ") and title[2:].isdigit():
            title = self._text()
        self._note(f"object {index}: {title}")
        held = held_by(title)
        if held is None:
            return self._container(title)
        dtype, what = held
        if what == "Storage":
            count = self._count(is_long=True)
            self._note(f"number of elements: {count:,}")
            self.tokens.elements(dtype, count)
            if self.tokens.offset > self._start:
                self._note(f"data of object {index}: {count:,} of {dtype}")
            return 0
        return self._tensor()

    def _container(self, title: str) -> int:
        if title not in ("tds.Vec", "tds.Hash"):
            return 1
        count = self._count(is_long=True)
        self._note(f"number of items: {count:,}")
        return 2 * count if title == "tds.Hash" else count

    def _tensor(self) -> int:
        rank = self._count()
        if rank > _AXES:
            raise PersistError(f"a tensor of {rank} axes cannot be.")
        shape, steps = self.tokens.longs(rank), self.tokens.longs(rank)
        offset = self.tokens.long()
        self._note(f"shape {tuple(shape)}, strides {tuple(steps)}, offset {offset} from 1")
        return 1

"""SQLite's file format: the rows of its tables, read as bytes; no SQL is ever run.

After "Database File Format" of SQLite's documentation: the header, B-trees of tables, overflow
pages, records. Views, triggers and indexes are text and pages that nobody looks at here. Columns
are named by the text of the ``CREATE TABLE`` that made the table.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import attrs

from persist._wire.base.source import Source
from persist.errors import DamagedFileError, FormatError

__all__ = ["Sqlite", "Table", "columns_of", "journal_of"]

_HEADER = 100
_LEAF, _INTERIOR = 13, 5  # of tables
_DEPTH = 64  # of a B-tree: 2 children a page make 2**64
_ENCODINGS = {0: "utf-8", 1: "utf-8", 2: "utf-16-le", 3: "utf-16-be"}
_INTEGERS = (0, 1, 2, 3, 4, 6, 8)  # serial type -> bytes
_CONSTRAINTS = ("primary", "unique", "check", "foreign", "constraint")
_WORD = re.compile(
    r"""\s+|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|'(?:[^']|'')*'"""
    r"""|--[^\n]*|/\*.*?(?:\*/|\Z)|[\w$]+|.""",
    re.DOTALL,
)
_AFTER_TYPE = (
    "constraint", "primary", "not", "null", "unique", "check", "default", "collate", "references",
    "generated", "as",
)  # fmt: skip
_CELL = 64  # bytes that a value counts for, beside its own


@attrs.frozen
class Table:
    """A table as the schema tells it.

    Attributes:
        name: its name.
        root: the page where its rows begin.
        columns: their names.
        types: what each was declared as, in capitals; may be empty.
        alias: the index of the column that is the row's number, or None.
        is_plain: whether its rows are those of a B-tree of tables.
    """

    name: str
    root: int
    columns: tuple[str, ...]
    types: tuple[str, ...]
    alias: int | None
    is_plain: bool


class Sqlite:
    """A database.

    Raises:
        DamagedFileError: its header cannot be.
        FormatError: of a text encoding that does not exist.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        head = source.read(0, _HEADER)
        size = int.from_bytes(head[16:18], "big")
        self.page_size = 65536 if size == 1 else size
        self.usable = self.page_size - head[20]
        if self.usable < 480:
            raise self._damaged(f"{head[20]} bytes of each page are reserved")
        encoding = int.from_bytes(head[56:60], "big")
        if encoding not in _ENCODINGS:
            raise self._damaged(f"its text has the encoding {encoding}")
        self.encoding = _ENCODINGS[encoding]
        self.is_logged = head[18] == 2 or head[19] == 2
        self.pages = -(-source.size // self.page_size)
        self.tables = tuple(self._schema())

    def rows(self, table: Table) -> Iterator[list[Any]]:
        """Yield the rows of a table, by their numbers: None, int, float, str, bytes."""
        width = len(table.columns)
        real = [index for index, kind in enumerate(table.types) if _is_real(kind)]
        for number, payload in self._cells(table.root):
            row = self._record(payload, number)
            row += [None] * (width - len(row))
            if table.alias is not None and row[table.alias] is None:
                row[table.alias] = number
            for index in real:  # whole ones are stored as integers
                if isinstance(row[index], int):
                    row[index] = float(row[index])
            yield row[:width]

    # The schema.

    def _schema(self) -> Iterator[Table]:
        for number, payload in self._cells(1):
            row = self._record(payload, number)
            if len(row) < 5 or row[0] != "table" or not isinstance(row[1], str):
                continue
            text = row[4] if isinstance(row[4], str) else ""
            if not isinstance(row[3], int) or row[3] < 1:  # virtual: its rows are elsewhere
                yield Table(row[1], 0, (), (), None, False)
                continue
            columns, alias, is_plain = _described(text)
            names, types = tuple(columns), tuple(columns.values())
            yield Table(row[1], row[3], names, types, alias, is_plain)

    # Pages.

    def _page(self, number: int) -> tuple[memoryview, int]:
        """A page, and where its B-tree's header begins."""
        if not 1 <= number <= self.pages:
            raise self._damaged(f"page {number:,} is named, of {self.pages:,}")
        start = (number - 1) * self.page_size
        page = self.source.view(start, min(self.page_size, self.source.size - start))
        if len(page) < self.page_size:
            raise self._damaged(f"page {number:,} is cut short")
        return page, _HEADER if number == 1 else 0

    def _cells(self, root: int) -> Iterator[tuple[int, bytes]]:
        """Yield row numbers and payloads of a table's B-tree, in order."""
        todo: list[tuple[int, int]] = [(root, 0)]
        seen: set[int] = set()
        while todo:
            number, depth = todo.pop()
            if number in seen or depth > _DEPTH:
                raise self._damaged(f"page {number:,} is met twice on the way through a table")
            seen.add(number)
            page, at = self._page(number)
            kind = page[at]
            count = int.from_bytes(page[at + 3 : at + 5], "big")
            start = at + (12 if kind == _INTERIOR else 8)
            if kind not in (_LEAF, _INTERIOR) or start + 2 * count > len(page):
                raise self._damaged(f"page {number:,} is no page of a table (kind {kind})")
            pointers = struct.unpack(f">{count}H", page[start : start + 2 * count])
            if kind == _LEAF:
                for pointer in pointers:
                    yield self._cell(page, pointer, number)
                continue
            children = [int.from_bytes(page[place : place + 4], "big") for place in pointers]
            children.append(int.from_bytes(page[at + 8 : at + 12], "big"))
            todo += [(child, depth + 1) for child in reversed(children)]

    def _cell(self, page: memoryview, at: int, number: int) -> tuple[int, bytes]:
        size, at = self._varint(page, at)
        row, at = self._varint(page, at)
        row = row - (1 << 64) if row >> 63 else row
        local = self._local(size)
        if at + local > len(page) or size > self.source.size:
            raise self._damaged(f"a row of {size:,} bytes is claimed on page {number:,}")
        self.source.spend(size)
        if local == size:
            return row, bytes(page[at : at + local])
        parts = [bytes(page[at : at + local])]
        left = size - local
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:  # each page takes some of what is left, so it ends
            over, _ = self._page(following)
            part = bytes(over[4 : 4 + min(left, self.usable - 4)])
            following = int.from_bytes(over[:4], "big")
            parts.append(part)
            left -= len(part)
        return row, b"".join(parts)

    def _local(self, size: int) -> int:
        """How many bytes of a payload stand on the page itself."""
        most = self.usable - 35
        if size <= most:
            return size
        least = (self.usable - 12) * 32 // 255 - 23
        rest = least + (size - least) % (self.usable - 4)
        return rest if rest <= most else least

    def _varint(self, data: memoryview | bytes, at: int) -> tuple[int, int]:
        value = 0
        for count in range(9):
            if at >= len(data):
                raise self._damaged("a number passes the end of its page")
            byte = data[at]
            at += 1
            if count == 8:
                return value << 8 | byte, at
            value = value << 7 | byte & 127
            if byte < 128:
                break
        return value, at

    # Records.

    def _record(self, payload: bytes, number: int) -> list[Any]:
        length, at = self._varint(payload, 0)
        if length > len(payload):
            raise self._damaged(f"the header of row {number:,} passes its end")
        place = length
        values: list[Any] = []
        self.source.spend(_CELL * (length - at))
        while at < length:
            kind, at = self._varint(payload, at)
            size = self._size(kind)
            if place + size > len(payload):
                raise self._damaged(f"a value of row {number:,} passes its end")
            values.append(self._value(kind, payload[place : place + size]))
            place += size
        return values

    def _size(self, kind: int) -> int:
        if kind >= 12:
            return (kind - 12) // 2
        if kind in (10, 11):
            raise self._damaged(f"a value is of the kind {kind}, which is kept for later")
        return _INTEGERS[kind] if kind <= 6 else 8 if kind == 7 else 0

    def _value(self, kind: int, data: bytes) -> Any:
        if not kind:
            return None
        if kind <= 6:
            return int.from_bytes(data, "big", signed=True)
        if kind == 7:
            return struct.unpack(">d", data)[0]
        if kind < 10:
            return kind - 8
        if not kind % 2:
            return data
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError:
            return data

    def _damaged(self, what: str) -> FormatError:
        return DamagedFileError(
            f"{what}.",
            file=self.source.name,
            remedy="The database is damaged, or its journal was not copied along.",
        )


def _is_real(kind: str) -> bool:
    """Whether a column of this type turns whole numbers into floats ("Determination Of Column Affinity")."""
    return (
        "INT" not in kind
        and not any(word in kind for word in ("CHAR", "CLOB", "TEXT", "BLOB"))
        and any(word in kind for word in ("REAL", "FLOA", "DOUB"))
    )


def columns_of(database: Sqlite, table: Table) -> dict[str, list[Any]]:
    """Return the values of a table, by column."""
    columns: list[list[Any]] = [[] for _ in table.columns]
    for row in database.rows(table):
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return dict(zip(table.columns, columns, strict=True))


def journal_of(source: Source) -> list[str]:
    """Say which journal beside a database may hold what is not in it yet."""
    damage = []
    for suffix in ("-wal", "-journal"):
        name = f"{source.basename}{suffix}"
        if not source.basename or name not in source.children():
            continue
        found = source.sibling(name)
        if found is not None and found.kind == "file" and found.head(8).strip(b"\0"):
            damage.append(
                f"{name} stands beside it and is not read: what was written last may be missing, or "
                "half done; open and close the database once with sqlite3"
            )
    return damage


def _described(text: str) -> tuple[dict[str, str], int | None, bool]:
    """Columns with their types, the one that is the row's number, and whether rows have one."""
    parts, tail = _parts(text)
    columns: dict[str, str] = {}
    alias = None
    for part in parts:
        lower = [word.lower() for word in part]
        if lower[0] in _CONSTRAINTS:
            named = _primary(lower)
            at = [place for place, name in enumerate(columns) if name.lower() == named]
            if at and list(columns.values())[at[0]] == "INTEGER":
                alias = at[0]
            continue
        rest = lower[1:]
        ends = [rest.index(word) for word in _AFTER_TYPE if word in rest]
        kind = " ".join(part[1 : 1 + min(ends, default=len(rest))]).upper()
        if kind == "INTEGER" and "primary" in rest and "desc" not in rest:
            alias = len(columns)
        columns[_unquoted(part[0])] = kind
    return columns, alias, bool(columns) and "without" not in tail


def _parts(text: str) -> tuple[list[list[str]], list[str]]:
    """The words of each column and constraint, and those after the list of them."""
    words = [
        word for word in _WORD.findall(text) if not word.isspace() and word[:2] not in ("--", "/*")
    ]
    parts: list[list[str]] = []
    depth, is_new = 0, False
    for place, word in enumerate(words):
        if word == "(":
            depth += 1
            is_new = is_new or depth == 1
            if depth == 1:
                continue
        elif word == ")":
            depth -= 1
            if depth <= 0:
                return parts, [rest.lower() for rest in words[place + 1 :]]
        if depth == 1 and word == ",":
            is_new = True
        elif depth:
            if is_new:
                parts.append([])
            is_new = False
            parts[-1].append(word)
    return parts, []


def _primary(words: list[str]) -> str | None:
    """The one column of a constraint ``PRIMARY KEY (name)``."""
    if "primary" not in words or "(" not in words:
        return None
    inside = words[words.index("(") + 1 : -1]
    return _unquoted(inside[0]).lower() if len(inside) == 1 else None


def _unquoted(word: str) -> str:
    if word[:1] in "\"`'" and len(word) > 1:
        return word[1:-1].replace(word[0] * 2, word[0])
    return word[1:-1] if word[:1] == "[" else word

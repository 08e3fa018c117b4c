"""Read shelves: key-value pairs, and the pickles in the values."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from persist._wire.base.source import Source
from persist._wire.databases import dbm
from persist._wire.databases.sqlite import Sqlite
from persist._wire.npy.npy import plain_machine
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.readers.base import Content, Options
from persist.readers.shelf import Found

__all__ = ["content_of"]

_VALUE = 64  # bytes charged for each value, in addition to its size


def content_of(source: Source, found: Found, options: Options) -> Content:
    """Return the content of a database.

    Raises:
        DamagedFileError: the database or the pickle of a value is truncated.
    """
    damage: list[str] = []
    pairs: dict[object, bytes] = {}
    try:
        for key, value in _pairs(found):
            source.spend(_VALUE)
            pairs[_text(key)] = value
    except struct.error as error:
        raise DamagedFileError(
            f"a number in it points beyond its end ({error}).",
            file=source.name,
            remedy="The file is damaged; copy it again from where it came from.",
        ) from error
    except LimitError:
        raise
    except FormatError as error:
        if not options.salvage:
            raise
        damage.append(str(error))
    return _content(source, found, pairs, damage, options)


def _text(key: bytes) -> str | bytes:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        return key


def _pairs(found: Found) -> Iterator[tuple[bytes, bytes]]:
    if found.kind == "dumb":
        return dbm.dumb(*found.files)
    if found.kind == "sqlite3":
        return _rows(*found.files)
    return dbm.GRAMMARS[found.kind](*found.files)


def _rows(source: Source) -> Iterator[tuple[bytes, bytes]]:
    database = Sqlite(source)
    table = next(table for table in database.tables if table.is_plain)
    for key, value in database.rows(table):
        yield _bytes(key), _bytes(value)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return str("" if value is None else value).encode("utf-8", "surrogatepass")


def _content(
    source: Source,
    found: Found,
    pairs: dict[object, bytes],
    damage: list[str],
    options: Options,
) -> Content:
    values = _Values(source, pairs, options)
    tree = {key: values.take(key) for key in pairs}
    machine = values.machine
    structure: dict[str, object] = {
        "database": found.kind,
        "keys": len(tree),
        "globals": sorted(f"{ref.module} {ref.name}" for ref in machine.globals.values()),
    }
    if values.raw:
        structure["not pickled"] = [str(key) for key in values.raw]
    is_shelf = len(values.raw) < len(tree) or not tree
    least = {3: "3", 4: "3.4 or later", 5: "3.8 or later"}.get(machine.protocol)
    python = "2" if machine.has_py2_str else least
    return Content(
        tree,
        format="shelve" if is_shelf else "dbm",
        structure=structure,
        writer={"python": python} if python else {},
        damage=[*damage, *values.damage],
        globals=set(machine.globals),
    )


class _Values:
    """The values of a database, joined so that one machine can read all of them."""

    def __init__(self, source: Source, pairs: dict[object, bytes], options: Options) -> None:
        joined = bytearray().join(pairs.values())
        source.spend(len(joined))
        self.source = source.nested(joined, "")
        self.salvage = options.salvage
        self.ends: dict[Any, tuple[int, int]] = {}
        at = 0
        for key, value in pairs.items():
            self.ends[key] = at, at + len(value)
            at += len(value)
        self.machine = plain_machine(self.source, py2_str=options.py2_str)
        self.raw: list[Any] = []
        self.damage: list[str] = []

    def take(self, key: object) -> object:
        """Return the unpickled value of a key, or its bytes if it is not a pickle."""
        start, end = self.ends[key]
        head = self.source.read(start, min(2, end - start))
        is_marked = len(head) == 2 and head[0] == 0x80 and head[1] <= 5
        before = set(self.machine.globals)
        cursor = self.source.cursor(start)
        try:
            value = self.machine.load(cursor)
            if cursor.offset > end:
                raise DamagedFileError(f"its pickle breaks off after {end - start:,} bytes.")
        except LimitError as error:
            raise error.at(where=f"key {key!r}") from error.__cause__
        except FormatError as error:
            if is_marked and not self.salvage:
                raise _placed(error, self.source.name, key) from error
            if is_marked:
                self.damage.append(f"key {key!r}: {error.what}")
            for name in self.machine.globals.keys() - before:
                del self.machine.globals[name]
            self.raw.append(key)
            return self.source.read(start, end - start)
        if cursor.offset < end:
            self.damage.append(f"key {key!r}: {end - cursor.offset:,} bytes follow its pickle")
        return value


def _placed(error: FormatError, file: str, key: object) -> FormatError:
    """Set the key as the place of an error; its offset refers to the joined values."""
    error.where = f"key {key!r}"
    error.file = file
    return error

"""Shelves: databases of keys and values whose values are pickles, of every kind Python has used.

Written by  ``shelve`` since Python 1.4, over whatever ``dbm`` (Python 2: ``anydbm``) found:
            Berkeley DB (``bsddb``, Python 2's first choice; hash and B-tree), GNU dbm, ndbm
            (Berkeley DB 1.85 on macOS and the BSDs, 5.3 on Debian, GNU's own), ``dumbdbm``
            (``.dir``, ``.dat``, ``.bak``; Windows), and since 3.13 SQLite.
Evidence    CPython's ``Lib/shelve.py``, ``Lib/dbm/dumb.py``, ``Lib/dbm/sqlite3.py``; the grammars
            of the databases in `persist._wire.keyed` and `persist._wire.sqlite`; files written by
            2.7 to 3.13 and by the libraries that these stood on.
Traps       What one names is often no file: ``run`` for ``run.db``, or for ``run.dir`` and
            ``run.dat``. GNU's ndbm has a ``.pag`` and a ``.dir`` that holds nothing. Values of
            Python 2 are protocol 0, which has no magic. A ``dbm`` need not be a shelf: its values
            may be bytes of any kind.
Gives       A dict by key (text where it is UTF-8): what each value's pickle holds, or the bytes of
            a value that is none.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any

import attrs

from persist._wire import keyed, ndarray, plain
from persist._wire.pickle import Machine
from persist._wire.source import Source
from persist._wire.sqlite import Sqlite, is_sqlite
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.readers.base import Content, Options, Reader

__all__ = ["ShelfReader"]

REBUILD = {**plain.REBUILD, **ndarray.REBUILD}
FINISH = {**plain.FINISH, **ndarray.FINISH}

_FAULTS = (FormatError, struct.error, OSError)
_SUFFIXES = (".db", ".pag")  # of the one file that holds everything
_POINTER = b"GDBM"  # of a .dir of GNU's ndbm
_TABLE = ("Dict", ("key", "value"))  # of dbm.sqlite3
_VALUE = 64  # bytes that a value counts for, beside its own
_LINE = 4096  # bytes of a .dir in which its first line ends


@attrs.frozen
class _Found:
    """What a source is: why, what kind of database, and what reads it."""

    reason: str
    kind: str
    pairs: Any


class ShelfReader(Reader):
    """Shelves and other files of ``dbm``."""

    name = "shelve"
    suffixes = (".shelve", ".shelf", ".gdbm")
    refines = ("pickle", "sqlite")

    def claims(self, source: Source) -> str | None:
        found = _found(source)
        return None if found is None else found.reason

    def read(self, source: Source, options: Options) -> Content:
        found = _found(source)
        if found is None:
            raise DamagedFileError("no database is in it any more.", file=source.name)
        damage: list[str] = []
        pairs: dict[Any, bytes] = {}
        try:
            for key, value in found.pairs():
                source.spend(_VALUE)
                pairs[_text(key)] = value
        except struct.error as error:
            raise DamagedFileError(
                f"a number in it passes its end ({error}).",
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


# Which database it is.


def _found(source: Source) -> _Found | None:
    if "shelve" not in source.memo:
        source.memo["shelve"] = _looked_at(source)
    found: _Found | None = source.memo["shelve"]
    return found


def _looked_at(source: Source) -> _Found | None:
    try:
        if source.kind == "prefix":
            return _of_prefix(source)
        if source.kind == "file":
            return _of_file(source)
    except _FAULTS:
        return None
    return None


def _of_file(source: Source) -> _Found | None:
    known = keyed.recognised(source)
    if known is not None:
        kind = known[1].__name__.replace("_", "-")
        return _Found(known[0], kind, functools.partial(known[1], source))
    if is_sqlite(source):
        return _of_sqlite(source)
    stem, dot, suffix = source.basename.rpartition(".")
    if source.head(4) == _POINTER and source.size < 512:
        pages = source.sibling(f"{stem}.pag") if dot else None
        known = None if pages is None else keyed.recognised(pages)
        if known is not None and pages is not None:
            return _Found(f"{known[0]} in {stem}.pag", "gdbm", functools.partial(known[1], pages))
        return None
    if _is_directory(source):
        data = source.sibling(f"{stem}.dat") if dot else None
        if data is not None and data.kind == "file":
            return _dumb(source, data)
    if suffix == "dat":
        directory = source.sibling(f"{stem}.dir")
        if directory is not None and directory.kind == "file" and _is_directory(directory):
            return _dumb(directory, source)
    return None


def _of_prefix(source: Source) -> _Found | None:
    """What `shelve.open` was given: a name to which the database has put something."""
    name = source.basename
    for suffix in _SUFFIXES:
        file = source.sibling(f"{name}{suffix}")
        known = keyed.recognised(file) if file is not None else None
        if file is not None and known is not None:
            reason = f"{name}{suffix} has {known[0]}"
            kind = known[1].__name__.replace("_", "-")
            return _Found(reason, kind, functools.partial(known[1], file))
    directory, data = source.sibling(f"{name}.dir"), source.sibling(f"{name}.dat")
    if directory is None or data is None or directory.kind != "file" or data.kind != "file":
        return None
    if _is_directory(directory) or not directory.size:
        return _dumb(directory, data)
    return None


def _is_directory(source: Source) -> bool:
    """Whether the first line of a file is a key with the place of its value."""
    if source.kind != "file" or source.head(1) not in (b"'", b'"', b"u"):
        return False
    first = source.head(_LINE).decode("latin-1").partition("\n")[0]
    return keyed.entry_of(first) is not None


def _dumb(directory: Source, data: Source) -> _Found:
    pairs = functools.partial(keyed.dumb, directory, data)
    return _Found("lines of keys and places, as dumbdbm writes them", "dumb", pairs)


def _of_sqlite(source: Source) -> _Found | None:
    database = Sqlite(source)
    names = [(table.name, table.columns) for table in database.tables if table.is_plain]
    if names != [_TABLE]:
        return None

    def pairs() -> Iterator[tuple[bytes, bytes]]:
        for key, value in database.rows(database.tables[0]):
            yield _bytes(key), _bytes(value)

    return _Found("an SQLite database of keys and values, as dbm.sqlite3 makes", "sqlite3", pairs)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return str("" if value is None else value).encode("utf-8", "surrogatepass")


# The values.


def _content(
    source: Source,
    found: _Found,
    pairs: dict[Any, bytes],
    damage: list[str],
    options: Options,
) -> Content:
    values = _Values(source, pairs, options)
    tree = {key: values.take(key) for key in pairs}
    machine = values.machine
    structure: dict[str, Any] = {
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
    """The values of a database in one piece, through which one machine goes."""

    def __init__(self, source: Source, pairs: dict[Any, bytes], options: Options) -> None:
        joined = bytearray().join(pairs.values())
        source.spend(len(joined))
        self.source = source.nested(joined, "")
        self.salvage = options.salvage
        self.ends: dict[Any, tuple[int, int]] = {}
        at = 0
        for key, value in pairs.items():
            self.ends[key] = at, at + len(value)
            at += len(value)
        self.machine = Machine(self.source, py2_str=options.py2_str, rebuild=REBUILD, finish=FINISH)
        self.raw: list[Any] = []
        self.damage: list[str] = []

    def take(self, key: Any) -> Any:
        """What the pickle of a key holds; its bytes where it is no pickle."""
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


def _placed(error: FormatError, file: str, key: Any) -> FormatError:
    """The error, whose place is the key: offsets count in what was put together here."""
    error.where = f"key {key!r}"
    error.file = file
    return error

"""Shelves: key-value databases with pickles as values, in every database that Python has used.

Written by  ``shelve`` since Python 1.4, over whatever ``dbm`` (Python 2: ``anydbm``) found:
            Berkeley DB (``bsddb``, Python 2's first choice; hash and B-tree), GNU dbm, ndbm
            (Berkeley DB 1.85 on macOS and the BSDs, 5.3 on Debian, GNU's own), ``dumbdbm``
            (``.dir``, ``.dat``, ``.bak``; Windows), and since 3.13 SQLite.
Evidence    CPython's ``Lib/shelve.py``, ``Lib/dbm/dumb.py``, ``Lib/dbm/sqlite3.py``; the grammars
            of the databases in `persist._wire.databases.dbm` and `persist._wire.databases.sqlite`; files written by
            2.7 to 3.13 and by their database libraries.
Traps       The name of a shelf is often not a file: ``run`` for ``run.db``, or for ``run.dir`` and
            ``run.dat``. GNU's ndbm has a ``.pag`` and an empty ``.dir``. Values of
            Python 2 are protocol 0, which has no magic. A ``dbm`` need not be a shelf: its values
            may be any bytes.
Gives       A dict by key (text if it is UTF-8) of the unpickled values; a value that is not a
            pickle is given as bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from persist._wire.base.source import Source
from persist._wire.databases.signatures import is_sqlite, keyed_kind
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["Found", "ShelfReader"]

_FAULTS = (FormatError, struct.error, OSError)
_SUFFIXES = (".db", ".pag")  # of databases in a single file
_POINTER = b"GDBM"  # of a .dir of GNU's ndbm
_TABLE = ("Dict", ("key", "value"))  # of dbm.sqlite3
_LINE = 4096  # bytes of a .dir in which its first line ends


class Found(NamedTuple):
    """A recognised database: the reason, its kind, and its files."""

    reason: str
    kind: str
    files: tuple[Source, ...]


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
        from persist.readers._shelf import content_of

        return content_of(source, found, options)


# Recognising the database.


def _found(source: Source) -> Found | None:
    if "shelve" not in source.memo:
        source.memo["shelve"] = _looked_at(source)
    found: Found | None = source.memo["shelve"]
    return found


def _looked_at(source: Source) -> Found | None:
    try:
        if source.kind == "prefix":
            return _of_prefix(source)
        if source.kind == "file":
            return _of_file(source)
    except _FAULTS:
        return None
    return None


def _of_file(source: Source) -> Found | None:
    known = keyed_kind(source)
    if known is not None:
        return Found(*known, (source,))
    if is_sqlite(source):
        return _of_sqlite(source)
    stem, dot, suffix = source.basename.rpartition(".")
    if source.head(4) == _POINTER and source.size < 512:
        pages = source.sibling(f"{stem}.pag") if dot else None
        known = None if pages is None else keyed_kind(pages)
        if known is not None and pages is not None:
            return Found(f"{known[0]} in {stem}.pag", known[1], (pages,))
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


def _of_prefix(source: Source) -> Found | None:
    """Find the database of a name as `shelve.open` takes it, to which the library adds a suffix."""
    name = source.basename
    for suffix in _SUFFIXES:
        file = source.sibling(f"{name}{suffix}")
        known = keyed_kind(file) if file is not None else None
        if file is not None and known is not None:
            return Found(f"{name}{suffix} has {known[0]}", known[1], (file,))
    directory, data = source.sibling(f"{name}.dir"), source.sibling(f"{name}.dat")
    if directory is None or data is None or directory.kind != "file" or data.kind != "file":
        return None
    if _is_directory(directory) or not directory.size:
        return _dumb(directory, data)
    return None


def _is_directory(source: Source) -> bool:
    """Return whether the first line of a file is a key with the place of its value."""
    if source.kind != "file" or source.head(1) not in (b"'", b'"', b"u"):
        return False
    from persist._wire.databases.dbm import entry_of

    first = source.head(_LINE).decode("latin-1").partition("\n")[0]
    return entry_of(first) is not None


def _dumb(directory: Source, data: Source) -> Found:
    return Found("lines of keys and places, as dumbdbm writes them", "dumb", (directory, data))


def _of_sqlite(source: Source) -> Found | None:
    from persist._wire.databases.sqlite import Sqlite

    tables = [table for table in Sqlite(source).tables if table.is_plain]
    if [(table.name, table.columns) for table in tables] != [_TABLE]:
        return None
    return Found(
        "an SQLite database of keys and values, as dbm.sqlite3 makes", "sqlite3", (source,)
    )

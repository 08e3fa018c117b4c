"""SQLite databases, read by the standard library's `sqlite3` as inert rows.

Nothing of the file is ever run but SQLite's own SELECT: the connection is read-only (or on a private
copy), an authorizer allows reads alone, the schema is not trusted (no function with side effects, no
virtual table runs from a default or a generated column), cells are checked while they are read, and
steps, lengths and memory have limits.

A database with a write-ahead log next to it (``-wal``) is copied with the log into a folder of its
own, where SQLite recovers it. A rollback journal (``-journal``) is never replayed: it can name
other files, which SQLite would delete; it is reported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from persist._wire.base.source import Source
from persist.errors import DamagedFileError, FormatError, LimitError

__all__ = ["Sqlite", "Table", "columns_of", "journal_of"]

_CELL = 64  # bytes that a value counts for in addition to its own
_STEPS = 10_000_000  # steps of SQLite's machine that any file may take, and so many a byte:
_STEPS_A_BYTE = 64
_EVERY = 10_000  # steps between two looks at the limit
_LENGTH = 1 << 20  # bytes of a value or a statement that are allowed in the smallest file
_IN_MEMORY = 256 << 20  # bytes of a database that is read in memory; a larger one goes to a file
_COPIED = 1 << 20  # bytes that are copied at once
_MOST_TABLES = 100_000
_PRAGMAS = ("table_xinfo", "writable_schema")
_PASS_OVER = "PRAGMA writable_schema=ON"  # descriptions in the schema that SQLite cannot take


@attrs.frozen
class Table:
    """A table as the schema describes it.

    Attributes:
        name: its name.
        columns: their names, generated ones included.
        types: what each was declared as, in capitals; may be empty.
        is_plain: whether it holds rows of its own; a virtual table does not.
        generated: the columns that are computed when they are read.
        fault: why it is not plain, where it is not.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    is_plain: bool
    generated: tuple[str, ...] = ()
    fault: str = "it is virtual: its rows are made by code"


class Sqlite:
    """A database.

    Attributes:
        source: the file.
        damage: what was left out while it was read.

    Raises:
        DamagedFileError: SQLite cannot open it, or its schema is damaged.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.damage: list[str] = []
        self._is_odd = False
        self._steps = source.limits.opcodes or max(_STEPS, _STEPS_A_BYTE * source.size)

    @functools.cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables in the order of the schema, SQLite's own left out; views are none."""
        if "sqlite" not in self.source.memo:
            with self._open() as connection:
                found = tuple(self._schema(connection))
            self.source.memo["sqlite"] = found, self._is_odd
        known: tuple[Table, ...]
        known, self._is_odd = self.source.memo["sqlite"]
        fault = self.source.memo.get("sqlite fault")
        if fault and fault not in self.damage:
            self.damage.append(fault)
        return known

    def rows(self, table: Table) -> Iterator[list[Any]]:
        """Yield the rows of a table, by their numbers: None, int, float, str, bytes.

        Text that is no UTF-8 comes as bytes.

        Raises:
            DamagedFileError: in the middle, where the file is damaged.
            LimitError: it costs more steps or bytes than are allowed.
        """
        with self._open() as connection:
            if self._is_odd:
                connection.execute(_PASS_OVER)
            yield from self._select(connection, table)

    # The connection.

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            import sqlite3
        except ImportError as error:  # a Python that was built without it
            raise FormatError(
                "this Python was built without the module sqlite3, which reads SQLite databases.",
                file=self.source.name,
                remedy="Use a Python that has it.",
            ) from error
        with contextlib.ExitStack() as stack:
            try:
                connection = self._connected(sqlite3, stack)
                self._restrict(sqlite3, connection)
                yield connection
            except sqlite3.Error as error:
                raise self._error(sqlite3, error) from error
            except (OverflowError, UnicodeDecodeError) as error:
                raise self._damaged(f"a name or a number in it cannot be read ({error})") from error

    def _connected(self, sqlite3: Any, stack: contextlib.ExitStack) -> object:
        """Open the file itself where nothing can change it, else a private copy."""
        log = _companion(self.source, "-wal")
        path = None if log is not None else _path_of(self.source)
        if path is not None:
            address = f"{path.as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(address, uri=True, isolation_level=None)
            stack.callback(connection.close)
            return connection
        is_small = self.source.size <= _IN_MEMORY and log is None
        if is_small and hasattr(sqlite3.Connection, "deserialize"):
            self.source.spend(self.source.size)
            data = bytearray(self.source.read(0, self.source.size))
            data[18:20] = b"\1\1"  # of a database with a log, which in memory it cannot have
            connection = sqlite3.connect(":memory:", isolation_level=None)
            stack.callback(connection.close)
            connection.deserialize(data)
            return connection
        # SQLite may leave files next to the copy, and on Windows they go only after it is closed.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="persist-"))
        copy = Path(folder) / "copy.sqlite"
        _copy(self.source, copy)
        if log is not None:
            _copy(log, Path(f"{copy}-wal"))
        connection = sqlite3.connect(copy, isolation_level=None)
        stack.callback(connection.close)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # the log's index in memory, not a file
        return connection

    def _restrict(self, sqlite3: Any, connection: Any) -> None:
        """Allow reading alone, and so much of it."""
        connection.text_factory = _text
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON"):
            connection.execute(f"PRAGMA {setting}")
        length = max(_LENGTH, self.source.size)
        for name, most in (
            ("LENGTH", min(length, 1 << 30)),
            ("SQL_LENGTH", min(length, 1 << 30)),
            ("ATTACHED", 0),
            ("LIKE_PATTERN_LENGTH", 100),
            ("TRIGGER_DEPTH", 1),
            ("WORKER_THREADS", 0),
            ("EXPR_DEPTH", 200),
        ):
            connection.setlimit(getattr(sqlite3, f"SQLITE_LIMIT_{name}"), most)
        allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}

        def authorize(action: int, first: object, *_: object) -> int:
            is_fine = action in allowed or (action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS)
            return int(sqlite3.SQLITE_OK if is_fine else sqlite3.SQLITE_DENY)

        def count() -> bool:
            self._steps -= _EVERY
            return self._steps < 0

        connection.set_authorizer(authorize)
        connection.set_progress_handler(count, _EVERY)

    # What is asked.

    def _schema(self, connection: Any) -> Iterator[Table]:
        for name, root in self._listed(connection):
            if not isinstance(name, str):
                raise self._damaged("the name of a table is no text")
            if name.startswith("sqlite_"):
                continue
            if not root:  # a virtual table: its rows are made by code
                yield Table(name, (), (), False)
                continue
            found = connection.execute(f"PRAGMA table_xinfo({_quoted(name)})").fetchall()
            columns = [column for column in found if column[6] != 1]
            if not columns or not all(isinstance(column[1], str) for column in columns):
                yield Table(name, (), (), False, fault="its description in the schema is damaged")
                continue
            self.source.spend(_CELL * len(columns))
            yield Table(
                name,
                tuple(column[1] for column in columns),
                tuple(_declared(column[2]) for column in columns),
                True,
                tuple(column[1] for column in columns if column[6] == 2),
            )

    def _listed(self, connection: Any) -> list[tuple[Any, Any]]:
        sql = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
        found: list[tuple[Any, Any]]
        try:
            found = connection.execute(sql).fetchmany(_MOST_TABLES)
            return found
        except connection.DatabaseError as error:
            if "schema" not in str(error):
                raise
            self.source.memo["sqlite fault"] = f"SQLite passes over a part of it: {error}"
        # One damaged description: with this setting SQLite passes over it, and reads the others.
        connection.execute(_PASS_OVER)
        self._is_odd = True
        found = connection.execute(sql).fetchmany(_MOST_TABLES)
        return found

    def _select(self, connection: Any, table: Table) -> Iterator[list[object]]:
        # An index that covers all columns would give the rows in an order of its own.
        sql = f"SELECT * FROM {_quoted(table.name)} NOT INDEXED"
        try:
            cursor = connection.execute(sql)
        except connection.OperationalError as error:
            if not table.generated or self._steps < 0:
                raise
            # A function that made the column is the program's own: the stored columns are here.
            self.damage.append(
                f"table {table.name!r}: the generated columns {', '.join(map(repr, table.generated))} "
                f"cannot be computed here ({error}), and are None"
            )
            stored = ", ".join(
                "NULL" if name in table.generated else _quoted(name) for name in table.columns
            )
            cursor = connection.execute(f"SELECT {stored} FROM {_quoted(table.name)} NOT INDEXED")
        width = len(table.columns)
        for row in cursor:
            if len(row) != width:
                raise self._damaged(f"a row of table {table.name!r} has {len(row)} values")
            held = sum(len(value) for value in row if isinstance(value, str | bytes))
            self.source.spend(_CELL * width + held)
            yield list(row)

    def _error(self, sqlite3: Any, error: Exception) -> FormatError:
        if self._steps < 0:
            return LimitError(
                "reading the database takes more steps than its size explains.",
                file=self.source.name,
                remedy='If the file is honest, raise limits={"opcodes": ...}.',
            )
        if isinstance(error, sqlite3.DataError) or "too big" in str(error):
            return LimitError(
                f"a value in it is larger than the whole file ({error}).",
                file=self.source.name,
                remedy="Open it with sqlite3.",
            )
        return self._damaged(f"SQLite says: {error}")

    def _damaged(self, what: str) -> FormatError:
        return DamagedFileError(
            f"{what}.",
            file=self.source.name,
            remedy="The database is damaged, or its journal was not copied along.",
        )


def columns_of(
    database: Sqlite, table: Table, broken: list[FormatError] | None = None
) -> dict[str, list[object]]:
    """Return the values of a table, by column.

    Args:
        database: holds the table.
        table: one of its `tables`.
        broken: takes the error of a damaged table, of which the rows before it are returned;
            without it the error is raised.
    """
    columns: list[list[Any]] = [[] for _ in table.columns]
    try:
        for row in database.rows(table):
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    except LimitError:
        raise
    except FormatError as error:
        if broken is None:
            raise
        broken.append(error)
    return dict(zip(table.columns, columns, strict=True))


def journal_of(source: Source) -> list[str]:
    """Report a rollback journal next to a database, which may hold what is to be undone."""
    if _companion(source, "-journal") is None:
        return []
    return [
        f"{source.basename}-journal is next to it and is not applied: what was written last may "
        "be half done; open and close the database once with sqlite3"
    ]


def _companion(source: Source, suffix: str) -> Source | None:
    """The journal of a database, where there is one with anything in it."""
    name = f"{source.basename}{suffix}"
    if not source.basename or name not in source.children():
        return None
    found = source.sibling(name)
    is_used = found is not None and found.kind == "file" and found.head(8).strip(b"\0")
    return found if is_used else None


def _path_of(source: Source) -> Path | None:
    """The local file that a source is, as a whole; None of bytes, parts, unpacked and remote ones."""
    if source.path is None or "://" in source.path:
        return None
    path = Path(source.path).absolute()
    try:
        with path.open("rb") as file:
            is_same = os.fstat(file.fileno()).st_size == source.size
            return path if is_same and file.read(100) == source.read(0, 100) else None
    except (OSError, ValueError):
        return None


def _copy(source: Source, target: Path) -> None:
    source.spend(source.size)
    with target.open("wb") as file:
        for start in range(0, source.size, _COPIED):
            file.write(source.view(start, min(_COPIED, source.size - start)))


def _declared(kind: object) -> str:
    return kind.upper() if isinstance(kind, str) else ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data

"""SQLite databases: their tables, column by column.

Written by  SQLite 3 since 2004, and programs that keep their results in it: PyMC 2 and 3 (whose traces
            `persist.readers.pymc` reads), Optuna, MLflow, Sumatra, scripts of users.
Evidence    The documentation of SQLite; files of 3.8 to 3.45. It is read by Python's `sqlite3`
            (`persist._wire.databases.sqlite`), which implements every rule: defaults of columns that were
            added later, generated columns, tables without row numbers.
Traps       A column declares a type but may hold any. NaN is stored as NULL. The last changes
            may be in a write-ahead log next to the file (``-wal``), which is read with it, or
            be undone by a rollback journal (``-journal``), which is reported in ``damage`` and
            not applied. Virtual tables, whose rows are made by code, are listed there, too.
Gives       A dict by table of dicts by column: an array if all values are numbers (NULL among
            floats becomes NaN), otherwise a list.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from persist._wire.base.source import Source
from persist._wire.databases.signatures import is_sqlite
from persist.errors import FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["SqliteReader"]


class SqliteReader(Reader):
    """SQLite's files in general."""

    name = "sqlite"
    suffixes = (".sqlite", ".sqlite3", ".db3")

    def claims(self, source: Source) -> str | None:
        return "SQLite's header" if is_sqlite(source) else None

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.databases.sqlite import Sqlite, columns_of, journal_of

        database = Sqlite(source)
        content = Content({}, damage=journal_of(source))
        types: dict[str, object] = {}
        for table in database.tables:
            if not table.is_plain:
                content.damage.append(f"the table {table.name!r} is not read: {table.fault}")
                continue
            broken: list[FormatError] | None = [] if options.salvage else None
            try:
                columns = columns_of(database, table, broken)
            except FormatError as error:
                raise error.at(where=f"table {table.name!r}") from error
            for fault in broken or ():
                count = len(next(iter(columns.values())))
                content.damage.append(
                    f"table {table.name!r}: {fault.what.rstrip('.')}; the {count:,} rows before "
                    "that are whole"
                )
            types[table.name] = dict(zip(table.columns, table.types, strict=True))
            content.tree[table.name] = {name: _column(values) for name, values in columns.items()}
        content.damage += database.damage
        content.structure = {"tables": types}
        return content


def _column(values: list[Any]) -> object:
    """Return numbers as an array, and other values as the list unchanged."""
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return np.array(values, np.int64)
    is_real = float in kinds and kinds <= {int, float, type(None)}
    if is_real and all(abs(value) <= 1 << 53 for value in values if type(value) is int):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return values

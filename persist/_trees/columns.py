"""Many instances of one class as columns: what they hold, field by field.

`persist._objects.rows` takes long runs of instances apart without making a `Record` of each; what it
gives stands in a tree in their place, on its way to the container, and nowhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from persist.tree import Global, Record

__all__ = ["MANY", "Columns", "Row", "RowDict", "RowList"]

MANY = 1000  # records of one schema and version from which on they are stored as columns


class Columns:
    """Records of one schema and version.

    Attributes:
        cls: the `Global` of their class.
        version: of the schema.
        fields: names, in the order of the class.
        values: for each field a list with the value of every record.
        kinds: for each field the exact types of its values.
        count: of records.
    """

    __slots__ = ("_records", "cls", "count", "fields", "kinds", "values", "version")

    def __init__(self, cls: Global, version: int, fields: tuple[str, ...]) -> None:
        self.cls = cls
        self.version = version
        self.fields = fields
        self.values: list[list[Any]] = [[] for _ in fields]
        self.kinds: list[set[type]] = [set() for _ in fields]
        self.count = 0
        self._records: dict[int, Record] = {}

    def clear(self) -> None:
        """Let all values go: they are written."""
        self.values.clear()
        self._records.clear()

    def like(self) -> Record:
        """Return a record of their class and version, without a state."""
        return Record(self.cls, kind="newobj", version=self.version)

    def record(self, index: int) -> Record:
        """Return one of them by itself; the same object at every call."""
        known = self._records.get(index)
        if known is None:
            state = {name: self.values[at][index] for at, name in enumerate(self.fields)}
            known = Record(self.cls, state, kind="newobj", version=self.version)
            self._records[index] = known
        return known


class Row(NamedTuple):
    """One record among columns."""

    columns: Columns
    number: int


class RowList:
    """A list whose items are rows that follow each other."""

    __slots__ = ("columns", "count", "first")

    def __init__(self, columns: Columns, first: int, count: int) -> None:
        self.columns = columns
        self.first = first
        self.count = count

    def __len__(self) -> int:
        return self.count

    def rows(self) -> list[Row]:
        """Return them one by one."""
        return [Row(self.columns, at) for at in range(self.first, self.first + self.count)]


class RowDict(RowList):
    """A dict with keys of plain text whose values are rows that follow each other."""

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[str, ...], columns: Columns, first: int) -> None:
        super().__init__(columns, first, len(keys))
        self.keys = keys

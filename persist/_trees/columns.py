"""Store many instances of one class as columns, one list per field.

`persist._objects.rows` splits long runs of instances into columns without making a `Record` of
each. These objects occur only in trees that are about to be written to a container.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from persist.tree import Global, Record

__all__ = ["MANY", "Columns", "Row", "RowDict", "RowList"]

MANY = 1000  # this many records of one schema and version, or more, are stored as columns


class Columns:
    """Records of one schema and version.

    Attributes:
        cls: the `Global` of their class.
        version: version of the schema.
        fields: names of the fields, in the order of the class.
        values: for each field, a list with the value of every record.
        kinds: for each field, the set of exact types of its values.
        count: number of records.
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
        """Release all values once they are written."""
        self.values.clear()
        self._records.clear()

    def like(self) -> Record:
        """Return a record of their class and version, without a state."""
        return Record(self.cls, kind="newobj", version=self.version)

    def record(self, index: int) -> Record:
        """Return the record of this index; the same object at every call."""
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
    """A list whose items are consecutive rows of the columns."""

    __slots__ = ("columns", "count", "first")

    def __init__(self, columns: Columns, first: int, count: int) -> None:
        self.columns = columns
        self.first = first
        self.count = count

    def __len__(self) -> int:
        return self.count

    def rows(self) -> list[Row]:
        """Return the items as `Row` objects."""
        return [Row(self.columns, at) for at in range(self.first, self.first + self.count)]


class RowDict(RowList):
    """A dict with str keys whose values are consecutive rows of the columns."""

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[str, ...], columns: Columns, first: int) -> None:
        super().__init__(columns, first, len(keys))
        self.keys = keys

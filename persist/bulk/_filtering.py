"""Filters that need an open file: its format, its classes, the versions of its records."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from persist.bulk._sources import Filters
from persist.errors import SchemaError

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["is_wanted"]


def is_wanted(file: File, filters: Filters) -> bool:
    """Whether an open file passes the filters that look inside."""
    if not filters.looks_inside:
        return True
    if filters.formats and not _matches([file.format], filters.formats):
        return False
    if filters.classes and not _matches(_names(file), filters.classes):
        return False
    return not filters.versions or _has_version(file, filters.versions)


def _matches(names: list[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, one) for name in names for one in patterns)


def _names(file: File) -> list[str]:
    """The classes that a file names: as written, as they are named today, and their schemas."""
    names = set(file._content.globals)
    for name in list(names):
        try:
            today = file.knowledge.resolve(name)
            schema = file.knowledge.schema_for(today)
        except SchemaError:
            continue
        names.add(today)
        if schema is not None:
            names.add(schema.name)
    return sorted(names)


def _has_version(file: File, wanted: tuple[str, ...]) -> bool:
    from persist._upgrade import records

    pairs = [text.rpartition("=") for text in wanted]
    for entry in records.plan(file.tree, file.knowledge, file=file.name):
        for schema, _, number in pairs:
            if entry.found == int(number) and schema in ("", entry.schema, entry.qualname):
                return True
    return False

"""Layouts by the id of a file's content, kept on disk, so that a content is parsed once in its life.

The ids are git's: equal contents have one id in all repositories. A memory that cannot be read or
written is done without.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from persist.archaeology._classes import Source

__all__ = ["Memory", "folder"]

_FORM = 1  # counts up whenever sources are read in another way
_AT_ONCE = 500

Sources = tuple[Source, ...] | None


def folder() -> Path:
    """Return where it is: ``persist`` in the user's folder of caches."""
    said = os.environ.get("XDG_CACHE_HOME")
    return (Path(said) if said else Path.home() / ".cache") / "persist"


class Memory:
    """Layouts by the id of a content.

    Args:
        path: the file; None for one that is forgotten at the end.
    """

    def __init__(self, path: Path | None) -> None:
        self._data: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = sqlite3.connect(path, timeout=5)
            self._data.execute(
                "create table if not exists layouts (form, blob, said, primary key (form, blob))"
            )
        except (OSError, sqlite3.Error):
            self._data = None

    def known(self, blobs: Iterable[str]) -> dict[str, Sources]:
        """Return what is known of these contents."""
        found: dict[str, Sources] = {}
        wanted = list(blobs)
        if self._data is None:
            return found
        try:
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(part))
                query = f"select blob, said from layouts where form = ? and blob in ({marks})"
                for blob, said in self._data.execute(query, (_FORM, *part)):
                    rows = json.loads(said)
                    found[blob] = None if rows is None else tuple(map(Source.from_json, rows))
        except (sqlite3.Error, ValueError, TypeError):  # a damaged memory
            return {}
        return found

    def keep(self, found: Mapping[str, Sources]) -> None:
        """Keep what was found out."""
        if self._data is None or not found:
            return
        rows = (
            (
                _FORM,
                blob,
                json.dumps(None if sources is None else [one.as_json() for one in sources]),
            )
            for blob, sources in found.items()
        )
        try:
            with self._data:
                self._data.executemany("insert or replace into layouts values (?, ?, ?)", rows)
        except sqlite3.Error:
            return

    def close(self) -> None:
        """Close the file."""
        if self._data is not None:
            self._data.close()

"""The interface for authors of packs: knowledge about one foreign library, in one module.

A pack is a module of `persist.migrations`, or of the entry point group ``persist.migrations``, with the
name of the library's top-level package. It holds a `persist.Registry` called ``pack`` with the aliases,
stamps and migrations of that library's classes. A pack is imported if a file mentions its library; a
file cannot make any other module be imported.

- `Changes` collects how states changed, release by release, and runs what a state lacks.
- `teach` adds the rename table next to the pack (``sklearn.tsv``) and returns its rows.
- `Rename` is one row: old name, new name, release, evidence.
- `View` is what a pack shows in place of a record: its parts by name.
- `Record` and `LazyArray` are the building blocks of states in files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persist._runtime.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from persist.packs._changes import Changes
    from persist.packs._renames import Rename, teach
    from persist.tree import LazyArray, Record, View

__all__ = ["Changes", "LazyArray", "Record", "Rename", "View", "teach"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Changes": "._changes",
        "LazyArray": "persist.tree",
        "Record": "persist.tree",
        "Rename": "._renames",
        "View": "persist.tree",
        "teach": "._renames",
    },
)

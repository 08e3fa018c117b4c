"""Operations on trees of plain values, arrays and records.

- `paths` gives every array and scalar its natural path, as the packs present it.
- `copier` copies a tree, children before parents, and keeps cycles and shared references.
- `driver` transforms a tree without recursion, so that no file is too deep.
- `columns` stores many instances of one class as columns.
- `numpy_random` converts NumPy's random states to records and back.
- `show` prints a tree in a bounded number of lines.
- `html` shows files, records and reports in a notebook.
- `compare` finds the first difference between two trees, `differ` every difference of two files.
- `pieces` reads arrays in blocks; `stats` computes their statistics.

Theory of operation of `copier`: a migration step may only see children that are upgraded already,
so records are finished in post-order. A cycle has no such order. Therefore every mutable value has
a *shell*, the empty object that becomes its copy, and a back reference gets the shell. Before a
step runs, `Copier.show_old` fills the shells handed out so far with the old state from the file;
`Copier._take_back` empties them again, and reports a step that changed one (the change would be
lost). If finishing a record yields another object than its shell, `Copier.replace` notes the pair
and one pass at the end patches all references. `Copier.adopt` marks records that a migration
created as already current; `Copier.fresh` lists those that are not marked yet.
"""

from __future__ import annotations

from persist.tree import Record, show_records_with

__all__: list[str] = []


def _record_html(record: Record) -> str:
    from persist._trees.html import record_html

    return record_html(record)


show_records_with(_record_html)

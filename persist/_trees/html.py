"""What notebooks show: files, records, mappings and reports as collapsible HTML.

There is no script, and no attribute contains text from a file. All text passes `_text`, which escapes
it; every page has a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

from persist._trees.pack_view import PackView
from persist._trees.show import Row, leaf_text, printable, tree_rows
from persist.errors import PersistError

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.tree import Record

__all__ = ["file_html", "folded", "listed", "mapping_html", "page", "record_html"]

_ROWS = 300  # of a tree
_ITEMS = 100  # of a mapping, and of each part of a report
_NOTES = 20
_OPEN = 2  # levels of a tree that are shown unfolded
_INDENT = '<div style="margin-left:1.5em">'
_LONG = 1_000  # characters of one line
_LEAF = '<div style="margin-left:1.1em">'


def _text(text: object) -> str:
    """Return text from a file as HTML: escaped, in one line, and cut if it is very long."""
    line = str(text)
    line = line if line.isprintable() else repr(line)[1:-1]
    return escape(line if len(line) <= _LONG else f"{line[:_LONG]}...", quote=True)


def page(title: object, *parts: str) -> str:
    """Return a page: a title, which is escaped, and parts, which are HTML."""
    head = f"<b>{_text(title)}</b>"
    return f'<div style="font-family:monospace">{head}{"".join(parts)}</div>'


def listed(items: Iterable[object], total: int, most: int = _ITEMS) -> str:
    """Return texts, which are escaped, as lines, and a line that counts the rest."""
    lines = [f"<div>{_text(item)}</div>" for item in islice(items, most)]
    more = f"<div>... and {total - len(lines):,} more</div>" if total > len(lines) else ""
    return f"{_INDENT}{''.join(lines)}{more}</div>"


def folded(title: object, inner: str, *, is_open: bool = False) -> str:
    """Return HTML that opens with a click on its title; the title is escaped."""
    return (
        f"<details{' open' if is_open else ''}><summary>{_text(title)}</summary>{inner}</details>"
    )


def _guarded(title: object, make: Callable[[], str]) -> str:
    """Return a page; if it cannot be made since the file is damaged, the error instead."""
    try:
        return page(title, make())
    except PersistError as error:
        return page(title, f"<div>{_text(error)}</div>")


def file_html(file: File) -> str:
    """Return what a notebook shows of a file: its format, writer, damage and tree."""

    def make() -> str:
        facts = [f"format: {file.format} ({file.claim})"]
        if file.writer:
            facts.append(
                "writer: " + ", ".join(printable(f"{k} {v}") for k, v in file.writer.items())
            )
        facts += [f"damage: {note}" for note in file.damage[:_NOTES]]
        facts += [f"note: {note}" for note in file.notes[:_NOTES]]
        return listed(facts, len(facts), len(facts)) + _tree(file.tree, file.looker)

    return _guarded(file.name, make)


def record_html(record: Record) -> str:
    """Return what a notebook shows of a record: its class and the tree of its parts."""
    return _guarded(f"{printable(record.qualname)}, a record", lambda: _tree(record, PackView()))


def mapping_html(title: str, names: Mapping[str, Any]) -> str:
    """Return what a notebook shows of the arrays of a file: their paths, dtypes and shapes."""

    def make() -> str:
        rows = (f"{path or '(root)'}: {leaf_text(names[path])}" for path in names)
        return listed(rows, len(names))

    return _guarded(title, make)


def _tree(tree: object, looker: PackView) -> str:
    rows = tree_rows(tree, looker, _ROWS)
    out: list[str] = []
    open_levels: list[int] = []
    for at, row in enumerate(rows):
        depth = row[0]
        while open_levels and open_levels[-1] >= depth:
            open_levels.pop()
            out.append("</div></details>")
        has_children = at + 1 < len(rows) and rows[at + 1][0] > depth
        if has_children:
            state = " open" if depth < _OPEN else ""
            out.append(f"<details{state}><summary>{_row(row)}</summary>{_INDENT}")
            open_levels.append(depth)
        else:
            out.append(f"{_LEAF}{_row(row)}</div>")
    out += ["</div></details>"] * len(open_levels)
    return "".join(out)


def _row(row: Row) -> str:
    _, label, text = row
    name = f"<b>{_text(printable(label))}</b>: " if label else ""
    return f"{name}{_text(text)}"

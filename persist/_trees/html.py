"""What notebooks show: files, records, mappings and reports as collapsible HTML.

There is no script, and no attribute contains text from a file. All text passes `_text`, which escapes
it; every page has a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from persist._trees.outline import Line, outlined
from persist._trees.pack_view import PackView
from persist._trees.show import leaf_text, printable
from persist._trees.sparks import Sparks
from persist.errors import PersistError
from persist.tree import Record

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["file_html", "folded", "listed", "mapping_html", "page", "record_html"]

_ROWS = 300  # of a tree
_ITEMS = 100  # of a mapping, and of each part of a report
_NOTES = 20
_OPEN = 2  # levels of a tree that are shown unfolded
_INDENT = '<div style="margin-left:1.5em">'
_LONG = 1_000  # characters of one line
# Of what is known of a class; no colour says it alone, the word does.
_TRUST = {
    "declared": '<span style="color:#218bff">declared</span>',
    "known to a pack": '<span style="color:#2da44e">known to a pack</span>',
    "opaque": '<span style="color:#bf8700">opaque</span>',
}
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
        sparks = Sparks() if file._source.is_mapped else None  # nothing is fetched to draw it
        tree = _tree(file.tree, file.looker, file._trust_of, sparks)
        return listed(facts, len(facts), len(facts)) + tree

    return _guarded(file.name, make)


def record_html(
    record: Record,
    looker: PackView | None = None,
    trust: Callable[[Record], str] | None = None,
) -> str:
    """Return what a notebook shows of a record: its class and the tree of its parts.

    Args:
        record: the record.
        looker: sees what packs know; None sees nothing.
        trust: says what is known of the class of a record; None says nothing.
    """
    title = f"{printable(record.qualname)}, a record"
    return _guarded(
        title,
        lambda: _tree(record, looker or PackView(), trust, None if trust is None else Sparks()),
    )


def mapping_html(title: str, names: Mapping[str, object], sparks: Sparks | None = None) -> str:
    """Return what a notebook shows of the arrays of a file: their paths, dtypes, shapes and values."""

    def make() -> str:
        def line(path: str) -> str:
            value = names[path]
            drawn = "" if sparks is None else sparks.of(value)
            return f"{path or '(root)'}: {leaf_text(value)}  {drawn}".rstrip()

        return listed((line(path) for path in names), len(names))

    return _guarded(title, make)


def _tree(
    tree: object,
    looker: PackView,
    trust: Callable[[Record], str] | None = None,
    sparks: Sparks | None = None,
) -> str:
    rows = outlined(tree, looker, _ROWS)
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
            out.append(f"<details{state}><summary>{_row(row, trust, sparks)}</summary>{_INDENT}")
            open_levels.append(depth)
        else:
            out.append(f"{_LEAF}{_row(row, trust, sparks)}</div>")
    out += ["</div></details>"] * len(open_levels)
    return "".join(out)


def _row(row: Line, trust: Callable[[Record], str] | None, sparks: Sparks | None) -> str:
    _, label, text, value, leaf = row
    name = f"<b>{_text(printable(label))}</b>: " if label else ""
    known = f" {_TRUST[trust(value)]}" if trust is not None and isinstance(value, Record) else ""
    drawn = "" if sparks is None else sparks.of(leaf)
    return f"{name}{_text(text)}{known}{'  ' if drawn else ''}{drawn}"

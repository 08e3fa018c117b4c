"""A survey as one page of HTML: no script, no reference to anything outside, everything escaped.

Names in files are text that a stranger chose. Each is escaped, control characters are written as
escape sequences, and the page forbids scripts and every outside resource by its own policy.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from persist.survey._collect import OUTCOMES, Row, Survey
from persist.survey._text import headings, totals

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .3rem; } code, td.layout { font: 13px/1.4 ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; } table.rows { table-layout: fixed; }
th { text-align: left; font-weight: 600; color: #57606a; white-space: nowrap; overflow-wrap: normal !important; }
th, td { border-bottom: 1px solid #d8dee4; padding: .3rem .6rem .3rem 0; vertical-align: top; overflow-wrap: anywhere; }
td.number { text-align: right; white-space: nowrap; } .bar { display: flex; height: .9rem; margin: .6rem 0 1rem; }
.bar span { display: block; min-width: 2px; } .mark { display: inline-block; width: .7rem; height: .7rem; margin-right: .4rem; }
.fails, .no-step { background: #cf222e; } .newer { background: #bf8700; } .no-class { background: #d4a72c; }
.upgraded { background: #0969da; } .as-today { background: #1a7f37; } .shown { background: #8c959f; } .plain { background: #d0d7de; }
ul { padding-left: 1.2rem; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(found: Survey) -> str:
    """Return the page."""
    roots = ", ".join(found.roots) or "files"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>Survey of {_said(roots)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Survey of {_said(roots)}</h1>",
        *_totals(found),
    ]
    if found.pairs:
        parts.append("<h2>Probably one class, before and after it was renamed</h2>")
        parts += _table(
            ("before", "after", "", "evidence"),
            ((f"<code>{_said(p.old)}</code>", f"<code>{_said(p.new)}</code>", f"{p.score:.0%}", _said("; ".join(p.reasons)))
             for p in found.pairs),
            (26, 26, 6, 42),
        )  # fmt: skip
    if found.problems:
        parts.append("<h2>Files that cannot be read</h2>")
        parts += _table(
            ("files", "reason", "such as"),
            ((f"{p.count:,}", _said(p.reason), f"<code>{_said(', '.join(p.examples))}</code>") for p in found.problems),
        )  # fmt: skip
    for name, rows in headings(found):
        parts += _class(name, rows)
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _totals(found: Survey) -> list[str]:
    counts = found.outcomes
    every = sum(counts.values()) or 1
    bar = "".join(
        f'<span class="{_class_name(outcome)}" style="width:{100 * count / every:.2f}%"></span>'
        for outcome, count in counts.items()
    )
    lines = [line for line in totals(found) if not line.startswith("    ")]
    listed = [line for line in totals(found) if line.startswith("    ")]
    parts = [f"<p>{'<br>'.join(map(_said, lines))}</p>", f'<div class="bar">{bar}</div>', "<p>"]
    outcomes = [outcome for outcome in OUTCOMES if counts.get(outcome)]
    for outcome, line in zip(outcomes, listed, strict=False):
        parts.append(f'<span class="mark {_class_name(outcome)}"></span>{_said(line.strip())}<br>')
    parts += [f"{_said(line.strip())}<br>" for line in listed[len(outcomes) :]]
    return [*parts, "</p>"]


def _class(name: str, rows: list[Row]) -> list[str]:
    head = ("layout", "version", "writer", "records", "files", "dates", "a load today", "such as")
    return [f"<h2><code>{_said(name)}</code></h2>", *_table(head, map(_cells, rows), _WIDTHS)]


_WIDTHS = (30, 7, 15, 6, 5, 9, 13, 15)  # one layout of columns for all classes


def _cells(row: Row) -> tuple[str, ...]:
    version = "" if row.version is None else f"{row.version}"
    how = f" ({row.how})" if row.how else ""
    dates = row.oldest if row.oldest == row.newest else f"{row.oldest} to {row.newest}"
    mark = f'<span class="mark {_class_name(row.outcome)}"></span>'
    return (
        f"<code>{_said(row.layout)}</code>", _said(f"{version}{how}"),
        _said(f"{row.format}{f', {row.writer}' if row.writer else ''}"), f"{row.count:,}", f"{row.files:,}",
        _said(dates), mark + _said(row.outcome_text), f"<code>{_said(row.example)}</code>",
    )  # fmt: skip


def _table(
    head: Iterable[str], rows: Iterable[tuple[str, ...]], widths: Iterable[int] = ()
) -> list[str]:
    """A table; the cells are HTML already. Widths are in percent."""
    columns = "".join(f'<col style="width:{width}%">' for width in widths)
    start = f'<table class="rows"><colgroup>{columns}</colgroup><tr>' if columns else "<table><tr>"
    lines = [start, *(f"<th>{_said(title)}</th>" for title in head), "</tr>"]
    for row in rows:
        lines += ["<tr>", *(f"<td>{cell}</td>" for cell in row), "</tr>"]
    return [*lines, "</table>"]


def _class_name(outcome: str) -> str:
    return outcome.replace(" ", "-")


def _said(text: str) -> str:
    """Text for HTML: escaped, and control characters and surrogates as escape sequences."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return html.escape(shown, quote=True)

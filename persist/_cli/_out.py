"""Printing: plain text, coloured on a terminal if rich is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["plain", "progress", "show"]

# What is coloured: the first line of a page, the words that begin its lines, paths, damage.
_STYLES = (
    (r"^\S.*$", "bold"),
    (r"^  (format|writer|tree|classes|names)\b", "cyan"),
    (r"^  damage.*$", "red"),
    (r"^ {4,}[^:\n]*:(?= |$)", "green"),
    (r"\((record|record, empty)\)", "yellow"),
    (r"\b(cannot|failed):.*$", "red"),
)


def show(text: str) -> None:
    """Print a page; terminal control characters are escaped.

    The environment variable ``NO_COLOR`` turns colours off (https://no-color.org).
    """
    text = plain(text)
    console = None if os.environ.get("NO_COLOR") else _console(sys.stdout)
    if console is None:
        print(text)
        return
    from rich.text import Text

    page = Text(text)
    for pattern, style in _STYLES:
        page.highlight_regex(f"(?m){pattern}", style)
    console.print(page, soft_wrap=True)


def plain(text: str) -> str:
    """Return text in which every line is printable: names in a file may contain control characters."""
    lines = (line if line.isprintable() else repr(line)[1:-1] for line in text.split("\n"))
    return "\n".join(lines)


def progress(files: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """Yield the files, with a progress bar on standard error, if that is a terminal and rich is installed."""
    console = _console(sys.stderr)
    if console is None or total < 2:
        yield from files
        return
    from rich.progress import track

    yield from track(files, description=what, total=total, console=console, transient=True)


def _console(stream: Any) -> Any:
    """A rich console on a terminal, or None."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False)

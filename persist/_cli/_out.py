"""Printing: plain text, coloured on a terminal if rich is installed."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["add_pager", "paged", "plain", "progress", "show"]

# What is coloured: the first line of a page, the words that begin its lines, paths, damage.
_STYLES = (
    (r"^\S.*$", "bold"),
    (r"^  (format|writer|written|holds|history|tree|classes|names)\b", "cyan"),
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


def add_pager(parser: argparse.ArgumentParser) -> None:
    """Declare ``--no-pager``."""
    parser.add_argument("--no-pager", action="store_true", help="print at once, also on a terminal")


@contextlib.contextmanager
def paged(args: argparse.Namespace) -> Iterator[None]:
    """Send what is printed through a pager, if standard output is a terminal.

    The pager is that of the environment variable ``PAGER``, else ``less``, which ends by itself if all
    fits on the screen. An empty ``PAGER``, ``PAGER=cat`` and ``--no-pager`` turn it off.
    """
    if not _is_paged(args):
        yield
        return
    import pydoc

    held = _Held()
    before, sys.stdout = sys.stdout, held
    try:
        yield
    finally:
        sys.stdout = before
        os.environ.setdefault("LESS", "FRX")
        if held.getvalue():
            pydoc.getpager()(held.getvalue())


def _is_paged(args: argparse.Namespace) -> bool:
    import shlex
    import shutil

    if args.no_pager or args.json or not sys.stdout.isatty():
        return False
    words = shlex.split(os.environ.get("PAGER", "less"))
    return words not in ([], ["cat"]) and shutil.which(words[0]) is not None


class _Held(io.StringIO):
    """What goes to the pager; it is a terminal as far as colours are concerned."""

    def isatty(self) -> bool:
        """Return True: the pager writes to one."""
        return True


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

"""Printing: plain text, coloured on a terminal if rich is installed."""

from __future__ import annotations

import argparse
import contextlib
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
    command = _pager(args)
    if command is None:
        yield
        return
    import subprocess

    env = {"LESS": "FRX", "LV": "-c", **os.environ}
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=env)
    except OSError:  # the command of PAGER does not exist
        yield
        return
    assert process.stdin is not None
    before = sys.stdout
    sys.stdout = _ToPager(process.stdin)
    try:
        yield
    except BrokenPipeError:  # the pager was left before everything was printed
        pass
    finally:
        sys.stdout = before
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


def _pager(args: argparse.Namespace) -> list[str] | None:
    """The command of the pager, or None."""
    import shlex
    import shutil

    if args.no_pager or args.json or not sys.stdout.isatty():
        return None
    said = os.environ.get("PAGER")
    if said is None:
        less = shutil.which("less")
        return None if less is None else [less]
    words = shlex.split(said)
    return None if words in ([], ["cat"]) else words


class _ToPager:
    """The standard input of the pager, which is a terminal as far as colours are concerned."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

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

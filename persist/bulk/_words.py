"""Errors and warnings as text that can be counted."""

from __future__ import annotations

import os
import re
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator

from persist.errors import PersistError

__all__ = ["WarningCounter", "error_line", "kind_of"]


def error_line(error: BaseException, file: str) -> str:
    """Return an error as text that begins with the name of the file."""
    from persist._trees.show import printable

    if isinstance(error, PersistError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename or file}: {error.strerror or error}"
    elif isinstance(error, MemoryError):
        text = "not enough memory."
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = (
            f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno}). "
            "This is a bug in persist, not in the file: please report it together with the file."
        )
    lines = [line if line.isprintable() else repr(line)[1:-1] for line in text.splitlines()]
    text = "\n  ".join(lines)
    return text if text.startswith(file) else f"{printable(file)}: {text}"


def kind_of(text: str) -> str:
    """Return a warning or an error without its file, its numbers, and the paths that it quotes."""
    _, _, sentence = text.partition(": ")
    return re.sub(r"\bat '[^']*'|\d+", "#", sentence or text)


class WarningCounter:
    """Sums warnings up: those that differ only in the file, in numbers and in paths are one kind."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, category: str, text: str) -> None:
        """Count a warning."""
        key = category, kind_of(text)
        if key not in self._first and len(self._first) < 10_000:
            self._first[key] = text
        self._counts[key] += 1

    def extend(self, warnings: Iterable[tuple[str, str]]) -> None:
        """Count several."""
        for category, text in warnings:
            self.add(category, text)

    def summed(self) -> Iterator[tuple[str, str]]:
        """Yield the category and the first text of each kind, with the number of the others."""
        for key, text in self._first.items():
            more = f" (and {self._counts[key] - 1:,} more like it)" if self._counts[key] > 1 else ""
            yield key[0], f"{text}{more}"

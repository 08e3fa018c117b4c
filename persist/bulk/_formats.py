"""The formats that are written: those whose reader can write, never a list of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.readers.base import Reader

__all__ = ["ending", "writer"]


def writer(name: str) -> Reader:
    """Return the reader that writes a format, as ``persist.save(format=name)`` finds it.

    Raises:
        FormatError: no reader writes it; the remedy lists the formats that can be written.
    """
    from persist._api.save import writer_of

    return writer_of(name)


def ending(name: str) -> str:
    """Return the suffix of new files: the reader's first one, else the last part of its name."""
    if name == "joblib":  # written by joblib itself: see `persist.bulk._living`
        return ".joblib"
    reader = writer(name)
    return reader.suffixes[0] if reader.suffixes else f".{reader.name.rpartition('-')[2]}"

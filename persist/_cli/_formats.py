"""The formats that ``convert`` and ``upgrade`` write: those whose reader can write, never a list of our own.

They are looked up when a verb runs and not when its arguments are declared, since that would import
every reader for ``persist --help``.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.readers.base import Reader

__all__ = ["ending", "file_format_name", "format_name", "writer"]


def writer(name: str) -> Reader:
    """Return the reader that writes a format, as ``persist.save(format=name)`` finds it.

    Raises:
        FormatError: no reader writes it; the remedy lists the formats that can be written.
    """
    from persist._api.save import writer_of

    return writer_of(name)


def format_name(name: str) -> str:
    """Return the full name of a format to write; the ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: no reader writes it.
    """
    from persist.errors import FormatError

    try:
        return writer(name).name
    except FormatError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def file_format_name(name: str) -> str:
    """Return the full name of a format that is one file and holds records; the ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: no reader writes it, or it is several files, or a model of Keras.
    """
    full = format_name(name)
    reader = writer(full)
    if reader.is_prefix or reader.is_model:
        raise argparse.ArgumentTypeError(
            f"{full} is written by `persist convert --to {name}`, which upgrades no records."
        )
    return full


def ending(name: str) -> str:
    """Return the suffix of new files: the reader's first one, else the last part of its name."""
    reader = writer(name)
    return reader.suffixes[0] if reader.suffixes else f".{reader.name.rpartition('-')[2]}"

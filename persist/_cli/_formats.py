"""The formats that ``convert`` and ``upgrade`` write: those whose reader can write, never a list of our own.

They are looked up when a verb runs and not when its arguments are declared, since that would import
every reader for ``persist --help``.
"""

from __future__ import annotations

import argparse

__all__ = ["file_format_name", "format_name"]


def format_name(name: str) -> str:
    """Return the full name of a format to write; the ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: no reader writes it.
    """
    from persist.bulk._formats import writer
    from persist.errors import FormatError

    try:
        return writer(name).name
    except FormatError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def file_format_name(name: str) -> str:
    """Return the full name of a format that is one file and holds records; the ``type=`` of an argument.

    It is "joblib", too, which joblib writes.

    Raises:
        argparse.ArgumentTypeError: no reader writes it, or it is several files, or a model of Keras.
    """
    from persist.bulk._formats import writer

    if name == "joblib":
        return name
    full = format_name(name)
    reader = writer(full)
    if reader.is_prefix or reader.is_model:
        raise argparse.ArgumentTypeError(
            f"{full} is written by `persist convert --to {name}`, which upgrades no records."
        )
    return full

"""Options of a verb for reading files, with the meaning that they have in `persist.load`."""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterable
from typing import Any

__all__ = ["add", "loading", "opening", "untrusted"]


def add(parser: argparse.ArgumentParser, *, loads: bool = False) -> None:
    """Declare ``--py2-str`` and ``--salvage``; for verbs that load, ``--trust`` and ``--strict`` too."""
    parser.add_argument(
        "--py2-str",
        metavar="ENCODING",
        help="what Python 2's str becomes: text, bytes, or an encoding such as latin-1",
    )
    parser.add_argument(
        "--salvage", action="store_true", help="read the intact part of a damaged file"
    )
    if not loads:
        return
    parser.add_argument(
        "--trust",
        metavar="NAME",
        action="append",
        default=[],
        help="a class that your programs load with trust=, so that its records need no declaration",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="undeclared classes and undeterminable versions are failures",
    )


def opening(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options for `persist.open`."""
    return {"py2_str": args.py2_str, "salvage": args.salvage}


def loading(args: argparse.Namespace) -> dict[str, object]:
    """Return all options that differ from their defaults, to be stored as the origin of a container."""
    names = ("py2_str", "salvage", "unknown", "strict", "trust")
    said = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in said.items() if value and value != "warn"}


def untrusted(opaque: Iterable[str], args: argparse.Namespace) -> list[str]:
    """Return the classes that no ``--trust`` names."""
    return [
        name for name in opaque if not any(fnmatch.fnmatchcase(name, one) for one in args.trust)
    ]

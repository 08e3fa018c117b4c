"""The options of a verb that say how files are read; they mean what they mean in `persist.load`."""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterable
from typing import Any

__all__ = ["add", "loading", "opening", "untrusted"]


def add(parser: argparse.ArgumentParser, *, loads: bool = False) -> None:
    """Declare ``--py2-str`` and ``--salvage``; for what loads, ``--trust`` and ``--strict``, too."""
    parser.add_argument(
        "--py2-str",
        metavar="ENCODING",
        help="what Python 2's str becomes: text, bytes, or an encoding such as latin-1",
    )
    parser.add_argument("--salvage", action="store_true", help="what is whole of a damaged file")
    if not loads:
        return
    parser.add_argument(
        "--trust",
        metavar="NAME",
        action="append",
        default=[],
        help="a class that your programs load with trust=: its records are none of unknown classes",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a class of which nothing is known is a failure, and so is a version that nothing tells",
    )


def opening(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options for `persist.open`."""
    return {"py2_str": args.py2_str, "salvage": args.salvage}


def loading(args: argparse.Namespace) -> dict[str, Any]:
    """Return all of them, for a container to say how it was made; those with a default are left out."""
    names = ("py2_str", "salvage", "unknown", "strict", "trust")
    said = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in said.items() if value and value != "warn"}


def untrusted(opaque: Iterable[str], args: argparse.Namespace) -> list[str]:
    """Return the classes that no ``--trust`` names."""
    return [
        name for name in opaque if not any(fnmatch.fnmatchcase(name, one) for one in args.trust)
    ]

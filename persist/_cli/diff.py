"""Compare two files: structure, classes and values, whatever their formats.

Exits like diff(1): 0 if the files hold the same, 1 if they differ, 2 if one could not be read.
Numbers are equal within the tolerances; NaN equals NaN. Byte order and the order of keys are not
compared.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._trees.differ import Difference

__all__ = ["add", "run"]

_SIGNS = {"removed": "-", "added": "+"}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _reading

    parser.add_argument("a", metavar="A", help="a file, folder, prefix or URL")
    parser.add_argument("b", metavar="B", help="the other one")
    parser.add_argument("--rtol", type=_tolerance, default=0.0, help="relative tolerance (0)")
    parser.add_argument("--atol", type=_tolerance, default=0.0, help="absolute tolerance (0)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--quiet", action="store_true", help="print nothing; only the exit status")
    _reading.add(parser)


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text} is no tolerance: it must be 0 or more, and finite."
        )
    return value


def run(args: argparse.Namespace) -> int:
    """Print the differences; 0 if there are none, 1 if there are, 2 if a file cannot be read."""
    import persist
    from persist._cli import _reading
    from persist._cli._each import each

    found: list[Difference] = []
    incomplete: list[str] = []

    def one(name: str) -> None:
        from persist._trees.differ import differences

        options = _reading.opening(args)
        with persist.open(name, **options) as first, persist.open(args.b, **options) as second:
            found.extend(differences(first, second, rtol=args.rtol, atol=args.atol))
            incomplete.extend(
                f"{file.name}: {note}" for file in (first, second) for note in file.damage
            )
            if not args.quiet:
                _print(first, second, found, args)

    if each([args.a], one):
        return 2
    for note in incomplete:
        print(f"persist: {note}", file=sys.stderr)
    return 2 if incomplete else 1 if found else 0


def _print(one: File, two: File, found: list[Difference], args: argparse.Namespace) -> None:
    import json

    from persist._cli._out import show

    if args.json:
        items = [_as_json(item) for item in found]
        report = {"a": one.name, "b": two.name, "same": not found, "differences": items}
        print(json.dumps(report, allow_nan=False))
    elif found:
        show("\n".join([f"--- {one.name}", f"+++ {two.name}", *map(_line, found)]))


def _line(item: Difference) -> str:
    from persist._trees.show import escaped

    place = escaped(item.path or "(root)")
    if item.kind in _SIGNS:
        return f"{_SIGNS[item.kind]} {place}: {item.before or item.after}"
    facts = [] if item.unequal is None else [f"{item.unequal:,} differ"]
    facts += [] if item.largest is None else [f"by at most {item.largest:.4g}"]
    more = f"  ({', '.join(facts)})" if facts else ""
    return f"! {place}: {item.kind} {item.before} -> {item.after}{more}"


def _as_json(item: Difference) -> dict[str, object]:
    shown = {"path": item.path, "kind": item.kind, "a": item.before, "b": item.after}
    optional = {"unequal": item.unequal, "largest": item.largest}
    return {**shown, **{name: value for name, value in optional.items() if value is not None}}

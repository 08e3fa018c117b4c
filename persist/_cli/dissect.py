"""Print an annotated byte map of a file: what each range of its bytes is.

  persist dissect old.pkl            every opcode of a pickle, with its argument
  persist dissect model.npz          records of the ZIP, headers and data of the arrays in it
  persist dissect file.bin --json    JSON Lines: start, stop, place, what

The ranges cover the file from the first byte to the last; what is not understood is said to be unknown.
Nothing is decoded into objects, imported or called.
"""

from __future__ import annotations

import argparse

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _out

    parser.add_argument("file", metavar="FILE", help="a file or URL")
    parser.add_argument("--json", action="store_true", help="JSON Lines: one object a range")
    parser.add_argument(
        "--lines", type=int, default=0, metavar="N", help="print at most N ranges (default: all)"
    )
    _out.add_pager(parser)


def run(args: argparse.Namespace) -> int:
    """Print the ranges; 1 if the file cannot be read."""
    import json
    from itertools import islice

    from persist._cli._each import each
    from persist._cli._out import paged, plain
    from persist._dissect import dissect

    def one(name: str) -> None:
        ranges = dissect(name)
        place = None
        count = 0
        for found in islice(ranges, args.lines or None):
            count = found.stop
            if args.json:
                facts = {"start": found.start, "stop": found.stop, "place": found.place}
                print(json.dumps({**facts, "what": found.what}))
                continue
            if found.place != place:
                place = found.place
                print(plain(f"{place or name}:"))
            size = found.stop - found.start
            print(plain(f"  {found.start:>10,} {size:>10,}  {found.what}"))
        rest = sum(1 for _ in ranges)
        if rest and not args.json:
            print(f"... and {rest:,} more, from byte {count:,}")

    with paged(args):
        return each([args.file], one)

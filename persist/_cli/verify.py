"""Read files completely, verify every checksum, and report which are intact.

With --key a file must also be signed with that key (`persist sign`), and not altered since.

A file is intact if it opens without damage and every array and value in it can be read. In formats
without checksums, altered bytes may go unnoticed.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.bulk import Event

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _bulk

    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="a file, pattern, folder, prefix or URL"
    )
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="a public key, a PEM file: require a signature with it; may be repeated, one is enough",
    )
    parser.add_argument("--quiet", action="store_true", help="report failures only")
    _bulk.add(parser)


def run(args: argparse.Namespace) -> int:
    """Read every file; 1 if any is damaged or lacks a required signature, 2 if nothing could be begun."""
    from pathlib import Path

    from persist._cli import _bulk
    from persist._cli._out import show
    from persist.errors import PersistError

    if not args.files and not args.inventory:
        print("persist verify: name files, folders, or an inventory", file=sys.stderr)
        return 2
    try:
        # The keys themselves: workers on other machines have no such files.
        keys = [Path(name).read_bytes() for name in args.key]
        plan = _bulk.planned(args, args.files, "verify", keys=keys)
    except (PersistError, OSError) as error:
        print(f"persist verify: {error}", file=sys.stderr)
        return 2
    foreign = _bulk.Foreign()

    def each(event: Event) -> None:
        if event.status == "not an experiment file":
            foreign.add(event.file)
        elif event.error:
            print(f"persist: {event.error}", file=sys.stderr)
        elif not args.quiet and event.note:
            show(event.note)

    with plan:
        is_done = _bulk.follow(plan, args, "verifying", each)
        failed = bool(plan.count("damaged") or plan.count("failed"))
    foreign.show()
    return 2 if not is_done else int(failed)

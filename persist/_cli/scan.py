"""Name everything that loading files would import or call, without loading them.

Exits 0 if all is clean, 1 if anything dangerous or suspicious was found, 2 if a file or a part of
one could not be looked at.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.bulk import Event
    from persist.security import ScanReport

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _bulk

    parser.add_argument(
        "files",
        metavar="PATH",
        nargs="*",
        help="a file, pattern, URL, or folder of which all files count",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="JSON Lines: one object a file")
    form.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, for code scanning")
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 for names that are not known, too"
    )
    parser.add_argument("--quiet", action="store_true", help="report nothing of clean files")
    _bulk.add(parser)


def run(args: argparse.Namespace) -> int:
    """Scan every file; 1 if any is dangerous, 2 if any could not be looked at."""
    import json

    from persist._cli import _bulk
    from persist._cli._out import show
    from persist.errors import PersistError
    from persist.security import sarif

    if not args.files and not args.inventory:
        print("persist scan: name files, folders, or an inventory", file=sys.stderr)
        return 2
    try:
        plan = _bulk.planned(args, args.files, "scan", strict=args.strict)
    except PersistError as error:
        print(f"persist scan: {error}", file=sys.stderr)
        return 2
    reports: list[ScanReport] = []

    def each(event: Event) -> None:
        report = event.result
        if report is None:  # as it was in an earlier run of the ledger, which found nothing bad
            if event.error:
                print(f"persist: {event.error}", file=sys.stderr)
            return
        if event.kind.endswith("Error"):
            print(f"persist: {event.error}", file=sys.stderr)
        if args.sarif:
            reports.append(report)
        elif args.json:
            print(json.dumps(report.as_json()))
        elif not args.quiet or report.status:
            show(str(report))

    with plan:
        is_done = _bulk.follow(plan, args, "scanning", each)
        closed = plan.count("damaged") + plan.count("failed", kind="%Error")
        dangerous = plan.count("failed") - plan.count("failed", kind="%Error")
        dangerous += plan.count("failed", kind="WorkerDied")
    if args.sarif:
        print(json.dumps(sarif(reports), indent=1))
    return 1 if dangerous else 2 if closed or not is_done else 0

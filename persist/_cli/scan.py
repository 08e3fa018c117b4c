"""Name everything that loading files would import or call, without loading them.

Exits 0 if all is clean, 1 if anything dangerous or suspicious was found, 2 if a file or a part of
one could not be looked at.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.security import ScanReport

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="PATH", nargs="+", help="a file, URL, or folder of which all files count"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="JSON Lines: one object a file")
    form.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, for code scanning")
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 for names that are not known, too"
    )
    parser.add_argument("--quiet", action="store_true", help="report nothing of clean files")


def run(args: argparse.Namespace) -> int:
    """Scan every file; 1 if any is dangerous, 2 if any could not be looked at."""
    import json

    from persist._cli._out import show
    from persist.security import sarif

    reports: list[ScanReport] = []
    dangerous = closed = False
    for report in _reports(args.files):
        status = report.status
        dangerous |= status == 1 or (args.strict and bool(report.of("unknown")))
        closed |= status == 2
        if args.sarif:
            reports.append(report)
        elif args.json:
            print(json.dumps(report.as_json()))
        elif not args.quiet or status:
            show(str(report))
    if args.sarif:
        print(json.dumps(sarif(reports), indent=1))
    return 1 if dangerous else 2 if closed else 0


def _reports(files: list[str]) -> Iterator[ScanReport]:
    """Scan each file, and each file in a folder, by itself."""
    from persist.security import Finding, ScanReport, scan
    from persist.security._scan import _files

    for name in files:
        for path in _files(name) if os.path.isdir(name) else (name,):
            try:
                yield scan(path)
            except OSError as error:
                why = f"it cannot be read: {error.strerror or error}"
                print(f"persist: {path}: {why}", file=sys.stderr)
                yield ScanReport(path, (Finding("could not look", "", why),))

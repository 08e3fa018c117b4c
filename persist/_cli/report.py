"""Sum up what a ledger records: totals, failures by kind with examples, classes not declared, slowest files.

Exits 0 if all is well, 4 if some file is damaged, 1 if some file failed for another reason, 3 if every
file was read and the class of some record is not declared; 2 if it is no ledger.
"""

from __future__ import annotations

import argparse
import sys

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ledger", metavar="LEDGER", help="the file that --ledger named")
    parser.add_argument("--run", metavar="ID", help="a run (default: the last one)")
    parser.add_argument("--runs", action="store_true", help="list the runs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the summary as one JSON object")
    form.add_argument("--jsonl", action="store_true", help="JSON Lines: one object a file")
    form.add_argument("--csv", action="store_true", help="CSV: one row a file")
    parser.add_argument(
        "--html", metavar="OUT", help="write a page of HTML that needs nothing else"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; the status tells damaged, failed, unknown and well apart."""
    from persist._cli._out import show
    from persist.bulk._ledger import Ledger
    from persist.bulk._report import parts_of, report, write_report
    from persist.errors import PersistError

    form = next((f".{name}" for name in ("jsonl", "json", "csv") if getattr(args, name)), "")
    try:
        with Ledger(args.ledger, writes=False) as ledger:
            if args.runs:
                for one in ledger.runs():
                    state = "undone" if one["undone"] else "finished" if one["finished"] else "open"
                    show(f"{one['id']}  {one['job']}  {one['started']}  {state}")
                return 0
            made = report(ledger, args.run)
            if args.html:
                write_report(ledger, args.html, args.run)
            if form:
                for part in parts_of(ledger, form, args.run):
                    sys.stdout.write(part)
            else:
                show(str(made))
            return made.status
    except BrokenPipeError:  # nobody reads the output
        raise
    except (PersistError, OSError) as error:
        print(f"persist report: {error}", file=sys.stderr)
        return 2

"""Restore files to their content before an upgrade.

Without --run, each call goes one `persist upgrade --in-place --keep` back; in a folder, of every file
that has one. The bytes of arrays are not written again where the file system can share them.

With --run, everything that one run of a ledger wrote is undone: new files are removed, replaced files
come back with the same bytes. A file that was changed since then is left, and reported. The run is
named as it was printed, or `last`; PATHs, if any, limit it to what is below them.
"""

from __future__ import annotations

import argparse
import sys

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="PATH", nargs="*", help="a file that persist wrote, a folder, or a ledger"
    )
    parser.add_argument(
        "--run", metavar="ID", help="undo what this run wrote; `last` is the last one"
    )
    parser.add_argument("--ledger", metavar="FILE", help="the ledger of the run")


def run(args: argparse.Namespace) -> int:
    """Undo the last upgrade of every file, or a run; 1 if something could not be undone."""
    from persist import _container
    from persist._cli._each import each
    from persist._cli._folders import containers
    from persist._cli._out import show

    if args.run:
        return _run(args)
    if not args.files:
        print("persist undo: name files or folders, or a run with --run", file=sys.stderr)
        return 2

    def one(name: str) -> None:
        done = _container.undo(name)
        show(f"{name}: restored, {done.size:,} bytes")

    files, status = containers(args.files, "that has an older generation", _container.has_older)
    return each(files, one) or status


def _run(args: argparse.Namespace) -> int:
    """Undo a run of a ledger."""
    from persist._cli._out import show
    from persist.bulk._ledger import Ledger, is_ledger
    from persist.bulk._undo import undo_run
    from persist.errors import PersistError

    ledgers = [name for name in args.files if is_ledger(name)]
    path = args.ledger or (ledgers[0] if ledgers else None)
    if path is None:
        print("persist undo: --run needs the ledger of the run: --ledger FILE", file=sys.stderr)
        return 2
    if not is_ledger(path):
        print(f"persist undo: {path}: it is no ledger", file=sys.stderr)
        return 2
    only = tuple(name for name in args.files if name not in ledgers)
    counts = {"restored": 0, "removed": 0, "gone": 0, "left": 0}
    try:
        with Ledger(path) as ledger:
            runs = [one["id"] for one in ledger.runs() if not one["undone"]]
            id = runs[-1] if args.run == "last" and runs else args.run
            for one in undo_run(ledger, id, only):
                counts[one.status] += 1
                if one.status == "left":
                    print(f"persist: {one.file}: left as it is: {one.reason}", file=sys.stderr)
                elif one.status != "gone":
                    show(f"{one.file}: {one.status}")
    except PersistError as error:
        print(f"persist undo: {error}", file=sys.stderr)
        return 2
    show(
        ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        or "nothing to undo"
    )
    return 1 if counts["left"] else 0

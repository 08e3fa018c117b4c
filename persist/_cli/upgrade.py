"""Upgrade files to the current versions of your classes, into new files.

For every file SRC in a known format, writes SRC.persist (or the same tree of folders under --to)
with the state in the current layout of your classes. The source is never changed. Each new file is
loaded to objects and compared with the old one, loaded likewise, before it gets its name; with
--dry-run all of that is done but the name. A second run repeats only what is stale, because
the source, your classes, your steps or the options have changed, and states the reason; files that
no upgrade wrote are overwritten with --force only.

Under --to, a file that persist wrote keeps its name: it is upgraded, or copied unchanged. Two files
that would get one name are refused before anything is written; --names gives them others.

With --in-place a file that persist wrote is replaced by its upgraded version. The bytes of its
arrays are not written again where the file system can share them. `persist undo` restores the file
that --keep kept, `persist compact` removes unused bytes.

With --format joblib, or --format pickle where a file holds objects of pandas, scikit-learn and other
libraries, today's objects are made in a process of their own and written as their library does, so
that it loads them by itself. Where no object can be made, the file fails with the reason.

With --ledger each file is recorded: an interrupted run goes on where it stopped, `persist report`
sums it up, and `persist undo --run` takes back what a run wrote.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.bulk import Event

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _bulk, _knowledge, _reading

    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="*",
        help="a file, pattern, folder, checkpoint prefix or URL",
    )
    parser.add_argument(
        "--to", metavar="DIR", help="write under this folder or URL instead of next to the source"
    )
    parser.add_argument(
        "--names",
        metavar="TEMPLATE",
        default="",
        help="names of new files, of {folder}, {name}, {stem}, {suffix} and {ending}, such as "
        "'{stem}-v2{ending}'",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="report what would be done without writing anything"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite files that an earlier run wrote"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="replace files that persist wrote by their upgraded version",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="with --in-place: keep the old file for `persist undo`; with --ledger or --originals as a "
        "whole, once for each content",
    )
    parser.add_argument(
        "--originals",
        metavar="DIR",
        help="keep files that are replaced in this folder (with --ledger: LEDGER.originals)",
    )
    parser.add_argument(
        "--certificates",
        metavar="DIR",
        help="write a proof of each new file: digests of both files and of all arrays, steps, versions",
    )
    _add_written(parser)
    _reading.add(parser, loads=True)
    _knowledge.add(parser)
    _bulk.add(parser, has_format=True)


def _add_written(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments about what is written."""
    from persist._cli._formats import file_format_name

    parser.add_argument(
        "--format",
        metavar="FORMAT",
        type=file_format_name,
        default="persist",
        help="any format that `save(format=...)` takes, or joblib (default: persist); an unknown name lists them",
    )
    parser.add_argument(
        "--capsule",
        action="store_true",
        help="store the layouts of the classes, old and new, and the ready-made steps in each new file, "
        "for programs that know less of the classes",
    )
    parser.add_argument(
        "--unknown",
        choices=("warn", "drop", "keep", "error"),
        default="warn",
        help="treatment of undeclared fields (default: left out, with a warning)",
    )
    parser.add_argument(
        "--as",
        dest="cls",
        metavar="CLASS",
        help="treat a file without classes as a state of this schema or class",
    )
    parser.add_argument(
        "--at", metavar="PATH", default="", help="with --as: the path of that state in the file"
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write a report: .html, .csv, .jsonl, .json or .txt"
    )
    parser.add_argument("--quiet", action="store_true", help="report failures and totals only")


def run(args: argparse.Namespace) -> int:
    """Upgrade every file; 1 if any failed, or is out of date and was not written by an upgrade."""
    from persist._cli import _bulk, _reading
    from persist.errors import PersistError

    fault = _misfit(args)
    if fault:
        print(f"persist upgrade: {fault}", file=sys.stderr)
        return 2
    try:
        plan = _bulk.planned(
            args, args.sources, "upgrade", to=args.to, names=args.names, dry_run=args.dry_run,
            force=args.force, in_place=args.in_place, keep=args.keep, format=args.format,
            unknown=args.unknown, cls=args.cls, at=args.at, strict=args.strict, trust=args.trust,
            originals=args.originals, certificates=args.certificates,
            capsule=args.capsule, **_reading.opening(args),
        )  # fmt: skip
    except PersistError as error:
        print(f"persist upgrade: {error}", file=sys.stderr)
        return 2
    shown = _Shown(args)
    with plan:
        is_done = _bulk.follow(plan, args, "upgrading", shown)
        if not args.events:
            shown.sum_up()
        if args.report:
            from persist.bulk._report import write_report

            write_report(plan.ledger, args.report, plan.run_id)
        # A damaged file of which the intact part was upgraded (--salvage) is no failure.
        is_bad = bool(plan.count("failed") or plan.count("damaged", status="failed"))
    return 2 if not is_done else int(is_bad)


def _misfit(args: argparse.Namespace) -> str:
    """Return which arguments exclude each other, or ""."""
    if not args.sources and not args.inventory:
        return "name files or folders, or an --inventory."
    if args.keep and not args.in_place:
        return "--keep needs --in-place; without it the source is not changed anyway."
    if args.in_place and (args.to or args.names or args.format != "persist"):
        return (
            "--in-place replaces the file in its own format: leave out --to, --names and --format."
        )
    if args.capsule and (args.in_place or args.format != "persist"):
        return "--capsule is for new containers: leave out --in-place and --format."
    if args.in_place and (args.salvage or args.py2_str):
        return "--salvage and --py2-str apply to files that persist did not write: leave out --in-place."
    for name in args.sources:
        if _is_far(name) and (args.in_place or not args.to):
            return f"{name} is a URL, and new files are written next to their sources: name a folder with --to."
    if args.at and not args.cls:
        return "--at needs --as: it is the path of the state of that class."
    if args.in_place and args.cls:
        return "--as excludes --in-place: the result is a different file."
    return ""


def _is_far(name: str) -> bool:
    return "://" in name and not name.startswith("file://")


class _Shown:
    """Prints events, and counts them."""

    def __init__(self, args: argparse.Namespace) -> None:
        from persist.bulk._sources import local

        self._args = args
        self._named = set(map(local, args.sources))
        self._counts: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._failures: list[str] = []

    def __call__(self, event: Event) -> None:
        from persist._cli._out import show

        done, note = event.status, event.note
        self._counts[done] += 1
        self._unknown.update(event.unknown)
        if done == "failed":
            if len(self._failures) < 100_000:
                self._failures.append(event.error)
        elif done in ("upgraded", "would be upgraded", "copied", "would be copied"):
            if not self._args.quiet:
                to = "" if self._args.in_place else f" -> {event.target}"
                show(f"{event.file}{to}{note}")
        elif done == "of an older version":
            show(f"{event.file} is of an older version; --in-place upgrades it{note}")
        elif done == "out of date" or (done == "there already" and event.file in self._named):
            show(f"{event.target} exists already{note}")

    def sum_up(self) -> None:
        """Print the failures, the totals, and the classes that are not declared."""
        from persist._cli._out import show
        from persist._trees.show import printable

        for text in self._failures:
            print(f"failed: {text}", file=sys.stderr)
        order = (
            *("upgraded", "would be upgraded", "copied", "would be copied", "there already"),
            *("up to date", "of an older version", "out of date", "left out"),
            *("not an experiment file", "failed"),
        )
        counts = self._counts
        parts = [f"{counts[name]:,} {name}" for name in order if counts.get(name)]
        show(", ".join(parts) or "nothing to do")
        opaque = self._unknown
        if opaque:
            names = ", ".join(
                f"{printable(name)}{f' (in {count:,} files)' if count > 1 else ''}"
                for name, count in sorted(opaque.items())[:8]
            )
            more = f", and {len(opaque) - 8:,} more" if len(opaque) > 8 else ""
            show(
                f"kept unchanged as records, since their classes are not declared: {names}{more}\n"
                "  (use --import with the module that declares them to upgrade them too)"
            )

"""List the classes in files by layout, version and writer, and what a load would do with them today.

For a folder of old files of which nobody knows what they hold. Nothing that a file names is imported
or called. `persist draft --from survey.json` writes classes and steps for a folder whose source is
lost.
"""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _bulk, _knowledge, _reading

    parser.add_argument(
        "files", metavar="PATH", nargs="*", help="a file, pattern, folder, prefix or URL"
    )
    parser.add_argument(
        "--git",
        metavar="REPO",
        type=Path,
        help="list the layouts that the classes of a git repository ever had, with their commits, and the steps "
        "between them; with PATH, the commits that can have written each file",
    )
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="with --git: neither read nor keep the layouts found before",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="JSON Lines, one for each class by layout by version by writer; for `persist draft --from`, too",
    )
    parser.add_argument(
        "--save",
        metavar="OUT",
        type=Path,
        help="write one JSON object into a file for `persist draft --from`, and print the table",
    )
    parser.add_argument("--html", metavar="OUT", type=Path, help="write a page of HTML, too")
    parser.add_argument(
        "--all", action="store_true", help="list classes of known libraries and plain values, too"
    )
    _reading.add(parser)
    _knowledge.add(parser)
    _bulk.add(parser)


def run(args: argparse.Namespace) -> int:
    """Print the survey; 1 if a file is damaged, 2 if nothing could be asked."""
    from persist._cli import _bulk, _reading
    from persist._cli._out import show
    from persist.errors import PersistError
    from persist.survey._text import table

    if args.git is not None:
        return _of_history(args)
    if not args.files and not args.inventory:
        print("persist survey: name a file or folder, or a repository with --git", file=sys.stderr)
        return 2
    missing = [name for name in args.files if _is_missing(name)]
    for name in missing:
        print(f"persist survey: {name}: there is no such file or folder", file=sys.stderr)
    there = [name for name in args.files if name not in missing]
    try:
        with _bulk.planned(args, there, "survey", **_reading.opening(args)) as plan:
            if not _bulk.follow(plan, args, "surveying", lambda event: None):
                return 2
            found = plan.survey()
    except PersistError as error:
        print(f"persist survey: {error}", file=sys.stderr)
        return 2
    found.roots = [*args.files, *args.inventory]
    if args.html is not None:
        from persist.survey._page import page

        args.html.write_text(page(found), encoding="utf-8")
    if args.save is not None:
        import json

        args.save.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
    if args.events:
        return 1 if missing or found.damaged else 0
    if args.json:
        import json

        from persist.survey._lines import as_lines

        for line in as_lines(found):
            print(json.dumps(line))
    else:
        show(table(found, every=args.all))
    return 1 if missing or found.damaged else 0


def _of_history(args: argparse.Namespace) -> int:
    """Print the layouts of a repository's classes, or date files by them."""
    from persist._cli import date
    from persist._cli._out import show
    from persist.archaeology import history_of
    from persist.archaeology._text import as_lines, table
    from persist.errors import PersistError

    if args.files:
        return date.run(args)
    try:
        history = history_of(args.git, remember=not args.no_cache)
    except PersistError as error:
        print(f"persist survey: {error}", file=sys.stderr)
        return 2
    if args.json:
        import json

        for line in as_lines(history):
            print(json.dumps(line))
    else:
        show(table(history, every=args.all))
    return 0


def _is_missing(name: str) -> bool:
    """Whether nothing has that name: no file, folder, URL, or prefix of a checkpoint."""
    path = Path(name)
    if "://" in name or path.exists() or glob.has_magic(name):
        return False
    parent = path.parent
    return not (parent.is_dir() and any(one.name.startswith(path.name) for one in parent.iterdir()))


def expanded(names: Iterable[str]) -> Iterator[str]:
    """Yield each file, and for a folder each experiment file in it."""
    from persist.bulk._sources import Filters, items

    for item in items(list(names), Filters()):
        yield item.name

"""List the classes in files by layout, version and writer, and what a load would do with them today.

For a folder of old files of which nobody knows what they hold. Nothing that a file names is imported
or called. `persist draft --from survey.json` writes classes and steps for a folder whose source is
lost.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge, _reading

    parser.add_argument("files", metavar="PATH", nargs="*", help="a file, folder, prefix or URL")
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


def run(args: argparse.Namespace) -> int:
    """Print the survey; 1 if a file is damaged, 2 if nothing could be asked."""
    from persist._cli import _knowledge, _reading
    from persist._cli._out import show
    from persist.errors import PersistError
    from persist.survey import Collector
    from persist.survey._text import table

    if args.git is not None:
        return _of_history(args)
    if not args.files:
        print("persist survey: name a file or folder, or a repository with --git", file=sys.stderr)
        return 2
    try:
        collector = Collector(_knowledge.registry_of(args), **_reading.opening(args))
    except PersistError as error:
        print(f"persist survey: {error}", file=sys.stderr)
        return 2
    missing = [name for name in args.files if _is_missing(name)]
    for name in missing:
        print(f"persist survey: {name}: there is no such file or folder", file=sys.stderr)
    for file in expanded(name for name in args.files if name not in missing):
        collector.add(file)
    found = collector.result(args.files)
    if args.html is not None:
        from persist.survey._page import page

        args.html.write_text(page(found), encoding="utf-8")
    if args.save is not None:
        import json

        args.save.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
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
    if "://" in name or path.exists():
        return False
    parent = path.parent
    return not (parent.is_dir() and any(one.name.startswith(path.name) for one in parent.iterdir()))


def expanded(names: Iterator[str] | list[str]) -> Iterator[str]:
    """Yield each file, and for a folder each experiment file in it."""
    from persist._cli._folders import files_in, local

    for name in map(local, names):
        if "://" in name or not Path(name).is_dir():
            yield name
        else:
            for path, _ in files_in(Path(name)):
                yield str(path)

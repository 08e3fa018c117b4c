"""Name the commits of a git repository that can have written a file.

What is in the file is held against each layout that the classes ever had in the history of their source.
Nothing of it is run. `persist survey --git REPO` lists those layouts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _reading

    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument(
        "--git",
        metavar="REPO",
        type=Path,
        default=Path(),
        help="the repository (default: the current folder)",
    )
    parser.add_argument("--json", action="store_true", help="JSON Lines, one for each file")
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="neither read nor keep the layouts that were found before",
    )
    _reading.add(parser)


def run(args: argparse.Namespace) -> int:
    """Date every file; 1 if one cannot be read, or no commit can have written one."""
    import json

    import persist
    from persist._cli import _reading
    from persist._cli._each import each
    from persist._cli._out import show
    from persist.archaeology import date, history_of
    from persist.archaeology._dates import as_json
    from persist.archaeology._text import dated
    from persist.errors import PersistError

    try:
        history = history_of(args.git, remember=not args.no_cache)
    except PersistError as error:
        print(f"persist date: {error}", file=sys.stderr)
        return 2
    options = _reading.opening(args)
    undated = []

    def one(name: str) -> None:
        with persist.open(name, **options) as file:
            found = date(file, history)
        if not found.spans:
            undated.append(name)
        if args.json:
            print(json.dumps({"file": name, **as_json(found)}))
        else:
            show(dated(name, found))

    return each(args.files, one, one) or int(bool(undated))

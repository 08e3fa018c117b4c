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

    parser.add_argument("files", metavar="PATH", nargs="+", help="a file, folder, prefix or URL")
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


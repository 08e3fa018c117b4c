"""Show a file, a folder or the difference of two files in the browser: one page, without network.

The page is one HTML file with everything in it: the tree with search, arrays as heat maps and histograms,
curves of training logs, the structure of networks, what a load would do, damage, and what loading
by the framework would run. Nothing that a file says can become script in it.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge, _reading

    parser.add_argument("file", metavar="FILE", help="a file, folder, prefix or URL")
    parser.add_argument("other", metavar="FILE2", nargs="?", help="show how this one differs")
    parser.add_argument(
        "--out", metavar="PAGE", help="the page to write (default: a temporary one)"
    )
    parser.add_argument("--no-open", action="store_true", help="do not open it in the browser")
    _reading.add(parser)
    _knowledge.add(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page, and open it; 1 if a file cannot be read."""
    from pathlib import Path

    from persist._cli import _knowledge, _reading
    from persist._cli._each import each
    from persist._container.writing.atomic import replacing
    from persist.errors import PersistError

    try:
        options = {**_reading.opening(args), "registry": _knowledge.registry_of(args)}
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return 2

    def one(name: str) -> None:
        from persist._view import html_page

        text = html_page(_data(name, args.other, options))
        out = args.out or _temporary(name)
        with replacing(out, durable=False) as stream:
            stream.write(text.encode("utf-8"))
        print(out)
        if not args.no_open and args.out is None:
            import webbrowser

            webbrowser.open(Path(out).absolute().as_uri())

    return each([args.file], one)


def _data(name: str, other: str | None, options: dict[str, Any]) -> dict[str, object]:
    from pathlib import Path

    import persist
    from persist._view import diff_data, file_data, folder_data
    from persist.bulk._folders import files_in
    from persist.bulk._sources import local

    name = local(name)
    if other is not None:
        with persist.open(name, **options) as one, persist.open(other, **options) as two:
            return diff_data(one, two)

    def open_one(path: str) -> File:
        return persist.open(path, **options)

    if os.path.isdir(name):
        found = [(str(path), str(inside)) for path, inside in files_in(Path(name))]
        if [path for path, _ in found] != [name]:
            return folder_data(name, found, open_one)
    with open_one(name) as file:
        return file_data(file, options=options)


def _temporary(name: str) -> str:
    """A new file for a page that nobody named; the browser needs it after this process has ended."""
    import tempfile

    handle, path = tempfile.mkstemp(".html", "persist-view-")
    os.close(handle)
    return path

"""Write what is whole of a damaged file into a new file, and list what is lost.

Members of archives and containers are whole if they have the checksum that the file states for them.
The damaged file is not changed. Exits 0 if the new file was written, whatever was lost; 1 if nothing
can be read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli._formats import file_format_name

    parser.add_argument("file", metavar="FILE", help="a file, folder, prefix or URL")
    parser.add_argument(
        "--out",
        metavar="OUT",
        help="the new file; its suffix decides the format (default: FILE.repaired.persist)",
    )
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        type=file_format_name,
        help="the format of the new file, whatever its suffix",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Repair the file; 1 if nothing can be read."""
    import json

    import persist
    from persist._cli._each import each
    from persist._cli._out import show
    from persist.bulk._formats import ending

    def one(name: str) -> None:
        suffix = ".persist" if args.to is None else ending(args.to)
        out = Path(args.out or f"{name.rstrip('/')}.repaired{suffix}")
        if out.exists() and not args.force:
            raise persist.PersistError(
                "it exists already.", file=str(out), remedy="Give another name, or --force."
            )
        done = persist.repair(name, out, format=args.to)
        if args.json:
            print(json.dumps(done.as_json()))
        else:
            show(str(done))

    return each([args.file], one)

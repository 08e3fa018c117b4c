"""Restore files to their content before `persist upgrade --in-place --keep`.

Each call goes one such upgrade back; in a folder, of every file that has one. The bytes of arrays are not written again where the file
system can share them.
"""

from __future__ import annotations

import argparse

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="a file that persist wrote, or a folder"
    )


def run(args: argparse.Namespace) -> int:
    """Undo the last upgrade of every file; 1 if any has none to undo."""
    from persist import _container
    from persist._cli._each import each
    from persist._cli._folders import containers
    from persist._cli._out import show

    def one(name: str) -> None:
        done = _container.undo(name)
        show(f"{name}: restored, {done.size:,} bytes")

    files, status = containers(args.files, "that has an older generation", _container.has_older)
    return each(files, one) or status

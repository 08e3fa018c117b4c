"""Rewrite files that persist wrote as if they were new: arrays named by their paths, no unused bytes.

After upgrades in place a file may hold arrays that nobody refers to, arrays under their old names,
and older generations that `persist undo` could bring back: all that goes.
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
    """Rewrite every file; 1 if any failed."""
    import os

    from persist import _container
    from persist._api.provenance import appending
    from persist._cli._each import each
    from persist._cli._folders import containers
    from persist._cli._out import show

    def one(name: str) -> None:
        before = os.path.getsize(name)
        done = _container.compact(name, history=appending("compacted"))
        show(f"{name}: {before:,} bytes, now {done.size:,}")

    files, status = containers(args.files, "that persist wrote", lambda name: True)
    return each(files, one) or status

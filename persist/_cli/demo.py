"""Write the genuine old files that README and docs use: DIR/runs, DIR/corpus.

Change into DIR to run the examples of the pages unchanged.
"""

from __future__ import annotations

import argparse

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "folder", metavar="DIR", help="the folder to write to; created if it does not exist"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files; 1 if a different file of the same name exists."""
    from persist._cli._each import each
    from persist._cli._out import show
    from persist.demo import write

    def one(folder: str) -> None:
        count = len(write(folder))
        show(
            f"{folder}: {count} genuine old files. Try: cd {folder}; persist inspect runs/logreg_v1.pkl"
        )

    return each([args.folder], one)

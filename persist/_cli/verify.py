"""Read files completely, verify every checksum, and report which are intact.

A file is intact if it opens without damage and every array and value in it can be read. In formats
without checksums, altered bytes may go unnoticed.
"""

from __future__ import annotations

import argparse

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument("--quiet", action="store_true", help="report failures only")


def run(args: argparse.Namespace) -> int:
    """Read every file; 1 if any is damaged."""
    from persist._cli._each import each
    from persist._cli._out import show

    def one(name: str) -> None:
        text = read_all(name)
        if not args.quiet:
            show(text)

    return each(args.files, one, one)


def read_all(name: str) -> str:
    """Read everything in a file; return a summary.

    Raises:
        FormatError: it is damaged.
    """
    import numpy as np

    import persist
    from persist._trees.show import counted, size_text
    from persist.errors import DamagedFileError

    with persist.open(name, verify="always") as file:
        count = size = 0
        for path in file.arrays:
            array = np.asarray(file.arrays[path])
            count, size = count + 1, size + array.nbytes
        scalars = len(file.scalars)
        if file.damage:
            raise DamagedFileError(f"{'; '.join(file.damage)}.", file=file.name)
        return (
            f"{file.name}: {file.format}, whole: {counted(count, 'array')} ({size_text(size)}), "
            f"{counted(scalars, 'value')}"
        )

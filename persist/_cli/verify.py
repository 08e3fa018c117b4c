"""Read files completely, verify every checksum, and report which are intact.

With --key a file must also be signed with that key (`persist sign`), and not altered since.

A file is intact if it opens without damage and every array and value in it can be read. In formats
without checksums, altered bytes may go unnoticed.
"""

from __future__ import annotations

import argparse

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        help="a public key, a PEM file: require a signature with it; may be repeated, one is enough",
    )
    parser.add_argument("--quiet", action="store_true", help="report failures only")


def run(args: argparse.Namespace) -> int:
    """Read every file; 1 if any is damaged, or not signed with a key that is required."""
    from persist._cli._each import each
    from persist._cli._out import show
    from persist.security import check_signature

    def one(name: str) -> None:
        text = read_all(name)
        if args.key:
            text += f", {check_signature(name, args.key)}"
        elif signed := _signed(name):
            text += f", {signed} (not checked: --key)"
        if not args.quiet:
            show(text)

    return each(args.files, one, one)


def _signed(name: str) -> str:
    """What a file says of its signatures, or ""."""
    from persist.errors import FormatError
    from persist.security import signatures

    try:
        return ", ".join(map(str, signatures(name)))
    except (FormatError, OSError):  # it is no container
        return ""


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

"""Declarations from the command line: modules to import, folders of migrations."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported lazily, so that `--help` is fast
    from persist.registry import Registry

__all__ = ["add", "registry_of"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare ``--import`` and ``--migrations``."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="MODULE",
        action="append",
        default=[],
        help="import a module (its name, or the path of its file) that declares your classes and "
        "migrations; may be repeated",
    )
    parser.add_argument(
        "--migrations",
        metavar="FOLDER",
        action="append",
        default=[],
        help="a folder of such modules, each with a registry named 'pack' or none; may be repeated",
    )


def registry_of(args: argparse.Namespace) -> Registry:
    """Import the modules that the command line names, and return the registry with their declarations.

    Raises:
        PersistError: a module or folder cannot be imported.
    """
    from persist.bulk._declared import registry_of as declared

    return declared(args.imports, args.migrations)

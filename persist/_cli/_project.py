"""What the verbs of a project share: ``--import``, ``--project``, and reporting of errors."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.history.project import Project

__all__ = ["add", "project_of", "reporting"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare ``--import`` and ``--project``."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="MODULE",
        action="append",
        default=[],
        help="a module that declares your classes and steps, in addition to those that [tool.persist] of "
        "pyproject.toml names; may be repeated",
    )
    parser.add_argument(
        "--project",
        metavar="FOLDER",
        type=Path,
        help="the folder of pyproject.toml; by default the nearest one upwards from the current folder",
    )


def project_of(args: argparse.Namespace) -> Project:
    """Return the project that the command line names."""
    from persist.history.project import find_project

    return find_project(args.project, args.imports)


def reporting(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Make a verb print the error and return status 2 if the project cannot be used."""

    @functools.wraps(run)
    def wrapped(args: argparse.Namespace) -> int:
        from persist.errors import PersistError

        try:
            return run(args)
        except PersistError as error:
            print(f"persist {args.verb}: {error}", file=sys.stderr)
            return 2

    return wrapped

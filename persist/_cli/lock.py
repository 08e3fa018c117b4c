"""Write the lock file: the layout of every released version of each schema.

Run it when a version is ready to be released, and commit the file. A version that is in it never
changes again: where a class changed and its version did not, nothing is written and the status is 1.
"""

from __future__ import annotations

import argparse
import sys

from persist._cli import _project
from persist._cli._project import reporting

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--release",
        metavar="VERSION",
        default="",
        help="the release of your package, recorded with new versions",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite released versions with the current layouts; only for versions that were never used",
    )
    parser.add_argument(
        "--write-layouts",
        action="store_true",
        help="write layout= into each class statement, so that a later change fails at import",
    )
    parser.add_argument("--dry-run", action="store_true", help="report what would be written")
    _project.add(parser)


@reporting
def run(args: argparse.Namespace) -> int:
    """Write the lock; 1 if a released version has changed."""
    from persist._cli._out import show
    from persist.history import locking

    project = _project.project_of(args)
    found = locking.update(project, release=args.release, force=args.force)
    path = project.shown(project.lock_path)
    for name, version, lines in found.refused:
        show(f"{name} changed, and its version did not ({version}):")
        for line in lines:
            show(f"    {line}")
        show(
            f"  Increase its version to {version + 1} and add a step (`persist draft` writes both). If version "
            f"{version} was never used: `persist lock --force`."
        )
    if found.refused:
        print(f"persist lock: {path} was not written", file=sys.stderr)
        return 1
    for line in found.news:
        show(line)
    text, is_new = found.lock.to_toml(), not project.lock_path.exists()
    same = not is_new and project.lock_path.read_text(encoding="utf-8") == text
    if args.dry_run:
        show(f"{path} would be {'as it is' if same else 'written'}")
        return 0
    if not same:
        found.lock.write(project.lock_path)
    count = len(found.lock.schemas)
    show(f"{path}: {count} schema{'s' * (count != 1)}{', as it was' if same else ''}")
    if args.write_layouts:
        from persist.history import writing

        for line in writing.write_layouts(project):
            show(line)
    return 0

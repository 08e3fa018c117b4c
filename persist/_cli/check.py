"""Check that no class changed without a new version, and that every old file still loads.

Compares the classes with the lock file, looks for versions that cannot be upgraded, and loads the
golden files. For CI: the exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from persist._cli import _project
from persist._cli._project import reporting

if TYPE_CHECKING:
    from persist._layouts.lockfile import Lock
    from persist.history.checking import Result

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="list the golden files that use each step; a step without one is an error",
    )
    parser.add_argument("--no-golden", action="store_true", help="do not load the golden files")
    parser.add_argument(
        "--against",
        metavar="LOCK",
        help="an older lock file, or a git revision that has one: none of its versions may be missing",
    )
    _project.add(parser)


@reporting
def run(args: argparse.Namespace) -> int:
    """Check the project; 1 if a check fails."""
    import functools

    from persist._cli._out import progress, show
    from persist.history.checking import check

    project = _project.project_of(args)

    def shown(files: list[Path]) -> object:
        return progress(files, len(files), "golden files")

    result = check(
        project,
        against=None if args.against is None else _lock_at(args.against, project.lock_path),
        coverage=args.coverage,
        golden=not args.no_golden,
        progress=functools.partial(shown),  # type: ignore[arg-type]
    )
    if args.json:
        import json

        print(json.dumps(result.as_json(), indent=1, ensure_ascii=False))
    else:
        if args.coverage:
            show(_coverage(result))
        show(str(result))
    return 0 if result.is_ok else 1


def _coverage(result: Result) -> str:
    lines = ["steps and the golden files that use them:"]
    for (schema, first, last), files in sorted(result.coverage.items()):
        lines.append(f"    {schema} {first} → {last}: {', '.join(files) or 'none'}")
    return "\n".join(lines) if len(lines) > 1 else "there are no steps"


def _lock_at(text: str, path: Path) -> Lock:
    """Read the lock from a file, or from a git revision."""
    import subprocess

    from persist._layouts.lockfile import parse_lock, read_lock
    from persist.errors import PersistError

    if Path(text).is_file():
        return read_lock(Path(text))
    call = ["git", "-C", str(path.parent), "show", f"{text}:./{path.name}"]
    ended = subprocess.run(call, capture_output=True, text=True, encoding="utf-8", check=False)
    if ended.returncode:
        raise PersistError(
            f"--against {text}: there is no such file, and git has no lock file under this revision "
            f"({ended.stderr.strip()}).",
            remedy="Name a lock file, or a revision that has one.",
        )
    return parse_lock(ended.stdout, f"{path.name} of {text}")

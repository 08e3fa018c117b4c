"""Keep old files with their expected content, so that a change of how they load is detected.

persist golden add FILE...     copy files into the folder, and record what they load to
persist golden make [SCHEMA]   write a file of the current version, from the declared fields
persist golden update [FILE]   record what the files load to now, and show the difference
persist golden foundry RECIPE  make an old release of your package write files
persist golden list            list the golden files
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persist._cli import _project
from persist._cli._project import reporting

if TYPE_CHECKING:
    from persist.history.project import Project

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("what", choices=["add", "make", "update", "foundry", "list"])
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="files, schemas, or a recipe of [tool.persist.foundry]",
    )
    parser.add_argument(
        "--name", default="", help="name of the golden file (default: that of the file)"
    )
    parser.add_argument("--note", default="", help="where the file comes from")
    parser.add_argument("--force", action="store_true", help="replace a golden file of that name")
    _project.add(parser)


@reporting
def run(args: argparse.Namespace) -> int:
    """Run the action; 1 if it failed."""
    project = _project.project_of(args)
    project.load()
    return int(_WHAT[args.what](project, args))


def _add(project: Project, args: argparse.Namespace) -> int:
    from persist._cli._out import show
    from persist.history import golden

    if not args.names:
        return _fail("name the files: persist golden add FILE...")
    for name in args.names:
        made = golden.add(project, Path(name), name=args.name, note=args.note, force=args.force)
        show(_line(project, made))
    return 0


def _make(project: Project, args: argparse.Namespace) -> int:
    from persist._cli._out import show
    from persist.errors import PersistError
    from persist.history import samples

    known = {schema.name: schema for schema in project.schemas()}
    missing = [name for name in args.names if name not in known]
    if missing:
        return _fail(f"there is no schema {', '.join(missing)}; there are: {', '.join(known)}")
    status = 0
    for name in args.names or known:
        try:
            show(_line(project, samples.make_current(project, known[name], args.name)))
        except PersistError as error:
            if args.names:
                raise
            status = _fail(str(error))
    return status


def _update(project: Project, args: argparse.Namespace) -> int:
    from persist._cli._out import show
    from persist.history import golden

    wanted = {Path(name).absolute() for name in args.names}
    done = 0
    for one in golden.golden_files(project):
        if wanted and not {one.path.absolute(), one.record.absolute()} & wanted:
            continue
        lines, done = golden.update(project, one), done + 1
        show(f"{project.shown(one.path)}: {'unchanged' if not lines else 'recorded again'}")
        for line in lines:
            show(f"    {line}")
    if wanted and not done:
        return _fail(f"there are no such golden files in {project.shown(project.golden_path)}")
    return 0


def _foundry(project: Project, args: argparse.Namespace) -> int:
    from persist._cli._out import show
    from persist.history import foundry

    if not args.names:
        listed = ", ".join(project.recipes) or "none"
        return _fail(
            f"name a recipe of [tool.persist.foundry] in pyproject.toml; there are: {listed}"
        )
    for name in args.names:
        for made in foundry.run(project, name, force=args.force):
            show(_line(project, made))
    return 0


def _list(project: Project, args: argparse.Namespace) -> int:
    from persist._cli._out import show
    from persist.history import golden

    for one in golden.golden_files(project):
        show(_line(project, one))
    return 0


def _line(project: Project, one: Any) -> str:
    said = ", ".join(f"{name} {version}" for name, version in sorted(one.schemas.items()))
    note = f"; {one.note}" if one.note else ""
    return f"{project.shown(one.path)}: {said or 'plain values'}{note}"


def _fail(text: str) -> int:
    import sys

    print(f"persist golden: {text}", file=sys.stderr)
    return 1


_WHAT = {"add": _add, "make": _make, "update": _update, "foundry": _foundry, "list": _list}

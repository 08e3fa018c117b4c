"""Report what loading would do to each record of a file, and why, without loading it.

For every record: how its version is known, which aliases lead to today's class,
which steps are taken, and what stays opaque. A folder of files is walked through.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist._upgrade.plan import Plan

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge, _reading

    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    _reading.add(parser, loads=True)
    _knowledge.add(parser)


def run(args: argparse.Namespace) -> int:
    """Explain every file; 1 if any could not be read, or upgraded."""
    import sys

    import persist
    from persist._cli import _knowledge, _reading
    from persist._cli._each import each
    from persist._cli._out import show
    from persist.errors import PersistError, SchemaError

    try:
        registry = _knowledge.registry_of(args)
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return 2

    def one(name: str) -> None:
        plan = persist.explain(name, registry=registry, **_reading.opening(args))
        if args.json:
            import json

            print(json.dumps(_as_json(plan), indent=1))
        else:
            show(str(plan))
        for problem in plan.problems:
            raise problem
        strangers = _reading.untrusted(plan.opaque, args) if args.strict else []
        if strangers:
            raise SchemaError(
                f"not declared: {', '.join(strangers)}.",
                file=plan.file,
                remedy="Declare them in a module that --import names, or pass --trust NAME.",
            )

    return each(args.files, one, one)


def _as_json(plan: Plan) -> dict[str, object]:
    return {
        "file": plan.file,
        "opaque": plan.opaque,
        "records": [
            {
                "path": entry.path,
                "class": entry.qualname,
                "today": entry.today,
                "schema": entry.schema,
                "version": entry.found,
                "how": entry.how,
                "to": entry.to,
                "steps": entry.steps,
                "aliases": [str(alias) for alias in entry.aliases],
                "opaque": entry.is_opaque,
                "unrehearsed": list(entry.unrehearsed),
                "problem": None if entry.problem is None else str(entry.problem),
            }
            for entry in plan.entries
        ],
    }

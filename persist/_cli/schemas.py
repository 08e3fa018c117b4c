"""List the schemas of the project: version, fields, steps; or their history as a changelog.

Those of its modules, and of the modules that --import names, in the default registry
(`persist.registry.default`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from persist._cli import _project
from persist._cli._project import reporting

if TYPE_CHECKING:
    from persist.history.project import Project
    from persist.registry import Registry
    from persist.schema import Schema

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", metavar="SCHEMA", nargs="*", help="default: all")
    parser.add_argument(
        "--changelog",
        action="store_true",
        help="Markdown: versions, releases, dates, fields and steps",
    )
    parser.add_argument(
        "--places",
        action="store_true",
        help="and where each class, step, stamp and alias is declared",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    _project.add(parser)


@reporting
def run(args: argparse.Namespace) -> int:
    """List them; 1 if a name is not a schema."""
    import json
    import sys

    from persist._cli._out import show
    from persist.history import drawing
    from persist.history.locking import layout_of_schema

    project = _project.project_of(args)
    registry, schemas = project.load(), project.schemas()
    missing = sorted({*args.names} - {schema.name for schema in schemas})
    if missing:
        print(f"persist schemas: there is no schema {', '.join(missing)}", file=sys.stderr)
        return 1
    schemas = [schema for schema in schemas if not args.names or schema.name in args.names]
    if args.changelog:
        print(drawing.changelog(schemas, registry, project.lock()), end="")
        return 0
    rows = [_row(schema, project) for schema in schemas]
    for schema, row in zip(schemas, rows, strict=True):
        if args.json:
            continue
        listed = f"; steps {', '.join(row['steps'])}" if row["steps"] else ""
        layout = layout_of_schema(schema, registry)
        show(f"{schema.name} {schema.version} ({row['fingerprint']}): {layout}{listed}")
        if args.places:
            show("\n".join(f"    {line}" for line in _places(row)))
    if args.json:
        print(json.dumps({"schemas": rows}, indent=1, ensure_ascii=False))
    return 0


def _row(schema: Schema, project: Project) -> dict[str, Any]:
    """What is declared of a schema, as plain values."""
    from persist.history.locking import layout_of_schema

    registry = project.load()
    layout = layout_of_schema(schema, registry)
    steps = sorted(registry.migrations(schema.name).items())
    oldest = registry.oldest_supported(schema.name)
    aliases = [
        {
            "old": f"{old}*" if old.endswith(".") else old,
            "where": f"{project.shown(place.file)}:{place.line}",
        }
        for old, places in sorted(registry._alias_places.items())
        for target, place in places
        if _leads_to(registry, old, target, schema)
    ]
    return {
        "schema": schema.name, "version": schema.version, "class": schema.qualname,
        "where": _where(schema, project), "fingerprint": layout.fingerprint, "fields": list(layout.names),
        "steps": [f"{a} → {b}" for (a, b), _ in steps],
        "step_places": {f"{a} → {b}": _shown(step.where, project) for (a, b), step in steps},
        "stamps": [_shown(f"{s.origin.file}:{s.origin.line}", project) for s in registry.stamps(schema.name)],
        "releases": {str(number): said for number, said in registry.releases(schema.name).items()},
        "oldest": 1 if oldest is None else oldest.since, "aliases": aliases,
    }  # fmt: skip


def _leads_to(registry: Registry, old: str, target: str, schema: Schema) -> bool:
    from persist.errors import SchemaError

    if old.endswith("."):  # a prefix: of the packages whose names begin with its target
        return f"{schema.qualname}.".startswith(target)
    try:
        return registry.resolve(old) == schema.qualname
    except SchemaError:  # a circle, which `persist check` reports
        return False


def _where(schema: Schema, project: Project) -> str:
    """The file and line of a class; "" if its source is not there."""
    import inspect

    try:
        file = inspect.getsourcefile(schema.cls) if schema.cls is not None else None
        line = inspect.getsourcelines(schema.cls)[1] if file and schema.cls is not None else 0
    except (OSError, TypeError):
        return ""
    return f"{project.shown(file)}:{line}" if file else ""


def _shown(place: str, project: Project) -> str:
    file, _, line = place.rpartition(":")
    return f"{project.shown(file)}:{line}"


def _places(row: dict[str, Any]) -> Iterator[str]:
    yield f"class {row['class']}" + (f" ({row['where']})" if row["where"] else "")
    for step, where in row["step_places"].items():
        yield f"step {step} ({where})"
    yield from (f"stamp ({where})" for where in row["stamps"])
    yield from (f"alias {alias['old']} ({alias['where']})" for alias in row["aliases"])
    yield from (f"version {number}: releases {said}" for number, said in row["releases"].items())
    if row["oldest"] > 1:
        yield f"oldest version that is read: {row['oldest']}"

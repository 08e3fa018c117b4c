"""List the schemas of the project: version, fields, steps; or their history as a changelog."""

from __future__ import annotations

import argparse

from persist._cli import _project
from persist._cli._project import reporting

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", metavar="SCHEMA", nargs="*", help="default: all")
    parser.add_argument(
        "--changelog",
        action="store_true",
        help="Markdown: versions, releases, dates, fields and steps",
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
    rows = []
    for schema in schemas:
        layout = layout_of_schema(schema, registry)
        steps = [f"{a} → {b}" for a, b in sorted(registry.migrations(schema.name))]
        rows.append({"schema": schema.name, "version": schema.version, "class": schema.qualname,
                     "fingerprint": layout.fingerprint, "fields": list(layout.names), "steps": steps})  # fmt: skip
        if not args.json:
            listed = f"; steps {', '.join(steps)}" if steps else ""
            show(f"{schema.name} {schema.version} ({layout.fingerprint}): {layout}{listed}")
    if args.json:
        print(json.dumps({"schemas": rows}, indent=1, ensure_ascii=False))
    return 0

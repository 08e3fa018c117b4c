"""Draw the versions and steps of schemas, or the migrations of a file, as Mermaid text."""

from __future__ import annotations

import argparse
from pathlib import Path

from persist._cli import _project
from persist._cli._project import reporting

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "what",
        metavar="SCHEMA|FILE",
        nargs="?",
        help="a schema or a file (default: all schemas of the project)",
    )
    parser.add_argument(
        "--svg", metavar="OUT", type=Path, help="write an SVG file too; needs Graphviz"
    )
    _project.add(parser)


@reporting
def run(args: argparse.Namespace) -> int:
    """Draw it; 1 if there is no such schema or file."""
    import sys

    from persist.history import drawing

    project = _project.project_of(args)
    if project.modules:
        project.load()
    if args.what is not None and Path(args.what).exists():
        import persist

        print(drawing.mermaid_of_plan(persist.explain(args.what)))
        return 0
    registry = project.load()
    schemas = project.schemas()
    if args.what is not None:
        schemas = [schema for schema in schemas if args.what in (schema.name, schema.qualname)]
        if not schemas:
            print(f"persist graph: there is no schema and no file {args.what!r}", file=sys.stderr)
            return 1
    print(drawing.mermaid_of_schemas(schemas, registry))
    if args.svg is not None:
        args.svg.write_text(
            drawing.svg(drawing.dot_of_schemas(schemas, registry)), encoding="utf-8"
        )
    return 0

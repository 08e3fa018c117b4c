"""Show how a file came about: its writer, the files that it was made from, and the steps that ran.

For a file that persist wrote: when, and by which releases of persist and of the packages whose
classes are in it. If it was upgraded or converted: from which file (size, SHA-256, format, writer),
the classes and versions in that one, and the steps, each with a hash of its source.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["add", "in_one_line", "origins", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _reading

    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    _reading.add(parser)


def run(args: argparse.Namespace) -> int:
    """Show every file; 1 if any could not be read."""
    import persist
    from persist._cli import _reading
    from persist._cli._each import each
    from persist._cli._out import show

    options = _reading.opening(args)

    def one(name: str) -> None:
        with persist.open(name, **options) as file:
            if args.json:
                import json

                print(json.dumps(_as_json(file), indent=1, allow_nan=False))
            else:
                show("\n".join(_lines(file)))

    return each(args.files, one, one)


def origins(file: File) -> list[dict[str, Any]]:
    """Return the entries of a container's history that name the file it was made from, the last one first."""
    return [one for one in reversed(file.history) if "name" in one or "records" in one]


def in_one_line(file: File) -> str:
    """Return how a file came about in a line; "" if no history is recorded."""
    if not file.history:
        return ""
    from persist._api import history_text as text

    last = file.history[-1]
    found = origins(file)
    if not found:
        return f"{text.action(last)}{text.dated(last)}{text.by(last)}"
    more = f", which was made from {len(found) - 1:,} more" if len(found) > 1 else ""
    later = "" if found[0] is last else f"{text.action(last)}{text.dated(last)}; "
    return (
        f"{later}{text.action(found[0])}{text.dated(found[0])} from {text.source(found[0])}{more}"
    )


def _as_json(file: File) -> dict[str, object]:
    from persist.bulk._origin import metadata_of

    return {
        "file": file.name, "format": file.format, "writer": dict(file.writer), "evidence": file.evidence,
        "schemas": _schemas(file), "history": file.history, "origins": origins(file),
        "metadata": metadata_of(file),
    }  # fmt: skip


def _schemas(file: File) -> list[dict[str, object]]:
    said = file.structure.get("schemas") if file.format == "persist" else None
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _lines(file: File) -> Iterator[str]:
    from persist._api.history_text import entry_lines
    from persist._trees.show import printable

    writer = ", ".join(f"{key} {value}" for key, value in file.writer.items())
    yield printable(file.name)
    yield f"    {file.format}{f', written by {printable(writer)}' if writer else ''}"
    yield from (f"    written by {printable(text)}" for text in file.evidence)
    for one in _schemas(file):
        package = f", of {one['package']} {one.get('release')}" if one.get("package") else ""
        yield f"    holds {printable(str(one.get('name')))} {one.get('version')}{printable(package)}"
    for entry in reversed(file.history):
        title, *inside = entry_lines(entry)
        yield f"    {title}"
        yield from (f"        {line}" for line in inside)
    metadata = _as_json(file)["metadata"]
    if metadata is not None:
        import json

        yield f"    metadata: {printable(json.dumps(metadata, ensure_ascii=False))}"

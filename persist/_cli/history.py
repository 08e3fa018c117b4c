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
    last = file.history[-1]
    found = origins(file)
    if not found:
        return f"{_action(last)}{_dated(last)}{_by(last)}"
    more = f", which was made from {len(found) - 1:,} more" if len(found) > 1 else ""
    later = "" if found[0] is last else f"{_action(last)}{_dated(last)}; "
    return f"{later}{_action(found[0])}{_dated(found[0])} from {_source(found[0])}{more}"


def _as_json(file: File) -> dict[str, Any]:
    from persist.bulk._origin import metadata_of

    return {
        "file": file.name, "format": file.format, "writer": dict(file.writer), "evidence": file.evidence,
        "schemas": _schemas(file), "history": file.history, "origins": origins(file),
        "metadata": metadata_of(file),
    }  # fmt: skip


def _schemas(file: File) -> list[dict[str, Any]]:
    said = file.structure.get("schemas") if file.format == "persist" else None
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _lines(file: File) -> Iterator[str]:
    from persist._trees.show import printable

    writer = ", ".join(f"{key} {value}" for key, value in file.writer.items())
    yield printable(file.name)
    yield f"    {file.format}{f', written by {printable(writer)}' if writer else ''}"
    yield from (f"    written by {printable(text)}" for text in file.evidence)
    for one in _schemas(file):
        package = f", of {one['package']} {one.get('release')}" if one.get("package") else ""
        yield f"    holds {printable(str(one.get('name')))} {one.get('version')}{printable(package)}"
    for entry in reversed(file.history):
        source = f" from {_source(entry)}" if "name" in entry else ""
        yield f"    {_action(entry)}{_dated(entry)}{source}{_by(entry)}"
        yield from (f"        {line}" for line in _inside(entry))
    metadata = _as_json(file)["metadata"]
    if metadata is not None:
        import json

        yield f"    metadata: {printable(json.dumps(metadata, ensure_ascii=False))}"


def _action(entry: dict[str, Any]) -> str:
    from persist._trees.show import printable

    return printable(str(entry.get("action") or "written"))


def _by(entry: dict[str, Any]) -> str:
    from persist._trees.show import printable

    said = entry.get("by")
    if not isinstance(said, dict) or not said:
        return ""
    return printable(" by " + ", ".join(f"{name} {release}" for name, release in said.items()))


def _dated(origin: dict[str, Any]) -> str:
    return f" {origin['date']}" if isinstance(origin.get("date"), str) else ""


def _source(origin: dict[str, Any]) -> str:
    from persist._trees.show import printable

    writer = origin.get("writer")
    said = (
        ", ".join(f"{key} {value}" for key, value in writer.items())
        if isinstance(writer, dict)
        else ""
    )
    made = ", ".join(part for part in (str(origin.get("format") or ""), said) if part)
    return printable(f"{origin.get('name')} ({made})")


def _inside(origin: dict[str, Any]) -> Iterator[str]:
    from persist._trees.show import printable

    if "sha256" in origin:
        size = origin.get("size")
        said = f"{size:,} bytes, " if type(size) is int else ""
        yield printable(f"{said}SHA-256 {origin['sha256']}")
    for one in _rows(origin, "records", 4):
        name, schema, version, count = one
        said = f"{name} (schema {schema})" if schema != name else str(name)
        yield printable(f"{count} record{'s' * (count != 1)} of {said}, version {version}")
    for schema, start, to, digest in _rows(origin, "steps", 4):
        what = "stamp" if start is None else f"step {start} → {to}"
        yield printable(f"{what} of {schema}, source {digest}")
    opaque = origin.get("opaque")
    for name in opaque if isinstance(opaque, list) else ():
        yield printable(f"{name} was not declared, and stayed a record")


def _rows(origin: dict[str, Any], key: str, width: int) -> Iterator[list[Any]]:
    """The rows of a table in an origin; what is no such row is left out, since metadata can be anything."""
    said = origin.get(key)
    for one in said if isinstance(said, list) else ():
        if isinstance(one, list) and len(one) == width:
            yield one

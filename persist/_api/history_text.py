"""An entry of a file's history as lines of text, for the command and for pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from persist._trees.leaves import printable

__all__ = ["action", "by", "dated", "entry_lines", "source"]


def entry_lines(entry: dict[str, object]) -> list[str]:
    """Return a line that says what was done, when, from which file and by what; then its details.

    Args:
        entry: one of `File.history`, which is data of a file: what has not the expected form is left out.
    """
    origin = f" from {source(entry)}" if "name" in entry else ""
    return [f"{action(entry)}{dated(entry)}{origin}{by(entry)}", *_inside(entry)]


def action(entry: dict[str, object]) -> str:
    """What was done."""
    return printable(str(entry.get("action") or "written"))


def by(entry: dict[str, object]) -> str:
    """The releases that did it, after ``by``; nothing if none are named."""
    said = entry.get("by")
    if not isinstance(said, dict) or not said:
        return ""
    return printable(" by " + ", ".join(f"{name} {release}" for name, release in said.items()))


def dated(origin: dict[str, object]) -> str:
    """The date, after a space; nothing if there is none."""
    return f" {origin['date']}" if isinstance(origin.get("date"), str) else ""


def source(origin: dict[str, Any]) -> str:
    """The file that it was made from, with its format and writer."""
    writer = origin.get("writer")
    said = (
        ", ".join(f"{key} {value}" for key, value in writer.items())
        if isinstance(writer, dict)
        else ""
    )
    made = ", ".join(part for part in (str(origin.get("format") or ""), said) if part)
    return printable(f"{origin.get('name')} ({made})")


def _inside(origin: dict[str, object]) -> Iterator[str]:
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


def _rows(origin: dict[str, object], key: str, width: int) -> Iterator[list[object]]:
    """The rows of a table in an origin; what is no such row is left out, since metadata can be anything."""
    said = origin.get(key)
    for one in said if isinstance(said, list) else ():
        if isinstance(one, list) and len(one) == width:
            yield one

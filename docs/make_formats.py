"""Write docs/formats.md from what the readers say of themselves: ``python docs/make_formats.py``."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path

from persist._api.detect import readers
from persist.readers.base import Reader

HEADINGS = ("Written by", "Evidence", "Traps", "Gives")
TARGET = Path(__file__).with_name("formats.md")


def page() -> str:
    """Return the whole page."""
    modules: dict[str, list[Reader]] = {}
    for reader in readers():
        if type(reader).__module__.startswith("persist.readers."):
            modules.setdefault(type(reader).__module__, []).append(reader)
    parts = [
        "# The formats\n\n"
        "*Made from the readers' own words by `python docs/make_formats.py`; a test says when it is old.*\n\n"
        "A file is recognised by its content, never by its suffix. Layers of gzip, bz2, xz, zlib, lz4 and zstd, and a ZIP of\n"
        "one file, are taken off first. `file.format` is the name in the first column.\n"
    ]
    parts.append(table(modules))
    parts += [section(module, found) for module, found in modules.items()]
    return "\n".join(parts)


def table(modules: dict[str, list[Reader]]) -> str:
    rows = ["| format | suffixes that people give it | written too |", "|---|---|---|"]
    for found in modules.values():
        for reader in found:
            suffixes = ", ".join(f"`{suffix}`" for suffix in reader.suffixes)
            rows.append(f"| {reader.name} | {suffixes} | {'yes' if reader.writes else ''} |")
    return "\n".join(rows) + "\n"


def section(module: str, found: list[Reader]) -> str:
    doc = inspect.cleandoc(importlib.import_module(module).__doc__ or "")
    title, _, rest = doc.partition("\n")
    names = ", ".join(reader.name for reader in found)
    pieces = re.split(rf"^({'|'.join(HEADINGS)})\b", rest, flags=re.MULTILINE)
    lines = [f"## {names}\n", as_markdown(title) + "\n"]
    before = pieces[0].strip()
    if before:
        lines.append(as_markdown(before) + "\n")
    for heading, text in zip(pieces[1::2], pieces[2::2], strict=True):
        paragraph = " ".join(textwrap.dedent(text).split())
        lines.append(f"- **{heading}.** {as_markdown(paragraph)}")
    return "\n".join(lines) + "\n"


def as_markdown(text: str) -> str:
    """Double backticks, as in the code, are single ones on the page."""
    return text.replace("``", "`")


if __name__ == "__main__":
    TARGET.write_text(page())

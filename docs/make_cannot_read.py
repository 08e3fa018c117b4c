"""Make ``docs/cannot_read.md`` from the table of diagnoses: ``python docs/make_cannot_read.py``."""

from __future__ import annotations

from pathlib import Path

from persist._api.diagnosis import _KINDS

HEAD = """# What we cannot read, and who can

Files that are no experiment files, or whose format has no reader here yet. `persist inspect` recognises them by their first bytes and says
what they are; this table is made from the one that it uses (`docs/make_cannot_read.py`).

| a file that is | what to do |
|---|---|
"""
TAIL = """
In addition, some are recognised by their structure: ONNX, PaddlePaddle, Darknet, CNTK, folders of Orbax and Zarr, pointers of git-lfs, HTML pages
and text that was saved in the place of a file. What it is and who reads it is in the message.

A file that contains one of the [formats](formats.md) in a compressed or archived form is unpacked in memory and read.
"""


def page() -> str:
    """Return the page."""
    rows = dict.fromkeys((what, cure) for _, _, what, cure in _KINDS)
    lines = [
        f"| {what.replace('|', chr(92) + '|')} | {cure or 'It holds no experiment data.'} |"
        for what, cure in sorted(rows, key=lambda row: row[0].partition(" ")[2].lower())
    ]
    return f"{HEAD}{chr(10).join(lines)}\n{TAIL}"


if __name__ == "__main__":
    (Path(__file__).parent / "cannot_read.md").write_text(page(), encoding="utf-8")

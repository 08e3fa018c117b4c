"""Tests and their workers import the same lab."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bulk_lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nine old files, a damaged one, one of an unknown class, and notes."""
    monkeypatch.chdir(tmp_path)
    bulk_lab.write_many(tmp_path / "in", 9)
    whole = (tmp_path / "in" / "0" / "run000.pkl").read_bytes()
    (tmp_path / "in" / "cut.pkl").write_bytes(whole[:-20])
    (tmp_path / "in" / "other.pkl").write_bytes(
        b"\x80\x02cnobodys_bulk\nThing\n)\x81}U\x01aK\x01sb."
    )
    (tmp_path / "in" / "notes.txt").write_text("notes\n")
    return tmp_path

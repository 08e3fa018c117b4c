"""Attack files for every reader: nothing is run, and time and memory stay bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from of_readers import CHANGES, Row, measured, seeds, written

from persist._api.detect import readers

MEMORY = 264 << 20  # the limit of 256 MiB, and what Python itself takes
SECONDS = 10  # of CPU; two are usual on a machine that is not busy, see docs/security.md


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return measured(tmp_path_factory.mktemp("attacks"))


def test_every_reader_has_attack_files(tmp_path: Path) -> None:
    """A new reader needs a genuine file in the corpus, of which the attacks are made."""
    names = {
        reader.name for reader in readers() if reader.__class__.__module__.startswith("persist.")
    }
    assert names <= {*seeds()}, "these readers have no case in tests/corpus"
    used: set[str] = set()
    for name in sorted(names):
        attacks = [attack for attack, _ in written(name, tmp_path / name)]
        assert len(attacks) >= 7, f"{name} has only {attacks}"
        used |= {*attacks}
    assert used == {*CHANGES}


def test_time_and_memory_of_every_reader_are_bounded(rows: list[Row]) -> None:
    assert sum(row.attacks for row in rows) > 380
    for row in rows:
        assert row.excess[0] < MEMORY, row
        assert row.seconds[0] < SECONDS, row

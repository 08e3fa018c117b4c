"""Attack files for every reader: nothing is run, and time and memory stay bounded."""

from __future__ import annotations

import pytest
from counting import note
from of_readers import CHANGES, Row, measured, seeds

from persist._api.detect import readers

MEMORY = 264 << 20  # the limit of 256 MiB, and what Python itself takes
SECONDS = 10  # of CPU; two are usual on a machine that is not busy, see docs/security.md


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return measured(tmp_path_factory.mktemp("attacks"))


def test_every_reader_has_attack_files() -> None:
    """A new reader needs a genuine file in the corpus, of which the attacks are made."""
    names = {reader.name for reader in readers() if type(reader).__module__.startswith("persist.")}
    assert names <= {*seeds()}, "these readers have no case in tests/corpus"


@pytest.mark.slow
def test_no_attack_runs_anything_and_time_and_memory_are_bounded(rows: list[Row]) -> None:
    assert {row.reader for row in rows} == {*seeds()}
    assert {name for row in rows for name in row.attacks} == {*CHANGES}
    assert sum(len(row.attacks) for row in rows) > 380
    note(
        "attack files opened, listed, printed, explained and loaded",
        sum(len(row.attacks) for row in rows),
    )
    for row in rows:
        assert len(row.attacks) >= 7, row
        assert row.excess[0] < MEMORY, row
        assert row.seconds[0] < SECONDS, row

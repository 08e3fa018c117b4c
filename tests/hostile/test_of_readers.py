"""Attack files for every reader: nothing is run, and time and memory stay bounded."""

from __future__ import annotations

import pytest
from counting import note
from matrix import HOLDS, KINDS, faults
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
    assert names == {*HOLDS}, "tests/hostile/matrix.py states what the files of each reader hold"


def test_every_attack_is_of_a_class() -> None:
    """The table of docs/security.md has them all."""
    assert {*CHANGES} <= {name for kind in KINDS for name in kind.attacks}


@pytest.mark.slow
def test_no_attack_runs_anything_and_time_and_memory_are_bounded(rows: list[Row]) -> None:
    assert {row.reader for row in rows} == {*seeds()}
    assert {name for row in rows for name in row.attacks} == {*CHANGES}
    assert sum(len(row.attacks) for row in rows) > 1200
    assert not faults({row.reader: row.attacks for row in rows})
    note(
        "attack files opened, listed, printed, explained and loaded",
        sum(len(row.attacks) for row in rows),
    )
    for row in rows:
        assert len(row.attacks) >= 7, row
        assert row.excess[0] < MEMORY, row
        assert row.seconds[0] < SECONDS, row

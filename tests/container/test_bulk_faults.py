"""A run over many files whose calls of the system fail: each file is old or new, and the run can be undone."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from counting import note
from faulty import Faults
from operations import SCHEMA, registry

import persist
from persist import bulk
from persist.bulk._undo import undo_run

FILES = 2


def prepared(folder: Path) -> dict[str, bytes]:
    """Containers of version 1; return their bytes by name."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "runs").mkdir(parents=True)
    for number in range(FILES):
        record = persist.Record(SCHEMA, {"W": np.arange(500.0) + number, "n": number}, version=1)
        persist.save(record, folder / "runs" / f"{number}.persist", durable=False)
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}


def upgraded(folder: Path, *, keep: bool) -> bool:
    """Upgrade all in place; whether all went well."""
    with bulk.plan(
        folder / "runs", "upgrade", in_place=True, keep=keep, registry=registry(2), ledger=folder / "L"
    ) as plan:  # fmt: skip
        events = list(bulk.run(plan))  # to its end
    return all(event.verdict == "well" for event in events)


def versions(folder: Path, before: dict[str, bytes]) -> set[int]:
    """Of the files, each of which is what it was to the last byte, or is whole and new."""
    found = set()
    for name, data in before.items():
        path = folder / "runs" / name
        with persist.open(path, verify="always") as file:
            assert not file.damage
            version = file.tree.version
            found.add(version)
            assert version == 2 or path.read_bytes() == data
            field = {1: "W", 2: "weights"}[version]
            np.testing.assert_array_equal(file.tree[field], np.arange(500.0) + int(path.stem))
    return found


def undone(folder: Path) -> None:
    """Undo all runs, the last one first."""
    with bulk.Ledger(folder / "L") as ledger:
        for run in reversed(ledger.runs()):
            if not run["undone"]:
                assert {one.status for one in undo_run(ledger, run["id"])} <= {"restored", "gone"}


@pytest.mark.slow
@pytest.mark.parametrize("is_lasting", [False, True], ids=["one call", "all from one on"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_run_in_place_whose_calls_fail(
    keep: bool, is_lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lab"
    faults = Faults(monkeypatch)
    before = prepared(folder)
    faults.start(0)
    assert upgraded(folder, keep=keep)
    points = faults.count
    assert versions(folder, before) == {2}
    if keep:
        undone(folder)
        assert versions(folder, before) == {1}
    failures = 0
    for at in range(1, points + 1, 4 if is_lasting else 1):
        faults.start(0)
        before = prepared(folder)
        faults.start(at, is_lasting=is_lasting)
        try:
            is_well = upgraded(folder, keep=keep)
        except (OSError, persist.PersistError):
            is_well = False
        faults.start(0)
        failures += not is_well
        assert versions(folder, before) == {2} or not is_well, at
        assert upgraded(folder, keep=keep), at  # and again, without a fault
        assert versions(folder, before) == {2}, at
        assert not [*folder.rglob("*.tmp")], at
        if keep:
            undone(folder)
            found = {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}
            assert found == before, at
    assert failures >= 4
    note("calls of the system that failed in a run over many files, which was undone", points)


def test_undoing_a_run_whose_calls_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be undone is reported, and is undone by the next attempt."""
    folder = tmp_path / "lab"
    faults = Faults(monkeypatch)
    for at in range(1, 40, 3):
        faults.start(0)
        before = prepared(folder)
        assert upgraded(folder, keep=True)
        faults.start(at)
        with contextlib.suppress(OSError, persist.PersistError):
            undone_in_part(folder)
        faults.start(0)
        versions(folder, before)
        undone(folder)
        assert versions(folder, before) == {1}


def undone_in_part(folder: Path) -> None:
    with bulk.Ledger(folder / "L") as ledger:
        for one in undo_run(ledger, ledger.runs()[-1]["id"]):
            assert one.status in ("restored", "left", "gone")

"""Checkpoints of several processes: a step appears when each has saved its part, or not at all."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import DamageWarning, PersistError

sys.path.insert(0, str(Path(__file__).parent))

import rank_worker

Answers = dict[int, Any]


def run(
    folder: object, ranks: int, steps: list[int], name: str = "first", **options: Any
) -> Answers:
    """Start as many processes, and return what each found; a killed one is missing."""
    killed: dict[int, int] = options.pop("killed", {})
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    ready = context.Barrier(ranks)
    processes = [
        context.Process(
            target=rank_worker.work,
            args=(rank, ranks, str(folder), name, steps, options, killed.get(rank), answers, ready),
        )
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=60) for _ in range(ranks - len(killed)))
    for process in processes:
        process.join(60)
    return found


def of_rank(folder: object, rank: int, ranks: int = 2, run: str = "r", **options: Any) -> Any:
    return persist.Checkpoints(str(folder), rank=rank, ranks=ranks, run=run, **options)


def save(folder: object, step: int, ranks: int = 2, run: str = "r", **options: Any) -> None:
    """Save a step of several ranks, whose processes are threads here."""
    errors: list[BaseException] = []

    def one(rank: int) -> None:
        try:
            with of_rank(folder, rank, ranks, run, **options) as runs:
                runs.save(step, rank_worker.state(rank, step, run), metrics={"loss": float(step)})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True])
def test_processes_save_steps_together(tmp_path: Path, asynchronous: bool) -> None:
    policy = {"keep_last": 2, "keep_best": ("loss", "min"), "every": 4}
    found = run(tmp_path, 3, [1, 2, 3, 4, 5, 6, 7], asynchronous=asynchronous, **policy)
    assert set(found) == {0, 1, 2}
    assert set(found[0]) == {2, 4, 6, 7}, "the best, each fourth, the last two"
    for rank, steps in found.items():
        # Another rank may look before rank 0 has removed what need not be kept.
        assert {2, 4, 6, 7} <= set(steps), found
        assert set(steps.values()) == {(rank, "first")}
    assert len(files(tmp_path)) == 4 * (3 + 1)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 2])
def test_a_killed_rank_leaves_no_half_step(tmp_path: Path, killed: int) -> None:
    found = run(tmp_path, 3, [1, 2, 3], timeout=2, killed={killed: 3})
    assert len(found) == 2
    words = "rank 0 has not completed it" if killed == 0 else f"no part came from rank {killed}"
    assert any(f"step 3 was not saved: {words}" in str(text) for text in found.values()), found
    assert persist.Checkpoints(tmp_path).steps() == [1, 2]
    again = run(tmp_path, 3, [3, 4], name="second", keep_last=None)
    for rank, steps in again.items():
        assert steps[1] == (rank, "first")
        assert steps[3] == steps[4] == (rank, "second"), "no part of the killed start"
    assert len(files(tmp_path)) == 4 * (3 + 1)


def test_the_same_step_again_replaces_it_whole(tmp_path: Path) -> None:
    for name in ("a", "b", "b"):
        save(tmp_path, 5, run=name)
        assert [of_rank(tmp_path, rank).restore(5)["run"] for rank in (0, 1)] == [name, name]
        assert len(files(tmp_path)) == 3


def test_a_part_of_a_killed_start_is_never_taken(tmp_path: Path) -> None:
    """Rank 1 of an earlier start has saved its part, and rank 0 was killed before."""
    old = of_rank(tmp_path, 1, run="old", timeout=0.3)

    def late() -> None:
        with pytest.raises(PersistError, match="rank 0 has not completed it"):
            old.save(1, {"old": 1})

    thread = threading.Thread(target=late)
    thread.start()
    new = of_rank(tmp_path, 0, run="new", timeout=0.2)
    with pytest.raises(PersistError, match="no part came from rank 1 within 0.2 seconds"):
        new.save(1, {"new": 1})
    thread.join()
    assert new.steps() == []
    assert files(tmp_path) == [], "what was waiting has removed its part"
    new.close()
    old.close()
    left = "step-0000000001.rank-00001-of-00002.0123456789ab.0123456789ab.persist"
    persist.save({"old": 1}, tmp_path / left)  # as a kill leaves it
    save(tmp_path, 1, run="new")
    assert of_rank(tmp_path, 1).restore()["run"] == "new"
    assert left not in files(tmp_path)


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(PersistError, match="by 2 processes, and this run has 4") as error:
        of_rank(tmp_path, 3, ranks=4).restore()
    assert "Start 2 processes" in error.value.remedy
    with pytest.raises(PersistError, match="by 2 processes, and this run has 1") as error:
        persist.Checkpoints(tmp_path).restore(1)
    with pytest.raises(PersistError, match="by 2 processes"):
        persist.Checkpoints(tmp_path).restore(1, into={"w": np.zeros(1000)})
    listing = re.search(r"(\S+\.persist) lists them", error.value.remedy)
    assert listing is not None
    part = persist.load(listing[1])["parts"][1]
    assert persist.load(tmp_path / part)["rank"] == 1
    with persist.Checkpoints(tmp_path) as alone:
        alone.save(2, {"alone": 1})
        assert alone.steps() == [1, 2]
    with pytest.raises(PersistError, match="by one process, and this run has 2") as error:
        of_rank(tmp_path, 0).restore()
    assert f"Checkpoints({str(tmp_path)!r}).restore(2)" in error.value.remedy


def test_a_run_of_one_process_removes_whole_steps_of_several(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with persist.Checkpoints(tmp_path, keep_last=1) as alone:
        alone.save(2, {})
    assert files(tmp_path) == ["step-0000000002.persist"]


def test_a_rank_that_exists_twice_is_refused(tmp_path: Path) -> None:
    with of_rank(tmp_path, 1, timeout=0.1) as first:
        with pytest.raises(PersistError, match="rank 0 has not completed it"):
            first.save(1, {})
        with pytest.raises(PersistError, match="another writer"):
            of_rank(tmp_path, 1, timeout=0.1).save(1, {})
    with persist.Checkpoints(tmp_path) as alone:
        alone.save(1, {})
        with pytest.raises(PersistError, match="another writer"):
            of_rank(tmp_path, 0, timeout=0.1).save(2, {})


def test_a_missing_part_is_damage(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    gone = next(name for name in files(tmp_path) if "02.rank-00001" in name)
    (tmp_path / gone).unlink()
    runs = of_rank(tmp_path, 0)
    with pytest.warns(DamageWarning, match=f"{gone} is missing. The part of each of 2 processes"):
        assert runs.latest() == 1
    with pytest.raises(PersistError, match="is missing"):
        runs.restore(2)
    save(tmp_path, 3, run="next")
    assert any("02.rank-00000" in name for name in files(tmp_path)), "nothing of it is removed"


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for options in ({"rank": 0}, {"rank": 0, "ranks": 2}, {"run": "a"}, {"ranks": 2, "run": "a"}):
        with pytest.raises(ValueError, match="All three were expected"):
            persist.Checkpoints(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="from 0 to 1"):
        of_rank(tmp_path, 2)
    with pytest.raises(ValueError, match="positive number of seconds"):
        of_rank(tmp_path, 1, timeout=0)


def test_unfinished_files_of_other_ranks_stay(tmp_path: Path) -> None:
    def left(rank: int) -> Path:
        name = f".step-0000000009.rank-{rank:05}-of-00008.{'0' * 12}.{'0' * 12}.persist"
        path = tmp_path / f"{name[:100]}.0123456789ab.tmp"
        path.write_bytes(b"half")
        return path

    first, second, of_more = left(0), left(1), left(7)
    with pytest.raises(PersistError), of_rank(tmp_path, 1, timeout=0.05) as runs:
        runs.save(1, {})
    assert (first.exists(), second.exists(), of_more.exists()) == (True, False, True)
    with pytest.raises(PersistError), of_rank(tmp_path, 0, timeout=0.05) as runs:
        runs.save(1, {})
    assert (first.exists(), of_more.exists()) == (False, False)


@pytest.fixture
def url() -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec")
    name = f"memory://ranks-{os.urandom(4).hex()}/run"
    yield name
    storage, path = fsspec.core.url_to_fs(name)
    if storage.exists(path):
        storage.rm(path, recursive=True)


def test_behind_a_url(url: str) -> None:
    import fsspec

    for step in (1, 2, 3):
        save(url, step, keep_last=2)
    for rank in (0, 1):
        runs = of_rank(url, rank)
        assert runs.steps() == [2, 3]
        assert runs.restore()["rank"] == rank
    with pytest.raises(PersistError, match="by 2 processes, and this run has 1"):
        persist.Checkpoints(url).restore()
    late = of_rank(url, 0, run="late", timeout=0.1)
    with pytest.raises(PersistError, match="no part came from rank 1"):
        late.save(4, {})
    late.close()
    storage, path = fsspec.core.url_to_fs(url)
    assert len(storage.ls(path)) == 6

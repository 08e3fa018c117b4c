"""Workers that die, coordinators that are killed, executors of other libraries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import bulk_fatal
import bulk_lab
import pytest

import persist
from persist import bulk
from persist.bulk._engine import batches, executor_of
from persist.bulk._job import Work
from persist.bulk._undo import undo_run
from persist.errors import PersistError

HERE = str(Path(__file__).parent)
needs_kill = pytest.mark.skipif(os.name == "nt", reason="needs a signal that cannot be caught")


@needs_kill
def test_a_file_that_kills_its_worker_is_found(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.bin").write_bytes(b"x")
    (tmp_path / "17-killer.bin").write_bytes(b"x")
    with bulk.plan(tmp_path, bulk_lab.dies, ledger=tmp_path.with_suffix(".ledger")) as plan:
        events = list(bulk.run(plan, 2))
    assert len(events) == 41
    (dead,) = [event for event in events if event.verdict != "well"]
    assert os.path.basename(dead.file) == "17-killer.bin"
    assert dead.kind == "WorkerDied"
    assert {event.result for event in events} == {None, *(f"{n:02}.bin" for n in range(40))}


@needs_kill
def test_a_file_during_which_a_worker_died_once_is_done(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.bin").write_bytes(b"x")
    (tmp_path / "05-unlucky.bin").write_bytes(b"x")
    pool = ProcessPoolExecutor(2)
    with bulk.plan(tmp_path, bulk_lab.dies_once, exclude="*.seen") as plan:
        events = list(bulk.run(plan, pool))
    assert [event.verdict for event in events] == ["well"] * 21


@needs_kill
@pytest.mark.slow
def test_what_a_worker_wrote_before_it_died_is_undone_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_fatal.write_many(tmp_path / "in", 40)  # in batches of two: 4 is written, 5 is fatal
    monkeypatch.setenv("BULK_FATAL", str(tmp_path / "mark"))
    ledger = tmp_path / "L"
    with bulk.plan(tmp_path / "in", "upgrade", to=tmp_path / "out", ledger=ledger) as plan:
        events = list(bulk.run(plan, 2))
    assert (tmp_path / "mark").exists()
    assert [event.status for event in events] == ["upgraded"] * 40
    with bulk.Ledger(ledger) as held:
        undone = [one.status for one in undo_run(held, plan.run_id)]
    assert undone == ["removed"] * 40
    assert not (tmp_path / "out").exists()


@needs_kill
@pytest.mark.slow
def test_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    """At any moment: nothing is lost, half written, or written twice."""
    paths = bulk_lab.write_many(tmp_path / "in", 150)
    words = [
        "upgrade", "in", "--to", "out", "--import", "bulk_lab", "--ledger", "L", "--jobs", "2", "--quiet",
    ]  # fmt: skip
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([HERE, str(Path(persist.__file__).parents[1])]),
    }
    kills = 0
    for wait in (0.05, 0.3, 0.6, 0.9):
        child = subprocess.Popen(
            [sys.executable, "-m", "persist", *words], cwd=tmp_path, env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 60
        done = len(list(tmp_path.rglob("*.pkl.persist")))
        while time.monotonic() < until and child.poll() is None:
            if len(list(tmp_path.rglob("*.pkl.persist"))) > done + 150 * wait / 4:
                os.killpg(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        child.wait()
    assert kills >= 2
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pkl.persist")}
    done = subprocess.run(
        [sys.executable, "-m", "persist", *words],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path, stamp in stamps.items():
        assert path.stat().st_mtime_ns == stamp, f"{path} was written twice"
    assert len(list(tmp_path.rglob("*.pkl.persist"))) == len(paths)
    with bulk.Ledger(tmp_path / "L", writes=False) as ledger:
        runs = ledger.runs()
        assert len(runs) == 1, "each call went on with the same run"
        counts = Counter(row.status for row in ledger.rows())
        assert counts == {"upgraded": 150}
        assert len(ledger.writes(runs[0]["id"])) == 150


def test_workers_that_cannot_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"x")
    monkeypatch.setenv("BULK_BROKEN", "")
    (tmp_path / "breaks_elsewhere.py").write_text(
        "import os\nif os.getpid() != int(os.environ['BULK_PID']): raise RuntimeError('not here')\n"
    )
    monkeypatch.setenv("BULK_PID", str(os.getpid()))
    plan = bulk.plan("a.bin", bulk_lab.length, imports=["breaks_elsewhere"])
    with plan, pytest.raises(PersistError, match="not here"):
        list(bulk.run(plan, 2))


def test_batches_are_few_for_a_scheduler_and_small_for_few_files() -> None:
    def sizes(count: int, size: int, workers: int) -> list[int]:
        works = ((Work(n, "", False), size) for n in range(count))
        return [len(batch.works) for batch in batches(works, count, count * size, workers)]

    assert len(sizes(1_000_000, 1_000, 64)) <= 10_000
    assert len(sizes(1_000_000, 100 << 20, 64)) <= 10_000
    assert set(sizes(40, 1 << 30, 2)) == {1}
    assert max(sizes(20_000, 1_000, 2)) == 100
    assert sum(sizes(20_000, 1_000, 2)) == 20_000


def test_an_executor_by_its_name() -> None:
    assert executor_of("concurrent.futures:ProcessPoolExecutor") is ProcessPoolExecutor
    with pytest.raises(PersistError, match="no executor"):
        executor_of("concurrent.futures:NoExecutor")


# Dask.


@needs_kill
@pytest.mark.interop  # it waits for a cluster that takes minutes on a busy machine
def test_a_dask_cluster_whose_workers_are_killed(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    import warnings

    for number in range(30):
        (tmp_path / f"{number:02}.bin").write_bytes(b"x")
    (tmp_path / "20-killer.bin").write_bytes(b"x")
    with (
        warnings.catch_warnings(),
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        client.run(sys.path.insert, 0, HERE)
        with bulk.plan(tmp_path, bulk_lab.slow) as plan:
            events = bulk.run(plan, client.get_executor(pure=False))
            done = [next(events)]
            for pid in client.run(os.getpid).values():  # all workers; the cluster starts others
                os.kill(pid, signal.SIGKILL)
            done += list(events)
        assert sorted(event.result for event in done) == sorted(os.listdir(tmp_path))
        with bulk.plan(tmp_path, bulk_lab.dies) as plan:
            events = list(bulk.run(plan, client.get_executor(pure=False)))
    dead = [os.path.basename(event.file) for event in events if event.verdict != "well"]
    assert dead == ["20-killer.bin"]
    assert len(events) == 31


# loky and MPI.


@needs_kill
@pytest.mark.interop
def test_loky_whose_workers_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("loky")
    monkeypatch.setenv("PYTHONPATH", HERE)
    for number in range(30):
        (tmp_path / f"{number:02}.bin").write_bytes(b"x")
    (tmp_path / "20-killer.bin").write_bytes(b"x")
    with bulk.plan(tmp_path, bulk_lab.dies) as plan:
        events = list(bulk.run(plan, executor_of("loky:get_reusable_executor")))
    (dead,) = [event for event in events if event.verdict != "well"]
    assert (os.path.basename(dead.file), dead.kind) == ("20-killer.bin", "WorkerDied")
    assert len(events) == 31


@pytest.mark.interop
def test_a_pool_of_mpi(tmp_path: Path) -> None:
    try:
        import mpi4py.MPI  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip("needs mpi4py and a library of MPI")
    bulk_lab.write_many(tmp_path / "in", 12)
    words = [
        *("-m", "persist", "upgrade", "in", "--to", "out", "--import", "bulk_lab", "--quiet"),
        *("--executor", "mpi4py.futures:MPIPoolExecutor"),
    ]
    paths = os.pathsep.join([HERE, str(Path(persist.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={
            **os.environ, "PYTHONPATH": paths, "MPI4PY_FUTURES_MAX_WORKERS": "2",
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        },
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "12 upgraded"), done.stderr

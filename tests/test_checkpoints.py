"""Checkpoints: what is kept, what survives a kill, and who may write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import PersistError


def state(step: int) -> dict[str, object]:
    return {"weights": np.full(4, float(step)), "step": step}


def test_the_latest_are_kept_and_the_rest_goes(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path, keep_last=2) as runs:
        for step in range(1, 6):
            runs.save(step, state(step))
        assert runs.steps() == [4, 5]
        assert runs.latest() == 5
        assert runs.restore()["step"] == 5
        assert runs.restore(4)["weights"].tolist() == [4.0] * 4


def test_the_best_and_every_tenth_are_kept_too(tmp_path: Path) -> None:
    losses = {3: 0.9, 10: 0.5, 12: 0.1, 15: 0.4, 20: 0.6, 21: float("nan"), 22: 0.7}
    with persist.Checkpoints(tmp_path, keep_last=1, keep_best=("loss", "min"), every=10) as runs:
        for step, loss in losses.items():
            runs.save(step, state(step), metrics={"loss": loss})
        assert runs.steps() == [10, 12, 20, 22]
        assert runs.best() == 12
        assert runs.best("loss", "max") == 22
        assert runs.metrics(12) == {"loss": 0.1}


def test_metrics_are_read_again_by_another_process(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path, keep_last=None) as runs:
        runs.save(1, state(1), metrics={"accuracy": np.float32(0.5)})
        runs.save(2, state(2), metrics={"accuracy": 0.25})
    again = persist.Checkpoints(tmp_path)
    assert again.best("accuracy", "max") == 1
    assert again.metrics(2) == {"accuracy": 0.25}


def test_a_reader_needs_no_lock(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path) as runs:
        runs.save(1, state(1))
        assert persist.Checkpoints(tmp_path).restore()["step"] == 1


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path) as runs:
        runs.save(1, state(1))
        other = persist.Checkpoints(tmp_path)
        with pytest.raises(PersistError, match=f"another process .*{os.getpid()}"):
            other.save(2, state(2))
    other.save(2, state(2))
    assert other.steps() == [1, 2]
    other.close()


def test_nothing_there_is_said(tmp_path: Path) -> None:
    runs = persist.Checkpoints(tmp_path / "new")
    assert runs.steps() == []
    assert runs.latest() is None
    assert runs.best("loss", "min") is None
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        runs.restore()


def test_an_asynchronous_save_is_a_snapshot(tmp_path: Path) -> None:
    weights = np.zeros(200_000)
    with persist.Checkpoints(tmp_path, asynchronous=True, durable=False) as runs:
        for step in range(1, 4):
            weights[:] = step
            runs.save(step, {"weights": weights})
            weights[:] = -1
        runs.wait()
        for step in (1, 2, 3):
            assert set(runs.restore(step)["weights"].tolist()) == {float(step)}


def test_an_error_of_the_writing_thread_is_raised_at_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persist import _files

    runs = persist.Checkpoints(tmp_path, asynchronous=True)

    def fail(*args: object, **options: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_files, "save_tree", fail)
        runs.save(1, state(1))
        runs._thread.join()
    with pytest.raises(PersistError, match="no space left") as caught:
        runs.save(2, state(2))
    assert isinstance(caught.value.__cause__, OSError)
    runs.save(2, state(2))
    runs.close()
    assert runs.steps() == [2]


def test_bad_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="keep_best"):
        persist.Checkpoints("x", keep_best=("loss", "least"))
    with pytest.raises(ValueError, match="keep_last"):
        persist.Checkpoints("x", keep_last=0)


TRAIN = """
    import sys, numpy as np, persist
    runs = persist.Checkpoints(sys.argv[1], keep_last=None, durable=False)
    big = np.zeros(500_000)
    step = (runs.latest() or 0) + 1
    while True:
        big[:] = step
        runs.save(step, {"big": big, "step": step})
        print(step, flush=True)
        step += 1
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_kill_at_any_moment_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(TRAIN), str(tmp_path)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline()  # it has begun to write
        time.sleep(float(rng.uniform(0.0, 0.05)))
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()
        reader = persist.Checkpoints(tmp_path)
        steps = reader.steps()
        assert steps == list(range(1, len(steps) + 1))
        for step in steps[-3:]:
            found = reader.restore(step, verify="always")
            assert found["step"] == step
            assert (found["big"] == step).all()
    with persist.Checkpoints(tmp_path, keep_last=None) as writer:
        writer.save(10_000, state(10_000))
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("step-"))
    assert left == [".writer.lock"]

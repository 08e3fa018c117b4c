"""Checkpoints: what is kept, what survives a kill, and who may write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import DamageWarning, PersistError


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


def test_a_second_writer_is_refused_with_who_writes(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path) as runs:
        runs.save(1, state(1))
        other = persist.Checkpoints(tmp_path)
        with pytest.raises(PersistError, match=f"another writer .*{os.getpid()}"):
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
    import persist.checkpoints as module

    runs = persist.Checkpoints(tmp_path, asynchronous=True)

    def fail(*args: object, **options: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_tree", fail)
        runs.save(1, state(1))
        runs._job._thread.join()
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


# What a program meets that is not as it should be.


def test_a_file_that_is_not_whole_is_passed_over_and_reported(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path, keep_last=2, keep_best=("loss", "min")) as runs:
        for step in (1, 2, 3):
            runs.save(step, state(step), metrics={"loss": 1.0})
    last = tmp_path / "step-0000000003.persist"
    for left in (last.read_bytes()[:-100], b"", bytes(4096)):  # as a loss of power may leave it
        last.write_bytes(left)
        again = persist.Checkpoints(tmp_path, keep_last=2, keep_best=("loss", "min"))
        with pytest.warns(DamageWarning, match=r"step-0000000003\.persist.*skipped"):
            assert again.latest() == 2
        assert again.restore()["step"] == 2  # reported once
        assert again.steps() == [2]
        assert again.best() == 2
        with pytest.raises(PersistError, match="0003"):
            again.metrics(3)
    again.save(4, state(4))
    assert again.steps() == [2, 4]  # two whole ones are kept
    again.save(3, state(3))
    assert again.restore(3)["step"] == 3
    again.close()


def test_a_reader_sees_that_a_step_was_replaced(tmp_path: Path) -> None:
    reader = persist.Checkpoints(tmp_path)
    with persist.Checkpoints(tmp_path) as runs:
        runs.save(1, state(1), metrics={"loss": 1.0})
        assert reader.metrics(1) == {"loss": 1.0}
        runs.save(1, state(1), metrics={"loss": 2.0})
        assert reader.metrics(1) == runs.metrics(1) == {"loss": 2.0}


def test_a_step_that_goes_while_it_is_looked_for_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import persist.checkpoints as module

    with persist.Checkpoints(tmp_path, keep_last=1) as runs:
        runs.save(1, state(1), metrics={"loss": 1.0})
        reader = persist.Checkpoints(tmp_path)
        load = module.load

        def late(path: Path, **options: object) -> object:
            if runs.latest() == 1:
                runs.save(2, state(2), metrics={"loss": 2.0})  # removes 1
            return load(path, **options)

        monkeypatch.setattr(module, "load", late)
        assert reader.restore()["step"] == 2
        monkeypatch.setattr(reader, "_names", lambda: [1, 2])
        assert reader.steps() == [2]
        assert reader.best("loss", "min") == 2
        with pytest.raises(FileNotFoundError):
            reader.restore(1)


def test_what_is_no_number_or_no_step_is_refused(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path) as runs:
        with pytest.raises(TypeError, match="'loss' is a str"):
            runs.save(1, {}, metrics={"loss": "low"})  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="-1"):
            runs.save(-1, {})
        with pytest.raises(TypeError):
            runs.save(1.5, {})  # type: ignore[arg-type]
        runs.save(np.int64(3), {"x": 1}, metrics={"loss": np.array(2), "worst": float("inf")})  # type: ignore[arg-type]
        assert runs.steps() == [3]
        assert persist.Checkpoints(tmp_path).metrics(3) == {"loss": 2, "worst": float("inf")}
        for wanted in ((), ("loss",), ("loss", "most")):
            with pytest.raises(ValueError, match="'min' or 'max' was expected"):
                runs.best(*wanted)
    with pytest.raises(ValueError, match="every is 0"):
        persist.Checkpoints("x", every=0)


def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    import persist.checkpoints as module

    def fail(*args: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "save_tree", fail)


@pytest.mark.parametrize("call", ["close", "wait", "latest", "steps", "restore", "best", "metrics"])
def test_whichever_call_comes_next_raises_the_error_of_the_thread(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = persist.Checkpoints(tmp_path, asynchronous=True)
    runs.save(1, state(1))
    runs.wait()
    with monkeypatch.context() as patch:
        failing(patch)
        runs.save(2, state(2))
        runs._job._thread.join()
    given = {"best": ("loss", "min"), "metrics": (1,)}.get(call, ())
    with pytest.raises(PersistError, match=r"0002\.persist: .*no space left"):
        getattr(runs, call)(*given)
    assert runs.latest() == 1  # reported once
    runs.close()
    with persist.Checkpoints(tmp_path) as other:  # the lock was let go of
        other.save(3, state(3))


def test_an_error_that_no_call_was_left_to_raise_is_reported_at_the_end(tmp_path: Path) -> None:
    program = """
        import sys, persist
        import persist.checkpoints

        def fail(*args, **options):
            raise OSError("no space left on device")

        persist.checkpoints.save_tree = fail
        persist.Checkpoints(sys.argv[1], asynchronous=True).save(1, {})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert "0001.persist: this step could not be saved: OSError: no space left" in done.stderr


own = persist.Registry("checkpoints")


class Net(persist.Versioned, version=4, schema="lab.Net", registry=own):
    def __init__(self) -> None:
        self.weights = np.ones(3)


def test_schemas_are_those_of_the_registry(tmp_path: Path) -> None:
    with persist.Checkpoints(tmp_path, registry=own) as runs:
        path = runs.save(1, Net())
        assert type(runs.restore()) is Net
    with persist.open(path) as file:
        assert [schema["name"] for schema in file.structure["schemas"]] == ["lab.Net"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_holds_no_lock(tmp_path: Path) -> None:
    program = """
        import os, sys, time, persist
        runs = persist.Checkpoints(sys.argv[1])
        runs.save(1, {})
        if os.fork() == 0:  # as a worker that loads data
            try:
                runs.save(2, {})
            except persist.PersistError as error:
                print("refused", os.getpid(), flush=True)
            time.sleep(60)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    reported, child = parent.stdout.readline().split()
    assert reported == "refused"
    try:
        parent.kill()
        parent.wait()
        with persist.Checkpoints(tmp_path) as runs:
            runs.save(3, {})
        assert runs.steps() == [1, 3]
    finally:
        os.kill(int(child), signal.SIGKILL)
        parent.stdout.close()


# Sharing with the step before.


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_a_step_shares_with_the_one_before_it(
    asynchronous: bool, share: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persist._container.writing import reflink

    cloned = []

    def copying(old: int, new: int) -> bool:
        data = os.pread(old, os.fstat(old).st_size, 0)
        cloned.append(os.pwrite(new, data, 0))
        return True

    monkeypatch.setattr(reflink, "clone", copying)
    frozen, head = np.arange(100_000.0), np.zeros(1000)
    options = {"asynchronous": asynchronous, "share": share, "durable": False}
    with persist.Checkpoints(tmp_path, keep_last=None, **options) as runs:
        for step in (10, 20, 30, 20):
            head += step
            runs.save(step, {"frozen": frozen, "head": head, "step": step})
        runs.wait()
        assert len(cloned) == (3 if share else 0)
        found = runs.restore(20, verify="always")
        assert found["head"][0] == 80
        assert np.array_equal(found["frozen"], frozen)
        metadata = {"checkpoint": {"step": 20, "metrics": {}}}
        wanted = {"frozen": frozen, "head": head, "step": 20}
        persist.save(wanted, tmp_path / "x.persist", metadata=metadata)
        anew = (tmp_path / "x.persist").read_bytes()
        assert (tmp_path / "step-0000000020.persist").read_bytes() == anew


# Killed, with readers looking on.

LONG = """
    import sys, numpy as np, persist
    folder, way = sys.argv[1:]
    runs = persist.Checkpoints(
        folder, keep_last=2, keep_best=("loss", "min"), every=10, durable=False,
        asynchronous=way == "asynchronous",
    )
    big = np.zeros(300_000)
    step = (runs.latest() or 0) + 1
    while True:
        big[:] = step
        runs.save(step, {"big": big, "step": step}, metrics={"loss": abs(step - 7)})
        big[:] = -1
        print(step, flush=True)
        step += 1
"""


@pytest.mark.parametrize("way", ["asynchronous", "waiting"])
def test_readers_see_whole_steps_while_a_writer_is_killed_again_and_again(
    way: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    rounds = 0
    while rounds < 4 or (persist.Checkpoints(tmp_path).latest() or 0) <= 10:
        rounds += 1
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(LONG), str(tmp_path), way],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        reader = persist.Checkpoints(tmp_path)
        for _ in range(int(rng.integers(3, 9))):  # the writer is killed after so many steps
            child.stdout.readline()
            if reader.latest() is None:
                continue
            found = reader.restore(verify="always")
            assert (found["big"] == found["step"]).all()
            reader.best("loss", "min")
        child.kill()
        child.stdout.close()
        child.wait()
        for step in reader.steps():
            assert (reader.restore(step, verify="always")["big"] == step).all()
    last = reader.latest()
    assert last is not None
    assert {7, 10, last} <= set(reader.steps())
    with persist.Checkpoints(tmp_path, keep_last=2) as runs:
        runs.save(last + 1, {})
        assert runs.steps() == [last, last + 1]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


# Behind a URL.


@pytest.fixture
def url() -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec")
    name = f"memory://checkpoints-{os.urandom(4).hex()}/run"
    yield name
    files, path = fsspec.core.url_to_fs(name)
    if files.exists(path):
        files.rm(path, recursive=True)


def test_a_run_behind_a_url(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with persist.Checkpoints(url, keep_last=2, keep_best=("loss", "min")) as runs:
        assert (runs.steps(), runs.latest()) == ([], None)
        for step in range(1, 6):
            place = runs.save(step, {"w": np.full(3, step)}, metrics={"loss": abs(step - 2)})
        assert place == f"{url}/step-0000000005.persist"
        assert runs.steps() == [2, 4, 5]
        assert runs.best() == 2
        assert runs.metrics(4) == {"loss": 2}
        assert runs.restore()["w"].tolist() == [5, 5, 5]
        assert runs.restore(2)["w"].tolist() == [2, 2, 2]
        runs.save(5, {"w": np.zeros(3)})
        assert runs.restore()["w"].tolist() == [0, 0, 0]
    assert persist.load(place)["w"].tolist() == [0, 0, 0]
    assert os.listdir(tmp_path) == []  # no local folder called "memory:"


def test_a_run_behind_a_url_has_one_writer(url: str) -> None:
    import fsspec

    first = persist.Checkpoints(url)
    first.save(1, {"w": 1})
    second = persist.Checkpoints(url)
    with pytest.raises(PersistError, match="another writer has locked this folder") as caught:
        second.save(2, {"w": 2})
    # What the error says works, for a writer that was killed.
    lock = caught.value.remedy.rpartition("remove ")[2].rstrip(".")
    files, path = fsspec.core.url_to_fs(lock)
    files.rm_file(path)
    second.save(2, {"w": 2})
    second.close()
    assert persist.Checkpoints(url).restore() == {"w": 2}


@pytest.mark.skipif(os.name == "nt", reason="whether a process lives is not asked there")
def test_the_lock_of_a_writer_that_was_killed_here_is_taken_over(url: str) -> None:
    import platform

    import fsspec

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    files, path = fsspec.core.url_to_fs(url)
    for process, host in ((ended.pid, platform.node()), (os.getpid(), platform.node())):
        lock = f"process {process} on {host} {'0' * 32}".encode()
        files.pipe_file(f"{path}/.writer.lock", lock)
        with persist.Checkpoints(url) as runs:
            runs.save(1, {"w": 1})
    files.pipe_file(f"{path}/.writer.lock", f"process 1 on elsewhere {'0' * 32}".encode())
    with pytest.raises(PersistError, match="process 1 on elsewhere"):
        persist.Checkpoints(url).save(2, {})


def test_what_a_killed_writer_left_behind_a_url_is_removed(url: str) -> None:
    import fsspec

    files, path = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{path}/.step-0000000001.persist.0123456789ab.tmp", b"half")
    with persist.Checkpoints(url, asynchronous=True) as runs:
        runs.save(1, {"w": 1})
        runs.wait()
        names = [name.rpartition("/")[2] for name in files.ls(path, detail=False)]
    assert sorted(names) == [".writer.lock", "step-0000000001.persist"]


def test_a_failed_save_behind_a_url_leaves_nothing(url: str) -> None:
    with persist.Checkpoints(url) as runs:
        runs.save(1, {"w": 1})
        with pytest.raises(PersistError):
            runs.save(2, {"w": lambda: None})
        assert runs.steps() == [1]
        assert runs.restore() == {"w": 1}


def test_a_url_without_fsspec_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(persist.errors.MissingExtraError, match="needs the library fsspec"):
        persist.Checkpoints("s3://bucket/run")
    assert os.listdir(tmp_path) == []

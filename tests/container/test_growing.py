"""Arrays that grow on disk: read while they grow, whole after a kill."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist.errors import FormatError


def test_numpy_and_persist_read_it_while_it_grows(tmp_path):
    run = tmp_path / "run"
    assert persist.append(run, "loss", 0.5) == 1
    assert persist.append(run, "loss", [0.25, 1]) == 3
    assert persist.append(run, "train/weights", np.zeros((2, 3), "f4")) == 2
    assert np.load(run / "loss.npy").tolist() == [0.5, 0.25, 1.0]
    assert np.load(run / "loss.npy", mmap_mode="r").shape == (3,)
    with persist.open(run) as file:
        assert file.format == "persist-arrays"
        assert list(file.arrays) == ["loss", "train/weights"]
        assert file.arrays["train/weights"].shape == (2, 3)
        persist.append(run, "loss", [7.0])
        assert file.arrays["loss"][:].tolist() == [0.5, 0.25, 1.0]
    assert persist.load(run)["loss"][-1] == 7.0


def test_a_structured_dtype_and_no_rows(tmp_path):
    dtype = np.dtype([("step", "<i8"), ("loss", "<f4", (2,))])
    rows = np.zeros(2, dtype)
    rows["step"] = 1, 2
    persist.append(tmp_path / "run", "log", rows[:0])
    assert persist.load(tmp_path / "run")["log"].shape == (0,)
    persist.append(tmp_path / "run", "log", rows, durable=True)
    assert np.load(tmp_path / "run" / "log.npy")["step"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "fault"),
    [(np.zeros((1, 2)), "do not fit"), (1j, "do not fit"), ([None], "no fixed rows")],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path, values, fault):
    persist.append(tmp_path / "run", "loss", [1.0])
    before = (tmp_path / "run" / "loss.npy").read_bytes()
    with pytest.raises(FormatError, match=fault):
        persist.append(tmp_path / "run", "loss", values)
    assert (tmp_path / "run" / "loss.npy").read_bytes() == before


def test_other_files_and_folders_are_left_alone(tmp_path):
    persist.save([1], tmp_path / "a.persist")
    for path in (tmp_path, tmp_path / "a.persist"):
        with pytest.raises(FormatError, match="not a folder of growing arrays"):
            persist.append(path, "loss", 1.0)
    folder = tmp_path / "run"
    persist.append(folder, "loss", 1.0)
    np.save(folder / "other.npy", np.asfortranarray(np.zeros((3, 2))))
    with pytest.raises(FormatError, match="no room"):
        persist.append(folder, "other", [[1.0, 2.0]])


def test_what_a_killed_process_left_behind_is_no_row(tmp_path):
    persist.append(tmp_path / "run", "loss", [1.0, 2.0])
    path = tmp_path / "run" / "loss.npy"
    with path.open("ab") as file:
        file.write(b"\x01" * 11)  # rows were being written, and not counted
    assert np.load(path).tolist() == persist.load(tmp_path / "run")["loss"].tolist() == [1.0, 2.0]
    persist.append(tmp_path / "run", "loss", [3.0])
    assert np.load(path).tolist() == [1.0, 2.0, 3.0]


@given(st.lists(st.lists(st.integers(-1000, 1000), max_size=5), max_size=8))
def test_any_appends_are_one_array(tmp_path_factory, parts):
    run = tmp_path_factory.mktemp("grow") / "run"
    for part in parts:
        persist.append(run, "n", np.array(part, "i8"))
    if parts:
        assert persist.load(run)["n"].tolist() == [item for part in parts for item in part]


WRITER = """
import sys, numpy as np, persist
persist.append(sys.argv[1], "n", np.arange(0))
print("ready", flush=True)
n = 0
while True:
    size = 1 + n * 7919 % 3000
    persist.append(sys.argv[1], "n", np.arange(n, n + size))
    n += size
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_it_is_whole_after_a_kill_at_any_moment(tmp_path):
    chance = random.Random(7)
    for attempt in range(4):
        run = tmp_path / f"run{attempt}"
        command = [sys.executable, "-c", WRITER, os.fspath(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            for _ in range(3):  # read by others while it is written
                time.sleep(chance.uniform(0.0, 0.03))
                seen = np.load(run / "n.npy")
                assert np.array_equal(seen, np.arange(len(seen)))
                seen = persist.load(run)["n"]
                assert np.array_equal(seen, np.arange(len(seen)))
            process.send_signal(signal.SIGKILL)
        left = np.load(run / "n.npy")
        assert len(left)
        assert np.array_equal(left, np.arange(len(left)))
        persist.append(run, "n", [len(left)])
        assert np.array_equal(persist.load(run)["n"], np.arange(len(left) + 1))

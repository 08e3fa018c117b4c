"""Processes are killed while they replace a file, disks are full, two write at once: nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from counting import note
from operations import OPERATIONS

import persist

HERE = Path(__file__).parent
KILLED = ["save persist", "save a new persist", "save torch-zip", "upgrade in place, kept", "undo", "compact", "checkpoint"]  # fmt: skip

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals of POSIX")


def kills(count: int, seed: int, *operations: str) -> dict[str, int]:
    run = subprocess.run(
        [sys.executable, str(HERE / "killing.py"), str(count), str(seed), *operations],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found: dict[str, int] = json.loads(run.stdout)
    note("processes killed while they replaced a file: old or new state found", found["killed"])
    note("of these, killed with a half-written temporary file", found["unfinished"])
    return found


def test_a_killed_process_leaves_the_old_state_or_the_new_one() -> None:
    found = kills(4, 1, *KILLED)
    assert found["killed"] == 4 * len(KILLED)
    assert found["old"] + found["new"] == found["killed"]


@pytest.mark.slow
def test_so_do_a_thousand() -> None:
    found = kills(-(-1000 // len(KILLED)), 2, *KILLED)
    assert found["killed"] >= 1000
    assert found["old"] + found["new"] == found["killed"]
    assert found["unfinished"] > 50  # they were killed while they wrote
    assert min(found["old"], found["new"]) > 50


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from operations import OPERATIONS, unfinished
operation, folder = OPERATIONS[sys.argv[2]], Path(sys.argv[3])
operation.prepare(folder)
operation.act(folder)
size = max(path.stat().st_size for path in folder.iterdir())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in range(0, size, size // 9):
    for path in folder.iterdir():
        path.unlink()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    operation.prepare(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        operation.act(folder)
    except OSError as error:
        print(error.errno)
    assert operation.state(folder) == "old", limit
    assert not unfinished(folder)
"""


@pytest.mark.parametrize("name", ["save persist", "save pickle", "save torch-zip", "save safetensors", "upgrade in place", "checkpoint"])  # fmt: skip
def test_a_full_disk_leaves_the_old_state_and_nothing_else(name: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(HERE), name, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) >= 9


SAVER = """
import sys, numpy as np, persist
path, first = sys.argv[1], int(sys.argv[2])
for number in range(first, first + 120):
    persist.save({"n": np.full(20_000, float(number)), "m": number}, path, durable=False)
"""


def test_two_savers_at_once_leave_the_file_of_one(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save({"n": np.full(20_000, 0.0), "m": 0}, path)
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVER, str(path), str(first)])
        for first in (1000, 2000)
    ]
    seen = set()
    while any(saver.poll() is None for saver in savers):
        found = persist.load(path, verify="always")
        assert (np.asarray(found["n"]) == found["m"]).all()
        seen.add(found["m"] // 1000)
    assert [saver.wait() for saver in savers] == [0, 0]
    assert persist.load(path)["m"] in (1119, 2119)
    assert seen >= {1, 2}
    assert os.listdir(tmp_path) == ["net.persist"]


WRITER = """
import sys, numpy as np, persist
path = sys.argv[1]
print("ready", flush=True)
number = 0
while True:
    number += 1
    persist.save({"n": np.full(200_000, float(number)), "m": number}, path, durable=False)
"""


def test_a_writer_that_is_killed_again_and_again_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save({"n": np.full(200_000, 0.0), "m": 0}, path)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:  # fmt: skip
            assert writer.stdout is not None
            writer.stdout.readline()
            before = path.stat().st_ino
            while path.stat().st_ino == before:
                pass  # until it has saved once
            writer.send_signal(signal.SIGKILL)
        found = persist.load(path, verify="always")
        assert (np.asarray(found["n"]) == found["m"]).all()
    persist.save({"m": 0}, path)
    assert os.listdir(tmp_path) == ["net.persist"]


def test_the_operations_that_are_killed_are_known() -> None:
    assert {*KILLED} <= {*OPERATIONS}

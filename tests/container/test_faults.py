"""Saving is all or nothing: every write, sync, rename and close fails in turn.

After each fault the old file is there, whole, or the new one is; no other file is left behind.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._container.writing import atomic

OLD = {"w": np.arange(4000.0), "b": np.zeros(3)}
NEW = {"w": np.arange(4000.0) + 1, "b": np.ones(3)}
FORMATS = {"persist": ".persist", "pickle": ".pkl", "npz": ".npz", "safetensors": ".safetensors", "torch-zip": ".pth"}  # fmt: skip
CALLS = (
    "fsync", "fdatasync", "replace", "fchmod", "write", "writev", "pwrite", "pwritev", "sendfile",
    "copy_file_range", "ftruncate", "posix_fallocate",
)  # fmt: skip


class Faults:
    """Counts what a save asks of the system, and lets one of these calls fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.at = 0
        self.seen: list[str] = []
        for name in CALLS:
            if hasattr(os, name):
                monkeypatch.setattr(os, name, self.failing(name, getattr(os, name)))
        monkeypatch.setattr(atomic, "open", self.opened, raising=False)

    def failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def one(*args: Any, **options: Any) -> Any:
            self.hit(name)
            return call(*args, **options)

        return one

    def hit(self, name: str) -> None:
        self.count += 1
        self.seen.append(name)
        if self.count == self.at:
            raise OSError(errno.EIO, f"injected into {name}")

    def opened(self, file: Any, mode: str, buffering: int = -1) -> Any:
        faults = self

        class Faulty(io.FileIO):
            def write(self, data: Any, /) -> Any:
                try:
                    faults.hit("FileIO.write")
                except OSError:
                    super().write(memoryview(data).cast("B")[: max(len(data) // 2, 1)])
                    raise  # half of it is on the disk
                return super().write(data)

            def close(self) -> None:
                is_open = not self.closed
                super().close()
                if is_open:
                    faults.hit("FileIO.close")

        return Faulty(file, mode.replace("b", ""))

    def start(self, at: int) -> None:
        self.count, self.at, self.seen = 0, at, []


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_every_fault_leaves_the_old_file_or_the_new_one(
    format: str, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"net{FORMATS[format]}"
    faults = Faults(monkeypatch)
    faults.start(0)
    persist.save(OLD, path, format=format)
    whole = path.read_bytes()
    if is_there:  # keeping the mode of what is replaced is one more
        faults.start(0)
        persist.save(NEW, path, format=format)
    points = faults.count
    assert points >= 4, faults.seen
    assert {"fsync", "replace", "FileIO.close"} <= {*faults.seen}
    for at in range(1, points + 2):
        path.unlink(missing_ok=True)
        if is_there:
            path.write_bytes(whole)
        faults.start(at)
        try:
            persist.save(NEW, path, format=format)
        except (OSError, persist.PersistError) as error:
            failed: BaseException | None = error
        else:
            failed = None
        faults.start(0)
        assert (failed is None) == (at > points), (at, failed)
        assert [file.name for file in tmp_path.iterdir() if file != path] == []
        if not path.exists():
            assert not is_there
            continue
        found = {name: np.asarray(array) for name, array in persist.open(path).arrays.items()}
        wanted = NEW if found["b"][0] else OLD
        assert is_there or wanted is NEW
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


def test_a_fault_names_the_file_and_the_next_save_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.persist"
    faults = Faults(monkeypatch)
    persist.save(OLD, path)
    faults.start(1)
    with pytest.raises(OSError, match="injected"):
        persist.save(NEW, path)
    faults.start(0)
    persist.save(NEW, path)
    assert persist.load(path)["b"].tolist() == [1, 1, 1]


@pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")
def test_mode_links_and_targets_are_those_that_users_expect(tmp_path: Path) -> None:
    path, link, hard = tmp_path / "net.persist", tmp_path / "link", tmp_path / "hard"
    persist.save(OLD, path)
    path.chmod(0o640)
    link.symlink_to(path)
    hard.hardlink_to(path)
    persist.save(NEW, link)
    assert link.is_symlink()
    assert persist.load(path)["b"].tolist() == [1, 1, 1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert persist.load(hard)["b"].tolist() == [0, 0, 0]  # the old file, under its other name
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "made.persist")
    persist.save(NEW, dangling)
    assert persist.load(tmp_path / "made.persist")["b"].tolist() == [1, 1, 1]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for wrong in (loop, tmp_path):
        with pytest.raises(OSError, match=r".*"):
            persist.save(NEW, wrong)


WRITER = """
import sys, numpy as np, persist
path = sys.argv[1]
print("ready", flush=True)
number = 0
while True:
    number += 1
    persist.save({"n": np.full(200_000, float(number)), "m": number}, path, durable=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """At moments that differ from run to run: whatever they are, the file is whole."""
    path = tmp_path / "net.persist"
    persist.save({"n": np.full(200_000, 0.0), "m": 0}, path)
    for turn in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:  # fmt: skip
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.013 * (turn + 1))
            writer.send_signal(signal.SIGKILL)
        found = persist.load(path, verify="always")
        assert (np.asarray(found["n"]) == found["m"]).all()
    persist.save(NEW, path)
    assert os.listdir(tmp_path) == ["net.persist"]

"""What a killed writer left is removed by the next save to that name; a living one's is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import persist

WRITER = """
    import os, sys
    from persist._container import replacing
    with replacing(sys.argv[1]) as file:
        file.write(b"half")
        print("begun", flush=True)
        sys.stdin.read()
        file.write(b"whole")
"""


def begun(path: Path) -> subprocess.Popen[str]:
    """A process that is in the middle of a save."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def unfinished(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_the_next_save_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    for _ in range(2):
        child = begun(path)
        child.kill()
        child.communicate()
    assert len(unfinished(tmp_path)) == 1  # the second removed what the first left
    persist.save({"other": 1}, tmp_path / "other.persist")
    assert len(unfinished(tmp_path)) == 1  # of another name
    persist.save({"w": 1}, path)
    assert unfinished(tmp_path) == []
    assert persist.load(path) == {"w": 1}


def test_a_file_of_a_release_without_locks_is_removed_too(tmp_path: Path) -> None:
    (tmp_path / ".net.persist.0123456789ab.tmp").write_bytes(b"half")
    (tmp_path / ".net.persist.notes.tmp").write_bytes(b"mine")
    persist.save({"w": 1}, tmp_path / "net.persist")
    assert unfinished(tmp_path) == [".net.persist.notes.tmp"]


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be replaced there")
def test_what_a_living_writer_has_begun_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    child = begun(path)
    try:
        persist.save({"w": 1}, path)
        assert len(unfinished(tmp_path)) == 1
    finally:
        child.communicate("go on")
    assert child.returncode == 0
    assert path.read_bytes() == b"halfwhole"
    assert unfinished(tmp_path) == []


def test_what_a_killed_upgrade_left_is_removed_by_the_next(tmp_path: Path) -> None:
    from persist import _cli

    (tmp_path / "a.pkl").write_bytes(b"\x80\x02K\x01.")
    (tmp_path / ".a.pkl.persist.0123456789ab.tmp").write_bytes(b"half")
    assert _cli.main(["upgrade", str(tmp_path / "a.pkl"), "--to", str(tmp_path)]) == 0
    assert sorted(os.listdir(tmp_path)) == sorted(["a.pkl", "a.pkl.persist"])


@pytest.mark.parametrize("format", ["persist", "pickle"])
def test_errors_name_the_target(format: str, tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        persist.save({}, tmp_path / "none" / "net.x", format=format)
    assert caught.value.filename == str(tmp_path / "none" / "net.x")

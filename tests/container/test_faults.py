"""Whatever replaces a file does it all or not at all: each call of the system fails in turn.

After each fault the old state is there, whole, or the new one is; no other file is left behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
from pathlib import Path

import numpy as np
import pytest
from counting import note
from faulty import Disk, Faults
from operations import OPERATIONS, Operation, in_place, saving, unfinished

import persist
from persist import _container
from persist.errors import DamagedFileError, FormatError

OLD, NEW = {"w": 1, "b": np.zeros(3)}, {"w": 2, "b": np.ones(3)}


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_fault_leaves_the_old_state_or_the_new_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = OPERATIONS[name]
    faults = Faults(monkeypatch)
    operation.prepare(tmp_path)
    faults.start(0)
    operation.act(tmp_path)
    assert operation.state(tmp_path) == "new"
    points = faults.count
    assert {"fsync", "replace", "FileIO.close"} <= {*faults.seen}
    failures = 0
    for at in range(1, points + 2):
        emptied(tmp_path)
        faults.start(0)
        operation.prepare(tmp_path)
        faults.start(at)
        try:
            operation.act(tmp_path)
        except (OSError, persist.PersistError):
            has_failed = True
        else:
            has_failed = False
        faults.start(0)
        failures += has_failed
        assert operation.state(tmp_path) == "new" or has_failed, at
        assert not (has_failed and at > points)
        assert {*os.listdir(tmp_path)} <= operation.names[0] | operation.names[1], at
    assert failures >= 4
    note(
        "calls of the system that failed while a file was replaced: old or new state found", points
    )


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", ["save persist", "upgrade in place, kept", "undo", "checkpoint"])
def test_a_disk_that_is_gone_leaves_the_old_state_or_the_new_one(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls from one on fail, removing what was begun among them; the next attempt tidies up."""
    operation = OPERATIONS[name]
    faults = Faults(monkeypatch, code)
    operation.prepare(tmp_path)
    faults.start(0)
    operation.act(tmp_path)
    points, were_left = faults.count, 0
    for at in range(1, points + 1):
        emptied(tmp_path)
        faults.start(0)
        operation.prepare(tmp_path)
        faults.start(at, is_lasting=True)
        with contextlib.suppress(OSError, persist.PersistError):
            operation.act(tmp_path)
        faults.start(0)
        state = operation.state(tmp_path)
        were_left += bool(unfinished(tmp_path))
        if state == "old":
            operation.act(tmp_path)
            assert operation.state(tmp_path) == "new"
            assert unfinished(tmp_path) == []
    assert were_left
    note("calls from which on all failed: old or new state found", points)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_loss_of_power_leaves_the_old_state_or_the_new_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every prefix of what was asked, and what a file system may have done of it in another order."""
    folder, after = tmp_path / "folder", tmp_path / "after"
    folder.mkdir()
    operation = OPERATIONS[name]
    operation.prepare(folder)
    faults, disk = Faults(monkeypatch), Disk(folder)
    chance, found = random.Random(5), set()

    def look(call: str, args: tuple[object, ...]) -> None:
        disk.note(call, args)
        found.update(tuple(sorted(state.items())) for state in disk.states(chance, 3))

    faults.after = look
    operation.act(folder)
    faults.after = None
    assert disk.points >= 4
    assert len(found) > 4
    note("states of the disk after a loss of power: old or new state found", len(found))
    for state in found:
        assert held(operation, after, dict(state)) in ("old", "new")
    # And when it has returned, nothing can take it back.
    for state in disk.states(chance, 3):
        assert held(operation, after, state) == "new"


def held(operation: Operation, folder: Path, state: dict[str, bytes]) -> str:
    """What is there once the machine runs again."""
    folder.mkdir(exist_ok=True)
    emptied(folder)
    for name, data in state.items():
        (folder / name).write_bytes(data)
    return operation.state(folder)


@pytest.mark.parametrize("format", ["persist", "npz", "torch-zip"])
def test_what_was_not_durable_is_whole_or_reported(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``durable=False`` the new name may come before its bytes: that is an error, never other numbers."""
    folder, after = tmp_path / "folder", tmp_path / "after"
    folder.mkdir()
    operation = saving(format, durable=False)
    operation.prepare(folder)
    faults, disk = Faults(monkeypatch), Disk(folder)
    faults.after = disk.note
    operation.act(folder)
    faults.after = None
    outcomes = set()
    for state in disk.states(random.Random(7), 12):
        try:
            outcomes.add(held(operation, after, state))
        except FormatError:
            outcomes.add("reported")
    assert outcomes == {"old", "new", "reported"}


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


@pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")
@pytest.mark.parametrize("act", ["upgrade", "undo", "compact"])
def test_what_is_rewritten_in_place_keeps_mode_and_link(act: str, tmp_path: Path) -> None:
    operation = in_place(from_=1 if act == "upgrade" else 2, act=act)
    operation.prepare(tmp_path)
    path = tmp_path / "nets.persist"
    real = path.rename(tmp_path / "real.persist")
    path.symlink_to(real)
    real.chmod(0o604)
    operation.act(tmp_path)
    assert operation.state(tmp_path) == "new"
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o604


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save(OLD, path)
    os.chown(path, 4321, 1234)
    persist.save(NEW, path)
    assert (path.stat().st_uid, path.stat().st_gid) == (4321, 1234)


@pytest.mark.skipif(os.name == "nt", reason="the umask of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_gets_what_the_umask_leaves(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        persist.save(OLD, tmp_path / "net.persist")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "net.persist").stat().st_mode) == mode


@pytest.mark.skipif(os.name == "nt", reason="a file that is mapped cannot be replaced there")
@pytest.mark.parametrize("act", ["save", "upgrade", "undo", "compact"])
def test_a_reader_that_has_the_file_mapped_keeps_the_old_bytes(act: str, tmp_path: Path) -> None:
    operation = (
        saving("persist", size=200_000)
        if act == "save"
        else in_place(from_=1 if act == "upgrade" else 2, act=act, size=200_000)
    )
    operation.prepare(tmp_path)
    (path,) = tmp_path.iterdir()
    with persist.open(path) as file:
        names = [*file.arrays]
        before = {name: np.array(file.arrays[name]) for name in names}
        late = persist.open(path)
        operation.act(tmp_path)
        for name in names:
            np.testing.assert_array_equal(file.arrays[name], before[name])
            np.testing.assert_array_equal(late.arrays[name], before[name])  # not read until now
        late.close()
    assert operation.state(tmp_path) == "new"


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("root may write everything")
    path = tmp_path / "net.persist"
    persist.save(OLD, path)
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        persist.save(NEW, path)
    assert persist.load(path)["w"] == 1


def test_what_is_damaged_is_damaged_after_an_upgrade_in_place(tmp_path: Path) -> None:
    """Its bytes are copied with the checksums of old: no new checksum is made of wrong numbers."""
    operation = in_place()
    operation.prepare(tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in (whole.index(np.arange(4000.0).tobytes()) + 99, len(whole) - 40):
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        with contextlib.suppress(DamagedFileError):
            operation.act(tmp_path)
        with pytest.raises((DamagedFileError, AssertionError)):
            operation.state(tmp_path)
        assert _container.verify(path)

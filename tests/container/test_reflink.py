"""A container written over a clone of an older file has the bytes of one that was written anew."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persist import _container
from persist._container.writing import reflink

Kept = list[int]


def copying(old: int, new: int) -> bool:
    """What a clone is, where the file system has none."""
    data = os.pread(old, os.fstat(old).st_size, 0)
    assert os.pwrite(new, data, 0) == len(data)
    return True


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Clone everywhere; how many bytes of each file written since were passed over."""
    monkeypatch.setattr(reflink, "clone", copying)
    return counted(monkeypatch)


def counted(monkeypatch: pytest.MonkeyPatch) -> Kept:
    result: Kept = []
    sharing = reflink._Sharing

    class Counted(sharing):  # type: ignore[valid-type,misc]
        def write(self, data: Any) -> int:
            before = self.kept
            done: int = super().write(data)
            result[-1] += self.kept - before
            return done

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            result.append(0)

    monkeypatch.setattr(reflink, "_Sharing", Counted)
    return result


def both(tree: Any, folder: Path, like: Path, **options: Any) -> Path:
    """Write with and without an older file; they must be of the same bytes."""
    anew, shared = folder / "anew", folder / "shared"
    _container.write(tree, anew, durable=False, **options)
    _container.write(tree, shared, durable=False, like=like, **options)
    assert shared.read_bytes() == anew.read_bytes()
    return shared


def changed(tree: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The next step of a run: some arrays change, grow, go or come."""
    result: dict[str, Any] = {}
    for name, array in tree.items():
        what = dice.random()
        if what < 0.1 and len(tree) > 2:
            continue
        if what < 0.3 and array.size:
            array = array.copy()
            array.flat[dice.randrange(array.size)] += 1
        elif what < 0.35:
            array = np.append(array, array[:1])
        elif what < 0.4:
            result[f"new {dice.random()}"] = array + 1
        result[name] = array
    result["step"] = dice.random()
    return result


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 6))]
)
@pytest.mark.parametrize("compress", [None, "deflate"])
def test_the_bytes_are_the_same_whatever_changed(
    seed: int, compress: str | None, tmp_path: Path, kept: Kept
) -> None:
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    tree: dict[str, Any] = {
        f"x{n}": rng.integers(0, 9, size).astype("i8")
        for n, size in enumerate((3, 700_000, 40, 9000, 0, 50_000, 300_000))
    }
    like = tmp_path / "like"
    _container.write(tree, like, durable=False, compress=compress)
    for _ in range(6):
        tree = {name: value for name, value in tree.items() if name != "step"}
        tree = changed(tree, dice)
        both(tree, tmp_path, like, compress=compress).replace(like)
    assert len(kept) == 6
    assert any(kept)


def test_what_did_not_change_is_not_written(tmp_path: Path, kept: Kept) -> None:
    tree = {"a": np.arange(1 << 20), "b": np.arange(1 << 20), "c": np.ones(1 << 10)}
    like = tmp_path / "like"
    _container.write(tree, like, durable=False)
    both(tree, tmp_path, like)
    assert like.stat().st_size - kept[-1] < 4096  # two headers, whose CRCs come after the data
    both({**tree, "b": tree["b"] + 1}, tmp_path, like)
    assert 8 << 20 <= kept[-1] < 9 << 20
    one = tree["b"].copy()
    one[500_000] = -1
    both({**tree, "b": one}, tmp_path, like)
    assert kept[-1] > (16 << 20) - (1 << 17)


@pytest.mark.parametrize("what", ["bytes", "truncated", "directory", "empty", "other", "longer"])
def test_an_older_file_is_compared_with_and_not_believed(
    what: str, tmp_path: Path, kept: Kept
) -> None:
    tree = {"a": np.arange(1 << 18), "b": np.arange(1 << 10)}
    like = tmp_path / "like"
    _container.write(tree, like, durable=False)
    data = bytearray(like.read_bytes())
    for at in (5, 1000, 300_001, 1 << 20):
        if what == "bytes":
            data[at] ^= 16
    if what == "directory":
        data[-40] ^= 1
    cases: dict[str, bytes] = {
        "truncated": bytes(data[:100_001]),
        "empty": b"",
        "other": os.urandom(3 << 20),
        "longer": bytes(data) + b"more" * 100_000,
    }
    like.write_bytes(cases.get(what, bytes(data)))
    shared = both(tree, tmp_path, like)
    assert not _container.verify(shared)


def test_an_older_file_that_cannot_be_read_is_not_shared_with(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"a": np.arange(1 << 18)}
    like = tmp_path / "like"
    _container.write(tree, like, durable=False)

    def fails(*args: Any) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reflink._Sharing, "_is_read", fails)
    both(tree, tmp_path, like)
    assert kept == [0]


def test_an_older_file_need_not_be_there(tmp_path: Path, kept: Kept) -> None:
    both({"a": np.arange(100)}, tmp_path, tmp_path / "gone")
    both({"a": np.arange(100)}, tmp_path, tmp_path)  # a folder
    assert kept == []


def test_what_cannot_be_shared_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counted(monkeypatch)
    monkeypatch.setattr(reflink, "clone", lambda old, new: False)
    like = tmp_path / "like"
    _container.write({"a": np.arange(1000)}, like)
    both({"a": np.arange(1000)}, tmp_path, like)
    assert counts == []


def test_an_open_file_is_written_to_as_ever(tmp_path: Path, kept: Kept) -> None:
    import io

    like = tmp_path / "like"
    _container.write({"a": np.arange(1000)}, like)
    target = io.BytesIO()
    _container.write({"a": np.arange(1000)}, target, like=like)
    assert target.getvalue() == like.read_bytes()
    assert kept == []


def test_an_error_leaves_nothing(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = tmp_path / "like"
    _container.write({"a": np.arange(1 << 20)}, like)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reflink._Sharing, "_put", full)
    with pytest.raises(OSError, match="No space left"):
        _container.write({"a": np.zeros(1 << 20)}, tmp_path / "new", like=like)
    assert [path.name for path in tmp_path.iterdir()] == ["like"]


# On a file system that shares (pytest --basetemp=FOLDER, with a folder on Btrfs or XFS).


def shared_bytes(path: Path) -> int:
    """How many bytes of a file lie in blocks that other files have, too (FS_IOC_FIEMAP)."""
    import fcntl

    many = 512
    with path.open("rb") as file:
        asked = struct.pack("=QQLLLL", 0, 2**64 - 1, 1, 0, many, 0) + bytes(56 * many)
        room = bytearray(asked)
        fcntl.ioctl(file, 0xC020660B, room, True)
    reported = bytes(room)
    (count,) = struct.unpack_from("=L", reported, 20)
    assert count < many
    extents = [struct.unpack_from("=QQQQQLLLL", reported, 32 + 56 * n) for n in range(count)]
    return sum(extent[2] for extent in extents if extent[5] & 0x2000)


def test_blocks_are_shared_where_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe: Callable[[int, int], bool] = reflink.clone
    (tmp_path / "one").write_bytes(b"1" * 8192)
    with (tmp_path / "one").open("rb") as old, (tmp_path / "two").open("wb") as new:
        if not probe(old.fileno(), new.fileno()):
            pytest.skip("this file system shares no blocks")
    rng = np.random.default_rng(0)
    tree = {f"x{n}": rng.random(1 << 18) for n in range(8)}
    like = tmp_path / "like"
    _container.write(tree, like)
    shared = tmp_path / "shared"
    tree["x3"] = tree["x3"] + 1
    _container.write(tree, shared, like=like)
    assert shared_bytes(shared) > 13 << 20  # of 16 MiB 2 are new
    _container.write(tree, tmp_path / "anew")
    assert shared.read_bytes() == (tmp_path / "anew").read_bytes()
    like.unlink()
    assert not _container.verify(shared)

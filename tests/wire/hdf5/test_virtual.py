"""Virtual datasets whose parts stand in the same file, against h5py; and such as are made to harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, FormatError, LimitError

h5py = pytest.importorskip("h5py")

ERAS: dict[str, dict[str, Any]] = {"1.10": {"libver": "v110"}, "latest": {"libver": "latest"}}


def source(name: str, shape: tuple[int, ...], **options: Any) -> Any:
    return h5py.VirtualSource(".", name, shape, **options)


def show(file: Any, name: str, shape: tuple[int, ...], dtype: str, parts: Any, fill: Any) -> None:
    layout = h5py.VirtualLayout(shape, dtype)
    for place, part in parts:
        layout[place] = part
    file.create_virtual_dataset(name, layout, fillvalue=fill)


def selected(file: Any, name: str, extents: tuple[int, ...], most: Any, parts: Any) -> None:
    """A virtual dataset by selections of HDF5's own."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    for ours, path, theirs in parts:
        plist.set_virtual(ours, b".", path, theirs)
    space = h5py.h5s.create_simple(extents, most)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plist)


def space(extents: tuple[int, ...], *slabs: Any, most: Any = None) -> Any:
    made = h5py.h5s.create_simple(extents, most or extents)
    for number, (start, stride, count, block) in enumerate(slabs):
        how = h5py.h5s.SELECT_OR if number else h5py.h5s.SELECT_SET
        made.select_hyperslab(start, count, stride, block, how)
    return made


ENDLESS = h5py.h5s.UNLIMITED


def every_kind(file: Any) -> None:
    chance = np.random.default_rng(1)
    for number in range(4):
        file[f"part/{number}"] = chance.standard_normal((5, 6)).astype("f4") + number
    file.create_dataset("c", data=np.arange(100).reshape(10, 10), chunks=(3, 4), compression="gzip")
    file["big"] = np.arange(6).astype(">i2")
    file["words"] = np.array([b"ab", b"c", b"def"])
    file["one"] = np.float32(7)
    file["soft"] = h5py.SoftLink("/part/3")
    every = [source(f"part/{number}", (5, 6)) for number in range(4)]
    show(file, "stack", (4, 5, 6), "f4", list(enumerate(every)), -1)
    rows = [(slice(5 * number, 5 * number + 5), every[number]) for number in range(3)]
    show(file, "with a hole", (20, 6), "f8", rows, 9.5)
    show(file, "strided", (5, 10), "i8", [(..., source("c", (10, 10))[::2])], 0)
    columns = [((slice(None), slice(0, 5, 2)), source("c", (10, 10))[:, 1:7:2])]
    show(file, "columns", (10, 5), "i2", columns, 5)
    show(file, "half", (4, 5, 3), "f4", [(n, part[:, 3:]) for n, part in enumerate(every)], 0)
    show(file, "gone", (5, 6), "f4", [(..., source("nowhere", (5, 6)))], 3)
    show(file, "of a virtual one", (4, 5, 6), "f4", [(..., source("stack", (4, 5, 6)))], 0)
    show(file, "other type", (6,), "f8", [(..., source("big", (6,)))], 0)
    show(file, "text", (3,), "S5", [(..., source("words", (3,)))], None)
    show(file, "by a soft link", (5, 6), "f4", [(..., source("soft", (5, 6)))], 0)
    show(file, "reshaped", (30,), "f4", [(..., every[0])], 0)
    whole = space((5, 6))
    pieces = space((8,), ((0,), None, (1,), (2,)), ((5,), None, (1,), (3,)))
    line = space((5, 6), ((0, 0), None, (1, 1), (1, 5)))
    selected(file, "irregular", (8,), None, [(pieces, b"part/2", line)])
    most = (ENDLESS, 5, 6)
    blocks = space((4, 5, 6), ((0, 0, 0), (1, 1, 1), (ENDLESS, 1, 1), (1, 5, 6)), most=most)
    selected(file, "numbered", (2, 5, 6), most, [(blocks, b"part/%b", whole)])
    file.create_dataset("grows", data=np.ones((3, 4), "f4"), maxshape=(None, 4), chunks=(2, 4))
    theirs = space((3, 4), ((0, 0), (1, 1), (1, 1), (ENDLESS, 4)), most=(ENDLESS, 4))
    ours = space((2, 4), ((1, 0), (1, 1), (1, 1), (ENDLESS, 4)), most=(ENDLESS, 4))
    selected(file, "endless", (2, 4), (ENDLESS, 4), [(ours, b"grows", theirs)])


@pytest.fixture(params=ERAS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "virtual.h5"
    with h5py.File(path, "w", **ERAS[request.param]) as file:
        every_kind(file)
    with h5py.File(path, "a") as file:  # an endless dataset shows what came later, too
        file["grows"].resize((6, 4))
        file["grows"][3:] = 2
    return path


def test_a_virtual_dataset_within_the_file_is_put_together(made: Path) -> None:
    count = 0
    with persist.open(made) as file, h5py.File(made) as rival:

        def compare(name: str, found: Any) -> None:
            nonlocal count
            if isinstance(found, h5py.Dataset) and found.is_virtual:
                mine, theirs = file.arrays[name], found[()]
                assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), name
                assert np.array_equal(np.asarray(mine), theirs), name
                for start in range(0, len(theirs), 2):
                    rows = np.asarray(mine[start : start + 3])
                    assert np.array_equal(rows, theirs[start : start + 3]), (name, start)
                count += 1

        rival.visititems(compare)
        assert file.structure["datasets"]["numbered"]["parts"] == ["part/%b"]
        assert file.structure["datasets"]["stack"]["layout"] == "virtual"
        assert not file.damage
    assert count == 14


def test_one_part_in_another_file_is_enough_to_refuse_it(tmp_path: Path) -> None:
    path = tmp_path / "leads.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(4)
        layout = h5py.VirtualLayout((8,), "i8")
        layout[:4] = source("x", (4,))
        layout[4:] = h5py.VirtualSource("secret.h5", "x", (4,))
        file.create_virtual_dataset("both", layout)
    with pytest.raises(FormatError, match=r"dataset 'both': .*other files \('secret.h5'\)"):
        persist.open(path)
    with persist.open(path, salvage=True) as file:
        assert list(file.arrays) == ["x"]


def test_virtual_datasets_that_show_themselves_end(tmp_path: Path) -> None:
    path = tmp_path / "ring.h5"
    with h5py.File(path, "w") as file:
        for one, other in (("a", "b"), ("b", "a"), ("self", "self")):
            show(file, one, (4,), "f4", [(..., source(other, (4,)))], 0)
        for number in range(40):
            show(file, f"c{number}", (4,), "f4", [(..., source(f"c{number + 1}", (4,)))], 0)
        most, part = (ENDLESS,), ((0,), (1,), (1,), (ENDLESS,))
        endless = space((4,), part, most=most)
        selected(file, "endless", (4,), most, [(endless, b"endless", endless)])
    with pytest.raises(DamagedFileError, match="show one another 16 deep"):
        persist.open(path)
    with persist.open(path, salvage=True) as file:
        for name in ("a", "b", "self", "c0"):
            with pytest.raises(DamagedFileError, match="show one another 16 deep"):
                np.asarray(file.arrays[name])
        assert np.asarray(file.arrays["c39"]).tolist() == [0, 0, 0, 0]


@pytest.mark.slow
def test_many_parts_that_show_many_parts_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "wide.h5"
    with h5py.File(path, "w") as file:
        file["x0"] = np.zeros(40, "u1")
        for number in range(12):
            parts = [(slice(i, i + 1), source(f"x{number}", (40,))[i : i + 1]) for i in range(40)]
            show(file, f"x{number + 1}", (40,), "u1", parts, 0)
    with persist.open(path) as file:
        with pytest.raises(LimitError, match="total"):
            np.asarray(file.arrays["x12"])
        with pytest.raises(LimitError, match="total"):
            np.asarray(file.arrays["x12"][:40])


def test_a_selection_that_was_tampered_with_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "sound.h5"
    with h5py.File(path, "w", libver="v110") as file:
        file["x"] = np.arange(12.0).reshape(3, 4)
        show(file, "v", (3, 4), "f8", [(slice(0, 2), source("x", (3, 4))[1:, :])], -1)
    data = path.read_bytes()
    start = data.index(b".\0x\0")
    failed = 0
    for place in range(start, start + 200):
        for value in (0, 1, 0xFF, 0x80):
            torn = bytearray(data)
            torn[place] = value
            try:
                with persist.open(bytes(torn), verify="never") as file:
                    found = np.asarray(file.arrays["v"])
                    assert found.shape == (3, 4)
            except (FormatError, KeyError) as error:
                failed += 1
                assert isinstance(error, KeyError) or str(error)
    assert failed > 100
    torn = bytearray(data)
    torn[start + 30] ^= 1
    with pytest.raises(DamagedFileError, match="checksum"):
        persist.open(bytes(torn))

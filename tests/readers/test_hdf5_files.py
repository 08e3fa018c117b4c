"""Plain HDF5 and PyTables through the public surface."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import FormatError

CORPUS = Path(__file__).parents[1] / "corpus" / "hdf5"
CASES = sorted(path.parent.name for path in CORPUS.glob("*/net.h5"))


@pytest.mark.parametrize("case", CASES)
def test_attributes_stand_next_to_what_they_belong_to(case: str) -> None:
    with persist.open(CORPUS / case / "net.h5") as file:
        assert file.format == "hdf5"
        assert file.scalars["@epoch"] == 12
        assert file.scalars["@comment"] == "second run, Säure"
        assert file.scalars["net/dense/W@units"] == "1"
        assert file.arrays["same"] is file.arrays["net/dense/W"]
        reported = json.loads(json.dumps(file.structure))
        assert reported["attributes"]["/"] == {"epoch": 12, "comment": "second run, Säure"}
        assert reported["datasets"]["net/dense/mask"]["filters"] == ["shuffle", "deflate"]


def test_the_two_eras_hold_the_same() -> None:
    old, new = (persist.open(CORPUS / case / "net.h5") for case in CASES)
    assert set(old.arrays) == set(new.arrays)
    for name in old.arrays:
        assert np.array_equal(old.arrays[name], new.arrays[name])
        assert old.arrays[name].dtype == new.arrays[name].dtype


def test_a_user_block_is_no_obstacle_and_a_zip_is_no_user_block() -> None:
    data = (CORPUS / "h5py-3.16-as-of-1.6" / "net.h5").read_bytes()
    with persist.open(bytes(2048) + data) as file:
        assert file.claim == "HDF5's signature at offset 2,048"
        assert file.structure["user_block"] == 2048
        assert "net/dense/W" in file.arrays
    with pytest.raises(FormatError):
        persist.open(b"PK\3\4" + bytes(508) + data)
    with pytest.raises(FormatError):
        persist.open(bytes(2000) + data)


def write(path: Path, fill: Any) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def test_pytables_is_named(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.attrs["PYTABLES_FORMAT_VERSION"] = np.bytes_(b"2.1")
        file["table"] = np.zeros(3, [("a", "i4"), ("b", "S2")])

    with persist.open(write(tmp_path / "t.h5", fill)) as file:
        assert file.format == "pytables"
        assert file.writer == {"pytables_format": "2.1"}
        assert file.arrays["table"].dtype.names == ("a", "b")


def test_an_attribute_and_a_dataset_of_one_name_are_both_kept(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file["@a"] = np.arange(2)
        file.attrs["a"] = 5

    with persist.open(write(tmp_path / "x.h5", fill)) as file:
        assert file.arrays["@a"].tolist() == [0, 1]
        assert file.scalars["@a~2"] == 5


def test_loading_gives_plain_arrays(tmp_path: Path) -> None:
    loaded = persist.load(CORPUS / "h5py-3.16-latest" / "net.h5")
    mask = loaded["net"]["dense"]["mask"]
    assert isinstance(mask, np.ndarray)
    assert mask.dtype == bool
    loaded["net"]["dense"]["W"][:] = 0


FILTERS = CORPUS / "h5py-3.16-filters"


def compare(wanted: Any) -> int:
    reported = json.loads((FILTERS / "expected.json").read_text())["arrays"]
    count = 0
    with persist.open(FILTERS / "filters.h5") as file:
        assert not file.damage
        for name, one in reported.items():
            if wanted(name):
                array = np.asarray(file.arrays[name])
                little = array.astype(array.dtype.newbyteorder("<"))
                assert (little.dtype.name, list(array.shape)) == (one["dtype"], one["shape"]), name
                assert hashlib.sha256(little.tobytes()).hexdigest() == one["sha256"], name
                count += 1
    return count


def needs(name: str) -> str:
    """The library that a dataset of the case needs; Blosc takes LZ4 where it is not stated."""
    for codec in ("lz4", "zstd"):
        if codec in name or (codec == "lz4" and name in ("blosc/noise", "blosc/zeros")):
            return codec
    return ""


def test_szip_blosc_and_bitshuffle_are_undone_without_their_libraries() -> None:
    assert compare(lambda name: not needs(name)) == 40


@pytest.mark.extra("lz4")
def test_blosc_and_bitshuffle_with_lz4() -> None:
    assert compare(lambda name: needs(name) == "lz4") == 18


@pytest.mark.extra("zstandard")
def test_blosc_and_bitshuffle_with_zstandard() -> None:
    assert compare(lambda name: needs(name) == "zstd") == 16


STORES = sorted(CORPUS.glob("pandas-*-store-*/run.h5.gz"))


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.parent.name)
def test_objects_of_pytables_are_what_they_were(path: Path) -> None:
    with persist.open(path) as file:
        assert file.format == "pytables"
        assert file.tree["words"] == file.tree["raw"] == ["Säure", "", "b"]
        assert file.tree["@settings"] == {"lr": 0.5, "layers": [8, 4]}
        assert file.tree["@nothing"] is None
        assert file.tree["@text"] == "ends in a stop."
        assert not file.damage
        json.dumps(file.structure)


@pytest.mark.packs
@pytest.mark.parametrize("path", STORES, ids=lambda path: path.parent.name)
def test_frames_of_an_hdfstore_are_shown_by_columns(path: Path) -> None:
    with persist.open(path) as file:
        for kept in ("fixed", "table"):
            assert file.arrays[f"{kept}/loss"].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
            assert file.arrays[f"{kept}/index"].tolist() == [0, 1, 2, 3, 4, 5]
        assert [file.scalars[f"fixed/name/{row}"] for row in range(3)] == ["a", "bc", "d"]
        assert np.asarray(file.arrays["table/name"]).tolist() == ["a", "bc", "d", "", "e", "f"]
        assert file.scalars["mixed/values/1"] == 3


@pytest.mark.packs
@pytest.mark.parametrize("path", STORES, ids=lambda path: path.parent.name)
def test_columns_of_an_hdfstore_are_read_when_they_are_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persist._wire.hdf5.dataset import Dataset

    read: list[str] = []
    whole = Dataset._whole
    monkeypatch.setattr(Dataset, "_whole", lambda self: (read.append(self.where), whole(self))[1])
    with persist.open(path) as file:
        found = file.arrays["table/loss"]
        assert not [where for where in read if "'table/table'" in where]
        assert np.asarray(found)[1] == 0.25
        assert [where for where in read if "'table/table'" in where]


def changed_store(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    """A store with one frame in the fixed format, after a change."""
    h5py = pytest.importorskip("h5py")
    target = tmp_path / "a.h5"
    target.write_bytes(gzip.decompress(STORES[-1].read_bytes()))
    with h5py.File(target, "a") as file:
        change(file)
    return target


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["fixed"].__delitem__("block0_values"),
        lambda file: file["fixed"].attrs.__setitem__("nblocks", 1),
        lambda file: file["fixed"].attrs.__setitem__("nblocks", "many"),
        lambda file: file["fixed"].attrs.__setitem__("axis1_variety", "other"),
        lambda file: file["fixed/block0_items"].__setitem__(0, b"zzzz"),
    ],
)
def test_a_store_of_an_unknown_layout_stays_as_it_is_stored(
    tmp_path: Path, change: Callable[[Any], None]
) -> None:
    with persist.open(changed_store(tmp_path, change)) as file:
        assert isinstance(file.tree["fixed"], dict)
        assert "shown as it is stored" in file.damage[0]
        assert isinstance(file.tree["table"], persist.Record)


def test_rows_that_are_no_pickle_are_reported(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["PYTABLES_FORMAT_VERSION"] = np.bytes_("2.1")
        file.attrs["bad"] = np.bytes_("(lp1.")
        rows = file.create_dataset("rows", (2,), h5py.vlen_dtype(np.uint8))
        rows[0] = np.frombuffer(b"\x80\x02K\x05.", np.uint8)
        rows[1] = np.frombuffer(b"\x80\x02K\x05", np.uint8)
        rows.attrs["PSEUDOATOM"] = np.bytes_("object")
    with persist.open(tmp_path / "a.h5") as file:
        assert file.tree["rows"] == [5, b"\x80\x02K\x05"]
        assert "row 1" in file.damage[0]
        assert file.tree["@bad"] in ("(lp1.", b"(lp1.")

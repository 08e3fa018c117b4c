"""Kinds of files from the test suites of other libraries (CPython, PyTorch, HDF5, SciPy, SQLite)."""

from __future__ import annotations

import datetime
import io
import marshal
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, FormatError, PersistError, UnknownFormatError

CASES = Path(__file__).parents[1] / "cases"
PARTS = CASES / "hdf5_foreign_parts"

LINE_ENDS = {
    "text": {"note": "one\r\ntwo", "w": [1.0, 2.0]},
    "an integer": [0x0A0D, 1, 2],
    "a longer integer": {"seed": 0x0A0D0001},
    "bytes": {"raw": b"\r\n"},
    "ten past one": {"when": datetime.datetime(2012, 5, 1, 13, 10, 0)},
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", LINE_ENDS)
def test_cr_lf_in_the_data_of_a_pickle(name: str, protocol: int) -> None:
    assert persist.open(pickle.dumps(LINE_ENDS[name], protocol)).tree == LINE_ENDS[name]


def test_a_transfer_in_text_mode_is_still_repaired() -> None:
    data = pickle.dumps({"a": [1, 2], "b": datetime.date(2012, 5, 1)}, 0).replace(b"\n", b"\r\n")
    file = persist.open(data)
    assert file.tree["a"] == [1, 2]
    assert "CR LF" in file.damage[0]


def test_flat_torchscript_of_an_old_version() -> None:
    file = persist.open(CASES / "torch_flat_old_version" / "version4.ff")
    assert {name: np.asarray(array).tolist() for name, array in file.arrays.items()} == {
        "w": [1.5, -2.0],
        "b": [0.25],
    }


@pytest.mark.parametrize("salvage", [False, True])
def test_a_link_of_a_users_own_kind_is_left_out_and_reported(salvage: bool) -> None:
    file = persist.open(PARTS / "user_link.h5", salvage=salvage)
    assert {name: np.asarray(array).tolist() for name, array in file.arrays.items()} == {
        "w": [1, 2],
        "z": [3],
    }
    (said,) = file.damage
    assert "link" in said
    assert "kind 187" in said


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("length", [65_535, 65_536, 200_000])
def test_a_long_name_of_a_link(tmp_path: Path, libver: str, length: int) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "long.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["x" * length] = [1.0]
        file["y"] = [2.0]
    assert sorted(map(len, persist.open(path).arrays)) == [1, length]


@pytest.mark.parametrize("name", ["family_earliest.h5", "family_latest.h5"])
def test_the_first_part_of_a_split_file_is_called_so(name: str) -> None:
    with pytest.raises(FormatError, match=r"one part of a file that was split.*h5repart") as caught:
        persist.open(PARTS / name)
    assert not isinstance(caught.value, DamagedFileError)


def test_a_long_double_of_twelve_bytes() -> None:
    values = np.asarray(persist.open(PARTS / "long_double_12.h5").arrays["x"])
    if np.finfo(np.longdouble).nmant == 63:
        assert values.dtype == np.longdouble
        assert values.tolist() == [1.5, -2, 1e300]
    else:  # no type of this machine holds it: the bytes, as they are
        assert values.dtype == "V12"


def zarr() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr(".zgroup", '{"zarr_format": 2}')
        out.writestr("w/.zarray", '{"zarr_format": 2, "shape": [2], "chunks": [2]}')
        out.writestr("w/0", struct.pack("<2d", 1.0, 2.0))
    return file.getvalue()


STATISTICS: Any = {("a.py", 1, "f"): (1, 1, 0.5, 0.5, {}), ("b.py", 2, "g"): (3, 3, 0.25, 0.5, {})}
SQLITE = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20"
NAMED = {
    "IDL": (b"SR\x00\x04" + bytes(60), "IDL"),
    "CDF-5": (b"CDF\x05" + bytes(60), "CDF-5"),
    "Zarr": (zarr(), "this is Zarr in a ZIP archive"),
    "pickle": (b"cbuiltins\nlist\n(X>\nabc\ntR.", "pickle of protocol 0 or 1.*builtins.list"),
    "SQLite": (SQLITE + bytes(84), "SQLite database that is cut off.*108 bytes.*4,096"),
    "marshal": (marshal.dumps(STATISTICS), "marshal"),
    "marshal, old": (marshal.dumps([STATISTICS] * 90, 1), "marshal"),
}


@pytest.mark.parametrize("name", NAMED)
def test_the_reason_of_a_refusal_names_the_format(name: str) -> None:
    data, words = NAMED[name]
    with pytest.raises(PersistError, match=words):
        persist.open(data)


@pytest.mark.parametrize("text", [b"cat\ndog\npig\n", b"column\nvalue\nnext\n"])
def test_words_in_lines_are_no_broken_pickle(text: bytes) -> None:
    with pytest.raises(UnknownFormatError) as caught:
        persist.open(text)
    assert "pickle" not in str(caught.value)

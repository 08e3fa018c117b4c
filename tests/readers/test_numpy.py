"""NumPy's files through the front door: genuine ones, what today's NumPy writes, damaged ones."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import persist
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.tree import LazyArray

CORPUS = Path(__file__).parents[1] / "corpus" / "numpy"
CASES = sorted(path for path in CORPUS.iterdir() if path.is_dir())


def saved(*arrays: Any) -> bytes:
    out = io.BytesIO()
    for array in arrays:
        np.save(out, array)
    return out.getvalue()


def zipped(save: Callable[..., None] = np.savez, /, *args: Any, **arrays: Any) -> bytes:
    out = io.BytesIO()
    save(out, *args, **arrays)
    return out.getvalue()


def archive(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def digest(array: Any) -> str:
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<")
    return hashlib.sha256(np.ascontiguousarray(array.astype(little)).tobytes()).hexdigest()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_genuine_files(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text())
    with persist.open(case / expected["file"]) as file:
        for name, reported in expected["arrays"].items():
            assert name in file.arrays
            assert list(file.arrays[name].shape) == reported["shape"]
            if "sha256" in reported:
                assert digest(file.arrays[name]) == reported["sha256"]
        for name, value in expected["scalars"].items():
            if not isinstance(value, dict):
                assert file.scalars[name] == value
        assert file.damage == []


def test_what_the_file_tells_of_its_writer() -> None:
    with persist.open(CORPUS / "numpy-1.6.2-py27-npy-object-dict" / "params_dict.npy") as file:
        assert file.writer == {"python": "2"}
    with persist.open(CORPUS / "numpy-1.17.5-py37-npy-v3-unicode-fields" / "mesures.npy") as file:
        assert file.writer == {"numpy": "1.17 or later"}
        assert file.structure["npy_version"] == [3, 0]
    with persist.open(saved(np.ones(2)).replace(b"(2,), }  ", b"(2L,), } ")) as file:
        assert file.writer == {"python": "2"}
        assert file.arrays[""].tolist() == [1, 1]
    objects = zipped(np.savez, o=np.array([None]), w=np.ones(2))
    with persist.open(objects) as file:
        assert file.writer["python"].startswith("3")


def test_python_2_strings_in_object_arrays_obey_py2_str() -> None:
    path = CORPUS / "numpy-1.6.2-py27-npy-object-dict" / "params_dict.npy"
    with persist.open(path, py2_str="bytes") as file:
        assert file.scalars["name"] == "café".encode()
    with persist.open(path, py2_str="latin-1") as file:
        assert file.scalars["name"] == "cafÃ©"


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10)
kinds = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.unicode_string_dtypes(),
)


@settings(max_examples=40)
@given(
    st.dictionaries(names.filter(lambda name: name != "file"), hnp.arrays(kinds, (2, 3))),
    st.sampled_from([np.savez, np.savez_compressed]),
)
def test_what_savez_writes_is_read(arrays: dict[str, Any], save: Callable[..., None]) -> None:
    with persist.open(zipped(save, **arrays)) as file:
        assert file.format == "npz"
        assert sorted(file.arrays) == sorted(arrays)
        for name, array in arrays.items():
            found = file.arrays[name]
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert np.asarray(found).tobytes() == array.tobytes()


def test_stored_members_are_views_of_the_map_and_compressed_ones_are_lazy(tmp_path: Path) -> None:
    big = np.arange(100_000.0).reshape(100, 1000)
    np.savez(tmp_path / "stored.npz", big=big)
    np.savez_compressed(tmp_path / "small.npz", big=big)
    with persist.open(tmp_path / "stored.npz") as file:
        stored = file.arrays["big"]
    assert isinstance(stored, np.ndarray)
    assert stored.base is not None
    assert not stored.flags.writeable
    assert np.array_equal(stored, big)  # after close: the map lives on
    with persist.open(tmp_path / "small.npz") as file:
        lazy = file.arrays["big"]
        assert isinstance(lazy, LazyArray)
        assert (lazy.shape, lazy.dtype, lazy.nbytes) == (big.shape, big.dtype, big.nbytes)
    assert np.array_equal(lazy[3:5], big[3:5])


def test_opening_a_compressed_archive_inflates_no_array(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    np.savez_compressed(path, a=np.zeros(4_000_000), b=np.ones(3))
    with persist.open(path, limits={"total": 100_000}) as file:
        assert file.arrays["a"].shape == (4_000_000,)
        assert np.asarray(file.arrays["b"]).tolist() == [1, 1, 1]
        with pytest.raises(LimitError, match="100,000"):
            np.asarray(file.arrays["a"])


def test_fortran_big_endian_and_structured_members() -> None:
    f = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    be = np.arange(4, dtype=">i8")
    table = np.ones(3, [("a", "<i4"), ("b", "S3")])
    for save in (np.savez, np.savez_compressed):
        with persist.open(zipped(save, f=f, be=be, table=table)) as file:
            assert np.asarray(file.arrays["f"]).flags.f_contiguous
            assert np.array_equal(file.arrays["f"], f)
            assert file.arrays["be"].dtype == ">i8"
            assert np.asarray(file.arrays["table"]).tolist() == table.tolist()


def test_odd_duplicate_and_foreign_members() -> None:
    one, two = saved(np.ones(2)), saved(np.zeros(3))
    with pytest.warns(UserWarning, match="Duplicate"):
        data = archive(
            ("W.npy", one),
            ("W.npy", two),
            ("W", saved(np.ones(5))),
            ("layer/0.npy", one),
            ("notes.txt", b"hello"),
            ("empty/", b""),
            ("ü ~.npy", two),
            ("nothing.npy", b""),
        )
    with persist.open(data) as file:
        shapes = {name: array.shape for name, array in file.arrays.items()}
        assert shapes == {"W": (2,), "W~2": (3,), "W~3": (5,), "layer/0": (2,), "ü ~": (3,)}
        assert file.scalars["notes.txt"] == b"hello"
        assert file.scalars["nothing"] == b""
        assert "empty/" not in file.scalars


def test_members_without_the_suffix_and_an_archive_of_nothing() -> None:
    with persist.open(archive(("W", saved(np.ones(2))), ("b", saved(np.ones(3))))) as file:
        assert sorted(file.arrays) == ["W", "b"]
    with persist.open(zipped()) as file:
        assert file.format == "npz"
        assert len(file.arrays) == 0


def test_object_arrays_in_an_archive() -> None:
    objects = np.array([{"lr": 0.1}, None], dtype=object)
    for save in (np.savez, np.savez_compressed):
        with persist.open(zipped(save, o=objects, w=np.ones(2))) as file:
            assert file.scalars["o/0/lr"] == 0.1
            assert file.scalars["o/1"] is None
            assert any("_reconstruct" in name for name in file.structure["globals"])


def test_several_arrays_in_a_row_and_pickles_among_them() -> None:
    with persist.open(saved(np.ones(2), np.zeros((2, 2)), np.float32(3))) as file:
        assert [file.arrays[str(index)].shape for index in range(3)] == [(2,), (2, 2), ()]
    data = saved(np.ones(2)) + pickle.dumps({"epoch": 3}) + saved(np.zeros(1))
    with persist.open(data) as file:
        assert file.scalars["1/epoch"] == 3
        assert file.arrays["2"].shape == (1,)


def test_what_follows_the_arrays_is_reported() -> None:
    with persist.open(saved(np.ones(2)) + b"\n") as file:
        assert file.arrays[""].tolist() == [1, 1]
        assert "1 byte follows the last array" in file.damage[0]
    two = saved(np.ones(2), np.ones(9))
    with persist.open(two[:-5]) as file:
        assert file.arrays[""].tolist() == [1, 1]
        assert "the one before it is whole" in file.damage[0]


def test_an_array_that_breaks_off() -> None:
    data = saved(np.arange(12).reshape(4, 3))[:-20]
    with pytest.raises(DamagedFileError, match=r"96 bytes are claimed, but 76 are left"):
        persist.open(data)
    with persist.open(data, salvage=True) as file:
        assert file.arrays[""].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
        assert "3 of 4 rows are whole" in file.damage[0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_that_breaks_off(save: Callable[..., None]) -> None:
    chance = np.random.default_rng(1)
    data = zipped(save, a=np.arange(300), b=chance.random(300), c=np.arange(9))
    cut = data[: data.rindex(b"PK\3\4") + 60]
    with pytest.raises(DamagedFileError, match=r"no directory at its end.*salvage=True"):
        persist.open(cut)
    with persist.open(cut, salvage=True) as file:
        assert np.asarray(file.arrays["a"]).tolist() == list(range(300))
        assert set(file.arrays) == {"a", "b"}
        assert "2 members are whole" in file.damage[0]


def test_a_member_shorter_than_its_shape() -> None:
    whole = saved(np.arange(100))
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as file:
            file.writestr("good.npy", saved(np.ones(2)))
            file.writestr("bad.npy", whole[:-8])
        with pytest.raises(DamagedFileError, match=r"member 'bad\.npy'.*800 bytes"):
            persist.open(out.getvalue())
        with persist.open(out.getvalue(), salvage=True) as opened:
            assert opened.arrays["good"].shape == (2,)
            assert "bad.npy" in opened.damage[0] or "99 of 100 rows" in opened.damage[0]


def test_verify_finds_a_flipped_byte_in_a_stored_member() -> None:
    data = bytearray(zipped(np.savez, a=np.zeros(100)))
    data[500] ^= 1
    with persist.open(data) as file:
        assert file.arrays["a"].shape == (100,)
    with pytest.raises(DamagedFileError, match="CRC"):
        persist.open(data, verify="always")


def test_a_flipped_byte_in_a_compressed_member_shows_when_it_is_read() -> None:
    chance = np.random.default_rng(1)
    data = bytearray(zipped(np.savez_compressed, a=chance.random(1000)))
    data[7000] ^= 1
    with persist.open(data) as file, pytest.raises(DamagedFileError, match=r"'a\.npy'"):
        np.asarray(file.arrays["a"])


def test_a_ranged_file_gives_the_same_and_says_when_it_was_closed(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    import fsspec

    arrays = {"w": np.arange(50_000), "b": np.ones(3)}
    files = fsspec.filesystem("memory")
    files.pipe("/runs/net.npz", zipped(np.savez, **arrays))
    with persist.open("memory://runs/net.npz") as file:
        lazy = file.arrays["w"]
        assert np.array_equal(np.asarray(file.arrays["b"]), arrays["b"])
    with pytest.raises(DamagedFileError, match="closed before"):
        np.asarray(lazy)


def test_wrapped_in_gzip_it_is_the_same() -> None:
    with persist.open(gzip.compress(zipped(np.savez, w=np.arange(5)))) as file:
        assert file.format == "npz"
        assert file.arrays["w"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_truncations_and_flips_give_a_format_error_or_a_tree(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text())
    data = (case / expected["file"]).read_bytes()
    chance = random.Random(8)
    lengths = range(len(data)) if len(data) < 500 else chance.sample(range(len(data)), 300)
    pieces = [data[:length] for length in lengths]
    for _ in range(300):
        copy = bytearray(data)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        pieces.append(bytes(copy))
    for piece in pieces:
        for salvage in (False, True):
            with contextlib.suppress(FormatError), persist.open(piece, salvage=salvage) as file:
                for array in file.arrays.values():
                    np.asarray(array)


def test_nothing_that_an_object_array_names_is_imported() -> None:
    pickled = b"cantigravity\nfly\n(tR."
    body = b"{'descr': '|O', 'fortran_order': False, 'shape': ()}"
    data = b"\x93NUMPY\1\0" + len(body).to_bytes(2, "little") + body + pickled
    with persist.open(data) as file:
        assert file.structure["globals"] == ["antigravity fly"]
    assert "antigravity" not in sys.modules

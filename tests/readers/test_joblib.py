"""joblib's dumps of all generations: what is in, behind and next to the pickle."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import DamagedFileError, FormatError, LimitError, UnknownFormatError
from persist.tree import Global, LazyArray, Record

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CORPUS = Path(__file__).parents[1] / "corpus" / "joblib"
SATELLITES = CORPUS / "joblib-0.8.4-py27-satellites"
COMPRESSED = CORPUS / "joblib-0.8.4-py27-znd-satellites"
WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"


class Writer(PickleWriter):
    """Writes as ``NumpyPickler`` does: a wrapper, and behind its BUILD the array."""

    def __init__(self, file: io.BytesIO, protocol: int, alignment: int | None) -> None:
        super().__init__(file.write, protocol)
        self.file, self.alignment = file, alignment

    def _save(self, value: Any) -> Iterator[Any] | None:
        if type(value) in (np.ndarray, np.matrix):
            return self.wrapped(value)
        return super()._save(value)

    def wrapped(self, array: np.ndarray[Any, Any]) -> Iterator[Any]:
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        state = {
            "subclass": Global("numpy", "matrix" if type(array) is np.matrix else "ndarray"),
            "shape": array.shape,
            "order": order,
            "dtype": array.dtype,
            "allow_mmap": not array.dtype.hasobject,
        }
        if self.alignment:
            state["numpy_array_alignment_bytes"] = self.alignment
        yield Record(WRAPPER, state)
        if array.dtype.hasobject:
            pickle.dump(np.asarray(array), self.file, 2)
            return
        if self.alignment:
            padding = self.alignment - (self.file.tell() + 1) % self.alignment
            self.file.write(bytes((padding,)) + b"\xff" * padding)
        self.file.write(np.asarray(array).tobytes(order))  # type: ignore[arg-type]


def dumped(value: Any, protocol: int = 3, alignment: int | None = 16) -> bytes:
    file = io.BytesIO()
    Writer(file, protocol, alignment).dump(value)
    return file.getvalue()


def packed(data: bytes, width: int = 19) -> bytes:
    return b"ZF" + hex(len(data)).encode().ljust(width) + zlib.compress(data)


def copied(case: Path, folder: Path) -> Path:
    shutil.copytree(case, folder / "case")
    return folder / "case"


# One file, arrays between the opcodes.


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("alignment", [None, 8, 16, 64])
def test_arrays_between_the_opcodes(protocol: int, alignment: int | None) -> None:
    value = {
        "W": np.arange(6.0).reshape(2, 3),
        "F": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        "objects": np.array([{"a": 1}, None, "x"], dtype=object),
        "empty": np.zeros((0, 3)),
        "zero": np.array(2.5),
        "matrix": np.array([[1, 2]]).view(np.matrix),
        "after": "still read",
    }
    with persist.open(dumped(value, protocol, alignment)) as file:
        assert file.format == "joblib"
        for name in ("W", "F", "empty", "zero"):
            found = np.asarray(file.arrays[name])
            assert found.dtype == value[name].dtype  # type: ignore[attr-defined]
            assert np.array_equal(found, value[name])  # type: ignore[call-overload]
        assert file.scalars["objects/0/a"] == 1
        assert isinstance(file.tree["matrix"], np.matrix)
        assert file.scalars["after"] == "still read"


@given(
    hnp.arrays(
        hnp.scalar_dtypes(),
        hnp.array_shapes(min_dims=0, min_side=0),
        elements={"allow_nan": False},
    ),
    st.sampled_from([None, 16]),
    st.sampled_from([0, 2, 4]),
)
def test_any_array_alone(array: np.ndarray[Any, Any], alignment: int | None, protocol: int) -> None:
    with persist.open(dumped(array, protocol, alignment)) as file:
        found = np.asarray(file.arrays[""])
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_a_large_array_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.joblib"
    path.write_bytes(dumped({"W": np.arange(1 << 16, dtype="f4")}))
    with persist.open(path) as file:
        array = file.tree["W"]
        assert not array.flags.writeable
        assert not array.flags.owndata
        assert array.ctypes.data % 16 == 0, "aligned in the file, aligned in the map"
    assert array[-1] == (1 << 16) - 1, "the map stays when the file is closed"
    with open(path, "rb") as opened, persist.open(opened, mmap=False) as file:
        assert file.arrays["W"].shape == (1 << 16,)


def test_a_remote_array_is_lazy() -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://lab/big.joblib", "wb") as target:
        target.write(dumped({"W": np.arange(1 << 16, dtype="f4"), "n": 1}))
    with persist.open("memory://lab/big.joblib") as file:
        assert isinstance(file.tree["W"], LazyArray)
        assert file.arrays["W"][5:7].tolist() == [5, 6]
        assert file.scalars["n"] == 1


def test_loaded_arrays_are_private(tmp_path: Path) -> None:
    path = tmp_path / "x.joblib"
    data = dumped({"W": np.zeros(4)})
    path.write_bytes(data)
    loaded = persist.load(path)
    loaded["W"][:] = 1
    assert path.read_bytes() == data


def test_several_dumps_in_one_file() -> None:
    data = b"".join(dumped({"W": np.full(2, number)}) for number in range(3))
    with persist.open(data) as file:
        assert [array.tolist() for array in file.arrays.values()] == [[0, 0], [1, 1], [2, 2]]
        assert list(file.arrays) == ["0/W", "1/W", "2/W"]
    with persist.open(data[:-1]) as file:
        assert list(file.arrays) == ["0/W", "1/W"]
        assert "the 2 before it are whole" in file.damage[0]


def test_an_array_that_stands_late_in_the_file() -> None:
    value = {"text": "x" * 100_000, "W": np.arange(3)}
    for protocol in (0, 2, 4):
        with persist.open(dumped(value, protocol)) as file:
            assert file.arrays["W"].tolist() == [0, 1, 2]


def test_one_array_at_two_places_stays_one() -> None:
    case = CORPUS / "joblib-0.8.4-py27-zcompressed"
    with persist.open(case / "model.pkl.z") as file:
        assert file.tree.same is file.tree.W


def test_a_shape_that_the_file_cannot_hold_costs_nothing() -> None:
    wrapper = {"shape": (1 << 40,), "order": "C", "dtype": np.dtype("f8"), "subclass": None}
    out = io.BytesIO()
    PickleWriter(out.write, 2).dump(Record(WRAPPER, wrapper))
    with pytest.raises(DamagedFileError, match="8,796,093,022,208 bytes"):
        persist.open(out.getvalue())


@pytest.mark.parametrize(
    "change", [{"shape": (-1,)}, {"shape": "x"}, {"dtype": "f8"}, {"order": "K"}, {"dtype": None}]
)
def test_a_wrapper_that_says_nothing_sound_is_refused(change: dict[str, Any]) -> None:
    state = {"shape": (1,), "order": "C", "dtype": np.dtype("f8"), "subclass": None, **change}
    out = io.BytesIO()
    PickleWriter(out.write, 2).dump(Record(WRAPPER, state))
    with pytest.raises(DamagedFileError, match="which array follows"):
        persist.open(out.getvalue() + bytes(64))


def test_wrappers_in_the_pickle_of_objects_in_a_wrapper_do_not_descend() -> None:
    """A file of wrappers in wrappers in wrappers must not take Python's stack."""
    head = io.BytesIO()
    state = {"shape": (1,), "order": "C", "dtype": np.dtype(object), "subclass": None}
    PickleWriter(head.write, 2).dump(Record(WRAPPER, state))
    with pytest.raises(FormatError):
        persist.open(head.getvalue()[:-1] * 5_000)


# Satellites.


@pytest.mark.packs
def test_satellites_are_mapped(tmp_path: Path) -> None:
    with persist.open(SATELLITES / "model.pkl") as file:
        assert file.format == "joblib"
        assert not file.tree.W.flags.owndata
        assert file.structure["satellites"][0] == "model.pkl_01.npy"
        assert any("joblib older than 0.10" in reported for reported in file.evidence)


@pytest.mark.packs
def test_a_missing_satellite_is_named_and_the_rest_is_readable(tmp_path: Path) -> None:
    folder = copied(SATELLITES, tmp_path)
    with persist.open(folder / "model.pkl") as file:
        whole = set(file.arrays)
    (folder / "model.pkl_03.npy").unlink()
    with persist.open(folder / "model.pkl") as file:
        (reported,) = file.damage
        assert "model.pkl_03.npy is missing" in reported
        lost = whole - set(file.arrays)
        assert len(lost) == 1
        assert file.scalars[f"{lost.pop()}/missing"] == "model.pkl_03.npy"
        assert file.scalars["name"] == "run7"


@pytest.mark.skipif(resource is None, reason="it counts POSIX descriptors")
def test_thousands_of_satellites_take_few_descriptors(tmp_path: Path) -> None:
    """A forest of 2014 lies in more files than a process may have open."""
    names = [f"m.pkl_{number:02d}.npy" for number in range(1, 401)]
    wrappers = [Record("joblib.numpy_pickle.NDArrayWrapper", {"filename": name}) for name in names]
    out = io.BytesIO()
    PickleWriter(out.write, 2).dump(wrappers)
    (tmp_path / "m.pkl").write_bytes(out.getvalue())
    for number, name in enumerate(names):
        np.save(tmp_path / name, np.full(20_000 if number % 2 else 2, float(number)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        with persist.open(tmp_path / "m.pkl") as file:
            assert not file.damage
            assert len(file.arrays) == 400
        assert [np.asarray(file.tree[number])[-1] for number in (0, 1, 399)] == [0, 1, 399]
        loaded = persist.load(tmp_path / "m.pkl")
        loaded[399][0] = -1
        assert loaded[399][1] == 399
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_satellite_of_no_npy_is_named(tmp_path: Path) -> None:
    folder = copied(SATELLITES, tmp_path)
    (folder / "model.pkl_02.npy").write_bytes(b"something else")
    (folder / "model.pkl_04.npy").write_bytes((folder / "model.pkl_04.npy").read_bytes()[:90])
    with persist.open(folder / "model.pkl") as file:
        assert len(file.damage) == 2
        assert "model.pkl_02.npy" in file.damage[0]
        assert "model.pkl_04.npy" in file.damage[1]


def test_files_that_were_renamed_together_find_each_other(tmp_path: Path) -> None:
    for path in COMPRESSED.glob("model.pkl*"):
        shutil.copy(path, tmp_path / path.name.replace("model.pkl", "best.jl"))
    with persist.open(tmp_path / "best.jl") as file, persist.open(COMPRESSED / "model.pkl") as old:
        assert not file.damage
        assert set(file.arrays) == set(old.arrays)
        assert file.structure["satellites"][0] == "best.jl_01.npy.z"


def test_bytes_alone_have_no_satellites() -> None:
    with persist.open((SATELLITES / "model.pkl").read_bytes()) as file:
        assert len(file.damage) == 15
        assert file.scalars["score"] == 0.875


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/secret.npy", "..\\secret.npy", "."])
def test_a_satellite_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.npy").write_bytes(b"")
    np.save(tmp_path / "secret.npy", np.ones(3))
    inner = tmp_path / "inner"
    inner.mkdir()
    out = io.BytesIO()
    wrapper = Record("joblib.numpy_pickle.NDArrayWrapper", {"filename": name, "subclass": None})
    PickleWriter(out.write, 2).dump([wrapper])
    (inner / "m.pkl").write_bytes(out.getvalue())
    with persist.open(inner / "m.pkl") as file:
        assert not list(file.arrays)
        assert "missing" in file.damage[0]


def test_a_satellite_that_names_itself_ends(tmp_path: Path) -> None:
    """An object array in a satellite is a plain pickle, whose wrappers mean nothing."""
    name = "m.pkl_01.npy"
    wrapper = Record("joblib.numpy_pickle.NDArrayWrapper", {"filename": name, "subclass": None})
    out = io.BytesIO()
    PickleWriter(out.write, 2).dump([wrapper])
    (tmp_path / "m.pkl").write_bytes(out.getvalue())
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    (tmp_path / name).write_bytes(head.getvalue() + out.getvalue())
    with persist.open(tmp_path / "m.pkl") as file:
        assert isinstance(file.tree[0][0], Record)


# ZF, and the ZIP.


@pytest.mark.parametrize("width", [19, 20])
def test_the_header_of_either_python(width: int) -> None:
    data = packed(pickle.dumps({"W": np.ones(3), "n": 1}, 2), width)
    with persist.open(data) as file:
        assert file.format == "joblib"
        assert file.claim == "begins with ZF, a length and a zlib stream"
        assert file.arrays["W"].tolist() == [1, 1, 1]


def test_a_length_that_is_not_what_is_inside_is_refused() -> None:
    data = packed(pickle.dumps([1, 2, 3], 2))
    wrong = b"ZF" + b"0x7".ljust(19) + data[21:]
    with pytest.raises(DamagedFileError, match="its header states 7 bytes, and more are inside"):
        persist.open(wrong)
    with pytest.raises(DamagedFileError):
        persist.open(data[:-6])


def test_a_bomb_is_refused() -> None:
    data = packed(bytes(64 << 20))
    with pytest.raises(LimitError, match="total"):
        persist.open(data, limits={"total": 1 << 20})


def test_a_compressed_satellite_alone_says_where_its_dtype_is() -> None:
    with pytest.raises(UnknownFormatError, match=r"its name ends before _01\.npy\.z"):
        persist.open(COMPRESSED / "model.pkl_01.npy.z")


def test_the_zip_finds_its_members(tmp_path: Path) -> None:
    path = CORPUS / "joblib-0.5.7-py27-zcompressed" / "model.jl"
    with persist.open(path) as file:
        assert "dump_file/joblib_dump.pkl" in file.claim
        assert file.structure["members"][0].startswith("dump_file/")
    other = tmp_path / "less.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            if not name.endswith("_02.npy"):
                new.writestr(name, old.read(name))
    with persist.open(other) as file:
        (reported,) = file.damage
        assert "joblib_dump.pkl_02.npy is missing" in reported


# Memory.


def cache(root: Path) -> Path:
    """A folder as ``Memory`` of 1.4 leaves it."""
    for function, call, value in (
        ("f", "0a1b", {"x": np.arange(3)}),
        ("f", "2c3d", {"x": np.arange(4)}),
        ("g", "4e5f", np.ones(2)),
    ):
        folder = root / "joblib" / "lab" / "steps" / function / call
        folder.mkdir(parents=True)
        (folder / "output.pkl").write_bytes(dumped(value))
        (folder / "metadata.json").write_text('{"duration": 0.5, "input_args": {"a": "3"}}')
        (folder.parent / "func_code.py").write_text("# first line: 1\n")
    return root


def test_a_folder_of_memory_is_named_by_its_folders(tmp_path: Path) -> None:
    root = cache(tmp_path / "cache")
    with persist.open(root) as file:
        assert file.format == "joblib-memory"
        assert list(file.arrays) == [
            "joblib/lab/steps/f/0a1b/x",
            "joblib/lab/steps/f/2c3d/x",
            "joblib/lab/steps/g/4e5f",
        ]
        entry = file.structure["entries"]["joblib/lab/steps/g/4e5f"]
        assert entry == {"duration": 0.5, "input_args": {"a": "3"}}
    with persist.open(root / "joblib" / "lab" / "steps" / "f") as file:
        assert list(file.arrays) == ["0a1b/x", "2c3d/x"]
    with persist.open(root / "joblib" / "lab" / "steps" / "f" / "2c3d") as file:
        assert list(file.arrays) == ["x"]


def test_a_broken_output_is_reported_and_the_others_are_readable(tmp_path: Path) -> None:
    root = cache(tmp_path / "cache")
    (root / "joblib/lab/steps/f/0a1b/output.pkl").write_bytes(b"\x80\x04broken")
    with persist.open(root) as file:
        assert list(file.arrays) == ["joblib/lab/steps/f/2c3d/x", "joblib/lab/steps/g/4e5f"]
        assert "joblib/lab/steps/f/0a1b" in file.damage[0]
    for path in root.rglob("output.pkl"):
        path.write_bytes(b"\x80\x04broken")
    with pytest.raises(FormatError):
        persist.open(root)


def test_a_folder_of_other_things_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "src" / "lab").mkdir(parents=True)
    (tmp_path / "src" / "lab" / "output.txt").write_text("x")
    with pytest.raises(UnknownFormatError):
        persist.open(tmp_path)


def test_a_folder_that_leads_into_itself_ends(tmp_path: Path) -> None:
    root = cache(tmp_path / "cache")
    (root / "joblib" / "again").symlink_to(root, target_is_directory=True)
    with persist.open(root) as file:
        assert file.arrays["joblib/lab/steps/g/4e5f"].tolist() == [1, 1]


def test_a_folder_of_memory_may_make_more_the_more_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persist._wire.base.limits.MIB", 16)  # 4 KiB in place of 256 MiB
    for call in range(20):
        folder = tmp_path / "joblib" / "lab" / "train" / f"{call:032x}"
        folder.mkdir(parents=True)
        data = pickle.dumps(np.random.default_rng(call).random(1000), 2)
        (folder / "output.pkl").write_bytes(zlib.compress(data))
    file = persist.open(tmp_path)
    assert len(file.arrays) == 20
    (folder / "output.pkl").write_bytes(zlib.compress(pickle.dumps(bytes(10_000_000), 4)))
    with pytest.raises(LimitError, match="total"):
        persist.open(tmp_path)

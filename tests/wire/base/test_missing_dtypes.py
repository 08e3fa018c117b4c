"""Types that only ml_dtypes knows: their elements never become integers where it is missing."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main
from persist._wire.base import ml_dtypes
from persist._wire.torch import storage
from persist.errors import MissingExtraError, RestoreError
from persist.readers import safetensors

CORPUS = Path(__file__).parents[2] / "corpus"
# 1.0, 2.0 as bfloat16; 1.0, 2.0 as float8_e4m3fn
HEADER = {
    "w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
    "q": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [4, 6]},
}
BITS = {"w": b"\x80\x3f\x00\x40", "q": b"\x38\x40"}


def clear_caches() -> None:
    ml_dtypes.extended.cache_clear()
    storage.dtype_of.cache_clear()
    safetensors._dtype_of.cache_clear()


@pytest.fixture(params=["with", "without"])
def has_library(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether ml_dtypes can be imported; both ways where it is installed."""
    if request.param == "with" and importlib.util.find_spec("ml_dtypes") is None:
        pytest.skip("ml_dtypes is not installed")
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    clear_caches()
    yield request.param == "with"
    monkeypatch.undo()
    clear_caches()


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    clear_caches()
    yield
    monkeypatch.undo()
    clear_caches()


def sample() -> bytes:
    header = json.dumps(HEADER).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + BITS["w"] + BITS["q"]


def only_bfloat16() -> bytes:
    header = json.dumps({"w": HEADER["w"]}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + BITS["w"]


def saved(tree: Any, format: str) -> bytes:
    out = io.BytesIO()
    persist.save(tree, out, format=format)
    return out.getvalue()


def is_lacking(name: str) -> bool:
    return name in ml_dtypes._WIDTHS


def cases() -> list[Any]:
    found = []
    for reported in sorted(CORPUS.glob("*/*/expected.json")):
        expected = json.loads(reported.read_text("utf-8"))
        arrays = expected.get("arrays")
        if isinstance(arrays, dict) and any(
            is_lacking(str(about.get("dtype"))) for about in arrays.values()
        ):
            found.append(pytest.param(reported, expected, id=reported.parent.name))
    return found


def file_of(reported: Path, expected: dict[str, Any]) -> Path:
    if "file" in expected:
        return reported.parent / expected["file"]
    if "files" in expected and len(expected["files"]) == 1:
        return reported.parent / expected["files"][0]
    files = [path for path in reported.parent.iterdir() if path.name not in ("expected.json",)]
    return files[0] if len(files) == 1 else reported.parent


@pytest.mark.packs
@pytest.mark.parametrize(("reported", "expected"), cases())
def test_genuine_files_without_the_library(
    reported: Path, expected: dict[str, Any], without_library: None
) -> None:
    with persist.open(file_of(reported, expected)) as file:
        names = [name for name, about in expected["arrays"].items() if is_lacking(about["dtype"])]
        assert names
        for name in names:
            kind, array = expected["arrays"][name]["dtype"], file.arrays[name]
            assert list(array.shape) == expected["arrays"][name]["shape"]
            bits = np.ascontiguousarray(ml_dtypes.encoded(array)).tobytes()
            if "sha256" in expected["arrays"][name]:
                assert hashlib.sha256(bits).hexdigest() == expected["arrays"][name]["sha256"]
            if kind == "bfloat16":
                values = np.asarray(array)
                assert values.dtype == np.float32
                halves = np.frombuffer(bits, "<u2").astype("<u4") << 16
                assert values.tobytes() == halves.tobytes()
            else:
                with pytest.raises(MissingExtraError, match=f"{kind}.*pip install"):
                    np.asarray(array)


@pytest.mark.parametrize("format", ["persist", "safetensors", "torch"])
def test_every_format_keeps_the_elements_and_their_type(format: str, has_library: bool) -> None:
    data = sample()
    for _ in range(2):  # what was written is written again
        with persist.open(data) as file:
            data = saved(dict(file.tree), format)
    with persist.open(saved(dict(persist.open(data).tree), "safetensors")) as file:
        assert {
            name: reported["dtype"] for name, reported in file.structure["tensors"].items()
        } == {name: reported["dtype"] for name, reported in HEADER.items()}
        for name, bits in BITS.items():
            assert ml_dtypes.encoded(file.arrays[name]).tobytes() == bits
            assert has_library == (file.arrays[name].dtype.name == "bfloat16" or (name == "q" and
                                   ml_dtypes.missing_name(file.arrays[name].dtype) == ""))  # fmt: skip
        assert np.asarray(file.arrays["w"]).astype("f4").tolist() == [1.0, 2.0]


@pytest.mark.parametrize("format", ["persist", "torch", "safetensors"])
def test_a_file_opens_and_names_what_cannot_be_read(format: str, without_library: None) -> None:
    data = saved(dict(persist.open(sample()).tree), format)
    with persist.open(data) as file:
        assert list(file.arrays) == ["w", "q"]
        assert "bfloat16, read as float32" in str(file)
        assert "float8_e4m3fn" in str(file)
        with pytest.raises(MissingExtraError, match="float8_e4m3fn"):
            np.asarray(file.arrays["q"])
    with pytest.raises(MissingExtraError, match="at 'q'.*float8_e4m3fn"):
        persist.load(data)


def test_bfloat16_is_filled_exactly_and_with_a_note(has_library: bool) -> None:
    target = {"w": np.zeros(2, "f4")}
    with pytest.raises(RestoreError, match="has dtype bfloat16, wanted is float32.*strict=False"):
        persist.restore(only_bfloat16(), target)
    report = persist.restore(only_bfloat16(), target, strict=False)
    assert report.notes == {"w": "bfloat16 became float32"}
    assert target["w"].tolist() == [1.0, 2.0]


def test_what_cannot_be_read_is_not_filled_and_nothing_else_either(without_library: None) -> None:
    target = {"w": np.zeros(2, "f4"), "q": np.zeros(2, "f4")}
    with pytest.raises(RestoreError, match="persist-state\\[torch\\]"):
        persist.restore(sample(), target)
    with pytest.raises(MissingExtraError, match="float8_e4m3fn"):
        persist.restore(sample(), target, strict=False)
    assert target["w"].tolist() == target["q"].tolist() == [0.0, 0.0]


def test_convert_keeps_types_or_says_what_is_missing(
    has_library: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all.safetensors").write_bytes(sample())
    (tmp_path / "half.safetensors").write_bytes(only_bfloat16())
    for ending in ("persist", "safetensors"):
        out = tmp_path / f"again.{ending}"
        made = ["convert", str(tmp_path / "all.safetensors"), "--to", ending, "--out", str(out)]
        assert main(made) == 0
        with persist.open(out) as file:
            assert ml_dtypes.encoded(file.arrays["q"]).tobytes() == BITS["q"]
            assert ml_dtypes.encoded(file.arrays["w"]).tobytes() == BITS["w"]
    if not has_library:
        out = tmp_path / "x.npz"
        convert = ["convert", str(tmp_path / "all.safetensors"), "--to", "npz", "--out", str(out)]
        assert main(convert) == 1
        assert "float8_e4m3fn" in capsys.readouterr().err
        assert not out.exists()
        convert[1] = str(tmp_path / "half.safetensors")
        assert main(convert) == 0
        with np.load(out) as arrays:
            assert arrays["w"].tolist() == [1.0, 2.0]


def test_upgrade_copies_the_elements(without_library: None, tmp_path: Path) -> None:
    source, to = tmp_path / "hf.safetensors", tmp_path / "out"
    source.write_bytes(sample())
    assert main(["upgrade", str(source), "--to", str(to)]) == 0
    (made,) = [path for path in to.rglob("*") if path.is_file()]
    with persist.open(made) as file:
        for name, bits in BITS.items():
            assert ml_dtypes.encoded(file.arrays[name]).tobytes() == bits


# pickle.dumps({"a": np.array([1, -2], bfloat16), "s": bfloat16(1.5)}, 2) and of a float8_e5m2,
# by NumPy 2.4 and ml_dtypes 0.6
PICKLED_BFLOAT16 = (
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01cnumpy._core.multiarray\n_reconstruct\nq\x02cnumpy\n"
    b"ndarray\nq\x03K\x00\x85q\x04c_codecs\nencode\nq\x05X\x01\x00\x00\x00bq\x06X\x06\x00\x00\x00"
    b"latin1q\x07\x86q\x08Rq\t\x87q\nRq\x0b(K\x01K\x02\x85q\x0ccnumpy\ndtype\nq\rcml_dtypes\n"
    b"bfloat16\nq\x0e\x89\x88\x87q\x0fRq\x10(K\x03X\x01\x00\x00\x00<q\x11NNNK\x02K\x02K@tq\x12b"
    b"\x89h\x05X\x06\x00\x00\x00\xc2\x80?\x00\xc3\x80q\x13h\x07\x86q\x14Rq\x15tq\x16bX\x01\x00"
    b"\x00\x00sq\x17cnumpy._core.multiarray\nscalar\nq\x18h\x10h\x05X\x03\x00\x00\x00\xc3\x80?q"
    b"\x19h\x07\x86q\x1aRq\x1b\x86q\x1cRq\x1du."
)
PICKLED_FLOAT8 = (
    b"\x80\x02cnumpy._core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02c"
    b"_codecs\nencode\nq\x03X\x01\x00\x00\x00bq\x04X\x06\x00\x00\x00latin1q\x05\x86q\x06Rq\x07"
    b"\x87q\x08Rq\t(K\x01K\x02\x85q\ncnumpy\ndtype\nq\x0bcml_dtypes\nfloat8_e5m2\nq\x0c\x89\x88"
    b"\x87q\rRq\x0e(K\x03X\x01\x00\x00\x00<q\x0fNNNK\x01K\x01K@tq\x10b\x89h\x03X\x03\x00\x00\x00"
    b"<\xc3\x80q\x11h\x05\x86q\x12Rq\x13tq\x14b."
)


def test_pickled_arrays_and_scalars(has_library: bool) -> None:
    found = persist.load(PICKLED_BFLOAT16)
    assert found["a"].astype("f4").tolist() == [1.0, -2.0]
    assert float(found["s"]) == 1.5
    if not has_library:
        assert found["a"].dtype == np.float32
        with pytest.raises(MissingExtraError, match="float8_e5m2"):
            persist.load(PICKLED_FLOAT8)
    with persist.open(PICKLED_FLOAT8) as file:
        assert ml_dtypes.encoded(file.arrays[""]).tobytes() == b"\x3c\xc0"


def test_mxnet(has_library: bool, tmp_path: Path) -> None:
    array = struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 2, 1, 0, 12) + b"\x80\x3f\x00\xc0"
    path = tmp_path / "x.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<Q", 0))
    with persist.open(path) as file:
        assert file.format == "mxnet"
        assert np.asarray(file.arrays["0"]).astype("f4").tolist() == [1.0, -2.0]


@pytest.mark.extra("h5py")
def test_floats_of_hdf5_and_opaque_bytes_of_keras(has_library: bool, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    kind = h5py.h5t.IEEE_F16LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        space = h5py.h5s.create_simple((2,))
        made = h5py.h5d.create(file.id, b"w", kind, space)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([0x3F80, 0xC000], "<u2"), kind, dxpl=None)
    with persist.open(tmp_path / "x.h5") as file:
        assert np.asarray(file.arrays["w"]).astype("f4").tolist() == [1.0, -2.0]
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        values = np.array([0x3F80, 0xC000], "<u2")
        for name, said, bits in (
            ("0", "bfloat16", values.view("V2")),
            ("1", "float8_e4m3fn", np.array([0x38, 0x40], "u1").view("V1")),
        ):
            made = file.create_dataset(f"layers/dense/vars/{name}", data=bits)
            made.attrs["dtype"] = said
        file["layers/dense/vars"].attrs["name"] = "head"
        file.create_group("vars")
    with persist.open(tmp_path / "x.weights.h5") as file:
        assert file.format == "keras-weights-h5"
        array = np.asarray(file.arrays["layers/dense/vars/0"])
        assert array.astype("f4").tolist() == [1.0, -2.0]
        narrow = file.arrays["layers/dense/vars/1"]
        if has_library:
            assert np.asarray(narrow).astype("f4").tolist() == [1.0, 2.0]
        else:
            with pytest.raises(MissingExtraError, match="float8_e4m3fn"):
                np.asarray(narrow)

"""Every format that is written is read back as it was; what it cannot hold is refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import persist
from persist._cli import main
from persist.errors import FormatError

CORPUS = Path(__file__).parents[1] / "corpus"
KINDS = ("<f4", "<f8", "<f2", "<i8", "<i4", "|u1", "|i1", "|b1")
SUFFIXES = {
    "mxnet": ".params",
    "hdf5": ".hdf5",
    "keras-h5": ".h5",
    "tensorflow": ".ckpt",
    "npz": ".npz",
    "safetensors": ".safetensors",
    "torch-zip": ".pt",
    "torch-legacy": ".pt",
}
WRITTEN = pytest.mark.parametrize(
    "format",
    [
        pytest.param(name, marks=pytest.mark.extra("h5py") if name in ("hdf5", "keras-h5") else ())
        for name in SUFFIXES
    ],
)

arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
names = st.from_regex(r"[a-z]{1,3}/[a-zA-Z_:0-9]{1,8}", fullmatch=True)


def same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@WRITTEN
@given(given_arrays=st.dictionaries(names, arrays, min_size=1, max_size=4))
def test_arrays_by_name_come_back(
    format: str, given_arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("written") / f"a{SUFFIXES[format]}"
    persist.save(given_arrays, target, format=format, durable=False)
    with persist.open(target, verify="always") as file:
        assert not file.damage
        assert set(file.arrays) == set(given_arrays)
        for name, array in given_arrays.items():
            assert same(file.arrays[name], array), name


@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize(
    "format", ["mxnet", "tensorflow", pytest.param("hdf5", marks=pytest.mark.extra("h5py"))]
)
def test_bfloat16_comes_back(format: str, tmp_path: Path) -> None:
    import ml_dtypes

    array = np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3)
    target = tmp_path / f"layers{SUFFIXES[format]}"
    persist.save({"layers/dense/vars/0": array}, target, format=format)
    with persist.open(target) as file:
        assert same(file.arrays["layers/dense/vars/0"], array)


@pytest.mark.parametrize("format", ["mxnet", "tensorflow"])
def test_a_type_that_a_format_lacks_is_refused_with_its_name(format: str, tmp_path: Path) -> None:
    target = tmp_path / f"a{SUFFIXES[format]}"
    with pytest.raises(FormatError, match="at 'odd'"):
        persist.save({"odd": np.array(["text"])}, target, format=format)
    assert not list(tmp_path.iterdir())


def test_npy_holds_one_array(tmp_path: Path) -> None:
    persist.save(np.arange(3), tmp_path / "a.npy", format="npy")
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    with pytest.raises(FormatError, match="holds one array, and here are 2"):
        persist.save({"a": np.arange(3), "b": np.arange(2)}, tmp_path / "b.npy", format="npy")


def test_a_checkpoint_of_tensorflow_needs_a_path() -> None:
    with pytest.raises(FormatError, match="several files"):
        persist.save({"a": np.arange(3)}, io.BytesIO(), format="tensorflow")


def test_torchs_legacy_stream_shares_storages(tmp_path: Path) -> None:
    whole = np.arange(12, dtype="f4").reshape(3, 4)
    tree = {"whole": whole, "row": whole[1], "rate": 0.5}
    persist.save(tree, tmp_path / "a.pt", format="torch-legacy")
    assert (tmp_path / "a.pt").stat().st_size < 700  # one storage
    with persist.open(tmp_path / "a.pt") as file:
        assert file.format == "torch-legacy"
        assert same(file.arrays["row"], whole[1])
        assert file.tree["rate"] == 0.5


@pytest.mark.extra("h5py")
def test_weights_of_keras_keep_the_order_of_their_layers(tmp_path: Path) -> None:
    import h5py

    weights = {
        "b/b/kernel:0": np.ones((2, 2), "f4"),
        "b/b/bias:0": np.ones(2, "f4"),
        "a/w": np.ones(1),
    }
    persist.save(weights, tmp_path / "w.h5", format="keras-h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert [name.decode() for name in file.attrs["layer_names"]] == ["b", "a"]
        assert [name.decode() for name in file["b"].attrs["weight_names"]] == [
            "b/kernel:0",
            "b/bias:0",
        ]
    with persist.open(tmp_path / "w.h5") as file:
        assert file.format == "keras-weights-h5"
        assert list(file.structure["weight_names"]["b"]) == ["b/kernel:0", "b/bias:0"]
    with pytest.raises(FormatError, match="names no layer"):
        persist.save({"alone": np.ones(1)}, tmp_path / "x.h5", format="keras-h5")


@pytest.mark.extra("h5py")
def test_names_beyond_an_attribute_are_cut_into_pieces(tmp_path: Path) -> None:
    weights = {f"layer_with_quite_a_long_name_{n:05}/w": np.ones(1, "f4") for n in range(3000)}
    persist.save(weights, tmp_path / "w.h5", format="keras-h5")
    with persist.open(tmp_path / "w.h5") as file:
        assert file.structure["layer_names"] == [name.partition("/")[0] for name in weights]


@pytest.mark.parametrize("to", ["mxnet", "tensorflow", "npz", "torch-legacy"])
def test_the_command_converts_old_weights(to: str, tmp_path: Path) -> None:
    source = CORPUS / "keras" / "keras-1.2.2-py27-cnn-weights" / "weights.h5"
    target = tmp_path / f"out{SUFFIXES[to]}"
    assert main(["convert", str(source), "--to", to, "--out", str(target)]) == 0
    with persist.open(source) as old, persist.open(target) as new:
        assert set(new.arrays) == set(old.arrays)
        assert all(same(new.arrays[name], old.arrays[name]) for name in old.arrays)
    assert main(["convert", str(source), "--to", to, "--out", str(target)]) == 1  # it is there

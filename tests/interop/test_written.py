"""What persist writes, the genuine libraries read: each where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(3)
ARRAYS: dict[str, Any] = {
    "dense/kernel": RNG.normal(size=(3, 4)).astype("f4"),
    "dense/bias": np.arange(4, dtype="f8"),
    "steps": np.array([7, 8], "i8"),
    "half": np.ones((2, 1, 2), "f2"),
}


def test_torch_reads_the_legacy_stream(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    persist.save({**ARRAYS, "rate": 0.5}, tmp_path / "a.pt", format="torch-legacy")
    found = torch.load(str(tmp_path / "a.pt"))
    assert found["rate"] == 0.5
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name].numpy(), array)


def test_tensorflow_reads_checkpoints(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    persist.save(ARRAYS, tmp_path / "model.ckpt", format="tensorflow")
    reader = tf.train.load_checkpoint(str(tmp_path / "model.ckpt"))
    assert set(reader.get_variable_to_shape_map()) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(reader.get_tensor(name), array)
    variable = tf.Variable(np.zeros((3, 4), "f4"))
    saver = tf.compat.v1.train.Saver({"dense/kernel": variable})
    saver.restore(None, str(tmp_path / "model.ckpt"))
    assert np.array_equal(variable.numpy(), ARRAYS["dense/kernel"])


def test_mxnet_reads_params(tmp_path: Path) -> None:
    mx = pytest.importorskip("mxnet")
    persist.save(ARRAYS, tmp_path / "a.params", format="mxnet")
    found = mx.nd.load(str(tmp_path / "a.params"))
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name].asnumpy(), array)


def test_h5py_reads_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    persist.save(ARRAYS, tmp_path / "a.hdf5", format="hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        for name, array in ARRAYS.items():
            assert np.array_equal(file[name][...], array)


def test_keras_reads_weights_of_both_layouts(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    def model() -> Any:
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((5,)), layers.Dense(4, name="one"), layers.Dense(2, name="two")]
        )

    source, numbered, named = model(), model(), model()
    source.save(str(tmp_path / "model.keras"))
    with persist.open(tmp_path / "model.keras") as file:
        arrays = {name: np.asarray(array) for name, array in file.arrays.items()}
    persist.save(arrays, tmp_path / "again.weights.h5", format="hdf5")
    numbered.load_weights(str(tmp_path / "again.weights.h5"))
    legacy = {
        f"{layer.name}/{layer.name}/{role}:0": np.asarray(weight)
        for layer in source.layers
        for role, weight in zip(("kernel", "bias"), layer.get_weights(), strict=True)
    }
    persist.save(legacy, tmp_path / "legacy.h5", format="keras-h5")
    named.load_weights(str(tmp_path / "legacy.h5"))
    for one in (numbered, named):
        for own, other in zip(one.get_weights(), source.get_weights(), strict=True):
            assert np.array_equal(own, other)

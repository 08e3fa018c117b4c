"""`restore` with a genuine Keras, on whichever backend is here: its models take what files hold."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import RestoreError

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

CORPUS = Path(__file__).parents[1] / "corpus"

for backend in ("torch", "tensorflow", "jax"):
    if importlib.util.find_spec(backend) is not None:
        os.environ.setdefault("KERAS_BACKEND", backend)


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def same(model: Any, other: Any) -> bool:
    return all(
        np.array_equal(np.asarray(one), np.asarray(two))
        for one, two in zip(model.get_weights(), other.get_weights(), strict=True)
    )


def cnn(keras: Any, channels: int, outputs: int = 2) -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((8, 8, 1) if channels == 4 else (6, 6, 1)),
        layers.Conv2D(channels, 3, name="conv_a"),
        layers.BatchNormalization(name="bn_a"),
        layers.MaxPooling2D(name="pool"),
        layers.Dropout(0.5),
        layers.Flatten(name="flat"),
        layers.Dense(outputs, name="head"),
    ])  # fmt: skip


def recurrent(keras: Any) -> Any:
    layers = keras.layers
    inside = keras.Sequential([keras.Input((8,)), layers.Dense(3, name="enc")], name="encoder")
    start = keras.Input((5,), dtype="int32")
    hidden = layers.Embedding(11, 3, name="words")(start)
    hidden = layers.Bidirectional(layers.LSTM(4), name="both")(hidden)
    return keras.Model(start, layers.Dense(1, name="out")(inside(hidden)))


def attention(keras: Any) -> Any:
    start = keras.Input((5, 3))
    return keras.Model(start, keras.layers.MultiHeadAttention(2, 4, name="mha")(start, start))


MODELS = {"cnn": lambda keras: cnn(keras, 3), "recurrent": recurrent, "attention": attention}


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
@pytest.mark.parametrize("kind", MODELS)
def test_what_keras_writes_fills_a_fresh_model(
    kind: str, suffix: str, keras: Any, tmp_path: Path
) -> None:
    source, target = MODELS[kind](keras), MODELS[kind](keras)
    path = str(tmp_path / f"model{suffix}")
    source.compile(optimizer="adam", loss="mse")
    source.optimizer.build(source.trainable_variables)
    source.save_weights(path) if "weights" in suffix else source.save(path)
    assert not same(source, target)
    report = persist.restore(path, target)
    assert report.is_complete, report
    assert same(source, target)


@pytest.mark.parametrize(
    ("case", "channels", "size"),
    [("keras-2.0.9-py36-cnn-bn/cnn.h5", 3, 8), ("tfkeras-2.3.4-py38-cnn-weights/w.h5", 4, 6),
     ("keras-3.0.5-py311-legacy-h5/legacy.h5", 2, 6), ("keras-1.2.2-py27-cnn-weights/weights.h5", 3, 8)],
)  # fmt: skip
def test_genuine_old_files_fill_a_model_of_today(
    case: str, channels: int, size: int, keras: Any
) -> None:
    path = CORPUS / "keras" / case
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((size, size, 1)), layers.Conv2D(channels, 3, name="conv_a"),
        layers.BatchNormalization(name="bn_a"), layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flat"), layers.Dense(2, name="head"),
    ])  # fmt: skip
    report = persist.restore(path, model)
    assert report.is_complete, report
    with persist.open(path) as file:
        for name, source in report.filled.items():
            variable = next(w for w in model.weights if w.path.endswith(name))
            assert np.array_equal(np.asarray(variable.numpy()), file.arrays[source])


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_quantized_model_fills_another(
    mode: str, suffix: str, keras: Any, tmp_path: Path
) -> None:
    """Quantizing makes the kernels anew, behind the biases; saved they stand first."""
    layers = keras.layers

    def made(seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([
            keras.Input((16,)), layers.Dense(8), layers.EinsumDense("ab,bc->ac", 6), layers.Dense(4),
        ])  # fmt: skip
        if not hasattr(model, "quantize"):
            pytest.skip("this Keras does not quantize")
        model.quantize(mode)
        return model

    source, target = made(1), made(2)
    path = tmp_path / f"model{suffix}"
    (source.save if suffix == ".keras" else source.save_weights)(path)
    persist.restore(path, into=target)
    for one, other in zip(source.weights, target.weights, strict=True):
        assert np.array_equal(np.asarray(one.numpy()), np.asarray(other.numpy())), one.path


def test_a_new_head_on_an_old_network(keras: Any) -> None:
    path = CORPUS / "keras" / "keras-2.0.9-py36-cnn-bn" / "cnn.h5"
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(3, 3, name="conv_a"),
        layers.BatchNormalization(name="bn_a"), layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flat"), layers.Dense(7, name="top"),
    ])  # fmt: skip
    with pytest.raises(RestoreError, match="top/kernel"):
        persist.restore(path, model)
    report = persist.restore(path, model, only=["conv_a/*", "bn_a/*"])
    assert sorted(report.filled) == [
        "bn_a/beta", "bn_a/gamma", "bn_a/moving_mean", "bn_a/moving_variance", "conv_a/bias",
        "conv_a/kernel",
    ]  # fmt: skip


def test_by_order_where_the_names_say_nothing(keras: Any) -> None:
    path = CORPUS / "keras" / "keras-0.3.3-py27-save-weights" / "my_model_weights.h5"
    layers = keras.layers
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8), layers.Dense(3)])
    assert persist.restore(path, model, match="order").is_complete
    with persist.open(path) as file:
        assert np.array_equal(model.get_weights()[2], file.arrays["layer_2/param_0"])


def test_a_numbered_archive_by_the_names_of_its_layers(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers

    def stack(*names: str) -> Any:
        return keras.Sequential([keras.Input((4,)), *(layers.Dense(4, name=one) for one in names)])

    source, target = stack("first", "second"), stack("new", "first")
    source.save(tmp_path / "a.keras")
    before = target.get_layer("new").get_weights()[0]
    persist.restore(tmp_path / "a.keras", target, strict=False)
    assert np.array_equal(
        target.get_layer("first").get_weights()[0], source.get_layer("first").get_weights()[0]
    )
    assert np.array_equal(target.get_layer("new").get_weights()[0], before)


def theanos_cnn(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((8, 7, 2)), layers.Conv2D(3, (3, 2), activation="tanh", name="conv_a"),
        layers.BatchNormalization(name="bn_a"), layers.Conv2D(3, 3, name="conv_b"),
        layers.GlobalAveragePooling2D(), layers.Dense(2, name="head"),
    ])  # fmt: skip


def theanos_gates(keras: Any) -> Any:
    layers = keras.layers
    gru = layers.GRU(3, return_sequences=True, reset_after=False)
    return keras.Sequential([
        keras.Input((6,)), layers.Embedding(11, 3, name="words"), layers.Conv1D(4, 3, name="line"),
        layers.LSTM(5, return_sequences=True, name="lstm"), layers.Bidirectional(gru, name="both"),
        layers.TimeDistributed(layers.Dense(3), name="each"), layers.Flatten(),
        layers.Dense(2, name="head"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("case", "make"),
    [("keras-1.2.2-py27-theano-cnn-th", theanos_cnn), ("keras-1.2.2-py27-theano-gates", theanos_gates)],
)  # fmt: skip
def test_a_network_of_theano_predicts_what_it_did(case: str, make: Any, keras: Any) -> None:
    model = make(keras)
    report = persist.restore(CORPUS / "keras" / case / "model.h5", model)
    assert report.is_complete, report
    assert any("kernel rotated" in note for note in report.notes.values())
    with np.load(CORPUS / "keras" / case / "predicted.npz") as reported:
        x = reported["x"].transpose(0, 2, 3, 1) if reported["x"].ndim == 4 else reported["x"]
        assert np.allclose(model.predict(x, verbose=0), reported["y"], atol=1e-5)

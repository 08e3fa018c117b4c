"""Models of every Keras live again in Keras 3, and predict what the genuine old release predicted."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main
from persist.errors import ChoiceWarning, RestoreError, UntrustedError

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

TOP = Path(__file__).parents[2]
FOUNDRY = TOP / "tests" / "foundry" / "keras"
CORPUS = TOP / "tests" / "corpus" / "keras"

for backend in ("torch", "tensorflow", "jax"):
    if importlib.util.find_spec(backend) is not None:
        os.environ.setdefault("KERAS_BACKEND", backend)

spec = importlib.util.spec_from_file_location("keras_outcomes", FOUNDRY / "outcomes.py")
assert spec is not None
assert spec.loader is not None
outcomes = sys.modules["keras_outcomes"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(outcomes)


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras", minversion="3")


def case_of(release: str, name: str) -> Any:
    return next(case for case in outcomes.cases(release) if case.name == name)


@pytest.mark.parametrize("release", outcomes.releases())
def test_predictions_are_those_of_the_old_release(release: str, keras: Any, tmp_path: Path) -> None:
    table = outcomes.table()
    for case in outcomes.cases(release):
        assert outcomes.outcome(case, tmp_path) == table[release, case.name], case.name


# One of each kind of composition, and the most common networks.
CONVERTED = {
    "keras-1.2.2-theano": (
        *(
            "cnn-th",
            "lstm",
            "highway",
            "maxout-dense",
            "locally-connected1d",
            "conv2d-th-same-2-stride2",
        ),
        *(
            "merge-sequential-cos",
            "nested-functional",
            "activation-hard_sigmoid",
            "bidirectional-sum",
        ),
    ),
    "tf.keras-2.3.4": ("cnn-channels_last", "residual-add-op", "lstm-states", "thresholded-relu"),
}


@pytest.mark.parametrize(
    ("release", "name"), [(release, name) for release, own in CONVERTED.items() for name in own]
)
def test_the_archive_opens_in_safe_mode(
    release: str, name: str, keras: Any, tmp_path: Path
) -> None:
    case = case_of(release, name)
    (path,) = outcomes.written(case, tmp_path)
    target = tmp_path / "out.keras"
    assert main(["convert", str(path), "--to", "keras", "--out", str(target)]) == 0
    model = keras.saving.load_model(str(target), safe_mode=True)
    made = model(case.inputs if len(case.inputs) > 1 else case.inputs[0], training=False)
    for one, other in zip(made if isinstance(made, list) else [made], case.outputs, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5, atol=1e-5)


def test_an_architecture_takes_its_weights_from_another_file(
    keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = case_of("keras-0.3.3-theano", "lstm")
    architecture, weights = map(str, outcomes.written(case, tmp_path))
    target = str(tmp_path / "out.keras")
    assert main(["convert", architecture, "--to", "keras", "--out", target]) == 1
    assert "--weights" in capsys.readouterr().err
    assert (
        main(["convert", architecture, "--to", "keras", "--out", target, "--weights", weights]) == 0
    )
    model = keras.saving.load_model(target, safe_mode=True)
    found = np.asarray(model(case.inputs[0], training=False))
    np.testing.assert_allclose(found, case.outputs[0], rtol=1e-5, atol=1e-5)


def test_an_architecture_alone_is_a_model_with_a_warning(keras: Any) -> None:
    path = CORPUS / "keras-1.2.2-py27-json" / "model.json"
    with pytest.warns(ChoiceWarning, match="without weights"):
        model = persist.load(path)
    assert isinstance(model, keras.Model)


def test_the_optimizer_and_the_loss_are_those_of_the_file(keras: Any, tmp_path: Path) -> None:
    (path,) = outcomes.written(case_of("keras-1.2.2-theano", "compiled-rmsprop"), tmp_path)
    model = persist.load(path)
    assert type(model.optimizer).__name__ == "RMSprop"
    assert abs(float(model.optimizer.learning_rate) - 0.002) < 1e-6
    assert model.loss == "categorical_crossentropy"
    model.fit(np.ones((4, 5), "f4"), np.eye(3, dtype="f4")[[0, 1, 2, 0]], verbose=0)


def test_what_cannot_be_built_is_left_out_on_request(
    keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (
        '{"class_name": "Sequential", "keras_version": "1.2.2", "config": ['
        '{"class_name": "Dense", "config": {"name": "a", "output_dim": 2, "batch_input_shape": [null, 3]}},'
        '{"class_name": "SReLU", "config": {"name": "b"}},'
        '{"class_name": "Dense", "config": {"name": "c", "output_dim": 1}}]}'
    )
    (tmp_path / "m.json").write_text(config)
    weights = {
        "a/a_W": np.ones((3, 2), "f4"), "a/a_b": np.ones(2, "f4"),
        **{f"b/b_{name}": np.ones(2, "f4") for name in ("t_left", "a_left", "t_right", "a_right")},
        "c/c_W": np.ones((2, 1), "f4"), "c/c_b": np.ones(1, "f4"),
    }  # fmt: skip
    persist.save(weights, tmp_path / "w.h5", format="keras-h5")
    command = [
        *(
            "convert",
            str(tmp_path / "m.json"),
            "--to",
            "keras",
            "--weights",
            str(tmp_path / "w.h5"),
        ),
        *("--out", str(tmp_path / "out.keras")),
    ]
    assert main(command) == 1
    assert "layers/b" in capsys.readouterr().err
    assert main([*command, "--allow-partial"]) == 0
    assert "SReLU" in capsys.readouterr().out or (tmp_path / "out.npz").exists()
    model = keras.saving.load_model(str(tmp_path / "out.keras"), safe_mode=True)
    assert [layer.name for layer in model.layers] == ["a"]
    assert np.asarray(model(np.ones((1, 3), "f4"))).tolist() == [[4.0, 4.0]]
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == set(weights)


def test_custom_objects_are_made_by_name(keras: Any, tmp_path: Path) -> None:
    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    config = (
        '{"class_name": "Sequential", "keras_version": "2.1.6", "config": ['
        '{"class_name": "Twice", "config": {"name": "t", "batch_input_shape": [null, 3]}}]}'
    )
    (tmp_path / "m.json").write_text(config)
    with pytest.raises(RestoreError, match="Twice: no layer of Keras"):
        persist.load(tmp_path / "m.json")
    with keras.saving.custom_object_scope({"Twice": Twice}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = persist.load(tmp_path / "m.json")
    assert np.asarray(model(np.ones((1, 3), "f4"))).tolist() == [[2.0, 2.0, 2.0]]


def test_a_module_that_a_configuration_names_is_not_imported(keras: Any, tmp_path: Path) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('it was run')")
    config = (
        '{"class_name": "Sequential", "module": "keras", "keras_version": "3.1.0", "config": {"name": "s",'
        '"layers": [{"module": "evil_module", "class_name": "Evil", "config": {}, "registered_name": "E"}]}}'
    )
    (tmp_path / "m.json").write_text(config)
    with pytest.raises(UntrustedError, match=r"evil_module\.Evil"):
        persist.load(tmp_path / "m.json")
    assert "evil_module" not in sys.modules


def test_weights_by_class_and_number_fill_a_model_of_an_architecture(
    keras: Any, tmp_path: Path
) -> None:
    layers = keras.layers
    source = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, activation="relu"), layers.Dense(2)]
    )
    (tmp_path / "m.json").write_text(source.to_json())
    source.save_weights(str(tmp_path / "m.weights.h5"))
    model = persist.load(tmp_path / "m.json", weights=tmp_path / "m.weights.h5")
    for one, other in zip(model.get_weights(), source.get_weights(), strict=True):
        assert np.array_equal(one, other)

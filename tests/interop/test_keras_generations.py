"""Models of every Keras live again in Keras 3, and predict what the genuine old release predicted."""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
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
        found = keras.ops.convert_to_numpy(one)
        np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-5)


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
    found = keras.ops.convert_to_numpy(model(case.inputs[0], training=False))
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


RESUMED = sorted((FOUNDRY / "resumed").glob("*.tar.xz"))


@pytest.mark.parametrize("archive", RESUMED, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_a_run_goes_on_with_the_optimizer_of_the_file(
    archive: Path, keras: Any, tmp_path: Path
) -> None:
    """Two more steps give what they gave in the old release, or a warning says what is not known."""
    with tarfile.open(archive) as held:
        held.extractall(tmp_path, filter="data")
    refused = set()
    for path in sorted([*tmp_path.glob("*.h5"), *tmp_path.glob("*.keras")]):
        recorded = np.load(path.with_suffix(".npz"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = persist.load(path)
        texts = [str(one.message) for one in caught if one.category is ChoiceWarning]
        if any("variables of its optimizer stay in the file" in text for text in texts):
            refused.add(path.stem)
            assert int(model.optimizer.iterations) == 0
            continue
        # RMSprop, Adagrad and Adadelta of 2.1 keep no count of steps, and need none.
        keeps_none = (
            path.stem.endswith(("rmsprop", "adagrad", "adadelta")) and "2.1.6" in archive.name
        )
        assert int(model.optimizer.iterations) == (0 if keeps_none else 3)
        for _ in range(2):
            model.train_on_batch(recorded["x0"], recorded["t0"])
        found = model.predict(recorded["x0"], verbose=0)
        np.testing.assert_allclose(found, recorded["y0"], atol=1e-4, err_msg=path.name)
    # Keras 1.x kept them in an order that is in no file; three weights have one shape here.
    assert ("resumed-adam" in refused) == archive.name.startswith("keras-1.")
    assert "resumed-nadam" in refused


def test_the_optimizer_goes_into_the_archive(keras: Any, tmp_path: Path) -> None:
    (path,) = outcomes.written(case_of("keras-2.1.6-theano", "compiled-adam"), tmp_path)
    target = tmp_path / "out.keras"
    assert main(["convert", str(path), "--to", "keras", "--out", str(target)]) == 0
    again = keras.saving.load_model(str(target), safe_mode=True)
    live = persist.load(target)  # and ours of today's archive
    arrays = persist.open(path).arrays
    names = persist.open(path).structure["optimizer_weight_names"]
    first = np.asarray(arrays[f"optimizer_weights/{names[1]}"])
    assert first.any()
    for model in (again, live):
        assert int(model.optimizer.iterations) == int(
            np.asarray(arrays[f"optimizer_weights/{names[0]}"])
        )
        found = keras.ops.convert_to_numpy(model.optimizer._momentums[0])
        np.testing.assert_array_equal(found, first)


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
    made = keras.ops.convert_to_numpy(model(np.ones((1, 3), "f4")))
    assert made.tolist() == [[4.0, 4.0]]
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

"""Configurations of every Keras are upgraded as states; without Keras, on genuine files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._api import networks
from persist.errors import OpaqueWarning
from persist.ops import Op
from persist.registry import default_registry

TOP = Path(__file__).parents[2]
FOUNDRY = TOP / "tests" / "foundry" / "keras"
CORPUS = TOP / "tests" / "corpus" / "keras"

spec = importlib.util.spec_from_file_location("keras_outcomes", FOUNDRY / "outcomes.py")
assert spec is not None
assert spec.loader is not None
outcomes = sys.modules["keras_outcomes"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(outcomes)


def upgraded(path: Path) -> tuple[Any, Any]:
    """The record of a file's network today, and the plan."""
    with persist.open(path) as file:
        found = networks.found_in(file)
        assert found is not None
        return networks.plan_of(file, found)


# Each model of these is there in two formats, and their neighbours write the same.
TWICE = ("tf.keras-2.12.1", "tf.keras-2.13.1", "tf.keras-2.14.1", "keras-3.0.5-jax")


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(one, marks=pytest.mark.slow if one in TWICE else ())
        for one in outcomes.releases()
    ],
)
def test_each_case_is_upgraded_or_refused_as_the_table_says(release: str, tmp_path: Path) -> None:
    table = outcomes.table()
    found = {case.name: outcomes.planned(case, tmp_path) for case in outcomes.cases(release)}
    assert found == {name: text for (one, name), text in table.items() if one == release}


def test_names_and_kernels_of_keras_1_become_those_of_3(tmp_path: Path) -> None:
    record, plan = upgraded(CORPUS / "keras-1.2.2-py27-theano-gates" / "model.h5")
    assert not plan.problems
    kinds = {one.cls.name for one in record["layers"].values()}
    assert not kinds & {"Convolution2D", "Merge"}
    steps = " ".join(" ".join(entry.steps) for entry in plan)
    assert "'inner_activation' → 'recurrent_activation'" in steps


def case_of(release: str, name: str) -> Any:
    return next(case for case in outcomes.cases(release) if case.name == name)


def test_a_convolution_of_theano_is_moved_and_rotated(tmp_path: Path) -> None:
    case = case_of("keras-1.2.2-theano", "cnn-th")
    (path,) = outcomes.written(case, tmp_path)
    record, _ = upgraded(path)
    layer = next(one for one in record["layers"].values() if one.cls.name == "Conv2D")
    assert layer["filters"] == 3
    assert layer["kernel_size"] == [3, 3]
    assert layer["padding"] == "valid"
    assert layer["data_format"] == "channels_first"
    assert layer["strides"] == [1, 1]
    written = next(
        array for name, array in persist.open(path).arrays.items() if name.endswith("_W")
    )
    kernel = np.asarray(written)
    assert np.array_equal(
        layer["weights"]["kernel"], kernel[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
    )


def test_a_plan_shows_the_steps_of_each_layer(tmp_path: Path) -> None:
    (path,) = outcomes.written(case_of("keras-1.2.2-theano", "cnn-th"), tmp_path)
    plan = persist.explain(path)
    entry = next(one for one in plan if one.qualname == "keras.layers.Convolution2D")
    assert entry.today == "keras.layers.Conv2D"
    assert (entry.found, entry.to) == (2, 4)
    text = str(plan)
    assert "'nb_filter' → 'filters'" in text
    assert "'border_mode' → 'padding'" in text
    assert not plan.problems


def test_steps_are_ready_made_and_registered() -> None:
    from persist.packs import _gather

    pack = _gather.gather({"keras.layers.Layer"}, default_registry)
    steps = pack.migrations("keras.layers.Conv2D")
    assert set(steps) == {(1, 2), (2, 3), (3, 4)}
    assert all(isinstance(op, Op) and str(op) for step in steps.values() for op in step.ops)
    assert not [fault for fault in pack.faults() if "keras" in str(fault)]


def test_all_that_cannot_be_brought_over_is_listed_with_a_remedy(tmp_path: Path) -> None:
    config = {
        "class_name": "Sequential",
        "keras_version": "1.2.2",
        "config": [
            {"class_name": "SReLU", "config": {"name": "one", "batch_input_shape": [None, 4]}},
            {"class_name": "Mine", "config": {"name": "two"}},
            {
                "class_name": "Dense",
                "config": {"name": "three", "output_dim": 2, "activation": "odd"},
            },
            {"class_name": "BatchNormalization", "config": {"name": "four", "mode": 2}},
        ],
    }
    path = tmp_path / "model.json"
    path.write_text(json.dumps(config))
    plan = persist.explain(path)
    text = "\n".join(map(str, plan.problems))
    assert len(plan.problems) == 4
    for word in ("SReLU", "register_keras_serializable", "'odd'", "mode=2", "layers/four"):
        assert word in text


def test_without_keras_a_network_is_its_arrays_and_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    path = CORPUS / "keras-2.0.9-py36-cnn-bn" / "cnn.h5"
    with pytest.warns(OpaqueWarning, match="Keras cannot be imported"):
        tree = persist.load(path)
    assert tree["conv_a"]["conv_a"]["kernel:0"].shape == (3, 3, 1, 3)


def test_configurations_that_are_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    nested: Any = {"class_name": "Dense", "config": {"name": "x", "units": 1}}
    for _ in range(70):
        nested = {"class_name": "Sequential", "config": [nested]}
    path.write_text(json.dumps(nested))
    with pytest.raises(persist.errors.FormatError, match="nested too deep"):
        persist.explain(path)


def test_a_hard_sigmoid_without_its_weights_is_refused_with_a_remedy_that_works(
    tmp_path: Path,
) -> None:
    case = case_of("keras-0.3.3-theano", "lstm")
    architecture, weights = outcomes.written(case, tmp_path)
    with persist.open(architecture) as file, persist.open(weights) as other:
        alone, whole = networks.found_in(file), networks.found_in(file, other)
        assert alone is not None
        assert whole is not None
        _, plan = networks.plan_of(file, alone)
        assert "weights=" in str(plan.problems[0])
        _, plan = networks.plan_of(file, whole)
        assert not plan.problems


def test_convert_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from persist._cli import main

    weights = CORPUS / "keras-1.2.2-py27-cnn-weights" / "weights.h5"
    assert main(["convert", str(weights), "--to", "keras", "--out", str(tmp_path / "a.keras")]) == 1
    assert "no network of Keras" in capsys.readouterr().err


def test_the_matrix_of_the_page_is_of_these_outcomes() -> None:
    made = importlib.util.spec_from_file_location("make_keras", TOP / "docs" / "make_keras.py")
    assert made is not None
    assert made.loader is not None
    maker = importlib.util.module_from_spec(made)
    made.loader.exec_module(maker)
    assert maker.TARGET.read_text() == maker.page()


def test_what_a_file_does_not_say_is_reported_where_it_is_assumed(tmp_path: Path) -> None:
    """Keras 0.x wrote no backend; only layers that backends computed differently need it."""
    seen = {True: 0, False: 0}
    for case in outcomes.cases("keras-0.3.3-theano"):
        path, *others = outcomes.written(case, tmp_path)
        with persist.open(path) as file, persist.open((others or [path])[0]) as other:
            found = networks.found_in(file, other if others else None)
            assert found is not None
            is_assumed = any("Theano is assumed" in one for one in found.assumed)
            layers = str(file.structure["model"])
            assert is_assumed == any(
                part in layers for part in ("Conv", "Pooling", "Padding", "UpSampling")
            )
        seen[is_assumed] += 1
    assert all(seen.values())
    path, *_ = outcomes.written(case_of("keras-0.3.3-theano", "cnn-th"), tmp_path)
    plan = persist.explain(path)
    assert "Theano is assumed" in next(
        one.note for one in plan if one.qualname == "keras.Sequential"
    )


def test_layers_that_were_counted_twice_are_the_right_ones() -> None:
    """tf.keras 2.13 has ``dense``, ``dense_2``, ``dense_4``: told by what the file itself holds."""
    from persist._restore.keras_weights import _is_counted_twice

    top = "_layer_checkpoint_dependencies"
    assert _is_counted_twice([f"{top}/dense/vars/0", f"{top}/dense_2/vars/0"])
    assert not _is_counted_twice([f"{top}/dense/vars/0", f"{top}/dense_1/vars/0"])
    assert not _is_counted_twice(["layers/dense/vars/0", "layers/dense_2/vars/0"])

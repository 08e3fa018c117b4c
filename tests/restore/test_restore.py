"""restore into modules and networks, on stand-ins that look like torch's and Keras's."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import RestoreError

CORPUS = Path(__file__).parents[1] / "corpus"
KERAS = CORPUS / "keras"
MLP = CORPUS / "torch" / "torch-1.0.0-py27-mlp-params" / "mlp.params"
CHECKPOINT = CORPUS / "torch" / "torch-1.4.0-py36-checkpoint" / "checkpoint-3.pth"


# What looks like a module of torch.


class Module:
    """Keeps arrays under dotted names, and takes them all at once or not at all."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.held: OrderedDict[str, Any] = OrderedDict(
            (name.replace("__", "."), np.zeros(shape, "f4")) for name, shape in shapes.items()
        )
        self.loads = 0

    def state_dict(self) -> OrderedDict[str, Any]:
        return OrderedDict(self.held)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.keys() != self.held.keys():
            raise RuntimeError("missing or unexpected keys")
        self.loads += 1
        for name, array in state.items():
            if isinstance(array, np.ndarray):
                self.held[name][...] = array


def mlp() -> Module:
    return Module(
        hidden__weight=(8, 20), hidden__bias=(8,), output__weight=(10, 8), output__bias=(10,)
    )


def test_a_module_is_filled_through_its_own_door() -> None:
    module = mlp()
    weight = module.held["hidden.weight"]
    report = persist.restore(MLP, module)
    assert report.is_complete
    assert module.loads == 1
    with persist.open(MLP) as file:
        assert np.array_equal(weight, file.arrays["hidden.weight"])


def test_paths_and_dots_are_the_same(tmp_path: Path) -> None:
    source = {"features": [{"weight": np.ones((2, 3), "f4")}], "table": np.arange(3, dtype="f4")}
    persist.save(source, tmp_path / "a.persist")
    module = Module(features__0__weight=(2, 3), table=(3,))
    report = persist.restore(tmp_path / "a.persist", module)
    assert report.filled["features.0.weight"] == "features/0/weight"
    assert module.held["table"].tolist() == [0, 1, 2]


def test_a_prefix_that_is_in_the_way_is_named() -> None:
    module = mlp()
    with pytest.raises(RestoreError) as caught:
        persist.restore(CHECKPOINT, module)
    assert module.loads == 0
    remedy = caught.value.remedy or ""
    assert "match={'^(?!model/)': None, '^model/': ''} the names would fit" in remedy
    rules = eval(remedy.partition("match=")[2].partition("}")[0] + "}")
    assert persist.restore(CHECKPOINT, mlp(), match=rules).is_complete
    assert "model/hidden.weight" in caught.value.report.missing["hidden.weight"]


def test_none_in_rules_leaves_arrays_out() -> None:
    module = mlp()
    report = persist.restore(
        CHECKPOINT, module, match={r"^model/": "", r"^(optimizer|loss|history|rng_state)\b": None}
    )
    assert report.is_complete
    assert report.filled["output.bias"] == "model/output.bias"
    again = mlp()

    def rule(name: str) -> str | None:
        return name.removeprefix("model/") if name.startswith("model/") else None

    assert persist.restore(CHECKPOINT, again, match=rule).filled == report.filled
    assert np.array_equal(again.held["output.bias"], module.held["output.bias"])


def test_what_is_unexpected_is_reported_by_the_name_after_the_rules() -> None:
    module = Module(hidden__weight=(8, 20))
    with pytest.raises(RestoreError) as caught:
        persist.restore(CHECKPOINT, module, match={r"^model/": ""}, only=["hidden.*"])
    assert caught.value.report.unexpected == ["model/hidden.bias"]


def test_only_a_part_with_dots_or_slashes() -> None:
    for pattern in ("hidden.*", "hidden/*"):
        module = mlp()
        report = persist.restore(MLP, module, only=[pattern])
        assert sorted(report.filled) == ["hidden.bias", "hidden.weight"]
        assert not module.held["output.weight"].any()


def test_a_change_of_precision_is_reported_and_only_made_when_asked_for(tmp_path: Path) -> None:
    persist.save({"w": np.full((2,), 1.5), "n": np.ones(2, "i8")}, tmp_path / "a.persist")
    module = Module(w=(2,), n=(2,))
    with pytest.raises(RestoreError, match="precision alone is made with strict=False"):
        persist.restore(tmp_path / "a.persist", module)
    assert module.loads == 0
    report = persist.restore(tmp_path / "a.persist", module, strict=False)
    assert report.notes == {"w": "float64 became float32", "n": "int64 became float32"}
    assert report.is_complete
    assert "float64 became float32" in str(report)
    assert module.held["w"].tolist() == [1.5, 1.5]


def test_counters_that_old_files_lack_are_left(tmp_path: Path) -> None:
    persist.save({"bn.running_mean": np.ones(2, "f4")}, tmp_path / "a.persist")
    module = Module(bn__running_mean=(2,), bn__num_batches_tracked=())
    report = persist.restore(tmp_path / "a.persist", module)
    assert report.is_complete
    assert "0.4.1" in report.notes["bn.num_batches_tracked"]
    assert "left        bn.num_batches_tracked" in str(report)


def test_values_that_are_no_tensors_stay(tmp_path: Path) -> None:
    persist.save({"w": np.ones(2, "f4")}, tmp_path / "a.persist")
    module = Module(w=(2,))
    module.held["_extra_state"] = {"calls": 3}
    assert persist.restore(tmp_path / "a.persist", module).is_complete
    assert module.held["_extra_state"] == {"calls": 3}


def test_an_optimizer_is_refused_with_what_takes_it() -> None:
    class Optimizer:
        def state_dict(self) -> dict[str, Any]:
            return {"state": {}, "param_groups": [{"lr": 0.1}]}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    with pytest.raises(RestoreError, match="holds no tensors by name"):
        persist.restore(MLP, Optimizer())


def test_a_module_that_refuses_is_reported(tmp_path: Path) -> None:
    class Refuses(Module):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise RuntimeError("not today")

    persist.save({"w": np.ones(2, "f4")}, tmp_path / "a.persist")
    with pytest.raises(RestoreError, match="not today"):
        persist.restore(tmp_path / "a.persist", Refuses(w=(2,)))


# What looks like a model of Keras.


class Variable:
    """A weight: of Keras 3 with a path, of older ones with a name that ends in ``:0``."""

    def __init__(self, name: str, shape: tuple[int, ...], style: str = "path") -> None:
        if style == "path":
            self.path = name
        self.name = name if style != "path" else name.rpartition("/")[2]
        self.shape, self.dtype = shape, "float32"
        self.value = np.zeros(shape, "f4")

    def assign(self, value: Any) -> None:
        assert value.shape == self.shape
        self.value = np.array(value, "f4")


class Layer:
    def __init__(self, name: str, **weights: tuple[int, ...]) -> None:
        self.name = name
        self.weights = [Variable(f"{name}/{role}", shape) for role, shape in weights.items()]


class Dense(Layer):
    pass


class Conv2D(Layer):
    pass


class Conv2DTranspose(Conv2D):
    pass


class BatchNormalization(Layer):
    pass


class LSTM(Layer):
    pass


class Model:
    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)

    @property
    def weights(self) -> list[Variable]:
        return [one for layer in self.layers for one in layer.weights]

    def __getitem__(self, path: str) -> np.ndarray:
        return next(one.value for one in self.weights if one.path == path)


def dense(name: str, inputs: int, outputs: int) -> Dense:
    return Dense(name, kernel=(inputs, outputs), bias=(outputs,))


def cnn(channels: int, head: tuple[int, int], conv: str = "conv_a") -> Model:
    each = (channels,)
    return Model(
        Conv2D(conv, kernel=(3, 3, 1, channels), bias=each),
        BatchNormalization("bn_a", gamma=each, beta=each, moving_mean=each, moving_variance=each),
        Layer("pool"),
        dense("head", *head),
    )


@pytest.mark.parametrize(
    ("case", "channels", "head"),
    [
        ("keras-1.2.2-py27-cnn-weights/weights.h5", 3, (27, 2)),
        ("keras-2.0.9-py36-cnn-bn/cnn.h5", 3, (27, 2)),
        ("tfkeras-2.3.4-py38-cnn-weights/w.h5", 4, (16, 2)),
        ("keras-3.0.5-py311-legacy-h5/legacy.h5", 2, (8, 2)),
    ],
)
def test_names_of_all_releases_by_layer_and_role(
    case: str, channels: int, head: tuple[int, int]
) -> None:
    model = cnn(channels, head)
    report = persist.restore(KERAS / case, model)
    assert report.is_complete, report
    ends = {"kernel": ("kernel:0", "_W"), "moving_variance": ("moving_variance:0", "running_std")}
    for role, old in ends.items():
        name = next(name for name in report.filled if name.endswith(role))
        assert report.filled[name].endswith((f"/{role}", *old))
    with persist.open(KERAS / case) as file:
        for name, source in report.filled.items():
            assert np.array_equal(model[name], file.arrays[source])


@pytest.mark.parametrize(
    ("case", "names", "sizes"),
    [
        ("keras-1.2.2-py27-mlp-adam/my_model.h5", ("dense_1", "dense_2"), (6, 16, 4)),
        ("tfkeras-1.15.5-py37-mlp-sgd/my_model.h5", ("dense", "dense_1"), (6, 16, 4)),
        ("keras-3.0.5-py311-keras-mlp/model.keras", ("dense", "dense_1"), (6, 8, 4)),
    ],
)
def test_the_optimizer_of_a_whole_model_is_passed_over(
    case: str, names: tuple[str, str], sizes: tuple[int, int, int]
) -> None:
    model = Model(dense(names[0], *sizes[:2]), Layer("dropout"), dense(names[1], *sizes[1:]))
    report = persist.restore(KERAS / case, model)
    assert report.is_complete, report
    assert all(variable.value.any() or "bias" in variable.path for variable in model.weights)
    order = Model(dense("a", *sizes[:2]), dense("b", *sizes[1:]))
    assert persist.restore(KERAS / case, order, match="order").is_complete
    assert np.array_equal(order["b/kernel"], model[f"{names[1]}/kernel"])
    shape = Model(dense("b", *sizes[1:]), dense("a", *sizes[:2]))
    persist.restore(KERAS / case, shape, match="shape", strict=False)
    assert np.array_equal(shape["b/kernel"], model[f"{names[1]}/kernel"])


def test_by_class_and_number_where_a_file_has_no_names() -> None:
    path = KERAS / "keras-3.0.5-py311-weights-h5" / "cnn.weights.h5"
    model = cnn(2, (8, 2), conv="my_conv")
    report = persist.restore(path, model)
    assert report.is_complete, report
    assert report.filled["my_conv/kernel"] == "layers/conv2d/vars/0"
    assert report.filled["bn_a/moving_variance"] == "layers/batch_normalization/vars/3"


def test_object_checkpoints_of_tensorflow() -> None:
    path = CORPUS / "tensorflow" / "tf-2.3.4-py38-d2l-save-weights" / "mlp.params"
    model = Model(dense("hidden", 20, 32), dense("out", 32, 10))
    report = persist.restore(path, model)
    assert report.is_complete, report
    assert report.filled["out/kernel"] == "out/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    path = CORPUS / "tensorflow" / "tf-1.15.5-py37-object-checkpoint" / "ck-1"
    model = Model(dense("a", 4, 3), Layer("relu"), dense("b", 3, 2))
    report = persist.restore(path, model, match={"^step/": None})
    assert report.filled["b/bias"].startswith("model/layer_with_weights-1/bias/")
    assert report.is_complete, report


def test_graph_checkpoints_by_rules() -> None:
    path = CORPUS / "tensorflow" / "tf-1.4.1-py36-saver-mlp"
    model = Model(dense("hidden", 5, 8), dense("top", 8, 3))
    rules = {r"^out/": "top/", r"/Adam(_1)?$|^beta|^global_step": None}
    report = persist.restore(path, model, match=rules)
    assert report.filled["top/kernel"] == "out/weights"
    assert report.filled["top/bias"] == "out/biases"


def test_nested_models_and_names_with_slashes() -> None:
    path = KERAS / "tfkeras-2.3.4-py38-slash-nested" / "model.hdf5"
    inner = Model(
        dense("enc/dense", 4, 3),
        BatchNormalization("enc/bn", gamma=(3,), beta=(3,), moving_mean=(3,), moving_variance=(3,)),
    )
    inner.name = "encoder"  # type: ignore[attr-defined]
    model = Model(inner, dense("head/out", 3, 1))  # type: ignore[arg-type]
    report = persist.restore(path, model)
    assert report.is_complete, report
    assert report.filled["encoder/enc/dense/kernel"] == "encoder/enc/dense/kernel:0"


def test_a_part_of_a_network_and_what_misfits() -> None:
    path = KERAS / "keras-2.0.9-py36-cnn-bn" / "cnn.h5"
    model = cnn(3, (27, 5))
    with pytest.raises(RestoreError, match="head/kernel"):
        persist.restore(path, model)
    assert not any(variable.value.any() for variable in model.weights)
    report = persist.restore(path, model, only=["conv_a/*", "bn_a/*"])
    assert len(report.filled) == 6
    renamed = cnn(3, (27, 2), conv="first")
    assert persist.restore(path, renamed, match={"^conv_a/(conv_a/)?": "first/"}).is_complete


# Kernels.


def written(
    path: Path, layers: dict[str, dict[str, np.ndarray]], version: str = "2.2.4", backend: str = ""
) -> Path:
    """A file of weights, as ``save_weights_to_hdf5_group`` of Keras 2 writes it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        if backend:
            file.attrs["backend"] = backend.encode()
            file.attrs["keras_version"] = version.encode()
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [one.encode() for one in weights]
            for one, array in weights.items():
                group.create_dataset(one, data=array)
    return path


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


def test_kernels_of_theano_are_turned_by_half_a_circle(tmp_path: Path) -> None:
    kernel = numbered(3, 3, 2, 4)
    weights = {"c": {"c/kernel:0": kernel, "c/bias:0": np.ones(4, "f4")}}
    for backend, wanted in (("theano", kernel[::-1, ::-1]), ("tensorflow", kernel)):
        model = Model(Conv2D("c", kernel=(3, 3, 2, 4), bias=(4,)))
        report = persist.restore(written(tmp_path / backend, weights, backend=backend), model)
        assert np.array_equal(model["c/kernel"], wanted)
        assert ("kernel rotated" in report.notes.get("c/kernel", "")) == (backend == "theano")


def test_axes_of_theano_are_moved_where_the_shape_says_so(tmp_path: Path) -> None:
    kernel = numbered(4, 2, 3, 5)
    path = written(tmp_path / "a.h5", {"c": {"c_W": kernel, "c_b": np.ones(4, "f4")}})
    model = Model(Conv2D("c", kernel=(3, 5, 2, 4), bias=(4,)))
    report = persist.restore(path, model)
    assert np.array_equal(model["c/kernel"], kernel.transpose(2, 3, 1, 0))
    assert "axes were out, in, rows, columns" in report.notes["c/kernel"]
    assert "kernel not rotated" in report.notes["c/kernel"]
    path = written(
        tmp_path / "b.h5", {"c": {"c_W": kernel, "c_b": np.ones(4, "f4")}}, "1.2.2", "theano"
    )
    persist.restore(path, model)
    assert np.array_equal(model["c/kernel"], kernel[:, :, ::-1, ::-1].transpose(2, 3, 1, 0))


def test_a_genuine_network_of_theano_is_turned_into_todays_order() -> None:
    path = KERAS / "keras-1.2.2-py27-theano-cnn-th" / "model.h5"
    each = (3,)
    model = Model(
        Conv2D("conv_a", kernel=(3, 2, 2, 3), bias=each),
        BatchNormalization("bn_a", gamma=each, beta=each, moving_mean=each, moving_variance=each),
        Conv2D("conv_b", kernel=(3, 3, 3, 3), bias=each),
        dense("head", 3, 2),
    )
    report = persist.restore(path, model)
    assert report.is_complete, report
    with persist.open(path) as file:
        for name in ("conv_a", "conv_b"):  # b is square: only the file's configuration tells
            kernel = file.arrays[f"{name}/{name}_W"][()]
            wanted = kernel[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
            assert np.array_equal(model[f"{name}/kernel"], wanted)


def test_a_genuine_network_of_gates_goes_in_layer_by_layer() -> None:
    path = KERAS / "keras-1.2.2-py27-theano-gates" / "model.h5"
    both = Layer("both")
    both.weights = [
        Variable(f"both/{way}_gru/gru_cell/{role}", shape)
        for way in ("forward", "backward")
        for role, shape in {"kernel": (5, 9), "recurrent_kernel": (3, 9), "bias": (9,)}.items()
    ]
    model = Model(LSTM("lstm", kernel=(4, 20), recurrent_kernel=(5, 20), bias=(20,)), both)
    report = persist.restore(path, model, only=["lstm/*", "both/*"])
    assert len(report.filled) == 9
    with persist.open(path) as file:
        forget = file.arrays["lstm/lstm_b_f"][()]
    assert np.array_equal(model["lstm/bias"][5:10], forget)


def test_a_model_in_theanos_order_gets_it(tmp_path: Path) -> None:
    kernel = numbered(3, 5, 2, 4)
    path = written(tmp_path / "a.h5", {"c": {"c/kernel:0": kernel}}, backend="tensorflow")
    model = Model(Conv2D("c", kernel=(4, 2, 3, 5)))
    model.layers[0].dim_ordering = "th"  # type: ignore[attr-defined]
    persist.restore(path, model)
    assert np.array_equal(model["c/kernel"], kernel.transpose(3, 2, 0, 1))


def test_kernels_of_one_dimension_and_transposed_ones(tmp_path: Path) -> None:
    class Conv1D(Layer):
        pass

    line, wide = numbered(5, 1, 2, 4), numbered(3, 3, 2, 4)
    path = written(
        tmp_path / "a.h5", {"l": {"l_W": line}, "t": {"t_W": wide}}, "1.2.2", "tensorflow"
    )
    model = Model(Conv1D("l", kernel=(5, 2, 4)), Conv2DTranspose("t", kernel=(3, 3, 4, 2)))
    persist.restore(path, model)
    assert np.array_equal(model["l/kernel"], line[:, 0])
    assert np.array_equal(model["t/kernel"], wide.transpose(0, 1, 3, 2))


def test_a_dense_layer_is_never_turned(tmp_path: Path) -> None:
    kernel = numbered(3, 3)
    path = written(tmp_path / "a.h5", {"d": {"d/kernel:0": kernel}}, backend="theano")
    model = Model(Dense("d", kernel=(3, 3)))
    report = persist.restore(path, model)
    assert np.array_equal(model["d/kernel"], kernel)
    assert not report.notes


def test_gates_that_keras_1_kept_apart_are_joined(tmp_path: Path) -> None:
    parts = {}
    for number, gate in enumerate("icfo"):
        parts[f"r_W_{gate}"] = np.full((2, 3), number, "f4")
        parts[f"r_U_{gate}"] = np.full((3, 3), number, "f4")
        parts[f"r_b_{gate}"] = np.full(3, number, "f4")
    path = written(tmp_path / "a.h5", {"r": parts}, "1.2.2", "theano")
    model = Model(LSTM("r", kernel=(2, 12), recurrent_kernel=(3, 12), bias=(12,)))
    report = persist.restore(path, model)
    assert report.is_complete, report
    assert model["r/bias"].reshape(4, 3)[:, 0].tolist() == [0, 2, 1, 3]  # i, f, c, o
    assert report.filled["r/bias"] == "r/r_b_{i,f,c,o}"


def test_layers_whose_inner_names_changed_go_by_order(tmp_path: Path) -> None:
    weights = {"both": {"both/forward_gru_7/kernel:0": np.ones((2, 3), "f4"),
                        "both/backward_gru_7/kernel:0": np.full((2, 3), 2, "f4")}}  # fmt: skip
    layer = Layer("both")
    layer.weights = [
        Variable(f"both/{way}_gru/gru_cell/kernel", (2, 3)) for way in ("forward", "backward")
    ]
    model = Model(layer)
    assert persist.restore(written(tmp_path / "a.h5", weights, backend="tensorflow"), model)
    assert model["both/backward_gru/gru_cell/kernel"][0, 0] == 2


def test_weights_of_one_name_are_both_reported() -> None:
    model = Model(dense("d", 2, 2), dense("d", 2, 2))
    data = np.ones((2, 2), "f4")
    report = persist.restore(
        _bytes({"d/kernel": data, "d/bias": data[0]}), model, match="name", strict=False
    )
    assert sorted(report.missing) == ["d/bias~2", "d/kernel~2"]


def _bytes(tree: Any) -> bytes:
    import io

    out = io.BytesIO()
    persist.save(tree, out)
    return out.getvalue()


def test_names_in_a_file_never_reach_the_attributes_of_a_model() -> None:
    class Trap(Model):
        def __getattr__(self, name: str) -> Any:
            if re.fullmatch(r"__\w+__|_(non_)?trainable_\w+|dim_ordering|name|path|"
                            r"(non_)?trainable_weights|state_dict|assign|set_value", name):  # fmt: skip
                raise AttributeError(name)
            raise AssertionError(f"{name} was asked for")

    model = Trap(dense("d", 2, 2))
    file = _bytes({"delete_everything": {"vars": [np.ones((2, 2), "f4")]}})
    with pytest.raises(RestoreError):
        persist.restore(file, model)


CASES = Path(__file__).parents[1] / "cases" / "frameworks"


def rules_in(error: RestoreError) -> Any:
    """The rules that a remedy prints."""
    return eval(str(error.remedy).partition("match=")[2].partition("}")[0] + "}")


def linear(prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    return {f"{prefix}weight": np.zeros((2, 2), "f4"), f"{prefix}bias": np.zeros(2, "f4")}


@pytest.mark.parametrize(
    ("name", "prefix"), [("run.pt", ""), ("plain.pt", "net."), ("plain.pt", "a/b/")]
)
def test_the_rules_that_a_remedy_prints_work(name: str, prefix: str) -> None:
    target = linear(prefix)
    with pytest.raises(RestoreError, match="the names would fit") as caught:
        persist.restore(CASES / name, target)
    assert not target[f"{prefix}weight"].any()
    report = persist.restore(CASES / name, target, match=rules_in(caught.value))
    assert report.is_complete
    with persist.open(CASES / name) as file:
        source = report.filled[f"{prefix}weight"]
        assert np.array_equal(target[f"{prefix}weight"], np.asarray(file.arrays[source]))


def test_only_and_at_name_a_part_of_the_file() -> None:
    target = linear()
    rules = {r"^model/_orig_mod\.": ""}
    assert persist.restore(CASES / "run.pt", target, match=rules, only=["model/*"]).is_complete
    wrapped = linear("_orig_mod.")
    assert persist.restore(CASES / "run.pt", wrapped, at="model").is_complete
    assert np.array_equal(wrapped["_orig_mod.weight"], target["weight"])
    with pytest.raises(RestoreError, match="nothing at 'modle'.*'model', 'optimizer', 'step'"):
        persist.restore(CASES / "run.pt", target, at="modle")

"""How PyTorch's objects look without PyTorch: modules, quantized and sparse tensors, old spellings."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import FormatError
from persist.tree import Global, PersistentRef, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "torch"


def opened(name: str) -> persist.File:
    return persist.open(next(path for path in (CORPUS / name).iterdir() if path.suffix != ".json"))


def pickled(value: Any, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


def call(name: str, *args: Any, state: Any = None) -> Record:
    """What REDUCE of a function leaves in a pickle."""
    maker = Global(*name.rsplit(".", 1))
    record = Record(maker, maker=maker, kind="reduce", args=args)
    if state is not None:
        record.state = state
    return record


def stream(tree: Any, storages: Mapping[str, tuple[int, bytes]]) -> bytes:
    """torch.save's stream, after ``_legacy_save``."""
    data = b"".join(map(pickled, (0x1950A86A20F9469CFC6C, 1001, {}, tree, list(storages))))
    for count, raw in storages.values():
        data += count.to_bytes(8, "little") + raw
    return data


def storage(kind: str, key: str, count: int) -> PersistentRef:
    return PersistentRef(("storage", Global("torch", f"{kind}Storage"), key, "cpu", count, None))


def dense(kind: str, key: str, count: int, shape: tuple[int, ...] | None = None) -> Record:
    shape = (count,) if shape is None else shape
    strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    parts = (storage(kind, key, count), 0, shape, strides, False, OrderedDict())
    return call("torch._utils._rebuild_tensor_v2", *parts)


FLOATS = {"1": (4, np.arange(4, dtype="<f4").tobytes())}
LONGS = {"2": (2, np.array([5, 6], "<i8").tobytes())}
BYTES = {"3": (6, bytes(range(6)))}
ALL = {**FLOATS, **LONGS, **BYTES}


def names(tree: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    used = {key: what for key, what in ALL.items() if f"'{key}'" in repr(_pids(tree))}
    with persist.open(stream(tree, used)) as file:
        arrays = {name: np.asarray(array).tolist() for name, array in file.arrays.items()}
        return arrays, dict(file.scalars.items())


def _pids(tree: Any) -> list[Any]:
    found, todo, seen = [], [tree], set()
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, PersistentRef):
            found.append(value.pid[2:3])
        elif isinstance(value, Record):
            todo += [value.args, value.state, value.dictitems]
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list | tuple):
            todo += value
    return found


def module(cls: str = "lab.gone.Net", **fields: Any) -> Record:
    own = {"_parameters": OrderedDict(), "_buffers": OrderedDict(), "_modules": OrderedDict()}
    return Record(cls, {"training": True, "_hooks": {"h": 1}, **own, **fields}, kind="newobj")


def test_a_module_is_named_by_its_attributes_whatever_its_class() -> None:
    leaf = module(_parameters=OrderedDict(weight=dense("Float", "1", 4, (2, 2)), bias=None))
    root = module(
        cls="__main__.Net",
        hidden=8,
        _cache=dense("Long", "2", 2),
        _buffers=OrderedDict(count=dense("Long", "2", 2)),
        _modules=OrderedDict({"layers": module(_modules=OrderedDict({"0": leaf})), "none": None}),
    )
    arrays, scalars = names({"net": root, "epoch": 3})
    assert arrays == {"net/count": [5, 6], "net/layers/0/weight": [[0, 1], [2, 3]]}
    assert scalars == {
        "net/training": True,
        "net/hidden": 8,
        "net/layers/training": True,
        "net/layers/0/training": True,
        "net/layers/0/bias": None,
        "net/none": None,
        "epoch": 3,
    }


@pytest.mark.parametrize(
    "maker",
    [
        "torch.fx.graph_module.reduce_graph_module",
        "torch.fx.graph_module.deserialize_graphmodule",
        "torch.fx.graph_module.reduce_deploy_graph_module",
    ],
)
def test_a_graph_module_is_a_module(maker: str) -> None:
    fields = module(_parameters=OrderedDict(w=dense("Float", "1", 4))).state
    importer = ("importer",) if "deploy" in maker else ()
    arrays, scalars = names(
        call(maker, *importer, {**fields, "_code": "def f(): ..."}, "import torch")
    )
    assert arrays == {"w": [0, 1, 2, 3]}
    assert scalars == {"training": True}


def test_what_only_resembles_a_module_keeps_all_its_attributes() -> None:
    odd = Record("lab.Odd", {"_modules": [1], "_parameters": {}, "a": 1}, kind="newobj")
    assert names(odd)[1] == {"_modules": [1], "_parameters": {}, "a": 1}


def test_variables_and_parameters_before_0_4() -> None:
    old = call("torch._utils._rebuild_tensor", storage("Float", "1", 4), 1, (3,), (1,))
    tree = {
        "v": call("torch.autograd.variable.Variable", old, state=(True, False, OrderedDict())),
        "p": call("torch.nn.parameter.Parameter", old, state=(old, None, OrderedDict(), True, 0)),
    }
    assert names(tree) == ({"v": [1, 2, 3], "p": [1, 2, 3]}, {})


def test_parameters_and_tensors_with_attributes_of_their_own() -> None:
    inner = dense("Float", "1", 4)
    rebuild, args = Global("torch._utils", "_rebuild_tensor_v2"), inner.args
    tensor = Global("torch", "Tensor")
    tree = {
        "p": call(
            "torch._utils._rebuild_parameter_with_state", inner, True, OrderedDict(), {"a": 1}
        ),
        "t": call("torch._tensor._rebuild_from_type_v2", rebuild, tensor, args, {"who": "me"}),
        "s": call(
            "torch._tensor._rebuild_from_type_v2",
            rebuild,
            Global("lab", "T"),
            args,
            ({"x": 2}, {"y": 3}),
        ),
        "n": call("torch.tensor._rebuild_from_type", rebuild, tensor, args, {}),
    }
    arrays, scalars = names(tree)
    assert arrays == {key: [0, 1, 2, 3] for key in "ptsn"}
    assert scalars == {"p/a": 1, "t/who": "me", "s/x": 2, "s/y": 3}


def quantized(kind: str, scheme: str, *parts: Any, shape: tuple[int, ...] = (2, 3)) -> Record:
    quantizer = (Global("torch", scheme), *parts)
    place = (storage(kind, "3", 6), 0, shape, (shape[-1], 1))
    return call("torch._utils._rebuild_qtensor", *place, quantizer, False, OrderedDict())


def test_quantized_tensors_are_their_integers_and_scales() -> None:
    arrays, scalars = names(quantized("QUInt8", "per_tensor_affine", 0.5, 3))
    assert arrays == {"": [[0, 1, 2], [3, 4, 5]]}
    assert scalars == {"qscheme": "torch.per_tensor_affine", "q_scale": 0.5, "q_zero_point": 3}
    lists = quantized("QInt8", "per_channel_affine", [0.5, 1.0], [0, 1], 0)  # 1.3 and 1.4
    arrays, scalars = names({"q": lists})
    assert arrays["q/q_per_channel_scales"] == [0.5, 1.0]
    assert arrays["q/q_per_channel_zero_points"] == [0, 1]
    assert scalars == {"q/qscheme": "torch.per_channel_affine", "q/q_per_channel_axis": 0}


def test_zero_points_that_are_floats_make_a_scheme_of_their_own() -> None:
    parts = (np.array([0.5, 1.0], "f4"), np.array([0.25, 1.0], "f4"), 0)
    arrays, scalars = names(quantized("QUInt8", "per_channel_affine", *parts))
    assert scalars["qscheme"] == "torch.per_channel_affine_float_qparams"
    assert list(arrays["q_per_channel_zero_points"]) == [0.25, 1.0]


def test_a_jagged_tensor_is_its_values_and_offsets() -> None:
    cls = Global("torch.nested._internal.nested_tensor", "NestedTensor")
    values, offsets = np.zeros((3, 2)), np.array([0, 1, 3])
    parts = {"values": values, "offsets": offsets, "lengths": None, "_ragged_idx": 1}
    maker = Global("torch.nested._internal.nested_tensor", "_rebuild_njt")
    state = {"_ragged_idx": 1, "_values": values}
    for function, args in ((maker, (parts,)), (cls, (values, offsets))):
        made = call("torch._tensor._rebuild_from_type_v2", function, cls, args, state)
        arrays, scalars = names(made)
        assert list(arrays) == ["values", "offsets"]
        assert scalars["ragged_idx"] == 1


def test_before_1_3_scale_and_zero_point_stand_in_place_of_the_quantizer() -> None:
    place = (storage("QUInt8", "3", 6), 0, (2, 3), (3, 1))
    old = call("torch._utils._rebuild_qtensor", *place, 0.5, 3, False, OrderedDict())
    arrays, scalars = names(old)
    assert arrays == {"": [[0, 1, 2], [3, 4, 5]]}
    assert scalars == {"qscheme": "torch.per_tensor_affine", "q_scale": 0.5, "q_zero_point": 3}


def test_the_packed_weights_of_a_quantized_layer_are_found() -> None:
    packed = Record("torch.ScriptObject", (quantized("QInt8", "per_tensor_affine", 0.5, 0), None))
    arrays, scalars = names(module(_packed_params=packed, _other=Record("lab.Other", {"a": 1})))
    assert arrays == {"_packed_params/state/0": [[0, 1, 2], [3, 4, 5]]}
    assert scalars["_packed_params/state/0/q_scale"] == 0.5
    assert "_other/a" not in scalars


def test_elements_that_share_a_byte_are_given_by_bytes() -> None:
    scheme = "per_channel_affine_float_qparams"
    four = quantized("QUInt4x2", scheme, [0.5], [0.0], 0, shape=(3, 3))
    arrays, _ = names({"q": four})
    assert arrays["q"] == [0, 1, 2, 3, 4]
    assert arrays["q/q_per_channel_zero_points"] == [0.0]


def layout(name: str) -> Record:
    return call("torch.serialization._get_layout", f"torch.{name}")


@pytest.mark.parametrize(
    ("name", "outer", "inner"),
    [
        ("sparse_csr", "crow_indices", "col_indices"),
        ("sparse_csc", "ccol_indices", "row_indices"),
        ("sparse_bsr", "crow_indices", "col_indices"),
        ("sparse_bsc", "ccol_indices", "row_indices"),
    ],
)
def test_sparse_tensors_are_their_parts(name: str, outer: str, inner: str) -> None:
    plain, values = dense("Long", "2", 2), dense("Float", "1", 4)
    size = call("torch.Size", (2, 3))
    tree = call("torch._utils._rebuild_sparse_tensor", layout(name), (plain, plain, values, size))
    arrays, scalars = names(tree)
    assert arrays == {outer: [5, 6], inner: [5, 6], "values": [0, 1, 2, 3]}
    assert scalars == {"shape": (2, 3), "layout": f"torch.{name}"}


def test_coordinates_may_tell_whether_they_are_coalesced() -> None:
    parts = (dense("Long", "2", 2, (1, 2)), dense("Float", "1", 4, (2, 2)), (9, 2))
    coo = call("torch._utils._rebuild_sparse_tensor", layout("sparse_coo"), (*parts, True))
    arrays, scalars = names({"adj": coo})
    assert arrays == {"adj/indices": [[5, 6]], "adj/values": [[0, 1], [2, 3]]}
    assert scalars["adj/shape"] == (9, 2)
    assert scalars["adj/is_coalesced"] is True


@pytest.mark.extra("ml_dtypes")
def test_tensors_of_other_devices_are_on_the_host() -> None:
    there = call(
        "torch._utils._rebuild_device_tensor_from_numpy",
        np.array([1.5, 2.5], "f4"), Global("torch", "bfloat16"), "xla:0", False,
    )  # fmt: skip
    with persist.open(stream({"x": there}, {})) as file:
        assert file.arrays["x"].dtype.name == "bfloat16"
        assert np.asarray(file.arrays["x"]).astype("f4").tolist() == [1.5, 2.5]
    meta = call(
        "torch._utils._rebuild_meta_tensor_no_storage",
        Global("torch", "float32"),
        (2,),
        (1,),
        False,
    )
    assert names({"m": meta})[1] == {
        "m/dtype": "torch.float32",
        "m/shape": (2,),
        "m/device": "meta",
    }


def test_values_that_are_no_tensors() -> None:
    tree = {
        "size": call("torch.Size", (1, 2)),
        "cpu": call("torch.device", "cpu"),
        "gpu": call("torch.device", "cuda", 1),
        "layout": layout("strided"),
        "args": Record("argparse.Namespace", {"lr": 0.1}),
    }
    assert names(tree)[1] == {
        "size": (1, 2), "cpu": "cpu", "gpu": "cuda:1", "layout": "torch.strided", "args/lr": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_tensors_in_a_plain_pickle_are_files_in_a_file(protocol: int) -> None:
    inner = stream(storage("Float", "1", 4), FLOATS)
    loaded = call("torch.storage._load_from_bytes", inner)
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    parts = (loaded, 1, (3,), (1,), False, OrderedDict())
    tensor = Record(rebuild, maker=rebuild, kind="reduce", args=parts)
    parameter = call("torch._utils._rebuild_parameter", tensor, True, OrderedDict())
    net = module(_parameters=OrderedDict(w=parameter))
    with persist.open(pickled({"t": tensor, "st": loaded, "net": net}, protocol)) as file:
        assert file.format == "pickle"
        assert np.asarray(file.arrays["t"]).tolist() == [1, 2, 3]
        assert np.asarray(file.arrays["st"]).tolist() == [0, 1, 2, 3]
        assert np.asarray(file.arrays["net/w"]).tolist() == [1, 2, 3]
        assert np.shares_memory(file.arrays["t"], file.arrays["st"])


def test_storages_and_tensors_of_0_1_in_a_plain_pickle() -> None:
    floats = call("torch.FloatStorage", [1.0, 2.0, 3.0])
    tree = [floats, call("torch.FloatTensor", floats, 1, (2,), (1,))]
    with persist.open(pickled(tree)) as file:
        assert np.asarray(file.arrays["0"]).tolist() == [1, 2, 3]
        assert np.asarray(file.arrays["1"]).tolist() == [2, 3]


def test_parts_that_do_not_fit_stay_records() -> None:
    odd = [
        call("torch._utils._rebuild_tensor_v2"),
        call("torch._utils._rebuild_tensor_v2", 1, 2, 3, 4, 5, 6),
        call("torch._utils._rebuild_tensor_v3", storage("Float", "1", 4), 0, (1,), (1,), 0, 0, 7),
        call("torch._utils._rebuild_parameter", 5),
        call("torch._utils._rebuild_qtensor", 1, 2, 3, 4, 5),
        call("torch._utils._rebuild_sparse_tensor", 1, 2),
        call("torch._tensor._rebuild_from_type_v2", 1, 2, 3, 4),
        call("torch._tensor._rebuild_from_type_v2", Global("os", "system"), 2, ("true",), {}),
        call("torch.storage._load_from_bytes", 5),
        call("torch.Size", 5),
        call("torch.FloatStorage", ["x"]),
        call("torch.device"),
    ]
    with persist.open(stream(odd, FLOATS)) as file:
        assert "args/0" in " ".join(file.scalars)
        assert all(isinstance(item, Record) for item in file.tree)
        assert str(file)


def test_a_damaged_file_in_a_plain_pickle_is_an_error_of_ours() -> None:
    inner = stream(storage("Float", "1", 4), FLOATS)[:-3]
    file = persist.open(pickled([call("torch.storage._load_from_bytes", inner)]))
    with pytest.raises(FormatError):
        list(file.arrays)


def test_python_can_read_what_the_tests_lay_out() -> None:
    assert pickle.loads(pickled({"a": [1, (2,)]})) == {"a": [1, (2,)]}


def test_the_wild_classes_of_a_session() -> None:
    with opened("torch-1.12.1-py37-vanished-classes") as file:
        assert file.scalars["tagged/author"] == "mia"
        assert "net/gru/_flat_weights/0" not in list(file.arrays)
        assert file.scalars["csr/layout"] == "torch.sparse_csr"

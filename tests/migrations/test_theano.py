"""How the objects of Theano and its successors look: values by name, graphs reported and not descended into."""

from __future__ import annotations

import io
import json
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.tree import Global, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "theano"
TENSOR = Record("theano.tensor.type.TensorType", {"dtype": "float32", "broadcastable": (False,)})
TAG = Record("theano.gof.utils.scratchpad", {"trace": [("/home/author/net.py", 3, "shared")]})


def opened(name: str) -> persist.File:
    path = json.loads((CORPUS / name / "expected.json").read_text())["file"]
    return persist.open(CORPUS / name / path)


def pickled(value: Any) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, 2).dump(value)
    return out.getvalue()


def shared(value: Any, name: str | None, cls: str = "theano.tensor.sharedvar.X") -> Record:
    fields = {"storage": [value], "name": name, "readonly": False, "strict": False}
    container = Record("theano.gof.link.Container", fields)
    own = {"name": name, "owner": None, "index": None, "type": TENSOR, "tag": TAG}
    return Record(cls, {**own, "container": container})


def symbol(name: str | None, owner: Any = None, cls: str = "theano.tensor.var.X") -> Record:
    return Record(cls, {"name": name, "owner": owner, "index": 0, "type": TENSOR, "tag": TAG})


def node(op: str, *inputs: Any) -> Record:
    """The output of an op over inputs, its node leading back to it."""
    apply = Record("theano.gof.graph.Apply", {"op": Record(op, {}), "inputs": list(inputs)})
    output = symbol(None, apply)
    apply["outputs"] = [output]
    return output


def call(name: str, *args: Any) -> Record:
    maker = Global(*name.rsplit(".", 1))
    return Record(maker, maker=maker, kind="reduce", args=args)


# Values.


KINDS = {
    "theano.tensor.sharedvar.TensorSharedVariable": np.ones(3, "f4"),
    "theano.tensor.sharedvar.ScalarSharedVariable": np.array(2.0),
    "theano.scalar.sharedvar.ScalarSharedVariable": np.float32(2.0),
    "theano.sandbox.cuda.var.CudaNdarraySharedVariable": call(
        "theano.sandbox.cuda.type.CudaNdarray_unpickler", np.ones(3, "f4")
    ),
    "theano.gpuarray.type.GpuArraySharedVariable": call(
        "theano.gpuarray.type.GpuArray_unpickler", np.ones(3, "f4"), "dev0"
    ),
    "aesara.tensor.sharedvar.TensorSharedVariable": np.ones(3, "f4"),
    "pytensor.tensor.sharedvar.TensorSharedVariable": np.ones(3, "f4"),
    "lab.variables.OurSharedVariable": np.ones(3, "f4"),
}


@pytest.mark.parametrize("cls", KINDS)
def test_a_shared_variable_is_its_value_where_it_stands(cls: str) -> None:
    value = {"layer": [shared(KINDS[cls], "W", cls)], "bias": shared(np.zeros(2), "b")}
    with persist.open(pickled(value)) as file:
        found = file.arrays if cls != "theano.scalar.sharedvar.ScalarSharedVariable" else None
        if found is None:
            assert file.scalars["layer/0"] == 2.0
        else:
            assert np.asarray(found["layer/0"]).dtype.kind == "f"
        assert file.scalars["layer/0/name"] == "W"
        assert "author" not in str(sorted(file.scalars))


def test_a_lone_one_has_a_value_next_to_its_name() -> None:
    with persist.open(pickled(shared(np.ones(3), "W"))) as file:
        assert list(file.arrays) == ["value"]
        assert dict(file.scalars) == {"name": "W"}
        assert "value" in file.arrays
        assert "" not in file.arrays
    with persist.open(pickled(shared(np.ones(3), None))) as file:
        assert dict(file.scalars) == {"name": None}


def test_a_generic_one_holds_anything() -> None:
    with persist.open(pickled({"G": shared({"a": np.ones(2), "name": "inner"}, "G")})) as file:
        assert list(file.arrays) == ["G/a"]
        assert file.scalars["G/name"] == "inner"
        assert file.scalars["G/name~2"] == "G"


def test_loading_gives_the_value() -> None:
    loaded = persist.load(CORPUS / "theano-0.7.0-py27-shared-lone" / "obj.save")
    assert type(loaded) is np.ndarray
    assert loaded.shape == (3, 4)
    loaded += 1


@pytest.mark.parametrize("name", ["theano-0.7.0-sdist-cudandarray", "theano-1.0.0-sdist-gpuarray"])
def test_a_lone_array_of_the_gpu_is_an_array(name: str) -> None:
    file = opened(name)
    assert file.arrays["value"].dtype == np.float32
    assert file.arrays["value"].shape == (1,)


# Graphs.


def test_a_graph_is_not_descended_into_and_its_variables_go_by_their_name() -> None:
    weights, b = shared(np.ones((2, 2)), "W"), shared(np.zeros(2), "b")
    y = node(
        "theano.tensor.elemwise.Elemwise", node("theano.tensor.basic.Dot", symbol("x"), weights), b
    )
    with persist.open(pickled({"y": y, "epoch": 3})) as file:
        assert list(file.arrays) == ["W", "b"]
        assert "W" in file.arrays
        assert file.arrays["b"].tolist() == [0, 0]
        assert file.scalars["epoch"] == 3
        reported = file.structure["objects"]["y"]
        assert [item["op"] for item in reported["nodes"]] == ["Dot", "Elemwise"]
        assert reported["nodes"][0]["inputs"] == ["x", "W"]
        assert reported["nodes"][1]["inputs"][1] == "b"
        assert reported["dtype"] == "float32"
        json.dumps(file.structure)


def test_a_variable_that_a_path_leads_to_is_not_named_again() -> None:
    weights = shared(np.ones(2), "W")
    with persist.open(pickled({"cost": node("theano.Op", weights), "params": [weights]})) as file:
        assert list(file.arrays) == ["params/0"]
        assert "W" not in file.arrays


def test_two_variables_of_one_name_are_both_there() -> None:
    first, second, bare = shared(np.ones(1), "W"), shared(np.ones(2), "W"), shared(np.ones(3), None)
    graphs = [node("theano.Op", first, bare), node("theano.Op", second, first)]
    with persist.open(pickled(graphs)) as file:
        assert {name: array.shape for name, array in file.arrays.items()} == {
            "W": (1,),
            "shared_0": (3,),
            "W~2": (2,),
        }


def test_a_copy_that_shares_the_storage_is_the_same_variable() -> None:
    weights = shared(np.ones(2), "W")
    copy = symbol("W", cls="theano.tensor.sharedvar.TensorSharedVariable")
    copy["container"] = weights["container"]
    with persist.open(pickled([node("theano.Op", weights), node("theano.Op", copy)])) as file:
        assert list(file.arrays) == ["W"]
    with persist.open(pickled({"f": node("theano.Op", copy), "W": weights})) as file:
        assert list(file.arrays) == ["W"]


@pytest.mark.parametrize("name", ["theano-0.8.2-py27-symbolic", "theano-1.0.4-py36-symbolic"])
def test_genuine_graphs(name: str) -> None:
    file = opened(name)
    expected = json.loads((CORPUS / name / "expected.json").read_text())["structure"]
    reported = file.structure["objects"]
    for path, facts in expected["symbolic"].items():
        for key in ("class", "name", "dtype", "broadcastable", "op_class"):
            if facts.get(key) is not None:
                assert reported[path][key] == facts[key], (path, key)
    for path, facts in expected["shared"].items():
        assert reported[path]["shared"]["name"] == facts["name"]


def test_a_compiled_function_tells_its_inputs_and_nodes() -> None:
    file = opened("theano-0.8.2-py27-function")
    reported = file.structure["objects"][""]
    assert reported["inputs"] == ["x", "W", "b", "n_calls"]
    assert "Dot" in [item["op"] for item in reported["nodes"]]
    assert set(file.arrays) == {"W", "b", "n_calls"}
    assert not file.scalars.keys() - {f"{name}/name" for name in file.arrays}


def test_the_arguments_of_a_function_that_were_stripped() -> None:
    file = opened("theano-0.7.0-py27-stripped-fn-args")
    assert "updates/0/0" in file.arrays
    assert "W" not in file.arrays, "a path leads to it"


def test_a_graph_of_many_nodes_takes_time_in_proportion() -> None:
    """Many variables of one graph: none of its parts is walked through twice."""
    value, outputs = shared(np.ones(2), "W"), []
    for _ in range(3_000):
        value = node("theano.tensor.basic.Op", value)
        outputs.append(value)
    data = pickled(outputs)
    started = time.process_time()
    with persist.open(data) as file:
        assert list(file.arrays) == ["W"]
        reported = file.structure["objects"]
        assert sum(len(item.get("nodes", ())) for item in reported.values()) <= 10_000
    assert time.process_time() - started < 10


def test_a_users_class_that_has_a_type_and_a_tag_is_no_variable() -> None:
    value = Record("lab.Sample", {"type": "image", "tag": "x", "owner": "me", "data": np.ones(2)})
    with persist.open(pickled([value, shared(np.ones(1), "W")])) as file:
        assert "0/data" in file.arrays
        assert file.scalars["0/owner"] == "me"


# Beside it.


def test_a_layer_of_lasagne_names_its_parameters() -> None:
    weights = shared(np.ones((2, 2)), "h.W")
    fields = {"name": "h", "W": weights, "num_units": 2}
    fields["params"] = OrderedDict([(weights, {"trainable"})])
    layer = Record("lasagne.layers.dense.DenseLayer", fields)
    with persist.open(pickled({"net": layer})) as file:
        assert list(file.arrays) == ["net/W"]
        assert file.scalars["net/params/h.W"] == {"trainable"}
        assert file.scalars["net/num_units"] == 2


def test_random_variables_of_pymc3_are_symbolic_and_a_trace_is_its_samples() -> None:
    trace = Record("pymc3.backends.ndarray.NDArray", {"samples": {"mu": np.ones(5)}})
    multi = Record("pymc3.backends.base.MultiTrace", {"_straces": {0: trace}})
    free = symbol("mu", cls="pymc3.model.FreeRV")
    with persist.open(pickled({"trace": multi, "mu": free, "W": shared(np.ones(1), "W")})) as file:
        assert set(file.arrays) == {"trace/0/mu", "W"}
        assert "trace/_straces/0/samples/mu" in file.arrays  # listed at its shortest path
        assert file.structure["objects"]["mu"]["class"] == "pymc3.model.FreeRV"

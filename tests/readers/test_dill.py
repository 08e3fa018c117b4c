"""dill and cloudpickle: arrays are arrays, code stays what it is and is never run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.tree import Global, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"


def call(name: str, *args: Any) -> Record:
    maker = Global(*name.rsplit(".", 1))
    return Record(maker, maker=maker, kind="reduce", args=args)


def created(array: np.ndarray[Any, Any], module: str, cls: Global | None = None) -> Record:
    """As ``dill.Pickler.save`` writes an array."""
    function, args, state = array.__reduce__()
    name = Global(function.__module__, function.__name__)
    if cls is not None:
        args = (cls, *args[1:])
    return call(f"{module}._create_array", name, args, state, None)


def opened(value: Any, protocol: int = 4) -> persist.File:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return persist.open(out.getvalue())


@pytest.mark.parametrize("module", ["dill._dill", "dill.dill"])
def test_an_array_of_dill_is_one(module: str) -> None:
    value = np.arange(6, dtype=">i2").reshape(2, 3)
    file = opened({"W": created(value, module), "o": created(np.array([1, "a"], object), module)})
    assert file.tree["W"].dtype == value.dtype
    assert np.array_equal(file.arrays["W"], value)
    assert file.scalars["o/1"] == "a"


def test_so_are_matrices_and_masked_arrays() -> None:
    matrix = np.array([[1, 2]]).view(np.matrix)
    masked = np.ma.masked_array([1, 2], [False, True])
    file = opened([created(matrix, "dill._dill"), created(masked, "dill._dill")])
    assert isinstance(file.tree[0], np.matrix)
    assert file.arrays["1/mask"].tolist() == [False, True]


def test_an_array_of_a_lost_class_stays_a_record() -> None:
    array = created(np.ones(2), "dill._dill", Global("lab", "Signal"))
    file = opened({"s": array, "t": [array]})
    assert isinstance(file.tree["s"], Record)
    assert file.tree["s"].qualname == "lab.Signal"
    assert file.tree["t"][0] is file.tree["s"]
    assert file.arrays["s"].tolist() == [1, 1]


@pytest.mark.parametrize("parts", [(1, 2, 3), (Global("os", "system"), ("true",), (), None)])
def test_anything_else_under_that_name_stays_what_it_is(parts: tuple[Any, ...]) -> None:
    file = opened([call("dill._dill._create_array", *parts)])
    assert isinstance(file.tree[0], Record)


def test_code_is_a_record_and_is_not_run() -> None:
    code = call("dill._dill._create_code", b"\0", 0, 0, 1, b"\x97\0", (None,), (), (), "f.py", "f")
    function = call("dill._dill._create_function", code, Global("__builtin__", "__main__"), "f")
    file = opened({"f": function, "epoch": 3})
    assert isinstance(file.tree["f"], Record)
    assert file.scalars["epoch"] == 3
    cloud = call("cloudpickle.cloudpickle._make_function", code, {}, None, None, None)
    assert isinstance(opened([cloud]).tree[0], Record)


def test_functions_that_dill_names_by_their_module() -> None:
    with persist.open(CORPUS / "dill-0.3.4-py36-arrays" / "run.pkl") as file:
        assert file.arrays["net/W"].shape == (2, 3)
        assert file.tree["where"] == Global("numpy.core._multiarray_umath", "where")
        assert file.scalars["mean"] == np.float32(0.25)


def test_a_name_of_a_module_is_no_import() -> None:
    module = call("dill._dill._import_module", "os")
    file = opened([call("dill._dill._get_attr", module, "system")])
    assert file.tree == [Global("os", "system")]
    file = opened(
        [call("dill._dill._get_attr", 5, "real"), call("dill._dill._get_attr", module, 1)]
    )
    assert all(isinstance(item, Record) for item in file.tree)

"""skops' files, and what else is in an archive of arrays."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import Record
from persist.errors import DamagedFileError, LimitError
from persist.tree import Global

CASES = Path(__file__).parents[1] / "cases"
CORPUS = Path(__file__).parents[1] / "corpus"


def made(schema: Any, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
        text = (
            schema if isinstance(schema, str) else json.dumps({**schema, "_skops_version": "0.14"})
        )
        file.writestr("schema.json", text)
    return out.getvalue()


def node(loader: str, cls: str = "dict", module: str = "builtins", **more: Any) -> dict[str, Any]:
    return {"__class__": cls, "__module__": module, "__loader__": loader, **more}


def plain(value: Any) -> dict[str, Any]:
    return node("JsonNode", type(value).__name__, content=json.dumps(value), is_json=True)


def test_a_model_has_its_attributes_by_name() -> None:
    with persist.open(CORPUS / "skops" / "by-hand" / "model.skops") as file:
        assert file.format == "skops"
        assert file.writer == {"skops": "0.14.0"}
        assert file.tree.qualname == "sklearn.linear_model._logistic.LogisticRegression"
        assert np.asarray(file.arrays["coef_"]).tolist() == [[0.5, -1.0]]
        assert np.asarray(file.arrays["intercept_"]).tolist() == [0.25]
        assert file.scalars["C"] == 1.5


def test_every_kind_of_node() -> None:
    fields = {
        "list": node("ListNode", "list", content=[plain(1), plain("a")]),
        "tuple": node("TupleNode", "tuple", content=[plain(1)]),
        "set": node("SetNode", "set", content=[plain(1)]),
        "bytes": node("BytesNode", "bytes", file="1.bin"),
        "type": node("TypeNode", "float64", "numpy"),
        "function": node("FunctionNode", "ufunc", content={"module_path": "numpy", "function": "log1p"}),
        "objects": node(
            "NdArrayNode", "ndarray", "numpy", type="json", content=[plain("x"), plain(None)],
            shape=node("TupleNode", "tuple", content=[plain(2), plain(1)]),
        ),
        "shared": node("ListNode", "list", content=[plain(0.5)], __id__=7),
        "again": node("CachedNode", "list", __id__=7),
        "odd": node("FutureNode", "Thing", "lab", content={"a": plain(2)}, note="kept"),
        "keys": node(
            "DictNode", content={"1": plain("one")},
            key_types=node("ListNode", "list", content=[node("TypeNode", "int")]),
        ),
    }  # fmt: skip
    file = persist.open(made(node("DictNode", content=fields), **{"1.bin": b"abc"}))
    tree = file.tree
    assert tree["list"] == [1, "a"]
    assert tree["tuple"] == (1,)
    assert tree["set"] == {1}
    assert tree["bytes"] == b"abc"
    assert tree["type"] == Global("numpy", "float64")
    assert tree["function"] == Global("numpy", "log1p")
    assert tree["objects"].tolist() == [["x"], [None]]
    assert tree["again"] is tree["shared"]
    assert isinstance(tree["odd"], Record)
    assert file.scalars["odd/content/a"] == 2
    assert file.scalars["odd/note"] == "kept"
    assert tree["keys"] == {1: "one"}


def test_a_damaged_schema_is_an_error() -> None:
    with pytest.raises(DamagedFileError, match="not JSON"):
        persist.open(made('{"_skops_version": '))
    with pytest.raises(DamagedFileError, match="'9.npy' is not in it"):
        persist.open(made(node("NdArrayNode", "ndarray", "numpy", file="9.npy")))
    with pytest.raises(DamagedFileError, match="does not precede it"):
        persist.open(made(node("CachedNode", __id__=5)))
    deep: Any = plain(1)
    for _ in range(250):
        deep = node("ListNode", "list", content=[deep])
    with pytest.raises(LimitError, match="nested more than"):
        persist.open(made(deep))


def test_members_in_json_are_read_next_to_the_arrays() -> None:
    with persist.open(CASES / "archive_other_members" / "agent.zip") as file:
        assert np.asarray(file.arrays["parameters/model/pi/w:0"]).tolist() == np.eye(2).tolist()
        assert file.scalars["data/gamma"] == 0.98
        assert file.scalars["data/n_steps"] == 32
        assert file.scalars["parameter_list/0"] == "model/pi/w:0"

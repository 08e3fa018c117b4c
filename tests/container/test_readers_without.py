"""The readers of the docs that do without persist: one page of Python with NumPy, one of JavaScript."""

from __future__ import annotations

import io
import json
import math
import runpy
import shutil
import subprocess
import sys
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from trees import trees

import persist
from persist import _container

DOCS = Path(__file__).parents[2] / "docs"
PYTHON, JAVASCRIPT = DOCS / "read_without_persist.py", DOCS / "read_without_persist.mjs"
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def read() -> Any:
    return runpy.run_path(str(PYTHON))["read"]


def everything() -> dict[str, Any]:
    """Something of every feature of the container."""
    weights = np.arange(12.0).reshape(3, 4)
    table = np.array([(1, 2.5), (3, 4.5)], [("n", "<i4"), ("x", "<f8")])
    mixed = np.array([(1, "a"), (2, None)], [("n", "<i4"), ("o", "O")])
    layer = persist.Record("lab.Layer", {"W": weights, "rate": 0.5}, version=3)
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    sparse = persist.Record(
        "scipy.sparse._csr.csr_matrix", {"data": np.ones(2), "indices": np.array([0, 2], "i4")}
    )
    return {
        "weights": weights, "column": weights[:, 1], "fortran": np.asfortranarray(weights), "bits": np.array([True, False]),
        "table": table, "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), "mixed": mixed,
        "objects": np.array([None, [1], "x"], object), "masked": np.ma.MaskedArray([1, 2], [True, False]),
        "scalar": np.float32(1.5), "big": 2**70, "nan": math.nan, "text": "\ud800", "bytes": b"x" * 2000, "few": b"\0\1",
        "layer": layer, "same": layer, "cyclic": cyclic, "sparse": sparse, "names": np.array(["a", "bc"]), "empty": np.zeros((0, 3)),
        "tuple": (1, "two"), "set": {1}, "ordered": OrderedDict(a=1), "deque": deque([1, 2]), "complex": 1 + 2j, 5: "five",
        "rows": [persist.Record("lab.Row", {"i": n, "at": (n, str(n)), "more": [n]}, version=1) for n in range(1500)],
        "small": [np.array([n, n + 1], "i2") for n in range(1200)],
        "wide": np.array([2**62, -1], "i8"), "half": np.array([0.5], "f2"), "swapped": np.array([1, 2], ">i4"),
    }  # fmt: skip


@pytest.mark.parametrize("compress", [None, "deflate"])
def test_python_and_numpy_alone_read_everything(read: Any, tmp_path: Path, compress: Any) -> None:
    path, wanted = tmp_path / "all.persist", everything()
    persist.save(wanted, path, compress=compress, capsule=True)
    found = read(path)
    assert found.keys() == wanted.keys()
    for name in (
        "weights",
        "column",
        "fortran",
        "bits",
        "table",
        "aligned",
        "mixed",
        "objects",
        "names",
        "empty",
        "wide",
        "half",
        "swapped",
    ):
        assert found[name].dtype == wanted[name].dtype, name
        assert found[name].shape == wanted[name].shape
        assert found[name].tolist() == wanted[name].tolist()
    assert np.shares_memory(found["weights"], found["column"])
    assert found["masked"].mask.tolist() == [True, False]
    assert found["masked"].data.tolist() == [1, 2]
    for name in ("big", "text", "bytes", "few", "tuple", "set", "complex", 5):
        assert found[name] == wanted[name]
    assert math.isnan(found["nan"])
    assert found["scalar"] == np.float32(1.5)
    assert found["layer"] is found["same"]
    assert found["layer"]["class"] == ["lab", "Layer"]
    assert found["layer"]["version"] == 3
    assert found["layer"]["state"]["W"] is found["weights"]
    assert found["cyclic"][1] is found["cyclic"]
    assert found["sparse"]["state"]["indices"].tolist() == [0, 2]
    assert found["deque"] == [1, 2]
    assert found["rows"][1499]["state"] == {"i": 1499, "at": (1499, "1499"), "more": [1499]}
    assert [one.tolist() for one in found["small"]] == [[n, n + 1] for n in range(1200)]


def test_it_is_a_page_and_a_command(tmp_path: Path) -> None:
    for page in (PYTHON, JAVASCRIPT):
        assert page.read_text().count("\n") < 150
    persist.save({"layers": [{"W": np.arange(3)}]}, tmp_path / "a.persist")
    words = [sys.executable, str(PYTHON), str(tmp_path / "a.persist"), "layers/0/W"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0 1 2]"


def assert_same(one: Any, other: Any, done: set[tuple[int, int]]) -> None:
    """Compare what both readers give as it is; records and values of rarer kinds differ in form."""
    if (id(one), id(other)) in done:
        return
    done.add((id(one), id(other)))
    if type(one) in (list, tuple, dict):
        assert type(one) is type(other)
        assert len(one) == len(other)
        if isinstance(one, dict):
            one, other = [*one.values()], [*other.values()]
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, done)
    elif type(one) in (bool, int, str, bytes, type(None)):
        assert one == other
        assert type(one) is type(other)
    elif type(one) is np.ndarray and not one.dtype.hasobject and one.dtype.kind != "T":
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@settings(max_examples=examples(60))
@given(tree=trees())
def test_python_reads_every_tree(tree: Any) -> None:
    target = io.BytesIO()
    _container.write(tree, target)
    found = runpy.run_path(str(PYTHON))["read"](io.BytesIO(target.getvalue()))
    assert_same(_container.read(target.getvalue())[0], found, set())


@pytest.mark.skipif(NODE is None, reason="there is no Node")
@pytest.mark.parametrize("compress", [None, "deflate"])
def test_javascript_reads_everything(tmp_path: Path, compress: Any) -> None:
    path, wanted = tmp_path / "all.persist", everything()
    persist.save(wanted, path, compress=compress)
    check = tmp_path / "check.mjs"
    check.write_text(CHECK.replace("READER", JAVASCRIPT.as_uri()))
    done = subprocess.run(
        [str(NODE), str(check), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["weights"] == {
        "dtype": "<f8",
        "shape": [3, 4],
        "data": [float(n) for n in range(12)],
    }
    assert said["column"]["data"] == [1.0, 5.0, 9.0]
    assert said["fortran"]["data"] == said["weights"]["data"]
    assert said["bits"]["data"] == [True, False]
    assert said["table"]["data"] == [[1, 2.5], [3, 4.5]]
    assert said["swapped"]["data"] == [1, 2]
    assert said["half"]["data"] == [0.5]
    assert said["names"]["data"] == ["a", "bc"]
    assert said["empty"] == {"dtype": "<f8", "shape": [0, 3], "data": []}
    assert said["wide"] == ["4611686018427387904", "-1"]
    assert said["big"] == str(2**70)
    assert said["tuple"] == [1, "two"]
    assert said["bytes"] == 2000
    assert said["layer"] == {
        "class": ["lab", "Layer"],
        "version": 3,
        "rate": 0.5,
        "same": True,
        "W": True,
    }
    assert said["cyclic"] is True
    assert said["rows"] == [1500, 1499, [1499, "1499"], [1499]]
    assert said["small"] == [1200, [1199, 1200]]
    assert said["sparse"] == [0, 2]
    assert said["five"] == "five"


CHECK = """
import { read } from "READER"
const tree = read(process.argv[2])
const plain = (a) => ({ dtype: a.dtype, shape: a.shape, data: a.toArray() })
const out = {}
for (const name of ["weights", "column", "fortran", "bits", "table", "swapped", "half", "names", "empty"]) out[name] = plain(tree.get(name))
out.wide = tree.get("wide").toArray().map(String)
out.big = String(tree.get("big"))
out.tuple = tree.get("tuple")
out.bytes = tree.get("bytes").length
const layer = tree.get("layer")
out.layer = { class: layer.class, version: layer.version, rate: layer.state.get("rate"), same: layer === tree.get("same"), W: layer.state.get("W") === tree.get("weights") }
out.cyclic = tree.get("cyclic")[1] === tree.get("cyclic")
const rows = tree.get("rows"), last = rows[rows.length - 1].state
out.rows = [rows.length, last.get("i"), last.get("at"), last.get("more")]
const small = tree.get("small")
out.small = [small.length, small[small.length - 1].toArray()]
out.sparse = tree.get("sparse").state.get("indices").toArray()
out.five = tree.get(5)
console.log(JSON.stringify(out))
"""

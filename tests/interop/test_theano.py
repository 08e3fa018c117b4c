"""With a genuine Theano, Aesara or PyTensor: what it dumps opens here, what is saved here it loads.

They want a Python and a NumPy of their time, so the genuine side runs in an interpreter of its own,
which the environment variable ``PERSIST_THEANO_PYTHON`` names. What was found to work:

    python3.6 -m venv theano && theano/bin/pip install Theano==1.0.5 numpy==1.16.6 scipy==1.2.3
    python2.7 -m virtualenv theano && theano/bin/pip install Theano==0.9.0 numpy==1.11.3 scipy==0.19.1
    python3.9 -m venv aesara && aesara/bin/pip install aesara==2.5.3
    python3.11 -m venv pytensor && pytensor/bin/pip install pytensor==2.17.4 "numpy<2" "scipy<1.12"
    PERSIST_THEANO_PYTHON=theano/bin/python pytest -m interop tests/interop/test_theano.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = pytest.mark.interop

SIDE = Path(__file__).with_name("theano_side.py")
PYTHON = os.environ.get("PERSIST_THEANO_PYTHON")
FLAGS = {
    "THEANO_FLAGS": "device=cpu,cxx=",
    "AESARA_FLAGS": "device=cpu,cxx=",
    "PYTENSOR_FLAGS": "device=cpu,cxx=,blas__ldflags=",
}


def genuine(verb: str, folder: Path) -> str:
    if PYTHON is None:
        pytest.skip("PERSIST_THEANO_PYTHON names no interpreter with Theano or an heir")
    command = [PYTHON, str(SIDE), verb, str(folder)]
    done = subprocess.run(
        command, env={**os.environ, **FLAGS}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theano")
    genuine("write", folder)
    return folder


def reported(array: Any) -> dict[str, Any]:
    array = np.asarray(array)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.tolist()}


def test_what_it_dumps_opens_here(written: Path) -> None:
    expected = json.loads((written / "expected.json").read_text())["model"]
    file = persist.open(written / "model.zip")
    assert file.format == "theano-zip"
    assert not file.damage
    assert file.scalars["epoch"] == expected.pop("epoch")
    sparse = expected.pop("S")
    assert file.arrays["S/data"].shape == (3,)
    assert sparse["shape"] == [3, 3]
    for name, value in expected.items():
        assert reported(file.arrays[name]) == value, name


@pytest.mark.parametrize("name", ["graph.pkl", "function.pkl"])
def test_variables_in_graphs_go_by_their_names(written: Path, name: str) -> None:
    expected = json.loads((written / "expected.json").read_text())["model"]
    file = persist.open(written / name)
    assert set(file.arrays) == {"W", "b"}
    assert reported(file.arrays["W"]) == expected["W"]
    assert "dot" in json.dumps(file.structure["objects"]).lower()


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"protocol": 0}])
def test_what_is_saved_here_it_loads(written: Path, tmp_path: Path, options: Any) -> None:
    expected = json.loads((written / "expected.json").read_text())["model"]
    tree = persist.open(written / "model.zip").tree
    persist.save(tree, tmp_path / "ours.zip", format="theano-zip", **options)
    plain = {"W": np.arange(6.0).reshape(2, 3), "deep": [{"b.x": np.zeros(3, "f4")}], "n": "text"}
    persist.save(plain, tmp_path / "ours_plain.zip", format="theano-zip", **options)
    found = json.loads(genuine("read", tmp_path))
    assert found["ours.zip"]["load"] == expected
    members = found["ours.zip"]["numpy"]
    for name in ("W", "again"):  # of one name; which comes first, Python 2's dicts decide
        assert expected[name] in (members["W"], members["W_2"])
    assert members["unnamed"] == expected["unnamed"]
    assert members["a_b"] == expected["dotted"]
    assert found["ours_plain.zip"]["load"]["deep"] == [{"b.x": reported(plain["deep"][0]["b.x"])}]  # type: ignore[index]
    assert found["ours_plain.zip"]["numpy"]["deep/0/b_x"]["shape"] == [3]

"""Golden files that an old release of the project's own package writes, installed by pip into an environment of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

# The old release: it does not know persist, and its build backend needs nothing from an index.
PYPROJECT = """
[project]
name = "ourlab"
version = "0.9"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import os, zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "ourlab-0.9-py3-none-any.whl"
    info = "ourlab-0.9.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path in ("ourlab/__init__.py", "ourlab/models.py"):
            wheel.write(path, path)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: ourlab\\nVersion: 0.9\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
MODELS = """
class Config:
    def __init__(self, lr):
        self.lr = lr
"""
WRITE = """
import importlib.metadata, pickle, sys
import ourlab.models

assert importlib.metadata.version("ourlab") == "0.9"
assert "persist" not in sys.modules
with open(sys.argv[1] + "/config.pkl", "wb") as file:
    pickle.dump(ourlab.models.Config(0.5), file, 2)
"""
RECIPE = """
[tool.persist.foundry.v0]
install = ["./old"]
options = ["--no-index"]
script = "tests/foundry/write.py"
"""
TODAY = """
@attrs.define
class Config(persist.Versioned, version=2, schema="ourlab.Config"):
    rate: float = 0.1

persist.migration(Config, 1, persist.ops.rename("lr", "rate"), release="<1")
"""


@pytest.fixture
def aged(place: Any) -> Any:
    place.write("old/pyproject.toml", PYPROJECT)
    place.write("old/backend.py", BACKEND)
    place.write("old/ourlab/__init__.py", "")
    place.write("old/ourlab/models.py", MODELS)
    place.write("tests/foundry/write.py", WRITE)
    place.write("pyproject.toml", place.read("pyproject.toml") + RECIPE)
    place.models(TODAY)
    place.persist("lock")
    return place


@pytest.mark.interop  # pip and venv take some seconds
def test_an_old_release_writes_a_golden_file(aged: Any) -> None:
    assert "no golden file covers the step 1 → 2" in aged.persist("check --coverage", 1)
    said = aged.persist("golden foundry v0")
    assert said.startswith(
        "tests/golden/v0-config.pkl: ourlab.Config 1; written by the recipe v0 (./old)"
    )
    recorded = json.loads(aged.read("tests/golden/v0-config.pkl.golden.json"))
    assert recorded["contents"] == {"ourlab.Config 2": {"class": "ourlab.Config", "rate": "0.5"}}
    assert "ourlab.Config 1 → 2: tests/golden/v0-config.pkl" in aged.persist("check --coverage")
    assert "1 passed" in aged.pytest()
    assert "a golden file 'v0-config.pkl' already" in aged.persist("golden foundry v0", 2)
    aged.persist("golden foundry v0 --force")
    aged.change('"lr", "rate"', '"lr", "speed"')
    said = aged.persist("check", 1)
    assert "the golden file tests/golden/v0-config.pkl loads to other values than it did" in said
    assert "~ rate: was 0.5, and is 0.1" in said


@pytest.mark.interop
def test_a_release_that_cannot_be_installed(aged: Any) -> None:
    aged.write("pyproject.toml", aged.read("pyproject.toml").replace('"./old"', '"ourlab==0.8"'))
    said = aged.persist("golden foundry v0", 2)
    assert "the recipe 'v0' failed at `-m pip install ...`" in said
    assert "No matching distribution found for ourlab==0.8" in said
    assert not (aged.folder / "tests/golden").exists()

"""Files of every container version stay loadable for ever."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alike import assert_alike

import persist
from persist import _container
from persist.tree import LazyArray

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("version-*/*.persist"))


def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_case_of_version_1_is_there() -> None:
    assert {path.stem for path in FILES if path.parent.name == "version-1"} >= {
        "plain", "standard", "arrays", "shared", "records", "deflated", "sha256", "xxh3",
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_file_is_what_its_recipe_made(path: Path, plain_reader: Any) -> None:
    assert _container.verify(path) == []
    expected = recipe().CASES[path.stem][0]()
    for verify in ("never", "lazy"):
        assert_alike(expected, _container.read(path, verify=verify)[0])
    with persist.open(path) as file:
        assert file.format == "persist"
        assert_alike(expected, file.tree)
    plain_reader(path)
    with np.load(path) as arrays:
        for name in arrays.files:
            arrays[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_file_survives_being_saved_again(path: Path) -> None:
    tree, _ = _container.read(path)
    file = io.BytesIO()
    _container.write(tree, file)
    assert_alike(tree, _container.read(file.getvalue())[0])


def test_arrays_of_a_mapped_file_are_views() -> None:
    tree, _ = _container.read(GOLDEN / "version-1" / "shared.persist", verify="lazy")
    assert isinstance(tree["all"], LazyArray)
    assert np.shares_memory(np.asarray(tree["all"]), np.asarray(tree["view"]))

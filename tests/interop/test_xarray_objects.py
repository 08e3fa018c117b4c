"""With a genuine xarray of today: objects of seven releases hold what they held."""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

xr = pytest.importorskip("xarray")
pd = pytest.importorskip("pandas")

FOUNDRY = Path(__file__).parents[1] / "foundry" / "xarray"


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"foundry_xr_{name}", FOUNDRY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


compare, make = module("compare"), module("make")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", compare.archives(), ids=lambda path: path.stem)
def test_objects_hold_what_the_release_wrote_down(path: Path) -> None:
    found = {name: compare.verdict(make, name, *rest) for name, *rest in compare.cases(path)}
    assert len(found) > 12
    others = {name: said for name, said in found.items() if said != "equal"}
    if Version(pd.__version__) < Version("2.3"):  # it has no texts with NaN, which pandas 3 writes
        others = {name: said for name, said in others.items() if "pandas 2.3 is needed" not in said}
    assert not others
    assert list(found.values()).count("equal") > 8


def again(value: Any) -> Any:
    stream = io.BytesIO()
    persist.save(value, stream)
    return persist.load(stream.getvalue())


@pytest.mark.parametrize("name", ["dataset", "array", "levels", "text", "spans", "scalar"])
def test_an_object_in_a_container_is_the_same_again(name: str) -> None:
    made = make.CASES[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = again(made)
    xr.testing.assert_identical(loaded, made)
    assert set(loaded.xindexes) == set(made.xindexes)


def test_a_dimension_without_index_gets_none() -> None:
    made = make.dataset().drop_indexes("x")
    loaded = persist.load(pickle.dumps(made))
    xr.testing.assert_identical(loaded, made)
    assert set(loaded.xindexes) == {"y"}


def test_encodings_and_attributes_stay() -> None:
    loaded = again(make.dataset())
    assert loaded["t"].encoding == {"dtype": "float32"}
    assert loaded["t"].attrs == {"units": "K"}
    assert np.array_equal(loaded["t"].sel(x=20), [3.0, 4.0, 5.0])


def test_values_that_are_not_there_are_refused() -> None:
    made = make.dataset()["t"].variable
    state = made.__getstate__() if hasattr(made, "__getstate__") else made.__reduce_ex__(2)[2]
    slots = dict(state[1] if isinstance(state, tuple) else state, _data="of a file")
    broken = xr.Variable.__new__(xr.Variable)
    for key, value in slots.items():
        object.__setattr__(broken, key, value)
    with pytest.warns(persist.errors.OpaqueWarning, match="not in the pickle"):
        assert isinstance(persist.load(pickle.dumps(broken)), persist.Record)

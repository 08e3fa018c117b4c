"""Objects of classes that Cython compiled (``tests/cases/cython_makers``, with their recipe)."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.tree import Record

FILES = sorted((Path(__file__).parents[1] / "cases" / "cython_makers").glob("*.pkl"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_every_value_is_at_a_path(path: Path) -> None:
    with persist.open(path) as file:
        assert {name: array.shape for name, array in file.arrays.items()} == {
            "walker/state/1": (4,),
            "child/state/5/weights": (2, 3),
            "grid/state/0": (2, 2),
            "table/rows/a": (3,),
        }
        assert file.scalars["walker/state/2"] == 1.5
        assert file.scalars["named/state/5/rate"] == 0.5
        assert file.scalars["point/state/1"] == 2.5
        assert file.scalars["point/args/2/1"] == 2.5  # where the file has it
        assert file.scalars["grid/state/1"] == 0.5
        assert file.tree["named"].state[5]["peer"] is file.tree["walker"]


def test_they_are_named_by_their_class(path: Path) -> None:
    with persist.open(path) as file:
        named = {key: record.qualname for key, record in file.tree.items()}
    assert named == {
        "walker": "simnet.Walker",
        "named": "simnet.Named",
        "child": "simnet.Child",
        "empty": "simnet.Empty",
        "point": "simnet.Point",
        "grid": "simnet.Grid",
        "table": "simnet.Table",
    }


def test_a_class_of_today_takes_their_place(path: Path) -> None:
    registry = persist.Registry("lab")

    class Walker:
        x: float
        trail: object

    class Point:
        x: float
        n: int

    registry.register(Walker, version=2, schema="lab.Walker", fields=["x", "y", "steps", "trail"])
    registry.register(Point, version=2, schema="lab.Point", fields=["x", "n"])
    for cls, names in ((Walker, ("steps", "trail", "x", "y")), (Point, ("n", "x"))):
        schema = f"lab.{cls.__name__}"
        registry.alias(f"simnet.{cls.__name__}", cls)
        registry.stamp(schema)(lambda state: 1)
        registry.migration(schema, 1)(
            lambda state, names=names: dict(zip(names, state, strict=True))
        )
    with pytest.warns(persist.errors.OpaqueWarning, match="simnet"):
        loaded = persist.load(path, registry=registry)
    assert type(loaded["walker"]) is Walker
    assert loaded["walker"].x == 1.5
    assert loaded["walker"].trail.tolist() == [0, 1, 2, 3]
    assert type(loaded["point"]) is Point
    assert vars(loaded["point"]) == {"n": 9, "x": 2.5}


def test_a_trusted_class_makes_them_and_no_function_is_called(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Table:
        rows: object

        def __init__(self) -> None:
            raise AssertionError("made by __new__")

    Table.__module__, Table.__qualname__ = "simnet", "Table"
    module = types.ModuleType("simnet")
    module.Table = Table  # type: ignore[attr-defined]

    def trap(*args: object) -> None:
        raise AssertionError("called")

    module.newObj = trap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "simnet", module)
    with pytest.warns(persist.errors.OpaqueWarning):
        table = persist.load(path, trust=["simnet.Table"])["table"]
    assert type(table) is Table
    assert np.asarray(table.rows["a"]).tolist() == [0, 1, 2]


def test_written_again_as_a_pickle_they_are_called_the_same(path: Path, tmp_path: Path) -> None:
    with persist.open(path) as file:
        persist.save(file.tree, tmp_path / "again.pkl", format="pickle")
    makers: dict[str, object] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            if module != "simnet":
                return super().find_class(module, name)
            if name[0].isupper():
                return type(name, (), {"__setstate__": lambda self, state: None})
            return lambda cls, *args: makers.setdefault(f"{name}({cls.__name__})", cls())

    with (tmp_path / "again.pkl").open("rb") as again:
        Unpickler(again).load()
    assert {*makers} == {
        "__pyx_unpickle_Walker(Walker)",
        "__pyx_unpickle_Named(Named)",
        "__pyx_unpickle_Named(Child)",
        "__pyx_unpickle_Empty(Empty)",
        "__pyx_unpickle_Point(Point)",
        "newObj(Grid)",
        "newObj(Table)",
    }


@pytest.mark.parametrize("function", ["os.system", "simnet.unpickle"])
def test_any_other_function_is_none_of_them(function: str) -> None:
    module, name = function.split(".")
    data = b"\x80\x02c%b\n%b\nclab\nNet\n\x85R." % (module.encode(), name.encode())
    tree = persist.open(data).tree
    assert isinstance(tree, Record)
    assert tree.qualname == function

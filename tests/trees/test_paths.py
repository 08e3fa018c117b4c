"""Natural paths: every leaf has its name, sharing and cycles end, and asking costs no listing."""

from __future__ import annotations

import collections
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist._trees.paths import PackView, PathMapping, is_array, step_of
from persist.errors import FormatError, LimitError
from persist.tree import ABSENT, Global, PersistentRef, Record, View


def named(tree: Any, **settings: Any) -> dict[str, Any]:
    return dict(PathMapping(lambda: tree, PackView(), lambda leaf: True, **settings))


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (5, {"": 5}),
        ([1, (2, 3)], {"0": 1, "1/0": 2, "1/1": 3}),
        ({"a.b/c": 1, 2: 3}, {"a.b/c": 1, "2": 3}),
        ({(0, 1): "t", None: "n", True: "b", 1.5: "f"}, {"(0, 1)": "t", "None": "n", "True": "b", "1.5": "f"}),
        ({b"key": 1, b"\xe9": 2}, {"key": 1, "\xe9": 2}),
        ({np.int64(3): 1, (np.float64(1.0), 2): 2}, {"3": 1, "(1.0, 2)": 2}),
        ({}, {"": {}}),
        ([], {"": []}),
        ({"a": [], "b": {}}, {"a": [], "b": {}}),
        (collections.deque([7]), {"0": 7}),
        ({1, 2}, {"": {1, 2}}),
        (Global("m", "f"), {"": Global("m", "f")}),
        (PersistentRef(3), {}),
        ([PersistentRef(3), 1], {"1": 1}),
    ],
)  # fmt: skip
def test_plain_values(tree: Any, names: dict[str, Any]) -> None:
    assert named(tree) == names


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (Record("m.C", {"a": 1, "_b": 2}), {"a": 1, "_b": 2}),
        (Record("m.C", ({"a": 1}, {"s": 2})), {"a": 1, "s": 2}),
        (Record("m.C", (10, 20)), {"state/0": 10, "state/1": 20}),
        (Record("m.C", 5), {"state": 5}),
        (Record("m.C", None), {}),
        (Record("m.C", args=(1, [2])), {"args/0": 1, "args/1/0": 2}),
        (Record("m.C", kwargs={"k": 1}), {"kwargs/k": 1}),
        (Record("m.C", {"a": 1}, listitems=[5]), {"a": 1, "0": 5}),
        (Record("m.C", dictitems=[("k", 5), (2, 6)]), {"k": 5, "2": 6}),
        (
            Record("m.C", kind="reconstructor", args=(Global("builtins", "object"), None)),
            {},
        ),
        (Record("m.C", kind="reconstructor", args=(Global("builtins", "list"), [1])), {"0": 1}),
        (
            Record("m.C", kind="reconstructor", args=(Global("builtins", "dict"), {"k": 1})),
            {"k": 1},
        ),
        (Record("m.C", kind="reconstructor", args=(Global("builtins", "int"), 7)), {"args/0": 7}),
        (Record("m.C", {"n": 1}, kind="built", args=([5],)), {"0": 5, "n": 1}),
    ],
)
def test_records(record: Record, names: dict[str, Any]) -> None:
    assert named(record) == names


def test_arrays() -> None:
    objects = np.empty((2, 2), object)
    objects[:] = [["a", "b"], ["c", "d"]]
    assert named({"o": objects}) == {"o/0/0": "a", "o/0/1": "b", "o/1/0": "c", "o/1/1": "d"}
    zero = np.empty((), object)
    zero[()] = {"inside": 1}
    assert named({"z": zero}) == {"z/inside": 1}
    rows = np.array([(1, "x")], dtype=[("n", "i4"), ("o", "O")])
    assert named({"r": rows}).keys() == {"r/n", "r/o/0"}  # by column
    masked = np.ma.array([1.0, 2.0], mask=[0, 1], fill_value=9)
    found = named({"m": masked})
    assert sorted(found) == ["m", "m/fill_value", "m/mask"]
    assert found["m/mask"].tolist() == [False, True]
    assert found["m"].tolist() == [1.0, 2.0]


def test_two_things_of_one_path_are_both_there() -> None:
    tree = {1: "int", "1": "text", "a": {"b": "deep"}, "a/b": "flat"}
    names = PathMapping(lambda: tree, PackView(), lambda leaf: True)
    assert dict(names) == {"1": "int", "1~2": "text", "a/b": "deep", "a/b~2": "flat"}
    fresh = PathMapping(lambda: tree, PackView(), lambda leaf: True)
    for name, value in names.items():
        assert name in fresh
        assert fresh["1~2"] == "text"
        assert value in ("int", "text", "deep", "flat")


def test_what_is_reached_twice_is_named_twice_and_a_cycle_stops() -> None:
    shared = [1]
    tree: dict[str, Any] = {"a": shared, "b": shared}
    tree["me"] = tree
    shared.append(shared)
    names = PathMapping(lambda: tree, PackView(), lambda leaf: True)
    assert dict(names) == {"a/0": 1, "b/0": 1}
    assert "a/1/0" not in names
    assert "me/a/0" not in names


def test_paths_that_are_too_many_to_list_can_still_be_asked_for() -> None:
    tree: Any = [1]
    for _ in range(60):
        tree = [tree, tree]
    names = PathMapping(lambda: tree, PackView(), lambda leaf: True, file="bomb.pkl")
    path = "/".join("01" * 30) + "/0"
    assert path in names
    assert names[path] == 1
    assert "2/0" not in names
    with pytest.raises(LimitError, match=r"bomb\.pkl: more than .*paths"):
        list(names)


def test_a_limit_of_paths_can_be_raised() -> None:
    data = pickle.dumps(list(range(50)))
    with pytest.raises(LimitError, match='"paths"'):
        len(persist.open(data, limits={"paths": 20}).scalars)
    assert len(persist.open(data, limits={"paths": 50}).scalars) == 50


def test_what_is_no_name_is_not_there() -> None:
    names = PathMapping(lambda: {"a": 1}, PackView(), lambda leaf: True, file="f")
    assert 5 not in names
    assert "b" not in names
    assert "a/b" not in names
    assert "f" in repr(names)
    with pytest.raises(KeyError):
        names["b"]
    with pytest.raises(KeyError):
        names[5]  # type: ignore[index]
    assert isinstance(names, Mapping)


keys = st.one_of(st.text("ab/.~1", min_size=1, max_size=4), st.integers(0, 3))
trees = st.recursive(
    st.integers(),
    lambda inner: st.one_of(
        st.dictionaries(keys, inner, max_size=4),
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("ab", min_size=1), inner).map(lambda d: Record("m.C", d)),
    ),
    max_leaves=20,
)


@given(tree=trees)
def test_every_listed_name_answers_and_nothing_is_lost(tree: Any) -> None:
    listed = PathMapping(lambda: tree, PackView(), lambda leaf: True)
    leaves = list(listed.walk())
    assert len(listed) == len(leaves)
    for name in listed:
        assert name in listed
    # Asked for without listing: every name that is no second of its kind leads to its leaf.
    for path, leaf in leaves:
        fresh = PathMapping(lambda: tree, PackView(), lambda found, leaf=leaf: found is leaf)
        assert path in fresh


def test_packs_say_how_a_record_looks() -> None:
    def views(record: Record, looker: PackView) -> Any:
        if record.qualname == "lab.Shared":
            return View(record["value"], parts={"name": record["name"]})
        if record.qualname == "lab.Graph":
            return View(hoisted=[(record["var"]["name"], record["var"])])
        return None

    var = Record("lab.Shared", {"value": np.zeros(2), "name": "W"})
    looker = PackView(views)
    tree = {"layer": var, "graph": Record("lab.Graph", {"var": var})}
    assert sorted(PathMapping(lambda: tree, looker, lambda leaf: True)) == ["layer", "layer/name"]
    lone = Record("lab.Graph", {"var": var})
    names = PathMapping(lambda: [lone], PackView(views), lambda leaf: True)
    assert sorted(names) == ["W", "W/name"]
    assert "W/name" in PathMapping(lambda: [lone], PackView(views), lambda leaf: True)


def test_a_looker_without_an_opener_says_so() -> None:
    with pytest.raises(FormatError, match="cannot be opened here"):
        PackView().open(b"", "an inner file")
    assert PackView().look(5) == (5, [])
    assert PackView().look([])[0] == []
    assert PackView().look([1])[0] is ABSENT


def test_a_key_that_cannot_be_printed_has_a_step() -> None:
    assert step_of(10**5000) == f"<int of {(10**5000).bit_length()} bits>"
    assert step_of(Record("m.C")) == "<m.C>"
    assert is_array(np.zeros(()))
    assert not is_array(np.float64(1))

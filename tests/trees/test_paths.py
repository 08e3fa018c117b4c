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
from persist._trees.pack_view import PackView, is_array
from persist._trees.paths import PathMapping
from persist.errors import FormatError, LimitError
from persist.tree import ABSENT, Global, PersistentRef, Record, View, step_of


def named(tree: Any, **settings: Any) -> dict[str, Any]:
    return dict(PathMapping(lambda: tree, PackView(), lambda leaf: True, **settings))


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (5, {"": 5}),
        ([1, (2, 3)], {"0": 1, "1": (2, 3)}),
        ([1, 2.0], {"0": 1, "1": 2.0}),
        ({"a.b/c": 1, 2: 3}, {"a.b/c": 1, "2": 3}),
        ({(0, 1): "t", None: "n", True: "b", 1.5: "f"}, {"(0, 1)": "t", "None": "n", "True": "b", "1.5": "f"}),
        ({b"key": 1, b"\xe9": 2}, {"key": 1, "\xe9": 2}),
        ({np.int64(3): 1, (np.float64(1.0), 2): 2}, {"3": 1, "(1.0, 2)": 2}),
        ({}, {"": {}}),
        ([], {"": []}),
        ({"a": [], "b": {}}, {"a": [], "b": {}}),
        (collections.deque([7]), {"": collections.deque([7])}),
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
        (Record("m.C", args=(1, [2])), {"args/0": 1, "args/1": [2]}),
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
        (Record("m.C", {"n": 1}, kind="built", args=([5],)), {"": [5], "n": 1}),
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


def test_what_is_below_a_shared_container_is_listed_once_at_its_shortest_path() -> None:
    shared: dict[str, Any] = {"x": 1, "y": [1, 2]}
    tree: dict[str, Any] = {"deep": {"er": {"s": shared}}, "near": shared, "again": shared}
    tree["me"] = tree
    shared["self"] = shared
    names = PathMapping(lambda: tree, PackView(), lambda leaf: True)
    assert dict(names) == {"near/x": 1, "near/y": [1, 2]}
    for path in ("deep/er/s/x", "again/x", "near/x"):
        assert names[path] == 1  # at every path that leads there, it can be asked for
    assert "near/self/x" not in names
    assert "me/near/x" not in names
    every = PathMapping(lambda: tree, PackView(), lambda leaf: True, each_once=False)
    assert {*every} == {f"{at}/{one}" for at in ("deep/er/s", "near", "again") for one in "xy"}


def test_further_paths_to_a_shared_container_are_in_the_structure() -> None:
    shared = {"x": 1, "y": [1, None]}
    tree: dict[str, Any] = {"deep": {"s": shared}, "near": shared, "list": [1, 2]}
    tree["me"], tree["same list"] = tree, tree["list"]
    file = persist.open(pickle.dumps(tree))
    assert file.structure["shared"] == {"me": "", "deep/s": "near"}
    assert "shared" not in persist.open(pickle.dumps({"a": {"b": 1}})).structure
    every = file.structure["shared"]
    assert all(file.scalars[f"{path}/x"] == 1 for path in every if path != "me")


def test_an_array_that_is_referred_to_twice_has_two_names() -> None:
    weight = np.zeros(3)
    tree = {"encoder": {"weight": weight}, "decoder": {"weight": weight}, "b": weight}
    assert {*named(tree)} == {"encoder/weight", "decoder/weight", "b"}


@pytest.mark.parametrize("length", [10, 13, 60])
def test_complete_graphs_are_listed_in_linear_time(length: int) -> None:
    tree: list[Any] = [{"n": number} for number in range(length)]
    for node in tree:
        node.update({f"to{number}": other for number, other in enumerate(tree)})
    looker = PackView()
    names = PathMapping(lambda: tree[0], looker, lambda leaf: True)
    assert names == {"n": 0} | {f"to{number}/n": number for number in range(1, length)}
    assert names["to1/to2/to3/n"] == 3


def test_shared_sequences_without_arrays_are_looked_through_once() -> None:
    below: Any = (1, 2)
    for _ in range(4):
        below = (below,) * 3000
    tree = {"a": [below, np.zeros(1)]}
    arrays = PathMapping(lambda: tree, PackView(), is_array)
    assert list(arrays) == ["a/1"]


def test_a_sequence_of_plain_values_of_one_type_is_one_leaf() -> None:
    tree = {
        "losses": [0.5, 0.25], "shape": (64,), "texts": ["a", "b"], "flags": [True, False],
        "mixed": [1, None], "inner": [b"x", pickle.dumps({"w": 1})], "deque": collections.deque([7]),
        "scalars": [np.float32(1), np.float32(2)], "named": {"lr": 0.1, "eps": 0.2},
    }  # fmt: skip
    found = named(tree)
    assert [*found] == [
        "losses", "shape", "texts", "flags", "mixed/0", "mixed/1", "inner", "deque", "scalars",
        "named/lr", "named/eps",
    ]  # fmt: skip
    file = persist.open(pickle.dumps(tree))
    assert file.scalars["losses"] == [0.5, 0.25]
    assert (file.scalars["losses/1"], file.scalars["shape/0"]) == (0.25, 64)
    assert file.scalars["inner/1/w"] == 1
    assert "losses/2" not in file.scalars
    for wrong in ("losses/-1", "losses/01", "losses/²", "losses/1/0"):
        assert wrong not in file.scalars


def test_one_shared_reference_at_every_level_is_listed_at_once() -> None:
    tree: Any = [1, "leaf"]
    for _ in range(60):
        tree = [tree, tree]
    names = PathMapping(lambda: tree, PackView(), lambda leaf: True, file="bomb.pkl")
    shortest = "/".join("0" * 60)
    assert dict(names) == {f"{shortest}/0": 1, f"{shortest}/1": "leaf"}
    assert names["/".join("01" * 30) + "/0"] == 1
    assert "2/0" not in names
    every = PathMapping(
        lambda: tree, PackView(), lambda leaf: True, file="bomb.pkl", each_once=False
    )
    with pytest.raises(LimitError, match=r"bomb\.pkl: more than .*paths"):
        list(every)


def test_a_limit_of_paths_can_be_raised() -> None:
    data = pickle.dumps([*range(49), None])
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
    assert PackView().look([1]) == ([1], [])
    assert PackView().look([1, None])[0] is ABSENT


def test_a_key_that_cannot_be_printed_has_a_step() -> None:
    assert step_of(10**5000) == f"<int of {(10**5000).bit_length()} bits>"
    assert step_of(Record("m.C")) == "<m.C>"
    assert is_array(np.zeros(()))
    assert not is_array(np.float64(1))

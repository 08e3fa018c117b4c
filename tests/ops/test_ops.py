"""Ready-made steps: each does, undoes, reports losses, and does the same to whole columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist import ops
from persist.errors import IrreversibleError
from persist.ops import _base
from persist.ops._address import is_equal
from persist.tree import LazyArray, Record


def same(one, other):
    """Equal, arrays and all."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[k], other[k]) for k in one)
        )
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return is_equal(one, other)


W = np.arange(12.0).reshape(3, 4)

# The step, a state before, and the state after.
CASES = [
    (ops.unpack("W", "b"), (1, 2), {"W": 1, "b": 2}),
    (ops.unpack("W", "b"), [1, 2], {"W": 1, "b": 2}),
    (ops.pack("W", "b"), {"W": 1, "b": 2}, (1, 2)),
    (ops.rename("W", "weights"), {"W": 1, "b": 2}, {"weights": 1, "b": 2}),
    (ops.rename({"a": "b", "b": "a"}), {"a": 1, "b": 2}, {"a": 2, "b": 1}),
    (ops.rename("old_*", "*"), {"old_a": 1, "b": 2}, {"a": 1, "b": 2}),
    (ops.rename("W*", "layer*_weights"), {"W1": 1, "W2": 2}, {"layer1_weights": 1, "layer2_weights": 2}),
    (ops.rename("layers/*/W", "w"), {"layers": [{"W": 1}, {"W": 2}]}, {"layers": [{"w": 1}, {"w": 2}]}),
    (ops.rename("a/b/c", "a/b/d"), {"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 1}}}),
    (ops.rename("x", "y", optional=True), {"a": 1}, {"a": 1}),
    (ops.add("n", 3), {"a": 1}, {"a": 1, "n": 3}),
    (ops.add("n", factory=list), {}, {"n": []}),
    (ops.add("n", computed=lambda state: state["a"] * 2), {"a": 2}, {"a": 2, "n": 4}),
    (ops.add("layers/*/n", 0), {"layers": [{}, {"x": 1}]}, {"layers": [{"n": 0}, {"x": 1, "n": 0}]}),
    (ops.drop("n", default=3), {"a": 1, "n": 3}, {"a": 1}),
    (ops.drop("a", "b"), {"a": 1, "b": 2, "c": 3}, {"c": 3}),
    (ops.drop("z", optional=True), {"a": 1}, {"a": 1}),
    (ops.convert("r", float, inverse=str), {"r": "0.5"}, {"r": 0.5}),
    (ops.convert("layers/*", len), {"layers": [[1], [1, 2]]}, {"layers": [1, 2]}),
    (ops.astype("W", "f4", was="f8"), {"W": W}, {"W": W.astype("f4")}),
    (ops.transpose("W"), {"W": W}, {"W": W.T}),
    (ops.transpose("W", (2, 0, 1)), {"W": np.zeros((2, 3, 4))}, {"W": np.zeros((4, 2, 3))}),
    (ops.reshape("W", (-1,), was=(3, 4)), {"W": W}, {"W": W.ravel()}),
    (ops.split("W", ("a", "b"), axis=1), {"W": W}, {"a": W[:, :2], "b": W[:, 2:]}),
    (ops.split("W", ("a", "b"), sizes=(1, 2)), {"W": W}, {"a": W[:1], "b": W[1:]}),
    (ops.split("n/W", ("a", "b"), axis=1), {"n": {"W": W}}, {"n": {"a": W[:, :2], "b": W[:, 2:]}}),
    (ops.merge(("a", "b"), "W", axis=1), {"a": W[:, :2], "b": W[:, 2:]}, {"W": W}),
    (ops.nest("opt", "rate", m="momentum"), {"rate": 1, "momentum": 2, "x": 3}, {"opt": {"rate": 1, "m": 2}, "x": 3}),
    (ops.flatten("opt"), {"opt": {"rate": 1}, "x": 3}, {"rate": 1, "x": 3}),
    (ops.flatten("opt", prefix="opt_", names=("rate",)), {"opt": {"rate": 1}}, {"opt_rate": 1}),
]  # fmt: skip


def ids(case):
    return str(case)[:60]


def fresh(state):
    """A copy of the containers of a state."""
    if isinstance(state, dict):
        return {name: fresh(item) for name, item in state.items()}
    if isinstance(state, list):
        return [fresh(item) for item in state]
    return state


@pytest.mark.parametrize(("op", "before", "after"), CASES, ids=ids)
def test_does_what_it_says(op, before, after):
    assert same(op.apply(fresh(before), {}), after)
    assert same(op.apply(fresh(before)), after)
    assert str(op).startswith(type(op).__name__)


@pytest.mark.parametrize(
    ("op", "before", "after"), [case for case in CASES if case[0].is_reversible], ids=ids
)
def test_up_then_down_is_the_identity(op, before, after):
    assert op.losses(fresh(after)) == []
    back = op.inverse().apply(fresh(after), {})
    assert same(back, tuple(before) if isinstance(before, list) else before)


@pytest.mark.parametrize(
    ("op", "before", "after"),
    [case for case in CASES if isinstance(case[1], dict) and isinstance(case[2], dict)],
    ids=ids,
)
def test_columns_are_rows_done_at_once(op, before, after):
    """The vectorised way equals the one by one."""
    rows = [fresh(before) for _ in range(3)]
    columns = op.columns(_base._gather(rows), 3)
    for index in range(3):
        assert same(_base._row(columns, index), after)


@pytest.mark.parametrize(
    "op",
    [
        ops.drop("a"),
        ops.drop("a", "b", default=1),
        ops.convert("a", float),
        ops.astype("a", "f4"),
        ops.reshape("a", (2,)),
        ops.flatten("a"),
        ops.delete(),
    ],
    ids=str,
)
def test_one_way_steps_say_what_would_make_a_way_back(op):
    assert not op.is_reversible
    with pytest.raises(IrreversibleError, match="goes one way only") as caught:
        op.inverse()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("op", "state", "lost"),
    [
        (ops.add("n", 3), {"n": 4}, ["n = 4"]),
        (ops.add("n", factory=list), {"n": [1]}, ["n = [1]"]),
        (ops.add("n", 1.0), {"n": 1}, ["n = 1"]),
        (ops.add("n", computed=lambda state: state["a"]), {"a": 1, "n": 2}, ["n = 2"]),
        (ops.add("n", np.zeros(9)), {"n": np.ones(9)}, ["n = float64 array (9,)"]),
        (ops.unpack("a", "b"), {"a": 1, "b": 2, "c": 3}, ["c"]),
        (ops.nest("o", "a"), {"o": {"a": 1, "z": 2}}, ["o/z"]),
        (ops.astype("a", "f8", was="f4"), {"a": np.array([0.1])}, ["a: precision of float64 beyond float32"]),
    ],
)  # fmt: skip
def test_losses_are_reported(op, state, lost):
    assert op.losses(state) == lost


@pytest.mark.parametrize(
    ("op", "state", "said"),
    [
        (ops.unpack("W", "b"), (1, 2, 3), "a tuple of 3, but 2 names"),
        (ops.unpack("W", "b"), {"W": 1}, "a dict, not a plain tuple"),
        (ops.rename("W", "w"), {"V": 1}, r"there is no 'W' \(there are: V\)"),
        (ops.rename("W", "w"), {"W": 1, "w": 2}, "there is a 'w' already"),
        (ops.rename("W", "w"), (1, 2), "a tuple has no names"),
        (ops.add("n", 1), {"n": 2}, "there is a 'n' already"),
        (ops.drop("n"), {"a": 1}, "there is no 'n'"),
        (ops.convert("a/b/c", float), {"a": {"b": 1}}, "'a/b' is a int; no name leads into it"),
        (ops.convert("a/x", float), {"a": [1]}, "'x' is no index"),
        (ops.split("W", ("a", "b", "c"), axis=1), {"W": W}, "4 along axis 1, which 3 equal parts"),
        (ops.split("W", ("a", "b"), sizes=(1, 1)), {"W": W}, r"the sizes \(1, 1\) make 2"),
        (ops.flatten("a"), {"a": 1}, "'a' is a int, not a dict"),
    ],
)
def test_what_does_not_fit_is_said(op, state, said):
    with pytest.raises(LookupError, match=said):
        op.apply(state, {})


def test_what_two_share_is_changed_once():
    """A dict inside that two instances share, and an array that is tied."""
    shared, tied = {"rate": 1}, np.ones((2, 3))
    one, two = {"opt": shared, "W": tied}, {"opt": shared, "W": tied}
    memo: dict = {}
    for op in (
        ops.rename("opt/rate", "opt/lr"),
        ops.convert("opt/lr", lambda x: x + 1),
        ops.transpose("W"),
    ):
        one, two = op.apply(one, memo), op.apply(two, memo)
    assert one["opt"] is two["opt"]
    assert shared == {"lr": 2}
    assert one["W"] is two["W"]
    assert one["W"].shape == (3, 2)


def test_fields_of_records_are_reached():
    """A name leads into records as into dicts."""
    record = Record("lab.Layer", {"W": 1})
    ops.rename("layers/*/W", "w").apply({"layers": [record]}, {})
    assert record.state == {"w": 1}


def test_lazy_arrays_are_read_when_they_are_needed():
    """Renaming one does not read it; transposing does."""
    reads = []
    lazy = LazyArray(np.dtype("f8"), (3, 4), lambda: reads.append(1) or W)
    state = ops.rename("W", "w").apply({"W": lazy}, {})
    assert not reads
    assert ops.transpose("w").apply(state, {})["w"].shape == (4, 3)
    assert reads


def test_defaults_are_not_shared():
    """Each instance gets its own list or array."""
    op = ops.add("n", [])
    one, two = op.apply({}), op.apply({})
    one["n"].append(1)
    assert two["n"] == []


@given(st.permutations(range(4)))
def test_transposing_back_is_the_identity(axes):
    array = np.arange(120).reshape(2, 3, 4, 5)
    op = ops.transpose("W", axes)
    state = op.apply({"W": array})
    assert np.array_equal(op.inverse().apply(state)["W"], array)
    columns = op.columns({"W": np.stack([array, array + 1])}, 2)
    assert np.array_equal(columns["W"][1], np.transpose(array + 1, axes))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 1))
def test_splitting_and_merging_are_each_others_inverse(sizes, axis):
    shape = [3, 3]
    shape[axis] = sum(sizes)
    array = np.arange(float(np.prod(shape))).reshape(shape)
    names = [f"part{index}" for index in range(len(sizes))]
    op = ops.split("W", names, axis=axis, sizes=sizes)
    assert np.array_equal(op.inverse().apply(op.apply({"W": array}))["W"], array)


def test_mistakes_in_writing_a_step_are_reported_at_once():
    for make, error in (
        (lambda: ops.add("n"), TypeError),
        (lambda: ops.add("n", 1, factory=list), TypeError),
        (lambda: ops.rename("a"), TypeError),
        (lambda: ops.rename("a*", "b"), ValueError),
        (lambda: ops.rename("a/b", "c/d"), ValueError),
        (lambda: ops.unpack("a", "a"), ValueError),
        (lambda: ops.merge(("a/x", "b/y"), "z"), ValueError),
        (lambda: ops.split("W", "ab"), TypeError),
        (lambda: ops.split("W", ("a", "b"), sizes=(1,)), ValueError),
    ):
        with pytest.raises(error):
            make()

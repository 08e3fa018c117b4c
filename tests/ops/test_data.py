"""Steps as JSON, and the steps that reach what the others did not: any depth, slashes, units, columns."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest

from persist import ops
from persist.ops._address import is_equal

TABLE = np.array([(1, 2.0), (3, 4.0)], [("a", "<i4"), ("b", "<f8")])
PAIR = {"a": np.arange(4.0), "b": np.ones(4)}

# Step, a state, what becomes of it.
CASES: list[tuple[ops.Op, Any, Any]] = [
    (ops.unpack("a", "b"), (1, 2), {"a": 1, "b": 2}),
    (ops.pack("a", "b"), {"a": 1, "b": 2}, (1, 2)),
    (ops.rename("a", "b"), {"a": 1}, {"b": 1}),
    (ops.rename("a\\/b", "c"), {"a/b": 1}, {"c": 1}),
    (ops.rename("c", "a\\/b"), {"c": 1}, {"a/b": 1}),
    (ops.rename("x/a\\/b", "c"), {"x": {"a/b": 1}}, {"x": {"c": 1}}),
    (ops.rename("**/W", "w"), {"W": 1, "l": [{"W": 2}, {"k": {"W": 3}}]}, {"w": 1, "l": [{"w": 2}, {"k": {"w": 3}}]}),
    (ops.drop("**/tmp"), {"tmp": 1, "l": [{"tmp": 2}, {}]}, {"l": [{}, {}]}),
    (ops.convert("**/n", float, inverse=int), {"n": 1, "l": [{"n": 2}, 5]}, {"n": 1.0, "l": [{"n": 2.0}, 5]}),
    (ops.add("x", (1, {2: math.inf})), {}, {"x": (1, {2: math.inf})}),
    (ops.add("y", factory=list), {}, {"y": []}),
    (ops.add("z", np.arange(3, dtype="<i2")), {}, {"z": np.arange(3, dtype="<i2")}),
    (ops.drop("a", default=2.5), {"a": 2.5}, {}),
    (ops.astype("a", "<f4", was="<f8"), {"a": np.ones(2)}, {"a": np.ones(2, "<f4")}),
    (ops.transpose("a", (1, 0)), {"a": np.ones((2, 3))}, {"a": np.ones((3, 2))}),
    (ops.reshape("a", (6,), was=(2, 3)), {"a": np.ones((2, 3))}, {"a": np.ones(6)}),
    (ops.split("a", ("b", "c")), {"a": np.arange(4)}, {"b": np.arange(2), "c": np.arange(2, 4)}),
    (ops.merge(("b", "c"), "a"), {"b": np.arange(2), "c": np.arange(2, 4)}, {"a": np.arange(4)}),
    (ops.nest("o", "a", z="b"), {"a": 1, "b": 2}, {"o": {"a": 1, "z": 2}}),
    (ops.flatten("o", names=("a",)), {"o": {"a": 1}}, {"a": 1}),
    (ops.scale("a", 1000.0), {"a": 0.5}, {"a": 500.0}),
    (ops.scale("t", 1.0, offset=273.0), {"t": np.array([0, 1], "<f4")}, {"t": np.array([273, 274], "<f4")}),
    (ops.replace("m", {"x": 1, None: 2}), {"m": None}, {"m": 2}),
    (ops.replace("m", {"x": 1}), {"m": "y"}, {"m": "y"}),
    (ops.stack(("a", "b"), "c", axis=1), dict(PAIR), {"c": np.stack([np.arange(4.0), np.ones(4)], 1)}),
    (ops.unstack("c", ("a", "b"), axis=1), {"c": np.stack([np.arange(4.0), np.ones(4)], 1)}, dict(PAIR)),
    (ops.move("a/b", "c/d"), {"a": {"b": 1}, "c": {}}, {"a": {}, "c": {"d": 1}}),
    (ops.rename_column("t", {"a": "x"}), {"t": TABLE}, {"t": TABLE.astype([("x", "<i4"), ("b", "<f8")])}),
    (ops.add_column("t", "c", "<f4", 2), {"t": TABLE},
     {"t": np.array([(1, 2.0, 2), (3, 4.0, 2)], [("a", "<i4"), ("b", "<f8"), ("c", "<f4")])}),
    (ops.drop_column("t", "b", dtype="<f8"), {"t": TABLE}, {"t": TABLE[["a"]].astype([("a", "<i4")])}),
]  # fmt: skip
IDS = [str(case[0]) for case in CASES]


@pytest.mark.parametrize(("op", "state", "wanted"), CASES, ids=IDS)
def test_a_step_is_data_and_does_the_same_afterwards(op: ops.Op, state: Any, wanted: Any) -> None:
    text = ops.to_json(op)
    again = ops.from_json(text)
    assert again == op
    assert ops.to_json(again) == text
    json.loads(text)
    for one in (op, again):
        assert is_equal(one.apply(copy.deepcopy(state), {}), wanted)


@pytest.mark.parametrize(("op", "state", "wanted"), CASES, ids=IDS)
def test_the_way_back(op: ops.Op, state: Any, wanted: Any) -> None:
    if not op.is_reversible or isinstance(op, ops.drop_column):
        assert not op.is_reversible or op.inverse().inverse() == op
        return
    assert is_equal(op.inverse().apply(copy.deepcopy(wanted), {}), state)


def test_several_steps_are_a_list() -> None:
    steps = (ops.rename("a", "b"), ops.delete(None))
    assert ops.from_json(ops.to_json(steps)) == steps


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="is no data"):
        ops.to_json(ops.convert("a", lambda value: value))
    with pytest.raises(TypeError, match="no step"):
        ops.to_json([1])
    for text, said in [
        ('{"op": "system"}', "is no step"),
        ('{"op": "rename", "name": 1}', "has no 'name'"),
        ('{"op": "add", "name": "a", "value": {"$function": "os.system"}}', "no function that a step may name"),
        ('{"op": "add", "name": "a", "value": {"$array": {"dtype": "|O", "shape": [1], "hex": "00"}}}', "objects"),
        ("{", "no steps"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            ops.from_json(text)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(LookupError, match="at any depth"):
        ops.rename("**/W", "w").apply({"a": 1})
    with pytest.raises(LookupError, match="has no columns"):
        ops.rename_column("a", {"x": "y"}).apply({"a": np.ones(3)})
    with pytest.raises(LookupError, match="has no column 'x'"):
        ops.rename_column("t", {"x": "y"}).apply({"t": TABLE})
    with pytest.raises(LookupError, match="differ"):
        ops.stack(("a", "b"), "c").apply({"a": np.ones(3), "b": np.ones(4)})
    assert ops.rename("**/W", "w", optional=True).apply({"a": 1}) == {"a": 1}

"""Ready-made steps: made, joined, run, and written as data."""

from typing import assert_type

import persist
from persist import ops
from persist.errors import SchemaError
from persist.typing import State

steps: list[ops.Op] = [
    ops.unpack("weights", "bias"),
    ops.rename("W", "weights"),
    ops.add("activation", "tanh"),
    ops.drop("seed"),
    ops.astype("weights", "float32"),
    ops.transpose("weights"),
    ops.reshape("weights", (3, -1)),
    ops.split("weights", ("w", "u"), axis=0),
    ops.merge(("w", "u"), "weights", axis=0),
    ops.nest("layer", "weights"),
    ops.flatten("layer"),
    ops.scale("lr", 0.5),
    ops.replace("activation", {"relu": "ReLU"}),
]


def halved(value: float) -> float:
    return value / 2


def doubled(value: float) -> float:
    return value * 2


steps.append(ops.convert("lr", halved, inverse=doubled))
persist.migration("typing.Steps", 1, *steps)
assert_type(steps[0].is_reversible, bool)
assert_type(steps[1].inverse(), ops.Op)
assert_type(steps[1].losses({}), list[str])
assert_type(ops.to_json(steps[1]), str)
state: State = steps[1].apply({"W": 1})
try:
    persist.registry.default.check()
except SchemaError as error:
    assert_type(error.remedy, str)

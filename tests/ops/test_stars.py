"""Names with a star in their last part: a step on each field of a flat state that fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persist import ops
from persist.errors import IrreversibleError, UnfitStateError


def state() -> dict[str, Any]:
    return {
        "a.qkv.weight": np.arange(12.0).reshape(6, 2),
        "b.qkv.weight": -np.arange(12.0).reshape(6, 2),
        "a.count": 1,
        "b.count": 2,
        "*": 3,
    }


def test_drop_takes_all_that_fit_and_none() -> None:
    assert list(ops.drop("*.count").apply(state())) == ["a.qkv.weight", "b.qkv.weight", "*"]
    assert ops.drop("*.missing").apply(state()).keys() == state().keys()
    with pytest.raises(IrreversibleError):
        ops.drop("*.count", default=0).inverse()


def test_a_key_that_is_a_star_is_meant_itself() -> None:
    assert "*" not in ops.drop("*").apply(state())
    assert len(ops.drop("*").apply(state())) == 4


@pytest.mark.parametrize("axis", [0, 1])
def test_split_and_merge_are_each_others_inverse(axis: int) -> None:
    step = ops.split("*.qkv.weight", ("*.q.weight", "*.k.weight"), axis=axis)
    done = step.apply(state())
    assert np.array_equal(done["b.k.weight"], np.split(state()["b.qkv.weight"], 2, axis)[1])
    assert not any("qkv" in name for name in done)
    again = step.inverse().apply(done)
    for name, value in state().items():
        assert np.array_equal(again[name], value), name


def test_steps_that_turn_a_value_turn_each() -> None:
    done = ops.transpose("*.weight").apply(state())
    assert done["a.qkv.weight"].shape == (2, 6)
    assert ops.convert("*.count", str).apply(state())["b.count"] == "2"
    with pytest.raises(UnfitStateError, match="cannot turn"):
        ops.reshape("*.weight", (5,)).apply(state())


def test_inside_of_other_fields() -> None:
    nested = {"model": state()}
    assert "a.count" not in ops.drop("model/*.count").apply(nested)["model"]


def test_columns_are_what_rows_are() -> None:
    rows = [{"x.count": n, "y": n} for n in range(4)]
    columns = ops.drop("*.count").columns({"x.count": np.arange(4), "y": np.arange(4)}, 4)
    assert list(columns) == list(ops.drop("*.count").apply(dict(rows[0])))


def test_stars_that_have_no_counterpart_are_refused() -> None:
    with pytest.raises(ValueError, match="all of them need one"):
        ops.split("*.qkv", ("q", "k"))
    with pytest.raises(ValueError, match="all of them need one"):
        ops.merge(("*.q", "*.k"), "qkv")
    with pytest.raises(ValueError, match="all of them need one"):
        ops.split("*.*", ("*.q", "*.k"))


def test_as_data_it_is_the_same_step() -> None:
    step = ops.split("*.qkv.weight", ("*.q.weight", "*.k.weight"))
    assert ops.from_json(ops.to_json(step)) == step

"""A plain class that lists what is persistent, with steps as functions."""

from typing import assert_type

import numpy as np

import persist
from persist.registry import Migration
from persist.typing import Array, State


class Layer(persist.Versioned, version=3, schema="typing.Layer"):
    persistent = ("weights", "bias")

    def __init__(self, weights: Array, bias: Array) -> None:
        self.weights = weights
        self.bias = bias


@persist.migration(Layer, 1)
def transposed(state: State) -> State:
    return {**state, "weights": state["weights"].T}


@transposed.downgrade
def as_before(state: State) -> State:
    return {**state, "weights": state["weights"].T}


@persist.migration(Layer, 2)
def with_bias(state: State, record: persist.Record) -> State:
    return {"bias": np.zeros(len(record.args) + 1), **state}


assert_type(transposed.schema, str)
assert_type(transposed({}), State)
assert_type(as_before({}), State)
assert_type(with_bias({}, persist.Record("lab.Layer")), State)
step: Migration = transposed
print(step.is_reversible, Layer(np.eye(3), np.zeros(3)).weights.shape)
transposed(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

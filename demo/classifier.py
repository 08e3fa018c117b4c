"""Today's class, and how it came to be: all that a laboratory declares for ten years of its files."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

import persist
from persist import ops


@attrs.define(eq=False)
class SoftmaxClassifier(persist.Versioned, version=5, schema="mylab.LogReg"):
    """A linear classifier, as it is today."""

    weights: np.ndarray
    bias: np.ndarray
    activation: str = "softmax"
    classes: list[str] | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        scores = np.exp(x @ self.weights + self.bias)
        return scores / scores.sum(axis=1, keepdims=True)


# 2012: __getstate__ returned (W, b).    2016: a dict of weights and bias.
persist.migration(SoftmaxClassifier, 1, ops.unpack("weights", "bias"))

# 2018: other activations were tried; until then it was always softmax.
persist.migration(SoftmaxClassifier, 2, ops.add("activation", "softmax"))


# 2022: the names of the classes are kept.
persist.migration(SoftmaxClassifier, 3, ops.add("classes", None))


@persist.migration(SoftmaxClassifier, 4)
def count_no_more(state: dict[str, Any]) -> dict[str, Any]:
    """Today: the number 'version' that we counted by hand goes; persist counts."""
    return {name: value for name, value in state.items() if name != "version"}


# The class was called LogReg, and lived elsewhere.
persist.alias("logreg.LogReg", SoftmaxClassifier)
persist.alias("mylab.models.linear.SoftmaxClassifier", SoftmaxClassifier)


@persist.stamp(SoftmaxClassifier)
def by_shape(state: Any) -> int:
    """How we know the version of a state that bears none: by what is in it."""
    if isinstance(state, tuple):
        return 1
    if "classes" in state:
        return 4
    return 3 if "activation" in state else 2

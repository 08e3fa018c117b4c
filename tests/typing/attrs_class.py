"""A class of attrs."""

from typing import assert_type

import attrs
import numpy as np
import numpy.typing as npt

import persist
from persist import ops


@attrs.define(eq=False)
class LogReg(persist.Versioned, version=2, schema="typing.LogReg"):
    weights: npt.NDArray[np.float64]
    activation: str = "softmax"


made = persist.migration(LogReg, 1, ops.rename("W", "weights"), ops.add("activation", "softmax"))
assert_type(made.to, int)


@persist.stamp(LogReg)
def by_key(state: dict[str, object]) -> int | None:
    return 1 if "W" in state else None


assert_type(by_key({}), int | None)
assert_type(persist.stamp(LogReg, "version"), None)
assert_type(LogReg(np.zeros(3)).activation, str)

"""TensorFlow: tensors in pickles are their values, shapes and types plain.

Evidence: TensorFlow's ``python/framework/ops.py`` (``EagerTensor.__reduce__`` gives
``convert_to_tensor`` and the array), ``python/ops/resource_variable_ops.py`` (a variable is a
partial of its class with ``initial_value=``, called), ``framework/dtypes.py`` (``as_dtype`` and
the name), ``framework/tensor_shape.py``, of 1.15 to 2.15; a file of 2.3.4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from persist.registry import Registry
from persist.tree import LazyArray, Record, View

__all__ = ["pack"]

pack = Registry("tensorflow")

_OPS = "tensorflow.python.framework.ops"
_CONVERSION = "tensorflow.python.framework.tensor_conversion"


@pack.plain(
    f"{_OPS}.convert_to_tensor",
    f"{_OPS}.convert_to_tensor_v2",
    f"{_OPS}.convert_to_tensor_v2_with_dispatch",
    "tensorflow_core.python.framework.ops.convert_to_tensor",
    f"{_CONVERSION}.convert_to_tensor",
    f"{_CONVERSION}.convert_to_tensor_v2",
    f"{_CONVERSION}.convert_to_tensor_v2_with_dispatch",
    f"{_CONVERSION}_registry.convert",
)
def tensor(record: Record, looker: object) -> Any:
    """An eager tensor: its value. Strings stay an array, as they are one in the framework."""
    if not record.args:
        return None
    return _value(record.args[0])


def _value(value: object) -> object:
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        held = value
        return View(LazyArray(held.dtype, held.shape, lambda: held))
    if isinstance(value, np.generic):
        return View(np.asarray(value))
    return View(value)


@pack.plain("functools.partial")
def variable(record: Record, looker: object) -> Any:
    """A variable is pickled as a partial of its class, called: its value is ``initial_value``."""
    if record.kind != "called" or len(record.args) != 2 or record.args[1] != ():
        return None
    inner = record.args[0]
    state = inner.state if isinstance(inner, Record) else None
    if not isinstance(state, tuple) or len(state) < 3 or not isinstance(state[2], dict):
        return None
    if not str(state[0]).startswith("tensorflow") or "initial_value" not in state[2]:
        return None
    keywords = dict(state[2])
    value = keywords.pop("initial_value")
    parts = {name: item for name, item in keywords.items() if isinstance(item, str | bool | int)}
    return View(value, parts=parts)


@pack.plain(
    "tensorflow.python.framework.dtypes.as_dtype",
    "tensorflow_core.python.framework.dtypes.as_dtype",
)
def dtype(record: Record, looker: object) -> Any:
    """A data type: its name."""
    return View(record.args[0]) if record.args and isinstance(record.args[0], str) else None


@pack.plain(
    "tensorflow.python.framework.tensor_shape.TensorShape",
    "tensorflow_core.python.framework.tensor_shape.TensorShape",
)
def shape(record: Record, looker: Any) -> Any:
    """A shape: one list of its extents, None where one is open."""
    extents = record.args[0] if record.args else None
    if not isinstance(extents, list | tuple):
        return None
    found = [looker.through(extent) for extent in extents]
    return View([item.value if isinstance(item, View) else item for item in found], whole=True)


@pack.plain(
    "tensorflow.python.framework.tensor_shape.Dimension",
    "tensorflow_core.python.framework.tensor_shape.Dimension",
)
def dimension(record: Record, looker: object) -> object:
    """An extent: its number, or None."""
    return View(record.args[0]) if record.args else None

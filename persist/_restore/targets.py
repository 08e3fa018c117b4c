"""What `restore` can fill: mappings and objects of arrays, torch modules, Keras models.

No framework is imported: a module of torch is what has ``state_dict`` and ``load_state_dict``, a
model of Keras what has ``layers`` and ``weights``. Whoever hands one over has its library.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from persist._restore.keras_weights import NetworkTarget, is_network
from persist._restore.match import Slot, Target
from persist._restore.torch_targets import ModuleTarget, Written, given, tensor_slot
from persist.errors import RestoreError
from persist.tree import step_of
from persist.typing import Array

__all__ = ["target_of"]


def target_of(
    value: Any, format: str = "", structure: Any = None, written: Written | None = None
) -> Target:
    """Return the `Target` that lists the arrays of an object, by natural path.

    A Keras model by the names of its layers and weights; a torch module by the keys of its state
    dict; anything else by the arrays in its items and attributes.

    Args:
        value: the object.
        format: that of the file.
        structure: a function that returns the structure of the file.
        written: the file, for values that are not arrays.
    """
    if is_network(value):  # first: on torch's backend, such a model is a module as well
        return NetworkTarget(value, format, structure)
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return ModuleTarget(value, written)
    return Target(_array_slots(value))


# Mappings, lists, objects.


def _array_slots(root: object) -> Iterator[Slot]:
    """Walk items and attributes, each object once; iterative, since objects may be deep."""
    seen: set[int] = set()
    stack: list[tuple[str, object, object, object]] = [("", root, None, None)]
    while stack:
        path, value, holder, key = stack.pop()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            yield _array_slot(path, value, holder, key)
            continue
        torch: Any = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            yield _live_slot(path, value)
            continue
        if id(value) in seen or isinstance(value, str | bytes | int | float | type | None):
            continue
        seen.add(id(value))
        below = [
            (f"{path}/{step}" if path else step, item, value, key)
            for step, item, key in _below(value)
        ]
        stack.extend(reversed(below))


def _below(value: object) -> list[tuple[str, object, object]]:
    if isinstance(value, Mapping):
        items = [(step_of(key), item, key) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(index), item, index) for index, item in enumerate(value)]
    else:
        items = []
    names = list(getattr(value, "__dict__", ()))
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return items + [
        (name, getattr(value, name), None)
        for name in dict.fromkeys(names)
        if not name.startswith("__") and hasattr(value, name)
    ]


def _array_slot(path: str, array: Array, holder: object, key: Any) -> Slot:
    def assign(new: Array) -> None:
        if array.flags.writeable:
            np.copyto(array, new, casting="same_kind")
        elif isinstance(holder, dict | list):
            holder[key] = np.array(new, dtype=array.dtype)
        else:
            raise RestoreError(
                f"the array at {path!r} is read-only, and nothing that could take another holds it.",
                remedy="Give it a writable copy first.",
            )

    return Slot(path, array.shape, array.dtype, assign)


def _live_slot(path: str, tensor: Any) -> Slot:
    """The slot of a single torch tensor, which is filled in place."""

    def assign(new: object) -> None:
        torch = sys.modules["torch"]
        with torch.no_grad():
            tensor.copy_(given(tensor, new))

    slot = tensor_slot(path, tensor)
    return attrs.evolve(slot, assign=assign, optional="")

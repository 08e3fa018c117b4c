"""What `restore` can fill: mappings and objects of arrays, torch modules, Keras models.

No framework is imported: a module of torch is what has ``state_dict`` and ``load_state_dict``, a
model of Keras what has ``layers`` and ``weights``. Whoever hands one over has its library.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from persist._restore.keras_weights import NetworkTarget, is_network
from persist._restore.match import Slot, Target
from persist._trees.paths import step_of
from persist._wire.base.ml_dtypes import extended
from persist._wire.torch.storage import as_torch
from persist.errors import RestoreError

__all__ = ["target_of"]


def target_of(value: Any, format: str = "", structure: Any = None) -> Target:
    """Return what an object wants to be filled with, by natural path.

    A Keras model by the names of its layers and weights; a torch module by the keys of its state
    dict; anything else by the arrays in its items and attributes.

    Args:
        value: the object.
        format: that of the file.
        structure: a function that gives what else the file tells.

    Raises:
        RestoreError: it has a state dict, but no tensors in it by name.
    """
    if is_network(value):  # first: on torch's backend, such a model is a module as well
        return NetworkTarget(value, format, structure)
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return ModuleTarget(value)
    return Target(_array_slots(value))


# Modules of torch.


class ModuleTarget(Target):
    """A module of torch, or what looks like one.

    All goes in through its own ``load_state_dict`` at once, so that its hooks run and lazy
    parameters get their shape.

    Args:
        module: with ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._state = module.state_dict()
        slots = [
            _tensor_slot(name, tensor)
            for name, tensor in self._state.items()
            if hasattr(type(tensor), "shape") and hasattr(type(tensor), "dtype")
        ]
        if self._state and not slots:
            raise RestoreError(
                f"the state dict of {type(module).__name__} holds no tensors by name "
                f"(it has {', '.join(map(repr, list(self._state)[:5]))}).",
                remedy="An optimizer takes its own state: load_state_dict() with that part of "
                'persist.open(path, arrays="torch").tree.',
            )
        super().__init__(slots)

    def apply(self, arrays: list[tuple[Slot, np.ndarray[Any, Any]]]) -> None:
        """Put the arrays in, all at once."""
        state = copy.copy(self._state)  # with its _metadata, an attribute
        for slot, array in arrays:
            state[slot.name] = _like(self._state[slot.name], array)
        try:
            self._module.load_state_dict(state)
        except RuntimeError as error:
            raise RestoreError(
                f"{type(self._module).__name__}.load_state_dict() refused what is of the right "
                f"names and shapes: {error}",
                remedy="What it took before it refused is in it: make the module anew.",
            ) from error


_COUNTER = "num_batches_tracked"


def _tensor_slot(name: str, tensor: Any) -> Slot:
    try:
        shape: tuple[int, ...] | None = tuple(tensor.shape)
    except RuntimeError:  # a lazy parameter has none yet, and takes any
        shape = None
    pointer = tensor.data_ptr() if shape and hasattr(tensor, "data_ptr") else 0
    optional = "files of before torch 0.4.1 have none" if name.endswith(_COUNTER) else ""
    return Slot(
        name,
        shape,
        _dtype_of(tensor),
        lambda array: None,  # all go in at once
        twin=(pointer, shape, tensor.stride()) if pointer else None,
        optional=optional,
    )


def _dtype_of(value: Any) -> np.dtype[Any] | None:
    name = str(value.dtype).rpartition(".")[2]
    try:
        return np.dtype(name)
    except TypeError:
        pass
    try:
        return extended(name)
    except KeyError:  # torch's own: it converts
        return None


def _like(tensor: Any, array: np.ndarray[Any, Any]) -> Any:
    """The array as what the module holds: a tensor, or an array in what is none of torch's."""
    if isinstance(tensor, np.ndarray):
        return np.array(array, dtype=tensor.dtype)
    made = as_torch(np.array(array, dtype=array.dtype.newbyteorder("=")))
    kind = str(tensor.dtype).rpartition(".")[2]
    if array.dtype.kind == "u" and array.dtype == _dtype_of(tensor) and kind != array.dtype.name:
        return made.view(tensor.dtype)  # bits of what NumPy lacks, without ml_dtypes
    return made


# Mappings, lists, objects.


def _array_slots(root: Any) -> Iterator[Slot]:
    """Walk items and attributes, each object once; iterative, since objects may be deep."""
    seen: set[int] = set()
    stack: list[tuple[str, Any, Any, Any]] = [("", root, None, None)]
    while stack:
        path, value, holder, key = stack.pop()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            yield _array_slot(path, value, holder, key)
            continue
        if id(value) in seen or isinstance(value, str | bytes | int | float | type | None):
            continue
        seen.add(id(value))
        below = [
            (f"{path}/{step}" if path else step, item, value, key)
            for step, item, key in _below(value)
        ]
        stack.extend(reversed(below))


def _below(value: Any) -> list[tuple[str, Any, Any]]:
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


def _array_slot(path: str, array: np.ndarray[Any, Any], holder: Any, key: Any) -> Slot:
    def assign(new: np.ndarray[Any, Any]) -> None:
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

"""What older files hold of a module, as the flat state: a whole ``__dict__``, or a plain state dict.

Steps of a class get NumPy arrays in every case: `to_arrays` and `to_tensor` convert.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from persist._envelope import unwrap
from persist._torch_modules import facts
from persist._torch_modules.classes import is_module, torch_here, unwrapped_name
from persist._wire.torch.outline import fields_of
from persist._wire.torch.storage import Blob, as_torch, of_torch
from persist.tree import ABSENT, LazyArray, Record

__all__ = ["as_state_dict", "normal_state", "plain_names", "to_arrays", "to_tensor"]

_HELD = ("_parameters", "_buffers", "_modules")


def normal_state(state: object) -> Any:
    """Return the state of a module of any origin as one flat dict; anything else (an envelope) as it is.

    Source of the attributes: ``torch/nn/modules/module.py`` of 0.1 to 2.13, ``Module.__init__``.
    """
    if not isinstance(state, dict):
        return state
    if "_modules" in state and "_parameters" in state:
        return _of_whole(state)
    metadata = getattr(state, "_metadata", None)
    if metadata is None and not any(_is_wrapped(name) for name in state):
        return state
    made = plain_names(state)
    renamed = {unwrapped_name(f"{path}.")[:-1]: entry for path, entry in (metadata or {}).items()}
    return {**made, **facts.of_metadata(renamed, made)}


def as_state_dict(value: object) -> Any:
    """Return what a file holds of a module as a state dict with its ``_metadata``; None of anything else.

    Args:
        value: a state dict, or the record of a module, of whatever version.
    """
    metadata: dict[str, Any] = {}
    state = value
    if isinstance(value, Record):
        envelope = unwrap(value.state)
        versions = {value.qualname: value.version} if value.version is not None else {}
        state = value.state
        if envelope is not None:
            versions = {layer.schema: layer.version for layer in envelope.layers}
            state = envelope.values[-1]
        if not isinstance(state, dict):
            return None
        if versions:
            metadata[""] = {facts.PERSIST: versions}
    if not isinstance(state, dict):
        return None
    root = (getattr(state, "_metadata", None) or {}).get("")
    if isinstance(root, Mapping):
        metadata[""] = dict(root)
    rest, found = facts.split(normal_state(state))
    made: Any = OrderedDict(
        (name, item)
        for name, item in rest.items()
        if isinstance(item, np.ndarray | LazyArray) or str(name).endswith("_extra_state")
    )
    made._metadata = {**facts.as_metadata(found[facts.VERSION]), **metadata}
    return made


def _is_wrapped(name: object) -> bool:
    return isinstance(name, str) and unwrapped_name(name) != name


def plain_names(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a state dict without ``module.`` and ``_orig_mod.`` in its names.

    ``module.`` goes only if all names begin with it: a submodule may have that name.
    """
    is_all = all(
        isinstance(name, str) and name.startswith(("module.", "_orig_mod.")) for name in state
    )
    made = {}
    for name, value in state.items():
        new = (
            unwrapped_name(name)
            if is_all or (isinstance(name, str) and "_orig_mod." in name)
            else name
        )
        if not is_all and isinstance(name, str) and name.startswith("module."):
            new = f"module.{unwrapped_name(name[len('module.') :])}"
        made[new] = value
    return made if len(made) == len(state) else dict(state)


def _of_whole(state: Mapping[object, object]) -> dict[str, object]:
    """The flat state of a module's ``__dict__``; submodules are records in a tree, and modules in a pickle."""
    made: dict[str, Any] = {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and name[:1] != "_" and name not in ("training", "dump_patches")
    }
    if isinstance(state.get("training"), bool):
        made[facts.TRAINING] = state["training"]
    todo: list[tuple[str, Any]] = [("", state)]
    seen: set[int] = set()
    while todo:
        path, own = todo.pop(0)
        if id(own) in seen:
            continue
        seen.add(id(own))
        transient = own.get("_non_persistent_buffers_set") or ()
        for held in ("_parameters", "_buffers"):
            for name, value in (own.get(held) or {}).items():
                if value is not None and not (held == "_buffers" and name in transient):
                    made[facts.joined(path, name)] = value
        for name, child in (own.get("_modules") or {}).items():
            below = facts.joined(path, str(name))
            if is_module(child):
                made.update(_of_live(below, child))
            elif isinstance(child, Record):
                fields = fields_of(child) if child.state is not ABSENT or child.args else {}
                if "_modules" in fields:
                    todo.append((below, fields))
                elif isinstance(fields, dict):  # of a declared class, and up to date
                    made.update(_of_declared(below, fields))
                    if child.version is not None:
                        made[facts.joined(below, facts.VERSION)] = {child.qualname: child.version}
    return made


def _of_declared(path: str, fields: dict[Any, Any]) -> dict[str, object]:
    """The tensors and facts of a submodule; the arguments of its constructor are for the module to choose."""
    kept = {
        name: value
        for name, value in fields.items()
        if hasattr(value, "shape") or facts.is_fact(name) or str(name).endswith("_extra_state")
    }
    return {facts.joined(path, name): value for name, value in kept.items()}


def _of_live(path: str, module: Any) -> dict[str, object]:
    held = module.state_dict(keep_vars=True)
    made = {facts.joined(path, name): value for name, value in held.items()}
    versions = facts.of_metadata(getattr(held, "_metadata", None), held)
    return {**made, **{facts.joined(path, name): value for name, value in versions.items()}}


# Arrays and tensors.


def to_arrays(state: object, known: dict[int, tuple[object, object]]) -> Any:
    """Return a state with tensors replaced by arrays of the same memory, where they are on the host.

    Args:
        state: a dict; anything else is returned as it is.
        known: takes id of the array -> array, tensor.
    """
    torch = torch_here()
    if torch is None or not isinstance(state, dict):
        return state
    storages: dict[int, Blob] = {}
    made: dict[Any, Any] = {}
    arrays: dict[int, Any] = {}  # of tied parameters one
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            array = arrays.get(id(value))
            if array is None:
                seen = of_torch(value, storages)
                if seen is None:  # sparse, quantized: it stays what it is
                    made[name] = value
                    continue
                array = arrays[id(value)] = seen.read()
                known[id(array)] = (array, value)
            value = array
        made[name] = value
    return made


def to_tensor(value: Any) -> Any:
    """Return an array as a tensor of the same memory; anything else, and what torch has no dtype for, as it is."""
    if isinstance(value, np.generic):
        value = np.asarray(value)
    is_array = isinstance(value, np.ndarray | LazyArray)
    return as_torch(value) if is_array and not value.dtype.hasobject else value

"""Whole modules of torch in a tree, made ready to be built by classes that are here and trusted.

A module that torch pickled whole is rebuilt by the ``__setstate__`` of its class. Before that, its state loses
what no release since 1.4 reads (``_backend``) and gets, by the steps registered for each base of its class, what
today's class reads; parameters and buffers become what they were: parameters that require a gradient or not,
tensors, with the attributes that they had, one object wherever there was one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from persist._torch_modules.classes import is_module_class, is_torchs_own, torch_here
from persist._trees.copier import is_holder, parts_of
from persist._wire.torch.storage import Tensor, as_torch
from persist.registry import Registry
from persist.schema import dotted
from persist.tree import ABSENT, Global, LazyArray, Record, is_slots_pair

__all__ = ["function_named", "prepare", "revived", "tensors_of"]

_GONE = "_backend"  # 0.1 to 1.3: torch.nn.backends
# Functions that modules keep in attributes; all of them only compute.
_FUNCTIONS = frozenset(
    (
        "relu", "gelu", "tanh", "sigmoid", "elu", "selu", "celu", "leaky_relu", "silu", "softplus", "hardtanh", "mish",
        "hardswish", "relu6", "softmax", "log_softmax", "pairwise_distance", "cosine_similarity", "logsigmoid",
    )
)  # fmt: skip
# Tensors with attributes: a parameter since 1.13, any tensor since 1.9 (``torch/_utils.py``, ``torch/_tensor.py``).
_WITH_STATE = "torch._utils._rebuild_parameter_with_state"
_TYPED = ("torch._tensor._rebuild_from_type_v2", "torch.tensor._rebuild_from_type_v2")
_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_PLAIN = (str, bytes, bool, int, float, complex, type(None))
_FUNCTION_MODULES = ("torch.nn.functional", "torch._C._nn", "torch", "torch._C._VariableFunctions")


def function_named(module: str, name: str) -> object:
    """Return a function of torch that modules keep in attributes (an activation), else None."""
    torch = torch_here()
    if torch is None or module not in _FUNCTION_MODULES or name not in _FUNCTIONS:
        return None
    return getattr(torch.nn.functional, name, None)


def prepare(tree: object, class_of: Callable[[Record], Any], registry: Registry) -> None:
    """Bring the states of trusted records of modules, in a tree, to what their classes read today.

    Args:
        tree: its records are changed.
        class_of: record -> the class that is trusted to make it, or None.
        registry: the steps.
    """
    tensors: dict[int, tuple[Record, Tensor]] = {}
    for record in _modules_in(tree):
        record.state.pop(_GONE, None)
        cls = class_of(record)
        if not is_module_class(cls):
            continue
        _take_attributes(record.state, tensors)
        for base in reversed(cls.__mro__):
            if is_torchs_own(base):
                record.state = _stepped(record.state, dotted(base), registry)


def _take_attributes(state: dict[str, object], tensors: dict[int, tuple[Record, Tensor]]) -> None:
    """Put tensors in the place of records of tensors that have attributes, one for each record."""
    places = (state, state.get("_parameters"), state.get("_buffers"))
    for held in [one for one in places if isinstance(one, dict)]:
        for name, value in list(held.items()):
            if not isinstance(value, Record):
                continue
            known = tensors.get(id(value))
            made = known[1] if known is not None else _with_attributes(value)
            if made is not None:
                tensors[id(value)] = (value, made)
                held[name] = made


def _with_attributes(record: Record) -> Tensor | None:
    """The tensor that a record with attributes would be, or None: it is no such record."""
    args = record.args
    if len(args) != 4 or record.state is not ABSENT:
        return None
    if record.qualname == _WITH_STATE:
        tensor: object = args[0]
        facts: dict[str, object] = {"requires_grad": bool(args[1]), "is_parameter": True}
    elif record.qualname in _TYPED and isinstance(args[0], Global) and isinstance(args[2], tuple):
        if not isinstance(args[1], Global) or args[1].qualname not in _TYPES:
            return None
        from persist._wire.torch.rebuild import rebuilt

        tensor, facts = rebuilt(args[0].qualname, args[2]), {}
    else:
        return None
    attributes = _attributes(args[3])
    if not isinstance(tensor, Tensor) or attributes is None:
        return None
    return tensor.changed(**facts, attributes=attributes)


def _attributes(state: Any) -> dict[str, Any] | None:
    """The content of a tensor's ``__dict__`` and slots, if all of it is plain."""
    if is_slots_pair(state):
        state = {**(state[0] or {}), **(state[1] or {})}
    state = {} if state is None else state
    if not isinstance(state, dict) or any(
        type(name) is not str or name.startswith("__") for name in state
    ):
        return None
    return state if all(_is_plain(value) for value in state.values()) else None


def _is_plain(value: Any, depth: int = 4) -> bool:
    if type(value) in (list, tuple, set, frozenset) and depth:
        return all(_is_plain(item, depth - 1) for item in value)
    if type(value) is dict and depth:
        return all(_is_plain(item, depth - 1) for pair in value.items() for item in pair)
    return type(value) in _PLAIN


def _stepped(state: object, name: str, registry: Registry) -> object:
    schema = registry.schema_for(name)
    if schema is None or schema.cls is not None:
        return state
    version, _ = registry.stamp_of(name, state)
    for step in registry.path(name, version, schema.version) if version < schema.version else ():
        state = step.up(state, None, {})
    return state


def _modules_in(tree: object) -> Iterator[Record]:
    todo, seen = deque([tree]), set()
    while todo:
        value = todo.popleft()
        if id(value) in seen or not is_holder(value):
            continue
        seen.add(id(value))
        if type(value) is Record and isinstance(value.state, dict) and "_modules" in value.state:
            yield value
        todo.extend(part for _, part in parts_of(value))


def tensors_of(tree: object) -> dict[int, Tensor]:
    """Return the tensors of a file by the ids of the arrays that they were read to."""
    found: dict[int, Tensor] = {}
    todo, seen = [tree], set()
    while todo:
        value = todo.pop()
        if isinstance(value, Tensor):
            found[id(value.read())] = value
        elif id(value) not in seen and is_holder(value):
            seen.add(id(value))
            todo.extend(part for _, part in parts_of(value))
    return found


def revived(state: object, known: Mapping[int, Tensor], made: dict[int, tuple[Any, Any]]) -> Any:
    """Return the state of a module with parameters and tensors in the place of arrays.

    Args:
        state: the ``__dict__`` of a module; its values are built.
        known: the tensors of the file, by the ids of their arrays.
        made: id of an array -> array, and what became of it; shared by the modules of one tree.
    """
    if not isinstance(state, dict):
        return state
    state = dict(state)
    torch = torch_here()
    for held, kind in (("_parameters", torch.nn.Parameter), ("_buffers", None)):
        own = state.get(held)
        if isinstance(own, dict):
            state[held] = type(own)(
                (name, _tensor(value, kind, known, made)) for name, value in own.items()
            )
    return {name: _replaced(value, known, made) for name, value in state.items()}


def _tensor(
    value: Any, kind: Any, known: Mapping[int, Tensor], made: dict[int, tuple[Any, Any]]
) -> Any:
    torch = torch_here()
    if not isinstance(value, np.ndarray | LazyArray | torch.Tensor):
        return value
    found = made.get(id(value))
    if found is not None and (kind is None or isinstance(found[1], kind)):
        return found[1]
    tensor = value if isinstance(value, torch.Tensor) else as_torch(value)
    fact = known.get(id(value))
    if kind is not None:
        can = tensor.is_floating_point() or tensor.is_complex()
        tensor = kind(tensor, requires_grad=can and (fact is None or fact.requires_grad))
    if fact is not None and fact.attributes:
        vars(tensor).update(fact.attributes)
    made[id(value)] = (value, tensor)
    return tensor


def _replaced(
    value: Any, known: Mapping[int, Tensor], made: dict[int, tuple[Any, Any]], depth: int = 4
) -> Any:
    """A value of another attribute: arrays that are tensors of the file become tensors."""
    if isinstance(value, np.ndarray):
        if id(value) in made:
            return made[id(value)][1]
        fact = known.get(id(value))
        if fact is None:
            return value
        torch = torch_here()
        return _tensor(value, torch.nn.Parameter if fact.is_parameter else None, known, made)
    torch = torch_here()
    if isinstance(value, torch.Tensor):
        fact = known.get(id(value))
        if fact is not None and fact.attributes:
            return _tensor(value, None, known, made)
        return made[id(value)][1] if id(value) in made else value
    if not depth:
        return value
    if type(value) in (dict, OrderedDict):
        return type(value)(
            (key, _replaced(item, known, made, depth - 1)) for key, item in value.items()
        )
    if type(value) in (list, tuple):
        return type(value)(_replaced(item, known, made, depth - 1) for item in value)
    return value

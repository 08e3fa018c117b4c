"""Trees whose arrays are tensors of torch: for a framework's own ``load_state_dict``."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from persist._trees.copier import Copier
from persist._trees.pack_view import PackView
from persist._wire.torch.storage import as_torch, kind_of
from persist.tree import ABSENT, Global, LazyArray, Record, View

__all__ = ["part_at", "tensor_of", "with_tensors"]


def tensor_of(value: object, looker: PackView) -> object:
    """Return the tensor that a value is, or ABSENT: it is no array, or torch has no dtype for it.

    A record counts where a pack sees an array in it (a quantized tensor, a parameter); the name of
    a dtype of torch is that dtype.
    """
    if type(value) is Global:
        return _dtype(value)
    if isinstance(value, Record):
        seen = looker.through(value)
        value = seen.value if isinstance(seen, View) else seen
    if not isinstance(value, LazyArray | np.ndarray) or value.dtype.hasobject:
        return ABSENT
    made = as_torch(value)
    return ABSENT if made is value else made


def _dtype(name: Global) -> object:
    """The dtype of a name of torch, else ABSENT."""
    torch: Any = sys.modules.get("torch")
    if torch is None or name.module != "torch" or kind_of(name.name) is None:
        return ABSENT
    found = getattr(torch, name.name, None)
    return found if isinstance(found, torch.dtype) else ABSENT


class _TensorCopier(Copier):
    """Copies a tree; arrays become tensors of the same memory, one for each array."""

    def __init__(self, looker: PackView) -> None:
        super().__init__(lambda record, path: record)
        self._looker = looker
        self._made: dict[int, tuple[Any, Any]] = {}

    def _new(self, old: object) -> object:
        if not isinstance(old, LazyArray | np.ndarray | Record | Global):
            return super()._new(old)
        known = self._made.get(id(old))
        if known is not None:
            return known[1]
        made = tensor_of(old, self._looker)
        if made is ABSENT and isinstance(old, Record):
            made = self._plain_value(old)
        if made is ABSENT:
            return super()._new(old)
        self._made[id(old)] = (old, made)
        return made

    def _plain_value(self, record: Record) -> object:
        """What a pack knows to be a plain value (a ``torch.Size``), else ABSENT."""
        seen = self._looker.through(record)
        if isinstance(seen, View):
            seen = ABSENT if seen.parts else seen.value
        return ABSENT if isinstance(seen, View | Record) else seen


def with_tensors(tree: object, looker: PackView) -> Any:
    """Return a copy of a tree in which arrays are tensors of torch.

    Raises:
        MissingExtraError: torch is not installed.
    """
    return _TensorCopier(looker).copy(tree)


def part_at(tree: object, looker: PackView, path: str) -> object:
    """Return the value at a path of a tree, or ABSENT.

    Below a record that a pack presents, a path may also lead through the record as it is stored: the
    paths of a plan do.
    """
    todo = [(tree, path)]
    while todo:
        value, rest = todo.pop()
        if not rest:
            return value
        found = _followed(looker.look(value)[1], rest)
        if not found and isinstance(value, Record):
            found = _followed(looker.raw(value)[1], rest)
        todo += found
    return ABSENT


def _followed(steps: list[tuple[str, object]], path: str) -> list[tuple[object, str]]:
    """The children on a path, each with the rest of the path; the first last."""
    found = []
    for step, item in reversed(steps):
        if step == path:
            found.append((item, ""))
        elif path.startswith(f"{step}/"):
            found.append((item, path[len(step) + 1 :]))
    return found

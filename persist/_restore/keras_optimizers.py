"""The state of an optimizer in a file of Keras, into the optimizer of a living model.

A file lists an optimizer's variables in a row: the count of steps, and for each trainable weight one
or several arrays (momentums, velocities). Which is which follows from the optimizer and the release;
nothing is brought over where counts, shapes or names leave a doubt, and the reason is returned. A
weight that changed its place (a kernel that was turned, gates that were joined) takes its state with
it: `Moves` has numbers in the place of the weights, which went through the same steps.

Evidence: ``keras/optimizers.py`` of 1.2.2, 2.0.9 and 2.2.4 (``self.weights``),
``tensorflow/python/keras/optimizer_v2`` of 2.3 (slots are named ``Adam/dense/kernel/m``),
``keras/optimizers/optimizer_experimental`` of 2.11 (``Adam/m/dense/kernel``),
``keras/src/optimizers`` of 3.15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

__all__ = ["Moves", "brought_over", "in_order"]

# Optimizer -> the attribute that has its variables today -> their names in files, in the order of files.
SLOTS: dict[str, dict[str, tuple[str, ...]]] = {
    "SGD": {"momentums": ("momentum", "m")},
    "RMSprop": {
        "_velocities": ("rms", "velocity"),
        "_momentums": ("momentum",),
        "_average_gradients": ("mg", "average_gradient"),
    },
    "Adagrad": {"_accumulators": ("accumulator",)},
    "Adadelta": {
        "_accumulated_grads": ("accum_grad", "accumulated_grad"),
        "_accumulated_delta_vars": ("accum_var", "accumulated_delta_var"),
    },
    "Adam": {
        "_momentums": ("m",),
        "_velocities": ("v",),
        "_velocity_hats": ("vhat",),
    },
    "Adamax": {"_m": ("m",), "_u": ("v", "u")},
    "Ftrl": {"_accumulators": ("accumulator",), "_linears": ("linear",)},
}
_PART = 0.37  # behind each number: no factor of a step gives it again


class Moves(Mapping[str, Any]):
    """Arrays by name, with a number of its own for each element of each of them.

    Args:
        arrays: of the file; only their shapes count.
    """

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self.starts: dict[str, int] = {}
        self._end = 0

    def __getitem__(self, name: str) -> Any:
        shape = tuple(self._arrays[name].shape)
        size = int(np.prod(shape, dtype=np.int64))
        if name not in self.starts:
            self.starts[name] = self._end
            self._end += size
        return np.arange(size, dtype=np.float64).reshape(shape) + self.starts[name] + _PART

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def read(self, numbers: object) -> Any:
        """Return the elements that an array was made of, or None where it was not only moved."""
        found = np.asarray(numbers, np.float64) - _PART
        whole = np.rint(found)
        if np.abs(found - whole).max(initial=0.0) > 1e-6 or (whole < 0).any():
            return None
        return whole.astype(np.int64) if (whole < self._end).all() else None

    def names_in(self, elements: Any) -> set[str]:
        """The arrays that these elements are of."""
        low, high = int(elements.min(initial=0)), int(elements.max(initial=0))
        found = set()
        for name, start in self.starts.items():
            stop = start + int(np.prod(self._arrays[name].shape, dtype=np.int64))
            inside = start <= high and stop > low
            if inside and ((elements >= start) & (elements < stop)).any():
                found.add(name)
        return found


@attrs.frozen
class _Trained:
    """The trainable weights of a file, in its order, and what became of them.

    Attributes:
        shapes: of each.
        starts: the number of its first element.
        elements: of each trainable variable of the model, the elements of the file.
    """

    shapes: list[tuple[int, ...]]
    starts: list[int]
    elements: list[Any]


def in_order(optimizer: Any, stored: Sequence[Any]) -> str:
    """Fill an optimizer from the variables of one of Keras 3, which are in the same order; return why not."""
    own = list(optimizer.variables)
    shapes = [tuple(one.shape) for one in own]
    if [tuple(one.shape) for one in stored] != shapes:
        return f"the file has {len(stored)} variables of its optimizer, and today's has {len(own)} of other shapes"
    for variable, value in zip(own, stored, strict=True):
        variable.assign(np.asarray(value))
    return ""


def brought_over(
    model: Any,
    stored: Sequence[tuple[str, Any]],
    moves: Moves | None,
    numbers: Mapping[int, Any],
    order: Sequence[str],
    is_sorted: bool = False,
) -> str:
    """Fill the optimizer of a compiled model from a file's; return why not, or an empty text.

    Args:
        model: its optimizer is built.
        stored: names and arrays of the optimizer's variables, in the order of the file.
        moves: what the numbers mean; None where weights are in the file as they are in the model.
        numbers: id of a variable of the model -> numbers of the weights that it was made of.
        order: the names of the file's weights, in order.
        is_sorted: Keras 1.x had its arrays in the order of names that are in no file
            (``collect_trainable_weights`` of ``keras/engine/training.py`` of 1.2.2), so shapes alone tell.
    """
    optimizer = model.optimizer
    kind = type(optimizer).__name__
    if kind not in SLOTS:
        return f"how the variables of {kind} correspond to those of today is not known"
    variables = list(model.trainable_variables)
    trained = _trained(variables, moves, numbers, order)
    if isinstance(trained, str):
        return trained
    slots = {name: own for name in SLOTS[kind] if (own := getattr(optimizer, name, None))}
    steps, rest = _parted(stored)
    if is_sorted and slots and len(set(trained.shapes)) < len(trained.shapes):
        return "Keras 1.x does not state their order, and several weights have the same shape"
    groups = _groups(kind, list(slots), rest, trained.shapes, is_sorted)
    if groups is None:
        shapes = [tuple(array.shape) for _, array in rest]
        return (
            f"{len(rest)} arrays of shapes {shapes[:4]}... are not {len(slots)} for each of the "
            f"{len(trained.shapes)} trainable weights"
        )
    for name, arrays in groups.items():
        for variable, array in zip(slots[name], _moved(trained, arrays, variables), strict=True):
            variable.assign(array)
    if steps is not None:
        optimizer.iterations.assign(int(np.asarray(steps)))
    return ""


def _trained(
    variables: list[Any], moves: Moves | None, numbers: Mapping[int, object], order: Sequence[str]
) -> _Trained | str:
    shapes = [tuple(int(n) for n in one.shape) for one in variables]
    if moves is None:
        sizes = [int(np.prod(shape, dtype=np.int64)) for shape in shapes]
        starts = [int(n) for n in np.cumsum([0, *sizes[:-1]])] if sizes else []
        spans = [
            np.arange(size).reshape(shape) + start
            for size, shape, start in zip(sizes, shapes, starts, strict=True)
        ]
        return _Trained(shapes, starts, spans)
    elements, names = [], set()
    for variable, shape in zip(variables, shapes, strict=True):
        found = moves.read(numbers[id(variable)]) if id(variable) in numbers else None
        if found is None or found.shape != shape:
            return f"{variable.path} was computed from the file's weights, not only moved"
        elements.append(found)
        names |= moves.names_in(found)
    ordered = [name for name in order if name in names]
    whole = sum(int(np.prod(moves._arrays[name].shape, dtype=np.int64)) for name in ordered)
    if whole != sum(one.size for one in elements):
        return "a trainable weight of the file became no weight of the model, or several"
    return _Trained(
        [tuple(moves._arrays[name].shape) for name in ordered],
        [moves.starts[name] for name in ordered],
        elements,
    )


def _parted(stored: Sequence[tuple[str, Any]]) -> tuple[Any, list[tuple[str, Any]]]:
    """The count of steps, or None, and the arrays that follow; a rate between them is in the configuration."""
    scalars = [array for _, array in stored[:2] if not array.shape]
    return (scalars[0] if scalars else None), list(stored[len(scalars) :])


def _groups(
    kind: str,
    slots: list[str],
    rest: list[tuple[str, Any]],
    shapes: list[tuple[int, ...]],
    is_sorted: bool,
) -> dict[str, list[object]] | None:
    """The arrays of each slot, one for each weight, or None: they do not fit."""
    if not slots:
        return {}
    named = _named(kind, slots, rest)
    arrays = [array for _, array in rest]
    count, many = len(shapes), len(slots)
    tail = arrays[count * many :]
    if len(tail) == count and all(tuple(one.shape) == (1,) for one in tail):
        arrays = arrays[
            : count * many
        ]  # of Adam without amsgrad, since 2.1: they stand for nothing
    if named is None:
        if len(arrays) != count * many:
            return None
        rows = {name: arrays[at * count :][:count] for at, name in enumerate(slots)}
        turns = {name: arrays[at::many] for at, name in enumerate(slots)}
        # One slot after another until 2.10; an archive has the slots of each weight together.
        numbered = all(name.rpartition("/")[2].isdigit() for name, _ in rest)
        named = turns if numbered else rows
    if is_sorted:
        ranks = {shape: rank for rank, shape in enumerate(shapes)}
        for own in named.values():
            own.sort(key=lambda one: ranks.get(tuple(one.shape), -1))
    fit = all([tuple(one.shape) for one in own] == shapes for own in named.values())
    return named if fit else None


def _named(
    kind: str, slots: list[str], rest: list[tuple[str, object]]
) -> dict[str, list[Any]] | None:
    """The arrays of each slot by their names, or None where names do not say it."""
    words = {word: name for name in slots for word in SLOTS[kind][name]}
    found: dict[str, list[Any]] = {name: [] for name in slots}
    for name, array in rest:
        parts = name.removesuffix(":0").split("/")
        ends = [words[part] for part in (parts[-1], *parts[1:2]) if part in words]
        if not ends:
            return None
        found[ends[0]].append(array)
    return found


def _moved(trained: _Trained, arrays: list[Any], variables: list[Any]) -> Iterator[Any]:
    """The arrays of a slot as the weights of today lie."""
    end = max(
        (start + int(np.prod(shape, dtype=np.int64))
         for start, shape in zip(trained.starts, trained.shapes, strict=True)),
        default=0,
    )  # fmt: skip
    everything = np.zeros(end, np.float32)
    for start, array in zip(trained.starts, arrays, strict=True):
        flat = np.asarray(array).reshape(-1)
        everything[start : start + flat.size] = flat
    for variable, elements in zip(variables, trained.elements, strict=True):
        yield everything[elements].reshape(tuple(variable.shape))

"""Resume a run: several objects from one file, and optimizers whose parameters have other names or another order.

The state of an optimizer goes by number, in the order of the parameters that it was given. Which number is
which name, the file says (``param_names``, which torch writes since 2.6 for ``named_parameters()``), or the
state of the module next to it does, whose parameters are in that order (``Module.named_parameters``). What becomes of a
name is asked of the module itself: a copy of it loads, by its own hooks and migrations, a state whose tensors hold the
number of each element. Where an element arrives, its part of the optimizer's state goes, whether parameters
were renamed, reordered, split, joined or transposed. A parameter whose values a migration computes has no
state then, and the report says so.

Source of the layout: ``Optimizer.state_dict`` and ``load_state_dict`` of ``torch/optim/optimizer.py``.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import attrs
import numpy as np

from persist._objects.torch_values import with_tensors
from persist._restore.match import Report
from persist._restore.torch_targets import Written, is_optimizer
from persist._torch_modules.classes import is_module, torch_here, unwrapped, unwrapped_name
from persist._torch_modules.states import as_state_dict
from persist.errors import RestoreError
from persist.tree import ABSENT, LazyArray, Record, step_of
from persist.typing import Array, State

__all__ = ["is_run", "named_state", "restore_run"]

_FIRST = 1 << 40  # numbers of elements begin here, where no weight and no count is


def is_run(into: object) -> bool:
    """Whether something is a mapping of objects that have a state to load."""
    return (
        isinstance(into, Mapping)
        and bool(into)
        and all(hasattr(value, "load_state_dict") for value in into.values())
    )


def restore_run(
    into: Mapping[str, object],
    written: Written,
    file: str,
    restore_one: Callable[[Any, str, Any], Report],
) -> Report:
    """Fill each object from the part of the file under its key.

    Args:
        into: key -> module, optimizer, scheduler, scaler, loader.
        written: the file.
        file: its name.
        restore_one: (object, path, state in the place of that of the file or ABSENT) -> report; fills one.

    Raises:
        RestoreError: the file lacks a part, or one does not fit; then no object has been touched unless it is named
            before that one.
    """
    lacking = [key for key in into if written.part(step_of(key)) is ABSENT]
    if lacking:
        root = written.part("")
        there = ", ".join(map(repr, root)) if isinstance(root, dict) else "no parts"
        raise RestoreError(
            f"there is nothing at {', '.join(map(repr, lacking))}.",
            file=file,
            remedy=f"The file has {there}: the keys of what is restored are those of the file.",
        )
    modules = {key: value for key, value in into.items() if is_module(value)}
    states: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for key, value in into.items():
        if is_optimizer(value) and modules:
            found = named_state(value, written, step_of(key), modules)
            if found is not None:
                states[key] = found.state
                notes.update({f"{step_of(key)}/{place}": why for place, why in found.notes.items()})
    report = Report(file=file, value=into, notes=notes)
    for key in (*modules, *(key for key in into if key not in modules)):
        path = step_of(key)
        part = restore_one(into[key], path, states.get(key, ABSENT))
        for name, origin in part.filled.items():
            report.filled[f"{path}/{name}"] = (
                origin if origin.startswith(path) else f"{path}/{origin}"
            )
        for held in ("missing", "misfits", "notes"):
            getattr(report, held).update(
                {f"{path}/{name}": why for name, why in getattr(part, held).items()}
            )
        report.unexpected += [f"{path}/{name}" for name in part.unexpected]
    return report


@attrs.define
class _Named:
    """An optimizer's state as its parameters are today, and what was left out."""

    state: State
    notes: dict[str, str] = attrs.Factory(dict)


def named_state(
    optimizer: Any, written: Written, path: str, modules: Mapping[str, Any]
) -> _Named | None:
    """Return the state of an optimizer in a file, in the order of the parameters that it has today.

    None where its parameters are not those of one of the modules, or are the same in the same order.

    Args:
        optimizer: of torch.
        written: the file.
        path: the part of the file that is its state.
        modules: key in the file -> module.

    Raises:
        RestoreError: the parameter to which a state belongs is not known.
    """
    state = written.part(path)
    if not is_optimizer_state(state):
        return None
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, module in modules.items():
        names = {id(one): name for name, one in module.named_parameters()}
        if own and all(id(one) in names for one in own):
            part = written.part(step_of(key))
            older = as_state_dict(part) if isinstance(part, Mapping | Record) else None
            if older is None:
                return None
            looked = with_tensors(state, written.looker)
            return _Moved(optimizer, names, unwrapped(module), older, looked, path).result()
    return None


def is_optimizer_state(state: object) -> bool:
    """Whether a value is what ``Optimizer.state_dict()`` returns."""
    return (
        isinstance(state, Mapping)
        and isinstance(state.get("state"), Mapping)
        and all(
            isinstance(group, Mapping) and "params" in group
            for group in state.get("param_groups") or [{}]
        )
    )


class _Moved:
    """Where the elements of old parameters went."""

    def __init__(
        self,
        optimizer: Any,
        names: Mapping[int, str],
        module: Any,
        older: Mapping[str, Any],
        state: Mapping[str, Any],
        path: str,
    ) -> None:
        self.optimizer = optimizer
        self.path = path
        self.state = state
        self.older = {name: value for name, value in older.items() if _is_array(value)}
        self.metadata = getattr(older, "_metadata", {})
        self.module = module
        self.names = {key: unwrapped_name(name) for key, name in names.items()}
        self.starts: dict[str, int] = {}  # old name -> number of its first element
        self.targets = self._numbered()

    def _numbered(self) -> dict[str, Array]:
        """Let a copy of the module load numbers: name of today -> the numbers that arrived."""
        torch = torch_here()
        twin = copy.deepcopy(self.module).to(device="cpu", dtype=torch.float64)
        state: Any = OrderedDict()
        known: dict[Any, Any] = {}
        start = _FIRST
        for name, value in self.older.items():
            memory = _memory_of(value)
            if memory not in known:
                size = int(np.prod(value.shape, dtype=np.int64))
                numbers = np.arange(start, start + size, dtype="f8").reshape(value.shape)
                known[memory] = (value, torch.from_numpy(numbers), start)
                start += size
            _, state[name], self.starts[name] = known[memory]
        state._metadata = copy.deepcopy(dict(self.metadata))
        twin.load_state_dict(state)
        self.end = start
        found = {**dict(twin.named_buffers()), **dict(twin.named_parameters())}
        return {unwrapped_name(name): one.detach().double().numpy() for name, one in found.items()}

    def result(self) -> _Named | None:
        groups = list(self.state["param_groups"])
        listed = self._old_names(groups)
        numbers = [number for group in groups for number in group["params"]]
        held = {
            name: self.state["state"].get(number)
            for name, number in zip(listed, numbers, strict=True)
        }
        self._check(held)
        places = (index for index, group in enumerate(groups) for _ in group["params"])
        group_of = dict(zip(listed, places, strict=True))
        made = _Named({"state": {}, "param_groups": []})
        number = 0
        for index, group in enumerate(self.optimizer.param_groups):
            own = [self.names[id(parameter)] for parameter in group["params"]]
            origins = [self._origins(name) for name in own]
            came = [group_of[one] for one in chain.from_iterable(origins) if one in group_of]
            theirs = max(came, key=came.count) if came else min(index, len(groups) - 1)
            facts = {
                name: item
                for name, item in groups[theirs].items()
                if name not in ("params", "param_names")
            }
            if "param_names" in group:
                facts["param_names"] = list(group["param_names"])
            facts["params"] = list(range(number, number + len(own)))
            made.state["param_groups"].append(facts)
            for name, old, parameter in zip(own, origins, group["params"], strict=True):
                slots = self._slots(name, old, held, parameter)
                if slots:
                    made.state["state"][number] = slots
                elif not old or any(held.get(one) for one in old):
                    made.notes[f"state/{number}"] = (
                        f"the parameter {name!r} is computed by a migration or new: it has no state"
                    )
                number += 1
        return made

    # The old side.

    def _old_names(self, groups: list[Mapping[str, Any]]) -> list[str]:
        """The old name of each number, group by group."""
        if all("param_names" in group for group in groups):
            ours = {unwrapped_name(name): name for name in self.older}
            named = [str(name) for group in groups for name in group["param_names"]]
            found = [ours.get(unwrapped_name(name), name) for name in named]
            if all(name in self.older for name in found):
                return found
        arrived: dict[str, str] = {}  # old name -> a name of today that has elements of it
        for name in self.targets:
            for old in self._origins(name):
                arrived.setdefault(old, name)
        parameters = set(self.names.values())
        seen: set[int] = set()
        order: list[str] = []
        for name in self.older:  # of a tied parameter, the first
            if arrived.get(name) in parameters and self.starts[name] not in seen:
                seen.add(self.starts[name])
                order.append(name)
        counts = [len(group["params"]) for group in groups]
        if len(groups) == 1:
            listed = [order]
        else:  # each group of the file has the parameters that the group of today has
            ours_in = [
                {self.names[id(one)] for one in group["params"]}
                for group in self.optimizer.param_groups
            ]
            listed = [[name for name in order if arrived[name] in own] for own in ours_in]
        if [len(own) for own in listed] != counts:
            raise self._unknown(
                f"the file has groups of {counts} parameters, and the module next to it has "
                f"{[len(own) for own in listed]}"
            )
        return [*chain.from_iterable(listed)]

    def _check(self, held: Mapping[str, Any]) -> None:
        """Compare the shapes of states with those of the parameters that they are said to be of."""
        for name, slots in held.items():
            shape = tuple(self.older[name].shape)
            for what, value in (slots or {}).items():
                is_shaped = getattr(value, "ndim", 0) and value.numel() == int(np.prod(shape))
                if is_shaped and tuple(value.shape) != shape:
                    raise self._unknown(
                        f"{what} of {name!r} has the shape {tuple(value.shape)}, not {shape}"
                    )

    def _unknown(self, why: str) -> RestoreError:
        return RestoreError(
            f"the state of the optimizer at {self.path!r} cannot be matched with parameters by name: {why}.",
            remedy="Nothing was changed. Make the optimizer of module.named_parameters() when it is saved, so that its "
            "state has names; or restore the module alone, and begin with a new optimizer.",
        )

    # The side of today.

    def _origins(self, name: str) -> list[str]:
        """The old names whose elements arrived in a parameter, all of them and nothing else; else none."""
        numbers = self.targets.get(name)
        if numbers is None or not numbers.size:
            return []
        flat = numbers.reshape(-1)
        if flat.min() < _FIRST or flat.max() >= self.end or (flat != np.floor(flat)).any():
            return []
        low, high = flat.min(), flat.max()
        spans = [
            (start, old)
            for old, start in self.starts.items()
            if start <= high and start + int(np.prod(self.older[old].shape, dtype=np.int64)) > low
        ]
        found: dict[int, str] = {}
        for start, old in spans:
            stop = start + int(np.prod(self.older[old].shape, dtype=np.int64))
            if ((flat >= start) & (flat < stop)).any():
                found.setdefault(start, old)
        return list(found.values())

    def _slots(
        self, name: str, old: list[str], held: Mapping[str, Any], parameter: Any
    ) -> dict[str, Any]:
        """What the optimizer keeps for a parameter, gathered from what it kept for the old ones."""
        torch = torch_here()
        kept = [held.get(one) for one in old]
        if not old or not all(kept):
            return {}
        slots: dict[str, Any] = {}
        numbers = self.targets[name].reshape(-1).astype(np.int64)
        for what, first in kept[0].items():  # type: ignore[union-attr]
            values = [slots_of[what] for slots_of in kept if what in slots_of]  # type: ignore[index, operator]
            is_shaped = isinstance(first, torch.Tensor) and tuple(first.shape) == tuple(
                self.older[old[0]].shape
            )
            if not is_shaped or not first.ndim:
                # Its own: a step counter is counted up in place, for each part of what was split.
                slots[what] = first.clone() if isinstance(first, torch.Tensor) else first
                continue
            made = torch.empty(numbers.size, dtype=first.dtype)
            for one, value in zip(old, values, strict=True):
                start = self.starts[one]
                mask = (numbers >= start) & (numbers < start + value.numel())
                at = torch.from_numpy(numbers[mask] - start)
                made[torch.from_numpy(mask)] = value.reshape(-1).cpu()[at]
            slots[what] = made.reshape(parameter.shape)
        return slots


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | LazyArray)


def _memory_of(value: Any) -> Any:
    """What tied arrays of a file share."""
    storage = getattr(value, "storage", None)
    if storage is not None and getattr(value, "strides", None) is not None:
        return (
            id(storage.blob),
            storage.start,
            value.offset,
            tuple(value.shape),
            tuple(value.strides),
        )
    return id(value)

"""Modules, optimizers, schedulers of torch, filled through their own ``load_state_dict``.

A module is matched by name first. Where names alone do not fit, a copy of it is asked whether its
own hooks take the file (``_load_from_state_dict``, pre-hooks, the versions in ``_metadata``), as
they do for files of older layouts; then so does the module. No framework is imported here:
whoever hands over a module has torch.
"""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from persist._objects.torch_values import part_at, with_tensors
from persist._restore.match import Report, Slot, Target
from persist._runtime.lazy_regex import regex
from persist._torch_modules.states import as_state_dict
from persist._trees.pack_view import PackView
from persist._wire.base.ml_dtypes import extended
from persist._wire.torch.quantized import QuantizedTensor
from persist._wire.torch.storage import as_torch
from persist.errors import PersistError, RestoreError
from persist.tree import ABSENT, LazyArray, Record
from persist.typing import Array, DType

__all__ = [
    "ModuleTarget",
    "Written",
    "given",
    "has_state",
    "is_optimizer",
    "restore_state",
    "tensor_slot",
]

_COUNTER = "num_batches_tracked"
_EXTRA = "_extra_state"
_WRAPPER = regex(r"((module|_orig_mod)\.)+")


class Written:
    """The parts of a file that a target may use in addition to its arrays.

    Args:
        tree: returns the tree.
        looker: returns the leaf and the children of a value.
        at: the part that is wanted.
        format: of the file.
    """

    def __init__(
        self, tree: Callable[[], Any], looker: PackView, at: str = "", format: str = ""
    ) -> None:
        self._tree = tree
        self.looker = looker
        self.at = at
        self.format = format

    def part(self, path: str) -> Any:
        """Return the value at a path below ``at``, or ABSENT."""
        whole = "/".join(step for step in (self.at, path) if step)
        return part_at(self._tree(), self.looker, whole)


# Modules.


class ModuleTarget(Target):
    """A module of torch, or what looks like one.

    All goes in through its own ``load_state_dict`` at once, so that its hooks run and lazy
    parameters get their shape.

    Args:
        module: with ``state_dict`` and ``load_state_dict``.
        written: the file, for what is no array; None where there is none.
    """

    def __init__(self, module: Any, written: Written | None = None) -> None:
        self._module = module
        self._written = written
        self._state = module.state_dict()
        self._origins: dict[str, str] = {}  # name of a slot -> name in the file
        self._hooked: dict[str, object] | None = None
        self._extras: dict[str, object] = {}
        self._left: dict[str, object] = {}
        self._other_state: dict[str, str] = {}  # name in the module -> name in the file
        self._inside: list[str] = []
        slots = [
            tensor_slot(name, tensor) for name, tensor in self._state.items() if _is_tensor(tensor)
        ]
        super().__init__(slots)

    @property
    def others(self) -> list[str]:
        """Names in the module's state dict that hold no tensors (``_extra_state``)."""
        return [name for name, value in self._state.items() if not _is_tensor(value)]

    def paired(self, names: Mapping[str, str], slots: list[Slot]) -> dict[str, str]:
        """Match by name; wrappers of a module (``module.``, ``_orig_mod.``) change no name."""
        pairs = super().paired(names, slots)
        missing = [slot.name for slot in slots if slot.name not in pairs]
        if missing:
            taken = set(pairs.values())
            bare: dict[str, list[str]] = {}
            for name, original in names.items():
                if original not in taken:
                    bare.setdefault(_unwrapped(name), []).append(original)
            ours: dict[str, list[str]] = {}
            for name in missing:
                ours.setdefault(_unwrapped(name), []).append(name)
            for plain, own in ours.items():
                if len(own) == 1 and len(bare.get(plain, ())) == 1:
                    pairs[own[0]] = bare[plain][0]
        self._origins, self._hooked = dict(pairs), None
        return pairs

    # What is no array.

    def match_other_state(
        self,
        pairs: Mapping[str, str],
        rename: Callable[[str], str | None],
        report: Report,
        is_wanted: Callable[[str], bool],
    ) -> None:
        """Match the values of the state dict that are not tensors; report missing and unused ones.

        Args:
            pairs: name of a slot -> name in the file.
            rename: from names in the file to names in the module.
            report: takes what is found.
            is_wanted: whether a name in the module is to be filled.
        """
        self._extras, self._left, self._inside = {}, {}, []
        self._other_state = {}
        found: dict[str, tuple[str, Any]] = {}
        for path, items in self._dicts(pairs):
            for key, value in items.items():
                if not isinstance(key, str) or isinstance(value, np.ndarray | LazyArray):
                    continue
                original = f"{path}/{key}" if path else key
                new = rename(original)
                if new is not None:
                    found[_unwrapped(new)] = (original, value)
        for name in self.others:
            known = found.pop(_unwrapped(name), None)
            if not is_wanted(name):
                continue
            if known is None:
                if self._is_of_torch:  # torch stores it next to the tensors
                    report.missing[name] = []
                else:
                    report.notes[name] = "the file has none; it is as it was"
                continue
            report.filled[name] = known[0]
            self._extras[name] = known[1]
            self._inside.append(f"{known[0]}/")
            self._other_state[name] = known[0]
        inside = tuple(self._inside)  # arrays that are part of what is no array
        report.unexpected = [name for name in report.unexpected if not name.startswith(inside)]
        for original, value in found.values():
            if original.endswith(_EXTRA) and is_wanted(original):
                report.unexpected.append(original)
                self._left[original] = value

    def _dicts(self, pairs: Mapping[str, str]) -> Iterator[tuple[str, Mapping[object, object]]]:
        """The dicts of the file that hold what fills the module, with their paths."""
        if self._written is None:
            return
        for path in dict.fromkeys([*(_folder(name) for name in pairs.values()), ""]):
            if path == "" and pairs and any("/" in name for name in pairs.values()):
                continue
            part = self._written.part(path)
            if isinstance(part, Record):  # of a module of a declared class
                part = as_state_dict(part)
            if isinstance(part, Mapping):
                yield path, part

    def _metadata(self, pairs: Mapping[str, str]) -> dict[str, object] | None:
        """The versions of modules recorded in the file, by the names of the modules of the target."""
        found: dict[str, Any] | None = None
        for path, part in self._dicts(pairs):
            versions = getattr(part, "_metadata", None)
            if not isinstance(versions, Mapping):
                continue
            found = {} if found is None else found
            for name, original in pairs.items():
                if _folder(original) != path:
                    continue
                theirs = original[len(path) + 1 if path else 0 :].split(".")[:-1]
                ours = name.split(".")[:-1]
                while True:
                    facts = versions.get(".".join(theirs))
                    if isinstance(facts, Mapping):
                        found.setdefault(".".join(ours), dict(facts))
                    if not theirs or not ours:
                        break
                    theirs, ours = theirs[:-1], ours[:-1]
        return found

    # The module's own hooks.

    def translated(
        self, names: Mapping[str, str], arrays: Mapping[str, object]
    ) -> dict[str, tuple[str, object]] | None:
        """Return what the module's own hooks make of a file, or None: they do not take all of it.

        Args:
            names: name after the rules -> name in the file.
            arrays: of the file.

        Returns:
            Name of a slot -> (name in the file, "" where the hooks do not let it be seen; tensor).
        """
        if not hasattr(self._module, "_load_from_state_dict"):  # it looks like a module only
            return None
        inside = tuple(self._inside)
        names = {new: name for new, name in names.items() if not name.startswith(inside)}
        found = self._tried(names, arrays)
        wrapped = {f"{self._wrapper}{_unwrapped(new)}": name for new, name in names.items()}
        if found is None and wrapped.keys() != names.keys() and len(wrapped) == len(names):
            found = self._tried(wrapped, arrays)
        return found

    @property
    def _wrapper(self) -> str:
        """What DataParallel and ``torch.compile`` put before each of the module's own names."""
        found = {_WRAPPER.match(name) for name in self._state}
        texts = {match[0] if match else "" for match in found}
        return texts.pop() if len(texts) == 1 else ""

    def _tried(
        self, names: Mapping[str, str], arrays: Mapping[str, object]
    ) -> dict[str, tuple[str, object]] | None:
        """Let a copy of the module load what has these names."""
        try:
            there = copy.deepcopy(self._module)
        except Exception:  # of user code, which may refuse in any way: then there is no trial
            return None
        state: Any = OrderedDict()
        for name, original in names.items():
            state[name] = given(None, arrays[original])
        state._metadata = self._metadata({**names, **self._other_state}) or {}
        state.update(self._converted())
        state.update(self._left)
        try:
            there.load_state_dict(state, strict=True, assign=True)
        except PersistError:  # of a migration of a declared class
            raise
        except Exception:  # as load_state_dict and the hooks of a class refuse
            return None
        pointers = {_pointer(state[name]): original for name, original in names.items()}
        made = there.state_dict()
        for entry in state._metadata.values():  # where torch notes it, and would do so again
            entry.pop("assign_to_params_buffers", None)
        self._hooked = state
        return {
            slot.name: (pointers.get(_pointer(made[slot.name]), ""), made[slot.name])
            for slot in self.slots
        }

    @property
    def _is_of_torch(self) -> bool:
        """Whether the file is of a kind that keeps versions of modules, where they have any."""
        return self._written is not None and self._written.format.startswith("torch")

    def _converted(self) -> dict[str, object]:
        if not self._extras or self._written is None:
            return {}
        looker = self._written.looker
        return {name: with_tensors(value, looker) for name, value in self._extras.items()}

    # Filling.

    def apply(self, arrays: list[tuple[Slot, Array]]) -> None:
        """Put the arrays in, all at once."""
        if self._hooked is not None:
            self._load(self._hooked, strict=True)
            return
        state: Any = OrderedDict()
        for slot, array in arrays:
            state[slot.name] = given(self._state[slot.name], array)
        state.update(self._converted())
        origins = {**self._origins, **self._other_state}
        pairs = {name: origins[name] for name in state if name in origins}
        metadata = self._metadata(pairs)
        if metadata is None:
            metadata = {} if self._is_of_torch else dict(getattr(self._state, "_metadata", {}))
        state._metadata = metadata
        if len(state) == len(self._state):
            self._load(state, strict=True)
        elif isinstance(self._state, Mapping):
            self._load(state, strict=False)

    def _load(self, state: Any, strict: bool) -> None:
        try:
            if hasattr(self._module, "_load_from_state_dict"):
                self._module.load_state_dict(state, strict=strict)
            else:  # of no torch's own: it may know nothing but a whole state
                self._module.load_state_dict({**self._state, **state})
        except RuntimeError as error:
            raise RestoreError(
                f"{type(self._module).__name__}.load_state_dict() refused what is of the right "
                f"names and shapes: {error}",
                remedy="What it took before it refused is in it: make the module anew.",
            ) from error


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _unwrapped(name: str) -> str:
    """A name without what DataParallel and ``torch.compile`` put into it."""
    return re.sub(r"^(module\.)+", "", re.sub(r"(^|\.)(_orig_mod\.)+", r"\1", name))


def _pointer(tensor: Any) -> object:
    try:
        pointer = tensor.data_ptr()
    except (RuntimeError, AttributeError):
        return id(tensor)
    return (pointer, tuple(tensor.shape)) if pointer else id(tensor)


def _is_tensor(value: object) -> bool:
    return hasattr(type(value), "shape") and hasattr(type(value), "dtype")


def tensor_slot(name: str, tensor: Any) -> Slot:
    """Return the place of a tensor, by its name in a state dict; nothing assigns to it yet."""
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
        is_quantized=bool(getattr(tensor, "is_quantized", False)),
    )


def _dtype_of(value: Any) -> DType | None:
    name = str(value.dtype).rpartition(".")[2]
    try:
        return np.dtype(name)
    except TypeError:
        pass
    try:
        return extended(name)
    except KeyError:  # torch's own: it converts
        return None


def given(tensor: object, array: Any) -> Any:
    """Return an array as what the module holds: a tensor, or an array in what is none of torch's."""
    if isinstance(tensor, np.ndarray):
        return np.array(array, dtype=tensor.dtype)
    if isinstance(array, QuantizedTensor) or tensor is None:
        return as_torch(array)
    return as_torch(np.array(array, dtype=array.dtype.newbyteorder("=")))


# Optimizers, schedulers, scalers: whatever has a state and no tensors by name.

_OPTIMIZER = {"state", "param_groups"}
# What schedulers and names add to the groups of an optimizer.
_ADDED = {
    *("params", "param_names", "name", "initial_lr", "max_lr", "min_lr", "lr_scale"),
    *("base_momentum", "max_momentum", "swa_lr"),
}
# State of the shape of its parameter.
_SHAPED = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg"),
    *("acc_delta", "sum", "exp_inf", "prev", "step_size", "ax"),
}


def has_state(value: object) -> bool:
    """Whether something has a state of its own that holds no tensors by name, as optimizers do."""
    if not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
        return False
    if hasattr(value, "named_parameters") or hasattr(value, "_load_from_state_dict"):
        return False
    state = value.state_dict()
    return isinstance(state, Mapping) and not any(map(_is_tensor, state.values()))


def is_optimizer(value: object) -> bool:
    """Whether something is an optimizer of torch, or looks like one."""
    return has_state(value) and isinstance(getattr(value, "param_groups", None), list)


def restore_state(
    value: Any, written: Written, file: str, strict: bool, state: Any = ABSENT
) -> Report:
    """Give an optimizer, a scheduler or a scaler its own part of a file.

    Args:
        value: with ``state_dict`` and ``load_state_dict``.
        written: the file.
        file: its name, for the report.
        strict: nothing is changed where the state is of another kind.
        state: tensors that take the place of what the file has; ABSENT: what it has.

    Raises:
        RestoreError: there is no such state in the file, more than one, or one that does not fit.
    """
    own = value.state_dict()
    name = type(value).__name__
    shown = ", ".join(map(repr, list(own)[:5]))
    is_given = state is not ABSENT
    found = [(written.at, state)] if is_given else _candidates(written, own)
    if len(found) > 1:
        fitting = [item for item in found if not _faults(value, own, item[1])]
        found = fitting if len(fitting) == 1 else found
    if not found:
        raise RestoreError(
            f"the state of {name} holds no tensors by name (it has {shown or 'nothing'}), "
            "and no such state is in the file.",
            file=file,
            remedy="If it is stored there under other keys, call load_state_dict() with that part of "
            'persist.open(path, arrays="torch").tree.',
        )
    if len(found) > 1:
        paths = ", ".join(f"at={path!r}" for path, _ in found)
        raise RestoreError(
            f"the file holds {len(found)} states that {name} could take.",
            file=file,
            remedy=f"Choose one of them: {paths}.",
        )
    path, state = found[0]
    report = Report(file=file, value=value)
    report.misfits = _faults(value, own, state)
    if report.misfits and strict:
        reasons = "; ".join(f"{place}: {why}" for place, why in report.misfits.items())
        raise RestoreError(
            f"the state at {path!r} does not fit {name}: {reasons}.",
            file=file,
            remedy="Nothing was changed. Make it as it was when the file was written.",
            report=report,
        )
    if not report.misfits:
        value.load_state_dict(state if is_given else with_tensors(state, written.looker))
        for leaf in _leaves(state):
            report.filled[leaf] = f"{path}/{leaf}" if path else leaf
    return report


def _candidates(
    written: Written, own: Mapping[object, object]
) -> list[tuple[str, Mapping[object, object]]]:
    """The outermost dicts of the file that could be such a state, with their paths."""
    root = written.part("")
    found: list[tuple[str, Mapping[Any, Any]]] = []
    todo: list[tuple[str, object]] = [(written.at, root)]
    seen: set[int] = set()
    while todo:
        path, value = todo.pop()
        if id(value) in seen or not isinstance(value, dict | list | tuple):
            continue
        seen.add(id(value))
        if isinstance(value, dict) and _is_alike(value, own):
            found.append((path, value))
            continue
        items: Iterable[tuple[Any, Any]]
        items = value.items() if isinstance(value, dict) else enumerate(value)
        below = [(f"{path}/{step}" if path else str(step), item) for step, item in items]
        todo.extend(reversed(below))
    exact = [item for item in found if item[1].keys() == own.keys()]
    return exact or found


def _is_alike(state: Mapping[object, object], own: Mapping[object, object]) -> bool:
    if own.keys() >= _OPTIMIZER:
        return state.keys() >= _OPTIMIZER
    same = state.keys() & own.keys()
    return bool(same) and 3 * len(same) >= 2 * max(len(state), len(own))


def _faults(value: Any, own: Mapping[object, Any], state: Mapping[Any, Any]) -> dict[str, str]:
    """What of an optimizer's state is of another optimizer, or of other parameters."""
    if not own.keys() >= _OPTIMIZER:
        return {}
    theirs, ours = state["param_groups"], own["param_groups"]
    if not isinstance(theirs, list) or not all(isinstance(group, dict) for group in theirs):
        return {"param_groups": "is no list of groups"}
    counts = [[len(group.get("params", ())) for group in groups] for groups in (theirs, ours)]
    if counts[0] != counts[1]:
        return {"param_groups": f"the file has groups of {counts[0]} parameters, not {counts[1]}"}
    faults = {}
    for index, (one, other) in enumerate(zip(theirs, ours, strict=True)):
        unknown = sorted(map(str, one.keys() - other.keys() - _ADDED))
        if unknown:
            faults[f"param_groups/{index}"] = f"the file has {', '.join(map(repr, unknown))}, which "\
                f"{type(value).__name__} does not know"  # fmt: skip
    kept = state["state"]
    places = zip(
        (key for group in theirs for key in group.get("params", ())),
        (parameter for group in value.param_groups for parameter in group["params"]),
        strict=True,
    )
    for key, parameter in places:
        for what, array in (kept.get(key) or {}).items() if isinstance(kept, dict) else ():
            shape = getattr(array, "shape", None)
            if what in _SHAPED and shape is not None and tuple(shape) != tuple(parameter.shape):
                faults[f"state/{key}/{what}"] = (
                    f"the file has shape {tuple(shape)}, wanted is {tuple(parameter.shape)}"
                )
    return faults


def _leaves(state: object) -> Iterator[str]:
    todo: list[tuple[str, object]] = [("", state)]
    while todo:
        path, value = todo.pop()
        if not isinstance(value, dict | list | tuple) or not value:
            yield path
            continue
        items = value.items() if isinstance(value, dict) else enumerate(value)
        below = [(f"{path}/{step}" if path else str(step), item) for step, item in items]
        todo.extend(reversed(below))

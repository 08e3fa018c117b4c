"""Arrays of a file into what exists: match them, tell what does not fit, fill.

Planned first, applied afterwards: when `strict` and anything misfits, nothing is touched.
Arrays are filled in place, so that whoever holds them sees the new values.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from persist._paths import step_of
from persist.errors import RestoreError

__all__ = ["Report", "Slot", "fill", "slots_of"]

Rules = str | Mapping[str, str] | Callable[[str], str]

_NEAREST = 3  # names offered for one that is missing


@attrs.frozen
class Slot:
    """A place that wants an array.

    Attributes:
        name: its natural path in the object that is filled.
        shape: that the array must have, None where any will do.
        dtype: that the array must have, None where any will do.
        assign: takes the array.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: np.dtype[Any] | None
    assign: Callable[[np.ndarray[Any, Any]], None]


@attrs.define
class Report:
    """What became of each array.

    Attributes:
        filled: name in the object -> name in the file.
        missing: name in the object that the file has nothing for -> the nearest names in the file.
        unexpected: names in the file that nothing wanted.
        misfits: name in the object -> what is wrong (another shape or dtype).
        file: the file.
        value: the object that was filled; of a class, its new instance.
    """

    filled: dict[str, str] = attrs.Factory(dict)
    missing: dict[str, list[str]] = attrs.Factory(dict)
    unexpected: list[str] = attrs.Factory(list)
    misfits: dict[str, str] = attrs.Factory(dict)
    file: str = ""
    value: Any = attrs.field(default=None, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether everything was filled, and nothing was left over."""
        return not (self.missing or self.unexpected or self.misfits)

    def __str__(self) -> str:
        lines = [f"{self.file}: {len(self.filled)} filled"]
        for name, source in self.filled.items():
            lines.append(f"  filled      {name}" + (f"  from {source}" if source != name else ""))
        for name, nearest in self.missing.items():
            hint = f"  (the file has {', '.join(nearest)})" if nearest else ""
            lines.append(f"  missing     {name or '(root)'}{hint}")
        lines += [f"  unexpected  {name or '(root)'}" for name in self.unexpected]
        lines += [f"  misfit      {name or '(root)'}: {why}" for name, why in self.misfits.items()]
        return "\n".join(lines)


def fill(
    arrays: Mapping[str, Any],
    slots: Iterable[Slot],
    *,
    match: Rules = "name",
    only: Iterable[str] | None = None,
    strict: bool = True,
    file: str = "",
) -> Report:
    """Match arrays with slots, and fill those that fit.

    Args:
        arrays: name in the file -> array.
        slots: what wants to be filled.
        match: "name" (``.`` and ``/`` between steps are the same), "shape" (the n-th array of a
            shape goes where the n-th of that shape is wanted), "order" (the n-th to the n-th); or
            rules from names in the file to names in the object: a function, or regular
            expressions with their replacement.
        only: patterns of names in the object (``hidden/*``); everything else is left alone.
        strict: nothing is filled unless everything fits.
        file: for the report.

    Raises:
        RestoreError: strict, and something is missing, unexpected or misfits; with the `Report`.
    """
    patterns = None if only is None else [only] if isinstance(only, str) else list(only)
    wanted = [slot for slot in slots if _is_wanted(slot.name, patterns)]
    pairs, left = _matched(arrays, wanted, match)
    report = Report(file=file)
    for slot in wanted:
        name = pairs.get(slot.name)
        if name is None:
            report.missing[slot.name] = _nearest(slot.name, left or list(arrays))
            continue
        fault = _misfit(slot, arrays[name])
        if fault:
            report.misfits[slot.name] = fault
        if not fault or (not strict and _can_cast(slot, arrays[name])):
            report.filled[slot.name] = name
    report.unexpected = [name for name in left if _is_wanted(_slashed(name), patterns)]
    if strict and not report.is_complete:
        raise RestoreError(
            _summary(report, len(wanted)),
            file=file,
            remedy="Nothing was changed. Choose with only=[...] or match=, or fill what fits with "
            "strict=False.",
            report=report,
        )
    for slot in wanted:
        if slot.name in report.filled:
            slot.assign(np.asarray(arrays[report.filled[slot.name]]))
    return report


def _is_wanted(name: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(_slashed(name), _slashed(pattern))
        for pattern in patterns
    )


def _slashed(name: str) -> str:
    return name.replace(".", "/")


def _matched(
    arrays: Mapping[str, Any], slots: list[Slot], match: Rules
) -> tuple[dict[str, str], list[str]]:
    """Return slot -> name in the file, and the names in the file that are left."""
    if match == "order":
        names = list(arrays)
        pairs = {slot.name: name for slot, name in zip(slots, names, strict=False)}
        return pairs, names[len(slots) :]
    if match == "shape":
        return _by_shape(arrays, slots)
    rename = _renaming(match)
    exact = {rename(name): name for name in arrays}
    alike: dict[str, str] = {}
    for name, original in exact.items():
        alike.setdefault(_slashed(name), original)
    pairs = {}
    for slot in slots:
        found = exact.get(slot.name, alike.get(_slashed(slot.name)))
        if found is not None:
            pairs[slot.name] = found
    taken = set(pairs.values())
    return pairs, [name for name in arrays if name not in taken]


def _by_shape(arrays: Mapping[str, Any], slots: list[Slot]) -> tuple[dict[str, str], list[str]]:
    queues: dict[tuple[int, ...], list[str]] = {}
    for name, array in arrays.items():
        queues.setdefault(_shape(array), []).append(name)
    pairs: dict[str, str] = {}
    for slot in slots:
        queue = queues.get(slot.shape) if slot.shape is not None else None
        if queue:
            pairs[slot.name] = queue.pop(0)
    taken = set(pairs.values())
    return pairs, [name for name in arrays if name not in taken]


def _renaming(match: Rules) -> Callable[[str], str]:
    if callable(match):
        return match
    if isinstance(match, Mapping):
        rules = [(re.compile(pattern), to) for pattern, to in match.items()]

        def rename(name: str) -> str:
            for pattern, to in rules:
                name = pattern.sub(to, name)
            return name

        return rename
    if match == "name":
        return lambda name: name
    raise ValueError(
        f"match={match!r} is none of 'name', 'shape', 'order', a mapping of patterns, a function"
    )


def _shape(array: Any) -> tuple[int, ...]:
    shape = getattr(array, "shape", None)
    return (len(array),) if shape is None else tuple(shape)


def _dtype(array: Any) -> np.dtype[Any]:
    dtype = getattr(array, "dtype", None)
    return np.asarray(array).dtype if dtype is None else dtype


def _misfit(slot: Slot, array: Any) -> str:
    if slot.shape is not None and _shape(array) != slot.shape:
        return f"the file has shape {_shape(array)}, wanted is {slot.shape}"
    dtype = _dtype(array)
    if slot.dtype is not None and dtype.newbyteorder("=") != slot.dtype.newbyteorder("="):
        return f"the file has dtype {dtype}, wanted is {slot.dtype}"
    return ""


def _can_cast(slot: Slot, array: Any) -> bool:
    """Whether an array of the right shape goes in by a change of precision alone."""
    return slot.shape in (None, _shape(array)) and (
        slot.dtype is None or np.can_cast(_dtype(array), slot.dtype, "same_kind")
    )


def _nearest(name: str, names: list[str]) -> list[str]:
    last = name.rpartition("/")[2]
    same = [
        other for other in names if _slashed(other).rpartition("/")[2] == last and other != name
    ]
    near = difflib.get_close_matches(name, names, _NEAREST, 0.5)
    return list(dict.fromkeys([*near, *same]))[:_NEAREST]


def _summary(report: Report, wanted: int) -> str:
    parts = []
    if report.missing:
        shown = [
            f"{name!r}" + (f" (nearest: {', '.join(map(repr, near))})" if near else "")
            for name, near in report.missing.items()
        ]
        parts.append(f"{len(shown)} missing: {_cut(shown)}")
    if report.unexpected:
        parts.append(f"{len(report.unexpected)} unexpected: {_cut(map(repr, report.unexpected))}")
    if report.misfits:
        shown = [f"{name!r}: {why}" for name, why in report.misfits.items()]
        parts.append(f"{len(shown)} of another shape or dtype: {_cut(shown)}")
    return f"of {wanted} arrays wanted, not all fit. " + "; ".join(parts) + "."


def _cut(items: Iterable[str], most: int = 5) -> str:
    items = list(items)
    more = f", ... {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


# What an object wants to be filled with.


def slots_of(target: Any) -> list[Slot]:
    """Return the slots of an object, by natural path.

    A torch module (anything with ``state_dict`` and ``load_state_dict``) by the keys of its state
    dict; a Keras model (``layers`` and ``weights``) by the paths of its weights; anything else by
    the arrays in its items and attributes.
    """
    if hasattr(target, "state_dict") and hasattr(target, "load_state_dict"):
        return [_tensor_slot(name, tensor) for name, tensor in target.state_dict().items()]
    if hasattr(target, "weights") and hasattr(target, "layers"):
        return [_variable_slot(variable) for variable in target.weights]
    return list(_array_slots(target))


def _tensor_slot(name: str, tensor: Any) -> Slot:
    def assign(array: np.ndarray[Any, Any]) -> None:
        # torch takes no foreign byte order, no read-only array without a warning.
        own = np.array(array, dtype=array.dtype.newbyteorder("="))
        tensor.copy_(_torch_of(own))

    return Slot(name, tuple(tensor.shape), _dtype_of_tensor(tensor), assign)


def _torch_of(array: np.ndarray[Any, Any]) -> Any:
    import torch  # type: ignore[import-not-found,unused-ignore]

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _dtype_of_tensor(tensor: Any) -> np.dtype[Any] | None:
    name = str(tensor.dtype).rpartition(".")[2]
    try:
        return np.dtype(name)
    except TypeError:  # bfloat16 and its like, that NumPy lacks: torch converts
        return None


def _variable_slot(variable: Any) -> Slot:
    name = getattr(variable, "path", None) or variable.name
    dtype = getattr(variable.dtype, "as_numpy_dtype", variable.dtype)
    try:
        wanted: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        wanted = None
    return Slot(name, tuple(variable.shape), wanted, variable.assign)


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

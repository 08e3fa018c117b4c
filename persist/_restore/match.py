"""Match arrays of a file with the arrays of an object, report what does not fit, and fill.

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

from persist._runtime.lazy_regex import regex
from persist._runtime.progress import current
from persist._wire.base.ml_dtypes import (
    decoded_dtype,
    dtype_name,
    dtype_text,
    encoded,
    missing_name,
    stored_dtype,
)
from persist._wire.torch.quantized import QuantizedTensor, WithQuantized
from persist.errors import RestoreError
from persist.typing import Array, DType

__all__ = ["Report", "Slot", "Target", "fill", "slashed"]

Rules = str | Mapping[str, str | None] | Callable[[str], str | None]

_NEAREST = 3  # names offered for one that is missing
_PRECISION = "the file has dtype"
_BY_HOOKS = "by its own load_state_dict hooks"

_GIVEN = regex(r"arr_(0|[1-9]\d{0,8})")


@attrs.frozen
class Slot:
    """A place in an object that can be filled with an array.

    Attributes:
        name: its natural path in the object that is filled.
        shape: that the array must have, None where any will do.
        dtype: that the array must have, None where any will do.
        assign: takes the array.
        known_as: other names of it, which ``only=`` may use.
        twin: a key shared by the slots of the same memory; None if it is not shared.
        optional: why a file may lack it; empty where it may not.
        is_quantized: whether it takes a quantized tensor as such.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: DType | None
    assign: Callable[[Array], None]
    known_as: tuple[str, ...] = ()
    twin: object = None
    optional: str = ""
    is_quantized: bool = False


class Target:
    """An object that is filled: its slots, and how names and arrays of files come to fit them.

    This one takes names as they are; other kinds of objects know more of the files that hold
    what they want (`persist._restore.targets`).

    Args:
        slots: what wants to be filled.
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.slots = list(slots)

    def ordered(self, names: list[str]) -> list[str]:
        """Names of arrays in the file, in the order of what they belong to."""
        return names

    def is_foreign(self, name: str) -> bool:
        """Whether an array of the file is nothing that such an object ever wants."""
        return False

    def extended(self, arrays: Mapping[str, object]) -> Mapping[str, object]:
        """The arrays, and what can be put together from them."""
        return arrays

    def parts(self, name: str) -> list[str]:
        """The names in the file behind a name of `extended`."""
        return [name]

    def paired(self, names: Mapping[str, str], slots: list[Slot]) -> dict[str, str]:
        """Match by name.

        Args:
            names: name after the rules -> name in the file.
            slots: those that are wanted.

        Returns:
            Name of a slot -> name in the file.
        """
        alike: dict[str, str] = {}
        for name, original in names.items():
            alike.setdefault(slashed(name), original)
        found = {slot.name: names.get(slot.name, alike.get(slashed(slot.name))) for slot in slots}
        return {name: original for name, original in found.items() if original is not None}

    def in_order(self, names: list[str], slots: list[Slot]) -> dict[str, str]:
        """Match the n-th with the n-th: name of a slot -> name in the file."""
        return {slot.name: name for slot, name in zip(slots, names, strict=False)}

    def fitted(self, slot: Slot, name: str, array: object) -> tuple[object, str]:
        """The array as the slot wants it, and what was done to it."""
        return array, ""

    def match_other_state(
        self,
        pairs: Mapping[str, str],
        rename: Callable[[str], str | None],
        report: Report,
        is_wanted: Callable[[str], bool],
    ) -> None:
        """Match the object's state other than arrays, and report it."""

    def translated(
        self, names: Mapping[str, str], arrays: Mapping[str, object]
    ) -> dict[str, tuple[str, object]] | None:
        """What the object itself makes of a file whose names do not fit; None: it cannot."""
        return None

    def apply(self, arrays: list[tuple[Slot, Array]]) -> None:
        """Put the arrays in."""
        for slot, array in arrays:
            slot.assign(array)


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
        notes: name in the object -> what was done to its array on loading (another precision, a
            kernel rotated), or why it was left as it is.
    """

    filled: dict[str, str] = attrs.Factory(dict)
    missing: dict[str, list[str]] = attrs.Factory(dict)
    unexpected: list[str] = attrs.Factory(list)
    misfits: dict[str, str] = attrs.Factory(dict)
    file: str = ""
    value: Any = attrs.field(default=None, repr=False)
    notes: dict[str, str] = attrs.Factory(dict)

    @property
    def is_complete(self) -> bool:
        """Whether everything was filled, and nothing was left over."""
        return not (self.missing or self.unexpected or self.misfits)

    def _repr_html_(self) -> str:
        from persist._trees.html import folded, listed, page

        _, *lines = self._lines()
        parts = []
        for kind in ("misfit", "missing", "unexpected", "left", "filled"):
            own = [line.strip() for line in lines if line.startswith(f"  {kind} ")]
            if own:
                inner = listed(own, len(own))
                parts.append(folded(f"{kind}: {len(own):,}", inner, is_open=kind != "filled"))
        return page(f"{self.file}: {len(self.filled)} filled", *parts)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        lines = [f"{self.file}: {len(self.filled)} filled"]
        for name, source in self.filled.items():
            came = f"  from {source}" if source != name else ""
            note = f"  ({self.notes[name]})" if name in self.notes else ""
            lines.append(f"  filled      {name or '(root)'}{came}{note}")
        for name, nearest in self.missing.items():
            hint = f"  (the file has {', '.join(nearest)})" if nearest else ""
            lines.append(f"  missing     {name or '(root)'}{hint}")
        lines += [f"  unexpected  {name or '(root)'}" for name in self.unexpected]
        lines += [f"  misfit      {name or '(root)'}: {why}" for name, why in self.misfits.items()]
        lines += [
            f"  left        {name}: {why}"
            for name, why in self.notes.items()
            if name not in self.filled and name not in self.misfits
        ]
        return lines


def fill(
    arrays: Mapping[str, object],
    target: Target,
    *,
    match: Rules = "name",
    only: Iterable[str] | None = None,
    strict: bool = True,
    file: str = "",
) -> Report:
    """Match arrays with slots, and fill those that fit.

    Args:
        arrays: name in the file -> array.
        target: what wants to be filled.
        match: "name" (``.`` and ``/`` between steps are the same), "shape" (the n-th array of a
            shape goes where the n-th of that shape is wanted), "order" (the n-th to the n-th); or
            rules from names in the file to names in the object: a function, or regular
            expressions with their replacement. None instead of a name leaves an array out.
        only: patterns of names in the object (``hidden/*``); everything else is left alone.
        strict: nothing is filled unless everything fits.
        file: for the report.

    Raises:
        RestoreError: strict, and something is missing, unexpected or misfits; with the `Report`.
    """
    patterns = None if only is None else [only] if isinstance(only, str) else list(only)
    arrays = target.extended(WithQuantized(arrays))
    report, wanted, fitted = _planned(arrays, target, match, patterns, strict)
    report.file = file
    if strict and not report.is_complete:
        raise RestoreError(
            _summary(report, len(wanted)),
            file=file,
            remedy=_remedy(report, arrays, target, match, patterns),
            report=report,
        )
    # A mistyped pattern selects nothing, and nothing is missing then: without this it would pass.
    if strict and patterns is not None and not report.filled:
        there = ", ".join(slot.name or "(root)" for slot in target.slots[:20]) or "none"
        raise RestoreError(
            f"only={patterns!r} fits no name of what is to be filled.",
            file=file,
            remedy=f"The names there are: {there}{' ...' if len(target.slots) > 20 else ''}.",
            report=report,
        )
    filled = [slot for slot in wanted if slot.name in report.filled and slot.name in fitted]
    meter = current()
    slots = filled if meter is None else meter.over(filled, len(filled), "fill", "arrays", file)
    target.apply([(slot, _values_of(slot, fitted[slot.name])) for slot in slots])
    return report


def _planned(
    arrays: Mapping[str, object],
    target: Target,
    match: Rules,
    patterns: list[str] | None,
    strict: bool,
) -> tuple[Report, list[Slot], dict[str, object]]:
    """What would become of each array: the report, the slots wanted, slot -> its array."""
    ours, theirs = _sorted(patterns, arrays, target)
    wanted = [slot for slot in target.slots if _is_slot_wanted(slot, ours)]
    if theirs is not None:
        arrays = {name: arrays[name] for name in arrays if _is_wanted(name, theirs)}
    pairs, left = _matched(arrays, target, wanted, match)
    # Tied weights are one array under two names, of which a file may have only one.
    _add_twins(pairs, wanted)
    report = Report()
    fitted: dict[str, object] = {}
    for slot in wanted:
        name = pairs.get(slot.name)
        if name is None:
            _tell_missing(report, slot, left or dict.fromkeys(arrays, ""))
            continue
        array, note = target.fitted(slot, name, arrays[name])
        if isinstance(array, QuantizedTensor) and not slot.is_quantized:
            note = f"{note}, dequantized from {array.kind}".removeprefix(", ")
            array = array.dequantized()
        fitted[slot.name] = array
        _judge(report, slot, name, array, note, strict)
    report.unexpected = [
        name for name, renamed in left.items() if _is_wanted(slashed(renamed), ours)
    ]
    if match in ("order", "shape"):  # names mean nothing: no hook can go by them
        return report, wanted, fitted
    rename = _renaming(match)
    target.match_other_state(pairs, rename, report, lambda name: _is_wanted(name, ours))
    # Names alone do not place everything: an object whose class has hooks for older layouts may read
    # them. Not for a part (`only=`), since a hook sees the whole state.
    if patterns is None and not _is_placed(report):
        renamed = {new: name for name in arrays if (new := rename(name)) is not None}
        own = target.translated(renamed, arrays)
        if own is not None:
            return _reported(own, target, arrays, report, strict), wanted, {}
    return report, wanted, fitted


def _sorted(
    patterns: list[str] | None, arrays: Mapping[str, object], target: Target
) -> tuple[list[str] | None, list[str] | None]:
    """Which of the patterns are of names in the object, and which of names in the file alone."""
    if patterns is None:
        return None, None
    ours, theirs = [], []
    for pattern in patterns:
        if any(_is_slot_wanted(slot, [pattern]) for slot in target.slots):
            ours.append(pattern)
        elif any(_is_wanted(name, [pattern]) for name in arrays):
            theirs.append(pattern)
        else:  # fits nothing: kept, so that the error names it
            ours.append(pattern)
    return (ours or None) if theirs else ours, theirs or None


def _is_slot_wanted(slot: Slot, patterns: list[str] | None) -> bool:
    return any(_is_wanted(name, patterns) for name in (slot.name, *slot.known_as))


def _is_placed(report: Report) -> bool:
    """Whether every array has its place, whatever its precision."""
    return not (report.missing or report.unexpected) and all(
        why.startswith(_PRECISION) for why in report.misfits.values()
    )


def _reported(
    own: Mapping[str, tuple[str, object]],
    target: Target,
    arrays: Mapping[str, object],
    before: Report,
    strict: bool,
) -> Report:
    """The report of what an object's own hooks made of a file."""
    report = Report()
    report.filled.update(
        {name: origin for name, origin in before.filled.items() if name not in own}
    )
    for slot in target.slots:
        origin, made = own[slot.name]
        array = arrays[origin] if origin else made
        note = "" if before.filled.get(slot.name) == origin and origin else _BY_HOOKS
        if origin:
            # A hook may have changed the shape, so only the dtype is compared with the file's.
            dtype = attrs.evolve(slot, shape=None)
            _judge(report, dtype, origin, array, note, strict)
        else:
            report.filled[slot.name] = slot.name
            report.notes[slot.name] = note
    return report


def _values_of(slot: Slot, array: object) -> Array:
    """The values; or, where the slot holds the very type that NumPy lacks, the stored elements."""
    if isinstance(array, QuantizedTensor):  # of a place that takes one
        return array  # type: ignore[return-value]
    if slot.dtype is not None and missing_name(slot.dtype) and _is_same(slot.dtype, _dtype(array)):
        return encoded(array)
    return np.asarray(array)


def slashed(name: str) -> str:
    """A name with ``/`` between its steps, whichever of ``.`` and ``/`` it has."""
    return name.replace(".", "/")


def _is_wanted(name: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(slashed(name), slashed(pattern))
        for pattern in patterns
    )


def _matched(
    arrays: Mapping[str, object], target: Target, slots: list[Slot], match: Rules
) -> tuple[dict[str, str], dict[str, str]]:
    """Return slot -> name in the file; and what is left: name in the file -> after the rules."""
    names = target.ordered(_as_numbered(list(arrays)))
    names = [name for name in names if not target.is_foreign(name)]
    own = [name for name in names if target.parts(name) == [name]]  # not put together
    if match in ("order", "shape"):
        pairs = target.in_order(own, slots) if match == "order" else _by_shape(arrays, own, slots)
        renamed: dict[str, str | None] = {name: name for name in own}
    else:
        rename = _renaming(match)
        renamed = {name: rename(name) for name in names}
        kept = {new: name for name, new in renamed.items() if new is not None}
        pairs = target.paired(kept, slots)
    taken = {part for name in pairs.values() for part in target.parts(name)}
    left = {name: new for name in own if name not in taken and (new := renamed[name]) is not None}
    return pairs, left


def _as_numbered(names: list[str]) -> list[str]:
    """Names with those that NumPy's savez gives (``arr_0``, ...) in the order of their numbers.

    Python 2 wrote them in the order of a hash table; other names keep their places.
    """
    given = {int(match[1]): name for name in names if (match := _GIVEN.fullmatch(name))}
    in_order = iter([given[number] for number in sorted(given)])
    return [next(in_order) if name in given.values() else name for name in names]


def _by_shape(arrays: Mapping[str, object], names: list[str], slots: list[Slot]) -> dict[str, str]:
    # Arrays of one shape are taken in the order of the file: the n-th goes to the n-th slot.
    queues: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        queues.setdefault(_shape(arrays[name]), []).append(name)
    pairs: dict[str, str] = {}
    for slot in slots:
        queue = queues.get(slot.shape) if slot.shape is not None else None
        if queue:
            pairs[slot.name] = queue.pop(0)
    return pairs


def _renaming(match: Rules) -> Callable[[str], str | None]:
    if callable(match):
        return match
    if isinstance(match, Mapping):
        rules = [(re.compile(pattern), to) for pattern, to in match.items()]

        def rename(name: str) -> str | None:
            for pattern, to in rules:
                if to is None and pattern.search(name):
                    return None
                name = name if to is None else pattern.sub(to, name)
            return name

        return rename
    if match == "name":
        return lambda name: name
    raise ValueError(
        f"match={match!r} is none of 'name', 'shape', 'order', a mapping of patterns, a function"
    )


def _add_twins(pairs: dict[str, str], slots: list[Slot]) -> None:
    """Drop missing slots that share memory with a slot that is filled."""
    known = {slot.twin: pairs[slot.name] for slot in slots if slot.twin and slot.name in pairs}
    for slot in slots:
        if slot.name not in pairs and slot.twin in known:
            pairs[slot.name] = known[slot.twin]


def _tell_missing(report: Report, slot: Slot, left: Mapping[str, str]) -> None:
    if slot.optional:
        report.notes[slot.name] = slot.optional
    else:
        report.missing[slot.name] = _nearest(slot.name, list(left))


def _judge(report: Report, slot: Slot, name: str, array: object, note: str, strict: bool) -> None:
    """Return whether an array fits into a slot, and with which conversion."""
    fault = _misfit(slot, array)
    if fault and not strict and _can_cast(slot, array):
        fault, cast = (
            "",
            f"{dtype_text(_dtype(array))} became {slot.dtype and dtype_text(slot.dtype)}",
        )
        note = f"{note}, {cast}" if note else cast
    if fault:
        report.misfits[slot.name] = fault
    else:
        report.filled[slot.name] = name
    if note:
        report.notes[slot.name] = note


def _shape(array: Any) -> tuple[int, ...]:
    shape = getattr(array, "logical_shape", getattr(array, "shape", None))
    return (len(array),) if shape is None else tuple(shape)


def _dtype(array: object) -> DType:
    dtype = getattr(array, "dtype", None)
    return np.asarray(array).dtype if dtype is None else stored_dtype(array)


def _misfit(slot: Slot, array: object) -> str:
    if slot.shape is not None and _shape(array) != slot.shape:
        return f"the file has shape {_shape(array)}, wanted is {slot.shape}"
    dtype = _dtype(array)
    if slot.dtype is not None and not _is_same(dtype, slot.dtype):
        fault = f"{_PRECISION} {dtype_text(dtype)}, wanted is {dtype_text(slot.dtype)}"
        if missing_name(dtype) and decoded_dtype(dtype) == dtype:
            fault += " (its values need ml_dtypes: pip install 'persist-state[torch]')"
        return fault
    return ""


def _is_same(one: DType, other: DType) -> bool:
    # NumPy compares opaque dtypes of one width as equal, so their names are compared, too.
    is_equal: bool = one.newbyteorder("=") == other.newbyteorder("=")
    return is_equal and dtype_name(one) == dtype_name(other)


def _can_cast(slot: Slot, array: object) -> bool:
    """Whether an array of the right shape goes in by a change of precision alone."""
    if slot.shape not in (None, _shape(array)):
        return False
    if slot.dtype is None or np.can_cast(_dtype(array), slot.dtype, "same_kind"):
        return True
    # NumPy knows no order among the narrow floats of ml_dtypes and its own.
    return all("float" in dtype_name(dtype) for dtype in (_dtype(array), slot.dtype))


def _nearest(name: str, names: list[str]) -> list[str]:
    steps = slashed(name)
    ends = [other for other in names if slashed(other).endswith(f"/{steps}")]
    last = steps.rpartition("/")[2]
    same = [other for other in names if slashed(other).rpartition("/")[2] == last and other != name]
    near = difflib.get_close_matches(name, names, _NEAREST, 0.5)
    return list(dict.fromkeys([*ends, *near, *same]))[:_NEAREST]


def _remedy(
    report: Report,
    arrays: Mapping[str, object],
    target: Target,
    match: Rules,
    patterns: list[str] | None,
) -> str:
    """The remedy of the error. Every suggestion in it was tried and succeeds."""
    remedy = "Nothing was changed. "
    works: list[str] = []
    if patterns is None and match == "name":
        for rules in _rules_that_may_fit(report, arrays, target):
            how = _tried(arrays, target, rules)
            if how:
                works.append(how)
            if len(works) == 3:
                break
    if works:
        remedy += f"With {' or '.join(works)} the names would fit. "
    elif report.missing and len(report.missing) == len(report.unexpected) and not report.filled:
        how = _tried(arrays, target, "order")
        if how:
            remedy += f"The file has the same number of arrays: {how} matches them in order. "
    elif _is_placed(report) and _planned(arrays, target, match, patterns, False)[0].is_complete:
        remedy += "A change of precision alone is made with strict=False. "
    return remedy + "Choose with only=[...] or match=, or fill what fits with strict=False."


def _tried(arrays: Mapping[str, object], target: Target, match: Rules) -> str:
    """The arguments with which everything fits; "" where even they do not help."""
    said = f"match={match!r}"
    if _planned(arrays, target, match, None, True)[0].is_complete:
        return said
    if _planned(arrays, target, match, None, False)[0].is_complete:
        return f"{said}, strict=False (a change of precision)"
    return ""


def _rules_that_may_fit(
    report: Report, arrays: Mapping[str, object], target: Target
) -> Iterator[dict[str, str | None]]:
    """Rules by which what is missing gets its array: a prefix less or more, the rest left out."""
    names = {slashed(name): name for name in arrays}
    missing = [name for name in report.missing if slashed(name) not in names]
    rest = [name for name in arrays if name not in report.filled.values()]
    if not missing:
        if report.unexpected and not report.missing:
            yield _left_out(report.unexpected, set(report.filled.values()))
        return
    first = slashed(missing[0])
    for name in rest:  # the file has a prefix more
        end = len(name) - len(first)
        if end < 1 or slashed(name)[end - 1 :] != f"/{first}":
            continue
        prefix = name[:end]
        if all(slashed(prefix) + slashed(other) in names for other in missing):
            yield {"^" + re.escape(prefix): ""}
            yield {f"^(?!{re.escape(prefix)})": None, "^" + re.escape(prefix): ""}
    for end in (place + 1 for place, mark in enumerate(missing[0]) if mark in "./"):
        prefix = missing[0][:end]  # the object has a prefix more
        bare = [name.removeprefix(prefix) for name in missing]
        if all(name.startswith(prefix) for name in missing) and all(
            slashed(name) in names for name in bare
        ):
            yield {"^": prefix}
            others = [name for name in rest if slashed(name) not in map(slashed, bare)]
            if others:
                yield {**_left_out(others, set(bare)), "^": prefix}


def _left_out(names: Iterable[str], kept: set[str]) -> dict[str, str | None]:
    """Rules that leave arrays out: whole branches of the file, where nothing of them is kept."""
    branches = {name.partition("/")[0] for name in kept if "/" in name}
    rules: dict[str, str | None] = {}
    for name in names:
        step, mark, _ = name.partition("/")
        if mark and step not in branches:
            rules[f"^{re.escape(step)}/"] = None
        else:
            rules[f"^{re.escape(name)}$"] = None
    return rules


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

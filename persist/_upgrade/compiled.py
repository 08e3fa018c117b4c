"""The steps from one version to today's written out as one function, compiled once and kept.

A way of steps is done in `persist._upgrade.versions` step by step, with everything looked
at on the way. Where many states go the same way, that looking costs more than
the steps. Here it is done once: the calls of functions, and what the commonest
ready-made steps do to a dict, become source of a few lines. Whatever a state or
a step does that is not in these lines is handed back, with the number of steps
that are done, and goes on step by step; so both ways give equal states and
equal errors, which the tests prove.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist import ops
from persist._trees.copier import SCALAR, has_no_arrays
from persist.registry._declarations import Migration, takes_record

__all__ = ["COMPILE_AFTER", "Odd", "advance", "can_be_written", "compiled", "is_ordinary", "lines"]

Space = dict[str, Any]


class Odd:
    """A state that the written lines do not go on with: what the last step gave, and its number."""

    __slots__ = ("done", "value")

    def __init__(self, done: int, value: Any) -> None:
        self.done = done
        self.value = value


def can_be_written(steps: Iterable[Migration]) -> bool:
    """Whether steps take a state alone, not its record beside it."""
    return not any(step.function is not None and takes_record(step.function) for step in steps)


def compiled(source: str, place: str, space: Space) -> None:
    """Run source of ours that defines a function; what it refers to is in the space.

    Names from a file stand in it as literals only, which ``repr`` writes.
    """
    exec(compile(source, f"<{place}>", "exec"), space)


COMPILE_AFTER = 8  # times that a way is gone before it is worth being written
_Known = tuple[tuple[Migration, ...], Any]
_WAYS: dict[tuple[int, ...], _Known] = {}

_ADVANCE = """
def advance(s, memo):
    at = 0
    before = s
    try:
{lines}
    except Exception as error:
        if at < 0:  # an array could not be read, which is no fault of the step
            raise
        raise FAILED(STEPS[at], before, error) from error
    return s
"""


def advance(
    steps: tuple[Migration, ...], failed: Callable[..., Exception], read: Callable[[Any], Any]
) -> Any:
    """Return the function ``(state, memo) -> state or Odd`` that does these steps, or None.

    Args:
        steps: of one schema.
        failed: step, state, error -> the error to raise.
        read: state -> the state with every promise of an array read, for function steps.
    """
    key = tuple(map(id, steps))
    known = _WAYS.get(key)
    function = 0 if known is None else known[1]
    if type(function) is not int:  # the table holds the steps, so that no id is given twice
        return function
    count, function = function + 1, None
    if count < COMPILE_AFTER:
        _keep(key, steps, count)
        return None
    if can_be_written(steps):
        space: Space = {"FAILED": failed, "STEPS": steps, "READ": read}
        source = _ADVANCE.format(lines="\n".join(lines(steps, "s", space, reads=True)))
        compiled(source, "steps of a schema", space)
        function = space["advance"]
    _keep(key, steps, function)
    return function


def _keep(key: tuple[int, ...], steps: tuple[Migration, ...], function: Any) -> None:
    if len(_WAYS) > 10_000:
        _WAYS.clear()
    _WAYS[key] = (steps, function)


def is_ordinary(name: str) -> bool:
    """Whether a name can stand behind a dot in source."""
    return name.isidentifier() and not keyword.iskeyword(name)


def lines(
    steps: Iterable[Migration], name: str, space: Space, *, reads: bool = False, odd: str = ""
) -> list[str]:
    """Return the lines that do steps to the dict of a name, eight spaces in.

    They set ``at`` to the number of each step and ``before`` to what it gets, and use ``memo``.

    Args:
        steps: of one schema.
        name: of the variable that holds the state.
        space: what the lines refer to is added.
        reads: read promises of arrays before each function step.
        odd: the statement for what is not gone on with, instead of ``return Odd(done, value)``.
    """
    odd = odd or "return Odd({done}, {name})"
    space.update(SCALAR=SCALAR, PLAIN=has_no_arrays, Odd=Odd)
    found: list[str] = []
    for number, step in enumerate(steps):
        found += [f"at = {number}", f"before = {name}"]
        if step.function is not None:
            space[f"{name}_f{number}"] = step.function
            if reads:
                found += [
                    f"if not SCALAR.issuperset(map(type, {name}.values())) and not PLAIN({name}.values()):",
                    f"    at = {~number}",
                    f"    before = {name} = READ({name})",
                    f"    at = {number}",
                ]
            found.append(f"{name} = {name}_f{number}({name})")
            is_dict = False
        else:
            is_dict = True
            for place, op in enumerate(step.ops):
                written, is_dict = _op(op, f"{name}_{number}_{place}", name, space, is_dict)
                found += written
        if not is_dict:
            leave = odd.format(done=number + 1, name=name)
            found += [f"if type({name}) is not dict:", f"    {leave}"]
    return [f"        {line}" for line in found]


def _op(op: ops.Op, own: str, name: str, space: Space, is_dict: bool) -> tuple[list[str], bool]:
    """The lines of one ready-made step, and whether a dict is certain afterwards."""
    space[own] = op
    general = f"{name} = {own}.apply({name}, memo)"
    writer = _WRITERS.get(type(op))
    written = writer(op, own, name, space) if writer is not None and is_dict else None
    if written is None:
        return [general], False
    condition, body = written
    return [
        f"if {condition}:",
        *(f"    {line}" for line in body),
        "else:",
        f"    {general}",
    ], True


Written = tuple[str, list[str]]


def _rename(op: Any, own: str, name: str, space: Space) -> Written | None:
    old, new = list(op.names), list(op.names.values())
    if not _are_plain(old + new) or len({*old, *new}) != 2 * len(old):
        return None
    there = [f"{one!r} in {name}" for one in old] + [f"{one!r} not in {name}" for one in new]
    moves = [f"{name}[{op.names[one]!r}] = {name}.pop({one!r})" for one in old]
    return " and ".join(there), moves


def _add(op: Any, own: str, name: str, space: Space) -> Written | None:
    if not _are_plain([op.name]):
        return None
    if op.computed is None and op.factory is None and not isinstance(op.value, _COPIED):
        space[f"{own}_value"] = op.value
        made = f"{own}_value"
    else:
        made = f"{own}._make({name})"
    return f"{op.name!r} not in {name}", [f"{name}[{op.name!r}] = {made}"]


def _convert(op: Any, own: str, name: str, space: Space) -> Written | None:
    if not _are_plain([op.name]):
        return None
    space[f"{own}_function"] = op.function
    value = f"{name}[{op.name!r}]"
    return f"type({name}.get({op.name!r}, {name})) in SCALAR", [
        f"{value} = {own}_function({value})"
    ]


def _drop(op: Any, own: str, name: str, space: Space) -> Written | None:
    if not _are_plain(op.names):
        return None
    there = " and ".join(f"{one!r} in {name}" for one in op.names)
    return there, [f"del {name}[{one!r}]" for one in op.names]


def _are_plain(names: Iterable[str]) -> bool:
    return not any("/" in name or "*" in name for name in names)


_COPIED = (list, dict, set, np.ndarray)
_WRITERS: dict[type[ops.Op], Callable[[Any, str, str, Space], Written | None]] = {
    ops.rename: _rename,
    ops.add: _add,
    ops.convert: _convert,
    ops.drop: _drop,
}

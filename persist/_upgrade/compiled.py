"""Compile a sequence of migration steps to one function, once, and cache it.

`persist._upgrade.running` runs steps one at a time and checks the state after each. When many
states need the same steps, these checks cost more than the steps. Here they are made once: the calls
of functions, and the operations of the most common ready-made steps on a dict, become a few lines of
source. A state or a result that these lines do not cover is returned as `Odd`, with the number of
steps done, and `versions` continues step by step. Both routes give equal states and equal errors,
which the tests check.

Every generated source is registered with `linecache`, so that tracebacks show its lines and a
debugger can step through them.
"""

from __future__ import annotations

import contextlib
import itertools
import keyword
import linecache
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from persist import ops
from persist._trees.copier import SCALAR, has_no_arrays
from persist.registry._declarations import Migration, takes_record

__all__ = [
    "COMPILE_AFTER",
    "SWITCH",
    "Odd",
    "advance",
    "can_be_written",
    "compiled",
    "is_ordinary",
    "lines",
]

Space = dict[str, Any]


class _Switch:
    """Whether compiled code is used at all; off only in tests, which compare it with the general path."""

    def __init__(self) -> None:
        self.is_on = True
        self._listeners: list[Callable[[bool], None]] = []

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Have a function called with the new state whenever it changes."""
        self._listeners.append(listener)

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """Context manager: every record and instance takes the general path."""
        self._turn(False)
        try:
            yield
        finally:
            self._turn(True)

    def _turn(self, is_on: bool) -> None:
        self.is_on = is_on
        for listener in self._listeners:
            listener(is_on)


SWITCH = _Switch()


class Odd:
    """A state that the compiled lines do not handle.

    Attributes:
        done: the number of steps done.
        value: the result of the last of them.
    """

    __slots__ = ("done", "value")

    def __init__(self, done: int, value: object) -> None:
        self.done = done
        self.value = value


def can_be_written(steps: Iterable[Migration]) -> bool:
    """True if every step takes the state only, not the state and its record."""
    return not any(step.function is not None and takes_record(step.function) for step in steps)


_numbers = itertools.count(1)


def compiled(source: str, title: str, space: Space) -> None:
    """Execute generated source that defines functions, in a namespace.

    Names that come from a file appear in the source as literals only, written by ``repr``.

    Args:
        source: the text to compile.
        title: what it is, for tracebacks: the file name of the code is
            ``<persist generated 12: TITLE>``, with a number of its own.
        space: the namespace: the values that the source refers to; its functions are added.
    """
    name = f"<persist generated {next(_numbers)}: {title}>"
    exec(compile(source, name, "exec"), space)
    # No modification time: `linecache.checkcache` keeps entries without one.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    for value in space.values():
        if isinstance(value, FunctionType) and value.__code__.co_filename == name:
            # Loading a file may generate code that is used once: its text must not outlive it.
            weakref.finalize(value, linecache.cache.pop, name, None).atexit = False


COMPILE_AFTER = 8  # number of uses after which compiling a sequence of steps pays off
_Entry = tuple[tuple[Migration, ...], Any]
_COMPILED: dict[tuple[int, ...], _Entry] = {}  # ids of steps -> the steps, and uses or function

_ADVANCE = """
def advance(s, memo):
    at = 0
    before = s
    try:
{lines}
    except Exception as error:
        if at < 0:  # reading an array failed, not the step
            raise
        raise FAILED(STEPS[at], before, error) from error
    return s
"""


def advance(
    steps: tuple[Migration, ...], failed: Callable[..., Exception], read: Callable[[Any], object]
) -> Any:
    """Return a function ``(state, memo) -> state or Odd`` that runs these steps, or None.

    None means that the steps are not used often enough yet, or that they cannot be compiled.

    Args:
        steps: of one schema.
        failed: (step, state, error) -> the error to raise.
        read: state -> the state with every `LazyArray` read, for function steps.
    """
    if not SWITCH.is_on:
        return None
    key = tuple(map(id, steps))
    entry = _COMPILED.get(key)
    function = 0 if entry is None else entry[1]
    if type(function) is not int:  # the table holds the steps, so that their ids are not reused
        return function
    count, function = function + 1, None
    if count < COMPILE_AFTER:
        _keep(key, steps, count)
        return None
    if can_be_written(steps):
        space: Space = {"FAILED": failed, "STEPS": steps, "READ": read}
        source = _ADVANCE.format(lines="\n".join(lines(steps, "s", space, reads=True)))
        compiled(source, f"migrations of {steps[0].schema}", space)
        function = space["advance"]
    _keep(key, steps, function)
    return function


def _keep(key: tuple[int, ...], steps: tuple[Migration, ...], function: object) -> None:
    if len(_COMPILED) > 10_000:
        _COMPILED.clear()
    _COMPILED[key] = (steps, function)


def is_ordinary(name: str) -> bool:
    """True if a name can follow a dot in source."""
    return name.isidentifier() and not keyword.iskeyword(name)


def lines(
    steps: Iterable[Migration], name: str, space: Space, *, reads: bool = False, odd: str = ""
) -> list[str]:
    """Return the source lines that apply steps to the dict in a variable, indented by eight spaces.

    They set ``at`` to the number of each step and ``before`` to its input, and use ``memo``.

    Args:
        steps: of one schema.
        name: of the variable that holds the state.
        space: the values that the lines refer to are added.
        reads: read each `LazyArray` before each function step.
        odd: the statement for a state that is not handled, instead of ``return Odd(done, value)``.
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
    """The lines of one ready-made step, and whether the result is certainly a dict."""
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

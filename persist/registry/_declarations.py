"""What a registry holds: migrations, stamps, aliases; and the ways that steps make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from persist import ops as _ops
from persist.errors import IrreversibleError, MissingMigrationError, UnsupportedVersionError

__all__ = [
    "EPOCH",
    "Alias",
    "Migration",
    "Origin",
    "Stamp",
    "Supported",
    "arrows",
    "caller",
    "gap",
    "origin_of",
    "outside",
    "shortest",
    "takes_record",
    "unsupported",
]


# Counted up whenever any registry learns something: what was compiled before may be out of date.
EPOCH = [0]


class Migration:
    """One declared step of one schema from a version to a later one.

    Calling it calls the function that it decorates.

    Attributes:
        schema: the schema's name.
        start: the version that it takes.
        to: the version that it gives.
        function: the function, or None where it is made of ready-made steps.
        ops: the ready-made steps, or ().
        module: where it was written.
        where: ``file:line``.
        backward: the function that goes the other way, or None.
    """

    def __init__(
        self,
        schema: str,
        start: int,
        to: int,
        function: Callable[..., Any] | None,
        ops: tuple[_ops.Op, ...],
        origin: Origin,
    ) -> None:
        self.schema = schema
        self.start = start
        self.to = to
        self.function = function
        self.ops = ops
        self.origin = origin
        self.backward: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__ if function is not None else None
        self.__name__ = origin.qualname
        self.__wrapped__ = function

    @property
    def module(self) -> str:
        """The module in which it was written."""
        return self.origin.module

    @property
    def where(self) -> str:
        """The file and line in which it was written."""
        return f"{self.origin.file}:{self.origin.line}"

    @property
    def text(self) -> str:
        """What it does, for a plan: the ready-made steps, or the function and where it stands."""
        if self.ops:
            return "; ".join(map(str, self.ops))
        return f"{self.origin.qualname} ({self.where})"

    @property
    def is_reversible(self) -> bool:
        """Whether it can also go the other way."""
        if self.backward is not None:
            return True
        return bool(self.ops) and all(op.is_reversible for op in self.ops)

    def downgrade(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the function that takes the newer state and gives the older one."""
        self.backward = function
        return function

    def __call__(self, *args: Any) -> Any:
        if self.function is None:
            raise TypeError(f"{self} is made of ready-made steps; it is no function.")
        return self.function(*args)

    def up(self, state: Any, record: Any = None, memo: dict[Any, Any] | None = None) -> Any:
        """Return the newer state; the older one is the caller's own copy, and may be changed."""
        if self.function is not None:
            return (
                self.function(state, record)
                if takes_record(self.function)
                else self.function(state)
            )
        memo = {} if memo is None else memo
        for op in self.ops:
            state = op.apply(state, memo)
        return state

    def down(self, state: Any, record: Any = None) -> tuple[Any, list[str]]:
        """Return the older state and what it cannot hold.

        Raises:
            IrreversibleError: nobody says how to go back.
        """
        losses: list[str] = []
        if self.backward is not None:
            given = (
                self.backward(state, record)
                if takes_record(self.backward)
                else self.backward(state)
            )
            return given, losses
        if not self.ops:
            raise IrreversibleError(
                f"the step {self} goes one way only.",
                remedy=f"Write the way back with @{self.origin.qualname}.downgrade.",
                schema=self.schema,
                step=(self.start, self.to),
            )
        memo: dict[Any, Any] = {}
        for op in reversed(self.ops):
            losses += op.losses(state)
            state = op.inverse().apply(state, memo)
        return state, losses

    def __str__(self) -> str:
        return f"{self.schema} {self.start}→{self.to}: {self.text}"

    def __repr__(self) -> str:
        return f"<migration {self}>"


@attrs.frozen
class Origin:
    """Where something was registered; the same module and name again replaces it."""

    module: str
    qualname: str
    file: str
    line: int
    spec: Any = attrs.field(default=None, eq=False, repr=False)

    def replaces(self, other: Origin, is_function: bool) -> bool:
        """Whether this is the same place again: a reload, a notebook's cell, a module run as a script."""
        place = (self.qualname, self.line, self.file)
        if place == (other.qualname, other.line, other.file) and os.path.exists(self.file):
            return True
        if self.module != other.module or self.qualname != other.qualname:
            return False
        if is_function:
            return True
        reloaded = self.spec is not other.spec
        return reloaded or self.file != other.file or self.line == other.line


def takes_record(function: Callable[..., Any]) -> bool:
    """Whether a step wants the record beside the state."""
    code = getattr(function, "__code__", None)
    defaults = getattr(function, "__defaults__", None) or ()
    return code is not None and code.co_argcount - len(defaults) == 2


def origin_of(function: Callable[..., Any]) -> Origin:
    """Return where a function was written."""
    code = getattr(function, "__code__", None)
    module = getattr(function, "__module__", "") or ""
    return Origin(
        module,
        getattr(function, "__qualname__", repr(function)),
        getattr(code, "co_filename", "?"),
        getattr(code, "co_firstlineno", 0),
        getattr(sys.modules.get(module), "__spec__", None),
    )


def caller(qualname: str, file: str) -> Origin:
    """Where something was written: the first frame outside of this file."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == file:
        frame = frame.f_back
    said = frame.f_globals
    return Origin(
        str(said.get("__name__", "")), qualname, frame.f_code.co_filename, frame.f_lineno,
        said.get("__spec__"),
    )  # fmt: skip


def outside() -> int:
    """Return the stack level of the first caller that is not of this package, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("persist."):
        level, frame = level + 1, frame.f_back
    return level


@attrs.frozen
class Alias:
    """An old dotted name, or a prefix of names, that stands for today's."""

    old: str
    new: str
    since: str = ""
    evidence: str = ""


@attrs.frozen
class Stamp:
    """A function that tells the version of a state which bears none."""

    schema: str
    function: Callable[[Any], int | None]
    origin: Origin
    key: str | None = None

    def __str__(self) -> str:
        if self.key is not None:
            return f"the state's own {self.key!r}"
        return f"{self.origin.qualname} ({self.origin.file}:{self.origin.line})"


def shortest(steps: Iterable[Migration], start: int, to: int) -> list[list[Migration]] | None:
    """Up to two shortest ways; None where there is none."""
    if start == to:
        return [[]]
    leaving: dict[int, list[Migration]] = {}
    for step in steps:
        leaving.setdefault(step.start, []).append(step)
    ways: dict[int, list[list[Migration]]] = {start: [[]]}
    front = [start]
    while front and to not in ways:
        reached: dict[int, list[list[Migration]]] = {}
        for version in front:
            for step in leaving.get(version, ()):
                if step.to not in ways and step.to <= to:
                    more = [[*way, step] for way in ways[version]]
                    reached[step.to] = [*reached.get(step.to, []), *more][:2]
        ways.update(reached)
        front = list(reached)
    return ways.get(to)


def arrows(way: list[Migration]) -> str:
    """Return the steps of a way as text: ``1→2, 2→3``."""
    return ", ".join(f"{step.start}→{step.to}" for step in way)


def gap(
    name: str, start: int, to: int, steps: dict[tuple[int, int], Migration]
) -> MissingMigrationError:
    """Return the error that says which step is missing on the way, and which there are."""
    low, high = min(start, to), max(start, to)
    reached, goal = {low}, high
    for first, last in sorted(steps):
        if first in reached and last <= goal:
            reached.add(last)
    stuck = max(reached)
    known = ", ".join(f"{first}→{last}" for first, last in sorted(steps)) or "none"
    return MissingMigrationError(
        f"no migration leads from version {stuck} to {stuck + 1}.",
        remedy=f"The file holds version {start}, this program wants {to}; registered steps are {known}. "
        f'Register the missing one with @migration("{name}", {stuck}), or look at the raw state '
        "with `persist inspect`.",
        schema=name,
        found=start,
        wanted=to,
        steps=sorted(steps),
    )


@attrs.frozen
class Supported:
    """The oldest version of a schema that is still read, and the last release that reads older ones."""

    schema: str
    since: int
    reader: str = ""


def unsupported(oldest: Supported, start: int, to: int) -> UnsupportedVersionError:
    """Return the error for a file that is older than the oldest supported version."""
    package = oldest.schema.partition(".")[0]
    if oldest.reader:
        cure = (
            f"Release {oldest.reader} of {package} still reads it: install that one "
            f'(pip install "{package}=={oldest.reader}"), load the file, save it, and load that here.'
        )
    else:
        cure = "Load and save it with an older release of the package, and load that here."
    return UnsupportedVersionError(
        f"version {start} of {oldest.schema!r} is no longer supported; the oldest is {oldest.since}.",
        remedy=cure,
        schema=oldest.schema,
        found=start,
        wanted=to,
        since=oldest.since,
        reader=oldest.reader,
    )

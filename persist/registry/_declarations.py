"""What a registry holds: migrations, stamps, aliases; and the paths that steps make."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic

import attrs

from persist import ops as _ops
from persist.errors import IrreversibleError, MissingMigrationError, UnsupportedVersionError
from persist.ops._owners import Transfer

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar  # those with defaults (PEP 696)

    _P = ParamSpec("_P", default=...)
    _R = TypeVar("_R", default=Any)
    _F = TypeVar("_F", bound=Callable[..., Any])
else:
    from typing import ParamSpec, TypeVar

    _P, _R = ParamSpec("_P"), TypeVar("_R")

_PACKAGE = os.path.dirname(__file__) + os.sep

__all__ = [
    "EPOCH",
    "Alias",
    "Migration",
    "Origin",
    "Stamp",
    "Supported",
    "arrows",
    "call_site",
    "gap",
    "of_releases",
    "origin_of",
    "shortest",
    "takes_record",
    "unsupported",
    "user_stacklevel",
]


# Counted up whenever any registry learns something: what was compiled before may be out of date.
EPOCH = [0]


class Migration(Generic[_P, _R]):
    """One declared step of one schema from a version to a later one.

    Calling it calls the function that it decorates.

    Attributes:
        schema: the schema's name.
        start: the version that it takes.
        to: the version that it gives.
        function: the function, or None where it is made of ready-made steps.
        ops: the ready-made steps, or ().
        transfers: those of them that hand fields to another class, or take them over.
        module: where it was written.
        where: ``file:line``.
        backward: the function that goes the other way, or None.
        before: classes, or names of schemas, whose records are upgraded after those of this schema.
        after: likewise, those that are upgraded before them.
        cost: of the step, where several paths lead to the current version.
    """

    def __init__(
        self,
        schema: str,
        start: int,
        to: int,
        function: Callable[_P, _R] | None,
        ops: tuple[_ops.Op, ...],
        origin: Origin,
        *,
        before: tuple[type | str, ...] = (),
        after: tuple[type | str, ...] = (),
        cost: float = 1,
    ) -> None:
        self.schema = schema
        self.start = start
        self.to = to
        self.function = function
        self.ops = ops
        self.transfers = tuple(op for op in ops if isinstance(op, Transfer))
        self.origin = origin
        self.before = before
        self.after = after
        self.cost = cost
        self.backward: Callable[..., object] | None = None
        self._inverses: list[_ops.Op] | None = None  # of the ready-made steps, last first
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
        """A description for a plan, of the ready-made steps or the function with file and line."""
        if self.ops:
            return "; ".join(map(str, self.ops))
        return f"{self.origin.qualname} ({self.where})"

    @property
    def is_reversible(self) -> bool:
        """True if the step has an inverse."""
        if self.backward is not None:
            return True
        return bool(self.ops) and all(op.is_reversible for op in self.ops)

    def repeats(self, other: Migration) -> bool:
        """True if both come from the same definition: the function that registers ran twice."""
        if self.function is None or other.function is None:
            return self.function is other.function and self.ops == other.ops
        return _is_same_code(self.function, other.function)

    def downgrade(self, function: _F) -> _F:
        """Declare the function that takes the newer state and gives the older one."""
        self.backward = function
        return function

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if self.function is None:
            raise TypeError(f"{self} is made of ready-made steps; it is no function.")
        return self.function(*args, **kwargs)

    def up(
        self, state: object, record: object = None, memo: dict[object, object] | None = None
    ) -> Any:
        """Return the newer state; the older one is the caller's own copy, and may be changed."""
        function: Callable[..., object] | None = self.function
        if function is not None:
            return function(state, record) if takes_record(function) else function(state)
        memo = {} if memo is None else memo
        for op in self.ops:
            state = op.apply(state, memo)
        return state

    def down(
        self, state: object, record: object = None, memo: dict[object, object] | None = None
    ) -> tuple[Any, list[str]]:
        """Return the older state and what it cannot hold.

        Args:
            state: the newer state; it may be changed.
            record: whose state it is.
            memo: what the steps of one run share, so that what is shared stays so.

        Raises:
            IrreversibleError: the step has no inverse.
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
        memo = {} if memo is None else memo
        if self._inverses is None:
            self._inverses = [op.inverse() for op in reversed(self.ops)]
        for op, inverse in zip(reversed(self.ops), self._inverses, strict=True):
            losses += op.losses(state)
            state = inverse.apply(state, memo)
        return state, losses

    def __str__(self) -> str:
        return f"{self.schema} {self.start}→{self.to}: {self.text}"

    def __repr__(self) -> str:
        return f"<migration {self}>"


@attrs.frozen
class Origin:
    """Where something was registered, and in which run of that code.

    Attributes:
        module: the name of the module.
        qualname: of the function, or a text in place of it.
        file: the file, or what an interactive session calls its input.
        line: the line.
        spec: the module's ``__spec__``, which each reload makes anew.
        space: the namespace, which ``%run`` and `runpy` make anew.
        run: the code of the module, script or cell that ran; each execution compiles, or reads,
            its own.
    """

    module: str
    qualname: str
    file: str
    line: int
    spec: Any = attrs.field(default=None, eq=False, repr=False)
    space: Any = attrs.field(default=None, eq=False, repr=False)
    run: Any = attrs.field(default=None, eq=False, repr=False)

    def replaces(self, other: Origin) -> bool:
        """True if this is the same definition, executed again, perhaps after an edit.

        A reload, a cell of a notebook that runs again, a module that is a script and imported, too.
        Two definitions of one name in one run are a mistake, whichever comes last.
        """
        if self.run is other.run:
            return False
        is_of_file = self.file == other.file
        is_same_place = is_of_file and self.line == other.line and self.qualname == other.qualname
        is_same_name = self.module == other.module and self.qualname == other.qualname
        if not is_same_name:
            return is_same_place and os.path.exists(self.file)
        # An edited cell has another name; elsewhere lines move when a file is loaded again.
        is_new = self.spec is not other.spec or self.space is not other.space
        return is_same_place or not is_of_file or is_new


def takes_record(function: Callable[..., object]) -> bool:
    """True if a step takes the record in addition to the state."""
    code = getattr(function, "__code__", None)
    defaults = getattr(function, "__defaults__", None) or ()
    bound = int(isinstance(function, MethodType))  # the instance is an argument of its code
    return code is not None and code.co_argcount - bound - len(defaults) == 2


def origin_of(function: Callable[..., object]) -> Origin:
    """Return where a function was written."""
    code = getattr(function, "__code__", None)
    module = getattr(function, "__module__", "") or ""
    return Origin(
        module,
        getattr(function, "__qualname__", repr(function)),
        getattr(code, "co_filename", "?"),
        getattr(code, "co_firstlineno", 0),
        getattr(sys.modules.get(module), "__spec__", None),
        getattr(function, "__globals__", None),
        _run_of(sys._getframe(1)),
    )


def _is_same_code(one: object, other: object) -> bool:
    code = getattr(one, "__code__", None)
    return one is other or (code is not None and code is getattr(other, "__code__", None))


def _run_of(frame: Any) -> object:
    """The code of the innermost module, script or cell that is running."""
    while frame.f_back is not None:
        is_function = frame.f_code.co_flags & inspect.CO_OPTIMIZED
        if not is_function and frame.f_locals is frame.f_globals:
            break
        frame = frame.f_back
    return frame.f_code


def call_site(qualname: str, file: str = "") -> Origin:
    """Where something was written: the first frame outside of this package, and of a file that calls it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename == file or frame.f_code.co_filename.startswith(_PACKAGE)
    ):
        frame = frame.f_back
    said = frame.f_globals
    return Origin(
        str(said.get("__name__", "")), qualname, frame.f_code.co_filename, frame.f_lineno,
        said.get("__spec__"), said, _run_of(frame),
    )  # fmt: skip


def user_stacklevel() -> int:
    """Return the stack level of the first caller that is not of this package, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("persist."):
        level, frame = level + 1, frame.f_back
    return level


@attrs.frozen
class Alias:
    """An old dotted name, or a prefix of names, and the current one."""

    old: str
    new: str
    since: str = ""
    evidence: str = ""
    origin: Origin | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class Stamp:
    """A function that finds the version of a state that does not state it."""

    schema: str
    function: Callable[[Any], int | str | bytes | None]
    origin: Origin
    key: str | None = None

    def repeats(self, other: Stamp) -> bool:
        """True if both come from the same definition."""
        if self.key is not None or other.key is not None:
            return self.key == other.key
        return _is_same_code(self.function, other.function)

    def __str__(self) -> str:
        if self.key is not None:
            return f"the state's own {self.key!r}"
        return f"{self.origin.qualname} ({self.origin.file}:{self.origin.line})"


def shortest(steps: Iterable[Migration], start: int, to: int) -> list[list[Migration]] | None:
    """Up to two paths of the least cost; None where there is none."""
    leaving: dict[int, list[Migration]] = {}
    for step in steps:
        leaving.setdefault(step.start, []).append(step)
    # Every step leads to a later version, so one pass in the order of the versions finds all paths.
    best: dict[int, tuple[float, list[list[Migration]]]] = {start: (0, [[]])}
    for version in sorted(leaving):
        if version not in best or version >= to:
            continue
        cost, paths = best[version]
        for step in leaving.get(version, ()):
            if step.to > to:
                continue
            total, more = cost + step.cost, [[*path, step] for path in paths]
            known = best.get(step.to)
            if known is None or total < known[0]:
                best[step.to] = (total, more[:2])
            elif total == known[0]:
                best[step.to] = (total, [*known[1], *more][:2])
    found = best.get(to)
    return None if found is None else found[1]


def arrows(way: list[Migration]) -> str:
    """Return steps as text: ``1→2, 2→3``."""
    return ", ".join(f"{step.start}→{step.to}" for step in way)


def gap(
    name: str,
    start: int,
    to: int,
    steps: dict[tuple[int, int], Migration],
    releases: Mapping[int, str] | None = None,
) -> MissingMigrationError:
    """Return the error that names the missing step and lists the registered ones."""
    low, high = min(start, to), max(start, to)
    reached, goal = {low}, high
    for first, last in sorted(steps):
        if first in reached and last <= goal:
            reached.add(last)
    stuck = max(reached)
    known = ", ".join(f"{first}→{last}" for first, last in sorted(steps)) or "none"
    return MissingMigrationError(
        f"no migration leads from version {stuck} to {stuck + 1}.",
        remedy=f"The file holds version {start}{of_releases(start, releases)}, this program wants "
        f"{to}{of_releases(to, releases)}; registered steps are {known}. "
        f'Register the missing one with @migration("{name}", {stuck}), or look at the raw state '
        "with `persist inspect`.",
        schema=name,
        found=start,
        wanted=to,
        steps=sorted(steps),
    )


def of_releases(version: int, releases: Mapping[int, str] | None) -> str:
    """Return the releases of a version in parentheses, for a message; "" where none are declared."""
    said = (releases or {}).get(version)
    return f" (releases {said})" if said else ""


@attrs.frozen
class Supported:
    """The oldest version of a schema that is still read, and the last release that reads older ones."""

    schema: str
    since: int
    reader: str = ""


def unsupported(
    oldest: Supported, start: int, to: int, releases: Mapping[int, str] | None = None
) -> UnsupportedVersionError:
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
        f"version {start}{of_releases(start, releases)} of {oldest.schema!r} is no longer supported; the "
        f"oldest is {oldest.since}.",
        remedy=cure,
        schema=oldest.schema,
        found=start,
        wanted=to,
        since=oldest.since,
        reader=oldest.reader,
    )

"""How far a long call is: what the stages of a load or save report, and to whom.

A call with ``progress=`` enters `reporting`; a stage that can take long asks for `current` once, and
does nothing further where nobody listens. Loops have no check of their own for each item: a stage
that is listened to wraps what it calls, or reports once a chunk of bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import IO, Any, TypeVar, cast

from persist.typing import Progress, ProgressEvent, ProgressPhase, ProgressUnit

__all__ = ["Count", "Meter", "current", "reporting"]

_T = TypeVar("_T")
_OFTEN = 0.05  # seconds between two events of one phase


class Meter:
    """Receives how far each phase is, and passes on what is worth an event.

    Args:
        report: called with each event.
    """

    def __init__(self, report: Callable[[ProgressEvent], object]) -> None:
        self._report = report
        self._last: ProgressEvent | None = None
        self._counts: dict[tuple[ProgressPhase, str | None], Count] = {}
        self._due = 0.0

    def at(
        self,
        phase: ProgressPhase,
        done: int,
        total: int | None,
        unit: ProgressUnit,
        file: str | None = None,
    ) -> None:
        """Report a state: at once where a phase begins or ends, else not more often than 20 times a second."""
        last, now = self._last, time.monotonic()
        is_same = last is not None and last.phase == phase and last.file == file
        if is_same and now < self._due and done != total:
            return
        event = ProgressEvent(phase, done, total, unit, file)
        if event == last:
            return
        self._last, self._due = event, now + _OFTEN
        try:
            self._report(event)
        except Exception as error:
            raise _Stopped(error) from None

    def count(
        self,
        phase: ProgressPhase,
        unit: ProgressUnit,
        total: int | None = None,
        file: str | None = None,
    ) -> Count:
        """Return what counts a phase; a phase without a total goes on where it was before."""
        known = self._counts.get((phase, file))
        if known is None or total is not None:
            known = self._counts[phase, file] = Count(self, phase, unit, total, file)
        return known

    def over(
        self,
        items: Iterable[_T],
        total: int,
        phase: ProgressPhase,
        unit: ProgressUnit,
        file: str | None = None,
    ) -> Iterator[_T]:
        """Yield items, and report after each how many are done."""
        self.at(phase, 0, total, unit, file)
        for done, item in enumerate(items, 1):
            yield item
            self.at(phase, done, total, unit, file)


class Count:
    """Counts what a phase has done.

    Args:
        meter: that receives the count.
        phase, unit, total, file: of its events.
    """

    def __init__(
        self,
        meter: Meter,
        phase: ProgressPhase,
        unit: ProgressUnit,
        total: int | None = None,
        file: str | None = None,
    ) -> None:
        self._meter, self._phase, self._unit, self._file = meter, phase, unit, file
        self.total = total
        self.done = 0
        if total:
            meter.at(phase, 0, total, unit, file)

    def add(self, number: int = 1) -> None:
        """Count so many more; never beyond the total, which may be an estimate."""
        self.done += number
        if self.total is None or self.done < self.total:
            self._meter.at(self._phase, self.done, self.total, self._unit, self._file)

    def end(self) -> None:
        """Report the end of the phase; nothing, if there was nothing to do."""
        if not self.done and not self.total:
            return
        total = self.done if self.total is None else self.total
        self._meter.at(self._phase, total, total, self._unit, self._file)

    def calls(
        self, function: Callable[..., _T], but: Container[type] = frozenset()
    ) -> Callable[..., _T]:
        """Return a function that counts the calls of another, but for first arguments of some types."""

        def counted(first: object, *rest: object) -> _T:
            if type(first) not in but:
                self.add()
            return function(first, *rest)

        return counted

    def file(self, inner: IO[bytes]) -> IO[bytes]:
        """Return a file that is written to, and counts the bytes."""
        return cast("IO[bytes]", _CountedFile(inner, self))


class _CountedFile:
    """A file that counts what is written; anything else is that of the file itself."""

    def __init__(self, inner: IO[bytes], count: Count) -> None:
        self._inner: Any = inner  # raw files of a user may return nothing
        self._count = count

    def write(self, data: Any) -> int | None:
        written: int | None = self._inner.write(data)
        self._count.add(memoryview(data).nbytes if written is None else written)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Stopped(BaseException):
    """What the caller's function raised: no handler in between takes it for a fault of the file."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


_meter: ContextVar[Meter | None] = ContextVar("persist_progress", default=None)
current = _meter.get
_NOBODY: AbstractContextManager[None] = contextlib.nullcontext()


def reporting(progress: Progress | None) -> AbstractContextManager[None]:
    """Report to a function, or to a bar if True, what happens in a ``with`` block; None changes nothing.

    Raises:
        TypeError: it is neither of these.
    """
    if progress is None or progress is False:
        return _NOBODY
    _check(progress)
    return _reporting(progress)


def _check(progress: object) -> None:
    if progress is not True and not callable(progress):
        raise TypeError(
            f"progress={progress!r} was given. True, or a function that takes an event, was expected."
        )


@contextlib.contextmanager
def _reporting(progress: Progress) -> Iterator[None]:
    from persist._runtime.bars import bars

    with bars() if progress is True else contextlib.nullcontext(progress) as report:
        token = _meter.set(Meter(cast("Callable[[ProgressEvent], object]", report)))
        try:
            yield
        except _Stopped as stopped:
            raise stopped.error from None
        finally:
            _meter.reset(token)

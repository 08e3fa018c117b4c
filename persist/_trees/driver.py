"""Transform a value graph without recursion.

The handler of a value is a generator that yields its children and is sent their results, so the
depth is not limited. Subclasses of `Driver` keep a memo of the objects they have entered, so that
shared references and cycles are kept.
"""

from __future__ import annotations

import array as array_module
import datetime
import decimal
import fractions
import pathlib
import uuid
from collections.abc import Generator
from typing import Any

import numpy as np

from persist.tree import SCALARS

__all__ = ["ATOMS", "TIMES", "Driver", "Parts", "object_fields"]

Parts = Generator[tuple[str, Any], Any, Any]

ATOMS = frozenset(
    (
        *SCALARS, range, slice, type(...), type(NotImplemented),
        datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone,
        decimal.Decimal, fractions.Fraction, uuid.UUID, array_module.array,
        *(getattr(pathlib, name) for name in ("PurePosixPath", "PureWindowsPath")),
    )
)  # fmt: skip
TIMES = frozenset((datetime.datetime, datetime.timedelta, np.datetime64, np.timedelta64))
"""Types of one time or duration."""
_DEEP = 1000  # last steps of a path that are shown in a message


class Driver:
    """Runs generators, each of which yields (step, part) and is sent the result for the part."""

    def __init__(self) -> None:
        self.trail: list[str] = []

    def run(self, root: object) -> object:
        """Return the result for a value."""
        result, parts = self.enter(root)
        return result if parts is None else self.drive(root, parts)

    def drive(self, root: object, parts: Parts) -> object:
        """Return the result for a value for which `enter` has returned the generator ``parts``."""
        # A stack of our own: a file may nest its values deeper than Python lets functions call each other.
        stack: list[tuple[Parts, object]] = [(parts, root)]
        self.trail = []
        value: Any = None
        while stack:
            try:
                step, part = stack[-1][0].send(value)
            except StopIteration as stop:
                self.leave(stack.pop()[1])
                if self.trail:
                    self.trail.pop()
                value = stop.value
                continue
            self.trail.append(step)
            value, inner = self.enter(part)
            if inner is None:
                self.trail.pop()
            else:
                stack.append((inner, part))
                value = None
        return value

    def leave(self, value: object) -> None:
        """Called when the generator of a value has finished; does nothing here."""

    def enter(self, value: object) -> tuple[object, Parts | None]:
        """Return (result, None) for a value, or (None, generator) if its parts come first."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """The natural path of the current value; only the last 1,000 steps of a deeper one."""
        deep = len(self.trail) > _DEEP
        trail = ["...", *self.trail[-_DEEP:]] if deep else self.trail
        return "/".join(step for step in trail if step)


def object_fields(array: Any) -> list[Any]:
    """The fields of a structured array that hold objects, nested fields included."""
    fields = [array[name] for name in array.dtype.names or () if array.dtype[name].hasobject]
    return [
        view
        for field in fields
        for view in ([field] if field.dtype == object else object_fields(field))
    ]

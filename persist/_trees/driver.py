"""From values to what becomes of them, part by part, without recursion.

Each value is a generator of its parts, so that depth has no limit; whoever drives them meets each
object once, so that sharing and cycles stay.
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

from persist.tree import PersistentRef

__all__ = ["ATOMS", "Driver", "Parts", "object_fields"]

Parts = Generator[tuple[str, Any], Any, Any]

ATOMS = frozenset(
    (
        type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, type(...), type(NotImplemented),
        datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone,
        decimal.Decimal, fractions.Fraction, uuid.UUID, PersistentRef, array_module.array,
        *(getattr(pathlib, name) for name in ("PurePosixPath", "PureWindowsPath")),
    )
)  # fmt: skip
_DEEP = 1000  # steps of a path that is told


class Driver:
    """Drives generators: each yields (step, part) and gets what became of it."""

    def __init__(self) -> None:
        self.trail: list[str] = []

    def run(self, root: Any) -> Any:
        """Return what becomes of a value."""
        result, parts = self.enter(root)
        return result if parts is None else self.drive(root, parts)

    def drive(self, root: Any, parts: Parts) -> Any:
        """Return what becomes of a value that was entered."""
        stack: list[tuple[Parts, Any]] = [(parts, root)]
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

    def leave(self, value: Any) -> None:
        """A value is done that `enter` gave a generator for."""

    def enter(self, value: Any) -> tuple[Any, Parts | None]:
        """Return what becomes of a value, or the generator that finds out."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """The natural path of what is being done; of what lies very deep, the end of it."""
        deep = len(self.trail) > _DEEP
        trail = ["...", *self.trail[-_DEEP:]] if deep else self.trail
        return "/".join(step for step in trail if step)


def object_fields(array: Any) -> list[Any]:
    """The fields of a structured array that hold objects, those inside fields, too."""
    fields = [array[name] for name in array.dtype.names or () if array.dtype[name].hasobject]
    return [
        view
        for field in fields
        for view in ([field] if field.dtype == object else object_fields(field))
    ]

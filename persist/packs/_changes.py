"""The states of a library's classes, release by release, as registered steps.

A library that records its release in every state needs no version of its own: a change that came
with release 1.2 concerns each state of an older release. `Changes` collects such changes by class
and numbers them, so that the states of one class have the versions 1, 2, 3, ... of a schema, with
one migration between neighbours, in a `Registry` that can be listed, checked and drawn like any other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import attrs

from persist.registry import Registry
from persist.typing import State

__all__ = ["Changes"]

_Step = TypeVar("_Step", bound=Callable[[State], "State | None"])


@attrs.frozen
class _Change:
    release: str
    step: Callable[[State], State | None]


class Changes:
    """Steps that bring the states of a library's classes to the layout of its newest release.

    Args:
        library: its import name; for messages and for the name of the registry.
    """

    def __init__(self, library: str) -> None:
        self.library = library
        self._changes: dict[str, list[_Change]] = {}
        self._numbered: Registry | None = None

    def since(self, release: str, *classes: str) -> Callable[[_Step], _Step]:
        """Declare how the states of some classes changed with a release.

        The decorated function gets a dict of fields of an older release, with objects as values,
        and changes it in place or returns a new one. Of several changes of one class in one
        release, the one declared first runs first.

        Args:
            release: the first release that writes the new layout, as ``1.2``.
            classes: current dotted names.
        """

        def decorate(step: _Step) -> _Step:
            for name in classes:
                self._changes.setdefault(name, []).append(_Change(release, step))
            self._numbered = None
            return step

        return decorate

    @property
    def registry(self) -> Registry:
        """One schema for each class; its version is one more than the number of changes before it."""
        if self._numbered is None:
            made = Registry(f"{self.library} by release")
            for name in self._changes:
                ordered = self._of(name)
                made.register(name, version=len(ordered) + 1)
                for number, change in enumerate(ordered, 1):
                    made.migration(name, number)(_returning(change))
            self._numbered = made
        return self._numbered

    def _of(self, name: str) -> list[_Change]:
        from packaging.version import Version

        return sorted(self._changes.get(name, ()), key=lambda change: Version(change.release))

    def version(self, name: str, release: str | None) -> int:
        """Return the version of a class's state that a release wrote; 1 where none is recorded.

        Steps must therefore accept states that are as they should be already.
        """
        if release is None:
            return 1
        from packaging.version import Version

        # A release candidate writes what the release does.
        written = Version(Version(release).base_version)
        return 1 + sum(Version(change.release) <= written for change in self._of(name))

    def upgraded(self, name: str, state: State, release: str | None) -> State:
        """Return the state of a class in the layout of the newest release.

        Args:
            name: the current dotted name of the class.
            state: its fields; changed in place.
            release: that wrote it, or None.
        """
        return self.upgraded_from(name, state, self.version(name, release))

    def newest(self, name: str) -> int:
        """Return the version of the newest layout of a class."""
        return 1 + len(self._changes.get(name, ()))

    def upgraded_from(self, name: str, state: State, version: int) -> State:
        """Return the state of a class in the layout of the newest release; see `upgraded`.

        Args:
            name: the current dotted name of the class.
            state: its fields; changed in place.
            version: the version of its layout.
        """
        steps = self.registry.migrations(name)
        for number in range(version, self.newest(name)):
            state = steps[number, number + 1].up(state)
        return state


def _returning(change: _Change) -> Callable[[State], State]:
    """The step of a change, as one that returns the state."""

    @functools.wraps(change.step)
    def step(state: State) -> State:
        changed = change.step(state)
        return state if changed is None else changed

    return step

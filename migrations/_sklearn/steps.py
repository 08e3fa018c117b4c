"""The steps of all classes, and short forms to declare them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persist.packs import Changes
from persist.typing import State

__all__ = ["CHANGES", "INSTEAD", "State", "renamed", "since", "within"]


CHANGES = Changes("sklearn")
INSTEAD = "persist: the object that takes the estimator's place"
"""The key under which a step returns another object in the place of the estimator."""


def within(module: str, *names: str) -> tuple[str, ...]:
    """Return the dotted names of classes of one module of ``sklearn``."""
    return tuple(f"sklearn.{module}.{name}" for name in names)


def since(release: str, *classes: str) -> Callable[[Any], object]:
    """Declare a step; see `persist.packs.Changes.since`."""
    return CHANGES.since(release, *classes)


def renamed(release: str, *classes: str, **new_by_old: str) -> None:
    """Declare attributes that were renamed in a release."""

    @CHANGES.since(release, *classes)
    def rename(state: State) -> None:
        for old, new in new_by_old.items():
            if old in state:
                value = state.pop(old)
                state.setdefault(new, value)

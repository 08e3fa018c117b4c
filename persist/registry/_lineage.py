"""The base of a registry: its name, its parents, and the lock under which it changes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from itertools import chain
from typing import Self

from persist.errors import SchemaError
from persist.registry._declarations import EPOCH

__all__ = ["Lineage"]


class Lineage:
    """A registry as the line of registries that are asked: itself, its parents, and theirs.

    Args:
        name: for messages.
        parents: registries that are asked after this one.
    """

    parents: tuple[Self, ...]

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        self.name = name
        self.parents = parents
        above = chain.from_iterable(parent._lineage for parent in parents)
        self._lineage: tuple[Self, ...] = (self, *dict.fromkeys(above))
        self._lock = threading.RLock()
        self._frozen = False

    def __repr__(self) -> str:
        return f"<registry {self.name}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @property
    def is_frozen(self) -> bool:
        """True if registrations are refused."""
        return self._frozen

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        if self._frozen:
            raise SchemaError(
                f"the registry {self.name!r} is frozen.",
                remedy="Register before freeze() is called, or in a registry of your own.",
                registry=self.name,
            )
        with self._lock:
            try:
                yield
            finally:
                EPOCH[0] += 1

    def _line(self) -> tuple[Self, ...]:
        """This registry and, after it, its parents and theirs, each once."""
        return self._lineage

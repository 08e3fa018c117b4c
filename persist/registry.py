"""The registry: schemas, aliases, stamps, migrations, and how foreign classes look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Registry", "default_registry"]

Plain = Callable[[Any, Any], Any]


class Registry:
    """Knowledge about classes; any number of them, a default one among them."""

    def __init__(self, name: str, parents: tuple[Registry, ...] = ()) -> None:
        self.name = name
        self.parents = parents
        self._plain: dict[str, Plain] = {}
        self._plain_like: list[Plain] = []
        self._aliases: dict[str, str] = {}

    def plain(self, *qualnames: str) -> Callable[[Plain], Plain]:
        """Declare how records of these classes look: ``f(record, looker)``.

        A name that ends in ``.*`` stands for all that begin so, where no exact one is there.
        """

        def register(function: Plain) -> Plain:
            for qualname in qualnames:
                self._plain[qualname] = function
            return function

        return register

    def plain_like(self, function: Plain) -> Plain:
        """Declare how records of classes nobody knows by name look; None: not this one."""
        self._plain_like.append(function)
        return function

    def plain_for(self, qualname: str) -> Plain | None:
        """Return how records of that class look, own knowledge first."""
        found = self._plain.get(qualname)
        if found is not None:
            return found
        for parent in self.parents:
            found = parent.plain_for(qualname)
            if found is not None:
                return found
        name = qualname
        while "." in name:
            name = name.rpartition(".")[0]
            if f"{name}.*" in self._plain:
                return self._plain[f"{name}.*"]
        return None

    def plains_like(self) -> list[Plain]:
        """Return what is asked of records that no name is known of."""
        return [*self._plain_like, *(f for parent in self.parents for f in parent.plains_like())]

    def alias(self, old: str, new: str, *, since: str = "", evidence: str = "") -> None:
        """Let ``old`` stand for ``new``."""
        self._aliases[old] = new


default_registry = Registry("default")

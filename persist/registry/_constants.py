"""The part of a registry that names functions, classes and sentinels which are saved as values."""

from __future__ import annotations

from typing import Any, Self, TypeVar

from persist.errors import SchemaError
from persist.registry._lineage import Lineage
from persist.registry._names import same
from persist.tree import ABSENT

__all__ = ["Constants"]

_T = TypeVar("_T")


class Constants(Lineage):
    """Values by name; a file holds the name."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._constants: dict[str, object] = {}

    def constant(self, name: str, value: _T) -> _T:
        """Name a function, class or sentinel, so that it can be saved as a value and found again.

        Returns:
            The value.

        Raises:
            SchemaError: another value has this name.
        """
        with self._changing():
            if name in self._constants and not same(self._constants[name], value):
                raise SchemaError(
                    f"the constant {name!r} is {self._constants[name]!r} already, not {value!r}.",
                    remedy="Choose another name; files that hold the old one go on meaning it.",
                    constant=name,
                )
            self._constants = {**self._constants, name: value}
        return value

    def constant_named(self, name: str) -> Any:
        """Return the value of a constant's name, or ABSENT."""
        for registry in self._lineage:
            if name in registry._constants:
                return registry._constants[name]
        return ABSENT

    def constant_name(self, value: object) -> str | None:
        """Return the name under which this very object is a constant, or None."""
        for registry in self._lineage:
            for name, known in registry._constants.items():
                if known is value:
                    return name
        return None

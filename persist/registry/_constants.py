"""The part of a registry that names functions, classes and sentinels which are saved as values."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import numpy as np

from persist.errors import SchemaError
from persist.registry._lineage import Lineage
from persist.registry._names import same
from persist.tree import ABSENT

__all__ = ["Constants"]

_T = TypeVar("_T")

# Types whose names have stood for decades: constants of every registry without being asked for.
_BUILTIN: dict[str, object] = {
    **{f"builtins.{kind.__name__}": kind for kind in (
        bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, object, type(None),
    )},
    **{f"numpy.{name}": getattr(np, name) for name in (
        "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
        "float32", "float64", "complex64", "complex128", "ndarray",
    )},
}  # fmt: skip
_BUILTIN_NAMES: dict[int, str] = {}  # id of a type -> its name; the first, where two mean one type
for _name, _value in _BUILTIN.items():
    _BUILTIN_NAMES.setdefault(id(_value), _name)


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
            known = self._constants.get(name, _BUILTIN.get(name, ABSENT))
            if known is not ABSENT and not same(known, value):
                raise SchemaError(
                    f"the constant {name!r} is {known!r} already, not {value!r}.",
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
        return _BUILTIN.get(name, ABSENT)

    def constant_name(self, value: object) -> str | None:
        """Return the name under which this very object is a constant, or None."""
        for registry in self._lineage:
            for name, known in registry._constants.items():
                if known is value:
                    return name
        return _BUILTIN_NAMES.get(id(value))

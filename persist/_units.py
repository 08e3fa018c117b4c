"""Units of declared fields: quantities of pint and astropy are compared with the declared unit.

Neither library is imported here: a value that has a unit comes from one that is.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["fault_of_unit", "is_quantity", "is_quantity_class", "live", "stored"]

_LIBRARIES = ("pint", "astropy")


def _library(cls: object) -> str:
    """The library of a class of quantities, or of one that is derived from one; "" for any other."""
    if not isinstance(cls, type):
        return ""
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0]
        if package in _LIBRARIES and base.__name__.endswith("Quantity"):
            return package
    return ""


def is_quantity_class(cls: object) -> bool:
    """Whether instances of a class are numbers with a unit, of pint or astropy."""
    return bool(_library(cls))


def is_quantity(value: object) -> bool:
    """Whether a value is a number, or an array, with a unit of pint or astropy."""
    return is_quantity_class(type(value))


def fault_of_unit(value: Any, unit: str) -> str:
    """Return how the unit of a quantity differs from the declared one; "" if it does not.

    A value without a unit is in the declared one.
    """
    library = _library(type(value))
    if not library:
        return ""
    try:
        if library == "pint":
            wanted = type(value)(1, unit).units
            has, found = value.units, str(value.units)
        else:
            wanted = _astropy_unit(unit)
            has, found = value.unit, str(value.unit)
    except Exception as error:  # each library has its own errors for a unit that it does not know
        return f"its declared unit {unit!r} is none of {library}: {error}"
    if has == wanted:
        return ""
    return f"its unit is {found or 'that of a pure number'}, not {unit}"


def _astropy_unit(unit: str) -> object:
    return importlib.import_module("astropy.units").Unit(unit)


def stored(value: Any) -> Any:
    """Return a quantity as its number or array, without the unit."""
    return value.magnitude if _library(type(value)) == "pint" else _plain(value.value)


def _plain(value: object) -> Any:
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def live(kind: Any, value: object, unit: str) -> Any:
    """Return a quantity of a class from its number or array."""
    return kind(value, unit)

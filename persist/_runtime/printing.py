"""``str`` and ``repr`` of values from a file, also where Python itself raises.

CPython refuses to print integers of more than 4,300 digits (and a ``Fraction`` or ``range`` of
them), and prints nested tuples by recursion; NumPy cannot print a ``datetime64`` without a unit.
``str`` and ``repr`` then raise `ValueError` or `RecursionError`. These functions return a short
description of the value instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_deep", "repr_of", "text_of"]

_DEPTH = 100  # levels of tuples that are printed by recursion
_VISITED = 10_000  # values visited before a key counts as too large to print


def text_of(value: object) -> str:
    """Return ``str(value)``, or a description if Python cannot print the value."""
    return str(value) if isinstance(value, str) else _printed(value, str)


def repr_of(value: object) -> str:
    """Return ``repr(value)``, or a description if Python cannot print the value."""
    return _printed(value, repr)


def _printed(value: object, form: Any) -> str:
    if isinstance(value, tuple | frozenset | slice) and is_deep(value):
        return f"<{type(value).__name__} of many values>"
    try:
        return str(form(value))
    except ValueError:
        return _description(value)


def _description(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, int):
        return f"<int of {value.bit_length()} bits>"
    if isinstance(value, np.datetime64):
        return f"<datetime64 {value.astype(np.int64)}, without a unit>"
    if isinstance(value, tuple | frozenset):
        return f"<{kind} of {len(value):,} items>"
    return f"<{kind} of very long integers>"


def is_deep(value: object) -> bool:
    """Return whether a tuple, frozenset or slice has too many levels or values to be printed."""
    level, visited = [value], 0
    for _ in range(_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, slice):
                below += (item.start, item.stop, item.step)
            elif isinstance(item, tuple | frozenset):
                visited += len(item)
                if visited > _VISITED:
                    return True
                below += item
        if not below:
            return False
        level = below
    return True

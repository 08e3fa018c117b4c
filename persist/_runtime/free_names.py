"""The name, or the name with a number, that nothing has yet.

A file may give one name to all of its arrays. Counting from 2 for each of them takes quadratic time.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

__all__ = ["free_name"]

_FEW = 64  # numbers that are tried in turn; honest files need no more


def free_name(name: object, taken: Container[Any], mark: str = "~") -> Any:
    """Return the name if it is free, else ``name~2``, ``name~3`` ...

    The first free number is found if it is small, or if all below it are taken; else any one
    that is free.

    Args:
        name: the name that is wanted.
        taken: the names that are taken.
        mark: between name and number.
    """
    if name not in taken:
        return name
    for number in range(2, _FEW):
        if f"{name}{mark}{number}" not in taken:
            return f"{name}{mark}{number}"
    low, high = _FEW - 1, 2 * _FEW
    while f"{name}{mark}{high}" in taken:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if f"{name}{mark}{middle}" in taken:
            low = middle
        else:
            high = middle
    return f"{name}{mark}{high}"

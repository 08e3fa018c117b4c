"""What it costs to hash and to compare the keys of a file, found before CPython does it in C.

A hash of a tuple visits all that it holds, at every use, and so does a comparison of two sets that
are equal; shared references make that exponential in the bytes of the file. CPython does both by
recursion on the C stack, where no signal interrupts it. So a key is looked through first.

Comparing a `Decimal` with an integer converts the integer to decimal digits, in a time that is
quadratic in its length (``convert_op_cmp`` in ``Modules/_decimal/_decimal.c`` of CPython 3.11). A
file may use such keys, and it may use long integers, but not both.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

__all__ = ["COLLISION_CHECK", "Cost", "KeyCosts", "colliding"]

COLLISION_CHECK = 256  # keys from which on equal hashes are counted, and at each doubling

_NUMBERS = frozenset(("int", "Decimal", "Fraction", "range"))
_SETS = (tuple, frozenset)
_UNHASHABLE = (list, dict, set, bytearray, np.ndarray, deque)
_LONG = 1 << 10  # bits of an integer, or bytes of a decimal, that cost about one step to hash
_COLLIDING = 128  # keys of one hash; tuples of -1 and -2, whose hashes are equal, are honest ones
_SHORT = 1 << 11  # bits of an integer that may be compared with decimals


def colliding(keys: Collection[object]) -> int:
    """Return how many of the keys have one hash, if they are so many that it is an attack; else 0.

    Each is compared with all before it. The limit is low, since a file may hold thousands of such
    dicts in few bytes.
    """
    hashes = list(map(hash, keys))
    if len(hashes) - len(set(hashes)) < _COLLIDING:
        return 0
    ((_, most),) = Counter(hashes).most_common(1)
    return most if most > _COLLIDING else 0


class Cost(NamedTuple):
    """What hashing one key visits.

    Attributes:
        visited: values, those that it holds several times counted several times.
        depth: levels of nesting.
        steps: the cost of long numbers in it, in steps of about a microsecond.
        unhashable: the first type in it that has no hash, or None.
        is_slow: it is compared in quadratic time with an earlier key of the file.
    """

    visited: int
    depth: int
    steps: int
    unhashable: type | None = None
    is_slow: bool = False


class KeyCosts:
    """Finds the cost of the keys of one file, one after the other."""

    def __init__(self) -> None:
        self._has_decimals = False
        self._has_long = False

    def of(self, key: object, most: int, deepest: int) -> Cost:
        """Return what hashing and comparing a key costs.

        Args:
            key: the key.
            most: visited values at which the walk ends, the limit being exceeded.
            deepest: levels at which it ends.
        """
        level, visited, depth, steps = [key], 0, 0, 0
        while level:
            visited, depth = visited + len(level), depth + 1
            below: list[object] = []
            for item in level:
                if isinstance(item, _SETS):
                    if len(item) + len(below) + visited > most:
                        return Cost(most + 1, depth, steps)
                    below.extend(item)
                elif isinstance(item, _UNHASHABLE):
                    return Cost(visited, depth, steps, type(item))
                elif type(item).__name__ in _NUMBERS:  # imports neither decimal nor fractions
                    steps += self._number(item)
            if depth > deepest:
                break
            level = below
        return Cost(visited, depth, steps, None, self._has_decimals and self._has_long)

    def _number(self, number: Any) -> int:
        """Note a number, and return the steps that hashing it costs."""
        if type(number).__name__ == "Decimal":
            self._has_decimals = True
            return sys.getsizeof(number) // _LONG
        if isinstance(number, range):
            bits = [part.bit_length() for part in (number.start, number.stop, number.step)]
        else:
            bits = [part.bit_length() for part in (number.numerator, number.denominator)]
            self._has_long |= max(bits) > _SHORT
        return sum(bits) // _LONG

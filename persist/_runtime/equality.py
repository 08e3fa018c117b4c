"""Whether two values of a file have equal content, whatever they share and however they are nested.

The rules are Python's ``==``, taken inside containers and arrays, with NaN equal to NaN:

- numbers by their exact value, whatever their type (``1 == 1.0``, and ``numpy.float32(0.1) != 0.1``);
- arrays by shape and elements, not by dtype or memory layout, as ``xarray.Dataset.equals`` has it;
- dicts and sets without regard to order, two ``OrderedDict`` with it; lists and tuples item by item.

Values may hold themselves. Two of them are then equal if no path of steps, taken in both, ends at
a difference. Pairs that were compared are kept in a union-find structure, so that the work grows with
the number of values, not of paths (J. E. Hopcroft and R. M. Karp, "A linear algorithm for testing
equivalence of finite automata", 1971).
"""

from __future__ import annotations

import array as array_module
import numbers
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from persist.errors import LimitError
from persist.typing import Array

__all__ = ["is_equal"]

Pair = tuple[object, object]
_Below = Callable[[Any, Any], Iterable[Pair] | None]

_TRIALS = (
    1_000_000  # pairs that are compared to find out which key or item of a set belongs to which
)
_MARKED_ITEMS = 8  # of a container in a key, likewise
_MARKED = 4  # levels of a key that are looked at before it is compared
_DEEPEST = 50  # such searches inside each other
_COUNTED = "fciub"  # kinds of dtypes whose elements are numbers


class Opened(NamedTuple):
    """A value of a type of the caller's.

    Attributes:
        kind: what it is; values of two kinds are unequal.
        shape: the shape of an array that `content` reads; None for anything else.
        content: gives what it is compared by: a tuple, or an array.
    """

    kind: str
    shape: tuple[int, ...] | None
    content: Callable[[], object]


def is_equal(one: object, two: object, opened: Callable[[object], Opened | None]) -> bool:
    """Return whether two values have equal content.

    Args:
        one, two: the values.
        opened: says how a value of a type of the caller's is compared; None for any other value.

    Raises:
        LimitError: keys or items of sets that are found by their content only are too many or too deep.
    """
    return _Comparison(opened).holds(one, two)


class _Comparison:
    """One comparison; what it has assumed to be equal can be taken back."""

    def __init__(self, opened: Callable[[object], Opened | None]) -> None:
        self._opened = opened
        self._parents: dict[int, int] = {}
        self._sizes: dict[int, int] = {}  # of roots: values below and with it, if more than one
        self._united: list[tuple[int, int]] = []  # (a root, the root that it was put below)
        self._kept: list[object] = []  # the id of a freed object would be reused
        self._trials = 0
        self._depth = 0

    def holds(self, one: object, two: object) -> bool:
        """Return whether two values are equal, given what was assumed so far."""
        todo: list[Pair] = [(one, two)]
        while todo:
            first, second = todo.pop()
            if first is second:
                continue
            if self._depth:
                self._spend()
            below = self._below(first, second)
            if below is None:
                return False
            todo += below
        return True

    def _spend(self) -> None:
        self._trials += 1
        if self._trials > _TRIALS:
            raise LimitError(
                f"two values hold so many keys or items of sets that only their content tells apart "
                f"that they were not compared: over {_TRIALS:,} pairs."
            )

    def _below(self, one: Any, two: Any) -> Iterable[Pair] | None:
        """The pairs that must be equal for two values to be; None if the values differ."""
        left, right = self._opened(one), self._opened(two)
        if left is None and right is None:
            return self._plain(one, two)
        if _shape(one, left) != _shape(two, right) or _kind(one, left) != _kind(two, right):
            return None
        if not self._is_new(one, two):
            return ()
        one, two = _content(one, left), _content(two, right)
        if isinstance(one, tuple) and isinstance(two, tuple):
            return list(zip(one, two, strict=True))[::-1] if len(one) == len(two) else None
        return self._plain(one, two)

    def _plain(self, one: Any, two: Any) -> Iterable[Pair] | None:
        if isinstance(one, dict):
            is_other = not isinstance(two, dict) or len(one) != len(two)
            return None if is_other else self._once(one, two, self._items)
        if isinstance(one, list | tuple | deque):
            if type(one) is not type(two) or len(one) != len(two):
                return None
            return self._once(one, two, lambda a, b: list(zip(a, b, strict=True))[::-1])
        if isinstance(one, set | frozenset):
            is_other = not isinstance(two, set | frozenset) or len(one) != len(two)
            return None if is_other else self._once(one, two, self._members)
        if isinstance(one, np.ndarray):
            return self._once(one, two, _arrays) if isinstance(two, np.ndarray) else None
        if isinstance(one, np.void):
            is_other = not isinstance(two, np.void)
            return None if is_other else _arrays(np.asarray(one), np.asarray(two))
        return () if _is_same_leaf(one, two) else None

    def _once(self, one: Any, two: Any, below: _Below) -> Iterable[Pair] | None:
        return below(one, two) if self._is_new(one, two) else ()

    def _is_new(self, one: object, two: object) -> bool:
        """Assume that two values are equal; False if that was assumed, or follows from what was."""
        first, second = self._root(id(one)), self._root(id(two))
        if first == second:
            return False
        self._kept += (one, two)
        if self._sizes.get(first, 1) > self._sizes.get(second, 1):
            first, second = second, first
        self._parents[first] = second
        self._sizes[second] = self._sizes.get(second, 1) + self._sizes.get(first, 1)
        self._united.append((first, second))
        return True

    def _root(self, value: int) -> int:
        # No path is shortened, so that what was assumed can be taken back; the smaller side is put
        # below the larger one, so paths stay short.
        while value in self._parents:
            value = self._parents[value]
        return value

    def _take_back(self, count: int) -> None:
        """Forget all but the first ``count`` assumptions."""
        while len(self._united) > count:
            first, second = self._united.pop()
            del self._parents[first]
            self._sizes[second] -= self._sizes.get(first, 1)

    # Keys and members: found by their hash, or else by their content.

    def _items(self, one: dict[Any, Any], two: dict[Any, Any]) -> Iterable[Pair] | None:
        if isinstance(one, OrderedDict) and isinstance(two, OrderedDict):
            pairs = zip(one.items(), two.items(), strict=True)
            return [pair for left, right in pairs for pair in zip(left, right, strict=True)][::-1]
        found = [(item, two[key]) for key, item in one.items() if key in two]
        if len(found) < len(one):
            left = [(key, item) for key, item in one.items() if key not in two]
            right = [(key, item) for key, item in two.items() if key not in one]
            if not self._is_matched(left, right):
                return None
        return found[::-1]

    def _members(self, one: set[Any], two: set[Any]) -> Iterable[Pair] | None:
        left = [item for item in one if item not in two]
        right = [item for item in two if item not in one]
        return () if self._is_matched(left, right) else None

    def _is_matched(self, left: list[Any], right: list[Any]) -> bool:
        """Whether each value of one list has a partner of equal content in the other."""
        if len(left) != len(right):
            return False
        if self._depth >= _DEEPEST:
            raise LimitError(
                "keys or items of sets that only their content tells apart are nested "
                f"in each other more than {_DEEPEST} times; they were not compared."
            )
        marks = [self._mark(value) for value in right]
        if Counter(map(self._mark, left)) != Counter(marks):
            return False
        places: dict[object, dict[int, None]] = {}
        for place, mark in enumerate(marks):
            places.setdefault(mark, {})[place] = None
        self._depth += 1
        try:
            return all(self._take(value, right, places[self._mark(value)]) for value in left)
        finally:
            self._depth -= 1

    def _take(self, value: object, right: list[object], places: dict[int, None]) -> bool:
        for place in places:
            before = len(self._united)
            if self.holds(value, right[place]):
                del places[place]
                return True
            self._take_back(before)
        return False

    def _mark(self, value: Any, depth: int = 0) -> object:
        """Something hashable that is equal for values that are."""
        opened = self._opened(value)
        if opened is not None:
            if opened.shape is not None:
                return "array"
            return opened.kind, self._mark(opened.content(), depth)
        if isinstance(value, str | bytes):
            return value
        if _is_number(value):
            exact = _exact(value)
            return "nan" if _is_nan(exact) else exact
        if isinstance(value, list | tuple) and depth < _MARKED:
            items = islice(value, _MARKED_ITEMS)
            return (len(value), *(self._mark(item, depth + 1) for item in items))
        if isinstance(value, dict) and depth < _MARKED:
            few = value.items() if len(value) <= _MARKED_ITEMS else ()
            pairs = [(self._mark(key, depth + 1), self._mark(item, depth + 1)) for key, item in few]
            return len(value), frozenset(Counter(pairs).items())
        return None


def _shape(value: Any, opened: Opened | None) -> object:
    if opened is not None:
        return opened.shape
    return value.shape if isinstance(value, np.ndarray) else None


def _kind(value: object, opened: Opened | None) -> object:
    if opened is not None and opened.shape is None:
        return opened.kind
    return "array" if opened is not None or isinstance(value, np.ndarray) else type(value)


def _content(value: object, opened: Opened | None) -> object:
    return value if opened is None else opened.content()


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Number | np.bool_)


def _is_same_leaf(one: Any, two: Any) -> bool:
    if isinstance(one, np.clongdouble) and isinstance(two, np.clongdouble):
        return _is_same_data(np.asarray(one), np.asarray(two))
    if _is_number(one):
        return _is_number(two) and _is_same_number(_exact(one), _exact(two))
    if isinstance(one, np.datetime64 | np.timedelta64):
        return type(one) is type(two) and _is_same_data(np.asarray(one), np.asarray(two))
    if isinstance(one, array_module.array):
        return isinstance(two, array_module.array) and _is_same_buffer(one, two)
    if isinstance(one, str):
        return isinstance(two, str) and one == two
    if isinstance(one, bytes | bytearray):
        return isinstance(two, bytes | bytearray) and one == two
    if type(one) is not type(two):
        return False
    return bool(np.all(one == two))  # an object of a library may compare element by element


def _exact(number: Any) -> Any:
    """A NumPy scalar as a number of Python; long doubles, which Python lacks, as fractions."""
    if isinstance(number, np.longdouble):
        return Fraction(*number.as_integer_ratio()) if np.isfinite(number) else float(number)
    if isinstance(number, np.clongdouble):
        return complex(number)
    return number.item() if isinstance(number, np.generic) else number


def _is_nan(number: Any) -> bool:
    return bool(number.is_nan() if isinstance(number, Decimal) else number != number)


def _is_same_number(one: Any, two: Any) -> bool:
    if _is_nan(one) or _is_nan(two):
        return _is_nan(one) and _is_nan(two)
    return bool(one == two)


def _is_same_buffer(one: array_module.array[Any], two: array_module.array[Any]) -> bool:
    if one.typecode in "uw" or two.typecode in "uw":  # texts
        return one.typecode in "uw" and two.typecode in "uw" and one == two
    return len(one) == len(two) and _is_same_data(np.asarray(one), np.asarray(two))


def _arrays(one: Array, two: Array) -> list[Pair] | None:
    """The pairs of objects in two arrays of equal elements otherwise; None if the arrays differ."""
    if one.shape != two.shape or not _are_comparable(one.dtype, two.dtype):
        return None
    if isinstance(one, np.ma.MaskedArray) or isinstance(two, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(one)
        if not np.array_equal(mask, np.ma.getmaskarray(two)):
            return None
        if mask.dtype.names is None:
            return _arrays(np.ma.getdata(one)[~mask], np.ma.getdata(two)[~mask])
        return _fields(one, two)
    one, two = np.asarray(one), np.asarray(two)
    if one.dtype.names is not None:
        return _fields(one, two)
    if one.dtype.hasobject:
        return list(zip(one.reshape(-1).tolist(), two.reshape(-1).tolist(), strict=True))[::-1]
    return [] if _is_same_data(one, two) else None


def _are_comparable(one: Any, two: Any) -> bool:
    if one.names is not None or two.names is not None:
        return bool(one.names == two.names)
    if one.kind == "V" or two.kind == "V":  # also the types of ml_dtypes
        return one.type is two.type and bool(one == two)
    if one.kind == "O" or two.kind == "O":
        return bool(one.kind == two.kind)
    return bool(one.kind == two.kind) or (one.kind in _COUNTED and two.kind in _COUNTED)


def _fields(one: Array, two: Array) -> list[Pair] | None:
    found: list[Pair] = []
    for name in one.dtype.names or ():
        below = _arrays(one[name], two[name])
        if below is None:
            return None
        found += below
    return found


def _is_same_data(one: Array, two: Array) -> bool:
    if one.dtype.kind == "V" and one.dtype.type.__module__ != "ml_dtypes":
        return one.tobytes() == two.tobytes()
    with np.errstate(all="ignore"):
        same = np.asarray(one == two)
        if same.all():
            return True
        return bool((same | ((one != one) & (two != two))).all())

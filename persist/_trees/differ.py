"""Every difference of two opened files, path by path: structure, classes and values, with tolerances.

`compare.difference` finds the first difference of two trees, byte for byte; this module compares
what the packs present, so that one content in two formats is equal, and describes all differences.
"""

from __future__ import annotations

import array as array_module
import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from persist._runtime.printing import repr_of
from persist._trees.pack_view import is_array, is_series
from persist._trees.pieces import blocks, field_of, fields
from persist._trees.show import leaf_text, made_class
from persist._wire.base.ml_dtypes import dtype_text, stored_dtype
from persist.errors import LimitError
from persist.tree import PersistentRef, Record, View
from persist.typing import Array

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["Difference", "classes_by_path", "differences"]

# Parts of `File.structure` that describe the encoding, or that are compared elsewhere.
_ENCODING = frozenset(
    ("capsule", "globals", "header_length", "history", "key_classes", "objects", "pickles", "protocol", "shared", "tensors", "version")
)  # fmt: skip
_VISITED = 1_000_000  # values of one file whose classes are compared


@attrs.frozen
class Difference:
    """One difference of two files.

    Attributes:
        path: where; a part of `File.structure` begins with ``structure:``.
        kind: "removed" (only in the first), "added" (only in the second), "class", "type",
            "dtype", "shape" or "value".
        before, after: what the files have there, as text; "" if nothing.
        unequal: number of elements that differ, of an array or a sequence; None for other values.
        largest: the largest absolute difference of two finite elements; None if there is none.
    """

    path: str
    kind: str
    before: str
    after: str
    unequal: int | None = None
    largest: float | None = None


def differences(
    one: File, two: File, *, rtol: float = 0.0, atol: float = 0.0
) -> Iterator[Difference]:
    """Yield every difference of two files, in the order of the first file.

    Numbers are equal if ``abs(one - two) <= atol + rtol * abs(two)``, as in `numpy.isclose`; NaN equals
    NaN. Byte order and memory layout of arrays are not compared, nor the order of keys.

    Args:
        one, two: the files.
        rtol: relative tolerance, for floats and complex numbers.
        atol: absolute tolerance, for floats and complex numbers.

    Raises:
        PersistError: an array cannot be read.
    """
    near = _Nearness(rtol, atol)
    is_one_format = one.format == two.format  # others have containers of their own
    left, right = (classes_by_path(file, containers=is_one_format) for file in (one, two))
    yield from _matched(_also_in(right, left), _also_in(left, right), _class_difference)
    first, second = _leaves(one), _leaves(two)
    yield from _matched(first, second, near.difference)
    if is_one_format:
        parts = [dict(_flat(_meaning(file))) for file in (one, two)]
        yield from _matched(parts[0], parts[1], near.difference, "structure:")
    yield from _matched(_shared(one), _shared(two), _class_difference)


def _matched(
    first: Mapping[str, object], second: Mapping[str, object], compare: Any, prefix: str = ""
) -> Iterator[Difference]:
    for path in first:
        if path not in second:
            yield Difference(prefix + path, "removed", _shown(first[path]), "")
            continue
        found = compare(prefix + path, first[path], second[path])
        if found is not None:
            yield found
    for path in second:
        if path not in first:
            yield Difference(prefix + path, "added", "", _shown(second[path]))


def _shown(value: object) -> str:
    return str(value) if isinstance(value, _Class) else leaf_text(value)


class _Class(str):
    """The class of a record, or where a shared value is: printed without quotes."""

    __slots__ = ()


class _Container(_Class):
    """The type of a container; whether it is there is seen by what it holds."""

    __slots__ = ()


def _also_in(other: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the classes of records, and the types of those containers that the other file has too."""
    return {
        path: text
        for path, text in own.items()
        if path in other or not isinstance(text, _Container)
    }


def _class_difference(path: str, one: str, two: str) -> Difference | None:
    return None if one == two else Difference(path, "class", str(one), str(two))


def _leaves(file: File) -> dict[str, Any]:
    """Return every array and every other leaf by its path; both kinds of one path are kept."""
    found: dict[str, Any] = dict(file.arrays)
    for path, leaf in file.scalars.items():
        found[path if path not in found else f"{path} (value)"] = leaf
    return found


def classes_by_path(file: File, *, containers: bool = False) -> Mapping[str, str]:
    """Return the class of each record, and each persistent reference, by its shortest path.

    Args:
        file: the file.
        containers: also the types of lists, tuples, dicts and other containers.

    Raises:
        LimitError: the file holds more values than are compared.
    """
    look, through = file.looker.look, file.looker.through
    found: dict[str, _Class] = {}
    seen = {id(through(file.tree))}
    level: list[tuple[str, object]] = [("", file.tree)]
    while level:
        following: list[tuple[str, object]] = []
        for path, value in level:
            if isinstance(value, PersistentRef):
                found[path] = _Class(f"persistent reference {repr_of(value.pid)[:200]}")
            if isinstance(value, Record):
                version = "" if value.version is None else f" version {value.version}"
                found[path] = _Class(f"{made_class(value)}{version}")
            elif containers and not isinstance(value, View) and not is_array(value):
                found.setdefault(path, _Container(type(value).__name__))
            for step, item in look(value)[1]:
                seen_as = through(item)
                is_held = isinstance(seen_as, Record | PersistentRef) or bool(look(seen_as)[1])
                if isinstance(item, Record):
                    is_held = True
                if not is_held or id(seen_as) in seen:
                    continue
                seen.add(id(seen_as))
                if len(seen) > _VISITED:
                    raise LimitError(
                        f"it holds more than {_VISITED:,} values in containers.", file=file.name,
                        remedy="Compare parts of it: write them with `persist dump FILE PATH`.",
                    )  # fmt: skip
                following.append((f"{path}/{step}" if path else step, item))
        level = following
    return found


def _shared(file: File) -> dict[str, str]:
    found: dict[str, str] = file.structure.get("shared", {})
    return {path: _Class(f"the same as {of!r}") for path, of in found.items()}


def _meaning(file: File) -> dict[str, object]:
    return {name: part for name, part in file.structure.items() if name not in _ENCODING}


def _flat(structure: object) -> Iterator[tuple[str, object]]:
    """Yield the leaves of a JSON-like value by path, without recursion."""
    todo: list[tuple[str, object]] = [("", structure)]
    while todo:
        path, value = todo.pop()
        items: list[tuple[str, Any]] = []
        if isinstance(value, dict):
            items = [(str(key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple) and not is_series(value):
            items = [(str(index), item) for index, item in enumerate(value)]
        if not items:
            yield path, value
        todo += [(f"{path}/{step}" if path else step, item) for step, item in reversed(items)]


class _Nearness:
    """Compares values with tolerances."""

    def __init__(self, rtol: float, atol: float) -> None:
        self.rtol = rtol
        self.atol = atol

    def difference(self, path: str, one: object, two: object) -> Difference | None:
        """Return the difference of two leaves at a path; None if they are equal."""
        if is_array(one) and is_array(two):
            return self._of_arrays(path, _with_dtype(one), _with_dtype(two))
        if is_array(one) or is_array(two) or type(one) is not type(two):
            before, after = leaf_text(one), leaf_text(two)
            if before == after:
                before, after = (
                    f"{text} ({type(v).__name__})" for text, v in ((before, one), (after, two))
                )
            return Difference(path, "type", before, after)
        if is_series(one) and is_series(two):
            return self._of_series(path, one, two)
        if self._is_near(one, two):
            return None
        return Difference(path, "value", *_distinct_texts(one, two), None, _distance(one, two))

    def _is_near(self, one: Any, two: Any) -> bool:
        if type(one) is not type(two):
            return False
        if isinstance(one, np.generic) and one.dtype.kind not in "fc":
            return bool(one.dtype == two.dtype and one.tobytes() == two.tobytes())
        if not isinstance(one, float | complex | np.generic):
            return _is_equal(one, two)
        if isinstance(one, np.generic) and one.dtype.newbyteorder("=") != two.dtype.newbyteorder(
            "="
        ):
            return False
        return not bool(self._unequal(np.asarray(one).reshape(1), np.asarray(two).reshape(1))[0])

    def _of_series(self, path: str, one: Any, two: Any) -> Difference | None:
        if len(one) != len(two):
            return Difference(path, "shape", leaf_text(one), leaf_text(two))
        unequal = [
            at for at, (a, b) in enumerate(zip(one, two, strict=True)) if not self._is_near(a, b)
        ]
        if not unequal:
            return None
        largest = [d for at in unequal if (d := _distance(one[at], two[at])) is not None]
        first = unequal[0]
        before, after = _distinct_texts(one[first], two[first])
        return Difference(
            path, "value", f"[{first}] {before}", f"[{first}] {after}",
            len(unequal), max(largest, default=None),
        )  # fmt: skip

    def _of_arrays(self, path: str, one: Any, two: Any) -> Difference | None:
        if tuple(one.shape) != tuple(two.shape):
            return Difference(path, "shape", leaf_text(one), leaf_text(two))
        before, after = (stored_dtype(array).newbyteorder("=") for array in (one, two))
        names = dtype_text(before), dtype_text(after)
        if before != after or names[0] != names[1]:
            return Difference(path, "dtype", *names)
        count, largest, first = 0, None, ("", "")
        for left, right in _pairs(one, two):
            for name, _ in fields(left) or [("", None)]:
                a, b = (field_of(part, name) if name else part for part in (left, right))
                unequal = self._unequal(a, b)
                found = int(np.count_nonzero(unequal))
                if not found:
                    continue
                if not count:
                    at = int(np.argmax(unequal))
                    first = _distinct_texts(a[at], b[at])
                count += found
                apart = _largest(a[unequal], b[unequal])
                if apart is not None:
                    largest = apart if largest is None else max(largest, apart)
        if not count:
            return None
        return Difference(path, "value", *first, count, largest)

    def _unequal(self, one: Array, two: Array) -> Array:
        """Return which elements of two 1-D arrays of one dtype differ."""
        if one.dtype.kind == "O":
            pairs = zip(one.tolist(), two.tolist(), strict=True)
            return np.array([not self._is_near(a, b) for a, b in pairs], bool)
        if one.dtype.kind in "mM":
            return np.asarray((one != two) & ~(np.isnat(one) & np.isnat(two)))
        one, two = _computable(one), _computable(two)
        if one.dtype.kind not in "fc":
            if one.dtype.kind == "V":
                size = max(1, one.dtype.itemsize)
                raw = [
                    np.ascontiguousarray(v).view(np.uint8).reshape(len(v), size) for v in (one, two)
                ]
                return (raw[0] != raw[1]).any(axis=1) if len(one) else np.zeros(0, bool)
            return np.asarray(one != two)
        with np.errstate(all="ignore"):
            unequal = (one != two) & ~(np.isnan(one) & np.isnan(two))
            if not unequal.any() or not (self.rtol or self.atol):
                return np.asarray(unequal)
            wide = np.result_type(one.dtype, np.float64)
            a, b = one.astype(wide), two.astype(wide)
            is_near = np.abs(a - b) <= self.atol + self.rtol * np.abs(b)
            return np.asarray(unequal & ~(is_near & np.isfinite(a) & np.isfinite(b)))


def _with_dtype(array: object) -> object:
    if not isinstance(array, array_module.array):
        return array
    return np.asarray(array) if array.typecode != "u" else np.array(list(array.tounicode()))


def _computable(array: Array) -> Array:
    """Return elements of ml_dtypes' types as float32, which holds all of their values."""
    if array.dtype.kind == "V" and not issubclass(array.dtype.type, np.void):
        return array.astype(np.float32)
    return array


def _pairs(one: object, two: object) -> Iterator[tuple[Array, Array]]:
    """Yield the elements of two arrays of one shape in parts of one length."""
    left = right = np.zeros(0)
    ours, theirs = blocks(one), blocks(two)
    for first, second in zip_longest(ours, theirs):
        left = first if not len(left) else left if first is None else np.concatenate([left, first])
        right = (
            second
            if not len(right)
            else right
            if second is None
            else np.concatenate([right, second])
        )
        if left is None or right is None:
            return
        size = min(len(left), len(right))
        if size:
            yield left[:size], right[:size]
        left, right = left[size:], right[size:]


def _largest(one: Array, two: Array) -> float | None:
    if one.dtype.kind == "O" or one.dtype.kind not in "biufcV":
        return None
    one, two = _computable(one), _computable(two)
    if one.dtype.kind == "V":
        return None
    wide = np.result_type(one.dtype, np.float64)
    with np.errstate(all="ignore"):
        apart = np.abs(one.astype(wide) - two.astype(wide))
    apart = apart[np.isfinite(apart)]
    return float(apart.max()) if apart.size else None


def _distance(one: object, two: Any) -> float | None:
    try:
        apart = float(abs(one - two)) if _is_number(one) and _is_number(two) else math.nan
    except OverflowError:
        return None
    return apart if math.isfinite(apart) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | complex | np.number) and not isinstance(value, bool)


def _is_equal(one: Any, two: Any) -> bool:
    if isinstance(one, set | frozenset):
        return sorted(map(repr_of, one)) == sorted(map(repr_of, two))
    try:
        if bool(one == two):
            return True
    except (TypeError, ValueError):  # comparison is not defined: compared by its text
        pass
    return repr_of(one) == repr_of(two) and not repr_of(one).startswith("<")


def _distinct_texts(one: object, two: object) -> tuple[str, str]:
    """Return the texts of two values that differ; the full ones if the short ones are equal."""
    before, after = leaf_text(one), leaf_text(two)
    return (before, after) if before != after else (repr_of(one), repr_of(two))

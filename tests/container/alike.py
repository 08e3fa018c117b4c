"""Whether two trees are one: values, types, bits, and which things are the same thing."""

from __future__ import annotations

import array
import datetime
import struct
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np

from persist.tree import Global, LazyArray, PersistentRef, Record

KEPT = (list, dict, set, tuple, frozenset, Record, np.ndarray, deque)  # whose identity counts


def assert_alike(one: Any, other: Any) -> None:
    """Assert that two trees are isomorphic graphs of equal values."""
    there: dict[int, int] = {}
    back: dict[int, int] = {}
    todo = [("", one, other)]
    kept = []
    while todo:
        path, a, b = todo.pop()
        if isinstance(b, LazyArray):
            b = b.read()
        if isinstance(a, LazyArray):
            a = a.read()
        assert type(a) is type(b), (path, type(a), type(b))
        # Python shares the empty tuple and the empty frozenset.
        if isinstance(a, KEPT) and (a.__class__ not in (tuple, frozenset) or len(a)):
            if id(a) in there:
                assert there[id(a)] == id(b), path
                continue
            assert id(b) not in back, path
            there[id(a)], back[id(b)] = id(b), id(a)
            kept += [a, b]
        todo += [(f"{path}/{step}", x, y) for step, x, y in parts(path, a, b)]


def parts(path: str, a: Any, b: Any) -> list[tuple[Any, Any, Any]]:
    """Compare what has no parts, and return the pairs of parts that are to be compared."""
    if isinstance(a, float):
        assert struct.pack("d", a) == struct.pack("d", b), path
        return []
    if isinstance(a, int | str | bytes | bytearray) and not isinstance(a, np.generic):
        assert a == b, path
        return []
    if isinstance(a, complex):
        return [("re", a.real, b.real), ("im", a.imag, b.imag)]
    if isinstance(a, Record):
        names = ("cls", "maker", "kind", "version", "args", "kwargs", "state", "listitems")
        own = [(name, getattr(a, name), getattr(b, name)) for name in names]
        return own + paired(path, sum(a.dictitems, ()), sum(b.dictitems, ()))
    if isinstance(a, np.ndarray):
        return arrays(path, a, b)
    if isinstance(a, np.generic):
        assert a.dtype == b.dtype, path
        if a.dtype.hasobject:
            return [(name, a[name], b[name]) for name in a.dtype.names]
        assert a.tobytes() == b.tobytes(), path
        return []
    if isinstance(a, set | frozenset):
        return sets(path, a, b)
    if isinstance(a, dict):
        if isinstance(a, defaultdict):
            assert a.default_factory is b.default_factory, path
        extra = [("vars", vars(a), vars(b))] if isinstance(a, OrderedDict) and vars(a) else []
        return extra + paired(path, sum(dict.items(a), ()), sum(dict.items(b), ()))
    if isinstance(a, list | tuple | deque):
        if isinstance(a, deque):
            assert a.maxlen == b.maxlen, path
        return paired(path, a, b)
    if isinstance(a, slice):
        return [(n, getattr(a, n), getattr(b, n)) for n in ("start", "stop", "step")]
    if isinstance(a, PersistentRef):
        return [("pid", a.pid, b.pid)]
    if isinstance(a, array.array):
        assert (a.typecode, a.tobytes()) == (b.typecode, b.tobytes()), path
        return []
    if isinstance(a, datetime.datetime | datetime.time):
        assert a.fold == b.fold, path
        assert a.tzinfo == b.tzinfo, path
        assert a.replace(tzinfo=None) == b.replace(tzinfo=None), path
        return []
    assert repr(a) == repr(b) if isinstance(a, Global) else str(a) == str(b), path
    return []


def paired(path: str, a: Any, b: Any) -> list[tuple[Any, Any, Any]]:
    assert len(a) == len(b), path
    return [(i, x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]


def sets(path: str, a: Any, b: Any) -> list[tuple[Any, Any, Any]]:
    """Items have no order: paired by what they print, which the tests keep distinct."""
    assert len(a) == len(b), path
    return [
        ("item", x, y) for x, y in zip(sorted(a, key=printed), sorted(b, key=printed), strict=True)
    ]


def printed(item: Any) -> str:
    """What an item of a set prints, in whatever order its own items are."""
    if isinstance(item, tuple | frozenset):
        inner = [printed(part) for part in item]
        return f"{type(item).__name__}{inner if isinstance(item, tuple) else sorted(inner)}"
    return f"{type(item).__name__} {item!r}"


def contents(array: Any) -> Any:
    """The bytes of an array; of fields, each one's: what pads them out is nobody's."""
    if array.dtype.names is None or array.dtype.hasobject:
        return array.tobytes()
    return [contents(np.ascontiguousarray(array[name])) for name in array.dtype.names]


def arrays(path: str, a: Any, b: Any) -> list[tuple[Any, Any, Any]]:
    assert a.dtype == b.dtype, (path, a.dtype, b.dtype)
    assert a.dtype.type is b.dtype.type, path
    assert a.dtype.isalignedstruct == b.dtype.isalignedstruct, path
    assert a.shape == b.shape, path
    if isinstance(a, np.ma.MaskedArray):
        assert a.hardmask == b.hardmask, path
        assert (np.ma.getmask(a) is np.ma.nomask) == (np.ma.getmask(b) is np.ma.nomask), path
        fills = [x if x is None else np.asarray(x) for x in (a._fill_value, b._fill_value)]
        masks = [np.array(np.ma.getmask(x)) for x in (a, b)]
        datas = [np.array(np.ma.getdata(x)) for x in (a, b)]
        return [("fill", *fills), ("mask", *masks), ("data", *datas)]
    if a.dtype.names is not None and a.dtype.hasobject:
        return [(n, np.array(a[n]), np.array(b[n])) for n in a.dtype.names]
    if a.dtype.hasobject:
        return paired(path, a.reshape(-1).tolist(), b.reshape(-1).tolist())
    assert contents(a) == contents(b), path
    return []

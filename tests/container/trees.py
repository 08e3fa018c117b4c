"""Trees of everything that a container holds, for hypothesis."""

from __future__ import annotations

import array
import datetime
import fractions
import random
import struct
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persist.tree import ABSENT, Global, PersistentRef, Record

text = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["", "/", ".", "..", "a/b", "a.npy", "manifest.json", "%41", "\\", "\0", "\ud800", "ü", "~2"]
)
floats = st.floats() | st.binary(min_size=8, max_size=8).map(lambda b: struct.unpack("d", b)[0])
ints = st.integers() | st.sampled_from([2**64, -(10**700), 10**4200, 0, 1])
zones = st.sampled_from(
    [
        None,
        datetime.UTC,
        datetime.timezone(datetime.timedelta(hours=2)),
        datetime.timezone(datetime.timedelta(hours=-3), "here"),
        zoneinfo.ZoneInfo("Europe/Zurich"),
    ]
)
globals_ = st.sampled_from([Global("numpy", "tanh"), Global("", "x"), Global("a.b", "C.d")])

dtypes = (
    hnp.scalar_dtypes()
    | hnp.byte_string_dtypes(endianness="?")
    | hnp.unicode_string_dtypes(endianness="?")
    | hnp.nested_dtypes(max_itemsize=64)
    | st.sampled_from(
        [
            np.dtype("V5"),
            np.dtype([("a", "i1"), ("b", "f8")], align=True),
            np.dtype((np.record, [("a", ">i2"), ("b", "S3")])),
            np.dtype({"names": ["x", "y"], "formats": ["<i4", "<i2"], "offsets": [0, 1]}),
            np.dtype({"names": ["y", "x"], "formats": ["<i4", "<i2"], "offsets": [2, 0]}),
            np.dtype([(("title", "name"), "f4"), ("sub", "i2", (2, 3))]),
            np.dtype(np.longdouble),
            np.dtype(np.clongdouble),
            np.dtype("M8[25us]"),
            np.dtype("S0"),
        ]
    )
)


@st.composite
def plain_arrays(draw: Any) -> np.ndarray[Any, Any]:
    """Any bits of any dtype and shape, in any of three memory layouts."""
    dtype = draw(dtypes)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    count = int(np.prod(shape)) * dtype.itemsize
    seed = draw(st.integers(0, 2**32 - 1))
    data = bytearray(random.Random(seed).randbytes(count))
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    if dtype.kind in "U":
        data = bytearray(np.full(count // 4, 0x41, dtype.byteorder + "u4").tobytes())
    array: Any = np.ndarray(shape, dtype, data)
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed"]))
    if layout == "F":
        return np.asfortranarray(array)
    if array.ndim and layout == "strided":
        return np.repeat(array, 2, axis=0)[::2]
    if array.ndim and layout == "reversed":
        return array[::-1]
    return array


scalars = st.one_of(
    st.none(), st.booleans(), ints, floats, text, st.complex_numbers(), st.binary(max_size=8),
    st.builds(bytes, st.integers(1020, 1030)),
    st.builds(range, st.integers(-5, 5), st.integers(), st.integers(1, 3)),
    st.dates(), st.times(timezones=zones), st.timedeltas(), st.uuids(),
    st.datetimes(timezones=zones),
    st.decimals().map(lambda d: Decimal("sNaN7") if d.is_snan() else d),
    st.fractions(), globals_, st.just(...),
    st.builds(PurePosixPath, st.sampled_from(["a/b", "/x"])),
    st.just(PureWindowsPath("C:\\x")), st.just(uuid.UUID(int=7)),
    st.just(fractions.Fraction(10**400, 3)),
)  # fmt: skip
numpy_scalars = hnp.scalar_dtypes().flatmap(
    lambda dtype: st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize).map(
        lambda data: np.frombuffer(data, dtype)[0]
    )
) | st.sampled_from([np.str_("ab\0"), np.bytes_(b"a\0"), np.longdouble(2) / 3, np.void(b"xy\0")])
keys = st.recursive(
    st.one_of(st.booleans(), ints, text, st.binary(max_size=4), st.none(), globals_, st.uuids()),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
arrays = st.one_of(
    plain_arrays(),
    st.builds(lambda a: np.ma.MaskedArray([1, 2, 3], mask=a), st.lists(st.booleans(), min_size=3, max_size=3)),
    st.just(np.ma.MaskedArray([1.5, 2.5])),
    st.just(np.ma.MaskedArray([b"a"], mask=[True], fill_value=b"z", hard_mask=True)),
    st.builds(lambda: np.array([[1, 2], [3, 4]]).view(np.matrix)),
    st.builds(lambda: np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])),
    st.builds(lambda: array.array("d", [1.0, float("nan")])),
    st.builds(lambda: array.array("u", "aé")),
)  # fmt: skip


def containers(inner: Any) -> Any:
    pairs = st.lists(st.tuples(keys, inner), max_size=4)
    state = st.one_of(
        st.just(ABSENT), inner, st.dictionaries(text, inner, max_size=3),
        st.tuples(st.dictionaries(text, inner, max_size=2), st.none()),
    )  # fmt: skip
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(text, inner, max_size=4),
        pairs.map(dict),
        pairs.map(OrderedDict),
        pairs.map(lambda items: defaultdict(list, items)),
        pairs.map(lambda items: Counter(dict(items))),
        st.lists(inner, max_size=4).map(lambda items: deque(items, 5)),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.builds(bytearray, st.binary(max_size=8)),
        st.builds(slice, inner, inner, inner),
        st.builds(PersistentRef, inner),
        st.lists(inner, min_size=1, max_size=4).map(objects),
        st.builds(
            record, st.sampled_from(["lab.Net", "lab.Layer"]), state,
            st.sampled_from(["newobj", "reduce", "record"]), st.lists(inner, max_size=2).map(tuple),
            st.lists(inner, max_size=2), pairs, st.none() | st.integers(1, 5),
        ),
    )  # fmt: skip


def objects(items: list[Any]) -> Any:
    array = np.empty((1, len(items)), object)
    for index, item in enumerate(items):
        array[0, index] = item
    return array


def record(
    name: str, state: Any, kind: str, args: Any, listitems: Any, pairs: Any, version: Any
) -> Record:
    maker = Global("copyreg", "rebuild") if kind == "reduce" else None
    return Record(
        name, state, kind=kind, args=args, listitems=listitems, dictitems=pairs,
        version=version, maker=maker,
    )  # fmt: skip


@st.composite
def trees(draw: Any) -> Any:
    """A tree whose parts are also shared, in circles too."""
    leaves = st.one_of(scalars, numpy_scalars, arrays, dtypes)
    tree = draw(st.recursive(leaves, containers, max_leaves=12))
    seed = draw(st.integers(0, 2**16))
    return entangled(tree, random.Random(seed)) if seed % 3 else tree


def entangled(tree: Any, dice: random.Random) -> Any:
    """Add references from mutable containers to anything that is inside."""
    found, todo = [], [tree]
    while todo:
        value = todo.pop()
        found.append(value)
        if isinstance(value, list | tuple | deque):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, Record):
            todo += [*value.args, *value.listitems] + (
                [] if value.state is ABSENT else [value.state]
            )
    mutable = [v for v in found if type(v) in (list, dict)] or [[tree]]
    if tree is not mutable[0] and not isinstance(tree, list | dict | Record | tuple):
        tree = mutable[0]
    for number in range(3):
        where, what = dice.choice(mutable), dice.choice(found)
        if isinstance(where, list):
            where.append(what)
        else:
            where[f"again{number}"] = what
    return tree

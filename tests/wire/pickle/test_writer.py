"""The pickle writer: what it writes, CPython's own unpickler and our machine read alike."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import FormatError
from persist.tree import Global, PersistentRef, Record

PROTOCOLS = range(6)
CORPUS = Path(__file__).parents[2] / "corpus" / "pickle"


def written(value: object, protocol: int) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**2048, max_value=2**2100),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(),
    st.binary(max_size=4).map(bytearray),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
)
names = st.sampled_from([int, type(None), len, ..., NotImplemented, collections.OrderedDict])
hashables = st.one_of(st.text(), st.integers(), st.binary(), st.tuples(st.integers(), st.text()))


def trees_of(leaf: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(leaf, branches, max_leaves=20)


def branches(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(
        st.lists(inner),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(hashables, inner),
        st.dictionaries(hashables, inner).map(collections.OrderedDict),
        st.lists(inner).map(collections.deque),
        st.sets(hashables),
        st.frozensets(hashables),
    )


@settings(deadline=None, max_examples=examples(150))
@given(trees_of(leaves | names), st.sampled_from(PROTOCOLS))
def test_cpython_reads_what_is_written(value: object, protocol: int) -> None:
    assert pickle.loads(written(value, protocol)) == value


@settings(deadline=None, max_examples=60)
@given(trees_of(leaves), st.sampled_from(PROTOCOLS))
def test_our_machine_reads_what_is_written(value: object, protocol: int) -> None:
    assert persist.open(written(value, protocol)).tree == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_every_layout(protocol: int) -> None:
    arrays = [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.arange(10)[::3],
        np.array(5, "f2"),
        np.zeros((0, 3), "c8"),
        np.array(["a", "bcd"]),
        np.array([1, None, "x"], dtype=object),
        np.ma.masked_array([1, 2], mask=[True, False]),
        np.float32(2.5),
        np.dtype([("a", "i4"), ("b", "f8", (2,))]),
    ]
    for array, again in zip(arrays, pickle.loads(written(arrays, protocol)), strict=True):
        if isinstance(array, np.ndarray):
            np.testing.assert_array_equal(np.asarray(array), np.asarray(again))
            # NumPy's own __setstate__ turns foreign byte order into the machine's.
            assert again.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
            assert again.shape == array.shape
        else:
            assert again == array


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cycles_and_sharing_stay(protocol: int) -> None:
    shared = [1]
    loop: list[object] = [shared, shared]
    loop.append(loop)
    through = ([],)
    through[0].append(through)
    value = {"loop": loop, "through": through}
    again = pickle.loads(written(value, protocol))
    assert again["loop"][0] is again["loop"][1]
    assert again["loop"][2] is again["loop"]
    assert again["through"][0][0] is again["through"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_depth_has_no_limit(protocol: int) -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    data = written(deep, protocol)
    tree = persist.open(data).tree
    depth = 0
    while tree:
        tree = tree[0]
        depth += 1
    assert depth == 100_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "record",
    [
        Record("fractions.Fraction", kind="reduce", args=("3/4",)),
        Record("decimal.Decimal", kind="newobj", args=("1.50",)),
    ],
    ids=lambda record: record.kind,
)
def test_a_record_is_the_instance_for_those_who_have_the_class(
    record: Record, protocol: int
) -> None:
    expected = {
        "fractions.Fraction": fractions.Fraction(3, 4),
        "decimal.Decimal": decimal.Decimal("1.50"),
    }
    assert pickle.loads(written([record, record], protocol)) == [expected[record.qualname]] * 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_kind_of_record_comes_back_as_it_was(protocol: int) -> None:
    records = [
        Record("lab.Net", {"W": 1}, kind="newobj"),
        Record("lab.Net", (1, 2), kind="obj", args=(3,)),
        Record("lab.Old", {"a": None}, kind="inst"),
        Record("lab.List", kind="newobj", listitems=[1, 2]),
        Record("lab.Dict", {"x": 1}, kind="newobj", dictitems=[("a", 1), (("b",), 2)]),
        Record("lab.make", kind="reduce", args=(1, "two")),
        Record("lab.Keyed", kind="newobj_ex", args=(1,), kwargs={"b": 2}),
        Record(
            "lab.Base",
            {"x": 1},
            kind="reconstructor",
            args=(Global("__builtin__", "object"), None),
        ),
        PersistentRef("17"),
    ]
    again = persist.open(written(records, protocol)).tree
    for before, after in zip(records, again, strict=True):
        if isinstance(before, PersistentRef):
            assert after.pid == before.pid
            continue
        assert after.qualname == before.qualname
        assert (after.args, after.kwargs, after.state) == (before.args, before.kwargs, before.state)
        assert (after.listitems, after.dictitems) == (before.listitems, before.dictitems)


def test_genuine_files_survive_being_written_again() -> None:
    tried = 0
    for folder in sorted(CORPUS.iterdir()):
        for path in sorted(folder.glob("*.pkl")):
            try:
                first = persist.open(path)
                names = list(first.scalars)
            except FormatError:
                continue
            if first.structure["pickles"] != 1:
                continue
            again = persist.open(written(first.tree, 2))
            assert list(again.arrays) == list(first.arrays), path
            assert list(again.scalars) == names, path
            for name, array in first.arrays.items():
                np.testing.assert_array_equal(np.asarray(again.arrays[name]), np.asarray(array))
            tried += 1
    assert tried >= 4


def test_lambdas_are_refused_with_the_way_out() -> None:
    with pytest.raises(FormatError, match="top level"):
        written([lambda: 1], 4)


def test_dates_are_written_as_cpython_writes_them() -> None:
    moment = datetime.datetime(2012, 3, 4, 5, 6, tzinfo=datetime.UTC)
    same = uuid.UUID(int=7)
    assert pickle.loads(written([moment, same], 2)) == [moment, same]

"""What many small values make together is counted against the limits of the one file that holds them."""

from __future__ import annotations

import array
import bz2
import gzip
import lzma
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import persist
from persist._wire.base.source import open_source
from persist._wire.tensorflow.tensors import fill
from persist.errors import LimitError, PersistError

P = b"\x80\x04"


def widened(items: int, copies: int) -> bytes:
    """A pickle whose one text of bytes becomes ``copies`` arrays of eight bytes an item."""
    data = P + b"B" + struct.pack("<I", items) + bytes(items) + b"\x94\x30]("
    one = b"carray\n_array_reconstructor\n(carray\narray\nX\x01\x00\x00\x00qK\x01h\x00tR"
    return data + one * copies + b"e."


def test_bytes_that_become_wide_items_are_charged_as_wide_ones() -> None:
    assert persist.open(widened(4, 2)).tree == [array.array("q", [0] * 4)] * 2
    data = widened(1_000_000, 60)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="copied again and again"):
            persist.open(data).tree  # noqa: B018
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 << 20


def test_repeated_values_of_tensorflow_are_counted_together() -> None:
    source = open_source(bytes(2000), limits={"total": 1 << 20})
    one = np.ones(1, np.float32)
    shape = (1 << 16,)  # 256 KiB once it is made
    for _ in range(4):
        assert fill(one, shape, source, "a tensor").shape == shape
    with pytest.raises(LimitError, match="more than 1,048,576 bytes"):
        fill(one, shape, source, "a tensor")


def test_a_repeated_value_that_is_read_again_is_counted_once() -> None:
    source = open_source(bytes(2000), limits={"total": 1 << 20})
    one, shape = np.ones(1, np.float32), (1 << 18,)
    fill(one, shape, source, "a tensor")
    assert fill(one, shape, source, "a tensor", is_counted=True).shape == shape


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_opcodes_are_counted_by_the_bytes_on_disk(pack: Callable[[bytes], bytes]) -> None:
    data = pack(P + b"N0" * 1_000_000 + b"N.")
    assert len(data) < 8_000
    with pytest.raises(LimitError, match="1,000,000 opcodes"):
        persist.open(data).tree  # noqa: B018
    assert persist.open(data, limits={"opcodes": 4_000_000}).tree is None


# Keys: hashing and comparing them happens in C, where nothing interrupts it.


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def decimal_of(value: str) -> bytes:
    return b"cdecimal\nDecimal\n" + text(value) + b"\x85R"


LONG = number(10**2000)


@pytest.mark.parametrize(
    "keys",
    [
        (decimal_of("1E+2000"), LONG),
        (LONG, decimal_of("1E+2000")),
        (decimal_of("5") + b"\x85", LONG + b"K\x01\x86"),
        (decimal_of("5"), b"cfractions\nFraction\n" + LONG + b"K\x03\x86R"),
    ],
)
def test_decimals_and_long_integers_are_no_keys_of_one_pickle(keys: tuple[bytes, bytes]) -> None:
    for data in (b"}(" + b"".join(key + b"N" for key in keys) + b"u", b"(" + b"".join(keys) + b"\x91"):  # fmt: skip
        with pytest.raises(LimitError, match="quadratic time"):
            persist.open(P + data + b".").tree  # noqa: B018


def test_decimals_beside_ordinary_integers_are_keys() -> None:
    value = {Decimal("1.5"): 1, 10**300: 2, Decimal(10**300): 3, (Decimal("2"), 7): 4}
    assert persist.load(pickle.dumps(value)) == value
    long = {10**2000: 1, 10**2001: 2}
    assert persist.load(pickle.dumps(long)) == long


@pytest.mark.parametrize("copies", [1, 2])
def test_sets_in_sets_are_counted_as_often_as_they_are_compared(copies: int) -> None:
    """Two equal sets of pairs of sets of pairs: comparing them takes 2**40 steps in C."""
    tower = b"(K\x01\x91" + b"".join(
        b"r%b0(j%bj%b\x86\x91" % ((struct.pack("<I", level),) * 3) for level in range(40)
    )
    data = P + b"}" + (tower + b"Ns") * copies + b"."
    with pytest.raises(LimitError, match="a key holds more than"):
        persist.open(data).tree  # noqa: B018


def test_sets_in_sets_of_a_container_are_counted_too(tmp_path: Path) -> None:
    from attacks import attack, container

    # Each pair holds the set before it twice, and each set the pair before it.
    nodes: list[list[object]] = [["int", "1"], ["frozenset", [0]]]
    for _ in range(40):
        nodes.append(["tuple", [len(nodes) - 1], [len(nodes) - 1]])
        nodes.append(["frozenset", [len(nodes) - 1]])
    nodes.append(["map", [len(nodes) - 1], 1])
    report = attack(tmp_path, {"sets": container(nodes)})["sets"]
    assert report.is_refused("load")


# What packs make to present a record.


@pytest.mark.packs
def test_a_range_of_pandas_is_made_when_it_is_read() -> None:
    file = persist.open(P + range_index(10**8) + b".")
    values = file.arrays["values"]
    assert (values.shape, values.dtype) == ((10**8,), np.dtype(np.int64))
    assert values[5:20:5].tolist() == [5, 10, 15]
    with pytest.raises(LimitError, match='limits={"total"'):
        np.asarray(values)
    raised = persist.open(P + range_index(10**7) + b".", limits={"total": 1 << 30})
    assert int(np.asarray(raised.arrays["values"]).sum()) == 10**7 * (10**7 - 1) // 2


@pytest.mark.packs
def test_many_ranges_of_pandas_share_one_budget() -> None:
    data = P + b"](" + b"".join(range_index(9 * 10**6 + number) for number in range(100)) + b"e."
    file = persist.open(data)
    assert len(file.arrays) == 100
    with pytest.raises(LimitError, match="to present what it holds"):
        [np.asarray(file.arrays[path]).shape for path in file.arrays]
    tracemalloc.start()
    try:
        assert persist.explain(data) is not None
        with pytest.raises(LimitError):
            [np.asarray(array).sum() for array in persist.open(data).arrays.values()]
        assert tracemalloc.get_traced_memory()[1] < 330 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.packs
@pytest.mark.parametrize("bounds", [(0, 1 << 62, 1), (-(1 << 63), (1 << 63) - 1, 3), (5, 0, -1)])
def test_ranges_of_any_bounds_are_shown(bounds: tuple[int, int, int]) -> None:
    file = persist.open(P + range_index(*bounds) + b".")
    start, stop, step = bounds
    (values,) = file.arrays.values()
    assert values.shape[0] == max(0, -(-(stop - start) // step))
    assert values[1:3].tolist() == [start + step, start + 2 * step]
    assert "lazy" in str(file)


def range_index(start: int, stop: int | None = None, step: int = 1) -> bytes:
    if stop is None:
        start, stop = 0, start
    parts = {"start": start, "stop": stop, "step": step}
    state = b"}(" + b"".join(text(name) + number(value) for name, value in parts.items())
    return (
        b"cpandas.core.indexes.base\n_new_Index\ncpandas.core.indexes.range\nRangeIndex\n"
        + state + text("name") + b"Nu\x86R"
    )  # fmt: skip


@pytest.mark.packs
def test_blocks_of_a_sparse_index_are_charged() -> None:
    index = (
        b"cpandas._libs.sparse\nBlockIndex\n(" + number(1 << 33) + array_of([0])
        + array_of([1 << 33]) + b"tR"
    )  # fmt: skip
    sparse = b"cpandas.core.arrays.sparse\nSparseArray\n)\x81}(" + text("_sparse_values")
    sparse += array_of([1]) + text("_sparse_index") + index + b"ub."
    with pytest.raises(LimitError, match="to present what it holds"):
        list(persist.open(P + sparse).arrays)


def array_of(items: list[int]) -> bytes:
    data = struct.pack(f"<{len(items)}q", *items)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + number(len(items)) + b"\x85cnumpy\ndtype\n" + text("i8") + b"K\x00K\x01\x87R(K\x03"
        + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C" + bytes([len(data)])
        + data + b"tb"
    )  # fmt: skip


# Virtual datasets, and chains.


@pytest.mark.extra("h5py")
def test_virtual_datasets_that_show_one_another_twice(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "virtual.h5"
    with h5py.File(path, "w") as file:
        file["v0"] = np.arange(10.0)
        for level in range(1, 40):
            layout = h5py.VirtualLayout((10,), "f8")
            source = h5py.VirtualSource(".", f"v{level - 1}", shape=(10,))
            layout[:5], layout[5:] = source[:5], source[5:]
            file.create_virtual_dataset(f"v{level}", layout)
    shown = persist.open(path)
    for level in range(8):
        assert np.asarray(shown.arrays[f"v{level}"]).tolist() == list(range(10))
    spent = persist.open(path)
    refused = 0
    for name in spent.arrays:
        try:
            np.asarray(spent.arrays[name])
        except PersistError:
            refused += 1
    assert refused >= 25


def test_paths_of_deep_chains_are_shortened_soon() -> None:
    """Each of 5,000 records in each other has a path as long as its depth."""
    from persist._trees.copier import Copier

    tree: object = persist.Record("lab.f")
    for _ in range(5000):
        tree = persist.Record("lab.f", {"next": tree, "pad": [1]})
    steps = 0

    def finish(record: persist.Record, path: Callable[[], str]) -> persist.Record:
        nonlocal steps
        steps += path().count("/")
        return record

    Copier(finish).copy(tree)
    assert 150_000 < steps < 400_000  # of 12,500,000

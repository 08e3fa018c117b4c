"""Storages and tensors: every dtype, every view, one memory."""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.base import ml_dtypes
from persist._wire.base.source import open_source
from persist._wire.torch import storage as torch_storage
from persist._wire.torch.storage import DTYPES, Blob, Storage, Tensor, as_torch, dtype_of, kind_of
from persist.errors import DamagedFileError, MissingExtraError


def whole(kind: str, data: bytes, *, is_big: bool = False) -> Storage:
    """A storage over bytes, as one that a file holds."""
    source = open_source(data)
    blob = Blob("0", len(data), lambda: source, is_big=is_big)
    return Storage(blob, kind, len(data) // dtype_of(kind).itemsize)


@given(st.data())
def test_a_tensor_is_what_numpy_strides_over(data: Any) -> None:
    values = np.arange(200, dtype="<i4")
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
    strides = tuple(data.draw(st.integers(0, 9)) for _ in shape)
    offset = data.draw(st.integers(0, 20))
    tensor = Tensor(whole("int32", values.tobytes()), offset, shape, strides)
    expected = np.lib.stride_tricks.as_strided(
        values[offset:], shape, tuple(4 * stride for stride in strides)
    )
    np.testing.assert_array_equal(np.asarray(tensor), expected)
    assert tensor.shape == expected.shape
    assert tensor.nbytes == expected.nbytes
    if shape and shape[0]:
        start, stop = sorted(data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5))))
        fresh = tensor.changed()
        np.testing.assert_array_equal(fresh[start:stop], expected[start:stop])
        np.testing.assert_array_equal(fresh[::2], expected[::2])
        np.testing.assert_array_equal(fresh[0], expected[0])


@given(
    st.integers(-3, 30),
    st.lists(st.integers(-1, 1 << 40), max_size=3),
    st.lists(st.integers(-2, 1 << 40), min_size=3, max_size=3),
)
def test_a_tensor_beyond_its_storage_is_refused_before_anything_is_read(
    offset: int, shape: list[int], strides: list[int]
) -> None:
    storage = whole("int16", bytes(range(20)))
    strides = strides[: len(shape)]
    count = 1
    for extent in shape:
        count *= extent
    last = offset + sum((e - 1) * s for e, s in zip(shape, strides, strict=True))
    fits = min([offset, *shape, *strides], default=0) >= 0 and (not count or last < 10)
    # Beyond, NumPy cannot count the bytes of the widest elements; it leaves out empty axes.
    countable = math.prod(filter(None, shape)) <= 1 << 58 and max(strides, default=0) <= 1 << 58
    if fits and countable:
        assert Tensor(storage, offset, tuple(shape), tuple(strides)).size == count
    else:
        with pytest.raises(DamagedFileError, match="10 elements of its storage"):
            Tensor(storage, offset, tuple(shape), tuple(strides))


def test_tensors_of_one_storage_share_its_memory() -> None:
    storage = whole("float32", np.arange(6, dtype="<f4").tobytes())
    one, other = Tensor(storage, 0, (2, 3), (3, 1)), Tensor(storage, 0, (3, 2), (1, 3))
    assert np.shares_memory(one.read(), other.read())
    assert np.shares_memory(one.read(), storage.read())
    np.testing.assert_array_equal(one.read().T, other.read())
    assert not one.read().flags.writeable


@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize("kind", sorted(DTYPES))
def test_every_dtype_either_way_round(kind: str) -> None:
    dtype = dtype_of(kind)
    bits = np.arange(1, 1 + 4 * dtype.itemsize, dtype=np.uint8)
    if kind == "bool":
        bits &= 1
    little = np.asarray(whole(kind, bits.tobytes()))
    assert little.dtype == dtype
    assert little.tobytes() == bits.tobytes()
    step = dtype.itemsize // 2 if kind.startswith("complex") else dtype.itemsize
    turned = bits.reshape(-1, step)[:, ::-1].tobytes()
    big = np.asarray(whole(kind, turned, is_big=True))
    native = big.astype(dtype) if big.dtype.kind != "V" or big.dtype.names else big
    assert native.tobytes() == bits.tobytes()
    assert big.dtype.name == dtype.name


def test_without_ml_dtypes_elements_are_kept_and_never_become_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    dtype_of.cache_clear()
    ml_dtypes.extended.cache_clear()
    try:
        half = whole("bfloat16", b"\x80\x3f\x00\x40")
        assert (half.kind, half.dtype) == ("bfloat16", np.dtype("f4"))
        assert half.read().tolist() == [1.0, 2.0]
        assert half.encoded().tobytes() == b"\x80\x3f\x00\x40"
        with pytest.raises(MissingExtraError, match="float8_e5m2"):
            whole("float8_e5m2", b"\x3c").read()
        assert whole("float8_e5m2", b"\x3c").encoded().tobytes() == b"\x3c"
        pairs = Tensor(whole("complex32", b"\0\x3c\0\xc0"), 0, (1,), (1,), is_conj=True)
        assert pairs.dtype.name == "complex32"
        assert pairs.read().tolist() == [(1.0, 2.0)]
    finally:
        dtype_of.cache_clear()
        ml_dtypes.extended.cache_clear()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("FloatStorage", "float32"), ("LongTensor", "int64"), ("UntypedStorage", "uint8"),
        ("QUInt4x2Storage", "quint4x2"), ("float8_e4m3fn", "float8_e4m3fn"), ("half", "float16"),
        ("cdouble", "complex128"), ("Storage", None), ("MysteryStorage", None), ("system", None),
    ],
)  # fmt: skip
def test_names_of_classes_and_dtypes(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_conjugate_and_negative_are_resolved() -> None:
    storage = whole("complex64", np.array([1 + 2j, 3 - 1j], "<c8").tobytes())
    both = Tensor(storage, 0, (2,), (1,), is_conj=True, is_neg=True)
    np.testing.assert_array_equal(both, [-1 + 2j, -3 - 1j])


class Counting:
    """A seekable file that says how much of it was read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.count = data, 0, 0

    def read(self, length: int = -1) -> bytes:
        part = self.data[self.at : None if length < 0 else self.at + length]
        self.at += len(part)
        self.count += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = (0, self.at, len(self.data))[whence] + offset
        return self.at

    def tell(self) -> int:
        return self.at


def test_of_a_file_without_a_map_only_what_is_looked_at_is_read() -> None:
    values = np.arange(1 << 20, dtype="<f4").reshape(1024, 1024)
    file = Counting(values.tobytes())
    source = open_source(file)
    storage = Storage(Blob("0", values.nbytes, lambda: source), "float32", values.size)
    rows = Tensor(storage, 0, (1024, 1024), (1024, 1))
    np.testing.assert_array_equal(rows[500:502], values[500:502])
    part = Tensor(storage, 1024 * 7, (2, 1024), (1024, 1))
    np.testing.assert_array_equal(part, values[7:9])
    assert file.count < values.nbytes // 8
    np.testing.assert_array_equal(rows, values)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_torch_tensors_want_torch() -> None:
    with pytest.raises(MissingExtraError, match="pip install torch"):
        as_torch(whole("uint8", b"abc"))


def test_the_elements_of_a_storage_are_not_read_before_they_are_asked_for() -> None:
    blob = Blob("7", 8)
    storage = torch_storage.Storage(blob, "float32", 2)
    assert storage.shape == (2,)
    with pytest.raises(DamagedFileError, match="storage '7'"):
        storage.read()

"""NumPy's arrays, dtypes and scalars in pickles: rebuilt from checked parts, or kept as records."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import persist
from persist.errors import FormatError
from persist.tree import Global, Record

PROTOCOLS = range(6)
CORPUS = Path(__file__).parents[2] / "corpus" / "pickle"

dtypes = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(endianness="?"),
    npst.datetime64_dtypes(endianness="?"),
    npst.timedelta64_dtypes(endianness="?"),
    npst.byte_string_dtypes(),
    npst.unicode_string_dtypes(endianness="?"),
)
anything = st.one_of(dtypes, npst.array_dtypes(dtypes, max_size=3, allow_subarrays=True))
arrays = npst.arrays(anything, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def root_of(data: bytes) -> Any:
    return persist.open(data).tree


def is_same(left: Any, right: Any) -> bool:
    return (
        type(left) is type(right)
        and left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(array=arrays, fortran=st.booleans())
@settings(max_examples=80)
def test_an_array_of_any_dtype_is_itself(array: Any, fortran: bool, protocol: int) -> None:
    if fortran:
        array = np.asfortranarray(array)
    got = root_of(pickle.dumps(array, protocol))
    assert is_same(got, array)
    assert got.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(dtype=anything)
@settings(max_examples=60)
def test_a_dtype_and_its_scalars_are_themselves(dtype: np.dtype[Any], protocol: int) -> None:
    got = root_of(pickle.dumps(dtype, protocol))
    assert got == dtype
    assert got.str == dtype.str
    if dtype.subdtype is None:
        scalar = np.zeros((), dtype)[()]
        got = root_of(pickle.dumps(scalar, protocol))
        assert got.dtype == scalar.dtype
        assert got.tobytes() == scalar.tobytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4).T,
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.arange(10)[::2],
        np.zeros((0, 3)),
        np.array(5.0),
        np.array([("a", 1)], dtype=np.dtype([("name", "U5"), ("n", "<i8")], align=True)),
        np.array([(1, 2)], dtype=[(("a title", "x"), "<i4"), ("y", ">i2")]),
        np.array([["2012-11", "NaT"]], dtype="M8[M]"),
        np.array([3, 4], dtype="m8[25s]"),
        np.array([1.5], dtype=np.longdouble),
        np.array([b"x"], dtype="V7"),
    ],
)
def test_layouts_of_all_kinds(array: Any, protocol: int) -> None:
    got = root_of(pickle.dumps(array, protocol))
    assert is_same(got, array)
    assert (got.dtype.fields or {}).keys() == (array.dtype.fields or {}).keys()


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_subclasses_of_numpys_own(protocol: int) -> None:
    matrix = np.matrix([[1, 2], [3, 4]])
    got = root_of(pickle.dumps(matrix, protocol))
    assert type(got) is np.matrix
    assert got.tolist() == [[1, 2], [3, 4]]
    record = np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
    got = root_of(pickle.dumps(record, protocol))
    assert type(got) is np.recarray
    assert got.b.tolist() == [2.5]
    masked = np.ma.array([1.5, 2.5], mask=[0, 1], fill_value=-9)
    got = root_of(pickle.dumps(masked, protocol))
    assert type(got) is np.ma.MaskedArray
    assert got.data.tolist() == [1.5, 2.5]
    assert got.mask.tolist() == [False, True]
    assert got.fill_value == -9


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_in_arrays_are_read_by_the_same_machine(protocol: int) -> None:
    array = np.empty((2, 2), object, order="F")
    for index, item in zip(np.ndindex(2, 2), [1, "two", None, np.arange(3)], strict=True):
        array[index] = item
    got = root_of(pickle.dumps(array, protocol))
    assert got.flags.f_contiguous
    assert got.shape == (2, 2)
    assert got[0, 1] == "two"
    assert got[1, 1].tolist() == [0, 1, 2]
    rows = np.array([(1, {"a": 2})], dtype=[("n", "i4"), ("o", "O")])
    got = root_of(pickle.dumps(rows, protocol))
    assert got["o"][0] == {"a": 2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_functions_are_names(protocol: int) -> None:
    assert root_of(pickle.dumps(np.tanh, protocol)).name == "tanh"
    old = b"cnumpy.core\n_ufunc_reconstruct\n(Vnumpy\nVexp\ntR."
    assert root_of(old) == Global("numpy", "exp")


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_both_homes_of_the_constructor_are_known(module: bytes) -> None:
    data = pickle.dumps(np.arange(3, dtype="<i4"), 2)
    for home in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        data = data.replace(b"c" + home + b"\n_recon", b"c" + module + b"\n_recon")
    assert root_of(data).tolist() == [0, 1, 2]


def test_a_class_of_ones_own_keeps_its_array_by_name() -> None:
    # An ndarray subclass whose class is lost: the name is the data, the rest of its state beside.
    data = pickle.dumps(np.arange(3, dtype="<i4"), 2)
    data = data.replace(b"cnumpy\nndarray\n", b"clab.arrays\nInfo\n")
    file = persist.open(data)
    assert isinstance(file.tree, Record)
    assert file.arrays[""].tolist() == [0, 1, 2]


# Parts that do not fit.


def state_of(
    shape: Any = (2,), dtype: bytes = b"f8", data: bytes = b"\0" * 16, order: bool = False
) -> bytes:
    """A pickle of an array by hand."""
    inner = pickle.dumps((1, shape), 2)[2:-1]
    inner = inner[: inner.rindex(b"\x86")]
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
        + inner
        + b"cnumpy\ndtype\nU" + bytes((len(dtype),)) + dtype + b"K\x00K\x01\x87R"
        + b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x88" if order else b"\x89")
        + b"T" + struct.pack("<i", len(data)) + data + b"tb."
    )  # fmt: skip


def test_the_pickle_by_hand_is_an_array() -> None:
    assert root_of(state_of()).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("shape", "dtype", "data"),
    [
        ((3,), b"f8", b"\0" * 16),  # more elements than data
        ((1,), b"f8", b"\0" * 16),  # fewer
        ((-2,), b"f8", b"\0" * 16),
        ((2**40, 2**40), b"f8", b"\0" * 16),
        ((1,) * 65, b"f8", b"\0" * 8),
        ((2,), b"O8", b"\0" * 16),  # bytes for objects
        ((2,), b"no", b"\0" * 16),
        ("ab", b"f8", b"\0" * 16),
        ((1.5,), b"f8", b"\0" * 16),
    ],
)
def test_parts_that_do_not_fit_are_kept_as_a_record(shape: Any, dtype: bytes, data: bytes) -> None:
    got = root_of(state_of(shape, dtype, data))
    assert isinstance(got, Record)
    assert got.state[4] in (data, data.decode())


@pytest.mark.parametrize("protocol", [3, 4, 5])  # below, the bytes are spelled as text
@pytest.mark.parametrize("order", "<>")
def test_text_beyond_unicode_never_becomes_a_string(order: str, protocol: int) -> None:
    honest = np.array(["ab", "cd"], dtype=f"{order}U2")
    codes = np.array([97, 0x7FFFFFFF, 99, 100], dtype=f"{order}u4")
    for value in (honest, honest[0], np.array([("ab",)], dtype=[("t", honest.dtype)])):
        data = pickle.dumps(value, protocol)
        raw, broken = value.tobytes(), codes.tobytes()[: value.nbytes]
        assert raw in data
        file = persist.open(data.replace(raw, broken))
        assert isinstance(file.tree, Record)
        assert str(file)
    wide = np.array(["\U0010ffff\ud800"], dtype=f"{order}U2")
    assert is_same(root_of(pickle.dumps(wide, protocol)), wide)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@given(data=st.data())
@settings(max_examples=120)
def test_a_damaged_array_is_an_error_of_ours_or_a_tree(protocol: int, data: st.DataObject) -> None:
    value = data.draw(arrays)
    pickled = bytearray(pickle.dumps([value, value.dtype], protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    try:
        file = persist.open(bytes(pickled))
    except FormatError:
        return
    assert str(file)
    for name in file.arrays:
        assert np.asarray(file.arrays[name]).shape == file.arrays[name].shape


def test_the_generator_of_python_2_keeps_its_624_words() -> None:
    file = persist.open(CORPUS / "pickle-py27-randomstate" / "rng.pkl")
    keys = [name for name in file.arrays if file.arrays[name].shape == (624,)]
    assert keys
    assert all(file.arrays[name].dtype.itemsize >= 4 for name in keys)

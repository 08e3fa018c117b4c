"""The NPY grammar: headers of every release, and those that nobody should believe."""

from __future__ import annotations

import io
import random
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persist._wire.base.source import open_source
from persist._wire.npy.npy import (
    _checked,
    _literal,
    _usual,
    dtype_of,
    header_bytes,
    read_array,
    read_header,
)
from persist.errors import DamagedFileError
from persist.tree import LazyArray, Record


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    body = header.encode("utf-8" if version[0] == 3 else "latin-1")
    length = struct.pack("<H" if version[0] == 1 else "<I", len(body))
    return b"\x93NUMPY" + bytes(version) + length + body + data


def read(data: bytes) -> Any:
    cursor = open_source(data).cursor()
    array = read_array(cursor)
    assert cursor.left == 0
    return array


def saved(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a format needs version 2 or 3
        np.save(out, array)
    return out.getvalue()


DTYPES = [
    *"?bBhHiIlLqQefdgFDG",
    ">i2", ">f8", ">c16", "S5", "U7", ">U7", "S0", "U0", "V9", "M8[ns]", "m8[25s]", ">M8[D]", "M8",
    [("a", "<i4"), ("b", ">f8", (2, 3)), ("c", [("x", "S3"), ("y", "M8[us]")])],
    [(("title", "n"), "i4"), ("é", "f4")],
    [("время", "i4"), ("重み", "f8", (2,))],
    [(f"field{number}", "f4") for number in range(4000)],
    np.dtype([("a", "i1"), ("b", "f8"), ("c", "i1")], align=True),
    np.dtype([("a", "i1"), ("sub", [("x", "i1"), ("y", "i8")], (2,))]),
    np.dtype(("f4", (3,))),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[:40])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4), (2, 1, 2)])
def test_what_numpy_saves_is_read(dtype: Any, shape: tuple[int, ...]) -> None:
    if np.dtype(dtype).itemsize == 0:
        array = np.zeros(shape, dtype)
    else:
        chance = np.random.default_rng(5)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = chance.integers(0, 2, size, np.uint8).tobytes()  # no byte of it breaks a code point
        array = np.ndarray(shape, dtype, raw)
        if array.dtype.kind == "U":
            array = np.full(shape, "wörter", dtype)
    for order in "CF":
        original = np.asarray(array, order=order)  # type: ignore[call-overload]
        found = read(saved(original))
        assert found.dtype == original.dtype
        assert found.shape == original.shape
        for name in original.dtype.names or [...]:  # the padding between fields is nobody's
            assert found[name].tobytes() == original[name].tobytes()


@settings(max_examples=80)
@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)), st.booleans())
def test_arrays_of_any_kind(array: np.ndarray[Any, Any], is_fortran: bool) -> None:
    array = np.asarray(array, order="F" if is_fortran else "C")
    found = read(saved(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


@settings(max_examples=60)
@given(
    st.one_of(hnp.scalar_dtypes(), hnp.array_dtypes(allow_subarrays=True)),
    hnp.array_shapes(min_dims=0, min_side=0),
    st.booleans(),
    st.sampled_from([16, 64, 4096]),
)
def test_numpy_reads_the_headers_that_are_written(
    dtype: np.dtype[Any], shape: tuple[int, ...], is_fortran: bool, alignment: int
) -> None:
    data = header_bytes(dtype, shape, is_fortran, alignment)
    assert len(data) % alignment == 0
    header = read_header(open_source(data).cursor())
    assert (header.dtype, header.shape, header.is_fortran) == (dtype, shape, is_fortran)
    assert header.length == len(data)
    count = int(np.prod(shape))
    found = np.load(io.BytesIO(data + bytes(count * dtype.itemsize)))
    assert found.dtype == dtype
    assert found.shape == shape


def test_a_header_of_fields_beyond_latin_1_is_version_3_and_a_long_one_version_2() -> None:
    assert header_bytes(np.dtype([("вес", "f4")]), (1,))[6] == 3
    long = np.dtype([(f"field{number}", "f4") for number in range(4000)])
    assert header_bytes(long, (1,))[6] == 2
    assert header_bytes(np.dtype("f4"), (1,))[6] == 1


@pytest.mark.parametrize(
    ("header", "shape"),
    [
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (2L,), }", (2,)),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (1L, 2L), }   \n", (1, 2)),
        ("{'shape': (np.int64(2),), 'fortran_order': True, 'descr': '<i2'}", (2,)),
        ("{'shape': (numpy.uint8(2), 1), 'fortran_order': True, 'descr': u'<i2'}", (2, 1)),
        ('{"descr":"<i2","fortran_order":False,"shape":(2,)}', (2,)),
        ("{'descr': b'<i2', 'fortran_order': False, 'shape': (0x2,)}", (2,)),
        ("{ 'descr' :\t'\\x3ci2' , 'fortran_order' : False , 'shape' : ( 2 , ) , }\n\n", (2,)),
    ],
)
def test_how_others_spelt_the_header(header: str, shape: tuple[int, ...]) -> None:
    found = read(npy(header, b"\1\0\2\0"))
    assert found.dtype == "<i2"
    assert found.shape == shape
    assert found.ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    "shape", ["", "3,", "3, 4", "3L,", "3L, 4L", "3", "0, ", "3,4,", ",", "3,,"]
)
@pytest.mark.parametrize("descr", ["<f4", "|O", ">M8", "|S12", "<q", "|b1", "<f3", "|V99999999999"])
@pytest.mark.parametrize("end", ["", "  \n", "\n\n", " x"])
def test_the_short_way_and_the_grammar_agree(shape: str, descr: str, end: str) -> None:
    text = f"{{'descr': '{descr}', 'fortran_order': True, 'shape': ({shape}), }}{end}"

    def outcome(read: Callable[[str], Any]) -> Any:
        try:
            return read(text)
        except (ValueError, TypeError) as error:
            return type(error)

    short = outcome(_usual)
    if short is not None:
        assert short == outcome(lambda text: _checked(_literal(text)))


def test_python_2s_object_dtypes_and_strings() -> None:
    assert dtype_of("|O8") == dtype_of("|O4") == np.dtype(object)
    assert dtype_of("|a5") == "S5"
    assert dtype_of([("x", "|O4"), ("", "|V4"), ("y", "<f8")]).itemsize > 8


GOOD = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[]",
        "{}",
        "{'descr': '<i2'}",
        GOOD.replace("}", "'more': 1}"),
        GOOD.replace("(2,)", "(-2,)"),
        GOOD.replace("(2,)", "[2]"),
        GOOD.replace("(2,)", "2"),
        GOOD.replace("(2,)", "(2.0,)"),
        GOOD.replace("(2,)", "(True,)"),
        GOOD.replace("(2,)", "('2',)"),
        GOOD.replace("(2,)", f"({'9' * 5000},)"),
        GOOD.replace("(2,)", f"({'1, ' * 65})"),
        GOOD.replace("(2,)", "(4611686018427387904, 4)"),
        GOOD.replace("(2,)", "(4611686018427387904, 4611686018427387904, 0)"),
        GOOD.replace("False", "0"),
        GOOD.replace("False", "None"),
        GOOD.replace("'<i2'", "'<i3'"),
        GOOD.replace("'<i2'", "'i2,i4'"),
        GOOD.replace("'<i2'", "'S99999999999999'"),
        GOOD.replace("'<i2'", "None"),
        GOOD.replace("'<i2'", "[('a',)]"),
        GOOD.replace("'<i2'", "[('a', '<i2'), ('a', '<i2')]"),
        GOOD.replace("'<i2'", "[(1, '<i2')]"),
        GOOD.replace("'<i2'", "('<i2', (-1,))"),
        GOOD.replace("'<i2'", "('<i2', (1000000000, 1000000000))"),
        GOOD.replace("'<i2'", "__import__('os')"),
        GOOD.replace("'<i2'", "'<i2' '<i2'"),
        GOOD.replace("'<i2'", "f'<i2'"),
        GOOD.replace("'descr'", "'descr', 'x'"),
        GOOD + GOOD,
        GOOD[:-1],
        "(" * 60_000,
        "[" * 60 + "]" * 60,
        "{" + "'a': {" * 9_000,
        "'" + "\\x" * 30_000,
        "-" * 60_000,
    ],
    ids=lambda header: header[:60],
)
def test_headers_that_say_what_cannot_be(header: str) -> None:
    start = time.process_time()
    with pytest.raises(DamagedFileError) as caught:
        read(npy(header, b"\1\0\2\0"))
    assert "offset" in str(caught.value)
    assert time.process_time() - start < 5


def test_nothing_is_made_for_a_shape_that_the_file_cannot_hold() -> None:
    with pytest.raises(DamagedFileError, match="4 are left"):
        read(npy(GOOD.replace("(2,)", "(1000000000000,)"), b"\1\0\2\0"))
    # Elements without bytes take none, but their number costs time, and so is bounded.
    many = read(npy(GOOD.replace("(2,)", "(1000000,)").replace("<i2", "|S0")))
    assert many.nbytes == 0
    with pytest.raises(DamagedFileError, match="1000000000000"):
        read(npy(GOOD.replace("(2,)", "(1000000000000,)").replace("<i2", "|S0")))


def test_unknown_versions_and_other_files() -> None:
    with pytest.raises(DamagedFileError, match=r"version is 4\.0"):
        read(npy(GOOD, version=(4, 0)))
    with pytest.raises(DamagedFileError, match="should begin here"):
        read(b"no array")


def test_every_truncation_and_many_flips_are_reported() -> None:
    data = saved(np.ones(6, dtype=[("a", "<i4"), ("b", "<f8")]))
    for length in range(len(data)):
        with pytest.raises(DamagedFileError):
            read_array(open_source(data[:length]).cursor())
    chance = random.Random(1)
    refused = 0
    for _ in range(1500):
        copy = bytearray(data)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        try:
            read_array(open_source(copy).cursor())
        except DamagedFileError:
            refused += 1
    assert refused > 200


def test_object_arrays_go_through_the_machine() -> None:
    array = np.empty((2, 2), object)
    array[:] = [[{"a": 1}, None], ["x", Path("a")]]
    found = read(saved(array))
    assert found.dtype == object
    assert found.tolist() == [[{"a": 1}, None], ["x", PurePosixPath("a")]]


def test_objects_of_classes_that_are_not_known_are_records() -> None:
    pickled = b"ccommands\ngetoutput\n(S'touch here'\ntR."
    found = read(npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}", pickled))
    assert isinstance(found, Record)
    assert found.qualname == "commands.getoutput"


def test_where_bytes_come_in_ranges_the_array_is_lazy() -> None:
    class Ranged(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.inner = io.BytesIO(data)
            self.given = 0

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.inner.seek(offset, whence)

        def tell(self) -> int:
            return self.inner.tell()

        def read(self, size: int = -1) -> bytes:
            self.given += max(size, 0)
            return self.inner.read(size)

    array = np.arange(1_000_000).reshape(1000, 1000)
    file = Ranged(saved(array))
    lazy = read_array(open_source(file).cursor())
    assert isinstance(lazy, LazyArray)
    assert (lazy.shape, lazy.dtype) == (array.shape, array.dtype)
    assert np.array_equal(lazy[10:12], array[10:12])
    assert file.given < 500_000
    assert np.array_equal(np.asarray(lazy), array)

"""MessagePack: what Flax wrote is in the corpus; here is every type of value, and damage."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import (
    DamagedFileError,
    FormatError,
    LimitError,
    PersistError,
    UnknownFormatError,
)
from persist.tree import LazyArray

CORPUS = Path(__file__).parents[1] / "corpus" / "flax"


def text(value: str) -> bytes:
    data = value.encode()
    return (
        bytes([0xA0 | len(data)]) + data if len(data) < 32 else b"\xd9" + bytes([len(data)]) + data
    )


def blob(data: bytes) -> bytes:
    return b"\xc6" + struct.pack(">I", len(data)) + data


def extension(code: int, data: bytes) -> bytes:
    return b"\xc9" + struct.pack(">Ib", len(data), code) + data


def array(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    axes = bytes([0x90 | len(shape)]) + b"".join(b"\xd3" + struct.pack(">q", n) for n in shape)
    return extension(1, b"\x93" + axes + text(dtype) + blob(data))


def mapping(**items: bytes) -> bytes:
    return bytes([0x80 | len(items)]) + b"".join(text(key) + value for key, value in items.items())


def value_of(encoded: bytes) -> Any:
    return persist.open(mapping(v=encoded)).tree["v"]


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\x05", 5), (b"\xff", -1), (b"\xc0", None), (b"\xc2", False), (b"\xc3", True),
        (b"\xcc\xff", 255), (b"\xcd\x01\x00", 256), (b"\xce\xff\xff\xff\xff", 2**32 - 1),
        (b"\xcf" + b"\xff" * 8, 2**64 - 1), (b"\xd0\x80", -128), (b"\xd1\x80\x00", -(2**15)),
        (b"\xd2\x80\x00\x00\x00", -(2**31)), (b"\xd3\x80" + bytes(7), -(2**63)),
        (b"\xca" + struct.pack(">f", 0.5), 0.5), (b"\xcb" + struct.pack(">d", 0.1), 0.1),
        (b"\xa2hi", "hi"), (b"\xd9\x02hi", "hi"), (b"\xda\x00\x02hi", "hi"), (b"\xdb\0\0\0\x02hi", "hi"),
        (b"\xa2\xff\x00", b"\xff\x00"), (b"\xc4\x01a", b"a"), (b"\xc5\x00\x01a", b"a"), (blob(b"a"), b"a"),
        (b"\x90", []), (b"\x92\x01\x91\x02", [1, [2]]), (b"\xdc\x00\x01\x05", [5]),
        (b"\xdd\0\0\0\x01\x05", [5]), (b"\x80", {}), (b"\xde\x00\x01\x01\xc3", {1: True}),
        (b"\xdf\0\0\0\x01\xa1a\x91\xc0", {"a": [None]}),
    ],
)  # fmt: skip
def test_every_type_of_value(encoded: bytes, value: Any) -> None:
    found = value_of(encoded)
    assert found == value
    assert type(found) is type(value)


def test_other_extensions_are_records() -> None:
    for encoded in (b"\xd4\x07a", b"\xc7\x01\x07a"):
        record = value_of(encoded)
        assert record.qualname == "msgpack.extension"
        assert (record["code"], record["data"]) == (7, b"a")
    assert value_of(b"\xd6\xff\0\0\0\x01")["code"] == -1  # a timestamp


def test_arrays_scalars_and_complex_numbers() -> None:
    found = value_of(array((2, 1), "float32", struct.pack("<2f", 1, 2)))
    assert found.dtype == np.float32
    assert found.tolist() == [[1], [2]]
    scalar = b"\x93\x90" + text("int8") + blob(b"\x05")
    assert value_of(extension(3, scalar)) == np.int8(5)
    assert type(value_of(extension(3, scalar))) is np.int8
    parts = b"\x92" + b"".join(b"\xcb" + struct.pack(">d", part) for part in (1.0, -2.0))
    assert value_of(extension(2, parts)) == 1 - 2j


def test_an_array_in_pieces_is_joined_late() -> None:
    opened = persist.open(CORPUS / "flax-0.12.8-chunked" / "state.msgpack")
    joined = opened.tree["params"]["embedding"]
    assert isinstance(joined, LazyArray)
    assert np.array_equal(np.asarray(joined), np.arange(60).reshape(5, 12))
    piece = array((2,), "int8", b"\1\2")
    for shape, chunks in (
        (mapping(**{"0": b"\x03"}), mapping(**{"0": piece})),
        (mapping(**{"0": b"\x02"}), mapping(**{"1": piece})),
        (mapping(**{"0": b"\x02"}), mapping(**{"0": b"\x05"})),
        (b"\x90", mapping(**{"0": piece})),
    ):
        whole = {"__msgpack_chunked_array__": b"\xc3", "shape": shape, "chunks": chunks}
        with pytest.raises(DamagedFileError, match="pieces"):
            value_of(mapping(**whole))


@pytest.mark.parametrize(
    "encoded",
    [
        array((2,), "float32", bytes(4)),
        array((1 << 40, 1 << 40), "float32", bytes(4)),
        array((-1,), "float32", bytes(4)),
        array((1,), "object", bytes(8)),
        array((1,), "nothing", bytes(8)),
        array((1,), "<M8[s/0]", bytes(8)),
        array((0,) * 15, "float32", b""),
        extension(1, b"\x93\x91\x90" + text("int8") + blob(b"")),
        extension(1, b"\xc1"),
        extension(2, b"\x91\x01"),
        extension(2, extension(2, b"\x92\x01\x02")),
        b"\x81\x90\x01",
        b"\x81\x81\x01\x01\x01",
    ],
)
def test_wrong_parts_are_an_error(encoded: bytes) -> None:
    marker = array((1,), "int8", b"\1")
    try:
        found = persist.open(mapping(a=marker, v=encoded))
        assert np.asarray(found.tree["v"]).size == 0
    except PersistError as error:
        assert str(error)


def test_a_key_that_occurs_twice_is_reported() -> None:
    opened = persist.open(b"\x82" + text("key") + b"\x01" + text("key") + b"\x02")
    assert opened.tree == {"key": 2}
    assert "twice" in opened.damage[0]


def test_cut_files_and_what_follows() -> None:
    data = (CORPUS / "flax-0.12.8-state" / "state.msgpack").read_bytes()
    for cut in range(1, len(data), 7):
        with pytest.raises(FormatError):
            persist.open(data[:-cut])
    assert "3 bytes follow" in persist.open(data + b"abc").damage[0]
    with pytest.raises(UnknownFormatError, match="cut off"):
        persist.open(b"\x82\xa6params\x81\xa5Dense\xff")


def test_depth_and_bytes_are_limited() -> None:
    marker = array((1,), "int8", b"\1")
    deep = mapping(a=marker, v=b"\x91" * 9_000 + b"\xc0")
    assert persist.open(deep).format == "msgpack"
    with pytest.raises(LimitError, match="nested") as caught:
        persist.open(deep, limits={"depth": 5_000})
    assert "depth" in caught.value.remedy
    many = mapping(a=marker, v=b"\xdd" + struct.pack(">I", 1 << 20) + b"\xc0" * (1 << 20))
    with pytest.raises(LimitError, match="more than"):
        persist.open(many, limits={"total": 1 << 20})
    with pytest.raises(FormatError):
        persist.open(mapping(a=marker, v=b"\xdd\xff\xff\xff\xff"))

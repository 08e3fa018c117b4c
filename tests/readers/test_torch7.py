"""Torch7's .t7, laid out by hand after torch7/File.lua: binary and ASCII."""

from __future__ import annotations

import struct

import numpy as np
import pytest

import persist
from persist.errors import FormatError
from persist.tree import Record


def i32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)


def i64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def text(value: bytes) -> bytes:
    return i32(len(value)) + value


def string(value: bytes) -> bytes:
    return i32(2) + text(value)


def number(value: float) -> bytes:
    return i32(1) + struct.pack("<d", value)


STORAGE = (
    i32(4, 7)
    + text(b"V 1")
    + text(b"torch.FloatStorage")
    + i64(6)
    + np.arange(6, dtype="<f4").tobytes()
)


def tensor(
    index: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, storage: bytes
) -> bytes:
    head = i32(4, index) + text(b"V 1") + text(b"torch.FloatTensor")
    return head + i32(len(shape)) + i64(*shape) + i64(*strides) + i64(offset) + storage


# {weight = Tensor(2,3), bias = its last row, name = "net", [1] = true, self = itself, gone = nn.Linear{}}
TABLE = b"".join(
    (
        i32(3, 1, 6),
        string(b"weight") + tensor(2, (2, 3), (3, 1), 1, STORAGE),
        string(b"bias") + tensor(3, (3,), (1,), 4, i32(4, 7)),
        string(b"name") + string(b"net"),
        number(1) + i32(5, 1),
        string(b"self") + i32(3, 1),
        string(b"layer")
        + i32(4, 4)
        + text(b"V 1")
        + text(b"nn.Linear")
        + i32(3, 5, 1)
        + string(b"rate")
        + number(0.5),
    )
)


def test_a_table_with_tensors_that_share_a_storage() -> None:
    file = persist.open(TABLE)
    assert file.format == "torch7"
    assert file.arrays["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert file.arrays["bias"].tolist() == [3, 4, 5]
    assert np.shares_memory(np.asarray(file.arrays["weight"]), np.asarray(file.arrays["bias"]))
    assert file.scalars["name"] == "net"
    assert file.scalars["1"] is True
    assert file.scalars["layer/rate"] == 0.5
    assert file.tree["self"] is file.tree
    assert isinstance(file.tree["layer"], Record)
    assert file.structure == {
        "classes": ["nn.Linear", "torch.FloatStorage", "torch.FloatTensor"],
        "encoding": "binary",
        "shared": {"self": ""},
    }
    assert not file.damage


def test_ascii() -> None:
    data = b"3\n1\n2\n2\n1\na\n1\n2.5\n2\n1\nb\n4\n2\n3\nV 1\n18\ntorch.DoubleTensor\n1\n2\n1\n1\n4\n3\n3\nV 1\n19\ntorch.DoubleStorage\n2\n0.5 -1\n"
    file = persist.open(data)
    assert file.structure["encoding"] == "ascii"
    assert file.scalars["a"] == 2.5
    assert file.arrays["b"].tolist() == [0.5, -1.0]


def test_lua_functions_stay_bytes() -> None:
    data = i32(8, 1) + text(b"\x1bLJ\x01code") + i32(3, 2, 0)
    tree = persist.open(data).tree
    assert tree["bytecode"] == b"\x1bLJ\x01code"
    assert tree["upvalues"] == {}


def test_a_tensor_that_passes_its_storage_is_refused_with_the_place() -> None:
    with pytest.raises(FormatError, match="passes its storage") as caught:
        persist.open(tensor(1, (3, 3), (3, 1), 1, STORAGE))
    assert "offset" in str(caught.value)


def test_deep_tables_end() -> None:
    depth = 50_000
    data = b"".join(i32(3, 1 + level, 1) + string(b"k") for level in range(depth)) + i32(0)
    tree = persist.open(data).tree
    for _ in range(depth):
        tree = tree["k"]
    assert tree is None


@pytest.mark.parametrize("length", range(12, len(TABLE), 7))
def test_every_truncation_is_reported(length: int) -> None:
    with pytest.raises(FormatError):
        persist.open(TABLE[:length])


@pytest.mark.parametrize("at", range(0, len(TABLE), 3))
def test_flipped_bytes_give_a_tree_or_a_format_error(at: int) -> None:
    data = bytearray(TABLE)
    data[at] ^= 0xFF
    try:
        file = persist.open(bytes(data))
    except FormatError:
        return
    assert list(file.scalars) is not None

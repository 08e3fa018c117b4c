"""Caffe's nets of three generations, laid out field by field after ``caffe.proto``."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import FormatError

MODEL = Path(__file__).parents[1] / "corpus" / "caffe" / "net-by-hand" / "small.caffemodel"


def varint(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made, value = made + bytes((value & 0x7F | 0x80,)), value >> 7
    return made + bytes((value,))


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def old_blob(shape: tuple[int, int, int, int], values: list[float], code: str = "f") -> bytes:
    data = struct.pack(f"<{len(values)}{code}", *values)
    extents = b"".join(field(1 + axis, extent) for axis, extent in enumerate(shape))
    return extents + field(5 if code == "f" else 8, data)


def test_a_net_of_today() -> None:
    with persist.open(MODEL) as file:
        assert file.format == "caffe"
        assert file.structure["name"] == "small"
        assert file.structure["layers"][1] == {
            "name": "conv1", "type": "Convolution", "blobs": [[2, 3, 2, 2], [2]],
            "bottom": ["data"], "top": ["conv1"],
        }  # fmt: skip
        assert file.arrays["conv1/0"].shape == (2, 3, 2, 2)
        assert not file.arrays["conv1/0"].flags.owndata
        assert file.arrays["conv1/1"].tolist() == [0.5, -1.0]


def test_layers_of_the_second_generation_and_two_of_one_name() -> None:
    layer = field(2, "data") + field(3, "ip") + field(4, "ip") + field(5, 14)
    net = field(1, "old") + field(2, layer + field(6, old_blob((1, 1, 2, 2), [1, 2, 3, 4])))
    net += field(2, layer + field(6, old_blob((1, 1, 1, 2), [5, 6], "d")))
    with persist.open(net) as file:
        assert file.arrays["ip/0"].tolist() == [[[[1, 2], [3, 4]]]]
        assert file.arrays["ip~2/0"].dtype == np.float64
        assert file.structure["layers"][0]["type"] == "INNER_PRODUCT"


def test_layers_of_the_first_generation() -> None:
    first = field(1, "conv") + field(2, "conv") + field(50, old_blob((1, 1, 1, 3), [1, 2, 3]))
    with persist.open(field(1, "v0") + field(2, field(1, first) + field(2, "data"))) as file:
        assert file.arrays["conv/0"].tolist() == [[[[1, 2, 3]]]]


def test_a_mean_and_a_solver() -> None:
    with persist.open(old_blob((1, 3, 1, 2), [1, 2, 3, 4, 5, 6])) as file:
        assert file.format == "caffe-mean"
        assert file.arrays[""].shape == (1, 3, 1, 2)
    state = field(1, 500) + field(2, "snap_500.caffemodel")
    state += field(3, old_blob((1, 1, 1, 2), [1, 2])) + field(4, 3)
    with persist.open(state) as file:
        assert file.scalars["iter"] == 500
        assert file.scalars["current_step"] == 3
        assert file.arrays["history/0"].tolist() == [[[[1, 2]]]]


def test_a_blob_whose_shape_lies_is_refused() -> None:
    layer = field(4, "ip") + field(5, 14) + field(6, old_blob((1, 1, 2, 3), [1, 2, 3, 4]))
    with pytest.raises(FormatError, match=r"shape is \(1, 1, 2, 3\), and it has 4 numbers"):
        persist.open(field(1, "old") + field(2, layer))


@pytest.mark.parametrize("length", range(0, MODEL.stat().st_size, 5))
def test_every_truncation_is_reported(length: int) -> None:
    try:
        with persist.open(MODEL.read_bytes()[:length]) as file:
            assert "conv1/1" not in file.arrays
    except FormatError as error:
        assert error.what

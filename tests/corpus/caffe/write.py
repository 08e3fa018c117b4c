"""Lay out a small net as Caffe 1.0 does, field by field after caffe.proto (no Caffe can be had)."""

import hashlib
import json
from pathlib import Path

import numpy as np


def varint(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made, value = made + bytes((value & 0x7F | 0x80,)), value >> 7
    return made + bytes((value,))


def field(number: int, value: object) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def blob(array: np.ndarray) -> bytes:
    extents = b"".join(varint(extent) for extent in array.shape)
    return field(5, array.astype("<f4").tobytes()) + field(7, field(1, extents))


weights = np.arange(24, dtype="f4").reshape(2, 3, 2, 2) / 7
bias = np.array([0.5, -1.0], "f4")
net = (
    field(1, "small")
    + field(100, field(1, "data") + field(2, "Input") + field(4, "data"))
    + field(100, field(1, "conv1") + field(2, "Convolution") + field(3, "data") + field(4, "conv1")
            + field(7, blob(weights)) + field(7, blob(bias)))
)  # fmt: skip
here = Path(__file__).parent / "net-by-hand"
(here / "small.caffemodel").write_bytes(net)
arrays = {
    f"conv1/{number}": {
        "dtype": "float32",
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.astype("<f4").tobytes()).hexdigest(),
    }
    for number, array in enumerate((weights, bias))
}
told = {"file": "small.caffemodel", "format": "caffe", "written_by": {"by hand": ""},
        "what": __doc__, "arrays": arrays, "scalars": {}}  # fmt: skip
(here / "expected.json").write_text(json.dumps(told, indent=1) + "\n")

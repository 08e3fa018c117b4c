"""Caffe's ``.caffemodel``, ``.solverstate`` and ``.binaryproto``: weights in protocol buffers.

Written by  Caffe and its forks (2013 to 2020): ``Net::ToProto``, ``Solver::Snapshot``,
            ``compute_image_mean``; NVIDIA DIGITS, the model zoo.
Evidence    ``caffe.proto`` of BVLC Caffe 1.0 (``NetParameter``, ``LayerParameter``,
            ``V1LayerParameter``, ``V0LayerParameter``, ``BlobProto``, ``SolverState``);
            ``upgrade_proto.cpp`` for the three generations of layers.
Traps       There is no magic number. A blob of before 2014 has four extents, in fields
            of their own. Layers of three generations are stored in two fields, their names
            in three. Doubles have a field of their own next to that of the floats.
Gives       For a net: layer's name -> list of its blobs. For a solver's state: ``iter``,
            ``learned_net``, ``current_step``, ``history``. For a mean: its single array.
            HDF5 files (``.caffemodel.h5``) are read by the HDF5 reader.
"""

from __future__ import annotations

import math
from typing import Any

from persist._runtime.free_names import free_name
from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message, Schemas
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.typing import Array

__all__ = ["CaffeReader"]

_V1_TYPES = {
    0: "NONE", 1: "ACCURACY", 2: "BNLL", 3: "CONCAT", 4: "CONVOLUTION", 5: "DATA", 6: "DROPOUT",
    7: "EUCLIDEAN_LOSS", 8: "FLATTEN", 9: "HDF5_DATA", 10: "HDF5_OUTPUT", 11: "IM2COL",
    12: "IMAGE_DATA", 13: "INFOGAIN_LOSS", 14: "INNER_PRODUCT", 15: "LRN",
    16: "MULTINOMIAL_LOGISTIC_LOSS", 17: "POOLING", 18: "RELU", 19: "SIGMOID", 20: "SOFTMAX",
    21: "SOFTMAX_LOSS", 22: "SPLIT", 23: "TANH", 24: "WINDOW_DATA", 25: "ELTWISE", 26: "POWER",
    27: "SIGMOID_CROSS_ENTROPY_LOSS", 28: "HINGE_LOSS", 29: "MEMORY_DATA", 30: "ARGMAX",
    31: "THRESHOLD", 32: "DUMMY_DATA", 33: "SLICE", 34: "MVN", 35: "ABSVAL", 36: "SILENCE",
    37: "CONTRASTIVE_LOSS", 38: "EXP", 39: "DECONVOLUTION",
}  # fmt: skip

SCHEMAS = Schemas(
    {
        "NetParameter": {
            "name": (1, "string"),
            "layers": (2, "V1LayerParameter"),
            "input": (3, "string"),
            "layer": (100, "LayerParameter"),
        },
        "LayerParameter": {
            "name": (1, "string"),
            "type": (2, "string"),
            "bottom": (3, "string"),
            "top": (4, "string"),
            "blobs": (7, "BlobProto"),
        },
        "V1LayerParameter": {
            "layer": (1, "V0LayerParameter"),
            "bottom": (2, "string"),
            "top": (3, "string"),
            "name": (4, "string"),
            "type": (5, "V1Type"),
            "blobs": (6, "BlobProto"),
        },
        "V0LayerParameter": {
            "name": (1, "string"),
            "type": (2, "string"),
            "blobs": (50, "BlobProto"),
        },
        "BlobProto": {
            "num": (1, "int32"),
            "channels": (2, "int32"),
            "height": (3, "int32"),
            "width": (4, "int32"),
            "data": (5, "float"),
            "shape": (7, "BlobShape"),
            "double_data": (8, "double"),
        },
        "BlobShape": {"dim": (1, "int64")},
        "SolverState": {
            "iter": (1, "int32"),
            "learned_net": (2, "string"),
            "history": (3, "BlobProto"),
            "current_step": (4, "int32"),
        },
    },
    {"V1Type": _V1_TYPES},
)

# Wire types of the fields of a net that a claim believes in.
_NET = {1: 2, 2: 2, 3: 2, 4: None, 5: 0, 6: 2, 7: 0, 8: 2, 100: 2}
_LOOKED_AT = 64  # fields that a claim looks at
_RANK = 32  # kMaxBlobAxes


class CaffeReader(Reader):
    """Caffe's files of protocol buffers."""

    name = "caffe"
    suffixes = (".caffemodel", ".solverstate", ".binaryproto")
    refines = ("pickle",)

    def claims(self, source: Source) -> str | None:
        kind = _kind_of(source)
        return None if kind is None else f"fields of Caffe's {kind}"

    def read(self, source: Source, options: Options) -> Content:
        kind = _kind_of(source)
        if kind is None:
            raise DamagedFileError("it is no file of Caffe.", file=source.name)
        message = SCHEMAS.read(kind, source.view(0, source.size), source)
        if kind == "BlobProto":
            return Content(_array(message), format="caffe-mean")
        if kind == "SolverState":
            tree = {
                "iter": message.integer("iter"),
                "learned_net": message.text("learned_net"),
                "current_step": message.integer("current_step"),
                "history": [_array(blob) for blob in message.messages("history")],
            }
            return Content(tree, format="caffe-solver")
        return _net(message)


def _net(message: Message) -> Content:
    tree: dict[str, Any] = {}
    layers: list[dict[str, Any]] = []
    for layer in (*message.messages("layers"), *message.messages("layer")):
        inner = layer
        if "layer" in layer.schema.fields and layer.has("layer"):  # of the first generation
            inner = layer.message("layer") or layer
        name = inner.text("name")
        kind = inner.name("type") if inner.schema.name == "V1LayerParameter" else inner.text("type")
        blobs = [_array(blob) for blob in inner.messages("blobs")]
        if blobs:
            tree[free_name(name, tree)] = blobs
        entry = {"name": name, "type": kind, "blobs": [list(blob.shape) for blob in blobs]}
        layers.append(entry | {"bottom": layer.texts("bottom"), "top": layer.texts("top")})
    structure = {"name": message.text("name"), "input": message.texts("input"), "layers": layers}
    return Content(tree, structure=structure, format="caffe")


def _array(blob: Message) -> Array:
    """The array of a blob: a view of the file where its numbers are packed, as Caffe packs them."""
    data = blob.floats("data")
    if not len(data):
        data = blob.floats("double_data")
    if blob.has("shape"):
        extents = blob.message("shape")
        shape = [] if extents is None else [int(extent) for extent in extents.integers("dim")]
    else:
        shape = [blob.integer(name) for name in ("num", "channels", "height", "width")]
        if not any(shape):
            shape = [len(data)]
    if any(extent < 0 for extent in shape) or len(shape) > _RANK or math.prod(shape) != len(data):
        raise blob.damaged(f"its shape is {tuple(shape)[:40]}, and it has {len(data):,} numbers.")
    return data.reshape(shape)


# What a file without a magic number is.


def _kind_of(source: Source) -> str | None:
    if source.kind != "file" or source.size < 8:
        return None
    try:
        fields = _fields(source, 0, source.size)
        return _is_net(source, fields) or _is_solver(source, fields) or _is_blob(source, fields)
    except (FormatError, ValueError):
        return None


_Field = tuple[
    int, int, int, int
]  # number, wire type, where its payload begins, its length or value


def _fields(source: Source, start: int, end: int) -> list[_Field]:
    """The first fields of a message, without reading what they hold.

    Raises:
        ValueError: these are no fields.
    """
    found: list[_Field] = []
    at = start
    while at < end and len(found) < _LOOKED_AT:
        key, at = _varint(source, at, end)
        number, wire = key >> 3, key & 7
        if not number or wire not in (0, 1, 2, 5):
            raise ValueError("no field")
        length = {1: 8, 5: 4}.get(wire, 0)
        value = length
        if wire in (0, 2):
            value, at = _varint(source, at, end)
            length = value if wire == 2 else 0
        if at + length > end:
            raise ValueError("a field passes the end")
        found.append((number, wire, at, value))
        at += length
    return found


def _varint(source: Source, at: int, end: int) -> tuple[int, int]:
    value = 0
    for number, byte in enumerate(source.view(at, min(10, end - at))):
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, at + number + 1
    raise ValueError("no varint")


def _word(source: Source, fields: list[_Field], number: int) -> str | None:
    """A short printable text in a field, or None."""
    for found, wire, at, length in fields:
        if found == number and wire == 2 and 0 < length <= 1024:
            text = source.read(at, length).decode("utf-8", "replace")
            return text if text.isprintable() and "�" not in text else None
    return None


def _is_net(source: Source, fields: list[_Field]) -> str | None:
    if any(_NET.get(number, -1) not in (None, wire) for number, wire, _, _ in fields):
        return None
    names = [field for field in fields if field[0] == 1]
    if len(names) > 1 or (names and names[0][3] and _word(source, fields, 1) is None):
        return None
    layers = [field for field in fields if field[0] in (2, 100)]
    if not layers:
        return None
    number, _, at, length = layers[0]
    inner = _fields(source, at, at + length)
    if number == 100:
        is_layer = _word(source, inner, 1) is not None and _word(source, inner, 2) is not None
        return "NetParameter" if is_layer else None
    if _word(source, inner, 4) is not None:
        return "NetParameter" if any(one[:2] == (5, 0) for one in inner) else None
    if {one[0] for one in inner} - {1, 2, 3} or sum(one[0] == 1 for one in inner) != 1:
        return None
    _, _, begin, size = next(one for one in inner if one[0] == 1)
    first = _fields(source, begin, begin + size)
    is_layer = _word(source, first, 1) is not None and _word(source, first, 2) is not None
    return "NetParameter" if is_layer else None


def _is_solver(source: Source, fields: list[_Field]) -> str | None:
    net = _word(source, fields, 2) or ""
    kinds = {1: 0, 2: 2, 3: 2, 4: 0}
    fits = all(kinds.get(number) == wire for number, wire, _, _ in fields)
    return "SolverState" if fits and ".caffemodel" in net else None


def _is_blob(source: Source, fields: list[_Field]) -> str | None:
    """A single blob: four extents, and as many packed numbers as their product."""
    if [field[0] for field in fields] != [1, 2, 3, 4, 5] or fields[4][1] != 2:
        return None
    extents = [value for _, wire, _, value in fields[:4] if wire == 0]
    count = math.prod(extents)
    fits = len(extents) == 4 and count and fields[4][3] == 4 * count
    return "BlobProto" if fits else None

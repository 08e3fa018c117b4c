"""Tables of tensor slices: checkpoints whose tensors stand in the table itself.

Sources: TensorFlow's ``core/util/saved_tensor_slice.proto``,
``core/util/tensor_slice_writer.cc`` and ``tensor_slice_reader.cc`` (0.5 to 1.x,
still readable by 2.21):

- the file is a table (`sstable`); the empty key holds ``SavedTensorSlices`` with
  the field meta: each tensor's name, shape, type and slices;
- every slice is stored under its key (`slices`), as ``SavedTensorSlices`` with the
  field data, whose ``TensorProto`` has neither type nor shape;
- several files make one checkpoint when it was saved in shards; each states what
  is in itself, and a tensor's slices may be spread over them.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import attrs

from persist._wire.base.ml_dtypes import decodable, encoded
from persist._wire.base.source import Source
from persist._wire.databases.sstable import Table, key_text
from persist._wire.tensorflow.schemas import SCHEMAS, dtype_name, shape_of
from persist._wire.tensorflow.slices import (
    Extents,
    Part,
    box_of,
    extents_of,
    joined,
    shape_in,
    shown,
    slice_key,
)  # fmt: skip
from persist._wire.tensorflow.tensors import dtype_of, shape_checked, tensor
from persist.errors import DamagedFileError, FormatError
from persist.tree import LazyArray
from persist.typing import Array

__all__ = ["TensorTable"]


@attrs.define
class _TensorMeta:
    """What the shards state about one tensor."""

    number: int
    shape: tuple[int, ...]
    slices: list[tuple[Extents, Table]] = attrs.Factory(list)


class TensorTable:
    """The tensors of one checkpoint of this kind.

    Args:
        shards: its files, in order.
        verify: "lazy" checks the sum of a block when it is read, "always" all
            of them now, "never" none.
        salvage: leave out what cannot be read, and report it in ``damage``.

    Attributes:
        tensors: name -> `LazyArray`.
        described: name -> what the table says of it, JSON-able.
        damage: what was left out, in words.

    Raises:
        DamagedFileError: a table is broken, or names slices that do not fit.
    """

    def __init__(self, shards: list[Source], verify: str, salvage: bool) -> None:
        self.tensors: dict[str, LazyArray] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self.damage: list[str] = []
        tensor_meta: dict[str, _TensorMeta] = {}
        for shard in shards:
            try:
                self._read_meta(shard, verify, tensor_meta)
            except FormatError as error:
                if not salvage:
                    raise
                self.damage.append(f"{shard.basename}: left out, for {error}")
        for name, item in tensor_meta.items():
            try:
                self._add(name, item, shards[0])
                if verify == "always":
                    self.tensors[name].read()
            except FormatError as error:
                if not salvage:
                    raise
                self.tensors.pop(name, None)
                self.damage.append(f"{name}: left out, for {error}")

    def _read_meta(self, shard: Source, verify: str, tensor_meta: dict[str, _TensorMeta]) -> None:
        table = Table(shard, verify != "never")
        first = table.first()
        if first is None or first[0]:
            raise DamagedFileError(
                "the table has no empty key, which states what is in it.",
                file=shard.name,
                remedy="A table of tensors is wanted; this one is of another kind.",
            )
        slices = SCHEMAS.read("SavedTensorSlices", first[1], shard)
        meta = slices.message("meta")
        for item in meta.messages("tensor") if meta is not None else []:
            name = key_text(bytes(item.data("name")))
            where = f"tensor {name!r}"
            shape = shape_checked(shape_of(item.message("shape")), shard, where)
            number = item.integer("type")
            known = tensor_meta.setdefault(name, _TensorMeta(number, shape))
            if (known.number, known.shape) != (number, shape):
                raise DamagedFileError(
                    f"it is {dtype_name(number)} {list(shape)} here, "
                    f"{dtype_name(known.number)} {list(known.shape)} in another shard.",
                    file=shard.name,
                    where=where,
                    remedy="The shards are of different checkpoints.",
                )
            known.slices += [(extents_of(piece), table) for piece in item.messages("slice")]

    def _add(self, name: str, tensor_meta: _TensorMeta, source: Source) -> None:
        where = f"tensor {name!r}"
        dtype = dtype_of(tensor_meta.number)
        if dtype is None:
            raise DamagedFileError(
                f"its data type is {tensor_meta.number}, which none has.",
                file=source.name,
                where=where,
            )
        parts, seen = [], set()
        for extents, table in tensor_meta.slices:
            if extents in seen:  # replicas of one variable state the same twice
                continue
            seen.add(extents)
            box = box_of(extents, tensor_meta.shape, table.source, where)
            read = functools.partial(_read, table, name, extents, tensor_meta.number, shape_in(box))
            parts.append(Part(box, read))
        described: dict[str, object] = {
            "dtype": dtype_name(tensor_meta.number),
            "shape": list(tensor_meta.shape),
        }
        if len(parts) > 1:
            described["slices"] = [shown(extents) for extents, _ in tensor_meta.slices]
        self.tensors[name] = decodable(joined(name, dtype, tensor_meta.shape, parts, source), where)
        self.described[name] = described


def _read(table: Table, name: str, extents: Extents, number: int, shape: tuple[int, ...]) -> Array:
    """One slice, from its place in the table."""
    where = f"tensor {name!r}" + (f", slice {shown(extents)}" if extents else "")
    try:
        value = table.get(slice_key(name.encode("utf-8"), extents))
        if value is None and not name.isascii():
            value = table.get(slice_key(name.encode("latin-1", "replace"), extents))
    except FormatError as error:
        error.where = f"{where}, {error.where}" if error.where else where
        raise
    found = None
    if value is not None:
        saved = SCHEMAS.read("SavedTensorSlices", value, table.source).message("data")
        message = None if saved is None else saved.message("data")
        if message is not None:
            found = tensor(message, where, number, shape)
            _check_count(found, shape, where, table.source)
    if found is None:
        raise DamagedFileError(
            "it is listed, but the table has no data for it.",
            file=table.source.name,
            where=where,
            remedy="The file is damaged.",
        )
    return encoded(found)


def _check_count(found: object, shape: tuple[int, ...], where: str, source: Source) -> None:
    """Nothing repeats here: a slice has as many values as its shape."""
    if found is not None and math.prod(shape) > 16 * source.size + 64:
        raise DamagedFileError(
            f"its shape {list(shape)} holds more values than the file has room for.",
            file=source.name,
            where=where,
            remedy="The file is damaged.",
        )

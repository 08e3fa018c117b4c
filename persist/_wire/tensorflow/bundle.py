"""Tensor bundles: a table of entries, and shards of raw bytes that it points into.

Sources: TensorFlow's ``core/util/tensor_bundle/tensor_bundle.cc`` (1.0 to 2.21)
and ``core/protobuf/tensor_bundle.proto``:

- ``<prefix>.index`` is a table (`sstable`) from names to ``BundleEntryProto``;
  the empty key holds the header (number of shards, byte order);
- ``<prefix>.data-<i>-of-<n>``: at the entry's offset the tensor's bytes; of
  strings their lengths as varints, the masked sum of the lengths, the bytes;
- a tensor that was saved in parts has no bytes of its own: its entry lists the
  parts, each of which has an entry under a key of its own (`slices`);
- each entry has the masked CRC-32C of its bytes; that of strings is over the
  lengths as 32-bit numbers, the sum of them as stored, and the bytes.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any

import attrs
import numpy as np

from persist._wire.base.ml_dtypes import decodable
from persist._wire.base.source import Source
from persist._wire.compression.crc32c import crc32c, mask
from persist._wire.databases.sstable import Table, key_text
from persist._wire.messages.protobuf import Message
from persist._wire.tensorflow.schemas import SCHEMAS, dtype_name, shape_of
from persist._wire.tensorflow.slices import (
    Part,
    box_of,
    extents_of,
    joined,
    shape_in,
    shown,
    slice_key,
)
from persist._wire.tensorflow.tensors import dtype_of, lengths_of, shape_checked, strings
from persist.errors import DamagedFileError, FormatError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = ["Bundle", "is_bundle_header", "object_graph", "shard_name"]

_GRAPH_KEYS = ("_CHECKPOINTABLE_OBJECT_GRAPH",)


def shard_name(prefix: str, number: int, count: int) -> str:
    """Return the name of a shard of a checkpoint."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}"


def is_bundle_header(value: memoryview) -> bool:
    """Whether the value of the empty key begins a bundle, and not a table of tensors.

    The header's first field is a number, that of the other kind a message.
    """
    return not len(value) or value[0] in (0x08, 0x10, 0x1A)


@attrs.frozen
class _Entry:
    """Where the bytes of a tensor, or of a part of one, lie."""

    where: str
    number: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sum: int | None


class Bundle:
    """The tensors of one checkpoint; shards are opened when a tensor in them is read.

    Args:
        index: the ``.index`` file; its neighbours are the shards.
        prefix: what the shards' names begin with.
        verify: "lazy" checks a tensor's sum when all of it is read (not of some rows), "always"
            all of them now, "never" none.
        salvage: leave out what cannot be read, and report it in ``damage``.

    Attributes:
        tensors: name -> `LazyArray`.
        described: name -> what the index says of it, JSON-able.
        damage: what was left out, in words.
        shards: how many there are.

    Raises:
        DamagedFileError: index and shards do not fit together.
    """

    def __init__(self, index: Source, prefix: str, verify: str, salvage: bool) -> None:
        self.index = index
        self.prefix = prefix
        self.verify = verify
        self.tensors: dict[str, LazyArray] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self.damage: list[str] = []
        self._opened: dict[int, Source] = {}
        table = Table(index, verify != "never")
        entries: dict[bytes, Message] = {}
        header = None
        for key, value in table.items():
            if key:
                index.spend(512)
                entries[key] = SCHEMAS.read("BundleEntryProto", value, index)
            else:
                header = SCHEMAS.read("BundleHeaderProto", value, index)
        if header is None:
            raise self._damaged("the table has no header, so it is no index of a checkpoint.")
        self.shards = header.integer("num_shards")
        self.order = ">" if header.integer("endianness") == 1 else "<"
        self.present = self._present()
        for key, entry in entries.items():
            if key[:1] == b"\0":  # a part of a tensor, which its own entry names
                continue
            name = key_text(key)
            try:
                self._add(name, key, entry, entries)
            except FormatError as error:
                if not salvage:
                    raise
                self.damage.append(f"{name}: left out, for {error}")

    def _present(self) -> dict[int, int | None]:
        """The shards that are there, and their sizes where that costs nothing."""
        if not 0 <= self.shards <= 99_999:
            raise self._damaged(f"the header claims {self.shards:,} shards.")
        names = set(self.index.children())
        found: dict[int, int | None] = {}
        for number in range(self.shards):
            if shard_name(self.prefix, number, self.shards) in names:
                found[number] = self.shard(number).size if self.index.is_mapped else None
        return found

    def shard(self, number: int) -> Source:
        """Return a shard, opened once."""
        known = self._opened.get(number)
        if known is None:
            name = shard_name(self.prefix, number, self.shards)
            known = self.index.sibling(name)
            if known is None or known.kind != "file":
                raise self._missing(number)
            self._opened[number] = known
        return known

    def _missing(self, number: int, where: str | None = None) -> DamagedFileError:
        name = shard_name(self.prefix, number, self.shards)
        return DamagedFileError(
            f"shard {number} of {self.shards}, {name}, is not there.",
            file=self.index.name,
            where=where,
            remedy="It belongs next to the index; salvage=True gives the tensors of the others.",
        )

    def _add(self, name: str, key: bytes, entry: Message, entries: dict[bytes, Message]) -> None:
        where = f"tensor {name!r}"
        number = entry.integer("dtype")
        dtype = dtype_of(number)
        shape = shape_checked(shape_of(entry.message("shape")), self.index, where)
        if dtype is None:
            raise self._damaged(f"its data type is {number}, which none has.", where)
        info: dict[str, object] = {"dtype": dtype_name(number), "shape": list(shape)}
        if entry.has("slices"):
            parts, info["slices"] = self._parts(key, entry, shape, entries)
            tensor = decodable(joined(name, dtype, shape, parts, self.index), where)
        else:
            place = self._place(entry, where, number, shape)
            info["shard"] = place.shard
            tensor = decodable(LazyArray(dtype, shape, *self._ways(place)), where)
        self.tensors[name] = tensor
        self.described[name] = info

    def _parts(
        self, key: bytes, entry: Message, shape: tuple[int, ...], entries: dict[bytes, Message]
    ) -> tuple[list[Part], list[str]]:
        """The parts of a tensor, each of which has an entry of its own."""
        where = f"tensor {key_text(key)!r}"
        number = entry.integer("dtype")
        parts, cuts = [], []
        for piece in entry.messages("slices"):
            extents = extents_of(piece)
            box = box_of(extents, shape, self.index, where)
            inner = f"{where}, part {shown(extents)}"
            found = entries.get(slice_key(key, extents))
            if found is None:
                raise self._damaged("it is listed, but has no entry.", inner)
            own = shape_checked(shape_of(found.message("shape")), self.index, inner)
            if found.integer("dtype") % 100 != number % 100 or own != shape_in(box):
                raise self._damaged(
                    f"its shape is {list(own)}, {list(shape_in(box))} is wanted.", inner
                )
            place = self._place(found, inner, number, own)
            parts.append(Part(box, *self._ways(place)))
            cuts.append(shown(extents))
        return parts, cuts

    def _place(self, entry: Message, where: str, number: int, shape: tuple[int, ...]) -> _Entry:
        """Where an entry's bytes lie, held against its shape and its shard."""
        place = _Entry(
            where,
            number,
            shape,
            entry.integer("shard_id"),
            entry.integer("offset"),
            entry.integer("size"),
            int.from_bytes(entry.data("crc32c"), "little") if entry.has("crc32c") else None,
        )
        if place.shard not in self.present:
            if 0 <= place.shard < self.shards:
                raise self._missing(place.shard, where)
            raise self._damaged(f"it lies in shard {place.shard} of {self.shards}.", where)
        dtype = dtype_of(place.number)
        if dtype is None:
            raise self._damaged(f"its data type is {place.number}, which none has.", where)
        wanted = math.prod(place.shape) * dtype.itemsize
        if not dtype.hasobject and place.size != wanted:
            raise self._damaged(
                f"{place.size:,} bytes are claimed, its shape {list(place.shape)} of "
                f"{dtype_name(place.number)} takes {wanted:,}.",
                where,
            )
        held = self.present[place.shard]
        if held is not None and not 0 <= place.offset <= place.offset + place.size <= held:
            raise DamagedFileError(
                f"it takes bytes {place.offset:,} to {place.offset + place.size:,} of a shard "
                f"that has {held:,}.",
                file=self.shard(place.shard).name,
                where=where,
                remedy="The shard is truncated, or belongs to another checkpoint.",
            )
        if self.verify == "always":
            self._read(place)
        return place

    def _ways(self, place: _Entry) -> tuple[Any, Any]:
        """How all of it is read, and some of its rows."""
        dtype = self._dtype(place)
        if dtype.hasobject or not place.shape or not place.shape[0]:
            return functools.partial(self._read, place), None
        step = place.size // place.shape[0]

        def rows(start: int, stop: int) -> Array:
            shape = (stop - start, *place.shape[1:])
            offset = place.offset + start * step
            return np.asarray(self.shard(place.shard).array(offset, dtype, shape))

        return functools.partial(self._read, place), rows

    def _dtype(self, place: _Entry) -> DType:
        dtype = dtype_of(place.number)
        assert dtype is not None
        if self.order == ">" and dtype.kind in "iufc" and not dtype.hasobject:
            return dtype.newbyteorder(">")
        return dtype

    def _read(self, place: _Entry) -> Array:
        """All of a tensor or part, its sum checked."""
        shard = self.shard(place.shard)
        dtype = self._dtype(place)
        if dtype.hasobject:
            return self._texts(shard, place)
        if self.verify != "never":
            self._check(shard, place, crc32c(shard.view(place.offset, place.size)))
        array = np.asarray(shard.array(place.offset, dtype, place.shape))
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))

    def _check(self, shard: Source, place: _Entry, found: int) -> None:
        if place.sum is not None and mask(found) != place.sum:
            raise DamagedFileError(
                f"the checksum of its {place.size:,} bytes is {mask(found):08x}, "
                f"the index has {place.sum:08x}.",
                file=shard.name,
                where=f"{place.where} at offset {place.offset}",
                remedy='The shard is damaged there; verify="never" gives the bytes unchecked.',
                checksum=True,
            )

    def _texts(self, shard: Source, place: _Entry) -> Array:
        """Strings, or variants (each length before its bytes, then a sum)."""
        data = shard.view(place.offset, place.size)
        if dtype_name(place.number) == "variant":
            return self._variants(data, shard, place)
        count = math.prod(place.shape)
        lengths, position = lengths_of(data, count, shard, place.where)
        stored = data[position : position + 4]
        position += 4
        forms = (struct.pack("<I" if size < 1 << 32 else "<Q", size) for size in lengths)
        total = crc32c(b"".join(forms))
        blobs = []
        for size in lengths:
            blobs.append(data[position : position + size])
            position += size
        if position != len(data):
            raise self._damaged(
                f"its strings take {position:,} bytes, {len(data):,} are there.", place.where
            )
        if self.verify != "never":
            total = crc32c(stored, total)
            self._check(shard, place, crc32c(data[position - sum(lengths) :], total))
        return strings(blobs, place.shape, shard, place.where)

    def _variants(self, data: memoryview, shard: Source, place: _Entry) -> Array:
        """Serialized objects: a length, the bytes, the masked sum of the bytes, for each."""
        blobs, position = [], 0
        count = math.prod(place.shape)
        for _ in range(min(count, len(data))):
            lengths, step = lengths_of(data[position:], 1, shard, place.where)
            start = position + step
            blobs.append(data[start : start + lengths[0]])
            position = start + lengths[0] + 4
        if position != len(data) or len(blobs) != count:
            raise self._damaged(
                f"its {count:,} objects take {position:,} bytes, {len(data):,} are there.",
                place.where,
            )
        return strings(blobs, place.shape, shard, place.where)

    def object_graph(self) -> dict[str, object] | None:
        """Return the graph of objects that wrote an object-based checkpoint, or None."""
        for key in _GRAPH_KEYS:
            found = self.tensors.get(key)
            if found is None or found.shape or not found.dtype.hasobject:
                continue
            data = memoryview(bytes(found.read()[()]))
            return object_graph(SCHEMAS.read("TrackableObjectGraph", data, self.index))
        return None

    def _damaged(self, what: str, where: str | None = None) -> DamagedFileError:
        return DamagedFileError(
            what,
            file=self.index.name,
            where=where,
            remedy="The checkpoint is damaged, or its files are of different ones.",
        )


def object_graph(graph: Message) -> dict[str, object]:
    """Return a ``TrackableObjectGraph`` as edges, attributes and slots, by the nodes' numbers."""
    edges: list[list[object]] = []
    attributes: list[dict[str, object]] = []
    slots: list[dict[str, Any]] = []
    savers: list[dict[str, object]] = []
    nodes = graph.messages("nodes")
    key_of: dict[int, str] = {}
    for number, node in enumerate(nodes):
        for child in node.messages("children"):
            edges.append([number, child.text("local_name"), child.integer("node_id")])
        for item in node.messages("attributes"):
            key_of.setdefault(number, item.text("checkpoint_key"))
            attributes.append(
                {
                    "node": number,
                    "name": item.text("name"),
                    "full_name": item.text("full_name"),
                    "checkpoint_key": item.text("checkpoint_key"),
                }
            )
        for slot in node.messages("slot_variables"):
            slots.append(
                {
                    "optimizer_node": number,
                    "original_node": slot.integer("original_variable_node_id"),
                    "slot_name": slot.text("slot_name"),
                    "slot_node": slot.integer("slot_variable_node_id"),
                }
            )
        saver = node.message("registered_saver")
        if saver is not None:
            savers.append(
                {"node": number, "name": saver.text("name"), "object": saver.text("object_name")}
            )
    for slot_told in slots:  # a slot bound to its variable, by the keys of both
        slot_told["variable"] = key_of.get(slot_told["original_node"])
        slot_told["value"] = key_of.get(slot_told["slot_node"])
    info = {"nodes": len(nodes), "edges": edges, "attributes": attributes, "slots": slots}
    return {**info, "registered_savers": savers} if savers else info

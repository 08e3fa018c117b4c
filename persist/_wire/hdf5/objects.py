"""HDF5's objects: groups and their links, attributes, datasets.

After the format specification, sections IV.A.2.c (link info), IV.A.2.g (links),
IV.A.2.m (attributes, versions 1 to 3), IV.A.2.r (symbol tables) and III.B, III.C;
``H5Gbtree2.c`` and ``H5Abtree2.c`` for the records of dense groups and attributes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from persist._wire.hdf5 import object_headers as headers
from persist._wire.hdf5.btrees import leaves, records
from persist._wire.hdf5.cursor import Fields, Frame
from persist._wire.hdf5.dataset import Dataset, Space, read_fill, read_layout, read_space
from persist._wire.hdf5.datatypes import Type, committed, read_type
from persist._wire.hdf5.filters import Pipeline
from persist._wire.hdf5.heaps import FractalHeap, LocalHeap
from persist._wire.hdf5.object_headers import Message, messages_of
from persist._wire.hdf5.values import text_of
from persist._wire.hdf5.virtual import VirtualDataset, grown, read_mappings
from persist.typing import Array

__all__ = ["Attribute", "Link", "Node", "node_at"]

_SHARED = 0x02
_HOPS = 16  # soft links followed to one dataset
_SHOWN = 16  # virtual datasets that show one another


@attrs.frozen
class Link:
    """A name in a group, and what it leads to.

    Attributes:
        name: in the group.
        address: of the object, or None of other kinds of link.
        path: of a soft link, within the file; of an external one, within the other file.
        file: the other file of an external link.
        order: number of its creation, where that is kept.
        user_kind: of a user-defined link its kind, 65 to 255, whose meaning only the program that
            wrote the file knows; else None.
    """

    name: str
    address: int | None = None
    path: str = ""
    file: str | None = None
    order: int = 0
    user_kind: int | None = None


@attrs.frozen
class Attribute:
    """An attribute: a named value attached to an object."""

    frame: Frame
    name: str
    type: Type
    space: Space
    data: memoryview

    @property
    def is_scalar(self) -> bool:
        """Whether it is one value and no array."""
        return not self.space.extents and not self.type.shape and not self.space.is_null

    def array(self) -> Array | None:
        """Return its elements as an array; None where it has none and no shape either."""
        if self.space.is_null:
            return None
        shape = self.space.extents + self.type.shape
        count = math.prod(shape)
        length = count * self.type.raw.itemsize
        if length > len(self.data):
            self.frame.damaged(
                f"{length:,} bytes are claimed, {len(self.data):,} are there",
                f"attribute {self.name!r}",
            )
        self.frame.source.spend(length)
        raw = np.ndarray(shape, self.type.raw, bytearray(self.data[:length]) if length else b"")
        return self.type.given(raw, self.frame)

    def value(self) -> Any:
        """Return text, a number, None or an array."""
        array = self.array()
        if array is None or not self.is_scalar:
            return array
        value: Any = array[()]
        return text_of(value) if isinstance(value, bytes) else value

    def texts(self) -> list[str]:
        """Return a list of names; bytes that are no UTF-8 keep theirs."""
        array = self.array()
        if array is None:
            return []
        return [
            item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item)
            for item in array.reshape(-1).tolist()
        ]


class Node:
    """One object: a group, a dataset or a named type.

    Attributes:
        frame: the file.
        address: of its header.
        kind: "group", "dataset" or "type".
    """

    __slots__ = ("_messages", "address", "frame", "kind")

    def __init__(self, frame: Frame, address: int) -> None:
        self.frame = frame
        self.address = address
        self._messages: dict[int, list[Message]] = {}
        for message in messages_of(frame, address):
            self._messages.setdefault(message.kind, []).append(message)
        kinds = self._messages.keys()
        if {headers.DATATYPE, headers.DATASPACE, headers.LAYOUT} <= kinds:
            self.kind = "dataset"
        elif kinds & {headers.SYMBOLS, headers.LINK_INFO, headers.LINK, headers.GROUP_INFO}:
            self.kind = "group"
        elif headers.DATATYPE in kinds:
            self.kind = "type"
        else:
            frame.damaged(
                "the object is no group, dataset or type", f"an object header at offset {address}"
            )

    def _one(self, kind: int) -> Message | None:
        found = self._messages.get(kind)
        return found[0] if found else None

    def _need(self, kind: int) -> Fields:
        return self._messages[kind][0].fields()

    # Links.

    def links(self) -> list[Link]:
        """Return the links of a group: in the order of their creation where that is kept."""
        symbols = self._one(headers.SYMBOLS)
        if symbols is not None:
            fields = symbols.fields()
            return _old_links(self.frame, fields.there(), fields.there())
        found = [_link(message.fields()) for message in self._messages.get(headers.LINK, ())]
        tracked = False
        info = self._one(headers.LINK_INFO)
        if info is not None:
            fields = info.fields()
            fields.version(0)
            flags = fields.byte()
            tracked = bool(flags & 1)
            fields.skip(8 if tracked else 0)
            heap, tree = fields.address(), fields.address()
            if heap is not None and tree is not None:
                found += _dense_links(self.frame, heap, tree)
        return sorted(found, key=lambda link: link.order if tracked else link.name)

    # Attributes.

    def attributes(self) -> list[Attribute]:
        """Return the attributes."""
        found = [
            _attribute(message.fields()) for message in self._messages.get(headers.ATTRIBUTE, ())
        ]
        info = self._one(headers.ATTRIBUTE_INFO)
        if info is None:
            return found
        fields = info.fields()
        fields.version(0)
        flags = fields.byte()
        fields.skip(2 if flags & 1 else 0)
        heap, tree = fields.address(), fields.address()
        if heap is not None and tree is not None:
            dense = list(_dense_attributes(self.frame, heap, tree))
            found += [one for _, one in sorted(dense, key=lambda pair: pair[0])]
        return found

    # Datasets.

    def type(self) -> Type:
        """Return the type of a dataset, or the named type."""
        return read_type(self._need(headers.DATATYPE))

    def dataset(self, where: str) -> Dataset:
        """Return the dataset.

        Raises:
            FormatError: it is stored in other files, or cannot be.
        """
        frame = self.frame
        if headers.EXTERNAL in self._messages:
            frame.refuse(
                "its elements are stored in another file, which is not followed.",
                where,
                "A file that names others can read whatever its reader may. Copy the data in with "
                "h5py, or open with salvage=True, which leaves this out.",
            )
        layout = read_layout(self._need(headers.LAYOUT))
        fill = None
        for kind in (headers.FILL_OLD, headers.FILL):
            message = self._one(kind)
            if message is not None:
                fill = read_fill(message.fields(), kind)
        filters = self._one(headers.FILTERS)
        pipeline = Pipeline(()) if filters is None else Pipeline.of(filters.fields())
        space = read_space(self._need(headers.DATASPACE))
        parts = frame, where, self.type(), space, layout, fill, pipeline
        return _virtual(*parts) if layout.kind == "virtual" else Dataset(*parts)


def node_at(frame: Frame, address: int) -> Node:
    """Return the object at an address, each once."""
    node = frame.known.get(("node", address))
    if node is None:
        node = frame.known["node", address] = Node(frame, address)
    return node


def _old_links(frame: Frame, tree: int, heap_address: int) -> list[Link]:
    key = "links", tree, heap_address
    if key in frame.known:
        return frame.known[key]  # type: ignore[no-any-return]
    heap = LocalHeap(frame, heap_address)
    found: list[Link] = []
    entry = 2 * frame.wide + 24
    for _, address in leaves(frame, tree, 0, frame.long):
        head = frame.block(address, 8, b"SNOD", "a group's node")
        head.version(1)
        head.skip(1)
        count = head.number(2)
        frame.work(count)
        fields = frame.fields(address + 8, count * entry, "a group's node")
        for _ in range(count):
            name, target, cached = fields.number(frame.wide), fields.address(), fields.number(4)
            fields.skip(4)
            scratch = fields.take(16)
            if cached == 2:  # a soft link: its path is stored in the heap
                path = heap.text(int.from_bytes(scratch[:4], "little"))
                found.append(Link(heap.text(name), path=path))
            else:
                if target is None:
                    fields.damaged("an entry leads nowhere")
                found.append(Link(heap.text(name), target))
    frame.known[key] = found
    return found


def _link(fields: Fields) -> Link:
    fields.version(1)
    flags = fields.byte()
    kind = fields.byte() if flags & 0x08 else 0
    order = fields.number(8) if flags & 0x04 else 0
    fields.skip(1 if flags & 0x10 else 0)
    name = fields.text(fields.number(1 << (flags & 3)))
    fields.frame.work(1 + (len(name) >> 4))
    if kind == 0:
        return Link(name, fields.there(), order=order)
    data = fields.take(fields.number(2))
    if kind == 1:
        return Link(name, path=data.decode("utf-8", "surrogateescape"), order=order)
    if kind == 64:
        file, _, path = data[1:].rstrip(b"\0").partition(b"\0")
        return Link(
            name,
            path=path.decode("utf-8", "surrogateescape"),
            file=file.decode("utf-8", "surrogateescape"),
            order=order,
        )
    if kind > 64:
        return Link(name, order=order, user_kind=kind)
    return fields.damaged(f"link {name!r} is of an unknown kind {kind}")


def _dense_links(frame: Frame, heap_address: int, tree: int) -> list[Link]:
    key = "links", tree, heap_address
    if key not in frame.known:
        heap = FractalHeap(frame, heap_address)
        found = []
        for record in records(frame, tree, 5):
            record.skip(4)
            found.append(_link(Fields(frame, heap.get(record.take(7)), heap_address, "a link")))
        frame.known[key] = found
    return frame.known[key]  # type: ignore[no-any-return]


def _dense_attributes(
    frame: Frame, heap_address: int, tree: int
) -> Iterator[tuple[int, Attribute]]:
    heap = FractalHeap(frame, heap_address)
    for record in records(frame, tree, 8):
        key, flags, order = record.take(8), record.byte(), record.number(4)
        if flags & _SHARED:
            fields = headers.heaped(frame, key, headers.ATTRIBUTE, record)
        else:
            fields = Fields(frame, heap.get(key), heap_address, "an attribute")
        yield order, _attribute(fields)


def _attribute(fields: Fields) -> Attribute:
    version = fields.version(1, 2, 3)
    flags = fields.byte()
    sizes = [fields.number(2) for _ in range(3)]
    fields.skip(1 if version == 3 else 0)
    parts = []
    for size in sizes:
        padded = size + (-size % 8 if version == 1 else 0)
        start = fields.start + fields.at
        parts.append(Fields(fields.frame, fields.view(padded)[:size], start, fields.what))
    name = bytes(parts[0].data).partition(b"\0")[0].decode("utf-8", "surrogateescape")
    fields.frame.work(1 + (len(name) >> 4))
    flags = flags if version > 1 else 0
    type = committed(parts[1]) if flags & 1 else read_type(parts[1])
    space = headers.shared(parts[2], headers.DATASPACE) if flags & 2 else parts[2]
    return Attribute(fields.frame, name, type, read_space(space), fields.view(fields.left))


# Virtual datasets.


def _virtual(
    frame: Frame, where: str, type: Type, space: Space, layout: Any, *rest: object
) -> Dataset:
    """A virtual dataset, with the extents that its parts make."""
    find = functools.partial(_found, frame)
    rank = len(space.extents)
    mappings = read_mappings(frame, layout.address, layout.alone[0], rank, where)
    space = grown(space, mappings, find)
    return VirtualDataset(mappings, find, frame, where, type, space, layout, *rest)


def _found(frame: Frame, path: str) -> Dataset | None:
    """The dataset at a path within the file, or None."""
    node: Node | None = frame.known["root"]
    steps = [step for step in path.split("/") if step not in ("", ".")][::-1]
    for _ in range(_HOPS + 2 * len(steps)):
        if node is None or not steps:
            break
        frame.work()
        step = steps.pop()
        link = _names(node).get(step)
        if link is None or link.file is not None or link.user_kind is not None:
            return None
        if link.address is None:
            if link.path.startswith("/"):
                node = frame.known["root"]
            steps += [step for step in link.path.split("/") if step not in ("", ".")][::-1]
        else:
            node = node_at(frame, link.address)
    if node is None or steps or node.kind != "dataset":
        return None
    return _made(frame, node, path)


def _names(node: Node) -> dict[str, Link]:
    """The links of a group by name, each group's once."""
    key = "names", node.address
    if key not in node.frame.known:
        found = node.links() if node.kind == "group" else []
        node.frame.known[key] = {link.name: link for link in found}
    return node.frame.known[key]  # type: ignore[no-any-return]


def _made(frame: Frame, node: Node, path: str) -> Dataset:
    """The dataset of an object, made once; one that shows itself is refused."""
    key = "dataset", node.address
    if key not in frame.known:
        depth = frame.known.get("virtual depth", 0)
        if depth >= _SHOWN:
            frame.damaged(f"virtual datasets show one another {depth} deep", f"dataset {path!r}")
        frame.known["virtual depth"] = depth + 1
        try:
            frame.known[key] = node.dataset(f"dataset {path!r}")
        finally:
            frame.known["virtual depth"] = depth
    return frame.known[key]  # type: ignore[no-any-return]

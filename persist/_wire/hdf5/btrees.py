"""HDF5's B-trees: of version 1 (old groups, chunks) and of version 2 (everything since 1.8).

After the format specification, sections III.A.1 and III.A.2; ``H5B2hdr.c`` and
``H5B2int.c`` for how many bytes a child's counts take.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from persist._wire.hdf5.cursor import Fields, Frame, width_of

__all__ = ["leaves", "records"]

_DEPTH = 64


def leaves(frame: Frame, address: int, kind: int, key: int) -> Iterator[tuple[bytes, int]]:
    """Yield the keys and children of the lowest level of a B-tree of version 1.

    Args:
        frame: the file.
        address: of the root.
        kind: 0 for a group's nodes, 1 for chunks.
        key: bytes of a key.
    """
    seen: set[int] = set()
    todo: list[tuple[int, int | None]] = [(address, None)]
    while todo:
        address, wanted = todo.pop()
        if address in seen:
            frame.damaged("it leads back to where it has been", f"a B-tree at offset {address}")
        seen.add(address)
        head = frame.block(address, 8 + 2 * frame.wide, b"TREE", "a B-tree")
        found, level, count = head.byte(), head.byte(), head.number(2)
        if found != kind:
            head.damaged(f"it is of kind {found}, not {kind}")
        if wanted is not None and level != wanted:
            head.damaged(f"it is of level {level}, not {wanted}")
        frame.work(count + 1)
        start = address + 8 + 2 * frame.wide
        fields = frame.fields(start, count * (key + frame.wide), "a B-tree")
        below = [(fields.take(key), fields.there()) for _ in range(count)]
        if level:
            todo += [(child, level - 1) for _, child in reversed(below)]
        else:
            yield from below


@attrs.frozen
class _Tree:
    """What the header of a B-tree of version 2 says."""

    frame: Frame
    kind: int
    node: int
    record: int
    counts: list[int]  # bytes of the number of records below, by depth
    width: int


def records(frame: Frame, address: int, kind: int) -> Iterator[Fields]:
    """Yield the records of a B-tree of version 2, in order.

    Args:
        frame: the file.
        address: of its header.
        kind: type of its records.
    """
    length = 4 + 2 + 4 + 2 + 2 + 2 + frame.wide + 2 + frame.long + 4
    head = frame.checked(address, length, b"BTHD", "a B-tree")
    head.version(0)
    found = head.byte()
    if found != kind:
        head.damaged(f"it holds records of type {found}, not {kind}")
    node, record, depth = head.number(4), head.number(2), head.number(2)
    head.skip(2)
    root, count = head.address(), head.number(2)
    if root is None:
        return
    if depth > _DEPTH or not record or node < 10 + record:
        head.damaged(f"a depth of {depth}, records of {record} and nodes of {node} cannot be")
    most = (node - 10) // record
    width = width_of(most)
    counts, total = [0], most
    for level in range(1, depth + 1):
        pointer = frame.wide + width + (counts[-1] if level > 1 else 0)
        inner = (node - 10 - pointer) // (record + pointer)
        if inner < 1:
            head.damaged(f"nodes of {node} bytes are too small")
        total = (inner + 1) * total + inner
        counts.append(width_of(total))
    yield from _walk(_Tree(frame, kind, node, record, counts, width), root, count, depth)


def _walk(tree: _Tree, root: int, count: int, depth: int) -> Iterator[Fields]:
    frame = tree.frame
    seen: set[int] = set()
    todo: list[Fields | tuple[int, int, int]] = [(root, count, depth)]
    while todo:
        item = todo.pop()
        if isinstance(item, Fields):
            yield item
            continue
        address, count, depth = item
        if address in seen:
            frame.damaged("it leads back to where it has been", f"a B-tree at offset {address}")
        seen.add(address)
        frame.work(count + 1)
        pointer = frame.wide + tree.width + (tree.counts[depth - 1] if depth > 1 else 0)
        length = 6 + count * tree.record + ((count + 1) * pointer if depth else 0) + 4
        if length > tree.node:
            frame.damaged(f"{count:,} records pass its node", f"a B-tree at offset {address}")
        fields = frame.checked(address, length, b"BTIN" if depth else b"BTLF", "a B-tree's node")
        fields.version(0)
        if fields.byte() != tree.kind:
            fields.damaged("its node is of another kind")
        own = [
            Fields(frame, fields.view(tree.record), address, "a B-tree's record")
            for _ in range(count)
        ]
        if not depth:
            yield from own
            continue
        children = []
        for _ in range(count + 1):
            child, below = fields.there(), fields.number(tree.width)
            fields.skip(tree.counts[depth - 1] if depth > 1 else 0)
            children.append((child, below, depth - 1))
        for number in range(count, -1, -1):
            if number < count:
                todo.append(own[number])
            todo.append(children[number])

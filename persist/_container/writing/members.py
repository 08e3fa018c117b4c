"""Which arrays of a tree are stored as members, and under what names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from persist._container import dtypes
from persist._container.names import are_plain, member_name
from persist._container.writing.blocks import Band, Pack, Stack, groups_of
from persist._container.writing.shared_memory import Block, Window, blocks_of
from persist.tree import LazyArray
from persist.typing import DType

__all__ = ["Item", "Members", "Packed", "place"]


class Item(NamedTuple):
    """An array found while encoding the tree.

    Attributes:
        node: the number of its node.
        path: its natural path; None in a `Band`, which knows it.
        array: an ndarray, or a `LazyArray`.
        head: what its node says before the member's number, where it is no array in the tree.
    """

    node: int
    path: Any
    array: Any
    head: list[Any] | None = None


class Members:
    """The arrays that are stored, in their order in the file.

    Attributes:
        names: of the members.
        arrays: ndarrays, `LazyArray`s, `Stack`s.
        dtypes: of the NPY headers, None for the array's own.
        paths: member name -> true path, where they differ.
        direct: numbers of those that are, as NPY says them, the array at their path; None: all.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.arrays: list[Any] = []
        self.dtypes: list[DType | None] = []
        self.paths: dict[str, str] = {}
        self.direct: set[int] | None = None
        self._taken: set[str] = set()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def indirect(self) -> list[int]:
        """Numbers of the members whose NPY content is not itself the array at their path."""
        if self.direct is None:
            return []
        return [number for number in range(len(self.names)) if number not in self.direct]

    def add(self, path: str, array: Any) -> int:
        """Store an array under the first free name; return its number."""
        number = len(self.names)
        name = member_name(path, number)
        if name in self._taken:
            count = 2
            while (name := member_name(f"{path}~{count}", number)) in self._taken:
                count += 1
            path = f"{path}~{count}"
        self._taken.add(name)
        if name != f"{path}.npy":
            self.paths[name] = path
        dtype = array.dtype
        stored = dtype if dtype.char in dtypes.SAID_BY_NPY else dtypes.member_dtype(dtype)
        self.names.append(name)
        self.arrays.append(array)
        self.dtypes.append(None if stored is dtype else stored)
        return number

    def add_apart(self, path: str, array: object) -> int:
        """Store a member whose NPY content is not itself the array at its path; return its number."""
        if self.direct is None:
            self.direct = set(range(len(self.names)))
            self._taken.update(self.names)
        return self.add(path, array)

    def add_plain(self, items: list[Item]) -> bool:
        """Store many arrays at once, if all names are free and equal their paths."""
        paths = [item.path for item in items]
        if len(set(paths)) != len(paths) or not are_plain(paths):
            return False
        arrays = [item.array for item in items]
        if not dtypes.SAID_BY_NPY.issuperset([array.dtype.char for array in arrays]):
            return False
        self.names += [f"{path}.npy" for path in paths]
        self.arrays += arrays
        self.dtypes += [None] * len(items)
        return True


def place(
    items: list[Item],
    nodes: list[Any],
    dtype_text: Callable[[Any], Any],
    bands: Sequence[Band] = (),
    pack: bool = True,
    members: Any = None,
) -> tuple[Members, list[Packed]]:
    """Decide what is stored for each array, and fill in their nodes.

    Args:
        items: the arrays, as they were met.
        nodes: of the graph.
        dtype_text: returns the text of a dtype inside a node.
        bands: of the items, those that are the fields of a table.
        pack: whether many small ones of one kind become one block.
        members: those that are there already (`persist._container.in_place.kept`); None for a new file.

    Returns:
        The members, and the blocks; nodes of arrays in blocks are not filled in.
    """
    old: list[Packed] = []
    if members is None:
        members = Members()
    else:
        items, old = members.take(items, nodes, dtype_text)
    raw = [
        (index, item.array)
        for index, item in enumerate(items)
        if item.head is None and type(item.array) is not LazyArray
    ]
    blocks = blocks_of(raw)
    shared: dict[int, tuple[Block, Window]] = {}
    for block in blocks:
        shared |= {window.number: (block, window) for window in block.windows}
    packs = groups_of(items, bands, shared.__contains__) if pack else []
    packed: set[int] = set()
    for one in packs:
        packed.update(one.indices)
    if not blocks and len(raw) == len(items) and not packs and members.add_plain(items):
        for number, item in enumerate(items):
            nodes[item.node] = number
        return members, []
    placed: dict[int, int] = {}
    direct: set[int] = set()
    for index, item in enumerate(items):
        if index in packed:
            continue
        if index not in shared:
            number = members.add(item.path, item.array)
            node = nodes[item.node] = _alone(item, number, members.dtypes[number], dtype_text)
            if type(node) is int:
                direct.add(number)
            continue
        block, window = shared[index]
        known = placed.get(id(block))
        if known is None:
            path = f"{item.path}~memory" if block.whole is None else items[block.whole].path
            known = placed[id(block)] = members.add(path, block.array)
        if index == block.whole and members.dtypes[known] is None:
            nodes[item.node] = known
            direct.add(known)
        else:
            dtype, shape = dtype_text(item.array.dtype), list(item.array.shape)
            nodes[item.node] = ["view", known, dtype, shape, list(window.strides), window.offset]
    members.direct = direct.union(members.direct or ())
    return members, [*old, *(_stacked(one, items, members) for one in packs)]


class Packed(NamedTuple):
    """A block of arrays that is stored as a member.

    Attributes:
        number: of the member.
        nodes: the numbers that the arrays' nodes have, in the order of its first axis.
        paths: their natural paths, or None where they are not listed.
    """

    number: int
    nodes: list[int]
    paths: list[str] | None


def _stacked(pack: Pack, items: list[Item], members: Members) -> Packed:
    own = [items[index] for index in pack.indices]
    number = members.add_apart(pack.path, Stack([item.array for item in own]))
    paths = [item.path for item in own] if pack.is_listed else None
    return Packed(number, [item.node for item in own], paths)


def _alone(item: Item, number: int, stored: object, dtype_text: Callable[[Any], object]) -> object:
    if item.head is not None:
        return [*item.head, number]
    if stored is None:
        return number
    return ["view", number, dtype_text(item.array.dtype), None, None, 0]

"""What is whole of a damaged container: the tree with what is lost left out of reach, or its arrays.

Every member that is given has the CRC that the archive states (`ZipDirectory.whole`). Where graph and
index are whole, the tree is built as always, and an array whose member is lost raises when it is read.
Otherwise only the arrays are given, by the names of their members, as ``numpy.load`` gives them.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np

from persist._container.checksums import crc32
from persist._container.layout import GRAPH, INDEX, INDIRECT, MANIFEST, READABLE
from persist._container.names import path_of
from persist._container.reading.decode import decode
from persist._container.reading.directory import Entry
from persist._container.reading.store import Store
from persist._wire.archives.zip import Member, ZipDirectory
from persist._wire.base.source import Source
from persist._wire.npy.npy import read_header
from persist.errors import DamagedFileError, FutureVersionError
from persist.tree import LazyArray
from persist.typing import DType, StoredArray

__all__ = ["salvaged"]

_CONTROL = (".persist/", ".generations/")


def salvaged(source: Source, damage: list[str]) -> tuple[object, dict[str, object]]:
    """Return the tree of what is whole, and the manifest, empty where it is lost.

    Args:
        source: a container that is cut off or altered.
        damage: takes what is lost.

    Raises:
        FutureVersionError: the manifest is whole, and of a newer version.
    """
    directory = ZipDirectory.whole(source, damage)
    manifest = _json(directory, MANIFEST)
    if type(manifest) is not dict:
        manifest = {}
    version = manifest.get("version", max(READABLE))
    if type(version) is int and version > max(READABLE):
        raise FutureVersionError(
            f"the container is of version {version}.",
            file=source.name,
            remedy=f"This program reads versions 1 to {max(READABLE)}. Install a newer persist.",
        )
    graph, index = _json(directory, GRAPH), _index(directory)
    if graph is not None and index is not None:
        store = _WholeMembers(directory, index, manifest)
        try:
            tree = decode(graph, store, source.limits, source.name)
        except DamagedFileError as error:
            damage.append(f"the structure cannot be built without what is lost: {error.what}")
        else:
            return tree, manifest or {"globals": sorted(_names_in(graph))}
    else:
        lost = GRAPH if graph is None else INDEX
        damage.append(
            f"{lost} is lost, and with it all that is no array: the arrays are given by the names of their "
            "members; what several arrays shared is NAME~memory"
        )
    return _by_name(directory, index, damage), manifest


def _names_in(graph: Any) -> set[str]:
    """The dotted names of classes and functions in a graph that could be decoded."""
    pairs = [shape[key] for shape in graph["shapes"] for key in ("class", "maker") if key in shape]
    pairs += [node[1:3] for node in graph["nodes"] if type(node) is list and node[0] == "global"]
    return {f"{module}.{name}" if module else name for module, name in filter(None, pairs)}


def _json(directory: ZipDirectory, name: str) -> Any:
    data = _control(directory, name)
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None


def _control(directory: ZipDirectory, name: str) -> bytes | None:
    member = directory.find(name)
    if member is None:
        return None
    inner = directory.open(member)
    return bytes(inner.view(0, inner.size))


def _index(directory: ZipDirectory) -> Any:
    """The index, an array of shape (2, N); None where it is lost."""
    data = _control(directory, INDEX)
    if data is None:
        return None
    header = read_header(directory.source.nested(data, f"member {INDEX!r}").cursor())
    if header.dtype != np.dtype("<u8") or len(header.shape) != 2 or header.shape[0] != 2:
        return None
    if header.length + header.nbytes != len(data):
        return None
    return np.frombuffer(data, header.dtype, offset=header.length).reshape(header.shape)


def _numbers(directory: ZipDirectory, index: Any) -> dict[int, Member]:
    """The array members by number, which the index knows by the CRC of their names."""
    by_crc: dict[int, list[int]] = {}
    for row in index[1].tolist():
        by_crc.setdefault(row >> 32, []).append(row & 0xFFFFFFFF)
    found: dict[int, Member] = {}
    for member in directory.members:
        numbers = by_crc.get(crc32(member.raw), [])
        # The index is not checked against its digest here: a number may lie beyond its columns.
        if len(numbers) == 1 and numbers[0] < index.shape[1] and _is_array(member):
            found[numbers[0]] = member
    return found


def _is_array(member: Member) -> bool:
    return member.name.endswith(".npy") and not member.name.startswith(_CONTROL)


def _by_name(directory: ZipDirectory, index: Any, damage: list[str]) -> dict[str, object]:
    """The arrays by the names of their members; without those that mean something else than NPY says."""
    numbers = {} if index is None else _numbers(directory, index)
    indirect = {
        member.name for number, member in numbers.items() if int(index[0, number]) & INDIRECT
    }
    tree: dict[str, object] = {}
    for member in directory.members:
        if not _is_array(member):
            continue
        inner = directory.open(member)
        header = read_header(inner.cursor())
        if member.name in indirect or header.dtype.kind == "V" or header.dtype.char in "gG":
            damage.append(
                f"member {member.name!r} is whole and left out: only the structure that is lost states "
                "what its bytes mean"
            )
            continue
        if header.dtype.hasobject or header.length + header.nbytes != inner.size:
            damage.append(f"member {member.name!r} is no array as persist writes it")
            continue
        tree[path_of(member.name)] = inner.array(
            header.length, header.dtype, header.shape, header.order
        )
    return tree


class _WholeMembers(Store):
    """The arrays of a damaged container: those whose members are whole; the others raise when read."""

    def __init__(self, directory: ZipDirectory, index: Any, manifest: dict[str, object]) -> None:
        self._begin(directory.source, "lazy")
        self.manifest = manifest
        self._count = index.shape[1]
        self._index = index
        self._directory = directory.source.size
        self._digest = self._digests = None
        self._members = _numbers(directory, index)

    def entry(self, number: int) -> Entry:
        """Return the entry of an array member, as its local header states it."""
        member = self._members[number]
        return Entry(
            member.raw, member.method, member.crc, member.compressed, member.size, member.offset, 0
        )

    def wholes(self) -> None:
        """None: arrays are made one by one."""

    def rows(self, number: int, count: int) -> list[StoredArray]:
        """Return the arrays along the first axis of a member.

        Raises:
            DamagedFileError: the member is lost.
        """
        if number not in self._members:
            self._lost(number)
        return super().rows(number, count)

    def view(
        self,
        number: int,
        dtype: DType | None,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> Any:
        """Return an array upon the data of a member; one that is lost raises when it is read."""
        if number in self._members:
            return super().view(number, dtype, shape, strides, offset)
        return LazyArray(dtype or np.dtype("V1"), shape or (), lambda: self._lost(number))

    def _lost(self, number: int) -> NoReturn:
        raise self.damaged("its member is lost: the file is cut off or altered.", f"array {number}")

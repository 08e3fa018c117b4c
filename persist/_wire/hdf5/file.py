"""HDF5 without its library: what is in a file, found lazily, bounded, and never outside of it.

A parser in pure Python, for the reasons given in ``docs/hdf5.md``: a hostile file costs an
exception and not a process, nothing follows a link out of the file or loads a
plugin, a part of another file (a ZIP, a URL) is read in place, and arrays
are maps of the file.

After the "HDF5 File Format Specification Version 3.0" of The HDF Group; this module
has section II (the superblock, versions 0 to 3), the others have theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from persist._wire.base.source import Source
from persist._wire.hdf5.cursor import Frame
from persist._wire.hdf5.dataset import Dataset
from persist._wire.hdf5.object_headers import SHARED_TABLE, messages_of, read_shared_table
from persist._wire.hdf5.objects import Attribute, Link, Node, node_at
from persist._wire.hdf5.signature import begins_at
from persist._wire.hdf5.virtual import VirtualDataset
from persist.errors import DamagedFileError, FormatError, LimitError, MissingExtraError
from persist.tree import LazyArray

__all__ = ["Attribute", "Hdf5", "Walk", "attribute_json", "begins_at", "merge"]


_SPELLED = 1 << 27  # characters of all paths: a deep file has long ones
_DAMAGES = 1000  # reports of damage that are kept
_HOPS = 16  # soft links behind soft links


class Hdf5:
    """One HDF5 file.

    Attributes:
        frame: its bytes.
        version: of the superblock.
        user_block: bytes before it that are the user's own.
        root: the root group.
        damage: what was wrong and passed over.
    """

    def __init__(self, source: Source, *, verify: bool = True, salvage: bool = False) -> None:
        """Read the superblock.

        Args:
            source: the file.
            verify: compare the checksums of metadata.
            salvage: skip damaged parts, and report them in ``damage``.

        Raises:
            FormatError: there is none, or the file is cut off.
        """
        self.damage: list[str] = []
        self.salvage = salvage
        begin = begins_at(source)
        if begin is None:
            raise DamagedFileError("no HDF5 signature is in it.", file=source.name)
        self.user_block = begin
        if begin:
            source = source.window(begin, source.size - begin)
        head = source.head(16)
        self.version = head[8]
        wide, long = (head[13], head[14]) if self.version < 2 else (head[9], head[10])
        self.frame = Frame(source, wide, long, verify)
        if wide not in (2, 4, 8) or long not in (2, 4, 8):
            self.frame.damaged(
                f"addresses of {wide} and lengths of {long} bytes cannot be", "the superblock"
            )
        root = self._old() if self.version < 2 else self._new()
        self.root = self.frame.known["root"] = node_at(self.frame, root)

    def _old(self) -> int:
        frame = self.frame
        fixed = 24 if self.version == 0 else 28
        fields = frame.fields(0, fixed + 6 * frame.wide + 8 + 16, "the superblock")
        fields.skip(fixed)
        base = fields.address() or 0
        fields.address()
        end = fields.there()
        driver = fields.address()
        # The driver comes first: the parts of a split file are shorter than the whole.
        if driver is not None and driver + 16 <= frame.source.size:
            name = frame.fields(driver, 16, "a driver's block").take(16)[8:]
            self._refuse_driver(name)
        self._whole(end - base)
        fields.address()
        return fields.there()

    def _new(self) -> int:
        frame = self.frame
        fields = frame.fields(0, 12 + 4 * frame.wide + 4, "the superblock")
        frame.check(fields.data, fields)
        fields.skip(12)
        base, extension, end, root = (
            fields.address() or 0, fields.address(), fields.there(), fields.there(),
        )  # fmt: skip
        messages = self._extension(extension, is_cut=end - base > frame.source.size)
        for message in messages:
            if message.kind == 0x14:
                self._refuse_driver(bytes(message.data[1:9]))
        self._whole(end - base)
        for message in messages:
            if message.kind == SHARED_TABLE:
                read_shared_table(frame, message)
        return root

    def _extension(self, address: int | None, is_cut: bool) -> list[Any]:
        """The messages of the superblock's extension; none where a cut file has lost them."""
        if address is None:
            return []
        try:
            return list(messages_of(self.frame, address))
        except DamagedFileError:
            if not is_cut:
                raise
            return []  # `_whole` says why

    def _whole(self, end: int) -> None:
        size = self.frame.source.size
        if end <= size:
            return
        what = f"the file is truncated: it should have {end:,} bytes, but has {size:,}"
        if not self.salvage:
            self.frame.damaged(
                what,
                "the superblock",
                "Copy it again; salvage=True gives what is whole.",
            )
        self.damage.append(what)

    def _refuse_driver(self, name: bytes) -> None:
        if name.startswith((b"NCSAfami", b"NCSAmult")):
            self.frame.refuse(
                f"it is one part of a file that was split ({name.decode('latin-1')}).",
                "the superblock",
                "Put it together with h5repart or h5repack, and open that.",
            )

    def walk(self, root: Node | None = None) -> Walk:
        """Return everything below a group, the root as a rule."""
        return Walk(self, self.root if root is None else root)


@attrs.define
class _Soft:
    """A soft link that waits for what it leads to."""

    group: dict[str, Any]
    name: str
    path: str
    where: str


class Walk:
    """All groups as dicts and all datasets as arrays; what is shared in the file is shared here.

    Attributes:
        file: the file.
        tree: the group that was walked from.
        paths: address of an object -> the first path that leads to it.
        nodes: path -> object, the first path only.
        datasets: path -> dataset.
        soft: path -> what a soft link there says.
    """

    def __init__(self, file: Hdf5, root: Node) -> None:
        self.file = file
        self.paths: dict[int, str] = {}
        self.nodes: dict[str, Node] = {}
        self.datasets: dict[str, Dataset] = {}
        self.soft: dict[str, str] = {}
        self._made: dict[int, Any] = {}
        self._waiting: list[_Soft] = []
        self._spelled = 0
        file.frame.known["paths"] = self.paths
        self.tree: dict[str, Any] = self._object(root, "")
        self._links(root)
        self._settle()

    def _object(self, node: Node, path: str) -> Any:
        """The value of an object that is met for the first time; a group is still empty."""
        self._spelled += len(path)
        if self._spelled > _SPELLED:
            raise LimitError(
                f"the paths of its {len(self.nodes):,} objects take more than {_SPELLED:,} "
                "characters.",
                file=self.file.frame.source.name,
                remedy="The file is made to fill memory, or nested far deeper than any.",
            )
        self.paths[node.address] = path or "/"
        self.nodes[path] = node
        if node.kind == "group":
            value: Any = {}
        elif node.kind == "dataset":
            dataset = self.datasets[path] = node.dataset(f"dataset {path!r}")
            value = dataset.array()
            for one in dataset.pipeline.unknown:
                self.file.damage.append(
                    f"dataset {path!r} is stored with filter {one.number} ({one.title}), "
                    "which is not undone here"
                )
        else:
            value = node.type().dtype
        self._made[node.address] = value
        return value

    def _links(self, root: Node) -> None:
        todo = [(root, "")]
        while todo:
            node, path = todo.pop()
            group = self._made[node.address]
            below: list[tuple[Node, str]] = []
            for link in self.passing(node.links, path, []):
                where = f"{path}/{link.name}" if path else link.name
                leads = functools.partial(self._leads, link, where, below)
                value = self.passing(leads, where, None)
                if value is _SOFT:
                    self._waiting.append(_Soft(group, link.name, link.path, where))
                    group[link.name] = None
                elif value is not None:
                    group[link.name] = value
            todo += reversed(below)

    def _leads(self, link: Link, where: str, below: list[tuple[Node, str]]) -> object:
        if not link.name or "/" in link.name:
            self.file.frame.damaged(f"a link cannot be named {link.name!r}", f"link {where!r}")
        if link.file is not None:
            self.file.frame.refuse(
                f"it is a link into another file ({link.file!r}), which is not followed.",
                f"link {where!r}",
                "A file that names others can read whatever its reader may. Open that file "
                "itself, or open with salvage=True, which leaves this out.",
            )
        if link.user_kind is not None:
            self._report(
                where,
                f"it is a link of kind {link.user_kind}, which only the program that wrote the "
                "file can follow; it is left out",
            )
            return None
        if link.address is None:
            self.soft[where] = link.path
            return _SOFT
        if link.address in self._made:
            return self._made[link.address]
        node = node_at(self.file.frame, link.address)
        value = self._object(node, where)
        if node.kind == "group":
            below.append((node, where))
        return value

    def passing(self, make: Callable[[], Any], where: str, instead: object) -> Any:
        """Call a function; with ``salvage``, report damage in it and continue."""
        try:
            return make()
        except (FormatError, MissingExtraError) as error:
            if not self.file.salvage or isinstance(error, LimitError):
                raise
            self._report(where, error.what)
            return instead

    def _report(self, where: str, what: str) -> None:
        """Add to the file's damage, as long as the list is short."""
        if len(self.file.damage) < _DAMAGES:
            self.file.damage.append(f"{where[:200] or '/'}: {what}")

    def _settle(self) -> None:
        """Put what soft links lead to in their places; those that lead nowhere go."""
        for _ in range(_HOPS):
            left = []
            for soft in self._waiting:
                value = self._at(soft)
                if value is None:
                    left.append(soft)
                else:
                    soft.group[soft.name] = value
            if len(left) == len(self._waiting):
                break
            self._waiting = left
        for soft in self._waiting:
            soft.group.pop(soft.name, None)

    def _at(self, soft: _Soft) -> Any:
        value: Any = self.tree if soft.path.startswith("/") else soft.group
        steps = [step for step in soft.path.split("/") if step not in ("", ".")]
        self.file.frame.work(len(steps))
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
            if value is None:
                return None
        return value

    def value_at(self, path: str) -> Any:
        """Return the value of the object that `nodes` has under a path."""
        return self._made[self.nodes[path].address]

    def holder(self, path: str) -> tuple[dict[str, Any], str]:
        """Return the group that holds an object, and its name there."""
        above, _, own = path.rpartition("/")
        return self.value_at(above), own

    def nodes_under(self, path: str) -> bool:
        """Whether there is a group at a path."""
        node = self.nodes.get(path)
        return node is not None and node.kind == "group"

    # Attributes.

    def attributes(self) -> Iterator[tuple[str, Attribute]]:
        """Yield (path, attribute) of every object."""
        for path, node in self.nodes.items():
            for attribute in self.passing(node.attributes, f"attributes of {path or '/'!r}", []):
                yield path, attribute

    def value(self, path: str, attribute: Attribute) -> Any:
        """Return an attribute's value; None of a broken one that is passed over."""
        return self.passing(
            attribute.value, f"attribute {attribute.name!r} of {path or '/'!r}", None
        )

    def described(self) -> dict[str, object]:
        """Return what is no array: attributes, soft links, how datasets are stored."""
        attributes: dict[str, dict[str, object]] = {}
        for path, attribute in self.attributes():
            value = self.value(path, attribute)
            attributes.setdefault(path or "/", {})[attribute.name] = attribute_json(value)
        return {
            "superblock": self.file.version,
            "user_block": self.file.user_block,
            "attributes": attributes,
            "soft_links": dict(self.soft),
            "datasets": {path: _stored(dataset) for path, dataset in self.datasets.items()},
        }


_SOFT: object = object()


def _stored(dataset: Dataset) -> dict[str, object]:
    described: dict[str, object] = {
        "shape": list(dataset.shape),
        "dtype": dataset.type.dtype.name,
        "layout": dataset.layout.kind,
    }
    if dataset.type.details:
        described["type"] = dataset.type.details
    if isinstance(dataset, VirtualDataset):
        described["parts"] = list(dict.fromkeys(mapping.name for mapping in dataset.mappings))
    if dataset.grid is not None:
        described["chunks"] = list(dataset.grid.chunk)
        described["filters"] = [one.title for one in dataset.pipeline.filters]
    return described


def attribute_json(value: object) -> object:
    """Return an attribute's value as JSON can hold it; bytes as latin-1 text."""
    if isinstance(value, LazyArray):
        value = value.read()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist() if value.dtype.kind not in "V" or value.dtype.names else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(key): attribute_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [attribute_json(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    return str(value)


def merge(tree: dict[str, object], other: dict[str, object]) -> None:
    """Put the groups of one file into those of another, at every level: shards of one whole."""
    seen: set[tuple[int, int]] = set()
    todo = [(tree, other)]
    while todo:
        into, part = todo.pop()
        if (id(into), id(part)) in seen or into is part:
            continue
        seen.add((id(into), id(part)))
        for name, value in part.items():
            known = into.get(name)
            if isinstance(known, dict) and isinstance(value, dict):
                todo.append((known, value))
            else:
                into[name] = value

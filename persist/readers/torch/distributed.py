"""``torch.distributed.checkpoint``: a folder of parts, and an index of them in ``.metadata``.

Written by  PyTorch since 1.12 (``torch.distributed.checkpoint.save``, ``save_state_dict``);
            through it Lightning, Accelerate, torchtitan and others, for FSDP.
Evidence    ``torch/distributed/checkpoint/metadata.py``, ``filesystem.py``,
            ``default_planner.py`` and ``_nested_dict.py`` of 2.0 to 2.13.
Traps       A part (``__0_0.distcp``) is a sequence of complete ``torch.save`` files; read as a
            single file, it opens as the last of them. Keys are joined by dots, and the
            original paths are in ``planner_data``, where list indices are integers and
            keys of dicts always text. An item may be compressed by zstd.
Gives       The state as it was saved. A tensor is assembled from its chunks when it is read;
            until then the parts are not read.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.base.ml_dtypes import decodable, dtype_name, encoded
from persist._wire.base.source import Source
from persist._wire.torch.storage import dtype_of, kind_of
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.tree import Global, LazyArray, Record
from persist.typing import Array, DType

__all__ = ["DistributedReader"]

_METADATA = ".metadata"
_PART = ".distcp"
_MARK = regex(rb"torch\.distributed\.(_shard\.)?checkpoint")
_HEAD = 128  # bytes in which the class of the metadata is named
_LARGEST = 1 << 30  # bytes of metadata

Index = tuple[str, tuple[int, ...]]


class _Place(NamedTuple):
    """Where one item lies."""

    file: str
    offset: int
    length: int
    is_packed: bool


class DistributedReader(Reader):
    """Distributed checkpoints: named by their folder, by ``.metadata``, or by a part."""

    name = "torch-distributed"
    suffixes = (_PART,)
    refines = ("pickle", "torch-zip", "series")

    def claims(self, source: Source) -> str | None:
        metadata = _metadata(source)
        if metadata is None:
            return None
        if source.kind == "folder":
            return f'a folder with "{_METADATA}" of torch.distributed'
        name = source.basename
        if name == _METADATA:
            return "a pickle of torch.distributed's metadata"
        if name.encode() in bytes(metadata.view(0, min(metadata.size, _LARGEST))):
            return f'a part that "{_METADATA}" next to it names'
        return None

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin, machine_for

        metadata = _metadata(source)
        if metadata is None:
            raise DamagedFileError(f'no "{_METADATA}" is in it any more.', file=source.name)
        machine = machine_for(metadata, Origin(metadata))
        catalog = _Catalog(machine.load(metadata.cursor()), metadata)
        parts = _Parts(source, options)
        damage: list[str] = []
        values: dict[str, Any] = {}
        for name, item in catalog.items.items():
            try:
                values[name] = _value(name, item, catalog, parts)
            except DamagedFileError as error:
                if not options.salvage:
                    raise
                damage.append(str(error))

        def structure() -> dict[str, Any]:
            return {
                "container": "folder",
                "files": sorted({place.file for place in catalog.places.values()}),
                "globals": sorted(f"{ref.module} {ref.name}" for ref in machine.globals.values()),
                "tensors": {
                    name: {"chunks": len(chunks)}
                    for name, item in catalog.items.items()
                    if (chunks := item.fields().get("chunks"))
                },
            }

        tree = _nested(values, catalog.paths)
        return Content(
            tree, structure=structure, damage=damage, globals={*machine.globals, "torch"}
        )


def _metadata(source: Source) -> Source | None:
    """The metadata of a folder, or of the folder that a file lies in; or None."""
    if "torch-distributed" not in source.memo:
        source.memo["torch-distributed"] = _found(source)
    found: Source | None = source.memo["torch-distributed"]
    return found


def _found(source: Source) -> Source | None:
    if source.kind == "folder":
        found = source.child(_METADATA)
    elif source.kind == "file" and source.path and source.basename.endswith(_PART):
        found = source.sibling(_METADATA)
    elif source.kind == "file" and source.basename == _METADATA:
        found = source
    else:
        return None
    if found is None or found.kind != "file" or not 2 < found.size <= _LARGEST:
        return None
    head = found.head(_HEAD)
    return found if head[:1] == b"\x80" and _MARK.search(head) else None


class _Catalog:
    """The parsed metadata.

    Attributes:
        items: key -> the record that describes a tensor, or other bytes.
        places: (key, first index along each axis) -> where the item lies.
        paths: key -> the steps that it was made of.
    """

    def __init__(self, tree: object, source: Source) -> None:
        self._source = source
        fields = tree.fields() if isinstance(tree, Record) else {}
        items, places = fields.get("state_dict_metadata"), fields.get("storage_data")
        if not isinstance(items, dict) or not isinstance(places, dict):
            raise self.damaged("it lists no items and places.")
        self.items: dict[str, Record] = {}
        for name, item in items.items():
            if not isinstance(name, str) or not isinstance(item, Record):
                raise self.damaged(f"{str(name)[:80]!r} is not described by a record.")
            self.items[name] = item
        self.places: dict[Index, _Place] = {}
        for index, place in places.items():
            if not isinstance(index, Record) or not isinstance(place, Record):
                raise self.damaged(f"{str(index)[:80]!r} names no place.")
            named = index.fields()
            offset = named.get("offset")
            key = (str(named.get("fqn")), () if offset is None else self.numbers(offset))
            self.places[key] = self._place(place.fields())
        paths = fields.get("planner_data")
        self.paths: dict[str, tuple[str | int, ...]] = {
            name: path
            for name, path in (paths.items() if isinstance(paths, dict) else ())
            if isinstance(path, tuple) and path and all(type(step) in (str, int) for step in path)
        }

    def _place(self, fields: dict[Any, object]) -> _Place:
        file, offset, length = (fields.get(name) for name in ("relative_path", "offset", "length"))
        if not isinstance(file, str) or type(offset) is not int or type(length) is not int:
            raise self.damaged(f"an item lies at {(file, offset, length)!r:.80}.")
        return _Place(file, offset, length, bool(fields.get("transform_descriptors")))

    def numbers(self, value: object) -> tuple[int, ...]:
        """Return a shape, or the place of a chunk, which are recorded as ``torch.Size``."""
        if isinstance(value, Record) and len(value.args) == 1:
            value = value.args[0]
        if not isinstance(value, tuple | list) or not all(
            type(number) is int and 0 <= number < 1 << 48 for number in value
        ):
            raise self.damaged(f"{str(value)[:80]!r} is no shape.")
        return tuple(value)

    def damaged(self, what: str) -> DamagedFileError:
        """Return the error that says what is wrong with it."""
        return DamagedFileError(what, file=self._source.name, remedy="The metadata is damaged.")


class _Parts:
    """The files of a checkpoint, each opened once, and the items in them."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._options = options
        self._open: dict[str, Source] = {}

    def of(self, place: _Place, name: str) -> Source:
        """Return the bytes of an item.

        Raises:
            DamagedFileError: its file is missing, or too short.
        """
        source = self._open.get(place.file)
        if source is None:
            take = self._source.child if self._source.kind == "folder" else self._source.sibling
            found = take(place.file)
            if found is None or found.kind != "file":
                raise DamagedFileError(
                    f"{place.file!r} is missing, which holds {name!r}.",
                    file=self._source.name,
                    remedy="Put all parts into one folder, under the names that they were saved with.",
                )
            source = self._open[place.file] = found
        return source.window(place.offset, place.length, f"{name!r}")

    def tree(self, source: Source) -> Any:
        """Return what an item holds: it is a file of torch's own."""
        if self._options.open_nested is None:
            raise FormatError("what is inside cannot be opened here.", file=source.name)
        alone = source.nested(source.view(0, source.size), "")  # without the neighbours of its file
        return self._options.open_nested(alone).tree


def _value(name: str, item: Record, catalog: _Catalog, parts: _Parts) -> object:
    """A tensor, made of its chunks when it is read; of other things what was saved."""
    fields = item.fields()
    if "chunks" not in fields:
        return parts.tree(parts.of(_at((name, ()), catalog), name))
    shape = catalog.numbers(fields.get("size"))
    dtype = dtype_of(_kind(name, fields.get("properties"), catalog))
    chunks = fields["chunks"]
    if not isinstance(chunks, list) or not all(isinstance(chunk, Record) for chunk in chunks):
        raise catalog.damaged(f"the chunks of {name!r} are {str(chunks)[:80]!r}.")
    pieces: list[tuple[tuple[slice, ...], Source, _Place]] = []
    covered = 0
    for chunk in chunks:
        start, extent = (catalog.numbers(chunk.fields().get(part)) for part in ("offsets", "sizes"))
        inside = tuple(slice(at, at + length) for at, length in zip(start, extent, strict=False))
        if len({len(start), len(extent), len(shape)}) > 1 or any(
            part.stop > whole for part, whole in zip(inside, shape, strict=True)
        ):
            raise catalog.damaged(
                f"a chunk of {extent} at {start} is no part of {name!r} of {shape}."
            )
        place = _at((name, start), catalog)
        pieces.append((inside, parts.of(place, name), place))
        covered += math.prod(extent)
    if covered != math.prod(shape):
        raise catalog.damaged(f"the chunks of {name!r} hold {covered:,} elements of {shape}.")
    fetch = functools.partial(_whole, dtype, shape, pieces, parts.tree)
    return decodable(LazyArray(dtype, shape, fetch), f"tensor {name!r}")


def _at(index: Index, catalog: _Catalog) -> _Place:
    place = catalog.places.get(index)
    if place is None:
        raise catalog.damaged(f"the place of {index[0]!r} at {index[1]} is not given.")
    return place


def _kind(name: str, properties: object, catalog: _Catalog) -> str:
    """The dtype's name, which is the first of a tensor's properties."""
    state = properties.state if isinstance(properties, Record) else None
    first = state.get("dtype") if isinstance(state, dict) else state and state[0]
    kind = kind_of(first.name) if isinstance(first, Global) else None
    if kind is None:
        raise catalog.damaged(f"the dtype of {name!r} is {str(first)[:80]!r}.")
    return kind


def _whole(
    dtype: DType,
    shape: tuple[int, ...],
    pieces: list[tuple[tuple[slice, ...], Source, _Place]],
    tree: Callable[[Source], Any],
) -> Array:
    """Put a tensor together; of a single chunk it is that one."""
    found = [_chunk(dtype, source, inside, tree(source)) for inside, source, _ in pieces]
    if len(found) == 1:
        return found[0]
    whole = np.empty(shape, dtype)
    for (_, source, place), part in zip(pieces, found, strict=True):
        if place.is_packed or part.nbytes > place.length:  # an honest one is all in the file
            source.spend(part.nbytes)
    for (inside, _, _), part in zip(pieces, found, strict=True):
        whole[inside] = part
    return whole


def _chunk(dtype: DType, source: Source, inside: tuple[slice, ...], value: object) -> Array:
    wanted = tuple(part.stop - part.start for part in inside)
    if not isinstance(value, np.ndarray | LazyArray) or value.shape != wanted:
        raise DamagedFileError(
            f"a chunk of shape {wanted} is due, and this is {str(value)[:80]}.",
            file=source.name,
            remedy="The part is damaged, or of another checkpoint.",
        )
    array = encoded(value)
    is_same = array.dtype.newbyteorder("=") == dtype.newbyteorder("=")
    if not is_same or dtype_name(array.dtype) != dtype_name(dtype):
        raise DamagedFileError(
            f"a chunk of {dtype_name(dtype)} is due, and this is of {dtype_name(array.dtype)}.",
            file=source.name,
            remedy="The part is damaged, or of another checkpoint.",
        )
    return array if array.dtype == dtype else array.astype(dtype)


def _nested(values: dict[str, Any], paths: dict[str, tuple[str | int, ...]]) -> object:
    """The values under the steps that their keys were made of: dicts, and lists by number."""
    tree: dict[str | int, object] = {}
    lists: list[tuple[dict[str | int, Any], str | int]] = []
    for name, value in values.items():
        steps = paths.get(name, (name,))
        here = tree
        for step, following in itertools.pairwise(steps):
            below = here.get(step)
            if not isinstance(below, dict):
                if step in here:  # one key is a part of another: as it is written, then
                    here, steps = tree, (name,)
                    break
                below = here[step] = {}
                if isinstance(following, int):
                    lists.append((here, step))
            here = below
        here[steps[-1]] = value
    for holder, step in reversed(lists):
        items = holder[step]
        if sorted(map(str, items)) == sorted(map(str, range(len(items)))):
            holder[step] = [items[number] for number in range(len(items))]
    return tree

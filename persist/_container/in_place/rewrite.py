"""Containers written anew in their place, without their arrays' bytes being written again.

Specified in ``docs/container.md``, section 13. The new file begins as the old one does, by a reflink
where the file system has them; behind the arrays come what is new, the graph and the rest. It is
written beside the old one and renamed over it, as every other file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import IO, Any

import attrs

from persist._container.in_place.kept import Kept, KeptMembers
from persist._container.layout import DIGESTS, GENERATION, GRAPH, INDEX, MANIFEST, METHODS, PATHS
from persist._container.reading.decode import decode
from persist._container.reading.store import Store
from persist._container.writing.atomic import replacing
from persist._container.writing.graph import encode
from persist._container.writing.reflink import clone
from persist._container.writing.writer import Old, Schemas, Writer, manifest_of, with_older, write
from persist._runtime.gc_pause import collector_paused
from persist._wire.base.source import open_source
from persist.errors import PersistError

__all__ = ["Done", "compact", "generations", "has_older", "rewrite", "undo"]

_CHUNK = 1 << 24
_NAMES = {
    "manifest.json": MANIFEST,
    "graph.json": GRAPH,
    "index.npy": INDEX,
    "paths.npy": PATHS,
    "digests.npy": DIGESTS,
}


@attrs.frozen
class Done:
    """How a file was written anew.

    Attributes:
        how: "reflink", "copy_file_range" or "copy": what became of the bytes that stay.
        kept: bytes that stay.
        size: of the new file.
    """

    how: str
    kept: int
    size: int


def rewrite(
    path: str | os.PathLike[str],
    renewed: Callable[[Any, Store], Any],
    *,
    schemas: Schemas = (),
    keep: bool = False,
    durable: bool = True,
    columns: bool = True,
    pack: bool = True,
    check: Callable[[Any, Any], None] | None = None,
) -> Done:
    """Write a container anew in its place, with another tree upon the same arrays.

    Args:
        path: of the file.
        renewed: the tree as it is in the file, and the file -> the tree as it is to be. Arrays that
            are the same objects, or views of them, are not written again.
        schemas: for the manifest.
        keep: keep the graph and manifest of today as an older generation, for `undo`.
        durable: wait until it is on the disk.
        columns, pack: as for `write`.
        check: is given the new tree and what the new file holds, before that gets its name.

    Raises:
        FormatError: it is no sound container, or the tree cannot stand in one.
    """
    path = os.fspath(path)
    store = _opened(path)
    kept = Kept(store)
    with collector_paused():
        tree = renewed(decode(store.graph(), kept, store.source.limits, path), store)
        graph = encode(tree, path, columns=columns, pack=pack, members=KeptMembers(kept))
        said = store.manifest
        manifest = manifest_of(graph, said["metadata"], schemas, said["writer"], path)
        manifest["schemas"] = with_older(manifest, said["schemas"])
        manifest["bytes"] += said.get("bytes", 0)
        older = {name: store.control(name) for name in store.older}
        if keep:
            older |= _generation(store)
        old = Old(store.directory(store.arrays_end), kept.ends(), _digests(store), older)
        with replacing(path, durable) as file:
            how = begin(path, file, kept.end)
            Writer(file, store.algorithm, None, kept.end).write(graph, manifest, old)
            size = file.tell()
            if check is not None:
                check(tree, _tree_in(file))
    return Done(how, kept.end, size)


def undo(path: str | os.PathLike[str], *, durable: bool = True) -> Done:
    """Bring back what a container held before it was last written anew with ``keep``.

    Raises:
        PersistError: it has no older generation.
    """
    path = os.fspath(path)
    store = _opened(path)
    numbers = generations(store)
    if not numbers:
        raise PersistError(
            "it has no older generation.",
            file=path,
            remedy="Only `persist upgrade --in-place --keep` keeps what was there before.",
        )
    last = f".generations/{numbers[-1]}/"
    parts = {name.removeprefix(last): store.control(name) for name in store.older if last in name}
    rest = {name: store.control(name) for name in store.older if last not in name}
    manifest = store.parsed(parts["manifest.json"], f"{last}manifest.json")
    count = manifest.get("arrays")
    if type(count) is not int or not 0 <= count <= len(store):
        raise store.damaged(f"its older generation has {count!r} arrays.", f"member {last!r}")
    entry = store.entry(count - 1) if count else None
    end = 0 if entry is None else store.end_of(entry)
    ends = Kept(store).ends()
    with replacing(path, durable) as file:
        how = begin(path, file, end)
        writer = Writer(file, None, None, end)
        for name, data in rest.items():
            writer.control(name, data, {})
        for name, member in _NAMES.items():
            if name in parts and name != "manifest.json":
                writer.control(member, parts[name], {})
        writer.control(MANIFEST, parts["manifest.json"], {})
        writer.end(store.directory(ends[count]), count, len(rest), manifest["version"])
        size = file.tell()
    return Done(how, end, size)


def compact(path: str | os.PathLike[str], *, durable: bool = True) -> Done:
    """Write a container as if it were new: members by their paths, without what nobody refers to.

    Older generations go, too.
    """
    path = os.fspath(path)
    store = _opened(path)
    said = store.manifest
    methods = {store.entry(number).method for number in range(len(store))}
    names = {number: name for name, number in METHODS.items()}
    pressed = [names[method] for method in methods if method]
    digest = said.get("digest")
    with collector_paused():
        tree = decode(store.graph(), store, store.source.limits, path)
        write(
            tree,
            path,
            metadata=said["metadata"],
            compress=pressed[0] if pressed else None,
            digest=digest["algorithm"] if digest else False,
            schemas=said["schemas"],
            durable=durable,
            writer=said["writer"],
        )
    return Done("copy", 0, os.path.getsize(path))


def generations(store: Store) -> list[int]:
    """Return the numbers of the older generations in a file, in order."""
    found = {int(match[1]) for name in store.older if (match := GENERATION.fullmatch(name))}
    return sorted(found)


def has_older(path: str | os.PathLike[str]) -> bool:
    """Whether `undo` can bring anything back."""
    return bool(generations(_opened(os.fspath(path))))


def _generation(store: Store) -> dict[str, bytes]:
    """What the file holds beside arrays, as the members of one more older generation."""
    number = max(generations(store), default=0) + 1
    short = {member: name for name, member in _NAMES.items()}
    names = sorted(store.controls, key=list(short).index)
    return {f".generations/{number}/{short[name]}": store.control(name) for name in names}


def _digests(store: Store) -> list[bytes]:
    table = store.digests
    return [] if table is None else [row.tobytes() for row in table]


def _opened(path: str) -> Store:
    source = open_source(path)
    if source.kind != "file" or not source.is_mapped:
        raise PersistError(
            "only a local file can be written anew in its place.",
            file=path,
            remedy="Copy it here first, or upgrade it to another place.",
        )
    return Store(source, "never")


def _tree_in(file: IO[bytes]) -> Any:
    file.seek(0)
    store = Store(open_source(file), "never")
    return decode(store.graph(), store, store.source.limits, store.source.name)


# The bytes that stay.


def begin(path: str, file: IO[bytes], size: int) -> str:
    """Let a new file begin with the first bytes of another; tell how.

    Args:
        path: of the other.
        file: empty, open for writing; it stands behind those bytes afterwards.
        size: how many.
    """
    with open(path, "rb", buffering=0) as old:
        how = _reflinked(old, file, size) or _ranged(old, file, size) or _copied(old, file, size)
    file.seek(size)
    return how


def _reflinked(old: IO[bytes], new: IO[bytes], size: int) -> str:
    if not clone(old.fileno(), new.fileno()):
        return ""
    new.truncate(size)
    return "reflink"


def _ranged(old: IO[bytes], new: IO[bytes], size: int) -> str:
    if not hasattr(os, "copy_file_range"):
        return ""
    at = 0
    with contextlib.suppress(OSError):  # across file systems, or an old kernel
        while at < size:
            done = os.copy_file_range(old.fileno(), new.fileno(), size - at, at, at)
            if not done:
                break
            at += done
    return "copy_file_range" if at == size else ""


def _copied(old: IO[bytes], new: IO[bytes], size: int) -> str:
    old.seek(0)
    new.seek(0)
    new.truncate(0)
    left = size
    while left:
        data = old.read(min(_CHUNK, left))
        if not data:
            raise PersistError("it ended while it was copied.", file=str(old.name))
        view = memoryview(data)
        while view:
            view = view[new.write(view) :]
        left -= len(data)
    return "copy"

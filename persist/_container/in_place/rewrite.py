"""Rewrite a container in place without writing the bytes of its unchanged arrays again.

Specified in ``docs/container.md``, section 13. The new file begins with the bytes of the old one
(shared by a reflink if the file system supports them), followed by new arrays, the graph and the
rest. Like every file, it is written next to the old one and renamed over it.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable
from typing import IO, Any

import attrs

from persist._container.in_place.kept import Kept, KeptMembers
from persist._container.layout import DIGESTS, GENERATION, GRAPH, INDEX, MANIFEST, METHODS, PATHS
from persist._container.names import member_name
from persist._container.reading.decode import decode
from persist._container.reading.store import Store
from persist._container.writing.atomic import replacing
from persist._container.writing.graph import encode
from persist._container.writing.reflink import clone
from persist._container.writing.writer import (
    History,
    Old,
    Schemas,
    Writer,
    manifest_of,
    with_older,
    write,
)
from persist._runtime.gc_pause import collector_paused
from persist._wire.base.source import open_source
from persist.errors import FormatError, PersistError

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
    """How a file was rewritten.

    Attributes:
        how: "reflink", "copy_file_range" or "copy": how the kept bytes got into the new file.
        kept: number of bytes that were kept.
        size: size of the new file in bytes.
    """

    how: str
    kept: int
    size: int


def rewrite(
    path: str | os.PathLike[str],
    renewed: Callable[[Any, Store], object],
    *,
    schemas: Schemas = (),
    keep: bool = False,
    durable: bool = True,
    columns: bool = True,
    pack: bool = True,
    check: Callable[[Any, Any], None] | None = None,
    history: History | None = None,
) -> Done:
    """Rewrite a container in place, with another tree over the same arrays.

    Args:
        path: path of the file.
        renewed: called with the current tree and the file; returns the new tree. Arrays in it that
            are the same objects, or views of them, are not written again.
        schemas: for the manifest.
        keep: keep the current graph and manifest as an older generation, for `undo`.
        durable: wait until it is on the disk.
        columns, pack: as for `write`.
        check: called with the new tree and the content of the new file before it is renamed.
        history: makes the entries of its history of the older ones and the manifest; None keeps those.

    Raises:
        FormatError: the file is no intact container, or the tree cannot be stored in one.
    """
    path = os.fspath(path)
    store = _opened(path)
    _refuse_foreign(store)
    kept = Kept(store)
    with collector_paused():
        tree = renewed(decode(store.graph(), kept, store.source.limits, path), store)
        graph = encode(tree, path, columns=columns, pack=pack, members=KeptMembers(kept))
        said = store.manifest
        manifest = manifest_of(graph, said["metadata"], schemas, said["writer"], path)
        manifest["schemas"] = with_older(manifest, said["schemas"])
        manifest["bytes"] += said.get("bytes", 0)
        _keep_history(manifest, said, history)
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
    """Restore the tree of a container as it was before the last rewrite with ``keep``.

    Raises:
        PersistError: the container has no older generation.
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


def _keep_history(
    manifest: dict[str, object], said: dict[str, object], history: History | None
) -> None:
    older = said.get("history")
    if history is not None:
        manifest["history"] = history(older if isinstance(older, list) else [], manifest)
    elif older is not None:
        manifest["history"] = older
    if "capsule" in said:
        manifest["capsule"] = said["capsule"]


def compact(
    path: str | os.PathLike[str], *, durable: bool = True, history: History | None = None
) -> Done:
    """Write a container as if it were new: members in the order of paths, unused ones removed.

    Older generations are removed, too. ``history`` is as for `rewrite`.
    """
    path = os.fspath(path)
    store = _opened(path)
    _refuse_foreign(store)
    said = store.manifest
    names = {number: name for name, number in METHODS.items()}
    compress: dict[str, str | None] = {}
    for number in range(len(store)):
        method = store.entry(number).method
        name = member_name(store.path(number)).removesuffix(".npy")
        compress[glob.escape(name)] = names[method] if method else None
    is_packed = any(compress.values())
    digest = said.get("digest")
    entries = said.get("history", [])

    def remade(_: list[object], manifest: dict[str, Any]) -> list[object]:
        return entries if history is None else history(entries, manifest)

    with collector_paused():
        tree = decode(store.graph(), store, store.source.limits, path)
        write(
            tree,
            path,
            metadata=said["metadata"],
            compress=compress if is_packed else None,
            digest=digest["algorithm"] if digest else False,
            schemas=said["schemas"],
            durable=durable,
            writer=said["writer"],
            capsule=(lambda _: said["capsule"]) if "capsule" in said else None,
            history=remade if history is not None or "history" in said else None,
        )
    return Done("copy", 0, os.path.getsize(path))


def generations(store: Store) -> list[int]:
    """Return the numbers of the older generations in a file, in order."""
    found = {int(match[1]) for name in store.older if (match := GENERATION.fullmatch(name))}
    return sorted(found)


def has_older(path: str | os.PathLike[str]) -> bool:
    """Whether there is an older generation that `undo` can restore."""
    return bool(generations(_opened(os.fspath(path))))


def _generation(store: Store) -> dict[str, bytes]:
    """The members of the file other than arrays, renamed to those of an older generation."""
    number = max(generations(store), default=0) + 1
    short = {member: name for name, member in _NAMES.items()}
    names = sorted(store.controls, key=list(short).index)
    return {f".generations/{number}/{short[name]}": store.control(name) for name in names}


def _digests(store: Store) -> list[bytes]:
    table = store.digests
    return [] if table is None else [row.tobytes() for row in table]


def _refuse_foreign(store: Store) -> None:
    """The new manifest would state this machine's format for the bytes of another one.

    Raises:
        FormatError: the file holds ``long double`` of another machine.
    """
    if store.foreign is not None:
        raise FormatError(
            "it holds long double of another machine, whose bytes cannot be kept.",
            file=store.source.name,
            remedy="Upgrade it to another place, where the arrays become float64.",
        )


def _opened(path: str) -> Store:
    source = open_source(path)
    if source.kind != "file" or not source.is_mapped:
        raise PersistError(
            "only a local file can be written anew in its place.",
            file=path,
            remedy="Copy it here first, or upgrade it to another place.",
        )
    return Store(source, "never")


def _tree_in(file: IO[bytes]) -> object:
    file.seek(0)
    store = Store(open_source(file), "never")
    return decode(store.graph(), store, store.source.limits, store.source.name)


# The bytes that are kept.


def begin(path: str, file: IO[bytes], size: int) -> str:
    """Make a new file begin with the first bytes of another; return how this was done.

    Args:
        path: path of the other file.
        file: empty and open for writing; afterwards its position is behind those bytes.
        size: number of bytes.
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

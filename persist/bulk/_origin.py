"""Write a tree that was read from another file, with that file's metadata and a note of its origin."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from persist._wire.base.source import filesystem, is_url

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Entry
    from persist.registry import Registry

__all__ = ["UPGRADED", "digest_of", "metadata_of", "save", "upgraded_from"]

UPGRADED = "upgraded_from"  # the key in a container's metadata
_CHUNK = 1 << 20
_MOST_RECORDS = 200  # classes in one version that an origin lists


def metadata_of(file: File) -> object:
    """Return the user's metadata of a file, or None."""
    found = file.structure.get("metadata") if file.format in ("persist", "safetensors") else None
    return found or None


def save(
    tree: Any,
    target: str | os.PathLike[str] | IO[bytes],
    file: File,
    *,
    format: str,
    name: str | None = None,
    registry: Registry | None = None,
    upgraded: dict[str, object] | None = None,
    **options: Any,
) -> bool:
    """Save a tree that was read from a file, with that file's metadata.

    Args:
        tree: the tree to write.
        target: the path to write to, or an open binary file.
        file: the open file that the tree was read from.
        format: as for `persist.save`.
        name: the path that errors name; None is the target's.
        registry: as for `persist.save`.
        upgraded: the origin of the tree; stored in a container next to the user's metadata.
        options: further options of `persist.save`.

    Returns:
        True if metadata was left out, because the format cannot hold it.
    """
    import persist
    from persist._api.save import refuse_suffix, save_tree, tree_of
    from persist.errors import PersistError

    if name is None and isinstance(target, str | os.PathLike):
        name = os.fspath(target)
    metadata = metadata_of(file)
    if format == "persist":
        if upgraded is not None:
            metadata = _with(metadata, upgraded)
        older = file.structure.get("schemas", ()) if file.format == "persist" else ()
        refuse_suffix(name if name is not None else target, format)
        try:
            made = tree_of(tree, registry, columns=True)
            save_tree(made, target, registry=registry, metadata=metadata, older_schemas=older)
        except PersistError as error:
            raise error.at(file=name) from error.__cause__
        return False
    if format == "safetensors" and metadata is not None:
        options["metadata"] = _as_text(metadata)
        metadata = None
    refuse_suffix(name if name is not None else target, format)
    try:
        persist.save(tree, target, format=format, registry=registry, **options)
    except PersistError as error:
        raise error.at(file=name) from error.__cause__
    return metadata is not None


def _with(metadata: object, upgraded: dict[str, object]) -> dict[str, object]:
    """Add the origin to metadata; an origin that is there already is nested in the new one."""
    if metadata is None:
        return {UPGRADED: upgraded}
    if not isinstance(metadata, dict):
        return {"metadata": metadata, UPGRADED: upgraded}
    if UPGRADED in metadata:
        upgraded = {**upgraded, UPGRADED: metadata[UPGRADED]}
    return {**metadata, UPGRADED: upgraded}


def _as_text(metadata: object) -> dict[str, str]:
    """Convert metadata to what safetensors holds: a mapping of text to text."""
    named = metadata if isinstance(metadata, dict) else {"metadata": metadata}
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in named.items()
    }


def upgraded_from(
    file: File,
    name: str,
    digest: tuple[int, str],
    steps: list[list[object]],
    opaque: list[str],
    options: dict[str, object],
    plan: Iterable[Entry] = (),
) -> dict[str, object]:
    """Return the origin that is stored in a container: the file that it was made from.

    Args:
        file: the open source.
        name: its own name.
        digest: its size in bytes, and its SHA-256.
        steps: the migrations that were applied.
        opaque: the names of undeclared classes.
        options: the options with which the source was read.
        plan: what was done to each record.
    """
    said = {"records": _records(plan), "steps": steps, "opaque": opaque, "options": options}
    return {
        "date": _now(),
        **{name: value for name, value in said.items() if value},
        "format": file.format,
        "writer": dict(file.writer),
        "name": name,
        "size": digest[0],
        "sha256": digest[1],
    }


def _records(plan: Iterable[Entry]) -> list[list[Any]]:
    """The records of declared classes as the source had them: class, schema, version, number of them."""
    counts = Counter(
        (entry.qualname, path.schema, path.found)
        for entry in plan
        if entry.schema is not None
        for path in entry.version_paths[-1:]
    )
    return [[*key, count] for key, count in sorted(counts.items())][:_MOST_RECORDS]


def _now() -> str:
    """The time in UTC, or what ``SOURCE_DATE_EPOCH`` states, for builds that are to be repeated."""
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.datetime.now(datetime.UTC)
    if stated is not None:
        moment = datetime.datetime.fromtimestamp(int(stated), datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def digest_of(source: str | os.PathLike[str]) -> tuple[int, str]:
    """Return the size of a source in bytes, and its SHA-256.

    For a folder or a checkpoint prefix: of all its files, with their names, in order.
    """
    text = os.fspath(source)
    if is_url(text):
        return _remote_digest(text)
    state, size = hashlib.sha256(), 0
    source = Path(source)
    files = list(_files_of(source))
    for path in files:
        if len(files) > 1 or path != source:
            state.update(f"{path.name}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        with contextlib.suppress(IsADirectoryError), path.open("rb") as file:
            while data := file.read(_CHUNK):
                state.update(data)
                size += len(data)
    return size, state.hexdigest()


def _remote_digest(url: str) -> tuple[int, str]:
    state, size = hashlib.sha256(), 0
    files, path = filesystem(url)
    with files.open(path, "rb") as file:
        while data := file.read(_CHUNK):
            state.update(data)
            size += len(data)
    return size, state.hexdigest()


def _files_of(source: Path) -> Iterator[Path]:
    if source.is_dir():
        for folder, folders, names in os.walk(source):
            folders.sort()
            yield from (Path(folder) / name for name in sorted(names))
    elif source.exists():
        yield source
    else:  # a checkpoint prefix
        yield from sorted(
            path for path in source.parent.iterdir() if path.name.startswith(source.name + ".")
        )

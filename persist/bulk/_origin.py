"""Write a tree that was read from another file, with that file's metadata and a note of its origin."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from persist._api import provenance
from persist._api.provenance import appending, split_metadata
from persist._wire.base.urls import is_url
from persist.bulk._places import opened

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Entry
    from persist.registry import Registry

__all__ = ["digest_of", "metadata_of", "origin_of", "save", "upgraded_from"]

_CHUNK = 1 << 20


def metadata_of(file: File) -> object:
    """Return the user's metadata of a file, or None."""
    found = file.structure.get("metadata") if file.format in ("persist", "safetensors") else None
    return (split_metadata(found) if file.format == "persist" else found) or None


def save(
    tree: Any,
    target: str | os.PathLike[str] | IO[bytes],
    file: File,
    *,
    format: str,
    name: str | None = None,
    registry: Registry | None = None,
    upgraded: dict[str, Any] | None = None,
    converted: dict[str, Any] | None = None,
    capsule: bool = False,
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
        upgraded: the origin of the tree, which an upgrade made; stored in the history of a container.
        capsule: add the capsule of the classes; one that the file has is kept in any case.
        converted: likewise, if the tree is that of the file, unchanged.
        options: further options of `persist.save`.

    Returns:
        True if metadata was left out, because the format cannot hold it.
    """
    from persist._api.save import refuse_suffix, save, save_tree, tree_of
    from persist.errors import PersistError

    if name is None and isinstance(target, str | os.PathLike):
        name = os.fspath(target)
    metadata = metadata_of(file)
    if format == "persist":
        action = "saved" if upgraded is None and converted is None else "converted"
        history = appending(
            action if upgraded is None else "upgraded", upgraded or converted, file.history
        )
        older = file.structure.get("schemas", ()) if file.format == "persist" else ()
        refuse_suffix(name if name is not None else target, format)
        try:
            made = tree_of(tree, registry, columns=True)
            save_tree(
                made,
                target,
                registry=registry,
                metadata=metadata,
                older_schemas=older,
                history=history,
                capsule=capsule,
                older_capsule=file.structure.get("capsule") if file.format == "persist" else None,
            )
        except PersistError as error:
            raise error.at(file=name) from error.__cause__
        return False
    if format == "safetensors" and metadata is not None:
        options["metadata"] = _as_text(metadata)
        metadata = None
    refuse_suffix(name if name is not None else target, format)
    try:
        save(tree, target, format=format, registry=registry, **options)
    except PersistError as error:
        raise error.at(file=name) from error.__cause__
    return metadata is not None


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
) -> dict[str, Any]:
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
    found = provenance.origin(file, None, steps, opaque, options, plan)
    return {**found, "name": name, "size": digest[0], "sha256": digest[1]}


def digest_of(
    source: str | os.PathLike[str], storage_options: Mapping[str, object] | None = None
) -> tuple[int, str]:
    """Return the size of a source in bytes, and its SHA-256.

    For a local folder or checkpoint prefix: of all its files, with their names, in order.
    """
    text = os.fspath(source)
    if not is_url(text):
        return provenance.digest_of(Path(text))
    state, size = hashlib.sha256(), 0
    with opened(text, storage_options) as file:
        while data := file.read(_CHUNK):
            state.update(data)
            size += len(data)
    return size, state.hexdigest()


def origin_of(file: File) -> dict[str, Any] | None:
    """Return the entry of the upgrade that wrote a file; None if no upgrade did."""
    kept = [one for one in file.history if one.get("action") != "compacted"]
    return kept[-1] if kept and kept[-1].get("action") == "upgraded" else None

"""Write a tree that was read from another file, with that file's metadata and a note of its origin."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persist._api import provenance
from persist._api.provenance import appending, digest_of, split_metadata

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Entry
    from persist.registry import Registry

__all__ = [
    "digest_of",
    "metadata_of",
    "origin_of",
    "removing",
    "save",
    "temporary",
    "upgraded_from",
]


def metadata_of(file: File) -> object:
    """Return the user's metadata of a file, or None."""
    found = file.structure.get("metadata") if file.format in ("persist", "safetensors") else None
    return (split_metadata(found) if file.format == "persist" else found) or None


def save(
    tree: Any,
    target: str | os.PathLike[str],
    file: File,
    *,
    format: str,
    registry: Registry | None = None,
    upgraded: dict[str, Any] | None = None,
    converted: dict[str, Any] | None = None,
    capsule: bool = False,
    **options: Any,
) -> bool:
    """Save a tree that was read from a file, with that file's metadata.

    Args:
        tree: the tree to write.
        target: the path to write to.
        file: the open file that the tree was read from.
        format: as for `persist.save`.
        registry: as for `persist.save`.
        upgraded: the origin of the tree, which an upgrade made; stored in the history of a container.
        capsule: add the capsule of the classes; one that the file has is kept in any case.
        converted: likewise, if the tree is that of the file, unchanged.
        options: further options of `persist.save`.

    Returns:
        True if metadata was left out, because the format cannot hold it.
    """
    import persist
    from persist._api.save import refuse_suffix, save_tree, tree_of
    from persist.errors import PersistError

    metadata = metadata_of(file)
    if format == "persist":
        action = "saved" if upgraded is None and converted is None else "converted"
        history = appending(
            action if upgraded is None else "upgraded", upgraded or converted, file.history
        )
        older = file.structure.get("schemas", ()) if file.format == "persist" else ()
        refuse_suffix(target, format)
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
            raise error.at(file=os.fspath(target)) from error.__cause__
        return False
    if format == "safetensors" and metadata is not None:
        options["metadata"] = _as_text(metadata)
        metadata = None
    persist.save(tree, target, format=format, registry=registry, **options)
    return metadata is not None


def _as_text(metadata: object) -> dict[str, str]:
    """Convert metadata to what safetensors holds: a mapping of text to text."""
    named = metadata if isinstance(metadata, dict) else {"metadata": metadata}
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in named.items()
    }


def temporary(target: Path, ending: str) -> Path:
    """Return the temporary path for a target: in the same folder, so that it can be renamed."""
    _remove_leftovers(target.parent)
    return target.with_name(f".{target.name}.{_host()}-{os.getpid()}.part{ending}")


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes of this machine; once per run, since listing a folder may be slow."""
    left = re.compile(rf"\..*\.{_host()}-(\d+)\.part.*", re.DOTALL)
    if os.name == "nt" or not folder.is_dir():  # os.kill(pid, 0) would end the process on Windows
        return
    for name in os.listdir(folder):
        match = left.fullmatch(name)
        if match is not None and not _is_alive(int(match[1])):
            (folder / name).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


@contextlib.contextmanager
def removing(written: Path, target: Path) -> Iterator[None]:
    """Remove a temporary file at the end; errors name the target in place of it."""
    from persist.errors import PersistError

    try:
        yield
    except PersistError as error:
        if error.file == str(written):
            error.file = str(target)
        raise
    except OSError as error:
        if error.filename == str(written):
            error.filename = str(target)
        raise
    finally:
        written.unlink(missing_ok=True)


def upgraded_from(
    file: File,
    source: Path,
    steps: list[list[Any]],
    opaque: list[str],
    options: dict[str, Any],
    plan: Iterable[Entry] = (),
) -> dict[str, Any]:
    """Return the origin that is stored in a container: the file that it was made from.

    Args:
        file: the open source.
        source: its path, for its name and digest.
        steps: the migrations that were applied.
        opaque: the names of undeclared classes.
        options: the options with which the source was read.
        plan: what was done to each record.
    """
    return provenance.origin(file, source, steps, opaque, options, plan)


def origin_of(file: File) -> dict[str, Any] | None:
    """Return the entry of the upgrade that wrote a file; None if no upgrade did."""
    kept = [one for one in file.history if one.get("action") != "compacted"]
    return kept[-1] if kept and kept[-1].get("action") == "upgraded" else None

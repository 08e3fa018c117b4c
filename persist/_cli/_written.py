"""Write a tree that was read from another file, with that file's metadata and a note of its origin."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import json
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Entry
    from persist.registry import Registry

__all__ = ["UPGRADED", "digest_of", "metadata_of", "removing", "save", "temporary", "upgraded_from"]

UPGRADED = "upgraded_from"  # the key in a container's metadata
_CHUNK = 1 << 20
_MOST_RECORDS = 200  # classes in one version that an origin lists


def metadata_of(file: File) -> object:
    """Return the user's metadata of a file, or None."""
    found = file.structure.get("metadata") if file.format in ("persist", "safetensors") else None
    return found or None


def save(
    tree: Any,
    target: str | os.PathLike[str],
    file: File,
    *,
    format: str,
    registry: Registry | None = None,
    upgraded: dict[str, object] | None = None,
    **options: Any,
) -> bool:
    """Save a tree that was read from a file, with that file's metadata.

    Args:
        tree: the tree to write.
        target: the path to write to.
        file: the open file that the tree was read from.
        format: as for `persist.save`.
        registry: as for `persist.save`.
        upgraded: the origin of the tree; stored in a container next to the user's metadata.
        options: further options of `persist.save`.

    Returns:
        True if metadata was left out, because the format cannot hold it.
    """
    import persist
    from persist._api.save import refuse_suffix, save_tree, tree_of
    from persist.errors import PersistError

    metadata = metadata_of(file)
    if format == "persist":
        if upgraded is not None:
            metadata = _with(metadata, upgraded)
        older = file.structure.get("schemas", ()) if file.format == "persist" else ()
        refuse_suffix(target, format)
        try:
            made = tree_of(tree, registry, columns=True)
            save_tree(made, target, registry=registry, metadata=metadata, older_schemas=older)
        except PersistError as error:
            raise error.at(file=os.fspath(target)) from error.__cause__
        return False
    if format == "safetensors" and metadata is not None:
        options["metadata"] = _as_text(metadata)
        metadata = None
    persist.save(tree, target, format=format, registry=registry, **options)
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
    steps: list[list[object]],
    opaque: list[str],
    options: dict[str, object],
    plan: Iterable[Entry] = (),
) -> dict[str, object]:
    """Return the origin that is stored in a container: the file that it was made from.

    Args:
        file: the open source.
        source: its path, for its name and digest.
        steps: the migrations that were applied.
        opaque: the names of undeclared classes.
        options: the options with which the source was read.
        plan: what was done to each record.
    """
    size, digest = digest_of(source)
    said = {"records": _records(plan), "steps": steps, "opaque": opaque, "options": options}
    return {
        "date": _now(),
        **{name: value for name, value in said.items() if value},
        "format": file.format,
        "writer": dict(file.writer),
        "name": source.name,
        "size": size,
        "sha256": digest,
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


def digest_of(source: Path) -> tuple[int, str]:
    """Return the size of a source in bytes, and its SHA-256.

    For a folder or a checkpoint prefix: of all its files, with their names, in order.
    """
    state, size = hashlib.sha256(), 0
    files = list(_files_of(source))
    for path in files:
        if len(files) > 1 or path != source:
            state.update(f"{path.name}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        with contextlib.suppress(IsADirectoryError), path.open("rb") as file:
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

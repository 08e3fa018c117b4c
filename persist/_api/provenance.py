"""How a file came about: the history that every container holds, oldest entry first.

An entry says what was done (``action``), when (``date``, UTC), by which releases (``by``: persist,
Python, NumPy, the packages of the classes in the file); of a file that was made from another one,
which that was (``name``, ``size``, ``sha256``, ``format``, ``writer``), the classes and versions of
its records (``records``), and the steps that ran, with hashes of their source (``steps``).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from persist.errors import PersistError

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Entry

__all__ = [
    "UPGRADED",
    "Date",
    "appending",
    "digest_of",
    "history_of",
    "origin",
    "records_of",
    "split_metadata",
]

UPGRADED = "upgraded_from"  # where files written before there was a history have the origin: in the user's metadata
Date: TypeAlias = datetime.datetime | Literal[False] | None
"""The date of a new entry: None for now, or for ``SOURCE_DATE_EPOCH``; False for none."""

Made: TypeAlias = Callable[[list[Any], dict[str, Any]], list[Any]]

_CHUNK = 1 << 20
_MOST_RECORDS = 200  # classes in one version that an entry lists
_MOST_ENTRIES = 1000


def appending(
    action: str = "saved",
    origin: dict[str, Any] | None = None,
    older: Iterable[dict[str, Any]] | None = None,
    date: Date = None,
) -> Made:
    """Return what makes the history of a new container: of that of the file it is made from, and its manifest.

    Args:
        action: what is done, as a participle.
        origin: what is known of the file that it is made from.
        older: the history of that file; None takes what the writer knows.
        date: of the new entry.
    """

    def made(known: list[Any], manifest: dict[str, Any]) -> list[Any]:
        before = _entries(known if older is None else list(older))
        entry: dict[str, Any] = {"action": action}
        if date is not False:
            entry["date"] = _text(date)
        entry["by"] = _releases(manifest)
        return [*before, {**entry, **(origin or {})}][-_MOST_ENTRIES:]

    return made


def _releases(manifest: dict[str, Any]) -> dict[str, str]:
    """The releases of persist, Python, NumPy, and of the packages whose classes are in a file."""
    from persist._version import __version__
    from persist.registry._releases import release_here

    said = {name: str(manifest["writer"][name]) for name in ("persist", "python", "numpy")}
    said["persist"] = __version__
    packages = {str(name).partition(".")[0] for name in manifest["globals"]}
    packages |= {str(e["package"]) for e in manifest["schemas"] if e.get("package")}
    for package in sorted(packages - {"builtins", "__main__", "__builtin__", "persist"}):
        release = release_here(package) if package in sys.modules else ""
        if release:
            said.setdefault(package, release)
    return said


def _text(date: datetime.datetime | None) -> str:
    """A time in UTC; without one now, or what ``SOURCE_DATE_EPOCH`` states, for builds that are to be repeated."""
    if date is None:
        stated = os.environ.get("SOURCE_DATE_EPOCH", "")
        date = datetime.datetime.now(datetime.UTC)
        if stated:
            date = _epoch(stated)
    return (
        date.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )  # a date without a zone is local time


def _epoch(stated: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromtimestamp(int(stated), datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PersistError(
            f"the environment variable SOURCE_DATE_EPOCH is {stated!r}.",
            remedy="It is a number of seconds since 1970, such as 1700000000; unset it for today's date.",
        ) from error


def history_of(structure: object) -> list[dict[str, Any]]:
    """Return the history that a container's structure states, oldest entry first; of older files too."""
    if not isinstance(structure, dict):
        return []
    found: list[dict[str, Any]] = []
    said = structure.get("metadata")
    while isinstance(said, dict) and isinstance(said.get(UPGRADED), dict):
        said = said[UPGRADED]
        own = {key: value for key, value in said.items() if key != UPGRADED}
        found.append({"action": "upgraded", **own})
        if len(found) == _MOST_ENTRIES:
            break
    return [*reversed(found), *_entries(structure.get("history"))]


def _entries(said: object) -> list[dict[str, object]]:
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def split_metadata(metadata: object) -> object:
    """Return the user's metadata, without the origin that older files have in it."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get(UPGRADED), dict):
        return metadata
    own = {key: value for key, value in metadata.items() if key != UPGRADED}
    if own.keys() == {"metadata"} and not isinstance(own["metadata"], dict):
        return own["metadata"]  # what was no dict was wrapped in one
    return own or None


def origin(
    file: File,
    source: str | os.PathLike[str] | None,
    steps: list[list[Any]] | None = None,
    opaque: list[str] | None = None,
    options: dict[str, Any] | None = None,
    plan: Iterable[Entry] = (),
) -> dict[str, Any]:
    """Return what is known of a file that another one is made from.

    Args:
        file: the open source.
        source: its path, for name, size and digest; None where it is no local file.
        steps: the migrations that were applied (`persist._upgrade.step_digests.steps_of`).
        opaque: the names of undeclared classes.
        options: the options with which the source was read.
        plan: what was done to each record.
    """
    said = {"records": records_of(plan), "steps": steps, "opaque": opaque, "options": options}
    found: dict[str, Any] = {name: value for name, value in said.items() if value}
    found |= {"format": file.format, "writer": dict(file.writer)}
    if source is None:
        return {**found, "name": file.name}
    size, digest = digest_of(Path(source))
    return {**found, "name": Path(source).name, "size": size, "sha256": digest}


def records_of(plan: Iterable[Entry]) -> list[list[Any]]:
    """Return the records of declared classes as the source had them: class, schema, version, number of them."""
    counts = Counter(
        (entry.qualname, path.schema, path.found)
        for entry in plan
        if entry.schema is not None
        for path in entry.version_paths[-1:]
    )
    return [[*key, count] for key, count in sorted(counts.items())][:_MOST_RECORDS]


def digest_of(source: Path) -> tuple[int, str]:
    """Return the size of a source in bytes, and its SHA-256.

    For a folder or a checkpoint prefix: of all its files, with their names, in order.
    """
    import hashlib

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

"""What is to be worked on: paths, patterns, folders, URLs and inventories, as a stream of items."""

from __future__ import annotations

import datetime
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import attrs

from persist._wire.base.urls import filesystem, is_url
from persist.bulk._folders import walk
from persist.bulk._inventory import Inventory, listed
from persist.bulk._places import size_and_time
from persist.errors import PersistError

__all__ = ["Filters", "Item", "Source", "items", "local"]

Source = str | os.PathLike[str] | Inventory
_MAGIC = re.compile(r"[*?\[]")
_UNTIDY = re.compile(r"/(?:[./]|$)")  # what `os.path.normpath` may change
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


class Item(NamedTuple):
    """One file of a run.

    Attributes:
        name: its path or URL, as it is opened.
        inside: its path relative to the folder that was named; its own name if it was named itself.
        is_named: whether the user named it, so that it must be an experiment file.
        size: bytes; -1 if it is not known.
        mtime: time of modification in nanoseconds since 1970; -1 if it is not known.
        note: for a unit of several files, what was recognised.
        is_listed: whether an inventory listed it.
    """

    name: str
    inside: str
    is_named: bool
    size: int = -1
    mtime: int = -1
    note: str = ""
    is_listed: bool = False


def _as_tuple(value: Iterable[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen
class Filters:
    """Which of the files a run is about.

    Attributes:
        include: patterns (``*.pkl``, ``2016/*``): only files of which one matches the path in its
            folder, or the name.
        exclude: patterns: not these files.
        newer: only files modified after this: an ISO date, or the path of a file.
        max_size: only files of at most so many bytes: a number, or text such as "64 MB".
        classes: patterns: only files that name a class that matches one, as written or as it is
            named today.
        versions: only files with a record in such a version: "3", or "SCHEMA=3".
        formats: patterns of names of formats: only files in one of them.
    """

    include: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    exclude: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    newer: str = ""
    max_size: str = attrs.field(default="", converter=str)
    classes: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    versions: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    formats: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)

    def __attrs_post_init__(self) -> None:
        self.moment()
        self.most_bytes()
        for text in self.versions:
            if not text.rpartition("=")[2].isdecimal():
                raise PersistError(
                    f"{text!r} is no version.", remedy="Write a number, or SCHEMA=NUMBER."
                )

    @property
    def looks_inside(self) -> bool:
        """Whether a file has to be opened to know whether it is wanted."""
        return bool(self.classes or self.versions or self.formats)

    def moment(self) -> int:
        """Nanoseconds since 1970 after which a file must have been modified; -1 for any."""
        if not self.newer:
            return -1
        try:
            moment = datetime.datetime.fromisoformat(self.newer)
        except ValueError:
            try:
                return os.stat(self.newer).st_mtime_ns
            except OSError as error:
                raise PersistError(
                    f"newer={self.newer!r} is neither a date nor a file.",
                    remedy="Write a date such as 2026-01-31, or the path of a file.",
                ) from error
        return int(moment.timestamp() * 1e9)

    def most_bytes(self) -> int:
        """The largest size in bytes; -1 for any."""
        if not self.max_size:
            return -1
        match = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]i?)?b?\s*", self.max_size.lower())
        try:
            return int(float(match[1]) * _UNITS[match[2] or ""]) if match else int("")
        except ValueError:
            raise PersistError(
                f"max_size={self.max_size!r} is no size.", remedy="Write 1000000, 64 MB or 2 GiB."
            ) from None

    def wants(self, item: Item, newer: int, most: int) -> bool:
        """Whether a file passes the filters that need not open it."""
        if self.include and not _matches(item, self.include):
            return False
        if self.exclude and _matches(item, self.exclude):
            return False
        if newer >= 0 and 0 <= item.mtime <= newer:
            return False
        return not (most >= 0 and item.size > most)


def _matches(item: Item, patterns: tuple[str, ...]) -> bool:
    inside = item.inside.replace(os.sep, "/")
    name = inside.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(inside, one) or fnmatch.fnmatchcase(name, one) for one in patterns
    )


def local(name: str) -> str:
    """Return the path of a file:// URL; any other text unchanged."""
    if not name.startswith("file://"):
        return name
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(name).path)


def items(
    sources: Iterable[Source],
    filters: Filters,
    *,
    skip: tuple[str, ...] = (),
    every: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> Iterator[Item]:
    """Yield what the sources name, in order; a file may come twice.

    Args:
        sources: paths, patterns, folders, URLs, inventories.
        filters: those that need not open a file are applied.
        skip: folders that are not walked: where the run writes to.
        every: folders give each regular file by itself (see `walk`).
        storage_options: for fsspec.
    """
    newer, most = filters.moment(), filters.most_bytes()
    for source in sources:
        if isinstance(source, Inventory):
            found = _of_inventory(source)
        else:
            name = local(os.fspath(source))
            if is_url(name):
                found = _remote(name, storage_options)
            else:
                found = _local(name, skip, every)
        for item in found:
            if filters.wants(item, newer, most):
                yield item


def _of_inventory(inventory: Inventory) -> Iterator[Item]:
    for name, size, mtime in listed(inventory):
        name = local(name)
        is_far = is_url(name)
        inside = name.partition("://")[2] if is_far else os.path.splitdrive(name)[1]
        inside = inside.lstrip("/\\")
        if os.name == "nt" or _UNTIDY.search(inside) or inside[:1] == "." or not inside:
            inside = os.path.normpath(inside)
            while inside.startswith(".." + os.sep):
                inside = inside[3:]
        if size < 0 and not is_far:
            size, mtime = _stat(name)
        yield Item(name, inside, False, size, mtime, "", True)


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # it is missing, or the prefix of several files
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _local(name: str, skip: tuple[str, ...], every: bool) -> Iterator[Item]:
    if _MAGIC.search(name) and not os.path.lexists(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            yield Item(name, os.path.basename(name), True)
        for path in matches:
            yield from _local(path, skip, every)
        return
    if not os.path.isdir(name):
        yield Item(name, os.path.basename(name), True, *_stat(name))
        return
    for found in walk(name, skip, every=every):
        yield Item(found.path, found.inside, found.path == name, *_stat(found.path), found.note)


def _remote(url: str, options: dict[str, Any] | None) -> Iterator[Item]:
    files, path = filesystem(url, options)
    protocol = url.partition("://")[0] + "://" if "://" in url else url.partition(":")[0] + "://"
    if _MAGIC.search(path) and not files.exists(path):
        top = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        details = files.glob(path, detail=True)
    elif files.isdir(path):
        top = path
        details = files.find(path, detail=True)
    else:
        yield Item(url, path.rpartition("/")[2], True, *_details(files, path))
        return
    for name in sorted(details):
        if details[name].get("type") == "directory":
            continue
        inside = name[len(top) :].lstrip("/") if top and name.startswith(top) else name.lstrip("/")
        if any(part.startswith(".") for part in inside.split("/")):
            continue
        yield Item(protocol + name.lstrip("/"), inside, False, *size_and_time(details[name]))


def _details(files: Any, path: str) -> tuple[int, int]:
    try:
        return size_and_time(files.info(path))
    except OSError:  # it is missing: the job reports it
        return -1, -1

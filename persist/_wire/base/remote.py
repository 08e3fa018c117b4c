"""What is behind a URL as a `Source`: ranged reads, with the neighbours in its folder.

A request takes longer than reading a megabyte, so none is made without need: a file is opened
without asking whether it is one, its folder is listed once, and only if a reader wants to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from persist._wire.base import urls
from persist._wire.base.limits import Budget, Limits
from persist._wire.base.ranges import Fetch, Ranges, fetching
from persist._wire.base.source import Source

__all__ = ["open_remote"]


def open_remote(
    url: str,
    options: Mapping[str, object] | None,
    limits: Limits,
    writable: bool,
    budget: Budget | None = None,
    level: int = 0,
) -> Source:
    """Return the source of a URL.

    Args:
        url: for fsspec.
        options: ``storage_options`` for fsspec.
        limits: see `Limits`.
        writable: arrays handed out may be written to.
        budget: of the file whose neighbour it is; None is a new one.
        level: files it is nested in.

    Raises:
        FileNotFoundError: there is no file, folder or checkpoint prefix of that name.
        MissingExtraError: fsspec or the library for this kind of URL is not installed.
        StorageError: the storage refused or failed.
    """
    files, path = urls.filesystem(url, options)
    home = Home(files, path, url, options)
    common: dict[str, Any] = {
        "limits": limits,
        "home": home,
        "path": url,
        "budget": budget,
        "writable": writable,
        "level": level,
    }
    name = urls.shown(url)
    with urls.explained(url, options):
        files.invalidate_cache(files._parent(path))  # a listing may be older than the file
    try:
        found = _opened(files, path, url, options, limits)
    except FileNotFoundError:
        if home.basename and any(each.startswith(home.basename) for each in home.children(False)):
            return Source(name, kind="prefix", **common)
        raise
    if found is None:
        return Source(name, kind="folder", **common)
    fetch, size, first, close = found
    if budget is not None:
        budget.admit(path, size, limits)
    if fetch is None:
        kept = memoryview(first) if writable else memoryview(first).toreadonly()
        return Source(name, buffer=kept, **common)
    ranges = Ranges(fetch, size)
    if first:
        ranges.keep(0, first)
    return Source(name, ranged=ranges, size=size, owned=close, **common)


def _opened(
    files: Any, path: str, url: str, options: Mapping[str, object] | None, limits: Limits
) -> tuple[Fetch | None, int, bytearray, Any] | None:
    """Open a file: how to fetch ranges of it, its size, its known start, and how to close it.

    None is a folder. Without a way to fetch ranges, its start is all of it.
    """
    if urls.is_http(url) and {"http", "https"} & {*urls.protocols_of(files)}:
        if urlsplit(url).path.endswith("/"):
            return None
        from persist._wire.base.http import HttpFile

        page = HttpFile(files, url, options, limits)
        return (None if page.is_whole else page.fetch), page.size, page.first, None
    with urls.explained(url, options):
        try:
            # Without a cache of fsspec each read is one request for exactly these bytes.
            file = files.open(path, "rb", cache_type="none")
            size = _size(files, path, file)
        except Exception as error:
            if not isinstance(error, FileNotFoundError) and urls.is_refusal(error):
                raise
            # Object storage has no folders, only names that begin so, and tells by many errors.
            if files.info(path)["type"] == "directory":
                return None
            raise
    if size is None:
        return None
    fetch = fetching(file)

    def explained(start: int, length: int) -> bytes | bytearray:
        with urls.explained(url, options):
            return fetch(start, length)

    return explained, size, bytearray(), file.close


def _size(files: Any, path: str, file: Any) -> int | None:
    """Return the size of an open file, None for a folder that could be opened as if it were one."""
    details = getattr(file, "details", None)
    if not isinstance(details, Mapping) or details.get("size") is None:
        details = files.info(path)
    if details["type"] == "directory":
        file.close()
        return None
    return int(details["size"])


class Home:
    """The folder of a remote source, through which its neighbours are opened."""

    def __init__(
        self, files: Any, path: str, url: str, options: Mapping[str, object] | None
    ) -> None:
        self._files = files
        self._path = path.rstrip("/")
        self._url = url
        self._options = options
        self._known: dict[bool, list[str]] = {}

    @property
    def basename(self) -> str:
        if urls.is_http(self._url):
            return unquote(urlsplit(self._url).path.rstrip("/").rpartition("/")[2])
        return self._path.rpartition("/")[2]

    def children(self, inside: bool) -> list[str]:
        """Return the names in the folder; none where the storage does not list any."""
        if inside not in self._known:
            self._known[inside] = self._listed(inside)
        return self._known[inside]

    def _listed(self, inside: bool) -> list[str]:
        if urls.is_http(self._url):
            parts = urlsplit(self._url)
            folder = parts.path.rstrip("/") if inside else parts.path.rstrip("/").rpartition("/")[0]
            path = parts._replace(path=f"{folder}/", query="").geturl()
        else:
            path = self._path if inside else self._path.rpartition("/")[0]
        try:
            with urls.explained(self._url, self._options):
                found = self._files.ls(path, detail=False)
        except OSError:  # it may be read, and its folder may not
            return []
        if urls.is_http(path):  # links of a page, to anywhere
            found = [unquote(urlsplit(str(each)).path) for each in found]
        names = {str(each).rstrip("/").rpartition("/")[2] for each in found if str(each) != path}
        return sorted(names - {""})

    def open(self, name: str, inside: bool, near: Source) -> Source | None:
        names = self.children(inside)
        if name not in names and (names or not urls.is_http(self._url)):
            return None  # a web server that lists nothing may have it
        try:
            return open_remote(
                self._beside(name, inside),
                self._options,
                near.limits,
                near.writable,
                near._budget,
                near._level,
            )
        except FileNotFoundError:
            return None

    def _beside(self, name: str, inside: bool) -> str:
        if inside:
            return urls.joined(self._url, name)
        if urls.is_http(self._url):
            parts = urlsplit(self._url)
            folder = parts.path.rstrip("/").rpartition("/")[0]
            return urls.joined(parts._replace(path=folder).geturl(), name)
        head, mark, _ = self._url.rstrip("/").rpartition("/")
        return urls.joined(head, name) if mark else name

"""Files behind ``http://`` and ``https://``: read by ranges, written by PUT.

fsspec's own HTTP files believe what a server sends. Here a range is only taken from an answer that
says to be this range of the same file: a server without ranges answers with the whole file, a
proxy may compress it, and a file may be replaced between two requests. Sessions, authentication and
proxies are those of fsspec (``storage_options={"headers": ..., "client_kwargs": ...}``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from persist._wire.base import urls
from persist._wire.base.limits import Limits
from persist._wire.base.ranges import Ranges
from persist.errors import StorageError

__all__ = ["HttpFile", "put"]

_TRIES = 3
_PAUSE = 0.2  # seconds before the second try, four times as long before the third
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_T = TypeVar("_T")


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    data: bytearray
    url: str


class _Passing(Exception):
    """A fault that may be gone at the next try."""

    def __init__(self, status: int | None, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class HttpFile:
    """A file of a web server.

    Args:
        files: the file system of fsspec.
        url: its URL, with all that is secret in it.
        options: storage options, for error messages without what is secret in them.
        limits: bounds what is read of a server that has no ranges.

    Attributes:
        size: bytes.
        first: the bytes at its start that were read to find out about it; all, if there are no ranges.
        is_whole: the server has no ranges for it, and ``first`` is the file.

    Raises:
        FileNotFoundError: status 404 or 410.
        StorageError: any other failure.
    """

    def __init__(
        self, files: Any, url: str, options: Mapping[str, object] | None, limits: Limits
    ) -> None:
        self.url = url
        self._files = files
        self._options = options
        self._final = url  # behind redirects
        self._tag: str | None = None
        self._most = limits.total_for(0)
        self.is_whole = False
        answer = self._asked(0, Ranges.BLOCK, is_first=True)
        total = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        self.first = answer.data
        if answer.status == 416:  # an empty file has no range
            self.size = 0
        elif answer.status == 206 and total and int(total[1]) == 0:
            self.size = int(total[3])
            self._tag = _tag_of(answer.headers)
            self._stay(answer.url)
        else:
            self.is_whole = True
            self.size = len(answer.data)

    def fetch(self, start: int, length: int) -> bytes | bytearray:
        """Return ``length`` bytes at ``start``; fewer only at the end of the file."""
        length = min(length, self.size - start)
        if length <= 0:
            return b""
        data = bytearray()
        while len(data) < length:  # a server may send less than was asked for
            answer = self._asked(start + len(data), length - len(data))
            given = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            is_same = _tag_of(answer.headers) == self._tag
            if answer.status != 206 or not given or int(given[1]) != start + len(data):
                raise urls.replaced(self.url) if not is_same else _no_ranges(self.url, None)
            if not is_same or int(given[3]) != self.size:
                raise urls.replaced(self.url)
            if not answer.data:
                raise _cut_off(self.url, len(data), length)
            data = answer.data if not data else data + answer.data
        del data[length:]
        return data

    def _stay(self, final: str) -> None:
        """Ask where a redirect led to, unless credentials of one host would go to another."""
        sends = (
            self._files.kwargs.get("headers")
            or self._files.kwargs.get("auth")
            or self._files.client_kwargs
        )
        if not sends or urlsplit(final)[:2] == urlsplit(self.url)[:2]:
            self._final = final

    def _asked(self, start: int, length: int, is_first: bool = False) -> _Answer:
        """Request a range, several times if the server or the connection fails."""

        async def ask() -> _Answer:
            return await self._ask(start, length, is_first)

        return _tried(self._files, ask, self.url, self._options)

    async def _ask(self, start: int, length: int, is_first: bool) -> _Answer:
        import aiohttp  # type: ignore[import-not-found,unused-ignore]

        session = await self._files.set_session()
        options = _request_options(self._files)
        wanted = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{start + length - 1}"}
        headers = {**options.pop("headers", {}), **wanted}
        target = self._files.encode_url(self._final)
        try:
            async with session.get(target, headers=headers, **options) as response:
                if response.status in (401, 403, 410) and self._final != self.url:
                    self._final = self.url  # a signature that a redirect gave has expired
                    raise _Passing(response.status, "")
                if response.status == 416:
                    return _Answer(416, response.headers, bytearray(), str(response.url))
                _raise_for(response, self.url)
                is_plain = response.headers.get("Content-Encoding", "identity") in ("identity", "")
                if response.status == 206 and is_plain:
                    data = await _body(response, length, self.url)
                    return _Answer(206, response.headers, data, str(response.url))
                if not is_first:
                    return _Answer(response.status, response.headers, bytearray(), "")
                if response.status == 200:
                    data = await _body(response, self._most, self.url, is_file=True)
                    return _Answer(200, response.headers, data, str(response.url))
            # A range of a compressed file: of no use, and all of it is.
            headers.pop("Range")
            async with session.get(target, headers=headers, **options) as response:
                _raise_for(response, self.url)
                data = await _body(response, self._most, self.url, is_file=True)
                return _Answer(200, response.headers, data, str(response.url))
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as error:
            raise _Passing(None, _said(error)) from None
        except TimeoutError:
            raise _Passing(None, "no answer in time") from None


def put(files: Any, url: str, source: Path, options: Mapping[str, object] | None) -> None:
    """Write a file by one PUT request, which a server applies as a whole.

    Args:
        files: the file system of fsspec.
        url: the target.
        source: the file with its content.
        options: storage options, for error messages.

    Raises:
        StorageError: the server does not take it.
    """
    import aiohttp  # type: ignore[import-not-found,unused-ignore]

    async def send() -> int:
        session = await files.set_session()
        try:
            with source.open("rb") as file:
                target = files.encode_url(url)
                async with session.put(target, data=file, **_request_options(files)) as response:
                    if response.status in (405, 501):
                        raise StorageError(
                            f"the server takes no files (PUT, status {response.status}).",
                            file=urls.shown(url),
                            remedy="Save to a path, and upload the file as this server wants it; or "
                            "use a URL of object storage (s3://, gs://, az://).",
                            status=response.status,
                        )
                    _raise_for(response, url)
                    return int(response.status)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as error:
            raise _Passing(None, _said(error)) from None

    _tried(files, send, url, options)


def _request_options(files: Any) -> dict[str, Any]:
    import aiohttp  # type: ignore[import-not-found,unused-ignore]

    # aiohttp ends a request after five minutes, which a tensor of some GiB may take.
    patient = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return {"timeout": patient, **files.kwargs}


def _tried(
    files: Any,
    call: Callable[[], Awaitable[_T]],
    url: str,
    options: Mapping[str, object] | None,
) -> _T:
    from fsspec.asyn import sync  # type: ignore[import-untyped]

    passing: _Passing
    for number in range(_TRIES):
        if number:
            time.sleep(_PAUSE * 4 ** (number - 1))
        with urls.explained(url, options):
            try:
                return sync(files.loop, call)  # type: ignore[no-any-return]
            except _Passing as error:
                passing = error
    raise urls.failed(url, passing.status, f"{passing.said}; tried {_TRIES} times".lstrip("; "))


def _raise_for(response: Any, url: str) -> None:
    if response.status < 400:
        return
    if response.status in _AGAIN:
        raise _Passing(response.status, response.reason or "")
    if response.status in (404, 410):
        raise FileNotFoundError(url)
    raise urls.failed(url, response.status, response.reason or "")


async def _body(response: Any, most: int, url: str, is_file: bool = False) -> bytearray:
    """Read an answer, of at most ``most`` bytes; what a range has more than was asked for is left out."""
    data = bytearray()
    said = response.headers.get("Content-Length", "")
    if is_file and said.isdecimal() and int(said) > most:
        raise _no_ranges(url, int(said))
    async for part in response.content.iter_any():
        data += part
        if len(data) > most:
            if is_file:
                raise _no_ranges(url, None)
            break
    return data


def _no_ranges(url: str, size: int | None) -> StorageError:
    much = f" of {size:,} bytes" if size else ""
    return StorageError(
        f"the server has no ranged reads for this file{much}, which is too large to be kept in memory.",
        file=urls.shown(url),
        remedy=f"Let fsspec copy it to a temporary file: 'simplecache::{urls.shown(url)}'; "
        'or raise limits={"total": ...}.',
    )


def _cut_off(url: str, got: int, wanted: int) -> StorageError:
    return StorageError(
        f"the server sent {got:,} of {wanted:,} bytes.",
        file=urls.shown(url),
        remedy="Try again; if it stays so, the server or a proxy cuts files off.",
    )


def _tag_of(headers: Mapping[str, str]) -> str | None:
    return headers.get("ETag") or headers.get("Last-Modified")


def _said(error: BaseException) -> str:
    """Return what a connection failed by, without the URL that aiohttp puts into some texts."""
    text = re.sub(r"\w+://\S+", "", str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

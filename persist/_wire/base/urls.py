"""URLs of files: what is one, its file system, how it is shown, and what its errors mean.

A URL may carry credentials (``https://user:password@host``, a signature in its query), and so may
what a library says when a request fails. No message of ours shows them: `shown` is the URL without
them, and `explained` turns the errors of fsspec and of the libraries behind it into errors of
`persist.errors`, without the original text where it could not be cleaned.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from persist.errors import MissingExtraError, PersistError, StorageError

__all__ = [
    "exists",
    "explained",
    "failed",
    "filesystem",
    "is_http",
    "is_refusal",
    "is_url",
    "joined",
    "local_path",
    "plain_path",
    "protocols_of",
    "refuse_collapsed",
    "replaced",
    "shown",
]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)|memory:")
# A `pathlib.Path` of a URL: two slashes became one.
_COLLAPSED = re.compile(
    r"(s3a?|gs|gcs|az|abfss?|adl|https?|sftp|ssh|ftp|hdfs|webhdfs|memory|file|smb|hf|github):[/\\][^/\\]"
)
_SECRET = re.compile(
    r"key|secret|token|pass|pwd|credential|auth|sas|sig|connection_string|cookie|session", re.I
)
# protocol -> our extra, and the library that fsspec needs for it
_EXTRAS = {
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
    "gs": ("gs", "gcsfs"),
    "gcs": ("gs", "gcsfs"),
    "az": ("az", "adlfs"),
    "abfs": ("az", "adlfs"),
    "abfss": ("az", "adlfs"),
    "http": ("http", "aiohttp"),
    "https": ("http", "aiohttp"),
    "sftp": ("sftp", "paramiko"),
    "ssh": ("sftp", "paramiko"),
}


def is_url(text: str) -> bool:
    """Return whether a text is a URL for fsspec, and not a path."""
    return _URL.match(text) is not None


def is_http(text: str) -> bool:
    """Return whether a text is an HTTP URL that no other file system is put in front of."""
    return text.startswith(("http://", "https://"))


def local_path(text: str) -> str | None:
    """Return the path that a ``file://`` or ``local://`` URL names, or None for any other text."""
    scheme = text.partition("://")[0]
    if scheme not in ("file", "local"):
        return None
    from urllib.request import url2pathname

    path = text[len(scheme) + 3 :]
    if not path.startswith("/"):  # file://host/path, or fsspec's file://C:/path
        host, slash, rest = path.partition("/")
        path = slash + rest if host == "localhost" else path
    # fsspec takes the text as it is, and `Path.as_uri` escapes it.
    return path if os.path.exists(path) else url2pathname(path)


def plain_path(place: str | os.PathLike[str]) -> str:
    """Return a path as text; the path of a ``file://`` URL; any other URL as it is."""
    text = os.fspath(place)
    local = local_path(text)
    return text if local is None else local


def refuse_collapsed(path: os.PathLike[Any]) -> None:
    """Refuse a `pathlib.Path` that was made of a URL, and has lost a slash of it.

    Raises:
        PersistError: it is one, and no file of this machine has such a name.
    """
    text = os.fspath(path)
    if not isinstance(text, str) or not _COLLAPSED.match(text) or os.path.exists(text):
        return
    scheme, _, rest = text.partition(":")
    right = f"{scheme}://{rest[1:]}"
    raise PersistError(
        f"this is a path made of a URL, which has lost one of its slashes ({type(path).__name__}).",
        file=shown(text),
        remedy=f"Give the URL as text: {shown(right)!r}.",
    )


def shown(url: str) -> str:
    """Return a URL as messages may show it: without user, password and query."""
    return "::".join(_part_shown(part) for part in url.split("::"))


def _part_shown(part: str) -> str:
    scheme, mark, rest = part.partition("://")
    if not mark:
        return part
    place, slash, path = rest.partition("/")
    if is_http(part):
        cut = re.search(r"[?#]", path if slash else place)
        if cut and slash:
            path = path[: cut.start()]
        elif cut:
            place = place[: cut.start()]
    else:
        path = re.sub(r"\?(?!versionId=[\w.-]+$).*[=&].*$", "", path)
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def joined(url: str, name: str) -> str:
    """Return the URL of a file in a folder; the query of an HTTP URL stays where it belongs."""
    if is_http(url):
        from urllib.parse import quote

        parts = urlsplit(url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()
    return f"{url.rstrip('/')}/{name}"


def filesystem(url: str, storage_options: Mapping[str, object] | None = None) -> tuple[Any, str]:
    """Return the file system of an fsspec URL, and the path in it.

    Raises:
        MissingExtraError: fsspec is not installed, or the library for this kind of URL is not.
        StorageError: there is no such kind of URL, or its options are wrong.
    """
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "an fsspec URL needs the library fsspec.",
            file=shown(url),
            remedy=f"Install it with: pip install 'persist-state[{_extra(url)}]'",
        ) from error
    with explained(url, storage_options):
        files, path = fsspec.core.url_to_fs(url, **(storage_options or {}))
    return files, str(path)


def _extra(url: str) -> str:
    return _EXTRAS.get(url.partition("://")[0], ("fsspec", ""))[0]


def exists(url: str, storage_options: Mapping[str, object] | None = None) -> bool:
    """Return whether there is a file of a URL.

    Raises:
        MissingExtraError: fsspec or the library for this kind of URL is not installed.
        StorageError: the storage refused or failed.
    """
    files, path = filesystem(url, storage_options)
    with explained(url, storage_options):
        files.invalidate_cache(files._parent(path))
        try:
            if is_http(url) and not url.endswith("/"):
                files.info(path)  # HEAD: fsspec's `exists` is a GET
                return True
            return bool(files.exists(path))
        except FileNotFoundError:
            return False


def protocols_of(files: Any) -> tuple[str, ...]:
    """Return the protocols of a file system of fsspec: "s3" and "s3a", say."""
    names = files.protocol
    return (names,) if isinstance(names, str) else tuple(names)


@contextlib.contextmanager
def explained(url: str, storage_options: Mapping[str, object] | None = None) -> Iterator[None]:
    """Turn errors of a storage library into ours, with the URL as their place.

    Raises:
        FileNotFoundError: there is nothing of that name.
        MissingExtraError: a library is missing.
        StorageError: anything else: access refused, no connection, a fault of the server.
    """
    try:
        yield
    except PersistError:
        raise
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        # Not `from error`: a traceback would show its text, which may contain credentials.
        raise _explanation(error, url, storage_options) from None


def _explanation(
    error: Exception, url: str, options: Mapping[str, object] | None
) -> FileNotFoundError | PersistError:
    status = _status_of(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown(url))
    if isinstance(error, ImportError):
        scheme = url.rpartition("::")[2].partition("://")[0]
        extra, library = _EXTRAS.get(scheme, ("", ""))
        install = (
            f"pip install 'persist-state[{extra}]'" if extra else _cleaned(error, url, options)
        )
        return MissingExtraError(
            f"a URL of kind {scheme!r} needs the library {library or error.name or 'that fsspec names'}.",
            file=shown(url),
            remedy=f"Install it with: {install}" if extra else install,
        )
    text = _cleaned(error, url, options)
    if isinstance(error, ValueError) and "rotocol" in text:
        return StorageError(
            f"fsspec knows no such kind of URL ({text}).",
            file=shown(url),
            remedy="Its kinds are those of fsspec.available_protocols(). Another library may have to be installed.",
        )
    kind = type(error).__name__
    if status in (401, 403) or isinstance(error, PermissionError) or "redential" in kind + text:
        return failed(url, status or 403, text if text != "Forbidden" else "")
    if "FileExpired" in kind or (isinstance(error, OSError) and error.errno == errno.EBUSY):
        return replaced(url)
    if "Timeout" in kind:
        text = text or "no answer in time"
    return failed(url, status, f"{kind}: {text}" if text else kind)


def failed(url: str, status: int | None, said: str = "") -> StorageError:
    """Return the error of a request that a server refused, or that did not reach it.

    Args:
        url: what was requested.
        status: the HTTP status, or None.
        said: the reason in the words of the storage, without credentials.
    """
    reason = f" ({said.rstrip('.')})" if said else ""
    if status in (401, 403):
        return StorageError(
            f"the storage refused access, status {status}{reason}.",
            file=shown(url),
            remedy="Check the credentials: storage_options={...}, or the environment variables of "
            "its library; and that they permit this operation.",
            status=status,
        )
    if status is not None and (status == 429 or status >= 500):
        return StorageError(
            f"the server failed, status {status}{reason}.",
            file=shown(url),
            remedy="Try again later; nothing was changed here.",
            status=status,
        )
    what = "the storage answered" if status else "the storage could not be used"
    return StorageError(
        f"{what}{f' with status {status}' if status else ''}{reason}.",
        file=shown(url),
        remedy="Check the URL, the connection, and storage_options={...}.",
        status=status,
    )


def replaced(url: str) -> StorageError:
    """Return the error of a file that is another one than when it was opened."""
    return StorageError(
        "it was replaced while it was being read.",
        file=shown(url),
        remedy="Open it again: what was read before belongs to the old file.",
    )


def is_refusal(error: BaseException) -> bool:
    """Return whether an error says that access is refused, or that a server or a library fails."""
    status = _status_of(error)
    is_known = status is not None and status not in (400, 404)
    return is_known or isinstance(
        error, PermissionError | ImportError | ConnectionError | TimeoutError
    )


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a storage library bears."""
    for each in (error, error.__cause__, error.__context__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):  # botocore
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            found = getattr(each, "status", None) or getattr(each, "status_code", None)
            found = found or getattr(response, "status_code", None) or getattr(each, "code", None)
        if isinstance(found, int) and 400 <= found < 600:
            return found
    return None


def _cleaned(error: BaseException, url: str, options: Mapping[str, object] | None) -> str:
    """Return the text of an error without what is secret in a URL, in options and in the environment."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        text = error.strerror
    for part in url.split("::"):
        text = text.replace(part, shown(part))
    text = re.sub(r"(\w+://)[^/\s'\"]*@", r"\1", text)
    text = re.sub(r"(https?://[^\s'\"?)]*)\?[^\s'\")]*", r"\1", text)
    for secret in sorted({*_secrets(options), *_secrets_of_environment()}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text.strip()[:500]


def _secrets(options: object, is_secret: bool = False) -> Iterator[str]:
    """Yield the texts in options whose names say that they are secret."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _secrets(value, is_secret or bool(_SECRET.search(str(name))))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _secrets(value, is_secret)
    elif is_secret and isinstance(options, str) and len(options) >= 4:
        yield options


def _secrets_of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if len(value) >= 8 and re.search(
            r"SECRET|_TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|CONNECTION_STRING|SAS", name
        ):
            yield value

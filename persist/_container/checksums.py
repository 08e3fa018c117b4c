"""Checksums: ZIP's CRC-32 (accelerated with the extra ``fast``) and digests."""

from __future__ import annotations

import contextlib
import functools
import importlib
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from persist.errors import MissingExtraError, PersistError

__all__ = ["Digest", "crc32", "default_digest", "digest_named"]

CHUNK = 1 << 20  # bytes that are summed and written together; they fit into a second-level cache

crc32: Callable[..., int] = zlib.crc32
with contextlib.suppress(ImportError):  # the extra "fast"
    crc32 = importlib.import_module("isal.isal_zlib").crc32


class Digest(NamedTuple):
    """One algorithm.

    Attributes:
        name: name in the manifest.
        width: number of bytes of a digest.
        once: returns the digest of bytes.
        start: returns an object with ``update`` and ``digest``.
    """

    name: str
    width: int
    once: Callable[[Any], bytes]
    start: Callable[[], Any]


def _xxh3() -> Digest:
    xxhash = importlib.import_module("xxhash")
    return Digest("xxh3-128", 16, xxhash.xxh3_128_digest, xxhash.xxh3_128)


def _blake3() -> Digest:
    blake3 = importlib.import_module("blake3").blake3
    return Digest("blake3", 32, lambda data: bytes(blake3(data).digest()), blake3)


def _sha256() -> Digest:
    import hashlib

    return Digest("sha256", 32, lambda data: hashlib.sha256(data).digest(), hashlib.sha256)


_KNOWN: dict[str, tuple[Callable[[], Digest], str]] = {
    "xxh3-128": (_xxh3, "fast"),
    "sha256": (_sha256, ""),
    "blake3": (_blake3, "blake3"),
}


@functools.cache
def digest_named(name: str) -> Digest:
    """Return the algorithm of a name.

    Raises:
        PersistError: no algorithm has that name.
        MissingExtraError: its library is not installed.
    """
    if name not in _KNOWN:
        raise PersistError(
            f"there is no digest {name!r}.", remedy=f"Choose one of {', '.join(_KNOWN)}."
        )
    make, extra = _KNOWN[name]
    try:
        return make()
    except ImportError as error:
        raise MissingExtraError(
            f"the digest {name} needs a library that is not installed.",
            remedy=f"Install it with: pip install 'persist-state[{extra}]'",
        ) from error


def default_digest() -> Digest | None:
    """Return XXH3 if the extra ``fast`` is installed, else None."""
    try:
        return digest_named("xxh3-128")
    except MissingExtraError:
        return None

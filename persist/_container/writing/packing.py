"""How the arrays of a container are compressed: one method for all, or one for each natural path."""

from __future__ import annotations

import fnmatch
import functools
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from persist._container.layout import METHODS
from persist.errors import MissingExtraError, PersistError

__all__ = ["Packing", "deflate", "packing"]

Packer = Callable[[Iterable[Any]], list[bytes]]

_LEVELS = {"deflate": range(10), "zstd": range(-7, 23)}


def deflate(chunks: Iterable[Any], level: int = 6) -> list[bytes]:
    """Return the deflated chunks."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return [*(packer.compress(chunk) for chunk in chunks), packer.flush()]


def _zstd(chunks: Iterable[Any], level: int = 3) -> list[bytes]:
    import zstandard

    packer = zstandard.ZstdCompressor(level).compressobj()
    return [*(packer.compress(chunk) for chunk in chunks), packer.flush()]


def _as_it_is(chunks: Iterable[Any]) -> list[bytes]:
    return list(chunks)


_STORED = (METHODS["stored"], _as_it_is)


class Packing:
    """What compresses the members of a container.

    Args:
        rules: patterns of natural paths, with the method and the function that packs; None stores.
    """

    def __init__(self, rules: list[tuple[str, tuple[int, Packer] | None]]) -> None:
        self._paths = {text: found for text, found in rules if not _is_pattern(text)}
        self._patterns = [(text, found) for text, found in rules if _is_pattern(text)]

    def of(self, member: bytes) -> tuple[int, Packer]:
        """Return the method of ZIP for a member, and the function that packs its bytes."""
        path = member.decode("utf-8", "replace").removesuffix(".npy")
        if path in self._paths:
            return self._paths[path] or _STORED
        for pattern, found in self._patterns:
            if fnmatch.fnmatchcase(path, pattern):
                return _STORED if found is None else found
        return _STORED


def _is_pattern(text: str) -> bool:
    return not {"*", "?", "["}.isdisjoint(text)


def packing(compress: object) -> Packing | None:
    """Return how members are packed, as the keyword ``compress`` states; None for not at all.

    Raises:
        PersistError: there is no such compression, or no such level.
        MissingExtraError: its library is not installed.
    """
    if compress is None:
        return None
    if not isinstance(compress, Mapping):
        return Packing([("*", _chosen(compress))])
    return Packing([(str(pattern), _chosen(said)) for pattern, said in compress.items()])


def _chosen(said: object) -> tuple[int, Packer] | None:
    if said is None:
        return None
    codec, level = said if isinstance(said, tuple) and len(said) == 2 else (said, None)
    if not isinstance(codec, str) or codec not in _LEVELS:
        raise PersistError(
            f"there is no compression {said!r}.",
            remedy='Choose "deflate", "zstd", one of them with a level, such as ("zstd", 19), or None.',
        )
    levels = _LEVELS[codec]
    if level is not None and (type(level) is not int or level not in levels):
        raise PersistError(
            f"{codec} has no level {level!r}.",
            remedy=f"Levels are {levels[0]} to {levels[-1]}.",
        )
    if codec == "zstd":
        try:
            import zstandard  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                "compression with zstd needs the library zstandard.",
                remedy="Install it with: pip install 'persist-state[zstd]'",
            ) from error
    pack: Callable[..., list[bytes]] = deflate if codec == "deflate" else _zstd
    return METHODS[codec], pack if level is None else functools.partial(pack, level=level)

"""MessagePack, and what Flax saves with it: nested dicts of arrays.

Written by  ``flax.serialization.to_bytes`` and ``msgpack_serialize`` (Flax 0.1 to 0.12; ``flax.training.
            checkpoints.save_checkpoint``), ``flax_model.msgpack`` of transformers and diffusers, the
            ``checkpoint`` of Orbax's first releases; and any program that packs a map with text keys.
Evidence    ``flax/serialization.py`` (``_MsgpackExtType``, ``_ndarray_to_bytes``, ``_chunk``); ``spec.md`` of
            msgpack; files of Flax 0.12.8, compared with ``flax.serialization.msgpack_restore``.
Traps       There is no magic number. Flax stores lists and tuples as dicts with the keys "0", "1" and so on.
            Arrays above 1 GiB are in pieces, as a dict. The data of an array is in C order in the byte
            order of the machine, taken as little-endian; dtypes are named as NumPy or JAX names them.
Gives       The tree as written, with arrays for extension 1, complex numbers (2), NumPy scalars (3) and the
            pieces of one array joined; other extensions are records ``msgpack.extension`` with ``code`` and
            ``data``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from persist._wire.base.source import Source
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader
from persist.tree import LazyArray, Record
from persist.typing import Array, DType

__all__ = ["MsgpackReader"]

_MOST = 4096  # values that are looked at for a claim
_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"


class MsgpackReader(Reader):
    """Files of MessagePack: a map with text keys, or arrays of Flax."""

    name = "msgpack"
    suffixes = (".msgpack",)
    refines = ("pickle",)  # by chance the first bytes may run as opcodes

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.size < 4:
            return None
        first, second = source.head(2)
        is_map = 0x81 <= first <= 0x8F and (0xA1 <= second <= 0xBF or second == 0xD9)
        is_extension = first in (0xC7, 0xC8, 0xC9)
        if not is_map and not is_extension and first not in (0xDE, 0xDF):
            return None
        return _claim(source)

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.messages.msgpack import unpacked

        reading = _Reading(source)
        tree, end = unpacked(source, 0, reading.extension, reading.mapping)
        if end < source.size:
            reading.damage.append(f"{source.size - end:,} bytes follow the value and were not read")
        return Content(tree, damage=reading.damage)


def _claim(source: Source) -> str | None:
    """A reason if the file is a map with text keys that is whole, or holds an array of Flax."""
    from persist._wire.messages.msgpack import token

    at, seen = 0, 0
    left: list[list[Any]] = [[1, False]]  # items that follow, and whether the next one is a key
    try:
        while left:
            if not left[-1][0]:
                left.pop()
                continue
            if seen == _MOST:
                return "begins as a MessagePack map with text keys"
            found = token(source, at)
            at, seen = found.end, seen + 1
            is_key = left[-1][1] is True
            left[-1][0] -= 1
            if left[-1][1] is not False:
                left[-1][1] = None if is_key else True
            if is_key and len(left) == 2 and found.kind != "str":
                return None
            if found.kind == "ext" and found.value == _NDARRAY and _is_array(source, found.start):
                return "MessagePack with an array of Flax"
            if found.kind in ("array", "map") and found.size:
                is_map = found.kind == "map"
                left.append([found.size * (1 + is_map), is_map])
    except DamagedFileError:
        return None
    return "a MessagePack map with text keys" if at == source.size and seen > 1 else None


def _is_array(source: Source, at: int) -> bool:
    """Whether an extension begins as (shape, name of the dtype, bytes)."""
    from persist._wire.messages.msgpack import token

    whole = token(source, at)
    if whole.kind != "array" or whole.size != 3:
        return False
    shape = token(source, whole.end)
    if shape.kind != "array" or shape.size > 64:
        return False
    at = shape.end
    for _ in range(shape.size):
        extent = token(source, at)
        if type(extent.value) is not int or extent.kind != "value":
            return False
        at = extent.end
    return token(source, at).kind in ("str", "bin")


class _Reading:
    """Makes arrays of extensions, and reports what is odd."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.damage: list[str] = []

    def mapping(self, keys: list[Any], values: list[Any]) -> Any:
        """A dict; the pieces of one array are joined."""
        made: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            if not isinstance(key, str | bytes | int | float | complex | None):
                raise self.damaged(f"a key of a map is a {type(key).__name__}.")
            if key in made:
                self.damage.append(
                    f"the key {key!r:.80} occurs twice in a map; the last one was taken"
                )
            made[key] = value
        return self.joined(made) if made.get(_CHUNKED) is True else made

    def joined(self, pieces: dict[Any, Any]) -> Any:
        """The array whose pieces, with one axis each, are in a dict."""
        shape = _ordered(pieces.get("shape"))
        chunks = _ordered(pieces.get("chunks"))
        if shape is None or not chunks or not all(type(n) is int and n >= 0 for n in shape):
            raise self.damaged("an array in pieces lacks its shape or its pieces.")
        first = chunks[0]
        if not all(
            isinstance(chunk, np.ndarray | LazyArray)
            and chunk.ndim == 1
            and chunk.dtype == first.dtype
            for chunk in chunks
        ):
            raise self.damaged("the pieces of an array are no arrays of one axis and dtype.")
        if sum(chunk.size for chunk in chunks) != math.prod(shape) or len(shape) > 32:
            raise self.damaged(f"the pieces of an array do not fill its shape {shape}.")

        def fetch() -> Array:
            self.source.spend(math.prod(shape) * first.dtype.itemsize)
            return np.concatenate([np.asarray(chunk) for chunk in chunks]).reshape(shape)

        return LazyArray(first.dtype, tuple(shape), fetch)

    def extension(self, code: int, data: Source) -> Any:
        """The value of an extension of Flax; a record of any other."""
        from persist._wire.messages.msgpack import unpacked

        if code in (_NDARRAY, _SCALAR):
            array = self.array(data)
            return np.asarray(array)[()] if code == _SCALAR else array
        if code == _COMPLEX:
            parts, _ = unpacked(data, 0, self.no_extension, self.mapping)
            if (
                not isinstance(parts, list)
                or len(parts) != 2
                or not all(isinstance(part, int | float) for part in parts)
            ):
                raise self.damaged("a complex number has other parts than two numbers.")
            return complex(float(parts[0]), float(parts[1]))
        self.source.spend(data.size)
        return Record("msgpack.extension", {"code": code, "data": data.read(0, data.size)})

    def no_extension(self, code: int, data: Source) -> Any:
        """Refuse an extension inside of one, which Flax never writes."""
        raise self.damaged(f"an extension of code {code} is inside of another.")

    def array(self, data: Source) -> Any:
        """The array of (shape, name of the dtype, bytes), without a copy."""
        from persist._wire.base.ml_dtypes import decodable
        from persist._wire.messages.msgpack import token, unpacked

        if not _is_array_of(data):
            raise self.damaged("an array is no shape, dtype and bytes.")
        shape, at = unpacked(data, token(data, 0).end, self.no_extension, self.mapping)
        name, at = unpacked(data, at, self.no_extension, self.mapping)
        found = token(data, at)
        dtype = self.dtype(name if isinstance(name, str) else bytes(name).decode("latin-1"))
        if found.kind not in ("bin", "str") or math.prod(shape) * dtype.itemsize != found.size:
            raise self.damaged(
                f"an array of dtype {dtype} and shape {shape} has {found.size:,} bytes."
            )
        return decodable(data.array(found.start, dtype, tuple(shape)))

    def dtype(self, name: str) -> DType:
        from persist._wire.base.dtype_text import from_text
        from persist._wire.base.ml_dtypes import extended

        try:
            dtype = from_text(name)
        except (ValueError, TypeError):
            try:
                return extended(name)
            except (KeyError, ValueError):
                raise self.damaged(f"an array has the dtype {name!r:.80}.") from None
        if dtype.hasobject:
            raise self.damaged(f"an array has the dtype {name!r:.80}, whose values are no bytes.")
        return dtype.newbyteorder("<")

    def damaged(self, what: str) -> DamagedFileError:
        """Return an error that names the file."""
        return DamagedFileError(
            what,
            file=self.source.name,
            remedy="The file is damaged: copy it again from where it came from.",
        )


def _is_array_of(data: Source) -> bool:
    try:
        return _is_array(data, 0)
    except DamagedFileError:
        return False


def _ordered(found: object) -> list[Any] | None:
    """The values of a dict with the keys "0", "1" and so on, in that order."""
    if not isinstance(found, dict) or any(str(n) not in found for n in range(len(found))):
        return None
    return [found[str(n)] for n in range(len(found))]

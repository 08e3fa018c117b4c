"""safetensors: a JSON header, then the raw tensors; read by its strict rules, and written.

Written by  Hugging Face's library ``safetensors`` since 0.2 (2022), from torch,
            NumPy, JAX, TensorFlow, PaddlePaddle, MLX; by many other programs.
Evidence    the format's description and ``safetensors/src/tensor.rs`` (header,
            ``validate``, the list of types) of 0.2.0 to 0.8.0; files written by
            0.2.0, 0.2.8, 0.3.3 and 0.8.0.
Traps       The header's order need not be the data's (0.2.0). Before 0.3 the
            header is not padded, so tensors may be unaligned. F4 and F6 take
            less than a byte. 0.3.3 writes broken JSON for metadata without
            tensors; it is read as repaired.
Gives       A dict of arrays by name, and ``__metadata__``, a dict of text.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from typing import IO, Any, NoReturn

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.ml_dtypes import (
    decodable,
    dtype_name,
    dtype_text,
    encoded,
    extended,
    stored_dtype,
)
from persist._wire.base.source import Source
from persist._wire.torch.safetensors_header import Rows, Tensor, rows_of
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.tree import LazyArray
from persist.typing import DType

__all__ = ["SafetensorsReader"]

_MOST = 100_000_000  # bytes of a header, MAX_HEADER_SIZE in tensor.rs
_METADATA = "__metadata__"

# The types in the order of ``enum Dtype``, which is the order of their alignment and, turned
# round, that in which a writer lays tensors down. Bits of an element, NumPy's or ml_dtypes' name.
_TYPES: dict[str, tuple[int, str]] = {
    "BOOL": (8, "?"),
    "F4": (4, "float4_e2m1fn"),
    "F6_E2M3": (6, "float6_e2m3fn"),
    "F6_E3M2": (6, "float6_e3m2fn"),
    "U8": (8, "u1"),
    "I8": (8, "i1"),
    "F8_E5M2": (8, "float8_e5m2"),
    "F8_E4M3": (8, "float8_e4m3fn"),
    "F8_E8M0": (8, "float8_e8m0fnu"),
    "F8_E4M3FNUZ": (8, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (8, "float8_e5m2fnuz"),
    "I16": (16, "<i2"),
    "U16": (16, "<u2"),
    "F16": (16, "<f2"),
    "BF16": (16, "bfloat16"),
    "I32": (32, "<i4"),
    "U32": (32, "<u4"),
    "F32": (32, "<f4"),
    "C64": (64, "<c8"),
    "F64": (64, "<f8"),
    "I64": (64, "<i8"),
    "U64": (64, "<u8"),
}
_PACKED = (b'"F4"', b'"F6_')  # how a header names the types of less than a byte
_MOST_NAMED = 8
_RANKS = {name: rank for rank, name in enumerate(_TYPES)}


class SafetensorsReader(Reader):
    """Hugging Face's safetensors."""

    name = "safetensors"
    suffixes = (".safetensors",)
    refines = ("pickle",)  # a header's length may by chance begin as a pickle opcode
    writes = True
    is_flat = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.size < 10:
            return None
        head = source.head(10)
        length = int.from_bytes(head[:8], "little")
        if head[8:9] != b"{" or not 2 <= length < 1 << 40:
            return None
        if head[9:10] not in b'"} \t\r\n' or (length > source.size - 8 and head[9:10] != b'"'):
            return None
        return f"a JSON header of {length:,} bytes behind its length"

    def read(self, source: Source, options: Options) -> Content:
        data, start = _header(source)
        has_packed = any(mark in data for mark in _PACKED)
        found = None if has_packed else _rows(source, data, source.size - start)
        if found is not None:
            return _late(source, start, *found)
        header, damage = _parsed(source, _text(source, data))
        metadata = _metadata(source, header)
        lost = damage if options.salvage else None
        tensors = _tensors(source, header, source.size - start, lost)
        tree = _arrays(source, start, ((name, *tensor) for name, tensor in tensors.items()))
        if metadata is not None:
            tree[_METADATA] = metadata

        structure = functools.partial(_structure, start, tensors, metadata)
        return Content(tree, structure=structure, damage=damage, notes=_notes_of(tensors))

    def write(self, tree: Any, target: IO[bytes], **options: Any) -> None:
        """Write arrays by name.

        Args:
            tree: a mapping of names to arrays; ``__metadata__`` in it is the metadata.
            target: an open binary file.
            options: ``metadata``, a mapping of text to text.

        Raises:
            FormatError: there is anything else in the tree.
        """
        metadata = options.pop("metadata", None)
        if options:
            raise TypeError(f"safetensors knows no option {sorted(options)[0]!r}")
        _write(tree, target, metadata)


def _broken(source: Source, rule: str, what: str, where: str = "the header") -> NoReturn:
    raise DamagedFileError(
        what, file=source.name, where=where, remedy=f"The rule of safetensors: {rule}.", rule=rule
    )


def _notes_of(tensors: Mapping[str, Tensor]) -> list[str]:
    """Say of which tensors the bytes are given, since they hold several numbers each."""
    packed = [name for name, (kind, *_) in tensors.items() if _TYPES[kind][0] < 8]
    if not packed:
        return []
    kinds = sorted({tensors[name][0] for name in packed})
    more = f" and {len(packed) - _MOST_NAMED:,} more" if len(packed) > _MOST_NAMED else ""
    return [
        f"{', '.join(packed[:_MOST_NAMED])}{more}: packed bytes of {', '.join(kinds)}, whose numbers take less than "
        "a byte each; they are codes and no numbers"
    ]


# The header.


def _header(source: Source) -> tuple[bytes, int]:
    """Return the header, and where the data begins."""
    length = int.from_bytes(source.read(0, 8), "little")
    if length > _MOST:
        _broken(source, f"a header has at most {_MOST:,} bytes", f"it has {length:,} bytes.")
    if length > source.size - 8:
        _broken(
            source,
            "the file holds its whole header and all data",
            f"{length:,} bytes are claimed, {source.size - 8:,} are left; the file is truncated.",
        )
    data = source.read(8, length)
    if data[:1] != b"{":
        _broken(source, "a header begins with '{'", f"it begins with {data[:1]!r}.")
    return data, 8 + length


def _text(source: Source, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        _broken(source, "a header is JSON in UTF-8", f"it is no UTF-8 ({error}).")


def _structure(
    start: int, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None
) -> dict[str, Any]:
    return {
        "header_length": start - 8,
        "tensors": {
            name: {"dtype": kind, "shape": list(shape)}
            for name, (kind, shape, _, _) in tensors.items()
        },
        "metadata": metadata or {},
    }


def _rows(source: Source, data: bytes, size: int) -> tuple[Rows, dict[str, str] | None] | None:
    """Return tensors and metadata of a header in the writers' usual spelling; otherwise None."""
    if not data.startswith(_FIRST):
        rows = rows_of(data[1:], size, _BITS)
        return None if rows is None or _METADATA in rows else (rows, None)
    try:
        metadata, end = _FLAT.raw_decode(data.decode("utf-8"), len(_FIRST) - 1)
        end = len(data.decode("utf-8")[:end].encode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if (
        data[end : end + 1] != b"," or b"\\u" in data[:end]
    ):  # the slow path checks for lone surrogates
        return None
    if not all(type(text) is str for text in metadata.values()):
        return None
    rows = rows_of(data[end + 1 :], size, _BITS)
    return None if rows is None or _METADATA in rows else (rows, metadata)


def _once(items: list[tuple[str, Any]]) -> dict[str, object]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("a name occurs twice")
    return found


_FLAT = json.JSONDecoder(object_pairs_hook=_once)
_FIRST = b'{"__metadata__":{'
_BITS = {kind: bits for kind, (bits, _) in _TYPES.items()}


def _parsed(source: Source, text: str) -> tuple[dict[str, Any], list[str]]:
    damage = []
    if text.startswith('{},"__metadata__":'):
        text = "{" + text[3:]
        damage.append(
            'the header was broken JSON ({},"__metadata__": ...), as safetensors 0.3 writes it for '
            "metadata without tensors; it was read as repaired"
        )

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            seen: set[str] = set()
            again = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            _broken(source, "no name occurs twice", f"{again[:200]!r} occurs twice.")
        return found

    try:
        header = json.loads(text, parse_constant=_no_constant)
        if not _is_each_kept(text, header):  # a name is repeated, or a text contains a colon
            header = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(header, ensure_ascii=False).encode("utf-8")  # raises for lone surrogates
    except RecursionError:
        _broken(source, "a header is one flat JSON object", "it is nested too deeply.")
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        _broken(source, "a header is JSON in UTF-8", f"it is not ({_brief(error)}).")
    return header, damage


def _is_each_kept(text: str, header: object) -> bool:
    """Return whether the text has as many colons as there are pairs, so that no name was repeated."""
    if not isinstance(header, dict):
        return False
    inner = sum(len(value) for value in header.values() if type(value) is dict)
    return text.count(":") == len(header) + inner


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _brief(error: BaseException) -> str:
    return str(error)[:200]


def _metadata(source: Source, header: dict[str, object]) -> dict[str, str] | None:
    metadata = header.pop(_METADATA, None)
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        _broken(
            source,
            "__metadata__ maps text to text",
            f"it is {_shown(metadata)}.",
            f"the header, {_METADATA!r}",
        )
    return metadata


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _tensors(
    source: Source, header: dict[str, object], size: int, lost: list[str] | None = None
) -> dict[str, Tensor]:
    """Validate every tensor; return (type, shape, begin, end) by name, in the header's order.

    With ``lost``, a list for messages about damage, tensors beyond the end of the file are left out.
    """
    tensors = _sound(header)
    if tensors is None:  # some rule is broken: raise the error that says which and where
        tensors = {name: _tensor(source, name, info) for name, info in header.items()}
    at = 0
    for name, (_, _, begin, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != at:
            how = "overlaps what is before it" if begin < at else "leaves a hole before it"
            _broken(
                source,
                "tensors follow each other without hole or overlap",
                f"its data_offsets [{begin}, {end}] should begin at {at}; it {how}.",
                f"tensor {name!r}",
            )
        at = end
    if at > size and lost is not None:
        whole = {name: tensor for name, tensor in tensors.items() if tensor[3] <= size}
        gone = [repr(name[:80]) for name in tensors if name not in whole]
        more = f", ... {len(gone) - 8:,} more" if len(gone) > 8 else ""
        lost.append(
            f"the file is truncated: {at:,} bytes of tensors are claimed, {size:,} are there; "
            f"{len(gone):,} of {len(tensors):,} tensors are lost ({', '.join(gone[:8])}{more})"
        )
        return whole
    if at > size:
        _broken(
            source,
            "the file holds its whole header and all data",
            f"{at:,} bytes of tensors are claimed, {size:,} follow the header; "
            "the file is truncated.",
            "the data",
        )
    if at < size:
        _broken(
            source,
            "nothing follows the last tensor",
            f"{size - at:,} bytes follow it.",
            "the data",
        )
    return tensors


def _sound(header: dict[str, Any]) -> dict[str, Tensor] | None:
    """Return all tensors if all pass the rules of `_tensor`, else None.

    Checked in bulk, because a file may have many thousand tensors.
    """
    try:
        kinds = [info["dtype"] for info in header.values()]
        shapes = [info["shape"] for info in header.values()]
        offsets = [info["data_offsets"] for info in header.values()]
        bits = [_TYPES[kind][0] for kind in kinds]
    except (KeyError, TypeError):
        return None
    if {*map(type, shapes), *map(type, offsets)} - {list} or {*map(len, offsets)} - {2}:
        return None
    numbers = [*itertools.chain(*shapes, *offsets)]
    if {*map(type, numbers)} - {int} or min(numbers, default=0) < 0:
        return None
    if max(numbers, default=0) >= 1 << 64 or max(map(len, shapes), default=0) > 64:
        return None
    tensors: dict[str, Tensor] = {}
    for name, kind, width, shape, (begin, end) in zip(
        header, kinds, bits, shapes, offsets, strict=True
    ):
        if math.prod(shape) * width != 8 * (end - begin):
            return None
        tensors[name] = (kind, tuple(shape), begin, end)
    return tensors


def _tensor(source: Source, name: str, info: object) -> Tensor:
    where = f"tensor {name!r}"
    if not isinstance(info, dict) or not {"dtype", "shape", "data_offsets"} <= info.keys():
        _broken(
            source, "a tensor has dtype, shape and data_offsets", f"it is {_shown(info)}.", where
        )
    kind, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        _broken(
            source,
            f"the dtypes are {', '.join(_TYPES)}",
            f"its dtype is {_shown(kind)}.",
            where,
        )
    if not _is_sizes(shape) or len(shape) > 64:
        _broken(
            source, "a shape is a list of whole numbers", f"its shape is {_shown(shape)}.", where
        )
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _broken(
            source,
            "data_offsets are [begin, end] in the data",
            f"they are {_shown(offsets)}.",
            where,
        )
    begin, end = offsets
    bits = math.prod(shape) * _TYPES[kind][0]
    if bits % 8:
        _broken(
            source,
            "a tensor takes whole bytes",
            f"a shape of {_shown(shape)} and {kind} are {bits} bits.",
            where,
        )
    if bits // 8 != end - begin:
        _broken(
            source,
            "shape times dtype are the bytes between the offsets",
            f"a shape of {_shown(shape)} and {kind} are {bits // 8:,} bytes, its data_offsets "
            f"[{begin}, {end}] are {end - begin:,}.",
            where,
        )
    return kind, tuple(shape), begin, end


def _is_sizes(value: object) -> bool:
    if type(value) is not list:
        return False
    # Sets, not a generator: 20,000 tensors in a file are not rare.
    return not value or ({*map(type, value)} == {int} and min(value) >= 0 and max(value) < 1 << 64)


# The tensors.


@functools.cache
def _dtype_of(kind: str) -> DType:
    bits, name = _TYPES[kind]
    if bits < 8:
        return np.dtype("u1")
    return extended(name) if name[0] in "bf" and len(name) > 3 else from_text(name)


def _late(source: Source, start: int, rows: Rows, metadata: dict[str, str] | None) -> Content:
    """Return the content of a header that was parsed by the fast path; arrays are made on request."""
    whole = _whole(source)
    made: dict[str, Any] = {}

    def find(name: str) -> Any:
        if name not in made and name in rows:
            made[name] = _array(source, whole, start, *rows[name])
        return made.get(name)

    def make() -> dict[str, Any]:
        tree: dict[str, object] = {} if metadata is None else {_METADATA: metadata}
        tree.update(_arrays(source, start, rows.all()))
        tree.update(made)
        return tree

    structure = functools.partial(_structure, start, rows, metadata)
    return Content(make_tree=make, structure=structure, find=find)


def _whole(source: Source) -> memoryview | None:
    return source.view(0, source.size) if source.is_mapped else None


def _arrays(
    source: Source, start: int, tensors: Iterable[tuple[str, str, tuple[int, ...], int, int]]
) -> dict[str, Any]:
    """Return every tensor by name, without reading its data.

    If the file is mapped, plain dtypes become views of the one map directly: 0.5 µs each
    instead of 5 µs.
    """
    whole = _whole(source)
    plain = {} if whole is None else _PLAIN
    arrays: dict[str, Any] = {}
    for name, kind, shape, begin, end in tensors:
        if kind in plain and end > begin and len(shape) <= 32:
            arrays[name] = np.ndarray(shape, plain[kind], whole, start + begin)
        else:
            arrays[name] = _array(source, whole, start, kind, shape, begin, end)
    return arrays


_PLAIN = {kind: from_text(name) for kind, (_, name) in _TYPES.items() if len(name) <= 3}


def _array(
    source: Source,
    whole: memoryview | None,
    start: int,
    kind: str,
    shape: tuple[int, ...],
    begin: int,
    end: int,
) -> object:
    bits = _TYPES[kind][0]
    if bits < 8:
        shape = _packed(shape, bits)
    if whole is not None and end > begin and len(shape) <= 32:
        return decodable(np.ndarray(shape, _dtype_of(kind), whole, start + begin))
    return decodable(source.array(start + begin, _dtype_of(kind), shape))


def _packed(shape: tuple[int, ...], bits: int) -> tuple[int, ...]:
    """Return the shape of the packed bytes: by rows if rows end on byte boundaries, else flat."""
    row = shape[-1] * bits
    return (*shape[:-1], row // 8) if row % 8 == 0 else (math.prod(shape) * bits // 8,)


# Writing.


def _write(tree: object, target: IO[bytes], metadata: Mapping[str, str] | None) -> None:
    if not isinstance(tree, Mapping):
        raise FormatError(
            f"safetensors holds arrays by name, not a {type(tree).__name__}.",
            remedy="Pass a dict of arrays.",
        )
    arrays: dict[str, tuple[str, Any]] = {}
    for name, value in tree.items():
        if name == _METADATA:
            metadata = value if metadata is None else metadata
            continue
        if not isinstance(name, str):
            raise FormatError(f"a tensor's name must be text; this is {_shown(name)}.")
        arrays[name] = (_kind_of(name, value), value)
    header: dict[str, object] = {}
    if metadata:
        header[_METADATA] = _checked_metadata(metadata)
    order = sorted(arrays, key=lambda name: (-_RANKS[arrays[name][0]], name))
    at = 0
    for name in order:
        kind, value = arrays[name]
        end = at + math.prod(value.shape) * stored_dtype(value).itemsize
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text = text.ljust(-(-len(text) // 8) * 8)
    if len(text) > _MOST:
        raise FormatError(f"the header would have {len(text):,} bytes, more than {_MOST:,}.")
    target.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        target.write(_bytes_of(arrays[name][1]))


_KINDS = {from_text(name): kind for kind, (bits, name) in _TYPES.items() if len(name) <= 3}


def _kind_of(name: str, value: object) -> str:
    """The dtype's name in safetensors."""
    if isinstance(value, np.ndarray | np.generic | LazyArray):
        dtype = stored_dtype(value)
        kind = None if dtype.kind == "V" else _KINDS.get(dtype.newbyteorder("<"))
        if kind is not None:
            return kind
        for kind, (bits, called) in _TYPES.items():
            if bits >= 8 and dtype_name(dtype) == called:
                return kind
        raise FormatError(
            f"safetensors has no dtype for {dtype_text(dtype)}.",
            where=f"{name!r}",
            remedy=f"It has {', '.join(_TYPES)}; convert the array first.",
        )
    raise FormatError(
        f"safetensors holds arrays only, not a {type(value).__name__}.",
        where=f"{name!r}",
        remedy="Flatten nested dicts to one level of names, and put text into metadata=.",
    )


def _checked_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, Mapping) or not all(
        isinstance(part, str) for pair in metadata.items() for part in pair
    ):
        raise FormatError(
            f"the metadata of safetensors maps text to text; this is {_shown(metadata)}.",
            remedy="Convert the values to text, for example to JSON.",
        )
    return dict(metadata)


def _bytes_of(value: object) -> memoryview:
    """The C-order little-endian bytes of an array."""
    array = encoded(value)
    little = array.dtype.newbyteorder("<") if array.dtype.kind in "iufcb" else array.dtype
    array = np.ascontiguousarray(array, dtype=little)
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)

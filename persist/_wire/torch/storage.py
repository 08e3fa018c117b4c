"""Storages: runs of bytes that many tensors look into, by offset and stride.

A `Blob` is the bytes, in a file; a `Storage` looks at all of them as elements of
one dtype, a `Tensor` at some, by offset, shape and strides that count elements.
Both are lazy arrays: until they are read nothing of the blob is, and then it is a
view of the mapped file. Tensors of one blob share its memory.

Dtypes that NumPy lacks come from ``ml_dtypes``; without it the elements are kept as they are
stored (`Tensor.encoded`), bfloat16 is read as float32, and others cannot be read. Their name is in
`Tensor.kind` either way.
Without it a complex number of two halves is a pair of them, in a dtype that is also named
``complex32``.

Source of the names: ``torch/storage.py`` (``_dtype_to_storage_type_map``),
``c10/core/ScalarType.h``, of PyTorch 0.1 to 2.13.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.ml_dtypes import (
    decoded,
    decoded_dtype,
    dtype_name,
    encoded,
    extended,
    missing_name,
)
from persist._wire.base.source import Source
from persist._wire.torch.quantized import QuantizedTensor, tensor_of_torch
from persist.errors import DamagedFileError, MissingExtraError, PersistError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = [
    "STORAGES",
    "Blob",
    "Storage",
    "Tensor",
    "Tensors",
    "as_torch",
    "dtype_of",
    "kind_of",
    "placed_on",
    "placement",
    "span_of",
]

# The dtype's own name -> NumPy's code for it, or the name of a dtype of ml_dtypes.
DTYPES = {
    "float16": "<f2", "float32": "<f4", "float64": "<f8", "bfloat16": "bfloat16",
    "uint8": "|u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
    "int8": "|i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "bool": "|b1",
    "complex32": "complex32", "complex64": "<c8", "complex128": "<c16",
    "float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2",
    "float8_e4m3fnuz": "float8_e4m3fnuz", "float8_e5m2fnuz": "float8_e5m2fnuz",
    "float8_e8m0fnu": "float8_e8m0fnu", "float4_e2m1fn_x2": "|u1",
    "qint8": "|i1", "quint8": "|u1", "qint32": "<i4", "quint4x2": "|u1", "quint2x4": "|u1",
    "bits1x8": "|u1", "bits2x4": "|u1", "bits4x2": "|u1", "bits8": "|u1", "bits16": "<u2",
    **{f"uint{bits}": "|u1" for bits in range(1, 8)},
    **{f"int{bits}": "|i1" for bits in range(1, 8)},
}  # fmt: skip

_ALIASES = {
    "half": "float16", "float": "float32", "double": "float64", "chalf": "complex32",
    "cfloat": "complex64", "cdouble": "complex128", "short": "int16", "int": "int32", "long": "int64",
}  # fmt: skip

STORAGES = {
    "Half": "float16", "Float": "float32", "Double": "float64", "BFloat16": "bfloat16",
    "Byte": "uint8", "Char": "int8", "Short": "int16", "Int": "int32", "Long": "int64",
    "Bool": "bool", "ComplexHalf": "complex32", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32",
    "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
    "Untyped": "uint8", "_Untyped": "uint8",
}  # fmt: skip
"""Prefix of ``Storage`` or ``Tensor`` in the name of a class -> the dtype."""

_MOST = 1 << 58  # elements of a tensor, expanded ones too: beyond, NumPy cannot count the bytes


class complex(np.void):  # type: ignore[misc]  # noqa: N801 - NumPy makes complex32 of it
    """A complex number of two halves."""


def _complex32() -> DType:
    """That of ml_dtypes, which has one since 0.6, or a pair of halves that is called the same."""
    try:
        import ml_dtypes

        found: DType = np.dtype(ml_dtypes.complex32)
        return found
    except (ImportError, AttributeError):
        return np.dtype((complex, [("real", "<f2"), ("imag", "<f2")]))


@functools.lru_cache(1024)
def kind_of(name: str) -> str | None:
    """Return the dtype that a storage's or tensor's class, or a dtype's name, means; else None."""
    for end in ("Storage", "Tensor"):
        if name.endswith(end):
            return STORAGES.get(name[: -len(end)])
    name = _ALIASES.get(name, name)
    return name if name in DTYPES else None


@functools.cache
def dtype_of(kind: str) -> DType:
    """Return the little-endian NumPy dtype that holds elements of ``kind``."""
    code = DTYPES[kind]
    if code == "complex32":
        return _complex32()
    if code[0] in "<|":
        return from_text(code)
    return extended(code)


class Blob:
    """The bytes of a storage: where they are, or how to get there.

    Attributes:
        key: what the file calls it.
        nbytes: how many bytes there are.
        location: the device that they were on when they were saved.
        is_big: whether its numbers are big-endian.
    """

    __slots__ = ("_fetch", "_memory", "_source", "is_big", "key", "location", "nbytes")

    def __init__(
        self,
        key: str,
        nbytes: int,
        fetch: Callable[[], Source] | None = None,
        *,
        location: str = "cpu",
        is_big: bool = False,
    ) -> None:
        self.key = key
        self.nbytes = nbytes
        self.location = location
        self.is_big = is_big
        self._fetch = fetch
        self._source: Source | None = None
        self._memory: Array | None = None

    @classmethod
    def of(cls, array: Array, key: str = "") -> Blob:
        """Return a blob of the bytes that a contiguous array holds."""
        blob = cls(key, array.nbytes)
        blob._memory = array.reshape(-1).view(np.uint8)
        return blob

    def place(self, source: Source) -> None:
        """Say where the bytes are, which was not known when it was first named."""
        self._source = source

    @property
    def is_placed(self) -> bool:
        """Whether its bytes can be had."""
        return self._fetch is not None or self._source is not None or self._memory is not None

    def bytes(self, start: int, length: int) -> Array:
        """Return some bytes: a view of all that is mapped, a ranged read where it is not.

        Raises:
            DamagedFileError: the file does not have them.
        """
        if self._memory is None:
            source = self._open()
            if not source.is_mapped and 2 * length < self.nbytes:
                return np.frombuffer(source.view(start, length), np.uint8)
            self._memory = np.frombuffer(source.view(0, self.nbytes), np.uint8)
        return self._memory[start : start + length]

    def _open(self) -> Source:
        if self._source is None:
            if self._fetch is None:
                raise DamagedFileError(
                    f"the {self.nbytes:,} bytes of storage {self.key!r} are not in the file.",
                    remedy="It is truncated: copy it again from where it came from.",
                )
            self._source = self._fetch()
        return self._source

    def __repr__(self) -> str:
        return f"<blob {self.key!r} of {self.nbytes:,} bytes>"


class Storage(LazyArray):
    """All of a blob as elements of one dtype: an array of one axis.

    Attributes:
        blob: the bytes.
        start: the byte of the blob at which it begins (a view of another storage).
        kind: the dtype's own name.
    """

    __slots__ = ("blob", "kind", "start")

    def __init__(self, blob: Blob, kind: str, count: int, start: int = 0) -> None:
        self.blob = blob
        self.kind = kind
        self.start = start
        self.dtype = decoded_dtype(_ordered(kind, blob.is_big))
        self.shape = (count,)
        self._whole = None

    def read(self) -> Array:
        if self._whole is None:
            self._whole = decoded(self.encoded(), f"storage {self.blob.key!r}")
        return self._whole

    def encoded(self) -> Array:
        """Return the elements as they are stored."""
        return _look(self.blob, self.start, self.kind, self.shape, (1,))

    def stored_dtype(self) -> DType:
        """Return the dtype of the stored elements."""
        return _ordered(self.kind, self.blob.is_big)

    def __getitem__(self, index: Any) -> Any:
        return self.read()[index]

    def __repr__(self) -> str:
        return f"<storage {self.blob.key!r} of {self.kind} {self.shape}>"


class Tensor(LazyArray):
    """Some elements of a storage.

    Attributes:
        storage: what it looks into.
        kind: the dtype's own name; that of the storage, unless the file says another.
        offset: element of the storage at which it begins.
        strides: elements between neighbours, for each axis.
        requires_grad: as the file says.
        is_parameter: whether it is a parameter of a module.
        is_conj: whether the file holds the conjugate of its values.
        is_neg: whether the file holds the negative of its values.
        attributes: what the file keeps in its ``__dict__``, or None.
    """

    __slots__ = (
        "attributes",
        "is_conj",
        "is_neg",
        "is_parameter",
        "kind",
        "offset",
        "requires_grad",
        "storage",
        "strides",
    )

    def __init__(
        self,
        storage: Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        kind: str | None = None,
        requires_grad: bool = False,
        is_parameter: bool = False,
        is_conj: bool = False,
        is_neg: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self.storage = storage
        self.kind = storage.kind if kind is None else kind
        self.offset = offset
        self.shape = shape
        self.strides = strides
        self.requires_grad = requires_grad
        self.is_parameter = is_parameter
        self.is_conj = is_conj
        self.is_neg = is_neg
        self.attributes = attributes
        self.dtype = decoded_dtype(_ordered(self.kind, storage.blob.is_big))
        self._whole = None
        self._check()

    def _check(self) -> None:
        """Compare what it looks at with what is there."""
        storage, size = self.storage, dtype_of(self.kind).itemsize
        span = _reach(self.shape, self.strides)
        if span >= 0 and self.offset >= 0:
            length = storage.shape[0] * dtype_of(storage.kind).itemsize
            if (self.offset + span) * size <= length or not span:
                return
        raise DamagedFileError(
            f"a tensor of shape {self.shape}, strides {self.strides} and offset {self.offset:,} "
            f"does not lie within the {storage.shape[0]:,} elements of its storage.",
            where=f"storage {storage.blob.key!r}",
            remedy="The file is damaged.",
        )

    def changed(self, **facts: object) -> Tensor:
        """Return the same elements under other facts (a parameter of it)."""
        known = {
            name: getattr(self, name)
            for name in ("kind", "requires_grad", "is_parameter", "is_conj", "is_neg", "attributes")
        }
        return Tensor(self.storage, self.offset, self.shape, self.strides, **{**known, **facts})

    @property
    def location(self) -> str:
        """The device that it was on when it was saved."""
        return self.storage.blob.location

    def read(self) -> Array:
        """Return the whole array; a view of the blob but where bits must be turned."""
        if self._whole is None:
            self._whole = self._part(self.shape, self.offset)
        return self._whole

    def __getitem__(self, index: Any) -> object:
        if self._whole is None and isinstance(index, slice) and self.shape:
            start, stop, step = index.indices(self.shape[0])
            if step > 0:
                shape = (max(0, stop - start), *self.shape[1:])
                return self._part(shape, self.offset + start * self.strides[0])[::step]
        return self.read()[index]

    def _part(self, shape: tuple[int, ...], offset: int) -> Array:
        array = decoded(self._stored(shape, offset), f"storage {self.storage.blob.key!r}")
        if self.is_conj:
            array = _conjugate(array)
        return -array if self.is_neg else array

    def _stored(self, shape: tuple[int, ...], offset: int) -> Array:
        start = self.storage.start + offset * dtype_of(self.kind).itemsize
        return _look(self.storage.blob, start, self.kind, shape, self.strides)

    def encoded(self) -> Array:
        """Return the elements as they are stored, with the conjugation and sign applied."""
        if missing_name(dtype_of(self.kind)) and self.is_neg:
            turned: Array = self._stored(self.shape, self.offset).copy()
            bits = turned.view(f"u{turned.dtype.itemsize}")
            bits ^= 1 << (8 * turned.dtype.itemsize - 1)  # the sign is the highest bit
            return turned
        if missing_name(dtype_of(self.kind)):
            return self._stored(self.shape, self.offset)
        return self.read()

    def stored_dtype(self) -> DType:
        """Return the dtype of the stored elements."""
        return _ordered(self.kind, self.storage.blob.is_big)

    def __repr__(self) -> str:
        return f"<tensor {self.kind} {self.shape} of storage {self.storage.blob.key!r}>"


def span_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return how many elements lie between the first and the last, both counted; 0 of none."""
    last = 0
    for extent, stride in zip(shape, strides, strict=True):
        if not extent:
            return 0
        last += (extent - 1) * stride
    return last + 1


@functools.lru_cache(4096)
def _reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """`span_of` of what can be; -1 of what cannot. Tensors of one shape are many."""
    if min((*shape, *strides), default=0) < 0 or len(shape) > 64:
        return -1
    # NumPy counts the bytes without the empty axes, too.
    if math.prod(filter(None, shape)) > _MOST or max(strides, default=0) > _MOST:
        return -1
    return span_of(shape, strides)


def _ordered(kind: str, is_big: bool) -> DType:
    """The dtype as it lies in the file; those of ml_dtypes know no byte order, and are swapped."""
    dtype = dtype_of(kind)
    if not is_big or dtype.itemsize == 1 or _is_foreign(dtype):
        return dtype
    return dtype.newbyteorder(">")


def _is_foreign(dtype: DType) -> bool:
    return dtype.type.__module__ == "ml_dtypes" or bool(missing_name(dtype))


def _look(
    blob: Blob, start: int, kind: str, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Array:
    dtype = _ordered(kind, blob.is_big)
    size = dtype.itemsize
    span = _reach(shape, strides)
    if span <= 0:
        return np.empty(shape, dtype)
    memory = blob.bytes(start, span * size)
    steps = tuple(stride * size for stride in strides)
    if blob.is_big and _is_foreign(dtype) and size > 1:
        # Each number of two bytes is turned: one of a bfloat16, two of a complex32.
        pairs: Array = np.ndarray((*shape, size // 2), ">u2", memory, 0, (*steps, 2))
        turned: Array = np.ascontiguousarray(pairs.astype("<u2")).view(dtype)
        return turned[..., 0]
    return np.ndarray(shape, dtype, memory, 0, steps)


def _conjugate(array: Array) -> Array:
    if array.dtype.names is None:
        whole: Array = np.conjugate(array)
        return whole
    turned = array.copy()
    turned["imag"] = -turned["imag"]
    return turned


class Tensors(Mapping[str, Any]):
    """Arrays by name as tensors of torch, each made when it is first asked for.

    Raises:
        MissingExtraError: torch is not installed.
    """

    def __init__(self, arrays: Mapping[str, object]) -> None:
        _torch()
        self._arrays = arrays
        self._made: dict[str, object] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = as_torch(self._arrays[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def _ipython_key_completions_(self) -> list[str]:
        offered = getattr(self._arrays, "_ipython_key_completions_", None)
        return list(self._arrays) if offered is None else offered()


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingExtraError(
            'arrays="torch" hands out tensors, and torch is not installed.',
            remedy="Install it with: pip install torch. Without it arrays are NumPy's.",
        ) from error


class _Placement(threading.local):
    """Where tensors are to be, in this thread, and of which dtype; None leaves them as they are."""

    def __init__(self) -> None:
        self.device: Any = None
        self.dtype: Any = None


_placement = _Placement()


def placement() -> tuple[Any, Any]:
    """Return the device and the dtype that `placed_on` states, in this thread."""
    return _placement.device, _placement.dtype


@contextlib.contextmanager
def placed_on(device: object, dtype: object) -> Iterator[None]:
    """Let `as_torch` put tensors on a device, and those of floating point in a dtype.

    Args:
        device: as torch takes it (``"cuda:0"``, a ``torch.device``); None is that of the host.
        dtype: of torch, or its name; None leaves that of the file.

    Raises:
        PersistError: torch has no such device or dtype.
        MissingExtraError: torch is not installed.
    """
    if device is None and dtype is None:
        yield
        return
    torch = _torch()
    if isinstance(dtype, str):
        found = getattr(torch, dtype.removeprefix("torch."), None)
        if not isinstance(found, torch.dtype):
            raise PersistError(
                f"dtype={dtype!r} is no dtype of torch.",
                remedy='Pass one, or its name: "bfloat16".',
            )
        dtype = found
    try:
        device = None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise PersistError(
            f"device={device!r} is no device of torch: {error}",
            remedy='Pass one, or its name: "cuda:0".',
        ) from error
    before = placement()
    _placement.device, _placement.dtype = device, dtype
    try:
        yield
    finally:
        _placement.device, _placement.dtype = before


def _placed(tensor: Any) -> Any:
    """A tensor where `placed_on` wants it; moved first, so that a device does the conversion."""
    device, dtype = placement()
    if device is not None:
        tensor = tensor.to(device)
    if dtype is not None and (tensor.is_floating_point() or tensor.is_complex()):
        tensor = tensor.to(dtype)
    return tensor


def as_torch(array: Any) -> Any:
    """Return a tensor over the same memory as an array of a tree, without a copy.

    On another device or in another dtype (`placed_on`) it is a copy.

    A tensor keeps its strides, and shares its storage with the others. Memory that must not be
    written to is copied, since torch knows no such thing: open the file with private memory.
    What torch has no dtype for is returned as it is.

    Raises:
        MissingExtraError: torch is not installed.
    """
    torch = _torch()
    if isinstance(array, QuantizedTensor):
        device = placement()[0]
        tensor = tensor_of_torch(torch, array)
        return tensor if device is None else tensor.to(device)
    values = encoded(array)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    kind = array.kind if isinstance(array, Storage | Tensor) else dtype_name(values.dtype)
    kind = kind.removeprefix("q") if kind in ("qint8", "quint8", "qint32") else kind
    wanted = getattr(torch, kind, None)
    if not isinstance(wanted, torch.dtype):
        return array
    if _is_foreign(values.dtype) or values.dtype.names is not None:
        values = values.view(f"u{values.dtype.itemsize}")
    if any(step < 0 for step in values.strides):
        values = values.copy()
    if not values.flags.writeable:  # torch knows no memory that is read only
        values = values.copy()
    tensor = torch.from_numpy(values)
    return _placed(tensor if tensor.dtype == wanted else tensor.view(wanted))


def of_torch(value: object, known: dict[int, Blob]) -> Tensor | None:
    """Return a tensor of a program as one of a tree, over the same memory, or None: it is none.

    Args:
        value: a ``torch.Tensor`` or parameter, dense and in memory.
        known: storages that were met before, by their address; tensors of one share its blob.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    kind = str(value.dtype).removeprefix("torch.")
    if value.layout != torch.strided or value.is_quantized or value.is_meta or kind not in DTYPES:
        return None
    plain = value.detach().cpu()
    storage = plain.untyped_storage()
    memory = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
    blob = known.setdefault(storage.data_ptr() or -len(known) - 1, Blob.of(memory))
    if blob.nbytes != memory.nbytes:
        blob = Blob.of(memory)
    return Tensor(
        Storage(blob, kind, blob.nbytes // dtype_of(kind).itemsize),
        plain.storage_offset(),
        tuple(plain.shape),
        tuple(plain.stride()),
        requires_grad=value.requires_grad,
        is_parameter=isinstance(value, torch.nn.Parameter),
        is_conj=plain.is_conj(),
        is_neg=plain.is_neg(),
    )

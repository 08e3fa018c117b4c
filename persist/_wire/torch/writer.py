"""Writes a tree as the archive that ``torch.load(weights_only=True)`` reads.

Tensors keep their storages: what shared memory shares it again, each storage is written once.
Arrays of NumPy become tensors, and those that look into one buffer share a storage too. Around
them stand plain values, in the few opcodes and under the few names that torch's own strict
unpickler takes (``torch/_weights_only_unpickler.py`` of 1.13 to 2.13).
"""

from __future__ import annotations

import functools
import io
import pickle as opcodes
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from persist._wire.archives.stored_zip import StoredZip
from persist._wire.base.ml_dtypes import dtype_name, dtype_text, encoded
from persist._wire.pickle.writer import PickleWriter
from persist._wire.torch.quantized import QuantizedTensor
from persist._wire.torch.rebuild import storage_of
from persist._wire.torch.storage import (
    DTYPES,
    STORAGES,
    Blob,
    Storage,
    Tensor,
    dtype_of,
    kind_of,
    span_of,
)
from persist.errors import FormatError
from persist.tree import ABSENT, Global, LazyArray, Record
from persist.typing import Array, DType

__all__ = ["write_archive", "write_stream"]

_CHUNK = 1 << 24
_FOLDER = "archive"
_LONGEST = 8 * 255 - 1  # bits of an integer in LONG1

# The dtype -> its storage's class; the others are written by `_rebuild_tensor_v3` over bytes.
_CLASSES = {
    kind: f"{name}Storage"
    for name, kind in STORAGES.items()
    if not name.endswith("Untyped") and name != "ComplexHalf"
}

_SAFE = frozenset(
    f"torch._utils.{name}"
    for name in (
        "_rebuild_parameter_with_state", "_rebuild_qtensor", "_rebuild_sparse_tensor",
        "_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor",
    )
) | {"torch.Size", "torch.device", "torch.serialization._get_layout"}  # fmt: skip
_TYPED = "torch._tensor._rebuild_from_type_v2"
_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_REBUILDS = tuple(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_SCHEMES = frozenset(
    f"torch.{name}"
    for name in (
        "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
        "per_channel_affine_float_qparams",
    )
)  # fmt: skip

_STORAGE, _CPU = "storage", "cpu"
_PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None))


def write_archive(tree: object, target: Any, **options: object) -> None:
    """Write a tree.

    Args:
        tree: tensors, arrays, and plain values around them.
        target: takes bytes; need not seek.
        options: none is known.

    Raises:
        FormatError: the tree holds what torch's strict unpickler would refuse, with its path.
    """
    if options:
        raise FormatError(
            f"format='torch' has no {', '.join(sorted(options))}.",
            remedy='Leave it out, or save with format="persist".',
        )
    plan = _Plan(tree)
    pickled = io.BytesIO()
    _TensorPickle(pickled.write, plan).dump(tree)
    archive = StoredZip(target.write)
    archive.add(f"{_FOLDER}/data.pkl", pickled.getvalue())
    archive.add(f"{_FOLDER}/byteorder", b"little")
    for run in plan.runs:
        archive.add_chunks(f"{_FOLDER}/data/{run.key}", run.nbytes, run.chunks)
    archive.add(f"{_FOLDER}/version", b"3\n")
    archive.finish()


def write_stream(tree: Any, target: Any, **options: Any) -> None:
    """Write a tree as the stream of ``torch.save(_use_new_zipfile_serialization=False)``.

    Every torch since 0.4 reads it: a magic number, the version of the layout, numbers of the machine,
    the object and the keys of its storages as one pickle each; then of each storage the count of its
    elements and its bytes (``_legacy_save`` of ``torch/serialization.py``).

    Args:
        tree: tensors, arrays, and plain values around them.
        target: takes bytes; need not seek.
        options: none is known.

    Raises:
        FormatError: the tree holds what torch's strict unpickler would refuse, or a type that torch
            has since a later release, with its path.
    """
    if options:
        raise FormatError(
            f"format='torch-legacy' has no {', '.join(sorted(options))}.", remedy="Leave it out."
        )
    plan = _Plan(tree)
    for run in plan.runs:
        if run.cls == "UntypedStorage":
            raise FormatError(
                f"a storage of {' and '.join(sorted(run.kinds))} cannot be in torch's legacy stream.",
                remedy='Save it with format="torch-zip".',
            )
    for value in (_LEGACY_MAGIC, _LEGACY_PROTOCOL, _LEGACY_SYSTEM):
        PickleWriter(target.write, 2).dump(value)
    _TensorPickle(target.write, plan, is_legacy=True).dump(tree)
    runs = sorted(plan.runs, key=lambda run: run.key)
    PickleWriter(target.write, 2).dump([run.key for run in runs])
    for run in runs:
        size = dtype_of(next(iter(run.kinds))).itemsize
        target.write((run.nbytes // size).to_bytes(8, "little"))
        for chunk in run.chunks():
            target.write(chunk)


_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_LEGACY_SYSTEM = {
    "protocol_version": _LEGACY_PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


# What is written where.


class _Run:
    """One storage to be: a run of bytes, and the dtypes under which it is seen."""

    def __init__(self, key: str, blob: Blob) -> None:
        self.key = key
        self.blob = blob
        self.nbytes = blob.nbytes
        self.kinds: set[str] = set()

    @property
    def cls(self) -> str:
        """The storage's class: one of bytes, unless all see the same dtype that has a class."""
        (kind,) = self.kinds if len(self.kinds) == 1 else ("",)
        return _CLASSES.get(kind, "UntypedStorage")

    def chunks(self) -> Iterator[object]:
        """Yield the bytes, little-endian."""
        size = 1
        if self.blob.is_big:
            size = max(_turned_by(kind) for kind in self.kinds)
        for start in range(0, self.nbytes, _CHUNK):
            part = self.blob.bytes(start, min(_CHUNK, self.nbytes - start))
            if size > 1:
                part = part.view(f"u{size}").byteswap().view(np.uint8)
            yield part.data


def _turned_by(kind: str) -> int:
    """Bytes of the numbers that an element is made of."""
    size = dtype_of(kind).itemsize
    return size // 2 if kind.startswith("complex") else size


class _Plan:
    """Which tensor lies in which storage, and where."""

    def __init__(self, tree: object) -> None:
        self.runs: list[_Run] = []
        self.places: dict[int, tuple[_Run, Tensor | Storage, Any]] = {}
        self._by_blob: dict[int, _Run] = {}
        arrays: list[Array] = []
        for path, value in _values(tree):
            storage = _storage_in(value)
            if storage is not None:
                self._place(value, storage, storage.blob)
            elif isinstance(value, Tensor | Storage):
                blob = value.blob if isinstance(value, Storage) else value.storage.blob
                self._place(value, value, blob)
            elif isinstance(value, LazyArray | np.ndarray):
                found = encoded(value)
                _check_array(found, path)
                if isinstance(value, np.ndarray):
                    arrays.append(value)
                else:  # read as it is written, and in a storage of its own
                    self._alone(value, found)
            else:
                _check(value, path)
        for array, blob, offset, strides in _shared(arrays):
            storage = Storage(blob, _kind(array), blob.nbytes // array.itemsize)
            self._place(array, Tensor(storage, offset, array.shape, strides), blob)

    def _place(self, value: Any, tensor: Tensor | Storage, blob: Blob) -> None:
        run = self._by_blob.get(id(blob))
        if run is None:
            run = self._by_blob[id(blob)] = _Run(str(len(self.runs)), blob)
            self.runs.append(run)
        run.kinds.add(tensor.kind)
        if isinstance(tensor, Tensor):
            run.kinds.add(tensor.storage.kind if blob.is_big else tensor.kind)
        self.places[id(value)] = (run, tensor, value)

    def _alone(self, value: LazyArray, array: Array) -> None:
        ((_, blob, offset, strides),) = _shared([array])
        storage = Storage(blob, _kind(array), blob.nbytes // array.itemsize)
        self._place(value, Tensor(storage, offset, array.shape, strides), blob)


def _shared(
    arrays: list[Array],
) -> Iterator[tuple[Array, Blob, int, tuple[int, ...]]]:
    """Yield for each array the run of bytes that it shares, and its offset and strides in it.

    Arrays that overlap, or lie in one buffer of which they take most, share; one alone is
    written without what it does not look at.
    """
    groups: dict[int, list[Array]] = {}
    whole: dict[int, Array] = {}
    for array in arrays:
        if not _can_be_a_view(array):
            yield _copied(array)
            continue
        owner = _owner_of(array)
        whole[id(owner)] = owner
        groups.setdefault(id(owner), []).append(array)
    for members in groups.values():
        if len(members) == 1 and members[0].flags.c_contiguous:
            yield _copied(members[0])  # nothing to be copied, nor to be shared
            continue
        for together in _clusters(members):
            yield from _in_one(together)


def _owner_of(array: Array) -> Any:
    """The last array in the chain of those that it looks into."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner


def _can_be_a_view(array: Array) -> bool:
    """Whether torch can say it: strides forward, by whole elements, in this machine's order."""
    size = array.itemsize
    return (
        array.size > 0
        and array.dtype.isnative
        and array.dtype.names is None
        and all(stride >= 0 and stride % size == 0 for stride in array.strides)
    )


def _copied(
    array: Array,
) -> tuple[Array, Blob, int, tuple[int, ...]]:
    data = np.ascontiguousarray(array)
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    strides = [1]
    for extent in reversed(array.shape[1:]):
        strides.append(strides[-1] * max(extent, 1))
    return array, Blob.of(data), 0, tuple(reversed(strides[: array.ndim]))


def _clusters(members: list[Array]) -> Iterator[list[Array]]:
    """Part the arrays of one buffer where most of what lies between them is unused."""
    extents = sorted(((*_extent(array), array) for array in members), key=lambda item: item[:2])
    cluster, low, high, used = [extents[0][2]], *extents[0][:2], extents[0][1] - extents[0][0]
    for start, stop, array in extents[1:]:
        fresh = stop - max(start, high)
        if start < high or stop - low <= 2 * (used + fresh):
            cluster.append(array)
            used, high = used + max(fresh, 0), max(high, stop)
            continue
        yield cluster
        cluster, low, high, used = [array], start, stop, stop - start
    yield cluster


def _extent(array: Array) -> tuple[int, int]:
    start = array.__array_interface__["data"][0]
    elements = span_of(array.shape, tuple(stride // array.itemsize for stride in array.strides))
    return start, start + elements * array.itemsize


def _in_one(
    arrays: list[Array],
) -> Iterator[tuple[Array, Blob, int, tuple[int, ...]]]:
    """Place arrays in one run of bytes; those that do not begin at a whole element are copied."""
    low = min(_extent(array)[0] for array in arrays)
    high = max(_extent(array)[1] for array in arrays)
    blob = Blob.of(_memory(arrays, low, high))
    for array in arrays:
        offset, rest = divmod(_extent(array)[0] - low, array.itemsize)
        if rest or (high - low) % array.itemsize:
            yield _copied(array)
            continue
        yield array, blob, offset, tuple(stride // array.itemsize for stride in array.strides)


def _memory(arrays: list[Array], low: int, high: int) -> Array:
    """The bytes from ``low`` to ``high``, seen through the buffer that all of them look into."""
    for array in arrays:
        if _extent(array) == (low, high):  # one that spans them all
            return _flat(array, high - low)
    owner = _owner_of(arrays[0])
    start = _extent(owner)[0] if all(step >= 0 for step in owner.strides) else low + 1
    if start <= low and high <= _extent(owner)[1]:
        return _flat(owner, _extent(owner)[1] - start)[low - start : high - start]
    first = min(arrays, key=lambda array: _extent(array)[0])
    return _flat(first, high - low)


def _flat(array: Array, length: int) -> Array:
    """All bytes that an array spans, also those between its elements."""
    count = length // array.itemsize
    raw = array.view(f"V{array.itemsize}")  # as_strided knows NumPy's own dtypes only
    line = np.lib.stride_tricks.as_strided(raw, (count,), (array.itemsize,), writeable=False)
    return line.view(np.uint8)


# What may be written.


def _storage_in(value: Any) -> Storage | None:
    """The storage that a record names, as a container keeps those of quantized tensors."""
    if not isinstance(value, Record) or value.cls.module != "torch" or len(value.args) != 1:
        return None
    kind = kind_of(value.cls.name) if value.cls.name.endswith("Storage") else None
    return None if kind is None else storage_of(kind, value.args[0])


def _kind(array: Array) -> str:
    if array.dtype.kind == "V":  # opaque dtypes of one width are equal
        return dtype_name(array.dtype)
    return _name_of(array.dtype)


@functools.cache
def _name_of(dtype: DType) -> str:
    return str(dtype.name)  # which NumPy makes anew at every call


def _check_array(array: Array, path: str) -> None:
    if _kind(array) not in DTYPES:
        raise FormatError(
            f"torch has no dtype for {dtype_text(array.dtype)}.",
            where=f"at {path!r}",
            remedy='Convert it, or save with format="persist".',
        )


def _check(value: Any, path: str) -> None:
    """Refuse what torch's strict unpickler would refuse."""
    kind = type(value)
    if kind is int and value.bit_length() > _LONGEST:
        what = f"an int of {value.bit_length():,} bits"
    elif (
        kind in _PLAIN
        or kind in (list, tuple, dict, OrderedDict, Counter, set)
        or isinstance(value, np.bool_ | np.integer | np.floating | np.complexfloating)
        or (kind is Global and (value.qualname in _SCHEMES or _is_dtype(value)))
        or (kind is Record and _is_safe(value))
    ):
        return
    else:
        name = value.qualname if isinstance(value, Record | Global) else kind.__name__
        what = f"{'the name' if kind is Global else 'an instance of'} {name}"
    raise FormatError(
        f"{what} is nothing that torch.load reads with weights_only=True.",
        where=f"at {path!r}",
        remedy="Save the tensors and plain values alone (a state dict), "
        'or everything with format="persist".',
    )


def _is_dtype(value: Global) -> bool:
    return value.module == "torch" and value.name in DTYPES


def _is_safe(record: Record) -> bool:
    """Whether it is made by one of the functions that the strict unpickler calls."""
    if record.state is not ABSENT or record.kind not in ("reduce", "newobj"):
        return False
    if record.qualname == _TYPED and len(record.args) == 4:
        names = [item.qualname for item in record.args[:2] if isinstance(item, Global)]
        return len(names) == 2 and names[0] in _REBUILDS and names[1] in _TYPES
    return record.qualname in _SAFE


def _values(tree: object) -> Iterator[tuple[str, Any]]:
    """Yield each value once, with the first path to it."""
    seen: set[int] = set()
    todo: deque[tuple[str, Any]] = deque([("", tree)])
    while todo:
        path, value = todo.popleft()
        if id(value) in seen and not isinstance(value, str | int | float):
            continue
        seen.add(id(value))
        if isinstance(value, QuantizedTensor):
            value = value.record
        yield path, value
        prefix = f"{path}/" if path else ""
        todo.extend((f"{prefix}{step}", item) for step, item in _below(value))


def _below(value: Any) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        attributes = vars(value).items() if isinstance(value, OrderedDict) else ()
        keys = ((f"the key {key!r}", key) for key in value if type(key) not in _PLAIN)
        return (*keys, *value.items(), *attributes)
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, set):
        return (("an item", item) for item in value)
    if isinstance(value, Record) and _is_safe(value):
        return ((f"args/{index}", item) for index, item in enumerate(value.args)
                if index > 1 or not isinstance(item, Global))  # fmt: skip
    return ()


# The pickle.


class _TensorPickle(PickleWriter):
    """Tensors by the functions that rebuild them, everything else as any pickle has it."""

    def __init__(self, write: Any, plan: _Plan, is_legacy: bool = False) -> None:
        super().__init__(write, 2)
        self._plan = plan
        self._is_legacy = is_legacy

    def _save(self, value: Any) -> Any:
        if isinstance(value, QuantizedTensor):
            value = value.record
        place = self._plan.places.get(id(value))
        if place is not None and id(value) not in self._memo:
            self._put_tensor(place[0], place[1])
            self._memoize(value)
            return None
        if isinstance(value, np.generic):
            return super()._save(value.item())
        if type(value) is bytes and not value:  # the strict unpickler knows no bytes()
            return self._call(Global("_codecs", "encode"), ("", "latin1"))
        return super()._save(value)

    # A file of many small tensors is made of these: written at once, without a part of a part.

    def _put_tensor(self, run: _Run, seen: Tensor | Storage) -> None:
        if isinstance(seen, Storage):
            self._put_storage(run)
            return
        write = self._write
        if seen.is_parameter:
            self._global("torch._utils", "_rebuild_parameter")
            write(opcodes.MARK)
        is_plain = run.cls != "UntypedStorage"
        self._global("torch._utils", "_rebuild_tensor_v2" if is_plain else "_rebuild_tensor_v3")
        write(opcodes.MARK)
        self._put_storage(run)
        self._int(seen.offset + seen.storage.start // dtype_of(seen.kind).itemsize)
        self._put_numbers(seen.shape)
        self._put_numbers(seen.strides)
        self._bool(seen.requires_grad and not seen.is_parameter)
        self._put_hooks()
        if not is_plain:
            self._global("torch", seen.kind)
        turned = {"conj": seen.is_conj, "neg": seen.is_neg}
        if any(turned.values()):
            write(opcodes.EMPTY_DICT + opcodes.MARK)
            for name in (name for name, is_so in turned.items() if is_so):
                self._str(name)
                self._bool(True)
            write(opcodes.SETITEMS)
        write(opcodes.TUPLE + opcodes.REDUCE)
        if seen.is_parameter:
            self._bool(seen.requires_grad)
            self._put_hooks()
            write(opcodes.TUPLE + opcodes.REDUCE)

    def _put_storage(self, run: _Run) -> None:
        """``('storage', class, key, location, number of elements)`` as a persistent id."""
        cls, count = run.cls, run.nbytes
        self._write(opcodes.MARK)
        super()._save(_STORAGE)
        if cls == "UntypedStorage":
            self._global("torch.storage", cls)
        else:
            self._global("torch", cls)
            count //= dtype_of(next(iter(run.kinds))).itemsize
        super()._save(run.key)
        super()._save(_CPU)
        self._int(count)
        if self._is_legacy:
            self._write(opcodes.NONE)  # no view of another storage
        self._write(opcodes.TUPLE + opcodes.BINPERSID)

    def _put_numbers(self, numbers: tuple[int, ...]) -> None:
        if not numbers:
            self._write(opcodes.EMPTY_TUPLE)
            return
        self._write(opcodes.MARK)
        for number in numbers:
            self._int(number)
        self._write(opcodes.TUPLE)

    def _put_hooks(self) -> None:
        """An ``OrderedDict`` of its own for each tensor, which will hold its hooks."""
        self._global("collections", "OrderedDict")
        self._write(opcodes.EMPTY_TUPLE + opcodes.REDUCE)

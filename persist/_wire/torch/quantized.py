"""Quantized tensors: stored integers, and how to turn them back into numbers.

An array of a quantized tensor shows its integers, as torch's ``int_repr()`` does. Whoever needs
its numbers dequantizes it as torch does, in float32: ``(integer - zero point) * scale`` (torch may fuse the
operations, which changes a last bit from machine to machine).

Source: ``dequantize_val`` and ``dequantize_tensor_per_channel_*_cpu`` of
``aten/src/ATen/native/quantized/AffineQuantizerBase.cpp`` and ``cpu/kernels``, of torch 1.3 to 2.13.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from persist._wire.base.ml_dtypes import encoded
from persist.errors import DamagedFileError, FormatError
from persist.tree import ABSENT, Global, LazyArray, Record
from persist.typing import Array

__all__ = ["QuantizedTensor", "WithQuantized", "expanded", "part_names", "quantizer_of"]

_BITS = {"quint4x2": 4, "quint2x4": 2}  # elements that share a byte
_TENSOR = ("q_scale", "q_zero_point")
_CHANNEL = ("q_per_channel_scales", "q_per_channel_zero_points", "q_per_channel_axis")
part_names = (*_TENSOR, *_CHANNEL)
"""Names of the parts that are stored next to the integers in a file of arrays only."""


class QuantizedTensor(LazyArray):
    """The integers of a quantized tensor, with its quantizer.

    Args:
        codes: the integers; where several share a byte, the bytes in a row.
        kind: the dtype's own name: qint8, quint8, qint32, quint4x2, quint2x4.
        shape: of the tensor.
        quantizer: ``q_scale`` and ``q_zero_point``, or those of ``part_names`` for channels.
        record: what a pickle writes of it; None where there is none.
    """

    __slots__ = ("codes", "kind", "logical_shape", "quantizer", "record")

    def __init__(
        self,
        codes: Any,
        kind: str,
        shape: tuple[int, ...],
        quantizer: Mapping[str, Any],
        record: Record | None = None,
    ) -> None:
        super().__init__(codes.dtype, tuple(codes.shape), lambda: np.asarray(codes))
        self.codes = codes
        self.kind = kind
        self.logical_shape = shape
        self.quantizer = dict(quantizer)
        self.record = record

    def __getitem__(self, index: Any) -> object:
        return self.codes[index]

    def dequantized(self) -> Array:
        """Return the numbers, as float32 of the tensor's shape.

        Raises:
            DamagedFileError: scales and zero points do not fit the integers.
        """
        codes = self._unpacked()
        if "q_per_channel_scales" in self.quantizer:
            scales, zeros = (self._channels(name) for name in _CHANNEL[:2])
            if zeros.dtype.kind == "f":
                values = codes.astype(np.float32) - zeros.astype(np.float32)
            else:
                values = (codes.astype(np.int64) - zeros.astype(np.int64)).astype(np.float32)
            found: Array = values * scales.astype(np.float32)
            return found
        scale, zero = (self.quantizer[name] for name in _TENSOR)
        values = (codes.astype(np.int64) - int(zero)).astype(np.float32)
        return values * np.float32(scale)

    def _unpacked(self) -> Array:
        codes: Array = np.asarray(self.codes)
        bits = _BITS.get(self.kind)
        if bits is None:
            return codes
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        parts = (codes.reshape(-1, 1) >> shifts) & np.uint8((1 << bits) - 1)
        count = math.prod(self.logical_shape)
        return parts.reshape(-1)[:count].reshape(self.logical_shape)

    def _channels(self, name: str) -> Array:
        """The scales or zero points, shaped to go along the axis of the channels."""
        axis, values = int(self.quantizer["q_per_channel_axis"]), self.quantizer[name]
        found: Array = np.asarray(values)
        shape = self.logical_shape
        if not 0 <= axis < len(shape) or found.shape != (shape[axis],):
            raise DamagedFileError(
                f"{found.shape} {name} along axis {axis} do not fit a tensor of shape {shape}.",
                remedy="The file is damaged.",
            )
        return found.reshape([-1 if place == axis else 1 for place in range(len(shape))])

    def parts(self) -> dict[str, Any]:
        """Return the parts to store next to the integers in a file of arrays only, by name.

        Raises:
            FormatError: several elements share a byte, which such a file cannot express.
        """
        if self.kind in _BITS:
            raise FormatError(
                f"a tensor of {self.kind} cannot be stored in a file that holds arrays only.",
                remedy='Save it with format="persist" or "torch", or save its dequantized() values.',
            )
        return {name: np.asarray(self.quantizer[name]) for name in part_names
                if name in self.quantizer}  # fmt: skip

    def __repr__(self) -> str:
        return f"<quantized tensor {self.kind} {self.logical_shape}>"


def quantizer_of(parts: Mapping[str, object]) -> dict[str, Any] | None:
    """Return the quantizer in the parts of a view or file, or None where it is not whole."""
    for names in (_TENSOR, _CHANNEL):
        if all(parts.get(name, ABSENT) is not ABSENT for name in names):
            return {name: parts[name] for name in names}
    return None


def expanded(arrays: Mapping[str, object]) -> dict[str, object]:
    """Return arrays for a file that holds nothing else, scales and zero points among them."""
    found = dict(arrays)
    for name, array in arrays.items():
        if isinstance(array, QuantizedTensor):
            for part, value in array.parts().items():
                found.setdefault(f"{name}/{part}" if name else part, value)
    return found


class WithQuantized(Mapping[str, Any]):
    """Arrays by name; the parts of quantized tensors are not listed by themselves.

    Also of a file that holds arrays alone, where ``weight/q_scale`` and ``weight/q_zero_point``
    say that ``weight`` is quantized.

    Args:
        arrays: name -> array.
    """

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._parts: dict[str, list[str]] = {}
        known = set(arrays)
        part_paths = [name for name in known if name.rpartition("/")[2] in part_names]
        for name in part_paths:
            owner = name.rpartition("/")[0]
            if owner in known:
                self._parts.setdefault(owner, []).append(name)
        self._hidden: set[str] = set()
        for owner, names in list(self._parts.items()):
            if self._is_quantized(owner):
                self._hidden.update(names)
            else:
                del self._parts[owner]

    def _is_quantized(self, owner: str) -> bool:
        if isinstance(self._arrays[owner], QuantizedTensor):
            return True
        own_names = {name.rpartition("/")[2] for name in self._parts[owner]}
        return quantizer_of(dict.fromkeys(own_names, 1)) is not None

    def __getitem__(self, name: str) -> object:
        array = self._arrays[name]
        if name not in self._parts or isinstance(array, QuantizedTensor):
            return array
        parts = {
            path.rpartition("/")[2]: np.asarray(self._arrays[path]) for path in self._parts[name]
        }
        quantizer = quantizer_of(parts)
        assert quantizer is not None
        kind = "qint32" if array.dtype.itemsize == 4 else f"q{array.dtype.name}"
        scalars = {
            part: value[()] if np.ndim(value) == 0 else value for part, value in quantizer.items()
        }
        return QuantizedTensor(array, kind, tuple(array.shape), scalars)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._arrays if name not in self._hidden)

    def __len__(self) -> int:
        return len(self._arrays) - len(self._hidden)


# Records of quantized tensors and their storages.

_MAKER = Global("torch._utils", "_rebuild_qtensor")
_STORAGES = {"qint8": "QInt8Storage", "quint8": "QUInt8Storage", "qint32": "QInt32Storage",
             "quint4x2": "QUInt4x2Storage", "quint2x4": "QUInt2x4Storage"}  # fmt: skip


def storage_record(storage: Any) -> Record | None:
    """Return a storage of a quantized type as a record that names the type; None of any other.

    A container has no such types, so the record stores the name of the type with the integers.
    """
    name = _STORAGES.get(storage.kind)
    if name is None:
        return None
    cls = Global("torch", name)
    return Record(cls, maker=cls, kind="reduce", args=(encoded(storage),))


def record_of_torch(tensor: Any) -> Record:
    """Return the record of a live quantized tensor of torch; its storage as `storage_record`."""
    kind = str(tensor.dtype).removeprefix("torch.")
    scheme = Global("torch", str(tensor.qscheme()).removeprefix("torch."))
    codes = tensor.detach().cpu().contiguous()
    if "per_channel" in scheme.name:
        numbers = (codes.q_per_channel_scales().numpy(), codes.q_per_channel_zero_points().numpy())
        quantizer: tuple[object, ...] = (scheme, *numbers, codes.q_per_channel_axis())
    else:
        quantizer = (scheme, codes.q_scale(), codes.q_zero_point())
    cls = Global("torch", _STORAGES[kind])
    flat = np.array(codes.int_repr().reshape(-1).numpy())
    storage = Record(cls, maker=cls, kind="reduce", args=(flat,))
    place = (storage, 0, tuple(codes.shape), tuple(codes.stride()))
    args: tuple[object, ...] = (*place, quantizer, False, {})
    return Record(_MAKER, maker=_MAKER, kind="reduce", args=args)


def tensor_of_torch(torch: Any, array: QuantizedTensor) -> Any:
    """Return a quantized tensor of torch; of types that torch cannot make so, its numbers."""
    if array.kind in _BITS:
        return torch.from_numpy(array.dequantized())
    codes = torch.from_numpy(np.array(array.codes))
    quantizer = array.quantizer
    if "q_scale" in quantizer:
        scale, zero = float(quantizer["q_scale"]), int(quantizer["q_zero_point"])
        return torch._make_per_tensor_quantized_tensor(codes, scale, zero)
    scales, zeros = (torch.from_numpy(np.array(quantizer[name])) for name in _CHANNEL[:2])
    axis = int(quantizer["q_per_channel_axis"])
    return torch._make_per_channel_quantized_tensor(codes, scales, zeros, axis)

"""Numbers of HDF5 that no NumPy type is laid out like: odd integers and floats.

After the format specification, section IV.A.2.d, classes 0 and 1: where the sign,
the exponent and the mantissa stand in an element, and how its bytes are ordered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.ml_dtypes import extended, missing_name
from persist._wire.hdf5.cursor import Frame
from persist.typing import DType

__all__ = ["Float", "integers"]

Array = np.ndarray[Any, Any]

# (size, precision, exponent at, its bits, mantissa at, its bits, bias) -> type. The last three
# are what HDF5 2.0 predefines.
_KNOWN: dict[tuple[int, ...], str] = {
    (2, 16, 10, 5, 0, 10, 15): "f2",
    (4, 32, 23, 8, 0, 23, 127): "f4",
    (8, 64, 52, 11, 0, 52, 1023): "f8",
    (2, 16, 7, 8, 0, 7, 127): "bfloat16",
    (1, 8, 2, 5, 0, 2, 15): "float8_e5m2",
    (1, 8, 3, 4, 0, 3, 7): "float8_e4m3",
}
_X87 = (80, 64, 15, 0, 64, 16383)


@attrs.frozen
class Float:
    """How a floating point type is laid out.

    Attributes:
        size: bytes of an element.
        order: "<", ">", or "v" as a VAX orders them.
        sign: bit of the sign.
        norm: 0 no hidden bit, 1 its highest bit is always set, 2 that bit is left out.
        offset: bit at which the number begins.
        precision: bits of the number.
        exponent_at: bit at which the exponent begins.
        exponent: bits of the exponent.
        mantissa_at: bit at which the mantissa begins.
        mantissa: bits of the mantissa.
        bias: of the exponent.
    """

    size: int
    order: str
    sign: int
    norm: int
    offset: int
    precision: int
    exponent_at: int
    exponent: int
    mantissa_at: int
    mantissa: int
    bias: int

    def dtype(self) -> DType | None:
        """Return NumPy's type of this layout, or None where there is none."""
        parts = (self.precision, self.exponent_at, self.exponent, self.mantissa_at, self.mantissa,
                 self.bias)  # fmt: skip
        plain = not self.offset and self.order in "<>"
        name = _KNOWN.get((self.size, *parts)) if plain else None
        if name is not None and self.sign == self.precision - 1:
            if name[1:].isdigit():
                return from_text(self.order + name)
            found = extended(name) if self.size == 1 or self.order == "<" else None
            # Without ml_dtypes the values are computed, which is exact for these types.
            return None if found is None or missing_name(found) else found
        long = np.dtype(np.longdouble)
        if plain and parts == _X87 and self.order == "<" and long.itemsize == self.size:
            return long if np.finfo(np.longdouble).nmant == 63 else None
        return None

    @property
    def is_extended(self) -> bool:
        """Whether it is x87's 80-bit float, of whatever size, and this machine computes with those.

        32-bit programs store it in 12 bytes, 64-bit ones in 16.
        """
        parts = (self.precision, self.exponent_at, self.exponent, self.mantissa_at, self.mantissa,
                 self.bias)  # fmt: skip
        return (
            parts == _X87
            and self.sign == 79
            and self.norm != 2
            and not self.offset
            and self.order in "<>"
            and self.size >= 10
            and np.finfo(np.longdouble).nmant == 63
            and sys.byteorder == "little"
        )

    def extended(self, elements: Array, frame: Frame) -> Array:
        """Return elements for which `is_extended` as this machine's long double."""
        size = elements.dtype.itemsize
        flat = np.frombuffer(elements.tobytes(), np.uint8).reshape(-1, size)
        if self.order == ">":
            flat = flat[:, ::-1]
        whole = np.zeros((len(flat), np.dtype(np.longdouble).itemsize), np.uint8)
        whole[:, :10] = flat[:, :10]
        result: Array = whole.view(np.longdouble).reshape(elements.shape)
        return result

    @property
    def is_sound(self) -> bool:
        """Whether its parts lie inside an element."""
        most = 8 * self.size
        return (
            0 < self.exponent <= 15
            and 0 < self.mantissa <= 63
            and self.exponent_at + self.exponent <= most
            and self.mantissa_at + self.mantissa <= most
            and self.sign < most
            and (self.order in "<>" or self.size % 2 == 0)
        )

    def convert(self, elements: Array, frame: Frame) -> Array:
        """Return the elements as float64."""
        whole = _unsigned(elements, self.order)
        exponent = (whole >> self.exponent_at & (1 << self.exponent) - 1).astype(np.int64)
        mantissa = (whole >> self.mantissa_at & (1 << self.mantissa) - 1).astype(np.float64)
        mantissa = np.ldexp(mantissa, -self.mantissa)
        highest = (1 << self.exponent) - 1
        hidden = (exponent > 0) if self.norm == 2 else np.zeros(exponent.shape, bool)
        with np.errstate(all="ignore"):
            power = np.where(exponent > 0, exponent, 1) - self.bias
            value = np.ldexp(mantissa + hidden, np.clip(power, -20_000, 20_000).astype(np.int32))
        if self.norm == 2 and self.order != "v":
            special = np.where(mantissa == 0, np.inf, np.nan)
            value = np.where(exponent == highest, special, value)
        signed: Array = np.where(whole >> self.sign & 1, -value, value)
        return signed


def integers(
    order: str, sign: str, wide: int, offset: int, precision: int
) -> Callable[[Array, Frame], Array]:
    """Return what makes integers of ``wide`` bytes of elements that use only some of their bits."""

    def convert(elements: Array, frame: Frame) -> Array:
        whole = _unsigned(elements, order) >> offset & (1 << precision) - 1
        if sign == "i" and precision < 64:
            spare = 64 - precision
            whole = ((whole << spare).view(np.int64) >> spare).view(np.uint64)
        return whole.view(np.int64).astype(f"i{wide}") if sign == "i" else whole.astype(f"u{wide}")

    return convert


def _unsigned(elements: Array, order: str) -> Array:
    """The bytes of raw elements as numbers of 64 bits."""
    size = elements.dtype.itemsize
    flat = np.frombuffer(elements.tobytes(), np.uint8).reshape(-1, size)
    if order == ">":
        flat = flat[:, ::-1]
    elif order == "v":  # words of two bytes, the highest first
        flat = flat.reshape(-1, size // 2, 2)[:, ::-1].reshape(-1, size)
    padded = np.zeros((len(flat), 8), np.uint8)
    padded[:, :size] = flat
    return padded.view("<u8").astype(np.uint64).reshape(elements.shape)

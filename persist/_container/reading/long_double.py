"""``long double`` of another machine: refused, or rounded to float64, and never read as one of ours.

A manifest states the format of the machine that wrote the file (``docs/container.md``, section 5):
bytes, bits of the mantissa, byte order. Formats after the System V ABI of x86 (80 bits in 12 or 16
bytes, the leading bit of the significand explicit), IEEE 754's binary128 (AArch64, RISC-V, s390x), and
the pair of doubles of PowerPC, whose sum is the value.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from persist.typing import Array

__all__ = ["FORMATS", "of_this_machine", "to_double"]

FORMATS = {63: "x87", 112: "binary128", 105: "a pair of doubles", 106: "a pair of doubles"}
"""Bits of the mantissa -> what the format is called here."""

_SIZE = 16
_TOP = np.uint64(1 << 63)


def of_this_machine() -> tuple[int, int, str]:
    """Return bytes, bits of the mantissa and byte order of ``long double`` here."""
    return np.dtype(np.longdouble).itemsize, int(np.finfo(np.longdouble).nmant), sys.byteorder


def to_double(elements: Array, mantissa: int, order: str) -> Array:
    """Return numbers of 16 bytes as float64, each rounded to the nearest, ties to even.

    Args:
        elements: uint8, shape (..., 16).
        mantissa: bits of the mantissa, of `FORMATS`.
        order: "little" or "big".

    Raises:
        ValueError: the format is not known.
    """
    if mantissa not in FORMATS:
        raise ValueError(f"a mantissa of {mantissa} bits")
    words: Any = np.ascontiguousarray(elements).view("<u8" if order == "little" else ">u8")
    words = words.astype(np.uint64)
    if FORMATS[mantissa] == "a pair of doubles":
        pair = words.view(np.float64)  # the larger first, in either byte order
        with np.errstate(invalid="ignore", over="ignore"):
            total = pair[..., 0] + pair[..., 1]
        return np.asarray(np.where(np.isfinite(pair[..., 0]), total, pair[..., 0]))
    low, high = (
        (words[..., 0], words[..., 1]) if order == "little" else (words[..., 1], words[..., 0])
    )
    if FORMATS[mantissa] == "x87":
        # In big-endian memory (m68k) it is laid out otherwise; only x86 has it here.
        if order != "little":
            raise ValueError("x87 numbers of a big-endian machine")
        sign, exponent = (high >> np.uint64(15)) & np.uint64(1), high & np.uint64(0x7FFF)
        significand, sticky = low, np.zeros_like(low)
        is_nan = (low << np.uint64(1)) != 0
    else:
        sign, exponent = high >> np.uint64(63), (high >> np.uint64(48)) & np.uint64(0x7FFF)
        fraction = high & np.uint64((1 << 48) - 1)
        hidden = np.where(exponent == 0, np.uint64(0), np.uint64(1 << 48))
        # The upper 64 of the 113 bits, and whether any of the others is set.
        significand = ((fraction | hidden) << np.uint64(15)) | (low >> np.uint64(49))
        sticky = ((low & np.uint64((1 << 49) - 1)) != 0).astype(np.uint64)
        is_nan = (fraction | low) != 0
    made = _rounded(significand, sticky, exponent.astype(np.int64))
    special = exponent == np.uint64(0x7FFF)
    made = np.where(special, np.where(is_nan, np.nan, np.inf), made)
    return np.asarray(np.where(sign == 1, -made, made))


def _rounded(significand: Any, sticky: Any, exponent: Any) -> Any:
    """Significands of 64 bits, the first of which counts 2**(exponent - 16383), as float64."""
    power = np.maximum(exponent, 1) - 16383
    drop = np.clip(11 + np.maximum(-1022 - power, 0), 11, 63)  # bits that float64 has no place for
    shift = drop.astype(np.uint64)
    whole = significand >> shift
    rest = significand & ((np.uint64(1) << shift) - np.uint64(1))
    half = np.uint64(1) << (shift - np.uint64(1))
    is_odd = (whole & np.uint64(1)) == 1
    up = (rest > half) | ((rest == half) & ((sticky != 0) | is_odd))
    rounded = (whole + up).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        made = np.ldexp(rounded, np.clip(power - 63 + drop, -2000, 2000))
    # Below the smallest number of float64 the shift is too long for 64 bits: it is that number, or 0.
    is_above_half = (power == -1075) & ((significand > _TOP) | (sticky != 0))
    tiny = np.where(is_above_half, np.float64(5e-324), 0.0)
    return np.where(power < -1074, tiny, made)

"""Element types that NumPy lacks: bfloat16, float8 and narrower, through ``ml_dtypes``.

Where that library is not installed (extras ``torch``, ``safetensors``), their
bits are handed out as unsigned integers of the same width; a reader tells the
type's name beside them.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

__all__ = ["extended"]

# Name -> bytes of one element as ml_dtypes keeps it.
_WIDTHS = {
    "bfloat16": 2,
    "float8_e3m4": 1,
    "float8_e4m3": 1,
    "float8_e4m3b11fnuz": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "float4_e2m1fn": 1,
    "float6_e2m3fn": 1,
    "float6_e3m2fn": 1,
    "int2": 1,
    "int4": 1,
    "uint2": 1,
    "uint4": 1,
}


@functools.cache
def extended(name: str) -> np.dtype[Any]:
    """Return the dtype of that name in ``ml_dtypes``, or unsigned integers of its width.

    Raises:
        KeyError: there is no such type.
    """
    width = _WIDTHS[name]
    try:
        found: np.dtype[Any] = np.dtype(getattr(importlib.import_module("ml_dtypes"), name))
        return found
    except (ImportError, AttributeError):  # not installed, or older than the type
        return np.dtype(f"u{width}")

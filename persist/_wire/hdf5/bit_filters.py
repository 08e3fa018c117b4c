"""HDF5's filters that pack numbers into fewer bits: N-bit and scale-offset.

After ``H5Znbit.c`` and ``H5Zscaleoffset.c``: both lay the bits of an element
down from the highest to the lowest, one element after the other, and state in the
filter's parameters how wide an element is and where its bits belong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from persist.typing import Array

__all__ = ["nbit", "scaleoffset"]

_LEAVES = 4096  # atoms of one element
_HEADER = 21  # bytes before scale-offset's packed numbers

_Leaf = tuple[int, int, int, int, int]  # byte offset, size, order, precision, bit offset


def nbit(data: Any, values: tuple[int, ...], most: int) -> bytes:
    """Undo the N-bit filter."""
    if values[1]:  # nothing to pack: stored as it was
        return bytes(data)
    count = values[2]
    leaves: list[_Leaf] = []
    size, _ = _leaves(values, 3, 0, leaves, 0)
    if count * size > most:
        raise ValueError(f"{count:,} elements of {size} bytes are claimed")
    bits = sum(leaf[3] for leaf in leaves)
    if count * bits > 8 * len(data):
        raise ValueError(f"{count:,} elements of {bits} bits are claimed")
    made = np.zeros((count, size), np.uint8)
    source = np.frombuffer(data, np.uint8)
    stream = np.unpackbits(source, count=count * bits).reshape(count, bits)
    begin = 0
    for offset, width, order, precision, shift in leaves:
        field = np.zeros((count, 8 * width), np.uint8)
        stop = 8 * width - shift  # bits from the highest on
        field[:, stop - precision : stop] = stream[:, begin : begin + precision]
        begin += precision
        packed = np.packbits(field, axis=1)
        made[:, offset : offset + width] = packed[:, ::-1] if order == 0 else packed
    return made.tobytes()


def _leaves(
    values: tuple[int, ...], at: int, offset: int, leaves: list[_Leaf], depth: int
) -> tuple[int, int]:
    """Collect the atoms of a type; return its size and where its parameters end."""
    if depth > 16 or len(leaves) > _LEAVES:
        raise ValueError("the type is nested too deeply")
    kind, size = values[at], values[at + 1]
    if kind == 1:  # an atom
        order, precision, shift = values[at + 2 : at + 5]
        if not 0 < precision + shift <= 8 * size:
            raise ValueError(f"{precision} bits at {shift} do not fit {size} bytes")
        leaves.append((offset, size, order, precision, shift))
        return size, at + 5
    if kind == 2:  # an array: size, then its base type
        inner: list[_Leaf] = []
        width, end = _leaves(values, at + 2, 0, inner, depth + 1)
        if not width or len(inner) * (size // width) > _LEAVES:
            raise ValueError("the array has too many parts")
        for number in range(size // width):
            leaves += [(offset + number * width + leaf[0], *leaf[1:]) for leaf in inner]
        return size, end
    if kind == 3:  # a compound: size, members, each an offset and a type
        end = at + 3
        for _ in range(values[at + 2]):
            width, after = _leaves(values, end + 1, offset + values[end], leaves, depth + 1)
            if values[end] + width > size:
                raise ValueError("a member passes its compound")
            end = after
        return size, end
    if kind == 4:  # left as it is
        leaves.append((offset, size, 1, 8 * size, 0))
        return size, at + 2
    raise ValueError(f"type {kind}")


def scaleoffset(data: Any, values: tuple[int, ...], most: int) -> bytes:
    """Undo the scale-offset filter."""
    scale, factor, count, kind, size, _, order, has_fill = values[:8]
    if size not in (1, 2, 4, 8) or count * size > most:
        raise ValueError(f"{count:,} elements of {size} bytes are claimed")
    head = bytes(data[:_HEADER])
    bits = int.from_bytes(head[:4], "little")
    low = head[5 : 5 + min(8, head[4])]
    end = ">" if order == 1 else "<"
    if bits >= 8 * size:  # nothing was gained: stored as it was
        return bytes(data[_HEADER : _HEADER + count * size])
    numbers = _numbers(data, count, bits, size)
    fill = b"".join(value.to_bytes(4, "little") for value in values[8:])[:size]
    full = numbers == np.array((1 << bits) - 1, f"u{size}")
    if kind == 0:
        least = np.frombuffer(low.ljust(8, b"\0")[:size], f"<u{size}")[0]
        made = (numbers + least).astype(f"u{size}")
        if has_fill:
            made[full] = np.frombuffer(fill, f"<u{size}")[0]
        return bytes(made.astype(f"{end}u{size}").tobytes())
    if scale != 0:
        raise ValueError("its scaling by exponent was never defined")
    factor -= (factor >> 31) << 32  # a signed number in an unsigned place
    base = np.frombuffer(low.ljust(8, b"\0")[:size], f"<f{size}")[0]
    with np.errstate(all="ignore"):
        real = (numbers.view(f"i{size}") / np.float64(10.0) ** factor).astype(f"f{size}") + base
    if has_fill:
        real[full] = np.frombuffer(fill, f"<f{size}")[0]
    return bytes(real.astype(f"{end}f{size}").tobytes())


def _numbers(data: Any, count: int, bits: int, size: int) -> Array:
    """Unpack ``count`` numbers of ``bits`` bits behind the header."""
    if not bits:
        return np.zeros(count, f"u{size}")
    source = np.frombuffer(data, np.uint8, offset=_HEADER)
    if count * bits > 8 * len(source):
        raise ValueError(f"{count:,} elements of {bits} bits are claimed")
    stream = np.unpackbits(source, count=count * bits).reshape(count, bits)
    field = np.zeros((count, 8 * size), np.uint8)
    field[:, 8 * size - bits :] = stream
    return np.packbits(field, axis=1).reshape(-1).view(f">u{size}").astype(f"u{size}")

"""SZIP: samples coded as differences, each block of them in the cheapest of some ways.

After CCSDS 121.0-B (blocks, reference samples, zero blocks, second extension,
split samples) and libaec's ``decode.c`` and ``sz_compat.c`` for what HDF5 makes
of it: samples of 32 and 64 bits are coded as planes of bytes, lines that are no
whole number of blocks are padded to it.
"""

from __future__ import annotations

import attrs
import numpy as np

from persist.typing import Array

__all__ = ["undo"]

Samples = Array

_MSB, _NEAREST = 16, 32  # options: order of bytes, differences to the sample before
_MOST = 32 << 20  # bytes of one chunk as stored; its bits are laid out singly
_REST = 5  # a run of so many zero blocks means all up to the end of the segment
_SEGMENT = 64


def undo(data: bytes | memoryview, values: tuple[int, ...], most: int) -> bytes:
    """Return what a chunk was before SZIP.

    Args:
        data: four bytes that state how much comes out, then the coded samples.
        values: options, samples of a block, bits of a sample, samples of a line.
        most: bytes that may come out.

    Raises:
        ValueError: the bytes are not what SZIP makes.
    """
    if len(values) < 4:
        raise ValueError(f"{len(values)} parameters, 4 are wanted")
    options, block, bits, line = values[:4]
    size = int.from_bytes(bytes(data[:4]), "little")
    if size > most or len(data) > _MOST:
        raise ValueError(f"{size:,} bytes are claimed of {len(data):,}")
    if not (1 <= bits <= 32 or bits == 64) or not 2 <= block <= 64 or block % 2:
        raise ValueError(f"blocks of {block} samples of {bits} bits")
    if not block <= line <= 128 * block:
        raise ValueError(f"lines of {line:,} samples in blocks of {block}")
    planes = bits // 8 if bits in (32, 64) else 1
    width = 1 if planes > 1 or bits <= 8 else 2 if bits <= 16 else 4
    count = -(-size // width)
    decoder = _Decoder(
        data[4:], 8 if planes > 1 else bits, block, -(-line // block), bool(options & _NEAREST)
    )
    samples = decoder.lines(-(-count // line), line, width).reshape(-1)[:count]
    if planes > 1:
        whole = count // planes * planes
        samples = samples[:whole].reshape(planes, -1).T
    order = ">" if options & _MSB else "<"
    return samples.astype(f"{order}u{width}", copy=False).tobytes()[:size]


@attrs.define
class _Decoder:
    """A stream of bits, and how samples stand in it."""

    data: bytes | memoryview
    bits: int
    block: int
    blocks: int  # of a line
    is_differences: bool
    at: int = 0
    _bits: Samples = attrs.field(init=False)
    _ones: Samples = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._bits = np.unpackbits(np.frombuffer(self.data, np.uint8))
        self._ones = np.flatnonzero(self._bits)

    def lines(self, count: int, length: int, width: int) -> Samples:
        """Return so many lines of ``length`` samples, without what pads them to whole blocks."""
        found = np.empty((count, length), f"u{width}")
        line = np.empty(self.blocks * self.block, np.int64)
        for number in range(count):
            line[:] = 0
            self._line(line)
            if self.is_differences:
                _summed(line, (1 << self.bits) - 1)
            found[number] = line[:length]
        return found

    def _line(self, line: Samples) -> None:
        length = 3 if self.bits <= 8 else 4 if self.bits <= 16 else 5
        raw = (1 << length) - 1
        number = 0
        while number < self.blocks:
            part = line[number * self.block : (number + 1) * self.block]
            reference = int(self.is_differences and not number)
            kind = self._number(length)
            if not kind:
                number += self._simple(part, reference, number)
                continue
            if kind == raw:
                part[:] = self._numbers(self.block, self.bits)
            else:
                if reference:
                    part[0] = self._number(self.bits)
                rest = part[reference:]
                rest[:] = self._runs(len(rest)) << kind - 1
                if kind > 1:
                    rest += self._numbers(len(rest), kind - 1)
            number += 1

    def _simple(self, part: Samples, reference: int, number: int) -> int:
        """Zero blocks, or pairs of small samples; return how many blocks these were."""
        is_pairs = self._number(1)
        if reference:
            part[0] = self._number(self.bits)
        if not is_pairs:
            run = self._run() + 1
            if run == _REST:
                run = min(self.blocks - number, _SEGMENT - number % _SEGMENT)
            elif run > _REST:
                run -= 1
            if run > self.blocks - number:
                raise ValueError(f"{run:,} blocks are claimed, {self.blocks - number:,} are left")
            return run
        codes = self._runs(self.block // 2)
        sums = ((np.sqrt(8 * codes + 1) - 1) // 2).astype(np.int64)
        second = codes - sums * (sums + 1) // 2
        pairs = np.stack([sums - second, second], axis=1).reshape(-1)
        part[reference:] = pairs[reference:]
        return 1

    # Bits.

    def _number(self, width: int) -> int:
        found = 0
        for bit in self._bits[self.at : self.at + width].tolist():
            found = found << 1 | bit
        self._pass(width)
        return found

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > len(self._bits):
            raise ValueError(f"the stream ends at bit {len(self._bits):,}")

    def _numbers(self, count: int, width: int) -> Samples:
        start = self.at
        self._pass(count * width)
        bits = self._bits[start : self.at].reshape(count, width)
        weights = 1 << np.arange(width - 1, -1, -1, dtype=np.int64)
        found: Samples = bits @ weights
        return found

    def _run(self) -> int:
        return int(self._runs(1)[0])

    def _runs(self, count: int) -> Samples:
        """Numbers in unary code: as many zeros before a one."""
        first = int(np.searchsorted(self._ones, self.at))
        ends = self._ones[first : first + count]
        if len(ends) < count:
            raise ValueError(f"the stream ends at bit {len(self._bits):,}")
        runs: Samples = np.diff(ends, prepend=self.at - 1) - 1
        self.at = int(ends[-1]) + 1
        return runs


def _summed(line: Samples, most: int) -> None:
    """Differences, folded to be positive, as samples from 0 to ``most``, in place."""
    folded = line[1:]
    steps = np.where(folded & 1, -(folded + 1 >> 1), folded >> 1)
    plain = np.cumsum(np.concatenate([line[:1], steps]))
    before = plain[:-1]
    if (folded + 1 >> 1 <= np.minimum(before, most - before)).all():
        line[:] = plain
        return
    value = int(line[0])
    found = [value]
    for code in folded.tolist():
        room = min(value, most - value)
        if code + 1 >> 1 <= room:
            value += -(code + 1 >> 1) if code & 1 else code >> 1
        else:  # so far to one side that the other side is meant
            value = code if value <= most - value else most - code
        found.append(value)
    line[:] = found

"""Found by fuzzing: a stream that breaks off is a `ValueError`, as the decompressors promise."""

from __future__ import annotations

import pytest

from persist._wire.compression import blosc, lzo

TEXT = b"Wikipedia wikipedia wikipedia wikipedia"
WHOLE = bytes([17 + len(TEXT)]) + TEXT + b"\x11\x00\x00"


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_lzo_that_breaks_off(length: int) -> None:
    assert lzo.undo(WHOLE, 1000) == TEXT
    with pytest.raises(ValueError):
        lzo.undo(WHOLE[:length], 1000)


@pytest.mark.parametrize("block", [b"\x00", b"\x20", b"\xe0\xff", b"\x1f" + b"x" * 3, b"\x3f"])
def test_blosclz_that_breaks_off(block: bytes) -> None:
    size = 40
    sizes = b"".join(n.to_bytes(4, "little") for n in (size, size, 24 + len(block)))
    chunk = bytes([2, 1, 16, 1]) + sizes + (20).to_bytes(4, "little")
    with pytest.raises(ValueError):
        blosc.undo(chunk + len(block).to_bytes(4, "little") + block, 1000, dict(blosc.OWN))

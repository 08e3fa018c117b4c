"""Found by fuzzing: a stream that breaks off is a `ValueError`, as the decompressors promise."""

from __future__ import annotations

import pytest

from persist._wire.compression import blosc, blosc2, lzo

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


def test_zlib_in_blosc_that_is_none() -> None:
    sizes = b"".join(n.to_bytes(4, "little") for n in (40, 40, 27))
    chunk = bytes([2, 1, 0x70, 1]) + sizes + (20).to_bytes(4, "little")
    with pytest.raises(ValueError, match="incorrect header"):
        blosc.undo(chunk + (3).to_bytes(4, "little") + b"xyz", 1000, dict(blosc.OWN))


def test_a_chunk_of_blosc2_that_takes_no_bytes() -> None:
    """Its own count of its bytes is 0: it has no header, of which a byte was asked for."""
    frame = bytearray(b"\x9e\xa8b2frame\0".ljust(87 + 64, b"\0"))
    frame[11:15] = (87).to_bytes(4, "big")  # the header
    frame[30:38] = (8).to_bytes(8, "big")  # what comes out
    frame[48:52] = frame[58:62] = (8).to_bytes(4, "big")  # width, and bytes of a chunk
    frame[87 + 2], frame[87 + 3] = 5, 8
    frame[87 + 4 : 87 + 8] = (8).to_bytes(4, "little")
    with pytest.raises(ValueError, match="0 bytes of a chunk are claimed"):
        blosc2.undo(bytes(frame), 1000, dict(blosc.OWN))

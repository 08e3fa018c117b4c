"""Compressed bytes around a file: gzip, bz2, xz, zlib, lz4, zstd, a ZIP of one member."""

from __future__ import annotations

from persist._wire.source import Source

__all__ = ["peel"]


def peel(source: Source) -> tuple[Source, str] | None:
    """Return what is inside one layer of compression, and the layer's name; None without one."""
    return None

"""Decompressors, bounded: streams (gzip, bz2, xz, zstd, lz4), Blosc, LZO, SZIP, snappy, CRC-32C."""

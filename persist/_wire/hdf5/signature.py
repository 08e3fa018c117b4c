"""Where an HDF5 file begins: all that one has to know to claim one.

After the format specification, section II.A: the signature is at offset 0, 512, 1024, 2048 ...
"""

from __future__ import annotations

from persist._wire.base.source import Source

__all__ = ["MAGIC", "begins_at"]

MAGIC = b"\x89HDF\r\n\x1a\n"
_NEAR = 32 << 10  # offsets that are looked at behind a URL, at first


def begins_at(source: Source) -> int | None:
    """Return where an HDF5 file begins in the source: 0, 512, 1024, 2048, ...; None if nowhere.

    Behind a URL each offset is a request, so that the far ones are looked at only if nothing else is
    known of the file (``memo["thorough"]``, which `persist._api.detect` sets).
    """
    if source.kind != "file" or source.size < 48:
        return None
    at = 0
    is_quick = not source.is_mapped and not source.memo.get("thorough")
    while at + 48 <= source.size and not (is_quick and at > _NEAR):
        head = source.read(at, 16)
        if head[:8] == MAGIC and head[8] <= 3:
            return at
        if not at and head[:4] == b"PK\3\4":  # an HDF5 file in an archive is not the archive
            return None
        at = at * 2 or 512
    return None

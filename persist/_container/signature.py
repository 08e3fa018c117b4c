"""By what a container is known: the mark in its first header, or in its directory's last entry.

Specified in ``docs/container.md``.
"""

from __future__ import annotations

from persist._container.layout import END, END64, LOCAL, LOCAL_MAGIC, LOCATOR, MANIFEST, MARK, TAIL
from persist._wire.base.source import Source

__all__ = ["claim"]


def claim(source: Source) -> str | None:
    """Return why a file is a container: its first header, or its directory's last entry."""
    if source.kind != "file" or source.size < LOCAL.size:
        return None
    fields = LOCAL.unpack(source.read(0, LOCAL.size))
    name, extra = fields[9], fields[10]
    if fields[0] == LOCAL_MAGIC and source.size >= LOCAL.size + name + extra:
        data = source.read(LOCAL.size + name, extra)
        if data[:4] == b"\x01\0\x10\0":
            data = data[20:]
        if len(data) >= 4 and data[:4] == MARK.to_bytes(2, "little") + (len(data) - 4).to_bytes(
            2, "little"
        ):
            return "ZIP whose first member is aligned as only persist does"
    tail = source.tail(END.size + END64.size + LOCATOR.size + TAIL.size)
    at = tail.rfind(b"persist", 0, len(tail) - END.size)
    if at >= 4 and tail[at - 4 : at] == TAIL.pack(MARK, 16, b"", 0, 0)[:4]:
        return f'ZIP whose directory ends with "{MANIFEST}" of persist'
    return None

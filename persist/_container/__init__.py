"""Our own file: one ZIP of NPY members and a graph in JSON.

``docs/container.md`` specifies it byte by byte. `write` writes a tree, `read`
gives it back with its manifest, `verify` checks every byte.
"""

from __future__ import annotations

from typing import Any

from persist._collector import collector_paused
from persist._container.atomic import replacing
from persist._container.decode import decode
from persist._container.inplace import Done, compact, rewrite, undo
from persist._container.store import Store, claim
from persist._container.writer import write
from persist._wire.source import open_source as open_source
from persist.errors import DamagedFileError

__all__ = [
    "Done", "Store", "claim", "compact", "decode", "read", "replacing",
    "rewrite", "undo", "verify", "write",
]  # fmt: skip


def read(
    source: Any, *, verify: str | None = None, writable: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Return the tree and the manifest of a container.

    Args:
        source: whatever `persist._wire.source.open_source` takes.
        verify: "lazy", "always", "never"; None is "never" where it is mapped.
        writable: arrays are private and may be written to.

    Raises:
        DamagedFileError: it is truncated, altered or lying.
        FutureVersionError: its version is newer than this program.
    """
    store = Store(open_source(source, writable=writable), verify)
    with collector_paused():
        tree = decode(store.graph(), store, store.source.limits, store.source.name)
    return tree, store.manifest


def verify(source: Any) -> list[DamagedFileError]:
    """Check every byte of a container, and return what is wrong; empty for a sound file."""
    try:
        store = Store(open_source(source), "never")
        faults = list(store.faults())
        decode(store.graph(), store, store.source.limits, store.source.name)
    except DamagedFileError as error:
        return [error]
    return faults

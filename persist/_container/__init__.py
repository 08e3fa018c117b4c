"""The container format: a ZIP of NPY members and a graph in JSON.

``docs/container.md`` specifies it byte by byte. `write` writes a tree, `read`
gives it back with its manifest, `verify` checks every byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persist._runtime.gc_pause import collector_paused
from persist._runtime.lazy_exports import lazy_exports
from persist._wire.base.source import open_source as open_source
from persist.errors import DamagedFileError

if TYPE_CHECKING:
    from persist._container.in_place.rewrite import Done, compact, has_older, rewrite, undo
    from persist._container.reading.store import Store
    from persist._container.signature import claim
    from persist._container.writing.atomic import replacing
    from persist._container.writing.writer import write

# Whoever reads needs no writer.
__getattr__ = lazy_exports(
    __name__,
    {
        "Done": ".in_place.rewrite",
        "Store": ".reading.store",
        "claim": ".signature",
        "compact": ".in_place.rewrite",
        "has_older": ".in_place.rewrite",
        "replacing": ".writing.atomic",
        "rewrite": ".in_place.rewrite",
        "undo": ".in_place.rewrite",
        "write": ".writing.writer",
    },
)

__all__ = [
    "Done", "Store", "claim", "compact", "has_older", "read", "replacing",
    "rewrite", "undo", "verify", "write",
]  # fmt: skip


def read(
    source: object, *, verify: str | None = None, writable: bool = False
) -> tuple[Any, dict[str, object]]:
    """Return the tree and the manifest of a container.

    Args:
        source: whatever `persist._wire.base.source.open_source` takes.
        verify: "lazy", "always", "never", None: as for `Store`.
        writable: return arrays that are private copies and may be changed.

    Raises:
        DamagedFileError: the file is truncated, altered or inconsistent.
        FutureVersionError: the file has a newer version than this program supports.
    """
    from persist._container.reading.decode import decode
    from persist._container.reading.store import Store

    store = Store(open_source(source, writable=writable), verify)
    with collector_paused():
        tree = decode(store.graph(), store, store.source.limits, store.source.name)
    return tree, store.manifest


def verify(source: Any) -> list[DamagedFileError]:
    """Check every byte of a container, and return all faults; empty for an intact file."""
    from persist._container.reading.decode import decode
    from persist._container.reading.store import Store

    try:
        store = Store(open_source(source), "never")
        faults = list(store.faults())
        decode(store.graph(), store, store.source.limits, store.source.name)
    except DamagedFileError as error:
        return [error]
    return faults

"""The garbage collector, paused while a tree is built."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collector_paused"]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Disable the garbage collector, which would rescan the many small objects that are made.

    Temporary objects should be released before the block ends, or else the next collection
    examines them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

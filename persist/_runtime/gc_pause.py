"""The garbage collector, paused while a tree is built."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collector_paused"]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Make many small objects without the garbage collector looking at them again and again.

    What is of use only inside should be let go before the end: whatever is left then, the collector
    looks at once.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

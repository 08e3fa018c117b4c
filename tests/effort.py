"""How many examples a law is tried on: a third in ``make test``, all in ``make test-slow``."""

from __future__ import annotations

import os

# Set by `make test-slow`, which runs all laws again, and what is marked slow.
IS_THOROUGH = bool(os.environ.get("PERSIST_THOROUGH"))


def examples(number: int) -> int:
    """Return ``max_examples`` of a law that takes seconds."""
    return number if IS_THOROUGH else max(number // 3, 20)

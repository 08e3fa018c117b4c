"""What the tests have tried, in numbers: for docs/security.md.

With ``PERSIST_COUNTS=FILE`` in the environment each test that counts appends a line; ``tests/hostile/page.py FILE`` writes the
sums into the page.
"""

from __future__ import annotations

import json
import os

__all__ = ["note"]


def note(what: str, number: int) -> None:
    """Append a number of tries of one kind."""
    path = os.environ.get("PERSIST_COUNTS")
    if path:
        with open(path, "a", encoding="utf-8") as file:  # short lines are appended whole
            file.write(json.dumps([what, number]) + "\n")

"""What `Versioned` puts around a state inside any pickle (`docs/envelope.md`)."""

from __future__ import annotations

from typing import Any

__all__ = ["unwrap"]


def unwrap(state: Any) -> Any:
    """Return the envelope that a state is, or None."""
    return None

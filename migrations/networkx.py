"""NetworkX: new names of its classes, and how graphs are made of their records (`_networkx`).

Evidence: NetworkX's release notes and issue 2688 (``networkx.tsv``).
"""

from __future__ import annotations

from persist.migrations import _networkx

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("networkx")
renames = teach(pack, __name__)
_networkx.declare(pack)

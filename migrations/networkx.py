"""NetworkX: where its classes moved; a graph is a record of dicts, as it pickles itself.

2.0 renamed the attributes of a graph (``node`` became ``_node``), which a migration must do.

Evidence: NetworkX's release notes and issue 2688 (``networkx.tsv``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("networkx")
renames = teach(pack, __name__)

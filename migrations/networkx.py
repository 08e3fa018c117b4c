"""NetworkX: new names of its classes; a pickled graph is a record of dicts.

2.0 renamed the attributes of a graph (``node`` became ``_node``), which needs a migration in the user's code.

Evidence: NetworkX's release notes and issue 2688 (``networkx.tsv``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("networkx")
renames = teach(pack, __name__)

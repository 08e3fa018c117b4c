"""statsmodels: new names of its results and wrappers.

Evidence: wheels compared (``statsmodels.tsv``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("statsmodels")
renames = teach(pack, __name__)

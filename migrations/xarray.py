"""xarray: new names of its classes, since ``xray``.

Evidence: wheels compared (``xarray.tsv``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("xarray")
renames = teach(pack, __name__)

"""xarray: new names of its classes, since ``xray``, and how objects are made of their records (`_xarray`).

Evidence: wheels compared (``xarray.tsv``).
"""

from __future__ import annotations

from persist.migrations import _xarray

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("xarray")
renames = teach(pack, __name__)
_xarray.declare(pack)

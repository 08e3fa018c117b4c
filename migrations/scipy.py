"""SciPy: current names of its classes.

A sparse matrix or array is a record whose fields are its parts, as its ``__dict__`` had them:
``data``, ``indices``, ``indptr``; ``row``, ``col``; ``offsets``; ``rows``; ``_shape``. Renames are
in ``scipy.tsv``: the modules got their underscore in 1.8.

Evidence: ``scipy/sparse`` of 0.11 to 1.17, wheels of 0.19 to 1.17 compared.
"""

from __future__ import annotations

from persist.migrations import _scipy_sparse

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("scipy")
renames = teach(pack, __name__)
_scipy_sparse.declare(pack)

"""NumPy: names of its classes and functions in every release since 1.7.

Arrays, scalars, dtypes and their containers are plain data when a file is read
(`persist._wire.pickle.numpy_rebuild`); the rest are names, in ``numpy.tsv``.
"""

from __future__ import annotations

from persist.packs import _renames
from persist.registry import Registry

pack = Registry("numpy")
renames = _renames.teach(pack, __name__)

"""NumPy: names of its classes and functions in every release since 1.7.

Arrays, scalars, dtypes and their containers are plain data when a file is read
(`persist._wire.pickle.numpy_rebuild`); the rest are names, in ``numpy.tsv``. Functions on arrays are
imported where a state refers to one by name, as preprocessing steps of other libraries do.
"""

from __future__ import annotations

from persist.packs import _renames
from persist.registry import Registry

pack = Registry("numpy")
renames = _renames.teach(pack, __name__)

_FUNCTIONS = (
    "abs absolute add arccos arcsin arctan cbrt ceil cos cosh deg2rad divide exp exp2 expm1 floor log log10 log1p "
    "log2 maximum mean median minimum multiply negative power rad2deg reciprocal rint sign sin sinh sqrt square "
    "std subtract sum tan tanh trunc var"
)
for _module in (
    "numpy",
    "numpy._core._multiarray_umath",
    "numpy._core.umath",
    "numpy._core.fromnumeric",
):
    pack.importable(*(f"{_module}.{name}" for name in _FUNCTIONS.split()), library="numpy")

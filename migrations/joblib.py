"""joblib: what a wrapper tells whose array is not there, and where its names moved.

Wrappers of arrays are replaced when a file is read (`persist._wire.joblib.wrappers`). One that is left has
lost the file beside it; its name, and what else the wrapper knows of the array, stand in its place.

scikit-learn kept a copy of it until 0.23; those names are in that pack's table.

Evidence: ``joblib/numpy_pickle.py`` of 0.3 to 0.9, ``numpy_pickle_compat.py`` since 0.10, wheels of
0.11 to 1.6 compared (``joblib.tsv``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from persist._wire.joblib.wrappers import SATELLITE
from persist.packs import _renames
from persist.registry import Registry
from persist.tree import Record, View

__all__ = ["pack", "renames"]

pack = Registry("joblib")
renames = _renames.teach(pack, __name__)


@pack.plain(*sorted(SATELLITE))
def missing(record: Record, looker: Any) -> Any:
    """A wrapper whose satellite is missing or broken: the file that would hold the array."""
    fields = record.fields()
    name = fields.get("filename")
    if not isinstance(name, str):
        return None
    told: dict[str, Any] = {"missing": name}
    state = fields.get("state")  # of a compressed one: (version, shape, dtype, is Fortran)
    if isinstance(state, tuple) and len(state) == 4 and isinstance(state[2], np.dtype):
        told["dtype"], told["shape"] = str(state[2]), [int(extent) for extent in state[1]]
    return View(parts=told, structure=told)

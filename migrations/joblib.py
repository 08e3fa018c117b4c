"""joblib: wrappers of missing arrays, and renamed modules.

Wrappers of arrays are replaced when a file is read (`persist._wire.joblib.wrappers`). A wrapper is left only
if its array file is missing; it is then shown as the file's name and the dtype and shape that it states.

scikit-learn bundled a copy of joblib until 0.23; those names are in the pack of scikit-learn.

Evidence: ``joblib/numpy_pickle.py`` of 0.3 to 0.9, ``numpy_pickle_compat.py`` since 0.10, wheels of
0.11 to 1.6 compared (``joblib.tsv``).
"""

from __future__ import annotations

import numpy as np

from persist._wire.joblib.wrappers import SATELLITE
from persist.packs import _renames
from persist.registry import Registry
from persist.tree import Record, View

__all__ = ["pack", "renames"]

pack = Registry("joblib")
renames = _renames.teach(pack, __name__)


@pack.plain(*sorted(SATELLITE))
def missing(record: Record, looker: object) -> object:
    """Show a wrapper whose satellite is missing or broken as the name of that file."""
    fields = record.fields()
    name = fields.get("filename")
    if not isinstance(name, str):
        return None
    facts: dict[str, object] = {"missing": name}
    state = fields.get("state")  # of a compressed one: (version, shape, dtype, is Fortran)
    if isinstance(state, tuple) and len(state) == 4 and isinstance(state[2], np.dtype):
        facts["dtype"], facts["shape"] = str(state[2]), [int(extent) for extent in state[1]]
    return View(parts=facts, structure=facts)

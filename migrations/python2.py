"""The standard library of Python 2 and 3: renamed modules, and types that were removed.

Applied to every file, whatever libraries it mentions. The names are in
``python2.tsv``; their main source is Python's ``Lib/_compat_pickle.py``.

Types that both versions have are plain values already when the file is read.
This pack handles the types that only Python 2 had, and shows their content.
"""

from __future__ import annotations

from persist.packs import _renames
from persist.registry import Registry
from persist.tree import Record, View

pack = Registry("python2")
renames = _renames.teach(pack, __name__)


@pack.plain("sets.Set", "sets.ImmutableSet")
def old_set(record: Record, looker: object) -> View | None:
    """Show a set of the module ``sets`` (Python 2.3 to 2.7) as a set.

    Its state is a tuple of one dict whose keys are the items (``Lib/sets.py``,
    ``__getstate__``); slots make it (None, {"_data": {...}}) without that method.
    """
    state = record.state
    if not isinstance(state, tuple) or not state:
        return None
    data = state[0]
    if len(state) == 2 and isinstance(state[1], dict):
        data = state[1].get("_data")
    if not isinstance(data, dict):
        return None
    return View(frozenset(data), {"state": state})

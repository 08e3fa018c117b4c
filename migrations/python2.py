"""The standard library of both Pythons: names that moved, and types that are no more.

Asked for every file, whatever libraries it names. The names stand in
``python2.tsv``; Python's own ``Lib/_compat_pickle.py`` is their main source.

Of the types, all that both Pythons have are plain values already when the file
is read. What is left are those that only Python 2 had, seen as what they held.
"""

from __future__ import annotations

from typing import Any

from persist.packs import _renames
from persist.registry import Registry
from persist.tree import Record, View

pack = Registry("python2")
renames = _renames.teach(pack, __name__)


@pack.plain("sets.Set", "sets.ImmutableSet")
def old_set(record: Record, looker: Any) -> View | None:
    """See a set of the module ``sets`` (Python 2.3 to 2.7) as a set.

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

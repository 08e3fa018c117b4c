"""scikit-learn: current names of its estimators and their parts, and the releases they prove.

An estimator is a record with its fitted arrays; it needs no interpretation, since its state is the
plain ``__dict__`` and a tree's ``Tree`` is ``(arguments, {"nodes": ..., "values": ...})``. Renames are
in ``sklearn.tsv``: private modules got their underscore in 0.22, so a name without it proves an
older release. ``__getstate__`` adds ``_sklearn_version`` since 0.18.

Evidence: ``sklearn/_build_utils/deprecated_modules.py`` of 0.22, wheels of 0.19 to 1.9 compared,
``sklearn/base.py`` (``BaseEstimator.__getstate__``).
"""

from __future__ import annotations

from persist.migrations._sklearn import rebuilding

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("sklearn")
renames = teach(pack, __name__)
rebuilding.declare(
    pack, [row.old for row in renames if row.kind != "move" and not row.old.endswith("*")]
)

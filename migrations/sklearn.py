"""scikit-learn: where its estimators and their parts are today, and what a name proves.

An estimator is a record with its fitted arrays; no look is needed, since its state is the plain
``__dict__`` and a tree's ``Tree`` is ``(arguments, {"nodes": ..., "values": ...})``. What moved is
in ``sklearn.tsv``: private modules got their underscore in 0.22, so a name without it proves an
older release. ``__getstate__`` adds ``_sklearn_version`` since 0.18.

Evidence: ``sklearn/_build_utils/deprecated_modules.py`` of 0.22, wheels of 0.19 to 1.9 compared,
``sklearn/base.py`` (``BaseEstimator.__getstate__``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("sklearn")
renames = teach(pack, __name__)

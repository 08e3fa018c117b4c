"""What compiled code of scikit-learn takes on trust, checked before an estimator is made.

`predict` of trees, of histogram-based boosting and of libsvm follows indices and lengths of the state
without a check of its own, so that a wrong one would read memory that is not the array's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from persist.migrations._sklearn.steps import State

from persist.errors import RestoreError

__all__ = ["check"]

_LIBSVM = ("SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM")


def check(name: str, state: State) -> None:
    """Refuse a state whose indices lead out of its arrays.

    Args:
        name: the last part of the dotted name of the class.
        state: today's attributes.

    Raises:
        RestoreError: it would make compiled code read what is not there.
    """
    if name in _LIBSVM and "support_vectors_" in state:
        _check_libsvm(state, "classes_" in state)
    elif "_predictors" in state:
        _check_predictors(state)
    else:
        _check_trees(state)


def _check_trees(state: State) -> None:
    """Trees of one estimator, and those of the estimators that it holds."""
    count = state.get("n_features_in_")
    for tree in _trees(state):
        if isinstance(count, int | np.integer) and int(tree.n_features) != int(count):
            raise RestoreError(f"it has {count} features, and a tree of it {tree.n_features}")


def _trees(state: State) -> Iterable[Any]:
    if hasattr(state.get("tree_"), "n_features"):
        yield state["tree_"]
    held = state.get("estimators_")
    if "estimators_features_" in state:  # of bagging: each has features of its own
        return
    flat = held.ravel().tolist() if isinstance(held, np.ndarray) else held
    for one in flat if isinstance(flat, list) else ():
        if hasattr(getattr(one, "tree_", None), "n_features"):
            yield one.tree_


def _check_predictors(state: State) -> None:
    """The features by which the trees of histogram-based boosting split."""
    count = int(state["n_features_in_"] if "n_features_in_" in state else state["_n_features"])
    for row in state["_predictors"]:
        for predictor in row:
            nodes = predictor.nodes
            inner = nodes["feature_idx"][nodes["is_leaf"] == 0]
            if len(inner) and not (inner.min() >= 0 and inner.max() < count):
                raise RestoreError("a tree of it splits by a feature that is not there")


def _check_libsvm(state: State, is_classifier: bool) -> None:
    """The lengths of libsvm's arrays."""
    vectors = state["support_vectors_"]
    rows = int(vectors.shape[0])
    counts = np.asarray(state.get("_n_support", ()))
    if not is_classifier:  # the second number of a regressor means nothing
        counts = counts[:1]
    coefficients = state.get("_dual_coef_", state.get("dual_coef_"))
    intercepts = np.asarray(state.get("_intercept_", state.get("intercept_", ())))
    classes = len(state["classes_"]) if is_classifier else 2
    pairs = classes * (classes - 1) // 2
    fits = (
        (counts >= 0).all()
        and int(counts.sum()) == rows
        and (not is_classifier or len(counts) == classes)
        and tuple(getattr(coefficients, "shape", ())) == (classes - 1, rows)
        and intercepts.size == pairs
        and all(np.size(state.get(one, ())) in (0, pairs) for one in ("_probA", "_probB"))
    )
    if not fits:
        raise RestoreError("its support vectors, coefficients and counts do not fit together")

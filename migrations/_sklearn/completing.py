"""What every estimator needs: today's parameters, their values' new names, the number of features."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

import numpy as np
from persist.migrations._sklearn.steps import State

__all__ = ["complete"]

# Values of parameters that have other names since. Of the losses and criteria, the old names went
# in 1.2 (1.3 for "log"); `max_features="auto"` in 1.3, where it had meant the value given here.
_VALUES: dict[str, dict[str, Any]] = {
    "criterion": {"mse": "squared_error", "mae": "absolute_error"},
    "loss": {
        "ls": "squared_error", "lad": "absolute_error", "deviance": "log_loss", "log": "log_loss",
        "squared_loss": "squared_error", "least_squares": "squared_error",
        "least_absolute_deviation": "absolute_error", "binary_crossentropy": "log_loss",
        "categorical_crossentropy": "log_loss", "auto": "log_loss", "l1": "hinge", "l2": "squared_hinge",
    },
    "algorithm": {"auto": "lloyd", "full": "lloyd"},
    "penalty": {"none": None},
}  # fmt: skip
# Parameters that classes had, and that mean nothing to what was fitted.
_REMOVED = frozenset(
    {
        "behaviour", "copy", "copy_X", "copy_x", "dense_output", "fit_params", "iid",
        "min_impurity_split", "n_alphas", "n_iter", "n_jobs", "non_negative", "normalize", "pass_y",
        "positive", "pre_dispatch", "precompute_distances", "presort", "sparse", "store_covariances", "verbose",
    }
)  # fmt: skip
_ONLY_OF = {
    "algorithm": ("KMeans",),
}


def complete(cls: object, state: State, qualname: str) -> None:
    """Give a state the parameters of the installed class, and take away those that are gone."""
    name = qualname.rpartition(".")[2]
    known = _parameters(cls)
    for parameter, default in known.items():
        if parameter not in state and default is not inspect.Parameter.empty:
            state[parameter] = default
    for parameter in _REMOVED.difference(known).intersection(state):
        del state[parameter]
    for parameter, values in _VALUES.items():
        value = state.get(parameter)
        applies = any(name.endswith(end) for end in _ONLY_OF.get(parameter, ("",)))
        if not applies or parameter not in known or not isinstance(value, str):
            continue
        if value in values and not _accepts(cls, parameter, value):
            state[parameter] = values[value]
    _replace_defaults(known, state)
    if state.get("max_features") == "auto" and not _accepts(cls, "max_features", "auto"):
        state["max_features"] = "sqrt" if name.endswith("Classifier") else 1.0
    _count_features(cls, state)


# What "warn" and "deprecated" meant while they were defaults, where that is not today's default.
_MEANT: dict[str, object] = {
    "cv": 3, "dual": True, "force_alpha": False, "n_estimators": 10, "n_init": 10, "normalized_stress": False,
    "solver": "liblinear",
}  # fmt: skip


def _replace_defaults(known: dict[str, object], state: State) -> None:
    """Replace values that said "the default will change", or that are not taken any more."""
    if state.get("eta0") == 0.0 and "eta0" in known:  # unused by the other learning rates
        state["eta0"] = known["eta0"]
    if "categories" in known and state.get("categories") is None:
        state["categories"] = "auto"
    if "n_jobs" in known and known["n_jobs"] is None and state.get("n_jobs") == 1:
        state["n_jobs"] = None  # what 1 was called before 0.20
    if known.get("criterion") == "deprecated":  # of gradient boosting; it has no effect any more
        state["criterion"] = "deprecated"
    if known.get("probability") == "deprecated" and not state.get("probability"):
        state["probability"] = "deprecated"
    for name, value in state.items():
        is_said = isinstance(value, str) and value in ("warn", "deprecated")
        if is_said and name in known and known[name] != value:
            state[name] = _MEANT.get(name, known[name])


@functools.cache
def _parameters(cls: Any) -> dict[str, Any]:
    found = inspect.signature(cls.__init__).parameters.values()
    return {
        one.name: one.default
        for one in list(found)[1:]
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    }


def _accepts(cls: object, parameter: str, value: object) -> bool:
    """Whether the installed class still takes a value of a parameter."""
    constraints = getattr(cls, "_parameter_constraints", {})
    if parameter not in constraints:
        return False
    checks = importlib.import_module("sklearn.utils._param_validation")
    try:
        checks.validate_parameter_constraints(constraints, {parameter: value}, caller_name="")
    except checks.InvalidParameterError:
        return False
    return True


# The number of features that an estimator was fitted with is `n_features_in_` since 0.24; before,
# it had several names, or only the shape of an array showed it.
_COUNTED = ("n_features_", "n_features", "n_input_features_", "_n_features")
_MASKS = ("support_", "ranking_")  # of selectors
_COLUMNS = (
    "components_", "cluster_centers_", "means_", "theta_", "feature_log_prob_", "X_train_", "_fit_X",
    "X_fit_", "support_vectors_", "centroids_", "location_",
)  # fmt: skip
_LENGTHS = (
    "mean_",
    "scale_",
    "center_",
    "min_",
    "max_abs_",
    "statistics_",
    "variances_",
    "scores_",
)


def _count_features(cls: object, state: State) -> None:
    is_selector = "n_features_to_select" in state
    gone = ("n_input_features_",) if is_selector else ("n_features_", "n_input_features_")
    old = [state.pop(name) for name in gone if name in state]
    if "n_features_in_" in state or isinstance(getattr(cls, "n_features_in_", None), property):
        return
    count = old[0] if old else _counted(cls, state)
    if count is not None:
        state["n_features_in_"] = int(count)


def _counted(cls: object, state: State) -> int | None:
    if "n_features_to_select" in state:  # `n_features_` was the number of those selected
        return next((len(state[name]) for name in _MASKS if name in state), None)
    for name in _COUNTED:
        if isinstance(state.get(name), int | np.integer):
            return int(state[name])
    coefs = state.get("coefs_")
    if isinstance(coefs, list) and coefs:
        return int(np.shape(coefs[0])[0])
    if "x_weights_" in state:
        return int(np.shape(state["x_weights_"])[0])
    for name in _COLUMNS:
        shape = getattr(state.get(name), "shape", ())
        if shape:
            return int(shape[-1])
    for name in _LENGTHS:
        shape = tuple(getattr(state.get(name), "shape", ()))
        if len(shape) == 1:
            return int(shape[0])
    coef = state.get("coef_")
    if coef is not None and np.ndim(coef):
        return int(np.shape(coef)[-1])
    for name in ("categories_", "bin_edges_"):
        if isinstance(state.get(name), list | np.ndarray):
            return len(state[name])
    for inner in state.get("estimators_", ()) if isinstance(state.get("estimators_"), list) else ():
        found = getattr(inner, "n_features_in_", None)
        return found if isinstance(found, int) else None
    for name in ("best_estimator_", "estimator_"):
        found = getattr(state.get(name), "n_features_in_", None)
        if isinstance(found, int) and "n_features_in_" not in dir(cls):
            return found
    return None

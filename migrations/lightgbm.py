"""LightGBM: how boosters and the estimators around them are made for the installed release.

A booster is the text that LightGBM itself writes of its trees, which all releases read; 4.0 renamed the
attribute that holds it. An estimator is its parameters, the booster and what the fit noted.

Evidence: ``basic.py`` and ``sklearn.py`` of 2.0 to 4.7 (``Booster.__getstate__``, ``LGBMModel.__init__``,
``LGBMClassifier.fit``), and models that these releases wrote (``tests/foundry/boosters``).
"""

from __future__ import annotations

import functools
import importlib

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.typing import State

__all__ = ["NEWEST", "OLDEST", "pack"]

OLDEST, NEWEST = "4.0", "4.7"
"""The releases of LightGBM for which objects are made."""

_ESTIMATORS = ("LGBMModel", "LGBMClassifier", "LGBMRegressor", "LGBMRanker")
_FITTED = ("_le", "_eval_at", "fitted_")
_ENCODERS = ("LGBMLabelEncoder", "_LGBMLabelEncoder")

pack = Registry("lightgbm")
for _name in _ENCODERS:  # scikit-learn's, under a name of LightGBM's own in some releases
    pack.alias(f"lightgbm.compat.{_name}", "sklearn.preprocessing._label.LabelEncoder")


@functools.cache
def _check_installed() -> str:
    from packaging.version import Version

    release = str(importlib.import_module("lightgbm").__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"lightgbm {release} is installed, and models are made for {OLDEST} to {NEWEST}"
        )
    return release


def _state(record: Record) -> State:
    if not isinstance(record.state, dict) or not all(isinstance(k, str) for k in record.state):
        raise RestoreError("its state is no dict of attributes")
    return {**record.state}


@pack.rebuild("lightgbm.basic.Booster", library="lightgbm", requires=_check_installed)
def booster(record: Record) -> object:
    """A booster, by the library's own reader of the text that it wrote."""
    basic = importlib.import_module("lightgbm.basic")
    release = _check_installed()
    state = _state(record)
    text = state.get("_handle", state.get("handle"))
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not isinstance(text, str) or not text.startswith("tree"):
        raise RestoreError("it holds no model")
    try:
        made = basic.Booster(model_str=text)
    except basic.LightGBMError as error:
        raise RestoreError(f"lightgbm {release} does not read its model: {error}") from error
    if isinstance(state.get("best_score"), dict):
        made.best_score.update(state["best_score"])
    for name in ("best_iteration", "params", "pandas_categorical"):
        if state.get(name) is not None:
            setattr(made, name, state[name])
    return made


@pack.rebuild(
    *(f"lightgbm.sklearn.{name}" for name in _ESTIMATORS),
    library="lightgbm",
    requires=_check_installed,
)
def estimator(record: Record) -> object:
    """An estimator of `lightgbm.sklearn`, with the attributes that the installed release has."""
    module = importlib.import_module("lightgbm.sklearn")
    release = _check_installed()
    state = _state(record)
    made = getattr(module, record.qualname.rpartition(".")[2])()
    _bring_up_to_date(state)
    others = state.get("_other_params")
    known = {*vars(made), *(others if isinstance(others, dict) else ()), *_FITTED}
    unknown = sorted(state.keys() - known)
    if unknown:
        raise RestoreError(f"lightgbm {release} knows no {', '.join(unknown)} of it")
    made.__dict__.update(state)
    return made


def _bring_up_to_date(state: State) -> None:
    """Take away what is gone, and add what later releases note of a fit.

    ``silent`` and ``nthread`` went in 4.0; 2.0 noted fewer facts, and -1 or None where there are none.
    """
    for name in ("silent", "nthread", "seed", "_fobj"):
        if state.get(name) is None or name != "_fobj":
            state.pop(name, None)
    for name, value in (
        ("_evals_result", {}),
        ("_best_score", {}),
        ("_best_iteration", 0),
        ("_n_classes", -1),
    ):
        if state.get(name, ...) is None:
            state[name] = value
    fitted = state.get("_Booster") is not None
    if not fitted:
        return
    state.setdefault("fitted_", True)
    if "_n_features" not in state:
        state["_n_features"] = state["_Booster"].num_feature()
    state.setdefault("_n_features_in", state["_n_features"])

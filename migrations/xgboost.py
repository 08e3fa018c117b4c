"""xgboost: how boosters and the estimators around them are made for the installed release.

A booster is the bytes that xgboost itself writes of its trees. They are given to the installed library,
which reads those of releases since 1.0; older ones are written as JSON first (`_xgboost_binary`). An estimator is its parameters, the booster and a few
attributes of the fit. Labels were stored next to the booster before 1.6, and are numbers from 0 since.

Evidence: ``core.py`` and ``sklearn.py`` of 0.72 to 3.2 (``Booster.__getstate__``, ``XGBModel.__init__``,
``XGBClassifier.fit``), and models that these releases wrote (``tests/foundry/boosters``).
"""

from __future__ import annotations

import functools
import importlib
import math

import numpy as np
from persist.migrations._xgboost_binary import json_of

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.typing import State

__all__ = ["NEWEST", "OLDEST", "pack"]

OLDEST, NEWEST = "2.1", "3.2"
"""The releases of xgboost for which objects are made."""

_ESTIMATORS = ("XGBModel", "XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")  # fmt: skip

# Parameters that constructors had, and that mean nothing once the trees are grown.
_REMOVED = frozenset(
    {
        "silent", "use_label_encoder", "predictor", "gpu_id", "colsample_bylevel", "save_best", "max_bin",
        "early_stopping_rounds", "eval_metric", "callbacks", "validate_parameters",
    }
)  # fmt: skip
_RENAMED = {"nthread": "n_jobs", "seed": "random_state"}
# What a fit left that today's classes compute, or do not have.
_COMPUTED = frozenset(
    {
        "classes_", "_le", "_features_count", "n_features_in_", "feature_names_in_", "best_iteration", "best_score",
        "best_ntree_limit", "_best_iteration", "_best_score",
    }
)  # fmt: skip
_FITTED = frozenset({"_Booster", "n_classes_", "evals_result_", "kwargs"})

pack = Registry("xgboost")


@functools.cache
def _check_installed() -> str:
    from packaging.version import Version

    release = str(importlib.import_module("xgboost").__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"xgboost {release} is installed, and models are made for {OLDEST} to {NEWEST}"
        )
    return release


def _state(record: Record) -> State:
    if not isinstance(record.state, dict) or not all(isinstance(k, str) for k in record.state):
        raise RestoreError("its state is no dict of attributes")
    return {**record.state}


@pack.rebuild("xgboost.core.Booster", library="xgboost", requires=_check_installed)
def booster(record: Record) -> object:
    """A booster, by the library's own reader of the bytes that it wrote."""
    core = importlib.import_module("xgboost.core")
    release = _check_installed()
    state = _state(record)
    raw = state.get("handle")
    if not isinstance(raw, (bytes, bytearray)) or not raw:
        raise RestoreError("it holds no model")
    made = core.Booster.__new__(core.Booster)
    try:
        with importlib.import_module("xgboost").config_context(verbosity=0):  # of older releases
            if raw[:1] == b"{" or raw[:4] == b"CONF":
                made.__setstate__({"handle": bytearray(raw)})
            else:
                made = core.Booster(model_file=bytearray(json_of(bytes(raw))))
    except core.XGBoostError as error:
        said = str(error).strip().splitlines()[0]
        raise RestoreError(f"xgboost {release} does not read its model: {said}") from error
    for name in ("feature_names", "feature_types"):
        texts = state.get(name)
        if texts is None or getattr(made, name) is not None:
            continue
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise RestoreError(f"its {name} are no list of texts")
        if texts != [
            f"f{number}" for number in range(len(texts))
        ]:  # given to data without names, once
            setattr(made, name, texts)
    return made


@pack.rebuild(
    *(f"xgboost.sklearn.{name}" for name in _ESTIMATORS),
    library="xgboost",
    requires=_check_installed,
)
def estimator(record: Record) -> object:
    """An estimator of `xgboost.sklearn`, with the parameters that the installed release has."""
    _check_installed()
    module = importlib.import_module("xgboost.sklearn")
    state = _state(record)
    made = getattr(module, record.qualname.rpartition(".")[2])()
    _check_labels(made, state)
    _check_early(made, state)
    for old, new in _RENAMED.items():
        value = state.pop(old, None)
        if value is not None and value != 0 and state.get(new) is None:
            state[new] = value
    if state.get("missing", ...) is None:
        state["missing"] = math.nan
    known = {*vars(made), *_FITTED}
    for name in sorted(_COMPUTED | (_REMOVED - known)):
        state.pop(name, None)
    unknown = sorted(state.keys() - known)
    if unknown:
        raise RestoreError(f"xgboost {_check_installed()} knows no {', '.join(unknown)} of it")
    made.__dict__.update(state)
    return made


def _check_early(made: object, state: State) -> None:
    """Refuse an estimator that stopped early, where its release may have predicted with all trees.

    Releases before 0.80 did, and rankers before 1.4; ``importance_type`` is a parameter since 0.82.
    """
    is_ranker = type(made).__name__ == "XGBRanker"
    if "best_ntree_limit" in state and (is_ranker or "importance_type" not in state):
        raise RestoreError(
            "it stopped early, and its release is not recorded: some predicted with all trees, and others with "
            "those of the best iteration, as current ones do; persist.load(..., at='_Booster') makes its booster"
        )


def _check_labels(made: object, state: State) -> None:
    """Note the number of classes; refuse labels that today's classifier would not answer with."""
    labels = state.get("classes_")
    if labels is None:
        return
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iufb" or labels.tolist() != list(range(len(labels))):
        shown = ", ".join(map(repr, labels.tolist()[:4]))
        raise RestoreError(
            f"its labels are {shown}, and since 1.6 an {type(made).__name__} answers with numbers from 0; "
            "persist.load(..., at='_Booster') makes its booster"
        )
    state.setdefault("n_classes_", len(labels))

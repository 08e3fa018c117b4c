"""Decision trees and ensembles of them: forests, boosting, bagging, isolation forests."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from persist.migrations._sklearn.former import Former
from persist.migrations._sklearn.steps import State, renamed, since, within
from persist.migrations._sklearn.trees import as_fractions

from persist.errors import RestoreError
from persist.tree import ABSENT

__all__: list[str] = []

_TREE_CLASSIFIERS = within("tree._classes", "DecisionTreeClassifier", "ExtraTreeClassifier")
_TREE_REGRESSORS = within("tree._classes", "DecisionTreeRegressor", "ExtraTreeRegressor")
_FOREST_CLASSIFIERS = within("ensemble._forest", "RandomForestClassifier", "ExtraTreesClassifier")
_FORESTS = (
    *_FOREST_CLASSIFIERS,
    *within(
        "ensemble._forest", "RandomForestRegressor", "ExtraTreesRegressor", "RandomTreesEmbedding"
    ),
)
_BOOSTING_CLASSIFIER, _BOOSTING_REGRESSOR = within(
    "ensemble._gb", "GradientBoostingClassifier", "GradientBoostingRegressor"
)
_ADABOOST = within("ensemble._weight_boosting", "AdaBoostClassifier", "AdaBoostRegressor")
_BAGGING = within("ensemble._bagging", "BaggingClassifier", "BaggingRegressor")
_ISOLATION = within("ensemble._iforest", "IsolationForest")
_HIST = within(
    "ensemble._hist_gradient_boosting.gradient_boosting",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
)


@since("1.4", *_TREE_CLASSIFIERS)
def fractions(state: State) -> None:
    """The values of a classifier's tree became fractions of the samples; they were counts."""
    if state.get("tree_") is not None:
        as_fractions(state["tree_"])


@since("0.22", *_TREE_CLASSIFIERS, *_TREE_REGRESSORS)
def nothing_before_fit(state: State) -> None:
    """The constructor set fitted attributes to None."""
    if state.get("tree_", ABSENT) is None:
        for name in (
            "tree_",
            "max_features_",
            "n_features_",
            "n_outputs_",
            "classes_",
            "n_classes_",
        ):
            if state.get(name) is None:
                state.pop(name, None)


@since("1.0", *_TREE_REGRESSORS)
def no_classes(state: State) -> None:
    """A regressor had classes."""
    state.pop("classes_", None)
    state.pop("n_classes_", None)


@since("1.3", *_TREE_CLASSIFIERS, *_TREE_REGRESSORS)
def auto_features(state: State) -> None:
    """``max_features="auto"`` meant the root of their number for a tree classifier, all for a regressor.

    The number itself is in ``max_features_``.
    """
    if state.get("max_features") == "auto":
        count, total = (
            state.get("max_features_"),
            state.get("n_features_in_", state.get("n_features_")),
        )
        state["max_features"] = None if count == total else "sqrt"


renamed("1.2", *_FORESTS, *_ADABOOST, *_BAGGING, *_ISOLATION,
        base_estimator="estimator", base_estimator_="estimator_")  # fmt: skip


@since("1.2", *_ADABOOST, *_BAGGING, *_ISOLATION)
def no_deprecated_estimator(state: State) -> None:
    """1.2 and 1.3 kept ``base_estimator="deprecated"``."""
    if state.get("estimator") == "deprecated":
        state["estimator"] = None


@since("1.9", *_FORESTS, *_BAGGING)
def kept_weights(state: State) -> None:
    """The weights of ``fit`` are kept, to draw the samples of each estimator again."""
    state.setdefault("_sample_weight", None)


@since("1.9", *_FORESTS)
def parameters_of_trees(state: State) -> None:
    """The names of the parameters that each tree is given are those of the installed release."""
    inner: object = state.get("estimator_", state.get("estimator"))
    known = inner.get_params() if hasattr(inner, "get_params") else {}
    given = state.get("estimator_params")
    if isinstance(given, tuple | list):
        state["estimator_params"] = tuple(name for name in given if name in known)


# Gradient boosting.

_PRIORS = ("PriorProbabilityEstimator", "LogOddsEstimator", "ScaledLogOddsEstimator")


@since("1.4", _BOOSTING_CLASSIFIER, _BOOSTING_REGRESSOR)
def losses(state: State) -> None:
    """``loss_`` became ``_loss``, of the losses that all of the library shares."""
    state.pop("loss_", None)
    is_classifier = "classes_" in state
    n_classes = int(state.get("n_classes_", 1)) if is_classifier else 1
    if not is_classifier:
        state.pop("n_classes_", None)
    trees = state.get("estimators_")
    state["n_trees_per_iteration_"] = int(trees.shape[1]) if isinstance(trees, np.ndarray) else 1
    state["_loss"] = _loss(str(state.get("loss")), n_classes, state.get("alpha"))


def _loss(name: str, n_classes: int, alpha: object) -> object:
    module = importlib.import_module("sklearn._loss.loss")
    if name in ("deviance", "log_loss"):
        if n_classes > 2:
            return module.HalfMultinomialLoss(n_classes=n_classes)
        return module.HalfBinomialLoss()
    if name == "exponential":
        return module.ExponentialLoss()
    if name in ("ls", "squared_error"):
        return module.HalfSquaredError()
    if name in ("lad", "absolute_error"):
        return module.AbsoluteError()
    if name == "huber":
        return module.HuberLoss(quantile=alpha)
    if name == "quantile":
        return module.PinballLoss(quantile=alpha)
    raise RestoreError(f"its loss is {name!r}, which no release is known to have had")


@since("0.21", _BOOSTING_CLASSIFIER, _BOOSTING_REGRESSOR)
def initial_estimator(state: State) -> None:
    """The first prediction is made by a dummy estimator; before, by one of the module's own.

    For several classes the old one predicted the probabilities themselves where today's predicts
    their logarithms, so the dummy's probabilities are chosen to give the same values.
    """
    first = state.get("init_")
    if not isinstance(first, Former):
        return
    dummy = importlib.import_module("sklearn.dummy")
    counted: Any = state.get("n_features_", state.get("n_features", 1))
    n_features = int(counted)
    if first.name == "ZeroEstimator":
        state["init_"] = "zero"
        return
    if first.name in _PRIORS:
        classes = np.asarray(state["classes_"])
        made = dummy.DummyClassifier(strategy="prior")
        made.fit(
            np.zeros((len(classes), 1)),
            classes,
            sample_weight=_weights(first, len(classes)),
        )
    else:
        constant = first.state["mean" if first.name == "MeanEstimator" else "quantile"]
        made = dummy.DummyRegressor(strategy="constant", constant=float(constant))
        made.fit(np.zeros((1, 1)), [float(constant)])
    made.n_features_in_ = n_features
    state["init_"] = made
    if first.name == "PriorProbabilityEstimator":
        state["_persist_offset"] = float(np.mean(first.state["priors"]))


def _weights(first: Former, n_classes: int) -> object:
    """The probabilities for which today's logarithms are the old estimator's predictions."""
    if first.name == "PriorProbabilityEstimator":
        priors = np.asarray(first.state["priors"], dtype=float)
        if priors.shape != (n_classes,):
            raise RestoreError("its initial estimator has priors of other classes")
        return np.exp(priors)
    prior = float(first.state["prior"])
    # ScaledLogOddsEstimator halved the logarithm, as the link of the exponential loss does today.
    scaled = 2 * prior if first.name == "ScaledLogOddsEstimator" else prior
    share = 1 / (1 + np.exp(-scaled))
    return np.array([1 - share, share])


@since("1.4", _BOOSTING_CLASSIFIER)
def centered_raw_values(state: State) -> None:
    """Raw values of several classes begin with logarithms that are centered at zero since 1.4.

    The difference is one number for all samples and classes, so it is added to the leaves of the
    first trees: probabilities are the same anyway, and so is `decision_function` then.
    """
    first: Any = state.get("init_")
    trees = state.get("estimators_")
    offset = state.pop("_persist_offset", None)
    if not isinstance(trees, np.ndarray) or trees.shape[1] < 2:
        return
    if offset is None:
        if type(first).__name__ != "DummyClassifier":
            return
        prior = np.clip(first.class_prior_, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        offset = float(np.mean(np.log(prior)))
    for one in trees[0]:
        one.tree_.value[...] += offset / float(state["learning_rate"])


# AdaBoost.


@since("1.6", _ADABOOST[0])
def discrete_boosting(state: State) -> None:
    """SAMME.R, the default before 1.6, is gone, and what SAMME answers besides the class is scaled otherwise."""
    algorithm = state.pop("algorithm", "SAMME.R")
    if algorithm not in ("SAMME", "deprecated"):
        raise RestoreError(
            "it was fitted by the algorithm SAMME.R, which scikit-learn 1.6 removed: what SAMME "
            "answers is not what it answered"
        )


@since("1.5", _ADABOOST[0])
def scale_of_decisions(state: State) -> None:
    """SAMME's `decision_function` and `predict_proba` are scaled otherwise since 1.5."""
    if state.get("algorithm", "SAMME.R") == "SAMME":
        raise RestoreError(
            "it was fitted by a release before 1.5, whose algorithm SAMME gave other probabilities"
        )


# Isolation forest.


@since("0.22", *_ISOLATION)
def offsets(state: State) -> None:
    """The threshold was apart from the offset, so that `predict` and `decision_function` differed."""
    behaviour = state.pop("behaviour", "old")
    threshold = state.pop("_threshold_", state.pop("threshold_", None))
    state.pop("_contamination", None)
    if behaviour != "new" and threshold is not None:
        raise RestoreError(
            "it was fitted by a release before 0.22 with a threshold apart from the offset of "
            "decision_function, which scikit-learn no longer has"
        )
    if state.get("contamination") == "legacy":
        state["contamination"] = 0.1


@since("1.3", *_ISOLATION)
def path_lengths(state: State) -> None:
    """The average path lengths of each tree are kept since 1.3, rather than computed each time."""
    trees = state.get("estimators_")
    if "_average_path_length_per_tree" in state or not isinstance(trees, list):
        return
    average = importlib.import_module("sklearn.ensemble._iforest")._average_path_length
    state["_average_path_length_per_tree"] = tuple(
        average(one.tree_.n_node_samples) for one in trees
    )
    state["_decision_path_lengths"] = tuple(one.tree_.compute_node_depths() for one in trees)


@since("0.21", *_ISOLATION)
def short_paths(state: State) -> None:
    """The average path length of one and of two samples was another number before 0.21."""
    trees = state.get("estimators_")
    if isinstance(trees, list):
        state["_average_path_length_per_tree"] = tuple(
            _old_average(one.tree_.n_node_samples) for one in trees
        )
        state["_decision_path_lengths"] = tuple(one.tree_.compute_node_depths() for one in trees)


def _old_average(counts: object) -> object:
    sizes = np.asarray(counts, dtype=float)
    many = np.maximum(sizes, 2)
    found = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(sizes <= 1, 1.0, found)


# Histogram-based gradient boosting.


_HIST_LOSSES = {
    "BinaryCrossEntropy": "log_loss", "CategoricalCrossEntropy": "log_loss", "LeastSquares": "squared_error",
    "LeastAbsoluteDeviation": "absolute_error",
}  # fmt: skip


@since("1.1", *_HIST)
def hist_losses(state: State) -> None:
    """Losses were of the module's own, and the first prediction a number or a column."""
    former = state.pop("loss_", None) or state.get("_loss")
    if not isinstance(former, Former):
        return
    module = importlib.import_module("sklearn._loss.loss")
    if former.name == "Poisson":
        state["_loss"] = module.HalfPoissonLoss()
    elif former.name in _HIST_LOSSES:
        n_classes = len(state["classes_"]) if "classes_" in state else 1
        state["_loss"] = _loss(_HIST_LOSSES[former.name], n_classes, None)
    else:
        raise RestoreError(f"its loss {former.name} is not one of scikit-learn's")
    if "_baseline_prediction" in state:
        state["_baseline_prediction"] = np.reshape(
            np.asarray(state["_baseline_prediction"], float), (1, -1)
        )


@since("1.4", *_HIST)
def hist_inputs(state: State) -> None:
    """Categories are encoded before they are binned."""
    state.setdefault("_preprocessor", None)
    state.setdefault("_is_categorical_remapped", None)
    state.setdefault("is_categorical_", None)
    if state["is_categorical_"] is not None and np.any(state["is_categorical_"]):
        raise RestoreError(
            "it was fitted with categorical features by a release before 1.4, which binned the numbers "
            "that were given and not their encoding"
        )


@since("0.24", *within("ensemble._hist_gradient_boosting.binning", "_BinMapper"))
def known_categories(state: State) -> None:
    """Features may be categorical."""
    if "bin_thresholds_" in state:
        count = len(state["bin_thresholds_"])
        state.setdefault("is_categorical_", np.zeros(count, dtype=np.uint8))
    state.setdefault("known_categories", None)
    state.setdefault("is_categorical", None)
    if "max_bins" in state:
        state["n_bins"] = int(state.pop("max_bins")) + 1
    if "actual_n_bins_" in state:
        state["n_bins_non_missing_"] = state.pop("actual_n_bins_")

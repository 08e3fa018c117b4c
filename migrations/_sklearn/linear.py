"""Linear models, stochastic gradient descent, and support vector machines."""

from __future__ import annotations

import importlib

import numpy as np
from persist.migrations._sklearn.steps import INSTEAD, State, renamed, since, within

from persist.errors import RestoreError

__all__: list[str] = []

_LOGISTIC, _LOGISTIC_CV = within(
    "linear_model._logistic", "LogisticRegression", "LogisticRegressionCV"
)
_SGD = (
    *within("linear_model._stochastic_gradient", "SGDClassifier", "SGDRegressor", "SGDOneClassSVM"),
    *within("linear_model._perceptron", "Perceptron"),
    *within(
        "linear_model._passive_aggressive",
        "PassiveAggressiveClassifier",
        "PassiveAggressiveRegressor",
    ),
)
_CLASSIFIER_SVM = within("svm._classes", "SVC", "NuSVC")
_LIBSVM = (*_CLASSIFIER_SVM, *within("svm._classes", "SVR", "NuSVR", "OneClassSVM"))
_LINEAR_SVM = within("svm._classes", "LinearSVC", "LinearSVR")
_RIDGE_CV = within("linear_model._ridge", "RidgeCV", "RidgeClassifierCV")
_PATH_CV = within(
    "linear_model._coordinate_descent",
    "LassoCV",
    "ElasticNetCV",
    "MultiTaskLassoCV",
    "MultiTaskElasticNetCV",
)


# Logistic regression.


@since("1.8", _LOGISTIC, _LOGISTIC_CV)
def how_classes_share(state: State) -> None:
    """``multi_class`` is gone: of several classes, the answer is always that of the softmax.

    An estimator of one model a class becomes the `OneVsRestClassifier` that it was. ``multi_class``
    was "ovr" by default before 0.22 ("warn" in 0.20 and 0.21) and "auto" since; "auto" meant one
    model a class for liblinear only.
    """
    written = state.pop("multi_class", "ovr")
    classes = np.asarray(state.get("classes_", ()))
    if written in ("auto", "deprecated"):
        written = "ovr" if state.get("solver") == "liblinear" else "multinomial"
        if len(classes) <= 2:
            return
    elif written == "warn":
        written = "ovr"
    if len(classes) == 2 and written == "multinomial":
        raise RestoreError(
            "it is a multinomial model of two classes, whose probabilities scikit-learn 1.8 and later "
            "cannot give"
        )
    if len(classes) > 2 and written == "ovr":
        if "scores_" in state:
            raise RestoreError(
                "it chose a penalty for each class, and an estimator of one model a class has no place "
                "for its scores"
            )
        state[INSTEAD] = _one_model_a_class(state, classes)


def _one_model_a_class(state: State, classes: object) -> object:
    linear = importlib.import_module("sklearn.linear_model")
    multiclass = importlib.import_module("sklearn.multiclass")
    preprocessing = importlib.import_module("sklearn.preprocessing")
    known = linear.LogisticRegression().get_params()
    options = {name: state[name] for name in known if name in state and name != "penalty"}
    if state.get("penalty") in ("l1", "elasticnet"):
        options["l1_ratio"] = 1.0 if state["penalty"] == "l1" else state.get("l1_ratio") or 0.0
    coefficients = np.asarray(state["coef_"])
    # Without an intercept, liblinear kept one number for all classes.
    intercepts = np.broadcast_to(np.asarray(state["intercept_"]), (len(coefficients),))
    iterations = np.broadcast_to(np.asarray(state.get("n_iter_", 0)), (len(coefficients),))
    models = []
    for row, intercept, steps in zip(coefficients, intercepts, iterations, strict=True):
        model = linear.LogisticRegression(**options)
        model.coef_, model.intercept_ = row[np.newaxis].copy(), np.array([intercept])
        model.classes_, model.n_iter_ = np.array([0, 1]), np.array([steps])
        model.n_features_in_ = coefficients.shape[1]
        models.append(model)
    made = multiclass.OneVsRestClassifier(linear.LogisticRegression(**options))
    made.estimators_ = models
    made.label_binarizer_ = preprocessing.LabelBinarizer(sparse_output=True).fit(classes)
    made.classes_ = made.label_binarizer_.classes_
    made.n_features_in_ = coefficients.shape[1]
    return made


@since("1.8", _LOGISTIC, _LOGISTIC_CV)
def penalties(state: State) -> None:
    """``penalty`` became ``l1_ratio`` and an infinite ``C``."""
    penalty = state.get("penalty", "l2")
    if penalty == "deprecated":
        return
    state["penalty"] = "deprecated"
    if penalty in (None, "none"):
        if "C" in state:
            state["C"] = np.inf
    elif penalty == "l1":
        state["l1_ratio"] = 1.0
    elif penalty == "l2":
        state["l1_ratio"] = 0.0


@since("1.8", _LOGISTIC_CV)
def legacy_attributes(state: State) -> None:
    """The ratios that were tried are `None`, as the class gives them without elastic net."""
    state.setdefault("l1_ratios_", np.array([None]))
    state.setdefault("l1_ratio_", np.array([None] * len(np.atleast_1d(state.get("C_", [0])))))


# Stochastic gradient descent.

_SGD_LOSSES = {"log": "log_loss", "squared_loss": "squared_error"}


@since("1.9", *_SGD)
def loss_objects(state: State) -> None:
    """The loss object of compiled code, which is made anew by each fit, changed its class and name."""
    for name in ("loss_function", "loss_function_", "_loss_function_"):
        state.pop(name, None)
    if state.get("loss") in _SGD_LOSSES:
        state["loss"] = _SGD_LOSSES[state["loss"]]


@since("0.21", *_SGD)
def iterations(state: State) -> None:
    """``n_iter`` became ``max_iter`` and ``tol``; without a tolerance all iterations were done."""
    n_iter = state.pop("n_iter", None)
    private = state.pop("_max_iter", None)
    if state.get("max_iter") is None and ("max_iter" in state or n_iter is not None):
        state["max_iter"] = int(n_iter or private or 5)
        state["tol"] = state.pop("_tol", None)
    state.pop("_tol", None)


renamed("1.0", *_SGD, standard_coef_="_standard_coef", standard_intercept_="_standard_intercept",
        average_coef_="_average_coef", average_intercept_="_average_intercept")  # fmt: skip


# Ridge, and the estimators that try penalties.

renamed("1.5", *_RIDGE_CV, store_cv_values="store_cv_results", cv_values_="cv_results_")


@since("1.7", *_RIDGE_CV)
def stored_results(state: State) -> None:
    """``store_cv_results=None`` (1.5 and 1.6) meant False, next to the deprecated name."""
    state.pop("store_cv_values", None)
    if state.get("store_cv_results") in (None, "deprecated"):
        state["store_cv_results"] = False


@since("1.7", *_PATH_CV)
def number_of_alphas(state: State) -> None:
    """``n_alphas`` became a number in ``alphas``."""
    count = state.pop("n_alphas", None)
    if count not in (None, "deprecated") and state.get("alphas") in (None, "warn"):
        state["alphas"] = int(count)


_BAYES = within("linear_model._bayes", "BayesianRidge", "ARDRegression")
renamed("1.3", *_BAYES, n_iter="max_iter")


@since("1.5", *_BAYES)
def default_iterations(state: State) -> None:
    """``max_iter=None`` (1.3 and 1.4) meant 300, next to the deprecated ``n_iter``."""
    if state.get("max_iter") is None:
        state["max_iter"] = 300


@since("1.2", *_BAYES)
def normalized_inputs(state: State) -> None:
    """The standard deviation of a prediction was that of inputs scaled by ``normalize``."""
    if state.get("normalize") is True:
        raise RestoreError(
            "it was fitted with normalize=True, and scikit-learn 1.2 and later does not scale inputs "
            "before it computes the standard deviation of a prediction"
        )
    for name, value in (("X_offset_", 0.0), ("X_scale_", 1.0)):
        coef = np.asarray(state.get("coef_", 0.0))
        state.setdefault(name, np.full(coef.shape, value))


_RIDGE_CLASSIFIERS = within("linear_model._ridge", "RidgeClassifier", "RidgeClassifierCV")


@since("1.9", *_RIDGE_CLASSIFIERS)
def classes_of_binarizer(state: State) -> None:
    """``classes_`` was a property of the inner binarizer."""
    inner = state.get("_label_binarizer")
    if inner is not None:
        state.setdefault("classes_", inner.classes_)


# Support vector machines.


@since("0.21", *_CLASSIFIER_SVM, *within("multiclass", "OneVsOneClassifier"))
def confidences(state: State) -> None:
    """Of several classes, ties of votes are broken by confidences that are scaled otherwise since 0.21."""
    is_svm = "support_vectors_" in state
    if len(np.asarray(state.get("classes_", ()))) < 3:
        return
    if not is_svm or state.get("decision_function_shape") == "ovr":
        raise RestoreError(
            "it was fitted by a release before 0.21, whose decision_function of several classes gave "
            "other numbers"
        )


@since("0.17", *_CLASSIFIER_SVM)
def shape_of_decisions(state: State) -> None:
    """``decision_function`` gave a column for each pair of classes before there was a parameter."""
    if state.get("decision_function_shape") is None:
        state["decision_function_shape"] = "ovo"


@since("0.19", *_CLASSIFIER_SVM)
def default_shape_of_decisions(state: State) -> None:
    """None meant "ovo" until 0.19 made "ovr" the default."""
    if state.get("decision_function_shape") is None:
        state["decision_function_shape"] = "ovo"


@since("0.22", *_LIBSVM)
def default_gamma(state: State) -> None:
    """ "auto_deprecated" (0.20, 0.21) meant "auto"."""
    if state.get("gamma") in ("auto_deprecated", 0.0):
        state["gamma"] = "auto"


@since("1.0", *_LIBSVM)
def private_arrays(state: State) -> None:
    """Arrays of libsvm became private, and a regressor's count of support vectors one number."""
    for old, new in (("n_support_", "_n_support"), ("probA_", "_probA"), ("probB_", "_probB")):
        if old in state:
            state[new] = state.pop(old)
    for name in ("_probA", "_probB"):
        if state.get(name) is None:
            state[name] = np.empty(0)
    if "_dual_coef_" not in state and "dual_coef_" in state:
        raise RestoreError("it lacks the coefficients that libsvm computed")
    if "classes_" not in state and "_n_support" in state:
        counts = np.asarray(state["_n_support"])
        total = np.shape(state["support_vectors_"])[0]
        if counts.sum() != total:
            state["_n_support"] = np.array([total, 0][: max(len(counts), 1)], dtype=np.int32)
    state.pop("impl", None)
    if "classes_" not in state:
        state.setdefault("class_weight_", np.empty(0))


@since("1.9", *_LIBSVM)
def effective_probability(state: State) -> None:
    """Whether probabilities were fitted is kept apart from the parameter, which is deprecated."""
    given = state.get("probability", False)
    if given != "deprecated":
        state["_effective_probability"] = bool(given)
    state.setdefault("_effective_probability", False)
    state.setdefault("n_iter_", np.zeros(0, dtype=np.int32))


@since("1.0", *_LIBSVM)
def features_of_shape(state: State) -> None:
    """The number of features was in the shape of the data only."""
    shape = state.get("shape_fit_")
    if isinstance(shape, tuple) and len(shape) == 2 and state.get("kernel") != "precomputed":
        state.setdefault("n_features_in_", int(shape[1]))


@since("1.5", *_LINEAR_SVM)
def iterations_of_liblinear(state: State) -> None:
    """``n_iter_`` is an integer of Python."""
    if "n_iter_" in state:
        state["n_iter_"] = int(np.max(state["n_iter_"]))
    if state.get("loss") in ("l1", "l2"):
        state["loss"] = {"l1": "hinge", "l2": "squared_hinge"}[state["loss"]]
    if state.get("loss") == "lr":
        raise RestoreError(
            "its loss is that of a logistic regression, which this class no longer has"
        )

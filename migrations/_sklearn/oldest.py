"""States of 0.13 to 0.16, which record no release: each step tells them by the attributes that they have.

Evidence: the source releases of 0.13.1, 0.14.1, 0.15.2 and 0.16.1, and what they answered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from persist.migrations._sklearn.former import Former
from persist.migrations._sklearn.steps import State, since, within

from persist.errors import RestoreError

__all__: list[str] = []

_TREES = within(
    "tree._classes",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
)
_LOGISTIC = within("linear_model._logistic", "LogisticRegression", "LogisticRegressionCV")
_LIBLINEAR = (*_LOGISTIC, *within("svm._classes", "LinearSVC"))
_LIBSVM = within("svm._classes", "SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM")
_NEIGHBORS = (
    *within("neighbors._classification", "KNeighborsClassifier", "RadiusNeighborsClassifier"),
    *within("neighbors._regression", "KNeighborsRegressor", "RadiusNeighborsRegressor"),
    *within("neighbors._unsupervised", "NearestNeighbors"),
)
_BINARIZER = within("preprocessing._label", "LabelBinarizer")


# Trees.


@since("0.17", *_TREES)
def objects_as_parameters(state: State) -> None:
    """The trees of gradient boosting had objects of compiled code as criterion and splitter."""
    for name, plain in (("criterion", "squared_error"), ("splitter", "best")):
        if isinstance(state.get(name), Former):
            state[name] = plain


@since("0.15", *_TREES)
def parameters_of_search(state: State) -> None:
    """0.13 chose by ``min_density`` how nodes were searched; importances were computed on request."""
    for name in ("compute_importances", "feature_importances_", "find_split_", "min_density"):
        state.pop(name, None)


# Linear models and support vector machines.


@since("0.16", *_LIBLINEAR)
def classes_of_encoder(state: State) -> None:
    """Classes were those of an encoder, and ``coef_`` a view of what liblinear gave."""
    encoder = state.pop("_enc", None)
    if encoder is not None:
        state.setdefault("classes_", encoder.classes_)
    if "raw_coef_" not in state:
        return
    state.pop("raw_coef_")
    state.pop("class_weight_", None)
    if state.get("loss") == "lr":  # a logistic regression, which had one solver
        state.pop("loss")
        state.setdefault("solver", "liblinear")


@since("0.17", *_LOGISTIC)
def probabilities_of_softmax(state: State) -> None:
    """0.16 fitted multinomial models, and gave probabilities as of one model a class.

    ``warm_start`` came with 0.17, which gives those of the softmax. Classes are the same either way.
    """
    if state.get("multi_class") == "multinomial" and "warm_start" not in state:
        state["multi_class"] = "ovr"


@since("0.16", *_LIBSVM)
def coefficients_of_libsvm(state: State) -> None:
    """``dual_coef_`` was what libsvm computed; of two classes it has the other sign since."""
    raw, intercept = state.get("dual_coef_"), state.get("_intercept_")
    if "_dual_coef_" in state or raw is None or intercept is None:
        return
    labels = state.pop("_label", None)  # until 0.14
    classes = state.get("classes_")
    if classes is not None and labels is not None:
        found = np.asarray(labels).ravel()
        if not np.array_equal(found, np.arange(len(classes))):
            raise RestoreError("libsvm numbered its classes in another order")
    state["_dual_coef_"] = raw
    if classes is not None and len(np.asarray(classes)) == 2:
        state["dual_coef_"] = -raw
    state.pop("sparse", None)
    if classes is None:
        # 0.13 and 0.14 gave a regressor the arrays of libsvm as they were.
        for name in ("probA_", "probB_"):
            state[name] = np.empty(0)


@since("0.18", *within("linear_model._coordinate_descent", "ElasticNet", "Lasso"))
def automatic_gram_matrix(state: State) -> None:
    """``precompute="auto"`` chose between two ways to the same coefficients."""
    if state.get("precompute") == "auto":
        state["precompute"] = False


# Neighbors.


@since("0.15", *_NEIGHBORS)
def metrics_of_neighbors(state: State) -> None:
    """The parameters of the metric have other names, and 0.13 had ``p`` only."""
    if "effective_metric_kwds_" in state:
        state["effective_metric_params_"] = state.pop("effective_metric_kwds_")
    given = state.pop("metric_kwds", None)
    if isinstance(given, dict):
        options = {name: value for name, value in given.items() if name != "p"}
        state.setdefault("metric_params", options or None)
    if "_fit_X" in state and "effective_metric_" not in state and "metric" not in state:
        p = state.get("p", 2)
        names = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}
        state["metric"] = "minkowski"
        state["effective_metric_"] = names.get(p, "minkowski")
        state["effective_metric_params_"] = {} if p in names else {"p": p}
    if "_y" in state:
        state.setdefault("outputs_2d_", np.ndim(state["_y"]) > 1)


# The rest.


@since("0.15", *_BINARIZER)
def type_of_labels(state: State) -> None:
    """What kind of labels were fitted is one word since 0.15."""
    if "classes_" not in state:
        return
    several = state.pop("multilabel_", state.pop("multilabel", False))
    if (state.pop("indicator_matrix_", False) or several) and "y_type_" not in state:
        raise RestoreError(
            "it was fitted with several labels a sample, which are the task of a MultiLabelBinarizer"
        )
    kind = "binary" if len(np.asarray(state["classes_"])) <= 2 else "multiclass"
    state.setdefault("y_type_", kind)
    state.setdefault("sparse_input_", False)


@since("0.16", *within("cross_decomposition._pls", "PLSRegression", "PLSCanonical", "CCA"))
def coefficients_of_centered_inputs(state: State) -> None:
    """``coefs`` were multiplied with inputs that were centered; from 0.16 to 1.4 they were scaled, too."""
    if "coefs" in state:
        scale = np.reshape(np.asarray(state["x_std_"]), (-1, 1))
        state["coef_"] = np.asarray(state.pop("coefs")) * scale


@since("0.15", *within("dummy", "DummyRegressor"))
def constants(state: State) -> None:
    """The mean was the only strategy."""
    if "y_mean_" in state:
        state["constant_"] = np.reshape(state.pop("y_mean_"), (1, -1))
        state.setdefault("strategy", "mean")
        state.setdefault("n_outputs_", int(np.shape(state["constant_"])[1]))


@since("0.16", *within("preprocessing._polynomial", "PolynomialFeatures"))
def powers(state: State) -> None:
    """The exponents were kept, and the numbers of features and outputs are since."""
    exponents: Any = state.pop("powers_", None)
    if exponents is not None:
        outputs, features = np.shape(exponents)
        state.setdefault("n_output_features_", int(outputs))
        state.setdefault("n_input_features_", int(features))


@since("0.17", *within("decomposition._nmf", "NMF"))
def least_squares(state: State) -> None:
    """`transform` solved the least squares exactly; it iterates since there are solvers to choose from."""
    if "components_" in state and "solver" not in state:
        raise RestoreError(
            "it was fitted by a release before 0.17, whose transform solved the least squares exactly"
        )


@since("0.14", *within("decomposition._fastica", "FastICA"))
def uncentered_sources(state: State) -> None:
    """`transform` did not center its inputs, and the mixing matrix was computed on request."""
    state.pop("fun_prime", None)
    if "components_" in state and "mean_" not in state:
        matrix = np.asarray(state["components_"])
        state["mean_"] = np.zeros(matrix.shape[1])
        state.setdefault("mixing_", np.linalg.pinv(matrix))

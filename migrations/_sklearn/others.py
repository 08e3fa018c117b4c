"""Decompositions, discriminant analysis, naive Bayes, neural networks and the rest."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from persist.migrations._sklearn.steps import State, renamed, since, within

from persist.errors import RestoreError

__all__: list[str] = []

# Decompositions.

renamed("1.0", *within("decomposition._kernel_pca", "KernelPCA"),
        lambdas_="eigenvalues_", alphas_="eigenvectors_")  # fmt: skip


@since("1.3", *within("decomposition._kernel_pca", "KernelPCA"))
def chosen_gamma(state: State) -> None:
    """The width of the kernel that was used is kept."""
    gamma, fitted = state.get("gamma"), state.get("X_fit_")
    if fitted is not None:
        state.setdefault("gamma_", 1 / fitted.shape[1] if gamma is None else gamma)


@since("1.1", *within("decomposition._fastica", "FastICA"))
def unmixing(state: State) -> None:
    """The rotation is kept apart; ``whiten=True`` meant "arbitrary-variance"."""
    if state.get("whiten") is True:
        state["whiten"] = "arbitrary-variance"
    if "unmixing_" in state:
        state["_unmixing"] = state.pop("unmixing_")


@since("0.24", *within("decomposition._sparse_pca", "SparsePCA", "MiniBatchSparsePCA"))
def centered_components(state: State) -> None:
    """Components are of unit length and inputs centered, which was an option before 0.22."""
    if state.pop("normalize_components", True) is not True or "mean_" not in state:
        if "components_" in state:
            raise RestoreError(
                "it was fitted with normalize_components=False, which scikit-learn 0.24 removed"
            )
        return
    state.setdefault("n_components_", int(np.shape(state["components_"])[0]))


@since("1.2", *within("decomposition._nmf", "NMF"))
def regularizations(state: State) -> None:
    """``alpha`` became ``alpha_W`` and ``alpha_H``, which are not scaled by the shape of the data."""
    alpha = state.pop("alpha", 0.0)
    state.pop("regularization", None)
    if alpha not in (0, 0.0, "deprecated"):
        raise RestoreError(
            "it was fitted with alpha, which scikit-learn 1.2 replaced by parameters that are scaled "
            "by the number of samples"
        )
    if "components_" in state:
        count = int(np.shape(state["components_"])[0])
        state.setdefault("n_components_", count)
        state.setdefault("_n_components", count)
        losses = {"frobenius": 2, "kullback-leibler": 1, "itakura-saito": 0}
        loss = state.get("beta_loss", "frobenius")
        state.setdefault("_beta_loss", losses.get(loss, loss))


@since("0.18", *within("decomposition._lda", "LatentDirichletAllocation"))
def distributions(state: State) -> None:
    """`transform` gave no distributions that sum up to one."""
    if "components_" in state:
        raise RestoreError(
            "it was fitted by a release before 0.18, whose transform gave numbers that were not normalized"
        )


@since("0.20", *within("decomposition._lda", "LatentDirichletAllocation"))
def topics(state: State) -> None:
    """``n_topics`` became ``n_components``."""
    count = state.pop("n_topics", None)
    if count is not None:
        state["n_components"] = count
    if "_n_components" in state:
        state["n_components"] = state.pop("_n_components")
    if state.get("learning_method") is None:
        state["learning_method"] = "online"


@since("0.18", *within("decomposition._pca", "PCA"))
def whitened_scores(state: State) -> None:
    """The covariance of a model that whitens took scaled components for plain ones."""
    if state.get("whiten") and "components_" in state:
        raise RestoreError(
            "it whitens and was fitted by a release before 0.18, whose score_samples gave other numbers"
        )


@since("0.24", *within("decomposition._pca", "PCA"))
def components(state: State) -> None:
    """``n_components_`` may be a number of NumPy before."""
    if "components_" in state:
        state.setdefault("n_components_", int(np.shape(state["components_"])[0]))
        if "explained_variance_" not in state:
            raise RestoreError("it lacks the variances that whitening and inverse transforms need")


def pca(state: State) -> Any:
    """A ``RandomizedPCA``, which 0.20 removed, as a `PCA`."""
    if state.get("whiten"):
        raise RestoreError("it whitens, which this class did by scaled components")
    decomposition = importlib.import_module("sklearn.decomposition")
    made = decomposition.PCA(
        n_components=state.get("n_components"),
        copy=bool(state.get("copy", True)),
        svd_solver="randomized",
        iterated_power=state.get("iterated_power", "auto"),
        random_state=state.get("random_state"),
    )
    if "components_" in state:
        made.components_ = np.asarray(state["components_"])
        made.mean_ = (
            np.zeros(made.components_.shape[1]) if state.get("mean_") is None else state["mean_"]
        )
        made.explained_variance_ = np.asarray(state["explained_variance_"])
        made.explained_variance_ratio_ = np.asarray(state["explained_variance_ratio_"])
        made.n_components_, made.n_features_in_ = made.components_.shape
    return made


# Cross decomposition.

_PLS = within("cross_decomposition._pls", "PLSRegression", "PLSCanonical", "CCA", "PLSSVD")


@since("1.1", *_PLS)
def private_statistics(state: State) -> None:
    """Means, deviations and scores became private, and the prediction got an intercept.

    The coefficients were those of unscaled inputs already; 1.3 transposed them.
    """
    for name in ("x_mean", "y_mean", "x_std", "y_std", "x_scores", "y_scores"):
        if f"{name}_" in state:
            state[f"_{name}"] = state.pop(f"{name}_")
    if "norm_y_weights" in state:
        state["_norm_y_weights"] = state.pop("norm_y_weights")
    if "_y_mean" in state:
        state.setdefault("intercept_", np.array(state["_y_mean"]))


@since("1.3", *_PLS)
def transposed_coefficients(state: State) -> None:
    """``coef_`` has the shape (targets, features)."""
    coef = state.get("coef_")
    if coef is not None:
        state["coef_"] = np.asarray(coef).T
    if "_coef_" in state:  # 1.1 and 1.2 kept it so already
        state["coef_"] = np.asarray(state.pop("_coef_"))
    if "x_weights_" in state:
        state.setdefault("_n_features_out", int(np.shape(state["x_weights_"])[1]))
    state.setdefault("_predict_1d", False)


@since("1.5", *_PLS)
def coefficients_of_raw_inputs(state: State) -> None:
    """``coef_`` is multiplied with inputs that are centered and not scaled."""
    if "coef_" in state and "_x_std" in state:
        state["coef_"] = state["coef_"] / state["_x_std"]


# Discriminant analysis.

_LINEAR, _QUADRATIC = within(
    "discriminant_analysis", "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"
)


@since("0.22", _LINEAR)
def probabilities_of_classes(state: State) -> None:
    """Probabilities of several classes were those of one model a class, and are those of the softmax."""
    if len(np.asarray(state.get("classes_", ()))) > 2:
        raise RestoreError(
            "it was fitted by a release before 0.22, which computed the probabilities of several "
            "classes in another way"
        )


@since("0.24", _LINEAR)
def outputs(state: State) -> None:
    """The number of components that `transform` gives is kept."""
    if "_max_components" in state:
        state.setdefault("_n_features_out", int(state["_max_components"]))


@since("0.20", _QUADRATIC)
def store_covariance(state: State) -> None:
    """``store_covariances`` lost its last letter."""
    old = state.pop("store_covariances", None)
    if old is not None:
        state["store_covariance"] = old
    if "covariances_" in state:
        state["covariance_"] = state.pop("covariances_")


# Naive Bayes.


@since("1.0", *within("naive_bayes", "GaussianNB"))
def variances(state: State) -> None:
    """``sigma_`` became ``var_``."""
    if "sigma_" in state:
        state["var_"] = state.pop("sigma_")
    state.setdefault("var_smoothing", 1e-9)


@since(
    "1.4", *within("naive_bayes", "BernoulliNB", "ComplementNB", "MultinomialNB", "CategoricalNB")
)
def forced_alpha(state: State) -> None:
    """A tiny ``alpha`` was raised to 1e-10 in earlier releases, as ``force_alpha=False`` still does."""
    state.setdefault("force_alpha", False)
    for name in ("coef_", "intercept_"):
        state.pop(name, None)


# Neural networks.

_MLP = within("neural_network._multilayer_perceptron", "MLPClassifier", "MLPRegressor")


@since("1.3", *_MLP)
def scores_of_epochs(state: State) -> None:
    """Scores of validation are attributes with or without early stopping."""
    if "coefs_" in state:
        state.setdefault("validation_scores_", None)
        state.setdefault("best_validation_score_", None)
    if state.get("loss") == "squared_loss":
        state["loss"] = "squared_error"


@since("1.0", *within("neural_network._rbm", "BernoulliRBM"))
def hidden_units(state: State) -> None:
    """The number of outputs is kept."""
    if "components_" in state:
        state.setdefault("_n_features_out", int(np.shape(state["components_"])[0]))


@since("0.24", *within("neural_network._stochastic_optimizers", "AdamOptimizer", "SGDOptimizer"))
def parameters_of_optimizer(state: State) -> None:
    """The parameters are passed to each update."""
    state.pop("params", None)


# The rest.


@since("0.20", *within("covariance._elliptic_envelope", "EllipticEnvelope"))
def offset_of_distances(state: State) -> None:
    """`decision_function` was a root of the distance, and the threshold another attribute."""
    if "location_" in state and "offset_" not in state:
        raise RestoreError(
            "it was fitted by a release before 0.20, whose decision_function gave other numbers"
        )


@since("0.24", *within("isotonic", "IsotonicRegression"))
def thresholds(state: State) -> None:
    """The points of the function became ``X_thresholds_`` and ``y_thresholds_``."""
    for old, new in (("_necessary_X_", "X_thresholds_"), ("_necessary_y_", "y_thresholds_")):
        if old in state:
            state[new] = state.pop(old)
    for name in ("_X_", "_y_"):
        state.pop(name, None)
    if "X_" in state and "y_" in state:  # until 0.19
        state.setdefault("X_thresholds_", state.pop("X_"))
        state.setdefault("y_thresholds_", state.pop("y_"))


@since("0.23", *within("gaussian_process._gpr", "GaussianProcessRegressor"))
def deviations_of_targets(state: State) -> None:
    """Targets are divided by their deviation, too, if they are normalized."""
    state.pop("_K_inv", None)
    if "X_train_" not in state:
        return
    mean = np.asarray(state.get("_y_train_mean", np.zeros(1)))
    state["_y_train_mean"] = (
        mean if mean.ndim == 0 else np.squeeze(mean, axis=0) if mean.shape == (1,) else mean
    )
    state.setdefault("_y_train_std", np.ones_like(state["_y_train_mean"]))


@since("1.0", *within("random_projection", "GaussianRandomProjection", "SparseRandomProjection"))
def projections(state: State) -> None:
    """The number of outputs is kept, and the inverse may be."""
    if "components_" in state:
        state.setdefault("_n_features_out", int(state["components_"].shape[0]))
        state.setdefault("n_features_in_", int(state["components_"].shape[1]))


@since("1.3", *within("kernel_approximation", "Nystroem", "RBFSampler"))
def approximations(state: State) -> None:
    """The number of outputs is kept, and the width that was used."""
    if "components_" in state:
        state.setdefault("_n_features_out", int(np.shape(state["components_"])[0]))
    if "random_weights_" in state:
        weights = state["random_weights_"]
        state.setdefault("_n_features_out", int(np.shape(weights)[1]))
        state.setdefault("n_features_in_", int(np.shape(weights)[0]))
        state.setdefault("_gamma", state.get("gamma"))

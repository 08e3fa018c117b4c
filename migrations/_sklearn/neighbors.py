"""Neighbors, clusters, mixtures and densities."""

from __future__ import annotations

import importlib

import numpy as np
from persist.migrations._sklearn.steps import State, renamed, since, within

__all__: list[str] = []

_WITH_TREES = (
    *within("neighbors._classification", "KNeighborsClassifier", "RadiusNeighborsClassifier"),
    *within("neighbors._regression", "KNeighborsRegressor", "RadiusNeighborsRegressor"),
    *within("neighbors._unsupervised", "NearestNeighbors"),
    *within("neighbors._graph", "KNeighborsTransformer", "RadiusNeighborsTransformer"),
    *within("neighbors._lof", "LocalOutlierFactor"),
)
_KMEANS, _MINI_BATCH = within("cluster._kmeans", "KMeans", "MiniBatchKMeans")


@since("0.22", *_WITH_TREES)
def samples_of_fit(state: State) -> None:
    """The number of samples that were fitted is kept."""
    fitted = state.get("_fit_X")
    if fitted is not None:
        state.setdefault("n_samples_fit_", int(fitted.shape[0]))
    metric = state.get("effective_metric_")
    if metric is None and "metric" in state:
        state["effective_metric_"] = state["metric"]
        state["effective_metric_params_"] = dict(state.get("metric_params") or {})
    if state.get("warn_on_equidistant") is not None:
        state.pop("warn_on_equidistant")


@since("0.24", *within("neighbors._classification", "RadiusNeighborsClassifier"))
def label_of_outliers(state: State) -> None:
    """The label of samples without neighbors is kept in a fitted attribute."""
    state.setdefault("outlier_label_", None)
    label = state.get("outlier_label")
    if label is not None and state["outlier_label_"] is None:
        state["outlier_label_"] = [label]


@since("1.0", *within("neighbors._lof", "LocalOutlierFactor"))
def contamination_of_outliers(state: State) -> None:
    """``contamination="legacy"`` (0.20 and 0.21) meant 0.1."""
    state.pop("_contamination", None)
    if state.get("contamination") == "legacy":
        state["contamination"] = 0.1


@since("1.2", *within("neighbors._kde", "KernelDensity"))
def chosen_bandwidth(state: State) -> None:
    """The bandwidth may be chosen by ``fit``."""
    state.setdefault("bandwidth_", state.get("bandwidth", 1.0))


@since("1.6", *within("neighbors._nearest_centroid", "NearestCentroid"))
def centroids(state: State) -> None:
    """Classes have prior probabilities, and deviations within them are kept.

    Predictions need the priors only; the deviations cannot be had from the centroids.
    """
    classes = np.asarray(state.get("classes_", ()))
    state.setdefault("priors", "uniform")
    state.setdefault("class_prior_", np.full(len(classes), 1 / max(len(classes), 1)))
    state.setdefault("within_class_std_dev_", None)


# Clusters.


@since("1.3", _KMEANS, _MINI_BATCH)
def lloyd(state: State) -> None:
    """The algorithm that "auto" and "full" meant is named; private attributes came."""
    if state.get("algorithm") in ("auto", "full", None):
        state["algorithm"] = "lloyd"
    if "cluster_centers_" in state:
        state.setdefault("_n_threads", 1)
        state.setdefault("_n_features_out", int(np.shape(state["cluster_centers_"])[0]))
        state.setdefault("_algorithm", state["algorithm"])
    state.pop("n_jobs", None)


@since("1.1", _MINI_BATCH)
def mini_batches(state: State) -> None:
    """Counts became private, with other names."""
    state.pop("algorithm", None)
    state.pop("_algorithm", None)
    if "counts_" in state:
        state["_counts"] = state.pop("counts_")
    if "init_size_" in state:
        state["_init_size"] = state.pop("init_size_")
    state.setdefault("n_steps_", int(state.get("n_iter_", 0)))


renamed("1.4", *within("cluster._agglomerative", "AgglomerativeClustering", "FeatureAgglomeration"),
        affinity="metric", n_components_="n_connected_components_")  # fmt: skip


@since("1.6", *within("cluster._agglomerative", "AgglomerativeClustering", "FeatureAgglomeration"))
def default_metric(state: State) -> None:
    """``metric=None`` (1.2 to 1.5) meant the Euclidean one."""
    if state.get("metric") is None:
        state["metric"] = "euclidean"


@since("0.21", *within("cluster._agglomerative", "AgglomerativeClustering", "FeatureAgglomeration"))
def number_of_clusters(state: State) -> None:
    """``n_clusters_`` came with thresholds on the distance; before, it was the parameter."""
    if state.get("pooling_func") == "deprecated":
        state.pop("pooling_func")
    if "labels_" in state:
        state.setdefault("n_clusters_", int(state["n_clusters"]))


@since("1.0", *within("cluster._birch", "Birch"))
def birch(state: State) -> None:
    """Flags that a method was called are gone."""
    for name in ("fit_", "partial_fit_"):
        state.pop(name, None)
    centers = state.get("subcluster_centers_")
    if centers is not None:
        state.setdefault("_n_features_out", int(np.shape(centers)[0]))
        state.setdefault("_subcluster_norms", np.einsum("ij,ij->i", centers, centers))


# Mixtures.

_GAUSSIAN_MIXTURE = within("mixture._gaussian_mixture", "GaussianMixture")


@since("1.8", *_GAUSSIAN_MIXTURE, *within("mixture._bayesian_mixture", "BayesianGaussianMixture"))
def bounds(state: State) -> None:
    """The lower bound of each iteration is kept; an older fit has the last one only."""
    if "lower_bound_" in state:
        state.setdefault("lower_bounds_", [state["lower_bound_"]])


def gaussian_mixture(state: State) -> object:
    """A mixture of the class ``GMM``, which 0.20 removed, as a `GaussianMixture`."""
    mixture = importlib.import_module("sklearn.mixture")
    base = importlib.import_module("sklearn.mixture._gaussian_mixture")
    kind = state.get("covariance_type", "diag")
    made = mixture.GaussianMixture(
        n_components=int(state["n_components"]),
        covariance_type=kind,
        tol=float(state.get("tol") or state.get("thresh") or 1e-3),
        reg_covar=float(state.get("min_covar", 1e-3)),
        max_iter=int(state.get("n_iter", 100)),
        n_init=int(state.get("n_init", 1)),
        random_state=state.get("random_state"),
    )
    if "means_" not in state:
        return made
    covariances = np.asarray(state["covars_"])
    if kind == "spherical" and covariances.ndim == 2:
        covariances = covariances[:, 0]
    means = np.asarray(state["means_"])
    made.weights_, made.means_, made.covariances_ = (
        np.asarray(state["weights_"]),
        means,
        covariances,
    )
    made.precisions_cholesky_ = base._compute_precision_cholesky(covariances, kind)
    made.converged_ = bool(state.get("converged_", False))
    made.n_features_in_ = int(means.shape[1])
    made._set_parameters(made._get_parameters())  # computes precisions_
    return made

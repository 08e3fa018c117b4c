"""Scalers, encoders, imputers, vectorizers, selectors, and what holds several of them."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
from persist.migrations._sklearn.former import Former
from persist.migrations._sklearn.steps import State, renamed, since, within

from persist.errors import RestoreError

__all__: list[str] = []

_ONE_HOT, _ORDINAL = within("preprocessing._encoders", "OneHotEncoder", "OrdinalEncoder")
_SCALERS = within(
    "preprocessing._data",
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "Normalizer",
)


@since("0.17", *within("preprocessing._data", "StandardScaler"))
def standard_deviations(state: State) -> None:
    """``std_`` became ``scale_``, with the variances next to it."""
    if "std_" in state:
        scale = state.pop("std_")
        state["scale_"] = scale
        state.setdefault("var_", None if scale is None else np.square(scale))


renamed("1.2", _ONE_HOT, sparse="sparse_output")


@since("0.20", _ONE_HOT)
def integer_categories(state: State) -> None:
    """Before 0.20 there were only integers, with the columns of those that were seen."""
    if "categories_" in state or "n_values_" not in state:
        return
    if state.get("categorical_features", "all") != "all":
        raise RestoreError(
            "it encodes some of the columns only (categorical_features), which became the task of a "
            "ColumnTransformer"
        )
    starts = np.asarray(state.pop("feature_indices_"))
    active = state.pop("active_features_", None)
    state.pop("n_values_")
    columns = np.arange(starts[-1]) if active is None else np.asarray(active)
    state["categories_"] = _ranges(columns, starts)


def _ranges(columns: Any, starts: Any) -> list[Any]:
    """The integers of each feature, of columns that are numbered through all features."""
    return [
        columns[(columns >= start) & (columns < end)] - start
        for start, end in itertools.pairwise(starts)
    ]


@since("0.22", _ONE_HOT)
def no_legacy_mode(state: State) -> None:
    """Attributes of the mode in which 0.20 and 0.21 treated integers as ranges."""
    if state.get("_legacy_mode") and "categories_" not in state:
        starts, active = (
            np.asarray(state["_feature_indices_"]),
            np.asarray(state["_active_features_"]),
        )
        state["categories_"] = _ranges(active, starts)
    if state.get("_categorical_features", "all") != "all" or (
        state.get("categorical_features") not in (None, "all")
    ):
        raise RestoreError(
            "it encodes some of the columns only (categorical_features), which became the task of a "
            "ColumnTransformer"
        )
    for name in [key for key in state if key.startswith("_") and key != "_infrequent_enabled"]:
        state.pop(name)
    for name in ("n_values", "categorical_features"):
        state.pop(name, None)
    state.setdefault("categories", "auto")


@since("1.2", _ONE_HOT)
def encoded_columns(state: State) -> None:
    """Infrequent categories may be grouped; the number of columns of each feature is kept."""
    if state.get("drop") is None:
        state.setdefault("drop_idx_", None)
    categories = state.get("categories_")
    if categories is None:
        return
    state.setdefault("_infrequent_enabled", False)
    dropped = state.get("drop_idx_")
    state.setdefault(
        "_drop_idx_after_grouping", None if dropped is None else np.array(dropped, dtype=object)
    )
    state.setdefault("_n_features_outs", _widths(categories, state["_drop_idx_after_grouping"]))


def _widths(categories: Any, dropped: Any) -> list[int]:
    lost = [0] * len(categories) if dropped is None else [one is not None for one in dropped]
    return [len(one) - int(less) for one, less in zip(categories, lost, strict=True)]


@since("1.3", _ORDINAL)
def missing_categories(state: State) -> None:
    """Missing values and infrequent categories are known to the encoder."""
    state.setdefault("_infrequent_enabled", False)
    state.pop("_categories", None)
    if "categories_" not in state or "_missing_indices" in state:
        return
    state["_missing_indices"] = {
        number: len(known) - 1
        for number, known in enumerate(state["categories_"])
        if len(known) and isinstance(known[-1], float) and np.isnan(known[-1])
    }


@since("1.3", *within("preprocessing._discretization", "KBinsDiscretizer"))
def bins(state: State) -> None:
    """The inner encoder is one of the same release."""
    if state.get("subsample") == "warn":
        state["subsample"] = None


@since("1.0", *within("preprocessing._polynomial", "PolynomialFeatures"))
def degrees(state: State) -> None:
    """The degrees are a range, and the number of outputs is kept."""
    degree = state.get("degree", 2)
    low, high = (0, degree) if not isinstance(degree, tuple) else degree
    state.setdefault("_min_degree", int(low))
    state.setdefault("_max_degree", int(high))
    outputs = state.pop("n_output_features_", None)
    if outputs is not None:
        state["n_output_features_"] = int(outputs)
        state.setdefault(
            "_n_out_full", int(outputs) + (0 if state.get("include_bias", True) else 1)
        )


@since("0.24", *within("preprocessing._function_transformer", "FunctionTransformer"))
def functions(state: State) -> None:
    """``validate=None`` of 0.20 and 0.21 meant True, and ``pass_y`` is gone."""
    state.pop("_validate", None)
    state.pop("pass_y", None)
    if state.get("validate") is None and "validate" in state:
        state["validate"] = True


@since("0.24", *within("preprocessing._label", "MultiLabelBinarizer"))
def cached_classes(state: State) -> None:
    """The index of each class is cached."""
    state.setdefault("_cached_dict", None)


@since("0.24", *within("preprocessing._data", "QuantileTransformer"))
def quantiles(state: State) -> None:
    """The number of quantiles that were used is kept."""
    if "quantiles_" in state:
        state.setdefault("n_quantiles_", int(np.shape(state["quantiles_"])[0]))
        if state.get("output_distribution", "uniform") == "uniform":
            raise RestoreError(
                "it was fitted by a release before 0.24, which kept uniform outputs 1e-7 away from 0 and 1"
            )


# Imputers.

_SIMPLE, _INDICATOR = within("impute._base", "SimpleImputer", "MissingIndicator")


@since("0.24", _INDICATOR)
def precomputed(state: State) -> None:
    """Whether the mask itself was given to `fit` is kept."""
    state.setdefault("_precomputed", False)


@since(
    "0.24",
    _SIMPLE,
    *within("impute._knn", "KNNImputer"),
    *within("impute._iterative", "IterativeImputer"),
)
def indicators_of_imputers(state: State) -> None:
    """An imputer gives its indicator the mask itself."""
    if state.get("indicator_") is not None:
        state["indicator_"]._precomputed = True


@since("1.8", _SIMPLE)
def fill_types(state: State) -> None:
    """The type of the data that was fitted is kept."""
    statistics = state.get("statistics_")
    if statistics is not None:
        state.setdefault("_fit_dtype", np.asarray(statistics).dtype)
        state.setdefault("_fill_dtype", np.asarray(statistics).dtype)
        state.setdefault("indicator_", None)
        count = int(np.shape(statistics)[0])
        state.setdefault("n_features_in_", count)


@since("1.1", *within("impute._knn", "KNNImputer"))
def valid_columns(state: State) -> None:
    """Which columns had any value is kept."""
    fitted = state.get("_fit_X")
    if fitted is not None:
        mask = state.get("_mask_fit_X")
        mask = np.isnan(fitted) if mask is None else mask
        state.setdefault("_mask_fit_X", mask)
        state.setdefault("_valid_mask", ~np.all(mask, axis=0))


def simple_imputer(state: State) -> object:
    """An ``Imputer``, which 0.22 removed, as a `SimpleImputer`."""
    impute = importlib.import_module("sklearn.impute")
    if int(state.get("axis", 0)) != 0:
        raise RestoreError("it fills rows (axis=1), which no imputer of today does")
    missing = state.get("missing_values", "NaN")
    made = impute.SimpleImputer(
        missing_values=np.nan if missing == "NaN" else missing,
        strategy=state.get("strategy", "mean"),
        copy=bool(state.get("copy", True)),
    )
    if "statistics_" in state:
        made.statistics_ = np.asarray(state["statistics_"])
        made.n_features_in_ = len(made.statistics_)
        made._fit_dtype = made._fill_dtype = made.statistics_.dtype
        made.indicator_ = None
    return made


# Text.

_TFIDF = within("feature_extraction.text", "TfidfTransformer")


@since("1.5", *_TFIDF)
def inverse_frequencies(state: State) -> None:
    """``_idf_diag``, a diagonal matrix, became the vector ``idf_``."""
    diagonal = state.pop("_idf_diag", None)
    if diagonal is not None:
        state["idf_"] = np.asarray(diagonal.diagonal())
        state.setdefault("n_features_in_", int(diagonal.shape[0]))


@since("0.21", *within("feature_extraction.text", "TfidfVectorizer"))
def own_parameters(state: State) -> None:
    """The parameters of the inner transformer are the vectorizer's own, too."""
    inner = state.get("_tfidf")
    for name in ("norm", "use_idf", "smooth_idf", "sublinear_tf"):
        if hasattr(inner, name):
            state.setdefault(name, getattr(inner, name))


@since(
    "0.21",
    *within("feature_extraction.text", "HashingVectorizer"),
    *within("feature_extraction._hash", "FeatureHasher"),
)
def signs(state: State) -> None:
    """``non_negative`` took the absolute value of what ``alternate_sign`` gives."""
    if state.pop("non_negative", False):
        raise RestoreError("it has non_negative=True, which scikit-learn 0.21 removed")


# What holds several estimators.


@since("1.2", *within("calibration", "CalibratedClassifierCV", "_CalibratedClassifier"))
def calibrated_estimators(state: State) -> None:
    """``base_estimator`` became ``estimator``."""
    base = state.pop("base_estimator", None)
    if base is not None and not isinstance(base, str):
        state["estimator"] = base
    for name in ("calibrators_", "label_encoder_"):
        if name == "calibrators_" and name in state:
            state["calibrators"] = state.pop(name)
    state.pop("label_encoder_", None)
    classes = state.pop("classes_", None)
    if classes is not None:
        key = "classes_" if "calibrated_classifiers_" in state else "classes"
        state[key] = classes
    if state.get("ensemble") is None and "calibrated_classifiers_" in state:
        state["ensemble"] = True
    if state.get("cv") == "warn":
        state["cv"] = 3


@since("1.6", *within("compose._column_transformer", "ColumnTransformer"))
def column_indices(state: State) -> None:
    """The columns and outputs of each transformer are kept by its name."""
    count = state.pop("_n_features", state.get("n_features_in_"))
    if count is not None:
        state["n_features_in_"] = int(count)
    if "transformers_" not in state or count is None:
        return
    if int(count) > _MOST_COLUMNS:
        raise RestoreError(f"it states {count} columns")
    everything = np.arange(int(count))
    if "_columns" not in state:
        state["_columns"] = [columns for _, _, columns in state["transformers_"]]
    indices = {}
    for name, _, chosen in state["transformers_"]:
        if isinstance(chosen, str) or (
            isinstance(chosen, list) and chosen and isinstance(chosen[0], str)
        ):
            names = state.get("_df_columns", state.get("feature_names_in_"))
            if names is None:
                raise RestoreError(
                    "its columns are names, and the names of all columns are not kept"
                )
            wanted = [chosen] if isinstance(chosen, str) else chosen
            indices[name] = [list(names).index(one) for one in wanted]
        else:
            picked = everything[chosen] if not callable(chosen) else everything[:0]
            indices[name] = np.atleast_1d(picked).tolist()
    functions = importlib.import_module("sklearn.preprocessing")
    state["transformers_"] = [
        (name, _identity(functions, indices[name]) if inner == "passthrough" else inner, chosen)
        for name, inner, chosen in state["transformers_"]
    ]
    state.setdefault("_transformer_to_input_indices", indices)
    state.setdefault("output_indices_", {})
    if "_remainder" in state:
        rest = sorted(set(range(int(count))) - {i for one in indices.values() for i in one})
        name, transformer, chosen = state["_remainder"]
        indices.setdefault(name, rest)
        state["_remainder"] = (name, transformer, rest if chosen is None else chosen)


def _identity(functions: Any, columns: list[int]) -> object:
    """The transformer that takes the place of "passthrough" once it is fitted, since 1.4."""
    made = functions.FunctionTransformer(
        accept_sparse=True, check_inverse=False, feature_names_out="one-to-one"
    )
    return made.fit(np.zeros((1, max(len(columns), 1))))


_MOST_COLUMNS = 10_000_000  # a file states their number in a few bytes
_SEARCHES = within("model_selection._search", "GridSearchCV", "RandomizedSearchCV")


@since("1.4", *_SEARCHES)
def searches(state: State) -> None:
    """Defaults that warned are values; results were a dict that warned of old keys."""
    state.pop("fit_params", None)
    state.pop("iid", None)
    if state.get("error_score") == "raise-deprecating":
        state["error_score"] = np.nan
    if state.get("return_train_score") == "warn":
        state["return_train_score"] = False
    if state.get("cv") == "warn":
        state["cv"] = 3
    results = state.get("cv_results_")
    if isinstance(results, Former):
        state["cv_results_"] = {
            name: value for name, value in results.state.items() if name != "_deprecations"
        }
    if isinstance(state.get("scorer_"), Former) or "scorer_" not in state:
        scorers = importlib.import_module("sklearn.metrics._scorer")
        if "best_estimator_" in state:
            state["scorer_"] = scorers._PassthroughScorer(state["best_estimator_"])
    state.setdefault("multimetric_", False)


@since("0.18", *_SEARCHES)
def grid_scores(state: State) -> None:
    """Results were a list of named tuples; there are no results of the new form in them."""
    if "grid_scores_" in state:
        state.pop("grid_scores_")
        state.setdefault("best_index_", 0)
    if "best_estimator_" in state:
        state.setdefault("refit", True)


@since("1.0", *within("dummy", "DummyClassifier", "DummyRegressor"))
def dummies(state: State) -> None:
    """The shape of the output is known from ``n_outputs_``."""
    state.pop("output_2d_", None)
    if "classes_" in state:
        state.setdefault("_strategy", state.get("strategy"))
        state.setdefault("sparse_output_", False)


@since("0.22", *within("multiclass", "OneVsRestClassifier"))
def classes_of_binarizer(state: State) -> None:
    """``classes_`` was a property of the inner binarizer."""
    inner = state.get("label_binarizer_")
    if inner is not None:
        state.setdefault("classes_", inner.classes_)


@since("0.21", *within("multioutput", "MultiOutputClassifier"))
def classes_of_outputs(state: State) -> None:
    """The classes of each output are kept."""
    if "classes_" not in state and "estimators_" in state:
        state["classes_"] = [one.classes_ for one in state["estimators_"]]


@since("0.21", *within("ensemble._voting", "VotingClassifier"))
def votes(state: State) -> None:
    """The outputs of several classifiers were not flattened, before there was a parameter and by default."""
    if state.get("flatten_transform") is None:
        state["flatten_transform"] = False


@since("1.2", *within("ensemble._stacking", "StackingClassifier"))
def encoder_of_labels(state: State) -> None:
    """The encoder of the labels has another name."""
    encoder = state.pop("_le", None)
    if "classes_" in state and "_label_encoder" not in state:
        if encoder is None:
            encoder = importlib.import_module("sklearn.preprocessing").LabelEncoder()
            encoder.fit(state["classes_"])
        state["_label_encoder"] = encoder


@since(
    "1.0",
    *within("feature_selection._rfe", "RFE", "RFECV"),
    *within("feature_selection._from_model", "SelectFromModel"),
)
def importances(state: State) -> None:
    """How importances are had may be chosen."""
    state.setdefault("importance_getter", "auto")

"""Fit small estimators with the scikit-learn that is installed, and write what they answer.

    python make.py OUT.zip && xz -9e OUT.zip

Runs under CPython 2.7 and later, with scikit-learn 0.13 and later. The archive holds, for each
estimator, ``NAME.pkl`` (protocol 2), ``NAME.npz`` (what its methods answer for ``X``, by the
method's name) and, once, ``X.npy`` and ``releases.json``. An estimator that this release lacks, or
that it cannot fit, is left out; the reason is in ``releases.json``.
"""

import io
import json
import pickle
import platform
import sys
import warnings
import zipfile

import numpy as np
import scipy
import sklearn

warnings.simplefilter("ignore")
RNG = np.random.RandomState(0)
X = np.round(RNG.randn(40, 4), 3)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)
Y3 = np.digitize(X[:, 0], [-0.5, 0.5])
T = np.round(X[:, 0] * 2 - X[:, 2] + 0.1 * RNG.randn(40), 4)
T2 = np.column_stack([T, -T + X[:, 1]])
POSITIVE = np.abs(X)
TEXTS = ["the cat sat", "the dog ran far", "a cat ran", "dogs and cats", "the far cat"] * 8
CATEGORIES = np.array([["a", "x"], ["b", "y"], ["a", "y"], ["c", "x"]] * 10, dtype=object)
MISSING = X.copy()
MISSING[::7, 1] = np.nan
METHODS = (
    "predict",
    "predict_proba",
    "decision_function",
    "transform",
    "score_samples",
    "kneighbors",
)
CASES, INPUTS = {}, {}  # by name: how an estimator is made, and what its methods are asked about


def case(function):
    CASES[function.__name__], INPUTS[function.__name__] = function, X
    return function


def fitted(module, name, y=Y, x=X, **options):
    """Import a class by name and fit it; options that it does not know are left out."""
    cls = getattr(__import__("sklearn." + module, fromlist=[name]), name)
    known = cls().get_params()
    if sklearn.__version__.startswith("0.13"):
        # Of small nodes its trees copy the rows, in an order that NumPy 1.9 and later does not keep.
        options["min_density"] = 0.0
    options = dict((key, value) for key, value in options.items() if key in known)
    model = cls(**options)
    return model.fit(x) if y is None else model.fit(x, y)


def simple(label, module, name, y=Y, x=X, **options):
    CASES[label], INPUTS[label] = lambda: fitted(module, name, y, x, **options), x


simple("tree_classifier", "tree", "DecisionTreeClassifier", max_depth=4, random_state=0)
simple(
    "tree_classifier_3",
    "tree",
    "DecisionTreeClassifier",
    Y3,
    max_depth=4,
    random_state=0,
    criterion="entropy",
)
simple(
    "tree_classifier_text",
    "tree",
    "DecisionTreeClassifier",
    np.array(["no", "yes"])[Y],
    max_depth=3,
    random_state=0,
)
simple(
    "tree_classifier_multi",
    "tree",
    "DecisionTreeClassifier",
    np.column_stack([Y, Y3]),
    max_depth=4,
    random_state=0,
)
simple("tree_regressor", "tree", "DecisionTreeRegressor", T, max_depth=4, random_state=0)
simple("tree_regressor_multi", "tree", "DecisionTreeRegressor", T2, max_depth=4, random_state=0)
simple("extra_tree_classifier", "tree", "ExtraTreeClassifier", max_depth=4, random_state=0)
simple("extra_tree_regressor", "tree", "ExtraTreeRegressor", T, max_depth=4, random_state=0)
simple(
    "forest_classifier",
    "ensemble",
    "RandomForestClassifier",
    n_estimators=5,
    max_depth=4,
    random_state=0,
)
simple(
    "forest_classifier_oob",
    "ensemble",
    "RandomForestClassifier",
    Y3,
    n_estimators=30,
    max_depth=3,
    random_state=0,
    oob_score=True,
)
simple(
    "forest_regressor",
    "ensemble",
    "RandomForestRegressor",
    T,
    n_estimators=5,
    max_depth=4,
    random_state=0,
)
simple(
    "extra_trees_classifier",
    "ensemble",
    "ExtraTreesClassifier",
    n_estimators=5,
    max_depth=4,
    random_state=0,
)
simple(
    "extra_trees_regressor",
    "ensemble",
    "ExtraTreesRegressor",
    T2,
    n_estimators=5,
    max_depth=4,
    random_state=0,
)
simple(
    "random_trees_embedding",
    "ensemble",
    "RandomTreesEmbedding",
    None,
    n_estimators=4,
    max_depth=3,
    random_state=0,
)
simple(
    "boosting_classifier",
    "ensemble",
    "GradientBoostingClassifier",
    n_estimators=6,
    max_depth=2,
    random_state=0,
)
simple(
    "boosting_classifier_3",
    "ensemble",
    "GradientBoostingClassifier",
    Y3,
    n_estimators=6,
    max_depth=2,
    random_state=0,
)
simple(
    "boosting_classifier_exponential",
    "ensemble",
    "GradientBoostingClassifier",
    n_estimators=6,
    max_depth=2,
    random_state=0,
    loss="exponential",
)
simple(
    "boosting_regressor",
    "ensemble",
    "GradientBoostingRegressor",
    T,
    n_estimators=6,
    max_depth=2,
    random_state=0,
)
simple(
    "boosting_regressor_huber",
    "ensemble",
    "GradientBoostingRegressor",
    T,
    n_estimators=6,
    max_depth=2,
    random_state=0,
    loss="huber",
)
simple(
    "boosting_regressor_quantile",
    "ensemble",
    "GradientBoostingRegressor",
    T,
    n_estimators=6,
    max_depth=2,
    random_state=0,
    loss="quantile",
)
simple(
    "boosting_regressor_lad",
    "ensemble",
    "GradientBoostingRegressor",
    T,
    n_estimators=6,
    max_depth=2,
    random_state=0,
    loss="lad",
)
simple("adaboost_classifier", "ensemble", "AdaBoostClassifier", n_estimators=4, random_state=0)
simple(
    "adaboost_classifier_samme",
    "ensemble",
    "AdaBoostClassifier",
    Y3,
    n_estimators=4,
    random_state=0,
    algorithm="SAMME",
)
simple("adaboost_regressor", "ensemble", "AdaBoostRegressor", T, n_estimators=4, random_state=0)
simple("bagging_classifier", "ensemble", "BaggingClassifier", n_estimators=4, random_state=0)
simple("bagging_regressor", "ensemble", "BaggingRegressor", T, n_estimators=4, random_state=0)
simple("isolation_forest", "ensemble", "IsolationForest", None, n_estimators=5, random_state=0)
simple("linear_regression", "linear_model", "LinearRegression", T)
simple("ridge", "linear_model", "Ridge", T, alpha=0.5)
simple("ridge_cv", "linear_model", "RidgeCV", T)
simple("ridge_classifier", "linear_model", "RidgeClassifier", Y3)
simple("lasso", "linear_model", "Lasso", T, alpha=0.1)
simple("lasso_cv", "linear_model", "LassoCV", T, cv=3)
simple("elastic_net", "linear_model", "ElasticNet", T, alpha=0.1)
simple("lars", "linear_model", "Lars", T)
simple("omp", "linear_model", "OrthogonalMatchingPursuit", T)
simple("bayesian_ridge", "linear_model", "BayesianRidge", T)
simple("ard", "linear_model", "ARDRegression", T)
simple("huber", "linear_model", "HuberRegressor", T)
simple("theil_sen", "linear_model", "TheilSenRegressor", T, random_state=0)
simple("logistic", "linear_model", "LogisticRegression", random_state=0, C=2.0)
simple(
    "logistic_liblinear_3",
    "linear_model",
    "LogisticRegression",
    Y3,
    random_state=0,
    solver="liblinear",
    multi_class="ovr",
)
simple(
    "logistic_multinomial",
    "linear_model",
    "LogisticRegression",
    Y3,
    random_state=0,
    solver="lbfgs",
    multi_class="multinomial",
)
simple(
    "logistic_ovr_lbfgs",
    "linear_model",
    "LogisticRegression",
    Y3,
    random_state=0,
    solver="lbfgs",
    multi_class="ovr",
)
simple("logistic_default_3", "linear_model", "LogisticRegression", Y3, random_state=0)
simple("logistic_cv", "linear_model", "LogisticRegressionCV", random_state=0, cv=3, Cs=3)
simple("sgd_classifier", "linear_model", "SGDClassifier", random_state=0)
simple("sgd_classifier_log", "linear_model", "SGDClassifier", Y3, random_state=0, loss="log")
simple("sgd_regressor", "linear_model", "SGDRegressor", T, random_state=0)
simple("perceptron", "linear_model", "Perceptron", random_state=0)
simple("passive_aggressive", "linear_model", "PassiveAggressiveClassifier", random_state=0)
simple("svc_rbf", "svm", "SVC", C=1.5, gamma=0.3)
simple("svc_proba", "svm", "SVC", Y3, gamma=0.3, probability=True, random_state=0)
simple("svc_default_3", "svm", "SVC", Y3)
simple("svc_linear", "svm", "SVC", kernel="linear")
simple("svc_ovo", "svm", "SVC", Y3, gamma=0.2, decision_function_shape="ovo")
simple("nu_svc", "svm", "NuSVC", gamma=0.3)
simple("svr", "svm", "SVR", T, gamma=0.3)
simple("nu_svr", "svm", "NuSVR", T, gamma=0.3)
simple("one_class_svm", "svm", "OneClassSVM", None, gamma=0.3)
simple("linear_svc", "svm", "LinearSVC", Y3, random_state=0)
simple("linear_svr", "svm", "LinearSVR", T, random_state=0)
simple("knn_classifier", "neighbors", "KNeighborsClassifier", n_neighbors=3)
simple(
    "knn_classifier_kd", "neighbors", "KNeighborsClassifier", Y3, n_neighbors=3, algorithm="kd_tree"
)
simple(
    "knn_classifier_ball",
    "neighbors",
    "KNeighborsClassifier",
    n_neighbors=3,
    algorithm="ball_tree",
    weights="distance",
)
simple(
    "knn_classifier_brute", "neighbors", "KNeighborsClassifier", n_neighbors=3, algorithm="brute"
)
simple("knn_regressor", "neighbors", "KNeighborsRegressor", T, n_neighbors=3)
simple("radius_classifier", "neighbors", "RadiusNeighborsClassifier", radius=5.0)
simple(
    "nearest_neighbors", "neighbors", "NearestNeighbors", None, n_neighbors=3, algorithm="kd_tree"
)
simple("nearest_centroid", "neighbors", "NearestCentroid", Y3)
simple("kernel_density", "neighbors", "KernelDensity", None, bandwidth=0.5)
simple("local_outlier", "neighbors", "LocalOutlierFactor", None, n_neighbors=5, novelty=True)
simple("gaussian_nb", "naive_bayes", "GaussianNB", Y3)
simple("multinomial_nb", "naive_bayes", "MultinomialNB", Y3, POSITIVE)
simple("bernoulli_nb", "naive_bayes", "BernoulliNB")
simple("complement_nb", "naive_bayes", "ComplementNB", Y3, POSITIVE)
simple("kmeans", "cluster", "KMeans", None, n_clusters=3, random_state=0, n_init=2)
simple(
    "minibatch_kmeans", "cluster", "MiniBatchKMeans", None, n_clusters=3, random_state=0, n_init=2
)
simple("mean_shift", "cluster", "MeanShift", None)
simple("affinity_propagation", "cluster", "AffinityPropagation", None)
simple("birch", "cluster", "Birch", None, n_clusters=3)
simple("dbscan", "cluster", "DBSCAN", None)
simple("agglomerative", "cluster", "AgglomerativeClustering", None, n_clusters=3)
simple("pca", "decomposition", "PCA", None, n_components=2)
simple("pca_whiten", "decomposition", "PCA", None, n_components=2, whiten=True)
simple("randomized_pca", "decomposition", "RandomizedPCA", None, n_components=2, random_state=0)
simple("incremental_pca", "decomposition", "IncrementalPCA", None, n_components=2)
simple("kernel_pca", "decomposition", "KernelPCA", None, n_components=2, kernel="rbf", gamma=0.2)
simple("sparse_pca", "decomposition", "SparsePCA", None, n_components=2, random_state=0)
simple("truncated_svd", "decomposition", "TruncatedSVD", None, n_components=2, random_state=0)
simple("nmf", "decomposition", "NMF", None, POSITIVE, n_components=2, random_state=0)
simple("fast_ica", "decomposition", "FastICA", None, n_components=2, random_state=0)
simple("factor_analysis", "decomposition", "FactorAnalysis", None, n_components=2)
simple(
    "lda_topics",
    "decomposition",
    "LatentDirichletAllocation",
    None,
    POSITIVE,
    n_components=2,
    random_state=0,
)
simple("standard_scaler", "preprocessing", "StandardScaler", None)
simple("min_max_scaler", "preprocessing", "MinMaxScaler", None)
simple("max_abs_scaler", "preprocessing", "MaxAbsScaler", None)
simple("robust_scaler", "preprocessing", "RobustScaler", None)
simple("normalizer", "preprocessing", "Normalizer", None)
simple("binarizer", "preprocessing", "Binarizer", None, threshold=0.2)
simple("polynomial", "preprocessing", "PolynomialFeatures", None, degree=2)
simple("kernel_centerer", "preprocessing", "KernelCenterer", None, np.dot(X, X.T))
simple(
    "quantile_transformer",
    "preprocessing",
    "QuantileTransformer",
    None,
    n_quantiles=10,
    random_state=0,
)
simple("power_transformer", "preprocessing", "PowerTransformer", None)
simple(
    "kbins",
    "preprocessing",
    "KBinsDiscretizer",
    None,
    n_bins=3,
    encode="ordinal",
    strategy="uniform",
)
simple(
    "function_transformer",
    "preprocessing",
    "FunctionTransformer",
    None,
    POSITIVE,
    func=np.log1p,
    validate=True,
)
simple("one_hot", "preprocessing", "OneHotEncoder", None, np.column_stack([Y, Y3]))
simple("one_hot_text", "preprocessing", "OneHotEncoder", None, CATEGORIES, handle_unknown="ignore")
simple("ordinal", "preprocessing", "OrdinalEncoder", None, CATEGORIES)
simple("imputer_old", "preprocessing", "Imputer", None, MISSING, strategy="median")
simple("simple_imputer", "impute", "SimpleImputer", None, MISSING, strategy="mean")
simple(
    "simple_imputer_indicator",
    "impute",
    "SimpleImputer",
    None,
    MISSING,
    strategy="median",
    add_indicator=True,
)
simple("knn_imputer", "impute", "KNNImputer", None, MISSING, n_neighbors=2)
simple(
    "mlp_classifier",
    "neural_network",
    "MLPClassifier",
    hidden_layer_sizes=(5,),
    max_iter=30,
    random_state=0,
)
simple(
    "mlp_classifier_3",
    "neural_network",
    "MLPClassifier",
    Y3,
    hidden_layer_sizes=(5,),
    max_iter=30,
    random_state=0,
)
simple(
    "mlp_regressor",
    "neural_network",
    "MLPRegressor",
    T,
    hidden_layer_sizes=(5, 4),
    max_iter=30,
    random_state=0,
)
simple(
    "rbm",
    "neural_network",
    "BernoulliRBM",
    None,
    (X > 0).astype(float),
    n_components=3,
    random_state=0,
    n_iter=3,
)
simple("lda", "discriminant_analysis", "LinearDiscriminantAnalysis", Y3)
simple("qda", "discriminant_analysis", "QuadraticDiscriminantAnalysis", Y3)
simple("lda_old", "lda", "LDA", Y3)
simple("qda_old", "qda", "QDA", Y3)
simple("pls_regression", "cross_decomposition", "PLSRegression", T2, n_components=2)
simple("pls_canonical", "cross_decomposition", "PLSCanonical", T2, n_components=2)
simple("cca", "cross_decomposition", "CCA", T2, n_components=1)
simple("gaussian_mixture", "mixture", "GaussianMixture", None, n_components=2, random_state=0)
simple(
    "gaussian_mixture_diag",
    "mixture",
    "GaussianMixture",
    None,
    n_components=2,
    random_state=0,
    covariance_type="diag",
)
simple(
    "bayesian_mixture", "mixture", "BayesianGaussianMixture", None, n_components=2, random_state=0
)
simple("gmm_old", "mixture", "GMM", None, n_components=2, random_state=0)
simple(
    "gmm_old_full", "mixture", "GMM", None, n_components=2, random_state=0, covariance_type="full"
)
simple("pls_oldest", "pls", "PLSRegression", T2, n_components=2)
simple("probabilistic_pca", "decomposition", "ProbabilisticPCA", None, n_components=2)
simple("dpgmm_old", "mixture", "DPGMM", None, n_components=2, random_state=0)
simple("gaussian_process_old", "gaussian_process", "GaussianProcess", T)
simple("randomized_lasso", "linear_model", "RandomizedLasso", T, random_state=0)
simple("ward_old", "cluster", "Ward", None, n_clusters=3)
simple("gaussian_process", "gaussian_process", "GaussianProcessRegressor", T, random_state=0)
simple(
    "gaussian_process_classifier", "gaussian_process", "GaussianProcessClassifier", random_state=0
)
simple("isotonic", "isotonic", "IsotonicRegression", T, X[:, 0])
simple("kernel_ridge", "kernel_ridge", "KernelRidge", T, kernel="rbf", gamma=0.2)
simple("dummy_classifier", "dummy", "DummyClassifier", strategy="most_frequent")
simple("dummy_regressor", "dummy", "DummyRegressor", T)
simple("select_k_best", "feature_selection", "SelectKBest", k=2)
simple("variance_threshold", "feature_selection", "VarianceThreshold", None)
simple(
    "nystroem", "kernel_approximation", "Nystroem", None, n_components=5, random_state=0, gamma=0.2
)
simple(
    "rbf_sampler",
    "kernel_approximation",
    "RBFSampler",
    None,
    n_components=5,
    random_state=0,
    gamma=0.2,
)
simple(
    "gaussian_projection",
    "random_projection",
    "GaussianRandomProjection",
    None,
    n_components=2,
    random_state=0,
)
simple(
    "sparse_projection",
    "random_projection",
    "SparseRandomProjection",
    None,
    n_components=2,
    random_state=0,
)
simple("empirical_covariance", "covariance", "EmpiricalCovariance", None)
simple("elliptic_envelope", "covariance", "EllipticEnvelope", None, random_state=0)
simple(
    "label_binarizer_like", "preprocessing", "MultiLabelBinarizer", None, [[1, 2], [3], [1, 3]] * 5
)
simple("label_encoder", "preprocessing", "LabelEncoder", None, np.array(["b", "a", "c"] * 5))
simple("label_binarizer", "preprocessing", "LabelBinarizer", None, np.array([1, 3, 2] * 5))
simple(
    "hist_boosting_classifier",
    "ensemble",
    "HistGradientBoostingClassifier",
    max_iter=5,
    min_samples_leaf=5,
)
simple(
    "hist_boosting_classifier_3",
    "ensemble",
    "HistGradientBoostingClassifier",
    Y3,
    max_iter=5,
    min_samples_leaf=5,
)
simple(
    "hist_boosting_regressor",
    "ensemble",
    "HistGradientBoostingRegressor",
    T,
    max_iter=5,
    min_samples_leaf=5,
)
simple("count_vectorizer", "feature_extraction.text", "CountVectorizer", None, TEXTS)
simple(
    "count_vectorizer_accents",
    "feature_extraction.text",
    "CountVectorizer",
    None,
    TEXTS,
    strip_accents="unicode",
    ngram_range=(1, 2),
)
simple("tfidf_vectorizer", "feature_extraction.text", "TfidfVectorizer", None, TEXTS)
simple(
    "hashing_vectorizer", "feature_extraction.text", "HashingVectorizer", None, TEXTS, n_features=16
)
simple(
    "dict_vectorizer",
    "feature_extraction",
    "DictVectorizer",
    None,
    [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}] * 3,
)
simple(
    "feature_hasher",
    "feature_extraction",
    "FeatureHasher",
    None,
    [{"a": 1, "b": 2}, {"a": 2, "c": 3}] * 3,
    n_features=8,
)


@case
def tfidf_transformer():
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer().fit(INPUTS["tfidf_transformer"])


@case
def pipeline():
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [
        ("scale", StandardScaler()),
        ("pca", PCA(n_components=3)),
        ("clf", LogisticRegression()),
    ]
    return Pipeline(steps).fit(X, Y)


@case
def pipeline_text():
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    return make_pipeline(CountVectorizer(), TfidfTransformer(), MultinomialNB()).fit(TEXTS, Y)


@case
def union():
    from sklearn.decomposition import PCA
    from sklearn.pipeline import FeatureUnion
    from sklearn.preprocessing import StandardScaler

    return FeatureUnion([("pca", PCA(n_components=2)), ("scale", StandardScaler())]).fit(X)


@case
def column_transformer():
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    parts = [("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), slice(2, 3))]
    return ColumnTransformer(parts, remainder="passthrough").fit(X)


@case
def grid_search():
    try:
        from sklearn.model_selection import GridSearchCV
    except ImportError:
        from sklearn.grid_search import GridSearchCV
    from sklearn.svm import SVC

    return GridSearchCV(SVC(gamma=0.3), {"C": [0.1, 1.0]}, cv=3).fit(X, Y)


@case
def randomized_search():
    try:
        from sklearn.model_selection import RandomizedSearchCV
    except ImportError:
        from sklearn.grid_search import RandomizedSearchCV
    from sklearn.linear_model import Ridge

    options = {"alpha": [0.1, 1.0, 10.0]}
    return RandomizedSearchCV(Ridge(), options, n_iter=2, cv=3, random_state=0).fit(X, T)


@case
def calibrated():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.naive_bayes import GaussianNB

    return CalibratedClassifierCV(GaussianNB(), cv=2).fit(X, Y)


@case
def calibrated_isotonic():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.naive_bayes import GaussianNB

    return CalibratedClassifierCV(GaussianNB(), cv=2, method="isotonic").fit(X, Y3)


@case
def one_vs_rest():
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    return OneVsRestClassifier(LogisticRegression()).fit(X, Y3)


@case
def one_vs_one():
    from sklearn.multiclass import OneVsOneClassifier
    from sklearn.svm import LinearSVC

    return OneVsOneClassifier(LinearSVC(random_state=0)).fit(X, Y3)


@case
def multi_output_regressor():
    from sklearn.linear_model import Ridge
    from sklearn.multioutput import MultiOutputRegressor

    return MultiOutputRegressor(Ridge()).fit(X, T2)


@case
def multi_output_classifier():
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    return MultiOutputClassifier(LogisticRegression()).fit(X, np.column_stack([Y, Y3]))


@case
def voting():
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    parts = [("a", LogisticRegression()), ("b", GaussianNB())]
    return VotingClassifier(parts, voting="soft").fit(X, Y)


@case
def stacking():
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    parts = [("a", LogisticRegression()), ("b", GaussianNB())]
    return StackingClassifier(parts, final_estimator=LogisticRegression(), cv=2).fit(X, Y)


@case
def rfe():
    from sklearn.feature_selection import RFE
    from sklearn.linear_model import Ridge

    return RFE(Ridge(), n_features_to_select=2).fit(X, T)


@case
def select_from_model():
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.feature_selection import SelectFromModel

    return SelectFromModel(ExtraTreesClassifier(n_estimators=5, random_state=0)).fit(X, Y)


INPUTS["tfidf_transformer"], INPUTS["pipeline_text"] = np.round(POSITIVE * 3), TEXTS


def dense(value):
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


def answers(model, x):
    """What the methods of a fitted estimator answer for x, by the method's name."""
    found = {}
    for method in METHODS:
        if hasattr(model, method):
            try:
                answer = getattr(model, method)(x)
            except Exception:
                continue
            if method == "kneighbors":
                found["kneighbors_distance"], found["kneighbors"] = answer
            elif isinstance(answer, tuple):  # of a GMM: with the probabilities of the components
                found[method] = dense(answer[0])
            elif isinstance(answer, list):
                for number, one in enumerate(answer):
                    found["%s_%d" % (method, number)] = dense(one)
            elif dense(answer).dtype != object:
                found[method] = dense(answer)
            else:
                found[method] = np.array([str(one) for one in dense(answer).ravel()])
    for name in ("coef_", "feature_importances_", "labels_", "oob_score_"):
        if hasattr(model, name) and dense(getattr(model, name)).dtype != object:
            found[name] = dense(getattr(model, name))
    return found


def main(out):
    reasons = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(CASES):
            try:
                model = CASES[name]()
                data = pickle.dumps(model, 2)
                found = answers(model, INPUTS[name])
                if not found:
                    raise ValueError("no answers")
            except Exception as error:
                reasons[name] = "%s: %s" % (type(error).__name__, str(error)[:100])
                continue
            archive.writestr(name + ".pkl", data)
            buffer = io.BytesIO()
            np.savez(buffer, **found)
            archive.writestr(name + ".npz", buffer.getvalue())
        releases = {
            "python": platform.python_version(),
            "sklearn": sklearn.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "left_out": reasons,
        }
        archive.writestr("releases.json", json.dumps(releases, indent=1, sort_keys=True))
    print(out, len(CASES) - len(reasons), "of", len(CASES))


if __name__ == "__main__":
    main(sys.argv[1])

"""Decision trees, space-partitioning trees and distance metrics: classes written in Cython.

``Tree.__setstate__`` takes only node arrays of exactly today's dtype, so the nodes of older releases
are copied field by field. k-d trees and ball trees are made anew from the data, the leaf size and
the metric that they hold: the constructor is deterministic, and private arrays of the nodes changed
between releases.

Evidence: ``sklearn/tree/_tree.pyx`` (``Tree.__reduce__``, ``NODE_DTYPE``) of 0.13 to 1.9: 1.3 added
``missing_go_to_left``, 1.4 put fractions in the place of counts in ``values``;
``sklearn/neighbors/_binary_tree.pxi`` (``__getstate__``); ``sklearn/metrics/_dist_metrics.pyx``.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from persist.errors import RestoreError
from persist.packs import Record
from persist.tree import Global
from persist.typing import State

__all__ = ["METRICS", "SPACE_TREES", "as_fractions", "metric", "predictor", "space_tree", "tree"]

SPACE_TREES = (
    "sklearn.neighbors._kd_tree.newObj",
    "sklearn.neighbors._ball_tree.newObj",
    *(
        f"sklearn.neighbors.{module}.{name}{bits}"
        for module, name in (("_kd_tree", "KDTree"), ("_ball_tree", "BallTree"))
        for bits in ("", "64", "32")
    ),
)
_NODE_COLUMNS = (
    "left_child", "right_child", "feature", "threshold", "impurity", "n_node_samples",
    "weighted_n_node_samples",
)  # fmt: skip


def tree(record: Record) -> Any:
    """A decision tree of any release since 0.13, with its ``values`` as they were."""
    module = importlib.import_module("sklearn.tree._tree")
    state = record.state
    if len(record.args) < 3 or not isinstance(state, dict):
        raise RestoreError("it is no tree of scikit-learn 0.13 or later")
    n_features, n_classes, n_outputs = record.args[:3]  # until 0.14 more followed
    if "children_left" in state:
        state = _with_table(state, int(n_outputs), int(np.max(n_classes, initial=1)))
    old, values = state.get("nodes"), state.get("values")
    if not isinstance(old, np.ndarray) or not isinstance(values, np.ndarray):
        raise RestoreError("it holds no array of nodes")
    lacking = [name for name in _NODE_COLUMNS if name not in (old.dtype.names or ())]
    if lacking or old.ndim != 1:
        raise RestoreError(f"its nodes lack the columns {', '.join(lacking) or 'of a table'}")
    classes = np.asarray(n_classes, dtype=np.intp)
    count = int(state["node_count"])
    shape = (count, int(n_outputs), int(classes.max(initial=1)))
    if count > len(old) or values.shape[0] < count or values[:count].shape != shape:
        raise RestoreError(
            f"it has {len(old)} nodes and values of shape {values.shape}, not {shape}"
        )
    nodes = np.zeros(count, dtype=module.NODE_DTYPE)
    for name in module.NODE_DTYPE.names:
        if name in old.dtype.names:
            nodes[name] = old[name][:count]
    _check_nodes(nodes, int(n_features))
    made = module.Tree(int(n_features), classes, int(n_outputs))
    made.__setstate__(
        {
            "max_depth": int(state["max_depth"]) if "max_depth" in state else _depth(nodes),
            "node_count": count,
            "nodes": nodes,
            "values": np.ascontiguousarray(values[:count], dtype=np.float64),
        }
    )
    return made


# Columns that were arrays of their own until 0.14, by today's names; 0.13 had others.
_OLD_COLUMNS = {
    "left_child": ("children_left",), "right_child": ("children_right",), "feature": ("feature",),
    "threshold": ("threshold",), "impurity": ("impurity", "init_error"), "n_node_samples": ("n_node_samples", "n_samples"),
}  # fmt: skip


def _with_table(state: State, n_outputs: int, n_classes: int) -> dict[str, object]:
    """A state of 0.13 or 0.14, whose columns were arrays of their own, with a table of nodes.

    Weights were not kept; importances were computed from the numbers of samples.
    """
    count = int(state["node_count"])
    table = np.zeros(count, dtype=[(name, np.float64) for name in _NODE_COLUMNS])
    for name, olds in _OLD_COLUMNS.items():
        found = next((state[old] for old in olds if old in state), None)
        if not isinstance(found, np.ndarray) or found.ndim != 1 or len(found) < count:
            raise RestoreError(f"it has {count} nodes, and not as many in {olds[0]}")
        table[name] = found[:count]
    table["weighted_n_node_samples"] = table["n_node_samples"]
    values = state.get("value")
    size = n_outputs * n_classes
    if not isinstance(values, np.ndarray) or values.size < count * size:
        raise RestoreError(f"it has {count} nodes, and not as many values")
    values = values.ravel()[: count * size].reshape(count, n_outputs, n_classes)
    return {"node_count": count, "nodes": table, "values": values}


def _depth(nodes: Any) -> int:
    """The depth of a tree, which is in the state since 0.18: children come after their parents."""
    depths = np.zeros(len(nodes), dtype=np.int64)
    for index, node in enumerate(nodes):
        if node["left_child"] != -1:
            depths[node["left_child"]] = depths[node["right_child"]] = depths[index] + 1
    return int(depths.max(initial=0))


def _check_nodes(nodes: Any, n_features: int) -> None:
    """Refuse indices that compiled code would follow out of its arrays, or in a circle.

    The library trusts them: ``predict`` reads ``feature[node]`` and jumps to ``left_child[node]``.
    """
    index = np.arange(len(nodes))
    inner = nodes["left_child"] != -1
    for name in ("left_child", "right_child"):
        child = nodes[name][inner]
        if not np.all((child > index[inner]) & (child < len(nodes))):
            raise RestoreError(f"a {name} of its nodes is not a later node")
    feature = nodes["feature"][inner]
    if not np.all((feature >= 0) & (feature < n_features)):
        raise RestoreError("a node splits by a feature that is not there")


def as_fractions(made: Any) -> None:
    """Let the values of a classifier's tree be fractions of the samples, as they are since 1.4."""
    values = made.value
    totals = values.sum(axis=2, keepdims=True)
    np.divide(values, totals, out=values, where=totals > 0)


def space_tree(record: Record) -> object:
    """A k-d tree or ball tree, made of the data, leaf size and metric that an older one holds."""
    state = record.state
    if isinstance(state, tuple) and len(state) == 8:  # of 0.13, which had a metric with p only
        ball = importlib.import_module("sklearn.neighbors._ball_tree").BallTree
        return ball(
            np.asarray(state[0]), leaf_size=int(state[5]), metric="minkowski", p=float(state[4])
        )
    if not isinstance(state, tuple) or len(state) < 12:
        raise RestoreError("its state is not that of a tree of neighbors")
    data, leaf_size, distance = state[0], state[4], state[11]
    weights = state[12] if len(state) > 12 else None
    module = "_ball_tree" if "ball_tree" in record.qualname else "_kd_tree"
    is_single = (
        "32" in str(getattr(record.args[0], "qualname", record.args[0])) if record.args else False
    )
    name = f"{'BallTree' if module == '_ball_tree' else 'KDTree'}{'32' if is_single else ''}"
    cls = getattr(importlib.import_module(f"sklearn.neighbors.{module}"), name)
    return cls(np.asarray(data), leaf_size=int(leaf_size), metric=distance, sample_weight=weights)


_METRICS = {
    "BrayCurtisDistance": "braycurtis", "CanberraDistance": "canberra", "ChebyshevDistance": "chebyshev",
    "DiceDistance": "dice", "EuclideanDistance": "euclidean", "HammingDistance": "hamming",
    "HaversineDistance": "haversine", "JaccardDistance": "jaccard", "MahalanobisDistance": "mahalanobis",
    "ManhattanDistance": "manhattan", "MinkowskiDistance": "minkowski", "SEuclideanDistance": "seuclidean",
}  # fmt: skip
METRICS = tuple(
    f"sklearn.metrics._dist_metrics.{name}{bits}" for name in _METRICS for bits in ("", "64", "32")
)


def metric(record: Record) -> Any:
    """A distance metric: its class and ``(p, vec, mat)`` lead to the one of today."""
    metrics = importlib.import_module("sklearn.metrics")
    named = record.args[0] if record.args else record.cls
    written = named.name if isinstance(named, Global) else getattr(named, "__name__", "")
    written = written.rpartition(".")[2]
    base = written.removesuffix("64").removesuffix("32")
    state = record.state
    if base not in _METRICS or not isinstance(state, tuple) or len(state) < 3:
        raise RestoreError(f"there is no metric {written!r} in the installed release")
    options: dict[str, Any] = {}
    if base == "MinkowskiDistance":
        options["p"] = float(state[0])
    elif base == "SEuclideanDistance":
        options["V"] = np.asarray(state[1])
    elif base == "MahalanobisDistance":
        options["VI"] = np.asarray(state[2])
    dtype = np.float32 if written.endswith("32") else np.float64
    return metrics.DistanceMetric.get_metric(_METRICS[base], dtype=dtype, **options)


def predictor(record: Record) -> object:
    """One tree of histogram-based boosting, with its nodes in today's columns.

    0.21 to 0.23 named the threshold ``threshold``; categories came in 0.24.
    """
    module = importlib.import_module("sklearn.ensemble._hist_gradient_boosting.predictor")
    common = importlib.import_module("sklearn.ensemble._hist_gradient_boosting.common")
    state = record.state
    old = state.get("nodes") if isinstance(state, dict) else None
    if not isinstance(old, np.ndarray) or old.ndim != 1 or old.dtype.names is None:
        raise RestoreError("it holds no table of nodes")
    nodes = np.zeros(len(old), dtype=common.PREDICTOR_RECORD_DTYPE)
    for name in nodes.dtype.names or ():
        source = "threshold" if name == "num_threshold" and name not in old.dtype.names else name
        if source in old.dtype.names:
            nodes[name] = old[source]
        elif name in ("value", "feature_idx", "left", "right", "is_leaf", "num_threshold"):
            raise RestoreError(f"its nodes lack the column {name}")
    index = np.arange(len(nodes))
    inner = nodes["is_leaf"] == 0
    for name in ("left", "right"):
        child = nodes[name][inner].astype(np.int64)
        if not np.all((child > index[inner]) & (child < len(nodes))):
            raise RestoreError(f"a {name} child of its nodes is not a later node")
    empty = np.zeros((0, 8), dtype=np.uint32)
    binned, raw = (
        np.asarray(state.get(name, empty), dtype=np.uint32)
        for name in ("binned_left_cat_bitsets", "raw_left_cat_bitsets")
    )
    categorical = nodes["is_categorical"] != 0
    for sets in (binned, raw):
        if (
            sets.ndim != 2
            or sets.shape[1] != 8
            or np.any(nodes["bitset_idx"][categorical] >= len(sets))
        ):
            raise RestoreError("its sets of categories are not those of its nodes")
    return module.TreePredictor(nodes, binned, raw)

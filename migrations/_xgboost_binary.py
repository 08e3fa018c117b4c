"""The binary models of xgboost before 1.0, as the JSON text that current releases read.

A model is a struct of the learner, the names of objective and booster, the booster (trees, one struct each and
one a node, or the weights of a linear model), and attributes. All numbers are little-endian. The margin that
predictions start from is stored; JSON has what the objective makes of it, such as a probability.

Evidence: ``src/learner.cc`` (``LearnerModelParam``, ``LearnerImpl::Save``), ``src/gbm/gbtree_model.h``,
``src/gbm/gbtree.cc`` (``Dart::Save``), ``src/gbm/gblinear_model.h`` and ``include/xgboost/tree_model.h`` of 0.72
and 0.90; ``doc/model.schema`` of 1.7 for JSON; and models that 0.72 and 0.90 wrote (``tests/foundry/boosters``).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable

import numpy as np

from persist.errors import RestoreError

__all__ = ["json_of"]

_LEARNER = struct.Struct("<fIiii116x")
_TREES = struct.Struct("<iiiiqii128x")
_LINEAR = struct.Struct("<Ii128x")
_TREE = struct.Struct("<iiiiii124x")
_NODE = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("index", "<u4"), ("value", "<f4")])  # fmt: skip
_STATISTICS = np.dtype([("gain", "<f4"), ("hessian", "<f4"), ("weight", "<f4"), ("leaves", "<i4")])
_DEFAULT_LEFT = 0x80000000


def _same(margin: float) -> float:
    return margin


def _probability(margin: float) -> float:
    return 1 / (1 + math.exp(-margin)) if abs(margin) < 700 else float(margin > 0)


def _exponential(margin: float) -> float:
    return math.exp(min(margin, 80.0))


# Objective -> its name today, what makes its base score of a margin, and its parameters in JSON.
_OBJECTIVES: dict[str, tuple[str, Callable[[float], float], str, dict[str, str]]] = {
    "reg:linear": ("reg:squarederror", _same, "reg_loss_param", {"scale_pos_weight": "1"}),
    "reg:squarederror": ("reg:squarederror", _same, "reg_loss_param", {"scale_pos_weight": "1"}),
    "reg:logistic": ("reg:logistic", _probability, "reg_loss_param", {"scale_pos_weight": "1"}),
    "binary:logistic": ("binary:logistic", _probability, "reg_loss_param", {"scale_pos_weight": "1"}),
    "count:poisson": ("count:poisson", _exponential, "poisson_regression_param", {"max_delta_step": "0.7"}),
    "reg:gamma": ("reg:gamma", _exponential, "reg_loss_param", {"scale_pos_weight": "1"}),
    "multi:softmax": ("multi:softmax", _same, "softmax_multiclass_param", {}),
    "multi:softprob": ("multi:softprob", _same, "softmax_multiclass_param", {}),
    "rank:pairwise": ("rank:pairwise", _same, "lambdarank_param", {}),
}  # fmt: skip


class _Bytes:
    """The bytes of a model, read from the front."""

    def __init__(self, raw: bytes) -> None:
        self._raw = memoryview(raw)
        self._place = 0

    def take(self, size: int) -> memoryview:
        end = self._place + size
        if size < 0 or end > len(self._raw):
            raise RestoreError(f"its binary model ends early, at byte {len(self._raw)}")
        part, self._place = self._raw[self._place : end], end
        return part

    def read(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self.take(form.size))

    def rows(
        self, kind: np.dtype[np.void], count: int
    ) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        return np.frombuffer(self.take(kind.itemsize * max(count, -1)), kind)

    def count(self) -> int:
        (count,) = struct.unpack("<Q", self.take(8))
        return int(count)

    def text(self) -> str:
        return bytes(self.take(self.count())).decode("utf-8", "replace")

    def floats(self) -> list[float]:
        return [float(value) for value in np.frombuffer(self.take(4 * self.count()), "<f4")]


def json_of(raw: bytes) -> bytes:
    """Return a model as xgboost's JSON, version 1.7.

    Raises:
        RestoreError: it is damaged, or of an objective or a booster that is not known here.
    """
    data = _Bytes(raw)
    margin, features, classes, has_attributes, _ = data.read(_LEARNER)
    objective, booster = data.text(), data.text()
    if objective not in _OBJECTIVES:
        raise RestoreError(
            f"its objective is {objective[:60]!r}, of which no current model is made"
        )
    if booster == "gblinear":
        made = _linear(data)
    elif booster in ("gbtree", "dart"):
        made = _trees(data, booster)
    else:
        raise RestoreError(f"its booster is {booster[:60]!r}, of which no current model is made")
    attributes = {}
    if has_attributes:
        for _ in range(data.count()):
            name = data.text()
            attributes[name] = data.text()
    name, score_of, group, parameters = _OBJECTIVES[objective]
    if group == "softmax_multiclass_param":
        parameters = {"num_class": str(classes)}
    learner = {
        "attributes": attributes,
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": made,
        "learner_model_param": {
            "base_score": repr(score_of(margin)), "boost_from_average": "1", "num_class": str(classes),
            "num_feature": str(features), "num_target": "1",
        },
        "objective": {"name": name, group: parameters},
    }  # fmt: skip
    return json.dumps({"learner": learner, "version": [1, 7, 6]}).encode()


def _linear(data: _Bytes) -> dict[str, object]:
    data.read(_LINEAR)
    weights = data.floats()
    return {"name": "gblinear", "model": {"weights": weights, "boosted_rounds": 0}}


def _trees(data: _Bytes, booster: str) -> dict[str, object]:
    count, _, _, _, _, _, _ = data.read(_TREES)
    trees = [_tree(data, number) for number in range(count)]
    groups = np.frombuffer(data.take(4 * count), "<i4").tolist()
    model = {
        "gbtree_model_param": {"num_trees": str(count), "num_parallel_tree": "1"},
        "tree_info": groups,
        "trees": trees,
    }
    if booster == "gbtree":
        return {"name": "gbtree", "model": model}
    dropped = data.floats() if count else []
    return {"name": "dart", "gbtree": {"name": "gbtree", "model": model}, "weight_drop": dropped}


def _tree(data: _Bytes, number: int) -> dict[str, object]:
    roots, count, deleted, _, features, leaf_size = data.read(_TREE)
    if roots != 1 or leaf_size != 0:
        raise RestoreError(f"its tree {number} has {roots} roots and leaves of {leaf_size} numbers")
    nodes, statistics = data.rows(_NODE, count), data.rows(_STATISTICS, count)
    index = nodes["index"]
    parents = nodes["parent"] & 0x7FFFFFFF  # the highest bit says which child it is
    parents = np.where(nodes["parent"] == -1, 0x7FFFFFFF, parents)
    return {
        "id": number,
        "base_weights": statistics["weight"].tolist(),
        "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        "default_left": ((index & _DEFAULT_LEFT) != 0).astype(int).tolist(),
        "left_children": nodes["left"].tolist(),
        "loss_changes": statistics["gain"].tolist(),
        "parents": parents.tolist(),
        "right_children": nodes["right"].tolist(),
        "split_conditions": nodes["value"].tolist(),
        "split_indices": (index & ~np.uint32(_DEFAULT_LEFT)).tolist(),
        "split_type": [0] * len(nodes),
        "sum_hessian": statistics["hessian"].tolist(),
        "tree_param": {
            "num_deleted": str(deleted), "num_feature": str(features), "num_nodes": str(count),
            "size_leaf_vector": "1",
        },
    }  # fmt: skip

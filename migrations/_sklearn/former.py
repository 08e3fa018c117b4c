"""Objects of classes that scikit-learn no longer has, inside estimators that it has.

Losses and initial estimators of gradient boosting, what trees split nodes by (until 0.16), losses of stochastic gradient descent and the
dict of results that warned of deprecated keys: the step of the estimator that holds one replaces it.
"""

from __future__ import annotations

from typing import Any

import attrs

from persist.typing import State

__all__ = ["FORMER", "Former"]

FORMER = [
    *(
        f"{module}.{name}"
        for module in ("sklearn.ensemble._gb", "sklearn.ensemble._gb_losses", "sklearn.ensemble.gradient_boosting")
        for name in (
            "BinomialDeviance", "HuberLossFunction", "LeastAbsoluteError", "LeastSquaresError",
            "LogOddsEstimator", "MeanEstimator", "MultinomialDeviance", "PriorProbabilityEstimator",
            "QuantileEstimator", "QuantileLossFunction", "ScaledLogOddsEstimator", "ZeroEstimator",
        )
    ),
    *(
        f"sklearn.tree.{module}.{name}"
        for module in ("_criterion", "_splitter", "_tree")
        for name in (
            "BestSparseSplitter", "BestSplitter", "ClassificationCriterion", "Entropy", "FriedmanMSE", "Gini", "MSE",
            "PresortBestSplitter", "RandomSparseSplitter", "RandomSplitter", "RegressionCriterion",
        )
    ),
    *(
        f"sklearn.linear_model._sgd_fast.{name}"
        for name in (
            "EpsilonInsensitive", "Hinge", "Huber", "Log", "ModifiedHuber", "SquaredEpsilonInsensitive",
            "SquaredHinge", "SquaredLoss",
        )
    ),
    *(
        f"sklearn.ensemble._hist_gradient_boosting.loss.{name}"
        for name in (
            "BinaryCrossEntropy", "CategoricalCrossEntropy", "LeastAbsoluteDeviation", "LeastSquares", "Poisson",
        )
    ),
]  # fmt: skip


@attrs.define
class Former:
    """What is known of an object whose class is gone.

    Attributes:
        name: of its class, without the module.
        args: with which it was made.
        state: its attributes.
    """

    name: str
    args: tuple[Any, ...]
    state: State

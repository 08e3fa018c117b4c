"""Losses of the module ``sklearn._loss``: made anew, since they hold objects of compiled code.

A loss is its class and at most one number, which the object of compiled code holds: of its pickle
(``CyPinballLoss(quantile)`` or ``__pyx_unpickle_CyHalfBinomialLoss(class, checksum, state)``) only that
number is used.

Evidence: ``sklearn/_loss/loss.py`` and ``_loss.pyx.tp`` of 1.1 to 1.9.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from persist.migrations._sklearn.former import Former

from persist.errors import RestoreError
from persist.packs import Record

__all__ = ["COMPILED", "LOSSES", "compiled", "loss"]

_NAMES = (
    "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss",
    "HalfPoissonLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss", "PinballLoss",
)  # fmt: skip
_NUMBERS = {
    "HalfTweedieLoss": "power", "HalfTweedieLossIdentity": "power", "PinballLoss": "quantile",
}  # fmt: skip
_LINKS = ("HalfLogitLink", "IdentityLink", "Interval", "LogLink", "LogitLink", "MultinomialLogit")

LOSSES = tuple(f"sklearn._loss.loss.{name}" for name in _NAMES)
COMPILED = (
    *(
        f"{module}.{prefix}{name}"
        for module in ("sklearn._loss._loss", "_loss")  # 1.4 to 1.8 lacked the package's name
        for prefix in ("Cy", "__pyx_unpickle_Cy")
        for name in _NAMES
    ),
    *(f"sklearn._loss.link.{name}" for name in _LINKS),
)


def compiled(resolve: Callable[[str], str], record: Record) -> Former:
    """What the pickle of an object of compiled code, or of a link, says."""
    state = record.state if isinstance(record.state, dict) else {"": record.state}
    return Former(resolve(record.qualname).rpartition(".")[2], record.args, dict(state))


def loss(resolve: Callable[[str], str], record: Record) -> object:
    """A loss, made by its constructor."""
    name = resolve(record.qualname).rpartition(".")[2]
    state = record.state
    if not isinstance(state, dict):
        if name == "ExponentialLoss" or not record.args:
            return Former(name, record.args, {})
        raise RestoreError("its state is no dict of attributes")
    if "closs" not in state:  # a loss of gradient boosting before 1.4, of the same name
        return Former(name, record.args, dict(state))
    options: dict[str, Any] = {}
    if name == "HalfMultinomialLoss":
        options["n_classes"] = int(state["n_classes"])
    elif name == "HuberLoss":
        options["quantile"] = float(state["quantile"])
    elif name in _NUMBERS:
        options[_NUMBERS[name]] = _number(state["closs"])
    return getattr(importlib.import_module("sklearn._loss.loss"), name)(**options)


def _number(made: object) -> float:
    """The number in the pickle of an object of compiled code."""
    todo = [made.args, tuple(made.state.values())] if isinstance(made, Former) else []
    while todo:
        value = todo.pop(0)
        if isinstance(value, float):
            return value
        if isinstance(value, tuple):
            todo.extend(value)
    raise RestoreError("the number that its compiled code holds is not in the file")

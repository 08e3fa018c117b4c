"""What ``compile`` was given: optimizers and losses, from 0.x to 3.x.

Evidence: ``keras/optimizers.py`` and ``keras/objectives.py`` of 0.3.3 and 1.2.2, ``keras/losses.py`` of
2.2.4, ``tensorflow/python/keras/optimizer_v2`` of 2.3, ``keras/src/optimizers`` of 3.15.
"""

from __future__ import annotations

from typing import Any

from persist import ops
from persist.registry import Registry

from ._steps import by, refused

__all__ = ["register"]

NOW = 4
# Optimizer -> its options today, in addition to those of every optimizer.
OPTIMIZERS = {
    "SGD": ("momentum", "nesterov"),
    "RMSprop": ("rho", "momentum", "epsilon", "centered"),
    "Adagrad": ("initial_accumulator_value", "epsilon"),
    "Adadelta": ("rho", "epsilon"),
    "Adam": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "Adamax": ("beta_1", "beta_2", "epsilon"),
    "Nadam": ("beta_1", "beta_2", "epsilon"),
    "Ftrl": ("learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
             "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta"),
}  # fmt: skip
_OF_ALL = ("name", "learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm",
           "use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor",
           "gradient_accumulation_steps")  # fmt: skip

# Old name of a loss -> current name.
LOSSES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "rmse": "root_mean_squared_error",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "cosine_proximity": "cosine_similarity",
    "cosine": "cosine_similarity",
}


def register(pack: Registry) -> None:
    """Register the schemas and steps of optimizers and of what ``compile`` was given."""
    for kind, options in OPTIMIZERS.items():
        name = f"keras.compile.{kind}"
        pack.register(name, version=NOW)
        for version in (1, 2):
            pack.migration(name, version, by(_unchanged))
        pack.migration(
            name,
            3,
            ops.rename("lr", "learning_rate", optional=True),
            by(_decay),
            ops.drop("schedule_decay", "jit_compile", "is_legacy_optimizer", optional=True),
            by(_only({*options, *_OF_ALL})),
        )
    pack.register("keras.compile.Arguments", version=NOW)
    for version in (1, 2):
        pack.migration("keras.compile.Arguments", version, by(_unchanged))
    pack.migration("keras.compile.Arguments", 3, by(_losses))


def _unchanged(state: object) -> None:
    """as before"""


def _decay(state: Any) -> None:
    """decay → a schedule InverseTimeDecay of the rate"""
    decay = state.pop("decay", None)
    if not decay or not isinstance(state.get("learning_rate"), int | float):
        return
    state["learning_rate"] = {
        "module": "keras.optimizers.schedules",
        "class_name": "InverseTimeDecay",
        "config": {
            "initial_learning_rate": float(state["learning_rate"]),
            "decay_steps": 1,
            "decay_rate": float(decay),
            "staircase": False,
        },
        "registered_name": None,
    }


def _only(options: set[str]) -> Any:
    def check(state: Any) -> None:
        """options without effect go"""
        for name in list(state):
            if name not in options:
                if state[name] not in (None, False, 0, 0.0):
                    raise refused(
                        f"{name}={state[name]!r}", "the current optimizer has no such option."
                    )
                del state[name]

    return check


def _losses(state: Any) -> None:
    """loss: its current name"""
    state["loss"] = _named(state.get("loss"))


def _named(value: object) -> Any:
    if isinstance(value, str):
        return LOSSES.get(value, value)
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _named(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_named(item) for item in value]
    if isinstance(value, dict) and "module" not in value:
        config = dict(value.get("config") or {})
        if config.get("reduction") in ("auto", None):
            config["reduction"] = "sum_over_batch_size"
        return {
            "module": "keras.losses",
            "class_name": value["class_name"],
            "config": config,
            "registered_name": None,
        }
    return value

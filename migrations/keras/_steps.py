"""Steps of which the migrations of Keras's layers are made, in addition to those of `persist.ops`.

Each is an `Op`, so that a plan can say what it does. A step that cannot bring an option over raises
`RestoreError` with the option, the reason and the nearest way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist.errors import RestoreError
from persist.ops import Op
from persist.tree import Record

__all__ = [
    "Axes",
    "Expect",
    "JoinGates",
    "Known",
    "Objects",
    "Roles",
    "Rotate",
    "SlopeOfHardSigmoid",
    "array_of",
    "by",
    "layer",
    "refused",
]


def refused(option: str, reason: str, instead: str = "") -> RestoreError:
    """Return the error for an option that cannot be brought over."""
    return RestoreError(f"{option}: {reason}", remedy=instead)


def array_of(state: Any, role: str) -> Any:
    """Return a weight of a layer, or None where the file has no weights."""
    weights = state.get("weights")
    return weights.get(role) if isinstance(weights, dict) else None


class Roles(Op):
    """The arrays of a layer, listed by the file in order, get their roles as names.

    Args:
        roles: in order, separated by blanks; ``bias?use_bias`` is there only if the option is true,
            and ``beta?center=True`` if an option that is missing means true.
    """

    def __init__(self, roles: str) -> None:
        self.roles = roles

    def names(self, state: Any) -> list[str]:
        """Return the roles that a layer with these options has."""
        found = []
        for one in self.roles.split():
            role, _, option = one.partition("?")
            if not option or state.get(option, True):
                found.append(role)
        return found

    def apply(self, state: Any, memo: object = None) -> object:
        arrays = state.get("weights")
        if not isinstance(arrays, list):
            return state
        names = self.names(state)
        if len(names) != len(arrays):
            raise RestoreError(
                f"weights: the file has {len(arrays)} arrays and the layer {len(names)} "
                f"({', '.join(names) or 'none'}).",
                remedy="The weights alone can be read: persist.open(...).arrays.",
            )
        state["weights"] = dict(zip(names, arrays, strict=True))
        return state

    def __str__(self) -> str:
        return f"weights are {', '.join(one.partition('?')[0] for one in self.roles.split()) or 'none'}"


class Expect(Op):
    """An option that has no successor goes, if it has the value that Keras 3 always has.

    Args:
        option: its name.
        values: those that may go.
        reason: why others cannot be brought over.
        instead: the nearest way.
    """

    def __init__(self, option: str, values: Iterable[Any], reason: str, instead: str = "") -> None:
        self.option, self.values = option, list(values)
        self.reason, self.instead = reason, instead

    def apply(self, state: Any, memo: object = None) -> object:
        if self.option in state and state[self.option] not in self.values:
            raise refused(f"{self.option}={state[self.option]!r}", self.reason, self.instead)
        state.pop(self.option, None)
        return state

    def __str__(self) -> str:
        return f"drop({self.option!r}) if it is {' or '.join(map(repr, self.values))}"


class Known(Op):
    """What is left must be an option of the current layer, or have no effect.

    Args:
        options: of the current layer.
    """

    def __init__(self, options: Iterable[str]) -> None:
        self.options = frozenset(options)

    def apply(self, state: Any, memo: object = None) -> object:
        for name in list(state):
            if name in self.options or name in _ALWAYS:
                continue
            if state[name] in (None, False, [], {}) or name in _WITHOUT_EFFECT:
                del state[name]
                continue
            raise refused(
                f"{name}={state[name]!r}"[:120],
                "the current layer has no such option.",
                "Take the weights alone with persist.open(...).arrays or persist.restore.",
            )
        return state

    def __str__(self) -> str:
        return "options without effect go"


_ALWAYS = {
    *("name", "trainable", "dtype", "weights", "backend", "batch_input_shape", "registered_name"),
    "release",
    "activity_regularizer",
}
_WITHOUT_EFFECT = {
    *(
        "cache_enabled",
        "implementation",
        "consume_less",
        "input_spec",
        "build_config",
        "input_dtype",
    ),
    *("input_dim", "input_length", "input_shape", "batch_size", "experimental_run_tf_function"),
    *("node_indices", "tensor_indices"),
}


# Objects in options: initializers, regularizers, constraints.


def _serialized(module: str, name: str, config: dict[str, object]) -> dict[str, object]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


class Objects(Op):
    """Initializers, regularizers and constraints, as Keras 3 has them.

    Those of 1.x are text, or known by ``name``.

    Args:
        options: by whose end the kind is known (``kernel_initializer``).
    """

    def __init__(self, *options: str) -> None:
        self.options = options

    def apply(self, state: Any, memo: object = None) -> object:
        for option in self.options:
            if option in state:
                make = _KINDS[option.rpartition("_")[2]]
                state[option] = make(option, state[option], state)
        return state

    def __str__(self) -> str:
        return f"{', '.join(self.options)}: as Keras 3 serializes them"


def _initializer(option: str, value: object, state: object) -> object:
    if isinstance(value, str):
        return _INITIALIZERS.get(value, value)
    if not isinstance(value, dict) or "module" in value:
        return value
    name = str(value.get("class_name"))
    config = dict(value.get("config") or {})
    config.pop("dtype", None)
    config.pop("partition_info", None)
    if name == "VarianceScaling" and config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
    return _serialized("keras.initializers", _INITIALIZER_CLASSES.get(name, name), config)


def _regularizer(option: str, value: object, state: object) -> object:
    if not isinstance(value, dict) or "module" in value:
        return value
    name, config = _named(value)
    if name in ("L1L2", "L1L2Regularizer", "WeightRegularizer", "ActivityRegularizer"):
        name, config = "L1L2", {key: config.get(key) or 0.0 for key in ("l1", "l2")}
    elif name in ("L1", "L2"):
        config = {name.lower(): config.get(name.lower(), 0.01)}
    elif name == "EigenvalueRegularizer":
        raise refused(
            f"{option}={name}",
            "Keras 2 dropped it.",
            "It matters in training only: remove the option from the configuration.",
        )
    return _serialized("keras.regularizers", name, config)


def _constraint(option: str, value: object, state: Any) -> object:
    if not isinstance(value, dict) or "module" in value:
        return value
    name, config = _named(value)
    for old, new in (("m", "max_value"), ("low", "min_value"), ("high", "max_value")):
        if old in config:
            config[new] = config.pop(old)
    if name == "NonNeg":
        config = {}
    if option == "kernel_constraint" and "axis" in config and state.get("_was_first"):
        axis = config["axis"]  # of a kernel whose axes were moved
        moved = {0: 3, 1: 2, 2: 0, 3: 1}
        is_list = isinstance(axis, list)
        config["axis"] = [moved.get(one, one) for one in axis] if is_list else moved.get(axis, axis)
    return _serialized("keras.constraints", name, config)


def _named(value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class and the options of a regularizer or constraint of any release."""
    if "class_name" in value:
        return str(value["class_name"]), dict(value.get("config") or {})
    return str(value.get("name")), {key: item for key, item in value.items() if key != "name"}


_KINDS = {"initializer": _initializer, "regularizer": _regularizer, "constraint": _constraint}
_INITIALIZER_CLASSES = {
    **dict.fromkeys(("GlorotUniformV1", "GlorotUniformV2"), "GlorotUniform"),
    **dict.fromkeys(("GlorotNormalV1", "GlorotNormalV2"), "GlorotNormal"),
    **dict.fromkeys(("ZerosV1", "ZerosV2"), "Zeros"),
    **dict.fromkeys(("OnesV1", "OnesV2"), "Ones"),
    **dict.fromkeys(("RandomUniformV1", "RandomUniformV2"), "RandomUniform"),
    **dict.fromkeys(("RandomNormalV1", "RandomNormalV2"), "RandomNormal"),
    **dict.fromkeys(("TruncatedNormalV1", "TruncatedNormalV2"), "TruncatedNormal"),
    **dict.fromkeys(("ConstantV1", "ConstantV2"), "Constant"),
    **dict.fromkeys(("OrthogonalV1", "OrthogonalV2"), "Orthogonal"),
    **dict.fromkeys(("IdentityV1", "IdentityV2"), "Identity"),
    **dict.fromkeys(("VarianceScalingV1", "VarianceScalingV2"), "VarianceScaling"),
    **dict.fromkeys(("HeNormalV1", "HeNormalV2"), "HeNormal"),
    **dict.fromkeys(("HeUniformV1", "HeUniformV2"), "HeUniform"),
}
# keras/initializations.py of 1.2.2: uniform and normal have scale 0.05.
_INITIALIZERS = {
    "zero": "zeros",
    "one": "ones",
    "uniform": _serialized("keras.initializers", "RandomUniform",
                           {"minval": -0.05, "maxval": 0.05, "seed": None}),
    "normal": _serialized("keras.initializers", "RandomNormal",
                          {"mean": 0.0, "stddev": 0.05, "seed": None}),
}  # fmt: skip


# Weights.


class JoinGates(Op):
    """The gates of 1.x, an array each, are joined: ``kernel``, ``recurrent_kernel``, ``bias``.

    Args:
        written: the gates in the order of the file.
        joined: in the current order.
    """

    def __init__(self, written: str, joined: str) -> None:
        self.written, self.joined = written, joined

    def apply(self, state: Any, memo: object = None) -> object:
        arrays = state.get("weights")
        if not isinstance(arrays, list) or len(arrays) != 3 * len(self.written):
            return state  # consume_less="gpu" has them joined
        state["weights"] = [
            np.concatenate(
                [arrays[3 * self.written.index(gate) + kind] for gate in self.joined], axis=-1
            )
            for kind in range(3)
        ]
        return state

    def __str__(self) -> str:
        return f"gates {', '.join(self.written)} joined as {', '.join(self.joined)}"


class Axes(Op):
    """The axes of a convolution's kernel as Keras 2 has them: rows, columns, in, out.

    1.x has them in the order of ``dim_ordering``.

    Args:
        roles: of the kernels.
        first: the transposition where it was "th".
        last: the transposition where it was "tf".
    """

    def __init__(
        self,
        roles: str = "kernel",
        first: tuple[int, ...] | None = None,
        last: tuple[int, ...] | None = None,
    ) -> None:
        self.roles, self.first, self.last = roles.split(), first, last

    def apply(self, state: Any, memo: object = None) -> object:
        axes = self.first if state.get("_was_first") else self.last
        for role in self.roles:
            kernel = array_of(state, role)
            if kernel is not None and axes is not None and kernel.ndim == len(axes):
                state["weights"][role] = np.ascontiguousarray(kernel.transpose(axes))
        return state

    def __str__(self) -> str:
        return f"axes of {', '.join(self.roles)} moved to rows, columns, in, out"


class Rotate(Op):
    """A kernel that Theano wrote is rotated by 180 degrees.

    Theano convolves where others correlate (``convert_kernel`` of ``keras/utils/conv_utils.py``
    2.0.9). The version of the weights is 3: rows, columns, in, out.

    Args:
        roles: of the kernels.
        count: of the axes that are slid over, the first ones.
    """

    def __init__(self, roles: str, count: int) -> None:
        self.roles, self.count = roles.split(), count

    def apply(self, state: Any, memo: object = None) -> object:
        if state.get("backend") != "theano":
            return state
        for role in self.roles:
            kernel = array_of(state, role)
            if kernel is not None:
                rotated = np.flip(kernel, tuple(range(self.count)))
                state["weights"][role] = np.ascontiguousarray(rotated)
        return state

    def __str__(self) -> str:
        return f"{', '.join(self.roles)} rotated by 180° if Theano wrote it"


class SlopeOfHardSigmoid(Op):
    """``hard_sigmoid`` has slope 1/6 in Keras 3, and had 1/5 before: the weights are scaled by 6/5.

    Up to Keras 2, ``clip(0.2 x + 0.5, 0, 1)`` (``keras/backend/tensorflow_backend.py`` of 2.2.4); in
    Keras 3, ``relu6(x + 3) / 6``: the same of 1.2 x.

    Args:
        option: the activation's.
        weights: those that lead to it.
        gates: how many the last axis holds, and which of them have this activation.
    """

    def __init__(self, option: str, weights: str, gates: tuple[int, tuple[int, ...]] = (1, (0,))):
        self.option, self.weights, self.gates = option, weights.split(), gates

    def apply(self, state: Any, memo: object = None) -> object:
        if state.get(self.option) != "hard_sigmoid":
            return state
        if state.get("weights") is None:
            raise refused(
                f"{self.option}='hard_sigmoid'",
                "its slope is another in Keras 3, so the weights must be scaled.",
                "Give the file of its weights, too: persist.load(architecture, weights=...).",
            )
        for role in self.weights:
            array = array_of(state, role)
            if array is not None:
                count, scaled = self.gates
                factors = np.ones((count, array.shape[-1] // count), array.dtype)
                factors[list(scaled)] = 1.2
                state["weights"][role] = array * factors.reshape(-1)
        return state

    def __str__(self) -> str:
        return f"weights × 1.2 if {self.option} is 'hard_sigmoid', whose slope was 1/5 and is 1/6"


class _By(Op):
    """A named function as a step."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self.function = function

    def apply(self, state: object, memo: object = None) -> object:
        result = self.function(state)
        return state if result is None else result

    def __str__(self) -> str:
        return (self.function.__doc__ or self.function.__name__).partition("\n")[0].rstrip(".")


def by(function: Callable[[Any], object]) -> Op:
    """Return a function of the state as a step; its docstring is what a plan says."""
    return _By(function)


def layer(kind: str, **config: object) -> Record:
    """Return a layer of Keras 3 as a record, for compositions."""
    weights = config.pop("weights", {})
    return Record(
        f"keras.layers.{kind}",
        {"trainable": True, **config, "weights": weights, "backend": None},
        version=4,
    )

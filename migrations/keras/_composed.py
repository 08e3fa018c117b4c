"""Layers that Keras 3 lacks, as small networks of layers that it has, with the same predictions.

A composition takes the place and the name of its layer. It is trained as its parts are; what the
layer's regularizers and constraints were is kept where a part has the same weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from persist.tree import Record

from ._steps import array_of, layer, refused

__all__ = [
    "NO_WEIGHTS",
    "activation",
    "bidirectional",
    "dot_of_0",
    "from_cudnn",
    "highway",
    "locally_connected",
    "maxout",
    "merge",
    "operation",
    "padded",
    "sequence",
    "thresholded",
    "time_distributed_dense",
]

NO_WEIGHTS = "Give the file of its weights, too: persist.load(architecture, weights=...)."


def sequence(state: Any, *layers: Record) -> Record:
    """Return layers one after the other, in the place of a layer."""
    made = {
        "name": state["name"],
        "trainable": state.get("trainable", True),
        "layers": {one["name"]: one for one in layers},
    }
    if "batch_input_shape" in state:
        made["batch_input_shape"] = state["batch_input_shape"]
    return Record("keras.Sequential", made, version=4)


def _name(state: Any, part: str) -> str:
    return f"{state['name']}_{part}"


def activation(state: Any) -> object:
    """hard_sigmoid → the same of 1.2 x, since its slope was 1/5 and is 1/6"""
    if state.get("activation") != "hard_sigmoid":
        return None
    return sequence(
        state,
        layer("Rescaling", name=_name(state, "slope"), scale=1.2, offset=0.0),
        layer("Activation", name=_name(state, "clipped"), activation="hard_sigmoid"),
    )


def thresholded(state: Any) -> object:
    """ThresholdedReLU → ReLU(threshold=theta)"""
    return _as(state, "ReLU", max_value=None, negative_slope=0.0, threshold=float(state["theta"]))


def _as(state: Any, kind: str, **config: Any) -> Record:
    """A layer of another class in the place of one."""
    for key in ("trainable", "dtype", "batch_input_shape"):
        if key in state:
            config[key] = state[key]
    return layer(kind, name=state["name"], **config)


def padded(state: Any) -> object:
    """padding='same' of Theano, which pads more before than after → padding of its own, then 'valid'"""
    # `_preprocess_padding` and `_postprocess_conv2d_output` of keras/backend/theano_backend.py.
    if state.get("backend") != "theano" or state.get("padding") != "same":
        return None
    sizes = _many(state["kernel_size"])
    steps = _many(state.get("strides", 1), len(sizes))
    rates = _many(state.get("dilation_rate", 1), len(sizes))
    wide = [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]
    if all(one % 2 for one in wide) and all(one == 1 for one in steps):
        return None
    pads = [[one // 2, one - 1 - one // 2] for one in wide]
    dimensions = len(sizes)
    options: dict[str, Any] = {"padding": pads if dimensions > 1 else pads[0]}
    options["data_format"] = state.get("data_format") or "channels_last"
    if dimensions == 1 and options["data_format"] == "channels_first":
        raise refused("padding='same'", "Theano's padding of channels_first is no layer of today.")
    inner = {key: value for key, value in state.items() if key != "batch_input_shape"}
    inner |= {"name": _name(state, "valid"), "padding": "valid"}
    return sequence(
        state,
        layer(f"ZeroPadding{dimensions}D", name=_name(state, "pad"), **options),
        Record(f"keras.layers.Conv{dimensions}D", inner, version=4),
    )


def _many(value: Any, count: int = 1) -> list[int]:
    return [int(one) for one in value] if isinstance(value, list | tuple) else [int(value)] * count


def time_distributed_dense(state: Any) -> object:
    """TimeDistributedDense → Dense, which acts on the last axis"""
    options = {
        key: state[key]
        for key in ("activation", "kernel_initializer", "kernel_regularizer", "bias_regularizer",
                    "activity_regularizer", "kernel_constraint", "bias_constraint", "use_bias")
        if key in state
    }  # fmt: skip
    dense = _as(state, "Dense", units=state["units"], **options)
    dense.state["weights"] = state["weights"]
    if state.get("activation") == "hard_sigmoid":
        _scale(dense.state)
    return dense


def _scale(state: object) -> None:
    from ._steps import SlopeOfHardSigmoid

    SlopeOfHardSigmoid("activation", "kernel bias").apply(state)


def maxout(state: Any) -> object:
    """MaxoutDense → Dense of all features, Reshape, and their maximum"""
    features, units = int(state.get("nb_feature", 4)), int(state["units"])
    kernel, bias = array_of(state, "kernel"), array_of(state, "bias")
    weights: Any = None
    if state["weights"] is not None:
        weights = {
            "kernel": np.ascontiguousarray(kernel.transpose(1, 0, 2)).reshape(kernel.shape[1], -1)
        }
        if bias is not None:
            weights["bias"] = bias.reshape(-1)
    return sequence(
        state,
        layer("Dense", name=_name(state, "features"), units=features * units,
              use_bias=state.get("use_bias", True), weights=weights,
              kernel_initializer=state.get("kernel_initializer", "glorot_uniform")),
        layer("Reshape", name=_name(state, "apart"), target_shape=[features, units]),
        layer("GlobalMaxPooling1D", name=_name(state, "largest"), data_format="channels_last", keepdims=False),
    )  # fmt: skip


def highway(state: Any) -> object:
    """Highway → x + t · (h - x), where h and t are Dense"""
    kernel = array_of(state, "kernel")
    shape = state.get("batch_input_shape")
    width = kernel.shape[0] if kernel is not None else shape[-1] if shape else None
    if width is None:
        raise refused("Highway", "its width is only known from its weights.", NO_WEIGHTS)
    bias = state.get("use_bias", True)

    def dense(part: str, role: str, name: str, activation: str) -> Record:
        weights: Any = None
        if kernel is not None:
            weights = {"kernel": array_of(state, role)}
            if bias:
                weights["bias"] = array_of(state, "bias" if role == "kernel" else "carry_bias")
        made = layer("Dense", name=_name(state, part), units=int(width), use_bias=bias,
                     activation=activation, weights=weights)  # fmt: skip
        if activation == "hard_sigmoid":
            _scale(made.state)
        return made

    names = {part: _name(state, part) for part in ("in", "h", "t", "minus", "times", "out")}
    layers = [
        layer("InputLayer", name=names["in"], batch_shape=[None, int(width)], dtype="float32"),
        dense("h", "kernel", names["h"], state.get("activation", "linear")),
        dense("t", "carry", names["t"], "sigmoid"),
        layer("Subtract", name=names["minus"]),
        layer("Multiply", name=names["times"]),
        layer("Add", name=names["out"]),
    ]
    nodes = {
        "h": ["in"], "t": ["in"], "minus": ["h", "in"], "times": ["t", "minus"], "out": ["in", "times"],
    }  # fmt: skip
    made = {
        "name": state["name"],
        "trainable": state.get("trainable", True),
        "layers": {one["name"]: one for one in layers},
        "nodes": {
            names[name]: [[[[names[one], 0, 0] for one in own], {}]] for name, own in nodes.items()
        },
        "input_layers": [[names["in"], 0, 0]],
        "output_layers": [[names["out"], 0, 0]],
    }
    if "batch_input_shape" in state:
        made["batch_input_shape"] = state["batch_input_shape"]
    return Record("keras.Model", made, version=4)


def locally_connected(state: Any) -> object:
    """LocallyConnected → a convolution that cuts out patches, and a kernel for each place"""
    if state.get("padding", "valid") != "valid" or state.get("implementation", 1) != 1:
        raise refused("padding", "only 'valid' with implementation=1 can be composed.")
    kernel = array_of(state, "kernel")
    if kernel is None:
        raise refused("LocallyConnected", "its places are only known from its weights.", NO_WEIGHTS)
    sizes, filters = _many(state["kernel_size"]), int(state["filters"])
    steps = _many(state.get("strides", 1), len(sizes))
    is_first = state.get("data_format") == "channels_first"
    shape = state.get("batch_input_shape")
    channels = kernel.shape[1] // math.prod(sizes)
    places = [kernel.shape[0]] if len(sizes) == 1 else _places(state, kernel, sizes, steps, shape)
    count = math.prod(sizes) * channels
    patches = np.eye(count, dtype=kernel.dtype).reshape(*sizes, channels, count)
    order = _patch_order(sizes, channels, is_first)
    own = kernel[:, order].reshape(*places, count, filters)
    letters = "bcd"[: len(sizes)]
    weights = {"kernel": own}
    bias = array_of(state, "bias")
    if bias is not None:
        # Of channels_first it was reshaped, not transposed (`bias_add` of the backends).
        own = bias.reshape(filters, *places) if is_first else bias
        weights["bias"] = np.moveaxis(own, 0, -1) if is_first else own.reshape(*places, filters)
    parts = [
        layer(f"Conv{len(sizes)}D", name=_name(state, "patches"), filters=count, kernel_size=sizes,
              strides=steps, padding="valid", use_bias=False, trainable=False,
              data_format="channels_last", weights={"kernel": patches}),
        layer("EinsumDense", name=_name(state, "local"), equation=f"a{letters}x,{letters}xy->a{letters}y",
              output_shape=[*places, filters], bias_axes=None if bias is None else f"{letters}y",
              activation=state.get("activation"), kernel_regularizer=state.get("kernel_regularizer"),
              bias_regularizer=state.get("bias_regularizer"), weights=weights),
    ]  # fmt: skip
    if is_first:
        last = [*range(2, len(sizes) + 2), 1]
        back = [len(sizes) + 1, *range(1, len(sizes) + 1)]
        parts = [
            layer("Permute", name=_name(state, "last"), dims=last),
            *parts,
            layer("Permute", name=_name(state, "first"), dims=back),
        ]
    return sequence(state, *parts)


def _places(state: Any, kernel: Any, sizes: list[int], steps: list[int], shape: Any) -> list[int]:
    """Rows and columns of the output; the kernel has only their product."""
    if shape is not None and None not in shape[1:]:
        own = shape[2:] if state.get("data_format") == "channels_first" else shape[1:-1]
        return [
            (int(one) - size) // step + 1 for one, size, step in zip(own, sizes, steps, strict=True)
        ]
    bias = array_of(state, "bias")
    if bias is not None:
        for found in (bias.shape[:-1], bias.shape[1:]):
            if math.prod(found) == kernel.shape[0]:
                return [int(one) for one in found]
    raise refused(
        "LocallyConnected2D", "its rows and columns are only known from its input's shape."
    )


def _patch_order(sizes: list[int], channels: int, is_first: bool) -> object:
    """The order in which the kernel has the values of a patch, as indices of rows, columns, channels."""
    count = math.prod(sizes) * channels
    index = np.arange(count)
    if is_first:  # the patch is flattened as it lies: channels, rows, columns
        index = np.arange(count).reshape(channels, *sizes)
        index = np.moveaxis(index, 0, -1).reshape(-1)
    return index


def bidirectional(state: object) -> object:
    """forward_layer and backward_layer are named forward_... and backward_..."""
    return None


def from_cudnn(state: Any) -> None:
    """Weights of CuDNNLSTM and CuDNNGRU → of LSTM and GRU with reset_after=True."""
    # `_convert_rnn_weights` of keras/engine/saving.py 2.2.4.
    arrays = state.get("weights")
    if not isinstance(arrays, list) or len(arrays) != 3:
        return
    kernel, recurrent, bias = arrays
    units = recurrent.shape[0]
    gates = kernel.shape[1] // units
    if bias.shape != (2 * gates * units,) or gates not in (3, 4):
        return
    state.setdefault("recurrent_activation", "sigmoid")
    state.setdefault("activation", "tanh")
    kernels = [
        one.reshape(-1).reshape(one.shape, order="F") for one in np.split(kernel, gates, axis=1)
    ]
    recurrents = [one.T for one in np.split(recurrent, gates, axis=1)]
    if gates == 4:
        own = bias[: 4 * units] + bias[4 * units :]
    else:
        own = bias.reshape(2, -1)
        state["reset_after"] = True
    state["weights"] = [np.concatenate(kernels, axis=1), np.concatenate(recurrents, axis=1), own]


# Operations of TensorFlow that tf.keras made layers of.

_OPERATIONS = {
    **dict.fromkeys(("AddV2", "Add", "__operators__.add", "math.add"), ("numpy", "Add")),
    **dict.fromkeys(("Sub", "__operators__.sub", "math.subtract"), ("numpy", "Subtract")),
    **dict.fromkeys(("Mul", "__operators__.mul", "math.multiply"), ("numpy", "Multiply")),
    **dict.fromkeys(
        ("RealDiv", "__operators__.truediv", "math.truediv", "math.divide"), ("numpy", "TrueDivide")
    ),
    **dict.fromkeys(("Pow", "__operators__.pow", "math.pow"), ("numpy", "Power")),
    **dict.fromkeys(("Maximum", "math.maximum"), ("numpy", "Maximum")),
    **dict.fromkeys(("Minimum", "math.minimum"), ("numpy", "Minimum")),
    **dict.fromkeys(("Square", "math.square"), ("numpy", "Square")),
    **dict.fromkeys(("Sqrt", "math.sqrt"), ("numpy", "Sqrt")),
    **dict.fromkeys(("Exp", "math.exp"), ("numpy", "Exp")),
    **dict.fromkeys(("Log", "math.log"), ("numpy", "Log")),
    **dict.fromkeys(("Abs", "math.abs"), ("numpy", "Absolute")),
    **dict.fromkeys(("Tanh", "math.tanh"), ("numpy", "Tanh")),
    **dict.fromkeys(("Neg", "__operators__.neg", "math.negative"), ("numpy", "Negative")),
    **dict.fromkeys(("Sigmoid", "math.sigmoid", "nn.sigmoid"), ("nn", "Sigmoid")),
    **dict.fromkeys(("Relu", "nn.relu"), ("nn", "Relu")),
}


def operation(state: Any) -> object:
    """An operation of TensorFlow → the same of Keras 3"""
    node = state.get("node_def")
    name = state.get("function") or (node.get("op") if isinstance(node, dict) else None)
    if name not in _OPERATIONS:
        raise refused(
            f"{state.get('name')} ({name})",
            "it is an operation of TensorFlow, and this one has no counterpart that is known.",
            "Put a layer in its place, or load the SavedModel with TensorFlow.",
        )
    module, kind = _OPERATIONS[name]
    made: dict[str, Any] = {"name": state["name"], "constants": state.get("constants") or {}}
    return Record(f"keras.ops.{module}.{kind}", made, version=4)


# Merge.

_MODES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum"}


def dot_of_0(state: Any) -> None:
    """dot_axes: a pair of lists → a pair; 'cos' has no axis of length 1 put in"""
    state["has_axis"] = False
    axes = state.get("dot_axes")
    if isinstance(axes, list) and all(isinstance(one, list) for one in axes):
        if any(len(one) != 1 for one in axes):
            raise refused("dot_axes", "more than one axis of each input cannot be contracted.")
        state["dot_axes"] = [one[0] for one in axes]


def merge(state: Any) -> object:
    """Merge → Add, Multiply, Average, Maximum, Concatenate or Dot, by its mode"""
    mode = state.get("mode")
    if not isinstance(mode, str) or state.get("mode_type", "raw") != "raw":
        raise refused(
            "mode", "it is a function, and code from a file is never run.",
            "Put one of the modes in its place, or a layer of your own.",
        )  # fmt: skip
    if mode in _MODES:
        made = _as(state, _MODES[mode])
    elif mode == "concat":
        made = _as(state, "Concatenate", axis=state.get("concat_axis", -1))
    elif mode in ("dot", "cos"):
        axes = state.get("dot_axes", -1)
        made = _as(state, "Dot", axes=axes, normalize=mode == "cos")
        if mode == "cos" and state.get(
            "has_axis", True
        ):  # an axis of length 1 is put in (`Merge.call` of keras/engine/topology.py)
            made["then"] = layer("Reshape", target_shape=[1, 1])
    else:
        raise refused(f"mode={mode!r}", "no layer of today does this.")
    if isinstance(state.get("layers"), list):
        made["branches"] = state["layers"]
    return made

"""The state of each layer of Keras: its configuration and weights, from 0.x to 3.x.

Versions are releases: 1 is Keras 0.x, 2 is 1.x, 3 is 2.x and tf.keras, 4 is Keras 3. A state is
the layer's configuration with two more fields: ``weights``, a list of arrays in the order of the
file, by role from version 3 on, and ``backend``, which wrote them.

Evidence: ``get_config``, ``build`` and ``call`` in ``keras/layers/`` of 0.3.3, 1.0.8, 1.2.2, 2.0.9
and 2.2.4; ``keras/legacy/interfaces.py`` of 2.0.9, which has the new names of arguments;
``preprocess_weights_for_loading`` of ``keras/engine/topology.py`` 2.0.9; ``keras/src/layers/`` of
3.15. Predictions of all of these releases: ``tests/foundry/keras``.
"""

from __future__ import annotations

from typing import Any

from persist import ops
from persist._runtime.lazy_regex import regex
from persist.registry import Registry

from . import _composed, _table
from ._steps import (
    Axes,
    Expect,
    JoinGates,
    Known,
    Objects,
    Roles,
    Rotate,
    SlopeOfHardSigmoid,
    array_of,
    by,
    refused,
)

__all__ = ["count_of", "register"]

NOW = 4

# The roles of a layer's arrays, in the order of the file: in 0.x and 1.x, and since 2.x.
ROLES_OF_1 = {
    **dict.fromkeys(("Dense", "TimeDistributedDense"), "kernel bias?bias"),
    "MaxoutDense": "kernel bias?bias",
    "Highway": "kernel carry bias?bias carry_bias?bias",
    **dict.fromkeys(
        ("Convolution1D", "AtrousConvolution1D", "Convolution2D", "AtrousConvolution2D"),
        "kernel bias?bias",
    ),
    **dict.fromkeys(("Deconvolution2D", "Convolution3D"), "kernel bias?bias"),
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), "kernel bias?bias"),
    "SeparableConvolution2D": "depthwise_kernel pointwise_kernel bias?bias",
    "Embedding": "embeddings",
    "BatchNormalization": "gamma beta moving_mean moving_variance",
    "PReLU": "alpha",
    "ParametricSoftplus": "alphas betas",
    "SReLU": "t_left a_left t_right a_right",
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM", "ConvLSTM2D"), "kernel recurrent_kernel bias"),
}
_RNN = "kernel recurrent_kernel bias?use_bias"
ROLES_OF_2 = {
    "Dense": "kernel bias?use_bias",
    "Conv1D": "kernel bias?use_bias",
    "Conv2D": "kernel bias?use_bias",
    "Conv3D": "kernel bias?use_bias",
    **dict.fromkeys(
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), "kernel bias?use_bias"
    ),
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), "kernel bias?use_bias"),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"), "depthwise_kernel pointwise_kernel bias?use_bias"
    ),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), "kernel bias?use_bias"),
    "Embedding": "embeddings",
    "BatchNormalization": "gamma?scale beta?center moving_mean moving_variance",
    "LayerNormalization": "gamma?scale beta?center",
    "GroupNormalization": "gamma?scale beta?center",
    "PReLU": "alpha",
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _RNN),
    **dict.fromkeys(("SimpleRNNCell", "GRUCell", "LSTMCell"), _RNN),
    **dict.fromkeys(("CuDNNLSTM", "CuDNNGRU"), "kernel recurrent_kernel bias"),
}
_GATES = {"LSTM": "icfo", "ConvLSTM2D": "icfo", "GRU": "zrh"}

# Old class -> current class.
RENAMED = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "LSTMV1": "LSTM",
    "GRUV1": "GRU",
}
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
_RECURRENT = ("SimpleRNN", "GRU", "LSTM")

# Classes that went, why, and the nearest way.
GONE = {
    "Lambda": ("its code is in the file, and code from a file is never run.",
               "Put a layer in its place in the configuration, or write the function anew."),
    "LambdaMerge": ("its code is in the file, and code from a file is never run.",
                    "Write the function anew."),
    "MaskedLambda": ("its code is in the file, and code from a file is never run.",
                     "Write the function anew."),
    "SReLU": ("Keras 2 dropped it, and no layers of today compose it for any shape.",
              "Declare a layer of your own under this name (keras.saving.register_keras_serializable)."),
    "ParametricSoftplus": ("Keras 2 dropped it, and no layers of today compose it for any shape.",
                           "Declare a layer of your own under this name."),
    "ThresholdedLinear": ("Keras 1 dropped it, and no layers of today compose it.",
                          "Declare a layer of your own under this name."),
    "AutoEncoder": ("Keras 1 dropped it.", "Build its encoder and decoder as networks."),
    "TimeDistributedMerge": ("Keras 1 dropped it.", "GlobalAveragePooling1D is its mode 'ave'."),
    "Siamese": ("Keras 1 dropped it.", "Share a layer in a functional network."),
    "SiameseHead": ("Keras 1 dropped it.", "Share a layer in a functional network."),
    "SlicingOpLambda": ("it is a Python slice of a tensor.", "Use keras.layers.Cropping1D, or ops."),
    "ConvRNN2D": ("it is a base class.", ""),
    "DenseFeatures": ("feature columns are no part of Keras 3.", "Use keras.utils.FeatureSpace."),
}  # fmt: skip


def count_of(kind: str, version: int, state: Any) -> int | None:
    """Return how many arrays a layer has in a file, or None if its class is not known.

    Args:
        kind: its class, as the file names it.
        version: of its state.
        state: its configuration.
    """
    if version < 3:
        roles = ROLES_OF_1.get(kind)
        if kind in _GATES and roles is not None:
            return 3 if state.get("consume_less") == "gpu" else 3 * len(_GATES[kind])
    else:
        roles = ROLES_OF_2.get(RENAMED.get(kind, kind))
        if kind == "MultiHeadAttention":
            return 8 if state.get("use_bias", True) else 4
    if roles is None:
        known = kind in _table.OPTIONS or kind in RENAMED or kind in _MERGES
        return 0 if known or kind in ("Merge", "InputLayer") else None
    return len(Roles(roles).names(state))


_MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")


def register(pack: Registry) -> None:
    """Register the schemas, steps and new names of all layers."""
    for old, new in RENAMED.items():
        pack.alias(
            f"keras.layers.{old}", f"keras.layers.{new}", since="2.0", evidence="see _layers.py"
        )
    for kind in [*_table.OPTIONS, *_table.OLD_OPTIONS]:
        if kind not in _OWN and kind != "InputLayer":
            _register(pack, kind, [*_first_steps(kind)], [*_second_steps(kind)])
    _register_old(pack)
    for kind, (reason, instead) in GONE.items():
        pack.register(f"keras.layers.{kind}", version=NOW)
        for version in (1, 2, 3):
            pack.migration(f"keras.layers.{kind}", version, _gone(reason, instead))
    if "Lambda" in _table.OPTIONS:
        pack.register("keras.layers.Lambda", version=NOW)


def _gone(reason: str, instead: str) -> ops.Op:
    def refuse(state: Any) -> None:
        raise refused(state.get("name") or "the layer", reason, instead)

    refuse.__doc__ = f"cannot be brought over: {reason}"
    return by(refuse)


_OWN = {"Lambda"}


def _register(pack: Registry, kind: str, first: list[ops.Op], second: list[ops.Op]) -> None:
    name = f"keras.layers.{kind}"
    pack.register(name, version=NOW)
    pack.migration(name, 1, *_zeroth_steps(kind))
    pack.migration(name, 2, *(first or [by(_unchanged)]))
    pack.migration(name, 3, *second)


def _unchanged(state: object) -> None:
    """as before"""


# 0.x to 1.x.


def _zeroth_steps(kind: str) -> list[ops.Op]:
    steps: list[ops.Op] = [
        ops.drop("cache_enabled", optional=True),
        by(_input_shape),
    ]
    if kind == "BatchNormalization":
        steps.append(by(_deviation_squared))
    if kind == "Embedding":
        steps.append(by(_kept_part))
    if kind in ("LSTM", "GRU", "SimpleRNN"):
        steps.append(ops.drop("truncate_gradient", optional=True))
    return steps


def _kept_part(state: Any) -> None:
    """weights × (1 - dropout), by which 0.x scales them when it predicts"""
    # `Embedding.get_output` of keras/layers/embeddings.py 0.3.3.
    dropout = state.pop("dropout", 0) or 0
    arrays = state.get("weights")
    if dropout and arrays is None:
        raise refused("dropout", "0.x scales the weights by it.", _composed.NO_WEIGHTS)
    if dropout and isinstance(arrays, list):
        state["weights"] = [one * one.dtype.type(1 - dropout) for one in arrays]


def _input_shape(state: Any) -> None:
    """input_shape → batch_input_shape"""
    shape = state.pop("input_shape", None)
    if isinstance(shape, list | tuple) and "batch_input_shape" not in state:
        state["batch_input_shape"] = [None, *shape]


def _deviation_squared(state: Any) -> None:
    """running_std, a deviation to which epsilon was added → a variance"""
    arrays, epsilon = state.get("weights"), state.get("epsilon", 1e-6)
    if isinstance(arrays, list) and len(arrays) == 4:
        deviation = arrays[3]
        small = 1e-12
        state["weights"] = [*arrays[:3], (deviation + deviation.dtype.type(epsilon)) ** 2 - small]
        state["epsilon"] = small
    elif state.get("mode", 0) == 0:
        raise refused(
            "epsilon",
            "0.x adds it to the deviation, so that the statistics must be converted.",
            _composed.NO_WEIGHTS,
        )


# 1.x to 2.x.

_INIT = {
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "W_regularizer": "kernel_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "U_constraint": "recurrent_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
}


def _renamed(*names: str, **more: str) -> ops.Op:
    return ops.rename({**{name: _INIT[name] for name in names}, **more}, optional=True)


_LEARNED = ("init", "W_regularizer", "b_regularizer", "W_constraint", "b_constraint", "bias")


def _objects(*prefixes: str) -> ops.Op:
    ends = ("initializer", "regularizer", "constraint")
    return Objects(*[f"{prefix}_{end}" for prefix in prefixes for end in ends])


def _ordering(state: Any) -> None:
    """dim_ordering → data_format: 'th' → channels_first, 'tf' → channels_last"""
    ordering = state.pop("dim_ordering", None)
    if ordering is None or ordering == "default":
        return
    state["_was_first"] = ordering == "th"
    state["data_format"] = "channels_first" if ordering == "th" else "channels_last"


def _first_steps(kind: str) -> list[ops.Op]:
    """The steps of a class from 1.x to 2.x."""
    roles = [
        Roles(own) for old, own in ROLES_OF_1.items() if RENAMED.get(old, old) == kind
    ][:1]  # fmt: skip
    steps: list[ops.Op] = []
    if kind in _GATES:
        joined = {"icfo": "ifco", "zrh": "zrh"}[_GATES[kind]]
        steps.append(JoinGates(_GATES[kind], joined))
    steps += roles
    steps += _OF_1.get(kind, [])
    return [*steps, ops.drop("_was_first", optional=True)]


def _kernel_size(*names: str) -> ops.Op:
    def gather(state: Any) -> None:
        if names[0] in state:
            state["kernel_size"] = [state.pop(name) for name in names]

    gather.__doc__ = f"{', '.join(names)} → kernel_size"
    return by(gather)


def _convolution(
    axes: ops.Op, *size: str, strides: str = "subsample", dilation: str = "atrous_rate"
) -> list[ops.Op]:
    return [
        _renamed(*_LEARNED, nb_filter="filters", border_mode="padding"),
        _kernel_size(*size),
        ops.rename({strides: "strides", dilation: "dilation_rate"}, optional=True),
        by(_ordering),
        axes,
        _objects("kernel", "bias"),
        Objects("activity_regularizer"),
    ]


def _conv1d_kernel(state: Any) -> None:
    """kernel of Convolution1D, of four axes → length, in, out"""
    weights = state.get("weights")
    if not isinstance(weights, dict) or weights["kernel"].ndim != 4:
        return
    kernel, length, count = weights["kernel"], state["kernel_size"][0], state["filters"]
    if kernel.shape[:2] != (length, 1) or kernel.shape[3] != count:
        kernel = kernel.transpose(2, 3, 1, 0)  # until 1.1: out, in, length, 1
    weights["kernel"] = kernel[:, 0]


def _recurrent(*inner: str) -> list[ops.Op]:
    return [
        _renamed(*[name for name in _INIT if name != "bias"], output_dim="units",
                 inner_activation="recurrent_activation", dropout_W="dropout",
                 dropout_U="recurrent_dropout"),
        by(_forget_bias),
        ops.drop("consume_less", optional=True),
        _objects("kernel", "recurrent", "bias"),
    ]  # fmt: skip


def _forget_bias(state: Any) -> None:
    """forget_bias_init='one' → unit_forget_bias"""
    if "forget_bias_init" in state:
        state["unit_forget_bias"] = state.pop("forget_bias_init") in ("one", "ones")


def _pooling(*renamed: str) -> list[ops.Op]:
    return [ops.rename("border_mode", "padding", optional=True), by(_ordering)]


def _one_dimension(state: Any) -> None:
    """pool_length, stride → pool_size, strides"""
    for old, new in (("pool_length", "pool_size"), ("stride", "strides")):
        if old in state:
            state[new] = state.pop(old)


def _no_mode(state: Any) -> None:
    """mode: 0 is the only one since 2.x"""
    mode = state.pop("mode", 0)
    if mode == 1:
        _refuse_mode_1(state)
    if mode == 2:
        raise refused(
            "mode=2",
            "it normalizes by the statistics of the batch also when it predicts.",
            "Without mode=2 the layer predicts by its running statistics: take the weights alone.",
        )


def _refuse_mode_1(state: object) -> None:
    raise refused(
        "mode=1",
        "it normalizes each sample, and adds epsilon twice.",
        "keras.layers.LayerNormalization is nearly the same: take the weights gamma and beta.",
    )


def _no_dropout(state: Any) -> None:
    """dropout of an Embedding goes: it has no effect on predictions"""
    state.pop("dropout", None)


def _shared_axes(state: Any) -> None:
    """shared_axes, which 1.x does not save, by the shape of alpha"""
    alpha = array_of(state, "alpha")
    if alpha is not None and not state.get("shared_axes"):
        shared = [axis for axis, one in enumerate(alpha.shape, 1) if one == 1]
        state["shared_axes"] = shared or None


def _same_windows(state: Any) -> None:
    """padding='same' of Theano takes other windows than that of TensorFlow, except of 3 by stride 1"""
    # `pool2d` of keras/backend/theano_backend.py: it pads both sides by k - 1, or k - 2 if k is odd.
    if state.get("backend") != "theano" or state.get("padding") != "same":
        return
    sizes, steps = state.get("pool_size"), state.get("strides")
    flat = [*(sizes if isinstance(sizes, list) else [sizes])]
    steps = [*(steps if isinstance(steps, list) else [steps])]
    if any(one != 3 for one in flat) or any(one != 1 for one in steps):
        raise refused(
            f"padding='same' with pool_size={sizes}",
            "on Theano it pools other windows than Keras 3 does.",
            "Build the layer with padding='valid' on a padded input, or take the weights alone.",
        )


def _same_transposed(state: Any) -> None:
    """padding='same' of Theano cuts off other borders than that of TensorFlow, except by stride 1"""
    if state.get("backend") != "theano" or state.get("padding") != "same":
        return
    sizes, steps = state.get("kernel_size"), state.get("strides")
    own = [*(sizes if isinstance(sizes, list) else [sizes])]
    steps = [*(steps if isinstance(steps, list) else [steps])]
    if any(one % 2 == 0 for one in own) or any(one != 1 for one in steps):
        raise refused(
            f"padding='same' with strides={steps}",
            "on Theano it cuts off other borders than Keras 3 does.",
            "Build the layer with padding='valid' and crop its output, or take the weights alone.",
        )


_OF_1: dict[str, list[ops.Op]] = {
    "Dense": [_renamed(*_LEARNED, output_dim="units"), _objects("kernel", "bias"),
              Objects("activity_regularizer")],
    "Embedding": [
        ops.rename({"init": "embeddings_initializer", "W_regularizer": "embeddings_regularizer",
                    "W_constraint": "embeddings_constraint"}, optional=True),
        by(_no_dropout), _objects("embeddings"), Objects("activity_regularizer"),
    ],
    "Conv1D": [
        *_convolution(by(_conv1d_kernel), "filter_length", strides="subsample_length"),
    ],
    "Conv2D": _convolution(Axes(first=(2, 3, 1, 0)), "nb_row", "nb_col"),
    "Conv3D": _convolution(Axes(first=(2, 3, 4, 1, 0)), "kernel_dim1", "kernel_dim2", "kernel_dim3"),
    "Conv2DTranspose": [
        *_convolution(Axes(first=(2, 3, 0, 1), last=(0, 1, 3, 2)), "nb_row", "nb_col"),
        ops.drop("output_shape", optional=True),
    ],
    "SeparableConv2D": [
        ops.rename({"depthwise_init": "depthwise_initializer", "pointwise_init": "pointwise_initializer"}, optional=True),
        *_convolution(Axes("depthwise_kernel pointwise_kernel", first=(2, 3, 1, 0)), "nb_row", "nb_col"),
        ops.drop("kernel_initializer", "kernel_regularizer", "kernel_constraint", optional=True),
        _objects("depthwise", "pointwise"),
    ],
    "LocallyConnected1D": [
        _renamed(*_LEARNED, nb_filter="filters", border_mode="padding", subsample_length="strides"),
        _kernel_size("filter_length"), _objects("kernel", "bias"),
    ],
    "LocallyConnected2D": [
        _renamed(*_LEARNED, nb_filter="filters", border_mode="padding", subsample="strides"),
        _kernel_size("nb_row", "nb_col"), by(_ordering), _objects("kernel", "bias"),
    ],
    "ConvLSTM2D": [
        *_recurrent(),
        ops.rename({"nb_filter": "filters", "border_mode": "padding", "subsample": "strides"}, optional=True),
        _kernel_size("nb_row", "nb_col"), by(_ordering),
        Axes("kernel recurrent_kernel", first=(2, 3, 1, 0)),
    ],
    **{kind: _recurrent() for kind in _RECURRENT},
    "BatchNormalization": [
        ops.rename({"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"}, optional=True),
        by(_no_mode), Objects("gamma_regularizer", "beta_regularizer"),
    ],
    "Dropout": [ops.rename("p", "rate", optional=True)],
    **{f"SpatialDropout{n}D": [ops.rename("p", "rate", optional=True), by(_ordering)] for n in (1, 2, 3)},
    "GaussianDropout": [ops.rename("p", "rate", optional=True)],
    "GaussianNoise": [ops.rename("sigma", "stddev", optional=True)],
    "Reshape": [ops.rename("dims", "target_shape", optional=True)],
    **{f"{kind}Pooling1D": [by(_one_dimension), *_pooling()] for kind in ("Max", "Average")},
    **{f"{kind}Pooling{n}D": _pooling() for kind in ("Max", "Average") for n in (2, 3)},
    **{f"Global{kind}Pooling{n}D": _pooling() for kind in ("Max", "Average") for n in (1, 2, 3)},
    "UpSampling1D": [ops.rename("length", "size", optional=True)],
    **{f"{kind}{n}D": [by(_ordering)] for kind in ("UpSampling", "ZeroPadding", "Cropping") for n in (2, 3)},
    "PReLU": [ops.rename("init", "alpha_initializer", optional=True), Objects("alpha_initializer"), by(_shared_axes)],
    "Permute": [], "Bidirectional": [], "TimeDistributed": [],
}  # fmt: skip


# 2.x to 3.x.


def _policy(state: Any) -> None:
    """dtype: the name of a policy"""
    dtype = state.get("dtype")
    if isinstance(dtype, dict) and "module" not in dtype:
        config = dtype.get("config")
        state["dtype"] = config.get("name") if isinstance(config, dict) else None
    if state.get("dtype") is None:
        state.pop("dtype", None)


def _second_steps(kind: str) -> list[ops.Op]:
    """The steps of a class from 2.x to 3.x."""
    roles = ROLES_OF_2.get(kind)
    steps: list[ops.Op] = [by(_policy)]
    steps += _BEFORE_ROLES.get(kind, [])
    if roles is not None:
        steps.append(Roles(roles))
    options = _table.OPTIONS.get(kind) or _table.OLD_OPTIONS.get(kind, ())
    ends = ("initializer", "regularizer", "constraint")
    objects = [one for one in options if one.rpartition("_")[2] in ends]
    if "activity_regularizer" not in objects:
        objects.append("activity_regularizer")
    steps.append(Objects(*objects))
    steps += _OF_2.get(kind, [])
    if kind.startswith("SpatialDropout"):
        steps.append(ops.drop("trainable", optional=True))
    if "groups" not in options and "kernel_size" in options:
        steps.append(Expect("groups", (1,), "this layer has no groups."))
    steps.append(Known(options))
    if kind in _COMPOSED:
        steps.append(by(_COMPOSED[kind]))
    return steps


def _axis_of_list(state: Any) -> None:
    """axis: a list of one → the number"""
    axis = state.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        state["axis"] = axis[0]


def _reset_after(state: Any) -> None:
    """reset_after: False where it is not stated; a bias for each of input and state if True"""
    state.setdefault("reset_after", False)


def _without_cudnn(state: object) -> None:
    """weights of cuDNN's layout → of LSTM and GRU"""
    _composed.from_cudnn(state)


_UNROLLED = Expect("time_major", (False, None), "Keras 3 has the batch first.",
                   "Transpose the input, and build the layer without time_major.")  # fmt: skip
_RNN_HARD = {
    "LSTM": SlopeOfHardSigmoid(
        "recurrent_activation", "kernel recurrent_kernel bias", (4, (0, 1, 3))
    ),
    "GRU": SlopeOfHardSigmoid("recurrent_activation", "kernel recurrent_kernel bias", (3, (0, 1))),
}


def _no_hard_activation(state: Any) -> None:
    """activation 'hard_sigmoid' of a state cannot be scaled"""
    if state.get("activation") == "hard_sigmoid":
        raise refused(
            "activation='hard_sigmoid'",
            "its slope is another in Keras 3, and what enters the state cannot be scaled.",
            "Register the old function under this name, and load with it.",
        )


def _alpha(state: Any) -> None:
    """alpha → negative_slope"""
    if "alpha" in state:
        state["negative_slope"] = state.pop("alpha")


def _last(state: Any) -> None:
    """data_format: channels_last where it is not stated"""
    state["data_format"] = state.get("data_format") or "channels_last"


def _relu(state: Any) -> None:
    """negative_slope, threshold: 0 where they are not stated"""
    for name in ("negative_slope", "threshold"):
        value = state.get(name)
        state[name] = 0.0 if value is None else value


# Releases of Keras for several backends; those of tf.keras up to 2.3 end in "-tf".
_OF_SEVERAL_BACKENDS = regex(r"2\.[0-3]\.\d+")


def _bilinear(state: Any) -> None:
    """interpolation='bilinear' has its samples at the centers of pixels, except in Keras for several backends"""
    release = state.get("release")
    if state.get("interpolation") == "bilinear" and _OF_SEVERAL_BACKENDS.fullmatch(release or ""):
        raise refused(
            "interpolation='bilinear'",
            f"Keras {release} samples at the corners of pixels, Keras 3 at their centers.",
            "Write the layer with an operation of the backend, and fill it with persist.restore.",
        )


def _units_stated(state: Any) -> None:
    """units must be stated, which Keras 2.0 left out of the configurations of cells"""
    if "units" not in state:
        raise refused(
            "units",
            "the file does not state the options of the cell.",
            "Build the layer anew, and fill it with persist.restore.",
        )


_RNN_2 = [_UNROLLED, ops.drop("input_spec", "zero_output_for_mask", optional=True)]
_CELL = [by(_units_stated), ops.drop("implementation", optional=True)]
_BEFORE_ROLES: dict[str, list[ops.Op]] = {
    "LSTM": [by(_without_cudnn)],
    "GRU": [by(_without_cudnn), by(_reset_after)],
    "GRUCell": [by(_reset_after)],
}
# Separable and depthwise convolutions have kernels of their own names.
_OF_BASE_CLASS = ops.drop(
    "kernel_initializer", "kernel_regularizer", "kernel_constraint", optional=True
)
_HARD = SlopeOfHardSigmoid("activation", "kernel bias")
_OF_2: dict[str, list[ops.Op]] = {
    "Dense": [_HARD],
    "Conv1D": [_HARD], "Conv2D": [_HARD], "Conv3D": [_HARD],
    "Conv2DTranspose": [_HARD], "Conv3DTranspose": [_HARD], "Conv1DTranspose": [_HARD],
    **{f"DepthwiseConv{n}D": [_HARD, ops.drop("filters", optional=True), _OF_BASE_CLASS] for n in (1, 2)},
    **{f"SeparableConv{n}D": [SlopeOfHardSigmoid("activation", "pointwise_kernel bias"), _OF_BASE_CLASS] for n in (1, 2)},
    "LocallyConnected1D": [_HARD], "LocallyConnected2D": [_HARD],
    "SimpleRNN": [SlopeOfHardSigmoid("activation", "kernel recurrent_kernel bias"), *_RNN_2],
    "SimpleRNNCell": [SlopeOfHardSigmoid("activation", "kernel recurrent_kernel bias"), *_CELL],
    "LSTM": [by(_no_hard_activation), _RNN_HARD["LSTM"], *_RNN_2],
    "LSTMCell": [by(_no_hard_activation), _RNN_HARD["LSTM"], *_CELL],
    "ConvLSTM2D": [by(_no_hard_activation), _RNN_HARD["LSTM"], *_RNN_2],
    "GRU": [by(_no_hard_activation), _RNN_HARD["GRU"], *_RNN_2],
    "GRUCell": [by(_no_hard_activation), _RNN_HARD["GRU"], *_CELL],
    "RNN": _RNN_2,
    "MultiHeadAttention": [ops.drop("query_shape", "key_shape", "value_shape", optional=True)],
    "BatchNormalization": [
        by(_axis_of_list),
        Expect("renorm", (False, None), "Keras 3 has no batch renormalization."),
        Expect("virtual_batch_size", (None,), "Keras 3 has no virtual batches."),
        ops.drop("fused", "adjustment", "renorm_clipping", "renorm_momentum", optional=True),
    ],
    "LayerNormalization": [by(_axis_of_list)],
    "LeakyReLU": [by(_alpha)],
    "Embedding": [ops.drop("input_length", "sparse", optional=True)],
    "ActivityRegularization": [],
    "Flatten": [by(_last)],
    "ReLU": [by(_relu)],
    "UpSampling2D": [by(_bilinear)],
}  # fmt: skip
_COMPOSED = {
    "Conv1D": _composed.padded,
    "Conv2D": _composed.padded,
    "Conv3D": _composed.padded,
    "Activation": _composed.activation,
    "LocallyConnected1D": _composed.locally_connected,
    "LocallyConnected2D": _composed.locally_connected,
    "ThresholdedReLU": _composed.thresholded,
    "Bidirectional": _composed.bidirectional,
}
for _kind in [f"{one}Pooling{n}D" for one in ("Max", "Average") for n in (1, 2, 3)]:
    _OF_2[_kind] = [by(_same_windows)]
for _kind in ("Conv2DTranspose", "Conv3DTranspose"):
    _OF_2[_kind] = [by(_same_transposed), *_OF_2[_kind]]
for _kind in ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose"):
    _OF_2[_kind] = [Rotate("kernel", int(_kind[4])), *_OF_2[_kind]]
_OF_2["ConvLSTM2D"] = [Rotate("kernel recurrent_kernel", 2), *_OF_2["ConvLSTM2D"]]


# Layers that are gone, and what they are composed of.


def _register_old(pack: Registry) -> None:
    _register(pack, "InputLayer", [], [by(_policy), by(_batch_shape), Known(["batch_shape", "sparse", "ragged", "optional"])])  # fmt: skip
    for kind, make in (
        ("Highway", _composed.highway),
        ("MaxoutDense", _composed.maxout),
        ("TimeDistributedDense", _composed.time_distributed_dense),
    ):
        pack.register(f"keras.layers.{kind}", version=NOW)
        pack.migration(f"keras.layers.{kind}", 1, *_zeroth_steps(kind))
        pack.migration(
            f"keras.layers.{kind}",
            2,
            by(_kernels_first),
            Roles(ROLES_OF_1[kind]),
            _renamed(*_LEARNED, output_dim="units"),
            _objects("kernel", "bias"),
            Objects("activity_regularizer"),
        )
        pack.migration(f"keras.layers.{kind}", 3, by(make))
    for kind in ("TensorFlowOpLayer", "TFOpLambda"):
        pack.register(f"keras.layers.{kind}", version=NOW)
        for version in (1, 2):
            pack.migration(f"keras.layers.{kind}", version, by(_unchanged))
        pack.migration(f"keras.layers.{kind}", 3, by(_composed.operation))
    pack.register("keras.layers.Merge", version=NOW)
    pack.migration("keras.layers.Merge", 1, ops.drop("cache_enabled", optional=True), by(_composed.dot_of_0))  # fmt: skip
    pack.migration("keras.layers.Merge", 2, by(_unchanged))
    pack.migration("keras.layers.Merge", 3, by(_composed.merge))


def _kernels_first(state: Any) -> None:
    """kernels before biases, whose order differs between releases"""
    if isinstance(state.get("weights"), list):
        state["weights"] = sorted(state["weights"], key=lambda one: one.ndim < 2)


def _batch_shape(state: Any) -> None:
    """batch_input_shape, input_dtype → batch_shape, dtype"""
    shape = state.pop("batch_input_shape", None)
    if shape is not None:
        state["batch_shape"] = shape
    if "input_dtype" in state:
        state["dtype"] = state.pop("input_dtype")
    for flag in ("sparse", "ragged"):
        if flag in state:
            state[flag] = bool(state[flag])

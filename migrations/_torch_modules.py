"""What whole modules of older torch lack: attributes that later releases of their class read.

Torch's own ``__setstate__`` gives some of them (``padding_mode``, ``proj_size``, the dicts of hooks); these here it
does not give, or gives with another meaning than the release had. Each class has version 2 here: a state with all
its attributes; the step from 1 adds those that are not there, so that a module computes what it did in the release
that wrote it. `persist._objects.build` asks for the steps of every base of a class that it makes.

Evidence: ``__init__``, ``forward`` and ``__setstate__`` of ``torch/nn/modules/*.py`` of 1.1.0, 1.7.1 and 2.13.0 compared, and
torch's issues on loading older modules; the releases in the comments are those that brought the attribute. Whole
modules of 1.0 to 2.0 give the same outputs in 2.13 (``tests/foundry/torch``, ``tests/interop/test_torch_revived.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from persist.registry import Registry
from persist.typing import State

__all__ = ["teach"]

Values = dict[str, Any]  # attribute -> its value, or a function of the state


# Values that depend on the rest.


def _held(state: State) -> list[str]:
    return list(state.get("_parameters") or ())


def _reduction(state: State) -> str:
    """Of ``size_average`` and ``reduce``: ``torch/nn/_reduction.py``, ``legacy_get_string``."""
    average, reduce = state.get("size_average"), state.get("reduce")
    if reduce is False:
        return "none"
    return "sum" if average is False else "mean"


def _is_before_1_6(state: State) -> bool:
    """Non-persistent buffers came with 1.6."""
    return "_non_persistent_buffers_set" not in state


def _recompute(state: State) -> bool | None:
    """Until 1.5 the scale was computed anew from the size of the output; since then it is taken as it is.

    Where the size itself is stated there is no scale, and today's class refuses the option.
    """
    return True if _is_before_1_6(state) and state.get("size") is None else None


def _align_corners(state: State) -> bool | None:
    """Before 0.4 corners were aligned, where that has a meaning."""
    return True if state.get("mode") in ("linear", "bilinear", "trilinear") else None


def _flat_names(state: State) -> list[str]:
    names: list[str] = []
    for layer in state.get("_all_weights") or state.get("all_weights") or ():
        names += [name for name in layer if isinstance(name, str)]
    return names


def _flat_weights(state: State) -> list[object]:
    parameters = state.get("_parameters") or {}
    return [parameters.get(name) for name in state.get("_flat_weights_names") or ()]


def _tracks(state: State) -> bool:
    """Batch norm always did; instance norm of before 0.4 where ``use_running_stats`` says so."""
    return bool(state.get("use_running_stats", "running_mean" in (state.get("_buffers") or {})))


def _size(name: str) -> Callable[[State], object]:
    return lambda state: state.get(name)


# Class -> attribute -> value.

_LOSS: Values = {"reduction": _reduction}  # 0.4.1
_UPSAMPLE: Values = {  # 0.4, 1.5
    "align_corners": _align_corners,
    "recompute_scale_factor": _recompute,
}
_RNN: Values = {  # 1.4; 1.8
    "_flat_weights_names": _flat_names,
    "_flat_weights": _flat_weights,
    "proj_size": 0,
}
_NORM: Values = {"track_running_stats": _tracks}  # 0.4
_LACKING: dict[str, Values] = {
    "activation.GELU": {"approximate": "none"},  # 1.12
    "activation.Hardsigmoid": {"inplace": False},  # 1.7
    "activation.Hardswish": {"inplace": False},
    "activation.MultiheadAttention": {  # 1.2; 1.9
        "kdim": _size("embed_dim"),
        "vdim": _size("embed_dim"),
        "_qkv_same_embed_dim": True,
        "batch_first": False,
    },
    "pooling.AvgPool2d": {"divisor_override": None},  # 1.2
    "pooling.AvgPool3d": {"divisor_override": None},
    "sparse.EmbeddingBag": {"include_last_offset": False, "padding_idx": None},  # 1.5; 1.9
    "transformer.TransformerEncoder": {  # 1.12; 2.0
        "enable_nested_tensor": False,
        "use_nested_tensor": False,
        "mask_check": True,
    },
    "transformer.TransformerEncoderLayer": {"norm_first": False},  # 1.11
    "transformer.TransformerDecoderLayer": {"norm_first": False},
    "transformer.Transformer": {"batch_first": False},  # 1.9
    "container.ParameterList": {"_size": lambda state: len(_held(state))},  # 1.12
    "container.ParameterDict": {"_keys": lambda state: dict.fromkeys(_held(state))},
    **{f"rnn.{name}": _RNN for name in ("RNN", "LSTM", "GRU")},
    **{f"upsampling.{name}": _UPSAMPLE
       for name in ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")},
    **{f"batchnorm.BatchNorm{count}d": _NORM for count in (1, 2, 3)},
    **{f"instancenorm.InstanceNorm{count}d": _NORM for count in (1, 2, 3)},
    **{f"loss.{name}": _LOSS
       for name in (
           "L1Loss", "MSELoss", "BCELoss", "SoftMarginLoss", "HingeEmbeddingLoss", "MultiLabelMarginLoss",
           "MultiLabelSoftMarginLoss", "CosineEmbeddingLoss", "MarginRankingLoss", "MultiMarginLoss",
           "TripletMarginLoss", "NLLLoss2d",
       )},
    "loss.NLLLoss": {**_LOSS, "ignore_index": -100},  # 0.3
    "loss.PoissonNLLLoss": {**_LOSS, "eps": 1e-8},
    "loss.CrossEntropyLoss": {**_LOSS, "ignore_index": -100, "label_smoothing": 0.0},  # 1.10
    "loss.SmoothL1Loss": {**_LOSS, "beta": 1.0},  # 1.7
    "loss.KLDivLoss": {**_LOSS, "log_target": False},  # 1.6
    "loss.BCEWithLogitsLoss": _LOSS,
    "loss.CTCLoss": {**_LOSS, "zero_infinity": False},  # 1.1
    **{f"conv.{name}{count}d": {} for name in ("Conv", "ConvTranspose") for count in (1, 2, 3)},
}  # fmt: skip
# Modules of torch.nn.modules -> the classes of modules in them, of 2.13. They are made with `__new__` and their own
# `__setstate__`; the others are hooks that modules hold.
_CLASSES = {
    "activation": (
        "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid "
        "LogSoftmax Mish MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax "
        "Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold"
    ),
    "adaptive": "AdaptiveLogSoftmaxWithLoss",
    "batchnorm": (
        "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d "
        "SyncBatchNorm _BatchNorm _LazyNormBase _NormBase"
    ),
    "channelshuffle": "ChannelShuffle",
    "container": "Container ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": (
        "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d "
        "LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d "
        "_ConvNd _ConvTransposeMixin _ConvTransposeNd"
    ),
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout _DropoutNd",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": (
        "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d "
        "LazyInstanceNorm3d _InstanceNorm"
    ),
    "linear": "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear",
    "loss": (
        "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss "
        "HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss LinearCrossEntropyLoss MSELoss "
        "MarginRankingLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss "
        "NLLLoss NLLLoss2d PoissonNLLLoss SmoothL1Loss SoftMarginLoss TripletMarginLoss "
        "TripletMarginWithDistanceLoss _Loss _WeightedLoss"
    ),
    "module": "Module",
    "normalization": "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": (
        "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d "
        "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
        "ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d _CircularPadNd _ConstantPadNd "
        "_ReflectionPadNd _ReplicationPadNd"
    ),
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": (
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d "
        "AdaptiveMaxPool2d AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d "
        "FractionalMaxPool3d LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d MaxPool3d "
        "MaxUnpool1d MaxUnpool2d MaxUnpool3d _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd _AvgPoolNd "
        "_LPPoolNd _MaxPoolNd _MaxUnpoolNd"
    ),
    "rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "sparse": "Embedding EmbeddingBag",
    "transformer": (
        "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder "
        "TransformerEncoderLayer"
    ),
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}
_HOOKS = (
    "torch.nn.modules.module._WrappedHook",  # 2.0
    "torch.nn.utils.weight_norm.WeightNorm",
    *(
        f"torch.nn.utils.spectral_norm.SpectralNorm{part}"
        for part in ("", "LoadStateDictPreHook", "StateDictHook")
    ),
    *(
        f"torch.nn.utils.prune.{name}"
        for name in (
            "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer",
            "RandomStructured", "RandomUnstructured",
        )
    ),
)  # fmt: skip
_PARALLEL = "torch.nn.parallel.data_parallel.DataParallel"
_BUFFERS = {
    "loss.BCEWithLogitsLoss": ("weight", "pos_weight"),
    "loss.CrossEntropyLoss": ("weight",),
}  # 1.0
_RENAMED = {"elementwise_mean": "mean"}  # reduction: 0.4.1 -> 1.0
_ACTIVATIONS = {"relu": 1, "gelu": 2}  # `activation_relu_or_gelu`, 1.12


def _completed(cls: str, state: object) -> object:
    """Add what a state of a class lacks."""
    if not isinstance(state, dict):
        return state
    for name, value in _LACKING[cls].items():
        if name not in state:
            state[name] = value(state) if callable(value) else value
    state["reduction"] = _RENAMED.get(state.get("reduction", ""), state.get("reduction"))
    if "reduction" not in _LACKING[cls]:
        del state["reduction"]
    if _BUFFERS.get(cls):
        lacking = {name: None for name in _BUFFERS[cls] if not _has(state, name)}
        state["_buffers"] = {**(state.get("_buffers") or {}), **lacking}
    if cls.startswith("conv."):
        _pad(state)
    if cls == "transformer.TransformerEncoderLayer" and "activation_relu_or_gelu" not in state:
        function = getattr(state.get("activation"), "name", "relu")
        state["activation_relu_or_gelu"] = _ACTIVATIONS.get(function, 0)
    return state


def _has(state: State, name: str) -> bool:
    return any(
        name in (held or {}) for held in (state, state.get("_buffers"), state.get("_parameters"))
    )


def _pad(state: State) -> None:
    """Add the padding that is not of zeros, as the release had it.

    Before 1.5 only "circular" was known; half of the padding went to each side, and none where the half after the axis
    was 0 (pytorch issues 20981 and 24504). 1.5.0 padded the whole, and took the axes in the order of ``padding`` (issue
    37844); later releases take them in that of ``torch.nn.functional.pad``, the last axis first.
    """
    name = "_reversed_padding_repeated_twice"
    mode = state.get("padding_mode", "zeros")
    if name in state or not isinstance(state.get("padding"), tuple):
        return
    twice = state.get("_padding_repeated_twice")  # 1.5.0
    if twice is not None:
        state[name] = list(twice)
    elif mode == "circular" and _is_before_1_6(state):
        sizes = reversed(state["padding"])
        halves = [((size + 1) // 2 if size > 1 else 0, size // 2) for size in sizes]
        state[name] = [part for pair in halves for part in pair]
    else:
        state[name] = [size for size in reversed(state["padding"]) for _ in range(2)]
        if _is_before_1_6(state):
            state["padding_mode"] = "zeros"  # any other text had no effect


def _is_complete(cls: str, state: object) -> bool:
    if not isinstance(state, dict):
        return True
    lacks = [name for name in _LACKING[cls] if name not in state]
    lacks += [name for name in _BUFFERS.get(cls, ()) if not _has(state, name)]
    if cls.startswith("conv.") and "_reversed_padding_repeated_twice" not in state:
        lacks.append("padding")
    if cls == "transformer.TransformerEncoderLayer" and "activation_relu_or_gelu" not in state:
        lacks.append("activation_relu_or_gelu")
    return not lacks and state.get("reduction") not in _RENAMED


def teach(pack: Registry, classes: Iterable[str] = tuple(_LACKING)) -> None:
    """Register the steps of torch's own classes of modules in a pack."""
    for name in classes:
        _teach_one(pack, name)
    names = [
        f"torch.nn.modules.{place}.{one}" for place, own in _CLASSES.items() for one in own.split()
    ]
    pack.importable(*names, *_HOOKS, _PARALLEL, library="torch")
    _teach_parallel(pack)
    # Of 1.2 to 1.8; a class of its own for quantization, with the behaviour of Linear.
    pack.alias(
        "torch.nn.modules.linear._LinearWithBias",
        "torch.nn.modules.linear.NonDynamicallyQuantizableLinear",
        since="1.9",
        evidence="torch/nn/modules/linear.py",
    )


def _teach_one(pack: Registry, name: str) -> None:
    qualname = f"torch.nn.modules.{name}"
    pack.register(qualname, version=2)

    @pack.stamp(qualname)
    def version(state: object) -> int:
        return 2 if _is_complete(name, state) else 1

    @pack.migration(qualname, 1)
    def complete(state: object) -> object:
        return _completed(name, state)


def _teach_parallel(pack: Registry) -> None:
    """A module on several devices: its parameters come into the memory of the host, where it calls the module inside."""
    pack.register(_PARALLEL, version=2)

    @pack.stamp(_PARALLEL)
    def version(state: object) -> int:
        return 1 if isinstance(state, dict) and state.get("device_ids") else 2

    @pack.migration(_PARALLEL, 1)
    def on_the_host(state: Any) -> object:
        return {**state, "device_ids": []}

"""Whole modules of each kind by a genuine release of torch, with inputs and what they gave for them.

    python make.py OUT.tar.xz [WORD...]

It needs torch and NumPy alone, of Python 2.7 or newer; words choose the cases whose names hold one of
them. The archive has ``<case>.pt``, a pickled module, and ``<case>.npz``: the inputs ``x0``, ``x1``, ...,
the outputs ``y0``, ... and the ``state_dict`` of the module as ``s.<name>``. A layer that the release
lacks, or that fails in it, is left out; ``cases.json`` says why.
"""
from __future__ import print_function

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(1)
R = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
X1, X2, X3 = torch.randn(2, 4, 9), torch.randn(2, 4, 7, 6), torch.randn(2, 2, 4, 5, 4)
ROW, RUN = torch.randn(3, 4), torch.randn(5, 2, 4)
LABELS = torch.tensor([0, 3, 1])
CASES = OrderedDict()


def case(name, make, *inputs, **options):
    """A case: its module is made later. ``train`` leaves it in training mode; ``before`` calls it once in it."""
    assert name not in CASES, name
    CASES[name] = (make, inputs, options)


# Linear and convolutional layers.
case("linear", lambda: nn.Linear(4, 3), ROW)
case("linear-no-bias", lambda: nn.Linear(4, 3, bias=False), RUN)
case("bilinear", lambda: nn.Bilinear(4, 4, 3), ROW, ROW * 2)
case("identity", lambda: nn.Identity(), ROW)
case("flatten", lambda: nn.Flatten(), X2)
case("unflatten", lambda: nn.Unflatten(1, (2, 2)), ROW)
case("linear-float64", lambda: nn.Linear(4, 3).double(), ROW.double())
case("linear-frozen", lambda: frozen(nn.Linear(4, 3)), ROW)
for size, x in ((1, X1), (2, X2), (3, X3)):
    kind, turned, c = getattr(nn, "Conv%dd" % size), getattr(nn, "ConvTranspose%dd" % size), x.shape[1]
    case("conv%dd" % size, lambda kind=kind, c=c: kind(c, 3, 3), x)
    case("conv%dd-strided" % size, lambda kind=kind, c=c: kind(c, 4, 2, stride=2, padding=1, groups=2, bias=False), x)
    case("conv%dd-dilated" % size, lambda kind=kind, c=c: kind(c, 2, 2, dilation=2, padding=2), x)
    case("conv%dd-transposed" % size, lambda kind=turned, c=c: kind(c, 2, 3, stride=2, output_padding=1), x)
    for mode in ("zeros", "circular", "reflect", "replicate"):
        case("conv%dd-padding-%s" % (size, mode),
             lambda kind=kind, c=c, mode=mode: kind(c, 2, 3, padding=2, padding_mode=mode), x)
    case("conv%dd-same" % size, lambda kind=kind, c=c: kind(c, 2, 3, padding="same"), x)
    for name, more in (("max", {"stride": 1}), ("max", {"padding": 1, "ceil_mode": True}), ("avg", {}),
                       ("avg", {"padding": 1, "ceil_mode": True, "count_include_pad": False})):
        case("%s-pool%dd-%s" % (name, size, "-".join(sorted(more)) or "plain"),
             lambda name=name, more=more, size=size: getattr(nn, "%sPool%dd" % (name.title(), size))(2, **more), x)
    case("max-pool%dd-indices" % size, lambda size=size: getattr(nn, "MaxPool%dd" % size)(2, return_indices=True), x)
    for name in ("AdaptiveMaxPool", "AdaptiveAvgPool"):
        case("%s%dd" % (name.lower(), size), lambda name=name, size=size: getattr(nn, "%s%dd" % (name, size))(3), x)
    for name in ("ConstantPad", "ReflectionPad", "ReplicationPad", "ZeroPad", "CircularPad"):
        more = (0.5,) if name == "ConstantPad" else ()
        case("%s%dd" % (name.lower(), size),
             lambda name=name, more=more, size=size: getattr(nn, "%s%dd" % (name, size))(1, *more), x)
    case("batch-norm%dd" % size, lambda c=c, size=size: getattr(nn, "BatchNorm%dd" % size)(c), x, before=True)
    case("batch-norm%dd-bare" % size, lambda c=c, size=size: getattr(nn, "BatchNorm%dd" % size)(
        c, eps=0.1, affine=False, track_running_stats=False), x)
    case("batch-norm%dd-training" % size, lambda c=c, size=size: getattr(nn, "BatchNorm%dd" % size)(
        c, momentum=None), x, train=True)
    case("instance-norm%dd" % size, lambda c=c, size=size: getattr(nn, "InstanceNorm%dd" % size)(c), x)
    case("instance-norm%dd-stats" % size, lambda c=c, size=size: getattr(nn, "InstanceNorm%dd" % size)(
        c, affine=True, track_running_stats=True), x, before=True)
    case("lazy-conv%dd" % size, lambda size=size: getattr(nn, "LazyConv%dd" % size)(2, 3), x, before=True)
case("lazy-linear", lambda: nn.LazyLinear(3), ROW, before=True)
case("lazy-batch-norm", lambda: nn.LazyBatchNorm1d(), ROW, before=True)
case("conv2d-both", lambda: nn.Conv2d(4, 2, 3, padding=(2, 1), padding_mode="circular", stride=(1, 2)), X2)
case("max-pool2d-module", lambda: nn.Sequential(nn.MaxPool2d((2, 3), (1, 2), (1, 0))), X2)
case("lp-pool1d", lambda: nn.LPPool1d(2, 3, stride=2), X1)
case("lp-pool2d", lambda: nn.LPPool2d(1.5, (2, 3)), X2.abs())
case("fold", lambda: nn.Fold((4, 5), (2, 3)), torch.randn(2, 12, 9))
case("unfold", lambda: nn.Unfold((2, 3), padding=1), X2)
case("pixel-shuffle", lambda: nn.PixelShuffle(2), X2)
case("pixel-unshuffle", lambda: nn.PixelUnshuffle(2), X2[:, :, :6])
case("channel-shuffle", lambda: nn.ChannelShuffle(2), X2)
for mode in ("nearest", "bilinear", "bicubic", "nearest-exact"):
    for name, more in (("scale", {"scale_factor": 1.7}), ("size", {"size": (9, 5)})):
        case("upsample-%s-%s" % (mode, name), lambda mode=mode, more=more: nn.Upsample(mode=mode, **more), X2)
case("upsample-corners", lambda: nn.Upsample(scale_factor=2.3, mode="bilinear", align_corners=True), X2)
case("upsample-recomputed", lambda: nn.Upsample(scale_factor=2.3, mode="bilinear", recompute_scale_factor=True), X2)
case("upsample-linear", lambda: nn.Upsample(scale_factor=1.9, mode="linear"), X1)
case("upsample-trilinear", lambda: nn.Upsample(scale_factor=1.5, mode="trilinear"), X3)
case("upsampling-nearest", lambda: nn.UpsamplingNearest2d(scale_factor=2), X2)
case("upsampling-bilinear", lambda: nn.UpsamplingBilinear2d(size=(8, 9)), X2)

# Norms.
case("layer-norm", lambda: filled(nn.LayerNorm([2, 4])), RUN)
case("layer-norm-bare", lambda: nn.LayerNorm(4, eps=0.1, elementwise_affine=False), RUN)
case("group-norm", lambda: filled(nn.GroupNorm(2, 4)), X2)
case("rms-norm", lambda: filled(nn.RMSNorm(4)), RUN)
case("local-response-norm", lambda: nn.LocalResponseNorm(3, alpha=0.1), X2)
case("cross-map-lrn", lambda: nn.CrossMapLRN2d(3, alpha=0.1), X2)
case("sync-batch-norm", lambda: nn.SyncBatchNorm(4), X2)

# Activations.
for name, more in (
    ("ReLU", {}), ("ReLU6", {}), ("ELU", {"alpha": 0.7}), ("SELU", {}), ("CELU", {"alpha": 1.3}), ("GELU", {}),
    ("LeakyReLU", {"negative_slope": 0.2}), ("RReLU", {}), ("Sigmoid", {}), ("LogSigmoid", {}), ("Tanh", {}),
    ("Tanhshrink", {}), ("Softsign", {}), ("Softplus", {"beta": 2}), ("Softshrink", {"lambd": 0.3}),
    ("Hardshrink", {}), ("Hardtanh", {"min_val": -0.4, "max_val": 0.6}), ("Threshold", {"threshold": 0.2, "value": 9}),
    ("Softmin", {"dim": 1}), ("Softmax", {"dim": 1}), ("Softmax2d", {}), ("LogSoftmax", {"dim": 1}), ("GLU", {"dim": 1}),
    ("Hardswish", {}), ("Hardsigmoid", {}), ("SiLU", {}), ("Mish", {}),
):
    case(name.lower(), lambda name=name, more=more: getattr(nn, name)(**more), X2)
case("gelu-tanh", lambda: nn.GELU(approximate="tanh"), X2)
case("relu-inplace", lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.LeakyReLU(inplace=True)), ROW)
case("prelu", lambda: nn.PReLU(4, init=0.3), X2)
case("softmax-implicit", lambda: nn.Softmax(), ROW)
for name in ("Dropout", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"):
    case(name.lower(), lambda name=name: getattr(nn, name)(0.3), X3)

# Recurrent layers, attention, embeddings.
for name in ("RNN", "LSTM", "GRU"):
    for word, more in (("plain", {}), ("deep", {"num_layers": 2, "bidirectional": True, "dropout": 0.2}),
                       ("batch-first", {"batch_first": True}), ("no-bias", {"bias": False})):
        case("%s-%s" % (name.lower(), word), lambda name=name, more=more: getattr(nn, name)(4, 3, **more), RUN)
    case("%s-cell" % name.lower(), lambda name=name: getattr(nn, name + "Cell")(4, 3), ROW)
case("rnn-relu", lambda: nn.RNN(4, 3, nonlinearity="relu"), RUN)
case("lstm-projected", lambda: nn.LSTM(4, 3, proj_size=2), RUN)
case("attention", lambda: nn.MultiheadAttention(4, 2), RUN, RUN * 2, RUN * 3)
case("attention-key-value", lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5), RUN, torch.randn(6, 2, 3), torch.randn(6, 2, 5))
case("attention-extra", lambda: nn.MultiheadAttention(4, 2, bias=False, add_bias_kv=True, add_zero_attn=True), RUN, RUN, RUN)
case("attention-batch-first", lambda: nn.MultiheadAttention(4, 2, batch_first=True), RUN, RUN, RUN)
for function in ("relu", "gelu"):
    case("encoder-layer-%s" % function, lambda function=function: nn.TransformerEncoderLayer(4, 2, 8, activation=function), RUN)
    case("decoder-layer-%s" % function, lambda function=function: nn.TransformerDecoderLayer(4, 2, 8, activation=function), RUN, RUN)
case("encoder-layer-first", lambda: nn.TransformerEncoderLayer(4, 2, 8, norm_first=True, batch_first=True), RUN)
case("encoder", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2, nn.LayerNorm(4)), RUN)
case("decoder", lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2), RUN, RUN)
case("transformer", lambda: nn.Transformer(4, 2, 1, 1, 8), RUN, RUN)
case("embedding", lambda: nn.Embedding(4, 3), LABELS)
case("embedding-padded", lambda: nn.Embedding(4, 3, padding_idx=0), LABELS)
case("embedding-norm", lambda: nn.Embedding(4, 3, max_norm=1.0), LABELS)
for mode in ("mean", "sum", "max"):
    case("embedding-bag-%s" % mode, lambda mode=mode: nn.EmbeddingBag(4, 3, mode=mode), LABELS, torch.tensor([0, 2]))
case("embedding-bag-rows", lambda: nn.EmbeddingBag(4, 3), torch.tensor([[0, 1], [2, 3]]))
case("embedding-bag-last", lambda: nn.EmbeddingBag(4, 3, include_last_offset=True), LABELS, torch.tensor([0, 2, 3]))
case("adaptive-log-softmax", lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2, 4], div_value=2.0), ROW, LABELS)
case("cosine-similarity", lambda: nn.CosineSimilarity(dim=1), ROW, ROW * ROW)
case("pairwise-distance", lambda: nn.PairwiseDistance(p=1.5, keepdim=True), ROW, ROW * ROW)

# Losses.
LOG = F.log_softmax(ROW, 1)
SIGNS = torch.tensor([1.0, -1.0, 1.0])
for word, more in (("mean", {}), ("sum", {"reduction": "sum"}), ("none", {"reduction": "none"}),
                   ("old-sum", {"size_average": False}), ("old-none", {"reduce": False})):
    for name, given in (
        ("L1Loss", (ROW, ROW * 2)), ("MSELoss", (ROW, ROW * 2)), ("SmoothL1Loss", (ROW, ROW * 3)),
        ("NLLLoss", (LOG, LABELS)), ("CrossEntropyLoss", (ROW, LABELS)), ("KLDivLoss", (LOG, F.softmax(ROW * 2, 1))),
        ("BCEWithLogitsLoss", (ROW, ROW.sigmoid())), ("SoftMarginLoss", (ROW, ROW.sign())),
    ):
        case("%s-%s" % (name.lower(), word), lambda name=name, more=more: getattr(nn, name)(**more), *given)
for name, more, given in (
    ("NLLLoss", {"weight": torch.arange(1.0, 5.0), "ignore_index": 3}, (LOG, LABELS)),
    ("CrossEntropyLoss", {"weight": torch.arange(1.0, 5.0)}, (ROW, LABELS)),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, (ROW, LABELS)),
    ("BCELoss", {"weight": torch.arange(1.0, 5.0)}, (ROW.sigmoid(), ROW.abs().tanh())),
    ("BCEWithLogitsLoss", {"weight": torch.arange(1.0, 5.0), "pos_weight": torch.arange(4.0, 0.0, -1.0)}, (ROW, ROW.sigmoid())),
    ("KLDivLoss", {"log_target": True, "reduction": "batchmean"}, (LOG, LOG * 2)),
    ("SmoothL1Loss", {"beta": 0.5}, (ROW, ROW * 3)), ("HuberLoss", {"delta": 0.5}, (ROW, ROW * 3)),
    ("PoissonNLLLoss", {"full": True}, (ROW, ROW.abs())), ("GaussianNLLLoss", {}, (ROW, ROW * 2, ROW.abs())),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (ROW, ROW * ROW, SIGNS)),
    ("HingeEmbeddingLoss", {"margin": 0.7}, (ROW, ROW.sign())),
    ("MarginRankingLoss", {"margin": 0.2}, (ROW[:, 0], ROW[:, 1], SIGNS)),
    ("MultiLabelMarginLoss", {}, (ROW, torch.tensor([[0, -1, 1, 2], [3, 1, -1, 0], [2, -1, 0, 1]]))),
    ("MultiLabelSoftMarginLoss", {"weight": torch.arange(1.0, 5.0)}, (ROW, ROW.sign().abs())),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5}, (ROW, LABELS)),
    ("TripletMarginLoss", {"margin": 0.5, "swap": True}, (ROW, ROW * 2, ROW.flip(0))),
    ("TripletMarginWithDistanceLoss", {"distance_function": nn.PairwiseDistance()}, (ROW, ROW * 2, ROW.flip(0))),
    ("CTCLoss", {}, (F.log_softmax(RUN, 2), torch.tensor([[1, 2], [2, 3]]), torch.tensor([5, 5]), torch.tensor([2, 2]))),
):
    case("%s-%s" % (name.lower(), "-".join(sorted(more)) or "plain"),
         lambda name=name, more=more: getattr(nn, name)(**more), *given)

# Containers, hooks, and modules of these.
case("sequential", lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)), ROW)
case("sequential-named", lambda: nn.Sequential(OrderedDict([("a", nn.Linear(4, 4)), ("b", nn.Tanh())])), ROW)
case("sequential-shared", lambda: shared(), ROW)
case("module-list", lambda: nn.ModuleList([nn.Linear(4, 2), nn.Tanh()]))
case("module-dict", lambda: nn.ModuleDict(OrderedDict([("left", nn.Linear(4, 2)), ("right", nn.Tanh())])))
case("parameter-list", lambda: nn.ParameterList([nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(1))]))
case("parameter-dict", lambda: nn.ParameterDict(OrderedDict([("left", nn.Parameter(torch.ones(2)))])))
case("weight-norm", lambda: nn.utils.weight_norm(nn.Linear(4, 3)), ROW)
case("spectral-norm", lambda: nn.utils.spectral_norm(nn.Linear(4, 3)), ROW)
case("pruned", lambda: pruned(nn.Linear(4, 3)), ROW)
case("data-parallel", lambda: nn.DataParallel(nn.Sequential(nn.Linear(4, 3), nn.ReLU())), ROW)
case("extra-buffer", lambda: buffered(nn.Sequential(nn.Linear(4, 3))), ROW)
case("cnn", lambda: nn.Sequential(
    nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1),
    nn.Conv2d(3, 2, 1), nn.Softmax(dim=1)), X2, before=True)
case("autoencoder", lambda: nn.Sequential(
    nn.Sequential(nn.Conv1d(4, 3, 3, stride=2, padding=1), nn.ELU()),
    nn.Sequential(nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1), nn.Sigmoid())), X1)


def frozen(module):
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def filled(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return module


def shared():
    one = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.weight = one.weight
    return nn.Sequential(one, nn.Tanh(), one, other)


def pruned(module):
    import torch.nn.utils.prune

    nn.utils.prune.l1_unstructured(module, "weight", amount=0.4)
    return module


def buffered(module):
    module.register_buffer("scale", torch.arange(3.0))
    if R >= (1, 6):
        module.register_buffer("cache", torch.ones(2), persistent=False)
    return module


def tensors(value):
    if torch.is_tensor(value):
        return [value]
    return [part for item in value for part in tensors(item)] if isinstance(value, (tuple, list)) else []


def write(folder, name, make, inputs, options):
    torch.manual_seed(len(name))
    module = make()
    if options.get("before"):
        module(*inputs)  # running statistics, and the shapes of lazy layers
    module.train(bool(options.get("train")))
    path = os.path.join(folder, name)
    torch.save(module, path + ".pt")
    with torch.no_grad():
        outputs = tensors(module(*[x.clone() for x in inputs])) if inputs else []
    assert all(torch.isfinite(one.double()).all() for one in outputs)
    arrays = dict(("x%d" % i, one.numpy()) for i, one in enumerate(inputs))
    arrays.update(("y%d" % i, one.contiguous().numpy()) for i, one in enumerate(outputs))
    again = torch.load(path + ".pt") if R < (2, 6) else torch.load(path + ".pt", weights_only=False)
    arrays.update(("s." + key, value.detach().numpy()) for key, value in again.state_dict().items() if torch.is_tensor(value))
    np.savez(path + ".npz", **arrays)


def main(target):
    folder = tempfile.mkdtemp()
    notes = {"torch": torch.__version__, "python": platform.python_version(), "left out": {}}
    for name, (make, inputs, options) in CASES.items():
        if sys.argv[2:] and not any(word in name for word in sys.argv[2:]):
            continue
        try:
            write(folder, name, make, inputs, options)
        except Exception as error:
            for suffix in (".pt", ".npz"):
                if os.path.exists(os.path.join(folder, name + suffix)):
                    os.remove(os.path.join(folder, name + suffix))
            notes["left out"][name] = "%s: %s" % (type(error).__name__, str(error)[:150])
            print(name, notes["left out"][name])
    with open(os.path.join(folder, "cases.json"), "w") as out:
        json.dump(notes, out, indent=1, sort_keys=True)
    plain = target[: -len(".xz")]
    with tarfile.open(plain, "w") as archive:
        for name in sorted(os.listdir(folder), key=lambda one: (one.rpartition(".")[2], one)):
            member = tarfile.TarInfo(name)
            with open(os.path.join(folder, name), "rb") as data:
                content = data.read()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    subprocess.check_call(["xz", "-9e", "--force", plain])
    shutil.rmtree(folder)
    print(target, os.path.getsize(target), len(CASES) - len(notes["left out"]))


if __name__ == "__main__":
    main(sys.argv[1])

"""Write whole modules of torch's own classes, with inputs and the outputs of the release that runs this.

The first argument is the folder of a case; it needs torch and NumPy alone (`pip install --no-deps torch==1.1.0`).
Every class is there that a later release gave an attribute which its pickles lack.
"""

import hashlib
import json
import os
import platform
import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)
release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
x = torch.randn(2, 4, 6, 6)
row = torch.randn(3, 4)
run = torch.randn(5, 2, 4)
labels = torch.tensor([0, 3, 1])

zoo = {
    "linear": (nn.Linear(4, 3), row),
    "convolution": (nn.Conv2d(4, 2, 3, padding=1), x),
    "circular": (nn.Conv2d(4, 2, 3, padding=(2, 1), padding_mode="circular"), x),
    "circular_row": (nn.Conv1d(4, 2, 3, padding=2, padding_mode="circular"), x[:, :, 0]),
    "transposed": (nn.ConvTranspose2d(4, 2, 3, output_padding=1, stride=2), x),
    "norm": (nn.BatchNorm2d(4), x),
    "instance": (nn.InstanceNorm2d(4, affine=True), x),
    "pool": (nn.AvgPool2d(2, padding=1, count_include_pad=False), x),
    "pool_3d": (nn.AvgPool3d(2), x[:, None]),
    "max_pool": (nn.MaxPool2d(3, stride=1), x),
    "nearest": (nn.Upsample(scale_factor=1.7), x),
    "bilinear": (nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=False), x),
    "lstm": (nn.LSTM(4, 3, num_layers=2, bidirectional=True), run),
    "gru": (nn.GRU(4, 3), run),
    "rnn": (nn.RNN(4, 3, nonlinearity="relu", bias=False), run),
    "cell": (nn.GRUCell(4, 3), row),
    "bag": (nn.EmbeddingBag(4, 3), torch.tensor([[0, 1], [2, 3]])),
    "table": (nn.Embedding(4, 3, padding_idx=0), labels),
    "softmax": (nn.Softmax(dim=1), row),
    "prelu": (nn.PReLU(4), row),
    "relu6": (nn.ReLU6(), row),
    "list": (nn.ModuleList([nn.Linear(4, 2), nn.Tanh()]), None),
    "parameters": (nn.ParameterList([nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(1))]), None),
    "named": (nn.ParameterDict({"left": nn.Parameter(torch.ones(2))}), None),
    "weight_norm": (nn.utils.weight_norm(nn.Linear(4, 3)), row),
    "sequence": (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)), row),
}
if release >= (1, 1):
    zoo["attention"] = (nn.MultiheadAttention(4, 2), (run, run, run))
if release >= (1, 4):
    zoo["gelu"] = (nn.GELU(), row)
    zoo["encoder"] = (nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2), run)
    zoo["decoder"] = (nn.TransformerDecoderLayer(4, 2, 8, activation="gelu"), (run, run))
losses = {
    "mse": (nn.MSELoss(), (row, row * 2)),
    "l1": (nn.L1Loss(reduction="sum"), (row, row * 2)),
    "smooth": (nn.SmoothL1Loss(), (row, row * 3)),
    "cross": (nn.CrossEntropyLoss(weight=torch.arange(1.0, 5.0)), (row, labels)),
    "likelihood": (nn.NLLLoss(), (F.log_softmax(row, 1), labels)),
    "divergence": (nn.KLDivLoss(reduction="sum"), (F.log_softmax(row, 1), F.softmax(row * 2, 1))),
    "binary": (nn.BCEWithLogitsLoss(), (row, row.sigmoid())),
    "sequence_loss": (nn.CTCLoss(), (F.log_softmax(run, 2), torch.tensor([[1, 2], [2, 3]]),
                                     torch.tensor([5, 5]), torch.tensor([2, 2]))),
}
zoo.update(losses)


def tensors(value):
    return [value] if torch.is_tensor(value) else [part for item in value for part in tensors(item)] if isinstance(
        value, (tuple, list)) else []


modules, inputs, outputs = {}, {}, {}
for name, (module, given) in sorted(zoo.items()):
    if name == "norm" and given is not None:
        module(given)  # its running statistics
    module.eval()
    if name == "convolution":
        module.weight.requires_grad_(False)
    modules[name] = module
    if given is not None:
        given = given if isinstance(given, tuple) else (given,)
        inputs[name] = list(given)
        with torch.no_grad():
            outputs[name] = tensors(module(*given))

folder = sys.argv[1]
os.makedirs(folder)
path = os.path.join(folder, "modules.pt")
torch.save({"modules": modules, "inputs": inputs, "outputs": outputs}, path)
arrays = {}
for name in outputs:
    for index, tensor in enumerate(outputs[name]):
        data = tensor.contiguous().numpy()
        arrays["outputs/%s/%d" % (name, index)] = {
            "dtype": str(data.dtype),
            "shape": list(data.shape),
            "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
        }
json.dump(
    {
        "file": "modules.pt",
        "family": "torch",
        "what": "whole modules of torch's own classes, with inputs and what they gave for them",
        "written_by": {"torch": torch.__version__, "python": platform.python_version()},
        "arrays": arrays,
        "scalars": {},
        "structure": {"container": "legacy stream" if release < (1, 6) else "zip"},
    },
    open(os.path.join(folder, "expected.json"), "w"),
    indent=1,
    sort_keys=True,
)

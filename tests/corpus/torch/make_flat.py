"""Write a scripted module as a flat buffer for mobile, as torch does; run under torch 2.0 or later."""

import hashlib
import json
import os
import platform
import warnings
from typing import Dict, List, Optional, Tuple  # noqa: UP035 - as its releases spell them

import torch

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))


class Part(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t())

    def forward(self, x):
        return torch.mm(x, self.weight)


class Net(torch.nn.Module):
    n: int
    sizes: List[int]  # noqa: UP006
    flags: Dict[str, bool]  # noqa: UP006
    more: List[torch.Tensor]  # noqa: UP006
    pair: Tuple[int, float]  # noqa: UP006
    nothing: Optional[int]  # noqa: UP045

    def __init__(self):
        super().__init__()
        self.part = Part()
        self.packed = torch.ao.quantization.quantize_dynamic(
            torch.nn.Sequential(torch.nn.Linear(2, 2)), {torch.nn.Linear}, torch.qint8
        )
        self.register_buffer("tied", self.part.weight.detach())
        self.register_buffer("halves", torch.tensor([0.5, 1.5], dtype=torch.bfloat16))
        self.register_buffer("turned", torch.tensor([1 + 2j]))
        self.n, self.sizes, self.flags = 7, [1, 2, 3], {"a": True}
        self.more, self.pair, self.nothing = [torch.ones(2)], (1, 2.5), None
        self.rate, self.name = 0.25, "été"

    def forward(self, x):
        y = self.part(x) * self.rate + self.n + self.sizes[0] + self.more[0].sum() + self.pair[1]
        if self.flags["a"] and self.name != "" and self.nothing is None:
            y = self.packed(y) + self.halves[0] + self.tied.sum() + self.turned.abs()
        return y + torch.tensor([3.0, 4.0])


def one(value):
    value = value.int_repr() if value.is_quantized else value.detach()
    data = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    kind = str(value.dtype).replace("torch.", "")
    return {"dtype": kind, "shape": list(value.shape), "sha256": hashlib.sha256(data).hexdigest()}


def write(kind, what, save, arrays, scalars):
    release = torch.__version__.split("+")[0]
    python = "".join(platform.python_version_tuple()[:2])
    folder = os.path.join(HERE, f"torch-{release}-py{python}-{kind}")
    os.makedirs(folder)
    path = os.path.join(folder, "net.ptl")
    save(path)
    arrays = {name: one(value) for name, value in arrays(path).items() if torch.is_tensor(value)}
    expected = {
        "file": "net.ptl",
        "family": "torch",
        "what": what,
        "written_by": {"torch": torch.__version__, "python": platform.python_version()},
        "arrays": arrays,
        "scalars": scalars,
        "structure": {"container": "flatbuffer"},
    }
    with open(os.path.join(folder, "expected.json"), "w") as out:
        json.dump(expected, out, indent=1, sort_keys=True)


def mobile(module):
    def save(path):
        is_script = isinstance(module, torch.jit.ScriptModule)
        script = module if is_script else torch.jit.script(module)
        extra = {"note.txt": "hello"}
        script._save_for_lite_interpreter(path, _extra_files=extra, _use_flatbuffer=True)

    return save


torch.manual_seed(0)
net = Net().eval()
weight, bias = net.packed[0]._weight_bias()
alive = []
packed = "packed/0/_packed_params/_packed_params/state"


def held(path):
    loaded = torch.jit.jit_module_from_flatbuffer(path)
    alive.append(loaded)  # its tensors look into memory that goes with it
    return {
        **{name.replace(".", "/"): value for name, value in loaded.state_dict().items()},
        "more/0": torch.ones(2),
        f"{packed}/0": weight,
        f"{packed}/1": bias,
    }


scalars = {
    **{"n": 7, "sizes/2": 3, "flags/a": True, "pair/1": 2.5, "nothing": None, "rate": 0.25},
    **{"name": "été", f"{packed}/0/q_scale": weight.q_scale()},
}
write("flatbuffer", "a scripted module as a flat buffer", mobile(net), held, scalars)

linear = torch.nn.Sequential(torch.nn.Linear(2, 3)).eval()
frozen = torch.jit.freeze(torch.jit.script(linear))
write(
    "flatbuffer-frozen",
    "a frozen module as a flat buffer: its weights are constants",
    mobile(frozen),
    lambda path: {"constants/0": linear[0].weight, "constants/1": linear[0].bias},
    {},
)

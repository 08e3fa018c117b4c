"""Write a scripted module, with attributes that are no tensors, as its torch does; run under each."""

import hashlib
import json
import os
import platform
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))


class Part(torch.jit.ScriptModule):
    def __init__(self):
        super(Part, self).__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0).reshape(3, 2).t())

    @torch.jit.script_method
    def forward(self, x):
        return torch.mm(x, self.weight)


class Net(torch.jit.ScriptModule):
    def __init__(self):
        super(Net, self).__init__()
        self.part = Part()
        self.register_buffer("count", torch.tensor([3, 4]))
        self.register_buffer("halves", torch.tensor([0.5, 1.5]).half())
        self.n = torch.jit.Attribute(7, int)
        self.rate = torch.jit.Attribute(0.25, float)
        self.sizes = torch.jit.Attribute([1, 2, 3], torch.jit.annotations.List[int])
        self.names = torch.jit.Attribute({"a": 1}, torch.jit.annotations.Dict[str, int])
        if not torch.__version__.startswith("1.1."):  # which cannot write lists of tensors
            ones = torch.jit.annotations.List[torch.Tensor]
            self.more = torch.jit.Attribute([torch.ones(2)], ones)

    @torch.jit.script_method
    def forward(self, x):
        return self.part(x) * self.rate + self.n


name = "torch-%s-py%s-script-attributes" % (
    torch.__version__.split("+")[0],
    "".join(platform.python_version_tuple()[:2]),
)
folder = os.path.join(HERE, name)
os.makedirs(folder)
path = os.path.join(folder, "net.pt")
Net().save(path)
loaded = torch.jit.load(path)
MORE = [("more.0", torch.ones(2))] if hasattr(Net(), "more") else []
arrays = {}
for key, value in list(loaded.state_dict().items()) + MORE:
    data = value.detach().contiguous().numpy()
    arrays[key.replace(".", "/")] = {
        "dtype": str(value.dtype).replace("torch.", ""),
        "shape": list(value.shape),
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
    }
scalars = {"n": 7, "rate": 0.25, "sizes/0": 1, "sizes/2": 3, "names/a": 1}
json.dump(
    {
        "file": "net.pt",
        "family": "torch",
        "what": "torch.jit save of a ScriptModule with attributes that are no tensors",
        "written_by": {"torch": torch.__version__, "python": platform.python_version()},
        "arrays": arrays,
        "scalars": scalars,
        "structure": {"container": "zip"},
    },
    open(os.path.join(folder, "expected.json"), "w"),
    indent=1,
    sort_keys=True,
)

"""Write what torch.export and torch.package write today; run under torch 2.13 (any since 2.8)."""

import hashlib
import json
import os
import platform
import warnings

import torch
from torch.package import PackageExporter

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(6.0).reshape(2, 3))
            self.linear.bias.copy_(torch.tensor([0.5, -0.5]))
        self.register_buffer("scale", torch.tensor([2.0], dtype=torch.bfloat16))

    def forward(self, x):
        return self.linear(x) * self.scale.float() + torch.tensor([1.0, 2.0])


def told(arrays, scalars, name, file, what):
    def one(value):
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        kind = str(value.dtype).replace("torch.", "")
        digest = hashlib.sha256(data).hexdigest()
        return {"dtype": kind, "shape": list(value.shape), "sha256": digest}

    expected = {
        "file": file,
        "family": "torch",
        "what": what,
        "written_by": {"torch": torch.__version__, "python": platform.python_version()},
        "arrays": {key: one(value) for key, value in arrays.items()},
        "scalars": scalars,
        "structure": {"container": "zip"},
    }
    with open(os.path.join(HERE, name, "expected.json"), "w") as out:
        json.dump(expected, out, indent=1, sort_keys=True)


def folder(kind):
    release = torch.__version__.split("+")[0]
    python = "".join(platform.python_version_tuple()[:2])
    name = f"torch-{release}-py{python}-{kind}"
    os.makedirs(os.path.join(HERE, name))
    return name


net = Net()
name = folder("export")
program = torch.export.export(net, (torch.ones(1, 3),))
torch.export.save(program, os.path.join(HERE, name, "net.pt2"))
again = torch.export.load(os.path.join(HERE, name, "net.pt2"))
arrays = {f"state_dict/{key}": value for key, value in again.state_dict.items()}
arrays.update({f"constants/{key}": value for key, value in again.constants.items()})
told(arrays, {}, name, "net.pt2", "torch.export.save of a module with a buffer and a constant")

name = folder("package")
path = os.path.join(HERE, name, "net.pt")
with PackageExporter(path) as exporter:
    exporter.extern("**")
    exporter.save_pickle("weights", "net.pkl", {"sd": net.state_dict(), "epoch": 3})
    exporter.save_pickle("weights", "again.pkl", net.linear.weight)
    exporter.save_text("notes", "readme.txt", "hello")
arrays = {f"weights/net.pkl/sd/{key}": value for key, value in net.state_dict().items()}
arrays["weights/again.pkl"] = net.linear.weight
scalars = {"weights/net.pkl/epoch": 3, "notes/readme.txt": "hello"}
told(arrays, scalars, name, "net.pt", "torch.package with two pickles that share a tensor, and a text")

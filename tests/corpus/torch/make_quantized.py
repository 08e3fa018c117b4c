"""Write a quantized tensor as 1.2 did, before there were quantizers; run under torch 1.2."""

import hashlib
import json
import os
import platform

import torch

folder = "torch-%s-py37-quantized" % torch.__version__
here = os.path.join(os.path.dirname(os.path.abspath(__file__)), folder)
os.makedirs(here)
path = os.path.join(here, "q.pt")
torch.save({"q": torch.quantize_linear(torch.arange(6.0).reshape(2, 3), 0.1, 3, torch.quint8)}, path)
again = torch.load(path)["q"]
data = again.int_repr().contiguous().numpy()
json.dump(
    {
        "file": "q.pt",
        "family": "torch",
        "what": "a tensor quantized by torch.quantize_linear: scale and zero point, and no quantizer",
        "written_by": {"torch": torch.__version__, "python": platform.python_version()},
        "arrays": {
            "q": {
                "dtype": "quint8",
                "shape": list(again.shape),
                "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
            }
        },
        "scalars": {"q/q_scale": again.q_scale(), "q/q_zero_point": again.q_zero_point()},
        "structure": {"container": "legacy stream"},
    },
    open(os.path.join(here, "expected.json"), "w"),
    indent=1,
    sort_keys=True,
)

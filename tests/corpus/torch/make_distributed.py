"""Write a distributed checkpoint of two processes, as torch does; run under torch 2.4 or later."""

import hashlib
import json
import os
import platform
import tempfile
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.multiprocessing import spawn

HERE = os.path.dirname(os.path.abspath(__file__))
RELEASE = torch.__version__.split("+")[0]
PYTHON = "".join(platform.python_version_tuple()[:2])
NAME = "torch-%s-py%s-distributed" % (RELEASE, PYTHON)
WEIGHT = torch.arange(15.0).reshape(5, 3)
HALVES = torch.arange(8).to(torch.bfloat16)


def sharded(tensor, mesh, axis):
    try:
        from torch.distributed.tensor import Shard, distribute_tensor
    except ImportError:
        from torch.distributed._tensor import Shard, distribute_tensor
    return distribute_tensor(tensor, mesh, [Shard(axis)])


def save(rank, meeting):
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    state = {
        "model": {
            "fc.weight": sharded(WEIGHT, mesh, 0),
            "fc.columns": sharded(WEIGHT, mesh, 1),
            "halves": sharded(HALVES, mesh, 0),
            "whole": torch.tensor([1, 2, 3]),
        },
        "epoch": 3,
        "rates": [0.1, 0.01],
        "note": "été",
    }
    dcp.save(state, checkpoint_id=os.path.join(HERE, NAME, "step-3"))
    dist.destroy_process_group()


def told(value):
    data = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {
        "dtype": str(value.dtype).replace("torch.", ""),
        "shape": list(value.shape),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def main():
    os.makedirs(os.path.join(HERE, NAME))
    spawn(save, (os.path.join(tempfile.mkdtemp(), "meeting"),), nprocs=2)
    arrays = {
        "model/fc.weight": WEIGHT,
        "model/fc.columns": WEIGHT,
        "model/halves": HALVES,
        "model/whole": torch.tensor([1, 2, 3]),
    }
    expected = {
        "file": "step-3",
        "family": "torch",
        "what": "torch.distributed.checkpoint of two processes, tensors cut along either axis",
        "written_by": {"torch": torch.__version__, "python": platform.python_version()},
        "arrays": {name: told(value) for name, value in arrays.items()},
        "scalars": {"epoch": 3, "rates/0": 0.1, "rates/1": 0.01, "note": "été"},
        "structure": {"container": "folder"},
    }
    with open(os.path.join(HERE, NAME, "expected.json"), "w") as out:
        json.dump(expected, out, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()

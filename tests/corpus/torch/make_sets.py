"""Write state dicts in several files and in archives, as their programs do.

Run under torch 2.13 with huggingface_hub, stable-baselines3 and gymnasium.
"""

import hashlib
import io
import json
import os
import platform
import tarfile
import warnings

import gymnasium
import huggingface_hub
import stable_baselines3
import torch

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "".join(platform.python_version_tuple()[:2])


def one(value):
    data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    kind = str(value.dtype).replace("torch.", "")
    return {"dtype": kind, "shape": list(value.shape), "sha256": hashlib.sha256(data).hexdigest()}


def folder(name):
    path = os.path.join(HERE, name)
    os.makedirs(path)
    return path


def told(path, file, what, by, arrays, scalars):
    expected = {
        "file": file,
        "family": "torch",
        "what": what,
        "written_by": {"torch": torch.__version__, "python": platform.python_version(), **by},
        "arrays": {name: one(value) for name, value in arrays.items()},
        "scalars": scalars,
        "structure": {},
    }
    with open(os.path.join(path, "expected.json"), "w") as out:
        json.dump(expected, out, indent=1, sort_keys=True)


STATE = {
    "embed.weight": torch.arange(40.0).reshape(8, 5),
    "layer.0.weight": torch.arange(25).reshape(5, 5).to(torch.bfloat16),
    "layer.0.bias": torch.arange(5.0),
    "head.weight": torch.arange(30.0).reshape(6, 5).half(),
}


def shards(is_safe):
    release = huggingface_hub.__version__
    kind = "safetensors" if is_safe else "bin"
    path = folder(f"huggingface-hub-{release}-py{PYTHON}-shards-{kind}")
    target = os.path.join(path, "model")
    os.makedirs(target)
    huggingface_hub.save_torch_state_dict(
        STATE, target, max_shard_size=150, safe_serialization=is_safe, metadata={"note": "été"}
    )
    size = sum(value.nbytes for value in STATE.values())
    by = {"huggingface_hub": release}
    scalars = {"__metadata__/total_size": size}
    told(path, "model", f"shards of {kind} and their map", by, STATE, scalars)


def baselines():
    release = stable_baselines3.__version__
    path = folder(f"stable-baselines3-{release}-py{PYTHON}-dqn")
    net = {"net_arch": [4]}
    model = stable_baselines3.DQN(
        "MlpPolicy", gymnasium.make("CartPole-v1"), policy_kwargs=net, buffer_size=10, seed=0
    )
    model.save(os.path.join(path, "dqn.zip"))
    loaded = stable_baselines3.DQN.load(os.path.join(path, "dqn.zip")).policy
    arrays = {f"policy.pth/{name}": value for name, value in loaded.state_dict().items()}
    rate = loaded.optimizer.state_dict()["param_groups"][0]["lr"]
    scalars = {"policy.optimizer.pth/param_groups/0/lr": rate}
    by = {"stable_baselines3": release}
    told(path, "dqn.zip", "an archive of several files of torch.save", by, arrays, scalars)


def packed():
    """A run, packed with a text and a folder in it, as people do."""
    path = folder(f"torch-{torch.__version__.split('+')[0]}-py{PYTHON}-model-tar-gz")
    files = {"config.json": b'{"model": "tagger"}', "vocabulary/" + 60 * "long-" + "names.txt": b"a"}
    for name, old in (("weights.th", True), ("best/net.pt", False)):
        out = io.BytesIO()
        torch.save(STATE, out, _use_new_zipfile_serialization=not old)
        files[name] = out.getvalue()
    with tarfile.open(os.path.join(path, "model.tar.gz"), "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    names = ("weights.th", "best/net.pt")
    arrays = {f"{file}/{name}": value for file in names for name, value in STATE.items()}
    told(path, "model.tar.gz", "an archive, tar in gzip, of two state dicts", {}, arrays, {})


if __name__ == "__main__":
    torch.manual_seed(0)
    shards(True)
    shards(False)
    baselines()
    packed()

"""The genuine side of test_theano.py; runs under Python 2.7 and 3 with Theano, Aesara or PyTensor.

python theano_side.py write FOLDER     dumps model.zip, graph.pkl, function.pkl, expected.json
python theano_side.py read FOLDER      loads ours*.zip, and prints what is in them as JSON
"""

import glob
import importlib
import json
import os
import pickle
import sys

import numpy as np
import scipy.sparse


def library():
    for name in ("theano", "aesara", "pytensor"):
        try:
            importlib.import_module(name)
            utils = importlib.import_module(name + ".misc.pkl_utils")
        except ImportError:
            continue
        if hasattr(utils, "load"):
            return importlib.import_module(name), importlib.import_module(name + ".tensor"), utils
    raise SystemExit("neither Theano nor Aesara nor a PyTensor that has misc.pkl_utils.load")


def model(th):
    return {
        "W": th.shared(np.arange(6, dtype="float32").reshape(2, 3), name="W"),
        "b": th.shared(np.arange(3, dtype="float32"), name="b"),
        "again": th.shared(np.ones((3, 2), "float32"), name="W"),
        "unnamed": th.shared(np.ones(4)),
        "rate": th.shared(3.5, name="rate"),
        "dotted": th.shared(np.ones(5), name="a.b"),
        "absolute": th.shared(np.ones(6), name="/deep//er"),
        "S": th.shared(scipy.sparse.csr_matrix(np.eye(3)), name="S"),
        "plain": np.arange(3),
        "epoch": 7,
    }


def reported(value):
    if hasattr(value, "get_value"):
        value = value.get_value()
    if hasattr(value, "toarray"):
        value = value.toarray()
    if isinstance(value, dict):
        return {str(key): reported(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [reported(item) for item in value]
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def write(folder):
    th, tensor, utils = library()
    objects = model(th)
    with open(os.path.join(folder, "model.zip"), "wb") as file:
        utils.dump(objects, file)
    x = tensor.matrix("x")
    y = tensor.tanh(tensor.dot(x, objects["W"]) + objects["b"])
    function = th.function([x], y)
    function(np.ones((2, 2), x.dtype))
    for name, value in (("graph.pkl", {"x": x, "y": y}), ("function.pkl", function)):
        with open(os.path.join(folder, name), "wb") as file:
            pickle.dump(value, file, 2)
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump({"version": th.__version__, "model": reported(objects)}, file)


def read(folder):
    _, _, utils = library()
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "ours*.zip"))):
        with open(path, "rb") as file:
            found[os.path.basename(path)] = {"load": reported(utils.load(file))}
        with np.load(path) as arrays:
            names = [name for name in arrays.files if name != "pkl"]
            found[os.path.basename(path)]["numpy"] = {
                name: reported(arrays[name]) for name in names
            }
    print(json.dumps(found))


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])

"""Dump arrays by dill, and what it loads back: python make_dill.py FOLDER (Python 3.6, dill 0.3.4)."""

import hashlib
import json
import os
import sys

import dill
import numpy as np


class Net(object):
    def __init__(self):
        self.W = np.arange(6.0).reshape(2, 3)
        self.act = lambda x: x + 1


folder = sys.argv[1]
os.makedirs(folder)
held = {
    "net": Net(),
    "mean": np.float32(0.25),
    "masked": np.ma.array([1, 2], mask=[False, True]),
    "names": np.array([None, "a"], dtype=object),
    "where": np.where,
}
with open(os.path.join(folder, "run.pkl"), "wb") as file:
    dill.dump(held, file)
with open(os.path.join(folder, "run.pkl"), "rb") as file:
    found = dill.load(file)
arrays = {
    "net/W": found["net"].W,
    "masked": found["masked"].data,
    "masked/mask": found["masked"].mask,
}
told = {
    "file": "run.pkl",
    "what": "arrays, a scalar, an instance and a function that dill named by their module",
        "written_by": "dill %s, NumPy %s, Python 3.6" % (dill.__version__, np.__version__),
    "arrays": {
        name: {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for name, array in arrays.items()
    },
    "scalars": {"mean": 0.25, "names/0": None, "names/1": "a"},
}
with open(os.path.join(folder, "expected.json"), "w") as out:
    out.write(json.dumps(told, indent=1, sort_keys=True) + "\n")

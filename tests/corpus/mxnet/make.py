"""Write the cases of MXNet that are named ``made-...`` here, and what the release finds inside.

Recipe: install a release into a folder of its own, then run this file with the Python of its time:

    python3.8 -m pip install --target mx191 mxnet==1.9.1 numpy==1.23.5
    PYTHONPATH=mx191 python3.8 make.py 1.9.1-py38
    python2.7 -m pip install --target mx121 mxnet==1.2.1 numpy==1.14.5
    PYTHONPATH=mx121 python2.7 make.py 1.2.1-py27
"""

from __future__ import print_function

import hashlib
import io
import json
import os
import pickle
import sys

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, nd

HERE = os.path.dirname(os.path.abspath(__file__))


def case(name):
    folder = os.path.join(HERE, "made-%s-%s" % (sys.argv[1], name))
    if not os.path.isdir(folder):
        os.makedirs(folder)
    return folder


def tell(folder, file, what, arrays):
    told = {}
    for name, array in sorted(arrays.items()):
        array = np.ascontiguousarray(array)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        told[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}
    writer = {"mxnet": mx.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    spec = {"file": file, "what": what, "written_by": writer, "arrays": told, "scalars": {}}
    with io.open(os.path.join(folder, "expected.json"), "w") as out:
        out.write(u"%s\n" % json.dumps(spec, indent=1, sort_keys=True))


def states(name, optimizer, what, dtype="float32", **options):
    """One step of a trainer, and what its updater holds."""
    params = {}
    for number, shape in enumerate(((4, 3), (4,), (2, 4))):
        param = gluon.Parameter("p%d" % number, shape=shape, dtype=dtype)
        param.initialize(mx.init.One())
        params["p%d" % number] = param
    taken = params if sys.version_info[0] == 3 else [params[key] for key in sorted(params)]
    trainer = gluon.Trainer(taken, optimizer, dict(options, learning_rate=0.1), kvstore=None)
    with autograd.record():
        loss = sum((params[key].data() ** 2).sum() for key in sorted(params))
    loss.backward()
    trainer.step(5)
    arrays = {}

    def walk(path, value):
        if isinstance(value, (tuple, list)):
            for number, item in enumerate(value):
                walk("%s/%d" % (path, number), item)
        elif value is not None:
            arrays[path] = value.asnumpy()

    for key, value in trainer._updaters[0].states.items():
        walk(str(key), value)
    folder = case("trainer-" + name)
    trainer.save_states(os.path.join(folder, "trainer.states"))
    tell(folder, "trainer.states", what, arrays)


def series():
    """Three epochs of a module, with the states of its optimizer."""
    data = mx.sym.Variable("data")
    layer = mx.sym.BatchNorm(mx.sym.FullyConnected(data, num_hidden=3, name="fc"), name="bn")
    symbol = mx.sym.SoftmaxOutput(layer, name="softmax")
    rows = np.random.randn(20, 4).astype("f")
    batches = mx.io.NDArrayIter(rows, np.arange(20).astype("f") % 3, batch_size=5)
    module = mx.mod.Module(symbol)
    folder = case("module-series")
    save = mx.callback.module_checkpoint(module, os.path.join(folder, "run"), 1, True)
    momentum = {"momentum": 0.9, "learning_rate": 0.01}
    module.fit(batches, num_epoch=3, epoch_end_callback=save, optimizer_params=momentum)
    args, auxs = module.get_params()
    arrays = {"arg:" + name: value.asnumpy() for name, value in args.items()}
    arrays.update({"aux:" + name: value.asnumpy() for name, value in auxs.items()})
    tell(folder, ".", "a folder of three epochs of Module.fit with module_checkpoint", arrays)


def sparse():
    """Sparse arrays without any value, with more dimensions than two, and dense ones beside."""
    rows = np.arange(6).reshape(2, 3).astype("f4")
    arrays = {
        "rows": nd.sparse.row_sparse_array((rows, [1, 3]), shape=(5, 3)),
        "csr": nd.sparse.csr_matrix(np.array([[0, 1, 0], [0, 0, 0], [2, 0, 3]], "f8")),
        "no rows": nd.sparse.zeros("row_sparse", (4, 2)),
        "no values": nd.sparse.zeros("csr", (3, 3)),
        "cube": nd.sparse.row_sparse_array((np.ones((1, 2, 2), "f4"), [2]), shape=(3, 2, 2)),
        "dense": nd.array([1, 2]),
    }
    values = {name: array.asnumpy() for name, array in arrays.items()}
    folder = case("nd-sparse")
    nd.save(os.path.join(folder, "sparse.nd"), arrays)
    tell(folder, "sparse.nd", "sparse arrays: empty ones, three dimensions", values)
    folder = case("pickle-arrays")
    with open(os.path.join(folder, "arrays.pkl"), "wb") as out:
        pickle.dump(arrays, out, 2)
    tell(folder, "arrays.pkl", "a pickled dict of dense and sparse arrays", values)


np.random.seed(0)
mx.random.seed(0)
states("adam", "adam", "save_states of adam: two arrays a parameter")
states("mp", "sgd", "save_states of sgd, half precision: (momentum, master weight)", "float16",
       momentum=0.9, multi_precision=True)
series()
sparse()

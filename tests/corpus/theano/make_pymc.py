"""Write traces by PyMC's backends, and what the same release finds in them.

    python make_pymc.py FOLDER

PyMC3 3.7 (Theano 1.0.4, NumPy 1.16, Python 3.7): ``sqlite`` and ``hdf5``; PyMC 2.3.8 (NumPy 1.16,
Python 2.7, built with gfortran's -fallow-argument-mismatch): ``txt``, ``sqlite`` and ``pickle``.
"""

import hashlib
import io
import json
import os
import sys

import numpy as np

os.environ["THEANO_FLAGS"] = "device=cpu,cxx="


def told(path, file, written_by, arrays):
    found = {}
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        found[name] = {
            "dtype": little.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(little.tobytes()).hexdigest(),
        }
    answer = {"file": file, "what": "the samples of two chains",
        "written_by": written_by, "arrays": found, "scalars": {}}
    with io.open(os.path.join(path, "expected.json"), "w", encoding="utf-8") as out:
        out.write(json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=True) + u"\n")


def pymc3_traces(folder):
    import importlib

    import pymc3 as pm
    from pymc3.backends import SQLite
    from pymc3.backends.hdf5 import HDF5

    for name, file, make in (("sqlite", "trace.sqlite", SQLite), ("hdf5", "trace.h5", HDF5)):
        path = os.path.join(folder, "pymc3-%s-py37-%s" % (pm.__version__, name))
        os.makedirs(path)
        with pm.Model() as model:
            pm.Normal("mu", 0, 1, shape=2)
            pm.Normal("w", 0, 1, shape=(2, 3))
            pm.Normal("one", 0, 1, shape=1)
            pm.HalfNormal("sd", 1)
            pm.Poisson("k", 3)
            for chain in (0, 1):
                trace = make(os.path.join(path, file))
                pm.sample(
                    12, tune=3, step=[pm.Metropolis()], trace=trace, chains=1, chain_idx=chain,
                    cores=1, random_seed=[chain], progressbar=False,
                    compute_convergence_checks=False,
                )  # fmt: skip
            loaded = importlib.import_module("pymc3.backends." + name).load(
                os.path.join(path, file), model
            )
        form = "%d/samples/%s" if name == "hdf5" else "%d/%s"
        arrays = {
            form % (chain, var): loaded.get_values(var, chains=[chain])
            for chain in loaded.chains
            for var in loaded.varnames
        }
        told(path, file, "pymc3 %s, backend %s" % (pm.__version__, name), arrays)


def pymc2_traces(folder):
    import pymc

    mu = pymc.Normal("mu", 0.0, 1.0, size=2)
    w = pymc.Normal("w", 0.0, 1.0, size=(2, 3))
    sd = pymc.Uniform("sd", 0.0, 5.0)
    k = pymc.Poisson("k", 3.0)
    for name, file in (("txt", "trace"), ("sqlite", "trace.sqlite"), ("pickle", "trace.pickle")):
        path = os.path.join(folder, "pymc-%s-py27-%s" % (pymc.__version__, name))
        os.makedirs(path)
        target = os.path.join(path, file)
        np.random.seed(4)
        sampler = pymc.MCMC([mu, w, sd, k], db=name, dbname=target)
        for _ in range(2):
            sampler.sample(12, burn=2, progress_bar=False)
        sampler.db.close()
        loaded = getattr(pymc.database, name).load(target)
        form = "%(var)s/%(chain)d" if name == "pickle" else "%(chain)d/%(var)s"
        arrays = {
            form % {"chain": chain, "var": var}: loaded.trace(var, chain=chain)[:]
            for chain in (0, 1)
            for var in ("mu", "w", "sd", "k")
        }
        told(path, file, "pymc %s, backend %s" % (pymc.__version__, name), arrays)


{2: pymc2_traces, 3: pymc3_traces}[sys.version_info[0]](sys.argv[1])

"""Make the pickles beside this file; Cython and a C compiler are needed.

    pip install cython==0.29.37 setuptools numpy
    cythonize -3 --inplace simnet.pyx
    python make.py
"""

import pathlib
import pickle

import Cython
import numpy as np
import simnet

HERE = pathlib.Path(__file__).parent

walker = simnet.Walker(1.5, -2.0, 3, np.arange(4.0))
named = simnet.Named(0.25, 4.0, 7, [1, 2])
named.name, named.rate, named.peer = "b", 0.5, walker
child = simnet.Child(8.0)
child.name, child.weights = "c", np.arange(6.0).reshape(2, 3)
made = {
    "walker": walker,
    "named": named,
    "child": child,
    "empty": simnet.Empty(),
    "point": simnet.Point(2.5, 9),
    "grid": simnet.Grid(np.eye(2), 0.5),
    "table": simnet.Table({"a": np.arange(3)}),
}
for protocol in (0, 2, 4):
    data = pickle.dumps(made, protocol)
    (HERE / f"cython-{Cython.__version__}-protocol{protocol}.pkl").write_bytes(data)

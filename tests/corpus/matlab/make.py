"""Copy the cases here from SciPy's own test data, and write what SciPy finds inside.

The files were written by the releases of MATLAB that their names state; they are part of SciPy, under its
licence (BSD-3-Clause, "Copyright (c) 2001-2002 Enthought, Inc. 2003, SciPy Developers").

Recipe: python3.11 -m venv v && v/bin/pip install scipy==1.11.4 "numpy<2" && v/bin/python make.py
"""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import scipy
import scipy.io
import scipy.sparse
from scipy.io.matlab import MatlabFunction, MatlabOpaque

HERE = pathlib.Path(__file__).parent
DATA = pathlib.Path(scipy.io.matlab.__file__).parent / "tests" / "data"

CASES = {
    "matlab-4.2c-sol2-multi": ("testmulti_4.2c_SOL2.mat", "two variables of level 4, big-endian"),
    "matlab-4.2c-sol2-sparse-complex": ("testsparsecomplex_4.2c_SOL2.mat", "a sparse complex matrix of level 4"),
    "matlab-4.2c-sol2-strings": ("teststringarray_4.2c_SOL2.mat", "three rows of characters, level 4"),
    "matlab-4-glnx86-vector": ("testvec_4_GLNX86.mat", "level 4, little-endian"),
    "matlab-5.3-sol2-empty-cells": ("testemptycell_5.3_SOL2.mat", "cells that hold [], big-endian"),
    "matlab-6.1-sol2-nested-cells": ("testcellnest_6.1_SOL2.mat", "cells in cells, big-endian"),
    "matlab-6.1-sol2-struct": ("teststruct_6.1_SOL2.mat", "a struct of text, numbers and complex numbers"),
    "matlab-6.5.1-glnx86-sparse": ("testsparse_6.5.1_GLNX86.mat", "a sparse matrix"),
    "matlab-6.5.1-glnx86-object": ("testobject_6.5.1_GLNX86.mat", "an object of the class inline"),
    "matlab-7.1-glnx86-3d": ("test3dmatrix_7.1_GLNX86.mat", "three axes, compressed"),
    "matlab-7.1-glnx86-unicode": ("testunicode_7.1_GLNX86.mat", "Japanese text, compressed"),
    "matlab-7.4-glnx86-struct-array": ("teststructarr_7.4_GLNX86.mat", "an array of structs, compressed"),
    "matlab-7.4-glnx86-function": ("testfunc_7.4_GLNX86.mat", "a function handle, compressed"),
    "matlab-8-win64-logical": ("testbool_8_WIN64.mat", "a logical value"),
    "matlab-2009a-glnxa64-anonymous": ("sqr.mat", "an anonymous function with its workspace"),
    "matlab-logical-sparse": ("logical_sparse.mat", "a logical sparse matrix, whose bytes are tagged float64"),
}  # fmt: skip


def walk(value, path, arrays, scalars):
    if scipy.sparse.issparse(value):
        parts = value.tocsc()
        parts.sort_indices()
        walk(parts.data, f"{path}/data", arrays, scalars)
    elif isinstance(value, (MatlabFunction, MatlabOpaque)):
        return  # only named
    elif isinstance(value, np.ndarray) and value.dtype.names:
        each = value.reshape(-1)
        for number, item in enumerate(each):
            for name in value.dtype.names:
                step = f"{number}/" if len(each) > 1 else ""
                walk(item[name], f"{path}/{step}{name}", arrays, scalars)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        for number, item in enumerate(value.reshape(-1)):
            walk(item, f"{path}/{number}", arrays, scalars)
    elif value.dtype.kind == "U" and value.size == 1:
        scalars[path] = value.item()
    elif value.dtype.kind == "U":
        arrays[path] = described(value)
    else:
        arrays[path] = described(value)


def described(value):
    little = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<")))
    digest = hashlib.sha256(little.tobytes()).hexdigest()
    return {"dtype": str(little.dtype), "shape": list(value.shape), "sha256": digest}


for case, (name, what) in CASES.items():
    folder = HERE / case
    folder.mkdir(exist_ok=True)
    shutil.copy(DATA / name, folder)
    # With mat_dtype, numbers are of their class, but complex ones lose their imaginary part.
    typed = scipy.io.loadmat(DATA / name, mat_dtype=True)
    stored = scipy.io.loadmat(DATA / name)
    arrays, scalars = {}, {}
    for key, value in stored.items():
        if not key.startswith("__"):
            walk(typed[key], key, arrays, scalars)
            complex_ones = {}
            walk(value, key, complex_ones, {})
            arrays |= {
                path: spec for path, spec in complex_ones.items() if "complex" in spec["dtype"]
            }
    spec = {
        "file": name,
        "format": "matlab",
        "what": what,
        "written_by": {"matlab": case.split("-")[1] if case[7].isdigit() else ""},
        "copied_from": f"scipy {scipy.__version__}, scipy/io/matlab/tests/data (BSD-3-Clause)",
        "arrays": arrays,
        "scalars": scalars,
    }
    (folder / "expected.json").write_text(json.dumps(spec, indent=1) + "\n")

"""MATLAB: sparse matrices of MAT-files as SciPy's.

A record ``matlab.sparse``, as the reader of MAT-files gives it, is loaded as a ``scipy.sparse.csc_matrix`` where
SciPy is installed, which is what ``scipy.io.loadmat`` returns. Function handles and objects stay records.

Evidence: ``persist.readers.matlab`` for the fields; ``scipy/sparse`` for the public constructor.
"""

from __future__ import annotations

import importlib

import numpy as np

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry

__all__ = ["pack"]

pack = Registry("matlab")


@pack.rebuild("matlab.sparse", library="scipy")
def sparse(record: Record) -> object:
    """Make a matrix in compressed columns, whose indices are checked."""
    fields = record.fields()
    try:
        parts = [np.asarray(fields[name]) for name in ("data", "indices", "indptr")]
        # SciPy's compiled loops take the machine's byte order only.
        parts = [part.astype(part.dtype.newbyteorder("="), copy=False) for part in parts]
        matrix = importlib.import_module("scipy.sparse").csc_matrix(
            tuple(parts), shape=fields["shape"]
        )
        matrix.check_format(full_check=True)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RestoreError(f"its parts do not fit together: {error!r}") from error
    return matrix

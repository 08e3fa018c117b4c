"""With a genuine SciPy of today: sparse matrices come back as matrices, and damaged ones do not."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

sparse = pytest.importorskip("scipy.sparse")

DENSE = np.array([[0.0, 2.0, 0.0], [1.5, 0.0, -3.0]])
FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format(name: str, kind: str, protocol: int) -> None:
    made = getattr(sparse, f"{name}_{kind}")(DENSE)
    loaded = persist.load(pickle.dumps({"x": made}, protocol))["x"]
    assert type(loaded) is type(made)
    assert loaded.dtype == made.dtype
    assert np.array_equal(loaded.toarray(), DENSE)


def old_csr(**changes: Any) -> bytes:
    """A matrix as SciPy 0.11 to 1.7 pickled it, under the module's old name."""
    state: dict[str, Any] = {
        "_shape": (2, 3), "data": np.array([2.0, 1.5, -3.0]), "indices": np.array([1, 0, 2], "i4"),
        "indptr": np.array([0, 1, 3], "i4"), "format": "csr", "maxprint": 50, "_has_sorted_indices": False,
    }  # fmt: skip
    made = b"\x80\x02ccopy_reg\n_reconstructor\ncscipy.sparse.csr\ncsr_matrix\nc__builtin__\nobject\nN\x87R"
    return made + pickle.dumps({**state, **changes}, 2)[2:-1] + b"b."


def test_an_old_name_and_flags_that_are_not_trusted() -> None:
    loaded = persist.load(old_csr())
    assert type(loaded) is sparse.csr_matrix
    assert np.array_equal(loaded.toarray(), DENSE)
    assert loaded.has_sorted_indices  # the file says otherwise


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.array([1, 0, 2**30], "i4")},
        {"indices": np.array([1, 0, -1], "i4")},
        {"indptr": np.array([0, 1, 2**30], "i4")},
        {"indptr": np.array([0, 5, 3], "i4")},
        {"_shape": (2, -3)},
        {"_shape": "x"},
        {"data": np.array([1.0])},
    ],
    ids=str,
)
def test_indices_that_lead_out_of_it_are_refused(changes: dict[str, Any]) -> None:
    with pytest.warns(persist.errors.OpaqueWarning, match="no object of it can be made"):
        assert isinstance(persist.load(old_csr(**changes)), persist.Record)


def test_numpy_functions_that_a_state_names() -> None:
    loaded = persist.load(pickle.dumps([np.log1p, np.mean]))
    assert loaded == [np.log1p, np.mean]


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}], ids=str)
def test_matlab_sparse_matrices_are_loaded_as_scipy_loads_them(options: dict[str, Any]) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    file = io.BytesIO()
    scipy_io.savemat(file, {"x": sparse.csc_matrix(DENSE), "y": DENSE, "s": "text"}, **options)
    loaded = persist.load(file.getvalue())
    assert type(loaded["x"]) is sparse.csc_matrix
    assert np.array_equal(loaded["x"].toarray(), DENSE)
    assert np.array_equal(loaded["y"], DENSE)
    assert loaded["s"] == "text"

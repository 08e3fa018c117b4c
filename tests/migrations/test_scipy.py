"""SciPy's sparse matrices of every release: their parts, and what their names prove."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.tree import Record

CORPUS = Path(__file__).parents[1] / "corpus" / "scipy"


def opened(value: Any) -> persist.File:
    out = io.BytesIO()
    PickleWriter(out.write, 2).dump(value)
    return persist.open(out.getvalue())


def test_parts_of_a_genuine_one() -> None:
    with persist.open(CORPUS / "scipy-1.2.3-py27-coo-csc" / "train.pkl") as file:
        assert set(file.arrays) == {
            *("coo/data", "coo/row", "coo/col", "csc/data", "csc/indices", "csc/indptr")
        }
        assert file.scalars["coo/_shape/1"] == 5
        row, col = (np.asarray(file.arrays[f"coo/{name}"]) for name in ("row", "col"))
        dense = np.zeros((4, 5))
        np.add.at(dense, (row, col), file.arrays["coo/data"])
        assert dense[0, 2] == -2.0


@pytest.mark.parametrize(
    ("module", "reported"), [("dok", "scipy older than 1.8"), ("_dok", "scipy 1.8 or later")]
)
def test_names_prove_the_release(module: str, reported: str) -> None:
    items = [((0, 1), np.float64(2.0))]
    record = Record(
        f"scipy.sparse.{module}.dok_matrix", {"_shape": (2, 2)}, kind="newobj", dictitems=items
    )
    with opened({"X": record}) as file:
        assert file.scalars["X/(0, 1)"] == 2.0
        assert file.scalars["X/_shape/0"] == 2
        assert any(text.startswith(reported) for text in file.evidence)


def test_what_moved_is_found_where_it_is_today() -> None:
    with persist.open(CORPUS / "scipy-0.11.0-py27-csr" / "X.pkl") as file:
        assert file.knowledge.resolve(file.tree.qualname) == "scipy.sparse._csr.csr_matrix"


def test_lists_and_coordinates_of_today() -> None:
    lists = np.empty(2, object)
    lists[:] = [[0, 2], [1]]
    lil = Record("scipy.sparse._lil.lil_array", {"_shape": (2, 3), "rows": lists, "data": lists})
    coo = Record("scipy.sparse._coo.coo_array", {"coords": (np.arange(2),), "data": np.ones(2)})
    with opened({"lil": lil, "coo": coo}) as file:
        assert [file.scalars[f"lil/rows/{way}"] for way in ("0/0", "0/1", "1/0")] == [0, 2, 1]
        assert file.arrays["coo/coords/0"].tolist() == [0, 1]

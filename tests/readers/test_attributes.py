"""Attributes in files next to a pickle, as gensim keeps large arrays."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.tree import Global, Record

GENSIM = Path(__file__).parents[1] / "corpus" / "gensim"


@pytest.mark.parametrize("case", ["gensim-3.8.3-py36-word2vec", "gensim-4.3.3-py311-word2vec"])
def test_vectors_stand_where_they_belong(case: str) -> None:
    with persist.open(GENSIM / case / "words.model") as file:
        assert file.arrays["wv/vectors"].shape == (5, 4)
        assert "words.model.wv.vectors.npy" in file.structure["satellites"]
        assert not file.damage
        assert np.array_equal(file.tree["wv"]["vectors"], file.arrays["wv/vectors"])


@pytest.mark.parametrize("case", ["gensim-3.8.3-py36-index", "gensim-4.3.3-py311-index-gz"])
def test_a_sparse_matrix_is_put_together(case: str) -> None:
    (path,) = (path for path in (GENSIM / case).iterdir() if path.name in ("index", "index.gz"))
    with persist.open(path) as file:
        assert file.arrays["index/indptr"].shape == (16,)
        assert file.arrays["index/data"].dtype == np.float32
        assert not file.damage


def test_what_is_missing_is_reported(tmp_path: Path) -> None:
    case = GENSIM / "gensim-3.8.3-py36-word2vec"
    shutil.copy(case / "words.model", tmp_path)
    with persist.open(tmp_path / "words.model") as file:
        assert file.damage == [
            "words.model.trainables.syn1neg.npy is missing, which holds 'trainables.syn1neg'",
            "words.model.wv.vectors.npy is missing, which holds 'wv.vectors'",
        ]


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.npy").write_bytes(b"")
    (tmp_path / "in").mkdir()
    itself = Record(Global("lab", "Model"), kind="newobj", state={"a": 1})
    itself.state.update(
        {
            "__numpys": ["../secret", "../../secret", "a/b", 5, "", None],
            "__recursive_saveloads": ["self", "a", "gone"],
            "__scipys": "data",
            "self": itself,
        }
    )
    with open(tmp_path / "in" / "model.pkl", "wb") as out:
        PickleWriter(out.write, 2).dump(itself)
    with persist.open(tmp_path / "in" / "model.pkl") as file:
        assert len(file.damage) == 4
        assert all("missing" in note for note in file.damage)
        assert file.scalars["a"] == 1


def test_others_are_left_alone() -> None:
    held = {"__numpys": ["x"], "__scipys": [], "__recursive_saveloads": []}
    with persist.open(pickle.dumps(held)) as file:
        assert file.tree == held
        assert not file.damage

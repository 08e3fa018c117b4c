"""Models of xgboost and LightGBM, and vectors of gensim: each answers as the release that wrote it did.

The files are in ``tests/foundry/boosters``, with their recipe.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import OpaqueWarning, RestoreError
from persist.tree import Record

pytestmark = [pytest.mark.interop, pytest.mark.packs]

FOLDER = Path(__file__).parents[1] / "foundry" / "boosters"
X = np.sin(np.arange(240.0)).reshape(60, 4)
HOLES = np.where(np.cos(np.arange(240.0)).reshape(60, 4) > 0.8, np.nan, X)
WORDS = ("tree", "forest", "leaf", "root", "sea")


def cases() -> Iterator[Any]:
    for path in sorted(FOLDER.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name, asked in json.loads(archive.read("answers.json")).items():
                yield pytest.param(path, name, asked, id=f"{path.stem}-{name}")


def pickled(path: Path, name: str) -> io.BytesIO:
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(f"{name}.pkl"))


def answer(made: Any, name: str, how: str) -> Any:
    x = HOLES if name == "holes" else X
    if how == "similar":
        return [made.similarity("tree", word) for word in WORDS]
    if how == "vector":
        return made["b"]
    if how == "booster" and type(made).__module__.startswith("xgboost"):
        return made.predict(pytest.importorskip("xgboost").DMatrix(x))
    return getattr(made, "predict" if how == "booster" else how)(x)


def why_not(path: Path, name: str) -> str:
    """Why no object is made of a file; "" if one is."""
    library, _, release = path.stem.partition("-")
    if name == "model":  # of gensim, with the state of its training
        return "gensim.models.word2vec.Word2Vec is not declared here"
    if library == "xgboost" and name == "texts":
        return "its labels are 'no', 'yes'"
    if (library, release, name) == ("xgboost", "0.72.1", "early"):
        return "it stopped early, and its release is not recorded"
    return ""


@pytest.mark.parametrize(("path", "name", "asked"), list(cases()))
def test_it_answers_as_it_did(path: Path, name: str, asked: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip(path.stem.partition("-")[0])
    reason = why_not(path, name)
    if reason:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert isinstance(persist.load(pickled(path, name)), Record)
        assert any(reason in str(warning.message) for warning in caught)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", OpaqueWarning)
        made = persist.load(pickled(path, name))
        assert not isinstance(made, Record)
        persist.save(made, tmp_path / "again.persist")
        again = persist.load(tmp_path / "again.persist")
    for one in (made, again):
        np.testing.assert_allclose(
            answer(one, name, asked["how"]), asked["answers"], rtol=1e-6, atol=1e-7
        )


def test_estimators_can_be_cloned_shown_and_asked_for_their_parameters() -> None:
    for library, release in (("lightgbm", "2.0.12"), ("xgboost", "1.7.6")):
        pytest.importorskip(library)
        clone = pytest.importorskip("sklearn.base").clone
        made = persist.load(pickled(FOLDER / f"{library}-{release}.zip", "three"))
        assert made.get_params()["n_estimators"] == 5
        assert type(made).__name__ in repr(made)
        assert clone(made).get_params() == made.get_params()
        assert made.n_classes_ == 3
        assert list(made.classes_) == [0, 1, 2]
        assert set(made.predict(X)) <= {0, 1, 2}
        made.fit(X, np.arange(60) % 3)


def test_the_vectors_of_a_model_are_made_by_their_path() -> None:
    pytest.importorskip("gensim")
    for release in ("3.2.0", "3.8.3", "4.4.0"):
        path = FOLDER / f"gensim-{release}.zip"
        made, alone = (
            persist.load(pickled(path, "model"), at="wv"),
            persist.load(pickled(path, "vectors")),
        )
        assert made.most_similar("tree") == alone.most_similar("tree")
        assert [made.get_vecattr(word, "count") for word in WORDS] == [
            alone.get_vecattr(word, "count") for word in WORDS
        ]


def test_labels_of_lightgbm_are_answered_with() -> None:
    pytest.importorskip("lightgbm")
    made = persist.load(pickled(FOLDER / "lightgbm-2.0.12.zip", "texts"))
    assert set(made.predict(X)) <= {"no", "yes"}


def test_a_model_that_is_damaged_is_refused_with_the_reason() -> None:
    pytest.importorskip("xgboost")
    whole = pickled(FOLDER / "xgboost-3.2.0.zip", "booster").getvalue()
    assert whole.count(b"Config") == 1
    with pytest.warns(OpaqueWarning, match="does not read its model"):
        assert isinstance(persist.load(io.BytesIO(whole.replace(b"Config", b"Konfig"))), Record)


@pytest.mark.parametrize("name", ["booster", "dart", "gblinear"])
def test_a_binary_model_that_is_cut_or_changed_is_refused(name: str) -> None:
    """Whatever is cut off; and counts of trees, nodes and names that are not there."""
    pytest.importorskip("xgboost")
    from persist.migrations._xgboost_binary import json_of  # not without packs

    with persist.open(pickled(FOLDER / "xgboost-0.90.zip", name)) as file:
        raw = bytes(file.tree.state["handle"])
    whole = json_of(raw)
    assert json.loads(whole)["version"] == [1, 7, 6]
    for end in range(0, len(raw), max(1, len(raw) // 300)):
        with pytest.raises(RestoreError, match="ends early|objective is|booster is"):
            json_of(raw[:end])
    for place in range(0, len(raw) - 8, 4):
        changed = raw[:place] + b"\xff\xff\xff\x7f" + raw[place + 4 :]
        try:
            json_of(changed)
        except RestoreError as error:
            assert error.what

"""Objects of genuine libraries inside of a container: written without pickle, and the same again."""

from __future__ import annotations

import warnings
import zipfile
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

X = np.sin(np.arange(80.0)).reshape(20, 4)
Y = np.arange(20) % 3
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")  # pandas 2 takes a name for a zone of pytz


def again(value: Any, folder: Path, **options: Any) -> Any:
    path = folder / "value.persist"
    persist.save(value, path)
    with zipfile.ZipFile(path) as archive:
        assert all(name.endswith((".npy", ".json")) for name in archive.namelist())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return persist.load(path, **options)


def estimators() -> dict[str, Any]:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    from sklearn.svm import SVC

    return {
        "forest": RandomForestClassifier(n_estimators=4, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=3, random_state=0),
        "neighbors": KNeighborsClassifier(algorithm="kd_tree"),
        "svm": SVC(),
        "pipeline": make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
        "function": make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()),
    }


@pytest.mark.parametrize("name", estimators())
def test_an_estimator_answers_as_it_did(name: str, tmp_path: Path) -> None:
    model = estimators()[name].fit(X, Y)
    loaded = again(model, tmp_path)
    assert type(loaded) is type(model)
    assert np.array_equal(loaded.predict(X), model.predict(X))
    if hasattr(model, "predict_proba"):
        assert np.allclose(loaded.predict_proba(X), model.predict_proba(X), rtol=1e-12)


def test_frames_with_columns_of_all_kinds(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, 2.5],
            "text": ["a", None],
            "when": pd.to_datetime(["2001-01-01", "2002-01-01"]).tz_localize(BERLIN),
            "kind": pd.Categorical(["x", "y"]),
            "maybe": pd.array([1, None], dtype="Int64"),
            "span": pd.to_timedelta([1, 2], unit="h"),
            "month": pd.period_range("2001-01", periods=2, freq="M"),
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]),
    )
    pd.testing.assert_frame_equal(again(frame, tmp_path), frame)
    index = pd.date_range("2001", periods=3, freq="D", name="day")
    pd.testing.assert_series_equal(
        again(pd.Series(range(3), index), tmp_path), pd.Series(range(3), index)
    )


class Run:
    """A run of a user, with a model and its log."""

    def __init__(self) -> None:
        self.model = estimators()["pipeline"].fit(X, Y)
        self.log = pd.DataFrame({"loss": [0.5, 0.25]})
        self.best = self.model


@pytest.mark.parametrize("dtype", ["string[pyarrow]", "str"])
def test_texts_in_memory_of_pyarrow_are_saved_as_texts(dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"note": pd.array(["a", None, "ä", ""], dtype=dtype), "n": range(4)})
    loaded = again(frame, tmp_path)
    pd.testing.assert_frame_equal(loaded, frame)
    assert loaded["note"].dtype == frame["note"].dtype


def test_a_user_class_around_them(tmp_path: Path) -> None:
    registry = persist.Registry("runs", parents=(persist.registry.default,))
    registry.register(Run, version=1)
    run = Run()
    path = tmp_path / "run.persist"
    persist.save(run, path, registry=registry)
    loaded = persist.load(path, registry=registry)
    assert loaded.best is loaded.model
    assert np.array_equal(loaded.model.predict(X), run.model.predict(X))
    pd.testing.assert_frame_equal(loaded.log, run.log)


def test_an_object_that_is_not_made_again_is_refused(tmp_path: Path) -> None:
    from sklearn.cluster import Birch

    with pytest.raises(persist.errors.SchemaError, match="_CFNode cannot be saved"):
        persist.save({"model": Birch().fit(X)}, tmp_path / "x.persist")
    assert not (tmp_path / "x.persist").exists()


def test_without_the_library_the_file_still_has_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.persist"
    persist.save(pd.DataFrame({"loss": [0.5, 0.25], "acc": [0.1, 0.2]}), path)
    assert persist.open(path).arrays["loss"].tolist() == [0.5, 0.25]
    with np.load(path) as members:
        assert any(np.array_equal(members[name].ravel(), [0.5, 0.25, 0.1, 0.2]) for name in members)

"""A user's classes around objects of libraries, and subclasses of theirs."""

from __future__ import annotations

import datetime
import io
import pickle
import warnings
import zipfile
import zoneinfo
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: E402
from sklearn.ensemble import RandomForestClassifier  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

X = np.sin(np.arange(80.0)).reshape(20, 4)
Y = np.arange(20) % 3


class Run(persist.Versioned, version=1, schema="interop.Run"):
    model: Pipeline
    log: pd.DataFrame

    def __init__(self, model: Any, log: Any) -> None:
        self.model, self.log = model, log


class Mine(BaseEstimator, ClassifierMixin):
    """An estimator of one's own, which no pack knows."""

    def fit(self, x: Any, y: Any) -> Mine:
        self.classes_ = np.unique(y)
        return self

    def predict(self, x: Any) -> Any:
        return np.repeat(self.classes_[:1], len(x))


class Forest(RandomForestClassifier):
    """A subclass with a parameter of its own."""

    def __init__(self, n_estimators: int = 5, random_state: Any = 0, remark: str = "") -> None:
        super().__init__(n_estimators=n_estimators, random_state=random_state)
        self.remark = remark


def run(model: Any) -> Run:
    return Run(model, pd.DataFrame({"loss": [0.5, 0.25], "note": ["a", "b"]}))


def test_a_run_is_saved_without_pickle_and_comes_back() -> None:
    made = run(make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(X, Y))
    stream = io.BytesIO()
    persist.save(made, stream)
    with zipfile.ZipFile(stream) as archive:
        assert all(name.endswith((".npy", ".json")) for name in archive.namelist())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = persist.load(stream.getvalue())
    assert type(loaded) is Run
    assert np.array_equal(loaded.model.predict_proba(X), made.model.predict_proba(X))
    pd.testing.assert_frame_equal(loaded.log, made.log)


def test_an_estimator_that_no_pack_knows_is_refused_with_the_way_out() -> None:
    made = run(make_pipeline(StandardScaler(), Mine()).fit(X, Y))
    with pytest.raises(persist.errors.SchemaError, match="Mine") as caught:
        persist.save(made, io.BytesIO())
    assert "persist.register" in str(caught.value) or "Versioned" in str(caught.value)


@pytest.fixture
def registry() -> persist.Registry:
    made = persist.Registry("lab")
    made.register(Forest, version=2, schema="lab.Forest")
    return made


def test_a_declared_subclass_of_an_estimator_is_saved_and_comes_back(
    registry: persist.Registry,
) -> None:
    made = Forest(remark="mine").fit(X, Y)
    stream = io.BytesIO()
    persist.save(made, stream, registry=registry)
    loaded = persist.load(stream.getvalue(), registry=registry)
    assert type(loaded) is Forest
    assert loaded.remark == "mine"
    assert np.array_equal(loaded.predict_proba(X), made.predict_proba(X))


def test_an_older_one_is_no_half_made_object_and_a_step_adds_what_it_lacks(
    registry: persist.Registry,
) -> None:
    made = Forest(remark="mine").fit(X, Y)
    expected = made.predict_proba(X)
    made.base_estimator = made.__dict__.pop("estimator")  # as before scikit-learn 1.2
    data = pickle.dumps(made)

    def renamed(state: dict[str, Any]) -> dict[str, Any]:
        state["estimator"] = state.pop("base_estimator")
        return state

    bare = persist.Registry("bare")
    bare.register(Forest, version=1, schema="lab.Forest")
    with pytest.raises(persist.errors.RestoreError, match="lacks estimator"):
        persist.load(data, registry=bare)
    registry.migration("lab.Forest", 1)(renamed)
    loaded = persist.load(data, registry=registry)
    assert np.array_equal(loaded.predict_proba(X), expected)


class Trial(persist.Versioned, version=2, schema="interop.Trial"):
    models: list[Any]
    frames: dict[str, Any]
    when: dict[str, Any]

    def __init__(self, models: Any, frames: Any, when: Any) -> None:
        self.models, self.frames, self.when = models, frames, when


@persist.migration("interop.Trial", 1)
def named_when(state: dict[str, Any]) -> dict[str, Any]:
    assert type(state["times"]["duration"]) is datetime.timedelta  # as without pandas
    state["when"] = state.pop("times")
    return state


class OldTrial:
    """What pickle wrote of a trial of version 1."""


TIMES = {
    "zoned": pd.Timestamp("2020-01-01 00:00:00.000000001", tz=zoneinfo.ZoneInfo("Europe/Berlin")),
    "duration": pd.Timedelta("1h"),
    "month": pd.Period("2020-01", "M"),
    "interval": pd.Interval(0, 1, closed="left"),
    "times": pd.Interval(pd.Timestamp(0), pd.Timestamp(1)),
    "never": pd.NaT,
    "missing": pd.NA,
    "offset": pd.offsets.MonthEnd(2),
}


@pytest.mark.parametrize("door", ["save", "pickle", "migrated"])
def test_times_and_lists_of_objects_in_a_class_with_steps(door: str) -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(2, random_state=0)).fit(X, Y)
    log = pd.DataFrame({"a": [1, 2], "p": pd.period_range("2020", "2021", freq="Y")})
    made = Trial([pipeline, {"same": pipeline}], {"log": log, "a": log["a"]}, TIMES)
    if door == "save":
        stream = io.BytesIO()
        persist.save(made, stream)
        data = stream.getvalue()
    elif door == "pickle":
        data = pickle.dumps(made)
    else:
        old = OldTrial()
        old.__dict__.update(models=made.models, frames=made.frames, times=made.when)
        data = pickle.dumps(old, 0).replace(f"{__name__}\nOldTrial".encode(), b"interop\nTrial")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = persist.load(data)
    assert type(loaded) is Trial
    assert loaded.models[1]["same"] is loaded.models[0]
    assert np.array_equal(loaded.models[0].predict_proba(X), pipeline.predict_proba(X))
    pd.testing.assert_frame_equal(loaded.frames["log"], log)
    pd.testing.assert_series_equal(loaded.frames["a"], log["a"])
    for name, value in TIMES.items():
        found = loaded.when[name]
        assert type(found) is type(value), name
        assert found is value or found == value, name

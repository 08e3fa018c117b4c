"""Users' subclasses of library classes: the pack upgrades the library's part, the user's steps the rest.

What genuine releases of 2018 wrote is in ``tests/foundry/subclasses``, with its recipe.
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

nx = pytest.importorskip("networkx")
pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.cross_decomposition import PLSRegression  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    GradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

ARCHIVE = Path(__file__).parents[1] / "foundry" / "subclasses" / "2018.zip"
X = np.sin(np.arange(240.0)).reshape(60, 4)
Y = np.arange(60) % 3


class MyForest(RandomForestClassifier):
    pass


class MyTunedForest(RandomForestClassifier):
    def __init__(self, n_estimators: int = 5, random_state: int = 0, normalize: bool = True):
        super().__init__(n_estimators=n_estimators, random_state=random_state)
        self.normalize = normalize


class MyScaler(StandardScaler):
    pass


class MyBoosting(GradientBoostingClassifier):
    pass


class MyIsolation(IsolationForest):
    pass


class MySVC(SVC):
    pass


class MyLogistic(LogisticRegression):
    pass


class MyProjection(PLSRegression):
    pass


class MyFrame(pd.DataFrame):
    _metadata = ["units"]  # as pandas declares it

    @property
    def _constructor(self) -> Any:
        return MyFrame


class MySeries(pd.Series):
    _metadata = ["name", "units"]

    @property
    def _constructor(self) -> Any:
        return MySeries


class MyGraph(nx.Graph):
    pass


class MyRoads(nx.MultiDiGraph):
    pass


class VersionedForest(persist.Versioned, RandomForestClassifier, version=2, schema="lab2.MyForest"):
    def __init__(self, n_estimators: int = 5, random_state: int = 0):
        RandomForestClassifier.__init__(self, n_estimators=n_estimators, random_state=random_state)


@persist.migration("lab2.MyForest", 1)
def of_versioned(state: dict[str, Any]) -> dict[str, Any]:
    return noted(state)


class VersionedScaler(persist.Versioned, StandardScaler, version=1, schema="lab2.MyScaler"):
    pass


class VersionedFrame(persist.Versioned, pd.DataFrame, version=1, schema="lab2.MyFrame"):
    _metadata = ["units"]

    @property
    def _constructor(self) -> Any:
        return VersionedFrame


class VersionedRoads(persist.Versioned, nx.MultiDiGraph, version=1, schema="lab2.MyRoads"):
    pass


CLASSES = (
    MyForest, MyTunedForest, MyScaler, MyBoosting, MyIsolation, MySVC, MyLogistic, MyProjection,
    MyFrame, MySeries, MyGraph, MyRoads,
)  # fmt: skip


def noted(state: dict[str, Any]) -> dict[str, Any]:
    state["note"] = state.pop("remark")
    return state


def written_by(release: str) -> Any:
    def step(state: dict[str, Any]) -> dict[str, Any]:
        state["_sklearn_version"] = release
        return state

    return step


@pytest.fixture
def registry() -> persist.Registry:
    made = persist.Registry("lab")
    for cls in CLASSES:
        made.register(cls, version=2 if cls is MyForest else 1, schema=f"lab.{cls.__name__}")
    made.migration("lab.MyForest", 1)(noted)
    return made


def written(name: str) -> bytes:
    with zipfile.ZipFile(ARCHIVE) as archive:
        return archive.read(f"{name}.pkl")


def check_answers(model: Any, name: str) -> None:
    with (
        zipfile.ZipFile(ARCHIVE) as archive,
        np.load(io.BytesIO(archive.read(f"{name}.npz"))) as recorded,
    ):
        assert recorded.files
        for method in recorded.files:
            np.testing.assert_allclose(
                getattr(model, method)(X), recorded[method], rtol=1e-9, atol=1e-12, err_msg=method
            )


def loaded(data: bytes, registry: persist.Registry | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return persist.load(data, registry=registry)


@pytest.mark.parametrize("name", ["forest", "tuned_forest", "scaler", "boosting", "isolation"])
def test_an_estimator_of_2018_answers_as_it_did(name: str, registry: persist.Registry) -> None:
    model = loaded(written(name), registry)
    assert type(model).__name__ == "My" + name.title().replace("_", "")
    check_answers(model, name)
    clone(model)
    assert type(model) is not MyForest or (model.note == "of 2018" and not hasattr(model, "remark"))
    assert type(model) is not MyTunedForest or model.normalize is True
    stream = io.BytesIO()
    persist.save(model, stream, registry=registry)
    check_answers(loaded(stream.getvalue(), registry), name)


@pytest.mark.parametrize(
    ("name", "cls"), [("forest", VersionedForest), ("scaler", VersionedScaler)]
)
def test_one_that_is_versioned_since_answers_too(name: str, cls: type) -> None:
    data = written(name).replace(b"clab\nMy", b"clab2\nMy")
    model = loaded(data)
    assert type(model) is cls
    check_answers(model, name)
    assert type(loaded(pickle.dumps(model))) is cls
    check_answers(loaded(pickle.dumps(model)), name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("svc", "no release of scikit-learn is recorded in it"),
        ("logistic", "no release of scikit-learn is recorded in it"),
        ("pipeline", "fitted by a release before 0.21"),  # which the scaler inside says
    ],
)
def test_what_would_answer_otherwise_is_refused_with_the_reason(
    name: str, why: str, registry: persist.Registry
) -> None:
    with pytest.raises(persist.errors.RestoreError, match=why):
        persist.load(written(name), registry=registry)


def test_a_step_may_name_the_release() -> None:
    model = MySVC(gamma="scale").fit(X, Y)
    data = pickle.dumps(model).replace(b"n_features_in_", b"n_features_of_")  # as before 0.23
    bare = persist.Registry("bare")
    bare.register(MySVC, version=1)
    with pytest.raises(persist.errors.RestoreError, match="_sklearn_version"):
        persist.load(data, registry=bare)
    named = persist.Registry("named")
    named.register(MySVC, version=2)
    named.migration(f"{__name__}.MySVC", 1)(written_by("0.22.2"))
    answers = loaded(data, named).decision_function(X)
    np.testing.assert_allclose(answers, model.decision_function(X), rtol=1e-9)


def test_one_model_a_class_is_no_instance_of_the_subclass() -> None:
    named = persist.Registry("named")
    named.register(MyLogistic, version=2, schema="lab.MyLogistic")
    named.migration("lab.MyLogistic", 1)(written_by("0.20.4"))
    with pytest.raises(persist.errors.RestoreError, match="OneVsRestClassifier"):
        persist.load(written("logistic"), registry=named)


def test_a_container_records_the_release(registry: persist.Registry) -> None:
    """A square matrix of coefficients does not say whether it was transposed, in 1.3."""
    model = MyProjection(2).fit(X, X[:, ::-1] ** 2)
    with pytest.raises(persist.errors.RestoreError, match="no release of scikit-learn"):
        persist.load(pickle.dumps(model), registry=registry)
    stream = io.BytesIO()
    persist.save(model, stream, registry=registry)
    np.testing.assert_array_equal(loaded(stream.getvalue(), registry).predict(X), model.predict(X))


def test_frames_and_series_of_2018(registry: persist.Registry) -> None:
    frame, series = (loaded(written(name), registry) for name in ("frame", "series"))
    expected = pd.DataFrame(
        {
            "a": [1.5, 2.5],
            "b": pd.Series(["x", "y"], dtype=object),
            "c": np.array(["2018-01-01"] * 2, "datetime64[ns]"),
        }
    )
    assert (type(frame), frame.units, type(frame.head(1))) == (MyFrame, {"a": "m"}, MyFrame)
    pd.testing.assert_frame_equal(pd.DataFrame(frame), expected, check_column_type=False)
    assert (type(series), series.units, series.name) == (MySeries, "s", "n")
    assert series.to_dict() == {"a": 1, "b": 2, "c": 3}
    held = loaded(written("frames"), registry)
    assert type(held["train"]) is MyFrame
    assert held["rest"][1] == pd.Timestamp("2018-01-01", tz="UTC")
    for value in (frame, series):
        stream = io.BytesIO()
        persist.save(value, stream, registry=registry)
        again = loaded(stream.getvalue(), registry)
        assert type(again) is type(value)
        assert again.equals(value)
        assert again.units == value.units


def test_frames_that_are_versioned() -> None:
    frame = loaded(written("frame").replace(b"clab\nMy", b"clab2\nMy"))
    assert type(frame) is VersionedFrame
    again = loaded(pickle.dumps(frame))
    assert again.equals(frame)
    assert again.units == {"a": "m"}


def test_graphs_of_2018(registry: persist.Registry) -> None:
    graph, roads = (loaded(written(name), registry) for name in ("graph", "roads"))
    assert (type(graph), graph.owner) == (MyGraph, "me")
    assert dict(graph.nodes(data=True)) == {"a": {}, "b": {}, "c": {"colour": "red"}}
    assert graph["b"]["a"] is graph["a"]["b"]
    assert list(roads.edges(data="km")) == [(1, 2, 3), (1, 2, 4)]
    assert list(roads.reverse().edges(data="km")) == [(2, 1, 3), (2, 1, 4)]
    assert roads.graph == {"unit": "km"}
    versioned = loaded(written("roads").replace(b"clab\nMy", b"clab2\nMy"))
    assert type(versioned) is VersionedRoads
    assert list(versioned.edges(data="km")) == [(1, 2, 3), (1, 2, 4)]


def test_graphs_that_hold_views_of_themselves(registry: persist.Registry) -> None:
    graph = MyGraph([(1, 2)])
    assert len(graph.nodes) == 2  # networkx keeps the view in the graph
    assert list(graph.edges) == [(1, 2)]
    again = loaded(pickle.dumps(graph), registry_of(MyGraph))
    assert list(again.edges) == [(1, 2)]


def registry_of(cls: type) -> persist.Registry:
    made = persist.Registry("one")
    made.register(cls, version=1)
    return made

"""With a genuine scikit-learn of today: estimators of sixteen releases answer as they did."""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

sklearn = pytest.importorskip("sklearn")

FOUNDRY = Path(__file__).parents[1] / "foundry" / "sklearn"


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"foundry_sklearn_{name}", FOUNDRY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


compare = module("compare")


@pytest.fixture(scope="module")
def make() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module("make")


def matrix() -> dict[str, dict[str, str]]:
    """Release -> estimator -> what the committed table says."""
    lines = (FOUNDRY / "matrix.tsv").read_text(encoding="utf-8").splitlines()
    columns = lines[0].split("\t")[1:]
    rows = [line.split("\t") for line in lines[1:]]
    return {
        release: {row[0]: row[number] for row in rows if row[number]}
        for number, release in enumerate(columns, 1)
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", compare.archives(), ids=compare.name_of)
def test_answers_are_those_of_the_release_that_wrote_them(path: Path, make: Any) -> None:
    expected = matrix()[compare.name_of(path)]
    found = {
        name: compare.verdict(make, name, data, old) for name, data, old in compare.cases(path)
    }
    assert found == expected


def test_the_table_holds_only_equal_and_refused() -> None:
    verdicts = [verdict for cells in matrix().values() for verdict in cells.values()]
    assert {verdict.partition(":")[0] for verdict in verdicts} == {"equal", "refused"}
    assert verdicts.count("equal") > 0.95 * len(verdicts)


def first(release: str, name: str) -> bytes:
    found: bytes = next(
        data for case, data, _ in compare.cases(FOUNDRY / f"{release}.zip.xz") if case == name
    )
    return found


def test_no_release_warning_and_the_installed_release_is_recorded() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forest = persist.load(first("0.20.4", "forest_classifier"))
        again = pickle.loads(pickle.dumps(forest))  # sklearn's own check of releases passes
    assert forest.__getstate__()["_sklearn_version"] == sklearn.__version__
    assert np.array_equal(
        again.predict_proba(np.zeros((1, 4))), forest.predict_proba(np.zeros((1, 4)))
    )


def test_records_as_before_when_no_objects_are_wanted() -> None:
    with pytest.warns(persist.errors.OpaqueWarning):
        forest = persist.load(first("0.20.4", "forest_classifier"), live=False)
    assert isinstance(forest, persist.Record)
    assert persist.open(first("0.20.4", "forest_classifier")).arrays


def test_an_object_can_be_fitted_again() -> None:
    x, y = np.sin(np.arange(80.0)).reshape(20, 4), np.arange(20) % 2
    for name in ("forest_classifier", "boosting_classifier", "svc_rbf", "logistic", "pipeline"):
        model = persist.load(first("0.18.2", name))
        if name == "svc_rbf":
            model.gamma = "scale"
        assert model.fit(x, y).predict(x).shape == (20,)


def test_objects_inside_of_plain_containers() -> None:
    from sklearn.preprocessing import StandardScaler

    data = pickle.dumps({"model": StandardScaler().fit(np.eye(2)), "loss": 0.5})
    loaded = persist.load(data)
    assert type(loaded["model"]).__name__ == "StandardScaler"
    assert loaded["loss"] == 0.5


def test_a_tree_whose_indices_lead_out_of_it_is_refused() -> None:
    """The library's compiled code would follow them."""
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=2).fit(np.arange(8.0)[:, None], np.arange(8) % 3)
    for column, value in (("left_child", 10**6), ("right_child", 0), ("feature", 7)):
        arguments, state = model.tree_.__reduce__()[1:]
        state["nodes"][column][0] = value
        evil = pickle.dumps(model.tree_).replace(
            model.tree_.__getstate__()["nodes"].tobytes(), state["nodes"].tobytes()
        )
        assert arguments
        with pytest.warns(persist.errors.OpaqueWarning, match="no object of it can be made"):
            assert isinstance(persist.load(evil), persist.Record)


def test_a_future_release_is_refused() -> None:
    from sklearn.preprocessing import StandardScaler

    data = pickle.dumps(StandardScaler().fit(np.eye(2)), 2)
    version = sklearn.__version__.encode()
    newer = data.replace(version, b"9" + version[1:])
    assert newer != data
    with pytest.warns(persist.errors.OpaqueWarning, match=r"states up to .* are known"):
        assert isinstance(persist.load(newer), persist.Record)


def test_what_is_not_vouched_for_stays_a_record() -> None:
    evil = b"csklearn.utils._testing\nignore_warnings\n)R."
    with pytest.warns(persist.errors.OpaqueWarning):
        assert isinstance(persist.load(io.BytesIO(evil)), persist.Record)


def test_lengths_and_features_that_compiled_code_would_follow_are_checked() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.svm import SVC

    x, y = np.sin(np.arange(80.0)).reshape(20, 4), np.arange(20) % 2
    svm = SVC().fit(x, y)
    svm._n_support = svm._n_support * 1000
    forest = RandomForestRegressor(2, max_depth=2, random_state=0).fit(x, y)
    forest.n_features_in_ = 1
    boosting = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(x, y)
    boosting._predictors[0][0].nodes["feature_idx"][0] = 10**6
    for model in (svm, forest, boosting):
        with pytest.warns(persist.errors.OpaqueWarning, match="no object of it can be made"):
            assert isinstance(persist.load(pickle.dumps(model)), persist.Record)


class Holder:
    """A class that is not declared, and holds an estimator."""


def test_what_is_trusted_is_never_made_around_a_record() -> None:
    holder = Holder()
    holder.model = None  # type: ignore[attr-defined]
    refused = first("0.20.4", "adaboost_classifier")
    shell = pickle.dumps(holder, 2)
    at = shell.rindex(b"N")  # the opcode of None
    data = shell[:at] + refused[2:-1] + shell[at + 1 :]
    name = f"{Holder.__module__}.Holder"
    with pytest.raises(persist.errors.RestoreError, match=r"SAMME\.R") as caught:
        persist.load(data, trust=[name])
    assert "live=False" in str(caught.value)
    with pytest.warns(persist.errors.OpaqueWarning):
        assert isinstance(persist.load(data, trust=[name], live=False), persist.Record)
    with pytest.warns(persist.errors.OpaqueWarning):
        assert isinstance(persist.load(data), persist.Record)


def test_a_trusted_estimator_of_a_release_that_is_not_known_is_made_as_its_pickle_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from persist.migrations._sklearn import rebuilding
    from sklearn.preprocessing import StandardScaler

    data = pickle.dumps(StandardScaler().fit(np.eye(2)))
    monkeypatch.setattr(rebuilding, "NEWEST", "1.0")
    rebuilding._check_installed.cache_clear()
    try:
        with pytest.warns(persist.errors.OpaqueWarning, match="objects are made for"):
            assert isinstance(persist.load(data), persist.Record)
        made = persist.load(data, trust=["sklearn.preprocessing._data.StandardScaler"])
        assert isinstance(made, StandardScaler)
        with pytest.raises(persist.errors.RestoreError, match="objects are made for"):
            persist.save(StandardScaler(), io.BytesIO())
    finally:
        rebuilding._check_installed.cache_clear()

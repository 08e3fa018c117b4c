"""Write objects of users' subclasses of library classes, with genuine old releases.

    python3.6 make.py OUT    # scikit-learn 0.20.4, pandas 0.24.2, NumPy 1.16.6 and networkx 1.11

One archive: a pickle of each object, and what it answered. The classes are of a module named
``lab``, as a user's are; `tests/interop/test_users_subclasses.py` has them as they are today.
"""

import io
import json
import pickle
import sys
import types
import zipfile

import networkx as nx
import numpy as np
import pandas as pd
import sklearn
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

X = np.sin(np.arange(240.0)).reshape(60, 4)
Y = np.arange(60) % 3
RELEASES = {
    "networkx": nx.__version__, "numpy": np.__version__, "pandas": pd.__version__, "scikit-learn": sklearn.__version__,
}  # fmt: skip


class MyForest(RandomForestClassifier):
    """Its attribute ``remark`` is called ``note`` today."""


class MyTunedForest(RandomForestClassifier):
    """It has a parameter of its own, under a name that scikit-learn had and removed."""

    def __init__(self, n_estimators=5, random_state=0, normalize=True):
        super(MyTunedForest, self).__init__(n_estimators=n_estimators, random_state=random_state)
        self.normalize = normalize


class MyScaler(StandardScaler):
    """Nothing in its state records a release."""


class MyBoosting(GradientBoostingClassifier):
    """It holds trees, which record one."""


class MyIsolation(IsolationForest):
    """Its scores mean something else since, and the trees in it say so."""


class MySVC(SVC):
    """Nothing in its state records a release, and its decision function was another."""


class MyLogistic(LogisticRegression):
    """One model a class: today another class altogether."""


class MyFrame(pd.DataFrame):
    """A frame with an attribute of its own."""

    _metadata = ["units"]

    @property
    def _constructor(self):
        return MyFrame


class MySeries(pd.Series):
    """A series with an attribute of its own."""

    _metadata = ["name", "units"]

    @property
    def _constructor(self):
        return MySeries


class MyGraph(nx.Graph):
    """A graph with an attribute of its own."""


class MyRoads(nx.MultiDiGraph):
    """A directed graph with several edges between nodes."""


def objects():
    """Each object, by name."""
    forest = MyForest(n_estimators=5, random_state=0).fit(X, Y)
    forest.remark = "of 2018"
    yield "forest", forest
    yield "tuned_forest", MyTunedForest().fit(X, Y)
    yield "scaler", MyScaler().fit(X)
    yield "boosting", MyBoosting(n_estimators=5, random_state=0).fit(X, Y)
    yield "isolation", MyIsolation(
        n_estimators=5, random_state=0, behaviour="new", contamination="auto"
    ).fit(X)
    yield "svc", MySVC(gamma="scale").fit(X, Y)
    yield "logistic", MyLogistic(solver="liblinear", multi_class="ovr").fit(X, Y)
    yield "pipeline", make_pipeline(MyScaler(), PCA(2), MySVC(gamma="scale")).fit(X, Y)
    frame = MyFrame({"a": [1.5, 2.5], "b": ["x", "y"], "c": pd.to_datetime(["2018-01-01"] * 2)})
    frame.units = {"a": "m"}
    yield "frame", frame
    series = MySeries([1, 2, 3], index=list("abc"), name="n")
    series.units = "s"
    yield "series", series
    yield "frames", {"train": frame, "rest": [series, pd.Timestamp("2018-01-01", tz="UTC")]}
    graph = MyGraph()
    graph.add_edge("a", "b", weight=2)
    graph.add_node("c", colour="red")
    graph.owner = "me"
    yield "graph", graph
    roads = MyRoads()
    roads.add_edge(1, 2, km=3)
    roads.add_edge(1, 2, km=4)
    roads.graph["unit"] = "km"
    yield "roads", roads


def answers(model):
    """What an estimator says of `X`."""
    found = {}
    for method in ("predict", "predict_proba", "decision_function", "transform", "score_samples"):
        try:
            found[method] = np.asarray(getattr(model, method)(X))
        except (AttributeError, TypeError, ValueError):
            continue
    return found


def main(out):
    """Write the archive."""
    lab = types.ModuleType("lab")
    for value in list(globals().values()):
        if isinstance(value, type) and value.__name__.startswith("My"):
            value.__module__ = "lab"
            setattr(lab, value.__name__, value)
    sys.modules["lab"] = lab
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("releases.json", json.dumps(RELEASES))
        for name, value in objects():
            archive.writestr(name + ".pkl", pickle.dumps(value, 2))
            if hasattr(value, "fit"):
                stream = io.BytesIO()
                np.savez(stream, **answers(value))
                archive.writestr(name + ".npz", stream.getvalue())


if __name__ == "__main__":
    main(sys.argv[1])

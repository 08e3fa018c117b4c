"""The FAQ by error message: every message is found by its text, and the remedy beside it works."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import attrs
import numpy as np
import pytest

import persist
from persist import ops
from persist._cli import main

TOP = Path(__file__).parents[2]
CORPUS = TOP / "tests" / "corpus"
PAGE = TOP / "docs" / "errors.md"

Remedy = Callable[[Path], None]
REMEDIES: dict[str, Remedy] = {}

pytestmark = pytest.mark.packs


def remedy(*messages: str) -> Callable[[Remedy], Remedy]:
    """Declare what the page advises for these messages."""

    def declare(function: Remedy) -> Remedy:
        for message in messages:
            REMEDIES[message] = function
        return function

    return declare


def one_file(case: str) -> Path:
    """The input of a case of the corpus."""
    path = CORPUS / case
    if path.is_file():
        return path
    files = [one for one in sorted(path.iterdir()) if one.name not in ("expected.json", "make.py")]
    return next((one for one in files if not one.name.endswith(".npy")), files[0])


def has_arrays(case: str) -> None:
    with persist.open(one_file(case)) as file:
        assert sum(np.asarray(file.arrays[name]).size for name in file.arrays) > 0


def reduced(module: str, name: str, *args: object, state: object = None) -> bytes:
    """A pickle of a call of a function or class that need not exist here."""
    called = f"c{module}\n{name}\n".encode() + pickle.dumps(args, 2)[2:-1] + b"R"
    stated = b"" if state is None else pickle.dumps(state, 2)[2:-1] + b"b"
    return b"\x80\x02" + called + stated + b"."


# Libraries whose modules moved.


@remedy("No module named 'sklearn.externals.joblib'")
def externals(folder: Path) -> None:
    has_arrays("sklearn/sklearn-0.17.1-py27-forest-joblib")


@remedy("No module named 'sklearn.ensemble.forest'", "'sklearn.tree.tree'", "'sklearn.svm.classes'")
@remedy(
    "node array from the pickle has an incompatible dtype",
    "Buffer dtype mismatch, expected 'SIZE_t'",
)
@remedy("InconsistentVersionWarning")
def estimators(folder: Path) -> None:
    has_arrays("sklearn/sklearn-0.20.4-py27-tree-pickle-p0")


@remedy("No module named 'pandas.core.indexes.numeric'", "'pandas.indexes'")
def frames(folder: Path) -> None:
    has_arrays("pandas/pandas-0.18.1-py27-frame")
    has_arrays("pandas/pandas-1.0.5-py38-frame")


@remedy("No module named 'numpy._core'", "numpy._core.numeric")
def numpy_2(folder: Path) -> None:
    path = folder / "a.pkl"
    path.write_bytes(pickle.dumps({"w": np.arange(3.0)}).replace(b"numpy.core.", b"numpy._core."))
    assert main(["convert", str(path), "--to", "npz"]) == 0
    assert np.load(folder / "a.pkl.npz")["w"].tolist() == [0, 1, 2]


@remedy("__randomstate_ctor() takes from 0 to 1 positional arguments but 2 were given")
@remedy("MT19937 is not a known BitGenerator module")
def generators(folder: Path) -> None:
    for release in ("1.16.6-py36", "1.26.4-py39", "2.1.3-py312"):
        found = persist.load(CORPUS / "random" / f"numpy-{release}.pkl")
        assert "RandomState" in repr(found)


@remedy("No module named 'scipy.sparse._csr'", "'scipy.sparse._arrays'")
def sparse(folder: Path) -> None:
    has_arrays("scipy/scipy-1.9.3-py310-csr-matrix-array")


@remedy("No module named 'packaging._structures'")
def private_classes(folder: Path) -> None:
    data = reduced("packaging._structures", "InfinityType")
    with persist.open(data) as file:
        assert file.tree.qualname == "packaging._structures.InfinityType"


@remedy("No module named 'pathlib._local'", "cannot instantiate 'PosixPath' on your system")
def paths(folder: Path) -> None:
    found = persist.open(reduced("pathlib._local", "PosixPath", "data", "train.csv")).tree
    assert isinstance(found, PurePath)
    assert found.parts == ("data", "train.csv")


@remedy("'Graph' object has no attribute '_node'", "'_adj'")
def networks(folder: Path) -> None:
    data = reduced("networkx.classes.graph", "Graph", state={"node": {1: {}}, "adj": {1: {}}})
    assert persist.open(data).tree.node == {1: {}}

    class Graph(persist.Versioned, version=2, schema="faq.Graph"):
        persistent = ("_node", "_adj")

    persist.migration(Graph, 1, ops.rename("node", "_node"), ops.rename("adj", "_adj"))
    persist.alias("networkx.classes.graph.Graph", Graph)
    found = persist.load(data, assume_version=1)
    assert (found._node, found._adj) == ({1: {}}, {1: {}})


# Files that are not what they seem.


@remedy(r"No module named 'numpy.core.multiarray\r'")
def line_ends(folder: Path) -> None:
    data = pickle.dumps({"w": np.arange(3.0)}, 0).replace(b"\n", b"\r\n")
    with pytest.warns(persist.errors.DamageWarning, match="line ends were CR LF"):
        assert persist.load(data)["w"].tolist() == [0, 1, 2]


@remedy("invalid load key, 'v'")
def pointer(folder: Path) -> None:
    path = folder / "model.pkl"
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
    )
    with pytest.raises(persist.errors.PersistError, match="git lfs pull"):
        persist.open(path)


@remedy("invalid load key, '<'")
def web_page(folder: Path) -> None:
    with pytest.raises(persist.errors.PersistError, match=r"(?i)html"):
        persist.open(b"<!DOCTYPE html><html><body>Sign in</body></html>")


@remedy(r"invalid load key, '\x1f'", "'P'", r"'\x80'")
def other_loaders(folder: Path) -> None:
    data = pickle.dumps({"a": 1})
    assert persist.load(gzip.compress(data)) == {"a": 1}
    assert persist.load(bz2.compress(data)) == {"a": 1}
    made = io.BytesIO()
    np.savez(made, a=np.ones(2))
    assert persist.open(made.getvalue()).arrays["a"].tolist() == [1, 1]


@remedy("EOFError: Ran out of input", "pickle data was truncated")
def cut_off(folder: Path) -> None:
    data = pickle.dumps({"first": list(range(50)), "second": "x" * 500})
    with persist.open(data[:300], salvage=True) as file:
        assert file.damage
        assert "first" in str(file)


@remedy("unsupported pickle protocol: 5")
def newer_protocol(folder: Path) -> None:
    path = folder / "a.pkl"
    path.write_bytes(pickle.dumps({"a": [1, 2]}, 5))
    assert main(["convert", str(path), "--to", "pickle", "--protocol", "2", "--out", str(folder / "b.pkl")]) == 0  # fmt: skip
    data = (folder / "b.pkl").read_bytes()
    assert data[:2] == b"\x80\x02"
    assert pickle.loads(data) == {"a": [1, 2]}


@remedy("UnicodeDecodeError: 'ascii' codec can't decode byte")
def text_of_python_2(folder: Path) -> None:
    data = b"\x80\x02U\x04caf\xe9q\x00."
    assert persist.load(data, py2_str="latin-1") == "café"
    path = folder / "a.pkl"
    path.write_bytes(data)
    assert main(["inspect", str(path), "--py2-str", "latin-1"]) == 0


@remedy("Object arrays cannot be loaded when allow_pickle=False")
def objects_in_arrays(folder: Path) -> None:
    path = folder / "a.npy"
    np.save(path, np.array([{"a": 1}, None], object), allow_pickle=True)
    with persist.open(path) as file:
        assert file.tree[0] == {"a": 1}


# torch, Theano, Keras.


@remedy("Weights only load failed", "Unsupported global")
def weights_only(folder: Path) -> None:
    path = one_file("torch/torch-1.1.0-py37-modules")
    assert main(["scan", str(path)]) in (0, 1)
    has_arrays("torch/torch-1.1.0-py37-modules")


@remedy("No module named 'models'", "No module named 'utils'")
def whole_module(folder: Path) -> None:
    with persist.open(one_file("torch/torch-1.1.0-py37-modules")) as file:
        arrays = {name: np.zeros_like(np.asarray(file.arrays[name])) for name in file.arrays}
    report = persist.restore(one_file("torch/torch-1.1.0-py37-modules"), arrays, strict=False)
    assert report.filled


@remedy("Attempting to deserialize object on a CUDA device")
def device(folder: Path) -> None:
    has_arrays("torch/torch-1.12.1-py37-checkpoint-cuda-tag")


@remedy("Missing key(s) in state_dict", "Unexpected key(s) in state_dict")
def state_dict(folder: Path) -> None:
    path = folder / "a.npz"
    np.savez(path, **{"module.fc.weight": np.ones(3)})
    net = {"fc": {"weight": np.zeros(3)}}
    with pytest.raises(persist.errors.RestoreError, match=r"module\.fc\.weight"):
        persist.restore(path, net)
    persist.restore(path, net, match={r"module\.(.*)": r"\1"})
    assert net["fc"]["weight"].tolist() == [1, 1, 1]


@remedy("'GELU' object has no attribute 'approximate'")
def newer_attribute(folder: Path) -> None:
    @attrs.define
    class Act(persist.Versioned, version=2, schema="faq.Act"):
        kind: str
        approximate: str = "none"

    persist.migration(Act, 1, ops.add("approximate", "none"))
    assert persist.load(pickle.dumps({"kind": "gelu"}), Act, assume_version=1).approximate == "none"


@remedy("Cuda not found. Cannot unpickle CudaNdarray", "ContextNotDefined")
def gpu_arrays(folder: Path) -> None:
    has_arrays("theano/theano-0.7.0-sdist-cudandarray")


@remedy("Unknown layer: X", "Unrecognized keyword arguments: ['batch_shape']")
@remedy("'str' object has no attribute 'decode'", "bad marshal data (unknown type code)")
def keras(folder: Path) -> None:
    for case in (
        "keras-1.2.2-py27-mlp-adam",
        "keras-2.0.9-py36-cnn-bn",
        "keras-3.0.5-py311-legacy-h5",
    ):
        has_arrays(f"keras/{case}")
    with persist.open(one_file("keras/keras-1.2.2-py27-mlp-adam")) as file:
        assert file.structure


# Code and classes.


@remedy("Can't get attribute 'X' on <module '__main__'>")
def of_a_script(folder: Path) -> None:
    class Script(persist.Versioned, version=1, schema="faq.Script"):
        persistent = ("a",)

    persist.alias("__main__.FaqScript", Script)
    found = persist.load(reduced("__main__", "FaqScript", state={"a": 1}))
    assert type(found) is Script
    assert found.a == 1


@remedy("code() takes at least 14 arguments", "code() takes at least 16 arguments")
@remedy("model was saved with 1.2.2, running 1.3.0")
def byte_code(folder: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    data = cloudpickle.dumps({"f": lambda x: x + 1, "w": np.arange(3.0)})
    with persist.open(data) as file:
        assert file.arrays["w"].tolist() == [0, 1, 2]
        assert "cloudpickle" in str(file) or isinstance(file.tree["f"], persist.Record)


class Refused(persist.Versioned, Exception, version=1, schema="faq.Refused"):
    persistent = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


@remedy("__init__() missing 1 required positional argument")
def exceptions(folder: Path) -> None:
    found = pickle.loads(pickle.dumps(Refused(7, "late")))
    assert (found.code, found.reason) == (7, "late")


@remedy("RecursionError: maximum recursion depth exceeded")
def deep(folder: Path) -> None:
    value: list[Any] = []
    for _ in range(20_000):
        value = [value]
    persist.save(value, folder / "a.persist")
    found = persist.load(folder / "a.persist")
    for _ in range(20_000):
        (found,) = found
    assert found == []


@remedy("use_label_encoder", "If you are loading a serialized model")
def boosters(folder: Path) -> None:
    data = reduced("xgboost.sklearn", "XGBClassifier", state={"use_label_encoder": True, "n": 3})
    assert persist.open(data).tree.use_label_encoder is True


@remedy("a `dict` in the place of an object")
def never_silent(folder: Path) -> None:
    data = reduced("gone.models", "Net", state={"w": 1})
    with pytest.raises(persist.errors.UnknownSchemaError):
        persist.load(data, strict=True)

    class Pair(persist.Versioned, version=2, schema="faq.Pair"):
        persistent = ("a", "b")

    persist.migration(Pair, 1, ops.unpack("a", "b"))
    with pytest.raises(persist.errors.SchemaError):
        persist.load(pickle.dumps((1, 2, 3)), Pair, assume_version=1)


@remedy("`__setstate__` is not called")
def empty_state(folder: Path) -> None:
    found = pickle.loads(pickle.dumps(Empty()))
    assert found.was_loaded


class Empty(persist.Versioned, version=1, schema="faq.Empty"):
    persistent = ()
    was_loaded = False

    def __loaded__(self) -> None:
        self.was_loaded = True


@remedy("can't set attribute", "property 'x' of 'X' object has no setter")
def properties(folder: Path) -> None:
    class Sensor(persist.Versioned, version=2, schema="faq.Sensor"):
        persistent = ("_rate",)

        @property
        def rate(self) -> float:
            return float(self._rate)  # type: ignore[attr-defined]

    persist.migration(Sensor, 1, ops.rename("rate", "_rate"))
    assert persist.load(pickle.dumps({"rate": 50}), Sensor, assume_version=1).rate == 50.0


@pytest.mark.parametrize("message", REMEDIES)
def test_the_page_has_the_message_and_its_remedy_works(message: str, tmp_path: Path) -> None:
    assert message in PAGE.read_text(encoding="utf-8")
    REMEDIES[message](tmp_path)


def test_every_row_of_the_page_has_a_remedy_that_is_tried() -> None:
    rows = re.findall(r"^\| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [row for row in rows if row not in ("message", "---") and not row.startswith("---")]
    assert len(rows) >= 35
    for row in rows:
        assert any(message in row for message in REMEDIES), row

"""The names of the parts of a tuple that ``__getstate__`` gives travel with the file."""

import importlib
import io
import json
import pickle
import sys
import zipfile

import pytest

import persist
from persist._envelope import unwrap
from persist.errors import LayoutError

SOURCE = """
import persist
class Net(persist.Versioned, schema="names.Net"):
    def __getstate__(self):
        return ({first}, {second})
    def __setstate__(self, state):
        {first}, {second} = state
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function from the two attributes to a module with the class, imported anew."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(first, second):
        (tmp_path / "named_parts.py").write_text(SOURCE.format(first=first, second=second))
        sys.modules.pop("named_parts", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        return importlib.import_module("named_parts")

    yield make
    sys.modules.pop("named_parts", None)


def net(module):
    made = module.Net.__new__(module.Net)
    made.W, made.b = 1, 2
    return made


def test_names_are_in_the_container_and_in_the_envelope(module):
    lab = module("self.W", "self.b")
    file = io.BytesIO()
    persist.save(net(lab), file)
    entry = json.loads(zipfile.ZipFile(file).read("manifest.json"))["schemas"][0]
    assert entry["parts"] == [["W", "b"]]
    state = net(lab).__reduce_ex__(4)[2]
    assert unwrap(state).layers[0].names == ("W", "b")
    again = pickle.loads(pickle.dumps(net(lab)))
    assert (again.W, again.b) == (1, 2)


@pytest.mark.parametrize("format", ["persist", "pickle"])
def test_a_changed_order_is_an_error_not_swapped_values(module, format):
    file = io.BytesIO()
    persist.save(net(module("self.W", "self.b")), file, format=format)
    module("self.b", "self.W")
    with pytest.raises(LayoutError, match="parts of the state were W, b, and are b, W"):
        persist.load(file.getvalue())
    assert persist.explain(file.getvalue()).problems
    with pytest.warns(persist.errors.LayoutWarning):
        assert persist.load(file.getvalue(), layout="warn").b == 1


def test_a_plain_pickle_of_another_order_is_refused_too(module):
    data = pickle.dumps(net(module("self.W", "self.b")))
    module("self.b", "self.W")
    with pytest.raises(LayoutError):
        pickle.loads(data)

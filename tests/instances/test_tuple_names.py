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
from persist._layouts.checks import stated_parts
from persist._layouts.description import layout_of
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


CODEC_2 = """
import persist
class Net(persist.Versioned, schema="names.Net", version=2):
    def __getstate__(self):
        return {"W": self.W, "b": self.b}
    def __setstate__(self, state):
        self.W, self.b = state["W"], state["b"]
seen = []
@persist.migration(Net, 1)
def by_name(state):
    seen.append(type(state))
    return {"W": state["W"] + 10, "b": state["b"]}
"""
POINT = """
import persist
from collections import namedtuple
class Point(namedtuple("Point", "{fields}"), persist.Versioned, schema="names.Point", version={version}):
    pass
"""
POINT_2 = """
@persist.migration(Point, 1)
def third(state):
    return {"x": state["x"], "y": state["old"], "z": 0}
"""


def imported(tmp_path, source):
    (tmp_path / "named_parts.py").write_text(source)
    sys.modules.pop("named_parts", None)
    importlib.invalidate_caches()
    return importlib.import_module("named_parts")


@pytest.mark.parametrize("format", ["persist", "pickle"])
def test_steps_find_the_parts_by_name_without_the_old_class(module, tmp_path, format):
    """What was written by position is read by the names that the file states."""
    file = io.BytesIO()
    persist.save(net(module("self.W", "self.b")), file, format=format)
    lab = imported(tmp_path, CODEC_2)
    again = persist.load(file.getvalue())
    assert (again.W, again.b) == (11, 2)
    assert issubclass(lab.seen[0], tuple)
    if format == "pickle":
        assert pickle.loads(file.getvalue()).W == 11


def test_parts_of_a_named_tuple_travel_with_the_container(module, tmp_path):
    lab = imported(tmp_path, POINT.format(fields="x old", version=1))
    file = io.BytesIO()
    persist.save([lab.Point(1, 2)], file)
    entry = json.loads(zipfile.ZipFile(file).read("manifest.json"))["schemas"][0]
    assert entry["parts"] == [["x", "old"]]
    imported(tmp_path, POINT.format(fields="x y z", version=2) + POINT_2)
    assert tuple(persist.load(file.getvalue())[0]) == (1, 2, 0)


def test_another_order_of_a_named_tuple_is_an_error(module, tmp_path):
    lab = imported(tmp_path, POINT.format(fields="x y", version=1))
    file = io.BytesIO()
    persist.save(lab.Point(1, 2), file)
    imported(tmp_path, POINT.format(fields="y x", version=1))
    with pytest.raises(LayoutError, match="the parts were x, y, and are y, x"):
        persist.load(file.getvalue())


@pytest.mark.parametrize("names", [[["W", "W"]], [["W", 3]], "W", [{}], [["W", ""]], 3, None])
def test_stated_names_that_are_none_are_passed_over(names):
    registry = persist.Registry("stated names")
    registry.register("names.Other", version=2)
    said = {"name": "names.Other", "version": 1, "parts": names}
    assert not stated_parts([said, {**said, "version": "1"}, {**said, "name": 1}], registry)
    found = stated_parts([{**said, "parts": [["W", "b"]]}], registry)
    assert found == {"names.Other": (1, (("W", "b"),))}


def test_the_layout_of_a_named_tuple_has_its_parts(module, tmp_path):
    """So that a lock file notices another one."""
    lab = imported(tmp_path, POINT.format(fields="x y", version=1))
    registry = persist.registry.default_registry
    one = layout_of(registry.schema_for(lab.Point), registry.layout(lab.Point))
    lab = imported(tmp_path, POINT.format(fields="x z", version=1))
    two = layout_of(registry.schema_for(lab.Point), registry.layout(lab.Point))
    assert [field.name for field in one.fields] == ["x", "y"]
    assert one.fingerprint != two.fingerprint

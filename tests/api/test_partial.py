"""Loads that keep what fails as records, and what takes the place of resources."""

import io
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import FailedRecordWarning, PersistError, SchemaError


class Item(persist.Versioned, version=2, schema="partial.Item"):
    persistent = ("n", "peer", "w")

    def __init__(self, n, peer=None, w=None):
        self.n, self.peer, self.w = n, peer, w


@persist.migration(Item, 1)
def _double(state):
    return {**state, "n": state["n"] * 2}


class Fragile(persist.Versioned, schema="partial.Fragile"):
    def __init__(self, n, parts=()):
        self.n, self.parts = n, parts

    def __getstate__(self):
        return self.n, self.parts

    def __setstate__(self, state):
        self.n, self.parts = state
        if self.n < 0:
            raise ValueError("negative")


class Loaded(persist.Versioned, schema="partial.Loaded"):
    persistent = ("n",)

    def __loaded__(self):
        if self.n < 0:
            raise ValueError("negative")


class Run(persist.Versioned, schema="partial.Run"):
    persistent = ("path", "log")
    data = persist.resource("path", open=lambda path: open(path))  # noqa: SIM115
    later = persist.resource("log", open=lambda path: Path(path).read_text(), missing="lazy")

    def __init__(self, path, log=None):
        self.path, self.log = path, log


def saved(obj, **options):
    file = io.BytesIO()
    persist.save(obj, file, **options)
    return file.getvalue()


def old_item(n):
    record = persist.Record("partial.Item", {"n": n, "peer": None, "w": np.arange(3.0)})
    record.version = 1
    return record


def test_a_record_whose_step_fails_stays_a_record_with_the_reason():
    data = saved({"good": old_item(1), "bad": old_item({}), "items": [Item(5), old_item(None)]})
    with pytest.raises(SchemaError):
        persist.load(data)
    with pytest.warns(FailedRecordWarning) as caught:
        found = persist.load(data, on_error="record")
    assert (found["good"].n, found["items"][0].n) == (2, 5)
    assert isinstance(found["bad"], persist.Record)
    assert found["bad"]["n"] == {}
    assert found["bad"].version == 1
    assert "TypeError" in str(found["bad"].failure)
    assert [entry[:2] for entry in caught[0].message.failures] == [
        ("bad", "partial.Item"), ("items/1", "partial.Item"),
    ]  # fmt: skip
    again = persist.open(saved(found)).tree["bad"]  # saved again as it was
    assert (again.version, again["n"]) == (1, {})
    found["good"].w[0] = 7.0  # private and writable, as ever


@pytest.mark.parametrize("format", ["persist", "pickle"])
def test_nothing_refers_to_an_instance_that_failed(format):
    part = Item(1)
    bad = Fragile(3, [part])
    part.peer = bad  # a cycle: the part is made while the whole is
    bad.n = -1
    data = saved({"bad": bad, "part": part, "other": Fragile(4)}, format=format)
    with pytest.warns(FailedRecordWarning, match="negative"):
        found = persist.load(data, on_error="record")
    assert isinstance(found["bad"], persist.Record)
    assert found["part"].peer is found["bad"]
    assert isinstance(found["part"], Item)
    assert found["other"].n == 4
    assert found["bad"].failure is not None


def test_the_root_that_fails_is_a_record_and_a_class_asked_for_it_changes_nothing():
    data = saved(Fragile(-1))
    with pytest.warns(FailedRecordWarning, match="the root"):
        assert isinstance(persist.load(data, Fragile, on_error="record"), persist.Record)


def test_what_is_made_and_cannot_be_finished_is_reported():
    loaded = Loaded.__new__(Loaded)
    loaded.n = -1
    with pytest.warns(FailedRecordWarning, match="negative"):
        assert persist.load(saved([loaded, 1]), on_error="record")[0].n == -1


def test_without_failures_it_is_an_ordinary_load():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = persist.load(saved([Item(1), old_item(2)]), on_error="record")
    assert [item.n for item in found] == [1, 4]
    assert found[0].__dict__.keys() == {"n", "peer", "w"}
    with pytest.raises(PersistError, match="on_error"):
        persist.load(saved(1), on_error="skip")


def test_fields_that_nothing_declares_are_still_reported():
    record = old_item(1)
    record.state["more"] = 1
    with pytest.warns(persist.errors.UnknownFieldWarning, match="more"):
        persist.load(saved(record), on_error="record")


# Resources.


@pytest.fixture
def run(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "d.txt").write_text("moved")
    persist.save(Run("/old/disk/d.txt"), tmp_path / "run.persist")
    return tmp_path


def test_a_resource_that_moved_is_said_at_load(run):
    here = os.fspath(run / "here" / "d.txt")
    with pytest.raises(SchemaError, match="resources="):
        persist.load(run / "run.persist")
    said = [
        {"data": here},
        {"partial.Run.data": here},
        {"data": run / "here" / "d.txt"},
        {"/old/disk/": f"{run}/here/"},
        {"/old/": "/nowhere/", "/old/disk/": run / "here" / "x" / ".." / ""},
        lambda path: path.replace("/old/disk", f"{run}/here"),
        {"data": "here/d.txt"},  # next to the file
    ]
    for resources in said:
        if isinstance(resources, dict) and "/old/" in resources:
            resources["/old/disk/"] = f"{run}/here/"  # the longest one counts
        loaded = persist.load(run / "run.persist", resources=resources)
        assert loaded.data.read() == "moved"
        assert loaded.path == "/old/disk/d.txt"  # the field is what the file has
        del loaded.data


def test_the_resource_itself_or_none_may_be_given(run):
    given = object()
    assert persist.load(run / "run.persist", resources={"data": given}).data is given
    assert persist.load(run / "run.persist", resources={"data": None}).data is None


def test_a_name_that_nothing_has_is_an_error(run):
    with pytest.raises(PersistError, match="'dta'"):
        persist.load(run / "run.persist", resources={"data": None, "dta": "x"})
    with pytest.raises(PersistError, match="'dta'"):
        persist.load(saved(1), resources={"dta": "x"})


def test_a_load_that_fails_closes_what_it_opened(run, monkeypatch):
    opened = []
    monkeypatch.setattr(
        Run.__dict__["data"],
        "open",
        lambda path: opened.append(open(path)) or opened[-1],  # noqa: SIM115
    )
    good, bad = Run("here/d.txt"), Run("missing.txt")
    persist.save([good, bad], run / "two.persist")
    with pytest.raises(SchemaError, match=r"missing\.txt"):
        persist.load(run / "two.persist")
    assert [file.closed for file in opened] == [True]


def test_a_lazy_resource_is_opened_as_the_load_would_have(run):
    persist.save(Run(None, "/old/disk/d.txt"), run / "lazy.persist")
    loaded = persist.load(run / "lazy.persist", resources={"later": "here/d.txt"})
    assert loaded.later == "moved"


def test_deleting_closes_and_the_next_use_opens_again(run):
    loaded = persist.load(run / "run.persist", resources={"data": "here/d.txt"})
    loaded.path = os.fspath(run / "here" / "d.txt")
    first = loaded.data
    del loaded.data
    assert first.closed
    assert loaded.data.read() == "moved"
    loaded.data.close()
    pickle.dumps(loaded)


# Parts of a file.


class Counted:
    """An open binary file that counts the bytes that are read of it."""

    def __init__(self, data):
        self.file, self.count = io.BytesIO(data), 0
        self.seek, self.tell = self.file.seek, self.file.tell

    def read(self, size=-1):
        data = self.file.read(size)
        self.count += len(data)
        return data

    def seekable(self):
        return True


@pytest.mark.parametrize("compress", [None, "deflate"])
def test_a_part_is_read_without_the_others(compress):
    noise = np.random.default_rng(0).random(400_000)
    parts = {
        "encoder": old_item(3),
        "decoder": persist.Record("partial.Item", {"w": noise}, version=1),
    }
    source = Counted(saved({"model": parts, "more": noise[::-1]}, compress=compress))
    assert persist.load(source, at="model/encoder").n == 6
    assert source.count < 300_000 < noise.nbytes / 10
    source.count = 0
    source.seek(0)
    with persist.open(source) as file:
        assert file.objects["model/encoder"].n == 6
    assert source.count < 300_000


def test_objects_are_made_when_they_are_asked_for():
    broken = persist.Record("partial.Item", {"n": None, "peer": None, "w": None}, version=1)
    shared = old_item(2)
    with persist.open(saved({"a": shared, "b": [shared, broken], "c": Item(1)})) as file:
        assert list(file.objects) == ["a", "b/1", "c"]
        assert len(file.objects) == 3
        first = file.objects["a"]
        assert isinstance(first, Item)
        assert first.n == 4
        assert file.objects["a"] is first is file.objects["b/0"]
        first.w[0] = 9.0
        assert file.arrays["a/w"][0] == 0.0  # the file is what it was
        assert file.tree["a"].version == 1
        assert file.objects["c"].n == 1
        assert isinstance(file.tree["c"], persist.Record)
        with pytest.raises(SchemaError):
            file.objects["b/1"]
        assert "a" in file.objects
        assert "d" not in file.objects
        with pytest.raises(persist.errors.UnknownPathError, match="'d'"):
            file.objects["d"]

"""States of one class: unversioned pickles, names that a file may not set, damaged envelopes.

An unversioned state says neither its version nor which class of the MRO a field belongs to.
"""

from __future__ import annotations

import copyreg
import pickle
import struct
import sys
import textwrap
import types
import warnings
from typing import Any

import pytest

import persist
from persist.errors import PersistError, SchemaError

RECONSTRUCTOR: Any = vars(copyreg)["_reconstructor"]


@pytest.fixture
def lab():
    """Return a function that makes the module `states_lab` anew from source text."""

    def make(source: str) -> Any:
        made = sys.modules["states_lab"] = types.ModuleType("states_lab")
        exec(textwrap.dedent(source), vars(made))
        return made

    yield make
    sys.modules.pop("states_lab", None)


def with_state(cls: type, state: Any) -> bytes:
    """Return a pickle of an instance of a class whose state is this."""

    class Stand:
        def __reduce__(self) -> Any:
            return RECONSTRUCTOR, (cls, object, None), state

    return pickle.dumps(Stand(), 2)


BOTH = pytest.mark.parametrize("load", [persist.load, pickle.loads])


# An unversioned state is never taken for an envelope.


def test_plain_pickle_of_bare_slots_is_migrated_from_the_second_instance_on(lab):
    old = lab("class A:\n    __slots__ = ('x', 'y')")
    a, b = old.A(), old.A()
    a.x, a.y, b.x, b.y = 1, 2, 3, 4
    data = pickle.dumps([a, b])
    lab("""
        import persist
        registry = persist.Registry("bare slots")
        class A(persist.Versioned, version=2, schema="lab.A", registry=registry):
            persistent = ("width", "y")
        registry.migration(A, 1, persist.ops.rename("x", "width"))
        """)
    assert [(one.width, one.y) for one in pickle.loads(data)] == [(1, 2), (3, 4)]


def test_a_codec_state_that_begins_with_none_reaches_the_codec_whole(lab):
    codec = """
            def __getstate__(self): return (self.label, self.pair)
            def __setstate__(self, s): self.label, self.pair = s
        """
    old = lab(f"class A:{codec}")
    a, b = old.A(), old.A()
    a.label, a.pair, b.label, b.pair = "one", (1, 2), None, (3, 4)
    data = pickle.dumps([a, b])
    lab(f"""
        import persist
        class A(persist.Versioned, schema="lab.B", registry=persist.Registry("codec")):{codec}
        """)
    assert [vars(one) for one in pickle.loads(data)] == [
        {"label": "one", "pair": (1, 2)},
        {"label": None, "pair": (3, 4)},
    ]


# Private names belong to the class in whose body they are written.


PRIVATE = """
    import persist
    class Base(persist.Versioned, version=2, schema="{name}.Base"):
        persistent = ("__rate",)
        def rate(self): return self.__rate
    class Net(Base, schema="{name}.Net"):
        persistent = {fields}
        def own(self): return self.__rate
    @persist.stamp(Base)
    def by_name(state): return 2 if "__rate" in state else 1
    persist.migration(Base, 1, persist.ops.{step})
    """


@BOTH
def test_private_fields_of_a_base_survive_in_a_subclass(lab, load):
    old = lab("""
        class Base:
            def __init__(self): self.__rate = 3
        class Net(Base): pass
        """)
    data = pickle.dumps([old.Base(), old.Net()])
    name = f"private.{load.__name__}"
    lab(PRIVATE.format(name=name, fields="()", step="add('__rate', 0)"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [one.rate() for one in load(data)] == [3, 3]


@BOTH
def test_a_base_and_a_subclass_may_have_private_fields_of_one_name(lab, load):
    old = lab("""
        class Base:
            def __init__(self): self.__old = 3
        class Net(Base):
            def __init__(self): super().__init__(); self.__rate = 4
        """)
    data = pickle.dumps(old.Net())
    name = f"private.both.{load.__name__}"
    lab(PRIVATE.format(name=name, fields="('__rate',)", step="rename('__old', '__rate')"))
    net = load(data)
    assert (net.rate(), net.own()) == (3, 4)


# What a class declares transient, or gives a default, is its own.


def test_a_transient_field_of_an_attrs_base_is_transient_in_subclasses(tmp_path, lab):
    made = lab("""
        import attrs, persist
        registry = persist.Registry("transient base")
        @attrs.define(eq=False)
        class Base(persist.Versioned, schema="lab.Base", registry=registry):
            x: int = 0
            cache: object = None
            transient = ("cache",)
        @attrs.define(eq=False)
        class Sub(Base, schema="lab.Sub", registry=registry):
            y: int = 1
        """)
    path = tmp_path / "t.persist"
    persist.save([made.Base(1, "big"), made.Sub(1, "big", 2)], path, registry=made.registry)
    loaded = persist.load(path, registry=made.registry)
    assert [one.cache for one in loaded] == [None, None]
    assert sorted(persist.open(path).scalars) == ["0/x", "1/x", "1/y"]
    loaded = pickle.loads(pickle.dumps([made.Base(1, "big"), made.Sub(1, "big", 2)]))
    assert [one.cache for one in loaded] == [None, None]


@BOTH
def test_a_mutable_default_is_made_anew_for_each_instance(lab, load):
    old = lab("class A: pass")
    a, b = old.A(), old.A()
    a.a, b.a = 1, 2
    data = pickle.dumps([a, b])
    lab("""
        import persist
        class A(persist.Versioned, schema="states.Defaults"):
            persistent = {"a": None, "log": []}
        """)
    x, y = load(data)
    x.log.append("x")
    assert (x.log, y.log) == (["x"], [])


def test_defaults_of_a_schema_by_name_complete_its_records():
    registry = persist.Registry("by name")
    registry.register("x.A", version=1, fields={"a": 1, "b": []})
    data = b"\x80\x02cx\nA\n)\x81}(U\x01aK\x05ub."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = (persist.load(data, registry=registry) for _ in range(2))
    assert (first.a, first.b) == (5, [])
    assert first.b is not second.b


# Names by which Python finds code or identity never come from a file.


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("__class__", b"cstates_lab\nOther\n"),
        ("__dict__", b"}" + _text("x") + b"K\x01s"),
        ("__loaded__", b"K\x05"),
        ("_persist_road", b"K\x05"),
        ("__setstate__", b"K\x01"),
        ("__reduce_ex__", b"K\x01"),
    ],
)
@pytest.mark.parametrize("kind", ["open", "keep", "pickle"])
def test_a_file_sets_no_name_of_the_machinery(lab, name, value, kind):
    lab("""
        import persist
        ran = []
        class All(persist.Versioned, schema="machinery.All"): pass
        class Kept(persist.Versioned, schema="machinery.Kept"):
            persistent = ("w",)
        class Other(persist.Versioned, schema="machinery.Other"):
            persistent = ("a",)
            def __loaded__(self): ran.append(self)
        """)
    cls = "Kept" if kind == "keep" else "All"
    field = _text("w") + b"K\x01s" if kind == "keep" else b""
    data = b"\x80\x04cstates_lab\n%s\n)\x81}" % cls.encode() + field + _text(name) + value + b"sb."
    with pytest.raises(PersistError, match=name):
        if kind == "pickle":
            pickle.loads(data)
        else:
            persist.load(data, unknown="keep" if kind == "keep" else "warn")
    assert sys.modules["states_lab"].ran == []


def test_other_names_with_two_underscores_are_ordinary_attributes(lab):
    made = lab("class Graph: pass")
    graph = made.Graph()
    graph.nodes = {1: {}}
    vars(graph)["__graph_cache__"] = {}
    loaded = persist.load(pickle.dumps(graph, 2), trust=["states_lab.Graph"])
    assert type(loaded) is made.Graph
    assert vars(loaded) == {"nodes": {1: {}}, "__graph_cache__": {}}


@pytest.mark.packs  # Python 2's names lead to today's by a pack
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_subclasses_of_builtins_load_from_every_protocol(lab, protocol):
    made = lab("""
        import collections
        class Trace(list): pass
        class Settings(dict): pass
        class Label(str): pass
        class Count(int): pass
        Point = collections.namedtuple("Point", "x y", module="states_lab")
        """)
    trace, settings = made.Trace([1, 2]), made.Settings(rate=0.5)
    trace.unit, settings.origin = "mV", "lab"
    old = [trace, settings, made.Label("abc"), made.Count(7), made.Point(1, 2.5)]
    loaded = persist.load(pickle.dumps(old, protocol), trust=["states_lab.*"])
    assert loaded == old
    assert list(map(type, loaded)) == list(map(type, old))
    assert (loaded[0].unit, loaded[1].origin) == ("mV", "lab")


# Envelopes that nobody of ours wrote.


@BOTH
def test_a_huge_version_in_an_envelope_is_refused(lab, load):
    made = lab("""
        import persist
        class K(persist.Versioned, schema="envelopes.K"):
            persistent = ("w",)
        """)
    layer = ("envelopes.K", 2**70, "", "fields", ("w",))
    for header in (
        ("persist.envelope", 1, (layer,)),
        ("persist.envelope", 2**70, (layer,)),
    ):
        with pytest.raises(PersistError):
            load(with_state(made.K, (header, (1,))))


@BOTH
def test_an_envelope_of_another_class_is_refused_and_the_alias_of_its_remedy_helps(lab, load):
    name = f"envelopes.{load.__name__}"
    made = lab(f"""
        import persist
        class K(persist.Versioned, schema="{name}.K"):
            persistent = ("w",)
        class O(persist.Versioned, schema="{name}.O"):
            persistent = ("w",)
        """)
    obj = made.K()
    obj.w = 1
    data = with_state(made.O, obj.__reduce_ex__(2)[2])
    with pytest.raises(
        SchemaError, match=r"another class here.*persist\.alias\('envelopes\..*\.K', O\)"
    ):
        load(data)
    persist.alias(f"{name}.K", made.O)
    loaded = load(data)
    assert (type(loaded), loaded.w) == (made.O, 1)

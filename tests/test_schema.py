"""Declared state: what a class says of its fields, and which class owns which."""

from __future__ import annotations

import dataclasses
import pickle
from typing import ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist.errors import SchemaError
from persist.registry import Registry
from persist.schema import Field, demangled, dotted, fingerprint, mangled
from persist.tree import ABSENT


@pytest.fixture
def registry():
    return Registry("test")


def names(registry, cls):
    return registry.schema_for(cls).names


# Fields.


def test_a_field_gives_its_default():
    assert Field("a", default=3).fresh({}) == 3
    assert Field("a", factory=list).fresh({}) == []
    assert Field("a", computed=lambda fields: fields["b"] * 2).fresh({"b": 2}) == 4
    assert Field("a", transient=True).fresh({}) is None
    assert not Field("a").has_default
    assert Field("a").default is ABSENT
    assert Field("a", default=None).has_default


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        (Field("a", type=int), 1, ""),
        (Field("a", type=int), "x", "it is a str, not a int"),
        (Field("a", type=(int, float)), "x", "it is a str, not a int or float"),
        (Field("a", dtype="f4"), np.zeros(2, "f4"), ""),
        (Field("a", dtype="f4"), np.zeros(2), "it is of dtype float64, not of dtype float32"),
        (Field("a", shape=(None, 3)), np.zeros((9, 3)), ""),
        (Field("a", shape=(None, 3)), np.zeros(3), "its shape is (3,), not (None, 3)"),
    ],
)
def test_a_field_says_in_what_a_value_is_wrong(field, value, fault):
    assert field.fault(value) == fault


def test_a_fingerprint_is_of_names_and_kinds_not_of_order():
    one = fingerprint([Field("a"), Field("b", dtype="f4")])
    assert one == fingerprint([Field("b", dtype="f4"), Field("a")])
    assert one != fingerprint([Field("a"), Field("b")])
    assert one != fingerprint([Field("a"), Field("c", dtype="f4")])
    assert fingerprint([Field("a")]) == "eea2eae0"
    assert len(one) == 8


# What a class says.


def test_persistent_may_be_names_fields_or_a_mapping(registry):
    class Named(persist.Versioned, registry=registry):
        persistent = ("a", Field("b", default=2))
        a = 5

    class Mapped(persist.Versioned, registry=registry):
        persistent: ClassVar = {"a": Field(dtype="f4"), "b": 7}

    assert names(registry, Named) == names(registry, Mapped) == ("a", "b")
    first, second = registry.schema_for(Named).fields
    assert (first.default, second.default) == (5, 2)
    assert registry.schema_for(Mapped).fields[1].default == 7


@pytest.mark.parametrize("wrong", [("a b",), (1,), "text"])
def test_names_are_names_of_attributes(registry, wrong):
    class Wrong(persist.Versioned, registry=registry):
        persistent = wrong

    with pytest.raises(SchemaError, match="persistent"):
        registry.schema_for(Wrong)


def test_attrs_and_dataclasses_tell_theirs(registry):
    @attrs.define
    class A(persist.Versioned, registry=registry):
        a: int
        b: list = attrs.Factory(list)
        c: int = attrs.field(default=1, metadata={"persist": {"transient": True}})

    @dataclasses.dataclass
    class D(persist.Versioned, registry=registry):
        shared: ClassVar[int] = 1
        hint: dataclasses.InitVar[int]
        a: int
        b: list = dataclasses.field(default_factory=list)

    assert names(registry, A) == ("a", "b")
    assert [field.name for field in registry.layout(A).leaf.transients] == ["c"]
    assert names(registry, D) == ("a", "b")
    assert registry.schema_for(D).fields[1].fresh({}) == []


def test_persistent_leaves_out_of_attrs_what_it_does_not_list(registry):
    @attrs.define
    class A(persist.Versioned, registry=registry):
        a: int
        b: int = 4
        persistent = ("a",)

    assert names(registry, A) == ("a",)
    assert [(field.name, field.default) for field in registry.layout(A).leaf.transients] == [
        ("b", 4)
    ]


def test_a_field_may_be_called_persistent(registry):
    @dataclasses.dataclass
    class D(persist.Versioned, registry=registry):
        persistent: tuple = ()

    assert names(registry, D) == ("persistent",)


def test_an_undeclared_base_lends_its_fields(registry):
    """A dataclass or slots of a base that does not know of versions belong to the heir."""

    @dataclasses.dataclass
    class Base:
        a: int

    @dataclasses.dataclass
    class Heir(Base, persist.Versioned, registry=registry):
        b: int

    class Slotted:
        __slots__ = ("x",)

    class SlottedHeir(persist.Versioned, Slotted, registry=registry):
        __slots__ = ("y",)

    assert set(names(registry, Heir)) == {"a", "b"}
    assert set(names(registry, SlottedHeir)) == {"x", "y"}


def test_a_class_that_says_nothing_owns_every_attribute(registry):
    class Open(persist.Versioned, registry=registry):
        pass

    schema = registry.schema_for(Open)
    assert schema.fields is None
    assert schema.fingerprint == ""


def test_parts_come_base_first_with_their_versions(registry):
    class Base(persist.Versioned, version=2, registry=registry):
        persistent = ("a",)

    class Middle(Base):  # takes version 1, and the registry of nobody: the default one
        pass

    class Mixin(persist.Versioned, version=5, registry=registry):
        persistent = ("m",)

    class Leaf(Base, Mixin, version=3, registry=registry):
        persistent = ("b",)

    assert [(part.cls, part.schema.version) for part in registry.layout(Leaf).parts] == [
        (Mixin, 5),
        (Base, 2),
        (Leaf, 3),
    ]
    assert persist.registry.default_registry.schema_for(Middle).version == 1


def test_a_codec_covers_its_bases(registry):
    class Base(persist.Versioned, version=2, registry=registry):
        persistent = ("a",)

    class Coded(Base, registry=registry):
        def __getstate__(self):
            return {}

    class Leaf(Coded, registry=registry):
        persistent = ("b",)

    assert [part.kind for part in registry.layout(Leaf).parts] == ["inside", "codec", "fields"]
    assert registry.schema_for(Coded).codec
    assert not registry.schema_for(Base).codec


# Private names.


@given(
    st.from_regex(r"__[a-z_]{0,5}[a-z]", fullmatch=True),
    st.from_regex(r"_{0,2}[A-Z][a-z]{0,4}", fullmatch=True),
)
def test_mangling_is_what_python_does(name, owner):
    space: dict = {}
    exec(
        f"class {owner}:\n    def get(self): return self.{name}\n    def set(self): self.{name} = 1",
        space,
    )
    obj = space[owner]()
    obj.set()
    ((attribute, _),) = vars(obj).items()
    assert mangled(name, space[owner]) == attribute
    assert demangled(attribute, (owner,)) == name


@pytest.mark.parametrize("name", ["a", "_a", "__a__", "_Other__a", 3])
def test_other_names_are_left_alone(name):
    assert demangled(name, ("Own",)) == name


def test_a_private_field_survives_a_renamed_class(registry):
    class Net(persist.Versioned, schema="lab.Private", registry=registry):
        persistent = ("__w",)

    registry.alias("old.lab.Network", Net)
    made = Net.__new__(Net)
    made.__setstate__({"_Network__w": 3})
    assert vars(made) == {"_Net__w": 3}
    assert names(registry, Net) == ("__w",)
    assert made._persist_adapter.reduce is not None
    assert dotted(Net).endswith("Net")


def test_the_short_way_is_the_general_way():
    """What is compiled for speed gives the very same."""
    from persist._instances.adapter import adapter_of

    for cls, names_ in ((Short, "ab"), (ShortHeir, "abc"), (ShortFrozen, "ab"), (ShortCoded, "ab")):
        obj = cls.__new__(cls)
        for number, name in enumerate(names_):
            object.__setattr__(obj, name, [number])
        again = pickle.loads(pickle.dumps(obj))
        assert cls.__reduce_ex__ is not persist.Versioned.__reduce_ex__
        general, short = adapter_of(cls).reduce(obj), obj.__reduce_ex__(4)
        assert general == short
        assert general[2][0] is short[2][0]
        other = cls.__new__(cls)
        adapter_of(cls).load(other, short[2])
        third = cls.__new__(cls)
        third.__setstate__(short[2])
        for one in (again, other, third):
            assert [getattr(one, name) for name in names_] == [[n] for n in range(len(names_))]
        with pytest.raises(SchemaError if cls is not ShortCoded else TypeError):
            third.__setstate__(3)


def test_an_heir_made_later_does_not_inherit_the_short_way():
    obj = Short()
    obj.a = obj.b = 1
    pickle.dumps(obj)

    class Later(Short, schema="short.Later", registry=Registry("t")):
        persistent = ("z",)

    later = Later()
    later.a, later.b, later.z = 1, 2, 3
    layers = persist.versioned.adapter_of(Later)._values(later)
    assert layers == ([("a", "b"), ("z",)], [(1, 2), (3,)])


class Short(persist.Versioned, schema="short.Short"):
    persistent = ("a", "b")


class ShortHeir(Short, schema="short.Heir"):
    persistent = ("c",)


@attrs.frozen
class ShortFrozen(persist.Versioned, schema="short.Frozen"):
    a: list
    b: list


class ShortCoded(persist.Versioned, schema="short.Coded"):
    def __getstate__(self):
        return (self.a, self.b)

    def __setstate__(self, state):
        self.a, self.b = state

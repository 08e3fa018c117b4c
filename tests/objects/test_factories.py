"""Factories of `collections.defaultdict`, and classes as values: saved by name, refused, found again."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict, defaultdict
from typing import Any

import pytest

import persist
from persist.errors import OpaqueWarning, SchemaError


class Plain:
    pass


class Meta(type):
    pass


class Odd(metaclass=Meta):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(protocol)


class Declared(persist.Versioned, schema="factories.Declared"):
    persistent = ()


class Grouped(defaultdict[Any, Any]):
    pass


def start() -> int:
    return 7


def saved(value: object, registry: persist.Registry, format: str = "persist") -> bytes:
    file = io.BytesIO()
    persist.save(value, file, registry=registry, format=format)
    return file.getvalue()


@pytest.mark.parametrize("format", ["persist", "pickle"])
@pytest.mark.parametrize("cls", [Plain, Odd, Declared])
def test_a_class_as_a_value_is_refused_with_a_remedy_that_works(
    cls: type[Any], format: str
) -> None:
    """A class has `__reduce_ex__`, too: that of its instances."""
    registry = persist.Registry("alone")
    for value in ({"a": cls}, defaultdict(cls), [cls]):
        with pytest.raises(SchemaError, match=f"The class {cls.__name__} cannot be saved") as no:
            saved(value, registry, format)
        assert f"persist.constant({cls.__name__!r}, {cls.__name__})" in str(no.value)
    registry.constant(cls.__name__, cls)
    again = persist.load(saved({"a": cls}, registry, format), registry=registry)
    assert again == {"a": cls}


@pytest.mark.packs  # makes a defaultdict of a record
@pytest.mark.parametrize("format", ["persist", "pickle"])
@pytest.mark.parametrize("factory", [Plain, Declared, start, OrderedDict, bytearray, object])
def test_a_factory_that_is_a_constant_comes_back(factory: Any, format: str) -> None:
    registry = persist.Registry("alone")
    registry.constant("lab.factory", factory)
    one = defaultdict(factory, a=1)
    data = saved([one, one], registry, format)
    first, second = persist.load(data, registry=registry)
    assert first is second
    assert type(first) is defaultdict
    assert first == {"a": 1}
    assert first.default_factory is factory


@pytest.mark.parametrize("format", ["persist", "pickle"])
@pytest.mark.parametrize(
    "factory", [None, list, dict, int, float, set, str, tuple, bool, bytes, frozenset, complex]
)
def test_builtin_types_are_factories_in_every_registry(factory: Any, format: str) -> None:
    registry = persist.Registry("alone")
    again = persist.load(saved(defaultdict(factory, a=1), registry, format), registry=registry)
    assert again == {"a": 1}
    assert again.default_factory is factory


@pytest.mark.packs  # protocols 0 to 2 say __builtin__
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_subclass_is_whole_in_a_registry_without_parents(protocol: int) -> None:
    registry, name = persist.Registry("alone"), f"{__name__}.Grouped"
    made = persist.load(
        pickle.dumps(Grouped(list, a=[1]), protocol), registry=registry, trust=[name]
    )
    assert type(made) is Grouped
    assert made.default_factory is list
    data = pickle.dumps(Grouped(start, a=1), protocol)
    with pytest.warns(OpaqueWarning) as warned:
        record = persist.load(data, registry=registry, trust=[name])
    assert type(record) is persist.Record
    remedy = f'persist.constant("{__name__}.start", {__name__}.start)'
    assert [remedy in str(one.message) for one in warned] == [True]
    registry.constant(f"{__name__}.start", start)
    assert persist.load(data, registry=registry, trust=[name]).default_factory is start


def test_the_names_of_builtin_types_mean_them() -> None:
    registry = persist.Registry("alone")
    with pytest.raises(SchemaError, match=r"'builtins\.list' is <class 'list'> already"):
        registry.constant("builtins.list", tuple)
    assert registry.constant("builtins.list", list) is list

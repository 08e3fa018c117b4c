"""Attributes that no class declares: fields of a file that are kept, and attributes that a class sets itself."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import pytest

import persist
from persist.errors import SchemaError, UnknownFieldWarning, UnsavedAttributeWarning

T = TypeVar("T")


def saved(obj: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file, **options)
    return file.getvalue()


# Kept fields.


class Listed(persist.Versioned, version=3, schema="undeclared.Listed"):
    persistent = ("a",)


persist.migration(Listed, 1, persist.ops.rename("x", "w"))
persist.migration(Listed, 2, persist.ops.rename("w", "a"))


@dataclasses.dataclass
class Data(persist.Versioned, schema="undeclared.Data"):
    a: int = 0


@attrs.define(slots=False)
class Attrs(persist.Versioned, schema="undeclared.Attrs"):
    a: int = 0


class Private(persist.Versioned, schema="undeclared.Private"):
    persistent = ("__a",)


class Foreign:
    pass


persist.register(Foreign, schema="undeclared.Foreign", fields=("a",))

CLASSES = (Listed, Data, Attrs, Private, Foreign)


def kept(cls: type) -> Any:
    """An instance of today with one field more, out of a file."""
    schema = persist.registry.default.schema_for(cls)
    assert schema is not None
    (name,) = schema.names
    old = persist.Record(schema.name, {name: 1, "extra": [2]}, version=schema.version)
    return persist.load(saved(old), unknown="keep")


def state(obj: Any, unknown: str = "keep") -> dict[str, Any]:
    return vars(persist.load(saved(obj), unknown=unknown))


@pytest.mark.parametrize("cls", CLASSES)
def test_kept_fields_are_saved_again(cls: type) -> None:
    obj = kept(cls)
    assert type(obj) is cls
    assert obj.extra == [2]
    obj.extra = [3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for again in (obj, copy.copy(obj), copy.deepcopy(obj), copy.deepcopy(copy.copy(obj))):
            assert state(again)["extra"] == [3]
            assert "extra" not in state(again, "drop")
            assert persist.load(saved(again, format="pickle"), unknown="keep").extra == [3]
    with pytest.warns(UnknownFieldWarning, match="extra"):
        persist.load(saved(obj))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not Foreign])
def test_kept_fields_are_in_plain_pickles(cls: type) -> None:
    data = pickle.dumps(kept(cls))
    assert persist.load(data, unknown="keep").extra == [2]
    with pytest.warns(UnknownFieldWarning, match="extra"):
        assert not hasattr(pickle.loads(data), "extra")


def test_one_instance_is_kept_and_another_is_not() -> None:
    lone = Listed()
    lone.a, lone.extra = 1, 1
    first, second = persist.load(saved([kept(Listed), lone]), unknown="keep")
    assert first.extra == [2]
    assert not hasattr(second, "extra")
    del first.extra
    assert "extra" not in state(first)
    many = [kept(Listed), *(copy.copy(lone) for _ in range(1500)), kept(Listed)]
    again = persist.load(saved(many), unknown="keep")
    assert [number for number, one in enumerate(again) if hasattr(one, "extra")] == [0, 1501]


def test_kept_fields_go_down_and_up(tmp_path: Path) -> None:
    obj = kept(Listed)
    older = persist.downgrade(obj, 1)
    assert older.value.state == {"x": 1, "extra": [2]}
    assert older.losses == []
    persist.save(obj, tmp_path / "old.persist", versions={"undeclared.Listed": 1})
    assert vars(persist.load(tmp_path / "old.persist", unknown="keep")) == {"a": 1, "extra": [2]}
    persist.save(older.value, tmp_path / "older.persist")
    from persist._api.renew import renew

    renew(tmp_path / "older.persist", unknown="keep")
    assert persist.open(tmp_path / "older.persist").tree.fields() == {"a": 1, "extra": [2]}


def test_a_kept_field_by_an_older_name_is_a_loss() -> None:
    old = persist.Record("undeclared.Listed", {"a": 1, "x": 5}, version=3)
    older = persist.downgrade(persist.load(saved(old), unknown="keep"), 1)
    assert older.value.state == {"x": 1}
    assert older.losses == ["undeclared.Listed: x = 5"]


def test_what_cannot_be_noted_is_refused() -> None:
    class NoReference(persist.Versioned, schema="undeclared.NoReference"):
        __slots__ = ("__dict__",)
        persistent = ("a",)

    old = persist.Record("undeclared.NoReference", {"a": 1, "b": 2}, version=1)
    with pytest.raises(SchemaError, match="'b' cannot be kept.*__weakref__"):
        persist.load(saved(old), unknown="keep")
    assert persist.load(saved(old), unknown="drop").a == 1


# Attributes that the class sets.


def classes(**body: Any) -> list[type]:
    """New classes of each kind, whose instances set an attribute that is no field."""

    def more(self: Any) -> None:
        self.total = self.a + 1

    def base_init(self: Any, a: int = 0) -> None:
        self.a, self.total = a, a + 1

    made: list[type] = []
    for kind in range(4):
        names: dict[str, Any] = {"__annotations__": {"a": int}, "a": 0, **body}
        names["__attrs_post_init__" if kind == 1 else "__post_init__"] = more
        bases: tuple[type, ...] = (persist.Versioned,)
        if kind == 2:  # the attribute is set by a base that is not declared
            bases = (persist.Versioned, type("Base", (), {"__init__": base_init}))
        number = len(_counter)
        _counter.append(number)
        name = f"Made{number}"
        names["__module__"], names["__qualname__"] = __name__, name
        cls: Any = type.__new__(type, name, bases, names)
        if kind == 1:
            cls = attrs.define(slots=False)(cls)
        else:
            cls = dataclasses.dataclass(init=kind != 2, frozen=False)(cls)
        globals()[name] = cls
        made.append(cls)
    return made


_counter: list[int] = []

SAVES: list[Callable[[Any], Any]] = [
    pickle.dumps,
    saved,
    lambda obj: saved([obj, obj]),
    lambda obj: saved([copy.copy(obj) for _ in range(1200)]),
    lambda obj: saved(obj, format="pickle"),
    lambda obj: persist.downgrade(obj, 1),
]


@pytest.mark.parametrize("save", SAVES)
def test_an_attribute_that_is_no_field_is_reported_once(save: Any) -> None:
    for cls in classes():
        obj = cls(3)
        assert obj.total == 4
        with pytest.warns(UnsavedAttributeWarning, match=rf"{cls.__name__}.*: 'total'") as caught:
            save(obj)
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(obj)
            save(cls(4))
            assert copy.deepcopy(obj).total == 4
        obj.other = 1
        with pytest.warns(UnsavedAttributeWarning, match=r": 'other'\."):
            save(obj)


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("body", [{"transient": ("total",)}, {"persistent": ("a", "total")}])
def test_the_remedies_of_the_report(save: Any, body: dict[str, Any]) -> None:
    for cls in classes(**body):
        obj = cls(3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(obj)
            again = persist.load(saved(obj))
        assert again.a == 3
        assert again.total == (4 if "persistent" in body else None)


@dataclasses.dataclass
class Quiet(persist.Versioned, Generic[T], schema="undeclared.Quiet"):
    """Has attributes that Python and its libraries keep on an instance."""

    a: int = 0

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.a


def test_what_python_keeps_on_an_instance_is_no_attribute_to_report() -> None:
    obj = Quiet[int](2)
    assert obj.twice == 4
    assert vars(obj).keys() == {"a", "twice", "__orig_class__"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for save in SAVES:
            save(obj)
        assert persist.load(saved(obj)).twice == 4

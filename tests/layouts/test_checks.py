"""One version with two layouts: an error with both at load, in a plan, and at import."""

from __future__ import annotations

import dataclasses
import io
import pickle
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import persist
from persist.errors import LayoutError, LayoutWarning, SchemaError
from persist.schema import Field

NAME = "layouts_lab"


@pytest.fixture(autouse=True)
def module() -> Iterator[types.ModuleType]:
    """A module whose class is declared anew, as after an edit."""
    made = types.ModuleType(NAME)
    sys.modules[NAME] = made
    yield made
    del sys.modules[NAME]


def declare(registry: persist.Registry, fields: Any, version: int = 1, **more: Any) -> Any:
    space = {"__module__": NAME, "persistent": fields}
    cls = types.new_class(
        "Config", (persist.Versioned,),
        {"version": version, "schema": "lab.Config", "registry": registry, **more},
        lambda body: body.update(space),
    )  # fmt: skip
    sys.modules[NAME].Config = cls
    return cls


def made(cls: Any, **values: Any) -> Any:
    obj = cls.__new__(cls)
    for name, value in values.items():
        setattr(obj, name, value)
    return obj


def written(kind: str, fields: Any = ("lr", "name"), **values: Any) -> bytes:
    registry = persist.Registry("before")
    obj = made(declare(registry, fields), **(values or {"lr": 0.5, "name": "x"}))
    if kind == "pickle":
        return pickle.dumps(obj)
    file = io.BytesIO()
    persist.save(
        [obj] * 1 if kind == "container" else [made(type(obj), **vars(obj)) for _ in range(50)],
        file,
        registry=registry,
    )
    return file.getvalue()


AFTER = {"learning_rate": 0.1, "name": "y"}
KINDS = pytest.mark.parametrize("kind", ["pickle", "container", "rows"])


@KINDS
def test_a_load_shows_both_layouts_and_the_remedy(kind: str) -> None:
    data = written(kind)
    registry = persist.Registry("after")
    declare(registry, AFTER)
    with pytest.raises(LayoutError) as caught:
        persist.load(data, registry=registry)
    said = str(caught.value)
    assert "version 1 of 'lab.Config' has two layouts" in said
    assert "- lr; + learning_rate" in said
    assert "set version=2 in the head of layouts_lab.Config" in said
    plan = persist.explain(data, registry=registry)
    assert [type(problem) for problem in plan.problems][:1] == [LayoutError]
    # The remedy, followed.
    registry = persist.Registry("mended")
    declare(registry, AFTER, version=2)
    registry.migration("lab.Config", 1, persist.ops.rename("lr", "learning_rate"))
    loaded = persist.load(data, registry=registry)
    first = loaded[0] if isinstance(loaded, list) else loaded
    assert vars(first) == {"learning_rate": 0.5, "name": "x"}


@KINDS
def test_it_can_be_softened(kind: str) -> None:
    data = written(kind)
    registry = persist.Registry("after")
    declare(registry, AFTER)
    with pytest.warns(LayoutWarning, match="has two layouts"):
        persist.load(data, registry=registry, layout="warn", unknown="drop")
    registry.layout_policy = "ignore"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = persist.load(data, registry=registry, unknown="drop")
    first = loaded[0] if isinstance(loaded, list) else loaded
    assert vars(first) == {"learning_rate": 0.1, "name": "x"}
    with pytest.raises(LayoutError):
        persist.load(data, registry=registry, layout="error")
    with pytest.raises(ValueError, match="'error', 'warn', 'ignore'"):
        persist.load(data, registry=registry, layout="loud")


@KINDS
def test_the_same_names_with_another_type_are_found(kind: str) -> None:
    data = written(kind, [Field("n", type=int)], n=1)
    registry = persist.Registry("after")
    declare(registry, [Field("n", type=str)])
    with pytest.raises(LayoutError, match="the fingerprint was"):
        persist.load(data, registry=registry)


def test_plain_pickle_finds_it_too() -> None:
    data = written("pickle")
    declare(persist.Registry("after"), AFTER)
    with pytest.raises(LayoutError, match="two layouts"):
        pickle.loads(data)


@KINDS
def test_the_same_layout_is_no_fault(kind: str) -> None:
    data = written(kind)
    registry = persist.Registry("after")
    declare(registry, ("name", "lr"))  # in another order
    loaded = persist.load(data, registry=registry)
    assert vars(loaded[0] if isinstance(loaded, list) else loaded) == {"lr": 0.5, "name": "x"}


# At import.


def fingerprint_of(cls: Any) -> str:
    from persist._layouts.description import layout_of

    registry = cls._persist_declared.registry
    return layout_of(registry.schema_for(cls), registry.layout(cls)).fingerprint


@pytest.mark.parametrize(
    "decorate", [attrs.define, attrs.frozen, dataclasses.dataclass, attrs.define(slots=False)]
)
def test_a_head_is_checked_where_a_decorator_adds_the_fields(decorate: Any) -> None:
    registry = persist.Registry("heads")

    def class_with(layout: str | None) -> Any:
        @decorate
        class Head(
            persist.Versioned, version=1, schema="lab.Head", registry=registry, layout=layout
        ):
            a: int = 0
            b: str = ""

        return Head

    mark = fingerprint_of(class_with(None))
    assert class_with(mark)().a == 0
    with pytest.raises(LayoutError, match=r"count the version \(version=2\) and add a step"):
        class_with("00000000")


def test_a_plain_head_and_a_codec() -> None:
    registry = persist.Registry("plain heads")

    class Plain(persist.Versioned, version=1, schema="lab.Plain", registry=registry):
        def __init__(self) -> None:
            self.a = 1

    with pytest.raises(LayoutError, match="its layout is"):

        class Changed(
            persist.Versioned,
            version=1,
            schema="lab.P",
            registry=registry,
            layout=fingerprint_of(Plain),
        ):
            def __init__(self) -> None:
                self.other = 1

    with pytest.raises(SchemaError, match="persist lock --write-layouts"):

        class Odd(persist.Versioned, registry=registry, layout=3):  # type: ignore[arg-type]
            pass


def test_the_error_for_a_missing_field_names_what_the_file_has() -> None:
    registry = persist.Registry("missing")
    declare(registry, ("weights", "b"))
    data = pickle.dumps(
        made(declare(persist.Registry("old"), ("zebra", "W", "b")), zebra=1, W=2, b=3)
    )
    declare(registry, ("weights", "b"))
    with pytest.raises(SchemaError) as caught:
        persist.load(data, registry=registry, layout="ignore")
    assert "undeclared: W, zebra" in str(caught.value)
    assert 'persist.ops.rename("W", "weights")' in str(caught.value)


def test_below_the_oldest_supported_version() -> None:
    data = written("pickle")
    registry = persist.Registry("new")
    declare(registry, ("lr", "name"), version=3)
    registry.migration("lab.Config", 1, persist.ops.add("x", 1), to=3)
    registry.supported("lab.Config", since=2, reader="2.4")
    with pytest.raises(
        persist.errors.UnsupportedVersionError, match="Release 2.4 of lab still reads it"
    ):
        persist.load(data, registry=registry)
    assert [str(one) for one in registry.faults()] != []  # no way from 2
    registry.supported("lab.Config", since=3)
    assert registry.faults() == []

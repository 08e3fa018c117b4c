"""Classes whose state is given by functions: types of C, and whoever cannot be changed."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest

import persist
from persist.errors import SchemaError
from persist.tree import Record


class Celsius:
    """Immutable; nothing of it is an attribute that could be set."""

    __slots__ = ("_value",)

    def __new__(cls, value: float) -> Celsius:
        made = object.__new__(cls)
        object.__setattr__(made, "_value", value)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Box:
    """Holds anything, itself too."""

    content: Any = None


def registry() -> persist.Registry:
    made = persist.Registry("given")
    made.register(
        Celsius,
        version=2,
        getstate=lambda c: {"kelvin": c._value + 273},
        new=lambda s: Celsius(s["kelvin"] - 273),
    )
    made.register(
        Box, getstate=lambda b: [b.content], setstate=lambda b, s: setattr(b, "content", s[0])
    )
    made.register(
        struct.Struct, schema="std.Struct", getstate=lambda s: s.format, new=struct.Struct
    )

    @made.migration(Celsius, 1)
    def to_kelvin(state: dict[str, Any]) -> dict[str, Any]:
        return {"kelvin": state["celsius"] + 273}

    return made


def round_trip(value: Any, known: persist.Registry) -> Any:
    saved = io.BytesIO()
    persist.save(value, saved, registry=known)
    assert persist.explain(saved.getvalue(), registry=known).problems == []
    return persist.load(saved.getvalue(), registry=known)


def test_new_makes_an_instance_of_the_state() -> None:
    known, one = registry(), Celsius(20)
    found = round_trip([one, one, {"s": struct.Struct("<ii")}], known)
    assert found[0]._value == 20
    assert found[0] is found[1]
    assert found[2]["s"].format == "<ii"


def test_setstate_sets_it_in_a_cycle() -> None:
    box = Box()
    box.content = box
    found = round_trip(box, registry())
    assert found.content is found


def test_older_states_are_upgraded_first() -> None:
    known, saved = registry(), io.BytesIO()
    old = Record(f"{__name__}.Celsius", {"celsius": 5}, version=1)
    persist.save(old, saved, registry=known)
    assert persist.load(saved.getvalue(), registry=known)._value == 5


def test_what_new_gives_must_be_an_instance() -> None:
    known = persist.Registry("given-wrong")
    known.register(Celsius, getstate=lambda c: c._value, new=float)
    saved = io.BytesIO()
    persist.save(Celsius(1), saved, registry=known)
    assert persist.explain(saved.getvalue(), registry=known).problems
    with pytest.raises(persist.PersistError, match="gave a float"):
        persist.load(saved.getvalue(), registry=known)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"getstate": len}, "nothing that takes it back"),
        ({"setstate": len}, "getstate= is missing"),
        ({"getstate": len, "new": int, "fields": ("a",)}, "by fields="),
    ],
)
def test_half_a_declaration_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        persist.Registry("given-half").register(Celsius, **options)


def test_a_name_without_a_class_has_no_functions() -> None:
    with pytest.raises(SchemaError, match="no class"):
        persist.Registry("given-none").register("lab.X", getstate=len, new=int)

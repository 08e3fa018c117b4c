"""The version of a state that states none, told by the layouts of older versions."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import OpaqueWarning, SchemaError

SOURCE = """
import persist
from persist import ops
registry = persist.Registry("older-layouts")

class Layer(persist.Versioned, version=3, schema="old.Layer", registry=registry,
            layouts={1: ("W", "b"), 2: {"weights", "bias"}}):
    persistent = ("weights", "bias", "scale")

registry.migration(Layer, 1, ops.unpack("weights", "bias"))
registry.migration(Layer, 2, ops.add("scale", 1))

class Twin(persist.Versioned, version=2, schema="old.Twin", registry=registry, layouts={1: {"w"}}):
    persistent = ("w",)

registry.migration(Twin, 1, ops.convert("w", str))
"""


@pytest.fixture
def lab() -> Iterator[Any]:
    module: Any = types.ModuleType("old_layouts")
    sys.modules["old_layouts"] = module
    exec(SOURCE, module.__dict__)
    yield module
    del sys.modules["old_layouts"]


def load(lab: Any, state: Any, cls: str = "Layer", **options: Any) -> dict[str, Any]:
    data = pickle.dumps(state)
    return vars(persist.load(data, getattr(lab, cls), registry=lab.registry, **options))


@pytest.mark.parametrize(
    "state", [(1, 2), {"weights": 1, "bias": 2}, {"weights": 1, "bias": 2, "scale": 1}]
)
def test_each_version_is_known_by_its_layout(lab: Any, state: Any) -> None:
    assert load(lab, state) == {"weights": 1, "bias": 2, "scale": 1}
    raw = b"\x80\x02cold_layouts\nLayer\n)\x81" + pickle.dumps(state, 2)[2:-1] + b"b."
    assert vars(pickle.loads(raw)) == load(lab, state)
    assert persist.explain(raw, registry=lab.registry).problems == []


@pytest.mark.parametrize("state", [{"x": 1}, (1,), {}])
def test_a_state_of_no_declared_layout_is_no_guess(lab: Any, state: Any) -> None:
    with pytest.raises(
        SchemaError, match=r"layout of no version .*version 1: W, b; version 2: bias, weights"
    ):
        load(lab, state)


def test_two_that_fit_are_an_error_with_the_evidence(lab: Any) -> None:
    with pytest.raises(
        SchemaError, match="version 1 by the fields w; version 2 by the fields w"
    ) as caught:
        load(lab, {"w": 5}, "Twin")
    assert caught.value.facts["answers"] == [1, 2]
    # Each remedy works.
    assert load(lab, {"w": 5}, "Twin", assume_version=1) == {"w": "5"}
    lab.registry.stamp("old.Twin")(lambda state: 1 if isinstance(state["w"], int) else 2)
    assert load(lab, {"w": 5}, "Twin") == {"w": "5"}


def test_types_tell_apart_what_names_do_not() -> None:
    registry = persist.Registry("typed")
    registry.register("old.T", version=3, fields=("w",))
    registry.older_layouts("old.T", {1: {"w": int}, 2: {"w": np.float32}, 3: {"w": "f8"}})
    for value, version in ((5, 1), (np.ones(1, "f4"), 2), (np.ones(1), 3)):
        found, how = registry.stamp_of("old.T", {"w": value})
        assert (found, how.startswith("stamp by its layout")) == (version, True)


def test_a_fingerprint_and_a_number_are_layouts() -> None:
    registry = persist.Registry("fingerprints")
    schema = persist.schema.fingerprint([persist.schema.Field("a"), persist.schema.Field("b")])
    registry.register("old.F", version=3, fields=("c",))
    registry.older_layouts("old.F", {1: 2, 2: [schema, 3]})
    assert registry.stamp_of("old.F", (1, 2))[0] == 1
    assert registry.stamp_of("old.F", (1, 2, 3))[0] == 2
    assert registry.stamp_of("old.F", {"b": 1, "a": 2})[0] == 2


def test_parts_of_a_tuple_are_found_by_name_and_by_position(lab: Any) -> None:
    seen: list[Any] = []
    registry = persist.Registry("named-parts")
    registry.register("old.N", version=2, fields=("a", "b"), layouts={1: ("x", "y")})

    @registry.migration("old.N", 1)
    def name(state: Any) -> Any:
        first, second = state
        seen.append((first, second, state["x"], state.y, {**state}, len(state)))
        return {"a": state["x"], "b": state["y"]}

    record = b"\x80\x02cold\nN\n)\x81K\x01K\x02\x86b."
    with pytest.warns(OpaqueWarning):  # no class is here
        assert persist.load(record, registry=registry).fields() == {"a": 1, "b": 2}
    assert seen == [(1, 2, 1, 2, {"x": 1, "y": 2}, 2)]


@pytest.mark.parametrize("bad", [{0: ("a",)}, {1: 5.0}, {1: {3}}, {1: ("a", "a")}])
def test_what_is_no_layout_is_refused(bad: Any) -> None:
    with pytest.raises(SchemaError):
        persist.Registry("bad").older_layouts("old.B", bad)


def test_a_second_place_may_not_declare_others() -> None:
    registry = persist.Registry("twice")
    registry.older_layouts("old.D", {1: ("a",)})
    with pytest.raises(SchemaError, match="Declare them in one place"):
        registry.older_layouts("old.D", {1: ("b",)})

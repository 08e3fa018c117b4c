"""A class that an imported module has under another name than its own needs no alias."""

from __future__ import annotations

import pickle
import sys
import types
import warnings
from typing import Any

import pytest

import persist
from persist.registry import Registry
from persist.tree import Record


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``newnets`` with a class, and ``oldnets``, which has it under two names."""
    new, old = types.ModuleType("newnets"), types.ModuleType("oldnets")
    new.__dict__.update(persist=persist, registry=Registry("implicit"))
    exec(
        "class Layer(persist.Versioned, version=2, registry=registry):\n    persistent = ('weights',)\n"
        "registry.migration(Layer, 1, persist.ops.rename('_Dense__w', 'weights', optional=True), "
        "persist.ops.rename('__w', 'weights', optional=True), persist.ops.rename('w', 'weights', optional=True))\n"
        "class Plain: pass\n",
        new.__dict__,
    )
    old.__dict__.update(
        Layer=new.Layer,
        Dense=new.Layer,
        Plain=new.Plain,
        Outer=type("Outer", (), {"In": new.Layer}),
    )
    monkeypatch.setitem(sys.modules, "newnets", new)
    monkeypatch.setitem(sys.modules, "oldnets", old)
    return new


def bare(name: str, state: dict[str, Any]) -> bytes:
    """A pickle as plain pickle wrote it under another name: no version in it."""
    module, _, last = name.partition(".")
    texts = b"".join(
        b"X" + len(part).to_bytes(4, "little") + part.encode() for part in (module, last)
    )
    return b"\x80\x04" + texts + b"\x93)\x81" + pickle.dumps(state, 2)[2:-1] + b"b."


@pytest.mark.parametrize("name", ["oldnets.Layer", "oldnets.Dense", "oldnets.Outer.In"])
@pytest.mark.parametrize("field", ["w", "_Dense__w"])
def test_the_name_of_a_file_is_found_in_the_modules(modules: Any, name: str, field: str) -> None:
    data = bare(name, {field: 1.5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = persist.load(data, registry=modules.registry)
    assert type(made) is modules.Layer
    assert made.weights == 1.5
    plan = persist.explain(data, registry=modules.registry)
    assert plan[0].aliases == (f"imported as {name}",)
    assert plan[0].today == "newnets.Layer"
    assert plan[0].steps


def test_an_alias_that_somebody_gave_comes_first(modules: Any) -> None:
    other = type(
        "Other", (persist.Versioned,), {"__module__": "newnets"}, registry=modules.registry
    )
    modules.Other = other
    modules.registry.alias("oldnets.Layer", other)
    assert type(persist.load(bare("oldnets.Layer", {"w": 1}), registry=modules.registry)) is other


def test_a_class_that_is_not_declared_stays_a_record(modules: Any) -> None:
    with pytest.warns(persist.errors.OpaqueWarning):
        made = persist.load(bare("oldnets.Plain", {"w": 1}), registry=modules.registry)
    assert isinstance(made, Record)


def test_a_module_is_never_asked(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = types.ModuleType("asking")
    asked.__dict__["__getattr__"] = lambda name: pytest.fail(f"the module was asked for {name}")
    monkeypatch.setitem(sys.modules, "asking", asked)
    assert modules.registry.resolve("asking.Layer") == "asking.Layer"
    assert modules.registry.resolve("notimported.Layer") == "notimported.Layer"
    assert "notimported" not in sys.modules


def test_what_is_saved_bears_the_new_name(modules: Any, tmp_path: Any) -> None:
    made = persist.load(bare("oldnets.Dense", {"w": 1.5}), registry=modules.registry)
    persist.save(made, tmp_path / "a.persist", registry=modules.registry)
    with persist.open(tmp_path / "a.persist", registry=modules.registry) as file:
        assert file.tree.qualname == "newnets.Layer"


@pytest.mark.parametrize("is_registered", [True, False])
@pytest.mark.parametrize("name", ["oldnets.Color", "oldnets.Shade"])
def test_an_enum_under_another_name(modules: Any, name: str, is_registered: bool) -> None:
    exec("import enum\nclass Color(enum.Enum):\n    RED = 1\n", modules.__dict__)
    old = sys.modules["oldnets"]
    old.__dict__.update(Color=modules.Color, Shade=modules.Color)
    registry = Registry("enums")
    if is_registered:
        registry.register(modules.Color)
    trust = () if is_registered else ("newnets.Color", name)
    data = pickle.dumps(modules.Color.RED, 2)
    module, _, last = name.partition(".")
    data = data.replace(b"cnewnets\nColor\n", f"c{module}\n{last}\n".encode())
    made = persist.load(data, registry=registry, trust=trust)
    assert made is modules.Color.RED
    if is_registered:
        (entry,) = persist.explain(data, registry=registry)
        assert entry.aliases == (f"imported as {name}",)
        assert "newnets.Color.RED" in entry.note
        (own,) = persist.explain(pickle.dumps(modules.Color.RED, 2), registry=registry)
        assert own.aliases == ()

"""Private attributes of bases that state no fields survive renames of all classes."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

import persist

VERSIONED = """
import persist
class {b}(persist.Versioned, schema="{lab}.B"{version}):
    def __init__(self): self.__w, self.n = 3, 1
    def base(self): return self.__w
class {m}({b}, schema="{lab}.M"):
    def __init__(self):
        super().__init__()
        self.__w = 4
    def middle(self): return self.__w
class {h}({m}, schema="{lab}.H"):
    def __init__(self):
        super().__init__()
        self.__w = 5
    def own(self): return self.__w
"""
PLAIN = """
class B:
    def __init__(self): self.__w, self.n = 3, 1
class M(B):
    def __init__(self):
        super().__init__()
        self.__w = 4
class H(M):
    def __init__(self):
        super().__init__()
        self.__w = 5
"""


LAB = ""
_count = itertools.count()


@pytest.fixture(autouse=True)
def _a_module_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests register aliases and steps in the default registry, where those of another test are."""
    monkeypatch.setitem(globals(), "LAB", f"open_lab{next(_count)}")


def module(text: str, **names: str) -> Any:
    made: Any = types.ModuleType(LAB)
    sys.modules[LAB] = made
    exec(text.format(**{"version": "", "lab": LAB, **names}), made.__dict__)
    return made


def renamed(**more: str) -> Any:
    lab = module(VERSIONED, b="B2", m="_M2", h="H2", **more)
    lab.H = lab.H2  # the name by which plain pickle finds it
    for old, new in (("B", "B2"), ("M", "_M2"), ("H", "H2")):
        persist.alias(f"{LAB}.{old}", getattr(lab, new))
    return lab


def container(obj: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file)
    return file.getvalue()


WRITERS: list[Callable[[Any], bytes]] = [container, pickle.dumps]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("load", [persist.load, pickle.loads])
@pytest.mark.parametrize("text", [VERSIONED, PLAIN])
def test_private_attributes_survive_renames(write: Any, load: Any, text: str) -> None:
    if write is container and (load is pickle.loads or text is PLAIN):
        return
    data = write(module(text, b="B", m="M", h="H").H())
    lab = renamed()
    obj = load(data)
    assert type(obj) is lab.H2
    assert (obj.base(), obj.middle(), obj.own(), obj.n) == (3, 4, 5, 1)
    assert len(vars(obj)) == 4
    for again in (
        copy.deepcopy(obj),
        persist.load(container(obj)),
        pickle.loads(pickle.dumps(obj)),
    ):
        assert vars(again) == vars(obj)


@pytest.mark.parametrize("write", WRITERS)
def test_steps_of_the_base_see_its_private_attributes_and_what_no_class_states(write: Any) -> None:
    data = write(module(VERSIONED, b="B", m="M", h="H").H())
    registry_steps = []
    lab = renamed(version=", version=2")

    @persist.migration(f"{LAB}.B", 1)
    def double(state: Any) -> Any:
        registry_steps.append(dict(state))
        return {**state, "__w": 2 * state["__w"], "n": state["n"] + 1}

    obj = persist.load(data)
    assert type(obj) is lab.H2
    assert (obj.base(), obj.middle(), obj.own(), obj.n) == (6, 4, 5, 2)
    assert registry_steps[0]["__w"] == 3


def test_a_class_without_private_attributes_is_written_as_before() -> None:
    lab = module(VERSIONED.replace("self.__w, self.n = 3, 1", "self.n = 1"), b="B", m="M", h="H")
    from persist._envelope import unwrap

    envelope = unwrap(lab.H().__reduce_ex__(2)[2])
    assert envelope is not None
    assert [(layer.schema, layer.kind) for layer in envelope.layers] == [
        (f"{LAB}.B", "inside"),
        (f"{LAB}.M", "fields"),
        (f"{LAB}.H", "fields"),
    ]


def test_classes_of_one_name_share_their_private_names() -> None:
    """Python gives them the same mangled name: the attribute is one, and the subclass's."""
    lab = module(VERSIONED, b="B", m="M", h="H")
    space: dict[str, Any] = {"Base": lab.H, "__name__": LAB}
    exec(f"import persist\nclass H(Base, schema='{LAB}.Same'): pass", space)
    lab.H = space["H"]
    obj = lab.H()
    for again in (persist.load(container(obj)), pickle.loads(pickle.dumps(obj))):
        assert vars(again) == vars(obj)


@pytest.mark.parametrize("write", WRITERS)
def test_an_upgraded_file_is_as_good(write: Any) -> None:
    data = write(module(VERSIONED, b="B", m="M", h="H").H())
    renamed()
    from persist._upgrade.records import upgrade

    tree, _ = upgrade(persist.open(data).tree)
    again = container(tree)
    lab = module(VERSIONED, b="B3", m="M3", h="H3")
    persist.alias(f"{LAB}.H2", lab.H3)
    obj = persist.load(again)
    assert (obj.base(), obj.middle(), obj.own(), obj.n) == (3, 4, 5, 1)

"""Stamps and steps see a state as the writer's class had it, whatever today's class is like."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

import persist

CODEC = """
    def __getstate__(self): return (self.x, self.y)
    def __setstate__(self, state):
        self.given = state
        self.x, self.y = state
"""
LOADS: list[Callable[[Any], Any]] = [persist.load, pickle.loads]
_tests: list[int] = []


@pytest.fixture(autouse=True)
def _names_of_its_own() -> None:
    _tests.append(0)


def module(text: str) -> Any:
    made: Any = types.ModuleType("forms_lab")
    sys.modules["forms_lab"] = made
    text = "import persist\nfrom persist import ops\nseen = []\n" + text
    exec(text.replace("forms.", f"forms{len(_tests)}."), made.__dict__)
    return made


def old(body: str, **attributes: Any) -> bytes:
    obj = module(f"class A:\n    {body}\n").A()
    for name, value in attributes.items():
        setattr(obj, name, value)
    return pickle.dumps(obj)


def head(version: int, body: str) -> str:
    return f'class A(persist.Versioned, version={version}, schema="forms.A"):\n    {body}\n'


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    "body", ['persistent = ("x", "y")', '__slots__ = ("x", "y")', CODEC, "pass"]
)
def test_slots_are_a_dict_to_stamps_and_steps(load: Any, body: str) -> None:
    data = old('__slots__ = ("x", "y")', x=1, y=2)
    steps = """
@persist.stamp(A)
def look(state):
    seen.append(dict(state))
    return 1
@persist.migration(A, 1)
def step(state):
    seen.append(dict(state))
    return {result}
"""
    is_codec = body is CODEC
    lab = module(head(2, body) + steps.format(result="(1, 2)" if is_codec else "state"))
    obj = load(data)
    assert (obj.x, obj.y) == (1, 2)
    assert all(one == {"x": 1, "y": 2} for one in lab.seen)
    assert len(lab.seen) >= 2


@pytest.mark.parametrize("load", LOADS)
def test_ready_made_steps_on_slots_under_a_codec(load: Any) -> None:
    data = old('__slots__ = ("x", "y")', x=1, y=2)
    module(head(2, CODEC) + "persist.migration(A, 1, ops.pack('x', 'y'))")
    assert load(data).given == (1, 2)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    "state", [(None, {"x": 1}), ({"a": 1}, {"b": 2}), {"_A__p": 1}, (None, {"not a name": 1})]
)
def test_a_codec_gets_what_it_gave_where_no_step_ran(load: Any, state: Any) -> None:
    text = """
    def __getstate__(self): return self.given
    def __setstate__(self, state): self.given = state
"""
    data = old(text.lstrip(), given=state)
    module(head(1, text))
    assert load(data).given == state


@pytest.mark.parametrize("load", LOADS)
def test_a_pair_of_dicts_under_a_codec_is_what_its_getstate_gave(load: Any) -> None:
    text = """
    def __getstate__(self): return self.given
    def __setstate__(self, state): self.given = state
"""
    data = old(text.lstrip(), given=({"a": 1}, {"b": 2}))
    module(head(2, text) + "persist.migration(A, 1, ops.unpack('first', 'second'))")
    assert load(data).given == {"first": {"a": 1}, "second": {"b": 2}}


@pytest.mark.parametrize("load", LOADS)
def test_the_key_of_a_stamp_stays_nowhere(load: Any) -> None:
    data = old("pass", x=1, fmt=2)
    module(head(2, "pass") + "persist.stamp(A, key='fmt')")
    assert vars(load(data)) == {"x": 1}
    module(
        head(3, "pass")
        + "persist.stamp(A, key='fmt')\npersist.migration(A, 2, ops.rename('x', 'w'))"
    )
    assert vars(load(data)) == {"w": 1}


def test_the_key_of_a_stamp_is_not_kept() -> None:
    data = old("pass", x=1, fmt=2, more=3)
    module(head(2, 'persistent = ("x",)') + "persist.stamp(A, key='fmt')")
    assert vars(persist.load(data, unknown="keep")) == {"x": 1, "more": 3}


@pytest.mark.parametrize("load", LOADS)
def test_a_key_that_is_declared_or_that_a_step_sets_stays(load: Any) -> None:
    data = old("pass", x=1, fmt=2)
    module(head(2, 'persistent = ("x", "fmt")') + "persist.stamp(A, key='fmt')")
    assert vars(load(data)) == {"x": 1, "fmt": 2}
    step = "persist.migration(A, 2, ops.convert('fmt', lambda _: 'three'))"
    module(head(3, "pass") + f"persist.stamp(A, key='fmt')\n{step}")
    assert vars(load(data)) == {"x": 1, "fmt": "three"}


@pytest.mark.parametrize("load", LOADS)
def test_a_codec_does_not_get_the_key_after_steps(load: Any) -> None:
    text = """
    def __getstate__(self): return dict(self.given)
    def __setstate__(self, state): self.given = state
"""
    data = old("pass", x=1, fmt=2)
    module(
        head(3, text) + "persist.stamp(A, key='fmt')\npersist.migration(A, 2, ops.rename('x', 'w'))"
    )
    assert load(data).given == {"w": 1}
    module(head(2, text) + "persist.stamp(A, key='fmt')")
    assert load(data).given == {"x": 1, "fmt": 2}  # no step ran: it is as its writer wrote it


def test_an_assumed_version_asks_the_stamps_with_the_same_state() -> None:
    data = old('__slots__ = ("x", "y")', x=1, y=2)
    stamp = "@persist.stamp(A)\ndef look(state): return 2 if 'x' in state else None\n"
    module(head(2, 'persistent = ("x", "y")') + stamp)
    assert vars(persist.load(data, assume_version=1)) == {"x": 1, "y": 2}

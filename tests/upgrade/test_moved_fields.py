"""A field that moved to a new base: the older steps of the class that owned it, and those of the base."""

from __future__ import annotations

import io
import pickle
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

import persist
from persist.errors import MigrationFailedError

Load = Callable[[Any], Any]


_tests: list[int] = []


@pytest.fixture(autouse=True)
def _names_of_its_own() -> None:
    """Each test has schemas of its own: a second step of one schema would be refused."""
    _tests.append(0)


def name(text: str) -> str:
    return text.replace("moved.", f"moved{len(_tests)}.")


def module(text: str) -> Any:
    made: Any = types.ModuleType("moved_lab")
    sys.modules["moved_lab"] = made
    exec("import persist\nfrom persist import ops\n" + name(text), made.__dict__)
    return made


DECLARED = 'class A(persist.Versioned, version=2, schema="moved.A"):\n    persistent = {fields}\n'
TWO = (
    'class M(persist.Versioned, version=2, schema="moved.M"):\n    persistent = {fields}\n'
    'class A(M, version=2, schema="moved.A"):\n    persistent = ()\n'
)


def old(how: str, text: str = DECLARED, **fields: Any) -> bytes:
    """An instance of version 2, written in one of three ways."""
    if how == "bare":
        text = "class M: pass\nclass A(M): pass\n"
    lab = module(text.format(fields=tuple(fields)))
    obj = lab.A()
    vars(obj).update(fields)
    if how == "container":
        file = io.BytesIO()
        persist.save(obj, file)
        return file.getvalue()
    return pickle.dumps(obj)


WAYS: list[tuple[str, Load]] = [
    ("bare", persist.load),
    ("bare", pickle.loads),
    ("envelope", persist.load),
    ("envelope", pickle.loads),
    ("container", persist.load),
]

BASE = """
class Base(persist.Versioned, version={base}, schema="moved.Base"):
    persistent = {owned}
class A(Base, version=4, schema="moved.A"):
    persistent = ("name",)
@persist.stamp(A)
def always(state): return 2
@persist.migration(A, 3)
def moved(state): return state
"""


@pytest.mark.parametrize(("how", "load"), WAYS)
@pytest.mark.parametrize(
    "step",
    [
        'persist.migration(A, 2, ops.convert("rate", float))',
        'persist.migration(A, 2, ops.rename("rate", "r"), ops.convert("r", float), ops.rename("r", "rate"))',
        "@persist.migration(A, 2)\ndef up(state): return {**state, 'rate': float(state['rate'])}",
        "@persist.migration(A, 2)\ndef up(state): return {**state, 'rate': float(state.pop('rate'))}",
        "@persist.migration(A, 2)\ndef up(state):\n"
        "    if 'rate' in state: state['rate'] = float(state.get('rate'))\n    return state",
    ],
)
def test_older_steps_find_a_field_that_moved(how: str, load: Load, step: str) -> None:
    data = old(how, rate=3, name="x")
    module(BASE.format(base=1, owned=("rate",)) + step)
    obj = load(data)
    assert vars(obj) == {"rate": 3.0, "name": "x"}
    assert type(obj.rate) is float


@pytest.mark.parametrize(("how", "load"), WAYS)
def test_what_a_step_takes_away_is_gone_and_what_it_reads_stays(how: str, load: Load) -> None:
    step = """
@persist.migration(A, 2)
def up(state):
    del state["gone"]
    return {**state, "name": state["name"] + str(state["rate"])}
"""
    data = old(how, rate=3, gone=5, name="x")
    module(BASE.format(base=1, owned={"rate": 0, "gone": 7}) + step)
    obj = load(data)
    assert obj.name == "x3"
    assert obj.gone == 7
    assert obj.rate == 3


LATER = """
persist.migration(Base, 1, ops.rename("rate", "speed"))
persist.migration(Base, 2, ops.convert("speed", lambda speed: speed * 10))
"""


@pytest.mark.parametrize(("how", "load"), WAYS)
def test_the_steps_of_the_base_come_after_the_field_moved(how: str, load: Load) -> None:
    data = old(how, rate=3, name="x")
    module(
        BASE.format(base=3, owned=("speed",))
        + LATER
        + "persist.migration(A, 2, ops.add('z', 0), ops.drop('z'))"
    )
    assert vars(load(data)) == {"speed": 30, "name": "x"}


@pytest.mark.parametrize(("how", "load"), [way for way in WAYS if way[0] != "bare"])
def test_a_field_moved_from_a_base_to_a_base_of_it(how: str, load: Load) -> None:
    data = old(how, TWO, rate=3)
    text = """
class Base(persist.Versioned, version=3, schema="moved.Base"):
    persistent = ("speed",)
class M(Base, version=3, schema="moved.M"):
    persistent = ()
class A(M, version=2, schema="moved.A"):
    persistent = ()
persist.migration(M, 2, ops.convert("rate", float))
"""
    module(text + LATER)
    assert vars(load(data)) == {"speed": 30.0}


@pytest.mark.parametrize(("how", "load"), [way for way in WAYS if way[0] == "bare"])
def test_the_error_says_where_the_step_is_to_be_written(how: str, load: Load) -> None:
    data = old(how, rate=3, name="x")
    text = BASE.format(base=2, owned=("rate",)).partition("@persist.migration")[0]
    text += "persist.migration(A, 2, ops.convert('rate', float))\n"
    text += "persist.migration(Base, 1, ops.convert('rate', lambda rate: rate / 2))\n"
    module(text + "persist.migration(A, 3, ops.add('z', 0), ops.drop('z'))")
    with pytest.raises(MigrationFailedError, match="rate belong to") as caught:
        load(data)
    said = re.search(r"persist\.migration\(.*?\)\)", str(caught.value))
    assert said is not None
    assert said[0] == name(
        "persist.migration('moved.A', 3, persist.ops.to_base('moved.Base', 'rate'))"
    )
    module(text + said[0])  # as it says
    assert load(data).rate == 1.5


def test_a_record_of_today_that_is_made_by_hand_is_of_today() -> None:
    lab = module(BASE.format(base=3, owned=("speed",)) + LATER)
    record = persist.Record(name("moved.A"), {"speed": 3, "name": "x"}, version=4)
    file = io.BytesIO()
    persist.save(record, file)
    obj = persist.load(file.getvalue())
    assert type(obj) is lab.A
    assert obj.speed == 3


def test_a_plan_names_the_class_that_came_later() -> None:
    data = old("container", rate=3, name="x")
    idle = "persist.migration(A, 2, ops.add('z', 0), ops.drop('z'))"
    module(BASE.format(base=3, owned=("speed",)) + LATER + idle)
    plan = persist.explain(data)
    assert not plan.problems
    assert name("moved.Base: version 1 (new since the file = 1) to 3") in str(plan)

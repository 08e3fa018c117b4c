"""Plain pickle: an instance whose steps fail before the state of another one has come, or for good.

An instance without attributes is pickled without a state, so whoever waits for its state waits for ever.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import persist
from persist._instances.unfinished import unfinished
from persist.errors import MigrationFailedError, PersistError

OLD = "class Held: pass\nclass Holder({base}): pass\n"
TODAY = """
import abc
import persist

made = []

class Held(persist.Versioned, schema="unfinished.Held"):
    persistent = ("n",)
    n = 0

class Holder(persist.Versioned{also}, version=2, schema="unfinished.Holder"):
    {body}

    def __init_subclass__(cls, **keywords):
        made.append(cls)
        super().__init_subclass__(**keywords)

@persist.migration(Holder, 1)
def look(state):
    return {{**state, "n": state["held"].n}}
"""

KINDS = {
    "plain": ("object", "", 'persistent = ("held", "n")'),
    "slots": ("object", "", '__slots__ = ("held", "n")'),
    "list": ("list", ", list", 'persistent = ("held", "n")'),
    "abstract": ("object", ", abc.ABC", 'persistent = ("held", "n")'),
}


def module(text: str) -> Any:
    """Run a module's text under the name by which the pickles name it."""
    made: Any = types.ModuleType("unfinished_lab")
    sys.modules["unfinished_lab"] = made
    exec(text, made.__dict__)
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return KINDS[request.param]


def old(base: str, is_cycle: bool, **attributes: int) -> bytes:
    lab = module(OLD.format(base=base))
    held, holder = lab.Held(), lab.Holder()
    holder.held = held
    vars(held).update(attributes)
    if is_cycle:
        held.owner = holder
    return pickle.dumps([held, holder] if is_cycle else [holder, held])


def test_an_instance_that_cannot_be_upgraded_is_never_taken_for_one(
    kind: tuple[str, str, str], tmp_path: Path
) -> None:
    base, also, body = kind
    data = old(base, is_cycle=False)
    lab = module(TODAY.format(also=also, body=body))
    with pytest.raises(MigrationFailedError, match="no field 'n'"):
        persist.load(data)
    holder, held = pickle.loads(data)
    assert isinstance(holder, lab.Holder)
    assert isinstance(held, lab.Held)
    assert "not upgraded: record 'unfinished_lab.Holder'" in repr(holder)
    assert lab.made == []  # no hook of the class ran
    ways: list[Callable[[], Any]] = [
        lambda: holder.held,
        lambda: vars(holder),
        lambda: setattr(holder, "n", 1),
        lambda: hasattr(holder, "n"),
        lambda: pickle.dumps(holder),
        lambda: copy.copy(holder),
        lambda: copy.deepcopy([holder]),
        lambda: persist.save([holder], tmp_path / "x.persist"),
        lambda: persist.downgrade(holder, 1),
    ]
    for way in ways:
        with pytest.raises(PersistError, match="no field 'n'"):
            way()


def test_an_instance_is_finished_when_the_state_comes(kind: tuple[str, str, str]) -> None:
    base, also, body = kind
    data = old(base, is_cycle=True, n=7)
    lab = module(TODAY.format(also=also, body=body).replace('("n",)', '("n", "owner")'))
    for load in (persist.load, pickle.loads):
        held, holder = load(data)
        assert type(holder) is lab.Holder
        assert holder.n == 7
        assert holder.held is held
        assert held.owner is holder
    assert lab.made == []


def test_a_failure_that_the_state_does_not_mend_is_raised(kind: tuple[str, str, str]) -> None:
    base, also, body = kind
    data = old(base, is_cycle=True, m=7)
    module(TODAY.format(also=also, body=body).replace('("n",)', '("m", "owner")'))
    for load in (persist.load, pickle.loads):
        with pytest.raises(MigrationFailedError, match="no field 'n'"):
            load(data)


def test_where_python_gives_no_other_class_it_is_upgraded_at_once() -> None:
    done: list[int] = []
    unfinished(1, lambda: done.append(1))
    assert done == [1]


COUNTED = """
import persist

calls = []

class Held(persist.Versioned, schema="unfinished.Counted", registry=r):
    {held}

class Holder(persist.Versioned, version=3, schema="unfinished.Counter", registry=r):
    persistent = ("held", "kept", "n")
    def __loaded__(self): calls.append("loaded")

@r.migration(Holder, 1)
def first(state):
    calls.append("first")
    return {{**state, "kept": [*state["kept"], 1]}}

@r.migration(Holder, 2)
def look(state):
    {look}
    calls.append("second")
    return {{**state, "n": n}}
"""
LOOKS = {
    "field": "n = state['held'].n",
    "item": "n = state['held']['n']",
    "state": "n = {**state['held'].state}['n']",
    "none": "n = 7",
    "default": "n = getattr(state['held'], 'n', 7)",
}


def counted(held: str, look: str) -> Any:
    made: Any = types.ModuleType("unfinished_lab")
    sys.modules["unfinished_lab"] = made
    made.r = persist.Registry("counted")
    exec(COUNTED.format(held=held, look=LOOKS[look]), made.__dict__)
    return made


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    "held", ['persistent = ("n", "owner")', "pass", '__slots__ = ("n", "owner")']
)
@pytest.mark.parametrize("protocol", range(6))
def test_the_steps_of_an_instance_in_a_cycle_are_done_once(
    held: str, look: str, protocol: int
) -> None:
    lab = module(OLD.format(base="object"))
    outer, inner = lab.Held(), lab.Holder()
    outer.n, outer.owner = 7, inner
    inner.held, inner.kept = outer, [0]
    both = [inner.kept, outer, inner]
    data = pickle.dumps(both, protocol)
    lab = counted(held, look)
    kept, outer, inner = pickle.loads(data)
    assert type(inner) is lab.Holder
    assert inner.n == 7
    assert inner.held is outer
    assert outer.owner is inner
    assert inner.kept == [0, 1]
    assert kept == [0]
    is_begun_again = look != "none" and held == "pass"  # it may have had no state
    assert lab.calls == [*["first"] * is_begun_again, "first", "second", "loaded"]


@pytest.mark.parametrize("look", ["field", "none"])
@pytest.mark.parametrize(
    "use", [lambda o: o.kept, copy.copy, pickle.dumps, persist.downgrade, vars, repr]
)
def test_what_waits_in_vain_is_upgraded_once(look: str, use: Any) -> None:
    lab = module(OLD.format(base="object"))
    inner = lab.Holder()
    inner.held, inner.kept = lab.Held(), [0]
    data = pickle.dumps([inner])
    lab = counted("n = 5" if look == "none" else "persistent = {'n': 5}\n    n = 5", look)
    (inner,) = pickle.loads(data)
    assert isinstance(inner, lab.Holder)
    if look == "field":
        with pytest.raises(MigrationFailedError, match="no field 'n'"):
            _ = inner.kept
        return
    assert type(inner) is lab.Holder
    if use is persist.downgrade:
        lab.r._migrations["unfinished.Counter"][2, 3].backward = lambda state: state
        use(inner, 2)
    else:
        use(inner)
    assert (inner.kept, inner.n) == ([0, 1], 7)
    assert lab.calls[:3] == ["first", "second", "loaded"]  # downgrade tries the way up again
    assert len(lab.calls) == 3 + (use is persist.downgrade)


def test_a_first_use_makes_an_instance_of_its_class() -> None:
    lab = module(OLD.format(base="object"))
    inner = lab.Holder()
    inner.held, inner.kept = lab.Held(), [0]
    data = pickle.dumps([inner])
    uses: list[Callable[[Any], Any]] = [
        lambda o: o.n,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        lambda o: setattr(o, "x", 1),
        lambda o: persist.save([o], io.BytesIO(), registry=lab.r),
    ]
    for use in uses:
        lab = counted("pass", "default")
        (inner,) = pickle.loads(data)
        use(inner)
        assert type(inner) is lab.Holder
        assert inner.n == 7
        assert lab.calls == ["first", "first", "second", "loaded"]

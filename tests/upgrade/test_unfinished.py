"""Plain pickle: an instance whose steps fail before the state of another one has come, or for good.

An instance without attributes is pickled without a state, so whoever waits for its state waits for ever.
"""

from __future__ import annotations

import copy
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


def test_where_python_gives_no_other_class_the_error_is_raised_at_once() -> None:
    error = MigrationFailedError("no field 'n'.")
    with pytest.raises(MigrationFailedError, match="no field 'n'"):
        unfinished(1, error)

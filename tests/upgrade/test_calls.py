"""No step of a user is called twice for one record, whichever route a record takes."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest

import persist
from persist import ops
from persist.errors import MigrationFailedError, UnknownFieldWarning
from persist.tree import Global, Record

COUNT = 2000


class Run:
    """A class as of today; each test declares it in a registry of its own."""

    name: Any
    size: Any
    more: Any


class Calls:
    """Functions for steps that count the values they get."""

    def __init__(self, wrong: int | None = None) -> None:
        self.seen: Counter[int] = Counter()
        self.wrong = wrong

    def __call__(self, value: int) -> int:
        self.seen[value] += 1
        if value == self.wrong:
            raise ValueError("no such size")
        return -value

    def of_state(self, state: dict[str, Any]) -> int:
        return self(state["size"])

    def as_today(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"name": state["n"], "size": self(state["size"]), "more": 0}

    def on_state(self, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "size": self(state["size"])}


def registry_of(*steps: Any, version: int | None = None) -> persist.Registry:
    registry = persist.Registry("calls")
    registry.register(
        Run, version=len(steps) + 1, schema="calls.Run", fields=("name", "size", "more")
    )
    for number, step in enumerate(steps, 1):
        if callable(step):
            registry.migration("calls.Run", number)(step)
        else:
            registry.migration("calls.Run", number, *step)
    return registry


def files(**fields: Any) -> dict[str, bytes]:
    """The same old records as a container, which has columns, and as a pickle."""
    named = Global(Run.__module__, Run.__qualname__)
    records = [
        Record(named, {"n": f"run {n}", "size": n, **fields}, kind="newobj", version=1)
        for n in range(COUNT)
    ]
    found = {}
    for kind in ("persist", "pickle"):
        file = io.BytesIO()
        persist.save({"runs": records}, file, format=kind)
        found[kind] = file.getvalue()
    header = ("persist.envelope", 1, (("calls.Run", 1, "", "fields", ("n", "size", *fields)),))
    for record in records:
        record.state, record.version = (header, tuple(record.state.values())), None
    file = io.BytesIO()
    persist.save({"runs": records}, file, format="pickle")
    found["pickle"] = file.getvalue()
    return found


RENAMED = ops.rename("n", "name")


@pytest.mark.parametrize("kind", ["persist", "pickle"])
@pytest.mark.parametrize("how", ["convert", "computed", "function"])
def test_a_step_that_fails_late_is_called_once_for_each_record(kind: str, how: str) -> None:
    calls = Calls(COUNT - 1)
    step = {
        "convert": (ops.convert("size", calls), RENAMED, ops.add("more", 0)),
        "computed": (ops.add("more", computed=calls.of_state), RENAMED),
        "function": calls.as_today,
    }[how]
    registry = registry_of(step)
    with pytest.raises(MigrationFailedError, match="no such size") as caught:
        persist.load(files()[kind], registry=registry)
    assert caught.value.where == f"record '{__name__}.Run' at 'runs/{COUNT - 1}'"
    assert calls.seen == Counter(range(COUNT))


@pytest.mark.parametrize("kind", ["persist", "pickle"])
def test_a_later_step_that_fails_leaves_the_earlier_ones_at_one_call(kind: str) -> None:
    """`drop` fails on the columns and on each record; the functions before it were called."""
    before, inside = Calls(), Calls()
    registry = registry_of(
        (ops.convert("size", before), RENAMED),
        (ops.add("more", computed=inside.of_state), ops.drop("lost")),
    )
    with pytest.raises(MigrationFailedError, match=r"there is no 'lost'.*fields of the state"):
        persist.load(files()[kind], registry=registry)
    assert max(before.seen.values()) == max(inside.seen.values()) == 1


@pytest.mark.parametrize("kind", ["persist", "pickle"])
@pytest.mark.filterwarnings("ignore::persist.errors.UnknownFieldWarning")
def test_fields_left_over_are_reported_without_a_second_call(kind: str) -> None:
    """Undeclared fields need the general path, after all steps."""
    calls = Calls()
    registry = registry_of((ops.convert("size", calls), RENAMED), (ops.add("more", 1),))
    with pytest.warns(UnknownFieldWarning, match="odd"):
        made = persist.load(files(odd=3)[kind], registry=registry)["runs"]
    assert [run.size for run in made] == [-n for n in range(COUNT)]
    assert calls.seen == Counter(range(COUNT))


@pytest.mark.parametrize("kind", ["persist", "pickle"])
def test_a_function_after_ready_made_steps_is_called_once(kind: str) -> None:
    calls, other = Calls(), Calls()
    registry = registry_of(
        (ops.convert("size", calls),), other.on_state, (RENAMED, ops.add("more", factory=list))
    )
    made = persist.load(files()[kind], registry=registry)["runs"]
    assert [run.size for run in made] == list(range(COUNT))
    assert set(calls.seen.values()) == set(other.seen.values()) == {1}

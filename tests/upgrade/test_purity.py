"""What a step sees of the instances that its state holds, and what it cannot change: the same by every route."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import MigrationFailedError
from persist.tree import Global, Record

SEEN: list[Any] = []
STEP: list[Callable[[Any], Any]] = []


class Part(persist.Versioned, schema="purity.Part"):
    persistent = ("n", "w", "more")

    def __init__(self, n: int, more: Any = None) -> None:
        self.n, self.w, self.more = n, np.arange(3.0), more

    def __hash__(self) -> int:
        return hash(self.n)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and other.n == self.n


class Words(list[str], persist.Versioned, schema="purity.Words"):  # type: ignore[misc]
    persistent = ("title",)


def activation(x: float) -> float:
    return x


persist.constant(f"{__name__}.activation", activation)


class Whole(persist.Versioned, version=2, schema="purity.Whole"):
    persistent = ("held", "seen")


@persist.migration(Whole, 1)
def whole_2(state: Any) -> Any:
    return STEP[0](state)


@whole_2.downgrade
def whole_1(state: Any) -> Any:
    return {"held": state["held"]}


def whole(held: Any) -> Whole:
    made = Whole()
    made.held, made.seen = held, None  # type: ignore[attr-defined]
    return made


def by_load(obj: Any) -> Any:
    file = io.BytesIO()
    persist.save(obj, file, versions={"purity.Whole": 1}, lossy=True)
    return persist.load(file.getvalue())


def older_pickle(obj: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file, versions={"purity.Whole": 1}, lossy=True, format="pickle")
    return file.getvalue()


def by_load_of_pickle(obj: Any) -> Any:
    return persist.load(older_pickle(obj))


def by_pickle(obj: Any) -> Any:
    return pickle.loads(older_pickle(obj))


def by_python(obj: Any) -> Any:
    return pickle._Unpickler(io.BytesIO(older_pickle(obj))).load()  # type: ignore[attr-defined]


def by_compiled(obj: Any) -> Any:
    data = older_pickle(obj)
    return [pickle.loads(data) for _ in range(12)][-1]


LOADS = [by_load, by_load_of_pickle, by_pickle, by_python, by_compiled]
PLAIN = [by_pickle, by_python, by_compiled]


def outline(value: Any) -> Any:
    """What a step sees, as text and numbers."""
    if isinstance(value, Record):
        items = [outline(item) for item in value.listitems]
        return (
            value.qualname.rpartition(".")[2],
            value.version,
            outline(dict(value.fields())),
            items,
        )
    if isinstance(value, dict):
        return {str(outline(key)): outline(item) for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return [type(value).__name__, *map(outline, value)]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(str(outline(item)) for item in value)]
    if isinstance(value, np.ndarray):
        return value.tolist(), value.flags.writeable
    if isinstance(value, Global):
        return value.qualname
    return value


def held() -> list[Any]:
    one, two = Part(1), Part(2, more=[Part(3), {"k": Part(4)}])
    words = Words(["a", "b"])
    words.title = "t"  # type: ignore[attr-defined]
    return [
        one, [one, two], {"x": two}, {two: 1}, (one, (two,)), {one, two}, frozenset([two]),
        OrderedDict(a=[one]), deque([two]), words, activation, {"deep": [{"f": activation}]},
    ]  # fmt: skip


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("number", range(12))
def test_a_step_sees_records_and_names(load: Any, number: int) -> None:
    def look(state: Any) -> Any:
        SEEN.append(outline(state["held"]))
        return {**state, "seen": True}

    STEP[:] = [look]
    value = held()[number]
    results = []
    for one in (by_load, load):
        SEEN.clear()
        made = one(whole(value))
        results.append(SEEN[-1])
        assert made.seen is True
        assert outline_of_live(made.held) == outline_of_live(value)
    assert results[0] == results[1]
    assert "object at" not in str(results[0])


def outline_of_live(value: Any) -> Any:
    """Instances of the classes here, as text."""
    if isinstance(value, Part):
        return (
            "Part",
            value.n,
            value.w.tolist(),
            value.w.flags.writeable,
            outline_of_live(value.more),
        )
    if isinstance(value, Words):
        return ("Words", value.title, list(value))  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {str(outline_of_live(key)): outline_of_live(item) for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return [type(value).__name__, *map(outline_of_live, value)]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(str(outline_of_live(item)) for item in value)]
    return value


@pytest.mark.parametrize("load", LOADS)
def test_what_a_step_moves_is_the_instance_itself(load: Any) -> None:
    """Also a part of a part, and a container of a part."""
    inner = Part(3)
    outer = Part(2, more=[inner])

    def move(state: Any) -> Any:
        part = state["held"][0]
        return {"held": part, "seen": (part["more"], part["more"][0], {part: part.w})}

    STEP[:] = [move]
    made = load(whole([outer]))
    assert type(made.held) is Part
    assert made.seen[0] is made.held.more
    assert made.seen[1] is made.held.more[0]
    assert made.seen[1].n == 3
    assert next(iter(made.seen[2])) is made.held
    assert made.seen[2][made.held] is made.held.w
    assert made.held.w.flags.writeable


def set_field(part: Any) -> None:
    part["n"] = 9


def set_attribute(part: Any) -> None:
    part.n = 9


def add_field(part: Any) -> None:
    part["x"] = 9


def append(part: Any) -> None:
    part["more"].append(1)


def change_deep(part: Any) -> None:
    part["more"][0]["n"] = 9


CHANGES = [set_field, set_attribute, add_field, append, change_deep]


@pytest.mark.parametrize("load", PLAIN)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_plain_pickle_would_lose_is_an_error(load: Any, change: Any) -> None:
    def step(state: Any) -> Any:
        change(state["held"])
        return {**state, "seen": 1}

    STEP[:] = [step]
    with pytest.raises(
        MigrationFailedError, match=r"changed an instance of .*Part .*persist\.load"
    ):
        load(whole(Part(1, more=[Part(2)])))


@pytest.mark.parametrize("load", [by_load, by_load_of_pickle])
def test_the_remedy_is_load(load: Any) -> None:
    def step(state: Any) -> Any:
        set_field(state["held"])
        append(state["held"])
        return {**state, "seen": 1}

    STEP[:] = [step]
    made = load(whole(Part(1, more=[])))
    assert (made.held.n, made.held.more) == (9, [1])


@pytest.mark.parametrize("load", LOADS)
def test_arrays_of_a_part_are_read_only(load: Any) -> None:
    def step(state: Any) -> Any:
        state["held"]["w"][0] = 5
        return {**state, "seen": 1}

    STEP[:] = [step]
    with pytest.raises(MigrationFailedError, match="read-only"):
        load(whole(Part(1)))

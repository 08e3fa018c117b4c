"""The written ways give what the general ways give: equal objects, equal errors, equal warnings."""

from __future__ import annotations

import gc
import io
import linecache
import pickle
import sys
import traceback
import warnings
from collections import OrderedDict
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist import ops
from persist._instances.adapter import adapter_of
from persist._upgrade import compiled
from persist._upgrade.records import upgrade
from persist.errors import MigrationFailedError, SchemaError
from persist.tree import Global, Record

V = persist.Versioned
MANY = 2 * compiled.COMPILE_AFTER + 2


class Stepped(V, version=4, schema="fused.Stepped"):
    persistent = ("a", "b", "c")


persist.migration(Stepped, 1, ops.rename({"x": "a", "y": "b"}), ops.add("c", 7))
persist.migration(Stepped, 2, ops.convert("b", lambda value: [value]), ops.add("d", factory=list))
persist.migration(Stepped, 3, ops.drop("d"), ops.add("e", computed=lambda s: s["a"]), ops.drop("e"))


class Called(V, version=3, schema="fused.Called"):
    persistent = ("a", "b", "c")


@persist.migration(Called, 1)
def first(state: Any) -> Any:
    """Does whatever the state asks for, so that every oddity can be had."""
    wish = state.pop("y")
    if wish == "raise":
        raise ValueError(f"no {state['x']}")
    if wish == "write":
        state["x"][0] = 9
    answers = {
        "none": None,
        "tuple": (1, 2),
        "ordered": OrderedDict(a=state["x"], b=wish),
        "instead": ops.Instead(5),
        "record": Record("other.Thing", {}),
        "extra": {"a": state["x"], "b": wish, "more": 1},
        "lacks": {"a": state["x"]},
        "view": {"a": state["x"][:1] if isinstance(state["x"], np.ndarray) else 0, "b": wish},
    }
    return answers.get(wish, {"a": state["x"], "b": wish}) if isinstance(wish, str) else {
        "a": state["x"], "b": wish,
    }  # fmt: skip


@persist.migration(Called, 2)
def second(state: Any) -> Any:
    if isinstance(state, tuple):
        return {"a": state[0], "b": state[1], "c": 3}
    return {**state, "c": len(state)}


class Base(V, version=2, schema="fused.Base"):
    persistent = ("a",)


class Heir(Base, version=2, schema="fused.Heir"):
    __slots__ = ("b", "c")


persist.migration(Base, 1, ops.rename("x", "a"))


@persist.migration(Heir, 1)
def heir_first(state: Any) -> Any:
    if state["y"] == "raise":
        raise KeyError("y")
    return None if state["y"] == "none" else {"b": state["y"], "c": 0}


@attrs.frozen
class Checked(V, version=2, schema="fused.Checked"):
    a: Any
    b: Any = attrs.field(converter=str, validator=attrs.validators.max_len(4))
    c: Any = 3


persist.migration(Checked, 1, ops.rename({"x": "a", "y": "b"}))


class Shadowed(V, version=2, schema="fused.Shadowed"):
    """A property stands where a field is."""

    persistent = ("a", "b")

    @property
    def a(self) -> int:
        return 1


persist.migration(Shadowed, 1, ops.rename({"x": "a", "y": "b"}))

CLASSES = [Stepped, Called, Heir, Checked, Shadowed]
VALUES = [
    1, "text", None, (1, "a"), (1, (2, [3])), [1, 2], {"k": [1]}, np.arange(3.0), [np.ones(2)],
    (np.zeros(1), 2), "raise", "none", "tuple", "ordered", "instead", "record", "extra", "lacks", "view",
    "write", "far too long",
]  # fmt: skip


def old_layers(cls: type) -> Any:
    if cls is Heir:
        return (
            ("fused.Base", 1, "", "fields", ("x",)),
            ("fused.Heir", 1, "", "fields", ("y",)),
        )
    return ((f"fused.{cls.__name__}", 1, "", "fields", ("x", "y")),)


def old_pickle(cls: type, states: list[tuple[Any, Any]]) -> bytes:
    """What pickle wrote of many instances when the class was at version 1."""
    header = ("persist.envelope", 1, old_layers(cls))
    named = Global(cls.__module__, cls.__qualname__)
    records = [
        Record(named, (header, (x,), (y,)) if cls is Heir else (header, (x, y)), kind="newobj")
        for x, y in states
    ]
    file = io.BytesIO()
    persist.save(records, file, format="pickle")
    return file.getvalue()


def bare_pickle(cls: type, states: list[tuple[Any, Any]]) -> bytes:
    """What pickle wrote of them before the class was versioned: no envelope, and nothing states it."""
    named = Global(cls.__module__, cls.__qualname__)
    file = io.BytesIO()
    records = [Record(named, {"x": x, "y": y}, kind="newobj") for x, y in states]
    persist.save(records, file, format="pickle")
    return file.getvalue()


def seen(value: Any) -> Any:
    """Everything that is observable of a value, as what can be compared."""
    if isinstance(value, np.ndarray):
        return ("array", value.tolist(), value.flags.writeable)
    if isinstance(value, list | tuple):
        return (type(value).__name__, [seen(item) for item in value])
    if isinstance(value, dict):
        return (type(value).__name__, [(name, seen(item)) for name, item in value.items()])
    if type(value) in CLASSES:
        names = [name for name in ("a", "b", "c", "more") if hasattr(value, name)]
        return (type(value).__name__, [(name, seen(getattr(value, name))) for name in names])
    if isinstance(value, Record):
        return ("record", value.qualname, value.version, seen(value.state))
    return (type(value).__name__, repr(value))


def outcome(work: Any) -> Any:
    """What came of it: the value, or the error with its cause; and the warnings."""
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        try:
            result = seen(work())
        except Exception as error:
            cause = error.__cause__
            result = (type(error).__name__, str(error), type(cause).__name__, str(cause))
    return result, [(one.category.__name__, str(one.message)) for one in reported]


def generally(work: Any) -> Any:
    """Do work with everything compiled shut off."""
    with compiled.SWITCH.off():
        return outcome(work)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_written_way_is_the_general_way(cls: type, value: Any) -> None:
    """In plain pickle and in a tree, with the value in the last of many states."""
    plain = [(number, f"t{number}") for number in range(MANY)]
    for last in ((1, value), (value, "t"), (value, value), (np.arange(3.0), value)):
        data, bare = old_pickle(cls, [*plain, last]), bare_pickle(cls, [*plain, last])
        for work in (
            lambda data=data: pickle.loads(data),
            lambda data=data: persist.load(data),
            lambda bare=bare: pickle.loads(bare),
            lambda bare=bare: persist.load(bare),
            lambda data=data, last=last: upgrade(records_of(cls, [*plain, last]))[0],
        ):
            assert outcome(work) == generally(work)


def records_of(cls: type, states: list[tuple[Any, Any]]) -> list[Record]:
    """As a container of version 1 has them: a dict and a version."""
    named = Global(cls.__module__, cls.__qualname__)
    return [Record(named, {"x": x, "y": y}, version=1) for x, y in states]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES[:10])), max_size=MANY))
def test_whatever_comes_in_whatever_order(states: list[tuple[Any, Any]]) -> None:
    """Every state alone, which goes the general way, is what it is among the others."""
    data = old_pickle(Stepped, states)
    whole = outcome(lambda: pickle.loads(data))
    adapter_of(Stepped).ways.clear()
    adapter_of(Stepped).older = (None, None, -1)
    alone = [
        outcome(lambda pair=pair: pickle.loads(old_pickle(Stepped, [pair]))) for pair in states
    ]
    assert whole[0] == ("list", [result[1][0] for result, _ in alone])


def test_many_states_go_the_written_way() -> None:
    """The proof above would be idle otherwise."""
    data = old_pickle(Called, [(number, number) for number in range(MANY)])
    pickle.loads(data)
    assert callable(adapter_of(Called).older[1])


class Today(V, schema="fused.Today"):
    persistent = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


def functions_used(work: Any) -> set[str]:
    """The names of the generated functions that run and do not just call the general one."""
    found: set[str] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        passes_on = frame.f_globals.get("CLS", frame) is None
        if name.startswith("<persist generated ") and not passes_on:
            found.add(name.partition(": ")[2].rstrip(">").partition(" of ")[0])

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        ("dumps", {"__reduce_ex__"}),
        ("loads", {"__setstate__"}),
        ("loads older", {"__setstate__"}),
        ("load", {"fields"}),
        ("load older", {"migrations", "fields"}),
        ("container", {"attributes", "rows"}),
    ],
)
def test_one_switch_shuts_all_that_is_compiled(kind: str, used: set[str]) -> None:
    """Otherwise the general path would be compared with itself."""
    many = [Today(number, f"t{number}") for number in range(1500)]
    data = pickle.dumps(many)
    older = old_pickle(Stepped, [(number, f"t{number}") for number in range(MANY)])

    def container() -> None:
        file = io.BytesIO()
        persist.save(many, file)
        persist.load(file.getvalue())

    work = {
        "dumps": lambda: pickle.dumps(many),
        "loads": lambda: pickle.loads(data),
        "loads older": lambda: pickle.loads(older),
        "load": lambda: persist.load(data),
        "load older": lambda: persist.load(older),
        "container": container,
    }[kind]
    work()
    assert used <= functions_used(work)
    with compiled.SWITCH.off():
        assert functions_used(work) == set()
    assert used <= functions_used(work)


def test_arrays_cannot_be_written_by_steps_on_the_written_way() -> None:
    shared = np.zeros(3)
    states: list[Any] = [(number, number) for number in range(MANY)]
    with pytest.raises(MigrationFailedError, match=r"first .* failed: ValueError.*read-only"):
        pickle.loads(old_pickle(Called, [*states, (shared, "write")]))


def test_a_step_that_is_registered_anew_is_the_one_that_runs() -> None:
    """What was compiled before is out of date."""
    registry = persist.Registry("anew")

    class Net(V, version=2, schema="anew.Net", registry=registry):
        persistent = ("a", "b")

    header = ("persist.envelope", 1, (("anew.Net", 1, "", "fields", ("x", "y")),))

    def last() -> Any:
        net = None
        for number in range(MANY):
            net = Net.__new__(Net)
            net.__setstate__((header, (number, 1)))
        return net

    cell = """
@registry.migration("anew.Net", 1)
def step(state):
    return {"a": state["x"], "b": "before"}
"""
    space = {"registry": registry, "__name__": "__main__"}
    exec(compile(cell, "<cell 1>", "exec"), space)
    assert last().b == "before"
    exec(compile(cell.replace("before", "after"), "<cell 2>", "exec"), space)
    assert last().b == "after"


def test_names_in_a_file_are_never_source() -> None:
    """They stand in what is compiled as literals only."""
    nasty = ["x'\n    raise SystemExit", '"""', "{}", "\\", "a b", "\ud800", "__import__('os')"]
    registry = persist.Registry("nasty")

    class Net(V, version=2, schema="nasty.Net", registry=registry):
        persistent = ("a",)

    @registry.migration(Net, 1)
    def count(state: Any) -> Any:
        return {"a": dict(state)}

    header = ("persist.envelope", 1, (("nasty.Net", 1, "", "fields", tuple(nasty)),))
    for _ in range(MANY):
        net = Net.__new__(Net)
        net.__setstate__((header, tuple(range(len(nasty)))))
        assert net.a == dict(zip(nasty, range(len(nasty)), strict=True))
    with pytest.raises(SchemaError, match="lacks the field 'a'"):
        net.__setstate__((("persist.envelope", 1, (("nasty.Net", 2, "", "fields", ()),)), ()))


def generated(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of generated code in the traceback of an error and of its causes."""
    frames: list[traceback.FrameSummary] = []
    cause: BaseException | None = error
    while cause is not None:
        frames += traceback.extract_tb(cause.__traceback__)
        cause = cause.__cause__
    return [frame for frame in frames if frame.filename.startswith("<persist generated ")]


class Net(V, schema="fused.lines.Net"):
    def __init__(self, size: int) -> None:
        self.size = size

    def __getstate__(self) -> Any:
        return [self.size]

    def __setstate__(self, state: Any) -> None:
        if state[0] < 0:
            raise ValueError("negative size")
        self.size = state[0]


class Refused(V, version=2, schema="fused.lines.Refused"):
    persistent = ("a",)


@persist.migration(Refused, 1)
def refuse(state: Any) -> Any:
    raise LookupError("no such field")


def test_tracebacks_show_the_lines_of_a_generated_setstate() -> None:
    header = Net(3).__reduce_ex__(2)[2][0]
    Net(3).__setstate__((header, [3]))  # the generated code handles a header seen before
    with pytest.raises(ValueError, match="negative size") as caught:
        Net(3).__setstate__((header, [-1]))
    frame = generated(caught.value)[-1]
    assert frame.filename.endswith(f": __setstate__ of {__name__}.{Net.__qualname__}>")
    assert frame.line == "SETSTATE(self, state[-1])"


def test_tracebacks_show_the_lines_of_compiled_steps() -> None:
    record = Record("fused.lines.Refused", {"a": 1}, version=1)
    for _ in range(MANY):
        with pytest.raises(MigrationFailedError) as caught:
            upgrade([record])
    frame = generated(caught.value)[-1]
    assert frame.filename.endswith(": migrations of fused.lines.Refused>")
    assert frame.line == "s = s_f0(s)"
    assert linecache.getline(frame.filename, 2) == "def advance(s, memo):\n"


def test_the_text_of_generated_code_is_dropped_with_its_functions() -> None:
    space: dict[str, Any] = {}
    compiled.compiled("def once():\n    return 1\n", "a test", space)
    name = space["once"].__code__.co_filename
    assert linecache.getlines(name) == ["def once():\n", "    return 1\n"]
    linecache.checkcache()
    assert linecache.getlines(name)
    space.clear()
    gc.collect()
    assert linecache.getlines(name) == []

"""`before=` and `after=`: which records of a file are upgraded first; and what replaces a record."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest

import persist
from persist.errors import MigrationFailedError, SchemaError
from persist.tree import Record

# Schemas that are data alone stay records.
pytestmark = pytest.mark.filterwarnings("ignore::persist.errors.OpaqueWarning")

LOG: list[str] = []


class Sensor(persist.Versioned, version=2, schema="order.Sensor"):
    persistent = ("unit", "rig")


class Rig(persist.Versioned, version=2, schema="order.Rig"):
    persistent = ("sensors", "units")


class Report(persist.Versioned, version=2, schema="order.Report"):
    persistent = ("of", "units")


@persist.migration(Sensor, 1, after=[Rig])
def sensor_2(state: Any) -> Any:
    """Takes the unit that the rig has already moved out of its old table."""
    LOG.append("sensor")
    return {"unit": state["rig"]["units"][state["name"]], "rig": state["rig"]}


@persist.migration(Rig, 1)
def rig_2(state: Any) -> Any:
    """Sees the sensors as the file has them."""
    LOG.append("rig")
    names = [sensor["name"] for sensor in state["sensors"]]
    return {"sensors": state["sensors"], "units": dict(zip(names, state["table"], strict=True))}


@persist.migration(Report, 1)
def report_2(state: Any) -> Any:
    """Sees what it holds upgraded, as every step does that declares no order."""
    LOG.append("report")
    return {"of": state["of"], "units": [sensor["unit"] for sensor in state["of"]["sensors"]]}


def rig(version: int = 1) -> Record:
    """Two sensors in a rig, each of which refers back to it."""
    made = Record("order.Rig", {"table": ["V", "A"]}, version=version)
    made["sensors"] = [
        Record("order.Sensor", {"name": name, "rig": made}, version=1) for name in "ab"
    ]
    return made


def stored(tree: Any) -> bytes:
    file = io.BytesIO()
    persist.save(tree, file)
    return file.getvalue()


@pytest.mark.parametrize("root", ["rig", "sensor", "report"])
def test_a_part_after_the_whole(root: str) -> None:
    LOG.clear()
    made = rig()
    report = Record("order.Report", {"of": made}, version=1)
    tree = {"rig": made, "sensor": made["sensors"][1], "report": report}[root]
    loaded = persist.load(stored({"first": tree, "again": (tree,)}))
    assert loaded["again"][0] is loaded["first"]
    top = loaded["first"]
    if root == "report":
        assert LOG == ["rig", "sensor", "sensor", "report"]
        assert top.units == ["V", "A"]
        top = top.of
    else:
        assert LOG == ["rig", "sensor", "sensor"]
    top = top.rig if root == "sensor" else top
    assert [sensor.unit for sensor in top.sensors] == ["V", "A"]
    assert all(sensor.rig is top for sensor in top.sensors)


def test_the_plan_has_the_order() -> None:
    made = rig()
    plan = persist.explain(stored(made))
    assert [entry.schema for entry in plan.entries] == ["order.Rig", "order.Sensor", "order.Sensor"]
    assert not plan.problems


def test_a_pickle_by_load_and_by_plain_pickle() -> None:
    """Plain pickle cannot keep the order, and says so."""
    data = (
        b"\x80\x02corder_module\nRig\n)\x81q\x01}(X\x05\x00\x00\x00table]X\x01\x00\x00\x00VaX\x07\x00\x00\x00sensors]"
        b"corder_module\nSensor\n)\x81}(X\x04\x00\x00\x00nameX\x01\x00\x00\x00aX\x03\x00\x00\x00righ\x01ubaub."
    ).replace(b"order_module", __name__.encode())
    assert persist.load(data).sensors[0].unit == "V"
    with pytest.raises(SchemaError, match=r"before=, after=.*Load the file with persist\.load"):
        pickle.loads(data)
    current = persist.load(data)
    assert pickle.loads(pickle.dumps(current)).sensors[0].unit == "V"


def declared(registry: persist.Registry, *names: str) -> None:
    for name in names:
        registry.register(f"order.{name}", version=2)


def test_before_and_chains() -> None:
    """C holds A holds B; the declared order is A, then B; what holds them comes last."""
    registry = persist.Registry("order before")
    declared(registry, "A", "B", "C")
    seen = []

    def step(name: str, **order: Any) -> None:
        @registry.migration(f"order.{name}", 1, **order)
        def up(state: Any) -> Any:
            inner = state.get("in")
            seen.append((name, None if inner is None else inner.version))
            return {**state, "new": True}

    step("A", before="order.B")
    step("B")
    step("C")
    tree = Record("order.C", {}, version=1)
    tree["in"] = Record("order.A", {"in": Record("order.B", {}, version=1)}, version=1)
    persist.load(stored(tree), registry=registry)
    assert seen == [("A", 1), ("B", None), ("C", 2)]


def test_what_replaces_a_record_is_what_later_ones_see() -> None:
    registry = persist.Registry("order replaced")
    declared(registry, "Old", "User")
    registry.register("order.New", version=1)

    @registry.migration("order.Old", 1)
    def old_2(state: Any) -> Any:
        return Record("order.New", {"x": state["x"]}, version=1)

    @registry.migration("order.User", 1, after=["order.Old"])
    def user_2(state: Any) -> Any:
        return {"kinds": [one.qualname for one in state["all"]], "all": state["all"]}

    user = Record("order.User", {}, version=1)
    olds = [Record("order.Old", {"x": n, "user": user}, version=1) for n in range(2)]
    user["all"] = frozenset(olds)
    loaded = persist.load(stored({"olds": olds, "user": user}), registry=registry)
    assert loaded["user"]["kinds"] == ["order.New", "order.New"]
    assert loaded["user"]["all"] == frozenset(loaded["olds"])


def test_schemas_that_wait_for_each_other() -> None:
    registry = persist.Registry("order circle")
    declared(registry, "A", "B", "C")
    registry.migration("order.A", 1, persist.ops.add("x", 1), after=["order.C"])
    registry.migration("order.B", 1, persist.ops.add("x", 1), after=["order.A"])
    assert not registry.faults() or "wait" not in str(registry.faults())
    registry.migration("order.C", 1, persist.ops.add("x", 1), after=["order.B"])
    with pytest.raises(SchemaError, match=r"'order.A', 'order.B', 'order.C' wait for each other"):
        persist.load(stored(Record("order.A", {}, version=1)), registry=registry)
    assert any("wait for each other" in str(fault) for fault in registry.faults())


def test_what_is_no_schema() -> None:
    registry = persist.Registry("order wrong")
    wrong: Any = [3]
    with pytest.raises(TypeError, match="after=3"):
        registry.migration("order.A", 1, persist.ops.add("x", 1), after=wrong)


# The cheapest path.


def test_costs_decide_between_paths() -> None:
    registry = persist.Registry("order costs")
    registry.register("order.P", version=4)
    for start, to, cost in ((1, 2, 1), (2, 4, 1), (1, 3, 1), (3, 4, 0.5)):
        registry.migration("order.P", start, persist.ops.add(f"x{to}", 1), to=to, cost=cost)
    assert [(step.start, step.to) for step in registry.path("order.P", 1, 4)] == [(1, 3), (3, 4)]
    registry.migration("order.P", 1, persist.ops.add("y", 1), to=4, cost=9)
    assert len(registry.path("order.P", 1, 4)) == 2  # a jump that costs more is not taken
    for cost in (0, -1, "2", True):
        with pytest.raises(ValueError, match="cost="):
            registry.migration("order.P", 1, persist.ops.add("x", 1), cost=cost)


# Objects that become one.


class Axis(persist.Versioned, version=2, schema="order.Axis"):
    persistent = ("name",)

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Axis) and self.name == other.name


FIRST: dict[str, Any] = {}


@persist.migration(Axis, 1)
def one_of_each_name(state: Any, record: Any) -> Any:
    """The second of a name is replaced by the first."""
    first = FIRST.setdefault(state["name"], record)
    return state if first is record else persist.ops.Instead(first)


def test_two_objects_become_one_wherever_they_are() -> None:
    FIRST.clear()
    one, two = (Record("order.Axis", {"name": "x"}, version=1) for _ in range(2))
    tree = {
        "list": [one, two],
        "tuple": ((two,), two),
        "set": {one, two},
        "frozenset": frozenset([(one, 1), (two, 2)]),
        "first": {two: 5},
        "same": {one: None, two: None},
        "deep": {(two, 1): [two]},
    }
    found = persist.load(stored(tree))
    axis = found["list"][0]
    assert found["list"][1] is axis
    assert found["tuple"][0][0] is axis
    assert found["tuple"][1] is axis
    assert found["set"] == {axis}
    assert next(iter(found["set"])) is axis
    assert all(pair[0] is axis for pair in found["frozenset"])
    assert found["first"] == {axis: 5}
    assert found["same"] == {axis: None}
    ((key, value),) = found["deep"].items()
    assert key[0] is axis
    assert value[0] is axis


def test_values_that_two_keys_had_are_not_lost() -> None:
    FIRST.clear()
    one, two = (Record("order.Axis", {"name": "x"}, version=1) for _ in range(2))
    with pytest.raises(MigrationFailedError, match=r"two keys of a dict become one.*before="):
        persist.load(stored({one: 1, two: 2}))


def test_the_remedy_of_two_keys_that_become_one() -> None:
    """The object that holds the dict joins the values, before the keys are one."""
    FIRST.clear()
    registry = persist.Registry("order remedy", parents=(persist.registry.default_registry,))
    registry.register("order.Figure", version=2)

    @registry.migration("order.Figure", 1, before=[Axis])
    def joined(state: Any) -> Any:
        totals: dict[str, Any] = {}
        for axis, count in state["counts"].items():
            key, total = totals.get(axis["name"], (axis, 0))
            totals[axis["name"]] = (key, total + count)
        return {"counts": dict(totals.values())}

    one, two = (Record("order.Axis", {"name": "x"}, version=1) for _ in range(2))
    figure = Record("order.Figure", {"counts": {one: 1, two: 2}}, version=1)
    loaded = persist.load(stored([figure, one, two]), registry=registry)
    assert list(loaded[0]["counts"].values()) == [3]
    assert loaded[1] is loaded[2]
    assert next(iter(loaded[0]["counts"])) is loaded[1]


def test_a_record_in_its_own_place_is_refused() -> None:
    registry = persist.Registry("order itself")
    declared(registry, "Own")

    @registry.migration("order.Own", 1)
    def up(state: Any, record: Any) -> Any:
        return persist.ops.Instead(record)

    with pytest.raises(MigrationFailedError, match="in its own place"):
        persist.load(stored(Record("order.Own", {}, version=1)), registry=registry)

"""Graphs of objects, upgraded, downgraded and saved: sharing, cycles, and what steps see and return."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._instances import waiting as _waiting
from persist._upgrade.records import plan, upgrade
from persist.errors import MigrationFailedError


def fields(obj: Any, **values: Any) -> Any:
    """Set attributes of an instance and return it."""
    for name, value in values.items():
        setattr(obj, name, value)
    return obj


# Columns: instances of several classes inside each other.


class Outer(persist.Versioned, schema="graphs.Outer"):
    persistent = ("kids", "own")


class Inner(persist.Versioned, schema="graphs.Inner"):
    persistent = ("w", "alt", "back")


def partly_shared(count: int) -> list[Outer]:
    """Half of the Outer instances stand only in an Inner, whose array is met before they are."""
    shared = np.arange(4.0)
    made = []
    for index in range(count):
        lone = fields(Inner(), w=np.arange(4.0) + index, alt=None, back=None)
        deep = fields(Outer(), kids={"k": lone}, own=index)
        first = fields(Inner(), w=shared, alt=None, back={"k": deep})
        made.append(fields(Outer(), kids={"k": first}, own=index))
    return made


def crossed(count: int) -> list[Outer]:
    """Two rows that each stand, in the order of the columns, in the other first."""
    made = []
    for index in range(count):
        first, last = Inner(), Inner()
        top, deep = Outer(), Outer()
        fields(top, kids=first, own=np.arange(3.0) + index)
        fields(deep, kids=last, own=np.arange(3.0) - index)
        fields(first, w=None, alt=None, back=[deep])
        fields(last, w=np.arange(2.0) + index if index % 2 else None, alt=[deep], back=None)
        made.append(top)
    return made


@pytest.mark.parametrize("make", [partly_shared, crossed])
def test_rows_inside_each_other_are_saved_as_columns(make: Any, tmp_path: Path) -> None:
    objects = make(1100)
    persist.save(objects, tmp_path / "columns.persist")
    persist.save(objects, tmp_path / "records.persist", columns=False)
    with (
        persist.open(tmp_path / "columns.persist") as one,
        persist.open(tmp_path / "records.persist") as two,
    ):
        assert list(one.arrays) == list(two.arrays)
        for name in list(two.arrays)[::97]:
            assert np.array_equal(one.arrays[name], two.arrays[name])
    again = persist.load(tmp_path / "columns.persist")
    for old, new in zip(objects[::53], again[::53], strict=True):
        if make is partly_shared:
            assert new.kids["k"].w is again[0].kids["k"].w
            assert np.array_equal(
                new.kids["k"].back["k"].kids["k"].w, old.kids["k"].back["k"].kids["k"].w
            )
        else:
            deep = new.kids.back[0]
            assert deep.kids.alt[0] is deep
            assert np.array_equal(deep.own, old.kids.back[0].own)


# Cycles: what a step sees of what it meets again.


class Node(persist.Versioned, version=2, schema="graphs.Node"):
    persistent = ("w", "peer", "total")


@persist.migration(Node, 1)
def add_total(state: Any) -> Any:
    """Reads the same field of the peer, tolerating its absence."""
    return {**state, "total": state["w"] + getattr(state["peer"], "w", 0)}


def old_pickle(cls: str) -> bytes:
    """Protocol 2, written by hand: two instances without a version that refer to each other."""
    module, _, name = cls.rpartition(".")
    named = f"c{module}\n{name}\n)\x81".encode("latin-1")
    return (
        b"\x80\x02" + named + b"q\x01}(U\x01wK\x05U\x04peer"
        + named + b"q\x02}(U\x01wK\x07U\x04peerh\x01ubub."
    )  # fmt: skip


def old_records(cls: str, version: int | None) -> Any:
    """The same two as records."""
    one = persist.Record(cls, {"w": 5}, version=version)
    two = persist.Record(cls, {"w": 7, "peer": one}, version=version)
    one["peer"] = two
    return one


def test_a_step_in_a_cycle_sees_the_old_state_of_what_it_meets_again(tmp_path: Path) -> None:
    persist.save(old_records("graphs.Node", 1), tmp_path / "old.persist")
    for source in (old_pickle(f"{Node.__module__}.Node"), tmp_path / "old.persist"):
        node = persist.load(source)
        assert (node.total, node.peer.total) == (12, 12)
        assert node.peer.peer is node


def test_containers_that_are_met_again_are_seen_whole() -> None:
    """A list, dict, set, tuple, object array and frozenset that hold the instance itself."""
    registry = persist.Registry("containers")
    registry.register("c.Item", version=2, fields=("n", "among", "seen"))

    @registry.migration("c.Item", 1)
    def look(state: Any) -> Any:
        among = state["among"]
        inside = among.values() if isinstance(among, dict) else among
        return {**state, "seen": sorted(item.n for item in inside)}

    def kinds(items: list[Any]) -> list[Any]:
        array = np.empty(len(items), object)
        array[:] = items
        return [[*items], dict(enumerate(items)), {*items}, (*items,), frozenset(items), array]

    for kind in range(6):
        items = [persist.Record("c.Item", {"n": n}) for n in (1, 2, 3)]
        among = kinds(items)[kind]
        for item in items:
            item["among"] = among
        done, _ = upgrade(among, registry)
        inside = list(done.values()) if isinstance(done, dict) else list(done)
        assert [item.seen for item in inside] == [[1, 2, 3]] * 3
        assert all(item.among is done for item in inside)
        assert all(item.version == 2 for item in inside)


def meddling(is_cured: bool) -> persist.Registry:
    """A step that changes a field of what it meets again; or, cured, each step its own."""
    registry = persist.Registry("lost")
    registry.register("l.Up", version=2, fields=("kid", "m"))
    registry.register("l.Kid", version=2, fields=("up",))

    @registry.migration("l.Up", 1)
    def own(state: Any) -> Any:
        return {**state, "m": 0} if is_cured else state

    @registry.migration("l.Kid", 1)
    def meddle(state: Any) -> Any:
        if not is_cured:
            state["up"]["m"] = 0
        return state

    return registry


def test_a_change_that_a_cycle_would_lose_is_an_error() -> None:
    up = persist.Record("l.Up", {"m": 1})
    up["kid"] = persist.Record("l.Kid", {"up": up})
    with pytest.raises(MigrationFailedError, match=r"not upgraded yet.*own class") as caught:
        upgrade([up], meddling(False), file="up.pkl")
    assert caught.value.file == "up.pkl"
    (done,), _ = upgrade([up], meddling(True))
    assert done.m == 0
    assert done.kid.up is done


def test_paths_in_cycles_are_those_from_the_root() -> None:
    parent, kid = persist.Record("qq.Node", {"w": 5}), persist.Record("qq.Kid", {"w": 7})
    parent["kid"], kid["parent"] = kid, parent
    assert [(entry.path, entry.qualname) for entry in plan(parent)] == [
        ("kid", "qq.Kid"),
        ("", "qq.Node"),
    ]
    text = str(plan(parent))
    assert "the root: qq.Node" in text
    assert "kid: qq.Kid" in text
    shared = persist.Record("qq.Leaf", {"n": 1})
    table = {"first": [shared], "second": shared}
    assert [entry.path for entry in plan(table)] == ["second"]  # the shortest


class Key(persist.Versioned, version=2, schema="graphs.Key"):
    """Hashed by a field that a step renames."""

    persistent = ("k", "owner")

    def __hash__(self) -> int:
        return hash(self.k)


persist.migration(Key, 1, persist.ops.rename("kk", "k"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda key: {key: 1},
        lambda key: {key},
        lambda key: frozenset([key]),
        lambda key: {(key, 1): frozenset([key])},
        lambda key: frozenset([(key, frozenset([key]))]),
    ],
)
@pytest.mark.parametrize("is_owner_root", [False, True])
def test_a_migrated_key_of_its_own_dict(wrap: Any, is_owner_root: bool, tmp_path: Path) -> None:
    key = persist.Record("graphs.Key", {"kk": "y"}, version=1)
    key["owner"] = wrap(key)
    persist.save(key["owner"] if is_owner_root else key, tmp_path / "key.persist")
    made = persist.load(tmp_path / "key.persist")
    if is_owner_root:
        (inner,) = made
        found = inner[0] if type(inner) is tuple else inner
        assert found.owner is made
    else:
        found = made
    assert type(found) is Key
    assert found.owner == wrap(found)  # compared by hash: everything is found where it is


class Odd(persist.Versioned, version=2, schema="graphs.Odd"):
    """Its hash needs a field that holds more than plain values."""

    persistent = ("names", "owner")

    def __hash__(self) -> int:
        return hash(tuple(self.names))


persist.migration(Odd, 1, persist.ops.rename("n", "names"))


def test_a_hash_that_needs_more_is_asked_when_everything_is_built(tmp_path: Path) -> None:
    odd = persist.Record("graphs.Odd", {"n": ["a"]}, version=1)
    odd["owner"] = {odd: 1}
    persist.save(odd, tmp_path / "odd.persist")
    made = persist.load(tmp_path / "odd.persist")
    assert made.owner == {made: 1}
    odd["owner"] = frozenset([odd])
    persist.save([odd["owner"]], tmp_path / "odd.persist")
    (again,) = persist.load(tmp_path / "odd.persist")
    (made,) = again  # the field that the hash needs is there, and plain
    assert made in again
    odd["n"] = [persist.Record("graphs.Key", {"kk": "b", "owner": None}, version=1)]
    persist.save([odd["owner"]], tmp_path / "odd.persist")
    with pytest.raises(persist.errors.RestoreError, match=r"[Ll]et its __hash__ use plain fields"):
        persist.load(tmp_path / "odd.persist")


# Down and up again.


class Parent(persist.Versioned, version=3, schema="graphs.Parent"):
    """Holds kids; its steps rename, convert what is shared, and read its kids."""

    persistent = ("name", "kids", "w", "seen")


class Kid(persist.Versioned, version=2, schema="graphs.Kid"):
    persistent = ("owner", "weights")


class PendingColumn(persist.Versioned, schema="graphs.Loose"):
    """Declares no fields."""


persist.migration(
    Parent,
    1,
    persist.ops.rename("title", "name"),
    persist.ops.convert("w", lambda w: w * 2, inverse=lambda w: w / 2),
)


@persist.migration(Parent, 2)
def see_kids(state: Any) -> Any:
    """The kids are of today already, wherever they are not above this one in a cycle."""
    return {
        **state,
        "seen": [len(kid.fields()) for kid in state["kids"] if type(kid) is persist.Record],
    }


@see_kids.downgrade
def forget_kids(state: Any) -> Any:
    return {name: value for name, value in state.items() if name != "seen"}


persist.migration(Kid, 1, persist.ops.rename("W", "weights"))


def outline(root: Any) -> list[Any]:
    """A graph as text that says which places hold the same object."""
    numbers: dict[int, int] = {}
    lines: list[Any] = []
    todo = [root]
    while todo:
        value = todo.pop()
        if value is None or isinstance(value, int | str | float):
            lines.append(value)
            continue
        known = numbers.get(id(value))
        if known is not None:
            lines.append(("same", known))
            continue
        numbers[id(value)] = len(numbers)
        lines.append(type(value).__name__)
        if isinstance(value, np.ndarray):
            lines.append((value.dtype.str, value.tolist()))
        elif isinstance(value, dict):
            lines.append(list(value))
            todo += reversed(list(value.values()))
        elif isinstance(value, list | tuple):
            lines.append(len(value))
            todo += reversed(value)
        else:
            own = {name: item for name, item in sorted(vars(value).items()) if name != "seen"}
            lines.append(list(own))
            todo += reversed(list(own.values()))
    return lines


def test_the_outline_tells_what_is_shared() -> None:
    one: list[Any] = []
    assert outline([one, one]) != outline([[], []])
    assert outline([np.ones(1)] * 2) != outline([np.ones(1), np.ones(1)])


@st.composite
def families(draw: Any) -> Any:
    """Parents and kids whose lists, dicts, arrays and references are drawn from few, so shared."""
    arrays = [np.arange(3.0) + n for n in range(2)]
    converted = [np.arange(2.0) + n for n in range(2)]  # by a step of Parent alone
    parents = [Parent() for _ in range(draw(st.integers(1, 3)))]
    kids: list[Any] = [Kid() for _ in range(draw(st.integers(1, 3)))]
    loose = PendingColumn()
    lists: list[list[Any]] = [[], []]
    for items in lists:
        items += draw(st.lists(st.sampled_from([*kids, loose]), max_size=3))
    pick = draw(st.booleans())
    boxes: list[Any] = [{"p": parents[0]}, [lists[0], kids[0]], (parents[-1], lists[1])]
    for parent in parents:
        fields(
            parent,
            name=draw(st.sampled_from(["a", "b"])),
            kids=draw(st.sampled_from(lists)),
            w=draw(st.sampled_from(converted)),
            seen=[],
        )
    for kid in kids:
        fields(
            kid,
            owner=draw(st.sampled_from([None, *parents, *kids, *boxes])),
            weights=draw(st.sampled_from([None, *arrays, *lists])),
        )
    loose.one = draw(st.sampled_from([None, *parents, *kids]))
    return [*parents, *kids, loose] if pick else [*kids, loose, *parents]


@pytest.mark.parametrize(
    "versions",
    [
        {"graphs.Parent": 1},
        {"graphs.Kid": 1},
        {"graphs.Parent": 2, "graphs.Kid": 1},
        {"graphs.Parent": 1, "graphs.Kid": 1},
    ],
)
@settings(max_examples=25)
@given(graph=families())
def test_down_and_up_again_is_the_identity(versions: Any, graph: Any) -> None:
    before = outline(graph)
    file = io.BytesIO()
    persist.save(graph, file, versions=versions, lossy=True)
    assert outline(persist.load(file.getvalue())) == before
    assert outline(graph) == before
    for record in persist.open(file.getvalue()).tree:
        assert record.version == versions.get(record.qualname, record.version)
    file = io.BytesIO()
    persist.save(graph, file, versions=versions, format="pickle", lossy=True)
    registry = persist.Registry("bare", parents=(persist.registry.default_registry,))
    registry.stamp("graphs.Parent")(
        lambda state: 1 if "title" in state else 2 if "seen" not in state else 3
    )
    registry.stamp("graphs.Kid")(lambda state: 1 if "W" in state else 2)
    assert outline(persist.load(file.getvalue(), registry=registry)) == before


def test_a_parent_goes_down_before_its_children(tmp_path: Path) -> None:
    """Its way back reads what its step read: children of today."""
    registry = persist.Registry("order")
    registry.register("o.Up", version=2, fields=("kid", "sum"))
    registry.register("o.Kid", version=2, fields=("n",))
    registry.migration("o.Kid", 1, persist.ops.rename("old", "n"))

    @registry.migration("o.Up", 1)
    def add(state: Any) -> Any:
        return {"kid": state["kid"], "sum": state["more"] + state["kid"]["n"]}

    @add.downgrade
    def subtract(state: Any) -> Any:
        return {"kid": state["kid"], "more": state["sum"] - state["kid"]["n"]}

    kid = persist.Record("o.Kid", {"n": 2}, version=2)
    ups = [persist.Record("o.Up", {"kid": kid, "sum": n}, version=2) for n in (5, 6)]
    path = tmp_path / "order.persist"
    persist.save([kid, *ups, ups], path, versions={"o.Up": 1, "o.Kid": 1}, registry=registry)
    old, one, two, (again, _) = persist.open(path).tree
    assert [old.state, one["more"], two["more"]] == [{"old": 2}, 3, 4]
    assert one["kid"] is two["kid"] is old
    assert again is one
    (done, up, *_), _ = upgrade(persist.open(path).tree, registry)
    assert (done.state, up.state) == ({"n": 2}, {"kid": done, "sum": 5})


def test_one_list_and_a_cycle_go_down_whole(tmp_path: Path) -> None:
    p, q, k = Parent(), Parent(), PendingColumn()
    k.owner = p
    fields(p, name="p", kids=[k], w=np.ones(1), seen=[])
    fields(q, name="q", kids=p.kids, w=p.w, seen=[])
    persist.save([p, q], tmp_path / "shared.persist", versions={"graphs.Parent": 1}, lossy=True)
    a, b = persist.load(tmp_path / "shared.persist")
    assert a.kids is b.kids
    assert a.w is b.w
    persist.save([k, p], tmp_path / "cycle.persist", versions={"graphs.Parent": 1}, lossy=True)
    loose, parent = persist.load(tmp_path / "cycle.persist")
    assert parent.kids[0] is loose
    assert loose.owner is parent


# What a downgrade loses.


class Rated(persist.Versioned, version=2, schema="graphs.Rated"):
    persistent = ("rate", "list", "array", "kid")


persist.migration(
    Rated,
    1,
    persist.ops.convert("rate", float, inverse=int),
    persist.ops.convert(
        "list", lambda v: [float(x) for x in v], inverse=lambda v: [int(x) for x in v]
    ),
    persist.ops.convert("array", lambda v: v.astype(float), inverse=lambda v: v.astype(int)),
)


def test_a_conversion_tells_what_does_not_come_back() -> None:
    rated = fields(Rated(), rate=0.62, list=[1.0, 2.5], array=np.array([1.0, 2.0]), kid=Kid())
    losses = persist.downgrade(rated, 1).losses
    assert losses == ["graphs.Rated 2→1: list = [1.0, 2.5]", "graphs.Rated 2→1: rate = 0.62"]
    fields(rated, rate=2.0, list=[1.0], array=np.array([1.0, 0.5]))
    losses = persist.downgrade(rated, 1).losses
    assert losses == ["graphs.Rated 2→1: array = array([1. , 0.5])"]
    rated.array = np.array([1.0])
    older, losses = persist.downgrade(rated, 1)
    assert losses == []
    assert older.state["rate"] == 2
    assert rated.rate == 2.0


def test_records_that_a_function_step_leaves_alone_are_no_loss() -> None:
    registry = persist.Registry("left")
    registry.register("left.A", version=2, fields=("kid", "n"))

    @registry.migration("left.A", 1)
    def up(state: Any) -> Any:
        return {"kid": state["kid"], "n": 0}

    @up.downgrade
    def down(state: Any) -> Any:
        return {"kid": state["kid"]}

    from persist._upgrade.downgrade import downgrade_record

    kid = persist.Record("left.Kid", {"a": 1})
    record = persist.Record("left.A", {"kid": [kid], "n": 0}, version=2)
    kid["back"] = record
    assert downgrade_record(record, 1, registry).losses == []
    record["n"] = 3
    assert downgrade_record(record, 1, registry).losses == ["left.A 2→1: n = 3"]


# Arrays: steps see the same by every route.


class Arrays(persist.Versioned, version=3, schema="graphs.Arrays"):
    persistent = ("w", "v", "parts", "kid", "total")


persist.migration(
    Arrays,
    1,
    persist.ops.add("v", computed=lambda state: state["w"] + 1.0),
    persist.ops.convert("parts", lambda parts: [part * 2 for part in parts]),
)


@persist.migration(Arrays, 2)
def total(state: Any) -> Any:
    """Looks into a record and a tuple."""
    return {**state, "total": float((state["kid"].weights[0] * 2).sum() + state["v"].sum())}


@pytest.mark.parametrize("count", [1, 1200])
@pytest.mark.parametrize("compress", [None, "deflate"])
@pytest.mark.parametrize(
    "options", [{}, {"mmap": False}, {"verify": "always"}, {"verify": "lazy", "mmap": False}]
)
def test_steps_see_arrays_by_every_route(
    count: int, compress: Any, options: Any, tmp_path: Path
) -> None:
    path = tmp_path / "old.persist"
    kid = persist.Record("graphs.Kid", {"owner": None, "weights": (np.ones(2),)}, version=2)
    old = [
        persist.Record(
            "graphs.Arrays",
            {"w": np.arange(3.0) + n, "parts": [np.ones(1)], "kid": kid},
            version=1,
        )
        for n in range(count)
    ]
    persist.save(old, path, compress=compress)
    made = persist.load(path, **options)
    for n in (0, count - 1):
        assert made[n].v.tolist() == [1.0 + n, 2.0 + n, 3.0 + n]
        assert made[n].parts[0].tolist() == [2.0]
        assert made[n].total == 4.0 + 6.0 + 3 * n
        assert made[n].w.flags.writeable
    assert made[0].kid is made[-1].kid
    if count == 1 and not options:
        from persist._cli import main

        assert main(["upgrade", str(path), "--in-place"]) == 0
        assert persist.load(path)[0].total == 10.0


def test_a_function_of_a_step_sees_no_instance_of_a_table(tmp_path: Path) -> None:
    """Columns are upgraded at once only where nobody looks at other instances."""

    class Row(persist.Versioned, version=2, schema="graphs.Row"):
        persistent = ("n", "peer", "kind")

    persist.migration(
        Row, 1, persist.ops.add("kind", computed=lambda state: type(state["peer"]).__name__)
    )
    last = persist.Record("graphs.Row", {"n": 0, "peer": None}, version=1)
    rows = [persist.Record("graphs.Row", {"n": n, "peer": last}, version=1) for n in range(1200)]
    persist.save([*rows, last], tmp_path / "rows.persist")
    assert {row.kind for row in persist.load(tmp_path / "rows.persist")[:-1]} == {"Record"}


# Plain pickle: the same as by load.


class Ring(persist.Versioned, version=2, schema="graphs.Ring"):
    persistent = ("w", "refs", "total")


@persist.migration(Ring, 1)
def sum_refs(state: Any) -> Any:
    """Reads the same field of everything that it refers to, and fails where it is missing."""
    found = [state["w"], *(ref.w for ref in state["refs"])]
    return {**state, "total": sum(found)}


@sum_refs.downgrade
def forget_sum(state: Any) -> Any:
    return {"w": state["w"], "refs": state["refs"]}


class Holder(persist.Versioned, schema="graphs.Holder"):
    """Not upgraded itself; its state may come long after that of what refers to it."""

    persistent = ("w", "refs")


@st.composite
def rings(draw: Any) -> Any:
    nodes: list[Any] = [fields(Ring(), w=2**n, total=0) for n in range(draw(st.integers(1, 4)))]
    nodes += [fields(Holder(), w=2 ** (8 + n)) for n in range(draw(st.integers(0, 2)))]
    lists = [draw(st.lists(st.sampled_from(nodes), max_size=4)) for _ in range(3)]
    is_shared = draw(st.booleans())
    for node in nodes:
        node.refs = draw(st.sampled_from(lists))
        node.refs = node.refs if is_shared else [*node.refs]
    return draw(st.permutations(nodes)), is_shared


@pytest.mark.parametrize("protocol", [2, 4])
@settings(max_examples=60)
@given(graph=rings())
def test_a_step_sees_the_same_by_load_and_by_plain_pickle(protocol: int, graph: Any) -> None:
    """But for lists that are still being filled, which plain pickle cannot distinguish from empty ones."""
    graph, is_shared = graph
    for node in graph:
        if type(node) is Ring:
            node.total = node.w + sum(ref.w for ref in node.refs)
    before = outline(graph)
    old = io.BytesIO()
    versions = {"graphs.Ring": 1}
    persist.save(graph, old, versions=versions, format="pickle", protocol=protocol)
    container = io.BytesIO()
    persist.save(graph, container, versions=versions)
    python = pickle._Unpickler  # type: ignore[attr-defined]
    loaded = [persist.load(container.getvalue()), persist.load(old.getvalue())]
    if not is_shared:
        loaded += [pickle.loads(old.getvalue()), python(io.BytesIO(old.getvalue())).load()]
    for made in loaded:
        assert [getattr(node, "total", None) for node in made] == [
            getattr(node, "total", None) for node in graph
        ]
        assert outline(made) == before
    assert not _waiting.is_waiting()


def test_what_never_gets_a_state_is_waited_for_in_vain(tmp_path: Path) -> None:
    """An instance without attributes may have no state in a pickle; who refers to it is whole."""
    lonely = object.__new__(PendingColumn)
    waiting = fields(Tolerant(), w=3, ref=[lonely], seen=0)
    old = io.BytesIO()
    persist.save([waiting], old, versions={"graphs.Tolerant": 1}, format="pickle")
    bare = old.getvalue()
    (made,) = pickle.loads(bare)
    assert (made.w, made.seen) == (3, 0)
    (made,) = persist.load(bare)
    assert (made.w, made.seen) == (3, 0)


class Tolerant(persist.Versioned, version=2, schema="graphs.Tolerant"):
    persistent = ("w", "ref", "seen")


@persist.migration(Tolerant, 1)
def look_at_ref(state: Any) -> Any:
    return {**state, "seen": getattr(state["ref"][0], "w", 0)}


@look_at_ref.downgrade
def forget_seen(state: Any) -> Any:
    return {"w": state["w"], "ref": state["ref"]}

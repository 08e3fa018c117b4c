"""Upgrading trees: order, sharing, replacement, failure, plans, and the way back."""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest

import persist
from persist import ops
from persist._upgrade.downgrade import downgrade_record
from persist._upgrade.records import plan, upgrade
from persist.errors import (
    FutureVersionError,
    IrreversibleError,
    MigrationFailedError,
    MissingMigrationError,
    SchemaError,
    UnknownFieldWarning,
    UnknownSchemaError,
)
from persist.registry import Registry
from persist.tree import ABSENT, Global, LazyArray, Record


@pytest.fixture
def registry():
    """Two schemas that are data alone: lab.Net at 2, lab.Layer at 3."""
    made = Registry("test")
    made.register("lab.Layer", version=3, fields=("weights", "activation"))
    made.register("lab.Net", version=2, fields=("layers",))
    made.migration("lab.Layer", 1, ops.rename("W", "weights"))
    made.migration("lab.Layer", 2, ops.add("activation", "tanh"))
    made.migration("lab.Net", 1, ops.rename("parts", "layers"))
    return made


def layer(w=1):
    return Record("lab.Layer", {"W": w})


def up(tree, registry, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return upgrade(tree, registry, **options)[0]


# What comes of it.


def test_a_record_becomes_one_of_today(registry):
    source = Record("lab.Net", {"parts": [layer(1), layer(2)]})
    net, done = upgrade(source, registry)
    assert (net.qualname, net.version) == ("lab.Net", 2)
    assert [(one.version, one.state) for one in net.state["layers"]] == [
        (3, {"weights": 1, "activation": "tanh"}),
        (3, {"weights": 2, "activation": "tanh"}),
    ]
    assert [entry.path for entry in done] == ["parts/0", "parts/1", ""]
    assert source.state["parts"][0].state == {"W": 1}
    assert done.is_migrated(net)


def test_upgrading_twice_is_upgrading_once(registry):
    once = up(Record("lab.Net", {"parts": [layer()]}), registry)
    twice, done = upgrade(once, registry)
    assert twice.state["layers"][0].state == once.state["layers"][0].state
    assert all(not path.steps for entry in done for path in entry.version_paths)
    assert done[0].how == "record"


def test_what_nothing_is_known_of_passes_unchanged(registry):
    source = {"a": Record("other.Thing", ({"x": 1}, None), args=(1,), kind="newobj", listitems=[2])}
    (thing,) = up(source, registry).values()
    assert thing is not source["a"]
    assert (thing.qualname, thing.state, thing.args, thing.listitems, thing.version) == (
        "other.Thing", ({"x": 1}, None), (1,), [2], None,
    )  # fmt: skip


def test_aliases_move_records_and_globals(registry):
    registry.alias("old.Layer", "lab.Layer")
    registry.alias("sk.*", "sklearn.*")
    tree = up(
        [Record("old.Layer", {"W": 1}), Global("sk.tree", "Tree"), Record("sk.X", {})], registry
    )
    assert [tree[0].qualname, tree[1].qualname, tree[2].qualname] == [
        "lab.Layer",
        "sklearn.tree.Tree",
        "sklearn.X",
    ]


def test_a_function_that_rebuilt_objects_is_an_alias_too(registry):
    """Its arguments are the state."""
    registry.alias("lab._rebuild_layer", "lab.Layer")

    @registry.stamp("lab.Layer")
    def by_arguments(state):
        return None

    maker = Global("lab", "_rebuild_layer")
    source = Record(maker, ABSENT, maker=maker, kind="reduce", args=([1.0],))
    registry.migration("lab.Rebuilt", 1, ops.unpack("weights"))
    registry.alias("lab._rebuild", "lab.Rebuilt")
    other = Global("lab", "_rebuild")
    rebuilt = up(Record(other, ABSENT, maker=other, kind="reduce", args=([1.0],)), registry)
    assert (rebuilt.qualname, rebuilt.state, rebuilt.args, rebuilt.maker) == (
        "lab.Rebuilt",
        {"weights": [1.0]},
        (),
        None,
    )
    with pytest.raises(MigrationFailedError, match="_rebuild_layer"):
        up(source, registry)


def test_the_pair_of_attributes_and_slots_is_merged(registry):
    assert (
        up(Record("lab.Layer", ({"x": 1}, {"W": 2})), registry, unknown="drop").state["weights"]
        == 2
    )
    assert up(Record("lab.Layer", (None, {"W": 2})), registry).state["weights"] == 2


def test_a_pair_of_dicts_is_a_codecs_own_where_the_class_has_one():
    """A 2-tuple is pickle's pair only if the class has no codec."""
    own = Registry("t")

    class Coded(persist.Versioned, schema="lab.Coded", registry=own):
        def __getstate__(self):
            return (self.a, self.b)

        def __setstate__(self, state):
            self.a, self.b = state

    source = Record(Coded.__module__ + "." + Coded.__qualname__, ({"x": 1}, {"y": 2}))
    assert up(source, own).state == ({"x": 1}, {"y": 2})


# Order, sharing, cycles.


def test_children_come_upgraded_before_their_parents(registry):
    seen = []

    @registry.migration("lab.Tree", 1)
    def note(state):
        seen.append((state["name"], [child.version for child in state["children"]]))
        return state

    def tree(name, *children):
        return Record("lab.Tree", {"name": name, "children": list(children)})

    up(tree("root", tree("a", tree("b")), tree("c")), registry)
    assert seen == [("b", []), ("a", [2]), ("c", []), ("root", [2, 2])]


def test_shared_references_stay_shared(registry):
    array = np.ones(3)
    one = layer(array)
    tree = up({"a": one, "b": [one], "c": (one, {"d": one}), "e": array}, registry)
    assert tree["a"] is tree["b"][0] is tree["c"][0] is tree["c"][1]["d"]
    assert tree["a"].state["weights"] is array is tree["e"]


def test_a_cycle_is_upgraded_in_the_order_of_the_file(registry):
    """Who is met again inside itself is seen as it will be, not yet upgraded."""
    seen = []

    @registry.migration("lab.Node", 1)
    def note(state):
        seen.append((state["name"], state["next"].version))
        return state

    first, second = Record("lab.Node", {"name": 1}), Record("lab.Node", {"name": 2})
    first["next"], second["next"] = second, first
    done = up([first, second], registry)
    assert seen == [(2, None), (1, 2)]
    assert done[0].state["next"] is done[1]
    assert done[1].state["next"] is done[0]


def test_every_container_is_kept(registry):
    inner = layer()
    source = {
        "ordered": OrderedDict(a=inner), "default": defaultdict(list, a=[inner]), "deque": deque([inner], 3),
        "tuple": (1, (inner,)), "set": {inner, 1}, "frozen": frozenset([inner]), ("key", inner): 1,
        "array": np.array([inner, None, [inner]], object), "rows": np.array([(1, inner)], [("n", int), ("o", object)]),
    }  # fmt: skip
    tree = up(source, registry)
    new = tree["ordered"]["a"]
    assert new.version == 3
    assert type(tree["ordered"]) is OrderedDict
    assert tree["default"].default_factory is list
    assert tree["default"]["a"][0] is new
    assert (tree["deque"][0], tree["deque"].maxlen) == (new, 3)
    assert tree["tuple"][1][0] is new
    assert new in tree["set"]
    assert new in tree["frozen"]
    assert tree["key", new] == 1
    assert tree["array"][0] is tree["array"][2][0] is new
    assert tree["rows"][0]["o"] is new
    assert inner.version is None


def test_depth_is_no_limit(registry):
    """No recursion, also through tuples."""
    deep = layer()
    for _ in range(20_000):
        deep = [(deep,)]
    tree = up(deep, registry)
    for _ in range(20_000):
        tree = tree[0][0]
    assert tree.version == 3


def test_a_tuple_inside_itself(registry):
    """By way of a list, as pickle allows."""
    inner: list = [layer()]
    loop = (inner,)
    inner.append(loop)
    tree = up(loop, registry)
    assert tree[0][1] is tree
    assert tree[0][0].version == 3


# Replacement.


def test_a_migration_may_put_a_plain_value_in_place(registry):
    """Every reference follows, also in sets, keys, tuples and cycles."""

    @registry.migration("lab.Name", 1)
    def plain(state):
        return ops.Instead(state["text"])

    name = Record("lab.Name", {"text": "x"})
    holder = [name, (name, 1), {name}, {name: 2}, {(1, name): frozenset([name])}]
    tree = up(holder, registry)
    assert tree == ["x", ("x", 1), {"x"}, {"x": 2}, {(1, "x"): frozenset(["x"])}]


def test_references_from_a_cycle_follow_too(registry):
    @registry.migration("lab.Ring", 1)
    def opened(state):
        return ops.Instead({"ring": state["others"]})

    ring = Record("lab.Ring", {})
    ring["others"] = [ring, (ring,), {"k": (1, (ring,))}]
    tree = up(ring, registry)
    assert tree["ring"][0] is tree
    assert tree["ring"][1][0] is tree
    assert tree["ring"][2]["k"][1][0] is tree


def test_hashes_are_right_after_a_replacement_in_a_cycle(registry):
    """A set and a dict that were filled before their member was replaced."""

    @registry.migration("lab.Key", 1)
    def text(state):
        return ops.Instead("key")

    key = Record("lab.Key", {})
    table, members = {key: 1, (key, 2): 3}, {key}
    key["table"] = [table, members]
    root = [key, table, members]
    tree = up(root, registry)
    assert tree == ["key", {"key": 1, ("key", 2): 3}, {"key"}]
    assert tree[1]["key"] == 1
    assert "key" in tree[2]


def test_a_migration_may_give_another_record(registry):
    """It is brought up to date in its turn, from the version that it says."""

    @registry.migration("lab.Hidden", 1)
    def split(state):
        return Record("lab.Layer", {"weights": state["W"]}, version=2)

    tree = up([Record("lab.Hidden", {"W": 5})] * 2, registry)
    assert tree[0] is tree[1]
    assert (tree[0].qualname, tree[0].version) == ("lab.Layer", 3)
    assert tree[0].state == {"weights": 5, "activation": "tanh"}


def test_records_that_a_migration_makes_inside_are_upgraded(registry):
    @registry.migration("lab.Pair", 1)
    def split(state):
        left, right = state["both"]
        return {
            "left": Record("lab.Layer", {"W": left}, version=1),
            "more": [Record("lab.Layer", {"W": right}, version=1)],
        }

    pair = up(Record("lab.Pair", {"both": (1, 2)}), registry)
    assert pair.state["left"].state == {"weights": 1, "activation": "tanh"}
    assert pair.state["more"][0].version == 3


def test_a_made_record_says_its_version(registry):
    """Where nothing else could state it."""

    @registry.migration("lab.Hidden", 1)
    def careless(state):
        return Record("lab.Layer", {"weights": 1})

    with pytest.raises(
        MigrationFailedError, match=r"without a version.*version=\.\.\.\); the current one is 3"
    ):
        up(Record("lab.Hidden", {}), registry)


def test_endless_replacement_is_stopped(registry):
    registry.migration("lab.A", 1)(lambda state: Record("lab.B", {}, version=1))
    registry.migration("lab.B", 1)(lambda state: Record("lab.A", {}, version=1))
    with pytest.raises(MigrationFailedError, match="without end"):
        up(Record("lab.A", {}), registry)


def test_a_deleting_migration(registry):
    registry.migration("lab.Cache", 1, ops.delete())
    assert up({"cache": Record("lab.Cache", {"x": 1}), "n": 1}, registry) == {"cache": None, "n": 1}


def test_a_step_may_take_the_record(registry):
    """Its items and arguments too."""

    @registry.migration("lab.Stack", 1)
    def unstacked(state, record):
        return {"items": list(record.listitems), **dict(record.dictitems)}

    stack = Record("lab.Stack", {}, listitems=[layer()], dictitems=[("k", 1)])
    done = up(stack, registry)
    assert done.state["items"][0].version == 3
    assert done.state["k"] == 1


def test_a_step_may_change_the_record_and_return_it(registry):
    @registry.migration("lab.Stack", 1)
    def emptied(state, record):
        record.state, record.listitems = {"n": len(record.listitems)}, []
        return record

    done = up(Record("lab.Stack", {}, listitems=[1, 2]), registry)
    assert (done.state, done.listitems, done.version) == ({"n": 2}, [], 2)


# Inert data.


def test_arrays_are_read_only_while_steps_run(registry):
    """A step that writes into one is reported, and what it derived is writable afterwards."""
    array = np.arange(6.0).reshape(2, 3)

    @registry.migration("lab.Turned", 1)
    def turned(state):
        assert not state["w"].flags.writeable
        return {"w": state["w"].T, "copy": state["w"] + 1}

    done = up(Record("lab.Turned", {"w": array}), registry)
    assert array.flags.writeable
    assert done.state["w"].flags.writeable
    assert np.shares_memory(done.state["w"], array)

    @registry.migration("lab.Rude", 1)
    def rude(state):
        state["w"] += 1
        return state

    with pytest.raises(MigrationFailedError, match="read-only"):
        up(Record("lab.Rude", {"w": array}), registry)
    assert array.flags.writeable
    assert array[0, 0] == 0


def test_function_steps_get_arrays_not_promises(registry):
    """A lazy array is read for a function, and not for a renaming."""
    reads = []
    lazy = LazyArray(np.dtype("f8"), (2, 3), lambda: reads.append(1) or np.ones((2, 3)))
    assert up(layer(lazy), registry).state["weights"] is lazy
    assert not reads

    @registry.migration("lab.Turned", 1)
    def turned(state):
        return {"w": state["deep"][0]["w"].T}

    assert up(Record("lab.Turned", {"deep": [{"w": lazy}]}), registry).state["w"].shape == (3, 2)


def test_a_failing_step_is_reported_with_its_place_and_changes_nothing(registry):
    @registry.migration("lab.Broken", 1)
    def careless(state):
        state["list"].append(1)
        return {"n": 1 / 0}

    source = {"nets": [layer(), Record("lab.Broken", {"list": []})]}
    with pytest.raises(MigrationFailedError) as caught:
        upgrade(source, registry, file="run.pkl")
    said = str(caught.value)
    assert said.startswith("run.pkl, record 'lab.Broken' at 'nets/1': the step lab.Broken 1→2: ")
    assert "careless" in said
    assert "test_records.py:" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "The fields of the state are: list." in said
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert source["nets"][1].state == {"list": []}
    assert source["nets"][0].state == {"W": 1}
    assert caught.value.facts["step"] == (1, 2)


def test_a_step_that_forgets_to_return_is_reported(registry):
    registry.migration("lab.Silent", 1)(lambda state: None)
    with pytest.raises(MigrationFailedError, match="returns None"):
        up(Record("lab.Silent", {}), registry)


def test_a_newer_version_is_refused(registry):
    with pytest.raises(
        FutureVersionError, match=r"at 'net': .*version 9 of 'lab.Layer'.*knows version 3"
    ):
        up({"net": Record("lab.Layer", {}, version=9)}, registry)


def test_a_gap_is_reported_with_its_place(registry):
    registry.register("lab.Gap", version=5)
    registry.migration("lab.Gap", 1, ops.drop("x"))
    with pytest.raises(MissingMigrationError) as caught:
        upgrade({"a": [Record("lab.Gap", {"x": 1})]}, registry, file="runs/net.pkl")
    assert str(caught.value).startswith(
        "runs/net.pkl, record 'lab.Gap' at 'a/0': no migration leads from version 2 to 3. "
        "The file holds version 1, this program wants 5; registered steps are 1→2."
    )


# Fields.


def test_unknown_fields(registry):
    """Dropped with one warning a class, or kept, or refused."""
    source = [Record("lab.Layer", {"W": 1, "junk": 2}), Record("lab.Layer", {"W": 1, "more": 2})]
    with pytest.warns(
        UnknownFieldWarning, match=r"run.pkl: old states of 'lab.Layer' .*: junk, more\."
    ) as caught:
        tree, _ = upgrade(source, registry, file="run.pkl")
    assert len(caught) == 1
    assert "junk" not in tree[0].state
    assert up(source, registry, unknown="keep")[0].state["junk"] == 2
    assert "junk" not in up(source, registry, unknown="drop")[0].state
    with pytest.raises(SchemaError, match="'lab.Layer' does not declare: junk"):
        up(source, registry, unknown="error")
    with pytest.raises(ValueError, match="unknown='guess'"):
        upgrade(source, registry, unknown="guess")


def test_missing_fields_are_named(registry):
    with pytest.raises(
        SchemaError, match=r"lacks the field 'weights' of 'lab.Layer' \(there are: activation\)"
    ):
        up(Record("lab.Layer", {"activation": "tanh"}, version=3), registry)


def test_a_bare_tuple_that_nobody_named_is_refused(registry):
    """Arity never shifts values silently."""
    registry.register("lab.Bare", version=1, fields=("a", "b"))
    with pytest.raises(
        SchemaError,
        match=r"version 1 is a tuple of 2, and the fields of 'lab.Bare' are a, b.*unpack",
    ):
        up(Record("lab.Bare", (np.ones(2), 1)), registry)


def test_strict_refuses_to_guess_a_version(registry):
    with pytest.raises(
        SchemaError, match="the version of its state of 'lab.Layer' is not known.*stamp"
    ):
        up(layer(), registry, strict=True)
    registry.stamp("lab.Layer")(lambda state: 1 if "W" in state else None)
    assert up(layer(), registry, strict=True).version == 3


def test_an_envelope_finds_a_moved_class_by_its_schema():
    """The schema's name outlives where the class lives; no alias is needed."""
    own = Registry("t")

    class Net(persist.Versioned, version=1, schema="lab.Outlives", registry=own):
        persistent = ("w",)

    state = (("persist.envelope", 1, (("lab.Outlives", 1, "", "fields", ("w",)),)), (5,))
    done, reported = upgrade(Record("long.gone.Net", state), own)
    assert done.qualname == f"{Net.__module__}.{Net.__qualname__}"
    assert done.state == {"w": 5}
    assert "found by its schema" in reported[0].note


# Plans.


def test_a_plan_has_no_effect_and_tells_why(registry):
    ran = []

    @registry.migration("lab.Noted", 1)
    def noted(state):
        ran.append(1)
        return state

    registry.alias("old.Layer", "lab.Layer", since="2015")
    registry.register("lab.Gap", version=2)
    source = {
        "a": Record("old.Layer", {"W": 1}), "b": [Record("lab.Noted", {})], "c": Record("other.Thing", {}),
        "d": Record("lab.Gap", {}), "e": Record("lab.Layer", {"weights": 1, "activation": "tanh"}, version=3),
        "f": Record("old.Layer", {"W": 1}),
    }  # fmt: skip
    before = pickle.dumps(source)
    made = plan(source, registry, file="run.pkl")
    assert pickle.dumps(source) == before
    assert not ran
    assert len(made) == 6
    assert (made["a"].found, made["a"].how, made["a"].to) == (1, "unstamped = 1", 3)
    assert made["a"].aliases == ("alias old.Layer → lab.Layer since 2015",)
    assert made["a"].steps == [
        "lab.Layer 1→2: rename('W' → 'weights')",
        "lab.Layer 2→3: add('activation', 'tanh')",
    ]
    assert "noted" in made["b/0"].steps[0]
    assert "test_records.py:" in made["b/0"].steps[0]
    assert made["c"].is_opaque
    assert isinstance(made["d"].problem, MissingMigrationError)
    assert made["e"].steps == []
    assert made.opaque == ["other.Thing"]
    said = str(made)
    assert said.startswith("run.pkl: 6 records, 3 to be upgraded, 1 opaque, 1 that cannot be")
    assert "a: old.Layer (and 1 like it)" in said
    assert "is lab.Layer today (alias old.Layer → lab.Layer since 2015)" in said
    assert "lab.Layer: version 1 (unstamped = 1) to 3" in said
    assert "        1 → 2  rename('W' → 'weights')" in said
    assert "lab.Layer: version 3 (record), as today" in said
    assert "opaque: the class is not known" in said
    assert "cannot: no migration leads from version 1 to 2" in said


# The way back.


def test_up_and_down_is_the_identity(registry):
    source = Record("lab.Layer", {"W": np.ones(3)})
    done = up(source, registry)
    older, losses = downgrade_record(done, 1, registry)
    assert (older.version, losses) == (1, [])
    assert older.state.keys() == {"W"}
    assert older.state["W"] is source.state["W"]
    assert done.state.keys() == {"weights", "activation"}


def test_a_downgrade_tells_what_is_lost(registry):
    record = Record("lab.Layer", {"weights": 1, "activation": "relu"}, version=3)
    older, losses = downgrade_record(record, 2, registry)
    assert losses == ["lab.Layer 3→2: activation = 'relu'"]
    assert older.state == {"weights": 1}


def test_a_function_step_has_its_way_back_next_to_it(registry):
    registry.register("lab.Pair", version=2)

    @registry.migration("lab.Pair", 1)
    def named(state):
        return {"a": state[0], "b": state[1]}

    with pytest.raises(IrreversibleError, match=r"goes one way only.*named.downgrade"):
        downgrade_record(Record("lab.Pair", {"a": 1, "b": 2}, version=2), 1, registry)

    @named.downgrade
    def bare(state):
        return (state["a"], state["b"])

    assert downgrade_record(
        Record("lab.Pair", {"a": 1, "b": 2}, version=2), 1, registry
    ).value.state == (1, 2)
    assert named((1, 2)) == {"a": 1, "b": 2}


def test_nothing_known_nothing_downgraded(registry):
    with pytest.raises(UnknownSchemaError, match=r"other.Thing.*persist.register"):
        downgrade_record(Record("other.Thing", {}), 1, registry)
    with pytest.raises(MissingMigrationError):
        registry.register("lab.Alone", version=3)
        downgrade_record(Record("lab.Alone", {}, version=3), 1, registry)


class Down(persist.Versioned, version=2, schema="down.Down"):
    persistent = ("w",)


class DownHeir(Down, version=3, schema="down.Heir"):
    persistent = ("n",)


persist.migration(Down, 1, ops.rename("W", "w"))
persist.migration(DownHeir, 1, ops.rename("N", "n"))
persist.migration(DownHeir, 2, ops.convert("n", lambda n: n * 2, inverse=lambda n: n // 2))


def test_an_object_is_downgraded_class_by_class():
    """And what comes of it loads again."""
    obj = DownHeir()
    obj.w, obj.n = [1], 8
    older, losses = persist.downgrade(obj, to={"down.Down": 1, "down.Heir": 1})
    assert losses == []
    from persist._envelope import unwrap

    assert list(unwrap(older.state).states()) == [
        ("down.Down", 1, {"W": [1]}),
        ("down.Heir", 1, {"N": 4}),
    ]
    assert up(older, None).fields() == {"w": [1], "n": 8}
    plain, _ = persist.downgrade(obj, to=2)
    assert plain.version == 2
    assert vars(obj) == {"w": [1], "n": 8}


class DownBy(persist.Versioned, version=2, schema="down.By"):
    persistent = ("w", "n", "more")


@persist.migration(DownBy, 1)
def by_hand(state):
    """A function step with a way back of its own."""
    return {"w": state["W"], "n": 0, "more": [np.zeros(2)]}


@by_hand.downgrade
def back_by_hand(state):
    return {"W": state["w"]}


def test_what_a_function_loses_on_the_way_back_is_reported():
    """What the step would not make again of what its way back gave."""
    obj = DownBy()
    obj.w, obj.n, obj.more = [1], 0, [np.zeros(2)]
    assert persist.downgrade(obj, to=1).losses == []
    obj.n, obj.more = 5, [np.ones(2)]
    older, losses = persist.downgrade(obj, to=1)
    assert older.state == {"W": [1]}
    assert losses == ["down.By 2→1: n = 5", "down.By 2→1: more = [array([1., 1.])]"]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (3, "version 3.*from 1 to 2"),
        (0, "version 0.*from 1 to 2"),
        (True, "version True"),
        ({"down.Buy": 1}, "'down.Buy' is not the schema of 'down.By'.*'down.By'"),
    ],
)
def test_a_downgrade_goes_to_a_version_that_there_was(to, words):
    with pytest.raises(SchemaError, match=words):
        persist.downgrade(DownBy(), to=to)

"""The registry: one report of everything wrong, and every name resolved."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import persist
from persist import ops
from persist.errors import (
    DuplicateMigrationError,
    MissingMigrationError,
    SchemaError,
    UnknownSchemaError,
)
from persist.registry import Registry, default_registry
from persist.tree import ABSENT


@pytest.fixture
def registry():
    return Registry("test")


def declared(registry, name="lab.Net", version=3, **body):
    body = {"persistent": ("w",), **body}
    return type("Net", (persist.Versioned,), body, version=version, schema=name, registry=registry)


# Paths.


def test_the_path_of_fewest_steps(registry):
    """A jump is cheaper than two steps."""
    for start, to in ((1, 2), (2, 3), (3, 4), (1, 3)):
        registry.migration("lab.Net", start, ops.rename(f"a{start}", f"b{to}"), to=to)
    assert [(step.start, step.to) for step in registry.path("lab.Net", 1, 4)] == [(1, 3), (3, 4)]
    assert [(step.start, step.to) for step in registry.path("lab.Net", 4, 1)] == [(3, 4), (1, 3)]
    assert registry.path("lab.Net", 2, 2) == []


def test_a_tie_is_an_error(registry):
    """Of first use and of check()."""
    net = declared(registry, version=4)
    for start, to in ((1, 2), (2, 4), (1, 3), (3, 4)):
        registry.migration(net, start, ops.rename(f"a{start}", f"b{to}"), to=to)
    with pytest.raises(
        SchemaError, match="two paths lead from version 1 to 4.*1→2, 2→4 or 1→3, 3→4"
    ):
        registry.path(net, 1, 4)
    assert any("two paths" in str(fault) for fault in registry.faults())


def test_a_gap_says_what_there_is_and_what_to_do(registry):
    """In the words of docs: place, versions, registered steps, remedy."""
    registry.migration("lab.Net", 1, ops.rename("a", "b"))
    registry.migration("lab.Net", 3, ops.rename("b", "c"))
    registry.migration("lab.Net", 4, ops.rename("c", "d"))
    with pytest.raises(MissingMigrationError) as caught:
        registry.path("lab.Net", 2, 5)
    assert str(caught.value) == (
        "no migration leads from version 2 to 3. The file holds version 2, this program wants 5; "
        'registered steps are 1→2, 3→4, 4→5. Register the missing one with @migration("lab.Net", 2), '
        "or look at the raw state with `persist inspect`."
    )
    assert isinstance(caught.value, LookupError)
    assert pickle.loads(pickle.dumps(caught.value)).facts == caught.value.facts


@pytest.mark.parametrize(("version", "to"), [(0, 1), (-1, 2), ("1", 2), (2, 2), (3, 1), (True, 2)])
def test_a_migration_leads_to_a_later_version(registry, version, to):
    with pytest.raises(SchemaError):
        registry.migration("lab.Net", version, ops.drop("a"), to=to)


def test_a_step_is_an_op(registry):
    with pytest.raises(TypeError, match="is no step of persist.ops"):
        registry.migration("lab.Net", 1, lambda state: state)


# Registering again.


def test_another_place_cannot_register_the_same_step(registry):
    @registry.migration("lab.Net", 1)
    def one(state):
        return state

    with pytest.raises(
        DuplicateMigrationError, match=r"1 to 2 of 'lab.Net': .*one.*test_registry.py:\d+.*two"
    ):

        @registry.migration("lab.Net", 1)
        def two(state):
            return state

    registry.migration("lab.Net", 5, ops.drop("a"))
    with pytest.raises(DuplicateMigrationError):
        registry.migration("lab.Net", 5, ops.drop("b"))


def test_a_notebook_cell_replaces(registry):
    """The same module and qualified name; ready-made steps from another cell."""
    space = {"registry": registry, "ops": ops, "__name__": "__main__"}
    cell = "@registry.migration('lab.Net', 1)\ndef step(state):\n    return {}\n"
    exec(compile(cell, "<cell 1>", "exec"), space)
    exec(compile("\n\n" + cell, "<cell 2>", "exec"), space)
    assert len(registry.migrations("lab.Net")) == 1
    exec(compile("registry.migration('lab.Net', 2, ops.drop('a'))", "<cell 3>", "exec"), space)
    exec(compile("\nregistry.migration('lab.Net', 2, ops.drop('b'))", "<cell 4>", "exec"), space)
    assert str(registry.migrations("lab.Net")[2, 3].ops[0]) == "drop('b')"


def test_reloading_a_module_replaces(tmp_path, monkeypatch):
    """Also where lines have moved."""
    source = """
    import persist
    registry = globals().get("registry") or persist.Registry("reload")

    class Net(persist.Versioned, version=3, schema="reload.Net", registry=registry):
        persistent = ("w",)

    @registry.migration(Net, 1)
    def first(state):
        return state

    registry.migration(Net, 2, persist.ops.rename("a", "w"))
    """
    path = tmp_path / "reloaded_net.py"
    path.write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("reloaded_net")
    old = module.Net
    path.write_text("# a line more, and another\n\n" + textwrap.dedent(source))
    importlib.invalidate_caches()
    module = importlib.reload(module)
    assert module.Net is not old
    assert module.registry.schema_for("reload.Net").cls is module.Net
    module.registry.check()
    sys.modules.pop("reloaded_net")


def test_two_classes_cannot_share_a_schema_name(registry, tmp_path, monkeypatch):
    """Told by check() and at first use."""
    net = declared(registry)
    other = declared(registry)
    net.__qualname__, other.__qualname__ = "Net", "Other"
    with pytest.raises(
        SchemaError, match=r"'lab.Net' is claimed by .*\.Net and .*\.Other.*persist.alias"
    ):
        registry.schema_for(other)
    with pytest.raises(ExceptionGroup):
        registry.check()


# Stamps.


def test_a_stamp_tells_a_version_or_none(registry):
    registry.stamp("lab.Net", key="version")

    @registry.stamp("lab.Net")
    def by_shape(state):
        return 2 if isinstance(state, tuple) else None

    assert registry.stamp_of("lab.Net", (1, 2)) == (2, f"stamp by {registry.stamps('lab.Net')[1]}")
    assert registry.stamp_of("lab.Net", {"version": 3}) == (3, "stamp by the state's own 'version'")
    assert registry.stamp_of("lab.Net", {"version": np.int64(3)})[0] == 3
    assert registry.stamp_of("lab.Net", {"w": 3}) == (1, "unstamped = 1")
    assert "by_shape" in registry.stamp_of("lab.Net", ())[1]
    assert "test_registry.py" in registry.stamp_of("lab.Net", ())[1]


def test_stamps_that_disagree_are_an_error_with_the_evidence(registry):
    registry.stamp("lab.Net", key="version")

    @registry.stamp("lab.Net")
    def by_field(state):
        return 1

    with pytest.raises(
        SchemaError, match=r"disagree: version 1 by .*by_field.*; version 3 by the state's own"
    ):
        registry.stamp_of("lab.Net", {"version": 3})
    assert registry.stamp_of("lab.Net", {"version": 1})[0] == 1


@pytest.mark.parametrize("answer", ["1", 0, 1.5, True, -2])
def test_a_stamp_answers_with_a_version(registry, answer):
    registry.stamp("lab.Net")(lambda state: answer)
    with pytest.raises(SchemaError, match="answers with a version"):
        registry.stamp_of("lab.Net", {})


def test_a_stamp_that_fails_is_named(registry):
    @registry.stamp("lab.Net")
    def careless(state):
        return state["version"]

    with pytest.raises(SchemaError, match=r"careless.* fails: KeyError: 'version'") as caught:
        registry.stamp_of("lab.Net", {})
    assert isinstance(caught.value.__cause__, KeyError)


# Aliases.


def test_aliases_chain_and_prefixes_apply(registry):
    net = declared(registry)
    registry.alias("oldlab.*", "lab.v2.*")
    registry.alias("oldlab.nets.*", "lab.nets", since="2.0")
    registry.alias("lab.nets.Net", net)
    registry.alias("ancient.Net", "oldlab.nets.Net")
    today = f"{net.__module__}.{net.__qualname__}"
    assert registry.resolve("ancient.Net") == today
    assert registry.resolve("oldlab.other.Thing") == "lab.v2.other.Thing"
    assert registry.resolve("unknown.Thing") == "unknown.Thing"
    assert [one.old for one in registry.aliases_from("oldlab.nets.Net")[1]] == [
        "oldlab.nets.",
        "lab.nets.Net",
    ]
    registry.alias("by.schema", "lab.Net")
    assert registry.resolve("by.schema") == today
    assert registry.old_names(today) == {"ancient.Net", "lab.nets.Net", "by.schema"}


def test_a_loop_of_aliases_is_an_error(registry):
    registry.alias("a.A", "b.B")
    registry.alias("b.B", "c.C")
    registry.alias("c.C", "a.A")
    with pytest.raises(SchemaError, match="circle: a.A → b.B → c.C → a.A"):
        registry.resolve("a.A")
    assert len(registry.faults()) == 1


def test_a_prefix_into_itself_is_applied_once(registry):
    registry.alias("lab.*", "lab.nets.*")
    assert registry.resolve("lab.Net") == "lab.nets.Net"


def test_a_class_that_is_here_is_not_moved_by_a_prefix(registry):
    net = declared(registry)
    registry.alias(f"{net.__module__}.*", "elsewhere.*")
    today = f"{net.__module__}.{net.__qualname__}"
    assert registry.resolve(today) == today
    assert registry.resolve(f"{net.__module__}.Other") == "elsewhere.Other"


# Parents, freezing, threads.


def test_parents_are_asked_after_oneself():
    pack = Registry("pack")
    pack.alias("a.A", "pack.A")
    pack.alias("b.B", "pack.B")
    pack.migration("lab.Net", 1, ops.drop("pack"))
    pack.migration("lab.Net", 2, ops.drop("pack"))
    pack.constant("c", 1)
    pack.plain("x.X")(lambda record, looker: 1)
    own = Registry("own", parents=(pack,))
    own.alias("a.A", "own.A")
    own.migration("lab.Net", 1, ops.drop("own"))
    assert own.resolve("a.A") == "own.A"
    assert own.resolve("b.B") == "pack.B"
    assert [str(step.ops[0]) for step in own.path("lab.Net", 1, 3)] == [
        "drop('own')",
        "drop('pack')",
    ]
    assert own.constant_named("c") == 1
    assert own.plain_for("x.X") is pack.plain_for("x.X")
    assert own.schema_for("lab.Net").version == 3


def test_a_frozen_registry_learns_nothing(registry):
    registry.freeze()
    for learn in (
        lambda: registry.alias("a.A", "b.B"),
        lambda: registry.migration("lab.Net", 1, ops.drop("a")),
        lambda: registry.stamp("lab.Net", key="v"),
        lambda: registry.constant("x", 1),
        lambda: registry.register("lab.X", version=2),
        lambda: registry.plain("x.X")(lambda record, looker: None),
        lambda: declared(registry),
    ):
        with pytest.raises(SchemaError, match="is frozen"):
            learn()


def test_registries_do_not_leak_into_each_other(registry):
    registry.migration("leak.Net", 1, ops.drop("a"))
    declared(registry, "leak.Class")
    assert default_registry.schema_for("leak.Net") is None
    assert default_registry.schema_for("leak.Class") is None


def test_reading_while_others_register(registry):
    """Readers never see half of it."""
    faults = []

    def read():
        try:
            for _ in range(300):
                registry.resolve("old.Thing")
                registry.schemas()
                registry.stamp_of("lab.Net1", {})
        except Exception as error:  # pragma: no cover
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for index in range(300):
        registry.alias(f"old{index}.*", f"new{index}.*")
        registry.migration(f"lab.Net{index}", 1, ops.drop("a"))
        registry.stamp(f"lab.Net{index}", key="v")
    for thread in threads:
        thread.join()
    assert faults == []


# Classes from outside.


class ThirdParty:
    def __init__(self):
        self.a, self.b, self.c = 1, 2, 3


def test_a_class_that_cannot_inherit_is_registered(registry):
    from persist.versioned import flatten_state, make, restore_state

    registry.register(ThirdParty, version=2, fields=("a", "b"), schema="lab.ThirdParty")
    schema = registry.schema_for(ThirdParty)
    assert (schema.name, schema.version, schema.names) == ("lab.ThirdParty", 2, ("a", "b"))
    flat = flatten_state(ThirdParty(), registry)
    assert flat.state == {"a": 1, "b": 2}
    made = make(ThirdParty)
    restore_state(made, flat.state, registry=registry)
    assert vars(made) == {"a": 1, "b": 2}
    assert vars(pickle.loads(pickle.dumps(ThirdParty()))) == {"a": 1, "b": 2, "c": 3}
    assert default_registry.schema_for(ThirdParty) is None


def test_a_schema_may_be_data_alone(registry):
    registry.register("gone.Net", version=2, fields=("w",), schema="lab.Gone")
    assert registry.schema_for("gone.Net") is registry.schema_for("lab.Gone")
    assert registry.schema_for("gone.Net").cls is None


def test_an_undeclared_class_has_no_layout(registry):
    with pytest.raises(UnknownSchemaError, match=r"persist.register"):
        registry.layout(ThirdParty)


# Constants.


def test_a_constant_has_one_value(registry):
    assert registry.constant("lab.tanh", np.tanh) is np.tanh
    registry.constant("lab.tanh", np.tanh)
    with pytest.raises(SchemaError, match=r"'lab.tanh' is .*tanh.* already, not .*sin"):
        registry.constant("lab.tanh", np.sin)
    assert registry.constant_name(np.tanh) == "lab.tanh"
    assert registry.constant_name(np.sin) is None
    assert registry.constant_named("lab.none") is ABSENT


# Looking it over.


def test_check_reports_everything_at_once(registry):
    net = declared(registry, version=4)
    registry.migration(net, 1, ops.drop("a"))
    registry.migration(net, 3, ops.drop("a"), to=5)
    registry.alias("a.A", "b.B")
    registry.alias("b.B", "a.A")

    class Proper(persist.Versioned, registry=registry, schema="lab.Proper"):
        persistent = ("w",)

        @property
        def w(self):
            return 1

    with pytest.raises(ExceptionGroup, match="registry 'test': 4 faults") as caught:
        registry.check()
    said = "\n".join(map(str, caught.value.exceptions))
    assert "no migrations lead from versions 1, 2, 3 of 'lab.Net' to 4" in said
    assert "the step 3→5 of 'lab.Net' leads past today's version 4" in said
    assert "the aliases of 'a.A' lead in a circle" in said
    assert "the field 'w' of 'lab.Proper' is a property that cannot be set" in said


def test_check_is_silent_when_all_is_well(registry):
    net = declared(registry, version=2)
    registry.migration(net, 1, ops.rename("W", "w"))
    registry.alias("old.Net", net)
    registry.check()
    assert registry.faults() == []


def test_an_enum_is_no_class_with_a_state(registry):
    """Its members are saved by name; what a version or fields would say, aliases of members say."""
    import enum

    class Mood(enum.Enum):
        GLAD = 1

    for wrong in ({"version": 2}, {"fields": ("name",)}):
        with pytest.raises(SchemaError, match=r"is an enum.*persist.alias"):
            registry.register(Mood, **wrong)
    assert registry.register(Mood, schema="lab.Mood") is Mood
    assert registry._enum_for("lab.Mood") is Mood


def test_a_module_that_runs_as_a_script_may_be_imported_too(tmp_path):
    """`python lab.py`, which imports something that imports lab: the same lines, twice."""
    import subprocess

    (tmp_path / "lab.py").write_text(
        textwrap.dedent(
            """
            import persist

            class Net(persist.Versioned, version=3, schema="twin.Net"):
                persistent = ("x",)

            @persist.migration(Net, 1)
            def step(state):
                return state

            persist.migration(Net, 2, persist.ops.rename("w", "x"))

            if __name__ == "__main__":
                import lab, pickle
                persist.registry.default_registry.check()
                net = lab.Net()
                net.x = 1
                print(pickle.loads(pickle.dumps(net)).x)
            """
        )
    )
    env = {**os.environ, "PYTHONPATH": str(Path(persist.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "lab.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")

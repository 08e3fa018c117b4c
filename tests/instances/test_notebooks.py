"""Classes that live in a notebook or a script: sent by value, renamed, and cells that run again."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

import persist
from persist.errors import DuplicateMigrationError, SchemaError


def run(source: str, *, given: str = "") -> str:
    """Run a script in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)],
        input=given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return done.stdout


# Sent by value, as joblib, dask and ray send the classes of a notebook.

CLASSES = """
import attrs, base64, cloudpickle, dataclasses, persist, pickle

LAB = persist.Registry("notebook.lab")

class Plain(persist.Versioned, version=2, schema="notebook.Plain"):
    persistent = ("a", "b")
    def __init__(self, a, b): self.a, self.b = a, b

class Sub(Plain, schema="notebook.Sub"):
    persistent = ("c",)

@attrs.define
class Attrs(persist.Versioned, schema="notebook.Attrs"):
    n: int

@dataclasses.dataclass
class Data(persist.Versioned, schema="notebook.Data"):
    n: int = 3

class Codec(persist.Versioned, schema="notebook.Codec"):
    def __getstate__(self): return (self.q,)
    def __setstate__(self, state): (self.q,) = state

class Heir(Codec, schema="notebook.Heir"):
    def __getstate__(self): return (self.q, self.r)
    def __setstate__(self, state):
        super().__setstate__(state[:1])
        self.r = state[1]

class Own(persist.Versioned, schema="notebook.Own", registry=LAB):
    persistent = ("z",)

def objects():
    codec, heir, own, sub = Codec(), Heir(), Own(), Sub(1, 2)
    codec.q, heir.q, heir.r, own.z, sub.c = 4, 5, 6, 7, 8
    return [Plain(1, 2), sub, Attrs(4), Data(5), codec, heir, own]

def reported(found):
    names = ("a", "b", "c", "n", "q", "r", "z")
    return [(type(one).__name__, {n: getattr(one, n) for n in names if hasattr(one, n)}) for one in found]
"""

WORKER = """
import base64, io, pickle, sys
found, reported = pickle.loads(base64.b64decode(sys.stdin.read()))
import persist
print(reported(found))
print(reported(pickle.loads(__import__("cloudpickle").dumps(found))))
out = io.BytesIO()
persist.save(found[:-1], out)
print(reported(persist.load(out.getvalue())))
print(type(found[-1])._persist_declared.registry, type(found[0])._persist_declared.registry)
"""


@pytest.mark.extra("cloudpickle")
@pytest.mark.parametrize("is_used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("where", ["script", "module"])
def test_declared_classes_are_sent_by_value(is_used: bool, where: str, tmp_path: Path) -> None:
    """Before and after their first use, of a script and of a module that is sent by value."""
    using = "[pickle.loads(pickle.dumps(objects())) for _ in range(60)]" if is_used else ""
    ending = "print(reported(objects()))\nprint(base64.b64encode(cloudpickle.dumps((objects(), reported))).decode())"
    if where == "script":
        source = f"{CLASSES}\n{using}\n{ending}"
    else:
        (tmp_path / "by_value.py").write_text(CLASSES)
        source = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport by_value\nfrom by_value import *\n"
            f"cloudpickle.register_pickle_by_value(by_value)\n{using}\n{ending}"
        )
    reported, sent = run(source).splitlines()
    first, second, third, homes = run(WORKER, given=sent).splitlines()
    assert first == second == reported
    assert third == repr(eval(reported)[:-1])
    assert homes == "<registry notebook.lab> <registry default>"


def test_a_registry_is_itself_in_every_copy() -> None:
    registry = persist.Registry("notebook.copies")
    default = persist.registry.default_registry
    for one in (registry, default):
        assert copy.copy(one) is copy.deepcopy(one) is pickle.loads(pickle.dumps(one)) is one
    later = persist.Registry("notebook.copies")
    assert pickle.loads(pickle.dumps(later)) is later
    with pytest.raises(SchemaError, match="Give each registry a name of its own"):
        pickle.dumps(registry)


# Renamed.


def test_a_class_that_was_renamed_takes_over_its_schema() -> None:
    """Though caches, an instance and the history of the session hold the old one."""
    printed = run("""
    import io, pickle, persist
    class Net(persist.Versioned, schema="lab.Net"): persistent = ()
    kept = Net()
    persist.save(kept, io.BytesIO()); pickle.dumps(kept)
    del Net
    class Network(persist.Versioned, schema="lab.Net"): persistent = ()
    out = io.BytesIO(); persist.save(Network(), out)
    print(type(persist.load(out.getvalue())).__name__, type(pickle.loads(pickle.dumps(Network()))).__name__)
    """)
    assert printed == "Network Network\n"


def test_the_remedy_of_two_classes_of_one_schema_works() -> None:
    printed = run("""
    import io, re, persist
    class Net(persist.Versioned, schema="lab.Net"): persistent = ()
    class Network(persist.Versioned, schema="lab.Net"): persistent = ()
    try: persist.save(Network(), io.BytesIO())
    except persist.PersistError as error: remedy = error.remedy
    print(remedy)
    exec(re.search("`(del .*?)`", remedy)[1])
    out = io.BytesIO(); persist.save(Network(), out)
    print(type(persist.load(out.getvalue())).__name__)
    """)
    assert "If Network is the new name of Net, say `del Net`." in printed
    assert printed.endswith("Network\n")


# Again.

CELL = """
import persist
@registry.migration("lab.Net", 1)
def step(state):
    return {"a": VALUE}
@registry.stamp("lab.Net")
def by_key(state):
    return 1
registry.migration("lab.Net", 2, persist.ops.drop("VALUE"))
registry.alias("old.Net", "lab.NetVALUE")
registry.alias("older.*", "labVALUE.*")
"""


def _run_cell(registry: persist.Registry, value: str, name: str) -> None:
    space = {"registry": registry, "__name__": "__main__"}
    exec(compile(CELL.replace("VALUE", value), name, "exec"), space)


def test_a_cell_that_runs_again_is_quiet_as_it_is_and_edited() -> None:
    registry = persist.Registry("cells")
    for value, name in (("1", "<cell 1>"), ("1", "<cell 1>"), ("2", "<cell 2>")):
        _run_cell(registry, value, name)
    assert registry.migrations("lab.Net")[1, 2]({}) == {"a": 2}
    assert len(registry.stamps("lab.Net")) == 1
    assert registry.resolve("old.Net") == "lab.Net2"
    assert registry.resolve("older.Net") == "lab2.Net"


def test_a_module_that_is_loaded_again_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = persist.Registry("reloaded")
    shared = types.ModuleType("registry_of_again")
    shared.registry = registry  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "registry_of_again", shared)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "again_of_notebooks.py"
    for number in (1, 2, 3):
        head = "from registry_of_again import registry\n" + "# moved\n" * number
        path.write_text(head + CELL.replace("VALUE", str(number)))
        importlib.invalidate_caches()
        if number == 1:
            module = importlib.import_module("again_of_notebooks")
        else:
            module = importlib.reload(module)
    assert registry.migrations("lab.Net")[1, 2]({}) == {"a": 3}
    assert registry.resolve("old.Net") == "lab.Net3"
    monkeypatch.delitem(sys.modules, "again_of_notebooks")


def test_a_second_step_or_alias_of_one_name_is_refused() -> None:
    registry = persist.Registry("twice")
    source = """
@registry.migration("x.A", 1)
def up(state):
    return state
@registry.migration("x.A", 1)
def up(state):
    return {}
"""
    with pytest.raises(DuplicateMigrationError, match="two migrations lead from version 1 to 2"):
        exec(compile(source, "<stdin>", "exec"), {"registry": registry, "__name__": "__main__"})
    assert registry.migrations("x.A")[1, 2]({"a": 1}) == {"a": 1}
    registry.alias("a.B", "c.D")
    registry.alias("a.B", "c.D", since="2")
    with pytest.raises(SchemaError, match=r"'a\.B' leads to 'c\.D' \(.*test_notebooks") as caught:
        registry.alias("a.B", "e.F")
    assert registry.resolve("a.B") == "c.D"
    registry.alias("p.*", "q.*")
    with pytest.raises(SchemaError, match=r"'p\.\*' leads to 'q\.\*'"):
        registry.alias("p.*", "r.*")
    words = caught.value.remedy.partition("say persist.")[2].rstrip(".")
    eval(f"registry.{words}", {"registry": registry})
    assert registry.resolve("a.B") == "e.F"


def test_a_function_that_registers_may_run_twice() -> None:
    registry = persist.Registry("function")

    def setup() -> Any:
        @registry.migration("x.A", 1)
        def up(state: Any) -> Any:
            return state

        registry.migration("x.A", 2, persist.ops.drop("a"))
        return up

    assert setup() is not setup()

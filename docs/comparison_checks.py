"""One or more small checks for each row of the comparison: ``make_comparison.py`` runs them.

A row is "yes" where all of its checks pass, "part" where some do, "no" where none does. Each check
is a function without arguments that runs in an empty folder, and uses the public surface alone.
"""

# ruff: noqa: PT017, PT018

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import sys
import traceback
import types
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import persist
from persist import ops
from persist.errors import PersistError

ROWS: dict[int, list[Callable[[], None]]] = defaultdict(list)
_count = iter(range(10**6))


def row(number: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Decorate a check of a row."""

    def add(check: Callable[[], None]) -> Callable[[], None]:
        ROWS[number].append(check)
        return check

    return add


def module(source: str, **names: Any) -> Any:
    """Make a module of a name of its own; ``$`` in the source is that name."""
    name = f"compared{next(_count)}"
    made = types.ModuleType(name)
    sys.modules[name] = made
    made.__dict__.update(names)
    exec(
        "import persist, attrs, enum\nfrom persist import ops\n" + source.replace("$", name),
        vars(made),
    )
    return made


def lab(body: str, **names: Any) -> Any:
    """A module with the class ``A``, whose statement is the head ``class A(persist.Versioned...)``."""
    return module(body, **names)


def raw(cls: str, state: Any) -> bytes:
    """A plain old pickle: an instance of a class with this state."""
    owner, _, name = cls.rpartition(".")
    return (
        f"\x80\x02c{owner}\n{name}\n)\x81".encode("latin-1") + pickle.dumps(state, 2)[2:-1] + b"b."
    )


def saved(obj: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file, **options)
    return file.getvalue()


def again(obj: Any, **options: Any) -> Any:
    return persist.load(saved(obj), **options)


def make(cls: Any, **attributes: Any) -> Any:
    obj = cls.__new__(cls)
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


def refuses(
    act: Callable[[], Any], text: str = "", error: type[BaseException] = PersistError
) -> None:
    """Check that something is refused with an error that has this text."""
    try:
        act()
    except error as found:
        assert text in str(found), f"{text!r} is not in {found}"
        return
    raise AssertionError("it was not refused")


def run(*arguments: Any, status: int = 0) -> str:
    """Run the command in a copy of this process, and return what it prints."""
    from persist._cli import main

    def command() -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                found = main([str(one) for one in arguments])
            except SystemExit as ended:
                found = int(ended.code or 0)
        return f"{found} {out.getvalue()}"

    found, _, text = apart(command).partition(" ")
    assert found == str(status), f"{arguments}: status {found}: {text}"
    return text


def apart(act: Callable[[], str]) -> str:
    """Return the text that a function gives in a copy of this process, which leaves no trace here."""
    if not hasattr(os, "fork"):
        return act()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            text = act()
        except BaseException:
            text = traceback.format_exc()
        with open(writing, "wb") as pipe:
            pipe.write(text.encode("utf-8", "replace"))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text


def manifest(data: bytes) -> Any:
    return json.loads(zipfile.ZipFile(io.BytesIO(data)).read("manifest.json"))


def project(source: str, name: str = "") -> str:
    """Write a project of one module into the folder; return the module's name."""
    name = name or f"project{next(_count)}"
    sys.dont_write_bytecode = True
    Path(f"{name}.py").write_text("import attrs, persist\nfrom persist import ops\n" + source)
    Path("pyproject.toml").write_text(f'[tool.persist]\nimport = ["{name}"]\n')
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return name


CONFIG = """
@attrs.define
class Config(persist.Versioned, version=1, schema="{0}.Config"):
    lr: float = 0.1
"""


def two_versions(step: str) -> None:
    """A project with a released version 1 of a class, and a step to version 2."""
    head = "@attrs.define\nclass R(persist.Versioned, version={}, schema='law.R'):\n  x: int = 0\n"
    name = project(head.format(1))
    run("lock")
    project(head.format(2) + step, name)


# 1 Declaring state.


@row(1)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('a',)")
    assert vars(again(make(m.A, a=1, b=2))) == {"a": 1}


@row(2)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  transient = {'b': 0}")
    assert vars(again(make(m.A, a=1, b=2))) == {"a": 1, "b": 0}


@row(3)
def _() -> None:
    m = lab(
        "class A(persist.Versioned):\n  persistent = ('W', 'b')\n  def __getstate__(s): return s.W, s.b\n  def __setstate__(s, t): s.W, s.b = t"
    )
    assert manifest(saved(make(m.A, W=1, b=2)))["schemas"][0]["parts"] == [["W", "b"]]


@row(3)
def _() -> None:
    head = "class A(persist.Versioned, schema='swapped.A'):\n  persistent = {}\n  def __getstate__(s): return s.{}, s.{}\n  def __setstate__(s, t): s.{}, s.{} = t"
    name = project(head.format(("W", "b"), *"WbWb"))
    data = saved(make(importlib.import_module(name).A, W=1, b=2))
    project(head.format(("b", "W"), *"bWbW"), name)
    sys.modules.pop(name)
    importlib.import_module(name)
    refuses(lambda: persist.load(data), "two layouts")


@row(4)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = {'a': None, 'log': []}")
    one, two = (persist.load(raw(f"{m.__name__}.A", {"a": 1})) for _ in range(2))
    one.log.append(1)
    assert two.log == []


@row(4)
def _() -> None:
    registry = persist.Registry("defaults")
    registry.register("x.A", version=1, fields={"a": 1, "b": 7})
    assert persist.load(raw("x.A", {"a": 5}), registry=registry)["b"] == 7


@row(5)
def _() -> None:
    m = lab(
        "class A(persist.Versioned):\n  persistent = {'a': None, 'b': persist.field(computed=lambda f: f['a'] * 2)}"
    )
    assert persist.load(raw(f"{m.__name__}.A", {"a": 4})).b == 8


RESOURCE = "class A(persist.Versioned):\n  persistent = ('path',)\n  data = persist.resource('path', open=lambda p: __import__('pathlib').Path(p).read_text())"


@row(6)
def _() -> None:
    m = lab(RESOURCE)
    Path("sub").mkdir()
    Path("sub/d.txt").write_text("hello")
    persist.save(make(m.A, path="d.txt"), "sub/a.persist")
    assert persist.load("sub/a.persist").data == "hello"
    assert persist.load(f"file://{os.path.abspath('sub/a.persist')}").data == "hello"


@row(6)
def _() -> None:
    m = lab(RESOURCE)
    Path("d.txt").write_text("hello")
    persist.save(make(m.A, path="/old/d.txt"), "a.persist")
    assert persist.load("a.persist", resources={"data": "d.txt"}).data == "hello"
    assert persist.load("a.persist", resources={"/old/": "./"}).data == "hello"


@row(7)
def _() -> None:
    m = lab(
        "class A(persist.Versioned):\n  persistent = {'w': persist.field(dtype='f4', shape=(None, 3), unit='m')}"
    )
    data = saved(make(m.A, w=np.zeros((2, 3), "f4")))
    assert manifest(data)["schemas"][0]["units"] == {"w": "m"}
    refuses(lambda: saved(make(m.A, w=np.zeros((2, 3)))), "float64")
    refuses(lambda: saved(make(m.A, w=np.zeros((2, 2), "f4"))), "shape")


@row(8)
def _() -> None:
    m = lab(
        "import dataclasses, collections\n"
        "class S(persist.Versioned):\n  __slots__ = ('a',)\n"
        "@attrs.define\nclass T(persist.Versioned):\n  a: int\n"
        "@dataclasses.dataclass\nclass D(persist.Versioned):\n  a: int\n"
        "class L(persist.Versioned, list): pass\n"
        "class E(persist.Versioned, ValueError): pass\n"
    )
    assert again(make(m.S, a=1)).a == again(m.T(1)).a == again(m.D(1)).a == 1
    assert list(again(m.L([1, 2]))) == [1, 2] and again(m.E("x")).args == ("x",)


@row(8)
def _() -> None:
    m = lab(
        "class V(persist.Versioned, enum.Enum, schema='$.V'):\n  A = 1\nclass F(persist.Versioned, enum.Flag, schema='$.F'):\n  A = 1\n  B = 2"
    )
    assert again(m.V.A) is m.V.A and again(m.F.A | m.F.B) is m.F.A | m.F.B


@row(9)
def _() -> None:
    m = module("class T:\n  def __init__(s, a): s.a = a")
    persist.register(m.T, version=1)
    assert again(m.T(3)).a == 3


@row(9)
def _() -> None:
    m = module("class T:\n  def __init__(s, a): s.a = a")
    persist.register(
        m.T, version=1, getstate=lambda t: {"x": t.a}, setstate=lambda t, s: setattr(t, "a", s["x"])
    )
    assert again(m.T(3)).a == 3


@row(9)
def _() -> None:
    import re

    assert again(re.compile("a+", re.IGNORECASE)) == re.compile("a+", re.IGNORECASE)


@row(10)
def _() -> None:
    class Local:
        pass

    refuses(lambda: saved(Local()))
    refuses(lambda: saved(lambda: 1))
    refuses(lambda: saved({"f": os.getcwd}, format="pickle"))


@row(11)
def _() -> None:
    m = lab(
        "class A(persist.Versioned):\n  seen = 0\n  def __getstate__(s): return None\n  def __setstate__(s, t): s.seen = 1"
    )
    assert all(pickle.loads(pickle.dumps(m.A(), protocol)).seen for protocol in range(2, 6))


# 2 Versions and identity.


@row(12)
def _() -> None:
    m = lab("class A(persist.Versioned, version=3):\n  persistent = ('a',)")
    assert persist.open(saved(make(m.A, a=1))).tree.version == 3


@row(13)
@row(68)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=2, schema='$.A'):\n  persistent = ('a',)\nclass B(A, version=5, schema='$.B'):\n  persistent = ('b',)"
    )
    text = saved(make(m.B, a=1, b=2))
    found = {one["name"].rpartition(".")[2]: one["version"] for one in manifest(text)["schemas"]}
    assert found == {"A": 2, "B": 5}


FORGOTTEN = "class {0}(persist.Versioned, schema='{1}'):\n  persistent = ('x', {2!r})"


@row(14)
def _() -> None:
    name = f"forgotten{next(_count)}.A"
    one, two = persist.Registry("one"), persist.Registry("two")
    one.register(name, fields=("x", "z"))
    two.register(name, fields=("x", "w"))
    data = saved(persist.Record(name, {"x": 1, "z": 2}, version=1), registry=one)
    refuses(lambda: persist.load(data, registry=two), "two layouts")


@row(15)
@row(99)
def _() -> None:
    name = project(CONFIG.format(f"forgotten{next(_count)}"))
    run("lock")
    run("check")
    path = Path(f"{name}.py")
    path.write_text(path.read_text().replace("lr:", "rate:"))
    assert "rate" in run("check", status=1)


@row(16)
def _() -> None:
    m = lab("class A(persist.Versioned, schema='$.stable'):\n  persistent = ('a',)")
    data = saved(make(m.A, a=1))
    assert m.A.__name__.encode() + b'"' not in zipfile.ZipFile(io.BytesIO(data)).read("graph.json")


MINOR = "class A(persist.Versioned, version={0}, schema='minor.A', registry=registry):\n  persistent = {1}"


@row(17)
def _() -> None:
    older, newer = persist.Registry("minor 1"), persist.Registry("minor 2")
    new = module(MINOR.format((3, 2), ("a", "b")), registry=newer).A
    old = module(MINOR.format((3, 1), ("a",)), registry=older).A
    layer = persist.load(saved(make(new, a=1, b=2), registry=newer), registry=older)
    assert type(layer) is old and layer.a == 1
    assert persist.load(saved(layer, registry=older), registry=newer).b == 2


@row(18)
def _() -> None:
    registry = persist.Registry("least")
    registry.register("least.A", version=2, fields=("a",))
    data = saved(persist.Record("least.A", {"a": 1}, version=2), registry=registry)
    assert manifest(data)["schemas"][0]["reader"]


@row(19)
def _() -> None:
    m = lab(
        "class B(persist.Versioned, version=2, schema='$.A'):\n  persistent = ('a',)\npersist.alias('older.$.Old', B)\npersist.migration(B, 1, ops.rename('x', 'a'))"
    )
    record = persist.Record(f"{m.__name__}.A", {"a": 1}, version=2)
    assert persist.load(saved(record)).a == 1


@row(20)
def _() -> None:
    writer = persist.open(saved(1)).writer
    assert {"persist", "python", "numpy"} <= writer.keys()


@row(21)
def _() -> None:
    registry = persist.Registry("releases")
    registry.register("rel.A", version=2)
    registry.migration("rel.A", 1, ops.rename("W", "w"), release="<1.2")
    assert registry.releases("rel.A")


# 3 Registry and graph.

STEPS = "class A(persist.Versioned, version=3):\n  persistent = ('a',)\npersist.migration(A, 1, ops.rename('x', 'y'))\npersist.migration(A, 2, ops.rename('y', 'a'))\npersist.stamp(A)(lambda s: 1)"


@row(22)
def _() -> None:
    m = lab(STEPS)
    assert persist.load(raw(f"{m.__name__}.A", {"x": 5})).a == 5


@row(23)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=4):\n  persistent = ('a',)\npersist.migration(A, '1-3', ops.rename('x', 'a', missing='ok') if False else ops.rename('x', 'a'), to=4)"
    )
    assert persist.load(raw(f"{m.__name__}.A", {"x": 5}), assume_version=2).a == 5


@row(24)
def _() -> None:
    m = lab(STEPS + "\npersist.migration(A, 1, ops.rename('x', 'a'), to=3)")
    plan = persist.explain(raw(f"{m.__name__}.A", {"x": 5}))
    assert len(plan.entries[0].version_paths[0].steps) == 1


@row(24)
def _() -> None:
    registry = persist.Registry("cost")
    registry.register("cost.A", version=4)
    for start, to, cost in ((1, 2, 1), (2, 4, 1), (1, 3, 1), (3, 4, 0.5), (1, 4, 9)):
        registry.migration("cost.A", start, ops.rename("x", "y"), to=to, cost=cost)
    assert [step.start for step in registry.path("cost.A", 1, 4)] == [1, 3]


@row(25)
def _() -> None:
    registry = persist.Registry("branches")
    registry.register("br.A", version="main")
    registry.migration("br.A", "branch", ops.rename("x", "y"), to="main")
    assert not registry.check()


@row(26)
def _() -> None:
    registry = persist.Registry("gaps")
    registry.register("gap.A", version=3)
    registry.migration("gap.A", 2, ops.rename("x", "y"))
    registry.register("gap.B", version=2)
    try:
        registry.check()
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        assert "gap.A" in text and "gap.B" in text
    else:
        raise AssertionError("no gap was found")


@row(27)
def _() -> None:
    registry = persist.Registry("twice")
    registry.register("tw.A", version=2)
    registry.migration("tw.A", 1, ops.rename("x", "y"))
    refuses(lambda: registry.migration("tw.A", 1, ops.rename("x", "z")))


@row(27)
def _() -> None:
    registry = persist.Registry("twice")
    registry.alias("a.B", "c.D")
    refuses(lambda: registry.alias("a.B", "e.F"))


@row(28)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=3):\n  persistent = ('a',)\npersist.migration(A, 2, ops.rename('x', 'a'))"
    )
    record = persist.Record(f"{m.__name__}.A", {"x": 1}, version=1)
    refuses(lambda: persist.load(saved(record)))
    assert record["x"] == 1


@row(29)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=2):\n  persistent = ('parts', 'table')\nclass B(persist.Versioned, version=2):\n  persistent = ('of', 'unit')\n"
        "@persist.migration(A, 1)\ndef up(s): return {'parts': s['parts'], 'table': [p['name'] for p in s['parts']]}\n"
        "@persist.migration(B, 1, after=[A])\ndef up(s): return {'of': s['of'], 'unit': s['of']['table'].index(s['name'])}"
    )
    whole = persist.Record(f"{m.__name__}.A", {}, version=1)
    whole["parts"] = [
        persist.Record(f"{m.__name__}.B", {"name": name, "of": whole}, version=1) for name in "xy"
    ]
    assert [part.unit for part in persist.load(saved(whole)).parts] == [0, 1]


@row(30)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=2):\n  persistent = ('n', 'child')\nclass C(persist.Versioned, version=2):\n  persistent = ('m',)\n@persist.migration(A, 1)\ndef up(s): return {'n': s['child']['m'], 'child': s['child']}\npersist.migration(C, 1, ops.rename('k', 'm'))"
    )
    child = persist.Record(f"{m.__name__}.C", {"k": 7}, version=1)
    assert (
        persist.load(saved(persist.Record(f"{m.__name__}.A", {"child": child}, version=1))).n == 7
    )


@row(31)
def _() -> None:
    registry = persist.Registry("since")
    registry.register("since.A", version=3)
    registry.migration("since.A", 2, ops.rename("x", "y"))
    registry.supported("since.A", since=2, reader="2.4")
    registry.check()
    refuses(
        lambda: persist.load(
            saved(persist.Record("since.A", {"x": 1}, version=1)), registry=registry
        ),
        "2.4",
    )


@row(32)
def _() -> None:
    registry = persist.Registry("frozen")
    registry.freeze()
    refuses(lambda: registry.register("fr.A", version=1))


@row(33)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=2):\n  persistent = ('a',)\n@persist.migration(A, 1)\ndef up(s): return {'a': persist.load('self.persist')}"
    )
    persist.save(persist.Record(f"{m.__name__}.A", {}, version=1), "self.persist")
    refuses(lambda: persist.load("self.persist"), "while it is being loaded")


PURE = "class A(persist.Versioned, version=2):\n  persistent = ('w', 'child')\nclass C(persist.Versioned):\n  persistent = ('m',)\nseen = []\n@persist.migration(A, 1)\ndef up(s):\n  seen.append((type(s['child']).__name__, s['w'].flags.writeable))\n  return {'w': s['w'], 'child': s['child']}"


@row(34)
def _() -> None:
    m = lab(PURE)
    child = persist.Record(f"{m.__name__}.C", {"m": 1}, version=1)
    persist.load(
        saved(persist.Record(f"{m.__name__}.A", {"w": np.zeros(3), "child": child}, version=1))
    )
    assert m.seen == [("Record", False)]


@row(34)
def _() -> None:
    m = lab(PURE)
    old = make(m.A, w=np.zeros(3), child=make(m.C, m=1))
    data = pickle.dumps(old).replace(b"K\x02", b"K\x01")
    pickle.loads(data)
    assert m.seen == [("Record", False)]


@row(35)
def _() -> None:
    import persist.testing

    two_versions(
        "@persist.migration(R, 1)\ndef up(s): return {'x': __import__('random').random()}\n"
    )
    refuses(lambda: persist.testing.check_schema("law.R", 1), error=persist.testing.Broken)


# 4 Operations.


@row(36)
@row(37)
def _() -> None:
    state = {"a": 1, "b": 2}
    for op in (ops.rename("a", "c"), ops.add("d", 0), ops.convert("a", float, inverse=int)):
        up = op.apply(dict(state))
        assert up != state or isinstance(up["a"], float)
        assert op.inverse().apply(up) == state


@row(38)
def _() -> None:
    import persist.testing

    two_versions(
        "persist.migration(R, 1, ops.convert('x', lambda v: v + 1, inverse=lambda v: v))\n"
    )
    refuses(lambda: persist.testing.check_schema("law.R", 1), error=persist.testing.Broken)


@row(39)
@row(40)
def _() -> None:
    name = project(CONFIG.format(f"draft{next(_count)}"))
    run("lock")
    path = Path(f"{name}.py")
    path.write_text(path.read_text().replace("lr:", "learning_rate:"))
    text = run("draft", "--yes")
    assert "renamed" in text and "ops.rename" in path.read_text()


@row(41)
def _() -> None:
    head = "class C(persist.Versioned, schema='values.C'):\n  persistent = ({!r}, 'n')\n"
    name = project(head.format("alpha"))
    run("lock")
    for field in ("alpha", "weights"):
        record = persist.Record("values.C", {field: np.arange(9.0) ** 2, "n": 1}, version=1)
        persist.save(record, f"{field}.persist")
    project(head.format("weights"), name)
    text = run("draft", "--yes", "--from", "alpha.persist", "--to", "weights.persist")
    assert "equal" in text or "same values" in text


@row(42)
def _() -> None:
    m = lab(STEPS)
    assert "rename" in str(persist.explain(raw(f"{m.__name__}.A", {"x": 5})))


@row(43)
def _() -> None:
    m = lab(STEPS)
    records = [persist.Record(f"{m.__name__}.A", {"x": n}, version=1) for n in range(3000)]
    assert [one.a for one in persist.load(saved(records))] == list(range(3000))


@row(44)
def _() -> None:
    state = {"layers": [{"W": 1}, {"W": 2}]}
    assert ops.rename("layers/*/W", "w").apply(state)["layers"][1] == {"w": 2}


@row(44)
def _() -> None:
    assert ops.rename("**/W", "w").apply({"a": {"b": {"W": 1}}}) == {"a": {"b": {"w": 1}}}


@row(45)
def _() -> None:
    state = {"w": np.zeros((2, 3)), "t": np.zeros(2, [("x", "i4")])}
    assert ops.transpose("w").apply(dict(state))["w"].shape == (3, 2)
    assert ops.astype("w", "f4").apply(dict(state))["w"].dtype == np.float32


@row(45)
def _() -> None:
    made = ops.rename_column("t", {"x": "q"}).apply({"t": np.zeros(2, [("x", "i4")])})
    assert made["t"].dtype.names == ("q",)
    made = ops.add_column("t", "w", "f8", 1).apply(made)
    assert ops.drop_column("t", "q").apply(made)["t"].dtype.names == ("w",)


@row(45)
def _() -> None:
    state = {f"w{n}": np.full(2, n) for n in range(3)}
    made = ops.stack(("w0", "w1", "w2"), "w").apply(state)
    assert made["w"].shape == (3, 2)


@row(45)
def _() -> None:  # what needs no values does not read them: views of the mapped file, lazy members
    array = np.arange(60000.0).reshape(300, 200)
    persist.save({"v": array}, "a.persist")
    persist.save({"v": array}, "b.persist", compress="deflate")
    with persist.open("a.persist") as file:
        state = {"v": file.tree["v"]}
        for op in (ops.transpose("v"), ops.rename("v", "w"), ops.split("w", ("x", "y"))):
            state = op.apply(state)
        assert np.shares_memory(state["x"], file.tree["v"])
    with persist.open("b.persist") as file:
        state = ops.rename("v", "w").apply({"v": file.tree["v"]})
        assert isinstance(state["w"], persist.tree.LazyArray)


@row(46)
def _() -> None:
    step = ops.rename("a", "b")
    assert ops.from_json(ops.to_json(step)).apply({"a": 1}) == {"b": 1}


# 5 Legacy input.


@row(47)
@row(50)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('a',)")
    assert persist.load(raw(f"{m.__name__}.A", {"a": 1})).a == 1


@row(48)
def _() -> None:
    m = lab(
        STEPS.replace(
            "persist.stamp(A)(lambda s: 1)", "persist.stamp(A)(lambda s: 1 if 'x' in s else None)"
        )
    )
    assert persist.load(raw(f"{m.__name__}.A", {"x": 5})).a == 5


@row(48)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=2, layouts={1: ('W', 'b')}):\n  persistent = ('w',)\n@persist.migration(A, 1)\ndef up(s): return {'w': s[0]}"
    )
    assert persist.load(raw(f"{m.__name__}.A", (1, 2))).w == 1


@row(49)
def _() -> None:
    m = lab(STEPS + "\npersist.stamp(A)(lambda s: 2)")
    refuses(lambda: persist.load(raw(f"{m.__name__}.A", {"x": 5})))


@row(51)
def _() -> None:
    data = b"(i__main__\nOld\np0\n(dp1\nS'a'\nI1\nsb."
    assert persist.open(data).tree["a"] == 1


@row(52)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, schema='$.A'):\n  persistent = {'b': persist.field(type=bytes), 't': persist.field(py2='latin-1')}\npersist.alias('py2.$', A)"
    )
    data = (
        f"\x80\x02cpy2\n{m.__name__}\n)\x81".encode("latin-1") + b"}(U\x01bU\x01xU\x01tU\x01\xe9ub."
    )
    found = persist.load(data)
    assert (found.b, found.t) == (b"x", "\xe9")


@row(53)
def _() -> None:
    import gzip

    file = io.BytesIO()
    np.savez(file, a=np.arange(3))
    assert persist.open(file.getvalue()).arrays["a"].shape == (3,)
    assert persist.load(gzip.compress(pickle.dumps([1]))) == [1]
    assert persist.load(pickle.dumps(1) + pickle.dumps(2)) == [1, 2]


@row(54)
def _() -> None:
    refuses(
        lambda: persist.open(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "git lfs pull",
    )
    refuses(lambda: persist.open(b"<!DOCTYPE html><html></html>"), "HTML")


# 6 Renamed classes.


@row(55)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('a',)\npersist.alias('gone.$.*', '$.*')")
    assert persist.load(raw(f"gone.{m.__name__}.A", {"a": 1})).a == 1


@row(55)
def _() -> None:
    assert (
        persist.open(raw("theano.scalar.basic.Add", {})).knowledge.resolve(
            "theano.scalar.basic.Add"
        )
        == "pytensor.scalar.basic.Add"
    )


@row(56)
def _() -> None:
    found = persist.open(raw("sklearn.tree.tree.DecisionTreeClassifier", {})).knowledge
    assert (
        found.resolve("sklearn.tree.tree.DecisionTreeClassifier")
        == "sklearn.tree._classes.DecisionTreeClassifier"
    )


@row(57)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('a',)")
    facade = module("")
    facade.Old = m.A
    assert persist.load(raw(f"{facade.__name__}.Old", {"a": 1})).a == 1


@row(58)
@row(60)
def _() -> None:
    record = persist.open(raw("gone.B", {"a": 1})).tree
    record.a = 2
    assert persist.open(saved(record)).tree["a"] == 2


@row(59)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('a',)")
    name = f"{m.__name__}.A"
    record = persist.open(raw(name, {"a": 1})).tree
    assert persist.load(saved(record)).a == 1


@row(61)
def _() -> None:
    m = lab(
        "@persist.migration('$.Dead', 1)\ndef up(s): return persist.Record('builtins.object', {})"
    )
    dead = persist.Record(f"{m.__name__}.Dead", {"a": 1}, version=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = persist.load(saved([dead, 2]))
    assert found[1] == 2 and getattr(found[0], "qualname", "") != dead.qualname


@row(62)
def _() -> None:
    m = lab(
        "class A(persist.Versioned):\n  persistent = {'gone': persist.field(reserved=True), 'a': 1}\nclass B(A):\n  persistent = ('gone',)"
    )
    refuses(lambda: saved(make(m.A, a=1, gone=2)), "reserved")
    refuses(lambda: saved(make(m.B, a=1, gone=2)), "reserved")


@row(63)
def _() -> None:
    state = np.random.RandomState(3)
    state.rand(2)
    old, new = b"numpy.random\n__RandomState_ctor", b"numpy.random._pickle\n__randomstate_ctor"
    assert new in pickle.dumps(state, 2)
    data = pickle.dumps(state, 2).replace(new, old)
    assert persist.load(data).rand() == pickle.loads(pickle.dumps(state)).rand()


# 7 Inheritance.

BASES = "class A(persist.Versioned, version=2, schema='$.A'):\n  persistent = ('a',)\nclass B(A, version=2, schema='$.B'):\n  persistent = ('b',)\npersist.migration(A, 1, ops.rename('x', 'a'))\npersist.migration(B, 1, ops.rename('y', 'b'))"


@row(64)
def _() -> None:
    m = lab(BASES)
    found = persist.load(raw(f"{m.__name__}.B", {"x": 1, "y": 2}), assume_version=1)
    assert (found.a, found.b) == (1, 2)


@row(65)
def _() -> None:
    one = lab("class B(persist.Versioned, schema='$.B'):\n  persistent = ('a', 'b')")
    data = saved(make(one.B, a=1, b=2))
    name = one.__name__
    del one.B
    sys.modules.pop(name)
    two = types.ModuleType(name)
    sys.modules[name] = two
    import gc

    gc.collect()
    exec(
        f"import persist\nclass A(persist.Versioned, schema='{name}.A'):\n  persistent = ('a',)\nclass B(A, schema='{name}.B'):\n  persistent = ('b',)",
        vars(two),
    )
    found = persist.load(data)
    assert (found.a, found.b) == (1, 2)


@row(66)
def _() -> None:
    m = lab(
        "class A(persist.Versioned):\n  persistent = ('x',)\nclass B(persist.Versioned):\n  persistent = ('x',)\nclass C(A, B):\n  persistent = ()"
    )
    refuses(lambda: saved(make(m.C, x=1)), "both declare")


@row(67)
def _() -> None:
    m = lab(
        "class New(persist.Versioned, schema='$.A'):\n  persistent = ('__w',)\n  def get(s): return s.__w\npersist.alias('$.Old', New)"
    )
    assert persist.load(raw(f"{m.__name__}.Old", {"_Old__w": 3})).get() == 3


# 8 Graphs.


@row(69)
def _() -> None:
    shared = [1]
    one, two = again([shared, shared])
    assert one is two


@row(70)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('me',)")
    a = m.A()
    a.me = a
    found = again(a)
    assert found.me is found


@row(71)
def _() -> None:
    m = lab(
        "class N(persist.Versioned, version=2, schema='$.N'):\n  persistent = ('w', 'peer', 'total')\n@persist.migration(N, 1)\ndef up(s): return {**s, 'total': s['w'] + getattr(s['peer'], 'w', 0)}"
    )
    one, two = (persist.Record(f"{m.__name__}.N", {"w": w}, version=1) for w in (5, 7))
    one["peer"], two["peer"] = two, one
    found = persist.load(saved(one))
    assert (found.total, found.peer.total) == (12, 12)


@row(72)
def _() -> None:
    m = lab(
        "class B(persist.Versioned, schema='$.B'):\n  persistent = ('b',)\nclass A(persist.Versioned, version=2, schema='$.A'):\n  persistent = ('a',)\n@persist.migration(A, 1)\ndef up(s): return persist.Record('$.B', {'b': s['a']}, version=1)"
    )
    old = persist.Record(f"{m.__name__}.A", {"a": 1}, version=1)
    one, two = persist.load(saved([old, old]))
    assert one is two and one.b == 1


@row(73)
def _() -> None:
    m = lab(
        "class K(persist.Versioned, version=2, schema='$.K'):\n  persistent = ('k', 'owner')\n  def __hash__(s): return hash(s.k)\n  def __eq__(s, o): return s.k == o.k\npersist.migration(K, 1, ops.rename('n', 'k'))"
    )
    key = persist.Record(f"{m.__name__}.K", {"n": 1, "owner": None}, version=1)
    key.state["owner"] = {key: "here"}
    found = persist.load(saved(key))
    assert found.owner[found] == "here"


@row(74)
def _() -> None:
    deep: Any = None
    for _ in range(20_000):
        deep = [deep]
    found, depth = again(deep), 0
    while found is not None:
        found, depth = found[0], depth + 1
    assert depth == 20_000


# 9 Arrays.


@row(75)
@row(76)
def _() -> None:
    data = saved({"layers": [{"W": np.arange(3.0)}]})
    assert np.load(io.BytesIO(data))["layers/0/W"].tolist() == [0, 1, 2]


@row(77)
def _() -> None:
    persist.save({"a": np.arange(3.0)}, "a.persist")
    found = persist.open("a.persist").arrays["a"]
    assert found[1] == 1.0 and not np.asarray(found).flags.owndata


@row(78)
def _() -> None:
    base = np.arange(4.0)
    one, two = again([base, base[1:]])
    one[1] = 9.0
    assert two[0] == 9.0


@row(79)
def _() -> None:
    assert len(saved({"a": np.zeros(100_000)}, compress="deflate")) < 10_000


@row(79)
def _() -> None:
    tree = {"a": np.zeros(100_000), "b": np.zeros(100_000)}
    data = saved(tree, compress={"a": ("deflate", 9)})
    sizes = {
        one.filename: one.compress_size for one in zipfile.ZipFile(io.BytesIO(data)).infolist()
    }
    assert sizes["a.npy"] < 10_000 and sizes["b.npy"] > 700_000


@row(80)
def _() -> None:
    found = again({"a": np.arange(3, dtype=">i4"), "b": np.ones(2, np.longdouble)})
    assert found["a"].dtype.str == ">i4" and found["b"].dtype == np.longdouble


@row(80)
def _() -> None:
    said = manifest(saved({"b": np.ones(2, np.longdouble)}))["platform"]
    assert said["longdouble"][1] == np.finfo(np.longdouble).nmant


@row(81)
def _() -> None:
    data = raw("theano.sandbox.cuda.type.CudaNdarray", {})
    assert persist.open(data).tree is not None


@row(82)
def _() -> None:
    file = io.BytesIO()
    np.save(file, np.array([1, "a", None], object), allow_pickle=True)
    assert list(persist.load(file.getvalue())) == [1, "a", None]


# 10 Container.


@row(83)
def _() -> None:
    m = lab("@attrs.define\nclass A(persist.Versioned):\n  a: int")
    lab("class Other(persist.Versioned, schema='$.Other'):\n  persistent = ('x',)")
    (entry,) = manifest(saved(m.A(1)))["schemas"]
    assert entry["fields"] == ["a"] and entry["types"] == {"a": "int"}


@row(84)
def _() -> None:
    data = zipfile.ZipFile(io.BytesIO(saved({"n": 5, "s": "text"}))).read("graph.json")
    assert "text" in json.dumps(json.loads(data))


@row(85)
def _() -> None:
    m = lab(STEPS)
    data = saved(make(m.A, a=1), capsule=True)
    assert b"rename" in b"".join(
        zipfile.ZipFile(io.BytesIO(data)).read(n)
        for n in zipfile.ZipFile(io.BytesIO(data)).namelist()
    )


@row(86)
def _() -> None:
    data = bytearray(saved({"a": np.arange(4.0)}, digest="sha256"))
    data[data.index(np.arange(4.0).tobytes()) + 15] ^= 0x40
    refuses(lambda: persist.load(bytes(data)))


@row(87)
def _() -> None:
    assert "key" in run("sign", "--help")


@row(88)
def _() -> None:
    persist.save([1], "a.persist")
    refuses(lambda: persist.save([lambda: 1], "a.persist"))
    assert persist.load("a.persist") == [1] and os.listdir() == ["a.persist"]


@row(89)
def _() -> None:
    assert manifest(saved(1))["version"] in (1, 2) and persist.open(saved(1)).format == "persist"


@row(90)
def _() -> None:
    refuses(lambda: persist.open(saved(np.zeros(3)) + b"x").tree)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.writestr("a.npy", b"x")
        made.writestr("a.npy", b"y")
    refuses(lambda: persist.load(file.getvalue()))


# 11 Partial.


@row(91)
@row(92)
def _() -> None:
    persist.save({"a": np.zeros(10), "b": np.ones(1 << 20)}, "a.persist", metadata={"run": 7})
    file = persist.open("a.persist")
    assert file.structure["metadata"] == {"run": 7} and file.arrays["a"].shape == (10,)


@row(93)
def _() -> None:
    m = lab(STEPS)
    parts = {name: persist.Record(f"{m.__name__}.A", {"x": name}, version=1) for name in "pq"}
    persist.save(parts, "a.persist")
    with persist.open("a.persist") as file:
        assert file.objects["p"].a == "p" and persist.load("a.persist", at="q").a == "q"


@row(94)
def _() -> None:
    m = lab(
        "@attrs.define\nclass V(persist.Versioned, schema='$.V'):\n  n: int = attrs.field(validator=attrs.validators.instance_of(int), metadata={'persist': persist.field(type=int)})"
    )
    parts = [persist.Record(f"{m.__name__}.V", {"n": n}, version=1) for n in (1, "x")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good, bad = persist.load(saved(parts), on_error="record")
    assert good.n == 1 and bad.failure is not None


@row(94)
def _() -> None:
    data = pickle.dumps([1, 2, 3]) + pickle.dumps(list(range(1000)))[:50]
    assert persist.open(data, salvage=True).damage


# 12 Forward.


@row(95)
def _() -> None:
    m = lab("class A(persist.Versioned, version=1):\n  persistent = ('a',)")
    refuses(
        lambda: persist.load(saved(persist.Record(f"{m.__name__}.A", {"a": 1}, version=9))), "9"
    )


@row(96)
def _() -> None:
    m = lab("class A(persist.Versioned):\n  persistent = ('a',)")
    found = persist.load(raw(f"{m.__name__}.A", {"a": 1, "more": 2}), unknown="keep")
    assert persist.open(saved(found)).tree.fields()["more"] == 2


@row(97)
def _() -> None:
    m = lab(STEPS)
    data = saved(make(m.A, a=1), versions={f"{m.__name__}.A": 1})
    assert persist.open(data).tree["x"] == 1


@row(97)
def _() -> None:
    assert "--to-version" in run("convert", "--help")


@row(98)
def _() -> None:
    m = lab(
        "class A(persist.Versioned, version=2):\n  persistent = ('a', 'b')\npersist.migration(A, 1, ops.add('b', 0))"
    )
    refuses(lambda: saved(make(m.A, a=1, b=5), versions={f"{m.__name__}.A": 1}), "b")
    saved(make(m.A, a=1, b=5), versions={f"{m.__name__}.A": 1}, lossy=True)


# 13 CI.


@row(100)
def _() -> None:
    project(CONFIG.format(f"golden{next(_count)}"))
    run("lock")
    run("golden", "make")
    assert list(Path("tests/golden").glob("*.persist"))
    run("check")


@row(101)
def _() -> None:
    assert "foundry" in run("golden", "--help")


@row(102)
def _() -> None:
    name = project(CONFIG.format("against"))
    run("lock")
    Path("old.lock").write_text(Path("schemas.lock").read_text())
    project(CONFIG.format("renamed"), name)
    Path("schemas.lock").unlink()
    run("lock")
    assert "against.Config" in run("check", "--against", "old.lock", status=1)


@row(103)
def _() -> None:
    two_versions("persist.migration(R, 1, ops.convert('x', int))\n")
    run("lock")
    assert "law.R" in run("check", "--coverage", status=1)


@row(104)
def _() -> None:
    import persist.testing

    two_versions(
        "persist.migration(R, 1, ops.convert('x', lambda v: v + 1, inverse=lambda v: v - 1))\n"
    )
    persist.testing.check_schema("law.R", 1)


@row(105)
def _() -> None:
    import persist.testing

    project(CONFIG.format("without"))
    run("lock")
    run("golden", "make")
    persist.testing.check_loads_without("torch")


# 14 Safety.

EVIL = b"cos\nsystem\n(S'touch pwned'\ntR."


@row(106)
@row(111)
def _() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        persist.load(EVIL)
    assert not os.path.exists("pwned")


@row(107)
def _() -> None:
    assert any("system" in finding.name for finding in persist.scan(EVIL).findings)


@row(108)
def _() -> None:
    refuses(lambda: persist.load(EVIL, trust=["os.system"]))
    refuses(lambda: persist.load(EVIL, trust=["*"]))


@row(109)
def _() -> None:
    old = b"(i__main__\nOld\n(dp1\nS'a'\nI1\nsb."
    assert type(persist.open(old).tree).__name__ == "Record"


@row(110)
def _() -> None:
    refuses(lambda: persist.open(pickle.dumps(list(range(100_000))), limits={"opcodes": 100}).tree)


@row(112)
def _() -> None:
    m = lab(
        "log = []\nclass A(persist.Versioned, version=2):\n  persistent = ('a',)\n  def __setstate__(s, t): log.append('class')\n@persist.migration(A, 1)\ndef up(s):\n  log.append('step')\n  return s"
    )
    persist.load(saved(persist.Record(f"{m.__name__}.A", {"a": 1}, version=1)))
    assert m.log == ["step", "class"]


# 15 Tools.


@row(113)
def _() -> None:
    m = lab(BASES)
    persist.save(make(m.B, a=1, b=2), "b.persist")
    text = run("inspect", "b.persist")
    assert ".B" in text


@row(114)
def _() -> None:
    persist.save({"a": 1}, "a.persist")
    persist.save({"a": 2}, "b.persist")
    assert "a" in run("diff", "a.persist", "b.persist", status=1)


@row(115)
def _() -> None:
    m = lab(STEPS)
    Path("a.pkl").write_bytes(raw(f"{m.__name__}.A", {"x": 5}))
    assert "version 1" in run("explain", "a.pkl")


@row(116)
def _() -> None:
    refuses(lambda: persist.open(pickle.dumps(list(range(1000)))[:60]).tree, "truncated")


@row(117)
def _() -> None:
    m = lab(STEPS)
    Path("runs").mkdir()
    for n in range(3):
        Path(f"runs/{n}.pkl").write_bytes(raw(f"{m.__name__}.A", {"x": n}))
    assert m.__name__ in run("survey", "runs")


# 16 Bulk.


def old_file(name: str = "old.pkl") -> Any:
    m = lab(STEPS)
    Path(name).write_bytes(raw(f"{m.__name__}.A", {"x": 5}))
    return m


@row(118)
def _() -> None:
    old_file()
    run("upgrade", "old.pkl", "--dry-run")
    assert os.listdir() == ["old.pkl"]


@row(119)
def _() -> None:
    Path("in").mkdir()
    old_file("in/a.pkl")
    run("upgrade", "in", "--to", "out")
    persist.save({"i": 2}, "in/a.pkl", format="pickle")
    run("upgrade", "in", "--to", "out")
    assert persist.load("out/a.pkl.persist") == {"i": 2}


@row(119)
def _() -> None:
    assert "--jobs" in run("upgrade", "--help")


@row(120)
def _() -> None:
    m = lab(STEPS)
    persist.save(persist.Record(f"{m.__name__}.A", {"x": 5}, version=1), "a.persist")
    before = Path("a.persist").read_bytes()
    run("upgrade", "a.persist", "--in-place", "--keep")
    assert Path("a.persist").read_bytes() != before
    run("undo", "a.persist")
    assert Path("a.persist").read_bytes() == before


@row(120)
def _() -> None:
    m = lab(STEPS)
    Path("d").mkdir()
    persist.save(persist.Record(f"{m.__name__}.A", {"x": 5}, version=1), "d/a.persist")
    before = Path("d/a.persist").read_bytes()
    run("upgrade", "d", "--in-place", "--keep")
    run("undo", "d")
    assert Path("d/a.persist").read_bytes() == before


@row(121)
def _() -> None:
    old_file()
    Path("bad.pkl").write_bytes(b"\x80\x02c")
    text = run("upgrade", "bad.pkl", "old.pkl", status=1)
    assert "bad.pkl" in text and Path("old.pkl.persist").exists()


@row(122)
def _() -> None:
    old_file()
    run("upgrade", "old.pkl")
    before = os.stat("old.pkl.persist").st_mtime_ns
    run("upgrade", "old.pkl")
    assert os.stat("old.pkl.persist").st_mtime_ns == before


@row(123)
def _() -> None:
    m = lab(
        "@attrs.define\nclass V(persist.Versioned, version=2, schema='$.V'):\n  n: int = attrs.field(validator=attrs.validators.instance_of(int))\npersist.migration(V, 1, ops.convert('n', str))"
    )
    Path("v.pkl").write_bytes(raw(f"{m.__name__}.V", {"n": 1}))
    run("upgrade", "v.pkl", status=1)
    assert not Path("v.pkl.persist").exists()


# 17 Provenance.


@row(124)
def _() -> None:
    old_file()
    run("upgrade", "old.pkl")
    text = run("history", "old.pkl.persist")
    assert "old.pkl" in text


@row(125)
def _() -> None:
    m = lab(STEPS)
    persist.save(persist.Record(f"{m.__name__}.A", {"x": 5}, version=1), "a.persist")
    run("upgrade", "a.persist", "--in-place", "--keep")
    assert any(".generations/" in name for name in zipfile.ZipFile("a.persist").namelist())


@row(125)
def _() -> None:
    old_file()  # the upgraded file alone gives the original back
    before = Path("old.pkl").read_bytes()
    run("upgrade", "old.pkl")
    Path("old.pkl").unlink()
    run("undo", "old.pkl.persist")
    assert any(path.read_bytes() == before for path in Path().iterdir())


@row(126)
def _() -> None:
    old_file()
    run("upgrade", "old.pkl")
    steps = persist.open("old.pkl.persist").history[-1]["steps"]
    assert [step[1:3] for step in steps[:2]] == [[1, 2], [2, 3]]
    assert all(len(step[3]) == 16 for step in steps)


# 18 Checkpoints.


@row(127)
def _() -> None:
    with contextlib.closing(persist.Checkpoints("ck", keep_last=2)) as kept:
        for step in range(4):
            kept.save(step, {"w": step})
        assert len(list(kept.steps())) == 2 and kept.restore()["w"] == 3


@row(128)
def _() -> None:
    persist.save({"W": np.ones(3), "more": np.ones(2)}, "a.persist")
    into = {"w": np.zeros(3)}
    report = persist.restore("a.persist", into, match={"W": "w"}, strict=False)
    assert into["w"].tolist() == [1, 1, 1] and "more" in str(report)
    refuses(lambda: persist.restore("a.persist", into, match={"W": "w"}, strict=True))


# 19 Interop.


@row(129)
def _() -> None:
    run("demo", ".")
    assert persist.open("runs/logreg_v1.pkl").arrays


@row(131)
def _() -> None:
    persist.save({"a": 1, "s": "x"}, "a.persist")
    assert json.loads(run("dump", "a.persist"))["s"] == "x"


@row(130)
def _() -> None:
    assert "60 lines" in (Path(__file__).parent / "container.md").read_text()


@row(131)
def _() -> None:
    persist.save({"a": np.arange(3)}, "a.persist")
    for format in ("npz", "safetensors", "hdf5"):
        run("convert", "a.persist", "--to", format)

"""`ops.to_base`, `ops.from_base`: fields that change their owner, by every way in, and back."""

from __future__ import annotations

import io
import itertools
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import persist
from persist import ops
from persist._api.renew import renew
from persist._api.save import save_tree
from persist._upgrade.records import upgrade
from persist.errors import IrreversibleError, SchemaError

LAB = "owners_lab"
_numbers = itertools.count()


def lab(text: str) -> Any:
    """A module of classes with a registry ``r`` of its own."""
    made: Any = types.ModuleType(LAB)
    sys.modules[LAB] = made
    head = f"import persist, attrs, dataclasses\nfrom persist import ops\nr = persist.Registry('{next(_numbers)}')\n"
    exec(compile(head + text, f"<{LAB}>", "exec"), made.__dict__)
    return made


def saved(obj: Any, registry: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file, registry=registry, **options)
    return file.getvalue()


def written(text: str, fields: dict[str, Any], name: str = "A") -> dict[str, bytes]:
    """An instance as each way writes it: a pickle without versions, one with, a container."""
    declared = lab(text)
    obj = getattr(declared, name)()
    for field, value in fields.items():
        setattr(obj, field, value)
    found = {"envelope": pickle.dumps(obj), "container": saved(obj, declared.r)}
    for cls in type(obj).__mro__[::-1]:
        if cls.__module__ == LAB:
            bases = ", ".join(one.__name__ for one in cls.__bases__ if one.__module__ == LAB)
            exec(f"class {cls.__name__}({bases}): pass", declared.__dict__)
    bare = getattr(declared, name)()
    vars(bare).update(vars(obj))
    found["bare"] = pickle.dumps(bare)
    return found


def check(data: dict[str, bytes], today: str, expected: dict[str, Any], folder: Path) -> Any:
    """Every way in gives the expected attributes; the registry of today is returned."""
    made = lab(today)
    registry = made.r
    for how, file in data.items():
        plan = persist.explain(file, registry=registry)
        assert not plan.problems, how
        assert vars(persist.load(file, registry=registry)) == expected, how
        if how != "container":
            assert vars(pickle.loads(file)) == expected, how
            assert [vars(one) for one in _twelve(file)] == [expected] * 12, how
        path = folder / "x.persist"
        with persist.open(file, registry=registry) as opened:
            tree, _ = upgrade(opened.tree, registry, names="schema", read=True)
        save_tree(tree, path, registry=registry)
        assert vars(persist.load(path, registry=registry)) == expected, how
        if how == "container":
            path.write_bytes(file)
            renew(path, registry=registry)
            assert vars(persist.load(path, registry=registry)) == expected
    return made


def _twelve(file: bytes) -> list[Any]:
    """Loaded often enough for compiled code."""
    return [pickle.loads(file) for _ in range(12)]


def goes_down(made: Any, fields: dict[str, Any], versions: dict[str, int]) -> Any:
    obj = made.A()
    vars(obj).update(fields)
    older = saved(obj, made.r, versions=versions)
    assert vars(persist.load(older, registry=made.r)) == fields
    return persist.open(older).tree


OLD = "class A(persist.Versioned, version=2, schema='o.A', registry=r):\n    persistent = ('rate', 'name')\n"
NEW = """
class Base(persist.Versioned, version=3, schema='o.Base', registry=r):
    persistent = ('speed',)
class A(Base, version=5, schema='o.A', registry=r):
    persistent = ('title',)
r.stamp('o.A')(lambda state: 2)
r.migration('o.A', 2, ops.convert('rate', lambda rate: rate + 1, inverse=lambda rate: rate - 1))
r.migration('o.A', 3, ops.to_base('o.Base', 'rate'))
r.migration('o.A', 4, ops.rename('name', 'title'))
r.migration('o.Base', 1, ops.rename('rate', 'speed'))
r.migration('o.Base', 2, ops.convert('speed', lambda rate: rate * 10, inverse=lambda rate: rate // 10))
"""


def test_steps_of_both_classes_in_their_order(tmp_path: Path) -> None:
    made = check(written(OLD, {"rate": 3, "name": "x"}), NEW, {"speed": 40, "title": "x"}, tmp_path)
    tree = goes_down(made, {"speed": 40, "title": "x"}, {"o.A": 2})
    assert tree.fields() == {"rate": 3, "name": "x"}
    goes_down(made, {"speed": 40, "title": "x"}, {"o.A": 4})
    goes_down(made, {"speed": 40, "title": "x"}, {"o.A": 3, "o.Base": 1})
    with pytest.raises(SchemaError, match=r"'o.Base' is later.*version 1 or an older one"):
        goes_down(made, {"speed": 40, "title": "x"}, {"o.A": 3, "o.Base": 2})


@pytest.mark.parametrize("op", ["'rate'", "'rate', optional=True"])
def test_a_plan_shows_the_transfer_and_the_class_that_came_later(op: str) -> None:
    data = written(OLD, {"rate": 3, "name": "x"})
    made = lab(NEW.replace("'o.Base', 'rate'", f"'o.Base', {op}"))
    text = str(persist.explain(data["container"], registry=made.r))
    assert "o.Base: version 1 (new since the file = 1) to 3" in text
    assert "to_base('o.Base', 'rate'" in text


def test_a_field_that_was_called_as_the_base_calls_it_today(tmp_path: Path) -> None:
    today = NEW.replace(
        "r.migration('o.A', 2, ", "r.migration('o.A', 2, ops.rename('speed', 'rate'), "
    )
    old = OLD.replace("'rate'", "'speed'")
    made = check(
        written(old, {"speed": 3, "name": "x"}), today, {"speed": 40, "title": "x"}, tmp_path
    )
    assert goes_down(made, {"speed": 40, "title": "x"}, {"o.A": 2})["speed"] == 3


@pytest.mark.parametrize(
    "step",
    [
        "@r.migration('o.A', 2)\ndef up(state): return {**state, 'rate': state['rate'] + 1}",
        "@r.migration('o.A', 2)\ndef up(state):\n    return {'rate': state.pop('rate') + 1, 'name': state['name']}",
        "@r.migration('o.A', 2)\ndef up(state):\n    return {k: v + 1 if k == 'rate' else v for k, v in state.items()}",
        "@r.migration('o.A', 2)\ndef up(state, record):\n    record.state['rate'] += 1\n    return record",
    ],
)
def test_functions_of_the_class_see_the_field(step: str, tmp_path: Path) -> None:
    today = "\n".join(line for line in NEW.splitlines() if "'o.A', 2" not in line)
    data = written(OLD, {"rate": 3, "name": "x"})
    check(data, f"{today}\n{step}", {"speed": 40, "title": "x"}, tmp_path)


@pytest.mark.parametrize("kind", ["slots", "attrs", "dataclass", "open"])
def test_every_kind_of_class(kind: str) -> None:
    body = {
        "slots": "    __slots__ = ('title',)",
        "attrs": "    title: object = None",
        "dataclass": "    title: object = None",
        "open": "    pass",
    }[kind]
    head = {"attrs": "@attrs.define(slots=False)\n", "dataclass": "@dataclasses.dataclass\n"}
    today = NEW.replace("class A(", f"{head.get(kind, '')}class A(").replace(
        "    persistent = ('title',)", body
    )
    for how, file in written(OLD, {"rate": 3, "name": "x"}).items():
        made = lab(today)
        loads = [lambda file=file, r=made.r: persist.load(file, registry=r)]
        loads += [lambda file=file: pickle.loads(file)] * (how != "container")
        for load in loads:
            obj = load()
            assert (obj.speed, obj.title) == (40, "x"), how


BOTH = """
class Base(persist.Versioned, version=2, schema='o.Base', registry=r):
    persistent = ('n',)
class A(Base, version=2, schema='o.A', registry=r):
    persistent = ('rate',)
"""


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_base_that_was_there_is_brought_to_the_version_of_that_time(
    at: int, tmp_path: Path
) -> None:
    """Each step of the base multiplies what it has: the field gets those after it came."""
    today = f"""
class Base(persist.Versioned, version=4, schema='o.Base', registry=r):
    persistent = ('n', 'rate')
class A(Base, version=4, schema='o.A', registry=r):
    persistent = ()
r.stamp('o.A')(lambda state: 2)
r.stamp('o.Base')(lambda state: 2)
for number, factor in (2, 3), (3, 5):
    def up(state, factor=factor): return {{name: value * factor for name, value in state.items()}}
    r.migration('o.Base', number)(up).downgrade(
        lambda state, factor=factor: {{name: value // factor for name, value in state.items()}})
r.migration('o.A', 2, ops.convert('rate', lambda rate: rate + 1, inverse=lambda rate: rate - 1))
r.migration('o.A', 3, ops.to_base('o.Base', 'rate', version={at}))
"""
    expected = {"n": 15, "rate": 4 * {2: 15, 3: 5, 4: 1}[at]}
    made = check(written(BOTH, {"n": 1, "rate": 3}), today, expected, tmp_path)
    assert goes_down(made, expected, {"o.A": 2, "o.Base": 2}).fields() == {"n": 1, "rate": 3}


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_base_that_gives_a_field_back(is_gone: bool, tmp_path: Path) -> None:
    base = "persist.Versioned" if is_gone else "Base"
    today = f"""
class Base(persist.Versioned, version=4, schema='o.Base', registry=r):
    persistent = ()
class A({base}, version=4, schema='o.A', registry=r):
    persistent = ('rate', 'm')
r.stamp('o.A')(lambda state: 2)
r.stamp('o.Base')(lambda state: 2)
r.migration('o.Base', 2, ops.rename('n', 'm'))
r.migration('o.Base', 3, ops.add('z', 0), ops.drop('z', default=0))
r.migration('o.A', 2, ops.from_base('o.Base', 'm', version=3))
r.migration('o.A', 3, ops.convert('m', lambda m: m * 7, inverse=lambda m: m // 7))
"""
    made = check(written(BOTH, {"n": 1, "rate": 3}), today, {"rate": 3, "m": 7}, tmp_path)
    obj = made.A()
    obj.rate, obj.m = 3, 7
    older = saved(obj, made.r, versions={"o.A": 2}, lossy=True)
    assert vars(persist.load(older, registry=made.r)) == {"rate": 3, "m": 7}


def test_a_field_moves_twice_and_a_class_between_is_gone(tmp_path: Path) -> None:
    """From the class to a middle one, from there to the top, and the middle is no base any more."""
    old = "class A(persist.Versioned, schema='o.A', registry=r):\n    persistent = ('__rate',)\n    def __init__(self): self.__rate = 1\n"
    today = """
class Top(persist.Versioned, version=2, schema='o.Top', registry=r):
    persistent = ('__rate',)
    def rate(self): return self.__rate
class A(Top, version=3, schema='o.A', registry=r):
    persistent = ()
r.stamp('o.A')(lambda state: 1)
r.register('o.Middle', version=2)
r.migration('o.A', 1, ops.to_base('o.Middle', '__rate'))
r.migration('o.A', 2, ops.add('z', 0), ops.drop('z', default=0))
r.migration('o.Middle', 1, ops.convert('__rate', lambda rate: rate + 1, inverse=lambda rate: rate - 1),
            ops.to_base('o.Top', '__rate'))
r.migration('o.Top', 1, ops.convert('__rate', lambda rate: rate * 10, inverse=lambda rate: rate // 10))
"""
    made = check(written(old, {}), today, {"_Top__rate": 20}, tmp_path)
    assert pickle.loads(written(old, {})["bare"])._A__rate == 1  # the fake of that time
    sys.modules[LAB] = made
    goes_down(made, {"_Top__rate": 20}, {"o.A": 1})


def test_two_classes_that_wait_for_each_other_are_an_error() -> None:
    data = written(BOTH, {"n": 1, "rate": 3})
    made = lab(
        BOTH.replace("version=2", "version=4")
        + "r.stamp('o.A')(lambda state: 2)\nr.stamp('o.Base')(lambda state: 2)\n"
        "r.migration('o.A', 2, ops.from_base('o.Base', 'n', version=4))\n"
        "r.migration('o.A', 3, ops.to_base('o.Base', 'n', version=2))\n"
        "r.migration('o.Base', '2-3', ops.add('z', 0), ops.drop('z'))\n"
        "r._migrations['o.Base'].clear()\n"
        "r.migration('o.Base', 2, ops.add('z', 0))\nr.migration('o.Base', 3, ops.drop('z'))\n"
    )
    with pytest.raises(SchemaError, match="wait for each other"):
        persist.load(data["container"], registry=made.r)


def test_a_name_that_is_there_already_is_not_overwritten() -> None:
    both = BOTH.replace("('n',)", "('rate',)").replace("('rate',)\n", "('rate',)\n", 1)
    old = lab(BOTH.replace("persistent = ('n',)", "persistent = ('x',)"))
    obj = old.A()
    obj.x, obj.rate = 1, 2
    data = saved(obj, old.r)
    made = lab(
        both.replace("version=2", "version=3")
        + "r.migration('o.Base', 2, ops.rename('x', 'rate'))\n"
        "r.migration('o.A', 2, ops.to_base('o.Base', 'rate', version=3))\n"
    )
    with pytest.raises(SchemaError, match="there is a 'rate' already"):
        persist.load(data, registry=made.r)


def test_what_is_no_transfer_is_refused() -> None:
    with pytest.raises(TypeError, match="names no field"):
        ops.to_base("o.Base")
    with pytest.raises(TypeError, match="is no class that inherits Versioned"):
        ops.to_base(int, "x")
    with pytest.raises(ValueError, match="positive integer"):
        ops.from_base("o.Base", "x", version=0)
    made = lab(BOTH)
    assert ops.to_base(made.Base, "x").base == "o.Base"
    op = ops.to_base("o.Base", "x", "y", version=3, optional=True)
    assert ops.from_json(ops.to_json(op)) == op
    assert op.inverse().inverse() == op
    assert str(op) == "to_base('o.Base', 'x', 'y', version=3, optional)"


def test_a_field_that_is_missing_is_an_error_and_one_that_may_be_is_not() -> None:
    data = written(OLD.replace("'rate', 'name'", "'name',"), {"name": "x"})
    today = """
class Base(persist.Versioned, schema='o.Base', registry=r):
    persistent = {'rate': 5}
class A(Base, version=3, schema='o.A', registry=r):
    persistent = ('name',)
r.stamp('o.A')(lambda state: 2)
r.migration('o.A', 2, ops.to_base('o.Base', 'rate'))
"""
    for file in data.values():
        made = lab(today)
        with pytest.raises(persist.PersistError, match="there is no 'rate'"):
            persist.load(file, registry=made.r)
        made = lab(today.replace("'o.Base', 'rate'", "'o.Base', 'rate', optional=True"))
        assert vars(persist.load(file, registry=made.r)) == {"rate": 5, "name": "x"}


def test_the_steps_that_a_file_brings_are_no_transfers() -> None:
    """A program that does not know the class reads the file; nothing is damaged."""
    made = lab(NEW)
    obj = made.A()
    obj.speed, obj.title = 1, "x"
    data = saved(obj, made.r)
    empty = persist.Registry("empty")
    assert persist.open(data, registry=empty).tree["speed"] == 1
    assert not persist.explain(data, registry=empty).problems


def test_the_losses_of_a_transfer_are_those_of_the_steps() -> None:
    made = lab(NEW)
    obj = made.A()
    obj.speed, obj.title = 41, "x"
    with pytest.raises(IrreversibleError, match="speed = 41"):
        saved(obj, made.r, versions={"o.A": 2})

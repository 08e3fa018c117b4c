"""Arguments and items are state: steps see them in one form, whichever protocol wrote them."""

from __future__ import annotations

import collections
import io
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

import persist
from persist.errors import MigrationFailedError, SchemaError

PROTOCOLS = range(6)


@pytest.fixture
def make() -> Iterator[Any]:
    """Makes the module ``args_lab`` anew of a text, as another release of it."""

    def module(text: str) -> Any:
        found: Any = types.ModuleType("args_lab")
        found.registry = persist.Registry("args")
        sys.modules["args_lab"] = found
        exec(f"import collections, persist, typing\n{text}", found.__dict__)
        return found

    yield module
    sys.modules.pop("args_lab", None)


def pickles(make: Any, old: str, made: str) -> list[bytes]:
    lab = make(old)
    return [pickle.dumps(eval(made, {"lab": lab}), protocol) for protocol in PROTOCOLS]


def loaded(data: bytes, lab: Any) -> Any:
    found = persist.load(data, registry=lab.registry)
    assert persist.explain(data, registry=lab.registry).problems == []
    return found


POINT = "P = collections.namedtuple('P', 'x y')"
STEP = """
@registry.migration('args.P', 1)
def add(state):
    return {**state, 'z': 0}
"""


def test_a_named_tuple_gets_a_part(make: Any) -> None:
    old = pickles(make, POINT, "lab.P(1, 2)")
    lab = make(
        "P = collections.namedtuple('P', 'x y z')\n"
        "registry.register(P, version=2, schema='args.P', layouts={1: ('x', 'y')})" + STEP
    )
    for data in old:
        found = loaded(data, lab)
        assert type(found) is lab.P
        assert tuple(found) == (1, 2, 0)
    for protocol in PROTOCOLS:  # of today, told by the number of its parts
        assert tuple(loaded(pickle.dumps(lab.P(1, 2, 3), protocol), lab)) == (1, 2, 3)


def test_without_names_a_step_gets_the_tuple(make: Any) -> None:
    old = pickles(make, POINT, "lab.P(1, 2)")
    lab = make(
        "P = collections.namedtuple('P', 'x y z')\nregistry.register(P, version=2, schema='args.P')\n"
        "registry.migration('args.P', 1)(lambda state: (*state, 0))"
    )
    assert [tuple(loaded(data, lab)) for data in old] == [(1, 2, 0)] * 6


def test_a_named_tuple_that_lacks_a_part_is_no_shorter_tuple(make: Any) -> None:
    old = pickles(make, POINT, "lab.P(1, 2)")
    lab = make("P = collections.namedtuple('P', 'x y z')\nregistry.register(P, schema='args.P')")
    for data in old:
        with pytest.raises(SchemaError, match="x, y, z"):
            persist.load(data, registry=lab.registry)


def test_a_named_tuple_becomes_a_class_and_a_class_a_named_tuple(make: Any) -> None:
    old = pickles(make, POINT, "lab.P(1, 2)")
    as_class = "class P(persist.Versioned, version=2, schema='args.P', registry=registry, layouts={1: ('x', 'y')}):\n    persistent = ('x', 'y', 'z')"
    lab = make(as_class + STEP)
    assert [vars(loaded(data, lab)) for data in old] == [{"x": 1, "y": 2, "z": 0}] * 6
    back = pickles(make, "class P:\n    def __init__(self): self.x, self.y = 1, 2", "lab.P()")
    lab = make(
        "P = collections.namedtuple('P', 'x y z')\nregistry.register(P, version=2, schema='args.P')"
        + STEP
    )
    for data in back:
        assert tuple(loaded(data, lab)) == (1, 2, 0)
        assert type(loaded(data, lab)) is lab.P


def test_arguments_of_new_are_the_state_of_a_class_that_has_none(make: Any) -> None:
    old = (
        "class P:\n    def __new__(cls, x): return object.__new__(cls)\n"
        "    def __getnewargs__(self): return (7,)\n    def __getstate__(self): return None"
    )
    data = pickles(make, old, "lab.P(7)")[2:]  # earlier protocols leave the arguments out
    lab = make(
        "class P(persist.Versioned, version=2, schema='args.P', registry=registry):\n    persistent = ('x',)\n"
        "registry.migration(P, 1)(lambda state: {'x': state[0]})"
    )
    assert [vars(loaded(one, lab)) for one in data] == [{"x": 7}] * 4


@pytest.mark.parametrize(
    ("base", "value", "seen"),
    [
        ("list", "[1, 2]", ("listitems", [1, 2])),
        ("dict", "{1: 2}", ("dictitems", [(1, 2)])),
        ("int", "4", ("args", (4,))),
        ("str", "'abc'", ("args", ("abc",))),
    ],
)
def test_items_are_the_same_in_every_protocol(make: Any, base: str, value: str, seen: Any) -> None:
    old = pickles(make, f"class P({base}): pass", f"lab.P({value})")
    lab = make(
        "class P(persist.Versioned, version=2, schema='args.P', registry=registry):\n    persistent = ('v',)\n"
        "seen = []\n@registry.migration(P, 1)\ndef step(state, record):\n"
        "    seen.append((record.args, record.listitems, record.dictitems))\n    return {'v': 1}"
    )
    for data in old:
        loaded(data, lab)
    name, wanted = seen
    at = ("args", "listitems", "dictitems").index(name)
    assert [one[at] for one in lab.seen] == [wanted] * len(lab.seen)


def test_keywords_are_seen(make: Any) -> None:
    old = (
        "class P:\n    def __new__(cls, *, x=0): return object.__new__(cls)\n"
        "    def __getnewargs_ex__(self): return (), {'x': 5}\n    def __getstate__(self): return {'y': 1}"
    )
    lab = None
    for data in pickles(make, old, "lab.P()")[2:]:
        lab = make(
            "class P(persist.Versioned, version=2, schema='args.P', registry=registry):\n    persistent = ('x', 'y')\n"
            "registry.migration(P, 1)(lambda state, record: {**state, **record.kwargs})"
        )
        assert vars(loaded(data, lab)) == {"x": 5, "y": 1}


def test_plain_pickle_refuses_what_it_cannot_do(make: Any) -> None:
    lab = make("class P(persist.Versioned, list, schema='args.P', registry=registry):\n    pass")
    data = pickle.dumps(lab.P([1]))
    lab = make(
        "class P(persist.Versioned, list, version=2, schema='args.P', registry=registry):\n    pass\n"
        "@registry.migration(P, 1)\ndef step(state, record):\n    record.listitems.append(2)\n    return state"
    )
    with pytest.raises(SchemaError, match="Load the file with persist.load"):
        pickle.loads(data)
    assert list(persist.load(data, registry=lab.registry)) == [1, 2]


def test_a_key_cannot_become_a_list(make: Any) -> None:
    lab = make(
        "class P(persist.Versioned, schema='args.P', registry=registry):\n    persistent = ('x',)\n"
    )
    one = lab.P()
    one.x = 1
    data = pickle.dumps({"set": {one}})
    lab = make(
        "class P(persist.Versioned, version=2, schema='args.P', registry=registry):\n    persistent = ('x',)\n"
        "registry.migration(P, 1)(lambda state: persist.ops.Instead([state['x']]))"
    )
    with pytest.raises(MigrationFailedError, match="no hash"):
        persist.load(data, registry=lab.registry)


def test_a_step_that_loads_its_own_pickle_is_told_so_once(make: Any, tmp_path: Any) -> None:
    lab = make(
        "class P(persist.Versioned, schema='args.P', registry=registry):\n    persistent = ('x',)\n"
    )
    one = lab.P()
    one.x = 1
    (tmp_path / "own.pkl").write_bytes(pickle.dumps(one))
    lab = make(
        "class P(persist.Versioned, version=2, schema='args.P', registry=registry):\n    persistent = ('x',)\n"
        "@registry.migration(P, 1)\ndef step(state):\n    import pathlib, pickle\n"
        f"    return pickle.loads(pathlib.Path({str(tmp_path / 'own.pkl')!r}).read_bytes())"
    )
    with pytest.raises(SchemaError, match="file that is being loaded") as caught:
        pickle.loads((tmp_path / "own.pkl").read_bytes())
    assert len(str(caught.value)) < 1000


class Grouped(collections.defaultdict[Any, Any]):
    pass


persist.register(Grouped, schema="arguments.Grouped")


@pytest.mark.packs  # protocols 0 to 2 say __builtin__
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("factory", [list, None])
def test_the_factory_of_a_pickled_defaultdict_is_a_field_here(protocol: int, factory: Any) -> None:
    data = pickle.dumps(Grouped(factory, a=[1]), protocol)
    assert not persist.explain(data).problems
    made = persist.load(data)
    file = io.BytesIO()
    persist.save(made, file)
    for one in (made, persist.load(file.getvalue())):
        assert type(one) is Grouped
        assert one == {"a": [1]}
        assert one.default_factory is factory

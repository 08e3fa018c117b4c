"""save: whatever is saved loads as what it was; formats, suffixes, classes that vanish and return."""

from __future__ import annotations

import collections
import dataclasses
import enum
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist.errors import FormatError, OpaqueWarning, SchemaError, UnknownSchemaError
from persist.tree import Global, Record

LAB = persist.Registry("lab of test_save")
CORPUS = Path(__file__).parents[1] / "corpus"


@attrs.define(eq=False)
class Layer(persist.Versioned, version=2, schema="lab.Layer", registry=LAB):
    weights: Any
    below: Any = None


@dataclasses.dataclass
class Point(persist.Versioned, schema="lab.Point", registry=LAB):
    x: Any
    y: Any = 0.0


class Plain(persist.Versioned, schema="lab.Plain", registry=LAB):
    persistent = ("items",)


class Coded(persist.Versioned, version=3, schema="lab.Coded", registry=LAB):
    def __getstate__(self) -> Any:
        return (self.first, self.second)

    def __setstate__(self, state: Any) -> None:
        self.first, self.second = state


class Bag(persist.Versioned, list, schema="lab.Bag", registry=LAB):
    pass


class Table(persist.Versioned, dict, schema="lab.Table", registry=LAB):
    pass


class Base(persist.Versioned, version=2, schema="lab.Base", registry=LAB):
    persistent = ("common",)


class Heir(Base, version=5, schema="lab.Heir", registry=LAB):
    persistent = ("own",)


class Mood(enum.Enum):
    GLAD = 1


class Foreign:
    """A class that cannot inherit."""

    def __init__(self, a: Any) -> None:
        self.a = a


LAB.register(Foreign, version=1, fields=("a",), schema="lab.Foreign")
LAB.constant("lab.glad", Mood.GLAD)
LAB.constant("lab.tanh", np.tanh)


def made(kind: int, inner: Any) -> Any:
    if kind == 0:
        return Layer(inner)
    if kind == 1:
        return Point(inner, 2.5)
    if kind == 2:
        plain = Plain()
        plain.items = inner
        return plain
    if kind == 3:
        coded = Coded()
        coded.first, coded.second = inner, "second"
        return coded
    if kind == 4:
        bag = Bag([inner])
        bag.tag = 1
        return bag
    if kind == 5:
        return Table({"k": inner, ("t", 2): None})
    if kind == 6:
        heir = Heir()
        heir.common, heir.own = inner, [inner]
        return heir
    return Foreign(inner)


def is_same(one: Any, other: Any, seen: dict[int, int]) -> bool:
    """Whether two graphs are alike: values, types, sharing."""
    stack = [(one, other)]
    while stack:
        a, b = stack.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, int | float | str | bytes | type(None) | complex | enum.Enum | np.ufunc):
            if a is not b and a != b and not (a != a and b != b):
                return False
            continue
        if id(a) in seen:
            if seen[id(a)] != id(b):
                return False
            continue
        seen[id(a)] = id(b)
        if isinstance(a, np.ndarray):
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                return False
            continue
        if isinstance(a, set | frozenset):
            if a != b:
                return False
            continue
        if isinstance(a, dict):
            if list(a) != list(b):
                return False
            stack += [(a[key], b[key]) for key in a]
        elif isinstance(a, list | tuple | collections.deque):
            if len(a) != len(b):
                return False
            stack += list(zip(a, b, strict=True))
        names = sorted(getattr(a, "__dict__", {}))
        if names != sorted(getattr(b, "__dict__", {})):
            return False
        names += [
            name
            for cls in type(a).__mro__
            for name in getattr(cls, "__slots__", ())
            if name != "__weakref__"
        ]
        stack += [(getattr(a, n), getattr(b, n)) for n in names if hasattr(a, n)]
    return True


keys = st.one_of(st.text(max_size=4), st.integers(), st.tuples(st.integers(), st.text(max_size=2)))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.binary(max_size=6),
    st.complex_numbers(allow_nan=False),
    st.sampled_from([np.tanh, Mood.GLAD, np.arange(3.0), np.zeros((0, 2)), np.array(7, "i2")]),
    st.frozensets(st.integers(), max_size=3),
)
graphs = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=3).map(collections.OrderedDict),
        inner.map(lambda item: [item, item]),  # shared
        st.builds(made, st.integers(0, 7), inner),
    ),
    max_leaves=12,
)


@settings(max_examples=examples(80))
@given(graphs)
def test_load_of_save_is_the_same(tmp_path_factory: pytest.TempPathFactory, graph: Any) -> None:
    path = tmp_path_factory.mktemp("save") / "x.persist"
    persist.save(graph, path, durable=False, registry=LAB)
    assert is_same(graph, persist.load(path, registry=LAB), {})


def test_cycles_through_objects(tmp_path: Path) -> None:
    one, two = Layer(np.ones(2)), Plain()
    one.below, two.items = two, [one, {"one": one}]
    persist.save(one, tmp_path / "x.persist", registry=LAB)
    again = persist.load(tmp_path / "x.persist", registry=LAB)
    assert again.below.items[0] is again
    assert again.below.items[1]["one"] is again


def test_arrays_that_share_memory_still_do(tmp_path: Path) -> None:
    whole = np.arange(12.0).reshape(3, 4)
    net = Layer(whole, whole[1])
    persist.save(net, tmp_path / "x.persist", registry=LAB)
    again = persist.load(tmp_path / "x.persist", registry=LAB)
    again.weights[1, 2] = -1
    assert again.below[2] == -1
    assert persist.load(tmp_path / "x.persist", registry=LAB).weights[1, 2] == 6  # private


def test_numpy_alone_opens_it(tmp_path: Path) -> None:
    net = {"layers": [Layer(np.ones((2, 3)))], "n": 3}
    persist.save(net, tmp_path / "x.persist", registry=LAB)
    with np.load(tmp_path / "x.persist") as arrays:
        np.testing.assert_array_equal(arrays["layers/0/weights"], np.ones((2, 3)))


def test_a_class_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    """Opaque records are kept whole, edited, saved again, and heal and migrate."""
    old = persist.Registry("then")

    class Net(persist.Versioned, version=1, schema="lab.Net", registry=old):
        __qualname__ = "Net"  # a local class could not be found again
        persistent = ("W", "b")

    net = Net()
    net.W, net.b = np.ones(3), [1, 2]
    persist.save({"net": net}, tmp_path / "1.persist", registry=old)

    with pytest.warns(OpaqueWarning, match=r"lab\.Net"):
        loaded = persist.load(tmp_path / "1.persist", registry=persist.Registry("nothing known"))
    record = loaded["net"]
    assert isinstance(record, Record)
    assert record.version == 1
    assert record.W.tolist() == [1, 1, 1]
    record.b = [3]
    persist.save(loaded, tmp_path / "2.persist")
    persist.save(loaded, tmp_path / "2.pkl", format="pickle")

    new = persist.Registry("now")

    @attrs.define(eq=False)
    class Today(persist.Versioned, version=2, schema="lab.Net", registry=new):
        weights: Any
        bias: Any

    new.migration(Today, 1, persist.ops.rename({"W": "weights", "b": "bias"}))
    for name in ("2.persist", "2.pkl"):
        healed = persist.load(tmp_path / name, registry=new)["net"]
        assert type(healed) is Today
        assert (healed.weights.tolist(), healed.bias) == ([1, 1, 1], [3])


def test_yesterdays_layout_for_yesterdays_code(tmp_path: Path) -> None:
    now = persist.Registry("now")

    class Net(persist.Versioned, version=2, schema="lab.Net", registry=now):
        __qualname__ = "Net"
        persistent = ("weights",)

    now.migration(Net, 1, persist.ops.rename({"W": "weights"}))
    net = Net()
    net.weights = [1.0]
    persist.save(net, tmp_path / "x.pkl", format="pickle", versions={"lab.Net": 1}, registry=now)
    tree = persist.open(tmp_path / "x.pkl").tree
    assert dict(tree.fields()) == {"W": [1.0]}


def test_the_manifest_states_the_version_that_was_written(tmp_path: Path) -> None:
    now, then = persist.Registry("now"), persist.Registry("then")

    class Net(persist.Versioned, version=3, schema="lab.Net", registry=now):
        __qualname__ = "Net"
        persistent = ("weights",)

    now.migration(Net, 1, persist.ops.rename({"W": "weights"}))
    now.migration(Net, 2, persist.ops.scale("weights", 2.0))
    now.older_layouts(Net, {1: {"W"}})
    for version, releases in enumerate((">=1.0,<2", ">=2.0,<3", ">=3.0"), 1):
        now.released(Net, version, releases)

    class Older(persist.Versioned, version=1, schema="lab.Net", registry=then):
        __qualname__ = "Older"
        persistent = ("W",)

    net = Net()
    net.weights = 4.0
    for version, fields in ((1, ["W"]), (2, []), (3, ["weights"])):
        path = tmp_path / f"{version}.persist"
        persist.save(net, path, versions={"lab.Net": version}, registry=now)
        with persist.open(path, registry=now) as file:
            (entry,) = file.structure["schemas"]
        assert entry["version"] == version
        assert entry["fields"] == fields
        assert bool(entry["fingerprint"]) == (version == 3)
        assert entry["reader"] == {"version": version, "release": f"{version}.0"}
        assert persist.load(path, registry=now).weights == 4.0
    assert persist.load(tmp_path / "1.persist", registry=then).W == 2.0
    with pytest.raises(persist.errors.PersistError, match="version"):
        persist.load(tmp_path / "3.persist", registry=then)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol(tmp_path: Path, protocol: int) -> None:
    net = [Point(np.arange(2.0)), {"a": (1, 2.5)}]
    persist.save(net, tmp_path / "x.pkl", format="pickle", protocol=protocol)
    point, rest = pickle.loads((tmp_path / "x.pkl").read_bytes())
    assert type(point) is Point
    assert point.x.tolist() == [0, 1]
    assert rest == {"a": (1, 2.5)}


def test_npz_and_what_it_cannot_hold(tmp_path: Path) -> None:
    net = {"a": np.ones(2), "b": {"c": np.zeros((1, 2)), "rate": 0.5, "name": "net"}}
    persist.save(net, tmp_path / "x.npz", format="npz", compress="deflate")
    with np.load(tmp_path / "x.npz") as arrays:
        assert sorted(arrays) == ["a", "b/c", "b/name", "b/rate"]
        assert arrays["b/rate"] == 0.5
    with pytest.raises(FormatError, match="'b/d'") as caught:
        persist.save({"b": {"d": None}}, tmp_path / "y.npz", format="npz")
    assert 'format="persist"' in str(caught.value)
    assert not (tmp_path / "y.npz").exists()


def test_a_suffix_of_another_format_is_refused_with_the_cure(tmp_path: Path) -> None:
    for name, wanted in (("a.pt", "torch"), ("a.npz", "npz"), ("a.pkl", "pickle")):
        with pytest.raises(FormatError, match=f'format="{wanted}'):
            persist.save({}, tmp_path / name)
    with pytest.raises(FormatError, match="no format 'yaml'"):
        persist.save({}, tmp_path / "a", format="yaml")
    persist.save({}, tmp_path / "a.dat")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.dat"]


def test_what_cannot_be_saved_is_refused_with_place_and_way_out(tmp_path: Path) -> None:
    class Unknown:
        pass

    with pytest.raises(UnknownSchemaError, match=r"net/0: .*Unknown") as caught:
        persist.save({"net": [Unknown()]}, tmp_path / "x.persist")
    assert "persist.register" in str(caught.value)
    with pytest.raises(SchemaError, match=r"(?i)lambda"):
        persist.save({"f": lambda: 1}, tmp_path / "x.persist")
    with pytest.raises(SchemaError, match=r"persist\.constant"):
        persist.save([np.arctan2], tmp_path / "x.persist")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["persist", "pickle"])
@pytest.mark.parametrize(
    "factory", [dict, collections.OrderedDict, collections.Counter, collections.deque]
)
def test_the_factory_of_a_defaultdict_comes_back(tmp_path: Path, factory: Any, format: str) -> None:
    made = collections.defaultdict(factory, {"a": factory()})
    made["me"] = made
    for place, written in enumerate((made, Layer(made, made))):
        path = tmp_path / str(place)
        persist.save(written, path, format=format)
        loaded = persist.load(path, registry=LAB)
        found = loaded if place == 0 else loaded.below
        assert type(found) is collections.defaultdict
        assert found.default_factory is factory
        assert found["me"] is found
        assert found["new"] == factory()
    assert loaded.weights is loaded.below


def test_a_class_as_a_value_is_refused_with_the_way_out(tmp_path: Path) -> None:
    class Plain:
        pass

    LAB.register(Plain, schema="lab.PlainValue")
    for value in (Plain, Layer, enum.Enum("E", "A"), type("Loose", (), {})):
        with pytest.raises(SchemaError, match=r"cannot be saved as a value.*persist\.constant"):
            persist.save({"x": [value]}, tmp_path / "x.persist")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.persist"
    persist.save([1], path)
    with pytest.raises(SchemaError):
        persist.save([object()], path)
    assert persist.load(path) == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_metadata_is_kept(tmp_path: Path) -> None:
    persist.save([1], tmp_path / "x.persist", metadata={"run": "2016-03"})
    assert persist.open(tmp_path / "x.persist").structure["metadata"] == {"run": "2016-03"}


def test_globals_and_records_of_any_kind_survive(tmp_path: Path) -> None:
    tree = [
        Global("lab", "tanh"),
        Record("gone.A", (1, [2]), kind="obj", args=(3,)),
        Record("gone.B", kind="reduce", maker=Global("gone", "make"), args=("x",)),
        Record("gone.C", {"a": 1}, kind="newobj_ex", kwargs={"k": 2}, listitems=[1]),
        Record("gone.D", kind="newobj", dictitems=[(("k", 1), "v")]),
    ]
    persist.save(tree, tmp_path / "x.persist")
    again = persist.open(tmp_path / "x.persist").tree
    assert again[0] == tree[0]
    for before, after in zip(tree[1:], again[1:], strict=True):
        for name in ("cls", "maker", "kind", "args", "kwargs", "state", "listitems", "dictitems"):
            assert getattr(after, name) == getattr(before, name), name


# What is loaded as NumPy's own, and saved in the form that NumPy has today: tests/trees/test_numpy_random.py.
LIVE = ("pickle-py27-randomstate",)
CASES = [
    path.parent
    for family in ("pickle", "numpy")
    for path in sorted((CORPUS / family).glob("*/expected.json"))
    if path.parent.name not in LIVE
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_loaded_from_old_files_and_saved_has_the_same_inside(
    case: Path, tmp_path: Path
) -> None:
    source = case / json.loads((case / "expected.json").read_text("utf-8"))["file"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpaqueWarning)
        persist.save(persist.load(source), tmp_path / "x.persist")
    before, after = persist.open(source), persist.open(tmp_path / "x.persist")
    for name, array in before.arrays.items():
        found = np.asarray(after.arrays[name])
        assert found.dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found, np.asarray(array))
    for name, value in before.scalars.items():
        found = after.scalars[name]
        if isinstance(value, Global):  # by its name of today
            assert found.name == value.name, name
        else:
            assert found == value or repr(found) == repr(value), name


def test_a_registered_class_has_its_version_in_a_pickle_of_ours(tmp_path: Path) -> None:
    data = [Foreign([1, 2])] * 2
    for protocol in range(6):
        path = tmp_path / f"{protocol}.pkl"
        persist.save(data, path, format="pickle", protocol=protocol, registry=LAB)
        one, other = persist.load(path, registry=LAB)
        assert one is other
        assert (type(one), one.a) == (Foreign, [1, 2])
        (entry,) = persist.explain(path, registry=LAB)
        assert (entry.found, entry.how) == (1, "envelope")


def test_a_memory_map_is_saved_as_what_it_holds(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "raw", "f8", "w+", shape=(3, 2))
    mapped[:] = 7
    persist.save({"m": mapped}, tmp_path / "x.persist")
    again = persist.load(tmp_path / "x.persist")["m"]
    assert type(again) is np.ndarray
    assert again.tolist() == [[7, 7]] * 3


def test_each_class_of_an_mro_keeps_its_version_in_the_container(tmp_path: Path) -> None:
    """A base moves from 1 to 2, and the files of all its heirs still load."""
    from persist._upgrade.records import upgrade

    then = persist.Registry("then")

    class Below(persist.Versioned, schema="mro.Below", registry=then):
        __qualname__ = "Below"
        persistent = ("w",)

    class Above(Below, version=3, schema="mro.Above", registry=then):
        __qualname__ = "Above"
        persistent = ("n",)

    class Silent(persist.Versioned, schema="mro.Silent", registry=then):
        __qualname__ = "Silent"

    class Silenter(Silent, version=2, schema="mro.Silenter", registry=then):
        __qualname__ = "Silenter"

    above, silenter = Above(), Silenter()
    above.w, above.n = np.ones(2), 1
    silenter.w, silenter.n = 2, 3
    persist.save([above, silenter], tmp_path / "x.persist", registry=then)
    tree, _ = upgrade(persist.open(tmp_path / "x.persist", registry=then).tree, then)
    persist.save(tree, tmp_path / "y.persist", registry=then)  # as `persist upgrade` does
    with np.load(tmp_path / "x.persist") as arrays:
        assert "0/w" in arrays

    now = persist.Registry("now")

    class Base(persist.Versioned, version=2, schema="mro.Below", registry=now):
        persistent = ("weights",)

    class Heir(Base, version=3, schema="mro.Above", registry=now):
        persistent = ("n",)

    class Open(persist.Versioned, version=2, schema="mro.Silent", registry=now):
        pass

    class Opener(Open, version=2, schema="mro.Silenter", registry=now):
        pass

    now.migration(Base, 1, persist.ops.rename("w", "weights"))
    now.migration(Open, 1, persist.ops.rename("w", "weights"))
    for name in ("x.persist", "y.persist"):
        heir, opener = persist.load(tmp_path / name, registry=now)
        assert (heir.weights.tolist(), heir.n) == ([1, 1], 1)
        assert vars(opener) == {"weights": 2, "n": 3}


def test_what_an_instance_lacked_it_lacks_again(tmp_path: Path) -> None:
    """As in plain pickle; only an older layout has to say what it means by a missing field."""
    plain = Plain()
    persist.save([plain, Plain()], tmp_path / "x.persist", registry=LAB)
    again, _ = persist.load(tmp_path / "x.persist", registry=LAB)
    assert type(again) is Plain
    assert vars(again) == {}
    record = Record("lab.Plain", {}, version=1)
    persist.save(record, tmp_path / "y.persist")
    with pytest.raises(SchemaError, match="lacks the field 'items'"):
        persist.load(tmp_path / "y.persist", registry=LAB)


def test_what_cannot_be_saved_is_reported_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        persist.save({"f": [lambda: 1]}, tmp_path / "x.persist")
    assert str(caught.value).startswith(f"{tmp_path / 'x.persist'}, f/0: A lambda")


class Tally(persist.Versioned, collections.Counter, schema="lab.Tally", registry=LAB):
    """`Counter` has a `__reduce__` of its own, which knows nothing of an heir's fields."""

    def __init__(self, name: str) -> None:
        super().__init__("aab")
        self.name = name


@pytest.mark.parametrize("format", ["persist", "pickle"])
def test_the_heir_of_a_counter_keeps_its_fields(tmp_path: Path, format: str) -> None:
    path = tmp_path / ("x.pkl" if format == "pickle" else "x.persist")
    persist.save(Tally("letters"), path, format=format, registry=LAB)
    for again in (
        persist.load(path, registry=LAB),
        pickle.loads(pickle.dumps(Tally("letters"))),
    ):
        assert (type(again), again.name, dict(again)) == (Tally, "letters", {"a": 2, "b": 1})


def test_a_lazy_resource_is_looked_for_next_to_the_file_it_came_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first use, long after the load."""
    (tmp_path / "set.txt").write_text("numbers")

    class Lazy(persist.Versioned, schema="lab.Lazy", registry=LAB):
        __qualname__ = "Lazy"
        persistent = ("file",)
        data = persist.resource("file", open=lambda path: Path(path).read_text(), missing="lazy")

    lazy = Lazy()
    lazy.file = "set.txt"
    persist.save(lazy, tmp_path / "x.persist", registry=LAB)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = persist.load(tmp_path / "x.persist", registry=LAB)
    assert again.data == "numbers"
    persist.save(again, tmp_path / "y.persist", registry=LAB)
    assert persist.load(tmp_path / "y.persist", registry=LAB).data == "numbers"

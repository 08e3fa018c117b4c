"""load, explain, restore: the main job on genuine old files, and what is refused."""

from __future__ import annotations

import collections
import importlib
import io
import pickle
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import (
    DamageWarning,
    OpaqueWarning,
    RestoreError,
    SchemaError,
    UnknownFieldWarning,
    UnknownSchemaError,
    UntrustedError,
)
from persist.tree import Global, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"
GENERATIONS = [
    CORPUS / f"pickle-evolution-gen{number}" / f"logreg_v{number}.pkl" for number in (1, 2, 3, 4)
]


def written(value: object, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


@pytest.fixture
def registry() -> persist.Registry:
    return persist.Registry("test")


@pytest.fixture
def classifier(registry: persist.Registry) -> type:
    """Today's class, and everything that happened to it since 2012."""

    @attrs.define(eq=False)
    class Classifier(persist.Versioned, version=4, schema="lab.Classifier", registry=registry):
        weights: np.ndarray
        bias: np.ndarray
        activation: str = "softmax"
        classes: list[str] = attrs.Factory(list)

    @registry.migration(Classifier, 1)
    def name_the_parts(state: Any) -> Any:
        W, b = state  # noqa: N806
        return {"weights": W, "bias": b}

    registry.migration(Classifier, 2, persist.ops.add("activation", "softmax"))
    registry.migration(Classifier, 3, persist.ops.add("classes", factory=list))
    registry.alias("logreg.LogReg", Classifier)
    registry.alias("mylab.models.linear.SoftmaxClassifier", Classifier)

    @registry.stamp(Classifier)
    def by_shape(state: Any) -> int | None:
        if isinstance(state, tuple):
            return 1
        if "classes" in state:
            return 4
        return 3 if "activation" in state else 2

    return Classifier


@pytest.mark.parametrize("path", GENERATIONS, ids=lambda path: path.stem)
def test_four_generations_become_todays_class(
    path: Path, classifier: Any, registry: persist.Registry
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", persist.errors.UnknownFieldWarning)  # "version", from 3 on
        net = persist.load(path, registry=registry)
    assert type(net) is classifier
    file = persist.open(path)
    first, second = (np.asarray(array) for array in file.arrays.values())
    expected = {array.ndim: array for array in (first, second)}
    np.testing.assert_array_equal(net.weights, expected[2])
    np.testing.assert_array_equal(net.bias, expected[1])
    assert net.activation == "softmax"
    net.weights[0, 0] = 7  # private and writable, and the file is as it was
    assert np.asarray(next(iter(persist.open(path).arrays.values()))).flat[0] != 7


def test_a_plan_tells_what_load_does_and_does_nothing(
    classifier: Any, registry: persist.Registry
) -> None:
    plan = persist.explain(GENERATIONS[0], registry=registry)
    (entry,) = plan
    assert (entry.found, entry.to, len(entry.steps)) == (1, 4, 3)
    assert "by_shape" in entry.how
    text = str(plan)
    assert "name_the_parts" in text
    assert "logreg.LogReg" in text
    assert not plan.problems


def test_what_is_not_declared_stays_a_record_and_is_reported_once() -> None:
    file = next((CORPUS / "pickle-py27-p2-slots").glob("*.pkl"))
    with pytest.warns(OpaqueWarning) as reported:
        loaded = persist.load(file)
    assert loaded is not None
    classes = [str(warning.message) for warning in reported]
    assert len(classes) == len(set(classes))
    assert all("trust=" in text for text in classes)
    assert reported[0].filename == __file__
    with pytest.raises(UnknownSchemaError) as caught:
        persist.load(file, strict=True)
    assert caught.value.names


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that can be imported, and what it declares."""
    (tmp_path / "old_lab_of_tests.py").write_text(
        textwrap.dedent(
            """
            import enum
            imported = True
            class Net:
                def __init__(self):
                    raise AssertionError("pickle does not call it")
            class Angle(float):
                pass
            class Bag(list):
                pass
            class Table(dict):
                pass
            class Codec:
                def __setstate__(self, state):
                    self.got = state
            class Mood(enum.Enum):
                GLAD = 1
            def run(*args):
                raise AssertionError("a function was called")
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "old_lab_of_tests"
    sys.modules.pop("old_lab_of_tests", None)


def records(module: str) -> list[Record]:
    builtin = "__builtin__"
    return [
        Record(f"{module}.Net", {"w": np.arange(3.0)}, kind="newobj"),
        Record(f"{module}.Net", {"old": 1}, kind="inst"),
        Record(
            f"{module}.Net",
            {"x": 1},
            kind="reconstructor",
            args=(Global(builtin, "object"), None),
        ),
        Record(f"{module}.Angle", kind="newobj", args=(1.5,)),
        Record(f"{module}.Bag", {"tag": "t"}, kind="newobj", listitems=[1, 2]),
        Record(f"{module}.Table", kind="newobj", dictitems=[("a", 1)]),
        Record(f"{module}.Codec", (1, 2), kind="newobj"),
        Record(f"{module}.Mood", kind="reduce", args=(1,)),
    ]


@pytest.mark.packs  # Python 2's names lead to today's by a pack
def test_an_exact_name_is_trusted_and_may_import(module: str) -> None:
    names = [f"{module}.{name}" for name in ("Net", "Angle", "Bag", "Table", "Codec", "Mood")]
    net, old, slot, angle, bag, table, codec, mood = persist.load(
        written(records(module)), trust=names
    )
    lab = importlib.import_module(module)
    assert type(net) is type(old) is type(slot) is lab.Net
    assert net.w.tolist() == [0.0, 1.0, 2.0]
    assert (old.old, slot.x) == (1, 1)
    assert (type(angle), angle) == (lab.Angle, 1.5)
    assert (type(bag), bag, bag.tag) == (lab.Bag, [1, 2], "t")
    assert (type(table), table) == (lab.Table, {"a": 1})
    assert codec.got == (1, 2)
    assert mood is lab.Mood.GLAD


def test_a_pattern_imports_nothing(module: str) -> None:
    data = written(records(module)[0])
    with pytest.warns(OpaqueWarning):
        assert isinstance(persist.load(data, trust=[f"{module}.*"]), Record)
    assert module not in sys.modules
    lab = importlib.import_module(module)
    assert type(persist.load(data, trust=[f"{module}.*"])) is lab.Net


def test_nothing_is_imported_without_trust(module: str) -> None:
    with pytest.warns(OpaqueWarning):
        persist.load(written(records(module)))
    assert module not in sys.modules


def test_a_function_is_never_called(module: str) -> None:
    call = Record(f"{module}.run", kind="reduce", args=("x",))
    call.maker = call.cls
    with pytest.raises(UntrustedError, match="function"):
        persist.load(written(call), trust=[f"{module}.run"])
    made = Record(f"{module}.Net", kind="reduce", maker=Global(module, "run"), args=(1,))
    with pytest.warns(OpaqueWarning):
        assert isinstance(persist.load(written(made), trust=[f"{module}.Net"]), Record)


def test_a_state_cannot_set_dunder_attributes(module: str) -> None:
    evil = Record(f"{module}.Net", {"__class__": Global("builtins", "int")}, kind="newobj")
    with pytest.raises(RestoreError, match="__class__"):
        persist.load(written(evil), trust=[f"{module}.Net"])


def test_a_trusted_class_whose_module_is_gone_says_so() -> None:
    data = written(Record("no_such_lab.Net", {"a": 1}, kind="newobj"))
    with pytest.raises(UnknownSchemaError, match="no_such_lab"):
        persist.load(data, trust=["no_such_lab.Net"])


def test_opaque_records_can_be_edited_and_looked_into() -> None:
    with pytest.warns(OpaqueWarning):
        net = persist.load(written(Record("gone.Net", {"weights": [1, 2]}, kind="newobj")))
    assert net.weights == [1, 2]
    assert net["weights"] == [1, 2]
    assert "gone.Net" in repr(net)
    net.weights = [3]
    net["bias"] = 0
    assert net.fields() == {"weights": [3], "bias": 0}


def test_sharing_cycles_and_containers_of_every_kind(registry: persist.Registry) -> None:
    class Node(persist.Versioned, schema="lab.Node", registry=registry):
        persistent = ("items", "other")

    one, two = Node(), Node()
    shared = [1, 2]
    one.items, one.other = {"a": shared, "t": (shared, two)}, two
    two.items, two.other = collections.OrderedDict(b=shared), one
    Node.__module__, Node.__qualname__ = "lab", "Node"  # so that pickle may write it
    data = written([one, collections.deque([one]), (one,)])
    again, queue, pair = persist.load(data, registry=registry)
    assert queue[0] is pair[0] is again
    assert again.other.other is again
    assert again.items["a"] is again.items["t"][0] is again.other.items["b"]
    assert type(again.other.items) is collections.OrderedDict


def test_constants_come_back_as_themselves(registry: persist.Registry) -> None:
    registry.constant("lab.tanh", np.tanh)
    assert persist.load(written([Global("lab", "tanh")]), registry=registry) == [np.tanh]


def test_migrate_false_leaves_old_records_as_they_are(
    classifier: Any, registry: persist.Registry
) -> None:
    with pytest.warns(OpaqueWarning):
        assert isinstance(persist.load(GENERATIONS[0], registry=registry, migrate=False), Record)


@pytest.mark.packs
def test_a_pack_knows_a_timestamp_to_be_a_datetime() -> None:
    path = Path(__file__).parents[1] / "corpus" / "pandas" / "objects" / "1.5.3.pkl"
    if not path.exists():
        pytest.skip("pandas' objects are not here")
    with pytest.warns(OpaqueWarning):
        loaded = persist.load(path)
    assert loaded["timestamp"].isoformat() == "2015-01-02T03:04:05.678000"
    assert isinstance(loaded["frame"], Record)
    trusting = pickle.loads(pickle.dumps(loaded["timedelta"]))
    assert trusting.total_seconds() == 93600


# restore


def mlp() -> dict[str, np.ndarray]:
    return {"hidden/W": np.zeros((2, 3)), "hidden/b": np.zeros(3), "out/W": np.zeros((3, 1))}


def test_restore_fills_what_exists_in_place(tmp_path: Path) -> None:
    source = {"hidden": {"W": np.ones((2, 3)), "b": np.ones(3)}, "out": {"W": np.full((3, 1), 2.0)}}
    net = mlp()
    weights = net["hidden/W"]
    report = persist.restore(written(source), into=net)
    assert report.is_complete
    assert weights is net["hidden/W"]
    assert weights.sum() == 6
    assert net["out/W"].tolist() == [[2.0]] * 3
    assert report.filled == {name: name for name in net}


def test_restore_touches_nothing_when_anything_misfits() -> None:
    source = {"hidden": {"W": np.ones((2, 3)), "b": np.ones(4)}, "more": np.ones(1)}
    net = mlp()
    with pytest.raises(RestoreError) as caught:
        persist.restore(written(source), into=net)
    report = caught.value.report
    assert list(report.missing) == ["out/W"]
    assert report.unexpected == ["more"]
    assert "shape (4,)" in report.misfits["hidden/b"]
    assert all(not array.any() for array in net.values())
    assert "out/W" in str(caught.value)
    report = persist.restore(written(source), into=net, strict=False)
    assert list(report.filled) == ["hidden/W"]
    assert net["hidden/W"].all()
    assert "misfit" in str(report)


def test_restore_the_first_layers_of_an_old_network() -> None:
    source = {"hidden": {"W": np.ones((2, 3)), "b": np.ones(3)}, "out": {"W": np.ones((3, 10))}}
    net = mlp()
    report = persist.restore(written(source), into=net, only=["hidden/*"])
    assert sorted(report.filled) == ["hidden/W", "hidden/b"]
    assert not net["out/W"].any()


def test_restore_by_rules_by_shape_and_by_order() -> None:
    source = {"module.layer0.weight": np.ones((2, 3)), "module.layer0.bias": np.full(3, 2.0)}
    net = {"layer0/weight": np.zeros((2, 3)), "layer0/bias": np.zeros(3)}
    report = persist.restore(written(source), into=net, match={r"^module\.": ""})
    assert report.filled["layer0/bias"] == "module.layer0.bias"
    other = {"b": np.zeros(3), "W": np.zeros((2, 3))}
    persist.restore(written(source), into=other, match="shape")
    assert other["b"].tolist() == [2.0] * 3
    third = {"x": np.zeros((2, 3)), "y": np.zeros(3)}
    persist.restore(written(source), into=third, match="order")
    assert third["y"].tolist() == [2.0] * 3
    with pytest.raises(ValueError, match="match="):
        persist.restore(written(source), into=third, match="colour")


def test_restore_into_an_instance_and_a_class(registry: persist.Registry) -> None:
    @attrs.define(eq=False)
    class Layer(persist.Versioned, schema="lab.Layer", registry=registry):
        weights: np.ndarray
        bias: np.ndarray
        activation: str = "tanh"

    data = written({"weights": np.ones((2, 2)), "bias": np.ones(2)})
    layer = Layer(np.zeros((2, 2)), np.zeros(2))
    persist.restore(data, into=layer, registry=registry)
    assert layer.weights.all()
    assert layer.bias.all()
    made = persist.restore(data, into=Layer, registry=registry).value
    assert type(made) is Layer
    assert made.activation == "tanh"
    assert made.weights.all()


def test_restore_tells_a_change_of_precision() -> None:
    source = {"W": np.ones(3, "f8")}
    net = {"W": np.zeros(3, "f4")}
    with pytest.raises(RestoreError, match="float64"):
        persist.restore(written(source), into=net)
    persist.restore(written(source), into=net, strict=False)
    assert net["W"].all()


def test_a_field_without_default_is_named(classifier: Any, registry: persist.Registry) -> None:
    data = written(Record("logreg.LogReg", {"weights": np.ones(2), "classes": []}, kind="newobj"))
    with pytest.raises(SchemaError, match="bias"):
        persist.load(data, registry=registry)


def test_damage_that_was_passed_over_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "log.pkl"
    path.write_bytes(pickle.dumps([1, 2], 2) + pickle.dumps({"a": 1}, 2)[:-3])
    with pytest.warns(DamageWarning, match="breaks off") as reported:
        assert persist.load(path) == [1, 2]
    assert reported[0].filename == __file__
    with pytest.warns(DamageWarning, match="breaks off"):
        persist.restore(path, into={}, strict=False)


@pytest.mark.packs
def test_what_becomes_an_array_may_have_been_a_key() -> None:
    """A graph of Theano's has dicts keyed by shared variables, and no array has a hash."""
    stamp = Record("pandas.tslib.Timestamp", kind="reduce", args=(0, None, None))
    stamp.maker = stamp.cls
    codes = Record(
        "pandas.core.base.FrozenNDArray", (1, (2,), np.dtype("i1"), False, b"\0\1"), kind="reduce"
    )
    codes.maker, codes.args = (
        Global("numpy.core.multiarray", "_reconstruct"),
        (codes.cls, (0,), b"b"),
    )
    with pytest.warns(OpaqueWarning, match="FrozenNDArray"):
        loaded = persist.load(written([{stamp: 1, codes: 2}, {codes}, codes]))
    kinds = {type(key).__name__ for key in loaded[0]}
    assert kinds == {"datetime", "Record"}
    assert loaded[2].tolist() == [0, 1]


def test_what_a_class_raises_while_it_is_loaded_is_reported_with_its_place(
    registry: persist.Registry,
) -> None:
    class Coded(persist.Versioned, version=1, schema="lab.Coded", registry=registry):
        def __setstate__(self, state: Any) -> None:
            self.first, self.second = state

    class Loud(persist.Versioned, schema="lab.Loud", registry=registry):
        def __loaded__(self) -> None:
            raise ValueError("not so")

    registry.alias("old.Coded", Coded)
    registry.alias("old.Loud", Loud)
    with pytest.raises(
        RestoreError, match=r"record .*Coded' at 'net': .*ValueError.*register a mig"
    ):
        persist.load(written({"net": Record("old.Coded", (1, 2, 3))}), registry=registry)
    with pytest.raises(
        RestoreError, match=r"record .*Loud' at 'net': .*ValueError: not so"
    ) as caught:
        persist.load(written({"net": Record("old.Loud", {"x": 1})}), registry=registry)
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_entry_that_states_the_version_is_not_unknown(registry: persist.Registry) -> None:
    """A stamp by key has understood it: it is no field, and stays nowhere."""

    class Net(persist.Versioned, version=2, schema="lab.Net", registry=registry):
        persistent = ("x",)

    registry.migration(Net, 1, persist.ops.rename("w", "x"))
    registry.stamp(Net, key="version")
    registry.alias("old.Net", Net)
    data = written(Record("old.Net", {"version": 1, "w": 5}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vars(persist.load(data, registry=registry)) == {"x": 5}
        assert vars(persist.load(data, registry=registry, unknown="error")) == {"x": 5}
    kept = persist.load(data, registry=registry, unknown="keep")
    assert vars(kept) == {"x": 5}


def test_unknown_fields_are_reported_to_the_caller(registry: persist.Registry) -> None:
    """The warning stands at the caller's line, not somewhere in this library."""

    class Net(persist.Versioned, schema="lab.Net", registry=registry):
        persistent = ("x",)

    registry.alias("old.Net", Net)
    with pytest.warns(UnknownFieldWarning, match="declare: y") as reported:
        persist.load(written(Record("old.Net", {"x": 1, "y": 5})), registry=registry)
    assert reported[0].filename == __file__


def test_restore_makes_a_class_with_the_fields_of_its_bases(registry: persist.Registry) -> None:
    class Base(persist.Versioned, version=2, schema="lab.Base", registry=registry):
        persistent = ("weights",)

    class Heir(Base, version=3, schema="lab.Heir", registry=registry):
        persistent = ("bias",)

    data = written({"weights": np.ones((2, 2)), "bias": np.ones(2)})
    made = persist.restore(data, into=Heir, registry=registry).value
    assert (type(made), made.weights.shape, made.bias.shape) == (Heir, (2, 2), (2,))


def test_only_that_fits_nothing_is_reported() -> None:
    net = {"hidden": {"W": np.zeros(2)}}
    with pytest.raises(RestoreError, match=r"only=\['hiden/\*'\] fits no name.*hidden/W"):
        persist.restore(written({"hidden": {"W": np.ones(2)}}), into=net, only=["hiden/*"])
    assert not persist.restore(
        written({"hidden": {"W": np.ones(2)}}), into=net, only="hiden/*", strict=False
    ).filled

"""`Versioned`: every kind of class, every protocol, and the traps of each."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import subprocess
import sys
import textwrap
import types
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import attr
import attrs
import numpy as np
import pytest

import persist
from persist._instances.adapter import adapter_of
from persist.errors import FutureVersionError, SchemaError, UnknownFieldWarning
from persist.registry import Registry
from persist.schema import Field
from persist.versioned import fill, finish, flatten_state, make, restore_state, unpacked

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"
V = persist.Versioned
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


# Every kind of class.


class Plain(V, version=2):
    persistent = ("w", "b")

    def __init__(self, w, b):
        self.w, self.b = w, b


class Open(V):
    def __init__(self, w, b):
        self.w, self.b, self.__p = w, b, 3


class Slots(V):
    __slots__ = ("__p", "b", "w")

    def __init__(self, w, b):
        self.w, self.b, self.__p = w, b, 5


class SlotsAndDict(V):
    __slots__ = ("__dict__", "w")

    def __init__(self, w, b):
        self.w, self.b = w, b


@attrs.define(eq=False)
class AttrsSlots(V, version=3, schema="test.AttrsSlots"):
    w: Any
    b: Any
    _c: dict = attrs.field(factory=dict)


@attrs.define(eq=False, slots=False)
class AttrsDict(V, version=3):
    w: Any
    b: Any


@attrs.frozen(eq=False)
class AttrsFrozen(V, version=3):
    w: Any
    b: Any


@attr.s(slots=True)
class AttrsClassic(V, version=7):
    w = attr.ib()
    b = attr.ib()


@attr.s(hash=True, cache_hash=True, frozen=True, slots=True)
class AttrsHashed(V, version=2):
    w = attr.ib(eq=False)
    b = attr.ib()


@dataclasses.dataclass
class Data(V, version=2):
    w: Any
    b: Any


@dataclasses.dataclass(slots=True)
class DataSlots(V, version=2, schema="test.DataSlots"):
    w: Any
    b: Any


@dataclasses.dataclass(slots=True, frozen=True)
class DataFrozenSlots(V, version=2, schema="test.DataFrozenSlots"):
    w: Any
    b: Any


class AList(V, list):
    persistent = ("w", "b")

    def __init__(self, w, b):
        super().__init__([1, w])
        self.w, self.b = w, b


class ADict(V, dict):
    def __init__(self, w, b):
        super().__init__(a=w)
        self.w, self.b = w, b


class AnOrderedDict(V, OrderedDict):
    def __init__(self, w, b):
        super().__init__(z=w, a=b)
        self.w, self.b = w, b


class ADefaultDict(V, defaultdict):
    persistent = ("w", "b")

    def __init__(self, w, b):
        super().__init__(list)
        self["a"].append(1)
        self.w, self.b = w, b


class ATuple(V, tuple):
    def __new__(cls, *items):
        return super().__new__(cls, items[0] if len(items) == 1 else items)

    def __init__(self, w, b):
        self.w, self.b = w, b


class ASet(V, set):
    def __init__(self, w, b):
        super().__init__([1, 2])
        self.w, self.b = w, b


class AFrozenSet(V, frozenset):
    def __new__(cls, *items):
        return super().__new__(cls, items[0] if len(items) == 1 else [1, 2])

    def __init__(self, w, b):
        self.w, self.b = w, b


class AnArray(V, np.ndarray):
    persistent = ("w", "b")

    def __new__(cls, w, b):
        made = np.asfortranarray(np.arange(6.0).reshape(2, 3)).view(cls)
        made.w, made.b = w, b
        return made


class Trouble(V, Exception):
    def __init__(self, w, b):
        super().__init__("message")
        self.w, self.b = w, b


class SystemTrouble(OSError, V):
    def __init__(self, w, b):
        super().__init__(2, "none", "file.txt")
        self.w, self.b = w, b


class Coded(V, version=3):
    def __init__(self, w, b):
        self.w, self.b = w, b

    def __getstate__(self):
        return (self.w, self.b)

    def __setstate__(self, state):
        self.w, self.b = state


class HalfCoded(V):
    """Only ``__getstate__``, the usual way to leave something out."""

    def __init__(self, w, b):
        self.w, self.b, self.cache = w, b, 3

    def __getstate__(self):
        state = self.__dict__.copy()
        del state["cache"]
        return state


class Heir(Plain, version=4):
    persistent = ("d",)

    def __init__(self, w, b):
        super().__init__(w, b)
        self.d = [w]


class CodedHeir(Coded, version=4):
    def __getstate__(self):
        return {"base": super().__getstate__(), "d": [self.w]}

    def __setstate__(self, state):
        super().__setstate__(state["base"])
        self.d = state["d"]


class FieldsOverCodec(Coded, version=9):
    persistent = ("d",)

    def __init__(self, w, b):
        super().__init__(w, b)
        self.d = 1


KINDS = [
    Plain, Open, Slots, SlotsAndDict, AttrsSlots, AttrsDict, AttrsFrozen, AttrsClassic, AttrsHashed, Data,
    DataSlots, DataFrozenSlots, AList, ADict, AnOrderedDict, ADefaultDict, ATuple, ASet, AFrozenSet,
    AnArray, Trouble, SystemTrouble, Coded, HalfCoded, Heir, CodedHeir, FieldsOverCodec,
]  # fmt: skip


def said(obj):
    """Everything that can be seen of an instance."""
    seen = {
        name: getattr(obj, name)
        for name in (
            "w",
            "b",
            "args",
            "errno",
            "filename",
            "default_factory",
            "_c",
            "_Open__p",
            "_Slots__p",
        )
        if hasattr(obj, name)
    }
    if isinstance(obj, dict):
        seen["items"] = list(obj.items())
    elif isinstance(obj, list | tuple | set | frozenset):
        seen["items"] = list(obj)
    elif isinstance(obj, np.ndarray):
        seen["array"] = obj.tolist()
    return seen


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_in_every_protocol(kind, protocol):
    """A pickle of today loads as what it was."""
    obj = kind([1], "text")
    again = pickle.loads(pickle.dumps(obj, protocol))
    assert type(again) is kind
    assert said(again) == said(obj)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_by_way_of_the_tree(kind):
    """The inert tree, upgraded and built by the four functions, is the same object."""
    from persist._upgrade.records import upgrade

    obj = kind([1], "text")
    record, plan = upgrade(persist.open(pickle.dumps(obj)).tree)
    assert not plan.problems
    contents = unpacked(kind, record)
    made = make(kind, contents.args, contents.kwargs, contents.array)
    fill(made, contents.listitems, contents.dictitems)
    restore_state(made, record.state)
    finish(made)
    assert said(made) == said(obj)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_copied(kind):
    """copy shares what is inside, deepcopy does not."""
    obj = kind([1], "text")
    shallow, deep = copy.copy(obj), copy.deepcopy(obj)
    assert said(shallow) == said(obj) == said(deep)
    assert shallow.w is obj.w
    assert deep.w is not obj.w


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_flatten_and_restore(kind):
    """flatten_state and restore_state are each other's reverse."""
    obj = kind([1], "text")
    flat = flatten_state(obj)
    made = make(kind, flat.args, flat.kwargs, flat.array)
    fill(made, flat.listitems or (), flat.dictitems or ())
    restore_state(made, flat.state)
    assert said(made) == said(obj)
    assert flat.schema.version == flat.layers[-1].version


def test_protocol_5_takes_arrays_out_of_band():
    """The array of an heir travels as a buffer, and is shared, not copied."""
    buffers: list[Any] = []
    data = pickle.dumps(AnArray([1], "x"), 5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    assert pickle.loads(data, buffers=buffers).sum() == 15.0


# Heads of classes.


def test_decorators_that_make_the_class_again_keep_its_head():
    """attrs and dataclasses with slots make a second class, without the keywords."""
    for kind, name, version in (
        (AttrsSlots, "test.AttrsSlots", 3),
        (DataSlots, "test.DataSlots", 2),
        (DataFrozenSlots, "test.DataFrozenSlots", 2),
    ):
        schema = persist.registry.default_registry.schema_for(kind)
        assert (schema.name, schema.version, schema.cls) == (name, version, kind)
        assert schema.names[:2] == ("w", "b")


def test_default_names_and_versions():
    """No ``version=`` means 1; the name is the dotted path at first use."""
    schema = persist.registry.default_registry.schema_for(Open)
    assert (schema.name, schema.version) == (f"{__name__}.Open", 1)


@pytest.mark.parametrize("version", [0, -1, 1.0, "2", True])
def test_a_version_is_a_positive_integer(version):
    """Anything else is an error at the class itself."""
    with pytest.raises(SchemaError, match="positive integer"):

        class Wrong(V, version=version):
            pass


def test_other_keywords_go_on():
    """The head of a class may serve other bases too."""

    class Other:
        def __init_subclass__(cls, flavour, **keywords):
            super().__init_subclass__(**keywords)
            cls.flavour = flavour

    class Both(V, Other, version=2, flavour="sweet", registry=Registry("t")):
        pass

    assert Both.flavour == "sweet"


def test_empty_slots_suit_heirs_of_tuple():
    """Python refuses non-empty slots there; the mixin has none."""

    class Point(V, tuple, registry=Registry("t")):
        __slots__ = ()

    assert not hasattr(Point((1, 2)), "__dict__")


def test_two_bases_that_own_one_name_are_an_error():
    """At first use, and by check()."""
    registry = Registry("t")

    class One(V, registry=registry):
        persistent = ("w",)

    class Two(V, registry=registry):
        persistent = ("w",)

    class Both(One, Two, registry=registry):
        persistent = ()

    with pytest.raises(
        SchemaError, match=r"One.*and.*Two.*both declare the field 'w'|Two.*and.*One"
    ):
        flatten_state(Both())
    with pytest.raises(ExceptionGroup) as caught:
        registry.check()
    assert any("both declare" in str(one) for one in caught.value.exceptions)


def test_an_inherited_field_stays_the_bases():
    """Declaring it again may change its default, not its owner."""

    @dataclasses.dataclass
    class One(V, version=2, schema="redeclare.One", registry=Registry("t")):
        w: int = 1

    @dataclasses.dataclass
    class Two(One, version=5, schema="redeclare.Two", registry=Registry("t")):
        w: int = 7
        x: int = 0

    registry = Two._persist_declared.registry
    parts = registry.layout(Two).parts
    assert [(part.schema.name, [f.name for f in part.fields]) for part in parts] == [
        ("redeclare.One", ["w"]),
        ("redeclare.Two", ["x"]),
    ]
    assert parts[0].fields[0].default == 7


def test_a_base_that_says_nothing_is_not_guessed_at():
    """Whose an attribute is has to be said, where the heir lists its own and the base is silent."""
    registry = Registry("t")

    class Silent(V, registry=registry):
        def __init__(self):
            self.mystery = 1

    class Lists(Silent, registry=registry):
        persistent = ("w",)

    obj = Lists()
    obj.w = 2
    with pytest.raises(
        SchemaError, match=r"no class declares its attributes 'mystery'.*persistent = "
    ):
        adapter_of(Lists)._values(obj)
    del obj.mystery
    adapter_of(Lists)._values(obj)


# Codecs.


def test_a_falsy_state_is_not_skipped():
    """pickle skips __setstate__ for None; inside the envelope it does not."""
    again = pickle.loads(pickle.dumps(Empty()))
    assert again.was_set


class Empty(V):
    def __getstate__(self):
        return None

    def __setstate__(self, state):
        assert state is None
        self.was_set = True


def test_a_codec_without_a_way_back_says_so():
    """A tuple needs a __setstate__."""

    class OneWay(V, schema="codec.OneWay", registry=Registry("t")):
        def __getstate__(self):
            return (1, 2)

    state = flatten_state_unrefused(OneWay())
    with pytest.raises(SchemaError, match="has no __setstate__"):
        restore_state(OneWay.__new__(OneWay), state)


def flatten_state_unrefused(obj):
    from persist._instances.adapter import adapter_of
    from persist._upgrade.state import today_state
    from persist._upgrade.target import InstanceUpgrade

    road = adapter_of(type(obj))
    _, values = road._values(obj)
    return today_state(
        InstanceUpgrade(road.target, states=list(zip(road.target.parts, values, strict=True)))
    )


def test_zero_argument_super_in_a_slotted_attrs_class():
    """attrs makes the class again and mends ``__class__`` only in what it sees."""
    again = pickle.loads(pickle.dumps(SlottedCodec(3)))
    assert again.x == 6


@attrs.define
class SlottedCodec(V, version=2):
    x: int

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        super().__setstate__({"x": state["x"] * 2})


# Fields.


@attrs.define
class Ruled(V, schema="fields.Ruled"):
    size: int = attrs.field(validator=attrs.validators.gt(0), converter=int)
    tags: list = attrs.field(factory=list)
    double: int = attrs.field()
    cache: dict | None = attrs.field(default=None, metadata={"persist": Field(transient=True)})

    @double.default
    def _double(self):
        return self.size * 2


def ruled(state, **keywords):
    made = make(Ruled)
    restore_state(made, state, **keywords)
    return made


def test_defaults_of_all_sorts():
    """A factory, a default from self, a transient."""
    made = ruled({"size": 4})
    assert (made.size, made.tags, made.double, made.cache) == (4, [], 8, None)


def test_missing_without_default_is_an_error_that_names_it():
    """Never silently half an object."""
    with pytest.raises(SchemaError, match=r"lacks the field 'size' of 'fields.Ruled'.*ops.add"):
        ruled({"tags": [1]})


def test_validators_and_converters_run_on_upgraded_states():
    """And ``validate=False`` turns them off."""
    assert ruled({"size": "4"}, migrated=True, validate=True).size == 4
    with pytest.raises(SchemaError, match="'size' is refused by its validator.*validate=False"):
        ruled({"size": -1})
    assert ruled({"size": -1}, validate=False).size == -1
    with pytest.raises(SchemaError, match="converter of the field 'size'"):
        ruled({"size": "many"}, migrated=True)


def test_transients_are_dropped_and_get_their_default():
    """On saving and loading; copies keep them by reference."""
    obj = Trainer("a.txt")
    obj.cache = ["expensive"]
    obj.training_set = "data"
    again = pickle.loads(pickle.dumps(obj))
    assert again.cache == []
    assert copy.deepcopy(obj).cache is obj.cache
    assert copy.copy(obj).training_set is obj.training_set


OPENED: list[Any] = []


def load_data(path):
    OPENED.append(path)
    with open(path) as file:
        return file.read()


class Trainer(V, schema="fields.Trainer"):
    persistent = ("epoch", "training_set_file")
    transient = {"cache": Field(factory=list)}
    training_set = persist.resource("training_set_file", open=load_data, missing="lazy")

    def __init__(self, file):
        self.epoch, self.training_set_file, self.cache = 0, file, []


class StrictTrainer(V):
    training_set = persist.resource("file", open=load_data)

    def __init__(self, file):
        self.file = file


class LaxTrainer(V):
    __slots__ = ("__weakref__", "file")
    training_set = persist.resource("file", open=load_data, missing=None)

    def __init__(self, file):
        self.file = file


def test_a_resource_is_opened_again(tmp_path):
    """Dropped on saving; its policy says what happens where it is not there."""
    path = tmp_path / "set.txt"
    path.write_text("numbers")
    strict, lax, lazy = StrictTrainer(str(path)), LaxTrainer(str(path)), Trainer(str(path))
    strict.training_set = lax.training_set = "in memory"
    data = pickle.dumps([strict, lax, lazy])
    assert b"in memory" not in data
    assert [one.training_set for one in pickle.loads(data)] == ["numbers"] * 3
    path.unlink()
    with pytest.raises(
        SchemaError, match="resource 'training_set'.*cannot be opened.*FileNotFoundError"
    ):
        pickle.loads(pickle.dumps(strict))
    assert pickle.loads(pickle.dumps(lax)).training_set is None
    again = pickle.loads(pickle.dumps(lazy))
    with pytest.raises(SchemaError, match="cannot be opened"):
        _ = again.training_set


def test_a_resource_lies_next_to_the_file(tmp_path):
    """A relative path is meant relative to what is loaded."""
    from persist.versioned import loading_from

    (tmp_path / "set.txt").write_text("beside")
    data = pickle.dumps(StrictTrainer("set.txt"))
    with loading_from(tmp_path / "run.pkl"):
        assert pickle.loads(data).training_set == "beside"
    with pytest.raises(SchemaError, match="cannot be opened"):
        pickle.loads(data)
    assert pickle.loads(pickle.dumps(LaxTrainer(None))).training_set is None


class Shaped(V):
    persistent = {
        "w": Field(dtype="float32", shape=(None, 2)),
        "n": Field(type=int, default=3),
    }


def test_declared_dtype_and_shape_are_checked():
    """On saving and on loading."""
    obj = Shaped()
    obj.w, obj.n = np.zeros((4, 2), "float32"), 3
    assert pickle.loads(pickle.dumps(obj)).w.shape == (4, 2)
    for w, fault in (
        (np.zeros((4, 2)), "dtype float64, not of dtype float32"),
        (np.zeros((2, 4), "float32"), r"shape is \(2, 4\), not \(None, 2\)"),
        ([1], "a list, not of dtype"),
    ):
        obj.w = w
        with pytest.raises(SchemaError, match=f"'w' cannot be saved: .*{fault}"):
            pickle.dumps(obj)
        with pytest.raises(SchemaError, match=f"'w' cannot be loaded: .*{fault}"):
            restore_state(make(Shaped), {"w": w, "n": 1})
    with pytest.raises(SchemaError, match="'n' cannot be loaded: it is a str, not a int"):
        restore_state(make(Shaped), {"w": np.zeros((0, 2), "float32"), "n": "x"})


def test_persistent_is_a_list_of_names():
    """A text would be taken letter by letter."""

    class Wrong(V, registry=Registry("t")):
        persistent = "weights"

    with pytest.raises(SchemaError, match=r"persistent = \('weights',\)"):
        Wrong._persist_declared.registry.schema_for(Wrong)


def test_an_attribute_never_set_stays_so():
    """What the writer's instance lacked is no missing field, as long as the declaration is the same."""
    obj = Plain.__new__(Plain)
    obj.w = 1
    again = pickle.loads(pickle.dumps(obj))
    assert again.w == 1
    assert not hasattr(again, "b")


def test_a_property_may_have_taken_an_attributes_place():
    """Old states are set by declared field, never by a blind update of __dict__."""
    registry = Registry("t")

    class Net(V, version=2, registry=registry, schema="prop.Net"):
        persistent = ("_w",)

        @property
        def w(self):
            return self._w

    registry.migration(Net, 1, persist.ops.rename("w", "_w"))
    made = make(Net)
    made.__setstate__({"w": 5})
    assert made.w == 5
    assert made.__dict__ == {"_w": 5}


# Hooks.


class Hooked(V):
    loads = 0

    def __loaded__(self):
        self.loads = self.loads + 1


@pytest.mark.parametrize("state", [{}, {"x": 1}, None, ({}, None)])
def test_loaded_runs_once_whatever_the_state(state):
    """After every load, also of old states."""
    made = make(Hooked)
    made.__setstate__(state)
    assert made.loads == 1


def test_loaded_runs_once_for_a_pickle():
    """And not for a copy."""
    obj = Hooked()
    assert pickle.loads(pickle.dumps(obj)).loads == 1
    assert copy.copy(obj).loads == 0


# What is refused.


def test_a_local_class_is_refused():
    """Nobody could find it again."""

    class Local(V, registry=Registry("t")):
        pass

    with pytest.raises(SchemaError, match="local class .*Local.*top of a module"):
        pickle.dumps(Local())


def test_a_class_of_the_script_needs_a_name(monkeypatch):
    """`__main__` is another script tomorrow."""
    main = types.ModuleType("__main__")
    source = "import persist\nclass A(persist.Versioned): pass\nclass B(persist.Versioned, schema='lab.B'): pass"
    exec(source, vars(main))
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(SchemaError, match=r'its module is the script.*schema="lab.A"'):
        pickle.dumps(main.A())
    assert type(pickle.loads(pickle.dumps(main.B()))) is main.B


def squash(x):
    return x


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda x: x, "a lambda cannot be saved"),
        (squash, "the function squash cannot be saved as a value"),
        (Plain, "the class Plain cannot be saved as a value"),
        (np.sin, "the function sin cannot"),
    ],
)
def test_functions_and_classes_are_refused_as_values(value, reason):
    """With the way out."""
    with pytest.raises(SchemaError, match=f"field 'w' cannot be saved: {reason}.*persist.constant"):
        pickle.dumps(Plain(value, 1))


def test_a_constant_is_saved_by_its_name():
    """The file holds the name alone, wherever the function moves."""
    persist.constant("test.tanh", np.tanh)
    data = pickle.dumps(Plain(np.tanh, float))
    assert b"test.tanh" in data
    assert b"numpy" not in data
    again = pickle.loads(data)
    assert again.w is np.tanh
    assert again.b is float


# Old pickles, written before the class inherited Versioned.


@pytest.fixture
def module():
    """Make a module of source text, and take it away again."""
    made = []

    def make_module(name, source):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            part = ".".join(parts[:length])
            if part not in sys.modules:
                sys.modules[part] = types.ModuleType(part)
                made.append(part)
        found = sys.modules[name]
        exec(textwrap.dedent(source), vars(found))
        return found

    yield make_module
    for name in made:
        sys.modules.pop(name, None)


CLASSIFIER = """
import attrs, numpy as np, persist

registry = persist.Registry("evolution")

@attrs.define(eq=False)
class Classifier(persist.Versioned, version=4, schema="mylab.Classifier", registry=registry):
    weights: np.ndarray
    bias: np.ndarray
    activation: str
    classes: list
ops = persist.ops
registry.migration(Classifier, 1, ops.unpack("weights", "bias"))
registry.migration(Classifier, 2, ops.add("activation", "softmax"))
registry.migration(Classifier, 3, ops.add("classes", factory=list), ops.drop("version", optional=True))

@registry.stamp(Classifier)
def by_shape(state):
    if isinstance(state, tuple):
        return 1
    if "version" in state:
        return None
    return 2

registry.stamp(Classifier, key="version")
"""


@pytest.mark.parametrize("generation", [1, 2, 3, 4])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_four_generations_load_in_plain_pickle(generation, module):
    """Python 2.7's bare tuple, the dict, the moved class: under today's class at the old name."""
    name, cls = (
        ("logreg", "LogReg") if generation < 4 else ("mylab.models.linear", "SoftmaxClassifier")
    )
    module(
        name,
        CLASSIFIER.replace("Classifier(persist", f"{cls}(persist").replace(
            "(Classifier", f"({cls}"
        ),
    )
    case = CORPUS / f"pickle-evolution-gen{generation}"
    data = (case / f"logreg_v{generation}.pkl").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownFieldWarning)  # the stamp has understood "version"
        net = pickle.loads(data, encoding="latin1")
    assert net.weights.shape == (6, 3)
    assert net.weights[0].tolist() == [-0.4375, -0.375, -0.3125]
    assert net.bias.tolist() == [0.5, -0.25, 0.125]
    assert net.activation == "softmax"
    assert net.classes == (["cat", "dog", "emu"] if generation == 4 else [])


LAB = """
import dataclasses, persist
ops, registry = persist.ops, persist.Registry("lab of old")

@dataclasses.dataclass
class Classic(persist.Versioned, version=2, schema="lab.Classic", registry=registry):
    weights: list
    bias: float

registry.migration(Classic, 1, ops.rename({"W": "weights", "b": "bias"}))

class Rates(persist.Versioned, version=2, schema="lab.Rates", registry=registry):
    persistent = ("rate", "decay", "momentum")

@registry.migration(Rates, 1)
def named(state):
    rate, decay = state
    return {"rate": rate, "decay": decay, "momentum": 0.0}

class Hidden(persist.Versioned, schema="lab.Secret", registry=registry):
    persistent = ("__key", "name")
    def key(self):
        return self.__key

registry.alias("lab_of_old.Secret", Hidden)
Secret = Hidden

class Slotted(persist.Versioned, version=2, schema="lab.Slotted", registry=registry):
    __slots__ = ("size",)

@registry.migration(Slotted, 1)
def sized(state):
    return {"size": (state["width"], state["height"])}

class Stack(persist.Versioned, list, registry=registry): pass
class Book(persist.Versioned, dict, registry=registry): pass
class Node(persist.Versioned, version=2, schema="lab.Node", registry=registry):
    persistent = ("next", "count")
registry.migration(Node, 1, ops.rename("number", "count"))

class Base(persist.Versioned, version=2, schema="lab.Base", registry=registry):
    persistent = ("weights",)
class Heir(Base, version=2, schema="lab.Heir", registry=registry):
    persistent = ("layers",)

@registry.migration(Base, 1)
def renamed(state):
    return {"weights": state["W"]}

@registry.migration(Heir, 1)
def deepened(state):
    return {"layers": state["depth"] + 1}

class Trouble(persist.Versioned, Exception, registry=registry): pass
"""


@pytest.mark.parametrize(
    "file", sorted((CORPUS / "versioned").glob("*.pkl")), ids=lambda file: file.stem
)
def test_pickles_of_python_2_and_3_from_before(file, module):
    """Old-style classes, tuples, private names, slots, list and dict heirs, circles, exceptions."""
    lab = module("lab_of_old", LAB)
    things = pickle.loads(file.read_bytes(), encoding="latin1")
    assert things["classic"] == lab.Classic([1.0, 2.0], 0.5)
    assert things["shared"][0] is things["shared"][1] is things["classic"]
    assert things["stack"][0] is things["classic"]
    assert vars(things["rates"]) == {"rate": 0.1, "decay": 0.99, "momentum": 0.0}
    assert things["secret"].key() == 7
    if "slotted" in things:
        assert things["slotted"].size == (3, 4)
    assert (things["stack"].label, things["book"].label) == ("st", "bo")
    assert things["book"]["a"] is things["classic"]
    circle = things["circle"]
    assert circle.next.next is circle
    assert (circle.count, circle.next.count) == (1, 2)
    assert vars(things["heir"]) == {"weights": [3.0], "layers": 3}
    assert things["trouble"].args == ("what", 3)
    assert things["trouble"].code == 5


@pytest.mark.parametrize(
    "file", sorted((CORPUS / "versioned").glob("*.pkl")), ids=lambda file: file.stem
)
def test_the_same_by_way_of_the_tree(file, module):
    """The inert tree comes to the same states, without any of the classes' code."""
    from persist._upgrade.records import upgrade

    lab = module("lab_of_old", LAB)
    tree, _ = upgrade(persist.open(file).tree, lab.registry)
    assert tree["classic"].state == {"weights": [1.0, 2.0], "bias": 0.5}
    assert tree["classic"].version == 2
    assert tree["shared"][0] is tree["shared"][1] is tree["classic"]
    assert tree["rates"].state == {"rate": 0.1, "decay": 0.99, "momentum": 0.0}
    assert tree["secret"].state == {"__key": 7, "name": "s"}
    assert tree["secret"].qualname == "lab_of_old.Hidden"
    circle = tree["circle"]
    assert circle.state["next"].state["next"] is circle
    assert tree["heir"].fields() == {"weights": [3.0], "layers": 3}


# Two versions of one program.

PROGRAM = """
import sys
import persist

class Net(persist.Versioned, version={version}, schema="two.Net"):
    persistent = {fields}

{more}
"""


def test_two_versions_of_a_module_in_two_processes(tmp_path):
    """Up: migrates. Down: says what would be needed."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, version, fields, more in (
        (old, 1, '("W",)', ""),
        (new, 2, '("weights",)', 'persist.migration(Net, 1, persist.ops.rename("W", "weights"))'),
    ):
        folder.mkdir()
        (folder / "net.py").write_text(PROGRAM.format(version=version, fields=fields, more=more))
    write = "import sys, pickle, net; n = net.Net(); setattr(n, net.Net.persistent[0], 5); pickle.dump(n, open(sys.argv[1], 'wb'))"
    read = "import sys, pickle, net; print(vars(pickle.load(open(sys.argv[1], 'rb'))))"

    def run(folder, program, file):
        command = [sys.executable, "-W", "error", "-c", program, str(tmp_path / file)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    assert run(old, write, "old.pkl").returncode == 0
    assert run(new, write, "new.pkl").returncode == 0
    assert run(new, read, "old.pkl").stdout.strip() == "{'weights': 5}"
    assert run(new, read, "new.pkl").stdout.strip() == "{'weights': 5}"
    refused = run(old, read, "new.pkl").stderr
    assert "FutureVersionError" in refused
    assert "version 2 of 'two.Net', and this program knows version 1" in refused
    assert "install the release that declares version 2" in refused


def test_a_newer_state_is_refused():
    """In the same process too, and nothing is set."""
    state = list(Plain(1, 2).__reduce_ex__(2)[2])
    schema, version, *rest = state[0][2][0]
    state[0] = (*state[0][:2], ((schema, version + 1, *rest),))
    made = make(Plain)
    with pytest.raises(FutureVersionError) as caught:
        made.__setstate__(tuple(state))
    assert vars(made) == {}
    assert caught.value.facts["found"] == 3


CROSSING = """
import copy, multiprocessing, dataclasses, persist

@dataclasses.dataclass
class Data(persist.Versioned, version=2, schema="crossing.Data"):
    w: list

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply_async(copy.copy, (Data([1]),)).get())
"""


def test_objects_cross_process_borders(tmp_path):
    """multiprocessing pickles both ways."""
    (tmp_path / "crossing.py").write_text(CROSSING)
    done = subprocess.run(
        [sys.executable, "-W", "error", "crossing.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "Data(w=[1])"


# Renames in plain pickle.


def test_a_class_renamed_with_its_default_name_keeps_its_version(module):
    """`Old = New` in the old module is all that plain pickle needs."""
    lab = module(
        "renaming_lab",
        """
        import persist
        class Old(persist.Versioned, version=2):
            persistent = ("w",)
        """,
    )
    obj = lab.Old()
    obj.w = 1
    data = pickle.dumps(obj)
    exec(
        textwrap.dedent(
            """
            class New(persist.Versioned, version=3):
                persistent = ("weights",)
            persist.migration(New, 2, persist.ops.rename("w", "weights"))
            Old = New
            """
        ),
        vars(lab),
    )
    assert pickle.loads(data).weights == 1


def test_bases_come_and_go(module):
    """A field finds its class by name when bases are inserted or removed."""
    lab = module(
        "basing_lab",
        """
        import persist
        registry = persist.Registry("bases")
        class Base(persist.Versioned, schema="bases.Base", registry=registry):
            persistent = ("w",)
        class Net(Base, schema="bases.Net", registry=registry):
            persistent = ("b",)
        """,
    )
    obj = lab.Net()
    obj.w, obj.b = 1, 2
    with_base = pickle.dumps(obj)
    exec(
        textwrap.dedent(
            """
            class Net(persist.Versioned, schema="bases.Net", registry=registry):
                persistent = ("w", "b")
            """
        ),
        vars(lab),
    )
    assert vars(pickle.loads(with_base)) == {"w": 1, "b": 2}
    obj = lab.Net()
    obj.w, obj.b = 1, 2
    alone = pickle.dumps(obj)
    exec(
        textwrap.dedent(
            """
            class Deep(persist.Versioned, version=2, schema="bases.Deep", registry=registry):
                persistent = ("w",)
            class Net(Deep, schema="bases.Net", registry=registry):
                persistent = ("b",)
            """
        ),
        vars(lab),
    )
    assert vars(pickle.loads(alone)) == {"w": 1, "b": 2}
    assert vars(pickle.loads(with_base)) == {"w": 1, "b": 2}


def test_a_base_moves_and_its_heirs_files_load(module):
    """Each class of the MRO has its own version."""
    lab = module(
        "moving_lab",
        """
        import persist
        registry = persist.Registry("moves")
        class Base(persist.Versioned, schema="moves.Base", registry=registry):
            persistent = ("W",)
        class Net(Base, version=4, schema="moves.Net", registry=registry):
            persistent = ("b",)
        """,
    )
    obj = lab.Net()
    obj.W, obj.b = 1, 2
    data = pickle.dumps(obj)
    exec(
        textwrap.dedent(
            """
            class Base(persist.Versioned, version=2, schema="moves.Base", registry=registry):
                persistent = ("weights",)
            registry.migration(Base, 1, persist.ops.rename("W", "weights"))
            class Net(Base, version=4, schema="moves.Net", registry=registry):
                persistent = ("b",)
            """
        ),
        vars(lab),
    )
    assert vars(pickle.loads(data)) == {"weights": 1, "b": 2}


def test_an_undeclared_field_is_dropped_with_one_warning():
    """Naming the fields."""
    made = make(Plain)
    registry = Plain._persist_declared.registry
    registry.migration(Plain, 1, persist.ops.rename("W", "w"))
    with pytest.warns(
        UnknownFieldWarning, match=r"'.*Plain' have fields .*: colour, size\."
    ) as caught:
        made.__setstate__({"W": 1, "b": 2, "colour": 3, "size": 4})
    assert len(caught) == 1
    assert vars(made) == {"w": 1, "b": 2}


def test_importing_versioned_imports_no_reader():
    """The mixin needs no file format of ours."""
    program = (
        "import sys, persist; persist.Versioned; "
        "print([name for name in sys.modules if name.startswith(('persist.readers', 'persist._wire', 'persist._container'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_face_names_what_it_offers():
    """Lazy, and each at its home."""
    for name in (
        "Versioned",
        "resource",
        "downgrade",
        "alias",
        "constant",
        "migration",
        "register",
        "stamp",
    ):
        assert callable(getattr(persist, name))
    assert importlib.import_module("persist.versioned").Versioned is persist.Versioned

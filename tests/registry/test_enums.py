"""Members of enums: out of the box by name, in every spelling of a pickle, renamed and re-valued."""

from __future__ import annotations

import copy
import enum
import io
import operator
import pickle
import signal
import sys
import types
import warnings
from typing import Any

import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import OpaqueWarning, SchemaError
from persist.tree import Global, Record

LAB = """
import enum

class Phase(enum.Enum):
    TRAIN = 1
    TEST = "t"
    PAIR = (1, 2)
    LAST = 1

class Level(enum.IntEnum):
    LOW = 1

class Word(enum.StrEnum):
    RELU = "relu"

class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4

class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2

class Outer:
    class Inner(enum.Enum):
        Z = 26
"""


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("lab_of_enums")
    exec(LAB, module.__dict__)
    monkeypatch.setitem(sys.modules, "lab_of_enums", module)
    return module


@pytest.fixture
def registry() -> persist.Registry:
    return persist.Registry("enums")


def members(lab: Any) -> list[Any]:
    return [
        lab.Phase.TRAIN, lab.Phase.TEST, lab.Phase.PAIR, lab.Phase.LAST, lab.Level.LOW,
        lab.Word.RELU, lab.Access.READ, lab.Access.READ | lab.Access.RUN, lab.Access(0),
        lab.Mode.READ | lab.Mode.WRITE, lab.Mode(17), lab.Mode(0), lab.Outer.Inner.Z, signal.SIGINT,
    ]  # fmt: skip


def saved(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    persist.save(value, out, **options)
    return out.getvalue()


def written(value: Any, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


def test_a_container_holds_members_by_name(lab: Any, registry: persist.Registry) -> None:
    for member in members(lab):
        data = saved({"one": member, "keys": {member: [member]}}, registry=registry)
        loaded = persist.load(data, registry=registry)
        assert loaded == {"one": member, "keys": {member: [member]}}
        assert type(loaded["one"]) is type(member)
    assert persist.open(saved(lab.Phase.TEST)).tree == Global("lab_of_enums", "Phase.TEST")
    both = lab.Access.READ | lab.Access.RUN
    assert persist.open(saved(both)).tree.qualname == "lab_of_enums.Access.READ|RUN"


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_members_are_read(lab: Any, protocol: int) -> None:
    for member in members(lab):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = pickle.dumps([member, {member: 1}], protocol)
            assert persist.load(data) == [member, {member: 1}]
            if protocol < 5 or sys.version_info >= (3, 8):
                ours = saved([member], format="pickle", protocol=protocol)
                assert persist.load(ours) == [member]
            assert not persist.explain(data).problems
    ours = saved([lab.Phase.TEST, lab.Level.LOW], format="pickle", protocol=protocol)
    assert pickle.loads(ours) == [lab.Phase.TEST, lab.Level.LOW]


def test_what_other_releases_of_python_wrote_is_read(lab: Any) -> None:
    """By value (3.4 to 3.10, 3.11.4 on), by getattr (3.11.0), flags as unions of their parts."""
    phase, access = Global("lab_of_enums", "Phase"), Global("lab_of_enums", "Access")
    get, union = Global("builtins", "getattr"), Global("_operator", "or_")

    def call(function: Global, *args: Any) -> Record:
        return Record(function, args=args, maker=function, kind="reduce")

    inner = call(Global("__builtin__", "getattr"), Global("lab_of_enums", "Outer"), "Inner")
    spellings = {
        call(phase, "t"): lab.Phase.TEST,
        call(get, phase, "TEST"): lab.Phase.TEST,
        call(get, phase, "LAST"): lab.Phase.TRAIN,
        call(get, inner, "Z"): lab.Outer.Inner.Z,
        call(access, 5): lab.Access.READ | lab.Access.RUN,
        call(union, call(get, access, "READ"), call(get, access, "RUN")): lab.Access.READ
        | lab.Access.RUN,
        call(union, call(Global("lab_of_enums", "Mode"), 1), 16): lab.Mode(17),
        call(Global("builtins", "object.__new__"), access, 0): lab.Access(0),
        Global("signal", "SIGINT"): signal.SIGINT,
    }
    for spelled, member in spellings.items():
        loaded = persist.load(written({"it": spelled}))
        assert loaded["it"] is member or loaded["it"] == member
        assert isinstance(loaded["it"], enum.Enum)
    assert operator.or_(lab.Mode(1), 16) == lab.Mode(17)


def test_a_constant_that_is_a_member_is_read_back_from_a_pickle(
    lab: Any, registry: persist.Registry
) -> None:
    registry.constant("lab.train", lab.Phase.TRAIN)
    for data in (saved([lab.Phase.TRAIN], registry=registry), pickle.dumps([lab.Phase.TRAIN])):
        assert persist.load(data, registry=registry) == [lab.Phase.TRAIN]


def test_a_class_that_moved_and_members_that_changed(lab: Any, registry: persist.Registry) -> None:
    registry.alias("oldlab.Stage", lab.Phase)
    registry.alias("oldlab.Stage.FIT", lab.Phase.TRAIN)  # renamed
    registry.alias("lab_of_enums.Phase(9)", lab.Phase.TEST)  # re-valued
    registry.alias("oldlab.Access", lab.Access)
    registry.alias("lab_of_enums.Access.EXEC", lab.Access.RUN)
    stage, get = Global("oldlab", "Stage"), Global("builtins", "getattr")

    def call(function: Global, *args: Any) -> Record:
        return Record(function, args=args, maker=function, kind="reduce")

    tree = [
        call(stage, 1), call(get, stage, "FIT"), Global("oldlab", "Stage.FIT"), call(stage, 9),
        Global("oldlab", "Stage.TEST"), Global("oldlab", "Access.READ|EXEC"),
    ]  # fmt: skip
    train, test = lab.Phase.TRAIN, lab.Phase.TEST
    both = lab.Access.READ | lab.Access.RUN
    wanted = [train, train, train, test, test, both]
    assert persist.load(written(tree), registry=registry) == wanted
    assert persist.load(saved(tree, registry=registry), registry=registry) == wanted


def test_a_registered_enum_is_saved_under_the_name_of_its_schema(
    registry: persist.Registry,
) -> None:
    class Local(enum.Enum):
        A = 1

    with pytest.raises(SchemaError, match="local enum"):
        persist.save(Local.A, io.BytesIO(), registry=registry)
    registry.register(Local, schema="lab.Kind")
    data = saved({"kind": Local.A}, registry=registry)
    assert persist.open(data).tree["kind"].qualname == "lab.Kind.A"
    assert persist.load(data, registry=registry) == {"kind": Local.A}
    gone = data.replace(b"lab.Kind", b"lab.Kin_")  # nobody knows it
    assert gone != data


def test_a_versioned_enum_pickles_and_copies_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("lab_of_versioned_enums")
    monkeypatch.setitem(sys.modules, "lab_of_versioned_enums", module)
    source = """
import enum, persist
class Kind(persist.Versioned, enum.Enum, schema="labe.Kind"):
    A = 1
    B = 2
class Old(persist.Versioned, enum.Flag, schema="labe.Old"):
    R = 1
    W = 2
"""
    exec(source, module.__dict__)
    for member in (*module.Kind, *module.Old, module.Old(3)):
        for protocol in range(6):
            data = pickle.dumps(member, protocol)
            assert pickle.loads(data) is member
            assert persist.load(data) is member
        assert copy.copy(member) is member
        assert copy.deepcopy([member]) == [member]
        assert persist.load(saved(member)) is member
    assert persist.open(saved(module.Kind.A)).tree.qualname == "labe.Kind.A"
    with pytest.raises(SchemaError, match=r"Leave version= and fields= out"):
        exec(source.replace('schema="labe.Kind"', 'version=2, schema="labe.Kind"'), {})


def test_a_lost_member_is_reported_and_the_remedy_works(
    lab: Any, registry: persist.Registry
) -> None:
    lost = Record("lab_of_enums.Phase", args=("gone",), kind="reduce")
    registry.register(lab.Phase)
    with pytest.raises(SchemaError, match="has no member") as caught:
        persist.load(written([lost]), registry=registry)
    assert persist.explain(written([lost]), registry=registry).problems
    words = caught.value.remedy.partition("persist.")[2].partition("),")[0] + ")"
    eval(f"registry.{words}", {"registry": registry, "Phase": lab.Phase})
    assert persist.load(written([lost]), registry=registry) == [lab.Phase.TRAIN]


def test_a_member_whose_module_is_not_imported_is_reported(registry: persist.Registry) -> None:
    tree = {"phase": Global("nowhere_of_enums", "Phase.TRAIN")}
    with pytest.warns(OpaqueWarning, match=r"nowhere_of_enums\.Phase\.TRAIN stayed a name"):
        loaded = persist.load(saved(tree, registry=registry), registry=registry)
    assert loaded == tree

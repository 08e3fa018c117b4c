"""Trees: records keep everything, look like what they were, and survive a pickle."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from persist.errors import PersistError
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record, View, is_slots_pair


@pytest.fixture
def record() -> Record:
    return Record("lab.nets.Layer", {"weights": [1, 2], "args": "a field", 5: "five"})


def test_a_record_looks_like_what_it_was(record: Record) -> None:
    assert record.qualname == "lab.nets.Layer"
    assert record.cls == Global("lab.nets", "Layer")
    assert record.weights == record["weights"] == [1, 2]
    assert record[5] == "five"
    assert "weights" in record
    assert "bias" not in record
    assert list(record) == ["weights", "args", 5]
    assert "weights" in dir(record)
    assert repr(record) == "<lab.nets.Layer, a record: weights, args, 5>"


def test_a_field_with_the_name_of_a_part_is_reached_as_an_item(record: Record) -> None:
    assert record.args == ()
    assert record["args"] == "a field"
    record["args"] = "another"
    assert record.args == ()
    assert record.fields()["args"] == "another"


def test_fields_are_set_and_deleted(record: Record) -> None:
    record.bias = 3
    record["weights"] = 4
    del record[5]
    assert record.state == {"weights": 4, "args": "a field", "bias": 3}
    del record.bias
    with pytest.raises(AttributeError, match="has no field 'bias'"):
        _ = record.bias
    with pytest.raises(KeyError):
        record["bias"]
    with pytest.raises(KeyError):
        del record["bias"]
    with pytest.raises(AttributeError):
        del record.bias


def test_slots_and_attributes_are_one() -> None:
    record = Record("m.C", ({"a": 1}, {"b": 2}))
    assert record.fields() == {"a": 1, "b": 2}
    record.b = 3
    record.c = 4
    assert record.state == ({"a": 1, "c": 4}, {"b": 3})
    only_slots = Record("m.C", (None, {"b": 2}))
    only_slots.c = 4
    assert only_slots.state == (None, {"b": 2, "c": 4})


@pytest.mark.parametrize(
    ("state", "is_pair"),
    [
        (({"a": 1}, {"b": 2}), True),
        ((None, {"b": 2}), True),
        (({}, None), True),
        ((None, None), False),
        (({"a": 1}, [1]), False),
        (([1, 2], [3]), False),
        (({"a": 1},), False),
        ([{"a": 1}, {"b": 2}], False),
        ({"a": 1}, False),
    ],
)
def test_a_pair_of_slots_is_distinguished_from_a_tuple_of_the_classs_own(
    state: Any, is_pair: bool
) -> None:
    assert is_slots_pair(state) is is_pair


def test_a_state_that_is_no_fields_takes_none() -> None:
    record = Record("m.C", (1, 2))
    assert record.fields() == {}
    with pytest.raises(KeyError, match="a tuple, not fields"):
        record["a"] = 1
    empty = Record("m.C")
    empty.a = 1
    assert empty.state == {"a": 1}
    assert repr(Record("m.C", (1, 2))) == "<m.C, a record: state: tuple>"
    assert repr(Record("m.C", args=(1,))) == "<m.C, a record: 1 arguments>"
    assert repr(Record("m.C", version=2)) == "<m.C version 2, a record: no fields>"


def test_a_record_survives_pickle_and_copy_with_its_cycle() -> None:
    record = Record(
        "m.C",
        {"n": 1},
        maker=Global("m", "make"),
        kind="reduce",
        args=(1,),
        listitems=[2],
        dictitems=[("k", 3)],
        version=4,
    )
    record.me = record
    for protocol in range(6):
        for other in (pickle.loads(pickle.dumps(record, protocol)), copy.deepcopy(record)):
            assert other.me is other
            assert (other.qualname, other.kind, other.version) == ("m.C", "reduce", 4)
            assert (other.args, other.listitems, other.dictitems) == ((1,), [2], [("k", 3)])
            assert other.maker == Global("m", "make")


def test_absent_is_one_and_false() -> None:
    assert not ABSENT
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert copy.deepcopy(ABSENT) is ABSENT
    assert repr(ABSENT) == "ABSENT"


def test_globals_are_names() -> None:
    assert Global("os", "system") == Global("os", "system")
    assert Global("os", "system") != Global("posix", "system")
    assert Global("os", "system") != "os.system"
    assert len({Global("os", "system"), Global("os", "system")}) == 1
    assert str(Global("", "list")) == "list"
    assert repr(PersistentRef("x" * 200)).count("x") <= 80


def test_a_lazy_array_reads_when_it_is_asked() -> None:
    whole = np.arange(12.0).reshape(4, 3)
    asked: list[Any] = []

    def fetch() -> np.ndarray[Any, Any]:
        asked.append("all")
        return whole

    def rows(start: int, stop: int) -> np.ndarray[Any, Any]:
        asked.append((start, stop))
        return whole[start:stop]

    lazy = LazyArray(whole.dtype, whole.shape, fetch, rows)
    assert (lazy.ndim, lazy.size, lazy.nbytes, len(lazy)) == (2, 12, 96, 4)
    assert asked == []
    assert lazy[1:3].tolist() == whole[1:3].tolist()
    assert lazy[0:4:2].tolist() == whole[0:4:2].tolist()
    assert lazy[3:1].tolist() == []
    assert asked == [(1, 3), (0, 4), (3, 3)]
    assert lazy[::-1].tolist() == whole[::-1].tolist()
    assert asked[-1] == "all"
    assert np.asarray(lazy, dtype="f4").dtype == "f4"
    assert np.array(lazy, copy=True) is not whole
    assert asked.count("all") == 1
    assert pickle.loads(pickle.dumps(lazy)).tolist() == whole.tolist()


def test_a_lazy_array_that_lies_is_an_error() -> None:
    lazy = LazyArray(np.dtype("f8"), (3,), lambda: np.zeros(2))
    with pytest.raises(PersistError, match="gave float64"):
        np.asarray(lazy)
    with pytest.raises(TypeError):
        len(LazyArray(np.dtype("f8"), (), lambda: np.zeros(())))


def test_a_view_holds_what_a_pack_said() -> None:
    view = View(5, parts={"a": 1}, hoisted=[("W", 2)], structure={"k": "v"}, whole=True)
    assert (view.value, view.parts, view.hoisted) == (5, {"a": 1}, [("W", 2)])
    assert View().value is ABSENT


def test_the_fields_in_an_envelope_look_like_any_others() -> None:
    """What a Versioned object's plain pickle holds, where its class is not here."""
    from persist._envelope import Layer, seal, unwrap, wrap

    layers = [
        Layer("m.Base", 1, "", "fields", ("w", "b")),
        Layer("m.Coded", 1, "", "codec", None),
        Layer("m.C", 3, "", "fields", ("n", "w")),
        Layer("builtins.set", 0, "", "items", None),
    ]
    record = Record("m.C", wrap(seal(layers), [(1, 2), {"c": 3}, (4, 5), [6]]))
    assert record.fields() == {"w": 1, "b": 2, "c": 3, "n": 4, "w~2": 5}
    assert (record.w, record["w~2"], "n" in record, list(record)) == (
        1,
        5,
        True,
        [*"wbcn", "w~2"],
    )
    assert "w, b, c, n" in repr(record)
    record.w, record["w~2"], record["c"], record.new = 10, 50, 30, 7
    del record["b"]
    assert record.fields() == {"w": 10, "c": 30, "n": 4, "w~2": 50, "new": 7}
    envelope = unwrap(record.state)
    assert envelope is not None
    assert [layer[:2] for layer in envelope.layers] == [layer[:2] for layer in layers]
    with pytest.raises(KeyError):
        del record["b"]
    with pytest.raises(KeyError, match="set .state itself"):
        record[5] = 1

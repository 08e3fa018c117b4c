"""What a pickle holds is reachable: no view leaves out, renames or misplaces a value.

The cases are kinds of files met in the wild; `tests/cases/NAME/` holds each file and its recipe.
"""

from __future__ import annotations

import array
import contextlib
import datetime
import decimal
import math
import pickle
import pickletools
import re
import sqlite3
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import Record
from persist._wire.pickle.numpy_rebuild import array_of_parts
from persist._wire.pickle.writer import PickleWriter
from persist.tree import ABSENT, Global, LazyArray, PersistentRef

pytestmark = pytest.mark.packs  # the views are those of the packs

CASES = Path(__file__).parents[1] / "cases"
CORPUS = Path(__file__).parents[1] / "corpus"


def written(value: Any, protocol: int = 4) -> bytes:
    """Return a pickle of a tree of records."""
    out = bytearray()
    PickleWriter(out.extend, protocol).dump(value)
    return bytes(out)


def record(
    name: str, state: Any = ABSENT, args: tuple[Any, ...] = (), kind: str = "newobj"
) -> Record:
    cls = Global(*name.rsplit(".", 1))
    maker = cls if kind == "reduce" else None
    return Record(cls, state, maker=maker, kind=kind, args=args)


# Every text and number of the corpus.

# Words with which pandas and NumPy describe their own layout; a view says the same by its shape.
WORDS = frozenset(
    (
        "mgr_locs", "values", "dataframe", "series", "python", "pyarrow", "item", "us", "_name",
        "name", "large_string", "int8", "date32[day]", "b", "utf-8",
    )
)  # fmt: skip
CHECKSUMS = frozenset((82904607, 223698104, 222419149, 238750788))  # of Cython's makers


def plain_leaves(root: Any) -> set[Any]:
    """Return the texts and numbers of a tree as written, by a walk that knows no view.

    Names of fields are no data; the keys of other dicts are.
    """
    found: set[Any] = set()
    seen: set[int] = set()
    kept: list[Any] = []
    todo: list[tuple[Any, bool]] = [(root, False)]  # with whether keys are names of fields
    while todo:
        value, is_state = todo.pop()
        if isinstance(value, bytes | bytearray):
            found.add(bytes(value).decode("latin-1"))
        elif isinstance(value, str):
            found.add(str(value))
        elif isinstance(value, np.generic) and value.dtype.kind in "iufc":
            found.add(value.item())
        elif isinstance(value, int | float | complex) and not isinstance(value, bool):
            found.add(value)
        if isinstance(value, array.array):
            todo += [(item, False) for item in value]
        if isinstance(value, str | bytes | int | float | complex | type(None)) or id(value) in seen:
            continue
        seen.add(id(value))
        kept.append(value)
        if isinstance(value, LazyArray):
            value = np.asarray(value)
        if isinstance(value, np.ndarray):
            todo += [(item, False) for item in _items(value)]
        elif isinstance(value, dict):
            todo += [(item, is_state) for item in value.values()]
            todo += [(key, False) for key in value if not (is_state and isinstance(key, str))]
        elif isinstance(value, tuple) and (made := array_of_parts(value)) is not None:
            todo.append((made, False))
            todo += [(item, is_state) for item in value[5:]]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            todo += [(item, is_state) for item in value]
        elif isinstance(value, Record):
            if value.qualname.startswith("pyarrow."):  # buffers, of which arrays are made
                todo += [
                    (part, True) for part in value.args if not isinstance(part, bytes | bytearray)
                ]
                continue
            parts = (value.args, value.kwargs, value.listitems, value.dictitems, value.state)
            todo += [(part, True) for part in parts if part is not ABSENT]
        elif isinstance(value, PersistentRef):
            todo.append((value.pid, False))
        elif isinstance(value, slice | range):
            todo += [(part, False) for part in (value.start, value.stop, value.step)]
    return found


def _items(array: np.ndarray[Any, Any]) -> list[Any]:
    if array.dtype.names is not None:
        return [array[name] for name in array.dtype.names]
    if array.dtype.kind == "T":
        array = array.astype(object)
    if array.dtype.kind in "mM":
        array = array.astype("i8")
    return array.ravel()[:200].tolist() if array.dtype.kind in "iufcSUO" else []


def reachable(file: persist.File) -> set[Any]:
    """Return what the arrays, the scalars, their paths and the structure of a file show."""
    found: set[Any] = set()
    for names in (file.arrays, file.scalars):
        for path, leaf in names.items():
            steps = path.split("/")
            found.update((path, *steps, *(step.split("~")[0] for step in steps)))
            if isinstance(leaf, Global):
                found.update((leaf.qualname, leaf.module, leaf.name))
            elif isinstance(leaf, datetime.datetime | datetime.time):
                found.update(_moments(leaf))
            elif isinstance(leaf, datetime.timedelta):
                found |= {
                    leaf // datetime.timedelta(microseconds=1) * 1000,
                    leaf.days,
                    leaf.seconds,
                }
            elif isinstance(leaf, np.datetime64 | np.timedelta64):
                found.add(int(leaf.astype("i8")))
            else:
                found |= plain_leaves(leaf)
    return found


def _moments(moment: Any) -> set[Any]:
    zone = moment.tzinfo
    found: set[Any] = {str(zone), getattr(zone, "key", None), moment.tzname()}
    if isinstance(moment, datetime.datetime):
        plain = moment.astimezone(datetime.UTC) if zone else moment.replace(tzinfo=datetime.UTC)
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        micro = (plain - epoch) // datetime.timedelta(microseconds=1)
        found |= {micro * 1000, micro, micro // 1000, micro // 1000000}
    return found


def is_trifle(value: Any) -> bool:
    """Whether a value is in most files by chance, so that finding it proves nothing."""
    if isinstance(value, str):
        is_buffer = not value.isprintable() and "\0" in value  # raw bytes behind an array
        return not value or value in WORDS or value.startswith("period[") or is_buffer
    if isinstance(value, complex):
        return False
    return (
        value in CHECKSUMS or not math.isfinite(value) or (abs(value) <= 16 and value == int(value))
    )


def unreached(file: persist.File) -> list[Any]:
    """Return the texts and numbers of a file that no path leads to."""
    shown = reachable(file)
    texts = "\0".join(str(item) for item in shown) + "\0" + repr(file.structure)
    return sorted(
        (
            value
            for value in plain_leaves(file.tree)
            if value not in shown and not is_trifle(value) and str(value) not in texts
        ),
        key=str,
    )


PICKLES = sorted(
    path
    for family in ("pandas", "pickle", "sklearn", "scipy", "random", "gensim")
    for path in (CORPUS / family).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".json", ".npy", ".c")
) + sorted(path for path in CASES.rglob("*") if path.suffix in (".pkl", ".dill", ".cloudpickle"))


# pytz writes into each zone what it was at one moment; the name states the zone, the moment its offset.
OF_ZONES = frozenset(("CET", "CEST", "EST", "LMT", "JST", 3600, 32400, -18000))


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: "-".join(path.parts[-2:]))
def test_every_text_and_number_of_the_corpus_is_shown(path: Path) -> None:
    try:
        file = persist.open(path)
    except persist.PersistError:
        pytest.skip("a part of a series, which stands for nothing alone")
    with file:
        lost = [value for value in unreached(file) if value not in OF_ZONES]
        assert not lost or _in_code(file, lost)


def _in_code(file: persist.File, lost: list[Any]) -> bool:
    """Whether all of it is in classes that the file holds by value, whose code is not shown."""
    return bool(file.structure.get("classes"))


# The stream itself against the tree.


def found_by_opcodes(data: bytes) -> set[Any]:
    """Return the texts and numbers that the opcodes of a pickle carry."""
    found: set[Any] = set()
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in ("PROTO", "FRAME") or "PUT" in name or "GET" in name or "EXT" in name:
            continue
        if name in ("GLOBAL", "INST"):
            continue
        if isinstance(argument, str | int | float) and not isinstance(argument, bool):
            found.add(argument)
    return found


def keys_and_names(root: Any) -> Iterator[str]:
    """Yield the names of fields and classes in a tree."""
    seen: dict[int, Any] = {}
    todo = [root]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, bytes | bytearray):
            yield value.decode("latin-1")
        elif isinstance(value, Global):
            yield value.module
            yield value.name
            yield from value.name.split(".")
        elif isinstance(value, Record):
            todo += [value.cls, value.maker, value.args, value.kwargs, value.state]
            todo += [value.listitems, value.dictitems]
        elif isinstance(value, dict):
            yield from (key for key in value if isinstance(key, str))
            todo += [*value, *value.values(), getattr(value, "__dict__", None)]
            todo += [getattr(value, "default_factory", None)]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            todo += value
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            todo += value.ravel().tolist()
        elif isinstance(value, np.dtype | datetime.tzinfo | decimal.Decimal):
            yield str(value)
        elif isinstance(value, datetime.datetime) and value.tzinfo is not None:
            yield str(value.tzinfo)
        if isinstance(value, np.ndarray):
            yield str(value.dtype)


def lost_by_machine(file: persist.File, data: bytes) -> list[Any]:
    held = plain_leaves(file.tree) | set(keys_and_names(file.tree))
    texts = "\0".join(map(str, held)) + "\0" + repr(file.structure)
    return sorted(
        (
            value
            for value in found_by_opcodes(data)
            if value not in held
            and not is_trifle(value)
            and str(value) not in texts
            and not SPELLINGS.fullmatch(str(value))
            and not (isinstance(value, str) and not (value.isascii() and value.isprintable()))
        ),
        key=str,
    )


# How NumPy and Python spell a dtype, flags of one, an encoding; what a tree holds as the dtype itself.
SPELLINGS = re.compile(r"[<>|=]?[a-zA-Z]\d*|[<>|=]|latin-?1|63|64|56|624|weak_type")


STREAMS = [
    path
    for path in PICKLES
    if path.suffix in (".pkl", ".save", ".dill", ".cloudpickle", ".model")
    and path.parent.name != "zones"
]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: "-".join(path.parts[-2:]))
def test_the_tree_holds_what_the_opcodes_carry(path: Path) -> None:
    data = path.read_bytes()
    try:
        file = persist.open(data)
        found_by_opcodes(data)
    except (persist.PersistError, UnicodeDecodeError):
        return  # a file with neighbours; Latin-1 in protocol 0, which pickletools cannot spell
    with file:
        lost = lost_by_machine(file, data)
        assert not lost or file.structure.get("classes")


# What is reported where a view does not fit.


def series(values: Any, index: Any, name: Any = None) -> Record:
    """As pandas of 2012 pickles a series."""
    function, args, state = np.asarray(values).__reduce__()
    made = Record(
        Global("pandas.core.series", "Series"),
        maker=Global(function.__module__, function.__name__),
        kind="reduce",
        args=(Global("pandas.core.series", "Series"), *args[1:]),
    )
    made.state = (state, (np.asarray(index), name))
    return made


def test_a_series_whose_index_is_longer_is_a_record_and_reported() -> None:
    with persist.open(
        written({"good": series([1.5], [1]), "bad": series([1.5, 2.5], [1, 2, 3])})
    ) as file:
        assert file.arrays["good/values"].tolist() == [1.5]
        assert "bad/values" not in file.arrays
        assert file.arrays["bad"].tolist() == [1.5, 2.5]
        assert file.arrays["bad/state/1/0"].tolist() == [1, 2, 3]
        assert any("values and index have" in note for note in file.damage)
        assert "shown as its record" in str(file)


def frame(blocks: list[Any], labels: list[str], rows: int, **more: Any) -> Record:
    """As pandas 1.5 pickles a frame."""
    made = [
        record("pandas._libs.internals._unpickle_block", args=block, kind="reduce")
        for block in blocks
    ]
    index = {"data": np.array(labels, object), "name": None}
    axes = [
        record(
            "pandas.core.indexes.base._new_Index",
            args=(Global("pandas", "Index"), index),
            kind="reduce",
        ),
        np.arange(rows),
    ]
    manager = record(
        "pandas.core.internals.managers.BlockManager", args=(tuple(made), axes), kind="reduce"
    )
    name = more.pop("cls", "pandas.core.frame.DataFrame")
    return record(name, {"_mgr": manager, "_typ": "dataframe", **more})


BLOCK = (np.array([[1.5, 2.5]]), slice(0, 1, 1), 2)


@pytest.mark.parametrize(
    ("blocks", "labels", "why"),
    [
        ([BLOCK], ["a", "b"], "the values of 1 of 2 columns were not found: 'b'"),
        ([BLOCK, BLOCK], ["a"], "has two blocks"),
        ([(np.ones((2, 2)), slice(0, 1, 1), 2)], ["a"], "more rows than places"),
        ([(np.ones((1, 3)), slice(0, 1, 1), 2)], ["a"], "values and index have"),
        ([(np.ones((1, 2)), record("lab.Places", args=(0,)), 2)], ["a"], "has no label"),
    ][:4],
)
def test_a_frame_of_which_something_would_be_left_out_is_a_record(
    blocks: list[Any], labels: list[str], why: str
) -> None:
    with persist.open(written({"table": frame(blocks, labels, 2)})) as file:
        assert any(why in note for note in file.damage), file.damage
        assert "table/_mgr/args/0/0/args/0" in file.arrays
        assert not unreached(file)


def test_a_subclass_of_a_frame_is_a_frame_with_its_own_attributes() -> None:
    table = frame(
        [BLOCK], ["a"], 2, cls="geopandas.GeoDataFrame", crs="epsg:4326", _metadata=["crs"]
    )
    with persist.open(written(table)) as file:
        assert file.arrays["a"].tolist() == [1.5, 2.5]
        assert file.scalars["crs"] == "epsg:4326"
        assert file.damage == []


# The cases of `tests/cases`.


def test_a_frame_that_dill_wrote() -> None:
    with persist.open(CASES / "dill_frame" / "frame.dill") as file:
        assert file.arrays["loss"].tolist() == [1.5, 2.5]
        assert file.arrays["step"].tolist() == [1, 2]
        assert file.arrays["index"].tolist() == [3, 4]
        assert [file.scalars["tag/0"], file.scalars["tag/1"]] == ["a", "b"]
        assert file.damage == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("range(0, 3)", range(3)),
        ("xrange(5)", range(5)),
        ("range(4, 0, -2)", range(4, 0, -2)),
        ("Ellipsis", ...),
        ("NotImplemented", NotImplemented),
    ],
)
def test_texts_that_dill_would_evaluate_are_read(text: str, value: Any) -> None:
    call = record("dill._dill._eval_repr", args=(text,), kind="reduce")
    assert persist.open(written([call])).tree == [value]


def test_other_texts_of_dill_are_not() -> None:
    call = record("dill._dill._eval_repr", args=("__import__('os')",), kind="reduce")
    with persist.open(written([call])) as file:
        assert isinstance(file.tree[0], Record)
        assert file.scalars["0/args/0"] == "__import__('os')"


def test_types_that_dill_names_by_text() -> None:
    kind = record("dill._dill._load_type", args=("complex",), kind="reduce")
    file = persist.open(
        written([kind, record("dill._dill._load_type", args=("CodeType",), kind="reduce")])
    )
    assert file.tree == [Global("builtins", "complex"), Global("types", "CodeType")]


def test_a_sparse_series_of_2012() -> None:
    with persist.open(CASES / "sparse_series_of_2012" / "sparse.pkl") as file:
        assert file.arrays["series/values/sp_values"].tolist() == [1, 2, 3, 12]
        assert file.arrays["series/values/sp_index"].tolist() == [1, 2, 3, 6]
        assert math.isnan(file.scalars["series/values/fill_value"])
        assert file.arrays["series/index"].tolist() == list(range(7))
        assert file.scalars["series/name"] == "rain"


def test_what_an_index_means_is_next_to_its_numbers() -> None:
    with persist.open(CASES / "pandas_meaning_lost" / "market.pkl") as file:
        assert file.arrays["months/values/ordinals"].tolist() == [516, 517, 518, 519]
        assert file.scalars["months/values/freq"] == "M"
        assert file.scalars["months/name"] == "month"
        assert "months/values/name" not in file.scalars
        assert file.scalars["by_month/index/freq"] == "M"
        assert file.scalars["frame/index/tz"] == "US/Eastern"
        assert file.scalars["frame/index/freq"] == "Day"
        assert file.scalars["days/values/tz"] == "US/Eastern"
        assert file.scalars["zoned/values/tz"] == "US/Eastern"
        assert file.arrays["zoned/values"].dtype.kind == "M"


def test_an_offset_keeps_its_count_and_its_settings() -> None:
    offset = record(
        "pandas.tseries.offsets.Week",
        {"n": 2, "normalize": False, "kwds": {"weekday": 3}, "weekday": 3},
    )
    index = record(
        "pandas.tseries.index._new_DatetimeIndex",
        args=(
            Global("pandas.tseries.index", "DatetimeIndex"),
            {"data": np.array(["2015-01-01"], "M8[ns]"), "freq": offset},
        ),
        kind="reduce",
    )
    with persist.open(written({"i": index})) as file:
        assert file.scalars["i/values/freq"] == "2 * Week"
        assert file.scalars["i/values/freq/weekday"] == 3


@pytest.mark.parametrize(
    ("args", "value"),
    [
        ((1420167845678000000, None, None), datetime.datetime(2015, 1, 2, 3, 4, 5, 678000)),
        ((1420167845678000001, None, None), np.datetime64(1420167845678000001, "ns")),
    ],
)
def test_a_timestamp_keeps_its_nanoseconds(args: tuple[Any, ...], value: Any) -> None:
    moment = record("pandas._libs.tslibs.timestamps.Timestamp", args=args, kind="reduce")
    data = written({"at": moment})
    assert persist.open(data).scalars["at"] == value
    loaded = persist.load(data)["at"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_timestamp_with_nanoseconds_keeps_its_zone() -> None:
    zone = record("pytz._p", args=("US/Eastern", -17760, 0, "LMT"), kind="reduce")
    moment = record("pandas._libs.tslibs.timestamps.Timestamp", args=(5, None, zone), kind="reduce")
    file = persist.open(written({"at": moment}))
    assert file.scalars["at"] == np.datetime64(5, "ns")
    assert file.scalars["at/tz"] == "US/Eastern"


def test_a_timedelta_keeps_its_nanoseconds() -> None:
    span = record(
        "pandas._libs.tslibs.timedeltas._timedelta_unpickle", args=(1001, 10), kind="reduce"
    )
    assert persist.open(written([span])).scalars["0"] == np.timedelta64(1001, "ns")


def test_keys_that_are_instances_are_named_by_what_they_hold() -> None:
    with persist.open(CASES / "keys_of_lost_text_class" / "scores.pkl") as file:
        assert dict(file.scalars) == {
            "accuracy/plain": 0.5,
            "accuracy/boosted": 0.75,
            "loss/train": 0.1,
            "loss/test": 0.2,
            "weights/(0, 1)": 1.5,
            "weights/(1, 2)": 2.5,
        }
        assert file.structure["key_classes"] == {
            "accuracy": "words.Name",
            "loss": "words.Split",
            "weights": "words.Edge",
        }


def test_a_key_that_its_step_cannot_spell_stands_next_to_the_value() -> None:
    key = record("lab.Key", {"part": "left", "size": 20.5})
    with persist.open(written({key: 0.25, (record("lab.Side", args=("up",)), 2): 0.5})) as file:
        assert file.scalars["<lab.Key>"] == 0.25
        assert file.scalars["<lab.Key>~key/part"] == "left"
        assert file.scalars["<lab.Key>~key/size"] == 20.5
        assert file.scalars["('up', 2)"] == 0.5


def test_the_record_behind_a_view_is_reachable() -> None:
    with persist.open(CASES / "pandas_meaning_lost" / "market.pkl") as file:
        assert file.scalars["months/~record/args/1/name"] == "month"
        assert "months/~record/args/1/lost" not in file.scalars
        assert file.scalars["frame/~record/_typ"] == "dataframe"
        assert not any("~record" in path for path in file.scalars)


def test_arrays_of_jax() -> None:
    with persist.open(CASES / "jax_arrays_in_pickle" / "params.pkl") as file:
        seen = {path: (array.dtype.name, array.shape) for path, array in file.arrays.items()}
        assert seen == {
            "params/w": ("float32", (2, 3)),
            "params/half": ("bfloat16", (2,)),
            "params/step": ("int32", ()),
            "params/key": ("uint32", (2,)),
        }
        assert file.arrays["params/w"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert np.asarray(file.arrays["params/half"]).astype(float).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["tagger.cloudpickle", "tagger.dill"])
def test_an_instance_of_a_class_that_the_file_holds_itself(name: str) -> None:
    registry = persist.Registry("lab")

    class Tagger(persist.Versioned, version=1, schema="case.Tagger", registry=registry):
        persistent = ("weights", "scale")

    registry.alias("__main__.Tagger", Tagger)
    with persist.open(CASES / "class_by_value" / name) as file:
        assert file.tree.qualname == "__main__.Tagger"
        assert file.structure["classes"]["__main__.Tagger"]["holds"][-1] != ""
        assert "__init__" in file.structure["classes"]["__main__.Tagger"]["holds"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the function that stays a record
        loaded = persist.load(CASES / "class_by_value" / name, registry=registry)
    assert type(loaded) is Tagger
    assert loaded.weights.tolist() == [0, 1, 2]
    assert isinstance(loaded.scale, Record)


def test_the_sixth_item_of_a_reduction_is_the_state() -> None:
    """``(maker, args, None, None, None, setter)``: the call of the setter is thrown away, its state is not."""
    data = b"\x80\x04clab\nThing\n)R" + b"clab\nset_state\n" + b"N0"
    opcodes = pickle.dumps({"weight": 20.5}, 0)[:-1]
    data = b"clab\nThing\n(tRp9\nclab\nset_state\n(g9\n" + opcodes + b"tR0."
    with persist.open(data) as file:
        assert file.tree.qualname == "lab.Thing"
        assert file.scalars["weight"] == 20.5


@pytest.mark.parametrize("value", [..., NotImplemented, (slice(None), ...)], ids=repr)
def test_singletons_are_values_and_saved_again(value: Any, tmp_path: Path) -> None:
    for protocol in range(6):
        assert persist.open(pickle.dumps([value], protocol)).tree == [value]
    persist.save([value], tmp_path / "a.persist")
    assert persist.load(tmp_path / "a.persist") == [value]


def test_a_structured_array_with_objects_is_shown_by_column() -> None:
    with persist.open(CASES / "structured_with_objects" / "table.npy") as file:
        assert file.arrays["close"].tolist() == [119, 120, 123]
        assert file.arrays["close"].dtype == np.float64
        assert [file.scalars[f"tag/{row}"] for row in range(3)] == ["t19", "t20", "t23"]
        assert file.scalars["date/2"] == datetime.date(2004, 8, 23)


def test_containers_of_plain_values_are_not_walked_for_arrays() -> None:
    inner = [[0.5, 1.5], ("a", None), {"x": 1}]
    with persist.open(pickle.dumps([inner, {"w": np.ones(2)}, [[np.zeros(1)]]])) as file:
        assert list(file.arrays) == ["1/w", "2/0/0"]
        assert file.scalars["0/0/1"] == 1.5
        assert list(file.scalars) == ["0/0", "0/1/0", "0/1/1", "0/2/x"]


def test_a_pickle_in_bytes_is_reported_and_openable_by_path(tmp_path: Path) -> None:
    inner = pickle.dumps({"w": np.arange(3.0), "note": "inside"}, 4)
    data = pickle.dumps({"blob": inner, "raw": b"\x80\x04 is no pickle" * 3})
    with persist.open(data) as file:
        assert file.scalars["blob"] == inner
        assert file.arrays["blob/w"].tolist() == [0, 1, 2]
        assert file.scalars["blob/note"] == "inside"
        assert "raw/w" not in file.arrays
        assert "a pickle; its parts are below its path" in str(file)
    path = tmp_path / "study.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE trials (id INT, params BLOB)")
        database.execute("INSERT INTO trials VALUES (1, ?)", (inner,))
        database.commit()
    with persist.open(path) as file:
        assert file.arrays["trials/params/0/w"].tolist() == [0, 1, 2]

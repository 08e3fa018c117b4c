"""What is written is what is read: any tree, by any reader."""

from __future__ import annotations

import io
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
from alike import assert_alike, contents
from effort import examples
from hypothesis import HealthCheck, given, settings
from trees import trees

import persist
from persist import _container
from persist.errors import FormatError, MissingExtraError
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record

RELAXED = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=False,
)


def saved(tree: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    _container.write(tree, file, **options)
    return file.getvalue()


def again(tree: Any, verify: str | None = None, **options: Any) -> Any:
    return _container.read(saved(tree, **options), verify=verify)[0]


@RELAXED
@given(tree=trees())
def test_a_tree_is_itself_after_writing_and_reading(tree: Any) -> None:
    data = saved(tree)
    assert _container.verify(data) == []
    for verify in (None, "lazy", "always"):
        assert_alike(tree, _container.read(data, verify=verify)[0])


@RELAXED
@given(tree=trees())
def test_sixty_lines_read_every_tree(tree: Any, plain_reader: Any) -> None:
    assert_plain(tree, plain_reader(io.BytesIO(saved(tree))))


@RELAXED
@given(tree=trees())
def test_zip_tools_and_numpy_find_no_fault(tree: Any) -> None:
    data = saved(tree)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(set(names)) == len(names)
    with np.load(io.BytesIO(data)) as arrays:
        for name in names:
            if name.endswith(".npy"):
                arrays[name.removesuffix(".npy")]


def assert_plain(one: Any, other: Any) -> None:
    """What the 60-line reader gives is the tree, with records as dicts and rarer kinds as tuples."""
    todo, seen = [(one, other)], set()
    while todo:
        a, b = todo.pop()
        if (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        if type(a) is float:
            assert np.float64(a).tobytes() == np.float64(b).tobytes()
        elif type(a) in (int, str, bool, bytes, bytearray):
            assert type(a) is type(b)
            assert a == b
        elif type(a) in (list, tuple, deque):
            assert len(a) == len(b)
            todo += zip(a, b, strict=True)
        elif type(a) in (dict, OrderedDict, defaultdict, Counter):
            todo += zip(a.values(), b.values(), strict=True)
        elif type(a) is set:
            assert len(a) == len(b)
        elif type(a) is Record:
            assert b["class"] == [a.cls.module, a.cls.name]
            assert b["version"] == a.version
            if a.state is not ABSENT:
                todo.append((a.state, b["state"]))
        elif type(a) is np.ndarray and not a.dtype.hasobject:
            assert a.shape == b.shape
            if b.dtype.names is None and a.dtype.names is not None:  # what NPY cannot say: the bits
                b = np.ndarray(a.shape, a.dtype, b.tobytes())
            assert contents(a) == contents(b)


# What is shared, and what is alone.


def test_arrays_that_overlap_are_stored_once_and_share_again() -> None:
    base = np.arange(1000.0)
    tree = {
        "view": base[10:20],
        "all": base,
        "turned": base.reshape(10, 100).T,
        "every": base[::-7],
    }
    data = saved(tree)
    made = _container.read(data)[0]
    assert_alike(tree, made)
    for name in ("view", "turned", "every"):
        assert np.shares_memory(made[name], made["all"])
    with np.load(io.BytesIO(data)) as arrays:
        assert np.array_equal(arrays["all"], base)
        assert [name for name in arrays.files if "." not in name] == ["all"]
    assert len(data) < base.nbytes + 4000


def test_a_change_of_one_shows_in_the_other_when_loaded() -> None:
    base = np.arange(6.0)
    data = saved({"a": base, "b": base[2:]})
    for verify in ("never", "lazy"):
        made, _ = _container.read(bytearray(data), writable=True, verify=verify)
        a, b = (np.asarray(made[name]) for name in "ab")
        a[2] = 77
        assert b[0] == 77


def test_a_lone_view_is_stored_as_its_own_bytes() -> None:
    base = np.zeros(1_000_000)
    assert len(saved([base[5:10]])) < 4000
    assert len(saved([base.reshape(1000, 1000)[:, 3]])) < 13_000


def test_overlapping_views_without_their_base_store_what_they_cover() -> None:
    base = np.arange(1_000_000.0)
    tree = [base[100:200], base[150:250]]
    data = saved(tree)
    assert len(data) < 5000
    one, other = _container.read(data)[0]
    assert np.shares_memory(one, other)
    assert_alike(tree, [one, other])
    with np.load(io.BytesIO(data)) as arrays:
        assert np.array_equal(arrays["0~memory"], base[100:250])


@pytest.mark.parametrize(
    "make",
    [
        lambda x: [x[:, :10], x[:, 5:15]],
        lambda x: [x[::100], x[::100][2:], x[::100][::-1]],
        lambda x: [x[:, 3], x[:, 3][5:]],
        lambda x: [x[::-2, ::-3], x[10:20, 4:90:3]],
        lambda x: [x.T[4:6], x[:, 5]],
    ],
    ids=["windows", "rows", "column", "backwards", "turned"],
)
def test_shared_memory_with_holes_is_cut_to_what_is_covered(make: Any) -> None:
    tree = make(np.arange(1_000_000.0).reshape(1000, 1000))
    data = saved(tree)
    made = _container.read(data)[0]
    assert_alike(tree, made)
    assert np.shares_memory(made[0], made[1]) == np.shares_memory(tree[0], tree[1])
    if np.shares_memory(tree[0], tree[1]) and tree[0].size < 200_000:
        assert len(data) < 3 * sum(part.nbytes for part in tree) + 8000


def test_columns_and_fields_that_do_not_share_stay_apart() -> None:
    table = np.zeros(100, [("a", "i4"), ("b", "f8")])
    data = saved({"a": table["a"], "b": table["b"]})
    with np.load(io.BytesIO(data)) as arrays:
        assert arrays["a"].dtype == "i4"
        assert arrays["b"].dtype == "f8"


# Circles through what cannot change.


def test_tuples_in_circles() -> None:
    inner: list[Any] = []
    outer = (inner, 1)
    inner += [outer, (outer, 2), frozenset({3})]
    made = again(outer)
    assert made[0][0] is made
    assert made[0][1][0] is made


def test_the_state_of_a_record_seen_from_elsewhere_is_the_same_dict() -> None:
    record = Record("lab.Net", {"n": 1})
    record.state["me"] = record.state
    made, state = again([record, record.state])
    assert made.state is state
    assert state["me"] is state


def test_a_record_in_the_key_of_a_dict_that_is_its_state() -> None:
    record = Record("lab.Node", {})
    record.state["seen"] = {record, (record, 1)}
    record.state["by"] = {(record,): record}
    made = again(record)
    assert made in made["seen"]
    assert made["by"][(made,)] is made


def test_arrays_of_objects_that_hold_themselves() -> None:
    array = np.empty(2, object)
    array[0] = array
    array[1] = (array,)
    made = again(array)
    assert made[0] is made
    assert made[1][0] is made
    table = np.zeros(1, [("x", "f8"), ("o", object)])
    table["o"][0] = table
    made = again(table)
    assert made["o"][0] is made


def test_depth_has_no_limit() -> None:
    tree: Any = []
    for _ in range(30_000):
        tree = [tree]
    made, depth = again(tree), 0
    while made:
        (made,) = made
        depth += 1
    assert depth == 30_000


# Names.


def names_in(tree: Any) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(saved(tree))) as archive:
        names = archive.namelist()
    return [name for name in names if name.endswith(".npy") and not name.startswith(".persist/")]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("layers/0/weights", "layers/0/weights.npy"),
        ("", ".npy"),
        ("/abs", "%2Fabs.npy"),
        ("../up", "%2E%2E/up.npy"),
        ("a/./b", "a/%2E/b.npy"),
        ("x.npy", "x%2Enpy.npy"),
        ("a\\b", "a%5Cb.npy"),
        ("a\0b", "a%00b.npy"),
        ("%41", "%2541.npy"),
        ("100%", "100%.npy"),
        ("\ud800", "%ED%A0%80.npy"),
        ("manifest.json", "manifest%2Ejson.npy"),
        (".persist/index", "%2Epersist/index.npy"),
        ("arg:fc1_weight", "arg:fc1_weight.npy"),
    ],
)
def test_members_are_named_by_path_and_escaped(path: str, name: str) -> None:
    array = np.arange(3)
    assert names_in({path: array}) == [name]
    store = _container.Store(_container.open_source(saved({path: array})))
    assert store.find(path) == 0
    assert store.path(0) == path


def test_numpy_reads_every_stored_array_under_its_path() -> None:
    tree = {
        "layers": [{"weights": np.eye(3), "bias": np.zeros(3)}],
        "x.npy": np.arange(2),
        "x": np.ones(2),
    }
    with np.load(io.BytesIO(saved(tree))) as arrays:
        assert np.array_equal(arrays["layers/0/weights"], np.eye(3))
        assert np.array_equal(arrays["x"], np.ones(2))
        assert np.array_equal(arrays["x%2Enpy"], np.arange(2))


def test_the_second_of_two_equal_paths_gets_a_number() -> None:
    assert names_in({"a": {"b": np.ones(1)}, "a/b": np.zeros(1)}) == ["a/b.npy", "a/b~2.npy"]
    assert names_in({1: np.ones(1), "1": np.zeros(1)}) == ["1.npy", "1~2.npy"]


def test_the_first_path_is_that_of_a_walk_in_depth() -> None:
    array = np.ones(3)
    assert names_in({"a": {"deep": [array]}, "b": array}) == ["a/deep/0.npy"]


def test_paths_into_records() -> None:
    a, b, c, d, e = (np.full(2, float(i)) for i in range(5))
    record = Record("lab.Net", (a, b), args=(c,), listitems=[d], dictitems=[("k", e)])
    assert names_in({"net": record}) == [
        "net/args/0.npy", "net/0.npy", "net/k.npy", "net/state/0.npy", "net/state/1.npy",
    ]  # fmt: skip
    slots = Record("lab.S", ({"x": a}, {"y": b}))
    assert names_in(slots) == ["x.npy", "y.npy"]


def test_a_long_path_is_cut_and_still_found() -> None:
    path = "ü" * 5000
    tree = {path: np.arange(3), f"{path}2": np.arange(4)}
    store = _container.Store(_container.open_source(saved(tree)))
    assert [store.path(0), store.path(1)] == list(tree)
    assert store.find(f"{path}2") == 1


# What NumPy has in addition to plain numbers.


def test_types_of_ml_dtypes_are_void_for_numpy_alone() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in ("bfloat16", "float8_e4m3fn", "int4"):
        array = np.arange(6).astype(getattr(ml_dtypes, name))
        data = saved({"x": array, "s": array[2]})
        assert_alike({"x": array, "s": array[2]}, _container.read(data)[0])
        with np.load(io.BytesIO(data)) as arrays:
            assert arrays["x"].tobytes() == array.tobytes()


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 has StringDType")
def test_strings_of_any_length() -> None:
    for dtype in (np.dtypes.StringDType(), np.dtypes.StringDType(na_object=np.nan, coerce=False)):
        array = np.array(["a", "ü" * 50, ""], dtype)
        made = again(array)
        assert made.dtype == dtype
        assert made.tolist() == array.tolist()


def test_a_long_double_is_flagged_as_bound_to_its_machine() -> None:
    manifest = _container.read(saved(np.ones(2, np.longdouble)))[1]
    size = np.dtype(np.longdouble).itemsize
    assert manifest["platform"]["longdouble"] == [size, np.finfo(np.longdouble).nmant]
    assert "platform" not in _container.read(saved(np.ones(2)))[1]


def test_the_masked_constant_is_itself() -> None:
    assert again([np.ma.masked])[0] is np.ma.masked


def test_a_lazy_array_is_written_and_not_kept() -> None:
    calls = []

    def fetch() -> np.ndarray[Any, Any]:
        calls.append(1)
        return np.arange(5)

    lazy = LazyArray(np.dtype(np.int64), (5,), fetch)
    made = again({"x": lazy, "y": lazy})
    assert np.array_equal(made["x"], np.arange(5))
    assert made["x"] is made["y"]
    assert calls == [1]
    assert lazy._whole is None


# What does not go in.


@pytest.mark.parametrize("value", [object(), lambda: 0, type("C", (dict,), {})()])
def test_what_is_no_tree_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(FormatError, match=r"at 'a/0'.*cannot be stored in a container"):
        saved({"a": [value]})


def test_metadata_that_is_no_json_is_refused() -> None:
    with pytest.raises(FormatError, match="metadata"):
        saved([], metadata={"x": np.ones(2)})


def test_manifest() -> None:
    schemas = [{"name": "lab.Net", "version": 3, "fields": ["w"], "fingerprint": "0" * 8}]
    tree = {
        "net": Record("lab.Net", {"f": Global("numpy", "tanh")}, version=3),
        "p": PersistentRef("x"),
    }
    data = saved(tree, metadata={"run": 7}, schemas=schemas, writer={"lab": "0.1"}, digest="sha256")
    manifest = _container.read(data)[1]
    assert manifest["version"] == 1
    assert manifest["metadata"] == {"run": 7}
    assert manifest["schemas"] == schemas
    assert manifest["writer"]["lab"] == "0.1"
    assert manifest["writer"]["persist"] == persist.__version__
    assert manifest["globals"] == ["lab.Net", "numpy.tanh"]
    assert manifest["digest"]["algorithm"] == "sha256"


def test_equal_trees_give_equal_bytes() -> None:
    tree = {"s": {"b", "a", "c"}, "x": np.arange(3)}
    assert saved(tree) == saved({"s": {"c", "a", "b"}, "x": np.arange(3)})


def test_the_page_keeps_its_word(sixty_lines: str) -> None:
    assert len(sixty_lines.splitlines()) <= 60
    imports = [line for line in sixty_lines.splitlines() if "import" in line]
    assert imports == [
        "import functools, io, itertools, json, struct, zipfile",
        "import numpy as np",
    ]


def test_an_int_of_more_digits_than_python_prints() -> None:
    tree = [10**5000, -(2**20_000), {10**4500: 1}, range(10**5000), (nan := float("nan"), nan)]
    made = again(tree)
    assert made[:4] == tree[:4]


def test_without_ml_dtypes_a_container_opens_and_says_what_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tree = {"b": np.arange(3).astype(ml_dtypes.bfloat16), "f": np.ones(2, ml_dtypes.float8_e5m2)}
    data = saved(tree)
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    found = _container.read(data)[0]
    assert np.asarray(found["b"]).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(MissingExtraError, match="float8_e5m2"):
        np.asarray(found["f"])
    kept = saved(found)  # what cannot be read is written as it is
    monkeypatch.undo()
    before, after = _container.read(data)[0], _container.read(kept)[0]
    for name in tree:
        assert np.asarray(after[name]).dtype == tree[name].dtype
        assert np.asarray(after[name]).tobytes() == np.asarray(before[name]).tobytes()

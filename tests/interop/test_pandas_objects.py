"""With a genuine pandas of today: objects of twelve releases are what the release said they were."""

from __future__ import annotations

import copyreg
import importlib.util
import io
import json
import lzma
import pickle
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

pd = pytest.importorskip("pandas")

FOUNDRY = Path(__file__).parents[1] / "foundry" / "pandas"
ARCHIVES = sorted(FOUNDRY.glob("[0-9]*.zip.xz"))
STORES = sorted(FOUNDRY.glob("store-*.zip.xz"))


@pytest.fixture(scope="module")
def make() -> Any:
    spec = importlib.util.spec_from_file_location("foundry_pandas_make", FOUNDRY / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with warnings.catch_warnings():
        spec.loader.exec_module(module)
    return module


def opened(path: Path) -> zipfile.ZipFile:
    with lzma.open(path) as stream:
        return zipfile.ZipFile(io.BytesIO(stream.read()))


def same_names_of_zones(got: Any, expected: Any) -> Any:
    """Leave the name of a zone of dateutil, or of a fixed one, out of a description."""
    if not isinstance(got, dict) or not isinstance(expected, dict):
        return got
    return {
        name: "another"
        if expected.get(name) == "another"
        else same_names_of_zones(part, expected.get(name))
        for name, part in got.items()
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name.removesuffix(".zip.xz"))
def test_objects_are_what_their_release_said(path: Path, make: Any) -> None:
    release = path.name.removesuffix(".zip.xz")
    if Version(release) >= Version("3") > Version(pd.__version__):
        pytest.skip("the texts of 3.0 have no dtype before 2.3")
    archive = opened(path)
    expected = json.loads(archive.read("expected.json"))
    assert len(expected) > 30
    for name, described in expected.items():
        loaded = persist.load(archive.read(f"{name}.pkl"))
        if name == "panel":
            found = {str(item): make.describe(frame) for item, frame in loaded.items()}
        else:
            found = make.describe(loaded)
        found = json.loads(json.dumps(found))
        assert same_names_of_zones(found, described) == described, name


# A SparseSeries has a format of its own, which is shown as it is stored.
NOT_MADE = {"0.24.2": ["fixed/sparse_old"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("path", STORES, ids=lambda path: path.name.removesuffix(".zip.xz"))
def test_frames_of_an_hdfstore_are_what_was_kept(path: Path, make: Any) -> None:
    release = path.name.removeprefix("store-").removesuffix(".zip.xz")
    if Version(release) >= Version("3") > Version(pd.__version__):
        pytest.skip("the texts of 3.0 have no dtype before 2.3")
    archive = opened(path)
    expected = json.loads(archive.read("expected.json"))
    assert len(expected) > 50
    file = persist.open(archive.read("store.h5"))
    assert not file.damage
    for name, described in expected.items():
        if name in NOT_MADE.get(release, ()):
            with pytest.raises(persist.errors.RestoreError, match="it is a dict"):
                file.to_pandas(name)
            continue
        found = json.loads(json.dumps(make.describe(file.to_pandas(name))))
        assert any(same_names_of_zones(found, one) == one for one in described), name


def frame() -> Any:
    return pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([10, 20], name="k"))


def test_what_this_pandas_pickles_comes_back_equal() -> None:
    for protocol in range(6):
        loaded = persist.load(pickle.dumps({"frame": frame(), "n": 1}, protocol))
        pd.testing.assert_frame_equal(loaded["frame"], frame())


def test_shared_objects_stay_shared() -> None:
    one = frame()
    loaded = persist.load(pickle.dumps([one, one]))
    assert loaded[0] is loaded[1]


def test_records_as_before_when_no_objects_are_wanted() -> None:
    data = pickle.dumps(frame(), 2)
    with pytest.warns(persist.errors.OpaqueWarning):
        assert isinstance(persist.load(data, live=False), persist.Record)
    assert persist.open(data).arrays["a"].tolist() == [1, 2]


def test_one_part_of_a_file() -> None:
    file = persist.open(pickle.dumps({"runs": [frame(), 3], "when": pd.Timestamp("2001")}, 2))
    for _ in range(2):  # the file's own tree is not used up
        pd.testing.assert_frame_equal(file.to_pandas("runs/0"), frame())
    assert file.arrays["runs/0/a"].tolist() == [1, 2]
    assert file.to_pandas("when") == pd.Timestamp("2001")
    with pytest.raises(persist.errors.RestoreError, match="no object of pandas"):
        file.to_pandas("runs/1")
    with pytest.raises(persist.errors.RestoreError, match="there is nothing"):
        file.to_pandas("other")


def test_a_frame_in_a_declared_class() -> None:
    registry = persist.Registry("frames", parents=(persist.registry.default,))

    class Run:
        def __init__(self) -> None:
            self.log = frame()

    Run.__module__, Run.__qualname__ = "lab.runs", "Run"
    registry.register(Run, version=1)
    record = b"\x80\x02ccopy_reg\n_reconstructor\nclab.runs\nRun\nc__builtin__\nobject\nN\x87R"
    data = record + pickle.dumps({"log": frame()}, 2)[2:-1] + b"b."
    loaded = persist.load(data, registry=registry)
    pd.testing.assert_frame_equal(loaded.log, frame())


def test_codes_without_a_category_are_refused() -> None:
    made = pd.Series(pd.Categorical([30, 40]))
    codes = made.cat.codes.to_numpy().tobytes()
    data = pickle.dumps(made, 2)
    assert data.count(codes) >= 1
    evil = data.replace(np.dtype("i1").newbyteorder("=").str.encode(), b"|i1").replace(
        codes, b"\x00\x07"
    )
    with pytest.warns(persist.errors.OpaqueWarning, match="a code has no category"):
        assert isinstance(persist.load(evil), persist.Record)


def test_a_subclass_that_is_not_known_stays_a_record() -> None:
    class Frame(pd.DataFrame):
        pass

    Frame.__module__, Frame.__qualname__ = "lab", "Frame"
    sys.modules["lab"] = type(sys)("lab")
    sys.modules["lab"].Frame = Frame  # type: ignore[attr-defined]
    try:
        data = pickle.dumps(Frame({"a": [1]}))
    finally:
        del sys.modules["lab"]
    with pytest.warns(persist.errors.OpaqueWarning):
        assert isinstance(persist.load(data), persist.Record)


class Call:
    """An object whose pickle says that a function is called."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.reduced


def peak_of(data: bytes) -> tuple[Any, int]:
    """What is loaded, and the most memory that Python and NumPy took for it."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", persist.errors.OpaqueWarning)
            loaded = persist.load(data)
        return loaded, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_sparse_array_stays_sparse_however_long_it_says_it_is() -> None:
    from pandas._libs.sparse import BlockIndex, IntIndex

    runs = {
        "int": IntIndex(2**31 - 1, np.array([5], "i4")),
        "block": BlockIndex(2**31 - 1, [5], [1]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in runs.values():
            made = pd.arrays.SparseArray(np.array([1.5]), sparse_index=index, fill_value=0.0)
            loaded, peak = peak_of(pickle.dumps(made, 2))
            assert (len(loaded), loaded[5], loaded[6]) == (2**31 - 1, 1.5, 0.0)
            assert peak < 32 << 20
    long_run = Call(BlockIndex, 10**12, np.array([0], "i4"), np.array([2**31 - 1], "i4"))
    state = {
        "_sparse_values": np.zeros(1),
        "_sparse_index": long_run,
        "_dtype": pd.SparseDtype(float, 0.0),
    }
    evil = Call(copyreg._reconstructor, pd.arrays.SparseArray, object, None, state=state)  # type: ignore[attr-defined]
    loaded, peak = peak_of(pickle.dumps(evil, 2))
    assert isinstance(loaded, persist.Record)
    assert peak < 32 << 20


def test_a_frame_that_says_it_has_many_columns_is_refused() -> None:
    from pandas._libs.internals import _unpickle_block
    from pandas.core.internals.managers import BlockManager

    many = pd.RangeIndex(10**10)
    block = Call(_unpickle_block, np.zeros((1, 1)), slice(0, 10**10, 1), 2)
    for manager in (
        Call(BlockManager, (block,), [many, pd.RangeIndex(1)]),
        Call(copyreg._reconstructor, BlockManager, object, None,  # type: ignore[attr-defined]
             state=([many, pd.RangeIndex(1)], [np.zeros((1, 1))], [pd.Index(["a"])])),
    ):  # fmt: skip
        frame = Call(copyreg._reconstructor, pd.DataFrame, object, None, state={"_mgr": manager})  # type: ignore[attr-defined]
        loaded, peak = peak_of(pickle.dumps(frame, 2))
        assert isinstance(loaded, persist.Record)
        assert peak < 32 << 20

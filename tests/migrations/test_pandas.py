"""pandas' pickles of 0.12 to 3.0, read as columns without pandas."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

CORPUS = Path(__file__).parents[1] / "corpus" / "pandas"
CASES = sorted(path.parent for path in CORPUS.glob("*/expected.json"))
RELEASES = sorted((CORPUS / "objects").glob("*.pkl*"))

DAYS = ["2015-01-01", "2015-01-02", "2015-01-03", "2015-01-04"]
# What each object of `objects/make.py` holds, the same in every release: path -> values.
OBJECTS: dict[str, dict[str, Any]] = {
    "frame_days": {"2015-01-01 00:00:00": [1], "2015-01-02 00:00:00": [2]},
    "frame_periods": {"p/ordinals": [540, 541]},
    "arrow_day": {"values/list": [datetime.date(2015, 1, 1), None], "values/mask": [False, True]},
    "arrow_days": {"values": np.array(["2015-01-01"], "M8[D]")},
    "arrow_list": {"values/0/0": 1, "values/0/1": 2, "values/1": None, "values/2/0": 3},
    "arrow_texts": {"values/0/0": "a"},
    "arrow_dictionary": {"values/0": "a", "values/1": None, "values/2": "b", "values/3": "a"},
    "frame": {
        "i": [1, 2, 3, 4],
        "f": [0.1, 0.2, 0.3, 0.4],
        "b": [True, False, True, True],
        "t": np.array(DAYS, "M8[ns]"),
        "f2": [0, 1, 2, 3],
        "i8": [0, 1, 2, 3],
        "s/0": "a",
        "s/1": "é",
        "s/2": None,
        "index": [0, 1, 2, 3],
    },
    "frame_dupcols": {"a": [0, 3], "a~2": [1, 4], "b": [2, 5], "columns/1": "a"},
    "frame_micol": {
        "a.1": [0.0, 3.0],
        "a.2": [1.0, 4.0],
        "b.1": [2.0, 5.0],
        "columns/codes/0": [0, 0, 1],
        "columns/levels/0/1": "b",
        "columns/names/1": "y",
    },
    "frame_emptyrows": {"a": [], "columns/0": "a"},
    "frame_intcols": {"0": [0, 3], "2": [2, 5], "columns": [0, 1, 2]},
    "frame_named": {"a": [1, 2], "index/0": "x", "index/name": "key"},
    "frame_dtindex": {"a": [1, 2, 3], "index": np.array(DAYS[:3], "M8[ns]")},
    "frame_tzindex": {"index": np.array(DAYS[:3], "M8[ns]") - np.timedelta64(1, "h")},
    "frame_tzcol": {"a": np.array(DAYS[:3], "M8[ns]") + np.timedelta64(5, "h")},
    "frame_cat": {"c/codes": [0, 1, 0, -1], "c/categories/1": "b", "d": [1, 2, 3, 4]},
    "frame_period": {"index/ordinals": [540, 541], "a": [1, 2]},
    "frame_td": {"a": np.array([1, 2], "m8[D]").astype("m8[ns]")},
    "frame_mi": {
        "index/codes/1": [0, 1, 0, 1],
        "index/levels/0/0": "x",
        "index/levels/1": [1, 2],
        "index/names/0": "l",
    },
    "frame_complex": {"z": [1j, 2], "o/0/0": 1, "o/1/k": 2},
    "frame_slice": {"f": [0.2, 0.3], "i": [2, 3], "index": [1, 2]},
    "frame_inserted": {"new": [9, 8, 7, 6], "f": [0.1, 0.2, 0.3, 0.4]},
    "series": {"values": [1.0, 2.0, 3.0], "name": "x", "index": [0, 1, 2]},
    "series_s": {"values/0": "a", "values/2": None, "index": [10, 20, 30]},
    "series_cat": {"values/codes": [0, 1, 0], "values/categories/0": "lo", "values/ordered": True},
    "series_dt": {"values": np.array(DAYS[:2], "M8[ns]")},
    "series_tz": {"values": np.array(DAYS[:2], "M8[ns]")},
    "series_Int64": {"values/mask": [False, True, False], "values/list": [1, None, 3]},
    "series_boolean": {"values/list": [True, None, False]},
    "series_string": {"values/0": "a", "values/1": None, "values/2": "c"},
    "series_stringpa": {"values/0": "a", "values/1": None, "values/2": "c"},
    "series_arrow": {"values/mask": [False, True, False], "values/list": [1, None, 3]},
    "index": {"values/0": "a", "values/2": "c", "name": "n"},
    "int64index": {"values": [1, 2, 3]},
    "rangeindex": {"values": [2, 5, 8], "name": "r"},
    "dtindex_tz": {"values": np.array(DAYS[:3], "M8[ns]") - np.timedelta64(9, "h")},
    "tdindex": {"values": np.array([1, 2], "m8[D]").astype("m8[ns]")},
    "periodindex": {"values/ordinals": [180, 181, 182]},
    "catindex": {"values/codes": [0, 1, 0], "values/categories/1": "b"},
    "multiindex": {"levels/0/0": "a", "codes/1": [0, 1], "names/0": "x", "names/1": None},
    "categorical": {"values/codes": [0, 1, -1, 0], "values/categories/0": "a"},
    "timestamp": {"": datetime.datetime(2015, 1, 2, 3, 4, 5, 678000)},
    "timedelta": {"": datetime.timedelta(days=1, hours=2)},
    "dictof": {"df/i": [1, 2, 3, 4], "s/values": [1, 2]},
    "panel": {"p": [[0, 1], [2, 3]], "q": [[4, 5], [6, 7]], "items/1": "q"},
    "array_int": {"values/list": [1, None]},
    "attrs": {"a": [1], "attrs/unit": "m"},
}


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_every_kind_of_object_of_every_release(path: Path) -> None:
    file = persist.open(path)
    present = set(file.tree)
    checked = 0
    for name, expected in OBJECTS.items():
        if name not in present or file.tree[name] is False:
            continue
        for step, values in expected.items():
            key = f"{name}/{step}" if step else name
            is_list = isinstance(values, list) and not step.endswith("list")
            if is_list or isinstance(values, np.ndarray):
                found = np.asarray(file.arrays[key])
                if found.dtype.kind in "Mm":
                    found = found.astype(np.asarray(values).dtype)
                np.testing.assert_array_equal(found, values, err_msg=f"{path.stem} {key}")
            else:
                assert file.scalars[key] == values, key
        checked += 1
    assert checked >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_genuine_cases(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    file = persist.open(case / expected["file"])
    for name, wanted in expected["arrays"].items():
        array = np.ascontiguousarray(file.arrays[name])
        assert (array.dtype.name, list(array.shape)) == (wanted["dtype"], wanted["shape"])
        assert hashlib.sha256(array.tobytes()).hexdigest() == wanted["sha256"], name
    for name, value in expected["scalars"].items():
        assert file.scalars[name] == value, name


def test_a_frame_is_still_the_record_that_it_was() -> None:
    """The look is next to the tree, never in its place."""
    file = persist.open(RELEASES[0])
    assert file.tree["frame"].qualname == "pandas.core.frame.DataFrame"
    assert file.tree["frame"]["_data"].qualname.endswith("BlockManager")


def test_parts_that_no_release_wrote_leave_a_record() -> None:
    record = b"ccopy_reg\n_reconstructor\n(cpandas.core.%s\n%s\nc__builtin__\nobject\nNtR"
    frame, manager = record % (b"frame", b"DataFrame"), record % (b"internals", b"BlockManager")
    data = frame + b"(dV_data\n" + manager + b"((lp0\nI1\nI2\nI3\n(dV0.14.1\nI5\nstbsb."
    with persist.open(data) as file:
        assert file.scalars["_data/state/1"] == 1
        assert "DataFrame" in str(file)

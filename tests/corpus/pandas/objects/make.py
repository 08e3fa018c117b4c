# -*- coding: utf-8 -*-
"""Write ``<release>.pkl``: one dict of every kind of object that a release of pandas has.

Recipe: install each release into a folder of its own and run this file with the Python of its time:

    python2.7  -m pip install --target d pandas==0.19.2 numpy==1.12.1
    python3.6  -m pip install --target d pandas==0.20.3 numpy==1.13.3    (0.23.4, 0.25.3 likewise)
    python3.8  -m pip install --target d pandas==1.1.5 numpy==1.19.5     (1.3.5 likewise)
    python3.10 -m pip install --target d pandas==1.4.4 numpy==1.22.4     (1.5.3, with pyarrow 12.0.1)
    python3.11 -m pip install --target d pandas==2.0.3 numpy==1.25.2
    python3.13 -m pip install --target d pandas==3.0.0 pyarrow
    python3.13 -m pip install --target d pandas==2.3.3 numpy==2.3.3 pyarrow==22.0.0
    PYTHONPATH=d python make.py FOLDER [PROTOCOL]

Protocol 2 if none is given; 0, Python 2's own default, makes ``<release>-p0.pkl``, gzipped here.
What a release lacks is left out.
"""

import datetime
import os
import pickle
import sys

import numpy as np, pandas as pd

out = sys.argv[1]
protocol = int(sys.argv[2]) if len(sys.argv) > 2 else 2
objs = {}


def add(name, f):
    try:
        objs[name] = f()
    except Exception as e:
        sys.stderr.write("%s %s: %r\n" % (pd.__version__, name, e))


n = 4


def frame():
    return pd.DataFrame(
        {
            "i": [1, 2, 3, 4],
            "f": [0.1, 0.2, 0.3, 0.4],
            "s": ["a", "é", None, "d"],
            "b": [True, False, True, True],
            "t": pd.date_range("2015-01-01", periods=4),
            "f2": np.arange(4, dtype="f4"),
            "i8": np.arange(4, dtype="i1"),
        }
    )


add("frame", frame)
add("frame_dupcols", lambda: pd.DataFrame(np.arange(6).reshape(2, 3), columns=["a", "a", "b"]))
add(
    "frame_micol",
    lambda: pd.DataFrame(
        np.arange(6.0).reshape(2, 3),
        columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["x", "y"]),
    ),
)
add("frame_empty", lambda: pd.DataFrame())
add("frame_emptyrows", lambda: pd.DataFrame({"a": np.array([], dtype="f8")}))
add("frame_intcols", lambda: pd.DataFrame(np.arange(6).reshape(2, 3)))
add("frame_objindex", lambda: pd.DataFrame({"a": [1, 2]}, index=["x", "y"]))
add("frame_named", lambda: pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key")))
add(
    "frame_dtindex",
    lambda: pd.DataFrame({"a": [1, 2, 3]}, index=pd.date_range("2015-01-01", periods=3, freq="D")),
)
add(
    "frame_tzindex",
    lambda: pd.DataFrame(
        {"a": [1, 2, 3]}, index=pd.date_range("2015-01-01", periods=3, freq="D", tz="Europe/Paris")
    ),
)
add(
    "frame_tzcol",
    lambda: pd.DataFrame({"a": pd.date_range("2015-01-01", periods=3, tz="US/Eastern")}),
)
add(
    "frame_cat",
    lambda: pd.DataFrame({"c": pd.Categorical(["a", "b", "a", None]), "d": [1, 2, 3, 4]}),
)
add(
    "frame_period",
    lambda: pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2015-01", periods=2, freq="M")),
)
add("frame_td", lambda: pd.DataFrame({"a": pd.to_timedelta(["1 days", "2 days"])}))
add(
    "frame_tdindex",
    lambda: pd.DataFrame({"a": [1, 2]}, index=pd.to_timedelta(["1 days", "2 days"])),
)
add(
    "frame_mi",
    lambda: pd.DataFrame(
        {"a": [1, 2, 3, 4]},
        index=pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["l", "m"]),
    ),
)
add("frame_complex", lambda: pd.DataFrame({"z": np.array([1j, 2]), "o": [[1], {"k": 2}]}))
add("frame_slice", lambda: frame()[["f", "i"]].iloc[1:3])
add(
    "frame_inserted",
    lambda: (lambda d: (d.__setitem__("new", [9, 8, 7, 6]), d.__delitem__("i"), d)[2])(frame()),
)
add(
    "frame_sparse",
    lambda: (
        pd.SparseDataFrame({"a": [0, 0, 1.0]}, default_fill_value=0)
        if hasattr(pd, "SparseDataFrame")
        else pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1.0])})
    ),
)
add("series", lambda: pd.Series([1.0, 2.0, 3.0], name="x"))
add("series_s", lambda: pd.Series(["a", "b", None], index=[10, 20, 30]))
add(
    "series_cat",
    lambda: pd.Series(pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"], ordered=True)),
)
add("series_ts", lambda: pd.Series([1, 2], index=pd.date_range("2015", periods=2)))
add("series_dt", lambda: pd.Series(pd.date_range("2015", periods=2)))
add("series_tz", lambda: pd.Series(pd.date_range("2015", periods=2, tz="UTC")))
add(
    "series_sparse",
    lambda: (
        pd.SparseSeries([0, 0, 1.0])
        if hasattr(pd, "SparseSeries")
        else pd.Series(pd.arrays.SparseArray([0, 0, 1, 2]))
    ),
)
add("series_interval", lambda: pd.Series(pd.interval_range(0, 3)))
add("series_Int64", lambda: pd.Series([1, None, 3], dtype="Int64"))
add("series_Float64", lambda: pd.Series([1, None, 3], dtype="Float64"))
add("series_boolean", lambda: pd.Series([True, None, False], dtype="boolean"))
add("series_string", lambda: pd.Series(["a", None, "c"], dtype="string"))
add("series_stringpa", lambda: pd.Series(["a", None, "c"], dtype="string[pyarrow]"))
add("series_arrow", lambda: pd.Series([1, None, 3], dtype="int64[pyarrow]"))
add("series_period", lambda: pd.Series(pd.period_range("2015-01", periods=2, freq="M")))
add("index", lambda: pd.Index(["a", "b", "c"], name="n"))
add("int64index", lambda: pd.Index([1, 2, 3]))
add("float64index", lambda: pd.Index([1.0, 2.0, 3.0]))
add("rangeindex", lambda: pd.RangeIndex(2, 10, 3, name="r"))
add(
    "dtindex",
    lambda: pd.date_range("2015-01-01", periods=3, freq="H" if pd.__version__ < "2.2" else "h"),
)
add("dtindex_tz", lambda: pd.date_range("2015-01-01", periods=3, tz="Asia/Tokyo"))
add("tdindex", lambda: pd.to_timedelta(["1 days", "2 days"]))
add("periodindex", lambda: pd.period_range("2015-01", periods=3, freq="Q"))
add("catindex", lambda: pd.CategoricalIndex(["a", "b", "a"]))
add("multiindex", lambda: pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None]))
add("intervalindex", lambda: pd.interval_range(0, 3, closed="left"))
add("intervalindex_dt", lambda: pd.interval_range(pd.Timestamp("2015"), periods=2))
add("categorical", lambda: pd.Categorical(["a", "b", None, "a"]))
add("timestamp", lambda: pd.Timestamp("2015-01-02 03:04:05.678"))
add("timestamp_tz", lambda: pd.Timestamp("2015-01-02 03:04:05", tz="Europe/Berlin"))
add("timedelta", lambda: pd.Timedelta("1 days 02:00:00"))
add("period", lambda: pd.Period("2015-02", freq="M"))
add("interval", lambda: pd.Interval(0, 1))
add("nat", lambda: [pd.NaT, getattr(pd, "NA", None)])
add("offset", lambda: [pd.offsets.Day(2), pd.offsets.MonthEnd(), pd.offsets.BDay(1)])
add("dictof", lambda: {"df": frame(), "s": pd.Series([1, 2])})
add("panel", lambda: pd.Panel(np.arange(8.0).reshape(2, 2, 2), items=["p", "q"]))
add("frame_days", lambda: pd.DataFrame([[1, 2]], columns=pd.date_range("2015-01-01", periods=2)))
add(
    "frame_periods",
    lambda: (
        hasattr(pd, "arrays")
        and pd.DataFrame({"p": pd.period_range("2015-01", periods=2, freq="M")})
    ),
)


def arrow(items, kind):
    import pyarrow as pa

    return pd.Series(items, dtype=pd.ArrowDtype(kind(pa)))


add("arrow_day", lambda: arrow([datetime.date(2015, 1, 1), None], lambda pa: pa.date32()))
add("arrow_days", lambda: arrow([datetime.date(2015, 1, 1)], lambda pa: pa.date32()))
add("arrow_list", lambda: arrow([[1, 2], None, [3]], lambda pa: pa.list_(pa.int64())))
add("arrow_texts", lambda: arrow([["a"], []], lambda pa: pa.large_list(pa.string())))
add(
    "arrow_dictionary",
    lambda: arrow(["a", None, "b", "a"], lambda pa: pa.dictionary(pa.int8(), pa.string())),
)
add("array_int", lambda: pd.array([1, None], dtype="Int8"))
add("attrs", lambda: (lambda d: (d.attrs.update(unit="m"), d)[1])(pd.DataFrame({"a": [1]})))
for name, o in list(objs.items()):
    try:
        pickle.dumps(o, protocol)
    except Exception as e:
        sys.stderr.write("%s dump %s: %r\n" % (pd.__version__, name, e))
        del objs[name]
name = pd.__version__ + ("" if protocol == 2 else "-p%d" % protocol) + ".pkl"
with open(os.path.join(out, name), "wb") as file:
    pickle.dump(objs, file, protocol)

"""Write frames, series and indexes of many kinds with the pandas that is installed.

    python make.py OUT.zip && xz -9e OUT.zip

Runs under CPython 2.7 and later, with pandas 0.16 and later. For each object the archive holds
``NAME.pkl`` (``to_pickle`` or pickle, protocol 2) and, in ``expected.json``, what `describe` says of
it. An object that this release cannot make is left out.
"""

from __future__ import print_function

import io
import json
import pickle
import platform
import sys
import warnings
import zipfile

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
CASES = {}
N = 6


def case(function):
    CASES[function.__name__] = function
    return function


def describe(value):
    """A portable description: equal for equal objects of any release."""
    kind = type(value).__name__
    if isinstance(value, pd.DataFrame):
        columns = [describe_values(value.iloc[:, place]) for place in range(value.shape[1])]
        return {"frame": columns, "index": describe(value.index), "columns": describe(value.columns)}
    if isinstance(value, pd.Series):
        return {"series": describe_values(value), "index": describe(value.index), "name": text(value.name)}
    if isinstance(value, pd.MultiIndex):
        rows = [[text(part) for part in row] for row in value.tolist()]
        return {"multi": rows, "names": [text(name) for name in value.names]}
    if isinstance(value, pd.Index):
        found = {"index": [text(item) for item in value], "name": text(value.name)}
        for name in ("tz", "freqstr"):
            part = getattr(value, name, None)
            if part is not None and kind in ("DatetimeIndex", "PeriodIndex", "TimedeltaIndex"):
                found[name] = frequency(part) if name == "freqstr" else zone(part)
        return found
    if isinstance(value, dict):
        return dict((str(key), describe(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    return text(value)


def zone(part):
    """A time zone's name; of dateutil's and fixed ones the offset is part of each value."""
    name = str(part)
    return "another" if "FixedOffset" in name or name.startswith(("UTC+", "UTC-", "tzfile")) else name


def frequency(name):
    """A frequency's name as of today: M became ME, H became h and so on, in 2.2."""
    today = {"M": "ME", "H": "h", "T": "min", "S": "s", "Q-DEC": "QE-DEC", "A-DEC": "YE-DEC", "L": "ms"}
    return today.get(name, name)


def describe_values(series):
    """The values of a column, its kind of dtype, and its categories."""
    found = {"values": [text(item) for item in series.tolist()]}
    dtype = str(series.dtype)
    if dtype == "category":
        found["categories"] = [text(item) for item in series.cat.categories]
        found["ordered"] = bool(series.cat.ordered)
    is_sparse = "Sparse" in type(series).__name__ or dtype.startswith("Sparse")
    found["dtype"] = "sparse" if is_sparse else dtype.split("[")[0]
    return found


def text(value):
    """One value as a text."""
    if isinstance(value, float) and value != value:
        return "missing"
    if value is None or value is pd.NaT or value is getattr(pd, "NA", pd.NaT):
        return "missing"
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        return str(int(value))
    if isinstance(value, bytes) and str is not bytes:
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [text(item) for item in value]
    if isinstance(value, pd.Timedelta):
        return "%d ns" % value.value
    if type(value).__name__ == "unicode":
        return value
    return str(value)


@case
def plain():
    return pd.DataFrame({"a": np.arange(N), "b": np.arange(N) / 4.0, "c": list("xyzxyz"), "d": [True, False] * 3})


@case
def mixed_blocks():
    frame = pd.DataFrame({"f4": np.arange(N, dtype="f4"), "i1": np.arange(N, dtype="i1"), "u8": np.arange(N, dtype="u8")})
    frame["late"] = np.arange(N) * 1.5
    frame["text"] = ["a", None, "c", "d", "e", "f"]
    return frame[["text", "late", "u8", "f4", "i1"]]


@case
def missing():
    return pd.DataFrame({"x": [1.0, np.nan, 3.0], "y": ["a", None, np.nan]}, index=["p", "q", "r"])


@case
def duplicate_columns():
    frame = pd.DataFrame(np.arange(9.0).reshape(3, 3), columns=["a", "b", "a"])
    return frame


@case
def integer_columns():
    return pd.DataFrame(np.arange(6).reshape(2, 3), columns=[10, 20, 30], index=[1.5, 2.5])


@case
def empty():
    return pd.DataFrame()


@case
def no_rows():
    return pd.DataFrame({"a": np.zeros(0), "b": np.zeros(0, "i8")})


@case
def dates():
    index = pd.date_range("2012-01-31", periods=N, freq="M" if pd.__version__ < "2.2" else "ME", name="month")
    return pd.DataFrame({"v": np.arange(N), "when": pd.to_datetime(["2001-02-03 04:05:06.789"] * N)}, index=index)


@case
def zones():
    index = pd.date_range("2012-03-24", periods=N, freq="D", tz="Europe/Berlin")
    return pd.DataFrame({"v": np.arange(N), "utc": pd.date_range("2000", periods=N, tz="UTC")}, index=index)


@case
def dateutil_zone():
    return pd.Series(range(3), index=pd.date_range("2012-03-24", periods=3, tz="dateutil/US/Eastern"))


@case
def fixed_zone():
    import pytz

    return pd.Series(range(3), index=pd.date_range("2012-03-24", periods=3, tz=pytz.FixedOffset(90)))


@case
def timedeltas():
    return pd.DataFrame({"d": pd.to_timedelta(np.arange(N), unit="s")}, index=pd.to_timedelta(np.arange(N), unit="D"))


@case
def periods():
    return pd.DataFrame({"v": np.arange(N)}, index=pd.period_range("2012-01", periods=N, freq="M"))


@case
def period_column():
    return pd.DataFrame({"p": pd.Series(pd.period_range("2012", periods=3, freq="Q"))})


@case
def categories():
    column = pd.Series(["lo", "hi", None, "lo"]).astype("category")
    return pd.DataFrame({"c": column, "v": range(4)})


@case
def ordered_categories():
    made = pd.Categorical(["b", "a", "b"], categories=["b", "a"], ordered=True)
    return pd.DataFrame({"c": made}, index=pd.CategoricalIndex(["x", "y", "x"], name="k"))


@case
def multi_index():
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["letter", None])
    return pd.DataFrame(np.arange(12.0).reshape(6, 2), index=index, columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)]))


@case
def multi_dates():
    index = pd.MultiIndex.from_product([pd.date_range("2012", periods=2), ["a", "b"]])
    return pd.Series(np.arange(4), index=index, name="s")


@case
def intervals():
    return pd.DataFrame({"v": range(3)}, index=pd.interval_range(0, 3))


@case
def interval_column():
    return pd.DataFrame({"bin": pd.cut(np.arange(N), 3)})


@case
def series():
    return pd.Series(np.arange(4.0), index=list("abcd"), name="weights")


@case
def series_text():
    return pd.Series(["a", u"\xe9", None], name=("t", 1))


@case
def indexes():
    return [
        pd.Index([1, 2, 3], name="n"), pd.Index([1.5, 2.5]), pd.Index(["a", "b"], name="t"),
        pd.RangeIndex(2, 20, 3, name="r") if hasattr(pd, "RangeIndex") else pd.Index([2]),
        pd.DatetimeIndex(["2001-01-01", None]), pd.Index([u"x", 1, None], dtype=object),
    ]


@case
def nullable():
    return pd.DataFrame({
        "i": pd.array([1, None, 3], dtype="Int64"), "b": pd.array([True, None, False], dtype="boolean"),
        "s": pd.array(["a", None, "c"], dtype="string"),
    })


@case
def nullable_float():
    return pd.DataFrame({"f": pd.array([1.5, None], dtype="Float64"), "u": pd.array([1, None], dtype="UInt8")})


@case
def nullable_integer():
    return pd.Series(pd.array([1, None, 3], dtype="Int32"), index=list("abc"))


@case
def sparse():
    return pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1.5, 0]), "d": range(4)})


@case
def sparse_old():
    return pd.Series([0.0, 0.0, 2.5, np.nan]).to_sparse(fill_value=0.0)


@case
def scalars():
    found = {
        "stamp": pd.Timestamp("2012-05-06 07:08:09.123456789"), "zoned": pd.Timestamp("2012-05-06", tz="Asia/Tokyo"),
        "delta": pd.Timedelta("1 days 00:00:00.000000005"), "period": pd.Period("2012-05", "M"), "nat": pd.NaT,
    }
    if hasattr(pd, "Interval"):
        found["interval"] = pd.Interval(1, 2, closed="left")
    return found


@case
def seconds():
    return pd.Series(np.array(["2001-01-01", "2002-01-01"], "M8[s]"))


@case
def object_column():
    return pd.DataFrame({"o": [[1, 2], {"a": 1}, (3,)], "p": [pd.Timestamp("2001"), None, 2.5]})


@case
def in_a_dict():
    return {"frame": plain(), "again": [series()], "n": 3}


@case
def wide():
    return pd.DataFrame(np.arange(200.0).reshape(4, 50), columns=["c%d" % n for n in range(50)])


@case
def panel():
    return pd.Panel({"one": pd.DataFrame({"a": [1.0, 2.0]}), "two": pd.DataFrame({"a": [3.0, 4.0]})})


@case
def business_days():
    return pd.Series(range(4), index=pd.date_range("2012-01-02", periods=4, freq="B"))


@case
def hours():
    return pd.Series(range(4), index=pd.date_range("2012-01-02", periods=4, freq="H" if pd.__version__ < "2.2" else "h"))


def main(out):
    expected, reasons = {}, {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(CASES):
            try:
                value = CASES[name]()
                data = pickle.dumps(value, 2)
                if name == "panel":
                    expected[name] = dict((str(item), describe(value[item])) for item in value.items)
                else:
                    expected[name] = describe(value)
            except Exception as error:
                reasons[name] = "%s: %s" % (type(error).__name__, str(error)[:80])
                expected.pop(name, None)
                continue
            archive.writestr(name + ".pkl", data)
        archive.writestr("expected.json", json.dumps(expected, sort_keys=True))
        releases = {"python": platform.python_version(), "pandas": pd.__version__, "numpy": np.__version__, "left_out": reasons}
        archive.writestr("releases.json", json.dumps(releases, indent=1, sort_keys=True))
    print(out, len(expected), "of", len(CASES), reasons)


if __name__ == "__main__":
    main(sys.argv[1])

"""Keep frames and series of many kinds in the HDFStore of the pandas that is installed.

    python make_hdf.py OUT.zip && xz -9e OUT.zip

Runs under CPython 2.7 and later, with PyTables. Each frame and series of `make.py`, and some more,
is kept in both formats, as ``/fixed/NAME`` and ``/table/NAME`` of ``store.h5``; ``expected.json``
holds what `describe` says of each, and of what this pandas read back, which can be less: some
releases lose a frequency, or give the numbers of periods. What a release cannot keep is left out.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
import warnings
import zipfile

import make
import numpy as np
import pandas as pd
import tables
from make import N, case

warnings.simplefilter("ignore")


@case
def data_columns():
    return pd.DataFrame(
        {"a": np.arange(N), "b": np.arange(N) / 4.0, "c": list("xyzxyz"), "d": np.arange(N) * 2}
    )


@case
def long_text():
    return pd.DataFrame(
        {"t": ["\xe4\u20ac", "", "b" * 40], "n": [1, 2, 3]}, index=["p\xfc", "q", "r"]
    )


@case
def many_rows():
    return pd.DataFrame(np.arange(3000.0).reshape(1000, 3), columns=["x", "y", "z"])


@case
def booleans():
    return pd.DataFrame({"m": [True, False, True]}, index=pd.Index([True, False, True]))


@case
def columns_of_dates():
    return pd.DataFrame(
        np.arange(4.0).reshape(2, 2), columns=pd.to_datetime(["2001-01-01", "2002-02-02"])
    )


@case
def index_of_dates():
    import datetime

    return pd.Series(
        [1, 2], index=pd.Index([datetime.date(2001, 2, 3), datetime.date(2002, 3, 4)], name="day")
    )


@case
def named_columns():
    return pd.DataFrame(
        np.eye(2), columns=pd.Index(["a", "b"], name="letters"), index=pd.Index([3, 4], name="row")
    )


@case
def multi_rows():
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["letter", None])
    return pd.DataFrame({"x": np.arange(6.0), "y": list("uvwxyz")}, index=index)


@case
def two_axes():
    return pd.DataFrame(
        np.arange(4.0).reshape(2, 2),
        columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["u", None]),
    )


@case
def missing_text():
    return pd.Series(["a", None, np.nan, "nan"], name="s")


def main(out):
    expected, reasons = {}, {}
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "store.h5")
    with pd.HDFStore(path, "w", complevel=9, complib="zlib") as store:
        for name in sorted(make.CASES):
            try:
                value = make.CASES[name]()
            except Exception as error:
                reasons[name] = "%s: %s" % (type(error).__name__, str(error)[:80])
                continue
            if not isinstance(value, (pd.DataFrame, pd.Series)):
                continue
            for format in ("fixed", "table"):
                key = "%s/%s" % (format, name)
                try:
                    if format == "fixed":
                        store.put(key, value)
                    else:
                        columns = ["a", "c"] if name == "data_columns" else None
                        store.append(
                            key,
                            value,
                            data_columns=columns,
                            index=name == "long_text",
                            expectedrows=20,
                        )
                    expected[key] = [make.describe(value), make.describe(store[key])]
                except Exception as error:
                    reasons[key] = "%s: %s" % (type(error).__name__, str(error)[:80])
                    expected.pop(key, None)
                    if key in store:
                        store.remove(key)
    releases = {
        "python": platform.python_version(),
        "pandas": pd.__version__,
        "tables": tables.__version__,
    }
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.write(path, "store.h5")
        archive.writestr("expected.json", json.dumps(expected, sort_keys=True))
        archive.writestr(
            "releases.json", json.dumps(dict(releases, left_out=reasons), indent=1, sort_keys=True)
        )
    shutil.rmtree(folder)
    print(
        out,
        releases,
        len(expected),
        "kept; left out:",
        json.dumps(reasons, indent=1, sort_keys=True),
    )


if __name__ == "__main__":
    main(sys.argv[1])

"""Pickle small datasets with the xarray that is installed, and write down what they hold.

    python make.py OUT.zip

Runs under CPython 2.7 and later, with xarray 0.7 and later. The archive holds for each object
``NAME.pkl`` (protocol 2), ``NAME.npz`` (the values of each variable) and ``NAME.json`` (dimensions,
attributes, coordinates and indexes).
"""

import io
import json
import pickle
import platform
import sys
import zipfile

import numpy as np
import pandas as pd
import xarray as xr


def dataset():
    made = xr.Dataset(
        {
            "t": (("x", "y"), np.arange(6.0).reshape(2, 3), {"units": "K"}),
            "n": ("x", np.array([3, 4], dtype="int16")),
        },
        coords={
            "x": [10, 20],
            "y": pd.date_range("2001-01-01", periods=3),
            "label": ("x", np.array(["a", "b"], dtype=object)),
            "run": 7,
        },
        attrs={"title": "lab"},
    )
    made["t"].encoding["dtype"] = "float32"
    return made


def multi():
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["one", "two"])
    return xr.Dataset({"v": ("p", np.arange(4.0))}, coords={"p": index})


def levels():
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["one", "two"])
    coords = xr.Coordinates.from_pandas_multiindex(index, "p")
    return xr.Dataset({"v": ("p", np.arange(4.0))}, coords=coords)


CASES = {
    "dataset": dataset,
    "array": lambda: dataset()["t"],
    "variable": lambda: dataset()["t"].variable,
    "index_variable": lambda: dataset()["y"].variable,
    "selected": lambda: dataset().isel(y=slice(1, None)),
    "text": lambda: xr.DataArray([1.0, 2.0], [("name", ["b", "a"])], name="v"),
    "floats": lambda: xr.DataArray([1, 2], [("f", [0.5, 1.5])], name="v", attrs={"k": [1, 2]}),
    "no_coordinates": lambda: xr.DataArray(np.ones((2, 2)), dims=("a", "b")),
    "scalar": lambda: xr.DataArray(3.5),
    "spans": lambda: xr.DataArray(pd.to_timedelta([1, 2], unit="h"), dims="s"),
    "empty": lambda: xr.Dataset(),
    "multi": multi,
    "levels": levels,
    "computed": lambda: (dataset() * 2).mean("x"),
}


def plain(value):
    value = np.asarray(value)
    if value.dtype.kind in "mM":
        return value.astype("int64")
    return value.astype("U") if value.dtype == object else value


def described(made):
    """What an object holds, as JSON, and its values."""
    if isinstance(made, xr.Variable):
        return {"dims": list(made.dims), "attrs": attributes(made)}, {"": plain(made.values)}
    coords = sorted(map(str, made.coords))
    levels = [name for name in coords if isinstance(made.indexes.get(name), pd.MultiIndex)]
    said = {
        "coords": coords,
        "attrs": attributes(made),
        "indexes": sorted(map(str, made.indexes)),
        "dims": sorted(map(str, made.dims)),
    }
    held = dict((str(name), made[name]) for name in made.coords if name not in levels)
    if isinstance(made, xr.Dataset):
        held.update((str(name), made[name]) for name in made.data_vars)
    else:
        said["name"] = made.name
        held[""] = made
    said["variables"] = dict(
        (name, [list(one.dims), attributes(one)]) for name, one in held.items()
    )
    return said, dict((name, plain(one.values)) for name, one in held.items())


def attributes(made):
    return sorted((str(key), str(value)) for key, value in made.attrs.items())


def main(out):
    reasons = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(CASES):
            try:
                made = CASES[name]()
                data = pickle.dumps(made, 2)
                said, values = described(made)
            except Exception as error:
                reasons[name] = "%s: %s" % (type(error).__name__, str(error)[:100])
                continue
            archive.writestr(name + ".pkl", data)
            archive.writestr(name + ".json", json.dumps(said, sort_keys=True))
            buffer = io.BytesIO()
            np.savez(buffer, **dict(("v_" + key, value) for key, value in values.items()))
            archive.writestr(name + ".npz", buffer.getvalue())
        releases = {
            "python": platform.python_version(),
            "xarray": xr.__version__,
            "pandas": pd.__version__,
            "numpy": np.__version__,
            "left_out": reasons,
        }
        archive.writestr("releases.json", json.dumps(releases, indent=1, sort_keys=True))
    print(out, len(CASES) - len(reasons), "of", len(CASES), reasons)


if __name__ == "__main__":
    main(sys.argv[1])

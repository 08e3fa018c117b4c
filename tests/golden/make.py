"""Writes the golden files: containers that every later release must read.

Run ``python tests/golden/make.py`` after the container's version was raised, or to add a case: it
writes what is not there yet, under ``version-<n>/``, and never touches a file that is.
"""

from __future__ import annotations

import array
import datetime
import fractions
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from persist.tree import Global, PersistentRef, Record

HERE = Path(__file__).parent


def plain() -> Any:
    """What JSON can say, and what it cannot."""
    return {
        "text": "ü", "lone": "\ud800", "none": None, "yes": True, "one": 1, "one float": 1.0,
        "big": 2**70, "huge": -(10**5000), "zero": -0.0, "nan": float("nan"), "inf": float("-inf"),
        "complex": 1 + 2j, "bytes": b"\0\xff", "long bytes": bytes(range(256)) * 5,
        "bytearray": bytearray(b"abc"), "tuple": (1, (2, [3])), "empty": [(), [], {}, set()],
        "set": {1, "a", (2, frozenset({3}))}, "range": range(1, 10**30, 7),
        "slice": slice(None, 3), "keys": {1: "int", True + 1: "two", (1, b"x"): "tuple", None: 0},
        "a/b": {"../c": "odd keys"}, "deque": deque([1, 2], 3), "ordered": OrderedDict(b=1, a=2),
        "default": defaultdict(list, {3: [4]}), "counter": Counter("abca"), "ellipsis": ...,
    }  # fmt: skip


def standard() -> Any:
    """The standard library's values."""
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45), "Kathmandu")
    return [
        datetime.date(1582, 10, 15), datetime.time(1, 2, 3, 4, fold=1), datetime.timedelta(-1, 2, 3),
        datetime.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"), fold=1),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.time(5, tzinfo=zone), zone,
        Decimal("1.10"), Decimal("sNaN12"), fractions.Fraction(-1, 3), uuid.UUID(int=2**100),
        PurePosixPath("/a/b"), PureWindowsPath("C:/x"), array.array("d", [1.0, 2.0]), array.array("u", "é"),
    ]  # fmt: skip


def arrays() -> Any:
    """Arrays and scalars of every kind that all supported releases of NumPy have."""
    kinds = [
        "|b1",
        "|i1",
        "<u2",
        ">i4",
        "<u8",
        "<f2",
        ">f8",
        "<c8",
        "|S3",
        "<M8[25ms]",
        "<m8[D]",
        "|V3",
    ]
    padded = np.dtype(
        {"names": ["x", "y"], "formats": ["<i4", "<i2"], "offsets": [2, 8], "itemsize": 12}
    )
    record = np.dtype((np.record, [("a", ">i2"), (("title", "b"), "S3", (2,))]))
    table = np.zeros(2, [("x", "<f8"), ("o", object)])
    table["o"] = [["deep"], None]
    odd = np.frombuffer(b"\x01\0\0\0\0\0\xf8\x7f", "<f8")  # a nan with a payload
    return {
        "kinds": {kind: np.arange(6 * np.dtype(kind).itemsize, dtype="u1").view(kind) for kind in kinds},
        "text": np.array(["ü", "bc", ""], "<U2"), "text big": np.array(["ü", "bc"], ">U2"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "zero-d": np.array(7, "<i8"),
        "empty": np.zeros((3, 0, 2), "<f4"), "strided": np.arange(10)[::3].astype("<i8"),
        "padded": np.frombuffer(bytes(range(24)), padded), "record": np.frombuffer(bytes(range(16)), record),
        "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "<f8")], align=True)),
        "objects": np.array([[1, "a"], [None, (2,)]], object), "table": table, "nan": odd,
        "masked": np.ma.MaskedArray([1, 2, 3], mask=[0, 1, 0], fill_value=9), "nomask": np.ma.MaskedArray([1.5]),
        "matrix": np.arange(4).reshape(2, 2).view(np.matrix),
        "scalars": [np.float32(1.5), np.int64(-1), np.bool_(True), np.datetime64("2020-01-01", "us"), odd[0],
                    np.str_("a\0"), np.bytes_(b"b\0"), np.zeros((), record)[()]],
        "dtypes": [np.dtype("<f8"), record, padded, np.dtype("<M8[s]")],
        "x.npy": np.arange(2), "manifest.json": np.arange(3), "": np.arange(4), "%41\\": np.arange(5),
    }  # fmt: skip


def shared() -> Any:
    """What is one thing in several places: objects, memory, circles."""
    base = np.arange(100.0)
    part, state = [1], {"n": 1}
    tree = {
        "view": base[10:20], "all": base, "turned": base.reshape(10, 10).T, "again": base,
        "windows": [np.arange(50)[5:20], None], "list": part, "same list": part, "state": state,
    }  # fmt: skip
    tree["windows"][1] = tree["windows"][0][3:]
    tree["self"] = tree
    tree["tuple"] = (part, tree)
    tree["record"] = Record("lab.Node", state, kind="newobj", version=2)
    inner: list[Any] = []
    inner.append((inner, (inner,)))
    tree["circle"] = inner[0]
    return tree


def records() -> Any:
    """Records of every making, and names that nothing here looks up."""
    layer = [
        Record("lab.nets.Layer", {"w": np.full(3, float(n)), "n": n}, kind="newobj", version=3)
        for n in range(3)
    ]
    rebuild = Global("lab.nets", "rebuild")
    return {
        "net": Record("lab.nets.Net", {"layers": layer, "first": layer[0]}, kind="newobj", version=1),
        "old": Record("lab.Pair", (np.ones(2), None), kind="reduce", maker=rebuild, args=(1, "x")),
        "slots": Record("lab.Slots", ({"a": 1}, {"b": 2}), kind="newobj"),
        "list": Record("lab.List", {"k": 1}, kind="newobj", listitems=[1, 2], dictitems=[(1, 2), ("a", layer)]),
        "keywords": Record("lab.Kw", kind="newobj_ex", args=(1,), kwargs={"b": [2]}),
        "state": [Record("lab.S", None), Record("lab.S", "text"), Record("lab.S", [1]), Record("lab.S")],
        "globals": [rebuild, Global("numpy", "tanh"), PersistentRef(("storage", 7))],
    }  # fmt: skip


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (plain, {"digest": False}),
    "standard": (standard, {"digest": False}),
    "arrays": (arrays, {"digest": False}),
    "shared": (shared, {"digest": False}),
    "records": (records, {"digest": False, "metadata": {"run": 7}}),
    "deflated": (arrays, {"digest": False, "compress": "deflate"}),
    "sha256": (records, {"digest": "sha256"}),
    "xxh3": (records, {"digest": "xxh3-128"}),
}

if __name__ == "__main__":
    from persist import _container
    from persist._container.layout import VERSION

    folder = HERE / f"version-{VERSION}"
    folder.mkdir(exist_ok=True)
    for name, (make, options) in CASES.items():
        path = folder / f"{name}.persist"
        if path.exists():
            print(f"{path.name} is there and stays")
            continue
        _container.write(make(), path, **options)
        print(f"{path.name} written")

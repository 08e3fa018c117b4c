"""What `persist.scan` finds in attack files, and that it finds nothing in genuine ones."""

from __future__ import annotations

import bz2
import collections
import contextlib
import copyreg
import gzip
import io
import json
import lzma
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._cli import main
from persist.security import ScanReport, sarif

CORPUS = Path(__file__).parents[1] / "corpus"
P = b"\x80\x04"


class Evil:
    """Pickled as a call of ``os.system``, whose module's real name is another."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("true",)


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def named(dotted: str) -> bytes:
    module, _, name = dotted.rpartition(".")
    return f"c{module}\n{name}\n".encode()


EVIL = P + named("os.system") + text("true") + b"\x85R."


def dangers(source: Any) -> list[str]:
    return [one.name for one in persist.scan(source).of("dangerous")]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def npy_of(data: bytes) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    return out.getvalue() + data


OF_MANY = b"}" + b"".join(b"K\x01" + text("a") + b"s" for _ in range(3))
SPELLINGS = {
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": P + b"(" + named("os.system") + text("true") + b"o.",
    "stack global": P + text("os") + text("system") + b"\x93" + text("true") + b"\x85R.",
    "memoized names": P + text("os") + b"\x94" + text("system") + b"\x94h\x00h\x01\x93" + text("true") + b"\x85R.",
    "put with gaps": P + text("os") + b"r\xff\x00\x00\x000" + text("system") + b"q\x030j\xff\x00\x00\x00h\x03\x93)R.",
    "overwritten memo": P + text("collections") + b"q\x000" + text("os") + b"q\x000h\x00" + text("system") + b"\x93)R.",
    "newobj": P + named("subprocess.Popen") + text("true") + b"\x85\x81.",
    "newobj ex": P + named("subprocess.Popen") + text("true") + b"\x85}\x92.",
    "popped": P + named("os.system") + text("true") + b"\x85R0N.",
    "never called": P + named("os.system") + b".",
    "after stop": pickle.dumps([1]) + EVIL,
    "before a truncation": EVIL[:-1],
    "before a broken opcode": EVIL[:-1] + b"\xff",
    "in a dict's key": P + b"}" + named("os.system") + b"Ns.",
    "attribute": P + named("builtins.getattr") + named("torch.serialization") + text("os") + b"\x86R.",
    "dotted": P + text("torch") + text("os.system") + b"\x93.",
    "getattr of a module's function": P + named("builtins.getattr") + named("os.path") + text("os") + b"\x86R.",
    "getattr in a list": P + b"](" + named("builtins.getattr") + b"e.",
    "computed name": P + text("os") + named("builtins.str") + text("system") + b"\x85R\x93.",
    "append to sys.path": P + named("sys.path") + text("/tmp/x") + b"a.",
    "build on a function": P + named("numpy.prod") + b"N}" + text("__code__") + named("os.system") + b"s\x86b.",
    "extension": b"\x80\x02\x82\x01.",
    "extension without a protocol": b"\x84\x01\x00\x00\x00.",
    "python 2": b"c__builtin__\neval\n(S'1'\ntR.",
    "unlisted module": P + named("pip._internal.main") + b"N\x85R.",
    "numpy": P + named("numpy.testing._private.utils.runstring") + b")R.",
    "f2py": P + named("numpy.f2py.diagnose.run_command") + b")R.",
    "numpy load": P + named("numpy.load") + text("x.npy") + b"\x85R.",
    "pandas": P + named("pandas.io.pickle.read_pickle") + text("x") + b"\x85R.",
    "torch": P + named("torch._dynamo.guards.GuardBuilder.get") + b")R.",
    "resolve": P + named("pkgutil.resolve_name") + text("os:system") + b"\x85R.",
    "persistent": P + named("os.system") + text("true") + b"\x85RQ.",
    "protocol 5 buffer": b"\x80\x05\x97" + named("os.system") + text("true") + b"\x85R\x86.",
    "unhashable key": P + b"}" + b"]" + b"Ns" + named("os.system") + b"\x86.",
    "long line": P + b"V" + b"a" * 100_000 + b"\n0" + named("os.system") + b".",
    "huge memo": P + named("os.system") + b"r\xff\xff\xff\xff.",
    "codec": P + named("_io.FileIO") + text("x") + text("w") + b"\x86R.",
    "partial": P + named("functools.partial") + named("os.system") + text("true") + b"\x86R)R.",
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_found(name: str) -> None:
    report = persist.scan(SPELLINGS[name])
    assert report.of("dangerous"), str(report)
    assert report.status == 1
    assert not report.is_clean


PACKED = {
    "gzip": gzip.compress(EVIL),
    "gzip in gzip": gzip.compress(gzip.compress(EVIL)),
    "bz2": bz2.compress(EVIL),
    "xz": lzma.compress(EVIL),
    "lzma": lzma.compress(EVIL, lzma.FORMAT_ALONE),
    "zlib": zlib.compress(EVIL),
    "joblib 0.8": b"ZF" + hex(len(EVIL)).encode().ljust(19) + zlib.compress(EVIL),
    "zip, any name": zipped({"readme.txt": EVIL}),
    "zip, two pickles": zipped({"a/data.pkl": pickle.dumps({}), "a/other": EVIL, "a/version": b"3"}),
    "zip, deflated": zipped({"x": b"1", "data.pkl": EVIL}, zipfile.ZIP_DEFLATED),
    "zip behind a prefix": b"prefix " * 4 + zipped({"x": b"1", "data.pkl": EVIL}),
    "pickle before a zip": EVIL + zipped({"x": b"1"}),
    "zip in a zip": zipped({"a": b"1", "inner.npz": zipped({"b": b"1", "w.npy": npy_of(EVIL)})}),
    "tar": tarred({"a": b"1", "b/pickle": EVIL}),
    "tar.gz": gzip.compress(tarred({"a": b"1", "b/pickle": EVIL})),
    "npy": npy_of(EVIL),
    "npz": zipped({"a.npy": npy_of(EVIL), "b": b"1"}),
    "in bytes": pickle.dumps({"blob": EVIL}),
    "in bytes in bytes": pickle.dumps({"blob": pickle.dumps([EVIL])}),
    "in text of protocol 0": pickle.dumps({"blob": EVIL}, 0),
    "in an array": pickle.dumps(np.frombuffer(EVIL, np.uint8)),
    "gzip in bytes": pickle.dumps([gzip.compress(EVIL)]),
}  # fmt: skip


@pytest.mark.parametrize("name", PACKED)
def test_every_wrapping_is_entered(name: str) -> None:
    assert "os.system" in dangers(PACKED[name])


def test_a_zip_whose_directory_and_headers_differ_is_read_by_both() -> None:
    data = zipped({"safe.pkl": pickle.dumps(1), "evil.pkl": EVIL})
    hidden = data.replace(b"evil.pkl", b"evil.txt", 1)  # the local header, not the directory
    assert "os.system" in dangers(hidden)
    at = data.index(b"PK\x01\x02")
    cut = data[:at] + data[data.index(b"PK\x05\x06") :]  # no directory at all
    assert "os.system" in dangers(cut)


def test_places_lead_to_the_name() -> None:
    inner = pickle.dumps([EVIL])
    data = gzip.compress(zipped({"x": b"1", "a/data.pkl": inner}))
    (found,) = persist.scan(data).of("dangerous")
    at = inner.index(EVIL) - 2  # SHORT_BINBYTES and its length
    assert found.place == f"gzip > a/data.pkl > bytes at offset {at}"
    assert found.offset == EVIL.index(b"cos")
    assert found.name == "os.system"
    assert str(found).startswith("dangerous: os.system: runs code")


def test_what_cannot_be_looked_at_is_not_clean(tmp_path: Path) -> None:
    encrypted = bytearray(zipped({"a": b"x" * 100, "b": b"1"}))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(magic) + at] |= 1
    cases = {
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "rar": b"Rar!\x1a\x07\x00" + bytes(100),
        "encrypted": bytes(encrypted),
        "cut gzip": gzip.compress(bytes(range(256)) * 64)[:-100],
        "cut pickle": pickle.dumps({"a": 1, "b": [1, 2]})[:-4],
        "cut npy": npy_of(pickle.dumps([1])[:-3]),
        "bomb": gzip.compress(bytes(300 << 20), 1),
    }
    for name, data in cases.items():
        report = persist.scan(data)
        assert report.verdict == "could not look", (name, str(report))
        assert report.status == 2
        assert not report.is_clean
    deep = EVIL
    for _ in range(20):
        deep = gzip.compress(deep)
    assert persist.scan(deep).verdict == "could not look"
    with pytest.raises(FileNotFoundError):
        persist.scan(tmp_path / "missing.pkl")


def test_billion_laughs_and_bombs_of_opcodes_cost_nothing() -> None:
    laughs = P + b")" + b"2\x86" * 60 + b"0" + EVIL[2:]
    assert dangers(laughs) == ["os.system"]
    hashed = P + b"()" + b"2\x86" * 40 + b"\x91" + EVIL[2:]
    assert dangers(hashed) == ["os.system"]
    graph = P + b"".join(b"}q%c0" % i for i in range(60)) + EVIL[2:]
    assert dangers(graph) == ["os.system"]
    deep = P + b")" + b"\x85" * 300_000 + b"0" + EVIL[2:]
    assert dangers(deep) == ["os.system"]
    claims = P + b"\x8e" + struct.pack("<Q", 1 << 40)
    assert persist.scan(claims).verdict == "could not look"


def test_bombs_in_the_bytes_of_a_pickle_share_one_budget() -> None:
    """Each would be allowed alone; together they are more than the limits of the file."""
    bomb = gzip.compress(bytes(100 << 20), 9)
    report = persist.scan(pickle.dumps([bomb, bomb + b"", EVIL, bytearray(bomb)] + [bomb + bytes([i]) for i in range(4)]))  # fmt: skip
    assert "os.system" in {one.name for one in report.of("dangerous")}
    assert any("more than 268,435,456 bytes" in one.why for one in report.of("could not look"))


def test_an_extension_that_is_registered_here_is_named() -> None:
    copyreg.add_extension("lab", "Net", 0x7FFF01)
    try:
        report = persist.scan(b"\x80\x02\x84" + struct.pack("<i", 0x7FFF01) + b".")
    finally:
        copyreg.remove_extension("lab", "Net", 0x7FFF01)
    assert {one.name for one in report.findings} == {"lab.Net", f"copyreg.extension {0x7FFF01}"}


def test_raw_arrays_of_joblib_are_skipped_and_read_as_opcodes() -> None:
    """joblib skips the bytes of an array; ``pickle.load`` of the same file executes them."""
    wrapper = named("joblib.numpy_pickle.NumpyArrayWrapper") + b")\x81}("
    for key, value in {
        "dtype": named("numpy.dtype") + text("u1") + b"K\x00K\x01\x87R",
        "shape": b"K\x40\x85",
        "order": text("C"),
    }.items():
        wrapper += text(key) + value
    head = P + wrapper + b"ub"
    hidden = (b"0" + EVIL[2:-1]).ljust(63, b"N") + b"."
    after = b"0" + EVIL[2:]
    assert "os.system" in dangers(head + hidden[:64].ljust(64, b"\0") + b".")
    assert "os.system" in dangers(head + b"\xff" * 64 + after)
    assert persist.scan(head + b"\xff" * 64 + b".").verdict == "safe"


# Configurations.


def layer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config}


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": list(layers)}}


def test_lambda_layers_and_references_in_keras_configurations() -> None:
    marshalled = layer("Lambda", function=["4wEAAAA=", None, None], function_type="lambda")
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
    reference = {
        "module": "os", "class_name": "function", "config": "system", "registered_name": "function",
    }  # fmt: skip
    fetched = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    cases = {
        "Lambda": model(layer("Dense", units=3), marshalled),
        "__lambda__": model(layer("Lambda", function=code)),
        "os.system": model(layer("Dense", activation=reference)),
        "keras.utils.get_file": model(layer("Dense", activation=fetched)),
    }
    for name, config in cases.items():
        text_of = json.dumps(config).encode()
        assert name in {one.name for one in persist.scan(text_of).findings}
        assert name in dangers(text_of) or name == "__lambda__"
        archive = zipped({"metadata.json": b"{}", "config.json": text_of})
        (found,) = [one for one in persist.scan(archive).of("dangerous") if one.name == name] or [
            persist.scan(archive).of("dangerous")[0]
        ]
        assert found.place == "config.json"
    dense = layer("Dense", units=3)
    plain = {"module": "keras.layers", "registered_name": None, **dense}
    assert persist.scan(json.dumps(model(plain)).encode()).is_clean
    vocabulary = layer("StringLookup", vocabulary="/etc/passwd")
    assert persist.scan(json.dumps(model(vocabulary)).encode()).verdict == "suspicious"
    yaml = b"config:\n  layers:\n  - class_name: Lambda\n    config: {}\n"
    assert dangers(yaml) == ["Lambda"]
    assert dangers(b"x: !!python/object/apply:os.system [id]\n") == ["os.system"]


@pytest.mark.extra("h5py")
def test_a_lambda_layer_and_a_pickle_in_hdf5(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(model(layer("Lambda", function=["x", None, None])))
    assert dangers(tmp_path / "model.h5") == ["Lambda"]
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("w", data=np.frombuffer(EVIL, np.uint8), chunks=True, compression=9)
    assert dangers(tmp_path / "packed.h5") == ["os.system"]


def test_a_pickle_in_a_database(tmp_path: Path) -> None:
    import shelve
    import sqlite3

    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute("CREATE TABLE t (blob BLOB)")
        database.execute("INSERT INTO t VALUES (?)", (EVIL,))
        database.execute("INSERT INTO t VALUES (?)", (gzip.compress(EVIL),))
        database.commit()
    assert "os.system" in dangers(tmp_path / "study.db")
    import dbm.dumb

    with shelve.Shelf(dbm.dumb.open(str(tmp_path / "shelf"), "n")) as shelf:  # type: ignore[arg-type]
        shelf["a"], shelf["b"] = 1, Evil()
    names = dangers(tmp_path / "shelf.dat")
    assert [name.partition(".")[2] for name in names] == ["system"]


def test_operations_of_a_graph() -> None:
    def field(key: int, data: bytes) -> bytes:
        return bytes([key << 3 | 2, len(data)]) + data

    def graph(op: bytes) -> bytes:
        return field(1, field(1, b"node") + field(2, op) + field(3, b"input"))

    assert dangers(graph(b"WriteFile")) == ["WriteFile"]
    assert dangers(graph(b"PyFunc")) == ["PyFunc"]
    assert persist.scan(graph(b"MatMul")).is_clean


# Genuine files.

EXPECTED = {  # files of the corpus that do run more than the rebuilding of data
    "dill-0.3.4-py36-arrays/run.pkl", "pickle-py27-p2-dill-main-class/session_net.pkl",
    "odd-arrays/numpy-2.3-py313.pkl", "theano-0.8.2-py27-function/predict.pkl",
}  # fmt: skip


@pytest.mark.extra("lz4", "zstandard", "h5py")
def test_no_genuine_file_is_called_dangerous() -> None:
    flagged: list[str] = []
    count = 0
    for path in sorted(CORPUS.rglob("*")):
        if not path.is_file() or path.suffix in (".py", ".md", ".json"):
            continue
        count += 1
        report = persist.scan(path)
        if not report.is_clean and "/".join(path.parts[-2:]) not in EXPECTED:
            flagged.append(f"{path}: {report}")
    assert count > 250
    assert not flagged


def test_benign_values_are_safe() -> None:
    import argparse
    import datetime
    import decimal
    import fractions
    import functools
    import logging
    import pathlib
    import random
    import types
    import uuid

    values = [
        np.arange(3), np.float32(1), np.dtype("f4"), np.random.default_rng(0), np.random.RandomState(1),
        np.ma.masked_array([1, 2], [0, 1]), collections.OrderedDict(a=1), collections.Counter("a"),
        collections.deque([1]), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), decimal.Decimal("1.5"),
        fractions.Fraction(1, 3), pathlib.PurePosixPath("a/b"), uuid.UUID(int=3), {1, 2}, frozenset([1]),
        argparse.Namespace(lr=0.1), types.SimpleNamespace(a=1), logging.getLogger("x"), random.Random(0),
        functools.partial(int, "1"), complex(1, 2), bytearray(b"x"), range(3), slice(1, 2), ValueError("x"),
        np.zeros(2, [("a", "f4"), ("b", "O")]), np.array([None, "x"], object), datetime.UTC,
    ]  # fmt: skip
    for value in values:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            report = persist.scan(pickle.dumps(value, protocol))
            assert report.verdict == "safe", (value, protocol, str(report))


def test_an_unknown_class_is_named_and_clean() -> None:
    report = persist.scan(P + named("lab.nets.Net") + b")\x81.")
    assert (report.verdict, report.is_clean, report.status) == ("unknown", True, 0)
    assert [one.name for one in report.findings] == ["lab.nets.Net"]


def test_files_of_no_loader_are_clean() -> None:
    for data in (b"", b"# A text\n\nwith words.\n", b"import os\nos.system('x')\n", bytes(range(256)), b"\x89PNG\r\n\x1a\n" + bytes(50)):  # fmt: skip
        assert persist.scan(data).status == 0, data


# Laws.


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.data())
def test_every_name_that_the_unpickler_asks_for_is_reported(data: st.DataObject) -> None:
    """Differential: what CPython's unpickler asks for in ``find_class`` is among the findings."""
    names = ["os.system", "lab.Net", "collections.OrderedDict", "builtins.eval", "numpy.load"]
    parts = [
        b"N", b"K\x01", text("a"), b"]", b"}", b")", b"\x85", b"\x86", b"0", b"2", b"(", b"t", b"l", b"d", b"e",
        b"u", b"s", b"a", b"R", b"b", b"\x81", b"q\x00", b"h\x00", b"\x94", b"o", b"1", b"\x91", b"\x90",
        b"I1\n", b"S'x'\n", b"p0\n", b"g0\n", text("os") + text("system") + b"\x93",
        b"\x95" + bytes(8), *(named(name) for name in names), b"(ios\nsystem\n", b".",
    ]  # fmt: skip
    made = P + b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=30))) + b"."
    asked: list[str] = []

    class Watching(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked.append(f"{module}.{name}")
            return collections.OrderedDict

        def persistent_load(self, pid: Any) -> Any:
            return pid

    with contextlib.suppress(Exception):  # whatever it raises: it asked before
        Watching(io.BytesIO(made)).load()
    found = {one.name for one in persist.scan(made).findings}
    assert set(asked) <= found, pickletools.genops(made)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", P, b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x1f\x8b\x08", b"{", b"\x89HDF\r\n\x1a\n", b"ZF0x10"]))  # fmt: skip
def test_nothing_but_a_report_comes_of_any_bytes(data: bytes, head: bytes) -> None:
    assert isinstance(persist.scan(head + data), ScanReport)


# Reports and the command.


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evil.pkl").write_bytes(EVIL)
    (tmp_path / "good.pkl").write_bytes(pickle.dumps({"w": np.zeros(2)}))
    (tmp_path / "mine.pkl").write_bytes(P + named("lab.Net") + b")\x81.")
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps([1, 2, 3])[:-2])
    at = {name: str(tmp_path / f"{name}.pkl") for name in ("evil", "good", "mine", "cut")}
    assert main(["scan", at["good"]]) == 0
    assert "clean" in capsys.readouterr().out
    assert main(["scan", at["evil"]]) == 1
    assert "dangerous: os.system" in capsys.readouterr().out
    assert main(["scan", at["cut"]]) == 2
    assert "could not look" in capsys.readouterr().out
    assert main(["scan", at["mine"]]) == 0
    assert main(["scan", "--strict", at["mine"]]) == 1
    assert main(["scan", "--strict", at["good"]]) == 0
    assert main(["scan", at["cut"], at["evil"]]) == 1
    assert main(["scan", str(tmp_path / "missing.pkl")]) == 2
    capsys.readouterr()
    assert main(["scan", "--json", str(tmp_path)]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {Path(row["file"]).stem: row["verdict"] for row in rows} == {
        "evil": "dangerous", "good": "safe", "mine": "unknown", "cut": "could not look",
    }  # fmt: skip
    assert rows[1]["findings"][0]["offset"] == EVIL.index(b"cos")
    assert main(["scan", "--sarif", str(tmp_path)]) == 1
    log = json.loads(capsys.readouterr().out)
    results = log["runs"][0]["results"]
    assert {one["ruleId"] for one in results} == {"dangerous", "unknown", "could-not-look"}
    rules = {rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]}
    assert {one["ruleId"] for one in results} <= rules
    assert main(["scan", "--quiet", at["good"]]) == 0
    assert not capsys.readouterr().out


def test_a_folder_is_one_report_in_python(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "evil").write_bytes(gzip.compress(EVIL))
    (tmp_path / "good.pkl").write_bytes(pickle.dumps(1))
    report = persist.scan(tmp_path)
    (found,) = report.of("dangerous")
    assert found.place == "sub/evil > gzip"
    assert sarif([report])["runs"][0]["results"][0]["level"] == "error"


@pytest.mark.parametrize(
    "name",
    [
        "difflib._test",
        "random._test_generator",
        "calendar.main",
        "copy._reconstruct",
        "random._test",
    ],
)
def test_what_runs_in_modules_of_plain_data_is_suspicious(name: str) -> None:
    report = persist.scan(P + named(name) + b")R.")
    assert report.verdict == "suspicious"
    assert persist.scan(P + named("difflib.Differ") + b")R.").verdict == "safe"

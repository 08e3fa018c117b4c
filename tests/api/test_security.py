"""Files that are made to harm: nothing they name is imported or called, and they end soon.

Each runs in a child with little memory, little time and an audit hook that notes every import,
file and process beyond this package; the child reports what came of each step. A crash, a hang, or
any error that is not persist's own fails the test, with the rule as its name.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import FormatError, UntrustedError

MEMORY = 2 << 30
SECONDS = 60  # of the processor

CHILD = """
import gc, importlib, os, pickle, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import persist, persist._api.detect
from persist import errors

def warm(data):  # what is imported on first use, by whatever file
    file = persist.open(data)
    str(file), file.structure, file.evidence, list(file.arrays), persist.explain(data)
    persist.load(data)

persist._api.detect.readers()
import pickletools  # what is damaged is looked at with it
import importlib.readers, zoneinfo  # the second imports the first when it reads a zone of tzdata
try:
    import yaml
except ImportError:  # an extra
    pass
warm(pickle.dumps({"a": np.zeros(3), "b": np.array([None])}))
seen, is_watched = [], False

def hook(event, args):
    if not is_watched:
        return
    if event == "import" and args[0].partition(".")[0] not in ("persist", "numpy", "encodings"):
        seen.append(f"import {args[0]}")
    elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect",
                   "os.remove", "os.rename", "os.mkdir", "ctypes.dlopen", "pickle.find_class"):
        seen.append(f"{event} {args!r}")

sys.addaudithook(hook)

def steps(source):
    yield "open", lambda: use(persist.open(source))
    yield "load", lambda: persist.load(source)
    yield "explain", lambda: str(persist.explain(source))

def use(file):
    for name, look in (
        ("tree", lambda: file.tree),
        ("arrays", lambda: [np.asarray(file.arrays[path]).shape for path in file.arrays]),
        ("scalars", lambda: list(file.scalars)),
        ("structure", lambda: file.structure),
        ("print", lambda: str(file)),
    ):
        attempt(name, look)

def attempt(name, act):
    try:
        act()
        reported.append(f"{name} ok")
    except errors.PersistError as error:
        str(error)
        reported.append(f"{name} {type(error).__name__}")
    except BaseException as error:
        reported.append(f"{name} BAD {type(error).__name__}: {str(error)[:200]}")

import resource
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for path in sys.argv[3:]:
    reported = []
    source = open(path, "rb").read() if path.endswith(".bytes") else path
    is_watched = True
    for name, act in steps(source):
        attempt(name, act)
    gc.collect()
    is_watched = False
    print(os.path.basename(path), "|", "; ".join(reported), "|", seen, flush=True)
"""


def attacked(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Let a child look at and load files; return what it reported of each."""
    for name, data in files.items():
        (folder / f"{name}.bytes").write_bytes(data)
    return report_of(*(folder / f"{name}.bytes" for name in files))


def report_of(*paths: Path) -> dict[str, str]:
    command = [sys.executable, "-c", CHILD, str(MEMORY), str(SECONDS), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = dict(line.split(" | ", 1) for line in done.stdout.splitlines())
    result = {name.removesuffix(".bytes"): text for name, text in lines.items()}
    assert len(result) == len(paths), (
        f"it died (status {done.returncode}) after {lines}: {done.stderr[-2000:]}"
    )
    for name, text in result.items():
        assert "BAD" not in text, f"{name}: {text}"
        assert text.endswith("| []"), f"{name} reached beyond: {text}"
    return result


# Pickles, spelled by hand.

P = b"\x80\x04"


def named(dotted: str) -> bytes:
    module, _, name = dotted.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def raw(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def dtype(code: str, order: str = "|") -> bytes:
    state = b"(K\x03" + text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return named("numpy.dtype") + text(code) + b"K\x00K\x01\x87R" + state


def array(code: str, shape: bytes, data: bytes) -> bytes:
    made = named("numpy.core.multiarray._reconstruct") + named("numpy.ndarray")
    made += b"K\x00\x85C\x01b\x87R"
    return made + b"(K\x01(" + shape + b"t" + dtype(code) + b"\x89" + data + b"tb"


def called(function: str, *args: bytes) -> bytes:
    return named(function) + b"(" + b"".join(args) + b"tR"


def repeated(function: str, *args: bytes) -> bytes:
    """The same call 20,000 times, its arguments from the memo."""
    first = named(function) + b"q\x000(" + b"".join(args) + b"tq\x010"
    return P + first + b"](" + b"h\x00h\x01R" * 20_000 + b"e."


def nested(function: str, levels: int, link: bytes, end: bytes = b"N") -> bytes:
    return P + named(function) + b"q\x000" + b"h\x00)R" * levels + end + link * levels + b"."


SYSTEM = named("os.system") + text("touch touched")


def test_what_a_pickle_calls_is_never_called(tmp_path: Path) -> None:
    getattr_ = named("builtins.getattr")
    zone = getattr_ + named("zoneinfo.ZoneInfo") + text("_unpickle") + b"\x86R"
    files = {
        "reduce": P + SYSTEM + b"\x85R.",
        "inst": b'(S"touch touched"\nios\nsystem\n.',
        "obj": P + b"(" + SYSTEM + b"o.",
        "newobj": P + named("subprocess.Popen") + text("id") + b"\x85\x81.",
        "newobj_ex": P + named("subprocess.Popen") + b")}" + text("args") + text("id") + b"s\x92.",
        "dotted": P + text("numpy") + text("core._internal.sys.modules") + b"\x93)R.",
        "getattr": P + getattr_ + named("os.path") + text("os.system") + b"\x86R" + text("id") + b"\x85R.",
        "slots": P + named("numpy.prod") + b"N}" + text("__code__") + text("x") + b"s\x86b.",
        "modules": P + named("sys.modules") + text("os") + b"Ns.",
        "extension": P + b"\x82\x01)R.",
        "codec": P + called("_codecs.encode", text("x"), text("antigravity")) + b".",
        "popped": P + SYSTEM + b"\x85R0N.",
        "second": P + b"N." + P + SYSTEM + b"\x85R.",
        "zone": P + zone + text("../../etc/passwd") + b"K\x01\x86R.",
        "zone folder": P + zone + text("America") + b"K\x01\x86R.",
        "import": P + called("importlib.import_module", text("antigravity")) + b".",
        "numpy": P + called("numpy.testing._private.utils.runstring", text("1"), b"}") + b".",
        "factory": P + named("collections.defaultdict") + named("os.abort") + b"\x85R.",
        "envelope": P + called("persist.versioned._set_state", SYSTEM + b"\x85R", b"}") + b".",
        "object array": b"\x93NUMPY\x01\x00\x36\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
        + P + SYSTEM + b"\x85R.",
        "npy header": b"\x93NUMPY\x01\x00\x30\x00" + b"{'descr': __import__('os').system('id')}".ljust(48),
    }  # fmt: skip
    attacked(tmp_path, files)
    assert not Path("touched").exists()


def test_what_is_freed_by_recursion_is_refused_and_freed(tmp_path: Path) -> None:
    levels, dtypes = 20_000, 3_000
    struct_of = (
        named("numpy.dtype") + b"q\x000" + text("V8") + b"q\x010" + text("f") + b"q\x020" + P[:0]
        + b"h\x00h\x01K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00|Nh\x02\x85}h\x02" * dtypes
        + dtype("f8", "<") + b"K\x00\x86sK\x08K\x01K\x10tb" * dtypes
    )  # fmt: skip
    made = named("numpy.core.multiarray._reconstruct") + b"q\x000" + named("numpy.ndarray")
    made += b"K\x00\x85C\x01b\x87q\x010" + dtype("O8") + b"q\x020"
    files = {
        "slices": P + named("__builtin__.slice") + b"q\x000"
        + b"h\x00" * levels + b"N" + b"NN\x87R" * levels + b".",
        "deques": nested("collections.deque", levels, b"a"),
        "defaultdicts": P + named("collections.defaultdict") + b"q\x000"
        + b"h\x00)RN" * levels + b"N" + b"s" * levels + b".",
        "arrays": P + made + b"h\x00h\x01R(K\x01K\x02\x85h\x02\x89](" * levels
        + b"NN" + b"etbN" * (levels - 1) + b"etb.",
        "dtypes": P + struct_of + b".",
    }  # fmt: skip
    reported = attacked(tmp_path, files)
    for name in ("deques", "defaultdicts", "arrays"):
        assert "open LimitError" in reported[name], reported[name]


def test_honest_nesting_of_the_same_kinds_is_read() -> None:
    from collections import defaultdict, deque

    value: Any = deque([1])
    for _ in range(50):
        value = deque([value, defaultdict(list, {"a": deque([2])})])
    rows = np.empty(500, object)
    for index in range(len(rows)):
        rows[index] = np.array([None, index], object)
    tree = persist.open(pickle.dumps({"value": value, "rows": rows})).tree
    assert tree["value"] == value
    assert tree["rows"][499][1] == 499


def test_copies_of_what_is_in_memory_are_counted(tmp_path: Path) -> None:
    long = b"](" + b"N" * 200_000 + b"e"
    files = {
        "list": repeated("__builtin__.list", long),
        "set": repeated("__builtin__.set", long),
        "deque": repeated("collections.deque", long),
        "bytearray": repeated("__builtin__.bytearray", raw(bytes(1_000_000))),
        "encode": repeated("_codecs.encode", text("x" * 1_000_000), text("latin1")),
        "scalar": repeated("numpy.core.multiarray.scalar", dtype("V8")[:-2]
                           .replace(b"NNNJ\xff\xff\xff\xff", b"NNNJ\xff\xff\xff\x7f") + b"tb"),
    }  # fmt: skip
    reported = attacked(tmp_path, files)
    for name in ("list", "deque", "bytearray", "encode"):
        assert "open LimitError" in reported[name], reported[name]


def test_shapes_that_cost_the_file_nothing_are_bounded(tmp_path: Path) -> None:
    def npy(descr: str, shape: str) -> bytes:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header

    many = "(10000000000000,)"
    files = {
        "pickled S0": P + array("S0", number(10**13), b"C\x00") + b".",
        "pickled U0": P + array("U0", number(3 * 10**8), b"C\x00") + b".",
        "pickled V0": P + array("V0", number(10**13), b"C\x00") + b".",
        "npy S0": npy("'|S0'", many),
        "npy V0": npy("'|V0'", many),
        "npy fields": npy("[('a', '|V0')]", many),
        "npy none": npy("[]", many),
    }
    attacked(tmp_path, files)


def test_names_and_integers_cost_what_they_take(tmp_path: Path) -> None:
    big = text("m" * 1_000_000)
    long = b"\x8b" + struct.pack("<i", 100_000) + b"\x55" * 100_000
    files = {
        "names": P + big + b"q\x000" + big + b"q\x010](" + b"h\x00h\x01\x93" * 100_000 + b"e.",
        "getattr": P + named("__builtin__.getattr") + b"q\x000" + text("m" * 60_000) + b"q\x010"
        + b"](" + named("a.b") + b"q\x02" + b"h\x00h\x02h\x01\x86Rq\x02" * 20_000 + b"e.",
        "hashed": P + b"}" + long + b"q\x000(" + b"h\x00N" * 20_000 + b"u.",
        "digits": b"L" + b"7" * 300_000 + b"L\n.",
        "divisor": P + called("fractions.Fraction", number(3**200_000), number(5**200_000)) + b".",
    }  # fmt: skip
    attacked(tmp_path, files)


def test_sharing_without_end_is_refused_soon(tmp_path: Path) -> None:
    shared = b"".join(
        b"q" + bytes([k]) + b"0]h" + bytes([k]) + b"ah" + bytes([k]) + b"a" for k in range(28)
    )
    masked = named("numpy.ma.core._mareconstruct") + b"(" + named("numpy.ma.core.MaskedArray")
    masked += named("numpy.ndarray") + b"K\x00\x85C\x01btR(K\x01K\x01\x85" + dtype("f8", "<")
    masked += b"\x89C\x08aaaaaaaaC\x01\x00"
    waits = named("numpy.dtype") + b"q\xff0h\xff" + text("f8") + b"\x85Rq\xfe0]h\xfea)q\x00"
    waits += b"".join(
        b"0(" + (b"h" + bytes([k])) * 20_000 + b"tq" + bytes([k + 1]) for k in range(4)
    )
    waits += b"ah\xfe(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb0."
    files = {
        "tuples": P + b")" + b"2\x86" * 40 + b".",
        "fill value": P + masked + b"]K\x01a" + shared + b"tb.",
        "mended": P + waits,
    }
    attacked(tmp_path, files)


def test_deep_values_take_no_square_of_time(tmp_path: Path) -> None:
    levels = 8_000
    files = {
        "lists": P + b"]" * levels + b"a" * (levels - 1) + b".",
        "calls": P + named("a.B") + b")R" * levels + b".",
        "states": P + named("a.B") + b"q\x000" + b"h\x00)\x81" * levels + b"N" + b"b" * levels + b".",
        "built": P + b"N" + b"Nb" * levels + b".",
    }  # fmt: skip
    attacked(tmp_path, files)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_no_neighbours(tmp_path: Path) -> None:
    wrapper = named("joblib.numpy_pickle.NDArrayWrapper") + b")\x81}(" + text("filename")
    wrapper += text("x.npy") + text("subclass") + named("numpy.ndarray") + b"ub."
    (tmp_path / "a.pkl").write_bytes(P + wrapper)
    os.mkfifo(tmp_path / "x.npy")
    report_of(tmp_path / "a.pkl")
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    os.mkfifo(model / "saved_model.pb")
    report_of(model)
    with pytest.raises(FormatError, match="device"):
        persist.open("/dev/zero")


# Our own container, with a graph of one's own.


def decoded(nodes: list[Any], arrays: list[Any] = []) -> Any:  # noqa: B006
    from persist._container.reading.decode import decode

    class Stored(list[Any]):
        def wholes(self) -> None:
            return None

        def whole(self, index: int) -> Any:
            return self[index]

        def view(self, *what: Any) -> Any:
            raise AssertionError("no view is asked for")

    graph = {"layouts": [], "shapes": [], "nodes": nodes, "root": [len(nodes) - 1]}
    return decode(graph, Stored(arrays))


LEVELS = 50_000


@pytest.mark.parametrize(
    "nodes",
    [
        [["slice", None, None, None], *(["slice", [k], None, None] for k in range(LEVELS))],
        [["deque", None], *(["deque", None, [k]] for k in range(LEVELS))],
        [["defaultdict", None], *(["defaultdict", None, "a", [k]] for k in range(LEVELS))],
        [["objects", [1], "C", None], *(["objects", [1], "C", [k]] for k in range(LEVELS))],
        [["list", 1], *(["list", [k], [k]] for k in range(40)), ["str_", [40]]],
        [["list", 1], *(["list", [k], [k]] for k in range(30)), 0, ["masked", [31], None, [30], False]],
        [["ZoneInfo", "../../etc/passwd"]],
        [["int", "5" * 1_000_000], *[["map", [0], 1]] * 100_000],
        [*[["bytes", 0]] * 20_000],
    ],
    ids=["slices", "deques", "defaultdicts", "arrays", "text", "fill", "zone", "keys", "copies"],
)  # fmt: skip
def test_a_crafted_graph_is_refused(nodes: list[Any]) -> None:
    arrays = [np.zeros(1_000_000 if nodes[0][0] == "bytes" else 3, np.uint8)]
    with pytest.raises(FormatError):
        decoded(nodes, arrays)


def test_a_zone_that_is_a_folder_stays_a_record() -> None:
    assert isinstance(decoded([["ZoneInfo", "America"]]), persist.Record)


# Trust.


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Any:
    import types

    module = types.ModuleType("evil_lab")

    class Net:
        opener = subprocess.Popen

    Net.__module__, Net.__qualname__ = "evil_lab", "Net"
    for name, value in {"Net": Net, "Popen": subprocess.Popen, "os": os}.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "evil_lab", module)
    return module


@pytest.mark.parametrize("name", ["Popen", "Net.opener", "os.system"])
@pytest.mark.filterwarnings("ignore::persist.errors.OpaqueWarning")
def test_a_pattern_trusts_no_class_that_a_module_only_imported(lab: Any, name: str) -> None:
    data = P + text("evil_lab") + text(name) + b"\x93" + text("false") + b"\x85R."
    assert isinstance(persist.load(data, trust=["evil_lab.*"]), persist.Record)


def test_a_pattern_trusts_a_class_at_home(lab: Any) -> None:
    assert (
        type(persist.load(P + named("evil_lab.Net") + b")\x81.", trust=["evil_lab.*"])) is lab.Net
    )


@pytest.mark.filterwarnings("ignore::persist.errors.OpaqueWarning")
def test_a_state_for_the_class_itself_makes_nothing(lab: Any) -> None:
    data = P + named("evil_lab.Net") + b"}" + text("opener") + b"Nsb."
    assert isinstance(persist.load(data, trust=["evil_lab.Net"]), persist.Record)
    assert lab.Net.opener is subprocess.Popen


@pytest.mark.parametrize("ending", [b")\x81NNs.", b")\x81Na."])
def test_what_a_trusted_class_lacks_is_an_error_of_ours(lab: Any, ending: bytes) -> None:
    with pytest.raises(persist.PersistError, match="evil_lab.Net"):
        persist.load(P + named("evil_lab.Net") + ending, trust=["evil_lab.Net"])


def test_names_of_no_module_are_an_error_of_ours() -> None:
    with pytest.raises(persist.PersistError, match="trust="):
        persist.load(P + named(".os.Net") + b")R.", trust=[".os.Net"])
    with pytest.raises(UntrustedError, match="not a class"):
        persist.load(P + SYSTEM + b"\x85R.", trust=["os.system"])


# The command.

ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize("verb", ["inspect", "explain", "verify"])
def test_nothing_in_a_file_reaches_the_terminal_as_a_command(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from persist._cli import main

    plain = np.lib.format.magic(1, 0) + struct.pack("<H", 56)
    plain += b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}".ljust(56) + bytes(8)
    files = {
        "class.pkl": P + text(f"lab{ESCAPE}") + text(f"Net{ESCAPE}") + b"\x93)R.",
        "key.pkl": P + b"}" + text(ESCAPE) + text(ESCAPE) + b"s.",
        "surrogate.pkl": P + b"X\x03\x00\x00\x00\xed\xa0\x80" + text("B") + b"\x93)R.",
        "member.npz": zipped((f"{ESCAPE}.npy", plain)),
        "nothing.zip": zipped((ESCAPE, b"x")),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        main([verb, str(tmp_path / name)])
    reported = capsys.readouterr()
    for line in (reported.out + reported.err).splitlines():
        assert line.isprintable(), ascii(line)
        assert "fault of persist" not in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_upgrade_follows_no_link_out_of_the_folder(tmp_path: Path) -> None:
    from persist._cli import main

    source, target, other = (tmp_path / name for name in ("source", "target", "other"))
    for folder in (source, other):
        folder.mkdir()
        (folder / "a.pkl").write_bytes(pickle.dumps([1]))
    (source / "link").symlink_to(other)
    (source / "a.pkl.persist").symlink_to(other / "written")  # leads nowhere yet
    os.mkfifo(source / "pipe.pkl")
    assert main(["upgrade", str(source), "--to", str(target)]) == 0
    assert [path.name for path in target.rglob("*")] == ["a.pkl.persist"]
    assert main(["upgrade", str(source)]) == 0
    assert not (source / "a.pkl.persist").is_symlink()
    assert [path.name for path in other.iterdir()] == ["a.pkl"]

"""A child process that opens, walks, prints, explains and loads attack files, and reports on them.

The child has 2 GiB of address space and an audit hook. It fails the test when it dies, when
anything but a `PersistError` comes out of a step, or when a file made it import, start, connect or
write something. How much memory a file took at most is in the report.

The rest of the module spells pickles and NPY files by hand.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

MEMORY = 2 << 30
SECONDS = 240  # of the clock: what hangs is ended; nothing is measured by it

CHILD = r"""
import gc, json, os, pickle, resource, sys, time, warnings
warnings.simplefilter("ignore")
import importlib, importlib.resources, zoneinfo
for extra in ("crc32c", "google_crc32c"):  # they import much, when a checkpoint of TensorFlow is read
    try:
        importlib.import_module(extra)
    except ImportError:
        pass
import numpy as np
import persist, persist._api.detect
import persist._wire.pickle.replaced_text  # on the first damaged pickle; it imports pickletools
from persist import errors

seen, is_watched = [], False

def hook(event, args):
    if not is_watched:
        return
    if event == "import" and args[0].partition(".")[0] not in KNOWN:
        seen.append(f"import {args[0]}")
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        seen.append(f"open {args[0]!r} to write")
    elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect",
                   "os.remove", "os.rename", "os.mkdir", "ctypes.dlopen", "pickle.find_class"):
        seen.append(f"{event} {args!r}")

# Parts of the library and of the extras it chooses itself; no name of an attack is among them.
KNOWN = {"persist", "numpy", "encodings", "ml_dtypes", "yaml", "zstandard", "lz4", "_bz2", "_lzma",
         "bz2", "lzma", "gzip", "sqlite3", "_sqlite3", "isal", "tarfile", "zipfile", "_posixsubprocess",
         "dataclasses", "fnmatch", "difflib", "heapq", "importlib", "packaging", "shelve", "dbm",
         "concurrent", "queue", "_queue", "_heapq", "json", "csv", "_csv", "unicodedata", "ast",
         "google_crc32c", "crc32c", "google", "hashlib", "_hashlib", "_blake2", "_sha2", "base64", "binascii", "copy", "glob",
         "atexit"}  # of weakref.finalize

def use(source):
    held = {}
    def opened():
        held["file"] = persist.open(source)
    yield "open", opened
    if "file" in held:
        file = held["file"]
        yield "tree", lambda: file.tree
        yield "arrays", lambda: [np.asarray(file.arrays[path]).shape for path in file.arrays]
        yield "scalars", lambda: list(file.scalars.items())
        yield "structure", lambda: file.structure
        yield "print", lambda: str(file)
        del file
        held.clear()
    yield "explain", lambda: str(persist.explain(source))
    yield "load", lambda: persist.load(source)

def attempt(act):
    try:
        act()
        return "ok"
    except errors.PersistError as error:
        str(error)
        return type(error).__name__
    except BaseException as error:
        return f"BAD {type(error).__name__}: {str(error)[:200]}"

def status(name):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) << 10
    return 0

def peak():
    return status("VmHWM") if os.path.exists("/proc/self/status") else 0

def restart():  # the peak is counted anew for each file, where the system can do that
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True

persist._api.detect.readers()
warm = pickle.dumps({"a": np.zeros(3), "b": np.array([None])})
for name, act in use(warm):
    attempt(act)
if int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.addaudithook(hook)
for path in sys.argv[2:]:
    source = open(path, "rb").read() if path.endswith(".bytes") else path
    gc.collect()
    can_measure = restart()
    before = status("VmRSS")
    del seen[:]
    steps, longest = {}, 0
    is_watched = True
    for name, act in use(source):
        began = time.process_time()
        steps[name] = attempt(act)
        longest = max(longest, time.process_time() - began)
    is_watched = False
    most = peak() - before if can_measure else 0
    print(json.dumps([path, steps, most, seen, longest]), flush=True)
"""


class Report(NamedTuple):
    """What came of one attack.

    Attributes:
        steps: the outcome of each step.
        memory: the most bytes it took beyond the start.
        seconds: CPU time of the longest step.
    """

    steps: dict[str, str]
    memory: int
    seconds: float

    def is_refused(self, step: str = "open") -> bool:
        return self.steps[step].endswith("Error")


def attack(folder: Path, files: dict[str, bytes]) -> dict[str, Report]:
    """Let a child look at bytes, and return its reports by name.

    A name with a suffix (``x.h5``) is opened as a file, one without is given as bytes.
    """
    paths = {}
    for name, data in files.items():
        path = folder / (name if "." in name else f"{name}.bytes")
        path.write_bytes(data)
        paths[str(path)] = name
    return {paths[path]: report for path, report in attacked(*paths).items()}


def attacked(*paths: str) -> dict[str, Report]:
    """The same for files that are there already."""
    command = [sys.executable, "-c", CHILD, str(MEMORY), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(paths), (
        f"it died (status {done.returncode}) after {lines[-1:]}: {done.stderr[-2000:]}"
    )
    result = {}
    for path, steps, memory, seen, seconds in lines:
        bad = {step: text for step, text in steps.items() if text.startswith("BAD")}
        assert not bad, f"{path}: {bad}"
        assert not seen, f"{path} reached beyond: {seen}"
        result[path] = Report(steps, memory, seconds)
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


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def called(function: str, *args: bytes) -> bytes:
    return named(function) + b"(" + b"".join(args) + b"tR"


HUGE = number(1 << 15_000)  # of more digits than CPython prints


def npy(descr: str, shape: str = "(1,)", data: bytes = bytes(8)) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    version, length = (b"\x01\x00", "<H") if len(header) < 1 << 16 else (b"\x02\x00", "<I")
    return b"\x93NUMPY" + version + struct.pack(length, len(header)) + header + data


# Our own container, with a graph of one's own and every checksum right.


def container(nodes: list[Any], **graph: Any) -> bytes:
    """Return a container of two arrays whose graph says what it is reported to."""
    import io
    import zipfile
    import zlib

    import numpy as np

    import persist
    from persist._container import layout

    made = io.BytesIO()
    persist.save({"w": np.arange(3.0), "a": [1, {"b": 2}]}, made)
    archive = zipfile.ZipFile(io.BytesIO(made.getvalue()))
    members = {info.filename: archive.read(info) for info in archive.infolist()}
    manifest = json.loads(members["manifest.json"])
    manifest["digest"] = None
    members.pop(".persist/digests.npy", None)
    members["manifest.json"] = json.dumps(manifest).encode()
    known = json.loads(members["graph.json"])
    members["graph.json"] = json.dumps(
        {**known, "nodes": nodes, "root": [len(nodes) - 1], **graph}
    ).encode()
    out, rows, directory, first = b"", [], b"", 0
    for name, data in members.items():
        row = (name.encode(), 0, zlib.crc32(data), len(data), len(data), len(out))
        out += layout.local_header(*row) + data
        rows.append(row)
    for row in rows:
        if row[0] == b"graph.json":
            first = len(directory)
        is_manifest = row[0] == b"manifest.json"
        tail = layout.manifest_tail(first, manifest.get("version", 1)) if is_manifest else b""
        directory += layout.central_entry(*row, tail=tail)
    end = layout.end_of_directory(len(rows), len(directory), len(out))
    return out + directory + end

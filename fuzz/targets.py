"""What is fuzzed: every reader, through `persist.open` and `persist.load`, and every grammar by itself.

A target takes bytes. It must raise nothing but `PersistError` (a decompressor `ValueError`), import nothing that is
no part of the library, open nothing for writing, start and connect nothing, and take at most `SECONDS` of CPU.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parents[1]
CORPUS = TOP / "tests" / "corpus"
SECONDS = 10.0  # of CPU, with the code instrumented: some five times what it takes otherwise
_SEEDS = 5  # smallest files of the corpus for each reader
_LARGEST = 100_000

# Parts of the library, and of extras that it chooses itself; no name of a file is among them.
KNOWN = frozenset(["persist", "numpy", "encodings", "ml_dtypes", "yaml", "zstandard", "lz4", "_bz2", "_lzma", "bz2", "lzma", "gzip", "sqlite3", "_sqlite3", "isal", "tarfile", "zipfile", "dataclasses", "fnmatch", "difflib", "heapq", "importlib", "packaging", "shelve", "dbm", "concurrent", "queue", "_queue", "_heapq", "json", "csv", "_csv", "zlib", "unicodedata", "ast", "google_crc32c", "crc32c", "google", "base64", "binascii", "copy", "glob", "atheris", "xxhash", "blake3", "_json", "decimal", "_decimal", "fractions", "uuid", "zoneinfo", "_zoneinfo", "attr", "attrs", "tempfile", "random", "bisect", "_bisect", "statistics", "numbers", "secrets", "hmac", "_hashlib"])  # fmt: skip


class Reached(AssertionError):
    """Something in a file made the library do what it must not, or take too long."""


class Target(NamedTuple):
    """One entry point.

    Attributes:
        run: takes the bytes.
        seeds: files to begin with.
        allowed: exceptions that may come out.
    """

    run: Callable[[bytes], object]
    seeds: list[bytes]
    allowed: tuple[type[BaseException], ...]


_seen: list[str] = []
_is_watched = False


def _is_known(module: str) -> bool:
    name = module.partition(".")[0]
    return name in KNOWN or name.startswith(("sysconfig", "_sysconfigdata"))  # of zoneinfo


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _is_watched:
        return
    if event == "import" and not _is_known(args[0]):
        _seen.append(f"import {args[0]}")
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        _seen.append(f"open {args[0]!r} to write")
    elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir", "pickle.find_class"):  # fmt: skip
        _seen.append(f"{event} {args!r}")


def watched(target: Target, data: bytes) -> None:
    """Run a target once.

    Raises:
        Reached: it did more than read.
    """
    global _is_watched
    began = time.process_time()
    _is_watched = True
    try:
        target.run(data)
    except target.allowed as error:
        str(error)
    finally:
        _is_watched = False
    if _seen:
        seen = ", ".join(_seen)
        del _seen[:]
        raise Reached(seen)
    took = time.process_time() - began
    if took > SECONDS:
        raise Reached(f"it took {took:.1f} s of CPU")


def install() -> None:
    """Install the audit hook, once in a process."""
    warnings.simplefilter("ignore")
    sys.addaudithook(_hook)


def used(source: Any) -> None:
    """Open, list, print, explain and load a file as users do; each must raise only `PersistError`."""
    import numpy as np

    import persist
    from persist.errors import PersistError

    with persist.open(source) as file:
        for act in (
            lambda: [np.asarray(file.arrays[path]) for path in file.arrays],
            lambda: list(file.scalars.items()),
            lambda: file.structure,
            lambda: str(file),
        ):
            with contextlib.suppress(PersistError):
                act()
    for option in ({}, {"salvage": True}):
        with contextlib.suppress(PersistError):
            persist.load(source, **option)


def targets() -> dict[str, Target]:
    """Every target by name: readers, then grammars with ``grammar-`` before the name."""
    from persist.errors import PersistError

    found: dict[str, Target] = {}
    for name, cases in _cases().items():
        alone = [case for case in cases if case[1] is None]
        if alone:
            found[name] = Target(used, [path.read_bytes() for path, _ in alone], (PersistError,))
        else:
            path, folder = cases[0]
            assert folder is not None
            found[name] = _of_folder(path, folder)
    return {**found, **_grammars()}


def _cases() -> dict[str, list[tuple[Path, Path | None]]]:
    """Reader -> the smallest cases of the corpus: what is opened, and the folder if it is not one file."""
    from persist._api.detect import choose
    from persist._wire.base.source import open_source
    from persist.errors import PersistError

    found: dict[str, list[tuple[int, Path, Path | None]]] = {}
    for spec in sorted(CORPUS.glob("*/*/expected.json")):
        path = spec.parent / json.loads(spec.read_text())["file"]
        files = [
            one
            for one in spec.parent.rglob("*")
            if one.is_file() and one.name != "expected.json" and one.suffix not in (".py", ".md")
        ]
        size = sum(one.stat().st_size for one in files)
        if size > _LARGEST:
            continue
        try:
            reader = choose(open_source(path))[0].name
        except PersistError:
            continue
        is_alone = path.is_file() and len(files) == 1
        found.setdefault(reader, []).append((size, path, None if is_alone else spec.parent))
    return {
        name: [
            (path, folder) for _, path, folder in sorted(cases, key=lambda case: case[0])[:_SEEDS]
        ]
        for name, cases in sorted(found.items())
    }


def _of_folder(path: Path, folder: Path) -> Target:
    """A target of several files: the first byte chooses the one that takes the others."""
    from persist.errors import PersistError

    home = Path(
        tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    )
    shutil.copytree(folder, home, dirs_exist_ok=True)
    files = [
        one
        for one in sorted(home.rglob("*"))
        if one.is_file() and one.name != "expected.json" and one.suffix not in (".py", ".md")
    ]
    whole = [one.read_bytes() for one in files]
    opened = str(home / path.relative_to(folder))

    def run(data: bytes) -> None:
        global _is_watched
        index = data[0] % len(files) if data else 0
        _is_watched = False
        files[index].write_bytes(data[1:])
        _is_watched = True
        try:
            used(opened)
        finally:
            _is_watched = False
            files[index].write_bytes(whole[index])

    seeds = [bytes([index]) + data for index, data in enumerate(whole) if index < 200]
    return Target(run, seeds, (PersistError,))


def _grammars() -> dict[str, Target]:
    from persist._wire.base.dtype_text import from_text
    from persist._wire.base.source import open_source
    from persist._wire.compression import blosc, blosc2, lzo, snappy, szip
    from persist._wire.databases import dbm
    from persist._wire.messages import flatbuffers, msgpack, yaml
    from persist._wire.npy.npy import read_header
    from persist.errors import PersistError

    most = 1 << 20
    text = b"Wikipedia wikipedia wikipedia wikipedia"
    only: tuple[type[BaseException], ...] = (PersistError,)
    bad = (PersistError, ValueError)
    made: dict[str, tuple[Callable[[bytes], object], list[bytes], tuple[type[BaseException], ...]]] = {
        "dtype": (lambda d: from_text(d.decode("latin-1")), [b"<f8", b"<M8[25s/1]", b"|S5", b"<U3"], bad),
        "npy-header": (lambda d: read_header(open_source(d).cursor()), _npy_headers(), only),
        "flatbuffers": (lambda d: flatbuffers.root(open_source(d)), [bytes(16)], only),
        "msgpack": (lambda d: msgpack.unpacked(open_source(d), 0, lambda code, data: code, lambda keys, values: (keys, values)), [b"\x81\xa1a\x93\x01\x02\xc4\x01x"], only),
        "yaml": (lambda d: yaml.read_yaml(open_source(d)), [b"a: &x [1, 2]\nb: *x\nc: {d: !!str 1}\n"], only),
        "lzo": (lambda d: lzo.undo(d, most), [b"\x11\x00\x00", bytes([17 + len(text)]) + text + b"\x11\x00\x00"], bad),
        "snappy": (lambda d: snappy.decompress(memoryview(d), open_source(d), "here"), [bytes([len(text), (len(text) - 1) << 2]) + text], bad),
        "blosc": (lambda d: blosc.undo(d, most, {"LZ4": _not_here, "Zstandard": _not_here}), [_blosc(text)], bad),
        "blosc2": (lambda d: blosc2.undo(d, most, {"LZ4": _not_here, "Zstandard": _not_here}), [b"\xa8b2frame\0" + bytes(120)], bad),
        "szip": (lambda d: szip.undo(d, (4, 16, 8, 64), most), [bytes(32)], bad),
    }  # fmt: skip
    files = [path for path in sorted(CORPUS.glob("shelve/*/*")) if path.is_file()]
    known = [path.read_bytes() for path in files if path.stat().st_size < 60_000]
    for name in dbm.GRAMMARS:
        seeds = [data for data in known if _kind(data) == name]
        made[name] = (functools.partial(_keyed, name), seeds or [bytes(512)], only)
    return {f"grammar-{name}": Target(*parts) for name, parts in made.items()}


def _not_here(data: bytes, most: int) -> bytes:
    """In the place of decompressors in C, whose errors are their own."""
    raise ValueError("it is not here")


def _keyed(name: str, data: bytes) -> None:
    """Read a database of keys and values, if a reader would take the bytes for one of that kind."""
    from persist._wire.base.source import open_source
    from persist._wire.databases.dbm import GRAMMARS

    if _kind(data) == name:
        list(GRAMMARS[name](open_source(data)))


def _kind(data: bytes) -> str:
    from persist._wire.base.source import open_source
    from persist._wire.databases.signatures import keyed_kind

    return (keyed_kind(open_source(data)) or ("", ""))[1]


def _npy_headers() -> list[bytes]:
    import io

    import numpy as np

    out = []
    for array in (np.zeros((2, 3)), np.zeros(2, [("a", "<i4"), ("b", "(2,)f8")]), np.array(["x"])):
        file = io.BytesIO()
        np.save(file, array)
        out.append(file.getvalue())
    return out


def _blosc(data: bytes) -> bytes:
    size = len(data)
    head = bytes([2, 1, 2, 1]) + b"".join(n.to_bytes(4, "little") for n in (size, size, 16 + size))
    return head + data

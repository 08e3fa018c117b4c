"""Attack files for every reader, made of the smallest genuine file that it takes.

What is inside an archive or a compressed layer is changed and packed again with right checksums,
so that an attack reaches the grammar behind it.

``python tests/hostile/of_readers.py`` prints the table of docs/security.md.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import io
import json
import pickletools
import re
import shutil
import struct
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from attacks import HUGE, P, attacked, called, named, npy, text

from persist._api.detect import choose, readers
from persist._wire.base.source import open_source
from persist.errors import PersistError

CORPUS = Path(__file__).parents[1] / "corpus"
Change = Callable[[bytes], bytes | None]
_CASES = 12  # of each reader; an attack is made of the first to which it applies
_LARGE = 64_000  # bytes of a case


class Seed(NamedTuple):
    """A case of the corpus: its folder, and what in it is opened."""

    folder: Path
    file: str


@functools.cache
def all_seeds() -> dict[str, list[Seed]]:
    """By reader, the smallest cases that it takes, the smallest first."""
    found: dict[str, list[tuple[int, Seed]]] = {}
    for spec in sorted(CORPUS.glob("*/*/expected.json")):
        file = json.loads(spec.read_text())["file"]
        size = sum(path.stat().st_size for path in parts_of(spec.parent))
        try:
            name = choose(open_source(spec.parent / file))[0].name
        except PersistError:
            continue
        found.setdefault(name, []).append((size, Seed(spec.parent, file)))
    return {name: _smallest(cases) for name, cases in found.items()}


def _smallest(cases: list[tuple[int, Seed]]) -> list[Seed]:
    cases.sort(key=lambda case: case[0])
    return [seed for size, seed in cases[:_CASES] if size < _LARGE or seed is cases[0][1]]


def seeds() -> dict[str, Seed]:
    """By reader, the smallest case that it takes."""
    return {name: found[0] for name, found in all_seeds().items()}


def parts_of(folder: Path) -> list[Path]:
    """The files of a case, without what describes it."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name != "expected.json" and path.suffix not in (".py", ".md")
    )


# Pickles that take the place of whatever pickle is in a file.


def graph(count: int) -> bytes:
    """``count`` dicts, each of which refers to all."""
    made = b"".join(b"}q%c0" % number for number in range(count))
    for number in range(count):
        items = b"".join(text(chr(97 + other)) + b"h%c" % other for other in range(count))
        made += b"h%c(" % number + items + b"u0"
    return P + made + b"h\x00."


PICKLES = {
    "calls": P + called("os.system", text("touch canary")) + b".",
    "opens to write": P + called("builtins.open", text("canary"), text("w")) + b".",
    "imports": P + called("builtins.__import__", text("antigravity")) + b".",
    "laughs": P + b")" + b"2\x86" * 60 + b".",
    "laughing lists": P + b"]" + b"q\x00" + b"".join(b"](h%ch%ce" % (n, n) + b"q%c" % (n + 1) for n in range(60)) + b".",
    "complete graph": graph(20),
    "deep": P + b"]" * 20_000 + b"a" * 19_999 + b".",
    "deep key": P + b"})" + b"\x85" * 20_000 + b"Ns.",
    "sets in sets": P + b"}" + (b"(K\x01\x91" + b"".join(b"r%b0(j%bj%b\x86\x91" % ((struct.pack("<I", n),) * 3) for n in range(40)) + b"Ns") * 2 + b".",
    "huge integers": P + b"](" + HUGE * 20 + b"e.",
    "class swapped": P + named("lab.Net") + b")\x81}" + text("__class__") + named("os.system") + b"sb.",
    "extension": P + b"\x82\x01)R.",
    "dotted names": P + text("numpy") + text("core._internal.sys.modules") + b"\x93" + text("os") + b"\x85R.",
    "calls that are dropped": P + b"(" + text("touch canary") + b"ios\nsystem\n0(" + named("os.system") + text("touch canary") + b"o0N.",
    "keywords": P + named("subprocess.Popen") + b")}" + text("args") + text("touch canary") + b"s\x92.",
    "state on a function": P + named("numpy.prod") + b"N}" + text("__code__") + text("x") + b"s\x86b.",
    "a second pickle": P + b"N." + P + called("os.system", text("touch canary")) + b".",
    "memo changed under a name": P + text("posixpath") + b"\x94" + text("os") + b"q\x00h\x00" + text("system") + b"\x93" + text("touch canary") + b"\x85R.",
    "memo without end": P + b"Nr" + b"\xfe\xff\xff\x7f" + b"Np4000000000\n0.",
    "lengths without end": P + b"\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
    "frame that lies": P + b"\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "functions of libraries": P + b"](" + b"".join(called(name, text("touch canary")) for name in (
        "pkgutil.resolve_name", "pip.main", "numpy.f2py.diagnose.run_command", "numpy.testing._private.utils.runstring",
        "torch._dynamo.guards.GuardBuilder.get", "cloudpickle.cloudpickle._make_function", "pydoc.pipepager", "runpy.run_path")) + b"e.",
    "names below listed ones": P + b"](" + b"".join(called(name) for name in ("numpy._core.multiarray.system", "collections.OrderedDict.x", "torch._utils.os.system")) + b"e.",
    "names that begin as listed ones": P + b"](" + b"".join(called(name) for name in ("collectionsx.OrderedDict", "Numpy.ndarray")) + b"e.",
    "attributes by getattr": P + called("builtins.getattr", called("builtins.__import__", text("os")), text("system")) + text("touch canary") + b"\x85R.",
    "a call before damage": P + called("os.system", text("touch canary")) + b"\xff\xff.",
    "envelopes and constants": P + b"](" + called("persist.versioned._constant", named("os.system"))
        + called("persist.versioned._new", named("os.system"), text("touch canary")) + b"e.",
    "colliding keys": P + b"}(" + b"".join(b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for n in range(1, 4000)) + b"u.",
    "buffer without end": b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".",
}  # fmt: skip


def embedded(data: bytes, attack: bytes) -> bytes | None:
    """The first pickle in a database, or a page of one, into which the attack fits is replaced."""
    if data[:4] == b"PK\3\4":
        return None
    for found in list(re.finditer(rb"\x80[\x02-\x05][\x95}\](]", data))[:50]:
        at = found.start()
        with contextlib.suppress(Exception):  # it is no pickle
            stop = next(
                place for op, _, place in pickletools.genops(data[at:]) if op.name == "STOP"
            )
            if stop >= len(attack) - 1:
                return data[:at] + attack.ljust(stop + 1, b"\0") + data[at + stop + 1 :]
    return None


def pickle_of(name: str) -> Change:
    def change(data: bytes) -> bytes | None:
        if data[:6] == b"\x93NUMPY":
            return npy("'|O'", "(1,)", PICKLES[name])
        is_one = data[:1] == b"\x80" and data[1:2] < b"\x06" and len(data) > 2
        is_text = re.match(rb"\(*(?:[cdl]|dp|lp)[\w.]*\n", data[:64]) is not None
        return PICKLES[name] if is_one or is_text else embedded(data, PICKLES[name])

    return change


def names_changed(data: bytes) -> bytes | None:
    """Every name that a pickle in it imports is that of a function."""
    made = re.sub(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n", b"cos\nsystem\n", data)
    return None if made == data else made


def numbers_changed(data: bytes) -> bytes | None:
    """Every short number in text (JSON, NPY headers, YAML) is huge."""
    head = data[: 1 << 16]
    made = re.sub(rb"(?<=[\[(:, ])\d{1,6}(?=[\]),\s}])", b"999999999999999", head)
    return None if made == head else made + data[1 << 16 :]


def _is_json(data: bytes) -> bool:
    return data[:1] in (b"{", b"[") and b'"' in data[:64] and b"\0" not in data[:64]


def nested(data: bytes) -> bytes | None:
    """The first value of a JSON object is a list in lists, 100,000 deep."""
    if not _is_json(data):
        return None
    return re.sub(rb":", b":" + b"[" * 100_000 + b"]" * 100_000 + b',"x":', data, count=1)


def doubled_keys(data: bytes) -> bytes | None:
    """Every key of a JSON object is there twice."""
    if not _is_json(data):
        return None
    return re.sub(rb'("[^"\\]{1,80}")\s*:', rb"\1: 0, \1:", data)


def odd_numbers(data: bytes) -> bytes | None:
    """Every number of JSON is NaN, infinite, negative or of 6,000 digits, in turn."""
    if not _is_json(data):
        return None
    odd = [b"NaN", b"-Infinity", b"-1", b"9" * 6000]
    found = iter(range(1 << 30))
    return re.sub(rb"(?<=[\[:, ])\d+(?=[\],}])", lambda match: odd[next(found) % 4], data)


def local_name_changed(data: bytes) -> bytes | None:
    """The first member's own header has another name than the directory."""
    if data[:4] != b"PK\x03\x04":
        return None
    (length,) = struct.unpack_from("<H", data, 26)
    return data[:30] + b"\0" * length + data[30 + length :]


def encrypted_flags(data: bytes) -> bytes | None:
    """Every entry of the directory of a ZIP archive is called encrypted."""
    made = re.sub(rb"(PK\x01\x02.{4})..", lambda found: found[1] + b"\1\0", data, flags=re.DOTALL)
    return made if data[:4] == b"PK\x03\x04" and made != data else None


def overlapping(data: bytes) -> bytes | None:
    """Every entry of the directory of a ZIP archive leads to the first member."""
    if data[:4] != b"PK\x03\x04":
        return None
    return re.sub(
        rb"(PK\x01\x02.{38}).{4}", lambda found: found[1] + bytes(4), data, flags=re.DOTALL
    )


def wrong_crc(data: bytes) -> bytes | None:
    """The directory's checksum of every member of a ZIP archive is another."""
    made = re.sub(
        rb"(PK\x01\x02.{12}).{4}", lambda found: found[1] + b"\1\2\3\4", data, flags=re.DOTALL
    )
    return made if data[:4] == b"PK\x03\x04" and made != data else None


def sizes_that_lie(data: bytes) -> bytes | None:
    """The directory says that every member of a ZIP archive has 2 GiB."""
    made = re.sub(
        rb"(PK\x01\x02.{16}).{8}",
        lambda found: found[1] + b"\xff\xff\xff\x7f" * 2,
        data,
        flags=re.DOTALL,
    )
    return made if data[:4] == b"PK\x03\x04" and made != data else None


def _more_members(
    data: bytes, more: Callable[[zipfile.ZipFile, list[zipfile.ZipInfo]], None]
) -> bytes | None:
    if data[:4] != b"PK\x03\x04" or not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    out = io.BytesIO(data)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        more(archive, archive.infolist())
    return out.getvalue()


def members_twice(data: bytes) -> bytes | None:
    """Every member of a ZIP archive comes again, with other content."""

    def more(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> None:
        for name in [info.filename for info in infos]:
            archive.writestr(name, PICKLES["calls"])

    return _more_members(data, more)


def members_that_climb(data: bytes) -> bytes | None:
    """A ZIP archive with names that lead out of it, and a symbolic link."""

    def more(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> None:
        for name in ("../canary", "/tmp/canary", "a/../../canary", "..\\canary", "C:\\canary"):
            archive.writestr(name, b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")

    return _more_members(data, more)


def many_members(data: bytes) -> bytes | None:
    """A ZIP archive with 20,000 empty members more."""

    def more(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> None:
        for number in range(20_000):
            archive.writestr(f"m{number}", b"")

    return _more_members(data, more)


def tar_that_climbs(data: bytes) -> bytes | None:
    """A TAR archive with links and names that lead out of it, and a device."""
    if data[257:262] != b"ustar":
        return None
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old.getmembers():
            new.addfile(info, old.extractfile(info))
        for name, kind in (
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("../canary", tarfile.REGTYPE),
            ("dev", tarfile.CHRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            new.addfile(info)
    return out.getvalue()


def layers(data: bytes) -> bytes | None:
    """Forty layers of gzip."""
    for _ in range(40):
        data = gzip.compress(data, 1)
    return data


def of_npy(descr: str, shape: str) -> Change:
    return lambda data: npy(descr, shape) if data[:6] == b"\x93NUMPY" else None


def npy_header_without_end(data: bytes) -> bytes | None:
    return b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + data[10:] if data[:6] == b"\x93NUMPY" else None


def npy_expression(data: bytes) -> bytes | None:
    """Python's code where a literal is expected."""
    return (
        npy("__import__('os').system('touch canary')", "(1,)") if data[:6] == b"\x93NUMPY" else None
    )


def yaml_change(lines: str) -> Change:
    """Lines more at the end of YAML."""

    def change(data: bytes) -> bytes | None:
        is_yaml = re.match(rb"(class_name|backend): ", data) is not None
        return data.rstrip() + b"\n" + lines.encode() if is_yaml else None

    return change


def functions_in_json(data: bytes) -> bytes | None:
    """Classes that JSON or YAML names are functions; modules are that of the operating system."""
    made = re.sub(
        rb'("(?:__class__|class_name|registered_name)"\s*:\s*)"[^"]*"', rb'\1"system"', data
    )
    made = re.sub(rb'("(?:__module__|module)"\s*:\s*)("[^"]*"|null)', rb'\1"os"', made)
    if not _is_json(data) or made == data:
        made = re.sub(rb"(?m)^(\s*(?:- )?class_name: )\w+$", rb"\1os.system", data[: 1 << 16])
        return made if made != data and b"\0" not in data[:64] else None
    return made


def older_protocol(data: bytes) -> bytes | None:
    """The version of the format that a JSON text states is 0."""
    made = re.sub(
        rb'("(?:protocol|version|keras_version|format_version)"\s*:\s*)("[^"]*"|\d+)',
        rb"\g<1>0",
        data,
    )
    return made if _is_json(data) and made != data else None


def hdf5_links(data: bytes) -> bytes | None:
    """Links to other files, and in circles, in every group of an HDF5 file; a dataset in a file outside, one of many TiB."""
    if data[:8] != b"\x89HDF\r\n\x1a\n":
        return None
    import h5py

    held = io.BytesIO(data)
    try:
        with h5py.File(held, "r+") as file:
            groups: list[Any] = [file]
            file.visititems(
                lambda _, item: groups.append(item) if isinstance(item, h5py.Group) else None
            )
            for group in groups[:50]:
                group["out"] = h5py.ExternalLink("/etc/passwd", "/")
                group["circle"] = h5py.SoftLink(group.name)
            file.create_dataset("outside", (100,), "u1", external=[("/etc/passwd", 0, 100)])
            file.create_dataset(
                "huge", (1 << 40, 1 << 10), "f8", chunks=(1 << 10, 1), compression="gzip"
            )
            layout = h5py.VirtualLayout((10,), "f8")
            layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
            file.create_virtual_dataset("virtual", layout)
    except (OSError, ValueError):
        return None
    return held.getvalue()


# What is done to an archive itself, and not to what is in it.
OUTSIDE = (
    local_name_changed,
    encrypted_flags,
    overlapping,
    wrong_crc,
    sizes_that_lie,
    members_twice,
    members_that_climb,
    many_members,
    tar_that_climbs,
)


def lambda_inserted(data: bytes) -> bytes | None:
    made = re.sub(
        rb'("class_name"\s*:\s*)"Dense"|(class_name: )Dense', rb'\g<1>\g<2>"Lambda"', data
    )
    return None if made == data else made


def at_places(value: bytes, count: int, number: int) -> Change:
    """``value`` over the bytes at one of several places, evenly apart."""

    def change(data: bytes) -> bytes | None:
        at = (number * max(len(data) - len(value), 0)) // count
        return data[:at] + value + data[at + len(value) :] if len(data) >= 16 else None

    return change


def zeros(data: bytes) -> bytes | None:
    return bytes(300 << 20)


BOMBED = frozenset(
    ("archive", "hdf5", "npz", "torch-zip", "persist")
)  # one of each kind: it is slow


IN_JSON = (numbers_changed, nested, doubled_keys, odd_numbers, functions_in_json)


CHANGES: dict[str, Change] = {
    **{f"pickle that {name}": pickle_of(name) for name in PICKLES},
    "names of functions": names_changed,
    "huge numbers in text": numbers_changed,
    "lambda layers": lambda_inserted,
    "lists in lists in JSON": nested,
    "keys twice in JSON": doubled_keys,
    "odd numbers in JSON": odd_numbers,
    "another name in a local header": local_name_changed,
    "encrypted by its flags": encrypted_flags,
    "all members are the first": overlapping,
    "another checksum": wrong_crc,
    "members of 2 GiB": sizes_that_lie,
    "members twice": members_twice,
    "members that climb out": members_that_climb,
    "20,000 members more": many_members,
    "TAR that climbs out": tar_that_climbs,
    "layers in layers": layers,
    "NPY of a negative shape": of_npy("'<f8'", "(-1,)"),
    "NPY of a shape beyond 64 bits": of_npy("'<f8'", "(4294967296, 4294967296, 2)"),
    "NPY of a shape without data": of_npy("'<f8'", "(99999999999,)"),
    "NPY of moments divided by zero": of_npy("'<M8[s/0]'", "(1,)"),
    "NPY of huge items": of_npy("'|V2147483647'", "(3,)"),
    "NPY header without end": npy_header_without_end,
    "NPY header of code": npy_expression,
    "anchors in YAML": yaml_change(
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    ),
    "tags of Python in YAML": yaml_change("z: !!python/object/apply:os.system [touch canary]\n"),
    "functions in JSON or YAML": functions_in_json,
    "an older protocol": older_protocol,
    **({"links in HDF5": hdf5_links} if importlib.util.find_spec("h5py") else {}),
    "cut in half": lambda data: data[: len(data) // 2],
    "last byte gone": lambda data: data[:-1] if data else None,
    **{
        f"{kind} at place {number}": at_places(value, 3, number)
        for kind, value in (
            ("2**31 - 1", b"\xff\xff\xff\x7f"),
            ("2**62", struct.pack("<Q", 1 << 62)),
        )
        for number in range(3)
    },
    "bomb": zeros,
}


# Archives and layers, opened and packed again.


def repacked(data: bytes, change: Change, *, packed: bool = False) -> bytes | None:
    """Return a file with all that is inside changed; None where nothing in it is to be changed."""
    if change is layers:
        return None if packed else change(data)
    if change in OUTSIDE and data[:3] != b"\x1f\x8b\x08":
        return change(data)
    if data[:4] == b"PK\x03\x04" and zipfile.is_zipfile(io.BytesIO(data)):
        return _zip_again(data, change)
    if data[:3] == b"\x1f\x8b\x08":
        inner = repacked(gzip.decompress(data), change, packed=True)
        return None if inner is None else gzip.compress(inner, 1)
    if is_z := re.match(rb"ZF0x[0-9a-f]+L? *(?=\x78)", data):
        inner = repacked(zlib.decompress(data[is_z.end() :]), change, packed=True)
        head = b"ZF" + hex(len(inner or b"")).encode().ljust(is_z.end() - 2)
        return None if inner is None else head + zlib.compress(inner, 1)
    if data[8:9] == b"{" and 2 < int.from_bytes(data[:8], "little") <= len(data) - 8:
        return _safetensors_again(data, change)
    if data[257:262] == b"ustar":
        return _tar_again(data, change, packed=packed)
    return None if change is zeros and not packed else change(data)


def _safetensors_again(data: bytes, change: Change) -> bytes | None:
    """With the header changed, whose length is right; else with the bytes changed."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = change(data[8:end]) if change in IN_JSON else None
    if header is None:
        return None if change is zeros else change(data)
    return struct.pack("<Q", len(header)) + header + data[end:]


def _zip_again(data: bytes, change: Change) -> bytes | None:
    out, has_changed = io.BytesIO(), False
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            inner = old.read(info)
            made = repacked(inner, change, packed=True)
            if change is zeros and has_changed:
                made = None  # one is enough
            has_changed |= made is not None
            if change is zeros and made is not None:
                info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, inner if made is None else made, compresslevel=1)
    return out.getvalue() if has_changed else None


def _tar_again(data: bytes, change: Change, *, packed: bool) -> bytes | None:
    out, has_changed = io.BytesIO(), False
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old.getmembers():
            file = old.extractfile(info)
            inner = file.read() if file else b""
            made = repacked(inner, change, packed=packed)
            has_changed |= made is not None
            info.size = len(inner if made is None else made)
            new.addfile(info, io.BytesIO(inner if made is None else made))
    return out.getvalue() if has_changed else None


def written(reader: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the attack files of a reader; yield the name of each attack, and what is to be opened."""
    for number, (name, change) in enumerate(CHANGES.items()):
        if change is zeros and reader not in BOMBED:
            continue
        for seed in all_seeds()[reader]:
            made = {path: repacked(path.read_bytes(), change) for path in parts_of(seed.folder)}
            if any(data is not None for data in made.values()):
                break
        else:
            continue
        home = folder / f"{reader}-{number}"
        for path, data in made.items():
            target = home / path.relative_to(seed.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if data is None:
                shutil.copyfile(path, target)
            else:
                target.write_bytes(data)
        yield name, home / seed.file


class Row(NamedTuple):
    """What came of the attacks upon one reader.

    Attributes:
        reader: its name.
        attacks: their names.
        refused: those that `persist.open` or `persist.load` refused.
        seconds: CPU time of the longest step of all, and of which attack.
        excess: the most bytes beyond the size of the file, and of which attack.
    """

    reader: str
    attacks: list[str]
    refused: int
    seconds: tuple[float, str]
    excess: tuple[int, str]


def measured(folder: Path) -> list[Row]:
    """Attack every reader in one process.

    Raises:
        AssertionError: the process died, or anything but a `PersistError` came out of a step, or
            a file made it import, start, connect or write something.
    """
    places: dict[str, tuple[str, str]] = {}
    for reader in sorted(seeds()):
        for name, path in written(reader, folder):
            places[str(path)] = reader, name
    reports = attacked(*places)
    assert not list(folder.rglob("canary")), "a canary was written"
    rows = []
    for reader in sorted(seeds()):
        own = {
            places[path][1]: (report, _size(Path(path)))
            for path, report in reports.items()
            if places[path][0] == reader
        }
        longest = max(
            ((report.seconds, name) for name, (report, _) in own.items()), default=(0, "")
        )
        most = max(((report.memory - size, name) for name, (report, size) in own.items()), default=(0, ""))  # fmt: skip
        refused = sum(
            report.is_refused() or report.is_refused("load") for report, _ in own.values()
        )
        rows.append(Row(reader, [*own], refused, longest, most))
    return rows


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(file.stat().st_size for file in files if file.is_file())


def table(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "| reader | attacks | refused | longest step, CPU s | of | most memory above the file, MiB | of |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory = max(row.excess[0], 0) >> 20
        lines.append(
            f"| {row.reader} | {len(row.attacks)} | {row.refused} | {row.seconds[0]:.1f} | {row.seconds[1]} | "
            f"{memory} | {row.excess[1]} |"
        )
    lines.append(f"| all | {sum(len(row.attacks) for row in rows)} | {sum(row.refused for row in rows)} | | | | |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    assert {reader.name for reader in readers()} <= {*seeds()}
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(table(measured(Path(name))) + "\n")

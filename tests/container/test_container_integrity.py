"""No damage is passed over, no file is half written."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import note

import persist
from persist import _container
from persist._container import checksums, layout
from persist.errors import (
    DamagedFileError,
    FormatError,
    FutureVersionError,
    LimitError,
    MissingExtraError,
)
from persist.tree import LazyArray, Record

TREE = {"w": np.arange(5.0), "n": [1, 2.5, "x"], "r": Record("lab.Net", {"b": np.ones(2, "i2")})}


def saved(tree: Any = TREE, **options: Any) -> bytes:
    file = io.BytesIO()
    _container.write(tree, file, **options)
    return file.getvalue()


def touch_all(data: bytes, verify: str) -> Any:
    """Open and read everything, as a user would."""
    tree, _ = _container.read(data, verify=verify)
    return {
        "w": np.asarray(tree["w"]).tolist(),
        "n": tree["n"],
        "b": np.asarray(tree["r"]["b"]).tolist(),
    }


def touched(data: bytes) -> Any:
    tree, _ = _container.read(data, verify="lazy")
    return np.asarray(tree["w"])


@pytest.mark.parametrize("digest", [False, "sha256"])
def test_every_flipped_bit_is_damage(digest: Any) -> None:
    data = saved({"w": np.arange(3, dtype="u1"), "n": [1]}, digest=digest)
    step = 1 if digest is False else 7
    for bit in range(0, 8 * len(data), step):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DamagedFileError, FutureVersionError)):
            touched(bytes(broken))


FLIPPED = {
    "plain": {"digest": False},
    "digest": {"digest": "sha256"},
    "deflated": {"digest": False, "compress": "deflate"},
    "metadata": {"digest": False, "metadata": {"run": 7}},
}


def begins(archive: zipfile.ZipFile, data: bytes) -> Iterator[tuple[zipfile.ZipInfo, int]]:
    """Yield the deflated members, and where the data of each begins."""
    for info in archive.infolist():
        if info.compress_type == zipfile.ZIP_DEFLATED:
            name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
            yield info, info.header_offset + 30 + name + extra


def unpacked(data: bytes) -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [archive.read(name) for name in archive.namelist()]


def flips_found(options: dict[str, Any], step: int) -> None:
    """Flip bits of a small container; `verify` finds each, and names the member that it is in."""
    data = saved({"w": np.arange(3, dtype="u1"), "n": [1, "x"], "v": np.ones(2)}, **options)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        starts = [(info.header_offset, info.filename) for info in archive.infolist()]
        directory = archive.start_dir  # type: ignore[attr-defined]
        ends = {one.compress_size + begin for one, begin in begins(archive, data)}
    count = 0
    for bit in range(0, 8 * len(data), step):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        found = faults(bytes(broken))
        if not found:  # a deflated stream ends within a byte, whose other bits nobody reads
            assert "compress" in options
            assert bit // 8 + 1 in ends, bit
            assert unpacked(bytes(broken)) == unpacked(data)
            continue
        count += 1
        if bit // 8 < directory:
            name = [name for start, name in starts if start <= bit // 8][-1]
            assert any(f"member {name!r}" in str(fault) or isinstance(fault, FutureVersionError) for fault in found), (bit, found)  # fmt: skip
    note("bits of a container flipped: found, and the member named", count)


@pytest.mark.parametrize("options", FLIPPED.values(), ids=FLIPPED)
def test_every_flipped_bit_is_found_by_verify_which_names_the_member(options: Any) -> None:
    flips_found(options, 29)


@pytest.mark.slow
@pytest.mark.parametrize("options", FLIPPED.values(), ids=FLIPPED)
def test_so_is_every_single_one(options: Any) -> None:
    flips_found(options, 1)


def faults(data: bytes) -> Any:
    try:
        return _container.verify(data)
    except FutureVersionError as error:
        return [error]


def test_every_truncation_is_damage() -> None:
    data = saved()
    for length in range(64, len(data)):
        with pytest.raises(DamagedFileError):
            _container.read(data[:length])
        with pytest.raises(FormatError):
            persist.open(data[:length])


@pytest.mark.parametrize("more", [b"\0", b"PK\x05\x06", b"x" * 100])
def test_bytes_behind_or_before_it_are_damage(more: bytes) -> None:
    for data in (saved() + more, more + saved()):
        with pytest.raises(DamagedFileError):
            _container.read(data)


def test_a_truncated_file_is_still_reported_to_be_ours() -> None:
    data = saved()
    assert _container.claim(_container.open_source(data[: len(data) // 2]))
    with pytest.raises(DamagedFileError, match="truncated"):
        persist.open(data[: len(data) // 2])


def test_the_member_is_named_that_is_damaged() -> None:
    data = bytearray(saved())
    at = data.index(np.arange(5.0).tobytes())
    data[at] ^= 1
    tree, _ = _container.read(bytes(data), verify="lazy")
    with pytest.raises(DamagedFileError, match=r"member 'w.npy'.*(CRC-32|digest)"):
        np.asarray(tree["w"])
    with pytest.raises(DamagedFileError, match=r"member 'w.npy'"):
        _container.read(bytes(data), verify="always")
    (fault,) = _container.verify(bytes(data))
    assert fault.where == "member 'w.npy'"
    np.asarray(_container.read(bytes(data), verify="never")[0]["w"])


def test_verification_is_lazy_where_bytes_are_copied_and_off_where_they_are_mapped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.persist"
    _container.write(TREE, path)
    mapped = persist.open(path)
    assert isinstance(mapped.arrays["w"], np.ndarray)
    assert not mapped.arrays["w"].flags.writeable
    with path.open("rb") as raw:
        tree, _ = _container.read(Slow(raw.read()))
        assert isinstance(tree["w"], LazyArray)
        assert np.array_equal(np.asarray(tree["w"]), np.arange(5.0))


class Slow(io.RawIOBase):
    """A file of no file system: seeks and reads, counts what is read."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.count += len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def test_one_member_is_read_without_the_rest_of_the_file() -> None:
    tree = {f"x{number}": np.zeros(100_000) for number in range(10)}
    slow = Slow(saved(tree))
    store = _container.Store(_container.open_source(slow))
    number = store.find("x7")
    assert number is not None
    assert np.asarray(store.whole(number)).shape == (100_000,)
    assert slow.count < 1_200_000
    before = slow.count
    slow.seek(0)
    rows = _container.Store(_container.open_source(slow), "never").whole(3)[10:20]
    assert rows.shape == (10,)
    assert slow.count - before < 400_000


def test_an_array_outlives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write(TREE, path)
    with persist.open(path) as file:
        array = file.arrays["w"]
    path.unlink()
    assert array.sum() == 10


# Lies.


def rewritten(data: bytes, change: Any) -> bytes:
    """The container again, with graph and manifest changed by a hand that writes all checksums."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    graph, manifest = json.loads(parts["graph.json"]), json.loads(parts["manifest.json"])
    change(graph, manifest)
    parts["graph.json"] = json.dumps(graph).encode()
    manifest["digest"] = None
    parts.pop(".persist/digests.npy", None)
    parts["manifest.json"] = json.dumps(manifest).encode()
    out, directory, first = b"", b"", 0
    for name, part in parts.items():
        entry = (name.encode(), 0, checksums.crc32(part), len(part), len(part), len(out))
        first = len(directory) if name == "graph.json" else first
        tail = layout.manifest_tail(first, manifest["version"]) if name == "manifest.json" else b""
        directory += layout.central_entry(*entry, tail)
        out += layout.local_header(*entry) + part
    return out + directory + layout.end_of_directory(len(parts), len(directory), len(out))


LIES = {
    "a member that is not there": lambda g: g["nodes"].insert(0, 99),
    "a negative member": lambda g: g["nodes"].insert(0, -1),
    "a node that is not there": lambda g: g.update(root=[99]),
    "no reference": lambda g: g.update(root=[]),
    "a kind that is not there": lambda g: g["nodes"].append(["exec", "x"]),
    "an endless tuple": lambda g: g["nodes"].append(["late", "tuple", [len(g["nodes"])]]),
    "too few values": lambda g: g["nodes"].append(["dict", 0]),
    "a key twice": lambda g: g["layouts"].append(["a", "a"]),
    "a view beyond the end": lambda g: g["nodes"].append(["view", 0, "<f8", [6], None, 0]),
    "a view before the start": lambda g: g["nodes"].append(["view", 0, "<f8", [2], [-8], 0]),
    "a view of many elements": lambda g: g["nodes"].append(["view", 0, "<f8", [2**62], [8], 0]),
    "a view of endless shape": lambda g: g["nodes"].append(
        ["view", 0, "<f8", [2**40] * 3, None, 0]
    ),
    "objects upon bytes": lambda g: g["nodes"].append(["view", 0, "|O", [1], None, 0]),
    "a shape without items": lambda g: g["nodes"].append(["objects", [10**12], "C"]),
    "fields without columns": lambda g: g["nodes"].append(
        [
            "fields",
            {"fields": [["a", "|O", 0, None]], "size": 8, "aligned": False, "record": False},
            [10**12],
        ]
    ),
    "a scalar of other bytes": lambda g: g["nodes"].append(["scalar", "<f8", "00"]),
    "an object scalar": lambda g: g["nodes"].append(["scalar", "|O", "00" * 8]),
    "a set with a list in it": lambda g: g["nodes"].extend([["list"], ["set", [len(g["nodes"])]]]),
    "a class of no name": lambda g: g["shapes"][0].update({"class": 5}),
    "a dtype of another library": lambda g: g["nodes"].append(["dtype", {"name": "os.system"}]),
    "a date that is none": lambda g: g["nodes"].append(["date", 2020, 13, 1]),
    "a zone on the disk": lambda g: g["nodes"].append(["ZoneInfo", "../../../etc/passwd"]),
    "no layouts": lambda g: g.pop("layouts"),
    "no list of nodes": lambda g: g.update(nodes=7),
    "a huge range as key": lambda g: g["nodes"].append(["map", None]),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lying_graph_is_damage(lie: Any) -> None:
    data = rewritten(saved(), lambda graph, manifest: lie(graph))
    with pytest.raises(DamagedFileError, match=r"member|graph|node"):
        _container.read(data)


def test_what_is_hashed_is_bounded() -> None:
    def deep(graph: Any, manifest: Any) -> None:
        nodes = graph["nodes"]
        nodes.append(["tuple"])
        for _ in range(200_000):
            nodes.append(["tuple", [len(nodes) - 1]])
        nodes.append(["set", [len(nodes) - 1]])

    def wide(graph: Any, manifest: Any) -> None:
        nodes = graph["nodes"]
        nodes.append(["tuple"])
        for _ in range(60):
            nodes.append(["tuple", [len(nodes) - 1], [len(nodes) - 1]])
        nodes.append(["map", [len(nodes) - 1], 1])

    for attack in (deep, wide):
        with pytest.raises(LimitError):
            _container.read(rewritten(saved(), attack))


def test_keys_of_one_hash_are_no_accident() -> None:
    prime = 2**61 - 1

    def flood(graph: Any, manifest: Any) -> None:
        graph["nodes"].append(["set", *(number * prime for number in range(20_000))])

    with pytest.raises(DamagedFileError, match="same hash"):
        _container.read(rewritten(saved(), flood))


def test_a_newer_version_is_refused_with_its_number() -> None:
    data = rewritten(saved(), lambda graph, manifest: manifest.update(version=3))
    with pytest.raises(FutureVersionError, match="version 3"):
        _container.read(data)


def test_unknown_keys_of_the_manifest_are_passed_over() -> None:
    data = rewritten(saved(), lambda graph, manifest: manifest.update(colour="blue"))
    assert _container.read(data)[0]["n"] == [1, 2.5, "x"]


def test_two_members_that_overlap_are_damage() -> None:
    array = np.arange(8, dtype="u1")
    data = saved({"a": array, "b": array.copy()}, digest=False)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first, second = (archive.getinfo(name) for name in ("a.npy", "b.npy"))
    broken = bytearray(data)
    at = broken.rindex(b"PK\x01\x02", 0, broken.rindex(b"b.npy"))
    broken[at + 42 : at + 46] = struct.pack("<L", first.header_offset)
    assert second.header_offset > first.header_offset
    with pytest.raises(DamagedFileError):
        _container.read(bytes(broken), verify="lazy")
    assert _container.verify(bytes(broken))


# Digests and compression.


@pytest.mark.parametrize("digest", ["xxh3-128", "sha256", "blake3"])
def test_a_digest_finds_what_a_crc_is_made_to_miss(digest: str) -> None:
    pytest.importorskip({"xxh3-128": "xxhash", "sha256": "hashlib", "blake3": "blake3"}[digest])
    data = saved({"w": np.arange(4.0)}, digest=digest)
    other = saved({"w": np.arange(1.0, 5.0)}, digest=digest)
    crc_of = {}
    for name, file in (("one", data), ("other", other)):
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            crc_of[name] = struct.pack("<L", archive.getinfo("w.npy").CRC)
    forged = data.replace(np.arange(4.0).tobytes(), np.arange(1.0, 5.0).tobytes())
    forged = forged.replace(crc_of["one"], crc_of["other"])
    tree, manifest = _container.read(forged, verify="lazy")
    assert manifest["digest"]["algorithm"] == digest
    with pytest.raises(DamagedFileError, match="digest"):
        np.asarray(tree["w"])
    assert _container.verify(forged)


def test_a_digest_whose_library_is_missing_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("blake3")
    data = saved(digest="blake3")

    def missing(name: str) -> Any:
        raise MissingExtraError(name)

    monkeypatch.setattr("persist._container.reading.directory.digest_named", missing)
    store = _container.Store(_container.open_source(data), "lazy")
    assert "blake3 is not installed" in str(store.unchecked)
    assert np.asarray(store.whole(0)).tolist() == [0, 1, 2, 3, 4]


def test_without_the_extra_the_file_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; sys.modules['isal'] = sys.modules['xxhash'] = None\n"
        "import io, zlib, numpy\n"
        "from persist import _container\n"
        "from persist._container import checksums\n"
        "assert checksums.crc32 is zlib.crc32\n"
        "file = io.BytesIO()\n"
        "_container.write({'w': numpy.arange(3)}, file)\n"
        "tree, manifest = _container.read(file.getvalue(), verify='always')\n"
        "assert manifest['digest'] is None and tree['w'][2] == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("compress", ["deflate", "zstd"])
def test_compressed_members(compress: str) -> None:
    if compress == "zstd":
        pytest.importorskip("zstandard")
    tree = {
        "zeros": np.zeros(100_000),
        "noise": np.random.default_rng(0).bytes(5000),
        "f": np.asfortranarray(np.eye(50)),
    }
    data = saved(tree, compress=compress)
    assert len(data) < 20_000
    assert _container.verify(data) == []
    made, _ = _container.read(data)
    assert np.array_equal(np.asarray(made["zeros"]), tree["zeros"])
    assert made["noise"] == tree["noise"]
    assert np.asarray(made["f"]).flags.f_contiguous
    if compress == "deflate":
        with np.load(io.BytesIO(data)) as arrays:
            assert np.array_equal(arrays["zeros"], tree["zeros"])
    for position in range(100, len(data) - 200, 211):
        broken = bytearray(data)
        broken[position] ^= 16
        try:  # a flip may leave what is unpacked as it was: a distance among zeros
            made, _ = _container.read(bytes(broken), verify="always")
        except FormatError:
            continue
        assert np.array_equal(np.asarray(made["zeros"]), tree["zeros"])
        assert made["noise"] == tree["noise"]


def test_a_bomb_is_not_unpacked() -> None:
    data = saved({"x": np.zeros(40_000_000, "u1")}, compress="deflate")
    source = _container.open_source(data, limits={"total": 1_000_000})
    with pytest.raises(LimitError, match="1,000,000"):
        np.asarray(_container.read(source)[0]["x"])


def test_an_unknown_digest_or_compression_is_reported() -> None:
    with pytest.raises(persist.PersistError, match="md5"):
        saved(digest="md5")
    with pytest.raises(persist.PersistError, match="lzma"):
        saved(compress="lzma")


# Files.


class Pipe:
    """Storage that can only be written to, front to back."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


def test_storage_that_cannot_seek_gets_the_same_bytes() -> None:
    tree = {
        "big": np.arange(500_000.0),
        "turned": np.arange(300_000.0).reshape(600, 500).T[::2],
        **TREE,
    }
    pipe = Pipe()
    _container.write(tree, pipe)
    assert pipe.data == saved(tree)
    assert _container.verify(pipe.data) == []


def test_a_file_that_stands_within_another(tmp_path: Path) -> None:
    path = tmp_path / "mixed"
    with path.open("w+b") as file:
        file.write(b"before")
        _container.write({"big": np.arange(500_000.0)}, file)
    data = path.read_bytes()
    assert data.startswith(b"before")
    assert _container.verify(data[6:]) == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write([1], path)
    before = path.read_bytes()

    def fail() -> Any:
        raise RuntimeError("the disk is gone")

    lazy = LazyArray(np.dtype("f8"), (3,), fail)
    with pytest.raises(RuntimeError):
        _container.write({"x": np.zeros(10**6), "y": lazy}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.persist"]


@pytest.mark.skipif(os.name == "nt", reason="modes and links of Unix")
def test_mode_and_links_are_as_users_expect(tmp_path: Path) -> None:
    path, link = tmp_path / "real.persist", tmp_path / "link.persist"
    old = os.umask(0o027)
    try:
        _container.write([1], path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link.symlink_to("real.persist")
    _container.write([2], link)
    assert link.is_symlink()
    assert _container.read(path)[0] == [2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    if os.geteuid():
        path.chmod(0o444)
        with pytest.raises(PermissionError):
            _container.write([3], path)


def test_saving_over_a_file_that_is_mapped_is_safe(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write({"x": np.zeros(100_000)}, path)
    mapped = persist.open(path).arrays["x"]
    if os.name == "nt":
        with pytest.raises(persist.PersistError, match="open or mapped"):
            _container.write({"x": np.ones(100_000)}, path)
        return
    _container.write({"x": np.ones(100_000)}, path)
    assert not mapped.any()
    assert persist.open(path).arrays["x"].all()


def test_a_loaded_tree_saves_over_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write({"x": np.arange(100_000)}, path)
    tree, _ = _container.read(path)
    _container.write(tree, path)
    assert np.array_equal(_container.read(path)[0]["x"], np.arange(100_000))


def test_a_folder_that_is_not_there_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.persist"
    with pytest.raises(FileNotFoundError) as caught:
        _container.write([], path)
    assert caught.value.filename == str(path)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="a device")
def test_a_device_is_written_to_and_stays() -> None:
    _container.write([1], "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write({"n": -1, "x": np.zeros(10)}, path)
    code = (
        "import sys, numpy\n"
        "from persist import _container\n"
        "print('ready', flush=True)\n"
        "for n in range(10**9):\n"
        "    _container.write({'n': n, 'x': numpy.full(200_000, n)}, sys.argv[1], durable=False)\n"
    )
    for delay in (0.0, 0.01, 0.05):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        tree, _ = _container.read(path, verify="always")
        assert (np.asarray(tree["x"]) == max(tree["n"], 0)).all()


def test_aligned_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write({f"x{n}": np.arange(n, dtype="u1") for n in range(1, 200)}, path)
    for array in persist.open(path).arrays.values():
        assert array.ctypes.data % 64 == 0


def test_one_array_of_many_is_found_without_the_graph(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.persist"
    odd = np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    _container.write(
        {**{f"x{n}": np.full(3, n) for n in range(500)}, "odd": odd, "b": bytes(2000)}, path
    )
    content = reader_content(path)
    monkeypatch.setattr(_container.Store, "graph", None)
    assert content.find is not None
    assert content.find("x77").tolist() == [77] * 3
    assert content.find("none") is None
    assert content.find("odd") is None  # its NPY does not say all of its dtype
    assert content.find("b") is None  # no array in the tree


def reader_content(path: Path) -> Any:
    from persist.readers.base import Options
    from persist.readers.container import ContainerReader

    return ContainerReader().read(_container.open_source(path), Options())


def test_where_packs_may_see_otherwise_only_the_tree_can_tell(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write(TREE, path)
    assert reader_content(path).find is None


def test_numbers_beyond_32_bits_are_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ZIP64 forms, with a limit of 3,000 bytes instead of 4 GiB; ZIP tools read them, too."""
    for module in ("layout", "reading.directory"):
        monkeypatch.setattr(f"persist._container.{module}.FULL", 3000)
    name, crc = b"x.npy", 7
    for packed, size, offset in (
        (5000, 5000, 10),
        (10, 10, 4000),
        (5000, 6000, 7000),
        (10, 5000, 0),
    ):
        entry = layout.central_entry(name, 8, crc, packed, size, offset)
        values = [value for value in (size, packed, offset) if value >= 3000]
        assert entry.endswith(struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values))
        local = layout.local_header(name, 8, crc, packed, size, offset)
        assert (offset + len(local)) % 64 == 0
        assert (struct.pack("<2Q", size, packed) in local) == (packed >= 3000 or size >= 3000)
    end = layout.end_of_directory(5, 100, 4000)
    assert end[56:60] == b"PK\x06\x07"
    assert struct.unpack("<4Q", end[24:56]) == (5, 5, 100, 4000)


@pytest.mark.skipif(
    "PERSIST_LARGE" not in os.environ, reason="writes 9 GB; set PERSIST_LARGE to run it"
)
def test_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    big = np.zeros(2**32 + 5, "u1")
    big[-1] = 7
    tree = {"big": big, **{f"x{n}": np.full(9, n) for n in range(100)}}
    _container.write(tree, path, durable=False)
    assert _container.verify(path) == []
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    made, _ = _container.read(path)
    assert made["big"][-1] == 7
    assert made["x99"].tolist() == [99] * 9


def test_more_than_65535_members(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write([np.full(1, n) for n in range(66_000)], path, durable=False, pack=False)
    tree, _ = _container.read(path)
    assert [int(array[0]) for array in tree[::1000]] == list(range(0, 66_000, 1000))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 66_000 + len(archive.namelist()) % 66_000


def test_many_small_members_are_written_as_one_by_one() -> None:
    names = [f"x{n}".encode() for n in range(50)]
    data = [bytes([n]) * (n * 37 % 300) for n in range(50)]
    crcs = [checksums.crc32(part) for part in data]
    for offset in (0, 64, 1234):
        made, (_, sizes, offsets), end = layout.local_members(names, crcs, data, offset)
        expected, at = b"", offset
        for name, crc, part in zip(names, crcs, data, strict=True):
            head = layout.local_header(name, 0, crc, len(part), len(part), at)
            expected += head + part
            at += len(head) + len(part)
        assert made == expected
        assert end == at
        entries, lengths = layout.central_entries(names, crcs, sizes, offsets)
        rows = zip(names, crcs, sizes.tolist(), offsets.tolist(), strict=True)
        singly = [
            layout.central_entry(name, 0, crc, size, size, at) for name, crc, size, at in rows
        ]
        assert entries == b"".join(singly)
        assert lengths.tolist() == [len(entry) for entry in singly]


def test_a_file_that_is_read_and_not_mapped_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    _container.write({"x": np.arange(200_000.0)}, path, durable=False)
    whole = persist.load(path, mmap=False)["x"]
    assert whole.flags.writeable
    assert whole[-1] == 199_999
    data = bytearray(path.read_bytes())
    data[200_000] ^= 1
    path.write_bytes(data)
    assert persist.load(path, verify="never")["x"].shape == (200_000,)
    for options in ({}, {"mmap": False}, {"verify": "lazy"}, {"verify": "always"}):
        with pytest.raises(DamagedFileError, match="CRC-32|digest"):
            persist.load(path, **options)


@pytest.mark.parametrize("count", [1, 100])  # many members are made together
@pytest.mark.parametrize("digest", [False, "sha256"])
def test_a_flipped_bit_of_a_small_array_is_found_by_default(
    tmp_path: Path, count: int, digest: Any
) -> None:
    path = tmp_path / "a.persist"
    tree = {f"x{number}": np.arange(number, number + 4.0) for number in range(count)}
    _container.write(tree, path, durable=False, digest=digest)
    whole = path.read_bytes()
    at = whole.index(tree["x0"].tobytes())
    for place, bit in ((at + 15, 0x40), (whole.index(b"'<f8'", 0, at) + 1, 2)):  # data, byte order
        data = bytearray(whole)
        data[place] ^= bit
        path.write_bytes(data)
        for source in (path, bytes(data)):
            with pytest.raises(DamagedFileError, match=r"member 'x0.npy'.*(CRC-32|digest)"):
                persist.load(source)
            with pytest.raises(DamagedFileError, match="CRC-32|digest"):
                np.asarray(persist.open(source).arrays["x0"])
            assert persist.load(source, verify="never")["x0"].shape == (4,)


@pytest.mark.parametrize("count", [1, 40])  # many members are made together
def test_a_large_array_is_found_damaged_by_default_up_to_a_length_of_the_file(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.persist"
    tree = {f"x{number}": np.arange(200_000.0) + number for number in range(count)}
    _container.write(tree, path, durable=False)
    data = bytearray(path.read_bytes())
    data[data.index(tree["x0"][100:].tobytes()) + 15] ^= 0x40
    path.write_bytes(data)
    for verify in (None, "lazy", "always"):
        with pytest.raises(DamagedFileError, match=r"member 'x0.npy'.*(CRC-32|digest)"):
            persist.load(path, verify=verify)
        with pytest.raises(DamagedFileError, match="CRC-32|digest"):
            np.asarray(persist.open(path, verify=verify).arrays["x0"])
    monkeypatch.setattr("persist._container.reading.directory._SHORT", len(data) - 1)
    assert persist.load(path)["x0"].shape == (200_000,)  # a longer file: not read as a whole
    with pytest.raises(DamagedFileError, match="CRC-32|digest"):
        persist.load(path, verify="lazy")


def test_a_flipped_bit_of_a_large_array_in_memory_is_found_by_default() -> None:
    data = bytearray(saved({"x": np.arange(200_000.0)}))
    data[1_200_000] ^= 1
    with pytest.raises(DamagedFileError, match="CRC-32|digest"):
        persist.load(bytes(data))
    assert persist.load(bytes(data), verify="never")["x"].shape == (200_000,)


def test_an_array_that_was_written_to_is_not_taken_for_damage() -> None:
    tree = {f"x{number}": np.arange(number, number + 4.0) for number in range(100)}
    store = _container.Store(_container.open_source(bytearray(saved(tree)), writable=True))
    store.array("x3")[:] = 7
    wholes = store.wholes()
    assert wholes is not None
    assert wholes[3].tolist() == store.array("x3").tolist() == [7] * 4

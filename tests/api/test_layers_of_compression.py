"""Layers of compression around a file: every one, in each other, cut, broken, exploding."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pickle
import random
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist._api.layers import peel
from persist._wire.base.source import open_source
from persist.errors import (
    DamagedFileError,
    FormatError,
    LimitError,
    MissingExtraError,
    UnknownFormatError,
)

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"
TEXT = b"".join(b"line %d of a log\n" % number for number in range(3000))


def lz4(data: bytes) -> bytes:
    frame = pytest.importorskip("lz4.frame")
    return bytes(frame.compress(data))


def zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "inside.pkl") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, data)
    return out.getvalue()


LAYERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "lz4": lz4,
    "zstd": zstd,
    "ZIP of 'inside.pkl'": zipped,
}
SEVERAL = ["gzip", "bzip2", "xz", "lz4", "zstd"]  # kinds that may follow each other in a file
each = pytest.mark.parametrize("name", LAYERS)


def unpacked(data: bytes) -> tuple[bytes, str]:
    peeled = peel(open_source(data))
    assert peeled is not None
    inner, layer = peeled
    return inner.read(0, inner.size), layer


@each
@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(5_000_000)], ids=len)
def test_each_layer(name: str, data: bytes) -> None:
    assert unpacked(LAYERS[name](data)) == (data, name)


@pytest.mark.parametrize("level", range(10))
def test_zlib_of_every_level(level: int) -> None:
    assert unpacked(zlib.compress(TEXT, level)) == (TEXT, "zlib")


@pytest.mark.parametrize("preset", [0, 6, 9, 6 | lzma.PRESET_EXTREME])
def test_lzma_of_presets(preset: int) -> None:
    assert unpacked(lzma.compress(TEXT, lzma.FORMAT_ALONE, preset=preset)) == (TEXT, "lzma")


@each
def test_a_layer_in_each_other_layer_around_a_pickle(name: str) -> None:
    tree = {"w": np.arange(4.0), "n": [1, 2]}
    data = pickle.dumps(tree, 2)
    for other, wrap in LAYERS.items():
        with persist.open(wrap(LAYERS[name](data))) as file:
            assert file.format == "pickle"
            assert file.claim.startswith(f"{other}; {name}; ")
            assert np.array_equal(file.arrays["w"], tree["w"])
            assert file.scalars["n/1"] == 2


@pytest.mark.parametrize(
    ("case", "layer"),
    [("pickle-py27-bz2", "bzip2"), ("pickle-py27-mnist-pkl-gz", "gzip"), ("pickle-py37-xz", "xz")],
)
def test_genuine_files(case: str, layer: str) -> None:
    (path,) = (found for found in (CORPUS / case).iterdir() if found.suffix != ".json")
    with persist.open(path) as file:
        assert file.claim.startswith(f"{layer}; ")
        assert file.format == "pickle"
        assert len(file.arrays) + len(file.scalars) > 0


def test_the_suffix_lies(tmp_path: Path) -> None:
    path = tmp_path / "params.pkl.gz"
    path.write_bytes(bz2.compress(pickle.dumps([1, 2])))
    with persist.open(path) as file:
        assert file.tree == [1, 2]


@pytest.mark.parametrize("name", SEVERAL)
def test_several_streams_in_a_row_are_one_file(name: str) -> None:
    wrap = LAYERS[name]
    assert unpacked(wrap(TEXT) + wrap(b"") + wrap(b"end")) == (TEXT + b"end", name)


@pytest.mark.parametrize("name", SEVERAL)
def test_padding_and_stray_bytes_behind_the_last_stream(name: str) -> None:
    data = LAYERS[name](TEXT)
    assert unpacked(data + bytes(512)) == (TEXT, name)
    assert unpacked(data + b"stray") == (TEXT, f"{name} (and 5 stray bytes behind it)")


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_frames_that_are_to_be_skipped(name: str) -> None:
    skipped = b"\x5f\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    data = LAYERS[name](TEXT)
    assert unpacked(skipped * 2 + data + skipped + data + skipped) == (TEXT * 2, name)


@pytest.mark.parametrize("name", [name for name in LAYERS if "ZIP" not in name])
def test_a_cut_stream_tells_how_much_was_whole(name: str) -> None:
    data = LAYERS[name](TEXT)
    for length in (len(data) - 1, len(data) // 2):
        with pytest.raises(DamagedFileError, match=r"breaks off|broken") as caught:
            peel(open_source(data[:length]))
        assert f"its {name} layer" in str(caught.value)
    error = caught.value
    assert isinstance(error.facts.get("whole", 0), int)


def test_a_cut_gzip_file_names_the_file_and_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl.gz"
    chance = random.Random(2)
    data = gzip.compress(pickle.dumps(chance.randbytes(100_000)))
    path.write_bytes(data[:60_000])
    with pytest.raises(DamagedFileError) as caught:
        persist.open(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, its gzip layer: ")
    assert "all 60,000 bytes gave" in text
    assert 50_000 < caught.value.facts["whole"] < 61_000  # type: ignore[operator]


def test_a_cut_zip_says_that_its_directory_is_missing() -> None:
    with pytest.raises(DamagedFileError, match="no directory at its end"):
        persist.open(zipped(pickle.dumps([1]))[:-10])


@each
def test_truncations_and_flips_of_a_layer(name: str) -> None:
    data = LAYERS[name](TEXT[:300])
    for length in range(len(data)):
        with contextlib.suppress(FormatError):
            peel(open_source(data[:length]))
    chance = random.Random(4)
    for _ in range(300):
        copy = bytearray(data)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(FormatError):
            peeled = peel(open_source(copy))
            assert peeled is None or peeled[0].size < 10_000_000


@each
def test_a_bomb_is_stopped_at_the_limit(name: str) -> None:
    data = LAYERS[name](bytes(30_000_000))
    start = time.process_time()
    with pytest.raises((LimitError, DamagedFileError), match=r"1,000,000|cannot come of"):
        persist.open(data, limits={"total": 1_000_000})
    assert time.process_time() - start < 5


def test_a_bomb_of_bombs_is_stopped() -> None:
    data = b"x"
    for _ in range(40):
        data = gzip.compress(data)
    with pytest.raises(LimitError, match="nested"):
        persist.open(data)
    stored = b"x"
    for _ in range(400):
        stored = zipped(stored, zipfile.ZIP_STORED)
    with pytest.raises(LimitError, match="nested"):
        persist.open(stored)


@pytest.mark.parametrize(
    ("name", "modules"), [("lz4", ["lz4.frame"]), ("zstd", ["zstandard", "compression.zstd"])]
)
def test_a_library_that_is_missing_is_reported_with_its_cure(
    name: str, modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LAYERS[name](TEXT)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'persist-state\[{name}\]'"):
        persist.open(data)


def test_without_isal_zlib_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    data = gzip.compress(TEXT) + gzip.compress(b"end")
    assert unpacked(data) == (TEXT + b"end", "gzip")
    with pytest.raises(DamagedFileError, match="breaks off"):
        peel(open_source(data[:200]))
    assert unpacked(zipped(TEXT)) == (TEXT, "ZIP of 'inside.pkl'")


def test_a_zip_of_one_member_next_to_what_macos_adds() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("runs/", b"")
        archive.writestr("runs/net.pkl", pickle.dumps({"a": 1}))
        archive.writestr("__MACOSX/runs/._net.pkl", b"\0\5\x16\7")
        archive.writestr("runs/.DS_Store", b"\0\0\0\1Bud1")
    with persist.open(out.getvalue()) as file:
        assert file.scalars["a"] == 1


def test_a_zip_of_several_members_that_is_nobodys_lists_them() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(12):
            archive.writestr(f"page{number}.txt", b"hello")
    with pytest.raises(UnknownFormatError, match=r"12 files: 'page0.txt'.* and 8 more"):
        persist.open(out.getvalue())


def test_what_is_inside_keeps_the_files_neighbours(tmp_path: Path) -> None:
    (tmp_path / "beside.npy").write_bytes(b"x")
    path = tmp_path / "dump.gz"
    path.write_bytes(gzip.compress(b"inside"))
    peeled = peel(open_source(path))
    assert peeled is not None
    assert peeled[0].sibling("beside.npy") is not None
    assert peeled[0].name == str(path)


def test_ranged_sources_are_read_in_pieces() -> None:
    class File(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.inner = io.BytesIO(data)

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.inner.seek(offset, whence)

        def tell(self) -> int:
            return self.inner.tell()

        def read(self, size: int = -1) -> bytes:
            return self.inner.read(size)

    for name in ("gzip", "ZIP of 'inside.pkl'"):
        with persist.open(File(LAYERS[name](pickle.dumps({"w": np.ones(3)}, 2)))) as file:
            assert file.arrays["w"].tolist() == [1, 1, 1]


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(FormatError, MissingExtraError):
        peel(open_source(data))


def _cut(name: str, data: bytes) -> bytes:
    """A compressed pickle that breaks off, or is broken, after most of it."""
    if name == "gzip, broken":
        bent = bytearray(gzip.compress(data))
        bent[-6000] ^= 0xFF
        return bytes(bent)
    packs: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zlib": zlib.compress,
    }
    if name == "ZF":
        packed = zlib.compress(data)
        return f"ZF{hex(len(data)):<19}".encode() + packed[:-3000]
    return packs[name](data)[:-3000]


@pytest.mark.parametrize("name", ["gzip", "gzip, broken", "bzip2", "xz", "zlib", "ZF"])
def test_salvage_reads_what_is_whole_of_a_layer(name: str) -> None:
    rows = [np.random.default_rng(n).random(4000) for n in range(40)]  # bzip2 has whole blocks only
    data = _cut(name, pickle.dumps({"first": rows[0], "rows": rows}, 2))
    with pytest.raises(FormatError, match="salvage=True"):
        persist.open(data)
    file = persist.open(data, salvage=True)
    assert any("layer" in what or "its data" in what for what in file.damage)
    found = [np.asarray(file.arrays[path]) for path in file.arrays]
    assert len(found) > 10
    assert all(any(np.array_equal(array, row) for row in rows) for array in found)

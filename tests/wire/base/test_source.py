"""Sources: nothing beyond the end, nothing beyond the folder, nothing beyond the limits."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.base.source import Limits, Source, open_source
from persist.errors import DamagedFileError, LimitError, MissingExtraError, PersistError
from persist.tree import LazyArray

DATA = bytes(range(256)) * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.bin").write_bytes(b"secret")
    (tmp_path / "inside" / "main.bin").write_bytes(DATA)
    (tmp_path / "inside" / "other.bin").write_bytes(b"neighbour")
    return tmp_path / "inside"


class Seekable(io.RawIOBase):
    """A file that can only seek and read, as a remote one."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.inner.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self.inner.readinto(memoryview(buffer)[:100])


def sources(folder: Path, opened: Any) -> list[Source]:
    path = folder / "main.bin"
    return [
        open_source(path),
        open_source(str(path), map=False),
        open_source(DATA),
        open_source(bytearray(DATA)),
        open_source(memoryview(DATA)),
        open_source(opened),
        open_source(io.BytesIO(DATA)),
        open_source(Seekable(DATA)),
        open_source(path, writable=True),
    ]


def test_every_kind_of_source_gives_the_same_bytes(folder: Path) -> None:
    with open(folder / "main.bin", "rb") as opened:
        every = sources(folder, opened)
    for source in every:
        assert source.size == len(DATA)
        assert source.head(4) == DATA[:4]
        assert source.tail(4) == DATA[-4:]
        assert source.head(10**9) == DATA
        assert bytes(source.view(300, 7)) == DATA[300:307]
        array = np.asarray(source.array(256, np.dtype("<u2"), (3, 2)))
        assert array.tobytes() == DATA[256:268]
        source.close()


@given(offset=st.integers(-5, 1100), length=st.integers(-5, 2**70))
def test_nothing_passes_the_end(offset: int, length: int) -> None:
    for source in (open_source(DATA), open_source(Seekable(DATA))):
        fits = offset >= 0 and length >= 0 and offset + length <= len(DATA)
        if fits:
            assert source.read(offset, length) == DATA[offset : offset + length]
            assert source.window(offset, length).size == length
            continue
        with pytest.raises(DamagedFileError, match="bytes are claimed"):
            source.view(offset, length)
        with pytest.raises(DamagedFileError):
            source.window(offset, length)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("f8", (2**40,)),
        ("f8", (2**62, 2**62)),
        ("u1", (-1,)),
        ("u1", (1,) * 65),
        ("O", (1,)),
        ("u1", (len(DATA) + 1,)),
    ],
)
def test_an_array_that_cannot_be_is_damage(dtype: str, shape: tuple[int, ...]) -> None:
    for source in (open_source(DATA), open_source(Seekable(DATA))):
        with pytest.raises(DamagedFileError):
            np.asarray(source.array(0, np.dtype(dtype), shape))


def test_text_beyond_unicode_is_damage() -> None:
    data = np.array([97, 0x110000], "<u4").tobytes()
    for source in (open_source(data), open_source(Seekable(data))):
        assert np.asarray(source.array(0, np.dtype("<U1"), (1,))).tolist() == ["a"]
        with pytest.raises(DamagedFileError, match="beyond Unicode"):
            np.asarray(source.array(0, np.dtype("<U1"), (2,)))
        with pytest.raises(DamagedFileError, match="beyond Unicode"):
            np.asarray(source.array(0, np.dtype([("a", "u4"), ("b", [("c", "<U1")])]), (1,)))


def test_mapped_arrays_stay_valid_after_close_and_lazy_ones_say_so(folder: Path) -> None:
    source = open_source(folder / "main.bin")
    array = source.array(0, np.dtype("u1"), (256,))
    source.close()
    assert isinstance(array, np.ndarray)
    assert array[255] == 255
    ranged = open_source(Seekable(DATA))
    lazy, read = (ranged.array(0, np.dtype("u1"), (1024,)) for _ in range(2))
    assert isinstance(lazy, LazyArray)
    assert isinstance(read, LazyArray)
    assert read[1000:1003].tolist() == list(DATA[1000:1003])
    assert np.asarray(read).tobytes() == DATA
    ranged.close()
    assert read[5] == 5
    with pytest.raises(DamagedFileError, match="closed"):
        np.asarray(lazy)


def test_mapped_arrays_are_read_only_and_writable_ones_are_private(folder: Path) -> None:
    path = folder / "main.bin"
    array = open_source(path).array(0, np.dtype("u1"), (4,))
    assert isinstance(array, np.ndarray)
    assert not array.flags.writeable
    private = open_source(path, writable=True).array(0, np.dtype("u1"), (4,))
    assert isinstance(private, np.ndarray)
    private[0] = 77
    assert path.read_bytes() == DATA


def test_a_neighbour_is_in_the_same_folder_or_is_none(folder: Path) -> None:
    source = open_source(folder / "main.bin")
    neighbour = source.sibling("other.bin")
    assert neighbour is not None
    assert neighbour.read(0, 9) == b"neighbour"
    assert source.children() == ["main.bin", "other.bin"]
    for name in ("../outside.bin", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\0b", "no.bin"):
        assert source.sibling(name) is None
        assert open_source(folder).child(name) is None
    inside = open_source(folder).child("main.bin")
    assert inside is not None
    assert inside.size == len(DATA)


def test_bytes_and_files_without_a_name_have_no_neighbours(folder: Path) -> None:
    for source in (open_source(DATA), open_source(io.BytesIO(DATA)), open_source(Seekable(DATA))):
        assert source.sibling("other.bin") is None
        assert source.children() == []


def test_kinds(folder: Path) -> None:
    assert open_source(folder).kind == "folder"
    assert open_source(folder / "main").kind == "prefix"
    assert open_source(folder / "main.bin").kind == "file"
    with pytest.raises(FileNotFoundError):
        open_source(folder / "nothing")
    with pytest.raises(TypeError, match="a path, a URL, bytes or an open binary file"):
        open_source(5)
    with pytest.raises(TypeError, match="rb"):
        open_source(io.StringIO("text"))


def test_an_open_file_is_read_from_where_it_stands(folder: Path) -> None:
    with open(folder / "main.bin", "rb") as file:
        file.seek(1000)
        assert open_source(file).read(0, 24) == DATA[1000:]
    raw = Seekable(DATA)
    raw.seek(1000)
    assert open_source(raw).read(0, 24) == DATA[1000:]


def test_a_decompressing_file_is_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(DATA))
    with gzip.open(path, "rb") as file:
        assert open_source(file).read(0, len(DATA)) == DATA


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    source = open_source(tmp_path / "empty")
    assert (source.size, source.head(10)) == (0, b"")


def test_limits_have_names() -> None:
    with pytest.raises(PersistError, match="opcodes, depth"):
        open_source(b"", limits={"time": 5})
    assert Limits.of({"total": 5}).total_for(10**9) == 5
    assert Limits().total_for(10**9) == 20 * 10**9
    assert Limits().opcodes_for(10) == 1_000_000


def test_what_is_made_is_counted_over_all_parts() -> None:
    source = open_source(DATA, limits={"total": 1000})
    source.spend(600)
    inner = source.nested(b"abc", "inner").window(0, 2)
    inner.spend(400)
    with pytest.raises(LimitError, match='"total"'):
        source.spend(1)


def test_files_inside_files_end_somewhere() -> None:
    source = open_source(DATA, limits={"nested": 3})
    for _ in range(3):
        source = source.nested(DATA, "again")
    with pytest.raises(LimitError, match="nested"):
        source.nested(DATA, "again")


def test_a_cursor_reads_what_is_there() -> None:
    cursor = open_source(b"\x01\x02\x00\x03\0\0\0\xff\xff\xff\xffline\nrest").cursor()
    assert (cursor.u8(), cursor.u16(), cursor.u32(), cursor.i32()) == (1, 2, 3, -1)
    assert cursor.line() == b"line"
    assert cursor.left == 4
    with pytest.raises(DamagedFileError, match="3 things are claimed, but 4 bytes are left"):
        cursor.count(3, 2, "things")
    assert cursor.count(2, 2, "things") == 2
    with pytest.raises(DamagedFileError, match="no end"):
        cursor.line()
    assert cursor.read(4) == b"rest"
    with pytest.raises(DamagedFileError):
        cursor.u64()
    with pytest.raises(DamagedFileError):
        cursor.i64()


def test_a_name_says_which_part() -> None:
    source = open_source(DATA)
    assert source.window(0, 4, "member 'a'").name == "<1024 bytes>, member 'a'"
    assert source.nested(b"", "inner").name == "<1024 bytes>, inner"
    assert "1,024 bytes" in repr(source)


def test_a_url_without_fsspec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"persist-state\[fsspec\]"):
        open_source("memory://a")


@pytest.mark.extra("fsspec")
def test_a_url_is_read_in_ranges_and_has_neighbours() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe({"/persist-test/a.bin": DATA, "/persist-test/b.bin": b"b"})
    try:
        source = open_source("memory://persist-test/a.bin")
        assert not source.is_mapped
        assert source.read(300, 5) == DATA[300:305]
        assert source.children() == ["a.bin", "b.bin"]
        neighbour = source.sibling("b.bin")
        assert neighbour is not None
        assert neighbour.head(1) == b"b"
        assert source.sibling("../x") is None
        assert open_source("memory://persist-test").kind == "folder"
        assert open_source("memory://persist-test/a").kind == "prefix"
        with pytest.raises(FileNotFoundError):
            open_source("memory://persist-test/none")
    finally:
        files.rm("/persist-test", recursive=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, DATA)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert open_source(file).read(0, len(DATA)) == DATA

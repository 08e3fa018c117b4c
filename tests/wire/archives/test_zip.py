"""The ZIP directory: what archives of every writer hold, and what must be refused."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source, open_source
from persist.errors import DamagedFileError, FormatError, LimitError

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
PAYLOAD = bytes(range(256)) * 40


class Ranged(io.RawIOBase):
    """A seekable file that is no map: reads come in ranges, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.inner.seek(offset, whence)

    def tell(self) -> int:
        return self.inner.tell()

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(min(size, 777) if size > 0 else size)


def archive(
    members: list[tuple[str, bytes]],
    method: int = zipfile.ZIP_STORED,
    comment: bytes = b"",
    prefix: bytes = b"",
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as zipped:
        for name, data in members:
            zipped.writestr(name, data)
        zipped.comment = comment
    return prefix + out.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    directory = ZipDirectory.read(open_source(data))
    parts = {member.name: directory.open(member, verify=True) for member in directory.members}
    return {name: part.read(0, part.size) for name, part in parts.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\5\6" * 9, b"x" * 65535])
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n" * 30])
@pytest.mark.parametrize("wrap", [bytes, Ranged])
def test_every_kind_of_archive(
    method: int, comment: bytes, prefix: bytes, wrap: Callable[[bytes], object]
) -> None:
    data = archive(
        [("a", PAYLOAD), ("ordner/ä.npy", b"xy"), ("empty", b"")], method, comment, prefix
    )
    directory = ZipDirectory.of(open_source(wrap(data)))
    assert directory is not None
    assert directory.prefix == len(prefix)
    assert directory.comment == comment
    assert directory.names == ["a", "ordner/ä.npy", "empty"]
    first, second, empty = directory.members
    part = directory.open(first, verify=True)
    assert part.read(0, part.size) == PAYLOAD
    assert directory.open(second).head(9) == b"xy"
    assert directory.open(empty).size == 0
    assert directory.peek(first, 300) == PAYLOAD[:300]
    assert directory.peek(second, 300) == b"xy"


def test_a_stored_member_is_a_window_into_the_map_and_not_a_copy() -> None:
    data = bytearray(archive([("a", PAYLOAD)]))
    source = open_source(data)
    directory = ZipDirectory.read(source)
    view = directory.open(directory.members[0]).view(0, 10)
    at = data.index(PAYLOAD[:256])
    data[at] = 77
    assert view[0] == 77


def test_of_two_members_of_one_name_the_last_is_found_and_both_are_listed() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = archive([("a", b"first"), ("a", b"second")])
    directory = ZipDirectory.read(open_source(data))
    found = directory.find("a")
    assert found is not None
    assert directory.open(found).head(9) == b"second"
    assert [directory.open(member).head(9) for member in directory.members] == [b"first", b"second"]
    assert directory.find("b") is None


def test_zip64_sizes_and_a_count_beyond_16_bits() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for number in range(3):
            with zipped.open(f"m{number}", "w", force_zip64=True) as file:
                file.write(PAYLOAD)
    assert read(out.getvalue()) == {f"m{number}": PAYLOAD for number in range(3)}
    many = archive([(f"m{number}", b"") for number in range(65_600)])
    assert len(ZipDirectory.read(open_source(many)).members) == 65_600


def test_names_in_cp437_and_in_infozips_unicode_field() -> None:
    data = archive([("abcdefgh", b"1")])
    dos = data.replace(b"abcdefgh", b"caf\x82.npy")
    assert list(read(dos)) == ["café.npy"]
    raw = b"caf\x82.npy"
    field = b"\1" + zlib.crc32(raw).to_bytes(4, "little") + "café!.npy".encode()
    info = zipfile.ZipInfo("abcdefgh")
    info.extra = struct.pack("<2H", 0x7075, len(field)) + field
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr(info, b"1")
    assert list(read(out.getvalue().replace(b"abcdefgh", raw))) == ["café!.npy"]
    other = out.getvalue().replace(b"abcdefgh", b"caf\x81.npy")  # the field is for another name
    assert list(read(other)) == ["cafü.npy"]


def test_members_written_to_a_pipe_tell_their_sizes_behind_the_data() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a", PAYLOAD)
        zipped.writestr("b", b"2")
    assert read(pipe.data) == {"a": PAYLOAD, "b": b"2"}


def test_the_padding_that_torch_puts_into_local_headers_is_passed_over() -> None:
    info = zipfile.ZipInfo("archive/data/0")
    padding = b"Z" * 41
    info.extra = b"FB" + struct.pack("<H", len(padding)) + padding
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr(info, PAYLOAD)
    assert read(out.getvalue()) == {"archive/data/0": PAYLOAD}


def patched(data: bytes, at: int, form: str, value: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into(form, copy, at, value)
    return bytes(copy)


PLAIN = archive([("a", PAYLOAD), ("b", PAYLOAD)])
CENTRAL = PLAIN.index(b"PK\1\2")
END = PLAIN.index(b"PK\5\6")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (patched(PLAIN, CENTRAL + 8, "<H", 1), "encrypted"),
        (patched(PLAIN, 26, "<H", 2), "overlaps|names it"),
        (PLAIN.replace(b"PK\3\4", b"PK\3\5", 1), "local header begins with"),
        (patched(PLAIN, 8, "<H", 8), "states method 8"),
        (patched(PLAIN, 18, "<L", 5), "compressed size 5"),
        (patched(PLAIN, 22, "<L", 5), "states size 5"),
        (patched(PLAIN, 14, "<L", 5), "states CRC 5"),
        (patched(patched(PLAIN, 8, "<H", 99), CENTRAL + 10, "<H", 99), "method 99"),
        (patched(PLAIN, 100, "<B", 0), "have CRC"),
    ],
)
def test_a_member_that_contradicts_its_entry_is_refused(data: bytes, words: str) -> None:
    directory = ZipDirectory.read(open_source(data))
    with pytest.raises(FormatError, match=words) as caught:
        directory.open(directory.members[0], verify=True)
    assert "'a'" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no directory"),
        (b"PK\3\4", "no directory"),
        (PLAIN[:-1], "no directory"),
        (patched(PLAIN, END + 8, "<H", 3), "several files"),
        (patched(patched(PLAIN, END + 8, "<H", 3), END + 10, "<H", 3), "3 members are claimed"),
        (patched(PLAIN, END + 4, "<H", 1), "several files"),
        (patched(PLAIN, END + 12, "<L", 1 << 31), "left"),
        (patched(PLAIN, END + 16, "<L", END), "directory"),
        (patched(PLAIN, CENTRAL, "<L", 0), "entry begins with"),
        (patched(PLAIN, CENTRAL + 28, "<H", 60_000), "breaks off"),
        (patched(PLAIN, CENTRAL + 20, "<L", 1 << 30), "overlaps"),
        (patched(PLAIN, CENTRAL + 42, "<L", 1 << 31), "overlaps"),
        (PLAIN.replace(b"PK\1\2", b"PK\1\2").replace(b"a", b"\0"), "zero byte"),
    ],
)
def test_a_directory_that_contradicts_itself_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DamagedFileError, match=words):
        ZipDirectory.read(open_source(data))
    assert ZipDirectory.of(open_source(data)) is None


def test_two_entries_for_the_same_bytes_are_no_way_to_a_bomb() -> None:
    """David Fifield's quoted overlap (CVE-2024-0450): many entries share one kernel."""
    start = 30 + 1 + len(PAYLOAD)  # where the second local header begins
    second = PLAIN.index(b"PK\1\2", CENTRAL + 1)
    assert PLAIN[start : start + 4] == b"PK\3\4"
    same = patched(PLAIN, second + 42, "<L", 0)
    with pytest.raises(DamagedFileError, match="overlaps"):
        ZipDirectory.read(open_source(same))


def test_a_ratio_beyond_what_deflate_can_do_is_a_lie() -> None:
    data = archive([("a", PAYLOAD)], zipfile.ZIP_DEFLATED)
    central = data.index(b"PK\1\2")
    lying = patched(patched(data, 22, "<L", 1 << 31), central + 24, "<L", 1 << 31)
    directory = ZipDirectory.read(open_source(lying))
    with pytest.raises(DamagedFileError, match="cannot come of"):
        directory.open(directory.members[0])


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("method", METHODS[1:])
def test_a_size_that_is_not_the_inflated_one(method: int, change: int) -> None:
    data = archive([("a", PAYLOAD)], method)
    central = data.index(b"PK\1\2")
    size = len(PAYLOAD) + change
    lying = patched(patched(data, 22, "<L", size), central + 24, "<L", size)
    directory = ZipDirectory.read(open_source(lying))
    with pytest.raises(DamagedFileError, match="bytes are inside"):
        directory.open(directory.members[0])


def test_what_decompression_makes_is_counted_against_the_limit() -> None:
    data = archive([("a", b"\0" * 5_000_000)], zipfile.ZIP_DEFLATED)
    directory = ZipDirectory.read(open_source(data, limits={"total": 4_000_000}))
    with pytest.raises(LimitError, match="4,000,000"):
        directory.open(directory.members[0])


def test_an_archive_without_its_directory_gives_its_whole_members_to_salvage() -> None:
    cut = PLAIN[: CENTRAL - 10]
    directory = ZipDirectory.salvage(open_source(cut))
    assert directory.names == ["a"]
    assert directory.open(directory.members[0], verify=True).size == len(PAYLOAD)
    assert ZipDirectory.salvage(open_source(PLAIN)).names == ["a", "b"]
    assert ZipDirectory.salvage(open_source(b"PK\3\4")).names == []


def test_bytes_behind_the_archive_are_let_pass_where_it_begins_as_one() -> None:
    assert list(read(PLAIN + b"\n")) == ["a", "b"]
    shifted = archive([("a", b"1")], prefix=b"#!x\n")
    assert ZipDirectory.of(open_source(shifted + b"\n")) is None


def test_a_directory_is_parsed_once_a_source() -> None:
    source = open_source(PLAIN)
    assert ZipDirectory.of(source) is ZipDirectory.of(source)


def test_twenty_thousand_members_open_fast() -> None:
    data = archive([(f"archive/data/{number}", b"1234") for number in range(20_000)])
    source = open_source(data)
    start = time.process_time()
    directory = ZipDirectory.read(source)
    for member in directory.members:
        directory.open(member)
    assert time.process_time() - start < 3  # a tenth of it here; quadratic work would show


def everything(source: Source) -> int:
    """Read all that a directory gives; count the bytes."""
    directory = ZipDirectory.read(source)
    return sum(directory.open(member, verify=True).size for member in directory.members)


@pytest.mark.parametrize("method", METHODS)
def test_every_truncation_is_refused(method: int) -> None:
    data = archive([("a", PAYLOAD[:200]), ("b", b"2")], method)
    for length in range(len(data)):
        with pytest.raises(DamagedFileError):
            everything(open_source(data[:length]))


@pytest.mark.parametrize("method", METHODS)
def test_flipped_bytes_are_refused_or_harmless(method: int) -> None:
    data = archive([("a", PAYLOAD[:200]), ("b", b"2")], method)
    chance = random.Random(3)
    for _ in range(800):
        copy = bytearray(data)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(FormatError):
            assert everything(open_source(copy)) < 10_000


names = st.text(
    st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), min_size=1, max_size=30
)


@settings(max_examples=60)
@given(
    st.dictionaries(names, st.binary(max_size=300), max_size=6),
    st.sampled_from(METHODS),
    st.binary(max_size=40).filter(lambda comment: b"PK" not in comment),  # zipfile stumbles there
)
def test_it_reads_what_zipfile_writes(
    members: dict[str, bytes], method: int, comment: bytes
) -> None:
    data = archive(list(members.items()), method, comment)
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        expected = {info.filename: zipped.read(info) for info in zipped.infolist()}
    assert read(data) == expected

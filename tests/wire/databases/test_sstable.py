"""Tables: entries found again, checksums, compression, and tables that lie."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.base.source import open_source
from persist._wire.databases.sstable import MAGIC, Table
from persist.errors import DamagedFileError, FormatError

_spec = importlib.util.spec_from_file_location(
    "tables_laid", Path(__file__).parents[1] / "tables.py"
)
assert _spec is not None
assert _spec.loader is not None
laid = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laid)

ENTRIES = {f"key {number:03}".encode(): bytes([number]) * number for number in range(20)}


def opened(data: bytes, verify: bool = True) -> Table:
    return Table(open_source(data), verify)


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=60), max_size=30),
       st.integers(1, 7))  # fmt: skip
def test_every_entry_is_found_again(entries: dict[bytes, bytes], size: int) -> None:
    table = opened(laid.table(entries, size))
    assert {key: bytes(value) for key, value in table.items()} == entries
    assert [key for key, _ in table.items()] == sorted(entries)
    for key, value in entries.items():
        assert table.get(key) == value
    for key in (b"", b"absent", b"\xff" * 50):
        if key not in entries:
            assert table.get(key) is None


def test_values_are_views_into_the_file() -> None:
    data = laid.table(ENTRIES)
    value = opened(data).get(b"key 007")
    assert value is not None
    assert value.obj is data


def test_snappy_blocks() -> None:
    def squeeze(plain: bytes) -> bytes:
        count = len(plain) - 1
        return laid.varint(len(plain)) + bytes((61 << 2,)) + struct.pack("<H", count) + plain

    table = opened(laid.table(ENTRIES, squeeze=squeeze))
    assert {key: bytes(value) for key, value in table.items()} == ENTRIES


def test_an_unknown_compression_is_named() -> None:
    plain = laid.block([(b"", b"")])
    index = laid.block([(b"a", laid.varint(0) + laid.varint(len(plain)))])
    data = laid.sealed(plain, 4) + laid.sealed(index)
    footer = laid.varint(0) + laid.varint(0) + laid.varint(len(plain) + 5) + laid.varint(len(index))
    with pytest.raises(DamagedFileError, match="method 4"):
        opened(data + footer.ljust(40, b"\0") + MAGIC).get(b"")


def test_a_wrong_checksum_is_reported_with_its_place_and_can_be_passed_over() -> None:
    data = bytearray(laid.table(ENTRIES))
    at = data.index(b"\x05" * 5)
    data[at] ^= 1
    with pytest.raises(DamagedFileError, match="checksum") as caught:
        dict(opened(bytes(data)).items())
    assert caught.value.facts["checksum"]
    assert caught.value.where is not None
    assert caught.value.where.startswith("offset ")
    unchecked = opened(bytes(data), verify=False)
    assert bytes(unchecked.get(b"key 005") or b"") == b"\x04" + b"\x05" * 4
    # Only the block that is read is checked.
    assert opened(bytes(data)).get(b"key 019") == ENTRIES[b"key 019"]


def test_no_end_no_table() -> None:
    data = laid.table(ENTRIES)
    for cut in (data[:-1], data[:100], b"", data + b"\n"):
        with pytest.raises(DamagedFileError, match="no end"):
            opened(cut)


def test_blocks_that_overlap_are_refused() -> None:
    """Many handles to one block would be much work in a small file."""
    plain = laid.block([])
    handle = laid.varint(0) + laid.varint(len(plain))
    index = laid.block([(struct.pack(">I", number), handle) for number in range(1000)])
    data = laid.sealed(plain) + laid.sealed(index)
    footer = laid.varint(0) * 2 + laid.varint(len(plain) + 5) + laid.varint(len(index))
    with pytest.raises(DamagedFileError, match="overlap"):
        opened(data + footer.ljust(40, b"\0") + MAGIC)


def test_keys_out_of_order_are_refused() -> None:
    plain = laid.block([(b"b", b""), (b"a", b"")], restart=1)
    index = laid.block([(b"c", laid.varint(0) + laid.varint(len(plain)))])
    data = laid.sealed(plain) + laid.sealed(index)
    footer = laid.varint(0) * 2 + laid.varint(len(plain) + 5) + laid.varint(len(index))
    with pytest.raises(DamagedFileError, match="does not come after"):
        list(opened(data + footer.ljust(40, b"\0") + MAGIC).items())


@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_any_change_gives_entries_or_an_error_of_ours(at: int, byte: int, verify: bool) -> None:
    data = bytearray(laid.table(ENTRIES))
    data[at % len(data)] = byte
    try:
        table = opened(bytes(data), verify)
        found = {key: bytes(value) for key, value in table.items()}
        table.get(b"key 003")
    except FormatError:
        return
    if verify:  # what is covered by a sum is right
        assert found == ENTRIES

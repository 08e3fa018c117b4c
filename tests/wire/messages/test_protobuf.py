"""Messages: fields by kind, packed or not, lazily, and messages that lie."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.base.source import open_source
from persist._wire.messages.protobuf import Message, Schemas, varints
from persist.errors import DamagedFileError, FormatError, LimitError

_spec = importlib.util.spec_from_file_location(
    "tables_laid", Path(__file__).parents[1] / "tables.py"
)
assert _spec is not None
assert _spec.loader is not None
laid = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laid)
field = laid.field

SCHEMAS = Schemas(
    {
        "Tree": {
            "name": (1, "string"),
            "number": (2, "int64"),
            "size": (3, "uint64"),
            "values": (4, "float"),
            "counts": (5, "int32"),
            "child": (6, "Tree"),
            "kind": (7, "Kind"),
            "table": (8, "map:Tree"),
            "sum": (9, "fixed32"),
            "wide": (10, "double"),
        }
    },
    {"Kind": {0: "NONE", 3: "THIRD"}},
)


def opened(data: bytes, **limits: int) -> Message:
    source = open_source(data, limits=limits)
    return SCHEMAS.read("Tree", memoryview(data), source)


def test_absent_fields_are_what_protobuf_says() -> None:
    tree = opened(b"")
    assert (tree.text("name"), tree.integer("number"), tree.message("child")) == ("", 0, None)
    assert tree.floats("values").shape == (0,)
    assert tree.integers("counts").dtype == np.int64
    assert tree.name("kind") == "NONE"
    assert tree.map("table") == {}
    assert not tree.has("name")


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, (1 << 64) - 1))
def test_numbers_of_64_bits(signed: int, unsigned: int) -> None:
    tree = opened(field(2, signed) + field(3, unsigned))
    assert tree.integer("number") == signed
    assert tree.integer("size") == unsigned


@given(st.lists(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=9), max_size=5),
       st.lists(st.booleans(), min_size=5, max_size=5))  # fmt: skip
def test_repeated_numbers_packed_or_not(runs: list[list[int]], packed: list[bool]) -> None:
    data, wanted = b"", []
    for run, is_packed in zip(runs, packed, strict=False):
        wanted += run
        if is_packed:
            data += field(5, b"".join(map(laid.varint, run)))
        else:
            data += b"".join(field(5, value) for value in run)
    assert opened(data).integers("counts").tolist() == wanted


def test_packed_floats_are_a_view_into_the_file() -> None:
    data = field(4, struct.pack("<3f", 1, 2, 3))
    values = opened(data).floats("values")
    assert values.tolist() == [1, 2, 3]
    assert not values.flags.owndata
    assert opened(field(4, 1.5) + data).floats("values").tolist() == [1.5, 1, 2, 3]


def test_the_last_value_counts_and_messages_merge() -> None:
    data = field(1, b"a") + field(1, b"b")
    data += field(6, field(1, b"x") + field(2, 1)) + field(6, field(2, 2))
    tree = opened(data)
    assert tree.text("name") == "b"
    child = tree.message("child")
    assert child is not None
    assert (child.text("name"), child.integer("number")) == ("x", 2)
    assert tree.message("child") is child


def test_maps_enums_and_fixed_numbers() -> None:
    entry = field(1, b"k") + field(2, field(2, 7))
    tree = opened(field(8, entry) + field(7, 3) + laid.fixed32(9, 0xDEADBEEF))
    value = tree.map("table")["k"]
    assert value is not None
    assert value.integer("number") == 7
    assert tree.name("kind") == "THIRD"
    assert int.from_bytes(tree.data("sum"), "little") == 0xDEADBEEF
    assert opened(field(7, 9)).name("kind") == "9"


def test_unknown_fields_and_groups_are_passed_over() -> None:
    group = laid.varint(99 << 3 | 3) + field(1, b"inside") + laid.varint(99 << 3 | 4)
    unknown = field(77, 5) + field(78, b"x") + laid.varint(79 << 3 | 1) + bytes(8) + field(80, 1.0)
    assert opened(unknown + group + field(1, b"outside")).text("name") == "outside"


def test_text_that_is_no_utf8_is_shown_escaped() -> None:
    assert opened(field(1, b"caf\xe9")).text("name") == "caf\\xe9"


def test_a_message_far_down_costs_no_stack() -> None:
    data = b""
    for _ in range(5000):
        data = field(6, data)
    tree: Message | None = opened(data, total=1 << 30)
    depth = 0
    while tree is not None:
        tree = tree.message("child")
        depth += 1
    assert depth == 5001


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x0a\x05ab", "claims 5 bytes, 2 are left"),
        (b"\x0a", "breaks off"),
        (b"\x10", "breaks off"),
        (b"\x10" + b"\xff" * 10 + b"\x01", "more than 10 bytes"),
        (b"\x02\x00", "number 0"),
        (b"\x0f", "wire type 7"),
        (b"\x0b\x10\x01", "group 1 has no end"),
        (b"\x0c", "wire type 4"),
        (b"\x4d\x01", "breaks off"),
        (b"\x0a\xff\xff\xff\xff\x0f", "claims 4,294,967,295 bytes"),
    ],
)
def test_what_is_broken_is_reported_with_its_place(data: bytes, what: str) -> None:
    with pytest.raises(DamagedFileError, match=what):
        opened(field(2, 1) + data)


def test_the_place_is_the_offset_in_the_file() -> None:
    inner = field(2, 1) + b"\x0a\x05ab"
    data = field(1, b"name") + field(6, inner)
    with pytest.raises(DamagedFileError) as caught:
        opened(data).message("child")
    assert caught.value.where is not None
    offset = int(caught.value.where.removeprefix("offset "))
    assert data.index(inner) <= offset <= len(data)


def test_fields_count_against_the_limit() -> None:
    data = b"\x10\x01" * 200_000
    assert opened(data).integer("number") == 1
    with pytest.raises(LimitError):
        opened(data, total=1_000_000)


def test_values_of_another_kind_are_refused() -> None:
    with pytest.raises(DamagedFileError, match="name is 5"):
        opened(field(1, 5)).text("name")
    with pytest.raises(DamagedFileError, match="not numbers of 4 bytes"):
        opened(field(4, b"abc")).floats("values")
    with pytest.raises(DamagedFileError, match="not numbers of 4 bytes"):
        opened(field(4, 3)).floats("values")
    with pytest.raises(DamagedFileError, match="no end"):
        opened(field(5, b"\x80")).integers("counts")


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=60))
def test_varints_at_once(values: list[int]) -> None:
    data = b"".join(map(laid.varint, values))
    assert varints(memoryview(data), open_source(b"x")).tolist() == values


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        tree: Message | None = opened(data)
        while tree is not None:
            for name in ("name", "kind"):
                tree.text(name) if name == "name" else tree.name(name)
            tree.integers("counts")
            tree.floats("values")
            tree.map("table")
            tree = tree.message("child")
    except FormatError as error:
        assert error.what

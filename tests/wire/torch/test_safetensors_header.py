"""Headers of tensors that are read at once: what is given is what JSON gives, or nothing."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._wire.torch.safetensors_header import rows_of
from persist.errors import FormatError
from persist.readers import safetensors
from persist.readers.safetensors import _BITS

shapes = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 300)), max_size=4)
names = st.text(
    st.characters(codec="ascii", exclude_characters='"\\', min_codepoint=32, max_codepoint=126),
    max_size=9,
)


def spelled(tensors: dict[str, tuple[str, list[int]]]) -> tuple[bytes, int]:
    """A header as writers spell it, and the bytes of its data."""
    header, at = {}, 0
    for name, (kind, shape) in tensors.items():
        end = at + math.prod(shape) * _BITS[kind] // 8
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, end]}
        at = end
    return json.dumps(header, separators=(",", ":")).encode(), at


whole_bytes = st.sampled_from([kind for kind, bits in _BITS.items() if bits % 8 == 0])


@settings(max_examples=200)
@given(st.dictionaries(names, st.tuples(whole_bytes, shapes), min_size=1, max_size=8))
def test_what_writers_spell_is_read_at_once_and_as_json(
    tensors: dict[str, tuple[str, list[int]]],
) -> None:
    text, size = spelled(tensors)
    rows = rows_of(text[1:] + b" " * 5, size, _BITS)
    if any("," in name for name in tensors) and rows is None:
        return
    assert rows is not None
    reported = {
        name: (info["dtype"], tuple(info["shape"]), *info["data_offsets"])
        for name, info in json.loads(text).items()
    }
    assert list(rows) == list(reported)
    assert dict(rows) == reported == {name: tuple(facts) for name, *facts in rows.all()}
    assert rows_of(text[1:], size + 1, _BITS) is None


def by_json(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(safetensors, "rows_of", lambda *_: None)
        return seen(data)


def seen(data: bytes) -> Any:
    """What a file holds, or how it is refused."""
    try:
        with persist.open(data) as file:
            tree = {
                name: (array.dtype, array.shape, array.tobytes())
                if hasattr(array, "dtype")
                else array
                for name, array in file.tree.items()
            }
            return list(file.arrays), tree, file.structure
    except FormatError as error:
        return type(error), str(error)


BASE = {
    "layer.0.weight": ("F32", [2, 3]),
    "layer.0.bias": ("U8", [3]),
    "scale": ("F16", []),
    "none": ("F8_E4M3FNUZ", [0, 7]),
    "long": ("I64", [1, 1, 2]),
}


@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize("metadata", ["", '"__metadata__":{"format":"pt","é":"a,b"},'])
def test_both_ways_give_the_same_whatever_the_bytes(
    metadata: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, size = spelled(BASE)
    text = b"{" + metadata.encode() + text[1:]
    chance = random.Random(size)
    pieces = [
        b'"',
        b"\\",
        b"0",
        b"9",
        b",",
        b"]",
        b"}",
        b" ",
        b"\xe9",
        b"\x00",
        b"-",
        b"1e3",
        b":",
        b"[]",
    ]
    read = 0
    for _ in range(1500):
        copy = bytearray(text)
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(copy))
            end = at + chance.choice((0, 1, 1, 2, 12))
            copy[at:end] = chance.choice([*pieces, copy[end : end + chance.randrange(30)]])
        data = len(copy).to_bytes(8, "little") + copy + bytes(size)
        ours = seen(bytes(data))
        assert ours == by_json(bytes(data), monkeypatch)
        read += len(ours) == 3
    assert read > 300


def test_numbers_of_many_digits_are_numbers() -> None:
    for size in (99_999_999, 100_000_000, 1_234_567_890_123, 9_999_999_999_999_999):
        text = b'"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
        rows = rows_of(text, size, _BITS)
        assert rows is not None
        assert rows["a"] == ("U8", (size,), 0, size)
    text = b'"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (10**16, 10**16)
    assert rows_of(text, 10**16, _BITS) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[2,3]", b"[02,3]"),
        (b"[2,3]", b"[2,,3]"),
        (b"[2,3]", b"[,6]"),
        (b"[2,3]", b"[6,]"),
        (b"[2,3]", b"[2, 3]"),
        (b"[2,3]", b"[2.3]"),
        (b"[0,24]", b"[24]"),
        (b"[0,24]", b"[0,12,24]"),
        (b"F32", b"F33"),
        (b"F32", b"F8_E4M3FNUZ_"),
        (b"layer.0.bias", b"layer.0.weight"),
        (b"}}", b"}},"),
        (b'"scale"', b'"sc\xc3\xa4le"'),
    ],
)
def test_what_is_not_spelled_so_is_left_to_json(old: bytes, new: bytes) -> None:
    text, size = spelled(BASE)
    assert rows_of(text[1:], size, _BITS) is not None
    assert old in text
    assert rows_of(text[1:].replace(old, new, 1), size, _BITS) is None

"""safetensors: genuine files, every rule of the format by its name, and the writer."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import persist
from persist._wire.base import ml_dtypes
from persist._wire.base.source import open_source
from persist.errors import DamagedFileError, FormatError, MissingExtraError
from persist.readers.safetensors import SafetensorsReader, _dtype_of
from persist.tree import LazyArray

CORPUS = Path(__file__).parents[1] / "corpus" / "safetensors"
CASES = sorted(path for path in CORPUS.iterdir() if path.is_dir())


def laid(header: Any, data: bytes = b"", pad: int = 0) -> bytes:
    """Lay out a file by hand: a header (text, bytes or JSON), then the data."""
    if not isinstance(header, str | bytes):
        header = json.dumps(header)
    text = (header if isinstance(header, bytes) else header.encode()) + b" " * pad
    return len(text).to_bytes(8, "little") + text + data


def written(tree: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    SafetensorsReader().write(tree, out, **options)
    return out.getvalue()


def tensor(kind: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def digest(array: Any) -> str:
    array = np.asarray(array)
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_genuine_files(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text())
    with persist.open(case / expected["file"]) as file:
        assert file.format == "safetensors"
        assert set(file.arrays) == set(expected["arrays"])
        for name, reported in expected["arrays"].items():
            array = file.arrays[name]
            assert array.dtype.name == reported["dtype"]
            assert list(array.shape) == reported["shape"]
            assert digest(array) == reported["sha256"]
        assert dict(file.scalars.items()) == expected["scalars"]
        assert file.structure["header_length"] == expected["structure"]["header_length"]


def test_the_order_of_the_header_is_the_order_of_the_names() -> None:
    path = CORPUS / "safetensors-0.2.0-numpy-mydict" / "mydict.safetensors"
    expected = json.loads((path.parent / "expected.json").read_text())
    with persist.open(path) as file:
        assert list(file.tree) == expected["structure"]["header_order"]


def test_without_ml_dtypes_bfloat16_is_float32_and_float8_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    ml_dtypes.extended.cache_clear()
    _dtype_of.cache_clear()
    try:
        header = {"b": tensor("BF16", [2], 0, 4), "f": tensor("F8_E5M2", [3], 4, 7)}
        with persist.open(laid(header, b"\x80\x3f\0\0abc")) as file:
            assert file.arrays["b"].dtype == np.float32
            assert np.asarray(file.arrays["b"]).tolist() == [1.0, 0.0]
            with pytest.raises(MissingExtraError, match="float8_e5m2"):
                np.asarray(file.arrays["f"])
            assert file.structure["tensors"]["b"] == {"dtype": "BF16", "shape": [2]}
    finally:
        ml_dtypes.extended.cache_clear()
        _dtype_of.cache_clear()


def test_types_below_a_byte_are_the_packed_bytes_of_each_row() -> None:
    header = {"q": tensor("F4", [3, 4], 0, 6), "s": tensor("F6_E2M3", [4, 4], 6, 18)}
    header["odd"] = tensor("F4", [2, 3], 18, 21)
    with persist.open(laid(header, bytes(range(21)))) as file:
        assert file.arrays["q"].tolist() == [[0, 1], [2, 3], [4, 5]]
        assert file.arrays["s"].shape == (4, 3)
        assert file.arrays["odd"].tolist() == [18, 19, 20]
        assert file.structure["tensors"]["q"] == {"dtype": "F4", "shape": [3, 4]}
        (note,) = file.notes
        assert note.startswith("q, s, odd: packed bytes of F4, F6_E2M3")


F32 = tensor("F32", [2], 0, 8)
DATA = b"12345678"
RULES = {
    "header at most 100 MB": (
        (200_000_000).to_bytes(8, "little") + b'{"a":1}' + bytes(100),
        "a header has at most",
    ),
    "header is whole": (laid({"a": F32}, DATA)[:20], "the file holds its whole header"),
    "UTF-8": (laid(b'{"\xff": 1}'), "JSON in UTF-8"),
    "JSON": (laid('{"a": }'), "JSON in UTF-8"),
    "nothing behind the object": (laid("{} {}"), "JSON in UTF-8"),
    "no NaN": (laid('{"a": NaN}'), "JSON in UTF-8"),
    "no half surrogates": (laid('{"\\ud800": {}}'), "JSON in UTF-8"),
    "not deep": (laid('{"a":' * 50_000), "one flat JSON|JSON in UTF-8"),
    "digits": (laid('{"a": %s}' % ("9" * 5000)), "JSON in UTF-8"),
    "no name twice": (laid('{"a": 1, "a": 2}'), "no name occurs twice"),
    "no name of a colon twice": (laid('{"a:b": {}, "a:b": {}}'), "no name occurs twice"),
    "no name twice, whatever it was": (laid('{"a": 1, "a": {}}'), "no name occurs twice"),
    "no key of a tensor twice": (
        laid('{"a": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', DATA),
        "no name occurs twice",
    ),
    "metadata is text": (laid({"__metadata__": {"a": 1}}), "maps text to text"),
    "metadata is a map": (laid({"__metadata__": ["a"]}), "maps text to text"),
    "a tensor is an object": (laid({"a": [1]}), "has dtype, shape and data_offsets"),
    "a tensor has offsets": (laid({"a": {"dtype": "F32", "shape": []}}), "has dtype, shape"),
    "dtype is known": (laid({"a": tensor("F12", [2], 0, 8)}, DATA), "the dtypes are"),
    "dtype is text": (laid({"a": tensor(7, [2], 0, 8)}, DATA), "the dtypes are"),  # type: ignore[arg-type]
    "shape is whole": (laid({"a": tensor("F32", [2.0], 0, 8)}, DATA), "a shape is a list"),  # type: ignore[list-item]
    "shape is not negative": (laid({"a": tensor("F32", [-2], 0, 8)}, DATA), "a shape is a list"),
    "shape is no truth": (laid({"a": tensor("F32", [True], 0, 4)}, b"1234"), "a shape is a list"),
    "offsets are in order": (laid({"a": tensor("F32", [2], 8, 0)}, DATA), "data_offsets are"),
    "offsets are whole": (laid({"a": tensor("F32", [2], -8, 0)}, DATA), "data_offsets are"),
    "shape times dtype": (laid({"a": tensor("F32", [3], 0, 8)}, DATA), "shape times dtype"),
    "shape overflows": (
        laid({"a": tensor("F32", [1 << 62, 1 << 62], 0, 8)}, DATA),
        "shape times dtype",
    ),
    "whole bytes": (laid({"a": tensor("F4", [3], 0, 2)}, b"12"), "takes whole bytes"),
    "no hole at the beginning": (laid({"a": tensor("U8", [4], 4, 8)}, DATA), "without hole"),
    "no hole between": (
        laid({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [4], 4, 8)}, DATA),
        "without hole",
    ),
    "no overlap": (
        laid({"a": tensor("U8", [5], 0, 5), "b": tensor("U8", [4], 4, 8)}, DATA),
        "without hole or overlap",
    ),
    "data is whole": (laid({"a": F32}, DATA[:7]), "whole header and all data"),
    "nothing follows": (laid({"a": F32}, DATA + b"!"), "nothing follows the last tensor"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_file_that_breaks_a_rule_is_refused_and_the_rule_named(rule: str) -> None:
    data, words = RULES[rule]
    with pytest.raises(DamagedFileError, match=f"The rule of safetensors: .*({words})"):
        persist.open(data)


def test_a_header_must_begin_with_a_brace() -> None:
    reader = SafetensorsReader()
    for header in (b' {"a":1}', b"[]      ", b"{]"):
        assert reader.claims(open_source(laid(header))) is None


def test_an_empty_file_of_today_and_the_broken_one_of_0_3() -> None:
    with persist.open(laid("{}", pad=6)) as file:
        assert file.format == "safetensors"
        assert file.tree == {}
    # save({}, {"c": "d", "a": "b"}) of safetensors 0.3.3
    with persist.open(laid('{},"__metadata__":{"c":"d","a":"b"}}', pad=4)) as file:
        assert dict(file.scalars.items()) == {"__metadata__/c": "d", "__metadata__/a": "b"}
        assert "broken JSON" in file.damage[0]


def test_metadata_may_be_null_and_unknown_keys_are_let_pass() -> None:
    header = {"__metadata__": None, "a": {**F32, "more": [1]}}
    with persist.open(laid(header, DATA)) as file:
        assert list(file.arrays) == ["a"]


def test_tensors_are_views_of_the_map_or_lazy() -> None:
    data = written({"w": np.arange(2_000_000, dtype="f4")})
    with persist.open(data) as file:
        assert isinstance(file.arrays["w"], np.ndarray)
        assert not file.arrays["w"].flags.owndata

    class Ranged(io.RawIOBase):
        def __init__(self) -> None:
            self.inner = io.BytesIO(data)
            self.given = 0

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.inner.seek(offset, whence)

        def tell(self) -> int:
            return self.inner.tell()

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return self.inner.read(size)

    ranged = Ranged()
    with persist.open(ranged) as file:
        lazy = file.arrays["w"]
        assert isinstance(lazy, LazyArray)
        assert lazy[5:7].tolist() == [5, 6]
        assert ranged.given < 2_000_000  # of eight; what claims read is in it


KINDS = [
    "?", "i1", "u1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<i8", "<u8", "<f8",
    ">f4", ">i8", ">c8",
]  # fmt: skip
arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3))
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=60)
@given(
    st.dictionaries(texts.filter(lambda name: name != "__metadata__"), arrays, max_size=6),
    st.dictionaries(texts, texts, max_size=3),
)
def test_what_is_written_is_read_again(tree: dict[str, Any], metadata: dict[str, str]) -> None:
    with persist.open(written(tree, metadata=metadata)) as file:
        found = dict(file.tree)
        assert found.pop("__metadata__", {}) == metadata
        assert set(found) == set(tree)
        for name, array in tree.items():
            assert found[name].shape == array.shape
            assert found[name].dtype == array.dtype.newbyteorder("<")
            assert np.asarray(found[name]).tobytes() == array.astype(found[name].dtype).tobytes()


def test_the_writer_lays_tensors_down_as_the_library_does() -> None:
    """By descending alignment, then by name, behind a header padded to eight bytes.

    The bytes are those of save() of safetensors 0.8.0 for the same arrays.
    """
    tree = {"z": np.zeros((0, 3), "f4"), "a": np.ones(1, "i1"), "b": np.ones(2, "f8")}
    header = (
        '{"__metadata__":{"m":"é"},"b":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},'
        '"z":{"dtype":"F32","shape":[0,3],"data_offsets":[16,16]},'
        '"a":{"dtype":"I8","shape":[1],"data_offsets":[16,17]}}'
    )
    data = np.ones(2, "<f8").tobytes() + b"\1"
    assert written(tree, metadata={"m": "é"}) == laid(header, data, -len(header.encode()) % 8)


@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_genuine_file_written_again_holds_the_same(case: Path) -> None:
    (path,) = case.glob("*.safetensors")
    with persist.open(path) as file:
        again = written(file.tree)
        with persist.open(again) as second:
            assert set(second.arrays) == set(file.arrays)
            assert dict(second.scalars.items()) == dict(file.scalars.items())
            for name, array in file.arrays.items():
                assert second.arrays[name].dtype == array.dtype
                assert digest(second.arrays[name]) == digest(array)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([1], "arrays by name, not a list"),
        ({"a": [1.0]}, "'a': safetensors holds arrays only, not a list"),
        ({"a": {"b": np.ones(1)}}, "Flatten nested dicts"),
        ({3: np.ones(1)}, "name must be text"),
        ({"a": np.ones(1, "c16")}, "no dtype for complex128"),
        ({"a": np.array(["x"])}, "no dtype for <U1"),
        ({"a": np.array([None])}, "no dtype for object"),
        ({"__metadata__": {"epoch": 3}}, "maps text to text"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_a_byte_is_written(
    tree: Any, words: str
) -> None:
    out = io.BytesIO()
    with pytest.raises(FormatError, match=words):
        SafetensorsReader().write(tree, out)
    assert out.getvalue() == b""


def test_non_contiguous_and_lazy_arrays_are_written() -> None:
    base = np.arange(12, dtype=">i4").reshape(3, 4)
    lazy = LazyArray(np.dtype("f4"), (2,), lambda: np.ones(2, "f4"))
    with persist.open(written({"t": base.T, "s": base[::2, 1], "l": lazy})) as file:
        assert file.arrays["t"].tolist() == base.T.tolist()
        assert file.arrays["s"].tolist() == [1, 9]
        assert file.arrays["l"].tolist() == [1, 1]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_truncations_and_flips(case: Path) -> None:
    (path,) = case.glob("*.safetensors")
    data = path.read_bytes()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            persist.open(data[:length])
    chance = random.Random(6)
    for _ in range(500):
        copy = bytearray(data)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(FormatError), persist.open(copy) as file:
            for array in file.arrays.values():
                np.asarray(array)


def test_names_and_metadata_may_hold_colons_and_braces() -> None:
    tensor = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    header = {"a: {b}": tensor, "__metadata__": {"at": "12:30", "{": "}"}}
    with persist.open(laid(header, b"\1\2")) as file:
        assert np.asarray(file.arrays["a: {b}"]).tolist() == [1, 2]
        assert file.scalars["__metadata__/at"] == "12:30"


def test_salvage_gives_the_tensors_that_are_whole() -> None:
    header = {name: tensor("F32", [2], 8 * at, 8 * at + 8) for at, name in enumerate("abc")}
    data = laid(header, np.arange(6, dtype="<f4").tobytes())
    for cut, whole in ((1, "ab"), (9, "a"), (24, "")):
        damaged = data[: len(data) - cut]
        with pytest.raises(DamagedFileError, match="truncated"):
            persist.open(damaged)
        with persist.open(damaged, salvage=True) as file:
            assert list(file.arrays) == list(whole)
            assert [np.asarray(file.arrays[name]).tolist() for name in whole] == [
                [0.0, 1.0],
                [2.0, 3.0],
            ][: len(whole)]
            (reported,) = file.damage
            assert f"{3 - len(whole)} of 3 tensors are lost" in reported
            assert "'c'" in reported

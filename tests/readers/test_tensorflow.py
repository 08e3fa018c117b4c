"""TensorFlow: genuine checkpoints, graphs and saved models of 0.12 to 2.15, opened by any name."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._wire.base import ml_dtypes
from persist._wire.compression.crc32c import crc32c, mask
from persist._wire.tensorflow.slices import slice_key
from persist.errors import (
    DamagedFileError,
    FormatError,
    LimitError,
    MissingExtraError,
    UnknownFormatError,
)

CORPUS = Path(__file__).parents[1] / "corpus" / "tensorflow"
CASES = sorted(path for path in CORPUS.iterdir() if (path / "expected.json").exists())
MARKS = (
    # Pickled tensors, which the pack looks through; types that NumPy does not have.
    (("pickle", "np-save"), pytest.mark.packs),
    (("bfloat16", "types", "graph-pb", "eager"), pytest.mark.extra("ml_dtypes")),
)
MARKED = [
    pytest.param(
        case,
        marks=[mark for words, mark in MARKS if any(word in case.name for word in words)],
        id=case.name,
    )
    for case in CASES
]
MLP = CORPUS / "tf-1.4.1-py36-saver-mlp"
V1 = CORPUS / "tf-0.12.1-py27-saver-v1-mlp"
V1_SHARDED = CORPUS / "made-2.15.1-py311-saver-v1-sharded"
V2_SHARDED = CORPUS / "made-2.15.1-py311-saver-v2-sharded"
TYPES = CORPUS / "made-2.15.1-py311-bundle-types"
OBJECTS = CORPUS / "tf-1.15.5-py37-object-checkpoint"
FROZEN = CORPUS / "tf-1.12.0-py36-frozen-mlp" / "model.pb"
SIMPLE = CORPUS / "tf-1.15.5-py37-saved-model-simple" / "export"
TWO = CORPUS / "made-2.15.1-py311-saved-model-two" / "export"

_path = Path(__file__).parents[1] / "wire" / "tables.py"
_spec = importlib.util.spec_from_file_location("tables_laid", _path)
assert _spec is not None
assert _spec.loader is not None
laid = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laid)
field = laid.field


def same(reported: dict[str, Any], array: Any) -> bool:
    array = np.asarray(array)
    if list(array.shape) != reported["shape"]:
        return False
    if "values" in reported:
        wanted = [
            bytes.fromhex(item["bytes_hex"]) if isinstance(item, dict) else item.encode()
            for item in reported["values"]
        ]
        return bool(array.reshape(-1).tolist() == wanted)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return array.dtype.name == reported["dtype"] and digest == reported["sha256"]


def values(file: Any) -> dict[str, Any]:
    found = {name: np.asarray(file.arrays[name]) for name in file.arrays}
    return {
        name: array.tolist() if array.dtype.hasobject else array.tobytes()
        for name, array in found.items()
    }


@pytest.mark.parametrize("verify", ["lazy", "always", "never"])
@pytest.mark.parametrize("case", MARKED)
def test_genuine_files(case: Path, verify: str) -> None:
    expected = json.loads((case / "expected.json").read_text())
    with persist.open(case / expected["file"], verify=verify) as file:
        assert file.damage == []
        wrong = [
            name
            for name, reported in expected["arrays"].items()
            if not same(reported, file.arrays[name])
        ]
        assert wrong == []
        json.dumps(file.structure)


# Which checkpoint is meant.


@pytest.mark.parametrize(
    "name",
    ["model.ckpt-3", "model.ckpt-3.index", "model.ckpt-3.data-00000-of-00001", "checkpoint", "",
     "model.ckpt", "model"],
)  # fmt: skip
def test_a_checkpoint_opens_by_prefix_by_any_file_by_folder_and_by_its_state_file(
    name: str,
) -> None:
    expected = json.loads((MLP / "expected.json").read_text())
    with persist.open(MLP / name) as file:
        assert file.format == "tensorflow-checkpoint"
        assert set(file.arrays) == set(expected["arrays"])
        assert all(
            same(reported, file.arrays[name]) for name, reported in expected["arrays"].items()
        )
        reported = file.structure
        assert reported["checkpoint_state"] == expected["structure"]["checkpoint_state"]
        assert reported["checkpoints"] == ["model.ckpt-2", "model.ckpt-3"]
        assert reported["prefix"] == "model.ckpt-3"


@pytest.mark.parametrize("name", ["checkpoint", "", "model.ckpt"])
def test_any_step_of_a_folder_can_be_had(name: str) -> None:
    with persist.open(MLP / "model.ckpt-2") as wanted, persist.open(MLP / name, step=2) as file:
        assert values(file) == values(wanted)
        assert file.structure["series"]["steps"] == [2, 3]
        assert file.structure["series"]["step"] == 2
    with pytest.raises(FormatError, match="no step 5") as caught:
        persist.open(MLP / name, step=5)
    assert "2, 3" in caught.value.remedy


def test_the_state_file_says_which_is_the_latest(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(MLP, folder)
    # As it stands when the folder has moved from another machine.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/ann/run/model.ckpt-2"\n')
    with persist.open(folder) as file, persist.open(MLP / "model.ckpt-2") as wanted:
        assert values(file) == values(wanted)
    (folder / "checkpoint").unlink()
    with persist.open(folder) as file:
        assert file.structure["prefix"] == "model.ckpt-3"
        assert "checkpoint_state" not in file.structure


def test_a_state_file_without_its_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-9"\n')
    with pytest.raises(DamagedFileError, match=r"model\.ckpt-9"):
        persist.open(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    "name", ["model.ckpt-200", "model.ckpt-200-00000-of-00003", "model.ckpt-200-00002-of-00003",
             "checkpoint", "", "model.ckpt"]
)  # fmt: skip
def test_v1_in_shards_opens_by_any_name(name: str) -> None:
    expected = json.loads((V1_SHARDED / "expected.json").read_text())
    with persist.open(V1_SHARDED / name) as file:
        assert file.format == "tensorflow-checkpoint-v1"
        assert all(
            same(reported, file.arrays[name]) for name, reported in expected["arrays"].items()
        )
        assert file.structure["tensors"]["p/emb"]["slices"] == ["0,3:0,3", "3,2:0,3", "5,2:0,3"]


@pytest.mark.parametrize("folder", [V1_SHARDED, V2_SHARDED], ids=["v1", "v2"])
def test_steps_are_numbers_not_text(folder: Path) -> None:
    with persist.open(folder) as file:
        assert file.structure["series"]["steps"] == [10, 200]
        assert file.structure["series"]["step"] == 200


def test_a_prefix_may_be_empty(tmp_path: Path) -> None:
    """``save_weights("weights/")`` names its files by their suffixes alone."""
    for part in MLP.glob("model.ckpt-3.*"):
        shutil.copy(part, tmp_path / part.name.removeprefix("model.ckpt-3"))
    for name in ("", ".index", ".data-00000-of-00001"):
        with persist.open(tmp_path / name) as file, persist.open(MLP / "model.ckpt-3") as own:
            assert values(file) == values(own)


def test_a_missing_shard_is_named_and_the_others_can_be_had(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(V2_SHARDED, folder)
    (folder / "model.ckpt-200.data-00001-of-00003").unlink()
    with pytest.raises(DamagedFileError, match=r"shard 1 of 3, model\.ckpt-200\.data-00001"):
        persist.open(folder / "model.ckpt-200")
    with persist.open(folder / "model.ckpt-200", salvage=True) as file:
        assert 0 < len(file.arrays) < 9
        assert len(file.arrays) + len(file.damage) == 9
        values(file)


def test_a_missing_shard_of_v1_is_named(tmp_path: Path) -> None:
    for number in (0, 2):
        shutil.copy(V1_SHARDED / f"model.ckpt-10-{number:05d}-of-00003", tmp_path)
    with pytest.raises(DamagedFileError, match="00001-of-00003"):
        persist.open(tmp_path / "model.ckpt-10")
    with persist.open(tmp_path / "model.ckpt-10", salvage=True) as file:
        assert 0 < len(values(file)) < 9
        assert file.damage == ["shard model.ckpt-10-00001-of-00003 is not there"]


def test_another_table_of_that_format_is_no_checkpoint() -> None:
    with pytest.raises(UnknownFormatError):
        persist.open(laid.table({b"key": b"value"}))


# Checksums.


def changed(source: Path, folder: Path, name: str, at: int) -> Path:
    shutil.copytree(source, folder)
    data = bytearray((folder / name).read_bytes())
    data[at] ^= 0x10
    (folder / name).write_bytes(data)
    return folder


def test_a_wrong_checksum_names_its_tensor(tmp_path: Path) -> None:
    name = "model.ckpt-3.data-00000-of-00001"
    folder = changed(MLP, tmp_path / "run", name, 100)
    with persist.open(folder / "model.ckpt-3") as file:
        broken = []
        for tensor in file.arrays:
            try:
                np.asarray(file.arrays[tensor])
            except DamagedFileError as error:
                broken.append(tensor)
                assert f"tensor '{tensor}' at offset" in str(error)
                assert "checksum" in str(error)
                assert error.file is not None
                assert error.file.endswith(name)
        assert len(broken) == 1
    with pytest.raises(DamagedFileError, match="checksum"):
        persist.open(folder / "model.ckpt-3", verify="always")
    with persist.open(folder / "model.ckpt-3", verify="never") as file:
        assert len(values(file)) == 15
    with persist.open(folder / "model.ckpt-3", verify="always", salvage=True) as file:
        assert broken[0] not in file.arrays
        assert len(values(file)) == 14
        assert broken[0] in file.damage[0]


def lay_v1(tensors: dict[str, bytes]) -> bytes:
    """A table of float vectors, an entry a block."""
    meta, entries = b"", {}
    for name, data in tensors.items():
        reported = field(1, name.encode()) + field(2, shaped([len(data) // 4]))
        meta += field(1, reported + field(3, 1) + field(4, field(1, b"")))
        proto = field(3, field(5, data))
        entries[slice_key(name.encode(), ((0, -1),))] = field(2, field(1, name.encode()) + proto)
    return bytes(laid.table({b"": field(1, meta), **entries}, size=1))


def test_a_wrong_checksum_of_v1_names_its_tensor() -> None:
    data = bytearray(lay_v1({"good": floats(1, 2), "bad": floats(3, 4)}))
    with persist.open(bytes(data)) as file:
        assert file.format == "tensorflow-checkpoint-v1"
        assert np.asarray(file.arrays["bad"]).tolist() == [3, 4]
    data[data.index(floats(3, 4))] ^= 1
    with persist.open(bytes(data)) as file:
        with pytest.raises(DamagedFileError, match="tensor 'bad'.*checksum"):
            np.asarray(file.arrays["bad"])
        assert np.asarray(file.arrays["good"]).tolist() == [1, 2]
    with pytest.raises(DamagedFileError, match="checksum"):
        persist.open(bytes(data), verify="always")
    with persist.open(bytes(data), verify="always", salvage=True) as file:
        assert list(file.arrays) == ["good"]
        assert "bad" in file.damage[0]
    with persist.open(bytes(data), verify="never") as file:
        assert np.asarray(file.arrays["bad"]).shape == (2,)


def test_a_listed_tensor_without_data_is_reported() -> None:
    data = lay_v1({"here": floats(1)})
    meta = field(
        1, field(1, b"gone") + field(2, shaped([1])) + field(3, 1) + field(4, field(1, b""))
    )
    with (
        persist.open(laid.table({b"": field(1, meta)})) as file,
        pytest.raises(DamagedFileError, match="tensor 'gone'.*no data"),
    ):
        np.asarray(file.arrays["gone"])
    assert np.asarray(persist.open(data).arrays["here"]).tolist() == [1]


def test_strings_have_a_checksum_of_their_own(tmp_path: Path) -> None:
    found = [
        (part.name, at)
        for part in V2_SHARDED.glob("model.ckpt-200.data-*")
        if (at := part.read_bytes().find(b"a\0\xff")) >= 0
    ]
    ((name, at),) = found
    folder = changed(V2_SHARDED, tmp_path / "run", name, at)
    with (
        persist.open(folder / "model.ckpt-200") as file,
        pytest.raises(DamagedFileError, match="tensor 'str'"),
    ):
        np.asarray(file.arrays["str"])


# Laziness.


def test_opening_reads_the_index_alone(tmp_path: Path) -> None:
    index, size = lay_bundle({"big": ([1 << 28], 1, b"", 1 << 30, False)})
    (tmp_path / "x.index").write_bytes(index)
    with open(tmp_path / "x.data-00000-of-00001", "wb") as data:
        data.truncate(size)  # a hole: a GiB that takes no room, and would take long to read
    with persist.open(tmp_path / "x") as file:
        big = file.arrays["big"]
        assert (big.shape, big.dtype) == ((1 << 28,), np.float32)
        assert big[5:8].tolist() == [0, 0, 0]


def test_a_tensor_is_a_map_of_its_shard() -> None:
    with persist.open(MLP / "model.ckpt-3") as file:
        array = np.asarray(file.arrays["hidden/weights"])
        assert not array.flags.owndata
        assert not array.flags.writeable
        rows = file.arrays["hidden/weights"]
        assert np.array_equal(rows[1:3], array[1:3])


def test_rows_of_a_partitioned_tensor_come_from_their_parts() -> None:
    with persist.open(V2_SHARDED / "model.ckpt-200") as file:
        for name in ("p/emb", "p/cols", "p/many"):
            part = file.arrays[name][1:6]
            whole = np.asarray(file.arrays[name])
            assert np.array_equal(part, whole[1:6])


# Bundles laid by hand.

Tensor = tuple[list[int], int, bytes, int, bool]  # shape, type, bytes, size claimed, with a sum


def shaped(extents: list[int]) -> bytes:
    return b"".join(field(2, field(1, extent)) for extent in extents)


def entry(tensor: Tensor, offset: int) -> bytes:
    extents, kind, data, size, summed = tensor
    reported: bytes = field(1, kind) + field(2, shaped(extents))
    reported += field(4, offset) + field(5, size)
    if summed:
        reported += laid.fixed32(6, mask(crc32c(data)))
    return reported


def lay_bundle(tensors: dict[str, Tensor], header: bytes | None = None) -> tuple[bytes, int]:
    entries = {b"": field(1, 1) if header is None else header}
    offset = 0
    for name, tensor in tensors.items():
        entries[name.encode()] = entry(tensor, offset)
        offset += tensor[3]
    return laid.table(entries), offset


def open_bundle(folder: Path, index: bytes, data: bytes, **options: Any) -> Any:
    (folder / "x.index").write_bytes(index)
    (folder / "x.data-00000-of-00001").write_bytes(data)
    return persist.open(folder / "x", **options)


def floats(*numbers: float, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(numbers)}f", *numbers)


def test_big_endian_bundles(tmp_path: Path) -> None:
    data = floats(1, 2, 3, order=">")
    index, _ = lay_bundle({"a": ([3], 1, data, 12, True)}, field(1, 1) + field(2, 1))
    with open_bundle(tmp_path, index, data) as file:
        array = np.asarray(file.arrays["a"])
        assert array.tolist() == [1, 2, 3]
        assert array.dtype.isnative
        assert np.asarray(file.arrays["a"][1:]).tolist() == [2, 3]


def test_without_ml_dtypes_only_bfloat16_is_read_and_the_type_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    ml_dtypes.extended.cache_clear()
    try:
        with persist.open(TYPES / "x") as file:
            assert file.arrays["bf"].dtype == np.float32
            for name, kind in (("f8", "float8_e4m3fn"), ("i4", "int4")):
                with pytest.raises(MissingExtraError, match=kind):
                    np.asarray(file.arrays[name])
            reported = file.structure["tensors"]
            assert reported["bf"]["dtype"] == "bfloat16"
            assert reported["f8"]["dtype"] == "float8_e4m3fn"
            assert reported["i4"]["dtype"] == "int4"
            assert file.damage == []
    finally:
        ml_dtypes.extended.cache_clear()


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (([3], 1, b"", 8, False), "8 bytes are claimed, its shape \\[3\\] of float32 takes 12"),
        (([1 << 40], 1, b"", 4 << 40, False), "of a shard that has 12"),
        (([-1], 1, b"", 12, False), "none that a tensor can have"),
        (([1 << 31, 1 << 31], 1, b"", 12, False), "beyond any memory|bytes are claimed"),
        (([3], 77, b"", 12, False), "its data type is 77"),
        (([3], 1, b"", -12, False), "bytes are claimed"),
    ],
)
def test_an_index_that_lies_names_the_tensor(tmp_path: Path, tensor: Tensor, what: str) -> None:
    index, _ = lay_bundle({"liar": tensor})
    with pytest.raises(DamagedFileError, match=what) as caught:
        open_bundle(tmp_path, index, bytes(12))
    assert caught.value.where == "tensor 'liar'"


def test_a_string_tensor_that_lies_is_refused(tmp_path: Path) -> None:
    for extents, data in (([1 << 40], bytes(20)), ([2], b"\x05\x7f" + bytes(18))):
        index, _ = lay_bundle({"s": (extents, 7, data, 20, False)})
        with open_bundle(tmp_path, index, data) as file, pytest.raises(DamagedFileError):
            np.asarray(file.arrays["s"])


def sliced(parts: list[tuple[tuple[tuple[int, int], ...], list[int]]], extents: list[int]) -> bytes:
    """An index of one tensor ``t``, whose parts all lie at the beginning of the shard."""
    slices = [
        b"".join(
            field(1, (field(1, start) if start else b"") + (field(2, size) if size >= 0 else b""))
            for start, size in part
        )
        for part, _ in parts
    ]
    whole = field(1, 1) + field(2, shaped(extents)) + b"".join(field(7, item) for item in slices)
    entries = {b"": field(1, 1), b"t": whole}
    for part, size in parts:
        size_in_bytes = 4 * int(np.prod(size))
        entries[slice_key(b"t", part)] = entry((size, 1, b"", size_in_bytes, False), 0)
    return bytes(laid.table(entries))


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([(((0, 2), (0, -1)), [2, 3])], "one is missing"),
        ([(((0, 2), (0, -1)), [2, 3]), (((1, 3), (0, -1)), [3, 3])], "overlap"),
        ([(((0, 2), (0, -1)), [2, 3]), (((1, 2), (0, -1)), [2, 3])], "overlap"),
        ([(((0, 9), (0, -1)), [9, 3])], "lies outside"),
        ([(((-1, 3), (0, -1)), [3, 3])], "lies outside"),
        ([(((0, -1),), [4])], "lies outside"),
        ([(((0, 4), (0, -1)), [3, 3])], "is wanted"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, parts: Any, what: str) -> None:
    with pytest.raises(DamagedFileError, match=what) as caught:
        open_bundle(tmp_path, sliced(parts, [4, 3]), bytes(200))
    assert caught.value.where is not None
    assert "tensor 't'" in caught.value.where


def test_many_parts_on_the_same_bytes_count_against_the_limit(tmp_path: Path) -> None:
    parts = [(((start, 1), (0, -1)), [1, 256]) for start in range(2000)]
    index = sliced(parts, [2000, 256])
    with open_bundle(tmp_path, index, bytes(1024)) as file:
        assert np.asarray(file.arrays["t"]).shape == (2000, 256)
    with (
        open_bundle(tmp_path, index, bytes(1024), limits={"total": 1_900_000}) as file,
        pytest.raises(LimitError),
    ):
        np.asarray(file.arrays["t"])


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=2, max_size=2))
def test_keys_of_parts_sort_as_their_numbers_do(numbers: list[int]) -> None:
    first, second = (slice_key(b"n\0\xff", ((number, 0),)) for number in numbers)
    assert (first < second) == (numbers[0] < numbers[1])


# Object graphs.


def test_the_graph_of_objects_is_reported_and_slots_are_bound() -> None:
    expected = json.loads((OBJECTS / "expected.json").read_text())["structure"]["object_graph"]
    with persist.open(OBJECTS / "ck-1") as file:
        reported = file.structure["object_graph"]
        assert reported["edges"] == expected["edges"]
        assert reported["attributes"] == expected["attributes"]
        for slot, wanted in zip(reported["slots"], expected["slots"], strict=True):
            assert wanted.items() <= slot.items()
            assert slot["variable"] in file.arrays
            assert slot["value"] in file.arrays
            assert f".OPTIMIZER_SLOT/optimizer/{slot['slot_name']}/" in slot["value"]
            assert slot["value"].startswith(slot["variable"].partition("/.ATTRIBUTES")[0])


def test_a_scalar_string_keeps_its_trailing_nuls() -> None:
    with persist.open(OBJECTS / "ck-1") as file:
        graph = np.asarray(file.arrays["_CHECKPOINTABLE_OBJECT_GRAPH"])
        assert graph.shape == ()
        assert isinstance(graph[()], bytes)


# Graphs.


def test_a_frozen_graph_is_described() -> None:
    expected = json.loads((FROZEN.parent / "expected.json").read_text())
    with persist.open(FROZEN) as file:
        reported = file.structure
        nodes = [{key: node[key] for key in ("name", "op", "inputs")} for node in reported["nodes"]]
        assert nodes == expected["structure"]["nodes"]
        assert reported["inputs"] == [{"name": "inputXX", "dtype": "float32", "shape": [-1, 5]}]
        assert reported["ops"]["Const"] == 4
        assert set(file.arrays) == set(expected["arrays"])
        assert reported["outputs"]
        consumed = {name for node in nodes for name in node["inputs"]}
        assert not consumed & set(reported["outputs"])


def test_text_and_binary_give_the_same() -> None:
    made = "made-2.15.1-py311-graph"
    with (
        persist.open(CORPUS / f"{made}-pb" / "graph.pb") as binary,
        persist.open(CORPUS / f"{made}-pbtxt" / "graph.pbtxt") as text,
    ):
        assert values(binary) == values(text)
        assert binary.structure["nodes"] == text.structure["nodes"]


def test_a_meta_graph_brings_its_checkpoint() -> None:
    with persist.open(MLP / "model.ckpt-3.meta") as file, persist.open(MLP / "model.ckpt-3") as own:
        assert file.format == "tensorflow-meta-graph"
        found = values(file)
        assert values(own).items() <= found.items()
        assert file.writer == {"tensorflow": "1.4.1"}
        assert "hidden/weights" in file.structure["variables"]
        assert file.structure["meta_graph"]["saver"]["version"] == "V2"
        assert "hidden/weights:0" in file.structure["meta_graph"]["collections"]["variables"]


def test_a_meta_graph_alone_has_its_constants(tmp_path: Path) -> None:
    shutil.copy(V1 / "model.ckpt-3.meta", tmp_path)
    with persist.open(tmp_path / "model.ckpt-3.meta") as file:
        assert file.arrays
        assert "hidden/weights" not in file.arrays


def const(proto: bytes, name: bytes = b"c", kind: int = 1) -> bytes:
    value = field(5, field(1, b"value") + field(2, field(8, field(1, kind) + proto)))
    return bytes(field(1, field(1, name) + field(2, b"Const") + value))


@pytest.mark.parametrize(
    ("proto", "wanted"),
    [
        (field(2, shaped([2, 2])) + field(5, 1.5), [[1.5, 1.5], [1.5, 1.5]]),
        (field(2, shaped([3])) + field(5, floats(1, 2)), [1, 2, 2]),
        (field(2, shaped([2])) + field(5, floats(1, 2, 3)), [1, 2]),
        (field(2, shaped([2])), [0, 0]),
        (field(5, 2.5), 2.5),
        (b"", 0),
        (field(2, shaped([0, 3])), []),
        (field(2, shaped([2])) + field(4, floats(3, 4)), [3, 4]),
    ],
)
def test_every_form_of_a_constant(proto: bytes, wanted: Any) -> None:
    with persist.open(const(proto)) as file:
        array = np.asarray(file.arrays["c"])
        assert array.dtype == np.float32
        assert array.tolist() == wanted


def test_a_value_repeated_beyond_the_limit_is_refused_when_it_is_wanted() -> None:
    with persist.open(const(field(2, shaped([1 << 40])) + field(5, 1.0))) as file:
        assert file.arrays["c"].shape == (1 << 40,)
        with pytest.raises(LimitError):
            np.asarray(file.arrays["c"])


@pytest.mark.parametrize(
    ("proto", "what"),
    [
        (field(2, shaped([2])) + field(4, floats(1)), "4 bytes, its shape"),
        (field(2, shaped([-1])), "none that a tensor can have"),
        (field(2, field(3, 1)), "none that a tensor can have"),
        (field(2, shaped([1] * 40)), "none that a tensor can have"),
    ],
)
def test_a_constant_that_lies_names_its_node(proto: bytes, what: str) -> None:
    data = const(field(5, 1.0), b"good") + const(proto, b"bad")
    with pytest.raises(DamagedFileError, match=what) as caught:
        persist.open(data)
    assert caught.value.where == "node 'bad'"
    with persist.open(data, salvage=True) as file:
        assert list(file.arrays) == ["good"]
        assert "bad" in file.damage[0]


def test_constants_of_functions_are_named_by_the_function() -> None:
    node = const(field(5, 1.0))
    function = field(1, field(1, b"fn")) + b"\x1a" + node[1:]
    with persist.open(const(field(5, 2.0), b"top") + field(2, field(1, function))) as file:
        assert set(file.arrays) == {"top", "fn/c"}
        assert file.structure["functions"] == ["fn"]


@pytest.mark.parametrize(
    "data",
    [
        field(1, b"CaffeNet") + field(100, b"abc"),  # Caffe's NetParameter
        field(1, 7) + field(2, b"pytorch") + field(7, field(1, b"x")),  # ONNX's ModelProto
        field(1, field(1, b"a/b.proto") + field(2, b"a.b")),  # a set of descriptors
        b'name: "CaffeNet"\nlayer { name: "x" type: "Y" }\n',
        b"\n\n\n",
        b"node_count: 5",
    ],
)
def test_other_messages_are_no_graph(data: bytes) -> None:
    with pytest.raises(UnknownFormatError):
        persist.open(data)


# Saved models.


@pytest.mark.parametrize("name", ["", "saved_model.pb"])
def test_a_saved_model_opens_by_folder_or_by_its_file(name: str) -> None:
    expected = json.loads((SIMPLE.parent / "expected.json").read_text())
    with persist.open(SIMPLE / name) as file:
        assert file.format == "tensorflow-saved-model"
        assert set(file.arrays) == set(expected["arrays"])
        assert file.writer == {"tensorflow": "1.15.5"}
        (meta,) = file.structure["meta_graphs"]
        (wanted,) = expected["structure"]["meta_graphs"]
        assert wanted.items() <= meta.items()


def test_several_meta_graphs_and_assets() -> None:
    with persist.open(TWO) as file:
        metas = file.structure["meta_graphs"]
        assert [meta["tags"] for meta in metas] == [["train"], ["serve"]]
        assert list(metas[1]["signatures"]) == ["serving_default"]
        assert metas[0]["assets"][0]["filename"] == "vocabulary.txt"
        assert file.structure["assets"] == ["assets/vocabulary.txt"]
        assert np.asarray(file.arrays["w"]).tolist() == [0, 1, 2, 3]


def test_objects_of_a_saved_model_of_2() -> None:
    with persist.open(CORPUS / "tf-2.3.4-py38-saved-model-module" / "module") as file:
        expected = json.loads(
            (CORPUS / "tf-2.3.4-py38-saved-model-module/expected.json").read_text()
        )
        reported = file.structure
        wanted = expected["structure"]
        assert wanted["meta_graphs"][0].items() <= reported["meta_graphs"][0].items()
        assert reported["object_graph"]["edges"] == wanted["object_graph"]["edges"]
        kinds = {item["kind"] for item in reported["meta_graphs"][0]["objects"]}
        assert {"variable", "function"} <= kinds


def test_a_saved_model_without_its_variables_says_so(tmp_path: Path) -> None:
    shutil.copy(SIMPLE / "saved_model.pb", tmp_path)
    with persist.open(tmp_path) as file:
        assert "variables" in file.damage[0]
        assert file.arrays  # its constants


def test_variables_without_their_graph_are_read(tmp_path: Path) -> None:
    shutil.copytree(SIMPLE / "variables", tmp_path / "variables")
    with persist.open(tmp_path) as file:
        assert "hidden/weights" in file.arrays
        assert "no saved_model.pb" in file.damage[0]
    (tmp_path / "saved_model.cpb").write_bytes(b"chunks")
    with persist.open(tmp_path) as file:
        assert "chunks" in file.damage[0]
    shutil.rmtree(tmp_path / "variables")
    with pytest.raises(UnknownFormatError, match="cpb"):
        persist.open(tmp_path)


# What is broken.


SMALL = [
    (CORPUS / "tf-1.12.0-py36-saver-bfloat16-subset", "sub.ckpt-100000", "sub.ckpt-100000.index"),
    (V1, "model.ckpt-3", "model.ckpt-3"),
    (CORPUS / "tf-1.8.0-py36-saver-sharded-slices", "model.ckpt-2", "model.ckpt-2.index"),
]


@settings(max_examples=examples(150))
@given(st.data())
@pytest.mark.parametrize(("case", "name", "part"), SMALL, ids=["v2", "v1", "slices"])
def test_a_cut_or_changed_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, case: Path, name: str, part: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(case, folder)
    broken = bytearray((folder / part).read_bytes())
    del broken[data.draw(st.integers(1, len(broken))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (folder / part).write_bytes(broken)
    try:
        with persist.open(
            folder / name, verify=data.draw(st.sampled_from(["lazy", "never"]))
        ) as file:
            values(file)
    except FormatError as error:
        assert error.file
    finally:
        shutil.rmtree(folder)


@settings(max_examples=examples(200))
@given(st.data())
@pytest.mark.parametrize(
    "path",
    [FROZEN, CORPUS / "tf-1.4.1-py36-graph-const-forms" / "graph.pb",
     CORPUS / "tf-1.4.1-py36-graph-text" / "graph.pbtxt"],
    ids=lambda path: path.name,
)  # fmt: skip
def test_a_cut_or_changed_graph_is_read_or_refused(path: Path, data: st.DataObject) -> None:
    broken = bytearray(path.read_bytes())
    del broken[data.draw(st.integers(1, len(broken))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        with persist.open(bytes(broken)) as file:
            values(file)
            json.dumps(file.structure)
    except FormatError as error:
        assert error.what

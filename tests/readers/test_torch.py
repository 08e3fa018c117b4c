"""PyTorch's files: every generation of container, damage, and the writer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import persist
from persist._wire.pickle.writer import PickleWriter
from persist._wire.torch.storage import Storage, Tensor
from persist.errors import DamagedFileError, FormatError
from persist.readers.torch.zip import ZipReader
from persist.tree import Global, PersistentRef, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "torch"
CASES = sorted(path.parent for path in CORPUS.glob("*/expected.json"))

NAMED = {
    "an archive": "archive", "shards": "shards", "flat buffer": "torchscript-flat", "torch.distributed": "torch-distributed",
    "TorchScript": "torchscript", "torch.jit": "torchscript", "torch.export": "torch-export",
    "torch.package": "torch-package",
}  # fmt: skip
FORMATS = {"tar": "torch-tar", "legacy stream": "torch-legacy", "zip": "torch-zip"}


def expectation(case: Path) -> tuple[Path, dict[str, Any]]:
    reported = json.loads((case / "expected.json").read_text())
    return case / reported["file"], reported


def format_of(reported: dict[str, Any]) -> str:
    for word, name in NAMED.items():
        if word in reported["what"]:
            return name
    return FORMATS[reported["structure"]["container"]]


def path_of(name: str) -> Path:
    return expectation(CORPUS / name)[0]


def digest(array: Any) -> str:
    array = np.asarray(array)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def plain(value: Any) -> Any:
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return {"float": repr(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


# Genuine files.


@pytest.mark.packs
@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_genuine_files(case: Path) -> None:
    path, reported = expectation(case)
    with persist.open(path) as file:
        assert file.format == format_of(reported)
        for name, expected in reported["arrays"].items():
            array = file.arrays[name]
            assert list(array.shape) == expected["shape"], name
            assert digest(array) == expected["sha256"], name
            if not expected["dtype"].startswith("q"):
                assert array.dtype.name == expected["dtype"], name
        for name, value in reported["scalars"].items():
            if not isinstance(value, dict) and value not in ([], {}):
                found = file.scalars[name]
                found = str(found) if isinstance(found, Global) else plain(found)
                assert found == value or found == {"bytes_hex": value}, name
        json.dumps(file.structure)
        assert file.damage == []


def test_a_suffix_is_never_needed_and_gzip_may_be_around(tmp_path: Path) -> None:
    for number, name in enumerate(("torch-1.6.0-py38-mydict", "torch-1.0.0-py27-mlp-params")):
        data = path_of(name).read_bytes()
        target = tmp_path / f"file{number}"
        target.write_bytes(gzip.compress(data))
        assert list(persist.open(target).arrays) == list(persist.open(data).arrays)


def test_views_of_one_storage_share_the_memory_of_the_map() -> None:
    with persist.open(path_of("torch-1.6.0-py38-dtypes-views")) as file:
        names = ("base", "t", "diag", "tail")
        arrays = [np.asarray(file.arrays[name]) for name in names]
        assert all(np.shares_memory(arrays[0], array) for array in arrays[1:])
    with persist.open(path_of("torch-0.1-layout-tar-state-dict")) as file:
        tied, weight = file.tree["state_dict"]["tied"], file.tree["state_dict"]["classifier.weight"]
        assert np.shares_memory(tied.read(), weight.read())


def test_structure_tells_modules_classes_sources_and_versions() -> None:
    with persist.open(path_of("torch-1.0.0-py27-whole-module")) as file:
        reported = file.structure
    assert reported["modules"][""]["class"] == "oldnets.LeNetish"
    assert reported["modules"]["features/0"]["attributes"]["kernel_size"] == [3, 3]
    assert "réseau" in reported["sources"]["oldnets.LeNetish"]["source"]
    assert reported["tensors"]["features/0/weight"]["is_parameter"]
    with persist.open(path_of("torch-1.4.0-py36-dqn-state-dict")) as file:
        assert file.structure["state_dict_metadata"][""]["bn1"] == {"version": 2}
    with persist.open(path_of("torch-1.6.0-py38-whole-module-main")) as file:
        assert ["tied", "heads/fine/weight"] in file.structure["shared_storage"]
    with persist.open(path_of("torch-1.12.1-py37-checkpoint-cuda-tag")) as file:
        assert file.structure["tensors"]["model/module.head.bias"]["location"] == "cuda:0"


@pytest.mark.parametrize(
    "name", ["torch-1.0.0-py27-torchscript", "torch-1.4.0-py36-torchscript"], ids=str
)
def test_the_code_of_torchscript_is_shown(name: str) -> None:
    with persist.open(path_of(name)) as file:
        assert any("def forward" in text for text in file.structure["code"].values())


def test_opening_an_archive_reads_its_pickle_and_nothing_of_the_tensors() -> None:
    out = io.BytesIO()
    tree = {f"w{number}": np.full(1 << 18, number, "f4") for number in range(8)}
    ZipReader().write(tree, out)
    data = out.getvalue()

    class Counting(io.RawIOBase):
        count = 0

        def __init__(self) -> None:
            self.inner = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.inner.seek(offset, whence)

        def tell(self) -> int:
            return self.inner.tell()

        def read(self, length: int = -1) -> bytes:
            part = self.inner.read(length)
            Counting.count += len(part)
            return part

    with persist.open(Counting()) as file:
        assert len(file.arrays) == 8
        assert Counting.count < 600_000  # of 8 MiB
        assert float(np.asarray(file.arrays["w3"])[17]) == 3.0
        assert Counting.count < 1_800_000


# Files laid out by hand, after the writer's source.


def pickled(value: Any, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


def storage_id(cls: str, key: str, count: int, *more: Any, location: str = "cpu") -> PersistentRef:
    return PersistentRef(("storage", Global("torch", cls), key, location, count, *more))


def tensor_of(storage: Any, offset: int, shape: Any, strides: Any) -> Record:
    maker = Global("torch._utils", "_rebuild_tensor_v2")
    args = (storage, offset, shape, strides, False, OrderedDict())
    return Record(maker, maker=maker, kind="reduce", args=args)


def legacy(tree: Any, storages: dict[str, tuple[int, bytes]], version: int = 1001) -> bytes:
    parts = [0x1950A86A20F9469CFC6C, version, {"little_endian": True}, tree, list(storages)]
    data = b"".join(map(pickled, parts))
    for count, raw in storages.values():
        data += count.to_bytes(8, "little", signed=True) + raw
    return data


def archive(tree: Any, members: dict[str, bytes], folder: str = "archive/") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in {"data.pkl": pickled(tree), "version": b"3\n", **members}.items():
            file.writestr(f"{folder}{name}", data)
    return out.getvalue()


FOUR = np.arange(4, dtype="<f4").tobytes()
ONE = tensor_of(storage_id("FloatStorage", "5", 4, None), 1, (3,), (1,))


def test_a_view_of_a_storage_counts_its_offset_inside_the_view() -> None:
    part = storage_id("FloatStorage", "5", 4, ("6", 1, 3))
    data = legacy(
        {"part": tensor_of(part, 1, (2,), (1,)), "all": ONE, "bare": part}, {"5": (4, FOUR)}
    )
    with persist.open(data) as file:
        assert file.format == "torch-legacy"
        assert np.asarray(file.arrays["part"]).tolist() == [2, 3]
        assert np.asarray(file.arrays["bare"]).tolist() == [1, 2, 3]
        assert np.shares_memory(file.arrays["part"], file.arrays["all"])


def test_one_storage_named_first_as_bytes_and_then_as_numbers() -> None:
    as_bytes = PersistentRef(
        ("storage", Global("torch.storage", "UntypedStorage"), "5", "cpu", 16, None)
    )
    data = legacy([as_bytes, ONE], {"5": (16, FOUR)})
    with persist.open(data) as file:
        assert file.arrays["0"].dtype == np.uint8
        assert np.asarray(file.arrays["1"]).tolist() == [1, 2, 3]


def test_protocol_0_says_the_identity_of_a_storage_as_text() -> None:
    said = PersistentRef("('storage', <class 'torch.FloatStorage'>, '5', 'cpu', 4, None)")
    parts = [0x1950A86A20F9469CFC6C, 1001, {}]
    data = b"".join(pickled(part, 0) for part in parts)
    data += pickled(tensor_of(said, 0, (2, 2), (2, 1)), 0) + pickled(["5"], 0)
    with persist.open(data + (4).to_bytes(8, "little") + FOUR) as file:
        assert file.format == "torch-legacy"
        assert np.asarray(file.arrays[""]).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (legacy(ONE, {"5": (4, FOUR)}, 1002), "version 1002"),
        (legacy(ONE, {"5": (4, FOUR[:-1])}), "16 bytes are claimed"),
        (legacy(ONE, {"5": (5, FOUR + FOUR)}), "a count of 5"),
        (legacy(ONE, {"5": (-4, FOUR)}), "a count of -4"),
        (legacy(ONE, {"9": (4, FOUR)}), "no tensor named it"),
        (legacy(ONE, {}), "storage '5' is not in the file"),
        (
            legacy(tensor_of(storage_id("FooStorage", "5", 4, None), 0, (1,), (1,)), {}),
            "FooStorage",
        ),
        (legacy(tensor_of(storage_id("FloatStorage", "5", -4, None), 0, (1,), (1,)), {}), "-4"),
        (
            legacy(tensor_of(storage_id("FloatStorage", "5", 4, ("6", 2, 3)), 0, (1,), (1,)), {}),
            "a part of storage '5'",
        ),
        (archive(ONE, {}), "storage '5' is not in the archive"),
        (archive(ONE, {"data/5": FOUR[:-1]}), "has 15 bytes, where 16 bytes"),
        (
            archive(tensor_of(storage_id("FloatStorage", "5", 4), 2, (3,), (1,)), {"data/5": FOUR}),
            "does not lie within",
        ),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_lies_is_refused_with_the_place(data: bytes, said: str) -> None:
    with pytest.raises(DamagedFileError) as caught:
        persist.open(data)
    assert said in str(caught.value)


def test_salvage_gives_what_is_whole() -> None:
    other = tensor_of(storage_id("FloatStorage", "7", 4, None), 0, (4,), (1,))
    data = legacy({"a": ONE, "b": other}, {"5": (4, FOUR), "7": (4, FOUR)})[:-2]
    with persist.open(data, salvage=True) as file:
        assert len(file.damage) == 1
        assert np.asarray(file.arrays["a"]).tolist() == [1, 2, 3]
        with pytest.raises(DamagedFileError, match="storage '7'"):
            np.asarray(file.arrays["b"])
    with persist.open(archive({"a": ONE, "b": 3}, {}), salvage=True) as file:
        assert file.scalars["b"] == 3
        assert "storage '5' is not in the archive" in file.damage[0]


@pytest.mark.parametrize("folder", ["archive/", "a b=1-ü/", ""], ids=["usual", "odd", "none"])
@pytest.mark.parametrize("where", ["data/", "tensors/"])
def test_any_folder_in_the_archive(folder: str, where: str) -> None:
    with persist.open(archive(ONE, {f"{where}5": FOUR}, folder)) as file:
        assert file.format == "torch-zip"
        assert np.asarray(file.arrays[""]).tolist() == [1, 2, 3]


def test_a_big_endian_archive() -> None:
    pair = tensor_of(storage_id("ComplexFloatStorage", "1", 2), 0, (2,), (1,))
    members = {
        "byteorder": b"big",
        "data/5": np.arange(4, dtype=">f4").tobytes(),
        "data/1": np.array([1 + 2j, 3 - 4j], ">c8").tobytes(),
    }
    with persist.open(archive({"a": ONE, "c": pair}, members)) as file:
        assert np.asarray(file.arrays["a"]).tolist() == [1, 2, 3]
        assert np.asarray(file.arrays["c"]).tolist() == [1 + 2j, 3 - 4j]
        out = io.BytesIO()
        ZipReader().write(file.tree, out)
    with persist.open(out.getvalue()) as file:
        assert file.structure["records"]["byteorder"] == "little"
        assert file.arrays["a"].dtype == np.dtype("<f4")
        assert np.asarray(file.arrays["c"]).tolist() == [1 + 2j, 3 - 4j]


def test_tensors_on_the_meta_device_have_no_data_and_are_zeros_here() -> None:
    there = tensor_of(storage_id("FloatStorage", "5", 4, location="meta"), 0, (2, 2), (2, 1))
    with persist.open(archive(there, {})) as file:
        assert np.asarray(file.arrays[""]).tolist() == [[0, 0], [0, 0]]


def test_an_altered_member_is_found_where_checking_is_asked_for() -> None:
    data = bytearray(archive(ONE, {"data/5": FOUR}))
    at = data.index(FOUR)
    data[at] ^= 1
    with pytest.raises(DamagedFileError, match="CRC"):
        persist.open(bytes(data), verify="always")
    with persist.open(bytes(data), verify="lazy") as file, pytest.raises(DamagedFileError):
        np.asarray(file.arrays[""])


def test_tensors_as_keys_are_no_crash() -> None:
    memory = {"state": Record("torch.optim.Adam", {"state": {}}), "list": [ONE]}
    with persist.open(archive(memory, {"data/5": FOUR})) as file:
        tensor = file.tree["list"][0]
        assert {tensor: 1}[tensor] == 1


def test_a_persistent_identity_of_another_kind_is_left_alone() -> None:
    tree = {"a": ONE, "b": PersistentRef(("elsewhere", 1)), "c": PersistentRef(())}
    with persist.open(archive(tree, {"data/5": FOUR})) as file:
        assert list(file.arrays) == ["a"]
        assert isinstance(file.tree["b"], PersistentRef)


# TorchScript, laid out by hand.


def test_model_json_with_attributes() -> None:
    model = {
        "mainModule": {
            "name": "net",
            "attributes": [{"name": "n", "id": "0"}, {"name": "t", "id": "1"}],
            "parameters": [{"name": "w", "tensorId": "0"}],
            "submodules": [{"name": "sub", "parameters": [{"name": "b", "isBuffer": True}]}],
        },
        "producerVersion": "1.2",
        "tensors": [
            {
                "dims": ["2", "2"],
                "strides": ["1", "2"],
                "offset": "0",
                "dataType": "FLOAT",
                "data": {"key": "tensors/0"},
            }
        ],
    }
    by_number = Global("torch.jit._pickle", "build_tensor_from_id")
    attributes = [7, Record(by_number, maker=by_number, kind="reduce", args=(0,))]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("net/version", "1\n")
        file.writestr("net/model.json", json.dumps(model))
        file.writestr("net/attributes.pkl", pickled(attributes))
        file.writestr("net/tensors/0", FOUR)
    with persist.open(out.getvalue()) as opened:
        assert opened.format == "torchscript"
        assert opened.writer == {"torch": "1.2"}
        assert opened.scalars["n"] == 7
        for name in ("w", "t", "sub/b"):
            assert np.asarray(opened.arrays[name]).tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mainModule": 3}', "[" * 100_000], ids=len)
def test_model_json_that_tells_nothing(text: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("net/version", "1\n")
        file.writestr("net/model.json", text)
    with pytest.raises(DamagedFileError):
        persist.open(out.getvalue())


def test_tensors_in_the_constants_of_a_frozen_module_are_found() -> None:
    module = Record("__torch__.Net", {"training": False}, kind="newobj")
    constants = (tensor_of(storage_id("FloatStorage", "0", 4), 0, (4,), (1,)),)
    members = {"constants.pkl": pickled(constants), "constants/0": FOUR, "extra/note": b"hello"}
    with persist.open(archive(module, members)) as file:
        assert file.format == "torchscript"
        assert np.asarray(file.arrays["constants/0"]).tolist() == [0, 1, 2, 3]
        assert file.structure["extra"] == {"note": "hello"}


# The writer.


def written(tree: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    ZipReader().write(tree, out, **options)
    return out.getvalue()


ARRAYS = hnp.arrays(
    st.sampled_from(["f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u8", "?", "c8", ">i4"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | ARRAYS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3)
    | st.tuples(below, below),
    max_leaves=8,
)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        other = np.asarray(other)
        kind = one.dtype.newbyteorder("=")
        return other.dtype == kind and np.array_equal(one, other, equal_nan=kind.kind in "fc")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(PLAIN)
def test_what_is_written_is_read_again(tree: Any) -> None:
    with persist.open(written(tree)) as file:
        assert file.format == "torch-zip"
        assert same(tree, file.tree)


def test_arrays_that_share_memory_share_a_storage() -> None:
    base = np.arange(24, dtype="f4").reshape(4, 6)
    tree = {
        "base": base,
        "t": base.T,
        "tail": base[2:, 1:],
        "bits": base.view("i4")[1],
        "row": np.broadcast_to(base[0], (3, 6)),
        "back": base[::-1],
        "again": base,
    }
    data = written(tree)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        sizes = [item.file_size for item in file.infolist() if "/data/" in item.filename]
    assert sorted(sizes) == [96, 96]  # all in one, but what runs backwards
    with persist.open(data) as file:
        for name, array in tree.items():
            np.testing.assert_array_equal(file.arrays[name], array)
        base = np.asarray(file.arrays["base"])
        for name in ("t", "tail", "bits", "row", "again"):
            assert np.shares_memory(base, file.arrays[name]), name
        assert file.tree["base"] is file.tree["again"]


def test_a_small_part_of_a_large_array_is_written_alone() -> None:
    large = np.zeros(1_000_000)
    assert len(written({"a": large[5:8]})) < 2000
    assert len(written({"a": large[5:8], "b": large[-3:]})) < 2000


def test_the_data_of_a_tensor_begins_at_a_multiple_of_64() -> None:
    data = written({"a": np.full(5, 7, "u1"), "b": np.full(9, 8, "u1"), "long-name" * 9: 1})
    assert data.index(b"\7" * 5) % 64 == 0
    assert data.index(b"\x08" * 9) % 64 == 0
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None


@pytest.mark.extra("ml_dtypes")
@pytest.mark.parametrize(
    "name",
    [case.name for case in CASES if not {"module", "modules", "classes", "cuda", "variables"} & set(case.name.split("-"))
     and not {"script", "torchscript", "mobile", "flatbuffer"} & set(case.name.split("-"))
     and not {"export", "package", "distributed", "shards", "dqn", "gz"} & set(case.name.split("-"))],
)  # fmt: skip
def test_tensors_of_a_file_are_written_as_they_are(name: str) -> None:
    with persist.open(path_of(name)) as old, persist.open(written(old.tree)) as new:
        assert list(new.arrays) == list(old.arrays)
        for path, array in old.arrays.items():
            assert digest(new.arrays[path]) == digest(array), path
            assert new.arrays[path].shape == array.shape
        reported = [file.structure.get("shared_storage") for file in (old, new)]
        assert reported[0] == reported[1]
        kinds = [
            {path: facts["kind"] for path, facts in file.structure["tensors"].items()}
            for file in (old, new)
        ]
        assert kinds[0].items() <= kinds[1].items()  # NumPy's arrays are tensors, too


def test_parameters_and_versions_travel() -> None:
    with persist.open(path_of("torch-1.0.0-py27-kitchen-sink")) as file:
        tree = {"param": file.tree["param"], "leaf": file.tree["leaf"]}
    state = OrderedDict(w=np.ones(2))
    vars(state)["_metadata"] = OrderedDict({"": {"version": 1}})
    with persist.open(written({**tree, "state": state, "n": Counter("aab")})) as file:
        assert file.tree["param"].is_parameter
        assert file.tree["leaf"].requires_grad
        assert not file.tree["leaf"].is_parameter
        assert vars(file.tree["state"])["_metadata"] == {"": {"version": 1}}
        assert file.tree["n"] == Counter("aab")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Record("lab.Net", {}), "lab.Net"),
        (frozenset((1,)), "frozenset"),
        (np.array(["a"]), "no dtype for <U1"),
        (np.array([None]), "no dtype for object"),
        (np.zeros(1, "M8[s]"), "no dtype for datetime64"),
        (Global("os", "system"), "os.system"),
        (1 << 5000, "5,001 bits"),
        (np.datetime64("2020-01-01"), "datetime64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_torch_would_refuse_is_refused_with_its_path(value: Any, said: str) -> None:
    with pytest.raises(FormatError) as caught:
        written({"a": [1, {"b": value}]})
    assert said in str(caught.value)
    assert "'a/1/b'" in str(caught.value)


def test_saving_by_the_name_of_the_format(tmp_path: Path) -> None:
    target = tmp_path / "x.pt"
    persist.save({"w": np.ones((2, 3), "f4"), "epoch": 3}, target, format="torch")
    with persist.open(target) as file:
        assert isinstance(file.tree["w"], Tensor)
        assert file.tree == {"w": file.tree["w"], "epoch": 3}
    with pytest.raises(FormatError, match="torch"):
        persist.save({}, tmp_path / "y.pt")
    with pytest.raises(FormatError, match="compress"):
        persist.save({}, target, format="torch", compress="zstd")


def test_a_bare_storage_is_one() -> None:
    with persist.open(path_of("torch-1.0.0-py27-kitchen-sink")) as file:
        storage = file.tree["storage"]
    assert isinstance(storage, Storage)
    with persist.open(written([storage])) as file:
        assert isinstance(file.tree[0], Storage)
        np.testing.assert_array_equal(file.tree[0], storage)


@pytest.mark.parametrize("has_descriptors", [False, True])
def test_salvage_of_an_archive_that_breaks_off(has_descriptors: bool) -> None:
    """As torch writes it: the pickle first, then storages, each with its sizes behind it."""
    tree = {f"layer{index}": np.full(300, index, "f4") for index in range(6)}
    out = io.BytesIO()
    persist.save(tree, out, format="torch")
    data = out.getvalue()
    if has_descriptors:

        class Stream(io.RawIOBase):
            made = b""

            def writable(self) -> bool:
                return True

            def write(self, part: Any) -> int:
                self.made += bytes(part)
                return len(part)

        stream = Stream()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
            for name in old.namelist():
                new.writestr(zipfile.ZipInfo(name), old.read(name))
        data = stream.made
    cut = data[: len(data) * 6 // 10]
    with pytest.raises(DamagedFileError, match="no directory at its end.*salvage=True"):
        persist.open(cut)
    with persist.open(cut, salvage=True) as file:
        assert file.format == "torch-zip"
        assert "members are whole and given" in file.damage[0]
        whole = []
        for name, array in file.arrays.items():
            try:
                values = np.asarray(array)
            except DamagedFileError:
                continue
            assert np.array_equal(values, tree[name])
            whole.append(name)
        assert whole in (["layer0", "layer1"], ["layer0", "layer1", "layer2"])
        assert len(file.damage) == 1 + 6 - len(whole)

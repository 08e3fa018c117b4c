"""MXNet: genuine files of 0.9.5 to 1.9.1, every layout laid by hand, and what is broken."""

from __future__ import annotations

import hashlib
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
from persist.errors import DamagedFileError, FormatError, LimitError

CORPUS = Path(__file__).parents[1] / "corpus" / "mxnet"
CASES = sorted(path for path in CORPUS.iterdir() if (path / "expected.json").exists())
# Records of MXNet's classes, which its pack looks through.
SEEN_THROUGH = ("sparse", "trainer", "pickle")
MARKED = [
    pytest.param(
        case,
        marks=[pytest.mark.packs] if any(word in case.name for word in SEEN_THROUGH) else [],
        id=case.name,
    )
    for case in CASES
]
MODULE = CORPUS / "mxnet-0.9.5.post2-py27-module-checkpoint"
SERIES = CORPUS / "made-1.9.1-py38-module-series"

MAGIC = struct.pack("<QQ", 0x112, 0)
CPU = struct.pack("<ii", 1, 0)


def shape(*extents: int) -> bytes:
    return struct.pack(f"<i{len(extents)}q", len(extents), *extents)


def dense(array: np.ndarray[Any, Any], magic: int = 0xF993FAC9, flag: int = 0) -> bytes:
    """One dense array in the layout that goes by the magic; 0 is the one without."""
    if magic == 0:
        head = struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
    else:
        stype = b"" if magic == 0xF993FAC8 else struct.pack("<i", 0)
        head = struct.pack("<I", magic) + stype + shape(*array.shape)
    return head + CPU + struct.pack("<i", flag) + array.tobytes()


def listed(*arrays: bytes, names: tuple[bytes, ...] = ()) -> bytes:
    reported = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    count = struct.pack("<Q", len(arrays))
    return MAGIC + count + b"".join(arrays) + struct.pack("<Q", len(names)) + reported


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("case", MARKED)
def test_genuine_files(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text())
    with persist.open(case / expected["file"]) as file:
        assert file.damage == []
        for name, reported in expected["arrays"].items():
            array = np.asarray(file.arrays[name])
            assert (array.dtype.name, list(array.shape)) == (reported["dtype"], reported["shape"])
            assert digest(array) == reported["sha256"]
            for part, inner in reported.get("parts", {}).items():
                assert digest(np.asarray(file.arrays[f"{name}/{part}"])) == inner["sha256"]
        more = {name for name in file.arrays if name not in expected["arrays"]}
        assert all("/" in name for name in more)


@pytest.mark.parametrize("magic", [0, 0xF993FAC8, 0xF993FAC9, 0xF993FACA])
@pytest.mark.parametrize(
    ("flag", "dtype"),
    list(enumerate(("f4", "f8", "f2", "u1", "i4", "i1", "i8", "?", "i2", "u2", "u4", "u8"))),
)
def test_every_layout_and_type(magic: int, flag: int, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    with persist.open(listed(dense(array, magic, flag), names=(b"a",))) as file:
        found = np.asarray(file.arrays["a"])
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


@pytest.mark.extra("ml_dtypes")
def test_bfloat16() -> None:
    bits = np.array([0x3F80, 0xC000], "u2")
    with persist.open(listed(dense(bits, flag=12))) as file:
        assert file.arrays["0"].dtype.name == "bfloat16"
        assert np.asarray(file.arrays["0"]).astype("f4").tolist() == [1, -2]


def test_arrays_are_views_into_the_map() -> None:
    with persist.open(MODULE / "mlp-0001.params") as file:
        array = file.arrays["arg:fc1_weight"]
        assert isinstance(array, np.ndarray)
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_no_dimensions_is_no_array_before_v3_and_a_scalar_in_it() -> None:
    none = [struct.pack("<I", 0), struct.pack("<Ii", 0xF993FAC8, 0)]
    none.append(struct.pack("<Iii", 0xF993FAC9, 0, 0))
    none.append(struct.pack("<Iii", 0xF993FACA, 0, -1))
    none.append(struct.pack("<Iii", 0xF993FACA, 0, 2) + struct.pack("<qq", 3, -1))
    scalar = dense(np.array(7, "f4"), 0xF993FACA)
    with persist.open(listed(*none, scalar, dense(np.zeros((0, 2), "f4"), 0xF993FACA))) as file:
        assert file.tree[:5] == [None] * 5
        assert file.arrays["5"].shape == ()
        assert float(file.arrays["5"]) == 7
        assert file.arrays["6"].shape == (0, 2)


def test_two_arrays_of_one_name_are_both_kept() -> None:
    one, two = dense(np.ones(1, "f4")), dense(np.zeros(2, "f4"))
    with persist.open(listed(one, two, names=(b"x", b"x"))) as file:
        assert file.arrays["x"].shape == (1,)
        assert file.arrays["x~2"].shape == (2,)


def test_bytes_behind_the_names_are_reported() -> None:
    with persist.open(listed(dense(np.ones(1, "f4"))) + b"abc") as file:
        assert file.damage == ["3 bytes follow the names, at offset 68"]


def sparse(stype: int, extents: tuple[int, ...], data: Any, *aux: Any) -> bytes:
    reported = b"".join(struct.pack("<i", 6) + shape(*part.shape) for part in aux)
    head = struct.pack("<Ii", 0xF993FAC9, stype) + shape(*data.shape) + shape(*extents)
    body = data.tobytes() + b"".join(part.tobytes() for part in aux)
    return head + CPU + struct.pack("<i", 0) + reported + body


@pytest.mark.packs
@pytest.mark.parametrize(
    ("stype", "extents", "aux"),
    [
        (1, (3, 2), [[0, 3]]),
        (1, (3, 2), [[-1, 0]]),
        (1, (3, 3), [[0, 1]]),
        (2, (2, 3), [[0, 1, 2], [0, 3]]),
        (2, (2, 3), [[0, 2, 1], [0, 1]]),
        (2, (2, 3), [[0, 1, 9], [0, 1]]),
        (2, (2, 3), [[1, 1, 2], [0, 1]]),
        (2, (3, 3), [[0, 1, 2], [0, 1]]),
        (2, (2, 3, 1), [[0, 1, 2], [0, 1]]),
    ],
)
def test_indices_that_point_out_are_refused(
    stype: int, extents: tuple[int, ...], aux: list[list[int]]
) -> None:
    data = np.ones((2, 2) if stype == 1 else 2, "f4")
    array = sparse(stype, extents, data, *(np.array(part, "i8") for part in aux))
    with persist.open(listed(array, names=(b"s",))) as file:
        with pytest.raises(DamagedFileError, match="does not fit its parts"):
            np.asarray(file.arrays["s"])
        assert np.asarray(file.arrays["s/data"]).shape == data.shape


@pytest.mark.packs
def test_a_sparse_array_of_a_giant_shape_costs_nothing_until_it_is_wanted() -> None:
    rows = sparse(1, (1 << 40, 2), np.ones((1, 2), "f4"), np.array([5], "i8"))
    with persist.open(listed(rows, names=(b"s",))) as file:
        assert file.arrays["s"].shape == (1 << 40, 2)
        assert np.asarray(file.arrays["s/indices"]).tolist() == [5]
        with pytest.raises(LimitError):
            np.asarray(file.arrays["s"])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (MAGIC + struct.pack("<Q", 1 << 60), "arrays are claimed"),
        (MAGIC + struct.pack("<Q", 1) + struct.pack("<I", 0xF993FACB) + bytes(40), "dimensions"),
        (listed(struct.pack("<Ii", 0xF993FAC9, 3) + bytes(60)), "storage 3"),
        (listed(struct.pack("<Ii", 0xF993FACA, 1) + bytes(60)), "storage 1"),
        (listed(struct.pack("<Ii", 0xF993FAC8, 99) + bytes(60)), "99 dimensions"),
        (listed(struct.pack("<Iiq", 0xF993FAC8, 1, -5) + bytes(60)), r"shape \[-5\]"),
        (listed(dense(np.ones(2, "f4"), flag=13)), "type flag 13"),
        (listed(struct.pack("<Iiq", 0xF993FAC8, 1, 1 << 40) + bytes(60)), "bytes are claimed"),
        (listed(struct.pack("<Ii3q", 0xF993FAC8, 3, *[1 << 40] * 3) + bytes(60)), "shape"),
        (listed(dense(np.ones(1, "f4")), names=(b"a", b"b")), "2 names are given to 1"),
        (MAGIC + struct.pack("<QQQ", 0, 1, 1 << 50), "names are given|claimed"),
    ],
)
def test_lies_are_reported_with_their_place(data: bytes, what: str) -> None:
    with pytest.raises(DamagedFileError, match=what) as caught:
        persist.open(data)
    assert caught.value.where is not None
    assert "offset" in caught.value.where


@settings(max_examples=examples(200))
@given(st.data())
def test_a_cut_or_changed_file_is_read_or_refused(data: st.DataObject) -> None:
    whole = (CORPUS / "mxnet-1.5.1-py36-nd-sparse" / "sparse.nd").read_bytes()
    changed = bytearray(whole[: data.draw(st.integers(16, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(16, len(changed) - 1)) if len(changed) > 16 else 0] = (
            data.draw(st.integers(0, 255))
        )
    try:
        with persist.open(bytes(changed)) as file:
            for name in file.arrays:
                np.asarray(file.arrays[name])
    except FormatError as error:
        assert error.what


# The symbol next to the arrays.


@pytest.mark.parametrize("name", ["mlp", "mlp-0001.params", "mlp-symbol.json"])
def test_prefix_symbol_and_params_open_together(name: str) -> None:
    expected = json.loads((MODULE / "expected.json").read_text())
    with persist.open(MODULE / name) as file:
        assert file.format == "mxnet"
        assert set(file.arrays) == set(expected["arrays"])
        reported = file.structure
        assert reported["arguments"] == expected["structure"]["arguments"]
        assert reported["aux"] == expected["structure"]["aux"]
        assert reported["files"] == expected["structure"]["files"]
        for node, wanted in zip(
            reported["symbol"]["nodes"], expected["structure"]["symbol"]["nodes"], strict=True
        ):
            assert (node["name"], node["op"]) == (wanted["name"], wanted["op"])
            assert wanted["attrs"].items() <= node["attrs"].items()
        json.dumps(reported)


def test_a_prefix_opens_at_its_last_epoch_or_at_another() -> None:
    with persist.open(SERIES / "run") as last, persist.open(SERIES / "run-0003.params") as third:
        assert last.structure["series"]["steps"] == [1, 2, 3]
        name = "arg:fc_weight"
        assert np.array_equal(last.arrays[name], third.arrays[name])
    with persist.open(SERIES / "run", step=1) as first:
        assert not np.array_equal(first.arrays[name], third.arrays[name])
    with pytest.raises(FormatError, match="no step 7") as caught:
        persist.open(SERIES / "run", step=7)
    assert "1, 2, 3" in caught.value.remedy


def test_the_writer_is_reported_by_the_symbol() -> None:
    with persist.open(SERIES / "run-symbol.json") as file:
        assert file.writer == {"mxnet": "1.9.1"}


def test_a_symbol_alone_is_a_structure(tmp_path: Path) -> None:
    shutil.copy(MODULE / "mlp-symbol.json", tmp_path / "net.json")
    with persist.open(tmp_path / "net.json") as file:
        assert dict(file.arrays) == {}
        assert file.structure["aux"] == ["bn1_moving_mean", "bn1_moving_var"]


def test_a_broken_symbol_next_to_the_arrays_is_reported(tmp_path: Path) -> None:
    shutil.copy(MODULE / "mlp-0001.params", tmp_path)
    text = (MODULE / "mlp-symbol.json").read_text()
    (tmp_path / "mlp-symbol.json").write_text(text[:900])
    with persist.open(tmp_path / "mlp-0001.params") as file:
        assert len(file.arrays) == 8
        assert "symbol was left out" in file.damage[0]
    with pytest.raises(DamagedFileError, match="no JSON"):
        persist.open(tmp_path / "mlp-symbol.json")


def test_mxnet_2_exports_npz_under_the_same_name(tmp_path: Path) -> None:
    shutil.copy(MODULE / "mlp-symbol.json", tmp_path)
    with open(tmp_path / "mlp-0000.params", "wb") as out:
        np.savez(out, **{"arg:fc1_weight": np.ones((2, 3), "f4")})
    for name in ("mlp", "mlp-symbol.json"):
        with persist.open(tmp_path / name) as file:
            assert np.asarray(file.arrays["arg:fc1_weight"]).tolist() == [[1] * 3] * 2
            assert file.structure["symbol"]["nodes"]


# Trainer states.


@pytest.mark.packs
@pytest.mark.parametrize(
    "case", [case for case in CASES if "trainer" in case.name], ids=lambda path: path.name
)
def test_trainer_states_are_named_by_the_parameter(case: Path) -> None:
    with persist.open(case / "trainer.states") as file:
        assert file.format == "mxnet-states"
        assert file.structure["pickle_top"] == "tuple(states, optimizer)"
        reported = file.structure["optimizer"]
        assert reported["class"].startswith("mxnet.optimizer")
        assert reported["lr"] == 0.1
        assert file.scalars["optimizer/lr"] == 0.1
        expected = json.loads((case / "expected.json").read_text())["arrays"]
        own = [name for name in file.arrays if not name.startswith("optimizer/")]
        assert set(own) == set(expected)


def test_python_2_wrote_states_in_protocol_0() -> None:
    with persist.open(CORPUS / "made-1.2.1-py27-trainer-adam" / "trainer.states") as file:
        assert file.writer == {"python": "2"}
        assert file.structure["protocol"] == 0

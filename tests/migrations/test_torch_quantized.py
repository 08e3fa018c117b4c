"""Quantized tensors of torch: shown as integers, used as the numbers that they stand for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main
from persist.errors import FormatError
from persist.tree import Global, Record

# {"weight": torch.quantize_per_tensor([[0.5, -1], [2, 0.25]], 0.25, 0, torch.qint8)}, torch 2.13
FILE = Path(__file__).parents[1] / "cases" / "frameworks" / "quantized.pt"
VALUES = [[0.5, -1.0], [2.0, 0.25]]
ALL = Path(__file__).parents[1] / "corpus" / "torch" / "torch-1.6.0-py38-dtypes-views" / "all.pt"


def saved(value: Any, format: str) -> bytes:
    out = io.BytesIO()
    persist.save(value, out, format=format)
    return out.getvalue()


def test_a_float_array_is_filled_with_the_numbers_and_a_note() -> None:
    target = {"weight": np.zeros((2, 2), "f4")}
    for strict in (True, False):
        target["weight"][...] = 0
        report = persist.restore(FILE, target, strict=strict)
        assert report.is_complete
        assert report.notes == {"weight": "dequantized from qint8"}
        assert target["weight"].tolist() == VALUES


@pytest.mark.parametrize("format", ["persist", "torch", "safetensors", "npz"])
def test_scales_and_zero_points_survive_saving_and_come_back(format: str) -> None:
    with persist.open(FILE) as file:
        data = saved(dict(file.arrays), format)
    for again in (data, saved(dict(persist.open(data).arrays), format)):
        with persist.open(again) as file:
            assert np.asarray(file.arrays["weight"]).tolist() == [[2, -4], [8, 1]]
            names = {*file.arrays, *file.scalars}
            assert {"weight/q_scale", "weight/q_zero_point"} <= names
        target = {"weight": np.zeros((2, 2), "f4")}
        assert persist.restore(again, target).is_complete
        assert target["weight"].tolist() == VALUES


@pytest.mark.parametrize("ending", ["persist", "safetensors", "npz"])
def test_convert_keeps_what_dequantizes(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"x.{ending}"
    assert main(["convert", str(FILE), "--to", ending, "--out", str(out)]) == 0
    target = {"weight": np.zeros((2, 2), "f4")}
    assert persist.restore(out, target).is_complete
    assert target["weight"].tolist() == VALUES


def test_a_saved_tree_keeps_the_view_of_each_quantized_tensor() -> None:
    with persist.open(ALL) as old, persist.open(saved(old.tree, "persist")) as new:
        for name in ("q", "qc", "qc/q_per_channel_scales", "qc/q_per_channel_zero_points"):
            assert np.array_equal(np.asarray(new.arrays[name]), np.asarray(old.arrays[name])), name
        for name in ("q", "qc"):
            both = [file.arrays[name].dequantized() for file in (old, new)]
            assert both[0].dtype == np.float32
            assert np.array_equal(*both)
            assert new.arrays[name].kind == old.arrays[name].kind
        parts = {name: new.tree[name] for name in ("q", "qc")}
        with persist.open(saved(parts, "torch")) as third:
            assert np.array_equal(third.arrays["qc"].dequantized(), both[1])


def test_structure_and_arrays_name_a_quantized_tensor_alike() -> None:
    with persist.open(ALL) as file:
        reported = file.structure["tensors"]
        assert reported["q"]["kind"] == "qint8"
        assert {"qc", "qc/q_per_channel_scales", "qc/q_per_channel_zero_points"} <= reported.keys()
        assert not any(name.startswith(("q/args", "qc/args")) for name in reported)


def tensor(kind: str, codes: list[int], shape: tuple[int, ...], *quantizer: Any) -> Record:
    names = {"QInt8": "i1", "QUInt8": "u1", "QInt32": "<i4", "QUInt4x2": "u1", "QUInt2x4": "u1"}
    maker, cls = Global("torch._utils", "_rebuild_qtensor"), Global("torch", f"{kind}Storage")
    items = np.array(codes, names[kind])
    storage = Record(cls, maker=cls, kind="reduce", args=(items,))
    scheme = "per_tensor_affine" if len(quantizer) == 2 else "per_channel_affine"
    strides = (shape[1], 1)
    args = (storage, 0, shape, strides, (Global("torch", scheme), *quantizer), False, {})
    return Record(maker, maker=maker, kind="reduce", args=args)


@pytest.mark.parametrize(
    ("record", "values"),
    [
        (tensor("QUInt8", [0, 255], (1, 2), 0.5, 128), [[-64.0, 63.5]]),
        (tensor("QInt8", [-128, 127], (1, 2), 0.5, -1), [[-63.5, 64.0]]),
        (tensor("QInt32", [-(2**31), 7], (1, 2), 2.0, 3), [[-(2.0**32), 8.0]]),
        (tensor("QInt8", [1, 2, 3, 4], (2, 2), np.array([0.5, 2.0]), np.array([0, 1]), 0),
         [[0.5, 1.0], [4.0, 6.0]]),
        (tensor("QInt8", [1, 2, 3, 4], (2, 2), np.array([0.5, 2.0]), np.array([0, 1]), 1),
         [[0.5, 2.0], [1.5, 6.0]]),
        (tensor("QUInt4x2", [0x21, 0x43], (2, 2), np.array([1.0, 2.0], "f4"),
                np.array([0.5, 1.0], "f4"), 0), [[0.5, 1.5], [4.0, 6.0]]),
        (tensor("QUInt2x4", [0b11100100], (2, 2), np.array([1.0, 2.0], "f4"),
                np.array([0.0, 1.0], "f4"), 0), [[0.0, 1.0], [2.0, 4.0]]),
    ],
)  # fmt: skip
def test_every_kind_is_dequantized(record: Record, values: Any) -> None:
    target = {"t": np.zeros((len(values), 2), "f4")}
    for data in (saved({"t": record}, "persist"), saved({"t": record}, "torch")):
        report = persist.restore(data, target)
        assert report.is_complete
        assert "dequantized" in report.notes["t"]
        assert target["t"].tolist() == values


def test_elements_that_share_a_byte_are_refused_where_the_file_could_not_tell() -> None:
    parts = (np.ones(2, "f4"), np.zeros(2, "f4"), 0)
    with persist.open(
        saved({"t": tensor("QUInt4x2", [0x21, 0x43], (2, 2), *parts)}, "persist")
    ) as file:
        with pytest.raises(FormatError, match=r"dequantized\(\)"):
            saved(dict(file.arrays), "safetensors")
        made = saved({"t": file.arrays["t"].dequantized()}, "safetensors")  # the error's advice
    assert persist.open(made).arrays["t"].tolist() == [[1.0, 2.0], [3.0, 4.0]]

"""Quantized tensors of a genuine torch: saved, read, and given back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch")
WEIGHT = [[0.5, -1.0, 0.1], [2.0, 0.25, -0.3]]


def tensors() -> dict[str, Any]:
    weight, scales = torch.tensor(WEIGHT), torch.tensor([0.03, 0.2], dtype=torch.float64)
    made = {
        str(dtype): torch.quantize_per_tensor(weight, 0.027, 3, dtype)
        for dtype in (torch.qint8, torch.quint8, torch.qint32)
    }
    zeros = torch.tensor([1, 2])
    made["rows"] = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    columns = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    zeros = torch.tensor([0, 1, 2])
    made["columns"] = torch.quantize_per_channel(weight, columns, zeros, 1, torch.quint8)
    floats = (torch.tensor([0.3, 0.4]), torch.tensor([0.5, 1.0]))
    made["four"] = torch.quantize_per_channel(weight, *floats, 0, torch.quint4x2)
    return made


@pytest.mark.parametrize("how", ["torch.save", "persist", "torch", "tree"])
def test_the_numbers_are_those_of_torch(how: str) -> None:
    made, out = tensors(), io.BytesIO()
    if how in ("torch.save", "tree"):
        torch.save(made, out)
    else:
        persist.save(made, out, format=how)
    data = out.getvalue()
    if how == "tree":
        out = io.BytesIO()
        persist.save(persist.open(data).tree, out)
        data = out.getvalue()
    with persist.open(data) as file:
        for name, tensor in made.items():
            # torch fuses the multiplication where the machine can: a last bit may differ
            numbers = tensor.dequantize().numpy()
            np.testing.assert_allclose(file.arrays[name].dequantized(), numbers, 1e-6, 1e-6, name)
    given = persist.open(data, arrays="torch").arrays
    for name, tensor in made.items():
        if name != "four":
            assert given[name].dtype == tensor.dtype
            assert torch.equal(given[name].int_repr(), tensor.int_repr())
            assert given[name].qscheme() == tensor.qscheme()
        assert torch.allclose(given[name].dequantize(), tensor.dequantize())


def test_what_is_written_is_read_by_torch() -> None:
    made, out = tensors(), io.BytesIO()
    del made["four"]
    persist.save(made, out, format="torch")
    again = torch.load(io.BytesIO(out.getvalue()), weights_only=True)
    for name, tensor in made.items():
        assert torch.equal(again[name].int_repr(), tensor.int_repr())
        assert torch.equal(again[name].dequantize(), tensor.dequantize())


def test_a_layer_takes_the_numbers() -> None:
    out = io.BytesIO()
    torch.save({"weight": tensors()["rows"]}, out)
    layer = torch.nn.Linear(3, 2, bias=False)
    report = persist.restore(out.getvalue(), layer)
    assert report.is_complete
    assert report.notes == {"weight": "dequantized from qint8"}
    assert torch.allclose(layer.weight.detach(), tensors()["rows"].dequantize())

"""With a genuine torch: what it writes opens here, what is written here loads there."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]  # torch warns of itself

torch = pytest.importorskip("torch")

KINDS = [
    "float16", "float32", "float64", "bfloat16", "uint8", "uint16", "uint32", "uint64", "int8",
    "int16", "int32", "int64", "bool", "complex32", "complex64", "complex128", "float8_e4m3fn",
    "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
]  # fmt: skip


def filled(kind: str) -> Any:
    dtype = getattr(torch, kind)
    bits = torch.arange(1, 1 + 6 * dtype.itemsize, dtype=torch.uint8)
    if kind == "bool":
        bits = bits % 2
    return bits.view(dtype).reshape(2, 3)


def bits_of(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        value = value.detach().resolve_conj().resolve_neg().contiguous()
        return value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
    return np.ascontiguousarray(np.asarray(value)).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])
def test_every_dtype_from_torch(kind: str, new: bool) -> None:
    tensor = filled(kind)
    out = io.BytesIO()
    state = {"t": tensor, "view": tensor.t(), "row": tensor[1]}
    torch.save(state, out, _use_new_zipfile_serialization=new)
    with persist.open(out.getvalue()) as file:
        for name, value in state.items():
            assert bits_of(file.arrays[name]) == bits_of(value)
            assert file.arrays[name].shape == tuple(value.shape)
            assert file.tree[name].kind == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mmap", [True, False])
def test_every_dtype_to_torch(kind: str, mmap: bool, tmp_path: Path) -> None:
    tensor = filled(kind)
    out = io.BytesIO()
    torch.save({"t": tensor, "view": tensor.t(), "p": torch.nn.Parameter(tensor, False)}, out)
    target = tmp_path / "x.pt"
    with persist.open(out.getvalue()) as file:
        persist.save(file.tree, target, format="torch")
    loaded = torch.load(target, weights_only=True, mmap=mmap)
    assert loaded["t"].dtype == tensor.dtype
    assert bits_of(loaded["t"]) == bits_of(tensor)
    assert loaded["view"].stride() == tensor.t().stride()
    assert loaded["view"].data_ptr() == loaded["t"].data_ptr()
    assert isinstance(loaded["p"], torch.nn.Parameter)


def test_arrays_of_numpy_load_as_tensors_that_share(tmp_path: Path) -> None:
    base = np.arange(24, dtype="f4").reshape(4, 6)
    tree = {
        "base": base, "t": base.T, "tail": base[2:, 1:], "bits": base.view("i4"), "back": base[::-1],
        "wide": np.broadcast_to(base[0], (3, 6)), "big": np.arange(3, dtype=">i4"),
        "plain": [1, 2.5, "é", b"\xff", b"", None, True, (1, (2, 3)), -(2**70), 1 + 2j, {1, 2}],
        "state": OrderedDict(a=np.float64(1.5)), "empty": np.zeros((0, 3)), "zero": np.array(5),
    }  # fmt: skip
    target = tmp_path / "x.pt"
    persist.save(tree, target, format="torch")
    loaded = torch.load(target, weights_only=True)
    for name in ("base", "t", "tail", "bits", "back", "wide", "big", "empty", "zero"):
        np.testing.assert_array_equal(loaded[name].numpy(), tree[name])
    assert loaded["plain"] == tree["plain"]
    assert loaded["state"] == {"a": 1.5}
    loaded["base"][2, 1] = 99
    assert loaded["t"][1, 2] == 99
    assert loaded["tail"][0, 0] == 99


def test_modules_optimizers_and_odd_tensors(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.GRU(2, 3))
    optimizer = torch.optim.Adam(net[0].parameters())
    net[0](torch.ones(1, 1, 5, 5)).sum().backward()
    optimizer.step()
    dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    tree = {
        "net": net, "optimizer": optimizer, "state": optimizer.state_dict(),
        "coo": dense.to_sparse(), "csr": dense.to_sparse_csr(), "conj": torch.tensor([1 + 2j]).conj(),
    }  # fmt: skip
    target = tmp_path / "x.pt"
    torch.save(tree, target)
    with persist.open(target) as file:
        for name, value in net.state_dict().items():
            assert bits_of(file.arrays[f"net/{name.replace('.', '/')}"]) == bits_of(value)
        assert bits_of(file.arrays["coo/values"]) == bits_of(tree["coo"].coalesce().values())
        assert bits_of(file.arrays["csr/crow_indices"]) == bits_of(tree["csr"].crow_indices())
        assert bits_of(file.arrays["conj"]) == bits_of(tree["conj"])
        moment = optimizer.state_dict()["state"][0]["exp_avg"]
        assert bits_of(file.arrays["state/state/0/exp_avg"]) == bits_of(moment)


@pytest.mark.parametrize("protocol", range(1, 6))
def test_every_protocol(protocol: int) -> None:
    for new in (True, False):
        out = io.BytesIO()
        state = {"x": torch.arange(4), "y": [1]}
        torch.save(state, out, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        with persist.open(out.getvalue()) as file:
            assert np.asarray(file.arrays["x"]).tolist() == [0, 1, 2, 3]
    with persist.open(pickle.dumps(state, protocol)) as file:
        assert np.asarray(file.arrays["x"]).tolist() == [0, 1, 2, 3]


def test_scripted_and_traced_modules(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
    scripted = torch.jit.script(net)
    forms = {
        "script": scripted,
        "trace": torch.jit.trace(net, torch.ones(1, 2)),
        "frozen": torch.jit.freeze(scripted),
    }
    for name, form in forms.items():
        torch.jit.save(form, tmp_path / name, _extra_files={"note": "hello"})
        with persist.open(tmp_path / name) as file:
            assert file.format == "torchscript"
            assert file.structure["extra"]["note"] == "hello"
            found = {bits_of(array) for array in file.arrays.values()}
            assert {bits_of(value) for value in net.state_dict().values()} <= found


def test_arrays_as_tensors_without_a_copy(tmp_path: Path) -> None:
    target = tmp_path / "x.pt"
    base = torch.arange(6.0).reshape(2, 3)
    state = {"base": base, "t": base.t(), "half": base.bfloat16(), "f8": base.to(torch.float8_e5m2)}
    torch.save(state, target)
    with persist.open(target, arrays="torch") as file:
        found = {name: file.arrays[name] for name in state}
    for name, value in state.items():
        assert found[name].dtype == value.dtype
        assert bits_of(found[name]) == bits_of(value)
    assert found["t"].data_ptr() == found["base"].data_ptr()
    found["base"][0, 1] = 99
    assert found["t"][1, 0] == 99
    assert torch.load(target)["base"][0, 1] == 1

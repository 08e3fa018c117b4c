"""`restore` with a genuine torch: its modules take what files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import RestoreError

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

CORPUS = Path(__file__).parents[1] / "corpus"

torch = pytest.importorskip("torch")


class Mlp(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(20, 8)
        self.output = torch.nn.Linear(8, outputs)


def test_a_module_takes_the_weights_of_an_old_file() -> None:
    path = CORPUS / "torch" / "torch-1.0.0-py27-mlp-params" / "mlp.params"
    net = Mlp()
    weight = net.hidden.weight
    report = persist.restore(path, net)
    assert report.is_complete
    assert report.value is net
    assert net.hidden.weight is weight
    assert weight.requires_grad
    for name, array in persist.open(path).arrays.items():
        assert np.array_equal(net.state_dict()[name].numpy(), array)


def test_a_module_takes_the_model_of_a_checkpoint_without_the_optimizer() -> None:
    path = CORPUS / "torch" / "torch-1.4.0-py36-checkpoint" / "checkpoint-3.pth"
    net = Mlp()
    before = net.hidden.weight.detach().clone()
    with pytest.raises(RestoreError, match="model/") as caught:
        persist.restore(path, net)
    assert "match=" in str(caught.value)
    assert torch.equal(net.hidden.weight, before)
    report = persist.restore(path, net, match={r"^model/": "", r"^(?!hidden|output)": None})
    assert report.is_complete
    with persist.open(path) as file:
        assert np.array_equal(net.output.bias.detach().numpy(), file.arrays["model/output.bias"])


def test_a_part_of_a_module() -> None:
    path = CORPUS / "torch" / "torch-1.0.0-py27-mlp-params" / "mlp.params"
    net = Mlp(outputs=3)
    report = persist.restore(path, net, only=["hidden.*"])
    assert sorted(report.filled) == ["hidden.bias", "hidden.weight"]
    with pytest.raises(RestoreError, match="shape"):
        persist.restore(path, net)


def test_buffers_tied_weights_and_counters(tmp_path: Path) -> None:
    class Net(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(5, 4)
            self.norm = torch.nn.BatchNorm1d(4)
            self.head = torch.nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("table", torch.zeros(3, dtype=torch.int64))

    source = Net()
    source.table += torch.arange(3)
    source.norm.running_mean += 2
    state = source.state_dict()
    del state["head.weight"], state["norm.num_batches_tracked"]
    torch.save(state, tmp_path / "old.pt")
    net = Net()
    report = persist.restore(tmp_path / "old.pt", net)
    assert report.filled["head.weight"] == "embed.weight"
    assert "0.4.1" in report.notes["norm.num_batches_tracked"]
    assert net.head.weight is net.embed.weight
    assert net.table.tolist() == [0, 1, 2]
    assert torch.equal(net.norm.running_mean, source.norm.running_mean)
    assert torch.equal(net.embed.weight, source.embed.weight)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64", "float8_e4m3fn"])
def test_a_change_of_precision_is_reported(kind: str, tmp_path: Path) -> None:
    dtype = getattr(torch, kind)
    torch.save({"weight": torch.ones(2, 3).to(dtype)}, tmp_path / "w.pt")
    net = torch.nn.Linear(3, 2, bias=False)
    with pytest.raises(RestoreError, match="precision"):
        persist.restore(tmp_path / "w.pt", net)
    report = persist.restore(tmp_path / "w.pt", net, strict=False)
    assert report.notes == {"weight": f"{kind} became float32"}
    assert net.weight.sum() == 6
    narrow = torch.nn.Linear(3, 2, bias=False)
    narrow.weight = torch.nn.Parameter(torch.zeros(2, 3).to(dtype), requires_grad=False)
    assert persist.restore(tmp_path / "w.pt", narrow).is_complete
    assert torch.equal(narrow.weight.float(), torch.ones(2, 3))


def test_lazy_modules_get_their_shape(tmp_path: Path) -> None:
    persist.save(
        {"weight": np.ones((2, 3), "f4"), "bias": np.ones(2, "f4")}, tmp_path / "a.persist"
    )
    net = torch.nn.LazyLinear(2)
    persist.restore(tmp_path / "a.persist", net)
    assert net.weight.shape == (2, 3)
    assert net.weight.sum() == 6


def test_every_format_fills_a_module(tmp_path: Path) -> None:
    source = {"hidden": {"weight": np.ones((8, 20), "f4"), "bias": np.ones(8, "f4")},
              "output": {"weight": np.ones((10, 8), ">f4"), "bias": np.ones(10, "f4")}}  # fmt: skip
    persist.save(source, tmp_path / "a.persist")
    flat = {f"{a}.{b}": one for a, inner in source.items() for b, one in inner.items()}
    persist.save(flat, tmp_path / "a.safetensors", format="safetensors")
    persist.save(flat, tmp_path / "a.pt", format="torch")
    for path in tmp_path.iterdir():
        net = Mlp()
        assert persist.restore(path, net).is_complete
        assert net.output.weight.sum() == 80


def test_an_optimizer_is_refused_with_what_takes_it() -> None:
    path = CORPUS / "torch" / "torch-1.0.0-py27-mlp-params" / "mlp.params"
    with pytest.raises(RestoreError, match="load_state_dict"):
        persist.restore(path, torch.optim.SGD(Mlp().parameters(), lr=0.1))

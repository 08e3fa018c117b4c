"""Resume a run of torch: bit for bit, after a kill, and when parameters have other names or another order."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import RestoreError

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch")
nn = torch.nn


class Old(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.fc1 = nn.Linear(4, 3)
        self.proj = nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Any) -> Any:
        q, k, v = self.qkv(x).chunk(3, -1)
        return torch.tanh(self.fc1(torch.sigmoid(q * k) * v)) @ self.proj


class Today(persist.Versioned, nn.Module, version=2, schema="runs.Today"):
    """Other names, another order, one tensor split and one transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 2, bias=False)
        self.hidden = nn.Linear(4, 3)
        self.v, self.k, self.q = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Any) -> Any:
        return self.out(torch.tanh(self.hidden(torch.sigmoid(self.q(x) * self.k(x)) * self.v(x))))


persist.migration(
    "runs.Today",
    1,
    persist.ops.split("qkv.*", ("q.*", "k.*", "v.*")),
    persist.ops.rename("fc1.*", "hidden.*"),
    persist.ops.transpose("proj"),
    persist.ops.rename("proj", "out.weight"),
)


def optimizer_of(net: Any, kind: str, named: bool, groups: bool) -> Any:
    parameters: Any = list(net.named_parameters() if named else net.parameters())
    if groups:
        flat = [one for one in parameters if (one[1] if named else one).ndim == 1]
        deep = [one for one in parameters if (one[1] if named else one).ndim > 1]
        parameters = [{"params": deep, "weight_decay": 0.1}, {"params": flat, "lr": 0.05}]
    more = {"momentum": 0.9} if kind == "SGD" else {"amsgrad": True}
    return getattr(torch.optim, kind)(parameters, lr=0.02, **more)


def train(net: Any, optimizer: Any, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        optimizer.zero_grad()
        net(torch.randn(8, 4, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("suffix", [".pt", ".persist"])
@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_an_optimizer_follows_its_parameters(
    kind: str, named: bool, groups: bool, suffix: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = Old()
    optimizer = optimizer_of(net, kind, named, groups)
    train(net, optimizer, 4, 1)
    path = tmp_path / f"run{suffix}"
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, path) if suffix == ".pt" else persist.save(state, path)
    train(net, optimizer, 4, 2)
    today = Today()
    other = optimizer_of(today, kind, named, groups)
    report = persist.restore(path, {"model": today, "optimizer": other})
    assert not [name for name in report.notes if name.startswith("optimizer/")]
    assert [id(one) for group in other.param_groups for one in group["params"]] == [
        id(one)
        for group in optimizer_of(today, kind, False, groups).param_groups
        for one in group["params"]
    ]
    train(today, other, 4, 2)
    x = torch.randn(5, 4)
    torch.testing.assert_close(today(x), net(x))


def test_a_parameter_that_is_new_begins_without_a_state(tmp_path: Path) -> None:
    class Wider(persist.Versioned, nn.Module, version=2, schema="runs.Wider"):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))
            self.fc1 = nn.Linear(2, 2)

    persist.migration("runs.Wider", 1, persist.ops.add("scale", np.ones(2, "f4")))
    net = nn.ModuleDict({"fc1": nn.Linear(2, 2)})
    optimizer = torch.optim.Adam(net.parameters())
    net["fc1"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    persist.save(
        {"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.persist"
    )
    today = Wider()
    other = torch.optim.Adam(today.parameters())
    report = persist.restore(tmp_path / "run.persist", {"model": today, "optimizer": other})
    assert "'scale' is computed by a migration or new" in report.notes["optimizer/state/0"]
    assert today.scale not in other.state
    assert torch.equal(
        other.state[today.fc1.weight]["exp_avg"], optimizer.state[net["fc1"].weight]["exp_avg"]
    )


def test_a_state_that_nobody_can_match_is_refused(tmp_path: Path) -> None:
    net = Old()
    optimizer = torch.optim.SGD(list(net.parameters())[:2], lr=0.1, momentum=0.9)
    persist.save(
        {"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.persist"
    )
    today = Today()
    before = {name: value.clone() for name, value in today.state_dict().items()}
    with pytest.raises(RestoreError, match="cannot be matched with parameters by name"):
        persist.restore(
            tmp_path / "run.persist",
            {
                "model": today,
                "optimizer": torch.optim.SGD(today.parameters(), lr=0.1, momentum=0.9),
            },
        )
    assert all(torch.equal(before[name], value) for name, value in today.state_dict().items())
    with pytest.raises(RestoreError, match="there is nothing at 'scheduler'") as caught:
        persist.restore(tmp_path / "run.persist", {"scheduler": today})
    assert "'model', 'optimizer'" in caught.value.remedy


RUN = """
import random
import sys

import numpy as np
import persist
import torch
from torch import nn

torch.manual_seed(0), np.random.seed(0), random.seed(0)
net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
optimizer = torch.optim.AdamW(net.named_parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
parts = {"model": net, "optimizer": optimizer, "scheduler": scheduler}

with persist.Checkpoints(sys.argv[1], keep_last=2) as runs:
    step = runs.latest() or 0
    if step:
        runs.restore(into=parts)
        dice = runs.restore(at="dice", arrays="torch")
        torch.set_rng_state(dice["torch"])
        np.random.set_state(dice["numpy"])
        random.setstate(dice["python"])
    while step < 60:
        x = torch.randn(16, 3) * random.random() + torch.from_numpy(np.random.randn(16, 3)).float()
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        scheduler.step()
        step += 1
        if step % 5 == 0:
            state = {name: part.state_dict() for name, part in parts.items()}
            state["dice"] = {
                "torch": torch.get_rng_state(),
                "numpy": np.random.get_state(),
                "python": random.getstate(),
            }
            runs.save(step, state)
            print(step, flush=True)
"""


def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, str(tmp_path / "run.py")]
    first = subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    for line in first.stdout:
        if int(line) >= 20:
            first.kill()
            break
    first.stdout.close()
    first.wait()
    for name in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / name)], check=True, stdout=subprocess.DEVNULL)
    killed, whole = (
        persist.Checkpoints(tmp_path / name).restore(60) for name in ("killed", "whole")
    )
    assert all(
        np.array_equal(killed["model"][name], whole["model"][name]) for name in whole["model"]
    )
    assert np.array_equal(killed["dice"]["torch"], whole["dice"]["torch"])
    assert killed["dice"]["python"] == whole["dice"]["python"]
    assert killed["scheduler"] == whole["scheduler"]


def test_a_loader_that_knows_its_place_is_restored(tmp_path: Path) -> None:
    class Loader:
        def __init__(self) -> None:
            self.place = 0

        def state_dict(self) -> dict[str, Any]:
            return {"place": self.place, "seed": random.Random(1).random()}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.place = state["place"]

    loader = Loader()
    loader.place = 7
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    persist.save(
        {"loader": loader.state_dict(), "scaler": scaler.state_dict()}, tmp_path / "run.persist"
    )
    again, other = Loader(), torch.amp.GradScaler("cpu")
    persist.restore(tmp_path / "run.persist", {"loader": again, "scaler": other})
    assert again.place == 7
    assert other.get_scale() == 8.0

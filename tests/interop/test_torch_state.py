"""What torch's own ``load_state_dict`` takes, `restore` takes: modules, optimizers, whole runs."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import RestoreError

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch")
nn = torch.nn


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def run(optimizer: str = "Adam") -> tuple[Any, Any, Any]:
    """A small run of three steps: net, optimizer, scheduler."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    kinds = {"SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "AdamW": {}, "RMSprop": {}}
    steps = getattr(torch.optim, optimizer)(net.parameters(), lr=0.1, **kinds[optimizer])
    schedule = torch.optim.lr_scheduler.StepLR(steps, 2)
    for _ in range(3):
        train(net, steps, schedule)
    return net, steps, schedule


def train(net: Any, optimizer: Any, schedule: Any) -> None:
    optimizer.zero_grad()
    net(torch.rand(4, 2)).square().sum().backward()
    optimizer.step()
    schedule.step()


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


# Real tensors everywhere.


@pytest.mark.parametrize("how", ["tree", "load", "arrays", "checkpoints"])
@pytest.mark.parametrize("format", ["torch.save", "torch", "persist"])
def test_torch_arrays_are_real_tensors(how: str, format: str, tmp_path: Path) -> None:
    net, optimizer, _ = run()
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
    path = tmp_path / "run.pt" if format != "persist" else tmp_path / "run.persist"
    if format == "torch.save":
        torch.save(state, path)
    else:
        persist.save(state, path, format=format)
    if how == "tree":
        found = persist.open(path, arrays="torch").tree
    elif how == "load":
        found = persist.load(path, arrays="torch")
    elif how == "arrays":
        arrays = persist.open(path, arrays="torch").arrays
        assert all(isinstance(array, torch.Tensor) for array in arrays.values())
        return
    else:
        with persist.Checkpoints(tmp_path / "runs") as runs:
            runs.save(1, state)
            found = runs.restore(arrays="torch")
    assert is_same(found["net"], dict(state["net"]))
    fresh = torch.optim.Adam(net.parameters(), amsgrad=True)
    fresh.load_state_dict(found["optimizer"])
    assert is_same(fresh.state_dict(), optimizer.state_dict())
    fresh.step()


def test_tensors_in_a_dict_are_filled_in_place(tmp_path: Path) -> None:
    persist.save({"w": torch.ones(2)}, tmp_path / "x.persist")
    target = {"w": torch.zeros(2)}
    kept = target["w"]
    assert persist.restore(tmp_path / "x.persist", target, arrays="torch").is_complete
    assert kept.tolist() == [1.0, 1.0]


# Optimizers, schedulers, scalers.


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize("format", ["torch.save", "persist"])
def test_a_run_goes_on_bit_for_bit(optimizer: str, format: str, tmp_path: Path) -> None:
    net, steps, schedule = run(optimizer)
    state = {
        "model": net.state_dict(), "optimizer": steps.state_dict(), "schedule": schedule.state_dict(),
        "rng": {"torch": torch.get_rng_state(), "numpy": np.random.get_state(),
                "python": random.getstate()},
    }  # fmt: skip
    path = tmp_path / ("run.pt" if format == "torch.save" else "run.persist")
    torch.save(state, path) if format == "torch.save" else persist.save(state, path)
    for _ in range(3):
        train(net, steps, schedule)
    drawn = np.random.rand(), random.random()

    again, other, plan = run(optimizer)
    for parameter in again.parameters():
        parameter.data.zero_()
    assert persist.restore(path, again, at="model").is_complete
    assert persist.restore(path, other).is_complete
    assert persist.restore(path, plan).is_complete
    rng = persist.load(path, arrays="torch")["rng"]
    torch.set_rng_state(rng["torch"])
    np.random.set_state(persist.load(path)["rng"]["numpy"])
    random.setstate(rng["python"])
    for _ in range(3):
        train(again, other, plan)
    assert is_same(dict(again.state_dict()), dict(net.state_dict()))
    assert is_same(other.state_dict(), steps.state_dict())
    assert plan.get_last_lr() == schedule.get_last_lr()
    assert (np.random.rand(), random.random()) == drawn


def test_a_scaler_is_filled() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    data = saved({"scaler": scaler.state_dict(), "step": 3})
    fresh = torch.amp.GradScaler("cpu")
    assert persist.restore(data, fresh).is_complete
    assert fresh.get_scale() == 8.0


def test_the_state_of_another_optimizer_is_refused_and_nothing_changes() -> None:
    net, adam, _ = run("Adam")
    sgd = torch.optim.SGD(net.parameters(), lr=0.5)
    before = sgd.state_dict()
    with pytest.raises(RestoreError, match="'betas'.*SGD does not know"):
        persist.restore(saved({"opt": adam.state_dict()}), sgd)
    assert is_same(sgd.state_dict(), before)
    other = torch.optim.Adam(nn.Linear(5, 7).parameters(), amsgrad=True)
    with pytest.raises(RestoreError, match="groups of"):
        persist.restore(saved({"opt": adam.state_dict()}), other)
    wide = torch.optim.Adam(nn.Sequential(*(nn.Linear(5, 7) for _ in range(3))).parameters())
    with pytest.raises(RestoreError, match="shape"):
        persist.restore(saved({"opt": adam.state_dict()}), wide)


def test_of_several_states_one_is_chosen_by_the_words_of_the_error() -> None:
    _, one, _ = run("SGD")
    _, other, _ = run("SGD")
    other.param_groups[0]["lr"] = 0.75
    data = saved({"g": one.state_dict(), "d": {"opt": other.state_dict()}})
    _, fresh, _ = run("SGD")
    with pytest.raises(RestoreError) as caught:
        persist.restore(data, fresh)
    paths = re.findall(r"at='([^']+)'", caught.value.remedy or "")
    assert sorted(paths) == ["d/opt", "g"]
    assert persist.restore(data, fresh, at="d/opt").is_complete
    assert fresh.param_groups[0]["lr"] == 0.75


def test_what_the_error_advises_for_other_keys_works() -> None:
    net, sgd, _ = run("SGD")
    data = saved({"mine": {"s": sgd.state_dict()["state"], "g": sgd.state_dict()["param_groups"]}})
    fresh = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    with pytest.raises(RestoreError) as caught:
        persist.restore(data, fresh)
    assert 'persist.open(path, arrays="torch").tree' in (caught.value.remedy or "")
    part = persist.open(data, arrays="torch").tree["mine"]
    fresh.load_state_dict({"state": part["s"], "param_groups": part["g"]})
    fresh.step()


# Modules: what torch takes.


class Counting(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.calls: dict[str, Any] = {"n": 0}

    def get_extra_state(self) -> Any:
        return self.calls

    def set_extra_state(self, state: Any) -> None:
        self.calls = state


@pytest.mark.parametrize("format", ["torch.save", "persist"])
def test_extra_state_is_restored_with_its_tensors(format: str, tmp_path: Path) -> None:
    net, path = (
        nn.Sequential(Counting()),
        tmp_path / ("x.pt" if format == "torch.save" else "x.persist"),
    )
    net[0].calls = {"n": 5, "mean": torch.ones(2), "sizes": (1, 2)}
    torch.save(net.state_dict(), path) if format == "torch.save" else persist.save(
        net.state_dict(), path
    )
    fresh = nn.Sequential(Counting())
    report = persist.restore(path, fresh)
    assert report.is_complete
    assert report.filled["0._extra_state"] == "0._extra_state"
    assert is_same(fresh[0].calls, net[0].calls)
    wrapped = {"model": {f"module.{name}": value for name, value in net.state_dict().items()}}
    other = nn.Sequential(Counting())
    assert persist.restore(saved(wrapped), other, at="model").is_complete
    assert is_same(other[0].calls, net[0].calls)


def test_extra_state_that_is_left_is_reported() -> None:
    net = Counting()
    plain = nn.Module()
    plain.fc = nn.Linear(2, 2)
    with pytest.raises(RestoreError, match="1 unexpected: '_extra_state'"):
        persist.restore(saved(net.state_dict()), plain)
    assert not persist.restore(saved(net.state_dict()), plain, strict=False).is_complete
    with pytest.raises(RestoreError, match="1 missing: '_extra_state'"):
        persist.restore(saved(plain.state_dict()), net)
    assert not persist.restore(saved(plain.state_dict()), net, strict=False).is_complete


def test_quantized_layers_get_their_packed_parameters() -> None:
    torch.backends.quantized.engine = torch.backends.quantized.supported_engines[-1]
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    made = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, torch.qint8)
    fresh = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    fresh = torch.ao.quantization.quantize_dynamic(fresh, {nn.Linear}, torch.qint8)
    report = persist.restore(saved(made.state_dict()), fresh)
    assert report.is_complete
    x = torch.rand(5, 4)
    assert torch.equal(made(x), fresh(x))


def test_weight_norm_of_old_into_that_of_today() -> None:
    old = nn.Sequential(nn.utils.weight_norm(nn.Conv1d(2, 3, 1)))
    fresh = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 1)))
    report = persist.restore(saved(old.state_dict()), fresh)
    assert report.is_complete
    assert report.filled["0.parametrizations.weight.original0"] == "0.weight_g"
    assert "hooks" in report.notes["0.parametrizations.weight.original1"]
    x = torch.rand(1, 2, 4)
    assert torch.allclose(old(x), fresh(x))


class Block(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
    """Version 2 renamed fc and halved the scale, whose name stayed."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(1))

    def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
        if (meta.get("version") or 1) < 2:
            for part in ("weight", "bias"):
                if f"{prefix}fc.{part}" in state:
                    state[f"{prefix}linear.{part}"] = state.pop(f"{prefix}fc.{part}")
            state[f"{prefix}scale"] = state[f"{prefix}scale"] / 2
        super()._load_from_state_dict(state, prefix, meta, *rest)


class OldBlock(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
    def __init__(self, name: str) -> None:
        super().__init__()
        setattr(self, name, nn.Linear(2, 2))
        self.scale = nn.Parameter(torch.full((1,), 4.0))


@pytest.mark.parametrize("name", ["fc", "linear"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_versions_of_modules_are_honoured(name: str, prefix: str) -> None:
    """Also where all names fit, so that nothing but the version says what is to be done."""
    state = nn.Sequential(OldBlock(name)).state_dict()
    if prefix:
        state = nn.DataParallel(nn.Sequential(OldBlock(name))).state_dict()
    fresh = nn.Sequential(Block())
    assert persist.restore(saved(state), fresh).is_complete
    assert fresh[0].scale.tolist() == [2.0]
    assert torch.equal(fresh[0].linear.weight, state[f"{prefix}0.{name}.weight"])
    again = nn.Sequential(Block())  # of today: nothing is halved
    assert persist.restore(saved(fresh.state_dict()), again).is_complete
    assert again[0].scale.tolist() == [2.0]


def test_scalars_of_before_0_4() -> None:
    class Scale(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.t = nn.Parameter(torch.full(shape, 3.0))

    fresh = Scale(())
    fresh.t.data.zero_()
    assert persist.restore(saved(Scale((1,)).state_dict()), fresh).is_complete
    assert fresh.t.item() == 3.0


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_wrappers_change_no_name(prefix: str) -> None:
    net = nn.Linear(2, 2)
    state = {prefix + name: value for name, value in net.state_dict().items()}
    fresh = nn.Linear(2, 2)
    report = persist.restore(saved(state), fresh)
    assert report.is_complete
    assert report.filled["weight"] == f"{prefix}weight"
    assert torch.equal(fresh.weight, net.weight)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_plain_weights_into_a_wrapped_model(wrap: Any) -> None:
    net, fresh = nn.Linear(2, 2), nn.Linear(2, 2)
    assert persist.restore(saved(net.state_dict()), wrap(fresh)).is_complete
    assert torch.equal(fresh.weight, net.weight)


def test_the_remedy_of_a_checkpoint_works_as_it_is_printed() -> None:
    net, adam, _ = run()
    state = {f"_orig_mod.{name}": value for name, value in net.state_dict().items()}
    for data in (
        saved({"model": state, "optimizer": adam.state_dict(), "step": 3}),
        saved({"student.": 1, "net": dict(state), "ema": {"x": torch.ones(1)}}),
    ):
        fresh = run()[0]
        with pytest.raises(RestoreError) as caught:
            persist.restore(data, fresh)
        rules = eval(re.search(r"match=(\{.*?\})", caught.value.remedy or "")[1])  # type: ignore[index]
        assert persist.restore(data, fresh, match=rules).is_complete
    data = saved({"model": net.state_dict(), "optimizer": adam.state_dict()})
    assert persist.restore(data, run()[0], match={"^model/": ""}, only=["model/*"]).is_complete


def test_the_remedy_of_a_prefix_in_the_model_works_as_it_is_printed() -> None:
    class Outer(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Linear(2, 2)

    net = nn.Linear(2, 2)
    for data in (
        saved(net.state_dict()),
        saved({**net.state_dict(), "optimizer": {"m": torch.ones(3)}, "extra": torch.ones(1)}),
    ):
        fresh = Outer()
        with pytest.raises(RestoreError) as caught:
            persist.restore(data, fresh)
        rules = eval(re.search(r"match=(\{.*?\})", caught.value.remedy or "")[1])  # type: ignore[index]
        assert persist.restore(data, fresh, match=rules).is_complete
        assert torch.equal(fresh.backbone.weight, net.weight)


def test_a_change_of_precision_is_advised_where_it_helps() -> None:
    data, fresh = saved({"model": nn.Linear(2, 2).double().state_dict()}), nn.Linear(2, 2)
    with pytest.raises(RestoreError) as caught:
        persist.restore(data, fresh)
    assert "strict=False (a change of precision)" in (caught.value.remedy or "")
    assert persist.restore(data, fresh, match={"^model/": ""}, strict=False).is_complete

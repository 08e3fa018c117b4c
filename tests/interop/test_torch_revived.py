"""Whole modules that older releases of torch pickled compute today what they did then."""

from __future__ import annotations

import importlib.util
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch")
nn = torch.nn

CORPUS = Path(__file__).parents[1] / "corpus" / "torch"
CASES = ["torch-1.1.0-py37-modules", "torch-1.7.1-py38-modules"]


FOUNDRY = Path(__file__).parents[1] / "foundry" / "torch"
spec = importlib.util.spec_from_file_location("torch_cases", FOUNDRY / "cases.py")
assert spec is not None
assert spec.loader is not None
foundry = sys.modules["torch_cases"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(foundry)
# Torch itself gives another value since 1.9, and no attribute shows which release made the module: 1.8 summed
# over all axes but the first (pytorch issue 53964).
DIFFERENT = {("1.8.1", "gaussiannllloss-plain")}


def flat(value: Any) -> list[Any]:
    if torch.is_tensor(value):
        return [value]
    return (
        [part for item in value for part in flat(item)] if isinstance(value, tuple | list) else []
    )


@pytest.fixture(scope="module", params=CASES)
def loaded(request: pytest.FixtureRequest) -> Any:
    return persist.load(CORPUS / request.param / "modules.pt", trust=["torch.nn.*"], strict=True)


def test_torch_itself_does_not_load_them_all() -> None:
    for case in CASES:
        with pytest.raises(AttributeError):
            torch.load(CORPUS / case / "modules.pt", weights_only=False)


def test_outputs_are_those_of_the_release_that_wrote_them(loaded: Any) -> None:
    assert len(loaded["outputs"]) >= 30
    for name, expected in loaded["outputs"].items():
        given = [torch.as_tensor(one) for one in loaded["inputs"][name]]
        with torch.no_grad():
            found = flat(loaded["modules"][name](*given))
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(
                one, torch.as_tensor(other), msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("release", foundry.releases())
def test_modules_of_the_foundry_compute_what_they_did(release: str) -> None:
    """Each kind of module, alone in its file, without a word of trust."""
    for case in foundry.cases(release):
        module = persist.load(io.BytesIO(case.file), strict=True)
        assert isinstance(module, nn.Module), case.name
        state = {
            name: one.numpy()
            for name, one in module.state_dict().items()
            if isinstance(one, torch.Tensor)
        }
        assert state.keys() == case.state.keys(), case.name
        for name, expected in case.state.items():
            np.testing.assert_array_equal(state[name], expected, err_msg=f"{case.name} {name}")
        if not case.inputs:
            continue
        with torch.no_grad():
            found = flat(module(*map(torch.as_tensor, case.inputs)))
        assert len(found) == len(case.outputs), case.name
        if (release, case.name) in DIFFERENT:
            continue
        for one, other in zip(found, case.outputs, strict=True):
            np.testing.assert_allclose(
                one.numpy(), other, rtol=1e-5, atol=1e-5, err_msg=f"{release} {case.name}"
            )


@pytest.mark.parametrize("arrays", ["numpy", "torch"])
def test_tensors_keep_what_is_attached_to_them(arrays: Any) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0].weight.group = "slow"
    net[1].weight = net[0].weight
    net[1].bias.requires_grad_(False)
    net[0].steps = nn.Buffer(torch.arange(3.0))
    net[0].loose = torch.ones(2)
    net[0].loose.about = {"unit": "mm", "axes": [0]}
    out = io.BytesIO()
    torch.save(net, out)
    again = persist.load(io.BytesIO(out.getvalue()), arrays=arrays, strict=True)
    assert again[0].weight.group == "slow"
    assert again[1].weight is again[0].weight
    assert [one.requires_grad for one in again.parameters()] == [True, True, False]
    assert list(dict(again.named_buffers())) == ["0.steps"]
    assert again[0].loose.about == {"unit": "mm", "axes": [0]}
    half = persist.load(io.BytesIO(out.getvalue()), dtype="float16")
    assert [one.dtype for one in half.parameters()] == [torch.float16] * 3
    assert [one.requires_grad for one in half.parameters()] == [True, True, False]


def test_a_module_that_was_on_several_devices_works_on_the_host() -> None:
    net = nn.DataParallel(nn.Linear(3, 2))
    net.device_ids, net.output_device, net.dim = [0, 1], 0, 0
    net.src_device_obj = torch.device("cuda", 0)
    out = io.BytesIO()
    torch.save(net, out)
    again = persist.load(io.BytesIO(out.getvalue()), strict=True)
    assert type(again) is nn.DataParallel
    x = torch.randn(4, 3)
    torch.testing.assert_close(again(x), net.module(x))


def test_they_are_modules_that_can_be_trained_and_saved(loaded: Any) -> None:
    for name, module in loaded["modules"].items():
        assert isinstance(module, nn.Module), name
        assert all(type(one) is nn.Parameter for one in module.parameters()), name
        module.state_dict()
        repr(module)
        out = io.BytesIO()
        torch.save(module, out)
        module.train()
    convolution = loaded["modules"]["convolution"]
    assert not convolution.weight.requires_grad
    assert convolution.bias.requires_grad
    lstm = loaded["modules"]["lstm"]
    assert lstm._flat_weights[0] is lstm.weight_ih_l0
    assert len(loaded["modules"]["parameters"]) == 2
    assert list(loaded["modules"]["named"]) == ["left"]


def test_in_torch_mode_they_are_the_same() -> None:
    found = persist.load(CORPUS / CASES[0] / "modules.pt", trust=["torch.nn.*"], arrays="torch")
    convolution = found["modules"]["convolution"]
    assert type(convolution.weight) is nn.Parameter
    assert not convolution.weight.requires_grad
    given = found["inputs"]["convolution"]
    torch.testing.assert_close(convolution(*given), found["outputs"]["convolution"][0])


def test_torchs_own_classes_need_no_trust() -> None:
    found = persist.load(CORPUS / CASES[0] / "modules.pt", strict=True)
    x = torch.as_tensor(found["inputs"]["linear"][0])
    expected = torch.as_tensor(found["outputs"]["linear"][0])
    torch.testing.assert_close(found["modules"]["linear"](x), expected)
    inert = persist.load(CORPUS / CASES[0] / "modules.pt", live=False)
    assert isinstance(inert["modules"]["linear"], persist.Record)


def test_a_class_that_is_not_here_stays_a_record_with_all_that_it_holds() -> None:
    found = persist.load(CORPUS / "torch-1.0.0-py27-whole-module" / "lenet.pkl")
    assert isinstance(found, persist.Record)
    assert isinstance(found.state["_modules"]["features"], persist.Record)


def test_a_subclass_gets_what_its_base_reads() -> None:
    """A user's class of a later release: its name is not known, its bases are."""
    module: Any = types.ModuleType("lab_of_old_nets")
    sys.modules["lab_of_old_nets"] = module

    class Gelu(nn.GELU):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * self.factor

    Gelu.__module__, Gelu.__qualname__ = "lab_of_old_nets", "Gelu"
    module.Gelu = Gelu
    try:
        old = Gelu()
        old.factor = np.float64(2)
        del old.__dict__["approximate"]
        out = io.BytesIO()
        torch.save(old, out)
        again = persist.load(io.BytesIO(out.getvalue()), trust=["torch.nn.*", "lab_of_old_nets.*"])
        x = torch.randn(3)
        torch.testing.assert_close(again(x), nn.functional.gelu(x) * 2)
    finally:
        del sys.modules["lab_of_old_nets"]


def test_variables_of_before_0_4_become_parameters() -> None:
    path = CORPUS / "torch-0.3-layout-whole-module-variables" / "linear.pt"
    found = persist.load(path, trust=["torch.nn.*"], strict=True)["net"]
    assert type(found.weight) is nn.Parameter
    assert found(torch.ones(1, found.in_features)).shape == (1, found.out_features)


OLDNETS = """
class Flatten(nn.Module):
    def forward(self, x):
        return x.flatten(1)


class LeNetish(nn.Module):
    def forward(self, x):
        return self.classifier(self.flatten(self.features(x - self.mean)))
"""


def test_a_network_whose_class_is_written_again_comes_alive() -> None:
    path = CORPUS / "torch-1.0.0-py27-whole-module" / "lenet.pkl"
    module: Any = types.ModuleType("oldnets")
    exec(OLDNETS, {"nn": nn, "__name__": "oldnets"}, vars(module))
    sys.modules["oldnets"] = module
    try:
        net = persist.load(path, trust=["torch.nn.*", "oldnets.*"], strict=True)
        assert type(net) is module.LeNetish
        assert {type(one) for one in net.parameters()} == {nn.Parameter}
        assert net.mean.item() == pytest.approx(0.1307)
        assert net.names == ["chat", "chien", "oiseau"]
        size = next(size for size in range(1, 65) if fits(net, size))
        assert net(torch.zeros(1, 1, size, size)).shape == (1, net.classes)
    finally:
        del sys.modules["oldnets"]


def fits(net: Any, size: int) -> bool:
    try:
        net(torch.zeros(1, 1, size, size))
    except RuntimeError:
        return False
    return True

"""Whole modules that older releases of torch pickled compute today what they did then."""

from __future__ import annotations

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

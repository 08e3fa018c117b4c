"""What the pack of torch adds to the states of whole modules; no torch is needed for that."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._torch_modules.states import normal_state, plain_names

pack = pytest.importorskip("persist.migrations.torch").pack

CORPUS = Path(__file__).parents[1] / "corpus" / "torch"


def completed(name: str, **state: Any) -> dict[str, Any]:
    qualname = name if name.startswith("torch.") else f"torch.nn.modules.{name}"
    version, _ = pack.stamp_of(qualname, state)
    for step in pack.path(qualname, version, 2):
        state = step.up(state, None, {})
    assert pack.stamp_of(qualname, state)[0] == 2
    return state


def test_padding_of_every_age() -> None:
    name = "_reversed_padding_repeated_twice"
    circular = {"padding_mode": "circular", "padding": (3, 1)}
    assert completed("conv.Conv2d", **circular)[name] == [0, 0, 2, 1]  # until 1.4
    old = completed("conv.Conv2d", **circular, _padding_repeated_twice=(3, 3, 1, 1))
    assert old[name] == [3, 3, 1, 1]  # 1.5.0
    new = completed("conv.Conv2d", **circular, _non_persistent_buffers_set=set())
    assert new[name] == [1, 1, 3, 3]
    ignored = completed("conv.Conv2d", padding_mode="reflect", padding=(1, 1))
    assert ignored["padding_mode"] == "zeros"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "mean"),
        ({"size_average": True}, "mean"),
        ({"size_average": False}, "sum"),
        ({"size_average": True, "reduce": False}, "none"),
        ({"reduction": "elementwise_mean"}, "mean"),
        ({"reduction": "sum"}, "sum"),
    ],
)
def test_losses_say_how_they_reduce(state: dict[str, Any], expected: str) -> None:
    assert completed("loss.MSELoss", **state)["reduction"] == expected


def test_attributes_that_came_later() -> None:
    assert completed("activation.GELU")["approximate"] == "none"
    assert completed("upsampling.Upsample", mode="bilinear")["align_corners"] is True
    assert completed("upsampling.Upsample", mode="nearest")["recompute_scale_factor"] is True
    young = completed("upsampling.Upsample", mode="nearest", _non_persistent_buffers_set=set())
    assert young["recompute_scale_factor"] is None
    sized = completed("upsampling.Upsample", mode="nearest", size=(3, 4))
    assert sized["recompute_scale_factor"] is None
    assert completed("activation.Hardsigmoid")["inplace"] is False
    weights = {"weight_ih_l0": np.ones(1), "weight_hh_l0": np.zeros(1)}
    rnn = completed("rnn.RNN", _parameters=weights, _all_weights=[list(weights)])
    assert rnn["_flat_weights_names"] == list(weights)
    assert [id(one) for one in rnn["_flat_weights"]] == [id(one) for one in weights.values()]
    loss = completed("loss.BCEWithLogitsLoss", _buffers={"weight": None})
    assert loss["_buffers"] == {"weight": None, "pos_weight": None}


def test_a_module_of_several_devices_is_one_on_the_host() -> None:
    found = completed("torch.nn.parallel.data_parallel.DataParallel", device_ids=[0, 1], dim=0)
    assert found == {"device_ids": [], "dim": 0}


@pytest.mark.filterwarnings("ignore::persist.errors.OpaqueWarning")
@pytest.mark.parametrize("case", ["torch-1.1.0-py37-modules", "torch-1.7.1-py38-modules"])
def test_records_of_genuine_files_are_completed(case: str) -> None:
    found = persist.load(CORPUS / case / "modules.pt", live=False)["modules"]
    assert found["circular"].state["_reversed_padding_repeated_twice"]
    assert found["cross"].state["label_smoothing"] == 0.0
    assert found["attention"].state["batch_first"] is False
    assert found["attention"].state["_modules"]["out_proj"].cls.name in (
        "Linear",
        "NonDynamicallyQuantizableLinear",
    )


def test_names_of_wrapped_modules() -> None:
    assert list(plain_names({"module.a": 1, "module.b": 2})) == ["a", "b"]
    assert list(plain_names({"module.a": 1, "b": 2})) == ["module.a", "b"]
    assert list(plain_names({"_orig_mod.module.a": 1, "_orig_mod.b._orig_mod.c": 2})) == [
        "a",
        "b.c",
    ]
    state: Any = OrderedDict({"module.enc.w": np.ones(1)})
    state._metadata = {"module": {"version": 2}, "module.enc": {"persist": {"lab.Enc": 3}}}
    assert normal_state(state) == {"enc.w": np.ones(1), "enc._version": {"lab.Enc": 3}}

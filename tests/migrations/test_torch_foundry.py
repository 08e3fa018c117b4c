"""Whole modules of genuine releases of torch, without torch: their arrays, and states that are completed."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest

import persist

pytestmark = pytest.mark.packs

FOUNDRY = Path(__file__).parents[1] / "foundry" / "torch"

spec = importlib.util.spec_from_file_location("torch_cases", FOUNDRY / "cases.py")
assert spec is not None
assert spec.loader is not None
foundry = sys.modules["torch_cases"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(foundry)


@pytest.mark.parametrize("release", foundry.releases())
def test_arrays_are_those_of_the_state_dict(release: str) -> None:
    count = 0
    for case in foundry.cases(release):
        with persist.open(io.BytesIO(case.file)) as file:
            for name, expected in case.state.items():
                found = np.asarray(file.arrays[name.replace(".", "/")])
                assert found.dtype == expected.dtype, (case.name, name)
                assert np.array_equal(found, expected), (case.name, name)
                count += 1
    assert count > 200

"""With a genuine joblib of today: what it dumps and caches opens here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

joblib = pytest.importorskip("joblib")

VALUE: dict[str, Any] = {
    "W": np.arange(12.0).reshape(3, 4),
    "F": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
    "part": np.arange(12.0).reshape(3, 4)[:, ::2],
    "big": np.arange(3, dtype=">i8"),
    "text": np.array(["é", "bb"]),
    "when": np.array(["2001-01-01"], "M8[D]"),
    "empty": np.zeros((0, 3)),
    "zero": np.array(7),
}


def check(file: persist.File) -> None:
    assert file.format == "joblib"
    for name, value in VALUE.items():
        found = np.asarray(file.arrays[name])
        assert found.dtype == value.dtype, name
        assert np.array_equal(found, value), name
    assert file.scalars["objects/1"] == "x"
    assert file.arrays["objects/0/a"].tolist() == [1, 1]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("compress", [0, 3, "gzip", "bz2", "lzma", "xz"])
def test_dumps(tmp_path: Path, protocol: int, compress: Any) -> None:
    objects = np.array([{"a": np.ones(2)}, "x", None], dtype=object)
    joblib.dump({**VALUE, "objects": objects}, tmp_path / "x", compress, protocol)
    with persist.open(tmp_path / "x") as file:
        check(file)


def test_several_in_one_file(tmp_path: Path) -> None:
    with open(tmp_path / "x", "wb") as target:
        joblib.dump({"W": np.zeros(2)}, target)
        joblib.dump(np.ones(2), target)
    with persist.open(tmp_path / "x") as file:
        assert {name: array.tolist() for name, array in file.arrays.items()} == {
            "0/W": [0, 0],
            "1": [1, 1],
        }


def _step(size: int) -> dict[str, Any]:
    return {"x": np.arange(size), "size": size}


def test_memory(tmp_path: Path) -> None:
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    step = memory.cache(_step)
    step(3)
    step(4)
    with persist.open(tmp_path / "cache") as file:
        assert file.format == "joblib-memory"
        assert sorted(len(array) for array in file.arrays.values()) == [3, 4]
        assert sorted(file.scalars.values()) == [3, 4]

"""Reading: typed by the class that is wanted, and with the keywords that are shared."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack, assert_type

import numpy as np

import persist
from persist.typing import Array, LoadOptions, OpenOptions


class Net(persist.Versioned, version=1, schema="typing.Net"):
    def __init__(self, size: int) -> None:
        self.size = size


assert_type(persist.load("net.persist", Net), Net)
assert_type(persist.load(Path("net.persist"), Net, at="model", unknown="keep", mmap=False), Net)
assert_type(persist.load(b"bytes", trust=["lab.*"], verify="always"), Any)
assert_type(persist.load(io.BytesIO(), cls=Net, layout="warn", arrays="torch"), Net)
with open("net.persist", "rb") as opened:
    assert_type(persist.load(opened, Net).size, int)


def sizes(path: str, **options: Unpack[OpenOptions]) -> dict[str, int]:
    with persist.open(path, **options) as file:
        assert_type(file, persist.File)
        assert_type(file.damage, list[str])
        return {name: np.asarray(file.arrays[name]).size for name in file.arrays}


def net_of(path: str, **options: Unpack[LoadOptions]) -> Net:
    return persist.load(path, Net, **options)


sizes("net.persist", salvage=True, limits={"paths": 10})
net_of("net.persist", strict=True, py2_str="latin-1")
plan = persist.explain("net.persist", Net, at="model", validate=False, step=3)
assert_type(plan, persist.Plan)
print(plan.problems, plan.opaque)

weights: dict[str, Array] = {"w": np.zeros(3)}
report = persist.restore("w.npz", weights, match="shape", only=["w"], salvage=True)
assert_type(report, persist.Report)
assert_type(report.is_complete, bool)

with persist.Checkpoints("runs", keep_best=("loss", "min"), every=10) as runs:
    runs.save(3, weights, {"loss": 0.25})
    assert_type(runs.best("loss", "min"), int | None)
    assert_type(runs.restore(cls=Net, strict=True), Net)
    assert_type(runs.restore(3), Any)
    assert_type(runs.steps(), list[int])
    metrics: Mapping[str, float] = runs.metrics(3)

# Mistakes that a checker reports.
persist.load("net.persist", Net, unknown="ignore")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
persist.open("net.persist", salvge=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
persist.save(weights, "w.npz", compress="gzip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
persist.open(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

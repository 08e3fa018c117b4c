"""Files that bear no class: their values are unversioned states of one."""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import ops
from persist._cli import main
from persist.errors import MigrationFailedError, PersistError, UnknownSchemaError


class LogReg(persist.Versioned, version=3, schema="tests.unversioned.LogReg"):
    """Version 1 was the tuple (W, b), or the dict of W and b; 2 the two under other names."""

    persistent = ("weights", "bias", "steps")
    weights: Any
    bias: Any
    steps: int

    def __init__(self) -> None:
        self.weights, self.bias, self.steps = np.zeros(2), 0.0, 0


@persist.stamp(LogReg)
def _age(state: Any) -> int | None:
    if isinstance(state, tuple | list) or "W" in state:
        return 1
    return 2 if "w" in state else None


@persist.migration(LogReg, 1)
def _named(state: Any) -> dict[str, Any]:
    weights, bias = state if isinstance(state, tuple | list) else (state["W"], state["b"])
    return {"w": weights, "bias": bias}


persist.migration(LogReg, 2, ops.rename("w", "weights"), ops.add("steps", 7))

W, B = np.array([1.0, 2.0]), np.array(0.5)


class Other(persist.Versioned, version=1, schema="tests.unversioned.Other"):
    persistent = ("a",)


def saved(value: Any, format: str) -> bytes:
    if format == "pickle":
        return pickle.dumps(value)
    out = io.BytesIO()
    persist.save(value, out, format=format)
    return out.getvalue()


def check(made: Any) -> None:
    assert type(made) is LogReg
    assert made.weights.tolist() == [1.0, 2.0]
    assert float(made.bias) == 0.5
    assert made.steps == 7


NAMED = [{"W": W, "b": B}, OrderedDict(w=W, bias=B)]


@pytest.mark.parametrize(
    ("format", "state"),
    [
        (format, state)
        for format in ("pickle", "persist", "torch")
        for state in [(W, B), [W, B], *NAMED]
    ]
    + [(format, state) for format in ("npz", "safetensors") for state in NAMED],
)
def test_a_value_without_a_class_is_loaded_as_one(format: str, state: Any) -> None:
    data = saved(state, format)
    check(persist.load(data, LogReg))
    plan = persist.explain(data, LogReg)
    assert [entry.steps != [] for entry in plan] == [True]


@pytest.mark.parametrize("state", [(W, B), {"W": W, "b": B}])
def test_a_part_of_a_file(state: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3, "model": {"best": state}}))
    check(persist.load(path, LogReg, at="model/best"))
    assert persist.load(path, at="epoch") == 3
    plan = persist.explain(path, LogReg, at="model/best")
    assert len(list(plan)) == 1
    with pytest.raises(PersistError, match="nothing at 'model/worst'.*'epoch', 'model'"):
        persist.load(path, LogReg, at="model/worst")


def test_a_plain_value_in_memory_is_brought_up_and_stays_as_it_is() -> None:
    state = {"W": W, "b": B}
    check(persist.registry.default.upgrade(state, LogReg))
    assert list(state) == ["W", "b"]
    check(persist.registry.default.upgrade((W, B), LogReg))
    today = {"weights": W, "bias": 0.5, "steps": 7}
    with pytest.raises(MigrationFailedError):  # no stamp knows it: it is taken for the first
        persist.registry.default.upgrade(today, LogReg)
    check(persist.registry.default.upgrade(today, LogReg, assume_version=3))


def test_the_version_of_what_tells_none() -> None:
    today = pickle.dumps({"weights": W, "bias": 0.5, "steps": 7})
    check(persist.load(today, LogReg, assume_version=3))
    check(persist.load(pickle.dumps((W, B)), LogReg, assume_version=3))  # a stamp knows better
    with pytest.raises(PersistError, match="integers from 1"):
        persist.load(today, LogReg, assume_version=0)


def test_an_instance_is_checked() -> None:
    net = LogReg()
    out = io.BytesIO()
    persist.save({"net": net}, out)
    assert type(persist.load(out.getvalue(), LogReg, at="net")) is LogReg
    other = io.BytesIO()
    made = Other()
    made.a = 1
    persist.save(made, other)
    with pytest.raises(PersistError, match="it holds a .*Other, not a .*LogReg"):
        persist.load(other.getvalue(), LogReg)


def test_a_class_that_is_not_declared_is_refused_with_the_cure() -> None:
    class Plain:
        pass

    with pytest.raises(UnknownSchemaError, match=r"persist\.register\(cls, version=1\)"):
        persist.load(pickle.dumps({"a": 1}), Plain)


def test_validators_run() -> None:
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class Checked:
        a: int = attrs.field(validator=attrs.validators.instance_of(int))

    registry = persist.Registry("unversioned")
    registry.register(Checked, version=1)
    assert persist.load(pickle.dumps({"a": 1}), Checked, registry=registry).a == 1
    with pytest.raises(PersistError):
        persist.load(pickle.dumps({"a": "x"}), Checked, registry=registry)


MODULE = """
import persist
from persist import ops

class Line(persist.Versioned, version=2, schema="lab.unversioned.Line"):
    persistent = ("slope",)

persist.migration(Line, 1, ops.rename("a", "slope"))
"""


@pytest.mark.parametrize("name", ["lab.unversioned.Line", "unversioned_lab.Line"])
def test_upgrade_as_a_class_at_a_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unversioned_lab.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "run.pkl").write_bytes(pickle.dumps({"epoch": 3, "net": [{"a": 2.5}]}))
    command = ["upgrade", str(tmp_path / "run.pkl"), "--import", "unversioned_lab", "--force"]
    assert main([*command, "--as", name, "--at", "net/0"]) == 0
    found = persist.load(tmp_path / "run.pkl.persist")
    assert type(found["net"][0]).__name__ == "Line"
    assert (found["epoch"], found["net"][0].slope) == (3, 2.5)
    assert main([*command, "--at", "net/0"]) == 2
    assert main([*command, "--as", "lab.Nothing"]) == 1
    assert main([*command, "--as", name, "--at", "net/7"]) == 1
    assert "nothing at 'net/7'" in capsys.readouterr().err
    sys.modules.pop("unversioned_lab")  # no other process can import it

"""Tensors that are read as one phrase: what is left behind is what the opcodes would leave."""

from __future__ import annotations

import collections
import io
import pickle
import random
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.base.source import open_source
from persist._wire.pickle import fast_loop
from persist._wire.pickle.machine import Machine
from persist._wire.torch.archive import Archive
from persist._wire.torch.rebuild import Origin, machine_for
from persist._wire.torch.storage import Storage, Tensor
from persist.errors import FormatError
from persist.tree import Record

CORPUS = Path(__file__).parents[2] / "corpus" / "torch"
PADDING = bytes(2 * fast_loop.MARGIN)


def reported(value: Any, depth: int = 6) -> Any:
    """A value as what can be compared."""
    if isinstance(value, Tensor):
        place = (value.offset, value.shape, value.strides, value.requires_grad, value.is_parameter)
        return ("tensor", reported(value.storage), place, value.kind)
    if isinstance(value, Storage):
        return ("storage", value.blob.key, value.blob.nbytes, value.blob.location, value.kind)
    if not depth:
        return type(value)
    if isinstance(value, dict):
        return type(value), [
            (reported(k, depth - 1), reported(v, depth - 1)) for k, v in value.items()
        ]
    if isinstance(value, list | tuple):
        return type(value), [reported(item, depth - 1) for item in value]
    if isinstance(value, Record):
        return (
            "record",
            str(value.cls),
            reported(value.args, depth - 1),
            reported(value.state, depth - 1),
        )
    return type(value), repr(value)


def left_behind(data: bytes, loop: Any, has_storages: bool) -> Any:
    source = open_source(data + PADDING)
    place = (1 << 22, lambda: open_source(b""))
    origin = Origin(source, (lambda key: place) if has_storages else None)
    machine = machine_for(source, origin)
    machine._loop = loop  # type: ignore[method-assign]
    try:
        said = reported(machine.load(source.cursor()))
    except FormatError as error:
        said = (type(error), error.where, str(error))
    return said, {slot: reported(value) for slot, value in machine.memo.items()}, machine.steps


def stepwise(machine: Machine) -> None:
    while not fast_loop.step(machine):
        pass


def agree(data: bytes, has_storages: bool = True) -> Any:
    ours = left_behind(data, fast_loop.run, has_storages)
    assert ours == left_behind(data, stepwise, has_storages)
    return ours


class Stored:
    """A storage, reported by its persistent id."""

    def __init__(self, key: str, kind: str, count: int) -> None:
        self.key, self.kind, self.count = key, kind, count


class Live:
    """A tensor, pickled as torch's are."""

    def __init__(self, stored: Stored, *parts: Any) -> None:
        self.stored, self.parts = stored, parts

    def __reduce__(self) -> Any:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.stored, *self.parts[:4], collections.OrderedDict(), *self.parts[4:])


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names of torch for `pickle` to find; nothing else of it."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(module, kind, type(kind, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*parts: Any) -> Any:
        raise AssertionError

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def written(torch: Any, value: Any, *, is_legacy: bool = False) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            if not isinstance(item, Stored):
                return None
            pid = ("storage", getattr(torch, item.kind), item.key, "cpu", item.count)
            return (*pid, None) if is_legacy else pid

    out = io.BytesIO()
    Pickler(out, 2).dump(value)
    return out.getvalue()


def state(count: int) -> dict[str, Any]:
    chance = random.Random(count)
    found: dict[str, Any] = {}
    for number in range(count):
        rank = chance.choice((0, 1, 1, 2, 2, 2, 3, 4, 5, 7, 17))
        shape = tuple(chance.choice((1, 2, 3)) for _ in range(rank))
        strides, step = [], 1
        for extent in reversed(shape):
            strides.insert(0, step)
            step *= extent
        if step > 1 << 12:
            shape, strides, step = (300, 70_000), [0, 0], 1
        kind = ("FloatStorage", "LongStorage", "HalfStorage")[number // 2 % 3]
        stored = Stored(str(number // 2), kind, 1 << 18)
        offset = chance.choice((0, 7, 300, 70_000 if number == 3 else 1))
        more = chance.choice(((), (), (), ({"conj": False},)))
        found[f"layer.{number}"] = Live(
            stored, offset, shape, tuple(strides), chance.random() < 0.5, *more
        )
    found["again"] = found["layer.0"]
    return found


@pytest.mark.parametrize("is_legacy", [False, True])
def test_on_what_torch_writes(torch: Any, is_legacy: bool) -> None:
    data = written(torch, state(600), is_legacy=is_legacy)
    said, memo, _ = agree(data, not is_legacy)
    assert said[0] is dict
    assert len(said[1]) == 601
    assert sum(isinstance(value, tuple) and value[0] == "tensor" for value in memo.values()) >= 600


def ours(torch: Any) -> bytes:
    """What our own writer spells."""
    out = io.BytesIO()
    tree = {f"layer.{number}": np.full((2, 3), number, "f4") for number in range(400)}
    persist.save(tree, out, format="torch")
    pickled = Archive.need(open_source(out.getvalue()), "data.pkl").open("data.pkl")
    return pickled.read(0, pickled.size)


@pytest.mark.parametrize("write", [lambda torch: written(torch, state(400)), ours])
def test_a_phrase_is_found(torch: Any, write: Any) -> None:
    """Most of the opcodes are in phrases; else this would be slow, and nobody would know."""
    data = write(torch)
    agree(data)
    source = open_source(data + PADDING)
    machine = machine_for(source, Origin(source, lambda key: (1 << 22, lambda: source)))
    read, asked = machine.phrase, [0, 0]
    assert read is not None

    def counted(*given: Any) -> Any:
        found = read(*given)
        asked[found is None] += 1
        return found

    machine.phrase = counted
    machine.load(source.cursor())
    assert asked[0] > 200


@pytest.mark.parametrize("times", [130, pytest.param(400, marks=pytest.mark.slow)])
def test_whatever_the_bytes(torch: Any, times: int) -> None:
    data = written(torch, state(80))
    chance = random.Random(5)
    read = 0
    for _ in range(times):
        copy = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data) // 2, len(copy))
            copy[at] = chance.choice((copy[at] ^ 1 << chance.randrange(8), chance.randrange(256)))
        read += agree(bytes(copy))[0][0] is dict
    assert read > times // 8


def archives() -> list[Path]:
    return [path for path in sorted(CORPUS.glob("*/*")) if path.suffix in (".pt", ".pth", ".bin")]


@pytest.mark.parametrize("path", archives(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_on_the_corpus(path: Path) -> None:
    source = open_source(path)
    archive = Archive.of(source, "data.pkl")
    if archive is not None:
        pickled = archive.open("data.pkl")
        agree(pickled.read(0, pickled.size))

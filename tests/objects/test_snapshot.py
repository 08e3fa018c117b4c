"""A snapshot is the tree of an object as it was, whatever becomes of the object afterwards."""

from __future__ import annotations

import array
import io
import itertools
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import persist
from persist import _container
from persist._api.save import tree_of
from persist._objects.snapshot import Copies, Memory

registry = persist.Registry("snapshots")


@attrs.define(eq=False, repr=False)
class Cell(persist.Versioned, version=1, schema="tests.snapshot.Cell", registry=registry):
    number: int
    name: str
    parts: list[Any]
    values: np.ndarray
    other: Any = None
    raw: Any = None


def cells(count: int) -> list[Cell]:
    made = [Cell(n, f"cell {n}", [n, n + 1], np.full(3, float(n))) for n in range(count)]
    for one, next_ in itertools.pairwise(made):
        one.other = next_
    return made


def state(count: int) -> dict[str, Any]:
    table = np.zeros(5, [("a", "i4"), ("b", "f8")])
    own = cells(count)
    flat = np.arange(4000.0)
    return {
        "cells": own,
        "by name": {cell.name: cell for cell in own},
        "inner": [[cell, [cell.number]] for cell in own],
        "flat": flat,
        "views": [flat[n : n + 100] for n in range(0, 4000, 50)],
        "column": np.arange(600.0).reshape(20, 30)[:, 3],
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "masked": np.ma.array([1.0, 2.0], mask=[False, True]),
        "objects": np.array([[1], bytearray(b"x"), "text"], object),
        "bytes": bytearray(b"before"),
        "tuple": (1, bytearray(b"before"), array.array("i", [1, 2])),
        "numbers": array.array("d", [1.0, 2.0]),
        "element": table[1],
        "ordered": OrderedDict(a=[1]),
        "default": defaultdict(list, a=[1]),
        "deque": deque([1, [2]], maxlen=5),
        "set": {1, 2},
        "record": persist.Record("lab.Net", {"w": np.ones(3), "x": [1, {"y": 2}]}),
    }


def spoil(root: Any) -> None:
    """Change everything that can be changed, wherever it is."""
    seen: dict[int, Any] = {}
    todo = [root]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, np.void):
            value[0] = 9
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                todo += value.ravel().tolist()
            else:
                value[...] = np.zeros((), value.dtype)
        elif isinstance(value, list | tuple | deque | set):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, Cell):
            todo += [getattr(value, name) for name in Cell.__slots__ if hasattr(value, name)]
            value.number, value.name, value.other = -1, "spoilt", None
        elif isinstance(value, persist.Record):
            todo += [value.state]
    for value in seen.values():
        if isinstance(value, list):
            value.append("spoilt")
        elif isinstance(value, dict):
            value["spoilt"] = 1
        elif isinstance(value, set):
            value.add("spoilt")
        elif isinstance(value, deque):
            value.append("spoilt")
        elif isinstance(value, bytearray):
            value[:] = b"spoilt"
        elif isinstance(value, array.array):
            value[0] = 99


def data(tree: Any) -> bytes:
    target = io.BytesIO()
    _container.write(tree, target, durable=False)
    return target.getvalue()


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("count", [3, 1500])
def test_a_snapshot_is_not_changed_by_what_comes_later(count: int, columns: bool) -> None:
    obj = state(count)
    wanted = data(tree_of(obj, registry, columns=columns))
    memory = Memory()
    tree = tree_of(obj, registry, snapshot=memory, columns=columns)
    spoil(obj)
    assert data(tree) == wanted
    # What is written is what a save without a snapshot writes, in memory that was used before.
    again = state(count)
    tree = tree_of(again, registry, snapshot=memory, columns=columns)
    spoil(again)
    assert data(tree) == wanted


def test_instances_of_raw_bytes_in_columns_are_copied() -> None:
    own = cells(1500)
    for cell in own:
        cell.raw = bytearray(b"before")
        cell.other = (1, cell.raw)
    wanted = data(tree_of(own, registry, columns=True))
    tree = tree_of(own, registry, snapshot=True, columns=True)
    spoil(own)
    assert data(tree) == wanted


def test_tensors_of_torch_are_copied() -> None:
    torch = pytest.importorskip("torch")
    flat = torch.arange(100_000, dtype=torch.float32)
    obj = {"flat": flat, "view": flat[10:20], "lone": torch.ones(3), "empty": torch.empty(0)}
    wanted = data(tree_of(obj))
    memory = Memory()
    for _ in range(2):
        tree = tree_of(obj, snapshot=memory)
        before = flat.clone()
        flat.zero_()
        obj["lone"].zero_()
        assert data(tree) == wanted
        flat.copy_(before)
        obj["lone"].fill_(1)


def test_what_shares_memory_is_copied_once_and_still_shares_it() -> None:
    memory = Memory()
    flat = np.arange(1_000_000.0)
    copies = Copies(memory)
    late = copies.array(flat[500_000:])
    early, reversed_ = copies.array(flat[:250_000]), copies.array(flat[::-1])
    whole = copies.array(flat)
    assert [block.nbytes for block in memory._used] == [flat.nbytes]
    whole[600_000] = whole[1] = -5.0
    assert late[100_000] == early[1] == reversed_[-2] == -5.0
    assert flat[1] == 1.0
    assert np.array_equal(reversed_, whole[::-1])


def test_memory_of_strangers_is_one_memory_too() -> None:
    raw = bytearray(range(256)) * 1000
    one, other = np.frombuffer(raw, "u1"), np.frombuffer(raw, "u1", 1000, 500)
    copies = Copies(Memory())
    first, second = copies.array(one), copies.array(other)
    assert np.shares_memory(first, second)
    assert not np.shares_memory(first, one)
    assert np.array_equal(second, other)


def test_random_views_are_copied_as_they_are() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        flat = rng.integers(0, 100, 5000)
        views = []
        for _ in range(12):
            low, high = sorted(rng.integers(0, 5001, 2))
            views.append(flat[low : high : int(rng.integers(1, 4))][:: int(rng.choice([1, -1]))])
        copies = Copies(Memory())
        made = [copies.array(view) for view in views]
        wanted = [view.copy() for view in views]
        flat[:] = -1
        for copy, view in zip(made, wanted, strict=True):
            assert np.array_equal(copy, view)


def test_memory_is_used_again_and_what_is_not_is_let_go_of() -> None:
    memory = Memory()
    Copies(memory).array(np.zeros(100_000))
    (block,) = memory._used
    memory.end()
    Copies(memory).array(np.ones(100_000))
    assert memory._used[0] is block
    memory.end()
    Copies(memory).array(np.ones(200_000))
    assert len(memory._used) == 1
    assert memory._used[0] is not block
    memory.end()
    assert not memory._free


def test_a_large_view_of_a_mapped_file_is_copied_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(100_000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    tree = tree_of({"all": mapped, "part": mapped[5:10]}, snapshot=True)
    mapped[:] = 0
    assert tree["part"].tolist() == [5, 6, 7, 8, 9]
    assert tree["all"][-1] == 99_999


def test_a_tensor_looks_at_a_copy_of_its_storage() -> None:
    from persist._wire.torch.storage import Blob, Storage, Tensor

    memory = np.arange(1000.0)
    blob = Blob.of(memory)
    tensors = [Tensor(Storage(blob, "float64", 1000), at, (10,), (1,)) for at in (0, 5)]
    copies = Copies(Memory())
    for tensor in tensors:
        copies.tensor(tensor)
    memory[:] = -1
    first, second = (np.asarray(tensor) for tensor in tensors)
    assert first.tolist() == list(range(10))
    assert np.shares_memory(first, second)

"""What replaces files of users: saving, upgrading in place, undoing that, compacting, checkpoints.

Each `Operation` begins with a prepared folder, changes it once, and can say whether what is there
is the old state or the new one, to the last byte that is checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import persist
from persist import _container, ops
from persist._api.renew import renew
from persist.errors import DamagedFileError
from persist.tree import Record

FORMATS = {
    "persist": ".persist",
    "pickle": ".pkl",
    "npz": ".npz",
    "safetensors": ".safetensors",
    "torch-zip": ".pth",
}
SCHEMA = "operations.Net"


class Net:
    """What is upgraded in place."""


def registry(version: int) -> persist.Registry:
    fields = {1: ("W", "n"), 2: ("weights", "n", "kind")}[version]
    made = persist.Registry(f"version {version}")
    made.register(Net, version=version, fields=fields, schema=SCHEMA)
    if version == 2:
        made.migration(SCHEMA, 1, ops.rename({"W": "weights"}), ops.add("kind", np.ones(400)))
    return made


def arrays(number: int, size: int) -> dict[str, Any]:
    return {"w": np.full(size, float(number)), "b": np.full(3, float(number))}


class Operation(NamedTuple):
    """One change of a folder.

    Attributes:
        prepare: makes the old state in a folder.
        act: makes the new one of it.
        state: returns "old" or "new"; raises where what is there is neither, or is damaged.
        names: of the files that are there before, and those that are there afterwards.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    state: Callable[[Path], str]
    names: tuple[frozenset[str], frozenset[str]]


def saving(format: str, *, is_there: bool = True, durable: bool = True, size: int = 4000) -> Operation:  # fmt: skip
    name = f"net{FORMATS[format]}"

    def save(folder: Path, number: int) -> None:
        persist.save(arrays(number, size), folder / name, format=format, durable=durable)

    def state(folder: Path) -> str:
        if not is_there and not (folder / name).exists():
            return "old"
        with persist.open(folder / name, verify="always") as file:
            if file.damage:
                raise DamagedFileError("; ".join(file.damage))
            found = {key: np.asarray(array) for key, array in file.arrays.items()}
        number = int(found["b"][0])
        for key, array in arrays(number, size).items():
            np.testing.assert_array_equal(found[key], array)
        return {1: "old", 2: "new"}[number]

    return Operation(
        (lambda folder: save(folder, 1)) if is_there else lambda folder: None,
        lambda folder: save(folder, 2),
        state,
        (frozenset([name] if is_there else []), frozenset([name])),
    )


def in_place(
    *, from_: int = 1, to: int = 2, keep: bool = True, act: str = "upgrade", size: int = 4000
) -> Operation:
    """Of a container with two records: upgraded, undone or compacted."""
    name = "nets.persist"

    def prepare(folder: Path) -> None:
        nets = [
            Record(SCHEMA, {"W": np.arange(float(size)) + n, "n": n}, kind="newobj", version=1)
            for n in range(2)
        ]
        _container.write({"nets": nets}, folder / name, durable=False)
        if from_ == 2:
            renew(folder / name, registry=registry(2), keep=keep, durable=False)

    def change(folder: Path) -> None:
        if act == "upgrade":
            renew(folder / name, registry=registry(2), keep=keep)
        elif act == "undo":
            _container.undo(folder / name)
        else:
            _container.compact(folder / name)

    def state(folder: Path) -> str:
        assert _container.verify(folder / name) == []
        tree, _ = _container.read(folder / name, verify="always")
        versions = {record.version for record in tree["nets"]}
        (version,) = versions
        for n, record in enumerate(tree["nets"]):
            field = {1: "W", 2: "weights"}[version]
            np.testing.assert_array_equal(record[field], np.arange(float(size)) + n)
            assert record["n"] == n
            assert ("kind" in record.state) == (version == 2)
        if act == "compact":
            return "old" if _container.has_older(folder / name) else "new"
        return "old" if version == from_ else "new"

    names = frozenset([name])
    return Operation(prepare, change, state, (names, names))


def checkpoint(size: int = 4000) -> Operation:
    """The second of a run's checkpoints, of which one is kept."""

    def save(folder: Path, step: int) -> None:
        with persist.Checkpoints(folder, keep_last=1) as runs:
            runs.save(step, arrays(step, size), metrics={"loss": 1 / step})

    def state(folder: Path) -> str:
        runs = persist.Checkpoints(folder)
        found = runs.restore(verify="always")
        number = int(found["b"][0])
        for step in runs.steps():  # what is not removed yet is whole, too
            for key, array in arrays(step, size).items():
                np.testing.assert_array_equal(runs.restore(step, verify="always")[key], array)
        assert runs.latest() == number
        return {1: "old", 2: "new"}[number]

    first, second = "step-0000000001.persist", "step-0000000002.persist"
    lock = ".writer.lock"
    return Operation(
        lambda folder: save(folder, 1),
        lambda folder: save(folder, 2),
        state,
        (frozenset([first, lock]), frozenset([second, lock])),
    )


OPERATIONS: dict[str, Operation] = {
    **{f"save {format}": saving(format) for format in FORMATS},
    **{f"save a new {format}": saving(format, is_there=False) for format in FORMATS},
    "upgrade in place": in_place(keep=False),
    "upgrade in place, kept": in_place(),
    "undo": in_place(from_=2, to=1, act="undo"),
    "compact": in_place(from_=2, act="compact"),
    "checkpoint": checkpoint(),
}


def unfinished(folder: Path) -> list[str]:
    """Names of temporary files."""
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]

"""Instances of classes for the benchmark of the container: declared ones, and the same without."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np

import persist
from persist import ops
from persist._api.renew import renew
from persist.tree import Record

FIELDS = ("number", "rate", "name", "at")


class Work(NamedTuple):
    """One structure, of declared classes and of plain ones, and what the container wants to reach."""

    name: str
    ours: Any
    plain: Any
    wanted_save: str
    wanted_load: str


class Plain:
    """What pickle gets: no declaration, no version."""


class Point(persist.Versioned, version=1, schema="bench.Point"):
    """Four fields."""

    persistent = FIELDS


@attrs.define(eq=False)
class Node(persist.Versioned, version=1, schema="bench.Node"):
    """One node of a tree."""

    values: Any
    children: list[Any]


KINDS = [type(f"Kind{n}", (Plain,), {"__module__": __name__}) for n in range(50)]
DECLARED = [
    type(
        f"Declared{n}",
        (persist.Versioned,),
        {"__module__": __name__, "persistent": (*FIELDS, "near")},
        version=1,
        schema=f"bench.Declared{n}",
    )
    for n in range(50)
]
globals().update({kind.__name__: kind for kind in (*KINDS, *DECLARED)})


def works(count: int) -> Iterator[Work]:
    """Yield what is saved and loaded."""
    name = f"{count:,} objects of four fields, one class"
    yield Work(name, points(Point, count), points(Plain, count), "0.6", "0.5")
    name = f"{count:,} objects of 50 classes that refer to each other"
    yield Work(name, mixed(DECLARED, count), mixed(KINDS, count), "2.5", "2.0")
    nodes = count // 10
    name = f"a tree of {nodes:,} nodes with 16 floats each"
    yield Work(name, tree(Node, nodes), tree(PlainNode, nodes), "1.0", "0.5")


class PlainNode:
    """A node without declaration."""

    def __init__(self, values: Any, children: list[Any]) -> None:
        self.values = values
        self.children = children


def filled(obj: Any, n: int) -> Any:
    obj.number, obj.rate, obj.name, obj.at = n, n * 0.37, f"object {n}", (n, n + 1)
    return obj


def points(cls: type, count: int) -> list[Any]:
    return [filled(cls(), n) for n in range(count)]


def mixed(kinds: list[type], count: int) -> list[Any]:
    dice = random.Random(0)
    made: list[Any] = []
    for n in range(count):
        obj = filled(kinds[n % len(kinds)](), n)
        # Only near ones are referred to: pickle recurses along references.
        obj.near = made[dice.randrange(max(0, n - 3), n)] if n % 5 else None
        made.append(obj)
    return made


def tree(cls: Any, count: int) -> Any:
    rng = np.random.default_rng(0)
    nodes = [cls(rng.random(16), []) for _ in range(count)]
    for n in range(1, count):
        nodes[(n - 1) // 3].children.append(nodes[n])
    return nodes[0]


# Two versions ago.


class ByHand:
    """What people write: the state bears its version, and ``__setstate__`` looks at it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.get("version", 1)
        if version == 1:
            state = {**state, "label": state["name"]}
            del state["name"]
        if version <= 2:
            state = {**state, "unit": "m"}
        state["version"] = 3
        self.__dict__.update(state)


class Stepped(persist.Versioned, version=3, schema="bench.Stepped"):
    """The same by ready-made steps."""

    persistent = ("number", "rate", "label", "at", "unit")


persist.migration(Stepped, 1, ops.rename({"name": "label"}))
persist.migration(Stepped, 2, ops.add("unit", "m"))


def older(count: int) -> tuple[list[Any], list[Record], str]:
    """Return objects of version 1 as pickle and as a container would hold them, and their name."""
    old = [filled(ByHand(), n) for n in range(count)]
    records = [Record("bench.Stepped", dict(vars(obj)), kind="newobj", version=1) for obj in old]
    return old, records, f"{count:,} objects, migrated from version 1 to 3"


class Renamed:
    """A class whose fields had other names."""


def renamed(size: int) -> tuple[Record, persist.Registry]:
    """Return a record of version 1 that holds so many bytes, and a registry that renames its fields."""
    registry = persist.Registry("bench")
    registry.register(Renamed, version=2, fields=("weights",), schema="bench.Renamed")
    registry.migration("bench.Renamed", 1, ops.rename({"W": "weights"}))
    data = np.random.default_rng(0).integers(0, 255, size, "u1").view("<f4")
    return Record("bench.Renamed", {"W": data}, kind="newobj", version=1), registry


def upgraded_in_place(path: Path, registry: persist.Registry) -> Any:
    """Do what `persist upgrade --in-place` does to one file."""
    _, done = renew(path, registry=registry, durable=False)
    assert done is not None
    return done

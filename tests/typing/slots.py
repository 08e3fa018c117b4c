"""A class with slots, and a subclass with a state of its own."""

from typing import assert_type

import persist


class Counter(persist.Versioned, version=1, schema="typing.Counter"):
    __slots__ = ("count",)

    def __init__(self, count: int = 0) -> None:
        self.count = count


class Named(Counter, version=2, schema="typing.Named"):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


persist.migration(Named, 1, persist.ops.add("name", "unnamed"))
persist.save(Named("loss"), "named.persist", format="pickle", protocol=2)
old = persist.downgrade(Named("loss"), to={"typing.Named": 1})
assert_type(old.losses, list[str])
assert_type(persist.load("named.persist", Named).name, str)

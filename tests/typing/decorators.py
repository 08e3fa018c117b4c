"""What is decorated or registered keeps its type."""

import enum
from collections.abc import Callable
from typing import assert_type

import persist
from persist.ops import Instead


@persist.register
class Point:
    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y


class Foreign:
    size: int = 0


class Color(enum.Enum):
    RED = 1


assert_type(Point(1, 2).x, float)
assert_type(persist.register(Foreign, version=2, fields=["size"]), type[Foreign])
assert_type(persist.register(Color, schema="typing.Color"), type[Color])
persist.alias("oldlab.Color.CRIMSON", Color.RED)
persist.supported(Foreign, since=1, reader="2.4")


def relu(x: float) -> float:
    return max(x, 0.0)


assert_type(persist.constant("typing.relu", relu)(1.0), float)
assert_type(persist.constant("typing.limit", 3), int)


@persist.migration("typing.gone", 1)
def replaced(state: dict[str, float]) -> Instead:
    return Instead(sum(state.values()))


assert_type(replaced({}), Instead)

mine = persist.Registry("mine")


@mine.migration(Foreign, 1, to=2)
def doubled(state: dict[str, int]) -> dict[str, int]:
    return {"size": state["size"] * 2}


@mine.stamp(Foreign)
def always(state: object) -> int:
    return 1 if state else 2


@mine.plain("foreign.Size")
def size_of(record: persist.Record, looker: object) -> int:
    return len(record.args)


assert_type(doubled({}), dict[str, int])
assert_type(always(3), int)
same: Callable[[persist.Record, object], int] = size_of
assert_type(mine.upgrade({"size": 1}, Foreign, assume_version=1, unknown="drop"), Foreign)

"""The author of a pack needs nothing private."""

from typing import assert_type

import persist
from persist import ops
from persist.packs import LazyArray, Record, Rename, View, teach
from persist.typing import State

pack = persist.Registry("oldlab")
rows = teach(pack, __file__)
assert_type(rows, tuple[Rename, ...])
pack.alias("oldlab.layers.Dense", "oldlab.Dense", since="0.4", evidence="oldlab/layers.py")
pack.migration("oldlab.Dense", 1, ops.rename("W", "weights"))


@pack.stamp("oldlab.Dense")
def by_key(state: State) -> int:
    return 1 if "W" in state else 2


@pack.plain("oldlab.Model", "oldlab.nn.*")
def shown(record: Record, looker: object) -> View:
    return View({"weights": record["weights"]})


def is_late(value: object) -> bool:
    return isinstance(value, LazyArray)

"""Ready-made steps of a migration: rename, add, drop, convert, split, merge, nest ...

    persist.migration(Layer, 2, ops.rename("W", "weights"), ops.add("activation", "tanh"))

A step takes the state of one instance, a dict of fields (or a plain tuple, for
`unpack`), and gives the newer one. It says what it does (``str(step)``), knows
its inverse where one exists, reports what a downgrade loses, and can run on whole
columns: a dict from field to the values of many instances, an array with the
instances along its first axis or a list.

Names may lead inside: ``layers/*/W`` is the ``W`` of each of the ``layers``, through
dicts, lists, tuples' items, and records' fields; ``*`` is every item, ``**`` everything at any
depth (``**/W``), and a slash that belongs to a key is written ``\\/``. What two instances share is
changed once, and an array that they share stays shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persist.ops._base import Instead, Op
from persist.ops._fields import add, drop, pack, rename, unpack
from persist.ops._owners import from_base, to_base
from persist.ops._structure import delete, flatten, merge, move, nest, split, stack, unstack
from persist.ops._tables import add_column, drop_column, rename_column
from persist.ops._values import astype, convert, replace, reshape, scale, transpose

__all__ = [
    "Instead",
    "Op",
    "add",
    "add_column",
    "astype",
    "convert",
    "delete",
    "drop",
    "drop_column",
    "flatten",
    "from_base",
    "from_json",
    "merge",
    "move",
    "nest",
    "pack",
    "rename",
    "rename_column",
    "replace",
    "reshape",
    "scale",
    "split",
    "stack",
    "to_base",
    "to_json",
    "transpose",
    "unpack",
    "unstack",
]


def to_json(step: Op | Iterable[Op]) -> str:
    """Return a step, or several, as JSON text (`docs/ops.md` is the specification).

    Raises:
        TypeError: there is a function in it, or a value that is no data.
    """
    from persist.ops._data import to_text

    steps = step if isinstance(step, Op) else tuple(step)
    return to_text(steps, globals())


def from_json(text: str) -> Any:
    """Return the step that a JSON text holds; a tuple of them for a list.

    Raises:
        ValueError: it holds none.
    """
    from persist.ops._data import from_text

    return from_text(text, globals())

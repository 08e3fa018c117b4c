"""Compiled creation of instances from the values of their fields.

For a class whose state is its declared fields and nothing else, loading a current state is one
attribute assignment for each field. `StateMaker` generates them as source, once for each class and
order of names in a file. `assignments` is the one place that decides how an attribute is set; all
compiled loading uses it: plain pickle, trees and the columns of a container.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._trees.driver import ATOMS
from persist._upgrade.compiled import COMPILE_AFTER, compiled, is_ordinary
from persist.schema import dotted

if TYPE_CHECKING:
    from persist._instances.adapter import ClassAdapter

__all__ = ["StateMaker", "assignments", "is_final", "state_maker"]

_MOST = 1000  # makers kept for one class

_MAKE = """
def make(state):
    {unpack} = state{values}
    self = NEW(CLS)
    {puts}
    return self, {final}
"""


def assignments(cls: type, attributes: Sequence[str], values: Sequence[str]) -> list[str]:
    """Return source lines that set attributes of the instance ``self`` to expressions.

    A plain assignment is fastest; a class with its own ``__setattr__`` (such as a frozen class), and
    a name that cannot be written in source, need ``object.__setattr__``, in the source as ``PUT``.
    """
    setter: object = cls.__setattr__
    is_plain = setter is object.__setattr__ and all(map(is_ordinary, attributes))
    return [
        f"self.{name} = {value}" if is_plain else f"PUT(self, {name!r}, {value})"
        for name, value in zip(attributes, values, strict=True)
    ]


def is_final(value: Any) -> bool:
    """Whether nothing is built of a value in a tree, so that it is set as it is."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind is tuple:
        return ATOMS.issuperset(map(type, value))
    return kind is np.ndarray and value.flags.writeable and not value.dtype.hasobject


class StateMaker:
    """Makes the instances of a class from current states whose fields have one order.

    Attributes:
        names: of the fields, in the order of the states.
        attributes: where they are stored, in the same order.
        make: a state (a dict, or an envelope) -> the instance, and whether all its values are final.
            Compiled when it has been used a few times. Raises AttributeError or TypeError if an
            attribute cannot be set.
    """

    def __init__(self, adapter: ClassAdapter, names: tuple[str, ...], is_envelope: bool) -> None:
        attributes = {field.name: field.attribute for field in adapter.layout.leaf.fields}
        self.names = names
        self.attributes = tuple(attributes[name] for name in names)
        self._cls = adapter.cls
        self._is_envelope = is_envelope
        self._uses = 0
        self.make: Callable[[Any], tuple[Any, bool]] = self._make

    def _make(self, state: Any) -> tuple[object, bool]:
        self._uses += 1
        if self._uses >= COMPILE_AFTER:
            self.make = self._compiled()
        values = state[1] if self._is_envelope else state.values()
        obj: Any = object.__new__(self._cls)
        put = object.__setattr__
        for name, value in zip(self.attributes, values, strict=True):
            put(obj, name, value)
        return obj, all(map(is_final, values))

    def _compiled(self) -> Any:
        names = [f"v{at}" for at in range(len(self.names))]
        source = _MAKE.format(
            unpack=f"_, ({', '.join(names)},)" if self._is_envelope else f"{', '.join(names)},",
            values="" if self._is_envelope else ".values()",
            puts="\n    ".join(assignments(self._cls, self.attributes, names)),
            final=" and ".join(f"(type({name}) in ATOMS or FINAL({name}))" for name in names),
        )
        space: dict[str, object] = {
            "NEW": object.__new__,
            "CLS": self._cls,
            "PUT": object.__setattr__,
            "ATOMS": ATOMS,
            "FINAL": is_final,
        }
        compiled(source, f"fields of {dotted(self._cls)}", space)
        return space["make"]


def state_maker(adapter: ClassAdapter, names: tuple[str, ...], is_envelope: bool) -> StateMaker:
    """Return the maker of a class for an order of its fields, all of which are named."""
    key = (names, is_envelope)
    found = adapter.makers.get(key)
    if found is None:
        if len(adapter.makers) > _MOST:
            adapter.makers.clear()
        found = adapter.makers[key] = StateMaker(adapter, names, is_envelope)
    return found

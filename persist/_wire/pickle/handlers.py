"""What rebuilders and finishers of the pickle machine are, and how they are called.

A rebuilder makes plain data of the arguments of a call that a pickle spells; a finisher replaces a
record when its state is set. Both check every part, and return `INERT` for what is not plain data.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from persist.errors import PersistError
from persist.tree import Record

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["FAULTS", "INERT", "Finisher", "Rebuilder", "call_handler", "charge"]

Rebuilder = Callable[["Machine", tuple[Any, ...]], Any]
Finisher = Callable[["Machine", Record], Any]

INERT: object = type("Inert", (), {"__repr__": lambda self: "INERT"})()
"""Returned by a rebuilder or finisher if the parts are not plain data: the record stays."""

# A damaged or hostile file can raise these inside an opcode: an empty stack, a memo slot that was
# never set, bytes that are not a number or text, a value of the wrong type. The machine reports
# them with opcode and offset; where a handler raises one, the record stays.
FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
    MemoryError,
)

_HOLDERS = frozenset((list, tuple, set, frozenset, dict, OrderedDict, Counter, deque))
_RAW = frozenset((str, bytes, bytearray))


def call_handler(machine: Machine, handler: Callable[[Machine, Any], object], parts: object) -> Any:
    """Call a handler; if the parts do not fit together, the record is kept instead."""
    try:
        return handler(machine, parts)
    except PersistError:
        raise
    except FAULTS:
        return INERT


def charge(machine: Machine, parts: tuple[Any, ...]) -> None:
    """Charge the bytes that a handler may copy, since a file can pass the same parts repeatedly."""
    for part in parts:
        kind = type(part)
        if kind in _HOLDERS:
            if len(part) > 16:
                machine.source.spend_copies(16 * len(part))
        elif kind in _RAW and len(part) > 16:
            machine.source.spend_copies(len(part))

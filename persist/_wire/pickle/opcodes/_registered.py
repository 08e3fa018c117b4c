"""The table of opcodes, and the decorator that fills it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["NAMES", "TABLE", "opcode"]

_Function = TypeVar("_Function", bound="Callable[[Machine], None]")


def _unknown(machine: Machine) -> None:
    raise ValueError("no opcode")


TABLE: list[Callable[[Machine], None]] = [_unknown] * 256
"""The function for each opcode, by its byte."""

NAMES = {0x2E: "STOP"}
"""The name of each opcode in CPython's ``pickletools``, by its byte."""


def opcode(byte: bytes, name: str) -> Callable[[_Function], _Function]:
    """Register a function as the one that executes an opcode.

    Args:
        byte: the opcode.
        name: its name in CPython's ``pickletools``.
    """

    def register(function: _Function) -> _Function:
        TABLE[byte[0]] = function
        NAMES[byte[0]] = name
        return function

    return register

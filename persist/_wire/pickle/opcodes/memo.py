"""Opcodes of the stack, its marks and the memo."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

from persist._wire.pickle.opcodes._registered import opcode
from persist._wire.pickle.opcodes.instances import build_record
from persist._wire.pickle.opcodes.numbers import decimal
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["EarlierMemo", "fetched", "lacks"]

_U4 = struct.Struct("<I").unpack_from


class EarlierMemo(Exception):
    """A pickle refers to a memo entry of an earlier pickle of the same ``Pickler``."""


@opcode(b"(", "MARK")
def _mark(machine: Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


@opcode(b"1", "POP_MARK")
def _pop_mark(machine: Machine) -> None:
    machine.pop_to_mark()


@opcode(b"0", "POP")
def _pop(machine: Machine) -> None:
    if machine.stack:
        value = machine.stack.pop()
        if type(value) is Record:
            _apply_setter(machine, value)
    else:
        machine.pop_to_mark()


def _apply_setter(machine: Machine, call: Record) -> None:
    """Keep the state that a call, whose result is thrown away, gave to the object below it.

    The sixth item of ``__reduce__`` is written so: ``setter(object, state)``, then POP.
    """
    args = call.args
    if (
        call.maker is None
        or len(args) != 2
        or not machine.stack
        or machine.stack[-1] is not args[0]
    ):
        return
    if type(args[0]) is Record and args[0].state is ABSENT:
        build_record(machine, args[0], args[1])


@opcode(b"2", "DUP")
def _dup(machine: Machine) -> None:
    value = machine.stack[-1]
    fetched(machine, value)
    machine.stack.append(value)


def _store(machine: Machine, slot: int) -> None:
    if slot < 0:
        raise ValueError(f"memo index {slot}")
    value = machine.memo[slot] = machine.stack[-1]
    if type(value) is Record and id(value) in machine.waiting:
        machine.waiting[id(value)].append(slot)


def lacks(machine: Machine, slot: int) -> NoReturn:
    """Raise that the memo has nothing at an index, or that only an earlier memo has."""
    if slot in machine.earlier:
        raise EarlierMemo
    raise LookupError(f"nothing was put into the memo at {slot}")


def _fetch(machine: Machine, slot: int) -> None:
    if slot not in machine.memo:
        lacks(machine, slot)
    value = machine.memo[slot]
    fetched(machine, value)
    machine.stack.append(value)


def fetched(machine: Machine, value: object) -> None:
    """Note that a record was used before it was finished."""
    if type(value) is Record and id(value) in machine.waiting:
        machine.escaped.add(id(value))


@opcode(b"p", "PUT")
def _put(machine: Machine) -> None:
    _store(machine, decimal(machine, machine.line()))


@opcode(b"q", "BINPUT")
def _binput(machine: Machine) -> None:
    machine.need(1)
    machine.pos += 1
    _store(machine, machine.data[machine.pos - 1])


@opcode(b"r", "LONG_BINPUT")
def _long_binput(machine: Machine) -> None:
    _store(machine, _U4(machine.take(4))[0])


@opcode(b"\x94", "MEMOIZE")
def _memoize(machine: Machine) -> None:
    _store(machine, len(machine.memo))


@opcode(b"g", "GET")
def _get(machine: Machine) -> None:
    _fetch(machine, decimal(machine, machine.line()))


@opcode(b"h", "BINGET")
def _binget(machine: Machine) -> None:
    machine.need(1)
    machine.pos += 1
    _fetch(machine, machine.data[machine.pos - 1])


@opcode(b"j", "LONG_BINGET")
def _long_binget(machine: Machine) -> None:
    _fetch(machine, _U4(machine.take(4))[0])

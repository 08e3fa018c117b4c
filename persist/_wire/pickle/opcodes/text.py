"""Opcodes of text, bytes and out-of-band buffers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from persist._wire.pickle.opcodes._registered import opcode
from persist._wire.pickle.strings import unescape
from persist.tree import PersistentRef

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

_I4 = struct.Struct("<i").unpack_from
_U4 = struct.Struct("<I").unpack_from
_U8 = struct.Struct("<Q").unpack_from


def _py2_string(machine: Machine, data: bytes) -> None:
    machine.has_py2_str = True
    if machine.py2 is None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            machine.stack.append(data)
            return
        if len(text) != len(data):
            machine.raw_strings[id(text)] = (text, data)
        machine.stack.append(text)
        return
    value = machine.py2(data)
    if value is not data:
        machine.raw_strings[id(value)] = (value, data)
    machine.stack.append(value)


@opcode(b"S", "STRING")
def _string(machine: Machine) -> None:
    line = machine.line().rstrip(b"\r ")
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b"\"'":
        raise ValueError("the string is not quoted")
    _py2_string(machine, unescape(line[1:-1]))


@opcode(b"T", "BINSTRING")
def _binstring(machine: Machine) -> None:
    length = _I4(machine.take(4))[0]
    if length < 0:
        raise ValueError(f"a length of {length}")
    _py2_string(machine, machine.take(length))


@opcode(b"U", "SHORT_BINSTRING")
def _short_binstring(machine: Machine) -> None:
    _py2_string(machine, machine.take(machine.take(1)[0]))


@opcode(b"V", "UNICODE")
def _unicode(machine: Machine) -> None:
    machine.stack.append(str(machine.line(), "raw-unicode-escape"))


def _text(machine: Machine, length: int) -> None:
    machine.stack.append(str(machine.take(length), "utf-8", "surrogatepass"))


@opcode(b"\x8c", "SHORT_BINUNICODE")
def _short_binunicode(machine: Machine) -> None:
    machine.need(1)
    length = machine.data[machine.pos]
    machine.pos += 1
    _text(machine, length)


@opcode(b"X", "BINUNICODE")
def _binunicode(machine: Machine) -> None:
    _text(machine, _U4(machine.take(4))[0])


@opcode(b"\x8d", "BINUNICODE8")
def _binunicode8(machine: Machine) -> None:
    _text(machine, _U8(machine.take(8))[0])


@opcode(b"C", "SHORT_BINBYTES")
def _short_binbytes(machine: Machine) -> None:
    machine.stack.append(machine.take(machine.take(1)[0]))


@opcode(b"B", "BINBYTES")
def _binbytes(machine: Machine) -> None:
    machine.stack.append(machine.take(_U4(machine.take(4))[0]))


@opcode(b"\x8e", "BINBYTES8")
def _binbytes8(machine: Machine) -> None:
    machine.stack.append(machine.take(_U8(machine.take(8))[0]))


@opcode(b"\x96", "BYTEARRAY8")
def _bytearray8(machine: Machine) -> None:
    machine.stack.append(bytearray(machine.take(_U8(machine.take(8))[0])))


@opcode(b"\x97", "NEXT_BUFFER")
def _next_buffer(machine: Machine) -> None:
    number, machine.buffer = machine.buffer, machine.buffer + 1
    if machine.buffers is not None and number < len(machine.buffers):
        machine.stack.append(machine.buffers[number])
    else:
        machine.stack.append(PersistentRef(f"out-of-band buffer {number}"))


@opcode(b"\x98", "READONLY_BUFFER")
def _readonly_buffer(machine: Machine) -> None:
    if not machine.stack:
        raise IndexError("the stack is empty")

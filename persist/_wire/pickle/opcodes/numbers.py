"""Opcodes of the protocol, of frames, constants and numbers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from persist._wire.pickle.opcodes._registered import opcode
from persist.errors import DamagedFileError
from persist.tree import PRIMITIVES

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["decimal"]

_LONG = 1 << 10  # integers of more bits are charged for hashing
_CHEAP_WITHOUT_INT = PRIMITIVES - {int}

_U2 = struct.Struct("<H").unpack_from
_I4 = struct.Struct("<i").unpack_from
_U8 = struct.Struct("<Q").unpack_from
_F8 = struct.Struct(">d").unpack_from


@opcode(b"\x80", "PROTO")
def _proto(machine: Machine) -> None:
    version = machine.take(1)[0]
    if version > 5:
        raise DamagedFileError(
            f"pickle protocol {version} is not known.",
            file=machine.source.name,
            where=f"offset {machine.at}",
            remedy="Protocols 0 to 5 are; the file is damaged, or newer than this program.",
        )
    machine.protocol = max(machine.protocol, version)


@opcode(b"\x95", "FRAME")
def _frame(machine: Machine) -> None:
    machine.need(8)
    (length,) = _U8(machine.data, machine.pos)
    machine.pos += 8
    machine.due = max(machine.due, machine.pos + length)  # a truncated frame is read up to its end


@opcode(b"N", "NONE")
def _none(machine: Machine) -> None:
    machine.stack.append(None)


@opcode(b"\x88", "NEWTRUE")
def _true(machine: Machine) -> None:
    machine.stack.append(True)


@opcode(b"\x89", "NEWFALSE")
def _false(machine: Machine) -> None:
    machine.stack.append(False)


@opcode(b"I", "INT")
def _int(machine: Machine) -> None:
    line = machine.line()
    if line == b"00":
        machine.stack.append(False)
    elif line == b"01":
        machine.stack.append(True)
    else:
        machine.stack.append(decimal(machine, line))


@opcode(b"L", "LONG")
def _long(machine: Machine) -> None:
    line = machine.line().strip()
    machine.stack.append(decimal(machine, line[:-1] if line[-1:] in (b"L", b"l") else line))


def decimal(machine: Machine, text: bytes) -> int:
    """Read decimal digits; long ones by parts, since CPython refuses over 4,300 at once."""
    text = text.strip()
    if len(text) <= 4000:
        return int(text)
    if len(text) > machine.source.limits.digits:
        machine.too_much(f"an integer of {len(text):,} digits is here.", "digits")
    machine.steps += (len(text) // 100) ** 2 // 100  # charged as opcodes
    machine.cheap_keys = _CHEAP_WITHOUT_INT
    negative, digits = text.startswith(b"-"), text.lstrip(b"+-")
    if not digits.isdigit():
        raise ValueError("no decimal digits")
    first = len(digits) % 4000
    parts = [int(digits[:first] or b"0")]
    parts += [int(digits[at : at + 4000]) for at in range(first, len(digits), 4000)]
    power = 10**4000
    while len(parts) > 1:  # adjacent parts are joined, so that both factors have similar lengths
        if len(parts) % 2:
            parts.insert(0, 0)
        parts = [high * power + low for high, low in zip(parts[::2], parts[1::2], strict=True)]
        power *= power
    return -parts[0] if negative else parts[0]


@opcode(b"J", "BININT")
def _binint(machine: Machine) -> None:
    machine.need(4)
    machine.stack.append(_I4(machine.data, machine.pos)[0])
    machine.pos += 4


@opcode(b"K", "BININT1")
def _binint1(machine: Machine) -> None:
    machine.need(1)
    machine.stack.append(machine.data[machine.pos])
    machine.pos += 1


@opcode(b"M", "BININT2")
def _binint2(machine: Machine) -> None:
    machine.need(2)
    machine.stack.append(_U2(machine.data, machine.pos)[0])
    machine.pos += 2


@opcode(b"\x8a", "LONG1")
def _long1(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(machine.take(1)[0]), "little", signed=True))


@opcode(b"\x8b", "LONG4")
def _long4(machine: Machine) -> None:
    length = _I4(machine.take(4))[0]
    if length < 0:
        raise ValueError(f"a length of {length}")
    if 8 * length > _LONG:
        machine.cheap_keys = _CHEAP_WITHOUT_INT
    machine.stack.append(int.from_bytes(machine.take(length), "little", signed=True))


@opcode(b"F", "FLOAT")
def _float(machine: Machine) -> None:
    machine.stack.append(float(machine.line()))


@opcode(b"G", "BINFLOAT")
def _binfloat(machine: Machine) -> None:
    machine.need(8)
    machine.stack.append(_F8(machine.data, machine.pos)[0])
    machine.pos += 8

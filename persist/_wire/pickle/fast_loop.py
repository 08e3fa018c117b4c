"""The pickle machine's inner loop: the most frequent opcodes, inlined.

A graph of small objects has millions of opcodes, and calling a method for each costs more than
executing it. So the two dozen that make up nearly all of a pickle are executed here, on local
names and on a copy of the next bytes. The other opcodes, and all opcodes near the end of the
available bytes, are executed through the table of `opcodes` (`step`). Both paths give the same
result: a test runs the corpus through both.

Source of the opcodes: CPython's ``Lib/pickletools.py``.
"""

from __future__ import annotations

import struct
from itertools import count
from typing import TYPE_CHECKING

from persist._wire.pickle.opcodes import TABLE
from persist._wire.pickle.opcodes.containers import set_pairs
from persist._wire.pickle.opcodes.memo import fetched, lacks
from persist._wire.pickle.records import new_record, set_state
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["MARGIN", "run", "step"]

# Upper bound of the bytes of any opcode executed here, without text, plus the PUT that follows it.
MARGIN = 24
# Bytes in a chunk: few after a jump, twice as many for each chunk that follows without one.
_LEAST, _MOST = 1 << 12, 1 << 18
_FEW = 4000  # dicts of fewer keys are not checked for equal hashes

_I4 = struct.Struct("<i").unpack_from
_U4 = struct.Struct("<I").unpack_from
_F8 = struct.Struct(">d").unpack_from


def step(machine: Machine) -> bool:
    """Execute one opcode through the table, with every byte checked. True for STOP."""
    at = machine.at = machine.pos
    if at >= machine.end:
        machine.need(1)
    machine.pos = at + 1
    code = machine.data[at]
    if code == 0x2E:
        return True
    machine.steps += 1
    if machine.steps > machine.most:
        machine.too_much(f"more than {machine.most:,} opcodes are executed.", "opcodes")
    TABLE[code](machine)
    return False


def run(machine: Machine) -> None:
    """Execute opcodes up to STOP."""
    size, behind = _LEAST, -1
    while True:
        pos, left = machine.pos, machine.most - machine.steps
        if pos + MARGIN > machine.end or left < _LEAST:
            if step(machine):
                return
            continue
        # An opcode has at least one byte, so the chunk cannot hold more opcodes than are left.
        size = min(2 * size, _MOST, left) if pos <= behind else _LEAST
        if machine.meter is not None:
            machine.meter.at("read", pos, machine.source.size, "bytes", machine.source.name)
        chunk = bytes(machine.data[pos : pos + size])
        behind = pos + len(chunk) + MARGIN
        if _run(machine, chunk, pos):
            return


def _run(machine: Machine, chunk: bytes, base: int) -> bool:
    """Execute the opcodes in a copy of the bytes at ``base``. True for STOP.

    Returns False at the end of the chunk, or earlier when a handler has charged extra steps.
    """
    memo, waiting, marked = machine.memo, machine.waiting, machine.marked
    finishers = machine.finishers
    is_plain_str = machine.py2 is None
    stack, find, phrase = machine.stack, chunk.find, machine.phrase
    safe = len(chunk) - MARGIN
    at = here = 0  # positions of the opcode, and of the byte after it
    steps = synced = machine.steps  # `synced`: the steps that the machine has counted
    more = 0  # opcodes executed in groups, which are added at the end
    try:
        for steps in count(synced + 1):
            at = here
            if at > safe:
                steps -= 1
                return False
            code = chunk[at]
            here = at + 1
            if code >= 0x80:
                if code == 0x94:  # MEMOIZE
                    value = stack[-1]
                    slot = len(memo)
                    memo[slot] = value
                    if waiting and type(value) is Record and id(value) in waiting:
                        waiting[id(value)].append(slot)
                    continue
                if code == 0x8C:  # SHORT_BINUNICODE
                    end = at + 2 + chunk[here]
                    if end <= safe:
                        try:
                            value = chunk[at + 2 : end].decode()
                        except UnicodeDecodeError:
                            value = str(chunk[at + 2 : end], "utf-8", "surrogatepass")
                        stack.append(value)
                        if chunk[end] == 0x94:  # MEMOIZE, as a rule
                            memo[len(memo)] = value
                            here, more = end + 1, more + 1
                        else:
                            here = end
                        continue
                if code == 0x86:  # TUPLE2
                    value = stack.pop()
                    stack[-1] = value = (stack[-1], value)
                    if chunk[here] == 0x94:
                        memo[len(memo)] = value
                        here, more = here + 1, more + 1
                    continue
                if code == 0x81:  # NEWOBJ
                    value, cls = stack[-1], stack[-2]
                    known = finishers.get(id(cls))
                    is_plain = known is not None and known[0] is cls and not known[1]
                    if is_plain and type(value) is tuple:  # nothing to finish when it is built
                        del stack[-1]
                        stack[-1] = new_record(cls, value)
                        continue
                elif code == 0x85:  # TUPLE1
                    stack[-1] = (stack[-1],)
                    continue
                elif code == 0x88 or code == 0x89:  # NEWTRUE, NEWFALSE
                    stack.append(code == 0x88)
                    continue
                elif code == 0x87:  # TUPLE3
                    third, value = stack.pop(), stack.pop()
                    stack[-1] = (stack[-1], value, third)
                    continue
            elif code >= 0x68:
                if code == 0x71 or code == 0x72:  # BINPUT, LONG_BINPUT
                    if code == 0x71:
                        slot, here = chunk[here], at + 2
                    else:
                        slot, here = _U4(chunk, here)[0], at + 5
                    memo[slot] = value = stack[-1]
                    if waiting and type(value) is Record and id(value) in waiting:
                        waiting[id(value)].append(slot)
                    continue
                if code == 0x68 or code == 0x6A:  # BINGET, LONG_BINGET
                    if code == 0x68:
                        slot, here = chunk[here], at + 2
                    else:
                        slot, here = _U4(chunk, here)[0], at + 5
                    if slot not in memo:
                        lacks(machine, slot)
                    value = memo[slot]
                    if waiting and type(value) is Record:
                        fetched(machine, value)
                    stack.append(value)
                    continue
                if code == 0x75:  # SETITEMS
                    items = stack
                    stack = machine.stack = marked.pop()
                    set_pairs(machine, stack[-1], items)
                    if machine.steps != synced:
                        return False
                    continue
                if code == 0x7D:  # EMPTY_DICT
                    value = {}
                    stack.append(value)
                    if chunk[here] == 0x94:
                        memo[len(memo)] = value
                        here, more = here + 1, more + 1
                    elif chunk[here] == 0x72:
                        memo[_U4(chunk, at + 2)[0]] = value
                        here, more = at + 6, more + 1
                    continue
                if code == 0x74:  # TUPLE
                    value = tuple(stack)
                    stack = machine.stack = marked.pop()
                    stack.append(value)
                    if chunk[here] == 0x94:
                        memo[len(memo)] = value
                        here, more = here + 1, more + 1
                    continue
                if code == 0x70:  # PUT
                    end = find(b"\n", here, safe)
                    if 0 < end - here < 10:
                        slot, here = int(chunk[here:end]), end + 1
                        if slot < 0:
                            raise ValueError(f"memo index {slot}")
                        memo[slot] = value = stack[-1]
                        if waiting and type(value) is Record and id(value) in waiting:
                            waiting[id(value)].append(slot)
                        continue
                elif code == 0x73:  # SETITEM
                    value, key = stack[-1], stack[-2]
                    holder = stack[-3]
                    if type(key) is str and type(holder) is dict and len(holder) < _FEW:
                        holder[key] = value
                        del stack[-2:]
                        continue
            elif code == 0x4B:  # BININT1
                stack.append(chunk[here])
                here = at + 2
                continue
            elif code == 0x28:  # MARK
                if phrase is not None and chunk[here] == 0x28:
                    replaced = phrase(chunk, at, stack, memo)
                    if replaced is not None:
                        stack[-1], here, opcodes = replaced
                        more += opcodes - 1
                        continue
                marked.append(stack)
                stack = machine.stack = []
                continue
            elif code == 0x29:  # EMPTY_TUPLE
                if chunk[here] == 0x81 and stack:  # NEWOBJ, as a rule
                    cls = stack[-1]
                    known = finishers.get(id(cls))
                    if known is not None and known[0] is cls and not known[1]:
                        stack[-1] = value = new_record(cls, ())
                        if chunk[at + 2] == 0x94:  # MEMOIZE, as a rule
                            memo[len(memo)] = value
                            here, more = at + 3, more + 2
                        else:
                            here, more = at + 2, more + 1
                        continue
                stack.append(())
                continue
            elif code == 0x58:  # BINUNICODE
                end = at + 5 + _U4(chunk, here)[0]
                if end <= safe:
                    try:
                        value = chunk[at + 5 : end].decode()
                    except UnicodeDecodeError:
                        value = str(chunk[at + 5 : end], "utf-8", "surrogatepass")
                    stack.append(value)
                    code = chunk[end]
                    if code == 0x72:  # LONG_BINPUT, as a rule
                        memo[_U4(chunk, end + 1)[0]] = value
                        here, more = end + 5, more + 1
                    elif code == 0x71:  # BINPUT
                        memo[chunk[end + 1]] = value
                        here, more = end + 2, more + 1
                    else:
                        here = end
                    continue
            elif code == 0x4A:  # BININT
                stack.append(_I4(chunk, here)[0])
                here = at + 5
                continue
            elif code == 0x47:  # BINFLOAT
                stack.append(_F8(chunk, here)[0])
                here = at + 9
                continue
            elif code == 0x62:  # BUILD
                value = stack[-2]
                if type(value) is Record and id(value) not in waiting and value.state is ABSENT:
                    set_state(value, stack.pop())
                    continue
            elif code == 0x4D:  # BININT2
                stack.append(chunk[here] | chunk[at + 2] << 8)
                here = at + 3
                continue
            elif code == 0x55:  # SHORT_BINSTRING
                end = at + 2 + chunk[here]
                if is_plain_str and end <= safe:
                    machine.has_py2_str = True
                    try:
                        text = chunk[at + 2 : end].decode()
                    except UnicodeDecodeError:
                        stack.append(chunk[at + 2 : end])
                    else:
                        if len(text) != end - at - 2:
                            machine.raw_strings[id(text)] = (text, chunk[at + 2 : end])
                        stack.append(text)
                    here = end
                    continue
            elif code == 0x5D:  # EMPTY_LIST
                value = []
                stack.append(value)
                if chunk[here] == 0x94:
                    memo[len(memo)] = value
                    here, more = here + 1, more + 1
                elif chunk[here] == 0x72:
                    memo[_U4(chunk, at + 2)[0]] = value
                    here, more = at + 6, more + 1
                continue
            elif code == 0x65:  # APPENDS
                if type(marked[-1][-1]) is list:
                    items = stack
                    stack = machine.stack = marked.pop()
                    stack[-1].extend(items)
                    continue
            elif code == 0x61:  # APPEND
                if type(stack[-2]) is list:
                    value = stack.pop()
                    stack[-1].append(value)
                    continue
            elif code == 0x43:  # SHORT_BINBYTES
                end = at + 2 + chunk[here]
                if end <= safe:
                    value = chunk[at + 2 : end]
                    stack.append(value)
                    if chunk[end] == 0x94:
                        memo[len(memo)] = value
                        here, more = end + 1, more + 1
                    else:
                        here = end
                    continue
            elif code == 0x4E:  # NONE
                stack.append(None)
                continue
            elif code == 0x67:  # GET
                end = find(b"\n", here, safe)
                if 0 < end - here < 10:
                    slot, here = int(chunk[here:end]), end + 1
                    if slot not in memo:
                        lacks(machine, slot)
                    value = memo[slot]
                    if waiting and type(value) is Record:
                        fetched(machine, value)
                    stack.append(value)
                    continue
            elif code == 0x49:  # INT
                end = find(b"\n", here, safe)
                if 0 < end - here < 20 and chunk[here] != 0x30:  # 00 and 01 are False and True
                    stack.append(int(chunk[here:end]))
                    here = end + 1
                    continue
            elif code == 0x46:  # FLOAT
                end = find(b"\n", here, safe)
                if 0 < end - here < 40:
                    stack.append(float(chunk[here:end]))
                    here = end + 1
                    continue
            elif code == 0x2E:  # STOP, which is not counted
                steps -= 1
                return True
            # All other opcodes, and those above whose operands are not the usual ones.
            machine.at, machine.pos = base + at, base + here
            machine.steps = synced = steps
            TABLE[code](machine)
            stack, here = machine.stack, machine.pos - base
            if machine.steps != steps:
                return False
        return False
    finally:
        machine.at, machine.pos = base + at, base + here
        machine.steps += steps - synced + more

"""Opcodes of lists, tuples, dicts and sets, whose keys are checked before CPython hashes them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from persist._wire.base.c_recursion import RECURSIVE
from persist._wire.base.hashing import COLLISION_CHECK, colliding
from persist._wire.pickle.opcodes._registered import opcode
from persist.errors import LimitError
from persist.tree import Record

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["hashable_set", "set_pairs"]

_COLLISION_BITS = COLLISION_CHECK.bit_length() - 1
_BATCH = 2000  # keys and values that are set at once; CPython writes as many


@opcode(b"]", "EMPTY_LIST")
def _empty_list(machine: Machine) -> None:
    machine.stack.append([])


@opcode(b")", "EMPTY_TUPLE")
def _empty_tuple(machine: Machine) -> None:
    machine.stack.append(())


@opcode(b"}", "EMPTY_DICT")
def _empty_dict(machine: Machine) -> None:
    machine.stack.append({})


@opcode(b"\x8f", "EMPTY_SET")
def _empty_set(machine: Machine) -> None:
    machine.stack.append(set())


@opcode(b"l", "LIST")
def _list(machine: Machine) -> None:
    items = machine.pop_to_mark()
    machine.stack.append(items)


@opcode(b"t", "TUPLE")
def _tuple(machine: Machine) -> None:
    items = machine.pop_to_mark()
    machine.stack.append(tuple(items))


@opcode(b"\x85", "TUPLE1")
def _tuple1(machine: Machine) -> None:
    machine.stack[-1] = (machine.stack[-1],)


@opcode(b"\x86", "TUPLE2")
def _tuple2(machine: Machine) -> None:
    second = machine.stack.pop()
    machine.stack[-1] = (machine.stack[-1], second)


@opcode(b"\x87", "TUPLE3")
def _tuple3(machine: Machine) -> None:
    third, second = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1] = (machine.stack[-1], second, third)


@opcode(b"d", "DICT")
def _dict(machine: Machine) -> None:
    items = machine.pop_to_mark()
    target: dict[Any, Any] = {}
    set_pairs(machine, target, items)
    machine.stack.append(target)


@opcode(b"\x91", "FROZENSET")
def _frozenset(machine: Machine) -> None:
    items = machine.pop_to_mark()
    machine.stack.append(frozenset(hashable_set(machine, items)))


@opcode(b"a", "APPEND")
def _append(machine: Machine) -> None:
    value = machine.stack.pop()
    _extend(machine, machine.stack[-1], [value])


@opcode(b"e", "APPENDS")
def _appends(machine: Machine) -> None:
    items = machine.pop_to_mark()
    _extend(machine, machine.stack[-1], items)


def _extend(machine: Machine, target: object, items: list[object]) -> None:
    if type(target) is Record:
        target.listitems.extend(items)
    elif isinstance(target, list | deque):
        target.extend(items)
        if type(target) is deque:
            _note_recursive(machine, target, items)
    else:
        raise TypeError(f"items are appended to a {type(target).__name__}")


@opcode(b"s", "SETITEM")
def _setitem(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    set_pairs(machine, machine.stack[-1], [key, value])


@opcode(b"u", "SETITEMS")
def _setitems(machine: Machine) -> None:
    items = machine.pop_to_mark()
    set_pairs(machine, machine.stack[-1], items)


@opcode(b"\x90", "ADDITEMS")
def _additems(machine: Machine) -> None:
    items = machine.pop_to_mark()
    target = machine.stack[-1]
    if type(target) is Record:
        target.listitems.extend(items)
    elif isinstance(target, set):
        target |= hashable_set(machine, items)
    else:
        raise TypeError(f"items are added to a {type(target).__name__}")


def set_pairs(machine: Machine, target: object, items: list[object]) -> None:
    """Set keys and values, in turn, on a dict, or note them as items of a record."""
    if len(items) % 2:
        raise ValueError("a key has no value")
    if type(target) is Record:
        target.dictitems.extend(zip(items[::2], items[1::2], strict=True))
        return
    if not isinstance(target, dict):
        raise TypeError(f"items are set on a {type(target).__name__}")
    if type(target) is dict and len(items) <= _BATCH:
        keys, size = items[::2], len(target)
        if machine.cheap_keys.issuperset(map(type, keys)):
            target.update(zip(keys, items[1::2], strict=True))
            if size.bit_length() != len(target).bit_length() > _COLLISION_BITS:
                _check_collisions(machine, target)
            return
    for index in range(0, len(items), 2):
        key = items[index]
        if type(key) not in machine.cheap_keys:
            _check_key(machine, key)
        size = len(target)
        target[key] = items[index + 1]
        if size >= COLLISION_CHECK and not size & (size - 1) and len(target) > size:
            _check_collisions(machine, target)
    if type(target) is defaultdict:
        _note_recursive(machine, target, items[1::2])


def hashable_set(machine: Machine, items: list[Any]) -> set[Any]:
    """Return the items as a set; raise for values that cannot or must not be hashed."""
    result: set[object] = set()
    for item in items:
        if type(item) not in machine.cheap_keys:
            _check_key(machine, item)
        size = len(result)
        result.add(item)
        if size >= COLLISION_CHECK and not size & (size - 1) and len(result) > size:
            _check_collisions(machine, result)
    return result


def _check_key(machine: Machine, key: object) -> None:
    """Limit the values that hashing ``key`` visits, before CPython hashes it on the C stack."""
    limits = machine.source.limits
    cost = machine.keys.of(key, limits.hashed, limits.depth)
    if cost.visited > limits.hashed:
        machine.too_much(f"a key holds more than {limits.hashed:,} values.", "hashed")
    if cost.depth > limits.depth:
        machine.too_much(f"a key is nested more than {limits.depth:,} deep.", "depth")
    if cost.unhashable is not None:
        raise TypeError(f"a {cost.unhashable.__name__} is used as a key")
    if cost.is_slow:
        raise LimitError(
            "decimals and integers of more than 600 digits are keys in one pickle, and "
            "comparing the two takes quadratic time.",
            file=machine.source.name,
            where=f"offset {machine.at}",
            remedy="The file is made to take for ever; it is refused.",
        )
    machine.steps += cost.visited // 4 + cost.steps
    if machine.steps > machine.most:
        machine.too_much("long keys are hashed again and again.", "opcodes")


def _check_collisions(machine: Machine, container: dict[object, object] | set[object]) -> None:
    most = colliding(container)
    if most:
        raise LimitError(
            f"{most:,} keys of one dict have the same hash.",
            file=machine.source.name,
            where=f"offset {machine.at}",
            remedy="The file is made to take for ever; it is refused.",
        )


def _note_recursive(machine: Machine, holder: object, items: Iterable[object]) -> None:
    """Note a container that CPython frees by recursion, if it holds others of the kind."""
    if not RECURSIVE.isdisjoint(map(type, items)):
        machine.recursive.append(holder)

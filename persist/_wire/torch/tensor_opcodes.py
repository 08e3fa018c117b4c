"""The phrase in which torch's pickles spell a tensor, understood as one.

A state dict of 20,000 tensors is 640,000 opcodes, and 30 of every 32 are the same: marks, the
storage's persistent id, shape, strides, what is asked of gradients. One expression finds that phrase,
and what the opcodes would leave behind is made here: the tensor on the stack, all that they
put into the memo, their number. A phrase that is in any way another (attributes, a storage that was never
put, numbers beyond 32 bits) is left to the opcodes, and so is one that cannot be: they report what is
wrong, and where. A test has both read the same.

Source: ``Tensor._reduce_ex_internal`` of ``torch/_tensor.py`` and ``persistent_id`` in
``torch/serialization.py``, as ``pickle`` of Python 3 writes them at protocol 2, torch's own, and as
our writer does, which puts away less.
"""

from __future__ import annotations

import functools
import re
import struct
from collections import OrderedDict
from typing import Any

from persist._wire.torch.storage import Storage, Tensor, kind_of
from persist.errors import PersistError
from persist.tree import Global

__all__ = ["Phrases"]

_GET, _NUMBER, _PUT = rb"(h.|j....)", rb"(?:K.|M..|J....)", rb"(?:r(....))?"
_NUMBERS = rb"(\)|%b{1,3}[\x85-\x87]|\(%b{1,16}t)" % (_NUMBER, _NUMBER) + _PUT
_PHRASE = re.compile(
    # ((  "storage"  class  key  location  count  [None]  )  its place
    rb"\(\(%b%bX(.)\0\0\0(\d{1,18})%b%b(%b)(N?)t%bQ(%b)"
    % (_GET, _GET, _PUT, _GET, _NUMBER, _PUT, _NUMBER)
    # shape  strides  requires_grad  hooks  )  REDUCE
    + _NUMBERS + _NUMBERS + rb"([\x88\x89])%b\)R%bt%bR%b" % (_GET, _PUT, _PUT, _PUT),
    re.DOTALL,
)  # fmt: skip
_FUNCTION, _HOOKS = "torch._utils._rebuild_tensor_v2", "collections.OrderedDict"
_FIXED = 16  # opcodes of a tensor without those for shape, strides, None and the memo
_U4 = struct.Struct("<I").unpack


@functools.lru_cache(4096)
def _numbers(spelled: bytes) -> tuple[tuple[int, ...], int] | None:
    """The numbers of a tuple, and how many opcodes spell it, without that which puts it away."""
    end = spelled[-1]
    at, stop = (1, len(spelled) - 1) if end == 0x74 else (0, len(spelled) - 1)
    numbers: list[int] = []
    while at < stop:
        size = {0x4B: 1, 0x4D: 2, 0x4A: 4}[spelled[at]]
        number = spelled[at + 1 : at + 1 + size]
        numbers.append(int.from_bytes(number, "little", signed=size == 4))
        at += 1 + size
    if end in (0x85, 0x86, 0x87) and len(numbers) != end - 0x84:
        return None  # some of them are another's
    return tuple(numbers), len(numbers) + 1 + (end == 0x74)


@functools.lru_cache(4096)
def _number(spelled: bytes) -> int:
    return int.from_bytes(spelled[1:], "little", signed=len(spelled) == 5)


@functools.lru_cache(4096)
def _slot(spelled: bytes) -> int:
    return int.from_bytes(spelled[1:], "little")


class Phrases:
    """Reads phrases, with the storages of one file.

    Args:
        origin: what knows the storages (`persist._wire.torch.rebuild.Origin`).
    """

    def __init__(self, origin: Any) -> None:
        self._origin = origin
        self._named: dict[int, tuple[Global, str]] = {}  # globals that are what was asked
        self._kinds: dict[int, tuple[Global, str]] = {}

    def read(
        self, chunk: bytes, at: int, stack: list[Any], memo: dict[int, object]
    ) -> tuple[Any, int, int] | None:
        """Return (the tensor, where the phrase ends, opcodes), or None where there is none.

        Args:
            chunk: the bytes at hand.
            at: where in them it may begin.
            stack: whose top is the function, and is to be the tensor.
            memo: is changed where a tensor is returned, else not.
        """
        found = _PHRASE.match(chunk, at)
        if found is None or not stack or not self._is(stack[-1], _FUNCTION):
            return None
        (
            get_word, get_cls, length, digits, put_key, get_location, count, none, put_pid, offset,
            shape, put_shape, strides, put_strides, grad, get_hooks, put_hooks, put_args, put_tensor,
        ) = found.groups()  # fmt: skip
        extents, steps = _numbers(shape), _numbers(strides)
        if length[0] != len(digits) or extents is None or steps is None:
            return None
        word, cls = memo.get(_slot(get_word)), memo.get(_slot(get_cls))
        location, key, elements = memo.get(_slot(get_location)), digits.decode(), _number(count)
        if word != "storage" or type(word) is not str or type(location) is not str:
            return None
        if not self._is(memo.get(_slot(get_hooks)), _HOOKS) or len(extents[0]) != len(steps[0]):
            return None
        first, has_grad = _number(offset), grad == b"\x88"
        try:
            storage = self._storage(cls, key, location, elements)
            if storage is None:
                return None
            tensor = Tensor(storage, first, extents[0], steps[0], requires_grad=has_grad)
        except PersistError:
            return None  # the opcodes say where
        hooks: OrderedDict[Any, Any] = OrderedDict()
        pid = (word, cls, key, location, elements)
        args = (storage, first, extents[0], steps[0], has_grad, hooks)
        opcodes = _FIXED + len(none) + extents[1] + steps[1]
        for put, value in (
            (put_key, key), (put_pid, (*pid, None) if none else pid), (put_shape, extents[0]),
            (put_strides, steps[0]), (put_hooks, hooks), (put_args, args), (put_tensor, tensor),
        ):  # fmt: skip
            if put is not None:
                memo[_U4(put)[0]] = value
                opcodes += 1
        return tensor, found.end(), opcodes

    def _is(self, value: Any, name: str) -> bool:
        known = self._named.get(id(value))
        if known is not None and known[0] is value:
            return known[1] == name
        if type(value) is not Global or value.qualname != name:
            return False
        self._named[id(value)] = (value, name)
        return True

    def _storage(self, cls: Any, key: str, location: str, count: int) -> Storage | None:
        known = self._kinds.get(id(cls))
        if known is None or known[0] is not cls:
            kind = kind_of(cls.name.rpartition(".")[2]) if type(cls) is Global else None
            if kind is None:
                return None
            known = self._kinds[id(cls)] = (cls, kind)
        if count < 0:
            return None
        made: Storage | None = self._origin.made.get((key, known[1]))
        return self._origin.storage(cls, key, location, count) if made is None else made

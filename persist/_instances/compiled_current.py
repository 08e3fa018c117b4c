"""Compiled ``__reduce_ex__`` and ``__setstate__``: generated once for each class.

For a class without defaults, checks, resources and hooks, the general path of
`persist._instances.adapter` amounts to a few attribute reads or writes. They are generated here as
source, compiled and set on the class. Anything unexpected is left to the general path; the tests check
on every kind of class that both give equal results.
"""

from __future__ import annotations

import abc
import enum
import itertools
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._envelope import CODEC, INSIDE
from persist._instances.machinery import refuse_changed
from persist._instances.waiting import SESSION
from persist._trees.copier import SCALAR
from persist._upgrade.compiled import SWITCH, compiled, is_ordinary
from persist.registry._declarations import EPOCH
from persist.schema import dotted
from persist.tree import is_slots_pair

if TYPE_CHECKING:
    from persist._instances.adapter import ClassAdapter
    from persist._instances.taking import StateTaker

__all__ = ["INSTALLED", "SENT", "install", "uninstall"]

# Exact types of values that may be functions or classes; the general path examines them.
_DOUBTFUL = frozenset(
    (
        types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, abc.ABCMeta, enum.EnumMeta, np.ufunc,
    )
)  # fmt: skip

# The types of most values; testing each value against them is cheaper than the test of all below.
_PLAIN = frozenset((*SCALAR, tuple, list, dict, set, np.ndarray))

_REDUCE_FIELDS = """
def __reduce_ex__(self, protocol):
    if type(self) is CLS:
        try:
            {names} = {reads}
        except AttributeError:
            return GENERAL(self, protocol)
{declared}        if {plain}:
            return NEWOBJ, ARGS, (HEADER, {values})
    return GENERAL(self, protocol)
"""

_REDUCE_CODEC = """
def __reduce_ex__(self, protocol):
    if type(self) is CLS:
        value = GETSTATE(self)
        header = HEADERS.get(len(value) if type(value) is tuple else None)
        if header is not None:
            return NEWOBJ, ARGS, (header, {nones}value)
    return GENERAL(self, protocol)
"""

_SET = """
def __setstate__(self, state):
    if type(state) is tuple and state and type(self) is CLS and not SESSION.entries{idle}:
        header = state[0]
        if header is ADAPTER.known:
            {body}
            return
        older = ADAPTER.older
        if header is older[0] and older[2] == EPOCH[0]:
            older[1](self, state)
            return
    GENERAL(self, state)
"""

_SET_CODEC = """ids = BUSY.ids
            ids.append(id(self))
            try:
                SETSTATE(self, state[-1])
            finally:
                ids.pop()
            if type(state[-1]) is not tuple or is_slots_pair(state[-1]):
                CHANGED(self, CLS, state[-1])"""


_numbers = itertools.count()
SENT = "persist._instances.sent"  # the module in which pickle finds the installed functions
INSTALLED: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def _turn(is_on: bool) -> None:
    """Make all installed methods call the general ones, or do their work again."""
    for function in list(INSTALLED.values()):
        space = function.__globals__
        space["CLS"] = space["ARGS"][0] if is_on else None


SWITCH.listen(_turn)


def install(adapter: ClassAdapter, busy: object, newobj: object) -> None:
    """Set the compiled methods on a class, if it is simple enough to have any."""
    space = {
        "__name__": __name__,
        "CLS": adapter.cls,
        "ADAPTER": adapter,
        "NEWOBJ": newobj,
        "ARGS": (adapter.cls,),
        "HEADER": adapter.header,
        "HEADERS": adapter.arities,
        "DOUBTFUL": _DOUBTFUL,
        "PLAIN": _PLAIN,
        "SESSION": SESSION,
        "BUSY": busy,
        "PUT": object.__setattr__,
        "EPOCH": EPOCH,
        "is_slots_pair": is_slots_pair,
        "CHANGED": refuse_changed,
    }
    profile = adapter.profile
    if not profile.is_declared or not profile.is_plain or profile.has_open_base:
        return
    _install(adapter, "__reduce_ex__", _reduce(adapter, space), space)
    if profile.is_bare:
        _install(adapter, "__setstate__", _setstate(adapter, space), space)


def _install(adapter: ClassAdapter, name: str, source: str, space: dict[str, Any]) -> None:
    general = getattr(adapter.cls, name)
    if not source or not hasattr(general, "_persist_own"):
        return
    space = {**space, "GENERAL": getattr(general, "_persist_general", general)}
    compiled(source, f"{name} of {dotted(adapter.cls)}", space)
    if not SWITCH.is_on:
        space["CLS"] = None
    function: Callable[..., Any] = space[name]
    # cloudpickle sends a class with its functions: this one by reference, see persist._instances.sent.
    function.__qualname__ = f"{name}_{next(_numbers)}_{adapter.cls.__name__}"
    function.__module__ = SENT
    INSTALLED[function.__qualname__] = function
    function._persist_own = True  # type: ignore[attr-defined]
    function._persist_general = space["GENERAL"]  # type: ignore[attr-defined]
    type.__setattr__(adapter.cls, name, function)


def uninstall(adapter: StateTaker) -> None:
    """Let the general path take the instances of a class apart from now on."""
    reduce = vars(adapter.cls).get("__reduce_ex__")
    general = getattr(reduce, "_persist_general", None)
    if general is not None:
        type.__setattr__(adapter.cls, "__reduce_ex__", general)


def _names(adapter: ClassAdapter) -> list[tuple[str, ...]] | None:
    """The attributes of each part; None unless all parts are fields with ordinary names."""
    names = [tuple(field.attribute for field in part.fields) for part in adapter.layout.parts]
    ordinary = all(is_ordinary(name) for own in names for name in own)
    return names if ordinary and adapter.profile.is_fields else None


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)},)" if items else "()"


def _reduce(adapter: ClassAdapter, space: dict[str, Any]) -> str:
    if adapter.profile.is_local or not adapter.profile.reads_plainly:
        return ""
    *bases, leaf = adapter.layout.parts
    if leaf.kind == CODEC and leaf.getstate is not None:
        if any(part.kind != INSIDE for part in bases):
            return ""
        space["GETSTATE"] = leaf.getstate
        return _REDUCE_CODEC.format(nones="None, " * len(bases))
    names = _names(adapter)
    if names is None or adapter.profile.has_getattr:
        return ""
    numbered = iter(range(sum(map(len, names))))
    values = [[f"v{next(numbered)}" for _ in own] for own in names]
    flat = [value for own in values for value in own]
    reads = [f"self.{name}" for own in names for name in own]
    plain = " and ".join(f"type({value}) in PLAIN" for value in flat) or "True"
    return _REDUCE_FIELDS.format(
        declared=_all_declared(adapter, space),
        names=_tuple(flat) if flat else "_",
        reads=_tuple(reads),
        plain=f"({plain}) or DOUBTFUL.isdisjoint(map(type, {_tuple(flat)}))",
        values=", ".join(map(_tuple, values)),
    )


def _all_declared(adapter: ClassAdapter, space: dict[str, object]) -> str:
    """The lines that leave an instance with attributes to report to the general path."""
    undeclared = adapter.undeclared
    if undeclared is None or not undeclared.reports:
        return ""
    space["KNOWN"] = undeclared.known
    return (
        "        own = self.__dict__\n"
        f"        if len(own) != {undeclared.count} and not own.keys() <= KNOWN:\n"
        "            return GENERAL(self, protocol)\n"
    )


def _setstate(adapter: ClassAdapter, space: dict[str, object]) -> str:
    *bases, leaf = adapter.layout.parts
    if leaf.kind == CODEC and leaf.setstate is not None:
        if any(part.kind != INSIDE for part in bases):
            return ""
        space["SETSTATE"] = leaf.setstate
        return _SET.format(body=_SET_CODEC, idle=" and not BUSY.ids")
    names = _names(adapter)
    if names is None:
        return ""
    setter: object = adapter.cls.__setattr__
    if setter is object.__setattr__:
        targets = ", ".join(_tuple([f"self.{name}" for name in own]) for own in names)
        return _SET.format(body=f"_, {targets} = state", idle="")
    flat = [name for own in names for name in own]
    numbered = iter(range(len(flat)))
    targets = ", ".join(_tuple([f"v{next(numbered)}" for _ in own]) for own in names)
    puts = "".join(
        f"\n            PUT(self, {name!r}, v{index})" for index, name in enumerate(flat)
    )
    return _SET.format(body=f"_, {targets} = state{puts}", idle="")

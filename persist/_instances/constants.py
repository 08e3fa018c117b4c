"""Functions, classes and sentinels as values: refused, or saved by the name of a constant."""

from __future__ import annotations

import types

import numpy as np

from persist.errors import SchemaError
from persist.registry import Registry, default_registry
from persist.tree import ABSENT, Record

__all__ = ["NAMED", "ConstantRef", "constant_of", "make_constant", "refusal", "unknown_constant"]


def make_constant(name: str) -> object:
    """Return what `persist.constant` named; plain pickle calls it while it loads.

    Raises:
        SchemaError: the constant is not registered, or the file holds no name. There is no
            substitute: the instance that uses it would fail much later.
    """
    value = default_registry.constant_named(name) if type(name) is str else ABSENT
    if value is ABSENT:
        raise unknown_constant(name)
    return value


def unknown_constant(name: object) -> SchemaError:
    """Return the error for a constant of a file that is not registered here."""
    if type(name) is not str:
        return SchemaError(
            f"the name of a constant is a {type(name).__name__}, not text.",
            remedy="No release of persist wrote this: the file was altered.",
        )
    return SchemaError(
        f"the constant {name!r} is not known.",
        remedy=f"Import the module that registers it, or call persist.constant({name!r}, ...).",
        constant=name,
    )


# Its name in files (docs/envelope.md).
make_constant.__module__, make_constant.__qualname__ = "persist.versioned", "_constant"
make_constant.__name__ = "_constant"


class ConstantRef:
    """Stands for a constant in a pickle that is written, and in a tree that is read."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return make_constant, (self.name,)

    def __repr__(self) -> str:
        return f"<constant {self.name}>"


def constant_of(record: Record) -> object:
    """Return the `ConstantRef` that a record means, or None."""
    named = record.cls.qualname == "persist.versioned._constant" and len(record.args) == 1
    return ConstantRef(record.args[0]) if named and type(record.args[0]) is str else None


NAMED = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, np.ufunc)


def refusal(value: object, registry: Registry | None = None) -> str:
    """Say why a function or class cannot be saved as a value; nothing where it can.

    One that `persist.constant` names can be.
    """
    if not isinstance(value, NAMED):
        return ""
    registry = default_registry if registry is None else registry
    if registry.constant_name(value) is not None:
        return ""
    name = getattr(value, "__qualname__", getattr(value, "__name__", "?"))
    kind = "class" if isinstance(value, type) else "function"
    last = name.rpartition("<locals>.")[2]
    if name.rpartition(".")[2] == "<lambda>":
        return (
            "a lambda cannot be saved. Write it as a function and name that with "
            "persist.constant(name, function), or save what it computes."
        )
    return (
        f"the {kind} {name} cannot be saved as a value, since its code may be elsewhere tomorrow. "
        f"Give it a name that stays: persist.constant({last!r}, {last})."
    )

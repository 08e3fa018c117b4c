"""Steps that hand fields from one class of an MRO to another: each keeps its own versions."""

from __future__ import annotations

from typing import Any

from persist.ops._address import distinct, get, has, quoted
from persist.ops._base import Memo, Op
from persist.schema import DECLARED, Declared, dotted

__all__ = ["Transfer", "from_base", "to_base"]


class Transfer(Op):
    """Fields change their owner; what is done to them is the same by every route.

    Attributes:
        base: the schema's name of the other class.
        names: of the fields.
        version: of the other class at that time.
        optional: a state without the fields is left as it is.
    """

    def __init__(
        self, base: str | type, /, *names: str, version: int = 1, optional: bool = False
    ) -> None:
        self.base = _schema_name(base)
        self.names = distinct(names)
        self.version = version
        self.optional = optional
        if type(version) is not int or version < 1:
            raise ValueError(f"version={version!r}: it is a positive integer.")
        if not names:
            raise TypeError(f"{type(self).__name__}({self.base!r}) names no field.")

    def apply(self, state: object, memo: Memo | None = None) -> Any:
        for name in self.names:
            if not (self.optional and not has(state, name)):
                get(state, name, name)
        return state

    def __str__(self) -> str:
        more = f", version={self.version}" * (self.version != 1) + ", optional" * self.optional
        return f"{type(self).__name__}({self.base!r}, {quoted(self.names)}{more})"


class to_base(Transfer):  # noqa: N801 - as it is used
    """Fields of the class belong to a base of it from here on: ``to_base("lab.Base", "rate")``.

    Whatever the file is (a state without versions, of which nobody can tell whose the fields were, or
    one in which the base did not exist yet), the steps of the class up to this one see the fields; then
    those of the base do, from its version of that time.

    Args:
        base: the class, or the name of its schema.
        names: of the fields; both classes call them so at that time.
        version: of the base at that time.
        optional: a state without a field is left as it is.
    """

    def inverse(self) -> Op:
        return from_base(self.base, *self.names, version=self.version, optional=self.optional)


class from_base(Transfer):  # noqa: N801
    """Fields of a base belong to the class from here on: ``from_base("lab.Base", "rate", version=2)``.

    The steps of the base up to that version see the fields, then those of the class from this one on.
    The base may be none today.

    Args:
        base: the class, or the name of its schema.
        names: of the fields; both classes call them so at that time.
        version: of the base at that time.
        optional: a state without a field is left as it is.
    """

    def inverse(self) -> Op:
        return to_base(self.base, *self.names, version=self.version, optional=self.optional)


def _schema_name(base: object) -> str:
    if isinstance(base, str) and base:
        return base
    if isinstance(base, type):
        declared = vars(base).get(DECLARED)
        if isinstance(declared, Declared):
            return declared.schema or dotted(base)
    raise TypeError(f"{base!r} is no class that inherits Versioned; give the name of its schema.")

"""Private names as Python mangles them in the body of a class, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["demangled", "mangled", "owner_name", "plain_name", "private_prefix"]


def mangled(name: str, cls: type) -> str:
    """Return a private name as Python mangles it in the body of a class."""
    if not name.startswith("__") or name.endswith("__"):
        return name
    owner = owner_name(cls)
    return f"_{owner}{name}" if owner else name


def private_prefix(cls: type) -> str:
    """Return what the private names of a class begin with, as Python mangles them."""
    return mangled("__x", cls)[:-1]


def owner_name(cls: type) -> str:
    """The name of a class as Python puts it into private names."""
    return cls.__name__.lstrip("_")


def plain_name(attribute: str, cls: type) -> str:
    """Return an attribute's name as the body of its class has it."""
    return str(demangled(attribute, (cls.__name__,)))


def demangled(attribute: object, owners: Iterable[str]) -> Any:
    """Return the name without the mangling by a class of one of these names."""
    if type(attribute) is str and attribute.startswith("_") and not attribute.startswith("__"):
        for owner in owners:
            prefix = f"_{owner.lstrip('_')}__"
            if attribute.startswith(prefix) and len(attribute) > len(prefix):
                return attribute[len(prefix) - 2 :]
    return attribute

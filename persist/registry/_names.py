"""What a registry asks of names, classes and versions: small rules without a state."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from persist.errors import SchemaError
from persist.registry._declarations import Alias

__all__ = [
    "applied",
    "check_version",
    "found_by_name",
    "given_codec",
    "imported",
    "is_twin",
    "keyed",
    "pure_fields",
    "same",
    "versions_of",
]


def imported(name: str) -> Any:
    """What a dotted name leads to in the modules that are imported, or None."""
    module, dot, last = name.rpartition(".")
    rest = [last]
    while dot and module not in sys.modules:
        module, dot, last = module.rpartition(".")
        rest.insert(0, last)
    found: Any = sys.modules.get(module)
    for part in rest:
        # The attributes themselves: a module's __getattr__ would be code.
        found = getattr(found, "__dict__", {}).get(part)
    return found


def found_by_name(cls: type) -> Any:
    """What the dotted name of a class leads to now, or None."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def is_twin(cls: type, other: type) -> bool:
    """True if two classes are from the same line of one file, imported under two module names."""
    files = [getattr(sys.modules.get(one.__module__), "__file__", None) for one in (cls, other)]
    return cls.__qualname__ == other.__qualname__ and files[0] == files[1] is not None


def same(one: object, other: object) -> bool:
    """Whether two values are one, or the same function or class after its module was loaded again."""
    if one is other:
        return True
    place = [
        (getattr(value, "__module__", None), getattr(value, "__qualname__", None))
        for value in (one, other)
    ]
    return place[0] == place[1] and None not in place[0]  # the same function after a reload


def applied(alias: Alias, rest: str) -> str:
    """Return an alias's target as a declaration spells it, with ``*`` behind a prefix."""
    return f"{alias.new}*" if alias.new.endswith(".") else alias.new


def keyed(state: object, key: str) -> Any:
    """The version that a state carries under a key."""
    parts = state if type(state) is tuple else (state,)
    for part in parts:
        if isinstance(part, dict) and key in part:
            value = part[key]
            whole = hasattr(value, "__index__") and not isinstance(value, bool)
            return int(value) if whole else value
    return None


def pure_fields(fields: Iterable[Any]) -> tuple[Any, ...]:
    """Return the fields of a schema that is data alone, from names, fields or a mapping to defaults."""
    from persist.schema import Field

    if isinstance(fields, Mapping):
        pairs = [
            attrs.evolve(value, name=name)
            if isinstance(value, Field)
            else Field(name, default=value)
            for name, value in fields.items()
        ]
    else:
        pairs = [field if isinstance(field, Field) else Field(field) for field in fields]
    return tuple(
        attrs.evolve(field, attribute=field.attribute or field.name)
        for field in pairs
        if not field.reserved
    )


def versions_of(version: Any, what: str) -> range:
    """The versions that a step takes: one, or those of a range ``"1-3"``.

    Raises:
        SchemaError: it is neither.
    """
    if not isinstance(version, str):
        check_version(version, what)
        return range(version, version + 1)
    first, dash, last = version.partition("-")
    is_range = (
        dash and first.isdecimal() and last.isdecimal() and first.isascii() and last.isascii()
    )
    if not is_range or not 1 <= int(first) <= int(last) <= int(first) + 10_000:
        raise SchemaError(
            f"the versions of a migration of {what} are {version!r}.",
            remedy='Give one version, or the first and the last of several: "1-3".',
        )
    return range(int(first), int(last) + 1)


def given_codec(
    cls: Any, fields: object, getstate: object, setstate: object, new: object
) -> tuple[Any, Any, Any] | None:
    """The functions that `Registry.register` was given for the state of a class, or None.

    Raises:
        SchemaError: one is missing, or fields are given, too.
    """
    if getstate is None and setstate is None and new is None:
        return None
    name = cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"
    if isinstance(cls, str) or fields is not None or getstate is None:
        raise SchemaError(
            f"the state of {name} is given by functions, and "
            + ("there is no class." if isinstance(cls, str) else "getstate= is missing.")
            if isinstance(cls, str) or getstate is None
            else f"the state of {name} is given by functions, and by fields=, too.",
            remedy="Give a class with getstate= and setstate=, or getstate= and new=; or fields= alone.",
        )
    if setstate is None and new is None:
        raise SchemaError(
            f"the state of {name} has getstate=, and nothing that takes it back.",
            remedy="Give setstate=, which sets it on an instance, or new=, which makes one of it.",
        )
    return getstate, setstate, new


def check_version(version: object, what: str) -> None:
    """Refuse a version that is no positive integer.

    Raises:
        SchemaError: it is something else.
    """
    if type(version) is not int or version < 1:
        raise SchemaError(
            f"the version of {what} is {version!r}.",
            remedy="A version is a positive integer that counts the changes of the state.",
        )

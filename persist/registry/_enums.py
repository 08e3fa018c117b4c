"""Members of enums: files store them by name, whatever their current values are.

A tree holds a member as the `Global` of its dotted name, ``lab.Color.RED``; a combination of flags
names its parts, ``lab.Access.READ|WRITE``, bits without a name as numbers. Pickles spell members in
other ways, which depend on the release of Python that wrote them:

- by value, ``Color(1)``: enum34 for Python 2, 3.4 to 3.10, 3.11.4 and later (`Enum.__reduce_ex__`);
- by name, ``getattr(Color, "RED")``: 3.11.0 to 3.11.3, `enum.pickle_by_enum_name`, and nested classes;
- flags of 3.11.0 to 3.11.3 as ``operator.or_`` of their parts, or ``object.__new__(Access, 0)``;
- by a global of the module, ``signal.SIGINT``: `enum.pickle_by_global_name`, ``_convert_``.

A class is found where it is registered, or among what is imported already; nothing of it is called
to find a member, except that a ``Flag`` combines its own parts.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Any

from persist.errors import SchemaError
from persist.registry import Registry
from persist.schema import dotted
from persist.tree import ABSENT, Global, Record

__all__ = [
    "attribute_of",
    "class_here",
    "is_plain_member",
    "lost_member",
    "make_member",
    "may_be_member",
    "member_named",
    "member_of",
    "name_of",
    "reference",
]

Find = Callable[[str], Any]

_GETATTR = frozenset(("builtins.getattr", "__builtin__.getattr"))
_OR = frozenset(("operator.or_", "_operator.or_"))
_NEW = frozenset(("builtins.object.__new__", "__builtin__.object.__new__"))
_MEMBER = "persist.versioned._member"


# What is here.


def attribute_of(module: object, name: str) -> object:
    """Return a value of a module, or of a class in it; nothing else is walked through."""
    found: Any = module
    for part in name.split("."):
        if found is not module and not isinstance(found, type):
            return None
        found = vars(found).get(part)
    return found


def class_here(qualname: str) -> object:
    """Return what a dotted name means among the modules that are imported already, or None."""
    module, _, name = qualname.rpartition(".")
    while module:
        if module in sys.modules:
            return attribute_of(sys.modules[module], name)
        module, _, last = module.rpartition(".")
        name = f"{last}.{name}"
    return None


def _enum_here(registry: Registry, qualname: str) -> Any:
    """The enum of a dotted name or a schema's name, registered or merely imported; or None."""
    cls = registry._enum_for(qualname)
    if cls is not None:
        return cls
    found = class_here(qualname)
    return found if isinstance(found, enum.EnumMeta) else None


# Writing.


def _spelled(member: enum.Enum) -> str:
    """The name of a member inside its class; of a combination, those of its parts."""
    name: str | None = member._name_
    if name is not None and name in type(member)._member_map_:
        return name
    rest, parts = int(member._value_), []
    for one in type(member)._member_map_.values():
        bit = one._value_
        if isinstance(bit, int) and bit > 0 and not bit & (bit - 1) and rest & bit:
            parts.append(str(one._name_))
            rest &= ~bit
    if rest or not parts:
        parts.append(str(rest))
    return "|".join(parts)


def reference(member: enum.Enum, registry: Registry) -> Global:
    """Return the name by which a tree holds a member.

    Raises:
        SchemaError: the class could not be found again.
    """
    cls = type(member)
    name = registry._enum_name(cls)
    if name is None:
        name = dotted(cls)
        if "<locals>" in name:
            raise SchemaError(
                f"members of the local enum {name} cannot be saved.",
                remedy="Nobody could find the class again: define it at the top of a module.",
            )
        if cls.__module__ == "__main__":
            raise SchemaError(
                f"members of {name} cannot be saved: its module is the script that runs.",
                remedy="Another script could not find it: move it to a module, or give it a name of "
                f'its own: persist.register({cls.__qualname__}, schema="lab.{cls.__name__}").',
            )
        if class_here(name) is not cls:
            raise SchemaError(
                f"members of {name} cannot be saved: that name does not lead to the enum.",
                remedy="Give it the module and name under which it can be imported, or a name of "
                f'its own: persist.register(the_enum, schema="lab.{cls.__name__}").',
            )
    return name_of(member, registry)


def name_of(member: enum.Enum, registry: Registry) -> Global:
    """Return the name of a member, whether or not a file may hold it."""
    cls = type(member)
    schema = registry._enum_name(cls)
    if schema is None or schema == dotted(cls):
        return Global(cls.__module__, f"{cls.__qualname__}.{_spelled(member)}")
    module, _, name = schema.rpartition(".")
    return Global(module, f"{name}.{_spelled(member)}")


def is_plain_member(value: object) -> bool:
    """True if a value is a named member with the pickle that `enum` itself writes."""
    if not isinstance(value, enum.Enum) or value._name_ not in type(value)._member_map_:
        return False
    own = type(value).__reduce_ex__
    return own in (enum.Enum.__reduce_ex__, enum.Flag.__reduce_ex__)


# Reading.


def may_be_member(qualname: str, registry: Registry) -> bool:
    """True if records of a name can mean members: the name of an enum, or of a function that returns one."""
    if qualname in _GETATTR or qualname in _OR or qualname in _NEW or qualname == _MEMBER:
        return True
    return _enum_here(registry, registry.resolve(qualname)) is not None


def member_of(record: Record, registry: Registry) -> Any:
    """Return the member that a record of a pickle means, ABSENT where its enum is not here.

    Raises:
        SchemaError: a registered enum has no such member.
    """
    args = record.args
    name = record.qualname
    if record.state is not ABSENT or record.kwargs or record.listitems or record.dictitems:
        return ABSENT
    if len(args) == 1 and record.kind in ("reduce", "newobj"):
        if record.maker is not None and record.maker != record.cls:
            return ABSENT
        return _by_value(registry, name, args[0])
    if len(args) != 2 or record.kind != "reduce":
        return ABSENT
    if name in _GETATTR or name == _MEMBER:
        owner = _class_name(args[0])
        is_text = owner and type(args[1]) is str
        return _by_name(registry, owner, args[1]) if is_text else ABSENT
    if name in _NEW:
        owner = _class_name(args[0])
        return _by_value(registry, owner, args[1]) if owner else ABSENT
    return _combined(args, registry) if name in _OR else ABSENT


def _class_name(value: object) -> str:
    """The dotted name of a class as an argument; one inside another may be fetched by getattr."""
    if isinstance(value, Global):
        return value.qualname
    if isinstance(value, Record) and value.qualname in _GETATTR and len(value.args) == 2:
        outer, inner = value.args
        if isinstance(outer, Global) and type(inner) is str:
            return f"{outer.qualname}.{inner}"
    return ""


def _combined(args: tuple[object, ...], registry: Registry) -> object:
    """The union of two flags, each a member, a record of one, or a number of bits."""
    parts = [_part(part, registry) for part in args]
    flags = [part for part in parts if isinstance(part, enum.Flag)]
    if not flags or not all(isinstance(part, enum.Flag | int) for part in parts):
        return ABSENT
    return _flag(type(flags[0]), int(getattr(parts[0], "_value_", parts[0])) | int(
        getattr(parts[1], "_value_", parts[1])
    ))  # fmt: skip


def _part(value: object, registry: Registry) -> Any:
    if isinstance(value, Record):
        return member_of(value, registry)
    return member_named(value.qualname, registry) if isinstance(value, Global) else value


def member_named(qualname: str, registry: Registry) -> Any:
    """Return the member of a dotted name, ``lab.Color.RED``; ABSENT where its enum is not here.

    Raises:
        SchemaError: a registered enum has no such member.
    """
    qualname = registry.resolve(qualname)
    owner, _, name = qualname.rpartition(".")
    if not owner:
        return ABSENT
    found = _by_name(registry, owner, name)
    if found is ABSENT:  # a member that its module holds as a global of its own
        here = class_here(qualname)
        found = here if isinstance(here, enum.Enum) else ABSENT
    return found


def _by_name(registry: Registry, owner: str, name: str) -> object:
    today = registry.resolve(owner)
    cls = _enum_here(registry, today)
    if cls is None:
        return ABSENT
    names = _names_of(registry, cls, owner, today)
    moved = _moved(registry, names, f".{name}")
    if moved is not None:
        return member_named(moved, registry)
    found = cls._member_map_.get(name, ABSENT)
    if found is ABSENT and issubclass(cls, enum.Flag):
        found = _flag_named(registry, cls, names, name)
    return _or_refused(registry, cls, found, f"{dotted(cls)}.{name}")


def _flag_named(
    registry: Registry, cls: type[enum.Enum], names: dict[str, None], name: str
) -> object:
    value = 0
    for part in name.split("|"):
        moved = _moved(registry, names, f".{part}")
        one = cls._member_map_.get(part, ABSENT) if moved is None else member_named(moved, registry)
        if one is ABSENT:
            if not part.isdecimal():
                return ABSENT
            value |= int(part) if len(part) < 100 else 0
        else:
            value |= one._value_
    return _flag(cls, value)


def _by_value(registry: Registry, owner: str, value: Any) -> object:
    today = registry.resolve(owner)
    cls = _enum_here(registry, today)
    if cls is None:
        return ABSENT
    names = _names_of(registry, cls, owner, today)
    moved = _moved(registry, names, f"({_short(value)})")
    if moved is not None:
        return member_named(moved, registry)
    try:
        found = cls._value2member_map_.get(value, ABSENT)
    except TypeError:  # no hash
        found = ABSENT
    if found is ABSENT:
        same = (one for one in cls._member_map_.values() if type(one._value_) is type(value))
        found = next((one for one in same if _is_equal(one._value_, value)), ABSENT)
    if found is ABSENT and issubclass(cls, enum.Flag) and type(value) is int:
        found = _flag(cls, value)
    return _or_refused(registry, cls, found, f"{dotted(cls)}({_short(value)})")


def _is_equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays and whatever a stranger's class raises: not the same, then
        return False


def _flag(cls: type[enum.Enum], value: int) -> Any:
    try:
        found = cls(value)
    except (ValueError, TypeError, OverflowError):  # bits that it does not know
        return ABSENT
    return found if isinstance(found, cls) else ABSENT


def _names_of(registry: Registry, cls: type[enum.Enum], *names: str) -> dict[str, None]:
    """Every name of an enum under which an alias of a member may have been given."""
    qualname = dotted(cls)
    own = registry._enum_name(cls) or qualname
    return dict.fromkeys((*names, qualname, own, *sorted(registry.old_names(qualname))))


def _moved(registry: Registry, owners: dict[str, None], rest: str) -> str | None:
    """Where an alias of a member leads, under whichever name of its class it was given."""
    for owner in owners:
        today = registry.resolve(owner + rest)
        if today != owner + rest and today.removesuffix(rest) not in owners:
            return today
    return None


def _short(value: object) -> str:
    if type(value) is int and value.bit_length() > 1000:
        return f"an int of {value.bit_length()} bits"
    return repr(value)[:200]


def _or_refused(registry: Registry, cls: type[enum.Enum], found: object, spelled: str) -> object:
    if found is ABSENT and registry._enum_name(cls) is not None:
        raise lost_member(cls, spelled)
    return found


def lost_member(cls: enum.EnumMeta, spelled: str) -> SchemaError:
    """Return the error for a member that an enum no longer has."""
    there = ", ".join(list(cls._member_map_)[:20])
    first = next(iter(cls._member_map_), "MEMBER")
    return SchemaError(
        f"the enum {dotted(cls)} has no member {spelled!r} (there are: {there}).",
        remedy="Say which member it is today: "
        f'persist.alias("{spelled}", {cls.__qualname__}.{first}), or another.',
        schema=dotted(cls),
    )


def make_member(cls: type[enum.Enum], name: str) -> object:
    """Return a member by its name, or by what that became; plain pickle calls it while it loads."""
    from persist.registry import default_registry

    found = _by_name(default_registry, dotted(cls), name) if type(name) is str else ABSENT
    if found is ABSENT:
        raise lost_member(cls, f"{dotted(cls)}.{name}")
    return found


# Its name in files (docs/envelope.md).
make_member.__module__, make_member.__qualname__ = "persist.versioned", "_member"
make_member.__name__ = "_member"

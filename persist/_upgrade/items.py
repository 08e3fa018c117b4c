"""Constructor arguments and items of records, as steps see them: in one form, and by name where names are known.

A pickle spells the contents of an instance in several ways: protocols 0 and 1 give the builtin base and
its value, the others arguments, items and pairs. Steps see the latter, whatever wrote the file. The
parts of a tuple have names if its class is a named tuple with as many fields, or if the layout that was
declared for its version gives them (`persist.Registry.older_layouts`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import attrs

from persist.errors import SchemaError
from persist.registry._shapes import parts_of_tuple
from persist.schema import Field
from persist.tree import ABSENT, Global, Record

__all__ = ["Contents", "NamedItems", "contents_of", "item_fields", "named_items", "taken_items"]


class NamedItems(tuple[Any, ...]):
    """A tuple whose parts are found by name as well: ``s[0]``, ``s["W"]``, ``s.W``, ``{**s}``, ``W, b = s``."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self._fields:
                raise KeyError(key)
            key = self._fields.index(key)
        return tuple.__getitem__(self, key)

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self[name]
        raise AttributeError(f"the parts of the state are {', '.join(self._fields)}, not {name!r}")

    def __reduce__(self) -> Any:
        return tuple, (tuple(self),)

    def get(self, name: str, default: object = None) -> Any:
        """Return a part by name."""
        return self[name] if name in self._fields else default

    def keys(self) -> tuple[str, ...]:
        """Return the names."""
        return self._fields

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield names and parts."""
        return zip(self._fields, self, strict=True)

    def _asdict(self) -> dict[str, object]:
        return dict(self.items())


@functools.lru_cache(maxsize=256)
def _kind(names: tuple[str, ...]) -> type[NamedItems]:
    return type("NamedItems", (NamedItems,), {"__slots__": (), "_fields": names})


def named_items(values: Any, names: tuple[str, ...]) -> Any:
    """Return a tuple with names for its parts; the value itself if there are none."""
    return _kind(names)(values) if names else values


def item_fields(cls: type | None) -> tuple[Field, ...]:
    """Return the parts of a named tuple as fields; () for any other class."""
    names = parts_of_tuple(cls)
    defaults = getattr(cls, "_field_defaults", {})
    return tuple(Field(name, default=defaults.get(name, ABSENT), attribute=name) for name in names)


@attrs.define(eq=False)
class Contents:
    """What a record has in addition to its state, in the form that steps see.

    Attributes:
        args: of the constructor.
        kwargs: likewise.
        listitems: the items of a list or set.
        dictitems: the pairs of a dict.
    """

    args: tuple[Any, ...]
    kwargs: dict[Any, Any]
    listitems: list[Any]
    dictitems: list[tuple[Any, Any]]

    def show(self, shown: Record) -> None:
        """Put it into the record that steps get."""
        shown.args, shown.kwargs = self.args, dict(self.kwargs)
        shown.listitems, shown.dictitems = list(self.listitems), list(self.dictitems)

    def is_in(self, shown: Record) -> bool:
        """Whether the steps left all of it."""
        return (
            _are(shown.args, self.args)
            and _are(shown.listitems, self.listitems)
            and _are(shown.kwargs.items(), self.kwargs.items())
            and _are(shown.dictitems, self.dictitems)
        )


def _are(one: Any, two: Any) -> bool:
    one, two = list(one), list(two)
    return len(one) == len(two) and all(
        a is b or (type(a) is tuple and type(b) is tuple and _are(a, b))
        for a, b in zip(one, two, strict=True)
    )


def contents_of(record: Record) -> Contents:
    """Return what a record has in addition to its state, from any spelling in a pickle."""
    args, listitems, dictitems = record.args, list(record.listitems), list(record.dictitems)
    if record.kind == "reconstructor":
        base, value = (*record.args, None, None)[:2]
        name = base.name if isinstance(base, Global) else ""
        args = ()
        if isinstance(value, dict):
            dictitems = [*value.items(), *dictitems]
        elif name in ("list", "set") and isinstance(value, list | set | tuple):
            listitems = [*value, *listitems]
        elif value is not None:
            args = (value,)
    return Contents(args, dict(record.kwargs), listitems, dictitems)


def taken_items(fields: tuple[Field, ...], state: dict[Any, Any], schema: str) -> tuple[Any, ...]:
    """Take the parts of a named tuple out of its upgraded fields.

    Raises:
        SchemaError: a part is missing that has no default.
    """
    missing = [one.name for one in fields if one.name not in state and not one.has_default]
    if missing:
        raise SchemaError(
            f"its state lacks the parts {', '.join(map(repr, missing))} of the named tuple {schema!r} (there are: "
            f"{', '.join(map(str, state)) or 'none'}).",
            remedy="Count version= up, and register a migration that returns all of them.",
            schema=schema,
            fields=missing,
        )
    return tuple(state.pop(one.name) if one.name in state else one.fresh(state) for one in fields)

"""How an instance is taken apart: the header, the values and the data of its built-in base."""

from __future__ import annotations

import copyreg
import functools
import operator
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from persist import schema as _schema
from persist._envelope import CODEC, FIELDS, INSIDE, ITEMS, Layer, seal
from persist._instances.builtin_bases import (
    can_make,
    has,
    make_array,
)
from persist._instances.compiled_fields import StateMaker
from persist._instances.constants import NAMED, ConstantRef, refusal
from persist._instances.profile import profile_of
from persist._instances.undeclared import undeclared_by
from persist._torch_modules.classes import MODULE
from persist._upgrade.state import (
    today_state,
)
from persist._upgrade.target import InstanceUpgrade, TargetLayout, target_layout
from persist.errors import SchemaError
from persist.registry import Registry
from persist.schema import Layout, Part, Schema, dotted

__all__ = ["Flat", "StateTaker", "refuse_class"]

NEWOBJ: Any = vars(copyreg)["__newobj__"]
NEWOBJ_EX: Any = vars(copyreg)["__newobj_ex__"]
RECONSTRUCTOR: object = vars(copyreg)["_reconstructor"]


class Flat(NamedTuple):
    """An instance taken apart.

    Attributes:
        schema: of its class.
        state: as `Record.state` has it: fields by name, a codec's state, or an envelope.
        layers: what is said of each class, base first.
        values: the value of each: a dict of fields, a codec's state, None.
        args: of its constructor (subclasses of tuple, int, Exception ...).
        kwargs: likewise.
        listitems: the items of a list or set subclass, else None.
        dictitems: the pairs of a dict subclass, else None.
        array: of an ndarray subclass, else None.
    """

    schema: Schema
    state: Any
    layers: list[Layer]
    values: list[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    listitems: list[Any] | None
    dictitems: list[tuple[Any, Any]] | None
    array: Any


def _never_made() -> None:
    """Stand-in for a pickled adapter: adapters are not sent with a class, but made anew."""


def _names(part: Part) -> Any:
    if part.kind == CODEC:
        return None
    return tuple(field.name for field in part.fields)


def _getter(adapter: StateTaker, part: Part) -> Callable[[Any], tuple[Any, Any]]:
    """A function from an instance to the names and values of a part's fields."""
    names = tuple(field.name for field in part.fields)
    attributes = tuple(field.attribute for field in part.fields)
    if part.open:
        return functools.partial(_open_values, part.cls, adapter)
    if not attributes:
        return lambda obj: ((), ())
    fetch = operator.attrgetter(*attributes)
    alone = len(attributes) == 1
    if hasattr(adapter.cls, "__getattr__"):  # it would be called for missing attributes
        return lambda obj: _slow_values(obj, names, attributes)

    def values(obj: object) -> tuple[Any, Any]:
        try:
            found = fetch(obj)
        except AttributeError:
            return _slow_values(obj, names, attributes)
        return names, ((found,) if alone else found)

    return values


def _slow_values(obj: Any, names: Any, attributes: Any) -> tuple[Any, Any]:
    there, values = [], []
    for name, attribute in zip(names, attributes, strict=True):
        try:
            values.append(object.__getattribute__(obj, attribute))
        except AttributeError:
            continue
        there.append(name)
    return tuple(there), tuple(values)


def _private_values(owner: type, obj: Any) -> tuple[Any, Any]:
    """The private attributes of a base that states no fields."""
    prefix = _schema.private_prefix(owner)
    found = {
        name: value
        for name, value in getattr(obj, "__dict__", {}).items()
        if type(name) is str and name.startswith(prefix) and len(name) > len(prefix)
    }
    return tuple(_schema.plain_name(name, owner) for name in found), tuple(found.values())


def _open_values(owner: type, adapter: StateTaker, obj: Any) -> tuple[Any, Any]:
    """Every attribute of an instance that no class declares, and the slots of its own."""
    layout, part = adapter.layout, adapter.layout.leaf
    privates = tuple(_schema.private_prefix(base.cls) for base in adapter.private_owners)
    there, values = _slow_values(
        obj, [field.name for field in part.fields], [field.attribute for field in part.fields]
    )
    found = {
        name: value
        for name, value in getattr(obj, "__dict__", {}).items()
        if name not in layout.known and type(name) is str and not name.startswith(privates)
    }
    names = tuple(_schema.plain_name(name, owner) for name in found)
    return (*there, *names), (*values, *found.values())


def refuse_class(cls: type, schema: Schema) -> None:
    """Refuse a class that a load could not find by name."""
    is_named = schema.name != dotted(cls)
    if "<locals>" in cls.__qualname__:
        raise SchemaError(
            f"instances of the local class {dotted(cls)} cannot be saved.",
            remedy="A load could not find the class: define it at the top of a module.",
            schema=schema.name,
        )
    if cls.__module__ == "__main__" and not is_named:
        raise SchemaError(
            f"instances of {dotted(cls)} cannot be saved: its module is the script that runs.",
            remedy=f"Another script could not find it: move it to a module, or give it a name of its "
            f'own: class {cls.__name__}(..., schema="lab.{cls.__name__}").',
            schema=schema.name,
        )


class StateTaker:
    """Takes instances of one class apart, and remembers what it needs for that."""

    def __init__(self, cls: type, home: Registry) -> None:
        self.cls = cls
        self.registry: Registry = home
        self.layout: Layout = home.layout(cls)
        schema = home.schema_for(cls)
        assert schema is not None
        self.schema = schema
        self.profile = profile_of(cls, self.layout)
        self.builtin = self.profile.builtin
        self.private_owners = self.layout.private_owners
        self.getters = [_getter(self, part) for part in self.layout.parts]
        self._remember_nothing()
        self.header = seal(self._layers([_names(part) for part in self.layout.parts]))
        self.names = frozenset(self.schema.names)
        self.target: TargetLayout = target_layout(schema, home)
        self.loaded = getattr(cls, "__loaded__", None)
        self.undeclared = undeclared_by(self.layout)
        self.is_module = MODULE in vars(cls) and vars(cls).get(_schema.OWN_GETSTATE) is not None

    def _remember_nothing(self) -> None:
        """Make the memory of headers and compiled loaders."""
        self.headers: dict[Any, tuple[Any, ...]] = {}
        self.ways: dict[Any, tuple[Any, Any, int]] = {}  # header of a file -> its compiled loader
        self._order: tuple[int, bool] | None = None  # EPOCH, and whether the order names the class
        self.bare_ways: dict[
            int, tuple[Any, int]
        ] = {}  # version -> steps, for states without a version
        self.makers: dict[Any, StateMaker] = {}  # order of the fields in a state -> its maker
        # A state may begin with None (pickle's pair of a class with slots), so "none yet" is an
        # object of our own, which no file can hold.
        self.older: tuple[Any, Any, int] = (object(), None, -1)  # the one that was gone last
        self.known: Any = object()  # the header of the file that was read last, equal to ours
        self.last: Any = None  # the header that was written last, and its names
        self.tuple_names: dict[type, dict[int, tuple[str, ...]]] = {}  # of codecs, by arity
        self.arities: dict[int | None, tuple[Any, ...]] = {}  # of a codec's tuple -> header

    def __reduce__(self) -> Any:
        """A class that is sent by value gets a new adapter in the receiving process."""
        return _never_made, ()

    def reduce(self, obj: Any) -> Any:
        """What ``__reduce_ex__`` returns; a class's own ``__reduce__`` is left alone."""
        if self.profile.own_reduce is not None:
            return self.profile.own_reduce(obj)
        if self.profile.is_local:
            refuse_class(self.cls, self.schema)
        names, values = self._values(obj)
        for value in values:
            if type(value) is tuple:
                for item in value:
                    if isinstance(item, NAMED):
                        names, values = self._named_values(names, values)
                        break
        header = self._header(names)
        if self.profile.is_plain:
            return NEWOBJ, (self.cls,), (header, *values)
        return self._reduced(obj, header, values)

    def _reduced(self, obj: Any, header: tuple[object, ...], values: list[Any]) -> tuple[Any, ...]:
        args, kwargs, listitems, dictitems, array = self.contents(obj)
        if self.builtin is set or self.profile.reads_args:
            header = self._with_items(header)
            values = [*values, list(args) if self.profile.reads_args else listitems]
            listitems = None
        state = (header, *values)
        if array is not None:
            return make_array, (self.cls, array), state
        if not self.profile.makes_itself and not can_make(self.cls, args, kwargs):
            # Its own __new__ cannot be called by pickle: the base makes it, as in protocol 0.
            is_empty = self.builtin is object or issubclass(self.builtin, defaultdict)
            value = None if is_empty else self.builtin(*args)
            made: tuple[Any, ...] = (RECONSTRUCTOR, (self.cls, self.builtin, value))
        elif kwargs:
            made = (NEWOBJ_EX, (self.cls, args, kwargs))
        else:
            made = (NEWOBJ, (self.cls, *args))
        return (
            *made,
            state,
            None if listitems is None else iter(listitems),
            None if dictitems is None else iter(dictitems),
        )

    def _with_items(self, header: tuple[Any, ...]) -> tuple[Any, ...]:
        """The header for a subclass of set or exception: one shared object per shape, written once."""
        key = (ITEMS, header)
        if key not in self.headers:
            said = Layer(dotted(self.builtin), 0, "", ITEMS, None)
            layers = (*header[2], tuple(said))
            self.headers[key] = (*header[:2], layers)
        return self.headers[key]

    def contents(self, obj: Any) -> tuple[Any, ...]:
        """Arguments, keywords, list items, dict items, array: the data of the built-in base."""
        base = self.builtin
        if self.profile.is_plain:
            return (), {}, None, None, None
        if base is np.ndarray:
            return (), {}, None, None, np.ndarray.view(obj, np.ndarray)
        args: tuple[Any, ...] = ()
        kwargs: dict[str, Any] = {}
        if hasattr(obj, "__getnewargs_ex__"):
            args, kwargs = obj.__getnewargs_ex__()
        elif hasattr(obj, "__getnewargs__"):
            args = obj.__getnewargs__()
        elif base is frozenset:
            args = (frozenset(obj),)
        elif issubclass(base, BaseException):
            args = base.__reduce__(obj)[1]  # type: ignore[assignment]
        listitems = list(list.__iter__(obj)) if base is list else None
        if base is set:
            listitems = list(set.__iter__(obj))
        dictitems = list(base.items(obj)) if issubclass(base, dict) else None
        return args, kwargs, listitems, dictitems, None

    def _values(self, obj: Any) -> tuple[list[Any], list[Any]]:
        """Names and value of each part."""
        names: list[Any] = []
        values: list[Any] = []
        if self.layout.doubtful is not None:
            self._refuse_doubt(obj)
        for attribute in self.layout.reserved:
            if has(obj, attribute):
                raise self._reserved(attribute)
        for part, getter in zip(self.layout.parts, self.getters, strict=True):
            if part.kind == FIELDS:
                own, value = getter(obj)
                if self.profile.is_checked:
                    self._check(part, own, value, "saved")
                    value = part.stored(own, value)
            elif part.kind == CODEC:
                value = self._coded(part, obj)
                own = self._named_parts(part, value) if type(value) is tuple else None
            elif part in self.private_owners:
                own, value = _private_values(part.cls, obj)
                value = value if own else None
            else:
                own, value = tuple(field.name for field in part.fields), None
            names.append(own)
            values.append(value)
        more = self.undeclared.saved(obj) if self.undeclared is not None else None
        if more:
            names[-1] = (*names[-1], *more)
            values[-1] = (*values[-1], *more.values())
        return names, values

    def _named_parts(self, part: Part, value: tuple[Any, ...]) -> tuple[str, ...] | int:
        """The names of the parts of a codec's tuple where they are known, else their number."""
        return self._tuple_names(part).get(len(value), len(value))

    def _tuple_names(self, part: Part) -> dict[int, tuple[str, ...]]:
        known = self.tuple_names.get(part.cls)
        if known is None:
            from persist._layouts.description import tuple_names

            known = self.tuple_names[part.cls] = tuple_names(part)
        return known

    def _coded(self, part: Part, obj: Any) -> Any:
        if part.getstate is not None:
            return part.getstate(obj)
        state = object.__getstate__(obj)
        if isinstance(state, dict):
            return {
                name: value for name, value in state.items() if name not in self.layout.resources
            }
        return state

    def _header(self, names: list[Any]) -> tuple[Any, ...]:
        if self.last is not None and names == self.last[0]:
            return self.last[1]  # type: ignore[no-any-return]
        key = tuple(names)
        header = self.headers.get(key)
        if header is None:
            header = seal(self._layers(names))
            header = self.header if header == self.header else header
            if self.layout.leaf.kind == CODEC:
                last = names[-1]
                self.arities[len(last) if type(last) is tuple else last] = header
            if len(self.headers) < 1000:
                self.headers[key] = header
        self.last = (names, header)
        return header

    def _layers(self, names: list[Any]) -> list[Layer]:
        return [
            Layer(
                part.schema.name,
                part.schema.version,
                part.schema.fingerprint,
                FIELDS if own and part in self.private_owners else part.kind,
                own,
            )
            for part, own in zip(self.layout.parts, names, strict=True)
        ]

    def _named_values(self, names: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
        """Put constants for the functions and classes among the fields, or refuse them."""
        result = []
        for part, own, value in zip(self.layout.parts, names, values, strict=True):
            if part.kind == FIELDS or (part.kind == INSIDE and value is not None):
                value = tuple(self._constant(*pair) for pair in zip(own, value, strict=True))
            result.append(value)
        return names, result

    def _constant(self, name: str, value: Any) -> Any:
        if not isinstance(value, NAMED):
            return value
        known = self.registry.constant_name(value)
        if known is not None:
            return ConstantRef(known)
        why, _, cure = refusal(value, self.registry).partition(". ")
        raise SchemaError(
            f"the field {name!r} cannot be saved: {why}.",
            where=f"class {dotted(self.cls)}",
            remedy=cure,
            schema=self.schema.name,
            field=name,
        )

    def _refuse_doubt(self, obj: Any) -> None:
        """Refuse an undeclared attribute if a base without field list may own it: a guess may be wrong."""
        base = self.layout.doubtful
        assert base is not None
        extra = [name for name in getattr(obj, "__dict__", ()) if name not in self.layout.known]
        if extra:
            raise SchemaError(
                f"no class declares its attributes {', '.join(map(repr, extra))}: {dotted(self.cls)} lists "
                f"its own fields, but its base {dotted(base)} says nothing of its.",
                where=f"class {dotted(self.cls)}",
                remedy=f"Say in {base.__name__} which it owns, persistent = (...) or (), and name in "
                "transient = (...) those that are not to be saved.",
                schema=self.schema.name,
                fields=extra,
            )

    def _reserved(self, attribute: str) -> SchemaError:
        name = _schema.plain_name(attribute, self.cls)
        return SchemaError(
            f"it has the attribute {name!r}, a name that is reserved: a field of older versions had it.",
            where=f"class {dotted(self.cls)}",
            remedy=f"Give the attribute another name; a step drops it from older states "
            f"(persist.ops.drop({name!r})) or renames it.",
            schema=self.schema.name,
            field=name,
        )

    def _check(self, part: Part, names: Any, values: Any, doing: str) -> None:
        given = dict(zip(names, values, strict=True))
        for field in part.fields:
            fault = field.fault(given[field.name]) if field.name in given else ""
            if fault:
                raise SchemaError(
                    f"the field {field.name!r} cannot be {doing}: {fault}.",
                    where=f"class {dotted(self.cls)}",
                    remedy="The class declares it so; change the value or the declaration.",
                    schema=part.schema.name,
                    field=field.name,
                )

    def flat(self, obj: Any, *, is_saved: bool = True) -> Flat:
        """Take an instance apart; where it is saved, its class has to be one that a file can name."""
        if is_saved:
            refuse_class(self.cls, self.schema)
        names, values = self._values(obj)
        case = InstanceUpgrade(self.target)
        states: list[Any] = []
        for target, own, value in zip(self.target.parts, names, values, strict=True):
            if target.kind == FIELDS or (target.kind == INSIDE and value is not None):
                value = dict(zip(own, value, strict=True))
            if target.kind != INSIDE or value is not None:
                case.states.append((target, value))
            states.append(value)
        layers = self._layers(names)
        return Flat(self.schema, today_state(case), layers, states, *self.contents(obj))

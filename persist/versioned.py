"""`Versioned`: a class whose pickles say which version of which schema they hold.

The mixin owns ``__reduce_ex__`` and ``__setstate__``: it writes an envelope
(`docs/envelope.md`) around the state, and upgrades whatever state comes in, also
one from before the class inherited it. A class's own ``__getstate__`` and
``__setstate__`` are the codec of its state, inside the envelope.

For who builds objects of trees, four functions, called in this order for each
record, so that cycles work:

    contents = unpacked(cls, record)                 # arguments, items, array: record -> parts
    obj = make(cls, contents.args, contents.kwargs, contents.array)     # no __init__ runs
    fill(obj, contents.listitems, contents.dictitems)                   # when the items are built
    restore_state(obj, record.state, ...)            # when what the state holds is built
    finish(obj)                                      # resources, then __loaded__()

and ``flatten_state(obj)`` the other way.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy as copy_module
import copyreg
import functools
import operator
import os
import threading
import types
import warnings
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import attrs
import numpy as np

from persist import schema as _schema
from persist._course import Case, Target, bring_up, survey, target_of
from persist._envelope import CODEC, FIELDS, INSIDE, ITEMS, Layer, seal, unwrap
from persist._migrate import (
    Downgraded,
    downgrade_record,
    freeze,
    roots_of,
    take_array,
    thaw,
    today_state,
    unknown_text,
)
from persist.errors import PersistError, SchemaError, UnknownFieldWarning
from persist.registry import Registry, default_registry
from persist.schema import Declared, Field, Layout, Part, Schema, dotted
from persist.tree import ABSENT, Global, Record

__all__ = [
    "Contents",
    "Flat",
    "Resource",
    "Versioned",
    "downgrade",
    "fill",
    "finish",
    "flatten_state",
    "loading_from",
    "make",
    "refusal",
    "resource",
    "restore_state",
    "unpacked",
]


class Versioned:
    """Mix this in, and pickles of the class stay loadable when its state changes.

        class Layer(persist.Versioned, version=3, schema="lab.Layer"):
            persistent = ("weights", "bias")        # or attrs, a dataclass, __slots__

    The version counts the changes of the class's own state, 1 at first; each
    class of an MRO has its own. The schema's name is the dotted path of the
    class unless it is chosen, and once files bear it, it stays, wherever the
    class moves.

    Which attributes are saved: those that ``persistent`` lists, else the fields
    of attrs or the dataclass, else ``__slots__``, else all. A class that has a
    ``__getstate__`` or ``__setstate__`` of its own goes by these. ``transient = ("cache",)``
    are not saved and have their default, or None, after a load.

    A method ``__loaded__(self)`` is called once after each load.

    Args:
        version: of the class's own state.
        schema: the name of its schema.
        registry: where it belongs; None is the default registry.
    """

    __slots__ = ()

    _persist_road: Any = None

    def __init_subclass__(
        cls,
        *,
        version: int | None = None,
        schema: str | None = None,
        registry: Registry | None = None,
        **keywords: Any,
    ) -> None:
        super().__init_subclass__(**keywords)
        _declare(cls, version, schema, registry)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _road_of(type(self)).reduce(self)

    def __setstate__(self, state: Any) -> None:
        if _is_busy(self):
            _default_setstate(self, state)
        else:
            _road_of(type(self)).load(self, state)

    __setstate__._persist_own = True  # type: ignore[attr-defined]

    def __copy__(self) -> Any:
        return _road_of(type(self)).copied(self, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _road_of(type(self)).copied(self, memo)


def _declare(cls: type, version: int | None, schema: str | None, registry: Registry | None) -> None:
    """Note what the head of a class says; a decorator may make the class a second time without it."""
    before = vars(cls).get(_schema.DECLARED)
    if version is None and schema is None and registry is None and isinstance(before, Declared):
        declared = before
    else:
        version = 1 if version is None else version
        if type(version) is not int or version < 1:
            raise SchemaError(
                f"its version is {version!r}.",
                where=f"class {cls.__module__}.{cls.__qualname__}",
                remedy="A version is a positive integer that counts the changes of the state.",
            )
        if schema is not None and (not isinstance(schema, str) or not schema):
            raise SchemaError(
                f"its schema is {schema!r}.",
                where=f"class {cls.__module__}.{cls.__qualname__}",
                remedy='A schema\'s name is a text, such as "lab.Layer".',
            )
        home = default_registry if registry is None else registry
        declared = Declared(version, schema, None, home)
        setattr(cls, _schema.DECLARED, declared)
    cls._persist_road = None  # type: ignore[attr-defined]
    _take_setstate(cls)
    declared.registry.declare(cls)


def _take_setstate(cls: type) -> None:
    """Let pickle's BUILD come to us, and keep the ``__setstate__`` that the class wrote.

    Every class gets one in its own ``__dict__``, since a dataclass decorator
    puts its own where it sees none.
    """
    own = vars(cls).get("__setstate__")
    if hasattr(own, "_persist_own"):
        return  # made a second time by a decorator
    if own is None or not _schema.is_written(own):
        inherited = None
        for base in cls.__mro__[1:]:
            inherited = vars(base).get("__setstate__")
            if hasattr(inherited, "_persist_own") or _schema.is_written(inherited):
                break
        if hasattr(inherited, "_persist_own"):
            cls.__setstate__ = inherited  # type: ignore[attr-defined]
            return
        own = inherited
    setattr(cls, _schema.OWN_SETSTATE, own)
    cls.__setstate__ = _intercepting(own)  # type: ignore[attr-defined]


def _intercepting(original: Any) -> Any:
    @functools.wraps(original)
    def __setstate__(self: Any, state: Any) -> None:  # noqa: N807
        if _is_busy(self):  # called by an heir's own __setstate__, inside a load
            original(self, state)
        else:
            _road_of(type(self)).load(self, state)

    __setstate__._persist_own = True  # type: ignore[attr-defined]
    return __setstate__


class _Busy(threading.local):
    """The objects whose own ``__setstate__`` is running, in this thread."""

    def __init__(self) -> None:
        self.ids: list[int] = []


_busy = _Busy()


def _is_busy(obj: Any) -> bool:
    return id(obj) in _busy.ids


@contextlib.contextmanager
def _occupied(obj: Any) -> Iterator[None]:
    _busy.ids.append(id(obj))
    try:
        yield
    finally:
        _busy.ids.pop()


def _default_setstate(obj: Any, state: Any) -> None:
    """What ``super().__setstate__(state)`` does where no base wrote one: the attributes are set."""
    parts = state if _schema_pair(state) else (state,)
    for part in parts:
        if part is not None:
            if not isinstance(part, dict):
                raise TypeError(
                    f"a state of {type(part).__name__} needs a __setstate__ of its own."
                )
            for name, value in part.items():
                object.__setattr__(obj, name, value)


def _schema_pair(state: Any) -> bool:
    from persist.tree import is_slots_pair

    return is_slots_pair(state)


# Names that stand in files; docs/envelope.md says that they stay.


def _array(cls: type, array: np.ndarray[Any, Any]) -> Any:
    """Make an instance of an ndarray's heir that shares the memory of an array."""
    return np.ndarray.view(np.asarray(array), cls)


def _constant(name: str) -> Any:
    """Return what `persist.constant` named."""
    value = default_registry.constant_named(name)
    return _ConstantRef(name) if value is ABSENT else value


def _set_state(obj: Any, state: Any) -> None:
    """Apply an envelope to an instance of a registered class."""
    _road_of(type(obj)).load(obj, state)


class _ConstantRef:
    """Stands for a constant in a pickle, and for one that is not registered here."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return _constant, (self.name,)

    def __repr__(self) -> str:
        return f"<constant {self.name}>"


def constant_of(record: Record) -> Any:
    """Return what stands for a constant where a record does, else None."""
    named = record.cls.qualname == "persist.versioned._constant" and len(record.args) == 1
    return _ConstantRef(str(record.args[0])) if named else None


# Resources.


class Resource:
    """What is not saved with an instance but opened again: see `resource`."""

    _persist_resource = True

    def __init__(self, field: str, open: Callable[[Any], Any], missing: str | None) -> None:
        self.field = field
        self.open = open
        self.missing = missing
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self
        value = _stored(obj, self.name)
        if value is ABSENT:
            value = self.opened(obj)
            self.__set__(obj, value)
        return value

    def __set__(self, obj: Any, value: Any) -> None:
        if hasattr(obj, "__dict__"):
            obj.__dict__[self.name] = value
        else:
            try:
                reference = weakref.ref(obj, functools.partial(_forget, id(obj)))
            except TypeError:
                raise SchemaError(
                    f"the resource {self.name!r} has no place on an instance.",
                    where=f"class {dotted(type(obj))}",
                    remedy="Add '__weakref__' or '__dict__' to its __slots__.",
                ) from None
            _aside.setdefault(id(obj), (reference, {}))[1][self.name] = value

    def __delete__(self, obj: Any) -> None:
        if hasattr(obj, "__dict__"):
            obj.__dict__.pop(self.name, None)
        elif id(obj) in _aside:
            _aside[id(obj)][1].pop(self.name, None)

    def opened(self, obj: Any) -> Any:
        """Open it, beside the file that is being loaded if the path is relative to that.

        Raises:
            SchemaError: it is not there, and the policy is "error" or "lazy".
        """
        path = getattr(obj, self.field)
        if path is None:
            return None
        try:
            return self.open(_beside(path))
        except OSError as error:
            if self.missing is None:
                return None
            raise SchemaError(
                f"the resource {self.name!r} of {dotted(type(obj))} cannot be opened from "
                f"{path!r}: {type(error).__name__}: {error}.",
                remedy=f"Put the file there, set {self.field!r} to where it is, or declare it with "
                'missing=None or missing="lazy".',
                resource=self.name,
                path=path,
            ) from error

    def reopen(self, obj: Any) -> None:
        """Open it after a load, as its policy says."""
        if self.missing == "lazy":
            self.__delete__(obj)
        else:
            self.__set__(obj, self.opened(obj))


_aside: dict[int, tuple[Any, dict[str, Any]]] = {}


def _forget(key: int, reference: Any) -> None:
    _aside.pop(key, None)


def _stored(obj: Any, name: str) -> Any:
    if hasattr(obj, "__dict__"):
        return obj.__dict__.get(name, ABSENT)
    return _aside.get(id(obj), (None, {}))[1].get(name, ABSENT)


def resource(field: str, *, open: Callable[[Any], Any], missing: str | None = "error") -> Any:
    """Declare what is not saved with an instance, but opened again when it is loaded.

        class Trainer(persist.Versioned):
            persistent = ("epoch", "training_set_file")
            training_set = persist.resource("training_set_file", open=load_data)

    A relative path is looked for beside the file that is loaded, then as it stands.

    Args:
        field: the attribute that holds the path; where it is None, so is the resource.
        open: path -> the resource.
        missing: what happens where ``open`` raises an ``OSError``: "error", None
            (the resource is None), or "lazy" (it is opened at first use only).
    """
    if missing not in ("error", "lazy", None):
        raise ValueError(f"missing={missing!r}: one of 'error', 'lazy', None is meant.")
    return Resource(field, open, missing)


_folder: contextvars.ContextVar[str | None] = contextvars.ContextVar("persist_folder", default=None)


@contextlib.contextmanager
def loading_from(file: str | os.PathLike[str] | None) -> Iterator[None]:
    """Let resources be looked for beside this file while it is loaded."""
    folder = None if file is None else os.path.dirname(os.path.abspath(os.fspath(file)))
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def _beside(path: Any) -> Any:
    folder = _folder.get()
    if folder is None or not isinstance(path, str | os.PathLike):
        return path
    text = os.fspath(path)
    if isinstance(text, str) and not os.path.isabs(text):
        there = os.path.join(folder, text)
        if os.path.exists(there):
            return type(path)(there) if isinstance(path, os.PathLike) else there  # type: ignore[call-arg]
    return path


# What is refused.

_NAMED = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, np.ufunc)


def refusal(value: Any, registry: Registry | None = None) -> str:
    """Say why a function or class cannot be saved as a value; nothing where it can.

    One that `persist.constant` names can be.
    """
    if not isinstance(value, _NAMED):
        return ""
    registry = default_registry if registry is None else registry
    if registry.constant_name(value) is not None:
        return ""
    name = getattr(value, "__qualname__", getattr(value, "__name__", "?"))
    kind = "class" if isinstance(value, type) else "function"
    if name == "<lambda>":
        return (
            "a lambda cannot be saved. Write it as a function and name that with "
            "persist.constant(name, function), or save what it computes."
        )
    return (
        f"the {kind} {name} cannot be saved as a value, since its code may be elsewhere tomorrow. "
        f"Give it a name that stays: persist.constant({name!r}, {name})."
    )


def _refuse_class(cls: type, schema: Schema) -> None:
    """Refuse a class that no program could find again."""
    declared = vars(cls).get(_schema.DECLARED)
    named = isinstance(declared, Declared) and declared.schema is not None
    if "<locals>" in cls.__qualname__:
        raise SchemaError(
            f"instances of the local class {dotted(cls)} cannot be saved.",
            remedy="Nobody could find the class again: define it at the top of a module.",
            schema=schema.name,
        )
    if cls.__module__ == "__main__" and not named:
        raise SchemaError(
            f"instances of {dotted(cls)} cannot be saved: its module is the script that runs.",
            remedy=f"Another script could not find it: move it to a module, or give it a name of its "
            f'own: class {cls.__name__}(..., schema="lab.{cls.__name__}").',
            schema=schema.name,
        )


# The road of one class.


class Flat(NamedTuple):
    """An instance taken apart.

    Attributes:
        schema: of its class.
        state: as `Record.state` has it: fields by name, a codec's state, or an envelope.
        layers: what is said of each class, base first.
        values: the value of each: a dict of fields, a codec's state, None.
        args: of its constructor (heirs of tuple, int, Exception ...).
        kwargs: likewise.
        listitems: the items of an heir of list or set, else None.
        dictitems: the pairs of an heir of dict, else None.
        array: of an heir of ndarray, else None.
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


class Contents(NamedTuple):
    """What a record holds beside its state, however its pickle spelled that."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    listitems: list[Any] = []
    dictitems: list[tuple[Any, Any]] = []
    array: Any = None


def _road_of(cls: type, registry: Registry | None = None) -> _Road:
    """The road of a class: of its own registry, or of the one that registered it from outside."""
    road = vars(cls).get("_persist_road")
    if road is not None and road.cls is cls:
        return road  # type: ignore[no-any-return]
    if issubclass(cls, Versioned):
        road = _Road(cls, vars(cls)[_schema.DECLARED].registry)
        type.__setattr__(cls, "_persist_road", road)
        return road
    home = (default_registry if registry is None else registry)._owner(cls)
    road = home._roads.get(cls)
    if road is None:
        road = home._roads[cls] = _Road(cls, home)
    return road  # type: ignore[no-any-return]


class _Road:
    """How the instances of one class are taken apart and put together."""

    def __init__(self, cls: type, home: Registry) -> None:
        self.cls = cls
        self.registry: Registry = home
        self.layout: Layout = home.layout(cls)
        schema = home.schema_for(cls)
        assert schema is not None
        self.schema = schema
        self.builtin = _builtin_of(cls)
        # Builtin exceptions that read their arguments in __init__, where heirs have one of their own.
        self.reads_args = issubclass(self.builtin, BaseException) and self.builtin not in (
            BaseException,
            Exception,
        )
        self.getters = [_getter(cls, part) for part in self.layout.parts]
        self.headers: dict[Any, tuple[Any, ...]] = {}
        self.header = seal(self._layers([_names(part) for part in self.layout.parts]))
        self.known: Any = None  # the header of the file that was read last, equal to ours
        self.last: Any = None  # the header that was written last, and its names
        self.target: Target = target_of(schema, home)
        self.simple = (
            not self.layout.codec
            and not self.layout.leaf.open
            and not any(part.kind == INSIDE for part in self.layout.parts)
        )
        self.converters = _converters(cls)
        self.validators = _validators(cls)
        self.caches_hash = hasattr(cls, "_attrs_cached_hash")
        self.loaded = getattr(cls, "__loaded__", None)
        self.checked = any(
            field.type is not None or field.dtype is not None or field.shape is not None
            for field in self.layout.saved()
        )
        self.own_reduce = next(
            (
                found
                for base in cls.__mro__
                if isinstance(found := vars(base).get("__reduce__"), types.FunctionType)
            ),
            None,
        )
        self.completes = bool(
            self.checked
            or self.validators
            or self.caches_hash
            or any(part.transients for part in self.layout.parts)
        )
        self.plain = (
            self.builtin is object
            and "__getnewargs__" not in _written_names(cls)
            and "__getnewargs_ex__" not in _written_names(cls)
        )

    # Taking apart.

    def reduce(self, obj: Any) -> Any:
        """What ``__reduce_ex__`` returns; a class's own ``__reduce__`` is left alone."""
        if self.own_reduce is not None:
            return self.own_reduce(obj)
        if "<locals>" in self.cls.__qualname__ or self.cls.__module__ == "__main__":
            _refuse_class(self.cls, self.schema)
        names, values = self._values(obj)
        for value in values:
            if type(value) is tuple:
                for item in value:
                    if isinstance(item, _NAMED):
                        names, values = self._named_values(names, values)
                        break
        header = self._header(names)
        if self.plain:
            return copyreg.__newobj__, (self.cls,), (header, *values)
        return self._reduced(obj, header, values)

    def _reduced(self, obj: Any, header: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
        args, kwargs, listitems, dictitems, array = self.contents(obj)
        if self.builtin is set or self.reads_args:
            header = self._with_items(header)
            values = [*values, list(args) if self.reads_args else listitems]
            listitems = None
        state = (header, *values)
        if array is not None:
            return _array, (self.cls, array), state
        if kwargs:
            made: tuple[Any, ...] = (copyreg.__newobj_ex__, (self.cls, args, kwargs))  # type: ignore[attr-defined]
        else:
            made = (copyreg.__newobj__, (self.cls, *args))  # type: ignore[attr-defined]
        return (
            *made,
            state,
            None if listitems is None else iter(listitems),
            None if dictitems is None else iter(dictitems),
        )

    def _with_items(self, header: tuple[Any, ...]) -> tuple[Any, ...]:
        """The header of a set's or exception's heir: one object for one shape, written once."""
        key = (ITEMS, header)
        if key not in self.headers:
            said = Layer(dotted(self.builtin), 0, "", ITEMS, None)
            layers = (*header[2], tuple(said))
            self.headers[key] = (*header[:2], layers)
        return self.headers[key]

    def contents(self, obj: Any) -> tuple[Any, ...]:
        """Arguments, keywords, list items, dict items, array: what the builtin base holds."""
        base = self.builtin
        if self.plain:
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
            args = base.__reduce__(obj)[1]  # type: ignore[assignment, misc]
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
        for part, getter in zip(self.layout.parts, self.getters, strict=True):
            if part.kind == FIELDS:
                own, value = getter(obj)
                if self.checked:
                    self._check(part, own, value, "saved")
            elif part.kind == CODEC:
                value = self._coded(part, obj)
                own = len(value) if type(value) is tuple else None
            else:
                own, value = tuple(field.name for field in part.fields), None
            names.append(own)
            values.append(value)
        return names, values

    def _coded(self, part: Part, obj: Any) -> Any:
        if part.getstate is not None:
            return part.getstate(obj)
        state = object.__getstate__(obj)  # type: ignore[attr-defined]
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
            if len(self.headers) < 1000:
                self.headers[key] = header
        self.last = (names, header)
        return header

    def _layers(self, names: list[Any]) -> list[Layer]:
        return [
            Layer(part.schema.name, part.schema.version, part.schema.fingerprint, part.kind, own)
            for part, own in zip(self.layout.parts, names, strict=True)
        ]

    def _named_values(self, names: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
        """Put constants for the functions and classes among the fields, or refuse them."""
        result = []
        for part, own, value in zip(self.layout.parts, names, values, strict=True):
            if part.kind == FIELDS:
                value = tuple(self._constant(*pair) for pair in zip(own, value, strict=True))
            result.append(value)
        return names, result

    def _constant(self, name: str, value: Any) -> Any:
        if not isinstance(value, _NAMED):
            return value
        known = self.registry.constant_name(value)
        if known is not None:
            return _ConstantRef(known)
        why, _, cure = refusal(value, self.registry).partition(". ")
        raise SchemaError(
            f"the field {name!r} cannot be saved: {why}.",
            where=f"class {dotted(self.cls)}",
            remedy=cure,
            schema=self.schema.name,
            field=name,
        )

    def _refuse_doubt(self, obj: Any) -> None:
        """Refuse to guess whose an attribute is that nobody declares, where a base says nothing."""
        base = self.layout.doubtful
        assert base is not None
        extra = [name for name in getattr(obj, "__dict__", ()) if name not in self.layout.known]
        if extra:
            raise SchemaError(
                f"nobody declares its attributes {', '.join(map(repr, extra))}: {dotted(self.cls)} lists "
                f"its own fields, but its base {dotted(base)} says nothing of its.",
                where=f"class {dotted(self.cls)}",
                remedy=f"Say in {base.__name__} which it owns, persistent = (...) or (), and name in "
                "transient = (...) what is not to be saved.",
                schema=self.schema.name,
                fields=extra,
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

    def flat(self, obj: Any) -> Flat:
        """Take an instance apart."""
        _refuse_class(self.cls, self.schema)
        names, values = self._values(obj)
        case = Case(self.target)
        states: list[Any] = []
        for target, own, value in zip(self.target.parts, names, values, strict=True):
            if target.kind == FIELDS:
                value = dict(zip(own, value, strict=True))
            if target.kind != INSIDE:
                case.states.append((target, value))
            states.append(value)
        layers = self._layers(names)
        return Flat(self.schema, today_state(case), layers, states, *self.contents(obj))

    # Putting together.

    def load(self, obj: Any, state: Any) -> None:
        """Apply a state from a pickle, of whatever age."""
        if self.builtin is np.ndarray and unwrap(state) is None:
            state = _array_state(obj, state)
        if type(state) is tuple and state and type(state[0]) is tuple:
            header = state[0]
            if header is self.known and self.known is not None:
                self._set_current(obj, state)
                return
            if header == self.header and self.simple:
                self.known = header
                self._set_current(obj, state)
                return
        case = self._upgraded(obj, state)
        if case.items is not None and self.builtin is set:
            set.update(obj, case.items)
        elif case.items is not None and self.reads_args:
            self.builtin.__init__(obj, *case.items)  # type: ignore[misc]
        self._apply(obj, case.states, case.extra, case.migrated, True)
        finish(obj)

    def _set_current(self, obj: Any, state: tuple[Any, ...]) -> None:
        """The state is today's, every field is there: set them."""
        put = object.__setattr__
        for part, values in zip(self.layout.parts, state[1:], strict=True):
            for field, value in zip(part.fields, values, strict=True):
                if type(value) is _ConstantRef:
                    value = self._resolved(value)
                put(obj, field.attribute, value)
        if self.completes:
            self._complete(obj, {}, True)
        if self.layout.resources or self.loaded is not None:
            finish(obj)

    def _upgraded(self, obj: Any, state: Any) -> Case:
        try:
            case = survey(self.target, state, self.registry, owners=self._owners)
            frozen: dict[int, Any] = {}
            if case.is_migrated:
                for piece in case.pieces:
                    freeze(piece.value, frozen)
            for piece in case.pieces:
                if isinstance(piece.value, dict):
                    piece.value = dict(piece.value)
            try:
                bring_up(case, record=self._record(obj, state))
            finally:
                for array in frozen.values():
                    array.flags.writeable = True
            roots = roots_of(frozen)
            for _, own in case.states:
                thaw(own, roots)
        except PersistError as error:
            raise error.at(where=f"record {dotted(self.cls)!r}") from error.__cause__
        if case.instead is not ABSENT:
            raise SchemaError(
                "a migration puts another value in the place of the instance, which plain pickle cannot do.",
                where=f"record {dotted(self.cls)!r}",
                remedy="Load the file with persist.load.",
                schema=self.schema.name,
            )
        if case.unknown:
            warnings.warn(
                unknown_text(self.schema.name, case.unknown), UnknownFieldWarning, stacklevel=4
            )
        return case

    def _record(self, obj: Any, state: Any) -> Record:
        record = Record(Global(self.cls.__module__, self.cls.__qualname__), state)
        if self.builtin is list:
            record.listitems = list(list.__iter__(obj))
        elif issubclass(self.builtin, dict):
            record.dictitems = list(dict.items(obj))
        return record

    def _owners(self) -> set[str]:
        names = self.registry.old_names(self.schema.qualname)
        return {name.rpartition(".")[2] for name in names}

    def _resolved(self, value: Any) -> Any:
        """The function or class that a constant stands for; any other value is itself."""
        if type(value) is Record:
            value = constant_of(value) or value
        if type(value) is not _ConstantRef:
            return value
        found = self.registry.constant_named(value.name)
        if found is ABSENT:
            raise SchemaError(
                f"the constant {value.name!r} is not known.",
                where=f"record {dotted(self.cls)!r}",
                remedy=f"Import what registers it, or say persist.constant({value.name!r}, ...).",
                constant=value.name,
            )
        return found

    def _apply(
        self,
        obj: Any,
        states: Iterable[tuple[Any, Any]],
        extra: Mapping[Any, Any],
        migrated: Callable[[str], bool],
        validate: bool,
    ) -> None:
        """Set the states of all parts, base first."""
        given: dict[str, Any] = {}
        parts = {part.schema.name: part for part in self.layout.parts}
        for target, state in states:
            part = parts[target.schema.name]
            if part.kind == CODEC:
                self._decode(obj, part, state)
                continue
            convert = validate and migrated(part.schema.name)
            self._set_fields(obj, part, state, convert)
            given.update(state)
        for name, value in extra.items():
            self._put(obj, name, value)
        self._complete(obj, given, validate)

    def _decode(self, obj: Any, part: Part, state: Any) -> None:
        with _occupied(obj):
            if part.setstate is not None:
                part.setstate(obj, state)
            elif state is not None:
                if not isinstance(state, dict) and not _schema_pair(state):
                    raise SchemaError(
                        f"its __getstate__ gave a {type(state).__name__}, and it has no __setstate__ to "
                        "take one.",
                        where=f"class {dotted(part.cls)}",
                        remedy="Write the __setstate__ that belongs to it.",
                        schema=part.schema.name,
                    )
                _default_setstate(obj, state)

    def _set_fields(self, obj: Any, part: Part, state: dict[Any, Any], convert: bool) -> None:
        fields = {field.name: field for field in part.fields}
        for name, value in state.items():
            field = fields.get(name)
            value = self._resolved(value)
            if field is None:  # an attribute of an open class
                self._put(obj, _schema.mangled(name, part.cls), value)
                continue
            converter = self.converters.get(field.attribute) if convert else None
            if converter is not None:
                value = self._converted(obj, field, converter, value)
            self._put(obj, field.attribute, value)

    def _converted(self, obj: Any, field: Field, converter: Any, value: Any) -> Any:
        try:
            return converter(obj, value)
        except Exception as error:  # whatever a stranger's function raises
            raise SchemaError(
                f"the converter of the field {field.name!r} fails on its upgraded value: "
                f"{type(error).__name__}: {error}.",
                where=f"class {dotted(self.cls)}",
                remedy="Mend the migration, or load with validate=False.",
                schema=self.schema.name,
                field=field.name,
            ) from error

    def _put(self, obj: Any, attribute: str, value: Any) -> None:
        try:
            object.__setattr__(obj, attribute, value)
        except (AttributeError, TypeError) as error:
            raise SchemaError(
                f"its field {attribute!r} cannot be set: {error}.",
                where=f"class {dotted(self.cls)}",
                remedy="A property took its place, or there is no slot for it: name the field in persistent "
                "as it is stored, and move old states there with a migration (persist.ops.rename).",
                schema=self.schema.name,
                field=attribute,
            ) from error

    def _complete(self, obj: Any, given: dict[str, Any], validate: bool) -> None:
        """Give defaults to what is missing, then look everything over."""
        for part in self.layout.parts:
            for field in (*part.fields, *part.transients):
                if not field.has_default or (part.kind != FIELDS and not field.transient):
                    continue
                if field.transient or not _has(obj, field.attribute):
                    self._put(obj, field.attribute, field.fresh(given, obj))
        if self.caches_hash:
            object.__setattr__(obj, "_attrs_cached_hash", None)
        if self.checked:
            for part in self.layout.parts:
                if part.kind == FIELDS:
                    there = [field for field in part.fields if _has(obj, field.attribute)]
                    names = [field.name for field in there]
                    values = [object.__getattribute__(obj, field.attribute) for field in there]
                    self._check(part, names, values, "loaded")
        if validate:
            self._validate(obj)

    def _validate(self, obj: Any) -> None:
        for attribute in self.validators:
            if not attrs.validators.get_disabled() and _has(obj, attribute.name):
                try:
                    attribute.validator(
                        obj, attribute, object.__getattribute__(obj, attribute.name)
                    )
                except Exception as error:  # whatever a stranger's function raises
                    raise SchemaError(
                        f"the field {attribute.name!r} is refused by its validator: "
                        f"{type(error).__name__}: {error}.",
                        where=f"class {dotted(self.cls)}",
                        remedy="Mend the migration, or load with validate=False.",
                        schema=self.schema.name,
                        field=attribute.name,
                    ) from error

    # Copying.

    def copied(self, obj: Any, memo: dict[int, Any] | None) -> Any:
        """Copy an instance; transients and resources go by reference, nothing migrates."""

        def again(value: Any) -> Any:
            return value if memo is None else copy_module.deepcopy(value, memo)

        args, kwargs, listitems, dictitems, array = self.contents(obj)
        if array is not None:
            array = array.copy() if memo is None or not array.dtype.hasobject else again(array)
        args = tuple(again(item) for item in args)
        new = make(self.cls, args, {name: again(item) for name, item in kwargs.items()}, array)
        if memo is not None:
            memo[id(obj)] = new
        fill(
            new,
            [again(item) for item in listitems or ()],
            [(again(name), again(item)) for name, item in dictitems or ()],
        )
        if self.layout.codec:
            for part in self.layout.parts:
                if part.kind == CODEC:
                    self._decode(new, part, again(self._coded(part, obj)))
        byref = {field.attribute for part in self.layout.parts for field in part.transients}
        codec_owned = self._attributes_of_codecs() if self.layout.codec else None
        for name, value in _attributes(obj):
            if name in self.layout.resources or name in byref:
                object.__setattr__(new, name, value)
            elif codec_owned is None or name in codec_owned:
                object.__setattr__(new, name, again(value))
        if issubclass(self.builtin, defaultdict):
            new.default_factory = obj.default_factory
        if not hasattr(obj, "__dict__"):
            for name, found in self.layout.resources.items():
                value = _stored(obj, name)
                if value is not ABSENT:
                    found.__set__(new, value)
        return new

    def _attributes_of_codecs(self) -> set[str]:
        """Attributes beside those that a codec carries: the fields of parts that have none."""
        return {
            field.attribute
            for part in self.layout.parts
            if part.kind == FIELDS
            for field in part.fields
        }


# Parts of a road.


def _array_state(obj: Any, state: Any) -> Any:
    """Give an ndarray's heir the array of its plain pickle; return what else the state held."""
    record = Record(dotted(type(obj)), state)
    take_array(record)
    if record.args:
        array = record.args[1]
        order = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
        data = array.reshape(-1, order="A").tolist() if array.dtype == object else array.tobytes("A")
        np.ndarray.__setstate__(obj, (1, array.shape, array.dtype, order, data))
    return record.state


def _names(part: Part) -> Any:
    if part.kind == CODEC:
        return None
    return tuple(field.name for field in part.fields)


def _getter(cls: type, part: Part) -> Callable[[Any], tuple[Any, Any]]:
    """A function from an instance to the names and values of a part's fields."""
    names = tuple(field.name for field in part.fields)
    attributes = tuple(field.attribute for field in part.fields)
    if part.open:
        return functools.partial(_open_values, part.cls, cls)
    if not attributes:
        return lambda obj: ((), ())
    fetch = operator.attrgetter(*attributes)
    alone = len(attributes) == 1
    if hasattr(cls, "__getattr__"):  # it would be asked for what is missing
        return lambda obj: _slow_values(obj, names, attributes)

    def values(obj: Any) -> tuple[Any, Any]:
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


def _open_values(owner: type, cls: type, obj: Any) -> tuple[Any, Any]:
    """Every attribute of an instance that no class declares, and the slots of its own."""
    layout = _road_of(cls).layout
    part = layout.leaf
    there, values = _slow_values(
        obj, [field.name for field in part.fields], [field.attribute for field in part.fields]
    )
    found = {
        name: value
        for name, value in getattr(obj, "__dict__", {}).items()
        if name not in layout.known and type(name) is str
    }
    names = tuple(_schema.plain_name(name, owner) for name in found)
    return (*there, *names), (*values, *found.values())


def _has(obj: Any, attribute: str) -> bool:
    try:
        object.__getattribute__(obj, attribute)
    except AttributeError:
        return False
    return True


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    """Yield every attribute that an instance has, in its ``__dict__`` and in slots."""
    yield from list(getattr(obj, "__dict__", {}).items())
    for base in type(obj).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name in ("__dict__", "__weakref__"):
                continue
            attribute = _schema.mangled(name, base)
            if _has(obj, attribute):
                yield attribute, object.__getattribute__(obj, attribute)


_HELD = (
    object, list, dict, OrderedDict, defaultdict, set, frozenset, tuple, int, float, complex, str, bytes, np.ndarray,
)  # fmt: skip


def _builtin_of(cls: type) -> type:
    """The class of the MRO that was written in C and holds contents of its own."""
    for base in cls.__mro__:
        in_c = not base.__flags__ & (1 << 9) or base.__flags__ & (
            1 << 8
        )  # no heap type, or immutable
        if in_c or base is np.ndarray:
            if base in _HELD or issubclass(base, BaseException):
                if not issubclass(cls, np.ma.MaskedArray):
                    return base
            raise SchemaError(
                f"heirs of {dotted(base)} cannot be declared.",
                where=f"class {dotted(cls)}",
                remedy="Hold one in a field instead of inheriting it.",
                schema=dotted(cls),
            )
    return object


def _written_names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base is not object for name in vars(base)}


def _converters(cls: type) -> dict[str, Callable[[Any, Any], Any]]:
    """Attribute -> (instance, value) -> value, of an attrs class."""
    found: dict[str, Callable[[Any, Any], Any]] = {}
    for attribute in getattr(cls, "__attrs_attrs__", ()):
        converter = attribute.converter
        if converter is None:
            continue
        if isinstance(converter, getattr(attrs, "Converter", ())):
            found[attribute.name] = functools.partial(_call_converter, converter, attribute)
        else:
            found[attribute.name] = functools.partial(_call_plain, converter)
    return found


def _call_converter(converter: Any, attribute: Any, obj: Any, value: Any) -> Any:
    return converter(value, obj, attribute)


def _call_plain(converter: Any, obj: Any, value: Any) -> Any:
    return converter(value)


def _validators(cls: type) -> list[Any]:
    return [
        attribute
        for attribute in getattr(cls, "__attrs_attrs__", ())
        if attribute.validator is not None
    ]


# For who builds and flattens.


def unpacked(cls: type, record: Record) -> Contents:
    """Return what a record of a class holds beside its state, however its pickle spelled it."""
    base = _builtin_of(cls)
    args, listitems, dictitems = record.args, list(record.listitems), list(record.dictitems)
    array = None
    if record.kind == "reconstructor":
        value = args[1] if len(args) > 1 else None
        args = ()
        if isinstance(value, dict):
            dictitems = [*value.items(), *dictitems]
        elif base in (list, set) and isinstance(value, list | set):
            listitems = [*value, *listitems]
        elif value is not None:
            args = (value,)
    elif record.kind == "reduce" and base is np.ndarray:
        array = next((item for item in args if isinstance(item, np.ndarray)), None)
        args = ()
    elif base is set and len(args) == 1:
        listitems, args = [*args[0], *listitems], ()
    elif base is object and record.kind in ("inst", "obj", "reduce"):
        args = ()
    return Contents(args, dict(record.kwargs), listitems, dictitems, array)


def make(
    cls: type,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    array: Any = None,
) -> Any:
    """Make an instance without calling ``__init__``; it has no state yet.

    Args:
        cls: a class that is declared.
        args: what `Contents` gives.
        kwargs: likewise.
        array: of an heir of ndarray, whose memory the instance shares.
    """
    base = _builtin_of(cls)
    if base is np.ndarray and array is not None:
        return _array(cls, array)
    chosen = {"__getnewargs__", "__getnewargs_ex__"} & {
        name
        for owner in cls.__mro__
        for name, value in vars(owner).items()
        if isinstance(value, types.FunctionType)
    }
    if chosen:
        return cls.__new__(cls, *args, **(kwargs or {}))
    if base in (object, list, set) or issubclass(base, dict):
        return base.__new__(cls)
    made = base.__new__(cls, *args, **(kwargs or {}))
    if issubclass(base, BaseException) and base not in (BaseException, Exception):
        base.__init__(made, *args)
    return made


def fill(
    obj: Any, listitems: Iterable[Any] = (), dictitems: Iterable[tuple[Any, Any]] = ()
) -> None:
    """Give an heir of list, set or dict its items, by the builtin's own methods."""
    base = _builtin_of(type(obj))
    if base is list:
        list.extend(obj, listitems)
    elif base is set:
        set.update(obj, listitems)
    elif issubclass(base, dict):
        for name, value in dictitems:
            base.__setitem__(obj, name, value)


def restore_state(
    obj: Any,
    state: Any,
    *,
    validate: bool = True,
    migrated: bool = False,
    registry: Registry | None = None,
    file: str | None = None,
    where: str | None = None,
) -> None:
    """Set the state of today on an instance that `make` made.

    Args:
        obj: the instance.
        state: what `upgrade` left in `Record.state`, its values built; ABSENT for none.
        validate: run attrs' converters (on a migrated state) and validators.
        migrated: whether steps were done (`Plan.is_migrated`).
        registry: for a class that `Registry.register` declared; None is the default one.
        file: for messages.
        where: likewise.

    Raises:
        SchemaError: a field is missing, refused, or not as declared.
    """
    road = _road_of(type(obj), registry)
    try:
        case = survey(road.target, state, road.registry, version=road.schema.version)
        bring_up(case, unknown="keep")
        road._apply(obj, case.states, case.extra, lambda schema: migrated, validate)
    except PersistError as error:
        raise error.at(file=file, where=where) from error.__cause__


def finish(obj: Any, registry: Registry | None = None) -> None:
    """Open what `resource` declares, then call ``__loaded__``: once, when everything is built."""
    road = _road_of(type(obj), registry)
    for found in road.layout.resources.values():
        found.reopen(obj)
    if road.loaded is not None:
        obj.__loaded__()


def flatten_state(obj: Any, registry: Registry | None = None) -> Flat:
    """Take an instance of a declared class apart, its classes' states apart from each other.

    Raises:
        SchemaError: the class could not be found again, or a field is not as declared.
    """
    return _road_of(type(obj), registry).flat(obj)


def downgrade(obj: Any, to: int | Mapping[str, int]) -> Downgraded:
    """Return an object's state, or a record, as an older version had it.

    Args:
        obj: an instance of a declared class, or a `Record` at today's version.
        to: the version of its own schema; or schema name -> version, for its
            bases too.

    Returns:
        ``value``, a `Record` of the older version, and ``losses``, what it
        cannot hold, in words.

    Raises:
        IrreversibleError: a step on the way has no inverse.
        MissingMigrationError: no path leads there.
    """
    if isinstance(obj, Record):
        return downgrade_record(obj, to)
    road = _road_of(type(obj))
    flat = road.flat(obj)
    record = Record(
        Global(road.cls.__module__, road.cls.__qualname__),
        flat.state,
        args=flat.args,
        kwargs=flat.kwargs,
        listitems=flat.listitems,
        dictitems=flat.dictitems,
        version=road.schema.version,
    )
    return downgrade_record(record, to, road.registry)

"""The adapter of one class: convert its instances to states, and states to instances.

Made once for each class, at first use, when all its decorators are done. States in the current
layout are set directly; all others are analysed and migrated.
"""

from __future__ import annotations

import contextlib
import copy as copy_module
import copyreg
import functools
import operator
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import attrs
import numpy as np

from persist import schema as _schema
from persist._envelope import CODEC, FIELDS, INSIDE, ITEMS, Layer, seal, unwrap
from persist._instances import compiled_current, compiled_older
from persist._instances import waiting as _waiting
from persist._instances.builtin_bases import (
    attributes_of,
    can_make,
    fill,
    has,
    make,
    make_array,
)
from persist._instances.compiled_fields import StateMaker
from persist._instances.constants import NAMED, ConstantRef, constant_of, refusal, unknown_constant
from persist._instances.inert_views import InertViews, holds_instances
from persist._instances.machinery import is_machinery, refuse_changed, refuse_machinery
from persist._instances.profile import profile_of
from persist._instances.resources import stored
from persist._instances.undeclared import keep, kept_by, undeclared_by
from persist._instances.unfinished import settled
from persist._layouts.checks import check_case
from persist._torch_modules.classes import MODULE
from persist._upgrade.compiled import COMPILE_AFTER, SWITCH
from persist._upgrade.items import contents_of
from persist._upgrade.records import unknown_text
from persist._upgrade.running import run_steps
from persist._upgrade.state import (
    freeze,
    roots_of,
    states_of_today,
    take_array,
    thaw,
    today_state,
)
from persist._upgrade.target import InstanceUpgrade, TargetLayout, target_layout
from persist._upgrade.versions import plan_instance
from persist.errors import PersistError, SchemaError, UnknownFieldWarning
from persist.registry import Registry, default_registry
from persist.registry._declarations import EPOCH, user_stacklevel
from persist.registry._order import order_of
from persist.schema import Declared, Field, Layout, Part, Schema, dotted
from persist.tree import ABSENT, Global, Record, is_slots_pair

__all__ = [
    "ClassAdapter",
    "Flat",
    "adapter_of",
    "default_setstate",
    "finish",
    "finishing",
    "flatten_state",
    "is_busy",
    "refuse_class",
    "restore_state",
]


NEWOBJ: Any = vars(copyreg)["__newobj__"]
NEWOBJ_EX: Any = vars(copyreg)["__newobj_ex__"]
RECONSTRUCTOR: Any = vars(copyreg)["_reconstructor"]


_NESTED = 20  # upgrades of one class inside each other, by steps that load files of older versions


class _Busy(threading.local):
    """The objects whose own ``__setstate__`` is running, in this thread."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.upgrades: list[type] = []  # the classes whose steps are running


_busy = _Busy()


def is_busy(obj: Any) -> bool:
    """Whether the instance's own ``__setstate__`` is running, in this thread."""
    return id(obj) in _busy.ids


@contextlib.contextmanager
def _occupied(obj: Any) -> Iterator[None]:
    _busy.ids.append(id(obj))
    try:
        yield
    finally:
        _busy.ids.pop()


def default_setstate(obj: Any, state: Any) -> None:
    """What ``super().__setstate__(state)`` does where no base wrote one: the attributes are set."""
    parts = state if is_slots_pair(state) else (state,)
    for part in parts:
        if part is not None:
            if not isinstance(part, dict):
                raise TypeError(
                    f"a state of {type(part).__name__} needs a __setstate__ of its own."
                )
            refuse_machinery(
                (name for name, value in part.items() if is_machinery(name, value)),
                f"class {dotted(type(obj))}",
            )
            for name, value in part.items():
                object.__setattr__(obj, name, value)


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


def adapter_of(cls: type, registry: Registry | None = None) -> ClassAdapter:
    """The adapter of a class: from its own registry, or from the one that registered it."""
    adapter = vars(cls).get("_persist_adapter")
    if adapter is not None and adapter.cls is cls:
        return cast(ClassAdapter, adapter)
    own = settled(cls)
    if own is not cls:
        return adapter_of(own, registry)
    declared = vars(cls).get(_schema.DECLARED)
    if isinstance(declared, Declared):
        adapter = ClassAdapter(cls, declared.registry)
        type.__setattr__(cls, "_persist_adapter", adapter)
        return adapter
    # All registries are of this class; `_owner` is defined in one that it joins.
    home = cast(Registry, (default_registry if registry is None else registry)._owner(cls))
    adapter = home._adapters.get(cls)
    if adapter is None:
        adapter = home._adapters[cls] = ClassAdapter(cls, home)
    return cast(ClassAdapter, adapter)


class ClassAdapter:
    """How the instances of one class are taken apart and put together."""

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
        compiled_current.install(self, _busy, NEWOBJ)

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
        return _no_road, ()

    # Taking apart.

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

    def _reduced(self, obj: Any, header: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
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

    # Putting together.

    def load(self, obj: Any, state: Any) -> None:
        """Apply a state from a pickle, of whatever age."""
        if _waiting.is_waiting() or not SWITCH.is_on or _busy.upgrades:
            self._load_waiting(obj, state)
            return
        if self.builtin is np.ndarray and unwrap(state) is None:
            state = _array_state(obj, state)
        if type(state) is tuple and state and type(state[0]) is tuple:
            header = state[0]
            if header is self.known:
                self._set_current(obj, state)
                return
            if self._is_today(header, state):
                self.known = header
                self._set_current(obj, state)
                return
            older = self._older(header, state)
            if older is not None:
                older(obj, state)
                return
        if type(state) is not dict or not compiled_older.load_plain_dict(self, obj, state):
            self.load_general(obj, state)

    def load_general(self, obj: Any, state: Any) -> None:
        """Apply a state of any version, with all checks."""
        self._load_waiting(obj, state)

    def _load_waiting(self, obj: Any, state: Any) -> None:
        """Apply a state; again later, where its steps would see an instance without a state."""
        if self.builtin is np.ndarray and unwrap(state) is None:
            state = _array_state(obj, state)

        def find() -> dict[int, Any]:
            found = _waiting.unset_in(state, lambda cls: self.registry.declared(cls) is not None)
            return found if found and self._is_older(state) else {}

        if _waiting.is_waiting() or find():
            _waiting.load(obj, state, self._set_now, find, self._set_seen, _needs_state)
        else:
            self._set_now(obj, state)

    def _is_older(self, state: Any) -> bool:
        """Whether steps are to be done to a state."""
        try:
            state = self._normal(state)
            case = plan_instance(self.target, state, self.registry, owners=self._owners)
        except PersistError:  # reported when it is set
            return False
        return case.is_migrated

    def _set_now(self, obj: Any, state: Any) -> None:
        self._take(obj, self._upgraded(obj, state))

    def _set_seen(self, obj: Any, state: Any, views: _waiting.Views) -> None:
        """Apply a state whose steps see records in the place of instances."""
        self._take(obj, self._upgraded(obj, state, views=views))

    def load_rest(self, obj: Any, state: Any, done: Any, frozen: Any = None) -> None:
        """Apply a state with some steps done: (their result, their number) for each class."""
        self._take(obj, self._upgraded(obj, state, done, frozen))

    def take_fields(self, obj: Any, state: dict[str, Any]) -> None:
        """Set the fields of a class without bases to the result of steps, which has exactly these fields."""
        if self.profile.is_bare and not self.profile.converters:
            for field in self.layout.leaf.fields:
                self._put(obj, field.attribute, self._resolved(state[field.name]))
            return
        self._apply(obj, [(self.target.leaf, state)], {}, lambda schema: True, True)
        finish(obj)

    def _take(self, obj: Any, case: InstanceUpgrade) -> None:
        if case.items is not None and self.builtin is set:
            set.update(obj, case.items)
        elif case.items is not None and self.profile.reads_args:
            self.builtin.__init__(obj, *case.items)  # type: ignore[misc]
        self._apply(obj, case.states, case.extra, case.migrated, True)
        finish(obj)

    def _older(self, header: Any, state: Any) -> Any:
        """The compiled loader of states with this header, or None; compiled at the first use."""
        epoch = EPOCH[0]
        envelope = unwrap(state)
        if envelope is None or any(layer.kind != FIELDS for layer in envelope.layers):
            return None
        known = self.ways.get(header)
        count = known[1] + 1 if known is not None and type(known[1]) is int else 1
        if known is None or known[2] != epoch or type(known[1]) is int:
            if len(self.ways) > 1000:
                self.ways.clear()
            if count < COMPILE_AFTER:
                self.ways[header] = (header, count, epoch)
                return None
            try:
                case = plan_instance(self.target, state, self.registry, owners=self._owners)
                check_case(case, self.registry)
            except PersistError:  # the general path reports it, with the place
                return None
            known = self.ways[header] = (header, compiled_older.compiled(self, case, state), epoch)
        if known[1] is not None:
            self.older = (header, known[1], epoch)
        return known[1]

    def _is_today(self, header: Any, state: Any) -> bool:
        """True if a header states the current versions and all fields, so that they can be set directly."""
        if not self.profile.is_known_by_header or len(state) != len(self.layout.parts) + 1:
            return False
        if header == self.header:
            return all(
                type(value) is tuple and len(value) == len(part.fields)
                for part, value in zip(self.layout.parts, state[1:], strict=True)
                if part.kind == FIELDS
            )
        envelope = unwrap(state) if self.layout.codec else None
        if envelope is None or len(envelope.layers) != len(self.layout.parts):
            return False
        ours = [Layer(*layer) for layer in self.header[2]]
        return all(
            mine[:2] == other[:2]
            and (mine.fingerprint == other.fingerprint or not other.fingerprint)
            and mine.kind == other.kind
            and (self._has_names(part, other) if mine.kind == CODEC else mine.names == other.names)
            for part, mine, other in zip(self.layout.parts, ours, envelope.layers, strict=True)
        )

    def _has_names(self, part: Part, written: Layer) -> bool:
        """True if the parts of a codec's tuple are not known to have other names today."""
        if type(written.names) is not tuple:
            return True
        return self._tuple_names(part).get(len(written.names), written.names) == written.names

    def _set_current(self, obj: Any, state: tuple[Any, ...]) -> None:
        """Set the fields of a current state that has all of them."""
        put = object.__setattr__
        for part, values in zip(self.layout.parts, state[1:], strict=True):
            if part.kind == CODEC:
                self._decode(obj, part, values)
                continue
            if part.kind == INSIDE:
                continue
            for field, value in zip(part.fields, values, strict=True):
                if type(value) is ConstantRef:
                    value = self._resolved(value)
                put(obj, field.attribute, value)
        if self.profile.completes:
            self._complete(obj, {}, True)
        if self.profile.has_hooks:
            finish(obj)

    def _upgraded(
        self,
        obj: Any,
        state: Any,
        done: Any = (),
        frozen: Any = None,
        views: _waiting.Views | None = None,
    ) -> InstanceUpgrade:
        try:
            is_frozen = frozen is not None
            frozen = {} if frozen is None else frozen
            # The state of a torch module holds its submodules, which are taken apart with it.
            if not (done or self.is_module) and (views or self._holds_instances(state)):
                views = InertViews(
                    self._adapter_for, self.registry.constant_name, frozen, waiting=views
                )
            case = self._planned(state if views is None else views.seen(state))
            if views is not None and not case.is_migrated:
                views, case = None, self._planned(state)
            check_case(case, self.registry)
            self._refuse_order(case)
            if self.is_module and case.is_migrated:
                for piece in case.pieces:
                    piece.value = self._arrays(piece.value)
            if not is_frozen and case.is_migrated and not done:
                for piece in case.pieces:
                    freeze(piece.value, frozen)
                    freeze(piece.private, frozen)
            for piece in case.pieces:
                if isinstance(piece.value, dict):
                    piece.value = dict(piece.value)
            for piece, (value, count) in zip(case.pieces, done, strict=False):
                piece.value, piece.done = value, count
            shown = self._record(obj, state if views is None else views.seen(state))
            given = contents_of(shown)
            try:
                with self._in_steps():
                    run_steps(case, record=shown)
                if isinstance(views, InertViews):
                    views.refuse_changes()
            finally:
                for array in frozen.values():
                    array.flags.writeable = True
            if views is not None:
                case.states = [(part, views.live(own)) for part, own in case.states]
                case.extra = views.live(case.extra)
            roots = roots_of(frozen)
            for _, own in case.states:
                thaw(own, roots)
        except PersistError as error:
            raise error.at(where=f"record {dotted(self.cls)!r}") from error.__cause__
        self._refuse_replaced(case, given.is_in(shown))
        if case.unknown:
            warnings.warn(
                unknown_text(self.schema.name, case.unknown),
                UnknownFieldWarning,
                stacklevel=user_stacklevel(),
            )
        return case

    def _planned(self, state: Any) -> InstanceUpgrade:
        return plan_instance(self.target, self._normal(state), self.registry, owners=self._owners)

    def _holds_instances(self, state: Any) -> bool:
        """True if steps would meet live instances in a state that plain pickle gives."""
        return holds_instances(state, lambda cls: self.registry.declared(cls) is not None)

    def _adapter_for(self, cls: type) -> ClassAdapter | None:
        """The adapter of a declared class; None for any other."""
        declared = self.registry.declared(cls) is not None
        return adapter_of(cls, self.registry) if declared else None

    @property
    def is_ordered(self) -> bool:
        """True if steps declare that instances of the class are upgraded before or after others."""
        epoch = EPOCH[0]
        if self._order is None or self._order[0] != epoch:
            order = order_of(self.registry)
            names = [part.schema.name for part in self.target.parts]
            self._order = (epoch, order is not None and any(name in order for name in names))
        return self._order[1]

    def _refuse_order(self, case: InstanceUpgrade) -> None:
        """Refuse steps whose order among classes plain pickle cannot keep."""
        if case.is_migrated and self.is_ordered:
            raise SchemaError(
                "its steps are to run before or after those of other classes (before=, after=), and plain "
                "pickle upgrades parts first.",
                where=f"record {dotted(self.cls)!r}",
                remedy="Load the file with persist.load.",
                schema=self.schema.name,
            )

    def _refuse_replaced(self, case: InstanceUpgrade, is_same: bool) -> None:
        """Refuse what steps cannot do to an instance that pickle has made already."""
        if not is_same:
            raise SchemaError(
                "a migration changes the arguments or the items of the instance, which plain pickle has made already.",
                where=f"record {dotted(self.cls)!r}",
                remedy="Load the file with persist.load.",
                schema=self.schema.name,
            )
        if case.instead is not ABSENT:
            raise SchemaError(
                "a migration puts another value in the place of the instance, which plain pickle cannot do.",
                where=f"record {dotted(self.cls)!r}",
                remedy="Load the file with persist.load.",
                schema=self.schema.name,
            )

    @contextlib.contextmanager
    def _in_steps(self) -> Iterator[None]:
        """Refuse a step that loads the file that is being loaded, which would never end."""
        if _busy.upgrades.count(self.cls) >= _NESTED:
            raise SchemaError(
                f"steps of {self.schema.name!r} load instances of it inside each other, {_NESTED} deep: a step "
                "loads the file that is being loaded.",
                remedy="A step gets the whole state that it needs; what else is in the file, "
                "persist.open(...) gives without upgrading it.",
                schema=self.schema.name,
                nested=True,
            )
        _busy.upgrades.append(self.cls)
        try:
            yield
        finally:
            _busy.upgrades.pop()

    def _normal(self, state: Any) -> Any:
        """The state of a module of torch as one flat dict, whatever wrote it; any other as it is."""
        if not self.is_module:
            return state
        from persist._torch_modules.states import normal_state

        return normal_state(state)

    def _arrays(self, state: Any) -> Any:
        """Tensors as arrays: steps get the same whatever is loaded."""
        from persist._torch_modules.states import to_arrays

        return to_arrays(state, {})

    def _record(self, obj: Any, state: Any) -> Record:
        record = Record(Global(self.cls.__module__, self.cls.__qualname__), state)
        if not self.profile.is_plain and self.builtin is not np.ndarray:
            with contextlib.suppress(
                Exception
            ):  # a method of the user's, on an instance without a state
                record.args, record.kwargs = self.contents(obj)[:2]
        if self.builtin is list:
            record.listitems = list(list.__iter__(obj))
        elif issubclass(self.builtin, dict):
            record.dictitems = list(dict.items(obj))
        return record

    def _owners(self) -> set[str]:
        names = self.registry.old_names(self.schema.qualname)
        return {name.rpartition(".")[2] for name in names}

    def _resolved(self, value: Any) -> Any:
        """The value of a constant; any other value itself."""
        if type(value) is Record:
            value = constant_of(value) or value
        if type(value) is Global:  # a constant as trees have it, or a name that is none
            found = self.registry.constant_named(value.qualname)
            return value if found is ABSENT else found
        if type(value) is not ConstantRef:
            return value
        found = self.registry.constant_named(value.name)
        if found is ABSENT:
            raise unknown_constant(value.name).at(where=f"record {dotted(self.cls)!r}")
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
                self._decode(obj, part, state, any(migrated(one) for one in parts))
                continue
            convert = validate and migrated(part.schema.name)
            self._set_fields(obj, part, state, convert)
            given.update(state)
        for name, value in extra.items():
            self._put_undeclared(obj, name, self._resolved(value), self.cls)
        if extra and self.undeclared is not None:
            if not self.undeclared.has_kept:
                compiled_current.uninstall(self)
            self.undeclared.keep(obj, extra)
        self._complete(obj, given, validate)

    def _decode(self, obj: Any, part: Part, state: Any, migrated: bool = False) -> None:
        with _occupied(obj):
            if self.is_module and part.setstate is not None:
                vars(self.cls)[MODULE].set_state(obj, state, migrated)
            elif part.setstate is not None:
                part.setstate(obj, state)
                refuse_changed(obj, self.cls, state, f"class {dotted(self.cls)}")
            elif state is not None:
                if not isinstance(state, dict) and not is_slots_pair(state):
                    raise SchemaError(
                        f"its __getstate__ gave a {type(state).__name__}, and it has no __setstate__ to "
                        "take one.",
                        where=f"class {dotted(part.cls)}",
                        remedy="Write the __setstate__ that belongs to it.",
                        schema=part.schema.name,
                    )
                default_setstate(obj, state)

    def _set_fields(self, obj: Any, part: Part, state: dict[Any, Any], convert: bool) -> None:
        fields = {field.name: field for field in part.fields}
        for name, value in state.items():
            field = fields.get(name)
            value = self._resolved(value)
            if field is None:  # an attribute of an open class
                self._put_undeclared(obj, name, value, part.cls)
                continue
            converter = self.profile.converters.get(field.attribute) if convert else None
            if converter is not None:
                value = self._converted(obj, field, converter, value)
            self._put(obj, field.attribute, value)

    def _put_undeclared(self, obj: Any, name: Any, value: Any, owner: type) -> None:
        """Set an attribute that only the file names."""
        if type(name) is not str:
            raise SchemaError(
                f"its state has the key {name!r}, a {type(name).__name__}, which cannot be an attribute.",
                where=f"class {dotted(self.cls)}",
                remedy="Give the class a __getstate__ and __setstate__ of its own, or count version= up and "
                "register a migration that gives it a name.",
                schema=self.schema.name,
            )
        if is_machinery(name, value):
            refuse_machinery([name], f"class {dotted(self.cls)}", self.schema.name)
        if _schema.mangled(name, owner) in self.layout.reserved:
            raise self._reserved(_schema.mangled(name, owner))
        self._put(obj, _schema.mangled(name, owner), value)

    def _converted(self, obj: Any, field: Field, converter: Any, value: Any) -> Any:
        try:
            return converter(obj, value)
        except Exception as error:  # user code may raise anything
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
        """Set the defaults of missing fields, then check all values."""
        for part in self.layout.parts:
            for field in (*part.fields, *part.transients):
                if not field.has_default or (part.kind != FIELDS and not field.transient):
                    continue
                is_set = self.is_module and has(obj, field.attribute)  # by its constructor
                if (field.transient and not is_set) or not has(obj, field.attribute):
                    self._put(obj, field.attribute, field.fresh(given, obj))
            for field in part.quantities:
                if has(obj, field.attribute):
                    value = object.__getattribute__(obj, field.attribute)
                    self._put(obj, field.attribute, field.live(value))
        if self.profile.caches_hash:
            object.__setattr__(obj, "_attrs_cached_hash", None)
        if self.profile.is_checked:
            for part in self.layout.parts:
                if part.kind == FIELDS:
                    there = [field for field in part.fields if has(obj, field.attribute)]
                    names = [field.name for field in there]
                    values = [object.__getattribute__(obj, field.attribute) for field in there]
                    self._check(part, names, values, "loaded")
        if validate:
            self._validate(obj)

    def _validate(self, obj: Any) -> None:
        for attribute in self.profile.validators:
            if not attrs.validators.get_disabled() and has(obj, attribute.name):
                try:
                    attribute.validator(
                        obj, attribute, object.__getattribute__(obj, attribute.name)
                    )
                except Exception as error:  # user code may raise anything
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
        for name, value in attributes_of(obj):
            if name in self.layout.resources or name in byref:
                object.__setattr__(new, name, value)
            elif codec_owned is None or name in codec_owned:
                object.__setattr__(new, name, again(value))
        kept = kept_by(obj)
        if kept:
            keep(new, kept)
        if issubclass(self.builtin, defaultdict):
            new.default_factory = obj.default_factory
        if not hasattr(obj, "__dict__"):
            for name, found in self.layout.resources.items():
                value = stored(obj, name)
                if value is not ABSENT:
                    found.__set__(new, value)
        return new

    def _attributes_of_codecs(self) -> set[str]:
        """Attributes in addition to those of a codec: the fields of parts without one."""
        return {
            field.attribute
            for part in self.layout.parts
            if part.kind == FIELDS
            for field in part.fields
        }


# Parts of an adapter.


def _no_road() -> None:
    """Stand-in for a pickled adapter: adapters are not sent with a class, but made anew."""


def _needs_state(cls: type) -> bool:
    """Whether a class has fields that need a value, so that its instances are pickled with a state."""
    parts = adapter_of(cls).layout.parts
    return any(not field.has_default for part in parts for field in part.fields)


def _array_state(obj: Any, state: Any) -> Any:
    """Set an ndarray subclass to the array of its plain pickle; return the rest of the state."""
    record = Record(dotted(type(obj)), state)
    take_array(record)
    if record.args:
        array = record.args[1]
        order = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
        data = (
            array.reshape(-1, order="A").tolist() if array.dtype == object else array.tobytes("A")
        )
        parts: Any = (1, array.shape, array.dtype, order, data)
        np.ndarray.__setstate__(obj, parts)
    return record.state


def _names(part: Part) -> Any:
    if part.kind == CODEC:
        return None
    return tuple(field.name for field in part.fields)


def _getter(adapter: ClassAdapter, part: Part) -> Callable[[Any], tuple[Any, Any]]:
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


def _private_values(owner: type, obj: Any) -> tuple[Any, Any]:
    """The private attributes of a base that states no fields."""
    prefix = _schema.private_prefix(owner)
    found = {
        name: value
        for name, value in getattr(obj, "__dict__", {}).items()
        if type(name) is str and name.startswith(prefix) and len(name) > len(prefix)
    }
    return tuple(_schema.plain_name(name, owner) for name in found), tuple(found.values())


def _open_values(owner: type, adapter: ClassAdapter, obj: Any) -> tuple[Any, Any]:
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


def restore_state(
    obj: Any,
    state: Any,
    *,
    validate: bool = True,
    migrated: bool = False,
    registry: Registry | None = None,
    file: str | None = None,
    where: str | None = None,
    inherited: Callable[[dict[Any, Any]], dict[Any, Any]] | None = None,
) -> None:
    """Set a current state on an instance that `make` made.

    Args:
        obj: the instance.
        state: what `upgrade` left in `Record.state`, its values built; ABSENT for none.
        validate: run attrs' converters (on a migrated state) and validators.
        migrated: whether steps were done (`Plan.is_migrated`).
        registry: for a class that `Registry.register` declared; None is the default one.
        file: for messages.
        where: likewise.
        inherited: brings what a state holds of a library's class, which is a base of this one, to
            the layout of the installed release.

    Raises:
        SchemaError: a field is missing, refused, or not as declared.
    """
    adapter = adapter_of(type(obj), registry)
    try:
        states, extra = states_of_today(adapter.target, state), {}
        if states is None:
            case = plan_instance(
                adapter.target, state, adapter.registry, version=adapter.schema.version
            )
            run_steps(case, unknown="keep")
            states, extra = case.states, case.extra
        if inherited is not None:
            states, extra = _with_library(list(states), extra, inherited), {}
        adapter._apply(obj, states, extra, lambda schema: migrated, validate)
    except PersistError as error:
        raise error.at(file=file, where=where) from error.__cause__


def _with_library(
    states: list[tuple[Any, Any]],
    extra: Mapping[Any, Any],
    inherited: Callable[[dict[Any, Any]], dict[Any, Any]],
) -> list[tuple[Any, Any]]:
    """The states of all classes, with the library's part of the last one brought up to date."""
    for place in reversed(range(len(states))):
        part, state = states[place]
        if isinstance(state, dict):
            states[place] = part, inherited({**state, **extra})
            break
    return states


def finish(obj: Any, registry: Registry | None = None) -> None:
    """Open the resources, then call ``__loaded__``: once, after everything is built."""
    adapter = adapter_of(type(obj), registry)
    for found in adapter.layout.resources.values():
        found.reopen(obj)
    if adapter.loaded is not None:
        adapter.loaded(obj)  # of the class: a state cannot set it on the instance


def finishing(obj: Any, registry: Registry | None = None) -> tuple[str, ...]:
    """Return in words what `finish` would open and call; nothing is opened or called."""
    adapter = adapter_of(type(obj), registry)
    opened = [
        f"opens the resource {name!r} from its field {found.field!r}"
        for name, found in adapter.layout.resources.items()
        if found.missing != "lazy"
    ]
    return (*opened, *(["calls __loaded__"] if adapter.loaded is not None else []))


def flatten_state(obj: Any, registry: Registry | None = None) -> Flat:
    """Take an instance of a declared class apart, its classes' states apart from each other.

    Raises:
        SchemaError: the class could not be found again, or a field is not as declared.
    """
    return adapter_of(type(obj), registry).flat(obj)

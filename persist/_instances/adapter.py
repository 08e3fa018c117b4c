"""The adapter of one class: convert its instances to states, and states to instances.

Made once for each class, at first use, when all its decorators are done. States in the current
layout are set directly; all others are analysed and migrated.
"""

from __future__ import annotations

import contextlib
import copy as copy_module
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from persist import schema as _schema
from persist._envelope import CODEC, FIELDS, INSIDE, Layer, unwrap
from persist._instances import compiled_current, compiled_older
from persist._instances import waiting as _waiting
from persist._instances.builtin_bases import (
    attributes_of,
    fill,
    make,
)
from persist._instances.constants import ConstantRef
from persist._instances.inert_views import InertViews, holds_instances
from persist._instances.own_setstate import busy
from persist._instances.resources import stored
from persist._instances.setting import StateSetter, array_state
from persist._instances.taking import NEWOBJ, Flat
from persist._instances.undeclared import keep, kept_by
from persist._instances.unfinished import settled
from persist._layouts.checks import check_case
from persist._upgrade.compiled import COMPILE_AFTER, SWITCH
from persist._upgrade.items import contents_of
from persist._upgrade.records import unknown_text
from persist._upgrade.running import run_steps
from persist._upgrade.state import (
    freeze,
    roots_of,
    states_of_today,
    thaw,
)
from persist._upgrade.target import InstanceUpgrade
from persist._upgrade.versions import plan_instance
from persist.errors import PersistError, SchemaError, UnknownFieldWarning
from persist.registry import Registry, default_registry
from persist.registry._declarations import EPOCH, user_stacklevel
from persist.registry._order import order_of
from persist.schema import Declared, Part, dotted
from persist.tree import ABSENT, Global, Record

__all__ = ["ClassAdapter", "adapter_of", "finish", "finishing", "flatten_state", "restore_state"]


_NESTED = 20  # upgrades of one class inside each other, by steps that load files of older versions


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


class ClassAdapter(StateSetter):
    """How the instances of one class are taken apart and put together."""

    def __init__(self, cls: type, home: Registry) -> None:
        super().__init__(cls, home)
        compiled_current.install(self, busy, NEWOBJ)

    # Putting together.

    def load(self, obj: object, state: Any) -> None:
        """Apply a state from a pickle, of whatever age."""
        if _waiting.is_waiting() or not SWITCH.is_on or busy.upgrades:
            self._load_waiting(obj, state)
            return
        if self.builtin is np.ndarray and unwrap(state) is None:
            state = array_state(obj, state)
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

    def load_general(self, obj: object, state: object) -> None:
        """Apply a state of any version, with all checks."""
        self._load_waiting(obj, state)

    def _load_waiting(self, obj: object, state: object) -> None:
        """Apply a state; again later, where its steps would see an instance without a state."""
        if self.builtin is np.ndarray and unwrap(state) is None:
            state = array_state(obj, state)

        def find() -> dict[int, Any]:
            found = _waiting.unset_in(state, lambda cls: self.registry.declared(cls) is not None)
            return found if found and self._is_older(state) else {}

        if _waiting.is_waiting() or find():
            _waiting.load(obj, state, self._set_now, find, self._set_seen, _needs_state)
        else:
            self._set_now(obj, state)

    def _is_older(self, state: object) -> bool:
        """Whether steps are to be done to a state."""
        try:
            state = self._normal(state)
            case = plan_instance(self.target, state, self.registry, owners=self._owners)
        except PersistError:  # reported when it is set
            return False
        return case.is_migrated

    def _set_now(self, obj: object, state: object) -> None:
        self._take(obj, self._upgraded(obj, state))

    def _set_seen(self, obj: object, state: object, views: _waiting.Views) -> None:
        """Apply a state whose steps see records in the place of instances."""
        self._take(obj, self._upgraded(obj, state, views=views))

    def load_rest(self, obj: object, state: object, done: object, frozen: object = None) -> None:
        """Apply a state with some steps done: (their result, their number) for each class."""
        self._take(obj, self._upgraded(obj, state, done, frozen))

    def take_fields(self, obj: object, state: dict[str, object]) -> None:
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

    def _older(self, header: object, state: object) -> Any:
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

    def _is_today(self, header: object, state: Any) -> bool:
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

    def _set_current(self, obj: object, state: tuple[Any, ...]) -> None:
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
        obj: object,
        state: object,
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

    def _planned(self, state: object) -> InstanceUpgrade:
        return plan_instance(self.target, self._normal(state), self.registry, owners=self._owners)

    def _holds_instances(self, state: object) -> bool:
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
        if busy.upgrades.count(self.cls) >= _NESTED:
            raise SchemaError(
                f"steps of {self.schema.name!r} load instances of it inside each other, {_NESTED} deep: a step "
                "loads the file that is being loaded.",
                remedy="A step gets the whole state that it needs; what else is in the file, "
                "persist.open(...) gives without upgrading it.",
                schema=self.schema.name,
                nested=True,
            )
        busy.upgrades.append(self.cls)
        try:
            yield
        finally:
            busy.upgrades.pop()

    def _normal(self, state: object) -> object:
        """The state of a module of torch as one flat dict, whatever wrote it; any other as it is."""
        if not self.is_module:
            return state
        from persist._torch_modules.states import normal_state

        return normal_state(state)

    def _arrays(self, state: object) -> Any:
        """Tensors as arrays: steps get the same whatever is loaded."""
        from persist._torch_modules.states import to_arrays

        return to_arrays(state, {})

    def _record(self, obj: Any, state: object) -> Record:
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

    # Copying.

    def copied(self, obj: Any, memo: dict[int, object] | None) -> object:
        """Copy an instance; transients and resources go by reference, nothing migrates."""

        def again(value: object) -> Any:
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


# Parts of an adapter.


def restore_state(
    obj: object,
    state: object,
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


def finish(obj: object, registry: Registry | None = None) -> None:
    """Open the resources, then call ``__loaded__``: once, after everything is built."""
    adapter = adapter_of(type(obj), registry)
    for found in adapter.layout.resources.values():
        found.reopen(obj)
    if adapter.loaded is not None:
        adapter.loaded(obj)  # of the class: a state cannot set it on the instance


def finishing(obj: object, registry: Registry | None = None) -> tuple[str, ...]:
    """Return in words what `finish` would open and call; nothing is opened or called."""
    adapter = adapter_of(type(obj), registry)
    opened = [
        f"opens the resource {name!r} from its field {found.field!r}"
        for name, found in adapter.layout.resources.items()
        if found.missing != "lazy"
    ]
    return (*opened, *(["calls __loaded__"] if adapter.loaded is not None else []))


def flatten_state(obj: object, registry: Registry | None = None) -> Flat:
    """Take an instance of a declared class apart, its classes' states apart from each other.

    Raises:
        SchemaError: the class could not be found again, or a field is not as declared.
    """
    return adapter_of(type(obj), registry).flat(obj)


def _needs_state(cls: type) -> bool:
    """Whether a class has fields that need a value, so that its instances are pickled with a state."""
    parts = adapter_of(cls).layout.parts
    return any(not field.has_default for part in parts for field in part.fields)

"""Instances of declared and trusted classes, and objects of libraries that a pack makes."""

from __future__ import annotations

import functools
import operator
from collections import ChainMap
from collections.abc import Callable
from typing import Any

from persist import versioned
from persist._envelope import unwrap
from persist._instances.adapter import adapter_of
from persist._instances.compiled_fields import StateMaker, state_maker
from persist._objects.containers import Containers
from persist._objects.rows import field_access
from persist._objects.trust import (
    Trust,
    missing_below,
)
from persist._objects.trusted_calls import append_to, made_by_call, set_attribute, set_state
from persist._torch_modules.classes import is_module_class
from persist._torch_modules.reviving import revived
from persist._trees import numpy_random
from persist._trees.driver import ATOMS, Parts
from persist._upgrade.plan import Plan, Rehearsal, located
from persist._upgrade.today import is_current
from persist.errors import (
    PersistError,
    RestoreError,
)
from persist.registry import Registry
from persist.registry._rebuilds import Rebuild
from persist.schema import MAKERS
from persist.tree import (
    ABSENT,
    Global,
    Record,
    is_cython_maker,
    step_of,
)

__all__ = ["Instances"]

_ENVELOPE = object()  # in a key of makers


class Instances(Containers):
    """Makes one instance of a record, by what is known about its class."""

    _tensors: Callable[[], dict[int, Any]]

    def __init__(
        self,
        registry: Registry,
        trust: Trust,
        file: str | None,
        is_known: Callable[[Record], bool],
        validate: bool,
        plan: Plan | None,
        *,
        live: bool,
    ) -> None:
        super().__init__(registry, trust, file, is_known, live=live)
        self._validate = validate
        self._rebuilding: set[int] = set()
        self._trusting: list[str] = []  # the trusted objects that are being made, outermost first
        self._numpy_only = 0  # random states, whose arrays NumPy takes itself
        self._begun: tuple[Any, Any] | None = None  # an instance just made, and its maker
        # (class, names or header) -> the maker, and what is named by its id
        self._makers: dict[object, tuple[StateMaker | None, object, object]] = {}
        self._whole: list[tuple[Any, Record, str]] = []  # declared objects, as they were made
        # Class -> the library's class among its bases, and how a pack makes objects of that.
        self._library_bases: dict[type, tuple[type, Rebuild] | None] = {}
        # Library -> its releases that objects of the file record, as far as they were met.
        self._written_by: dict[str, set[str]] = {}
        self._migrated = plan._classes if plan is not None else frozenset()
        self._rehearsed: Rehearsal | None = None
        self._facts: dict[int, Any] = {}  # id of an array or tensor -> the tensor of the file
        self._revived: dict[int, tuple[Any, Any]] = {}  # id of an array -> it, and its tensor

    def _rebuilt(self, record: Record, rebuild: Rebuild) -> Parts:
        """An object made by a pack; the record itself, with the reason noted, where it cannot be."""
        if id(record) in self._rebuilding:  # it is part of its own state
            return self._keep(record, record)
        path = self.path
        self._note_release(record, rebuild)
        self._rebuilding.add(id(record))
        self._is_in_record += 1
        self._inside += 1  # what stays inside is reported with the reason for the whole
        made = Record(
            record.cls,
            maker=record.maker,
            kind=record.kind,
            version=record.version,
            args=(yield "args", record.args),
            kwargs=(yield "kwargs", record.kwargs),
            listitems=(yield "", record.listitems),
            dictitems=(yield from self._pairs(record)),
            state=ABSENT if record.state is ABSENT else (yield "", rebuild.needed(record.state)),
        )
        self._inside -= 1
        self._is_in_record -= 1
        self._rebuilding.discard(id(record))
        if id(record) in self._done:
            self._reasons.setdefault(record.qualname, "it is part of its own state")
        else:
            try:
                return self._keep(record, self._call_rebuild(made, rebuild))
            except RestoreError as error:
                self._reasons.setdefault(record.qualname, error.what)
        self._keep(record, record)
        record.args, record.kwargs, record.state = made.args, made.kwargs, made.state
        record.listitems, record.dictitems = made.listitems, made.dictitems
        noted = self._opaque.get(record.qualname) or (record, path, 0, False)
        if not self._inside:
            self._refuse_in_trusted(record, path)
            self._opaque[record.qualname] = (noted[0], noted[1], noted[2] + 1, False)
        return record

    def _note_release(self, record: Record, rebuild: Rebuild) -> None:
        state = record.state
        if rebuild.stamp is not None and isinstance(state, dict):
            release = state.get(rebuild.stamp)
            if isinstance(release, str):
                self._written_by.setdefault(rebuild.library, set()).add(release)

    def _refuse_in_trusted(self, record: Record, path: str) -> None:
        """Refuse a record in the place of an object that a trusted one would hold: it looks alive.

        Raises:
            RestoreError: a trusted object is being made around the record.
        """
        if self._trusting:
            raise RestoreError(
                f"the trusted {self._trusting[-1]} holds it, and no object of it can be made: "
                f"{self._reasons[record.qualname]}.",
                file=self._file,
                where=located(record.qualname, path),
                remedy="With live=False, or without the name in trust=, both are given as records.",
            )

    def _pairs(self, record: Record) -> Parts:
        pairs = []
        for key, item in record.dictitems:
            pairs.append(((yield "key", key), (yield step_of(key), item)))
        return pairs

    def _call_rebuild(self, record: Record, rebuild: Rebuild) -> object:
        """Call the function of a pack; whatever an installed library raises is a reason."""
        missing = missing_below(
            [record.args, record.kwargs, record.listitems, record.dictitems, record.state],
            lambda value: True,
        )
        if missing:
            names = [*missing.classes, *missing.calls]
            names += [] if rebuild.takes_names else missing.names
        if missing and names:
            reasons = [f" ({self._reasons[name]})" for name in names[:1] if name in self._reasons]
            raise RestoreError(f"it holds {', '.join(names)}, which stayed inert{''.join(reasons)}")
        try:
            return rebuild.function(record)
        except RestoreError:
            raise
        except Exception as error:
            raise RestoreError(
                f"{rebuild.library} raised {type(error).__name__}: {error}"
            ) from error

    def _random_state(self, record: Record) -> Parts:
        """A random state of NumPy; None for a class that is not part of NumPy."""
        path = self.path
        args = []
        for index, item in enumerate(record.args):  # a class among them is a name, trusted or not
            named = type(item) is Global
            args.append(item if named else (yield f"args/{index}", item))
        state = record.state
        if state is not ABSENT:
            state = yield "", state
        if id(record) in self._done:
            return self._done[id(record)][1]
        try:
            made = numpy_random.build(record, tuple(args), state)
        except PersistError as error:
            where = located(record.qualname, path)
            raise error.at(file=self._file, where=where) from error.__cause__
        return None if made is None else self._keep(record, made)

    def _at_once(self, record: Record) -> tuple[object, StateMaker | None] | None:
        """Make an instance whose state is exactly its current fields; None for any other record.

        Returns:
            The instance with its fields as they are in the tree, and its maker if they are not final.
        """
        state = record.state
        if type(state) is dict:
            key: Any = (id(record.cls), record.version, *state)
        elif type(state) is tuple and len(state) == 2 and type(state[1]) is tuple:
            key = (id(record.cls), id(state[0]), len(state[1]), _ENVELOPE)
        else:
            return None
        known = self._makers.get(key)
        if known is None:
            known = self._makers[key] = (self._maker(record), record.cls, state)
        maker = known[0]
        if maker is None or not record.is_bare:
            return None
        try:
            made, is_final = maker.make(state)
        except (AttributeError, TypeError):  # a property shadows a field; reported in general
            return None
        self._done[id(record)] = (record, made)
        return made, None if is_final else maker

    def _maker(self, record: Record) -> StateMaker | None:
        """What makes instances of such records; None if they need the general path."""
        state = record.state
        cls, how = self._find(record)
        if how != "declared" or self._rehearsed is not None:
            return None
        adapter = adapter_of(cls, self._registry)
        short = field_access(adapter)
        if short is None or not short.sets:
            return None
        names = tuple(state)
        if type(state) is tuple:
            if not is_current(record, self._registry):
                return None
            names = unwrap(state).layers[0].names  # type: ignore[union-attr]
        elif record.version is None:
            return None
        if len(names) != len(short.names) or {*names} != {*short.names}:
            return None
        return state_maker(adapter, names, type(state) is tuple)

    def _set_parts(self, record: Record, obj: object, maker: StateMaker) -> Parts:
        """Build the values of an instance that `_at_once` made, and set those that changed."""
        state = record.state
        values = list(state[1] if type(state) is tuple else state.values())
        self._unset[id(obj)] = (obj, record)  # its hash may still change
        for name, attribute, value in zip(maker.names, maker.attributes, values, strict=True):
            if type(value) not in ATOMS:
                made = yield name, value
                if made is not value:
                    set_attribute(obj, attribute, made)
        del self._unset[id(obj)]
        return obj

    def _of_state(self, record: Record, cls: type, maker: Callable[[Any], object]) -> Parts:
        """An instance that a function of the user's makes of its whole state."""
        path, state = self.path, record.state
        if state is not ABSENT:
            state = yield "", state
        if id(record) in self._done:
            raise RestoreError(
                "it is part of the state that it would be made from.",
                file=self._file,
                where=located(record.qualname, path),
                remedy="Register its class with setstate=, which is called when the instance is there.",
            )
        obj = self._guarded(record, path, lambda: maker(state))
        if not isinstance(obj, cls):
            raise RestoreError(
                f"new= of {record.qualname} gave a {type(obj).__name__}.",
                file=self._file,
                where=located(record.qualname, path),
                remedy="It takes the state and returns an instance of the class.",
            )
        return self._keep(record, obj)

    def _declared(self, record: Record, cls: type) -> Parts:
        maker, takes_state = MAKERS.get(cls, (None, False))
        if takes_state and maker is not None:
            return (yield from self._of_state(record, cls, maker))
        contents = versioned.unpacked(cls, record)
        args = yield "args", contents.args
        kwargs = yield "kwargs", contents.kwargs
        array = contents.array
        if array is not None:
            array = yield "", array
        if id(record) in self._done:
            return self._done[id(record)][1]
        path = self.path
        obj = self._guarded(
            record, path, lambda: versioned.make(cls, args, kwargs, array, contents.by_base)
        )
        self._keep(record, obj)
        self._unset[id(obj)] = (obj, record)
        listitems = yield "", contents.listitems
        pairs = []
        for key, item in contents.dictitems:
            pairs.append(((yield "key", key), (yield step_of(key), item)))
        state = record.state
        if state is not ABSENT:
            base = self._library_base(cls)
            state = yield "", state if base is None else base[1].needed(state)
        self._guarded(record, path, lambda: versioned.fill(obj, listitems, pairs))
        where = located(record.qualname, path)
        restored = functools.partial(
            versioned.restore_state,
            validate=self._validate,
            migrated=record.qualname in self._migrated,
            registry=self._registry,
            file=self._file,
            where=where,
            inherited=self._inherited(cls),
        )
        self._guarded(record, path, lambda: restored(obj, state))
        self._check_base(record, path, obj)
        self._unset.pop(id(obj), None)
        self._whole.append((obj, record, where))
        return obj

    def _library_base(self, cls: type) -> tuple[type, Rebuild] | None:
        """The library's class that a user's class is derived from, if a pack makes objects of it."""
        if cls not in self._library_bases:
            found = (
                (base, self._registry.rebuild_for(f"{base.__module__}.{base.__qualname__}"))
                for base in cls.__mro__[1:-1]
            )
            self._library_bases[cls] = next(
                ((base, known) for base, known in found if known is not None), None
            )
        return self._library_bases[cls]

    def _inherited(self, cls: type) -> Callable[[dict[Any, Any]], dict[Any, Any]] | None:
        """What brings the state of a user's class up to date, as far as it is a library's."""
        known = self._library_base(cls)
        if known is None or known[1].inherited is None or not (self._live or known[1].always):
            return None
        base, rebuild = known
        written_by = self._written_by.get(rebuild.library, ())

        def upgraded(state: dict[Any, Any]) -> dict[Any, Any]:
            missing = missing_below(state, lambda value: True)
            names = [*missing.classes, *missing.calls]
            names += [] if rebuild.takes_names else missing.names
            if names:
                why = self._reasons.get(names[0])
                raise RestoreError(
                    f"it holds {', '.join(names)}, of which no object is made{f' ({why})' if why else ''}."
                )
            assert rebuild.inherited is not None
            return rebuild.inherited(state, cls, base, frozenset(written_by))

        return upgraded

    def _check_base(self, record: Record, path: str, obj: object) -> None:
        """Refuse an instance that lacks what its base, a library's class, has today.

        Raises:
            RestoreError: with what it lacks.
        """
        known = self._library_base(type(obj))
        if known is not None and known[1].whole is not None:
            self._guarded(record, path, functools.partial(known[1].whole, obj, known[0]))

    def _trusted(self, record: Record, cls: type) -> Parts:
        self._trusting.append(record.qualname)
        made = yield from self._trusted_parts(record, cls)
        self._trusting.pop()
        return made

    def _trusted_parts(self, record: Record, cls: type) -> Parts:
        args = yield "args", record.args
        kwargs = yield "kwargs", record.kwargs
        if id(record) in self._done:
            return self._done[id(record)][1]
        path = self.path
        kind = record.kind
        if record.maker is not None and is_cython_maker(record.maker):
            kind, args = "newobj", ()  # its function does no more than this; it is not called
        obj = self._guarded(record, path, lambda: made_by_call(cls, kind, args, kwargs))
        self._keep(record, obj)
        self._unset[id(obj)] = (obj, record)
        listitems = yield "", record.listitems
        for item in listitems:
            self._guarded(record, path, functools.partial(append_to, obj, item))
        for key, item in record.dictitems:
            key = yield "key", key
            item = yield step_of(key), item
            self._guarded(record, path, functools.partial(operator.setitem, obj, key, item))
        if record.state is not ABSENT:
            state = yield "", record.state
            if is_module_class(cls):
                state = revived(state, ChainMap(self._facts, self._tensors()), self._revived)
            self._guarded(record, path, lambda: set_state(obj, state))
        self._unset.pop(id(obj), None)
        return obj

"""Tree to objects: the only room that imports user classes.

`build` makes objects of what is registered and of what ``trust=`` names; everything else stays
what it is in the tree. It runs after the whole tree is upgraded, never before. The reverse
is `persist._objects.flatten`.
"""

from __future__ import annotations

import enum
import functools
import importlib
import operator
import sys
import warnings
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist import versioned
from persist._envelope import FIELDS, unwrap
from persist._instances.adapter import adapter_of
from persist._instances.builtin_bases import base_in_c, builtin_of, can_make, reconstructed
from persist._instances.compiled_fields import StateMaker, state_maker
from persist._instances.machinery import (
    is_machinery,
    machinery_in,
    refuse_changed,
    refuse_machinery,
)
from persist._objects.rows import PendingColumn, field_access
from persist._objects.torch_values import tensor_of
from persist._objects.trust import (
    Missing,
    Trust,
    constant_call,
    is_made_by_its_class,
    missing_below,
    refused,
)
from persist._runtime.progress import current
from persist._torch_modules.classes import is_module_class, is_torchs_own
from persist._torch_modules.reviving import function_named, prepare, revived
from persist._trees import numpy_random
from persist._trees.driver import ATOMS, Driver, Parts, object_fields
from persist._trees.pack_view import PackView
from persist._upgrade.plan import Plan, Rehearsal, located
from persist._upgrade.today import is_current
from persist._wire.torch.storage import Tensor
from persist.errors import (
    MissingExtraError,
    OpaqueWarning,
    PersistError,
    RestoreError,
    SchemaError,
    UnknownSchemaError,
    UntrustedError,
)
from persist.registry import Registry
from persist.registry._declarations import user_stacklevel
from persist.registry._enums import attribute_of, class_here, lost_member, member_named, member_of
from persist.registry._rebuilds import Rebuild, is_installed
from persist.schema import MAKERS
from persist.tree import (
    ABSENT,
    Global,
    LazyArray,
    Record,
    at_path,
    is_cython_maker,
    is_slots_pair,
    step_of,
)
from persist.typing import Resources

__all__ = ["build"]

_set = object.__setattr__
_ENVELOPE = object()  # in a key of makers
_MODULE = "torch.nn.modules.module.Module"
_CONSTANT = "persist.versioned._constant"  # how a plain pickle of ours spells a constant


# Tree to objects.


def build(
    tree: Any,
    registry: Registry,
    *,
    trust: Iterable[str] | Trust = (),
    strict: bool = False,
    validate: bool = True,
    plan: Plan | None = None,
    file: str | None = None,
    is_known: Callable[[Record], bool] = lambda record: False,
    loose: Iterable[PendingColumn] = (),
    done: frozenset[type] = ATOMS,
    looker: PackView | None = None,
    rehearsal: Rehearsal | None = None,
    finish: bool = True,
    tensors: Callable[[], dict[int, Any]] = dict,
    live: bool = False,
    resources: Resources | None = None,
    recovers: bool = False,
) -> Any:
    """Build the objects of an upgraded tree; its containers are used, not copied.

    Args:
        tree: what `persist._upgrade.records.upgrade` gave.
        registry: the classes that are declared.
        trust: dotted names of other classes that may be made. An exact name may import its
            module; a pattern (``lab.*``) matches only what is imported already; never a function.
        strict: a class that stays a record is an error.
        validate: run attrs' validators on what was upgraded.
        plan: what the upgrade did.
        file: for messages, and where resources are looked for.
        is_known: whether a pack knows how to look into a record, whatever is inside it.
        loose: of instances that were made of columns, the attributes whose values are to be made.
        done: the types of values of which nothing need be made.
        looker: sees arrays in records; with it, arrays become tensors of torch.
        rehearsal: notes what cannot be made, instead of raising or warning; nothing is finished.
        finish: open resources and call ``__loaded__`` when everything is built.
        tensors: returns the tensors of the file, by the ids of their arrays, for modules of torch.
        live: make objects of installed libraries where a pack declares how.
        resources: what takes the place of resources, as for `persist.load`.
        recovers: with ``rehearsal``: objects are finished and warnings given as without one, unless
            more records failed than had failed before; then the result is not to be used, and the
            records that failed are to be marked in another run.

    Raises:
        UntrustedError: ``trust`` names a function, or classes of every module.
        UnknownSchemaError: strict, and classes stay records; with their names.
        SchemaError, RestoreError: an object cannot be made, with its path.
    """
    trusted = trust if isinstance(trust, Trust) else Trust(trust, registry)
    builder = _Builder(
        registry, trusted, validate, plan, file, is_known, done, looker, tensors=tensors, live=live
    )
    builder.resources = resources
    meter = current()
    if meter is None:
        return _built(builder, tree, loose, strict, rehearsal, recovers, finish)
    count = meter.count("build", "objects", file=file)
    builder.enter = count.calls(builder.enter, ATOMS)  # type: ignore[method-assign]
    result = _built(builder, tree, loose, strict, rehearsal, recovers, finish)
    count.end()
    return result


def _built(
    builder: _Builder,
    tree: Any,
    loose: Iterable[PendingColumn],
    strict: bool,
    rehearsal: Rehearsal | None,
    recovers: bool,
    finish: bool,
) -> Any:
    if rehearsal is not None and recovers:
        return builder.recover(tree, rehearsal, strict)
    if rehearsal is not None:
        return builder.rehearse(tree, rehearsal, strict)
    builder.hold_back(tree)
    result = builder.run(tree)
    for rows, attribute, values in loose:
        builder.tighten(rows, attribute, values)
    builder.complete(finish)
    builder.report(strict)
    return result


class _Builder(Driver):
    def __init__(
        self,
        registry: Registry,
        trust: Trust,
        validate: bool,
        plan: Plan | None,
        file: str | None,
        is_known: Callable[[Record], bool],
        done: frozenset[type],
        looker: PackView | None,
        *,
        tensors: Callable[[], dict[int, Any]],
        live: bool,
    ) -> None:
        super().__init__()
        self._plain = done
        self._tensors = functools.cache(tensors)
        self._facts: dict[int, Any] = {}  # id of an array or tensor -> the tensor of the file
        self._revived: dict[int, tuple[Any, Any]] = {}  # id of an array -> it, and its tensor
        self._live = live
        self._rebuilding: set[int] = set()
        self._trusting: list[str] = []  # the trusted objects that are being made, outermost first
        self._rebuilds: dict[str, Rebuild | None] = {}
        self._reasons: dict[str, str] = {}  # class that no object could be made of -> why
        self._looker = looker
        self._registry = registry
        self._is_known = is_known
        self._numpy_only = 0  # random states, whose arrays NumPy takes itself
        self._inside = (
            0  # records of a library that a pack reads: their contents are not ours to report
        )
        self._trust = trust
        self._validate = validate
        self._file = file
        self._done: dict[int, tuple[Any, Any]] = {}
        self._entered: Counter[int] = Counter()
        self._classes: dict[Global, Any] = {}
        self._begun: tuple[Any, Any] | None = None  # an instance just made, and its maker
        # (class, names or header) -> the maker, and what is named by its id
        self._makers: dict[Any, tuple[StateMaker | None, Any, Any]] = {}
        self._whole: list[tuple[Any, Record, str]] = []  # declared objects, as they were made
        # Class -> the library's class among its bases, and how a pack makes objects of that.
        self._library_bases: dict[type, tuple[type, Rebuild] | None] = {}
        # Library -> its releases that objects of the file record, as far as they were met.
        self._written_by: dict[str, set[str]] = {}
        self._unset: dict[int, tuple[Any, Record]] = {}  # objects that have no state yet, by id
        self._rehashed: list[tuple[Any, list[Any], str]] = []  # dicts and sets to be filled again
        self._frozen: list[tuple[frozenset[Any], str]] = []  # to be checked when all is built
        self._opaque: dict[str, tuple[Record, str, int, bool]] = {}
        self._values: dict[Global, tuple[Any]] = {}  # the values of names
        self._named: dict[str, str] = {}  # name without a value -> path of its first use
        self._is_in_record = (
            0  # depth in records that stay: they are reported, their contents are not
        )
        self._held_back: dict[int, Record] = {}  # trusted, and not made because parts are missing
        self._missing = Missing()
        self._rehearsed: Rehearsal | None = None
        self._recovers = False
        self.resources: Resources | None = None
        self._migrated = plan._classes if plan is not None else frozenset()

    def enter(self, value: Any) -> tuple[Any, Parts | None]:
        kind = type(value)
        if kind in self._plain:
            return value, None
        known = self._done.get(id(value))
        if known is not None:
            begun, self._begun = self._begun, None
            if begun is None:
                return known[1], None
            self._entered[id(value)] += 1
            return None, self._set_parts(value, *begun)
        if self._looker is not None and not (self._inside or self._numpy_only):
            tensor = tensor_of(value, self._looker)
            if tensor is not ABSENT:
                self._note_tensor(value, tensor)
                return self._keep(value, tensor), None
        if kind is Record:
            made = self._at_once(value)
            if made is not None:
                if made[1] is None:
                    return made[0], None
                self._entered[id(value)] += 1
                return None, self._set_parts(value, made[0], made[1])
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, LazyArray):
            made = self._read(value)
            self._note_tensor(value, made)
            return self._keep(value, made), None
        if kind is Global:
            return self._global(value), None
        maker = _BUILDERS.get(kind)
        if maker is None:
            return value, None
        self._entered[id(value)] += 1
        if self._entered[id(value)] > 2:  # it is part of its own arguments
            raise RestoreError(
                f"a {kind.__name__} is part of what it would be made from.",
                file=self._file,
                where=self.path or None,
            )
        return None, maker(self, value)

    def _note_tensor(self, value: object, made: object) -> None:
        """Keep what the file says of a tensor (that it is a frozen parameter), for the module that gets it."""
        if isinstance(value, Tensor):
            self._facts[id(made)] = value
        elif self._makes_modules and id(value) in self._tensors():  # read while it was upgraded
            self._facts[id(made)] = self._tensors()[id(value)]

    def _read(self, value: LazyArray) -> Any:
        try:
            return _private(value.read())
        except MissingExtraError as error:
            if self.path:  # which says more than a storage's number
                error.where = f"at {self.path!r}"
            error.at(file=self._file)
            raise

    def rehearse(self, tree: Any, rehearsal: Rehearsal, strict: bool) -> Any:
        """Build everything that can be built, and note the rest with the reason."""
        self._rehearsed = rehearsal
        result = ABSENT
        try:
            self.hold_back(tree)
            result = self.run(tree)
        except PersistError as error:  # of no record
            rehearsal.fail(None, error.at(file=self._file))
        self.complete()
        try:
            self._refuse_opaque(strict)
        except PersistError as error:
            rehearsal.fail(None, error)
        for record in self._held_back.values():
            text = (
                f"trusted, but it stays a record, since parts are missing: {self._missing.text()}"
            )
            rehearsal.remark(record, text, False)
        return result

    def recover(self, tree: Any, rehearsal: Rehearsal, strict: bool) -> Any:
        """Build what can be built; records that are marked as failed stay records, with what they hold."""
        before = len(rehearsal.failures)
        self._rehearsed, self._recovers = rehearsal, True
        self.hold_back(tree)
        result = self.run(tree)
        if len(rehearsal.failures) > before:
            return ABSENT
        self.complete()
        self.report(strict)
        return result

    def hold_back(self, tree: Any) -> None:
        """Find the trusted records that cannot be made whole, before anything is made."""
        if not self._trust and not self._makes_modules and not self._makes_instances:
            return
        prepare(tree, self._trusted_class, self._registry)

        def is_trusted(record: Record) -> bool:
            return self._class_of(record)[1] == "trusted"

        found = refused(tree, is_trusted, self._is_inert)
        self._held_back = {id(record): record for record in found}
        self._missing = missing_below(found, self._is_inert)

    @property
    def _makes_modules(self) -> bool:
        """Whether modules of torch's own classes are made: its pack is asked, and torch is installed."""
        return self._live and self._registry.importable_for(_MODULE) is not None

    @property
    def _makes_instances(self) -> bool:
        """Whether the file names a class of the standard library whose instances are made."""
        return any(one.makes_instances for one in self._registry._line())

    def _trusted_class(self, record: Record) -> Any:
        cls, how = self._class_of(record)
        return cls if how == "trusted" else None

    def _is_inert(self, value: Any) -> bool:
        """True if a record or a name is left as it is."""
        if type(value) is Global:
            return self._value_named(value) is ABSENT
        if value.cls.qualname == _CONSTANT and len(value.args) == 1:
            name = value.args[0]
            return type(name) is not str or self._registry.constant_named(name) is ABSENT
        if self._class_of(value)[0] is not None or numpy_random.is_random(value):
            return False
        if self._rebuild_of(value) is not None:
            return False
        return member_of(value, self._registry) is ABSENT

    def tighten(self, rows: Iterable[object], attribute: str, values: Iterable[object]) -> None:
        """Build values and set them on instances that exist already."""
        for obj, value in zip(rows, values, strict=True):
            if type(value) not in self._plain:
                made = self.run(value)
                if made is not value:
                    _set(obj, attribute, made)

    def leave(self, value: object) -> None:
        self._entered[id(value)] -= 1

    def _attempted(self, record: Record, parts: Parts) -> Parts:
        """Make an object; in a rehearsal one that cannot be made is noted, and stays a record."""
        if self._rehearsed is None:
            return (yield from parts)
        depth = self._inside, self._is_in_record
        try:
            return (yield from parts)
        except PersistError as error:
            self._inside, self._is_in_record = depth
            self._rehearsed.fail(record, error)
            return self._keep(record, record)

    def _keep(self, old: Any, new: Any) -> Any:
        self._done[id(old)] = (old, new)
        return new

    def _array(self, value: Any) -> tuple[Any, Parts | None]:
        if value.dtype.hasobject:
            return None, self._object_array(value)
        return (value if value.flags.writeable else self._keep(value, value.copy())), None

    def _object_array(self, array: Any) -> Parts:
        self._keep(array, array)
        flat = array.view(np.ndarray)
        views = [flat] if flat.dtype == object else object_fields(flat)
        for view in views:
            for index in np.ndindex(view.shape):
                item = view[index]
                if type(item) not in self._plain:
                    view[index] = yield "/".join(map(str, index)), item
        return array

    def _list(self, items: list[Any]) -> Parts:
        self._keep(items, items)
        if not self._plain.issuperset(map(type, items)):
            made_before = None if self._looker is not None else self._made_before
            for index, item in enumerate(items):
                kind = type(item)
                if kind in self._plain:
                    continue
                if kind is Record and made_before is not None:
                    made = made_before(item)
                    if made is not None:
                        items[index] = made
                        continue
                items[index] = yield str(index), item
        return items

    def _made_before(self, record: Record) -> Any:
        """The instance of a record that was made, or is made without visiting its values; or None."""
        known = self._done.get(id(record))
        if known is not None:
            return known[1]
        made = self._at_once(record)
        if made is None:
            return None
        if made[1] is not None:  # `enter` is next, and builds its values
            self._begun = (made[0], made[1])
            return None
        return made[0]

    def _tuple(self, items: tuple[Any, ...]) -> Parts:
        if self._plain.issuperset(map(type, items)):
            return items
        made = []
        for index, item in enumerate(items):
            made.append((yield str(index), item))
        if id(items) in self._done:  # a part led back here, and made it
            return self._done[id(items)][1]
        same = all(new is old for new, old in zip(made, items, strict=True))
        return self._keep(items, items if same else tuple(made))

    def _frozenset(self, items: frozenset[object]) -> Parts:
        made = yield "", tuple(items)
        if id(items) in self._done:  # a part led back here, and made it
            return self._done[id(items)][1]
        path = self.path
        if self._has_unset(made):
            whole = self._hashed(lambda: frozenset(made), path)
            self._frozen.append((whole, path))
        else:
            whole = frozenset(made)
        return self._keep(items, whole)

    def _set(self, items: set[object]) -> Parts:
        self._keep(items, items)
        if not self._plain.issuperset(map(type, items)):
            made = yield "", tuple(items)
            self._refill(items, list(made), made)
        return items

    # Hashes. An object may be a key or a member of what its own state holds; then it is hashed
    # before it has a state. What can be set is set first, and dicts and sets are filled again
    # when everything is built.

    def _refill(self, holder: Any, items: list[Any], keys: Iterable[object]) -> None:
        """Fill a dict with pairs, or a set with members, some of which were made just now."""
        if not self._has_unset(keys):
            holder.clear()
            holder.update(items)
            return
        self._rehashed.append((holder, items, self.path))
        holder.clear()
        try:
            holder.update(items)
        except Exception:  # a hash that needs more than is there yet: filled in `complete`
            holder.clear()

    def _has_unset(self, keys: Iterable[Any]) -> bool:
        """Whether the hash of any key asks an object that has no state yet; its plain fields are set."""
        if not self._unset:
            return False
        found = False
        todo = list(keys)
        while todo:
            key = todo.pop()
            if type(key) in (tuple, frozenset):
                todo.extend(key)
            elif id(key) in self._unset:
                self._set_plain_fields(*self._unset[id(key)])
                found = True
        return found

    def _set_plain_fields(self, obj: Any, record: Record) -> None:
        """Set the plain fields, so that `__hash__` can read them; all fields are set again later."""
        if self._registry.class_for(record.qualname) is not type(obj):
            return
        given = record.fields()
        for part in adapter_of(type(obj), self._registry).layout.parts:
            for field in part.fields if part.kind == FIELDS else ():
                value = given.get(field.name, self)
                is_method = isinstance(getattr(type(obj), field.attribute, None), property)
                if type(value) in ATOMS and not is_method:
                    _set(obj, field.attribute, value)

    def _hashed(self, act: Callable[[], Any], path: str) -> Any:
        cure = "Its hash needs a field that holds the object itself: let __hash__ use plain fields."
        return self._reporting(at_path(path), cure, act)

    def _rehash(self) -> None:
        """Fill dicts and sets again whose keys had no state when they were hashed."""
        for holder, items, path in self._rehashed:
            holder.clear()
            self._hashed(functools.partial(holder.update, items), path)
        for whole, path in self._frozen:
            if not self._hashed(functools.partial(_finds_all, whole), path):
                raise RestoreError(
                    "a frozenset holds an object whose hash changed while it was built.",
                    file=self._file,
                    where=at_path(path),
                    remedy="Let its __hash__ use plain fields that need no conversion, or keep a set.",
                )

    def _dict(self, items: dict[Any, Any]) -> Parts:
        self._keep(items, items)
        if isinstance(items, defaultdict) and isinstance(items.default_factory, Global):
            items.default_factory = self._global(items.default_factory)
        keys = {}
        for key in items:
            if type(key) not in self._plain and not isinstance(
                key, LazyArray
            ):  # no array has a hash
                keys[id(key)] = yield "key", key
        for key, item in list(items.items()):
            if type(item) not in self._plain:
                items[key] = yield step_of(key), item
        if any(keys[id(key)] is not key for key in items if id(key) in keys):
            pairs = [(keys.get(id(key), key), item) for key, item in items.items()]
            self._refill(items, pairs, keys.values())
        return items

    # Records.

    def _record(self, record: Record) -> Parts:
        if record.cls.qualname == _CONSTANT and len(record.args) == 1:
            name = record.args[0]
            value = self._registry.constant_named(name) if type(name) is str else ABSENT
            return self._keep(record, record if value is ABSENT else value)
        if self._rehearsed is not None and self._rehearsed.has_failed(record):
            if self._recovers:
                return (yield from self._inert(record, False))
            return self._keep(record, record)
        cls, how = self._class_of(record)
        if how == "declared":
            return (yield from self._attempted(record, self._declared(record, cls)))
        rebuild = self._rebuild_of(record)
        if rebuild is not None:
            return (yield from self._rebuilt(record, rebuild))
        is_whole = bool(self._trust) or not self._is_in_record  # a record holds what the file has
        if how == "trusted" and is_whole and id(record) not in self._held_back:
            if self._rehearsed is not None:
                self._rehearsed.remark(record, "trusted: made as its pickle says", True)
            return (yield from self._attempted(record, self._trusted(record, cls)))
        if how == "member":
            return self._keep(record, cls)
        if numpy_random.is_random(record):
            self._numpy_only += 1
            made = yield from self._random_state(record)
            self._numpy_only -= 1
            if made is not None:
                return made
        return (yield from self._inert(record, True))

    def _inert(self, record: Record, is_noted: bool) -> Parts:
        """The record itself, with what can be built inside of it."""
        self._keep(record, record)
        known = is_noted and self._note_opaque(record)
        self._inside += known
        self._is_in_record += 1
        record.args = yield "args", record.args
        record.kwargs = yield "kwargs", record.kwargs
        record.listitems = yield "", record.listitems
        for index, (key, item) in enumerate(record.dictitems):
            record.dictitems[index] = ((yield "key", key), (yield step_of(key), item))
        if record.state is not ABSENT:
            record.state = yield "", record.state
        self._inside -= known
        self._is_in_record -= 1
        return record

    # Objects of libraries whose states a pack knows.

    def _rebuild_of(self, record: Record) -> Rebuild | None:
        name = record.qualname
        if name not in self._rebuilds:
            self._rebuilds[name] = self._rebuild_named(record)
        return self._rebuilds[name]

    def _rebuild_named(self, record: Record) -> Rebuild | None:
        """How a pack makes objects of a record's class; None where ``trust=`` is to make them.

        That is so if the user trusts the class, and the pack does not know the installed release.
        """
        found = self._registry.rebuild_for(self._registry.resolve(record.qualname))
        if found is not None and not (self._live or found.always):
            return None
        if found is not None and self._trust and self._class_of(record)[1] == "trusted":
            try:
                found.requires()
            except RestoreError:
                return None
        return found

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

    def _call_rebuild(self, record: Record, rebuild: Rebuild) -> Any:
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

    def _at_once(self, record: Record) -> tuple[Any, StateMaker | None] | None:
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

    def _set_parts(self, record: Record, obj: Any, maker: StateMaker) -> Parts:
        """Build the values of an instance that `_at_once` made, and set those that changed."""
        state = record.state
        values = list(state[1] if type(state) is tuple else state.values())
        self._unset[id(obj)] = (obj, record)  # its hash may still change
        for name, attribute, value in zip(maker.names, maker.attributes, values, strict=True):
            if type(value) not in ATOMS:
                made = yield name, value
                if made is not value:
                    _set(obj, attribute, made)
        del self._unset[id(obj)]
        return obj

    def _class_of(self, record: Record) -> tuple[Any, str]:
        known = self._classes.get(record.cls)
        if known is None:
            known = self._classes[record.cls] = self._find(record)
        if known[1] == "trusted":
            if isinstance(known[0], enum.EnumMeta):
                return self._trusted_member(record)
            if not is_made_by_its_class(record):
                return None, "opaque"
        if known[1] == "declared" and record.version is None:  # not upgraded: migrate=False
            return None, "opaque"
        return known

    def _find(self, record: Record) -> tuple[Any, str]:
        qualname = record.qualname
        cls = self._registry.class_for(qualname)
        if cls is not None:
            return cls, "declared"
        if self._trust.has_exactly(qualname):
            return self._imported(record.cls), "trusted"
        listed = self._registry.importable_for(self._registry.resolve(qualname))
        if listed is not None and (self._makes_modules or listed.instances):
            found = self._declared_importable(record.cls)
            if isinstance(found, type) and (listed.instances or is_torchs_own(found)):
                return found, "trusted"
        if self._trust.has_pattern_of(qualname):
            found = class_here(qualname)
            # Where it is at home, too: a module imports others' classes.
            home = f"{found.__module__}.{found.__qualname__}" if isinstance(found, type) else ""
            if home and self._trust.has_pattern_of(home):
                return found, "trusted"
        return None, "opaque"

    def _trusted_member(self, record: Record) -> tuple[Any, str]:
        """The member of an enum that is trusted, and so was imported."""
        found = member_of(record, self._registry)
        return (None, "opaque") if found is ABSENT else (found, "member")

    def _imported(self, named: Global) -> type:
        """Import the class that ``trust`` names exactly."""
        found = self._import(named)
        if isinstance(found, type):
            return found
        is_class = (
            "which is not there" if found is None else f"a {type(found).__name__}, not a class"
        )
        cure = f"Call {constant_call(named.qualname)}, if it is used as a value; "
        raise UntrustedError(
            f"trust= names {named.qualname!r}, {is_class}.",
            file=self._file,
            where=self.path or None,
            remedy=f"{'' if found is None else cure}"
            f"{'only' if found is not None else 'Only'} classes are made of what a file says, and "
            "functions are never called: without this name in trust=, its records stay.",
            names=[named.qualname],
        )

    def _import(self, named: Global) -> Any:
        """What a trusted name means; its module is imported, however the file parts the name."""
        module, _, name = named.qualname.rpartition(".")
        first: Exception | None = None
        while module:
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as error:
                first = first or error
                if not error.name or not f"{module}.".startswith(f"{error.name}."):
                    break  # it is there, and lacks something else
            except (Exception, SystemExit) as error:  # importing a module may raise anything
                first = RuntimeError(f"{type(error).__name__}: {error}")
                break
            else:
                return attribute_of(found, name)
            module, _, last = module.rpartition(".")
            name = f"{last}.{name}"
        raise UnknownSchemaError(
            f"trust= names {named.qualname!r}, and its module cannot be imported: {first}.",
            file=self._file,
            where=self.path or None,
            remedy="Put it on the path, or let persist.alias(old, new) say where it is today.",
            names=[named.qualname],
        ) from first

    def _of_state(self, record: Record, cls: type, maker: Callable[[Any], Any]) -> Parts:
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

    def _check_base(self, record: Record, path: str, obj: Any) -> None:
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
        obj = self._guarded(record, path, lambda: _made(cls, kind, args, kwargs))
        self._keep(record, obj)
        self._unset[id(obj)] = (obj, record)
        listitems = yield "", record.listitems
        for item in listitems:
            self._guarded(record, path, functools.partial(_append, obj, item))
        for key, item in record.dictitems:
            key = yield "key", key
            item = yield step_of(key), item
            self._guarded(record, path, functools.partial(operator.setitem, obj, key, item))
        if record.state is not ABSENT:
            state = yield "", record.state
            if is_module_class(cls):
                state = revived(state, ChainMap(self._facts, self._tensors()), self._revived)
            self._guarded(record, path, lambda: _set_state(obj, state))
        self._unset.pop(id(obj), None)
        return obj

    def _guarded(self, record: Record, path: str, act: Callable[[], Any]) -> Any:
        """Run code of a user's class, and add the place to the error that it raises."""
        cure = "declare the class" if record.version is None else "count version= up"
        return self._reporting(
            located(record.qualname, path),
            f"If its state is an older one, {cure} and register a migration.",
            act,
        )

    def _reporting(self, where: str, remedy: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except PersistError as error:
            raise error.at(file=self._file, where=where) from error.__cause__
        except Exception as error:
            raise RestoreError(
                f"its class raised {type(error).__name__}: {error}.",
                file=self._file,
                where=where,
                remedy=remedy,
            ) from error

    # Names.

    def _global(self, named: Global) -> Any:
        """The class, function or constant that a name is declared to mean, else the inert name."""
        value = self._value_named(named)
        if value is not ABSENT:
            return value
        if not self._is_in_record:
            self._named.setdefault(named.qualname, self.path)
        return named

    def _value_named(self, named: Global) -> Any:
        """The value of a name, or ABSENT; looked up once."""
        known = self._values.get(named)
        if known is None:
            known = self._values[named] = (self._found_value(named),)
        return known[0]

    def _found_value(self, named: Global) -> Any:
        value = self._registry.constant_named(named.qualname)
        if value is not ABSENT:
            return value
        cls = self._registry.class_for(named.qualname) or self._registry._enum_for(named.qualname)
        if cls is not None:
            return cls
        if (value := self._declared_importable(named)) is not ABSENT:
            return value
        if self._trust.has_exactly(named.qualname):
            return self._imported(named)
        if self._trust or self._makes_modules:
            function = function_named(named.module, named.name)
            if function is not None:
                return function
        if self._trust.has_exactly(named.qualname.rpartition(".")[0]):  # of a member, its enum
            self._import(named)
        return member_named(named.qualname, self._registry)

    def _declared_importable(self, named: Global) -> Any:
        """The value of a name that a pack lists as importable; ABSENT for any other name."""
        name = self._registry.resolve(named.qualname)
        listed = self._registry.importable_for(name)
        if listed is None or not (self._live or listed.always):
            return ABSENT
        if listed.substitute is not ABSENT:
            return listed.substitute
        module, _, last = name.rpartition(".")
        try:
            return getattr(importlib.import_module(module), last, ABSENT)
        except ImportError:  # the installed release has no such module
            return ABSENT

    def _note_opaque(self, record: Record) -> bool:
        """Note a class that stays a record; return whether a pack looks into it."""
        if self._inside:
            return False
        is_reported = record.qualname in (*self._missing.classes, *self._missing.calls)
        if id(record) in self._held_back or is_reported:
            return False  # reported together with the missing parts
        known = self._is_known(record)
        noted = self._opaque.get(record.qualname)
        first, path, count, _ = noted or (record, self.path, 0, known)
        self._opaque[record.qualname] = (first, path, count + 1, known)
        return known

    def complete(self, finish: bool = True) -> None:
        """Open resources and call ``__loaded__``, after everything is built; note them in a rehearsal."""
        self._rehash()
        if self._rehearsed is not None and not self._recovers:
            for obj, record, _ in self._whole:
                self._rehearsed.leave_out(record, versioned.finishing(obj, self._registry))
            return
        if not finish or not (self._whole or self.resources):
            return
        with versioned.loading_from(self._file or None, self.resources):
            for obj, record, where in self._whole:
                cure = "What it opens or computes after a load does not suit what was loaded."
                finish_one = functools.partial(versioned.finish, obj, self._registry)
                try:
                    self._reporting(where, cure, finish_one)
                except PersistError as error:
                    if self._rehearsed is None:
                        raise
                    self._rehearsed.failures.append((record, error))  # the object is there

    def report(self, strict: bool) -> None:
        """Warn about classes that stayed records, with the remedy; an error if strict."""
        self._refuse_opaque(strict)
        self._report_held_back()
        self._report_names()
        for name, (record, path, count, known) in self._opaque.items():
            if name in self._reasons:
                warnings.warn(
                    f"{self._file or 'the file'}{f', at {path!r}' if path else ''}: {name} stayed a "
                    f"record, since no object of it can be made: {self._reasons[name]}. "
                    "persist.open(...).arrays and .scalars give what is inside.",
                    OpaqueWarning,
                    stacklevel=user_stacklevel(),
                )
                continue
            many = f"{count} instances" if count > 1 else "an instance"
            place = f" (the first at {path!r})" if path else ""
            warnings.warn(
                f"{self._file or 'the file'}: {name} is not declared here; {many}{place} "
                f"stayed a record, with every field as it is in the file. "
                f"{self._cure(record, known)}",
                OpaqueWarning,
                stacklevel=user_stacklevel(),
            )

    def _refuse_opaque(self, strict: bool) -> None:
        if not strict:
            return
        if self._held_back:
            raise UnknownSchemaError(
                self._text_of_held_back(),
                file=self._file,
                remedy=self._missing.cure(self._trust.names),
                names=[*self._missing.classes, *self._missing.calls, *self._missing.names],
            )
        if self._opaque:
            shown = ", ".join(
                f"{name} (at {seen[1]!r}{f': {self._reasons[name]}' if name in self._reasons else ''})"
                for name, seen in self._opaque.items()
            )
            raise UnknownSchemaError(
                f"of {len(self._opaque)} classes no objects can be made here: {shown}.",
                file=self._file,
                remedy="persist.open(...).arrays gives what is inside."
                if self._opaque.keys() <= self._reasons.keys()
                else "Import the modules that declare them, or see `persist explain`.",
                names=list(self._opaque),
            )

    def _text_of_held_back(self) -> str:
        names = list(dict.fromkeys(record.qualname for record in self._held_back.values()))
        one = len(names) == 1
        how = "trusted" if self._trust else "known"
        return (
            f"{', '.join(names)} {'is' if one else 'are'} {how}, but stayed "
            f"{'a record' if one else 'records'}, since parts of {'it' if one else 'them'} cannot be "
            f"made: {self._missing.text()}."
        )

    def _report_held_back(self) -> None:
        if self._held_back:
            warnings.warn(
                f"{self._file or 'the file'}: {self._text_of_held_back()} "
                f"{self._missing.cure(self._trust.names)}",
                OpaqueWarning,
                stacklevel=user_stacklevel(),
            )

    def _report_names(self) -> None:
        """Warn about names of functions, classes and members of enums that have no value here."""
        for name, path in self._named.items():
            owner = class_here(name.rpartition(".")[0])
            if isinstance(owner, enum.EnumMeta):
                error = lost_member(owner, name)
                text = f"{error.what} {error.remedy}"
            else:
                text = (
                    f"{name} stayed a name: the function, class or constant is not declared here. "
                    f"Import the module that declares it, or call {constant_call(name)}."
                )
            warnings.warn(
                f"{self._file or 'the file'}{f', at {path!r}' if path else ''}: {text}",
                OpaqueWarning,
                stacklevel=user_stacklevel(),
            )

    def _library_wanted(self, name: str) -> str:
        """The package without which no object of a class is made, though a pack knows how; or ""."""
        if not self._live:
            return ""
        listed = self._registry._rebuild_listed(self._registry.resolve(name))
        return "" if listed is None or is_installed(listed.library) else listed.distribution

    def _cure(self, record: Record, known: bool) -> str:
        """The remedy for a class that stayed a record."""
        name, module = record.qualname, record.cls.module
        missing = missing_below(record, self._is_inert)
        parts = []
        library = self._library_wanted(name)
        if known:
            parts.append("persist.open(...).arrays gives what is inside as plain arrays")
        if library:
            parts.append(f"with {library} installed, an object of it is made")
        elif known:
            pass
        elif module and module != "__main__" and module not in sys.modules:
            parts.append(f"`import {module}` first if it declares the class")
        elif _can_be_declared(class_here(name)):
            parts.append("declare it with persist.register or persist.Versioned")
        if not known and not library:
            parts.append(f"persist.alias({name!r}, NewClass) if it moved")
        if missing.classes and not missing.calls and not (known or library):
            names = dict.fromkeys((name, *self._trust.names, *missing.classes))
            calls = "".join(f" and {constant_call(one)}" for one in missing.names)
            parts.append(f"trust=[{', '.join(map(repr, names))}]{calls} to make it as pickle would")
        return f"{'; or '.join(part for part in ('; '.join(parts[:-1]), parts[-1]) if part)}."


def _can_be_declared(cls: Any) -> bool:
    try:
        return isinstance(cls, type) and builtin_of(cls) is not None
    except SchemaError:
        return False


def _finds_all(items: frozenset[Any]) -> bool:
    """True if every member is found by its hash."""
    return all(item in items for item in items)


def _private(array: Any) -> Any:
    return array if array.flags.writeable else array.copy()


def _made(cls: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make an instance of a trusted class with the call that its pickle states."""
    refuse_machinery(filter(is_machinery, kwargs))
    if kind == "reconstructor":
        return reconstructed(cls, args[1] if len(args) > 1 else None)
    if kind == "reduce" or (kind in ("inst", "obj") and args):
        return cls(*args)
    if not can_make(cls, args, kwargs) and not hasattr(cls, "__getnewargs_ex__"):
        return base_in_c(cls).__new__(cls, *args)
    if kind in ("inst", "obj"):
        return cls.__new__(cls)
    return cls.__new__(cls, *args, **kwargs)


def _append(obj: Any, item: Any) -> None:
    obj.append(item)


def _set_state(obj: Any, state: Any) -> None:
    """Do what the opcode BUILD of pickle does, to a new instance."""
    setter = getattr(obj, "__setstate__", None)
    if setter is not None:
        cls = type(obj)
        if isinstance(obj, BaseException):  # of C: it sets whatever the state names
            refuse_machinery(machinery_in(state))
        setter(state)
        refuse_changed(obj, cls, state)
        return
    for part in state if is_slots_pair(state) else (state,):
        if part is None:
            continue
        if not isinstance(part, dict):
            raise TypeError(f"its state is a {type(part).__name__}, and it has no __setstate__")
        refuse_machinery(name for name, value in part.items() if is_machinery(name, value))
        for name, value in part.items():
            if not isinstance(name, str):
                raise TypeError(f"its state has the key {name!r}, which cannot be an attribute")
            object.__setattr__(obj, name, value)


_BUILDERS: dict[type, Callable[[_Builder, Any], Parts]] = {
    list: _Builder._list,
    deque: _Builder._list,
    tuple: _Builder._tuple,
    frozenset: _Builder._frozenset,
    set: _Builder._set,
    dict: _Builder._dict,
    OrderedDict: _Builder._dict,
    defaultdict: _Builder._dict,
    Counter: _Builder._dict,
    Record: _Builder._record,
}

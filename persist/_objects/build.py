"""Tree to objects: the only room that imports user classes.

`build` makes objects of what is registered and of what ``trust=`` names; everything else stays
what it is in the tree. It runs after the whole tree is upgraded, never before. The reverse
is `persist._objects.flatten`.
"""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from persist import versioned
from persist._objects.containers import private
from persist._objects.instances import Instances
from persist._objects.names import CONSTANT
from persist._objects.rows import PendingColumn
from persist._objects.torch_values import tensor_of
from persist._objects.trust import (
    Trust,
)
from persist._objects.trusted_calls import set_attribute
from persist._runtime.progress import current
from persist._trees import numpy_random
from persist._trees.driver import ATOMS, TIMES, Parts
from persist._trees.pack_view import PackView
from persist._upgrade.plan import Plan, Rehearsal
from persist._wire.torch.storage import Tensor
from persist.errors import (
    MissingExtraError,
    PersistError,
    RestoreError,
)
from persist.registry import Registry
from persist.tree import (
    ABSENT,
    Global,
    LazyArray,
    Record,
    step_of,
)
from persist.typing import Resources

__all__ = ["build"]


def build(
    tree: object,
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
    instead: Mapping[int, tuple[object, Record]] | None = None,
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
        instead: the plain times of a tree by their ids, each with the record in whose place it is; an
            object that a pack makes of the record is built where the value is left.
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
    if instead:
        builder.take_instead(instead)
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
    tree: object,
    loose: Iterable[PendingColumn],
    strict: bool,
    rehearsal: Rehearsal | None,
    recovers: bool,
    finish: bool,
) -> object:
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


class _Builder(Instances):
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
        super().__init__(registry, trust, file, is_known, validate, plan, live=live)
        self._plain = done
        self._tensors = functools.cache(tensors)
        self._looker = looker
        self._entered: Counter[int] = Counter()
        self._recovers = False
        self.resources: Resources | None = None

    def take_instead(self, instead: Mapping[int, tuple[object, Record]]) -> None:
        """Let objects of libraries take the place of the plain times that steps saw for them."""
        self._plain = self._plain - TIMES
        for number, (value, record) in instead.items():
            made = self.run(record)
            if type(made) is not Record:
                self._done[number] = value, made

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
            return private(value.read())
        except MissingExtraError as error:
            if self.path:  # which says more than a storage's number
                error.where = f"at {self.path!r}"
            error.at(file=self._file)
            raise

    def rehearse(self, tree: object, rehearsal: Rehearsal, strict: bool) -> Any:
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

    def recover(self, tree: object, rehearsal: Rehearsal, strict: bool) -> object:
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

    def tighten(self, rows: Iterable[object], attribute: str, values: Iterable[object]) -> None:
        """Build values and set them on instances that exist already."""
        for obj, value in zip(rows, values, strict=True):
            if type(value) not in self._plain:
                made = self.run(value)
                if made is not value:
                    set_attribute(obj, attribute, made)

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

    def _made_before(self, record: Record) -> object:
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

    def _record(self, record: Record) -> Parts:
        if record.cls.qualname == CONSTANT and len(record.args) == 1:
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

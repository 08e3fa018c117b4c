"""Objects to tree: instances of declared classes become records, everything else is copied.

`persist._objects.build` is the reverse. For a container, many instances of one class are converted to
columns (`persist._objects.rows`), not one by one.
"""

from __future__ import annotations

import array as array_module
import datetime
import enum
import pathlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from itertools import accumulate, chain, repeat
from typing import Any

import numpy as np

from persist import versioned
from persist._instances.adapter import adapter_of
from persist._instances.builtin_bases import builtin_of
from persist._instances.taking import refuse_class
from persist._instances.unfinished import settled
from persist._objects.libraries import Packs, name_in_library, record_of_library, stamp_of
from persist._objects.rows import ColumnExtractor, SeenRows, Short, field_access
from persist._objects.snapshot import Copies, Memory
from persist._runtime.progress import Count, current
from persist._torch_modules.classes import unwrapped
from persist._trees import numpy_random
from persist._trees.columns import MANY, Row, RowDict, RowList
from persist._trees.driver import ATOMS, Driver, Parts, object_fields
from persist._trees.pack_view import is_masked
from persist._wire.torch.quantized import record_of_torch
from persist._wire.torch.storage import Blob, of_torch
from persist.errors import PersistError, SchemaError, UnknownSchemaError
from persist.registry import Registry
from persist.registry._enums import is_plain_member, reference
from persist.tree import ABSENT, Global, LazyArray, Record, step_of

__all__ = ["flatten", "reduced"]

_MUTABLE = frozenset((bytearray, array_module.array))  # plain values that may change
_CHANGING = _MUTABLE | {np.void}  # an element of a structured array is a view of it
_MANY_LISTS = 16  # lists in the same field from which on they are looked at together


def flatten(
    root: object,
    registry: Registry,
    *,
    snapshot: bool | Memory = False,
    columns: bool = False,
    packs: Packs | None = None,
) -> object:
    """Convert objects to a tree; the objects are not changed.

    Args:
        root: plain values, arrays, records, and instances of declared classes.
        registry: the classes that are declared.
        snapshot: copy the arrays, so that the tree stays what it is now; into this memory.
        columns: instances whose state is their declared fields become rows of `Columns`.
        packs: finds the pack of a library, for objects of classes that it makes again.

    Raises:
        UnknownSchemaError: an instance of a class that is not declared, with its path.
        SchemaError: what cannot be saved (a lambda, a local class), with its path and the way out.
    """
    if columns:
        try:
            return _flattened(root, _Flattener(registry, snapshot, {}, packs))
        except (PersistError, RecursionError):  # handled one by one, which adds the path
            pass
    return _flattened(root, _Flattener(registry, snapshot, packs=packs))


def _flattened(root: object, flattener: _Flattener) -> object:
    """Return the tree of an object, and report how many objects are done if anybody listens."""
    meter = current()
    count = None if meter is None else meter.count("collect", "objects")
    if count is not None:
        flattener.count(count)
    result = flattener.run(root)
    flattener.drain()
    if count is not None:
        count.end()
    return result


def reduced(registry: Registry, obj: Any) -> Any:
    """What a pickle writes of an instance of a class that is registered and does not inherit
    `Versioned`: its envelope, applied by a function of ours; None of any other value.
    """
    cls = type(obj)
    if is_plain_member(obj):
        return getattr, (cls, obj._name_)  # its value may be another one tomorrow
    if issubclass(cls, versioned.Versioned) or registry.declared(cls) is None:
        return None
    parts = (*adapter_of(cls, registry).reduce(obj), None, None)
    return (*parts[:5], versioned._set_state)


class _Flattener(Driver):
    def __init__(
        self,
        registry: Registry,
        snapshot: bool | Memory,
        takers: dict[type, ColumnExtractor] | None = None,
        packs: Packs | None = None,
    ) -> None:
        super().__init__()
        self._packs = packs
        self._copies: Copies | None = None
        self._atoms = ATOMS
        if snapshot is not False:
            self._copies = Copies(Memory() if snapshot is True else snapshot)
            self._atoms = ATOMS - _MUTABLE
        self._flat = self._atoms | {Row}
        self._takers = takers
        self._met = SeenRows()
        self._registry = registry
        self._done: dict[int, tuple[object, object]] = {}
        self._storages: dict[int, Blob] = {}  # of torch's tensors
        self._shorts: dict[type, Any] = {}

    def enter(self, value: Any) -> tuple[Any, Parts | None]:
        kind = type(value)
        if kind in self._atoms:
            return value, None
        known = self._done.get(id(value))
        if known is not None:
            return known[1], None
        maker = _FLATTENERS.get(kind)
        if maker is not None:
            return None, maker(self, value)
        short = self._shorts.get(kind)
        if short is None:
            short = self._shorts[kind] = self._short_of(kind)
        if short:
            if self._takers is not None:
                row = self._met.known().get(id(value)) or self._taker(kind).take(value)
                return self._other(value) if row is None else (row, None)
            undeclared = short[2].undeclared
            if undeclared is not None and undeclared.is_odd(value):
                return self._other(value)
            return self._plain_record(value, *short)
        return self._other(value)

    def count(self, count: Count) -> None:
        """Count the values that have parts; only called where anybody listens."""
        taken = self._taken

        def rows(items: list[object]) -> tuple[ColumnExtractor, int] | None:
            made = taken(items)
            if made is not None:
                count.add(len(items))
            return made

        self.enter = count.calls(self.enter, self._atoms)  # type: ignore[method-assign]
        self._taken = rows  # type: ignore[method-assign]

    # Instances as rows.

    def _taker(self, kind: type) -> ColumnExtractor:
        assert self._takers is not None
        taker = self._takers.get(kind)
        if taker is None:
            cls, version, short = self._shorts[kind]
            taker = self._takers[kind] = ColumnExtractor(cls, version, short, self._met)
        return taker

    def _taken(self, items: list[object]) -> tuple[ColumnExtractor, int] | None:
        """Convert many instances of one class at once; None if one was seen before."""
        if self._takers is None:
            return None
        kinds = set(map(type, items))
        if len(kinds) > 1 or not self._is_short(*kinds):
            return None
        taker = self._taker(*kinds)
        first = taker.take_all(items)
        return None if first is None else (taker, first)

    def _is_short(self, kind: type) -> bool:
        if kind in self._atoms or kind in _FLATTENERS:
            return False
        if kind not in self._shorts:
            self._shorts[kind] = self._short_of(kind)
        return bool(self._shorts[kind])

    def _mixed(self, items: list[object]) -> list[object] | None:
        """Flatten a long list of plain values and instances of several classes, else None."""
        if self._takers is None:
            return None
        groups: dict[type, list[Any]] = defaultdict(list)
        for item in items:
            groups[type(item)].append(item)
        if not all(kind in self._atoms or self._is_short(kind) for kind in groups):
            return None
        for kind, own in groups.items():
            if kind not in self._atoms and len(own) >= _MANY_LISTS:
                self._taker(kind).take_all(own)
        return self._found(items)

    def drain(self) -> None:
        """Flatten the fields of rows, which may add rows."""
        is_done = self._takers is None
        while not is_done:
            is_done = True
            for taker in list((self._takers or {}).values()):
                columns = taker.columns
                for at, part, kinds, start in taker.undone():
                    is_done = False
                    made = self._column(part, kinds)
                    if made is not part:
                        kinds = set(map(type, made))
                        columns.values[at][start : start + len(part)] = made
                    columns.kinds[at] |= kinds

    def _column(self, part: list[Any], kinds: set[type]) -> list[object]:
        """Flatten values of one field; the list itself, where they are as they should be."""
        if self._atoms.issuperset(kinds):
            return part
        if kinds == {tuple} and set(map(type, chain.from_iterable(part))) <= self._atoms:
            return part
        plain = kinds == {np.ndarray} and self._copies is None
        if plain and not any(array.dtype.hasobject for array in part):
            return part
        if kinds == {list} and len(part) >= _MANY_LISTS:
            lists = self._lists(part)
            if lists is not None:
                return lists
        return self._found(part)

    def _found(self, values: list[object]) -> list[object]:
        """Put rows in the place of the instances that were met, and flatten what is neither met
        nor plain.
        """
        made = list(map(self._met.known().get, map(id, values), values))
        if not set(map(type, made)) <= self._flat:
            made = [value if type(value) in self._flat else self._one(value) for value in made]
        return made

    def _lists(self, part: list[list[object]]) -> list[Any] | None:
        """Flatten lists of plain values only, or of instances of one class that occur nowhere else."""
        ids = list(map(id, part))
        if len(set(ids)) < len(ids) or not self._done.keys().isdisjoint(ids):
            return None
        items = list(chain.from_iterable(part))
        made: list[Any]
        if self._atoms.issuperset(map(type, items)):
            made = [value.copy() for value in part]
        else:
            taken = self._taken(items) if items else None
            if taken is None:
                return None
            lengths = list(map(len, part))
            starts = accumulate(lengths[:-1], initial=taken[1])
            made = list(map(RowList, repeat(taken[0].columns), starts, lengths))
        self._done.update(zip(ids, zip(part, made, strict=True), strict=True))
        return made

    def _one(self, value: object) -> object:
        made, parts = self.enter(value)
        return made if parts is None else self.drive(value, parts)

    def _short_of(self, kind: type) -> Any:
        """The name, version and field access of a class that `field_access` covers, else ()."""
        if self._registry.declared(kind) is None:
            return ()
        adapter = adapter_of(kind, self._registry)
        short = field_access(adapter)
        if short is None:
            return ()
        try:
            refuse_class(kind, adapter.schema)
        except SchemaError:  # the general route reports it, with its path
            return ()
        module, _, name = adapter.schema.name.rpartition(".")
        return Global(module, name), adapter.schema.version, short

    def _plain_record(
        self, obj: object, cls: Global, version: int, short: Short
    ) -> tuple[Any, Parts | None]:
        """The record of an instance whose state is its declared fields and nothing else."""
        try:
            found = short.fetch(obj)
        except AttributeError:  # one is missing
            return self._other(obj)
        values = found if len(short.names) > 1 else (found,)
        state = dict(zip(short.names, values, strict=True))
        record = Record(cls, state, kind="newobj", version=version)
        self._done[id(obj)] = (obj, record)
        if self._atoms.issuperset(map(type, values)):
            return record, None
        return None, self._fields(record, state)

    def _fields(self, record: Record, state: dict[str, object]) -> Parts:
        for name, value in state.items():
            if type(value) not in self._atoms:
                state[name] = yield name, value
        return record

    def _keep(self, old: object, new: object) -> Any:
        self._done[id(old)] = (old, new)
        return new

    def _other(self, value: Any) -> tuple[object, Parts | None]:
        kind = type(value)
        if self._registry.declared(kind) is not None:
            return None, self._instance(value)
        is_plain_mask = is_masked(value) and kind is np.ma.MaskedArray
        if is_plain_mask or kind in (np.ndarray, np.matrix, np.recarray):
            if value.dtype.hasobject and kind is np.ndarray:
                return None, self._object_array(value)
            return self._keep(value, self._now(value)), None
        if isinstance(value, np.ndarray) and kind.__module__.partition(".")[0] == "numpy":
            plain = value.view(np.ndarray)  # memmap and the like: their data
            return self._keep(value, self._now(plain)), None
        if self._copies is not None and kind in _CHANGING:
            return self._keep(value, value[:] if kind in _MUTABLE else value.copy()), None
        if isinstance(value, LazyArray | np.generic | np.dtype | Global):
            return value, None
        if isinstance(value, datetime.tzinfo | pathlib.PurePath):
            return value, None
        name = self._registry.constant_name(value)
        if name is not None:
            module, _, last = name.rpartition(".")
            return self._keep(value, Global(module, last)), None
        if isinstance(value, enum.Enum):
            try:
                return self._keep(value, reference(value, self._registry)), None
            except PersistError as error:
                raise error.at(where=self.path or None) from error.__cause__
        if kind.__module__.partition(".")[0] == "torch":
            inner = unwrapped(value)
            if inner is not value:  # of torch.compile, or for data parallelism
                return None, self._inner(value, inner)
            if getattr(value, "is_quantized", False) and hasattr(value, "qscheme"):
                return None, self._as_record(value, record_of_torch(value))
            tensor = of_torch(value, self._storages)
            if tensor is not None:
                if self._copies is not None:
                    self._copies.tensor(tensor)
                return self._keep(value, tensor), None
        record = numpy_random.record_of(value)
        if record is not None:
            return None, self._as_record(value, record)
        library = self._of_library(value)
        if library is not None:
            return library
        kind = settled(kind)
        refused = versioned.refusal(value, self._registry)
        if refused:
            raise SchemaError(refused[:1].upper() + refused[1:], where=self.path or None)
        raise UnknownSchemaError(
            f"a {kind.__module__}.{kind.__qualname__} cannot be saved: its class is not declared.",
            where=self.path or None,
            remedy=_way_out(kind),
            names=[f"{kind.__module__}.{kind.__qualname__}"],
        )

    def _of_library(self, value: object) -> tuple[object, Parts | None] | None:
        """An object, class or function of a library whose pack finds or makes it again."""
        if self._packs is None:
            return None
        named = name_in_library(value, self._packs)
        if named is not None:
            return self._keep(value, named), None
        try:
            record = record_of_library(value, self._packs)
        except PersistError as error:
            raise error.at(where=self.path or None) from error.__cause__
        if isinstance(record, Global):
            return self._keep(value, record), None
        return None if record is None else (None, self._as_record(value, record))

    def _now(self, array: object) -> object:
        """An array, or in a snapshot a copy of it."""
        return array if self._copies is None else self._copies.array(array)

    def _object_array(self, array: Any) -> Parts:
        made = self._keep(array, array.copy())
        views = [made] if made.dtype == object else object_fields(made)
        for view in views:
            for index in np.ndindex(view.shape):
                item = view[index]
                if type(item) not in self._atoms:
                    view[index] = yield "/".join(map(str, index)), item
        return made

    def _list(self, items: Any) -> Parts:
        if self._atoms.issuperset(map(type, items)):
            return self._keep(items, items.copy())
        is_long = type(items) is list and len(items) >= MANY
        taken = self._taken(items) if is_long else None
        if taken is not None:
            return self._keep(items, RowList(taken[0].columns, taken[1], len(items)))
        mixed = self._mixed(items) if is_long else None
        if mixed is not None:
            return self._keep(items, mixed)
        made = self._keep(items, deque(maxlen=items.maxlen) if type(items) is deque else [])
        for index, item in enumerate(items):
            made.append(item if type(item) in self._atoms else (yield str(index), item))
        return made

    def _tuple(self, items: tuple[object, ...]) -> Parts:
        if self._atoms.issuperset(map(type, items)):
            return items
        made = []
        for index, item in enumerate(items):
            made.append((yield str(index), item))
        if id(items) in self._done:
            return self._done[id(items)][1]
        return self._keep(items, tuple(made))

    def _set(self, items: Any) -> Parts:
        if self._atoms.issuperset(map(type, items)):
            return self._keep(items, type(items)(items))
        made = yield "", tuple(items)
        if id(items) in self._done:
            return self._done[id(items)][1]
        return self._keep(items, type(items)(made))

    def _dict(self, items: Any) -> Parts:
        kind = type(items)
        if kind is dict and len(items) >= MANY and set(map(type, items)) == {str}:
            taken = self._taken(list(items.values()))
            if taken is not None:
                return self._keep(items, RowDict(tuple(items), taken[0].columns, taken[1]))
        if kind is defaultdict:
            made: Any = defaultdict()
            factory = items.default_factory
            if factory is not None and factory not in _FACTORIES:
                factory = yield "default_factory", factory
                return (yield from self._factory_dict(items, factory))
            made.default_factory = factory
        else:
            made = kind()
        self._keep(items, made)
        for key, item in kind.items(items):
            if type(key) not in self._atoms:
                key = yield "key", key
            made[key] = item if type(item) in self._atoms else (yield step_of(key), item)
        if kind is OrderedDict and vars(items):
            for name, item in vars(items).items():
                vars(made)[name] = yield name, item
        return made

    def _factory_dict(self, items: Any, factory: Record | Global) -> Parts:
        named = Global("collections", "defaultdict")
        record = Record(named, maker=named, kind="reduce", args=(factory,))
        self._keep(items, record)
        for key, item in dict.items(items):
            record.dictitems.append(((yield "key", key), (yield step_of(key), item)))
        return record

    def _record(self, record: Record, source: object = None) -> Parts:
        made = Record(record.cls, maker=record.maker, kind=record.kind, version=record.version)
        self._keep(record if source is None else source, made)
        made.args = yield "args", record.args
        made.kwargs = yield "kwargs", record.kwargs
        made.listitems = yield "", record.listitems
        for key, item in record.dictitems:
            made.dictitems.append(((yield "key", key), (yield step_of(key), item)))
        if record.state is not ABSENT:
            made.state = yield "", record.state
        return made

    def _inner(self, value: object, inner: object) -> Parts:
        made = yield "", inner
        return self._keep(value, made)

    def _as_record(self, value: object, record: Record) -> Parts:
        return (yield from self._record(record, value))  # what it holds may hold it

    def _instance(self, obj: object) -> Parts:
        try:
            flat = versioned.flatten_state(obj, self._registry)
        except PersistError as error:
            raise error.at(where=self.path or None) from error.__cause__
        module, _, name = flat.schema.name.rpartition(".")
        record = Record(Global(module, name), kind="newobj", version=flat.schema.version)
        if flat.array is not None:
            record.kind, record.maker = "reduce", Global("persist.versioned", "_array")
            array = yield "", flat.array
            record.args = (record.cls, array)
        else:
            record.args = yield "args", flat.args
            record.kwargs = yield "kwargs", flat.kwargs
        if id(obj) in self._done:
            return self._done[id(obj)][1]
        self._keep(obj, record)
        record.listitems = (yield "", list(flat.listitems)) if flat.listitems else []
        for key, item in flat.dictitems or ():
            record.dictitems.append(((yield "key", key), (yield step_of(key), item)))
        if flat.state is not ABSENT:
            record.state = yield "", self._stamped(type(obj), flat.state)
        return record

    def _stamped(self, cls: type, state: Any) -> Any:
        """The state of a declared class, with the release of the library whose class is its base."""
        if self._packs is None or type(state) is not dict:
            return state
        for base in cls.__mro__[1:-1]:
            stamp = stamp_of(base, self._packs)
            if stamp is not None:
                return {**state, **stamp}
        return state


def _way_out(kind: type) -> str:
    """The remedy for an instance of a class that is not declared."""
    named = "register a singleton with persist.constant(name, value)"
    try:
        builtin_of(kind)
    except SchemaError:  # it holds data in C that is no attribute
        return f"It is written in C and holds data that is not in attributes: save the values it is made from, or {named}."
    return f"Inherit persist.Versioned, or declare it with persist.register(cls, version=1); or {named}."


# Factories that every format writes as such; with any other a record says how the mapping is made.
_FACTORIES = (
    list, dict, set, int, float, str, tuple, bool, bytes, frozenset, complex, OrderedDict, Counter, deque,
)  # fmt: skip

_FLATTENERS: dict[type, Callable[[_Flattener, Any], Parts]] = {
    list: _Flattener._list,
    deque: _Flattener._list,
    tuple: _Flattener._tuple,
    set: _Flattener._set,
    frozenset: _Flattener._set,
    dict: _Flattener._dict,
    OrderedDict: _Flattener._dict,
    defaultdict: _Flattener._dict,
    Counter: _Flattener._dict,
    Record: _Flattener._record,
}

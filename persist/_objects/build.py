"""Tree to objects: the only room that imports user classes.

`build` makes objects of what is registered and of what ``trust=`` names; everything else stays
what it is in the tree. It happens when the tree is whole and upgraded, never before. The way back
is `persist._objects.flatten`.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import operator
import sys
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist import versioned
from persist._instances.adapter import road_of
from persist._objects.rows import Loose, short_way
from persist._trees import numpy_random
from persist._trees.driver import ATOMS, Driver, Parts, object_fields
from persist._trees.paths import step_of
from persist._upgrade.plan import Plan
from persist.errors import (
    OpaqueWarning,
    PersistError,
    RestoreError,
    UnknownSchemaError,
    UntrustedError,
)
from persist.registry import Registry
from persist.registry._declarations import outside
from persist.tree import ABSENT, Global, LazyArray, Record, is_slots_pair

__all__ = ["build"]

_set = object.__setattr__
_UNKNOWN = (None, False, None)
_CONSTANT = "persist.versioned._constant"  # how a plain pickle of ours spells a constant


# Tree to objects.


def build(
    tree: Any,
    registry: Registry,
    *,
    trust: Iterable[str] = (),
    strict: bool = False,
    validate: bool = True,
    plan: Plan | None = None,
    file: str | None = None,
    is_known: Callable[[Record], bool] = lambda record: False,
    loose: Iterable[Loose] = (),
    done: frozenset[type] = ATOMS,
) -> Any:
    """Make the objects of a tree that is up to date; its containers are used, not copied.

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

    Raises:
        UntrustedError: ``trust`` names a function.
        UnknownSchemaError: strict, and classes stay records; with their names.
        SchemaError, RestoreError: an object cannot be made, with its path.
    """
    names = [trust] if isinstance(trust, str) else list(trust)
    builder = _Builder(registry, names, validate, plan, file, is_known, done)
    result = builder.run(tree)
    for rows, attribute, values in loose:
        builder.tighten(rows, attribute, values)
    builder.complete()
    builder.tell(strict)
    return result


class _Builder(Driver):
    def __init__(
        self,
        registry: Registry,
        trust: list[str],
        validate: bool,
        plan: Plan | None,
        file: str | None,
        is_known: Callable[[Record], bool],
        done: frozenset[type],
    ) -> None:
        super().__init__()
        self._plain = done
        self._registry = registry
        self._is_known = is_known
        self._inside = 0  # records of a library that a pack looks into: what is inside is its own
        self._trust = trust
        self._validate = validate
        self._file = file
        self._done: dict[int, tuple[Any, Any]] = {}
        self._entered: Counter[int] = Counter()
        self._classes: dict[Global, Any] = {}
        self._shorts: dict[int, tuple[Any, Any, Any]] = {}
        self._whole: list[tuple[Any, str]] = []  # declared objects, in the order they were made
        self._opaque: dict[str, tuple[Record, str, int, bool]] = {}
        self._migrated = {
            entry.today for entry in plan or () if any(course.steps for course in entry.courses)
        }

    def enter(self, value: Any) -> tuple[Any, Parts | None]:
        kind = type(value)
        if kind in self._plain:
            return value, None
        known = self._done.get(id(value))
        if known is not None:
            return known[1], None
        if kind is Record:
            made = self._at_once(value)
            if made is not None:
                if made[1] is not None:
                    self._entered[id(value)] += 1
                return made
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, LazyArray):
            return self._keep(value, _private(value.read())), None
        if kind is Global:
            return self._global(value), None
        maker = _BUILDERS.get(kind)
        if maker is None:
            return value, None
        self._entered[id(value)] += 1
        if self._entered[id(value)] > 2:  # it is part of what it is made from
            raise RestoreError(
                f"a {kind.__name__} is part of what it would be made from.",
                file=self._file,
                where=self.path or None,
            )
        return None, maker(self, value)

    def tighten(self, rows: Iterable[Any], attribute: str, values: Iterable[Any]) -> None:
        """Put what values become in their place on instances that are there already."""
        for obj, value in zip(rows, values, strict=True):
            if type(value) not in self._plain:
                made = self.run(value)
                if made is not value:
                    _set(obj, attribute, made)

    def leave(self, value: Any) -> None:
        self._entered[id(value)] -= 1

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
            for index, item in enumerate(items):
                if type(item) not in self._plain:
                    items[index] = yield str(index), item
        return items

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

    def _frozenset(self, items: frozenset[Any]) -> Parts:
        made = yield "", tuple(items)
        return self._keep(items, frozenset(made))

    def _set(self, items: set[Any]) -> Parts:
        self._keep(items, items)
        if not self._plain.issuperset(map(type, items)):
            made = yield "", tuple(items)
            items.clear()
            items.update(made)
        return items

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
            items.clear()
            items.update(pairs)
        return items

    # Records.

    def _record(self, record: Record) -> Parts:
        if record.cls.qualname == _CONSTANT and record.args:
            name = record.args[0]
            value = self._registry.constant_named(name) if isinstance(name, str) else ABSENT
            return self._keep(record, record if value is ABSENT else value)
        cls, how = self._class_of(record)
        if how == "declared":
            return (yield from self._declared(record, cls))
        if how == "trusted":
            return (yield from self._trusted(record, cls))
        if numpy_random.is_random(record):
            made = yield from self._random_state(record)
            if made is not None:
                return made
        self._keep(record, record)
        known = self._note_opaque(record)
        self._inside += known
        record.args = yield "args", record.args
        record.kwargs = yield "kwargs", record.kwargs
        record.listitems = yield "", record.listitems
        for index, (key, item) in enumerate(record.dictitems):
            record.dictitems[index] = ((yield "key", key), (yield step_of(key), item))
        if record.state is not ABSENT:
            record.state = yield "", record.state
        self._inside -= known
        return record

    def _random_state(self, record: Record) -> Parts:
        """One of NumPy's random states; None where it is of a kind that is not NumPy's own."""
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
            where = f"record {record.qualname!r} at {path!r}"
            raise error.at(file=self._file, where=where) from error.__cause__
        return None if made is None else self._keep(record, made)

    def _at_once(self, record: Record) -> tuple[Any, Parts | None] | None:
        """Make an instance whose state is today's fields and nothing else; None of any other."""
        named = record.cls
        cls, short, _ = self._shorts.get(id(named), _UNKNOWN)
        if short is False:
            short = None
            cls, how = self._find(record)
            if how == "declared":
                short = short_way(road_of(cls, self._registry))
                short = short if short is not None and short.sets else None
            self._shorts[id(named)] = (cls, short, named)
        state = record.state
        if short is None or type(state) is not dict or record.version is None or not record.is_bare:
            return None
        if tuple(state) != short.names:
            return None
        values = list(state.values())
        whole = ATOMS.issuperset(map(type, values)) or all(map(_needs_no_making, values))
        obj = object.__new__(cls)
        self._done[id(record)] = (record, obj)
        try:
            for attribute, value in zip(short.attributes, values, strict=True):
                _set(obj, attribute, value)
        except (AttributeError, TypeError):  # a property in its place: told on the long way
            del self._done[id(record)]
            return None
        return (obj, None) if whole else (None, self._parts_of(obj, short, values))

    def _parts_of(self, obj: Any, short: Any, values: list[Any]) -> Parts:
        """Put what values become in their place."""
        for name, attribute, value in zip(short.names, short.attributes, values, strict=True):
            if type(value) not in ATOMS:
                made = yield name, value
                if made is not value:
                    _set(obj, attribute, made)
        return obj

    def _class_of(self, record: Record) -> tuple[Any, str]:
        known = self._classes.get(record.cls)
        if known is None:
            known = self._classes[record.cls] = self._find(record)
        if known[1] == "trusted" and not _is_made_by_its_class(record):
            return None, "opaque"
        if known[1] == "declared" and record.version is None:  # not upgraded: migrate=False
            return None, "opaque"
        return known

    def _find(self, record: Record) -> tuple[Any, str]:
        qualname = record.qualname
        cls = self._registry.class_for(qualname)
        if cls is not None:
            return cls, "declared"
        if qualname in self._trust:
            return self._imported(record.cls), "trusted"
        if any(_is_pattern(name) and fnmatch.fnmatchcase(qualname, name) for name in self._trust):
            module = sys.modules.get(record.cls.module)
            found = None if module is None else _attribute(module, record.cls.name)
            if isinstance(found, type) and self._is_trusted(found):
                return found, "trusted"
        return None, "opaque"

    def _is_trusted(self, cls: type) -> bool:
        """Whether a pattern names a class where it is at home, too: a module imports others'."""
        home = f"{cls.__module__}.{cls.__qualname__}"
        return any(_is_pattern(name) and fnmatch.fnmatchcase(home, name) for name in self._trust)

    def _imported(self, named: Global) -> type:
        """Import the class that ``trust`` names exactly."""
        try:
            module = importlib.import_module(named.module)
        except (ImportError, TypeError, ValueError) as error:  # no name of a module
            raise UnknownSchemaError(
                f"trust= names {named.qualname!r}, and its module cannot be imported: {error}.",
                file=self._file,
                where=self.path or None,
                remedy="Put it on the path, or let persist.alias(old, new) say where it is today.",
                names=[named.qualname],
            ) from error
        found = _attribute(module, named.name)
        if not isinstance(found, type):
            what = "is not there" if found is None else f"is a {type(found).__name__}, not a class"
            raise UntrustedError(
                f"trust= names {named.qualname!r}, which {what}.",
                file=self._file,
                where=self.path or None,
                remedy="Only classes are made of what a file says; functions are never called.",
                names=[named.qualname],
            )
        return found

    def _declared(self, record: Record, cls: type) -> Parts:
        contents = versioned.unpacked(cls, record)
        args = yield "args", contents.args
        kwargs = yield "kwargs", contents.kwargs
        array = contents.array
        if array is not None:
            array = yield "", array
        if id(record) in self._done:
            return self._done[id(record)][1]
        path = self.path
        obj = self._guarded(record, path, lambda: versioned.make(cls, args, kwargs, array))
        self._keep(record, obj)
        listitems = yield "", contents.listitems
        pairs = []
        for key, item in contents.dictitems:
            pairs.append(((yield "key", key), (yield step_of(key), item)))
        state = record.state
        if state is not ABSENT:
            state = yield "", state
        self._guarded(record, path, lambda: versioned.fill(obj, listitems, pairs))
        where = f"record {record.qualname!r} at {path!r}"
        restored = functools.partial(
            versioned.restore_state,
            validate=self._validate,
            migrated=record.qualname in self._migrated,
            registry=self._registry,
            file=self._file,
            where=where,
        )
        self._guarded(record, path, lambda: restored(obj, state))
        self._whole.append((obj, where))
        return obj

    def _trusted(self, record: Record, cls: type) -> Parts:
        args = yield "args", record.args
        kwargs = yield "kwargs", record.kwargs
        if id(record) in self._done:
            return self._done[id(record)][1]
        path = self.path
        obj = self._guarded(record, path, lambda: _made(cls, record.kind, args, kwargs))
        self._keep(record, obj)
        listitems = yield "", record.listitems
        for item in listitems:
            self._guarded(record, path, functools.partial(_append, obj, item))
        for key, item in record.dictitems:
            key = yield "key", key
            item = yield step_of(key), item
            self._guarded(record, path, functools.partial(operator.setitem, obj, key, item))
        if record.state is not ABSENT:
            state = yield "", record.state
            self._guarded(record, path, lambda: _set_state(obj, state))
        return obj

    def _guarded(self, record: Record, path: str, act: Callable[[], Any]) -> Any:
        """Run code of a user's class; what it raises is told with the place."""
        cure = "declare the class" if record.version is None else "count version= up"
        return self._told(
            f"record {record.qualname!r} at {path!r}",
            f"If its state is an older one, {cure} and register a migration.",
            act,
        )

    def _told(self, where: str, remedy: str, act: Callable[[], Any]) -> Any:
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
        """A class or function as a value: what is declared or named as a constant, else inert."""
        value = self._registry.constant_named(named.qualname)
        if value is not ABSENT:
            return value
        cls = self._registry.class_for(named.qualname)
        if cls is not None:
            return cls
        if named.qualname in self._trust:
            return self._imported(named)
        return named

    def _note_opaque(self, record: Record) -> bool:
        """Note a class that stays a record; return whether a pack looks into it."""
        if self._inside:
            return False
        known = self._is_known(record)
        noted = self._opaque.get(record.qualname)
        first, path, count, _ = noted or (record, self.path, 0, known)
        self._opaque[record.qualname] = (first, path, count + 1, known)
        return known

    def complete(self) -> None:
        """Open resources and call ``__loaded__``, when everything is built."""
        with versioned.loading_from(self._file if self._file and "://" not in self._file else None):
            for obj, where in self._whole:
                cure = "What it opens or computes after a load does not suit what was loaded."
                self._told(where, cure, functools.partial(versioned.finish, obj, self._registry))

    def tell(self, strict: bool) -> None:
        """Say which classes stayed records, and how to cure it."""
        if strict and self._opaque:
            shown = ", ".join(f"{name} (at {seen[1]!r})" for name, seen in self._opaque.items())
            raise UnknownSchemaError(
                f"{len(self._opaque)} classes are not declared here: {shown}.",
                file=self._file,
                remedy="Import the modules that declare them, or see `persist explain`.",
                names=list(self._opaque),
            )
        for name, (record, path, count, known) in self._opaque.items():
            many = f"{count} instances" if count > 1 else "an instance"
            place = f" (the first at {path!r})" if path else ""
            warnings.warn(
                f"{self._file or 'the file'}: {name} is not declared here; {many}{place} "
                f"stayed a record, with every field as it is in the file. {_cure(record, known)}",
                OpaqueWarning,
                stacklevel=outside(),
            )


def _needs_no_making(value: Any) -> bool:
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind is tuple:
        return ATOMS.issuperset(map(type, value))
    return kind is np.ndarray and value.flags.writeable and not value.dtype.hasobject


def _private(array: Any) -> Any:
    return array if array.flags.writeable else array.copy()


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def _attribute(module: Any, name: str) -> Any:
    """A class of a module, or a class inside a class; nothing else is walked through."""
    found: Any = module
    for part in name.split("."):
        if found is not module and not isinstance(found, type):
            return None
        found = vars(found).get(part)
    return found


def _is_made_by_its_class(record: Record) -> bool:
    return record.kind not in ("called", "built") and (
        record.kind != "reduce" or record.maker is None or record.maker == record.cls
    )


_BASES = {
    f"{module}.{cls.__name__}": cls
    for module in ("builtins", "__builtin__")
    for cls in (object, list, dict, tuple, set, frozenset, int, float, complex, str, bytes)
}


def _made(cls: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make an instance of a trusted class as its pickle says."""
    if kind == "reconstructor":
        base: Any = _BASES.get(args[0].qualname) if args and isinstance(args[0], Global) else object
        if base is None or base is object:
            return object.__new__(cls)
        value = args[1] if len(args) > 1 else None
        obj = base.__new__(cls) if value is None else base.__new__(cls, value)
        if isinstance(obj, list | dict | set) and value is not None:
            base.__init__(obj, value)
        return obj
    if kind == "reduce" or (kind in ("inst", "obj") and args):
        return cls(*args)
    if kind in ("inst", "obj"):
        return cls.__new__(cls)
    return cls.__new__(cls, *args, **kwargs)


def _append(obj: Any, item: Any) -> None:
    obj.append(item)


def _set_state(obj: Any, state: Any) -> None:
    """What pickle's BUILD does, on an instance that was just made."""
    setter = getattr(obj, "__setstate__", None)
    if setter is not None:
        setter(state)
        return
    for part in state if is_slots_pair(state) else (state,):
        if part is None:
            continue
        if not isinstance(part, dict):
            raise TypeError(f"its state is a {type(part).__name__}, and it has no __setstate__")
        for name, value in part.items():
            if not isinstance(name, str) or (name.startswith("__") and name.endswith("__")):
                raise ValueError(f"its state would set {name!r}")
            object.__setattr__(obj, name, value)


def _cure(record: Record, known: bool) -> str:
    module = record.cls.module
    parts = []
    if known:
        parts.append("persist.open(...).arrays gives what is inside as plain arrays")
    elif module and module != "__main__" and module not in sys.modules:
        parts.append(f"`import {module}` first if it declares the class")
    elif module in sys.modules:
        parts.append("declare it with persist.register or persist.Versioned")
    if not known:
        parts.append(f"persist.alias({record.qualname!r}, NewClass) if it moved")
    parts.append(f"trust=[{record.qualname!r}] to make it as pickle would")
    return f"{'; '.join(parts[:-1])}; or {parts[-1]}."


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

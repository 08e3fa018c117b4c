"""The registry: schemas, aliases, stamps, migrations, constants, and how foreign classes look.

A registry is knowledge; it reads no file and changes no state. There is a
default one, on which the functions of this module act, and any number of
others; one may have parents, which are asked after it. Reading is safe from any
thread; what is registered goes in under a lock and replaces, never edits, what
readers may be holding.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import importlib
import operator
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import attrs
import numpy as np

from persist import ops as _ops
from persist._envelope import LARGEST
from persist.errors import (
    DuplicateMigrationError,
    SchemaError,
    UnknownSchemaError,
)
from persist.registry._declarations import (
    EPOCH,
    Alias,
    Migration,
    Origin,
    Stamp,
    Supported,
    arrows,
    call_site,
    gap,
    origin_of,
    shortest,
    unsupported,
)
from persist.registry._foreign import Foreign, Plain
from persist.registry._names import (
    applied,
    check_version,
    found_by_name,
    given_codec,
    imported,
    is_twin,
    keyed,
    pure_fields,
    same,
    versions_of,
)
from persist.registry._order import ordered_with
from persist.registry._rebuilds import Importable, Rebuild
from persist.registry._releases import (
    Released,
    checked_policy,
    listed,
    merged,
    package_of,
    parsed,
    specifier,
    version_of_release,
)
from persist.registry._shapes import (
    Shape,
    chosen,
    item_names,
    parts_of_tuple,
    shapes_of,
    without_shape,
)
from persist.schema import (
    DECLARED,
    MAKERS,
    Declared,
    Layout,
    Schema,
    dotted,
    read_layout,
    said_fields,
)
from persist.tree import ABSENT

if TYPE_CHECKING:
    from persist.typing import LayoutPolicy, UnknownFields

__all__ = [
    "Alias",
    "Migration",
    "Registry",
    "Stamp",
    "accept_releases",
    "alias",
    "constant",
    "default",
    "default_registry",
    "migration",
    "register",
    "stamp",
    "supported",
]

IMPORTED = "a module has the class under this name"  # evidence of an alias that nobody gave
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type | str)
_P = ParamSpec("_P")
_StampFunction = TypeVar("_StampFunction", bound=Callable[[Any], int | str | bytes | None])

_latest: weakref.WeakValueDictionary[str, Registry] = weakref.WeakValueDictionary()


class Registry(Foreign):
    """Knowledge about classes; any number of them, a default one among them.

    Args:
        name: for messages.
        parents: registries that are asked after this one.
    """

    parents: tuple[Registry, ...]

    def __init__(self, name: str, parents: tuple[Registry, ...] = ()) -> None:
        self.name = name
        self.parents = parents
        above = chain.from_iterable(parent._lineage for parent in parents)
        self._lineage: tuple[Registry, ...] = (self, *dict.fromkeys(above))
        self._lock = threading.RLock()
        self._frozen = False
        self._plain: dict[str, Plain] = {}
        self._plain_like: list[Plain] = []
        self._rebuilds: dict[str, Rebuild] = {}
        self._importable: dict[str, Importable] = {}
        self._aliases: dict[str, Alias] = {}
        self._prefixes: dict[str, Alias] = {}
        self._migrations: dict[str, dict[tuple[int, int], Migration]] = {}
        self._has_order = False  # whether any step has before= or after=
        self._stamps: dict[str, tuple[Stamp, ...]] = {}
        self._constants: dict[str, object] = {}
        self._pure: dict[str, Schema] = {}  # schemas without a class
        self._enums: dict[str, weakref.ref[Any]] = {}  # dotted name or schema's name -> enum
        self._enum_names: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
        self._registered: weakref.WeakKeyDictionary[type, Declared] = weakref.WeakKeyDictionary()
        self._pending: list[weakref.ref[type]] = []  # declared, and not yet read
        self._classes: dict[str, weakref.ref[type]] = {}  # dotted name -> class
        self._by_name: dict[str, weakref.ref[type]] = {}  # schema name -> class
        self._schemas: weakref.WeakKeyDictionary[type, Schema] = weakref.WeakKeyDictionary()
        self._layouts: weakref.WeakKeyDictionary[type, Layout] = weakref.WeakKeyDictionary()
        self._at_home: weakref.WeakSet[type] = (
            weakref.WeakSet()
        )  # classes that were once found under their names
        # Two classes of one schema's name: the error, the class that has it, the one that wants it.
        self._disputes: list[tuple[SchemaError, weakref.ref[type], weakref.ref[type]]] = []
        self._ways: dict[tuple[str, int, int], tuple[tuple[Any, ...], list[Migration]]] = {}
        self._adapters: weakref.WeakKeyDictionary[type, object] = weakref.WeakKeyDictionary()
        self._supported: dict[str, Supported] = {}
        self._shapes: dict[str, tuple[tuple[Shape, ...], Origin]] = {}  # layouts of older versions
        self._alias_places: dict[str, tuple[tuple[str, Origin], ...]] = {}
        self._releases: dict[str, dict[int, Released]] = {}  # schema -> version -> its releases
        self._release_policies: dict[str, str] = {}  # schema -> policy; "" is that of the registry
        self._dates: dict[str, dict[int, str]] = {}  # schema -> version -> its first day
        self._recorded: dict[str, str] = {}  # package -> release that a file was written with
        # The treatment of a file whose layout differs from the current one at the same version: "error", "warn"
        # or "ignore"; None leaves it to the parents, and to "error" in the end.
        self.layout_policy: LayoutPolicy | None = None
        # Of the packs of one file: whether the file names a class of `has_instances`.
        self.makes_instances = False

        _latest[name] = self

    def __repr__(self) -> str:
        return f"<registry {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle, or a copy, of a registry means the registry: cloudpickle sends it with a class.

        Raises:
            SchemaError: a later registry has the same name, so that a pickle could mean either.
        """
        if self is default_registry:
            return _the_default, ()
        if _latest.get(self.name) is not self:
            raise SchemaError(
                f"the registry {self.name!r} cannot be pickled: another one has its name.",
                remedy="Give each registry a name of its own.",
                registry=self.name,
            )
        return _registry_named, (self.name,)

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: object) -> Registry:
        return self

    # Changing it.

    def freeze(self) -> None:
        """Refuse all further registrations in this registry."""
        self._settle()
        self._frozen = True

    @property
    def is_frozen(self) -> bool:
        """True if registrations are still accepted."""
        return self._frozen

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        if self._frozen:
            raise SchemaError(
                f"the registry {self.name!r} is frozen.",
                remedy="Register before freeze() is called, or in a registry of your own.",
                registry=self.name,
            )
        with self._lock:
            try:
                yield
            finally:
                EPOCH[0] += 1

    # Classes and schemas.

    def declare(self, cls: type) -> None:
        """Note a class whose head has declared it; it is read at first use."""
        with self._changing():
            self._pending.append(weakref.ref(cls))

    def register(
        self,
        cls: _C,
        *,
        version: int = 1,
        fields: Iterable[Any] | None = None,
        schema: str | None = None,
        release: str = "",
        layouts: Mapping[int, Any] | None = None,
        getstate: Callable[[Any], Any] | None = None,
        setstate: Callable[[Any, Any], Any] | None = None,
        new: Callable[..., Any] | None = None,
    ) -> _C:
        """Declare the state of a class that cannot, or must not, inherit `Versioned`.

        An enum has no state: its members are saved by name, under the name of the schema. A member
        that was renamed, or a value that old pickles refer to, is registered with `alias`.

        The class itself is not touched: plain ``pickle`` writes it as ever, without
        a version, so give it a `stamp` if such pickles are to be read.

        Args:
            cls: the class, or the dotted name of one that is data alone here.
            version: of its state today.
            fields: names, `persist.schema.Field` objects, or a mapping to them or to
                defaults; None: the fields of attrs, dataclasses or slots, else every attribute.
            schema: its name; the dotted path by default.
            release: the releases of the package that write this version, such as ``>=1.2,<2``.
            layouts: of older versions, by which unversioned states are distinguished (see `older_layouts`).
            getstate: instance -> its state, plain or of declared classes; instead of ``fields``.
            setstate: takes a new instance and a state, and sets it.
            new: makes an instance: of the state, if there is no ``setstate``, else without arguments;
                None is ``object.__new__(cls)``. For a type of C whose instances are made at once.

        Returns:
            The class, so that it also serves as a decorator's body.

        Raises:
            SchemaError: the parts of the declaration do not fit each other.
        """
        check_version(version, cls if isinstance(cls, str) else dotted(cls))
        if isinstance(cls, enum.EnumMeta):
            self._register_enum(cls, version, fields, schema)
            return cls
        name = schema or (cls if isinstance(cls, str) else dotted(cls))
        if release:
            self._add_released(name, version, release, call_site("<releases>", __file__))
        if layouts is not None:
            self._add_shapes(name, layouts, call_site("<layouts>", __file__))
        codec = given_codec(cls, fields, getstate, setstate, new)
        with self._changing():
            if isinstance(cls, str):
                name = schema or cls
                listed = None if fields is None else pure_fields(fields)
                self._pure = {**self._pure, name: Schema(name, version, cls, None, listed)}
                return cls
            fields = fields if fields is None or isinstance(fields, Mapping) else tuple(fields)
            self._registered[cls] = Declared(version, schema, fields, self, None, codec)
            if codec is not None:
                MAKERS[cls] = (codec[2], codec[1] is None)
            self._pending.append(weakref.ref(cls))
            self._schemas.pop(cls, None)
            self._layouts = weakref.WeakKeyDictionary()
            self._adapters = weakref.WeakKeyDictionary()
        return cls

    def _register_enum(
        self, cls: enum.EnumMeta, version: int, fields: Iterable[Any] | None, schema: str | None
    ) -> None:
        if version != 1 or fields is not None:
            raise SchemaError(
                f"the class {dotted(cls)} is an enum: its members are saved by name, and have no "
                "state that has versions or fields.",
                where=f"class {dotted(cls)}",
                remedy="Leave version= and fields= out; of a member with another name or value, say "
                f'persist.alias("{dotted(cls)}.OLD_NAME", {cls.__qualname__}.NEW_NAME).',
                schema=schema or dotted(cls),
            )
        with self._changing():
            reference = weakref.ref(cls)
            names = {schema or dotted(cls), dotted(cls)}
            self._enums = {**self._enums, **dict.fromkeys(names, reference)}
            self._enum_names[cls] = schema or dotted(cls)

    def _enum_for(self, name: str) -> Any:
        """Return the registered enum of a schema's name or a current dotted name, or None."""
        for registry in self._line():
            reference = registry._enums.get(name)
            cls = reference() if reference is not None else None
            if cls is not None:
                return cls
        return None

    def _enum_name(self, cls: type) -> str | None:
        """Return the name under which the members of a registered enum are saved, or None."""
        for registry in self._line():
            name = registry._enum_names.get(cls)
            if name is not None:
                return name
        return None

    def _settle(self) -> None:
        """Read the names of classes that were declared since the last look."""
        if self is not default_registry and default_registry._pending:
            default_registry._settle()  # a class that came by value was noted there first
        while self._pending:
            with self._lock:
                pending, self._pending = self._pending, []
                for reference in pending:
                    cls = reference()
                    if cls is not None:
                        self._place(cls, reference)

    def _place(self, cls: type, reference: weakref.ref[type]) -> None:
        declared = self._declared_here(cls)
        if declared is None:
            return
        if declared.registry is not None and declared.registry is not self:
            # cloudpickle makes a class, and only then gives it what its head said.
            declared.registry.declare(cls)
            return
        qualname = dotted(cls)
        name = declared.schema or qualname
        other_ref = self._by_name.get(name)
        other = other_ref() if other_ref is not None else None
        # The same module and qualified name again is a reload, or a decorator's second class;
        # a module may run as a script and be imported too; a local class lives no longer than its function.
        again = other is None or other is cls or dotted(other) == qualname or is_twin(cls, other)
        is_local = "<locals>" in f"{qualname} {dotted(other or cls)}"
        if other is not None and not again and not is_local and not self._is_gone(other):
            deleted = (
                f" If {cls.__qualname__} is the new name of {other.__qualname__}, say "
                f"`del {other.__qualname__}`."
                if cls.__module__ == other.__module__
                else ""
            )
            error = SchemaError(
                f"the schema name {name!r} is claimed by {dotted(other)} and {qualname}.",
                remedy="Give one of them another schema= name; a class that moved needs no "
                f"second class, only persist.alias(old, new).{deleted}",
                schema=name,
            )
            self._disputes.append((error, weakref.ref(other), reference))
            return
        if found_by_name(cls) is cls:
            self._at_home.add(cls)
        self._by_name = {**self._by_name, name: reference}
        self._classes = {**self._classes, qualname: reference}

    def _declared_here(self, cls: type) -> Declared | None:
        declared = self._registered.get(cls) or vars(cls).get(DECLARED)
        return declared if isinstance(declared, Declared) else None

    def declared(self, cls: type) -> Declared | None:
        """Return the declaration of a class itself: here, in its class statement, or in a parent."""
        declared = self._declared_here(cls)
        if declared is not None:
            return declared
        for parent in self.parents:
            declared = parent.declared(cls)
            if declared is not None:
                return declared
        return None

    def schema_for(self, what: type | str) -> Schema | None:
        """Return the schema of a class, of a current dotted name, or of a schema name.

        None where nothing is known. A name for which only migrations or stamps
        are registered has a schema that is data alone.
        """
        if isinstance(what, type):
            return self._schema_of(what) if self.declared(what) is not None else None
        cls = self.class_for(what)
        if cls is not None:
            return self._schema_of(cls)
        for registry in self._line():
            found = registry._pure.get(what)
            if found is not None:
                return found
            for schema in registry._pure.values():
                if schema.qualname == what:
                    return schema
        steps = self.migrations(what)
        if steps or self.stamps(what):
            return Schema(what, max((to for _, to in steps), default=1), what)
        return None

    def class_for(self, name: str) -> type | None:
        """Return the declared class of a schema name or a current dotted name."""
        for registry in self._lineage:
            if registry._pending or default_registry._pending:
                registry._settle()
            for table in (registry._classes, registry._by_name):
                reference = table.get(name)
                cls = reference() if reference is not None else None
                if cls is not None:
                    return cls
        return None

    def _schema_of(self, cls: type) -> Schema:
        owner = self._owner(cls)
        if owner is not self:
            return owner._schema_of(cls)
        schema = self._schemas.get(cls)
        if schema is None:
            declared = self.declared(cls)
            assert declared is not None
            self._settle()
            self._refuse_clash(declared.schema or dotted(cls))
            fields, is_open = said_fields(cls, declared)
            own = (
                None
                if is_open
                else tuple(f for f in fields.values() if not (f.transient or f.reserved))
            )
            qualname = dotted(cls)
            name = declared.schema or qualname
            schema = Schema(name, declared.version, qualname, cls, own, minor=declared.minor)
            with self._lock:
                self._schemas[cls] = schema
            try:
                layout = self.layout(cls)
            except SchemaError:
                self._schemas.pop(cls, None)
                raise
            if layout.leaf.kind == "codec":
                schema = attrs.evolve(schema, codec=True)
            elif own is not None:
                schema = attrs.evolve(schema, fields=layout.leaf.fields)
            layout.leaf.schema = schema
            with self._lock:
                self._schemas[cls] = schema
        return schema

    def _owner(self, cls: type) -> Registry:
        """The registry of this line in which a class was declared."""
        for registry in self._line():
            if cls in registry._registered:
                return registry
        declared = vars(cls).get(DECLARED)
        home = declared.registry if isinstance(declared, Declared) else None
        return home if home is not None and any(home is one for one in self._line()) else self

    def _is_gone(self, cls: type) -> bool:
        """True if a class is no longer found under its name: it was deleted or replaced.

        Caches, instances and the history of a notebook may hold it much longer.
        """
        found = found_by_name(cls)
        if found is cls or cls.__module__ not in sys.modules:
            return False
        # A class that a function made was perhaps never there.
        return found is not None or cls in self._at_home or cls.__module__ == "__main__"

    def _refuse_clash(self, name: str) -> None:
        for clash in self._clashes:
            if clash.facts.get("schema") == name:
                raise clash

    @property
    def _clashes(self) -> list[SchemaError]:
        """The names that two classes claim now; a class that is gone claims nothing."""
        if not self._disputes:
            return []
        with self._lock:
            disputes, self._disputes = self._disputes, []
            for error, old, new in disputes:
                first, second = old(), new()
                if second is None or self._is_gone(second):
                    continue
                if first is None or self._is_gone(first):
                    self._place(second, new)
                else:
                    self._disputes.append((error, old, new))
        return [error for error, _, _ in self._disputes]

    def layout(self, cls: type) -> Layout:
        """Return how the state of a declared class is put together.

        Raises:
            UnknownSchemaError: the class is not declared.
            SchemaError: two of its bases claim one field.
        """
        layout = self._layouts.get(cls)
        if layout is None:
            owner = self._owner(cls)
            if owner is not self:
                return owner.layout(cls)
            if self.declared(cls) is None:
                raise UnknownSchemaError(
                    f"the class {dotted(cls)} is not declared.",
                    remedy="Inherit persist.Versioned, or call persist.register(cls, version=1).",
                    schema=dotted(cls),
                )
            layout = read_layout(cls, self.declared, self._schema_of)
            with self._lock:
                self._layouts[cls] = layout
        return layout

    def schemas(self) -> list[Schema]:
        """Return every schema that is known here or in a parent, by name."""
        found: dict[str, Schema] = {}
        for registry in self._line():
            registry._settle()
            for name, reference in registry._by_name.items():
                cls = reference()
                if cls is not None and name not in found:
                    found[name] = self._schema_of(cls)
            for name, schema in registry._pure.items():
                found.setdefault(name, schema)
        for registry in self._line():
            for name in (*registry._migrations, *registry._stamps):
                implied = self.schema_for(name)
                if implied is not None:
                    found.setdefault(implied.name, implied)
        return [found[name] for name in sorted(found)]

    def _line(self) -> tuple[Registry, ...]:
        """This registry and, after it, its parents and theirs, each once."""
        return self._lineage

    def _name_of(self, schema: type | str) -> str:
        """The schema name that a class or a text means."""
        if isinstance(schema, str):
            if schema in self._by_name and not self._pending:
                return schema
            cls = self.class_for(schema)
            declared = self.declared(cls) if cls is not None else None
            if cls is None or declared is None:
                return schema
            return declared.schema or dotted(cls)
        declared = self.declared(schema)
        return (declared.schema if declared is not None else None) or dotted(schema)

    # Migrations.

    @overload
    def migration(
        self,
        schema: type | str,
        version: int | str,
        *,
        to: int | None = None,
        release: str = "",
        before: Iterable[type | str] = (),
        after: Iterable[type | str] = (),
        cost: float = 1,
    ) -> Callable[[Callable[_P, _T]], Migration[_P, _T]]: ...

    @overload
    def migration(
        self,
        schema: type | str,
        version: int | str,
        *ops: _ops.Op,
        to: int | None = None,
        release: str = "",
        before: Iterable[type | str] = (),
        after: Iterable[type | str] = (),
        cost: float = 1,
    ) -> Migration: ...

    def migration(
        self,
        schema: type | str,
        version: int | str,
        *ops: _ops.Op,
        to: int | None = None,
        release: str = "",
        before: Iterable[type | str] = (),
        after: Iterable[type | str] = (),
        cost: float = 1,
    ) -> Migration | Callable[[Callable[_P, _T]], Migration[_P, _T]]:
        """Register one step of a schema: a decorated function, or ready-made steps.

        The function takes the older state (a dict of fields, or whatever the
        class's codec gave; its own copy, arrays in it read-only) and returns the
        newer one. One that takes two arguments gets the `Record` as the second.
        It may return a `Record` (of another class, with its version) or
        ``persist.ops.Instead(value)`` to put something else in the place of the
        instance.

        Args:
            schema: the class, or the name of its schema.
            version: the version that the step takes; ``"1-3"`` registers the same step for each of
                these versions.
            ops: of `persist.ops`, done one after the other.
            to: the version that it gives; the next one after them by default.
            release: the releases of the package that wrote the version that the step takes, such as
                ``>=1.2,<2`` (PEP 440).
            before: classes, or names of schemas. In a file with records of both, all those of this
                schema are upgraded before all those of the others, also where they hold them: then the
                step sees the others with their old states. Only `persist.load` and the tools can do this.
            after: likewise; the others are upgraded first.
            cost: of the path with this step; of several paths the cheapest is taken. 1 for a step
                between neighbouring versions and for a jump, unless it is given.

        Returns:
            The `Migration`, of several the last; without ``ops`` a decorator that returns it.

        Raises:
            DuplicateMigrationError: another place registered this step already.
        """
        versions = versions_of(version, str(schema))
        to = versions[-1] + 1 if to is None else to
        if type(to) is not int or to <= versions[-1]:
            raise SchemaError(
                f"a migration of {schema} leads from version {version} to {to!r}.",
                remedy="It leads to a later version; the way back is its .downgrade.",
            )
        name = self._name_of(schema)
        for number in versions if release else ():
            self._add_released(name, number, release, call_site("<releases>", __file__))
        for op in ops:
            if not isinstance(op, _ops.Op):
                raise TypeError(
                    f"{op!r} is no step of persist.ops; a function is decorated with "
                    f"@migration({name!r}, {version!r})."
                )
        order = ordered_with(before, after)
        if type(cost) not in (int, float) or not cost > 0:
            raise ValueError(f"cost={cost!r}: a number above 0 is expected.")

        def added(function: Callable[_P, _T] | None, origin: Origin) -> Migration[_P, _T]:
            made = [
                Migration(name, start, to, function, ops, origin, cost=cost, **order)
                for start in versions
            ]
            return [self._add(step) for step in made][-1]

        if ops:
            return added(None, call_site(f"<steps of {name} {version}→{to}>", __file__))

        def decorate(function: Callable[_P, _T]) -> Migration[_P, _T]:
            written = function.function if isinstance(function, Migration) else function
            if written is None or not callable(written):
                raise TypeError(f"{function!r} is no function.")
            return added(written, origin_of(written))

        return decorate

    def _add(self, step: Migration[_P, _T]) -> Migration[_P, _T]:
        with self._changing():
            known = self._migrations.get(step.schema, {})
            other = known.get((step.start, step.to))
            if other is not None and not (
                step.repeats(other) or step.origin.replaces(other.origin)
            ):
                raise DuplicateMigrationError(
                    f"two migrations lead from version {step.start} to {step.to} of "
                    f"{step.schema!r}: {other.text} in {other.where}, and {step.text} in {step.where}.",
                    remedy="Remove one of them, or give one another version.",
                    schema=step.schema,
                    step=(step.start, step.to),
                )
            self._has_order = self._has_order or bool(step.before or step.after)
            self._migrations = {
                **self._migrations,
                step.schema: {**known, (step.start, step.to): step},
            }
        return step

    def migrations(self, schema: str) -> dict[tuple[int, int], Migration]:
        """Return (from, to) -> step of a schema; a parent's where there is none here."""
        found: dict[tuple[int, int], Migration] = {}
        for registry in self._line():
            for key, step in registry._migrations.get(schema, {}).items():
                found.setdefault(key, step)
        return found

    def path(self, schema: type | str, start: int, to: int) -> list[Migration]:
        """Return the shortest sequence of steps from one version to another, in either direction.

        Raises:
            MissingMigrationError: none leads there, with what is missing.
            SchemaError: two paths are as short as each other.
        """
        name = self._name_of(schema)
        known = tuple(registry._migrations for registry in self._line())
        found = self._ways.get((name, start, to))
        if found is None or not all(map(operator.is_, found[0], known)):
            found = (known, self._way(name, start, to))
            self._ways[name, start, to] = found
        return list(found[1])

    def _way(self, name: str, start: int, to: int) -> list[Migration]:
        oldest = self.oldest_supported(name)
        if oldest is not None and start < min(oldest.since, to):
            raise unsupported(oldest, start, to, self.releases(name))
        steps = self.migrations(name)
        low, high = min(start, to), max(start, to)
        found = shortest(steps.values(), low, high)
        if found is None:
            raise gap(name, start, to, steps, self.releases(name))
        if len(found) > 1:
            ways = " or ".join(arrows(way) for way in found)
            raise SchemaError(
                f"two ways lead from version {low} to {high} of {name!r}, as short as each other: {ways}.",
                remedy="Remove one step, register the jump that you mean with to=, or give the steps costs (cost=).",
                schema=name,
                step=(low, high),
            )
        return found[0] if start <= to else found[0][::-1]

    def supported(self, schema: type | str, since: int, *, reader: str = "") -> None:
        """Declare the oldest version of a schema that this program still reads.

        Older files are then refused with the release that still reads them, and no check asks for
        the steps that lead from there.

        Args:
            schema: the class, or the name of its schema.
            since: the oldest version that is read.
            reader: the last release of your package that reads older ones, such as ``"2.4"``.

        Raises:
            SchemaError: ``since`` is no version.
        """
        name = self._name_of(schema)
        check_version(since, name)
        with self._changing():
            self._supported = {**self._supported, name: Supported(name, since, reader)}
            self._ways = {}

    def oldest_supported(self, schema: str) -> Supported | None:
        """Return what `supported` said of a schema, here or in a parent; None for nothing."""
        found = (registry._supported.get(schema) for registry in self._line())
        return next((one for one in found if one is not None), None)

    # Stamps.

    @overload
    def stamp(
        self, schema: type | str, key: None = None
    ) -> Callable[[_StampFunction], _StampFunction]: ...

    @overload
    def stamp(self, schema: type | str, key: str) -> None: ...

    @overload
    def stamp(self, schema: type | str, *, version: int, release: str) -> None: ...

    def stamp(
        self,
        schema: type | str,
        key: str | None = None,
        *,
        version: int | None = None,
        release: str = "",
    ) -> Callable[[_StampFunction], _StampFunction] | None:
        """Register how the version of a state that bears none is known.

        The function takes the state and returns a version, or None: "not mine". Where the releases of
        the versions are declared, a release (``"1.4"``) is an answer, too, from the function or under
        the key.

        Args:
            schema: the class, or the name of its schema.
            key: the entry of the state that holds its version; then nothing is
                to be decorated.
            version: a version that is known by the release that wrote it.
            release: the releases of the package that wrote this version, such as ``>=1.2,<2``: a file
                that records its release, and whose states state no version, has this one.

        Returns:
            A decorator; with ``key`` or ``release`` None.
        """
        name = self._name_of(schema)
        if release or version is not None:
            if not release or version is None or key is not None:
                raise TypeError("a stamp by release has both version= and release=, and no key.")
            self._add_released(name, version, release, call_site("<releases>", __file__))
            return None
        if key is not None:
            origin = call_site(f"<key {key!r}>", __file__)
            self._add_stamp(Stamp(name, lambda state: keyed(state, key), origin, key))
            return None

        def decorate(function: _StampFunction) -> _StampFunction:
            self._add_stamp(Stamp(name, function, origin_of(function)))
            return function

        return decorate

    # Releases.

    def released(
        self, schema: type | str, version: int, release: str = "", *, date: str = ""
    ) -> None:
        """Declare which releases of the package write a version of a schema, and since when.

        They are named in errors, plans and the lock file, and the version of a state that states none
        is known by them where the file records its release. ``release=`` of a class, a migration or a
        stamp does the same.

        Args:
            schema: the class, or the name of its schema.
            version: the version.
            release: the releases as in a requirement (PEP 440): ``>=1.2,<2``.
            date: the day from which on it was current, ``2012-03-31``; ``persist convert --as-of`` asks.

        Raises:
            SchemaError: this is no set of releases, or another place declares others.
            ValueError: this is no date.
        """
        name = self._name_of(schema)
        if date:
            day = datetime.date.fromisoformat(date).isoformat()
            with self._changing():
                self._dates = {**self._dates, name: {**self._dates.get(name, {}), version: day}}
        if release or not date:
            self._add_released(name, version, release, call_site("<releases>", __file__))

    def dates(self, schema: type | str) -> dict[int, str]:
        """Return version -> the day from which on it was current, where that is declared."""
        tables = [one._dates.get(self._name_of(schema), {}) for one in self._line()]
        return {number: day for table in reversed(tables) for number, day in table.items()}

    def _add_released(self, name: str, version: int, release: str, place: Origin) -> None:
        check_version(version, name)
        specifier(release, name)
        made = Released(name, version, release, place)
        with self._changing():
            known = self._releases.get(name, {})
            other = known.get(version)
            is_other = other is not None and other.releases != release
            if other is not None and is_other and not place.replaces(other.origin):
                raise SchemaError(
                    f"version {version} of {name!r} has the releases {other.releases!r} "
                    f"({other.origin.file}:{other.origin.line}) and {release!r}.",
                    where=f"{place.file}:{place.line}",
                    remedy="Declare them in one place.",
                    schema=name,
                )
            self._releases = {**self._releases, name: {**known, version: made}}

    def releases(self, schema: type | str) -> dict[int, str]:
        """Return version -> the releases of the package that write it, where they are declared."""
        return {number: one.releases for number, one in sorted(self._released(schema).items())}

    def _released(self, schema: type | str) -> dict[int, Released]:
        name = self._name_of(schema)
        return merged(registry._releases.get(name, {}) for registry in self._line())

    def accept_releases(self, policy: str, schema: type | str | None = None) -> None:
        """Choose which files are loaded, by the release of the package that wrote them.

        A container records the releases of the packages whose classes are in it. A file that is not
        accepted raises `ReleaseError`; a file that records no release is accepted.

        Args:
            policy: "exact": of the release that is here only; "minor": of the same major release, and
                not of a newer minor one; "major": of the same major release; "any": all of them,
                which is the default.
            schema: a class or the name of its schema; None is every one of this registry.

        Raises:
            ValueError: there is no such policy.
        """
        name = "" if schema is None else self._name_of(schema)
        with self._changing():
            self._release_policies = {**self._release_policies, name: checked_policy(policy)}

    def _release_policy(self, schema: str) -> str:
        """The policy for a schema: its own, then that of the registry, here before in the parents."""
        for name in (schema, ""):
            for registry in self._line():
                if name in registry._release_policies:
                    return registry._release_policies[name]
        return "any"

    def _recorded_release(self, name: str) -> tuple[str, str]:
        """The package of a schema, and the release of it that the file at hand records; "" for none."""
        recorded = next((one._recorded for one in self._line() if one._recorded), None)
        schema = self.schema_for(name) if recorded else None
        package = "" if schema is None else package_of(schema)
        return package, (recorded or {}).get(package, "")

    def _add_stamp(self, stamp: Stamp) -> None:
        with self._changing():
            others = [
                other
                for other in self._stamps.get(stamp.schema, ())
                if not (stamp.repeats(other) or stamp.origin.replaces(other.origin))
            ]
            self._stamps = {**self._stamps, stamp.schema: (*others, stamp)}

    def stamps(self, schema: str) -> list[Stamp]:
        """Return the stamps of a schema, its own before its parents'."""
        found = list(self._stamps.get(schema, ()))
        for parent in self.parents:
            found += parent.stamps(schema)
        return found

    def stamp_of(self, schema: type | str, state: Any) -> tuple[int, str]:
        """Return the version of a state that bears none, and how that is known.

        Raises:
            SchemaError: several stamps answer differently, with what each says;
                or one answers with something that is no version.
        """
        name = schema if isinstance(schema, str) else self._name_of(schema)
        stamps = self.stamps(name)
        if not stamps:
            return self._stamp_by_layout(name, state) or self._stamp_by_release(name)
        answers: dict[int, list[Stamp]] = {}
        for stamp in stamps:
            try:
                version = stamp.function(state)
            except Exception as error:  # whatever a stranger's function raises
                raise SchemaError(
                    f"the stamp {stamp} fails: {type(error).__name__}: {error}.",
                    remedy="It gets states of every age: let it return None for those that are not its own.",
                    schema=name,
                ) from error
            if version is None:
                continue
            if isinstance(version, str | bytes):
                version = self._version_of_answer(name, stamp, version)
            if type(version) is not int or not 1 <= version <= LARGEST:
                is_huge = type(version) is int and abs(version) > LARGEST
                shown = "a number beyond every version" if is_huge else repr(version)
                raise SchemaError(
                    f"the stamp {stamp} answers {shown}.",
                    remedy="A stamp answers with a version, a positive integer, or None.",
                    schema=name,
                )
            answers.setdefault(version, []).append(stamp)
        if len(answers) > 1:
            said = "; ".join(
                f"version {version} by {', '.join(map(str, sayers))}"
                for version, sayers in sorted(answers.items())
            )
            raise SchemaError(
                f"its stamps disagree: {said}.",
                remedy="Make all but one of them return None for this state.",
                schema=name,
                answers=sorted(answers),
            )
        if not answers:
            return self._stamp_by_layout(name, state) or self._stamp_by_release(name)
        ((version, agreed),) = answers.items()
        return version, f"stamp by {', '.join(map(str, agreed))}"

    # Layouts of older versions.

    def older_layouts(self, schema: type | str, layouts: Mapping[int, Any]) -> None:
        """Declare the layouts of older versions, so that a state without a version is found by its layout.

        Stamps are asked first. The current layout is known from the class. Where a state is a tuple
        and its layout gives names, steps find its parts by name as well.

        Args:
            schema: the class, or the name of its schema.
            layouts: version -> its layout, or a list of several: a tuple of names, ``("W", "b")``, of a
                state that is a tuple; a number, of one without names; a set of names of fields; a dict of
                such names to classes or dtypes; a fingerprint, as the lock file has it.

        Raises:
            SchemaError: one is none of these, or another place declares layouts.
        """
        self._add_shapes(self._name_of(schema), layouts, call_site("<layouts>", __file__))

    def _add_shapes(self, name: str, layouts: Mapping[int, Any], place: Origin) -> None:
        made = shapes_of(layouts, name, place)
        with self._changing():
            other = self._shapes.get(name)
            if other is not None and other[0] != made and not place.replaces(other[1]):
                raise SchemaError(
                    f"the layouts of {name!r} are declared in {other[1].file}:{other[1].line} already.",
                    where=f"{place.file}:{place.line}",
                    remedy="Declare them in one place.",
                    schema=name,
                )
            self._shapes = {**self._shapes, name: (made, place)}

    def _older_shapes(self, name: str) -> tuple[Shape, ...]:
        for registry in self._line():
            if name in registry._shapes:
                return registry._shapes[name][0]
        return ()

    def item_names(self, schema: str, version: int, count: int) -> tuple[str, ...]:
        """Return the names of the parts of a tuple that a version has as its state; () if unknown."""
        return item_names(self._older_shapes(schema), version, count)

    def _stamp_by_layout(self, name: str, state: Any) -> tuple[int, str] | None:
        """The version of a state that states none, by its layout; None if no layouts are declared.

        Raises:
            SchemaError: two fit, or none.
        """
        shapes = self._older_shapes(name)
        if not shapes:
            return None
        schema = self.schema_for(name)
        today: list[Shape] = []
        if schema is not None and schema.fields is not None and isinstance(state, dict):
            there = [one for one in schema.fields if not one.has_default or one.name in state]
            if all(one.version != schema.version for one in shapes):
                today.append(Shape(schema.version, tuple(one.name for one in there)))
        items = () if schema is None else parts_of_tuple(schema.cls)
        if schema is not None and items and all(one.version != schema.version for one in shapes):
            today = [Shape(schema.version, items, "tuple", len(items))]
        found = chosen((*shapes, *today), state, name)
        if found is not None:
            return found[0], f"stamp by its layout: {found[1]}"
        current = 1 if schema is None else schema.version
        fields = None if schema is None else schema.fields
        is_known = fields is not None
        by_position = isinstance(state, tuple | list) and len(state) == len(fields or ())
        covered = {one.version for one in shapes} >= set(range(1, current))
        if covered and is_known and not by_position:
            raise without_shape(name, state, (*shapes, *today))
        return None

    def _stamp_by_release(self, name: str) -> tuple[int, str]:
        """The version of a state that states none, by the release that the file records."""
        declared = self._released(name)
        package, release = self._recorded_release(name) if declared else ("", "")
        if not release:
            return 1, "unstamped = 1"
        found = version_of_release(name, release, declared)
        if found is None:
            return 1, f"unstamped = 1; release {release} of {package} is of no declared version"
        return found[0], f"stamp by release {release} of {package} ({found[1]})"

    def _version_of_answer(self, name: str, stamp: Stamp, answer: str | bytes) -> Any:
        """The version of a release with which a stamp answers; the answer itself if none are declared.

        Raises:
            SchemaError: the release is of no declared version, or of several.
        """
        declared = self._released(name)
        if not declared:
            return answer
        text = answer.decode("ascii", "replace") if isinstance(answer, bytes) else answer
        found = version_of_release(name, text, declared)
        if found is None:
            raise SchemaError(
                f"the stamp {stamp} answers with release {text!r}, which is of no declared version of "
                f"{name!r}: {listed(declared)}.",
                remedy=f"Let the declared releases of its version contain {text}."
                if parsed(text) is not None
                else f"It is not written as PEP 440 has it: let a stamp, a function, return the version of {text!r}.",
                schema=name,
            )
        return found[0]

    def upgrade(
        self,
        state: Any,
        cls: type[_T],
        *,
        assume_version: int | None = None,
        unknown: UnknownFields = "warn",
        strict: bool = False,
    ) -> _T:
        """Make an instance of a declared class of a value that bears no class.

        The value is taken as an unversioned state: its stamps are asked, its steps run, and it is
        validated and built, as `persist.load` does with a file. It is not changed.

        Args:
            state: a dict, tuple, list, array: whatever an older version had as its state.
            cls: a declared class.
            assume_version: the version of a state of which no stamp knows it.
            unknown, strict: as for `persist.load`.

        Raises:
            SchemaError: the state cannot be upgraded, or is not valid.
        """
        # Building is far above a registry, which is data: it is found when it is wanted.
        loading = importlib.import_module("persist._api.load")
        made: _T = loading.upgraded_state(
            state, cls, self, assume_version, unknown=unknown, strict=strict
        )
        return made

    # Aliases.

    def alias(self, old: str, new: object, *, since: str = "", evidence: str = "") -> None:
        """Map an old dotted name to the current class, function or member of an enum.

        Args:
            old: the name in old files; ``oldlab.*`` for all that begin so. Of a member of an enum,
                ``lab.Color.OLD``, or ``lab.Color(3)`` for the value by which old pickles know it.
            new: the class, its dotted name or its schema's name; ``lab.*`` for a prefix; a member.
            since: the release that moved it.
            evidence: how that is known.

        Raises:
            SchemaError: the name leads elsewhere already. A cell that runs again, and a module
                that is loaded again, may say another target.
        """
        target = new if isinstance(new, str) else self._target(new)
        is_prefix = old.endswith(".*")
        if is_prefix:
            old, target = (
                old[:-1],
                target[:-1] if target.endswith(".*") else target.rstrip(".") + ".",
            )
        if not old or not target or target == ".":
            raise SchemaError(
                f"an alias leads from {old!r} to {target!r}.", remedy="Both are dotted names."
            )
        place = call_site(f"<alias {old}>", __file__)
        with self._changing():
            made = Alias(old, target, since, evidence, place)
            self._refuse_other_target(made, is_prefix)
            before = self._alias_places.get(old, ())
            kept = tuple(one for one in before if not place.replaces(one[1]))
            self._alias_places = {**self._alias_places, old: (*kept, (target, place))}
            if is_prefix:
                self._prefixes = {**self._prefixes, old: made}
            else:
                self._aliases = {**self._aliases, old: made}

    def _refuse_other_target(self, made: Alias, is_prefix: bool) -> None:
        other = (self._prefixes if is_prefix else self._aliases).get(made.old)
        if other is None or other.new == made.new or other.origin is None or made.origin is None:
            return
        # A local class lives no longer than its function.
        if "<locals>" in other.new or made.origin.replaces(other.origin):
            return
        mark = "*" if is_prefix else ""
        places = [f"{one.file}:{one.line}" for one in (other.origin, made.origin)]
        raise SchemaError(
            f"the alias {made.old + mark!r} leads to {other.new + mark!r} ({places[0]}), and would "
            f"lead to {made.new + mark!r}.",
            where=places[1],
            remedy=f"Remove one of them; of a class that moved twice, say persist.alias("
            f'"{other.new}{mark}", "{made.new}{mark}").',
            alias=made.old,
        )

    def _target(self, new: Any) -> str:
        if isinstance(new, enum.Enum):
            return f"{dotted(type(new))}.{new._name_}"
        return dotted(new)

    def resolve(self, qualname: str) -> str:
        """Return the current dotted name for one in a file; the same if there is no alias.

        Raises:
            SchemaError: the aliases lead in a circle.
        """
        return self.aliases_from(qualname)[0]

    def aliases_from(self, qualname: str) -> tuple[str, list[Alias]]:
        """Return the current dotted name, and the aliases that led to it, in order."""
        name = qualname
        taken: list[Alias] = []
        used: set[Alias] = set()
        while True:
            found = self._next_alias(name, used)
            if found is None:
                break
            if found in used or len(taken) > 1000:
                chain = " → ".join([qualname, *(applied(one, "") for one in taken)])
                raise SchemaError(
                    f"the aliases of {qualname!r} lead in a circle: {chain}.",
                    remedy="Remove one of them.",
                    alias=qualname,
                )
            used.add(found)
            taken.append(found)
            name = found.new + name[len(found.old) :] if found.old.endswith(".") else found.new
        schema = None if name == qualname and not taken else self.schema_for(name)
        if schema is not None and schema.name == name:
            name = schema.qualname
        return name, taken

    def _next_alias(self, name: str, used: set[Alias]) -> Alias | None:
        for registry in self._line():
            exact = registry._aliases.get(name)
            if exact is not None and exact.new != name:
                return exact
        if self.class_for(name) is not None:
            return None
        for registry in self._line():
            fitting = None
            for prefix, found in registry._prefixes.items():
                is_longer = fitting is None or len(found.old) > len(fitting.old)
                if is_longer and name.startswith(prefix) and found not in used:
                    fitting = found
            if fitting is not None:
                return fitting
        return self._implicit_alias(name)

    def _implicit_alias(self, name: str) -> Alias | None:
        """The alias for a name under which an imported module has a declared class of another name.

        Where ``oldlab`` has ``from lab.nets import Layer``, a file that names ``oldlab.Layer`` means
        that class, as pickle would find it. Nothing is imported, and no code of a module runs.
        """
        found = imported(name)
        if not isinstance(found, type) or self.declared(found) is None or dotted(found) == name:
            return None
        return Alias(name, dotted(found), evidence=IMPORTED)

    def old_names(self, qualname: str) -> set[str]:
        """Return the exact old dotted names that lead to a current one."""
        names: set[str] = set()
        for registry in self._line():
            for old in registry._aliases:
                try:
                    if self.resolve(old) == qualname:
                        names.add(old)
                except SchemaError:
                    continue
        return names

    # Constants.

    def constant(self, name: str, value: _T) -> _T:
        """Name a function, class or sentinel, so that it can be saved as a value and found again.

        Returns:
            The value.

        Raises:
            SchemaError: another value has this name.
        """
        with self._changing():
            if name in self._constants and not same(self._constants[name], value):
                raise SchemaError(
                    f"the constant {name!r} is {self._constants[name]!r} already, not {value!r}.",
                    remedy="Choose another name; files that hold the old one go on meaning it.",
                    constant=name,
                )
            self._constants = {**self._constants, name: value}
        return value

    def constant_named(self, name: str) -> Any:
        """Return the value of a constant's name, or ABSENT."""
        for registry in self._line():
            if name in registry._constants:
                return registry._constants[name]
        return ABSENT

    def constant_name(self, value: Any) -> str | None:
        """Return the name under which this very object is a constant, or None."""
        for registry in self._line():
            for name, known in registry._constants.items():
                if known is value:
                    return name
        return None

    # Looking it over.

    def faults(self) -> list[SchemaError]:
        """Return everything that is wrong: gaps, ties, unreachable versions, loops, clashes."""
        from persist.registry._check import faults

        return faults(self)

    def check(self) -> None:
        """Look all schemas over, and raise once for everything that is wrong.

        Raises:
            ExceptionGroup: of `SchemaError`, one for each gap, duplicate,
                unreachable version, tie, alias loop or clash.
        """
        found = self.faults()
        if found:
            raise ExceptionGroup(f"registry {self.name!r}: {len(found)} faults", found)


default_registry = Registry("default")
default = default_registry
"""The registry that is used where none is given."""


def _the_default() -> Registry:
    return default_registry


_kept: dict[str, Registry] = {}  # made for a pickle, which cannot hold a reference itself


def _registry_named(name: str) -> Registry:
    """Return the registry of a name; another process, to which a class is sent, may have none yet."""
    found = _latest.get(name)
    if found is None:
        found = _kept[name] = Registry(name)
    return found


def _name_builtins(registry: Registry) -> None:
    """Classes whose names have stood for decades are constants without being asked for."""
    for kind in (
        bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, object, type(None),
    ):  # fmt: skip
        registry.constant(f"builtins.{kind.__name__}", kind)
    for name in (
        "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
        "float32", "float64", "complex64", "complex128", "ndarray",
    ):  # fmt: skip
        registry.constant(f"numpy.{name}", getattr(np, name))


_name_builtins(default_registry)


# The functions that act on the default registry.


@overload
def migration(
    schema: type | str,
    version: int | str,
    *,
    to: int | None = None,
    release: str = "",
    before: Iterable[type | str] = (),
    after: Iterable[type | str] = (),
    cost: float = 1,
) -> Callable[[Callable[_P, _T]], Migration[_P, _T]]: ...


@overload
def migration(
    schema: type | str,
    version: int | str,
    *ops: _ops.Op,
    to: int | None = None,
    release: str = "",
    before: Iterable[type | str] = (),
    after: Iterable[type | str] = (),
    cost: float = 1,
) -> Migration: ...


def migration(
    schema: type | str,
    version: int | str,
    *ops: _ops.Op,
    to: int | None = None,
    release: str = "",
    before: Iterable[type | str] = (),
    after: Iterable[type | str] = (),
    cost: float = 1,
) -> Migration | Callable[[Callable[_P, _T]], Migration[_P, _T]]:
    """Register one step of a schema in the default registry (see `Registry.migration`)."""
    return default_registry.migration(
        schema, version, *ops, to=to, release=release, before=before, after=after, cost=cost
    )


@overload
def stamp(schema: type | str, key: None = None) -> Callable[[_StampFunction], _StampFunction]: ...


@overload
def stamp(schema: type | str, key: str) -> None: ...


@overload
def stamp(schema: type | str, *, version: int, release: str) -> None: ...


def stamp(
    schema: type | str, key: str | None = None, *, version: int | None = None, release: str = ""
) -> Callable[[_StampFunction], _StampFunction] | None:
    """Register how the version of an unversioned state is known (see `Registry.stamp`)."""
    register_stamp: Callable[..., Any] = default_registry.stamp  # all forms have one implementation
    return register_stamp(schema, key, version=version, release=release)  # type: ignore[no-any-return]


def alias(old: str, new: object, *, since: str = "", evidence: str = "") -> None:
    """Map an old dotted name to the current one (see `Registry.alias`)."""
    default_registry.alias(old, new, since=since, evidence=evidence)


def register(
    cls: _C,
    *,
    version: int = 1,
    fields: Iterable[object] | None = None,
    schema: str | None = None,
    release: str = "",
    layouts: Mapping[int, Any] | None = None,
    getstate: Callable[[Any], Any] | None = None,
    setstate: Callable[[Any, Any], Any] | None = None,
    new: Callable[..., Any] | None = None,
) -> _C:
    """Declare the state of a class that does not inherit `Versioned` (see `Registry.register`)."""
    return default_registry.register(
        cls,
        version=version,
        fields=fields,
        schema=schema,
        release=release,
        layouts=layouts,
        getstate=getstate,
        setstate=setstate,
        new=new,
    )


def constant(name: str, value: _T) -> _T:
    """Name a function, class or sentinel that is saved as a value (see `Registry.constant`)."""
    return default_registry.constant(name, value)


def supported(schema: type | str, since: int, *, reader: str = "") -> None:
    """Declare the oldest version that is still read (see `Registry.supported`)."""
    default_registry.supported(schema, since, reader=reader)


def accept_releases(policy: str, schema: type | str | None = None) -> None:
    """Choose which files are loaded, by the release that wrote them (see `Registry.accept_releases`)."""
    default_registry.accept_releases(policy, schema)

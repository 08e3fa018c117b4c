"""The part of a registry that knows the declared classes and enums, their schemas and layouts."""

from __future__ import annotations

import enum
import sys
import weakref
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import attrs

from persist.errors import SchemaError, UnknownSchemaError
from persist.registry._lineage import Lineage
from persist.registry._names import found_by_name, is_twin
from persist.schema import DECLARED, Declared, Layout, Schema, dotted, read_layout, said_fields

__all__ = ["Classes"]


class Classes(Lineage):
    """Declared classes and enums by name, and the schemas and layouts that their statements give.

    A class is noted when it is declared and read at first use, so that a decorator or a base that
    comes later has its say.
    """

    _default: ClassVar[Classes]
    """The default registry, in which a class that came by value is noted first."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._pure: dict[str, Schema] = {}  # schemas without a class
        self._enums: dict[str, weakref.ref[Any]] = {}  # dotted name or schema's name -> enum
        self._enum_names: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
        self._registered: weakref.WeakKeyDictionary[type, Declared] = weakref.WeakKeyDictionary()
        self._pending: list[weakref.ref[type]] = []  # declared, and not yet read
        self._classes: dict[str, weakref.ref[type]] = {}  # dotted name -> class
        self._by_name: dict[str, weakref.ref[type]] = {}  # schema name -> class
        self._schemas: weakref.WeakKeyDictionary[type, Schema] = weakref.WeakKeyDictionary()
        self._layouts: weakref.WeakKeyDictionary[type, Layout] = weakref.WeakKeyDictionary()
        # Classes that were once found under their names.
        self._at_home: weakref.WeakSet[type] = weakref.WeakSet()
        # Two classes of one schema's name: the error, the class that has it, the one that wants it.
        self._disputes: list[tuple[SchemaError, weakref.ref[type], weakref.ref[type]]] = []
        self._adapters: weakref.WeakKeyDictionary[type, object] = weakref.WeakKeyDictionary()

    def freeze(self) -> None:
        """Refuse all further registrations in this registry."""
        self._settle()
        self._frozen = True

    def declare(self, cls: type) -> None:
        """Note a class whose head has declared it; it is read at first use."""
        with self._changing():
            self._pending.append(weakref.ref(cls))

    def _register_enum(
        self, cls: enum.EnumMeta, version: int, fields: Iterable[object] | None, schema: str | None
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

    def _enum_for(self, name: str) -> object:
        """Return the registered enum of a schema's name or a current dotted name, or None."""
        for registry in self._lineage:
            reference = registry._enums.get(name)
            cls = reference() if reference is not None else None
            if cls is not None:
                return cls
        return None

    def _enum_name(self, cls: type) -> str | None:
        """Return the name under which the members of a registered enum are saved, or None."""
        for registry in self._lineage:
            name = registry._enum_names.get(cls)
            if name is not None:
                return name
        return None

    def _settle(self) -> None:
        """Read the names of classes that were declared since the last look."""
        if self is not Classes._default and Classes._default._pending:
            Classes._default._settle()  # a class that came by value was noted there first
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
        for registry in self._lineage:
            found = registry._pure.get(what)
            if found is not None:
                return found
            for schema in registry._pure.values():
                if schema.qualname == what:
                    return schema
        return self._implied_schema(what)

    def _implied_schema(self, name: str) -> Schema | None:
        """The schema that is data alone, of a name for which only steps or stamps are registered."""
        return None

    def _implied_names(self) -> Iterable[str]:
        """The names in this registry, parents apart, that may have an implied schema."""
        return ()

    def class_for(self, name: str) -> type | None:
        """Return the declared class of a schema name or a current dotted name."""
        for registry in self._lineage:
            if registry._pending or Classes._default._pending:
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

    def _owner(self, cls: type) -> Classes:
        """The registry of this line in which a class was declared."""
        for registry in self._lineage:
            if cls in registry._registered:
                return registry
        declared = vars(cls).get(DECLARED)
        home = declared.registry if isinstance(declared, Declared) else None
        return home if home is not None and any(home is one for one in self._lineage) else self

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
        for registry in self._lineage:
            registry._settle()
            for name, reference in registry._by_name.items():
                cls = reference()
                if cls is not None and name not in found:
                    found[name] = self._schema_of(cls)
            for name, schema in registry._pure.items():
                found.setdefault(name, schema)
        for registry in self._lineage:
            for name in registry._implied_names():
                implied = self.schema_for(name)
                if implied is not None:
                    found.setdefault(implied.name, implied)
        return [found[name] for name in sorted(found)]

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

"""How the state of a current layout becomes the attributes of an instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from persist import schema as _schema
from persist._envelope import CODEC, FIELDS
from persist._instances import compiled_current
from persist._instances.builtin_bases import (
    has,
)
from persist._instances.constants import ConstantRef, constant_of, unknown_constant
from persist._instances.machinery import is_machinery, refuse_changed, refuse_machinery
from persist._instances.own_setstate import default_setstate, occupied
from persist._instances.taking import StateTaker
from persist._torch_modules.classes import MODULE
from persist._upgrade.state import (
    take_array,
)
from persist.errors import SchemaError
from persist.schema import Field, Part, dotted
from persist.tree import ABSENT, Global, Record, is_slots_pair

__all__ = ["StateSetter", "array_state"]


def array_state(obj: Any, state: object) -> object:
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


class StateSetter(StateTaker):
    """Sets fields, runs converters and validators, and fills in what a state lacks."""

    def _resolved(self, value: object) -> Any:
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

    def _decode(self, obj: object, part: Part, state: object, migrated: bool = False) -> None:
        with occupied(obj):
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

    def _set_fields(self, obj: object, part: Part, state: dict[Any, Any], convert: bool) -> None:
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

    def _put_undeclared(self, obj: object, name: object, value: object, owner: type) -> None:
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

    def _converted(self, obj: object, field: Field, converter: Any, value: object) -> object:
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

    def _put(self, obj: object, attribute: str, value: object) -> None:
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

    def _complete(self, obj: object, given: dict[str, object], validate: bool) -> None:
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

    def _validate(self, obj: object) -> None:
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

    def _attributes_of_codecs(self) -> set[str]:
        """Attributes in addition to those of a codec: the fields of parts without one."""
        return {
            field.attribute
            for part in self.layout.parts
            if part.kind == FIELDS
            for field in part.fields
        }

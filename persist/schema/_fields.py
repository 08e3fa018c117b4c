"""The fields that a class declares: in its own attributes, by attrs, dataclasses, slots and annotations."""

from __future__ import annotations

import dataclasses
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from persist import _annotations
from persist.errors import SchemaError
from persist.schema._declared import DECLARED, Declared, Field, dotted
from persist.schema._private_names import mangled, plain_name
from persist.tree import ABSENT

__all__ = ["infers_fields", "refuse_reused", "said_fields"]


def refuse_reused(name: str, owner: type, cls: type) -> SchemaError:
    """The error for a field whose name a class reserves for a field of older versions."""
    return SchemaError(
        f"the name {name!r} is reserved by {dotted(owner)}: a field of older versions had it.",
        where=f"class {dotted(cls)}",
        remedy="Give the field another name; a step moves the value of older states there "
        "(persist.ops.rename).",
        schema=dotted(cls),
        field=name,
    )


def said_fields(cls: type, declared: Declared | None) -> tuple[dict[str, Field], bool]:
    """Return (attribute -> field, whether it owns undeclared attributes)."""
    inherent = _inherent(cls)
    said = declared.fields if declared is not None else None
    if said is None:
        said = _declaration(cls, "persistent", inherent)
    transient = dict(_entries(cls, _declaration(cls, "transient", inherent) or (), "transient"))
    names: dict[str, Field] = {}
    if said is not None:
        listed = dict(_entries(cls, said, "persistent"))
        for name in listed:
            if listed[name].reserved and name in (inherent or {}):
                raise refuse_reused(name, cls, cls)
        names.update(
            {name: _completed(cls, name, field, inherent) for name, field in listed.items()}
        )
        for name, field in (inherent or {}).items():
            names.setdefault(name, attrs.evolve(field, transient=True))
    elif inherent is not None:
        names.update(inherent)
    for name, field in transient.items():
        found = names.get(name) or _completed(cls, name, field, inherent)
        if field.has_default and not found.has_default:
            found = attrs.evolve(found, default=field.default, factory=field.factory)
        names[name] = attrs.evolve(found, transient=True, origin="")
    if issubclass(cls, defaultdict):
        names.setdefault(
            "default_factory", Field("default_factory", default=None, attribute="default_factory")
        )
    _take_annotations(cls, names, is_plain=said is None and inherent is None)
    is_open = said is None and (inherent is None or (_by_slots(cls) and _has_dict(cls)))
    return {field.attribute: field for field in names.values()}, is_open


def _take_annotations(cls: type, names: dict[str, Field], is_plain: bool) -> None:
    """Complete fields by their annotations: by a `field` in ``Annotated``, and by types where that is wanted."""
    for attribute, written in _annotations.own_annotations(cls).items():
        name = plain_name(attribute, cls)
        known = names.get(name)
        if known is not None and known.attribute != mangled(name, cls):
            known = None
        if known is not None and known.py2 is None:
            names[name] = known = attrs.evolve(known, py2=_text_policy(known.type or written))
        if isinstance(written, str) and written in _BARE and (known is None or not known.annotated):
            continue  # a class of only such annotations is declared quickly
        annotation = _annotations.evaluated(written, cls)
        if annotation is ABSENT:
            if "Annotated" in written and "field(" in written:
                raise SchemaError(
                    f"the annotation of {name!r} declares a field, and cannot be evaluated: {written}.",
                    where=f"class {dotted(cls)}",
                    remedy="Import at run time what it names, not for type checkers only; or declare "
                    'the field in persistent, or in metadata={"persist": ...}.',
                    schema=dotted(cls),
                    field=name,
                )
            continue
        more = [one for one in _annotations.options_in(annotation) if isinstance(one, Field)]
        if more and more[0].reserved:
            if known is not None:
                raise refuse_reused(name, cls, cls)
            names[name] = attrs.evolve(more[0], name=name, attribute=mangled(name, cls))
            continue
        if more and (known is not None or is_plain):
            known = _merged(known or Field(name, attribute=mangled(name, cls)), more[0])
            known = known if known.has_default else _completed(cls, name, known, None)
        if known is not None:
            names[name] = _with_annotation(known, _annotations.read(annotation))
    for name, known in names.items():
        if known.py2 is None and known.type is not None:
            names[name] = attrs.evolve(known, py2=_text_policy(known.type))


_BARE = frozenset(("bool", "bytes", "dict", "float", "int", "list", "str", "np.ndarray"))


def _text_policy(kind: object) -> str | None:
    """What Python 2's ``str`` is in a field of a type, or of an annotation as it is written."""
    if kind in ("bytes", bytes):
        return "bytes"
    return "text" if kind in ("str", str) else None


def _merged(known: Field, more: Field) -> Field:
    """A field with what the `field` of its annotation declares, where it says nothing itself."""
    changes: dict[str, Any] = {"annotated": True, "transient": known.transient or more.transient}
    for option in ("type", "dtype", "shape", "unit", "py2"):
        value = getattr(known, option)
        is_given = value is not None and not (option == "unit" and value == "")
        changes[option] = value if is_given else getattr(more, option)
    if more.has_default and not known.has_default and not more.transient:
        changes.update(default=more.default, factory=more.factory, computed=more.computed)
    return attrs.evolve(known, **changes)


def _with_annotation(known: Field, said: _annotations.Said) -> Field:
    """A field with the types of its annotation, where it asked for them."""
    if not known.annotated:
        return known
    return attrs.evolve(
        known,
        type=said.type if known.type is None else known.type,
        dtype=said.dtype if known.dtype is None else known.dtype,
        shape=said.shape if known.shape is None else known.shape,
    )


def infers_fields(cls: type, declared: Declared | None) -> bool:
    """True if attrs or the dataclass says which fields there are."""
    if declared is not None and declared.fields is not None:
        return False
    inherent = _inherent(cls)
    is_listed = _declaration(cls, "persistent", inherent) is not None
    return inherent is not None and not _by_slots(cls) and not is_listed


def _declaration(cls: type, word: str, inherent: dict[str, Field] | None) -> object:
    """The class's own ``persistent`` or ``transient``, unless it is a field of that name."""
    value = vars(cls).get(word)
    if value is None or word in (inherent or {}):
        return None
    if isinstance(value, str):
        raise SchemaError(
            f"its {word} is the text {value!r}.",
            where=f"class {dotted(cls)}",
            remedy=f"List the names in a tuple: {word} = ({value!r},).",
        )
    return value if isinstance(value, Iterable) else None


def _entries(cls: type, said: Any, word: str) -> Iterator[tuple[str, Field]]:
    """Names and fields of a list of names and `Field`s, or of a mapping to `Field`s or defaults."""
    pairs: Iterable[tuple[Any, Any]]
    pairs = said.items() if isinstance(said, Mapping) else ((entry, ABSENT) for entry in said)
    for key, value in pairs:
        name: Any
        if isinstance(key, Field):
            name, field = key.name, key
        elif isinstance(value, Field):
            name, field = key, attrs.evolve(value, name=key)
        else:
            name, field = key, Field(key, default=value)
        if not isinstance(name, str) or not name.isidentifier():
            raise SchemaError(
                f"its {word} names {name!r}, which cannot be an attribute.",
                where=f"class {dotted(cls)}",
                remedy="List names of attributes.",
            )
        yield name, field


def _completed(cls: type, name: str, field: Field, inherent: dict[str, Field] | None) -> Field:
    """A listed field, completed from attrs, the dataclass or a class attribute."""
    attribute = mangled(name, cls)
    field = attrs.evolve(field, name=name, attribute=attribute)
    known = (inherent or {}).get(name)
    if known is not None and not field.has_default:
        return attrs.evolve(
            field,
            default=known.default,
            factory=known.factory,
            from_self=known._from_self,
            transient=field.transient,
        )
    if not field.has_default:
        static = inspect.getattr_static(cls, attribute, ABSENT)
        if static is not ABSENT and not hasattr(type(static), "__get__"):
            return attrs.evolve(field, default=static)
    return field


def _inherent(cls: type) -> dict[str, Field] | None:
    """The fields that attrs, a dataclass or ``__slots__`` declare; None for a plain class."""
    if "__attrs_attrs__" in vars(cls):
        return {field.name: field for field in _attrs_fields(cls)}
    if "__dataclass_fields__" in vars(cls):
        return {field.name: field for field in _dataclass_fields(cls)}
    if "__slots__" in vars(cls):
        return {field.name: field for field in _slot_fields(cls)}
    return None


def _by_slots(cls: type) -> bool:
    return not {"__attrs_attrs__", "__dataclass_fields__"} & vars(cls).keys()


def _has_dict(cls: type) -> bool:
    return cls.__dictoffset__ != 0


def _attrs_fields(cls: type) -> Iterator[Field]:
    for attribute in vars(cls)["__attrs_attrs__"]:
        default, factory, from_self = attribute.default, None, None
        if default is attrs.NOTHING:
            default = ABSENT
        elif isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            from_self = default.factory if default.takes_self else None
            factory = None if default.takes_self else default.factory
            default = ABSENT
        is_inherited = bool(getattr(attribute, "inherited", False))
        yield _with_metadata(cls, attribute, default, factory, from_self, is_inherited)


def _dataclass_fields(cls: type) -> Iterator[Field]:
    for field in dataclasses.fields(cls):
        default = ABSENT if field.default is dataclasses.MISSING else field.default
        missing = field.default_factory is dataclasses.MISSING
        factory = None if missing else field.default_factory
        # A dataclass takes the very objects that describe its bases' fields.
        is_inherited = any(
            vars(base).get("__dataclass_fields__", {}).get(field.name) is field
            for base in cls.__mro__[1:]
        )
        yield _with_metadata(cls, field, default, factory, None, is_inherited)


def _with_metadata(
    cls: type, field: Any, default: object, factory: object, from_self: object, is_inherited: bool
) -> Field:
    """A field of attrs or a dataclass; ``metadata={"persist": Field(...)}`` adds details."""
    more = field.metadata.get("persist")
    more = Field(**more) if isinstance(more, Mapping) else more or Field()
    if more.has_default and not more.transient:
        default, factory, from_self = more.default, more.factory, None
    return attrs.evolve(
        more,
        name=plain_name(field.name, cls),
        attribute=field.name,
        default=default,
        factory=factory,
        from_self=from_self,
        origin="inherited" if is_inherited else "body",
    )


def _slot_fields(cls: type) -> Iterator[Field]:
    """Slots of the class and of its undeclared bases."""
    for base in cls.__mro__:
        if base is not cls and DECLARED in vars(base):
            continue
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name not in ("__dict__", "__weakref__"):
                yield Field(name, attribute=mangled(name, base), origin="body")

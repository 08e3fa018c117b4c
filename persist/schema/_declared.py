"""The declared state of a class: its fields, and which class of the MRO owns which.

Nothing is read from a class before its first use: decorators such as
``dataclass`` add the fields, and some make the class a second time, after
``__init_subclass__`` has run.
"""

from __future__ import annotations

import array
import copy
import dataclasses
import functools
import inspect
import json
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from persist import _annotations, _units
from persist.errors import SchemaError
from persist.tree import ABSENT

__all__ = [
    "Declared",
    "Field",
    "Layout",
    "Part",
    "Schema",
    "dotted",
    "field",
    "minor_of",
    "read_layout",
    "split_version",
]

# Class whose state `register` was given functions for -> what makes its instances, or None; and
# whether that takes the state.
MAKERS: weakref.WeakKeyDictionary[type, tuple[Callable[..., Any] | None, bool]] = (
    weakref.WeakKeyDictionary()
)
DECLARED = "_persist_declared"  # in the __dict__ of a class: its own declaration
OWN_SETSTATE = "_persist_setstate"  # in the __dict__ of a class: the __setstate__ that it wrote
OWN_GETSTATE = "_persist_getstate"  # likewise: what takes its state, where that is not __getstate__


@attrs.frozen(eq=False)
class Field:
    """One field of a declared state.

    Attributes:
        name: as declared; a private one without its mangling (``__w``).
        default: the value for a state without the field; ABSENT for none.
        factory: makes that value, without arguments.
        computed: makes that value from a dict of the other fields.
        transient: not saved; after a load it has its default (None without one).
        type: a class, or a tuple of them, that values are instances of.
        dtype: the dtype of the array.
        shape: the shape of the array; None in it means any extent.
        attribute: where it is on the instance, as Python mangles it.
        unit: in which its numbers are ("m/s"); "" for none.
        reserved: the name belonged to a field of an older version, and is not to be used again.
        py2: what Python 2's ``str`` becomes in this field; None leaves it to the declared type.
        annotated: whether its annotation states what is not given here.
    """

    name: str = ""
    default: object = attrs.field(default=ABSENT, kw_only=True, repr=False)
    factory: Callable[[], Any] | None = attrs.field(default=None, kw_only=True, repr=False)
    computed: Callable[[dict[str, Any]], Any] | None = attrs.field(
        default=None, kw_only=True, repr=False
    )
    transient: bool = attrs.field(default=False, kw_only=True)
    type: Any = attrs.field(default=None, kw_only=True)
    dtype: Any = attrs.field(default=None, kw_only=True)
    shape: tuple[int | None, ...] | None = attrs.field(default=None, kw_only=True)
    attribute: str = attrs.field(default="", kw_only=True, repr=False)
    unit: str = attrs.field(default="", kw_only=True)
    reserved: bool = attrs.field(default=False, kw_only=True)
    py2: str | Callable[[bytes], Any] | None = attrs.field(default=None, kw_only=True, repr=False)
    annotated: bool = attrs.field(default=False, kw_only=True, repr=False)
    _from_self: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True, repr=False)
    # "inherited" or "body" if attrs, a dataclass or slots declare it; "" if it is listed.
    _origin: str = attrs.field(default="", kw_only=True, repr=False)

    @property
    def has_default(self) -> bool:
        """True if a state may lack it."""
        return (
            self.transient
            or self.default is not ABSENT
            or self.factory is not None
            or self.computed is not None
            or self._from_self is not None
        )

    def fresh(self, fields: dict[str, object], instance: object = None) -> Any:
        """Return the default for an instance whose other fields are these."""
        if self.computed is not None:
            return self.computed(fields)
        if self._from_self is not None:
            return self._from_self(instance)
        if self.factory is not None:
            return self.factory()
        return None if self.default is ABSENT else _own_copy(self.default)

    @property
    def is_checked(self) -> bool:
        """Whether values are compared with the declaration."""
        said = (self.type, self.dtype, self.shape)
        return any(one is not None for one in said) or bool(self.unit)

    @property
    def is_quantity(self) -> bool:
        """Whether its values are quantities of pint or astropy, which are saved as numbers."""
        return bool(self.unit) and self.type is not None and _units.is_quantity_class(self.type)

    def stored(self, value: Any) -> Any:
        """Return a value as it is saved: a quantity as its number."""
        if self.is_quantity and _units.is_quantity(value):
            return _units.stored(value)
        return value

    def live(self, value: Any) -> Any:
        """Return a saved value as it is on the instance: a number as the declared quantity."""
        if not self.is_quantity or value is None or _units.is_quantity(value):
            return value
        return self.type(value, self.unit)

    def fault(self, value: Any) -> str:
        """Return how a value differs from the declaration; "" if it does not."""
        if value is None and isinstance(self.type, tuple) and type(None) in self.type:
            return ""
        if self.unit and (fault := _units.fault_of_unit(value, self.unit)):
            return fault
        if self.type is not None and not isinstance(value, self.type):
            return f"it is a {type(value).__name__}, not a {_type_text(self.type)}"
        if self.dtype is not None and getattr(value, "dtype", None) != np.dtype(self.dtype):
            found = getattr(value, "dtype", None)
            what = f"of dtype {found}" if found is not None else f"a {type(value).__name__}"
            return f"it is {what}, not of dtype {np.dtype(self.dtype)}"
        if self.shape is not None:
            shape = np.shape(value)
            fits = len(shape) == len(self.shape) and all(
                want is None or want == have for want, have in zip(self.shape, shape, strict=True)
            )
            if not fits:
                return f"its shape is {shape}, not {self.shape}"
        return ""

    @property
    def kind(self) -> str:
        """The declared type, dtype, shape and unit as text; part of the fingerprint."""
        parts = (
            "" if self.type is None else _type_text(self.type),
            "" if self.dtype is None else np.dtype(self.dtype).str,
            "" if self.shape is None else str(tuple(self.shape)),
            *((self.unit,) if self.unit else ()),
        )
        return "|".join(parts) if any(parts) else ""


def field(
    *,
    type: Any = None,
    dtype: Any = None,
    shape: tuple[int | None, ...] | None = None,
    unit: str = "",
    default: object = ABSENT,
    factory: Callable[[], Any] | None = None,
    computed: Callable[[dict[str, Any]], Any] | None = None,
    transient: bool = False,
    reserved: bool = False,
    py2: str | Callable[[bytes], Any] | None = None,
) -> Field:
    """Declare the details of one field.

    It is the value of a field in ``persistent`` or ``transient``, the metadata ``persist`` of a
    field of attrs or a dataclass, or is in the annotation::

        class Trace(persist.Versioned, version=2):
            persistent = {
                "samples": persist.field(dtype="f4", shape=(None, 3), unit="m/s"),
                "label": persist.field(py2="latin-1", default=""),
                "gain": persist.field(reserved=True),
            }

        @attrs.define
        class Point(persist.Versioned):
            place: Annotated[NDArray[np.float64], persist.field(shape=(3,), unit="m")]

    What is declared is checked when an instance is saved and when it is loaded. Type, dtype and number
    of axes that are not given are those of the annotation, if there is one (``int | None``,
    ``NDArray[np.float32]``); an annotation of a field without `field` is not checked.

    Args:
        type: a class, or a tuple of them, that values are instances of. A class of quantities of
            pint or astropy, with ``unit``: the numbers are saved, and become quantities again.
        dtype: the dtype of the array.
        shape: the shape of the array; None in it means any extent.
        unit: the unit of the numbers, as pint and astropy spell it; a quantity of either library that
            has another one is refused. Values without a unit are taken to be in this one. The unit is
            listed in the file.
        default: the value for a state without the field; each instance gets a copy of a container.
        factory: makes that value, without arguments.
        computed: makes that value from a dict of the other fields.
        transient: not saved; after a load it has its default (None without one).
        reserved: there is no such field any more, and its name is never to be used again, since older
            files hold another thing under it: a class, or a subclass, that has a field of that name is
            refused.
        py2: what Python 2's ``str`` becomes in this field, whatever the rest of the file does:
            "text", "bytes", an encoding, or a function from bytes; in a list, tuple or dict too.
            Without it, a declared or annotated ``bytes`` or ``str`` decides.

    Returns:
        The declaration, without a name.

    Raises:
        SchemaError: two of ``default``, ``factory`` and ``computed`` are given, or ``reserved`` with
            anything else.
    """
    given = [default is not ABSENT, factory is not None, computed is not None]
    if sum(given) > 1:
        raise SchemaError(
            "a field has more than one of default, factory and computed.",
            remedy="Give the one that makes the value for a state without the field.",
        )
    said = Field(
        default=default, factory=factory, computed=computed, transient=transient, type=type,
        dtype=dtype, shape=shape, unit=unit, reserved=reserved, py2=py2, annotated=True,
    )  # fmt: skip
    if reserved and (any(given) or transient or said.is_checked or py2 is not None):
        raise SchemaError(
            "a reserved name has no value, and so nothing else is declared of it.",
            remedy="Give reserved=True alone.",
        )
    return said


def _own_copy(value: Any) -> object:
    """Return a copy of a default, so that two instances never share a container.

    Only what is mutable is copied: a sentinel or a function inside it keeps its identity.
    """
    kind = type(value)
    if kind in (list, tuple):
        return kind(_own_copy(item) for item in value)
    if kind is dict:
        return {key: _own_copy(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return copy.deepcopy(value)
    if isinstance(value, dict | list | set | deque | bytearray | array.array | np.ndarray):
        made = copy.copy(value)
        if isinstance(made, dict):
            for key, item in list(made.items()):
                made[key] = _own_copy(item)
        elif isinstance(made, list | deque):
            for index, item in enumerate(made):
                made[index] = _own_copy(item)
        return made
    return copy.deepcopy(value) if DECLARED in vars(kind) else value


def _type_text(kind: object) -> str:
    if isinstance(kind, tuple):
        return " or ".join(_type_text(one) for one in kind)
    return str(getattr(kind, "__qualname__", kind))


@attrs.frozen(eq=False, slots=False)
class Schema:
    """The named shape of one class's own state.

    Attributes:
        name: the chosen name; the dotted path of the class at birth by default.
        version: the current version.
        qualname: the current dotted name of the class.
        cls: the class; None for a schema that is data alone (a pack's, or one
            whose class is not here).
        fields: its own fields that are saved; None where they are not declared.
        codec: whether the class's own ``__getstate__`` or ``__setstate__`` defines its state.
        minor: counts changes that older programs can pass over; part of the fingerprint.
    """

    name: str
    version: int
    qualname: str
    cls: type | None = None
    fields: tuple[Field, ...] | None = None
    codec: bool = False
    minor: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its own fields."""
        return tuple(field.name for field in self.fields or ())

    @functools.cached_property
    def fingerprint(self) -> str:
        """Short hash of the declared layout (`docs/envelope.md`)."""
        if self.codec or self.fields is None:
            return ""
        return (
            f"{fingerprint(self.fields)}.{self.minor}" if self.minor else fingerprint(self.fields)
        )


def minor_of(mark: str) -> int:
    """Return the minor version that a fingerprint states; 0 where it states none."""
    number = mark.partition(".")[2]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


def split_version(version: Any) -> tuple[Any, int]:
    """Return the version and the minor version that are given as one number, or as a pair.

    Raises:
        SchemaError: the second of a pair is no number of at least 0.
    """
    if type(version) is not tuple:
        return version, 0
    if len(version) != 2 or type(version[1]) is not int or not 0 <= version[1] < 10**9:
        raise SchemaError(
            f"the version is {version!r}.",
            remedy="Give a positive integer, or a pair (version, minor), the minor from 0 on.",
        )
    return version


def fingerprint(fields: Iterable[Field]) -> str:
    """Return the short hash of a layout."""
    said = sorted([field.name, field.kind] for field in fields)
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


@attrs.frozen(eq=False)
class Declared:
    """The declaration of a class, from its class statement or from `register`.

    Attributes:
        version: the current version.
        schema: the chosen name, or None for the dotted path.
        fields: the fields that `register` was given, or None.
        registry: the registry that the class belongs to.
        layout: the fingerprint that its layout is to have, or None.
        codec: the functions that `register` was given for its state: ``getstate``, ``setstate``, ``new``.
        minor: the minor version.
    """

    version: int = 1
    schema: str | None = None
    fields: Any = None
    registry: Any = None
    layout: str | None = None
    codec: tuple[Any, Any, Any] | None = None
    minor: int = 0


@attrs.define(eq=False)
class Part:
    """What one class of an MRO contributes to the state of an instance.

    Attributes:
        cls: the class.
        schema: its schema.
        kind: "fields", "codec", or "inside" (covered by the codec of a subclass).
        fields: its own fields that are saved; for "inside", those it would save.
        transients: its own fields that are not.
        open: whether it owns every undeclared attribute.
        infers: whether attrs or the dataclass says which fields there are, not the class itself.
        getstate: its codec's half for saving, a plain function, or None.
        setstate: its codec's half for loading, or None.
        quantities: those of its fields whose values are quantities of pint or astropy.
    """

    cls: type
    schema: Schema
    kind: str
    fields: tuple[Field, ...] = ()
    transients: tuple[Field, ...] = ()
    open: bool = False
    infers: bool = False
    getstate: Callable[[Any], Any] | None = None
    setstate: Callable[[Any, Any], Any] | None = None
    quantities: tuple[Field, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.quantities = tuple(field for field in self.fields if field.is_quantity)

    def stored(self, names: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return values of its fields, by their names, as they are saved."""
        known = {field.name: field for field in self.quantities}
        if not known:
            return values
        return tuple(
            known[name].stored(value) if name in known else value
            for name, value in zip(names, values, strict=True)
        )


@attrs.define(eq=False)
class Layout:
    """How the state of a class's instances is put together, base class first.

    Attributes:
        cls: the class.
        parts: one for each declared class of its MRO.
        resources: attribute -> what `resource` declared.
        known: attributes that somebody declares, saved or not.
        doubtful: a base without field list under subclasses that have one.
        codec: whether any part is a codec.
        reserved: attributes whose names are not to be used again.
    """

    cls: type
    parts: tuple[Part, ...]
    resources: dict[str, Any]
    known: frozenset[str]
    doubtful: type | None
    codec: bool = False
    reserved: frozenset[str] = frozenset()

    @property
    def leaf(self) -> Part:
        """The part of the class itself."""
        return self.parts[-1]

    @property
    def private_owners(self) -> tuple[Part, ...]:
        """Bases that state no fields, under a class that states none; they own their private attributes.

        The class itself first among those of one name, to which Python gives the same mangled names.
        """
        if self.codec or not self.leaf.open:
            return ()
        names, found = {"", _owner_name(self.cls)}, []
        for part in reversed(self.parts[:-1]):
            if part.kind == "inside" and _owner_name(part.cls) not in names:
                names.add(_owner_name(part.cls))
                found.append(part)
        return tuple(found)

    def saved(self) -> Iterator[Field]:
        """Yield every declared field that is saved outside a codec."""
        for part in self.parts:
            if part.kind == "fields":
                yield from part.fields


def dotted(cls: type) -> str:
    """Return the dotted name of a class, as pickle writes it."""
    return f"{cls.__module__}.{cls.__qualname__}"


def read_layout(
    cls: type, declared_of: Callable[[type], Declared | None], schema_of: Callable[[type], Schema]
) -> Layout:
    """Read how a class's state is put together.

    Args:
        cls: the class, finished by all its decorators.
        declared_of: what a class's head says, None for one that is not declared.
        schema_of: the schema of a declared class.

    Raises:
        SchemaError: two classes claim a field, or a declaration cannot be understood.
    """
    classes = [base for base in reversed(cls.__mro__) if declared_of(base) is not None]
    said = {base: said_fields(base, declared_of(base)) for base in classes}
    owners = _owners(cls, classes, said)
    parts = _parts(cls, classes, said, owners, schema_of, declared_of)
    _let_codecs_cover(parts)
    for part in parts:
        part.open = part.open and part.kind != "codec"
    doubtful = None
    if not parts[-1].open:
        silent = [
            part
            for part in parts[:-1]
            if part.open and part.kind == "fields" and _has_code(part.cls)
        ]
        doubtful = silent[-1].cls if silent and parts[-1].kind == "fields" else None
    for part in parts[:-1]:
        if part.open and parts[-1].open and part.kind == "fields" and not part.fields:
            part.kind = "inside"  # neither states which attributes are its own
        part.open = False
    resources = {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if getattr(value, "_persist_resource", False)
    }
    known = {
        field.attribute for part in parts for field in (*part.fields, *part.transients)
    } | resources.keys()
    return Layout(
        cls, tuple(parts), resources, frozenset(known), doubtful,
        codec=any(part.kind == "codec" for part in parts),
        reserved=frozenset(
            field.attribute for fields, _ in said.values() for field in fields.values() if field.reserved
        ),
    )  # fmt: skip


def _owners(
    cls: type, classes: list[type], said: dict[type, tuple[dict[str, Field], bool]]
) -> dict[str, type]:
    """Attribute -> the class that owns it: the most basic one that declares it."""
    owners: dict[str, type] = {}
    for base in classes:
        for field in said[base][0].values():
            owner = owners.setdefault(field.attribute, base)
            if owner is not base and said[owner][0][field.attribute].reserved != field.reserved:
                raise _reused(field.name, owner if not field.reserved else base, cls)
            if owner is not base and not issubclass(base, owner):
                raise SchemaError(
                    f"the classes {dotted(owner)} and {dotted(base)} both declare the field "
                    f"{field.name!r}.",
                    where=f"class {dotted(cls)}",
                    remedy="A field belongs to one class: rename one of them, or move it to a "
                    "base that both share.",
                    schema=dotted(cls),
                    field=field.name,
                )
    return owners


def _reused(name: str, owner: type, cls: type) -> SchemaError:
    return SchemaError(
        f"the name {name!r} is reserved by {dotted(owner)}: a field of older versions had it.",
        where=f"class {dotted(cls)}",
        remedy="Give the field another name; a step moves the value of older states there "
        "(persist.ops.rename).",
        schema=dotted(cls),
        field=name,
    )


def _parts(
    cls: type,
    classes: list[type],
    said: dict[type, tuple[dict[str, Field], bool]],
    owners: dict[str, type],
    schema_of: Callable[[type], Schema],
    declared_of: Callable[[type], Declared | None],
) -> list[Part]:
    latest: dict[str, Field] = {}  # a subclass that declares a field again may change its default
    for base in classes:
        for field in said[base][0].values():
            known = latest.get(field.attribute)
            if known is not None and field._origin == "inherited":
                continue  # attrs and dataclasses repeat the fields of a base; the base's declaration wins
            if known is not None and known.transient and field._origin:
                field = attrs.evolve(field, transient=True)  # until `persistent` lists it
            latest[field.attribute] = field
    parts = []
    for base in classes:
        own = [
            attrs.evolve(latest[field.attribute], name=field.name)
            for field in said[base][0].values()
            if owners[field.attribute] is base and not field.reserved
        ]
        declared = declared_of(base)
        given = None if declared is None else declared.codec
        getstate, setstate = _codec(base, set(classes)) if given is None else given[:2]
        parts.append(
            Part(
                base,
                schema_of(base),
                "codec" if getstate is not None or setstate is not None else "fields",
                tuple(field for field in own if not field.transient),
                tuple(field for field in own if field.transient),
                said[base][1],
                _infers(base, declared_of(base)),
                getstate,
                setstate,
            )
        )
    return parts


def _let_codecs_cover(parts: list[Part]) -> None:
    """A codec covers the whole state of its class, including that of its bases."""
    for position in range(len(parts) - 1, -1, -1):
        part = parts[position]
        if part.kind != "codec":
            continue
        for other in parts[:position]:
            if issubclass(part.cls, other.cls):
                other.kind = "inside"


# The declared fields of a class.


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
                raise _reused(name, cls, cls)
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
                raise _reused(name, cls, cls)
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


def _text_policy(kind: Any) -> str | None:
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


def _infers(cls: type, declared: Declared | None) -> bool:
    """True if attrs or the dataclass says which fields there are."""
    if declared is not None and declared.fields is not None:
        return False
    inherent = _inherent(cls)
    is_listed = _declaration(cls, "persistent", inherent) is not None
    return inherent is not None and not _by_slots(cls) and not is_listed


def _declaration(cls: type, word: str, inherent: dict[str, Field] | None) -> Any:
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
    cls: type, field: Any, default: object, factory: Any, from_self: Any, is_inherited: bool
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


def _has_code(cls: type) -> bool:
    """True if a class body has functions that could set attributes."""
    return any(
        isinstance(value, types.FunctionType) and name != "__setstate__"
        for name, value in vars(cls).items()
    )


# Private names.


def mangled(name: str, cls: type) -> str:
    """Return a private name as Python mangles it in the body of a class."""
    if not name.startswith("__") or name.endswith("__"):
        return name
    owner = _owner_name(cls)
    return f"_{owner}{name}" if owner else name


def private_prefix(cls: type) -> str:
    """Return what the private names of a class begin with, as Python mangles them."""
    return mangled("__x", cls)[:-1]


def _owner_name(cls: type) -> str:
    """The name of a class as Python puts it into private names."""
    return cls.__name__.lstrip("_")


def plain_name(attribute: str, cls: type) -> str:
    """Return an attribute's name as the body of its class has it."""
    return str(demangled(attribute, (cls.__name__,)))


def demangled(attribute: object, owners: Iterable[str]) -> Any:
    """Return the name without the mangling by a class of one of these names."""
    if type(attribute) is str and attribute.startswith("_") and not attribute.startswith("__"):
        for owner in owners:
            prefix = f"_{owner.lstrip('_')}__"
            if attribute.startswith(prefix) and len(attribute) > len(prefix):
                return attribute[len(prefix) - 2 :]
    return attribute


# Codecs.


def _codec(cls: type, layers: set[type]) -> tuple[Any, Any]:
    """The ``__getstate__`` and ``__setstate__`` that a class wrote, or took from an undeclared base."""
    covered = {base for layer in layers - {cls} if issubclass(cls, layer) for base in layer.__mro__}
    getstate = setstate = None
    for base in cls.__mro__:
        if base is not cls and base in covered:
            continue
        own = vars(base)
        if getstate is None:
            getstate = own.get(OWN_GETSTATE) or _written(own.get("__getstate__"))
        if setstate is None:
            setstate = own.get(OWN_SETSTATE) or _written(own.get("__setstate__"))
    return getstate, setstate


def _written(function: object) -> object:
    """A function that somebody wrote: not a builtin, not one that attrs or dataclasses made."""
    if not isinstance(function, types.FunctionType) or hasattr(function, "_persist_own"):
        return None
    if function.__module__ == "dataclasses" or function.__code__.co_name in _GENERATED:
        return None
    return function


_GENERATED = frozenset(
    ("slots_getstate", "slots_setstate", "_dataclass_getstate", "_dataclass_setstate")
)


def is_written(function: object) -> bool:
    """True if a ``__getstate__`` or ``__setstate__`` is the class's own, not a generated one."""
    return _written(function) is not None

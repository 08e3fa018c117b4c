"""What a class declares: a field, its schema, its parts and their layout."""

from __future__ import annotations

import array
import copy
import functools
import json
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import numpy as np

from persist import _units
from persist.errors import SchemaError
from persist.schema._private_names import owner_name
from persist.tree import ABSENT

__all__ = [
    "DECLARED",
    "MAKERS",
    "Declared",
    "Field",
    "Layout",
    "Part",
    "Schema",
    "dotted",
    "field",
    "fingerprint",
    "minor_of",
    "split_version",
]

# Class whose state `register` was given functions for -> what makes its instances, or None; and
# whether that takes the state.
MAKERS: weakref.WeakKeyDictionary[type, tuple[Callable[..., Any] | None, bool]] = (
    weakref.WeakKeyDictionary()
)
DECLARED = "_persist_declared"  # in the __dict__ of a class: its own declaration


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
    _from_self: Callable[[Any], object] | None = attrs.field(default=None, kw_only=True, repr=False)
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

    def live(self, value: object) -> Any:
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
    type: object = None,
    dtype: object = None,
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


def split_version(version: object) -> tuple[Any, int]:
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
        names, found = {"", owner_name(self.cls)}, []
        for part in reversed(self.parts[:-1]):
            if part.kind == "inside" and owner_name(part.cls) not in names:
                names.add(owner_name(part.cls))
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

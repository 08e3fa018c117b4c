"""The registry: schemas, aliases, stamps, migrations, constants, and how foreign classes look.

A registry is knowledge; it reads no file and changes no state. There is a
default one, on which the functions of this module act, and any number of
others; one may have parents, which are asked after it. Reading is safe from any
thread; what is registered goes in under a lock and replaces, never edits, what
readers may be holding.
"""

from __future__ import annotations

import enum
import importlib
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from persist import ops as _ops
from persist.errors import SchemaError
from persist.registry._classes import Classes
from persist.registry._constants import Constants
from persist.registry._declarations import Alias, Migration, Stamp, call_site
from persist.registry._foreign import Foreign
from persist.registry._names import check_version, given_codec, pure_fields
from persist.registry._stamps import Stamps
from persist.schema import MAKERS, Declared, Schema, dotted

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

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type | str)
_P = ParamSpec("_P")
_StampFunction = TypeVar("_StampFunction", bound=Callable[[Any], int | str | bytes | None])

_latest: weakref.WeakValueDictionary[str, Registry] = weakref.WeakValueDictionary()


class Registry(Foreign, Stamps, Constants):
    """Knowledge about classes; any number of them, a default one among them.

    Each kind of knowledge has a module and a class of its own, which this one joins.

    Args:
        name: for messages.
        parents: registries that are asked after this one.
    """

    parents: tuple[Registry, ...]

    def __init__(self, name: str, parents: tuple[Registry, ...] = ()) -> None:
        super().__init__(name, parents)
        # The treatment of a file whose layout differs from the current one at the same version: "error", "warn"
        # or "ignore"; None leaves it to the parents, and to "error" in the end.
        self.layout_policy: LayoutPolicy | None = None
        # Of the packs of one file: whether the file names a class of `has_instances`.
        self.makes_instances = False
        _latest[name] = self

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

    def register(
        self,
        cls: _C,
        *,
        version: int = 1,
        fields: Iterable[object] | None = None,
        schema: str | None = None,
        release: str = "",
        layouts: Mapping[int, object] | None = None,
        getstate: Callable[[Any], object] | None = None,
        setstate: Callable[[Any, Any], object] | None = None,
        new: Callable[..., object] | None = None,
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
            self._add_released(name, version, release, call_site("<releases>"))
        if layouts is not None:
            self._add_shapes(name, layouts, call_site("<layouts>"))
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

    def upgrade(
        self,
        state: object,
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
Classes._default = default_registry
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
    layouts: Mapping[int, object] | None = None,
    getstate: Callable[[Any], object] | None = None,
    setstate: Callable[[Any, Any], object] | None = None,
    new: Callable[..., object] | None = None,
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

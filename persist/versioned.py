"""`Versioned`: a class whose pickles state their schema and its version.

The mixin owns ``__reduce_ex__`` and ``__setstate__``: it writes an envelope
(`docs/envelope.md`) around the state, and upgrades whatever state comes in, also
one from before the class inherited it. A class's own ``__getstate__`` and
``__setstate__`` are the codec of its state, inside the envelope.

For who builds objects of trees, four functions, called in this order for each
record, so that cycles work:

    contents = unpacked(cls, record)                 # arguments, items, array: record -> parts
    obj = make(cls, contents.args, contents.kwargs, contents.array)     # no __init__ runs
    fill(obj, contents.listitems, contents.dictitems)                   # when the items are built
    restore_state(obj, record.state, ...)            # when what the state holds is built
    finish(obj)                                      # resources, then __loaded__()

and ``flatten_state(obj)`` the other way.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from typing import Any

from persist import schema as _schema
from persist._instances import sent
from persist._instances.adapter import (
    adapter_of,
    finish,
    finishing,
    flatten_state,
    restore_state,
)
from persist._instances.builtin_bases import Contents, fill, make, unpacked
from persist._instances.builtin_bases import make_array as _array
from persist._instances.constants import constant_of, refusal
from persist._instances.constants import make_constant as _constant
from persist._instances.own_setstate import default_setstate, is_busy
from persist._instances.resources import Resource, loading_from, resource
from persist._instances.taking import Flat
from persist._torch_modules.classes import is_module_class
from persist._upgrade.downgrade import Downgraded, downgrade_record
from persist.errors import SchemaError
from persist.registry import Registry, default_registry
from persist.registry._declarations import Origin, call_site
from persist.registry._enums import make_member as _member
from persist.schema import Declared, split_version
from persist.tree import Global, Record

__all__ = [
    "Contents",
    "Downgraded",
    "Flat",
    "Resource",
    "Versioned",
    "constant_of",
    "downgrade",
    "fill",
    "finish",
    "finishing",
    "flatten_state",
    "loading_from",
    "make",
    "refusal",
    "resource",
    "restore_state",
    "unpacked",
]


class Versioned:
    """Mix this in, and pickles of the class stay loadable when its state changes.

        class Layer(persist.Versioned, version=3, schema="lab.Layer"):
            persistent = ("weights", "bias")        # or attrs, a dataclass, __slots__

    The version counts the changes of the class's own state, 1 at first; each
    class of an MRO has its own. The schema's name is the dotted path of the
    class unless it is chosen, and once files bear it, it stays, wherever the
    class moves.

    Which attributes are saved: those that ``persistent`` lists, else the fields
    of attrs or the dataclass, else ``__slots__``, else all. A class that has a
    ``__getstate__`` or ``__setstate__`` of its own goes by these. ``transient = ("cache",)``
    are not saved and have their default, or None, after a load.

    A method ``__loaded__(self)`` is called once after each load.

    Args:
        version: of the class's own state. A pair, ``(3, 1)``, has a minor version, which counts changes
            that only add fields with defaults: programs of the same version and an older minor read such
            files, and keep the fields that they do not know.
        schema: the name of its schema.
        registry: where it belongs; None is the default registry.
        layout: the fingerprint of its layout (``persist lock --write-layouts``); where the layout is
            another, the class statement fails.
        release: the releases of the package that write this version (PEP 440: ``>=1.2,<2``).
        layouts: of older versions, by which states without a version are distinguished: version -> a tuple
            of names, a set of names, or what else `Registry.older_layouts` takes.
    """

    __slots__ = ()

    _persist_adapter: object = None

    def __init_subclass__(
        cls,
        *,
        version: int | tuple[int, int] | None = None,
        schema: str | None = None,
        registry: Registry | None = None,
        layout: str | None = None,
        release: str = "",
        layouts: Mapping[int, object] | None = None,
        **keywords: object,
    ) -> None:
        super().__init_subclass__(**keywords)
        _declare(cls, version, schema, registry, layout)
        if layouts is not None:
            declared = vars(cls)[_schema.DECLARED]
            name = declared.schema or _schema.dotted(cls)
            declared.registry._add_shapes(name, layouts, call_site("<layouts>", __file__))
        if release:
            _declare_release(cls, release, call_site("<releases>", __file__))

    def __reduce_ex__(self, protocol: object) -> Any:
        return adapter_of(type(self)).reduce(self)

    __reduce_ex__._persist_own = True  # type: ignore[attr-defined]

    def __setstate__(self, state: object) -> None:
        if is_busy(self):
            default_setstate(self, state)
        else:
            adapter_of(type(self)).load(self, state)

    __setstate__._persist_own = True  # type: ignore[attr-defined]

    def __copy__(self) -> object:
        return adapter_of(type(self)).copied(self, None)

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        return adapter_of(type(self)).copied(self, memo)


def _declare_enum(
    cls: enum.EnumMeta, version: int | None, schema: str | None, registry: Registry | None
) -> None:
    """Register an enum, whose members pickle themselves by name and are what they are in copies."""
    home = default_registry if registry is None else registry
    home.register(cls, version=1 if version is None else version, schema=schema)

    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807
        name = self._name_
        if name in type(self)._member_map_:
            return _member, (type(self), name)
        return type(self), (self._value_,)

    def itself(self: object, memo: object = None) -> Any:
        return self

    methods: dict[str, object] = {
        "__reduce_ex__": __reduce_ex__,
        "__copy__": itself,
        "__deepcopy__": itself,
    }
    for name, method in methods.items():
        setattr(cls, name, method)


def _without_minor(cls: type, version: int | tuple[int, int] | None) -> int | None:
    """Return a version that has no minor part.

    Raises:
        SchemaError: it has one.
    """
    if isinstance(version, tuple):
        raise SchemaError(
            f"its version is {version!r}; an enum or a module of torch has no minor versions.",
            where=cls.__qualname__,
            remedy="Give one whole number.",
        )
    return version


def _declare(
    cls: type,
    version: int | tuple[int, int] | None,
    schema: str | None,
    registry: Registry | None,
    layout: str | None = None,
) -> None:
    """Note what the head of a class says; a decorator may make the class a second time without it."""
    if isinstance(cls, enum.EnumMeta):
        _declare_enum(cls, _without_minor(cls, version), schema, registry)
        return
    before = vars(cls).get(_schema.DECLARED)
    if version is None and schema is None and registry is None and isinstance(before, Declared):
        declared = before
    else:
        if is_module_class(cls):
            from persist._instances.modules import version_of

            version = version_of(cls, _without_minor(cls, version))
        version, minor = split_version(1 if version is None else version)
        if type(version) is not int or version < 1:
            raise SchemaError(
                f"its version is {version!r}.",
                where=f"class {cls.__module__}.{cls.__qualname__}",
                remedy="A version is a positive integer that counts the changes of the state.",
            )
        if schema is not None and not (type(schema) is str and schema):
            raise SchemaError(
                f"its schema is {schema!r}.",
                where=f"class {cls.__module__}.{cls.__qualname__}",
                remedy='A schema\'s name is a text, such as "lab.Layer".',
            )
        home = default_registry if registry is None else registry
        declared = Declared(version, schema, None, home, layout, minor=minor)
        setattr(cls, _schema.DECLARED, declared)
    cls._persist_adapter = None  # type: ignore[attr-defined]
    _take_setstate(cls)
    if is_module_class(cls):
        from persist._instances import modules

        modules.declare(cls, declared)
    declared.registry.declare(cls)
    if declared.layout is not None:
        from persist._layouts.checks import check_head

        check_head(cls, declared.layout, declared.version, declared.registry)


def _declare_release(cls: type, release: str, place: Origin) -> None:
    """Note the releases that write the version in the head of a class."""
    declared = vars(cls).get(_schema.DECLARED)
    if not isinstance(declared, Declared):
        raise SchemaError(
            f"it has release={release!r}, and the members of an enum have no versions.",
            where=f"class {cls.__module__}.{cls.__qualname__}",
            remedy="Leave release= out.",
        )
    name = declared.schema or _schema.dotted(cls)
    declared.registry._add_released(name, declared.version, release, place)


def _take_setstate(cls: type) -> None:
    """Replace the ``__setstate__`` of a class by ours, which pickle calls, and keep the original.

    Every class gets one in its own ``__dict__``, since a dataclass decorator
    puts its own where it sees none.
    """
    own = vars(cls).get("__setstate__")
    if hasattr(own, "_persist_own"):
        return  # made a second time by a decorator
    if own is None or not _schema.is_written(own):
        inherited = None
        for base in cls.__mro__[1:]:
            inherited = vars(base).get("__setstate__")
            if hasattr(inherited, "_persist_own") or _schema.is_written(inherited):
                break
        if hasattr(inherited, "_persist_own"):
            cls.__setstate__ = inherited  # type: ignore[attr-defined]
            return
        own = inherited
    setattr(cls, _schema.OWN_SETSTATE, own)
    cls.__setstate__ = _intercepting(own)  # type: ignore[attr-defined]


def _intercepting(original: Any) -> Any:
    @functools.wraps(original)
    def __setstate__(self: Any, state: Any) -> None:  # noqa: N807
        if is_busy(self):  # called by the __setstate__ of a subclass, inside a load
            original(self, state)
        else:
            adapter_of(type(self)).load(self, state)

    __setstate__._persist_own = True  # type: ignore[attr-defined]
    return __setstate__


# Names that are written into files, like _array and _constant: they must stay (docs/envelope.md).


def _set_state(obj: object, state: object) -> None:
    """Apply an envelope to an instance of a registered class."""
    adapter_of(type(obj)).load(obj, state)


def downgrade(obj: object, to: int | Mapping[str, int]) -> Downgraded:
    """Return an object's state, or a record, as an older version had it.

    Args:
        obj: an instance of a declared class, or a `Record` at today's version.
        to: the version of its own schema; or schema name -> version, for its
            bases too.

    Returns:
        ``value``, a `Record` of the older version, and ``losses``, what it
        cannot hold, in words.

    Raises:
        IrreversibleError: a step on the way has no inverse.
        MissingMigrationError: no path leads there.
    """
    if isinstance(obj, Record):
        return downgrade_record(obj, to)
    adapter = adapter_of(type(obj))
    flat = adapter.flat(obj)
    record = Record(
        Global(adapter.cls.__module__, adapter.cls.__qualname__),
        flat.state,
        args=flat.args,
        kwargs=flat.kwargs,
        listitems=flat.listitems,
        dictitems=flat.dictitems,
        version=adapter.schema.version,
    )
    return downgrade_record(record, to, adapter.registry)


_FROZEN = (_array, _constant, _member, _set_state)
_KEPT = sent  # imported so that pickle finds the functions of that module

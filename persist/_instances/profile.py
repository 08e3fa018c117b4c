"""What kind of class a declared class is, as far as saving and loading its instances depend on it.

Computed once for each class, when its adapter is made. Every route, general or compiled, asks this
profile whether it can take the instances of a class; nothing else decides it.
"""

from __future__ import annotations

import types
from collections import Counter
from typing import Any

import attrs

from persist._envelope import FIELDS
from persist._instances.builtin_bases import (
    builtin_of,
    can_make,
    converters_of,
    makes_itself,
    validators_of,
    written_names,
)
from persist.schema import DECLARED, MAKERS, Layout

__all__ = ["ClassProfile", "profile_of"]


@attrs.frozen(eq=False, kw_only=True)
class ClassProfile:
    """The kind of one class.

    Attributes:
        builtin: the class of the MRO that is implemented in C and holds data of its own.
        reads_args: a built-in exception, which reads its arguments in ``__init__``.
        makes_itself: its ``__new__`` takes no arguments that a file would have to state.
        is_plain: an instance is made by ``object.__new__`` without arguments.
        is_declared: declared in its class statement, not by `Registry.register`.
        is_local: defined in a function or in the script that runs, so that no file can name it.
        has_codec: a class of the MRO defines its state by ``__getstate__`` or ``__setstate__``.
        is_open: the names of its fields are not declared.
        has_open_base: those of a class of the MRO are not.
        is_fields: each class of the MRO has a state of its own, of declared fields.
        has_one_part: no base is declared.
        is_doubtful: a base without field list may own undeclared attributes.
        is_checked: values are compared with declared types.
        completes: something is done after the fields are set: defaults of transients, checks, hashes.
        has_hooks: resources or ``__loaded__``.
        converters: attribute -> its converter, for upgraded values.
        validators: of attrs.
        caches_hash: attrs stores the hash of an instance.
        own_reduce: the ``__reduce__`` that the class wrote, or None.
        has_getattr: it is called for missing attributes.
        hashes_fields: a ``__hash__`` of its own may read fields.
    """

    builtin: type
    reads_args: bool
    makes_itself: bool
    is_plain: bool
    is_declared: bool
    is_local: bool
    has_codec: bool
    is_open: bool
    has_open_base: bool
    is_fields: bool
    has_one_part: bool
    is_doubtful: bool
    is_checked: bool
    completes: bool
    has_hooks: bool
    converters: dict[str, Any]
    validators: Any
    caches_hash: bool
    own_reduce: Any
    has_getattr: bool
    hashes_fields: bool

    @property
    def is_known_by_header(self) -> bool:
        """Whether the header of an envelope alone tells that a state is current and complete."""
        return not self.is_open and (self.has_codec or self.is_fields)

    @property
    def is_bare(self) -> bool:
        """Whether loading a current state is to set fields, or to call the codec, and nothing else."""
        return self.is_known_by_header and not (self.completes or self.has_hooks)

    @property
    def is_record_like(self) -> bool:
        """Whether the state is the declared fields of this class and nothing else, in both directions."""
        return (
            self.has_one_part
            and self.is_fields
            and self.is_plain
            and self.reads_plainly
            and not (self.is_open or self.has_getattr)
        )

    @property
    def reads_plainly(self) -> bool:
        """Whether saving is to read attributes, or to call the codec, and nothing else."""
        return self.own_reduce is None and not (self.is_checked or self.is_doubtful)


def profile_of(cls: type, layout: Layout) -> ClassProfile:
    """Return the profile of a declared class.

    Raises:
        SchemaError: subclasses of its built-in base are not supported.
    """
    builtin = builtin_of(cls)
    written = written_names(cls)
    validators = validators_of(cls)
    own_hash: Any = cls.__hash__
    is_checked = bool(layout.reserved) or any(field.is_checked for field in layout.saved())
    caches_hash = hasattr(cls, "_attrs_cached_hash")
    return ClassProfile(
        builtin=builtin,
        # Built-in exceptions read their arguments in __init__, which subclasses may override.
        reads_args=issubclass(builtin, BaseException) and builtin not in (BaseException, Exception),
        makes_itself=makes_itself(cls) or issubclass(builtin, BaseException),
        is_plain=cls in MAKERS
        or (
            builtin is object
            and written.isdisjoint(("__getnewargs__", "__getnewargs_ex__"))
            and can_make(cls)
        ),
        is_declared=DECLARED in vars(cls),
        is_local="<locals>" in cls.__qualname__ or cls.__module__ == "__main__",
        has_codec=layout.codec,
        is_open=layout.leaf.open,
        has_open_base=any(part.open for part in layout.parts),
        is_fields=all(part.kind == FIELDS for part in layout.parts),
        has_one_part=len(layout.parts) == 1,
        is_doubtful=layout.doubtful is not None,
        is_checked=is_checked,
        completes=bool(
            is_checked or validators or caches_hash or any(part.transients for part in layout.parts)
        ),
        has_hooks=bool(layout.resources) or getattr(cls, "__loaded__", None) is not None,
        converters=converters_of(cls),
        validators=validators,
        caches_hash=caches_hash,
        own_reduce=_own_reduce(cls),
        has_getattr=hasattr(cls, "__getattr__"),
        hashes_fields=own_hash is not None and own_hash is not object.__hash__,
    )


def _own_reduce(cls: type) -> Any:
    """The ``__reduce__`` that a class wrote, or None."""
    return next(
        (
            found
            for base in cls.__mro__
            if base is not Counter
            and isinstance(found := vars(base).get("__reduce__"), types.FunctionType)
        ),
        None,
    )

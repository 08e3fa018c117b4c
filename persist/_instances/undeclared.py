"""Attributes that no class declares, on instances of classes whose fields are listed.

Three kinds: fields of a file that ``unknown="keep"`` put on the instance, which are saved with it; those
that the class set by itself (in ``__post_init__``, say), which are not saved, and reported once for each
class and name; and what Python keeps there (``cached_property``, names with two underscores).
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

from persist._envelope import FIELDS
from persist.errors import SchemaError, UnsavedAttributeWarning
from persist.registry._declarations import user_stacklevel
from persist.schema import DECLARED, Layout, dotted, mangled, plain_name

__all__ = ["Undeclared", "keep", "kept_by", "undeclared_by"]

# id of an instance -> it, and the attributes that came from a file with unknown="keep"
_kept: dict[int, tuple[weakref.ref[object], tuple[str, ...]]] = {}


def keep(obj: object, attributes: Iterable[str]) -> None:
    """Note which attributes of an instance are saved though no class declares them.

    `persist._instances.adapter` notes the same of its copies.

    Raises:
        SchemaError: the instance cannot be referred to weakly, so nothing can be noted about it.
    """
    names, key = tuple(attributes), id(obj)
    try:
        ref = weakref.ref(obj, lambda _: _kept.pop(key, None))
    except TypeError as error:
        raise SchemaError(
            f"the fields {', '.join(map(repr, names))} cannot be kept: {error}.",
            where=f"class {dotted(type(obj))}",
            remedy='Declare them, add "__weakref__" to its __slots__, or load with unknown="drop".',
        ) from error
    _kept[key] = (ref, names)


def kept_by(obj: object) -> tuple[str, ...]:
    """Return the attributes of an instance that ``unknown="keep"`` put there."""
    ref, names = _kept.get(id(obj), (None, ()))
    return names if ref is not None and ref() is obj else ()


def undeclared_by(layout: Layout) -> Undeclared | None:
    """Return what is known of the undeclared attributes of a class; None if it can have none."""
    leaf = layout.leaf
    if leaf.kind != FIELDS or leaf.open or not layout.cls.__dictoffset__:
        return None
    return Undeclared(layout.cls, layout)


class Undeclared:
    """The undeclared attributes of the instances of one class.

    Args:
        cls: the class; its fields are listed.
        layout: of the class.

    Attributes:
        known: names that need no report; those that were reported are added.
        count: how many attributes of a complete instance are in its ``__dict__``.
        reports: whether attributes that are not saved are reported; otherwise the class lists what is
            saved, or has a codec.
        has_kept: whether any instance was loaded with ``unknown="keep"``.
        kept: for a class that is registered only, whose copies nobody can follow, the attributes that were
            kept on any instance.
    """

    def __init__(self, cls: type, layout: Layout) -> None:
        self._cls = cls
        self.known = {*layout.known}
        self.count = sum(not _is_slot(cls, field.attribute) for field in layout.saved())
        self.reports = any(part.infers for part in layout.parts) and not layout.codec
        self.has_kept = False
        self.kept: set[str] = set()
        self._is_registered = DECLARED not in vars(cls)

    def keep(self, obj: object, names: Iterable[str]) -> None:
        """Note that undeclared fields were put on an instance."""
        self.has_kept = True
        attributes = [mangled(name, self._cls) for name in names]
        if self._is_registered:
            self.kept.update(attributes)
        else:
            keep(obj, attributes)

    def saved(self, obj: object) -> dict[str, Any]:
        """Return what is saved of the undeclared attributes, by name; report the others once.

        Warns:
            UnsavedAttributeWarning: some are not saved.
        """
        found = obj.__dict__
        if len(found) == self.count and not self.has_kept:
            return {}
        others = found.keys() - self.known
        if not others and not self.has_kept:
            return {}
        kept = [name for name in found if name in self.kept or name in kept_by(obj)]
        if self.reports and others:
            self._report([name for name in found if name in others and name not in kept])
        return {plain_name(name, self._cls): found[name] for name in kept}

    def is_odd(self, obj: object) -> bool:
        """True if `saved` has something to do for an instance."""
        found = obj.__dict__
        return len(found) != self.count and not found.keys() <= self.known

    def any_odd(self, objects: list[object]) -> bool:
        """True if `saved` has something to do for any of these instances."""
        return {*map(len, map(vars, objects))} != {self.count} and any(map(self.is_odd, objects))

    def _report(self, names: list[str]) -> None:
        self.known.update(names)
        lost = [name for name in names if not _is_pythons(self._cls, name)]
        if lost:
            listed = ", ".join(map(repr, lost))
            warnings.warn(
                f"class {dotted(self._cls)}: its instances have attributes that are no fields and are not "
                f"saved: {listed}. Declare them as fields; or, to have them None after a load, transient = "
                f"({''.join(f'{plain_name(name, self._cls)!r}, ' for name in lost).rstrip()}).",
                UnsavedAttributeWarning,
                stacklevel=user_stacklevel(),
            )


def _is_slot(cls: type, attribute: str) -> bool:
    return isinstance(inspect.getattr_static(cls, attribute, None), types.MemberDescriptorType)


def _is_pythons(cls: type, name: str) -> bool:
    """True for names with two underscores, and for what a descriptor of the class keeps there."""
    if (name.startswith("__") and name.endswith("__")) or name.startswith("_attrs_"):
        return True
    found = inspect.getattr_static(cls, name, None)
    return isinstance(found, functools.cached_property) or (
        hasattr(type(found), "__get__")
        and not isinstance(found, types.FunctionType | staticmethod | classmethod)
    )

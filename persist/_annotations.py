"""What the annotation of a field states of its values: a type, a dtype, a number of axes.

Annotations of `numpy.typing` and `numpy.ndarray` state dtypes (``NDArray[np.float32]``), and the
shape of an ``ndarray[tuple[int, int], ...]`` a number of axes. What is in ``Annotated[T, ...]`` is
given as it is.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import Any

import attrs
import numpy as np

from persist.tree import ABSENT

__all__ = ["Said", "evaluated", "options_in", "own_annotations", "read"]


@attrs.frozen
class Said:
    """What an annotation states.

    Attributes:
        type: a class or a tuple of them; None where it states none that ``isinstance`` can check.
        dtype: of arrays; None where it states none, or an abstract one (``np.floating``).
        shape: a None for each axis of arrays; None where it states no number of axes.
    """

    type: Any = None
    dtype: Any = None
    shape: tuple[int | None, ...] | None = None


def own_annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of a class's own body; as text where they cannot be evaluated."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return dict(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return dict(inspect.get_annotations(cls))


def evaluated(annotation: object, cls: type) -> object:
    """Return an annotation of a class that is text as what it means; ABSENT where that is not known.

    What its module imports for type checkers only is not known.
    """
    if not isinstance(annotation, str):
        return annotation
    module = sys.modules.get(cls.__module__)
    holder = types.SimpleNamespace(__annotations__={"field": annotation})
    try:
        return typing.get_type_hints(
            holder, vars(module) if module else {}, dict(vars(cls)), include_extras=True
        )["field"]
    except Exception:  # evaluating an annotation may raise anything
        return ABSENT


def options_in(annotation: object) -> tuple[object, ...]:
    """Return what ``Annotated`` gives with a type; () for any other annotation."""
    return tuple(getattr(annotation, "__metadata__", ()))


def read(annotation: Any) -> Said:
    """Return what an evaluated annotation states of the values of a field."""
    if hasattr(annotation, "__metadata__"):  # Annotated
        return read(annotation.__origin__)
    if annotation is None:
        return Said(type(None))
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _joined([read(one) for one in typing.get_args(annotation)])
    if origin is typing.Literal:
        return Said(tuple(dict.fromkeys(map(type, typing.get_args(annotation)))))
    if origin is np.ndarray:
        return _array(typing.get_args(annotation))
    if isinstance(origin, type):
        return Said(origin)
    if hasattr(annotation, "__supertype__"):  # NewType
        return read(annotation.__supertype__)
    if not isinstance(annotation, type) or annotation is object:
        return Said()
    if getattr(annotation, "_is_protocol", False):
        return Said()
    return Said(_WIDER.get(annotation, annotation))


# What type checkers take where a wider number is annotated (PEP 484).
_WIDER: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}


def _array(args: tuple[Any, ...]) -> Said:
    axes = typing.get_args(args[0]) if args else ()
    shape = None if not axes or Ellipsis in axes else (None,) * len(axes)
    scalars = typing.get_args(args[1]) if len(args) > 1 else ()
    scalar = scalars[0] if scalars else None
    dtype = None
    if isinstance(scalar, type) and issubclass(scalar, np.generic):
        try:
            dtype = np.dtype(scalar)
        except TypeError:  # an abstract one
            dtype = None
        if scalar in _ABSTRACT or (dtype is not None and dtype.itemsize == 0):
            dtype = None  # of text and bytes any length
    return Said(np.ndarray, dtype, shape)


_ABSTRACT = frozenset(
    (np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger, np.inexact,
     np.floating, np.complexfloating, np.flexible, np.character)
)  # fmt: skip


def _joined(said: list[Said]) -> Said:
    """What a union states: all types, and the dtype and shape of its only array."""
    if any(one.type is None for one in said):
        return Said()
    kinds: dict[type, None] = {}
    for one in said:
        kinds.update(dict.fromkeys(one.type if isinstance(one.type, tuple) else (one.type,)))
    arrays = [one for one in said if one.type is np.ndarray]
    only = arrays[0] if len(arrays) == 1 and {*kinds} <= {np.ndarray, type(None)} else Said()
    return Said(tuple(kinds), only.dtype, only.shape)

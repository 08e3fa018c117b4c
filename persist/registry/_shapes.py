"""Layouts of older versions, by which the version of a state that states none is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from persist.errors import SchemaError
from persist.registry._declarations import Origin

__all__ = ["Shape", "chosen", "item_names", "parts_of_tuple", "shapes_of", "without_shape"]


@attrs.frozen
class Shape:
    """One layout that the states of a version have.

    Attributes:
        version: of the schema.
        names: of the fields, or of the parts of a tuple in order; () where only their number is known.
        kind: "fields", "tuple" or "fingerprint".
        count: of the parts of a tuple.
        types: name -> the class, or the dtype, of its values.
        fingerprint: the hash of the names, as the lock file has it.
    """

    version: int
    names: tuple[str, ...] = ()
    kind: str = "fields"
    count: int = 0
    types: Mapping[str, Any] = attrs.field(factory=dict)
    fingerprint: str = ""

    def evidence(self, state: object) -> str:
        """Return what of a state fits, in words; "" if it does not fit."""
        if self.kind == "tuple":
            if not isinstance(state, tuple | list) or len(state) != self.count:
                return ""
            named = f": {', '.join(self.names)}" if self.names else ""
            return f"a {'list' if isinstance(state, list) else 'tuple'} of {self.count}{named}"
        if not isinstance(state, dict):
            return ""
        if self.kind == "fingerprint":
            found = _fingerprint(state)
            return f"fields with the fingerprint {found}" if found == self.fingerprint else ""
        if any(name not in state for name in self.names):
            return ""
        for name, wanted in self.types.items():
            if not _is_of(state[name], wanted):
                return ""
        typed = " of the declared types" if self.types else ""
        return f"the fields {', '.join(sorted(self.names))}{typed}"

    def is_exact(self, state: Any) -> bool:
        """Whether a state that fits holds nothing else."""
        return self.kind != "fields" or len(state) == len(self.names)


def _fingerprint(state: Mapping[Any, Any]) -> str:
    from persist.schema import Field, fingerprint

    return fingerprint(Field(str(name)) for name in state)


def _is_of(value: object, wanted: Any) -> bool:
    if isinstance(wanted, type | tuple) and not (
        isinstance(wanted, type) and issubclass(wanted, np.generic)
    ):
        is_array = wanted is np.ndarray and hasattr(value, "dtype") and hasattr(value, "shape")
        return is_array or isinstance(value, wanted)
    dtype = getattr(value, "dtype", None)
    return dtype is not None and bool(dtype == np.dtype(wanted))


def shapes_of(layouts: Mapping[int, object], schema: str, place: Origin) -> tuple[Shape, ...]:
    """Return the layouts that a declaration gives, each checked.

    Args:
        layouts: version -> its layout, or a list of several: a tuple of names (the state is a tuple of
            these), a number (of as many), a set of names of fields, a dict of such names to classes or
            dtypes, or a fingerprint.
        schema: the name, for messages.
        place: where they are declared.

    Raises:
        SchemaError: one is none of these.
    """
    found = []
    for version, said in layouts.items():
        if type(version) is not int or version < 1:
            raise _fault(schema, place, f"{version!r} is no version")
        for one in said if isinstance(said, list) else [said]:
            found.append(_shape(version, one, schema, place))
    return tuple(found)


def _shape(version: int, said: object, schema: str, place: Origin) -> Shape:
    if type(said) is int and said >= 0:
        return Shape(version, kind="tuple", count=said)
    if isinstance(said, str):
        return Shape(version, kind="fingerprint", fingerprint=said)
    if isinstance(said, tuple | set | frozenset | Mapping):
        names = tuple(sorted(said, key=str) if isinstance(said, set | frozenset) else said)
        if not all(type(name) is str for name in names) or len(set(names)) != len(names):
            raise _fault(
                schema, place, f"the layout of version {version} has names that are no texts"
            )
        if isinstance(said, tuple):
            return Shape(version, names, "tuple", len(names))
        return Shape(version, names, types=dict(said) if isinstance(said, Mapping) else {})
    raise _fault(schema, place, f"the layout of version {version} is {said!r}")


def _fault(schema: str, place: Origin, what: str) -> SchemaError:
    return SchemaError(
        f"{what}, in the layouts of {schema!r}.",
        where=f"{place.file}:{place.line}",
        remedy='Versions lead to layouts: a tuple of names for a state that is a tuple, ("W", "b"); a set of '
        "names of fields; a dict of them to classes or dtypes; a fingerprint; or a list of these.",
        schema=schema,
    )


def chosen(shapes: Iterable[Shape], state: object, schema: str) -> tuple[int, str] | None:
    """Return the version whose layout a state has, and the evidence; None if it has none of them.

    A layout that says all of a state is preferred, and one of more fields to one of fewer, so that the
    state of several classes in one dict fits the layouts of each.

    Raises:
        SchemaError: layouts of two versions fit, with the evidence for each.
    """
    fitting = [(shape, evidence) for shape in shapes if (evidence := shape.evidence(state))]
    exact = [pair for pair in fitting if pair[0].is_exact(state)]
    left = exact or [
        pair
        for pair in fitting
        if not any(set(other.names) > set(pair[0].names) for other, _ in fitting)
    ]
    # One with types says more than the same names without.
    typed = [pair for pair in left if pair[0].types]
    left = typed or left
    versions = {shape.version: evidence for shape, evidence in left}
    if len(versions) > 1:
        said = "; ".join(
            f"version {version} by {text}" for version, text in sorted(versions.items())
        )
        raise SchemaError(
            f"its state has the layouts of {len(versions)} versions of {schema!r}: {said}.",
            remedy="Tell them apart: give the types of fields, register a stamp "
            f"(@persist.stamp({schema!r})), or load with assume_version= if all states in the file have one.",
            schema=schema,
            answers=sorted(versions),
        )
    for version, text in versions.items():
        return version, text
    return None


def without_shape(name: str, state: object, shapes: Iterable[Shape]) -> SchemaError:
    """Return the error for a state that has none of the layouts of a schema."""
    known = "; ".join(
        f"version {one.version}: {', '.join(one.names) or one.fingerprint or one.count}"
        for one in shapes
    )
    there = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
    return SchemaError(
        f"its state ({there or 'empty'}) has the layout of no version of {name!r} ({known}).",
        remedy="Add its layout to layouts=, register a stamp, or load with assume_version=.",
        schema=name,
    )


def item_names(shapes: Iterable[Shape], version: int, count: int) -> tuple[str, ...]:
    """Return the names of the parts of a tuple of a version, where its layout gives them."""
    for shape in shapes:
        if shape.kind == "tuple" and shape.version == version and shape.count == count:
            return shape.names
    return ()


def parts_of_tuple(cls: type | None) -> tuple[str, ...]:
    """Return the names of the parts of a named tuple; () for any other class."""
    names = getattr(cls, "_fields", ())
    is_named = cls is not None and issubclass(cls, tuple) and type(names) is tuple
    return names if is_named and all(type(name) is str for name in names) else ()

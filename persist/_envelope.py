"""What `Versioned` puts around a state inside any pickle; the form is in `docs/envelope.md`.

An envelope is made of text, integers, None and tuples only, so that it is the
same in a live unpickling and in an inert tree. To change the form: write the
new one into the page first, count `FORM` up, and keep reading every older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from persist._runtime.free_names import free_name
from persist.errors import FutureVersionError, SchemaError

__all__ = [
    "CODEC",
    "FIELDS",
    "INSIDE",
    "ITEMS",
    "LARGEST",
    "MARK",
    "Envelope",
    "Layer",
    "refuse_damaged",
    "refuse_newer",
    "seal",
    "unwrap",
    "wrap",
]

MARK = "persist.envelope"
FORM = 1

# Limits of version numbers and dotted names: persist never writes more, and more is slow to print.
LARGEST = 2**31 - 1
LONGEST = 10_000

FIELDS = "fields"
CODEC = "codec"
INSIDE = "inside"
ITEMS = "items"
_KINDS = frozenset((FIELDS, CODEC, INSIDE, ITEMS))


class Layer(NamedTuple):
    """What an envelope says of one class of the MRO."""

    schema: str
    version: int
    fingerprint: str
    kind: str
    names: Any


class Envelope:
    """The states of one instance, base class first.

    Attributes:
        layers: what is said of each class.
        values: the value of each, as it is in the file.
    """

    __slots__ = ("layers", "values")

    def __init__(self, layers: list[Layer], values: list[Any]) -> None:
        self.layers = layers
        self.values = values

    def states(self) -> Iterator[tuple[str, int, Any]]:
        """Yield (schema, version, state) of each class; fields come as a dict.

        Those whose state is inside the codec of a subclass have no fields here and are left out.
        """
        for layer, value in zip(self.layers, self.values, strict=True):
            if layer.kind != INSIDE:
                yield layer.schema, layer.version, _state(layer, value)

    def fields(self) -> dict[Any, Any]:
        """Return the fields of all classes by name; a codec's plain tuple as ``state/0``, ``state/1``.

        A name that two classes use for different things is given to the subclass
        with ``~2``.
        """
        merged: dict[object, object] = {}
        for layer, value in zip(self.layers, self.values, strict=True):
            for name, item in _named(layer, value):
                merged[free_name(name, merged)] = item
        return merged

    def places(self) -> dict[Any, tuple[int, Any]]:
        """Return where each named field is: name -> (number of its layer, key in its value).

        The names are those of `fields`, without the parts of a codec's plain tuple.
        """
        found: dict[Any, tuple[int, Any]] = {}
        for number, (layer, value) in enumerate(zip(self.layers, self.values, strict=True)):
            keys: Any = ()
            if layer.kind == FIELDS:
                keys = enumerate(layer.names)
            elif layer.kind == CODEC and isinstance(value, dict):
                keys = zip(value, value, strict=True)
            for key, name in keys:
                found[free_name(name, found)] = (number, key)
        return found

    def attributes(self) -> dict[Any, Any]:
        """Return the named fields of all classes."""
        return {name: self.values[at][key] for name, (at, key) in self.places().items()}

    def with_field(self, name: Any, value: Any) -> tuple[object, ...] | None:
        """Return the state in which a field is another; None where no class can take a new one."""
        known = self.places().get(name)
        leaf = max(at for at, layer in enumerate(self.layers) if layer.kind != ITEMS)
        at, key = (leaf, name) if known is None else known
        layer, old = self.layers[at], self.values[at]
        if layer.kind == CODEC and isinstance(old, dict):
            old[key] = value
        elif layer.kind != FIELDS or type(name) is not str:
            return None
        elif known is None:
            self.layers[at] = layer._replace(names=(*layer.names, name))
            self.values[at] = (*old, value)
        else:
            self.values[at] = (*old[:key], value, *old[key + 1 :])
        return wrap(seal(self.layers), self.values)

    def without_field(self, name: object) -> tuple[object, ...]:
        """Return the state without a field that is there."""
        at, key = self.places()[name]
        layer, old = self.layers[at], self.values[at]
        if layer.kind == CODEC:
            del old[key]
        else:
            names = layer.names
            self.layers[at] = layer._replace(names=names[:key] + names[key + 1 :])
            self.values[at] = old[:key] + old[key + 1 :]
        return wrap(seal(self.layers), self.values)

    def __repr__(self) -> str:
        said = ", ".join(f"{layer.schema} {layer.version}" for layer in self.layers)
        return f"<envelope: {said}>"


def _state(layer: Layer, value: Any) -> Any:
    if layer.kind == FIELDS:
        return dict(zip(layer.names, value, strict=True))
    return value


def _named(layer: Layer, value: Any) -> Iterator[tuple[Any, Any]]:
    if layer.kind == FIELDS:
        yield from zip(layer.names, value, strict=True)
    elif layer.kind == ITEMS:
        yield from ((str(index), item) for index, item in enumerate(value))
    elif layer.kind == CODEC:
        if isinstance(value, dict):
            yield from value.items()
        elif isinstance(value, tuple | list):
            yield from ((f"state/{index}", item) for index, item in enumerate(value))
        elif value is not None:
            yield "state", value


def seal(layers: list[Layer]) -> tuple[Any, ...]:
    """Return the header for these layers; keep it, since one object is written once a file."""
    return (MARK, FORM, tuple(tuple(layer) for layer in layers))


def wrap(header: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
    """Return the state that goes into the pickle."""
    return (header, *values)


def unwrap(state: object) -> Envelope | None:
    """Return the envelope that a state is, or None for any other state.

    Whatever the value, this only looks; an envelope of a later form than ours
    is None here (`refuse_newer` is for those who must not go on).
    """
    if type(state) is not tuple or not state:
        return None
    header = state[0]
    if (
        type(header) is not tuple
        or len(header) != 3
        or not _is_mark(header[0])
        or type(header[1]) is not int
        or header[1] != FORM
    ):
        return None
    layers = header[2]
    if type(layers) is not tuple or len(layers) != len(state) - 1 or not layers:
        return None
    found = [Layer(*layer) for layer in layers if type(layer) is tuple and len(layer) == 5]
    whole = len(found) == len(layers) and all(map(_fits, found, state[1:]))
    return Envelope(found, list(state[1:])) if whole else None


def _is_mark(value: object) -> bool:
    return type(value) is str and value == MARK


def _fits(layer: Layer, value: Any) -> bool:
    """True if the parts of a layer have the types that docs/envelope.md states."""
    if type(layer.schema) is not str or type(layer.version) is not int:
        return False
    if not 0 <= layer.version <= LARGEST or len(layer.schema) > LONGEST:
        return False
    if type(layer.kind) is not str or layer.kind not in _KINDS:
        return False
    if layer.kind in (FIELDS, INSIDE):
        names = layer.names
        if type(names) is not tuple or not all(type(name) is str for name in names):
            return False
    if layer.kind == FIELDS:
        return type(value) is tuple and len(value) == len(layer.names)
    return layer.kind != ITEMS or type(value) is list


def refuse_newer(state: object, where: str | None = None) -> None:
    """Refuse an envelope of a form that is later than ours.

    Raises:
        FutureVersionError: it is one.
    """
    if type(state) is not tuple or not state:
        return
    header = state[0]
    if type(header) is not tuple or len(header) != 3 or not _is_mark(header[0]):
        return
    if type(header[1]) is int and header[1] > FORM:
        form = header[1] if header[1] <= LARGEST else "beyond every release"
        raise FutureVersionError(
            f"its envelope is of form {form}, and this program knows form {FORM}.",
            where=where,
            remedy="A newer release of persist wrote it: install that one (pip install -U persist-state).",
            found=min(header[1], LARGEST),
            known=FORM,
        )


def refuse_damaged(state: object) -> None:
    """Refuse what bears the mark of an envelope and is none: its parts were altered.

    Raises:
        SchemaError: it is so.
    """
    if type(state) is not tuple or not state:
        return
    header = state[0]
    if type(header) is tuple and header and _is_mark(header[0]) and unwrap(state) is None:
        raise SchemaError(
            "its envelope is damaged: the parts of the header do not fit each other.",
            remedy="Nothing that persist writes looks so: take the file from where it came from again.",
        )

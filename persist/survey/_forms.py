"""The layout of one record as it lies in a file: its form, the names of its fields, kinds and shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np

from persist._envelope import ITEMS, unwrap
from persist._upgrade.state import state_of
from persist.tree import ABSENT, Global, LazyArray, Record

__all__ = [
    "ARGUMENTS",
    "FIELDS",
    "NOTHING",
    "TUPLE",
    "VALUE",
    "FieldSummary",
    "Form",
    "form_of",
    "kind_of",
]

FIELDS = "fields"  # names and values
TUPLE = "tuple"  # values without names
VALUE = "value"  # one value of another kind
NOTHING = "nothing"  # no state at all
ARGUMENTS = "arguments"  # values of a constructor

_MOST_FIELDS = 200
_MOST_KINDS = 8
_VARIES = "varies"


@attrs.define
class FieldSummary:
    """What the values of one field are, over all records of a row.

    Attributes:
        name: of the field; of a tuple, its position.
        kinds: names of types, or "array"; at most eight of them.
        dtypes: of arrays, at most eight of them, as NumPy writes them (``<f4``).
        shape: of all its arrays, None in it for an extent that differs; None if there are no arrays, or
            of different numbers of dimensions.
    """

    name: str
    kinds: list[str] = attrs.field(factory=list)
    dtypes: list[str] = attrs.field(factory=list)
    shape: list[int | None] | None = None
    varies: bool = False

    def add(self, value: Any) -> None:
        """Take one more value into account."""
        kind = kind_of(value)
        if kind not in self.kinds and len(self.kinds) < _MOST_KINDS:
            self.kinds.append(kind)
        if kind != "array":
            return
        dtype = value.dtype.str if value.dtype.names is None else "structured"
        if dtype not in self.dtypes and len(self.dtypes) < _MOST_KINDS:
            self.dtypes.append(dtype)
        self._add_shape(list(value.shape))

    def _add_shape(self, shape: list[int | None]) -> None:
        if self.varies:
            return
        if self.shape is None:
            self.shape = shape
        elif len(self.shape) != len(shape):
            self.shape, self.varies = None, True
        else:
            self.shape = [a if a == b else None for a, b in zip(self.shape, shape, strict=True)]

    def merge(self, other: FieldSummary) -> None:
        """Take in the summary of the same field in another row."""
        self.kinds += [kind for kind in other.kinds if kind not in self.kinds]
        self.dtypes += [dtype for dtype in other.dtypes if dtype not in self.dtypes]
        self.varies = self.varies or other.varies
        if self.varies:
            self.shape = None
        elif other.shape is not None:
            self._add_shape(list(other.shape))

    def __str__(self) -> str:
        said = []
        for kind in self.kinds:
            if kind == "array":
                extents = "..." if self.shape is None else ", ".join(
                    "?" if one is None else str(one) for one in self.shape
                )  # fmt: skip
                said.append(f"{' or '.join(self.dtypes)} ({extents})")
            else:
                said.append(kind)
        return f"{self.name}: {' | '.join(said)}" if said else self.name


def kind_of(value: object) -> str:
    """Return the kind of a value: the name of its type, "array", or the class of a record."""
    if isinstance(value, np.ndarray | LazyArray):
        return "array"
    if value is None:
        return "None"
    if isinstance(value, Record):
        return value.qualname
    if isinstance(value, np.generic):
        return value.dtype.name
    if isinstance(value, Global):
        return "a name"
    name = type(value).__name__
    return "array.array" if name == "array" else name


@attrs.frozen
class Form:
    """The layout of one record.

    Attributes:
        kind: "fields", "tuple", "value" or "nothing".
        names: of the fields, in the order of the file; the positions of a tuple; "value".
        schema: the name of its schema, where an envelope states it; else "".
        version: where an envelope or the file states it; else None.
        how: how the version is known: "envelope", "record", or "".
        base: the built-in type that its class extends ("list", "dict"), where it holds items;
            "arguments" where its values are those of its constructor, as in a named tuple.
    """

    kind: str
    names: tuple[str, ...]
    schema: str = ""
    version: int | None = None
    how: str = ""
    base: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same layout as another one: the order of names does not."""
        names = tuple(sorted(self.names)) if self.kind == FIELDS else (str(len(self.names)),)
        return (self.kind, names, self.schema, self.version, self.how, self.base)


def form_of(record: Record) -> tuple[Form, Iterable[object]]:
    """Return the layout of a record, and the values of its fields in the same order."""
    base = _base_of(record)
    envelope = unwrap(record.state)
    if envelope is not None:
        own = [layer for layer in envelope.layers if layer.kind != ITEMS]
        fields = record.fields()
        names = _named(fields)
        if own and names is not None:
            last = own[-1]
            return Form(FIELDS, names, last.schema, last.version, "envelope", base), fields.values()
    how = "" if record.version is None else "record"
    version = record.version
    state = state_of(record)
    if state is ABSENT or state is None:
        return Form(NOTHING, (), "", version, how, base), ()
    if isinstance(state, dict) or (isinstance(state, tuple) and record.fields()):
        fields = record.fields()
        names = _named(fields)
        if names is not None:
            return Form(FIELDS, names, "", version, how, base), fields.values()
    elif isinstance(state, tuple) and len(state) <= _MOST_FIELDS:
        positions = tuple(map(str, range(len(state))))
        return Form(TUPLE, positions, "", version, how, base), state
    return Form(VALUE, ("value",), "", version, how, base), (state,)


def _named(fields: dict[Any, Any]) -> tuple[str, ...] | None:
    """The names of fields, if they are names, and not the keys of a table."""
    if len(fields) > _MOST_FIELDS or not all(type(name) is str for name in fields):
        return None
    return tuple(fields)


def _base_of(record: Record) -> str:
    if record.dictitems:
        return "dict"
    if record.listitems:
        return "list"
    is_value = record.kind == "reconstructor" and record.args[1:2] not in ((), (None,))
    # Without a state of its own, the arguments of a call are the state (see `state_of`).
    is_apart = record.kind in ("newobj", "newobj_ex") or (
        record.kind in ("reduce", "inst", "obj") and record.state is not ABSENT
    )
    has_arguments = is_apart and bool(record.args or record.kwargs)
    return ARGUMENTS if is_value or has_arguments else ""

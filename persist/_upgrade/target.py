"""What an upgrade of one instance consists of: its versions in the file, and the layout that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from persist._envelope import (
    FIELDS,
    INSIDE,
)
from persist.ops import Instead
from persist.registry import Migration, Registry
from persist.schema import Field, Layout, Schema
from persist.tree import ABSENT, Record

__all__ = [
    "InstanceUpgrade",
    "StatePart",
    "TargetLayout",
    "TargetPart",
    "VersionPath",
    "owner_of",
    "subclass_piece",
    "target_layout",
]


_STATES = frozenset((dict, list, tuple, type(None), str, bytes, int, float, bool))


@attrs.frozen
class VersionPath:
    """The path of one state: its version in the file, how that is known, and the steps.

    Attributes:
        schema: the schema's name.
        found: the version of the file.
        how: how this version is known: "envelope", "record", "stamp by ...", "unstamped = 1".
        to: the current version.
        steps: the migrations, in order.
        note: a remark for the report.
        releases: version -> the releases that write it, where they are declared.
    """

    schema: str
    found: int
    how: str
    to: int
    steps: tuple[Migration, ...] = ()
    note: str = ""
    releases: Mapping[int, str] = attrs.field(factory=dict, repr=False)

    def __str__(self) -> str:
        text = " → ".join(map(str, (self.found, *(step.to for step in self.steps))))
        if not self.steps:
            text = str(self.found)
        return f"{self.schema} {text} ({self.how})"


@attrs.define(eq=False)
class TargetPart:
    """The current layout of one class of the MRO: its fields, or the state of its codec."""

    schema: Schema
    kind: str
    fields: tuple[Field, ...] = ()
    transients: tuple[Field, ...] = ()
    owns_private: bool = False  # see `Layout.private_owners`

    @property
    def names(self) -> set[str]:
        """The names of its fields."""
        return {field.name for field in (*self.fields, *self.transients)}


@attrs.define(eq=False)
class TargetLayout:
    """The layout to which a state is upgraded: the parts of the current class, base first.

    Attributes:
        parts: one for each class.
        layout: of the class; None if the class is not imported.
        is_open: whether undeclared fields are accepted.
        dropped: names of declared attributes that are not saved (transients, resources).
        owners: simple names by which private attributes may be mangled.
        headers: cached envelope headers, by their field names.
        items: the parts of a named tuple, which steps see as fields of the class itself.
    """

    parts: list[TargetPart]
    layout: Layout | None
    is_open: bool
    dropped: frozenset[str]
    owners: tuple[str, ...] = ()
    headers: dict[Any, Any] = attrs.field(factory=dict, repr=False)
    items: tuple[Field, ...] = ()

    @property
    def leaf(self) -> TargetPart:
        """The part of the class itself."""
        return self.parts[-1]


def target_layout(schema: Schema, registry: Registry) -> TargetLayout:
    """Return the layout to which the states of a schema are upgraded."""
    if schema.cls is None:
        fields = schema.fields or ()
        part = TargetPart(
            schema, FIELDS,
            tuple(field for field in fields if not field.transient),
            tuple(field for field in fields if field.transient),
        )  # fmt: skip
        dropped = frozenset(field.name for field in part.transients)
        return TargetLayout([part], None, schema.fields is None, dropped)
    layout = registry.layout(schema.cls)
    owners = layout.private_owners
    parts = [
        TargetPart(part.schema, part.kind, part.fields, part.transients, part in owners)
        for part in layout.parts
    ]
    dropped = frozenset(
        {field.name for part in layout.parts for field in part.transients} | layout.resources.keys()
    )
    return TargetLayout(parts, layout, layout.leaf.open, dropped, (schema.cls.__name__,))


@attrs.define(eq=False)
class StatePart:
    """The state of one class in a file."""

    name: str
    version: int
    how: str
    kind: str
    value: Any
    names: tuple[str, ...] = ()
    schema: Schema | None = None
    part: TargetPart | None = None
    note: str = ""
    version_path: VersionPath | None = None
    fingerprint: str = ""
    done: int = 0  # steps that compiled code has done already
    private: dict[str, Any] = attrs.field(factory=dict)  # of a base, out of an unversioned state
    raw: Any = ABSENT  # for a codec: the state as it is in the file, if steps see it otherwise
    hides: frozenset[str] = frozenset()  # private fields that no base's stamps and steps see
    parts: tuple[str, ...] = ()  # names of the parts of a codec's tuple, if the file states them

    @property
    def knows_its_gaps(self) -> bool:
        """True if the file was written with the current fields: a missing one was missing on the instance."""
        fingerprint = self.schema.fingerprint if self.schema is not None else ""
        return (
            bool(fingerprint)
            and fingerprint == self.fingerprint
            and not (self.version_path is not None and self.version_path.steps)
        )


@attrs.define(eq=False)
class InstanceUpgrade:
    """The upgrade of one instance, and its result.

    Attributes:
        target: the layout to which it is upgraded.
        version_paths: the version paths of its classes, base first.
        states: (part, state) of each part that has a state: a dict of fields, or a codec's state.
        extra: undeclared fields that are kept on request.
        unknown: names of undeclared fields.
        items: the members of a set subclass.
        instead: the value by which a migration replaced the instance, or ABSENT.
        added: classes that the file has no state of; their fields are in that of the leaf.
        stamps: the entries that stamps read: they are no fields, and are left out without a warning.
    """

    target: TargetLayout
    version_paths: list[VersionPath] = attrs.field(factory=list)
    states: list[tuple[TargetPart, Any]] = attrs.field(factory=list)
    extra: dict[Any, Any] = attrs.field(factory=dict)
    unknown: list[str] = attrs.field(factory=list)
    items: list[Any] | None = None
    instead: object = ABSENT
    pieces: list[StatePart] = attrs.field(factory=list)
    added: list[StatePart] = attrs.field(factory=list)
    has_transfers: bool = False  # steps hand fields from one class to another
    stamps: dict[object, object] = attrs.field(factory=dict)
    registry: Registry | None = attrs.field(default=None, repr=False)

    def replaces(self, result: object) -> bool:
        """True if the result of a step replaces the instance, as it is not a state of it."""
        if isinstance(result, Instead | Record):
            return True
        if self.registry is None or type(result) in _STATES:
            return False
        return self.registry.declared(type(result)) is not None

    @property
    def is_migrated(self) -> bool:
        """True if there are steps."""
        return any(path.steps for path in self.version_paths)

    def migrated(self, schema: str) -> bool:
        """True if there are steps of this schema."""
        return any(path.steps for path in self.version_paths if path.schema == schema)


def owner_of(added: StatePart, pieces: list[StatePart]) -> StatePart | None:
    """The piece that had the fields of a class that came later: of its nearest subclass in the file."""
    base = None if added.schema is None else added.schema.cls
    for piece in pieces:
        cls = None if piece.schema is None else piece.schema.cls
        if piece.kind == FIELDS and cls is not None and base is not None and issubclass(cls, base):
            return piece
    return None


def subclass_piece(pieces: list[StatePart], base: StatePart) -> StatePart | None:
    """The piece whose value contains the state of a base: the next one that has a value."""
    position = next(index for index, piece in enumerate(pieces) if piece is base)
    return next((piece for piece in pieces[position + 1 :] if piece.kind != INSIDE), None)

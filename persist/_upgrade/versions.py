"""Upgrade the state of one instance: find its versions, run the steps, assign the fields.

The states of the classes of an MRO are upgraded base first. If a file states which class owns which
field (an envelope), the steps of a class get its own fields only. Otherwise (an unversioned state, a
base under the codec of a subclass) all fields are in one dict: the steps of a class get those that no
other class owns now. A field that they read and do not return is removed; one that they never read is
kept (`_Watched` records the reads). A field of a class without steps is found by its name, but not listed:
it may have moved there since the step was written.

A class of the MRO without a state in a file that states versions came later than the file: all fields
belonged to the instance's own class, whose steps come first; then those of the new class, from the
version that its stamps find, else from 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from persist import ops
from persist._envelope import (
    CODEC,
    FIELDS,
    INSIDE,
    ITEMS,
    Envelope,
    refuse_damaged,
    refuse_newer,
    unwrap,
)
from persist._trees.copier import arrays_in, has_no_arrays
from persist._upgrade import compiled
from persist._upgrade.items import NamedItems, named_items
from persist._upgrade.private_names import has_private_names, split_private
from persist._upgrade.transfers import Run, has_transfers, runs
from persist.errors import (
    FutureVersionError,
    MigrationFailedError,
    MissingMigrationError,
    PersistError,
    SchemaError,
)
from persist.ops import Instead
from persist.ops._owners import Transfer
from persist.registry import Migration, Registry
from persist.registry._declarations import of_releases
from persist.schema import Field, Layout, Schema, demangled, mangled, minor_of
from persist.tree import ABSENT, LazyArray, Record, is_slots_pair

__all__ = [
    "InstanceUpgrade",
    "TargetLayout",
    "TargetPart",
    "VersionPath",
    "failed",
    "plain_state",
    "plan_instance",
    "read_lazy",
    "run_steps",
    "stamped_entries",
    "target_layout",
]  # fmt: skip

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
class _StatePart:
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
    instead: Any = ABSENT
    pieces: list[_StatePart] = attrs.field(factory=list)
    added: list[_StatePart] = attrs.field(factory=list)
    has_transfers: bool = False  # steps hand fields from one class to another
    stamps: dict[Any, Any] = attrs.field(factory=dict)
    registry: Registry | None = attrs.field(default=None, repr=False)

    def replaces(self, result: Any) -> bool:
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


def plan_instance(
    target: TargetLayout,
    state: Any,
    registry: Registry,
    *,
    version: int | None = None,
    owners: Callable[[], Iterable[str]] = tuple,
    items: tuple[Any, ...] | None = None,
    parts: tuple[tuple[str, ...], ...] = (),
) -> InstanceUpgrade:
    """Find the versions of a state and the steps that it needs, without running them.

    Args:
        target: the layout to upgrade to.
        state: the older one; its containers must be copies, as steps change them.
        registry: migrations and stamps.
        version: the version that the record states.
        owners: the simple names of classes that may have mangled its attributes.
        items: the parts of a tuple of which the state has the attributes.
        parts: names of the parts of tuples of this class and version, if the file states them.

    Raises:
        FutureVersionError: it is newer than the program.
        MissingMigrationError: steps are missing.
        SchemaError: stamps disagree, or paths are ambiguous.
    """
    refuse_newer(state)
    refuse_damaged(state)
    case = InstanceUpgrade(target, registry=registry)
    envelope = unwrap(state)
    if envelope is not None:
        case.pieces = _enveloped(envelope, target, registry)
        for piece in case.pieces:
            if piece.kind == ITEMS:
                case.items = piece.value
        case.pieces = [piece for piece in case.pieces if piece.kind != ITEMS]
    else:
        case.pieces = _bare(target, state, registry, version, owners)
        if version is None:
            case.stamps = stamped_entries(case.pieces[-1].value, target, registry)
    if envelope is not None or version is not None:
        case.added = _added(case, registry)
    for piece in (*case.pieces, *case.added):
        if piece.schema is not None:
            piece.version_path = _version_path(piece, registry)
            case.version_paths.append(piece.version_path)
    if any(has_transfers(path.steps) for path in case.version_paths):
        _add_owners(case, registry, state if envelope is None and version is None else None)
    if parts and case.pieces and not case.pieces[-1].parts:
        count = len(items if items is not None else _sized(case.pieces[-1].value))
        case.pieces[-1].parts = next((names for names in parts if len(names) == count), ())
    _name_items(case, items, registry)
    return case


def _sized(value: object) -> tuple[Any, ...] | list[Any]:
    return value if isinstance(value, tuple | list) else ()


def _add_owners(case: InstanceUpgrade, registry: Registry, bare: Any) -> None:
    """Add the classes with which steps exchange fields, and of which the file has no state.

    Args:
        case: the plan so far.
        registry: for their versions and steps.
        bare: a state that does not say whose its fields are; else None.
    """
    case.has_transfers = True
    todo = list(case.version_paths)
    while todo:
        for op in [op for step in todo.pop(0).steps for op in step.transfers]:
            if op.base in {piece.name for piece in case.pieces}:
                continue
            for piece in [piece for piece in case.added if piece.name == op.base]:
                case.added.remove(piece)
                case.version_paths = [
                    path for path in case.version_paths if path is not piece.version_path
                ]
            piece = _owner(op, case, registry, bare)
            if piece.schema is not None:
                piece.version_path = _version_path(piece, registry)
                case.version_paths.insert(0, piece.version_path)
                todo.append(piece.version_path)


def _owner(op: Transfer, case: InstanceUpgrade, registry: Registry, bare: Any) -> _StatePart:
    """The piece of a class that comes later; or in a bare state, of one that was a base then."""
    parts = {part.schema.name: part for part in case.target.parts}
    part = parts.get(op.base)
    schema = part.schema if part is not None else registry.schema_for(op.base)
    if bare is not None and isinstance(op, ops.from_base):
        version, how = registry.stamp_of(op.base, case.pieces[-1].value)
        piece = _StatePart(op.base, version, how, INSIDE, None, (), schema, part)
        case.pieces.insert(-1, piece)
        return piece
    how = f"new since the file = {op.version}"
    piece = _StatePart(op.base, op.version, how, FIELDS, {}, (), schema, part)
    case.pieces.insert(0, piece)
    return piece


def _name_items(case: InstanceUpgrade, items: tuple[Any, ...] | None, registry: Registry) -> None:
    """Give names to the parts of a tuple, and put those of a named tuple next to its attributes."""
    piece = case.pieces[-1] if case.pieces else None
    if piece is None or piece.kind == INSIDE:
        return
    value = piece.value
    if type(value) in (tuple, list):
        piece.value = _with_names(value, piece, case, registry) or value
    elif items is not None and isinstance(value, dict):
        named = _with_names(items, piece, case, registry)
        if named is not None:
            piece.value = {**named, **value}
        elif not value:
            piece.value = items
        elif not piece.version_path or not piece.version_path.steps:
            piece.value = items  # of which nothing tells the names: refused where they are sorted


def _with_names(
    values: Any, piece: _StatePart, case: InstanceUpgrade, registry: Registry
) -> NamedItems | None:
    names = registry.item_names(piece.name, piece.version, len(values))
    if not names and len(piece.parts) == len(values) and all(piece.parts):
        names = piece.parts
    own = case.target.items
    if not names and len(own) == len(values):
        names = tuple(one.name for one in own)
    return named_items(tuple(values), names) if names else None


def _added(case: InstanceUpgrade, registry: Registry) -> list[_StatePart]:
    """The classes with steps, and with fields, of which a file that states versions has no state.

    Such a class was a base of none when the file was written, or not declared. A record that is made
    by hand cannot state the versions of bases: one of the current version has the current fields.
    """
    known = {piece.name for piece in case.pieces}
    added = []
    for part in case.target.parts:
        schema = part.schema
        if schema.name in known or part.kind != FIELDS or schema.version == 1:
            continue
        piece = _StatePart(schema.name, 1, "", INSIDE, None, (), schema, part)
        owner = _owner_of(piece, case.pieces)
        if owner is None or not isinstance(owner.value, dict):
            continue
        piece.version, piece.how = registry.stamp_of(schema.name, owner.value)
        if piece.how.startswith("unstamped"):
            piece.how = "new since the file = 1"
            is_by_hand = owner.how == "record" and owner.version == case.target.leaf.schema.version
            if is_by_hand and all(field.name in owner.value for field in part.fields):
                continue
            try:
                registry.path(schema.name, 1, schema.version)
            except MissingMigrationError:
                continue
        added.append(piece)
    return added


def _owner_of(added: _StatePart, pieces: list[_StatePart]) -> _StatePart | None:
    """The piece that had the fields of a class that came later: of its nearest subclass in the file."""
    base = None if added.schema is None else added.schema.cls
    for piece in pieces:
        cls = None if piece.schema is None else piece.schema.cls
        if piece.kind == FIELDS and cls is not None and base is not None and issubclass(cls, base):
            return piece
    return None


def stamped_entries(state: Any, target: TargetLayout, registry: Registry) -> dict[Any, Any]:
    """Return the entries of a state from which stamps find its version."""
    if not isinstance(state, dict):
        return {}
    stamps = [stamp for part in target.parts for stamp in registry.stamps(part.schema.name)]
    keys = {stamp.key for stamp in stamps if stamp.key is not None}
    return {key: state[key] for key in keys if key in state}


def _version_path(piece: _StatePart, registry: Registry) -> VersionPath:
    schema = piece.schema
    assert schema is not None
    if piece.version > schema.version:
        where = f", which {schema.qualname} is" if schema.qualname != schema.name else ""
        raise FutureVersionError(
            f"its state has version {piece.version} of {schema.name!r}, and this program knows "
            f"version {schema.version}{of_releases(schema.version, registry.releases(schema.name))}.",
            remedy=f"A newer program wrote it ({piece.how}): install the release that declares "
            f"version {piece.version} of {schema.name!r}{where}, or write the file there with "
            f"versions={{{schema.name!r}: {schema.version}}}.",
            schema=schema.name,
            found=piece.version,
            known=schema.version,
        )
    steps = () if piece.version == schema.version else tuple(
        registry.path(schema.name, piece.version, schema.version)
    )  # fmt: skip
    if steps and piece.kind == INSIDE and piece.note:
        steps = ()
    note = piece.note
    has_both = bool(piece.fingerprint and schema.fingerprint)
    if not note and has_both and piece.version == schema.version:
        is_other = piece.fingerprint != schema.fingerprint
        note = "other fields than the class declares today under the same version" * is_other
        minors = minor_of(piece.fingerprint), schema.minor
        if minors[0] != minors[1]:
            note = f"minor version {minors[0]}, and {minors[1]} here"
    releases = registry.releases(schema.name)
    return VersionPath(schema.name, piece.version, piece.how, schema.version, steps, note, releases)


# What a file says.


def _enveloped(envelope: Envelope, target: TargetLayout, registry: Registry) -> list[_StatePart]:
    parts = {part.schema.name: part for part in target.parts}
    pieces = []
    for layer, value in zip(envelope.layers, envelope.values, strict=True):
        name = layer.schema if layer.schema in parts else _name_today(layer.schema, registry)
        if layer.kind == FIELDS:
            value = dict(zip(layer.names, value, strict=True))
        names = layer.names if layer.kind == INSIDE else ()
        pieces.append(
            _StatePart(
                name, layer.version, "envelope", layer.kind, value, names,
                fingerprint=layer.fingerprint,
                parts=layer.names if layer.kind == CODEC and type(layer.names) is tuple else (),
            )
        )  # fmt: skip
    own = [piece for piece in pieces if piece.kind != ITEMS]
    if own and target.leaf.schema.name not in {piece.name for piece in own}:
        last = own[-1]
        known = registry.schema_for(last.name)
        _refuse_other(last.name, known, target, registry)
        if last.name not in parts and (known is None or known.cls is not None):
            # The class was renamed and its schema's name with it: it keeps its version.
            last.note = f"written as {last.name!r}"
            last.name = target.leaf.schema.name
    for piece in own:
        piece.part = parts.get(piece.name)
        piece.schema = piece.part.schema if piece.part else registry.schema_for(piece.name)
        if piece.part is not None and piece.part.owns_private and piece.kind == FIELDS:
            piece.kind, piece.value, piece.private = INSIDE, None, piece.value
        if piece.kind == INSIDE and not _heir_has_dict(own, piece):
            piece.note = "inside the state of a subclass"
    _give_private(own, target, registry)
    return pieces


def _give_private(pieces: list[_StatePart], target: TargetLayout, registry: Registry) -> None:
    """Give private fields of bases, which the state of the instance's own class has, to the bases."""
    leaf = pieces[-1] if pieces else None
    bases = {
        piece.name: piece for piece in pieces if piece.part is not None and piece.part.owns_private
    }
    if (
        leaf is None
        or not bases
        or type(leaf.value) is not dict
        or not has_private_names(leaf.value)
    ):
        return
    owners = [one for one in _private_owners(target, registry, tuple) if one[0] in bases]
    leaf.value, private = split_private(leaf.value, owners)
    for name, fields in private.items():
        bases[name].private = {**fields, **bases[name].private}


def _refuse_other(
    written: str, known: Schema | None, target: TargetLayout, registry: Registry
) -> None:
    """Refuse a state of another known class, unless an alias maps that class to this one."""
    ours = target.leaf.schema
    if known is None or known.cls is None or known.name in {p.schema.name for p in target.parts}:
        return
    if registry.resolve(written) in (ours.qualname, ours.name) or _is_gone(known.cls):
        return
    raise SchemaError(
        f"the file names the class {ours.qualname}, and its envelope holds a state of {written!r}, "
        f"which is another class here ({known.qualname}).",
        remedy=f"The file was altered, or {written!r} became {ours.qualname}: then say so, "
        f"persist.alias({written!r}, {ours.qualname.rpartition('.')[2]}).",
        schema=ours.name,
        found=written,
    )


def _is_gone(cls: type) -> bool:
    """True if the module has another object under the name of a class: it was renamed at run time."""
    found: Any = sys.modules.get(cls.__module__)
    if found is None or "<locals>" in cls.__qualname__:
        return False
    for name in cls.__qualname__.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return found is not cls


def _heir_has_dict(pieces: list[_StatePart], base: _StatePart) -> bool:
    subclass = _heir_of(pieces, base)
    return subclass is not None and isinstance(subclass.value, dict)


def _heir_of(pieces: list[_StatePart], base: _StatePart) -> _StatePart | None:
    """The piece whose value contains the state of a base: the next one that has a value."""
    position = next(index for index, piece in enumerate(pieces) if piece is base)
    return next((piece for piece in pieces[position + 1 :] if piece.kind != INSIDE), None)


def _name_today(name: str, registry: Registry) -> str:
    schema = registry.schema_for(name)
    if schema is None:
        schema = registry.schema_for(registry.resolve(name))
    return name if schema is None else schema.name


def _bare(
    target: TargetLayout,
    state: Any,
    registry: Registry,
    version: int | None,
    owners: Callable[[], Iterable[str]],
) -> list[_StatePart]:
    """The pieces of a state that does not state the owners of fields: all are in that of the leaf.

    Of a state with a version it is the only piece (see `_added`), but for bases under a codec.
    """
    has_codec = any(part.kind == CODEC for part in target.parts)
    value = plain_state(state, has_codec)
    private: dict[str, dict[str, Any]] = {}
    hidden: set[str] = (
        set()
    )  # private fields of the instance's own class: no base's stamp sees them
    if isinstance(value, dict) and has_private_names(value):
        has_fields = all(part.kind == FIELDS or part.owns_private for part in target.parts)
        if version is None and has_fields:
            value, private = split_private(value, _private_owners(target, registry, owners))
            leaf = private.pop(target.leaf.schema.name, {})
            value.update(leaf)
            hidden = leaf.keys() & target.leaf.names
        else:
            names = (*target.owners, *owners())
            value = {demangled(name, names): item for name, item in value.items()}
    pieces = []
    for part in target.parts:
        is_leaf = part is target.leaf
        if version is not None and not is_leaf and part.kind == FIELDS:
            continue
        if version is not None:
            found, how = (version if is_leaf else part.schema.version), "record"
        else:
            own, seen = private.get(part.schema.name, {}), value
            if isinstance(value, dict) and not is_leaf and (own or hidden):
                seen = {name: item for name, item in value.items() if name not in hidden}
                seen.update(own)
            found, how = registry.stamp_of(part.schema.name, seen)
        note = "" if is_leaf or isinstance(value, dict) else "the state has no names"
        kind = (CODEC if part.kind == CODEC else FIELDS) if is_leaf else INSIDE
        pieces.append(
            _StatePart(
                part.schema.name,
                found,
                how,
                kind,
                value if is_leaf else None,
                (),
                part.schema,
                part,
                note,
                private=private.get(part.schema.name, {}),
                raw=state if has_codec and value is not state else ABSENT,
                hides=frozenset(hidden if is_leaf else ()),
            )
        )
    return pieces


def _private_owners(
    target: TargetLayout, registry: Registry, owners: Callable[[], Iterable[str]]
) -> list[tuple[str, set[str], set[str]]]:
    """Each class with the names by which Python may have mangled its private attributes."""
    listed = []
    for part in target.parts:
        schema = part.schema
        old = owners() if part is target.leaf else registry.old_names(schema.qualname)
        names = {name.rpartition(".")[2] for name in (schema.qualname, schema.name, *old)}
        if part is target.leaf:
            names.update(target.owners)
        listed.append((schema.name, names, part.names))
    return listed


def plain_state(state: Any, has_codec: bool = False) -> Any:
    """Return an unversioned state as stamps and steps see it: pickle's pair of dict and slots as one dict.

    Args:
        state: as it is in the file; ABSENT for none.
        has_codec: whether a class of today has a codec. For it no state is not an empty one; and a pair of
            two dicts may be what its ``__getstate__`` gave, so that only a pair with None is merged.
    """
    if is_slots_pair(state) and not (has_codec and not _is_of_slots(state)):
        return {**(state[0] or {}), **(state[1] or {})}
    if state is ABSENT or state is None:
        return None if has_codec else {}
    return state


def _is_of_slots(state: tuple[Any, Any]) -> bool:
    first, second = state
    return first is None and all(type(name) is str and name.isidentifier() for name in second)


# Doing it.


def run_steps(
    case: InstanceUpgrade,
    *,
    record: Record | None = None,
    memo: dict[object, object] | None = None,
    unknown: str = "warn",
) -> InstanceUpgrade:
    """Do the steps of a case that was surveyed, and sort the fields to their classes.

    Args:
        case: what `plan_instance` gave.
        record: the second argument of steps that take two.
        memo: shared by the steps of one run.
        unknown: the treatment of undeclared fields: "warn" and "drop" leave them
            out (and name them in the case), "keep" keeps them, "error" refuses them.

    Raises:
        MigrationFailedError: a step raised, chained.
        SchemaError: a field is missing that has no default; or as ``unknown`` says.
    """
    memo = {} if memo is None else memo
    pieces = case.pieces
    if case.has_transfers and any(has_transfers(path.steps) for path in case.version_paths):
        return _run_ordered(case, record, memo, unknown)
    for piece in pieces:
        if piece.kind == INSIDE:
            subclass = _heir_of(pieces, piece)
            if subclass is not None and piece.version_path is not None and piece.version_path.steps:
                subclass.value = _run_shared(piece, subclass.value, pieces, memo)
            continue
        if piece.part is None and piece is not pieces[-1]:
            piece.value = _run(piece, record, memo, case)
            _join(piece, pieces[-1])
            continue
        inside = any(other.kind == INSIDE for other in pieces)
        if (
            inside
            and isinstance(piece.value, dict)
            and piece.version_path is not None
            and piece.version_path.steps
        ):
            result = _run_shared(piece, piece.value, pieces, memo, record, case)
        else:
            result = _run(piece, record, memo, case)
        if case.replaces(result):
            case.instead = result.value if isinstance(result, Instead) else result
            return case
        piece.value = result
    for piece in case.added:
        owner = _owner_of(piece, pieces)
        assert owner is not None
        owner.value = _run_shared(piece, owner.value, [*case.added, *pieces], memo)
    _sort(case, unknown)
    return case


def _run_ordered(
    case: InstanceUpgrade, record: Record | None, memo: dict[Any, Any], unknown: str
) -> InstanceUpgrade:
    """Do the steps of a case in which fields change their owner."""
    pieces = case.pieces
    by_name = {piece.name: piece for piece in pieces}
    for run in runs({
        piece.name: () if piece.version_path is None else piece.version_path.steps
        for piece in pieces
    }):  # fmt: skip
        piece = by_name[run.schema]
        for op in run.steps[0].transfers:
            if isinstance(op, ops.from_base):
                _hand_over(by_name[op.base], piece, op.names, pieces)
        result = _result_of(run, piece, case, record, memo)
        if case.replaces(result):
            case.instead = result.value if isinstance(result, Instead) else result
            return case
        for op in run.steps[-1].transfers:
            if isinstance(op, ops.to_base):
                _hand_over(piece, by_name[op.base], op.names, pieces)
    for piece in pieces[:-1]:
        if piece.part is None and piece.kind != INSIDE:
            _join(piece, pieces[-1])
    for piece in case.added:
        owner = _owner_of(piece, pieces)
        assert owner is not None
        owner.value = _run_shared(piece, owner.value, [*case.added, *pieces], memo)
    _sort(case, unknown)
    return case


def _result_of(
    run: Run,
    piece: _StatePart,
    case: InstanceUpgrade,
    record: Record | None,
    memo: dict[Any, Any],
) -> Any:
    """The result of a run of steps; where it is no other value, the state is set."""
    pieces = case.pieces
    if piece.kind == INSIDE:
        subclass = _heir_of(pieces, piece)
        if subclass is not None:
            subclass.value = _run_shared(piece, subclass.value, pieces, memo, run=run)
        return None
    is_shared = any(other.kind == INSIDE for other in pieces) and isinstance(piece.value, dict)
    if is_shared:
        result = _run_shared(piece, piece.value, pieces, memo, record, case, run)
    else:
        result = _run(piece, record, memo, case, run.steps)
    if not case.replaces(result):
        piece.value = result
    return result


def _hand_over(
    giver: _StatePart, taker: _StatePart, names: Iterable[str], pieces: list[_StatePart]
) -> None:
    """Move fields from the state of one class to that of another; in a shared state they stay."""
    for name in names:
        source, target = _holder_of(giver, name, pieces), _holder_of(taker, name, pieces)
        if source is target or not isinstance(source, dict) or name not in source:
            continue
        if not isinstance(target, dict) or name in target:
            said = (
                f"there is a {name!r} already"
                if isinstance(target, dict)
                else f"its state is a {type(target).__name__}"
            )
            raise SchemaError(
                f"the field {name!r} cannot be handed from {giver.name!r} to {taker.name!r}: {said}.",
                remedy="Rename or drop one of them in a step before (persist.ops.rename, drop).",
                schema=giver.name,
                field=name,
            )
        target[name] = source.pop(name)


def _holder_of(piece: _StatePart, name: str, pieces: list[_StatePart]) -> Any:
    """Where a field of a class is: in its own state, or in the one that it shares."""
    if piece.kind != INSIDE:
        return piece.value
    if name[:2] == "__":
        return piece.private
    subclass = _heir_of(pieces, piece)
    return None if subclass is None else subclass.value


def _run(
    piece: _StatePart,
    record: Record | None,
    memo: dict[Any, Any],
    case: InstanceUpgrade,
    steps: tuple[Migration, ...] | None = None,
) -> Any:
    state = piece.value
    if steps is None:
        steps = () if piece.version_path is None else piece.version_path.steps
    if not steps:
        return state
    if not piece.done and type(state) is dict:
        written = compiled.advance(steps, failed, read_lazy)
        if written is not None:
            state = written(state, memo)
            if type(state) is dict:
                return state
            piece.done, state = state.done, state.value
    if piece.done:  # compiled code left the check of its last result to us
        state = _looked_at(steps[piece.done - 1], state, record)
    for step in steps[piece.done :]:
        if case.replaces(state):
            return state
        state = _step(step, state, record, memo)
    return state


def _step(step: Migration, state: Any, record: Record | None, memo: dict[Any, Any]) -> Any:
    if step.function is not None and isinstance(state, dict | list | tuple):
        state = read_lazy(state)
        if isinstance(state, _Watched):
            state.seen.clear()
    if step.ops and isinstance(state, NamedItems):
        # `unpack` names the parts itself; every other step finds fields by name.
        state = tuple(state) if isinstance(step.ops[0], ops.unpack) else dict(state.items())
    if record is not None:
        record.state = state
    try:
        result = step.up(state, record, memo)
    except Exception as error:  # user code may raise anything
        if isinstance(error, SchemaError) and error.facts.get("nested"):
            raise  # raised once, and not once for each of the loads inside each other
        raise failed(step, state, error) from error
    return _looked_at(step, result, record)


def _looked_at(step: Migration, result: Any, record: Record | None) -> Any:
    """The result of a step; for a returned record, its state. None is refused."""
    if record is not None and result is record:
        result = record.state
    if result is None:
        raise MigrationFailedError(
            f"the step {step} returns None.",
            remedy="It must return the newer state (or ops.Instead(None) to leave None in its place).",
            schema=step.schema,
            step=(step.start, step.to),
        )
    return result


def failed(step: Migration, state: object, error: Exception) -> MigrationFailedError:
    """Return the error for a step that raised."""
    if isinstance(error, MigrationFailedError):
        facts = error.facts
        if (facts.get("schema"), facts.get("step")) == (step.schema, (step.start, step.to)):
            # The step loads an instance of its own class: raised once, however deep that goes.
            return MigrationFailedError(
                error.what, remedy=error.remedy, schema=step.schema, step=(step.start, step.to)
            )
    nested = ""
    if isinstance(error, RecursionError):
        nested = "If it loads the file that is being loaded, that never ends: a step gets the whole state. "
    return MigrationFailedError(
        f"the step {step} failed: {_said(error)}.",
        remedy=f"{nested}{_cure_of(error)}{_of_state(state)} It is written in {step.where}; nothing was changed.",
        schema=step.schema,
        step=(step.start, step.to),
    )


def _said(error: Exception) -> str:
    text = str(error) if not isinstance(error, PersistError) else error.what
    return f"{type(error).__name__}: {text}".rstrip(". ")


def _cure_of(error: Exception) -> str:
    return f"{error.remedy} " if isinstance(error, PersistError) and error.remedy else ""


def _of_state(state: Any) -> str:
    if isinstance(state, dict):
        names = ", ".join(map(str, list(state)[:20])) or "none"
        return f"The fields of the state are: {names}."
    if isinstance(state, tuple | list):
        return f"The state is a {type(state).__name__} of {len(state)}."
    return f"The state is a {type(state).__name__}."


def read_lazy(state: Any) -> Any:
    """Read each `LazyArray` in a state: functions of steps must get arrays."""
    if has_no_arrays(state.values() if isinstance(state, dict) else state):
        return state
    lazies = [found for found in arrays_in(state) if isinstance(found[2], LazyArray)]
    for holder, key, lazy in lazies:
        if isinstance(holder, tuple):
            if holder is state:
                state = tuple(
                    item.read() if isinstance(item, LazyArray) else item for item in state
                )
            continue
        holder[key] = lazy.read()
    return state


class _Watched(dict[Any, Any]):
    """A dict that records which of its items were read, for a state that several classes share.

    Args:
        items: the fields that are listed.
        moved: fields that are found by their names, but not listed; those that a step takes out go.
    """

    def __init__(self, items: dict[Any, Any], moved: dict[Any, Any]) -> None:
        super().__init__(items)
        self.seen: set[Any] = set()
        self._moved = moved

    def __contains__(self, key: Any) -> bool:
        return super().__contains__(key) or key in self._moved

    def __missing__(self, key: Any) -> Any:
        return self._moved[key]

    def _all(self) -> None:
        self.seen.update(super().keys())

    def __getitem__(self, key: Any) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def __delitem__(self, key: Any) -> None:
        self.seen.add(key)
        if self._is_moved(key):
            del self._moved[key]
        else:
            super().__delitem__(key)

    def _is_moved(self, key: Any) -> bool:
        return key in self._moved and not super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self.seen.add(key)
        return self._moved[key] if self._is_moved(key) else super().get(key, default)

    def pop(self, key: object, *default: object) -> Any:
        self.seen.add(key)
        if self._is_moved(key):
            return self._moved.pop(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[Any]:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self) -> Any:
        self._all()
        return super().items()

    def copy(self) -> dict[Any, Any]:
        self._all()
        return dict(super().items())


def _run_shared(
    piece: _StatePart,
    whole: Any,
    pieces: list[_StatePart],
    memo: dict[Any, Any],
    record: Record | None = None,
    case: InstanceUpgrade | None = None,
    run: Run | None = None,
) -> Any:
    """Run the steps of one class on its share of a dict that several classes share."""
    if not isinstance(whole, dict):
        return whole
    assert piece.version_path is not None
    run = Run(piece.name, piece.version_path.steps) if run is None else run
    mine, rest = _shares(piece, whole, pieces, run)
    moved = {name: rest[name] for name in _reached(piece, pieces, run) if name in rest}
    reach = frozenset(moved)
    is_leaf = piece is pieces[-1]
    for step in run.steps:
        if not isinstance(mine, dict):
            mine = _step(step, mine, record, memo)
            continue
        watched = _Watched(mine, moved)
        try:
            result = _step(step, watched, record, memo)
        except MigrationFailedError as error:
            out_of_sight = [name for name in rest if name not in reach]
            error.remedy += _hidden_text(out_of_sight, piece, pieces)
            raise
        if case.replaces(result) if case is not None else isinstance(result, Instead | Record):
            if is_leaf:
                return result
            raise SchemaError(
                f"the step {step} of a base class replaces the whole instance.",
                remedy="Only the steps of the instance's own class can.",
                schema=step.schema,
            )
        if isinstance(result, dict):
            kept = {name: item for name, item in mine.items() if name not in watched.seen}
            given = dict(dict.items(result))
            mine = {**{name: kept[name] for name in kept if name not in given}, **given}
        elif is_leaf and not rest:
            mine = result
        else:
            raise MigrationFailedError(
                f"the step {step} returns a {type(result).__name__}.",
                remedy="The state is shared with its base classes: return a dict of fields.",
                schema=step.schema,
                step=(step.start, step.to),
            )
    for name in reach - moved.keys():
        rest.pop(name, None)  # a step took it out
    if piece.private and isinstance(mine, dict):
        piece.private = {
            name: mine.pop(name) for name in list(mine) if name in piece.private or name in rest
        }
    return {**rest, **mine} if isinstance(mine, dict) else mine


def _shares(
    piece: _StatePart, whole: dict[Any, Any], pieces: list[_StatePart], run: Run
) -> tuple[Any, dict[Any, Any]]:
    """The fields that the steps of one class see of a shared dict, and the rest."""
    hidden = {
        name
        for other in pieces
        if other is not piece and other.part is not None
        for name in other.part.names
    }
    if piece.part is not None:
        hidden -= piece.part.names
    hidden = (hidden - run.owned) | run.foreign
    if piece is not pieces[-1]:
        hidden |= pieces[-1].hides - run.owned
    rest = {name: item for name, item in whole.items() if name in hidden}
    mine = {name: item for name, item in whole.items() if name not in hidden}
    for name in piece.private.keys() & mine.keys():
        rest[name] = mine.pop(name)  # a private field of the same name, of the instance's own class
    mine.update(piece.private)
    return mine, rest


def _reached(piece: _StatePart, pieces: list[_StatePart], run: Run) -> Iterator[str]:
    """The fields of other classes that the steps of one find by name.

    They are those of classes without steps, and of those to which it hands fields later: a field may
    have had a name that the other class uses today.
    """
    for other in pieces:
        is_done = other.version_path is None or not other.version_path.steps
        is_open = is_done or other.name in run.others
        if other is not piece and other.part is not None and is_open:
            yield from (name for name in other.part.names if name not in pieces[-1].hides)


def _hidden_text(names: list[Any], piece: _StatePart, pieces: list[_StatePart]) -> str:
    """What to do about fields that the steps of a class do not find, since another has them now."""
    for other in pieces:
        if other is not piece and other.part is not None and other.version_path is not None:
            own = [str(name) for name in names if name in other.part.names]
            if own and other.version_path.steps and piece.version_path is not None:
                last = piece.version_path.steps[-1]
                return (
                    f" {', '.join(own)} belong to {other.name!r} today, whose steps come first. If fields moved "
                    f"there from {piece.name!r}, say so in the step with which they did, for instance "
                    f"persist.migration({piece.name!r}, {last.start}, persist.ops.to_base({other.name!r}, "
                    f"{', '.join(map(repr, own))})): then the steps of {piece.name!r} up to it come first, by every route."
                )
    return ""


def _join(piece: _StatePart, leaf: _StatePart) -> None:
    """Add the fields of a class that is no longer a base to those of the leaf."""
    if isinstance(piece.value, dict) and isinstance(leaf.value, dict):
        leaf.value = {**piece.value, **leaf.value}
    elif piece.value not in (None, {}, ()):
        leaf.note = f"the state of {piece.name!r}, which is no longer a base, was left out"


# The owners of fields.


def _sort(case: InstanceUpgrade, unknown: str) -> None:
    """Assign the fields to the current classes, whichever class owned them in the file."""
    target = case.target
    own = {piece.name: piece for piece in case.pieces if piece.kind != INSIDE}
    private = {piece.name: piece.private for piece in case.pieces if piece.private}
    moved: dict[str, str] = {}  # private fields of a base that does not declare them: name in left
    left: dict[Any, Any] = {}
    found: list[tuple[TargetPart, dict[Any, Any]]] = []
    for part in target.parts:
        if part.kind == INSIDE:
            if part.owns_private and private.get(part.schema.name):
                case.states.append((part, private[part.schema.name]))
            continue
        piece = own.get(part.schema.name)
        if part.kind == CODEC:
            case.states.append((part, None if piece is None else _of_codec(piece, case)))
            continue
        value = {} if piece is None else _named(piece.value, part, case)
        names = part.names
        found.append((part, {name: item for name, item in value.items() if name in names}))
        for name, item in value.items():
            if name not in names:
                left.setdefault(name, item)
        for name, item in private.get(part.schema.name, {}).items():
            if name in names:
                found[-1][1][name] = item
            else:
                cls = part.schema.cls
                moved[name] = name if cls is None else mangled(name, cls)
                left.setdefault(moved[name], item)
    for part, fields in found:
        for field in part.fields:
            if field.name not in fields and field.name in left:
                fields[field.name] = left.pop(field.name)
            elif field.name not in fields and moved.get(field.name) in left:
                fields[field.name] = left.pop(moved[field.name])
        for field in part.transients:
            fields.pop(field.name, None)
        if part is target.leaf and target.is_open:
            fields.update(_beyond(left, case))
            left = {}
        if part.schema.cls is None:  # no instance is built later, so set defaults now
            for field in part.fields:
                if field.name not in fields and field.has_default:
                    fields[field.name] = field.fresh(fields)
        case.states.append((part, fields))
    _refuse_missing(case, found, [str(name) for name in left if name not in target.dropped])
    case.unknown = list(map(str, _beyond(left, case)))
    if case.unknown and unknown == "error":
        raise SchemaError(
            f"its state has fields that {target.leaf.schema.name!r} does not declare: "
            f"{', '.join(case.unknown)}.",
            remedy='Declare them, drop them in a migration (persist.ops.drop), or load with unknown="warn".',
            schema=target.leaf.schema.name,
            fields=case.unknown,
        )
    if unknown == "keep":
        case.extra = _beyond(left, case)


def _beyond(left: dict[Any, Any], case: InstanceUpgrade) -> dict[Any, Any]:
    """Undeclared fields: without attributes that are not saved, and without entries for stamps."""
    return {
        name: item
        for name, item in left.items()
        if name not in case.target.dropped and not _is_for_stamp(name, item, case)
    }


def _is_for_stamp(name: Any, item: Any, case: InstanceUpgrade) -> bool:
    """True if an entry is what a stamp read; not if a step put another value there."""
    return name in case.stamps and case.stamps[name] is item


def _of_codec(piece: _StatePart, case: InstanceUpgrade) -> Any:
    """The state for a codec: as it is in the file, unless there were steps."""
    if isinstance(piece.value, NamedItems):
        return tuple(piece.value)
    if not case.is_migrated:
        return piece.value if piece.raw is ABSENT else piece.raw
    if not case.stamps or not isinstance(piece.value, dict):
        return piece.value
    return {k: item for k, item in piece.value.items() if not _is_for_stamp(k, item, case)}


def _named(value: object, part: TargetPart, case: InstanceUpgrade) -> dict[Any, Any]:
    """A state as a dict; a tuple is accepted if attrs or a dataclass wrote it by position."""
    if isinstance(value, dict):
        return value
    if isinstance(value, NamedItems):
        if {field.name for field in (*part.fields, *part.transients)} & set(value.keys()):
            return dict(value.items())
        value = tuple(value)
    items = case.target.items if part is case.target.leaf else ()
    if items and type(value) is tuple and len(value) == len(items):
        return {one.name: item for one, item in zip(items, value, strict=True)}
    if value is None:
        return {}
    cls = part.schema.cls
    names = [field.name for field in (*part.fields, *part.transients)]
    if case.target.is_open and not names and part.schema.cls is None:
        return {"state": value}
    positions = _positions(cls) if part is case.target.leaf else None
    if isinstance(value, tuple | list) and positions is not None and len(positions) == len(value):
        return dict(zip(positions, value, strict=True))
    count = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    version = next(
        (path.found for path in case.version_paths if path.schema == part.schema.name), 1
    )
    listed = ", ".join(names) or "not declared"
    raise SchemaError(
        f"its state of version {version} is a {type(value).__name__}{count}, and the fields of "
        f"{part.schema.name!r} are {listed}.",
        remedy="Name its parts: count version= up and register a migration, for instance "
        f"persist.migration({part.schema.name!r}, {version}, persist.ops.unpack(...)).",
        schema=part.schema.name,
        found=version,
    )


def _positions(cls: type | None) -> list[str] | None:
    """The order in which attrs (before 22.2) and frozen dataclasses with slots write their fields."""
    if cls is None:
        return None
    fields = vars(cls).get("__attrs_attrs__") or vars(cls).get("__dataclass_fields__", {}).values()
    return [demangled(field.name, (cls.__name__,)) for field in fields] or None


def _refuse_missing(
    case: InstanceUpgrade,
    found: list[tuple[TargetPart, dict[object, object]]],
    undeclared: list[str],
) -> None:
    gaps = {piece.name for piece in case.pieces if piece.knows_its_gaps}
    for part, fields in found:
        if part.schema.name in gaps:
            continue
        missing = [
            field.name
            for field in part.fields
            if field.name not in fields and not field.has_default
        ]
        if missing and part.schema.fields is not None:
            there = ", ".join(str(name) for _, had in found for name in had) or "none"
            best = _likeliest(undeclared, missing)
            remedy = "Give it a default, or count version= up and register a migration that adds it (persist.ops.add)."
            if best:
                there += f"; and undeclared: {', '.join(best)}"
                remedy = (
                    f"If {best[0]!r} is its old name, count version= up and register "
                    f'persist.ops.rename("{best[0]}", "{missing[0]}"). Else: {remedy[:1].lower()}{remedy[1:]}'
                )
            word = "field" if len(missing) == 1 else "fields"
            raise SchemaError(
                f"its state lacks the {word} {', '.join(map(repr, missing))} of {part.schema.name!r} "
                f"(there are: {there}).",
                remedy=remedy,
                schema=part.schema.name,
                fields=missing,
                undeclared=best,
            )


def _likeliest(names: list[str], missing: list[str]) -> list[str]:
    """The undeclared names of a state, the likeliest old names of missing fields first."""
    import difflib

    def likeness(name: str) -> float:
        return max(
            difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
            + (0.3 if other.lower().startswith(name.lower()) else 0.0)
            for other in missing
        )

    return sorted(names, key=likeness, reverse=True)[:20]

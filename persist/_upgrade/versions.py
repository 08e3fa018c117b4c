"""Find the versions of one instance's state, and the steps that it needs, without running them.

A class of the MRO without a state in a file that states versions came later than the file: all fields
belonged to the instance's own class, whose steps come first; then those of the new class, from the
version that its stamps find, else from 1. `persist._upgrade.running` runs the steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

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
from persist._upgrade.items import NamedItems, named_items
from persist._upgrade.private_names import has_private_names, split_private
from persist._upgrade.target import (
    InstanceUpgrade,
    StatePart,
    TargetLayout,
    VersionPath,
    owner_of,
    subclass_piece,
)
from persist._upgrade.transfers import has_transfers
from persist.errors import (
    FutureVersionError,
    MissingMigrationError,
    SchemaError,
)
from persist.ops._owners import Transfer
from persist.registry import Registry
from persist.registry._declarations import of_releases
from persist.schema import Schema, demangled, minor_of
from persist.tree import ABSENT, is_slots_pair

__all__ = ["plain_state", "plan_instance", "stamped_entries"]


def plan_instance(
    target: TargetLayout,
    state: object,
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


def _add_owners(case: InstanceUpgrade, registry: Registry, bare: object) -> None:
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


def _owner(op: Transfer, case: InstanceUpgrade, registry: Registry, bare: object) -> StatePart:
    """The piece of a class that comes later; or in a bare state, of one that was a base then."""
    parts = {part.schema.name: part for part in case.target.parts}
    part = parts.get(op.base)
    schema = part.schema if part is not None else registry.schema_for(op.base)
    if bare is not None and isinstance(op, ops.from_base):
        version, how = registry.stamp_of(op.base, case.pieces[-1].value)
        piece = StatePart(op.base, version, how, INSIDE, None, (), schema, part)
        case.pieces.insert(-1, piece)
        return piece
    how = f"new since the file = {op.version}"
    piece = StatePart(op.base, op.version, how, FIELDS, {}, (), schema, part)
    case.pieces.insert(0, piece)
    return piece


def _name_items(
    case: InstanceUpgrade, items: tuple[object, ...] | None, registry: Registry
) -> None:
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
    values: Any, piece: StatePart, case: InstanceUpgrade, registry: Registry
) -> NamedItems | None:
    names = registry.item_names(piece.name, piece.version, len(values))
    if not names and len(piece.parts) == len(values) and all(piece.parts):
        names = piece.parts
    own = case.target.items
    if not names and len(own) == len(values):
        names = tuple(one.name for one in own)
    return named_items(tuple(values), names) if names else None


def _added(case: InstanceUpgrade, registry: Registry) -> list[StatePart]:
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
        piece = StatePart(schema.name, 1, "", INSIDE, None, (), schema, part)
        owner = owner_of(piece, case.pieces)
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


def stamped_entries(
    state: object, target: TargetLayout, registry: Registry
) -> dict[object, object]:
    """Return the entries of a state from which stamps find its version."""
    if not isinstance(state, dict):
        return {}
    stamps = [stamp for part in target.parts for stamp in registry.stamps(part.schema.name)]
    keys = {stamp.key for stamp in stamps if stamp.key is not None}
    return {key: state[key] for key in keys if key in state}


def _version_path(piece: StatePart, registry: Registry) -> VersionPath:
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


def _enveloped(envelope: Envelope, target: TargetLayout, registry: Registry) -> list[StatePart]:
    parts = {part.schema.name: part for part in target.parts}
    pieces = []
    for layer, value in zip(envelope.layers, envelope.values, strict=True):
        name = layer.schema if layer.schema in parts else _name_today(layer.schema, registry)
        if layer.kind == FIELDS:
            value = dict(zip(layer.names, value, strict=True))
        names = layer.names if layer.kind == INSIDE else ()
        pieces.append(
            StatePart(
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
        if piece.kind == INSIDE and not _subclass_has_dict(own, piece):
            piece.note = "inside the state of a subclass"
    _give_private(own, target, registry)
    return pieces


def _give_private(pieces: list[StatePart], target: TargetLayout, registry: Registry) -> None:
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


def _subclass_has_dict(pieces: list[StatePart], base: StatePart) -> bool:
    subclass = subclass_piece(pieces, base)
    return subclass is not None and isinstance(subclass.value, dict)


def _name_today(name: str, registry: Registry) -> str:
    schema = registry.schema_for(name)
    if schema is None:
        schema = registry.schema_for(registry.resolve(name))
    return name if schema is None else schema.name


def _bare(
    target: TargetLayout,
    state: object,
    registry: Registry,
    version: int | None,
    owners: Callable[[], Iterable[str]],
) -> list[StatePart]:
    """The pieces of a state that does not state the owners of fields: all are in that of the leaf.

    Of a state with a version it is the only piece (see `_added`), but for bases under a codec.
    """
    has_codec = any(part.kind == CODEC for part in target.parts)
    value = plain_state(state, has_codec)
    private: dict[str, dict[str, object]] = {}
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
            StatePart(
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


def plain_state(state: Any, has_codec: bool = False) -> object:
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

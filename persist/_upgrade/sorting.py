"""After the steps: each class of the MRO gets its fields, and what is missing or left over is reported."""

from __future__ import annotations

from typing import Any

from persist._envelope import (
    CODEC,
    INSIDE,
)
from persist._upgrade.items import NamedItems
from persist._upgrade.target import InstanceUpgrade, StatePart, TargetPart
from persist.errors import (
    SchemaError,
)
from persist.schema import demangled, mangled
from persist.tree import ABSENT

__all__ = ["join", "sort_fields"]


def join(piece: StatePart, leaf: StatePart) -> None:
    """Add the fields of a class that is no longer a base to those of the leaf."""
    if isinstance(piece.value, dict) and isinstance(leaf.value, dict):
        leaf.value = {**piece.value, **leaf.value}
    elif piece.value not in (None, {}, ()):
        leaf.note = f"the state of {piece.name!r}, which is no longer a base, was left out"


def sort_fields(case: InstanceUpgrade, unknown: str) -> None:
    """Assign the fields to the current classes, whichever class owned them in the file."""
    target = case.target
    own = {piece.name: piece for piece in case.pieces if piece.kind != INSIDE}
    private = {piece.name: piece.private for piece in case.pieces if piece.private}
    moved: dict[str, str] = {}  # private fields of a base that does not declare them: name in left
    left: dict[object, object] = {}
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


def _beyond(left: dict[object, object], case: InstanceUpgrade) -> dict[object, object]:
    """Undeclared fields: without attributes that are not saved, and without entries for stamps."""
    return {
        name: item
        for name, item in left.items()
        if name not in case.target.dropped and not _is_for_stamp(name, item, case)
    }


def _is_for_stamp(name: object, item: object, case: InstanceUpgrade) -> bool:
    """True if an entry is what a stamp read; not if a step put another value there."""
    return name in case.stamps and case.stamps[name] is item


def _of_codec(piece: StatePart, case: InstanceUpgrade) -> object:
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

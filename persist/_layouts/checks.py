"""A class whose layout changed while its version did not: found at import, at load and in a plan.

A file that says version 3 with one fingerprint, and a class that says version 3 with another, were
made by two different classes: somebody forgot to count the version. What such a file would load as
is a guess, so it is an error that shows both layouts, unless the user asks for less.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from persist._envelope import INSIDE
from persist._layouts.releases import WrittenRelease
from persist.errors import LayoutError, LayoutWarning, PersistError, SchemaError
from persist.registry import Registry
from persist.registry._declarations import user_stacklevel
from persist.registry._shapes import parts_of_tuple
from persist.schema import DECLARED, Field, Schema, dotted, fingerprint, minor_of, plain_name

if TYPE_CHECKING:  # imported where a layout has changed: no load waits for it
    from persist._layouts.description import ClassLayout

__all__ = [
    "POLICIES", "Written", "WrittenLayout", "check_case", "check_head", "check_policy", "check_written", "has_moved_fields",
    "mismatched", "newer_minors", "policy_of", "unchecked_heads",
]  # fmt: skip

POLICIES = ("error", "warn", "ignore")


@attrs.frozen
class WrittenLayout:
    """What a file says of the layout of one schema.

    Attributes:
        version: of the schema.
        fingerprint: of its fields.
        names: of its fields.
    """

    version: int
    fingerprint: str
    names: tuple[str, ...]


@attrs.frozen
class Written:
    """What a container says of its classes at once, where it is not what the program has.

    It is true if a load has to look at it.

    Attributes:
        layouts: schema -> its layout in the file, at the current version.
        releases: schema -> the release of its package that wrote the file.
        newer: schemas of which the file has a newer minor version.
        capsule: `persist._upgrade.capsule.Capsule`, if the program knows less of a class than the file.
        budget: bytes that its steps may make.
        parts: schema -> its version in the file, and the names of the parts of its tuples.
        readers: schema -> what its reader needs at least, if the program is older.
    """

    layouts: Mapping[str, WrittenLayout] = attrs.field(factory=dict)
    releases: Mapping[str, WrittenRelease] = attrs.field(factory=dict)
    newer: frozenset[str] = frozenset()
    capsule: Any = None
    budget: int = 0
    parts: Mapping[str, tuple[int, tuple[tuple[str, ...], ...]]] = attrs.field(factory=dict)
    readers: Mapping[str, str] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        has_capsule = self.capsule is not None or bool(self.newer)
        return (
            has_capsule
            or bool(self.layouts)
            or bool(self.parts)
            or any(not one.is_accepted for one in self.releases.values())
        )


def check_policy(policy: str | None) -> None:
    """Refuse a policy that is none.

    Raises:
        ValueError: it is not "error", "warn", "ignore" or None.
    """
    if policy is not None and policy not in POLICIES:
        raise ValueError(f"layout={policy!r}: one of 'error', 'warn', 'ignore' is expected.")


def policy_of(registry: Registry, policy: str | None = None) -> str:
    """Return what to do about a changed layout: as asked, else as the registry or a parent says."""
    if policy is not None:
        return policy
    said = (one.layout_policy for one in registry._line())
    return next((one for one in said if one is not None), "error")


def mismatched(
    written: Iterable[Mapping[str, Any]], registry: Registry
) -> dict[str, WrittenLayout]:
    """Return the schemas of a container whose layout differs from that of the current version.

    Args:
        written: the container's own list of schemas.
        registry: what is known.
    """
    found = {}
    for said in written:
        name, version, mark = said.get("name"), said.get("version"), said.get("fingerprint")
        if not isinstance(name, str) or not (mark or said.get("parts")):
            continue
        try:
            schema = registry.schema_for(name)
        except SchemaError:  # reported for the first record of the class
            continue
        if schema is not None and schema.version == version and _differs(schema, str(mark)):
            names = said.get("fields") or ()
            found[schema.name] = WrittenLayout(schema.version, str(mark), tuple(map(str, names)))
        elif schema is not None and schema.version == version and said.get("parts"):
            moved = _moved_parts(schema, said["parts"], registry)
            if moved:
                found[schema.name] = WrittenLayout(schema.version, "", moved)
    return found


def _moved_parts(schema: Schema, written: object, registry: Registry) -> tuple[str, ...]:
    """The names of a codec's tuple in a file, where today's of the same length have others; else ()."""
    if schema.cls is None or not isinstance(written, list):
        return ()
    if schema.codec:
        from persist._layouts.description import tuple_names

        today = tuple_names(registry.layout(schema.cls).leaf)
    else:
        own = parts_of_tuple(schema.cls)
        today = {len(own): own} if own else {}
    for names in written:
        is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if is_list and today.get(len(names), tuple(names)) != tuple(names):
            return tuple(names)
    return ()


def stated_parts(
    written: Iterable[Mapping[str, object]], registry: Registry
) -> dict[str, tuple[int, tuple[tuple[str, ...], ...]]]:
    """Return the names of the parts of tuples that a container states: schema -> version, names.

    Only of schemas that have another version here: their steps see the parts by name.
    """
    found = {}
    for said in written:
        name, version, listed = said.get("name"), said.get("version"), said.get("parts")
        if type(name) is not str or type(version) is not int or not isinstance(listed, list):
            continue
        try:
            schema = registry.schema_for(name) or registry.schema_for(registry.resolve(name))
        except SchemaError:  # reported for the first record of the class
            continue
        names = tuple(
            tuple(one)
            for one in listed
            if isinstance(one, list)
            and len(set(map(repr, one))) == len(one)
            and all(type(part) is str and part for part in one)
        )
        if schema is not None and names and version != schema.version:
            found[schema.name] = (version, names)
    return found


def newer_minors(written: Iterable[Mapping[str, object]], registry: Registry) -> frozenset[str]:
    """Return the schemas of which a container has the version of the program, and a newer minor version."""
    found = set()
    for said in written:
        name, mark = said.get("name"), said.get("fingerprint")
        if type(name) is not str or type(mark) is not str or not minor_of(mark):
            continue
        try:
            schema = registry.schema_for(name)
        except SchemaError:  # reported for the first record of the class
            continue
        is_same = schema is not None and schema.version == said.get("version")
        if schema is not None and is_same and minor_of(mark) > schema.minor:
            found.add(schema.name)
    return frozenset(found)


def _differs(schema: Schema, mark: str) -> bool:
    if minor_of(mark) != schema.minor:  # which is what a minor version is for
        return False
    return bool(mark) and bool(schema.fingerprint) and mark != schema.fingerprint


def check_case(case: Any, registry: Registry, policy: str | None = None) -> str:
    """Compare the layouts that an envelope names with those of the current classes.

    Args:
        case: what `persist._upgrade.versions.plan_instance` found.
        registry: what is known.
        policy: "error", "warn" or "ignore"; None is the registry's.

    Returns:
        What there is to note: "" where all is as written.

    Raises:
        LayoutError: one version has two layouts, and the policy is "error".
    """
    notes: list[str] = []
    if has_moved_fields(case):
        return ""
    for piece in case.pieces:
        schema = piece.schema
        if schema is None or piece.version != schema.version:
            continue
        if piece.parts and _moved_parts(schema, [[*piece.parts]], registry):
            written = WrittenLayout(piece.version, "", piece.parts)
            notes.append(check_written(schema, written, registry, policy))
            continue
        if not piece.fingerprint:
            continue
        if _differs(schema, piece.fingerprint):
            written = WrittenLayout(piece.version, piece.fingerprint, tuple(_names_of(piece)))
            notes.append(check_written(schema, written, registry, policy))
    return "; ".join(note for note in notes if note)


def has_moved_fields(case: Any) -> bool:
    """True if fields moved with a base class that was added or removed: the state as a whole is the same."""
    before = {piece.name for piece in case.pieces}
    today = {part.schema.name for part in case.target.parts}
    if before == today and all(piece.kind != INSIDE for piece in case.pieces):
        return False
    names = {name for piece in case.pieces for name in _names_of(piece)}
    return names == {field.name for part in case.target.parts for field in part.fields}


def _names_of(piece: Any) -> Iterable[str]:
    return piece.names or (piece.value if isinstance(piece.value, dict) else ())


def check_written(
    schema: Schema, written: WrittenLayout, registry: Registry, policy: str | None = None
) -> str:
    """Apply the policy to one schema whose layout in a file is not the current one.

    Returns:
        What there is to note.

    Raises:
        LayoutError: the policy is "error".
    """
    chosen = policy_of(registry, policy)
    if chosen == "ignore":
        return ""
    error = _changed(schema, written, registry)
    if chosen == "error":
        raise error
    if chosen == "warn":  # a plan notes it without a warning
        warnings.warn(f"{error.what}", LayoutWarning, stacklevel=user_stacklevel())
    return f"the layout of {schema.name!r} is not the one that the file was written with"


def _changed(schema: Schema, written: WrittenLayout, registry: Registry) -> LayoutError:
    from persist._layouts import description
    from persist._layouts.description import ClassLayout, FieldLayout
    from persist._layouts.lockfile import find_lock

    today = _today(schema, registry)
    lock = find_lock(_file_of(schema.cls))
    locked = lock.schemas.get(schema.name)
    known = None if locked is None else locked.versions.get(schema.version)
    if known is not None and known.layout.fingerprint == written.fingerprint:
        before = known.layout
    else:
        rows = tuple(today.field(name) or FieldLayout(name) for name in written.names)
        is_tuple = today.kind == description.CODEC and written.names
        arities = (len(written.names),) if is_tuple else ()
        before = ClassLayout(today.kind, rows, arities, written.fingerprint)
    lines = description.differences(before, today)
    parts = () if schema.codec else parts_of_tuple(schema.cls)
    if parts and not written.fingerprint:  # of a named tuple, whose layout has no order
        lines = [f"the parts were {', '.join(written.names)}, and are {', '.join(parts)}"]

    def mark(fingerprint: str) -> str:
        return f" ({fingerprint})" if fingerprint else ""

    return LayoutError(
        f"version {schema.version} of {schema.name!r} has two layouts: the file was written with "
        f"[{before}]{mark(written.fingerprint)}, and the class has [{today}]{mark(schema.fingerprint)}: "
        f"{_sentence(lines)}.",
        remedy=f"The class changed and its version did not: set version={schema.version + 1} in the head of "
        f"{schema.qualname}, and register the step with @persist.migration({schema.name!r}, "
        f'{schema.version}), or let `persist draft` write it. To load as it is: layout="warn".',
        schema=schema.name,
        version=schema.version,
        differences=lines,
        written=written.fingerprint,
        today=schema.fingerprint,
    )


def _today(schema: Schema, registry: Registry) -> ClassLayout:
    from persist._layouts import description

    layout = None if schema.cls is None else registry.layout(schema.cls)
    return description.layout_of(schema, layout)


def _sentence(lines: list[str]) -> str:
    return "; ".join(lines) or "their declared types differ"


def _file_of(cls: type | None) -> str | None:
    if cls is None:
        return None
    return getattr(sys.modules.get(cls.__module__), "__file__", None)


# At import.

_is_checking = [True]


@contextlib.contextmanager
def unchecked_heads() -> Iterator[None]:
    """Context manager: accept classes whose layout contradicts their declaration, for tools that repair it."""
    before, _is_checking[0] = _is_checking[0], False
    try:
        yield
    finally:
        _is_checking[0] = before


def check_head(cls: type, expected: object, version: int, registry: Registry) -> None:
    """Compare the fingerprint in the head of a class with its layout.

    The fields of a dataclass, and of an attrs class without slots, are known when the decorator is
    done, which is after this; they are worked out from the class body as the decorator will.

    Raises:
        SchemaError: it is no fingerprint.
        LayoutError: the layout is another.
    """
    if not _is_checking[0]:
        return
    from persist._layouts import description
    from persist._layouts.lockfile import find_lock

    if not isinstance(expected, str) or not 4 <= len(expected.rstrip("…")) <= 8:
        raise SchemaError(
            f"its layout is {expected!r}.",
            where=f"class {dotted(cls)}",
            remedy="A layout is the fingerprint that `persist lock` writes; `persist lock "
            "--write-layouts` puts it into the head.",
        )
    candidates = list(_candidates(cls, registry))
    if any(one.fingerprint.startswith(expected.rstrip("…")) for one in candidates):
        return
    if not candidates:
        return
    today = candidates[-1]
    name = vars(cls)[DECLARED].schema or dotted(cls)
    locked = find_lock(_file_of(cls)).schemas.get(name)
    known = None if locked is None else locked.versions.get(version)
    lines = [] if known is None else description.differences(known.layout, today)
    what = f" ({_sentence(lines)})" if lines else ""
    raise LayoutError(
        f"its layout is [{today}] ({today.fingerprint}), and its head says layout={expected!r}{what}.",
        where=f"class {dotted(cls)}",
        remedy=f"The layout changed: count the version (version={version + 1}) and add a step "
        f"(`persist draft` writes both), with layout={today.fingerprint!r}.",
        schema=name,
        version=version,
        differences=lines,
        today=today.fingerprint,
    )


def _candidates(cls: type, registry: Registry) -> Iterable[ClassLayout]:
    """The layouts that a class can turn out to have, the likeliest last."""
    from persist._layouts import description
    from persist._layouts.description import ClassLayout, FieldLayout

    done = {"__attrs_attrs__", "__dataclass_fields__"} & vars(cls).keys()
    try:
        schema = registry.schema_for(cls)
        layout = registry.layout(cls)
    except PersistError:  # reported at its first use
        return
    finally:
        if not done:  # read it again after its decorators have run
            registry._schemas.pop(cls, None)
            registry._layouts.pop(cls, None)
    if schema is None:
        return
    yield description.layout_of(schema, layout)
    if done or schema.codec or "persistent" in vars(cls):
        return
    fields = _decorated_fields(cls)
    if fields is not None:
        rows = tuple(FieldLayout(field.name, "", "", None) for field in fields)
        own = [field for field in fields if field.attribute not in _inherited(layout, cls)]
        own = [field for field in own if not field.transient]
        yield ClassLayout(description.FIELDS, rows, (), fingerprint(own))


def _inherited(layout: Any, cls: type) -> set[str]:
    return {
        field.attribute
        for part in layout.parts
        if part.cls is not cls
        for field in (*part.fields, *part.transients)
    }


def _decorated_fields(cls: type) -> list[Field] | None:
    """The fields that a decorator will make of the annotations; None where there are none."""
    from persist._layouts import description

    names = {
        name: None
        for name, annotation in description.annotations_of(cls).items()
        if "ClassVar" not in str(annotation) and "InitVar" not in str(annotation)
    }
    for name, found in vars(cls).items():
        if type(found).__name__ == "_CountingAttr":  # attr.ib() without an annotation
            names.setdefault(name, None)
    if not names:
        return None
    transients = vars(cls).get("transient", ())
    fields = []
    for name in names:
        value: Any = vars(cls).get(name)
        is_field = isinstance(value, dataclasses.Field) or type(value).__name__ == "_CountingAttr"
        more = value.metadata.get("persist") if is_field and value.metadata else None
        said = Field(**more) if isinstance(more, Mapping) else more or Field()
        transient = said.transient or (name in transients if "transient" not in names else False)
        fields.append(
            attrs.evolve(said, name=plain_name(name, cls), attribute=name, transient=transient)
        )
    return fields

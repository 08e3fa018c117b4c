"""Upgrade the state of one instance: find its versions, run the steps, assign the fields.

The states of the classes of an MRO are upgraded base first. If a file states which class owns which
field (an envelope), the steps of a class get its own fields only. Otherwise (an unversioned state, a
base under the codec of a subclass) all fields are in one dict: the steps of a class get those that no
other class owns now. A field that they read and do not return is removed; one that they never read is
kept (`_Watched` records the reads).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

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
from persist._upgrade.private_names import has_private_names, split_private
from persist.errors import (
    FutureVersionError,
    MigrationFailedError,
    PersistError,
    SchemaError,
)
from persist.ops import Instead
from persist.registry import Migration, Registry
from persist.schema import Field, Layout, Schema, demangled, mangled
from persist.tree import ABSENT, LazyArray, Record, is_slots_pair

__all__ = [
    "InstanceUpgrade",
    "TargetLayout",
    "VersionPath",
    "failed",
    "keys_that_tell",
    "plan_instance",
    "read_lazy",
    "run_steps",
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
    """

    schema: str
    found: int
    how: str
    to: int
    steps: tuple[Migration, ...] = ()
    note: str = ""

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
    """

    parts: list[TargetPart]
    layout: Layout | None
    is_open: bool
    dropped: frozenset[str]
    owners: tuple[str, ...] = ()
    headers: dict[Any, Any] = attrs.field(factory=dict, repr=False)

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
    parts = [
        TargetPart(part.schema, part.kind, part.fields, part.transients) for part in layout.parts
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
    course: VersionPath | None = None
    fingerprint: str = ""
    done: int = 0  # steps that compiled code has done already
    private: dict[str, Any] = attrs.field(factory=dict)  # of a base, out of an unversioned state
    hides: frozenset[str] = frozenset()  # private fields that no base's stamps and steps see

    @property
    def knows_its_gaps(self) -> bool:
        """True if the file was written with the current fields: a missing one was missing on the instance."""
        fingerprint = self.schema.fingerprint if self.schema is not None else ""
        return (
            bool(fingerprint)
            and fingerprint == self.fingerprint
            and not (self.course is not None and self.course.steps)
        )


@attrs.define(eq=False)
class InstanceUpgrade:
    """The upgrade of one instance, and its result.

    Attributes:
        target: the layout to which it is upgraded.
        courses: the version paths of its classes, base first.
        states: (part, state) of each part that has a state: a dict of fields, or a codec's state.
        extra: undeclared fields that are kept on request.
        unknown: names of undeclared fields.
        items: the members of a set subclass.
        instead: the value by which a migration replaced the instance, or ABSENT.
        stamp_keys: names of the entries that stamps read, which may be left out without a warning.
    """

    target: TargetLayout
    courses: list[VersionPath] = attrs.field(factory=list)
    states: list[tuple[TargetPart, Any]] = attrs.field(factory=list)
    extra: dict[Any, Any] = attrs.field(factory=dict)
    unknown: list[str] = attrs.field(factory=list)
    items: list[Any] | None = None
    instead: Any = ABSENT
    pieces: list[_StatePart] = attrs.field(factory=list)
    stamp_keys: frozenset[str] = frozenset()
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
        return any(course.steps for course in self.courses)

    def migrated(self, schema: str) -> bool:
        """True if there are steps of this schema."""
        return any(course.steps for course in self.courses if course.schema == schema)


def plan_instance(
    target: TargetLayout,
    state: Any,
    registry: Registry,
    *,
    version: int | None = None,
    owners: Callable[[], Iterable[str]] = tuple,
) -> InstanceUpgrade:
    """Find the versions of a state and the steps that it needs, without running them.

    Args:
        target: the layout to upgrade to.
        state: the older one; its containers must be copies, as steps change them.
        registry: migrations and stamps.
        version: the version that the record states.
        owners: the simple names of classes that may have mangled its attributes.

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
            case.stamp_keys = keys_that_tell(target, registry)
    for piece in case.pieces:
        if piece.schema is not None:
            piece.course = _course(piece, registry)
            case.courses.append(piece.course)
    return case


def keys_that_tell(target: TargetLayout, registry: Registry) -> frozenset[str]:
    """Return the entries of a state from which stamps find its version."""
    stamps = [stamp for part in target.parts for stamp in registry.stamps(part.schema.name)]
    return frozenset(stamp.key for stamp in stamps if stamp.key is not None)


def _course(piece: _StatePart, registry: Registry) -> VersionPath:
    schema = piece.schema
    assert schema is not None
    if piece.version > schema.version:
        where = f", which {schema.qualname} is" if schema.qualname != schema.name else ""
        raise FutureVersionError(
            f"its state has version {piece.version} of {schema.name!r}, and this program knows "
            f"version {schema.version}.",
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
    return VersionPath(schema.name, piece.version, piece.how, schema.version, steps, note)


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
        if piece.kind == INSIDE and not _heir_has_dict(own, piece):
            piece.note = "inside the state of a subclass"
    return pieces


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
    """The pieces of a state that does not state the owners of fields: all are in that of the leaf."""
    has_codec = any(part.kind == CODEC for part in target.parts)
    value = _plain_state(state, has_codec)
    private: dict[str, dict[str, Any]] = {}
    hidden: set[str] = (
        set()
    )  # private fields of the instance's own class: no base's stamp sees them
    if isinstance(value, dict) and has_private_names(value):
        if version is None and all(part.kind == FIELDS for part in target.parts):
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


def _plain_state(state: Any, has_codec: bool) -> Any:
    if has_codec:
        return None if state is ABSENT else state
    if state is ABSENT or state is None:
        return {}
    if is_slots_pair(state):
        return {**(state[0] or {}), **(state[1] or {})}
    return state


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
    for piece in pieces:
        if piece.kind == INSIDE:
            subclass = _heir_of(pieces, piece)
            if subclass is not None and piece.course is not None and piece.course.steps:
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
            and piece.course is not None
            and piece.course.steps
        ):
            result = _run_shared(piece, piece.value, pieces, memo, record, case)
        else:
            result = _run(piece, record, memo, case)
        if case.replaces(result):
            case.instead = result.value if isinstance(result, Instead) else result
            return case
        piece.value = result
    _sort(case, unknown)
    return case


def _run(
    piece: _StatePart, record: Record | None, memo: dict[Any, Any], case: InstanceUpgrade
) -> Any:
    state = piece.value
    steps = () if piece.course is None else piece.course.steps
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
    if record is not None:
        record.state = state
    try:
        result = step.up(state, record, memo)
    except Exception as error:  # user code may raise anything
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
    return MigrationFailedError(
        f"the step {step} failed: {_said(error)}.",
        remedy=f"{_cure_of(error)}{_of_state(state)} It is written in {step.where}; nothing was changed.",
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
    """A dict that records which of its items were read, for a state that several classes share."""

    def __init__(self, items: dict[Any, Any]) -> None:
        super().__init__(items)
        self.seen: set[Any] = set()

    def _all(self) -> None:
        self.seen.update(super().keys())

    def __getitem__(self, key: Any) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def __delitem__(self, key: Any) -> None:
        self.seen.add(key)
        super().__delitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)

    def pop(self, key: object, *default: object) -> Any:
        self.seen.add(key)
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
) -> Any:
    """Run the steps of one class on its share of a dict that several classes share."""
    if not isinstance(whole, dict):
        return whole
    hidden = {
        name
        for other in pieces
        if other is not piece and other.part is not None
        for name in other.part.names
    }
    if piece.part is not None:
        hidden -= piece.part.names
    if piece is not pieces[-1]:
        hidden |= pieces[-1].hides
    rest = {name: item for name, item in whole.items() if name in hidden}
    mine: Any = {name: item for name, item in whole.items() if name not in hidden}
    for name in piece.private.keys() & mine.keys():
        rest[name] = mine.pop(name)  # a private field of the same name, of the instance's own class
    mine.update(piece.private)
    assert piece.course is not None
    for step in piece.course.steps:
        if not isinstance(mine, dict):
            mine = _step(step, mine, record, memo)
            continue
        watched = _Watched(mine)
        result = _step(step, watched, record, memo)
        if case.replaces(result) if case is not None else isinstance(result, Instead | Record):
            if piece is not pieces[-1]:
                raise SchemaError(
                    f"the step {step} of a base class replaces the whole instance.",
                    remedy="Only the steps of the instance's own class can.",
                    schema=step.schema,
                )
            return result
        if not isinstance(result, dict):
            if piece is pieces[-1] and not rest:
                mine = result
                continue
            raise MigrationFailedError(
                f"the step {step} returns a {type(result).__name__}.",
                remedy="The state is shared with its base classes: return a dict of fields.",
                schema=step.schema,
                step=(step.start, step.to),
            )
        kept = {name: item for name, item in mine.items() if name not in watched.seen}
        given = dict(dict.items(result))
        mine = {**{name: kept[name] for name in kept if name not in given}, **given}
    if piece.private and isinstance(mine, dict):
        piece.private = {
            name: mine.pop(name) for name in list(mine) if name in piece.private or name in rest
        }
    return {**rest, **mine} if isinstance(mine, dict) else mine


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
            continue
        piece = own.get(part.schema.name)
        if part.kind == CODEC:
            case.states.append((part, None if piece is None else piece.value))
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
            fields.update({name: item for name, item in left.items() if name not in target.dropped})
            left = {}
        if part.schema.cls is None:  # no instance is built later, so set defaults now
            for field in part.fields:
                if field.name not in fields and field.has_default:
                    fields[field.name] = field.fresh(fields)
        case.states.append((part, fields))
    _refuse_missing(case, found, [str(name) for name in left if name not in target.dropped])
    case.unknown = [
        str(name) for name in left if name not in target.dropped and name not in case.stamp_keys
    ]
    if case.unknown and unknown == "error":
        raise SchemaError(
            f"its state has fields that {target.leaf.schema.name!r} does not declare: "
            f"{', '.join(case.unknown)}.",
            remedy='Declare them, drop them in a migration (persist.ops.drop), or load with unknown="warn".',
            schema=target.leaf.schema.name,
            fields=case.unknown,
        )
    if unknown == "keep":
        case.extra = {name: item for name, item in left.items() if name not in target.dropped}


def _named(value: object, part: TargetPart, case: InstanceUpgrade) -> dict[Any, Any]:
    """A state as a dict; a tuple is accepted if attrs or a dataclass wrote it by position."""
    if isinstance(value, dict):
        return value
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
        (course.found for course in case.courses if course.schema == part.schema.name), 1
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

"""Upgrade a tree or a state, plan it without effect, and go back.

    tree --aliases, stamps, migrations--> tree of today

`upgrade` works on a copy: containers are copied, arrays are shared and read-only
while steps run, and the source tree is as it was, whatever happens.

For who builds objects of the result: a `Record` whose class is declared here has

- ``cls``: today's `Global` (module and qualified name of the class),
- ``version``: today's version of its schema,
- ``state``: a dict of fields by declared name; where the class has a codec of
  its own, what ``__setstate__`` takes; where several classes of the MRO are declared,
  an envelope (`docs/envelope.md`), since each has a version of its own, and where the
  instance lacked a field, one, which tells so,
- ``args``, ``kwargs``, ``listitems``, ``dictitems``: the contents of an heir of a builtin,
  wherever the file had them.

`persist.versioned.make` and `restore_state` take exactly that. A record of which
nothing is known is as it was, but for names that an alias moved.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import attrs
import numpy as np

from persist import _fused
from persist._course import (
    Case,
    Course,
    Target,
    bring_up,
    failed,
    keys_that_tell,
    read_lazy,
    survey,
    target_of,
)  # fmt: skip
from persist._envelope import CODEC, FIELDS, INSIDE, ITEMS, Layer, seal, unwrap, wrap
from persist._places import is_equal, short
from persist._steps import outside
from persist._walk import Copier, arrays_in, has_no_arrays, is_holder
from persist.errors import (
    MigrationFailedError,
    PersistError,
    SchemaError,
    UnknownFieldWarning,
    UnknownSchemaError,
)
from persist.registry import Registry, default_registry
from persist.schema import Schema
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record

__all__ = ["Downgraded", "Entry", "Plan", "downgrade_record", "plan", "state_of", "upgrade"]


@attrs.define(eq=False)
class Entry:
    """What a load does to one record, and why.

    Attributes:
        path: its natural path; "" is the root.
        qualname: its class, as the file names it.
        today: the dotted name of its class today.
        schema: the name of its schema; None where nothing is known of the class.
        courses: the ways of the states of its classes, base first, its own last.
        aliases: old names that led to today's, in order.
        problem: why it cannot be brought up to date, or None.
        note: what else there is to say.
        is_seen: whether a pack knows it as plain data, which stands in its place.
    """

    path: str
    qualname: str
    today: str
    schema: str | None = None
    courses: tuple[Course, ...] = ()
    aliases: tuple[str, ...] = ()
    problem: PersistError | None = None
    note: str = ""
    is_seen: bool = False

    @property
    def is_opaque(self) -> bool:
        """Whether nothing is known of its class, so that it stays a record."""
        return self.schema is None and not self.is_seen

    @property
    def found(self) -> int | None:
        """The version of its own class in the file."""
        return self.courses[-1].found if self.courses else None

    @property
    def how(self) -> str:
        """How that version is known."""
        return self.courses[-1].how if self.courses else ""

    @property
    def to(self) -> int | None:
        """Today's version of its own class."""
        return self.courses[-1].to if self.courses else None

    @property
    def steps(self) -> list[str]:
        """What is done, base classes first: the function with file and line, or the ready-made steps."""
        return [str(step) for course in self.courses for step in course.steps]

    def __str__(self) -> str:
        return "\n".join(_lines(self, 1))


def _lines(entry: Entry, count: int) -> Iterator[str]:
    place = entry.path or "the root"
    more = f" (and {count - 1} like it)" if count > 1 else ""
    yield f"{place}: {entry.qualname}{more}"
    if entry.aliases:
        yield f"    is {entry.today} today ({'; '.join(entry.aliases)})"
    if entry.is_opaque:
        yield "    opaque: nothing is known of the class; it stays a record"
    for course in entry.courses:
        known = f"version {course.found} ({course.how})"
        if not course.steps:
            yield f"    {course.schema}: {known}, as today{_noted(course.note)}"
            continue
        yield f"    {course.schema}: {known} to {course.to}{_noted(course.note)}"
        for step in course.steps:
            yield f"        {step.start} → {step.to}  {step.text}"
    if entry.note:
        yield f"    {entry.note}"
    if entry.problem is not None:
        yield f"    cannot: {entry.problem.what} {entry.problem.remedy}".rstrip()


def _noted(note: str) -> str:
    return f"; {note}" if note else ""


@attrs.define(eq=False)
class Plan:
    """What a load does to each record of a file, and why; computed without effect.

    Attributes:
        entries: one for each record, in the order of the file.
        file: the file, if one is meant.
    """

    entries: list[Entry] = attrs.field(factory=list)
    file: str | None = None
    _migrated: dict[int, Record] = attrs.field(factory=dict, repr=False)

    def is_migrated(self, record: Record) -> bool:
        """Whether any step was done to a record of the upgraded tree."""
        return id(record) in self._migrated

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, path: str | int) -> Entry:
        if isinstance(path, int):
            return self.entries[path]
        for entry in self.entries:
            if entry.path == path:
                return entry
        raise KeyError(path)

    @property
    def problems(self) -> list[PersistError]:
        """Why records cannot be brought up to date."""
        return [entry.problem for entry in self.entries if entry.problem is not None]

    @property
    def opaque(self) -> list[str]:
        """The classes of which nothing is known, by their dotted names."""
        return sorted({entry.qualname for entry in self.entries if entry.is_opaque})

    def __str__(self) -> str:
        head = self.file or "plan"
        moved = sum(any(course.steps for course in entry.courses) for entry in self.entries)
        count = len(self.entries)
        lines = [
            f"{head}: {count} record{'s' * (count != 1)}, {moved} to be upgraded, "
            f"{sum(entry.is_opaque for entry in self.entries)} opaque, "
            f"{len(self.problems)} that cannot be"
        ]
        for entry, alike in _groups(self.entries):
            lines += [f"  {line}" for line in _lines(entry, alike)]
        return "\n".join(lines)


def _groups(entries: Iterable[Entry]) -> list[tuple[Entry, int]]:
    """Entries with how many go the same way, in the order of the first."""
    groups: dict[Any, list[Any]] = {}
    for entry in entries:
        problem = None if entry.problem is None else str(entry.problem.what)
        courses = tuple((c.schema, c.found, c.how, c.steps) for c in entry.courses)
        key = (entry.qualname, entry.aliases, courses, problem, entry.note)
        groups.setdefault(key, [entry, 0])[1] += 1
    return [(entry, count) for entry, count in groups.values()]


# Upgrading.


def upgrade(
    tree: Any,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    unknown: str = "warn",
    strict: bool = False,
    see: Callable[[Record], Any] | None = None,
) -> tuple[Any, Plan]:
    """Bring an inert tree up to today's names and versions.

    Records are visited in the order of the file, what is inside one before
    itself; in a cycle, what is met again before it is done is seen by the steps
    as it will be, not yet upgraded.

    Args:
        tree: of plain values, arrays and records; it is not changed.
        registry: what is known; None is the default one.
        file: for messages.
        unknown: what becomes of fields that nobody declares: "warn" (left out,
            one warning a class), "drop", "keep", "error".
        strict: a record whose versions only a guess tells (no envelope, no stamp
            answered) is an error, unless its schema is at version 1.
        see: what a pack sees in the place of a record that no schema knows, or ABSENT.

    Returns:
        The tree of today, and what was done to each record.

    Raises:
        SchemaError: a record cannot be upgraded, with its path; `FutureVersionError`,
            `MissingMigrationError` and `MigrationFailedError` are among them.
    """
    if unknown not in ("warn", "drop", "keep", "error"):
        raise ValueError(f"unknown={unknown!r}: one of 'warn', 'drop', 'keep', 'error' is meant.")
    run = _Run(default_registry if registry is None else registry, file, unknown, strict, see=see)
    return run.upgrade(tree), run.plan


class _Run:
    """One upgrade of one tree."""

    def __init__(
        self,
        registry: Registry,
        file: str | None,
        unknown: str,
        strict: bool,
        dry: bool = False,
        see: Callable[[Record], Any] | None = None,
    ) -> None:
        self.registry = registry
        self._see = see
        self.unknown = unknown
        self.strict = strict
        self.dry = dry
        self.plan = Plan([], file)
        self._file = file
        self._known: dict[str, _Known] = {}
        self._plain: dict[Global, bool] = {}
        self._headers: dict[int, tuple[Any, Layer | None]] = {}
        self._quick: dict[tuple[str, int, str], tuple[tuple[Course, ...], set[str]]] = {}
        self._globals: dict[Global, Global] = {}
        self._memo: dict[Any, Any] = {}
        self._unknown: dict[str, dict[str, None]] = {}
        self._frozen: dict[int, Any] = {}
        self._depth = 0
        self._copier = Copier(self._finish, self._moved)

    def upgrade(self, tree: Any) -> Any:
        try:
            result = self._copier.copy(tree)
        finally:
            for array in self._frozen.values():
                array.flags.writeable = True
        if self._frozen:
            roots = roots_of(self._frozen)
            for record in self.plan._migrated.values():
                thaw(record.state, roots)
        self._warn()
        return result

    def _warn(self) -> None:
        if self.unknown == "warn":
            for schema, names in self._unknown.items():
                warnings.warn(
                    unknown_text(schema, names, self._file),
                    UnknownFieldWarning,
                    stacklevel=outside(),
                )

    def _moved(self, named: Global) -> Global:
        """A global under its name of today."""
        known = self._globals.get(named)
        if known is None:
            today = self.registry.resolve(named.qualname)
            known = named if today == named.qualname else self._global(today)
            self._globals[named] = known
        return known

    def _global(self, qualname: str) -> Global:
        schema = self.registry.schema_for(qualname)
        if schema is not None and schema.cls is not None:
            return Global(schema.cls.__module__, schema.cls.__qualname__)
        module, _, name = qualname.rpartition(".")
        return Global(module, name)

    def _of(self, named: Global, state: Any) -> _Known:
        known = self._known.get(named.qualname)
        if known is None:
            known = self._known[named.qualname] = self._find(named)
        if known.schema is None:
            # The class moved and nobody said so, but its schema's name has outlived the move.
            envelope = unwrap(state)
            layers = (
                [] if envelope is None else [one for one in envelope.layers if one.kind != ITEMS]
            )
            schema = self.registry.schema_for(layers[-1].schema) if layers else None
            if schema is not None:
                note = f"found by its schema {schema.name!r}"
                target = target_of(schema, self.registry)
                return _Known(self._global(schema.qualname), schema, target, known.aliases, note)
        return known

    def _find(self, named: Global) -> _Known:
        today, aliases = self.registry.aliases_from(named.qualname)
        schema = self.registry.schema_for(today)
        target = None if schema is None else target_of(schema, self.registry)
        moved = named if today == named.qualname else self._global(today)
        said = tuple(
            f"alias {one.old}{'*' * one.old.endswith('.')} → {one.new}{'*' * one.new.endswith('.')}"
            + (f" since {one.since}" if one.since else "")
            for one in aliases
        )
        return _Known(moved, schema, target, said)

    def _finish(self, record: Record, path: Callable[[], str]) -> Any:
        named = record.cls
        entry = Entry("", named.qualname, named.qualname)
        try:
            return self._brought_up(record, named, entry, path)
        except PersistError as error:
            entry.problem = error
            where = f"record {named.qualname!r} at {path()!r}"
            error.at(file=self._file, where=where)
            if self.dry:
                self._note(entry, path)
                return record
            raise

    def _note(self, entry: Entry, path: Callable[[], str]) -> None:
        entry.path = path()
        self.plan.entries.append(entry)

    def _brought_up(
        self, record: Record, named: Global, entry: Entry, path: Callable[[], str]
    ) -> Any:
        known = self._of(named, record.state)
        entry.today, entry.aliases, entry.note = known.today.qualname, known.aliases, known.note
        if known.schema is None or known.target is None:
            seen = ABSENT if self._see is None else self._see(record)
            if seen is not ABSENT:
                entry.note = f"seen by its pack as {_kind_of(seen)}"
                entry.is_seen = True
                self._note(entry, path)
                return record if self.dry else seen
            if known.today is not named:
                _rename(record, named, known.today)
            elif record.maker is not None:
                record.maker = self._moved(record.maker)
            self._note(entry, path)
            return record
        entry.schema = known.schema.name
        quick = self._quickly(record, named, known, entry, path)
        if quick is not ABSENT:
            return quick
        cls = known.schema.cls
        if record.kind == "reduce" and cls is not None and issubclass(cls, np.ndarray):
            take_array(record)
        state = state_of(record, known.schema)
        case = survey(
            known.target,
            state,
            self.registry,
            version=record.version,
            owners=lambda: self._owners(named, known),
        )
        entry.courses = tuple(case.courses)
        self._refuse_guess(case)
        self._note(entry, path)
        if self.dry:
            return record
        return self._done(record, named, known, case, path)

    def _quickly(
        self,
        record: Record,
        named: Global,
        known: _Known,
        entry: Entry,
        path: Callable[[], str],
    ) -> Any:
        """Go the way of many like records whose states are declared fields and nothing else.

        Returns:
            What stands for the record; ABSENT where the general way is to be gone.
        """
        schema = known.schema
        if schema is None or self.dry or not record.is_bare or not self._is_plain(known):
            return ABSENT
        state, version, how = self._told(record, schema)
        if version is None:
            return ABSENT
        key = (named.qualname, version, how)
        found = self._quick.get(key)
        if found is None:
            found = self._quick[key] = (self._quick_courses(known, version, how), {*schema.names})
        courses, names = found
        if not courses or any(type(name) is str and name[:1] == "_" for name in state):
            return ABSENT
        steps = courses[0].steps
        written = _fused.advance(steps, failed, read_lazy)
        if written is None:
            return ABSENT
        before, is_stamped = record.state, record.version is None and how != "envelope"
        entry.courses = courses
        self._note(entry, path)
        is_plain = has_no_arrays(state.values())
        if not is_plain:
            freeze(state, self._frozen)
        given = written(state, self._memo)
        if type(given) is dict and given.keys() == names:
            _rename(record, named, known.today)
            record.state, record.version = given, schema.version
            self.plan._migrated[id(record)] = record
            if not (is_plain and has_no_arrays(given.values())):
                self._take_in(given, path)
            return record
        assert known.target is not None
        case = survey(known.target, before, self.registry, version=version)
        if is_stamped:
            case.told = keys_that_tell(known.target, self.registry)
        piece = case.pieces[0]
        piece.value, piece.done = given, len(steps)
        if isinstance(given, _fused.Odd):
            piece.value, piece.done = given.value, given.done
        return self._done(record, named, known, case, path)

    def _is_plain(self, known: _Known) -> bool:
        """Whether a class has nothing but declared fields, and no base that has any."""
        found = self._plain.get(known.today)
        if found is None:
            target = known.target
            found = self._plain[known.today] = (
                target is not None
                and len(target.parts) == 1
                and not target.is_open
                and target.leaf.kind == FIELDS
                and not target.dropped
                and known.schema is not None
                and known.schema.fields is not None
            )
        return found

    def _told(self, record: Record, schema: Schema) -> tuple[Any, int | None, str]:
        """The fields of a state and its version, however that is told; None where it is odd."""
        state = record.state
        if type(state) is dict:
            if record.version is not None:
                return state, record.version, "record"
            version, how = self.registry.stamp_of(schema.name, state)
            is_guess = self.strict and how.startswith("unstamped")
            return state, None if is_guess else version, how
        if type(state) is not tuple or not state:
            return state, None, ""
        header, layer = self._headers.get(id(state[0]), (None, None))
        if header is not state[0]:
            envelope = unwrap(state)
            alone = envelope is not None and len(envelope.layers) == 1
            layer = envelope.layers[0] if envelope is not None and alone else None
            self._headers[id(state[0])] = (state[0], layer)
        if layer is None or layer.kind != FIELDS or layer.schema != schema.name:
            return state, None, ""
        if len(state) != 2 or type(state[1]) is not tuple or len(state[1]) != len(layer.names):
            return state, None, ""
        return dict(zip(layer.names, state[1], strict=True)), layer.version, "envelope"

    def _quick_courses(self, known: _Known, version: int, how: str) -> tuple[Course, ...]:
        """The course of such records; none where nothing is to be done, or cannot be."""
        schema = known.schema
        assert schema is not None
        if version >= schema.version:
            return ()
        try:
            steps = self.registry.path(schema.name, version, schema.version)
        except SchemaError:  # told on the general way, with its place
            return ()
        return (Course(schema.name, version, how, schema.version, tuple(steps)),)

    def _owners(self, named: Global, known: _Known) -> set[str]:
        names = {named.qualname, *self.registry.old_names(known.today.qualname)}
        return {name.rpartition(".")[2] for name in names}

    def _refuse_guess(self, case: Case) -> None:
        if not self.strict:
            return
        for course in case.courses:
            if course.how.startswith("unstamped") and course.to > 1:
                raise SchemaError(
                    f"nothing tells the version of its state of {course.schema!r}.",
                    remedy=f"Register a stamp (@persist.stamp({course.schema!r})), or load with strict=False, "
                    "which takes it for version 1.",
                    schema=course.schema,
                )

    def _done(
        self,
        record: Record,
        named: Global,
        known: _Known,
        case: Case,
        path: Callable[[], str],
    ) -> Any:
        if case.is_migrated:
            self._freeze(case)
        shown = Record(
            record.cls, record.state, kind=record.kind, args=record.args, version=record.version
        )
        shown.listitems, shown.dictitems = record.listitems, record.dictitems
        bring_up(case, record=shown, memo=self._memo, unknown=self.unknown)
        record.args, record.listitems, record.dictitems = (
            shown.args,
            shown.listitems,
            shown.dictitems,
        )
        if case.instead is not ABSENT:
            return self._instead(record, case.instead, path)
        assert known.schema is not None
        if case.unknown:
            self._unknown.setdefault(known.schema.name, {}).update(dict.fromkeys(case.unknown))
        heir = known.schema.cls or object
        if case.items is not None and not issubclass(heir, BaseException):
            record.listitems = [*record.listitems, *case.items]
        if record.state is ABSENT and state_of(record, known.schema) is not ABSENT:
            record.args = ()  # the arguments of its rebuilding function were its state
        _rename(record, named, known.today)
        record.state = today_state(case)
        record.version = known.schema.version
        if case.is_migrated:
            self.plan._migrated[id(record)] = record
            self._take_in(record.state, path)
        return record

    def _instead(self, record: Record, value: Any, path: Callable[[], str]) -> Any:
        """What a migration put in the place of a record: brought up to date in its turn."""
        if isinstance(value, Record) and value is not record:
            self._take_in(value, path)
            return self._swapped(value)
        if is_holder(value):
            self._take_in(value, path)
        return value

    def _swapped(self, value: Any) -> Any:
        found = self._copier.replaced(value)
        return value if found is None else found

    def _take_in(self, value: Any, path: Callable[[], str]) -> None:
        """Bring up the records that a migration made."""
        for made in self._copier.fresh(value):
            self._refuse_unversioned(made)
            self._copier.adopt(made)
            if self._depth > 100:
                raise MigrationFailedError(
                    "migrations replace records by others without end.",
                    remedy="A record that a step returns is upgraded in its turn: give it a later version.",
                    schema=made.qualname,
                )
            self._depth += 1
            self._copier.replace(made, self._finish(made, path))
            self._depth -= 1

    def _refuse_unversioned(self, made: Record) -> None:
        known = self._of(made.cls, made.state)
        if made.version is not None or known.schema is None or known.schema.version == 1:
            return
        if unwrap(made.state) is None and not self.registry.stamps(known.schema.name):
            raise MigrationFailedError(
                f"a step made a record of {known.schema.name!r} that does not say its version.",
                remedy=f"Say it: Record({made.qualname!r}, state, version=...); today's is "
                f"{known.schema.version}.",
                schema=known.schema.name,
            )

    def _freeze(self, case: Case) -> None:
        """Let no step write into an array that others may share."""
        for piece in case.pieces:
            freeze(piece.value, self._frozen)


class _Known(NamedTuple):
    """What is known of the class that a file names."""

    today: Global
    schema: Schema | None
    target: Target | None
    aliases: tuple[str, ...]
    note: str = ""


def freeze(value: Any, frozen: dict[int, Any]) -> None:
    """Make every array below a value read-only, and note those that were not."""
    if type(value) is dict and has_no_arrays(value.values()):
        return
    for _, _, array in arrays_in([value]):
        if isinstance(array, np.ndarray) and array.flags.writeable:
            array.flags.writeable = False
            frozen[id(array)] = array


def roots_of(frozen: dict[int, Any]) -> set[int]:
    """Return the ids of what views of frozen arrays have as their base."""
    return {id(one) for array in frozen.values() for one in (array, array.base)}


def thaw(value: Any, roots: set[int]) -> None:
    """Make arrays writable again that a step made as views of what was read-only for it alone."""
    for _, _, array in arrays_in([value]):
        if not isinstance(array, np.ndarray) or array.flags.writeable:
            continue
        if array.base is not None and id(array.base) in roots:
            array.flags.writeable = True


def unknown_text(schema: str, names: Iterable[str], file: str | None = None) -> str:
    """Return what the warning about undeclared fields says."""
    listed = ", ".join(names)
    place = f"{file}: " if file else ""
    return (
        f"{place}old states of {schema!r} have fields that it does not declare: {listed}. They were "
        'left out. Declare them, drop them in a migration (persist.ops.drop), or load with unknown="keep".'
    )


def _kind_of(value: Any) -> str:
    if isinstance(value, np.ndarray | LazyArray):
        return f"an array {value.dtype} {value.shape}"
    return f"a {type(value).__name__}"


def _rename(record: Record, named: Global, today: Global) -> None:
    """Let a record be of its class of today."""
    if record.args[:1] == (named,):  # an ndarray's heir: its class is an argument too
        record.args = (today, *record.args[1:])
    if record.maker is not None and record.maker == named and today is not named:
        record.maker = None
        record.kind = "record" if record.kind == "reduce" else record.kind
    record.cls = today


def state_of(record: Record, schema: Schema | None = None) -> Any:
    """Return what stamps and steps see of a record: its state, or the arguments that rebuilt it.

    A class whose pickles call a function with all that there is (``__reduce__``,
    ``__getinitargs__``) has no state beside; then the tuple of arguments is its state.
    """
    if record.state is not ABSENT or not record.args:
        return record.state
    if record.kind not in ("reduce", "inst", "obj"):
        return ABSENT
    cls = schema.cls if schema is not None else None
    if cls is not None and issubclass(cls, BaseException | set | frozenset | np.ndarray):
        return ABSENT
    return record.args


def take_array(record: Record) -> None:
    """Part an ndarray heir's plain pickle into its array, an argument, and what else its state held.

    Source: ``ndarray.__reduce__``: ``(version, shape, dtype, is_fortran, data)``; heirs append
    to that tuple, or put a pair around it.
    """
    state, rest = record.state, ABSENT
    if type(state) is tuple and len(state) == 2 and type(state[0]) is tuple:
        state, rest = state
    if type(state) is not tuple or len(state) < 5 or not isinstance(state[2], np.dtype):
        return
    if rest is ABSENT and len(state) > 5:
        rest = state[5] if len(state) == 6 else state[5:]
    _, shape, dtype, fortran, data = state[:5]
    if isinstance(data, list) and dtype.kind == "O":
        array: np.ndarray[Any, Any] = np.empty(len(data), object)
        array[:] = data
    elif isinstance(data, bytes) and not dtype.hasobject:
        array = np.frombuffer(data, dtype)
    else:
        return
    record.args = (record.cls, array.reshape(shape, order="F" if fortran else "C"))
    record.state = rest


def today_state(case: Case) -> Any:
    """Return a state of today in the form that `Record.state` and ``restore_state`` take."""
    target = case.target
    if len(target.parts) == 1:
        ((part, state),) = case.states
        if part.kind == CODEC:
            return state
        if all(field.has_default or field.name in state for field in part.fields):
            return {**state, **case.extra}
    values: list[Any] = []
    names: list[Any] = []
    for part in target.parts:
        found = next((state for own, state in case.states if own is part), ABSENT)
        if part.kind == FIELDS and found is not ABSENT:
            fields = {**found, **(case.extra if part is target.leaf else {})}
            names.append(tuple(fields))
            values.append(tuple(fields.values()))
        else:
            is_tuple = part.kind == CODEC and type(found) is tuple
            names.append(len(found) if is_tuple else None)
            values.append(None if found is ABSENT else found)
    return wrap(_header(target, tuple(names)), values)


def _header(target: Target, names: tuple[Any, ...]) -> tuple[Any, ...]:
    """The header of today's versions for these names: one object, which a file holds once."""
    header = target.headers.get(names)
    if header is None:
        layers = []
        for part, own in zip(target.parts, names, strict=True):
            schema = part.schema
            if part.kind == INSIDE:
                own = tuple(field.name for field in part.fields)
            layers.append(Layer(schema.name, schema.version, schema.fingerprint, part.kind, own))
        header = target.headers[names] = seal(layers)
    return header


# Planning.


def is_today(tree: Any, registry: Registry) -> bool:
    """Whether `upgrade` would find nothing to do: every record is of a declared class, at today's
    version, with today's fields and no other.

    Only looks, and gives up at the first doubt: False may also mean that it was too odd to say.
    """
    verdicts: dict[Any, bool] = {}
    kept: dict[int, Global] = {}
    stack, seen = [tree], set()
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind in _LEAVES:
            continue
        if kind is Global:
            below: Iterable[Any] = ()
            key: Any = value
            verdict = verdicts.get(key)
            if verdict is None:
                verdict = verdicts[key] = registry.resolve(value.qualname) == value.qualname
        elif id(value) in seen:
            continue
        elif kind is Record:
            state = value.state
            if type(state) is not dict or not value.is_bare:
                return False
            named = value.cls
            kept[id(named)] = named
            key = (id(named), value.version, *state)
            verdict = verdicts.get(key)
            if verdict is None:
                verdict = verdicts[key] = _is_of_today(value, registry)
            below = state.values()
        else:
            verdict = True
            below = _below(value)
        if not verdict:
            return False
        seen.add(id(value))
        if not _LEAVES.issuperset(map(type, below)):
            stack.extend(below)
    return True


_LEAVES = frozenset(
    (type(None), bool, int, float, complex, str, bytes, bytearray, LazyArray, PersistentRef)
)


def _below(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return value.reshape(-1).tolist() if value.dtype == object else [Global("", "odd")]
    return ()


def _is_of_today(record: Record, registry: Registry) -> bool:
    schema = registry.schema_for(record.qualname)
    if schema is None or schema.cls is None or schema.codec or schema.fields is None:
        return False
    if registry.resolve(record.qualname) != record.qualname:
        return False
    target = target_of(schema, registry)
    return (
        len(target.parts) == 1
        and record.version == schema.version
        and set(record.state) == set(schema.names)
    )


def plan(
    tree: Any,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    see: Callable[[Record], Any] | None = None,
) -> Plan:
    """Return what `upgrade` would do to each record, and why, without doing anything.

    No migration runs; stamps do, since they only look.
    """
    run = _Run(default_registry if registry is None else registry, file, "drop", False, True, see)
    run.upgrade(tree)
    return run.plan


# Going back.


class Downgraded(NamedTuple):
    """An older state, and what it cannot hold.

    Attributes:
        value: a `Record` of the older version.
        losses: what is lost, one text for each thing.
    """

    value: Record
    losses: list[str]


def downgrade_record(
    record: Record, to: int | Mapping[str, int], registry: Registry | None = None
) -> Downgraded:
    """Return a record of today as an older version had it, and what is lost.

    Args:
        record: of a known schema, at today's version; it is not changed.
        to: the version of its own schema, or schema name -> version for those
            of its bases too.
        registry: what is known; None is the default one.

    Raises:
        UnknownSchemaError: nothing is known of its class.
        IrreversibleError: a step on the way has no inverse.
        MissingMigrationError: no path leads there.
    """
    registry = default_registry if registry is None else registry
    schema = registry.schema_for(registry.resolve(record.cls.qualname))
    if schema is None:
        raise UnknownSchemaError(
            f"nothing is known of the class {record.qualname!r}.",
            remedy="Register it with persist.register, or inherit persist.Versioned.",
            schema=record.qualname,
        )
    wanted = {schema.name: to} if isinstance(to, int) else dict(to)
    _refuse_wanted(wanted, schema, registry)
    copier = Copier(lambda made, path: made)
    older: Record = copier.copy(record)
    target = target_of(schema, registry)
    case = bring_up(
        survey(target, state_of(older, schema), registry, version=older.version or schema.version)
    )
    losses: list[str] = []
    states: list[tuple[Any, int, Any]] = []
    for part, state in case.states:
        version = wanted.get(part.schema.name, part.schema.version)
        for step in reversed(registry.path(part.schema.name, version, part.schema.version)):
            state, lost = _back(step, state, older)
            losses += [f"{part.schema.name} {step.to}→{step.start}: {one}" for one in lost]
        states.append((part, version, state))
    older.version = wanted.get(schema.name, schema.version)
    older.state = _older_state(states, case)
    return Downgraded(older, losses)


def _refuse_wanted(wanted: dict[str, int], schema: Schema, registry: Registry) -> None:
    """Refuse versions that there never were, and schemas that are none of the record's."""
    known = {part.schema.name: part.schema.version for part in target_of(schema, registry).parts}
    for name, version in wanted.items():
        if name not in known:
            raise UnknownSchemaError(
                f"{name!r} is no schema of {schema.name!r} or its bases.",
                remedy=f"Those are {', '.join(map(repr, known))}.",
                schema=name,
            )
        if type(version) is not int or not 1 <= version <= known[name]:
            raise SchemaError(
                f"a state of {name!r} cannot become one of version {version!r}.",
                remedy=f"Versions go from 1 to {known[name]}, which is today's.",
                schema=name,
                wanted=version,
            )


def _back(step: Any, state: Any, record: Record) -> tuple[Any, list[str]]:
    newer = Copier(lambda made, path: made).copy(state) if step.backward is not None else ABSENT
    try:
        result, lost = step.down(state, record)
        if newer is not ABSENT:
            lost = [*lost, *_lost_by(step, newer, result, record)]
    except PersistError as error:
        raise error.at(where=f"record {record.qualname!r}") from None
    except Exception as error:  # whatever a stranger's function raises
        raise MigrationFailedError(
            f"the way back of {step} fails: {type(error).__name__}: {error}.",
            where=f"record {record.qualname!r}",
            remedy="Nothing was changed.",
            schema=step.schema,
            step=(step.to, step.start),
        ) from error
    return result, lost


def _lost_by(step: Any, newer: Any, older: Any, record: Record) -> list[str]:
    """What the function that goes back lost: what the step would not make again of what it gave."""
    frozen: dict[int, Any] = {}
    again = Copier(lambda made, path: made).copy(older)
    freeze([again], frozen)
    try:
        again = step.up(again, record)
    except Exception:  # whatever a stranger's function raises: then nothing can be told
        return ["what it holds beyond the older state, which no upgrade could tell"]
    finally:
        for array in frozen.values():
            array.flags.writeable = True
    if not isinstance(newer, dict) or not isinstance(again, dict):
        return [] if is_equal(newer, again) else ["what it is beyond the older state"]
    return [
        f"{name} = {short(value)}"
        for name, value in newer.items()
        if name not in again or not is_equal(value, again[name])
    ]


def _older_state(states: list[tuple[Any, int, Any]], case: Case) -> Any:
    """One class's state as it is; that of several as an envelope, since each has its version."""
    if len(states) == 1 and len(case.target.parts) == 1:
        return states[0][2]
    layers, values = [], []
    versions = {id(part): (version, state) for part, version, state in states}
    for part in case.target.parts:
        version, state = versions.get(id(part), (part.schema.version, None))
        if id(part) not in versions:
            names = tuple(field.name for field in part.fields)
            layers.append(Layer(part.schema.name, version, "", INSIDE, names))
        elif part.kind == FIELDS and isinstance(state, dict):
            layers.append(Layer(part.schema.name, version, "", FIELDS, tuple(state)))
            state = tuple(state.values())
        else:
            layers.append(Layer(part.schema.name, version, "", CODEC, None))
        values.append(state)
    return wrap(seal(layers), values)

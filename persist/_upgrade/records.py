"""Upgrade a tree, or plan it without effect.

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
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from persist._envelope import FIELDS, ITEMS, Layer, unwrap
from persist._layouts import checks
from persist._layouts.checks import WrittenLayout
from persist._trees import numpy_random
from persist._trees.copier import Copier, has_no_arrays, is_holder
from persist._upgrade import compiled
from persist._upgrade.plan import Entry, Plan, Rehearsal, located
from persist._upgrade.state import freeze, roots_of, state_of, take_array, thaw, today_state
from persist._upgrade.versions import (
    InstanceUpgrade,
    TargetLayout,
    VersionPath,
    failed,
    keys_that_tell,
    plan_instance,
    read_lazy,
    run_steps,
    target_layout,
)  # fmt: skip
from persist.errors import (
    MigrationFailedError,
    PersistError,
    SchemaError,
    UnknownFieldWarning,
)
from persist.registry import Registry, default_registry
from persist.registry._declarations import user_stacklevel
from persist.registry._enums import may_be_member, member_of, name_of
from persist.schema import Schema
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record

__all__ = ["constant_record", "is_today", "plan", "rehearse", "unknown_text", "upgrade"]


# Upgrading.


def upgrade(
    tree: Any,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    unknown: str = "warn",
    strict: bool = False,
    see: Callable[[Record], Any] | None = None,
    live: Callable[[Any, Callable[[Any], bool]], Any] | None = None,
    names: str = "",
    read: bool = False,
    layout: str | None = None,
    written: Mapping[str, WrittenLayout] | None = None,
) -> tuple[Any, Plan]:
    """Bring an inert tree up to today's names and versions.

    Records are visited in the order of the file, what is inside one before
    itself. In a cycle, the steps of the inner one see the old state of what is met
    again, as the file has it: a `Record` with all its fields, not yet upgraded.

    Args:
        tree: of plain values, arrays and records; it is not changed.
        registry: what is known; None is the default one.
        file: for messages.
        unknown: what becomes of fields that nobody declares: "warn" (left out,
            one warning a class), "drop", "keep", "error".
        strict: a record whose versions only a guess tells (no envelope, no stamp
            answered) is an error, unless its schema is at version 1.
        see: what a pack sees in the place of a record that no schema knows, or ABSENT.
        live: puts records in the place of instances that steps made (`persist._objects.inert.Inert`).
        names: what records of declared classes are called: "schema", the name that outlives a
            move of the class, for files of ours; "class", the name by which it is imported, for
            pickles; "" leaves a name of today as it is in the file.
        read: read every `LazyArray` first, so that steps see arrays, wherever they look.
        layout: what to do where a state is of today's version and of another layout: "error",
            "warn" or "ignore"; None leaves it to the registry.
        written: the layouts, other than today's, that the file tells for all its records at once.

    Returns:
        The tree of today, and what was done to each record.

    Raises:
        SchemaError: a record cannot be upgraded, with its path; `FutureVersionError`,
            `MissingMigrationError` and `MigrationFailedError` are among them.
    """
    _check_unknown(unknown)
    run = _TreeUpgrade(
        default_registry if registry is None else registry,
        file,
        unknown,
        strict,
        see=see,
        live=live,
        names=names,
        read=read,
        layout=layout,
        written=written,
    )
    return run.upgrade(tree), run.plan


def _check_unknown(unknown: str) -> None:
    if unknown not in ("warn", "drop", "keep", "error"):
        raise ValueError(f"unknown={unknown!r}: one of 'warn', 'drop', 'keep', 'error' is meant.")


class _TreeUpgrade:
    """One upgrade of one tree."""

    def __init__(
        self,
        registry: Registry,
        file: str | None,
        unknown: str,
        strict: bool,
        dry: bool = False,
        see: Callable[[Record], Any] | None = None,
        live: Callable[[Any, Callable[[Any], bool]], Any] | None = None,
        names: str = "",
        read: bool = False,
        layout: str | None = None,
        written: Mapping[str, WrittenLayout] | None = None,
    ) -> None:
        self.layout = layout
        self._written = dict(written or {})
        self.registry = registry
        self._see = see
        self._live = live
        self._names = names
        self.unknown = unknown
        self.strict = strict
        self.dry = dry
        self.is_rehearsal = dry  # dry, and yet steps are done, to the copy
        self.plan = Plan([], file)
        self.rehearsal = Rehearsal(self.plan)
        self._file = file
        self._known: dict[str, _ClassInfo] = {}
        self._plain: dict[Global, bool] = {}
        self._headers: dict[int, tuple[Any, Layer | None]] = {}
        self._quick: dict[tuple[str, int, str], tuple[tuple[VersionPath, ...], set[str]]] = {}
        self._globals: dict[Global, Global] = {}
        self._may_be: dict[Global, bool] = {}  # a member of an enum, by the name of its class
        self._constants: dict[str, Record] = {}  # as pickles of ours spell them
        self._memo: dict[Any, Any] = {}
        self._unknown: dict[str, dict[str, None]] = {}
        self._frozen: dict[int, Any] = {}
        self._depth = 0
        self._copier = Copier(self._finish, self._moved, read=read)

    @property
    def _only_looks(self) -> bool:
        return self.dry and not self.is_rehearsal

    def upgrade(self, tree: Any) -> Any:
        try:
            result = self._copier.copy(tree)
        except PersistError as error:
            raise error.at(file=self._file) from error.__cause__
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
                    stacklevel=user_stacklevel(),
                )

    def _moved(self, named: Global) -> Any:
        """A global under its name of today."""
        known = self._globals.get(named)
        if known is None:
            today = self.registry.resolve(named.qualname)
            known = named if today == named.qualname else self._global(today)
            if self._names and today == named.qualname:
                schema = self.registry.schema_for(today)
                known = known if schema is None or schema.cls is None else self._global(today)
            if (
                self._names == "class"
                and self.registry.constant_named(known.qualname) is not ABSENT
            ):
                return self._constants.setdefault(known.qualname, constant_record(known.qualname))
            self._globals[named] = known
        return known

    def _global(self, qualname: str) -> Global:
        schema = self.registry.schema_for(qualname)
        if schema is not None and schema.cls is not None:
            if self._names == "schema":
                module, _, name = schema.name.rpartition(".")
                return Global(module, name)
            return Global(schema.cls.__module__, schema.cls.__qualname__)
        module, _, name = qualname.rpartition(".")
        return Global(module, name)

    def _of(self, named: Global, state: Any) -> _ClassInfo:
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
                target = target_layout(schema, self.registry)
                return _ClassInfo(
                    self._global(schema.qualname), schema, target, known.aliases, note
                )
        return known

    def _find(self, named: Global) -> _ClassInfo:
        today, aliases = self.registry.aliases_from(named.qualname)
        schema = self.registry.schema_for(today)
        target = None if schema is None else target_layout(schema, self.registry)
        moved = named if today == named.qualname else self._global(today)
        if self._names and schema is not None and schema.cls is not None:
            moved = self._global(today)
        said = tuple(
            f"alias {one.old}{'*' * one.old.endswith('.')} → {one.new}{'*' * one.new.endswith('.')}"
            + (f" since {one.since}" if one.since else "")
            for one in aliases
        )
        return _ClassInfo(moved, schema, target, said)

    def _finish(self, record: Record, path: Callable[[], str]) -> Any:
        named = record.cls
        if self._names == "class" and record.kind == "record":
            record.kind = "newobj"  # as a pickle spells what was made by hand
        entry = Entry("", named.qualname, named.qualname)
        try:
            return self._brought_up(record, named, entry, path)
        except PersistError as error:
            error.at(file=self._file, where=located(named.qualname, path()))
            if not self.dry:
                entry.problem = error
                raise
            self._note(entry, record, path)
            self.rehearsal.fail(record, error)
            return record

    def _note(self, entry: Entry, record: Record, path: Callable[[], str]) -> None:
        if entry._is_listed:
            return
        entry.path, entry._is_listed = path(), True
        self.plan.entries.append(entry)
        if self.dry:
            self.rehearsal.expect(record, entry)

    def _brought_up(
        self, record: Record, named: Global, entry: Entry, path: Callable[[], str]
    ) -> Any:
        known = self._of(named, record.state)
        entry.today, entry.aliases, entry.note = known.qualname, known.aliases, known.note
        if named.qualname == _CONSTANT and len(record.args) == 1 and type(record.args[0]) is str:
            name = record.args[0]
            if self.registry.constant_named(name) is not ABSENT:
                entry.note, entry.is_seen = f"the constant {name!r}", True
                self._note(entry, record, path)
                if self._only_looks or self._names == "class":
                    return record
                module, _, last = name.rpartition(".")
                return Global(module, last)  # as a container has it, so that steps see the same
        if known.schema is None or known.target is None:
            return self._without_schema(record, named, known, entry, path)
        entry.schema = known.schema.name
        if record.version is None or record.version < known.schema.version:
            self._copier.show_old()  # stamps and steps look at what the record refers to
        quick = self._quickly(record, named, known, entry, path)
        if quick is not ABSENT:
            return quick
        cls = known.schema.cls
        if record.kind == "reduce" and cls is not None and issubclass(cls, np.ndarray):
            take_array(record)
        state = state_of(record, known.schema)
        case = plan_instance(
            known.target,
            state,
            self.registry,
            version=record.version,
            owners=lambda: self._owners(named, known),
        )
        entry.courses = tuple(case.courses)
        self._refuse_guess(case)
        note = self._layout_note(record, known.schema, case)
        entry.note = entry.note or note
        self._note(entry, record, path)
        if self._only_looks:
            return record
        result = self._done(record, named, known, case, path)
        if self.dry and case.unknown and self.unknown != "keep":
            left_out = f"left out, since nobody declares them: {', '.join(case.unknown)}"
            entry.note = f"{entry.note}; {left_out}" if entry.note else left_out
        return result

    def _without_schema(
        self,
        record: Record,
        named: Global,
        known: _ClassInfo,
        entry: Entry,
        path: Callable[[], str],
    ) -> Any:
        """What becomes of a record that no schema knows: an enum's member, a pack's value, or itself."""
        may_be = self._may_be.get(named)
        if may_be is None:
            may_be = self._may_be[named] = may_be_member(named.qualname, self.registry)
        member = member_of(record, self.registry) if may_be else ABSENT
        if member is not ABSENT:
            named = name_of(member, self.registry)
            entry.note, entry.is_seen = f"{named.qualname}, a member of an enum", True
            self._note(entry, record, path)
            return record if self._only_looks else named
        seen = ABSENT if self._see is None else self._see(record)
        if seen is not ABSENT:
            entry.note = f"seen by its pack as {_kind_of(seen)}"
            entry.is_seen = True
            self._note(entry, record, path)
            return record if self._only_looks else seen
        if numpy_random.is_random(record):  # it is known by the name that its file has for it
            entry.note, entry.is_seen = "one of NumPy's random states", True
            self._note(entry, record, path)
            return record
        if known.today is not named:
            _rename(record, named, known.today)
        elif record.maker is not None:
            record.maker = self._moved(record.maker)
        self._note(entry, record, path)
        return record

    def _layout_note(self, record: Record, schema: Schema, case: InstanceUpgrade) -> str:
        """What there is to note of a layout that is not today's, where that is no error."""
        policy = self.layout
        if self.dry and checks.policy_of(self.registry, policy) == "warn":
            policy = "note"
        note = checks.check_case(case, self.registry, policy)
        written = self._written.get(schema.name)
        if written is None or record.version != schema.version:
            return note
        if checks.has_moved_fields(case):
            return note
        found = checks.check_written(schema, written, self.registry, policy)
        if not self.dry:  # one warning a file
            del self._written[schema.name]
        return note or found

    def _quickly(
        self,
        record: Record,
        named: Global,
        known: _ClassInfo,
        entry: Entry,
        path: Callable[[], str],
    ) -> Any:
        """Go the way of many like records whose states are declared fields and nothing else.

        Returns:
            What stands for the record; ABSENT where the general way is to be gone.
        """
        schema = known.schema
        if schema is None or self._only_looks or not record.is_bare or not self._is_plain(known):
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
        written = compiled.advance(steps, failed, read_lazy)
        if written is None:
            return ABSENT
        before, is_stamped = record.state, record.version is None and how != "envelope"
        entry.courses = courses
        self._note(entry, record, path)
        is_plain = has_no_arrays(state.values())
        if not is_plain:
            freeze(state, self._frozen)
        given = written(state, self._memo)
        if type(given) is dict and given.keys() == names:
            _rename(record, named, known.today)
            record.state, record.version = given, schema.version
            self.plan._migrated[id(record)] = record
            if not (is_plain and has_no_arrays(given.values())):
                record.state = self._inert(given)
                self._take_in(record.state, path)
            return record
        assert known.target is not None
        case = plan_instance(known.target, before, self.registry, version=version)
        if is_stamped:
            case.told = keys_that_tell(known.target, self.registry)
        piece = case.pieces[0]
        piece.value, piece.done = given, len(steps)
        if isinstance(given, compiled.Odd):
            piece.value, piece.done = given.value, given.done
        return self._done(record, named, known, case, path)

    def _is_plain(self, known: _ClassInfo) -> bool:
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

    def _quick_courses(self, known: _ClassInfo, version: int, how: str) -> tuple[VersionPath, ...]:
        """The course of such records; none where nothing is to be done, or cannot be."""
        schema = known.schema
        assert schema is not None
        if version >= schema.version:
            return ()
        try:
            steps = self.registry.path(schema.name, version, schema.version)
        except SchemaError:  # told on the general way, with its place
            return ()
        return (VersionPath(schema.name, version, how, schema.version, tuple(steps)),)

    def _owners(self, named: Global, known: _ClassInfo) -> set[str]:
        names = {named.qualname, *self.registry.old_names(known.today.qualname)}
        return {name.rpartition(".")[2] for name in names}

    def _refuse_guess(self, case: InstanceUpgrade) -> None:
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
        known: _ClassInfo,
        case: InstanceUpgrade,
        path: Callable[[], str],
    ) -> Any:
        if case.is_migrated:
            self._freeze(case)
        shown = Record(
            record.cls, record.state, kind=record.kind, args=record.args, version=record.version
        )
        shown.listitems, shown.dictitems = record.listitems, record.dictitems
        run_steps(case, record=shown, memo=self._memo, unknown=self.unknown)
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
            record.state = self._inert(record.state)
            self._take_in(record.state, path)
            if not record.is_bare:  # a step may have changed these, too
                for name in ("args", "listitems", "dictitems"):
                    setattr(record, name, self._inert(getattr(record, name)))
                    self._take_in(getattr(record, name), path)
        return record

    def _inert(self, value: Any) -> Any:
        """What a step gave, with records in the place of live instances."""
        return value if self._live is None else self._live(value, self._copier.is_own)

    def _instead(self, record: Record, value: Any, path: Callable[[], str]) -> Any:
        """What a migration put in the place of a record: brought up to date in its turn."""
        value = self._inert(value)
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

    def _freeze(self, case: InstanceUpgrade) -> None:
        """Let no step write into an array that others may share."""
        for piece in case.pieces:
            freeze(piece.value, self._frozen)
            freeze(piece.private, self._frozen)


class _ClassInfo(NamedTuple):
    """What is known of the class that a file names."""

    today: Global
    schema: Schema | None
    target: TargetLayout | None
    aliases: tuple[str, ...]
    note: str = ""

    @property
    def qualname(self) -> str:
        """The dotted name of the class today, whatever the record is called by."""
        return self.today.qualname if self.schema is None else self.schema.qualname


_CONSTANT = "persist.versioned._constant"


def constant_record(name: str) -> Record:
    """Return a constant as pickles of ours spell it (``docs/envelope.md``)."""
    module, _, last = _CONSTANT.rpartition(".")
    maker = Global(module, last)
    return Record(maker, ABSENT, maker=maker, kind="reduce", args=(name,))


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
    target = target_layout(schema, registry)
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
    layout: str | None = None,
    written: Mapping[str, WrittenLayout] | None = None,
) -> Plan:
    """Return what `upgrade` would do to each record, and why, without doing anything.

    No migration runs; stamps do, since they only look. Whether steps succeed, and whether objects
    can be made of what they give, only `rehearse` tells.
    """
    registry = default_registry if registry is None else registry
    run = _TreeUpgrade(
        registry, file, "drop", False, dry=True, see=see, layout=layout, written=written
    )
    run.is_rehearsal = False
    run.upgrade(tree)
    return run.plan


def rehearse(
    tree: Any,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    unknown: str = "warn",
    strict: bool = False,
    see: Callable[[Record], Any] | None = None,
    live: Callable[[Any, Callable[[Any], bool]], Any] | None = None,
    read: bool = False,
    layout: str | None = None,
    written: Mapping[str, WrittenLayout] | None = None,
) -> tuple[Any, Rehearsal]:
    """Do to a copy of a tree what `upgrade` does, and go on after what cannot be done.

    Stamps and migrations run, on the copy, since only a run tells whether they succeed and which
    fields they give; nothing warns.

    Returns:
        The tree of today, in which a record that cannot be upgraded stays one, and the rehearsal,
        whose plan says why.
    """
    _check_unknown(unknown)
    unknown = "drop" if unknown == "warn" else unknown
    registry = default_registry if registry is None else registry
    run = _TreeUpgrade(
        registry,
        file,
        unknown,
        strict,
        True,
        see,
        live=live,
        read=read,
        layout=layout,
        written=written,
    )
    return run.upgrade(tree), run.rehearsal

"""Upgrade a tree of records to the current layout, or plan it without effect.

    tree --aliases, stamps, migrations--> upgraded tree

`upgrade` works on a copy: containers are copied, arrays are shared and read-only while steps run, and
the source tree never changes.

In the result, a `Record` whose class is declared here has

- ``cls``: the current `Global` (module and qualified name of the class),
- ``version``: the current version of its schema,
- ``state``: a dict of fields by declared name; for a class with a codec, the argument of its
  ``__setstate__``; an envelope (`docs/envelope.md`) if several classes of the MRO are declared, since
  each has its own version, or if the instance lacked a field, which only an envelope can state,
- ``args``, ``kwargs``, ``listitems``, ``dictitems``: the contents of a subclass of a built-in type,
  wherever the file had them.

`persist.versioned.make` and `restore_state` take exactly that. A record of an unknown class is
unchanged, except for names that an alias moved.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from persist._envelope import ITEMS, unwrap
from persist._layouts import checks
from persist._layouts.checks import Written
from persist._runtime.progress import Count, current
from persist._trees import numpy_random
from persist._trees.copier import Copier, is_holder, records_in
from persist._upgrade.capsule import Lifted, lift
from persist._upgrade.compiled import can_be_written
from persist._upgrade.compiled_records import CompiledRecords, Upgraded
from persist._upgrade.items import contents_of, item_fields, taken_items
from persist._upgrade.plan import Entry, Plan, Rehearsal, located
from persist._upgrade.running import run_steps
from persist._upgrade.state import (
    freeze,
    roots_of,
    state_of,
    take_array,
    take_factory,
    thaw,
    today_state,
)
from persist._upgrade.target import InstanceUpgrade, TargetLayout, target_layout
from persist._upgrade.versions import plan_instance, stamped_entries
from persist.errors import (
    DamageWarning,
    FutureVersionError,
    MigrationFailedError,
    PersistError,
    SchemaError,
    UnknownFieldWarning,
)
from persist.registry import Registry, default_registry
from persist.registry._aliases import IMPORTED
from persist.registry._declarations import user_stacklevel
from persist.registry._enums import may_be_member, member_of, name_of
from persist.registry._order import order_of
from persist.schema import Schema, dotted, minor_of
from persist.tree import ABSENT, Global, LazyArray, Record, bare_record

__all__ = [
    "constant_record",
    "plan",
    "rehearse",
    "unknown_text",
    "upgrade",
]


# Upgrading.


def upgrade(
    tree: object,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    unknown: str = "warn",
    strict: bool = False,
    see: Callable[[Record], object] | None = None,
    live: Callable[[Any, Callable[[Any], bool]], Any] | None = None,
    names: str = "",
    read: bool = False,
    layout: str | None = None,
    written: Written | None = None,
    listed: bool = True,
) -> tuple[Any, Plan]:
    """Return a copy of an inert tree with the current names and versions.

    Records are visited in the order of the file, children before parents. In a cycle, the steps of
    the inner record see the outer one as the file has it: a `Record` with all its fields, not yet
    upgraded.

    Args:
        tree: of plain values, arrays and records; it is not changed.
        registry: the registry to use; None is the default one.
        file: its name, for messages.
        unknown: the treatment of undeclared fields: "warn" (left out, one warning per class),
            "drop", "keep", "error".
        strict: refuse a record whose version is a guess (no envelope, no matching stamp), unless
            its schema is at version 1.
        see: record without a schema -> the value by which a pack replaces it, or ABSENT.
        live: replaces instances that steps made by records (`persist._objects.inert.Inert`).
        names: the names written for declared classes: "schema", which outlives a move of the class,
            for containers; "class", the import path, for pickles; "" keeps a current name as the
            file has it.
        read: read every `LazyArray` first, so that steps see arrays, wherever they look.
        layout: the treatment of a state with the current version and another layout: "error",
            "warn" or "ignore"; None leaves it to the registry.
        written: the layouts and releases that the file states for all its records at once, if not the
            current.
        listed: list each record in the plan, with its path.

    Returns:
        The upgraded tree, and what was done to each record.

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
        listed=listed,
    )
    return run.upgrade(tree), run.plan


def _check_unknown(unknown: str) -> None:
    if unknown not in ("warn", "drop", "keep", "error"):
        raise ValueError(f"unknown={unknown!r}: use 'warn', 'drop', 'keep' or 'error'.")


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
        written: Written | None = None,
        listed: bool = True,
    ) -> None:
        self._is_listed = listed
        self.layout = layout
        self._written = dict(written.layouts) if written is not None else {}
        self._newer = frozenset[str]() if written is None else written.newer
        self._capsule = None if written is None else written.capsule
        self._budget = 0 if written is None else written.budget
        self._lifted = Lifted()
        self._releases = dict(written.releases) if written is not None else {}
        self._readers = dict(written.readers) if written is not None else {}
        self._parts = {} if written is None else written.parts
        self.registry = registry
        self._see = see
        self._live = live
        self._names = names
        self.unknown = unknown
        self.strict = strict
        self.dry = dry
        self.is_rehearsal = dry  # dry, but steps run on the copy
        self.plan = Plan([], file)
        self.rehearsal = Rehearsal(self.plan)
        self._file = file
        self._known: dict[str, ClassInfo] = {}
        self._globals: dict[Global, Global] = {}
        self._may_be: dict[
            Global, bool
        ] = {}  # may be a member of an enum, by the name of its class
        self._constants: dict[str, Record] = {}  # in the spelling of pickles that persist writes
        self._memo: dict[Any, Any] = {}
        self._unknown: dict[str, dict[str, None]] = {}
        self._frozen: dict[int, Any] = {}
        self._entered: dict[int, Any] = {}  # records whose arrays are read-only, by id
        self._depth = 0
        # Steps that take two arguments get a record that stands for the one in the copy.
        self._shown: dict[int, tuple[Record, Record]] = {}
        self._routes = CompiledRecords(
            registry, self._of, self._is_doubtful, strict, self._memo, self._frozen, self._entered
        )
        self._order = order_of(registry)
        is_ordered = self._order is not None
        at_once = None if listed or dry or names or is_ordered else self._at_once
        place = self._place if is_ordered else None
        self._copier = Copier(self._finish, self._moved, read=read, at_once=at_once, place=place)

    @property
    def _only_looks(self) -> bool:
        return self.dry and not self.is_rehearsal

    def upgrade(self, tree: object) -> object:
        if self._capsule is not None:
            tree, self._lifted = lift(tree, self._capsule, self.registry, self._budget)
            self._report_lifted()
        count = self._counted(tree)
        try:
            result = self._copier.copy(tree)
            if count is not None:
                count.end()
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

    def _counted(self, tree: object) -> Count | None:
        """Report how many records are done, if anybody listens; they are counted in advance then."""
        meter = current()
        if meter is None:
            return None
        total = sum(1 for _ in records_in(tree, set()))
        count = meter.count("upgrade", "objects", total, self._file)
        self._copier.count(count)
        return count

    def _report_lifted(self) -> None:
        """Say what was wrong with the capsule of the file, and what its steps lost."""
        place = f"{self._file}: " if self._file else ""
        lost = "; ".join(self._lifted.lost[:20])
        if lost and self.unknown == "error":
            raise SchemaError(
                f"the version that this program knows cannot hold everything; this would be lost: {lost}.",
                file=self._file,
                remedy='Load it with unknown="warn", or with a newer release of the program.',
            )
        if self.dry:
            return
        faults = [*self._capsule.faults, *self._lifted.failed] if self._capsule is not None else []
        for fault in faults:
            text = f"{place}the capsule of the file cannot be used: {fault}"
            warnings.warn(text, DamageWarning, stacklevel=user_stacklevel())
        if lost and self.unknown != "drop":
            text = f"{place}a newer program wrote it, and this one cannot hold everything; left out: {lost}"
            warnings.warn(text, UnknownFieldWarning, stacklevel=user_stacklevel())

    def _warn(self) -> None:
        if self.unknown == "warn":
            for schema, names in self._unknown.items():
                warnings.warn(
                    unknown_text(schema, names, self._file),
                    UnknownFieldWarning,
                    stacklevel=user_stacklevel(),
                )

    def _moved(self, named: Global) -> Any:
        """A global under its current name."""
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

    def _of(self, named: Global, state: Any) -> ClassInfo:
        known = self._known.get(named.qualname)
        if known is None:
            known = self._known[named.qualname] = self._find(named)
        if known.schema is None:
            # The class moved without an alias, but the name of its schema is still registered.
            envelope = unwrap(state)
            layers = (
                [] if envelope is None else [one for one in envelope.layers if one.kind != ITEMS]
            )
            schema = self.registry.schema_for(layers[-1].schema) if layers else None
            if schema is not None:
                note = f"found by its schema {schema.name!r}"
                target = with_items(target_layout(schema, self.registry))
                return ClassInfo(self._global(schema.qualname), schema, target, known.aliases, note)
        return known

    def _find(self, named: Global) -> ClassInfo:
        today, aliases = self.registry.aliases_from(named.qualname)
        schema = self.registry.schema_for(today)
        target = None if schema is None else with_items(target_layout(schema, self.registry))
        moved = named if today == named.qualname else self._global(today)
        if self._names and schema is not None and schema.cls is not None:
            moved = self._global(today)
        said = tuple(
            f"imported as {one.old}"
            if one.evidence == IMPORTED
            else f"alias {one.old}{'*' * one.old.endswith('.')} → {one.new}{'*' * one.new.endswith('.')}"
            + (f" since {one.since}" if one.since else "")
            for one in aliases
        )
        return ClassInfo(moved, schema, target, said)

    def _place(self, record: Record, waits: frozenset[str]) -> tuple[int, frozenset[str]]:
        """The place of a record in the order that steps declare, and what its holders wait for."""
        assert self._order is not None
        target = self._of(record.cls, record.state).target
        parts = () if target is None else target.parts
        return self._order.rank([part.schema.name for part in parts], waits)

    def _finish(self, record: Record, path: Callable[[], str]) -> Any:
        named = record.cls
        if self._names == "class" and record.kind == "record":
            record.kind = "newobj"  # a `Record` made by hand, in the spelling of a pickle
        entry = Entry("", named.qualname, named.qualname)
        try:
            return self._upgraded(record, named, entry, path)
        except PersistError as error:
            error.at(file=self._file, where=located(named.qualname, path()))
            if isinstance(error, FutureVersionError):
                self._say_need(error, entry.schema or "")
            if not self.dry:
                entry.problem = error
                raise
            self._note(entry, record, path)
            self.rehearsal.fail(record, error)
            return record

    def _say_need(self, error: FutureVersionError, schema: str) -> None:
        """Add to an error who wrote the file and what it needs, as far as the file states them."""
        release, need = self._releases.get(schema), self._readers.get(schema)
        if release is not None and need is None:  # a file from before readers were stated
            need = f"{release.package} >= {release.release}"
        wrote = "" if release is None else f"{release.package} {release.release} wrote it, and "
        if need is not None:
            error.what = f"{error.what.rstrip('.')}; {wrote}it needs {need}."

    def _note(self, entry: Entry, record: Record, path: Callable[[], str]) -> None:
        if entry._is_listed or not self._is_listed:
            return
        entry.path, entry._is_listed = path(), True
        self.plan.entries.append(entry)
        if self.dry:
            self.rehearsal.expect(record, entry)

    def _upgraded(
        self, record: Record, named: Global, entry: Entry, path: Callable[[], str]
    ) -> Any:
        known = self._of(named, record.state)
        entry.today, entry.aliases = known.qualname, known.aliases
        entry.note = known.note or self._lifted.done.get(named.qualname, "")
        if named.qualname == _CONSTANT and len(record.args) == 1 and type(record.args[0]) is str:
            name = record.args[0]
            if self.registry.constant_named(name) is not ABSENT:
                entry.note, entry.is_seen = f"the constant {name!r}", True
                self._note(entry, record, path)
                if self._only_looks or self._names == "class":
                    return record
                module, _, last = name.rpartition(".")
                return Global(module, last)  # as a container stores it, so that steps see the same
        if known.schema is None or known.target is None:
            return self._without_schema(record, named, known, entry, path)
        entry.schema = known.schema.name
        entry.note = entry.note or self._release_note(known.schema)
        if record.version is None or record.version < known.schema.version:
            self._copier.show_old()  # stamps and steps may look at the records that it refers to
        found = None if self._only_looks else self._routes.run(record, True)
        if found is not None:
            entry.version_paths = (found.path,)
            self._note(entry, record, path)
            return self._take(record, named, found, path)
        cls = known.schema.cls
        if record.kind == "reduce" and cls is not None and issubclass(cls, np.ndarray):
            take_array(record)
        if record.kind == "reduce" and cls is not None and issubclass(cls, defaultdict):
            take_factory(record)
        state = state_of(record, known.schema)
        case = plan_instance(
            known.target,
            state,
            self.registry,
            version=record.version,
            owners=lambda: self._owners(named, known),
            items=self._items(record, known, state),
            parts=self._parts_of(known.schema, record.version),
        )
        entry.version_paths = tuple(case.version_paths)
        self._refuse_guess(case)
        note = self._layout_note(record, known.schema, case)
        entry.note = entry.note or note
        self._note(entry, record, path)
        if self._only_looks:
            return record
        result = self._done(record, named, known, case, path)
        if self.dry and case.unknown and self.unknown != "keep":
            left_out = f"left out, since no class declares them: {', '.join(case.unknown)}"
            entry.note = f"{entry.note}; {left_out}" if entry.note else left_out
        return result

    def _is_of_newer_minor(self, case: InstanceUpgrade) -> bool:
        """True if a state is of the current version of a class, and of a newer minor version."""
        return any(
            piece.schema is not None
            and piece.version == piece.schema.version
            and (piece.name in self._newer or minor_of(piece.fingerprint) > piece.schema.minor)
            for piece in case.pieces
        )

    def _without_schema(
        self,
        record: Record,
        named: Global,
        known: ClassInfo,
        entry: Entry,
        path: Callable[[], str],
    ) -> object:
        """The result for a record without a schema: a member of an enum, a value of a pack, or itself."""
        may_be = self._may_be.get(named)
        if may_be is None:
            may_be = self._may_be[named] = may_be_member(named.qualname, self.registry)
        member = member_of(record, self.registry) if may_be else ABSENT
        if member is not ABSENT:
            owner = named.qualname
            named = name_of(member, self.registry)
            if not known.aliases and owner not in (
                dotted(type(member)),
                named.qualname.rpartition(".")[0],
            ):
                # A module has the enum under another name than its own.
                entry.aliases = (f"imported as {owner}",)
            entry.note, entry.is_seen = f"{named.qualname}, a member of an enum", True
            self._note(entry, record, path)
            return record if self._only_looks else named
        seen = ABSENT if self._see is None else self._see(record)
        if seen is not ABSENT:
            entry.note = f"seen by its pack as {_kind_of(seen)}"
            entry.is_seen = True
            self._note(entry, record, path)
            return record if self._only_looks else seen
        if numpy_random.is_random(record):  # recognised by the name in its file
            entry.note, entry.is_seen = "a random state of NumPy", True
            self._note(entry, record, path)
            return record
        if known.today is not named:
            is_called = record.kind == "reduce" and record.maker == named
            _rename(record, named, known.today)
            if is_called:  # by its current name
                record.kind, record.maker = "reduce", known.today
        elif record.maker is not None:
            record.maker = self._moved(record.maker)
        self._note(entry, record, path)
        return record

    def _is_doubtful(self, schema: str) -> bool:
        """True if the file states a layout or a release of a schema that is to be reported."""
        return schema in self._written or schema in self._releases

    def _release_note(self, schema: Schema) -> str:
        """A note about the release that wrote the file, if it is newer or of another major release.

        Raises:
            ReleaseError: it is not accepted.
        """
        release = self._releases.get(schema.name)
        if release is None:
            return ""
        if not release.is_accepted:
            raise release.error()
        return release.note

    def _layout_note(self, record: Record, schema: Schema, case: InstanceUpgrade) -> str:
        """A note about a layout that is not the current one, if that is not an error."""
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
        if not self.dry:  # one warning per file
            del self._written[schema.name]
        return note or found

    def _at_once(self, record: Record, path: Callable[[], str]) -> object:
        """Upgrade a record of the source tree, whose values need no visit; None for any other."""
        try:
            found = self._routes.run(record, False)
            if found is None:
                return None
            known = found.known
            if found.is_plain and known.schema is not None:
                if found.path.steps and known.schema.name not in self.plan._classes:
                    self.plan._classes.update((known.qualname, known.schema.name))
                return bare_record(known.today, record.kind, found.state, known.schema.version)
            made = bare_record(record.cls, record.kind, record.state, record.version)
            return self._take(made, record.cls, found, path)
        except PersistError as error:
            raise error.at(
                file=self._file, where=located(record.cls.qualname, path())
            ) from error.__cause__

    def _take(
        self, record: Record, named: Global, found: Upgraded, path: Callable[[], str]
    ) -> object:
        """Give a record the result of compiled steps; where they ended early, take the rest."""
        known, steps = found.known, found.path.steps
        assert known.schema is not None
        assert known.target is not None
        if steps:
            self.plan._classes.update((known.qualname, known.schema.name))
        if found.done >= 0:
            version = record.version
            if version is None and found.path.how not in ("envelope", "record"):
                version = found.path.found
            case = plan_instance(known.target, record.state, self.registry, version=version)
            if record.version is None and version is not None:
                case.stamps = stamped_entries(record.state, known.target, self.registry)
            case.pieces[0].value, case.pieces[0].done = found.state, found.done
            return self._done(record, named, known, case, path)
        _rename(record, named, known.today)
        record.state, record.version = found.state, known.schema.version
        if steps and not found.is_plain:
            self.plan._migrated[id(record)] = record
            record.state = self._inert(found.state)
            self._take_in(record.state, path)
        return record

    def _owners(self, named: Global, known: ClassInfo) -> set[str]:
        names = {named.qualname, *self.registry.old_names(known.today.qualname)}
        return {name.rpartition(".")[2] for name in names}

    def _refuse_guess(self, case: InstanceUpgrade) -> None:
        if not self.strict:
            return
        for path in case.version_paths:
            if path.how.startswith("unstamped") and path.to > 1:
                raise SchemaError(
                    f"the version of its state of {path.schema!r} is not known.",
                    remedy=f"Register a stamp (@persist.stamp({path.schema!r})), or load with strict=False, "
                    "which assumes version 1.",
                    schema=path.schema,
                )

    def _done(
        self,
        record: Record,
        named: Global,
        known: ClassInfo,
        case: InstanceUpgrade,
        path: Callable[[], str],
    ) -> Any:
        if case.is_migrated:
            self._freeze(case)
        shown = Record(record.cls, record.state, kind=record.kind, version=record.version)
        contents = contents_of(record)
        contents.show(shown)
        unknown = self.unknown
        if unknown == ("drop" if self.dry else "warn") and self._is_of_newer_minor(case):
            unknown = "keep"  # fields of a newer minor version are written back
        if not can_be_written(step for path in case.version_paths for step in path.steps):
            self._shown[id(shown)] = (shown, record)
        run_steps(case, record=shown, memo=self._memo, unknown=unknown)
        case.unknown = case.unknown if unknown == self.unknown else []
        if not contents.is_in(shown):
            record.kind = "newobj" if record.kind == "reconstructor" else record.kind
            record.args, record.kwargs = shown.args, shown.kwargs
            record.listitems, record.dictitems = shown.listitems, shown.dictitems
        if case.instead is not ABSENT:
            return self._instead(record, case.instead, path)
        assert known.schema is not None
        if case.unknown:
            self._unknown.setdefault(known.schema.name, {}).update(dict.fromkeys(case.unknown))
        cls = known.schema.cls or object
        if case.items is not None and not issubclass(cls, BaseException):
            record.listitems = [*record.listitems, *case.items]
        if record.state is ABSENT and state_of(record, known.schema) is not ABSENT:
            record.args = ()  # they were its state (see `state_of`)
        self._put_items(record, known, case)
        _rename(record, named, known.today)
        record.state = today_state(case)
        record.version = known.schema.version
        if case.is_migrated:
            self.plan._classes.update((known.qualname, known.schema.name))
            self.plan._migrated[id(record)] = record
            record.state = self._inert(record.state)
            self._take_in(record.state, path)
            if not record.is_bare:  # a step may have changed these too
                for name in ("args", "listitems", "dictitems"):
                    setattr(record, name, self._inert(getattr(record, name)))
                    self._take_in(getattr(record, name), path)
        return record

    def _items(self, record: Record, known: ClassInfo, state: Any) -> tuple[Any, ...] | None:
        """The parts of a named tuple, in the file or today, if they are no state already."""
        if known.target is None or not known.target.items:
            return None
        args = contents_of(record).args
        if record.state is ABSENT and type(state) is tuple:
            return None  # they are the state (see `state_of`)
        if record.kind == "reconstructor" and len(args) == 1 and isinstance(args[0], tuple):
            args = args[0]
        return args or None

    def _parts_of(self, schema: Schema, version: int | None) -> tuple[tuple[str, ...], ...]:
        """The names that the file states of the parts of a class's tuples in this version."""
        written, names = self._parts.get(schema.name, (None, ()))
        return names if written is not None and written == version else ()

    def _put_items(self, record: Record, known: ClassInfo, case: InstanceUpgrade) -> None:
        """Take the parts of a named tuple of today out of the fields, to be its arguments."""
        target = known.target
        if target is None or not target.items:
            return
        for part, state in case.states:
            if part is target.leaf and isinstance(state, dict):
                record.args = taken_items(target.items, state, part.schema.name)
                record.kind, record.maker, record.kwargs = "newobj", None, {}

    def _inert(self, value: object) -> Any:
        """The result of a step, with live instances replaced by records."""
        return value if self._live is None else self._live(value, self._copier.is_own)

    def _instead(self, record: Record, value: object, path: Callable[[], str]) -> object:
        """The value by which a migration replaced a record, itself upgraded."""
        value = self._inert(value)
        if id(value) in self._shown:
            value = self._shown[id(value)][1]
            if value is record:
                raise MigrationFailedError(
                    "a step puts the record that it was given in its own place.",
                    remedy="Return the record, or its newer state; ops.Instead is for another value.",
                    schema=record.qualname,
                )
        if isinstance(value, Record) and value is not record:
            self._take_in(value, path)
            return self._swapped(value)
        if is_holder(value):
            self._take_in(value, path)
        return value

    def _swapped(self, value: object) -> Any:
        found = self._copier.replaced(value)
        return value if found is None else found

    def _take_in(self, value: Any, path: Callable[[], str]) -> None:
        """Upgrade the records that a migration made."""
        for made in self._copier.fresh(value):
            if id(made) in self._shown:  # the record of another instance, that a step kept
                self._copier.adopt(made)
                self._copier.replace(made, self._shown[id(made)][1])
                continue
            self._refuse_unversioned(made)
            self._copier.adopt(made)
            if self._depth > 100:
                raise MigrationFailedError(
                    "migrations replace records by new records without end.",
                    remedy="A record that a step returns is upgraded too: give it a later version.",
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
                f"a step made a record of {known.schema.name!r} without a version.",
                remedy=f"Pass it: Record({made.qualname!r}, state, version=...); the current one is "
                f"{known.schema.version}.",
                schema=known.schema.name,
            )

    def _freeze(self, case: InstanceUpgrade) -> None:
        """Make arrays read-only: other records, and the source tree, may share them."""
        for piece in case.pieces:
            freeze(piece.value, self._frozen, self._entered)
            freeze(piece.private, self._frozen, self._entered)


def with_items(target: TargetLayout) -> TargetLayout:
    """A layout with the parts of a named tuple as fields of the class, for the time of the steps."""
    cls = target.leaf.schema.cls
    target.items = item_fields(cls)
    if target.items:
        known = {field.name for field in target.leaf.fields}
        more = tuple(field for field in target.items if field.name not in known)
        target.leaf.fields = (*target.leaf.fields, *more)
    return target


class ClassInfo(NamedTuple):
    """The current class, schema and layout for a class name in a file."""

    today: Global
    schema: Schema | None
    target: TargetLayout | None
    aliases: tuple[str, ...]
    note: str = ""

    @property
    def qualname(self) -> str:
        """The current dotted name of the class, not of its schema."""
        return self.today.qualname if self.schema is None else self.schema.qualname


_CONSTANT = "persist.versioned._constant"


def constant_record(name: str) -> Record:
    """Return a constant in the spelling of pickles that persist writes (``docs/envelope.md``)."""
    module, _, last = _CONSTANT.rpartition(".")
    maker = Global(module, last)
    return Record(maker, ABSENT, maker=maker, kind="reduce", args=(name,))


def unknown_text(schema: str, names: Iterable[str], file: str | None = None) -> str:
    """Return the text of the warning about undeclared fields."""
    listed = ", ".join(names)
    place = f"{file}: " if file else ""
    return (
        f"{place}old states of {schema!r} have fields that it does not declare: {listed}. They were "
        'left out. Declare them, drop them in a migration (persist.ops.drop), or load with unknown="keep".'
    )


def _kind_of(value: object) -> str:
    if isinstance(value, np.ndarray | LazyArray):
        return f"an array {value.dtype} {value.shape}"
    return f"a {type(value).__name__}"


def _rename(record: Record, named: Global, today: Global) -> None:
    """Give a record the current name of its class."""
    if record.args[:1] == (named,):  # an ndarray subclass: its class is an argument too
        record.args = (today, *record.args[1:])
    if record.maker is not None and record.maker == named and today is not named:
        record.maker = None
        record.kind = "record" if record.kind == "reduce" else record.kind
    record.cls = today


# Planning.


def plan(
    tree: Any,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    see: Callable[[Record], Any] | None = None,
    layout: str | None = None,
    written: Written | None = None,
) -> Plan:
    """Return what `upgrade` would do to each record, and why, without doing anything.

    No migration runs; stamps do, since they have no effect. Whether the steps succeed, and whether
    objects can be built from their results, only `rehearse` can show.
    """
    registry = default_registry if registry is None else registry
    run = _TreeUpgrade(
        registry, file, "drop", False, dry=True, see=see, layout=layout, written=written
    )
    run.is_rehearsal = False
    run.upgrade(tree)
    return run.plan


def rehearse(
    tree: object,
    registry: Registry | None = None,
    *,
    file: str | None = None,
    unknown: str = "warn",
    strict: bool = False,
    see: Callable[[Record], Any] | None = None,
    live: Callable[[Any, Callable[[Any], bool]], Any] | None = None,
    read: bool = False,
    layout: str | None = None,
    written: Written | None = None,
    warns: bool = False,
    listed: bool = True,
) -> tuple[Any, Rehearsal]:
    """Upgrade a copy of a tree as `upgrade` does, and continue after errors.

    Stamps and migrations run, on the copy, since only a run shows whether they succeed and which
    fields they return; there are no warnings, unless ``warns``.

    Returns:
        The upgraded tree, in which a record that cannot be upgraded is left as it was, and the
        rehearsal, whose plan has the errors.
    """
    _check_unknown(unknown)
    unknown = "drop" if unknown == "warn" and not warns else unknown
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
        listed=listed,
    )
    return run.upgrade(tree), run.rehearsal

"""The job "upgrade": a file becomes a new file in the current layout of the classes, or is replaced by it."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import io
import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Any

from persist._api.file import has_steps, names_declared, settle_text_of, written_layouts
from persist._api.keywords import OPEN_DEFAULTS
from persist._api.open import open as open_file
from persist._api.open import open_writable
from persist._upgrade.step_digests import steps_of
from persist._wire.base.urls import is_url
from persist.bulk import _living, _truth
from persist.bulk._filtering import is_wanted
from persist.bulk._formats import writer
from persist.bulk._job import Job, Outcome, Work
from persist.bulk._origin import digest_of, save, upgraded_from
from persist.bulk._originals import Originals
from persist.bulk._places import exists, is_file, new_file, nowhere, opened, own_name
from persist.bulk._staleness import look
from persist.errors import (
    DamagedFileError,
    MissingExtraError,
    OpaqueWarning,
    PersistError,
    SchemaError,
    UnknownFormatError,
    UnknownSchemaError,
)

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Plan
    from persist.registry import Registry

__all__ = ["UpgradeTask", "opening", "untrusted"]

_OPENING = ("py2_str", "salvage", "storage_options", "limits")
_RECORDED = ("py2_str", "salvage", "unknown", "strict", "trust")
_CHUNK = 1 << 20


def opening(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a job that are those of `persist.open`."""
    return {name: options[name] for name in _OPENING if options.get(name)}


def untrusted(opaque: Iterable[str], trust: Iterable[str]) -> list[str]:
    """Return the classes that no pattern of ``trust`` names."""
    trust = list(trust)
    return [name for name in opaque if not any(fnmatch.fnmatchcase(name, one) for one in trust)]


class UpgradeTask:
    """Upgrades one file after the other.

    Args:
        job: its options are ``to``, ``format``, ``in_place``, ``keep``, ``force``, ``dry_run``, ``cls``,
            ``at``, ``unknown``, ``strict``, ``trust``, ``certificates``, ``capsule``, ``originals`` and those of `open`.
        registry: what is declared.
    """

    def __init__(self, job: Job, registry: Registry) -> None:
        self._job = job
        self._registry = registry
        said = job.options
        self._said = said
        self._format: str = said.get("format") or "persist"
        self._unknown: str = said.get("unknown") or "warn"
        self._strict = bool(said.get("strict"))
        self._dry = bool(said.get("dry_run"))
        self._cls: str = said.get("cls") or ""
        self._storage: dict[str, Any] | None = said.get("storage_options")
        self._recorded = {
            name: list(value) if name == "trust" else value
            for name in _RECORDED
            if (value := said.get(name)) and value != "warn"
        }
        self._originals = (
            Originals(said["originals"], said["run"])
            if said.get("originals") and said.get("run")
            else None
        )

    def part(self) -> None:
        """Nothing is collected."""
        return

    def one(self, work: Work) -> Outcome:
        """Upgrade one file."""
        if self._said.get("in_place"):
            return self._in_place(work)
        source = _Digest(work.name, self._storage)
        again, target = "", work.target
        is_there = exists(target, self._storage)
        if is_there and _is_same(target, work.name):
            raise PersistError(
                "its target is the file itself.", file=work.name,
                remedy="Write under another name or folder, or replace it with --in-place.",
            )  # fmt: skip
        if is_there and not self._said.get("force"):
            stale, is_ours = look(
                work.name, target, self._registry, self._recorded, source, self._storage
            )
            if not stale:
                return self._finished("there already", work, source, target)
            if not is_ours:
                return Outcome("out of date", "failed", f", but {stale} (--force)", kind="OutOfDate",
                               error=f"{target} exists already, but {stale}.")  # fmt: skip
            again = f"  (again: {stale})"
        try:
            file = open_file(work.name, registry=self._registry, **opening(self._said))
        except UnknownFormatError:
            if work.is_named:
                raise
            return Outcome("not an experiment file", "left out", digest=self._digest(source))
        with file:
            if not is_wanted(file, self._job.filters):
                return Outcome("left out", "left out", format=file.format)
            if _living.is_wanted(file, self._format):
                return self._as_living(file, work, target, source, again)
            return self._upgraded(file, work, target, source, again)

    def _as_living(
        self, file: File, work: Work, target: str, source: _Digest, again: str
    ) -> Outcome:
        """Write the objects of a file as their library does today."""
        if self._cls:
            raise PersistError(
                f"--as excludes --format {self._format} for objects of libraries.", file=file.name
            )
        with self._place(target) as raw:
            for text in _living.write(self._job, work.name, raw, self._format):
                warnings.warn(text, OpaqueWarning, stacklevel=2)
            size, digest = _written(raw) if self._job.keeps_ledger else (-1, "")
            if not self._dry:
                self._keep(target)
        return Outcome(
            "would be upgraded" if self._dry else "upgraded",
            note=again,
            format=file.format,
            digest=self._digest(source),
            names=set(file._content.globals),
            target_size=size,
            target_digest=digest,
        )

    def _digest(self, source: _Digest) -> str:
        return source()[1] if self._job.keeps_ledger else ""

    def _finished(self, status: str, work: Work, source: _Digest, target: str) -> Outcome:
        """The outcome for a file of which nothing has to be done."""
        outcome = Outcome(status, digest=self._digest(source))
        if self._job.keeps_ledger and work.target:
            outcome.target_size, outcome.target_digest = digest_of(target, self._storage)
        return outcome

    def _upgraded(
        self, file: File, work: Work, target: str, source: _Digest, again: str
    ) -> Outcome:
        """Upgrade the tree of an open file, and write or copy it."""
        from persist._objects.inert import Inert
        from persist._upgrade import records

        state = self._state(file)
        is_pickle = writer(self._format).is_pickle
        tree, plan = records.upgrade(
            file.tree if state is None else state,
            file.knowledge,
            file=file.name,
            unknown=self._unknown,
            strict=self._strict,
            live=Inert(file.knowledge, is_pickle=is_pickle),
            names="class" if is_pickle else "schema",
            read=has_steps(file),
            written=written_layouts(file),
        )
        settle_text_of(file, tree)
        outcome = self._described(file, plan, source)
        outcome.note = _note(plan, file.damage) + again
        is_older = any(entry.steps or entry.aliases for entry in plan)
        is_ours = file.format == "persist" and not work.is_named and state is None
        if is_ours and self._said.get("to") is None and not self._said.get("names"):
            outcome.status = "of an older version" if is_older else "there already"
            outcome.note = outcome.note if is_older else ""
            return outcome
        is_copy = file.format == self._format == "persist" and not is_older and not file.damage
        is_copy = is_copy and own_name(target) == own_name(work.name) and state is None
        if is_copy:
            outcome.status = "would be copied" if self._dry else "copied"
            if not self._dry:
                self._copied(work.name, target, outcome)
            return outcome
        origin = upgraded_from(
            file, own_name(work.name), source(), steps_of(plan, file.knowledge),
            outcome.unknown, self._recorded, plan,
        )  # fmt: skip
        outcome.status = "would be upgraded" if self._dry else "upgraded"
        self._write(tree, file, plan, work, target, origin, outcome)
        return outcome

    def _state(self, file: File) -> Any:
        """The tree in which the value at a path is the state of the class that was named; None without one."""
        if not self._cls:
            return None
        from persist._api.unversioned import placed

        known = file.knowledge
        cls, schema = known.class_for(self._cls), known.schema_for(self._cls)
        cls = cls if cls is not None or schema is None else known.class_for(schema.qualname)
        if cls is None:
            raise UnknownSchemaError(
                f"--as names {self._cls!r}, which is not a declared class or schema.",
                remedy="Name the module that declares it with --import.",
                names=[self._cls],
            )
        at = str(self._said.get("at") or "")
        return placed(file.tree, file.looker, at, cls, known, file.name)

    def _described(self, file: File, plan: Plan, source: _Digest) -> Outcome:
        """The outcome of a file, as far as its plan tells it.

        Raises:
            SchemaError: a class is not declared, and the job is strict.
        """
        opaque = [name for name in plan.opaque if file.knowledge.plain_for(name) is None]
        strangers = untrusted(opaque, self._said.get("trust") or ())
        if strangers and self._strict:
            raise SchemaError(
                f"not declared: {', '.join(strangers)}.",
                file=file.name,
                remedy="Declare them in a module that --import names, or pass --trust NAME.",
            )
        counts: Counter[tuple[Any, ...]] = Counter(
            (entry.qualname, path.schema, path.found, path.to)
            for entry in plan
            if entry.schema is not None
            for path in entry.version_paths[-1:]
        )
        verdict = "damaged" if file.damage else "class unknown" if strangers else "well"
        return Outcome(
            "",
            verdict,
            format=file.format,
            digest=self._digest(source),
            names=set(file._content.globals),
            versions=[[*key, count] for key, count in counts.items()][:200],
            steps=steps_of(plan, file.knowledge),
            unknown=strangers,
        )

    # Writing.

    def _copied(self, source: str, target: str, outcome: Outcome) -> None:
        """Copy a file atomically."""
        self._keep(target)
        with opened(source, self._storage) as old, new_file(target, self._storage) as new:
            shutil.copyfileobj(old, new, _CHUNK)
        if self._job.keeps_ledger:
            outcome.target_size, outcome.target_digest = digest_of(target, self._storage)

    def _keep(self, target: str) -> None:
        """Keep the file that is about to be replaced."""
        if self._originals is not None and is_file(target, self._storage):
            self._originals.keep(target, digest_of(target, self._storage)[1], self._storage)

    def _write(
        self, tree: object, file: File, plan: Plan, work: Work, target: str,
        origin: dict[str, Any], outcome: Outcome,
    ) -> None:  # fmt: skip
        """Write the tree, load it back and compare; only then it gets its name. A dry run does all but that."""
        with self._place(target) as raw:
            save_to(
                raw, tree, file, self._format, target, self._registry, origin,
                bool(self._said.get("capsule")),
            )  # fmt: skip
            size, digest = (
                _written(raw) if self._job.keeps_ledger or self._certificates else (-1, "")
            )
            outcome.target_size, outcome.target_digest = size, digest
            compared = self._checked(raw, tree, file, plan, target, work, outcome)
            if self._certificates:
                self._certify(raw, file, work, origin, compared, (target, size, digest))
            if not self._dry:
                self._keep(target)

    def _place(self, target: str) -> AbstractContextManager[IO[bytes]]:
        """Where a new file is written before it gets its name; in a dry run it gets none."""
        return nowhere(target) if self._dry else new_file(target, self._storage)

    @property
    def _certificates(self) -> str:
        return "" if self._dry else str(self._said.get("certificates") or "")

    def _checked(
        self,
        raw: IO[bytes],
        tree: object,
        file: File,
        plan: Plan,
        target: str,
        work: Work,
        outcome: Outcome,
    ) -> _truth.Compared:
        """Load what was written, and compare it with the source.

        Raises:
            DamagedFileError: it is not what was to be written.
        """
        from persist._api.save import _flat
        from persist._trees.compare import difference
        from persist._upgrade import records

        to = writer(self._format)
        with _opened(raw, self._registry) as new:
            if to.is_flat:
                fault = _truth.flat_fault(_flat(tree, self._format), new)
                _refuse(fault, target)
                return _truth.Compared("arrays")
            outcome.names = {*outcome.names, *new._content.globals}
            again = new.tree
            if to.is_pickle:  # its versions are in envelopes, inside the states
                again, _ = records.upgrade(again, file.knowledge, names="class")
            _refuse(difference(tree, again), target)
            try:
                return self._as_objects(file, new, plan, target, work)
            except PersistError as error:
                error.file = target  # users know the target, not the temporary file
                raise

    def _as_objects(
        self, file: File, new: File, plan: Plan, target: str, work: Work
    ) -> _truth.Compared:
        """Load both files to objects, and compare them."""
        if not names_declared(new):
            return _truth.Compared("trees")
        try:
            after = _truth.value_of(new, unknown="keep" if self._unknown == "keep" else "warn")
        except (
            MissingExtraError
        ) as error:  # arrays whose type needs an extra are no fault of the file
            return _truth.Compared("trees", error.what)
        with self._old(file, plan, work) as old:
            state = self._state(old)
            unknown = "drop" if self._unknown == "warn" else self._unknown
            before = (
                _truth.value_of(old, unknown=unknown)
                if state is None
                else _truth.value_of(old, state, unknown=unknown)
            )
            compared = _truth.compare(before, after, self._registry)
        _refuse(compared.fault, target)
        return compared

    @contextlib.contextmanager
    def _old(self, file: File, plan: Plan, work: Work) -> Iterator[File]:
        """The source for a second time: steps may have changed what they were given."""
        if not self._cls and not any(entry.steps for entry in plan):
            yield file
            return
        options: Any = {**OPEN_DEFAULTS, **opening(self._said), "registry": self._registry}
        with open_writable(work.name, options) as old:
            if old._content.globals == file._content.globals:
                old.__dict__["knowledge"] = file.knowledge  # what is known of the same names
            yield old

    def _certify(
        self, raw: IO[bytes], file: File, work: Work, origin: dict[str, object],
        compared: _truth.Compared, written: tuple[str, int, str],
    ) -> None:  # fmt: skip
        base = str(self._said.get("to") or "").rstrip("/") + "/"
        inside = own_name(work.target)
        if len(base) > 1 and work.target.startswith(base):
            inside = os.path.normpath(work.target[len(base) :])
        path = os.path.join(self._certificates, f"{inside}.json")
        with _opened(raw, self._registry) as new:
            _truth.write_certificate(path, file, new, origin, compared, written)

    # In place.

    def _in_place(self, work: Work) -> Outcome:
        """Upgrade one container in its place."""
        from persist._upgrade import records

        source = _Digest(work.name)
        try:
            with open_file(work.name, registry=self._registry) as file:
                if file.format != "persist" and not work.is_named:
                    return Outcome("not an experiment file", "left out", format=file.format)
                if not is_wanted(file, self._job.filters):
                    return Outcome("left out", "left out", format=file.format)
                written = written_layouts(file)
                plan = records.plan(file.tree, file.knowledge, file=file.name, written=written)
                outcome = self._described(file, plan, source)
        except UnknownFormatError:
            if work.is_named:
                raise
            return Outcome("not an experiment file", "left out")
        if not any(entry.steps or entry.aliases for entry in plan):
            outcome.status, outcome.target_digest = "up to date", outcome.digest
            return outcome
        outcome.note = _note(plan, [])
        if self._dry:
            with open_file(work.name, registry=self._registry) as file:
                self._tried(file)
            outcome.status = "would be upgraded"
            return outcome
        return self._replaced(work, outcome)

    def _replaced(self, work: Work, outcome: Outcome) -> Outcome:
        from persist._api.renew import renew

        if self._originals is not None:
            self._originals.keep(work.name, digest_of(work.name)[1])
        keep = bool(self._said.get("keep")) and self._originals is None
        plan, done = renew(
            work.name, keep=keep, check=lambda made, again: self._check(work, made, again),
            registry=self._registry, unknown=self._unknown, strict=self._strict,
        )  # fmt: skip
        if done is None:
            outcome.status, outcome.note = "up to date", ""
            return outcome
        how = {
            "reflink": "shared with the old file",
            "copy_file_range": "copied by the system",
            "copy": "copied: this file system can neither share nor copy them itself",
        }
        outcome.status = "upgraded"
        outcome.note = f"{_note(plan, [])}  [{done.kept:,} bytes of arrays {how[done.how]}]"
        if self._job.keeps_ledger:
            outcome.target_size, outcome.target_digest = digest_of(work.name)
        return outcome

    def _check(self, work: Work, made: object, again: object) -> None:
        """Compare a container that is about to replace another one with it."""
        from persist._trees.compare import difference

        fault = difference(made, again, arrays=False)
        options: Any = {**OPEN_DEFAULTS, "registry": self._registry}
        with open_writable(work.name, options) as old:
            after = _built(again, old)
            if not fault and after is not None:
                unknown = "drop" if self._unknown == "warn" else self._unknown
                before = _truth.value_of(old, unknown=unknown)
                fault = _truth.compare(before, after, self._registry, arrays=False).fault
        if fault:
            raise DamagedFileError(
                f"the new file does not load back as it was written: {fault}.",
                file=work.name,
                remedy="The old file is unchanged. Please report this together with it.",
            )

    def _tried(self, file: File) -> None:
        """Do to a container all but replacing it, to find out whether it fails."""
        from persist._container.writing.graph import encode
        from persist._objects.inert import Inert
        from persist._trees.compare import difference
        from persist._upgrade import records

        made, plan = records.upgrade(
            file.tree, file.knowledge, file=file.name, unknown=self._unknown, strict=self._strict,
            live=Inert(file.knowledge), names="schema", read=has_steps(file),
            written=written_layouts(file),
        )  # fmt: skip
        encode(made, file.name)
        with tempfile.TemporaryFile(buffering=0) as made_file:
            save_to(made_file, made, file, "persist", file.name, self._registry, None)
            with _opened(made_file, self._registry) as new:
                _refuse(difference(made, new.tree), file.name)
                work = Work(0, file.name, True)
                self._as_objects(file, new, plan, file.name, work)


class _Digest:
    """The size and the digest of a source, computed once, when they are asked for."""

    def __init__(self, name: str, storage_options: dict[str, Any] | None = None) -> None:
        self._name = name
        self._options = storage_options
        self._found: tuple[int, str] | None = None

    def __call__(self) -> tuple[int, str]:
        if self._found is None:
            self._found = digest_of(self._name, self._options)
        return self._found


def save_to(
    raw: IO[bytes], tree: object, file: File, format: str, target: str, registry: Registry,
    origin: dict[str, object] | None, capsule: bool = False,
) -> None:  # fmt: skip
    """Write a tree into an open, unbuffered file."""
    if format == "persist":
        save(
            tree, raw, file, format=format, name=target, registry=registry, upgraded=origin,
            capsule=capsule,
        )  # fmt: skip
        return
    buffered = io.BufferedRandom(raw, _CHUNK)  # type: ignore[arg-type]
    try:
        save(tree, buffered, file, format=format, name=target, registry=registry)
        buffered.flush()
    finally:
        with contextlib.suppress(ValueError):  # the writer closed it
            buffered.detach()


def _opened(raw: IO[bytes], registry: Registry) -> File:
    """Open what was written into a file that has no name yet."""
    raw.seek(0)
    return open_writable(raw, {**OPEN_DEFAULTS, "verify": "always", "registry": registry})


def _written(raw: IO[bytes]) -> tuple[int, str]:
    """The size and the digest of what was written."""
    state, size = hashlib.sha256(), 0
    raw.seek(0)
    while data := raw.read(_CHUNK):
        state.update(data)
        size += len(data)
    return size, state.hexdigest()


def _built(tree: object, old: File) -> object:
    """The objects of a tree that was read back, which is used up; None if an extra is missing."""
    import warnings

    from persist._objects.build import build

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return build(tree, old.knowledge, file=old.name, finish=False)
        except MissingExtraError:
            return None


def _is_same(target: str, source: str) -> bool:
    """Whether two places are one file."""
    if is_url(target) or is_url(source):
        return target == source
    return os.path.exists(source) and os.path.samefile(target, source)


def _refuse(fault: str | None, target: str) -> None:
    if fault:
        raise DamagedFileError(
            f"the new file does not load back as it was written: {fault}.",
            file=target,
            remedy="It was not kept. Please report this together with the source.",
        )


def _note(plan: Plan, damage: list[str]) -> str:
    moved: Counter[str] = Counter(
        f"{path.schema} {path.found} to {path.to}"
        for entry in plan.entries
        for path in entry.version_paths
        if path.steps
    )
    parts = [f"{key}{f', {count:,} times' if count > 1 else ''}" for key, count in moved.items()]
    parts += [f"damage: {text}" for text in damage]
    return f"  ({'; '.join(parts)})" if parts else ""

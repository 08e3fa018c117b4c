"""A plan: which files a job is about, with their targets, in a ledger."""

from __future__ import annotations

import builtins
import inspect
import json
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from persist._runtime.progress import current, reporting
from persist._wire.base.urls import is_url
from persist.bulk import _engine
from persist.bulk._declared import modules_of, registry_of
from persist.bulk._event import Event
from persist.bulk._fingerprint import Fingerprints
from persist.bulk._inventory import Inventory
from persist.bulk._job import JOBS, Job, Work, function_job
from persist.bulk._ledger import Due, Ledger, Write
from persist.bulk._places import names_in
from persist.bulk._sources import Filters, Item, Source, items, local
from persist.bulk._targets import targets
from persist.bulk._words import WarningCounter
from persist.bulk._worker import SAME, Done
from persist.errors import CollisionError, PersistError

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.survey import Survey
    from persist.typing import Progress

__all__ = ["Plan", "plan", "run", "upgrade"]

_MOST_ROWS = 2_000  # that are done and not yet in the ledger
_SECONDS = 0.5  # after which they are written
_COLLISIONS = 10  # that an error lists
_KNOWN = ("well", "class unknown", "left out", "damaged")

# The options of each job, with their defaults.
_READ: dict[str, Any] = {"py2_str": None, "salvage": False, "storage_options": None, "limits": None}
_WRITE: dict[str, Any] = {
    **_READ, "to": None, "names": "", "force": False, "dry_run": False, "originals": None,
}  # fmt: skip
_OPTIONS: dict[str, dict[str, Any]] = {
    "upgrade": {
        **_WRITE, "format": "persist", "in_place": False, "keep": False, "cls": None, "at": "",
        "unknown": "warn", "strict": False, "trust": (), "certificates": None, "capsule": False,
    },
    "convert": {
        **_WRITE, "format": None, "weights": None, "allow_partial": False, "protocol": None,
        "to_version": (), "as_of": None, "class_path": (), "lossy": False, "exporter": None,
    },
    "survey": _READ,
    "verify": {**_READ, "keys": ()},
    "scan": {**_READ, "strict": False},
    "function": _READ,
}  # fmt: skip


class Plan:
    """The files of a run, and what is to be done to them; `run` does it.

    Attributes:
        job: what is done, as it is sent to workers.
        ledger: the ledger.
        run_id: the id of the run.
        is_resumed: whether it goes on with a run that was not finished.
        files: how many files it has.
        pending: how many of them are left to be done.
    """

    def __init__(
        self, sources: tuple[Source, ...], job: Job, ledger: Ledger, registry: Registry, quick: bool
    ) -> None:
        self._in_process = True
        self.job = job
        self.ledger = ledger
        self._sources = sources
        self._registry = registry
        self._fingerprints = Fingerprints(registry)
        self._out: dict[int, Due] = {}
        self._folders: dict[
            str, str
        ] = {}  # of targets: the absolute path, which ends with a separator
        self._digest = job.digest
        self._writes: list[Write] = []  # of files that are done and not yet in the ledger
        self._flushed = time.monotonic()
        self._buffered = 0
        outside = ("run", "storage_options")  # the latter may hold credentials
        said = {key: value for key, value in job.options.items() if key not in outside}
        said["sources"] = [
            source.path if isinstance(source, Inventory) else os.fspath(source)
            for source in sources
        ]
        self.run_id, self.is_resumed = ledger.begin(job.title, job.digest, said)
        job.options["run"] = self.run_id
        try:
            self._fill(quick or job.name == "survey")
        except BaseException:
            ledger.close()
            raise
        self.files, self.pending, self._bytes = ledger.totals(job.title, self.run_id)

    def _fill(self, by_time: bool) -> None:
        """Add the files to the ledger; refuse targets that two files have."""
        ledger, job = self.ledger, self.job
        stale = ledger.stale_knowledge(lambda names: self._fingerprints.of(json.loads(names)))
        ledger.forget_stale(stale)
        out = job.options.get("to")
        skip = (os.fspath(out),) if out and not is_url(out) else ()
        found = items(
            self._sources, job.filters, skip=skip, every=job.name == "scan",
            storage_options=job.options.get("storage_options"),
        )  # fmt: skip
        target_of = targets(job)
        ledger.add(
            job.title, self.run_id, job.digest, _with_targets(_once(found), target_of, job.options.get("storage_options")),
            by_time=by_time and not job.options.get("force"),
        )  # fmt: skip
        collisions = ledger.collisions(job.title, self.run_id, _COLLISIONS)
        if collisions:
            shown = "; ".join(f"{target} of {', '.join(names[:3])}" for target, names in collisions)
            raise CollisionError(
                f"several files would be written under one name: {shown}.",
                remedy="Nothing was written. Give them different names with names= (--names), such as "
                "'{folder}/{name}{ending}', or run once a folder.",
                collisions=collisions,
            )
        ledger.drop_parts(job.title, self.run_id)

    def close(self) -> None:
        """Close the ledger; a temporary one is removed."""
        self.ledger.close()

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.files

    def __repr__(self) -> str:
        return f"<plan to {self.job.title} {self.files:,} files, {self.pending:,} left>"

    def count(self, verdict: str, *, status: str | None = None, kind: str | None = None) -> int:
        """Return how many files of the run have a verdict, also by an earlier run that holds for it.

        Args:
            verdict: see `Event`.
            status: only those with this status.
            kind: only those with an error of this kind; ``%`` is any text.
        """
        return self.ledger.count(self.job.title, self.run_id, verdict, status, kind)

    def survey(self) -> Survey:
        """Return the survey of the files that are done.

        Raises:
            PersistError: the job is another one.
        """
        from persist.survey import Collector

        if self.job.name != "survey":
            raise PersistError(f"the job is {self.job.title}, and not a survey.")
        collector = Collector(self._registry)
        for part in self.ledger.parts("survey"):
            collector.absorb(part)
        roots = [
            one.path if isinstance(one, Inventory) else os.fspath(one) for one in self._sources
        ]
        return collector.result(roots)

    # What the engine asks.

    def _totals(self) -> tuple[int, int, int]:
        return self.files, self.pending, self._bytes

    def _works(self, absolute: bool) -> Iterator[tuple[Work, int]]:
        """Yield what is left to be done, with the sizes of the files."""
        for row in self.ledger.pending(self.job.title, self.run_id):
            self._out[row.number] = row
            yield _engine.row_work(row, self._known(row), absolute), row.size

    def _known(self, row: Due) -> tuple[str, int] | None:
        """The digest with which the same was done to a file, and the size of its target; or None."""
        is_same = row.options == self._digest and row.verdict in _KNOWN and row.digest
        if not is_same or self.job.options.get("force") or (row.status or "").startswith("would"):
            return None
        if self.job.in_place:
            return row.target_digest or row.digest or "", -1
        size = -1 if row.target_size is None else row.target_size
        has_target = row.status in ("upgraded", "copied", "converted", "there already")
        return None if has_target and size < 0 else (row.digest or "", size)

    def _is_due(self) -> bool:
        """Whether what is done should be written into the ledger."""
        return self._buffered >= _MOST_ROWS or time.monotonic() - self._flushed > _SECONDS

    # What comes back.

    def _run(self, executor: Executor | Callable[[], Executor] | int | None) -> Iterator[Event]:
        parts = self.job.name == "survey"
        rows: list[list[Any]] = []
        done_before = self.files - self.pending
        try:
            for answered, part in _engine.answers(self, self.job, executor):
                events = []
                for done in answered:
                    done_before += 1
                    event, filled = self._taken(self._out.pop(done.number), done, done_before)
                    rows.append(filled)
                    events.append(event)
                self._buffered = len(rows)
                if part is not None and rows:
                    self._number_part(rows, part)
                if self._is_due() and (not parts or part is not None):
                    self._flush(rows)
                yield from events
            self._flush(rows)
            self.ledger.finish(self.run_id)
            self.pending = 0
        finally:
            if not parts:  # a part that is not whole is not kept
                self._flush(rows)

    def _number_part(self, rows: list[list[Any]], part: bytes) -> None:
        number = None
        for row in rows:
            if row[12] is None:
                if number is None:
                    number = self._pending_part(part)
                row[12] = number

    def _pending_part(self, part: bytes) -> int:
        """Parts are written at once: their files follow in the same flush."""
        return self.ledger.add_part(self.job.title, part)

    def _flush(self, rows: list[list[Any]]) -> None:
        if rows:
            with self.ledger.transaction():
                self.ledger.done(rows, self._writes)
            rows.clear()
            self._writes.clear()
        self._buffered, self._flushed = 0, time.monotonic()

    def _taken(self, row: Due, done: Done, count: int) -> tuple[Event, list[Any]]:
        """The event of a file that is done, the ``count``-th, and its row for the ledger."""
        if done.status == SAME:
            return self._repeated(row, done, count)
        status = done.status
        if status == "there already" and row.fresh and done.target_digest:
            status = "upgraded"  # by this run, before it or a worker was interrupted
        if status in ("upgraded", "copied", "converted"):
            self._writes.append(self._write(row, done))
        knowledge = self._knowledge(done, row)
        filled = [
            self.run_id, self._digest, status, done.verdict, done.format, done.digest,
            done.seconds, done.kind, done.error, done.target_size, done.target_digest, knowledge,
            None, done.facts, row.number,
        ]  # fmt: skip
        return self._event(row, done, status, done.verdict, done.facts, count), filled

    def _write(self, row: Due, done: Done) -> Write:
        said = self.job.options
        before = "nothing" if row.fresh else "kept" if said.get("originals") else "lost"
        path = row.target or row.name
        folder, slash, name = path.rpartition(os.sep)
        full = self._folders.get(folder)
        if full is None:
            if len(self._folders) > 10_000:
                self._folders.clear()
            full = folder + slash
            full = full if is_url(full) else os.path.join(os.path.abspath(full), "")
            self._folders[folder] = full
        if self.job.in_place:
            before = "kept" if said.get("originals") else "generation" if said["keep"] else "lost"
        return Write(self.run_id, row.number, full + name, done.target_digest, before, done.digest)

    def _knowledge(self, done: Done, row: Due) -> int | None:
        known = self.ledger.known_names.get(done.names)
        if known is not None or not done.knowledge:
            return known
        names = json.loads(done.names)
        if self._fingerprints.of(names) != done.knowledge:
            differing = [name for name in names if self._is_declared(name)] or names
            raise PersistError(
                f"a worker knows other declarations than this process of {', '.join(differing[:5])}.",
                file=row.name,
                remedy="Declare classes and steps in a module that can be imported, and name it in "
                "imports= (--import), so that every worker imports it.",
            )
        return self.ledger.knowledge(done.names, done.knowledge)

    def _is_declared(self, name: str) -> bool:
        return self._registry.schema_for(self._registry.resolve(name)) is not None

    def _repeated(self, row: Due, done: Done, count: int) -> tuple[Event, list[Any]]:
        """The event of a file that is as it was: with what an earlier run made of it."""
        status = row.status or ""
        if status in ("upgraded", "copied", "converted"):
            status = "up to date" if self.job.in_place else "there already"
        facts = row.facts or ""
        filled = [
            self.run_id, self._digest, status, row.verdict, row.format, row.digest, done.seconds,
            row.kind, row.error, row.target_size, row.target_digest, row.knowledge, None, facts,
            row.number,
        ]  # fmt: skip
        if self.job.name in ("upgrade", "convert"):
            facts = ""
        event = self._event(row, done, status, row.verdict or "well", facts, count)
        return event, filled

    def _event(
        self, row: Due, done: Done, status: str, verdict: Any, facts: str, count: int
    ) -> Event:
        result = done.result
        if isinstance(result, bytes) and not self._in_process:
            result = pickle.loads(result)
        target = row.target or ""
        return Event(
            row.name, status, verdict, target, done.format or row.format or "", row.size,
            done.digest or row.digest or "", done.seconds, done.kind, done.error, result,
            self.run_id, count, self.files, facts,
        )  # fmt: skip


def plan(
    sources: Source | Iterable[Source],
    job: str | Callable[[str], Any] = "upgrade",
    *,
    ledger: str | os.PathLike[str] | None = None,
    imports: Iterable[str] = (),
    migrations: Iterable[str] = (),
    registry: Registry | None = None,
    quick: bool = False,
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    newer: str = "",
    max_size: str | int = "",
    classes: Iterable[str] | str = (),
    versions: Iterable[str] | str = (),
    formats: Iterable[str] | str = (),
    **options: Any,
) -> Plan:
    """Find out which files a job is about, and where it would write; nothing is opened or written yet.

    Args:
        sources: paths, patterns (``runs/**/*.pkl``), folders, which are walked through, fsspec URLs,
            and `Inventory` files; one of them or several.
        job: "upgrade", "convert", "survey", "verify", "scan"; or a function that is called with the
            path of each file, and whose result is the `Event.result`.
        ledger: an SQLite file that records what becomes of each file. With one, a run that was
            interrupted goes on where it stopped, and a later run does what has changed since. None
            keeps the record in a temporary file.
        imports: modules that declare classes and steps, by name or path: every worker imports them.
            Those of the declarations that this process has are added.
        migrations: folders of such modules.
        registry: schemas, aliases, stamps and migrations; None is the default one.
        quick: a file of the same size and time as in the ledger counts as unchanged. By default the
            digest of its bytes decides; a survey always goes by size and time.
        include, exclude: patterns for names, or paths in their folders.
        newer: only files modified after a date (ISO 8601), or later than another file.
        max_size: only files of at most so many bytes: a number or text such as "64 MB".
        classes: patterns: only files that name such a class.
        versions: only files with a record in that version: "3", or "SCHEMA=3".
        formats: patterns: only files in such a format.
        options: of all jobs ``py2_str``, ``salvage``, ``storage_options``, ``limits``. Of upgrade and
            convert ``to`` (a folder; None writes next to the sources), ``format``, ``names`` (a template
            for new names, of ``{folder}``, ``{name}``, ``{stem}``, ``{suffix}`` and ``{ending}``), ``force``
            (write over files that no upgrade wrote), ``dry_run``, ``originals`` (a folder that keeps
            what is replaced; next to the ledger by default). Of upgrade ``in_place``, ``keep``, ``cls``
            and ``at`` (as for `persist.load`; the name of the class), ``unknown``, ``strict``, ``trust``,
            ``certificates`` (a folder that receives a proof of each new file), ``capsule``. Of convert ``weights``,
            ``allow_partial``, ``protocol``, ``to_version`` (pairs of schema and version),
            ``as_of``, ``class_path`` (pairs of schema and dotted name), ``lossy``, ``exporter`` (``MODULE:NAME`` of a
            function that writes a format of its own, given the open file, the format and the path). Of scan
            ``strict``. Of verify ``keys``, public keys as PEM files or their bytes: one of them must
            have signed each file (`persist.security.sign`).

    Returns:
        The plan, for `run`.

    Raises:
        CollisionError: two files would be written under one name.
        PersistError: an option cannot be understood, or the ledger is in use.
        TypeError: the job has no such option.
    """
    name = job if isinstance(job, str) else "function"
    if isinstance(job, str) and job not in JOBS:
        raise PersistError(f"there is no job {job!r}.", remedy=f"The jobs are {', '.join(JOBS)}.")
    known = registry_of(imports, migrations) if registry is None else registry
    said = _options(name, options, ledger)
    function = None
    if not isinstance(job, str):
        function, said["name"] = function_job(job)
    paths = [path for path in (os.getcwd(), *sys.path) if path and os.path.isdir(path)]
    modules = [os.path.abspath(one) if os.path.exists(one) else one for one in imports]
    made = Job(
        name,
        said,
        Filters(include, exclude, str(newer), max_size, classes, versions, formats),
        tuple(dict.fromkeys([*modules, *modules_of(known)])),
        tuple(os.path.abspath(folder) for folder in migrations),
        tuple(paths),
        None if registry is None else pickle.dumps(registry),
        function,
        ledger is not None,
    )
    every = (sources,) if isinstance(sources, str | os.PathLike | Inventory) else tuple(sources)
    return Plan(every, made, Ledger(ledger), known, quick)


def _options(name: str, options: dict[str, Any], ledger: Any) -> dict[str, Any]:
    """The options of a job with their defaults."""
    defaults = _OPTIONS[name]
    for key in options:
        if key not in defaults:
            takes = [*inspect.signature(plan).parameters][:-1]
            raise TypeError(
                f"the job {name!r} has no option {key!r}. It takes {', '.join([*defaults, *takes[2:]])}."
            )
    said = {**defaults, **options}
    if name in ("upgrade", "convert"):
        _check(name, said)
        if (
            ledger is not None
            and said["originals"] is None
            and (not said.get("in_place") or said["keep"])
        ):
            said["originals"] = f"{os.path.abspath(ledger)}.originals"
    said["trust"] = list(said.get("trust") or ())
    return said


def _check(name: str, said: dict[str, Any]) -> None:
    """Refuse options that exclude each other."""
    for key in ("to", "certificates", "originals"):
        if said.get(key) is not None:
            said[key] = local(os.fspath(said[key]))
            if is_url(said[key]) and key != "to":
                raise PersistError(
                    f"{key}: {said[key]} is a URL.", remedy="Name a folder of this machine."
                )
    if name == "convert":
        if said["format"] is None:
            raise PersistError("convert needs format=.", remedy="Name the format to write.")
        return
    cls = said["cls"]
    if isinstance(cls, type):
        said["cls"] = f"{cls.__module__}.{cls.__qualname__}"
    if said["keep"] and not said["in_place"]:
        raise PersistError("keep needs in_place: otherwise the source is not changed anyway.")
    if said["in_place"] and (
        said["to"] or said["names"] or said["format"] != "persist" or said["cls"]
    ):
        raise PersistError(
            "in_place replaces the file itself: leave out to, names, format and cls."
        )
    if said["at"] and not said["cls"]:
        raise PersistError("at needs cls: it is the path of the state of that class.")


def run(
    plan: Plan, executor: Executor | Callable[[], Executor] | int | None = None
) -> Iterator[Event]:
    """Do what a plan says; yield an event for each file, when it is done.

    Closing the iterator, or an exception, stops the run; with a ledger it can be gone on with.

    Args:
        plan: what `plan` returned.
        executor: None works in this process; a number starts as many processes on this machine; an
            executor of `concurrent.futures`, or one with its interface (``Client.get_executor()`` of
            Dask, loky, MPI), is used and left open. A function that makes an executor lets the run
            survive the end of all its workers.

    Yields:
        Events, in the order in which files are done.

    Raises:
        PersistError: the workers cannot begin, or know other declarations than this process.
    """
    plan._in_process = executor is None or executor == 1
    yield from plan._run(executor)


def upgrade(
    sources: Source | Iterable[Source],
    *,
    to: str | os.PathLike[str] | None = None,
    executor: Executor | Callable[[], Executor] | int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Event]:
    """Upgrade files to the current versions of the classes: `plan` and `run` in one call.

    Warnings are summed up over the files, and given at the end, once a kind.

    Args:
        sources: as for `plan`.
        to: a folder; None writes each new file next to its source.
        executor: as for `run`.
        progress: True draws a bar of the files; a function is called with a ``persist.typing.ProgressEvent``
            for each. What it raises ends the run; a ledger keeps what was done.
        options: those of `plan`, such as ``ledger``, ``imports``, ``dry_run`` and ``in_place``.

    Returns:
        The event of each file; one that failed raises nothing, its ``error`` tells why.

    Raises:
        CollisionError: two files would be written under one name.
        PersistError: an option cannot be understood, or the run cannot begin.
    """
    from persist import errors

    warned = WarningCounter()
    with plan(sources, "upgrade", to=to, **options) as made:
        events = _watched(made, run(made, executor), progress)
    for event in events:
        warned.extend(event.warnings)
    for name, text in warned.summed():
        category = getattr(errors, name, getattr(builtins, name, UserWarning))
        is_category = isinstance(category, type) and issubclass(category, Warning)
        warnings.warn(text, category if is_category else UserWarning, stacklevel=2)
    return events


def _watched(made: Plan, events: Iterator[Event], progress: Progress | None) -> list[Event]:
    """All events of a run, each reported as a file that is done."""
    with reporting(progress):
        meter = current()
        if meter is None:
            return list(events)
        count = meter.count("files", "files", len(made))
        found = []
        for event in events:
            found.append(event)
            count.add()
        count.end()
        return found


def _once(found: Iterable[Item]) -> Iterator[Item]:
    """Yield each file once, by whatever path it is reached; hashes of paths are kept, not paths."""
    seen: set[int] = set()
    folders: dict[str, str] = {}
    for item in found:
        if is_url(item.name) or item.is_listed:
            yield item
            continue
        folder, name = os.path.split(item.name)
        real = folders.get(folder)
        if real is None:
            if len(folders) > 10_000:
                folders.clear()
            real = folders[folder] = os.path.realpath(folder)
        path = os.path.join(real, name)
        if os.path.islink(path):
            path = os.path.realpath(path)
        key = hash(path)
        if key not in seen:
            seen.add(key)
            yield item


def _with_targets(
    found: Iterable[Item], target_of: Callable[[Item], str | None], storage: Any
) -> Iterator[tuple[Item, str | None, bool]]:
    there = _There(storage)
    for item in found:
        target = target_of(item)
        yield item, target, target is not None and not there.has(target)


class _There:
    """Whether files are there; a folder is listed once, as targets come folder by folder."""

    _MOST = 50_000  # names of a folder that are kept

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._folder: str | None = None
        self._names: set[str] | None = set()

    def has(self, path: str) -> bool:
        """Whether a path or URL exists."""
        is_far = is_url(path)
        folder, _, name = path.rpartition("/" if is_far else os.sep)
        if folder != self._folder:
            self._folder = folder
            top = folder if is_far else folder or (os.sep if path.startswith(os.sep) else ".")
            names = names_in(top, self._storage)
            self._names = set(names) if is_far or len(names) <= self._MOST else None
        return os.path.lexists(path) if self._names is None else name in self._names

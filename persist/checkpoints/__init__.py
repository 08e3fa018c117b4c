"""Checkpoints: a training run's states in a folder, written whole or not at all.

Each step is one file, ``step-0000001200.persist``, a container with the metrics of the step in its
metadata. A file gets its final name after all of it is on disk. So if a run is killed, every file
with a step's name is complete, and the next writer removes the unfinished temporary files. A folder
has one writer (its lock is released by the operating system when the process ends) and any number
of readers, which must expect that any file may be removed at any time. A writer may be several
processes, which are the ranks of one run: ``_ranks.py`` says how they write one step.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from persist._api.load import load
from persist._api.open import open as open_file
from persist._api.restore import restore
from persist._api.save import save_tree, tree_of
from persist._objects.snapshot import Memory
from persist._runtime.lazy_regex import regex
from persist._wire.base.urls import is_url, local_path, refuse_collapsed, shown
from persist.checkpoints._background import Background
from persist.checkpoints._folder import LocalFolder, RemoteFolder, RemoteLock
from persist.checkpoints._lock import Lock
from persist.checkpoints._ranks import Ranks, parts_in, refuse_parts
from persist.errors import (
    DamagedFileError,
    DamageWarning,
    FutureVersionError,
    PersistError,
    UnknownFormatError,
)

if TYPE_CHECKING:
    from persist._restore.match import Report
    from persist.registry import Registry
    from persist.typing import CheckpointMode, FillOptions, StepOptions

__all__ = ["Checkpoints"]

_T = TypeVar("_T")

_NAME = regex(r"step-(\d{10,})\.persist")
_METRICS = "checkpoint"  # the key of the metrics in the container's metadata
_PICKS: dict[object, Callable[..., float]] = {"min": min, "max": max}


_LISTED = 50  # steps that a notebook shows, the last ones


class Checkpoints:
    """Save a run's state step by step, delete superseded steps, and resume from the latest.

    Args:
        folder: created if it does not exist. A path, or an fsspec URL (``s3://bucket/run``, with
            the extra ``s3``). On remote storage, the lock of a writer that was killed on another
            machine has to be removed by hand.
        keep_last: the number of latest steps to keep; None keeps all.
        keep_best: ``("loss", "min")`` or ``("accuracy", "max")``: the best step by that metric is
            kept.
        every: each step that is a multiple of this is kept.
        asynchronous: `save` returns once a snapshot is in memory, and a thread writes it. An error
            of that thread is raised by the next call, and by `close`. The snapshot's memory is
            reused for the next one, until `close`.
        durable: call fsync, so that the files survive a loss of power and not only a killed process.
        share: store data that did not change since the previous step once for both files, if the
            file system supports it (reflink). Reading is not affected, but a bad block damages
            both.
        storage_options: for fsspec.
        registry: schemas and migrations; None for the default registry.
        rank: the number of this process, from 0, in a run whose state is spread over several processes. All
            of them call `save` for the same steps, and each gets its own part back from `restore`. A step
            appears when each has saved its part. Metrics and what is kept are those of rank 0.
        ranks: how many processes the run has.
        run: a text that all processes of this start share and no other start does. It keeps apart the parts
            of a start that was killed and those of the next one.
        timeout: seconds that a save waits for the other processes.

    Raises:
        ValueError: ``keep_best`` is not a metric and "min" or "max", a number is below 1, or only some of
            ``rank``, ``ranks`` and ``run`` are given.

    Example:
        >>> import tempfile, numpy, persist
        >>> runs = persist.Checkpoints(tempfile.mkdtemp(), keep_last=2)
        >>> for step in (1, 2, 3):
        ...     _ = runs.save(step, {"weights": numpy.full(3, step)}, metrics={"loss": 1 / step})
        >>> runs.steps(), runs.latest()
        ([2, 3], 3)
        >>> runs.restore()["weights"].tolist()
        [3, 3, 3]
        >>> runs.close()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep_last: int | None = 3,
        keep_best: tuple[str, CheckpointMode] | None = None,
        every: int | None = None,
        asynchronous: bool = False,
        durable: bool = True,
        share: bool = True,
        storage_options: Mapping[str, object] | None = None,
        registry: Registry | None = None,
        rank: int | None = None,
        ranks: int | None = None,
        run: str | None = None,
        timeout: float = 600.0,
    ) -> None:
        best: tuple[str, ...] | None = keep_best
        if best is not None and (len(best) != 2 or best[1] not in _PICKS):
            raise ValueError(
                f"keep_best is {keep_best!r}. A metric and 'min' or 'max' was expected: "
                "('loss', 'min')."
            )
        for name, number in (("keep_last", keep_last), ("every", every)):
            if number is not None and number < 1:
                raise ValueError(f"{name} is {number}. At least 1, or None, was expected.")
        is_alone = rank is None and ranks is None and run is None
        self._ranks = None if is_alone else Ranks(rank, ranks, run, timeout)
        self._folder: LocalFolder | RemoteFolder
        self._storage_options = storage_options
        if isinstance(folder, str):
            folder = local_path(folder) or folder
        else:
            refuse_collapsed(folder)
        if isinstance(folder, str) and is_url(folder):
            remote = RemoteFolder(folder, storage_options)
            self.folder: Path | str = remote.url
            self._folder = remote
        else:
            self.folder = Path(folder)
            self._folder = LocalFolder(self.folder)
        self._keep_last = keep_last
        self._keep_best = keep_best
        self._every = every
        self._memory = Memory() if asynchronous else None
        self._durable = durable
        self._share = share
        self._registry = registry
        self._lock: Lock | RemoteLock | None = None
        self._job = Background()
        self._seen: dict[int, tuple[object, dict[str, object] | PersistError, Sequence[str]]] = {}
        self._unreported: list[str] = []
        weakref.finalize(self, self._job.warn_late)

    def __repr__(self) -> str:
        names = self._names()
        last = f", the last {names[-1]:,}" if names else ""
        return f"<checkpoints in {shown(str(self.folder))}: {len(names):,} steps{last}>"

    def _repr_html_(self) -> str:
        from persist._trees.html import listed, page

        names = self._names()[-_LISTED:]
        lines = (f"{step:,}{self._facts(step)}" for step in reversed(names))
        return page(repr(self)[1:-1], listed(lines, len(names), _LISTED))

    def _facts(self, step: int) -> str:
        """The metrics of a step, or what is wrong with its file, for a page."""
        try:
            found = self._look(step)
        except FileNotFoundError:  # the writer has just removed it
            return ": removed"
        if isinstance(found, PersistError):
            return f": damage: {found.what}"
        return "".join(f"  {name} {value:.6g}" for name, value in found.items())

    # Reading.

    def steps(self) -> list[int]:
        """Return the available steps, in ascending order.

        A file that is named like a step but damaged (after a loss of power, say) is skipped with a
        `persist.errors.DamageWarning`.
        """
        self._job.raise_error()
        found = [step for step in self._names() if self._is_whole(step)]
        self._report_skipped()
        return found

    def latest(self) -> int | None:
        """Return the latest step, or None if there is none. Damaged files are skipped, as by `steps`."""
        self._job.raise_error()
        while True:
            names = self._names()
            found = next((step for step in reversed(names) if self._is_whole(step)), None)
            # If a writer removed every listed step meanwhile, it has written later ones: look again.
            if found is not None or names == self._names():
                break
        self._report_skipped()
        return found

    def metrics(self, step: int) -> dict[str, Any]:
        """Return the metrics that were saved with a step.

        Raises:
            FileNotFoundError: there is no such step.
            PersistError: its file is damaged, or was written by a newer release.
        """
        self._job.raise_error()
        found = self._look(step)
        if isinstance(found, PersistError):
            raise found
        return dict(found)

    def best(self, metric: str | None = None, mode: CheckpointMode | None = None) -> int | None:
        """Return the step with the best value of a metric, or None if no step has that metric.

        Of equal steps the latest is returned; NaN counts as no value.

        Args:
            metric: its name; by default the metric of ``keep_best``.
            mode: "min" or "max"; by default the mode of ``keep_best``.

        Raises:
            ValueError: metric or mode is missing, or the mode is neither "min" nor "max".
        """
        self._job.raise_error()
        own = self._keep_best or (None, None)
        metric = own[0] if metric is None else metric
        mode = own[1] if mode is None and metric == own[0] else mode
        if metric is None or mode is None or mode not in _PICKS:
            raise ValueError(
                f"the metric is {metric!r}, the mode {mode!r}. "
                "A metric and 'min' or 'max' was expected: best('loss', 'min')."
            )
        found = self._best(metric, mode)
        self._report_skipped()
        return found

    @overload
    def restore(
        self, step: int | None = None, *, cls: type[_T], **options: Unpack[StepOptions]
    ) -> _T: ...

    @overload
    def restore(
        self, step: int | None = None, *, into: object, **options: Unpack[FillOptions]
    ) -> Report: ...

    @overload
    def restore(
        self, step: int | None = None, *, cls: None = None, **options: Unpack[StepOptions]
    ) -> Any: ...

    def restore(self, step: int | None = None, *, into: Any = None, **options: Any) -> Any:
        """Load the state of a step, the latest by default.

        Args:
            step: the step to load; None for the latest.
            into: objects that are filled, as for `persist.restore` (``{"model": net, "optimizer": optimizer}``);
                then the report is returned.
            options: passed on to `persist.load` (``cls`` among them), or to `persist.restore`.

        Raises:
            FileNotFoundError: there is no such step, or none at all.
            PersistError: the step was saved by another number of processes than this run has.
        """
        self.wait()
        options.setdefault("registry", self._registry)
        while True:
            wanted = self.latest() if step is None else step
            if wanted is None:
                raise FileNotFoundError(
                    f"{shown(str(self.folder))}: there is no checkpoint. One to resume from was expected. "
                    "Save one first, or check that latest() is not None."
                )
            options.setdefault("storage_options", self._storage_options)
            name = ""
            try:
                name = self._mine(wanted)
                place = self._folder.place(name)
                if into is not None:
                    return restore(place, into, **options)
                return load(place, **options)
            except FileNotFoundError:
                if self._is_gone(wanted, name, is_latest=step is None):
                    continue
                raise

    def _mine(self, step: int) -> str:
        """Return the file of a step that this process restores: the step's own, or the part of this rank.

        Raises:
            PersistError: the step was saved by another number of processes.
        """
        found = self._look(step)
        parts, place = self._seen[step][2], str(self._place(step))
        if self._ranks is None:
            refuse_parts(parts, step, place)
            return _name(step)
        if isinstance(found, PersistError):
            raise found
        self._ranks.refuse_others(parts, step, place)
        return parts[self._ranks.rank]

    def _is_gone(self, step: int, name: str, is_latest: bool) -> bool:
        """Return whether a file could not be found because a writer has just removed it, after it wrote another."""
        if not self._folder.exists(_name(step)):
            return is_latest  # a later step
        return name not in ("", _name(step)) and self._mine(step) != name  # the same step again

    def _names(self) -> list[int]:
        """Return the steps that have a file, complete or not."""
        found = (_NAME.fullmatch(name) for name in self._folder.names())
        return sorted(int(match[1]) for match in found if match)

    def _look(self, step: int) -> dict[str, Any] | PersistError:
        """Return the metrics of a step, or the error that reading them raises.

        Results are cached by the file's identity, so that a replaced file is read again.
        """
        identity = self._folder.identity(_name(step))
        known = self._seen.get(step)
        if known is not None and known[0] == identity:
            return known[1]
        found: dict[str, Any] | PersistError
        parts: Sequence[str] = ()
        try:
            place, registry = self._place(step), self._registry
            with open_file(place, registry=registry, storage_options=self._storage_options) as file:
                facts = (file.structure.get("metadata") or {}).get(_METRICS, {})
            metrics_of, parts = facts.get("metrics", {}), facts.get("parts", ())
            found = {name: float(x) if isinstance(x, str) else x for name, x in metrics_of.items()}
            missing = sorted({*parts}.difference(self._folder.names())) if parts else ()
            if missing:
                if self._folder.identity(_name(step)) != identity:  # it was replaced meanwhile
                    return self._look(step)
                raise DamagedFileError(
                    f"the file {missing[0]} is missing. The part of each of {len(parts)} processes was expected.",
                    file=shown(str(place)),
                )
        except (DamagedFileError, UnknownFormatError) as error:
            found = error
            self._unreported.append(str(error))
        except FutureVersionError as error:  # complete; `restore` raises this error with its remedy
            found = error
        self._seen[step] = identity, found, parts
        return found

    def _is_whole(self, step: int) -> bool:
        try:
            return not isinstance(self._look(step), DamagedFileError | UnknownFormatError)
        except FileNotFoundError:  # the writer has just removed it
            return False

    def _best(self, metric: str, mode: str) -> int | None:
        numbers: dict[int, float] = {}
        for step in self._names():
            with contextlib.suppress(FileNotFoundError):  # the writer has just removed it
                found = self._look(step)
                value = None if isinstance(found, PersistError) else found.get(metric)
                if value is not None and not math.isnan(value):
                    numbers[step] = value
        best = _PICKS[mode](numbers.values(), default=math.nan)
        return max((step for step, value in numbers.items() if value == best), default=None)

    def _report_skipped(self) -> None:
        """Warn of each skipped file, once."""
        while self._unreported:
            warnings.warn(
                f"{self._unreported.pop()} It is skipped as a checkpoint; "
                "recover its intact parts with open(..., salvage=True), or remove it.",
                DamageWarning,
                stacklevel=3,
            )

    def _place(self, step: int) -> Path | str:
        return self._folder.place(_name(step))

    # Writing.

    def save(
        self, step: int, obj: object, metrics: Mapping[str, object] | None = None
    ) -> Path | str:
        """Save the state of a step, then remove the steps that need not be kept.

        Args:
            step: not negative; an existing file of the step is replaced.
            obj: anything that `persist.save` accepts.
            metrics: numbers, such as ``{"loss": 0.25}``.

        Returns:
            The file, a path or a URL; after an asynchronous save it may not exist yet.

        Raises:
            PersistError: another process writes into the folder, the previous asynchronous save
                failed (chained to its error), or another process of this run did not save its part in time.
            TypeError: a metric is not a number.
            ValueError: the step is negative.
        """
        step = operator.index(step)
        if step < 0:
            raise ValueError(f"the step is {step}. A number of at least 0 was expected.")
        metrics_of = {name: _number(name, value) for name, value in (metrics or {}).items()}
        self.wait()
        self._acquire()
        place = self._place(step)
        # JSON has no NaN and no infinity: they are stored as text.
        texts = {name: x if math.isfinite(x) else str(x) for name, x in metrics_of.items()}
        facts: dict[str, object] = {"step": step, "metrics": texts}
        name = _name(step) if self._ranks is None else self._ranks.new_name(step)
        memory = self._memory
        snapshot: Any = False if memory is None else memory
        tree = tree_of(obj, self._registry, snapshot=snapshot, columns=True)

        def write() -> None:
            if self._ranks is None:
                self._write(name, tree, facts, self._before(step))
                self._seen[step] = self._folder.identity(name), metrics_of, ()
                self._tidy(step)
            else:
                self._write_part(self._ranks, step, name, tree, facts)

        if memory is None:
            write()
        else:
            memory.end()
            self._job.start(write, place)
        return place

    def _write(self, name: str, tree: Any, facts: dict[str, object], like: Path | None) -> None:
        with self._folder.writing(name) as target:
            save_tree(
                tree,
                target,
                metadata={_METRICS: facts},
                durable=self._durable,
                registry=self._registry,
                like=like,
            )

    def _write_part(
        self, ranks: Ranks, step: int, name: str, tree: Any, facts: dict[str, object]
    ) -> None:
        """Write the part of this process, and see to it that the step appears."""
        before, place = self._listed(step), str(self._place(step))
        ranks.remove_mine(self._folder, step, before)
        try:
            self._write(name, tree, facts | {"rank": ranks.rank}, self._before(step, name))
            if not ranks.is_first:
                ranks.wait_for(lambda: name in self._listed(step), step, place)
                return
            parts = ranks.collect(self._folder, step, before, place)
            listing = {"step": step, "ranks": ranks.count, "parts": parts}
            whole = tree_of(listing, self._registry, snapshot=False, columns=True)
            self._write(_name(step), whole, facts | {"parts": parts}, None)
        except BaseException:
            ranks.remove_mine(self._folder, step, self._listed(step))
            raise
        for superseded in before:
            self._folder.remove(superseded)
        self._tidy(step)

    def _listed(self, step: int) -> Sequence[str]:
        """Return the parts that the file of a step lists; none without a file, or for one of one process."""
        if not self._folder.exists(_name(step)):  # asks the storage, not what fsspec remembers
            return ()
        try:
            self._look(step)
        except FileNotFoundError:
            return ()
        return self._seen[step][2]

    def wait(self) -> None:
        """Wait until the asynchronous save is on disk.

        Raises:
            PersistError: it could not be written.
        """
        self._job.wait()

    def close(self) -> None:
        """Wait for the last save, and release the folder's lock for other writers.

        Raises:
            PersistError: the last save could not be written.
        """
        try:
            self.wait()
        finally:
            if self._memory is not None:
                self._memory = Memory()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _before(self, step: int, part: str = "") -> Path | None:
        """Return the file of the preceding step, which a new file is most likely to share bytes with."""
        if not self._share or not isinstance(self.folder, Path):
            return None
        if self._ranks is None or not part:
            files = {name: _name(name) for name in self._names()}
        else:
            found = parts_in(self._folder.names())
            files = {one.step: one.name for one in found if one.rank == self._ranks.rank}
        steps = sorted(files)
        before = [name for name in steps if name <= step] or steps
        return self.folder / files[before[-1]] if before else None

    def _tidy(self, newest: int) -> None:
        """Remove the steps that need not be kept; never the step just written."""
        if self._keep_last is not None:
            steps = [step for step in self._names() if self._is_whole(step)]
            keep = {newest, *steps[-self._keep_last :]}
            if self._every:
                keep.update(step for step in steps if step % self._every == 0)
            if self._keep_best is not None:
                best = self._best(*self._keep_best)
                keep.update(() if best is None else (best,))
            for step in steps:
                if step not in keep:
                    parts = self._listed(step)
                    self._folder.remove(_name(step))
                    self._seen.pop(step, None)
                    for part in parts:
                        self._folder.remove(part)
        self._remove_parts()

    def _remove_parts(self) -> None:
        """Remove the parts that killed runs left, which no step lists.

        Other processes of this run may be writing theirs. The parts of a step whose file is damaged stay.
        """
        names = self._folder.names()
        own = None if self._ranks is None else self._ranks.run
        parts = [part for part in parts_in(names) if part.run != own]
        if not parts:
            return
        steps = {int(match[1]) for match in map(_NAME.fullmatch, names) if match}
        listed = {step: self._listed(step) for step in steps.intersection(x.step for x in parts)}
        for part in parts:
            known = self._seen.get(part.step) if part.step in listed else None
            is_damaged = known is not None and isinstance(known[1], PersistError)
            if part.name not in listed.get(part.step, ()) and not is_damaged:
                self._folder.remove(part.name)

    def _acquire(self) -> None:
        """Acquire the folder's lock, and remove unfinished files of killed writers."""
        if self._lock is not None and self._lock.is_held:
            return
        if self._ranks is None:
            self._lock = self._folder.acquire()
        else:
            self._lock = self._folder.acquire(self._ranks.lock, self._ranks.owns)


def _name(step: int) -> str:
    return f"step-{step:010d}.persist"


def _number(name: str, value: object) -> Any:
    """Return a metric as a Python number, as JSON needs it; NumPy scalars and 0-d arrays are converted."""
    item = value.item() if hasattr(value, "item") else value
    if not isinstance(item, int | float):
        raise TypeError(
            f"the metric {name!r} is a {type(value).__name__}. A number was expected. "
            "Convert it with float(...), or save it as a part of the object."
        )
    return item

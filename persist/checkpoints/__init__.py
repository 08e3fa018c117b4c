"""Checkpoints: a training run's states in a folder, written whole or not at all.

Each step is one file, ``step-0000001200.persist``, a container with the metrics of the step in its
metadata. A file gets its final name after all of it is on disk. So if a run is killed, every file
with a step's name is complete, and the next writer removes the unfinished temporary files. A folder
has one writer (its lock is released by the operating system when the process ends) and any number
of readers, which must expect that any file may be removed at any time.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import warnings
import weakref
from collections.abc import Callable, Mapping
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

    Raises:
        ValueError: ``keep_best`` is not a metric and "min" or "max", or a number is below 1.

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
        self._seen: dict[int, tuple[object, dict[str, object] | PersistError]] = {}
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
            try:
                if into is not None:
                    return restore(self._place(wanted), into, **options)
                return load(self._place(wanted), **options)
            except FileNotFoundError:
                if step is not None or self._folder.exists(_name(wanted)):
                    raise  # otherwise the writer has just removed it, after it wrote a later one

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
        try:
            place, registry = self._place(step), self._registry
            with open_file(place, registry=registry, storage_options=self._storage_options) as file:
                metrics_of = (
                    (file.structure.get("metadata") or {}).get(_METRICS, {}).get("metrics", {})
                )
            found = {name: float(x) if isinstance(x, str) else x for name, x in metrics_of.items()}
        except (DamagedFileError, UnknownFormatError) as error:
            found = error
            self._unreported.append(str(error))
        except FutureVersionError as error:  # complete; `restore` raises this error with its remedy
            found = error
        self._seen[step] = identity, found
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
            PersistError: another process writes into the folder, or the previous asynchronous save
                failed (chained to its error).
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
        metadata, like = {_METRICS: {"step": step, "metrics": texts}}, self._before(step)
        memory = self._memory
        snapshot: Any = False if memory is None else memory
        tree = tree_of(obj, self._registry, snapshot=snapshot, columns=True)

        def write() -> None:
            with self._folder.writing(_name(step)) as target:
                save_tree(
                    tree,
                    target,
                    metadata=metadata,
                    durable=self._durable,
                    registry=self._registry,
                    like=like,
                )
            self._seen[step] = self._folder.identity(_name(step)), metrics_of
            self._tidy(step)

        if memory is None:
            write()
        else:
            memory.end()
            self._job.start(write, place)
        return place

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

    def _before(self, step: int) -> Path | None:
        """Return the file of the preceding step, which a new file is most likely to share bytes with."""
        names = self._names() if self._share and isinstance(self.folder, Path) else []
        before = [name for name in names if name <= step] or names
        return self.folder / _name(before[-1]) if before and isinstance(self.folder, Path) else None

    def _tidy(self, newest: int) -> None:
        """Remove the steps that need not be kept; never the step just written."""
        if self._keep_last is None:
            return
        steps = [step for step in self._names() if self._is_whole(step)]
        keep = {newest, *steps[-self._keep_last :]}
        if self._every:
            keep.update(step for step in steps if step % self._every == 0)
        if self._keep_best is not None:
            best = self._best(*self._keep_best)
            keep.update(() if best is None else (best,))
        for step in steps:
            if step not in keep:
                self._folder.remove(_name(step))
                self._seen.pop(step, None)

    def _acquire(self) -> None:
        """Acquire the folder's lock, and remove unfinished files of killed writers."""
        if self._lock is not None and self._lock.is_held:
            return
        self._lock = self._folder.acquire()


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

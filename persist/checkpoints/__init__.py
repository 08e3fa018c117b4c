"""Checkpoints: a training run's states in a folder, written whole or not at all.

One file a step, ``step-0000001200.persist``, each a container of its own with its metrics in its
metadata. A file appears under its name when all of it is on disk, so whatever moment a run is
killed at, what has a name is complete; what has none is cleaned up by the next writer. A folder
has one writer (a lock that the operating system lets go of when the process ends) and any number
of readers, which must expect any file to go at any moment.
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
from typing import Any

from persist._api.load import load
from persist._api.open import open as open_file
from persist._api.save import save_tree, tree_of
from persist._objects.snapshot import Memory
from persist._runtime.lazy_regex import regex
from persist._wire.base.source import is_url
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

__all__ = ["Checkpoints"]

_NAME = regex(r"step-(\d{10,})\.persist")
_METRICS = "checkpoint"  # the key of ours in the container's metadata
_PICKS: dict[Any, Callable[..., float]] = {"min": min, "max": max}


class Checkpoints:
    """Save a run's state step by step, keep the ones worth keeping, and go on from the latest.

    Args:
        folder: made when it is not there. A path, or an fsspec URL (``s3://bucket/run``, with the
            extra ``fsspec``): there, a writer that was killed has to be unlocked by hand.
        keep_last: the latest so many are kept; None keeps all.
        keep_best: ``("loss", "min")`` or ``("accuracy", "max")``: the best by that metric is kept.
        every: each step that is a multiple of this is kept.
        asynchronous: `save` returns when a snapshot is in memory; a thread writes it. An error
            of that thread is raised by the next call, and by `close`. The snapshot's memory is
            kept for the next one, until `close`.
        durable: survive a loss of power, too, not only a kill (fsync).
        share: what did not change since the step before is stored once for both, where the file
            system can (reflink). The files read the same, but a bad block spoils both.
        storage_options: for fsspec.
        registry: schemas and migrations; None is the default one.

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
        keep_best: tuple[str, str] | None = None,
        every: int | None = None,
        asynchronous: bool = False,
        durable: bool = True,
        share: bool = True,
        storage_options: Mapping[str, Any] | None = None,
        registry: Any = None,
    ) -> None:
        best: tuple[str, ...] | None = keep_best
        if best is not None and (len(best) != 2 or best[1] not in _PICKS):
            raise ValueError(
                f"keep_best is {keep_best!r}. A metric and how was expected: ('loss', 'min')."
            )
        for name, number in (("keep_last", keep_last), ("every", every)):
            if number is not None and number < 1:
                raise ValueError(f"{name} is {number}. At least 1, or None, was expected.")
        self._folder: LocalFolder | RemoteFolder
        self._storage_options = storage_options
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
        self._seen: dict[int, tuple[Any, dict[str, Any] | PersistError]] = {}
        self._untold: list[str] = []
        weakref.finalize(self, self._job.tell_late)

    # Reading.

    def steps(self) -> list[int]:
        """Return the steps that are there, in order.

        What has the name of a step and is no whole file (after a loss of power, say) is passed
        over with a `persist.errors.DamageWarning`.
        """
        self._job.raise_error()
        found = [step for step in self._names() if self._is_whole(step)]
        self._tell()
        return found

    def latest(self) -> int | None:
        """Return the latest step, None where there is none."""
        self._job.raise_error()
        while True:
            names = self._names()
            found = next((step for step in reversed(names) if self._is_whole(step)), None)
            # A writer may have removed all that was listed, having written later steps.
            if found is not None or names == self._names():
                break
        self._tell()
        return found

    def metrics(self, step: int) -> dict[str, Any]:
        """Return the metrics that were saved with a step.

        Raises:
            FileNotFoundError: there is no such step.
            PersistError: its file is damaged, or of a newer release.
        """
        self._job.raise_error()
        found = self._look(step)
        if isinstance(found, PersistError):
            raise found
        return dict(found)

    def best(self, metric: str | None = None, mode: str | None = None) -> int | None:
        """Return the step whose metric is best; None where no step has that metric.

        Of equals it is the latest; a metric that is NaN is none.

        Args:
            metric: its name; that of ``keep_best`` by default.
            mode: "min" or "max"; that of ``keep_best`` by default.
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
        self._tell()
        return found

    def restore(self, step: int | None = None, **options: Any) -> Any:
        """Load the state of a step, the latest by default.

        Args:
            step: the one wanted.
            options: those of `persist.load`.

        Raises:
            FileNotFoundError: there is no such step, or none at all.
        """
        self.wait()
        options.setdefault("registry", self._registry)
        while True:
            wanted = self.latest() if step is None else step
            if wanted is None:
                raise FileNotFoundError(
                    f"{self.folder}: there is no checkpoint. One to go on from was expected. "
                    "Save one first, or ask latest() whether there is any."
                )
            options.setdefault("storage_options", self._storage_options)
            try:
                return load(self._place(wanted), **options)
            except FileNotFoundError:
                if step is not None or self._folder.exists(_name(wanted)):
                    raise  # else the writer has removed it since: it has a later one

    def _names(self) -> list[int]:
        """The steps that have a file, whole or not."""
        found = (_NAME.fullmatch(name) for name in self._folder.names())
        return sorted(int(match[1]) for match in found if match)

    def _look(self, step: int) -> dict[str, Any] | PersistError:
        """The metrics of a step, or why it has none; a file that is replaced is looked at again."""
        identity = self._folder.identity(_name(step))
        known = self._seen.get(step)
        if known is not None and known[0] == identity:
            return known[1]
        found: dict[str, Any] | PersistError
        try:
            options = {"registry": self._registry, "storage_options": self._storage_options}
            with open_file(self._place(step), **options) as file:
                said = (file.structure.get("metadata") or {}).get(_METRICS, {}).get("metrics", {})
            found = {name: float(x) if isinstance(x, str) else x for name, x in said.items()}
        except (DamagedFileError, UnknownFormatError) as error:
            found = error
            self._untold.append(str(error))
        except FutureVersionError as error:  # whole, and `restore` says what it needs
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

    def _tell(self) -> None:
        """Warn of what was passed over, once."""
        while self._untold:
            warnings.warn(
                f"{self._untold.pop()} It is passed over as a checkpoint; "
                "see what is left of it with open(..., salvage=True), or remove it.",
                DamageWarning,
                stacklevel=3,
            )

    def _place(self, step: int) -> Path | str:
        return self._folder.place(_name(step))

    # Writing.

    def save(self, step: int, obj: Any, metrics: Mapping[str, Any] | None = None) -> Path | str:
        """Save a state under its step; what is no longer worth keeping goes afterwards.

        Args:
            step: not negative; one that is there already is replaced.
            obj: whatever `persist.save` takes.
            metrics: numbers, such as ``{"loss": 0.25}``.

        Returns:
            The file, a path or a URL; in an asynchronous save it is not there yet.

        Raises:
            PersistError: another process writes into the folder; or the asynchronous save before
                this one failed (chained to what went wrong).
        """
        step = operator.index(step)
        if step < 0:
            raise ValueError(f"the step is {step}. A number from 0 on was expected.")
        said = {name: _number(name, value) for name, value in (metrics or {}).items()}
        self.wait()
        self._own()
        place = self._place(step)
        # JSON has no NaN and no infinity: they stand as text.
        texts = {name: x if math.isfinite(x) else str(x) for name, x in said.items()}
        options = {
            "metadata": {_METRICS: {"step": step, "metrics": texts}},
            "durable": self._durable,
            "registry": self._registry,
            "like": self._before(step),
        }
        memory = self._memory
        snapshot: Any = False if memory is None else memory
        tree = tree_of(obj, self._registry, snapshot=snapshot, columns=True)

        def write() -> None:
            with self._folder.writing(_name(step)) as target:
                save_tree(tree, target, **options)
            self._seen[step] = self._folder.identity(_name(step)), said
            self._tidy(step)

        if memory is None:
            write()
        else:
            memory.end()
            self._job.start(write, place)
        return place

    def wait(self) -> None:
        """Wait until what was saved asynchronously is on disk.

        Raises:
            PersistError: it could not be written.
        """
        self._job.wait()

    def close(self) -> None:
        """Wait for the last save, and let another process write into the folder.

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
        """The file whose bytes the next one is likely to share: that of the step before it."""
        names = self._names() if self._share and isinstance(self.folder, Path) else []
        before = [name for name in names if name <= step] or names
        return self.folder / _name(before[-1]) if before and isinstance(self.folder, Path) else None

    def _tidy(self, newest: int) -> None:
        """Remove what is no longer worth keeping; never the one just written."""
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

    def _own(self) -> None:
        """Become the folder's one writer, and clean up what a killed one left unfinished."""
        if self._lock is not None and self._lock.is_held:
            return
        self._lock = self._folder.own()


def _name(step: int) -> str:
    return f"step-{step:010d}.persist"


def _number(name: str, value: Any) -> Any:
    """A metric as JSON has it; NumPy's scalars and 0-d arrays as Python's numbers."""
    item = value.item() if hasattr(value, "item") else value
    if not isinstance(item, int | float):
        raise TypeError(
            f"the metric {name!r} is a {type(value).__name__}. A number was expected. "
            "Give float(...) of it, or save it within the object."
        )
    return item

"""Checkpoints: a training run's states in a folder, written whole or not at all.

One file a step, ``step-0000001200.persist``, each a container of its own with its metrics in its
metadata. A file appears under its name when all of it is on disk, so whatever moment a run is
killed at, what has a name is complete; what has none is cleaned up by the next writer. A folder
has one writer (a lock that the operating system lets go of when the process ends) and any number
of readers.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persist import _files
from persist._container.atomic import is_unfinished
from persist.errors import PersistError

__all__ = ["Checkpoints"]

_NAME = re.compile(r"step-(\d{10,})\.persist")
_LOCK = ".writer.lock"
_METRICS = "checkpoint"  # the key of ours in the container's metadata


class Checkpoints:
    """Save a run's state step by step, keep the ones worth keeping, and go on from the latest.

    Args:
        folder: made when it is not there.
        keep_last: the latest so many are kept; None keeps all.
        keep_best: ``("loss", "min")`` or ``("accuracy", "max")``: the best by that metric is kept.
        every: each step that is a multiple of this is kept.
        asynchronous: `save` returns when a snapshot is in memory; a thread writes it. An error
            of that thread is raised by the next call, and by `close`.
        durable: survive a loss of power, too, not only a kill (fsync).
        registry: schemas and migrations; None is the default one.

    Raises:
        ValueError: ``keep_best`` is not a metric and "min" or "max".

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
        registry: Any = None,
    ) -> None:
        if keep_best is not None and keep_best[1:] not in (("min",), ("max",)):
            raise ValueError(f"keep_best={keep_best!r}: a metric and 'min' or 'max' is wanted")
        if keep_last is not None and keep_last < 1:
            raise ValueError(f"keep_last={keep_last}: at least 1, or None for all")
        self.folder = Path(folder)
        self._keep_last = keep_last
        self._keep_best = keep_best
        self._every = every
        self._asynchronous = asynchronous
        self._durable = durable
        self._registry = registry
        self._lock: Any = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._known: dict[int, dict[str, Any]] = {}

    # Reading.

    def steps(self) -> list[int]:
        """Return the steps that are there, in order."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(entry.name) for entry in os.scandir(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def latest(self) -> int | None:
        """Return the latest step, None where there is none."""
        steps = self.steps()
        return steps[-1] if steps else None

    def metrics(self, step: int) -> dict[str, Any]:
        """Return the metrics that were saved with a step.

        Raises:
            FileNotFoundError: there is no such step.
        """
        known = self._known.get(step)
        if known is None:
            with _files.open(self._path(step), registry=self._registry) as file:
                metadata = file.structure.get("metadata") or {}
            said = metadata.get(_METRICS, {}).get("metrics", {})
            known = {name: float(x) if isinstance(x, str) else x for name, x in said.items()}
            self._known[step] = known
        return dict(known)

    def best(self, metric: str | None = None, mode: str | None = None) -> int | None:
        """Return the step whose metric is best; None where no step has that metric.

        Args:
            metric: its name; that of ``keep_best`` by default.
            mode: "min" or "max"; that of ``keep_best`` by default.
        """
        if metric is None:
            if self._keep_best is None:
                raise ValueError("which metric? best('loss', 'min'), or keep_best=('loss', 'min')")
            metric, mode = self._keep_best
        values = {step: self.metrics(step).get(metric) for step in self.steps()}
        numbers = {
            step: float(value)
            for step, value in values.items()
            if value is not None and not math.isnan(float(value))
        }
        if not numbers:
            return None
        pick = max if mode == "max" else min
        best = pick(numbers.values())
        return max(step for step, value in numbers.items() if value == best)

    def restore(self, step: int | None = None, **options: Any) -> Any:
        """Load the state of a step, the latest by default.

        Args:
            step: the one wanted.
            options: those of `persist.load`.

        Raises:
            FileNotFoundError: there is no such step, or none at all.
        """
        self.wait()
        wanted = self.latest() if step is None else step
        if wanted is None:
            raise FileNotFoundError(f"{self.folder} holds no checkpoint.")
        options.setdefault("registry", self._registry)
        return _files.load(self._path(wanted), **options)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:010d}.persist"

    # Writing.

    def save(self, step: int, obj: Any, metrics: Mapping[str, Any] | None = None) -> Path:
        """Save a state under its step; what is no longer worth keeping goes afterwards.

        Args:
            step: not negative; one that is there already is replaced.
            obj: whatever `persist.save` takes.
            metrics: numbers, such as ``{"loss": 0.25}``.

        Returns:
            The file; in an asynchronous save it is not there yet.

        Raises:
            PersistError: another process writes into the folder; or the asynchronous save before
                this one failed (chained to what went wrong).
        """
        if step < 0:
            raise ValueError(f"step {step} is negative")
        said = {name: _number(name, value) for name, value in (metrics or {}).items()}
        self.wait()
        self._own()
        path = self._path(step)
        # JSON has no NaN and no infinity: they stand as text.
        metrics = {
            name: value if math.isfinite(value) else str(value) for name, value in said.items()
        }
        metadata = {_METRICS: {"step": step, "metrics": metrics}}
        tree = _files.tree_of(obj, self._registry, snapshot=self._asynchronous)

        def write() -> None:
            _files.save_tree(tree, path, metadata=metadata, durable=self._durable)
            self._known[step] = said
            self._tidy(step)

        if not self._asynchronous:
            write()
            return path

        def in_background() -> None:
            try:
                write()
            except BaseException as error:  # told to the caller at the next call
                self._error = error

        self._thread = threading.Thread(target=in_background, name=f"persist step {step}")
        self._thread.start()
        return path

    def wait(self) -> None:
        """Wait until what was saved asynchronously is on disk.

        Raises:
            PersistError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise PersistError(
                f"a checkpoint could not be written: {error}.", file=str(self.folder)
            ) from error

    def close(self) -> None:
        """Wait for the last save, and let another process write into the folder."""
        try:
            self.wait()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tidy(self, newest: int) -> None:
        """Remove what is no longer worth keeping; never the one just written."""
        if self._keep_last is None:
            return
        steps = self.steps()
        keep = {newest, *steps[-self._keep_last :]}
        if self._every:
            keep.update(step for step in steps if step % self._every == 0)
        if self._keep_best is not None:
            best = self.best()
            keep.update(() if best is None else (best,))
        for step in steps:
            if step not in keep:
                with contextlib.suppress(FileNotFoundError):
                    self._path(step).unlink()
                self._known.pop(step, None)

    def _own(self) -> None:
        """Become the folder's one writer, and clean up what a killed one left unfinished."""
        if self._lock is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / _LOCK).open("a+")
        if not _locked(lock):
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise PersistError(
                f"another process writes checkpoints here{f' ({holder})' if holder else ''}.",
                file=str(self.folder),
                remedy="A folder has one writer: stop the other, or give this run its own folder.",
            )
        lock.truncate(0)
        lock.write(json.dumps({"process": os.getpid()}))
        lock.flush()
        self._lock = lock
        for entry in os.scandir(self.folder):
            if is_unfinished(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)


def _number(name: str, value: Any) -> Any:
    """A metric as JSON has it; NumPy's scalars and 0-d arrays as Python's numbers."""
    item = value.item() if hasattr(value, "item") else value
    if not isinstance(item, int | float):
        raise TypeError(f"the metric {name!r} is a {type(value).__name__}, not a number")
    return item


def _locked(file: Any) -> bool:
    """Take the operating system's lock of a file; False where another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

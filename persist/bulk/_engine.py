"""Runs a plan: batches of files go to an executor, what comes back goes to the ledger and to the caller.

The executor may be any of `concurrent.futures`: a pool of processes on this machine, Dask's, loky's,
MPI's. A worker that dies takes its batch with it; the batch is tried again in pieces, and a file that
ends its worker when nothing else runs is reported.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import pickle
import queue
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from persist._wire.base.urls import is_url
from persist.bulk._dask import DaskExecutor, is_dask
from persist.bulk._job import Job, Work
from persist.bulk._ledger import Due
from persist.bulk._worker import Answer, Done, Worker, work
from persist.errors import PersistError

if TYPE_CHECKING:
    from persist.bulk._plan import Plan

__all__ = ["Batch", "answers", "batches", "executor_of"]

_MOST_TASKS = 5_000  # batches by number of files, and as many again by their bytes
_LARGEST = 100  # files of a batch, if that does not make too many tasks
_BYTES = 64 << 20  # of a batch, likewise
_PIECES = 8  # into which a batch is split that a worker died of
_EMPTY_DEATHS = 3  # workers that died in a row before they began
# Errors of executors that mean that a worker died, or was lost, by the names of their classes.
_DEATHS = {
    *("KilledWorker", "WorkerCrashedError", "TerminatedWorkerError", "CommClosedError"),
    *("FutureCancelledError", "FuturesCancelledError", "NodeDiedError", "OutOfMemoryError"),
}


class Batch(NamedTuple):
    """Files that are sent to a worker together.

    Attributes:
        works: the files.
        tries: how often a worker was lost with the batch.
    """

    works: list[Work]
    tries: int = 0


def batches(
    works: Iterable[tuple[Work, int]], count: int, size: int, workers: int
) -> Iterator[Batch]:
    """Yield batches: few enough for a scheduler, small enough that each worker gets several.

    Args:
        works: the files, with their sizes in bytes.
        count: their number.
        size: the sum of their sizes.
        workers: the number of workers.
    """
    most = max(1, min(_LARGEST, count // (workers * 8)), math.ceil(count / _MOST_TASKS))
    most_bytes = max(_BYTES, size // _MOST_TASKS)
    batch: list[Work] = []
    held = 0
    for one, bytes_of_it in works:
        if batch and (len(batch) >= most or held + bytes_of_it > most_bytes):
            yield Batch(batch)
            batch, held = [], 0
        batch.append(one)
        held += max(bytes_of_it, 0)
    if batch:
        yield Batch(batch)


class _Crew:
    """An executor, and how to get another one when its workers are gone."""

    def __init__(self, executor: Executor | Callable[[], Executor] | int) -> None:
        self._make: Callable[[], Executor] | None = None
        self._owns = not isinstance(executor, Executor)
        if isinstance(executor, int):
            count = executor
            self._make = lambda: _pool(count)
        elif isinstance(executor, Executor):
            if isinstance(executor, ProcessPoolExecutor):
                self._make = lambda: _like(executor)
        elif callable(executor):
            self._make = executor
        else:
            raise TypeError(
                f"{executor!r} is no executor, no function that makes one, and no number"
            )
        made = executor if isinstance(executor, Executor) else self._make()  # type: ignore[misc]
        self.executor = _ending(made)

    @property
    def workers(self) -> int:
        """How many files can be worked on at once, as far as the executor tells."""
        known = getattr(self.executor, "_max_workers", None)
        if isinstance(known, int):
            return max(known, 1)
        return max(os.cpu_count() or 1, 64)

    def renew(self) -> None:
        """Replace a broken executor.

        Raises:
            PersistError: nobody knows how to make another one.
        """
        if self._make is None:
            raise PersistError(
                f"the workers of the {type(self.executor).__name__} are gone, and it makes no others.",
                remedy="Pass a function that makes such an executor; the run goes on where it stopped.",
            )
        self.executor.shutdown(wait=False)
        self.executor = _ending(self._make())
        self._owns = True

    def close(self) -> None:
        """Shut down an executor that was made here."""
        if self._owns:
            self.executor.shutdown(wait=False)  # loky's takes no cancel_futures


def _ending(executor: Executor) -> Executor:
    """An executor each of whose futures ends."""
    return DaskExecutor(executor) if is_dask(executor) else executor


def _pool(count: int) -> ProcessPoolExecutor:
    import multiprocessing

    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def _like(pool: Any) -> ProcessPoolExecutor:
    """Another pool with the settings of a broken one."""
    return ProcessPoolExecutor(
        pool._max_workers, mp_context=pool._mp_context,
        initializer=pool._initializer, initargs=pool._initargs,
    )  # fmt: skip


def executor_of(text: str) -> Callable[[], Executor]:
    """Return what makes the executor that ``MODULE:NAME`` names: a class, a function, or an executor.

    Raises:
        PersistError: there is no such thing.
    """
    import importlib

    module, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise PersistError(
            f"there is no executor {text!r}: {error}.",
            remedy="Write MODULE:NAME, such as loky:get_reusable_executor.",
        ) from error
    return (lambda: found) if isinstance(found, Executor) else found


def answers(
    plan: Plan, job: Job, executor: Executor | Callable[[], Executor] | int | None
) -> Iterator[tuple[list[Done], bytes | None]]:
    """Do the job to all pending files of a plan; yield what is done, with what was collected over it."""
    if executor is None or executor == 1:
        yield from _here(plan, job)
    else:
        yield from _Dispatch(plan, job, _Crew(executor), not isinstance(executor, int)).run()


def _here(plan: Plan, job: Job) -> Iterator[tuple[list[Done], bytes | None]]:
    """In this process; parts are taken each time when the ledger is to be written."""
    worker = Worker(job)
    for one, _ in plan._works(absolute=False):
        done = worker.one(one)
        yield [done], worker.task.part() if plan._is_due() else None
    yield [], worker.task.part()


class _Dispatch:
    """Sends batches, and takes answers, until all is done."""

    def __init__(self, plan: Plan, job: Job, crew: _Crew, is_far: bool) -> None:
        self._crew = crew
        self._job = pickle.dumps(job)
        _, count, size = plan._totals()
        works = plan._works(absolute=is_far)
        self._fresh = batches(works, count, size, crew.workers)
        self._again: collections.deque[Batch] = collections.deque()
        self._suspects: collections.deque[Batch] = collections.deque()
        self._out: dict[Future[Answer], tuple[Batch, str]] = {}
        self._arrived: queue.SimpleQueue[Future[Answer]] = queue.SimpleQueue()
        self._markers = tempfile.mkdtemp(prefix="persist-bulk-")
        self._number = 0
        self._empty_deaths = 0
        self.tasks = 0

    def run(self) -> Iterator[tuple[list[Done], bytes | None]]:
        try:
            while self._send():
                future = self._arrived.get()
                sent = self._out.pop(future, None)
                if sent is None:
                    continue
                batch, marker = sent
                try:
                    answer = future.result()
                except BaseException as error:
                    if not _is_death(error):
                        raise _failed(error) from error
                    yield from self._lost(batch, marker, error)
                    continue
                self._remove(marker)
                if answer.fault is not None:
                    raise answer.fault
                self._empty_deaths = 0
                yield answer.done, answer.part
        finally:
            for future in self._out:
                future.cancel()
            self._crew.close()
            shutil.rmtree(self._markers, ignore_errors=True)

    def _send(self) -> bool:
        """Send batches until enough are on their way; False if all is done."""
        window = 3 * self._crew.workers + 1
        while len(self._out) < window:
            batch = self._next()
            if batch is None:
                break
            self._number += 1
            marker = os.path.join(self._markers, str(self._number))
            fields = [tuple(one) for one in batch.works]
            try:
                future = self._crew.executor.submit(work, self._job, fields, marker)
            except BrokenExecutor:
                self._again.appendleft(batch)
                if self._out:  # what is on its way fails, too, and the executor is replaced then
                    return True
                self._crew.renew()
                continue
            self.tasks += 1
            self._out[future] = batch, marker
            future.add_done_callback(self._arrived.put)
        return bool(self._out)

    def _next(self) -> Batch | None:
        if self._again:
            return self._again.popleft()
        batch = next(self._fresh, None)
        if batch is None and self._suspects and not self._out:
            return self._suspects.popleft()  # alone, so that it is known what a worker dies of
        return batch

    # Workers that died.

    def _lost(
        self, batch: Batch, marker: str, error: BaseException
    ) -> Iterator[tuple[list[Done], bytes | None]]:
        """Deal with a batch whose worker died, and with all others if the executor went with it."""
        was_alone = not self._out
        lost = [(batch, marker)]
        if isinstance(error, BrokenExecutor):
            yield from self._settle(lost)
            self._crew.renew()
        indices = [self._index(one) for _, one in lost]
        if all(index is None for index in indices):
            self._empty_deaths += 1
            if self._empty_deaths >= _EMPTY_DEATHS and was_alone | isinstance(
                error, BrokenExecutor
            ):
                raise _failed(error) from error
        else:
            self._empty_deaths = 0
        for (one, _), index in zip(lost, indices, strict=True):
            if was_alone and len(one.works) == 1 and one.tries:
                yield [_dead(one.works[0], error)], None
            else:
                self._split(one, index)
        for _, one_marker in lost:
            self._remove(one_marker)

    def _settle(self, lost: list[tuple[Batch, str]]) -> Iterator[tuple[list[Done], bytes | None]]:
        """Wait for what is on its way: it is answered, or lost too."""
        while self._out:
            future = self._arrived.get()
            sent = self._out.pop(future, None)
            if sent is None:
                continue
            try:
                answer = future.result()
            except BaseException as error:
                if not _is_death(error):
                    raise _failed(error) from error
                lost.append(sent)
                continue
            self._remove(sent[1])
            if answer.fault is None:
                yield answer.done, answer.part

    def _index(self, marker: str) -> int | None:
        """The index of the file that a worker was at; None if it had not begun, or if that is not known."""
        try:
            with open(marker, "rb") as file:
                return int(file.read() or b"-1")
        except (OSError, ValueError):
            return None

    def _remove(self, marker: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(marker)

    def _split(self, batch: Batch, index: int | None) -> None:
        """Put the pieces of a batch back into the queues."""
        works, tries = batch.works, batch.tries + 1
        if index is not None and 0 <= index < len(works):
            self._suspects.append(Batch([works[index]], tries))
            for rest in (works[:index], works[index + 1 :]):
                if rest:
                    self._again.append(Batch(rest, batch.tries))
        elif len(works) == 1:
            self._suspects.append(Batch(works, tries))
        elif index is None and tries == 1:  # perhaps it had only been waiting
            self._again.append(Batch(works, tries))
        else:
            size = math.ceil(len(works) / _PIECES)
            for start in range(0, len(works), size):
                self._again.append(Batch(works[start : start + size], tries))


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BrokenExecutor | CancelledError):
        return True
    return any(cls.__name__ in _DEATHS for cls in type(error).__mro__)


def _failed(error: BaseException) -> BaseException:
    if isinstance(error, PersistError | KeyboardInterrupt | SystemExit):
        return error
    if _is_death(error):
        return PersistError(
            f"the workers end before they begin ({type(error).__name__}: {error}).",
            remedy="A script that starts processes must do so under `if __name__ == '__main__':`; "
            "and the modules of imports= must be importable without harm.",
        )
    return PersistError(
        f"the executor failed: {type(error).__name__}: {error}.",
        remedy="The workers need the same releases of persist and Python, and the run goes on when it "
        "is started again with the same ledger.",
    )


def _dead(one: Work, error: BaseException) -> Done:
    text = (
        f"{one.name}: the worker process ended while it worked on this file, twice, the second time with "
        f"nothing else to do ({type(error).__name__}). It may need more memory than there is, or crash "
        "the interpreter; the other files were done."
    )
    return Done(
        one.number, "failed", "failed", "", "", 0.0, "WorkerDied", text, -1, "", "[]", "", "", None
    )


def row_work(row: Due, known: tuple[str, int] | None, absolute: bool) -> Work:
    """Return the work that a row of the ledger asks for."""
    name, target = row.name, row.target or ""
    if absolute:
        name = name if is_url(name) else os.path.abspath(name)
        target = target if not target or is_url(target) else os.path.abspath(target)
    return Work(row.number, name, row.named == 1, target, row.unit, known)

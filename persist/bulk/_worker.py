"""What runs in a worker: a job is done to a batch of files. Nothing here reads or writes the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from persist.bulk._fingerprint import Fingerprints
from persist.bulk._job import Job, Outcome, Task, Work, task_of
from persist.bulk._words import error_line
from persist.errors import FormatError, PersistError, UnknownFormatError

__all__ = ["SAME", "Answer", "Done", "Worker", "work"]

SAME = "\0same"  # the status of a file that is as it was when the same was done to it
_MOST_WARNINGS = 50  # of one file


class Done(NamedTuple):
    """One file that is done, as it is sent back: see `persist.bulk._job.Outcome`."""

    number: int
    status: str
    verdict: str
    format: str
    digest: str
    seconds: float
    kind: str
    error: str
    target_size: int
    target_digest: str
    names: str
    knowledge: str
    facts: str
    result: Any


class Answer(NamedTuple):
    """What a worker sends back.

    Attributes:
        done: the files of a batch.
        part: what was collected over them, or None.
        fault: why the worker could not begin; then nothing is done.
    """

    done: list[Done]
    part: bytes | None
    fault: PersistError | None = None


class Worker:
    """A job in this process.

    Args:
        job: what is done.

    Raises:
        PersistError: a module that the job needs cannot be imported.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._task, registry = task_of(job)
        self._fingerprints = Fingerprints(registry)
        self._knowledge: dict[str, str] = {}

    @property
    def task(self) -> Task:
        """The task."""
        return self._task

    def knowledge_of(self, names: str) -> str:
        """Return the fingerprint of what is declared about classes, whose names are given as JSON."""
        found = self._knowledge.get(names)
        if found is None:
            if len(self._knowledge) > 20_000:
                self._knowledge.clear()
            found = self._knowledge[names] = self._fingerprints.of(json.loads(names))
        return found

    def one(self, work: Work) -> Done:
        """Do the job to one file; whatever goes wrong is in what is returned."""
        began = time.perf_counter()
        with _caught_warnings() as caught:
            try:
                outcome = self._known(work) or self._task.one(work)
            except Exception as error:
                outcome = failure(error, work.name)
        said = {
            "note": outcome.note,
            "versions": outcome.versions,
            "steps": outcome.steps,
            "unknown": outcome.unknown,
            "warnings": caught,
        }
        said = {key: value for key, value in said.items() if value}
        names = json.dumps(sorted(set(outcome.names)))
        return Done(
            work.number, outcome.status, outcome.verdict, outcome.format, outcome.digest,
            time.perf_counter() - began, outcome.kind, outcome.error, outcome.target_size,
            outcome.target_digest, names, self.knowledge_of(names),
            json.dumps(said) if said else "", outcome.result,
        )  # fmt: skip

    def _known(self, work: Work) -> Outcome | None:
        """The outcome for a file that has not changed since the same was done to it, or None."""
        if work.known is None:
            return None
        from persist.bulk._origin import digest_of
        from persist.bulk._places import size_of

        storage = self._job.options.get("storage_options")
        digest, target_size = work.known
        if target_size >= 0:
            try:
                if size_of(work.target, storage) != target_size:
                    return None
            except (OSError, PersistError):  # it has been removed
                return None
        try:
            return Outcome(SAME) if digest_of(work.name, storage)[1] == digest else None
        except (OSError, PersistError):
            return None


def failure(error: BaseException, name: str) -> Outcome:
    """Return the outcome of a file whose work raised an error."""
    is_damage = (
        isinstance(error, FormatError)
        and not isinstance(error, UnknownFormatError)
        and (error.file is None or error.file.startswith(name))
    )
    return Outcome(
        "failed",
        "damaged" if is_damage else "failed",
        kind=type(error).__name__,
        error=error_line(error, name),
    )


@contextlib.contextmanager
def _caught_warnings() -> Iterator[list[list[str]]]:
    """Collect the warnings of the work as category and text, as far as they are not filtered."""
    caught: list[list[str]] = []

    def show(message: Warning | str, category: type, *rest: object, **more: object) -> None:
        if len(caught) < _MOST_WARNINGS:
            caught.append([category.__name__, str(message)])

    with warnings.catch_warnings():
        if not sys.warnoptions and "PYTHONWARNINGS" not in os.environ:
            warnings.simplefilter("always")
        warnings.showwarning = show
        yield caught


_workers: dict[bytes, Worker] = {}
_lock = threading.Lock()  # threads of one worker take turns: declarations and warnings are shared


def work(job: bytes, batch: list[tuple[Any, ...]], marker: str) -> Answer:
    """Do a job to a batch of files; called in a worker.

    Args:
        job: pickle of the `Job`.
        batch: the fields of each `Work`.
        marker: a file that receives the index of the file that is worked on, for the case that this
            process ends; "" for none. Its folder may be missing, on another machine.
    """
    with _lock, _marking(marker) as mark:
        key = hashlib.sha256(job).digest()
        worker = _workers.get(key)
        if worker is None:
            try:
                worker = Worker(pickle.loads(job))
            except PersistError as error:
                return Answer([], None, error)
            except Exception as error:
                fault = PersistError(
                    f"a worker cannot begin: {type(error).__name__}: {error}.",
                    remedy="What the job needs must be importable in the worker: name it in imports=.",
                )
                return Answer([], None, fault)
            _workers.clear()  # a worker serves one run at a time
            _workers[key] = worker
        done = []
        for index, fields in enumerate(batch):
            mark(index)
            work = Work._make(fields)
            done.append(_sent(worker.one(work), work.name))
        mark(len(batch))
        return Answer(done, worker.task.part())


def _sent(done: Done, name: str) -> Done:
    """Pickle the result of a file, since an answer that cannot be unpickled would end the whole batch.

    A result that cannot be pickled makes the file a failed one.
    """
    if done.result is None:
        return done
    try:
        return done._replace(result=pickle.dumps(done.result))
    except Exception as error:  # whatever the classes of a user's result raise
        fault = PersistError(
            f"the result, a {type(done.result).__name__}, cannot be sent back by the worker "
            f"({type(error).__name__}: {error}).",
            file=name,
            remedy="Let the function return what can be pickled, or run it without an executor.",
        )
        said = failure(fault, name)
        return done._replace(
            status=said.status, verdict=said.verdict, kind=said.kind, error=said.error, result=None
        )


@contextlib.contextmanager
def _marking(marker: str) -> Iterator[Any]:
    try:
        number = os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600) if marker else -1
    except OSError:  # the worker is on another machine
        number = -1
    if number < 0:
        yield lambda index: None
        return
    try:
        yield lambda index: _write(number, b"%8d" % index)
    finally:
        os.close(number)


def _write(number: int, text: bytes) -> None:
    os.lseek(number, 0, os.SEEK_SET)
    os.write(number, text)

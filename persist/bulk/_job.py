"""A job: what is done to each file, as data that can be sent to a worker."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs

from persist._version import __version__
from persist.bulk._sources import Filters
from persist.errors import PersistError

if TYPE_CHECKING:
    from persist.registry import Registry

__all__ = ["JOBS", "Job", "Outcome", "Task", "Work", "function_job", "task_of"]

RULES = (
    1  # counted up when persist would write or judge a file differently with the same declarations
)

JOBS = ("upgrade", "convert", "survey", "verify", "scan")


class Work(NamedTuple):
    """One file to work on, as a worker gets it.

    Attributes:
        number: of the file in the run.
        name: path or URL.
        is_named: whether the user named it.
        target: the path to write to; "" for a job that writes nothing.
        note: for a unit of several files, what was recognised.
        known: the digest that the file had, and the size of its target, when the same was done to
            it before; None if it has to be done.
        origin: what an earlier run made of it, to be repeated in the event.
    """

    number: int
    name: str
    is_named: bool
    target: str = ""
    note: str = ""
    known: tuple[str, int] | None = None


@attrs.define
class Outcome:
    """What became of one file.

    Attributes:
        status: what was done, in the words of the command.
        verdict: "well", "class unknown", "damaged", "failed" or "left out".
        note: a remark.
        format: of the file.
        digest: SHA-256 of the file, or "".
        target_size, target_digest: of what was written; -1 and "".
        names: the classes that the file and its target name.
        versions: (class, schema, version found, version now, number of records).
        steps: the steps and stamps that were applied.
        unknown: the classes that are not declared.
        kind: the name of the error.
        error: the error in words, beginning with the file.
        result: what a function gave, or a job for reading found.
    """

    status: str
    verdict: str = "well"
    note: str = ""
    format: str = ""
    digest: str = ""
    target_size: int = -1
    target_digest: str = ""
    names: Iterable[str] = ()
    versions: list[list[Any]] = attrs.field(factory=list)
    steps: list[list[Any]] = attrs.field(factory=list)
    unknown: list[str] = attrs.field(factory=list)
    kind: str = ""
    error: str = ""
    result: Any = None


class Task(Protocol):
    """A job in one process: does it to one file after the other."""

    def one(self, work: Work) -> Outcome:
        """Do it to one file; an error is raised."""

    def part(self) -> bytes | None:
        """Return what was collected over the files since the last call; None for most jobs."""


@attrs.frozen
class Job:
    """What is done to each file.

    Attributes:
        name: one of `JOBS`, or "function".
        options: of the job, as plain values.
        filters: which files it is about.
        imports: modules that every worker imports first.
        migrations: folders of modules, likewise.
        paths: folders that are added to a worker's ``sys.path``.
        registry: pickle of a registry other than the default one, or None.
        function: pickle of the user's function, or None.
        keeps_ledger: whether digests are wanted for a ledger.
    """

    name: str
    options: dict[str, Any] = attrs.field(factory=dict)
    filters: Filters = attrs.field(factory=Filters)
    imports: tuple[str, ...] = ()
    migrations: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    registry: bytes | None = None
    function: bytes | None = None
    keeps_ledger: bool = False

    @property
    def writes(self) -> bool:
        """Whether each file has a target."""
        return self.name in ("upgrade", "convert") and not self.options.get("in_place")

    @property
    def in_place(self) -> bool:
        """Whether the files themselves are replaced."""
        return bool(self.options.get("in_place"))

    @property
    def title(self) -> str:
        """The name under which a ledger keeps its files."""
        return self.name if self.function is None else f"function {self.options['name']}"

    @property
    def digest(self) -> str:
        """What, apart from declarations, decides the result: options, filters and rules."""
        said = {key: value for key, value in self.options.items() if key not in _OUTSIDE}
        text = json.dumps([RULES, __version__, said, attrs.asdict(self.filters)], default=str)
        state = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
        return state.hexdigest()[:16]


# Options that do not change what is written.
_OUTSIDE = ("force", "dry_run", "certificates", "originals", "run", "jobs", "storage_options")


def function_job(function: Callable[[str], object]) -> tuple[bytes, str]:
    """Return the pickle of a user's function, and its name.

    Raises:
        PersistError: it cannot be sent to another process.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", "")
    try:
        return pickle.dumps(function), f"{module}.{name}"
    except Exception as error:
        import importlib

        try:
            cloudpickle: Any = importlib.import_module("cloudpickle")
        except ImportError:
            raise PersistError(
                f"{name} cannot be sent to a worker ({type(error).__name__}: {error}).",
                remedy="Define it at the top of a module, or install cloudpickle.",
            ) from error
        return bytes(cloudpickle.dumps(function)), f"{module}.{name}"


def task_of(job: Job) -> tuple[Task, Registry]:
    """Make the task of a job in this process: declarations are imported.

    Raises:
        PersistError: a module cannot be imported.
    """
    from persist.bulk._declared import registry_of

    for path in job.paths:
        if path not in sys.path and os.path.isdir(path):
            sys.path.append(path)
    registry = registry_of(job.imports, job.migrations)
    if job.registry is not None:
        registry = pickle.loads(job.registry)
    if job.name == "upgrade":
        from persist.bulk._upgrade import UpgradeTask

        return UpgradeTask(job, registry), registry
    if job.name == "convert":
        from persist.bulk._convert import ConvertTask

        return ConvertTask(job, registry), registry
    from persist.bulk import _readings

    return _readings.task(job, registry), registry

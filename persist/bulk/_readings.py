"""The jobs that only read: survey, verify, scan, and a function of the user's."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from persist._api.open import open as open_file
from persist.bulk._filtering import is_wanted
from persist.bulk._job import Job, Outcome, Task, Work
from persist.bulk._origin import digest_of
from persist.bulk._upgrade import opening
from persist.errors import DamagedFileError, PersistError, UnknownFormatError

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.registry import Registry

__all__ = ["ScanTask", "SurveyTask", "VerifyTask", "intact", "task"]


def task(job: Job, registry: Registry) -> Task:
    """Return the task of a job that only reads."""
    if job.function is not None:
        return FunctionTask(job, registry)
    tasks: dict[str, Any] = {"survey": SurveyTask, "verify": VerifyTask, "scan": ScanTask}
    made: Task = tasks[job.name](job, registry)
    return made


class _Reading:
    """A job that opens a file, and gives what it finds."""

    def __init__(self, job: Job, registry: Registry) -> None:
        self.job = job
        self.registry = registry

    def part(self) -> bytes | None:
        """Nothing is collected."""
        return None

    def digest(self, work: Work) -> str:
        """The digest of the file, if there is a ledger."""
        return digest_of(work.name)[1] if self.job.keeps_ledger else ""

    def foreign(self, work: Work) -> Outcome:
        """The outcome for a file in a folder that is no experiment file."""
        return Outcome("not an experiment file", "left out", digest=self.digest(work))

    def is_wanted(self, work: Work) -> bool:
        """Whether a file that is not opened otherwise passes the filters."""
        if not self.job.filters.looks_inside:
            return True
        try:
            with open_file(work.name, registry=self.registry, **opening(self.job.options)) as file:
                return is_wanted(file, self.job.filters)
        except UnknownFormatError:
            return False


class VerifyTask(_Reading):
    """Reads each file completely, and checks its signature where keys are given."""

    def __init__(self, job: Job, registry: Registry) -> None:
        super().__init__(job, registry)
        self._keys: list[object] = []
        if job.options.get("keys"):
            from persist._container.signed import public_keys

            self._keys = public_keys(job.options["keys"])

    def one(self, work: Work) -> Outcome:
        """Verify one file.

        Raises:
            FormatError: it is damaged.
            SignatureError: it is not signed with one of the keys, or was altered since.
        """
        options = opening(self.job.options)
        try:
            file = open_file(work.name, registry=self.registry, verify="always", **options)
        except UnknownFormatError:
            if work.is_named:
                raise
            return self.foreign(work)
        with file:
            if not is_wanted(file, self.job.filters):
                return Outcome("left out", "left out", format=file.format)
            note = intact(file) + self._signed(file)
            return Outcome("whole", note=note, format=file.format, digest=self.digest(work))

    def _signed(self, file: File) -> str:
        """What is to be said of the signatures of a file, after a comma."""
        if file.format != "persist" and not self._keys:
            return ""
        from persist._container.signature import claim
        from persist._container.signed import check, signatures

        if self._keys:
            return f", {check(file._source, self._keys)}"
        if claim(file._source) is None:  # it is in a compressed file
            return ""
        stated = ", ".join(map(str, signatures(file._source)))
        return f", {stated} (not checked: --key)" if stated else ""


def intact(file: File) -> str:
    """Read everything in a file that was opened with ``verify="always"``; return a summary.

    Raises:
        FormatError: it is damaged.
    """
    import numpy as np

    from persist._trees.show import counted, size_text

    count = size = 0
    for path in file.arrays:
        array = np.asarray(file.arrays[path])
        count, size = count + 1, size + array.nbytes
    scalars = len(file.scalars)
    if file.damage:
        raise DamagedFileError(f"{'; '.join(file.damage)}.", file=file.name)
    return (
        f"{file.name}: {file.format}, whole: {counted(count, 'array')} ({size_text(size)}), "
        f"{counted(scalars, 'value')}"
    )


class ScanTask(_Reading):
    """Names what loading each file would import and call."""

    def one(self, work: Work) -> Outcome:
        """Scan one file."""
        from persist.security import Finding, ScanReport, scan

        if not self.is_wanted(work):
            return Outcome("left out", "left out")
        try:
            report = scan(work.name, limits=self.job.options.get("limits"))
        except OSError as error:
            why = f"it cannot be read: {error.strerror or error}"
            report = ScanReport(work.name, (Finding("could not look", "", why),))
            return Outcome(
                "scanned", "failed", "could not look", kind=type(error).__name__,
                error=f"{work.name}: {why}", result=report,
            )  # fmt: skip
        verdict, worst = "well", report.findings[0] if report.findings else None
        if report.status == 2:
            verdict = "damaged"
        elif report.status == 1 or (self.job.options.get("strict") and report.of("unknown")):
            verdict = "failed"
        is_bad = worst is not None and verdict != "well"
        return Outcome(
            "scanned", verdict, report.verdict, digest=self.digest(work), result=report,
            kind=worst.verdict if is_bad and worst is not None else "",
            error=f"{work.name}: {worst}" if is_bad else "",
        )  # fmt: skip


class SurveyTask(_Reading):
    """Collects which classes the files hold."""

    def __init__(self, job: Job, registry: Registry) -> None:
        from persist.survey import Collector

        super().__init__(job, registry)
        self._collector = Collector(registry, **opening(job.options))

    def one(self, work: Work) -> Outcome:
        """Look into one file."""
        if not self.is_wanted(work):
            return Outcome("left out", "left out")
        seen = self._collector.add(work.name)
        if isinstance(seen, UnknownFormatError):
            return Outcome("not an experiment file", "left out")
        if isinstance(seen, BaseException):
            from persist.bulk._worker import failure

            outcome = failure(seen, work.name)
            if isinstance(seen, PersistError):
                outcome.verdict = "damaged"
            return outcome
        return Outcome(
            "surveyed",
            "class unknown" if seen.unknown else "well",
            format=seen.format,
            names=seen.names,
            unknown=sorted(seen.unknown)[:50],
        )

    def part(self) -> bytes | None:
        """What was collected since the last call."""
        return self._collector.take()


class FunctionTask(_Reading):
    """Calls a function of the user's with the path of each file."""

    def __init__(self, job: Job, registry: Registry) -> None:
        super().__init__(job, registry)
        assert job.function is not None
        self._function = pickle.loads(job.function)

    def one(self, work: Work) -> Outcome:
        """Call the function; an error that it raises is the file's."""
        if not self.is_wanted(work):
            return Outcome("left out", "left out")
        result = self._function(work.name)
        return Outcome("done", digest=self.digest(work), result=result)

"""What a run reports of one file."""

from __future__ import annotations

import functools
import json
from typing import Any, Literal, TypeAlias

import attrs

__all__ = ["VERDICTS", "Event", "Verdict"]

Verdict: TypeAlias = Literal["well", "class unknown", "damaged", "failed", "left out"]
VERDICTS: tuple[Verdict, ...] = ("well", "class unknown", "left out", "damaged", "failed")


@attrs.frozen(slots=False)
class Event:
    """What became of one file.

    Attributes:
        file: its path or URL, as it was named or found.
        status: what was done, in the words of the command: "upgraded", "copied", "there already",
            "up to date", "of an older version", "out of date", "converted", "surveyed", "whole",
            "scanned", "done", "not an experiment file", "left out" (by a filter) or "failed".
        verdict: "well"; "class unknown" (some class is not declared, and stayed a record);
            "damaged" (the file cannot be read, or not all of it); "failed" (for another reason);
            "left out" (no experiment file, or not wanted).
        target: what was written, or would be; "" for a job that writes nothing.
        format: of the file; "" where it was not opened.
        size: bytes of the file; -1 if it is not known.
        digest: SHA-256 of the file, where the job took it; else "".
        seconds: that the work took.
        kind: the name of the error, such as "DamagedFileError"; "WorkerDied" if the process that
            worked on the file ended; "" if there was none.
        error: the error in words, beginning with the file.
        result: what a user's function returned; of a scan the report.
        run: the id of the run.
        done: how many files of the run are done.
        total: how many it has.
    """

    file: str
    status: str
    verdict: Verdict
    target: str = ""
    format: str = ""
    size: int = -1
    digest: str = ""
    seconds: float = 0.0
    kind: str = ""
    error: str = ""
    result: Any = None
    run: str = ""
    done: int = 0
    total: int = 0
    _facts: str = attrs.field(default="", repr=False, alias="facts")

    @functools.cached_property
    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self._facts) if self._facts else {}
        return said

    @property
    def note(self) -> str:
        """A remark, such as versions, damage that was passed over, what was left out."""
        return str(self._said.get("note", ""))

    @property
    def versions(self) -> list[list[Any]]:
        """The class of each declared record, with schema, version found, version now, number."""
        return list(self._said.get("versions", ()))

    @property
    def steps(self) -> list[list[Any]]:
        """The applied steps, each as schema, from, to and digest; for stamps from and to are None."""
        return list(self._said.get("steps", ()))

    @property
    def unknown(self) -> list[str]:
        """The classes that are not declared, and stayed records."""
        return list(self._said.get("unknown", ()))

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """Category and text of each warning that the work gave."""
        return [(kind, text) for kind, text in self._said.get("warnings", ())]

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON has; ``result`` only if it is one."""
        said = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(Event)
            if field.name not in ("_facts", "result")
        }
        said = {key: value for key, value in said.items() if value not in ("", -1)}
        said.update(self._said)
        try:
            json.dumps(self.result)
        except (TypeError, ValueError):
            return said
        return said if self.result is None else {**said, "result": self.result}

"""What a scan found, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from persist._version import __version__
from persist.security._names import Verdict

__all__ = ["Finding", "ScanReport", "sarif"]

# From the least to the most severe. What could not be looked at may be anything, but a danger that
# was found is one.
_ORDER: tuple[Verdict, ...] = ("safe", "unknown", "suspicious", "could not look", "dangerous")
_LEVELS = {
    "dangerous": "error",
    "suspicious": "warning",
    "could not look": "warning",
    "unknown": "note",
    "safe": "none",
}


@attrs.frozen
class Finding:
    """One name that a loader would import, or one part that could not be looked at.

    Attributes:
        verdict: "safe", "unknown", "suspicious", "dangerous" or "could not look".
        name: dotted name of what would be imported; "" of a part that could not be looked at.
        why: what is known about it, in words.
        place: the parts of the file that lead there (members of archives, layers of compression,
            pickles in bytes), outermost first, joined by ``>``; "" for the file itself.
        offset: bytes from the beginning of that part; None where it has none.
    """

    verdict: Verdict
    name: str
    why: str
    place: str = ""
    offset: int | None = None

    def __str__(self) -> str:
        at = "" if self.offset is None else f"offset {self.offset:,}"
        where = ", ".join(part for part in (self.place, at) if part)
        what = f"{self.name}: {self.why}" if self.name else self.why
        return f"{self.verdict}: {what}" + (f" ({where})" if where else "")


@attrs.frozen
class ScanReport:
    """What loading one file would import and call.

    Attributes:
        file: the file as it was named.
        findings: the most severe first, then in the order of the file.
    """

    file: str
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The most severe of all findings; "safe" if there is none."""
        return max((one.verdict for one in self.findings), key=_ORDER.index, default="safe")

    @property
    def is_clean(self) -> bool:
        """Whether all of it was looked at, and nothing dangerous or suspicious is in it."""
        return self.verdict in ("safe", "unknown")

    @property
    def status(self) -> int:
        """The exit status of the command (0 clean, 1 dangerous or suspicious, 2 could not look)."""
        if self.is_clean:
            return 0
        dangers = {"dangerous", "suspicious"}
        return 1 if any(one.verdict in dangers for one in self.findings) else 2

    def of(self, verdict: Verdict) -> list[Finding]:
        """Return the findings of one verdict."""
        return [one for one in self.findings if one.verdict == verdict]

    def as_json(self) -> dict[str, object]:
        """Return the report as values that JSON has."""
        return {
            "file": self.file,
            "verdict": self.verdict,
            "findings": [attrs.asdict(one) for one in self.findings],
        }

    def __str__(self) -> str:
        heads = {"safe": "clean", "unknown": "clean, with names that are not known"}
        lines = [f"{self.file}: {heads.get(self.verdict, self.verdict)}"]
        lines += [f"  {one}" for one in self.findings if one.verdict != "safe"]
        safe = len(self.of("safe"))
        if safe:
            lines.append(f"  safe: {safe:,} name{'' if safe == 1 else 's'} of plain data")
        return "\n".join(lines)


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity; of one severity in the order in which they were found."""
    return tuple(sorted(findings, key=lambda one: -_ORDER.index(one.verdict)))


def sarif(reports: Iterable[ScanReport]) -> dict[str, object]:
    """Return reports as one run of SARIF 2.1.0, without names that are safe.

    Source: OASIS, Static Analysis Results Interchange Format, version 2.1.0.
    """
    results = []
    for report in reports:
        for one in report.findings:
            if one.verdict == "safe":
                continue
            region = {} if one.offset is None else {"region": {"byteOffset": one.offset}}
            location: dict[str, Any] = {
                "physicalLocation": {
                    "artifactLocation": {"uri": report.file.replace("\\", "/")},
                    **(region if not one.place else {}),
                }
            }
            if one.place:
                location["logicalLocations"] = [{"fullyQualifiedName": one.place}]
            results.append(
                {
                    "ruleId": one.verdict.replace(" ", "-"),
                    "level": _LEVELS[one.verdict],
                    "message": {"text": str(one)},
                    "locations": [location],
                }
            )
    rules = [
        {"id": verdict.replace(" ", "-"), "shortDescription": {"text": text}}
        for verdict, text in (
            ("dangerous", "Loading the file runs code, imports, or reaches the system."),
            ("suspicious", "Loading the file uses what no data needs."),
            ("could not look", "A part of the file could not be looked at."),
            ("unknown", "Loading the file imports a name of which nothing is known."),
        )
    ]
    driver = {"name": "persist scan", "version": __version__, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }

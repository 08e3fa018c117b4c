"""A ledger as text, JSON, JSON Lines, CSV, or a page of HTML that needs nothing else.

The exit status of `persist report` follows the worst verdict: 4 if some file is damaged, 1 if some file
failed for another reason, 3 if the class of some record is unknown, 0 if all is well.
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from persist.bulk._event import Event
from persist.bulk._ledger import Ledger, Row
from persist.bulk._words import kind_of
from persist.errors import PersistError

__all__ = ["Report", "lines", "report", "write_report"]

_EXAMPLES = 3  # of each kind of failure
_KINDS = 1_000  # of failures that are kept apart
_SLOWEST = 10
_STATUSES = {"damaged": 4, "failed": 1, "class unknown": 3}
_COLUMNS = (
    *("name", "status", "verdict", "format", "size", "mtime", "digest", "target", "target_size"),
    *("target_digest", "seconds", "kind", "error", "run"),
)


@attrs.define
class Failure:
    """Files that failed in the same way.

    Attributes:
        kind: the name of the error.
        text: the error of the first of them.
        count: of files.
        examples: some of them.
    """

    kind: str
    text: str
    count: int = 0
    examples: list[str] = attrs.field(factory=list)


@attrs.define
class Report:
    """What a ledger says of one run, or of all files of a job.

    Attributes:
        run: the last run of the job, as the ledger has it.
        files: number of files.
        pending: how many of them are left to be done.
        bytes: their size.
        seconds: that the work took, summed over workers.
        statuses: status -> number of files.
        verdicts: verdict -> number of files.
        formats: format -> number of files.
        moved: (schema, version found, version now) -> number of records.
        unknown: class that is not declared -> number of files.
        failures: by kind, the most frequent first.
        slowest: (seconds, file), the slowest first.
    """

    run: dict[str, Any]
    files: int = 0
    pending: int = 0
    bytes: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = attrs.field(factory=dict)
    verdicts: dict[str, int] = attrs.field(factory=dict)
    formats: dict[str, int] = attrs.field(factory=dict)
    moved: dict[tuple[str, int | None, int | None], int] = attrs.field(factory=dict)
    unknown: dict[str, int] = attrs.field(factory=dict)
    failures: list[Failure] = attrs.field(factory=list)
    slowest: list[tuple[float, str]] = attrs.field(factory=list)

    @property
    def status(self) -> int:
        """The exit status: 4 damaged, 1 failed, 3 class unknown, 0 well."""
        return next((code for verdict, code in _STATUSES.items() if self.verdicts.get(verdict)), 0)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        said = attrs.asdict(self)
        said["moved"] = [[*key, count] for key, count in self.moved.items()]
        said["status"] = self.status
        return said

    def __str__(self) -> str:
        return "\n".join(_text(self))


def report(ledger: Ledger, run: str | None = None) -> Report:
    """Return what a ledger says.

    Args:
        ledger: the ledger.
        run: the id of a run, of which the files count that it was about; None is the last run.

    Raises:
        PersistError: there is no such run.
    """
    said = _run_of(ledger, run)
    job, id = said["job"], said["id"]
    made = Report(said)
    where, values = "WHERE job = ? AND seen = ?", (job, id)
    if run is not None and not ledger.query(f"SELECT 1 FROM files {where} LIMIT 1", values):
        where, values = (
            "WHERE job = ? AND run = ?",
            (job, id),
        )  # later runs were about the same files
    made.files, made.pending, made.bytes, made.seconds = ledger.query(
        "SELECT count(*), coalesce(sum(state = 0), 0), coalesce(sum(max(size, 0)), 0), "
        f"coalesce(sum(state * seconds), 0) FROM files {where}",
        values,
    )[0]
    done = f"{where} AND state = 1"
    for name, into in (
        ("status", made.statuses),
        ("verdict", made.verdicts),
        ("format", made.formats),
    ):
        into.update(
            ledger.query(
                f"SELECT {name}, count(*) FROM files {done} AND {name} <> '' GROUP BY {name} "
                "ORDER BY count(*) DESC",
                values,
            )
        )
    made.slowest = [
        (seconds, name)
        for seconds, name in ledger.query(
            f"SELECT seconds, name FROM files {done} ORDER BY seconds DESC LIMIT {_SLOWEST}", values
        )
    ]
    _add_facts(made, ledger, done, values)
    _add_failures(made, ledger, done, values)
    return made


def _run_of(ledger: Ledger, run: str | None) -> dict[str, object]:
    runs = ledger.runs()
    found = [one for one in runs if run is None or one["id"] == run]
    if not found:
        known = ", ".join(one["id"] for one in runs[-5:]) or "none"
        raise PersistError(
            f"there is no run {run!r}." if run else "it has no run.",
            file=None if ledger.path is None else os.fspath(ledger.path),
            remedy=f"The last runs are: {known}.",
        )
    return found[-1]


def _add_facts(made: Report, ledger: Ledger, done: str, values: tuple[object, ...]) -> None:
    moved: Counter[tuple[str, int | None, int | None]] = Counter()
    unknown: Counter[str] = Counter()
    rows = ledger.query(
        f"SELECT facts, count(*) FROM files {done} AND facts <> '' GROUP BY facts", values
    )
    for facts, count in rows:
        said = json.loads(facts)
        for _, schema, found, to, records in said.get("versions", ()):
            moved[(schema, found, to)] += records * count
        for name in said.get("unknown", ()):
            unknown[name] += count
    made.moved = dict(sorted(moved.items(), key=lambda item: str(item[0])))
    made.unknown = dict(unknown.most_common())


def _add_failures(made: Report, ledger: Ledger, done: str, values: tuple[object, ...]) -> None:
    kinds: dict[tuple[str, str], Failure] = {}
    rows = ledger.query(
        f"SELECT name, kind, error FROM files {done} AND error <> '' ORDER BY number", values
    )
    for name, kind, error in rows:
        key = (kind, kind_of(error))
        if key not in kinds and len(kinds) >= _KINDS:
            key = (kind, "")
        failure = kinds.setdefault(key, Failure(kind, error))
        failure.count += 1
        if len(failure.examples) < _EXAMPLES:
            failure.examples.append(name)
    made.failures = sorted(kinds.values(), key=lambda one: -one.count)


def lines(ledger: Ledger, run: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield each file of a run as plain values, for JSON Lines.

    Raises:
        PersistError: there is no such run.
    """
    for row in _rows(ledger, run):
        event = Event(
            row.name, row.status or "", row.verdict or "well", row.target or "", row.format or "",  # type: ignore[arg-type]
            row.size, row.digest or "", row.seconds or 0.0, row.kind or "", row.error or "",
            run=row.run or "", facts=row.facts or "",
        )  # fmt: skip
        said = event.as_json()
        for name in ("done", "total"):
            said.pop(name)
        said |= {
            "mtime": row.mtime,
            "target_size": row.target_size,
            "target_digest": row.target_digest,
        }
        yield said


def _rows(ledger: Ledger, run: str | None) -> Iterator[Row]:
    said = _run_of(ledger, run)
    column = "seen"
    if run is not None and not ledger.query(
        "SELECT 1 FROM files WHERE job = ? AND seen = ? LIMIT 1", (said["job"], said["id"])
    ):
        column = "run"
    yield from ledger.rows(f"job = ? AND {column} = ? AND state = 1", (said["job"], said["id"]))


def write_report(ledger: Ledger, path: str | os.PathLike[str], run: str | None = None) -> None:
    """Write a report into a file; its suffix is the form: .html, .csv, .jsonl, .json, else text."""
    from persist._container.writing.atomic import replacing

    form = Path(path).suffix.lower()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as raw:
        for part in parts_of(ledger, form, run):
            raw.write(part.encode("utf-8", "surrogateescape"))


def parts_of(ledger: Ledger, form: str, run: str | None) -> Iterator[str]:
    """Yield the text of a report in a form: ".html", ".csv", ".jsonl", ".json", else text."""
    if form == ".jsonl":
        for said in lines(ledger, run):
            yield json.dumps(said) + "\n"
    elif form == ".csv":
        yield from _csv(ledger, run)
    elif form == ".json":
        yield json.dumps(report(ledger, run).as_json(), indent=1) + "\n"
    elif form == ".html":
        yield from _page(ledger, report(ledger, run), run)
    else:
        yield f"{report(ledger, run)}\n"


def _csv(ledger: Ledger, run: str | None) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(_COLUMNS)
    for row in _rows(ledger, run):
        writer.writerow([getattr(row, name) for name in _COLUMNS])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _text(made: Report) -> Iterator[str]:
    from persist._trees.show import printable, size_text

    run = made.run
    state = "undone" if run["undone"] else "finished" if run["finished"] else "not finished"
    yield f"run {run['id']}: {run['job']}, {run['started']}, {state} (persist {run['persist']})"
    left = f", {made.pending:,} left to be done" if made.pending else ""
    yield f"{made.files:,} files ({size_text(made.bytes)}), {made.seconds:,.1f} s of work{left}"
    yield f"  {', '.join(f'{count:,} {name}' for name, count in made.statuses.items())}"
    if made.formats:
        yield f"formats: {', '.join(f'{name} {count:,}' for name, count in made.formats.items())}"
    if made.moved:
        yield "records"
        for (schema, found, to), count in made.moved.items():
            yield (
                f"  {schema}: {found} to {to}, {count:,} times"
                if found != to
                else (f"  {schema}: {to}, {count:,} times")
            )
    if made.unknown:
        yield "classes that are not declared"
        for name, count in list(made.unknown.items())[:20]:
            yield f"  {printable(name)} (in {count:,} file{'s' * (count != 1)})"
    if made.failures:
        yield "failures"
        for failure in made.failures[:20]:
            text = failure.text.split("\n")[0]
            yield f"  {failure.count:,} × {failure.kind}: {printable(text)}"
            yield f"      such as {', '.join(map(printable, failure.examples))}"
    if made.slowest:
        yield "slowest"
        for seconds, name in made.slowest[:5]:
            yield f"  {seconds:.3f} s  {printable(name)}"


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 1.5em } td, th { padding: .25em .8em; text-align: left;
 border-bottom: 1px solid #ddd; vertical-align: top } th { font-weight: 600 } td.n { text-align: right;
 font-variant-numeric: tabular-nums } .bad { color: #a00 } .unknown { color: #850 } code { font-size: 13px }
.bar { display: flex; height: 1.2em; border-radius: 3px; overflow: hidden; margin: 1em 0 }
.bar span { display: block } .well { background: #4a4 } .cu { background: #db3 } .lo { background: #ccc }
.da { background: #b33 } .fa { background: #733 }
"""
_BARS = {"well": "well", "class unknown": "cu", "left out": "lo", "damaged": "da", "failed": "fa"}
_MOST_LISTED = 1_000  # files that a page lists


def _page(ledger: Ledger, made: Report, run: str | None) -> Iterator[str]:
    """A page with the totals, and the files that are not well."""
    from persist._trees.show import size_text

    say = html.escape
    said = made.run
    yield f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>persist: run {say(said['id'])}</title>"
    yield f"<style>{_STYLE}</style><h1>{say(said['job'])}: {made.files:,} files</h1>"
    state = "undone" if said["undone"] else "finished" if said["finished"] else "not finished"
    yield f"<p>Run <code>{say(said['id'])}</code>, begun {say(said['started'])}, {state}; "
    yield f"{size_text(made.bytes)}, {made.seconds:,.1f} s of work; persist {say(said['persist'])}."
    yield f" Sources: <code>{say(', '.join(map(str, said['options'].get('sources', ()))))}</code></p>"
    total = max(sum(made.verdicts.values()), 1)
    yield "<div class=bar>"
    for verdict, style in _BARS.items():
        share = 100 * made.verdicts.get(verdict, 0) / total
        if share:
            yield f"<span class={style} style='width:{share:.2f}%' title='{verdict}'></span>"
    yield "</div>"
    yield _table(("verdict", "files"), made.verdicts.items())
    yield _table(("status", "files"), made.statuses.items())
    yield _table(("format", "files"), made.formats.items())
    moved = [(key[0], f"{key[1]} → {key[2]}", count) for key, count in made.moved.items()]
    yield _table(("schema", "versions", "records"), moved)
    yield _table(("class that is not declared", "files"), made.unknown.items())
    failures = [(f.kind, f.count, f.text, ", ".join(f.examples)) for f in made.failures]
    yield _table(("failure", "files", "the first", "such as"), failures)
    yield _table(("seconds", "slowest file"), [(f"{s:.3f}", name) for s, name in made.slowest])
    bad = []
    for row in _rows(ledger, run):
        if row.verdict not in ("well", "left out"):
            bad.append((row.name, row.status or "", row.verdict or "", row.error or ""))
            if len(bad) == _MOST_LISTED:
                break
    yield _table(("file", "status", "verdict", "error"), bad)
    yield "</html>\n"


def _table(heads: tuple[str, ...], rows: Any) -> str:
    rows = list(rows)
    if not rows:
        return ""
    text = ["<table><tr>", *(f"<th>{html.escape(head)}" for head in heads), "</tr>"]
    for row in rows:
        text.append("<tr>")
        for cell in row:
            shown = f"{cell:,}" if isinstance(cell, int) else html.escape(str(cell))
            text.append(f"<td{' class=n' if isinstance(cell, int) else ''}>{shown}")
        text.append("</tr>")
    return "".join([*text, "</table>\n"])

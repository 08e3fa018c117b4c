"""Files to rows: what is in them, and what a load would do to it today."""

from __future__ import annotations

import datetime
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import attrs

from persist._api.explain import explain_file
from persist._api.file import File, plain_value, registry_or_default
from persist._api.open import open as open_file
from persist._objects.trust import Trust
from persist._trees import numpy_random
from persist._trees.copier import records_in
from persist._upgrade import records
from persist._upgrade.plan import Entry
from persist.errors import (
    FutureVersionError,
    MissingMigrationError,
    PersistError,
    SchemaError,
    UnknownFormatError,
    UnsupportedVersionError,
)
from persist.registry import Registry
from persist.survey._forms import (
    ARGUMENTS,
    FIELDS,
    NOTHING,
    TUPLE,
    VALUE,
    FieldSummary,
    Form,
    form_of,
    kind_of,
)
from persist.survey._pairs import Pair, pairs
from persist.tree import ABSENT, Record

__all__ = ["FORM", "OUTCOMES", "Collector", "Problem", "Row", "Survey", "survey"]

FORM = 1  # of the JSON
_MOST_ROWS = 5_000
_MOST_LAYOUTS = 40  # of one class; a class with more is one whose attributes are data
_MOST_EXAMPLES = 5
# Bytes of a file whose steps are tried; of a larger one they are only planned.
_RUN_UP_TO = 64 << 20

_FORMS = (FIELDS, TUPLE, VALUE, NOTHING)
_BASES = ("", "list", "dict", ARGUMENTS)
# What a load does with a record, the most urgent first.
OUTCOMES = ("fails", "no step", "newer", "no class", "upgraded", "as today", "shown", "plain")
_WORDS = {
    "fails": "cannot be loaded",
    "no step": "no step leads from its version",
    "newer": "newer than this program",
    "no class": "the class is not known: it stays a record",
    "upgraded": "upgraded by steps",
    "as today": "loaded as it is",
    "shown": "a pack of its library shows its parts",
    "plain": "a plain value",
}


@attrs.define
class Row:
    """One class in one layout and version, by one writer.

    Attributes:
        name: dotted name of the class, as the files have it; "" for values that are of no class.
        schema: the name of its schema, where it is declared here or stated in the files; else "".
        form: "fields", "tuple", "value" or "nothing".
        fields: what they hold.
        base: the built-in type that the class extends, where its records hold items; "arguments" where
            their values are those of a constructor.
        version: of the state, or None where nothing states it.
        how: how the version is known.
        format: of the files.
        writer: what is proved of the program that wrote them.
        outcome: what a load does: one of `OUTCOMES`.
        reason: in words.
        steps: how many steps a load takes.
        count: of records.
        files: of files.
        oldest, newest: dates of the files (ISO 8601), by their time of modification; "" if not known.
        example: a file.
    """

    name: str
    schema: str
    form: str
    fields: list[FieldSummary]
    base: str
    version: int | None
    how: str
    format: str
    writer: str
    outcome: str = "plain"
    reason: str = ""
    steps: int = 0
    count: int = 0
    files: int = 0
    oldest: str = ""
    newest: str = ""
    example: str = ""
    _last: int = attrs.field(default=-1, repr=False)

    @property
    def layout(self) -> str:
        """The layout in words."""
        listed = ", ".join(map(str, self.fields))
        extra = f"a {self.base} with items; " if self.base else ""
        extra = "values are arguments; " if self.base == ARGUMENTS else extra
        if self.form == "tuple":
            return f"{extra}a tuple of {len(self.fields)} ({listed})"
        if self.form == NOTHING:
            return f"{extra}no state"
        return f"{extra}{listed or 'no fields'}"

    @property
    def outcome_text(self) -> str:
        """What a load does, in words."""
        if self.outcome == "upgraded":
            return f"upgraded by {self.steps} step{'s' * (self.steps != 1)}"
        return self.reason or _WORDS[self.outcome]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return attrs.asdict(self, filter=lambda field, _: field.name != "_last")

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Row:
        """Return the row that `as_json` described."""
        fields = [FieldSummary(**one) for one in said["fields"]]
        row = cls(**{**said, "fields": fields})
        # A survey may come from somebody else, and what is drafted from it is source: nothing in it
        # but text, numbers and known words.
        is_version = row.version is None or type(row.version) is int
        texts = [row.name, row.schema, row.how, row.format, row.writer, row.oldest, row.newest]
        texts += [text for field in fields for text in (field.name, *field.kinds, *field.dtypes)]
        if not is_version or not all(type(text) is str for text in texts):
            raise ValueError("a row holds something else than text and a version")
        if row.form not in _FORMS or row.base not in _BASES or row.outcome not in OUTCOMES:
            raise ValueError(f"{row.form!r}, {row.base!r}, {row.outcome!r}")
        if type(row.count) is not int or any(
            type(f.shape) not in (list, type(None)) for f in fields
        ):
            raise ValueError("a count or a shape is none")
        return row


@attrs.define
class Problem:
    """Files that cannot be read, for one reason.

    Attributes:
        kind: the name of the error.
        reason: what is wrong with the first of them.
        count: of files.
        examples: some of them.
    """

    kind: str
    reason: str
    count: int = 0
    examples: list[str] = attrs.field(factory=list)


@attrs.define
class Survey:
    """What files hold.

    Attributes:
        roots: the files and folders that were asked for.
        rows: by class, layout, version and writer.
        pairs: classes that are probably one, before and after it was renamed.
        problems: files that cannot be read.
        files: how many were read.
        unknown: how many are of no known format.
        bytes: of the files that were read.
        formats: format -> number of files.
        together: class -> pairs of numbers of its rows that occur in one file.
        left_out: records of classes and layouts beyond the number that is listed.
    """

    roots: list[str] = attrs.field(factory=list)
    rows: list[Row] = attrs.field(factory=list)
    pairs: list[Pair] = attrs.field(factory=list)
    problems: list[Problem] = attrs.field(factory=list)
    files: int = 0
    unknown: int = 0
    bytes: int = 0
    formats: dict[str, int] = attrs.field(factory=dict)
    together: dict[str, list[list[int]]] = attrs.field(factory=dict)
    left_out: int = 0

    @property
    def outcomes(self) -> dict[str, int]:
        """Outcome -> number of records, the most urgent first."""
        counts: Counter[str] = Counter()
        for row in self.rows:
            counts[row.outcome] += row.count
        return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}

    @property
    def damaged(self) -> int:
        """How many files cannot be read although their format is known."""
        return sum(problem.count for problem in self.problems)

    @property
    def dates(self) -> tuple[str, str]:
        """The oldest and the newest date; "" if there are none."""
        dates = [date for row in self.rows for date in (row.oldest, row.newest) if date]
        return (min(dates), max(dates)) if dates else ("", "")

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "survey": FORM,
            "roots": self.roots,
            "files": self.files,
            "unknown": self.unknown,
            "damaged": self.damaged,
            "bytes": self.bytes,
            "formats": self.formats,
            "outcomes": self.outcomes,
            "left_out": self.left_out,
            "rows": [row.as_json() for row in self.rows],
            "pairs": [attrs.asdict(pair) for pair in self.pairs],
            "problems": [attrs.asdict(problem) for problem in self.problems],
            "together": self.together,
        }

    @classmethod
    def from_json(cls, said: Any) -> Survey:
        """Return the survey that `as_json` described.

        Raises:
            PersistError: this is no survey, or one of a later release.
        """
        form = said.get("survey") if isinstance(said, dict) else None
        if form != FORM:
            raise PersistError(
                "this is no survey." if form is None else f"the survey is of form {form!r}.",
                remedy="Make one with `persist survey FOLDER --save survey.json`.",
            )
        try:
            return cls(
                list(said["roots"]),
                [Row.from_json(row) for row in said["rows"]],
                [Pair(**{**pair, "reasons": tuple(pair["reasons"])}) for pair in said["pairs"]],
                [Problem(**problem) for problem in said["problems"]],
                said["files"], said["unknown"], said["bytes"], dict(said["formats"]),
                dict(said["together"]), said["left_out"],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise PersistError(
                f"the survey is damaged ({type(error).__name__}: {error}).",
                remedy="Make it again with `persist survey FOLDER --save survey.json`.",
            ) from error


def survey(
    files: Iterable[str | os.PathLike[str]], *, registry: Registry | None = None, **options: Any
) -> Survey:
    """Look into files, and return which classes they hold, in which layouts and versions.

    Nothing that a file names is imported or called. The steps of declared classes run, on copies, for
    one record of each kind, to find out whether they succeed.

    Args:
        files: paths, or URLs; a folder is taken as one file.
        registry: what is declared; None is the default registry.
        options: those of `persist.open`.
    """
    collector = Collector(registry, **options)
    for file in files:
        collector.add(os.fspath(file))
    return collector.result()


class Seen(NamedTuple):
    """What one file holds, in short.

    Attributes:
        format: of the file.
        names: the classes that it names.
        unknown: those of its records whose class is not known.
    """

    format: str
    names: frozenset[str]
    unknown: frozenset[str]


class Collector:
    """Looks into one file after the other; what it keeps does not grow with their number.

    Args:
        registry: what is declared; None is the default registry.
        options: those of `persist.open`.
    """

    def __init__(self, registry: Registry | None = None, **options: Any) -> None:
        self.registry = registry_or_default(registry)
        self._options = options
        self._survey = Survey()
        self._rows: dict[tuple[Any, ...], Row] = {}
        self._layouts: Counter[str] = Counter()
        self._problems: dict[tuple[str, str], Problem] = {}
        self._evidence: dict[frozenset[str], str] = {}
        self._knowledge: dict[frozenset[str], tuple[Registry, dict[tuple[str, str], str]]] = {}
        # Of the file that is looked into: class as written, schema as written -> declared schema.
        self._schema_names: dict[tuple[str, str], str] = {}
        self._together: dict[str, set[tuple[int, int]]] = {}
        self._numbers: dict[int, int] = {}  # id of a row -> its number
        self._shared: set[tuple[str, str]] = set()  # classes that occur in one file
        self._outcomes: dict[tuple[Any, ...], tuple[str, str, int]] = {}  # of rows, by their keys

    def add(self, name: str) -> Seen | Exception:
        """Look into one file; what is wrong with it is noted.

        Returns:
            What it holds, in short; or the error, if it cannot be read.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of damage, which the rows and problems say
                with open_file(name, registry=self.registry, **self._options) as file:
                    return self._look(file, name)
        except UnknownFormatError as error:
            self._survey.unknown += 1
            return error
        except (PersistError, OSError, MemoryError, RecursionError) as error:
            self._note(name, error)
            return error

    def _note(self, name: str, error: BaseException) -> None:
        what = error.what if isinstance(error, PersistError) else str(error)
        kind = type(error).__name__
        problem = self._problems.setdefault((kind, what[:40]), Problem(kind, what))
        problem.count += 1
        if len(problem.examples) < _MOST_EXAMPLES:
            problem.examples.append(name)

    def _share_knowledge(self, file: File) -> None:
        """Let files that name the same classes share what is known about them: to gather it takes as long as to read.

        A container states more of its classes than their names, and a release that a file records may
        state a version: these files have their own.
        """
        if file.format == "persist" or (
            file.writer and any(r._releases for r in self.registry._line())
        ):
            self._schema_names = {}
            return
        names = frozenset(file._content.globals)
        known = self._knowledge.get(names)
        if known is None:
            if len(self._knowledge) > 500:
                self._knowledge.clear()
            known = self._knowledge[names] = file.knowledge, {}
        else:
            file.__dict__["knowledge"] = known[0]
        self._schema_names = known[1]

    def take(self) -> bytes:
        """Return what was collected since the last call, as JSON for `absorb`, and forget it."""
        found = self._survey
        part = {
            "counts": [found.files, found.unknown, found.bytes, found.left_out],
            "formats": found.formats,
            "rows": [[key, row.as_json()] for key, row in self._rows.items()],
            "problems": [[key, attrs.asdict(one)] for key, one in self._problems.items()],
            "together": {name: sorted(both) for name, both in self._together.items()},
            "shared": sorted(self._shared),
        }
        self._survey = Survey()
        self._rows, self._numbers, self._problems = {}, {}, {}
        self._layouts, self._together, self._shared = Counter(), {}, set()
        return json.dumps(part).encode("utf-8", "surrogatepass")

    def absorb(self, part: bytes) -> None:
        """Add what another collector took, of other files."""
        said = json.loads(part.decode("utf-8", "surrogatepass"))
        files, unknown, size, left_out = said["counts"]
        rows = [(_as_tuple(key), Row.from_json(row)) for key, row in said["rows"]]
        problems = {_as_tuple(key): Problem(**one) for key, one in said["problems"]}
        ours = [self._absorb_row(key, row) for key, row in rows]
        own = self._survey
        own.files, own.unknown = own.files + files, own.unknown + unknown
        own.bytes, own.left_out = own.bytes + size, own.left_out + left_out
        for format, count in said["formats"].items():
            own.formats[format] = own.formats.get(format, 0) + count
        for key, problem in problems.items():
            known = self._problems.setdefault(key, Problem(problem.kind, problem.reason))
            known.count += problem.count
            known.examples = [*known.examples, *problem.examples][:_MOST_EXAMPLES]
        for name, pairs_of in said["together"].items():
            into = self._together.setdefault(name, set())
            for a, b in pairs_of:
                one, two = ours[a], ours[b]
                if one is not None and two is not None and one != two:
                    into.add((min(one, two), max(one, two)))
        if len(self._shared) < 50_000:
            self._shared.update((one, two) for one, two in said["shared"])

    def _absorb_row(self, key: tuple[Any, ...], row: Row) -> int | None:
        """Add a row to the one of the same key; return its number, or None if there are too many."""
        known = self._rows.get(key)
        kind = row.name or f"\0{row.format}"
        if known is None and self._layouts[kind] >= _MOST_LAYOUTS and key[1:2] != ("many",):
            key = (row.name, "many", row.format)
            known = self._rows.get(key)
            row.form, row.fields = VALUE, [FieldSummary("value")]
        if known is None:
            if len(self._rows) >= _MOST_ROWS:
                self._survey.left_out += row.count
                return None
            row._last = -1
            self._layouts[kind] += 1
            self._keep(key, row)
            return self._numbers[id(row)]
        by_name = {field.name: field for field in row.fields}
        for field in known.fields:
            if field.name in by_name:
                field.merge(by_name[field.name])
        known.count, known.files = known.count + row.count, known.files + row.files
        known.oldest = min(filter(None, (known.oldest, row.oldest)), default="")
        known.newest = max(known.newest, row.newest)
        known.example = known.example or row.example
        return self._numbers[id(known)]

    def _look(self, file: File, name: str) -> Seen:
        self._share_knowledge(file)
        tree = file._written
        found: dict[int, Row] = {}
        date, size = _date_and_size(name)
        number = self._survey.files
        writer = self._writer(file)
        for record in records_in(tree, set()):
            row = self._row(file, record, writer)
            if row is None:
                self._survey.left_out += 1
                continue
            row.count += 1
            found[id(row)] = row
        if not found:
            row = self._plain_row(file, tree, writer)
            if row is not None:
                row.count += 1
                found[id(row)] = row
        for row in found.values():
            if row._last != number:
                row._last, row.files = number, row.files + 1
            row.example = row.example or name
            if date:
                row.oldest = min(filter(None, (row.oldest, date)))
                row.newest = max(row.newest, date)
        self._note_together(list(found.values()))
        self._survey.files += 1
        self._survey.bytes += size
        counts = self._survey.formats
        counts[file.format] = counts.get(file.format, 0) + 1
        unknown = {row.name for row in found.values() if row.outcome == "no class"}
        return Seen(file.format, frozenset(file._content.globals), frozenset(unknown))

    def _note_together(self, rows: list[Row]) -> None:
        """Note which layouts of a class, and which classes, occur in one file."""
        named = [row for row in rows if row.name]
        if len(named) < 2 or len(named) > 200:
            return
        by_class: dict[str, list[Row]] = {}
        for row in named:
            by_class.setdefault(row.name, []).append(row)
        for name, own in by_class.items():
            pairs_of = self._together.setdefault(name, set()) if len(own) > 1 else set()
            for index, row in enumerate(own):
                for other in own[index + 1 :]:
                    one, two = sorted((self._numbers[id(row)], self._numbers[id(other)]))
                    pairs_of.add((one, two))
        names = sorted(by_class)
        if len(self._shared) < 50_000:
            self._shared.update((a, b) for i, a in enumerate(names) for b in names[i + 1 :])

    def _writer(self, file: File) -> str:
        said = ", ".join(f"{key} {value}" for key, value in file.writer.items())
        names = frozenset(file._content.globals)
        evidence = self._evidence.get(names)
        if evidence is None:
            if len(self._evidence) > 2_000:
                self._evidence.clear()
            proved = (text.partition(" (it names")[0] for text in file.evidence)
            evidence = self._evidence[names] = ", ".join(proved)
        return "; ".join(part for part in (said, evidence) if part)

    def _row(self, file: File, record: Record, writer: str) -> Row | None:
        form, values = form_of(record)
        name = record.qualname
        version, how = form.version, form.how
        key = (name, *form.key, file.format, writer)
        schema = self._schema_name(file, name, form)
        if schema and version is None:
            version, how = self._stamped(file, schema, record)
            key = (*key, version, how)
        row = self._rows.get(key)
        if row is None:
            if self._layouts[name] >= _MOST_LAYOUTS:
                key = (name, "many", file.format)
                form, values = Form(VALUE, ("value",)), ()
                row = self._rows.get(key)
            if row is None:
                if len(self._rows) >= _MOST_ROWS:
                    return None
                row = self._new(key, file, record, form, version, how, schema, writer)
        for field, value in zip(row.fields, _in_order(row, form, values), strict=False):
            field.add(value)
        return row

    def _new(
        self,
        key: tuple[Any, ...],
        file: File,
        record: Record,
        form: Form,
        version: int | None,
        how: str,
        schema: str,
        writer: str,
    ) -> Row:
        fields = [FieldSummary(name) for name in form.names]
        row = Row(
            record.qualname, schema or form.schema, form.kind, fields, form.base, version,
            how, file.format, writer,
        )  # fmt: skip
        outcome = self._outcomes.get(key)
        if outcome is None:
            if len(self._outcomes) > 2 * _MOST_ROWS:
                self._outcomes.clear()
            outcome = self._outcomes[key] = self._outcome(file, record, schema)
        row.outcome, row.reason, row.steps = outcome
        self._layouts[record.qualname] += 1
        return self._keep(key, row)

    def _keep(self, key: tuple[Any, ...], row: Row) -> Row:
        self._numbers[id(row)] = len(self._rows)
        self._rows[key] = row
        return row

    def _schema_name(self, file: File, name: str, form: Form) -> str:
        """The name of the declared schema of a record; "" if none is."""
        found = self._schema_names.get((name, form.schema))
        if found is None:
            if len(self._schema_names) > 2 * _MOST_ROWS:
                self._schema_names.clear()
            found = self._schema_names[name, form.schema] = self._find_schema(file, name, form)
        return found

    def _find_schema(self, file: File, name: str, form: Form) -> str:
        knowledge = file.knowledge
        try:
            schema = knowledge.schema_for(knowledge.resolve(name))
            if schema is None and form.schema:
                schema = knowledge.schema_for(form.schema)
        except SchemaError:  # `_outcome` reports it
            return ""
        return "" if schema is None else schema.name

    def _stamped(self, file: File, schema: str, record: Record) -> tuple[int | None, str]:
        try:
            return file.knowledge.stamp_of(schema, record.state)
        except SchemaError as error:
            return None, str(error.what)

    def _outcome(self, file: File, record: Record, schema: str) -> tuple[str, str, int]:
        """What a load does to a record, why, and in how many steps."""
        if not schema:
            if numpy_random.is_random(record):
                return "plain", "a random state of NumPy", 0
            if plain_value(file.looker, Trust((), file.knowledge), record) is not ABSENT:
                return "plain", "", 0
            return ("shown", "", 0) if file.is_known(record) else ("no class", "", 0)
        try:
            size = 0 if file.path is None else _date_and_size(file.path)[1]
            if size > _RUN_UP_TO:
                plan = records.plan(record, file.knowledge, file=file.name)
            else:
                plan = explain_file(file, record)
        except Exception as error:  # whatever a user's code raises
            return "fails", f"{type(error).__name__}: {error}", 0
        entry = next((one for one in plan if not one.path), None)
        problem = plan.problems[0] if entry is None and plan.problems else None
        return _outcome_of(entry, problem)

    def _plain_row(self, file: File, tree: Any, writer: str) -> Row | None:
        """The row of a file that holds no record: its root, by its names."""
        names: tuple[str, ...] = ()
        if isinstance(tree, dict) and len(tree) <= 64 and all(type(n) is str for n in tree):
            names = tuple(tree)
        values = tuple(tree.values()) if names else ()
        kind = kind_of(tree)
        key: tuple[Any, ...] = ("", kind, tuple(sorted(names)), file.format, writer)
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= _MOST_ROWS or self._layouts[f"\0{file.format}"] >= _MOST_LAYOUTS:
                key = ("", "many", file.format)
                names, values, kind = (), (), "value"
            row = self._rows.get(key)
        if row is None:
            self._layouts[f"\0{file.format}"] += 1
            fields = [FieldSummary(name) for name in names]
            form = FIELDS if names else VALUE
            fields = fields or [FieldSummary("value", [] if kind == "value" else [kind])]
            row = Row("", "", form, fields, "", None, "", file.format, writer)
            self._keep(key, row)
        by_name = dict(zip(names, values, strict=True))
        for field in row.fields:
            if field.name in by_name:
                field.add(by_name[field.name])
        return row

    def result(self, roots: Iterable[str] = ()) -> Survey:
        """Return what was found so far.

        Args:
            roots: what was asked for, to be recorded.
        """
        found = self._survey
        rows = list(self._rows.values())
        order = sorted(range(len(rows)), key=lambda number: _rank(rows[number]))
        place = {number: index for index, number in enumerate(order)}
        found.roots = list(roots)
        found.rows = [rows[number] for number in order]
        found.problems = sorted(self._problems.values(), key=lambda problem: -problem.count)
        found.together = {
            name: [sorted((place[a], place[b])) for a, b in sorted(both)]
            for name, both in sorted(self._together.items())
        }
        found.pairs = pairs(found.rows, self._shared)
        return found


def _as_tuple(value: object) -> Any:
    """A key that went through JSON, in which tuples become lists."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _in_order(row: Row, form: Form, values: Iterable[Any]) -> Iterable[Any]:
    """The values in the order of a row, whose first record may have had its fields in another one."""
    if form.kind != FIELDS or all(a.name == b for a, b in zip(row.fields, form.names, strict=True)):
        return values
    by_name = dict(zip(form.names, values, strict=True))
    return [by_name[field.name] for field in row.fields]


def _outcome_of(entry: Entry | None, problem: PersistError | None) -> tuple[str, str, int]:
    problem = problem if entry is None else entry.problem
    if problem is not None:
        kinds = {
            UnsupportedVersionError: "fails",
            MissingMigrationError: "no step",
            FutureVersionError: "newer",
        }
        kind = next((word for error, word in kinds.items() if isinstance(problem, error)), "fails")
        return kind, f"{problem.what} {problem.remedy}".strip(), 0
    if entry is None:
        return "as today", "", 0
    steps = len(entry.steps)
    return ("upgraded", entry.note, steps) if steps else ("as today", entry.note, 0)


def _date_and_size(name: str) -> tuple[str, int]:
    try:
        found = os.stat(name)
    except (OSError, ValueError):  # a URL, or the prefix of a checkpoint
        return "", 0
    moment = datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC)
    return moment.date().isoformat(), found.st_size


def _rank(row: Row) -> tuple[Any, ...]:
    """Classes that need something first, then by name, date and size of the layout."""
    is_library = row.outcome in ("shown", "plain")
    return (
        is_library,
        not row.name,
        row.name,
        row.version or 0,
        row.oldest,
        len(row.fields),
        row.writer,
    )

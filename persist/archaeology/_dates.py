"""A file, and the commits that can have written it.

Each record in a file is held against the layouts that its class had. A layout fits if all that an
instance always has is in the record, and nothing is in the record that the class, or a class that it
extends, does not have. A commit can have written the file if it fits all its records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from persist._api.file import File
from persist._trees.copier import records_in
from persist.archaeology._classes import ARGUMENTS, NAMES, TUPLE, UNKNOWN, Source
from persist.archaeology._walk import History, Run, Span
from persist.survey._forms import FIELDS, NOTHING, VALUE, Form, form_of
from persist.survey._forms import TUPLE as POSITIONS
from persist.tree import Record

__all__ = ["Dated", "Found", "date"]

_MOST_FORMS = 2_000
_MOST_DEPTH = 20  # of classes that extend each other


@attrs.frozen
class Found:
    """One class in one layout in a file, and where it comes from.

    Attributes:
        name: dotted name of the class in the file.
        layout: in words.
        count: of records.
        fitting: the layouts of the history that fit.
        nearest: where none fits, the one that is nearest.
        difference: in words, what that one has not or has in addition.
        is_loose: whether only the last name of the class is found in the history.
        spans: the commits that have a fitting layout, the largest span first.
    """

    name: str
    layout: str
    count: int
    fitting: tuple[Run, ...] = ()
    nearest: Run | None = None
    difference: str = ""
    is_loose: bool = False
    spans: tuple[Span, ...] = ()


@attrs.frozen
class Dated:
    """What is found out about a file.

    Attributes:
        found: classes of the history.
        foreign: names of classes that the history does not have.
        spans: the commits that fit all its classes, the largest span first; empty if there are none.
        count: how many these are.
        has_head: whether the commit that is checked out is one of them.
    """

    found: tuple[Found, ...]
    foreign: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    count: int = 0
    has_head: bool = False


@attrs.frozen
class _Seen:
    """A record: what matters for a layout."""

    form: Form
    length: int  # of the tuple, or of the arguments


def date(file: File, history: History) -> Dated:
    """Return which commits of a history can have written a file.

    Args:
        file: an open file.
        history: of a repository.
    """
    seen: dict[tuple[object, ...], tuple[str, _Seen, int]] = {}
    for record in records_in(file._written, set()):
        one = _seen(record)
        key = (record.qualname, *one.form.key, one.length)
        if key in seen or len(seen) < _MOST_FORMS:
            seen[key] = (record.qualname, one, seen[key][2] + 1 if key in seen else 1)
    index = _Index(history)
    found, foreign = [], set()
    every: int | None = None
    for name, one, count in seen.values():
        runs, is_loose = index.runs_of(name)
        if not runs:
            foreign.add(name)
            continue
        bits, fitting = index.fitting(runs, one)
        text = _in_words(one)
        if not fitting:
            nearest, difference = _nearest(runs, one)
            found.append(Found(name, text, count, (), nearest, difference, is_loose))
            continue
        found.append(
            Found(name, text, count, tuple(fitting), None, "", is_loose, tuple(history.spans(bits)))
        )
        every = bits if every is None else every & bits
    every = every or 0
    return Dated(
        tuple(found), tuple(sorted(foreign)), tuple(history.spans(every)), every.bit_count(),
        history.has_head(every),
    )  # fmt: skip


def _seen(record: Record) -> _Seen:
    form, _ = form_of(record)
    length = len(form.names) if form.kind == POSITIONS else -1
    if form.kind == VALUE and isinstance(record.state, list):  # as dataclasses with slots have it
        length = len(record.state)
    if form.base == "arguments":
        own = record.args if record.kind != "reconstructor" else ()
        length = len(own) + len(record.kwargs or ()) if own or record.kwargs else length
    return _Seen(form, length)


def _in_words(seen: _Seen) -> str:
    form = seen.form
    if form.kind == FIELDS:
        return ", ".join(form.names) or "no attributes"
    if form.kind == NOTHING:
        return "no state" if seen.length < 0 else f"{seen.length} arguments of a constructor"
    return f"a tuple of {seen.length}" if seen.length >= 0 else "a value"


class _Index:
    """The runs of a history by the last name of their class."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.by_last: dict[str, list[Run]] = {}
        for run in history.runs:
            self.by_last.setdefault(run.source.name.rpartition(".")[2], []).append(run)

    def runs_of(self, name: str) -> tuple[list[Run], bool]:
        """The runs of the class that a file calls so; and whether only its last name is the same."""
        module, _, last = name.rpartition(".")
        runs = self.by_last.get(last, [])
        if module in ("__main__", "builtins.__main__", ""):
            return [run for run in runs if run.source.name == last], False
        # A container names the schema of a class.
        exact = [run for run in self.history.runs if run.source.schema == name]
        exact += [run for run in runs if f".{run.name}".endswith(f".{name}") and run not in exact]
        # A script ran in a subfolder, or the folder of the sources is a package today.
        exact = exact or [run for run in runs if f".{name}".endswith(f".{run.name}")]
        return (exact, False) if exact else (runs, bool(runs))

    def fitting(self, runs: Iterable[Run], seen: _Seen) -> tuple[int, list[Run]]:
        """The commits in which one of these layouts fits, and the layouts."""
        every, fitting = 0, []
        for run in runs:
            bits = self.history.bits(run) & self._fit(run, seen)
            if bits:
                every |= bits
                fitting.append(run)
        return every, fitting

    def _fit(self, run: Run, seen: _Seen) -> int:
        """The commits in which a layout fits, as far as its bases say it; 0 if it does not."""
        source, form = run.source, seen.form
        if (
            form.version is not None
            and source.version is not None
            and form.version != source.version
        ):
            return 0
        everywhere = -1
        if source.kind == UNKNOWN:
            return everywhere
        if source.kind == ARGUMENTS:
            return everywhere if seen.length in source.arities else 0
        if source.kind == TUPLE:
            is_tuple = form.kind in (POSITIONS, VALUE) and seen.length in source.arities
            # Under the envelope of persist, the values of a tuple have names.
            is_named = (
                form.kind == FIELDS and form.how == "envelope" and len(form.names) in source.arities
            )
            return everywhere if is_tuple or is_named else 0
        if form.kind in (POSITIONS, VALUE):
            # attrs writes the values of a class with slots as a tuple.
            return (
                everywhere
                if seen.length == len(source.required) and not source.optional and source.types
                else 0
            )
        names = frozenset(form.names)
        covered = self._covered(run, names, set())
        bits = 0
        for own, part, is_open in covered:
            if is_open or names <= own:
                bits |= part
        return bits

    def _covered(
        self, run: Run, names: frozenset[str], above: set[str]
    ) -> list[tuple[frozenset[str], int, bool]]:
        """Which names a class and those that it extends give, in which commits, and whether more may come."""
        source = run.source
        if source.kind != NAMES:
            return [(frozenset(), -1, True)]
        if not set(source.required) <= names:
            return []
        found = [(source.names, -1, source.is_open)]
        for base in source.bases:
            last = base.rpartition(".")[2]
            if last in above or len(above) > _MOST_DEPTH:
                continue
            known = self._bases(last, run)
            if not known:
                found = [
                    (own, bits, is_open or not _is_plain(last)) for own, bits, is_open in found
                ]
                continue
            inherited = [
                (own, bits & self.history.bits(one), is_open)
                for one in known
                for own, bits, is_open in self._covered(one, names, above | {last})
            ]
            found = _joined(found, inherited)
        return found

    def _bases(self, last: str, run: Run) -> list[Run]:
        """The runs of a class by its last name; those in the same file where there are such."""
        runs = self.by_last.get(last, [])
        near = [one for one in runs if one.path == run.path and one is not run]
        return near or [
            one for one in runs if one.source.name != run.source.name or one.path != run.path
        ]


def _is_plain(last: str) -> bool:
    """Whether a base that the repository does not have adds no attributes."""
    return last in (
        "Versioned",
        "ABC",
        "Generic",
        "Protocol",
        "Enum",
        "Exception",
        "list",
        "dict",
        "set",
        "tuple",
    )


def _joined(
    found: Sequence[tuple[frozenset[str], int, bool]],
    more: Sequence[tuple[frozenset[str], int, bool]],
) -> list[tuple[frozenset[str], int, bool]]:
    joined: dict[tuple[frozenset[str], bool], int] = {}
    for own, bits, is_open in found:
        for other, theirs, is_too in more:
            both = bits & theirs
            if both:
                key = (own | other, is_open or is_too)
                joined[key] = joined.get(key, 0) | both
    return [(own, bits, is_open) for (own, is_open), bits in joined.items()]


def _nearest(runs: Sequence[Run], seen: _Seen) -> tuple[Run, str]:
    """The layout that is nearest to a record, and what is different."""
    names = set(seen.form.names) if seen.form.kind == FIELDS else set()

    def likeness(run: Run) -> float:
        every = names | run.source.names
        same_kind = (run.source.kind == NAMES) == (seen.form.kind == FIELDS)
        return len(names & run.source.names) / len(every) + same_kind if every else float(same_kind)

    best = max(runs, key=likeness)
    return best, _difference(best.source, names, seen)


def _difference(source: Source, names: set[str], seen: _Seen) -> str:
    if source.kind != NAMES or seen.form.kind != FIELDS:
        return f"the code has {source}"
    lacking = sorted(set(source.required) - names)
    more = sorted(names - source.names)
    said = [f"without {', '.join(lacking)}"] if lacking else []
    said += [f"with {', '.join(more)}, which the class does not assign"] if more else []
    version = f"the version is {seen.form.version}, and not {source.version}"
    return " and ".join(said) or (
        version if seen.form.version != source.version else "its bases have other names"
    )


def as_json(dated: Dated) -> Mapping[str, object]:
    """Return what was found out as plain values."""

    def spans(found: Iterable[Span]) -> list[dict[str, object]]:
        return [
            {
                "first": span.first.name, "first_time": span.first.time, "last": span.last.name,
                "last_time": span.last.time, "commits": span.count,
                "until": None if span.until is None else span.until.name,
            }
            for span in found
        ]  # fmt: skip

    return {
        "commits": dated.count, "head": dated.has_head, "spans": spans(dated.spans),
        "classes": [
            {
                "class": one.name, "layout": one.layout, "count": one.count, "by_last_name": one.is_loose,
                "fits": [{"class": run.name, "path": run.path, "layout": str(run.source)} for run in one.fitting],
                "nearest": None if one.nearest is None else one.nearest.name, "difference": one.difference,
                "spans": spans(one.spans),
            }
            for one in dated.found
        ],
        "foreign": list(dated.foreign),
    }  # fmt: skip

"""Two classes in files that are probably one: before it was renamed or moved, and after."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from persist.history.evidence import name_likeness

if TYPE_CHECKING:
    from persist.survey._collect import Row

__all__ = ["Pair", "pairs"]

_LIKELY = 0.5
_MOST_CLASSES = 300
_MOST_NAMES = 30


@attrs.frozen
class Pair:
    """Two classes that are probably one.

    Attributes:
        old: dotted name of the older one.
        new: of the newer one.
        score: from 0 to 1.
        reasons: in words, the strongest first.
    """

    old: str
    new: str
    score: float
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.old} → {self.new} ({self.score:.0%}: {'; '.join(self.reasons)})"


@attrs.define
class _Class:
    name: str
    rows: list[Row]

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def python(self) -> tuple[int, ...]:
        """The oldest release of Python that is proved to have written it; () if none is."""
        found = [
            tuple(map(int, match[1].split(".")))
            for row in self.rows
            if (match := re.search(r"python (\d+(?:\.\d+)?)", row.writer)) is not None
        ]
        return min(found, default=())

    @property
    def names(self) -> set[str]:
        return {field.name for row in self.rows if row.form == "fields" for field in row.fields}

    @property
    def arities(self) -> set[int]:
        return {len(row.fields) for row in self.rows if row.form == "tuple"}

    @property
    def span(self) -> tuple[str, str]:
        dates = [date for row in self.rows for date in (row.oldest, row.newest) if date]
        return (min(dates), max(dates)) if dates else ("", "")

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """Field -> kinds and dtypes."""
        return {
            field.name: (*sorted(field.kinds), *sorted(field.dtypes))
            for row in self.rows
            for field in row.fields
            if row.form == "fields"
        }


def pairs(rows: Sequence[Row], shared: set[tuple[str, str]]) -> list[Pair]:
    """Return which classes without a declaration are probably one, best first; each new name once.

    Args:
        rows: of a survey.
        shared: sorted pairs of classes that occur in one file, which speaks against it.
    """
    groups: dict[str, _Class] = {}
    for row in rows:
        if row.name and row.outcome == "no class":
            groups.setdefault(row.name, _Class(row.name, [])).rows.append(row)
    known = sorted(groups.values(), key=lambda one: -sum(row.count for row in one.rows))
    known = known[:_MOST_CLASSES]
    spread = Counter(name for one in known for name in one.names)
    found = []
    for index, one in enumerate(known):
        for other in known[index + 1 :]:
            pair = _judged(one, other, shared, spread)
            if pair is not None:
                found.append(pair)
    found.sort(key=lambda pair: (-pair.score, pair.old, pair.new))
    taken: set[str] = set()
    chosen = []
    for pair in found:  # a class has one successor
        if pair.old not in taken:
            taken.add(pair.old)
            chosen.append(pair)
    return chosen


def _judged(
    one: _Class, other: _Class, shared: set[tuple[str, str]], spread: Mapping[str, int]
) -> Pair | None:
    reasons: list[tuple[float, str]] = []
    first, second = (name.rpartition(".")[2] for name in (one.name, other.name))
    if first == second:
        reasons.append((0.45, f"both are called {first}"))
    else:
        # Names that only resemble each other, or of which one has all words of the other, are as a
        # rule those of a class and its subclass.
        likeness, why = name_likeness(first, second)
        if why and "has all words" not in why and "names alike" not in why:
            reasons.append((0.35 * likeness, why))
    reasons += _of_fields(one, other, spread)
    if not reasons:
        return None
    if first != second and one.module == other.module:
        reasons.append((-0.45, "both are in one module"))
    low, high = sorted((one.name, other.name))
    if (low, high) in shared:
        reasons.append((-0.6, "both are in one file"))
    old, new = _by_age(one, other)
    if old.span[1] and old.span[1] < new.span[0]:
        reasons.append(
            (0.15, f"files of the one end {old.span[1]}, of the other begin {new.span[0]}")
        )
    score = round(max(0.0, min(1.0, sum(weight for weight, _ in reasons))), 3)
    if score < _LIKELY:
        return None
    reasons.sort(key=lambda reason: -abs(reason[0]))
    return Pair(old.name, new.name, score, tuple(text for _, text in reasons))


def _of_fields(one: _Class, other: _Class, spread: Mapping[str, int]) -> list[tuple[float, str]]:
    """What the fields of two classes say; a field that many classes have says little.

    Args:
        one, other: the classes.
        spread: name of a field -> number of classes that have it.
    """
    reasons: list[tuple[float, str]] = []
    common = one.names & other.names
    every = one.names | other.names
    if common:
        weights = {name: 2 / max(spread[name], 2) for name in every}
        both = sum(weights[name] for name in common)
        share = both / sum(weights.values()) * min(1.0, both / 1.5)
        listed = ", ".join(sorted(common)[:4]) + (", ..." if len(common) > 4 else "")
        reasons.append((0.5 * share, f"{len(common)} of {len(every)} fields in common: {listed}"))
        kinds, theirs = one.kinds, other.kinds
        same = sum(kinds[name] == theirs[name] for name in common)
        reasons.append(
            (0.15 * min(1.0, both) * same / len(common), f"the same kinds in {same} of them")
        )
    rest, others = (
        sorted(one.names - common)[:_MOST_NAMES],
        sorted(other.names - common)[:_MOST_NAMES],
    )
    alike = [
        (name, near)
        for name in rest
        for near in others
        # Like names begin alike, and to compare all pairs of many classes would take minutes.
        if name.lstrip("_")[:1].lower() == near.lstrip("_")[:1].lower()
        and _likeness(name, near) >= 0.7
    ]
    if alike:
        listed = ", ".join(f"{a} and {b}" for a, b in alike[:3])
        reasons.append(
            (0.3 * min(1.0, 2 * len(alike) / len(every)), f"fields of like names: {listed}")
        )
    lengths = {len(names) for names in (one.names, other.names) if names}
    arities = (one.arities & other.arities) or ((one.arities | other.arities) & lengths)
    if arities and not common:
        reasons.append((0.15, f"a tuple of {min(arities)}, and as many values"))
    return reasons


@functools.lru_cache(100_000)
def _likeness(one: str, other: str) -> float:
    return name_likeness(one, other)[0]


def _by_age(one: _Class, other: _Class) -> tuple[_Class, _Class]:
    """The older and the newer of two classes: by date, Python, form, and the number of fields."""

    def age(group: _Class) -> tuple[object, ...]:
        fields = group.names
        return (*group.span[::-1], group.python, bool(fields), len(fields), group.name)

    old, new = sorted((one, other), key=age)
    return old, new

"""A survey as JSON Lines: a line for each class by layout by version by writer, each complete in itself.

Files that cannot be read are lines too, with the outcome "damaged". What belongs to the survey as a
whole is repeated in each line, so that any lines of it are a survey again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from persist.errors import PersistError
from persist.survey._collect import FORM, Survey

__all__ = ["DAMAGED", "as_lines", "from_lines"]

DAMAGED = "damaged"

_OF_ALL = ("roots", "files", "unknown", "bytes", "formats", "left_out")
_ADDED = ("survey", "class", "layout", "today", "number", "with", "renamed_to")


def as_lines(found: Survey) -> Iterator[dict[str, object]]:
    """Yield each row, then each reason why files cannot be read, as plain values.

    A row has the attributes of `Row` (its name as "class"), and

    - ``layout`` and ``today``: the layout, and what a load does, in words;
    - ``number``, and ``with``: the numbers of rows of the same class that occur in one file with it;
    - ``renamed_to``: the class that is probably the same after a rename, or None: ``class``, ``score``
      and ``reasons``;
    - ``survey``: what belongs to the whole.
    """
    said = found.as_json()
    every = {"form": FORM, **{key: said[key] for key in _OF_ALL}}
    together: dict[int, list[int]] = {}
    for pairs in found.together.values():
        for one, other in pairs:
            together.setdefault(one, []).append(other)
            together.setdefault(other, []).append(one)
    renamed = {pair.old: pair for pair in found.pairs}
    for number, row in enumerate(found.rows):
        own = row.as_json()
        pair = renamed.get(row.name)
        after = pair and {"class": pair.new, "score": pair.score, "reasons": list(pair.reasons)}
        yield {
            "class": own.pop("name"), "layout": row.layout, **own, "today": row.outcome_text, "number": number,
            "with": sorted(together.get(number, ())), "renamed_to": after, "survey": every,
        }  # fmt: skip
    for problem in found.problems:
        yield {
            "class": "", "outcome": DAMAGED, "reason": problem.reason, "kind": problem.kind, "today": problem.reason,
            "count": 0, "files": problem.count, "example": problem.examples[0], "examples": problem.examples,
            "survey": every,
        }  # fmt: skip


def from_lines(lines: Iterable[Any]) -> Survey:
    """Return the survey that `as_lines` described.

    Raises:
        PersistError: these are no lines of a survey, or of a later release.
    """
    rows: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    pairs: dict[str, dict[str, Any]] = {}
    together: dict[str, set[tuple[int, int]]] = {}
    every: dict[str, Any] = {}
    try:
        lines = list(lines)
        kept = [line["number"] for line in lines if line["outcome"] != DAMAGED]
        numbers = {number: place for place, number in enumerate(kept)}
        for line in lines:
            every = line["survey"]
            if line["outcome"] == DAMAGED:
                problems.append({"kind": line["kind"], "reason": line["reason"], "count": line["files"],
                                 "examples": line["examples"]})  # fmt: skip
                continue
            own = {key: value for key, value in line.items() if key not in _ADDED}
            rows.append({"name": line["class"], **own})
            for other in line["with"]:
                if other in numbers:
                    one, two = sorted((numbers[line["number"]], numbers[other]))
                    together.setdefault(line["class"], set()).add((one, two))
            after = line["renamed_to"]
            if after is not None:
                pairs[line["class"]] = {"old": line["class"], "new": after["class"], "score": after["score"],
                                        "reasons": after["reasons"]}  # fmt: skip
        said = {
            "survey": every.get("form"), **{key: every[key] for key in _OF_ALL}, "rows": rows,
            "pairs": sorted(pairs.values(), key=lambda pair: -pair["score"]), "problems": problems,
            "together": {name: [list(both) for both in sorted(found)] for name, found in sorted(together.items())},
        }  # fmt: skip
    except (AttributeError, KeyError, TypeError) as error:
        raise PersistError(
            f"these are no lines of a survey ({type(error).__name__}: {error}).",
            remedy="Make them with `persist survey FOLDER --json > survey.json`.",
        ) from error
    return Survey.from_json(said)

"""Fold names that differ in numbers only: ``encoder.layer.0.weight`` to ``.11.`` are one name.

`fold` groups names by the text between their numbers and by what they lead to, and writes each group
as one name, ``encoder.layer.[0-11].weight``. Where several numbers vary, a name is made only if it
means exactly the names that there are: every combination of the numbers that it shows.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

__all__ = ["fold", "ranges"]

_NUMBER = re.compile(r"[0-9]+")
_FEWEST = 3  # names that make a group
_NUMBERS = 8  # in one name; names with more are hashes or the like
_RANGES = 6  # in one pair of brackets


def fold(names: Sequence[tuple[str, Hashable]]) -> list[tuple[str, list[int]]]:
    """Group names that differ in numbers only.

    Args:
        names: each name with what it leads to: names are grouped only if these are equal; None is
            never grouped.

    Returns:
        (name of the group, positions in ``names``), ordered by the first position. A name of its own
        is a group of one.
    """
    groups: dict[tuple[tuple[str, ...], Hashable], list[int]] = {}
    alone: list[tuple[str, list[int]]] = []
    numbers: dict[int, tuple[int, ...]] = {}
    for at, (name, kind) in enumerate(names):
        found = _NUMBER.findall(name)
        is_plain = all(len(text) < 10 and (text == "0" or text[0] != "0") for text in found)
        if kind is None or not found or len(found) > _NUMBERS or not is_plain:
            alone.append((name, [at]))
            continue
        numbers[at] = tuple(map(int, found))
        groups.setdefault((tuple(_NUMBER.split(name)), kind), []).append(at)
    for (texts, _), members in groups.items():
        for sets, inside in _merged({at: numbers[at] for at in members}):
            if len(inside) < _FEWEST:
                alone += [(names[at][0], [at]) for at in inside]
            else:
                alone.append((_spelled(texts, sets), inside))
    return sorted(alone, key=lambda group: group[1][0])


def _merged(
    numbers: dict[int, tuple[int, ...]],
) -> list[tuple[tuple[frozenset[int], ...], list[int]]]:
    """Merge tuples of numbers into products of sets, one place after the other, the last first."""
    entries = [(tuple(frozenset((n,)) for n in values), [at]) for at, values in numbers.items()]
    places = len(next(iter(numbers.values())))
    for place in reversed(range(places)):
        joined: dict[tuple[frozenset[int], ...], tuple[set[int], list[int]]] = {}
        for sets, members in entries:
            rest = sets[:place] + sets[place + 1 :]
            known = joined.setdefault(rest, (set(), []))
            known[0].update(sets[place])
            known[1].extend(members)
        entries = [
            ((*rest[:place], frozenset(merged), *rest[place:]), members)
            for rest, (merged, members) in joined.items()
        ]
    return [(sets, sorted(members)) for sets, members in entries]


def _spelled(texts: tuple[str, ...], sets: tuple[frozenset[int], ...]) -> str:
    shown = [str(*one) if len(one) == 1 else f"[{ranges(one)}]" for one in sets]
    return "".join(text + number for text, number in zip(texts, [*shown, ""], strict=True))


def ranges(numbers: frozenset[int]) -> str:
    """Return a set of numbers as ranges: ``0-3,5,7-9``; of many ranges the first are shown."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in runs[:_RANGES]]
    if len(runs) > _RANGES:
        texts.append(f"...,{runs[-1][1]}")
    return ",".join(texts)

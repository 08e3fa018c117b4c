"""Numbered checkpoints in a folder: which belong together, and their steps.

The patterns are those of the savers: ``model.ckpt-1200`` (TensorFlow's Saver),
``mlp-0010.params`` (MXNet's ``save_checkpoint``), ``weights.{epoch:02d}-
{val_loss:.2f}.hdf5`` (Keras' ModelCheckpoint), ``model-10.pth``,
``epoch=3-step=400.ckpt`` (Lightning).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from persist._runtime.lazy_regex import regex
from persist.errors import FormatError

__all__ = ["Number", "Step", "chosen", "grouped", "whole_numbers"]

_NUMBER = regex(r"\d+(?:\.\d+)?")
_SHARD = regex(r"\d+-of-\d+")


class Step(NamedTuple):
    """One checkpoint of a series."""

    number: int
    name: str


class Number(NamedTuple):
    """An integer in a name, and its position."""

    value: int
    start: int
    end: int


def whole_numbers(stem: str) -> list[Number]:
    """Return the whole numbers in a name; a fraction is none."""
    return [
        Number(int(match[0]), match.start(), match.end())
        for match in itertools.islice(_NUMBER.finditer(stem), 64)
        if "." not in match[0][:20] and len(match[0]) < 20
    ]


def grouped(stems: Iterable[str]) -> dict[str, list[Step]]:
    """Return the series among names: pattern (numbers as ``#``) -> its steps, in order.

    The step is the first whole number that differs from file to file, of a
    single file the last one; a fraction is a loss or a release, no step.
    """
    found: dict[str, list[tuple[list[int], str]]] = {}
    for stem in stems:
        if _SHARD.search(stem):
            continue
        numbers = [one.value for one in whole_numbers(stem)]
        if numbers:
            found.setdefault(_NUMBER.sub("#", stem), []).append((numbers, stem))
    series = {}
    for pattern, files in found.items():
        place = _place([numbers for numbers, _ in files])
        steps = [
            Step(numbers[place], stem)
            for numbers, stem in files
            if len(numbers) > place >= -len(numbers)
        ]
        series[pattern] = sorted(steps, key=lambda step: (step.number, step.name))
    return series


def _place(rows: list[list[int]]) -> int:
    width = min(len(row) for row in rows)
    if len(rows) > 1:
        for place in range(width):
            if len({row[place] for row in rows}) == len(rows):
                return place
    return -1


def chosen(steps: list[Step], wanted: int | None, file: str) -> Step:
    """Return the step that is wanted, the last one for None.

    Raises:
        FormatError: there is no such step, with those that are.
    """
    if wanted is None:
        return steps[-1]
    for step in steps:
        if step.number == wanted:
            return step
    numbers = [step.number for step in steps]
    shown = ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
    raise FormatError(
        f"there is no step {wanted} among {len(numbers)}.",
        file=file,
        remedy=f"The steps are {shown}." if numbers else "Its checkpoints bear no step.",
        steps=numbers,
    )

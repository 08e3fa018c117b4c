"""The layouts of one class in order, and the step from each to the next, with what speaks for it.

The evidence is that of `persist draft`: names, types, places, and the code of ``__setstate__``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import attrs

from persist._layouts.description import CODEC, FIELDS, OPEN, ClassLayout, FieldLayout, differences
from persist.archaeology._classes import NAMES, UNKNOWN, Source
from persist.archaeology._walk import Run
from persist.history.drafting import Draft, settle
from persist.history.evidence import Guess, guesses
from persist.schema import Field, Schema

__all__ = ["Generation", "Step", "chain"]


@attrs.define
class Generation:
    """One layout of a class.

    Attributes:
        number: its version: as the source states it, else the number in the order of time.
        runs: where it was; more than one if it came back, or the class was moved.
        step: what leads to it from the one before; None for the first.
    """

    number: int
    runs: list[Run]
    step: Step | None = None

    @property
    def source(self) -> Source:
        """The class as it began."""
        return self.runs[0].source


@attrs.frozen
class Step:
    """What leads from one layout to the next.

    Attributes:
        calls: ready-made steps, as source: ``rename("W", "weights")``.
        guesses: the renames in them, and what speaks for each.
        questions: what the code does not say.
        summary: what changed, in words.
    """

    calls: tuple[str, ...]
    guesses: tuple[Guess, ...]
    questions: tuple[str, ...]
    summary: str


def chain(runs: Sequence[Run]) -> list[Generation]:
    """Return the layouts of one class from the oldest to the newest, each with the step that leads to it.

    Args:
        runs: of one class, the oldest first (`History.classes`).
    """
    found: list[Generation] = []
    known: dict[tuple[object, ...], Generation] = {}
    for run in runs:
        key = _key(run.source)
        if key in known:
            known[key].runs.append(run)
        else:
            known[key] = Generation(len(found) + 1, [run])
            found.append(known[key])
    stated = [one.source.version for one in found]
    is_stated = all(number is not None for number in stated) and stated == sorted({*stated})  # type: ignore[type-var]
    for place, one in enumerate(found):
        if is_stated:
            one.number = stated[place] or one.number
        if place:
            before = found[place - 1]
            one.step = _step(before, one)
    return found


def _key(source: Source) -> tuple[object, ...]:
    """A layout as files see it; an annotation alone makes no other one."""
    kind, names, optional, arities, is_open, version, _ = source.layout
    return (kind, names, optional, arities, is_open, version)


def _step(old: Generation, new: Generation) -> Step:
    before, after = _layout(old.source), _layout(new.source)
    schema = Schema(
        new.source.schema or new.runs[0].name,
        new.number,
        new.runs[0].name,
        None,
        _fields(new.source),
    )
    flows = _flows([run.source for run in old.runs], [run.source for run in new.runs])
    found = guesses(before, after, None, [], [], flows=flows)
    draft = Draft(
        schema, old.number, new.number, before, after, found, False, differences(before, after)
    )
    settle(draft)
    taken = tuple(guess for guess in found if draft.renames.get(guess.old) == guess.new)
    return Step(tuple(draft.calls), taken, tuple(draft.questions), draft.summary)


def _layout(source: Source) -> ClassLayout:
    types = dict(source.types)
    named = [name or f"item_{place}" for place, name in enumerate(source.required)]
    listed = [*named, *source.optional]
    if source.kind == UNKNOWN:
        return ClassLayout(CODEC)
    rows = tuple(
        FieldLayout(name, types.get(name, ""), default=name in source.optional) for name in listed
    )
    if source.kind == NAMES:
        return ClassLayout(FIELDS if source.types else OPEN, rows)
    if len(source.arities) == 1 and len(rows) < source.arities[0]:
        rows += tuple(FieldLayout(f"item_{place}") for place in range(len(rows), source.arities[0]))
    return ClassLayout(CODEC, rows, source.arities)


def _fields(source: Source) -> tuple[Field, ...]:
    """The fields with those defaults that are literals."""
    found = []
    defaults = dict(source.defaults)
    for name in (*source.required, *source.optional):
        if name in defaults:
            found.append(Field(name, default=ast.literal_eval(defaults[name])))
        elif name:
            found.append(Field(name))
    return tuple(found)


def _flows(old: Sequence[Source], new: Sequence[Source]) -> Mapping[str, tuple[str, str]]:
    """Old name -> (new name, how the code of ``__setstate__`` shows it)."""
    found: dict[str, tuple[str, str]] = {}
    for one in (old[-1], old[0]):
        before = [tuple(name for name in one.required)] if one.kind == "tuple" else []
        for names in (*before, *one.unpacked):
            for other in new:
                for theirs in other.unpacked:
                    if len(names) == len(theirs):
                        for place, (name, today) in enumerate(zip(names, theirs, strict=True)):
                            if name and today and name != today:
                                found.setdefault(name, (today, f"item {place} of the state went into self.{name}, "
                                                 f"and __setstate__ puts it into self.{today}"))  # fmt: skip
    for other in new:
        for name, attribute in other.flows:
            if name != attribute:
                found.setdefault(
                    name, (attribute, f"__setstate__ puts {name} into self.{attribute}")
                )
    return found

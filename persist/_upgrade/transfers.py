"""Fields that change their owner (`ops.to_base`, `ops.from_base`): the order of the steps of several classes.

Without such a step the classes of an MRO are upgraded one after the other, base first. With one, the
two classes meet: the base is brought to the version that the step names, the class to the step; then
the fields change hands, and both go on. The order depends on versions only, never on values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from persist import ops
from persist.errors import SchemaError
from persist.registry import Migration

__all__ = ["Run", "has_transfers", "ordered", "runs"]


class Run(NamedTuple):
    """Some steps of one schema that are done one after the other.

    Attributes:
        schema: its name.
        steps: the steps; only the first takes fields over from a base, only the last hands some over.
        owned: fields that the class owns until it hands them over, though another has them today.
        foreign: fields that another class owns until then.
        others: the classes to which it hands fields, at once or later.
    """

    schema: str
    steps: tuple[Migration, ...]
    owned: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


def has_transfers(steps: Iterable[Migration]) -> bool:
    """Whether any step hands fields to another class, or takes them over."""
    return any(step.transfers for step in steps)


def ordered(steps: Mapping[str, Sequence[Migration]]) -> list[Migration]:
    """Return the steps of all classes in one order.

    Args:
        steps: schema -> its steps, of the base first.

    Raises:
        SchemaError: there is none, since two classes wait for each other.
    """
    return _Order(steps).all()


class _Order:
    def __init__(self, steps: Mapping[str, Sequence[Migration]]) -> None:
        self._steps = steps
        self._done = dict.fromkeys(steps, 0)
        self._busy: list[str] = []
        self._found: list[Migration] = []
        self._waits: dict[str, list[tuple[int, str, int]]] = {}  # base -> version, class, its step
        for name, own in steps.items():
            for index, step in enumerate(own):
                for op in step.transfers:
                    self._waits.setdefault(op.base, []).append((op.version, name, index))

    def all(self) -> list[Migration]:
        for name, own in self._steps.items():
            self._advance(name, len(own))
        return self._found

    def _advance(self, name: str, goal: int) -> None:
        """Do the steps of a class up to a number of them."""
        if self._done[name] >= goal:
            return
        if name in self._busy:
            raise SchemaError(
                f"the steps of {', '.join(map(repr, self._busy))} that hand over fields wait for each other.",
                remedy="Correct the version= of one (persist.ops.to_base, from_base): that of the other class "
                "when the fields moved.",
                schema=name,
            )
        self._busy.append(name)
        while self._done[name] < goal:
            step = self._steps[name][self._done[name]]
            for version, owner, index in self._waits.get(name, ()):
                if step.to > version:
                    self._advance(owner, index + 1)
            for op in step.transfers:
                other = self._steps.get(op.base, ())
                self._advance_to(op.base, sum(one.to <= op.version for one in other))
            self._found.append(step)
            self._done[name] += 1
        self._busy.pop()

    def _advance_to(self, name: str, goal: int) -> None:
        if name in self._steps:
            self._advance(name, goal)


def runs(steps: Mapping[str, Sequence[Migration]]) -> list[Run]:
    """Return the steps of all classes in their order, those that follow each other together."""
    order = ordered(steps)
    found: list[Run] = []
    at = 0
    while at < len(order):
        end = at + 1
        while end < len(order) and _continues(order[end - 1], order[end]):
            end += 1
        found.append(_run(order[at:end], order[at:]))
        at = end
    return found


def _continues(step: Migration, following: Migration) -> bool:
    is_same = step.schema == following.schema
    gives = any(isinstance(op, ops.to_base) for op in step.transfers)
    takes = any(isinstance(op, ops.from_base) for op in following.transfers)
    return is_same and not gives and not takes


def _run(own: list[Migration], left: list[Migration]) -> Run:
    """A run, given the steps that are left, its own among them."""
    name = own[0].schema
    owners: dict[str, set[str]] = {}  # schema -> what it owns until it is handed over
    for step in left:
        for op in step.transfers:
            if isinstance(op, ops.to_base):
                owners.setdefault(step.schema, set()).update(op.names)
            elif step is not own[0]:  # the fields change hands before a step that takes them over
                owners.setdefault(op.base, set()).update(op.names)
    mine = owners.pop(name, set())
    foreign = set().union(*owners.values()) - mine
    others = {
        op.base
        for step in left
        if step.schema == name
        for op in step.transfers
        if isinstance(op, ops.to_base)
    }
    return Run(name, tuple(own), frozenset(mine), frozenset(foreign), frozenset(others))

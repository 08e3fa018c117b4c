"""The order in which a file's records are upgraded, where steps declare one.

Parts come before what holds them. A step that needs more says so: ``before=`` and ``after=`` name other
schemas, and hold for all records of both schemas in a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

import attrs

from persist.errors import SchemaError

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.registry._declarations import Migration

__all__ = ["Order", "OrderedWith", "order_of", "ordered_with"]


class OrderedWith(TypedDict):
    """The schemas that come before and after that of a step."""

    before: tuple[type | str, ...]
    after: tuple[type | str, ...]


def ordered_with(before: Iterable[type | str], after: Iterable[type | str]) -> OrderedWith:
    """Return the arguments of a step as tuples.

    Raises:
        TypeError: one is not a class, nor the name of a schema.
    """
    found = []
    for said, others in (("before", before), ("after", after)):
        listed = (others,) if isinstance(others, type | str) else tuple(others)
        for other in listed:
            if not isinstance(other, type | str):
                raise TypeError(f"{said}={other!r}: classes, or names of schemas, are expected.")
        found.append(listed)
    return {"before": found[0], "after": found[1]}


@attrs.frozen(eq=False)
class Order:
    """What is upgraded before what.

    Attributes:
        ranks: schema -> its place; a schema of rank 0 waits for none.
        later: schema -> the schemas that are upgraded after it, directly or not.
    """

    ranks: dict[str, int]
    later: dict[str, frozenset[str]]

    def __contains__(self, schema: str) -> bool:
        return schema in self.ranks

    def rank(self, schemas: Iterable[str], waits: frozenset[str]) -> tuple[int, frozenset[str]]:
        """Return the place of a record, and the schemas for which what holds it waits.

        Args:
            schemas: of the classes of the record's MRO.
            waits: the schemas for which its parts wait, and of its parts that wait.
        """
        own = frozenset(name for name in schemas if name in self.ranks)
        late = frozenset(name for name in own if self.ranks[name])
        awaited = late | waits.difference(*(self.later[name] for name in own))
        return max((self.ranks[name] for name in awaited), default=0), late | waits


def order_of(registry: Registry) -> Order | None:
    """Return the declared order of a registry and its parents; None if no step declares one.

    Raises:
        SchemaError: schemas wait for each other, with the steps that say so.
    """
    if not any(one._has_order for one in registry._line()):
        return None
    following: dict[str, dict[str, Migration]] = {}
    for step in _steps(registry):
        for other in map(registry._name_of, step.after):
            following.setdefault(other, {})[step.schema] = step
        for other in map(registry._name_of, step.before):
            following.setdefault(step.schema, {})[other] = step
    names = following.keys() | {one for found in following.values() for one in found}
    later = {name: _reachable(name, following) for name in sorted(names)}
    for name in sorted(names):
        if name in later[name]:
            raise _circle(name, following, later)
    ranks = dict.fromkeys(names, 0)
    for name in sorted(names, key=lambda one: -len(later[one])):  # whoever comes first, first
        for other in following.get(name, ()):
            ranks[other] = max(ranks[other], ranks[name] + 1)
    return Order(ranks, later)


def _steps(registry: Registry) -> Iterable[Migration]:
    for one in registry._line():
        for name in one._migrations if one._has_order else ():
            for step in registry.migrations(name).values():
                if step.before or step.after:
                    yield step


def _reachable(name: str, following: dict[str, dict[str, Migration]]) -> frozenset[str]:
    found: set[str] = set()
    todo = [name]
    while todo:
        for other in following.get(todo.pop(), ()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return frozenset(found)


def _circle(
    name: str,
    following: dict[str, dict[str, Migration]],
    later: dict[str, frozenset[str]],
) -> SchemaError:
    involved = {name} | {one for one in later[name] if name in later[one]}
    said = sorted(
        f"{one!r} before {other!r} ({step.where})"
        for one in involved
        for other, step in following.get(one, {}).items()
        if other in involved
    )
    return SchemaError(
        f"the steps of {', '.join(map(repr, sorted(involved)))} wait for each other: {', '.join(said)}.",
        remedy="Remove before= or after= of one of these steps, and change both objects in one step.",
        schema=name,
    )

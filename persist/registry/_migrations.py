"""The part of a registry that knows the steps between versions, and the path that they make."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Self, TypeVar, overload

from persist import ops as _ops
from persist.errors import DuplicateMigrationError, SchemaError
from persist.registry._declarations import (
    Migration,
    Origin,
    Supported,
    arrows,
    call_site,
    gap,
    origin_of,
    shortest,
    unsupported,
)
from persist.registry._names import check_version, versions_of
from persist.registry._order import ordered_with
from persist.registry._version_releases import VersionReleases

__all__ = ["Migrations"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Migrations(VersionReleases):
    """Steps by schema and versions, and the oldest version that is still read."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._migrations: dict[str, dict[tuple[int, int], Migration]] = {}
        self._has_order = False  # whether any step has before= or after=
        self._supported: dict[str, Supported] = {}
        # The shortest path, and the tables of steps of which it was found.
        self._paths: dict[tuple[str, int, int], tuple[tuple[Any, ...], list[Migration]]] = {}

    @overload
    def migration(
        self,
        schema: type | str,
        version: int | str,
        *,
        to: int | None = None,
        release: str = "",
        before: Iterable[type | str] = (),
        after: Iterable[type | str] = (),
        cost: float = 1,
    ) -> Callable[[Callable[_P, _T]], Migration[_P, _T]]: ...

    @overload
    def migration(
        self,
        schema: type | str,
        version: int | str,
        *ops: _ops.Op,
        to: int | None = None,
        release: str = "",
        before: Iterable[type | str] = (),
        after: Iterable[type | str] = (),
        cost: float = 1,
    ) -> Migration: ...

    def migration(
        self,
        schema: type | str,
        version: int | str,
        *ops: _ops.Op,
        to: int | None = None,
        release: str = "",
        before: Iterable[type | str] = (),
        after: Iterable[type | str] = (),
        cost: float = 1,
    ) -> Migration | Callable[[Callable[_P, _T]], Migration[_P, _T]]:
        """Register one step of a schema: a decorated function, or ready-made steps.

        The function takes the older state (a dict of fields, or whatever the
        class's codec gave; its own copy, arrays in it read-only) and returns the
        newer one. One that takes two arguments gets the `Record` as the second.
        It may return a `Record` (of another class, with its version) or
        ``persist.ops.Instead(value)`` to put something else in the place of the
        instance.

        Args:
            schema: the class, or the name of its schema.
            version: the version that the step takes; ``"1-3"`` registers the same step for each of
                these versions.
            ops: of `persist.ops`, done one after the other.
            to: the version that it gives; the next one after them by default.
            release: the releases of the package that wrote the version that the step takes, such as
                ``>=1.2,<2`` (PEP 440).
            before: classes, or names of schemas. In a file with records of both, all those of this
                schema are upgraded before all those of the others, also where they hold them: then the
                step sees the others with their old states. Only `persist.load` and the tools can do this.
            after: likewise; the others are upgraded first.
            cost: of the path with this step; of several paths the cheapest is taken. 1 for a step
                between neighbouring versions and for a jump, unless it is given.

        Returns:
            The `Migration`, of several the last; without ``ops`` a decorator that returns it.

        Raises:
            DuplicateMigrationError: another place registered this step already.
        """
        versions = versions_of(version, str(schema))
        to = versions[-1] + 1 if to is None else to
        if type(to) is not int or to <= versions[-1]:
            raise SchemaError(
                f"a migration of {schema} leads from version {version} to {to!r}.",
                remedy="It leads to a later version; the way back is its .downgrade.",
            )
        name = self._name_of(schema)
        for number in versions if release else ():
            self._add_released(name, number, release, call_site("<releases>"))
        for op in ops:
            if not isinstance(op, _ops.Op):
                raise TypeError(
                    f"{op!r} is no step of persist.ops; a function is decorated with "
                    f"@migration({name!r}, {version!r})."
                )
        order = ordered_with(before, after)
        if type(cost) not in (int, float) or not cost > 0:
            raise ValueError(f"cost={cost!r}: a number above 0 is expected.")

        def added(function: Callable[_P, _T] | None, origin: Origin) -> Migration[_P, _T]:
            made = [
                Migration(name, start, to, function, ops, origin, cost=cost, **order)
                for start in versions
            ]
            return [self._add(step) for step in made][-1]

        if ops:
            return added(None, call_site(f"<steps of {name} {version}→{to}>"))

        def decorate(function: Callable[_P, _T]) -> Migration[_P, _T]:
            written = function.function if isinstance(function, Migration) else function
            if written is None or not callable(written):
                raise TypeError(f"{function!r} is no function.")
            return added(written, origin_of(written))

        return decorate

    def _add(self, step: Migration[_P, _T]) -> Migration[_P, _T]:
        with self._changing():
            known = self._migrations.get(step.schema, {})
            other = known.get((step.start, step.to))
            if other is not None and not (
                step.repeats(other) or step.origin.replaces(other.origin)
            ):
                raise DuplicateMigrationError(
                    f"two migrations lead from version {step.start} to {step.to} of "
                    f"{step.schema!r}: {other.text} in {other.where}, and {step.text} in {step.where}.",
                    remedy="Remove one of them, or give one another version.",
                    schema=step.schema,
                    step=(step.start, step.to),
                )
            self._has_order = self._has_order or bool(step.before or step.after)
            self._migrations = {
                **self._migrations,
                step.schema: {**known, (step.start, step.to): step},
            }
        return step

    def migrations(self, schema: str) -> dict[tuple[int, int], Migration]:
        """Return (from, to) -> step of a schema; a parent's where there is none here."""
        found: dict[tuple[int, int], Migration] = {}
        for registry in self._lineage:
            for key, step in registry._migrations.get(schema, {}).items():
                found.setdefault(key, step)
        return found

    def path(self, schema: type | str, start: int, to: int) -> list[Migration]:
        """Return the shortest sequence of steps from one version to another, in either direction.

        Raises:
            MissingMigrationError: none leads there, with what is missing.
            SchemaError: two paths are as short as each other.
        """
        name = self._name_of(schema)
        known = tuple(registry._migrations for registry in self._lineage)
        found = self._paths.get((name, start, to))
        if found is None or not all(map(operator.is_, found[0], known)):
            found = (known, self._shortest_path(name, start, to))
            self._paths[name, start, to] = found
        return list(found[1])

    def _shortest_path(self, name: str, start: int, to: int) -> list[Migration]:
        oldest = self.oldest_supported(name)
        if oldest is not None and start < min(oldest.since, to):
            raise unsupported(oldest, start, to, self.releases(name))
        steps = self.migrations(name)
        low, high = min(start, to), max(start, to)
        found = shortest(steps.values(), low, high)
        if found is None:
            raise gap(name, start, to, steps, self.releases(name))
        if len(found) > 1:
            paths = " or ".join(arrows(one) for one in found)
            raise SchemaError(
                f"two paths lead from version {low} to {high} of {name!r}, as short as each other: {paths}.",
                remedy="Remove one step, register the jump that you mean with to=, or give the steps costs (cost=).",
                schema=name,
                step=(low, high),
            )
        return found[0] if start <= to else found[0][::-1]

    def supported(self, schema: type | str, since: int, *, reader: str = "") -> None:
        """Declare the oldest version of a schema that this program still reads.

        Older files are then refused with the release that still reads them, and no check asks for
        the steps that lead from there.

        Args:
            schema: the class, or the name of its schema.
            since: the oldest version that is read.
            reader: the last release of your package that reads older ones, such as ``"2.4"``.

        Raises:
            SchemaError: ``since`` is no version.
        """
        name = self._name_of(schema)
        check_version(since, name)
        with self._changing():
            self._supported = {**self._supported, name: Supported(name, since, reader)}
            self._paths = {}

    def oldest_supported(self, schema: str) -> Supported | None:
        """Return what `supported` said of a schema, here or in a parent; None for nothing."""
        found = (registry._supported.get(schema) for registry in self._lineage)
        return next((one for one in found if one is not None), None)

"""Look a registry over: gaps, ties, unreachable versions, alias loops, clashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persist.errors import MissingMigrationError, SchemaError
from persist.registry._order import order_of
from persist.registry._releases import listed as listed_releases
from persist.registry._releases import overlaps

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.schema import Schema

__all__ = ["faults"]


def faults(registry: Registry) -> list[SchemaError]:
    """Return everything that is wrong with a registry, one error for each thing."""
    found: list[SchemaError] = []
    for one in registry._line():
        one._settle()
        found += one._clashes
    try:
        schemas = registry.schemas()
    except SchemaError as error:
        return [*found, error, *_of_aliases(registry)]
    for schema in schemas:
        found += _of_layout(registry, schema)
        found += _of_versions(registry, schema)
    return [*found, *_of_order(registry), *_of_aliases(registry)]


def _of_order(registry: Registry) -> list[SchemaError]:
    """Schemas whose steps wait for each other."""
    try:
        order_of(registry)
    except SchemaError as error:
        return [error]
    return []


def _of_layout(registry: Registry, schema: Schema) -> list[SchemaError]:
    if schema.cls is None:
        return []
    try:
        layout = registry.layout(schema.cls)
    except SchemaError as error:
        return [error]
    found = []
    for part in layout.parts:
        if part.kind != "fields" or part.cls is not schema.cls:
            continue
        for field in part.fields:
            static = getattr(schema.cls, field.attribute, None)
            if isinstance(static, property) and static.fset is None:
                found.append(
                    SchemaError(
                        f"the field {field.name!r} of {schema.name!r} is a property that cannot be set.",
                        where=f"class {schema.qualname}",
                        remedy="Name in persistent the attribute that the property reads.",
                        schema=schema.name,
                        field=field.name,
                    )
                )
    return found


def _of_versions(registry: Registry, schema: Schema) -> list[SchemaError]:
    found: list[SchemaError] = []
    gaps = []
    oldest = registry.oldest_supported(schema.name)
    if oldest is not None and oldest.since > schema.version:
        found.append(
            SchemaError(
                f"the oldest supported version of {schema.name!r} is {oldest.since}, later than its version "
                f"{schema.version}.",
                remedy="Count the class's version= up, or give supported() an earlier since=.",
                schema=schema.name,
            )
        )
    for version in range(1 if oldest is None else oldest.since, schema.version):
        try:
            registry.path(schema.name, version, schema.version)
        except MissingMigrationError:
            gaps.append(version)
        except SchemaError as error:
            found.append(error)
    for release, first, second in overlaps(registry._released(schema.name)):
        found.append(
            SchemaError(
                f"release {release} is of version {first} and of version {second} of {schema.name!r}: "
                f"{listed_releases(registry._released(schema.name))}.",
                remedy="Let the releases of two versions not overlap.",
                schema=schema.name,
            )
        )
    steps = registry.migrations(schema.name)
    known = ", ".join(f"{first}→{last}" for first, last in sorted(steps)) or "none"
    if gaps:
        listed = ", ".join(map(str, gaps))
        found.append(
            MissingMigrationError(
                f"no migrations lead from version{'s' * (len(gaps) > 1)} {listed} of {schema.name!r} to "
                f"{schema.version}.",
                remedy=f"Registered steps are {known}. Register the missing ones with "
                f'@migration("{schema.name}", ...).',
                schema=schema.name,
                gaps=gaps,
            )
        )
    for first, last in sorted(steps):
        if last > schema.version:
            found.append(
                SchemaError(
                    f"the step {first}→{last} of {schema.name!r} leads past today's version {schema.version}.",
                    remedy=f"Count the class's version= up to {last}, or remove {steps[first, last].where}.",
                    schema=schema.name,
                    step=(first, last),
                )
            )
    return found


def _of_aliases(registry: Registry) -> list[SchemaError]:
    found, seen = [], set()
    for one in registry._line():
        for old in one._aliases:
            try:
                registry.resolve(old)
            except SchemaError as error:
                cycle = frozenset(_chain(registry, old))
                if cycle not in seen:
                    seen.add(cycle)
                    found.append(error)
    return found


def _chain(registry: Registry, old: str) -> list[str]:
    """The names of the cycle that an alias leads into."""
    names: list[str] = []
    name = old
    while name not in names:
        names.append(name)
        step = registry._next_alias(name, set())
        if step is None:
            break
        name = step.new if not step.old.endswith(".") else step.new + name[len(step.old) :]
    return names[names.index(name) :] if name in names else names

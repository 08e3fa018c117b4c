"""Today's classes and steps as a lock, and an updated lock."""

from __future__ import annotations

import datetime
import hashlib
import os

import attrs

from persist import ops as _ops
from persist._layouts.description import ClassLayout, differences, layout_of, normalised, source_of
from persist._layouts.lockfile import Lock, LockedSchema, LockedStep, LockedVersion
from persist.history.project import Project
from persist.registry import Registry
from persist.registry._declarations import Migration
from persist.schema import Schema

__all__ = ["Update", "layout_of_schema", "locked_step", "source_hash", "update"]


@attrs.define
class Update:
    """An updated lock.

    Attributes:
        lock: the new one.
        news: what is new in it, a line for each thing.
        refused: released versions that are other than they were, with the difference; they are kept
            as they were released.
    """

    lock: Lock
    news: list[str] = attrs.field(factory=list)
    refused: list[tuple[str, int, list[str]]] = attrs.field(factory=list)


def layout_of_schema(schema: Schema, registry: Registry) -> ClassLayout:
    """Return the layout that a schema has today."""
    return layout_of(schema, None if schema.cls is None else registry.layout(schema.cls))


def update(project: Project, *, release: str = "", date: str = "", force: bool = False) -> Update:
    """Return the project's lock with today's versions and steps in it; nothing is written.

    Args:
        project: whose classes and lock.
        release: of the package, recorded with new versions.
        date: likewise; today by default, or what ``SOURCE_DATE_EPOCH`` says.
        force: take a released version as it is today; for one that nobody ever used.
    """
    registry, before = project.load(), project.lock()
    date = date or _today()
    release = release or project.release
    found = Update(Lock({**before.schemas}, {}, project.lock_path))
    for schema in project.schemas():
        old = before.schemas.get(schema.name)
        found.lock.schemas[schema.name] = _updated(
            schema, old, registry, found, LockedVersion(ClassLayout(""), release, date), force
        )
    for registry_of_line in registry._line():
        for old_name, alias in registry_of_line._aliases.items():
            if any(
                project.owns(place.module) for _, place in registry._alias_places.get(old_name, ())
            ):
                found.lock.aliases[old_name] = alias.new
                if before.aliases.get(old_name) != alias.new:
                    found.news.append(f"alias {old_name} → {alias.new}")
    return found


def _updated(
    schema: Schema,
    old: LockedSchema | None,
    registry: Registry,
    found: Update,
    blank: LockedVersion,
    force: bool,
) -> LockedSchema:
    new = LockedSchema(schema.name, schema.qualname if schema.cls is not None else "")
    if old is not None:
        new.versions, new.steps = {**old.versions}, {**old.steps}
        new.reserved = old.reserved
    layout = layout_of_schema(schema, registry)
    known = new.versions.get(schema.version)
    if known is None:
        new.versions[schema.version] = LockedVersion(layout, blank.release, blank.date)
        found.news.append(f"{schema.name} {schema.version}: {layout}")
    else:
        lines = differences(known.layout, layout)
        if lines and not force:
            found.refused.append((schema.name, schema.version, lines))
        else:
            new.versions[schema.version] = attrs.evolve(known, layout=layout)
            found.news += [f"{schema.name} {schema.version}: {line}" for line in lines]
    for number, releases in registry.releases(schema.name).items():
        version = new.versions.get(number)
        if version is not None and version.releases != releases:
            new.versions[number] = attrs.evolve(version, releases=releases)
            found.news.append(f"{schema.name} {number}: releases {releases}")
    for key, step in sorted(registry.migrations(schema.name).items()):
        if new.steps.get(key) != (locked := locked_step(step)):
            word = "changed" if key in new.steps else "new"
            found.news.append(f"{schema.name} step {key[0]} → {key[1]} ({word}): {locked.text}")
            new.steps[key] = locked
    return new


def locked_step(step: Migration) -> LockedStep:
    """Return what the lock says of a step."""
    text = "; ".join(map(str, step.ops)) if step.ops else step.origin.qualname
    try:
        data = _ops.to_json(step.ops) if step.ops else ""
    except TypeError:  # a function in it, which is no data
        data = ""
    doc = (step.__doc__ or "").strip().partition("\n")[0] if step.function is not None else ""
    return LockedStep(source_hash(step), text, data, step.is_reversible, doc)


def source_hash(step: Migration) -> str:
    """Return a hash of what a step does: comments, docstring, decorators and layout do not count."""
    parts = [_function_text(one) for one in (step.function, step.backward) if one is not None]
    for op in step.ops:
        parts.append(type(op).__name__)
        for key, value in sorted(vars(op).items()):
            parts.append(f"{key}={_function_text(value) if callable(value) else repr(value)}")
    text = "\n".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _function_text(function: object) -> str:
    tree = source_of(function)
    if tree is not None and hasattr(tree, "args") and hasattr(tree, "body"):
        return normalised(tree)  # type: ignore[arg-type]
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    return f"{code.co_names} {code.co_varnames} {[c for c in code.co_consts if not hasattr(c, 'co_code')]}"


def _today() -> str:
    said = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.datetime.now(datetime.UTC)
    if said is not None:
        moment = datetime.datetime.fromtimestamp(int(said), datetime.UTC)
    return moment.date().isoformat()

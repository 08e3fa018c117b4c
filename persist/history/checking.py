"""The lock file and today's classes compared: what a release would break, in words.

`check` returns findings. An error is what a reader of old files will run into; a warning is what a
person should look at. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from persist._layouts.description import ClassLayout, differences
from persist._layouts.lockfile import Lock, LockedSchema
from persist.errors import MissingMigrationError, PersistError, SchemaError
from persist.history.locking import layout_of_schema, locked_step
from persist.history.project import Project
from persist.registry import Registry
from persist.registry._check import faults
from persist.registry._releases import parsed, specifier
from persist.schema import Schema

__all__ = ["ERROR", "WARNING", "Finding", "Result", "check"]

ERROR, WARNING = "error", "warning"


@attrs.frozen
class Finding:
    """One thing that falls short.

    Attributes:
        kind: a word for it: "changed", "unlocked", "gap", "gone", "alias" ...
        severity: "error" or "warning".
        text: what is wrong, a sentence.
        remedy: what to do, sentences.
        schema: the schema, where it is about one.
        version: its version, where it is about one.
        differences: lines that begin with ``+``, ``-`` or ``~``.
        where: file and line, or a golden file.
    """

    kind: str
    severity: str
    text: str
    remedy: str = ""
    schema: str = ""
    version: int | None = None
    differences: tuple[str, ...] = ()
    where: str = ""

    def __str__(self) -> str:
        lines = [f"{self.severity}: {self.text}"]
        lines += [f"    {line}" for line in self.differences]
        if self.remedy:
            lines.append(f"  {self.remedy}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return {**attrs.asdict(self), "differences": list(self.differences)}


@attrs.define
class Result:
    """What a check found.

    Attributes:
        findings: errors first.
        schemas: how many schemas were compared.
        golden: how many golden files were loaded.
        coverage: (schema, from, to) of each step -> the golden files that go through it.
        is_complete: False if a module cannot be imported, so that only this was checked.
    """

    findings: list[Finding] = attrs.field(factory=list)
    schemas: int = 0
    golden: int = 0
    coverage: dict[tuple[str, int, int], list[str]] = attrs.field(factory=dict)
    is_complete: bool = True

    @property
    def errors(self) -> list[Finding]:
        """What makes the check fail."""
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def is_ok(self) -> bool:
        """Whether nothing is an error."""
        return not self.errors

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        warnings = len(self.findings) - len(self.errors)
        count = f"{self.schemas} schema{'s' * (self.schemas != 1)}"
        files = f", {self.golden} golden file{'s' * (self.golden != 1)}" if self.golden else ""
        if not self.is_complete:
            return "\n".join([*lines, "nothing else was checked: the modules cannot be imported"])
        said = "as released" if not self.findings else (
            f"{len(self.errors)} error{'s' * (len(self.errors) != 1)}, "
            f"{warnings} warning{'s' * (warnings != 1)}"
        )  # fmt: skip
        return "\n".join([*lines, f"{count}{files}: {said}"])

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "ok": self.is_ok,
            "complete": self.is_complete,
            "schemas": self.schemas,
            "golden": self.golden,
            "findings": [finding.as_json() for finding in self.findings],
            "coverage": [
                {"schema": schema, "from": first, "to": last, "files": files}
                for (schema, first, last), files in sorted(self.coverage.items())
            ],
        }


def check(
    project: Project,
    *,
    against: Lock | None = None,
    coverage: bool = False,
    golden: bool = True,
    progress: Callable[[Iterable[Any]], Iterable[object]] = iter,
) -> Result:
    """Compare a project's classes with its lock file, and load its golden files.

    Args:
        project: whose.
        against: an older lock, of the last release say: versions that it has must be there still.
        coverage: a step that no golden file covers is an error, also where there are no golden files.
        golden: whether golden files are loaded.
        progress: wraps the golden files while they are loaded.
    """
    from persist.history import golden as _golden

    result = Result()
    result.findings = [_of_import(error) for error in project.import_errors()]
    if result.findings:  # classes after the place are not known, so the rest cannot be compared
        result.is_complete = False
        return result
    registry, lock = project.load(), project.lock()
    schemas = project.schemas()
    result.schemas = len(schemas)
    for schema in schemas:
        try:
            result.findings += _of_schema(schema, lock.schemas.get(schema.name), registry, project)
        except SchemaError as error:
            result.findings.append(_of_error(error))
    result.findings += _gone(lock, schemas, project)
    result.findings += _of_registry(registry, project)
    result.findings += _of_aliases(registry, lock, project)
    if against is not None:
        result.findings += _since(against, lock)
    if golden:
        found = _golden.verify_all(project, progress)
        result.golden, result.coverage = found.count, found.coverage
        result.findings += found.findings
        result.findings += _uncovered(registry, schemas, found, coverage)
    unique = {(one.text, one.remedy): one for one in result.findings}
    result.findings = sorted(unique.values(), key=_rank)
    return result


def _rank(finding: Finding) -> tuple[object, ...]:
    """Errors first, and causes before what follows from them."""
    kinds = ("changed", "unlocked", "back", "gone", "gap", "golden", "uncovered")
    place = kinds.index(finding.kind) if finding.kind in kinds else 0
    return finding.severity != ERROR, place, finding.schema


def _of_schema(
    schema: Schema, locked: LockedSchema | None, registry: Registry, project: Project
) -> Iterator[Finding]:
    name, version = schema.name, schema.version
    layout = layout_of_schema(schema, registry)
    declared = None if schema.cls is None else registry.declared(schema.cls)
    head = None if declared is None else declared.layout
    if head is not None and not layout.fingerprint.startswith(str(head).rstrip("…")):
        yield Finding(
            "head", ERROR, f"{name} has layout={head!r} in its head, and its layout is {layout.fingerprint}.",
            "No program can import it. If its version is counted already: `persist lock --write-layouts`.",
            name, version,
        )  # fmt: skip
    if locked is None or not locked.versions:
        yield Finding(
            "unlocked", ERROR, f"{name} {version} is not in {project.shown(project.lock_path)}.",
            "Run `persist lock`, and commit the file.", name, version,
        )  # fmt: skip
        return
    known = locked.versions.get(version)
    if known is not None:
        lines = tuple(differences(known.layout, layout))
        if lines:
            yield Finding(
                "changed", ERROR, f"{name} changed, and its version did not ({version}):",
                f"Count the version in the head of {schema.qualname} to {version + 1} and add a step: "
                "`persist draft` writes both.", name, version, lines,
            )  # fmt: skip
    if version < locked.latest:
        yield Finding(
            "back", ERROR,
            f"{name} went back to version {version}; version {locked.latest} was released.",
            f"Files of version {locked.latest} are refused now. Set version={locked.latest}, or a later one.",
            name, version,
        )  # fmt: skip
    elif known is None:
        yield Finding(
            "unlocked", ERROR, f"{name} {version} is not in {project.shown(project.lock_path)}.",
            "Run `persist lock`, and commit the file.", name, version,
            tuple(differences(locked.versions[locked.latest].layout, layout)),
        )  # fmt: skip
    yield from _releases(schema, locked, registry)
    yield from _paths(schema, locked, registry)
    yield from _steps(schema, locked, registry)
    yield from _returned(schema, locked, layout, project)


def _releases(schema: Schema, locked: LockedSchema, registry: Registry) -> Iterator[Finding]:
    """Declared releases that are not those of the lock file."""
    for number, releases in registry.releases(schema.name).items():
        version = locked.versions.get(number)
        if version is None:
            continue
        release = parsed(version.release) if version.release else None
        if release is not None and not specifier(releases, schema.name).contains(
            release, prereleases=True
        ):
            yield Finding(
                "release", ERROR,
                f"version {number} of {schema.name!r} was locked in release {version.release}, which is not "
                f"in the declared releases {releases!r}.",
                "Declare releases that contain it. If the lock file was written before the release was counted, "
                "correct its line `release`.", schema.name, number,
            )  # fmt: skip
        elif version.releases and version.releases != releases:
            yield Finding(
                "release", WARNING,
                f"the releases of version {number} of {schema.name!r} were {version.releases!r}, and are {releases!r}.",
                "If that is right, run `persist lock`.", schema.name, number,
            )  # fmt: skip


def _paths(schema: Schema, locked: LockedSchema, registry: Registry) -> Iterator[Finding]:
    """Versions that were released, and from which nothing leads on."""
    oldest = registry.oldest_supported(schema.name)
    since = 1 if oldest is None else oldest.since
    gaps = []
    for version in sorted({*range(since, schema.version), *locked.versions}):
        if since <= version < schema.version:
            try:
                registry.path(schema.name, version, schema.version)
            except MissingMigrationError:
                gaps.append(version)
            except SchemaError:  # two paths: reported with the registry
                continue
    if gaps:
        listed = ", ".join(map(str, gaps))
        steps = ", ".join(f"{a}→{b}" for a, b in sorted(registry.migrations(schema.name))) or "none"
        yield Finding(
            "gap", ERROR,
            f"no migrations lead from version{'s' * (len(gaps) > 1)} {listed} of {schema.name!r} to "
            f"{schema.version}; there are: {steps}.",
            f'Write the missing step with @persist.migration("{schema.name}", {max(gaps)}), or let `persist draft` '
            f'write it. If such files need not be read any more: persist.supported("{schema.name}", '
            f"since={max(gaps) + 1}).", schema.name, max(gaps),
        )  # fmt: skip


def _steps(schema: Schema, locked: LockedSchema, registry: Registry) -> Iterator[Finding]:
    oldest = registry.oldest_supported(schema.name)
    since = 1 if oldest is None else oldest.since
    here = registry.migrations(schema.name)
    for key, released in sorted(locked.steps.items()):
        step = here.get(key)
        if key[0] < since:
            continue  # pruned on purpose
        if step is None:
            yield Finding(
                "step-gone", WARNING,
                f"the step {key[0]} → {key[1]} of {schema.name!r} was released and is gone ({released.text}).",
                "Take it from version control again, unless another step connects the same versions.",
                schema.name, key[0],
            )  # fmt: skip
        elif locked_step(step).source != released.source:
            yield Finding(
                "step-changed", WARNING,
                f"the step {key[0]} → {key[1]} of {schema.name!r} changed after it was released.",
                "Files that went through the old one hold what it gave: if the result is another, count "
                "the version and write a step that mends them. If it is the same, run `persist lock`.",
                schema.name, key[0], where=step.where,
            )  # fmt: skip


def _returned(
    schema: Schema, locked: LockedSchema, layout: ClassLayout, project: Project
) -> Iterator[Finding]:
    """Names of fields that were dropped in one version and are there again."""
    if schema.fields is None or schema.codec:
        return
    for field in layout.fields:
        had = [number for number in sorted(locked.versions)
               if locked.versions[number].layout.field(field.name) is not None]  # fmt: skip
        lacked = [
            number for number in locked.versions if had and number > had[0] and number not in had
        ]
        before = [number for number in had if lacked and number < min(lacked)]
        is_reserved = field.name in locked.reserved
        if not (before or is_reserved) or f"{schema.name}.{field.name}" in project.reuse:
            continue
        if before:
            old = locked.versions[before[-1]].layout.field(field.name)
            text = (
                f"the field {field.name!r} of {schema.name!r} was dropped after version {before[-1]} ({old}) and "
                f"is back in version {schema.version} ({field})."
            )
        else:
            text = f"the field {field.name!r} of {schema.name!r} is reserved in the lock file."
        yield Finding(
            "reserved", ERROR, text,
            "A name that meant something else once is misread by people and by older programs: choose "
            f'another name. If it means the same as then, add "{schema.name}.{field.name}" to reuse in '
            "[tool.persist].", schema.name, schema.version,
        )  # fmt: skip


def _gone(lock: Lock, schemas: list[Schema], project: Project) -> Iterator[Finding]:
    here = {schema.name for schema in schemas}
    for name, locked in sorted(lock.schemas.items()):
        if name in here or locked.retired or not locked.versions:
            continue
        yield Finding(
            "gone", ERROR, f"the schema {name!r} was released and is gone.",
            f"If its class was renamed or moved, keep schema={name!r} in its head, and say "
            f'persist.alias("{locked.cls or name}", NewClass). If it is gone for good, say so with '
            f'persist.migration("{name}", {locked.latest}, persist.ops.delete()), or set '
            "retired = true in the lock file.", name,
        )  # fmt: skip


def _of_registry(registry: Registry, project: Project) -> Iterator[Finding]:
    for error in faults(registry):
        name = str(error.facts.get("schema") or "")
        schema = registry.schema_for(name) if name and "gaps" not in error.facts else None
        if "gaps" in error.facts:
            schema = next((one for one in project.schemas() if one.name == name), None)
            if schema is not None:
                lock = project.lock().schemas.get(name)
                if lock is not None and lock.versions:
                    continue  # said already, with the released versions
        cls = None if schema is None else schema.cls
        if cls is not None and not project.owns(cls.__module__):
            continue
        yield _of_error(error)


def _of_import(error: PersistError) -> Finding:
    """The finding for a declaration that was refused when its module was imported.

    Raises:
        PersistError: the module cannot be imported for another reason.
    """
    if "declaration" not in error.facts:
        raise error
    kind = "alias" if "alias" in error.facts else "declaration"
    place = str(error.where)
    return Finding(
        kind, ERROR, f"{place}: {error.what}", error.remedy, str(error.facts.get("schema") or ""), where=place
    )  # fmt: skip


def _of_error(error: SchemaError) -> Finding:
    kind = "gap" if isinstance(error, MissingMigrationError) else "registry"
    kind = "alias" if "alias" in error.facts else kind
    where = f"{error.where}: " if error.where else ""
    return Finding(
        kind, ERROR, f"{where}{error.what}", error.remedy, str(error.facts.get("schema") or "")
    )


def _of_aliases(registry: Registry, lock: Lock, project: Project) -> Iterator[Finding]:
    from persist.history.aliases import findings

    yield from findings(registry, lock, project)


def _since(before: Lock, now: Lock) -> Iterator[Finding]:
    """Versions that an older lock has, and that are gone or other in the newer one."""
    for name, old in sorted(before.schemas.items()):
        new = now.schemas.get(name)
        for number, version in sorted(old.versions.items()):
            known = None if new is None else new.versions.get(number)
            if known is None:
                yield Finding(
                    "version-gone", ERROR,
                    f"version {number} of {name!r} was released and is not in the lock file any more.",
                    "Take its lines from version control again.", name, number,
                )  # fmt: skip
                continue
            lines = tuple(differences(version.layout, known.layout))
            if lines:
                yield Finding(
                    "version-changed", ERROR,
                    f"version {number} of {name!r} was released with another layout:",
                    f"Take its lines from version control again, and count the class to {old.latest + 1}.",
                    name, number, lines,
                )  # fmt: skip


def _uncovered(
    registry: Registry, schemas: list[Schema], found: Any, wanted: bool
) -> Iterator[Finding]:
    if not wanted and not found.count and not found.is_configured:
        return
    for schema in schemas:
        oldest = registry.oldest_supported(schema.name)
        for first, last in sorted(registry.migrations(schema.name)):
            files = found.coverage.setdefault((schema.name, first, last), [])
            if files or last > schema.version or (oldest is not None and first < oldest.since):
                continue
            yield Finding(
                "uncovered", ERROR if wanted or schema.name in found.schemas else WARNING,
                f"no golden file covers the step {first} → {last} of {schema.name!r}.",
                f"Add a file of version {first}: `persist golden add FILE`, or write one with the release "
                "that had it (`persist golden foundry`).", schema.name, first,
            )  # fmt: skip

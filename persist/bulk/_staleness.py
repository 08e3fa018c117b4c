"""Decide whether a file that an earlier upgrade wrote is stale: an upgrade would write it differently now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from persist.bulk._places import is_file, modified

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Plan
    from persist.registry import Registry

__all__ = ["Verdict", "look"]


class Verdict(NamedTuple):
    """The result for a target that exists.

    Attributes:
        stale: why an upgrade would write it differently now; empty if it would not.
        is_ours: whether an upgrade wrote it, so that it may be overwritten.
    """

    stale: str
    is_ours: bool


def look(
    source: str,
    target: str,
    registry: Registry,
    options: dict[str, object],
    digest: Callable[[], tuple[int, str]],
    storage_options: Mapping[str, object] | None = None,
) -> Verdict:
    """Compare a target with its source and the current declarations.

    Args:
        source: the file to upgrade.
        target: the existing file.
        registry: the user's schemas, aliases, stamps and steps.
        options: the options with which the source is read.
        digest: returns the size and the digest of the source.
        storage_options: for fsspec.

    Raises:
        PersistError: the target cannot be read.
    """
    from persist._api.open import open as open_file
    from persist._upgrade import records
    from persist.bulk._origin import digest_of, origin_of
    from persist.errors import UnknownFormatError

    try:
        file = open_file(target, registry=registry, storage_options=storage_options)
    except UnknownFormatError:
        return Verdict("", False)
    with file:
        said = origin_of(file)
        if file.format == "persist" and said is None:
            same = (
                is_file(target, storage_options) and digest_of(target, storage_options) == digest()
            )
            return Verdict("" if same else _older(source, target, storage_options), False)
        plan = records.plan(file.tree, file.knowledge, file=file.name)
        if said is None:  # a format that does not record its origin
            return Verdict(_older(source, target, storage_options) or _of_plan(plan), False)
        if "sha256" in said:
            changed = [said.get("size"), said["sha256"]] != list(digest())
            why = "its source has changed" if changed else ""
        else:
            why = _older(source, target, storage_options)
        return Verdict(why or _of_options(said, options) or _of_knowledge(file, said, plan), True)


def _older(source: str, target: str, storage_options: Mapping[str, object] | None) -> str:
    then, now = modified(target, storage_options), modified(source, storage_options)
    return "it is older than its source" if 0 <= then < now else ""


def _of_options(said: dict[str, Any], options: dict[str, object]) -> str:
    then = said.get("options", {})
    if then == options:
        return ""
    names = sorted(name for name in {*then, *options} if then.get(name) != options.get(name))
    return f"it was written with a different {', '.join('--' + name.replace('_', '-') for name in names)}"


def _of_plan(plan: Plan) -> str:
    for entry in plan:
        if entry.problem is not None or entry.steps:
            path = next((one for one in entry.version_paths if one.steps), None)
            schema = "" if path is None else f" of {path.schema}"
            return f"it is of an older version{schema}"
        if entry.aliases:
            return f"{entry.qualname} is now {entry.today}"
    return ""


def _of_knowledge(file: File, said: dict[str, Any], plan: Plan) -> str:
    known = file.knowledge
    for name in said.get("opaque", ()):
        if known.schema_for(known.resolve(name)) is not None:
            return f"{name} was not declared then, but is declared now"
    why = _of_plan(plan)
    if why:
        return why
    for one in file.structure.get("schemas", ()):
        schema = known.schema_for(str(one.get("name")))
        if schema is None or schema.cls is None:
            continue
        if (schema.version, schema.fingerprint) != (one.get("version"), one.get("fingerprint")):
            return f"the declaration of {schema.name} has changed"
    for one in said.get("steps", ()):
        if _is_changed(one, known):
            what = "stamp" if one[1] is None else f"step {one[1]} to {one[2]}"
            return f"the {what} of {one[0]} has changed"
    return ""


def _is_changed(said: list[Any], registry: Registry) -> bool:
    from persist._upgrade.step_digests import digest_of_stamps, digest_of_step

    schema, start, to, digest = said
    if start is None:
        return bool(digest_of_stamps(registry, schema) != digest)
    step = registry.migrations(schema).get((start, to))
    return bool(step is None or digest_of_step(step) != digest)

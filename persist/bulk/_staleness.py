"""Decide whether a file that an earlier upgrade wrote is stale: an upgrade would write it differently now."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Plan
    from persist.registry import Registry

__all__ = ["Verdict", "digest_of_stamps", "digest_of_step", "look", "steps_of"]


class Verdict(NamedTuple):
    """The result for a target that exists.

    Attributes:
        stale: why an upgrade would write it differently now; empty if it would not.
        is_ours: whether an upgrade wrote it, so that it may be overwritten.
    """

    stale: str
    is_ours: bool


def look(
    source: Path,
    target: Path,
    registry: Registry,
    options: dict[str, object],
    digest: Callable[[], tuple[int, str]],
) -> Verdict:
    """Compare a target with its source and the current declarations.

    Args:
        source: the file to upgrade.
        target: the existing file.
        registry: the user's schemas, aliases, stamps and steps.
        options: the options with which the source is read.
        digest: returns the size and the digest of the source.

    Raises:
        PersistError: the target cannot be read.
    """
    import persist
    from persist._upgrade import records
    from persist.bulk._origin import UPGRADED, digest_of, metadata_of
    from persist.errors import UnknownFormatError

    try:
        file = persist.open(target, registry=registry)
    except UnknownFormatError:
        return Verdict("", False)
    with file:
        metadata = metadata_of(file) if file.format == "persist" else None
        said = metadata.get(UPGRADED) if isinstance(metadata, dict) else None
        if file.format == "persist" and not isinstance(said, dict):
            same = target.is_file() and source.is_file() and digest_of(target) == digest()
            return Verdict("" if same else _older(source, target), False)
        plan = records.plan(file.tree, file.knowledge, file=file.name)
        if not isinstance(said, dict):  # a format that does not record its origin
            return Verdict(_older(source, target) or _of_plan(plan), False)
        if "sha256" in said:
            changed = [said.get("size"), said["sha256"]] != list(digest())
            why = "its source has changed" if changed else ""
        else:
            why = _older(source, target)
        return Verdict(why or _of_options(said, options) or _of_knowledge(file, said, plan), True)


def _older(source: Path, target: Path) -> str:
    is_older = _time(target) < _time(source)
    return "it is older than its source" if is_older else ""


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # a checkpoint prefix is not a file itself
        return 0


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


def steps_of(plan: Plan, registry: Registry) -> list[list[Any]]:
    """Return the steps and stamps that an upgrade used, once each: schema, from, to, digest.

    For a stamp, from and to are None.
    """
    found: dict[tuple[Any, ...], list[Any]] = {}
    for entry in plan:
        for path in entry.version_paths:
            for step in path.steps:
                key = (step.schema, step.start, step.to)
                if key not in found:
                    found[key] = [*key, digest_of_step(step)]
            if path.how.startswith("stamp") and (path.schema,) not in found:
                digest = digest_of_stamps(registry, path.schema)
                found[(path.schema,)] = [path.schema, None, None, digest]
    return list(found.values())


def _is_changed(said: list[Any], registry: Registry) -> bool:
    schema, start, to, digest = said
    if start is None:
        return bool(digest_of_stamps(registry, schema) != digest)
    step = registry.migrations(schema).get((start, to))
    return bool(step is None or digest_of_step(step) != digest)


def digest_of_step(step: Any) -> str:
    code = [step.function] if step.function is not None else []
    for op in step.ops:
        code += [value for value in _values(op) if callable(value)]
    text = step.text if step.ops else step.origin.qualname
    return _digest([re.sub(r" at 0x[0-9a-fA-F]+", "", text), *map(_source, code)])


def digest_of_stamps(registry: Registry, schema: str) -> str:
    texts = [f"{number} {said}" for number, said in registry.releases(schema).items()]
    for stamp in registry.stamps(schema):
        texts.append(str(stamp.key))
        if stamp.function is not None:
            texts.append(_source(stamp.function))
    return _digest(texts)


def _values(op: object) -> list[Any]:
    slots = [name for cls in type(op).__mro__ for name in getattr(cls, "__slots__", ())]
    held = [getattr(op, name, None) for name in slots if not name.startswith("__")]
    return [*held, *getattr(op, "__dict__", {}).values()]


def _source(function: Any) -> str:
    """Return the source of a function; without one, its name and bytecode."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = "" if code is None else code.co_code.hex()
        return f"{getattr(function, '__qualname__', type(function).__qualname__)} {text}"


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]

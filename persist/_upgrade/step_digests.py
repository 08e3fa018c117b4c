"""Which steps and stamps an upgrade used, each with a hash of its source.

A file records them, so that it can be found out later which code made what is in it, and whether
that code has changed since.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._upgrade.plan import Plan
    from persist.registry import Registry

__all__ = ["digest_of_stamps", "digest_of_step", "steps_of"]


def steps_of(plan: Plan, registry: Registry) -> list[list[object]]:
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


def digest_of_step(step: Any) -> str:
    """Return a short hash of what a step does: of its source, and of its ready-made steps."""
    code = [step.function] if step.function is not None else []
    for op in step.ops:
        code += [value for value in _values(op) if callable(value)]
    text = step.text if step.ops else step.origin.qualname
    return _digest([re.sub(r" at 0x[0-9a-fA-F]+", "", text), *map(_source, code)])


def digest_of_stamps(registry: Registry, schema: str) -> str:
    """Return a short hash of all stamps of a schema, and of the releases of its versions."""
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

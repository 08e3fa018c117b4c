"""Aliases that lead nowhere, are given twice, or name a schema that is not there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from persist._layouts.lockfile import Lock
from persist.errors import SchemaError
from persist.history.project import Project
from persist.registry import Registry

if TYPE_CHECKING:
    from persist.history.checking import Finding

__all__ = ["findings"]


def findings(registry: Registry, lock: Lock, project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the aliases that the project gives."""
    from persist.history.checking import ERROR, WARNING, Finding

    for old, places in sorted(registry._alias_places.items()):
        ours = [(target, place) for target, place in places if project.owns(place.module)]
        if not ours:
            continue
        where = [f"{project.shown(place.file)}:{place.line}" for _, place in ours]
        targets = list(dict.fromkeys(target for target, _ in ours))
        name = f"{old}*" if old.endswith(".") else old
        if len(ours) > 1:
            listed = " and ".join(f"to {t!r} ({w})" for (t, _), w in zip(ours, where, strict=True))
            yield Finding(
                "alias", ERROR if len(targets) > 1 else WARNING,
                f"the alias {name!r} is given twice: {listed}.", "Remove one of them.", where=where[0],
            )  # fmt: skip
        for target in targets:
            if old.endswith(".") or _leads_somewhere(target, registry):
                continue
            yield Finding(
                "alias", ERROR, f"the alias {name!r} leads to {target!r}, which is not there ({where[0]}).",
                "Name the class itself, its dotted name of today, or its schema.", where=where[0],
            )  # fmt: skip
    for old, target in sorted(lock.aliases.items()):
        if old not in registry._alias_places:
            yield Finding(
                "alias", ERROR, f"the alias {old!r} → {target!r} was released and is gone.",
                "Files bear the old name: give the alias again.",
            )  # fmt: skip


def _leads_somewhere(target: str, registry: Registry) -> bool:
    """Whether a name is a declared class, a schema, another alias, or something in a module."""
    try:
        today = registry.resolve(target)
    except SchemaError:  # a circle, which is reported with the registry
        return True
    if registry.schema_for(today) is not None or registry.schema_for(target) is not None:
        return True
    return _is_in_module(today)


def _is_in_module(name: str) -> bool:
    """Whether a dotted name is there in a module that is imported, or that could be."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:count]))
        if module is not None:
            found: object = module
            for part in parts[count:]:
                if not hasattr(found, part):
                    return False
                found = getattr(found, part)
            return True
    # A module that is not imported is looked for, and never run.
    try:
        return importlib.util.find_spec(parts[0]) is not None
    except (ImportError, ValueError):
        return False

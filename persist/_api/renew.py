"""`renew`: upgrade a container in its place; arrays that did not change keep their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from persist._api.file import has_steps, registry_or_default, written_layouts
from persist._api.open import open
from persist._api.provenance import appending, origin, split_metadata
from persist._upgrade.step_digests import steps_of
from persist.errors import (
    FormatError,
)

if TYPE_CHECKING:
    from persist import _container
    from persist._api.file import File
    from persist._upgrade.plan import Plan
    from persist.registry import Registry

__all__ = ["renew"]


def renew(
    path: str | os.PathLike[str],
    *,
    keep: bool = False,
    durable: bool = True,
    check: Callable[[Any, Any], None] | None = None,
    unknown: str = "warn",
    strict: bool = False,
    registry: Registry | None = None,
) -> tuple[Plan, _container.Done | None]:
    """Bring a container up to date in its place; the bytes of its arrays are not written again.

    Args:
        path: of the file.
        keep: keep what was there before, so that it can be brought back.
        durable: wait until the disk has it.
        check: is given the tree of today and what the new file holds, before it gets its name.
        unknown, strict: as for `load`.
        registry: schemas, aliases, stamps and migrations; None is the default one.

    Returns:
        What was done to each record; and how the file was written, None where it is of today already.

    Raises:
        FormatError: it is no container.
        SchemaError: a record cannot be upgraded, with its path.
    """
    from persist import _container
    from persist._api.manifest_schemas import schemas_in_file
    from persist._objects.inert import Inert
    from persist._upgrade import records

    registry = registry_or_default(registry)
    with open(path, registry=registry) as file:
        if file.format != "persist":
            raise FormatError(
                f"a {file.format} file cannot be upgraded in its place.",
                file=file.name,
                remedy="Leave --in-place out: the upgraded file is written next to it.",
            )
        knowledge, plans = file.knowledge, []

        def renewed(tree: object, store: _container.Store) -> object:
            made, plan = records.upgrade(
                tree,
                knowledge,
                file=file.name,
                unknown=unknown,
                strict=strict,
                live=Inert(knowledge),
                names="schema",
                read=has_steps(file),
                written=written_layouts(file),
            )
            plans.append(plan)
            if not any(entry.aliases or entry.steps for entry in plan):
                raise _OfToday
            return made

        try:
            done = _container.rewrite(
                path,
                renewed,
                schemas=schemas_in_file(registry),
                keep=keep,
                durable=durable,
                check=check,
                history=_history(file, path, plans),
            )
        except _OfToday:
            return plans[0], None
    return plans[0], done


def _history(
    file: File, path: str | os.PathLike[str], plans: list[Plan]
) -> Callable[[list[Any], dict[str, Any]], list[object]]:
    """What makes the history of the new file, when the plan of its upgrade is there."""

    def history(older: list[Any], manifest: dict[str, Any]) -> list[Any]:
        plan, knowledge = plans[0], file.knowledge
        said = origin(file, path, steps_of(plan, knowledge), list(plan.opaque), plan=plan)
        # A file that was written before there was a history has its origin there.
        manifest["metadata"] = split_metadata(manifest["metadata"])
        return appending("upgraded in place", said, file.history)(older, manifest)

    return history


class _OfToday(Exception):
    """There is nothing to be done."""

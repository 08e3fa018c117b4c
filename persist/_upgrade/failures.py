"""The errors of steps that fail."""

from __future__ import annotations

from persist.errors import (
    MigrationFailedError,
    PersistError,
)
from persist.registry import Migration

__all__ = ["failed"]


def failed(step: Migration, state: object, error: Exception) -> MigrationFailedError:
    """Return the error for a step that raised."""
    if isinstance(error, MigrationFailedError):
        facts = error.facts
        if (facts.get("schema"), facts.get("step")) == (step.schema, (step.start, step.to)):
            # The step loads an instance of its own class: raised once, however deep that goes.
            return MigrationFailedError(
                error.what, remedy=error.remedy, schema=step.schema, step=(step.start, step.to)
            )
    nested = ""
    if isinstance(error, RecursionError):
        nested = "If it loads the file that is being loaded, that never ends: a step gets the whole state. "
    return MigrationFailedError(
        f"the step {step} failed: {_said(error)}.",
        remedy=f"{nested}{_cure_of(error)}{_of_state(state)} It is written in {step.where}; nothing was changed.",
        schema=step.schema,
        step=(step.start, step.to),
    )


def _said(error: Exception) -> str:
    text = str(error) if not isinstance(error, PersistError) else error.what
    return f"{type(error).__name__}: {text}".rstrip(". ")


def _cure_of(error: Exception) -> str:
    return f"{error.remedy} " if isinstance(error, PersistError) and error.remedy else ""


def _of_state(state: object) -> str:
    if isinstance(state, dict):
        names = ", ".join(map(str, list(state)[:20])) or "none"
        return f"The fields of the state are: {names}."
    if isinstance(state, tuple | list):
        return f"The state is a {type(state).__name__} of {len(state)}."
    return f"The state is a {type(state).__name__}."

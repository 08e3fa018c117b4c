"""What a changed class needs: which fields came, went, were retyped and renamed, as ready-made steps.

`draft` compares the lock file with today's classes. What it cannot know it leaves as a question, or
as a step that raises until somebody fills it in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from persist._layouts.description import CODEC, ClassLayout, FieldLayout, differences
from persist.errors import MissingMigrationError, SchemaError
from persist.history.evidence import DOUBTFUL, LIKELY, Guess, guesses
from persist.history.locking import layout_of_schema
from persist.history.project import Project
from persist.registry import Registry
from persist.schema import Schema
from persist.tree import ABSENT
from persist.typing import State

__all__ = ["Draft", "drafts", "settle"]

Ask = Callable[["Draft", Guess], bool | None]


@attrs.define
class Draft:
    """The step that one changed class needs.

    Attributes:
        schema: of the class, as it is in the code.
        start: the released version.
        to: the version that the step gives.
        old: the released layout.
        new: today's.
        guesses: of renames, best first.
        renames: old name -> new one, as settled.
        calls: the ready-made steps as source, without the module in front: ``rename('W', 'weights')``.
        questions: what nobody can know from here, a sentence each.
        counts: whether the version in the class's head has to be counted up.
        differences: of the two layouts, in words.
    """

    schema: Schema
    start: int
    to: int
    old: ClassLayout
    new: ClassLayout
    guesses: list[Guess]
    counts: bool
    differences: list[str]
    renames: dict[str, str] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    questions: list[str] = attrs.field(factory=list)

    @property
    def summary(self) -> str:
        """What changed, in a sentence without a full stop."""
        gone = [
            f.name
            for f in self.old.fields
            if f.name not in self.renames and self.new.field(f.name) is None
        ]
        came = [f.name for f in self.new.fields
                if f.name not in self.renames.values() and self.old.field(f.name) is None]  # fmt: skip
        parts = [f"{old} is called {new}" for old, new in self.renames.items()]
        parts += [f"{name} is gone" for name in gone] + [f"{name} is new" for name in came]
        for field in self.old.fields:
            other = self.new.field(self.renames.get(field.name, field.name))
            if other is not None and _retyped(field, other):
                parts.append(f"{other.name} is {other.dtype or other.type or 'of another shape'}")
        if self.old.kind != self.new.kind:
            parts.append("the state has another form")
        return ", ".join(parts) or "the state has another form"


def drafts(
    project: Project,
    before: Mapping[str, list[State]] | None = None,
    after: Mapping[str, list[State]] | None = None,
) -> list[Draft]:
    """Return what each changed class of a project needs, by name of its schema.

    Args:
        project: whose.
        before: schema -> states of the released version, from files.
        after: schema -> states of today's.
    """
    registry, lock = project.load(), project.lock()
    found = []
    for schema in project.schemas():
        locked = lock.schemas.get(schema.name)
        if locked is None or not locked.versions:
            continue
        start = locked.latest
        new, old = layout_of_schema(schema, registry), locked.versions[start].layout
        lines = differences(old, new)
        if schema.version < start or (schema.version == start and not lines):
            continue
        if schema.version > start and _leads(registry, schema, start):
            continue
        to = max(schema.version, start + 1)
        given = guesses(
            old,
            new,
            schema.cls,
            (before or {}).get(schema.name, []),
            (after or {}).get(schema.name, []),
        )
        found.append(Draft(schema, start, to, old, new, given, schema.version == start, lines))
    return found


def _leads(registry: Registry, schema: Schema, start: int) -> bool:
    try:
        registry.path(schema.name, start, schema.version)
    except MissingMigrationError:
        return False
    except SchemaError:  # two paths of one length: a step is there
        return True
    return True


def settle(draft: Draft, answers: Mapping[str, Any] | None = None, ask: Ask | None = None) -> Draft:
    """Decide which fields were renamed, and work out the steps.

    Args:
        draft: whose guesses are settled.
        answers: old name -> new name, or None or "" for a field that is gone.
        ask: is asked about each guess that is open, best first: True, False, or None for "not
            known", which takes the guess where it is likely.

    Raises:
        SchemaError: an answer names a field that is not there.
    """
    answers = answers or {}
    for old, new in answers.items():
        _refuse_unknown(draft, old, new)
        if new:
            draft.renames[old] = new
    closed = set(answers)
    for guess in draft.guesses:
        if guess.old in closed or guess.new in draft.renames.values():
            continue
        said = ask(draft, guess) if ask is not None else None
        if said or (said is None and guess.score >= LIKELY):
            draft.renames[guess.old] = guess.new
            closed.add(guess.old)
    _work_out(draft)
    if ask is None:
        taken = {*closed, *draft.renames}
        for guess in draft.guesses:
            is_open = guess.old not in taken and guess.new not in draft.renames.values()
            if is_open and guess.score >= DOUBTFUL:
                draft.questions.append(f"whether {guess.old!r} was renamed to {guess.new!r}")
                taken.add(guess.old)
    return draft


def _refuse_unknown(draft: Draft, old: str, new: Any) -> None:
    missing = (
        old
        if draft.old.field(old) is None
        else new
        if new and draft.new.field(new) is None
        else None
    )
    if missing is not None:
        raise SchemaError(
            f"the answers for {draft.schema.name!r} name {missing!r}, which is no field of it.",
            remedy=f"Before: {', '.join(draft.old.names)}. Today: {', '.join(draft.new.names)}.",
            schema=draft.schema.name,
        )


def _work_out(draft: Draft) -> None:
    old, new = draft.old, draft.new
    draft.calls, draft.questions = [], []
    was_tuple, is_tuple = _is_tuple(old), _is_tuple(new)
    if (old.kind == CODEC and not old.fields) or (new.kind == CODEC and not new.fields):
        draft.questions.append(
            f"what __getstate__ of version {draft.start} gave cannot be read from the source: turn the state "
            f"of version {draft.start} into that of version {draft.to}"
        )
        return
    if was_tuple and len(old.arities) > 1:
        draft.questions.append(
            f"version {draft.start} has tuples of {' and of '.join(map(str, old.arities))}"
        )
        return
    if was_tuple:
        draft.calls.append(f"unpack({_listed(old.names)})")
    if draft.renames:
        pairs = list(draft.renames.items())
        inside = _listed(pairs[0]) if len(pairs) == 1 else _dict(pairs)
        draft.calls.append(f"rename({inside})")
    gone = [f.name for f in old.fields if f.name not in draft.renames and new.field(f.name) is None]
    if gone:
        draft.calls.append(f"drop({_listed(gone)})")
    for field in old.fields:
        other = new.field(draft.renames.get(field.name, field.name))
        if other is not None:
            _convert(draft, field, other)
    for field in new.fields:
        if field.name not in draft.renames.values() and old.field(field.name) is None:
            _add(draft, field)
    if is_tuple:
        draft.calls.append(f"pack({_listed(new.names)})")


def _is_tuple(layout: ClassLayout) -> bool:
    return layout.kind == CODEC and bool(layout.arities)


def _listed(names: Any) -> str:
    return ", ".join(_quoted(name) for name in names)


def _quoted(value: object) -> str:
    """A literal, text in double quotes as a formatter has it."""
    if type(value) is str and '"' not in value and "\\" not in value and value.isprintable():
        return f'"{value}"'
    return repr(value)


def _dict(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{_quoted(a)}: {_quoted(b)}" for a, b in pairs) + "}"


_BUILTIN = {"int", "float", "str", "bool", "list", "tuple", "set", "complex"}
# Both ways without a loss worth a question: a text that is no number fails with a clear error.
_BOTH_WAYS = [{"int", "float"}, {"int", "str"}, {"float", "str"}, {"list", "tuple"}, {"int", "bool"},
              {"float", "complex"}, {"list", "set"}]  # fmt: skip


def _retyped(old: FieldLayout, new: FieldLayout) -> bool:
    differs = bool(old.type and new.type and old.type != new.type)
    return differs or old.dtype != new.dtype or old.shape != new.shape


def _convert(draft: Draft, old: FieldLayout, new: FieldLayout) -> None:
    name = _quoted(new.name)
    if new.dtype and old.dtype != new.dtype:
        was = f', was="{old.dtype}"' if old.dtype else ""
        draft.calls.append(f'astype({name}, "{new.dtype}"{was})')
    if old.shape != new.shape and old.shape is not None and new.shape is not None:
        sizes = [None if None in one else math.prod(one) for one in (old.shape, new.shape)]  # type: ignore[arg-type]
        if sizes[0] is not None and sizes[0] == sizes[1]:
            draft.calls.append(f"reshape({name}, {new.shape}, was={old.shape})")
        elif old.shape == new.shape[::-1]:
            draft.calls.append(f"transpose({name})")
        else:
            draft.questions.append(
                f"{new.name!r} was of shape {old.shape}, and is of shape {new.shape}"
            )
    if not (old.type and new.type) or old.type == new.type:
        return
    before, today = old.type.partition("[")[0], new.type.partition("[")[0]
    if before == today or {*before.split(" | ")} <= {*new.type.split(" | ")}:
        return  # every old value is of the new type, too
    if {before, today} in _BOTH_WAYS:
        draft.calls.append(f"convert({name}, {today}, inverse={before})")
    else:
        draft.questions.append(f"{new.name!r} was {old.type}, and is {new.type}")


def _add(draft: Draft, field: FieldLayout) -> None:
    declared = next((f for f in draft.schema.fields or () if f.name == field.name), None)
    name = _quoted(field.name)
    if declared is not None and declared.factory is not None:
        made = getattr(declared.factory, "__name__", "")
        if made in ("list", "dict", "set", "tuple"):
            draft.calls.append(f"add({name}, factory={made})")
            return
    default = ABSENT if declared is None else declared.default
    if default is not ABSENT and _is_literal(default):
        draft.calls.append(f"add({name}, {_quoted(default)})")
    elif declared is None or not declared.has_default:
        draft.questions.append(
            f"what {field.name!r} was in states of version {draft.start}, which have no such field"
        )


def _is_literal(value: object) -> bool:
    import ast

    if type(value) is float and not math.isfinite(value):
        return False
    try:
        return bool(type(ast.literal_eval(repr(value))) is type(value))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False

"""Run the steps of one instance.

The states of the classes of an MRO are upgraded base first. If a file states which class owns which
field (an envelope), the steps of a class get its own fields only. Otherwise (an unversioned state, a
base under the codec of a subclass) all fields are in one dict: the steps of a class get those that no
other class owns now. A field that they read and do not return is removed; one that they never read is
kept (`Watched` records the reads). A field of a class without steps is found by its name, but not listed:
it may have moved there since the step was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from persist import ops
from persist._envelope import (
    INSIDE,
)
from persist._trees.copier import arrays_in, has_no_arrays
from persist._upgrade import compiled
from persist._upgrade.failures import failed
from persist._upgrade.items import NamedItems
from persist._upgrade.sorting import join, sort_fields
from persist._upgrade.target import InstanceUpgrade, StatePart, owner_of, subclass_piece
from persist._upgrade.transfers import Run, has_transfers, runs
from persist._upgrade.watched import Watched
from persist.errors import (
    MigrationFailedError,
    SchemaError,
)
from persist.ops import Instead
from persist.registry import Migration
from persist.tree import LazyArray, Record

__all__ = ["read_lazy", "run_steps"]


def run_steps(
    case: InstanceUpgrade,
    *,
    record: Record | None = None,
    memo: dict[object, object] | None = None,
    unknown: str = "warn",
) -> InstanceUpgrade:
    """Do the steps of a case that was surveyed, and sort the fields to their classes.

    Args:
        case: what `plan_instance` gave.
        record: the second argument of steps that take two.
        memo: shared by the steps of one run.
        unknown: the treatment of undeclared fields: "warn" and "drop" leave them
            out (and name them in the case), "keep" keeps them, "error" refuses them.

    Raises:
        MigrationFailedError: a step raised, chained.
        SchemaError: a field is missing that has no default; or as ``unknown`` says.
    """
    memo = {} if memo is None else memo
    pieces = case.pieces
    if case.has_transfers and any(has_transfers(path.steps) for path in case.version_paths):
        return _run_ordered(case, record, memo, unknown)
    for piece in pieces:
        if piece.kind == INSIDE:
            subclass = subclass_piece(pieces, piece)
            if subclass is not None and piece.version_path is not None and piece.version_path.steps:
                subclass.value = _run_shared(piece, subclass.value, pieces, memo)
            continue
        if piece.part is None and piece is not pieces[-1]:
            piece.value = _run(piece, record, memo, case)
            join(piece, pieces[-1])
            continue
        inside = any(other.kind == INSIDE for other in pieces)
        if (
            inside
            and isinstance(piece.value, dict)
            and piece.version_path is not None
            and piece.version_path.steps
        ):
            result = _run_shared(piece, piece.value, pieces, memo, record, case)
        else:
            result = _run(piece, record, memo, case)
        if case.replaces(result):
            case.instead = result.value if isinstance(result, Instead) else result
            return case
        piece.value = result
    for piece in case.added:
        owner = owner_of(piece, pieces)
        assert owner is not None
        owner.value = _run_shared(piece, owner.value, [*case.added, *pieces], memo)
    sort_fields(case, unknown)
    return case


def _run_ordered(
    case: InstanceUpgrade, record: Record | None, memo: dict[object, object], unknown: str
) -> InstanceUpgrade:
    """Do the steps of a case in which fields change their owner."""
    pieces = case.pieces
    by_name = {piece.name: piece for piece in pieces}
    for run in runs({
        piece.name: () if piece.version_path is None else piece.version_path.steps
        for piece in pieces
    }):  # fmt: skip
        piece = by_name[run.schema]
        for op in run.steps[0].transfers:
            if isinstance(op, ops.from_base):
                _hand_over(by_name[op.base], piece, op.names, pieces)
        result = _result_of(run, piece, case, record, memo)
        if case.replaces(result):
            case.instead = result.value if isinstance(result, Instead) else result
            return case
        for op in run.steps[-1].transfers:
            if isinstance(op, ops.to_base):
                _hand_over(piece, by_name[op.base], op.names, pieces)
    for piece in pieces[:-1]:
        if piece.part is None and piece.kind != INSIDE:
            join(piece, pieces[-1])
    for piece in case.added:
        owner = owner_of(piece, pieces)
        assert owner is not None
        owner.value = _run_shared(piece, owner.value, [*case.added, *pieces], memo)
    sort_fields(case, unknown)
    return case


def _result_of(
    run: Run,
    piece: StatePart,
    case: InstanceUpgrade,
    record: Record | None,
    memo: dict[object, object],
) -> object:
    """The result of a run of steps; where it is no other value, the state is set."""
    pieces = case.pieces
    if piece.kind == INSIDE:
        subclass = subclass_piece(pieces, piece)
        if subclass is not None:
            subclass.value = _run_shared(piece, subclass.value, pieces, memo, run=run)
        return None
    is_shared = any(other.kind == INSIDE for other in pieces) and isinstance(piece.value, dict)
    if is_shared:
        result = _run_shared(piece, piece.value, pieces, memo, record, case, run)
    else:
        result = _run(piece, record, memo, case, run.steps)
    if not case.replaces(result):
        piece.value = result
    return result


def _hand_over(
    giver: StatePart, taker: StatePart, names: Iterable[str], pieces: list[StatePart]
) -> None:
    """Move fields from the state of one class to that of another; in a shared state they stay."""
    for name in names:
        source, target = _holder_of(giver, name, pieces), _holder_of(taker, name, pieces)
        if source is target or not isinstance(source, dict) or name not in source:
            continue
        if not isinstance(target, dict) or name in target:
            said = (
                f"there is a {name!r} already"
                if isinstance(target, dict)
                else f"its state is a {type(target).__name__}"
            )
            raise SchemaError(
                f"the field {name!r} cannot be handed from {giver.name!r} to {taker.name!r}: {said}.",
                remedy="Rename or drop one of them in a step before (persist.ops.rename, drop).",
                schema=giver.name,
                field=name,
            )
        target[name] = source.pop(name)


def _holder_of(piece: StatePart, name: str, pieces: list[StatePart]) -> object:
    """Where a field of a class is: in its own state, or in the one that it shares."""
    if piece.kind != INSIDE:
        return piece.value
    if name[:2] == "__":
        return piece.private
    subclass = subclass_piece(pieces, piece)
    return None if subclass is None else subclass.value


def _run(
    piece: StatePart,
    record: Record | None,
    memo: dict[object, object],
    case: InstanceUpgrade,
    steps: tuple[Migration, ...] | None = None,
) -> object:
    state = piece.value
    if steps is None:
        steps = () if piece.version_path is None else piece.version_path.steps
    if not steps:
        return state
    if not piece.done and type(state) is dict:
        written = compiled.advance(steps, failed, read_lazy)
        if written is not None:
            state = written(state, memo)
            if type(state) is dict:
                return state
            piece.done, state = state.done, state.value
    if piece.done:  # compiled code left the check of its last result to us
        state = _looked_at(steps[piece.done - 1], state, record)
    for step in steps[piece.done :]:
        if case.replaces(state):
            return state
        state = _step(step, state, record, memo)
    return state


def _step(
    step: Migration, state: object, record: Record | None, memo: dict[object, object]
) -> object:
    if step.function is not None and isinstance(state, dict | list | tuple):
        state = read_lazy(state)
        if isinstance(state, Watched):
            state.seen.clear()
    if step.ops and isinstance(state, NamedItems):
        # `unpack` names the parts itself; every other step finds fields by name.
        state = tuple(state) if isinstance(step.ops[0], ops.unpack) else dict(state.items())
    if record is not None:
        record.state = state
    try:
        result = step.up(state, record, memo)
    except Exception as error:  # user code may raise anything
        if isinstance(error, SchemaError) and error.facts.get("nested"):
            raise  # raised once, and not once for each of the loads inside each other
        raise failed(step, state, error) from error
    return _looked_at(step, result, record)


def _looked_at(step: Migration, result: object, record: Record | None) -> object:
    """The result of a step; for a returned record, its state. None is refused."""
    if record is not None and result is record:
        result = record.state
    if result is None:
        raise MigrationFailedError(
            f"the step {step} returns None.",
            remedy="It must return the newer state (or ops.Instead(None) to leave None in its place).",
            schema=step.schema,
            step=(step.start, step.to),
        )
    return result


def read_lazy(state: object) -> Any:
    """Read each `LazyArray` in a state: functions of steps must get arrays."""
    if has_no_arrays(state.values() if isinstance(state, dict) else state):
        return state
    lazies = [found for found in arrays_in(state) if isinstance(found[2], LazyArray)]
    for holder, key, lazy in lazies:
        if isinstance(holder, tuple):
            if holder is state:
                state = tuple(
                    item.read() if isinstance(item, LazyArray) else item for item in state
                )
            continue
        holder[key] = lazy.read()
    return state


def _run_shared(
    piece: StatePart,
    whole: object,
    pieces: list[StatePart],
    memo: dict[object, object],
    record: Record | None = None,
    case: InstanceUpgrade | None = None,
    run: Run | None = None,
) -> object:
    """Run the steps of one class on its share of a dict that several classes share."""
    if not isinstance(whole, dict):
        return whole
    assert piece.version_path is not None
    run = Run(piece.name, piece.version_path.steps) if run is None else run
    mine, rest = _shares(piece, whole, pieces, run)
    moved = {name: rest[name] for name in _reached(piece, pieces, run) if name in rest}
    reach = frozenset(moved)
    is_leaf = piece is pieces[-1]
    for step in run.steps:
        if not isinstance(mine, dict):
            mine = _step(step, mine, record, memo)
            continue
        watched = Watched(mine, moved)
        try:
            result = _step(step, watched, record, memo)
        except MigrationFailedError as error:
            out_of_sight = [name for name in rest if name not in reach]
            error.remedy += _hidden_text(out_of_sight, piece, pieces)
            raise
        if case.replaces(result) if case is not None else isinstance(result, Instead | Record):
            if is_leaf:
                return result
            raise SchemaError(
                f"the step {step} of a base class replaces the whole instance.",
                remedy="Only the steps of the instance's own class can.",
                schema=step.schema,
            )
        if isinstance(result, dict):
            kept = {name: item for name, item in mine.items() if name not in watched.seen}
            given = dict(dict.items(result))
            mine = {**{name: kept[name] for name in kept if name not in given}, **given}
        elif is_leaf and not rest:
            mine = result
        else:
            raise MigrationFailedError(
                f"the step {step} returns a {type(result).__name__}.",
                remedy="The state is shared with its base classes: return a dict of fields.",
                schema=step.schema,
                step=(step.start, step.to),
            )
    for name in reach - moved.keys():
        rest.pop(name, None)  # a step took it out
    if piece.private and isinstance(mine, dict):
        piece.private = {
            name: mine.pop(name) for name in list(mine) if name in piece.private or name in rest
        }
    return {**rest, **mine} if isinstance(mine, dict) else mine


def _shares(
    piece: StatePart, whole: dict[object, object], pieces: list[StatePart], run: Run
) -> tuple[Any, dict[Any, Any]]:
    """The fields that the steps of one class see of a shared dict, and the rest."""
    hidden = {
        name
        for other in pieces
        if other is not piece and other.part is not None
        for name in other.part.names
    }
    if piece.part is not None:
        hidden -= piece.part.names
    hidden = (hidden - run.owned) | run.foreign
    if piece is not pieces[-1]:
        hidden |= pieces[-1].hides - run.owned
    rest = {name: item for name, item in whole.items() if name in hidden}
    mine = {name: item for name, item in whole.items() if name not in hidden}
    for name in piece.private.keys() & mine.keys():
        rest[name] = mine.pop(name)  # a private field of the same name, of the instance's own class
    mine.update(piece.private)
    return mine, rest


def _reached(piece: StatePart, pieces: list[StatePart], run: Run) -> Iterator[str]:
    """The fields of other classes that the steps of one find by name.

    They are those of classes without steps, and of those to which it hands fields later: a field may
    have had a name that the other class uses today.
    """
    for other in pieces:
        is_done = other.version_path is None or not other.version_path.steps
        is_open = is_done or other.name in run.others
        if other is not piece and other.part is not None and is_open:
            yield from (name for name in other.part.names if name not in pieces[-1].hides)


def _hidden_text(names: list[object], piece: StatePart, pieces: list[StatePart]) -> str:
    """What to do about fields that the steps of a class do not find, since another has them now."""
    for other in pieces:
        if other is not piece and other.part is not None and other.version_path is not None:
            own = [str(name) for name in names if name in other.part.names]
            if own and other.version_path.steps and piece.version_path is not None:
                last = piece.version_path.steps[-1]
                return (
                    f" {', '.join(own)} belong to {other.name!r} today, whose steps come first. If fields moved "
                    f"there from {piece.name!r}, say so in the step with which they did, for instance "
                    f"persist.migration({piece.name!r}, {last.start}, persist.ops.to_base({other.name!r}, "
                    f"{', '.join(map(repr, own))})): then the steps of {piece.name!r} up to it come first, by every route."
                )
    return ""

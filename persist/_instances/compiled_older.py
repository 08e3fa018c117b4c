"""Compiled loading of older states: one function for each class and version of a file.

The steps are the lines that `persist._upgrade.compiled` generates; before them the arrays among the
values become read-only, after them the fields are set. Anything that these lines do not cover
continues on the general path of `persist._instances.adapter` from that point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from persist import ops
from persist._envelope import FIELDS
from persist._instances.inert_views import holds_instances
from persist._instances.waiting import SESSION, unset_in
from persist._trees.copier import SCALAR, has_no_arrays
from persist._upgrade import compiled as upgrade_compiled
from persist._upgrade.failures import failed
from persist._upgrade.running import read_lazy
from persist._upgrade.state import freeze, roots_of, thaw
from persist._upgrade.target import InstanceUpgrade
from persist._upgrade.transfers import has_transfers
from persist.errors import PersistError
from persist.registry._declarations import EPOCH
from persist.schema import dotted

if TYPE_CHECKING:
    from persist._instances.adapter import ClassAdapter
    from persist.registry._declarations import Migration

__all__ = ["compiled", "load_plain_dict"]

_LOAD = """
def load(self, state):
    try:
        _, {values} = state
        if SESSION.entries or not ({fitting}):
            raise ValueError
{unpacked}
    except ValueError:
        return GENERAL(self, state)
    frozen = None
    if not ({plain}):
        if UNSET(state, DECLARED):
            return GENERAL(self, state)
        frozen = FREEZE(state)
    at = part = 0
{memo}    try:
{steps}
    except Left as left:
        REST(self, state, left.done, frozen)
        return
    except Exception as error:
        raise FAILED(STEPS[part][at], before, error) from error
    finally:
        if frozen is not None:
            for array in frozen.values():
                array.flags.writeable = True
    if frozen:
        THAW(frozen, {states})
{finish}
"""

_APPLY = """
    if {whole}:
        try:
            {put}
            return
        except (KeyError, AttributeError, TypeError):  # the general path reports it
            pass
    REST(self, state, {done})
"""


class Left(Exception):
    """The result of a step is not covered by the compiled lines."""

    def __init__(self, done: list[tuple[object, int]]) -> None:
        self.done = done


class CompiledSteps(NamedTuple):
    """The field names in the file and the migrations of one class of the MRO."""

    names: tuple[str, ...]
    steps: tuple[Migration, ...]


def compiled(
    adapter: ClassAdapter, case: InstanceUpgrade, state: object
) -> Callable[[Any, Any], None] | None:
    """Return the function ``(instance, state)`` that loads states with this header, or None.

    Args:
        adapter: of the current class.
        case: the plan for a first state with this header.
        state: that state.
    """
    routes = _steps_of(adapter, case, state)
    if routes is None:
        return None
    space: dict[str, Any] = {
        "__name__": __name__,
        "SESSION": SESSION,
        "Left": Left,
        "GENERAL": adapter.load_general,
        "UNSET": _meets(step for route in routes for step in route.steps),
        "DECLARED": lambda cls: adapter.registry.declared(cls) is not None,
        "FREEZE": _frozen,
        "THAW": _thawed,
        "FAILED": _failing(adapter),
        "STEPS": [route.steps for route in routes],
        "REST": adapter.load_rest,
        "PUT": object.__setattr__,
        "SCALAR": SCALAR,
        "PLAIN": has_no_arrays,
    }
    source = _source(adapter, routes, state, space)
    upgrade_compiled.compiled(source, f"__setstate__ of older {dotted(adapter.cls)}", space)
    function: Callable[[Any, Any], None] = space["load"]
    return function


def load_plain_dict(adapter: ClassAdapter, obj: object, state: dict[object, object]) -> bool:
    """Load a state without an envelope, a dict as plain pickle writes it, if its steps are compiled.

    Returns:
        True if the state was loaded; otherwise nothing was done.
    """
    profile = adapter.profile
    if not profile.has_one_part or not profile.is_fields or profile.is_open or adapter.is_ordered:
        return False
    if any(type(name) is not str or name[:1] == "_" for name in state):
        return False
    schema = adapter.schema
    try:
        version, _ = adapter.registry.stamp_of(schema.name, state)
        steps, epoch = adapter.bare_ways.get(version, ((), -1))
        if epoch != EPOCH[0]:
            epoch, ahead = EPOCH[0], version < schema.version
            steps = (
                tuple(adapter.registry.path(schema.name, version, schema.version)) if ahead else ()
            )
            adapter.bare_ways[version] = (steps, epoch)
    except PersistError:  # the general path reports it, with the place
        return False
    if has_transfers(steps):
        return False
    written = upgrade_compiled.advance(steps, failed, read_lazy) if steps else None
    if written is None:
        return False
    is_plain = has_no_arrays(state.values())
    if not is_plain:
        meets = _meets(steps)
        if meets(state, lambda cls: adapter.registry.declared(cls) is not None):
            return False
    frozen = _frozen((None, state.values())) if not is_plain else {}
    try:
        given = written(dict(state), {})
        if type(given) is not dict:
            adapter.load_rest(obj, state, [(given.value, given.done)], frozen)
            return True
    except PersistError as error:
        raise error.at(where=f"record {dotted(adapter.cls)!r}") from error.__cause__
    finally:
        for array in frozen.values():
            array.flags.writeable = True
    if frozen:
        _thawed(frozen, given)
    if given.keys() != adapter.names:
        adapter.load_rest(obj, state, [(given, len(steps))])
    else:
        adapter.take_fields(obj, given)
    return True


def _meets(steps: Iterable[Migration]) -> Callable[[Any, Callable[[type], bool]], object]:
    """The test of a state for what these steps may not see: any instance, or one without a state."""
    is_blind = all(map(_moves_fields_only, (op for step in steps for op in (step.ops or (None,)))))
    return unset_in if is_blind else holds_instances


def _moves_fields_only(op: ops.Op | None) -> bool:
    """True if a ready-made step never looks into the values of fields."""
    if isinstance(op, ops.rename):
        return not any("/" in name for name in (*op.names, *op.names.values()))
    if isinstance(op, ops.add):
        return op.computed is None and "/" not in op.name
    return isinstance(op, ops.drop) and not any("/" in name for name in op.names)


def _steps_of(
    adapter: ClassAdapter, case: InstanceUpgrade, state: Any
) -> list[CompiledSteps] | None:
    """The steps of each class; None unless all states are fields, one for each class in the envelope."""
    parts = adapter.layout.parts
    profile = adapter.profile
    if not case.is_migrated or case.items is not None:
        return None
    if case.has_transfers or adapter.is_ordered:
        return None
    if not profile.is_fields or profile.is_open:
        return None
    if sum(len(layer[4]) for layer in state[0][2]) > 1000:
        return None
    if len(case.pieces) != len(parts) or len(case.version_paths) != len(parts):
        return None
    routes = []
    for part, piece, layer, version_path in zip(
        parts, case.pieces, state[0][2], case.version_paths, strict=True
    ):
        if part.kind != FIELDS or piece.kind != FIELDS or piece.part is None:
            return None
        if piece.part.schema.name != part.schema.name or not upgrade_compiled.can_be_written(
            version_path.steps
        ):
            return None
        routes.append(CompiledSteps(layer[4], version_path.steps))
    return routes


def _source(
    adapter: ClassAdapter, routes: Sequence[CompiledSteps], state: Any, space: dict[str, object]
) -> str:
    numbers = range(len(routes))
    fitting = " and ".join(f"type(w{n}) is tuple" for n in numbers)
    unpacked: list[str] = []
    plain: list[str] = []
    steps: list[str] = []
    for n, route in enumerate(routes):
        values = [f"v{n}_{m}" for m in range(len(route.names))]
        if values:
            unpacked.append(f"        {', '.join(values)}, = w{n}")
        pairs = zip(route.names, values, strict=True)
        unpacked.append(f"        s{n} = {{{', '.join(f'{name!r}: {v}' for name, v in pairs)}}}")
        plain += map(_is_plain, values, state[n + 1])
    done = [f"(s{n}, {len(route.steps)})" for n, route in enumerate(routes)]
    for n, route in enumerate(routes):
        if not route.steps:
            continue
        before, after = done[:n], [f"(s{m}, 0)" for m in numbers[n + 1 :]]
        parts = ", ".join([*before, f"(s{n}, {{done}})", *after])
        steps.append(f"        part = {n}")
        steps += upgrade_compiled.lines(route.steps, f"s{n}", space, odd=f"raise Left([{parts}])")
    space_of = {
        "values": ", ".join(f"w{n}" for n in numbers),
        "fitting": fitting,
        "unpacked": "\n".join(unpacked),
        "plain": " and ".join(plain) or "True",
        "memo": "    memo = {}\n"
        if any(step.ops for route in routes for step in route.steps)
        else "",
        "steps": "\n".join(steps),
        "states": ", ".join(f"s{n}" for n in numbers),
        "finish": _finish(adapter, routes, f"[{', '.join(done)}]"),
    }
    return _LOAD.format(**space_of)


def _finish(adapter: ClassAdapter, routes: Sequence[CompiledSteps], done: str) -> str:
    """The lines that set all fields directly, if loading takes nothing more; else the general path."""
    owned = [part.fields for part in adapter.layout.parts]
    if not adapter.profile.is_bare or adapter.profile.converters:
        return f"    REST(self, state, {done})"
    fields = [(n, field) for n, own in enumerate(owned) for field in own]
    if not fields:
        return f"    REST(self, state, {done})"
    whole = " and ".join(f"len(s{n}) == {len(own)}" for n, own in enumerate(owned))
    values = ", ".join(f"s{n}[{field.name!r}]" for n, field in fields) + ","
    attributes = [field.attribute for _, field in fields]
    setter: object = adapter.cls.__setattr__
    if setter is object.__setattr__ and all(map(upgrade_compiled.is_ordinary, attributes)):
        put = [f"{', '.join(f'self.{name}' for name in attributes)}, = {values}"]
    else:
        names = ", ".join(f"f{m}" for m in range(len(fields))) + ","
        puts = [f"PUT(self, {name!r}, f{m})" for m, name in enumerate(attributes)]
        put = [f"{names} = {values}", *puts]
    return _APPLY.format(whole=whole, put="\n            ".join(put), done=done)


def _is_plain(name: str, sample: object) -> str:
    """The condition for a value without arrays, with a fast test for values like the first one."""
    if type(sample) is tuple and len(sample) <= 8 and has_no_arrays((sample,)):
        each = "".join(f" and type({name}[{n}]) in SCALAR" for n in range(len(sample)))
        return f"(type({name}) is tuple and len({name}) == {len(sample)}{each} or PLAIN(({name},)))"
    return f"(type({name}) in SCALAR or PLAIN(({name},)))"


def _frozen(state: tuple[Any, ...]) -> dict[int, Any]:
    """Make the arrays of a state read-only while its steps run."""
    frozen: dict[int, object] = {}
    for value in chain.from_iterable(state[1:]):
        if type(value) is np.ndarray:
            if value.flags.writeable:
                value.flags.writeable = False
                frozen[id(value)] = value
        elif not has_no_arrays((value,)):
            freeze([value], frozen)
    return frozen


def _thawed(frozen: dict[int, object], *states: Any) -> None:
    """Make the views writable that steps took of arrays frozen for them."""
    roots = roots_of(frozen)
    for state in states:
        arrays = [value for value in state.values() if not has_no_arrays((value,))]
        if not all(id(value) in frozen for value in arrays):
            thaw(arrays, roots)


def _failing(adapter: ClassAdapter) -> Callable[..., Exception]:
    def failing(step: Migration, before: object, error: Exception) -> Exception:
        return failed(step, before, error).at(where=f"record {dotted(adapter.cls)!r}")

    return failing

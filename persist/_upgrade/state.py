"""The state of a record: find it in any spelling, write it in the current layout, protect its arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from persist._envelope import CODEC, FIELDS, INSIDE, Layer, seal, unwrap, wrap
from persist._torch_modules.classes import MODULE
from persist._trees.copier import arrays_in, has_no_arrays, parts_within
from persist._upgrade.items import contents_of, item_fields
from persist._upgrade.private_names import has_private_names
from persist._upgrade.target import InstanceUpgrade, TargetLayout, TargetPart
from persist.schema import Schema
from persist.tree import ABSENT, Record
from persist.typing import Array

__all__ = [
    "freeze",
    "roots_of",
    "state_of",
    "states_of_today",
    "take_array",
    "take_factory",
    "thaw",
    "today_state",
]


def state_of(record: Record, schema: Schema | None = None) -> Any:
    """Return the value that stamps and steps get for a record: its state, or its arguments.

    A class whose pickles pass everything to a function (``__reduce__``, ``__getinitargs__``) has no
    separate state; then the tuple of arguments is its state. ABSENT if there is neither.
    """
    if schema is not None and schema.cls is not None and MODULE in vars(schema.cls):
        from persist._torch_modules.states import normal_state

        record.state = normal_state(record.state)
    if record.state is not ABSENT or not record.args:
        return record.state
    cls = schema.cls if schema is not None else None
    if cls is not None and issubclass(cls, BaseException | set | frozenset | np.ndarray):
        return ABSENT
    if record.kind in ("reduce", "inst", "obj"):
        return record.args
    if record.version is not None or cls is None:
        return ABSENT
    if _takes_arguments(cls) and not item_fields(cls):
        return ABSENT
    args = contents_of(record).args
    if record.kind == "reconstructor" and len(args) == 1 and isinstance(args[0], tuple):
        args = args[0]  # of a subclass of tuple
    return args or ABSENT


def _takes_arguments(cls: type) -> bool:
    """Whether instances of a class are made of arguments, which then are no state."""
    held = (tuple, int, float, complex, str, bytes)
    return issubclass(cls, held) or any(
        hasattr(cls, name) for name in ("__getnewargs__", "__getnewargs_ex__")
    )


def take_array(record: Record) -> None:
    """Split the state of a pickled ndarray subclass into its array (an argument) and the rest.

    Source: ``ndarray.__reduce__``: ``(version, shape, dtype, is_fortran, data)``; subclasses
    append to that tuple, or wrap it in a pair.
    """
    state, rest = record.state, ABSENT
    if type(state) is tuple and len(state) == 2 and type(state[0]) is tuple:
        state, rest = state
    if type(state) is not tuple or len(state) < 5 or not isinstance(state[2], np.dtype):
        return
    if rest is ABSENT and len(state) > 5:
        rest = state[5] if len(state) == 6 else state[5:]
    _, shape, dtype, fortran, data = state[:5]
    if isinstance(data, list) and dtype.kind == "O":
        array: Array = np.empty(len(data), object)
        array[:] = data
    elif isinstance(data, bytes) and not dtype.hasobject:
        array = np.frombuffer(data, dtype)
    else:
        return
    record.args = (record.cls, array.reshape(shape, order="F" if fortran else "C"))
    record.state = rest


def take_factory(record: Record) -> None:
    """Make the factory of a pickled defaultdict subclass, an argument there, the field that it is here.

    Source: ``defaultdict.__reduce__``: ``(type, (factory,) or (), state, None, items)``.
    """
    state = {} if record.state is ABSENT else record.state
    if record.version is None and len(record.args) <= 1 and type(state) is dict:
        factory = record.args[0] if record.args else None
        record.state, record.args = {"default_factory": factory, **state}, ()


def today_state(case: InstanceUpgrade) -> Any:
    """Return an upgraded state in the form that `Record.state` and ``restore_state`` take."""
    target = case.target
    if len(target.parts) == 1:
        ((part, state),) = case.states
        if part.kind == CODEC:
            return state
        if all(field.has_default or field.name in state for field in part.fields):
            return {**state, **case.extra}
    values: list[Any] = []
    names: list[Any] = []
    for part in target.parts:
        found = next((state for own, state in case.states if own is part), ABSENT)
        if part.kind in (FIELDS, INSIDE) and found is not ABSENT:
            fields = {**found, **(case.extra if part is target.leaf else {})}
            names.append(tuple(fields))
            values.append(tuple(fields.values()))
        else:
            is_tuple = part.kind == CODEC and type(found) is tuple
            names.append(len(found) if is_tuple else None)
            values.append(None if found is ABSENT else found)
    return wrap(_header(target, tuple(names)), values)


def _header(target: TargetLayout, names: tuple[Any, ...]) -> tuple[Any, ...]:
    """The header of the current versions for these names: one shared object, so that a file holds it once."""
    header = target.headers.get(names)
    if header is None:
        layers = []
        for part, own in zip(target.parts, names, strict=True):
            schema = part.schema
            kind = part.kind
            if kind == INSIDE and own is not None:
                kind = FIELDS  # the private fields of a base
            elif kind == INSIDE:
                own = tuple(field.name for field in part.fields)
            layers.append(Layer(schema.name, schema.version, schema.fingerprint, kind, own))
        header = target.headers[names] = seal(layers)
    return header


def states_of_today(target: TargetLayout, state: object) -> list[tuple[TargetPart, object]] | None:
    """Return the state of each class in a current state: the inverse of `today_state`.

    None if the state is in any other form, so that its versions and fields must be found out:
    fields are missing or left over, or its envelope is not of the current classes.
    """
    if len(target.parts) == 1 and target.leaf.kind == FIELDS and type(state) is dict:
        part = target.leaf
        is_whole = all(field.has_default or field.name in state for field in part.fields)
        return [(part, dict(state))] if is_whole and _are_fields(target, part, state) else None
    if len(target.parts) == 1 and target.leaf.kind == CODEC and type(state) is not tuple:
        if isinstance(state, dict) and has_private_names(state):
            return None
        return [(target.leaf, None if state is ABSENT else state)]
    envelope = unwrap(state)
    if envelope is None or len(envelope.layers) != len(target.parts):
        return None
    found: list[tuple[TargetPart, Any]] = []
    for part, layer, value in zip(target.parts, envelope.layers, envelope.values, strict=True):
        schema = part.schema
        if layer[:4] != (schema.name, schema.version, schema.fingerprint, part.kind):
            return None
        if part.kind == FIELDS:
            value = dict(zip(layer.names, value, strict=True))
            if not schema.fingerprint or not _are_fields(target, part, value):
                return None
        if part.kind != INSIDE:
            found.append((part, value))
    return found


def _are_fields(target: TargetLayout, part: TargetPart, state: dict[object, object]) -> bool:
    """Whether all names in a state are fields of a class, and saved ones."""
    left = state.keys() - {field.name for field in part.fields}
    if not left:
        return True
    return part is target.leaf and target.is_open and left.isdisjoint(target.dropped)


# Arrays are read-only while steps run.


def freeze(
    value: object, frozen: dict[int, object], entered: dict[int, object] | None = None
) -> None:
    """Make every numeric array below a value read-only, and add those that were writable to ``frozen``.

    Steps get arrays that the source tree shares, so that an in-place write must fail. Arrays of
    objects are containers: the copier has copied them, and may still be filling them.

    Args:
        value: a state.
        frozen: array by its id.
        entered: the records that were entered before, by id, which are not entered again; None does
            not enter any.
    """
    if type(value) is dict and has_no_arrays(value.values()):
        return
    todo: list[object] = [value]
    while todo:
        for array in _arrays_of(todo.pop(), todo, entered):
            if not array.dtype.hasobject and array.flags.writeable:
                array.flags.writeable = False
                frozen[id(array)] = array


def _arrays_of(
    value: Any, todo: list[object], entered: dict[int, object] | None
) -> Iterator[Array]:
    """Yield the arrays below a value; the states of records below it are added to ``todo``."""
    if entered is None:
        yield from (array for _, _, array in arrays_in([value]) if isinstance(array, np.ndarray))
        return
    for found in parts_within(value, (np.ndarray, Record)):
        if type(found) is not Record:
            yield found
        elif id(found) not in entered:
            entered[id(found)] = found
            todo += [found.state] if found.is_bare else _parts(found)


def _parts(record: Record) -> list[object]:
    return [record.state, record.args, record.kwargs, record.listitems, record.dictitems]


def roots_of(frozen: dict[int, Any]) -> set[int]:
    """Return the ids of the objects that views of frozen arrays have as their ``base``."""
    return {id(one) for array in frozen.values() for one in (array, array.base)}


def thaw(value: object, roots: set[int]) -> None:
    """Make the views writable that steps took of frozen arrays.

    A view inherits the read-only flag of its base, and keeps it when the base is released.
    """
    for _, _, array in arrays_in([value]):
        if not isinstance(array, np.ndarray) or array.flags.writeable:
            continue
        if array.base is not None and id(array.base) in roots:
            array.flags.writeable = True

"""Laws that the steps of every schema must keep, tried on states made from the declared types.

up         a state of every released version goes up to today without an error, and nothing lacks
same       a step that runs twice on copies gives the same twice
inside     a step never writes into an array that it was given
back       up and then down gives what there was, where a step says how to go back (get-put),
           and up again gives what up gave (put-get)
compiled   the steps written out as one function give what they give one after the other
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from persist import ops
from persist._layouts.description import CODEC, ClassLayout, FieldLayout
from persist._upgrade import compiled
from persist._upgrade.failures import failed
from persist._upgrade.running import read_lazy
from persist.history.project import Project, find_project
from persist.ops._address import is_equal
from persist.registry import Registry
from persist.registry._declarations import Migration, takes_record
from persist.schema import Schema
from persist.tree import Global, LazyArray, Record
from persist.typing import Array

__all__ = ["LAWS", "Broken", "cases", "check_law", "check_schema", "laws", "state_strategy"]

LAWS = ("up", "same", "inside", "back", "compiled")
EXAMPLES = 25

# Steps whose downgrade loses rounding only: the law checks that upgrading again gives the same.
_ROUNDING = (ops.astype, ops.scale)


class Broken(AssertionError):
    """A step breaks a law."""


def laws(*modules: str, project: Project | None = None) -> Callable[..., None]:
    """Return a test of all laws, for pytest: ``test_laws = persist.testing.laws("lab.models")``.

    Args:
        modules: that declare the classes, in addition to those that ``[tool.persist]`` names.
        project: whose; the one of the working directory by default.
    """
    import pytest

    project = find_project(imports=modules) if project is None else project
    found = list(cases(project))

    @pytest.mark.parametrize(
        ("schema", "version", "law"), found, ids=[f"{s.name}-{v}-{law}" for s, v, law in found]
    )
    def test_law(schema: Schema, version: int, law: str) -> None:
        check_or_skip(project, schema, version, law)

    return test_law


def check_or_skip(project: Project, schema: Schema, version: int, law: str) -> None:
    """Try one law in pytest; skipped where no states of that version can be made."""
    import pytest

    layout = project.lock().schemas[schema.name].versions[version].layout
    try:
        state_strategy(layout)
    except LookupError as error:
        pytest.skip(f"no states of {schema.name} {version} can be made: {error}")
    check_law(law, schema, version, layout, project.load())


def cases(project: Project) -> Iterator[tuple[Schema, int, str]]:
    """Yield every (schema, released version, law) of a project."""
    project.load()
    lock = project.lock()
    for schema in project.schemas():
        locked = lock.schemas.get(schema.name)
        oldest = project.load().oldest_supported(schema.name)
        for version in sorted(locked.versions if locked is not None else ()):
            if version < schema.version and (oldest is None or version >= oldest.since):
                for law in LAWS:
                    yield schema, version, law


def check_schema(
    schema: str, version: int, *, project: Project | None = None, examples: int = EXAMPLES
) -> None:
    """Try all laws on the states of one released version.

    Raises:
        Broken: a step breaks one, with the state.
        LookupError: no states can be made, since a field's type is not declared.
    """
    project = find_project() if project is None else project
    registry = project.load()
    found = registry.schema_for(schema)
    locked = project.lock().schemas.get(schema)
    if found is None or locked is None or version not in locked.versions:
        raise LookupError(f"version {version} of {schema!r} is not in the lock file.")
    for law in LAWS:
        check_law(law, found, version, locked.versions[version].layout, registry, examples=examples)


def check_law(
    law: str,
    schema: Schema,
    version: int,
    layout: ClassLayout,
    registry: Registry,
    *,
    examples: int = EXAMPLES,
) -> None:
    """Try one law on states of one version.

    Args:
        law: one of `LAWS`.
        schema: as it is today.
        version: of the states.
        layout: of that version.
        registry: that knows the steps.
        examples: how many states are tried; always the same ones.

    Raises:
        Broken: a step breaks it, with the state.
        LookupError: no states can be made, since a field's type is not declared.
    """
    from hypothesis import HealthCheck, given, settings

    steps = registry.path(schema.name, version, schema.version)
    holds = _LAWS[law]

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(state_strategy(layout))
    def trial(state: object) -> None:
        holds(schema, steps, state)

    trial()


# States.


def state_strategy(layout: ClassLayout) -> Any:
    """Return a hypothesis strategy for states of a layout.

    Raises:
        LookupError: a field's type is not declared, or none that values can be made of.
    """
    from hypothesis import strategies as st

    fields = {field.name: _values(field) for field in layout.fields}
    if layout.kind == CODEC and layout.arities:
        return st.tuples(*list(fields.values())[: layout.arities[0]])
    return st.fixed_dictionaries(fields)


def _values(field: FieldLayout) -> Any:
    import ast

    if field.dtype or field.shape is not None:
        return _arrays(field.dtype or "<f8", field.shape)
    if not field.type:
        raise LookupError(f"no type is declared for {field.name!r}")
    return _of_type(ast.parse(field.type, mode="eval").body, field.name)


def _arrays(dtype: str, shape: Any) -> Any:
    from hypothesis.extra import numpy as hnp

    wanted: Any = hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=4)
    if shape is not None:
        wanted = tuple(2 if extent is None else extent for extent in shape)
    kind = np.dtype(dtype)
    more: dict[str, Any] = (
        {"allow_nan": False, "allow_infinity": False} if kind.kind in "fc" else {}
    )
    elements = hnp.from_dtype(kind, **more)
    return hnp.arrays(kind, wanted, elements=elements)


def _of_type(node: Any, name: str) -> Any:
    import ast

    from hypothesis import strategies as st

    plain: dict[str, Any] = {
        "int": st.integers(-(2**53), 2**53), "float": st.floats(allow_nan=False, allow_infinity=False),
        "bool": st.booleans(), "str": st.text(max_size=10), "bytes": st.binary(max_size=10),
        "complex": st.complex_numbers(allow_nan=False, allow_infinity=False), "None": st.none(),
        "list": st.lists(st.integers(), max_size=3), "dict": st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
        "tuple": st.tuples(st.integers()), "set": st.sets(st.integers(), max_size=3),
    }  # fmt: skip
    if isinstance(node, ast.Constant) and node.value is None:
        return st.none()
    if isinstance(node, ast.BinOp):
        return st.one_of(_of_type(node.left, name), _of_type(node.right, name))
    if isinstance(node, ast.Name):
        if node.id in plain:
            return plain[node.id]
        if node.id in ("ndarray", "NDArray", "ArrayLike"):
            return _arrays("<f8", None)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _of_generic(node.value.id, node.slice, name)
    raise LookupError(f"{name!r} is of the type {ast.unparse(node)}")


def _of_generic(kind: str, inner: Any, name: str) -> object:
    import ast

    from hypothesis import strategies as st

    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if kind in ("ndarray", "NDArray"):
        found = [node.id for node in ast.walk(inner) if isinstance(node, ast.Name)]
        names = [one for one in found if one not in ("Any", "dtype", "tuple")]
        try:
            return _arrays(np.dtype(names[0]).str if names else "<f8", None)
        except TypeError:
            raise LookupError(f"{name!r} is an array of {names[0]}") from None
    if kind in ("list", "Sequence"):
        return st.lists(_of_type(items[0], name), max_size=3)
    if kind in ("set", "frozenset"):
        made = st.sets(_of_type(items[0], name), max_size=3)
        return made.map(frozenset) if kind == "frozenset" else made
    if kind in ("dict", "Mapping"):
        return st.dictionaries(_of_type(items[0], name), _of_type(items[1], name), max_size=3)
    if kind == "tuple":
        if len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is ...:
            return st.lists(_of_type(items[0], name), max_size=3).map(tuple)
        return st.tuples(*(_of_type(item, name) for item in items))
    if kind == "Literal":
        return st.sampled_from([ast.literal_eval(item) for item in items])
    raise LookupError(f"{name!r} is of the type {kind}[...]")


# The laws.


def _taken(schema: Schema, steps: list[Migration], state: object) -> list[object]:
    """The state after each step, the first one before any."""
    states = [state]
    for step in steps:
        try:
            result = step.up(copy.deepcopy(states[-1]), _record(schema, states[-1]), {})
        except Exception as error:  # whatever a stranger's function raises
            raise Broken(
                f"the step {step} fails: {type(error).__name__}: {error}\n  on the state {states[-1]!r}"
            ) from error
        states.append(result)
        if isinstance(result, ops.Instead | Record):
            break
    return states


def _record(schema: Schema, state: object) -> Record:
    module, _, name = schema.qualname.rpartition(".")
    return Record(Global(module, name), copy.deepcopy(state))


def _up(schema: Schema, steps: list[Migration], state: object) -> None:
    last = _taken(schema, steps, state)[-1]
    if last is None:
        raise Broken(f"the steps of {schema.name!r} give None\n  for the state {state!r}")
    if not isinstance(last, dict) or schema.fields is None or schema.codec:
        return
    missing = [f.name for f in schema.fields if not f.has_default and f.name not in last]
    if missing:
        raise Broken(
            f"the steps of {schema.name!r} leave out {', '.join(missing)}, which have no default\n"
            f"  for the state {state!r}"
        )


def _same(schema: Schema, steps: list[Migration], state: object) -> None:
    first, second = _taken(schema, steps, state), _taken(schema, steps, state)
    for step, one, other in zip(steps, first[1:], second[1:], strict=False):
        if not _equal(one, other):
            raise Broken(
                f"the step {step} gives another result each time: {one!r} and {other!r}\n"
                f"  on the state {state!r}"
            )


def _inside(schema: Schema, steps: list[Migration], state: object) -> None:
    for step, given in zip(steps, _taken(schema, steps, state), strict=False):
        own = copy.deepcopy(given)
        arrays = list(_arrays_in(own))
        for array in arrays:
            array.flags.writeable = False
        try:
            step.up(own, _record(schema, given), {})
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise Broken(
                f"the step {step} writes into an array that it was given\n  in the state {given!r}"
            ) from error


def _arrays_in(value: object) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _arrays_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays_in(item)


def _back(schema: Schema, steps: list[Migration], state: object) -> None:
    states = _taken(schema, steps, state)
    for step, before, after in zip(steps, states, states[1:], strict=False):
        if not step.is_reversible or isinstance(after, ops.Instead | Record):
            continue
        down, _ = step.down(copy.deepcopy(after), _record(schema, after))
        again = step.up(copy.deepcopy(down), _record(schema, down), {})
        rounds = any(isinstance(op, _ROUNDING) for op in step.ops)
        if not rounds and not _equal(down, before):
            raise Broken(
                f"the step {step} up and then down gives {down!r}\n  for the state {before!r}"
            )
        if not (_close(again, after) if rounds else _equal(again, after)):
            raise Broken(
                f"the step {step} up, down and up again gives {again!r}, and gave {after!r}\n"
                f"  for the state {before!r}"
            )


def _compiled(schema: Schema, steps: list[Migration], state: object) -> None:
    if any(step.function is not None and takes_record(step.function) for step in steps):
        return
    if not isinstance(state, dict):
        return
    wanted = _taken(schema, steps, state)[-1]
    for _ in range(compiled.COMPILE_AFTER + 1):  # what is rare is not compiled
        written = compiled.advance(tuple(steps), failed, read_lazy)
        if written is not None:
            break
    if written is None:
        return
    given = written(copy.deepcopy(state), {})
    if isinstance(given, compiled.Odd):
        return  # the general route runs instead, and the result is compared with it
    if not _equal(given, wanted):
        raise Broken(
            f"the steps of {schema.name!r} compiled give {given!r}, and one by one {wanted!r}\n"
            f"  for the state {state!r}"
        )


_LAWS = {"up": _up, "same": _same, "inside": _inside, "back": _back, "compiled": _compiled}


def _equal(one: object, other: object) -> bool:
    if isinstance(one, ops.Instead) and isinstance(other, ops.Instead):
        return _equal(one.value, other.value)
    if isinstance(one, Record) and isinstance(other, Record):
        return one.cls == other.cls and _equal(one.state, other.state)
    if isinstance(one, LazyArray):
        one = one.read()
    return is_equal(one, other)


def _close(one: Any, other: Any) -> bool:
    """Equal as far as rounding allows."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    is_number = isinstance(one, float | np.ndarray | np.floating)
    if is_number and np.asarray(one).dtype.kind in "fc":
        with np.errstate(all="ignore"):
            return bool(np.allclose(one, other, rtol=1e-5, atol=1e-30, equal_nan=True))
    return _equal(one, other)

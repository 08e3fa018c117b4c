"""Compiled upgrade of records: one route for each class and written layout of a file.

A file has many records of few layouts. What `persist._upgrade.versions` finds out about a record (its
class of today, its version, its steps) is the same for all records of one class whose state names the
same fields, so it is found once here. Then a record takes a dict of its fields, the compiled steps
(`persist._upgrade.compiled`), and one comparison of names.

A route takes only records that nothing needs to be visited in first: every value is a scalar, a tuple
of scalars or an array. For any other record the caller visits the parts first. If a step gives a state
that no route covers, the general path continues after that step; no step runs twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np

from persist import ops
from persist._envelope import FIELDS, unwrap
from persist._trees.copier import SCALAR, has_no_arrays
from persist._upgrade import compiled
from persist._upgrade.failures import failed
from persist._upgrade.running import read_lazy
from persist._upgrade.state import freeze
from persist._upgrade.target import TargetLayout, VersionPath
from persist._upgrade.transfers import has_transfers
from persist.errors import SchemaError
from persist.registry import Migration, Registry
from persist.schema import Schema
from persist.tree import Global, Record

if TYPE_CHECKING:
    from persist._upgrade.records import ClassInfo

__all__ = ["CompiledRecords", "Route", "Upgraded", "is_final", "takes"]

_KINDS = frozenset(("newobj", "record"))


@attrs.define(eq=False)
class Route:
    """How the records of one class and written layout are upgraded.

    Attributes:
        named: the class as the file names it; kept, since routes are found by its id.
        layout: the header of an envelope, else None; kept likewise.
        known: the class of today; None if the records need the general path.
        path: the version in the file, and the steps.
        names: the names of the fields in an envelope.
        wanted: the names of the current fields.
        function: the compiled steps, as soon as they are used often enough.
        keeps_plain: whether states of scalars have only scalars after the steps, too.
    """

    named: Global
    layout: Any
    known: ClassInfo | None = None
    path: VersionPath | None = None
    names: tuple[str, ...] = ()
    wanted: frozenset[str] = frozenset()
    function: Any = None
    keeps_plain: bool = False


class Upgraded(NamedTuple):
    """What the steps made of one record.

    Attributes:
        known: the class of today.
        path: the version in the file, and the steps.
        state: the current fields; or if ``done`` is not negative, the result of so many steps,
            with which the general path continues.
        done: the number of steps taken, or -1.
        is_plain: whether there is certainly no array and no record in the result.
    """

    known: ClassInfo
    path: VersionPath
    state: Any
    done: int
    is_plain: bool


class CompiledRecords:
    """The routes of one upgrade.

    Args:
        registry: for versions and steps.
        info: (class in the file, state) -> the class of today.
        is_doubtful: (name of a schema) -> whether the file states something of it to be reported.
        strict: whether a version that is a guess is refused.
        memo: shared by the steps of one run.
        frozen: the arrays that were made read-only for the steps, by id.
        entered: the records whose arrays were, likewise.
    """

    def __init__(
        self,
        registry: Registry,
        info: Callable[[Global, Any], ClassInfo],
        is_doubtful: Callable[[str], bool],
        strict: bool,
        memo: dict[Any, Any],
        frozen: dict[int, Any],
        entered: dict[int, Any],
    ) -> None:
        self._entered = entered
        self._is_on = compiled.SWITCH.is_on
        self._registry = registry
        self._info = info
        self._is_doubtful = is_doubtful
        self._strict = strict
        self._memo = memo
        self._frozen = frozen
        self._routes: dict[Any, Route] = {}
        self._stamped: dict[int, tuple[Global, Schema | None]] = {}

    def run(self, record: Record, is_visited: bool) -> Upgraded | None:
        """Run the steps of a record; None if it needs the general path, and nothing was done.

        Args:
            record: the record; its state is not changed.
            is_visited: whether the values in it are done, whatever they are.

        Raises:
            MigrationFailedError: a step raised; without the place.
        """
        if not self._is_on:
            return None
        state = record.state
        kind = type(state)
        if kind is tuple:
            if len(state) != 2 or type(state[1]) is not tuple:
                return None
            values = state[1]
        elif kind is dict:
            values = state.values()
        else:
            return None
        has_arrays = False
        if not SCALAR.issuperset(map(type, values)):
            has_arrays = is_visited and not has_no_arrays(values)
            if not is_visited and not _holds_scalars(values):
                if not is_final(values):
                    return None
                has_arrays = True
        route = self._route_of(record, state)
        if route is None or route.known is None or route.path is None:
            return None
        if kind is dict:
            fields = dict(state)
        elif len(values) == len(route.names):
            fields = dict(zip(route.names, values, strict=True))
        else:
            return None
        steps = route.path.steps
        if not steps:
            return Upgraded(route.known, route.path, fields, -1, not has_arrays)
        function = route.function
        if function is None:
            function = route.function = compiled.advance(steps, failed, read_lazy)
            if function is None:
                return None
        if has_arrays:
            freeze(fields, self._frozen, self._entered)
        given: Any = function(fields, self._memo)
        done, is_plain = -1, False
        if type(given) is compiled.Odd:
            given, done = given.value, given.done
        elif type(given) is not dict or given.keys() != route.wanted:
            done = len(steps)
        elif not has_arrays:
            is_plain = route.keeps_plain or has_no_arrays(given.values())
        return Upgraded(route.known, route.path, given, done, is_plain)

    def _route_of(self, record: Record, state: Any) -> Route | None:
        if not record.is_bare:
            return None
        named, version, how = record.cls, record.version, "record"
        if type(state) is tuple:
            key: Any = (id(named), id(state[0]))
        else:
            if version is None:
                schema = self._stamped_schema(named)
                if schema is None:
                    return None
                version, how = self._registry.stamp_of(schema.name, state)
                if self._strict and how.startswith("unstamped"):
                    return None
            key = (id(named), how, version, *state)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._found(record, state, version, how)
        return route

    def _stamped_schema(self, named: Global) -> Schema | None:
        """The schema of a class whose states tell no version, if it can have a route."""
        found = self._stamped.get(id(named))
        if found is None:
            known = self._info(named, {})
            fits = known.target is not None and takes(known.target)
            found = self._stamped[id(named)] = (named, known.schema if fits else None)
        return found[1]

    def _found(self, record: Record, state: Any, version: int | None, how: str) -> Route:
        """The route for a record's class and layout; without a class if it needs the general path."""
        named = record.cls
        if type(state) is tuple:
            route = Route(named, state[0])
            envelope = unwrap(state)
            layer = None if envelope is None else envelope.layers[0]
            if envelope is None or layer is None or len(envelope.layers) != 1:
                return route
            version, how, route.names = layer.version, "envelope", layer.names or ()
            mark = layer.fingerprint
            if layer.kind != FIELDS or len(set(route.names)) != len(route.names):
                return route
        else:
            route, layer, mark = Route(named, None), None, ""
            if any(type(name) is not str or name[:1] == "_" for name in state):
                return route
        known = self._info(named, state)
        schema = known.schema
        if record.kind not in _KINDS or record.maker is not None or version is None:
            return route
        if schema is None or known.target is None or not takes(known.target):
            return route
        if layer is not None and layer.schema != schema.name:
            return route
        if self._is_doubtful(schema.name):
            return route
        names = state if layer is None else route.names
        route.wanted = frozenset(schema.names)
        if version == schema.version:
            is_same = bool(mark) and mark == schema.fingerprint if layer is not None else True
            if not is_same or route.wanted != set(names):
                return route
            steps: tuple[Migration, ...] = ()
        elif version > schema.version:
            return route
        else:
            try:
                steps = tuple(self._registry.path(schema.name, version, schema.version))
            except SchemaError:  # the general path reports it, with the place
                return route
            if has_transfers(steps):
                return route
        releases = self._registry.releases(schema.name)
        route.path = VersionPath(
            schema.name, version, how, schema.version, steps, releases=releases
        )
        route.known = known
        route.keeps_plain = all(step.ops and all(map(_keeps_plain, step.ops)) for step in steps)
        return route


def _keeps_plain(op: ops.Op) -> bool:
    if type(op) is ops.add:
        return op.computed is None and op.factory is None and type(op.value) in SCALAR
    return type(op) is ops.rename or type(op) is ops.drop


def takes(target: TargetLayout) -> bool:
    """Whether a class has only declared fields, and no base with fields."""
    return (
        len(target.parts) == 1
        and not target.items
        and not target.is_open
        and target.leaf.kind == FIELDS
        and not target.dropped
        and target.leaf.schema.fields is not None
    )


def _holds_scalars(values: Iterable[Any]) -> bool:
    """Whether a state holds scalars and tuples of scalars only."""
    for value in values:
        kind = type(value)
        if kind not in SCALAR and (kind is not tuple or not SCALAR.issuperset(map(type, value))):
            return False
    return True


def is_final(values: Iterable[Any]) -> bool:
    """Whether nothing in a state need be visited: scalars, tuples of scalars, arrays of numbers."""
    for value in values:
        kind = type(value)
        if kind in SCALAR or (kind is tuple and SCALAR.issuperset(map(type, value))):
            continue
        if kind is not np.ndarray or value.dtype.hasobject:
            return False
    return True

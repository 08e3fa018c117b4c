"""Properties: what goes into a pickle or a tree comes out, for every kind of class, in any graph."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import attrs
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist import ops
from persist._upgrade.downgrade import downgrade_record
from persist._upgrade.records import upgrade
from persist.registry import Registry
from persist.tree import Record
from persist.versioned import fill, finish, flatten_state, make, restore_state, unpacked


class Plain(persist.Versioned, version=3, schema="graph.Plain"):
    persistent = ("left", "right")


class Open(persist.Versioned):
    pass


class Slots(persist.Versioned):
    __slots__ = ("left", "right")


@attrs.define(eq=False)
class Attrs(persist.Versioned, version=2, schema="graph.Attrs"):
    left: Any = None
    right: Any = None


@dataclasses.dataclass(slots=True, eq=False)
class Data(persist.Versioned, version=2, schema="graph.Data"):
    left: Any = None
    right: Any = None


class Stack(persist.Versioned, list):
    pass


class Table(persist.Versioned, dict):
    persistent = ("left", "right")
    __hash__ = object.__hash__


class Coded(persist.Versioned, version=5, schema="graph.Coded"):
    def __getstate__(self):
        return (self.left, [self.right])

    def __setstate__(self, state):
        self.left, (self.right,) = state


class Heir(Plain, version=2, schema="graph.Heir"):
    persistent = ("more",)


KINDS = [Plain, Open, Slots, Attrs, Data, Stack, Table, Coded, Heir]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)


@st.composite
def graphs(draw):
    """A list of instances that refer to each other, to themselves and to plain values, shared and in cycles."""
    count = draw(st.integers(1, 8))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(count)]
    nodes = [kind.__new__(kind) for kind in kinds]
    shared = [draw(LEAVES), [draw(LEAVES)], {"k": draw(LEAVES)}]

    def value():
        choice = draw(st.integers(0, 4))
        node = nodes[draw(st.integers(0, count - 1))]
        if choice == 0:
            return node
        if choice == 1:
            return [node, draw(LEAVES)]
        if choice == 2:
            return (draw(LEAVES), {"node": node})
        return shared[draw(st.integers(0, 2))] if choice == 3 else draw(LEAVES)

    for node in nodes:
        node.left, node.right = value(), value()
        if isinstance(node, Heir):
            node.more = value()
        if isinstance(node, Stack):
            node.append(value())
        if isinstance(node, Table):
            node["item"] = value()
    return nodes


def walk(root):
    """The graph as text: values in order, objects numbered at first sight."""
    numbers: dict[int, int] = {}
    keep, said = [], []
    todo = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, list | dict | tuple | persist.Versioned):
            if not isinstance(node, tuple) or isinstance(node, persist.Versioned):
                known = numbers.get(id(node))
                if known is not None:
                    said.append(f"#{known}")
                    continue
                numbers[id(node)] = len(numbers)
                keep.append(node)
            said.append(type(node).__name__)
            if isinstance(node, dict):
                todo += [part for pair in node.items() for part in pair]
            elif isinstance(node, list | tuple):
                todo += list(node)
            if isinstance(node, persist.Versioned):
                names = [name for name in ("left", "right", "more") if hasattr(node, name)]
                todo += [part for name in names for part in (name, getattr(node, name))]
        else:
            said.append(repr(node))
    return said


def built(tree):
    """A plain builder over the four functions, two steps for each record, so that cycles work."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in KINDS}
    made: dict[int, Any] = {}
    order: list[tuple[Record, Any]] = []

    def build(value):
        if isinstance(value, Record):
            if id(value) not in made:
                kind = kinds[value.qualname]
                contents = unpacked(kind, value)
                made[id(value)] = obj = make(kind, build(contents.args))
                fill(
                    obj,
                    build(contents.listitems),
                    [(build(k), build(v)) for k, v in contents.dictitems],
                )
                restore_state(obj, build(value.state))
                order.append((value, obj))
            return made[id(value)]
        if isinstance(value, list | dict):
            if id(value) not in made:
                made[id(value)] = new = type(value)()
                order.append((value, new))
                if isinstance(value, list):
                    new.extend(build(item) for item in value)
                else:
                    new.update((build(name), build(item)) for name, item in value.items())
            return made[id(value)]
        return tuple(build(item) for item in value) if isinstance(value, tuple) else value

    result = build(tree)
    for _, obj in order:
        if isinstance(obj, persist.Versioned):
            finish(obj)
    return result


@given(graphs(), st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=examples(150))
def test_any_graph_in_any_protocol(nodes, protocol):
    assert walk(pickle.loads(pickle.dumps(nodes, protocol))) == walk(nodes)


@given(graphs())
@settings(max_examples=60)
def test_any_graph_deep_copied(nodes):
    assert walk(copy.deepcopy(nodes)) == walk(nodes)


@given(graphs(), st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=examples(100))
def test_any_graph_by_way_of_the_tree(nodes, protocol):
    """Opened, upgraded, built: sharing and cycles as they were."""
    tree, done = upgrade(persist.open(pickle.dumps(nodes, protocol)).tree)
    assert not done.problems
    assert walk(built(tree)) == walk(nodes)


# Up and down.

STEPS = st.sampled_from(
    [
        ("rename", lambda names, n: ops.rename(names[0], f"r{n}")),
        ("add", lambda names, n: ops.add(f"a{n}", n)),
        ("nest", lambda names, n: ops.nest(f"n{n}", names[0], names[-1]) if len(names) > 1 else ops.add(f"a{n}", n)),
        ("convert", lambda names, n: ops.convert(names[0], lambda x: [x, n], inverse=lambda x: x[0])),
        ("rename the last", lambda names, n: ops.rename(names[-1], f"{names[-1]}_{n}")),
    ]
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from("abcde"), LEAVES, min_size=1),
    st.lists(STEPS, min_size=1, max_size=5),
)
@settings(max_examples=examples(100))
def test_up_then_down_is_the_identity(state, steps):
    """Where both exist, and nothing is lost."""
    registry = Registry("property")
    names = list(state)
    for version, (_, make_op) in enumerate(steps, 1):
        op = make_op(names, version)
        registry.migration("lab.Thing", version, op)
        names = list(op.apply({name: [0, 0] for name in names}))
    upgraded, _ = upgrade(Record("lab.Thing", dict(state), version=1), registry)
    assert upgraded.version == len(steps) + 1
    older, losses = downgrade_record(upgraded, 1, registry)
    assert older.state == state
    assert losses == []


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
def test_flattening_says_every_class_of_the_mro(kinds):
    for kind in kinds:
        obj = kind.__new__(kind)
        obj.left = obj.right = 1
        if kind is Heir:
            obj.more = 2
        flat = flatten_state(obj)
        declared = [base for base in reversed(kind.__mro__) if "_persist_declared" in vars(base)]
        assert len(flat.layers) == len(declared)

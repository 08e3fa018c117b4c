"""Many records as columns, many small arrays as blocks: the same tree with and without, and fast ways
that give what the slow ones give."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from alike import assert_alike
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_container_integrity import rewritten
from test_container_trees import assert_plain, saved
from trees import trees

import persist
from persist import _container, ops
from persist._api.save import tree_of
from persist._container.writing import blocks, graph, tables
from persist._container.writing.blocks import LEAST
from persist._objects import flatten
from persist._upgrade import records as upgrade_records
from persist.errors import DamagedFileError, LimitError, MigrationFailedError, OpaqueWarning
from persist.tree import Record

RELAXED = settings(
    max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two records make a table, two arrays a block."""
    for module, name in (
        *((graph, "MANY"), (graph, "LEAST"), (blocks, "LEAST"), (flatten, "MANY")),
        *((tables, "_LONG"), (flatten, "_MANY_LISTS")),
    ):
        monkeypatch.setattr(module, name, 2)
    return


def parts_of(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read("graph.json"))  # type: ignore[no-any-return]


def points(count: int, **more: Any) -> list[Record]:
    return [
        Record(
            "lab.Point",
            {
                "x": n * 0.5,
                "n": n + 5,
                "on": n % 2 == 0,
                "name": f"p{n}",
                "kind": "round",
                **{name: make(n) for name, make in more.items()},
            },
            kind="newobj",
            version=3,
        )
        for n in range(count)
    ]


# The same tree.


@RELAXED
@given(tree=trees())
def test_a_tree_is_itself_with_tables_and_blocks(tree: Any, few: None) -> None:
    data = saved(tree)
    assert _container.verify(data) == []
    for verify in (None, "lazy", "always"):
        assert_alike(tree, _container.read(data, verify=verify)[0])


@RELAXED
@given(tree=trees())
def test_sixty_lines_read_tables_and_blocks(tree: Any, plain_reader: Any, few: None) -> None:
    assert_plain(tree, plain_reader(io.BytesIO(saved(tree))))


def test_the_columns_of_a_list_are_named_by_it() -> None:
    data = saved({"runs": {"points": points(1000, at=lambda n: np.full(3, n))}})
    with np.load(io.BytesIO(data)) as arrays:
        assert arrays["runs/points/x"].tolist() == [n * 0.5 for n in range(1000)]
        assert arrays["runs/points/name"][7] == "p7"
        assert arrays["runs/points/*/at"].shape == (1000, 3)
        assert "runs/points/kind" not in arrays  # the same in all: it stands in the graph
    assert saved(points(999))[:4] == b"PK\3\4"
    assert "tables" not in parts_of(saved(points(999)))
    assert "tables" not in parts_of(saved(points(1000), columns=False))


def test_records_that_stand_here_and_there_are_a_table_too() -> None:
    leaves = points(1500)
    tree = {"left": leaves[:700], "right": {"deep": leaves[700:]}, "first": leaves[3]}
    data = saved(tree)
    assert_alike(tree, _container.read(data)[0])
    with np.load(io.BytesIO(data)) as arrays:
        assert arrays["left/*Point/n"].shape == (1500,)


def test_blocks_are_named_by_what_their_paths_share() -> None:
    count = LEAST
    tree = {
        "net": {f"layer{n}": {"w": np.full((2, 2), n), "b": np.full(2, n)} for n in range(count)},
        "list": [np.full(3, n, ">i2") for n in range(count)],
        "few": [np.full(5, n) for n in range(count - 1)],
        "large": [np.zeros(512) for n in range(count)],
        "fortran": [np.zeros((2, 3), order="F") for n in range(count)],
    }
    data = saved(tree)
    assert_alike(tree, _container.read(data)[0])
    with np.load(io.BytesIO(data)) as arrays:
        assert arrays["net/*/w"].shape == (count, 2, 2)
        assert arrays["net/*/b"][77].tolist() == [77, 77]
        assert arrays["list/*"].dtype == ">i2"
        assert arrays["few/0"].shape == (5,)
        assert arrays["large/0"].shape == (512,)
        assert arrays["fortran/5"].flags.f_contiguous
    assert "blocks" not in parts_of(saved(tree, pack=False))


def test_one_array_of_a_block_is_found_without_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {f"layer{n}/w": np.full(4, n) for n in range(2000)}
    tree["nul\0/w"] = np.full(4, -1)
    data = saved(tree)
    monkeypatch.setattr(_container.Store, "graph", None)
    with persist.open(data) as file:
        assert file.arrays["layer1234/w"].tolist() == [1234] * 4
        assert file.arrays["nul\0/w"].tolist() == [-1] * 4


def test_arrays_that_share_memory_are_in_no_block() -> None:
    base = np.arange(4000.0)
    tree = [base[n : n + 3] for n in range(1200)]
    made = _container.read(saved(tree), writable=True)[0]
    made[0][1] = -1
    assert made[1][0] == -1
    apart = [base[4 * n : 4 * n + 4] for n in range(1000)]
    assert parts_of(saved(apart))["blocks"] == [[0, 1000]]


def test_rows_of_blocks_do_not_overlap() -> None:
    made = _container.read(saved([np.zeros(3) for _ in range(1000)]), writable=True)[0]
    made[5][:] = 1
    assert not made[4].any()
    assert not made[6].any()


def test_zero_dimensional_arrays_stay_arrays() -> None:
    tree = [np.array(n * 1.5) for n in range(1000)]
    for verify in (None, "lazy"):
        assert_alike(tree, _container.read(saved(tree), verify=verify)[0])


# Instances.


class Leaf(persist.Versioned, version=1, schema="tables.Leaf"):
    persistent = ("number", "name", "at")


@attrs.define(eq=False)
class Node(persist.Versioned, version=1, schema="tables.Node"):
    weights: Any
    kids: list[Any]
    near: Any = None
    note: Any = None


@attrs.frozen(eq=False)
class Cold(persist.Versioned, version=1, schema="tables.Cold"):
    value: Any


@attrs.define
class Keyed(persist.Versioned, version=1, schema="tables.Keyed"):
    value: Any

    def __hash__(self) -> int:
        return hash(self.value)


def leaf(number: int) -> Leaf:
    made = Leaf()
    made.number, made.name, made.at = number, f"leaf {number}", (number, number + 0.5)
    return made


def grown(seed: int) -> Any:
    """A structure of instances, lists, dicts and arrays that share and point in circles."""
    dice = random.Random(seed)
    made: list[Any] = []
    for n in range(dice.randrange(5, 40)):
        pick = dice.randrange(6)
        if pick == 0:
            made.append(leaf(n))
        elif pick == 1:
            array = np.full(dice.randrange(1, 4), n, dice.choice(["f8", "i4"]))
            made.append(Node(array, [], note=dice.choice([None, 1, 2.5, "x", (1, 2), [1]])))
        elif pick == 2:
            made.append(Cold(dice.choice([n, f"{n}", float("nan"), 10**30, None, True])))
        elif pick == 3:
            made.append([dice.choice(made) for _ in range(3)] if made else [])
        elif pick == 4:
            made.append({f"k{i}": dice.choice(made or [0]) for i in range(3)})
        else:
            made.append(Node(None, [1, 2]))
    nodes = [value for value in made if type(value) is Node]
    for node in nodes:
        node.near = dice.choice([None, dice.choice(made)])
        node.kids += [dice.choice(nodes) for _ in range(dice.randrange(3))]
    return {"all": made, "leaves": [leaf(n) for n in range(dice.randrange(5))], "one": made[0]}


def graph_of(value: Any) -> Any:
    return tree_of(value)


@RELAXED
@given(seed=st.integers(0, 10**9))
def test_instances_are_the_same_by_columns_and_one_by_one(
    seed: int, few: None, plain_reader: Any
) -> None:
    value = grown(seed)
    whole = graph_of(value)
    for columns in (True, False):
        file = io.BytesIO()
        persist.save(value, file, columns=columns)
        data = file.getvalue()
        assert _container.verify(data) == []
        assert_plain(whole, plain_reader(io.BytesIO(data)))
        assert_alike(whole, persist.open(data).tree)
        assert_alike(whole, graph_of(persist.load(data)))


def test_what_was_given_is_not_changed() -> None:
    value = {"leaves": [leaf(n) for n in range(1500)], "tree": Node(np.zeros(2), [leaf(1)])}
    before = graph_of(copy.deepcopy(value))
    persist.save(value, io.BytesIO())
    assert_alike(before, graph_of(value))


def test_a_deep_chain_of_instances_needs_no_stack() -> None:
    first: Any = None
    for _ in range(20_000):
        first = Node(None, [], near=first)
    file = io.BytesIO()
    persist.save(first, file)
    made, depth = persist.load(file.getvalue()), 0
    while made is not None:
        made, depth = made.near, depth + 1
    assert depth == 20_000


def test_large_arrays_of_a_table_are_named_by_their_paths() -> None:
    value = {"nodes": [Node(np.full(600, n), [], note=[np.full(1, n)]) for n in range(1000)]}
    file = io.BytesIO()
    persist.save(value, file)
    with np.load(io.BytesIO(file.getvalue())) as arrays:
        assert arrays["nodes/7/weights"].tolist() == [7] * 600
        assert (
            arrays["nodes/*/note/0" if "nodes/*/note/0" in arrays else "nodes/*"].shape[0] == 1000
        )
    assert persist.load(file.getvalue())["nodes"][999].note[0].tolist() == [999]


def test_frozen_classes_come_back_by_columns() -> None:
    file = io.BytesIO()
    persist.save([Cold(n) for n in range(1000)], file)
    assert [one.value for one in persist.load(file.getvalue())] == list(range(1000))


def test_instances_that_are_keys_are_whole_before_they_are_hashed() -> None:
    value = {Keyed(n): n for n in range(1000)}
    file = io.BytesIO()
    persist.save(value, file)
    made = persist.load(file.getvalue())
    assert made[Keyed(77)] == 77


def test_the_place_of_what_cannot_be_saved_is_reported() -> None:
    leaves = [leaf(n) for n in range(1000)]
    leaves[700].name = object()
    with pytest.raises(persist.PersistError, match="all/700/name"):
        persist.save({"all": leaves}, io.BytesIO())


def test_instances_that_lack_a_field_are_saved_one_by_one() -> None:
    leaves = [leaf(n) for n in range(1000)]
    del leaves[5].name
    file = io.BytesIO()
    persist.save(leaves, file)
    tree = persist.open(file.getvalue()).tree
    assert tree[5].fields() == {"number": 5, "at": (5, 5.5)}
    assert_alike(graph_of(leaves), tree)


def test_records_of_a_class_that_is_gone_stay_records() -> None:
    data = saved(points(1200))
    with pytest.warns(OpaqueWarning, match="1200 instances"):
        made = persist.load(data)
    assert made[7].name == "p7"
    assert_alike(points(1200), made)


# Migrating by columns.


def registry_of(cls: type, *steps: Any) -> persist.Registry:
    registry = persist.Registry("of a test")
    registry.register(cls, version=len(steps) + 1, fields=tuple(cls.__annotations__), schema="t.M")
    for version, step in enumerate(steps, 1):
        if callable(step):
            registry.migration("t.M", version)(step)
        else:
            registry.migration("t.M", version, *(step if isinstance(step, tuple) else (step,)))
    return registry


class Moved:
    weights: Any
    size: Any
    kind: Any


def old_file(count: int = 1500, **more: Any) -> bytes:
    records = [
        Record(
            f"{__name__}.Moved",
            {"W": np.full(3, n), "size": n, **{k: f(n) for k, f in more.items()}},
            kind="newobj",
            version=1,
        )
        for n in range(count)
    ]
    return saved({"nets": records, "best": records[3]})


def moved(data: bytes, registry: persist.Registry) -> list[tuple[Any, ...]]:
    made = persist.load(data, registry=registry)
    assert made["best"] is made["nets"][3]
    return [(net.weights, net.size, net.kind) for net in made["nets"]]


STEPS = {
    "rename and add": (ops.rename({"W": "weights"}), ops.add("kind", "net")),
    "astype": (
        (ops.rename({"W": "weights"}), ops.astype("weights", "f4")),
        ops.add("kind", factory=list),
    ),
    "convert": (
        (ops.rename({"W": "weights"}), ops.convert("size", lambda size: [size])),
        ops.add("kind", computed=lambda state: state["size"] * 2),
    ),
    "array constant": (ops.rename({"W": "weights"}), ops.add("kind", np.zeros(2))),
    "scalar constant": (ops.rename({"W": "weights"}), ops.add("kind", np.float32(2))),
    "text, numbers": (
        (ops.rename({"W": "weights"}), ops.convert("size", str)),
        ops.add("kind", computed=lambda state: type(state["size"]).__name__),
    ),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_steps_on_columns_are_those_on_records(
    steps: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_of(Moved, *steps)
    quick = moved(old_file(), registry)
    monkeypatch.setattr("persist._api.load._by_columns", lambda *args: persist.tree.ABSENT)
    slow = moved(old_file(), registry)
    for one, other in zip(quick, slow, strict=True):
        assert_alike(list(one), list(other))


def test_steps_on_columns_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("one by one")

    registry = registry_of(Moved, *STEPS["rename and add"])
    monkeypatch.setattr(upgrade_records, "upgrade", never)
    assert moved(old_file(), registry)[9][1:] == (9, "net")


def test_a_failing_step_is_reported_with_the_record() -> None:
    def fails(size: int) -> int:
        if size == 77:
            raise ValueError("no such size")
        return size

    steps = ((ops.rename({"W": "weights"}), ops.convert("size", fails)), ops.add("kind", "net"))
    with pytest.raises(MigrationFailedError, match=r"nets/77.*no such size"):
        persist.load(old_file(), registry=registry_of(Moved, *steps))


def test_fields_that_nobody_declares_are_reported() -> None:
    registry = registry_of(Moved, *STEPS["rename and add"])
    with pytest.warns(persist.errors.UnknownFieldWarning, match="extra"):
        moved(old_file(extra=lambda n: n), registry)


def test_functions_step_one_by_one() -> None:
    def named(state: dict[str, Any]) -> dict[str, Any]:
        return {"weights": state["W"], "size": state["size"], "kind": type(state["size"]).__name__}

    assert moved(old_file(), registry_of(Moved, named))[5][1:] == (5, "int")


# Lies.

LIES = {
    "more rows than values": lambda g: g["tables"][0].update(count=1001),
    "fewer rows than values": lambda g: g["tables"][0].update(count=999),
    "a shape that is not there": lambda g: g["tables"][0].update(shape=9),
    "fewer columns than fields": lambda g: g["tables"][0]["columns"].pop(),
    "a kind that is unknown": lambda g: g["tables"][0]["columns"].__setitem__(0, ["odd", 0]),
    "a member that is not there": lambda g: g["tables"][0]["columns"].__setitem__(
        0, ["numbers", 99]
    ),
    "text as numbers": lambda g: g["tables"][0]["columns"].__setitem__(0, ["numbers", 3]),
    "numbers as text": lambda g: g["tables"][0]["columns"].__setitem__(3, ["text", 0]),
    "numbers as references": lambda g: g["tables"][0]["columns"].__setitem__(0, ["refs", 0]),
    "references too far": lambda g: g["tables"][0]["columns"].__setitem__(1, ["refs", 1]),
    "a run too far": lambda g: g["tables"][0]["columns"].__setitem__(0, ["run", 10**9, 1000]),
    "a negative run": lambda g: g["tables"][0]["columns"].__setitem__(0, ["run", -5, 1000]),
    "a run of a negative count": lambda g: g["nodes"].insert(0, ["listrun", 0, -1]),
    "a list of what is not there": lambda g: g["nodes"].insert(0, ["listrun", 0, 10**9]),
    "a dict of too few": lambda g: g["nodes"].insert(0, ["dictrun", 0, 0, 2]),
    "tuples of nothing": lambda g: g["tables"][0]["columns"].__setitem__(0, ["tuples"]),
    "a block of another count": lambda g: g["blocks"].append([0, 7]),
    "a block that is not there": lambda g: g["blocks"].append([99, 1000]),
    "lists of negative lengths": lambda g: g.update(
        lists=[{"count": 1000, "lengths": ["same", -1], "items": ["cells"]}]
    ),
    "lists of other lengths": lambda g: g.update(
        lists=[{"count": 3, "lengths": ["same", 2], "items": ["cells", 1]}]
    ),
    "a table of no number": lambda g: g["tables"][0].update(count="many"),
    "a cell that is not there": lambda g: g["tables"][0]["columns"].__setitem__(
        0, ["cells", *[[10**9]] * 1000]
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_table_is_damage(lie: Any) -> None:
    data = rewritten(saved(points(1000)), lambda graph, manifest: lie(graph))
    with pytest.raises(DamagedFileError):
        persist.open(data).tree  # noqa: B018


def test_rows_that_cost_the_file_nothing_are_bounded() -> None:
    def lie(graph: Any, manifest: Any) -> None:
        (table,) = graph["tables"]
        table.update(count=10**9, columns=[["same", None] for _ in table["columns"]])

    with pytest.raises(LimitError):
        persist.open(rewritten(saved(points(1000)), lie)).tree  # noqa: B018

    def lists(graph: Any, manifest: Any) -> None:
        graph["lists"] = [{"count": 1, "lengths": ["same", 10**12], "items": ["same", 0]}]

    with pytest.raises(LimitError):
        persist.open(rewritten(saved(points(1000)), lists)).tree  # noqa: B018


def test_every_flipped_bit_of_a_table_is_damage_or_nothing(tmp_path: Path, few: None) -> None:
    tree = {"a": points(3, at=lambda n: np.full(2, n)), "b": [np.zeros(1)] * 2}
    data = saved(tree)
    for bit in range(0, 8 * len(data), 3):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DamagedFileError, persist.errors.FutureVersionError)):
            assert_alike(tree, _container.read(bytes(wrong), verify="always")[0])

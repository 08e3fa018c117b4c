"""Names that differ in numbers only become one name, which means exactly those that there were."""

from __future__ import annotations

import itertools
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from persist._trees.numbered import fold, ranges
from persist._trees.outline import Shape, tree_lines
from persist._trees.pack_view import PackView
from persist._trees.totals import totals_below, totals_of, totals_text

LABELS = st.lists(
    st.tuples(
        st.sampled_from(["layer.{}.{}.w", "layer.{}.{}.b", "h{}x{}"]),
        st.integers(0, 4),
        st.integers(0, 3),
        st.sampled_from("ab"),
    ),
    unique=True,
)


def spelled_out(name: str) -> set[str]:
    """All names that a folded one means."""
    parts = re.split(r"\[([^\]]*)\]", name)
    choices: list[list[str]] = []
    for at, part in enumerate(parts):
        if at % 2 == 0:
            choices.append([part])
            continue
        numbers: list[str] = []
        for run in part.split(","):
            low, _, high = run.partition("-")
            numbers += map(str, range(int(low), int(high or low) + 1))
        choices.append(numbers)
    return {"".join(one) for one in itertools.product(*choices)}


@given(LABELS)
def test_a_folded_name_means_exactly_its_members(found: list[tuple[str, int, int, str]]) -> None:
    names = {(form.format(i, j), kind) for form, i, j, kind in found}
    listed = sorted(names)
    places: list[int] = []
    for name, members in fold(listed):
        places += members
        assert spelled_out(name) == {listed[at][0] for at in members}
        assert len({listed[at][1] for at in members}) == 1
    assert sorted(places) == list(range(len(listed)))


def test_what_is_not_alike_is_not_folded() -> None:
    names = [("w0", "a"), ("w1", "b"), ("w2", "a"), ("x0", None), ("x1", None), ("x2", None)]
    assert [name for name, _ in fold(names)] == [name for name, _ in names]
    assert [name for name, _ in fold([("f01", 1), ("f02", 1), ("f03", 1)])] == ["f01", "f02", "f03"]
    digits = "9" * 5000
    assert fold([(digits, 1), (digits + "1", 1), (digits + "2", 1)])[0] == (digits, [0])


def test_ranges() -> None:
    assert ranges(frozenset((0, 1, 2, 5, 7, 8))) == "0-2,5,7-8"
    assert ranges(frozenset(range(0, 100, 2))).endswith("10,...,98")


def bert() -> dict[str, object]:
    tree: dict[str, object] = {"emb.weight": np.zeros((300, 4), "f4")}
    for layer in range(12):
        for name, shape in (("query.weight", (4, 4)), ("query.bias", (4,)), ("norm.eps", ())):
            tree[f"encoder.layer.{layer}.{name}"] = np.full(shape, layer, "f4")
    tree["head.weight"] = tree["emb.weight"]
    return tree


def test_a_large_model_fits_by_its_numbered_layers() -> None:
    lines = tree_lines(bert(), PackView(), 20)
    assert lines == [
        "dict of 38",
        "  emb.weight: float32 (300, 4)  4.7 KiB",
        "  encoder.layer.[0-11].query.weight: float32 (4, 4)  12 of 64 B, 768 B in all",
        "  encoder.layer.[0-11].query.bias: float32 (4,)  12 of 16 B, 192 B in all",
        "  encoder.layer.[0-11].norm.eps: float32 ()  12 of 4 B, 48 B in all",
        "  head.weight: the same as 'emb.weight'",
    ]
    assert len(tree_lines(bert(), PackView(), 60)) == 39  # with room, every name is there


def test_nested_layers_fold_with_what_they_hold() -> None:
    tree = {f"layer_{i}": {"w": np.zeros((3, 9)), "b": np.zeros(9), "on": True} for i in range(30)}
    tree["layer_7"] = {"w": np.zeros((3, 8)), "b": np.zeros(9), "on": True}
    assert tree_lines(tree, PackView(), 20) == [
        "dict of 30",
        "  layer_[0-6,8-29]: dict of 3  (29 like this)",
        "    w: float64 (3, 9)  216 B",
        "    b: float64 (9,)  72 B",
        "    on: True",
        "  layer_7: dict of 3",
        "    w: float64 (3, 8)  192 B",
        "    b: float64 (9,)  72 B",
        "    on: True",
    ]


def test_all_of_many_thousand_tensors_are_folded() -> None:
    array = np.zeros(9)
    tree = {f"block.{i}.weight": array[:8] + i for i in range(20_000)}
    assert tree_lines(tree, PackView(), 10) == [
        "dict of 20,000",
        "  block.[0-19999].weight: float64 (8,)  20,000 of 64 B, 1.2 MiB in all",
    ]


def test_depth_joins_names_by_their_dots() -> None:
    assert tree_lines(bert(), PackView(), 60, Shape(depth=1)) == [
        "dict of 38",
        "  emb.weight: float32 (300, 4)  4.7 KiB",
        "  encoder.*: 36 arrays, 1008 B",
        "  head.weight: the same as 'emb.weight'",
    ]
    assert "  encoder.layer.*: 36 arrays, 1008 B" in tree_lines(bert(), PackView(), 60, Shape(2))
    nested = {"a": {"b": {"c": np.zeros(9)}}}
    assert tree_lines(nested, PackView(), 60, Shape(1)) == [
        "dict of 1",
        "  a: dict of 1  1 array, 72 B ...",
    ]


def test_the_largest_first() -> None:
    tree = {"a": np.zeros(9), "deep": {"x": np.zeros(99)}, "b": np.zeros(50), "n": 1}
    lines = tree_lines(tree, PackView(), 60, Shape(by_size=True))
    assert [line.partition(":")[0].strip() for line in lines[1:]] == ["deep", "x", "b", "a", "n"]


def test_totals_count_shared_memory_once() -> None:
    one = np.zeros((10, 10), "f4")
    arrays = {"emb": one, "head": one.view(), "again": one, "part": one[:5], "empty": np.zeros(0)}
    total = totals_of(arrays)
    assert (total.names, total.arrays, total.numbers, total.nbytes) == (5, 3, 150, 600)
    assert total.tied == [["emb", "head", "again"]]
    assert totals_text(total) == (
        "3 arrays, 150 numbers, 600 B; head, again = emb (shared, counted once)"
    )
    assert totals_below([one, [one.view()]], PackView()).nbytes == 400

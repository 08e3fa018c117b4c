"""Printing: what a person wants to see, and it always ends."""

from __future__ import annotations

import array
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._trees.pack_view import PackView
from persist._trees.show import classes_of, leaf_text, size_text, tree_lines
from persist.tree import Global, LazyArray, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"


def shown(tree: Any, most: int = 60) -> str:
    return "\n".join(tree_lines(tree, PackView(), most))


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        (None, "None"),
        ("abc", "'abc'"),
        (np.float32(1.5), "1.5"),
        (np.zeros((2, 3), "f4"), "float32 (2, 3)  24 B"),
        (np.zeros(3, ">i8"), "int64 big-endian (3,)  [0, 0, 0]"),
        (np.array(5), "int64 ()  5"),
        (np.zeros(5, [("a", "i4"), ("b", "f8")]), "fields {a, b} (5,)  60 B"),
        (LazyArray(np.dtype("f4"), (1000,), lambda: np.zeros(1000)), "float32 (1000,)  3.9 KiB, lazy"),
        (array.array("d", [1.0]), "array 'd' (1,)"),
        (Global("lab", "f"), "<lab.f>"),
        (b"x" * 100, "bytes of 100: b'xxxxxxxxxxxxxxxx'..."),
        ({3}, "set of 1: 3"),
        ([], "[]"),
    ],
)  # fmt: skip
def test_a_leaf_is_one_short_line(leaf: Any, text: str) -> None:
    assert leaf_text(leaf) == text


def test_a_long_leaf_is_cut() -> None:
    for leaf in ("x" * 10**6, b"x" * 10**6, 10**100_000, set(range(10**5)), Global("m", "n" * 999)):
        assert len(leaf_text(leaf)) < 280


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (1 << 50, "1048576.0 GiB")],
)  # fmt: skip
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_a_tree_is_indented_and_what_comes_again_is_reported_by_its_path() -> None:
    shared = {"x": 1}
    tree = {"a": shared, "b": shared, "n": [1, 2, 3], "r": Record("lab.C", {"f": 2}, version=3)}
    assert shown(tree) == (
        "dict of 4\n"
        "  a: dict of 1\n"
        "    x: 1\n"
        "  b: the same as 'a'\n"
        "  n: [1, 2, 3]\n"
        "  r: lab.C, version 3  (record)\n"
        "    f: 2"
    )


def test_what_a_file_names_cannot_speak_to_the_terminal() -> None:
    evil = "a\x1b[2Jb\nc\u202e"
    tree = {evil: Record(f"m.{evil}", {evil: Global("m", evil)}), "same": [[]]}
    tree["again"] = tree[evil]
    tree["rows"] = np.zeros(9, [(evil, "i4")])
    text = shown(tree)
    assert len(text.splitlines()) == 7
    assert all(line.isprintable() for line in text.splitlines())


def test_a_cycle_ends() -> None:
    tree: list[Any] = []
    tree.append(tree)
    assert shown(tree) == "list of 1\n  0: the same as the root"


def test_a_wide_tree_and_a_deep_one_are_cut() -> None:
    wide = shown([[i, "x"] for i in range(10_000)])
    assert "... and 9,942 more" in wide
    assert len(wide.splitlines()) <= 61
    deep: Any = 1
    for _ in range(100_000):
        deep = {"next": deep}
    text = shown(deep)
    assert text.endswith("...")
    assert len(text.splitlines()) < 20
    bomb: Any = [1, "x"]
    for _ in range(60):
        bomb = [bomb, bomb]
    assert len(shown(bomb).splitlines()) <= 61


def test_so_many_lines_and_no_more() -> None:
    tree = {f"k{i}": {"a": {"b": i}} for i in range(12)}
    lines = tree_lines(tree, PackView(), 10)
    assert len(lines) == 10
    assert lines[-1] == "  ... and 4 more"
    assert all(line.endswith(" ...") for line in lines[1:-1])


def test_the_page_of_a_file_says_what_it_is() -> None:
    file = persist.open(CORPUS / "pickle-py27-p0-oldstyle-mlp" / "mlp.pkl")
    text = str(file)
    for words in ("mlp.pkl", "format   pickle", "writer   python 2", "tree", "float"):
        assert words in text
    assert repr(file).startswith("<pickle file")


def test_damage_is_on_the_page() -> None:
    assert "a stray byte" in str(persist.open(pickle.dumps(5) + b"\n"))


def test_classes_are_counted() -> None:
    tree = [Record("lab.A", {"b": Record("lab.B")}), Record("lab.A")]
    assert classes_of(tree, PackView()) == {"lab.A": 2, "lab.B": 1}
    assert (
        sum(classes_of([Record("lab.A") for _ in range(500)], PackView(), most=100).values()) <= 100
    )


def paged(tree: Any, most: int = 60) -> list[str]:
    return tree_lines(tree, PackView(), most)


def test_nothing_is_cut_while_there_is_room() -> None:
    tree = Record(
        "lab.Regressor", {**{f"option_{i}": i for i in range(22)}, "coef_": np.ones((9, 9))}
    )
    lines = paged(tree)
    assert len(lines) == 24
    assert lines[-1] == "  coef_: float64 (9, 9)  648 B"


def test_arrays_and_what_was_fitted_are_shown_first_when_something_must_go() -> None:
    options: dict[str, Any] = {f"option_{i}": {"x": i} for i in range(90)}
    tree = Record("lab.Regressor", {**options, "coef_": np.ones((9, 9)), "classes_": ["a", "b"]})
    lines = paged(tree, 20)
    assert len(lines) <= 20
    assert "  coef_: float64 (9, 9)  648 B" in lines
    assert "  classes_: ['a', 'b']" in lines
    assert lines[-1].startswith("  ... and ")
    assert "and 1 more" not in " ".join(lines)


def test_every_branch_keeps_some_lines_and_like_siblings_fold() -> None:
    scalers = [Record("lab.Scaler", {f"part{i}": {"x": i} for i in range(9)}) for _ in range(19)]
    tree = {
        **{f"s{i}": scaler for i, scaler in enumerate(scalers)},
        "forest": {"a": {"b": {"c": np.ones(9)}}},
    }
    lines = paged(tree, 40)
    assert "  ... 18 more like s0" in lines
    assert any(line.strip() == "c: float64 (9,)  72 B" for line in lines)
    assert len(lines) <= 40


def test_a_path_is_never_cut() -> None:
    name = "snapshots_of_the_agent/" * 12 + "AffineLayer_W"
    assert f"  {name}: float64 (9,)  72 B" in paged({name: np.ones(9)})


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        (np.array([0.44666433, -0.0382], "f4"), "float32 (2,)  [0.44666433, -0.0382]"),
        (np.array([[0.1, 0.2, 0.3, 0.4]], "f4"), "float32 (1, 4)  [0.1, 0.2, 0.3, 0.4]"),
        (np.array(0.1, "f4"), "float32 ()  0.1"),
        (np.array(b"Recurrent"), "S9 ()  b'Recurrent'"),
        (np.array("softmax"), "U7 ()  'softmax'"),
        (np.float32(0.44666433), "0.44666433"),
        (LazyArray(np.dtype("f4"), (), lambda: np.array(0.875, "f4")), "float32 ()  0.875"),
        (np.array(["x" * 50] * 3), f"U50 (3,)  [{'x' * 50!r}, ...]  600 B"),
    ],
)
def test_small_arrays_are_shown_by_their_values(leaf: Any, text: str) -> None:
    assert leaf_text(leaf) == text


def test_lists_of_plain_values_are_one_line() -> None:
    assert shown({"t": ["a", "b"]}) == "dict of 1\n  t: ['a', 'b']"
    assert shown({"k": [[0.1] * 68] * 50}) == (
        "dict of 1\n  k: list of 50 lists of 68 floats  [[0.1, 0.1, 0.1, ...], ...]"
    )
    assert shown({"o": np.array(["a", None], object)}) == "dict of 1\n  o: text (2,)  'a', None"
    assert shown([[1 / 3, 2.5]] * 1) == "list of 1\n  0: [0.333333, 2.5]"


def test_one_array_under_two_names_is_shown_once() -> None:
    array = np.ones((3, 2))
    assert shown({"emb": array, "head": array}).splitlines()[-1] == "  head: the same as 'emb'"


def test_a_factory_is_shown_as_the_class_that_it_makes() -> None:
    maker = Global("pandas.core.index", "_new_Index")
    cls = Global("pandas.tseries.period", "PeriodIndex")
    index = Record(maker, maker=maker, kind="reduce", args=(cls, {"name": "x"}))
    assert shown([index]).splitlines()[1].startswith("  0: pandas.tseries.period.PeriodIndex")
    assert classes_of([index], PackView()) == {"pandas.tseries.period.PeriodIndex": 1}

"""A file that gives one name to all that it holds is read in the time of its bytes."""

from __future__ import annotations

import json
import time

import pytest

import persist
from persist._runtime.free_names import free_name


def test_layers_of_one_name() -> None:
    """4 MB of 60,000 layers called "a" took minutes, each name being counted from 2."""
    layer = {"class_name": "Dense", "config": {"name": "a"}}

    def seconds(count: int) -> float:
        data = json.dumps({"class_name": "Sequential", "config": [layer] * count}).encode()
        begin = time.process_time()
        persist.explain(data)
        return time.process_time() - begin

    seconds(100)
    assert seconds(4000) < 6 * max(seconds(1000), 0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 128, 129, 1000])
def test_names_are_counted(count: int) -> None:
    taken: dict[str, int] = {}
    for number in range(count):
        name = free_name("a", taken)
        assert name == ("a" if not number else f"a~{number + 1}")
        taken[name] = number
    assert free_name("b", taken) == "b"


def test_a_gap_is_filled_where_it_is_small() -> None:
    taken = {"a", "a_2", "a_4", *(f"a_{number}" for number in range(5, 200))}
    assert free_name("a", taken, "_") == "a_3"
    taken |= {"a_3"}
    assert free_name("a", taken, "_") == "a_200"

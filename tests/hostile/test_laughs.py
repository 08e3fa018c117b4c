"""Graphs whose references multiply beyond any count can be used like any other value."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main
from persist._trees.compare import difference
from persist.errors import PersistError


def laughs(levels: int = 60) -> Any:
    """A list of 2**levels paths to one array and one text."""
    value: Any = [np.arange(3.0), "ha"]
    for _ in range(levels):
        value = [value, value]
    return value


def complete(count: int = 40) -> Any:
    """A complete graph of dicts, which refer to themselves, too."""
    nodes: list[dict[str, Any]] = [{"n": number} for number in range(count)]
    for node in nodes:
        node.update({f"to{number}": other for number, other in enumerate(nodes)})
    return nodes[0]


def tuples(levels: int = 60) -> Any:
    value: Any = ("ha", 1)
    for _ in range(levels):
        value = (value, value)
    return {"t": value}


GRAPHS = {"laughs": laughs, "complete": complete, "tuples": tuples}


@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_opened_listed_printed_explained_loaded_saved_and_upgraded(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = GRAPHS[name]()
    source = tmp_path / "graph.pkl"
    source.write_bytes(pickle.dumps(value))
    with persist.open(source) as file:
        listed = [*file.arrays, *file.scalars]
        assert 1 <= len(listed) <= 100
        assert len(str(file).splitlines()) < 100
        assert len(repr(file.structure)) < 1_000_000
    assert not persist.explain(source).problems
    assert persist.scan(source).verdict == "safe"
    loaded = persist.load(source)
    for suffix, format in ((".persist", "persist"), (".pkl", "pickle")):
        target = tmp_path / f"saved{suffix}"
        persist.save(loaded, target, format=format)
        assert target.stat().st_size < 1_000_000
        assert [*persist.open(target).arrays, *persist.open(target).scalars] == listed
    again = persist.load(tmp_path / "saved.persist")
    assert difference(again, loaded) is None
    assert main(["inspect", str(source)]) == 0
    assert main(["upgrade", str(source), "--to", str(tmp_path / "up")]) == 0
    assert main(["convert", str(source), "--to", "persist", "--out", str(tmp_path / "c.persist")]) == 0  # fmt: skip
    capsys.readouterr()


def test_formats_of_names_and_arrays_refuse_it_soon(tmp_path: Path) -> None:
    """They would have to hold an array under each of 2**60 names."""
    value = laughs()
    with pytest.raises(PersistError, match="more than"):
        persist.save(value, tmp_path / "a.npz", format="npz")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert main(["convert", str(tmp_path / "a.pkl"), "--to", "npz", "--out", str(tmp_path / "b.npz")]) == 1  # fmt: skip
    with pytest.raises(PersistError, match="more than"):
        persist.restore(tmp_path / "a.pkl", {"0": np.zeros(3)})

"""With a genuine networkx of today: graphs of fourteen releases hold what they held."""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.packs]

nx = pytest.importorskip("networkx")

FOUNDRY = Path(__file__).parents[1] / "foundry" / "networkx"


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"foundry_nx_{name}", FOUNDRY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


compare, make = module("compare"), module("make")


@pytest.mark.parametrize("path", compare.archives(), ids=lambda path: path.stem)
def test_graphs_hold_what_the_release_wrote_down(path: Path) -> None:
    found = {name: compare.verdict(make, data, old) for name, data, old in compare.cases(path)}
    assert len(found) > 12
    assert set(found.values()) == {"equal"}


def again(graph: Any) -> Any:
    stream = io.BytesIO()
    persist.save(graph, stream)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return persist.load(stream.getvalue())


@pytest.mark.parametrize("cls", ["Graph", "DiGraph", "MultiGraph", "MultiDiGraph"])
def test_a_graph_in_a_container_is_the_same_again(cls: str) -> None:
    graph = make.used(getattr(nx, cls))
    loaded = again(graph)
    assert type(loaded) is type(graph)
    assert nx.utils.graphs_equal(loaded, graph)
    loaded.add_edge("b", "new", weight=1)
    assert nx.shortest_path(loaded, 3, "new") == [3, "b", "new"]


def test_both_ends_of_an_edge_share_their_attributes() -> None:
    loaded = again(make.small(nx.Graph))
    loaded[3]["b"]["weight"] = 99
    assert loaded["b"][3]["weight"] == 99


def test_a_frozen_graph_stays_frozen() -> None:
    for loaded in (again(make.frozen(nx.Graph)), persist.load(pickle.dumps(make.frozen(nx.Graph)))):
        with pytest.raises(nx.NetworkXError, match="[Ff]rozen"):
            loaded.add_node("new")


def test_a_view_is_refused_with_the_way_out() -> None:
    view = make.small(nx.Graph).subgraph([3])
    with pytest.raises(persist.errors.PersistError, match=r"copy\(\)"):
        again(view)
    assert list(again(view.copy())) == [3]


def test_an_edge_with_one_end_is_no_graph() -> None:
    graph = make.small(nx.Graph)
    del graph._adj["b"][3]
    with pytest.warns(persist.errors.OpaqueWarning, match="has one end"):
        assert isinstance(persist.load(pickle.dumps(graph)), persist.Record)


def test_an_attribute_of_the_user_stays() -> None:
    graph = make.small(nx.Graph)
    graph.remark = "mine"
    assert again(graph).remark == "mine"

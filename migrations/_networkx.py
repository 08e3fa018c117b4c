"""networkx: how graphs of every release become graphs of the installed one.

A graph is its nodes, its neighbors and its attributes, in dicts. 2.0 renamed them (``node`` and ``adj``
became ``_node`` and ``_adj``), kept views of them under the old names, and sets factories of dicts on
each instance. A graph of an older release is made anew, with the dicts of the file; an edge has one
dict of attributes, which both of its ends share. A view of a part of a graph becomes a graph of its own.

Evidence: ``networkx/classes`` of 1.6 to 3.6 (`Graph.__init__`, ``coreviews.py``, ``graphviews.py``,
``filters.py``, `freeze`), and graphs that these releases wrote (``tests/foundry/networkx``).
"""

from __future__ import annotations

import copyreg
import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.tree import ABSENT, Global
from persist.typing import State

__all__ = ["NEWEST", "OLDEST", "declare"]

OLDEST, NEWEST = "3.0", "3.6"
"""The releases of networkx for which graphs are made."""

_CLASSES = {
    "networkx.classes.graph.Graph": "Graph",
    "networkx.classes.digraph.DiGraph": "DiGraph",
    "networkx.classes.multigraph.MultiGraph": "MultiGraph",
    "networkx.classes.multidigraph.MultiDiGraph": "MultiDiGraph",
    # Views of 2.0 and 2.1 had classes of their own.
    "networkx.classes.graphviews.SubGraph": "Graph",
    "networkx.classes.graphviews.SubDiGraph": "DiGraph",
    "networkx.classes.graphviews.SubMultiGraph": "MultiGraph",
    "networkx.classes.graphviews.SubMultiDiGraph": "MultiDiGraph",
    "networkx.classes.graphviews.ReverseView": "DiGraph",
    "networkx.classes.graphviews.MultiReverseView": "MultiDiGraph",
}
_VIEWS = (
    "adj", "succ", "pred", "nodes", "edges", "out_edges", "in_edges", "degree", "out_degree", "in_degree", "edge",
)  # fmt: skip
_CHANGING = (  # what `freeze` replaces on an instance
    "add_node", "add_nodes_from", "remove_node", "remove_nodes_from", "add_edge", "add_edges_from",
    "add_weighted_edges_from", "remove_edge", "remove_edges_from", "clear", "clear_edges",
)  # fmt: skip
_PARTS = ("graph", "node", "adj", "succ", "pred", "_node", "_adj", "_succ", "_pred", "frozen")
_TODAY = ("graph", "_node", "_adj", "_succ", "_pred", "__networkx_cache__")
_OF_VIEWS = ("_graph", "root_graph", "_NODE_OK", "_EDGE_OK", "filter_node", "filter_edge")
_FILTERED = ("FilterAtlas", "FilterAdjacency", "FilterMultiInner", "FilterMultiAdjacency")
_SHOWN = ("show_nodes", "hide_nodes")


def declare(pack: Registry) -> None:
    """Declare in a pack how graphs are made, and the views that a part of a graph holds."""
    pack.rebuild(
        *_CLASSES,
        library="networkx",
        takes_names=True,
        requires=_check_installed,
        caches=_caches,
        taken=_taken,
        inherited=_inherited,
    )(functools.partial(_graph, pack.resolve))
    module = "networkx.classes"
    views = functools.partial(pack.rebuild, library="networkx", takes_names=True)
    for name in _FILTERED:
        views(f"{module}.coreviews.{name}", f"{module}.graphviews.{name}", taken=_refused)(
            _filtered
        )
    views(*(f"{module}.filters.{name}" for name in _SHOWN), taken=_refused)(_shown)


@functools.cache
def _check_installed() -> None:
    from packaging.version import Version

    release = str(importlib.import_module("networkx").__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"networkx {release} is installed, and graphs are made for {OLDEST} to {NEWEST}"
        )


def _caches(state: dict[str, object]) -> Iterable[str]:
    """What a graph holds besides: views (data before 2.0), factories, and methods of frozen graphs."""
    views = _VIEWS if "_adj" in state else ("edge",)
    factories = [name for name in state if name.endswith(("_factory", "_class"))]
    return (*views, *factories, *_CHANGING, *_OF_VIEWS, "__networkx_cache__", "fh")


def _taken(graph: object) -> object:
    """A graph as pickle would write it, without views, factories and caches."""
    state = dict(graph.__dict__)
    for name in _caches(state):
        state.pop(name, None)
    for name in ("_node", "_adj", "_succ", "_pred"):
        if name in state and type(state[name]) is not dict:
            raise RestoreError("it is a view of another graph; save a copy() of it")
    return copyreg.__newobj__, (type(graph),), state  # type: ignore[attr-defined]


def _refused(view: object) -> Any:
    raise RestoreError("it is a part of a view of a graph; save a copy() of the view")


def _graph(resolve: Callable[[str], str], record: Record) -> object:
    """A graph of any release since 1.0."""
    module = importlib.import_module("networkx")
    state = record.state
    if not isinstance(state, dict):
        raise RestoreError("its state is no dict of attributes")
    made = getattr(module, _CLASSES[resolve(record.qualname)])()
    _fill(made, state)
    known = {*_PARTS, *_OF_VIEWS}
    for name, value in state.items():
        if name not in known:
            if name.startswith("_") or hasattr(made, name):
                raise RestoreError(f"networkx knows no attribute {name!r} of a graph")
            setattr(made, name, value)
    return module.freeze(made) if state.get("frozen") else made


def _inherited(
    state: dict[Any, Any], cls: type, base: type, releases: frozenset[str]
) -> dict[Any, Any]:
    """The state of a graph of a user's class: today's dicts, and what is the user's own."""
    _check_installed()
    if state.get("frozen"):
        raise RestoreError("it is frozen, which is known of networkx's own classes only")
    made = base()
    _fill(made, state)
    theirs = {*_caches(state), *_PARTS}
    own = {name: value for name, value in state.items() if name not in theirs}
    today = {name: made.__dict__[name] for name in _TODAY if name in made.__dict__}
    return {**today, **own}


def _fill(made: Any, state: dict[str, Any]) -> None:
    """Give an empty graph the nodes, neighbors and attributes of a state."""
    nodes, neighbors = _part(state, "node"), _part(state, "succ", "adj")
    if neighbors.keys() != nodes.keys():
        raise RestoreError("its neighbors are not those of its nodes")
    if made.is_directed():
        before = _part(state, "pred")
        _share(neighbors, before, nodes)
        made._pred = before
    else:
        _share(neighbors, neighbors, nodes)
    made._adj = neighbors
    if made.is_directed():
        made._succ = neighbors
    made._node = nodes
    made.graph = _dict(state.get("graph"), "attributes")


def _part(state: State, *names: str) -> dict[Any, dict[Any, Any]]:
    """A dict of dicts, under the name that it has since 2.0 or had before."""
    for name in (*(f"_{one}" for one in names), *names):
        found = state.get(name)
        if isinstance(found, dict):
            if not all(isinstance(inner, dict) for inner in found.values()):
                raise RestoreError(f"its {name} are no dicts of attributes")
            return found
    raise RestoreError(f"it has no {names[0]}")


def _dict(value: object, what: str) -> dict[object, object]:
    if not isinstance(value, dict):
        raise RestoreError(f"its {what} are no dict")
    return value


def _share(after: dict[Any, Any], before: dict[Any, Any], nodes: dict[Any, Any]) -> None:
    """Let both ends of an edge have the same dict of attributes; refuse edges with one end.

    Raises:
        RestoreError: an edge leads to no node, or back to nothing.
    """
    if before.keys() != nodes.keys():
        raise RestoreError("its predecessors are not those of its nodes")
    found = 0
    for node, neighbors in after.items():
        for other, data in neighbors.items():
            back = before.get(other)
            if back is None or node not in back or not isinstance(data, dict):
                raise RestoreError(f"an edge from {node!r} to {other!r} has one end")
            if back[node] is not data:
                if back[node] != data:
                    raise RestoreError(f"the edge from {node!r} to {other!r} has two states")
                back[node] = data
            found += 1
    if found != sum(map(len, before.values())):
        raise RestoreError("some of its edges have one end")


# Views of a part of a graph.


@attrs.frozen
class _Shown:
    """Which nodes are shown: those listed, or all others."""

    nodes: Any
    is_shown: bool = True

    def shows(self, node: Any) -> bool:
        return (node in self.nodes) is self.is_shown


def _shown(record: Record) -> _Shown:
    """A filter of nodes: those that are listed, or all others."""
    nodes = record.args[0] if record.args else None
    if isinstance(record.state, dict):
        nodes = record.state.get("nodes", nodes)
    if not isinstance(nodes, set | frozenset | list | tuple | dict):
        raise RestoreError("it lists no nodes")
    return _Shown(nodes, record.cls.name == "show_nodes")


def _is_all(filter: object) -> bool:
    name = filter.name if isinstance(filter, Global) else getattr(filter, "__name__", None)
    return name == "no_filter"


def _filtered(record: Record) -> object:
    """The dict that a filtered view shows: of nodes, or of neighbors with or without keys of edges."""
    state = {} if record.state is ABSENT else record.state
    held, is_shown = state.get("_atlas"), state.get("NODE_OK")
    if not isinstance(held, dict):
        raise RestoreError("it is a view of a view")
    if not (_is_all(is_shown) or isinstance(is_shown, _Shown)):
        raise RestoreError("it shows nodes by a function that is not networkx's")
    if "EDGE_OK" in state and not _is_all(state["EDGE_OK"]):
        raise RestoreError("it shows some edges only")
    shows = (is_shown if isinstance(is_shown, _Shown) else _Shown((), False)).shows
    found = {node: inner for node, inner in held.items() if shows(node)}
    if "EDGE_OK" not in state:
        return found
    return {
        node: {other: data for other, data in inner.items() if shows(other)}
        for node, inner in found.items()
    }

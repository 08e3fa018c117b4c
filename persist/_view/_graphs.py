"""The structure of a network as nodes and edges: Keras configs, MXNet symbols, TensorFlow graphs, modules."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from persist.tree import Record

__all__ = ["graph_of"]

_MOST = 2_000  # nodes

Graph = dict[str, list[Any]]


def graph_of(format: str, structure: Mapping[str, object], tree: object) -> Graph | None:
    """Return ``{"nodes": [[name, kind]...], "edges": [[from, to]...]}``, or None for no network.

    Edges are positions in the list of nodes. What does not have the expected form is left out: it is
    the config of a stranger.
    """
    for make in (_mxnet, _tensorflow, _keras):
        nodes, edges = make(structure)
        if len(nodes) > 1:
            return _numbered(nodes, edges)
    nodes, edges = _modules(tree)
    return _numbered(nodes, edges) if len(nodes) > 1 else None


Parts = tuple[list[tuple[str, str]], list[tuple[str, str]]]


def _numbered(nodes: list[tuple[str, str]], edges: list[tuple[str, str]]) -> Graph:
    nodes = nodes[:_MOST]
    places = {name: at for at, (name, _) in enumerate(nodes)}
    pairs = {(places[a], places[b]): None for a, b in edges if a in places and b in places}
    return {"nodes": [list(node) for node in nodes], "edges": [list(pair) for pair in pairs]}


def _dicts(value: object) -> Iterator[dict[Any, Any]]:
    if isinstance(value, list | tuple):
        yield from (one for one in value if isinstance(one, dict))


def _mxnet(structure: Mapping[str, object]) -> Parts:
    symbol = structure.get("symbol")
    found = list(_dicts(symbol.get("nodes"))) if isinstance(symbol, dict) else []
    names = [str(node.get("name", at)) for at, node in enumerate(found)]
    is_weight = [
        str(node.get("op")) == "null" and not _is_input(name)
        for node, name in zip(found, names, strict=True)
    ]
    nodes = [
        (name, str(node.get("op")))
        for name, node, hidden in zip(names, found, is_weight, strict=True)
        if not hidden
    ]
    edges = []
    for name, node in zip(names, found, strict=True):
        for item in node.get("inputs") or ():
            at = item[0] if isinstance(item, list | tuple) and item else None
            if isinstance(at, int) and 0 <= at < len(names):
                edges.append((names[at], name))
    return nodes, edges


def _is_input(name: str) -> bool:
    return name == "data" or name.endswith(("data", "label", "input"))


def _tensorflow(structure: Mapping[str, object]) -> Parts:
    nodes, edges = [], []
    for node in _dicts(structure.get("nodes")):
        name = node.get("name")
        if not isinstance(name, str):
            continue
        nodes.append((name, str(node.get("op", ""))))
        for source in node.get("inputs") or ():
            if isinstance(source, str):
                edges.append((source.lstrip("^").partition(":")[0], name))
    return nodes, edges


def _keras(structure: Mapping[str, object]) -> Parts:
    model = structure.get("model") or structure.get("config")
    config = model.get("config") if isinstance(model, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else config
    nodes: list[tuple[str, str]] = []
    edges: list[tuple[str, str]] = []
    has_inbound = False
    for at, layer in enumerate(_dicts(layers)):
        inner = layer.get("config")
        named = inner.get("name") if isinstance(inner, dict) else None
        name = str(layer.get("name") or named or f"layer {at}")
        nodes.append((name, str(layer.get("class_name", ""))))
        sources = set(_inbound(layer.get("inbound_nodes"), 0))
        has_inbound = has_inbound or bool(sources)
        edges += [(source, name) for source in sources]
    if not has_inbound:  # a sequence
        edges = [(a, b) for (a, _), (b, _) in itertools.pairwise(nodes)]
    return nodes, edges


def _inbound(value: object, depth: int) -> Iterator[str]:
    """The names of layers in ``inbound_nodes``: nested lists of Keras 1 and 2, dicts of Keras 3."""
    if depth > 12:
        return
    if isinstance(value, dict):
        history = value.get("keras_history")
        if isinstance(history, list) and history and isinstance(history[0], str):
            yield history[0]
            return
        for item in value.values():
            yield from _inbound(item, depth + 1)
    elif isinstance(value, list | tuple):
        is_node = len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int)
        if is_node:
            yield str(value[0])
            return
        for item in value:
            yield from _inbound(item, depth + 1)


def _modules(tree: object) -> Parts:
    """Modules of torch, inside each other, by the attribute ``_modules``."""
    nodes: list[tuple[str, str]] = []
    edges: list[tuple[str, str]] = []
    todo: list[tuple[str, str | None, object]] = [("", None, tree)]
    seen: set[int] = set()
    while todo and len(nodes) < _MOST:
        name, above, value = todo.pop()
        inner = _inner(value)
        if inner is None or id(value) in seen:
            if isinstance(value, dict) and above is None:
                todo += [
                    (str(key), None, item)
                    for key, item in value.items()
                    if _inner(item) is not None
                ]
            continue
        seen.add(id(value))
        assert isinstance(value, Record)
        nodes.append((name or "(root)", value.cls.name))
        if above is not None:
            edges.append((above, name))
        start = f"{name}." if name else ""
        children = [(f"{start}{key}", name or "(root)", item) for key, item in inner.items()]
        todo += reversed(children)
    return nodes, edges


def _inner(value: object) -> dict[Any, Any] | None:
    """The modules in a module; None for any other value."""
    state = value.state if isinstance(value, Record) else None
    if not isinstance(state, dict):
        return None
    found = state.get("_modules")
    if isinstance(found, Record):  # an OrderedDict that is kept as its record
        found = dict(found.dictitems)
    return found if isinstance(found, dict) else None

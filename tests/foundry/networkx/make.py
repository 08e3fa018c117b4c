"""Pickle small graphs with the networkx that is installed, and write down what they hold.

    python make.py OUT.zip

Runs under CPython 2.7 and later, with networkx 1.0 and later. The archive holds for each graph
``NAME.pkl`` (protocol 2) and ``NAME.json``: its class, direction and attributes, nodes in order with
their attributes, neighbors in order, edges with keys and attributes, as text.
"""

import json
import pickle
import platform
import sys
import zipfile

import networkx as nx


def small(cls):
    graph = cls(name="lab", year=2016)
    graph.add_node(3)
    graph.add_node("b", **{"size": 2.5})
    graph.add_node(("t", 1))
    graph.add_edge(3, "b", weight=0.5)
    graph.add_edge("b", ("t", 1), weight=2, label="x")
    graph.add_edge(("t", 1), 3)
    graph.add_edge("b", "b", weight=7)
    return graph


def used(cls):
    """A graph whose views were asked for, so that they are cached where a release caches them."""
    graph = small(cls)
    for name in ("nodes", "edges", "adj", "degree", "succ", "pred", "in_edges", "out_edges", "in_degree"):
        found = getattr(graph, name, None)
        if callable(found):
            list(found())
    return graph


def several(cls):
    graph = small(cls)
    graph.add_edge(3, "b", weight=9)
    graph.add_edge(3, "b", key="k", weight=10)
    return graph


def frozen(cls):
    return nx.freeze(small(cls))


CASES = {
    "graph": lambda: small(nx.Graph),
    "digraph": lambda: small(nx.DiGraph),
    "multigraph": lambda: several(nx.MultiGraph),
    "multidigraph": lambda: several(nx.MultiDiGraph),
    "empty": lambda: nx.Graph(),
    "used_graph": lambda: used(nx.Graph),
    "used_digraph": lambda: used(nx.DiGraph),
    "used_multidigraph": lambda: used(nx.MultiDiGraph),
    "frozen": lambda: frozen(nx.Graph),
    "view": lambda: small(nx.Graph).subgraph([3, "b"]),
    "reversed": lambda: small(nx.DiGraph).reverse(copy=False),
    "ordered": lambda: small(nx.OrderedGraph),
    "grid": lambda: nx.grid_2d_graph(3, 3),
    "karate": lambda: nx.karate_club_graph(),
    "tree": lambda: nx.bfs_tree(nx.path_graph(5), 0),
}


def text(value):
    if isinstance(value, tuple):
        return "(%s)" % ", ".join(map(text, value))
    return str(value)


def attributes(data):
    return sorted((text(key), text(value)) for key, value in data.items())


def described(graph):
    nodes = [[text(n), attributes(d)] for n, d in graph.nodes(data=True)]
    options = {"keys": True} if graph.is_multigraph() else {}
    edges = [
        [text(one[0]), text(one[1]), text(one[2]) if options else "", attributes(one[-1])]
        for one in graph.edges(data=True, **options)
    ]
    return {
        "directed": graph.is_directed(),
        "multigraph": graph.is_multigraph(),
        "attributes": attributes(graph.graph),
        "nodes": nodes,
        "edges": edges,
        "neighbors": [[text(n), [text(one) for one in graph[n]]] for n in graph],
        "degrees": sorted([text(n), d] for n, d in dict(graph.degree()).items()),
    }


def main(out):
    reasons = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(CASES):
            try:
                graph = CASES[name]()
                data = pickle.dumps(graph, 2)
                found = described(graph)
            except Exception as error:
                reasons[name] = "%s: %s" % (type(error).__name__, str(error)[:100])
                continue
            archive.writestr(name + ".pkl", data)
            archive.writestr(name + ".json", json.dumps(found, sort_keys=True))
        releases = {"python": platform.python_version(), "networkx": nx.__version__, "left_out": reasons}
        archive.writestr("releases.json", json.dumps(releases, indent=1, sort_keys=True))
    print(out, len(CASES) - len(reasons), "of", len(CASES))


if __name__ == "__main__":
    main(sys.argv[1])

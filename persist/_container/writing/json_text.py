"""The graph as JSON text; values that JSON cannot express become nodes."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

__all__ = ["bits", "graph_text"]

_DIGITS = 2126  # bits of 640 digits: the lowest limit that sys.set_int_max_str_digits accepts


def bits(value: float) -> str:
    """Return the eight bytes of a float, big-endian, in hexadecimal."""
    return struct.pack(">d", value).hex()


def graph_text(
    layouts: list[Any],
    shapes: list[Any],
    nodes: list[object],
    root: object,
    refs: list[list[int]],
    extra: dict[str, Any],
    below: int,
) -> bytes:
    """Return the graph as JSON; a value that JSON cannot express becomes a node of its own.

    Args:
        layouts, shapes, nodes, root: the keys of ``graph.json``.
        refs: every cell that refers to a node.
        extra: further parts of the graph: "tables", "blocks", "lists".
        below: the number of the first node.
    """
    graph = {"layouts": layouts, "shapes": shapes, **extra, "nodes": nodes, "root": root}
    try:
        return _dump(graph).encode()
    except ValueError:  # nan, text with lone surrogates, an int beyond what Python prints
        columns = [column for table in extra.get("tables", ()) for column in table["columns"]]
        columns += [one["items"] for one in extra.get("lists", ())]
        graph["nodes"], graph["root"] = _repaired(nodes, root, refs, columns, below)
    text = _dump(graph)
    try:
        return text.encode()
    except UnicodeEncodeError:  # in the name of a class or a field of a dtype
        return json.dumps(graph, check_circular=False, separators=(",", ":")).encode()


def _dump(graph: object) -> str:
    return _ENCODER.encode(graph)


_ENCODER = json.JSONEncoder(
    check_circular=False, allow_nan=False, ensure_ascii=False, separators=(",", ":")
)


def _repaired(
    nodes: list[object], root: object, refs: list[list[int]], columns: list[Any], below: int
) -> tuple[list[object], object]:
    """Move values that JSON cannot express to nodes at the front; all numbers of nodes are shifted."""
    front: list[object] = []
    known: dict[Any, list[Any]] = {}

    def mended(cell: object) -> object:
        node = _node_of_atom(cell)
        if node is None:
            return cell
        key = tuple(node)
        if key not in known:
            known[key] = [below + len(front)]
            front.append(node)
        return known[key]

    def mend(column: list[Any]) -> None:
        if column[0] in ("cells", "same"):
            column[1:] = map(mended, column[1:])
        elif column[0] == "tuples":
            for part in column[1:]:
                mend(part)

    for column in columns:
        mend(column)
    body = [
        [node[0], *map(mended, node[1:])] if type(node) is list and node[0] != "dtype" else node
        for node in nodes
    ]
    root = mended(root)
    runs = [node for node in body if type(node) is list and node[0] in ("listrun", "dictrun")]
    runs += [column for column in columns if column[0] == "run"]
    for run in runs:
        run[-2] += len(front) if run[-2] >= below else 0
    for ref in refs:
        ref[0] += len(front) if ref[0] >= below else 0
    return front + body, root


def _node_of_atom(cell: Any) -> list[object] | None:
    kind = type(cell)
    if kind is float and not math.isfinite(cell):
        return ["float", bits(cell)]
    if kind is int and cell.bit_length() > _DIGITS:
        return ["int", hex(cell)]
    if kind is str:
        try:
            cell.encode()
        except UnicodeEncodeError:
            return ["str", cell.encode("utf-8", "surrogatepass").hex()]
    return None

"""The outline of a tree: at most so many lines, distributed among its branches.

A value that occurs a second time is shown as a reference to its first path. Siblings whose names
differ in numbers only, and whose content has one shape, are one line if the page would overflow.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs

from persist._trees.leaves import (
    compact,
    counted,
    escaped,
    leaf_text,
    made_class,
    shape_text,
    size_text,
)
from persist._trees.numbered import fold
from persist._trees.pack_view import PackView, is_array, is_series
from persist._trees.totals import memory_of, nbytes_of, totals_below
from persist.tree import ABSENT, Record, View

__all__ = ["Line", "Row", "Shape", "outlined", "tree_lines", "tree_rows"]

Row = tuple[int, str | None, str]
Line = tuple[int, str | None, str, Any, Any]

_LINES = 60
_DEPTH = 8
_LOOKED = 8  # values of one container that are inspected, per line of the page
_LEAVES = 50_000  # arrays of one container that are inspected: they have nothing below them
_VISITED = 64  # values of the whole tree that are inspected, per line of the page
_ALIKE = 4  # this many neighbours of one class are folded into the first
_KIND = 64  # nodes that are compared to find out whether two containers have one shape


@attrs.frozen
class Shape:
    """Which part of a tree is outlined, and in what order.

    Attributes:
        depth: levels that are shown; names such as ``encoder.layer.0.weight`` count as one level a dot.
            None: eight levels of containers, and names as they are.
        by_size: the largest in bytes first.
    """

    depth: int | None = None
    by_size: bool = False


def tree_lines(
    tree: object, looker: PackView, most: int = _LINES, shape: Shape | None = None
) -> list[str]:
    """Return the tree as at most ``most`` indented lines.

    The lines are one budget: containers are cut only if the page would overflow, and then the
    remaining lines are distributed among the branches. Arrays and attributes that end in ``_``
    (fitted values) are preferred; siblings of one class, and names that differ in numbers only, are
    folded into one. A value that occurs several times is shown at its shortest path.
    """
    return [
        "  " * depth
        + (f"{escaped(label)}: " if label or (depth and label is not None) else "")
        + text
        for depth, label, text in tree_rows(tree, looker, most, shape)
    ]


def tree_rows(
    tree: object, looker: PackView, most: int = _LINES, shape: Shape | None = None
) -> list[Row]:
    """Return the lines of `tree_lines` as (depth, step of the path, text); the step of a count is None."""
    return [line[:3] for line in outlined(tree, looker, most, shape)]


def outlined(
    tree: object, looker: PackView, most: int = _LINES, shape: Shape | None = None
) -> list[Line]:
    """Return the lines of `tree_rows`, each with its value and what a pack sees in it; of a count, ABSENT."""
    out: list[Line] = []
    most = max(most, 1)
    root = _Outline(looker, most, shape or Shape()).root(tree)
    _emit(root, 0, most, out)
    return out


class _Group:
    """Names that begin alike, as one line: what lies below ``encoder.layer.``"""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class _Node:
    """A line of the printed tree, and the nodes below it; its text is made when it is printed."""

    __slots__ = (
        "below", "hidden", "is_cut", "label", "leaf", "like", "looker", "rank", "same", "seen_as",
        "size", "steps", "value",
    )  # fmt: skip

    def __init__(self, label: str, value: Any, looker: PackView) -> None:
        self.label = label
        self.value = value
        self.looker = looker
        self.seen_as = looker.through(value)
        self.leaf: Any
        self.steps: list[tuple[str, Any]]
        self.leaf, self.steps = looker.look(self.seen_as)
        is_fitted = label.endswith("_") and not label.startswith("_")
        self.rank = 0 if is_array(self.leaf) or is_fitted else 1
        self.below: list[_Node] = []
        self.same: str | None = None  # the path at which its value is shown
        self.hidden = 0  # number of children that were not inspected
        self.is_cut = False
        self.size = 1
        self.like: list[_Node] = []  # nodes of other numbers that it is printed for

    @property
    def text(self) -> str:
        if self.same is not None:
            return f"the same as '{escaped(self.same)}'" if self.same else "the same as the root"
        if isinstance(self.value, _Group):
            return _sum_text(self)
        if self.like and is_array(self.leaf):
            count = len(self.like) + 1
            each = nbytes_of(self.leaf)
            total = sum(nbytes_of(one.leaf) for one in (self, *self.like))
            return f"{shape_text(self.leaf)}  {count:,} of {size_text(each)}, {size_text(total)} in all"
        text = _headline(self.value, self.seen_as, self.leaf, self.steps)
        if self.like:
            text += f"  ({len(self.like) + 1:,} like this)"
        elif self.is_cut and self.steps:
            text += _sum_text(self, "  ")
        return text

    @property
    def fold(self) -> str:
        """The class of a record, if there is anything below it; else ""."""
        is_plain = self.same is None and self.steps and isinstance(self.value, Record)
        return self.value.qualname if is_plain else ""

    def kind(self) -> Hashable:
        """What siblings have in common that are one line: dtype and shape, or those below; else None."""
        left = [_KIND]
        found = self._kind(left)
        return found if left[0] > 0 else None

    def _kind(self, left: list[int]) -> Hashable:
        left[0] -= 1
        if left[0] <= 0 or self.same is not None or self.is_cut or self.hidden:
            return None
        if is_array(self.leaf):
            return shape_text(self.leaf)
        if not self.below:
            return None
        parts = []
        for child in self.below:
            inner = child._kind(left)
            if inner is None and (child.steps or child.same is not None):
                return None
            parts.append((child.label, type(child.value).__name__ if inner is None else inner))
        has_arrays = any(is_array(child.leaf) or child.below for child in self.below)
        return (type(self.seen_as).__name__, tuple(parts)) if has_arrays else None


def _sum_text(node: _Node, before: str = "") -> str:
    """The sums over all arrays below a node whose children are not shown; "" if there are none."""
    is_group = isinstance(node.value, _Group)
    total = totals_below(node.value.items if is_group else node.value, node.looker)
    if not total.arrays:
        return f"{before}{len(node.value.items):,} values" if is_group else ""
    more = "or more " if total.is_partial else ""
    return f"{before}{counted(total.arrays, 'array')}, {more}{size_text(total.nbytes)}"


class _Outline:
    """Builds the nodes of a tree level by level, from a bounded number of values."""

    def __init__(self, looker: PackView, most: int, shape: Shape) -> None:
        self._looker = looker
        self._most = most
        self._shape = shape
        self._depth = _DEPTH if shape.depth is None else shape.depth
        self._seen: dict[object, str] = {}
        self._kept: list[object] = []  # ids are those of values that live as long as the outline

    def root(self, tree: object) -> _Node:
        """Return the root of the nodes."""
        root = _Node("", tree, self._looker)
        self._seen.update({id(root.seen_as): "", id(tree): ""})
        made = [root]
        inner_nodes = 1  # arrays have nothing below them, and are not limited
        level = [(root, "", root.steps)]
        for depth in range(self._depth + 1):
            following = []
            for node, path, steps in level:
                if not steps:
                    continue
                if depth == self._depth or inner_nodes > _VISITED * self._most:
                    node.is_cut = True
                    continue
                for step, item in self._looked_at(steps, depth):
                    own = f"{path}/{step}" if path else step
                    child, inner = self._node(step, item, own)
                    node.below.append(child)
                    made.append(child)
                    if not is_array(child.leaf):
                        inner_nodes += 1
                    if inner:
                        following.append((child, own, inner))
                if not any(isinstance(child.value, _Group) for child in node.below):
                    node.hidden = len(steps) - len(node.below)
            level = following
        for node in reversed(made):  # parents come before their children in `made`
            node.size = 1 + sum(child.size for child in node.below) + (node.hidden > 0)
            if self._shape.by_size:
                node.below.sort(key=self._bytes, reverse=True)
        return root

    def _bytes(self, node: _Node) -> int:
        if node.same is not None:
            return 0
        if is_array(node.leaf):
            return nbytes_of(node.leaf)
        is_group = isinstance(node.value, _Group)
        return totals_below(node.value.items if is_group else node.value, self._looker).nbytes

    def _looked_at(self, steps: list[tuple[str, Any]], depth: int) -> list[tuple[str, Any]]:
        """The children of which nodes are made: the first ones, and the arrays among the others."""
        if self._shape.depth is not None:
            steps = _grouped(steps, self._shape.depth - depth)
        first = _LOOKED * self._most
        if len(steps) <= first:
            return steps
        rest = [one for one in steps[first:_LEAVES] if is_array(self._looker.look(one[1])[0])]
        return [*steps[:first], *rest]

    def _node(self, label: str, value: Any, path: str) -> tuple[_Node, list[tuple[str, Any]]]:
        node = _Node(label, value, self._looker)
        if isinstance(value, _Group):
            return node, []
        seen_as, leaf, steps = node.seen_as, node.leaf, node.steps
        if bool(steps) or is_array(leaf) or is_series(leaf):
            key: object = id(seen_as)
            if is_array(leaf) and not steps:
                key = memory_of(leaf)
            known = self._seen.get(key) if path else None
            if known is not None:
                node.same, node.rank, node.steps = known, 2, []
                return node, []
            self._seen[key] = path
            self._kept.append((seen_as, leaf))
        whole = not steps or compact(seen_as) is not None
        if whole:
            node.steps = [] if leaf is ABSENT and not steps else steps
            return node, []
        return node, steps


def _grouped(steps: list[tuple[str, Any]], levels: int) -> list[tuple[str, Any]]:
    """Join the children whose names have more dots than there are levels, by how they begin."""
    groups: dict[str, list[tuple[str, Any]]] = {}
    for step, item in steps:
        parts = step.split(".")
        groups.setdefault(".".join(parts[: max(levels, 1)]), []).append((step, item))
    found: list[tuple[str, Any]] = []
    for start, members in groups.items():
        if len(members) == 1:
            found += members
        else:
            found.append((f"{start}.*", _Group([item for _, item in members])))
    return found


def _emit(node: _Node, depth: int, budget: int, out: list[Line]) -> None:
    """Append a node and its children in at most ``budget`` lines."""
    rest = budget - 1
    has_more = bool(node.below or node.hidden)
    is_cut = node.is_cut or (has_more and rest < 1)
    is_shown = node.same is None and not isinstance(node.value, _Group)
    value, leaf = (node.value, node.leaf) if is_shown else (ABSENT, ABSENT)
    out.append((depth, node.label, node.text + (" ..." if is_cut else ""), value, leaf))
    if not has_more or rest < 1:
        return
    if node.size <= budget:
        parts: list[tuple[_Node | str, int]] = [(child, child.size) for child in node.below]
        hidden = node.hidden
    else:
        parts, hidden = _shared(_folded(_by_number(node.below)), node.hidden, rest)
    for part, share in parts:
        if isinstance(part, str):
            out.append((depth + 1, None, part, ABSENT, ABSENT))
        else:
            _emit(part, depth + 1, share, out)
    if hidden:
        out.append((depth + 1, None, f"... and {hidden:,} more", ABSENT, ABSENT))


def _by_number(nodes: list[_Node]) -> list[_Node]:
    """Replace siblings whose names differ in numbers only, and that have one shape, by one node."""
    names = [(node.label, node.kind()) for node in nodes]
    folded: list[_Node] = []
    for label, places in fold(names):
        first = nodes[places[0]]
        if len(places) > 1:
            first.label = label
            first.like = [nodes[at] for at in places[1:]]
        folded.append(first)
    return folded


def _folded(nodes: list[_Node]) -> list[_Node | str]:
    """Replace a run of many neighbours of one class by the first and a line that counts the rest."""
    parts: list[_Node | str] = []
    at = 0
    while at < len(nodes):
        end = at + 1
        while end < len(nodes) and nodes[at].fold and nodes[end].fold == nodes[at].fold:
            end += 1
        if end - at < _ALIKE:
            parts += nodes[at:end]
        else:
            parts += [nodes[at], f"... {end - at - 1:,} more like {escaped(nodes[at].label)}"]
        at = end
    return parts


def _shared(
    parts: list[_Node | str], hidden: int, rest: int
) -> tuple[list[tuple[_Node | str, int]], int]:
    """Distribute lines among parts: each gets at least one, and no more than it needs."""
    if len(parts) + (hidden > 0) > rest:
        order = sorted(range(len(parts)), key=lambda at: getattr(parts[at], "rank", 1))
        kept = sorted(order[: rest - 1])
        dropped = [parts[at] for at in set(order) - set(kept)]
        hidden += sum(1 + len(part.like) if isinstance(part, _Node) else 1 for part in dropped)
        parts = [parts[at] for at in kept]
    needs = [part.size if isinstance(part, _Node) else 1 for part in parts]
    shares = [1] * len(parts)
    left = rest - (hidden > 0) - len(parts)
    while left > 0:
        hungry = [at for at, need in enumerate(needs) if shares[at] < need]
        if not hungry:
            break
        each = max(1, left // len(hungry))
        for at in hungry:
            given = min(each, needs[at] - shares[at], left)
            shares[at] += given
            left -= given
    return list(zip(parts, shares, strict=True)), hidden


def _headline(value: Any, seen_as: Any, leaf: object, steps: list[tuple[str, object]]) -> str:
    kind = ""
    if isinstance(value, Record):
        version = "" if value.version is None else f", version {value.version}"
        kind = f"{escaped(made_class(value))}{version}"
        if isinstance(seen_as, Record) and leaf is ABSENT:
            return f"{kind}  (record)" if steps else f"{kind}  (record, empty)"
    if leaf is not ABSENT:
        text = (compact(leaf) if is_series(leaf) else None) or leaf_text(leaf)
        return f"{text}  ({kind})" if kind else text
    if kind:
        return kind
    in_one_line = compact(seen_as)
    if in_one_line is not None:
        return in_one_line
    if isinstance(seen_as, View):
        return f"{len(steps):,} parts"
    return f"{type(seen_as).__name__} of {len(steps):,}"

"""Print a file for a person: its format and its tree, in a bounded number of lines.

Every walk here is limited in lines and depth. A value that occurs a second time is
shown as a reference to its first path; long text and numbers are shortened.
"""

from __future__ import annotations

import array as array_module
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._runtime.printing import repr_of
from persist._trees.paths import PackView, is_array, is_series
from persist._wire.base.ml_dtypes import dtype_name, stored_dtype
from persist.errors import PersistError
from persist.tree import ABSENT, Global, LazyArray, Record, View

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = [
    "counted",
    "escaped",
    "leaf_text",
    "line",
    "page",
    "printable",
    "size_text",
    "tree_lines",
    "tree_rows",
]

Row = tuple[int, str | None, str]

_LINES = 60
_DEPTH = 8
_LOOKED = 8  # values of one container that are inspected, per line of the page
_VISITED = 64  # values of the whole tree that are inspected, per line of the page
_ALIKE = 4  # this many neighbours of one class are folded into the first
_ELEMENTS = 4  # an array of at most this many elements is shown by its values
_TINY = 64  # a lazy array of at most this many bytes is read to be shown
_WIDTH = 72
_LONG = 240  # characters of a name in a message; paths are not cut, since users type them again


def page(file: File, lines: int = _LINES) -> str:
    """Return what ``print(file)`` shows."""
    out = [f"{file.name}", f"  format   {file.format} ({file.claim})"]
    if file.writer:
        out.append(f"  writer   {_writers(file)}")
    out += [f"  written  by {ascii(text)[1:-1]}" for text in file.evidence]
    out += [f"  damage   {note}" for note in file.damage]
    out += [f"  note     {note}" for note in file.notes]
    others = file.structure.get("others") if file.format == "archive" else None
    if others:
        more = f" and {len(others) - 8:,} more" if len(others) > 8 else ""
        out.append(f"  not read {', '.join(map(escaped, others[:8]))}{more}")
    out.append("  tree")
    shown = tree_lines(file.tree, file.looker, lines)
    held = file.held.partition(",")[0]
    if held and shown:  # the file contains several values; the list around them is added by us
        shown[0] = f"{held}: {shown[0]}" if shown[0].startswith("[") else held
    out += [f"    {line}" for line in shown]
    return "\n".join(out)


def line(file: File) -> str:
    """Return a one-line summary of a file."""
    size = sum(int(getattr(file.arrays[path], "nbytes", 0)) for path in file.arrays)
    count = len(file.arrays)
    held = f"{counted(count, 'array')}, {size_text(size)}" if count else "no arrays"
    parts = [f"{file.format}, {_writers(file)}" if file.writer else file.format, held]
    names = list(classes_of(file.tree, file.looker))
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        parts.append(f"{printable(names[0])}{more}")
    parts += [f"damage: {note}" for note in file.damage]
    parts += file.notes
    return f"{printable(file.name)}  {'; '.join(parts)}"


def _writers(file: File) -> str:
    return ", ".join(printable(f"{key} {value}") for key, value in file.writer.items())


def tree_lines(tree: object, looker: PackView, most: int = _LINES) -> list[str]:
    """Return the tree as at most ``most`` indented lines, plus one that counts the rest.

    The lines are one budget: containers are cut only if the page would overflow, and then the
    remaining lines are distributed among the branches. Arrays and attributes that end in ``_``
    (fitted values) are preferred; siblings of one class are folded into the first. A value that
    occurs several times is shown at its shortest path.
    """
    return [
        "  " * depth
        + (f"{escaped(label)}: " if label or (depth and label is not None) else "")
        + text
        for depth, label, text in tree_rows(tree, looker, most)
    ]


def tree_rows(tree: object, looker: PackView, most: int = _LINES) -> list[Row]:
    """Return the lines of `tree_lines` as (depth, step of the path, text); the step of a count is None."""
    out: list[Row] = []
    _emit(_nodes(tree, looker, max(most, 1)), 0, max(most, 1), out)
    return out


class _Node:
    """A line of the printed tree, and the nodes below it."""

    __slots__ = ("below", "fold", "hidden", "is_cut", "label", "rank", "size", "text")

    def __init__(self, label: str, text: str, rank: int, fold: str) -> None:
        self.label = label
        self.text = text
        self.rank = rank
        self.fold = fold
        self.below: list[_Node] = []
        self.hidden = 0  # number of children that were not inspected
        self.is_cut = False
        self.size = 1


def _nodes(tree: object, looker: PackView, most: int) -> _Node:
    """Build the nodes of a tree level by level, from a bounded number of values."""
    root, below = _node("", tree, "", looker, {})
    made = [root]
    seen = {id(looker.through(tree)): "", id(tree): ""}
    level = [(root, "", below)]
    for depth in range(_DEPTH + 1):
        following = []
        for node, path, steps in level:
            if not steps:
                continue
            if depth == _DEPTH or len(made) > _VISITED * most:
                node.is_cut = True
                continue
            for step, item in steps[: _LOOKED * most]:
                own = f"{path}/{step}" if path else step
                child, inner = _node(step, item, own, looker, seen)
                node.below.append(child)
                made.append(child)
                following.append((child, own, inner))
            node.hidden = len(steps) - len(node.below)
        level = following
    for node in reversed(made):  # parents come before their children in `made`
        node.size = 1 + sum(child.size for child in node.below) + (node.hidden > 0)
    return root


def _node(
    label: str, value: Any, path: str, looker: PackView, seen: dict[int, str]
) -> tuple[_Node, list[tuple[str, Any]]]:
    seen_as = looker.through(value)
    leaf, steps = looker.look(seen_as)
    is_held = bool(steps) or is_array(leaf) or is_series(leaf)
    known = seen.get(id(seen_as)) if is_held and path else None
    rank = 0 if is_array(leaf) or (label.endswith("_") and not label.startswith("_")) else 1
    if known is not None:
        where = f"'{escaped(known)}'" if known else "the root"
        return _Node(label, f"the same as {where}", 2, ""), []
    if is_held and path:
        seen[id(seen_as)] = path
    text = _headline(value, seen_as, leaf, steps)
    fold = value.qualname if isinstance(value, Record) and steps else ""
    whole = not steps or _compact(seen_as) is not None
    return _Node(label, text, rank, fold), [] if whole else steps


def _emit(node: _Node, depth: int, budget: int, out: list[Row]) -> None:
    """Append a node and its children in at most ``budget`` lines."""
    rest = budget - 1
    has_more = bool(node.below or node.hidden)
    is_cut = node.is_cut or (has_more and rest < 1)
    out.append((depth, node.label, node.text + (" ..." if is_cut else "")))
    if not has_more or rest < 1:
        return
    if node.size <= budget:
        parts: list[tuple[_Node | str, int]] = [(child, child.size) for child in node.below]
        hidden = node.hidden
    else:
        parts, hidden = _shared(_folded(node.below), node.hidden, rest)
    for part, share in parts:
        if isinstance(part, str):
            out.append((depth + 1, None, part))
        else:
            _emit(part, depth + 1, share, out)
    if hidden:
        out.append((depth + 1, None, f"... and {hidden:,} more"))


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
        hidden += len(parts) - len(kept)
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


def _compact(value: object) -> str | None:
    """One line for a list of plain values or of lists of them of one length; else None."""
    if isinstance(value, list | tuple):
        if value and all(_is_scalar(item) or isinstance(item, str | bytes) for item in value):
            return _short_items(value)
        return _rows_text(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.ndim == 1 and value.size:
        items = value.tolist()
        if all(item is None or isinstance(item, str) for item in items):
            return f"text ({len(items)},)  {_first(items)}"
    return None


def _rows_text(value: Any) -> str | None:
    """``list of 64 lists of 64 ints  [[0, 0, ...], ...]``"""
    if len(value) < 2 or {*map(type, value)} - {list, tuple}:
        return None
    rows = {id(row): row for row in value}.values()  # a row that is shared is looked at once
    lengths = {*map(len, rows)}
    kinds = {type(item) for row in rows for item in row} if len(lengths) == 1 else set()
    if len(kinds) != 1 or not kinds <= {int, float, bool}:
        return None
    first = ", ".join(map(_brief, value[0][:3]))
    more = ", ..." if len(value[0]) > 3 else ""
    kind, row = type(value).__name__, type(value[0]).__name__
    return (
        f"{kind} of {len(value):,} {row}s of {lengths.pop():,} {kinds.pop().__name__}s  "
        f"[[{first}{more}], ...]"
    )


def _first(items: list[object]) -> str:
    """The first values, as many as fit into a line."""
    shown: list[str] = []
    for item in items:
        text = leaf_text(item)
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(text) > _WIDTH:
            return f"{', '.join(shown)}, ..."
        shown.append(text)
    return ", ".join(shown)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | np.number)


def _headline(value: Any, seen_as: Any, leaf: Any, steps: list[tuple[str, Any]]) -> str:
    kind = ""
    if isinstance(value, Record):
        version = "" if value.version is None else f", version {value.version}"
        kind = f"{escaped(made_class(value))}{version}"
        if isinstance(seen_as, Record) and leaf is ABSENT:
            return f"{kind}  (record)" if steps else f"{kind}  (record, empty)"
    if leaf is not ABSENT:
        text = (_compact(leaf) if is_series(leaf) else None) or leaf_text(leaf)
        return f"{text}  ({kind})" if kind else text
    if kind:
        return kind
    compact = _compact(seen_as)
    if compact is not None:
        return compact
    if isinstance(seen_as, View):
        return f"{len(steps):,} parts"
    return f"{type(seen_as).__name__} of {len(steps):,}"


def _short_items(value: Any) -> str:
    shown = ", ".join(_brief(item) for item in list(value)[:8])
    more = f", ... {len(value) - 8:,} more" if len(value) > 8 else ""
    left, right = "()" if isinstance(value, tuple) else "[]"
    return f"{left}{shown}{more}{right}"


def _brief(item: object) -> str:
    """The text of a value in a list; floats have at most six digits."""
    if isinstance(item, float | np.floating) and len(repr(float(item))) > 8:
        return f"{float(item):.6g}"
    return leaf_text(item)


def leaf_text(leaf: Any) -> str:
    """Return one line for a leaf: an array's dtype, shape and size; a scalar, shortened."""
    if is_array(leaf):
        return _array_text(leaf)
    if isinstance(leaf, Global):
        return f"<{printable(leaf.qualname)}>"
    if isinstance(leaf, int) and not isinstance(leaf, bool) and leaf.bit_length() > 256:
        return f"an int of {leaf.bit_length():,} bits"
    if isinstance(leaf, bytes | bytearray) and len(leaf) > 24:
        kind = "a pickle" if leaf[0] == 0x80 and 2 <= leaf[1] <= 5 and leaf.endswith(b".") else ""
        inner = f" ({kind}; its parts are below its path)" if kind else ""
        return f"{type(leaf).__name__} of {len(leaf):,}: {bytes(leaf[:16])!r}...{inner}"
    if isinstance(leaf, str) and len(leaf) > _WIDTH:
        return f"{leaf[:_WIDTH]!r}... ({len(leaf):,} characters)"
    if isinstance(leaf, list | tuple | deque | dict | set | frozenset):
        return _container_text(leaf)
    if isinstance(leaf, slice):  # its parts can be any value, also a very long one
        return f"slice({', '.join(map(leaf_text, (leaf.start, leaf.stop, leaf.step)))})"
    if isinstance(leaf, np.floating):  # str() uses the precision of the type, float() would not
        return str(leaf)
    text = repr_of(leaf.item() if isinstance(leaf, np.number | np.bool_) else leaf)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


_RANDOM = {  # NumPy's functions that rebuild generators -> the class they build
    "__randomstate_ctor": "RandomState",
    "__RandomState_ctor": "RandomState",
    "__generator_ctor": "Generator",
    "__bit_generator_ctor": "BitGenerator",
}


def made_class(record: Record) -> str:
    """Return the qualified name of a record's class, also if a factory function built it.

    Factories such as pandas' ``_new_Index(PeriodIndex, {...})``, Cython's
    ``__pyx_unpickle_Tree(Tree, ...)`` and ``newObj(KDTree)`` get the class as first argument.
    """
    made = _RANDOM.get(record.cls.name) if record.cls.module.startswith("numpy.random") else None
    if made is not None:
        kind = record.args[0] if record.args else None
        return f"numpy.random.{made}{f' ({kind})' if isinstance(kind, str) else ''}"
    if record.maker is None or not record.args or not isinstance(record.args[0], Global):
        return record.qualname
    name = record.cls.name
    is_factory = name.startswith(("_new_", "__pyx_unpickle_", "_unpickle", "newObj", "_make"))
    return record.args[0].qualname if is_factory else record.qualname


def escaped(text: str) -> str:
    """Return a name from a file as one line without control characters; it is not shortened."""
    return text if text.isprintable() else repr(text)[1:-1]


def printable(text: str) -> str:
    """Return a name from a file as one line without control characters, the middle cut if long."""
    text = escaped(text)
    return text if len(text) <= _LONG else f"{text[: _LONG // 2]}...{text[-_LONG // 2 :]}"


def _container_text(leaf: Any) -> str:
    """The text of a set or an empty container; items that are not scalars are only counted."""
    if not leaf:
        return repr(leaf)
    if is_series(leaf):
        return _short_items(leaf)
    kind = type(leaf).__name__
    shown = [
        leaf_text(item) for item in list(leaf)[:6] if isinstance(item, str | int | float | bytes)
    ]
    return f"{kind} of {len(leaf):,}" + (f": {', '.join(shown)}" if shown else "")


def _array_text(array: Any) -> str:
    if isinstance(array, array_module.array):
        return f"array {array.typecode!r} ({len(array)},)"
    shape = f"({', '.join(map(str, array.shape))}{',' if len(array.shape) == 1 else ''})"
    lazy = ", lazy" if isinstance(array, LazyArray) else ""
    text = f"{_element_text(array)} {shape}"
    size = f"{size_text(array.nbytes)}{lazy}"
    if array.dtype.kind == "O":
        size = f"{array.size:,} objects{lazy}"  # nbytes would be the size of the pointers
    values = _values(array)
    if values is None:
        return f"{text}  {size}"
    if not array.shape:
        return f"{text}  {_number_text(values.reshape(-1)[0])}"
    shown: list[str] = []
    for item in values.reshape(-1)[:_ELEMENTS]:
        shown.append(_number_text(item))
        if len(", ".join(shown)) > _WIDTH:
            return f"{text}  [{', '.join(shown[:-1])}, ...]  {size}"
    return f"{text}  [{', '.join(shown)}]"


def _values(array: Any) -> np.ndarray[Any, Any] | None:
    """The values of a small array; None if they are not shown or cannot be read."""
    if array.dtype.names is not None or array.dtype.kind == "O":
        return None
    if not 0 < array.size <= _ELEMENTS:
        return None
    if isinstance(array, LazyArray):
        if array.nbytes > _TINY:
            return None
        try:
            return np.asarray(array)
        except PersistError:  # damage is reported when the user reads the array
            return None
    return np.asarray(array)


def _number_text(item: object) -> str:
    """The text of an element; floats have at most six digits."""
    if isinstance(item, np.floating):
        return (
            f"{float(item):.6g}" if float(item) % 1 or abs(float(item)) > 1e6 else str(float(item))
        )
    if isinstance(item, np.complexfloating | np.bool_ | np.number):
        return str(item.item())
    if isinstance(item, np.bytes_ | np.str_):
        return leaf_text(item.item())
    return leaf_text(item)


def _element_text(array: Any) -> str:
    """The name of the dtype; both names if the stored dtype is not a NumPy dtype."""
    stored = dtype_name(stored_dtype(array))
    if array.dtype.kind == "V" and array.dtype.names is None:
        return stored
    text = _dtype_text(array.dtype)
    is_decoded = stored != array.dtype.name and array.dtype.names is None
    return f"{stored}, read as {text}," if is_decoded else text


def _dtype_text(dtype: np.dtype[Any]) -> str:
    if dtype.names is not None:
        names = ", ".join(map(printable, dtype.names[:6])) + (
            ", ..." if len(dtype.names) > 6 else ""
        )
        return f"fields {{{names}}}"
    if dtype.kind in "SU":
        return f"{dtype.kind}{dtype.itemsize // (4 if dtype.kind == 'U' else 1)}"
    order = " big-endian" if dtype.byteorder == ">" and dtype.itemsize > 1 else ""
    return f"{dtype.name}{order}"


def counted(count: int, what: str) -> str:
    """Return a count with its noun, in the plural if needed: ``1 array``, ``2,000 arrays``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size_text(count: int) -> str:
    """Return a number of bytes with a unit: ``512 B``, ``1.5 KiB``, ``2.0 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def classes_of(tree: object, looker: PackView, most: int = 100_000) -> Mapping[str, int]:
    """Count the records of each class that no pack presents, among at most ``most`` values."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    todo = [tree]
    while todo and len(seen) < most:
        value = looker.through(todo.pop())
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Record):
            counts[made_class(value)] += 1
        todo += [item for _, item in looker.look(value)[1]]
    return counts

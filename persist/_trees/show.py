"""What a person sees of a file: its kind and the tree, cut so that it always ends.

Every walk here stops after a number of lines and goes a few levels deep; what
is met a second time is told by its path; long text and numbers are shortened.
"""

from __future__ import annotations

import array as array_module
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._printing import repr_of
from persist._trees.paths import Looker, is_array
from persist.tree import ABSENT, Global, LazyArray, Record, View

if TYPE_CHECKING:
    from persist._api.files import File

__all__ = ["counted", "leaf_text", "line", "page", "printable", "size_text", "tree_lines"]

_LINES = 60
_DEPTH = 8
_ITEMS = 12  # of one container
_WIDTH = 72


def page(file: File, lines: int = _LINES) -> str:
    """Return what ``print(file)`` shows."""
    out = [f"{file.name}", f"  format   {file.format} ({file.claim})"]
    if file.writer:
        out.append(f"  writer   {_writers(file)}")
    out += [f"  written  by {ascii(text)[1:-1]}" for text in file.evidence]
    out += [f"  damage   {note}" for note in file.damage]
    out.append("  tree")
    out += [f"    {line}" for line in tree_lines(file.tree, file.looker, lines)]
    return "\n".join(out)


def line(file: File) -> str:
    """Return a file in a line: what a person looks for in a folder of them."""
    size = sum(int(getattr(file.arrays[path], "nbytes", 0)) for path in file.arrays)
    count = len(file.arrays)
    held = f"{counted(count, 'array')}, {size_text(size)}" if count else "no arrays"
    parts = [f"{file.format}, {_writers(file)}" if file.writer else file.format, held]
    names = list(classes_of(file.tree, file.looker))
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        parts.append(f"{printable(names[0])}{more}")
    parts += [f"damage: {note}" for note in file.damage]
    return f"{printable(file.name)}  {'; '.join(parts)}"


def _writers(file: File) -> str:
    return ", ".join(printable(f"{key} {value}") for key, value in file.writer.items())


def tree_lines(tree: Any, looker: Looker, most: int = _LINES) -> list[str]:
    """Return the tree as indented lines, at most ``most`` of them and one that counts the rest."""
    out: list[str] = []
    seen: dict[int, str] = {}
    todo: list[tuple[int, str, str, Any]] = [(0, "", "", tree)]
    while todo:
        depth, label, path, value = todo.pop()
        if len(out) >= most:
            out.append(f"... and {len(todo) + 1:,} more")
            break
        pad = "  " * depth + (f"{printable(label)}: " if label else "")
        if value is _MORE:
            out.append("  " * depth + label)
            continue
        seen_as = looker.through(value)
        leaf, steps = looker.look(seen_as)
        head = _headline(value, seen_as, leaf, steps)
        known = seen.get(id(seen_as))
        if known is not None and steps:
            where = f"'{printable(known)}'" if known else "the root"
            out.append(f"{pad}the same as {where}")
            continue
        if steps:
            seen[id(seen_as)] = path
        out.append(pad + head)
        if not steps or _is_short(seen_as, steps):
            continue
        if depth >= _DEPTH:
            out[-1] += " ..."
            continue
        below = [
            (depth + 1, str(step), f"{path}/{step}" if path else step, item)
            for step, item in steps[:_ITEMS]
        ]
        if len(steps) > _ITEMS:
            below.append((depth + 1, f"... and {len(steps) - _ITEMS:,} more", path, _MORE))
        todo += reversed(below)
    return out


_MORE: Any = type("More", (), {})()


def _is_short(value: Any, steps: list[tuple[str, Any]]) -> bool:
    """Whether a container was shown whole on its line: short lists of plain scalars."""
    return isinstance(value, list | tuple) and all(_is_scalar(item) for _, item in steps)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | np.number)


def _headline(value: Any, seen_as: Any, leaf: Any, steps: list[tuple[str, Any]]) -> str:
    kind = ""
    if isinstance(value, Record):
        version = "" if value.version is None else f", version {value.version}"
        kind = f"{printable(value.qualname)}{version}"
        if isinstance(seen_as, Record) and leaf is ABSENT:
            return f"{kind}  (record)" if steps else f"{kind}  (record, empty)"
    if leaf is not ABSENT:
        text = leaf_text(leaf)
        return f"{text}  ({kind})" if kind else text
    if kind:
        return kind
    if _is_short(seen_as, steps):
        return _short_items(seen_as)
    if isinstance(seen_as, View):
        return f"{len(steps):,} parts"
    return f"{type(seen_as).__name__} of {len(steps):,}"


def _short_items(value: Any) -> str:
    shown = ", ".join(leaf_text(item) for item in list(value)[:8])
    more = f", ... {len(value) - 8:,} more" if len(value) > 8 else ""
    left, right = "()" if isinstance(value, tuple) else "[]"
    return f"{left}{shown}{more}{right}"


def leaf_text(leaf: Any) -> str:
    """Return one line for a leaf: an array's dtype, shape and size; a scalar, shortened."""
    if is_array(leaf):
        return _array_text(leaf)
    if isinstance(leaf, Global):
        return f"<{printable(leaf.qualname)}>"
    if isinstance(leaf, int) and not isinstance(leaf, bool) and leaf.bit_length() > 256:
        return f"an int of {leaf.bit_length():,} bits"
    if isinstance(leaf, bytes | bytearray) and len(leaf) > 24:
        return f"{type(leaf).__name__} of {len(leaf):,}: {bytes(leaf[:16])!r}..."
    if isinstance(leaf, str) and len(leaf) > _WIDTH:
        return f"{leaf[:_WIDTH]!r}... ({len(leaf):,} characters)"
    if isinstance(leaf, list | tuple | dict | set | frozenset):
        return _container_text(leaf)
    if isinstance(leaf, slice):  # its parts can be anything, also without an end
        return f"slice({', '.join(map(leaf_text, (leaf.start, leaf.stop, leaf.step)))})"
    text = repr_of(leaf.item() if isinstance(leaf, np.number | np.bool_) else leaf)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def printable(text: str) -> str:
    """Return a name from a file as one line that a terminal takes for text, and no longer than one."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def _container_text(leaf: Any) -> str:
    """Sets, and empty containers; items that are no scalars are only counted."""
    if not leaf:
        return repr(leaf)
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
    text = f"{_dtype_text(array.dtype)} {shape}"
    if array.size <= 4 and isinstance(array, np.ndarray) and array.dtype.names is None:
        values = ", ".join(leaf_text(item) for item in array.reshape(-1).tolist())
        return f"{text}  [{values}]" if len(values) <= _WIDTH else text
    return f"{text}  {size_text(array.nbytes)}{lazy}"


def _dtype_text(dtype: np.dtype[Any]) -> str:
    if dtype.names is not None:
        names = ", ".join(map(printable, dtype.names[:6])) + (
            ", ..." if len(dtype.names) > 6 else ""
        )
        return f"fields {{{names}}}"
    order = " big-endian" if dtype.byteorder == ">" and dtype.itemsize > 1 else ""
    return f"{dtype.name}{order}"


def counted(count: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size_text(count: int) -> str:
    """Return a number of bytes as a person says it: ``512 B``, ``1.5 KiB``, ``2.0 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def classes_of(tree: Any, looker: Looker, most: int = 100_000) -> Mapping[str, int]:
    """Count the records of each class that no pack sees through, over at most ``most`` values."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    todo = [tree]
    while todo and len(seen) < most:
        value = looker.through(todo.pop())
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Record):
            counts[value.qualname] += 1
        todo += [item for _, item in looker.look(value)[1]]
    return counts

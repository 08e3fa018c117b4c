"""Print the first rows of the arrays, tables and sequences of a file.

  persist head runs/metrics.npy
  persist head frame.pkl -n 10
  persist head model.safetensors 'encoder.*.bias'

Arrays of one axis that lie next to each other and have one length (the columns of a frame, of a log or of
a table of a database) are printed as one table. Only the rows that are printed are read, where the format
allows it.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["add", "run", "tables"]

_BLOCKS = 20  # arrays and tables that are printed, unless PATH is given
_COLUMNS = 12  # of one table
_CELL = 24  # characters
_WIDE = 8  # numbers of one row of an array


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _out, _reading

    parser.add_argument("file", metavar="FILE", help="a file, folder, prefix or URL")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="only paths that match, such as '*/weights'"
    )
    parser.add_argument("-n", "--rows", type=int, default=5, metavar="N", help="rows (5)")
    _reading.add(parser)
    _out.add_pager(parser)
    parser.set_defaults(json=False)


def run(args: argparse.Namespace) -> int:
    """Print the rows; 1 if the file cannot be read, or has nothing at PATH."""
    import persist
    from persist._cli import _reading
    from persist._cli._each import each
    from persist._cli._out import paged, show
    from persist._trees.paths import unknown_path

    def one(name: str) -> None:
        with persist.open(name, **_reading.opening(args)) as file:
            blocks = list(_blocks(file, args.path))
            if not blocks and args.path is not None:
                raise unknown_path(args.path, [*file.arrays, *_series(file)], file.name)
            lines = [file.name]
            for block in blocks[: None if args.path else _BLOCKS]:
                lines += _printed(file, block, max(args.rows, 0))
            if args.path is None and len(blocks) > _BLOCKS:
                lines.append(f"  ... and {len(blocks) - _BLOCKS:,} more: give a PATH")
            show("\n".join(lines if blocks else [*lines, "  no array, no table and no sequence"]))

    with paged(args):
        return each([args.file], one)


def _series(file: File) -> list[str]:
    """Return the paths of sequences of plain values."""
    from persist._trees.pack_view import is_series

    return [path for path in file.scalars if is_series(file.scalars[path])]


def _blocks(file: File, glob: str | None) -> Iterator[list[str]]:
    """Yield the paths that are printed together: the columns of a table, or one array."""

    def is_wanted(path: str) -> bool:
        above = path.rpartition("/")[0]
        return glob is None or any(fnmatch.fnmatchcase(one, glob) for one in (path, above))

    names = [path for path in file.arrays if is_wanted(path)]
    grouped = {path: paths for paths in _grouped(file, names) for path in paths}
    for path in names:
        paths = grouped.get(path, [path])
        if paths[0] == path:
            yield paths
    yield from ([path] for path in _series(file) if is_wanted(path))


def _grouped(file: File, names: list[str]) -> list[list[str]]:
    """Return the paths of the columns of each table."""
    inside: dict[str, list[str]] = {}
    for path in names:
        inside.setdefault(path.rpartition("/")[0], []).append(path)
    return [
        paths
        for paths in inside.values()
        if len(paths) > 1
        and len({_shape(file, path) for path in paths}) == 1
        and len(_shape(file, paths[0])) == 1
    ]


def tables(file: File) -> dict[str, dict[str, Any]]:
    """Return the tables of a file: the path of each, and its columns by name.

    A table is several arrays of one axis and one length that lie next to each other, with no other
    array there; or one structured array of one axis.
    """
    found: dict[str, dict[str, Any]] = {}
    for paths in _grouped(file, list(file.arrays)):
        columns = {path.rpartition("/")[2]: file.arrays[path] for path in paths}
        found[paths[0].rpartition("/")[0]] = columns
    for path, array in file.arrays.items():
        names = getattr(getattr(array, "dtype", None), "names", None)
        if names and len(array.shape) == 1:
            whole = array[:]
            found[path] = {name: whole[name] for name in names}
    return found


def _shape(file: File, path: str) -> tuple[int, ...]:
    array = file.arrays[path]
    return tuple(array.shape) if hasattr(array, "shape") else (len(array),)


def _printed(file: File, paths: list[str], rows: int) -> list[str]:
    from persist._trees.leaves import counted, escaped, leaf_text, shape_text

    if len(paths) > 1:
        above = paths[0].rpartition("/")[0]
        count = len(file.arrays[paths[0]])
        named = {path.rpartition("/")[2]: file.arrays[path][:rows] for path in paths[:_COLUMNS]}
        more = f", the first {_COLUMNS} shown" if len(paths) > _COLUMNS else ""
        title = f"{counted(count, 'row')} of {len(paths):,} columns{more}"
        return [f"  {escaped(above or '(root)')}: {title}", *_table(named)]
    (path,) = paths
    names = file.arrays if path in file.arrays else file.scalars
    value = names[path]
    label = escaped(path or "(root)")
    shape = getattr(value, "shape", None)
    if shape is None and path in file.scalars:
        items = [f"    {leaf_text(item)}" for item in list(value[:rows])]
        return [f"  {label}: {type(value).__name__} of {len(value):,}", *items]
    if shape == ():
        return [f"  {label}: {leaf_text(value)}"]
    part = value[:rows]
    if getattr(value, "dtype", None) is not None and value.dtype.names is not None:
        title = f"{counted(len(value), 'row')} of {len(value.dtype.names):,} fields"
        return [
            f"  {label}: {title}",
            *_table({name: part[name] for name in value.dtype.names[:_COLUMNS]}),
        ]
    return [f"  {label}: {shape_text(value)}", *(f"    {_row(row)}" for row in part)]


def _row(row: object) -> str:
    """A row of an array as one line: its first numbers."""
    import numpy as np

    flat = np.asarray(row).reshape(-1)
    shown = " ".join(_cell(item) for item in flat[:_WIDE])
    return f"{shown} ... {flat.size - _WIDE:,} more" if flat.size > _WIDE else shown


def _table(columns: dict[str, Any]) -> list[str]:
    from persist._trees.leaves import escaped

    texts = [
        [escaped(name)[:_CELL], *(_cell(item) for item in column)]
        for name, column in columns.items()
    ]
    widths = [max(map(len, column)) for column in texts]
    return [
        "    " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in zip(*texts, strict=True)
    ]


def _cell(item: object) -> str:
    import numpy as np

    from persist._trees.leaves import escaped, leaf_text

    if isinstance(item, str | np.datetime64 | np.timedelta64):
        text = escaped(str(item))
    elif isinstance(item, np.ndarray):
        text = _row(item)
    else:
        text = leaf_text(item.item() if isinstance(item, np.bytes_) else item)
    return text if len(text) <= _CELL or isinstance(item, np.ndarray) else f"{text[: _CELL - 3]}..."

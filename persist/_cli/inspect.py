"""Show the content of files: format and evidence, writer, tree, missing classes, names, damage.

For a folder of files it prints one line for each. Nothing that a file names is imported or called.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.errors import PersistError

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge, _out, _reading

    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON document; of several files or a folder JSON Lines, one document a line",
    )
    parser.add_argument("--arrays", action="store_true", help="list every array by its path")
    parser.add_argument("--path", metavar="GLOB", help="only paths that match, such as '*/weights'")
    parser.add_argument(
        "--lines", type=int, default=60, help="maximum number of lines of the tree (default 60)"
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="levels of the tree; a name such as encoder.layer.0.weight has one level a dot",
    )
    parser.add_argument(
        "--sort", choices=("size",), help="size: the largest of each level in bytes first"
    )
    _out.add_pager(parser)
    _reading.add(parser)
    _knowledge.add(parser)


def run(args: argparse.Namespace) -> int:
    """Show every file; 1 if any could not be read, or has nothing at ``--path``."""
    import os

    import persist
    from persist._cli import _knowledge, _reading
    from persist._cli._each import each
    from persist._cli._out import paged, show
    from persist._trees import show as trees_show
    from persist.errors import PersistError

    try:
        registry = _knowledge.registry_of(args)
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return 2
    options = {**_reading.opening(args), "registry": registry}
    matched = []
    folder = args.files[0] if len(args.files) == 1 and os.path.isdir(args.files[0]) else None
    indent = 1 if len(args.files) == 1 and folder is None else None
    shape = trees_show.Shape(args.depth, args.sort == "size")

    def one(name: str, *, is_named: bool = True) -> None:
        with persist.open(name, **options) as file:
            if args.path is not None:
                if _paths(file, args):
                    matched.append(name)
                elif is_named:
                    raise _no_match(file, args)
                else:
                    return
            if args.json:
                import json

                print(json.dumps(_as_json(file, args.path), indent=indent, allow_nan=False))
            elif args.arrays or args.path:
                show("\n".join(_table(file, args)))
            else:
                page = trees_show.page(file, args.lines, shape)
                facts = (*_origin(file), *_readers(file), *_classes(file), *_globals(file))
                show("\n".join([page, *facts]))

    def inside(name: str) -> None:
        """Show one line for a file in a folder."""
        if args.json or args.arrays or args.path:
            one(name, is_named=False)
            return
        with persist.open(name, **options) as file:
            relative = None if folder is None else os.path.relpath(name, folder)
            show(trees_show.line(file, name if relative in (None, os.curdir) else relative))

    # Of a folder each line appears when its file has been read.
    with contextlib.nullcontext() if folder else paged(args):
        status = each(args.files, one, inside)
    if args.path is not None and not matched and not status:
        print(f"persist: no path in any file matches {args.path!r}.", file=sys.stderr)
        return 1
    return status


def _paths(file: File, args: argparse.Namespace) -> list[str]:
    """Return the paths that ``--path`` matches: arrays and, without ``--arrays``, scalars."""
    arrays = [path for path in file.arrays if _wanted(path, args.path)]
    return arrays if args.arrays and not args.json else [*arrays, *_scalars(file, args.path)]


def _scalars(file: File, glob: str | None) -> list[str]:
    """Return the paths of scalars that ``--path`` matches, items of sequences among them."""
    from persist._trees.pack_view import is_series

    found: list[str] = []
    for path, leaf in file.scalars.items():
        if _wanted(path, glob):
            found.append(path)
        elif glob is not None and is_series(leaf) and len(leaf) <= _MOST:
            items = (f"{path}/{index}" if path else str(index) for index in range(len(leaf)))
            found += [item for item in items if _wanted(item, glob)]
    return found


def _no_match(file: File, args: argparse.Namespace) -> PersistError:
    """Return the error for a ``--path`` without a match; it lists the most similar paths first."""
    from persist._cli._misspelt import nearest
    from persist._trees.show import printable
    from persist.errors import PersistError

    every = [path for path in (*file.arrays, *file.scalars) if path]
    near = nearest(args.path, every[:10_000])
    shown = list(dict.fromkeys([*near, *every]))[:6]
    more = f", and {len(every) - len(shown):,} more" if len(every) > len(shown) else ""
    there = f"There are {', '.join(map(printable, shown))}{more}." if shown else "It has no paths."
    return PersistError(f"no path matches {args.path!r}.", file=file.name, remedy=there)


def _wanted(path: str, glob: str | None) -> bool:
    return glob is None or fnmatch.fnmatchcase(path, glob)


def _table(file: File, args: argparse.Namespace) -> list[str]:
    """Return one line for each array and, without ``--arrays``, each scalar."""
    from persist._trees.show import escaped, leaf_text
    from persist._trees.totals import nbytes_of

    rows = [
        (path, leaf_text(file.arrays[path])) for path in file.arrays if _wanted(path, args.path)
    ]
    if not args.arrays:
        rows += [(path, leaf_text(file.scalars[path])) for path in _scalars(file, args.path)]
    if args.sort == "size":
        sizes = {path: nbytes_of(file.arrays[path]) for path in file.arrays}
        rows.sort(key=lambda row: -sizes.get(row[0], 0))
    rows = [(escaped(path or "(root)"), text) for path, text in rows]
    width = min(max((len(path) for path, _ in rows), default=0), 48)
    return [file.name, *(f"  {path:<{width}}  {text}" for path, text in rows)]


def _origin(file: File) -> list[str]:
    """Return a line for the file that it was made from, if one is recorded."""
    from persist._cli.history import in_one_line

    said = in_one_line(file)
    return [f"  history  {said} (`persist history` shows all)"] if said else []


def _readers(file: File) -> list[str]:
    """What the file needs of the classes that are here in an older version."""
    from persist._api.file import written_layouts

    needs = written_layouts(file).readers
    return [f"  reader   {name!r} needs {need}" for name, need in sorted(needs.items())]


def _classes(file: File) -> list[str]:
    """Return lines for the classes of records: number of instances, and current name."""
    from persist._trees.show import classes_of, printable

    counts = classes_of(file.tree, file.looker)
    if not counts:
        return []
    lines = ["  classes"]
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]:
        lines.append(f"    {printable(name)}{f'  ({count:,} of it)' if count > 1 else ''}")
        today = file.knowledge.resolve(name)
        if today != name:
            lines[-1] += f"  is now {printable(today)}"
    return [*lines, *([f"    ... and {len(counts) - 20:,} more"] if len(counts) > 20 else [])]


def _globals(file: File) -> list[str]:
    """Return lines for every name that unpickling would have imported, and how it was read."""
    from persist._trees.show import printable

    names = _names(file)
    if not names:
        return []
    lines = ["  names"]
    width = min(max(len(name) for name in names), 56)
    for name in names[:30]:
        lines.append(f"    {printable(name):<{width}}  {_verdict(file, name)}")
    return [*lines, *([f"    ... and {len(names) - 30:,} more"] if len(names) > 30 else [])]


def _names(file: File) -> list[str]:
    found = file.structure.get("globals", ())
    return sorted({str(name).replace(" ", ".") for name in found})


def _verdict(file: File, name: str) -> str:
    """Return how a name was read."""
    from persist._wire.pickle import numpy_rebuild, stdlib_rebuild

    if name in stdlib_rebuild.REBUILD or name in stdlib_rebuild.FINISH or name in _SPELLING:
        return "plain data"
    if name.rpartition(".")[2] in _WRAPPERS and name.split(".")[0] == file.format:
        return f"an array of {file.format}, read"
    if name in numpy_rebuild.REBUILD or name in numpy_rebuild.FINISH or name == "numpy.ndarray":
        return "plain data"
    if file.knowledge.schema_for(name) is not None:
        return "declared"
    made = _made_of(file).get(name, "")
    if file.knowledge.plain_for(name) is not None and made != "record":
        return f"seen through the pack of {name.partition('.')[0]}"
    library = name.partition(".")[0]
    today = file.knowledge.resolve(name)
    now = f", now {today}" if today != name else ""
    if made == "value":
        return f"a class or function, kept as its name{now} (never imported)"
    is_standard = library in sys.stdlib_module_names or library == "__builtin__"
    if made == "view":
        return f"shown by its parts{now}"
    if made == "record":
        kind = "a class of the standard library" if is_standard else "an unknown class"
        return f"{kind}{now}: a record of its attributes, never called"
    if is_standard or library == "numpy":
        return f"a name of {'the standard library' if is_standard else 'NumPy'}, used while reading{now}"
    return f"not here{now}: a name, never called"


# The classes with which joblib refers to arrays behind the pickle or in other files.
_WRAPPERS = ("NumpyArrayWrapper", "NDArrayWrapper", "ZNDArrayWrapper")


def _made_of(file: File) -> dict[str, str]:
    """Return how each name was read: "record", "view" or "value"; names used only while reading are not listed."""
    known = _MADE.get(file)
    if known is not None:
        return known
    from persist.tree import Global, Record

    looker = file.looker
    found: dict[str, str] = {}
    seen: dict[int, object] = {}
    todo: list[object] = [file.tree]
    while todo and len(seen) < _MOST:
        value = todo.pop()
        if isinstance(value, str | bytes | int | float | type(None)) or id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, Global):
            found.setdefault(value.qualname, "value")
        elif isinstance(value, Record):
            is_seen = looker.through(value) is not value
            for name in {value.qualname, value.maker.qualname if value.maker else value.qualname}:
                found[name] = "view" if is_seen else "record"
        todo += [item for _, item in looker.look(value)[1]]
    _MADE[file] = found
    return found


_MOST = 100_000  # limit of visited values, so that huge files stay fast
_MADE: weakref.WeakKeyDictionary[object, dict[str, str]] = weakref.WeakKeyDictionary()


# The functions with which pickle itself builds instances.
_SPELLING = frozenset(
    f"{module}.{name}"
    for module in ("copy_reg", "copyreg")
    for name in ("_reconstructor", "__newobj__", "__newobj_ex__")
) | {"__builtin__.object", "builtins.object"}


def _as_json(file: File, glob: str | None) -> dict[str, object]:
    from persist._trees.show import classes_of

    return {
        "file": file.name,
        "format": file.format,
        "claim": file.claim,
        "writer": file.writer,
        "damage": file.damage,
        "notes": file.notes,
        "totals": _totals(file),
        "arrays": {path: _array(file, path) for path in file.arrays if _wanted(path, glob)},
        "scalars": {path: _value(file.scalars[path]) for path in _scalars(file, glob)},
        "classes": dict(classes_of(file.tree, file.looker)),
        "names": {name: _verdict(file, name) for name in _names(file)},
        "structure": _value(file.structure),
    }


def _totals(file: File) -> dict[str, object]:
    from persist._trees.totals import totals_of

    total = totals_of(file.arrays)
    return {
        "arrays": total.arrays,
        "numbers": total.numbers,
        "bytes": total.nbytes,
        "shared": total.tied,
    }


def _array(file: File, path: str) -> dict[str, object]:
    array = file.arrays[path]
    if hasattr(array, "typecode"):  # array.array
        return {"dtype": array.typecode, "shape": [len(array)]}
    from persist._wire.base.ml_dtypes import dtype_name, stored_dtype

    dtype = stored_dtype(array)
    text = dtype_name(dtype) if dtype.kind == "V" and dtype.names is None else str(array.dtype)
    return {"dtype": text, "shape": list(array.shape), "bytes": int(array.nbytes)}


def _value(value: object) -> object:
    """Convert a value to JSON; anything that JSON lacks becomes the text that `print(file)` shows."""
    import math

    import numpy as np

    from persist._trees.show import leaf_text

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _value(item) for key, item in value.items()}
    return leaf_text(value)

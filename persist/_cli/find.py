"""List the arrays and records in files that fulfil an expression.

  persist find 'dtype == float16 and size > 1e6' runs
  persist find 'class == "logreg.LogReg"' old.pkl
  persist find 'match(name, "*/W") and shape[0] in (128, 256)' runs

Names are dtype, shape, ndim, size, nbytes (of arrays), name (the path), class (of the record, or of the
record around the array) and format (of the file). An expression over format alone lists files.
Exits 0 if anything was found, 1 if nothing was or a file could not be read, 2 if the expression is not
understood.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _reading

    parser.add_argument("expression", metavar="EXPR", help="such as 'dtype==float16 and size>1e6'")
    parser.add_argument("files", metavar="PATH", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument("--json", action="store_true", help="JSON Lines: one object a finding")
    _reading.add(parser)


def run(args: argparse.Namespace) -> int:
    """List what is found; 0 if anything is."""
    import json

    import persist
    from persist._cli import _reading
    from persist._cli._each import each
    from persist._cli._expressions import Expression, ExpressionError
    from persist._cli._out import plain, show
    from persist._trees.show import escaped

    try:
        wanted = Expression(args.expression)
    except ExpressionError as error:
        print(plain(f"persist: {error}"), file=sys.stderr)
        return 2
    count = 0
    faults: list[ExpressionError] = []

    def matches(facts: dict[str, Any]) -> bool:
        try:
            return wanted.matches(facts)
        except ExpressionError as error:  # a division by zero, with the values of some array
            faults.append(error)
            return False

    def one(name: str) -> None:
        nonlocal count
        if faults:
            return
        with persist.open(name, **_reading.opening(args)) as file:
            is_for_files = wanted.names <= {"format"}
            items = [(None, {"format": file.format})] if is_for_files else _items(file)
            for value, facts in items:
                if not matches(facts):
                    continue
                count += 1
                if args.json:
                    print(json.dumps({"file": file.name, **facts}))
                    continue
                path = "" if is_for_files else f"  {escaped(facts['name'] or '(root)')}"
                show(f"{file.name}{path}  {_text(value, facts)}")

    status = each(args.files, one, one)
    if faults:
        print(plain(f"persist: {faults[0]}"), file=sys.stderr)
        return 2
    if not count and not status:
        print("persist: nothing was found.", file=sys.stderr)
    return status if count else 1


def _text(value: object, facts: dict[str, Any]) -> str:
    from persist._trees.show import leaf_text, printable

    if value is not None:
        return leaf_text(value)
    return printable(facts["class"] if "class" in facts else facts["format"])


def _items(file: File) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each array and each record of a file, and the facts that expressions may use."""
    from persist._trees.differ import classes_by_path

    classes = {
        path: text.partition(" version ")[0]
        for path, text in classes_by_path(file).items()
        if not text.startswith("persistent reference ")
    }
    arrays = file.arrays
    for path in arrays:
        array = arrays[path]
        around = _around(path, classes)
        yield array, {**_facts(array), "name": path, "format": file.format, **around}
    for path, name in classes.items():
        if path not in arrays:
            yield None, {"name": path, "format": file.format, "class": name}


def _around(path: str, classes: dict[str, str]) -> dict[str, str]:
    """Return the class of the nearest record that holds a path; nothing if there is none."""
    while path not in classes:
        if not path:
            return {}
        path = path.rpartition("/")[0]
    return {"class": classes[path]}


def _facts(array: Any) -> dict[str, Any]:
    import numpy as np

    from persist._wire.base.ml_dtypes import dtype_name, stored_dtype

    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    dtype = stored_dtype(array)
    shape = tuple(int(extent) for extent in array.shape)
    text = str(dtype) if dtype.names is not None else dtype_name(dtype)
    return {
        "dtype": text,
        "shape": shape,
        "ndim": len(shape),
        "size": int(array.size),
        "nbytes": int(array.nbytes),
    }

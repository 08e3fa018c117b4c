"""Forms that ``convert`` writes and no reader reads back: JSON, ASDF and Parquet.

A file of one of these is for other programs. JSON needs nothing; ASDF and Parquet need an extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["EXPORTS", "export"]


def export(file: File, form: str, target: Path) -> list[str]:
    """Write what a file holds in one of `EXPORTS`.

    Args:
        file: the open file.
        form: "json", "asdf" or "parquet".
        target: the path to write to; the file appears only when it is complete.

    Returns:
        What is left out, in words.

    Raises:
        MissingExtraError: the library of the form is not installed.
        FormatError: the form cannot hold it.
    """
    from persist._container.writing.atomic import replacing

    with replacing(str(target)) as out:
        return EXPORTS[form](file, out)


def _json(file: File, out: IO[bytes]) -> list[str]:
    from persist._cli import dump

    dump.write_json(dump.value_at(file, "(root)"), out)
    return []


def _asdf(file: File, out: IO[bytes]) -> list[str]:
    try:
        asdf = importlib.import_module("asdf")
    except ImportError as error:
        raise _missing("asdf", file) from error
    import numpy as np

    from persist._trees.pack_view import is_series

    tree: dict[str, object] = {}
    left_out = 0
    for path, array in file.arrays.items():
        whole = np.asarray(array)
        if whole.dtype.kind in "OVmM" and whole.dtype.names is None:
            left_out += 1
        else:
            _put(tree, path, whole)
    for path, value in file.scalars.items():
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str) or is_series(value):
            _put(tree, path, list(value) if isinstance(value, tuple) else value)
        else:
            left_out += 1
    asdf.AsdfFile(tree).write_to(out)
    return [f"{left_out:,} values that ASDF has no type for are left out"] if left_out else []


def _put(tree: dict[str, Any], path: str, value: object) -> None:
    """Put a value at its natural path; under the whole path if a step of it is a value itself."""
    *steps, last = path.split("/") if path else ["value"]
    at = tree
    for step in steps:
        inner = at.setdefault(step, {})
        if not isinstance(inner, dict):
            tree[path] = value
            return
        at = inner
    if last in at:
        tree[path] = value
    else:
        at[last] = value


def _parquet(file: File, out: IO[bytes]) -> list[str]:
    try:
        pa = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise _missing("parquet", file) from error
    import numpy as np

    from persist._cli.head import tables
    from persist.errors import FormatError

    found = tables(file)
    if len(found) != 1:
        names = ", ".join(repr(name or "(root)") for name in list(found)[:5])
        many = f"it holds {len(found):,} tables: {names}" if found else "it holds no table"
        raise FormatError(
            f"{many}; parquet is one table.",
            file=file.name,
            remedy="A table is arrays of one axis and one length that lie next to each other, or one "
            "structured array. Take values out with `persist dump`, or choose another format.",
        )
    ((path, columns),) = found.items()
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    try:
        table = pa.table({name: pa.array(_native(array)) for name, array in arrays.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FormatError(
            f"a column is of a type that parquet cannot hold: {error}", file=file.name
        ) from error
    parquet.write_table(table, out)
    taken = 1 if path in file.arrays else len(columns)  # a structured array is one array
    left_out = len(file.arrays) - taken + len(file.scalars)
    return [f"{left_out:,} other values are left out"] if left_out else []


def _native(array: Any) -> object:
    """Return an array in the byte order of the machine; text as Python's, which Arrow takes."""
    if array.dtype.kind in "US":
        return array.tolist()
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.byteorder == ">" else array


def _missing(extra: str, file: File) -> Exception:
    from persist.errors import MissingExtraError

    return MissingExtraError(
        f"{extra} is written by a library that is not installed.",
        file=file.name,
        remedy=f"Install it: pip install 'persist-state[{extra}]'.",
    )


EXPORTS: dict[str, Callable[[Any, IO[bytes]], list[str]]] = {
    "json": _json,
    "asdf": _asdf,
    "parquet": _parquet,
}

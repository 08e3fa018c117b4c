"""Show statistics of every array: extremes, mean, spread, norm, and the number of NaN, Inf and zeros.

They answer whether a checkpoint is broken: arrays that hold NaN or Inf, or only zeros, are marked.
Arrays are read in blocks, so that memory stays small. Minimum, maximum, mean, standard deviation and
norm are those of the finite elements.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._trees.stats import Stats

__all__ = ["add", "run"]

_COLUMNS = ("min", "max", "mean", "std", "norm")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _reading

    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument("--json", action="store_true", help="JSON Lines: one object a file")
    _reading.add(parser)


def run(args: argparse.Namespace) -> int:
    """Show the statistics of every file; 1 if a file or an array could not be read."""
    import json

    import persist
    from persist._cli import _reading
    from persist._cli._each import each
    from persist._cli._out import show

    unreadable: list[str] = []

    def one(name: str) -> None:
        with persist.open(name, **_reading.opening(args)) as file:
            rows = _rows(file)
            unreadable.extend(path for path, row in rows if isinstance(row, str))
            if args.json:
                print(json.dumps(_as_json(file, rows), allow_nan=False))
            else:
                show("\n".join(_page(file, rows)))

    status = each(args.files, one, one)
    return 1 if unreadable else status


def _rows(file: File) -> list[tuple[str, Stats | str]]:
    """Return the statistics of each array, or why it cannot be read, by its path."""
    from persist._trees.pieces import fields
    from persist._trees.stats import stats_of
    from persist.errors import PersistError

    rows: list[tuple[str, Stats | str]] = []
    for path in file.arrays:
        array = file.arrays[path]
        parts = fields(array) if hasattr(array, "dtype") else []
        try:
            if parts:
                rows += [(f"{path}[{name}]", stats_of(array, name)) for name, _ in parts]
            else:
                rows.append((path, stats_of(array)))
        except PersistError as error:
            rows.append((path, error.what))
    return rows


def _totals(file: File, rows: list[tuple[str, Stats | str]]) -> dict[str, int]:
    """Return the sums over all arrays; an array that several paths share counts once."""
    arrays = {id(file.arrays[path]): file.arrays[path] for path in file.arrays}
    found = [row for _, row in rows if not isinstance(row, str)]
    return {
        "arrays": len(arrays),
        "numbers": sum(_size_of(one) for one in arrays.values()),
        "bytes": sum(_bytes_of(one) for one in arrays.values()),
        "nan": sum(row.nan for row in found),
        "inf": sum(row.inf for row in found),
        "with_nan": sum(row.nan > 0 for row in found),
        "with_inf": sum(row.inf > 0 for row in found),
        "all_zero": sum("all zero" in row.flags for row in found),
        "unreadable": sum(isinstance(row, str) for _, row in rows),
    }


def _page(file: File, rows: list[tuple[str, Stats | str]]) -> list[str]:
    from persist._trees.show import counted, escaped, size_text

    heads = ("array", "dtype", "shape", *_COLUMNS, "zeros", "")
    table = [_cells(escaped(path or "(root)"), row) for path, row in rows]
    widths = [
        max([len(head), *(len(cells[at]) for cells in table if len(cells) > 2)])
        for at, head in enumerate(heads[:-1])
    ] + [0]
    lines = [file.name, _line(heads, widths)] if table else [file.name]
    lines += [_line(cells, widths) for cells in table]
    total = _totals(file, rows)
    lines.append(
        f"  {counted(total['arrays'], 'array')}, {counted(total['numbers'], 'number')}, "
        f"{size_text(total['bytes'])}; with NaN: {total['with_nan']:,}, with Inf: "
        f"{total['with_inf']:,}, all zero: {total['all_zero']:,}"
        + (f", unreadable: {total['unreadable']:,}" if total["unreadable"] else "")
    )
    return lines + [f"  damage   {note}" for note in file.damage]


def _cells(path: str, row: Stats | str) -> tuple[str, ...]:
    if isinstance(row, str):
        return (path, f"cannot be read: {row}")
    numbers = [_text(getattr(row, name)) for name in _COLUMNS]
    marks = [f"{row.nan:,} NaN"] * bool(row.nan) + [f"{row.inf:,} Inf"] * bool(row.inf)
    marks += ["all zero"] * ("all zero" in row.flags)
    zeros = f"{row.zeros:,}" if row.is_numeric else "-"
    shape = f"({', '.join(map(str, row.shape))}{',' * (len(row.shape) == 1)})"
    return (path, row.dtype, shape, *numbers, zeros, ", ".join(marks))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    if len(cells) == 2:
        return f"  {cells[0]:<{widths[0]}}  {cells[1]}"
    texts = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
    return "  " + "  ".join(texts).rstrip()


def _text(value: complex | None) -> str:
    if value is None:
        return "-"
    return f"{value}" if isinstance(value, int) else f"{value:.4g}"


def _size_of(array: Any) -> int:
    return int(array.size) if hasattr(array, "size") else len(array)


def _bytes_of(array: Any) -> int:
    return int(array.nbytes) if hasattr(array, "nbytes") else len(array) * int(array.itemsize)


def _as_json(file: File, rows: list[tuple[str, Stats | str]]) -> dict[str, object]:
    arrays = {
        path: {"error": row} if isinstance(row, str) else _row_json(row) for path, row in rows
    }
    return {
        "file": file.name,
        "format": file.format,
        "arrays": arrays,
        "total": _totals(file, rows),
        "damage": file.damage,
    }


def _row_json(row: Stats) -> dict[str, object]:
    shown: dict[str, object] = {"dtype": row.dtype, "shape": list(row.shape), "bytes": row.nbytes}
    if not row.is_numeric:
        return shown
    for name in (*_COLUMNS, "nan", "inf", "zeros"):
        shown[name] = _json_number(getattr(row, name))
    return {**shown, "flags": row.flags}


def _json_number(value: object) -> object:
    """Return a number that JSON has: a complex one as [real, imaginary], one beyond float64 as text."""
    import math

    if isinstance(value, complex):
        return [_json_number(value.real), _json_number(value.imag)]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

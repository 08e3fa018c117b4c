"""Frames and series in pandas' ``HDFStore``, as the records that a pickle of them holds.

The pack of pandas then shows them by columns and makes objects of them, as it does for pickles.

- "fixed": ``axis0`` (columns), ``axis1`` (index), ``blockN_items`` and ``blockN_values``; of a
  series ``index`` and ``values``. Values are stored transposed, moments as nanoseconds, objects as
  one pickled row of a VLArray.
- "table": one PyTables table with ``index``, ``values_block_N`` and a field for each data column.
  The attributes of the group name the columns, those of the table the kind of each field.

Source: ``pandas/io/pytables.py`` of 0.10 to 3.0 (``BlockManagerFixed``, ``SeriesFixed``, ``Table``
and its subclasses, ``_unconvert_index``, ``_unconvert_string_array``); stores written by 0.24 to 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persist._wire.hdf5.file import Walk
from persist.errors import FormatError, LimitError, MissingExtraError
from persist.readers._hdfstore._fixed import fixed_frame, fixed_series
from persist.readers._hdfstore._group import Group, UnknownLayoutError
from persist.readers._hdfstore._tables import table_frame, table_series
from persist.readers.base import Content
from persist.tree import Record

__all__ = ["framed"]

_GLOBALS = ("pandas.core.frame.DataFrame", "pandas.core.series.Series")

# Attributes of a damaged or hostile file can be of any type, and arrays of any shape.
_FAULTS = (
    UnknownLayoutError,
    FormatError,
    MissingExtraError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

_READ: dict[object, Callable[[Group], Record]] = {
    "frame": fixed_frame,
    "series": fixed_series,
    "frame_table": table_frame,
    "series_table": table_series,
}


def framed(
    walk: Walk, values: list[tuple[str, str, Any]], content: Content
) -> list[tuple[str, str, object]]:
    """Replace the groups of an HDFStore that hold frames and series by records of pandas.

    Args:
        walk: the groups and datasets of the file; groups are replaced in it.
        values: path, name and value of each attribute.
        content: receives the classes, and as damage a report of each group whose layout is unknown;
            such a group stays as it is.

    Returns:
        The attributes of the objects that are still there.
    """
    attributes: dict[str, dict[str, object]] = {}
    for path, name, value in values:
        attributes.setdefault(path, {})[name] = value
    known = [path for path in attributes if attributes[path].get("pandas_type") in _READ]
    gone: list[str] = []
    for path in sorted(known, key=len):
        if not path or any(path.startswith(f"{above}/") for above in gone):
            continue
        group = Group(walk, path, attributes)
        try:
            record = _READ[attributes[path]["pandas_type"]](group)
        except LimitError:
            raise
        except _FAULTS as error:
            content.damage.append(
                f"group {path!r} is shown as it is stored, not as the {attributes[path]['pandas_type']} "
                f"that pandas kept: {error}"
            )
            continue
        holder, own = walk.holder(path)
        holder[own] = record
        content.globals = {*content.globals, *_GLOBALS}
        gone.append(path)
    return [
        one for one in values if not any(one[0] == at or one[0].startswith(f"{at}/") for at in gone)
    ]

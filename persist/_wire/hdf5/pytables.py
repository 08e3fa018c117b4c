"""What PyTables stores in another form: objects as pickles, text as codes, in rows and attributes.

After ``tables/vlarray.py`` and ``tables/atom.py`` (``ObjectAtom``, ``VLStringAtom``,
``VLUnicodeAtom``; the attribute ``PSEUDOATOM``, ``FLAVOR`` before 2.0) and ``tables/attributeset.py``
(``__getattr__``: text that ends in a stop is tried as a pickle). pandas' ``HDFStore`` keeps columns of
text and of mixed objects so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist.errors import FormatError, LimitError

__all__ = ["ATOMS", "attribute", "rows"]

ATOMS = ("object", "vlstring", "vlunicode")
_SYSTEM = frozenset(
    ("CLASS", "TITLE", "VERSION", "FLAVOR", "PSEUDOATOM", "PYTABLES_FORMAT_VERSION", "EXTDIM", "NROWS")
)  # fmt: skip
_OPENING = frozenset(b"()]}IJKLMNFGSTUVXcilPQd\x80")  # opcodes with which a pickle can begin

Load = Callable[[bytes, str], Any]


def attribute(name: str, value: object, load: Load) -> Any:
    """Return what an attribute holds, where it is a pickle; else the value itself."""
    if name in _SYSTEM or (name.startswith("FIELD_") and name.endswith("_NAME")):
        return value
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
    elif isinstance(value, bytes):
        data = value
    else:
        return value
    if not data.endswith(b".") or data[0] not in _OPENING or data in (b"0.", b"."):
        return value
    try:
        return load(data, f"attribute {name!r}")
    except LimitError:
        raise
    except FormatError:
        return value


def rows(
    kind: str, stored: Iterable[object], where: str, load: Load, damage: list[str]
) -> list[Any]:
    """Return the rows of a VLArray of pseudo-atoms.

    Args:
        kind: one of `ATOMS`.
        stored: the rows: bytes, or for "vlunicode" code points, as arrays.
        where: for errors.
        load: what a pickle holds.
        damage: called with a report of each value that could not be read; it stays bytes.
    """
    found: list[Any] = []
    for number, row in enumerate(stored):
        array = np.asarray(row)
        data = array.tobytes()
        try:
            if kind == "object":
                found.append(load(data, f"{where}, row {number:,}") if data else None)
            elif kind == "vlstring":
                found.append(data.decode("utf-8"))
            else:
                found.append("".join(map(chr, array.tolist())))
        except LimitError:
            raise
        except (FormatError, ValueError, OverflowError, TypeError) as error:
            damage.append(f"{where}, row {number:,} is no {kind} ({error})")
            found.append(data)
    return found

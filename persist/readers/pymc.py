"""PyMC's traces: the samples of each chain by the name of the variable, in every kind of file.

Written by  ``pymc3.save_trace`` since 3.5 (a folder a chain with ``samples.npz`` and
            ``metadata.json``), the backends ``text`` (``chain-<n>.csv``) and ``sqlite`` of PyMC3
            3.0 to 3.11, and PyMC 2's ``txt`` (``Chain_<n>/<variable>.txt``) and ``sqlite``.
Evidence    ``pymc3/backends/ndarray.py`` (``SerializeNDArray``), ``backends/text.py``,
            ``backends/sqlite.py``, ``backends/tracetab.py`` (``create_flat_names``);
            ``pymc/database/txt.py`` and ``sqlite.py`` of 2.3.8; files written by 2.3.8, 3.6, 3.7.
Traps       A trace is a folder with a folder for each chain, or a database with a table for each
            variable.
            Sampler statistics are in the metadata, not among the samples. In text, an element of
            a variable is a column ``<name>__<i>_<j>``; the names of transformed variables end in
            two underscores of their own (``sd_log__``). Text files have no dtypes: a column without
            a point or exponent is integer. PyMC 2 counts elements from 1, its databases do not
            distinguish a vector of length 1 from a number, and next to its chains it writes
            ``state.txt``, which is Python code and not read. Files of both HDF5 backends and of
            PyMC 2's ``pickle`` are read as HDF5 and pickle.
Gives       A dict by chain, of dicts by variable: arrays whose first axis is the draw.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._runtime.free_names import free_name
from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist._wire.databases.signatures import is_sqlite
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.typing import Array

if TYPE_CHECKING:
    from persist._wire.databases.sqlite import Table

__all__ = ["PymcTraceReader"]

_SAMPLES = "samples.npz"
_METADATA = "metadata.json"
_CHAIN = regex(r"\d{1,9}\Z")
_TEXT = regex(r"chain-(-?\d{1,9})\.csv\Z")
_ELEMENT = regex(r"(.+)__(\d{1,9}(?:_\d{1,9})*)\Z", re.DOTALL)
_OLD_CHAIN = regex(r"Chain_(\d{1,9})\Z")
_OLD_VALUES = ".txt"
_OLD_SHAPE = regex(rb"# Sample shape: \(([\d, L]*)\)\s*\Z")
_CELL = regex(r"v(?:_{0,2}(\d{1,9}(?:_\d{1,9})*))?\Z")
_METADATA_SIZE = 64 << 20
_ELEMENT_BYTES = 8  # of an element of text when it is a number


class PymcTraceReader(Reader):
    """Folders of ``save_trace`` and of the text backends, files of the SQLite backends."""

    name = "pymc3-trace"
    refines = ("sqlite",)

    def claims(self, source: Source) -> str | None:
        if source.kind == "file":
            tables = _traces(source)
            return f"an SQLite database of samples ({tables[0].name!r})" if tables else None
        if source.kind != "folder":
            return None
        names = source.children()
        text = sorted(name for name in names if _TEXT.match(name))
        if text:
            return f"a folder with {text[0]!r}"
        found = next(_chains(source, names), None)
        if found is not None:
            return f"a folder with '{found[0]}/{_SAMPLES}'"
        old = next(_old_chains(source, names), None)
        return None if old is None else f"a folder with '{old[1].basename}/{old[2][0]}'"

    def read(self, source: Source, options: Options) -> Content:
        content = Content({}, globals={"pymc3.backends.base.MultiTrace"})
        metadata_of: dict[str, object] = {}
        names = source.children() if source.kind == "folder" else []
        if source.kind == "file":
            _of_database(source, content)
        for chain, folder in _chains(source, names):
            samples = folder.child(_SAMPLES)
            assert samples is not None
            metadata_of[chain] = _metadata(folder)
            content.tree[chain] = _inside(samples, options, content)
        for name in names:
            match = _TEXT.match(name)
            found = source.child(name) if match else None
            if match is not None and found is not None and found.kind == "file":
                content.tree[free_name(match[1], content.tree)] = _table(found)
        for chain, folder, files in _old_chains(source, names) if not content.tree else ():
            content.format = "pymc2-trace"
            content.tree[chain] = {
                name.removesuffix(_OLD_VALUES): values
                for name in files
                if (values := _old_values(folder.child(name))) is not None
            }
        if not content.tree and source.kind == "folder":
            raise DamagedFileError("no chain is in it any more.", file=source.name)
        content.structure = {"chains": list(content.tree)}
        if any(metadata_of.values()):
            content.structure["metadata"] = metadata_of
        return content


def _chains(source: Source, names: list[str]) -> Iterator[tuple[str, Source]]:
    """Yield the folders that hold samples, in the order of their numbers."""
    for name in sorted((name for name in names if _CHAIN.match(name)), key=int):
        folder = source.child(name)
        if folder is not None and folder.kind == "folder" and _SAMPLES in folder.children():
            yield name, folder


def _inside(samples: Source, options: Options, content: Content) -> object:
    if options.open_nested is None:
        raise FormatError("what is inside cannot be opened here.", file=samples.name)
    inner = options.open_nested(samples)
    content.damage += inner.damage
    content.globals |= inner.globals
    return inner.tree


def _metadata(folder: Source) -> object:
    found = folder.child(_METADATA)
    if found is None or found.kind != "file" or found.size > _METADATA_SIZE:
        return None
    try:
        return json.loads(found.read(0, found.size))
    except (ValueError, RecursionError):
        return None


# Text.


def _table(source: Source) -> dict[str, Array]:
    """The columns of a chain, those of one variable put together."""
    import csv

    source.spend(source.size)
    try:
        text = source.read(0, source.size).decode("utf-8")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        heads = next(rows, [])
        columns = _columns(source, heads, rows)
    except (ValueError, csv.Error) as error:
        if isinstance(error, FormatError):
            raise
        raise DamagedFileError(
            f"it is no table of numbers ({error}).",
            file=source.name,
            remedy="A line of names, then lines of as many numbers were expected.",
        ) from error
    return _put_together(dict(zip(heads, columns, strict=True)))


def _columns(source: Source, heads: list[str], rows: Iterator[list[str]]) -> list[Array]:
    if not heads or len(set(heads)) != len(heads):
        raise ValueError("its first line names no columns, or one twice")
    lines: list[list[str]] = []
    for row in rows:
        if not row:
            continue
        if len(row) != len(heads):
            raise ValueError(f"line {len(lines) + 2} has {len(row)} values, not {len(heads)}")
        source.spend(_ELEMENT_BYTES * len(row))
        lines.append(row)
    return [_numbers([line[index] for line in lines]) for index in range(len(heads))]


def _numbers(column: list[str]) -> Array:
    """As ``pandas.read_csv`` would have it: integers, truth values, or else floats."""
    if column and all(item in ("True", "False") for item in column):
        return np.array([item == "True" for item in column])
    if column and all(item.lstrip("+-").isdecimal() for item in column):
        try:
            return np.array([int(item) for item in column], np.int64)
        except OverflowError:
            pass
    return np.array([float(item) if item else float("nan") for item in column], np.float64)


def _put_together(columns: dict[str, Array]) -> dict[str, Array]:
    """Make one array of the columns ``<name>__<i>_<j>`` that fill a whole grid; leave the rest."""
    groups: dict[str, dict[tuple[int, ...], str]] = {}
    for head in columns:
        match = _ELEMENT.match(head)
        if match is not None:
            index = tuple(int(part) for part in match[2].split("_"))
            groups.setdefault(match[1], {})[index] = head
    shapes = {name: _grid(group) for name, group in groups.items() if name not in columns}
    result: dict[str, Array] = {}
    for head, column in columns.items():
        match = _ELEMENT.match(head)
        name = match[1] if match is not None else head
        shape = shapes.get(name) if match is not None else None
        if shape is None:
            result[head] = column
        elif name not in result:
            group = groups[name]
            parts = [columns[group[index]] for index in np.ndindex(shape)]
            result[name] = np.stack(parts, axis=-1).reshape(len(column), *shape)
    return result


def _grid(group: dict[tuple[int, ...], str]) -> tuple[int, ...] | None:
    """The shape that indices fill without a gap, or None."""
    axes = {len(index) for index in group}
    if len(axes) != 1:
        return None
    shape = tuple(max(index[axis] for index in group) + 1 for axis in range(axes.pop()))
    count = 1
    for extent in shape:
        count *= extent
    return shape if count == len(group) and len(shape) <= 32 else None


# PyMC 2's text.


def _old_chains(source: Source, names: list[str]) -> Iterator[tuple[str, Source, list[str]]]:
    """Yield chains with their folders and the files of their variables, by number."""
    matches = [match for name in names if (match := _OLD_CHAIN.match(name))]
    for match in sorted(matches, key=lambda match: int(match[1])):
        folder = source.child(match[0])
        if folder is None or folder.kind != "folder":
            continue
        files = [name for name in folder.children() if name.endswith(_OLD_VALUES)]
        first = folder.child(files[0]) if files else None
        if first is not None and first.kind == "file" and first.head(12) == b"# Variable: ":
            yield match[1], folder, files


def _old_values(source: Source | None) -> Array | None:
    """The samples of one variable: three lines of comments, then a line a draw."""
    if source is None or source.kind != "file":
        return None
    source.spend(4 * source.size)
    lines = source.read(0, source.size).splitlines()
    shapes = [match for line in lines[:3] if (match := _OLD_SHAPE.match(line))]
    rows = [line.split(b",") for line in lines if line.strip() and not line.startswith(b"#")]
    try:
        if not shapes:
            raise ValueError("no line states the shape")
        shape = tuple(int(part.strip(b" L")) for part in shapes[0][1].split(b",") if part.strip())
        values = np.array([_number(item) for row in rows for item in row])
        return values.reshape(shape)
    except ValueError as error:
        raise DamagedFileError(
            f"it holds no samples of one shape ({error}).",
            file=source.name,
            remedy="A line '# Sample shape: (draws, ...)' and as many numbers were expected.",
        ) from error


def _number(text: bytes) -> float | complex:
    """What ``numpy.savetxt`` wrote; a complex number in brackets, its sign perhaps doubled."""
    item = text.strip().decode("latin-1")
    if item.startswith("("):
        return complex(item.replace("+-", "-"))
    return float(item)


# SQLite.


def _traces(source: Source) -> list[Table]:
    """The tables of a database of samples; none where it holds anything else."""
    if "pymc" not in source.memo:
        source.memo["pymc"] = _looked_at(source)
    found: list[Table] = source.memo["pymc"]
    return found


def _looked_at(source: Source) -> list[Table]:
    if not is_sqlite(source):
        return []
    from persist._wire.databases.sqlite import Sqlite

    try:
        tables = list(Sqlite(source).tables)
    except FormatError:
        return []
    return tables if all(_is_trace(table) for table in tables) else []


def _is_trace(table: Table) -> bool:
    columns = table.columns[1 + _keys(table) :]
    return table.is_plain and bool(_keys(table) and columns and all(map(_CELL.match, columns)))


def _keys(table: Table) -> int:
    """Return how many columns after the row number hold draw and chain; 0 for other tables."""
    if table.columns[:3] == ("recid", "draw", "chain"):
        return 2
    return int(table.columns[:2] == ("recid", "trace"))


def _of_database(source: Source, content: Content) -> None:
    from persist._wire.databases.sqlite import Sqlite, columns_of, journal_of

    database = Sqlite(source)
    content.damage += journal_of(source)
    for table in _traces(source):
        columns = columns_of(database, table)
        if _keys(table) == 1:
            content.format = "pymc2-trace"
        chains = columns["chain" if _keys(table) == 2 else "trace"]
        values = {
            name: _samples(source, table, name, columns[name])
            for name in table.columns[1 + _keys(table) :]
        }
        for chain in sorted({chain for chain in chains if isinstance(chain, int)}):
            rows = np.array([other == chain for other in chains])
            if _keys(table) == 2:
                draws = [draw for draw, is_own in zip(columns["draw"], rows, strict=True) if is_own]
                if not all(isinstance(draw, int) for draw in draws):
                    raise _no_samples(source, table, "draw")
                order = np.flatnonzero(rows)[np.argsort(np.array(draws, np.int64), kind="stable")]
            else:
                order = np.flatnonzero(rows)
            own = content.tree.setdefault(str(chain), {})
            own.update(_variable(table, {name: column[order] for name, column in values.items()}))


def _samples(source: Source, table: Table, name: str, values: list[Any]) -> Array:
    """A column of numbers: NULL is NaN; what Python 3's sqlite3 made of NumPy's integers is bytes."""
    made: list[Any] = []
    for value in values:
        if isinstance(value, bytes) and len(value) in (1, 2, 4, 8):
            made.append(int.from_bytes(value, "little", signed=True))
        elif value is None or isinstance(value, int | float):
            made.append(float("nan") if value is None else value)
        else:
            raise _no_samples(source, table, name)
    is_whole = all(isinstance(value, int) for value in made)
    return np.array(made, np.int64 if is_whole and made else np.float64)


def _no_samples(source: Source, table: Table, name: str) -> DamagedFileError:
    return DamagedFileError(
        f"the column {name!r} holds something that is no number.",
        file=source.name,
        where=f"table {table.name!r}",
        remedy="Open it with sqlite3.",
    )


def _variable(table: Table, columns: dict[str, Array]) -> dict[str, Array]:
    """The array of a variable; its columns by name where they do not fill a grid."""
    if len(columns) == 1:
        name, column = next(iter(columns.items()))
        is_vector = _keys(table) == 2 and name != "v"
        return {table.name: column[:, None] if is_vector else column}
    first = _keys(table) == 1  # PyMC 2 counts from 1
    named = {}
    for name, column in columns.items():
        match = _CELL.match(name)
        assert match is not None
        index = [int(part) - first for part in (match[1] or "0").split("_")]
        named[f"{table.name}__{'_'.join(map(str, index))}"] = column
    return _put_together(named)

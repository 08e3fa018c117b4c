"""PyMC3's traces in a folder: the samples of each chain by the name of the variable.

Written by  ``pymc3.save_trace`` since 3.5 (a folder a chain with
            ``samples.npz`` and ``metadata.json``), and the text backend
            ``pymc3.backends.text`` since 3.0 (``chain-<n>.csv``).
Evidence    ``pymc3/backends/ndarray.py`` (``SerializeNDArray``),
            ``backends/text.py``, ``backends/tracetab.py``
            (``create_flat_names``); a folder written by 3.6.
Traps       It is a folder, and each chain is one in it. Sampler statistics
            are in the metadata, not among the samples. In text, an element of
            a variable is a column ``<name>__<i>_<j>``; the names of transformed
            variables end in two underscores of their own (``sd_log__``). Text
            tells no dtype: a column without a point or exponent is integer.
Gives       A dict by chain, of dicts by variable: arrays whose first axis is
            the draw.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from persist._regex import regex
from persist._wire.source import Source
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["PymcTraceReader"]

_SAMPLES = "samples.npz"
_METADATA = "metadata.json"
_CHAIN = regex(r"\d{1,9}\Z")
_TEXT = regex(r"chain-(-?\d{1,9})\.csv\Z")
_ELEMENT = regex(r"(.+)__(\d{1,9}(?:_\d{1,9})*)\Z", re.DOTALL)
_METADATA_SIZE = 64 << 20
_ELEMENT_BYTES = 8  # of an element of text when it is a number


class PymcTraceReader(Reader):
    """Folders of ``pymc3.save_trace`` and of the text backend."""

    name = "pymc3-trace"

    def claims(self, source: Source) -> str | None:
        if source.kind != "folder":
            return None
        names = source.children()
        text = sorted(name for name in names if _TEXT.match(name))
        if text:
            return f"a folder with {text[0]!r}"
        found = next(_chains(source, names), None)
        return None if found is None else f"a folder with '{found[0]}/{_SAMPLES}'"

    def read(self, source: Source, options: Options) -> Content:
        names = source.children()
        content = Content({}, globals={"pymc3.backends.base.MultiTrace"})
        told: dict[str, Any] = {}
        for chain, folder in _chains(source, names):
            samples = folder.child(_SAMPLES)
            assert samples is not None
            told[chain] = _metadata(folder)
            content.tree[chain] = _inside(samples, options, content)
        for name in names:
            match = _TEXT.match(name)
            found = source.child(name) if match else None
            if match is not None and found is not None and found.kind == "file":
                content.tree[_free(content.tree, match[1])] = _table(found)
        if not content.tree:
            raise DamagedFileError("no chain is in it any more.", file=source.name)
        content.structure = {"chains": list(content.tree)}
        if any(told.values()):
            content.structure["metadata"] = told
        return content


def _chains(source: Source, names: list[str]) -> Iterator[tuple[str, Source]]:
    """Yield the folders that hold samples, in the order of their numbers."""
    for name in sorted((name for name in names if _CHAIN.match(name)), key=int):
        folder = source.child(name)
        if folder is not None and folder.kind == "folder" and _SAMPLES in folder.children():
            yield name, folder


def _inside(samples: Source, options: Options, content: Content) -> Any:
    if options.open_nested is None:
        raise FormatError("what is inside cannot be opened here.", file=samples.name)
    inner = options.open_nested(samples)
    content.damage += inner.damage
    content.globals |= inner.globals
    return inner.tree


def _metadata(folder: Source) -> Any:
    found = folder.child(_METADATA)
    if found is None or found.kind != "file" or found.size > _METADATA_SIZE:
        return None
    try:
        return json.loads(found.read(0, found.size))
    except (ValueError, RecursionError):
        return None


def _free(taken: dict[str, Any], name: str) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}~{number}"
    return free


# Text.


def _table(source: Source) -> dict[str, np.ndarray[Any, Any]]:
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


def _columns(
    source: Source, heads: list[str], rows: Iterator[list[str]]
) -> list[np.ndarray[Any, Any]]:
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


def _numbers(column: list[str]) -> np.ndarray[Any, Any]:
    """As ``pandas.read_csv`` would have it: integers, truth values, or else floats."""
    if column and all(item in ("True", "False") for item in column):
        return np.array([item == "True" for item in column])
    if column and all(item.lstrip("+-").isdecimal() for item in column):
        try:
            return np.array([int(item) for item in column], np.int64)
        except OverflowError:
            pass
    return np.array([float(item) if item else float("nan") for item in column], np.float64)


def _put_together(columns: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Make one array of the columns ``<name>__<i>_<j>`` that fill a whole grid; leave the rest."""
    groups: dict[str, dict[tuple[int, ...], str]] = {}
    for head in columns:
        match = _ELEMENT.match(head)
        if match is not None:
            index = tuple(int(part) for part in match[2].split("_"))
            groups.setdefault(match[1], {})[index] = head
    shapes = {name: _grid(group) for name, group in groups.items() if name not in columns}
    result: dict[str, np.ndarray[Any, Any]] = {}
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
